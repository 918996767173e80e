/* An image times a number for each channel, and the gradients. The loops stand in channel_scale_isa.c. */
#include "cpu/channel_scale_isa.h"

#include "cpu/layout_adapter.h"
#include "cpu/ops.h"

struct channel_scale_kernel {
    struct lam_kernel base;
    struct lam_channel_scale_slice slice; /* what all slices have in common */
    lam_channel_scale_fn loop;
};

static void channel_scale_run(const struct lam_kernel *kernel, const struct lam_kernel_args *args) {
    const struct channel_scale_kernel *scale = (const struct channel_scale_kernel *)kernel;
    const bool backward = kernel->op.kind == LAM_OP_CHANNEL_SCALE_BWD;
    struct lam_channel_scale_slice slice = scale->slice;
    slice.samples = args->count;
    slice.x = args->in[backward ? 1 : 0];
    slice.s = args->in[backward ? 2 : 1];
    slice.dy = backward ? args->in[0] : NULL;
    slice.y = args->out[0];
    slice.ds = backward ? args->out[1] : NULL;
    scale->loop(&slice);
}

static bool fits(const struct lam_op *op, const struct lam_tensor_desc *x, const struct lam_tensor_desc *s) {
    if (x->shape.rank != 4 || (x->dtype != LAM_F32 && x->dtype != LAM_BF16) || x->layout == LAM_NHWC)
        return false;
    for (int i = 0; i < op->inputs + op->outputs; i++) {
        const struct lam_operand *operand = i < op->inputs ? &op->in[i] : &op->out[i - op->inputs];
        if (operand->present && operand->desc.dtype != x->dtype) return false;
    }
    return lam_shape_equal(s->shape, LAM_SHAPE(x->shape.dim[0], x->shape.dim[1]));
}

static lam_status create(const struct lam_op *op, const struct lam_kernel_options *options,
                         lam_cpu_create_fn self, struct lam_kernel **kernel, const char **chosen) {
    enum lam_layout layout;
    if (!lam_cpu_same_layout(op, &layout)) return lam_cpu_adapt(op, options, layout, self, kernel, chosen);
    const bool backward = op->kind == LAM_OP_CHANNEL_SCALE_BWD;
    const struct lam_tensor_desc *x = &op->in[backward ? 1 : 0].desc, *s = &op->in[backward ? 2 : 1].desc;
    if (!fits(op, x, s))
        return lam_cpu_unsupported(op, "takes x [N, C, H, W] and s [N, C], all f32 or all bf16");
    LAM_TRY(lam_cpu_kernel_new(sizeof(struct channel_scale_kernel), op, kernel));
    struct channel_scale_kernel *scale = (struct channel_scale_kernel *)*kernel;
    const int block = lam_layout_block(layout);
    scale->slice = (struct lam_channel_scale_slice){
        .groups = (x->shape.dim[1] + block - 1) / block,
        .channels = x->shape.dim[1],
        .pixels = x->shape.dim[2] * x->shape.dim[3],
        .block = block,
    };
    const struct lam_channel_scale_kernels *loops = LAM_ISA_PICK(lam_channel_scale);
    scale->loop = (backward ? loops->backward : loops->forward)[lam_cpu_simd_type(x->dtype)];
    scale->base.run = channel_scale_run;
    return LAM_OK;
}

lam_status lam_cpu_channel_scale_create(const struct lam_op *op, const struct lam_kernel_options *options,
                                        struct lam_kernel **kernel, const char **chosen) {
    return create(op, options, lam_cpu_channel_scale_create, kernel, chosen);
}

lam_status lam_cpu_channel_scale_bwd_create(const struct lam_op *op, const struct lam_kernel_options *options,
                                            struct lam_kernel **kernel, const char **chosen) {
    return create(op, options, lam_cpu_channel_scale_bwd_create, kernel, chosen);
}
