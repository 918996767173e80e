/* Vector loops behind elementwise.c. */
#ifndef LAM_CPU_ELEMENTWISE_ISA_H
#define LAM_CPU_ELEMENTWISE_ISA_H

#include "cpu/simd_type.h"

/* out[i] = f(a[i], b[i]) for i < count; one-operand functions ignore b; `factor` is for scale. */
typedef void (*lam_elementwise_fn)(const void *a, const void *b, void *out, int64_t count, float factor);

/* dx[i] = dy[i] + z[i] where y[i] > 0, else 0 */
typedef void (*lam_masked_sum_fn)(const void *dy, const void *z, const void *y, void *dx, int64_t count);

struct lam_elementwise_kernels {
    lam_elementwise_fn relu[LAM_SIMD_TYPES], relu_bwd[LAM_SIMD_TYPES], gelu[LAM_SIMD_TYPES],
        gelu_bwd[LAM_SIMD_TYPES], sigmoid[LAM_SIMD_TYPES], sigmoid_bwd[LAM_SIMD_TYPES], add[LAM_SIMD_TYPES],
        scale[LAM_SIMD_TYPES];
    lam_masked_sum_fn relu_bwd_sum[LAM_SIMD_TYPES];
    lam_elementwise_fn add_f32[LAM_SIMD_TYPES];  /* a + b with b of f32, to a's type */
    lam_elementwise_fn sum_f32[LAM_SIMD_TYPES];  /* the same to f32 */
    lam_elementwise_fn to_f32;                   /* from bf16 */
    lam_elementwise_fn from_f32[LAM_SIMD_TYPES]; /* to bf16 */
    lam_elementwise_fn from_u8[LAM_SIMD_TYPES];  /* 0..255 to f32 or bf16 */
};
extern const struct lam_elementwise_kernels lam_elementwise_v3, lam_elementwise_v4;

#endif
