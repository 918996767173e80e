/* The search, in two layers.
 *
 * Inner: for a device and the unit that it begins with, the cheapest way to cut each run of units from there into blocks that
 * fits the device together. A way is a list of blocks, grown block by block; as what a block leaves for the next ones depends on
 * all before it, every way to reach a unit is kept that no other beats in work, own bytes, activations and workspace at once. They
 * stay few, since blocks and auxiliary networks are much the same within a stage of a network.
 *
 * Outer: which run goes to which device, from the last device to the first, in the two passes of partition_search.c: the least
 * time of the slowest device; then, with that as each device's budget, the least work in all.
 *
 * Where the number of blocks is given, ways and states are told apart by how many blocks they have.
 */
#include "local/partition_memory.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "local/partition_runs.h"
#include "local/stage.h"

static const uint32_t NONE = UINT32_MAX;

/* A way to cut the units from a device's first to the one before a unit. */
struct way {
    struct lam_partition_cost cost;
    struct lam_partition_bytes bytes; /* own: with the queue before the device, and data */
    size_t slot;                      /* the largest between its blocks */
    uint32_t before;                  /* the way without its last block; NONE: it has one block */
    uint8_t last_unit, blocks;
};

/* Ways that end with the same unit, by rising cost. */
struct list {
    uint32_t *way;
    int count, capacity;
};

struct inner {
    struct way *ways; /* of all devices and runs */
    size_t count, capacity;
    struct list list[LAM_MAX_UNITS];
};

struct fit {
    struct lam_partition_search search;
    const struct lam_partition_room *room;
    struct inner inner;
    bool counted;   /* the number of blocks is given */
    int most;       /* blocks; 0 where they are not counted */
    uint32_t *best; /* [devices][units][units][most + 1] the cheapest way from a unit to a unit */
    /* [devices + 1][units + 1][most + 1] what is left for a device and those after it */
    double *slowest;
    struct lam_partition_cost *cost;
    uint32_t *taken;
};

static const int64_t NO_WAY = INT64_MAX / 4;

/* ---- inner ---- */

static size_t add(size_t a, size_t b) {
    return a > SIZE_MAX - b ? SIZE_MAX : a + b;
}

static size_t larger(size_t a, size_t b) {
    return a > b ? a : b;
}

static size_t total(const struct way *way) {
    size_t slots =
        lam_stage_turns(way->blocks) ? add(way->slot, lam_stage_turns(way->blocks) == 2 ? way->slot : 0) : 0;
    return add(add(way->bytes.own, slots), add(way->bytes.activations, way->bytes.workspace));
}

/* Whether a way that costs no more than another is no worse in anything else either. */
static bool beats(const struct fit *fit, const struct way *a, const struct way *b) {
    return (!fit->counted || a->blocks == b->blocks) && a->bytes.own <= b->bytes.own &&
           a->bytes.activations <= b->bytes.activations && a->bytes.workspace <= b->bytes.workspace &&
           a->slot <= b->slot && lam_stage_turns(a->blocks) <= lam_stage_turns(b->blocks);
}

static lam_status push_way(struct inner *inner, const struct way *way, uint32_t *index) {
    if (inner->count == inner->capacity) {
        size_t capacity = inner->capacity ? inner->capacity * 2 : 4096;
        struct way *ways = capacity < NONE ? realloc(inner->ways, capacity * sizeof *ways) : NULL;
        if (!ways) return lam_no_memory();
        inner->ways = ways;
        inner->capacity = capacity;
    }
    *index = (uint32_t)inner->count;
    inner->ways[inner->count++] = *way;
    return LAM_OK;
}

static lam_status make_room(struct list *list) {
    if (list->count < list->capacity) return LAM_OK;
    int capacity = list->capacity ? list->capacity * 2 : 64;
    uint32_t *way = realloc(list->way, (size_t)capacity * sizeof *way);
    if (!way) return lam_no_memory();
    list->way = way;
    list->capacity = capacity;
    return LAM_OK;
}

