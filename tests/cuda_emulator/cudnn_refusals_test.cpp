/* The emulated cuDNN: what is refused, what ends the test, and what fails on order. */
#include "cuda_emulator/cudnn_setup.h"

namespace {

/* ---- what is refused ---- */

void bad_descriptors() {
    tensor_descriptor t;
    filter_descriptor f;
    convolution_descriptor c;
    activation_descriptor a;
    const cudnnStatus_t bad = CUDNN_STATUS_BAD_PARAM, unsupported = CUDNN_STATUS_NOT_SUPPORTED;
    auto planes = [&](cudnnDataType_t type, int n, int ch, int h, int w) {
        return cudnnSetTensor4dDescriptor(t, CUDNN_TENSOR_NCHW, type, n, ch, h, w);
    };
    auto conv = [&](int pad, int stride, int dilation, cudnnConvolutionMode_t mode) {
        return cudnnSetConvolution2dDescriptor(c, pad, pad, stride, stride, dilation, dilation, mode,
                                               CUDNN_DATA_FLOAT);
    };
    REFUSED(bad, , planes(CUDNN_DATA_FLOAT, 1, 0, 1, 1));
    REFUSED(unsupported, , planes(CUDNN_DATA_HALF, 1, 1, 1, 1));
    REFUSED(unsupported, , planes(CUDNN_DATA_FLOAT, 1 << 10, 1 << 10, 1 << 10, 2));
    REFUSED(unsupported, ,
            cudnnSetTensor4dDescriptor(t, CUDNN_TENSOR_NCHW_VECT_C, CUDNN_DATA_FLOAT, 1, 4, 1, 1));
    REFUSED(bad, , cudnnSetTensor4dDescriptorEx(t, CUDNN_DATA_FLOAT, 2, 2, 2, 2, 8, 4, 2, 0));
    REFUSED(bad, , cudnnSetTensor4dDescriptorEx(t, CUDNN_DATA_FLOAT, 2, 2, 2, 2, 8, 3, 2, 1)); /* overlaps */
    REFUSED(bad, , cudnnSetTensor4dDescriptor(nullptr, CUDNN_TENSOR_NCHW, CUDNN_DATA_FLOAT, 1, 1, 1, 1));
    REFUSED(bad, , cudnnSetFilter4dDescriptor(f, CUDNN_DATA_FLOAT, CUDNN_TENSOR_NCHW, 1, 1, -1, 1));
    REFUSED(bad, , conv(-1, 1, 1, CUDNN_CROSS_CORRELATION));
    REFUSED(bad, , conv(0, 0, 1, CUDNN_CROSS_CORRELATION));
    REFUSED(bad, , conv(0, 1, 0, CUDNN_CROSS_CORRELATION));
    REFUSED(unsupported, , conv(0, 1, 1, CUDNN_CONVOLUTION));
    REFUSED(bad, , cudnnSetConvolutionGroupCount(c, 0));
    REFUSED(bad, , cudnnSetActivationDescriptor(a, (cudnnActivationMode_t)7, CUDNN_PROPAGATE_NAN, 0));
    WORKS(cudnnDestroyTensorDescriptor(nullptr));
}

/* One thing wrong at a time; afterwards all is well again. */
void descriptors_that_do_not_fit() {
    setup t(plain3, element::f32, CUDNN_TENSOR_NHWC, CUDNN_FMA_MATH);
    const shape s = t.s;
    const cudnnDataType_t type = CUDNN_DATA_FLOAT;
    const cudnnTensorFormat_t last = CUDNN_TENSOR_NHWC, planar = CUDNN_TENSOR_NCHW;
    auto set_x = [&](cudnnTensorFormat_t f, cudnnDataType_t d, int c) {
        WORKS(cudnnSetTensor4dDescriptor(t.x, f, d, s.n, c, s.h, s.w));
    };
    auto set_y = [&](cudnnTensorFormat_t f, int n, int h) {
        WORKS(cudnnSetTensor4dDescriptor(t.y, f, type, n, s.k, h, s.wo()));
    };
    auto set_w = [&](cudnnTensorFormat_t f, int c, int r) {
        WORKS(cudnnSetFilter4dDescriptor(t.w, type, f, s.k, c, r, s.s));
    };
    auto refused = [&](cudnnStatus_t status) {
        for (pass p : passes) REFUSED(status, t.wait(), t.run(p, 1));
        size_t bytes;
        for (pass p : passes) REFUSED(status, t.wait(), t.need(p, 1, &bytes));
        set_x(last, type, s.c), set_y(last, s.n, s.ho()), set_w(last, s.c, s.r);
        WORKS(cudnnSetConvolutionGroupCount(t.conv, 1));
        for (pass p : passes) WORKS(t.run(p, 1));
    };
    set_x(last, type, s.c + 1), refused(CUDNN_STATUS_BAD_PARAM);
    set_x(last, CUDNN_DATA_BFLOAT16, s.c), refused(CUDNN_STATUS_BAD_PARAM);
    set_y(last, s.n, s.ho() + 1), refused(CUDNN_STATUS_BAD_PARAM);
    set_y(last, s.n + 1, s.ho()), refused(CUDNN_STATUS_BAD_PARAM);
    set_w(last, s.c / 2, s.r), refused(CUDNN_STATUS_BAD_PARAM);
    set_w(last, s.c, 40), refused(CUDNN_STATUS_BAD_PARAM);
    WORKS(cudnnSetConvolutionGroupCount(t.conv, 2));
    refused(CUDNN_STATUS_BAD_PARAM);
    set_w(planar, s.c, s.r), refused(CUDNN_STATUS_NOT_SUPPORTED);
    set_x(planar, type, s.c), refused(CUDNN_STATUS_NOT_SUPPORTED);
    set_x(planar, type, s.c), set_w(planar, s.c, s.r), refused(CUDNN_STATUS_NOT_SUPPORTED);
    t.wait();
    WORKS(cudnnSetConvolution2dDescriptor(t.conv, s.ph, s.pw, 1, 1, 1, 1, CUDNN_CROSS_CORRELATION,
                                          CUDNN_DATA_BFLOAT16));
    REFUSED(CUDNN_STATUS_NOT_SUPPORTED, t.wait(), t.run(FORWARD, 1));
    tensor_descriptor never_set;
    REFUSED(CUDNN_STATUS_BAD_PARAM, t.wait(),
            cudnnConvolutionForward(t.handle, &one, never_set, t.x_memory.memory, t.w, t.w_memory.memory,
                                    t.conv, CUDNN_CONVOLUTION_FWD_ALGO_IMPLICIT_GEMM, nullptr, 0, &zero, t.y,
                                    t.y_memory.memory));
}

void output_dimensions() {
    for (const shape &s : shapes) {
        setup t(s, element::f32, CUDNN_TENSOR_NCHW, CUDNN_FMA_MATH);
        int n, c, h, w;
        WORKS(cudnnGetConvolution2dForwardOutputDim(t.conv, t.x, t.w, &n, &c, &h, &w));
        CHECK(n == s.n && c == s.k && h == s.ho() && w == s.wo());
        REFUSED(CUDNN_STATUS_BAD_PARAM, t.wait(),
                cudnnGetConvolution2dForwardOutputDim(t.conv, t.x, t.w, &n, &c, &h, nullptr));
    }
}

void bad_arguments() {
    const cudnnStatus_t bad = CUDNN_STATUS_BAD_PARAM;
    for (pass p : passes) {
        setup t(plain3, element::f32, CUDNN_TENSOR_NHWC, CUDNN_FMA_MATH);
        size_t bytes;
        WORKS(t.need(p, 1, &bytes));
        CHECK(bytes > 0);
        REFUSED(bad, t.wait(), t.need(p, 1, nullptr));
        REFUSED(bad, t.wait(), t.need(p, none_such[p], &bytes));
        REFUSED(bad, t.wait(), t.run(p, none_such[p]));
        REFUSED(bad, t.wait(), t.run(p, 1, nullptr));
        REFUSED(bad, t.wait(), t.run(p, 1, &one, nullptr));
        REFUSED(bad, t.wait(), t.run_in(p, 1, t.workspace.memory, bytes - 1));
        REFUSED(bad, t.wait(), t.run_in(p, 1, nullptr, bytes));
        REFUSED(bad, t.wait(), t.run_in(p, 1, t.workspace.at(8), bytes));
        REFUSED(bad, t.wait(), t.run_in(p, 1, t.x_memory.memory, bytes));
    }
    setup t(plain3, element::f32, CUDNN_TENSOR_NHWC, CUDNN_FMA_MATH);
    auto forward = [&](cudnnHandle_t handle, void *x, void *y) {
        return cudnnConvolutionForward(handle, &one, t.x, x, t.w, t.w_memory.memory, t.conv,
                                       CUDNN_CONVOLUTION_FWD_ALGO_IMPLICIT_GEMM, nullptr, 0, &zero, t.y, y);
    };
    REFUSED(bad, t.wait(), forward(t.handle, nullptr, t.y_memory.memory));
    REFUSED(bad, t.wait(), forward(t.handle, t.x_memory.at(2), t.y_memory.memory));
    REFUSED(bad, t.wait(), forward(t.handle, t.y_memory.memory, t.y_memory.memory));
    REFUSED(CUDNN_STATUS_NOT_INITIALIZED, t.wait(), forward(nullptr, t.x_memory.memory, t.y_memory.memory));
    int count;
    cudnnConvolutionFwdAlgoPerf_t results[1];
    REFUSED(bad, t.wait(),
            cudnnGetConvolutionForwardAlgorithm_v7(t.handle, t.x, t.w, t.conv, t.y, 0, &count, results));
    REFUSED(bad, t.wait(), cudnnGetConvolutionForwardAlgorithmMaxCount(t.handle, nullptr));
    WORKS(cudnnGetConvolutionForwardAlgorithm_v7(t.handle, t.x, t.w, t.conv, t.y, 1, &count, results));
    CHECK(count == 1 && results[0].status == CUDNN_STATUS_SUCCESS && results[0].time == -1);
    REFUSED(bad, t.wait(), cudnnCreate(nullptr));
}

/* ---- devices ---- */

void another_device() {
    setup t(plain3, element::f32, CUDNN_TENSOR_NHWC, CUDNN_FMA_MATH);
    WORKS(cudaSetDevice(1));
    cudaStream_t other;
    WORKS(cudaStreamCreateWithFlags(&other, cudaStreamNonBlocking));
    REFUSED(CUDNN_STATUS_BAD_PARAM, , t.run(FORWARD, 1));
    WORKS(cudaSetDevice(0));
    REFUSED(CUDNN_STATUS_BAD_PARAM, , cudnnSetStream(t.handle, other));
    WORKS(cudaStreamDestroy(other));
    WORKS(t.run(FORWARD, 1));
    t.wait();
}

void dead_handle() {
    setup t(plain3, element::f32, CUDNN_TENSOR_NHWC, CUDNN_FMA_MATH);
    cudnnHandle_t handle;
    WORKS(cudnnCreate(&handle));
    WORKS(cudnnDestroy(handle));
    cudnnSetStream(handle, nullptr);
}
void dead_descriptor() {
    setup t(plain3, element::f32, CUDNN_TENSOR_NHWC, CUDNN_FMA_MATH);
    WORKS(cudnnDestroyTensorDescriptor(t.x));
    t.run(FORWARD, 1);
}
void short_memory() {
    setup t(plain3, element::f32, CUDNN_TENSOR_NHWC, CUDNN_FMA_MATH);
    WORKS(
        cudnnSetTensor4dDescriptor(t.x, CUDNN_TENSOR_NHWC, CUDNN_DATA_FLOAT, t.s.n + 9, t.s.c, t.s.h, t.s.w));
    WORKS(cudnnSetTensor4dDescriptor(t.y, CUDNN_TENSOR_NHWC, CUDNN_DATA_FLOAT, t.s.n + 9, t.s.k, t.s.ho(),
                                     t.s.wo()));
    t.run(FORWARD, 1);
}
void short_workspace() {
    setup t(plain3, element::f32, CUDNN_TENSOR_NHWC, CUDNN_FMA_MATH);
    t.run_in(FORWARD, 1, t.workspace.memory, t.workspace.bytes + 4096);
}
void memory_of_the_host() {
    setup t(plain3, element::f32, CUDNN_TENSOR_NHWC, CUDNN_FMA_MATH);
    std::vector<float> host(4096);
    t.run_in(FORWARD, 1, host.data(), host.size() * 4);
}
void leaked_handle() {
    cudnnHandle_t handle;
    WORKS(cudnnCreate(&handle));
}
void leaked_descriptor() {
    cudnnConvolutionDescriptor_t descriptor;
    WORKS(cudnnCreateConvolutionDescriptor(&descriptor));
}
void ignored_failure() {
    setup t(plain3, element::f32, CUDNN_TENSOR_NHWC, CUDNN_FMA_MATH);
    t.run(FORWARD, none_such[FORWARD]);
    t.run(FORWARD, 1);
}

/* ---- streams and graphs ---- */

/* The graph's convolution reads x anew each time. */
void captured() {
    setup t(plain3, element::f32, CUDNN_TENSOR_NHWC, CUDNN_FMA_MATH);
    cudaGraph_t graph;
    cudaGraphExec_t launchable;
    WORKS(cudaStreamBeginCapture(t.stream, cudaStreamCaptureModeThreadLocal));
    WORKS(t.run(FORWARD, 1));
    WORKS(cudaStreamEndCapture(t.stream, &graph));
    WORKS(cudaGraphInstantiate(&launchable, graph, 0));
    t.y_memory.fill(0xFF);
    for (int i = 0; i < 2; i++) {
        values x = random_values(t.type, t.s.x_count(), (uint64_t)(20 + i));
        t.x_memory.write(t.type, t.laid_out(x, t.s.n, t.s.c, t.s.h, t.s.w));
        WORKS(cudaGraphLaunch(launchable, t.stream));
        CHECK(difference(t.result(FORWARD), expected(FORWARD, t.s, x, t.w_values, {})) < tolerance(t.type));
    }
    WORKS(cudaGraphExecDestroy(launchable));
    WORKS(cudaGraphDestroy(graph));
}

/* The second convolution reads what the first writes, on another stream. */
void missing_event() {
    setup first(plain3, element::f32, CUDNN_TENSOR_NHWC, CUDNN_FMA_MATH);
    session second;
    tensor_descriptor db;
    buffer sums((size_t)first.s.k * 4);
    WORKS(cudnnSetTensor4dDescriptor(db, CUDNN_TENSOR_NCHW, CUDNN_DATA_FLOAT, 1, first.s.k, 1, 1));
    WORKS(first.run(FORWARD, 1));
    WORKS(cudnnConvolutionBackwardBias(second.handle, &one, first.y, first.y_memory.memory, &zero, db,
                                       sums.memory));
    first.wait(), second.wait();
}

/* ---- failures on order ---- */

struct order {
    const char *name;
    std::function<cudnnStatus_t()> call;
    cudnnStatus_t status = CUDNN_STATUS_EXECUTION_FAILED;
};

void refuse_on_order(session &on, const std::vector<order> &orders) {
    for (const order &o : orders) {
        emulator_fail(o.name, 1);
        REFUSED(o.status, on.wait(), o.call());
    }
}

void creating_on_order() {
    session on;
    cudnnHandle_t handle;
    cudnnTensorDescriptor_t t;
    cudnnFilterDescriptor_t f;
    cudnnConvolutionDescriptor_t c;
    cudnnActivationDescriptor_t a;
    const cudnnStatus_t no_memory = CUDNN_STATUS_ALLOC_FAILED;
    refuse_on_order(
        on, {{"cudnnCreate", [&] { return cudnnCreate(&handle); }, no_memory},
             {"cudnnCreateTensorDescriptor", [&] { return cudnnCreateTensorDescriptor(&t); }, no_memory},
             {"cudnnCreateFilterDescriptor", [&] { return cudnnCreateFilterDescriptor(&f); }, no_memory},
             {"cudnnCreateConvolutionDescriptor", [&] { return cudnnCreateConvolutionDescriptor(&c); },
              no_memory},
             {"cudnnCreateActivationDescriptor", [&] { return cudnnCreateActivationDescriptor(&a); },
              no_memory}});
    WORKS(cudnnCreateTensorDescriptor(&t));
    emulator_fail("cudnnDestroyTensorDescriptor", 1);
    CHECK(cudnnDestroyTensorDescriptor(t) == CUDNN_STATUS_EXECUTION_FAILED); /* and it is gone */
}

void setting_on_order() {
    session on;
    tensor_descriptor t;
    filter_descriptor f;
    convolution_descriptor c;
    activation_descriptor a;
    const cudnnDataType_t type = CUDNN_DATA_FLOAT;
    const cudnnTensorFormat_t format = CUDNN_TENSOR_NCHW;
    refuse_on_order(
        on, {{"cudnnSetStream", [&] { return cudnnSetStream(on.handle, on.stream); }},
             {"cudnnSetTensor4dDescriptor",
              [&] { return cudnnSetTensor4dDescriptor(t, format, type, 1, 1, 1, 1); }},
             {"cudnnSetTensor4dDescriptorEx",
              [&] { return cudnnSetTensor4dDescriptorEx(t, type, 1, 1, 1, 1, 1, 1, 1, 1); }},
             {"cudnnSetFilter4dDescriptor",
              [&] { return cudnnSetFilter4dDescriptor(f, type, format, 1, 1, 1, 1); }},
             {"cudnnSetConvolution2dDescriptor",
              [&] {
                  return cudnnSetConvolution2dDescriptor(c, 0, 0, 1, 1, 1, 1, CUDNN_CROSS_CORRELATION, type);
              }},
             {"cudnnSetConvolutionGroupCount", [&] { return cudnnSetConvolutionGroupCount(c, 1); }},
             {"cudnnSetConvolutionMathType", [&] { return cudnnSetConvolutionMathType(c, CUDNN_FMA_MATH); }},
             {"cudnnSetActivationDescriptor", [&] {
                  return cudnnSetActivationDescriptor(a, CUDNN_ACTIVATION_RELU, CUDNN_PROPAGATE_NAN, 0);
              }}});
}

void asking_on_order() {
    setup t(plain3, element::f32, CUDNN_TENSOR_NHWC, CUDNN_FMA_MATH);
    int count, n, c, h, w;
    size_t bytes;
    cudnnConvolutionFwdAlgoPerf_t fwd[9];
    cudnnConvolutionBwdDataAlgoPerf_t data[9];
    cudnnConvolutionBwdFilterAlgoPerf_t filter[9];
    refuse_on_order(
        t,
        {{"cudnnGetConvolution2dForwardOutputDim",
          [&] { return cudnnGetConvolution2dForwardOutputDim(t.conv, t.x, t.w, &n, &c, &h, &w); }},
         {"cudnnGetConvolutionForwardAlgorithmMaxCount",
          [&] { return cudnnGetConvolutionForwardAlgorithmMaxCount(t.handle, &count); }},
         {"cudnnGetConvolutionBackwardDataAlgorithmMaxCount",
          [&] { return cudnnGetConvolutionBackwardDataAlgorithmMaxCount(t.handle, &count); }},
         {"cudnnGetConvolutionBackwardFilterAlgorithmMaxCount",
          [&] { return cudnnGetConvolutionBackwardFilterAlgorithmMaxCount(t.handle, &count); }},
         {"cudnnGetConvolutionForwardAlgorithm_v7",
          [&] {
              return cudnnGetConvolutionForwardAlgorithm_v7(t.handle, t.x, t.w, t.conv, t.y, 9, &count, fwd);
          }},
         {"cudnnGetConvolutionBackwardDataAlgorithm_v7",
          [&] {
              return cudnnGetConvolutionBackwardDataAlgorithm_v7(t.handle, t.w, t.y, t.conv, t.x, 9, &count,
                                                                 data);
          }},
         {"cudnnGetConvolutionBackwardFilterAlgorithm_v7",
          [&] {
              return cudnnGetConvolutionBackwardFilterAlgorithm_v7(t.handle, t.x, t.y, t.conv, t.w, 9, &count,
                                                                   filter);
          }},
         {"cudnnGetConvolutionForwardWorkspaceSize", [&] { return t.need(FORWARD, 1, &bytes); }},
         {"cudnnGetConvolutionBackwardDataWorkspaceSize", [&] { return t.need(BACKWARD_DATA, 1, &bytes); }},
         {"cudnnGetConvolutionBackwardFilterWorkspaceSize",
          [&] { return t.need(BACKWARD_FILTER, 1, &bytes); }}});
}

void computing_on_order() {
    fused t;
    refuse_on_order(t, {{"cudnnConvolutionForward", [&] { return t.run(FORWARD, 1); }},
                        {"cudnnConvolutionBackwardData", [&] { return t.run(BACKWARD_DATA, 1); }},
                        {"cudnnConvolutionBackwardFilter", [&] { return t.run(BACKWARD_FILTER, 1); }},
                        {"cudnnConvolutionBiasActivationForward",
                         [&] { return t.run_fused(1, &one, t.z_memory.memory); }},
                        {"cudnnConvolutionBackwardBias", [&] {
                             return cudnnConvolutionBackwardBias(t.handle, &one, t.y, t.y_memory.memory,
                                                                 &zero, t.bias, t.bias_memory.memory);
                         }}});
}

void lost_device() {
    setup t(plain3, element::f32, CUDNN_TENSOR_NHWC, CUDNN_FMA_MATH);
    emulator_lose(0, 0);
    CHECK(t.run(FORWARD, 1) == CUDNN_STATUS_EXECUTION_FAILED);
    char why[200];
    cudnnGetLastErrorString(why, sizeof why);
    CHECK(strstr(why, "the device has failed"));
    emulator_restore();
    WORKS(t.run(FORWARD, 1));
    t.wait();
}

void fused_refusals() {
    fused t;
    void *z = t.z_memory.memory;
    t.activate(CUDNN_ACTIVATION_IDENTITY, CUDNN_NOT_PROPAGATE_NAN);
    REFUSED(CUDNN_STATUS_NOT_SUPPORTED, t.wait(), t.run_fused(0, &one, z));
    t.activate(CUDNN_ACTIVATION_SIGMOID, CUDNN_NOT_PROPAGATE_NAN);
    REFUSED(CUDNN_STATUS_NOT_SUPPORTED, t.wait(), t.run_fused(1, &one, z));
    t.activate(CUDNN_ACTIVATION_RELU, CUDNN_NOT_PROPAGATE_NAN);
    REFUSED(CUDNN_STATUS_BAD_PARAM, t.wait(), t.run_fused(1, nullptr, z));
    REFUSED(CUDNN_STATUS_BAD_PARAM, t.wait(), t.run_fused(1, &one, nullptr));
    buffer both(2 * t.y_memory.bytes);
    REFUSED(CUDNN_STATUS_BAD_PARAM, t.wait(), t.run_fused(1, &one, both.memory, both.at(64))); /* overlap */
    WORKS(cudnnSetTensor4dDescriptor(t.bias, CUDNN_TENSOR_NCHW, CUDNN_DATA_FLOAT, 1, t.s.k - 1, 1, 1));
    REFUSED(CUDNN_STATUS_BAD_PARAM, t.wait(), t.run_fused(1, &one, z));
    WORKS(cudnnSetTensor4dDescriptor(t.bias, CUDNN_TENSOR_NCHW, CUDNN_DATA_BFLOAT16, 1, t.s.k, 1, 1));
    REFUSED(CUDNN_STATUS_BAD_PARAM, t.wait(), t.run_fused(1, &one, z));
    REFUSED(CUDNN_STATUS_BAD_PARAM, t.wait(),
            cudnnConvolutionBackwardBias(t.handle, &one, t.y, t.y_memory.memory, &zero, t.bias,
                                         t.bias_memory.memory));
    WORKS(cudnnSetTensor4dDescriptor(t.bias, CUDNN_TENSOR_NCHW, CUDNN_DATA_FLOAT, 1, t.s.k, 1, 1));
    WORKS(cudnnSetActivationDescriptor(t.activation, CUDNN_ACTIVATION_RELU, CUDNN_NOT_PROPAGATE_NAN, 0));
    REFUSED(CUDNN_STATUS_BAD_PARAM, t.wait(),
            cudnnConvolutionBiasActivationForward(
                t.handle, &one, t.x, t.x_memory.memory, t.w, t.w_memory.memory, t.conv,
                CUDNN_CONVOLUTION_FWD_ALGO_IMPLICIT_PRECOMP_GEMM, t.workspace.memory, t.workspace.bytes, &one,
                t.x, z, t.bias, t.bias_memory.memory, t.activation, t.y, t.y_memory.memory));
}

void the_library() {
    CHECK(cudnnGetVersion() == CUDNN_VERSION);
    CHECK(strcmp(cudnnGetErrorString(CUDNN_STATUS_BAD_PARAM), "CUDNN_STATUS_BAD_PARAM") == 0);
    CHECK(strcmp(cudnnGetErrorString(CUDNN_STATUS_NOT_SUPPORTED), "CUDNN_STATUS_NOT_SUPPORTED") == 0);
    session on;
}

} // namespace

