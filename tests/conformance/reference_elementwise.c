/* Activations, sums and dropout: element i of the output depends on element i of the inputs. */
#include "conformance/reference.h"

#include <math.h>
#include <stddef.h>

#include "base/rng.h"

#define FOR_EACH_ELEMENT(i) for (int64_t i = 0, count_ = reference_count(&op->out[0]); i < count_; i++)

static void relu(const struct lam_op *op, const struct lam_run *run, const double *const *in,
                 double *const *out) {
    (void)run;
    FOR_EACH_ELEMENT(i) out[0][i] = in[0][i] > 0 ? in[0][i] : 0;
}

static void relu_bwd(const struct lam_op *op, const struct lam_run *run, const double *const *in,
                     double *const *out) {
    (void)run;
    FOR_EACH_ELEMENT(i) out[0][i] = in[1][i] > 0 ? in[0][i] + reference_addend(op, in, i) : 0;
}

static double normal_cdf(double x) {
    return 0.5 * (1 + erf(x / sqrt(2.0)));
}

static void gelu(const struct lam_op *op, const struct lam_run *run, const double *const *in,
                 double *const *out) {
    (void)run;
    FOR_EACH_ELEMENT(i) out[0][i] = in[0][i] * normal_cdf(in[0][i]);
}

static void gelu_bwd(const struct lam_op *op, const struct lam_run *run, const double *const *in,
                     double *const *out) {
    (void)run;
    FOR_EACH_ELEMENT(i) {
        double x = in[1][i], density = exp(-x * x / 2) / sqrt(2 * acos(-1.0));
        out[0][i] = in[0][i] * (normal_cdf(x) + x * density);
    }
}

static void sigmoid(const struct lam_op *op, const struct lam_run *run, const double *const *in,
                    double *const *out) {
    (void)run;
    FOR_EACH_ELEMENT(i) out[0][i] = 1 / (1 + exp(-in[0][i]));
}

static void sigmoid_bwd(const struct lam_op *op, const struct lam_run *run, const double *const *in,
                        double *const *out) {
    (void)run;
    FOR_EACH_ELEMENT(i) out[0][i] = in[0][i] * in[1][i] * (1 - in[1][i]);
}

/* The number of a channel stands at (n, c). */
static void channel_scale(const struct lam_op *op, const struct lam_run *run, const double *const *in,
                          double *const *out) {
    (void)run;
    struct reference_image image = reference_image(&op->in[0]);
    FOR_EACH_ELEMENT(i)
    out[0][i] = in[1][i / (image.h * image.w)] * in[0][i] + reference_addend(op, in, i);
}

static void channel_scale_bwd(const struct lam_op *op, const struct lam_run *run, const double *const *in,
                              double *const *out) {
    (void)run;
    struct reference_image image = reference_image(&op->in[0]);
    for (int64_t c = 0; c < image.n * image.c; c++) {
        if (out[1]) out[1][c] = 0;
        for (int64_t i = c * image.h * image.w; i < (c + 1) * image.h * image.w; i++) {
            if (out[0]) out[0][i] = in[2][c] * in[0][i];
            if (out[1]) out[1][c] += in[0][i] * in[1][i];
        }
    }
}

static void add(const struct lam_op *op, const struct lam_run *run, const double *const *in,
                double *const *out) {
    (void)run;
    FOR_EACH_ELEMENT(i) out[0][i] = in[0][i] + in[1][i];
}

static void scale(const struct lam_op *op, const struct lam_run *run, const double *const *in,
                  double *const *out) {
    (void)run;
    FOR_EACH_ELEMENT(i) out[0][i] = op->attr.scale.factor * in[0][i];
}

/* CAST and COPY keep the elements in row-major order. */
static void same(const struct lam_op *op, const struct lam_run *run, const double *const *in,
                 double *const *out) {
    (void)run;
    FOR_EACH_ELEMENT(i) out[0][i] = in[0][i];
}

static bool dropout_keeps(const struct lam_op *op, const struct lam_run *run, int64_t sample,
                          int64_t element) {
    struct lam_rng rng =
        lam_rng_make(run->seed, LAM_RNG_DROPOUT, run->step, op->attr.dropout.stream + (uint64_t)sample);
    uint32_t words[4];
    rng.counter[0] = (uint32_t)(element / 4);
    lam_philox(rng.key, rng.counter, words);
    return (double)words[element % 4] >= (double)op->attr.dropout.p * 0x1p32;
}

static void mix(const struct lam_op *op, const struct lam_run *run, const double *const *in,
                double *const *out) {
    (void)run;
    FOR_EACH_ELEMENT(i) out[0][i] = in[2][0] * in[0][i] + (2 - in[2][0]) * in[1][i];
}

