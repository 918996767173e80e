/* A discrete-event simulation of pipeline schedules, fed with measured times: what more devices than this machine
 * has would give.
 *
 *     struct lam_simulated_stage stages[4] = {{.forward = 0.010, .backward = 0.021, .aux = 0.003, .update = 0.0005,
 *                                              .send_bytes = 8 << 20, .snapshot_bytes = 18432}, ...};
 *     struct lam_simulation simulation = {.schedule = LAM_SIMULATE_PPLL, .stages = stages, .stage_count = 4,
 *                                         .batches = 400, .queue = 2, .link_bytes_per_s = 12e9, .latency = 5e-6};
 *     struct lam_simulation_result result;
 *     LAM_TRY(lam_simulate(&simulation, &result));        // seconds, and busy / starved / blocked per device
 *
 * One stage per device; the first stage always finds its next batch ready. It models what lib/pipeline does: bounded
 * FIFO queues, activations sent right after the forward pass (or at the end of the step), a slot held until both ends
 * have finished with it, transfers that overlap with work and take latency + bytes / bandwidth one after another in
 * each direction of a link, parameter snapshots sent upstream after an update, and the wait of a block for the
 * snapshot that its EMA needs.
 *
 * A local step is: forward, hand over, auxiliary network and backward, update, (late_send: hand over,) wait for the
 * snapshot. The input's slot is free after the update. gpipe and 1f1b train end to end: no auxiliary network, no
 * snapshots; gradients of send_bytes travel upstream; a stage keeps the activations of a whole batch, so nothing
 * blocks; it starts the next batch when it has updated.
 */
#ifndef LAM_PIPELINE_SIMULATE_H
#define LAM_PIPELINE_SIMULATE_H

#include "base/status.h"

#include <stdbool.h>
#include <stdint.h>

enum lam_simulated_schedule {
    LAM_SIMULATE_SEQUENTIAL, /* one block after another, one device at a time: plain local learning */
    LAM_SIMULATE_PPLL,
    /* All micro-batches forward, then all backward, then update (Huang et al., arXiv 1811.06965). */
    LAM_SIMULATE_GPIPE,
    /* As many forward as there are stages from here on, then one backward, one forward in turn; flushed each batch
     * (PipeDream-Flush: Narayanan et al., arXiv 2006.09503). */
    LAM_SIMULATE_1F1B,
    LAM_SIMULATED_SCHEDULES
};
const char *lam_simulated_schedule_name(enum lam_simulated_schedule schedule); /* "sequential", "ppll", ... */

struct lam_simulated_stage {               /* seconds for a whole batch */
    double forward, aux, backward, update; /* aux: the auxiliary network's forward, backward and loss */
    double send_bytes;                     /* activations of a batch to the next stage */
    double snapshot_bytes;                 /* parameters for the stage before; 0: that one has no EMA */
    /* Activations leave at the end of the step (a block whose step is one segment), not right after forward. */
    bool late_send;
};

struct lam_simulation {
    enum lam_simulated_schedule schedule;
    const struct lam_simulated_stage *stages;
    int stage_count;
    int batches;

    /* sequential, ppll */
    int queue;       /* batches that may be handed over and not finished by the receiver */
    bool early_slot; /* room is waited for before forward, which writes into the slot, not at hand-over */
    int ema_lag;     /* the snapshot of update t - 1 - lag is used at step t */

    /* gpipe, 1f1b */
    int micro_batches;     /* M; a micro-batch takes 1/M of forward and backward plus `micro_overhead` */
    double micro_overhead; /* seconds per micro-batch and pass that splitting costs */

    /* The link between neighbours, each direction; 0 bytes/s: transfers take no time at all. */
    double link_bytes_per_s, latency;

    /* Each stage's times are multiplied by 1 + jitter * u, u uniform in [-1, 1), drawn per stage and step from
     * seed: the same numbers under every schedule. */
    double jitter;
    uint64_t seed;
};

enum { LAM_SIMULATED_STAGES = 128 };

struct lam_simulation_result {
    double seconds;        /* of all batches, fill and drain included */
    double steady_seconds; /* per batch in the second half: the throughput of a long run */
    double ideal_seconds;  /* per batch, without jitter: the slowest stage's work; sequential: that of all */
    /* Shares of `seconds`, their sum is 1. starved: no batch, gradient, snapshot or turn, or all done; blocked: no
     * room in the next queue. */
    double busy[LAM_SIMULATED_STAGES], starved[LAM_SIMULATED_STAGES], blocked[LAM_SIMULATED_STAGES];
    /* Most batches (gpipe, 1f1b: micro-batches) that waited in front of a stage. */
    int peak_waiting[LAM_SIMULATED_STAGES];
};

/* LAM_ERR_INVALID for counts and times that make no sense, with the name and the value; LAM_ERR_NO_MEMORY. Counts
 * that the schedule does not use are not looked at. */
lam_status lam_simulate(const struct lam_simulation *simulation, struct lam_simulation_result *result);

#endif
