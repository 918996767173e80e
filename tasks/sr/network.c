/* The network of the task: fields, losses, local heads, and the range of values. */
#include "tasks/sr/internal.h"

/* Of DIV2K's training images, which EDSR and RCAN subtract. */
static const float mean[3] = {.4488f, .4371f, .4040f};

void sr_to_network(const struct sr *sr, float *planes, size_t pixels) {
    float range = (float)sr->own->image_range;
    for (int c = 0; c < 3; c++, planes += pixels)
        for (size_t i = 0; i < pixels; i++) planes[i] = (planes[i] - mean[c]) * range;
}

void sr_from_network(const struct sr *sr, float *planes, size_t pixels) {
    float scale = 255 / (float)sr->own->image_range;
    for (int c = 0; c < 3; c++, planes += pixels)
        for (size_t i = 0; i < pixels; i++) planes[i] = planes[i] * scale + 255 * mean[c];
}

static lam_value build_output(void *task, struct lam_graph *graph, lam_value image, const lam_value *inputs) {
    const struct sr *sr = task;
    if (!lam_graph_training(graph)) {
        lam_graph_output(graph, "image", image);
        return LAM_NO_VALUE;
    }
    float eps = (float)(sr->own->charbonnier_eps * sr->own->image_range);
    lam_value target = inputs[SR_FIELD_TARGET], loss = sr->own->loss == SR_CHARBONNIER
                                                           ? lam_charbonnier_loss(graph, image, target, eps)
                                                           : lam_l1_loss(graph, image, target);
    lam_graph_output(graph, "loss", loss);
    return loss;
}

static lam_value build_local_head(void *task, struct lam_graph *graph, lam_value x, const lam_value *inputs,
                                  const lam_value *taps) {
    const struct sr *sr = task;
    return build_output(task, graph, sr_net_local(sr->net, graph, x, taps), inputs);
}

/* As many tiles as a training batch has pixels, at least one. */
static int tiles_at_once(const struct sr *sr) {
    int64_t pixels = sr->config->batch * sr->own->patch * sr->own->patch;
    int64_t tiles = pixels / ((int64_t)sr->tile * sr->tile);
    return tiles > 1 ? (int)tiles : 1;
}

lam_status sr_make_network(struct sr *sr) {
    int64_t low = sr->own->patch, high = low * sr->scale;
    sr->fields[SR_FIELD_IMAGE] = (struct lam_field){"image", LAM_F32, LAM_SHAPE(3, low, low)};
    sr->fields[SR_FIELD_TARGET] = (struct lam_field){"target", LAM_F32, LAM_SHAPE(3, high, high)};
    sr->eval_field = (struct lam_field){"image", LAM_F32, LAM_SHAPE(3, sr->tile, sr->tile)};
    sr->network = sr_net_network(sr->net);
    sr->network.fields = sr->fields;
    sr->network.field_count = SR_FIELDS;
    sr->network.eval_fields = &sr->eval_field;
    sr->network.eval_field_count = 1;
    sr->network.eval_batch = tiles_at_once(sr);
    sr->network.task = sr;
    sr->network.build_output = build_output;
    sr->network.build_local_head = build_local_head;
    return LAM_OK;
}
