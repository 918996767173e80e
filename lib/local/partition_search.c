/* The outer half of the partition's dynamic programme: which run of blocks goes to which device.
 *
 * Two passes, each from the last device to the first. The first finds the least time of the slowest
 * device. With that time as a budget of every device, the second minimises what adds up over devices:
 * work, squares, last units in order. (One pass over both would be wrong: the best end of a partition
 * need not be the one with the least slowest device, when a device before it is slower anyway.) The
 * cheapest way to cut a run serves both passes, as the budget is one of work.
 *
 * A state is what is left to do for devices d and later: blocks from `block` on, and how many spare units
 * those before them took.
 */
#include "local/partition_runs.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* By state, the best way to put its blocks on the devices. */
struct table {
    double *slowest;                 /* first pass; INFINITY: there is no way */
    struct lam_partition_cost *cost; /* second pass; from NO_WAY on: there is no way */
    uint8_t *cuts; /* second pass: [states][blocks] last units of the state's blocks, by block */
};

/* What the device under work can take from one unit on: [blocks][spare + 1]. Copied from the runs and
 * weighed for all states at that unit at once. */
struct choices {
    const struct lam_partition_way **way;
    int64_t *work; /* NO_WAY: none, or over the budget */
    double *load;  /* INFINITY: none */
    int most;      /* spare units of any that is within the budget */
};

struct outer {
    const struct lam_partition_search *search;
    enum lam_partition_aim aim;
    struct lam_partition_runs runs; /* on the device under work */
    int device;
    int64_t budget;          /* second pass: of work on this device */
    struct table now, after; /* for this device and later; for the next and later */
    struct choices choices;
    uint8_t *taken; /* second pass: [devices][states] blocks that the device takes */
};

/* Takes for one state the best that the device can do, with `blocks` blocks. */
typedef void take_blocks(struct outer *outer, int block, int spare, int blocks);

/* Sums of two are no overflow, and no sum of bytes or ticks comes near. */
static const int64_t NO_WAY = INT64_MAX / 4;

static size_t state_of(const struct outer *outer, int block, int spare) {
    return (size_t)block * (size_t)(outer->search->spare + 1) + (size_t)spare;
}

static size_t state_count(const struct outer *outer) {
    return state_of(outer, outer->search->blocks + 1, 0);
}

/* What the first pass minimises the largest of: seconds, in ticks, or bytes above the limit. */
static double load(const struct outer *outer, int64_t work) {
    const struct lam_partition_problem *problem = outer->search->problem;
    if (outer->aim == LAM_PARTITION_BYTES) {
        size_t limit = lam_partition_limit(problem, outer->device);
        return limit ? (double)work - (double)limit : -INFINITY;
    }
    return problem->speed ? (double)work / problem->speed[outer->device] : (double)work;
}

/* The most work whose load is within `most`. */
static int64_t budget(const struct outer *outer, double most) {
    int64_t within = 0, above = INT64_MAX;
    if (load(outer, above) <= most) return above;
    if (load(outer, within) > most) return -1;
    while (above - within > 1) {
        int64_t middle = within + (above - within) / 2;
        *(load(outer, middle) <= most ? &within : &above) = middle;
    }
    return within;
}

static size_t choice_of(const struct outer *outer, int blocks, int own) {
    return (size_t)(blocks - 1) * (size_t)(outer->search->spare + 1) + (size_t)own;
}

/* Spare units that the device must and may take in a state: the last device takes all that are left. */
static int least_own(const struct outer *outer, int spare) {
    return outer->device == outer->search->devices - 1 ? outer->search->spare - spare : 0;
}

static int most_own(const struct outer *outer, int spare) {
    int left = outer->search->spare - spare;
    return left < outer->choices.most ? left : outer->choices.most;
}

static void take_fastest(struct outer *outer, int block, int spare, int blocks) {
    const double *load_of = outer->choices.load + choice_of(outer, blocks, 0);
    const double *after = outer->after.slowest + state_of(outer, block + blocks, spare);
    double least = outer->now.slowest[state_of(outer, block, spare)];
    for (int own = least_own(outer, spare); own <= most_own(outer, spare); own++) {
        double slowest = load_of[own] > after[own] ? load_of[own] : after[own];
        least = slowest < least ? slowest : least;
    }
    outer->now.slowest[state_of(outer, block, spare)] = least;
}

