/* Tables of what blocks take, filled as the search asks for them. */
#include "local/fit.h"

#include <stdlib.h>
#include <string.h>

#include "base/files.h"
#include "local/stage.h"

/* A block that is compiled, or is alike one. */
struct known {
    bool known;
    struct lam_block_memory memory; /* with snapshots, without slots */
};

/* Devices that are alike: what blocks take on them. */
struct sort {
    struct lam_device *device;         /* the first of them */
    struct known *block;               /* [units][units] */
    struct lam_partition_bytes *bytes; /* the same for the search; of blocks that are not known, bounds */
};

struct lam_fit {
    const struct lam_chain_options *options;
    struct lam_partition_problem problem;
    int units, sorts, compiled;
    struct sort *sort; /* [devices] at most */
    int *sort_of;      /* [devices] */
    /* By unit. */
    int *alike;                /* the first unit that is built alike, with an alike auxiliary network */
    char **text;               /* of the block of this unit alone */
    struct lam_border *border; /* that it gives out */
    struct lam_partition_front *front;
    double seconds;
};

static size_t at(const struct lam_fit *fit, int first, int last) {
    return (size_t)first * (size_t)fit->units + (size_t)last;
}

size_t lam_fit_total(const struct lam_block_memory *memory) {
    size_t total = 0;
    for (int kind = 0; kind < LAM_MEMORY_KINDS; kind++) total += memory->bytes[kind];
    return total;
}

static struct lam_partition_bytes for_search(const struct lam_block_memory *memory) {
    struct lam_partition_bytes bytes = {.activations = memory->bytes[LAM_MEMORY_ACTIVATIONS],
                                        .workspace = memory->bytes[LAM_MEMORY_WORKSPACE]};
    bytes.own = lam_fit_total(memory) - bytes.activations - bytes.workspace;
    return bytes;
}

/* ---- compiling ---- */

/* As the block will be, but for its number and for the end of the next block, of which the most is assumed. */
static lam_status create_block(const struct lam_fit *fit, const struct sort *sort, int first, int last,
                               struct lam_block **block) {
    const struct lam_chain_options *o = fit->options;
    struct lam_block_options options = {.network = o->network,
                                        .number = 1,
                                        .first = first,
                                        .last = last,
                                        .next_last = fit->units - 1,
                                        .aux = last + 1 < fit->units ? o->aux : NULL,
                                        .aux_options = o->aux_options,
                                        .batch = o->batch,
                                        .tail = o->tail,
                                        .precision = o->precision,
                                        .optimizer = o->optimizer};
    if (first > 0) options.in = fit->border[first - 1];
    return lam_block_create(&options, sort->device, block);
}

/* Whether two runs of as many units are built alike. */
static bool runs_alike(const struct lam_fit *fit, int a, int b, int units) {
    for (int u = 0; u < units; u++)
        if (fit->alike[a + u] != fit->alike[b + u]) return false;
    return true;
}

/* Writes down what a block takes, for all that are built alike. */
static void learn(struct lam_fit *fit, struct sort *sort, int first, int last,
                  const struct lam_block *block) {
    struct known known = {.known = true, .memory = lam_block_memory(block)};
    known.memory.bytes[LAM_MEMORY_QUEUE] +=
        (size_t)lam_block_twin_count(block) * sizeof(float) * (size_t)fit->options->room.versions;
    for (int a = 0, units = last - first + 1; a + units <= fit->units; a++) {
        if (a != first && !runs_alike(fit, a, first, units)) continue;
        sort->block[at(fit, a, a + units - 1)] = known;
        sort->bytes[at(fit, a, a + units - 1)] = for_search(&known.memory);
    }
}

static lam_status ask(struct lam_fit *fit, struct sort *sort, int first, int last) {
    struct lam_block *block;
    if (sort->block[at(fit, first, last)].known) return LAM_OK;
    if (fit->options->tuning && lam_tuning_stopped(fit->options->tuning))
        return lam_fail(LAM_ERR_STOPPED, "stopped by a signal while the network was cut");
    LAM_TRY(create_block(fit, sort, first, last, &block));
    fit->compiled++;
    learn(fit, sort, first, last, block);
    lam_block_destroy(block);
    return LAM_OK;
}

/* A unit that gives or reads a tap is alike no other: what a block keeps depends on which of them it has. */
static bool taps_end_at(const struct lam_fit *fit, int unit) {
    const struct lam_network *network = fit->options->network;
    for (int t = 0; t < network->tap_count; t++)
        if (network->taps[t].from == unit || network->taps[t].to == unit) return true;
    return false;
}

