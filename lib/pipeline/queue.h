/* What stands between two stages: a bounded queue of slots downstream, and versions of parameters upstream.
 *
 *     struct lam_queue *queue;
 *     LAM_TRY(lam_queue_create(3, &queue));
 *
 *     // the one producer                                 // the one consumer
 *     LAM_TRY(lam_queue_acquire(queue, &slot));           LAM_TRY(lam_queue_take(queue, &slot));
 *     ... fill slot ...                                   ... read slot ...
 *     lam_queue_publish(queue);                           lam_queue_release(queue);
 *
 * Slots are numbers; what they stand for is the caller's. First in, first out: slots are acquired, published, taken and
 * released in the order 0, 1, ..., count - 1, 0, ... A producer has at most one slot that is not published, a consumer at
 * most one that is not released. What the producer wrote before publish, the consumer sees after take; what the consumer
 * did before release is over when the producer gets the slot again.
 *
 * lam_queue_poison ends all waits on the queue, now and later, with LAM_ERR_STOPPED: how one stage's error stops the others.
 * Each queue has one lock, which is held for a few instructions and never while another one is.
 */
#ifndef LAM_PIPELINE_QUEUE_H
#define LAM_PIPELINE_QUEUE_H

#include "base/status.h"

#include <stdbool.h>
#include <stdint.h>

struct lam_queue;

lam_status lam_queue_create(int slots, struct lam_queue **queue);
void lam_queue_destroy(struct lam_queue *queue); /* NULL is allowed; nobody may wait */

/* Waits for room; for work. LAM_ERR_STOPPED: poisoned. */
lam_status lam_queue_acquire(struct lam_queue *queue, int *slot);
void lam_queue_publish(struct lam_queue *queue);
lam_status lam_queue_take(struct lam_queue *queue, int *slot);
/* Waits for the slot that take will give next, and leaves it there. */
lam_status lam_queue_peek(struct lam_queue *queue, int *slot);
void lam_queue_release(struct lam_queue *queue);
void lam_queue_poison(struct lam_queue *queue);

/* Slots published and not yet taken; slots in all. */
int lam_queue_waiting(struct lam_queue *queue);
int lam_queue_slots(const struct lam_queue *queue);

/* ---- versions ---- */

/* Numbered states of one thing (parameters after n updates) from one writer for one reader, of which the newest `kept`
 * can be read. Version v stands in place v % kept. */
struct lam_versions;

lam_status lam_versions_create(int kept, struct lam_versions **versions);
void lam_versions_destroy(struct lam_versions *versions);

/* The next version to be written is `version`; none before it can be read. Nobody may wait. */
void lam_versions_start(struct lam_versions *versions, uint64_t version);
/* Writer: waits until place (*place) of the next version is not needed any more; fill it, then publish. */
lam_status lam_versions_acquire(struct lam_versions *versions, int *place);
void lam_versions_publish(struct lam_versions *versions);
/* Reader: waits until `version` is there. Versions are asked for in an order that never falls; older ones are given up.
 * LAM_ERR_INTERNAL: it is gone already. */
lam_status lam_versions_read(struct lam_versions *versions, uint64_t version, int *place);
/* The next version to be written; all before it, back to the oldest that is kept, are there. */
uint64_t lam_versions_next(struct lam_versions *versions);
void lam_versions_poison(struct lam_versions *versions);

#endif
