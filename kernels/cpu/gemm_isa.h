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
    const char *a; /* in place: row i starts at a + i a_row; packed: step s at a + s 4 rows */
    ptrdiff_t a_row;
    const char *b; /* steps x width */
    int64_t steps;
    bool half_step; /* in place bf16 with odd k: after `steps` pairs, one single element */
    void *c;
    ptrdiff_t c_row;
    bool c_bf16;
    bool accumulate;   /* C += A B, else C = A B + bias */
    const float *bias; /* per column, or NULL */
    int columns;       /* of C that exist, at most the width */
};
typedef void (*lam_gemm_tile_fn)(const struct lam_gemm_tile *tile);

/* One panel: `width` columns of B (or `width` rows of A, for C = A^T B), all of k.
 * dst[step][column]; columns from `columns` on, and the second half of an odd last pair, are zero. */
struct lam_gemm_panel {
    const void *src;
    enum lam_dtype dtype; /* of src: f32 or bf16 */
    ptrdiff_t stride;     /* elements, between rows of src */
    int64_t k;
    int columns, width;
    void *dst;
};

/* The kernels of one number format on one instruction set. */
struct lam_gemm_tiles {
    int rows;   /* tallest tile */
    int vector; /* floats per vector; a panel is one or two vectors wide */
    int pair;   /* elements of k per step: 1 or 2 */
    lam_gemm_tile_fn in_place[LAM_GEMM_MAX_ROWS][2]; /* [rows - 1][vectors - 1] */
    lam_gemm_tile_fn packed[LAM_GEMM_MAX_ROWS][2];
    void (*pack_rows)(const struct lam_gemm_panel *panel);    /* src: k rows of `columns` */
    void (*pack_columns)(const struct lam_gemm_panel *panel); /* src: `columns` rows of k */
};
extern const struct lam_gemm_tiles lam_gemm_f32_v2, lam_gemm_f32_v3, lam_gemm_f32_v4;

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
extern const struct lam_gemm_helpers lam_gemm_helpers_v2, lam_gemm_helpers_v3, lam_gemm_helpers_v4;

#endif
