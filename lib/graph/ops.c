/* Ops without parameters: shape rules and attributes. What each op computes stands in device/op.h. */
#include "graph/internal.h"

#include <string.h>

static lam_value same(struct lam_graph *g, enum lam_op_kind kind, const union lam_op_attr *attr,
                      lam_value x) {
    return lam_graph_unary(g, kind, attr, x, lam_value_dtype(g, x), lam_value_shape(g, x));
}

/* The shape of x if it has that rank, else a failure. */
static bool has_rank(struct lam_graph *g, lam_value x, int rank, const char *who) {
    if (lam_graph_bad(g, x)) return false;
    struct lam_shape shape = lam_value_shape(g, x);
    char text[96];
    if (shape.rank == rank) return true;
    lam_graph_fail(g, LAM_ERR_INVALID, "%s takes rank %d, not %s", who, rank,
                   lam_shape_text(shape, text, sizeof text));
    return false;
}

lam_value lam_relu(struct lam_graph *g, lam_value x) {
    return same(g, LAM_OP_RELU, NULL, x);
}

lam_value lam_gelu(struct lam_graph *g, lam_value x) {
    return same(g, LAM_OP_GELU, NULL, x);
}

lam_value lam_sigmoid(struct lam_graph *g, lam_value x) {
    return same(g, LAM_OP_SIGMOID, NULL, x);
}

lam_value lam_channel_scale(struct lam_graph *g, lam_value x, lam_value s) {
    if (!has_rank(g, x, 4, "channel scale") || !has_rank(g, s, 2, "channel scale")) return LAM_NO_VALUE;
    struct lam_shape image = lam_value_shape(g, x), gate = lam_value_shape(g, s);
    if (gate.dim[0] != image.dim[0] || gate.dim[1] != image.dim[1])
        return lam_graph_fail(g, LAM_ERR_INVALID, "channel scale: %d numbers for %d channels",
                              (int)gate.dim[1], (int)image.dim[1]);
    lam_value in[] = {x, lam_cast(g, s, lam_value_dtype(g, x))};
    lam_value y = lam_graph_new_value(g, lam_value_dtype(g, x), image, true);
    if (y == LAM_NO_VALUE || !lam_graph_add(g, LAM_OP_CHANNEL_SCALE, NULL, in, 2, &y, 1)) return LAM_NO_VALUE;
    return y;
}

lam_value lam_scale(struct lam_graph *g, lam_value x, float factor) {
    union lam_op_attr attr = {.scale = {factor}};
    return same(g, LAM_OP_SCALE, &attr, x);
}

lam_value lam_softmax(struct lam_graph *g, lam_value x) {
    return same(g, LAM_OP_SOFTMAX, NULL, x);
}

lam_value lam_cast(struct lam_graph *g, lam_value x, enum lam_dtype dtype) {
    if (lam_graph_bad(g, x) || lam_value_dtype(g, x) == dtype) return x;
    return lam_graph_unary(g, LAM_OP_CAST, NULL, x, dtype, lam_value_shape(g, x));
}

/* Numbers of pixels: what NORMALIZE and AUGMENT have in common. */
static lam_value of_pixels(struct lam_graph *g, lam_value x, enum lam_op_kind kind,
                           const struct lam_normalize_attr *normalize, const union lam_op_attr *attr) {
    const char *name = lam_op_name(kind);
    if (!has_rank(g, x, 4, name)) return LAM_NO_VALUE;
    const int64_t channels = lam_value_shape(g, x).dim[1];
    if (lam_value_dtype(g, x) != LAM_U8 || channels > LAM_MAX_COLOURS)
        return lam_graph_fail(g, LAM_ERR_INVALID, "%s takes u8 of at most %d channels, not %s of %d", name,
                              LAM_MAX_COLOURS, lam_dtype_name(lam_value_dtype(g, x)), (int)channels);
    for (int64_t c = 0; c < channels; c++)
        if (!(normalize->deviation[c] > 0))
            return lam_graph_fail(g, LAM_ERR_INVALID, "%s: the deviation of channel %d is %g", name, (int)c,
                                  (double)normalize->deviation[c]);
    return lam_graph_unary(g, kind, attr, x, g->compute, lam_value_shape(g, x));
}

