/* LINEAR and its gradients by cuBLASLt, as products over the rows of a slice (cublas_product.h).
 *
 *     y  [rows, O] = x [rows, I] W^T + bias + z
 *     dx [rows, I] = dy [rows, O] W
 *     dW [O, I]   += dy^T x,  dbias [O] += column sums of dy
 *
 * A row is whatever stands in front of the last dimension: samples, or samples times tokens. W and bias are prepared: in
 * the activations' type, and at an address where a product can read many bytes at once, which parameters do not have among
 * their like. For the same reason dW is a partial of its own, with the bias's gradient behind it (feature_helpers.h).
 * Operands of four dimensions in NHWC pass through the workspace (library_operand.h).
 */
#include "cuda/creation.h"
#include "cuda/cublas_product.h"
#include "cuda/feature_helpers.h"
#include "cuda/library_operand.h"
#include "cuda/ops.h"

#include <stdlib.h>

enum {
    BUFFER_ALIGNMENT = 64, /* of whole buffers */
    FORM = 2,              /* of prepared weights: the same for LINEAR and LINEAR_BWD_DATA */
};

struct linear_slice {
    int count; /* samples */
    struct lam_cublas_product product;
};

struct linear {
    struct lam_kernel kernel;
    struct lam_library_operand x, y, z; /* z: the addend */
    int64_t in, out;                    /* features */
    int64_t rows_per_sample;            /* of all samples where nothing is batched */
    size_t scratch_offset;              /* in the workspace */
    struct lam_cuda_column_total dbias;
    int slice_count;
    struct linear_slice slices[];
};

static const struct linear *linear_of(const struct lam_kernel *kernel) {
    return (const struct linear *)kernel;
}

/* ---- operands by their role, whatever the op ---- */

static const struct lam_operand *x_of(const struct lam_op *op) {
    return op->kind == LAM_OP_LINEAR_BWD_DATA ? &op->out[0] : &op->in[0];
}
static const struct lam_operand *y_of(const struct lam_op *op) {
    return op->kind == LAM_OP_LINEAR            ? &op->out[0]
           : op->kind == LAM_OP_LINEAR_BWD_DATA ? &op->in[0]
                                                : &op->in[1];
}
static bool has_bias(const struct lam_op *op) {
    return op->kind == LAM_OP_LINEAR && op->in[2].present;
}
static int64_t rows_of(const struct linear *linear, int count) {
    return linear->kernel.op.in[0].batched ? count * linear->rows_per_sample : linear->rows_per_sample;
}

/* ---- running ---- */

static void prepare(const struct lam_kernel *kernel, int input, const void *source, void *prepared, int part,
                    int parts, struct lam_stream *stream) {
    (void)part, (void)parts;
    const struct linear *linear = linear_of(kernel);
    int64_t count = input == 1 ? linear->out * linear->in : linear->out;
    lam_cuda_transpose(stream, source, LAM_F32, prepared, x_of(&kernel->op)->desc.dtype, 1, 1, count);
}

static void multiply(const struct linear *linear, const struct lam_kernel_args *args, const void *a,
                     const void *b, const void *bias, const void *c, void *d) {
    const struct linear_slice *slice = linear->slices;
    while (slice < linear->slices + linear->slice_count - 1 && slice->count != args->count) slice++;
    cublasStatus_t status =
        lam_cublas_product_run(&slice->product, a, b, bias, c, d,
                               lam_library_scratch(args, linear->scratch_offset), args->stream->stream);
    if (status != CUBLAS_STATUS_SUCCESS)
        lam_cuda_failed(args->stream, LAM_ERR_DEVICE, lam_op_name(linear->kernel.op.kind),
                        cublasLtGetStatusString(status));
}

static void forward_run(const struct lam_kernel *kernel, const struct lam_kernel_args *args) {
    const struct linear *linear = linear_of(kernel);
    const void *x = lam_library_in(&linear->x, args->in[0], args);
    void *y = lam_library_out(&linear->y, args->out[0], args);
    const void *z = lam_op_has_addend(&kernel->op) ? lam_library_in(&linear->z, args->in[3], args) : NULL;
    multiply(linear, args, x, args->in[1], has_bias(&kernel->op) ? args->in[2] : NULL, z, y);
    lam_library_done(&linear->y, args->out[0], args);
}

