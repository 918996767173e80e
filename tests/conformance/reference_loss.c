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
    case LAM_OP_BCE_LOGITS:
        return t * softplus(-x) + (1 - t) * softplus(x);
    case LAM_OP_FOCAL: {
        if (t < 0) return 0;
        double z = t > 0.5 ? x : -x; /* p_t = sigmoid(z) */
        double alpha = t > 0.5 ? (double)a->alpha : 1 - (double)a->alpha;
        return alpha * pow(sigmoid(-z), a->gamma) * softplus(-z);
    }
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
    case LAM_OP_BCE_LOGITS:
        return sigmoid(x) - t;
    case LAM_OP_FOCAL: {
        if (t < 0) return 0;
        double z = t > 0.5 ? x : -x, p = sigmoid(z), gamma = a->gamma;
        double alpha = t > 0.5 ? (double)a->alpha : 1 - (double)a->alpha;
        double slope = alpha * pow(sigmoid(-z), gamma) * (-gamma * p * softplus(-z) - sigmoid(-z));
        return t > 0.5 ? slope : -slope;
    }
    }
    return NAN;
}

static void elementwise(const struct lam_op *op, const struct lam_run *run, const double *const *in,
                        double *const *out) {
    (void)run;
    double loss = 0;
    for (int64_t i = 0; i < reference_count(&op->in[0]); i++)
        loss += loss_value(op->kind, &op->attr.loss, in[0][i], in[1][i]);
    out[0][0] = op->attr.loss.scale * loss;
}

static void elementwise_bwd(const struct lam_op *op, const struct lam_run *run, const double *const *in,
                            double *const *out) {
    (void)run;
    for (int64_t i = 0; i < reference_count(&op->in[0]); i++)
        out[0][i] = op->attr.loss.scale * loss_slope(op->attr.loss.of, &op->attr.loss, in[0][i], in[1][i]);
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
    case LAM_OP_BCE_LOGITS:
    case LAM_OP_FOCAL:
        return elementwise;
    case LAM_OP_LOSS_BWD:
        return elementwise_bwd;
    }
    return NULL;
}