lam_value lam_normalize(struct lam_graph *g, lam_value x, const struct lam_normalize_attr *attr) {
    const union lam_op_attr of_op = {.normalize = *attr};
    return of_pixels(g, x, LAM_OP_NORMALIZE, attr, &of_op);
}

lam_value lam_augment(struct lam_graph *g, lam_value x, const struct lam_augment_attr *attr) {
    enum { MOST_PIXELS = 2048 };
    const union lam_op_attr of_op = {.augment = *attr};
    if (!lam_graph_training(g)) return lam_normalize(g, x, &attr->normalize);
    if (attr->pad < 0 || attr->pad > MOST_PIXELS || attr->cutout < 0 || attr->cutout > MOST_PIXELS)
        return lam_graph_fail(g, LAM_ERR_INVALID,
                              "augment: a shift of %d or a square of %d pixels is not in 0..%d", attr->pad,
                              attr->cutout, (int)MOST_PIXELS);
    return of_pixels(g, x, LAM_OP_AUGMENT, &attr->normalize, &of_op);
}

lam_value lam_graph_to_compute(struct lam_graph *g, lam_value x) {
    return lam_cast(g, x, g->compute);
}

lam_value lam_add(struct lam_graph *g, lam_value a, lam_value b) {
    if (lam_graph_bad(g, a) || lam_graph_bad(g, b)) return LAM_NO_VALUE;
    if (!lam_shape_equal(lam_value_shape(g, a), lam_value_shape(g, b))) {
        char left[96], right[96];
        return lam_graph_fail(g, LAM_ERR_INVALID, "add: %s and %s differ",
                              lam_shape_text(lam_value_shape(g, a), left, sizeof left),
                              lam_shape_text(lam_value_shape(g, b), right, sizeof right));
    }
    b = lam_cast(g, b, lam_value_dtype(g, a));
    if (b == LAM_NO_VALUE) return b;
    const struct value *va = lam_graph_value(g, a);
    lam_value y = lam_graph_new_value(g, va->desc.dtype, va->desc.shape, va->batched);
    lam_value in[] = {a, b};
    if (y == LAM_NO_VALUE || !lam_graph_add(g, LAM_OP_ADD, NULL, in, 2, &y, 1)) return LAM_NO_VALUE;
    return y;
}

lam_value lam_copy(struct lam_graph *g, lam_value x) {
    if (lam_graph_bad(g, x)) return LAM_NO_VALUE;
    return lam_graph_unary(g, LAM_OP_COPY, NULL, x, lam_value_dtype(g, x), lam_value_shape(g, x));
}

lam_value lam_reshape(struct lam_graph *g, lam_value x, struct lam_shape shape) {
    if (lam_graph_bad(g, x)) return LAM_NO_VALUE;
    struct lam_shape old = lam_value_shape(g, x);
    if (lam_shape_equal(old, shape)) return x;
    if (shape.rank < 1 || shape.dim[0] != old.dim[0] || lam_shape_count(shape) != lam_shape_count(old)) {
        char from[96], to[96];
        return lam_graph_fail(g, LAM_ERR_INVALID, "reshape: %s cannot become %s",
                              lam_shape_text(old, from, sizeof from), lam_shape_text(shape, to, sizeof to));
    }
    return lam_graph_unary(g, LAM_OP_COPY, NULL, x, lam_value_dtype(g, x), shape);
}

