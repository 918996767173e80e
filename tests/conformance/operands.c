/* Random operands for an op (operands.h). Everything is drawn standard normal first; then each op kind's own
 * rules are applied, and inputs that a forward op would have made are made by its reference. */
#include "conformance/operands.h"

#include <math.h>
#include <stdlib.h>

#include "base/rng.h"

void operands_fill_normal(double *values, int64_t count, uint64_t seed, uint64_t which) {
    struct lam_rng rng = lam_rng_make(seed, LAM_RNG_TEST, which, 0);
    for (int64_t i = 0; i < count; i++) values[i] = (double)lam_rng_normal(&rng);
}

double operands_round(double value, enum lam_dtype dtype) {
    if (dtype == LAM_BF16) return (double)lam_bf16_to_f32(lam_f32_to_bf16((float)value));
    if (dtype == LAM_F32) return (double)(float)value;
    return rint(value);
}

bool operands_in_place(enum lam_op_kind kind, int output) {
    return kind == LAM_OP_BN_STATS && output >= 2;
}

/* ---- rules ---- */

static void make_positive(double *values, int64_t count) {
    for (int64_t i = 0; i < count; i++) values[i] = 0.1 + fabs(values[i]);
}

/* Labels in 0..classes-1; with more than three rows, one too small and one too large. */
static void make_labels(double *values, int64_t rows, int64_t classes) {
    for (int64_t i = 0; i < rows; i++) values[i] = fmod(floor(fabs(values[i]) * 1000), (double)classes);
    if (rows > 3) {
        values[1] = -1;
        values[rows - 1] = (double)classes;
    }
}

static void make_distribution(double *values, int64_t rows, int64_t classes) {
    for (int64_t r = 0; r < rows; r++) {
        double *t = values + r * classes, sum = 0;
        for (int64_t k = 0; k < classes; k++) sum += t[k] = t[k] * t[k];
        for (int64_t k = 0; k < classes; k++) t[k] /= sum;
    }
}

/* -2 (ignored), -1 (none), the classes, and one too many. */
static void make_row_labels(double *values, int64_t rows, int64_t classes) {
    for (int64_t i = 0; i < rows; i++)
        values[i] = fmod(floor(fabs(values[i]) * 1000), (double)classes + 3) - 2;
}

/* More than half of them 0; not the first. */
static void make_weights(double *values, int64_t count) {
    for (int64_t i = 0; i < count; i++) values[i] = i == 0 ? 0.8 : values[i] > 0.3 ? values[i] : 0;
}

static enum lam_op_kind loss_of(const struct lam_op *op) {
    return op->kind == LAM_OP_LOSS_BWD ? op->attr.loss.of : op->kind;
}

/* What nobody may look at: targets whose weight is 0. */
static void spoil_targets(double *target, int64_t count, const double *weight, int64_t weights) {
    for (int64_t i = 0; i < count; i++)
        if (weight[i / (count / weights)] == 0) target[i] = NAN;
}

static void loss_targets(const struct lam_op *op, double *target, double *weight) {
    int64_t count = reference_count(&op->in[1]), classes = reference_last(&op->in[0]);
    enum lam_op_kind of = loss_of(op);
    const bool labels = op->in[1].desc.dtype == LAM_I32;
    for (int64_t i = 0; i < count; i++) {
        if (of == LAM_OP_BCE_LOGITS) target[i] = 0.5 + 0.5 * sin(3 * target[i]);
        if (of == LAM_OP_QUALITY_FOCAL)
            target[i] = target[i] < -1.2 ? -1 : target[i] > 0.3 ? 0.5 + 0.5 * sin(3 * target[i]) : 0;
        if (of == LAM_OP_FOCAL && !labels) target[i] = target[i] > 0.7 ? 1 : target[i] < -1.2 ? -1 : 0;
    }
    if (of == LAM_OP_FOCAL && labels) make_row_labels(target, count, classes);
    if (of == LAM_OP_CROSS_ENTROPY || of == LAM_OP_CROSS_ENTROPY_BWD) {
        if (labels)
            make_labels(target, count, classes);
        else
            make_distribution(target, count / classes, classes);
    }
    if (!weight) return;
    make_weights(weight, reference_count(&op->in[2]));
    if (!labels) spoil_targets(target, count, weight, reference_count(&op->in[2]));
}

