/* The sums of losses: each block of a kernel leaves a double for each output in the workspace, and these are added up in their
 * order. The partial is a double for each output, too. */
#ifndef LAM_CUDA_LOSS_SUMS_CUH
#define LAM_CUDA_LOSS_SUMS_CUH

#include "cuda/launch.cuh"

enum { LOSS_BLOCKS = 1024 /* at most, of a grid */, LOSS_THREADS = 256 };

/* Sets partial_bytes, workspace_bytes and reduce. */
void loss_sums_declare(struct lam_kernel *kernel);

/* Adds the sums of `blocks` blocks, the first output's times `scale`, to the partial, or begins it with them. */
void loss_sums_fold(const struct lam_kernel *kernel, const struct lam_kernel_args *args, int blocks,
                    float scale);

/* One thread of each block writes what the block found; `room` as in block_sum. */
__device__ inline void loss_sum_leave(double *sums, int output, double sum, double *room) {
    sum = block_sum(sum, room);
    if (threadIdx.x == 0) sums[output * LOSS_BLOCKS + (int)(blockIdx.y * gridDim.x + blockIdx.x)] = sum;
}

#endif
