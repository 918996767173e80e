/* Networks for super-resolution: a convolution, a body of alike units with a skip around it, an upsampler.
 *
 *     struct sr_net_options options = {.name = "edsr-small", .scale = 2, .global_skip = true};
 *     LAM_TRY(sr_net_create(&options, &net));
 *     struct lam_network network = sr_net_network(net);          // the task adds fields and losses
 *     image = sr_net_local(net, graph, x, taps);                 // the end made small, behind any unit
 *     sr_net_destroy(net);
 *
 * Units: "head", a 3x3 convolution from RGB; "body.0" ... ; and "tail": a 3x3 convolution, plus what the head gave (the long
 * skip), the upsampler, and a 3x3 convolution to RGB; with the global skip, plus the input, each pixel repeated. The two skips are
 * taps: they travel to the tail detached where a block ends in between. The tail gives the large image, f32.
 *
 * Upsampler: a 3x3 convolution to r r times the channels and a pixel shuffle by r; for 4 that twice with r = 2. Convolutions start
 * from U(+-1 / sqrt(inputs)), as PyTorch's do; their biases from zero, and the last one, which adds to the global skip, from a
 * tenth of that.
 *
 * A family of bodies is a file with a const struct sr_family (edsr.c, rcan.c) and a line in models.c.
 */
#ifndef TASKS_SR_MODELS_H
#define TASKS_SR_MODELS_H

#include "local/aux.h"

struct sr_form {
    int channels;
    int units;     /* of the body */
    int blocks;    /* in a unit; 1 where a unit is a block */
    int reduction; /* of channel attention; 0: there is none */
};

struct sr_family {
    const char *const *names; /* NULL-terminated */
    const struct sr_form *forms;
    lam_value (*build_unit)(const struct sr_form *form, struct lam_graph *graph, lam_value x);
    int (*radius)(
        const struct sr_form *form); /* how far a unit's output sees, but for means over the whole map */
    bool sees_all;                   /* it has such means */
};

struct sr_net_options {
    const char *name;
    int scale;
    bool global_skip;
    int channels, units, blocks; /* 0: the model's own */
    int local_width;             /* channels of the local head's upscaled map; 0: half of the network's */
};

struct sr_net;

/* LAM_ERR_NOT_FOUND with the nearest name, LAM_ERR_INVALID for a form that cannot be. */
lam_status sr_net_create(const struct sr_net_options *options, struct sr_net **net);
void sr_net_destroy(struct sr_net *net);
lam_status sr_net_find(const char *name); /* whether there is such a network */
extern const char *const sr_net_names[];  /* those of all families, NULL-terminated */

/* Units, names, taps, cuts. The net must outlive it. */
struct lam_network sr_net_network(struct sr_net *net);

/* A large image from features of any unit; taps as the network's build_local_head gets them. */
lam_value sr_net_local(const struct sr_net *net, struct lam_graph *graph, lam_value x, const lam_value *taps);

/* How far an output pixel sees, in input pixels (tile.h). */
int sr_net_radius(const struct sr_net *net);
bool sr_net_sees_all(const struct sr_net *net);

/* For families: a 3x3 convolution that keeps the size. */
lam_value sr_conv(struct lam_graph *graph, lam_value x, const char *name, int out, float gain);

extern const struct sr_family sr_family_edsr, sr_family_rcan;

#endif
