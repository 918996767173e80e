/* Inside lib/pipeline: what pipeline.c (its life, the calls from outside) and worker.c (what a device does) share.
 *
 * Links. links[j] stands before block j: a queue and the messages that its slots are. Message data is written by block
 * j - 1's worker (links[0]: by the caller) between acquire and publish, and read by block j's between take and release.
 *
 * Locks. pipeline->mutex guards error, handed_in and each device's `done`; of other locks only that of versions, which is held for a
 * few instructions, is taken while it is held.
 */
#ifndef LAM_PIPELINE_INTERNAL_H
#define LAM_PIPELINE_INTERNAL_H

#include <pthread.h>
#include <stdatomic.h>

#include "pipeline/bridge.h"
#include "pipeline/pipeline.h"
#include "pipeline/queue.h"
#include "pipeline/wire.h"

/* STOP: nothing to do but to hand it on (ranks). */
enum message_kind { MESSAGE_TRAIN, MESSAGE_EVALUATE, MESSAGE_STOP };

struct message {
    enum message_kind kind;
    struct lam_batch batch; /* data[f]: field f, or a part of the border in its place (lam_border_place) */
    int64_t *indices;       /* batch.indices, own storage */
    float learning_rate;
    uint64_t step;
    int micro_batches;      /* end to end: of this batch */
    int batch_samples;      /* end to end: of the whole batch */
    struct lam_batch *loan; /* links[0] alone: to be released */
    lam_pipeline_release release;
    void *release_context;
};

/* Where a link's data lies for the one who writes it, or reads it. */
struct side {
    struct lam_device *device;
    struct message *messages;                                    /* as many as the queue has slots */
    void *activation[LAM_MAX_FIELDS], *gradient[LAM_MAX_FIELDS]; /* end to end: of a whole batch, by place */
};

struct link {
    struct lam_queue *queue;
    struct side near; /* the receiver's */
    bool inside;      /* the block before is on the same device: the slot is one of the device's turns */
    /* Where the block before is on a device that does not share memory with this one: it writes into `outbox`, whose data is on
     * its own device, and the bridge takes that to the slot `bound_for`. NULL: it writes into the slot itself. */
    struct lam_bridge *bridge;
    struct message outbox;
    int bound_for;
    /* End to end: slots are parts of one batch, and gradients come back in a queue of their own. A sender that does not share
     * memory has a side of its own, and carriers to and from it; else they are NULL. */
    struct lam_queue *back;
    size_t micro_bytes[LAM_MAX_FIELDS]; /* of a micro-batch, by place */
    struct side far;
    struct lam_carrier *forward, *backward;
};

/* What a block's EMA twins follow: packed parameters of the next block, by version. */
struct followed {
    struct lam_versions *versions; /* NULL: the block has no twins */
    float **places;
    int kept;
    int64_t count; /* floats of a version */
    struct lam_carrier
        *carrier;  /* from the device of the block that is followed, if it does not share memory: */
    float *packed; /* a version there */
};

enum doing { DOING_NOTHING, DOING_WORK, DOING_STARVED, DOING_SNAPSHOT, DOING_BLOCKED, DOING_STATES };

struct worker {
    struct lam_pipeline *pipeline;
    int device;
    struct lam_stage stage;
    int first_block;
    char *turn[2]; /* what its blocks hand to each other: two slots */
    pthread_t thread;
    bool running;
    uint64_t done;            /* messages that all its blocks have done; pipeline->mutex */
    _Atomic uint64_t actions; /* grows with everything it does */
    _Atomic int doing;
    _Atomic uint64_t step;
    _Atomic uint64_t busy, forward, starved, blocked; /* nanoseconds */
    double forward_end; /* of the step in work, told by the output's hook; 0: not yet */
    uint64_t delays;    /* drawn so far */
};

/* Threads that carry what crosses between two ranks (ranks.c), each with a wire, as the entry has, where the main thread receives. */
enum { CARRY_BATCHES, CARRY_VERSIONS_UP, CARRY_VERSIONS_IN, CARRIERS, ENTRY = CARRIERS, WIRES };

/* What the head hears from another rank. */
struct reporter {
    struct lam_pipeline *pipeline;
    int rank;
    pthread_t thread;
    bool running;
    uint64_t steps; /* that all its blocks have done; pipeline->mutex */
};

