/* Losses and their gradients. */
#include "conformance/reference.h"

#include <math.h>
#include <stddef.h>

/* ---- cross entropy ---- */

/* The target distribution of row n, smoothed; false: the row is ignored. *best: its first largest class. */
static bool target_row(const struct lam_op *op, const double *target, int64_t n, double *t, int64_t *best) {
    int64_t classes = reference_last(&op->in[0]);
    double smoothing = op->attr.loss.smoothing;
    bool labels = op->in[1].desc.dtype == LAM_I32;
    if (labels && (target[n] < 0 || target[n] >= (double)classes)) return false;
    *best = 0;
    for (int64_t k = 0; k < classes; k++) {
        t[k] = labels ? (double)k == target[n] : target[n * classes + k];
        if (t[k] > t[*best]) *best = k;
    }
    for (int64_t k = 0; k < classes; k++) t[k] = (1 - smoothing) * t[k] + smoothing / (double)classes;
    return true;
}

static void cross_entropy(const struct lam_op *op, const struct lam_run *run, const double *const *in,
                          double *const *out) {
    (void)run;
    int64_t classes = reference_last(&op->in[0]), rows = reference_count(&op->in[0]) / classes;
    double loss = 0, correct = 0, t[classes];
    for (int64_t n = 0; n < rows; n++) {
        const double *x = in[0] + n * classes;
        int64_t target, guess = 0;
        if (!target_row(op, in[1], n, t, &target)) continue;
        double lse = reference_log_sum_exp(x, classes);
        for (int64_t k = 0; k < classes; k++) {
            loss += t[k] * (lse - x[k]);
            if (x[k] > x[guess]) guess = k;
        }
        correct += guess == target;
    }
    out[0][0] = op->attr.loss.scale * loss;
    if (out[1]) out[1][0] = correct;
}

static void cross_entropy_bwd(const struct lam_op *op, const struct lam_run *run, const double *const *in,
                              double *const *out) {
    (void)run;
    int64_t classes = reference_last(&op->in[0]), rows = reference_count(&op->in[0]) / classes;
    double t[classes];
    for (int64_t n = 0; n < rows; n++) {
        const double *x = in[0] + n * classes;
        int64_t target;
        bool used = target_row(op, in[1], n, t, &target);
        double lse = reference_log_sum_exp(x, classes), sum = 0;
        for (int64_t k = 0; used && k < classes; k++) sum += t[k];
        for (int64_t k = 0; k < classes; k++)
            out[0][n * classes + k] = used ? op->attr.loss.scale * (sum * exp(x[k] - lse) - t[k]) : 0;
    }
}

/* ---- elementwise losses: value and derivative at x for target t ---- */

static double sigmoid(double x) {
    return 1 / (1 + exp(-x));
}
/* log(1 + exp(x)), the negative log of sigmoid(-x) */
static double softplus(double x) {
    return x > 0 ? x + log1p(exp(-x)) : log1p(exp(x));
}
static double sign(double x) {
    return x > 0 ? 1 : x < 0 ? -1 : 0;
}

static double loss_value(enum lam_op_kind kind, const struct lam_loss_attr *a, double x, double t) {
    double d = x - t;
    switch ((int)kind) {
    case LAM_OP_L1:
        return fabs(d);
    case LAM_OP_MSE:
        return d * d;
    case LAM_OP_SMOOTH_L1:
        return fabs(d) < a->beta ? d * d / (2 * (double)a->beta) : fabs(d) - (double)a->beta / 2;
    case LAM_OP_CHARBONNIER:
        return sqrt(d * d + pow(a->beta, 2));
    case LAM_OP_BCE_LOGITS:
        return t * softplus(-x) + (1 - t) * softplus(x);
    case LAM_OP_FOCAL: {
        if (t < 0) return 0;
        double z = t > 0.5 ? x : -x; /* p_t = sigmoid(z) */
        double alpha = t > 0.5 ? (double)a->alpha : 1 - (double)a->alpha;
        return alpha * pow(sigmoid(-z), a->gamma) * softplus(-z);
    }
    case LAM_OP_QUALITY_FOCAL:
        return t < 0 ? 0 : pow(t - sigmoid(x), 2) * (t * softplus(-x) + (1 - t) * softplus(x));
    }
    return NAN;
}

