/* SOFTMAX and its gradient over the last dimension, whatever stands in front of it. */
#include "cpu/cpu_kernel.h"
#include "cpu/linear.h"
#include "cpu/softmax_isa.h"

#include <stdlib.h>

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

static void softmax_destroy(struct lam_kernel *kernel) {
    free(kernel);
}

static lam_status create(const struct lam_op *op, struct lam_kernel **kernel) {
    const struct lam_tensor_desc *x = &op->in[0].desc;
    char text[64];
    lam_shape_text(x->shape, text, sizeof text);
    if (x->shape.rank < 1) return lam_fail(LAM_ERR_INVALID, "%s of a scalar", lam_op_name(op->kind));
    for (int i = 0; i <= op->inputs; i++)
        if ((i < op->inputs ? op->in[i] : op->out[0]).desc.layout != LAM_PLAIN)
            return lam_fail(LAM_ERR_UNSUPPORTED, "%s on %s: the cpu backend wants plain layouts here",
                            lam_op_name(op->kind), text);
    struct softmax *softmax = calloc(1, sizeof *softmax);
    if (!softmax) return lam_fail(LAM_ERR_NO_MEMORY, "%s: no memory for the kernel", lam_op_name(op->kind));
    softmax->kernel.op = *op;
    softmax->kernel.run = op->kind == LAM_OP_SOFTMAX ? forward_run : backward_run;
    softmax->kernel.destroy = softmax_destroy;
    softmax->type = lam_cpu_simd_type(x->dtype);
    softmax->columns = x->shape.dim[x->shape.rank - 1];
    softmax->rows_per_sample = lam_shape_count(x->shape) / softmax->columns;
    if (op->in[0].batched) softmax->rows_per_sample /= x->shape.dim[0];
    *kernel = &softmax->kernel;
    return LAM_OK;
}

lam_status lam_cpu_softmax_create(const struct lam_op *op, const struct lam_kernel_options *options,
                                  struct lam_kernel **kernel, const char **chosen) {
    (void)options, (void)chosen;
    return create(op, kernel);
}

lam_status lam_cpu_softmax_bwd_create(const struct lam_op *op, const struct lam_kernel_options *options,
                                      struct lam_kernel **kernel, const char **chosen) {
    (void)options, (void)chosen;
    return create(op, kernel);
}
