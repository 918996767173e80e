#include "tasks/detect/retinanet.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/files.h"
#include "local/model_network.h"
#include "nn/model.h"

enum { C3, C4, TAPS, MOST_LEVELS = 5 };

const char *const retinanet_names[] = {"retinanet-tiny", "retinanet-r18", "retinanet-r34", "retinanet-r50",
                                       NULL};

static const struct kind {
    const char *backbone;
    int width, depth, levels;
} kinds[] = {
    {"resnet18-half", 64, 2, 3},
    {"resnet18", 256, 4, 5},
    {"resnet34", 256, 4, 5},
    {"resnet50", 256, 4, 5},
};

struct retinanet {
    struct retinanet_options options;
    struct lam_model *backbone;
    struct lam_tap taps[TAPS];
    int head;    /* unit */
    int levels;  /* of the pyramid */
    int ends[4]; /* last unit of each stage */
};

static lam_status find_kind(const char *name, const struct kind **kind) {
    for (int i = 0; retinanet_names[i]; i++)
        if (strcmp(name, retinanet_names[i]) == 0) {
            *kind = &kinds[i];
            return LAM_OK;
        }
    const char *nearest = lam_nearest(name, retinanet_names, (int)(sizeof kinds / sizeof *kinds));
    return lam_fail(LAM_ERR_NOT_FOUND,
                    "--model '%s': no such network%s%s; detectors are retinanet-tiny, -r18, -r34, -r50", name,
                    nearest ? "; did you mean " : "", nearest ? nearest : "");
}

lam_status retinanet_levels(const char *name, int *levels) {
    const struct kind *kind;
    LAM_TRY(find_kind(name, &kind));
    *levels = kind->levels;
    return LAM_OK;
}

/* ---- pyramid and subnets ---- */

struct form {
    int width, depth, levels, classes, per_cell;
};

/* x resized to the size of `like`, and added to it. */
static lam_value add_resized(struct lam_graph *graph, lam_value like, lam_value x) {
    struct lam_shape shape = lam_value_shape(graph, like);
    return lam_add(graph, like, lam_resize(graph, x, shape.dim[2], shape.dim[3], false));
}

static lam_value conv(struct lam_graph *graph, lam_value x, const char *name, int out, int kernel,
                      int stride) {
    double inputs = (double)lam_value_shape(graph, x).dim[1] * kernel * kernel;
    struct lam_conv_spec spec = {
        .out = out, .kernel = kernel, .stride = stride, .pad = kernel / 2, .bias = true};
    spec.init = (struct lam_init){LAM_INIT_NORMAL, (float)sqrt(1 / inputs)};
    return lam_conv(graph, x, name, spec);
}

/* c: C3, C4, C5. */
static void build_pyramid(struct lam_graph *graph, const struct form *form, const lam_value c[3],
                          lam_value level[MOST_LEVELS]) {
    lam_value side[3];
    char name[24];
    for (int i = 2; i >= 0; i--) {
        snprintf(name, sizeof name, "lateral%d", i + 3);
        side[i] = conv(graph, c[i], name, form->width, 1, 1);
        if (i < 2) side[i] = add_resized(graph, side[i], side[i + 1]);
    }
    for (int i = 0; i < 3; i++) {
        snprintf(name, sizeof name, "output%d", i + 3);
        level[i] = conv(graph, side[i], name, form->width, 3, 1);
    }
    if (form->levels <= 3) return;
    level[3] = conv(graph, c[2], "p6", form->width, 3, 2);
    level[4] = conv(graph, lam_relu(graph, level[3]), "p7", form->width, 3, 2);
}

/* The rows [N, A, k] of all levels. */
static lam_value build_subnet(struct lam_graph *graph, const struct form *form, const char *name, int k,
                              float bias, const lam_value *level) {
    const struct lam_init small = {LAM_INIT_NORMAL, 0.01f};
    struct lam_conv_spec tower = {.out = form->width, .kernel = 3, .pad = 1, .bias = true};
    struct lam_conv_spec last = tower;
    last.init = small;
    last.out = form->per_cell * k;
    last.bias_start = bias;
    lam_value rows[MOST_LEVELS];
    lam_graph_push_scope(graph, "%s", name);
    for (int l = 0; l < form->levels; l++) {
        lam_value x = level[l];
        char conv_name[24];
        for (int d = 0; d < form->depth; d++) {
            snprintf(conv_name, sizeof conv_name, "conv%d", d + 1);
            x = lam_relu(graph, lam_conv(graph, x, conv_name, tower));
        }
        rows[l] = lam_to_rows(graph, lam_conv(graph, x, "out", last), k);
    }
    lam_graph_pop_scope(graph);
    return lam_concat(graph, rows, form->levels, 1);
}

static lam_value build_rows(struct lam_graph *graph, const struct form *form, const lam_value c[3]) {
    static const float prior = 0.01f;
    lam_value level[MOST_LEVELS], rows[2];
    build_pyramid(graph, form, c, level);
    rows[0] = build_subnet(graph, form, "classes", form->classes, -logf((1 - prior) / prior), level);
    rows[1] = build_subnet(graph, form, "boxes", 4, 0, level);
    return lam_concat(graph, rows, 2, 2);
}

