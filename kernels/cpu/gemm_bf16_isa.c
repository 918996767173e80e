/* The matrix product of bf16 by the dot product of pairs (vdpbf16ps), twice the rate of f32: each 32-bit word
 * of A and of a packed panel of B holds two elements that follow one another in k. Built for x86-64-v4 only;
 * at run time the processor must have AVX512_BF16 as well. */
#include "cpu/gemm_isa.h"

#include "cpu/cpu_kernel.h"
#include "cpu/simd.h"

#if LAM_V == 16

#define TILE_ROWS   14
#define TILE_PAIRS  true
#define TILE_TYPE   LAM_SIMD_BF16_HW
#define TILE_TARGET __attribute__((target("avx512bf16")))
LAM_INLINE TILE_TARGET vf tile_multiply(vf a, vf b, vf c) {
    return _mm512_dpbf16_ps(c, (__m512bh)a, (__m512bh)b);
}
#include "cpu/gemm_tile.h"

/* Elements as the high halves of words; the low halves are 0. */
LAM_INLINE vu load_high(const struct lam_gemm_panel *p, int64_t i, int n, enum lam_simd_type type) {
    if (n <= 0) return (vu)v_zero();
    vf v = v_load(p->src, i, n, type);
    if (type == LAM_SIMD_F32) v = v_widen(v_narrow(v, LAM_SIMD_BF16_HW));
    return (vu)v;
}

LAM_INLINE void pack_rows_of(const struct lam_gemm_panel *p, enum lam_simd_type type) {
    float *dst = p->dst;
    for (int64_t s = 0; s < p->k; s += 2, dst += p->width)
        for (int j = 0; j < p->width; j += LAM_V) {
            vu first = load_high(p, s * p->stride + j, p->columns - j, type);
            vu second = (vu)v_zero();
            if (s + 1 < p->k) second = load_high(p, (s + 1) * p->stride + j, p->columns - j, type);
            v_store_f32_n(dst + j, (vf)(first >> 16 | second), p->width - j);
        }
}
static void pack_rows(const struct lam_gemm_panel *p) {
    if (p->dtype == LAM_F32)
        pack_rows_of(p, LAM_SIMD_F32);
    else
        pack_rows_of(p, LAM_SIMD_BF16);
}

/* LAM_V words from element i of src on, of which n elements (up to 2 LAM_V) are there. */
LAM_INLINE vf load_pairs(const struct lam_gemm_panel *p, int64_t i, int n, enum lam_simd_type type) {
    uint16_t t[2 * LAM_V] = {0};
    if (type == LAM_SIMD_F32)
        for (int j = 0; j < n; j += LAM_V)
            v_store(t, j, v_load(p->src, i + j, n - j, type), n - j, LAM_SIMD_BF16_HW);
    else
        memcpy(t, (const uint16_t *)p->src + i, (size_t)(n < 2 * LAM_V ? n : 2 * LAM_V) * sizeof *t);
    vf v;
    memcpy(&v, t, sizeof v);
    return v;
}

LAM_INLINE void pack_columns_of(const struct lam_gemm_panel *p, enum lam_simd_type type) {
    float *dst = p->dst;
    int64_t steps = (p->k + 1) / 2;
    for (int64_t s = 0; s < steps; s += LAM_V) {
        int64_t left = p->k - 2 * s;
        int there = left < 2 * LAM_V ? (int)left : 2 * LAM_V;
        for (int j = 0; j < p->width; j += LAM_V) {
            vf block[LAM_V];
            for (int i = 0; i < LAM_V; i++)
                block[i] =
                    j + i < p->columns ? load_pairs(p, (j + i) * p->stride + 2 * s, there, type) : v_zero();
            tile_transpose(block);
            for (int i = 0; i < LAM_V && s + i < steps; i++)
                v_store_f32(dst + (s + i) * p->width + j, block[i]);
        }
    }
}
static void pack_columns(const struct lam_gemm_panel *p) {
    if (p->dtype == LAM_F32)
        pack_columns_of(p, LAM_SIMD_F32);
    else
        pack_columns_of(p, LAM_SIMD_BF16);
}

const struct lam_gemm_tiles lam_gemm_bf16_v4 = {
    .rows = TILE_ROWS,
    .vector = LAM_V,
    .pair = 2,
    .in_place = {TILE_FOR_EACH(TILE_IN_PLACE)},
    .packed = {TILE_FOR_EACH(TILE_PACKED)},
    .pack_rows = pack_rows,
    .pack_columns = pack_columns,
};

#endif
