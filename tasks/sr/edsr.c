/* EDSR (Lim et al., CVPR workshops 2017, arXiv 1707.02921): blocks x + conv(ReLU(conv(x))), without batch norm, and without
 * residual scaling, which its authors use from 256 channels on. */
#include "tasks/sr/models.h"

static const char *const names[] = {"edsr-small", "edsr-baseline", NULL};
static const struct sr_form forms[] = {{.channels = 32, .units = 8, .blocks = 1},
                                       {.channels = 64, .units = 16, .blocks = 1}};

static lam_value build_unit(const struct sr_form *form, struct lam_graph *graph, lam_value x) {
    lam_value y = lam_relu(graph, sr_conv(graph, x, "conv1", form->channels, 1));
    return lam_add(graph, x, sr_conv(graph, y, "conv2", form->channels, 1));
}

static int radius(const struct sr_form *form) {
    (void)form;
    return 2;
}

const struct sr_family sr_family_edsr = {
    .names = names, .forms = forms, .build_unit = build_unit, .radius = radius};
