/* A convolution with everything that it needs, for tests of the emulated cuDNN, and the sums that must come out. */
#ifndef LAM_CUDA_EMULATOR_CUDNN_SETUP_H
#define LAM_CUDA_EMULATOR_CUDNN_SETUP_H

#include <functional>

#include <cudnn.h>

#include "cuda_emulator/libraries_test.h"

namespace {

/* ---- shapes, and the sums that must come out ---- */

struct shape {
    int n, c, h, w;             /* of x */
    int k, r, s, groups;        /* of the filter */
    int sh, sw, ph, pw, dh, dw; /* stride, padding, dilation */

    int ho() const { return (h + 2 * ph - ((r - 1) * dh + 1)) / sh + 1; }
    int wo() const { return (w + 2 * pw - ((s - 1) * dw + 1)) / sw + 1; }
    size_t x_count() const { return (size_t)(n * c * h * w); }
    size_t w_count() const { return (size_t)(k * (c / groups) * r * s); }
    size_t y_count() const { return (size_t)(n * k * ho() * wo()); }
};

const shape plain3 = {2, 8, 9, 7, 16, 3, 3, 1, 1, 1, 1, 1, 1, 1};
const shape shapes[] = {
    plain3,
    {3, 4, 6, 6, 8, 1, 1, 1, 1, 1, 0, 0, 1, 1},
    {2, 3, 11, 10, 5, 3, 2, 1, 2, 3, 1, 0, 1, 1},
    {1, 6, 9, 9, 9, 3, 3, 3, 1, 2, 2, 1, 1, 1},
    {2, 10, 8, 8, 10, 3, 3, 10, 1, 1, 1, 1, 1, 1},
    {2, 4, 13, 12, 6, 3, 3, 2, 1, 1, 2, 2, 2, 3},
    {1, 1, 5, 5, 1, 5, 5, 1, 1, 1, 0, 0, 1, 1},
    {2, 20, 7, 7, 12, 5, 5, 1, 2, 2, 2, 2, 1, 1},
};

using values = std::vector<double>;

/* Every product of a convolution: indices into x, w and y as [N,C,H,W], [K,C/G,R,S], [N,K,Ho,Wo]. */
void for_products(const shape &s, const std::function<void(size_t x, size_t w, size_t y)> &use) {
    int cg = s.c / s.groups, kg = s.k / s.groups;
    for (int n = 0; n < s.n; n++)
        for (int k = 0; k < s.k; k++)
            for (int y = 0; y < s.ho(); y++)
                for (int x = 0; x < s.wo(); x++)
                    for (int c = 0; c < cg; c++)
                        for (int r = 0; r < s.r; r++)
                            for (int t = 0; t < s.s; t++) {
                                int h = y * s.sh - s.ph + r * s.dh, w = x * s.sw - s.pw + t * s.dw;
                                if (h < 0 || h >= s.h || w < 0 || w >= s.w) continue;
                                int channel = k / kg * cg + c;
                                use((size_t)(((n * s.c + channel) * s.h + h) * s.w + w),
                                    (size_t)(((k * cg + c) * s.r + r) * s.s + t),
                                    (size_t)(((n * s.k + k) * s.ho() + y) * s.wo() + x));
                            }
}

enum pass { FORWARD, BACKWARD_DATA, BACKWARD_FILTER };
const pass passes[] = {FORWARD, BACKWARD_DATA, BACKWARD_FILTER};

const int none_such[] = {CUDNN_CONVOLUTION_FWD_ALGO_COUNT, CUDNN_CONVOLUTION_BWD_DATA_ALGO_COUNT,
                         CUDNN_CONVOLUTION_BWD_FILTER_ALGO_COUNT};

values expected(pass p, const shape &s, const values &x, const values &w, const values &y) {
    values sum(p == FORWARD ? s.y_count() : p == BACKWARD_DATA ? s.x_count() : s.w_count());
    for_products(s, [&](size_t xi, size_t wi, size_t yi) {
        if (p == FORWARD) sum[yi] += x[xi] * w[wi];
        if (p == BACKWARD_DATA) sum[xi] += y[yi] * w[wi];
        if (p == BACKWARD_FILTER) sum[wi] += x[xi] * y[yi];
    });
    return sum;
}

/* [A,B,H,W] to [A,H,W,B], or back. */
values channels_last(const values &from, int a, int b, int h, int w, bool back) {
    values to(from.size());
    for (int i = 0; i < a; i++)
        for (int j = 0; j < b; j++)
            for (int p = 0; p < h * w; p++) {
                size_t planar = (size_t)((i * b + j) * h * w + p), last = (size_t)((i * h * w + p) * b + j);
                (back ? to[planar] : to[last]) = from[back ? last : planar];
            }
    return to;
}

/* ---- a convolution with everything that it needs ---- */

template <typename Descriptor> struct owned {
    owned(cudnnStatus_t (*create)(Descriptor *), cudnnStatus_t (*destroy_)(Descriptor)) : destroy(destroy_) {
        WORKS(create(&it));
    }
    owned(const owned &) = delete;
    ~owned() { reset(); }
    void reset() {
        if (it) WORKS(destroy(it));
        it = nullptr;
    }
    operator Descriptor() const { return it; }
    Descriptor it = nullptr;
    cudnnStatus_t (*destroy)(Descriptor);
};
struct tensor_descriptor : owned<cudnnTensorDescriptor_t> {
    tensor_descriptor() : owned(cudnnCreateTensorDescriptor, cudnnDestroyTensorDescriptor) {}
};
struct filter_descriptor : owned<cudnnFilterDescriptor_t> {
    filter_descriptor() : owned(cudnnCreateFilterDescriptor, cudnnDestroyFilterDescriptor) {}
};
struct convolution_descriptor : owned<cudnnConvolutionDescriptor_t> {
    convolution_descriptor() : owned(cudnnCreateConvolutionDescriptor, cudnnDestroyConvolutionDescriptor) {}
};
struct activation_descriptor : owned<cudnnActivationDescriptor_t> {
    activation_descriptor() : owned(cudnnCreateActivationDescriptor, cudnnDestroyActivationDescriptor) {}
};

struct session {
    session() {
        WORKS(cudnnCreate(&handle));
        WORKS(cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking));
        WORKS(cudnnSetStream(handle, stream));
    }
    session(const session &) = delete;
    ~session() {
        cudaStreamSynchronize(stream);
        cudaStreamDestroy(stream);
        cudnnDestroy(handle);
    }
    void wait() { WORKS(cudaStreamSynchronize(stream)); }
    cudnnHandle_t handle;
    cudaStream_t stream;
};

