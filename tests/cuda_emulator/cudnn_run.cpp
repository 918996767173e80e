/* The emulated cuDNN: the calls that compute. */
#include <cmath>

#include "cuda_emulator/cudnn_math.h"

using namespace emulator::cudnn;
namespace library = emulator::library;

namespace {

using library::operand;

/* The three operands of a problem, of which its kind says what is written; and the workspace. */
struct memory_of {
    const void *x, *w, *y;
    void *workspace;
    size_t workspace_bytes;
};

/* Tensors need the alignment of an element, workspaces that of what a kernel may keep there. */
operand read_from(const char *name, const tensor &t, const void *memory) {
    return {name, memory, t.bytes(), false, library::size_of(t.of())};
}
operand written_to(const char *name, const tensor &t, const void *memory) {
    return {name, memory, t.bytes(), true, library::size_of(t.of())};
}
operand workspace(const memory_of &m) {
    return {"workspace", m.workspace, m.workspace_bytes, true, 16};
}

std::vector<operand> operands_of(const problem &p, const memory_of &m) {
    auto operand_of = [&](const char *name, const tensor &t, const void *memory, pass writer) {
        return p.kind == writer ? written_to(name, t, memory) : read_from(name, t, memory);
    };
    return {operand_of("x", p.x, m.x, pass::backward_data), operand_of("w", p.w, m.w, pass::backward_filter),
            operand_of("y", p.y, m.y, pass::forward), workspace(m)};
}

void put(cudnnHandle_t handle, const char *name, const std::vector<operand> &operands,
         std::function<void()> work) {
    library::check_operands(CUDNN_STATUS_BAD_PARAM, handle->stream, name, operands);
    library::enqueue(CUDNN_STATUS_EXECUTION_FAILED, handle->stream, name, operands, std::move(work));
}

const tensor &written(const problem &p) {
    return p.kind == pass::forward ? p.y : p.kind == pass::backward_data ? p.x : p.w;
}
void *written(const problem &p, const memory_of &m) {
    return (void *)(p.kind == pass::forward ? m.y : p.kind == pass::backward_data ? m.x : m.w);
}

void compute(const problem &p, const memory_of &m, const output &to) {
    library::scribble(m.workspace, m.workspace_bytes);
    if (p.kind == pass::forward) forward(p, m.x, m.w, to);
    if (p.kind == pass::backward_data) backward_data(p, m.w, m.y, to);
    if (p.kind == pass::backward_filter) backward_filter(p, m.x, m.y, to);
}

/* Of alpha and beta, which are float for float and bf16 tensors. */
float scalar(const void *value, const char *name) {
    if (!value) refuse(CUDNN_STATUS_BAD_PARAM, "%s is NULL", name);
    return *(const float *)value;
}

/* Refuses an algorithm that cannot be used, with this workspace. */
const algorithm &usable(const problem &p, int algo, size_t workspace_bytes) {
    const algorithm &a = supported(p, algo);
    if (workspace_bytes < workspace_of(p, a))
        refuse(CUDNN_STATUS_BAD_PARAM, "a workspace of %zu bytes; %s needs %zu", workspace_bytes, a.name,
               workspace_of(p, a));
    return a;
}

/* One pass, as the entry points of all three ask for it: out = alpha pass + beta out. */
void run_algorithm(cudnnHandle_t handle, const char *name, const problem &p, int algo, const memory_of &m,
                   const void *alpha, const void *beta) {
    bool noisy = !usable(p, algo, m.workspace_bytes).deterministic;
    float of_pass = scalar(alpha, "alpha"), of_out = scalar(beta, "beta");
    put(handle, name, operands_of(p, m), [=] {
        output to = plain_output(written(p), written(p, m), of_pass, of_out);
        if (noisy) to.noise = library::scramble(library::next_count());
        compute(p, m, to);
    });
}

void check_bias(const tensor &bias, const tensor &y, const char *name) {
    if (bias.type != y.type || bias.n != 1 || bias.c != y.c || bias.h != 1 || bias.w != 1 || bias.sc != 1)
        refuse(CUDNN_STATUS_BAD_PARAM, "%s is not [1 %d 1 1], packed, of the type of y", name, y.c);
}

} // namespace

cudnnStatus_t cudnnConvolutionForward(cudnnHandle_t handle, const void *alpha,
                                      const cudnnTensorDescriptor_t x_of, const void *x,
                                      const cudnnFilterDescriptor_t w_of, const void *w,
                                      const cudnnConvolutionDescriptor_t conv, cudnnConvolutionFwdAlgo_t algo,
                                      void *workspace, size_t bytes, const void *beta,
                                      const cudnnTensorDescriptor_t y_of, void *y) {
    const char *name = __func__;
    return entry(name, [&] {
        expect_current(handle);
        run_algorithm(handle, name, fit(pass::forward, x_of, w_of, conv, y_of), algo,
                      {x, w, y, workspace, bytes}, alpha, beta);
    });
}

