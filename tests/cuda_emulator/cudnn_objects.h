/* The objects behind the handles and descriptors of the emulated cuDNN, and their contents as values. */
#ifndef LAM_CUDA_EMULATOR_CUDNN_OBJECTS_H
#define LAM_CUDA_EMULATOR_CUDNN_OBJECTS_H

#include <cudnn.h>

#include "cuda_emulator/cudnn_cublas.h"

template <> struct emulator::library::statuses<cudnnStatus_t> {
    static constexpr cudnnStatus_t execution_failed = CUDNN_STATUS_EXECUTION_FAILED;
    static constexpr cudnnStatus_t alloc_failed = CUDNN_STATUS_ALLOC_FAILED;
    static constexpr cudnnStatus_t invalid = CUDNN_STATUS_BAD_PARAM;
    static constexpr cudnnStatus_t unsupported = CUDNN_STATUS_NOT_SUPPORTED;
};

namespace emulator::cudnn {

using library::element;
using library::refuse;

/* A tensor, or a filter: then n is the number of output channels, c that of the input channels of one group. */
struct tensor {
    cudnnDataType_t type;
    int n, c, h, w;
    int64_t sn, sc, sh, sw;

    element of() const { return type == CUDNN_DATA_FLOAT ? element::f32 : element::bf16; }
    int64_t count() const { return (int64_t)n * c * h * w; }
    int64_t at(int in, int ic, int ih, int iw) const { return in * sn + ic * sc + ih * sh + iw * sw; }
    size_t bytes() const { return (size_t)(at(n - 1, c - 1, h - 1, w - 1) + 1) * library::size_of(of()); }
};

tensor packed(cudnnTensorFormat_t format, cudnnDataType_t type, int n, int c, int h, int w);
/* Whether the strides are those of a packed tensor; dimensions of 1 fit any stride. */
bool is_packed(const tensor &t, cudnnTensorFormat_t format);

struct filter : tensor {
    cudnnTensorFormat_t format;
};

struct convolution {
    int pad_h, pad_w, stride_h, stride_w, dilation_h, dilation_w, groups;
    cudnnMathType_t math;
    cudnnDataType_t compute;
};

struct activation {
    cudnnActivationMode_t mode;
    bool propagate_nan;
};

template <typename Body> cudnnStatus_t entry(const char *name, Body body) {
    return library::entry<cudnnStatus_t>(name, body);
}
template <typename Body> cudnnStatus_t query(const char *name, Body body) {
    return library::query<cudnnStatus_t>(name, body);
}
template <typename Struct> cudnnStatus_t create(const char *name, Struct **object, const Struct &value) {
    return library::create<cudnnStatus_t>(name, Struct::kind, object, value);
}
template <typename Struct> cudnnStatus_t destroy(const char *name, Struct *object) {
    return library::destroy<cudnnStatus_t>(name, Struct::kind, object);
}

} // namespace emulator::cudnn

struct cudnnContext {
    static constexpr const char *kind = "cudnnHandle_t";
    int device;
    cudaStream_t stream;
    unsigned calls; /* a plain counter: ThreadSanitizer sees a handle that two threads use at once */
};

/* Descriptors exist before they are set. */
struct cudnnTensorStruct {
    static constexpr const char *kind = "cudnnTensorDescriptor_t";
    bool set;
    emulator::cudnn::tensor value;
};

struct cudnnFilterStruct {
    static constexpr const char *kind = "cudnnFilterDescriptor_t";
    bool set;
    emulator::cudnn::filter value;
};

struct cudnnConvolutionStruct {
    static constexpr const char *kind = "cudnnConvolutionDescriptor_t";
    bool set;
    emulator::cudnn::convolution value;
};

struct cudnnActivationStruct {
    static constexpr const char *kind = "cudnnActivationDescriptor_t";
    bool set;
    emulator::cudnn::activation value;
};

namespace emulator::cudnn {

/* Refuses an absent descriptor, and one that was never set; one that is not alive ends the test. */
template <typename Struct> void expect(const Struct *object, const char *name) {
    if (!object) refuse(CUDNN_STATUS_BAD_PARAM, "%s is NULL", name);
    expect_object(Struct::kind, object);
}
template <typename Struct> const auto &value_of(const Struct *descriptor, const char *name) {
    expect(descriptor, name);
    if (!descriptor->set) refuse(CUDNN_STATUS_BAD_PARAM, "%s was never set", name);
    return descriptor->value;
}

/* Of a handle, for calls that put work on its stream: the thread's current device must be the handle's. */
void expect_current(cudnnHandle_t handle);

} // namespace emulator::cudnn

#endif
