/* Planes of any layout as streams of vectors, for the *_isa.c files.
 *
 * A plane (one sample's channel group) is `pixels * block` numbers in a row; PLAIN has block 1 and a group
 * for each channel. It is read and written in *strips* of LAM_STRIP vectors. Which number stands in which
 * lane is the strip's business:
 *
 *   - f32, and bf16 as a rule: lane l of vector k is number k LAM_V + l;
 *   - BF16_HW: *paired*. One load of 32 numbers gives two vectors, of the even and of the odd ones, by a
 * shift and a mask, and one instruction narrows two vectors. So lane l of vector k is number 2 l + k % 2 of
 * its pair of vectors.
 *
 * The channel of a number is its place modulo the block (16, 8 or 1), so what belongs to channels repeats
 * every `period` vectors, for which 16 numbers are enough, and is held in that many registers. */
#ifndef LAM_CPU_SIMD_BLOCK_H
#define LAM_CPU_SIMD_BLOCK_H

#include "cpu/simd.h"

enum { LAM_STRIP = 4, LAM_STRIP_NUMBERS = LAM_STRIP * LAM_V };

LAM_INLINE bool v_paired(enum lam_simd_type type) {
    return LAM_V == 16 && type == LAM_SIMD_BF16_HW;
}

/* Vectors after which channels repeat, for every block. */
LAM_INLINE int v_period(enum lam_simd_type type) {
    return v_paired(type) ? 2 : 16 / LAM_V;
}

LAM_INLINE int v_clamp(int64_t n, int most) {
    return n < 0 ? 0 : n > most ? most : (int)n;
}

/* How many lanes of vector k are among the first n numbers of a strip. They are the first lanes. */
LAM_INLINE int v_strip_lanes(int n, int k, enum lam_simd_type type) {
    if (!v_paired(type)) return v_clamp(n - k * LAM_V, LAM_V);
    return (v_clamp(n - k / 2 * 2 * LAM_V, 2 * LAM_V) + 1 - k % 2) / 2;
}

#if LAM_V == 16
LAM_INLINE __mmask32 v_pair_mask(int n) {
    return n >= 32 ? 0xFFFFFFFFu : (1u << n) - 1u;
}

LAM_INLINE void v_load_pair(const uint16_t *p, int n, vf *pair) {
    __m512i both = n >= 32 ? _mm512_loadu_si512(p) : _mm512_maskz_loadu_epi16(v_pair_mask(n), p);
    pair[0] = (vf)_mm512_slli_epi32(both, 16);
    pair[1] = (vf)_mm512_and_si512(both, _mm512_set1_epi32((int)0xFFFF0000));
}

LAM_INLINE void v_store_pair(uint16_t *p, const vf *pair, int n) {
    const __m512i order = _mm512_set_epi16(31, 15, 30, 14, 29, 13, 28, 12, 27, 11, 26, 10, 25, 9, 24, 8, 23,
                                           7, 22, 6, 21, 5, 20, 4, 19, 3, 18, 2, 17, 1, 16, 0);
    __m512i both;
    __asm__("vcvtne2ps2bf16 %1, %2, %0" : "=v"(both) : "v"(pair[0]), "v"(pair[1]));
    both = _mm512_permutexvar_epi16(order, both);
    if (n >= 32)
        _mm512_storeu_si512(p, both);
    else
        _mm512_mask_storeu_epi16(p, v_pair_mask(n), both);
}
#endif

/* A strip in order whatever the type, for loops that mix types. */
LAM_INLINE void v_load_in_order(const void *p, int64_t i, int n, enum lam_simd_type type, vf *strip) {
    for (int k = 0; k < LAM_STRIP; k++)
        strip[k] = v_load(p, i + k * LAM_V, v_clamp(n - k * LAM_V, LAM_V), type);
}

LAM_INLINE void v_store_in_order(void *p, int64_t i, int n, enum lam_simd_type type, const vf *strip) {
    for (int k = 0; k < LAM_STRIP; k++)
        v_store(p, i + k * LAM_V, strip[k], v_clamp(n - k * LAM_V, LAM_V), type);
}

