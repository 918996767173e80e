/* Partition: which units make up which block, and which device runs it.
 *
 *     struct lam_partition_problem problem = {
 *         .units = 17, .blocks = 4, .devices = 2, .unit_seconds = units, .aux_seconds = aux, .speed = NULL};
 *     struct lam_partition cut;
 *     LAM_TRY(lam_partition_profiled(&problem, &cut));     // last unit and device of each block
 *     LAM_TRY(lam_partition_uniform(&problem, &cut));      // by numbers that need no measuring (FLOPs)
 *     LAM_TRY(lam_partition_parse("3,7,11", &problem, &cut));      // a list of last units
 *
 * Blocks are runs of units, none empty; devices take runs of blocks in their order, none idle. A block
 * costs the sum of its units and, unless it is the last block, the auxiliary network behind its last
 * unit. A device works for the sum of its blocks over its speed, and the slowest device sets the pace:
 * PPLL's throughput is one batch per max over devices (arXiv 2411.12780).
 *
 * Seconds are compared as multiples of a 2^-52th of their sum, so that sums do not depend on their order
 * and parts that are equal are found to be equal.
 */
#ifndef LAM_LOCAL_PARTITION_H
#define LAM_LOCAL_PARTITION_H

#include "base/status.h"

#include <stdbool.h>
#include <stddef.h>

enum { LAM_MAX_BLOCKS = 128, LAM_MAX_UNITS = 128 };

struct lam_partition_problem {
    int units, blocks, devices;
    const double *unit_seconds; /* [units] forward, backward and update of a unit on a device of speed 1 */
    /* [units] of the auxiliary network of a block whose last unit this is; NULL: none. The last unit's is
     * not read. */
    const double *aux_seconds;
    const double *speed; /* [devices] 1 = what seconds were measured on; NULL: all 1 */
    /* [units] whether a block may end with this unit; NULL: with every unit. The last unit's is not read. */
    const bool *may_cut;
    const char *const *unit_names; /* [units] for messages */
    /* Bytes that a block of these units takes on a device; a device needs the sum over its blocks. Asked
     * at most a few times for the same block; NULL: memory does not matter. */
    size_t (*block_bytes)(void *context, int device, int first_unit, int last_unit);
    void *context;
    const size_t *limits; /* [devices] bytes, 0 = none; NULL: none at all */
};

struct lam_partition {
    int blocks, devices;
    int last_unit[LAM_MAX_BLOCKS];
    int device[LAM_MAX_BLOCKS];
    double block_seconds[LAM_MAX_BLOCKS];  /* on its device */
    double device_seconds[LAM_MAX_BLOCKS]; /* by device */
    double ideal_speedup;                  /* sum over devices / slowest device: PPLL over sequential */
};

/* The exact optimum by dynamic programming, among the partitions within all limits:
 *   1. the least time of the slowest device;
 *   2. among those with the same, the least work in all, which is the least in auxiliary networks;
 *   3. among those, the least sum over blocks of squared work, so that blocks are alike;
 *   4. among those, the smallest last units in order;
 *   5. among those, the most blocks on the first device, then on the second, ...
 * Work is seconds on a device of speed 1. Without 2, the best cuts of a device that could take longer
 * would be a knapsack problem. Errors: LAM_ERR_MEMORY_LIMIT where every partition breaks a limit, with a
 * device, its limit and what it would need in the partition whose worst excess is least. LAM_ERR_INVALID:
 * units, blocks or devices out of range; more blocks than units or than places to cut, with the most that
 * there can be; more devices than blocks; seconds or speeds that make no sense. LAM_ERR_NO_MEMORY.
 * `*partition` may be uninitialised. */
lam_status lam_partition_profiled(const struct lam_partition_problem *problem,
                                  struct lam_partition *partition);

/* Equal parts of unit_seconds (which here are FLOPs or any measure): the least sum over blocks of
 * squares, so the cuts do not depend on the devices. Auxiliary networks, speeds and memory are left out,
 * also from what is filled in. Blocks go to devices as lam_partition_fixed would put them. Errors as
 * above but for memory. */
lam_status lam_partition_uniform(const struct lam_partition_problem *problem,
                                 struct lam_partition *partition);

/* "3,7,11": the last units of all blocks but the last, as numbers or unit names ("layer1.2,layer2.1"),
 * rising; "" for a single block. problem->blocks 0: as many blocks as the list says; else they must
 * agree. Blocks go to devices as lam_partition_fixed would put them, or, where a slash stands for a comma or behind the list
 * ("3,7/11", "3,7,11/"), the block behind it is the first of the next device; then memory is left out. LAM_ERR_INVALID, or
 * LAM_ERR_NOT_FOUND for a name that no unit has, name the bad entry and what it may be (the nearest
 * name); LAM_ERR_UNSUPPORTED where may_cut forbids a cut. */
lam_status lam_partition_parse(const char *text, const struct lam_partition_problem *problem,
                               struct lam_partition *partition);

/* What lam_partition_parse reads back to the same partition, with slashes. Caller frees; NULL: no memory. */
char *lam_partition_text(const struct lam_partition *partition);

/* Fixed cuts (a paper's, or a list's) put on devices so that the slowest one is least slow, within the
 * limits; then with the most blocks on the first device, on the second, ...; fills everything else in.
 * last_unit[blocks - 1] is not read. LAM_ERR_INVALID where last units do not rise or leave the last block
 * empty, LAM_ERR_UNSUPPORTED where may_cut forbids one; else as lam_partition_profiled. */
lam_status lam_partition_fixed(const int *last_unit, const struct lam_partition_problem *problem,
                               struct lam_partition *partition);

#endif
