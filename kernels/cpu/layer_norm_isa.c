/* Layer norm, vectorised over the features of a row. A row is read two or three times, but stays in the first
 * level cache; the mean is subtracted before anything is squared. */
#include "cpu/layer_norm_isa.h"

#include <math.h>

#include "cpu/cpu_kernel.h"
#include "cpu/simd_block.h"

enum { TOGETHER = 4 /* rows whose parameter gradients are added at a time */ };

LAM_INLINE const char *row_of(const void *base, int64_t row, int64_t features, enum lam_simd_type type) {
    return (const char *)base + (size_t)(row * features) * v_bytes(type);
}

LAM_INLINE int lanes_left(int64_t i, int64_t end) {
    return end - i < LAM_V ? (int)(end - i) : LAM_V;
}

LAM_INLINE float row_mean(const void *x, int64_t features, enum lam_simd_type type) {
    vf sum[2] = {v_zero(), v_zero()};
    int64_t i = 0;
    for (; i + 2 * LAM_V <= features; i += 2 * LAM_V) {
        sum[0] += v_load(x, i, LAM_V, type);
        sum[1] += v_load(x, i + LAM_V, LAM_V, type);
    }
    for (; i < features; i += LAM_V) sum[0] += v_load(x, i, lanes_left(i, features), type);
    return v_sum(sum[0] + sum[1]) / (float)features;
}

LAM_INLINE float row_variance(const void *x, int64_t features, float mean, enum lam_simd_type type) {
    vf sum[2] = {v_zero(), v_zero()};
    const vf m = v_set(mean);
    int64_t i = 0;
    for (; i + 2 * LAM_V <= features; i += 2 * LAM_V)
        for (int k = 0; k < 2; k++) {
            vf d = v_load(x, i + k * LAM_V, LAM_V, type) - m;
            sum[k] = v_fma(d, d, sum[k]);
        }
    for (; i < features; i += LAM_V) {
        int n = lanes_left(i, features);
        vf d = v_keep_lanes(v_load(x, i, n, type) - m, n);
        sum[0] = v_fma(d, d, sum[0]);
    }
    return v_sum(sum[0] + sum[1]) / (float)features;
}

LAM_INLINE void forward_at(const struct lam_ln_slice *s, const char *x, char *y, vf mean, vf inverse,
                           int64_t i, int n, enum lam_simd_type type) {
    vf scaled = (v_load(x, i, n, type) - mean) * inverse;
    v_store(y, i, v_fma(scaled, v_load_f32_n(s->gamma + i, n), v_load_f32_n(s->beta + i, n)), n, type);
}

LAM_INLINE void forward_rows(const struct lam_ln_slice *slice, enum lam_simd_type type) {
    const struct lam_ln_slice s = *slice;
    for (int64_t r = 0; r < s.rows; r++) {
        const char *x = row_of(s.x, r, s.features, type);
        char *y = (char *)s.out + (x - (const char *)s.x);
        float mean = row_mean(x, s.features, type);
        float inverse = 1 / sqrtf(row_variance(x, s.features, mean, type) + s.eps);
        s.mean[r] = mean;
        s.inv_std[r] = inverse;
        int64_t i = 0;
        for (; i + LAM_V <= s.features; i += LAM_V)
            forward_at(&s, x, y, v_set(mean), v_set(inverse), i, LAM_V, type);
        if (i < s.features) forward_at(&s, x, y, v_set(mean), v_set(inverse), i, (int)(s.features - i), type);
    }
}

/* ---- backward: dx = inv (h - mean(h) - xhat mean(h xhat)) with h = dy gamma ---- */

struct row {
    const char *x, *dy;
    char *dx;
    vf mean, inverse, h_mean, product_mean;
};

