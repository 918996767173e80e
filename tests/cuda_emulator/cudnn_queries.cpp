/* The emulated cuDNN: which algorithm, what output size, how much workspace. */
#include "cuda_emulator/cudnn_algorithms.h"

#include <algorithm>

using namespace emulator::cudnn;

namespace {

/* What the Perf structs of the three passes have in common. */
struct row {
    int algo;
    cudnnStatus_t status;
    float time;
    size_t memory;
    cudnnDeterminism_t determinism;
    cudnnMathType_t math;
};

/* Every algorithm once, with the convolution's math; those that can use tensor cores once more without, where they need
 * another workspace. A caller that takes such a row must set the math type. */
std::vector<row> all_rows(const problem &p) {
    std::vector<row> rows;
    const std::vector<algorithm> &all = algorithms(p.kind);
    for (int i = 0; i < (int)all.size(); i++) {
        const algorithm &a = all[(size_t)i];
        cudnnDeterminism_t determinism = a.deterministic ? CUDNN_DETERMINISTIC : CUDNN_NON_DETERMINISTIC;
        if (!a.supports(p)) {
            rows.push_back({i, CUDNN_STATUS_NOT_SUPPORTED, -1, 0, determinism, p.conv.math});
            continue;
        }
        rows.push_back(
            {i, CUDNN_STATUS_SUCCESS, (float)a.slowness, workspace_of(p, a), determinism, p.conv.math});
        problem without = p;
        without.conv.math = CUDNN_FMA_MATH;
        if (i == 1 && p.tensor_cores())
            rows.push_back({i, CUDNN_STATUS_SUCCESS, (float)a.slowness * 4, workspace_of(without, a),
                            determinism, CUDNN_FMA_MATH});
    }
    return rows;
}

int most_rows(pass kind) {
    return (int)algorithms(kind).size() + 1;
}

void sort_by_time(std::vector<row> &rows) {
    std::stable_sort(rows.begin(), rows.end(), [](const row &a, const row &b) {
        bool a_failed = a.status != CUDNN_STATUS_SUCCESS, b_failed = b.status != CUDNN_STATUS_SUCCESS;
        return a_failed != b_failed ? b_failed : a.time < b.time;
    });
}

template <typename Perf>
void give(const std::vector<row> &rows, int requested, int *returned, Perf *results) {
    *returned = std::min(requested, (int)rows.size());
    for (int i = 0; i < *returned; i++) {
        const row &r = rows[(size_t)i];
        results[i] = {
            (decltype(results[i].algo))r.algo, r.status, r.time, r.memory, r.determinism, r.math, {}};
    }
}

void expect_room(int requested, const int *returned, const void *results) {
    if (requested < 1 || !returned || !results)
        refuse(CUDNN_STATUS_BAD_PARAM, "no room for results: %d requested", requested);
}

/* By rule of thumb: nothing is run, and no times are known. */
template <typename Perf>
void guess(cudnnHandle_t handle, const problem &p, int requested, int *returned, Perf *results) {
    expect_current(handle);
    expect_room(requested, returned, results);
    std::vector<row> rows = all_rows(p);
    sort_by_time(rows);
    for (row &r : rows) r.time = -1;
    give(rows, requested, returned, results);
}

void count_of(cudnnHandle_t handle, pass kind, int *count) {
    expect_current(handle);
    if (!count) refuse(CUDNN_STATUS_BAD_PARAM, "nowhere to put the count");
    *count = most_rows(kind);
}

void size_of(cudnnHandle_t handle, const problem &p, int algo, size_t *bytes) {
    expect_current(handle);
    if (!bytes) refuse(CUDNN_STATUS_BAD_PARAM, "nowhere to put the size");
    *bytes = workspace_of(p, supported(p, algo));
}

} // namespace

/* ---- output size ---- */

cudnnStatus_t cudnnGetConvolution2dForwardOutputDim(const cudnnConvolutionDescriptor_t conv,
                                                    const cudnnTensorDescriptor_t x,
                                                    const cudnnFilterDescriptor_t w, int *n, int *c, int *h,
                                                    int *wide) {
    return entry(__func__, [&] {
        const tensor &in = value_of(x, "inputTensorDesc");
        const filter &f = value_of(w, "filterDesc");
        const convolution &by = value_of(conv, "convDesc");
        if (!n || !c || !h || !wide) refuse(CUDNN_STATUS_BAD_PARAM, "nowhere to put the dimensions");
        if (in.c != f.c * by.groups)
            refuse(CUDNN_STATUS_BAD_PARAM, "%d channels; the filter has %d, in %d groups", in.c, f.c,
                   by.groups);
        output_size(in, f, by, h, wide);
        *n = in.n;
        *c = f.n;
    });
}

