/* Layer norm over the last dimension, and its gradients. The loops stand in layer_norm_isa.c. */
#include <string.h>

#include "cpu/layer_norm_isa.h"
#include "cpu/layout_adapter.h"
#include "cpu/ops.h"

struct ln_kernel {
    struct lam_kernel base;
    int64_t features, rows; /* rows of one sample */
    lam_ln_fn loop;
};

static const struct ln_kernel *of(const struct lam_kernel *kernel) {
    return (const struct ln_kernel *)kernel;
}

static lam_status ln_kernel_new(const struct lam_op *op, int x, struct ln_kernel **kernel) {
    const struct lam_tensor_desc *desc = &op->in[x].desc;
    if (desc->shape.rank < 2 || (desc->dtype != LAM_F32 && desc->dtype != LAM_BF16))
        return lam_cpu_unsupported(op, "layer norm takes f32 or bf16 of rank 2 or more");
    struct lam_kernel *made = NULL;
    LAM_TRY(lam_cpu_kernel_new(sizeof(struct ln_kernel), op, &made));
    struct ln_kernel *ln = (struct ln_kernel *)made;
    ln->features = desc->shape.dim[desc->shape.rank - 1];
    ln->rows = lam_cpu_sample_elements(&op->in[x]) / ln->features;
    *kernel = ln;
    return LAM_OK;
}

static void forward_run(const struct lam_kernel *kernel, const struct lam_kernel_args *args) {
    const struct ln_kernel *ln = of(kernel);
    ln->loop(&(struct lam_ln_slice){
        .x = args->in[0],
        .gamma = args->in[1],
        .beta = args->in[2],
        .out = args->out[0],
        .mean = args->out[1],
        .inv_std = args->out[2],
        .rows = ln->rows * args->count,
        .features = ln->features,
        .eps = kernel->op.attr.bn.eps,
    });
}

lam_status lam_cpu_layer_norm_create(const struct lam_op *op, const struct lam_kernel_options *options,
                                     struct lam_kernel **kernel, const char **chosen) {
    if (lam_cpu_any_blocked(op))
        return lam_cpu_adapt(op, options, LAM_PLAIN, lam_cpu_layer_norm_create, kernel, chosen);
    struct ln_kernel *ln = NULL;
    LAM_TRY(ln_kernel_new(op, 0, &ln));
    ln->loop = LAM_ISA_PICK(lam_ln)->forward[lam_cpu_simd_type(op->in[0].desc.dtype)];
    ln->base.run = forward_run;
    *kernel = &ln->base;
    return LAM_OK;
}

/* A slice is summed in the workspace first, then added to the lane's partial: sums of sums lose less. */
static void backward_run(const struct lam_kernel *kernel, const struct lam_kernel_args *args) {
    const struct ln_kernel *ln = of(kernel);
    float *sums = args->workspace, *partial = args->partial;
    memset(sums, 0, kernel->partial_bytes);
    ln->loop(&(struct lam_ln_slice){
        .dy = args->in[0],
        .x = args->in[1],
        .mean = (float *)(uintptr_t)args->in[2], /* only read */
        .inv_std = (float *)(uintptr_t)args->in[3],
        .gamma = args->in[4],
        .out = kernel->op.out[0].present ? args->out[0] : NULL,
        .rows = ln->rows * args->count,
        .features = ln->features,
        .dgamma_sum = sums,
        .dbeta_sum = sums + ln->features,
    });
    if (!args->accumulate)
        memcpy(partial, sums, kernel->partial_bytes);
    else
        for (int64_t i = 0; i < 2 * ln->features; i++) partial[i] += sums[i];
}

static void backward_reduce(const struct lam_kernel *kernel, void *const *partials, int partial_count,
                            void *const *out, int part, int parts, struct lam_stream *stream) {
    (void)stream;
    const int64_t features = of(kernel)->features;
    int64_t begin, end;
    lam_part(features, part, parts, &begin, &end);
    for (int which = 0; which < 2; which++) {
        float *sum = out[1 + which];
        if (!sum) continue;
        for (int64_t i = begin; i < end; i++) {
            double total = 0;
            for (int p = 0; p < partial_count; p++)
                total += (double)((const float *)partials[p])[which * features + i];
            sum[i] = (float)total;
        }
    }
}

lam_status lam_cpu_layer_norm_bwd_create(const struct lam_op *op, const struct lam_kernel_options *options,
                                         struct lam_kernel **kernel, const char **chosen) {
    if (lam_cpu_any_blocked(op))
        return lam_cpu_adapt(op, options, LAM_PLAIN, lam_cpu_layer_norm_bwd_create, kernel, chosen);
    struct ln_kernel *ln = NULL;
    LAM_TRY(ln_kernel_new(op, 1, &ln));
    ln->loop = LAM_ISA_PICK(lam_ln)->backward[lam_cpu_simd_type(op->in[1].desc.dtype)];
    ln->base.partial_bytes = (size_t)(2 * ln->features) * sizeof(float);
    ln->base.workspace_bytes = ln->base.partial_bytes;
    ln->base.run = backward_run;
    ln->base.reduce = backward_reduce;
    *kernel = &ln->base;
    return LAM_OK;
}
