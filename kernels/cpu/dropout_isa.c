/* Dropout, vectorised: LAM_V Philox blocks at once, one in each lane, which are then interleaved into the
 * order of the elements. The same numbers as lam_philox gives. */
#include "cpu/dropout_isa.h"

#include "cpu/cpu_kernel.h"
#include "cpu/simd.h"

typedef uint64_t vq __attribute__((vector_size(4 * LAM_V), may_alias));

/* 64-bit products of the even 32-bit lanes. */
LAM_INLINE vq multiply_even(vq a, vq b) {
#if LAM_V == 16
    return (vq)_mm512_mul_epu32((__m512i)a, (__m512i)b);
#else
    return (vq)_mm256_mul_epu32((__m256i)a, (__m256i)b);
#endif
}

LAM_INLINE void multiply(vu x, uint32_t factor, vu *high, vu *low) {
    vq factors = (vq){0} + factor;
    vq even = multiply_even((vq)x, factors), odd = multiply_even((vq)x >> 32, factors);
    *high = (vu)((even >> 32) | (odd & 0xFFFFFFFF00000000u));
    *low = (vu)((even & 0xFFFFFFFFu) | (odd << 32));
}

/* Ten rounds on each lane's counter c[0..3]. */
LAM_INLINE void philox(const uint32_t key[2], vu c[4]) {
    uint32_t k0 = key[0], k1 = key[1];
    for (int round = 0; round < 10; round++) {
        vu high0, low0, high1, low1;
        multiply(c[0], 0xD2511F53u, &high0, &low0);
        multiply(c[2], 0xCD9E8D57u, &high1, &low1);
        c[0] = high1 ^ c[1] ^ k0;
        c[2] = high0 ^ c[3] ^ k1;
        c[1] = low1;
        c[3] = low0;
        k0 += 0x9E3779B9u;
        k1 += 0xBB67AE85u;
    }
}

/* a0 b0 a1 b1 ... of the lower or upper half of the lanes. */
LAM_INLINE vu interleave(vu a, vu b, int upper) {
    vi order;
    for (int l = 0; l < LAM_V; l++) order[l] = upper * LAM_V / 2 + l / 2 + l % 2 * LAM_V;
    return __builtin_shuffle(a, b, order);
}

/* Words 4 i .. 4 i + 3 of block i, in order. */
LAM_INLINE void in_element_order(vu c[4]) {
    vu low02 = interleave(c[0], c[2], 0), high02 = interleave(c[0], c[2], 1);
    vu low13 = interleave(c[1], c[3], 0), high13 = interleave(c[1], c[3], 1);
    c[0] = interleave(low02, low13, 0);
    c[1] = interleave(low02, low13, 1);
    c[2] = interleave(high02, high13, 0);
    c[3] = interleave(high02, high13, 1);
}

LAM_INLINE void apply_at(const void *x, void *out, int64_t i, int n, vu words, vu threshold, vf scale,
                         enum lam_simd_type type) {
    vu keep = (vu)(words >= threshold);
    vf y = v_load(x, i, n, type) * scale;
    v_store(out, i, (vf)((vu)y & keep), n, type);
}

LAM_INLINE void apply(const void *x, void *out, int64_t count, const struct lam_rng *stream,
                      uint32_t threshold, float factor, enum lam_simd_type type) {
    vu lane;
    for (int l = 0; l < LAM_V; l++) lane[l] = (uint32_t)l;
    const vu limit = (vu){0} + threshold, zero = {0};
    const vf scale = v_set(factor);
    for (int64_t i = 0; i < count; i += 4 * LAM_V) {
        uint64_t block = (uint64_t)i / 4; /* a multiple of LAM_V: the low half does not wrap inside */
        vu c[4] = {lane + (uint32_t)block, zero + (stream->counter[1] + (uint32_t)(block >> 32)),
                   zero + stream->counter[2], zero + stream->counter[3]};
        philox(stream->key, c);
        in_element_order(c);
        for (int k = 0; k < 4; k++) {
            int64_t at = i + k * LAM_V;
            if (at + LAM_V <= count)
                apply_at(x, out, at, LAM_V, c[k], limit, scale, type);
            else if (at < count)
                apply_at(x, out, at, (int)(count - at), c[k], limit, scale, type);
        }
    }
}

#define DEFINE(type)                                                                                         \
    static void apply_##type(const void *x, void *out, int64_t count, const struct lam_rng *stream,          \
                             uint64_t threshold, float scale) {                                              \
        if (threshold > UINT32_MAX)                                                                          \
            memset(out, 0, (size_t)count *v_bytes(LAM_SIMD_##type));                                         \
        else                                                                                                 \
            apply(x, out, count, stream, (uint32_t)threshold, scale, LAM_SIMD_##type);                       \
    }
LAM_BY_TYPE(DEFINE)

const struct lam_dropout_kernels LAM_ISA_NAME(lam_dropout) = {LAM_TYPES(apply)};
