/* Planes of any layout as streams of vectors, for the *_isa.c files.
 *
 * A plane (one sample's channel group) is `pixels * block` numbers in a row; PLAIN has block 1 and a group
 * for each channel. Lane l of the plane's k-th vector belongs to channel (k * LAM_V + l) % block, so what
 * belongs to channels repeats every `period` vectors (block / LAM_V, at least 1: 1, 2 or 4) and is held in
 * that many registers. C16 on AVX-512 has a channel in each lane, PLAIN one channel in all lanes. Loops take
 * LAM_UNROLL vectors at a time, which every period divides. */
#ifndef LAM_CPU_SIMD_BLOCK_H
#define LAM_CPU_SIMD_BLOCK_H

#include "cpu/simd.h"

enum { LAM_UNROLL = 4 };

/* Calls body(..., period) with the period as a constant. */
#define LAM_BY_PERIOD(block, body, ...)                                                                      \
    if (LAM_V == 16 || (block) <= LAM_V)                                                                     \
        body(__VA_ARGS__, 1);                                                                                \
    else if (LAM_V == 8 || (block) == 2 * LAM_V)                                                             \
        body(__VA_ARGS__, 2);                                                                                \
    else                                                                                                     \
        body(__VA_ARGS__, 4);

/* Lanes of vector k of the channels [first, first + block) of p, of which `there` exist; others are 0. */
LAM_INLINE vf v_spread(const float *p, int k, int block, int there) {
    if (block >= LAM_V) {
        int n = there - k * LAM_V;
        return v_load_f32_n(p + k * LAM_V, n < 0 ? 0 : n > LAM_V ? LAM_V : n);
    }
    float lanes[LAM_V];
    for (int l = 0; l < LAM_V; l++) lanes[l] = l % block < there ? p[l % block] : 0;
    return v_load_f32(lanes);
}

/* Adds up the lanes of each channel. */
LAM_INLINE void v_fold(const vf *sums, int period, int block, float *out) {
    float lanes[LAM_UNROLL * LAM_V];
    for (int k = 0; k < period; k++) v_store_f32(lanes + k * LAM_V, sums[k]);
    if (block >= LAM_V) {
        memcpy(out, lanes, (size_t)block * sizeof(float));
        return;
    }
    for (int c = 0; c < block; c++) {
        out[c] = 0;
        for (int l = c; l < LAM_V; l += block) out[c] += lanes[l];
    }
}

/* The first n lanes of x, 0 in the others. */
LAM_INLINE vf v_keep_lanes(vf x, int n) {
    if (n >= LAM_V) return x;
#if LAM_V == 16
    return _mm512_maskz_mov_ps((__mmask16)((1u << n) - 1u), x);
#else
    float lanes[LAM_V];
    v_store_f32(lanes, x);
    for (int l = n; l < LAM_V; l++) lanes[l] = 0;
    return v_load_f32(lanes);
#endif
}

/* The same for LAM_UNROLL vectors, k of which is of the same channels as k % period. */
LAM_INLINE void v_fold_unrolled(const vf *sums, int period, int block, float *out) {
    vf folded[LAM_UNROLL];
    for (int k = 0; k < LAM_UNROLL; k++) {
        if (k < period)
            folded[k] = sums[k];
        else
            folded[k % period] += sums[k];
    }
    v_fold(folded, period, block, out);
}

#endif
