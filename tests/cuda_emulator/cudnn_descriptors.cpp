/* The emulated cuDNN: handles, errors and descriptors. */
#include "cuda_emulator/cudnn_objects.h"

#include <algorithm>
#include <cstdio>

using namespace emulator::cudnn;

namespace emulator::cudnn {

tensor packed(cudnnTensorFormat_t format, cudnnDataType_t type, int n, int c, int h, int w) {
    int64_t image = (int64_t)c * h * w, row = w;
    if (format == CUDNN_TENSOR_NHWC) return {type, n, c, h, w, image, 1, row * c, c};
    return {type, n, c, h, w, image, (int64_t)h * w, row, 1};
}

bool is_packed(const tensor &t, cudnnTensorFormat_t format) {
    tensor p = packed(format, t.type, t.n, t.c, t.h, t.w);
    auto same = [](int count, int64_t a, int64_t b) { return count == 1 || a == b; };
    return same(t.n, t.sn, p.sn) && same(t.c, t.sc, p.sc) && same(t.h, t.sh, p.sh) && same(t.w, t.sw, p.sw);
}

void expect_current(cudnnHandle_t handle) {
    if (!handle) refuse(CUDNN_STATUS_NOT_INITIALIZED, "the handle is NULL");
    expect_object(cudnnContext::kind, handle);
    handle->calls++;
    if (current_device() != handle->device)
        refuse(CUDNN_STATUS_BAD_PARAM, "the handle is of device %d, the thread's current device is %d",
               handle->device, current_device());
}

namespace {

void check_format(cudnnTensorFormat_t format) {
    if (format != CUDNN_TENSOR_NCHW && format != CUDNN_TENSOR_NHWC)
        refuse(CUDNN_STATUS_NOT_SUPPORTED, "a format other than NCHW and NHWC");
}

/* Positive dimensions, at most 2^31 - 1 elements from first to last, no two elements in one place. */
void check_tensor(const tensor &t) {
    if (t.type != CUDNN_DATA_FLOAT && t.type != CUDNN_DATA_BFLOAT16)
        refuse(CUDNN_STATUS_NOT_SUPPORTED, "element type %d; float and bfloat16 are emulated", (int)t.type);
    struct {
        int64_t count, stride;
    } d[4] = {{t.n, t.sn}, {t.c, t.sc}, {t.h, t.sh}, {t.w, t.sw}};
    for (auto &dimension : d)
        if (dimension.count < 1 || dimension.stride < 1)
            refuse(CUDNN_STATUS_BAD_PARAM,
                   "dimensions (%d %d %d %d), strides (%ld %ld %ld %ld): not positive", t.n, t.c, t.h, t.w,
                   (long)t.sn, (long)t.sc, (long)t.sh, (long)t.sw);
    std::sort(d, d + 4, [](auto &a, auto &b) { return a.stride < b.stride; });
    int64_t last = 0;
    for (auto &dimension : d) {
        if (dimension.count == 1) continue;
        if (dimension.stride <= last) refuse(CUDNN_STATUS_BAD_PARAM, "strides that let elements overlap");
        last += (dimension.count - 1) * dimension.stride;
        if (last >= INT32_MAX) refuse(CUDNN_STATUS_NOT_SUPPORTED, "more than 2^31 - 1 elements");
    }
}

} // namespace

} // namespace emulator::cudnn

/* ---- the library, handles, errors ---- */

size_t cudnnGetVersion(void) {
    return CUDNN_VERSION;
}

const char *cudnnGetErrorString(cudnnStatus_t status) {
    emulator::note_looked();
#define NAME(value)                                                                                          \
    case value:                                                                                              \
        return #value
    switch (status) {
        NAME(CUDNN_STATUS_SUCCESS);
        NAME(CUDNN_STATUS_NOT_INITIALIZED);
        NAME(CUDNN_STATUS_BAD_PARAM);
        NAME(CUDNN_STATUS_NOT_SUPPORTED);
        NAME(CUDNN_STATUS_INTERNAL_ERROR);
        NAME(CUDNN_STATUS_INTERNAL_ERROR_HOST_ALLOCATION_FAILED);
        NAME(CUDNN_STATUS_EXECUTION_FAILED);
    default:
        return "CUDNN_UNKNOWN_STATUS";
    }
#undef NAME
}

void cudnnGetLastErrorString(char *message, size_t max_size) {
    emulator::note_looked();
    if (message && max_size > 0) snprintf(message, max_size, "%s", emulator::library::last_refusal().c_str());
    emulator::library::last_refusal().clear();
}

cudnnStatus_t cudnnCreate(cudnnHandle_t *handle) {
    return create<cudnnContext>(__func__, handle, {emulator::current_device(), nullptr, 0});
}

cudnnStatus_t cudnnDestroy(cudnnHandle_t handle) {
    return destroy(__func__, handle);
}

cudnnStatus_t cudnnSetStream(cudnnHandle_t handle, cudaStream_t stream) {
    return entry(__func__, [&] {
        expect_current(handle);
        if (emulator::device_of(stream) != handle->device)
            refuse(CUDNN_STATUS_BAD_PARAM, "the stream is of device %d, the handle of %d",
                   emulator::device_of(stream), handle->device);
        handle->stream = stream;
    });
}

/* ---- tensors and filters ---- */

cudnnStatus_t cudnnCreateTensorDescriptor(cudnnTensorDescriptor_t *descriptor) {
    return create<cudnnTensorStruct>(__func__, descriptor, {});
}