int main() {
    expect_success("cudnn: library", the_library);
    expect_success("cudnn: fused refusals", fused_refusals);
    expect_success("cudnn: bad descriptors", bad_descriptors);
    expect_success("cudnn: descriptors fit", descriptors_that_do_not_fit);
    expect_success("cudnn: output dimensions", output_dimensions);
    expect_success("cudnn: bad arguments", bad_arguments);
    expect_success("cudnn: another device", another_device);
    expect_success("cudnn: captured", captured);
    expect_success("cudnn: creating on order", creating_on_order);
    expect_success("cudnn: setting on order", setting_on_order);
    expect_success("cudnn: asking on order", asking_on_order);
    expect_success("cudnn: computing on order", computing_on_order);
    expect_success("cudnn: lost device", lost_device);
#ifdef EMULATOR_TSAN
    expect_exit("cudnn: missing event", missing_event, EXIT_RACE, "ThreadSanitizer: data race");
#else
    expect_success("cudnn: missing event", missing_event);
#endif
    expect_abort("cudnn: dead handle", dead_handle, "cudnnHandle_t");
    expect_abort("cudnn: dead descriptor", dead_descriptor, "cudnnTensorDescriptor_t");
    expect_abort("cudnn: short memory", short_memory, "cudnnConvolutionForward: x");
    expect_abort("cudnn: short workspace", short_workspace, "cudnnConvolutionForward: workspace");
    expect_abort("cudnn: memory of the host", memory_of_the_host, "cudnnConvolutionForward: workspace");
    expect_abort("cudnn: ignored failure", ignored_failure, "ignored error of cudnnConvolutionForward");
    expect_exit("cudnn: leaked handle", leaked_handle, EXIT_LEAKED, "cudnnHandle_t");
    expect_exit("cudnn: leaked descriptor", leaked_descriptor, EXIT_LEAKED, "cudnnConvolutionDescriptor_t");
    return test_result();
}
