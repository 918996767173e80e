/* Convolution and linear layers.
 *
 * A convolution is a list of taps: triples of an input, a weight and an output element with y += w x. Its two
 * backward ops are the same list read the other two ways, x += w y and w += x y; so there is one loop nest.
 */
#include "conformance/reference.h"

#include <stddef.h>

struct taps {
    const struct lam_conv_attr *attr;
    struct reference_image x, w, y;
};

typedef void (*tap_fn)(double *x, double *w, double *y);

static void tap_forward(double *x, double *w, double *y) {
    *y += *w * *x;
}
static void tap_data(double *x, double *w, double *y) {
    *x += *w * *y;
}
static void tap_weights(double *x, double *w, double *y) {
    *w += *x * *y;
}

static inline void for_each_tap(const struct taps *t, double *x, double *w, double *y, tap_fn visit) {
    const struct lam_conv_attr *a = t->attr;
    int64_t in_group = t->w.c, out_group = t->y.c / a->groups;
    for (int64_t n = 0; n < t->y.n; n++)
        for (int64_t o = 0; o < t->y.c; o++)
            for (int64_t oy = 0; oy < t->y.h; oy++)
                for (int64_t ox = 0; ox < t->y.w; ox++)
                    for (int64_t c = 0; c < in_group; c++)
                        for (int64_t ky = 0; ky < t->w.h; ky++)
                            for (int64_t kx = 0; kx < t->w.w; kx++) {
                                int64_t iy = oy * a->stride[0] - a->pad[0] + ky * a->dilation[0];
                                int64_t ix = ox * a->stride[1] - a->pad[1] + kx * a->dilation[1];
                                if (iy < 0 || iy >= t->x.h || ix < 0 || ix >= t->x.w) continue;
                                int64_t channel = o / out_group * in_group + c;
                                visit(&x[reference_at(t->x, n, channel, iy, ix)],
                                      &w[reference_at(t->w, o, c, ky, kx)],
                                      &y[reference_at(t->y, n, o, oy, ox)]);
                            }
}

/* The const operands of an op are only read: each tap function writes its own op's output. */
static double *unconst(const double *pointer) {
    return (double *)(uintptr_t)pointer;
}

static void zero(double *values, int64_t count) {
    for (int64_t i = 0; i < count; i++) values[i] = 0;
}

static void conv(const struct lam_op *op, const struct lam_run *run, const double *const *in,
                 double *const *out) {
    (void)run;
    struct taps taps = {&op->attr.conv, reference_image(&op->in[0]), reference_image(&op->in[1]),
                        reference_image(&op->out[0])};
    int64_t count = reference_count(&op->out[0]), area = taps.y.h * taps.y.w;
    double *y = out[0];
    for (int64_t i = 0; i < count; i++)
        y[i] = (in[2] ? in[2][i / area % taps.y.c] : 0) + reference_addend(op, in, i);
    for_each_tap(&taps, unconst(in[0]), unconst(in[1]), y, tap_forward);
    for (int64_t i = 0; i < count; i++)
        if (op->attr.conv.relu && y[i] < 0) y[i] = 0;
}

static void conv_bwd_data(const struct lam_op *op, const struct lam_run *run, const double *const *in,
                          double *const *out) {
    (void)run;
    struct taps taps = {&op->attr.conv, reference_image(&op->out[0]), reference_image(&op->in[1]),
                        reference_image(&op->in[0])};
    for (int64_t i = 0, count = reference_count(&op->out[0]); i < count; i++)
        out[0][i] = reference_addend(op, in, i);
    for_each_tap(&taps, out[0], unconst(in[1]), unconst(in[0]), tap_data);
}

static void conv_bwd_weights(const struct lam_op *op, const struct lam_run *run, const double *const *in,
                             double *const *out) {
    (void)run;
    struct taps taps = {&op->attr.conv, reference_image(&op->in[0]), reference_image(&op->out[0]),
                        reference_image(&op->in[1])};
    zero(out[0], reference_count(&op->out[0]));
    for_each_tap(&taps, unconst(in[0]), out[0], unconst(in[1]), tap_weights);
    if (!out[1]) return;
    zero(out[1], taps.y.c);
    int64_t count = reference_count(&op->in[1]), area = taps.y.h * taps.y.w;
    for (int64_t i = 0; i < count; i++) out[1][i / area % taps.y.c] += in[1][i];
}

static void linear(const struct lam_op *op, const struct lam_run *run, const double *const *in,
                   double *const *out) {
    (void)run;
    int64_t inputs = reference_last(&op->in[0]), outputs = reference_last(&op->out[0]);
    int64_t rows = reference_count(&op->in[0]) / inputs;
    for (int64_t r = 0; r < rows; r++)
        for (int64_t o = 0; o < outputs; o++) {
            double sum = (in[2] ? in[2][o] : 0) + reference_addend(op, in, r * outputs + o);
            for (int64_t i = 0; i < inputs; i++) sum += in[0][r * inputs + i] * in[1][o * inputs + i];
            out[0][r * outputs + o] = sum;
        }
}

static void linear_bwd_data(const struct lam_op *op, const struct lam_run *run, const double *const *in,
                            double *const *out) {
    (void)run;
    int64_t inputs = reference_last(&op->out[0]), outputs = reference_last(&op->in[0]);
    int64_t rows = reference_count(&op->out[0]) / inputs;
    for (int64_t r = 0; r < rows; r++)
        for (int64_t i = 0; i < inputs; i++) {
            double sum = 0;
            for (int64_t o = 0; o < outputs; o++) sum += in[0][r * outputs + o] * in[1][o * inputs + i];
            out[0][r * inputs + i] = sum;
        }
}

static void linear_bwd_weights(const struct lam_op *op, const struct lam_run *run, const double *const *in,
                               double *const *out) {
    (void)run;
    int64_t inputs = reference_last(&op->in[0]), outputs = reference_last(&op->in[1]);
    int64_t rows = reference_count(&op->in[0]) / inputs;
    for (int64_t o = 0; o < outputs; o++) {
        for (int64_t i = 0; i < inputs; i++) {
            double sum = 0;
            for (int64_t r = 0; r < rows; r++) sum += in[0][r * inputs + i] * in[1][r * outputs + o];
            out[0][o * inputs + i] = sum;
        }
        if (!out[1]) continue;
        out[1][o] = 0;
        for (int64_t r = 0; r < rows; r++) out[1][o] += in[1][r * outputs + o];
    }
}

reference_fn reference_conv(enum lam_op_kind kind) {
    switch ((int)kind) {
    case LAM_OP_CONV:
        return conv;
    case LAM_OP_CONV_BWD_DATA:
        return conv_bwd_data;
    case LAM_OP_CONV_BWD_WEIGHTS:
        return conv_bwd_weights;
    case LAM_OP_LINEAR:
        return linear;
    case LAM_OP_LINEAR_BWD_DATA:
        return linear_bwd_data;
    case LAM_OP_LINEAR_BWD_WEIGHTS:
        return linear_bwd_weights;
    }
    return NULL;
}
