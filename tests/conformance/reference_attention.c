/* Softmax and multi-head self attention. */
#include "conformance/reference.h"

#include <math.h>
#include <stddef.h>

static void softmax(const struct lam_op *op, const struct lam_run *run, const double *const *in,
                    double *const *out) {
    (void)run;
    int64_t width = reference_last(&op->in[0]), rows = reference_count(&op->in[0]) / width;
    for (int64_t r = 0; r < rows; r++) {
        double lse = reference_log_sum_exp(in[0] + r * width, width);
        for (int64_t i = r * width; i < (r + 1) * width; i++) out[0][i] = exp(in[0][i] - lse);
    }
}

static void softmax_bwd(const struct lam_op *op, const struct lam_run *run, const double *const *in,
                        double *const *out) {
    (void)run;
    const double *dy = in[0], *y = in[1];
    int64_t width = reference_last(&op->in[0]), rows = reference_count(&op->in[0]) / width;
    for (int64_t r = 0; r < rows; r++) {
        double dot = 0;
        for (int64_t i = r * width; i < (r + 1) * width; i++) dot += dy[i] * y[i];
        for (int64_t i = r * width; i < (r + 1) * width; i++) out[0][i] = y[i] * (dy[i] - dot);
    }
}

/* One head of one sample: row t of a part of qkv begins at part + t * 3 * features. */
struct head {
    int64_t tokens, features, width; /* width = features / heads */
    double scale;
};
static struct head head_of(const struct lam_op *op, const struct lam_operand *y) {
    struct head h = {y->desc.shape.dim[1], y->desc.shape.dim[2], 0, 0};
    h.width = h.features / op->attr.attention.heads;
    h.scale = 1 / sqrt((double)h.width);
    return h;
}

static double dot(const double *a, const double *b, int64_t count) {
    double sum = 0;
    for (int64_t i = 0; i < count; i++) sum += a[i] * b[i];
    return sum;
}

static void attention(const struct lam_op *op, const struct lam_run *run, const double *const *in,
                      double *const *out) {
    (void)run;
    struct head h = head_of(op, &op->out[0]);
    int64_t batch = op->in[0].desc.shape.dim[0], heads = op->attr.attention.heads, row = 3 * h.features;
    double scores[h.tokens];
    for (int64_t nh = 0; nh < batch * heads; nh++) {
        int64_t n = nh / heads, offset = nh % heads * h.width;
        const double *q = in[0] + n * h.tokens * row + offset, *k = q + h.features, *v = k + h.features;
        for (int64_t i = 0; i < h.tokens; i++) {
            for (int64_t j = 0; j < h.tokens; j++)
                scores[j] = h.scale * dot(q + i * row, k + j * row, h.width);
            double lse = reference_log_sum_exp(scores, h.tokens);
            out[1][nh * h.tokens + i] = lse;
            double *y = out[0] + (n * h.tokens + i) * h.features + offset;
            for (int64_t d = 0; d < h.width; d++) {
                y[d] = 0;
                for (int64_t j = 0; j < h.tokens; j++) y[d] += exp(scores[j] - lse) * v[j * row + d];
            }
        }
    }
}

static void attention_bwd(const struct lam_op *op, const struct lam_run *run, const double *const *in,
                          double *const *out) {
    (void)run;
    struct head h = head_of(op, &op->in[0]);
    int64_t batch = op->in[0].desc.shape.dim[0], heads = op->attr.attention.heads, row = 3 * h.features;
    for (int64_t i = 0; i < reference_count(&op->out[0]); i++) out[0][i] = 0;
    for (int64_t nh = 0; nh < batch * heads; nh++) {
        int64_t n = nh / heads, offset = nh % heads * h.width, sample = n * h.tokens * row + offset;
        const double *q = in[1] + sample, *k = q + h.features, *v = k + h.features;
        double *dq = out[0] + sample, *dk = dq + h.features, *dv = dk + h.features;
        for (int64_t i = 0; i < h.tokens; i++) {
            int64_t token = (n * h.tokens + i) * h.features + offset;
            const double *dy = in[0] + token, *y = in[2] + token;
            double mean = dot(dy, y, h.width); /* sum over j of p_j dp_j */
            for (int64_t j = 0; j < h.tokens; j++) {
                double score = h.scale * dot(q + i * row, k + j * row, h.width);
                double p = exp(score - in[3][nh * h.tokens + i]);
                double ds = h.scale * p * (dot(dy, v + j * row, h.width) - mean);
                for (int64_t d = 0; d < h.width; d++) {
                    dq[i * row + d] += ds * k[j * row + d];
                    dk[j * row + d] += ds * q[i * row + d];
                    dv[j * row + d] += p * dy[d];
                }
            }
        }
    }
}

reference_fn reference_attention(enum lam_op_kind kind) {
    switch ((int)kind) {
    case LAM_OP_SOFTMAX:
        return softmax;
    case LAM_OP_SOFTMAX_BWD:
        return softmax_bwd;
    case LAM_OP_ATTENTION:
        return attention;
    case LAM_OP_ATTENTION_BWD:
        return attention_bwd;
    }
    return NULL;
}
