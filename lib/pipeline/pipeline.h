/* The pipeline: blocks on their devices, fed with batches, under a schedule.
 *
 *     struct lam_pipeline_options options = {.blocks = blocks, .block_count = 4, .schedule = LAM_PIPELINE_PPLL,
 *                                            .queue = 2, .ema_momentum = 0.995f, .seed = 1, .context = run,
 *                                            .step_done = log_step, .evaluated = count_right};
 *     LAM_TRY(lam_pipeline_create(&options, &pipeline));         // 1. stages and queues; nothing is allocated
 *     need = lam_pipeline_memory(pipeline, 0);                   //    forecast for the first device
 *     LAM_TRY(lam_pipeline_allocate(pipeline));                  // 2. all device memory, parameters included
 *     ... initial weights, or those of a checkpoint, into the blocks' parameters ...
 *     LAM_TRY(lam_pipeline_start(pipeline, step, true));         // 3. twins of a new run; the workers
 *     LAM_TRY(lam_pipeline_train(pipeline, batch, release, loader, rate, step));      // 4. any number of them
 *     LAM_TRY(lam_pipeline_drain(pipeline));                     // 5. now every block has done every step
 *
 * PPLL (arXiv 2411.12780): a worker thread per device takes a batch from its queue, runs its blocks one after another, and
 * hands what each gives out to the next block as soon as its forward pass is through; nothing comes back but tagged
 * snapshots of parameters for EMA twins. SEQUENTIAL does the same steps in the caller's thread, one block after another:
 * plain local learning. Both do exactly the same arithmetic: what a block computes depends on the batch, its own state and
 * the snapshot for this step, never on timing; so the parameters after any number of steps agree to the bit.
 *
 * GPIPE and 1F1B train end to end, for comparison: one block per device, made for micro-batches, whose gradients flow back. A
 * batch is cut into micro-batches; GPIPE runs all forward, then all backward, 1F1B begins with a backward pass as soon as
 * there is one; then each device updates. Batch norm takes its statistics from each micro-batch. Both give the same parameters, and
 * without batch norm those of end-to-end training but for rounding.
 *
 * Snapshots. At the end of its step t block j needs block j + 1's parameters after t updates (METHODS: exact EMA), or, with
 * ema_lag L, after t - L, at least 0. Block j + 1 publishes version t + 1 at the end of its step t. So between two steps a
 * run's state is its blocks and the last L versions before the present one: a checkpoint holds them, too.
 *
 * Memory. End-to-end pipelines keep one batch of activations and one of gradients between two devices. Else, between two
 * blocks on different devices stand queue + 1 slots (one is being filled while `queue` wait or are
 * worked on); they belong to the receiver's device, kind "queue". Blocks of one device take turns, so two slots serve all of
 * them: each block reads one and writes the other. Between CPU devices a slot is the very
 * memory that the sender's last op writes and the receiver's first op reads.
 *
 * Ranks. With a transport, the stage of device r runs in rank r, and this process works for the stage of its own rank alone. All
 * ranks create the same pipeline and make the same calls; train and evaluate take a batch in rank 0 only, and wait
 * for it to arrive in the others. Between two ranks a batch is copied from LAM_PIPELINE_STAGING slots of the sender into the
 * receiver's queue. The last rank, the *head*, is told of the steps of all blocks, and of evaluation batches. What is sent is
 * what would have stayed in place, so the parameters are the same to the bit.
 *
 * Errors. The first one anywhere, also in another rank, poisons all queues; the workers stop, and every call from then on
 * returns it.
 */
#ifndef LAM_PIPELINE_PIPELINE_H
#define LAM_PIPELINE_PIPELINE_H

#include "local/stage.h"
#include "pipeline/trace.h"
#include "pipeline/transport.h"

enum lam_pipeline_schedule {
    LAM_PIPELINE_SEQUENTIAL,
    LAM_PIPELINE_PPLL,
    LAM_PIPELINE_GPIPE, /* end to end; Huang et al., arXiv 1811.06965 */
    LAM_PIPELINE_1F1B,  /* end to end; Narayanan et al., arXiv 2006.09503 (PipeDream-Flush) */
};

/* Slots in which batches stand that are on their way to another rank. */
enum { LAM_PIPELINE_STAGING = 2 };

/* A step of one block, told when it is done. */
struct lam_pipeline_step {
    int block;                     /* from 0 */
    const struct lam_block *of;    /* NULL: it was done in another rank */
    const struct lam_batch *batch; /* NULL: the same */
    uint64_t step;
    float loss, gradient_norm;
};

struct lam_pipeline_options {
    struct lam_block *const *blocks; /* not owned; in order, those of one device next to each other */
    int block_count;
    enum lam_pipeline_schedule schedule;
    int queue; /* >= 1; PPLL */
    float ema_momentum;
    int ema_lag;
    uint64_t seed;
    struct lam_trace *trace;         /* NULL: none. Lane d belongs to device d. */
    struct lam_transport *transport; /* NULL: all stages in this process. Not owned; PPLL. */

