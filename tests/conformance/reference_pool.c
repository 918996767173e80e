/* Pooling and resizing. */
#include "conformance/reference.h"

#include <math.h>
#include <stddef.h>

/* ---- pooling ---- */

/* The part of output (y, x)'s window that lies inside the image. */
struct window {
    int64_t top, bottom, left, right; /* half open */
};
static struct window window(const struct lam_pool_attr *a, struct reference_image image, int64_t y,
                            int64_t x) {
    struct window w = {y * a->stride[0] - a->pad[0], 0, x * a->stride[1] - a->pad[1], 0};
    w.bottom = w.top + a->kernel[0];
    w.right = w.left + a->kernel[1];
    if (w.top < 0) w.top = 0;
    if (w.left < 0) w.left = 0;
    if (w.bottom > image.h) w.bottom = image.h;
    if (w.right > image.w) w.right = image.w;
    return w;
}

/* The place of the first maximum, in its plane. */
static int64_t largest(const double *plane, const struct window *w, int64_t width) {
    int64_t best = w->top * width + w->left;
    for (int64_t iy = w->top; iy < w->bottom; iy++)
        for (int64_t ix = w->left; ix < w->right; ix++)
            if (plane[iy * width + ix] > plane[best]) best = iy * width + ix;
    return best;
}

static void max_pool(const struct lam_op *op, const struct lam_run *run, const double *const *in,
                     double *const *out) {
    (void)run;
    struct reference_image x = reference_image(&op->in[0]), y = reference_image(&op->out[0]);
    for (int64_t i = 0; i < y.n * y.c * y.h * y.w; i++) {
        const double *plane = in[0] + i / (y.h * y.w) * x.h * x.w;
        struct window w = window(&op->attr.pool, x, i / y.w % y.h, i % y.w);
        out[0][i] = plane[largest(plane, &w, x.w)];
    }
}

static void max_pool_bwd(const struct lam_op *op, const struct lam_run *run, const double *const *in,
                         double *const *out) {
    (void)run;
    struct reference_image dx = reference_image(&op->out[0]), dy = reference_image(&op->in[0]);
    for (int64_t i = 0; i < dx.n * dx.c * dx.h * dx.w; i++) out[0][i] = 0;
    for (int64_t i = 0; i < dy.n * dy.c * dy.h * dy.w; i++) {
        int64_t plane = i / (dy.h * dy.w) * dx.h * dx.w;
        struct window w = window(&op->attr.pool, dx, i / dy.w % dy.h, i % dy.w);
        out[0][plane + largest(in[1] + plane, &w, dx.w)] += in[0][i];
    }
}

static void avg_pool(const struct lam_op *op, const struct lam_run *run, const double *const *in,
                     double *const *out) {
    (void)run;
    const struct lam_pool_attr *a = &op->attr.pool;
    struct reference_image x = reference_image(&op->in[0]), y = reference_image(&op->out[0]);
    for (int64_t i = 0; i < y.n * y.c * y.h * y.w; i++) {
        const double *plane = in[0] + i / (y.h * y.w) * x.h * x.w;
        struct window w = window(a, x, i / y.w % y.h, i % y.w);
        double sum = 0;
        for (int64_t iy = w.top; iy < w.bottom; iy++)
            for (int64_t ix = w.left; ix < w.right; ix++) sum += plane[iy * x.w + ix];
        out[0][i] = sum / (a->kernel[0] * a->kernel[1]);
    }
}

static void avg_pool_bwd(const struct lam_op *op, const struct lam_run *run, const double *const *in,
                         double *const *out) {
    (void)run;
    const struct lam_pool_attr *a = &op->attr.pool;
    struct reference_image dx = reference_image(&op->out[0]), dy = reference_image(&op->in[0]);
    for (int64_t i = 0; i < dx.n * dx.c * dx.h * dx.w; i++) out[0][i] = 0;
    for (int64_t i = 0; i < dy.n * dy.c * dy.h * dy.w; i++) {
        double *plane = out[0] + i / (dy.h * dy.w) * dx.h * dx.w;
        struct window w = window(a, dx, i / dy.w % dy.h, i % dy.w);
        for (int64_t iy = w.top; iy < w.bottom; iy++)
            for (int64_t ix = w.left; ix < w.right; ix++)
                plane[iy * dx.w + ix] += in[0][i] / (a->kernel[0] * a->kernel[1]);
    }
}

