/* A bf16 convolution done in f32, for processors on which oneDNN has no bf16: operands are widened slice by
 * slice in the workspace, the f32 kernel runs on them, results are rounded back. Weights, their gradients and
 * bias are f32 anyway. */
#include "cpu/conv.h"

#include <stdlib.h>
#include <string.h>

struct widened_kernel {
    struct lam_kernel base;
    struct lam_kernel *inner;
    struct lam_kernel *widen[LAM_MAX_INPUTS], *narrow; /* CAST kernels; NULL: used as it is */
    size_t in_offset[LAM_MAX_INPUTS], out_offset;      /* of the f32 copies, behind the inner workspace */
};

static void destroy(struct lam_kernel *kernel) {
    struct widened_kernel *k = (struct widened_kernel *)kernel;
    for (int i = 0; i < LAM_MAX_INPUTS; i++)
        if (k->widen[i]) k->widen[i]->destroy(k->widen[i]);
    if (k->narrow) k->narrow->destroy(k->narrow);
    if (k->inner) k->inner->destroy(k->inner);
    free(k);
}

/* ---- running ---- */

static void cast(const struct lam_kernel *kernel, const struct lam_kernel_args *args, const void *from,
                 void *to) {
    struct lam_kernel_args inner = *args;
    inner.in[0] = from;
    inner.out[0] = to;
    kernel->run(kernel, &inner);
}

static void run(const struct lam_kernel *kernel, const struct lam_kernel_args *args) {
    const struct widened_kernel *k = (const struct widened_kernel *)kernel;
    char *workspace = args->workspace;
    struct lam_kernel_args inner = *args;
    for (int i = 0; i < kernel->op.inputs; i++)
        if (k->widen[i]) {
            cast(k->widen[i], args, args->in[i], workspace + k->in_offset[i]);
            inner.in[i] = workspace + k->in_offset[i];
        }
    if (k->narrow) inner.out[0] = workspace + k->out_offset;
    k->inner->run(k->inner, &inner);
    if (k->narrow) cast(k->narrow, args, workspace + k->out_offset, args->out[0]);
}

static void prepare(const struct lam_kernel *kernel, int input, const void *source, void *prepared, int part,
                    int parts, struct lam_stream *stream) {
    const struct lam_kernel *inner = ((const struct widened_kernel *)kernel)->inner;
    inner->prepare(inner, input, source, prepared, part, parts, stream);
}

static void reduce(const struct lam_kernel *kernel, void *const *partials, int partial_count,
                   void *const *out, int part, int parts, struct lam_stream *stream) {
    const struct lam_kernel *inner = ((const struct widened_kernel *)kernel)->inner;
    inner->reduce(inner, partials, partial_count, out, part, parts, stream);
}

/* ---- create ---- */

static lam_status make_cast(const struct lam_operand *from, const struct lam_operand *to,
                            const struct lam_kernel_options *options, struct lam_kernel **kernel) {
    struct lam_op op = {.kind = LAM_OP_CAST, .inputs = 1, .outputs = 1, .in = {*from}, .out = {*to}};
    struct lam_kernel_options by_rule = *options;
    by_rule.choice = NULL;
    const char *chosen;
    return lam_cpu_create_for(LAM_OP_CAST)(&op, &by_rule, kernel, &chosen);
}

/* Room for an f32 copy of a slice of `operand` at the end of the workspace. */
static size_t reserve(struct lam_kernel *kernel, const struct lam_operand *operand, int count) {
    size_t offset = kernel->workspace_bytes;
    size_t sample = lam_tensor_bytes(&operand->desc) / (size_t)operand->desc.shape.dim[0];
    kernel->workspace_bytes += (sample * (size_t)count + 63) / 64 * 64;
    return offset;
}

static bool is_narrow(const struct lam_operand *operand) {
    return operand->present && operand->batched && operand->desc.dtype == LAM_BF16;
}

static lam_status fill(struct widened_kernel *k, const struct lam_op *op,
                       const struct lam_kernel_options *options, lam_cpu_create_fn create,
                       const char **chosen) {
    struct lam_op wide = *op;
    for (int i = 0; i < op->inputs; i++)
        if (is_narrow(&op->in[i])) wide.in[i].desc.dtype = LAM_F32;
    if (is_narrow(&op->out[0])) wide.out[0].desc.dtype = LAM_F32;
    LAM_TRY(create(&wide, options, &k->inner, chosen));
    k->base.workspace_bytes = (k->inner->workspace_bytes + 63) / 64 * 64;
    for (int i = 0; i < op->inputs; i++)
        if (is_narrow(&op->in[i])) {
            LAM_TRY(make_cast(&op->in[i], &wide.in[i], options, &k->widen[i]));
            k->in_offset[i] = reserve(&k->base, &wide.in[i], options->slices[0]);
        }
    if (is_narrow(&op->out[0])) {
        LAM_TRY(make_cast(&wide.out[0], &op->out[0], options, &k->narrow));
        k->out_offset = reserve(&k->base, &wide.out[0], options->slices[0]);
    }
    return LAM_OK;
}

lam_status lam_cpu_conv_widened_create(const struct lam_op *op, const struct lam_kernel_options *options,
                                       lam_cpu_create_fn create, struct lam_kernel **kernel,
                                       const char **chosen) {
    struct widened_kernel *k = calloc(1, sizeof *k);
    if (!k) return lam_no_memory();
    k->base.op = *op;
    k->base.run = run;
    k->base.destroy = destroy;
    lam_status status = fill(k, op, options, create, chosen);
    if (status != LAM_OK) {
        destroy(&k->base);
        return status;
    }
    k->base.partial_bytes = k->inner->partial_bytes;
    memcpy(k->base.prepared_bytes, k->inner->prepared_bytes, sizeof k->base.prepared_bytes);
    memcpy(k->base.prepared_form, k->inner->prepared_form, sizeof k->base.prepared_form);
    if (k->inner->prepare) k->base.prepare = prepare;
    if (k->inner->reduce) k->base.reduce = reduce;
    *kernel = &k->base;
    return LAM_OK;
}
