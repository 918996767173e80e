/* Between two blocks on devices that do not share memory: a slot on the sender's device, and a thread that takes what lies in it
 * across as soon as it is complete, while both devices go on working.
 *
 *     // the block before                                  // the bridge's thread
 *     LAM_TRY(lam_bridge_wait(bridge));
 *     ... write lam_bridge_outbox(bridge) ...
 *     lam_bridge_send(bridge, slot);                       copies to `slot`; arrived(context, status)
 *
 * There is one outbox: until what lies in it has arrived, lam_bridge_wait waits.
 */
#ifndef LAM_PIPELINE_BRIDGE_H
#define LAM_PIPELINE_BRIDGE_H

#include "device/carrier.h"

struct lam_bridge;

struct lam_bridge_options {
    struct lam_device *from, *to;
    size_t bytes; /* of a slot */
    /* From the bridge's thread: a slot is there, or could not be brought there. */
    void (*arrived)(void *context, lam_status status);
    void *context;
};

/* Allocates the outbox (LAM_MEMORY_QUEUE of the sender's device) and starts the thread. */
lam_status lam_bridge_create(const struct lam_bridge_options *options, struct lam_bridge **bridge);
void lam_bridge_destroy(struct lam_bridge *bridge); /* NULL is allowed; nobody may wait */

void *lam_bridge_outbox(const struct lam_bridge *bridge);
/* Until the outbox is free. LAM_ERR_STOPPED: poisoned. */
lam_status lam_bridge_wait(struct lam_bridge *bridge);
/* The outbox is complete and goes to `slot`, on the receiver's device. Returns at once and may be called from a stream. */
void lam_bridge_send(struct lam_bridge *bridge, void *slot);
/* Ends all waits, now and later. */
void lam_bridge_poison(struct lam_bridge *bridge);

#endif