/* Anchors about the origin, and targets near to or far from them; some deltas ask for more than they get. in: deltas and
 * what follows. */
static void giou_operands(const struct lam_op *op, double *const *in, int64_t rows) {
    int64_t anchors = op->in[op->kind == LAM_OP_IOU_TARGETS ? 2 : 1].desc.shape.dim[0];
    for (int64_t a = 0; a < anchors; a++)
        for (int i = 0; i < 2; i++) {
            double *box = in[1] + 4 * a, low = 20 * box[i];
            box[2 + i] = low + 5 + 10 * fabs(box[2 + i]);
            box[i] = low;
        }
    for (int64_t r = 0; r < rows; r++) {
        double *target = in[2] + 4 * r, *delta = in[0] + 4 * r;
        const double *anchor = in[1] + 4 * (r % anchors);
        for (int i = 0; i < 2; i++) {
            double low = anchor[i] + 4 * target[i] + (r % 5 == 4 ? 60 : 0);
            target[2 + i] = low + 4 + 8 * fabs(target[2 + i]);
            target[i] = low;
            delta[i] *= 0.3;
            delta[2 + i] = r % 7 == 3 && i == 0 ? 4.5 : 0.4 * delta[2 + i];
        }
    }
    make_weights(in[3], rows);
    spoil_targets(in[2], 4 * rows, in[3], rows);
}

static bool is_loss(enum lam_op_kind kind) {
    return kind >= LAM_OP_CROSS_ENTROPY && kind <= LAM_OP_GIOU_BWD;
}

/* Statistics of the batch-norm input: in[first] = mean and in[first + 1] = inv_std of in[x]. */
static void bn_statistics(const struct lam_op *op, struct operands *o, int x, int first) {
    int64_t channels = op->in[x].desc.shape.dim[1];
    double unused[2 * channels];
    struct lam_op stats = {.kind = LAM_OP_BN_STATS, .attr = op->attr, .inputs = 1, .outputs = 4};
    stats.in[0] = op->in[x];
    for (int64_t i = 0; i < 2 * channels; i++) unused[i] = 0;
    reference_run(&stats, NULL, (const double *[]){o->in[x]},
                  (double *[]){o->in[first], o->in[first + 1], unused, unused + channels});
}

/* Inputs that the op's forward op makes, from inputs that are there. */
static void forward_inputs(const struct lam_op *op, struct operands *o) {
    struct lam_op forward = {.attr = op->attr, .inputs = 1, .outputs = 1};
    switch ((int)op->kind) {
    case LAM_OP_RELU_BWD:
    case LAM_OP_SIGMOID_BWD:
    case LAM_OP_SOFTMAX_BWD:
        forward.kind = op->kind == LAM_OP_RELU_BWD      ? LAM_OP_RELU
                       : op->kind == LAM_OP_SIGMOID_BWD ? LAM_OP_SIGMOID
                                                        : LAM_OP_SOFTMAX;
        forward.in[0] = forward.out[0] = op->in[1];
        reference_run(&forward, NULL, (const double *[]){o->in[1]}, (double *[]){o->in[1]});
        break;
    case LAM_OP_LAYER_NORM_BWD: {
        int64_t rows = reference_count(&op->in[2]), width = reference_last(&op->in[1]);
        for (int64_t r = 0; r < rows; r++) {
            double mean = 0, variance = 0;
            for (int64_t d = 0; d < width; d++) mean += o->in[1][r * width + d] / (double)width;
            for (int64_t d = 0; d < width; d++)
                variance += pow(o->in[1][r * width + d] - mean, 2) / (double)width;
            o->in[2][r] = mean;
            o->in[3][r] = 1 / sqrt(variance + op->attr.bn.eps);
        }
        break;
    }
    case LAM_OP_ATTENTION_BWD:
        forward.kind = LAM_OP_ATTENTION;
        forward.in[0] = op->in[1];
        forward.out[0] = op->in[2];
        reference_run(&forward, NULL, (const double *[]){o->in[1]}, (double *[]){o->in[2], o->in[3]});
        break;
    case LAM_OP_BN_APPLY:
        bn_statistics(op, o, 0, 1);
        if (!op->attr.bn.use_variance) break;
        for (int64_t c = 0; c < reference_count(&op->in[2]); c++) o->in[2][c] = pow(o->in[2][c], -2);
        break;
    case LAM_OP_BN_BWD_STATS:
    case LAM_OP_BN_BWD_APPLY:
        bn_statistics(op, o, 1, 2);
        break;
    }
}