static void mix_bwd(const struct lam_op *op, const struct lam_run *run, const double *const *in,
                    double *const *out) {
    (void)run;
    out[2][0] = 0;
    for (int64_t i = 0; i < reference_count(&op->in[0]); i++) {
        if (out[0]) out[0][i] = in[3][0] * in[0][i];
        if (out[1]) out[1][i] = (2 - in[3][0]) * in[0][i];
        out[2][0] += in[0][i] * (in[1][i] - in[2][i]);
    }
}

/* DROPOUT and DROPOUT_BWD are one function, of x and of dy. */
static void dropout(const struct lam_op *op, const struct lam_run *run, const double *const *in,
                    double *const *out) {
    int64_t row = reference_row(&op->out[0]);
    FOR_EACH_ELEMENT(i) {
        bool keep = dropout_keeps(op, run, i / row, i % row);
        out[0][i] = keep ? in[0][i] / (1 - (double)op->attr.dropout.p) : 0;
    }
}

static void normalize(const struct lam_op *op, const struct lam_run *run, const double *const *in,
                      double *const *out) {
    (void)run;
    struct reference_image image = reference_image(&op->in[0]);
    FOR_EACH_ELEMENT(i) {
        int64_t c = i / (image.h * image.w) % image.c;
        out[0][i] =
            (in[0][i] / 255 - (double)op->attr.normalize.mean[c]) / (double)op->attr.normalize.deviation[c];
    }
}

/* Pads the sample, cuts a window out of it, mirrors that and clears a square. */
static double padded(const double *plane, struct reference_image image, int64_t y, int64_t x, bool reflect,
                     bool *outside) {
    *outside = y < 0 || x < 0 || y >= image.h || x >= image.w;
    if (*outside && !reflect) return 0;
    while (image.h > 1 && (y < 0 || y >= image.h)) y = y < 0 ? -y : 2 * (image.h - 1) - y;
    while (image.w > 1 && (x < 0 || x >= image.w)) x = x < 0 ? -x : 2 * (image.w - 1) - x;
    *outside = false;
    return plane[(image.h > 1 ? y : 0) * image.w + (image.w > 1 ? x : 0)];
}

static void augment(const struct lam_op *op, const struct lam_run *run, const double *const *in,
                    double *const *out) {
    const struct lam_augment_attr *a = &op->attr.augment;
    struct reference_image image = reference_image(&op->in[0]);
    const int64_t plane = image.h * image.w;
    FOR_EACH_ELEMENT(i) {
        const int64_t n = i / (plane * image.c), c = i / plane % image.c, y = i % plane / image.w,
                      x = i % image.w;
        struct lam_rng rng = lam_rng_make(run->seed, LAM_RNG_AUGMENT, run->step, (uint64_t)n);
        double word[5];
        for (int k = 0; k < 5; k++) word[k] = (double)lam_rng_u32(&rng) / 0x1p32;
        const int64_t corner_x = (int64_t)floor(word[0] * (2 * a->pad + 1)) - a->pad;
        const int64_t corner_y = (int64_t)floor(word[1] * (2 * a->pad + 1)) - a->pad;
        const bool mirror = a->flip && word[2] >= 0.5;
        const int64_t cut_x = (int64_t)floor(word[3] * (double)image.w) - a->cutout / 2;
        const int64_t cut_y = (int64_t)floor(word[4] * (double)image.h) - a->cutout / 2;
        const bool cut = x >= cut_x && x < cut_x + a->cutout && y >= cut_y && y < cut_y + a->cutout;
        bool outside;
        const double pixel = padded(in[0] + (n * image.c + c) * plane, image, corner_y + y,
                                    corner_x + (mirror ? image.w - 1 - x : x), a->reflect, &outside);
        out[0][i] = cut || outside
                        ? 0
                        : (pixel / 255 - (double)a->normalize.mean[c]) / (double)a->normalize.deviation[c];
    }
}

reference_fn reference_elementwise(enum lam_op_kind kind) {
    switch ((int)kind) {
    case LAM_OP_RELU:
        return relu;
    case LAM_OP_RELU_BWD:
        return relu_bwd;
    case LAM_OP_GELU:
        return gelu;
    case LAM_OP_GELU_BWD:
        return gelu_bwd;
    case LAM_OP_SIGMOID:
        return sigmoid;
    case LAM_OP_SIGMOID_BWD:
        return sigmoid_bwd;
    case LAM_OP_CHANNEL_SCALE:
        return channel_scale;
    case LAM_OP_CHANNEL_SCALE_BWD:
        return channel_scale_bwd;
    case LAM_OP_ADD:
        return add;
    case LAM_OP_SCALE:
        return scale;
    case LAM_OP_MIX:
        return mix;
    case LAM_OP_MIX_BWD:
        return mix_bwd;
    case LAM_OP_CAST:
    case LAM_OP_COPY:
        return same;
    case LAM_OP_NORMALIZE:
        return normalize;
    case LAM_OP_AUGMENT:
        return augment;
    case LAM_OP_DROPOUT:
    case LAM_OP_DROPOUT_BWD:
        return dropout;
    }
    return NULL;
}