static void data_run(const struct lam_kernel *kernel, const struct lam_kernel_args *args) {
    const struct linear *linear = linear_of(kernel);
    const void *dy = lam_library_in(&linear->y, args->in[0], args);
    void *dx = lam_library_out(&linear->x, args->out[0], args);
    multiply(linear, args, dy, args->in[1], NULL, NULL, dx);
    lam_library_done(&linear->x, args->out[0], args);
}

static void weights_run(const struct lam_kernel *kernel, const struct lam_kernel_args *args) {
    const struct linear *linear = linear_of(kernel);
    const void *x = lam_library_in(&linear->x, args->in[0], args);
    const void *dy = lam_library_in(&linear->y, args->in[1], args);
    float *dw = args->partial;
    multiply(linear, args, dy, x, NULL, args->accumulate ? dw : NULL, dw);
    if (!kernel->op.out[1].present) return;
    lam_cuda_column_total_run(&linear->dbias, dy, rows_of(linear, args->count), dw + linear->out * linear->in,
                              args->accumulate, lam_library_scratch(args, linear->scratch_offset),
                              args->stream);
}

static void weights_reduce(const struct lam_kernel *kernel, void *const *partials, int partial_count,
                           void *const *out, int part, int parts, struct lam_stream *stream) {
    (void)partial_count, (void)part, (void)parts;
    const struct linear *linear = linear_of(kernel);
    int64_t weights = linear->out * linear->in;
    const float *dw = partials[0];
    lam_cuda_transpose(stream, dw, LAM_F32, out[0], LAM_F32, 1, 1, weights);
    if (kernel->op.out[1].present) lam_cuda_column_total_reduce(&linear->dbias, dw + weights, out[1], stream);
}

/* ---- creation ---- */

static void destroy(struct lam_kernel *kernel) {
    struct linear *linear = (struct linear *)kernel;
    for (int i = 0; i < linear->slice_count; i++) lam_cublas_product_destroy(&linear->slices[i].product);
    free(linear);
}

/* What the address of a slice's first sample is a multiple of. Data in the workspace is aligned as a buffer. */
static size_t alignment_of(const struct lam_library_operand *operand, const struct lam_operand *of,
                           const struct lam_kernel_options *options) {
    size_t alignment = BUFFER_ALIGNMENT;
    bool sliced = of->batched && options->slices[0] < of->desc.shape.dim[0];
    if (!sliced || operand->other_order) return alignment;
    while (operand->sample_bytes % alignment != 0) alignment /= 2;
    return alignment;
}

static struct lam_cublas_spec spec_of(const struct linear *linear, const struct lam_kernel_options *options,
                                      int count) {
    const struct lam_op *op = &linear->kernel.op;
    enum lam_dtype dtype = x_of(op)->desc.dtype;
    int64_t rows = rows_of(linear, count);
    struct lam_cublas_matrix x = {rows, linear->in, dtype, alignment_of(&linear->x, x_of(op), options),
                                  false};
    struct lam_cublas_matrix y = {rows, linear->out, dtype, alignment_of(&linear->y, y_of(op), options),
                                  false};
    struct lam_cublas_matrix w = {linear->out, linear->in, dtype, BUFFER_ALIGNMENT, false};
    struct lam_cublas_spec spec = {.bias = has_bias(op), .tf32 = options->tf32};
    if (op->kind == LAM_OP_LINEAR) {
        w.transposed = true;
        spec.a = x, spec.b = w, spec.d = y;
        size_t of_addend = lam_op_has_addend(op) ? alignment_of(&linear->z, &op->in[3], options) : 0;
        if (of_addend && of_addend < spec.d.alignment) spec.d.alignment = of_addend;
    } else if (op->kind == LAM_OP_LINEAR_BWD_DATA) {
        spec.a = y, spec.b = w, spec.d = x;
    } else {
        y.transposed = true;
        w.dtype = LAM_F32;
        spec.a = y, spec.b = x, spec.d = w;
    }
    return spec;
}

