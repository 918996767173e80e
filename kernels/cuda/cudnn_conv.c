#include "cuda/cudnn_conv.h"

#include <stdlib.h>

/* ---- descriptors ---- */

static cudnnDataType_t data_type(const struct lam_op *op) {
    return lam_conv_x(op)->desc.dtype == LAM_BF16 ? CUDNN_DATA_BFLOAT16 : CUDNN_DATA_FLOAT;
}

static lam_status describe_map(const struct lam_op *op, const struct lam_operand *map, int count,
                               cudnnTensorDescriptor_t *tensor) {
    const int64_t *d = map->desc.shape.dim;
    LAM_TRY_DNN(op, cudnnCreateTensorDescriptor, tensor);
    LAM_TRY_DNN(op, cudnnSetTensor4dDescriptor, *tensor, CUDNN_TENSOR_NHWC, data_type(op), count, (int)d[1],
                (int)d[2], (int)d[3]);
    return LAM_OK;
}

static lam_status describe_filters(const struct lam_op *op, cudnnFilterDescriptor_t *w) {
    const int64_t *d = lam_conv_w(op)->desc.shape.dim;
    LAM_TRY_DNN(op, cudnnCreateFilterDescriptor, w);
    LAM_TRY_DNN(op, cudnnSetFilter4dDescriptor, *w, data_type(op), CUDNN_TENSOR_NHWC, (int)d[0], (int)d[1],
                (int)d[2], (int)d[3]);
    return LAM_OK;
}

/* f32 is f32, unless TF32 is allowed; bf16 may use the tensor cores. */
static cudnnMathType_t math_type(const struct lam_op *op, bool tf32) {
    if (data_type(op) == CUDNN_DATA_BFLOAT16) return CUDNN_TENSOR_OP_MATH;
    return tf32 ? CUDNN_DEFAULT_MATH : CUDNN_FMA_MATH;
}

static lam_status describe_convolution(const struct lam_op *op, cudnnMathType_t math,
                                       cudnnConvolutionDescriptor_t *convolution) {
    const struct lam_conv_attr *a = &op->attr.conv;
    LAM_TRY_DNN(op, cudnnCreateConvolutionDescriptor, convolution);
    LAM_TRY_DNN(op, cudnnSetConvolution2dDescriptor, *convolution, a->pad[0], a->pad[1], a->stride[0],
                a->stride[1], a->dilation[0], a->dilation[1], CUDNN_CROSS_CORRELATION, CUDNN_DATA_FLOAT);
    LAM_TRY_DNN(op, cudnnSetConvolutionGroupCount, *convolution, a->groups);
    LAM_TRY_DNN(op, cudnnSetConvolutionMathType, *convolution, math);
    return LAM_OK;
}

static lam_status describe_activation(const struct lam_op *op, struct lam_cudnn_conv *conv) {
    cudnnActivationMode_t mode = op->attr.conv.relu ? CUDNN_ACTIVATION_RELU : CUDNN_ACTIVATION_IDENTITY;
    LAM_TRY_DNN(op, cudnnCreateTensorDescriptor, &conv->bias);
    LAM_TRY_DNN(op, cudnnSetTensor4dDescriptor, conv->bias, CUDNN_TENSOR_NHWC, data_type(op), 1,
                (int)lam_conv_y(op)->desc.shape.dim[1], 1, 1);
    LAM_TRY_DNN(op, cudnnCreateActivationDescriptor, &conv->activation);
    LAM_TRY_DNN(op, cudnnSetActivationDescriptor, conv->activation, mode, CUDNN_PROPAGATE_NAN, 0.0);
    return LAM_OK;
}

static lam_status describe(const struct lam_op *op, const struct lam_kernel_options *options,
                           struct lam_cudnn_conv *conv) {
    conv->math = math_type(op, options->tf32);
    LAM_TRY(describe_convolution(op, conv->math, &conv->convolution));
    LAM_TRY(describe_filters(op, &conv->w));
    if (op->kind == LAM_OP_CONV && op->in[2].present) LAM_TRY(describe_activation(op, conv));
    for (int i = 0; i < conv->slice_count; i++) {
        struct lam_cudnn_slice *slice = &conv->slices[i];
        slice->count = options->slices[i];
        LAM_TRY(describe_map(op, lam_conv_x(op), slice->count, &slice->x));
        LAM_TRY(describe_map(op, lam_conv_y(op), slice->count, &slice->y));
    }
    return LAM_OK;
}

/* ---- create and destroy ---- */

