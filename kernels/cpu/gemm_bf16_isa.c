/* The matrix product of bf16 by the dot product of pairs (vdpbf16ps), twice the rate of f32: each 32-bit word
 * of A and of a packed panel of B holds two elements that follow one another in k. Built for x86-64-v4 only;
 * at run time the processor must have AVX512_BF16 as well. */
#include "cpu/gemm_isa.h"

#include "cpu/cpu_kernel.h"
#include "cpu/simd.h"

#if LAM_V == 16

#define TILE_PAIRS  true
#define TILE_TYPE   LAM_SIMD_BF16_HW
#define TILE_TARGET __attribute__((target("avx512bf16")))
LAM_INLINE TILE_TARGET vf tile_multiply(vf a, vf b, vf c) {
    return _mm512_dpbf16_ps(c, (__m512bh)a, (__m512bh)b);
}
#include "cpu/gemm_tile.h"

enum { PACK_ROWS = 16 };

/* Elements as the high halves of words; the low halves are 0. */
LAM_INLINE vu load_high(const void *src, int64_t i, int n, enum lam_simd_type type) {
    if (n <= 0) return (vu)v_zero();
    vf v = v_load(src, i, n, type);
    if (type == LAM_SIMD_F32) v = v_widen(v_narrow(v, LAM_SIMD_BF16_HW));
    return (vu)v;
}

/* Elements i.. of one row and `next`.. of the row after it, taken by turns; n of each are there. */
LAM_INLINE vf zip_rows(const void *src, int64_t i, int64_t next, int n, bool has_next,
                       enum lam_simd_type type) {
    if (type == LAM_SIMD_BF16 && n >= LAM_V && has_next) {
        const uint16_t *h = src;
        __m512i both = _mm512_castsi256_si512(_mm256_loadu_si256((const __m256i *)(const void *)(h + i)));
        both = _mm512_inserti64x4(both, _mm256_loadu_si256((const __m256i *)(const void *)(h + next)), 1);
        const __m512i by_turns = _mm512_set_epi16(31, 15, 30, 14, 29, 13, 28, 12, 27, 11, 26, 10, 25, 9, 24,
                                                  8, 23, 7, 22, 6, 21, 5, 20, 4, 19, 3, 18, 2, 17, 1, 16, 0);
        return (vf)_mm512_permutexvar_epi16(by_turns, both);
    }
    vu pair = load_high(src, i, n, type) >> 16;
    if (has_next) pair |= load_high(src, next, n, type);
    return (vf)pair;
}

/* Goes over a few rows at a time, so that both sides are runs of lines, and asks for the rows after them. */
LAM_INLINE void pack_rows_of(const struct lam_gemm_rows *r, enum lam_simd_type type) {
    const int64_t steps = (r->k + 1) / 2, ahead = PACK_ROWS * r->stride;
    const int64_t bytes = (int64_t)v_bytes(type);
    for (int64_t first = 0; first < r->k; first += PACK_ROWS) {
        int64_t end = first + PACK_ROWS < r->k ? first + PACK_ROWS : r->k;
        for (int64_t p = 0; p < r->panels; p++) {
            int64_t column = p * r->advance, there = r->columns - column;
            float *dst = r->dst + (p * steps + first / 2) * r->width;
            for (int64_t s = first; s < end; s += 2, dst += r->width) {
                int64_t at = s * r->stride + column;
                __builtin_prefetch((const char *)r->src + (at + ahead) * bytes);
                __builtin_prefetch((const char *)r->src + (at + r->stride + ahead) * bytes);
                for (int j = 0; j < r->width; j += LAM_V) {
                    int n = there - j < LAM_V ? (int)(there - j) : LAM_V;
                    v_store_f32(dst + j, zip_rows(r->src, at + j, at + r->stride + j, n, s + 1 < end, type));
                }
            }
        }
    }
}
static void pack_rows(const struct lam_gemm_rows *r) {
    if (r->dtype == LAM_F32)
        pack_rows_of(r, LAM_SIMD_F32);
    else
        pack_rows_of(r, LAM_SIMD_BF16);
}

/* LAM_V words from element i of src on, of which n elements (up to 2 LAM_V) are there. */
LAM_INLINE vf load_pairs(const struct lam_gemm_columns *p, int64_t i, int n, enum lam_simd_type type) {
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

LAM_INLINE void pack_columns_of(const struct lam_gemm_columns *p, enum lam_simd_type type) {
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
static void pack_columns(const struct lam_gemm_columns *p) {
    if (p->dtype == LAM_F32)
        pack_columns_of(p, LAM_SIMD_F32);
    else
        pack_columns_of(p, LAM_SIMD_BF16);
}

const struct lam_gemm_tiles lam_gemm_bf16_v4 = {
    .rows = TILE_ROWS,
    .a_step = TILE_STEP,
    .vector = LAM_V,
    .pair = 2,
    .by_rows = {TILE_FOR_EACH(TILE_BY_ROWS)},
    .by_columns = {TILE_FOR_EACH(TILE_BY_COLUMNS)},
    .pack_rows = pack_rows,
    .pack_columns = pack_columns,
};

#endif