    void *context;
    /* Called by the block's worker after each step of a block, in order of the steps; calls for different devices come at
     * the same time. batch's data may not be touched. */
    lam_status (*step_done)(void *context, const struct lam_pipeline_step *step);
    /* Called by the last block's worker after an evaluation batch, in order. */
    lam_status (*evaluated)(void *context, struct lam_block *block, const struct lam_batch *batch);

    double watchdog_seconds; /* nothing moves for so long: states go to the log as a warning; 0 = never */
    unsigned
        longest_delay; /* microseconds; tests: workers sleep at random, up to so long, between their actions */
};

struct lam_pipeline;

lam_status lam_pipeline_create(const struct lam_pipeline_options *options, struct lam_pipeline **pipeline);
void lam_pipeline_destroy(struct lam_pipeline *pipeline); /* stops the workers first. NULL is allowed */

/* Whether the stage of a device runs in this process. */
bool lam_pipeline_local(const struct lam_pipeline *pipeline, int device);
int lam_pipeline_device_of(const struct lam_pipeline *pipeline, int block);
bool lam_pipeline_has_block(const struct lam_pipeline *pipeline, int block);
/* Whether this process has the last stage. */
bool lam_pipeline_head(const struct lam_pipeline *pipeline);

/* Devices in order of the network. */
int lam_pipeline_devices(const struct lam_pipeline *pipeline);
const struct lam_stage *lam_pipeline_stage(const struct lam_pipeline *pipeline, int device);
/* All that a device needs, by kind: its blocks, its queue and its snapshots. Known after create. */
struct lam_block_memory lam_pipeline_memory(const struct lam_pipeline *pipeline, int device);
/* What this process needs of it. */
lam_status lam_pipeline_allocate(struct lam_pipeline *pipeline);

/* What lam_pipeline_memory is made of, known before there are blocks (SEQUENTIAL and PPLL): slots before a block whose
 * predecessor is on another device; bytes of a slot beside the activation; versions of what a twin follows. */
int lam_pipeline_slots(enum lam_pipeline_schedule schedule, int queue);
size_t lam_pipeline_slot_fields(const struct lam_network *network, int batch);
int lam_pipeline_versions(int ema_lag);

/* After `step` updates: how many versions before the present one block `block`'s twins have still to read, the lesser
 * of step and ema_lag; 0 where it has no twins. */
int lam_pipeline_older_versions(const struct lam_pipeline *pipeline, int block, uint64_t step);
/* What those twins follow, after `version` updates: lam_block_twin_count floats on the block's device, in the order of its
 * parameters. Of older versions, to be read after a drain, and to be filled in between allocate and a start that is not fresh. */
float *lam_pipeline_version(const struct lam_pipeline *pipeline, int block, uint64_t version);

/* `step` updates have been done. fresh: twins start as what they follow; else they and the older versions are as a
 * checkpoint left them. */
lam_status lam_pipeline_start(struct lam_pipeline *pipeline, uint64_t step, bool fresh);

/* Hands a batch in: release(release_context, batch) is called when the first block has finished with it, also after an
 * error. Waits while the first device is busy. Steps must follow each other. In ranks but the first, batch is NULL. */
typedef void (*lam_pipeline_release)(void *context, struct lam_batch *batch);
lam_status lam_pipeline_train(struct lam_pipeline *pipeline, struct lam_batch *batch,
                              lam_pipeline_release release, void *release_context, float learning_rate,
                              uint64_t step);
/* Forward through all blocks in evaluation mode; results come to options.evaluated. Drain before and after. */
lam_status lam_pipeline_evaluate(struct lam_pipeline *pipeline, struct lam_batch *batch,
                                 lam_pipeline_release release, void *release_context);
/* Ranks: the first one announces that no batch will follow; in the others train and evaluate then return without having got
 * one, and lam_pipeline_announced says why. */
lam_status lam_pipeline_announce_stop(struct lam_pipeline *pipeline);
bool lam_pipeline_announced(const struct lam_pipeline *pipeline);
/* Waits until everything that was handed in is done; in the head by all ranks, else by this one. */
lam_status lam_pipeline_drain(struct lam_pipeline *pipeline);

/* Ends the workers, whatever they do; nothing can be handed in any more, and all batches have been given back. To be called
 * before what batches came from is closed, after an error. */
void lam_pipeline_stop(struct lam_pipeline *pipeline);

/* Seconds of a device of this process since the last reset, by what it did; under SEQUENTIAL waiting is the other devices' work. */
struct lam_pipeline_times {
    double busy;    /* computing */
    double forward; /* of that: until the step's output was handed on; last block: 0 */
    double starved; /* waiting for a batch or a snapshot */
    double blocked; /* waiting for room in the next queue */
};
struct lam_pipeline_times lam_pipeline_times(const struct lam_pipeline *pipeline, int device);
void lam_pipeline_reset_times(struct lam_pipeline *pipeline); /* after a drain */

/* One line per device: what its worker does, at which step, and how full its queue is. Caller frees; NULL: no memory. */
char *lam_pipeline_text(const struct lam_pipeline *pipeline);

#endif