/* A run for the device under work, beginning at a state, and the state after it. */
struct step {
    const struct lam_partition_way *way;
    size_t from, to;
    int block, blocks;
};

static const uint8_t *cuts_of(const struct outer *outer, const struct lam_partition_way *way) {
    return outer->runs.cuts + (size_t)(way - outer->runs.ways) * (size_t)outer->runs.blocks;
}

/* Whether the step's last units come before those that the state has so far. */
static bool cuts_before(const struct outer *outer, const struct step *step) {
    int blocks = outer->search->blocks, end = step->block + step->blocks;
    const uint8_t *had = outer->now.cuts + step->from * (size_t)blocks;
    const uint8_t *rest = outer->after.cuts + step->to * (size_t)blocks;
    int order = memcmp(cuts_of(outer, step->way), had + step->block, (size_t)step->blocks);
    if (order == 0) order = memcmp(rest + end, had + end, (size_t)(blocks - end));
    return order < 0;
}

static void write_cuts(struct outer *outer, const struct step *step) {
    int blocks = outer->search->blocks, end = step->block + step->blocks;
    uint8_t *cuts = outer->now.cuts + step->from * (size_t)blocks;
    const uint8_t *rest = outer->after.cuts + step->to * (size_t)blocks;
    memcpy(cuts + step->block, cuts_of(outer, step->way), (size_t)step->blocks);
    memcpy(cuts + end, rest + end, (size_t)(blocks - end));
}

static void take_if_cheaper(struct outer *outer, const struct step *step) {
    struct lam_partition_cost cost = outer->after.cost[step->to], *best = &outer->now.cost[step->from];
    cost.work += step->way->cost.work;
    cost.squares += step->way->cost.squares;
    int order = lam_partition_cost_compare(cost, *best);
    if (order > 0 || (order == 0 && !cuts_before(outer, step))) return;
    *best = cost;
    write_cuts(outer, step);
    outer->taken[(size_t)outer->device * state_count(outer) + step->from] = (uint8_t)step->blocks;
}

static void take_cheapest(struct outer *outer, int block, int spare, int blocks) {
    struct step step = {.from = state_of(outer, block, spare), .block = block, .blocks = blocks};
    size_t choices = choice_of(outer, blocks, 0), states = state_of(outer, block + blocks, spare);
    for (int own = least_own(outer, spare); own <= most_own(outer, spare); own++) {
        int64_t work =
            outer->choices.work[choices + (size_t)own] + outer->after.cost[states + (size_t)own].work;
        if (work >= NO_WAY || work > outer->now.cost[step.from].work) continue;
        step.way = outer->choices.way[choices + (size_t)own];
        step.to = states + (size_t)own;
        take_if_cheaper(outer, &step);
    }
}

static void list_choices(struct outer *outer, int unit) {
    outer->choices.most = -1;
    for (int blocks = 1; blocks <= outer->runs.blocks; blocks++)
        for (int own = 0; own <= outer->search->spare; own++) {
            size_t at = choice_of(outer, blocks, own);
            int end = unit + blocks + own - 1;
            const struct lam_partition_way *way =
                end < outer->search->units ? lam_partition_runs_best(&outer->runs, end, blocks, own) : NULL;
            bool within = way && way->cost.work <= outer->budget;
            outer->choices.way[at] = way;
            outer->choices.work[at] = within ? way->cost.work : NO_WAY;
            outer->choices.load[at] = within ? load(outer, way->cost.work) : INFINITY;
            if (within && own > outer->choices.most) outer->choices.most = own;
        }
}

/* All states in which the device begins with `unit`. The most blocks come first: they win where all else
 * is equal. */
static void leave_unit(struct outer *outer, int unit, take_blocks *take) {
    const struct lam_partition_search *search = outer->search;
    int others = search->devices - 1 - outer->device;
    int last = outer->device ? search->blocks - 1 - others : 0;
    list_choices(outer, unit);
    for (int block = outer->device; block <= last; block++) {
        if (unit < block || unit - block > search->spare) continue;
        int most = search->blocks - block - others;
        for (int blocks = most; blocks >= (others ? 1 : most); blocks--)
            take(outer, block, unit - block, blocks);
    }
}

static bool has_limit(const struct outer *outer, int device) {
    return outer->aim == LAM_PARTITION_BYTES || (outer->aim == LAM_PARTITION_TIME_IN_LIMITS &&
                                                 lam_partition_limit(outer->search->problem, device));
}

