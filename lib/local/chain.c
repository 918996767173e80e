/* Cutting a network and making its blocks. */
#include "local/chain.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/files.h"
#include "base/log.h"
#include "base/rng.h"
#include "local/chain_internal.h"
#include "local/profile.h"

enum { MOST_MOVES = 3 }; /* of a profiled cut, after it was run */

/* ---- blocks ---- */

/* Micro-batches that a block has between forward and backward at once; `left`: blocks from it to the last. */
static int in_flight(const struct lam_chain_options *o, int left) {
    return o->all_in_flight || left > o->micro_batches ? o->micro_batches : left;
}

/* Whether blocks j and j + 1 are on devices of two kinds, which need not store values alike. */
static bool kinds_meet(const struct lam_chain_options *o, const struct lam_partition *cut, int j) {
    if (j < 0 || j + 1 >= cut->blocks) return false;
    return lam_device_backend(o->devices[cut->device[j]]) !=
           lam_device_backend(o->devices[cut->device[j + 1]]);
}

static lam_status create_blocks(const struct lam_chain_options *o, struct lam_chain *chain) {
    const struct lam_partition *cut = &chain->partition;
    for (int j = 0; j < cut->blocks; j++) {
        bool last = j + 1 == cut->blocks;
        struct lam_block_options options = {.network = o->network,
                                            .number = j + 1,
                                            .first = j ? cut->last_unit[j - 1] + 1 : 0,
                                            .last = cut->last_unit[j],
                                            .next_last = last ? 0 : cut->last_unit[j + 1],
                                            .aux = last || o->evaluation_only || o->micro_batches ? NULL
                                                                                                  : o->aux,
                                            .aux_options = o->aux_options,
                                            .plain_in = kinds_meet(o, cut, j - 1),
                                            .plain_out = kinds_meet(o, cut, j),
                                            .batch = o->batch,
                                            .tail = o->tail,
                                            .evaluation_only = o->evaluation_only,
                                            .micro_batches = o->micro_batches,
                                            .in_flight = in_flight(o, cut->blocks - j),
                                            .precision = o->precision,
                                            .optimizer = o->optimizer,
                                            .tuning = o->tuning};
        if (j > 0) options.in = lam_block_border(chain->blocks[j - 1]);
        LAM_TRY(lam_block_create(&options, o->devices[cut->device[j]], &chain->blocks[j]));
        chain->count = j + 1;
    }
    return LAM_OK;
}

static void destroy_blocks(struct lam_chain *chain) {
    for (int j = 0; j < chain->count; j++) lam_block_destroy(chain->blocks[j]);
    memset(chain->blocks, 0, sizeof chain->blocks);
    chain->count = 0;
}

void lam_chain_destroy(struct lam_chain *chain) {
    destroy_blocks(chain);
}

/* ---- the problem ---- */

static void close_chooser(struct chooser *c) {
    for (int u = 0; c->names && u < c->options->network->units; u++) free(c->names[u]);
    lam_fit_destroy(c->fit);
    free(c->names);
    free(c->unit);
    free(c->aux);
    free(c->speed);
    free(c->limits);
    free(c->may_cut);
}

/* What is known without measuring. Between devices of two kinds, nothing is. */
static double speed_by_cores(const struct lam_device *first, const struct lam_device *device) {
    if (lam_device_backend(first) != lam_device_backend(device)) return 1;
    return (double)lam_device_lanes(device) / (double)lam_device_lanes(first);
}

static lam_status open_chooser(struct chooser *c, const struct lam_chain_options *o) {
    const struct lam_network *network = o->network;
    size_t units = (size_t)network->units;
    *c = (struct chooser){.options = o};
    c->unit = calloc(units, sizeof *c->unit);
    c->aux = calloc(units, sizeof *c->aux);
    c->speed = calloc((size_t)o->device_count, sizeof *c->speed);
    c->names = calloc(units, sizeof *c->names);
    c->limits = calloc((size_t)o->device_count, sizeof *c->limits);
    c->may_cut = calloc(units, sizeof *c->may_cut);
    if (!c->unit || !c->aux || !c->speed || !c->names || !c->limits || !c->may_cut) return lam_no_memory();
    for (int u = 0; u < network->units; u++)
        c->may_cut[u] = u + 1 < network->head_unit + (network->head_alone ? 1 : 0);
    for (int u = 0; u < network->units; u++) {
        char name[64];
        c->names[u] = strdup(network->unit_name(network->context, u, name, sizeof name));
        if (!c->names[u]) return lam_no_memory();
        c->unit[u] = 1;
    }
    for (int d = 0; d < o->device_count; d++) {
        c->limits[d] = lam_device_limit(o->devices[d]);
        c->speed[d] = speed_by_cores(o->devices[0], o->devices[d]);
    }
    c->problem = (struct lam_partition_problem){.units = network->units,
                                                .blocks = o->blocks,
                                                .devices = o->device_count,
                                                .unit_seconds = c->unit,
                                                .aux_seconds = c->aux,
                                                .speed = c->speed,
                                                .unit_names = (const char *const *)c->names};
    if (o->fit) c->problem.blocks = 0;
    return LAM_OK;
}

