/* Decoupled greedy learning (Belilovsky, Eickenberg and Oyallon, arXiv 1901.08164): the task's head made small,
 * right behind the block. */
#include "local/aux.h"

static lam_value build(const struct lam_aux_site *site, struct lam_graph *graph, lam_value h,
                       const lam_value *inputs) {
    return site->network->build_local_head(site->network->task, graph, h, inputs, site->taps);
}

const struct lam_aux lam_aux_dgl = {
    .name = "dgl",
    .help = "the task's head made small (arXiv 1901.08164)",
    .build = build,
};
