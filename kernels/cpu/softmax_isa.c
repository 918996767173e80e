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
    float t[LAM_V];
    v_store_f32(t, v_set(filler));
    v_store_f32_n(t, v, n);
    return v_load_f32(t);
}

LAM_INLINE float row_largest(int64_t columns, const void *x, enum lam_simd_type type) {
    vf largest = v_set(-INFINITY);
    for (int64_t j = 0; j < columns; j += LAM_V) {
        int n = vector_of(columns, j);
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

LAM_INLINE float row_dot(int64_t columns, const void *a, const void *b, int64_t first,
                         enum lam_simd_type type) {
    vf sum = v_zero();
    for (int64_t j = 0; j < columns; j += LAM_V) {
        int n = vector_of(columns, j);
        sum = v_fma(v_load(a, first + j, n, type), v_load(b, first + j, n, type), sum);
    }
    return v_sum(sum);
}

LAM_INLINE void backward_of(int64_t rows, int64_t columns, const void *dy, const void *y, void *dx,
                            enum lam_simd_type type) {
    for (int64_t i = 0; i < rows; i++) {
        int64_t first = i * columns;
        vf dot = v_set(row_dot(columns, dy, y, first, type));
        for (int64_t j = 0; j < columns; j += LAM_V) {
            int n = vector_of(columns, j);
            vf v = v_load(y, first + j, n, type) * (v_load(dy, first + j, n, type) - dot);
            v_store(dx, first + j, v, n, type);
        }
    }
}

/* ---- attention ---- */

LAM_INLINE void probabilities_of(int64_t rows, int64_t columns, ptrdiff_t stride, float *scores, float scale,
                                 float *lse, void *p, enum lam_simd_type type) {
    for (int64_t i = 0; i < rows; i++) {
        float *s = scores + i * stride;
        float top = row_largest(columns, s, LAM_SIMD_F32);
        vf largest = v_set(top), factor = v_set(scale), sum = v_zero();
        for (int64_t j = 0; j < columns; j += LAM_V) {
            int n = vector_of(columns, j);
            vf e = v_exp((v_load_f32_n(s + j, n) - largest) * factor);
            v_store_f32_n(s + j, e, n);
            sum += padded(e, n, 0);
        }
        float total = v_sum(sum);
        lse[i] = top * scale + logf(total);
        vf inverse = v_set(1.0f / total);
        for (int64_t j = 0; j < columns; j += LAM_V) {
            int n = vector_of(columns, j);
            v_store(p, i * stride + j, v_load_f32_n(s + j, n) * inverse, n, type);
        }
    }
}

LAM_INLINE void probabilities_again_of(int64_t rows, int64_t columns, ptrdiff_t stride, const float *scores,
                                       float scale, const float *lse, void *p, enum lam_simd_type type) {
    for (int64_t i = 0; i < rows; i++) {
        vf factor = v_set(scale), shift = v_set(lse[i]);
        for (int64_t j = 0; j < columns; j += LAM_V) {
            int n = vector_of(columns, j);
            vf s = v_load_f32_n(scores + i * stride + j, n);
            v_store(p, i * stride + j, v_exp(s * factor - shift), n, type);
        }
    }
}

LAM_INLINE void score_gradients_of(int64_t rows, int64_t columns, ptrdiff_t stride, const void *p,
                                   const float *dp, const float *d, float scale, void *ds,
                                   enum lam_simd_type type) {
    for (int64_t i = 0; i < rows; i++) {
        vf factor = v_set(scale), mean = v_set(d[i]);
        for (int64_t j = 0; j < columns; j += LAM_V) {
            int n = vector_of(columns, j);
            vf g = v_load_f32_n(dp + i * stride + j, n) - mean;
            v_store(ds, i * stride + j, v_load(p, i * stride + j, n, type) * g * factor, n, type);
        }
    }
}

LAM_INLINE void row_dots_of(int64_t rows, int64_t columns, ptrdiff_t stride, const void *a, const void *b,
                            float *d, enum lam_simd_type type) {
    for (int64_t i = 0; i < rows; i++) d[i] = row_dot(columns, a, b, i * stride, type);
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
static void row_dots(int64_t rows, int64_t columns, ptrdiff_t stride, const void *a, const void *b, float *d,
                     enum lam_simd_type type) {
    BY_TYPE(row_dots_of, rows, columns, stride, a, b, d)
}

const struct lam_softmax_kernels LAM_ISA_NAME(lam_softmax) = {
    .forward = forward,
    .backward = backward,
    .probabilities = probabilities,
    .probabilities_again = probabilities_again,
    .score_gradients = score_gradients,
    .row_dots = row_dots,
};
