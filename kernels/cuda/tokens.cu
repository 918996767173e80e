/* Class token and positions in front of and on top of a sequence of patches, and the gradients.
 *
 * The gradient of the positions is the sum of dy over the batch, and that of the class token is its first row, so one
 * partial of [P + 1, D] serves both. */
#include "cuda/feature_helpers.h"
#include "cuda/operands.cuh"
#include "cuda/ops.h"

namespace {

enum { THREADS = 256 };

/* `width`: features of a token; `elements`: of a sample with its class token. */
template <typename T>
__global__ void tokens(const T *patches, const float *class_token, const float *positions, T *y, int samples,
                       int64_t elements, int width) {
    for (int64_t e = first_index(); e < elements; e += index_step()) {
        const float position = positions[e], first = e < width ? class_token[e] : 0;
        for (int64_t n = blockIdx.y; n < samples; n += gridDim.y) {
            float x = e < width ? first : load(patches + n * (elements - width) + e - width);
            store(y + n * elements + e, x + position);
        }
    }
}

template <typename T>
__global__ void tokens_bwd_patches(const T *dy, T *dpatches, int samples, int64_t elements, int width) {
    for (int64_t e = first_index(); e < elements - width; e += index_step())
        for (int64_t n = blockIdx.y; n < samples; n += gridDim.y)
            dpatches[n * (elements - width) + e] = dy[n * elements + width + e];
}

/* The operand with P + 1 tokens. */
const struct lam_operand *whole(const struct lam_op *op) {
    return op->kind == LAM_OP_TOKENS ? &op->out[0] : &op->in[0];
}
int width_of(const struct lam_op *op) {
    return (int)whole(op)->desc.shape.dim[2];
}

void forward_run(const struct lam_kernel *kernel, const struct lam_kernel_args *args) {
    const int64_t elements = lam_cuda_sample(&whole(&kernel->op)->desc);
    with_float_type(whole(&kernel->op)->desc.dtype, [&](auto *type) {
        using T = std::remove_pointer_t<decltype(type)>;
        lam_launch(args->stream, "tokens", tokens<T>,
                   sample_grid(args->stream, elements, args->count, THREADS), THREADS, 0,
                   (const T *)args->in[0], (const float *)args->in[1], (const float *)args->in[2],
                   (T *)args->out[0], args->count, elements, width_of(&kernel->op));
    });
}

void backward_run(const struct lam_kernel *kernel, const struct lam_kernel_args *args) {
    const struct lam_operand *dy = whole(&kernel->op);
    const int64_t elements = lam_cuda_sample(&dy->desc);
    lam_cuda_column_sums(args->in[0], dy->desc.dtype, args->count, elements, (float *)args->partial,
                         args->accumulate, args->workspace, args->stream);
    if (!kernel->op.out[0].present) return;
    with_float_type(dy->desc.dtype, [&](auto *type) {
        using T = std::remove_pointer_t<decltype(type)>;
        lam_launch(args->stream, "tokens_bwd", tokens_bwd_patches<T>,
                   sample_grid(args->stream, elements, args->count, THREADS), THREADS, 0,
                   (const T *)args->in[0], (T *)args->out[0], args->count, elements, width_of(&kernel->op));
    });
}

void backward_reduce(const struct lam_kernel *kernel, void *const *partials, int, void *const *out, int, int,
                     struct lam_stream *stream) {
    for (int o = 1; o < 3; o++) {
        const int64_t count = lam_shape_count(kernel->op.out[o].desc.shape);
        if (out[o]) lam_cuda_transpose(stream, partials[0], LAM_F32, out[o], LAM_F32, 1, 1, count);
    }
}

lam_status make(const struct lam_op *op, struct lam_kernel **kernel) {
    const struct lam_operand *w = whole(op);
    if (w->desc.shape.rank != 3 || !w->batched || !is_float(*w))
        return feature_op_unsupported(op, "tokens are batched and f32 or bf16 of rank 3");
    simple_kernel *made = nullptr;
    LAM_TRY(feature_op_new(op, &made));
    *kernel = &made->base;
    (*kernel)->run = op->kind == LAM_OP_TOKENS ? forward_run : backward_run;
    return LAM_OK;
}

} // namespace

LAM_CUDA_CREATE(lam_cuda_tokens_create, make)

lam_status lam_cuda_tokens_bwd_create(struct lam_backend_device *device, const struct lam_op *op,
                                      const struct lam_kernel_options *options, struct lam_kernel **kernel,
                                      const char **) {
    LAM_TRY(make(op, kernel));
    const int64_t elements = lam_cuda_sample(&op->in[0].desc);
    (*kernel)->workspace_bytes = lam_cuda_column_sums_workspace(device, options->slices[0], elements);
    (*kernel)->partial_bytes = (size_t)elements * sizeof(float);
    (*kernel)->reduce = backward_reduce;
    return LAM_OK;
}
