/* LINEAR and its gradients, as matrix products over the rows of a slice (gemm.h).
 *
 *     y  [rows, O] = x [rows, I] W^T + bias        W^T packed once per run
 *     dx [rows, I] = dy [rows, O] W                W packed once per run
 *     dW [O, I]   += dy^T x,  dbias [O] += column sums of dy
 *
 * A row is whatever stands in front of the last dimension: samples, or samples times tokens.
 */
#include "cpu/cpu_kernel.h"
#include "cpu/gemm.h"
#include "cpu/layout_adapter.h"
#include "cpu/linear.h"
#include "cpu/reduce_isa.h"

struct linear {
    struct lam_kernel kernel;
    enum lam_gemm_format format;
    int64_t in, out;         /* features */
    int64_t rows_per_sample; /* of all samples where nothing is batched */
};

static const struct linear *linear_of(const struct lam_kernel *kernel) {
    return (const struct linear *)kernel;
}
static int64_t rows_of(const struct linear *linear, int count) {
    return linear->kernel.op.in[0].batched ? count * linear->rows_per_sample : linear->rows_per_sample;
}

/* ---- forward and data gradient: A B, where B is prepared from W ---- */

static void forward_prepare(const struct lam_kernel *kernel, int input, const void *source, void *prepared,
                            int part, int parts, struct lam_stream *stream) {
    (void)input, (void)stream;
    const struct linear *linear = linear_of(kernel);
    struct lam_gemm_operand w = {
        .src = source, .dtype = LAM_F32, .stride = linear->in, .columns_apart = true};
    lam_gemm_pack(linear->format, &w, linear->in, linear->out, prepared, part, parts);
}

static void forward_run(const struct lam_kernel *kernel, const struct lam_kernel_args *args) {
    const struct linear *linear = linear_of(kernel);
    lam_gemm(&(struct lam_gemm){.format = linear->format,
                                .m = rows_of(linear, args->count),
                                .n = linear->out,
                                .k = linear->in,
                                .a = args->in[0],
                                .a_stride = linear->in,
                                .b = args->in[1],
                                .c = args->out[0],
                                .c_stride = linear->out,
                                .c_dtype = kernel->op.out[0].desc.dtype,
                                .bias = kernel->op.in[2].present ? args->in[2] : NULL,
                                .scratch = args->workspace});
}

static void data_prepare(const struct lam_kernel *kernel, int input, const void *source, void *prepared,
                         int part, int parts, struct lam_stream *stream) {
    (void)input, (void)stream;
    const struct linear *linear = linear_of(kernel);
    struct lam_gemm_operand w = {.src = source, .dtype = LAM_F32, .stride = linear->in};
    lam_gemm_pack(linear->format, &w, linear->out, linear->in, prepared, part, parts);
}

static void data_run(const struct lam_kernel *kernel, const struct lam_kernel_args *args) {
    const struct linear *linear = linear_of(kernel);
    lam_gemm(&(struct lam_gemm){.format = linear->format,
                                .m = rows_of(linear, args->count),
                                .n = linear->in,
                                .k = linear->out,
                                .a = args->in[0],
                                .a_stride = linear->out,
                                .b = args->in[1],
                                .c = args->out[0],
                                .c_stride = linear->in,
                                .c_dtype = kernel->op.out[0].desc.dtype,
                                .scratch = args->workspace});
}

/* ---- weight gradient: the partial is dW, then dbias if there is one ---- */

static void weights_run(const struct lam_kernel *kernel, const struct lam_kernel_args *args) {
    const struct linear *linear = linear_of(kernel);
    int64_t rows = rows_of(linear, args->count);
    float *dw = args->partial;
    lam_gemm_transposed(&(struct lam_gemm){.format = linear->format,
                                           .m = linear->out,
                                           .n = linear->in,
                                           .k = rows,
                                           .a = args->in[1],
                                           .a_stride = linear->out,
                                           .b = args->in[0],
                                           .b_stride = linear->in,
                                           .c = dw,
                                           .c_stride = linear->in,
                                           .c_dtype = LAM_F32,
                                           .accumulate = args->accumulate,
                                           .scratch = args->workspace});
    if (kernel->op.out[1].present)
        lam_gemm_column_sums(rows, linear->out, args->in[1], kernel->op.in[1].desc.dtype, linear->out,
                             dw + linear->out * linear->in, args->accumulate);
}

/* Sums elements [begin, end) of the partials, from `offset` in them, into `to`. */
static void sum_range(float *to, void *const *partials, int partial_count, int64_t offset, int64_t begin,
                      int64_t end) {
    const struct lam_reduce_kernels *k = LAM_ISA_PICK(lam_reduce);
    k->copy(to + begin, (const float *)partials[0] + offset + begin, end - begin);
    for (int i = 1; i < partial_count; i++)
        k->add(to + begin, (const float *)partials[i] + offset + begin, end - begin);
}