lam_status lam_cudnn_conv_create(struct lam_backend_device *device, const struct lam_op *op,
                                 const struct lam_kernel_options *options, struct lam_cudnn_conv **conv,
                                 const char **chosen) {
    cudnnHandle_t handle;
    LAM_TRY(lam_cuda_dnn(device, &handle));
    struct lam_cudnn_conv *made =
        calloc(1, sizeof *made + (size_t)options->slice_count * sizeof made->slices[0]);
    if (!made) return lam_no_memory();
    made->kind = op->kind;
    made->handle = handle;
    made->slice_count = options->slice_count;
    lam_status status = describe(op, options, made);
    if (status == LAM_OK) status = lam_cudnn_choose(op, options, made, chosen);
    if (status == LAM_OK)
        *conv = made;
    else
        lam_cudnn_conv_destroy(made);
    return status;
}

void lam_cudnn_conv_destroy(struct lam_cudnn_conv *conv) {
    if (!conv) return;
    for (int i = 0; i < conv->slice_count; i++) {
        LAM_DESTROY_DNN(cudnnDestroyTensorDescriptor, conv->slices[i].x);
        LAM_DESTROY_DNN(cudnnDestroyTensorDescriptor, conv->slices[i].y);
    }
    LAM_DESTROY_DNN(cudnnDestroyActivationDescriptor, conv->activation);
    LAM_DESTROY_DNN(cudnnDestroyTensorDescriptor, conv->bias);
    LAM_DESTROY_DNN(cudnnDestroyFilterDescriptor, conv->w);
    LAM_DESTROY_DNN(cudnnDestroyConvolutionDescriptor, conv->convolution);
    free(conv);
}

size_t lam_cudnn_conv_scratch_bytes(const struct lam_cudnn_conv *conv) {
    size_t most = 0;
    for (int i = 0; i < conv->slice_count; i++)
        if (conv->slices[i].scratch_bytes > most) most = conv->slices[i].scratch_bytes;
    return most;
}

/* ---- running ---- */

static const float one = 1, zero = 0;

static const struct lam_cudnn_slice *find_slice(const struct lam_cudnn_conv *conv, int count) {
    for (int i = 0; i < conv->slice_count; i++)
        if (conv->slices[i].count == count) return &conv->slices[i];
    return NULL;
}

cudnnStatus_t lam_cudnn_conv_run(const struct lam_cudnn_conv *conv, int count, const void *first,
                                 const void *second, void *out, void *scratch, cudaStream_t stream) {
    const struct lam_cudnn_slice *s = find_slice(conv, count);
    if (!s) return CUDNN_STATUS_BAD_PARAM;
    cudnnStatus_t status = cudnnSetStream(conv->handle, stream);
    if (status != CUDNN_STATUS_SUCCESS) return status;
    if (s->scratch_bytes == 0) scratch = NULL;
    if (conv->kind == LAM_OP_CONV)
        return cudnnConvolutionForward(conv->handle, &one, s->x, first, conv->w, second, conv->convolution,
                                       (cudnnConvolutionFwdAlgo_t)conv->algorithm, scratch, s->scratch_bytes,
                                       &zero, s->y, out);
    if (conv->kind == LAM_OP_CONV_BWD_DATA)
        return cudnnConvolutionBackwardData(conv->handle, &one, conv->w, second, s->y, first,
                                            conv->convolution, (cudnnConvolutionBwdDataAlgo_t)conv->algorithm,
                                            scratch, s->scratch_bytes, &zero, s->x, out);
    return cudnnConvolutionBackwardFilter(conv->handle, &one, s->x, first, s->y, second, conv->convolution,
                                          (cudnnConvolutionBwdFilterAlgo_t)conv->algorithm, scratch,
                                          s->scratch_bytes, &zero, conv->w, out);
}

/* A summand that is not there has the factor 0, and y is named in its place. */
cudnnStatus_t lam_cudnn_conv_run_fused(const struct lam_cudnn_conv *conv, int count, const void *x,
                                       const void *w, const void *bias, const void *z, void *y, void *scratch,
                                       cudaStream_t stream) {
    const struct lam_cudnn_slice *s = find_slice(conv, count);
    if (!s) return CUDNN_STATUS_BAD_PARAM;
    cudnnStatus_t status = cudnnSetStream(conv->handle, stream);
    if (status != CUDNN_STATUS_SUCCESS) return status;
    if (s->scratch_bytes == 0) scratch = NULL;
    return cudnnConvolutionBiasActivationForward(conv->handle, &one, s->x, x, conv->w, w, conv->convolution,
                                                 (cudnnConvolutionFwdAlgo_t)conv->algorithm, scratch,
                                                 s->scratch_bytes, z ? &one : &zero, s->y, z ? z : y,
                                                 conv->bias, bias, conv->activation, s->y, y);
}