/* Puts a way among those that end with the same unit, unless one of them beats it; drops those that it beats. */
static lam_status keep(struct fit *fit, const struct way *way) {
    struct inner *inner = &fit->inner;
    struct list *list = &inner->list[way->last_unit];
    int at = 0;
    for (; at < list->count; at++) {
        const struct way *other = &inner->ways[list->way[at]];
        if (lam_partition_cost_compare(other->cost, way->cost) > 0) break;
        if (beats(fit, other, way)) return LAM_OK;
    }
    int end = at;
    for (int i = at; i < list->count; i++)
        if (!beats(fit, way, &inner->ways[list->way[i]])) list->way[end++] = list->way[i];
    list->count = end;
    LAM_TRY(make_room(list));
    memmove(list->way + at + 1, list->way + at, (size_t)(list->count - at) * sizeof *list->way);
    list->count++;
    return push_way(inner, way, &list->way[at]);
}

/* Adds the block [first, last] behind a way (NULL: it is the device's first). Without a limit bytes do not matter. */
static lam_status extend(struct fit *fit, int device, const struct way *before, uint32_t index, int first,
                         int last) {
    const struct lam_partition_search *s = &fit->search;
    const struct lam_partition_room *room = fit->room;
    int64_t work = s->work_before[last + 1] - s->work_before[first] + s->aux[last];
    struct way way = {.cost = {work, (lam_u128)work * (lam_u128)work},
                      .before = index,
                      .last_unit = (uint8_t)last,
                      .blocks = 1};
    if (before) {
        way.cost.work += before->cost.work;
        way.cost.squares += before->cost.squares;
        way.blocks = (uint8_t)(before->blocks + 1);
    }
    if (room->limits[device]) {
        const struct lam_partition_bytes *block = &room->block[device][first * s->units + last];
        size_t front = before ? 0 : first == 0 ? room->data : room->front[first].queue;
        way.bytes = before ? before->bytes : (struct lam_partition_bytes){0};
        way.bytes.own = add(way.bytes.own, add(block->own, front));
        way.bytes.activations = larger(way.bytes.activations, block->activations);
        way.bytes.workspace = larger(way.bytes.workspace, block->workspace);
        way.slot = before ? larger(before->slot, room->front[first].slot) : 0;
        if (total(&way) > room->limits[device]) return LAM_OK;
    }
    return keep(fit, &way);
}

static uint32_t *best_of(const struct fit *fit, int device, int first, int last) {
    size_t units = (size_t)fit->search.units;
    size_t row = ((size_t)device * units + (size_t)first) * units + (size_t)last;
    return fit->best + row * (size_t)(fit->most + 1);
}

/* All blocks that can follow the ways that end with unit `first` - 1. */
static lam_status extend_all(struct fit *fit, int device, int first) {
    struct list *list = &fit->inner.list[first - 1];
    for (int i = 0; i < list->count; i++) {
        uint32_t index = list->way[i];
        struct way before = fit->inner.ways[index]; /* a copy: ways move as they grow */
        if (fit->counted && before.blocks >= fit->search.blocks) continue;
        for (int last = first; last < fit->search.units; last++)
            if (fit->search.may_end[last]) LAM_TRY(extend(fit, device, &before, index, first, last));
    }
    return LAM_OK;
}

/* The cheapest ways of one device that begin with unit `first`. */
static lam_status tabulate(struct fit *fit, int device, int first) {
    struct inner *inner = &fit->inner;
    int units = fit->search.units;
    for (int u = 0; u < units; u++) inner->list[u].count = 0;
    for (int last = first; last < units; last++)
        if (fit->search.may_end[last]) LAM_TRY(extend(fit, device, NULL, NONE, first, last));
    for (int next = first + 1; next < units; next++) LAM_TRY(extend_all(fit, device, next));
    for (int last = first; last < units; last++) {
        uint32_t *best = best_of(fit, device, first, last);
        for (int i = inner->list[last].count - 1; i >= 0; i--) { /* by falling cost: the cheapest stays */
            uint32_t way = inner->list[last].way[i];
            best[fit->counted ? inner->ways[way].blocks : 0] = way;
        }
    }
    return LAM_OK;
}