/* ---- profiled ---- */

/* The name under which the record keeps a cut: all that it depends on. */
static char *cut_key(const struct chooser *c) {
    const struct lam_chain_options *o = c->options;
    char *text = lam_format("%d|%d|%d|%d|%s|%d%d%d%d%d", o->fit ? 0 : o->blocks, o->device_count, o->batch,
                            (int)o->precision, o->aux ? o->aux->name : "-", o->aux_options.stages,
                            o->aux_options.no_lb, o->aux_options.no_ema, o->aux_options.fixed_mix,
                            o->aux_options.depth);
    for (int u = 0; text && u < o->network->units; u++) {
        char *longer = lam_format("%s|%s", text, c->names[u]);
        free(text);
        text = longer;
    }
    for (int d = 0; text && d < o->device_count; d++) {
        char *longer = lam_format("%s|%s|%zu", text, lam_device_describe(o->devices[d]),
                                  lam_device_limit(o->devices[d]));
        free(text);
        text = longer;
    }
    unsigned long long hash = text ? lam_hash_text(text) : 0;
    char *key = !text    ? NULL
                : o->fit ? lam_format("cut %016llx to fit %zu %d %d", hash, o->room.data, o->room.slots,
                                      o->room.versions)
                         : lam_format("cut %016llx into %d", hash, o->blocks);
    free(text);
    return key;
}

/* Runs the chain as it is cut now; *slowest: seconds of the slowest device. Units of each block get the time that they
 * really took together. */
static lam_status run_cut(struct chooser *c, struct lam_chain *chain, double *slowest) {
    double seconds[LAM_MAX_BLOCKS], device[LAM_MAX_BLOCKS] = {0};
    const struct lam_partition *cut = &chain->partition;
    lam_status status = create_blocks(c->options, chain);
    if (status == LAM_OK) status = lam_profile_blocks(chain->blocks, chain->count, seconds);
    destroy_blocks(chain);
    LAM_TRY(status);
    *slowest = 0;
    for (int j = 0; j < cut->blocks; j++) {
        device[cut->device[j]] += seconds[j];
        if (device[cut->device[j]] > *slowest) *slowest = device[cut->device[j]];
        double scale = seconds[j] / (cut->block_seconds[j] > 0 ? cut->block_seconds[j] : seconds[j]);
        for (int u = j ? cut->last_unit[j - 1] + 1 : 0; u <= cut->last_unit[j]; u++) c->unit[u] *= scale;
    }
    return LAM_OK;
}

/* Without memory in mind. On one device all cuts take about the same time; alike blocks need the least memory. */
static lam_status cut_by_times_alone(const struct chooser *c, struct lam_partition *partition) {
    return c->options->device_count == 1 ? lam_partition_uniform(&c->problem, partition)
                                         : lam_partition_profiled(&c->problem, partition);
}

/* Most fastest cuts fit, so memory is looked at only then. */
static lam_status cut_by_times(struct chooser *c, struct lam_chain *chain) {
    bool fits = false;
    if (!c->options->fit) {
        LAM_TRY(cut_by_times_alone(c, &chain->partition));
        LAM_TRY(lam_chain_cut_fits(c, &chain->partition, &fits));
    }
    return fits ? LAM_OK : lam_chain_cut_in_limits(c, chain);
}

static double sum_of(const double *seconds, int count) {
    double sum = 0;
    for (int i = 0; i < count; i++) sum += seconds[i];
    return sum;
}

/* Whether device d is as fast as an earlier one, which is then *as. */
static bool is_like_another(const struct lam_chain_options *o, int d, int *as) {
    for (*as = 0; *as < d; ++*as)
        if (lam_device_alike(o->devices[*as], o->devices[d])) return true;
    return false;
}