/* Devices without a limit share one table of runs. */
static lam_status prepare_runs(struct outer *outer, int device) {
    bool same = outer->runs.count && !has_limit(outer, device) && !has_limit(outer, outer->device);
    outer->device = device;
    return same ? LAM_OK : lam_partition_runs_build(&outer->runs, outer->search, outer->aim, device);
}

static void swap_tables(struct outer *outer) {
    struct table table = outer->after;
    outer->after = outer->now;
    outer->now = table;
}

static void clear_states(struct outer *outer) {
    for (size_t s = 0; s < state_count(outer); s++) {
        outer->now.slowest[s] = INFINITY;
        outer->now.cost[s] = (struct lam_partition_cost){.work = NO_WAY};
    }
}

/* Leaves the whole problem's plan in state 0 of outer->after. most: the budget, as a load. */
static lam_status pass(struct outer *outer, double most, take_blocks *take) {
    const struct lam_partition_search *search = outer->search;
    size_t done = state_of(outer, search->blocks, search->spare);
    clear_states(outer);
    outer->now.slowest[done] = -INFINITY;
    outer->now.cost[done] = (struct lam_partition_cost){.work = 0};
    for (int d = search->devices - 1; d >= 0; d--) {
        swap_tables(outer);
        clear_states(outer);
        LAM_TRY(prepare_runs(outer, d));
        outer->budget = budget(outer, most);
        for (int unit = d; unit < (d ? search->units : 1); unit++)
            if (unit == 0 || search->may_end[unit - 1]) leave_unit(outer, unit, take);
    }
    swap_tables(outer);
    return LAM_OK;
}

static void read_plan(const struct outer *outer, int *last_unit, int *device) {
    int blocks = outer->search->blocks, block = 0;
    for (int b = 0; b < blocks; b++) last_unit[b] = outer->after.cuts[b];
    for (int d = 0; d < outer->search->devices; d++) {
        int spare = block ? last_unit[block - 1] + 1 - block : 0;
        int taken = outer->taken[(size_t)d * state_count(outer) + state_of(outer, block, spare)];
        for (int i = 0; i < taken; i++) device[block++] = d;
    }
}

static bool allocate_table(const struct outer *outer, struct table *table) {
    size_t states = state_count(outer);
    table->slowest = calloc(states, sizeof *table->slowest);
    table->cost = calloc(states, sizeof *table->cost);
    table->cuts = calloc(states * (size_t)outer->search->blocks, sizeof *table->cuts);
    return table->slowest && table->cost && table->cuts;
}

static lam_status allocate(struct outer *outer) {
    size_t choices = state_count(outer);
    outer->choices.way = calloc(choices, sizeof *outer->choices.way);
    outer->choices.work = calloc(choices, sizeof *outer->choices.work);
    outer->choices.load = calloc(choices, sizeof *outer->choices.load);
    outer->taken = calloc(choices * (size_t)outer->search->devices, sizeof *outer->taken);
    bool tables = allocate_table(outer, &outer->now) && allocate_table(outer, &outer->after);
    if (tables && outer->choices.way && outer->choices.work && outer->choices.load && outer->taken)
        return LAM_OK;
    return lam_fail(LAM_ERR_NO_MEMORY, "out of memory for partitions");
}

static void free_table(struct table *table) {
    free(table->slowest);
    free(table->cost);
    free(table->cuts);
}

static lam_status run_passes(struct outer *outer, int *last_unit, int *device, bool *found) {
    LAM_TRY(allocate(outer));
    LAM_TRY(pass(outer, INFINITY, take_fastest));
    double slowest = outer->after.slowest[0];
    *found = slowest < INFINITY;
    if (!*found) return LAM_OK;
    LAM_TRY(pass(outer, slowest, take_cheapest));
    read_plan(outer, last_unit, device);
    return LAM_OK;
}

lam_status lam_partition_search_run(const struct lam_partition_search *search, enum lam_partition_aim aim,
                                    int *last_unit, int *device, bool *found) {
    struct outer outer = {.search = search, .aim = aim};
    lam_status status = run_passes(&outer, last_unit, device, found);
    lam_partition_runs_free(&outer.runs);
    free_table(&outer.now);
    free_table(&outer.after);
    free(outer.choices.way);
    free(outer.choices.work);
    free(outer.choices.load);
    free(outer.taken);
    return status;
}