static struct form form_of(const struct retinanet *net, bool local) {
    const struct retinanet_options *o = &net->options;
    int half = o->depth > 1 ? o->depth / 2 : 1;
    return (struct form){.width = o->width,
                         .depth = !local           ? o->depth
                                  : o->local_depth ? o->local_depth
                                                   : half,
                         .levels = net->levels,
                         .classes = o->classes,
                         .per_cell = o->per_cell};
}

static lam_value build_head(const struct retinanet *net, struct lam_graph *graph, lam_value x,
                            const lam_value *taps) {
    const struct form form = form_of(net, false);
    const lam_value c[3] = {taps[C3], taps[C4], x};
    lam_graph_push_scope(graph, "head");
    lam_value rows = build_rows(graph, &form, c);
    lam_graph_pop_scope(graph);
    return rows;
}

/* ---- the local head ---- */

static int stride_of(const struct retinanet *net, struct lam_graph *graph, lam_value x) {
    int64_t width = lam_value_shape(graph, x).dim[3];
    int stride = 1;
    while (stride < 32 && (net->options.image_width + stride - 1) / stride > width) stride *= 2;
    return stride;
}

/* Half the size, from what is there. */
static lam_value shrink(struct lam_graph *graph, lam_value x, int level, int width) {
    char name[24];
    snprintf(name, sizeof name, "down%d", level);
    return lam_relu(graph, conv(graph, x, name, width, 3, 2));
}

/* The stage's own end where it is known, x where it is of this stage, and else the level before, shrunk. Finer levels than x without
 * a tap do not occur: taps begin where stages end. */
lam_value retinanet_local_rows(const struct retinanet *net, struct lam_graph *graph, lam_value x,
                               const lam_value *taps) {
    const struct form form = form_of(net, true);
    int stride = stride_of(net, graph, x);
    lam_value c[3], before = x;
    for (int s = stride, i = 0; s < RETINANET_FIRST_STRIDE / 2; s *= 2, i++)
        before = shrink(graph, before, i, form.width);
    for (int i = 0; i < 3; i++) {
        int own = RETINANET_FIRST_STRIDE << i;
        bool known = i < TAPS && taps[i] != LAM_NO_VALUE;
        c[i] = known ? taps[i] : own == stride ? x : shrink(graph, before, i + 3, form.width);
        before = c[i];
    }
    return build_rows(graph, &form, c);
}

/* ---- the network ---- */

static const char *unit_name(void *context, int unit, char *text, size_t size) {
    const struct retinanet *net = context;
    if (unit < net->head) return lam_model_unit_name(net->backbone, unit, text, size);
    snprintf(text, size, "head");
    return text;
}

static lam_value build_unit(void *context, struct lam_graph *graph, int unit, lam_value x,
                            const lam_value *taps) {
    const struct retinanet *net = context;
    return unit < net->head ? lam_model_build_unit(net->backbone, graph, unit, x)
                            : build_head(net, graph, x, taps);
}

static int unit_stage(void *context, int unit) {
    const struct retinanet *net = context;
    return lam_model_unit_stage(net->backbone, unit);
}

/* METHODS.md: stem and stage 1, stage 2, stage 3, the rest; for two blocks, two of these each. */
static lam_status paper_cuts(void *context, int blocks, int *cuts) {
    const struct retinanet *net = context;
    if (blocks == 2)
        cuts[0] = net->ends[1];
    else if (blocks == 4)
        memcpy(cuts, net->ends, 3 * sizeof *cuts);
    else
        return lam_fail(LAM_ERR_UNSUPPORTED,
                        "%s: there are cuts into 2 and 4 blocks, not %d; use --partition profiled",
                        net->options.name, blocks);
    return LAM_OK;
}

struct lam_network retinanet_network(struct retinanet *net) {
    return (struct lam_network){.context = net,
                                .units = net->head + 1,
                                .head_unit = net->head,
                                .head_alone = true,
                                .taps = net->taps,
                                .tap_count = TAPS,
                                .unit_name = unit_name,
                                .paper_cuts = paper_cuts,
                                .build_unit = build_unit,
                                .unit_stage = unit_stage};
}

static void find_stages(struct retinanet *net) {
    net->head = lam_model_units(net->backbone) - 1;
    for (int unit = 0; unit < net->head; unit++) net->ends[lam_model_unit_stage(net->backbone, unit)] = unit;
    net->taps[C3] = (struct lam_tap){"c3", net->ends[1], net->head};
    net->taps[C4] = (struct lam_tap){"c4", net->ends[2], net->head};
}

lam_status retinanet_create(const struct retinanet_options *options, struct retinanet **net) {
    const struct kind *kind;
    LAM_TRY(find_kind(options->name, &kind));
    struct retinanet *made = calloc(1, sizeof *made);
    if (!made) return lam_no_memory();
    made->options = *options;
    if (!made->options.width) made->options.width = kind->width;
    if (!made->options.depth) made->options.depth = kind->depth;
    made->levels = kind->levels;
    /* The size says only that the stem is that of large images: for small ones it would not shrink, and levels would have
     * other strides than the anchors. */
    struct lam_model_options backbone = {.image_size = 224, .channels = 3, .classes = 1};
    lam_status status = lam_model_create(kind->backbone, &backbone, &made->backbone);
    if (status != LAM_OK) {
        free(made);
        return status;
    }
    find_stages(made);
    *net = made;
    return LAM_OK;
}

void retinanet_destroy(struct retinanet *net) {
    if (!net) return;
    lam_model_destroy(net->backbone);
    free(net);
}
