/* GLCAN (arXiv 2406.00446): a global part that stands for the rest of the network, and behind it a local part, a small
 * head of the task. Two global parts:
 *
 * The next block's units: u = s LB(h) + (2 - s) EMA(h). LB and EMA have the form of the next block's first unit; LB is
 * trained, EMA follows that unit (m EMA + (1 - m) theta after each step), s is trained and starts at 1. Where the
 * next block begins with the network's head there is no unit to stand for, and the local part stands alone; so it
 * does with both branches left out, which is then `dgl`. The branches and the joining are those of MAN's released
 * code (arXiv 2407.05623), where the paper is silent.
 *
 * Stages: the rest of the network in small. Of the units behind the block, a chain of copies of a few: the first one of each later
 * stage, then those after the last of these; and the network's own head, where that is small. All are trained. That
 * features are taken to where the network itself will take them is what counts: it is the choice of auxiliary layers of AugLocal
 * (arXiv 2402.17318), and of later units in MLAAN (arXiv 2406.16633). Since stages shrink the map, it costs less than
 * two copies of the next unit. */
#include "local/aux.h"

#include <string.h>

enum { MOST_UNITS = 16 };

/* ---- the next block's units ---- */

/* The next block's first units, as many as depth asks for and features go. */
static lam_value build_units(const struct lam_aux_site *site, struct lam_graph *graph, lam_value x) {
    const struct lam_network *network = site->network;
    int depth = site->options.depth ? site->options.depth : 1;
    lam_value taps[LAM_MAX_TAPS];
    memcpy(taps, site->taps, sizeof taps);
    for (int i = 0; i < depth; i++) {
        int unit = site->next_unit + i;
        if (unit > site->next_last || unit >= network->head_unit) break;
        x = network->build_unit(network->context, graph, unit, x, taps);
        lam_taps_turn(network, unit, x, taps);
    }
    return x;
}

static lam_value build_branch(const struct lam_aux_site *site, struct lam_graph *graph, lam_value h,
                              bool twin) {
    lam_graph_push_scope(graph, twin ? LAM_AUX_TWIN : "lb");
    lam_graph_freeze(graph, twin);
    lam_value y = build_units(site, graph, h);
    lam_graph_freeze(graph, false);
    lam_graph_pop_scope(graph);
    return y;
}

static lam_value build_global(const struct lam_aux_site *site, struct lam_graph *graph, lam_value h) {
    const struct lam_aux_options *options = &site->options;
    if (site->next_unit >= site->network->head_unit) return h;
    lam_value lb = options->no_lb ? LAM_NO_VALUE : build_branch(site, graph, h, false);
    lam_value twin = options->no_ema ? LAM_NO_VALUE : build_branch(site, graph, h, true);
    if (options->no_lb) return options->no_ema ? h : twin;
    if (options->no_ema) return lb;
    return options->fixed_mix ? lam_add(graph, lb, twin) : lam_mix(graph, lb, twin, "mix", 1.0f);
}

/* ---- stages ---- */

static int stage_of(const struct lam_network *network, int unit) {
    return network->unit_stage ? network->unit_stage(network->context, unit) : 0;
}

/* Two units; where all stages are one, as in a transformer, a unit costs as much as any other, and one has to do. */
static int usual_depth(const struct lam_network *network) {
    return stage_of(network, network->head_unit - 1) > 0 ? 2 : 1;
}

/* The units to copy, rising; returns how many. One that reads a tap needs units that are not copied. */
static int choose_units(const struct lam_aux_site *site, int *units, int most) {
    const struct lam_network *network = site->network;
    int count = 0, last = site->next_unit - 1;
    for (int unit = site->next_unit; unit < network->head_unit && count < most; unit++) {
        bool begins = stage_of(network, unit) != stage_of(network, unit - 1);
        if (begins && !lam_unit_reads_taps(network, unit)) units[count++] = last = unit;
    }
    while (count < most && ++last < network->head_unit)
        if (!lam_unit_reads_taps(network, last)) units[count++] = last;
    return count;
}

/* A unit stands for its stage: what it gives is the tap that later ones of the stage would give. */
static void give_taps(const struct lam_aux_site *site, int unit, lam_value x, lam_value *taps) {
    const struct lam_network *network = site->network;
    for (int t = 0; t < network->tap_count; t++)
        if (network->taps[t].from >= site->next_unit &&
            stage_of(network, network->taps[t].from) == stage_of(network, unit))
            taps[t] = x;
}

static lam_value build_stages(const struct lam_aux_site *site, struct lam_graph *graph, lam_value x,
                              lam_value *taps) {
    const struct lam_network *network = site->network;
    int units[MOST_UNITS], most = site->options.depth ? site->options.depth : usual_depth(network);
    int count = choose_units(site, units, most < MOST_UNITS ? most : MOST_UNITS);
    give_taps(site, site->next_unit - 1, x, taps); /* the block's end stands for the rest of its stage */
    lam_graph_push_scope(graph, "stages");
    for (int i = 0; i < count; i++) {
        x = network->build_unit(network->context, graph, units[i], x, taps);
        give_taps(site, units[i], x, taps);
    }
    for (int unit = network->head_unit; network->small_head && unit < network->units; unit++)
        x = network->build_unit(network->context, graph, unit, x, taps);
    lam_graph_pop_scope(graph);
    return x;
}

/* ---- both ---- */

static lam_value build(const struct lam_aux_site *site, struct lam_graph *graph, lam_value h,
                       const lam_value *inputs) {
    const struct lam_network *network = site->network;
    lam_value taps[LAM_MAX_TAPS];
    memcpy(taps, site->taps, sizeof taps);
    lam_value u = site->options.stages ? build_stages(site, graph, h, taps) : build_global(site, graph, h);
    if (site->options.stages && network->small_head)
        return network->build_output(network->task, graph, u, inputs);
    return network->build_local_head(network->task, graph, u, inputs, taps);
}

const struct lam_aux lam_aux_glcan = {
    .name = "glcan",
    .help = "a small stand-in for the rest of the network, then a small head (arXiv 2406.00446)",
    .build = build,
};