/* ---- forward ---- */

cudnnStatus_t cudnnGetConvolutionForwardAlgorithmMaxCount(cudnnHandle_t handle, int *count) {
    return entry(__func__, [&] { count_of(handle, pass::forward, count); });
}

cudnnStatus_t cudnnGetConvolutionForwardAlgorithm_v7(cudnnHandle_t handle, const cudnnTensorDescriptor_t x,
                                                     const cudnnFilterDescriptor_t w,
                                                     const cudnnConvolutionDescriptor_t conv,
                                                     const cudnnTensorDescriptor_t y, const int requested,
                                                     int *returned, cudnnConvolutionFwdAlgoPerf_t *results) {
    return query(__func__,
                 [&] { guess(handle, fit(pass::forward, x, w, conv, y), requested, returned, results); });
}

cudnnStatus_t cudnnGetConvolutionForwardWorkspaceSize(cudnnHandle_t handle, const cudnnTensorDescriptor_t x,
                                                      const cudnnFilterDescriptor_t w,
                                                      const cudnnConvolutionDescriptor_t conv,
                                                      const cudnnTensorDescriptor_t y,
                                                      cudnnConvolutionFwdAlgo_t algo, size_t *bytes) {
    return query(__func__, [&] { size_of(handle, fit(pass::forward, x, w, conv, y), algo, bytes); });
}

/* ---- backward data ---- */

cudnnStatus_t cudnnGetConvolutionBackwardDataAlgorithmMaxCount(cudnnHandle_t handle, int *count) {
    return entry(__func__, [&] { count_of(handle, pass::backward_data, count); });
}

cudnnStatus_t cudnnGetConvolutionBackwardDataAlgorithm_v7(
    cudnnHandle_t handle, const cudnnFilterDescriptor_t w, const cudnnTensorDescriptor_t dy,
    const cudnnConvolutionDescriptor_t conv, const cudnnTensorDescriptor_t dx, const int requested,
    int *returned, cudnnConvolutionBwdDataAlgoPerf_t *results) {
    return query(__func__, [&] {
        guess(handle, fit(pass::backward_data, dx, w, conv, dy), requested, returned, results);
    });
}

cudnnStatus_t cudnnGetConvolutionBackwardDataWorkspaceSize(
    cudnnHandle_t handle, const cudnnFilterDescriptor_t w, const cudnnTensorDescriptor_t dy,
    const cudnnConvolutionDescriptor_t conv, const cudnnTensorDescriptor_t dx,
    cudnnConvolutionBwdDataAlgo_t algo, size_t *bytes) {
    return query(__func__, [&] { size_of(handle, fit(pass::backward_data, dx, w, conv, dy), algo, bytes); });
}

/* ---- backward filter ---- */

cudnnStatus_t cudnnGetConvolutionBackwardFilterAlgorithmMaxCount(cudnnHandle_t handle, int *count) {
    return entry(__func__, [&] { count_of(handle, pass::backward_filter, count); });
}

cudnnStatus_t cudnnGetConvolutionBackwardFilterAlgorithm_v7(
    cudnnHandle_t handle, const cudnnTensorDescriptor_t x, const cudnnTensorDescriptor_t dy,
    const cudnnConvolutionDescriptor_t conv, const cudnnFilterDescriptor_t dw, const int requested,
    int *returned, cudnnConvolutionBwdFilterAlgoPerf_t *results) {
    return query(__func__, [&] {
        guess(handle, fit(pass::backward_filter, x, dw, conv, dy), requested, returned, results);
    });
}

cudnnStatus_t cudnnGetConvolutionBackwardFilterWorkspaceSize(
    cudnnHandle_t handle, const cudnnTensorDescriptor_t x, const cudnnTensorDescriptor_t dy,
    const cudnnConvolutionDescriptor_t conv, const cudnnFilterDescriptor_t dw,
    cudnnConvolutionBwdFilterAlgo_t algo, size_t *bytes) {
    return query(__func__,
                 [&] { size_of(handle, fit(pass::backward_filter, x, dw, conv, dy), algo, bytes); });
}
