/* The f32 pieces of the matrix product: tiles, packing, and small helpers. bf16 sources are widened here. */
#include "cpu/gemm_isa.h"

#include "cpu/cpu_kernel.h"
#include "cpu/simd.h"

#define TILE_PAIRS false
#define TILE_TYPE  LAM_SIMD_BF16
#define TILE_TARGET
LAM_INLINE vf tile_multiply(vf a, vf b, vf c) {
    return v_fma(a, b, c);
}
#include "cpu/gemm_tile.h"

enum { PACK_ROWS = 8 };

/* Goes over a few rows at a time, so that both sides are runs of lines, and asks for the rows after them. */
LAM_INLINE void pack_rows_of(const struct lam_gemm_rows *r, enum lam_simd_type type) {
    const int64_t ahead = PACK_ROWS * r->stride;
    const size_t bytes = v_bytes(type);
    for (int64_t first = 0; first < r->k; first += PACK_ROWS) {
        int64_t end = first + PACK_ROWS < r->k ? first + PACK_ROWS : r->k;
        for (int64_t p = 0; p < r->panels; p++) {
            int64_t column = p * r->advance, there = r->columns - column;
            float *dst = r->dst + (p * r->k + first) * r->width;
            for (int64_t s = first; s < end; s++, dst += r->width)
                for (int j = 0; j < r->width; j += LAM_V) {
                    int64_t at = s * r->stride + column + j;
                    __builtin_prefetch((const char *)r->src + (size_t)(at + ahead) * bytes);
                    int n = there - j < LAM_V ? (int)(there - j) : LAM_V;
                    v_store_f32(dst + j, n > 0 ? v_load(r->src, at, n, type) : v_zero());
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

LAM_INLINE void pack_columns_of(const struct lam_gemm_columns *p, enum lam_simd_type type) {
    float *dst = p->dst;
    for (int64_t s = 0; s < p->k; s += LAM_V) {
        int steps = p->k - s < LAM_V ? (int)(p->k - s) : LAM_V;
        for (int j = 0; j < p->width; j += LAM_V) {
            vf block[LAM_V];
            for (int i = 0; i < LAM_V; i++)
                block[i] =
                    j + i < p->columns ? v_load(p->src, (j + i) * p->stride + s, steps, type) : v_zero();
            tile_transpose(block);
            for (int i = 0; i < steps; i++) v_store_f32(dst + (s + i) * p->width + j, block[i]);
        }
    }
}
static void pack_columns(const struct lam_gemm_columns *p) {
    if (p->dtype == LAM_F32)
        pack_columns_of(p, LAM_SIMD_F32);
    else
        pack_columns_of(p, LAM_SIMD_BF16);
}

const struct lam_gemm_tiles LAM_ISA_NAME(lam_gemm_f32) = {
    .rows = TILE_ROWS,
    .a_step = TILE_STEP,
    .vector = LAM_V,
    .pair = 1,
    .by_rows = {TILE_FOR_EACH(TILE_BY_ROWS)},
    .by_columns = {TILE_FOR_EACH(TILE_BY_COLUMNS)},
    .pack_rows = pack_rows,
    .pack_columns = pack_columns,
};

static void widen(int64_t rows, int64_t columns, const uint16_t *from, ptrdiff_t from_stride, float *to,
                  ptrdiff_t to_stride) {
    for (int64_t i = 0; i < rows; i++)
        for (int64_t j = 0; j < columns; j += LAM_V) {
            int n = columns - j < LAM_V ? (int)(columns - j) : LAM_V;
            v_store_f32_n(to + i * to_stride + j, v_load(from, i * from_stride + j, n, LAM_SIMD_BF16), n);
        }
}

/* Four vectors of columns at a time, down all rows: the sums stay in registers. */
LAM_INLINE void column_sums_of(int64_t rows, int64_t columns, const void *src, enum lam_simd_type type,
                               ptrdiff_t stride, float *sum, bool accumulate) {
    for (int64_t j = 0; j < columns; j += 4 * LAM_V) {
        int there[4];
        vf s[4];
        for (int v = 0; v < 4; v++) {
            int64_t left = columns - j - v * LAM_V;
            there[v] = left < 0 ? 0 : left < LAM_V ? (int)left : LAM_V;
            s[v] = accumulate ? v_load_f32_n(sum + j + v * LAM_V, there[v]) : v_zero();
        }
        for (int64_t i = 0; i < rows; i++)
            for (int v = 0; v < 4; v++) s[v] += v_load(src, i * stride + j + v * LAM_V, there[v], type);
        for (int v = 0; v < 4; v++) v_store_f32_n(sum + j + v * LAM_V, s[v], there[v]);
    }
}
static void column_sums(int64_t rows, int64_t columns, const void *src, enum lam_dtype dtype,
                        ptrdiff_t stride, float *sum, bool accumulate) {
    if (dtype == LAM_F32)
        column_sums_of(rows, columns, src, LAM_SIMD_F32, stride, sum, accumulate);
    else
        column_sums_of(rows, columns, src, LAM_SIMD_BF16, stride, sum, accumulate);
}

const struct lam_gemm_helpers LAM_ISA_NAME(lam_gemm_helpers) = {
    .widen = widen,
    .column_sums = column_sums,
};
