/* Partition under memory limits, where blocks of a device share memory.
 *
 *     struct lam_partition_room room = {.block = {cpu_table, cpu_table}, .front = front, .limits = limits};
 *     problem.blocks = 0;                                     // as many as are best
 *     LAM_TRY(lam_partition_in_memory(&problem, &room, &cut, &found));
 *     if (found) need = lam_partition_device_need(&room, &cut, 0).total;
 *
 * Blocks of a device take turns, so they share one activation buffer and one workspace, each as large as its hungriest block
 * needs, and hand their outputs to each other in two slots at most, each as large as the largest output (stage.h); all else adds
 * up. A device needs
 *     data, on the first device; else the queue before its first block
 *     + the sum over its blocks of what is their own
 *     + the largest activations + the largest workspace + the largest slot inside, once or twice.
 */
#ifndef LAM_LOCAL_PARTITION_MEMORY_H
#define LAM_LOCAL_PARTITION_MEMORY_H

#include "local/partition.h"

/* Bytes of a block. */
struct lam_partition_bytes {
    size_t own; /* parameters, gradients, optimizer, snapshots */
    size_t activations, workspace;
};

/* Bytes before a block that begins with a unit: of the whole queue, if it is a device's first; else of one slot. */
struct lam_partition_front {
    size_t queue, slot;
};

struct lam_partition_room {
    /* By device, [units * units]: of the block from unit a to unit b at a * units + b; read where a <= b. Devices that are
     * alike may have the same table. */
    const struct lam_partition_bytes *block[LAM_MAX_BLOCKS];
    const struct lam_partition_front *front; /* [units]; that of unit 0 is not read */
    size_t data;                             /* on the first device beside its blocks */
    const size_t *limits;                    /* [devices] bytes, 0 = none */
};

/* The exact optimum among the partitions within all limits, with problem->blocks blocks, or, where that is 0, with as many
 * as are best:
 *   1. the least time of the slowest device, auxiliary networks counted;
 *   2. among those with the same, the least work in all;
 *   3. among those, the least sum over blocks of squared work, so that blocks are alike.
 * problem->block_bytes, context and limits are not read. *found: whether any partition fits; `*partition` is set if so. Errors:
 * as lam_partition_profiled's but for memory. */
lam_status lam_partition_in_memory(const struct lam_partition_problem *problem,
                                   const struct lam_partition_room *room, struct lam_partition *partition,
                                   bool *found);

/* What a device needs in a partition. */
struct lam_partition_need {
    size_t own, queue, data, activations, workspace, total; /* queue: slots inside, too */
};
struct lam_partition_need lam_partition_device_need(const struct lam_partition_room *room,
                                                    const struct lam_partition *partition, int device);

#endif
