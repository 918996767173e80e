/* The micro kernel of the matrix product, and its instances: included by gemm_isa.c (f32) and gemm_bf16_isa.c
 * (pairs of bf16), which define beforehand
 *
 *     TILE_PAIRS                whether a 32-bit word of A holds two elements
 *     TILE_TYPE                 the enum lam_simd_type to write bf16 with
 *     TILE_TARGET               function attribute for instructions beyond the file's level, or empty
 *     tile_multiply(a, b, c)    c + a b for vectors
 *
 * A tile of C, rows x (1 or 2 vectors), stays in registers over all of k. Each step loads one or two vectors
 * of the panel of B and broadcasts one 32-bit word of each row of A. With 14 rows x 2 vectors of AVX-512 that
 * is 28 multiply-adds for 16 loads and 31 of 32 registers. Each height has its own instance, so a matrix is
 * cut into rows as even as possible and no multiply-add works on padding.
 */
#include "cpu/simd.h"

/* Rows of the tallest tile; words between the steps of a packed A, at least that many, in whole vectors. A
 * build with sanitizers checks every access of every instance, so it has fewer and smaller ones. */
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define TILE_ROWS 4
#elif LAM_V == 16
#define TILE_ROWS 14
#else
#define TILE_ROWS 6
#endif
enum { TILE_STEP = LAM_V == 16 ? 16 : 8 };

LAM_INLINE vf tile_broadcast(const char *p) {
    float x;
    memcpy(&x, p, sizeof x);
    return v_set(x);
}

/* A half step: one bf16 in the low half of a word, 0 in the high half. */
LAM_INLINE vf tile_broadcast_half(const char *p) {
    uint16_t h;
    memcpy(&h, p, sizeof h);
    return (vf)((vu){0} + h);
}

#if LAM_V == 16
#define TILE_LOW(a, b) __builtin_shufflevector(a, b, 0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23)
#define TILE_HIGH(a, b)                                                                                      \
    __builtin_shufflevector(a, b, 8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31)
#else
#define TILE_LOW(a, b)  __builtin_shufflevector(a, b, 0, 8, 1, 9, 2, 10, 3, 11)
#define TILE_HIGH(a, b) __builtin_shufflevector(a, b, 4, 12, 5, 13, 6, 14, 7, 15)
#endif

/* Transposes a square of words. A round interleaves row i with row i + LAM_V / 2; after log2(LAM_V) rounds
 * the bits of the row number and of the element number have changed places. */
LAM_INLINE void tile_transpose(vf row[LAM_V]) {
#pragma GCC unroll 4
    for (int round = LAM_V; round > 1; round /= 2) {
        vf next[LAM_V];
#pragma GCC unroll 8
        for (int i = 0; i < LAM_V / 2; i++) {
            next[2 * i] = TILE_LOW(row[i], row[i + LAM_V / 2]);
            next[2 * i + 1] = TILE_HIGH(row[i], row[i + LAM_V / 2]);
        }
#pragma GCC unroll 16
        for (int i = 0; i < LAM_V; i++) row[i] = next[i];
    }
}

/* Everything but the plain f32 tile: bf16 output, or fewer columns than the panel is wide. */
static void tile_finish(const struct lam_gemm_tile *t, const float *sums, int rows, int width) {
    enum lam_simd_type type = t->c_bf16 ? TILE_TYPE : LAM_SIMD_F32;
    for (int i = 0; i < rows; i++)
        for (int j = 0; j < width && j < t->columns; j += LAM_V) {
            int n = t->columns - j;
            vf v = v_load_f32(sums + i * width + j);
            if (t->bias) v += v_load_f32_n(t->bias + j, n);
            if (t->accumulate) v += v_load(t->c, i * t->c_row + j, n, type);
            v_store(t->c, i * t->c_row + j, v, n, type);
        }
}

/* Writes the tile: in the loops of its own size where C is plain, else through tile_finish. */
LAM_INLINE TILE_TARGET void tile_store(const struct lam_gemm_tile *t, const int rows, const int vectors,
                                       vf sum[TILE_ROWS][2]) {
    if (t->columns < vectors * LAM_V || (t->c_bf16 && (!TILE_PAIRS || t->accumulate))) {
        float sums[TILE_ROWS * 2 * LAM_V];
#pragma GCC unroll 16
        for (int i = 0; i < rows; i++)
            for (int v = 0; v < vectors; v++) v_store_f32(sums + (i * vectors + v) * LAM_V, sum[i][v]);
        tile_finish(t, sums, rows, vectors * LAM_V);
        return;
    }
    float *c = t->c;
    const ptrdiff_t c_row = t->c_row;
    if (t->accumulate) {
#pragma GCC unroll 16
        for (int i = 0; i < rows; i++)
            for (int v = 0; v < vectors; v++)
                v_store_f32(c + i * c_row + v * LAM_V, sum[i][v] + v_load_f32(c + i * c_row + v * LAM_V));
        return;
    }
    vf bias[2] = {v_zero(), v_zero()};
    if (t->bias)
        for (int v = 0; v < vectors; v++) bias[v] = v_load_f32(t->bias + v * LAM_V);
    if (TILE_PAIRS && t->c_bf16) {
#pragma GCC unroll 16
        for (int i = 0; i < rows; i++)
            for (int v = 0; v < vectors; v++)
                v_store(t->c, i * c_row + v * LAM_V, sum[i][v] + bias[v], LAM_V, TILE_TYPE);
        return;
    }
#pragma GCC unroll 16
    for (int i = 0; i < rows; i++)
        for (int v = 0; v < vectors; v++) v_store_f32(c + i * c_row + v * LAM_V, sum[i][v] + bias[v]);
}