static double loss_slope(enum lam_op_kind kind, const struct lam_loss_attr *a, double x, double t) {
    double d = x - t;
    switch ((int)kind) {
    case LAM_OP_L1:
        return sign(d);
    case LAM_OP_MSE:
        return 2 * d;
    case LAM_OP_SMOOTH_L1:
        return fabs(d) < a->beta ? d / (double)a->beta : sign(d);
    case LAM_OP_CHARBONNIER:
        return d / sqrt(d * d + pow(a->beta, 2));
    case LAM_OP_BCE_LOGITS:
        return sigmoid(x) - t;
    case LAM_OP_FOCAL: {
        if (t < 0) return 0;
        double z = t > 0.5 ? x : -x, p = sigmoid(z), gamma = a->gamma;
        double alpha = t > 0.5 ? (double)a->alpha : 1 - (double)a->alpha;
        double slope = alpha * pow(sigmoid(-z), gamma) * (-gamma * p * softplus(-z) - sigmoid(-z));
        return t > 0.5 ? slope : -slope;
    }
    case LAM_OP_QUALITY_FOCAL: {
        if (t < 0) return 0;
        double p = sigmoid(x), entropy = t * softplus(-x) + (1 - t) * softplus(x);
        return 2 * (p - t) * p * (1 - p) * entropy + pow(p - t, 3);
    }
    }
    return NAN;
}

/* The target of element i, whatever form targets have. */
static double target_of(const struct lam_op *op, const double *target, int64_t i) {
    int64_t classes = reference_last(&op->in[0]);
    if (op->in[1].desc.dtype != LAM_I32) return target[i];
    double label = target[i / classes];
    if (label < -1 || label >= (double)classes) return -1;
    return label == (double)(i % classes);
}

static double weight_of(const struct lam_op *op, const double *weight, int64_t i) {
    return weight ? weight[i / (reference_count(&op->in[0]) / reference_count(&op->in[2]))] : 1;
}

static void elementwise(const struct lam_op *op, const struct lam_run *run, const double *const *in,
                        double *const *out) {
    (void)run;
    double loss = 0;
    for (int64_t i = 0; i < reference_count(&op->in[0]); i++) {
        double weight = weight_of(op, in[2], i);
        if (weight == 0) continue;
        loss += weight * loss_value(op->kind, &op->attr.loss, in[0][i], target_of(op, in[1], i));
    }
    out[0][0] = op->attr.loss.scale * loss;
}

static void elementwise_bwd(const struct lam_op *op, const struct lam_run *run, const double *const *in,
                            double *const *out) {
    (void)run;
    for (int64_t i = 0; i < reference_count(&op->in[0]); i++) {
        double weight = weight_of(op, in[2], i), t = target_of(op, in[1], i);
        out[0][i] = 0;
        if (weight != 0)
            out[0][i] =
                op->attr.loss.scale * weight * loss_slope(op->attr.loss.of, &op->attr.loss, in[0][i], t);
    }
}

/* ---- generalised IoU: numbers that carry their derivatives by the four deltas along ---- */

struct dual {
    double value, by[4];
};
#define FOR_EACH_DELTA(i) for (int i = 0; i < 4; i++)

static struct dual constant(double value) {
    return (struct dual){.value = value};
}
static struct dual plus(struct dual a, struct dual b) {
    a.value += b.value;
    FOR_EACH_DELTA(i) a.by[i] += b.by[i];
    return a;
}
static struct dual times(struct dual a, struct dual b) {
    struct dual result = {.value = a.value * b.value};
    FOR_EACH_DELTA(i) result.by[i] = a.by[i] * b.value + a.value * b.by[i];
    return result;
}
static struct dual minus(struct dual a, struct dual b) {
    return plus(a, times(constant(-1), b));
}
static struct dual over(struct dual a, struct dual b) {
    struct dual result = {.value = a.value / b.value};
    FOR_EACH_DELTA(i) result.by[i] = (a.by[i] - result.value * b.by[i]) / b.value;
    return result;
}
static struct dual larger(struct dual a, struct dual b) {
    return a.value > b.value ? a : b;
}
static struct dual smaller(struct dual a, struct dual b) {
    return a.value < b.value ? a : b;
}
static struct dual exponential(struct dual a) {
    struct dual result = {.value = exp(a.value)};
    FOR_EACH_DELTA(i) result.by[i] = result.value * a.by[i];
    return result;
}