lam_value lam_concat(struct lam_graph *g, const lam_value *x, int count, int axis) {
    if (count < 1 || count > LAM_MAX_INPUTS)
        return lam_graph_fail(g, LAM_ERR_INVALID, "concat takes 1 to %d values", LAM_MAX_INPUTS);
    for (int i = 0; i < count; i++)
        if (lam_graph_bad(g, x[i])) return LAM_NO_VALUE;
    struct lam_shape shape = lam_value_shape(g, x[0]);
    if (axis < 1 || axis >= shape.rank) return lam_graph_fail(g, LAM_ERR_INVALID, "concat: no axis %d", axis);
    for (int i = 1; i < count; i++) {
        struct lam_shape other = lam_value_shape(g, x[i]), like = shape;
        like.dim[axis] = axis < other.rank ? other.dim[axis] : 0;
        if (!lam_shape_equal(other, like) || lam_value_dtype(g, x[i]) != lam_value_dtype(g, x[0]))
            return lam_graph_fail(g, LAM_ERR_INVALID,
                                  "concat: value %d differs from the first in more than axis %d", i, axis);
        shape.dim[axis] += other.dim[axis];
    }
    if (count == 1) return x[0];
    union lam_op_attr attr = {.axis = {.axis = axis}};
    lam_value y = lam_graph_new_value(g, lam_value_dtype(g, x[0]), shape, true);
    if (y == LAM_NO_VALUE || !lam_graph_add(g, LAM_OP_CONCAT, &attr, x, count, &y, 1)) return LAM_NO_VALUE;
    return y;
}

lam_value lam_slice(struct lam_graph *g, lam_value x, int axis, int64_t begin, int64_t length) {
    if (lam_graph_bad(g, x)) return LAM_NO_VALUE;
    struct lam_shape shape = lam_value_shape(g, x);
    if (axis < 1 || axis >= shape.rank || begin < 0 || length < 1 || begin + length > shape.dim[axis])
        return lam_graph_fail(g, LAM_ERR_INVALID, "slice: range outside axis %d", axis);
    union lam_op_attr attr = {.axis = {.axis = axis, .begin = begin, .length = length}};
    shape.dim[axis] = length;
    return lam_graph_unary(g, LAM_OP_SLICE, &attr, x, lam_value_dtype(g, x), shape);
}

static bool pool_setup(struct lam_graph *g, lam_value x, int kernel, int stride, int pad,
                       union lam_op_attr *attr, struct lam_shape *shape) {
    if (!has_rank(g, x, 4, "pool")) return false;
    *attr = (union lam_op_attr){.pool = {{kernel, kernel}, {stride, stride}, {pad, pad}}};
    *shape = lam_value_shape(g, x);
    if (kernel < 1 || stride < 1 || pad < 0 || 2 * pad > kernel) {
        lam_graph_fail(g, LAM_ERR_INVALID, "pool: kernel %d, stride %d, pad %d do not go together", kernel,
                       stride, pad);
        return false;
    }
    for (int i = 2; i < 4; i++) shape->dim[i] = (shape->dim[i] + 2 * pad - kernel) / stride + 1;
    return true;
}

lam_value lam_max_pool(struct lam_graph *g, lam_value x, int kernel, int stride, int pad) {
    union lam_op_attr attr;
    struct lam_shape shape;
    if (!pool_setup(g, x, kernel, stride, pad, &attr, &shape)) return LAM_NO_VALUE;
    return lam_graph_unary(g, LAM_OP_MAX_POOL, &attr, x, lam_value_dtype(g, x), shape);
}

lam_value lam_avg_pool(struct lam_graph *g, lam_value x, int kernel, int stride, int pad) {
    union lam_op_attr attr;
    struct lam_shape shape;
    if (!pool_setup(g, x, kernel, stride, pad, &attr, &shape)) return LAM_NO_VALUE;
    return lam_graph_unary(g, LAM_OP_AVG_POOL, &attr, x, lam_value_dtype(g, x), shape);
}

lam_value lam_global_avg_pool(struct lam_graph *g, lam_value x) {
    if (!has_rank(g, x, 4, "global average pool")) return LAM_NO_VALUE;
    struct lam_shape shape = lam_value_shape(g, x);
    return lam_graph_unary(g, LAM_OP_GLOBAL_AVG_POOL, NULL, x, lam_value_dtype(g, x),
                           LAM_SHAPE(shape.dim[0], shape.dim[1]));
}

