/* Softmax rows, alone and inside attention, per instruction set. */
#ifndef LAM_CPU_SOFTMAX_ISA_H
#define LAM_CPU_SOFTMAX_ISA_H

#include "cpu/simd_type.h"

struct lam_softmax_kernels {
    /* y = softmax(x) and dx = y (dy - sum(dy y)), over rows of `columns` elements that stand close. */
    void (*forward)(int64_t rows, int64_t columns, const void *x, void *y, enum lam_simd_type type);
    void (*backward)(int64_t rows, int64_t columns, const void *dy, const void *y, void *dx,
                     enum lam_simd_type type);

    /* Attention, one head: rows of scores of T columns, `stride` apart in scores, p, dp and ds alike, with
     * room for whole vectors in each row; what stands behind column T is read and written, but means nothing.
     * probabilities: p = softmax(scale scores), lse = log sum exp of the scaled row. The scores are used up;
     * p may be scores. */
    void (*probabilities)(int64_t rows, int64_t columns, ptrdiff_t stride, float *scores, float scale,
                          void *p, enum lam_simd_type type, float *lse);
    /* The same p again from the saved lse. */
    void (*probabilities_again)(int64_t rows, int64_t columns, ptrdiff_t stride, const float *scores,
                                float scale, const float *lse, void *p, enum lam_simd_type type);
    /* ds = scale p (dp - d), d one number per row. ds may be dp. */
    void (*score_gradients)(int64_t rows, int64_t columns, ptrdiff_t stride, const void *p, const float *dp,
                            const float *d, float scale, void *ds, enum lam_simd_type type);
    /* out[i] = sum over j of a[i][j] b[i][j]; strides in elements, b's may be 0 */
    void (*row_dots)(int64_t rows, int64_t columns, const void *a, ptrdiff_t a_stride, const void *b,
                     ptrdiff_t b_stride, float *out, ptrdiff_t out_stride, enum lam_simd_type type);
};
extern const struct lam_softmax_kernels lam_softmax_v3, lam_softmax_v4;

#endif