/* Corners (x1, y1, x2, y2) of the box that a row of deltas makes of an anchor. */
static void decode(const double *delta, const double *anchor, struct dual box[4]) {
    for (int i = 0; i < 2; i++) {
        struct dual shift = {.value = delta[i]}, stretch = {.value = delta[2 + i]};
        shift.by[i] = stretch.by[2 + i] = 1;
        struct dual length = constant(anchor[2 + i] - anchor[i]);
        struct dual centre = plus(constant((anchor[i] + anchor[2 + i]) / 2), times(shift, length));
        struct dual size = times(length, exponential(smaller(stretch, constant(log(1000.0 / 16)))));
        struct dual half = times(constant(0.5), size);
        box[i] = minus(centre, half);
        box[2 + i] = plus(centre, half);
    }
}

static struct dual area(const struct dual box[4]) {
    return times(minus(box[2], box[0]), minus(box[3], box[1]));
}

static struct dual giou_loss(const double *delta, const double *anchor, const double *corners) {
    struct dual box[4], target[4], shared[4], hull[4];
    decode(delta, anchor, box);
    for (int i = 0; i < 4; i++) target[i] = constant(corners[i]);
    for (int i = 0; i < 2; i++) {
        shared[i] = larger(box[i], target[i]);
        shared[2 + i] = larger(shared[i], smaller(box[2 + i], target[2 + i])); /* not below 0 wide */
        hull[i] = smaller(box[i], target[i]);
        hull[2 + i] = larger(box[2 + i], target[2 + i]);
    }
    struct dual eps = constant(1e-7), intersection = area(shared), enclosing = area(hull);
    struct dual all = minus(plus(area(box), area(target)), intersection);
    struct dual giou =
        minus(over(intersection, plus(all, eps)), over(minus(enclosing, all), plus(enclosing, eps)));
    return minus(constant(1), giou);
}

/* GIOU and GIOU_BWD. */
static void giou(const struct lam_op *op, const struct lam_run *run, const double *const *in,
                 double *const *out) {
    (void)run;
    int64_t rows = reference_count(&op->in[3]), anchors = reference_count(&op->in[1]) / 4;
    bool backward = op->kind == LAM_OP_GIOU_BWD;
    double sum = 0;
    for (int64_t r = 0; r < rows; r++) {
        double weight = in[3][r] * (double)op->attr.loss.scale;
        struct dual loss = constant(0);
        if (weight != 0) loss = giou_loss(in[0] + 4 * r, in[1] + 4 * (r % anchors), in[2] + 4 * r);
        sum += weight * loss.value;
        FOR_EACH_DELTA(i) if (backward) out[0][4 * r + i] = weight * loss.by[i];
    }
    if (!backward) out[0][0] = sum;
}

static double iou_of(const double *delta, const double *anchor, const double *target) {
    struct dual box[4];
    decode(delta, anchor, box);
    double shared = 1, own = 1, wanted = 1;
    for (int i = 0; i < 2; i++) {
        shared *= fmax(0, fmin(box[2 + i].value, target[2 + i]) - fmax(box[i].value, target[i]));
        own *= box[2 + i].value - box[i].value;
        wanted *= target[2 + i] - target[i];
    }
    return shared / (own + wanted - shared + 1e-7);
}

static void iou_targets(const struct lam_op *op, const struct lam_run *run, const double *const *in,
                        double *const *out) {
    (void)run;
    int64_t rows = reference_count(&op->in[0]), classes = reference_last(&op->out[0]);
    int64_t anchors = reference_count(&op->in[2]) / 4;
    for (int64_t r = 0; r < rows; r++)
        for (int64_t k = 0; k < classes; k++) {
            double label = in[0][r], *y = &out[0][r * classes + k];
            *y = label < -1 || label >= (double)classes ? -1 : 0;
            if (label == (double)k && in[4][r] != 0)
                *y = iou_of(in[1] + 4 * r, in[2] + 4 * (r % anchors), in[3] + 4 * r);
        }
}

reference_fn reference_loss(enum lam_op_kind kind) {
    switch ((int)kind) {
    case LAM_OP_CROSS_ENTROPY:
        return cross_entropy;
    case LAM_OP_CROSS_ENTROPY_BWD:
        return cross_entropy_bwd;
    case LAM_OP_L1:
    case LAM_OP_MSE:
    case LAM_OP_SMOOTH_L1:
    case LAM_OP_CHARBONNIER:
    case LAM_OP_BCE_LOGITS:
    case LAM_OP_FOCAL:
    case LAM_OP_QUALITY_FOCAL:
        return elementwise;
    case LAM_OP_LOSS_BWD:
        return elementwise_bwd;
    case LAM_OP_GIOU:
    case LAM_OP_GIOU_BWD:
        return giou;
    case LAM_OP_IOU_TARGETS:
        return iou_targets;
    }
    return NULL;
}