/* The unit alone: what it gives out, and whether a unit before it is alike. */
static lam_status meet_unit(struct lam_fit *fit, int unit) {
    const struct lam_chain_room *room = &fit->options->room;
    struct lam_block *block;
    LAM_TRY(create_block(fit, &fit->sort[0], unit, unit, &block));
    fit->compiled++;
    fit->border[unit] = lam_block_border(block);
    if (unit + 1 < fit->units) {
        size_t slot = lam_block_output_bytes(block) + room->slot_fields;
        fit->front[unit + 1] = (struct lam_partition_front){slot * (size_t)room->slots, slot};
    }
    fit->text[unit] = lam_block_text(block);
    fit->alike[unit] = unit;
    for (int u = 0; u < unit && fit->text[unit] && fit->alike[unit] == unit; u++)
        if (!strcmp(fit->text[u], fit->text[unit]) && !taps_end_at(fit, u) && !taps_end_at(fit, unit))
            fit->alike[unit] = u;
    if (fit->text[unit]) learn(fit, &fit->sort[0], unit, unit, block);
    lam_block_destroy(block);
    return fit->text[unit] ? LAM_OK : lam_no_memory();
}

/* ---- bounds ---- */

static size_t over(size_t a, size_t b) {
    return a > b ? a - b : 0;
}

/* What blocks that were not compiled take at least: what the block without its first unit does, and what that unit adds to a block
 * of the unit behind it. */
static void bound(const struct lam_fit *fit, struct sort *sort) {
    static const size_t ROUNDING = 256; /* of optimizer state */
    for (int last = 0; last < fit->units; last++) {
        for (int first = last - 1; first >= 0; first--) {
            const struct lam_partition_bytes *pair = &sort->bytes[at(fit, first, first + 1)],
                                             *single = &sort->bytes[at(fit, first + 1, first + 1)],
                                             *less = &sort->bytes[at(fit, first + 1, last)];
            if (sort->block[at(fit, first, last)].known) continue;
            sort->bytes[at(fit, first, last)] = (struct lam_partition_bytes){
                .own = less->own + over(pair->own, single->own + ROUNDING),
                .activations = less->activations + over(pair->activations, single->activations) / 2};
        }
    }
}

/* ---- create ---- */

static lam_status add_sort(struct lam_fit *fit, struct lam_device *device) {
    size_t blocks = (size_t)fit->units * (size_t)fit->units;
    struct sort *sort = &fit->sort[fit->sorts++];
    *sort = (struct sort){.device = device,
                          .block = calloc(blocks, sizeof *sort->block),
                          .bytes = calloc(blocks, sizeof *sort->bytes)};
    return sort->block && sort->bytes ? LAM_OK : lam_no_memory();
}

static lam_status sort_devices(struct lam_fit *fit) {
    const struct lam_chain_options *o = fit->options;
    for (int d = 0; d < o->device_count; d++) {
        int s = 0;
        while (s < fit->sorts && !lam_device_alike(fit->sort[s].device, o->devices[d])) s++;
        if (s == fit->sorts) LAM_TRY(add_sort(fit, o->devices[d]));
        fit->sort_of[d] = s;
    }
    return LAM_OK;
}

static lam_status open_fit(struct lam_fit *fit) {
    size_t units = (size_t)fit->units, devices = (size_t)fit->options->device_count;
    fit->sort = calloc(devices, sizeof *fit->sort);
    fit->sort_of = calloc(devices, sizeof *fit->sort_of);
    fit->alike = calloc(units, sizeof *fit->alike);
    fit->text = calloc(units, sizeof *fit->text);
    fit->border = calloc(units, sizeof *fit->border);
    fit->front = calloc(units, sizeof *fit->front);
    if (!fit->sort || !fit->sort_of || !fit->alike || !fit->text || !fit->border || !fit->front)
        return lam_no_memory();
    for (int u = 0; u < fit->units; u++) fit->alike[u] = -1; /* not met yet */
    LAM_TRY(sort_devices(fit));
    for (int u = 0; u < fit->units; u++) LAM_TRY(meet_unit(fit, u));
    for (int s = 0; s < fit->sorts; s++)
        for (int u = 0; u < fit->units; u++) {
            LAM_TRY(ask(fit, &fit->sort[s], u, u));
            if (u > 0) LAM_TRY(ask(fit, &fit->sort[s], u - 1, u));
        }
    return LAM_OK;
}

lam_status lam_fit_create(const struct lam_chain_options *options,
                          const struct lam_partition_problem *problem, struct lam_fit **fit) {
    if (options->network->units > LAM_MAX_UNITS)
        return lam_fail(LAM_ERR_INVALID, "%d units cannot be partitioned; 1 to %d can",
                        options->network->units, LAM_MAX_UNITS);
    struct lam_fit *made = calloc(1, sizeof *made);
    if (!made) return lam_no_memory();
    made->options = options;
    made->problem = *problem;
    made->units = options->network->units;
    double begin = lam_seconds();
    lam_status status = open_fit(made);
    made->seconds = lam_seconds() - begin;
    if (status != LAM_OK) {
        lam_fit_destroy(made);
        return status;
    }
    *fit = made;
    return LAM_OK;
}

