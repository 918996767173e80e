/* Ops that move elements to other places: concat, slice, pixel shuffle, patches and tokens. */
#include "conformance/reference.h"

#include <stddef.h>

/* A shape around an axis: outer x length x inner. */
struct around {
    int64_t outer, length, inner;
};
static struct around around(const struct lam_operand *operand, int axis) {
    struct around a = {1, operand->desc.shape.dim[axis], 1};
    for (int i = 0; i < axis; i++) a.outer *= operand->desc.shape.dim[i];
    for (int i = axis + 1; i < operand->desc.shape.rank; i++) a.inner *= operand->desc.shape.dim[i];
    return a;
}

static void concat(const struct lam_op *op, const struct lam_run *run, const double *const *in,
                   double *const *out) {
    (void)run;
    struct around y = around(&op->out[0], op->attr.axis.axis);
    int64_t begin = 0;
    for (int k = 0; k < op->inputs; k++) {
        struct around x = around(&op->in[k], op->attr.axis.axis);
        for (int64_t a = 0; a < x.outer; a++)
            for (int64_t l = 0; l < x.length; l++)
                for (int64_t b = 0; b < x.inner; b++)
                    out[0][(a * y.length + begin + l) * y.inner + b] =
                        in[k][(a * x.length + l) * x.inner + b];
        begin += x.length;
    }
}

static void slice(const struct lam_op *op, const struct lam_run *run, const double *const *in,
                  double *const *out) {
    (void)run;
    struct around x = around(&op->in[0], op->attr.axis.axis), y = around(&op->out[0], op->attr.axis.axis);
    for (int64_t a = 0; a < y.outer; a++)
        for (int64_t l = 0; l < y.length; l++)
            for (int64_t b = 0; b < y.inner; b++)
                out[0][(a * y.length + l) * y.inner + b] =
                    in[0][(a * x.length + op->attr.axis.begin + l) * x.inner + b];
}

static void slice_bwd(const struct lam_op *op, const struct lam_run *run, const double *const *in,
                      double *const *out) {
    (void)run;
    struct around dx = around(&op->out[0], op->attr.axis.axis), dy = around(&op->in[0], op->attr.axis.axis);
    for (int64_t a = 0; a < dx.outer; a++)
        for (int64_t l = 0; l < dx.length; l++)
            for (int64_t b = 0; b < dx.inner; b++) {
                int64_t from = l - op->attr.axis.begin;
                bool inside = from >= 0 && from < dy.length;
                out[0][(a * dx.length + l) * dx.inner + b] =
                    inside ? in[0][(a * dy.length + from) * dy.inner + b] : 0;
            }
}

/* y [N,C,H r,W r] at (c, i r + a, j r + b) is x [N,C r r,H,W] at (c r r + a r + b, i, j). */
static void pixel_shuffle(const struct lam_op *op, const struct lam_run *run, const double *const *in,
                          double *const *out) {
    (void)run;
    struct reference_image x = reference_image(&op->in[0]), y = reference_image(&op->out[0]);
    int64_t r = op->attr.pixel_shuffle.factor;
    for (int64_t n = 0; n < y.n; n++)
        for (int64_t c = 0; c < y.c; c++)
            for (int64_t i = 0; i < y.h; i++)
                for (int64_t j = 0; j < y.w; j++)
                    out[0][reference_at(y, n, c, i, j)] =
                        in[0][reference_at(x, n, (c * r + i % r) * r + j % r, i / r, j / r)];
}

static void pixel_unshuffle(const struct lam_op *op, const struct lam_run *run, const double *const *in,
                            double *const *out) {
    (void)run;
    struct reference_image x = reference_image(&op->in[0]), y = reference_image(&op->out[0]);
    int64_t r = op->attr.pixel_shuffle.factor;
    for (int64_t n = 0; n < x.n; n++)
        for (int64_t c = 0; c < x.c; c++)
            for (int64_t i = 0; i < x.h; i++)
                for (int64_t j = 0; j < x.w; j++)
                    out[0][reference_at(y, n, (c * r + i % r) * r + j % r, i / r, j / r)] =
                        in[0][reference_at(x, n, c, i, j)];
}

/* Where pixel (n, c, y, x) of an image stands among its patches [N, (H/p)(W/p), C p p]. */
static int64_t patch_at(struct reference_image s, int64_t p, int64_t n, int64_t c, int64_t y, int64_t x) {
    int64_t patches = (s.h / p) * (s.w / p), patch = (y / p) * (s.w / p) + x / p;
    return (n * patches + patch) * s.c * p * p + (c * p + y % p) * p + x % p;
}