struct lam_pipeline {
    struct lam_pipeline_options options;
    int blocks, devices;
    int first_device, end_device; /* of this process: [first, end) */
    struct worker *workers;
    int *device_of;         /* by block */
    struct link *links;     /* by block */
    struct followed *twins; /* by block */
    struct hook {
        struct worker *worker;
        struct link *link; /* behind it */
    } * hooks;             /* by block */
    pthread_mutex_t mutex;
    pthread_cond_t moved;
    struct lam_error error;         /* the first one; status LAM_OK: none */
    uint64_t handed_in, trained_in; /* of those to train on */
    bool started, stopping, announced;
    _Atomic bool carriers_end;
    uint64_t first_version; /* that is carried */
    pthread_t carriers[CARRIERS];
    bool carrying[CARRIERS];
    struct lam_wire *wires[WIRES];
    struct reporter *reporters; /* by rank; the head's */
    pthread_t watchdog;
    bool watched;
    _Atomic double reset_at; /* times count from here */
    double inside;           /* SEQUENTIAL: seconds in calls since then */
};

/* Runs one message through all blocks of the device. LAM_ERR_STOPPED: the pipeline was poisoned. */
lam_status lam_worker_message(struct worker *worker);
/* The loop of a PPLL worker: a thread's function, its argument a struct worker. */
void *lam_worker_loop(void *worker);
/* Publishes the present parameters of a block, if another one follows it. */
lam_status lam_worker_publish(struct worker *worker, int block);

/* One message through the device's one block, in micro-batches. */
lam_status lam_worker_end_to_end(struct worker *worker);
bool lam_pipeline_end_to_end(const struct lam_pipeline *pipeline);

/* ---- what both kinds of work share (worker.c) ---- */

void lam_worker_enter(struct worker *worker, enum doing doing);
void lam_worker_waited(struct worker *worker, _Atomic uint64_t *to, enum lam_trace_kind kind, int block,
                       uint64_t step, double begin);
void lam_worker_busy(struct worker *worker, _Atomic uint64_t *to, double seconds);
void lam_worker_delay(struct worker *worker);
/* Everything of a message but the activation: who the samples are, and, in training, the fields that losses read. */
lam_status lam_worker_fill(const struct worker *worker, int block, const struct message *from,
                           struct message *to);

/* What lies in the slot that was acquired behind a block is complete. */
void lam_worker_hand_on(struct link *behind);
/* All of a message but its data, which is somewhere else, and the room for its indices. */
void lam_worker_copy_head(const struct message *from, struct message *to);
/* From a bridge: it has arrived. context: a struct hook of the block before. */
void lam_worker_arrived(void *context, lam_status status);

lam_status lam_worker_name_batch(const struct message *in, lam_status status);

/* Of a full batch before this block, in training or in evaluation. */
int lam_pipeline_most_samples(const struct lam_block *block);
/* Of field `field` for a batch; 0: there is none. */
size_t lam_pipeline_field_bytes(const struct lam_field *fields, int count, int field, int batch);

/* First and end of the blocks of this process. */
int lam_pipeline_first_block(const struct lam_pipeline *pipeline);
int lam_pipeline_end_block(const struct lam_pipeline *pipeline);

/* ---- ranks (ranks.c); without a transport they do nothing ---- */

/* The batch that the rank before sends, into a message of the entry. */
lam_status lam_ranks_receive(struct lam_pipeline *pipeline, struct message *message);
/* A step of a block of this process, told to the head if that is another one. */
lam_status lam_ranks_report(struct lam_pipeline *pipeline, const struct lam_pipeline_step *step);
/* The wires to the devices of this process; destroyed with the pipeline. */
lam_status lam_ranks_allocate(struct lam_pipeline *pipeline);
/* The threads that carry, from version `step` on; and their end. */
lam_status lam_ranks_start(struct lam_pipeline *pipeline, uint64_t step);
void lam_ranks_stop(struct lam_pipeline *pipeline);
/* With the mutex held: whether all that other ranks send after a step has arrived: the versions that blocks of this one
 * follow, and in the head the others' reports. */
bool lam_ranks_settled(const struct lam_pipeline *pipeline);

/* The hook of a block's output; context: a struct hook. */
void lam_worker_output_done(void *context);

/* Remembers the first error and poisons all queues. */
void lam_pipeline_fail(struct lam_pipeline *pipeline, lam_status status);

#endif
