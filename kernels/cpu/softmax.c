/* SOFTMAX and its gradient over the last dimension, whatever stands in front of it. */
#include "cpu/layout_adapter.h"
#include "cpu/linear.h"
#include "cpu/softmax_isa.h"

struct softmax {
    struct lam_kernel kernel;
    enum lam_simd_type type;
    int64_t columns, rows_per_sample; /* rows of everything where nothing is batched */
};

static int64_t rows_of(const struct softmax *softmax, int count) {
    return softmax->kernel.op.in[0].batched ? count * softmax->rows_per_sample : softmax->rows_per_sample;
}

static void forward_run(const struct lam_kernel *kernel, const struct lam_kernel_args *args) {
    const struct softmax *s = (const struct softmax *)kernel;
    LAM_ISA_PICK(lam_softmax)
        ->forward(rows_of(s, args->count), s->columns, args->in[0], args->out[0], s->type);
}

static void backward_run(const struct lam_kernel *kernel, const struct lam_kernel_args *args) {
    const struct softmax *s = (const struct softmax *)kernel;
    LAM_ISA_PICK(lam_softmax)
        ->backward(rows_of(s, args->count), s->columns, args->in[0], args->in[1], args->out[0], s->type);
}

static lam_status create(const struct lam_op *op, const struct lam_kernel_options *options,
                         lam_cpu_create_fn again, struct lam_kernel **kernel, const char **chosen) {
    const struct lam_tensor_desc *x = &op->in[0].desc;
    if (x->shape.rank < 1) return lam_cpu_unsupported(op, "a scalar has no last dimension");
    if (lam_cpu_any_blocked(op)) return lam_cpu_adapt(op, options, LAM_PLAIN, again, kernel, chosen);
    LAM_TRY(lam_cpu_kernel_new(sizeof(struct softmax), op, kernel));
    struct softmax *softmax = (struct softmax *)*kernel;
    softmax->kernel.run = op->kind == LAM_OP_SOFTMAX ? forward_run : backward_run;
    softmax->type = lam_cpu_simd_type(x->dtype);
    softmax->columns = x->shape.dim[x->shape.rank - 1];
    softmax->rows_per_sample = lam_shape_count(x->shape) / softmax->columns;
    if (op->in[0].batched) softmax->rows_per_sample /= x->shape.dim[0];
    return LAM_OK;
}

lam_status lam_cpu_softmax_create(const struct lam_op *op, const struct lam_kernel_options *options,
                                  struct lam_kernel **kernel, const char **chosen) {
    return create(op, options, lam_cpu_softmax_create, kernel, chosen);
}

lam_status lam_cpu_softmax_bwd_create(const struct lam_op *op, const struct lam_kernel_options *options,
                                      struct lam_kernel **kernel, const char **chosen) {
    return create(op, options, lam_cpu_softmax_bwd_create, kernel, chosen);
}
