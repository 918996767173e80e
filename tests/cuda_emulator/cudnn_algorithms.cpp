#include "cuda_emulator/cudnn_algorithms.h"

namespace emulator::cudnn {

/* ---- descriptors that fit together ---- */

namespace {

int output_count(int in, int pad, int filter, int dilation, int stride) {
    int room = in + 2 * pad - ((filter - 1) * dilation + 1);
    return room < 0 ? 0 : 1 + room / stride;
}

void check_types(const problem &p) {
    if (p.conv.compute != CUDNN_DATA_FLOAT)
        refuse(CUDNN_STATUS_NOT_SUPPORTED, "compute type %d; only CUDNN_DATA_FLOAT is emulated",
               (int)p.conv.compute);
    if (p.x.type != p.w.type || p.x.type != p.y.type)
        refuse(CUDNN_STATUS_BAD_PARAM, "element types of x, w, y: %d, %d, %d", (int)p.x.type, (int)p.w.type,
               (int)p.y.type);
}

void check_sizes(const problem &p) {
    if (p.x.c != p.w.c * p.conv.groups || p.w.n % p.conv.groups != 0)
        refuse(CUDNN_STATUS_BAD_PARAM, "x has %d channels; the filter is [%d %d], in %d groups", p.x.c, p.w.n,
               p.w.c, p.conv.groups);
    int h, w;
    output_size(p.x, p.w, p.conv, &h, &w);
    if (p.y.n != p.x.n || p.y.c != p.w.n || p.y.h != h || p.y.w != w)
        refuse(CUDNN_STATUS_BAD_PARAM, "y is [%d %d %d %d], not [%d %d %d %d]", p.y.n, p.y.c, p.y.h, p.y.w,
               p.x.n, p.w.n, h, w);
}

/* A filter in KRSC goes with packed NHWC tensors, and one in KCRS with anything that is not NHWC. */
void check_layouts(const problem &p) {
    for (const tensor *t : {&p.x, &p.y}) {
        bool nhwc = is_packed(*t, CUDNN_TENSOR_NHWC), nchw = is_packed(*t, CUDNN_TENSOR_NCHW);
        if (p.w.format == CUDNN_TENSOR_NHWC ? !nhwc : nhwc && !nchw)
            refuse(CUDNN_STATUS_NOT_SUPPORTED, "a filter in %s, and %s in another layout",
                   p.w.format == CUDNN_TENSOR_NHWC ? "NHWC" : "NCHW", t == &p.x ? "x" : "y");
    }
}

} // namespace

void output_size(const tensor &x, const filter &w, const convolution &conv, int *h, int *wide) {
    *h = output_count(x.h, conv.pad_h, w.h, conv.dilation_h, conv.stride_h);
    *wide = output_count(x.w, conv.pad_w, w.w, conv.dilation_w, conv.stride_w);
    if (*h < 1 || *wide < 1) refuse(CUDNN_STATUS_BAD_PARAM, "the filter is larger than the padded image");
}

problem fit(pass kind, cudnnTensorDescriptor_t x, cudnnFilterDescriptor_t w,
            cudnnConvolutionDescriptor_t conv, cudnnTensorDescriptor_t y) {
    problem p = {kind, value_of(x, "the descriptor of x"), value_of(w, "the descriptor of w"),
                 value_of(conv, "the convolution's descriptor"), value_of(y, "the descriptor of y")};
    check_types(p);
    check_sizes(p);
    check_layouts(p);
    return p;
}

/* ---- algorithms ---- */

namespace {

bool planes(const problem &p) {
    return is_packed(p.x, CUDNN_TENSOR_NCHW) && is_packed(p.y, CUDNN_TENSOR_NCHW) &&
           p.w.format == CUDNN_TENSOR_NCHW;
}
bool undilated(const problem &p) {
    return p.conv.dilation_h == 1 && p.conv.dilation_w == 1;
}
bool unstrided(const problem &p) {
    return p.conv.stride_h == 1 && p.conv.stride_w == 1;
}
bool plain_float(const problem &p) {
    return planes(p) && undilated(p) && p.x.of() == element::f32;
}

bool anything(const problem &) {
    return true;
}
bool nothing(const problem &) {
    return false;
}
bool gemm(const problem &p) {
    return plain_float(p) && p.conv.groups == 1;
}
bool fft(const problem &p) {
    return plain_float(p) && unstrided(p) && p.conv.pad_h < p.w.h && p.conv.pad_w < p.w.w && p.w.h <= 32 &&
           p.w.w <= 32;
}
bool winograd(const problem &p) {
    return planes(p) && undilated(p) && unstrided(p) && p.w.h == 3 && p.w.w == 3;
}

size_t none(const problem &) {
    return 0;
}
size_t offsets(const problem &p) {
    return 4 * (size_t)(p.w.c * p.w.h * p.w.w + p.y.h * p.y.w);
}
size_t columns(const problem &p) {
    return 4 * (size_t)p.w.c * (size_t)(p.w.h * p.w.w) * (size_t)(p.y.h * p.y.w);
}
size_t partial_filters(const problem &p) {
    return 8 * (size_t)p.w.count();
}
size_t spectra(const problem &p) {
    return 8 * (size_t)(p.x.n * p.x.c + p.y.n * p.y.c) * (size_t)((p.x.h + p.w.h) * (p.x.w + p.w.w));
}
size_t tiled_spectra(const problem &p) {
    return 8 * (size_t)(p.x.c + p.y.c) * 32 * 17;
}
size_t transformed_filter(const problem &p) {
    return 4 * (size_t)p.w.n * (size_t)p.w.c * 16;
}
size_t transformed_all(const problem &p) {
    return 4 * transformed_filter(p) + 8 * (size_t)(p.x.n * (p.x.c + p.y.c)) * (size_t)(p.y.h * p.y.w);
}

} // namespace

const std::vector<algorithm> &algorithms(pass kind) {
    static const std::vector<algorithm> forward = {
        {"IMPLICIT_GEMM", true, 2.0, anything, none},
        {"IMPLICIT_PRECOMP_GEMM", true, 1.0, anything, offsets},
        {"GEMM", true, 2.5, gemm, columns},
        {"DIRECT", true, 4.0, nothing, none},
        {"FFT", true, 3.5, fft, spectra},
        {"FFT_TILING", true, 3.0, fft, tiled_spectra},
        {"WINOGRAD", true, 1.3, winograd, transformed_filter},
        {"WINOGRAD_NONFUSED", true, 1.1, winograd, transformed_all},
    };
    static const std::vector<algorithm> backward_data = {
        {"ALGO_0", false, 0.9, anything, none},
        {"ALGO_1", true, 1.0, anything, offsets},
        {"FFT", true, 3.5, fft, spectra},
        {"FFT_TILING", true, 3.0, fft, tiled_spectra},
        {"WINOGRAD", true, 1.3, winograd, transformed_filter},
        {"WINOGRAD_NONFUSED", true, 1.1, winograd, transformed_all},
    };
    static const std::vector<algorithm> backward_filter = {
        {"ALGO_0", false, 0.9, anything, none},
        {"ALGO_1", true, 1.0, anything, offsets},
        {"FFT", true, 3.5, fft, spectra},
        {"ALGO_3", false, 0.8, undilated, partial_filters},
        {"WINOGRAD", true, 1.3, nothing, none},
        {"WINOGRAD_NONFUSED", true, 1.1, winograd, transformed_all},
        {"FFT_TILING", true, 3.0, fft, tiled_spectra},
    };
    return kind == pass::forward ? forward : kind == pass::backward_data ? backward_data : backward_filter;
}

const algorithm &supported(const problem &p, int algo) {
    const std::vector<algorithm> &all = algorithms(p.kind);
    if (algo < 0 || (size_t)algo >= all.size()) refuse(CUDNN_STATUS_BAD_PARAM, "no algorithm %d", algo);
    if (!all[(size_t)algo].supports(p))
        refuse(CUDNN_STATUS_NOT_SUPPORTED, "algorithm %s does not do this convolution",
               all[(size_t)algo].name);
    return all[(size_t)algo];
}

size_t workspace_of(const problem &p, const algorithm &a) {
    size_t bytes = (a.workspace(p) + 255) / 256 * 256;
    return p.tensor_cores() ? 2 * bytes : bytes;
}

} // namespace emulator::cudnn