const float one = 1, zero = 0;

struct perf {
    int algo;
    cudnnStatus_t status;
    size_t memory;
    cudnnDeterminism_t determinism;
    cudnnMathType_t math;
};
template <typename Perf> std::vector<perf> plain(const std::vector<Perf> &from, int count) {
    std::vector<perf> to;
    for (int i = 0; i < count; i++) {
        const Perf &f = from[(size_t)i];
        to.push_back({(int)f.algo, f.status, f.memory, f.determinism, f.mathType});
    }
    return to;
}

struct setup : session {
    setup(const shape &s_, element type_, cudnnTensorFormat_t format_, cudnnMathType_t math)
        : s(s_), type(type_), format(format_), x_values(random_values(type, s.x_count(), 1)),
          w_values(random_values(type, s.w_count(), 2)), y_values(random_values(type, s.y_count(), 3)),
          x_memory(s.x_count() * size_of(type)), w_memory(s.w_count() * size_of(type)),
          y_memory(s.y_count() * size_of(type)), workspace(1 << 20) {
        cudnnDataType_t data = data_type();
        WORKS(cudnnSetTensor4dDescriptor(x, format, data, s.n, s.c, s.h, s.w));
        WORKS(cudnnSetTensor4dDescriptor(y, format, data, s.n, s.k, s.ho(), s.wo()));
        WORKS(cudnnSetFilter4dDescriptor(w, data, format, s.k, s.c / s.groups, s.r, s.s));
        WORKS(cudnnSetConvolution2dDescriptor(conv, s.ph, s.pw, s.sh, s.sw, s.dh, s.dw,
                                              CUDNN_CROSS_CORRELATION, CUDNN_DATA_FLOAT));
        WORKS(cudnnSetConvolutionGroupCount(conv, s.groups));
        WORKS(cudnnSetConvolutionMathType(conv, math));
        reset();
    }

