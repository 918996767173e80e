/* Batch norm and layer norm. */
#include "conformance/reference.h"

#include <math.h>
#include <stddef.h>

static double square(double x) {
    return x * x;
}

/* ---- batch norm: statistics per channel, over N, H and W ---- */

static void bn_stats(const struct lam_op *op, const struct lam_run *run, const double *const *in,
                     double *const *out) {
    (void)run;
    const struct lam_bn_attr *bn = &op->attr.bn;
    struct reference_image s = reference_image(&op->in[0]);
    const double *x = in[0];
    double count = (double)(s.n * s.h * s.w), momentum = bn->momentum;
    for (int64_t c = 0; c < s.c; c++) {
        double mean = 0, squares = 0;
        for (int64_t n = 0; n < s.n; n++)
            for (int64_t i = 0; i < s.h * s.w; i++) mean += x[reference_at(s, n, c, 0, i)] / count;
        for (int64_t n = 0; n < s.n; n++)
            for (int64_t i = 0; i < s.h * s.w; i++) squares += square(x[reference_at(s, n, c, 0, i)] - mean);
        out[0][c] = mean;
        out[1][c] = 1 / sqrt(squares / count + bn->eps);
        out[2][c] = (1 - momentum) * out[2][c] + momentum * mean;
        out[3][c] = (1 - momentum) * out[3][c] + momentum * squares / (count - 1);
    }
}

static double bn_inv_std(const struct lam_bn_attr *bn, double given) {
    return bn->use_variance ? 1 / sqrt(given + bn->eps) : given;
}

static void bn_apply(const struct lam_op *op, const struct lam_run *run, const double *const *in,
                     double *const *out) {
    (void)run;
    const struct lam_bn_attr *bn = &op->attr.bn;
    struct reference_image s = reference_image(&op->in[0]);
    const double *x = in[0], *mean = in[1], *deviation = in[2], *gamma = in[3], *beta = in[4], *skip = in[5];
    for (int64_t i = 0; i < s.n * s.c * s.h * s.w; i++) {
        int64_t c = i / (s.h * s.w) % s.c;
        double y = gamma[c] * (x[i] - mean[c]) * bn_inv_std(bn, deviation[c]) + beta[c];
        if (skip) y += skip[i];
        out[0][i] = bn->relu && y < 0 ? 0 : y;
    }
}

/* xhat, and dy behind the ReLU. in: dy, x, mean, inv_std, gamma, beta. */
static void bn_masked(const struct lam_op *op, const double *const *in, int64_t i, int64_t c, double *xhat,
                      double *g) {
    *xhat = (in[1][i] - in[2][c]) * in[3][c];
    *g = op->attr.bn.relu && in[4][c] * *xhat + in[5][c] <= 0 ? 0 : in[0][i];
}

static void bn_bwd_stats(const struct lam_op *op, const struct lam_run *run, const double *const *in,
                         double *const *out) {
    (void)run;
    struct reference_image s = reference_image(&op->in[1]);
    for (int64_t c = 0; c < s.c; c++) {
        double dgamma = 0, dbeta = 0;
        for (int64_t n = 0; n < s.n; n++)
            for (int64_t i = 0; i < s.h * s.w; i++) {
                double xhat, g;
                bn_masked(op, in, reference_at(s, n, c, 0, i), c, &xhat, &g);
                dgamma += g * xhat;
                dbeta += g;
            }
        out[0][c] = dgamma;
        out[1][c] = dbeta;
    }
}

static void bn_bwd_apply(const struct lam_op *op, const struct lam_run *run, const double *const *in,
                         double *const *out) {
    (void)run;
    struct reference_image s = reference_image(&op->in[1]);
    const double *inv_std = in[3], *gamma = in[4], *dgamma = in[6], *dbeta = in[7];
    double count = op->attr.bn.count;
    for (int64_t i = 0; i < s.n * s.c * s.h * s.w; i++) {
        int64_t c = i / (s.h * s.w) % s.c;
        double xhat, g;
        bn_masked(op, in, i, c, &xhat, &g);
        out[0][i] = gamma[c] * inv_std[c] * (g - dbeta[c] / count - xhat * dgamma[c] / count);
    }
}

/* ---- layer norm: statistics per row, over the last dimension ---- */

static void layer_norm(const struct lam_op *op, const struct lam_run *run, const double *const *in,
                       double *const *out) {
    (void)run;
    int64_t width = reference_last(&op->in[0]), rows = reference_count(&op->in[0]) / width;
    for (int64_t r = 0; r < rows; r++) {
        const double *x = in[0] + r * width;
        double mean = 0, variance = 0;
        for (int64_t d = 0; d < width; d++) mean += x[d] / (double)width;
        for (int64_t d = 0; d < width; d++) variance += square(x[d] - mean) / (double)width;
        double inv_std = 1 / sqrt(variance + op->attr.bn.eps);
        for (int64_t d = 0; d < width; d++)
            out[0][r * width + d] = in[1][d] * (x[d] - mean) * inv_std + in[2][d];
        out[1][r] = mean;
        out[2][r] = inv_std;
    }
}

static void layer_norm_bwd(const struct lam_op *op, const struct lam_run *run, const double *const *in,
                           double *const *out) {
    (void)run;
    const double *dy = in[0], *x = in[1], *mean = in[2], *inv_std = in[3], *gamma = in[4];
    int64_t width = reference_last(&op->in[0]), rows = reference_count(&op->in[0]) / width;
    for (int64_t d = 0; d < width; d++) {
        out[1][d] = 0;
        out[2][d] = 0;
        for (int64_t r = 0; r < rows; r++) {
            int64_t i = r * width + d;
            out[1][d] += dy[i] * (x[i] - mean[r]) * inv_std[r];
            out[2][d] += dy[i];
        }
    }
    for (int64_t r = 0; r < rows && out[0]; r++) {
        double mean_g = 0, mean_g_xhat = 0; /* g = dy gamma, the gradient of xhat */
        for (int64_t d = 0; d < width; d++) {
            int64_t i = r * width + d;
            mean_g += dy[i] * gamma[d] / (double)width;
            mean_g_xhat += dy[i] * gamma[d] * (x[i] - mean[r]) * inv_std[r] / (double)width;
        }
        for (int64_t d = 0; d < width; d++) {
            int64_t i = r * width + d;
            double xhat = (x[i] - mean[r]) * inv_std[r];
            out[0][i] =
                inv_std[r] * (dy[i] * gamma[d] - mean_g - xhat * mean_g_xhat) + reference_addend(op, in, i);
        }
    }
}

reference_fn reference_norm(enum lam_op_kind kind) {
    switch ((int)kind) {
    case LAM_OP_BN_STATS:
        return bn_stats;
    case LAM_OP_BN_APPLY:
        return bn_apply;
    case LAM_OP_BN_BWD_STATS:
        return bn_bwd_stats;
    case LAM_OP_BN_BWD_APPLY:
        return bn_bwd_apply;
    case LAM_OP_LAYER_NORM:
        return layer_norm;
    case LAM_OP_LAYER_NORM_BWD:
        return layer_norm_bwd;
    }
    return NULL;
}
