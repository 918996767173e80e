/* RCAN (Zhang et al., ECCV 2018, arXiv 1807.02758). A unit is a residual group: blocks x + a conv(ReLU(conv(x))), whose channels
 * are weighted by attention a = sigmoid(W2 ReLU(W1 mean(..))), then a convolution, and a skip around all of it. */
#include "tasks/sr/models.h"

static const char *const names[] = {"rcan-small", "rcan", NULL};
static const struct sr_form forms[] = {{.channels = 32, .units = 4, .blocks = 3, .reduction = 16},
                                       {.channels = 64, .units = 10, .blocks = 20, .reduction = 16}};

static lam_value attend(const struct sr_form *form, struct lam_graph *graph, lam_value x) {
    int inner = form->channels / form->reduction;
    struct lam_linear_spec down = {.out = inner > 0 ? inner : 1, .bias = true},
                           up = {.out = form->channels, .bias = true};
    lam_value a = lam_relu(graph, lam_linear(graph, lam_global_avg_pool(graph, x), "attention.down", down));
    return lam_channel_scale(graph, x, lam_sigmoid(graph, lam_linear(graph, a, "attention.up", up)));
}

static lam_value build_block(const struct sr_form *form, struct lam_graph *graph, lam_value x) {
    lam_value y = lam_relu(graph, sr_conv(graph, x, "conv1", form->channels, 1));
    y = attend(form, graph, sr_conv(graph, y, "conv2", form->channels, 1));
    return lam_add(graph, x, y);
}

static lam_value build_unit(const struct sr_form *form, struct lam_graph *graph, lam_value x) {
    lam_value y = x;
    for (int i = 0; i < form->blocks; i++) {
        lam_graph_push_scope(graph, "%d", i);
        y = build_block(form, graph, y);
        lam_graph_pop_scope(graph);
    }
    return lam_add(graph, x, sr_conv(graph, y, "conv", form->channels, 1));
}

static int radius(const struct sr_form *form) {
    return 2 * form->blocks + 1;
}

const struct sr_family sr_family_rcan = {
    .names = names, .forms = forms, .build_unit = build_unit, .radius = radius, .sees_all = true};