static void patchify(const struct lam_op *op, const struct lam_run *run, const double *const *in,
                     double *const *out) {
    (void)run;
    struct reference_image s = reference_image(&op->in[0]);
    for (int64_t n = 0; n < s.n; n++)
        for (int64_t c = 0; c < s.c; c++)
            for (int64_t y = 0; y < s.h; y++)
                for (int64_t x = 0; x < s.w; x++)
                    out[0][patch_at(s, op->attr.patchify.size, n, c, y, x)] =
                        in[0][reference_at(s, n, c, y, x)];
}

static void unpatchify(const struct lam_op *op, const struct lam_run *run, const double *const *in,
                       double *const *out) {
    (void)run;
    struct reference_image s = reference_image(&op->out[0]);
    for (int64_t n = 0; n < s.n; n++)
        for (int64_t c = 0; c < s.c; c++)
            for (int64_t y = 0; y < s.h; y++)
                for (int64_t x = 0; x < s.w; x++)
                    out[0][reference_at(s, n, c, y, x)] =
                        in[0][patch_at(s, op->attr.patchify.size, n, c, y, x)];
}

/* Element (n, row (y w + x) a + j, k) of the rows is (n, j K + k, y, x) of the image: back where `inverse`. */
static void permute(const struct lam_op *op, const struct lam_run *run, const double *const *in,
                    double *const *out) {
    (void)run;
    bool inverse = op->kind == LAM_OP_PERMUTE_CHW;
    struct reference_image s = reference_image(inverse ? &op->out[0] : &op->in[0]);
    int64_t width = reference_last(inverse ? &op->in[0] : &op->out[0]), each = s.c / width;
    for (int64_t n = 0; n < s.n; n++)
        for (int64_t y = 0; y < s.h; y++)
            for (int64_t x = 0; x < s.w; x++)
                for (int64_t j = 0; j < each; j++)
                    for (int64_t k = 0; k < width; k++) {
                        int64_t row = (n * s.h * s.w + y * s.w + x) * each + j;
                        int64_t image = reference_at(s, n, j * width + k, y, x), at = row * width + k;
                        out[0][inverse ? image : at] = in[0][inverse ? at : image];
                    }
}

static void tokens(const struct lam_op *op, const struct lam_run *run, const double *const *in,
                   double *const *out) {
    (void)run;
    const int64_t *dim = op->out[0].desc.shape.dim;
    int64_t batch = dim[0], length = dim[1], width = dim[2];
    for (int64_t n = 0; n < batch; n++)
        for (int64_t t = 0; t < length; t++)
            for (int64_t d = 0; d < width; d++) {
                double token = t == 0 ? in[1][d] : in[0][(n * (length - 1) + t - 1) * width + d];
                out[0][(n * length + t) * width + d] = token + in[2][t * width + d];
            }
}

static void tokens_bwd(const struct lam_op *op, const struct lam_run *run, const double *const *in,
                       double *const *out) {
    (void)run;
    const int64_t *dim = op->in[0].desc.shape.dim;
    int64_t batch = dim[0], length = dim[1], width = dim[2];
    for (int64_t t = 0; t < length; t++)
        for (int64_t d = 0; d < width; d++) {
            double sum = 0;
            for (int64_t n = 0; n < batch; n++) {
                double dy = in[0][(n * length + t) * width + d];
                sum += dy;
                if (t > 0 && out[0]) out[0][(n * (length - 1) + t - 1) * width + d] = dy;
            }
            out[2][t * width + d] = sum;
            if (t == 0) out[1][d] = sum;
        }
}

reference_fn reference_shape(enum lam_op_kind kind) {
    switch ((int)kind) {
    case LAM_OP_CONCAT:
        return concat;
    case LAM_OP_SLICE:
        return slice;
    case LAM_OP_SLICE_BWD:
        return slice_bwd;
    case LAM_OP_PIXEL_SHUFFLE:
        return pixel_shuffle;
    case LAM_OP_PIXEL_UNSHUFFLE:
        return pixel_unshuffle;
    case LAM_OP_PERMUTE_HWC:
    case LAM_OP_PERMUTE_CHW:
        return permute;
    case LAM_OP_PATCHIFY:
        return patchify;
    case LAM_OP_UNPATCHIFY:
        return unpatchify;
    case LAM_OP_TOKENS:
        return tokens;
    case LAM_OP_TOKENS_BWD:
        return tokens_bwd;
    }
    return NULL;
}