/* The first n numbers from number i of p on; the others read as 0. */
LAM_INLINE void v_load_strip(const void *p, int64_t i, int n, enum lam_simd_type type, vf *strip) {
#if LAM_V == 16
    if (v_paired(type)) {
        const uint16_t *source = (const uint16_t *)p + i;
        v_load_pair(source, v_clamp(n, 32), strip);
        v_load_pair(source + 32, v_clamp(n - 32, 32), strip + 2);
        return;
    }
#endif
    v_load_in_order(p, i, n, type, strip);
}

LAM_INLINE void v_store_strip(void *p, int64_t i, int n, enum lam_simd_type type, const vf *strip) {
#if LAM_V == 16
    if (v_paired(type)) {
        uint16_t *target = (uint16_t *)p + i;
        v_store_pair(target, strip, v_clamp(n, 32));
        v_store_pair(target + 32, strip + 2, v_clamp(n - 32, 32));
        return;
    }
#endif
    v_store_in_order(p, i, n, type, strip);
}

/* The first n lanes of x, 0 in the others. */
LAM_INLINE vf v_keep_lanes(vf x, int n) {
    if (n >= LAM_V) return x;
#if LAM_V == 16
    return _mm512_maskz_mov_ps((__mmask16)((1u << n) - 1u), x);
#else
    vi lane;
    for (int l = 0; l < LAM_V; l++) lane[l] = l;
    return (vf)((vi)x & (lane < n));
#endif
}

LAM_OUTLINED void v_spread_lanes(const float *p, int k, int block, int there, bool paired, float *lanes) {
    for (int l = 0; l < LAM_V; l++) {
        int channel = (paired ? 2 * l + k : k * LAM_V + l) % block;
        lanes[l] = channel < there ? p[channel] : 0;
    }
}

/* Vector k of what belongs to a group's channels: p[0 .. there - 1]; 0 for channels beyond. */
LAM_INLINE vf v_spread(const float *p, int k, int block, int there, enum lam_simd_type type) {
    float lanes[LAM_V];
    if (block < LAM_V) {
        v_spread_lanes(p, k, block, there, v_paired(type), lanes);
        return v_load_f32(lanes);
    }
#if LAM_V == 16
    if (v_paired(type)) {
        const __m512i even = _mm512_set_epi32(14, 12, 10, 8, 6, 4, 2, 0, 14, 12, 10, 8, 6, 4, 2, 0);
        return _mm512_permutexvar_ps(_mm512_add_epi32(even, _mm512_set1_epi32(k)),
                                     v_load_f32_n(p, v_clamp(there, LAM_V)));
    }
#endif
    int first = k * LAM_V % block;
    return v_load_f32_n(p + first, v_clamp(there - first, LAM_V));
}

LAM_OUTLINED void v_fold_numbers(const float *numbers, int count, int block, float *out) {
    for (int c = 0; c < block; c++) {
        out[c] = 0;
        for (int i = c; i < count; i += block) out[c] += numbers[i];
    }
}

/* The sums of each channel over a strip. */
LAM_INLINE void v_fold_strip(const vf *strip, int block, enum lam_simd_type type, float *out) {
    const int period = v_period(type);
    vf sums[LAM_STRIP];
    for (int k = 0; k < LAM_STRIP; k++) {
        if (k < period)
            sums[k] = strip[k];
        else
            sums[k % period] += strip[k];
    }
#if LAM_V == 16
    if (v_paired(type)) { /* back into the order of the numbers, and the two halves added */
        const __m512i low = _mm512_set_epi32(23, 7, 22, 6, 21, 5, 20, 4, 19, 3, 18, 2, 17, 1, 16, 0);
        const __m512i high = _mm512_add_epi32(low, _mm512_set1_epi32(8));
        sums[0] =
            _mm512_permutex2var_ps(sums[0], low, sums[1]) + _mm512_permutex2var_ps(sums[0], high, sums[1]);
    }
#endif
    float numbers[16];
    for (int k = 0; k < 16 / LAM_V; k++) v_store_f32(numbers + k * LAM_V, sums[k]);
    if (block == 16)
        memcpy(out, numbers, sizeof numbers);
    else
        v_fold_numbers(numbers, 16, block, out);
}

#endif
