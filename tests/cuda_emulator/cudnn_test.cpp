/* The emulated cuDNN against plain sums in double, and its algorithms. */
#include "cuda_emulator/cudnn_setup.h"

namespace {

/* ---- numbers ---- */

/* Every shape, layout, pass and algorithm that says it can. */
void numbers_of(element type, cudnnMathType_t math) {
    bool tf32 = type == element::f32 && math != CUDNN_FMA_MATH;
    for (const shape &s : shapes)
        for (cudnnTensorFormat_t format : {CUDNN_TENSOR_NCHW, CUDNN_TENSOR_NHWC}) {
            setup t(s, type, format, math);
            auto seen = [&](const values &v) { return tf32 ? rounded_to_tf32(v) : v; };
            for (pass p : passes) {
                values sums = expected(p, s, seen(t.x_values), seen(t.w_values), seen(t.y_values));
                int tried = 0;
                for (const perf &a : t.guess(p)) {
                    size_t bytes;
                    if (a.status != CUDNN_STATUS_SUCCESS || a.math != math) continue;
                    t.reset();
                    t.output(p).fill(0xFF);
                    WORKS(t.need(p, a.algo, &bytes));
                    CHECK(bytes == a.memory && bytes <= t.workspace.bytes);
                    WORKS(t.run_in(p, a.algo, t.workspace.memory, bytes));
                    double most = tolerance(type) * (a.determinism == CUDNN_DETERMINISTIC ? 1 : 2);
                    CHECK(difference(t.result(p), sums) < most);
                    tried++;
                }
                CHECK(tried >= 2);
            }
        }
}

void float_numbers() {
    numbers_of(element::f32, CUDNN_FMA_MATH);
}
void tf32_numbers() {
    numbers_of(element::f32, CUDNN_DEFAULT_MATH);
    numbers_of(element::f32, CUDNN_TENSOR_OP_MATH);
}
void bf16_numbers() {
    numbers_of(element::bf16, CUDNN_TENSOR_OP_MATH_ALLOW_CONVERSION);
}

/* A float convolution whose math type was not set to FMA is visibly off. */
void math_type_shows() {
    for (pass p : passes) {
        setup fma(plain3, element::f32, CUDNN_TENSOR_NHWC, CUDNN_FMA_MATH);
        setup other(plain3, element::f32, CUDNN_TENSOR_NHWC, CUDNN_DEFAULT_MATH);
        values sums = expected(p, plain3, fma.x_values, fma.w_values, fma.y_values);
        WORKS(fma.run(p, 1));
        WORKS(other.run(p, 1));
        CHECK(difference(fma.result(p), sums) < 2e-6);
        double off = difference(other.result(p), sums);
        CHECK(off > 2e-5 && off < 2e-3);
    }
}

void alpha_and_beta() {
    const float alpha = 0.5f, beta = -2;
    for (element type : {element::f32, element::bf16})
        for (pass p : passes) {
            setup t(shapes[3], type, CUDNN_TENSOR_NHWC, CUDNN_FMA_MATH);
            values sums = expected(p, t.s, t.x_values, t.w_values, t.y_values), old = t.result(p);
            for (size_t i = 0; i < sums.size(); i++) sums[i] = 0.5 * sums[i] - 2 * old[i];
            WORKS(t.run(p, 1, &alpha, &beta));
            CHECK(difference(t.result(p), sums) < tolerance(type));
        }
}

/* Planes with gaps between rows, planes and images: what lies in the gaps stays. */
void strided_tensors() {
    const shape s = shapes[2];
    session on;
    tensor_descriptor x, y;
    filter_descriptor w;
    convolution_descriptor conv;
    int row = s.w + 3, plane = s.h * row + 5, image = s.c * plane + 7;
    WORKS(cudnnSetTensor4dDescriptorEx(x, CUDNN_DATA_FLOAT, s.n, s.c, s.h, s.w, image, plane, row, 1));
    WORKS(cudnnSetTensor4dDescriptor(y, CUDNN_TENSOR_NCHW, CUDNN_DATA_FLOAT, s.n, s.k, s.ho(), s.wo()));
    WORKS(cudnnSetFilter4dDescriptor(w, CUDNN_DATA_FLOAT, CUDNN_TENSOR_NCHW, s.k, s.c, s.r, s.s));
    WORKS(cudnnSetConvolution2dDescriptor(conv, s.ph, s.pw, s.sh, s.sw, s.dh, s.dw, CUDNN_CROSS_CORRELATION,
                                          CUDNN_DATA_FLOAT));
    WORKS(cudnnSetConvolutionMathType(conv, CUDNN_FMA_MATH));
    values wv = random_values(element::f32, s.w_count(), 2), yv = random_values(element::f32, s.y_count(), 3);
    buffer xm((size_t)((s.n - 1) * image + (s.c - 1) * plane + (s.h - 1) * row + s.w) * 4),
        wm(element::f32, wv), ym(element::f32, yv);
    WORKS(cudnnConvolutionBackwardData(on.handle, &one, w, wm.memory, y, ym.memory, conv,
                                       CUDNN_CONVOLUTION_BWD_DATA_ALGO_0, nullptr, 0, &zero, x, xm.memory));
    on.wait();
    values sums = expected(BACKWARD_DATA, s, {}, wv, yv), memory = xm.read(element::f32), got;
    size_t gaps = 0;
    for (size_t i = 0; i < memory.size(); i++) gaps += std::isnan(memory[i]);
    CHECK(gaps == memory.size() - s.x_count());
    for (int n = 0; n < s.n; n++)
        for (int c = 0; c < s.c; c++)
            for (int h = 0; h < s.h; h++)
                for (int i = 0; i < s.w; i++)
                    got.push_back(memory[(size_t)(n * image + c * plane + h * row + i)]);
    CHECK(difference(got, sums) < 1e-5); /* ALGO_0 adds noise */
}

void bias_gradient() {
    for (element type : {element::f32, element::bf16})
        for (cudnnTensorFormat_t format : {CUDNN_TENSOR_NCHW, CUDNN_TENSOR_NHWC}) {
            setup t(plain3, type, format, CUDNN_FMA_MATH);
            tensor_descriptor db;
            WORKS(cudnnSetTensor4dDescriptor(db, CUDNN_TENSOR_NCHW, t.data_type(), 1, t.s.k, 1, 1));
            values sums((size_t)t.s.k), old = random_values(type, sums.size(), 9);
            size_t plane = (size_t)(t.s.ho() * t.s.wo());
            for (size_t i = 0; i < t.y_values.size(); i++) sums[i / plane % sums.size()] += t.y_values[i];
            buffer out(sums.size() * size_of(type));
            WORKS(
                cudnnConvolutionBackwardBias(t.handle, &one, t.y, t.y_memory.memory, &zero, db, out.memory));
            t.wait();
            CHECK(difference(out.read(type), sums) < tolerance(type));
            out.write(type, old);
            WORKS(cudnnConvolutionBackwardBias(t.handle, &one, t.y, t.y_memory.memory, &one, db, out.memory));
            t.wait();
            for (size_t i = 0; i < sums.size(); i++) sums[i] += old[i];
            CHECK(difference(out.read(type), sums) < tolerance(type));
        }
}

/* ---- bias and activation ---- */

void fused_numbers() {
    const float half = 0.5f;
    for (element type : {element::f32, element::bf16}) {
        fused t(type);
        for (int algo : {0, 1}) {
            WORKS(t.run_fused(algo, &half, t.z_memory.memory));
            CHECK(difference(t.result(FORWARD), t.expected_fused(0.5, t.z_values, true)) < tolerance(type));
        }
        t.activate(CUDNN_ACTIVATION_IDENTITY, CUDNN_NOT_PROPAGATE_NAN);
        t.reset();
        WORKS(t.run_fused(1, &one, t.y_memory.memory)); /* z is y */
        CHECK(difference(t.result(FORWARD), t.expected_fused(1, t.y_values, false)) < tolerance(type));
        t.z_memory.fill(0xFF);
        WORKS(t.run_fused(1, &zero, t.z_memory.memory)); /* z is not read */
        CHECK(difference(t.result(FORWARD), t.expected_fused(0, {}, false)) < tolerance(type));
    }
}

void relu_and_nan() {
    fused t;
    t.z_memory.fill(0xFF);
    WORKS(t.run_fused(1, &one, t.z_memory.memory));
    for (double v : t.result(FORWARD)) CHECK(v == 0);
    t.activate(CUDNN_ACTIVATION_RELU, CUDNN_PROPAGATE_NAN);
    WORKS(t.run_fused(1, &one, t.z_memory.memory));
    for (double v : t.result(FORWARD)) CHECK(std::isnan(v));
}

/* ---- algorithms ---- */

bool listed(const std::vector<perf> &all, int algo, cudnnStatus_t status) {
    for (const perf &a : all)
        if (a.algo == algo && a.status == status) return true;
    return false;
}

/* What cannot be done is at the end. */
void check_order(const std::vector<perf> &all) {
    for (size_t i = 1; i < all.size(); i++) {
        bool before = all[i - 1].status == CUDNN_STATUS_SUCCESS, now = all[i].status == CUDNN_STATUS_SUCCESS;
        CHECK(before || !now);
    }
}

void algorithms_that_do_not_fit() {
    const shape strided = {1, 4, 8, 8, 4, 3, 3, 1, 2, 2, 1, 1, 1, 1},
                five = {1, 4, 8, 8, 4, 5, 5, 1, 1, 1, 2, 2, 1, 1};
    const shape dilated = {1, 4, 8, 8, 4, 3, 3, 1, 1, 1, 2, 2, 2, 2};
    struct {
        const shape &s;
        cudnnTensorFormat_t format;
        element type;
        bool winograd, fft;
    } rows[] = {{plain3, CUDNN_TENSOR_NCHW, element::f32, true, true},
                {strided, CUDNN_TENSOR_NCHW, element::f32, false, false},
                {five, CUDNN_TENSOR_NCHW, element::f32, false, true},
                {dilated, CUDNN_TENSOR_NCHW, element::f32, false, false},
                {plain3, CUDNN_TENSOR_NHWC, element::f32, false, false},
                {plain3, CUDNN_TENSOR_NCHW, element::bf16, true, false}};
    for (auto &row : rows) {
        setup t(row.s, row.type, row.format, CUDNN_DEFAULT_MATH);
        auto status = [](bool can) { return can ? CUDNN_STATUS_SUCCESS : CUDNN_STATUS_NOT_SUPPORTED; };
        std::vector<perf> all = t.guess(FORWARD);
        check_order(all);
        CHECK(all[0].algo == CUDNN_CONVOLUTION_FWD_ALGO_IMPLICIT_PRECOMP_GEMM); /* taken to be the fastest */
        CHECK((all[1].algo == CUDNN_CONVOLUTION_FWD_ALGO_WINOGRAD_NONFUSED) == row.winograd);
        CHECK(listed(all, CUDNN_CONVOLUTION_FWD_ALGO_WINOGRAD, status(row.winograd)));
        CHECK(listed(all, CUDNN_CONVOLUTION_FWD_ALGO_FFT, status(row.fft)));
        CHECK(listed(all, CUDNN_CONVOLUTION_FWD_ALGO_DIRECT, CUDNN_STATUS_NOT_SUPPORTED));
        CHECK(listed(t.guess(BACKWARD_DATA), CUDNN_CONVOLUTION_BWD_DATA_ALGO_FFT, status(row.fft)));
        CHECK(listed(t.guess(BACKWARD_FILTER), CUDNN_CONVOLUTION_BWD_FILTER_ALGO_WINOGRAD_NONFUSED,
                     status(row.winograd)));
        if (row.fft) continue;
        size_t bytes;
        REFUSED(CUDNN_STATUS_NOT_SUPPORTED, t.wait(),
                t.need(FORWARD, CUDNN_CONVOLUTION_FWD_ALGO_FFT, &bytes));
        REFUSED(CUDNN_STATUS_NOT_SUPPORTED, t.wait(), t.run(FORWARD, CUDNN_CONVOLUTION_FWD_ALGO_FFT));
    }
}

/* An algorithm without tensor cores needs less workspace than its row with them; each must be run as its row says. */
void workspace_depends_on_math() {
    setup t(plain3, element::f32, CUDNN_TENSOR_NHWC, CUDNN_DEFAULT_MATH);
    size_t with = 0, without = 0;
    for (const perf &a : t.guess(FORWARD)) {
        if (a.algo != CUDNN_CONVOLUTION_FWD_ALGO_IMPLICIT_PRECOMP_GEMM) continue;
        (a.math == CUDNN_FMA_MATH ? without : with) = a.memory;
    }
    CHECK(without > 0 && with > without);
    REFUSED(CUDNN_STATUS_BAD_PARAM, t.wait(), t.run_in(FORWARD, 1, t.workspace.memory, without));
    WORKS(cudnnSetConvolutionMathType(t.conv, CUDNN_FMA_MATH));
    WORKS(t.run_in(FORWARD, 1, t.workspace.memory, without));
    t.wait();
}

void determinism() {
    for (pass p : passes) {
        setup t(plain3, element::f32, CUDNN_TENSOR_NCHW, CUDNN_FMA_MATH);
        int random = 0;
        for (const perf &a : t.guess(p)) {
            if (a.status != CUDNN_STATUS_SUCCESS) continue;
            t.reset();
            WORKS(t.run(p, a.algo));
            values first = t.result(p);
            t.reset();
            WORKS(t.run(p, a.algo));
            bool same = difference(t.result(p), first) == 0;
            CHECK(same == (a.determinism == CUDNN_DETERMINISTIC));
            random += !same;
        }
        CHECK(random == (p == FORWARD ? 0 : p == BACKWARD_DATA ? 1 : 2));
    }
}

void workspace_is_scribbled_on() {
    for (pass p : passes) {
        setup t(plain3, element::f32, CUDNN_TENSOR_NHWC, CUDNN_FMA_MATH);
        t.workspace.fill(0);
        WORKS(t.run_in(p, 1, t.workspace.memory, 8192));
        t.wait();
        std::vector<unsigned char> bytes = t.workspace.raw();
        for (size_t i = 0; i < bytes.size(); i++) CHECK(bytes[i] == (i < 8192 ? 0xFF : 0));
    }
}

void descriptors_are_copied() {
    setup t(plain3, element::f32, CUDNN_TENSOR_NHWC, CUDNN_FMA_MATH);
    values sums = expected(FORWARD, t.s, t.x_values, t.w_values, t.y_values);
    WORKS(t.run(FORWARD, 1));
    t.x.reset(), t.w.reset(), t.y.reset(), t.conv.reset();
    CHECK(difference(t.result(FORWARD), sums) < 2e-6);
}

} // namespace

int main() {
    expect_success("cudnn: float", float_numbers);
    expect_success("cudnn: tf32", tf32_numbers);
    expect_success("cudnn: bf16", bf16_numbers);
    expect_success("cudnn: math type shows", math_type_shows);
    expect_success("cudnn: alpha and beta", alpha_and_beta);
    expect_success("cudnn: strided tensors", strided_tensors);
    expect_success("cudnn: bias gradient", bias_gradient);
    expect_success("cudnn: fused", fused_numbers);
    expect_success("cudnn: relu and nan", relu_and_nan);
    expect_success("cudnn: algorithms", algorithms_that_do_not_fit);
    expect_success("cudnn: workspace and math", workspace_depends_on_math);
    expect_success("cudnn: determinism", determinism);
    expect_success("cudnn: workspace", workspace_is_scribbled_on);
    expect_success("cudnn: descriptors are copied", descriptors_are_copied);
    return test_result();
}
