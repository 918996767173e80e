/* Cutting within memory limits, and the words that say why a cut is where it is. */
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/files.h"
#include "local/chain_internal.h"
#include "local/stage.h"

static bool has_limit(const struct chooser *c) {
    for (int d = 0; d < c->options->device_count; d++)
        if (c->limits[d]) return true;
    return false;
}

static lam_status open_fit(struct chooser *c) {
    return c->fit ? LAM_OK : lam_fit_create(c->options, &c->problem, &c->fit);
}

/* ---- within limits ---- */

lam_status lam_chain_cut_fits(struct chooser *c, const struct lam_partition *cut, bool *fits) {
    *fits = true;
    if (!has_limit(c) || c->options->micro_batches || c->options->evaluation_only) return LAM_OK;
    LAM_TRY(open_fit(c));
    for (int d = 0; d < cut->devices; d++) {
        struct lam_block_memory memory;
        LAM_TRY(lam_fit_memory(c->fit, cut, d, &memory));
        if (c->limits[d] && lam_fit_total(&memory) > c->limits[d]) *fits = false;
    }
    return LAM_OK;
}

/* "parameters 1.2 MiB, gradients ...". */
static const char *kinds_text(const struct lam_block_memory *memory, char *text, size_t size) {
    size_t used = 0;
    text[0] = 0;
    for (int kind = 0; kind < LAM_MEMORY_KINDS && used < size; kind++) {
        char bytes[32];
        if (memory->bytes[kind])
            used += (size_t)snprintf(text + used, size - used, "%s%s %s", used ? ", " : "",
                                     lam_memory_kind_name((enum lam_memory_kind)kind),
                                     lam_bytes_text(memory->bytes[kind], bytes, sizeof bytes));
    }
    return text;
}

/* The device that is worst off in the cut that needs the least. */
static int worst_device(const struct chooser *c, const struct lam_chain *chain) {
    int worst = 0;
    double most = -INFINITY;
    for (int d = 0; d < c->options->device_count; d++) {
        double over =
            (double)lam_fit_total(&chain->least[d]) - (double)lam_device_limit(c->options->devices[d]);
        if (lam_device_limit(c->options->devices[d]) && over > most) {
            most = over;
            worst = d;
        }
    }
    return worst;
}

static lam_status too_large(struct chooser *c, struct lam_chain *chain) {
    const struct lam_chain_options *o = c->options;
    char need[32], limit[32], kinds[256];
    size_t bytes;
    LAM_TRY(lam_fit_smallest(c->fit, c->problem.blocks, &bytes, &chain->partition));
    for (int d = 0; d < o->device_count; d++)
        LAM_TRY(lam_fit_memory(c->fit, &chain->partition, d, &chain->least[d]));
    chain->too_large = true;
    int d = worst_device(c, chain);
    const char *name = lam_device_name(o->devices[d]);
    size_t limited = lam_device_limit(o->devices[d]);
    lam_bytes_text(bytes, need, sizeof need);
    lam_bytes_text(limited, limit, sizeof limit);
    kinds_text(&chain->least[d], kinds, sizeof kinds);
    if (o->fit)
        return lam_fail(
            LAM_ERR_MEMORY_LIMIT,
            "%s: --fit-memory %s (%zu bytes) is too little however the network is cut; the least that "
            "works is --fit-memory %zu (%s), in %d blocks with %s on %s; or use a smaller --batch%s",
            name, limit, limited, bytes, need, chain->partition.blocks, kinds, name,
            o->device_count > 1 ? " or more devices" : "");
    return lam_fail(
        LAM_ERR_MEMORY_LIMIT,
        "%s: the limit is %s (%zu bytes), but however %d blocks are cut a device needs at least %s "
        "(%zu), with %s on %s; use more --blocks, --fit-memory instead, or a smaller --batch",
        name, limit, limited, chain->partition.blocks, need, bytes, kinds, name);
}

lam_status lam_chain_cut_in_limits(struct chooser *c, struct lam_chain *chain) {
    bool found;
    LAM_TRY(open_fit(c));
    LAM_TRY(lam_fit_search(c->fit, c->problem.blocks, c->limits, &chain->partition, &found));
    return found ? LAM_OK : too_large(c, chain);
}

/* ---- blocks as they are ---- */