static lam_status make_slices(struct linear *linear, struct lam_backend_device *device,
                              const struct lam_kernel_options *options, size_t *scratch) {
    for (int i = 0; i < options->slice_count; i++) {
        struct linear_slice *slice = &linear->slices[i];
        struct lam_cublas_spec spec = spec_of(linear, options, options->slices[i]);
        slice->count = options->slices[i];
        linear->slice_count++;
        LAM_TRY(lam_cublas_product_make(device, &linear->kernel.op, &spec, &slice->product));
        if (slice->product.scratch_bytes > *scratch) *scratch = slice->product.scratch_bytes;
    }
    return LAM_OK;
}

static void fill_data(struct linear *linear) {
    const struct lam_op *op = &linear->kernel.op;
    size_t element = lam_dtype_bytes(x_of(op)->desc.dtype);
    linear->kernel.prepared_bytes[1] = (size_t)(linear->out * linear->in) * element;
    if (has_bias(op)) linear->kernel.prepared_bytes[2] = (size_t)linear->out * element;
    linear->kernel.prepared_form[1] = FORM;
    linear->kernel.prepare = prepare;
    linear->kernel.run = op->kind == LAM_OP_LINEAR ? forward_run : data_run;
}

static void fill_weights(struct linear *linear) {
    linear->kernel.partial_bytes =
        (size_t)(linear->out * linear->in) * sizeof(float) + linear->dbias.partial_bytes;
    linear->kernel.run = weights_run;
    linear->kernel.reduce = weights_reduce;
}

static int64_t last_dim(const struct lam_operand *operand) {
    return operand->desc.shape.dim[operand->desc.shape.rank - 1];
}

static lam_status fill(struct linear *linear, struct lam_backend_device *device,
                       const struct lam_kernel_options *options) {
    const struct lam_op *op = &linear->kernel.op;
    const struct lam_operand *x = x_of(op), *y = y_of(op);
    bool weights = op->kind == LAM_OP_LINEAR_BWD_WEIGHTS;
    size_t bytes = 0, scratch = 0;
    linear->in = last_dim(x);
    linear->out = last_dim(y);
    linear->rows_per_sample = lam_shape_count(x->desc.shape) / linear->in;
    if (x->batched) linear->rows_per_sample /= x->desc.shape.dim[0];
    bytes += lam_library_operand(&linear->x, x, LAM_PLAIN, 1, options, bytes);
    bytes += lam_library_operand(&linear->y, y, LAM_PLAIN, 1, options, bytes);
    if (lam_op_has_addend(op))
        bytes += lam_library_operand(&linear->z, &op->in[3], LAM_PLAIN, 1, options, bytes);
    linear->scratch_offset = bytes;
    LAM_TRY(make_slices(linear, device, options, &scratch));
    if (weights && op->out[1].present) {
        lam_cuda_column_total_init(&linear->dbias, device, lam_cuda_is_whole(op, options), y->desc.dtype,
                                   rows_of(linear, options->slices[0]), linear->out);
        if (linear->dbias.workspace_bytes > scratch) scratch = linear->dbias.workspace_bytes;
    }
    linear->kernel.workspace_bytes = bytes + lam_library_scratch_bytes(scratch);
    if (weights)
        fill_weights(linear);
    else
        fill_data(linear);
    return LAM_OK;
}

static lam_status check_op(const struct lam_op *op) {
    const struct lam_operand *x = x_of(op), *y = y_of(op);
    enum lam_dtype dtype = x->desc.dtype;
    if (x->desc.shape.rank < 1 || y->desc.dtype != dtype || (dtype != LAM_F32 && dtype != LAM_BF16))
        return lam_cuda_unsupported(op, "input and output must be both f32 or both bf16, and not scalars");
    return LAM_OK;
}

lam_status lam_cuda_linear_create(struct lam_backend_device *device, const struct lam_op *op,
                                  const struct lam_kernel_options *options, struct lam_kernel **kernel,
                                  const char **chosen) {
    (void)chosen; /* there is but one way */
    LAM_TRY(check_op(op));
    size_t slices = (size_t)options->slice_count * sizeof(struct linear_slice);
    struct lam_kernel *made;
    LAM_TRY(lam_cuda_kernel_new(sizeof(struct linear) + slices, op, &made));
    made->destroy = destroy;
    lam_status status = fill((struct linear *)made, device, options);
    if (status == LAM_OK)
        *kernel = made;
    else
        destroy(made);
    return status;
}
