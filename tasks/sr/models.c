/* What the networks share: head, tail, local head, and how they become a struct lam_network. */
#include "tasks/sr/models.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/files.h"

enum { SKIP, IMAGE, TAPS, COLOURS = 3 };

static const struct sr_family *const families[] = {&sr_family_edsr, &sr_family_rcan, NULL};
const char *const sr_net_names[] = {"edsr-small", "edsr-baseline", "rcan-small", "rcan", NULL};
static const float LAST_GAIN = 0.1f;

struct sr_net {
    struct sr_net_options options;
    const struct sr_family *family;
    struct sr_form form;
    struct lam_tap taps[TAPS];
    char name[32];
};

/* ---- parts ---- */

lam_value sr_conv(struct lam_graph *graph, lam_value x, const char *name, int out, float gain) {
    struct lam_shape shape = lam_value_shape(graph, x);
    float inputs = shape.rank == 4 ? 9.0f * (float)shape.dim[1] : 1;
    struct lam_conv_spec spec = {
        .out = out, .kernel = 3, .pad = 1, .bias = true, .init = {LAM_INIT_UNIFORM, gain / sqrtf(inputs)}};
    return lam_conv(graph, x, name, spec);
}

/* To RGB, f32; plus the input with each pixel repeated, if there is a global skip. */
static lam_value end(const struct sr_net *net, struct lam_graph *graph, lam_value x, lam_value image) {
    bool skips = net->options.global_skip && image != LAM_NO_VALUE;
    x = lam_cast(graph, sr_conv(graph, x, "out", COLOURS, skips ? LAST_GAIN : 1), LAM_F32);
    if (!skips) return x;
    struct lam_shape shape = lam_value_shape(graph, x);
    if (shape.rank != 4) return LAM_NO_VALUE; /* after an error */
    return lam_add(graph, x, lam_resize(graph, image, shape.dim[2], shape.dim[3], false));
}

static lam_value upscale(struct lam_graph *graph, lam_value x, const char *name, int channels, int factor) {
    return lam_pixel_shuffle(graph, sr_conv(graph, x, name, channels * factor * factor, 1), factor);
}

static lam_value build_tail(const struct sr_net *net, struct lam_graph *graph, lam_value x,
                            const lam_value *taps) {
    int channels = net->form.channels, scale = net->options.scale;
    x = lam_add(graph, sr_conv(graph, x, "conv", channels, 1), taps[SKIP]);
    x = upscale(graph, x, "up1", channels, scale == 4 ? 2 : scale);
    if (scale == 4) x = upscale(graph, x, "up2", channels, 2);
    return end(net, graph, x, taps[IMAGE]);
}

lam_value sr_net_local(const struct sr_net *net, struct lam_graph *graph, lam_value x,
                       const lam_value *taps) {
    int half = net->form.channels > 1 ? net->form.channels / 2 : 1;
    int width = net->options.local_width ? net->options.local_width : half;
    if (taps[SKIP] != LAM_NO_VALUE && taps[SKIP] != x) x = lam_add(graph, x, taps[SKIP]);
    x = upscale(graph, x, "up", width, net->options.scale);
    return end(net, graph, x, taps[IMAGE]);
}

/* ---- the network ---- */

static const char *unit_name(void *context, int unit, char *text, size_t size) {
    const struct sr_net *net = context;
    if (unit == 0 || unit > net->form.units)
        snprintf(text, size, "%s", unit == 0 ? "head" : "tail");
    else
        snprintf(text, size, "body.%d", unit - 1);
    return text;
}

static lam_value build_unit(void *context, struct lam_graph *graph, int unit, lam_value x,
                            const lam_value *taps) {
    const struct sr_net *net = context;
    char name[32];
    lam_graph_push_scope(graph, "%s", unit_name(context, unit, name, sizeof name));
    lam_value y = unit == 0                ? sr_conv(graph, x, "conv", net->form.channels, 1)
                  : unit > net->form.units ? build_tail(net, graph, x, taps)
                                           : net->family->build_unit(&net->form, graph, x);
    lam_graph_pop_scope(graph);
    return y;
}

/* Equal groups of body units; those left over go to the first ones. */
static lam_status paper_cuts(void *context, int blocks, int *cuts) {
    const struct sr_net *net = context;
    int units = net->form.units;
    if (blocks > units)
        return lam_fail(LAM_ERR_INVALID, "%s: %d blocks are more than the body's %d units", net->name, blocks,
                        units);
    for (int j = 0, last = 0; j + 1 < blocks; j++)
        cuts[j] = last += units / blocks + (j < units % blocks ? 1 : 0);
    return LAM_OK;
}

struct lam_network sr_net_network(struct sr_net *net) {
    return (struct lam_network){.context = net,
                                .units = net->form.units + 2,
                                .head_unit = net->form.units + 1,
                                .taps = net->taps,
                                .tap_count = net->options.global_skip ? TAPS : IMAGE,
                                .unit_name = unit_name,
                                .paper_cuts = paper_cuts,
                                .build_unit = build_unit};
}

int sr_net_radius(const struct sr_net *net) {
    int body = net->form.units * net->family->radius(&net->form);
    /* head, the tail's first one, the upsampler's first one; those on a larger map see less than a pixel in all */
    return body + 3 + 1;
}

bool sr_net_sees_all(const struct sr_net *net) {
    return net->family->sees_all;
}

/* ---- create ---- */

static lam_status find(const char *name, const struct sr_family **family, const struct sr_form **form) {
    for (int f = 0; families[f]; f++)
        for (int i = 0; families[f]->names[i]; i++) {
            *family = families[f];
            *form = &families[f]->forms[i];
            if (!strcmp(name, families[f]->names[i])) return LAM_OK;
        }
    enum { NAMES = sizeof sr_net_names / sizeof *sr_net_names - 1 };
    const char *nearest = lam_nearest(name, sr_net_names, NAMES);
    return lam_fail(
        LAM_ERR_NOT_FOUND,
        "--model '%s': no such network%s%s; there are edsr-small, edsr-baseline, rcan-small, rcan", name,
        nearest ? "; did you mean " : "", nearest ? nearest : "");
}

lam_status sr_net_find(const char *name) {
    const struct sr_family *family;
    const struct sr_form *form;
    return find(name, &family, &form);
}

lam_status sr_net_create(const struct sr_net_options *options, struct sr_net **net) {
    const struct sr_family *family;
    const struct sr_form *form;
    LAM_TRY(find(options->name, &family, &form));
    if (options->scale < 2 || options->scale > 4)
        return lam_fail(LAM_ERR_INVALID, "a scale of %d; there are 2, 3 and 4", options->scale);
    struct sr_net *made = calloc(1, sizeof *made);
    if (!made) return lam_no_memory();
    made->options = *options;
    made->family = family;
    made->form = *form;
    snprintf(made->name, sizeof made->name, "%s", options->name);
    made->options.name = made->name;
    if (options->channels) made->form.channels = options->channels;
    if (options->units) made->form.units = options->units;
    if (options->blocks) made->form.blocks = options->blocks;
    made->taps[SKIP] = (struct lam_tap){"skip", 0, made->form.units + 1};
    made->taps[IMAGE] = (struct lam_tap){"image", -1, made->form.units + 1};
    *net = made;
    return LAM_OK;
}

void sr_net_destroy(struct sr_net *net) {
    free(net);
}
