/* The inner half of the partition's dynamic programme: for every run of units, the best way to cut it
 * into a given number of blocks on one device. Internal to lib/local/partition*.c.
 *
 * A run is named by its last unit, its number of blocks, and its spare units: those above one per block.
 * As no run of a partition can have more spare units than the whole (units - blocks), that is all that is
 * tabulated. The ways to cut a run use those of runs with the same end, so these lie together.
 */
#ifndef LAM_LOCAL_PARTITION_RUNS_H
#define LAM_LOCAL_PARTITION_RUNS_H

#include <stdint.h>

#include "local/partition.h"

/* Squares of 52-bit numbers are summed exactly. */
__extension__ typedef unsigned __int128 lam_u128;

struct lam_partition_cost {
    int64_t work;     /* ticks: a 2^-52th of all seconds, or bytes where these are minimised */
    lam_u128 squares; /* of the blocks' work */
};

/* A problem in exact numbers. */
struct lam_partition_search {
    const struct lam_partition_problem *problem;
    int units, blocks, devices;
    int spare;                              /* units - blocks */
    int64_t work_before[LAM_MAX_UNITS + 1]; /* of the units before this one */
    int64_t aux[LAM_MAX_UNITS];
    bool may_end[LAM_MAX_UNITS];
    size_t
        *bytes; /* [devices][units][spare + 1] of the block with so many spare units; NULL: not asked yet */
};

/* What is minimised, and within what. */
enum lam_partition_aim {
    LAM_PARTITION_TIME,           /* limits left out */
    LAM_PARTITION_TIME_IN_LIMITS, /* needs search->bytes */
    LAM_PARTITION_BYTES,          /* limits and time left out; needs search->bytes */
};

#define LAM_PARTITION_NO_REST UINT32_MAX

/* One way to cut a run: its first block, and the way to cut what follows. */
struct lam_partition_way {
    struct lam_partition_cost cost;
    size_t bytes;
    uint32_t rest; /* index of a way, smaller than this one's; LAM_PARTITION_NO_REST in a run of one block */
    uint8_t last_unit;
};

struct lam_partition_runs {
    int blocks, spare;              /* most in one run */
    struct lam_partition_way *ways; /* those of one run lie together: bytes rise, costs fall */
    size_t count, capacity;
    uint8_t *cuts; /* [ways][blocks] last units of the way's blocks */
    struct {
        uint32_t first, count;
    } * run; /* [units][blocks][spare + 1] */
};

/* Tabulates all runs on a device. LAM_ERR_NO_MEMORY; free in any case. `runs` must be zero or freed. */
lam_status lam_partition_runs_build(struct lam_partition_runs *runs,
                                    const struct lam_partition_search *search, enum lam_partition_aim aim,
                                    int device);
void lam_partition_runs_free(struct lam_partition_runs *runs);

static inline size_t lam_partition_runs_index(const struct lam_partition_runs *runs, int last_unit,
                                              int blocks, int spare) {
    size_t row = (size_t)last_unit * (size_t)runs->blocks + (size_t)(blocks - 1);
    return row * (size_t)(runs->spare + 1) + (size_t)spare;
}

/* The best way to cut a run; NULL: there is none. */
static inline const struct lam_partition_way *lam_partition_runs_best(const struct lam_partition_runs *runs,
                                                                      int last_unit, int blocks, int spare) {
    size_t at = lam_partition_runs_index(runs, last_unit, blocks, spare);
    if (!runs->run[at].count) return NULL;
    return &runs->ways[runs->run[at].first + runs->run[at].count - 1];
}

static inline int lam_partition_cost_compare(struct lam_partition_cost a, struct lam_partition_cost b) {
    if (a.work != b.work) return a.work < b.work ? -1 : 1;
    return a.squares < b.squares ? -1 : a.squares > b.squares;
}

/* 0 where the device has none. */
static inline size_t lam_partition_limit(const struct lam_partition_problem *problem, int device) {
    return problem->limits ? problem->limits[device] : 0;
}

/* partition.c: checks a problem and turns it into exact numbers; search->problem is the problem itself. */
lam_status lam_partition_prepare(const struct lam_partition_problem *problem,
                                 struct lam_partition_search *search);
/* partition.c: what is told of a partition, from its last units and devices. */
void lam_partition_fill_in(const struct lam_partition_problem *problem, const int *last_unit,
                           const int *device_of, struct lam_partition *partition);

/* partition_search.c: the optimum for an aim. *found: whether there is any partition. */
lam_status lam_partition_search_run(const struct lam_partition_search *search, enum lam_partition_aim aim,
                                    int *last_unit, int *device, bool *found);

#endif
