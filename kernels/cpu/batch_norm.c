/* Batch norm: statistics, application and both gradients. The loops stand in batch_norm_isa.c; here are the
 * partials, how they fold, and the operands.
 *
 * Partials are in double precision and laid out by padded channel: a head with the count (statistics only),
 * then two arrays. They say nothing of slices, so slices of any size add to them. */
#include <math.h>
#include <string.h>

#include "cpu/batch_norm_isa.h"
#include "cpu/layout_adapter.h"
#include "cpu/ops.h"

enum { HEAD = 8 }; /* doubles before the arrays; [0] is the count of values a channel */

struct bn_kernel {
    struct lam_kernel base;
    struct lam_bn_slice slice; /* what all slices have in common */
    int64_t channels;          /* padded */
    lam_bn_fn loop;
};

static const struct bn_kernel *of(const struct lam_kernel *kernel) {
    return (const struct bn_kernel *)kernel;
}

/* Fills in what follows from the op; x stands at input `x`. */
static lam_status bn_kernel_new(const struct lam_op *op, int x, struct bn_kernel **kernel) {
    const struct lam_tensor_desc *desc = &op->in[x].desc;
    if (desc->shape.rank != 4 || (desc->dtype != LAM_F32 && desc->dtype != LAM_BF16))
        return lam_cpu_unsupported(op, "batch norm takes f32 or bf16 of rank 4");
    struct lam_kernel *made = NULL;
    LAM_TRY(lam_cpu_kernel_new(sizeof(struct bn_kernel), op, &made));
    struct bn_kernel *bn = (struct bn_kernel *)made;
    int block = lam_layout_block(desc->layout);
    int64_t channels = desc->shape.dim[1], groups = (channels + block - 1) / block;
    bn->slice = (struct lam_bn_slice){
        .pixels = desc->shape.dim[2] * desc->shape.dim[3],
        .groups = groups,
        .channels = channels,
        .block = block,
        .eps = op->attr.bn.eps,
        .relu = op->attr.bn.relu,
        .use_variance = op->kind == LAM_OP_BN_APPLY && op->attr.bn.use_variance,
        .inverse_count = op->attr.bn.count > 0 ? (float)(1 / op->attr.bn.count) : 0,
    };
    bn->channels = groups * block;
    *kernel = bn;
    return LAM_OK;
}

/* ---- statistics ---- */

static void stats_run(const struct lam_kernel *kernel, const struct lam_kernel_args *args) {
    const struct bn_kernel *bn = of(kernel);
    double *partial = args->partial;
    if (!args->accumulate) memset(partial, 0, kernel->partial_bytes);
    struct lam_bn_slice slice = bn->slice;
    slice.x = args->in[0];
    slice.samples = args->count;
    slice.mean_so_far = partial + HEAD;
    slice.squares_so_far = partial + HEAD + bn->channels;
    slice.count = partial[0];
    bn->loop(&slice);
    partial[0] += (double)args->count * (double)slice.pixels;
}

/* Count, mean and M2 of channel c over all partials: Chan, Golub and LeVeque 1983, equations 1.5. */
static void merge_channel(const struct bn_kernel *bn, void *const *partials, int partial_count, int64_t c,
                          double *count, double *mean, double *squares) {
    *count = *mean = *squares = 0;
    for (int i = 0; i < partial_count; i++) {
        const double *partial = partials[i];
        double added = partial[0];
        if (added == 0) continue;
        double total = *count + added, delta = partial[HEAD + c] - *mean;
        *mean += delta * (added / total);
        *squares += partial[HEAD + bn->channels + c] + delta * delta * (*count * added / total);
        *count = total;
    }
}

static void stats_reduce(const struct lam_kernel *kernel, void *const *partials, int partial_count,
                         void *const *out, int part, int parts, struct lam_stream *stream) {
    (void)stream;
    const struct bn_kernel *bn = of(kernel);
    const double momentum = kernel->op.attr.bn.momentum;
    int64_t begin, end;
    lam_part(bn->slice.channels, part, parts, &begin, &end);
    for (int64_t c = begin; c < end; c++) {
        double count, mean, squares;
        merge_channel(bn, partials, partial_count, c, &count, &mean, &squares);
        double variance = count > 0 ? squares / count : 0;
        double unbiased = count > 1 ? squares / (count - 1) : variance;
        float *const *o = (float *const *)out;
        if (o[0]) o[0][c] = (float)mean;
        if (o[1]) o[1][c] = (float)(1 / sqrt(variance + (double)bn->slice.eps));
        if (o[2]) o[2][c] = (float)((1 - momentum) * (double)o[2][c] + momentum * mean);
        if (o[3]) o[3][c] = (float)((1 - momentum) * (double)o[3][c] + momentum * unbiased);
    }
}

lam_status lam_cpu_bn_stats_create(const struct lam_op *op, const struct lam_kernel_options *options,
                                   struct lam_kernel **kernel, const char **chosen) {
    (void)options, (void)chosen;
    if (op->in[0].desc.layout == LAM_NHWC) return lam_cpu_unsupported(op, "not in the NHWC layout");
    struct bn_kernel *bn = NULL;
    LAM_TRY(bn_kernel_new(op, 0, &bn));
    bn->loop = LAM_ISA_PICK(lam_bn)->stats[lam_cpu_simd_type(op->in[0].desc.dtype)];
    bn->base.partial_bytes = (size_t)(HEAD + 2 * bn->channels) * sizeof(double);
    bn->base.run = stats_run;
    bn->base.reduce = stats_reduce;
    *kernel = &bn->base;
    return LAM_OK;
}

