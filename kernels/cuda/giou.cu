/* Generalised IoU loss and its gradient (giou.h). In doubles: only the rows of anchors that are to find something have a
 * weight, a few of thousands; the rest are skipped. */
#include "cuda/loss_sums.cuh"
#include "cuda/operands.cuh"
#include "cuda/ops.h"

#define LAM_GIOU_CODE __device__ inline
#include "giou.h"

namespace {

/* Axis i of a row. */
template <typename T>
__device__ lam_giou_axis row_axis(const T *deltas, const float *anchor, const float *target, int i) {
    return lam_giou_axis_of(anchor + i, target + i, (double)load(deltas + i), (double)load(deltas + 2 + i));
}

template <typename T>
__global__ void giou(const T *deltas, const float *anchors, const float *target, const float *weight,
                     double *sums, int64_t rows, int anchor_count) {
    double sum = 0;
    for (int64_t r = first_index(); r < rows; r += index_step()) {
        if (weight[r] == 0) continue;
        const float *anchor = anchors + r % anchor_count * 4;
        lam_giou_axis x = row_axis(deltas + r * 4, anchor, target + r * 4, 0);
        lam_giou_axis y = row_axis(deltas + r * 4, anchor, target + r * 4, 1);
        lam_giou_areas a = lam_giou_areas_of(&x, &y);
        sum += (double)weight[r] * lam_giou_loss_of(&a);
    }
    loss_sum_leave(sums, 0, sum, shared_memory<double>());
}

template <typename T>
__global__ void giou_bwd(const T *deltas, const float *anchors, const float *target, const float *weight,
                         T *ddeltas, int64_t rows, int anchor_count, float scale) {
    for (int64_t r = first_index(); r < rows; r += index_step()) {
        double slope[4] = {0, 0, 0, 0}, factor = (double)weight[r] * (double)scale;
        if (weight[r] != 0) {
            const float *anchor = anchors + r % anchor_count * 4;
            lam_giou_axis x = row_axis(deltas + r * 4, anchor, target + r * 4, 0);
            lam_giou_axis y = row_axis(deltas + r * 4, anchor, target + r * 4, 1);
            lam_giou_areas a = lam_giou_areas_of(&x, &y);
            lam_giou_slopes_of(&a, &x, &y, &slope[0], &slope[2]);
            lam_giou_slopes_of(&a, &y, &x, &slope[1], &slope[3]);
        }
        for (int i = 0; i < 4; i++) store(ddeltas + r * 4 + i, (float)(factor * slope[i]));
    }
}

/* Rows of `classes` numbers (op.h, IOU_TARGETS). */
template <typename T>
__global__ void iou_targets(const int32_t *label, const T *deltas, const float *anchors, const float *target,
                            const float *weight, float *y, int64_t rows, int anchor_count, int classes) {
    for (int64_t r = first_index(); r < rows; r += index_step()) {
        const int32_t here = label[r];
        const bool ignored = here < -1 || here >= classes;
        float share = 0;
        if (!ignored && here >= 0 && weight[r] != 0) {
            const float *anchor = anchors + r % anchor_count * 4;
            lam_giou_axis x_axis = row_axis(deltas + r * 4, anchor, target + r * 4, 0);
            lam_giou_axis y_axis = row_axis(deltas + r * 4, anchor, target + r * 4, 1);
            lam_giou_areas a = lam_giou_areas_of(&x_axis, &y_axis);
            share = (float)lam_iou_of(&a);
        }
        for (int k = 0; k < classes; k++) y[r * classes + k] = ignored ? -1.0f : k == here ? share : 0.0f;
    }
}

/* ---- kernels ---- */

int anchors_of(const struct lam_kernel *kernel) {
    return (int)kernel->op.in[0].desc.shape.dim[1];
}

void forward_run(const struct lam_kernel *kernel, const struct lam_kernel_args *args) {
    const int64_t rows = (int64_t)anchors_of(kernel) * args->count;
    const int64_t blocks = std::clamp<int64_t>((rows + LOSS_THREADS - 1) / LOSS_THREADS, 1, LOSS_BLOCKS);
    with_float_type(kernel->op.in[0].desc.dtype, [&](auto *type) {
        using T = std::remove_pointer_t<decltype(type)>;
        lam_launch(args->stream, "giou", giou<T>, (unsigned)blocks, LOSS_THREADS, WARP * sizeof(double),
                   (const T *)args->in[0], (const float *)args->in[1], (const float *)args->in[2],
                   (const float *)args->in[3], (double *)args->workspace, rows, anchors_of(kernel));
    });
    loss_sums_fold(kernel, args, (int)blocks, kernel->op.attr.loss.scale);
}

void backward_run(const struct lam_kernel *kernel, const struct lam_kernel_args *args) {
    const int64_t rows = (int64_t)anchors_of(kernel) * args->count;
    with_float_type(kernel->op.in[0].desc.dtype, [&](auto *type) {
        using T = std::remove_pointer_t<decltype(type)>;
        lam_launch(args->stream, "giou_bwd", giou_bwd<T>, lam_grid(args->stream, rows, LOSS_THREADS),
                   LOSS_THREADS, 0, (const T *)args->in[0], (const float *)args->in[1],
                   (const float *)args->in[2], (const float *)args->in[3], (T *)args->out[0], rows,
                   anchors_of(kernel), kernel->op.attr.loss.scale);
    });
}

void targets_run(const struct lam_kernel *kernel, const struct lam_kernel_args *args) {
    const struct lam_shape *y = &kernel->op.out[0].desc.shape;
    const int64_t rows = y->dim[1] * args->count;
    with_float_type(kernel->op.in[1].desc.dtype, [&](auto *type) {
        using T = std::remove_pointer_t<decltype(type)>;
        lam_launch(args->stream, "iou_targets", iou_targets<T>, lam_grid(args->stream, rows, LOSS_THREADS),
                   LOSS_THREADS, 0, (const int32_t *)args->in[0], (const T *)args->in[1],
                   (const float *)args->in[2], (const float *)args->in[3], (const float *)args->in[4],
                   (float *)args->out[0], rows, (int)y->dim[1], (int)y->dim[2]);
    });
}

/* Operands from `first` on. */
bool fits(const struct lam_op *op, int first) {
    const struct lam_operand *in = op->in + first;
    const struct lam_shape *x = &in[0].desc.shape;
    if (op->inputs != first + 4 || !in[0].batched || x->rank != 3 || x->dim[2] != 4 || !is_float(in[0]))
        return false;
    for (int i = 1; i < 4; i++)
        if (!in[i].present || in[i].desc.dtype != LAM_F32) return false;
    const struct lam_shape anchors = {2, {x->dim[1], 4}}, weight = {2, {x->dim[0], x->dim[1]}};
    return lam_shape_equal(in[1].desc.shape, anchors) && !in[1].batched &&
           lam_shape_equal(in[2].desc.shape, *x) && lam_shape_equal(in[3].desc.shape, weight);
}

lam_status create(const struct lam_op *op, struct lam_kernel **kernel) {
    const bool backward = op->kind == LAM_OP_GIOU_BWD;
    if (!fits(op, 0) || (backward && op->out[0].desc.dtype != op->in[0].desc.dtype))
        return feature_op_unsupported(
            op, "takes deltas [N, A, 4], anchors [A, 4], target [N, A, 4], weight [N, A]");
    simple_kernel *made = nullptr;
    LAM_TRY(feature_op_new(op, &made));
    *kernel = &made->base;
    (*kernel)->run = backward ? backward_run : forward_run;
    if (!backward) loss_sums_declare(*kernel);
    return LAM_OK;
}

lam_status targets_create(const struct lam_op *op, struct lam_kernel **kernel) {
    const struct lam_operand &label = op->in[0], &y = op->out[0];
    const bool good = fits(op, 1) && label.desc.dtype == LAM_I32 && y.desc.dtype == LAM_F32 &&
                      lam_shape_equal(label.desc.shape, op->in[4].desc.shape) && y.desc.shape.rank == 3 &&
                      y.desc.shape.dim[0] == label.desc.shape.dim[0] &&
                      y.desc.shape.dim[1] == label.desc.shape.dim[1];
    if (!good)
        return feature_op_unsupported(
            op, "takes labels [N, A], deltas [N, A, 4], anchors [A, 4], target [N, A, 4], "
                "weight [N, A], and makes [N, A, K]");
    simple_kernel *made = nullptr;
    LAM_TRY(feature_op_new(op, &made));
    *kernel = &made->base;
    (*kernel)->run = targets_run;
    return LAM_OK;
}

} // namespace

LAM_CUDA_CREATE(lam_cuda_giou_create, create)
LAM_CUDA_CREATE(lam_cuda_giou_bwd_create, create)
LAM_CUDA_CREATE(lam_cuda_iou_targets_create, targets_create)
