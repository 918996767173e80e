/* CONV, CONV_BWD_DATA and CONV_BWD_WEIGHTS by cuDNN.
 *
 * cuDNN sees NHWC feature maps and filters [O][kh][kw][C/g]. Operands in PLAIN pass through the workspace
 * (library_operand.h). Weights are prepared in that order and in the activations' type. The gradient of a slice's weights
 * is added, in f32, to a partial of that order, which has the bias gradient behind it; that of the only slice is the partial as
 * it comes, with the bias gradient in parts. reduce() puts it into the order of the parameters. cuDNN could add by itself, but
 * not in f32 to a bf16 gradient, nor with all of its algorithms.
 */
#include "cuda/conv_kernels.h"
#include "cuda/creation.h"
#include "cuda/cudnn_conv.h"
#include "cuda/feature_helpers.h"
#include "cuda/library_operand.h"
#include "cuda/measure.h"
#include "cuda/ops.h"

#include <stdlib.h>
#include <string.h>

struct conv_kernel {
    struct lam_kernel base;
    struct lam_cudnn_conv *conv;
    struct lam_library_operand x, y, z; /* z: the addend */
    enum lam_dtype dtype;
    int64_t channels, pixels; /* of y: its channels, and its H' W' */
    int64_t x_channels, x_pixels;
    int64_t weights;         /* their number */
    enum lam_dtype sum_type; /* of their gradient in the partial: f32, or that of the only slice */
    size_t dbias_offset;     /* in the partial */
    struct lam_cuda_column_total dbias;
    size_t gradient_offset; /* in the workspace: the gradient of one slice */
    size_t scratch_offset;  /* in the workspace: cuDNN's scratch, and that of the bias's sums */
    size_t bias_offset; /* in the prepared bias: the one of the activations' type; an f32 one is in front */
};

static const struct conv_kernel *conv_of(const struct lam_kernel *kernel) {
    return (const struct conv_kernel *)kernel;
}

static void check(const struct conv_kernel *k, cudnnStatus_t status, struct lam_stream *stream) {
    if (status != CUDNN_STATUS_SUCCESS)
        lam_cuda_failed(stream, status == CUDNN_STATUS_ALLOC_FAILED ? LAM_ERR_NO_MEMORY : LAM_ERR_DEVICE,
                        lam_op_name(k->base.op.kind), cudnnGetErrorString(status));
}

/* ---- prepared weights and bias ---- */

/* What prepare makes of weights is the same for CONV and CONV_BWD_DATA. */
enum { FORM = 1 };

static void prepare(const struct lam_kernel *kernel, int input, const void *source, void *prepared, int part,
                    int parts, struct lam_stream *stream) {
    (void)part, (void)parts;
    const struct conv_kernel *k = conv_of(kernel);
    const int64_t *d = kernel->op.in[input].desc.shape.dim;
    if (input == 1) {
        lam_cuda_transpose(stream, source, LAM_F32, prepared, k->dtype, d[0], d[1], d[2] * d[3]);
        return;
    }
    lam_cuda_transpose(stream, source, LAM_F32, prepared, LAM_F32, 1, 1, d[0]);
    if (k->bias_offset > 0)
        lam_cuda_transpose(stream, source, LAM_F32, (char *)prepared + k->bias_offset, k->dtype, 1, 1, d[0]);
}

/* ---- running ---- */

/* The addend in the order of the output; NULL if there is none. */
static const void *addend(const struct conv_kernel *k, const struct lam_kernel_args *args) {
    if (!lam_op_has_addend(&k->base.op)) return NULL;
    return lam_library_in(&k->z, args->in[lam_op_addend(k->base.op.kind)], args);
}

/* False where cuDNN does not have it for this convolution. */
static bool run_fused(const struct conv_kernel *k, const struct lam_kernel_args *args, const void *x,
                      const void *z, void *y) {
    if (!lam_cudnn_conv_may_fuse(k->conv, k->base.op.attr.conv.relu)) return false;
    const void *bias = (const char *)args->in[2] + k->bias_offset;
    cudnnStatus_t status =
        lam_cudnn_conv_run_fused(k->conv, args->count, x, args->in[1], bias, z, y,
                                 lam_library_scratch(args, k->scratch_offset), args->stream->stream);
    if (lam_cudnn_is_unsupported(status) || status == CUDNN_STATUS_BAD_PARAM) return false;
    check(k, status, args->stream);
    return true;
}

