/* MIX and its gradient: two tensors, one trained weight. */
#include "cpu/layout_adapter.h"
#include "cpu/mix_isa.h"
#include "cpu/ops.h"

struct mix_kernel {
    struct lam_kernel base;
    enum lam_simd_type type;
};

static void forward_run(const struct lam_kernel *kernel, const struct lam_kernel_args *args) {
    const struct mix_kernel *m = (const struct mix_kernel *)kernel;
    LAM_ISA_PICK(lam_mix)->forward[m->type](args->in[0], args->in[1], args->out[0],
                                            lam_cpu_slice_elements(&kernel->op.out[0], args),
                                            *(const float *)args->in[2]);
}

static void backward_run(const struct lam_kernel *kernel, const struct lam_kernel_args *args) {
    const struct mix_kernel *m = (const struct mix_kernel *)kernel;
    float sum = LAM_ISA_PICK(lam_mix)->backward[m->type](
        args->in[0], args->in[1], args->in[2], args->out[0], args->out[1],
        lam_cpu_slice_elements(&kernel->op.in[0], args), *(const float *)args->in[3]);
    float *partial = args->partial;
    *partial = args->accumulate ? *partial + sum : sum;
}

static void backward_reduce(const struct lam_kernel *kernel, void *const *partials, int partial_count,
                            void *const *out, int part, int parts, struct lam_stream *stream) {
    (void)kernel, (void)parts, (void)stream;
    if (part != 0 || !out[2]) return;
    float sum = 0;
    for (int i = 0; i < partial_count; i++) sum += *(const float *)partials[i];
    *(float *)out[2] = sum;
}

/* The first `batched` inputs, the values, must have one floating-point type. */
static lam_status create(const struct lam_op *op, const struct lam_kernel_options *options, int batched,
                         lam_cpu_create_fn self, struct lam_kernel **kernel, const char **chosen) {
    enum lam_layout layout;
    enum lam_dtype dtype = op->in[0].desc.dtype;
    for (int i = 0; i < batched; i++)
        if (op->in[i].desc.dtype != dtype || (dtype != LAM_F32 && dtype != LAM_BF16))
            return lam_cpu_unsupported(op, "operands must be all f32 or all bf16");
    if (!lam_cpu_same_layout(op, &layout)) return lam_cpu_adapt(op, options, layout, self, kernel, chosen);
    LAM_TRY(lam_cpu_kernel_new(sizeof(struct mix_kernel), op, kernel));
    ((struct mix_kernel *)*kernel)->type = lam_cpu_simd_type(dtype);
    return LAM_OK;
}

lam_status lam_cpu_mix_create(const struct lam_op *op, const struct lam_kernel_options *options,
                              struct lam_kernel **kernel, const char **chosen) {
    LAM_TRY(create(op, options, 2, lam_cpu_mix_create, kernel, chosen));
    if (!(*kernel)->run) (*kernel)->run = forward_run;
    return LAM_OK;
}

lam_status lam_cpu_mix_bwd_create(const struct lam_op *op, const struct lam_kernel_options *options,
                                  struct lam_kernel **kernel, const char **chosen) {
    LAM_TRY(create(op, options, 3, lam_cpu_mix_bwd_create, kernel, chosen));
    if ((*kernel)->run) return LAM_OK; /* the adapter's, around one of ours */
    (*kernel)->partial_bytes = sizeof(float);
    (*kernel)->run = backward_run;
    (*kernel)->reduce = backward_reduce;
    return LAM_OK;
}
