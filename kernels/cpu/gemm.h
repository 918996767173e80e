/* Matrix products on one core: the work behind LINEAR, ATTENTION and their backward ops.
 *
 *     enum lam_gemm_format format = lam_gemm_format(LAM_F32);
 *     struct lam_gemm_operand w = {.src = weights, .dtype = LAM_F32, .stride = k, .columns_apart = true};
 *     lam_gemm_pack(format, &w, k, n, packed, 0, 1);              // once: packed = W^T
 *     lam_gemm(&(struct lam_gemm){.format = format, .m = m, .n = n, .k = k, .a = x, .a_stride = k,
 *                                 .b = packed, .c = y, .c_stride = n, .c_dtype = LAM_F32});
 *
 * All matrices are row-major, strides are in elements. C is made in tiles that stay in vector registers over
 * k; A is read where it is, B from panels as wide as a tile. For each element of C the order of its sums
 * depends on k alone, not on m or n: a row's result does not depend on the rows beside it.
 */
#ifndef LAM_CPU_GEMM_H
#define LAM_CPU_GEMM_H

#include "base/tensor.h"

/* How elements are multiplied. In F32, A is f32. In the other two A is bf16: BF16 multiplies pairs of bf16
 * where the processor can (AVX512_BF16), WIDENED turns both operands into f32 first. Sums are f32 always. */
enum lam_gemm_format { LAM_GEMM_F32, LAM_GEMM_BF16, LAM_GEMM_WIDENED };
enum lam_gemm_format lam_gemm_format(enum lam_dtype dtype);

/* ---- packing B [k, n] ---- */

struct lam_gemm_operand {
    const void *src;
    enum lam_dtype dtype; /* f32 or bf16; converted to what the format multiplies */
    ptrdiff_t stride;
    bool columns_apart; /* false: src is [k, n]; true: src is [n, k], B its transpose */
};
size_t lam_gemm_packed_bytes(enum lam_gemm_format format, int64_t k, int64_t n);
/* n, up to whole vectors: a B packed for n columns may be used as one of so many, the rest being zeros. That
 * makes C of whole vectors, which is faster to write. */
int64_t lam_gemm_whole_columns(enum lam_gemm_format format, int64_t n);
/* The panels are divided into `parts`; this call packs those of `part`. `packed` is 64-byte aligned. */
void lam_gemm_pack(enum lam_gemm_format format, const struct lam_gemm_operand *b, int64_t k, int64_t n,
                   void *packed, int part, int parts);

/* ---- products ---- */

struct lam_gemm {
    enum lam_gemm_format format;
    int64_t m, n, k;
    const void *a;
    ptrdiff_t a_stride;
    const void *b;
    ptrdiff_t b_stride; /* lam_gemm_transposed only */
    void *c;
    ptrdiff_t c_stride;
    enum lam_dtype c_dtype; /* f32 or bf16 */
    const float *bias;      /* [n] or NULL; not together with accumulate */
    bool accumulate;        /* f32 only: C += instead of C = */
    void *scratch;          /* the bytes below for this or a larger m and k, 64-byte aligned, undefined */
};

/* C [m, n] = A [m, k] B + bias, with B packed. */
void lam_gemm(const struct lam_gemm *g);
size_t lam_gemm_scratch_bytes(enum lam_gemm_format format, int64_t m, int64_t k);

/* C [m, n] = A^T B with A [k, m] and B [k, n] as they are, neither packed. */
void lam_gemm_transposed(const struct lam_gemm *g);
size_t lam_gemm_transposed_scratch_bytes(enum lam_gemm_format format, int64_t m, int64_t n, int64_t k,
                                         enum lam_dtype c_dtype);

/* sum[j] = (accumulate ? sum[j] : 0) + sum over i of src[i][j], [rows, columns]. */
void lam_gemm_column_sums(int64_t rows, int64_t columns, const void *src, enum lam_dtype dtype,
                          ptrdiff_t stride, float *sum, bool accumulate);

/* to[i][j] = from[i][j], bf16 to f32, [rows, columns]. */
void lam_gemm_widen(int64_t rows, int64_t columns, const uint16_t *from, ptrdiff_t from_stride, float *to,
                    ptrdiff_t to_stride);

#endif