LAM_INLINE struct row row_sums(const struct lam_ln_slice *s, int64_t r, enum lam_simd_type type) {
    struct row row = {.x = row_of(s->x, r, s->features, type),
                      .dy = row_of(s->dy, r, s->features, type),
                      .mean = v_set(s->mean[r]),
                      .inverse = v_set(s->inv_std[r])};
    if (!s->out) return row;
    row.dx = (char *)s->out + (row.x - (const char *)s->x);
    vf sum[2] = {v_zero(), v_zero()}, product[2] = {v_zero(), v_zero()};
    int64_t i = 0;
    for (; i + 2 * LAM_V <= s->features; i += 2 * LAM_V)
        for (int k = 0; k < 2; k++) {
            int64_t at = i + k * LAM_V;
            vf h = v_load(row.dy, at, LAM_V, type) * v_load_f32(s->gamma + at);
            sum[k] += h;
            product[k] = v_fma(h, v_load(row.x, at, LAM_V, type) - row.mean, product[k]);
        }
    for (; i < s->features; i += LAM_V) {
        int n = lanes_left(i, s->features);
        vf h = v_load(row.dy, i, n, type) * v_load_f32_n(s->gamma + i, n);
        sum[0] += h;
        product[0] = v_fma(h, v_load(row.x, i, n, type) - row.mean, product[0]);
    }
    float features = (float)s->features;
    row.h_mean = v_set(v_sum(sum[0] + sum[1]) / features);
    row.product_mean = v_set(v_sum(product[0] + product[1]) * s->inv_std[r] / features);
    return row;
}

/* Features i .. i + n - 1 of `count` rows. */
LAM_INLINE void backward_at(const struct lam_ln_slice *s, const struct row *rows, int count, int64_t i, int n,
                            enum lam_simd_type type) {
    vf gamma = v_load_f32_n(s->gamma + i, n);
    vf dgamma = v_load_f32_n(s->dgamma_sum + i, n), dbeta = v_load_f32_n(s->dbeta_sum + i, n);
    for (int r = 0; r < count; r++) {
        vf g = v_load(rows[r].dy, i, n, type);
        vf xhat = (v_load(rows[r].x, i, n, type) - rows[r].mean) * rows[r].inverse;
        dgamma = v_fma(g, xhat, dgamma);
        dbeta += g;
        if (s->out) {
            vf inner = v_fma(g, gamma, v_zero() - rows[r].h_mean);
            v_store(rows[r].dx, i, rows[r].inverse * v_fnma(xhat, rows[r].product_mean, inner), n, type);
        }
    }
    v_store_f32_n(s->dgamma_sum + i, dgamma, n);
    v_store_f32_n(s->dbeta_sum + i, dbeta, n);
}

LAM_INLINE void backward_group(const struct lam_ln_slice *s, int64_t first, int count,
                               enum lam_simd_type type) {
    struct row rows[TOGETHER];
    for (int r = 0; r < count; r++) rows[r] = row_sums(s, first + r, type);
    int64_t i = 0;
    for (; i + LAM_V <= s->features; i += LAM_V) backward_at(s, rows, count, i, LAM_V, type);
    if (i < s->features) backward_at(s, rows, count, i, (int)(s->features - i), type);
}

LAM_INLINE void backward_rows(const struct lam_ln_slice *slice, enum lam_simd_type type) {
    const struct lam_ln_slice s = *slice;
    int64_t r = 0;
    for (; r + TOGETHER <= s.rows; r += TOGETHER) backward_group(&s, r, TOGETHER, type);
    for (; r < s.rows; r++) backward_group(&s, r, 1, type);
}

#define DEFINE(type)                                                                                         \
    static void forward_##type(const struct lam_ln_slice *s) {                                               \
        forward_rows(s, LAM_SIMD_##type);                                                                    \
    }                                                                                                        \
    static void backward_##type(const struct lam_ln_slice *s) {                                              \
        backward_rows(s, LAM_SIMD_##type);                                                                   \
    }
LAM_BY_TYPE(DEFINE)

const struct lam_ln_kernels LAM_ISA_NAME(lam_ln) = {
    .forward = LAM_TYPES(forward),
    .backward = LAM_TYPES(backward),
};