/* The device before, from the second on, that can take just the same. */
static bool same_as_before(const struct fit *fit, int device) {
    const struct lam_partition_room *room = fit->room;
    return device > 1 && room->limits[device] == room->limits[device - 1] &&
           (!room->limits[device] || room->block[device] == room->block[device - 1]);
}

static lam_status tabulate_devices(struct fit *fit) {
    int units = fit->search.units, devices = fit->search.devices;
    size_t row = (size_t)units * (size_t)(fit->most + 1);
    for (int d = 0; d < devices; d++) {
        if (same_as_before(fit, d)) {
            memcpy(best_of(fit, d, 0, 0), best_of(fit, d - 1, 0, 0), (size_t)units * row * sizeof *fit->best);
            continue;
        }
        for (int first = d ? 1 : 0; first < (d ? units : 1); first++)
            if (first == 0 || fit->search.may_end[first - 1]) LAM_TRY(tabulate(fit, d, first));
    }
    return LAM_OK;
}

/* ---- outer ---- */

static double load(const struct fit *fit, int device, int64_t work) {
    const double *speed = fit->search.problem->speed;
    return speed ? (double)work / speed[device] : (double)work;
}

static size_t state_of(const struct fit *fit, int device, int unit, int blocks) {
    size_t row = (size_t)device * (size_t)(fit->search.units + 1) + (size_t)unit;
    return row * (size_t)(fit->most + 1) + (size_t)blocks;
}

/* One choice for a state: the device takes units up to `last`, in `own` blocks. */
struct choice {
    const struct way *way;
    uint32_t index;
    size_t from, to;
    int device;
    double budget;
};

static void weigh(struct fit *fit, const struct choice *c) {
    double of_way = load(fit, c->device, c->way->cost.work);
    double slowest = fmax(of_way, fit->slowest[c->to]);
    if (c->budget < 0) { /* first pass */
        if (slowest < fit->slowest[c->from]) fit->slowest[c->from] = slowest;
        return;
    }
    if (of_way > c->budget || fit->cost[c->to].work >= NO_WAY) return;
    struct lam_partition_cost cost = fit->cost[c->to];
    cost.work += c->way->cost.work;
    cost.squares += c->way->cost.squares;
    if (lam_partition_cost_compare(cost, fit->cost[c->from]) >= 0) return;
    fit->cost[c->from] = cost;
    fit->taken[c->from] = c->index;
}

static void leave_state(struct fit *fit, int device, int unit, int blocks, double budget) {
    struct choice c = {.from = state_of(fit, device, unit, blocks), .device = device, .budget = budget};
    for (int last = unit; last < fit->search.units; last++)
        for (int own = 0; own <= blocks; own++) {
            c.index = best_of(fit, device, unit, last)[own];
            if (c.index == NONE) continue;
            c.way = &fit->inner.ways[c.index];
            c.to = state_of(fit, device + 1, last + 1, blocks - own);
            weigh(fit, &c);
        }
}

/* budget < 0: the first pass. */
static void pass(struct fit *fit, double budget) {
    int devices = fit->search.devices, units = fit->search.units;
    for (size_t s = 0; s < state_of(fit, devices + 1, 0, 0); s++) {
        if (budget < 0) fit->slowest[s] = INFINITY;
        fit->cost[s] = (struct lam_partition_cost){NO_WAY, 0};
    }
    size_t end = state_of(fit, devices, units, 0);
    fit->slowest[end] = -INFINITY;
    fit->cost[end].work = 0;
    for (int d = devices - 1; d >= 0; d--)
        for (int unit = d; unit < (d ? units : 1); unit++)
            for (int blocks = 0; blocks <= fit->most; blocks++) leave_state(fit, d, unit, blocks, budget);
}