/* Of the slot before block j. */
static size_t slot_bytes(const struct chooser *c, const struct lam_chain *chain, int j) {
    return j > 0 ? lam_block_output_bytes(chain->blocks[j - 1]) + c->options->room.slot_fields : 0;
}

/* As lam_pipeline_memory will tell. */
static size_t device_bytes(const struct chooser *c, const struct lam_chain *chain, int device) {
    const struct lam_chain_room *room = &c->options->room;
    struct lam_block_memory sum = {{0}};
    size_t slot = 0;
    int blocks = 0;
    for (int j = 0; j < chain->count; j++) {
        if (chain->partition.device[j] != device) continue;
        struct lam_block_memory block = lam_block_memory(chain->blocks[j]);
        lam_stage_add_memory(&sum, &block);
        sum.bytes[LAM_MEMORY_QUEUE] +=
            (size_t)lam_block_twin_count(chain->blocks[j]) * sizeof(float) * (size_t)room->versions;
        if (!blocks++)
            sum.bytes[LAM_MEMORY_QUEUE] += slot_bytes(c, chain, j) * (size_t)room->slots;
        else if (slot_bytes(c, chain, j) > slot)
            slot = slot_bytes(c, chain, j);
    }
    return lam_fit_total(&sum) + slot * (size_t)lam_stage_turns(blocks) + (device == 0 ? room->data : 0);
}

bool lam_chain_is_within(const struct chooser *c, const struct lam_chain *chain) {
    for (int d = 0; d < c->options->device_count; d++) {
        size_t limit = lam_device_limit(c->options->devices[d]);
        if (limit && device_bytes(c, chain, d) > limit) return false;
    }
    return true;
}

void lam_chain_tighten(struct chooser *c, const struct lam_chain *chain) {
    for (int d = 0; d < c->options->device_count; d++) {
        size_t limit = lam_device_limit(c->options->devices[d]), need = device_bytes(c, chain, d);
        if (!limit || need <= limit) continue;
        size_t over = need - limit;
        c->limits[d] = c->limits[d] > over ? c->limits[d] - over : 1;
    }
}

lam_status lam_chain_cannot_fit(const struct chooser *c, struct lam_chain *chain) {
    const struct lam_device *device = c->options->devices[0];
    char need[32], limit[32];
    size_t bytes = device_bytes(c, chain, 0);
    return lam_fail(
        LAM_ERR_MEMORY_LIMIT,
        "%s: training end to end needs %s (%zu bytes), --fit-memory is %s (%zu); use --method dgl or "
        "glcan: local learning can be cut into blocks that fit",
        lam_device_name(device), lam_bytes_text(bytes, need, sizeof need), bytes,
        lam_bytes_text(lam_device_limit(device), limit, sizeof limit), lam_device_limit(device));
}

/* ---- why ---- */

struct words {
    char *text;
    size_t used, size;
};

__attribute__((format(printf, 2, 3))) static void say(struct words *words, const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    int length = vsnprintf(words->text + words->used, words->size - words->used, format, arguments);
    va_end(arguments);
    words->used += length > 0 ? (size_t)length : 0;
    if (words->used >= words->size) words->used = words->size - 1;
}

static const char *work_text(const struct chooser *c, double work, char *text, size_t size) {
    snprintf(text, size, c->seconds ? "%.1f ms" : "%.2f GFLOP", work * (c->seconds ? 1e3 : 1e-9));
    return text;
}

static int slowest_device(const struct lam_partition *cut) {
    int slowest = 0;
    for (int d = 1; d < cut->devices; d++)
        if (cut->device_seconds[d] > cut->device_seconds[slowest]) slowest = d;
    return slowest;
}

/* The least time of the slowest device with one border between devices moved by one unit; INFINITY: none can be. */
static double next_best(const struct chooser *c, const struct lam_partition *cut) {
    struct lam_partition_problem problem = c->problem;
    double least = INFINITY;
    problem.blocks = cut->blocks;
    for (int b = 0; b + 1 < cut->blocks; b++)
        for (int by = -1; by <= 1 && cut->device[b] != cut->device[b + 1]; by += 2) {
            struct lam_partition moved = *cut, filled;
            int unit = moved.last_unit[b] += by;
            bool empty =
                unit < 0 || (b > 0 && unit == cut->last_unit[b - 1]) || unit == cut->last_unit[b + 1];
            if (empty || (problem.may_cut && !problem.may_cut[unit])) continue;
            lam_partition_fill_in(&problem, moved.last_unit, moved.device, &filled);
            least = fmin(least, filled.device_seconds[slowest_device(&filled)]);
        }
    return least;
}

