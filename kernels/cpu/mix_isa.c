/* The weighted sum of two tensors and its gradient. Zeros give zeros, so the padding of blocked layouts stays zero. */
#include "cpu/mix_isa.h"

#include "cpu/cpu_kernel.h"
#include "cpu/simd.h"

LAM_INLINE int part(int64_t count, int64_t i) {
    return count - i < LAM_V ? (int)(count - i) : LAM_V;
}

LAM_INLINE void forward(const void *a, const void *b, void *y, int64_t count, float s,
                        enum lam_simd_type type) {
    const vf weight_a = v_set(s), weight_b = v_set(2 - s);
    for (int64_t i = 0; i < count; i += LAM_V) {
        int n = part(count, i);
        v_store(y, i, v_fma(weight_a, v_load(a, i, n, type), weight_b * v_load(b, i, n, type)), n, type);
    }
}

LAM_INLINE float backward(const void *dy, const void *a, const void *b, void *da, void *db, int64_t count,
                          float s, enum lam_simd_type type) {
    const vf weight_a = v_set(s), weight_b = v_set(2 - s);
    vf sum = v_zero();
    for (int64_t i = 0; i < count; i += LAM_V) {
        int n = part(count, i);
        vf g = v_load(dy, i, n, type);
        sum = v_fma(g, v_load(a, i, n, type) - v_load(b, i, n, type), sum);
        if (da) v_store(da, i, weight_a * g, n, type);
        if (db) v_store(db, i, weight_b * g, n, type);
    }
    return v_sum(sum);
}

#define DEFINE(type)                                                                                         \
    static void forward_##type(const void *a, const void *b, void *y, int64_t count, float s) {              \
        forward(a, b, y, count, s, LAM_SIMD_##type);                                                         \
    }                                                                                                        \
    static float backward_##type(const void *dy, const void *a, const void *b, void *da, void *db,           \
                                 int64_t count, float s) {                                                   \
        return backward(dy, a, b, da, db, count, s, LAM_SIMD_##type);                                        \
    }
LAM_BY_TYPE(DEFINE)

const struct lam_mix_kernels LAM_ISA_NAME(lam_mix) = {.forward = LAM_TYPES(forward),
                                                      .backward = LAM_TYPES(backward)};
