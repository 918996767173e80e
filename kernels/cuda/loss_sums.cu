/* loss_sums.cuh: the second half of the sums. */
#include "cuda/loss_sums.cuh"

namespace {

/* A block for each output. */
__global__ void fold(const double *sums, double *partial, int blocks, float scale, bool accumulate) {
    const int output = (int)blockIdx.x;
    double sum = 0;
    for (int i = (int)threadIdx.x; i < blocks; i += (int)blockDim.x) sum += sums[output * LOSS_BLOCKS + i];
    sum = block_sum(sum, shared_memory<double>());
    if (threadIdx.x != 0) return;
    if (output == 0) sum *= (double)scale;
    partial[output] = accumulate ? partial[output] + sum : sum;
}

__global__ void narrow(const double *sum, float *out) {
    *out = (float)*sum;
}

void reduce(const struct lam_kernel *kernel, void *const *partials, int, void *const *out, int, int,
            struct lam_stream *stream) {
    for (int o = 0; o < kernel->op.outputs; o++)
        if (out[o])
            lam_launch(stream, "loss_reduce", narrow, 1, 1, 0, (const double *)partials[0] + o,
                       (float *)out[o]);
}

} // namespace

void loss_sums_declare(struct lam_kernel *kernel) {
    const size_t outputs = (size_t)kernel->op.outputs;
    kernel->partial_bytes = outputs * sizeof(double);
    kernel->workspace_bytes = outputs * LOSS_BLOCKS * sizeof(double);
    kernel->reduce = reduce;
}

void loss_sums_fold(const struct lam_kernel *kernel, const struct lam_kernel_args *args, int blocks,
                    float scale) {
    lam_launch(args->stream, "loss_fold", fold, kernel->op.outputs, LOSS_THREADS, WARP * sizeof(double),
               (const double *)args->workspace, (double *)args->partial, blocks, scale, args->accumulate);
}
