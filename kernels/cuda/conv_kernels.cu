#include "cuda/conv_kernels.h"

#include "cuda/element_vectors.cuh"
#include "cuda/launch.cuh"

enum { THREADS = 256 };

template <typename T>
__global__ void conv_add(float *sum, const T *gradient, int64_t count, bool accumulate) {
    for (int64_t i = first_index(); i < count; i += index_step())
        sum[i] = accumulate ? sum[i] + load(gradient + i) : load(gradient + i);
}

template <typename T> __global__ void conv_relu(T *y, int64_t count) {
    for (int64_t i = first_index(); i < count; i += index_step()) store(y + i, rectified(load(y + i)));
}

void lam_cuda_conv_add(float *sum, const void *gradient, enum lam_dtype dtype, int64_t count, bool accumulate,
                       struct lam_stream *stream) {
    dim3 grid = lam_grid(stream, count, THREADS);
    if (dtype == LAM_BF16)
        lam_launch(stream, "conv_add", conv_add<bf16>, grid, THREADS, 0, sum, (const bf16 *)gradient, count,
                   accumulate);
    else
        lam_launch(stream, "conv_add", conv_add<float>, grid, THREADS, 0, sum, (const float *)gradient, count,
                   accumulate);
}

void lam_cuda_conv_relu(void *y, enum lam_dtype dtype, int64_t count, struct lam_stream *stream) {
    dim3 grid = lam_grid(stream, count, THREADS);
    if (dtype == LAM_BF16)
        lam_launch(stream, "conv_relu", conv_relu<bf16>, grid, THREADS, 0, (bf16 *)y, count);
    else
        lam_launch(stream, "conv_relu", conv_relu<float>, grid, THREADS, 0, (float *)y, count);
}
