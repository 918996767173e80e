/* The network of the task: fields, losses, local heads. */
#include "tasks/detect/internal.h"

/* What evaluation reads: class logits [N, A, classes] and deltas [N, A, 4]. */
static void declare_outputs(struct lam_graph *graph, lam_value classes, lam_value deltas) {
    lam_graph_output(graph, "classes", lam_cast(graph, classes, LAM_F32));
    lam_graph_output(graph, "deltas", lam_cast(graph, deltas, LAM_F32));
}

/* Focal loss of all anchors over the image's positives, and the box loss of the positives; means over the batch. */
static lam_value build_loss(const struct detect *d, struct lam_graph *graph, lam_value classes,
                            lam_value deltas, const lam_value *inputs) {
    const struct detect_config *own = d->own;
    const lam_value labels = inputs[DETECT_FIELD_CLASSES], normaliser = inputs[DETECT_FIELD_NORMALISER];
    const lam_value target = inputs[DETECT_FIELD_BOXES], weights = inputs[DETECT_FIELD_WEIGHTS];
    static const float beta = 1.0f / 9;
    lam_value anchors = LAM_NO_VALUE, focal, boxes;
    if (own->box_loss == DETECT_GIOU) {
        anchors = lam_constant(graph, "anchors", LAM_SHAPE(d->anchors.count, 4), (const float *)d->corners);
        boxes = lam_giou_loss(graph, deltas, anchors, target, weights);
    } else {
        boxes = lam_smooth_l1_loss(graph, deltas, target, weights, beta);
    }
    if (own->class_loss == DETECT_QUALITY) {
        lam_value quality =
            lam_iou_targets(graph, labels, d->classes.count, deltas, anchors, target, weights);
        focal = lam_quality_focal_loss(graph, classes, quality, normaliser, 1);
    } else {
        focal = lam_focal_loss(graph, classes, labels, normaliser, (float)own->focal_alpha,
                               (float)own->focal_gamma, 1);
    }
    return lam_add(graph, focal, lam_scale(graph, boxes, (float)own->box_weight));
}

static lam_value build_output(void *task, struct lam_graph *graph, lam_value rows, const lam_value *inputs) {
    const struct detect *d = task;
    lam_value classes = lam_slice(graph, rows, 2, 0, d->classes.count);
    lam_value deltas = lam_slice(graph, rows, 2, d->classes.count, 4);
    if (!lam_graph_training(graph)) {
        declare_outputs(graph, classes, deltas);
        return LAM_NO_VALUE;
    }
    lam_value loss = build_loss(d, graph, classes, deltas, inputs);
    lam_graph_output(graph, "loss", loss);
    return loss;
}

static lam_value build_local_head(void *task, struct lam_graph *graph, lam_value x, const lam_value *inputs,
                                  const lam_value *taps) {
    const struct detect *d = task;
    return build_output(task, graph, retinanet_local_rows(d->net, graph, x, taps), inputs);
}

static void set_fields(struct detect *d) {
    int64_t anchors = d->anchors.count;
    d->fields[DETECT_FIELD_IMAGE] = (struct lam_field){"image", LAM_U8, LAM_SHAPE(3, d->height, d->width)};
    d->fields[DETECT_FIELD_CLASSES] = (struct lam_field){"class_targets", LAM_I32, LAM_SHAPE(anchors)};
    d->fields[DETECT_FIELD_BOXES] = (struct lam_field){"box_targets", LAM_F32, LAM_SHAPE(anchors, 4)};
    d->fields[DETECT_FIELD_WEIGHTS] = (struct lam_field){"box_weights", LAM_F32, LAM_SHAPE(anchors)};
    d->fields[DETECT_FIELD_NORMALISER] = (struct lam_field){"normaliser", LAM_F32, LAM_SCALAR};
}

lam_status detect_make_network(struct detect *d) {
    struct retinanet_options options = {.name = d->config->model,
                                        .image_width = d->width,
                                        .image_height = d->height,
                                        .classes = d->classes.count,
                                        .per_cell = d->anchors.per_cell,
                                        .width = (int)d->own->head_width,
                                        .depth = (int)d->own->head_depth,
                                        .local_depth = (int)d->own->local_depth};
    LAM_TRY(retinanet_create(&options, &d->net));
    set_fields(d);
    d->network = retinanet_network(d->net);
    d->network.fields = d->fields;
    d->network.field_count = DETECT_FIELDS;
    d->network.normalize = &d->normalize;
    d->network.eval_fields = d->fields;
    d->network.eval_field_count = 1;
    d->network.task = d;
    d->network.build_output = build_output;
    d->network.build_local_head = build_local_head;
    return LAM_OK;
}
