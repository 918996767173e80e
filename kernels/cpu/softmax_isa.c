/* Rows of softmax. A row is short (classes, tokens) and stays in L1, so it is passed over several times:
 * largest element, sum of exponentials, result. */
#include "cpu/softmax_isa.h"

#include "cpu/cpu_kernel.h"
#include "cpu/simd.h"
#include "cpu/simd_math.h"

#include <math.h>

LAM_INLINE int vector_of(int64_t columns, int64_t j) {
    return columns - j < LAM_V ? (int)(columns - j) : LAM_V;
}

/* v, with the lanes from n on replaced by `filler`. */
LAM_INLINE vf padded(vf v, int n, float filler) {
    if (n >= LAM_V) return v;
    vf lane;
    for (int i = 0; i < LAM_V; i++) lane[i] = (float)i;
    return v_where_greater(v_set((float)n), lane, v, v_set(filler));
}

LAM_INLINE float row_largest(int64_t columns, const void *x, enum lam_simd_type type) {
    vf largest = v_set(-INFINITY);
    int64_t j = 0;
    for (; j + LAM_V <= columns; j += LAM_V) largest = v_max(largest, v_load(x, j, LAM_V, type));
    if (j < columns) {
        int n = (int)(columns - j);
        largest = v_max(largest, padded(v_load(x, j, n, type), n, -INFINITY));
    }
    return v_largest(largest);
}

/* ---- softmax over the last dimension ---- */

LAM_INLINE void forward_of(int64_t rows, int64_t columns, const void *x, void *y, enum lam_simd_type type) {
    size_t row_bytes = (size_t)columns * v_bytes(type);
    for (int64_t i = 0; i < rows; i++, x = (const char *)x + row_bytes, y = (char *)y + row_bytes) {
        vf largest = v_set(row_largest(columns, x, type)), sum = v_zero();
        for (int64_t j = 0; j < columns; j += LAM_V) {
            int n = vector_of(columns, j);
            sum += padded(v_exp(v_load(x, j, n, type) - largest), n, 0);
        }
        vf inverse = v_set(1.0f / v_sum(sum));
        for (int64_t j = 0; j < columns; j += LAM_V) {
            int n = vector_of(columns, j);
            v_store(y, j, v_exp(v_load(x, j, n, type) - largest) * inverse, n, type);
        }
    }
}

/* Sum of products of the elements from a_first and b_first on. */
LAM_INLINE float row_dot(int64_t columns, const void *a, int64_t a_first, const void *b, int64_t b_first,
                         enum lam_simd_type type) {
    vf sum = v_zero();
    for (int64_t j = 0; j < columns; j += LAM_V) {
        int n = vector_of(columns, j);
        sum = v_fma(v_load(a, a_first + j, n, type), v_load(b, b_first + j, n, type), sum);
    }
    return v_sum(sum);
}

LAM_INLINE void backward_of(int64_t rows, int64_t columns, const void *dy, const void *y, void *dx,
                            enum lam_simd_type type) {
    for (int64_t i = 0; i < rows; i++) {
        int64_t first = i * columns;
        vf dot = v_set(row_dot(columns, dy, first, y, first, type));
        for (int64_t j = 0; j < columns; j += LAM_V) {
            int n = vector_of(columns, j);
            vf v = v_load(y, first + j, n, type) * (v_load(dy, first + j, n, type) - dot);
            v_store(dx, first + j, v, n, type);
        }
    }
}

/* ---- attention ---- */

/* log(x) for finite x >= 1: x = 2^e m with m in [sqrt(1/2), sqrt(2)), log m = 2 atanh(s) with s = (m - 1) /
 * (m + 1). The series is cut at s^9 (2e-9). NaN stays NaN. */
LAM_INLINE vf log_above_one(vf x) {
    vi e = ((vi)x - 0x3F3504F3) >> 23;
    vf m = (vf)((vi)x - (e << 23)), one = v_set(1);
    vf s = (m - one) / (m + one), u = s * s;
    vf p = v_set(2.0f / 9);
    p = v_fma(p, u, v_set(2.0f / 7));
    p = v_fma(p, u, v_set(2.0f / 5));
    p = v_fma(p, u, v_set(2.0f / 3));
    vf log_m = v_fma(s * u, p, s + s);
    return v_fma(v_from_int(e), v_set(0.6931471806f), log_m);
}

/* Exponentials of one row of scaled scores, less the largest, in place of the scores. */
LAM_INLINE void row_exponentials(int64_t columns, float *s, float scale, float *largest, float *total) {
    float top = row_largest(columns, s, LAM_SIMD_F32);
    vf shift = v_set(top), factor = v_set(scale), sum = v_zero();
    for (int64_t j = 0; j < columns; j += LAM_V) {
        vf e = padded(v_exp((v_load_f32(s + j) - shift) * factor), vector_of(columns, j), 0);
        v_store_f32(s + j, e);
        sum += e;
    }
    *largest = top * scale;
    *total = v_sum(sum);
}