lam_value lam_resize(struct lam_graph *g, lam_value x, int64_t height, int64_t width, bool bilinear) {
    if (!has_rank(g, x, 4, "resize")) return LAM_NO_VALUE;
    struct lam_shape shape = lam_value_shape(g, x);
    shape.dim[2] = height;
    shape.dim[3] = width;
    union lam_op_attr attr = {.resize = {bilinear}};
    return lam_graph_unary(g, LAM_OP_RESIZE, &attr, x, lam_value_dtype(g, x), shape);
}

lam_value lam_pixel_shuffle(struct lam_graph *g, lam_value x, int factor) {
    if (!has_rank(g, x, 4, "pixel shuffle")) return LAM_NO_VALUE;
    struct lam_shape shape = lam_value_shape(g, x);
    if (factor < 1 || shape.dim[1] % (factor * factor))
        return lam_graph_fail(g, LAM_ERR_INVALID, "pixel shuffle: %d channels do not divide by %d squared",
                              (int)shape.dim[1], factor);
    union lam_op_attr attr = {.pixel_shuffle = {factor}};
    shape.dim[1] /= factor * factor;
    shape.dim[2] *= factor;
    shape.dim[3] *= factor;
    return lam_graph_unary(g, LAM_OP_PIXEL_SHUFFLE, &attr, x, lam_value_dtype(g, x), shape);
}

lam_value lam_pixel_unshuffle(struct lam_graph *g, lam_value x, int factor) {
    if (!has_rank(g, x, 4, "pixel unshuffle")) return LAM_NO_VALUE;
    struct lam_shape shape = lam_value_shape(g, x);
    if (factor < 1 || shape.dim[2] % factor || shape.dim[3] % factor)
        return lam_graph_fail(g, LAM_ERR_INVALID, "pixel unshuffle: an image of %dx%d does not divide by %d",
                              (int)shape.dim[3], (int)shape.dim[2], factor);
    union lam_op_attr attr = {.pixel_shuffle = {factor}};
    shape.dim[1] *= factor * factor;
    shape.dim[2] /= factor;
    shape.dim[3] /= factor;
    return lam_graph_unary(g, LAM_OP_PIXEL_UNSHUFFLE, &attr, x, lam_value_dtype(g, x), shape);
}

lam_value lam_to_rows(struct lam_graph *g, lam_value x, int k) {
    if (!has_rank(g, x, 4, "to rows")) return LAM_NO_VALUE;
    struct lam_shape s = lam_value_shape(g, x);
    if (k < 1 || s.dim[1] % k)
        return lam_graph_fail(g, LAM_ERR_INVALID, "to rows: %d channels do not divide into rows of %d",
                              (int)s.dim[1], k);
    return lam_graph_unary(g, LAM_OP_PERMUTE_HWC, NULL, x, lam_value_dtype(g, x),
                           LAM_SHAPE(s.dim[0], s.dim[2] * s.dim[3] * (s.dim[1] / k), k));
}

lam_value lam_patchify(struct lam_graph *g, lam_value x, int size) {
    if (!has_rank(g, x, 4, "patchify")) return LAM_NO_VALUE;
    struct lam_shape s = lam_value_shape(g, x);
    if (size < 1 || s.dim[2] % size || s.dim[3] % size)
        return lam_graph_fail(g, LAM_ERR_INVALID,
                              "patchify: an image of %dx%d does not divide into patches of %d", (int)s.dim[3],
                              (int)s.dim[2], size);
    union lam_op_attr attr = {.patchify = {size}};
    struct lam_shape shape =
        LAM_SHAPE(s.dim[0], (s.dim[2] / size) * (s.dim[3] / size), s.dim[1] * size * size);
    return lam_graph_unary(g, LAM_OP_PATCHIFY, &attr, x, lam_value_dtype(g, x), shape);
}

/* ---- losses ---- */

static lam_value scalar_of(struct lam_graph *g, enum lam_op_kind kind, struct lam_loss_attr attr,
                           const lam_value *in, int count) {
    union lam_op_attr a = {.loss = attr};
    lam_value y = lam_graph_new_value(g, LAM_F32, LAM_SCALAR, false);
    if (y == LAM_NO_VALUE || !lam_graph_add(g, kind, &a, in, count, &y, 1)) return LAM_NO_VALUE;
    return y;
}