static void global_avg_pool(const struct lam_op *op, const struct lam_run *run, const double *const *in,
                            double *const *out) {
    (void)run;
    struct reference_image x = reference_image(&op->in[0]);
    int64_t area = x.h * x.w;
    for (int64_t i = 0; i < x.n * x.c; i++) {
        out[0][i] = 0;
        for (int64_t k = 0; k < area; k++) out[0][i] += in[0][i * area + k] / (double)area;
    }
}

static void global_avg_pool_bwd(const struct lam_op *op, const struct lam_run *run, const double *const *in,
                                double *const *out) {
    (void)run;
    struct reference_image dx = reference_image(&op->out[0]);
    int64_t area = dx.h * dx.w;
    for (int64_t i = 0; i < dx.n * dx.c * area; i++) out[0][i] = in[0][i / area] / (double)area;
}

/* ---- resizing: output i of a line is (1 - weight) x[first] + weight x[second] ---- */

struct blend {
    int64_t first, second;
    double weight;
};
static struct blend blend(bool bilinear, int64_t i, int64_t from, int64_t to) {
    if (!bilinear) return (struct blend){i * from / to, i * from / to, 0};
    double place = ((double)i + 0.5) * (double)from / (double)to - 0.5;
    if (place < 0) place = 0;
    struct blend b = {.first = (int64_t)floor(place)};
    b.second = b.first + 1 < from ? b.first + 1 : b.first;
    b.weight = place - (double)b.first;
    return b;
}

/* The four corners of output (y, x): their places in the input plane and their weights. */
static void corners(bool bilinear, struct reference_image from, struct reference_image to, int64_t y,
                    int64_t x, int64_t place[4], double weight[4]) {
    struct blend v = blend(bilinear, y, from.h, to.h), h = blend(bilinear, x, from.w, to.w);
    for (int k = 0; k < 4; k++) {
        bool low = k / 2, right = k % 2;
        place[k] = (low ? v.second : v.first) * from.w + (right ? h.second : h.first);
        weight[k] = (low ? v.weight : 1 - v.weight) * (right ? h.weight : 1 - h.weight);
    }
}

static void resize(const struct lam_op *op, const struct lam_run *run, const double *const *in,
                   double *const *out) {
    (void)run;
    struct reference_image x = reference_image(&op->in[0]), y = reference_image(&op->out[0]);
    for (int64_t i = 0; i < y.n * y.c * y.h * y.w; i++) {
        int64_t place[4];
        double weight[4];
        corners(op->attr.resize.bilinear, x, y, i / y.w % y.h, i % y.w, place, weight);
        const double *plane = in[0] + i / (y.h * y.w) * x.h * x.w;
        out[0][i] = 0;
        for (int k = 0; k < 4; k++) out[0][i] += weight[k] * plane[place[k]];
    }
}

static void resize_bwd(const struct lam_op *op, const struct lam_run *run, const double *const *in,
                       double *const *out) {
    (void)run;
    struct reference_image dx = reference_image(&op->out[0]), dy = reference_image(&op->in[0]);
    for (int64_t i = 0; i < dx.n * dx.c * dx.h * dx.w; i++) out[0][i] = 0;
    for (int64_t i = 0; i < dy.n * dy.c * dy.h * dy.w; i++) {
        int64_t place[4];
        double weight[4];
        corners(op->attr.resize.bilinear, dx, dy, i / dy.w % dy.h, i % dy.w, place, weight);
        double *plane = out[0] + i / (dy.h * dy.w) * dx.h * dx.w;
        for (int k = 0; k < 4; k++) plane[place[k]] += weight[k] * in[0][i];
    }
}

reference_fn reference_pool(enum lam_op_kind kind) {
    switch ((int)kind) {
    case LAM_OP_MAX_POOL:
        return max_pool;
    case LAM_OP_MAX_POOL_BWD:
        return max_pool_bwd;
    case LAM_OP_AVG_POOL:
        return avg_pool;
    case LAM_OP_AVG_POOL_BWD:
        return avg_pool_bwd;
    case LAM_OP_GLOBAL_AVG_POOL:
        return global_avg_pool;
    case LAM_OP_GLOBAL_AVG_POOL_BWD:
        return global_avg_pool_bwd;
    case LAM_OP_RESIZE:
        return resize;
    case LAM_OP_RESIZE_BWD:
        return resize_bwd;
    }
    return NULL;
}
