/* Dropout and its gradient, which are one and the same: a mask that depends on the sample and the element
 * alone, times 1 / (1 - p). Elements count in the order of the logical shape, so blocked operands go by way
 * of PLAIN. */
#include <math.h>

#include "cpu/dropout_isa.h"
#include "cpu/layout_adapter.h"
#include "cpu/ops.h"

struct dropout_kernel {
    struct lam_kernel base;
    lam_dropout_fn loop;
    uint64_t threshold;
    float scale;
};

static void run(const struct lam_kernel *kernel, const struct lam_kernel_args *args) {
    const struct dropout_kernel *dropout = (const struct dropout_kernel *)kernel;
    const struct lam_operand *in = &kernel->op.in[0];
    const int64_t elements = lam_cpu_sample_elements(in);
    const size_t bytes = (size_t)elements * lam_dtype_bytes(in->desc.dtype);
    for (int n = 0; n < args->count; n++) {
        uint64_t sample = kernel->op.attr.dropout.stream + args->run->first + (uint64_t)(args->first + n);
        struct lam_rng stream = lam_rng_make(args->run->seed, LAM_RNG_DROPOUT, args->run->step, sample);
        dropout->loop((const char *)args->in[0] + (size_t)n * bytes, (char *)args->out[0] + (size_t)n * bytes,
                      elements, &stream, dropout->threshold, dropout->scale);
    }
}

static lam_status create(const struct lam_op *op, const struct lam_kernel_options *options,
                         lam_cpu_create_fn self, struct lam_kernel **kernel, const char **chosen) {
    if (lam_cpu_any_blocked(op)) return lam_cpu_adapt(op, options, LAM_PLAIN, self, kernel, chosen);
    enum lam_dtype dtype = op->in[0].desc.dtype;
    const double p = (double)op->attr.dropout.p;
    if (dtype != op->out[0].desc.dtype || (dtype != LAM_F32 && dtype != LAM_BF16))
        return lam_cpu_unsupported(op, "operands must be all f32 or all bf16");
    if (!(p >= 0 && p <= 1)) return lam_cpu_unsupported(op, "the rate must be in 0..1");
    LAM_TRY(lam_cpu_kernel_new(sizeof(struct dropout_kernel), op, kernel));
    struct dropout_kernel *dropout = (struct dropout_kernel *)*kernel;
    dropout->loop = LAM_ISA_PICK(lam_dropout)->apply[lam_cpu_simd_type(dtype)];
    dropout->threshold = (uint64_t)ceil(p * 4294967296.0);
    dropout->scale = p < 1 ? (float)(1 / (1 - p)) : 0;
    dropout->base.run = run;
    return LAM_OK;
}

lam_status lam_cpu_dropout_create(const struct lam_op *op, const struct lam_kernel_options *options,
                                  struct lam_kernel **kernel, const char **chosen) {
    return create(op, options, lam_cpu_dropout_create, kernel, chosen);
}

lam_status lam_cpu_dropout_bwd_create(const struct lam_op *op, const struct lam_kernel_options *options,
                                      struct lam_kernel **kernel, const char **chosen) {
    return create(op, options, lam_cpu_dropout_bwd_create, kernel, chosen);
}