    cudnnDataType_t data_type() const {
        return type == element::f32 ? CUDNN_DATA_FLOAT : CUDNN_DATA_BFLOAT16;
    }
    values laid_out(const values &v, int a, int b, int h, int wide, bool back = false) const {
        return format == CUDNN_TENSOR_NHWC ? channels_last(v, a, b, h, wide, back) : v;
    }
    /* All three operands hold their values again, and the workspace NaN. */
    void reset() {
        x_memory.write(type, laid_out(x_values, s.n, s.c, s.h, s.w));
        w_memory.write(type, laid_out(w_values, s.k, s.c / s.groups, s.r, s.s));
        y_memory.write(type, laid_out(y_values, s.n, s.k, s.ho(), s.wo()));
    }
    buffer &output(pass p) { return p == FORWARD ? y_memory : p == BACKWARD_DATA ? x_memory : w_memory; }
    /* In planar order. */
    values result(pass p) {
        wait();
        values v = output(p).read(type);
        if (p == FORWARD) return laid_out(v, s.n, s.k, s.ho(), s.wo(), true);
        if (p == BACKWARD_DATA) return laid_out(v, s.n, s.c, s.h, s.w, true);
        return laid_out(v, s.k, s.c / s.groups, s.r, s.s, true);
    }

    cudnnStatus_t run(pass p, int algo, const float *alpha = &one, const float *beta = &zero) {
        return run_in(p, algo, workspace.memory, workspace.bytes, alpha, beta);
    }
    cudnnStatus_t run_in(pass p, int algo, void *room, size_t bytes, const float *alpha = &one,
                         const float *beta = &zero) {
        void *xm = x_memory.memory, *wm = w_memory.memory, *ym = y_memory.memory;
        if (p == FORWARD)
            return cudnnConvolutionForward(handle, alpha, x, xm, w, wm, conv, (cudnnConvolutionFwdAlgo_t)algo,
                                           room, bytes, beta, y, ym);
        if (p == BACKWARD_DATA)
            return cudnnConvolutionBackwardData(handle, alpha, w, wm, y, ym, conv,
                                                (cudnnConvolutionBwdDataAlgo_t)algo, room, bytes, beta, x,
                                                xm);
        return cudnnConvolutionBackwardFilter(handle, alpha, x, xm, y, ym, conv,
                                              (cudnnConvolutionBwdFilterAlgo_t)algo, room, bytes, beta, w,
                                              wm);
    }
    cudnnStatus_t need(pass p, int algo, size_t *bytes) {
        if (p == FORWARD)
            return cudnnGetConvolutionForwardWorkspaceSize(handle, x, w, conv, y,
                                                           (cudnnConvolutionFwdAlgo_t)algo, bytes);
        if (p == BACKWARD_DATA)
            return cudnnGetConvolutionBackwardDataWorkspaceSize(handle, w, y, conv, x,
                                                                (cudnnConvolutionBwdDataAlgo_t)algo, bytes);
        return cudnnGetConvolutionBackwardFilterWorkspaceSize(handle, x, y, conv, w,
                                                              (cudnnConvolutionBwdFilterAlgo_t)algo, bytes);
    }