/* ---- application ---- */

static void apply_run(const struct lam_kernel *kernel, const struct lam_kernel_args *args) {
    const struct bn_kernel *bn = of(kernel);
    struct lam_bn_slice slice = bn->slice;
    slice.x = args->in[0];
    slice.mean = args->in[1];
    slice.inv_std = args->in[2];
    slice.gamma = args->in[3];
    slice.beta = args->in[4];
    slice.skip = kernel->op.inputs > 5 && kernel->op.in[5].present ? args->in[5] : NULL;
    slice.out = args->out[0];
    slice.samples = args->count;
    bn->loop(&slice);
}

lam_status lam_cpu_bn_apply_create(const struct lam_op *op, const struct lam_kernel_options *options,
                                   struct lam_kernel **kernel, const char **chosen) {
    enum lam_layout layout;
    if (!lam_cpu_same_layout(op, &layout))
        return lam_cpu_adapt(op, options, layout, lam_cpu_bn_apply_create, kernel, chosen);
    struct bn_kernel *bn = NULL;
    LAM_TRY(bn_kernel_new(op, 0, &bn));
    bn->loop = LAM_ISA_PICK(lam_bn)->apply[lam_cpu_simd_type(op->in[0].desc.dtype)];
    bn->base.run = apply_run;
    *kernel = &bn->base;
    return LAM_OK;
}

/* ---- gradients ---- */

static void bind_backward(const struct lam_kernel_args *args, struct lam_bn_slice *slice) {
    slice->dy = args->in[0];
    slice->x = args->in[1];
    slice->mean = args->in[2];
    slice->inv_std = args->in[3];
    slice->gamma = args->in[4];
    slice->beta = args->in[5];
    slice->samples = args->count;
}

static void bwd_stats_run(const struct lam_kernel *kernel, const struct lam_kernel_args *args) {
    const struct bn_kernel *bn = of(kernel);
    if (!args->accumulate) memset(args->partial, 0, kernel->partial_bytes);
    struct lam_bn_slice slice = bn->slice;
    bind_backward(args, &slice);
    slice.dgamma_sum = args->partial;
    slice.dbeta_sum = slice.dgamma_sum + bn->channels;
    bn->loop(&slice);
}

static void bwd_stats_reduce(const struct lam_kernel *kernel, void *const *partials, int partial_count,
                             void *const *out, int part, int parts, struct lam_stream *stream) {
    (void)stream;
    const struct bn_kernel *bn = of(kernel);
    int64_t begin, end;
    lam_part(bn->slice.channels, part, parts, &begin, &end);
    for (int64_t c = begin; c < end; c++)
        for (int which = 0; which < 2; which++) {
            double sum = 0;
            for (int i = 0; i < partial_count; i++)
                sum += ((const double *)partials[i])[which * bn->channels + c];
            if (out[which]) ((float *)out[which])[c] = (float)sum;
        }
}

lam_status lam_cpu_bn_bwd_stats_create(const struct lam_op *op, const struct lam_kernel_options *options,
                                       struct lam_kernel **kernel, const char **chosen) {
    enum lam_layout layout;
    if (!lam_cpu_same_layout(op, &layout))
        return lam_cpu_adapt(op, options, layout, lam_cpu_bn_bwd_stats_create, kernel, chosen);
    struct bn_kernel *bn = NULL;
    LAM_TRY(bn_kernel_new(op, 1, &bn));
    bn->loop = LAM_ISA_PICK(lam_bn)->bwd_stats[lam_cpu_simd_type(op->in[1].desc.dtype)];
    bn->base.partial_bytes = (size_t)(2 * bn->channels) * sizeof(double);
    bn->base.run = bwd_stats_run;
    bn->base.reduce = bwd_stats_reduce;
    *kernel = &bn->base;
    return LAM_OK;
}

static void bwd_apply_run(const struct lam_kernel *kernel, const struct lam_kernel_args *args) {
    const struct bn_kernel *bn = of(kernel);
    struct lam_bn_slice slice = bn->slice;
    bind_backward(args, &slice);
    slice.dgamma = args->in[6];
    slice.dbeta = args->in[7];
    slice.out = args->out[0];
    bn->loop(&slice);
}

lam_status lam_cpu_bn_bwd_apply_create(const struct lam_op *op, const struct lam_kernel_options *options,
                                       struct lam_kernel **kernel, const char **chosen) {
    enum lam_layout layout;
    if (!lam_cpu_same_layout(op, &layout))
        return lam_cpu_adapt(op, options, layout, lam_cpu_bn_bwd_apply_create, kernel, chosen);
    struct bn_kernel *bn = NULL;
    LAM_TRY(bn_kernel_new(op, 1, &bn));
    bn->loop = LAM_ISA_PICK(lam_bn)->bwd_apply[lam_cpu_simd_type(op->in[1].desc.dtype)];
    bn->base.run = bwd_apply_run;
    *kernel = &bn->base;
    return LAM_OK;
}
