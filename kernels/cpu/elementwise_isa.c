/* Elementwise ops, vectorised: four vectors at a time, then single ones, then what is left. In a blocked
 * layout the padding is part of the array; every function here gives 0 for 0, so it stays zero;
 * but the sigmoid, which is done in PLAIN. */
#include "cpu/elementwise_isa.h"

#include "cpu/cpu_kernel.h"
#include "cpu/simd_block.h"
#include "cpu/simd_math.h"

enum function { RELU, RELU_BWD, GELU, GELU_BWD, SIGMOID, SIGMOID_BWD, ADD, SCALE, CAST };

/* x Phi(x) = max(x, 0) - |x| Phi(-|x|): nothing cancels */
LAM_INLINE vf gelu(vf x, enum v_precision precision) {
    vf below, bell;
    v_normal(x, &below, &bell, precision);
    return v_fnma(v_abs(x), below, v_relu(x));
}

/* Phi(x) + x phi(x) */
LAM_INLINE vf gelu_slope(vf x, enum v_precision precision) {
    vf below, bell;
    v_normal(x, &below, &bell, precision);
    vf phi = v_where_greater(x, v_zero(), v_set(1) - below, below);
    return v_fma(x, bell * v_set(0.3989422804f), phi);
}

LAM_INLINE vf value(enum function f, vf a, vf b, vf factor, enum v_precision precision) {
    switch (f) {
    case RELU:
        return v_relu(a);
    case RELU_BWD:
        return v_where_greater(b, v_zero(), a, v_zero());
    case GELU:
        return gelu(a, precision);
    case GELU_BWD:
        return a * gelu_slope(b, precision);
    case SIGMOID:
        return v_sigmoid(a);
    case SIGMOID_BWD:
        return a * v_fnma(b, b, b);
    case ADD:
        return a + b;
    case SCALE:
        return a * factor;
    case CAST:
        break;
    }
    return a;
}

/* n numbers from number i on. Types of the first operand, of the second, and of the result. */
LAM_INLINE void strip(enum function f, const void *a, const void *b, void *out, vf factor, int64_t i, int n,
                      enum lam_simd_type first, enum lam_simd_type second, enum lam_simd_type to) {
    vf x[LAM_STRIP], y[LAM_STRIP];
    const bool binary = f == RELU_BWD || f == GELU_BWD || f == SIGMOID_BWD || f == ADD,
               one_type = first == second && second == to;
    const enum v_precision precision = to == LAM_SIMD_F32 ? V_FINE : V_COARSE;
    if (one_type) {
        v_load_strip(a, i, n, first, x);
        if (binary) v_load_strip(b, i, n, second, y);
    } else {
        v_load_in_order(a, i, n, first, x);
        if (binary) v_load_in_order(b, i, n, second, y);
    }
    for (int k = 0; k < LAM_STRIP; k++) x[k] = value(f, x[k], binary ? y[k] : v_zero(), factor, precision);
    if (one_type)
        v_store_strip(out, i, n, to, x);
    else
        v_store_in_order(out, i, n, to, x);
}

LAM_INLINE void loop(enum function f, const void *a, const void *b, void *out, int64_t count, float factor,
                     enum lam_simd_type first, enum lam_simd_type second, enum lam_simd_type to) {
    const vf v = v_set(factor);
    int64_t i = 0;
    for (; i + LAM_STRIP_NUMBERS <= count; i += LAM_STRIP_NUMBERS)
        strip(f, a, b, out, v, i, LAM_STRIP_NUMBERS, first, second, to);
    if (i < count) strip(f, a, b, out, v, i, (int)(count - i), first, second, to);
}

/* dx = dy + z where y > 0. */
LAM_INLINE void masked_sum_strip(const void *dy, const void *z, const void *y, void *dx, int64_t i, int n,
                                 enum lam_simd_type type) {
    vf sum[LAM_STRIP], other[LAM_STRIP];
    v_load_strip(dy, i, n, type, sum);
    v_load_strip(z, i, n, type, other);
    for (int k = 0; k < LAM_STRIP; k++) sum[k] += other[k];
    v_load_strip(y, i, n, type, other);
    for (int k = 0; k < LAM_STRIP; k++) sum[k] = v_where_greater(other[k], v_zero(), sum[k], v_zero());
    v_store_strip(dx, i, n, type, sum);
}