/* All units on the first device of each sort, beside what they took on the very first. */
static lam_status measure_speeds(struct chooser *c, const struct lam_chain_options *measured) {
    const struct lam_chain_options *o = c->options;
    int units = o->network->units;
    double *unit = calloc((size_t)units, sizeof *unit), *aux = calloc((size_t)units, sizeof *aux);
    lam_status status = unit && aux ? LAM_OK : lam_no_memory();
    for (int d = 1, as; d < o->device_count && status == LAM_OK; d++) {
        struct lam_chain_options one = *measured;
        if (is_like_another(o, d, &as)) {
            c->speed[d] = c->speed[as];
            continue;
        }
        one.devices = o->devices + d;
        one.device_count = 1;
        status = lam_profile_units(&one, unit, aux);
        if (status == LAM_OK)
            c->speed[d] =
                (sum_of(c->unit, units) + sum_of(c->aux, units)) / (sum_of(unit, units) + sum_of(aux, units));
    }
    free(unit);
    free(aux);
    return status;
}

/* Where memory is short for measuring, FLOPs stand for times. */
static lam_status measure_units(struct chooser *c) {
    struct lam_chain_options measured = *c->options;
    if (measured
            .micro_batches) { /* units cost what they cost in local learning, auxiliary networks nothing */
        measured.micro_batches = 0;
        LAM_TRY(lam_aux_find("dgl", &measured.aux));
    }
    c->seconds = true;
    lam_status status = lam_profile_units(&measured, c->unit, c->aux);
    if (status == LAM_OK) status = measure_speeds(c, &measured);
    if (status == LAM_ERR_MEMORY_LIMIT) {
        lam_log(LAM_LOG_NOTICE, "too little memory to measure units in; the network is cut by FLOPs");
        c->seconds = false;
        status = lam_profile_flops(c->options, c->unit, c->aux);
    }
    for (int u = 0; c->options->micro_batches && u < measured.network->units; u++) c->aux[u] = 0;
    return status;
}

/* The best so far with the times as they are known now. */
static void weigh_again(const struct chooser *c, struct lam_partition *partition) {
    struct lam_partition_problem problem = c->problem;
    struct lam_partition now = *partition;
    problem.blocks = now.blocks;
    lam_partition_fill_in(&problem, now.last_unit, now.device, partition);
}

/* Measures units, cuts, runs the cut, corrects the units' times by that, and cuts again, until nothing gets faster. */
static lam_status profile(struct chooser *c, struct lam_chain *chain) {
    LAM_TRY(measure_units(c));
    LAM_TRY(cut_by_times(c, chain));
    if (c->options->device_count == 1 || c->options->micro_batches || !c->seconds) return LAM_OK;
    struct lam_partition best = chain->partition;
    double least = 1e30;
    for (int move = 0; move < MOST_MOVES; move++) {
        double slowest;
        struct lam_partition cut = chain->partition;
        lam_status status = run_cut(c, chain, &slowest);
        if (status == LAM_ERR_MEMORY_LIMIT) break; /* to run it alone takes more than it may */
        LAM_TRY(status);
        if (slowest < least) {
            least = slowest;
            best = cut;
        }
        weigh_again(c, &best);
        LAM_TRY(cut_by_times(c, chain));
        if (chain->partition.blocks == cut.blocks &&
            !memcmp(chain->partition.last_unit, cut.last_unit, sizeof *cut.last_unit * (size_t)cut.blocks))
            break;
    }
    chain->partition = best;
    return LAM_OK;
}

/* Keeps the cut in the record; one block is none. */
static lam_status record_cut(const struct chooser *c, const char *key, const struct lam_partition *cut) {
    if (cut->blocks == 1) return LAM_OK;
    char *text = lam_partition_text(cut);
    lam_status status = text ? lam_tuning_set(c->options->tuning, key, text) : lam_no_memory();
    free(text);
    return status;
}

static lam_status cut_measured(struct chooser *c, struct lam_chain *chain) {
    char *key = cut_key(c);
    if (!key) return lam_no_memory();
    const char *known = c->again ? NULL : lam_tuning_get(c->options->tuning, key);
    lam_status status = LAM_OK;
    if (known) {
        status = lam_profile_flops(c->options, c->unit, c->aux);
        if (status == LAM_OK) status = lam_partition_parse(known, &c->problem, &chain->partition);
    } else {
        status = profile(c, chain);
        if (status == LAM_OK) status = record_cut(c, key, &chain->partition);
    }
    c->known = known != NULL;
    free(key);
    return status;
}