static void run_apart(const struct conv_kernel *k, const struct lam_kernel_args *args, const void *x,
                      const void *z, void *y) {
    check(k,
          lam_cudnn_conv_run(k->conv, args->count, x, args->in[1], y,
                             lam_library_scratch(args, k->scratch_offset), args->stream->stream),
          args->stream);
    bool relu = k->base.op.attr.conv.relu;
    int64_t rows = args->count * k->pixels;
    if (k->base.op.in[2].present || z)
        lam_cuda_add_bias(y, k->dtype, args->in[2], z, rows, k->channels, relu, args->stream);
    else if (relu)
        lam_cuda_conv_relu(y, k->dtype, rows * k->channels, args->stream);
}

static void forward_run(const struct lam_kernel *kernel, const struct lam_kernel_args *args) {
    const struct conv_kernel *k = conv_of(kernel);
    const void *x = lam_library_in(&k->x, args->in[0], args), *z = addend(k, args);
    void *y = lam_library_out(&k->y, args->out[0], args);
    if (!run_fused(k, args, x, z, y)) run_apart(k, args, x, z, y);
    lam_library_done(&k->y, args->out[0], args);
}

static void data_run(const struct lam_kernel *kernel, const struct lam_kernel_args *args) {
    const struct conv_kernel *k = conv_of(kernel);
    const void *dy = lam_library_in(&k->y, args->in[0], args);
    void *dx = lam_library_out(&k->x, args->out[0], args);
    check(k,
          lam_cudnn_conv_run(k->conv, args->count, dy, args->in[1], dx,
                             lam_library_scratch(args, k->scratch_offset), args->stream->stream),
          args->stream);
    const void *z = addend(k, args);
    if (z)
        lam_cuda_add_bias(dx, k->dtype, NULL, z, args->count * k->x_pixels, k->x_channels, false,
                          args->stream);
    lam_library_done(&k->x, args->out[0], args);
}

static void weights_run(const struct lam_kernel *kernel, const struct lam_kernel_args *args) {
    const struct conv_kernel *k = conv_of(kernel);
    const void *x = lam_library_in(&k->x, args->in[0], args), *dy = lam_library_in(&k->y, args->in[1], args);
    void *scratch = lam_library_scratch(args, k->scratch_offset);
    float *dw = args->partial, *dbias = (float *)((char *)args->partial + k->dbias_offset);
    bool at_once = k->sum_type == k->dtype && !args->accumulate;
    void *gradient = at_once ? args->partial : (char *)args->workspace + k->gradient_offset;
    check(k, lam_cudnn_conv_run(k->conv, args->count, x, dy, gradient, scratch, args->stream->stream),
          args->stream);
    if (!at_once) lam_cuda_conv_add(dw, gradient, k->dtype, k->weights, args->accumulate, args->stream);
    if (!kernel->op.out[1].present) return;
    lam_cuda_column_total_run(&k->dbias, dy, args->count * k->pixels, dbias, args->accumulate, scratch,
                              args->stream);
}

static void weights_reduce(const struct lam_kernel *kernel, void *const *partials, int partial_count,
                           void *const *out, int part, int parts, struct lam_stream *stream) {
    (void)partial_count, (void)part, (void)parts;
    const struct conv_kernel *k = conv_of(kernel);
    const int64_t *d = kernel->op.out[0].desc.shape.dim;
    const char *sums = partials[0];
    lam_cuda_transpose(stream, sums, k->sum_type, out[0], LAM_F32, d[0], d[2] * d[3], d[1]);
    if (kernel->op.out[1].present)
        lam_cuda_column_total_reduce(&k->dbias, (const float *)(sums + k->dbias_offset), out[1], stream);
}

/* ---- creation ---- */

static void destroy(struct lam_kernel *kernel) {
    lam_cudnn_conv_destroy(((struct conv_kernel *)kernel)->conv);
    free(kernel);
}

static lam_status check_op(const struct lam_op *op) {
    const struct lam_operand *x = lam_conv_x(op), *y = lam_conv_y(op);
    enum lam_dtype dtype = x->desc.dtype;
    if (!x->batched || !y->batched || x->desc.shape.rank != 4 || y->desc.dtype != dtype ||
        (dtype != LAM_F32 && dtype != LAM_BF16))
        return lam_cuda_unsupported(op, "input and output must be batched, and both f32 or both bf16");
    return LAM_OK;
}