LAM_INLINE void masked_sum(const void *dy, const void *z, const void *y, void *dx, int64_t count,
                           enum lam_simd_type type) {
    int64_t i = 0;
    for (; i + LAM_STRIP_NUMBERS <= count; i += LAM_STRIP_NUMBERS)
        masked_sum_strip(dy, z, y, dx, i, LAM_STRIP_NUMBERS, type);
    if (i < count) masked_sum_strip(dy, z, y, dx, i, (int)(count - i), type);
}

#define DEFINE_MASKED_SUM(type)                                                                              \
    static void relu_bwd_sum_##type(const void *dy, const void *z, const void *y, void *dx, int64_t count) { \
        masked_sum(dy, z, y, dx, count, LAM_SIMD_##type);                                                    \
    }
LAM_BY_TYPE(DEFINE_MASKED_SUM)

#define DEFINE_ONE(name, function, first, second, to)                                                        \
    static void name(const void *a, const void *b, void *out, int64_t count, float factor) {                 \
        loop(function, a, b, out, count, factor, LAM_SIMD_##first, LAM_SIMD_##second, LAM_SIMD_##to);        \
    }
#define DEFINE(type)                                                                                         \
    DEFINE_ONE(relu_##type, RELU, type, type, type)                                                          \
    DEFINE_ONE(relu_bwd_##type, RELU_BWD, type, type, type)                                                  \
    DEFINE_ONE(gelu_##type, GELU, type, type, type)                                                          \
    DEFINE_ONE(gelu_bwd_##type, GELU_BWD, type, type, type)                                                  \
    DEFINE_ONE(sigmoid_##type, SIGMOID, type, type, type)                                                    \
    DEFINE_ONE(sigmoid_bwd_##type, SIGMOID_BWD, type, type, type)                                            \
    DEFINE_ONE(add_##type, ADD, type, type, type)                                                            \
    DEFINE_ONE(scale_##type, SCALE, type, type, type)                                                        \
    DEFINE_ONE(add_f32_##type, ADD, type, F32, type)                                                         \
    DEFINE_ONE(sum_f32_##type, ADD, type, F32, F32)                                                          \
    DEFINE_ONE(from_f32_##type, CAST, F32, F32, type)
LAM_BY_TYPE(DEFINE)
DEFINE_ONE(to_f32, CAST, BF16, BF16, F32)

static void from_u8_F32(const void *a, const void *b, void *out, int64_t count, float factor) {
    (void)b, (void)factor;
    for (int64_t i = 0; i < count; i++) ((float *)out)[i] = (float)((const uint8_t *)a)[i];
}

/* 0..255 have at most 8 significant bits: exact in bf16 */
static void from_u8_BF16(const void *a, const void *b, void *out, int64_t count, float factor) {
    (void)b, (void)factor;
    for (int64_t i = 0; i < count; i++) {
        float x = (float)((const uint8_t *)a)[i];
        uint32_t bits;
        memcpy(&bits, &x, sizeof bits);
        ((uint16_t *)out)[i] = (uint16_t)(bits >> 16);
    }
}

const struct lam_elementwise_kernels LAM_ISA_NAME(lam_elementwise) = {
    .relu = LAM_TYPES(relu),
    .relu_bwd = LAM_TYPES(relu_bwd),
    .relu_bwd_sum = LAM_TYPES(relu_bwd_sum),
    .gelu = LAM_TYPES(gelu),
    .gelu_bwd = LAM_TYPES(gelu_bwd),
    .sigmoid = LAM_TYPES(sigmoid),
    .sigmoid_bwd = LAM_TYPES(sigmoid_bwd),
    .add = LAM_TYPES(add),
    .scale = LAM_TYPES(scale),
    .add_f32 = LAM_TYPES(add_f32),
    .sum_f32 = LAM_TYPES(sum_f32),
    .to_f32 = to_f32,
    .from_f32 = LAM_TYPES(from_f32),
    .from_u8 = {from_u8_F32, from_u8_BF16, from_u8_BF16},
};