/* The first dimensions of x, but not all. */
static bool is_prefix(struct lam_shape part, struct lam_shape x) {
    if (part.rank < 1 || part.rank >= x.rank) return false;
    x.rank = part.rank;
    return lam_shape_equal(part, x);
}

static bool is_f32(const struct lam_graph *g, lam_value value) {
    return lam_value_dtype(g, value) == LAM_F32;
}

/* attr.scale: what the mean is multiplied with. */
static lam_value loss(struct lam_graph *g, enum lam_op_kind kind, struct lam_loss_attr attr, lam_value x,
                      lam_value target, lam_value weight) {
    bool weighted = weight != LAM_NO_VALUE;
    if (lam_graph_bad(g, x) || lam_graph_bad(g, target) || (weighted && lam_graph_bad(g, weight)))
        return LAM_NO_VALUE;
    struct lam_shape shape = lam_value_shape(g, x), t = lam_value_shape(g, target);
    bool classes = kind == LAM_OP_FOCAL && lam_value_dtype(g, target) == LAM_I32 &&
                   shape.rank == t.rank + 1 && is_prefix(t, shape);
    if (!classes && !(is_f32(g, target) && lam_shape_equal(shape, t)))
        return lam_graph_fail(g, LAM_ERR_INVALID, "%s: prediction and target differ in shape",
                              lam_op_name(kind));
    if (weighted && !(is_f32(g, weight) && is_prefix(lam_value_shape(g, weight), shape)))
        return lam_graph_fail(g, LAM_ERR_INVALID,
                              "%s: weights must be f32 of the prediction's first dimensions",
                              lam_op_name(kind));
    attr.scale = (float)((double)attr.scale / (double)(weighted ? g->batch : lam_shape_count(shape)));
    return scalar_of(g, kind, attr, (lam_value[]){x, target, weight}, 3);
}

lam_value lam_l1_loss(struct lam_graph *g, lam_value x, lam_value target) {
    return loss(g, LAM_OP_L1, (struct lam_loss_attr){.scale = 1}, x, target, LAM_NO_VALUE);
}

lam_value lam_mse_loss(struct lam_graph *g, lam_value x, lam_value target) {
    return loss(g, LAM_OP_MSE, (struct lam_loss_attr){.scale = 1}, x, target, LAM_NO_VALUE);
}

lam_value lam_smooth_l1_loss(struct lam_graph *g, lam_value x, lam_value target, lam_value weight,
                             float beta) {
    return loss(g, LAM_OP_SMOOTH_L1, (struct lam_loss_attr){.scale = 1, .beta = beta}, x, target, weight);
}

lam_value lam_charbonnier_loss(struct lam_graph *g, lam_value x, lam_value target, float eps) {
    return loss(g, LAM_OP_CHARBONNIER, (struct lam_loss_attr){.scale = 1, .beta = eps}, x, target,
                LAM_NO_VALUE);
}

lam_value lam_bce_loss(struct lam_graph *g, lam_value x, lam_value target) {
    return loss(g, LAM_OP_BCE_LOGITS, (struct lam_loss_attr){.scale = 1}, x, target, LAM_NO_VALUE);
}

lam_value lam_focal_loss(struct lam_graph *g, lam_value x, lam_value target, lam_value weight, float alpha,
                         float gamma, float scale) {
    struct lam_loss_attr attr = {.scale = scale, .alpha = alpha, .gamma = gamma};
    return loss(g, LAM_OP_FOCAL, attr, x, target, weight);
}

lam_value lam_quality_focal_loss(struct lam_graph *g, lam_value x, lam_value target, lam_value weight,
                                 float scale) {
    return loss(g, LAM_OP_QUALITY_FOCAL, (struct lam_loss_attr){.scale = scale}, x, target, weight);
}