    /* What the library says of its algorithms, by rule of thumb. */
    std::vector<perf> guess(pass p) {
        int most = 0, count = 0;
        if (p == FORWARD) {
            WORKS(cudnnGetConvolutionForwardAlgorithmMaxCount(handle, &most));
            std::vector<cudnnConvolutionFwdAlgoPerf_t> all((size_t)most);
            WORKS(cudnnGetConvolutionForwardAlgorithm_v7(handle, x, w, conv, y, most, &count, all.data()));
            return plain(all, count);
        }
        if (p == BACKWARD_DATA) {
            WORKS(cudnnGetConvolutionBackwardDataAlgorithmMaxCount(handle, &most));
            std::vector<cudnnConvolutionBwdDataAlgoPerf_t> all((size_t)most);
            WORKS(
                cudnnGetConvolutionBackwardDataAlgorithm_v7(handle, w, y, conv, x, most, &count, all.data()));
            return plain(all, count);
        }
        WORKS(cudnnGetConvolutionBackwardFilterAlgorithmMaxCount(handle, &most));
        std::vector<cudnnConvolutionBwdFilterAlgoPerf_t> all((size_t)most);
        WORKS(cudnnGetConvolutionBackwardFilterAlgorithm_v7(handle, x, y, conv, w, most, &count, all.data()));
        return plain(all, count);
    }

    const shape s;
    const element type;
    const cudnnTensorFormat_t format;
    const values x_values, w_values, y_values;
    tensor_descriptor x, y;
    filter_descriptor w;
    convolution_descriptor conv;
    buffer x_memory, w_memory, y_memory, workspace;
};

/* The call is refused so, says something about it, and nothing runs. */
#define REFUSED(expected_status, wait, call)                                                                 \
    do {                                                                                                     \
        wait;                                                                                                \
        long work_before = work_done();                                                                      \
        cudnnStatus_t got = (call);                                                                          \
        if (got != (expected_status))                                                                        \
            fprintf(stderr, "%s:%d: %s, not %s\n", __FILE__, __LINE__, cudnnGetErrorString(got),             \
                    cudnnGetErrorString(expected_status));                                                   \
        CHECK(got == (expected_status));                                                                     \
        char why[200];                                                                                       \
        cudnnGetLastErrorString(why, sizeof why);                                                            \
        CHECK(strlen(why) > 0);                                                                              \
        wait;                                                                                                \
        CHECK(work_done() == work_before);                                                                   \
    } while (0)

/* ---- the same, with bias and activation ---- */

struct fused : setup {
    explicit fused(element element_type = element::f32, cudnnTensorFormat_t tensor_format = CUDNN_TENSOR_NHWC)
        : setup(plain3, element_type, tensor_format, CUDNN_FMA_MATH),
          bias_values(random_values(type, (size_t)s.k, 5)), z_values(random_values(type, s.y_count(), 6)),
          bias_memory(type, bias_values), z_memory(type, laid_out(z_values, s.n, s.k, s.ho(), s.wo())) {
        WORKS(cudnnSetTensor4dDescriptor(bias, CUDNN_TENSOR_NCHW, data_type(), 1, s.k, 1, 1));
        activate(CUDNN_ACTIVATION_RELU, CUDNN_NOT_PROPAGATE_NAN);
    }
    void activate(cudnnActivationMode_t mode, cudnnNanPropagation_t nan) {
        WORKS(cudnnSetActivationDescriptor(activation, mode, nan, 0));
    }
    cudnnStatus_t run_fused(int algo, const float *alpha2, void *z, void *to = nullptr) {
        return cudnnConvolutionBiasActivationForward(handle, &one, x, x_memory.memory, w, w_memory.memory,
                                                     conv, (cudnnConvolutionFwdAlgo_t)algo, workspace.memory,
                                                     workspace.bytes, alpha2, y, z, bias, bias_memory.memory,
                                                     activation, y, to ? to : y_memory.memory);
    }
    values expected_fused(double alpha2, const values &z, bool relu) const {
        values sums = expected(FORWARD, s, x_values, w_values, y_values);
        size_t plane = (size_t)(s.ho() * s.wo());
        for (size_t i = 0; i < sums.size(); i++) {
            sums[i] += bias_values[i / plane % (size_t)s.k];
            if (alpha2 != 0) sums[i] += alpha2 * z[i];
            if (relu && sums[i] < 0) sums[i] = 0;
        }
        return sums;
    }

    const values bias_values, z_values;
    tensor_descriptor bias;
    activation_descriptor activation;
    buffer bias_memory, z_memory;
};

} // namespace

#endif
