/* Between gemm.c, which cuts a matrix product into pieces, and the *_isa.c files, which compute the pieces.
 */
#ifndef LAM_CPU_GEMM_ISA_H
#define LAM_CPU_GEMM_ISA_H

#include "base/tensor.h"

enum { LAM_GEMM_MAX_ROWS = 14 };

/* One tile of C: up to `rows` of the table x up to two vectors. A is read by broadcasts, so it stays where it
 * is; B is a packed panel, read in order. Strides are in bytes for A and in elements for C. A *step* is what
 * one multiply-add takes from k: one f32, or a pair of bf16. */
struct lam_gemm_tile {
    /* The word of row i, step s: by rows at a + i a_stride + 4 s, by columns at a + s a_stride + 4 i. */
    const char *a;
    ptrdiff_t a_stride;
    const char *b; /* steps x width */
    int64_t steps;
    bool half_step; /* bf16 by rows with odd k: after `steps` pairs, one single element */
    void *c;
    ptrdiff_t c_row;
    bool c_bf16;
    bool accumulate;   /* C += A B, else C = A B + bias */
    const float *bias; /* per column, or NULL */
    int columns;       /* of C that exist, at most the width */
};
typedef void (*lam_gemm_tile_fn)(const struct lam_gemm_tile *tile);

/* Row-major src [k, columns] into panels of `width` words a step: panel p starts at column p * advance of src
 * and at dst + p * steps * width. Words of columns that do not exist, and the second half of an odd last
 * pair, are zero; where width > advance, a panel ends with columns of the next. */
struct lam_gemm_rows {
    const void *src;
    enum lam_dtype dtype; /* of src: f32 or bf16 */
    ptrdiff_t stride;     /* elements */
    int64_t k, columns, panels;
    int advance, width;
    float *dst;
};

/* src [columns, k], transposed into one panel. */
struct lam_gemm_columns {
    const void *src;
    enum lam_dtype dtype;
    ptrdiff_t stride;
    int64_t k;
    int columns, width;
    float *dst;
};

/* The kernels of one number format on one instruction set. */
struct lam_gemm_tiles {
    int rows;   /* tallest tile */
    int a_step; /* words between the steps of a packed A */
    int vector; /* floats per vector; a panel of B is one or two vectors wide */
    int pair;   /* elements of k per step: 1 or 2 */
    lam_gemm_tile_fn by_rows[LAM_GEMM_MAX_ROWS][2]; /* [rows - 1][vectors - 1] */
    lam_gemm_tile_fn by_columns[LAM_GEMM_MAX_ROWS][2];
    void (*pack_rows)(const struct lam_gemm_rows *rows);
    void (*pack_columns)(const struct lam_gemm_columns *columns);
};
extern const struct lam_gemm_tiles lam_gemm_f32_v3, lam_gemm_f32_v4;

/* Only x86-64-v4 with AVX512_BF16 multiplies bf16; elsewhere bf16 is widened to f32 when it is packed. */
extern const struct lam_gemm_tiles lam_gemm_bf16_v4;

/* What else gemm.c needs of an instruction set. */
struct lam_gemm_helpers {
    /* to[i][j] = from[i][j], rows x columns; strides in elements */
    void (*widen)(int64_t rows, int64_t columns, const uint16_t *from, ptrdiff_t from_stride, float *to,
                  ptrdiff_t to_stride);
    /* sum[j] (+)= sum over i of src[i][j] */
    void (*column_sums)(int64_t rows, int64_t columns, const void *src, enum lam_dtype dtype,
                        ptrdiff_t stride, float *sum, bool accumulate);
};
extern const struct lam_gemm_helpers lam_gemm_helpers_v3, lam_gemm_helpers_v4;

#endif