/* Deltas [N, A, 4], anchors [A, 4], target [N, A, 4], weight [N, A]; else a failure. */
static bool are_boxes(struct lam_graph *g, const char *who, lam_value deltas, lam_value anchors,
                      lam_value target, lam_value weight) {
    if (!has_rank(g, deltas, 3, who) || lam_graph_bad(g, anchors) || lam_graph_bad(g, target) ||
        lam_graph_bad(g, weight))
        return false;
    struct lam_shape x = lam_value_shape(g, deltas);
    bool fits = x.dim[2] == 4 && is_f32(g, anchors) && is_f32(g, target) && is_f32(g, weight) &&
                !lam_graph_value(g, anchors)->batched &&
                lam_shape_equal(lam_value_shape(g, anchors), LAM_SHAPE(x.dim[1], 4)) &&
                lam_shape_equal(lam_value_shape(g, target), x) &&
                lam_shape_equal(lam_value_shape(g, weight), LAM_SHAPE(x.dim[0], x.dim[1]));
    if (!fits)
        lam_graph_fail(g, LAM_ERR_INVALID,
                       "%s: takes deltas [N, A, 4], anchors [A, 4], target [N, A, 4], weight [N, A]", who);
    return fits;
}

lam_value lam_iou_targets(struct lam_graph *g, lam_value label, int64_t classes, lam_value deltas,
                          lam_value anchors, lam_value target, lam_value weight) {
    if (!are_boxes(g, "iou targets", deltas, anchors, target, weight) || lam_graph_bad(g, label))
        return LAM_NO_VALUE;
    struct lam_shape rows = lam_value_shape(g, weight);
    if (lam_value_dtype(g, label) != LAM_I32 || !lam_shape_equal(lam_value_shape(g, label), rows))
        return lam_graph_fail(g, LAM_ERR_INVALID, "iou targets: labels must be i32 [N, A]");
    lam_value y = lam_graph_new_value(g, LAM_F32, LAM_SHAPE(rows.dim[0], rows.dim[1], classes), true);
    const lam_value in[] = {label, deltas, anchors, target, weight};
    if (y == LAM_NO_VALUE || !lam_graph_add(g, LAM_OP_IOU_TARGETS, NULL, in, 5, &y, 1)) return LAM_NO_VALUE;
    return y;
}

lam_value lam_giou_loss(struct lam_graph *g, lam_value deltas, lam_value anchors, lam_value target,
                        lam_value weight) {
    if (!are_boxes(g, "giou", deltas, anchors, target, weight)) return LAM_NO_VALUE;
    struct lam_loss_attr attr = {.scale = (float)(1.0 / (double)g->batch)};
    return scalar_of(g, LAM_OP_GIOU, attr, (lam_value[]){deltas, anchors, target, weight}, 4);
}

lam_value lam_cross_entropy(struct lam_graph *g, lam_value logits, lam_value target, float smoothing,
                            lam_value *correct) {
    if (correct) *correct = LAM_NO_VALUE;
    if (!has_rank(g, logits, 2, "cross entropy") || lam_graph_bad(g, target)) return LAM_NO_VALUE;
    struct lam_shape x = lam_value_shape(g, logits), t = lam_value_shape(g, target);
    bool labels = lam_value_dtype(g, target) == LAM_I32 && t.rank == 1 && t.dim[0] == x.dim[0];
    bool probabilities = lam_value_dtype(g, target) == LAM_F32 && lam_shape_equal(x, t);
    if (!labels && !probabilities)
        return lam_graph_fail(g, LAM_ERR_INVALID,
                              "cross entropy: the target is neither i32 [N] nor f32 [N, classes]");
    union lam_op_attr attr = {.loss = {.scale = (float)(1.0 / (double)g->batch), .smoothing = smoothing}};
    lam_value in[] = {logits, target}, out[] = {lam_graph_new_value(g, LAM_F32, LAM_SCALAR, false),
                                                lam_graph_new_value(g, LAM_F32, LAM_SCALAR, false)};
    if (!lam_graph_add(g, LAM_OP_CROSS_ENTROPY, &attr, in, 2, out, 2)) return LAM_NO_VALUE;
    if (correct) *correct = out[1];
    return out[0];
}
