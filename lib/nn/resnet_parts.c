/* Residual units with torchvision's names, and the map from unit numbers to stages. */
#include "nn/resnet_parts.h"

#include <stdio.h>

static const char *unit_name(const struct lam_model *model, int unit, char *text, size_t size) {
    int stage, index;
    if (lam_resnet_place(model, unit, &stage, &index))
        snprintf(text, size, "layer%d.%d", stage + 1, index);
    else
        snprintf(text, size, "%s", unit == 0 ? "stem" : "head");
    return text;
}

static int unit_stage(const struct lam_model *model, int unit) {
    int stage = 0, index;
    lam_resnet_place(model, unit, &stage, &index);
    return stage;
}

void lam_resnet_set_stages(struct lam_model *model, int stages, const int *units) {
    model->config[LAM_RESNET_STAGES] = stages;
    model->unit_count = 2;
    for (int s = 0; s < stages; s++) {
        model->config[s] = units[s];
        model->unit_count += units[s];
    }
    model->unit_name = unit_name;
    model->unit_stage = unit_stage;
}

bool lam_resnet_place(const struct lam_model *model, int unit, int *stage, int *index) {
    int place = unit - 1;
    if (place < 0) return false;
    for (int s = 0; s < model->config[LAM_RESNET_STAGES]; s++) {
        if (place < model->config[s]) {
            *stage = s;
            *index = place;
            return true;
        }
        place -= model->config[s];
    }
    return false;
}

/* The identity where it fits, else "downsample.0" (1x1 convolution) and "downsample.1" (BN). */
static lam_value shortcut(struct lam_graph *graph, lam_value x, int out, int stride) {
    if (stride == 1 && lam_value_shape(graph, x).dim[1] == out) return x;
    lam_value y =
        lam_conv(graph, x, "downsample.0", (struct lam_conv_spec){.out = out, .kernel = 1, .stride = stride});
    return lam_batch_norm(graph, y, "downsample.1");
}

lam_value lam_resnet_basic(struct lam_graph *graph, lam_value x, int width, int stride) {
    struct lam_conv_spec spec = {.out = width, .kernel = 3, .stride = stride, .pad = 1};
    lam_value y = lam_conv(graph, x, "conv1", spec);
    y = lam_relu(graph, lam_batch_norm(graph, y, "bn1"));
    spec.stride = 1;
    y = lam_batch_norm(graph, lam_conv(graph, y, "conv2", spec), "bn2");
    return lam_relu(graph, lam_add(graph, y, shortcut(graph, x, width, stride)));
}

lam_value lam_resnet_bottleneck(struct lam_graph *graph, lam_value x, int width, int stride) {
    lam_value y = lam_conv(graph, x, "conv1", (struct lam_conv_spec){.out = width, .kernel = 1});
    y = lam_relu(graph, lam_batch_norm(graph, y, "bn1"));
    y = lam_conv(graph, y, "conv2",
                 (struct lam_conv_spec){.out = width, .kernel = 3, .stride = stride, .pad = 1});
    y = lam_relu(graph, lam_batch_norm(graph, y, "bn2"));
    y = lam_conv(graph, y, "conv3", (struct lam_conv_spec){.out = 4 * width, .kernel = 1});
    y = lam_batch_norm(graph, y, "bn3");
    return lam_relu(graph, lam_add(graph, y, shortcut(graph, x, 4 * width, stride)));
}

lam_value lam_resnet_head(struct lam_graph *graph, lam_value x, int classes) {
    lam_value y = lam_global_avg_pool(graph, x);
    y = lam_linear(graph, y, "fc", (struct lam_linear_spec){.out = classes, .bias = true});
    return lam_cast(graph, y, LAM_F32);
}