cudnnStatus_t cudnnDestroyTensorDescriptor(cudnnTensorDescriptor_t descriptor) {
    return destroy(__func__, descriptor);
}

cudnnStatus_t cudnnSetTensor4dDescriptor(cudnnTensorDescriptor_t descriptor, cudnnTensorFormat_t format,
                                         cudnnDataType_t type, int n, int c, int h, int w) {
    return entry(__func__, [&] {
        expect(descriptor, "tensorDesc");
        check_format(format);
        tensor value = packed(format, type, n, c, h, w);
        check_tensor(value);
        *descriptor = {true, value};
    });
}

cudnnStatus_t cudnnSetTensor4dDescriptorEx(cudnnTensorDescriptor_t descriptor, cudnnDataType_t type, int n,
                                           int c, int h, int w, int sn, int sc, int sh, int sw) {
    return entry(__func__, [&] {
        expect(descriptor, "tensorDesc");
        tensor value = {type, n, c, h, w, sn, sc, sh, sw};
        check_tensor(value);
        *descriptor = {true, value};
    });
}

cudnnStatus_t cudnnCreateFilterDescriptor(cudnnFilterDescriptor_t *descriptor) {
    return create<cudnnFilterStruct>(__func__, descriptor, {});
}

cudnnStatus_t cudnnDestroyFilterDescriptor(cudnnFilterDescriptor_t descriptor) {
    return destroy(__func__, descriptor);
}

cudnnStatus_t cudnnSetFilter4dDescriptor(cudnnFilterDescriptor_t descriptor, cudnnDataType_t type,
                                         cudnnTensorFormat_t format, int k, int c, int h, int w) {
    return entry(__func__, [&] {
        expect(descriptor, "filterDesc");
        check_format(format);
        filter value = {packed(format, type, k, c, h, w), format};
        check_tensor(value);
        *descriptor = {true, value};
    });
}

/* ---- convolutions ---- */

cudnnStatus_t cudnnCreateConvolutionDescriptor(cudnnConvolutionDescriptor_t *descriptor) {
    cudnnConvolutionStruct fresh = {};
    fresh.value.groups = 1;
    return create<cudnnConvolutionStruct>(__func__, descriptor, fresh);
}

cudnnStatus_t cudnnDestroyConvolutionDescriptor(cudnnConvolutionDescriptor_t descriptor) {
    return destroy(__func__, descriptor);
}

/* Leaves the group count and the math type as they are. */
cudnnStatus_t cudnnSetConvolution2dDescriptor(cudnnConvolutionDescriptor_t descriptor, int pad_h, int pad_w,
                                              int u, int v, int dilation_h, int dilation_w,
                                              cudnnConvolutionMode_t mode, cudnnDataType_t compute) {
    return entry(__func__, [&] {
        expect(descriptor, "convDesc");
        if (pad_h < 0 || pad_w < 0 || u < 1 || v < 1 || dilation_h < 1 || dilation_w < 1)
            refuse(CUDNN_STATUS_BAD_PARAM, "padding (%d %d), stride (%d %d), dilation (%d %d)", pad_h, pad_w,
                   u, v, dilation_h, dilation_w);
        if (mode != CUDNN_CROSS_CORRELATION)
            refuse(CUDNN_STATUS_NOT_SUPPORTED, "mode %d; only CUDNN_CROSS_CORRELATION is emulated",
                   (int)mode);
        const convolution &old = descriptor->value;
        *descriptor = {true, {pad_h, pad_w, u, v, dilation_h, dilation_w, old.groups, old.math, compute}};
    });
}

cudnnStatus_t cudnnSetConvolutionGroupCount(cudnnConvolutionDescriptor_t descriptor, int groups) {
    return entry(__func__, [&] {
        expect(descriptor, "convDesc");
        if (groups < 1) refuse(CUDNN_STATUS_BAD_PARAM, "%d groups", groups);
        descriptor->value.groups = groups;
    });
}

cudnnStatus_t cudnnSetConvolutionMathType(cudnnConvolutionDescriptor_t descriptor, cudnnMathType_t math) {
    return entry(__func__, [&] {
        expect(descriptor, "convDesc");
        if (math < CUDNN_DEFAULT_MATH || math > CUDNN_FMA_MATH)
            refuse(CUDNN_STATUS_BAD_PARAM, "math type %d", (int)math);
        descriptor->value.math = math;
    });
}

/* ---- activations ---- */

cudnnStatus_t cudnnCreateActivationDescriptor(cudnnActivationDescriptor_t *descriptor) {
    return create<cudnnActivationStruct>(__func__, descriptor, {});
}

cudnnStatus_t cudnnDestroyActivationDescriptor(cudnnActivationDescriptor_t descriptor) {
    return destroy(__func__, descriptor);
}

cudnnStatus_t cudnnSetActivationDescriptor(cudnnActivationDescriptor_t descriptor, cudnnActivationMode_t mode,
                                           cudnnNanPropagation_t nan, double) {
    return entry(__func__, [&] {
        expect(descriptor, "activationDesc");
        if (mode < CUDNN_ACTIVATION_SIGMOID || mode > CUDNN_ACTIVATION_SWISH)
            refuse(CUDNN_STATUS_BAD_PARAM, "activation mode %d", (int)mode);
        *descriptor = {true, {mode, nan == CUDNN_PROPAGATE_NAN}};
    });
}
