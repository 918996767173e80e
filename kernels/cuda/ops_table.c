/* Which create function makes the kernel of each op. One line per op; the families stand in ops.h. */
#include "cuda/ops.h"

lam_cuda_create_fn lam_cuda_create_for(enum lam_op_kind kind) {
    switch (kind) {
#define LAM_CUDA_CASE(suffix, create)                                                                        \
    case LAM_OP_##suffix:                                                                                    \
        return create;
        LAM_CUDA_OPS(LAM_CUDA_CASE)
#undef LAM_CUDA_CASE
    default:
        return NULL;
    }
}

void lam_cuda_reduce_copy(const struct lam_kernel *kernel, void *const *partials, int partial_count,
                          void *const *out, int part, int parts, struct lam_stream *stream) {
    (void)partial_count, (void)part, (void)parts;
    const char *from = partials[0];
    for (int i = 0; i < kernel->op.outputs; i++) {
        if (!kernel->op.out[i].present || kernel->op.out[i].batched) continue;
        size_t bytes = lam_tensor_bytes(&kernel->op.out[i].desc);
        if (out[i] != from)
            lam_cuda_transpose(stream, from, LAM_F32, out[i], LAM_F32, 1, 1,
                               (int64_t)(bytes / sizeof(float)));
        from += bytes;
    }
}