void lam_fit_destroy(struct lam_fit *fit) {
    if (!fit) return;
    for (int s = 0; s < fit->sorts; s++) {
        free(fit->sort[s].block);
        free(fit->sort[s].bytes);
    }
    for (int u = 0; u < fit->units && fit->text; u++) free(fit->text[u]);
    free(fit->text);
    free(fit->sort);
    free(fit->sort_of);
    free(fit->alike);
    free(fit->border);
    free(fit->front);
    free(fit);
}

/* ---- search ---- */

/* Compiles the blocks of a partition that are not known yet. */
static lam_status ask_all(struct lam_fit *fit, const struct lam_partition *cut) {
    for (int b = 0, first = 0; b < cut->blocks; first = cut->last_unit[b++] + 1)
        LAM_TRY(ask(fit, &fit->sort[fit->sort_of[cut->device[b]]], first, cut->last_unit[b]));
    return LAM_OK;
}

static lam_status search(struct lam_fit *fit, int blocks, const size_t *limits,
                         struct lam_partition *partition, bool *found) {
    struct lam_partition_room room = {.front = fit->front, .data = fit->options->room.data, .limits = limits};
    for (int d = 0; d < fit->options->device_count; d++) room.block[d] = fit->sort[fit->sort_of[d]].bytes;
    fit->problem.blocks = blocks;
    for (int before = -1; before != fit->compiled;) {
        before = fit->compiled;
        for (int s = 0; s < fit->sorts; s++) bound(fit, &fit->sort[s]);
        LAM_TRY(lam_partition_in_memory(&fit->problem, &room, partition, found));
        if (*found) LAM_TRY(ask_all(fit, partition));
    }
    return LAM_OK;
}

lam_status lam_fit_search(struct lam_fit *fit, int blocks, const size_t *limits,
                          struct lam_partition *partition, bool *found) {
    double begin = lam_seconds();
    lam_status status = search(fit, blocks, limits, partition, found);
    fit->seconds += lam_seconds() - begin;
    return status;
}

lam_status lam_fit_memory(struct lam_fit *fit, const struct lam_partition *cut, int device,
                          struct lam_block_memory *memory) {
    const struct sort *sort = &fit->sort[fit->sort_of[device]];
    struct lam_block_memory sum = {{0}};
    int blocks = 0;
    size_t slot = 0;
    LAM_TRY(ask_all(fit, cut));
    for (int b = 0, first = 0; b < cut->blocks; first = cut->last_unit[b++] + 1) {
        if (cut->device[b] != device) continue;
        lam_stage_add_memory(&sum, &sort->block[at(fit, first, cut->last_unit[b])].memory);
        if (!blocks++)
            sum.bytes[LAM_MEMORY_QUEUE] += b ? fit->front[first].queue : 0;
        else if (fit->front[first].slot > slot)
            slot = fit->front[first].slot;
    }
    sum.bytes[LAM_MEMORY_QUEUE] += slot * (size_t)lam_stage_turns(blocks);
    sum.bytes[LAM_MEMORY_DATA] += device == 0 ? fit->options->room.data : 0;
    *memory = sum;
    return LAM_OK;
}

/* Of the device that needs the most. */
static lam_status most_needed(struct lam_fit *fit, const struct lam_partition *cut, size_t *bytes) {
    *bytes = 0;
    for (int d = 0; d < cut->devices; d++) {
        struct lam_block_memory memory;
        LAM_TRY(lam_fit_memory(fit, cut, d, &memory));
        if (lam_fit_total(&memory) > *bytes) *bytes = lam_fit_total(&memory);
    }
    return LAM_OK;
}

/* Between a limit that is too little and one that a partition was found for, which is what that partition needs. */
static lam_status find_smallest(struct lam_fit *fit, int blocks, size_t *limits, size_t *bytes,
                                struct lam_partition *partition) {
    struct lam_partition cut;
    bool found;
    size_t too_little = 0;
    LAM_TRY(search(fit, blocks, limits, partition, &found)); /* without limits */
    LAM_TRY(most_needed(fit, partition, bytes));
    while (*bytes - too_little > 1) {
        size_t middle = too_little + (*bytes - too_little) / 2;
        for (int d = 0; d < fit->options->device_count; d++) limits[d] = middle;
        LAM_TRY(search(fit, blocks, limits, &cut, &found));
        if (found) {
            *partition = cut;
            LAM_TRY(most_needed(fit, &cut, bytes));
        } else {
            too_little = middle;
        }
    }
    return LAM_OK;
}

lam_status lam_fit_smallest(struct lam_fit *fit, int blocks, size_t *bytes, struct lam_partition *partition) {
    double begin = lam_seconds();
    size_t *limits = calloc((size_t)fit->options->device_count, sizeof *limits);
    lam_status status = limits ? find_smallest(fit, blocks, limits, bytes, partition) : lam_no_memory();
    free(limits);
    fit->seconds += lam_seconds() - begin;
    return status;
}

int lam_fit_compiled(const struct lam_fit *fit) {
    return fit->compiled;
}

double lam_fit_seconds(const struct lam_fit *fit) {
    return fit->seconds;
}