/* A vector of rows at a time, for the logarithms. */
LAM_INLINE void probabilities_of(int64_t rows, int64_t columns, ptrdiff_t stride, float *scores, float scale,
                                 float *lse, void *p, enum lam_simd_type type) {
    for (int64_t first = 0; first < rows; first += LAM_V) {
        int count = vector_of(rows, first);
        float largest[LAM_V] = {0}, total[LAM_V];
        v_store_f32(total, v_set(1));
        for (int i = 0; i < count; i++) {
            ptrdiff_t row = (first + i) * stride;
            row_exponentials(columns, scores + row, scale, &largest[i], &total[i]);
            vf inverse = v_set(1.0f / total[i]);
            for (int64_t j = 0; j < columns; j += LAM_V)
                v_store(p, row + j, v_load_f32(scores + row + j) * inverse, LAM_V, type);
        }
        vf log_total = log_above_one(v_load_f32(total));
        v_store_f32_n(lse + first, v_load_f32(largest) + log_total, count);
    }
}

LAM_INLINE void probabilities_again_of(int64_t rows, int64_t columns, ptrdiff_t stride, const float *scores,
                                       float scale, const float *lse, void *p, enum lam_simd_type type) {
    for (int64_t i = 0; i < rows; i++) {
        vf factor = v_set(scale), shift = v_set(lse[i]);
        for (int64_t j = 0; j < columns; j += LAM_V) {
            vf s = v_load_f32(scores + i * stride + j);
            v_store(p, i * stride + j, v_exp(s * factor - shift), LAM_V, type);
        }
    }
}

LAM_INLINE void score_gradients_of(int64_t rows, int64_t columns, ptrdiff_t stride, const void *p,
                                   const float *dp, const float *d, float scale, void *ds,
                                   enum lam_simd_type type) {
    for (int64_t i = 0; i < rows; i++) {
        vf factor = v_set(scale), mean = v_set(d[i]);
        for (int64_t j = 0; j < columns; j += LAM_V) {
            vf g = v_load_f32(dp + i * stride + j) - mean;
            v_store(ds, i * stride + j, v_load(p, i * stride + j, LAM_V, type) * g * factor, LAM_V, type);
        }
    }
}

LAM_INLINE void row_dots_of(int64_t rows, int64_t columns, const void *a, ptrdiff_t a_stride, const void *b,
                            ptrdiff_t b_stride, float *out, ptrdiff_t out_stride, enum lam_simd_type type) {
    for (int64_t i = 0; i < rows; i++)
        out[i * out_stride] = row_dot(columns, a, i * a_stride, b, i * b_stride, type);
}

/* ---- one instance per element type ---- */

#define BY_TYPE(function, ...)                                                                               \
    switch (type) {                                                                                          \
    case LAM_SIMD_F32:                                                                                       \
        function(__VA_ARGS__, LAM_SIMD_F32);                                                                 \
        break;                                                                                               \
    case LAM_SIMD_BF16:                                                                                      \
        function(__VA_ARGS__, LAM_SIMD_BF16);                                                                \
        break;                                                                                               \
    default:                                                                                                 \
        function(__VA_ARGS__, LAM_SIMD_BF16_HW);                                                             \
    }

static void forward(int64_t rows, int64_t columns, const void *x, void *y, enum lam_simd_type type) {
    BY_TYPE(forward_of, rows, columns, x, y)
}
static void backward(int64_t rows, int64_t columns, const void *dy, const void *y, void *dx,
                     enum lam_simd_type type) {
    BY_TYPE(backward_of, rows, columns, dy, y, dx)
}
static void probabilities(int64_t rows, int64_t columns, ptrdiff_t stride, float *scores, float scale,
                          void *p, enum lam_simd_type type, float *lse) {
    BY_TYPE(probabilities_of, rows, columns, stride, scores, scale, lse, p)
}
static void probabilities_again(int64_t rows, int64_t columns, ptrdiff_t stride, const float *scores,
                                float scale, const float *lse, void *p, enum lam_simd_type type) {
    BY_TYPE(probabilities_again_of, rows, columns, stride, scores, scale, lse, p)
}
static void score_gradients(int64_t rows, int64_t columns, ptrdiff_t stride, const void *p, const float *dp,
                            const float *d, float scale, void *ds, enum lam_simd_type type) {
    BY_TYPE(score_gradients_of, rows, columns, stride, p, dp, d, scale, ds)
}
static void row_dots(int64_t rows, int64_t columns, const void *a, ptrdiff_t a_stride, const void *b,
                     ptrdiff_t b_stride, float *out, ptrdiff_t out_stride, enum lam_simd_type type) {
    BY_TYPE(row_dots_of, rows, columns, a, a_stride, b, b_stride, out, out_stride)
}

const struct lam_softmax_kernels LAM_ISA_NAME(lam_softmax) = {
    .forward = forward,
    .backward = backward,
    .probabilities = probabilities,
    .probabilities_again = probabilities_again,
    .score_gradients = score_gradients,
    .row_dots = row_dots,
};
