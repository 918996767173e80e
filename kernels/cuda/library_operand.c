#include "cuda/library_operand.h"

#include "cuda/feature_helpers.h"

/* [N,C,H,W] and [N,H,W,C] are the same bytes where there is but one channel, or one pixel. */
static bool order_matters(const struct lam_tensor_desc *desc) {
    const int64_t *d = desc->shape.dim;
    return desc->shape.rank == 4 && d[1] > 1 && d[2] * d[3] > 1;
}

size_t lam_library_operand(struct lam_library_operand *operand, const struct lam_operand *of,
                           enum lam_layout layout, size_t alignment, const struct lam_kernel_options *options,
                           size_t offset) {
    int64_t batch = of->batched ? of->desc.shape.dim[0] : 1, most = of->batched ? options->slices[0] : 1;
    *operand = (struct lam_library_operand){.desc = of->desc, .alignment = alignment, .offset = offset};
    operand->sample_bytes = lam_tensor_bytes(&of->desc) / (size_t)batch;
    operand->other_order = order_matters(&of->desc) && of->desc.layout != layout;
    bool misaligned = most < batch && operand->sample_bytes % alignment != 0;
    operand->has_room = operand->other_order || misaligned;
    return operand->has_room ? lam_library_align((size_t)most * operand->sample_bytes) : 0;
}

static bool passes_workspace(const struct lam_library_operand *operand, const void *data) {
    return operand->has_room && (operand->other_order || (uintptr_t)data % operand->alignment != 0);
}

/* The same slice at another place, in the other order if that is wanted. */
static void move(const struct lam_library_operand *operand, const void *from, void *to, bool to_nhwc,
                 const struct lam_kernel_args *args) {
    const struct lam_tensor_desc *desc = &operand->desc;
    const int64_t *d = desc->shape.dim;
    if (!operand->other_order)
        lam_cuda_check(args->stream,
                       cudaMemcpyAsync(to, from, (size_t)args->count * operand->sample_bytes,
                                       cudaMemcpyDeviceToDevice, args->stream->stream),
                       "aligning an operand");
    else if (to_nhwc)
        lam_cuda_to_nhwc(from, to, desc->dtype, args->count, (int)d[1], (int)d[2], (int)d[3], args->stream);
    else
        lam_cuda_to_nchw(from, to, desc->dtype, args->count, (int)d[1], (int)d[2], (int)d[3], args->stream);
}

static void *room(const struct lam_library_operand *operand, const struct lam_kernel_args *args) {
    return (char *)args->workspace + operand->offset;
}

const void *lam_library_in(const struct lam_library_operand *operand, const void *data,
                           const struct lam_kernel_args *args) {
    if (!passes_workspace(operand, data)) return data;
    move(operand, data, room(operand, args), operand->desc.layout != LAM_NHWC, args);
    return room(operand, args);
}

void *lam_library_out(const struct lam_library_operand *operand, void *data,
                      const struct lam_kernel_args *args) {
    return passes_workspace(operand, data) ? room(operand, args) : data;
}

void lam_library_done(const struct lam_library_operand *operand, void *data,
                      const struct lam_kernel_args *args) {
    if (passes_workspace(operand, data))
        move(operand, room(operand, args), data, operand->desc.layout == LAM_NHWC, args);
}