/* Where A is read. By rows, row i is reached as group[i / 3] + (i % 3) stride: few pointers for many rows. */
enum { TILE_GROUPS = (TILE_ROWS + 2) / 3 };
struct tile_reader {
    const char *group[TILE_GROUPS];
    ptrdiff_t stride;
    const char *b;
};

LAM_INLINE TILE_TARGET void tile_step(struct tile_reader *r, const int rows, const int vectors,
                                      const bool by_columns, const bool half, vf sum[TILE_ROWS][2]) {
    vf b0 = v_load_f32((const float *)r->b), b1 = v_zero();
    if (vectors == 2) b1 = v_load_f32((const float *)r->b + LAM_V);
    r->b += vectors * LAM_V * 4;
    if (by_columns) {
        __builtin_prefetch(r->group[0] + 16 * r->stride);
        __builtin_prefetch(r->group[0] + 16 * r->stride + 4 * rows - 4);
    }
#pragma GCC unroll 16
    for (int i = 0; i < rows; i++) {
        const char *at = by_columns ? r->group[0] + 4 * i : r->group[i / 3] + (i % 3) * r->stride;
        vf a = half ? tile_broadcast_half(at) : tile_broadcast(at);
        sum[i][0] = tile_multiply(a, b0, sum[i][0]);
        if (vectors == 2) sum[i][1] = tile_multiply(a, b1, sum[i][1]);
    }
#pragma GCC unroll 16
    for (int i = 0; i < TILE_GROUPS; i++) r->group[i] += by_columns ? r->stride : 4;
}

/* By rows, A is as many streams as rows, too many for the processor's prefetcher: at every cache line (16
 * steps) ask for the line after the next. By columns, a step is one or two lines of a row of A: ask for those
 * 16 rows on. C is asked for at the start and needed at the end. */
LAM_INLINE TILE_TARGET void tile_run(const struct lam_gemm_tile *t, const int rows, const int vectors,
                                     const bool by_columns) {
    vf sum[TILE_ROWS][2];
    struct tile_reader r = {.stride = t->a_stride, .b = t->b};
    const char *c = t->c;
    const ptrdiff_t c_row = t->c_row * (t->c_bf16 ? 2 : 4);
#pragma GCC unroll 16
    for (int i = 0; i < rows; i++) {
        sum[i][0] = sum[i][1] = v_zero();
        __builtin_prefetch(c + i * c_row, 1);
        __builtin_prefetch(c + i * c_row + 64, 1);
    }
#pragma GCC unroll 16
    for (int i = 0; i < TILE_GROUPS; i++) r.group[i] = t->a + (by_columns ? 0 : 3 * i * t->a_stride);
    for (int64_t left = t->steps; left > 0;) {
        int64_t chunk = by_columns || left < 16 ? left : 16;
        if (!by_columns)
#pragma GCC unroll 16
            for (int i = 0; i < rows; i++) __builtin_prefetch(r.group[i / 3] + (i % 3) * r.stride + 128);
        left -= chunk;
        for (; chunk > 0; chunk--) tile_step(&r, rows, vectors, by_columns, false, sum);
    }
    if (TILE_PAIRS && !by_columns && t->half_step) tile_step(&r, rows, vectors, by_columns, true, sum);
    tile_store(t, rows, vectors, sum);
}

#define TILE_INSTANCES(r)                                                                                    \
    TILE_TARGET static void tile_##r##_1_by_rows(const struct lam_gemm_tile *t) {                            \
        tile_run(t, r, 1, false);                                                                            \
    }                                                                                                        \
    TILE_TARGET static void tile_##r##_2_by_rows(const struct lam_gemm_tile *t) {                            \
        tile_run(t, r, 2, false);                                                                            \
    }                                                                                                        \
    TILE_TARGET static void tile_##r##_1_by_columns(const struct lam_gemm_tile *t) {                         \
        tile_run(t, r, 1, true);                                                                             \
    }                                                                                                        \
    TILE_TARGET static void tile_##r##_2_by_columns(const struct lam_gemm_tile *t) {                         \
        tile_run(t, r, 2, true);                                                                             \
    }
#define TILE_BY_ROWS(r)    {tile_##r##_1_by_rows, tile_##r##_2_by_rows},
#define TILE_BY_COLUMNS(r) {tile_##r##_1_by_columns, tile_##r##_2_by_columns},

#if TILE_ROWS == 14
#define TILE_FOR_EACH(X) X(1) X(2) X(3) X(4) X(5) X(6) X(7) X(8) X(9) X(10) X(11) X(12) X(13) X(14)
#elif TILE_ROWS == 6
#define TILE_FOR_EACH(X) X(1) X(2) X(3) X(4) X(5) X(6)
#else
#define TILE_FOR_EACH(X) X(1) X(2) X(3) X(4)
#endif
TILE_FOR_EACH(TILE_INSTANCES)
