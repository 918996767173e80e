#include "local/model_network.h"

static const char *unit_name(void *model, int unit, char *text, size_t size) {
    return lam_model_unit_name(model, unit, text, size);
}

static lam_value build_unit(void *model, struct lam_graph *graph, int unit, lam_value x,
                            const lam_value *taps) {
    (void)taps;
    return lam_model_build_unit(model, graph, unit, x);
}

static int unit_stage(void *model, int unit) {
    return lam_model_unit_stage(model, unit);
}

static lam_status paper_cuts(void *context, int blocks, int *cuts) {
    const struct lam_model *model = context;
    return model->paper_cuts(model, blocks, cuts);
}

struct lam_network lam_model_network(struct lam_model *model) {
    return (struct lam_network){.context = model,
                                .units = lam_model_units(model),
                                .head_unit = lam_model_units(model) - 1,
                                .unit_name = unit_name,
                                .paper_cuts = model->paper_cuts ? paper_cuts : NULL,
                                .build_unit = build_unit,
                                .unit_stage = unit_stage};
}