static void say_slowest(const struct chooser *c, const struct lam_partition *cut, struct words *words) {
    char text[32];
    int slowest = slowest_device(cut);
    if (cut->devices < 2) return;
    const char *first = lam_device_name(c->options->devices[0]);
    say(words, "; %s is the slowest device, with ", lam_device_name(c->options->devices[slowest]));
    work_text(c, cut->device_seconds[slowest], text, sizeof text);
    if (c->seconds || c->speed[slowest] == 1)
        say(words, "%s of a step", text);
    else
        say(words, "what takes as long as %s on %s", text, first);
    for (int d = 1; d < cut->devices; d++)
        if (c->speed[d] != 1)
            say(words, "; %s is %.2f times as fast as %s", lam_device_name(c->options->devices[d]),
                c->speed[d], first);
    double next = next_best(c, cut);
    if (next < INFINITY)
        say(words, "; moving a border by a unit would make that %s", work_text(c, next, text, sizeof text));
}

/* What limits cost: the same number of blocks without them. */
static lam_status say_limits(struct chooser *c, const struct lam_partition *cut, struct words *words) {
    struct lam_partition free_cut;
    char text[32];
    if (!has_limit(c) || c->options->device_count == 1) return LAM_OK;
    LAM_TRY(lam_partition_profiled(&c->problem, &free_cut));
    double without = free_cut.device_seconds[slowest_device(&free_cut)];
    if (without < cut->device_seconds[slowest_device(cut)])
        say(words, "; without memory limits %s", work_text(c, without, text, sizeof text));
    return LAM_OK;
}

/* One block, and the least budget. */
static lam_status say_fit(struct chooser *c, const struct lam_partition *cut, struct words *words) {
    struct lam_block_memory memory;
    struct lam_partition whole = {.blocks = 1, .devices = 1, .last_unit = {c->problem.units - 1}}, smallest;
    double units = 0, all = 0;
    char text[32];
    size_t bytes;
    LAM_TRY(open_fit(c));
    for (int u = 0; u < c->problem.units; u++) units += c->unit[u];
    for (int b = 0; b < cut->blocks; b++) all += cut->block_seconds[b];
    LAM_TRY(lam_fit_memory(c->fit, &whole, 0, &memory));
    say(words, "; %.2f times the work of one block, which would need %s", units > 0 ? all / units : 1,
        lam_bytes_text(lam_fit_total(&memory), text, sizeof text));
    if (c->options->explain) {
        LAM_TRY(lam_fit_smallest(c->fit, 0, &bytes, &smallest));
        say(words, "; the least budget is %zu (%s), in %d block%s", bytes,
            lam_bytes_text(bytes, text, sizeof text), smallest.blocks, smallest.blocks == 1 ? "" : "s");
    }
    say(words, " (%d blocks compiled in %.1f s)", lam_fit_compiled(c->fit), lam_fit_seconds(c->fit));
    return LAM_OK;
}

lam_status lam_chain_explain(struct chooser *c, struct lam_chain *chain) {
    struct words words = {chain->why, 0, sizeof chain->why};
    const struct lam_partition *cut = &chain->partition;
    if (c->options->fit)
        say(&words, "to fit: %d block%s, the fastest cut within the memory limit", cut->blocks,
            cut->blocks == 1 ? "" : "s");
    else if (c->options->device_count == 1)
        say(&words, "profiled: on one device blocks are cut alike%s",
            has_limit(c) ? ", or as the memory limit asks for" : "");
    else
        say(&words, "profiled: least %s of the %s device, auxiliary networks counted",
            c->seconds || c->known ? "time" : "FLOPs", c->seconds || c->known ? "slowest" : "busiest");
    if (c->known) say(&words, "; measured before");
    if (c->known && !c->options->explain) return LAM_OK;
    say_slowest(c, cut, &words);
    return c->options->fit ? say_fit(c, cut, &words) : say_limits(c, cut, &words);
}