static lam_status cut_profiled(struct chooser *c, struct lam_chain *chain) {
    if (lam_tuning_mode(c->options->tuning) == LAM_TUNING_MEASURE) {
        LAM_TRY(cut_measured(c, chain));
    } else {
        LAM_TRY(lam_profile_flops(c->options, c->unit, c->aux));
        LAM_TRY(cut_by_times(c, chain));
    }
    return lam_chain_explain(c, chain);
}

/* ---- choosing ---- */

static lam_status cut_uniform(struct chooser *c, struct lam_chain *chain) {
    LAM_TRY(lam_profile_flops(c->options, c->unit, c->aux));
    snprintf(chain->why, sizeof chain->why, "uniform: equal FLOPs");
    return lam_partition_uniform(&c->problem, &chain->partition);
}

static lam_status cut_as_published(struct chooser *c, struct lam_chain *chain) {
    const struct lam_network *network = c->options->network;
    int cuts[LAM_MAX_BLOCKS];
    if (!network->paper_cuts)
        return lam_fail(LAM_ERR_UNSUPPORTED,
                        "there are no published cuts of this network; use --partition profiled");
    if (c->options->blocks > LAM_MAX_BLOCKS)
        return lam_fail(LAM_ERR_INVALID, "%d blocks are more than %d", c->options->blocks, LAM_MAX_BLOCKS);
    LAM_TRY(network->paper_cuts(network->context, c->options->blocks, cuts));
    LAM_TRY(lam_profile_flops(c->options, c->unit, c->aux));
    cuts[c->options->blocks - 1] = network->units - 1;
    snprintf(chain->why, sizeof chain->why, "as published");
    return lam_partition_fixed(cuts, &c->problem, &chain->partition);
}

static lam_status cut_by_list(struct chooser *c, struct lam_chain *chain) {
    LAM_TRY(lam_profile_flops(c->options, c->unit, c->aux));
    snprintf(chain->why, sizeof chain->why, "as given");
    return lam_partition_parse(c->options->partition, &c->problem, &chain->partition);
}

static lam_status choose(struct chooser *c, struct lam_chain *chain) {
    bool chosen_here = !c->options->partition || !strcmp(c->options->partition, "profiled") ||
                       !strcmp(c->options->partition, "uniform");
    chosen_here |= c->options->fit;
    if (chosen_here) c->problem.may_cut = c->may_cut;
    const char *how = c->options->partition ? c->options->partition : "profiled";
    if (c->options->fit && c->options->aux) return cut_profiled(c, chain);
    if (c->options->blocks == 1 || c->options->fit) {
        int last = c->options->network->units - 1;
        c->problem.blocks = 1;
        return lam_partition_fixed(&last, &c->problem, &chain->partition);
    }
    if (!strcmp(how, "profiled")) return cut_profiled(c, chain);
    if (!strcmp(how, "uniform")) return cut_uniform(c, chain);
    if (!strcmp(how, "paper")) return cut_as_published(c, chain);
    return cut_by_list(c, chain);
}

static lam_status cut_and_create(struct chooser *c, struct lam_chain *chain) {
    LAM_TRY(choose(c, chain));
    return create_blocks(c->options, chain);
}

/* Whether the cut is to be chosen within the limits. */
static bool is_limited(const struct lam_chain_options *o) {
    bool profiled = !o->partition || !strcmp(o->partition, "profiled");
    return o->fit || (profiled && o->blocks > 1 && o->aux && !o->micro_batches && !o->evaluation_only);
}

/* Kernels that were measured may take more than those that the cut was sought with. */
static lam_status create_in_limits(struct chooser *c, struct lam_chain *chain) {
    LAM_TRY(cut_and_create(c, chain));
    while (!lam_chain_is_within(c, chain)) {
        if (!c->options->aux) return lam_chain_cannot_fit(c, chain);
        if (c->tries++ == MOST_MOVES)
            return lam_fail(LAM_ERR_MEMORY_LIMIT, "measured kernels take more than the memory limit");
        lam_chain_tighten(c, chain);
        destroy_blocks(chain);
        c->again = true;
        LAM_TRY(cut_and_create(c, chain));
    }
    return LAM_OK;
}

lam_status lam_chain_create(const struct lam_chain_options *options, struct lam_chain *chain) {
    struct chooser chooser;
    memset(chain, 0, sizeof *chain);
    lam_status status = open_chooser(&chooser, options);
    if (status == LAM_OK)
        status = is_limited(options) ? create_in_limits(&chooser, chain) : cut_and_create(&chooser, chain);
    close_chooser(&chooser);
    if (status != LAM_OK) lam_chain_destroy(chain);
    return status;
}