static void lay_out(struct conv_kernel *k, struct lam_backend_device *device,
                    const struct lam_kernel_options *options) {
    const struct lam_op *op = &k->base.op;
    bool weights = op->kind == LAM_OP_CONV_BWD_WEIGHTS, whole = lam_cuda_is_whole(op, options);
    size_t bytes = 0;
    bytes += lam_library_operand(&k->x, lam_conv_x(op), LAM_NHWC, LAM_CUDNN_ALIGNMENT, options, bytes);
    bytes += lam_library_operand(&k->y, lam_conv_y(op), LAM_NHWC, LAM_CUDNN_ALIGNMENT, options, bytes);
    if (lam_op_has_addend(op))
        bytes += lam_library_operand(&k->z, &op->in[lam_op_addend(op->kind)], LAM_NHWC, LAM_CUDNN_ALIGNMENT,
                                     options, bytes);
    k->gradient_offset = bytes;
    if (weights && !whole) /* else it is the partial */
        bytes += lam_library_align((size_t)k->weights * lam_dtype_bytes(k->dtype));
    k->scratch_offset = bytes;
    size_t scratch = lam_cudnn_conv_scratch_bytes(k->conv);
    if (weights && op->out[1].present) {
        lam_cuda_column_total_init(&k->dbias, device, whole, k->dtype, options->slices[0] * k->pixels,
                                   k->channels);
        if (k->dbias.workspace_bytes > scratch) scratch = k->dbias.workspace_bytes;
    }
    k->base.workspace_bytes = bytes + lam_library_scratch_bytes(scratch);
}

static void fill_weights(struct conv_kernel *k, const struct lam_kernel_options *options) {
    const struct lam_op *op = &k->base.op;
    k->sum_type = lam_cuda_is_whole(op, options) ? k->dtype : LAM_F32;
    k->dbias_offset = lam_library_align((size_t)k->weights * lam_dtype_bytes(k->sum_type));
    k->base.partial_bytes = k->dbias_offset + k->dbias.partial_bytes;
    k->base.run = weights_run;
    k->base.reduce = weights_reduce;
}

static void fill_data(struct conv_kernel *k) {
    k->base.prepared_bytes[1] = (size_t)k->weights * lam_dtype_bytes(k->dtype);
    k->base.prepared_form[1] = FORM;
    k->base.prepare = prepare;
    k->base.run = k->base.op.kind == LAM_OP_CONV ? forward_run : data_run;
    if (!k->conv->activation) return;
    size_t plain = (size_t)k->channels * sizeof(float);
    if (k->dtype != LAM_F32) k->bias_offset = lam_library_align(plain);
    k->base.prepared_bytes[2] =
        k->dtype == LAM_F32 ? plain : k->bias_offset + (size_t)k->channels * lam_dtype_bytes(k->dtype);
}

static lam_status create(struct lam_backend_device *device, const struct lam_op *op,
                         const struct lam_kernel_options *options, struct lam_kernel **kernel,
                         const char **chosen) {
    struct lam_kernel *made;
    LAM_TRY(lam_cuda_kernel_new(sizeof(struct conv_kernel), op, &made));
    struct conv_kernel *k = (struct conv_kernel *)made;
    made->destroy = destroy;
    lam_status status = lam_cudnn_conv_create(device, op, options, &k->conv, chosen);
    if (status != LAM_OK) {
        destroy(made);
        return status;
    }
    const int64_t *y = lam_conv_y(op)->desc.shape.dim, *x = lam_conv_x(op)->desc.shape.dim;
    k->x_channels = x[1];
    k->x_pixels = x[2] * x[3];
    k->dtype = lam_conv_x(op)->desc.dtype;
    k->channels = y[1];
    k->pixels = y[2] * y[3];
    k->weights = lam_shape_count(lam_conv_w(op)->desc.shape);
    lay_out(k, device, options);
    if (op->kind == LAM_OP_CONV_BWD_WEIGHTS)
        fill_weights(k, options);
    else
        fill_data(k);
    *kernel = made;
    return LAM_OK;
}

lam_status lam_cuda_conv_create(struct lam_backend_device *device, const struct lam_op *op,
                                const struct lam_kernel_options *options, struct lam_kernel **kernel,
                                const char **chosen) {
    LAM_TRY(check_op(op));
    if (!options->choice || strcmp(options->choice, LAM_KERNEL_MEASURE) != 0)
        return create(device, op, options, kernel, chosen);
    const char *names[LAM_CUDNN_MOST_ALGORITHMS + 1];
    lam_cudnn_algorithms(op->kind, names);
    return lam_cuda_measure(device, create, names, op, options, kernel, chosen);
}