/* Statistics of a bf16 input are those of the rounded values, so that is rounded before forward_inputs. */
static void round_inputs(const struct lam_op *op, struct operands *o) {
    for (int i = 0; i < op->inputs; i++)
        for (int64_t k = 0; o->in[i] && k < reference_count(&op->in[i]); k++)
            o->in[i][k] = operands_round(o->in[i][k], op->in[i].desc.dtype);
}

static void shape_inputs(const struct op_case *c, struct operands *o) {
    const struct lam_op *op = &c->op;
    for (int i = 0; i < op->inputs; i++) {
        if (!o->in[i]) continue;
        for (int64_t k = 0; k < reference_count(&op->in[i]); k++) {
            if (op->in[i].batched && !(i >= 1 && is_loss(op->kind))) o->in[i][k] += c->offset;
            if (c->ties) o->in[i][k] = rint(2 * o->in[i][k]) / 2;
            if (op->in[i].desc.dtype == LAM_U8) o->in[i][k] = fmod(floor(fabs(o->in[i][k]) * 100), 256);
        }
    }
    if (op->kind == LAM_OP_GIOU || op->kind == LAM_OP_GIOU_BWD) {
        giou_operands(op, o->in, reference_count(&op->in[3]));
    } else if (op->kind == LAM_OP_IOU_TARGETS) {
        make_row_labels(o->in[0], reference_count(&op->in[0]), reference_last(&op->out[0]));
        giou_operands(op, o->in + 1, reference_count(&op->in[0]));
    } else if (is_loss(op->kind)) {
        loss_targets(op, o->in[1], o->in[2]);
    }
}

lam_status operands_create(const struct op_case *c, uint64_t seed, bool round, struct operands *operands) {
    const struct lam_op *op = &c->op;
    struct operands o = {{NULL}, {NULL}};
    bool good = true;
    for (int i = 0; i < op->inputs; i++)
        if (op->in[i].present && !(o.in[i] = calloc((size_t)reference_count(&op->in[i]), sizeof(double))))
            good = false;
    for (int i = 0; i < op->outputs; i++)
        if (op->out[i].present && !(o.out[i] = calloc((size_t)reference_count(&op->out[i]), sizeof(double))))
            good = false;
    if (!good) {
        operands_destroy(&o);
        return lam_no_memory();
    }
    for (int i = 0; i < op->inputs; i++)
        if (o.in[i]) operands_fill_normal(o.in[i], reference_count(&op->in[i]), seed, (uint64_t)i);
    shape_inputs(c, &o);
    if (round) round_inputs(op, &o);
    forward_inputs(op, &o);
    if (round) round_inputs(op, &o);
    for (int i = 0; i < op->outputs; i++) {
        if (!operands_in_place(op->kind, i)) continue;
        operands_fill_normal(o.out[i], reference_count(&op->out[i]), seed, 100 + (uint64_t)i);
        make_positive(o.out[i], reference_count(&op->out[i]));
        for (int64_t k = 0; k < reference_count(&op->out[i]); k++)
            o.out[i][k] = operands_round(o.out[i][k], op->out[i].desc.dtype);
    }
    *operands = o;
    return LAM_OK;
}

void operands_destroy(struct operands *operands) {
    for (int i = 0; i < LAM_MAX_INPUTS; i++) free(operands->in[i]);
    for (int i = 0; i < LAM_MAX_OUTPUTS; i++) free(operands->out[i]);
    *operands = (struct operands){{NULL}, {NULL}};
}