/* Follows what the second pass took. */
static void read_plan(const struct fit *fit, int *last_unit, int *device_of, int *count) {
    int unit = 0, left = fit->most;
    *count = 0;
    for (int d = 0; d < fit->search.devices; d++) {
        uint32_t index = fit->taken[state_of(fit, d, unit, left)];
        int blocks = fit->inner.ways[index].blocks;
        for (int b = blocks - 1; b >= 0; b--, index = fit->inner.ways[index].before) {
            last_unit[*count + b] = fit->inner.ways[index].last_unit;
            device_of[*count + b] = d;
        }
        *count += blocks;
        unit = last_unit[*count - 1] + 1;
        left -= fit->counted ? blocks : 0;
    }
}

/* ---- all of it ---- */

static lam_status open_fit(struct fit *fit) {
    size_t units = (size_t)fit->search.units, devices = (size_t)fit->search.devices;
    size_t best = devices * units * units * (size_t)(fit->most + 1);
    size_t states = state_of(fit, fit->search.devices + 1, 0, 0);
    fit->best = malloc(best * sizeof *fit->best);
    fit->slowest = calloc(states, sizeof *fit->slowest);
    fit->cost = calloc(states, sizeof *fit->cost);
    fit->taken = calloc(states, sizeof *fit->taken);
    if (!fit->best || !fit->slowest || !fit->cost || !fit->taken) return lam_no_memory();
    for (size_t i = 0; i < best; i++) fit->best[i] = NONE;
    return LAM_OK;
}

static void close_fit(struct fit *fit) {
    for (int u = 0; u < LAM_MAX_UNITS; u++) free(fit->inner.list[u].way);
    free(fit->inner.ways);
    free(fit->best);
    free(fit->slowest);
    free(fit->cost);
    free(fit->taken);
    free(fit);
}

static lam_status run(struct fit *fit, struct lam_partition *partition, bool *found) {
    LAM_TRY(open_fit(fit));
    LAM_TRY(tabulate_devices(fit));
    pass(fit, -1);
    double slowest = fit->slowest[state_of(fit, 0, 0, fit->most)];
    *found = slowest < INFINITY;
    if (!*found) return LAM_OK;
    pass(fit, slowest);
    int last_unit[LAM_MAX_BLOCKS], device_of[LAM_MAX_BLOCKS];
    struct lam_partition_problem problem = *fit->search.problem;
    read_plan(fit, last_unit, device_of, &problem.blocks);
    lam_partition_fill_in(&problem, last_unit, device_of, partition);
    return LAM_OK;
}

lam_status lam_partition_in_memory(const struct lam_partition_problem *problem,
                                   const struct lam_partition_room *room, struct lam_partition *partition,
                                   bool *found) {
    struct lam_partition_problem checked = *problem;
    if (checked.blocks == 0) checked.blocks = checked.devices;
    struct fit *fit = calloc(1, sizeof *fit);
    if (!fit) return lam_no_memory();
    fit->room = room;
    fit->counted = problem->blocks > 0;
    fit->most = problem->blocks;
    lam_status status = lam_partition_prepare(&checked, &fit->search);
    if (status == LAM_OK) status = run(fit, partition, found);
    close_fit(fit);
    return status;
}

struct lam_partition_need lam_partition_device_need(const struct lam_partition_room *room,
                                                    const struct lam_partition *partition, int device) {
    struct lam_partition_need need = {.data = device == 0 ? room->data : 0};
    int units = partition->last_unit[partition->blocks - 1] + 1, blocks = 0;
    size_t slot = 0;
    for (int b = 0, first = 0; b < partition->blocks; first = partition->last_unit[b++] + 1) {
        if (partition->device[b] != device) continue;
        const struct lam_partition_bytes *block =
            &room->block[device][first * units + partition->last_unit[b]];
        need.own = add(need.own, block->own);
        if (blocks++)
            slot = larger(slot, room->front[first].slot);
        else if (b > 0)
            need.queue = room->front[first].queue;
        need.activations = larger(need.activations, block->activations);
        need.workspace = larger(need.workspace, block->workspace);
    }
    for (int t = 0; t < lam_stage_turns(blocks); t++) need.queue = add(need.queue, slot);
    need.total = add(add(need.own, need.queue), add(need.data, add(need.activations, need.workspace)));
    return need;
}
