/* The transport: messages between the ranks of a pipeline, one rank per stage.
 *
 * Without a transport all stages are threads of one process and hand slots over in place (queue.h). With one, stage r runs in
 * rank r, and what would stay in place is sent. Ranks are processes under mpirun (lam_transport_open_mpi), or threads
 * of one process (lam_transport_open_local), which is how tests run every part of it under sanitizers.
 *
 *     LAM_TRY(lam_transport_open_mpi(&transport));                          // every rank
 *     struct lam_part parts[] = {{&header, sizeof header}, {activation, bytes}};
 *     LAM_TRY(lam_transport_send(transport, rank + 1, LAM_TAG_BATCH, parts, 2, NULL));        // this rank
 *     LAM_TRY(lam_transport_receive(transport, rank - 1, LAM_TAG_BATCH, parts, 2, NULL));     // that one
 *     ...
 *     lam_transport_close(transport);
 *
 * Messages of one tag between two ranks arrive in the order they were sent; between two ranks a tag is used by one thread
 * each at a time.
 * Send returns when the receiver has the message, so nothing piles up between two ranks.
 *
 * Errors. lam_transport_fail tells all ranks of an error; from then on every wait, here and there, ends with
 * LAM_ERR_STOPPED, and lam_transport_error gives the first error that this rank heard of. A rank that dies without a word is
 * noticed: at once where it ran on this machine, else when nothing was heard of it for LAM_TRANSPORT_SILENCE seconds.
 */
#ifndef LAM_PIPELINE_TRANSPORT_H
#define LAM_PIPELINE_TRANSPORT_H

#include "base/status.h"

#include <stdatomic.h>
#include <stdbool.h>

#define LAM_TRANSPORT_SILENCE 30.0

enum lam_tag {
    LAM_TAG_BATCH,   /* to the next stage */
    LAM_TAG_VERSION, /* parameters that EMA twins of the stage before follow */
    LAM_TAG_REPORT,  /* what a block's step came to, to the last rank */
    LAM_TAG_RUN,     /* the runs' main threads among each other */
    LAM_TAGS
};

struct lam_part {
    void *data; /* host memory; send only reads it */
    size_t bytes;
};
enum { LAM_MAX_PARTS = 20 };

struct lam_transport;

/* As started by mpirun; all ranks call it. LAM_ERR_UNSUPPORTED: built without MPI, or its library cannot be loaded.
 * Once in a process. */
lam_status lam_transport_open_mpi(struct lam_transport **transport);

/* Ranks that are threads: transports[r] is for the thread of rank r. Each is closed by itself. */
lam_status lam_transport_open_local(int ranks, struct lam_transport **transports);

/* Waits, up to a few seconds, until all ranks that live close; returns whether the last rank does. Memory that was being sent or
 * received must stay until then. NULL is allowed. */
bool lam_transport_close(struct lam_transport *transport);

int lam_transport_rank(const struct lam_transport *transport);
int lam_transport_ranks(const struct lam_transport *transport);

/* Called from a thread of the transport: once, when there is an error anywhere; and several times a second. When this returns, what
 * was to be called before is not, and will not be. NULL: nothing. */
void lam_transport_on_error(struct lam_transport *transport, void (*call)(void *context), void *context);
void lam_transport_on_tick(struct lam_transport *transport, void (*call)(void *context), void *context);

/* All parts of a message in one go; as many at both ends, each at least as large at the receiver's. *cancel turns true: this
 * call is given up. LAM_ERR_STOPPED: given up, or an error somewhere. */
lam_status lam_transport_send(struct lam_transport *transport, int to, enum lam_tag tag,
                              const struct lam_part *parts, int count, const _Atomic bool *cancel);
lam_status lam_transport_receive(struct lam_transport *transport, int from, enum lam_tag tag,
                                 const struct lam_part *parts, int count, const _Atomic bool *cancel);

/* Main threads of all ranks, tag RUN: `from`'s bytes to everybody; nobody goes on before all are here. */
lam_status lam_transport_broadcast(struct lam_transport *transport, int from, void *data, size_t bytes);
lam_status lam_transport_barrier(struct lam_transport *transport);

/* This thread's error (of status) becomes everybody's, unless there was one before. Returns status. */
lam_status lam_transport_fail(struct lam_transport *transport, lam_status status);
/* LAM_OK, or the first error that this rank heard of, with its text. */
lam_status lam_transport_error(struct lam_transport *transport);
/* Passes on that a signal asked for a stop here; rank 0 asks whether it did anywhere. */
void lam_transport_ask_stop(struct lam_transport *transport);
bool lam_transport_stop_asked(const struct lam_transport *transport);
/* Whether a rank died without a word. */
bool lam_transport_any_lost(struct lam_transport *transport);

#endif
