/* GLCAN (arXiv 2406.00446): a global part that stands for the rest of the network, and behind it a local part, the
 * task's head made small.
 *
 * The global part is u = s LB(h) + (2 - s) EMA(h). LB and EMA have the form of the next block's first unit; LB is
 * trained, EMA follows that unit (m EMA + (1 - m) theta after each step), s is trained and starts at 1. Where the
 * next block begins with the network's head there is no unit to stand for, and the local part stands alone; so it
 * does with both branches left out, which is then `dgl`. The branches and the joining are those of MAN's released
 * code (arXiv 2407.05623), where the paper is silent. */
#include "local/aux.h"

/* The next block's first units, as many as depth asks for and features go. */
static lam_value build_units(const struct lam_aux_site *site, struct lam_graph *graph, lam_value x) {
    int depth = site->options.depth ? site->options.depth : 1;
    for (int i = 0; i < depth; i++) {
        int unit = site->next_unit + i;
        if (unit > site->next_last || unit >= site->network->head_unit) break;
        x = site->network->build_unit(site->network->context, graph, unit, x);
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

static lam_value build(const struct lam_aux_site *site, struct lam_graph *graph, lam_value h,
                       const lam_value *inputs) {
    lam_value u = build_global(site, graph, h);
    return site->network->build_local_head(site->network->task, graph, u, inputs);
}

const struct lam_aux lam_aux_glcan = {
    .name = "glcan",
    .help = "a proxy of the next block's first unit and its EMA twin, then the small head (arXiv 2406.00446)",
    .build = build,
};