cudnnStatus_t cudnnConvolutionBackwardData(cudnnHandle_t handle, const void *alpha,
                                           const cudnnFilterDescriptor_t w_of, const void *w,
                                           const cudnnTensorDescriptor_t dy_of, const void *dy,
                                           const cudnnConvolutionDescriptor_t conv,
                                           cudnnConvolutionBwdDataAlgo_t algo, void *workspace, size_t bytes,
                                           const void *beta, const cudnnTensorDescriptor_t dx_of, void *dx) {
    const char *name = __func__;
    return entry(name, [&] {
        expect_current(handle);
        run_algorithm(handle, name, fit(pass::backward_data, dx_of, w_of, conv, dy_of), algo,
                      {dx, w, dy, workspace, bytes}, alpha, beta);
    });
}

cudnnStatus_t cudnnConvolutionBackwardFilter(cudnnHandle_t handle, const void *alpha,
                                             const cudnnTensorDescriptor_t x_of, const void *x,
                                             const cudnnTensorDescriptor_t dy_of, const void *dy,
                                             const cudnnConvolutionDescriptor_t conv,
                                             cudnnConvolutionBwdFilterAlgo_t algo, void *workspace,
                                             size_t bytes, const void *beta,
                                             const cudnnFilterDescriptor_t dw_of, void *dw) {
    const char *name = __func__;
    return entry(name, [&] {
        expect_current(handle);
        run_algorithm(handle, name, fit(pass::backward_filter, x_of, dw_of, conv, dy_of), algo,
                      {x, dw, dy, workspace, bytes}, alpha, beta);
    });
}

cudnnStatus_t cudnnConvolutionBiasActivationForward(
    cudnnHandle_t handle, const void *alpha1, const cudnnTensorDescriptor_t x_of, const void *x,
    const cudnnFilterDescriptor_t w_of, const void *w, const cudnnConvolutionDescriptor_t conv,
    cudnnConvolutionFwdAlgo_t algo, void *workspace, size_t bytes, const void *alpha2,
    const cudnnTensorDescriptor_t z_of, const void *z, const cudnnTensorDescriptor_t bias_of,
    const void *bias, const cudnnActivationDescriptor_t activation_of, const cudnnTensorDescriptor_t y_of,
    void *y) {
    const char *name = __func__;
    return entry(name, [&] {
        expect_current(handle);
        problem p = fit(pass::forward, x_of, w_of, conv, y_of);
        memory_of m = {x, w, y, workspace, bytes};
        tensor zt = value_of(z_of, "zDesc");
        tensor bt = value_of(bias_of, "biasDesc");
        activation act = value_of(activation_of, "activationDesc");
        usable(p, algo, bytes);
        if (act.mode != CUDNN_ACTIVATION_RELU && act.mode != CUDNN_ACTIVATION_IDENTITY)
            refuse(CUDNN_STATUS_NOT_SUPPORTED, "an activation other than RELU and IDENTITY");
        if (act.mode == CUDNN_ACTIVATION_IDENTITY && algo != CUDNN_CONVOLUTION_FWD_ALGO_IMPLICIT_PRECOMP_GEMM)
            refuse(CUDNN_STATUS_NOT_SUPPORTED, "IDENTITY with an algorithm other than IMPLICIT_PRECOMP_GEMM");
        if (zt.type != p.y.type || zt.n != p.y.n || zt.c != p.y.c || zt.h != p.y.h || zt.w != p.y.w ||
            zt.sn != p.y.sn || zt.sc != p.y.sc || zt.sh != p.y.sh || zt.sw != p.y.sw)
            refuse(CUDNN_STATUS_BAD_PARAM, "z is not of the shape, type and layout of y");
        check_bias(bt, p.y, "bias");
        std::vector<operand> operands = operands_of(p, m);
        operands.push_back(read_from("bias", bt, bias));
        if (z != y) operands.push_back(read_from("z", zt, z));
        output to = {p.y, y,    scalar(alpha1, "alpha1"),          scalar(alpha2, "alpha2"), zt,
                     z,   bias, act.mode == CUDNN_ACTIVATION_RELU, act.propagate_nan,        0};
        put(handle, name, operands, [=] { compute(p, m, to); });
    });
}

cudnnStatus_t cudnnConvolutionBackwardBias(cudnnHandle_t handle, const void *alpha,
                                           const cudnnTensorDescriptor_t dy_of, const void *dy,
                                           const void *beta, const cudnnTensorDescriptor_t db_of, void *db) {
    const char *name = __func__;
    return entry(name, [&] {
        expect_current(handle);
        tensor dyt = value_of(dy_of, "dyDesc");
        tensor dbt = value_of(db_of, "dbDesc");
        check_bias(dbt, dyt, "db");
        output to = plain_output(dbt, db, scalar(alpha, "alpha"), scalar(beta, "beta"));
        put(handle, name, {read_from("dy", dyt, dy), written_to("db", dbt, db)},
            [=] { backward_bias(dyt, dy, to); });
    });
}
