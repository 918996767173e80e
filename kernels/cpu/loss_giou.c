/* Generalised IoU loss and its gradient (giou.h). In doubles: only the rows of anchors that are to find something have a
 * weight, a few of thousands; the rest are skipped. */
#include "giou.h"

#include <string.h>

#include "cpu/layout_adapter.h"
#include "cpu/ops.h"

static double number(const void *base, int64_t i, enum lam_dtype dtype) {
    return (double)(dtype == LAM_F32 ? ((const float *)base)[i]
                                     : lam_bf16_to_f32(((const uint16_t *)base)[i]));
}

/* Deltas, anchors and targets are operands `first` and the two behind it. */
static struct lam_giou_areas read_row(const struct lam_kernel *kernel, const struct lam_kernel_args *args,
                                      int first, int64_t row, struct lam_giou_axis axis[2]) {
    const struct lam_shape *shape = &kernel->op.in[first].desc.shape;
    const float *anchor = (const float *)args->in[first + 1] + row % shape->dim[1] * 4;
    const float *target = (const float *)args->in[first + 2] + row * 4;
    const enum lam_dtype dtype = kernel->op.in[first].desc.dtype;
    for (int i = 0; i < 2; i++)
        axis[i] = lam_giou_axis_of(anchor + i, target + i, number(args->in[first], row * 4 + i, dtype),
                                   number(args->in[first], row * 4 + 2 + i, dtype));
    return lam_giou_areas_of(&axis[0], &axis[1]);
}

static void giou_run(const struct lam_kernel *kernel, const struct lam_kernel_args *args) {
    const int64_t rows = kernel->op.in[0].desc.shape.dim[1] * args->count;
    const float *weight = args->in[3];
    double *partial = args->partial, sum = 0;
    for (int64_t r = 0; r < rows; r++) {
        struct lam_giou_axis axis[2];
        if (weight[r] == 0) continue;
        struct lam_giou_areas areas = read_row(kernel, args, 0, r, axis);
        sum += (double)weight[r] * lam_giou_loss_of(&areas);
    }
    partial[0] = (args->accumulate ? partial[0] : 0) + sum * (double)kernel->op.attr.loss.scale;
}

static void giou_bwd_run(const struct lam_kernel *kernel, const struct lam_kernel_args *args) {
    const int64_t rows = kernel->op.in[0].desc.shape.dim[1] * args->count;
    const enum lam_dtype dtype = kernel->op.out[0].desc.dtype;
    const float *weight = args->in[3];
    memset(args->out[0], 0, (size_t)rows * 4 * lam_dtype_bytes(dtype));
    for (int64_t r = 0; r < rows; r++) {
        struct lam_giou_axis axis[2];
        if (weight[r] == 0) continue;
        struct lam_giou_areas areas = read_row(kernel, args, 0, r, axis);
        double slope[4], scale = (double)weight[r] * (double)kernel->op.attr.loss.scale;
        for (int i = 0; i < 2; i++)
            lam_giou_slopes_of(&areas, &axis[i], &axis[1 - i], &slope[i], &slope[2 + i]);
        for (int i = 0; i < 4; i++) {
            float d = (float)(scale * slope[i]);
            if (dtype == LAM_F32)
                ((float *)args->out[0])[r * 4 + i] = d;
            else
                ((uint16_t *)args->out[0])[r * 4 + i] = lam_f32_to_bf16(d);
        }
    }
}

/* Like GIOU's, with a label of each row in front of the operands. */
static void iou_targets_run(const struct lam_kernel *kernel, const struct lam_kernel_args *args) {
    const struct lam_shape *shape = &kernel->op.out[0].desc.shape;
    const int64_t rows = shape->dim[1] * args->count, classes = shape->dim[2];
    const int32_t *label = args->in[0];
    const float *weight = args->in[4];
    float *y = args->out[0];
    for (int64_t r = 0; r < rows; r++, y += classes) {
        struct lam_giou_axis axis[2];
        const bool ignored = label[r] < -1 || label[r] >= classes;
        for (int64_t k = 0; k < classes; k++) y[k] = ignored ? -1 : 0;
        if (ignored || label[r] < 0 || weight[r] == 0) continue;
        struct lam_giou_areas areas = read_row(kernel, args, 1, r, axis);
        y[label[r]] = (float)lam_iou_of(&areas);
    }
}

/* Operands from `first` on. */
static bool giou_fits(const struct lam_op *op, int first) {
    const struct lam_operand *in = op->in + first;
    const struct lam_tensor_desc *x = &in[0].desc;
    if (op->inputs != first + 4 || x->shape.rank != 3 || x->shape.dim[2] != 4) return false;
    if (x->dtype != LAM_F32 && x->dtype != LAM_BF16) return false;
    for (int i = 1; i < 4; i++)
        if (!in[i].present || in[i].desc.dtype != LAM_F32) return false;
    return lam_shape_equal(in[1].desc.shape, LAM_SHAPE(x->shape.dim[1], 4)) && !in[1].batched &&
           lam_shape_equal(in[2].desc.shape, x->shape) &&
           lam_shape_equal(in[3].desc.shape, LAM_SHAPE(x->shape.dim[0], x->shape.dim[1]));
}

lam_status lam_cpu_giou_create(const struct lam_op *op, const struct lam_kernel_options *options,
                               struct lam_kernel **kernel, const char **chosen) {
    (void)options, (void)chosen;
    if (!giou_fits(op, 0))
        return lam_cpu_unsupported(op,
                                   "takes deltas [N, A, 4], anchors [A, 4], target [N, A, 4], weight [N, A]");
    LAM_TRY(lam_cpu_kernel_new(sizeof(struct lam_kernel), op, kernel));
    (*kernel)->partial_bytes = sizeof(double);
    (*kernel)->run = giou_run;
    (*kernel)->reduce = lam_cpu_reduce_doubles;
    return LAM_OK;
}

lam_status lam_cpu_giou_bwd_create(const struct lam_op *op, const struct lam_kernel_options *options,
                                   struct lam_kernel **kernel, const char **chosen) {
    (void)options, (void)chosen;
    if (!giou_fits(op, 0) || op->out[0].desc.dtype != op->in[0].desc.dtype)
        return lam_cpu_unsupported(op,
                                   "takes deltas [N, A, 4], anchors [A, 4], target [N, A, 4], weight [N, A]");
    LAM_TRY(lam_cpu_kernel_new(sizeof(struct lam_kernel), op, kernel));
    (*kernel)->run = giou_bwd_run;
    return LAM_OK;
}

lam_status lam_cpu_iou_targets_create(const struct lam_op *op, const struct lam_kernel_options *options,
                                      struct lam_kernel **kernel, const char **chosen) {
    (void)options, (void)chosen;
    const struct lam_shape *y = &op->out[0].desc.shape, *x = &op->in[1].desc.shape;
    if (!giou_fits(op, 1) || op->in[0].desc.dtype != LAM_I32 || op->out[0].desc.dtype != LAM_F32 ||
        !lam_shape_equal(op->in[0].desc.shape, LAM_SHAPE(x->dim[0], x->dim[1])) || y->rank != 3 ||
        y->dim[0] != x->dim[0] || y->dim[1] != x->dim[1])
        return lam_cpu_unsupported(op,
                                   "takes labels [N, A], deltas [N, A, 4], anchors [A, 4], target [N, A, 4], "
                                   "weight [N, A], and makes [N, A, K]");
    LAM_TRY(lam_cpu_kernel_new(sizeof(struct lam_kernel), op, kernel));
    (*kernel)->run = iou_targets_run;
    return LAM_OK;
}
