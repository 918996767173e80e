/* What convolutions need beside cuDNN. */
#ifndef LAM_CUDA_CONV_KERNELS_H
#define LAM_CUDA_CONV_KERNELS_H

#include "cuda/cuda_kernel.h"

#ifdef __cplusplus
extern "C" {
#endif

/* sum = gradient, or sum += gradient if `accumulate`; sum is f32, the gradient f32 or bf16. */
void lam_cuda_conv_add(float *sum, const void *gradient, enum lam_dtype dtype, int64_t count, bool accumulate,
                       struct lam_stream *stream);

/* y = max(y, 0), f32 or bf16. */
void lam_cuda_conv_relu(void *y, enum lam_dtype dtype, int64_t count, struct lam_stream *stream);

#ifdef __cplusplus
}
#endif

#endif