static void weights_reduce(const struct lam_kernel *kernel, void *const *partials, int partial_count,
                           void *const *out, int part, int parts, struct lam_stream *stream) {
    (void)stream;
    const struct linear *linear = linear_of(kernel);
    int64_t begin, end;
    lam_part(linear->out * linear->in, part, parts, &begin, &end);
    sum_range(out[0], partials, partial_count, 0, begin, end);
    lam_part(linear->out, part, parts, &begin, &end);
    sum_range(out[1], partials, partial_count, linear->out * linear->in, begin, end);
}

/* ---- creation ---- */

static int64_t last_dim(const struct lam_operand *operand) {
    return operand->desc.shape.dim[operand->desc.shape.rank - 1];
}

/* `x` is the operand with the input features, `y` the one with the output features, whatever their role. */
static lam_status create(const struct lam_op *op, const struct lam_operand *x, const struct lam_operand *y,
                         struct linear **result) {
    if (x->desc.shape.rank < 1 || x->desc.dtype != y->desc.dtype)
        return lam_cpu_unsupported(op, "input and output must be of one type, and not scalars");
    struct lam_kernel *kernel;
    LAM_TRY(lam_cpu_kernel_new(sizeof(struct linear), op, &kernel));
    struct linear *linear = (struct linear *)kernel;
    linear->format = lam_gemm_format(x->desc.dtype);
    linear->in = last_dim(x);
    linear->out = last_dim(y);
    linear->rows_per_sample = lam_shape_count(x->desc.shape) / linear->in;
    if (x->batched) linear->rows_per_sample /= x->desc.shape.dim[0];
    *result = linear;
    return LAM_OK;
}

lam_status lam_cpu_linear_create(const struct lam_op *op, const struct lam_kernel_options *options,
                                 struct lam_kernel **kernel, const char **chosen) {
    if (lam_cpu_any_blocked(op))
        return lam_cpu_adapt(op, options, LAM_PLAIN, lam_cpu_linear_create, kernel, chosen);
    struct linear *linear;
    LAM_TRY(create(op, &op->in[0], &op->out[0], &linear));
    linear->kernel.prepared_bytes[1] = lam_gemm_packed_bytes(linear->format, linear->in, linear->out);
    linear->kernel.workspace_bytes =
        lam_gemm_scratch_bytes(linear->format, rows_of(linear, options->slices[0]), linear->in);
    linear->kernel.prepare = forward_prepare;
    linear->kernel.run = forward_run;
    *kernel = &linear->kernel;
    return LAM_OK;
}

lam_status lam_cpu_linear_bwd_data_create(const struct lam_op *op, const struct lam_kernel_options *options,
                                          struct lam_kernel **kernel, const char **chosen) {
    if (lam_cpu_any_blocked(op))
        return lam_cpu_adapt(op, options, LAM_PLAIN, lam_cpu_linear_bwd_data_create, kernel, chosen);
    struct linear *linear;
    LAM_TRY(create(op, &op->out[0], &op->in[0], &linear));
    linear->kernel.prepared_bytes[1] = lam_gemm_packed_bytes(linear->format, linear->out, linear->in);
    linear->kernel.workspace_bytes =
        lam_gemm_scratch_bytes(linear->format, rows_of(linear, options->slices[0]), linear->out);
    linear->kernel.prepare = data_prepare;
    linear->kernel.run = data_run;
    *kernel = &linear->kernel;
    return LAM_OK;
}

lam_status lam_cpu_linear_bwd_weights_create(const struct lam_op *op,
                                             const struct lam_kernel_options *options,
                                             struct lam_kernel **kernel, const char **chosen) {
    if (lam_cpu_any_blocked(op))
        return lam_cpu_adapt(op, options, LAM_PLAIN, lam_cpu_linear_bwd_weights_create, kernel, chosen);
    struct linear *linear;
    LAM_TRY(create(op, &op->in[0], &op->in[1], &linear));
    bool bias = op->out[1].present;
    linear->kernel.partial_bytes =
        (size_t)(linear->out * linear->in + (bias ? linear->out : 0)) * sizeof(float);
    linear->kernel.partial_is_output = !bias;
    linear->kernel.workspace_bytes = lam_gemm_transposed_scratch_bytes(
        linear->format, linear->out, linear->in, rows_of(linear, options->slices[0]), LAM_F32);
    linear->kernel.run = weights_run;
    linear->kernel.reduce = bias ? weights_reduce : lam_cpu_reduce_sum;
    *kernel = &linear->kernel;
    return LAM_OK;
}
