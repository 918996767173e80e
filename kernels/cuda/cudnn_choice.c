/* Which of cuDNN's algorithms a convolution takes: one for all slice sizes.
 *
 * Only algorithms that, as cuDNN documents them, give the same bits in every run are named here, so that no other is ever
 * taken, and none by Fourier transform: cuDNN has those for planar data alone. Of these, an algorithm fits if it can do
 * every slice size with bounded scratch. The rule of shape takes the first in the order of cuDNN's own heuristic, a name
 * that one; conv.c measures by naming all. */
#include "cuda/cudnn_conv.h"
#include "cuda/library_operand.h"

#include <string.h>

/* Scratch is bounded by a multiple of the data, between a floor for small ones and a ceiling. */
#define SCRATCH_PER_DATA 4
#define SCRATCH_AT_LEAST ((size_t)16 << 20)
#define SCRATCH_AT_MOST  ((size_t)256 << 20)

enum { MOST_ANSWERS = 16 };

/* ---- the algorithms of each pass ---- */

struct algorithm {
    const char *name;
    int value;
};

static const struct algorithm forward_algorithms[LAM_CUDNN_MOST_ALGORITHMS + 1] = {
    {"implicit_precomp_gemm", CUDNN_CONVOLUTION_FWD_ALGO_IMPLICIT_PRECOMP_GEMM},
    {"implicit_gemm", CUDNN_CONVOLUTION_FWD_ALGO_IMPLICIT_GEMM},
    {"gemm", CUDNN_CONVOLUTION_FWD_ALGO_GEMM},
    {"winograd", CUDNN_CONVOLUTION_FWD_ALGO_WINOGRAD},
    {"winograd_nonfused", CUDNN_CONVOLUTION_FWD_ALGO_WINOGRAD_NONFUSED},
};
static const struct algorithm data_algorithms[LAM_CUDNN_MOST_ALGORITHMS + 1] = {
    {"implicit_gemm", CUDNN_CONVOLUTION_BWD_DATA_ALGO_1},
    {"winograd", CUDNN_CONVOLUTION_BWD_DATA_ALGO_WINOGRAD},
    {"winograd_nonfused", CUDNN_CONVOLUTION_BWD_DATA_ALGO_WINOGRAD_NONFUSED},
};
static const struct algorithm weights_algorithms[LAM_CUDNN_MOST_ALGORITHMS + 1] = {
    {"implicit_gemm", CUDNN_CONVOLUTION_BWD_FILTER_ALGO_1},
    {"winograd_nonfused", CUDNN_CONVOLUTION_BWD_FILTER_ALGO_WINOGRAD_NONFUSED},
};

static const struct algorithm *algorithms_of(enum lam_op_kind kind) {
    if (kind == LAM_OP_CONV) return forward_algorithms;
    return kind == LAM_OP_CONV_BWD_DATA ? data_algorithms : weights_algorithms;
}

void lam_cudnn_algorithms(enum lam_op_kind kind, const char *names[LAM_CUDNN_MOST_ALGORITHMS + 1]) {
    const struct algorithm *algorithms = algorithms_of(kind);
    for (int a = 0; a <= LAM_CUDNN_MOST_ALGORITHMS; a++) names[a] = algorithms[a].name;
}

/* ---- which fit ---- */

static size_t slice_bytes(const struct lam_operand *map, int count) {
    return lam_tensor_bytes(&map->desc) / (size_t)map->desc.shape.dim[0] * (size_t)count;
}

static size_t scratch_limit(const struct lam_op *op, const struct lam_cudnn_slice *slice) {
    size_t bytes = SCRATCH_PER_DATA *
                   (slice_bytes(lam_conv_x(op), slice->count) + slice_bytes(lam_conv_y(op), slice->count));
    return bytes < SCRATCH_AT_LEAST ? SCRATCH_AT_LEAST : bytes > SCRATCH_AT_MOST ? SCRATCH_AT_MOST : bytes;
}

static cudnnStatus_t ask_scratch(const struct lam_cudnn_conv *c, const struct lam_cudnn_slice *s,
                                 int algorithm, size_t *bytes) {
    if (c->kind == LAM_OP_CONV)
        return cudnnGetConvolutionForwardWorkspaceSize(c->handle, s->x, c->w, c->convolution, s->y,
                                                       (cudnnConvolutionFwdAlgo_t)algorithm, bytes);
    if (c->kind == LAM_OP_CONV_BWD_DATA)
        return cudnnGetConvolutionBackwardDataWorkspaceSize(c->handle, c->w, s->y, c->convolution, s->x,
                                                            (cudnnConvolutionBwdDataAlgo_t)algorithm, bytes);
    return cudnnGetConvolutionBackwardFilterWorkspaceSize(c->handle, s->x, s->y, c->convolution, c->w,
                                                          (cudnnConvolutionBwdFilterAlgo_t)algorithm, bytes);
}

/* Takes the algorithm if it suits all slice sizes. */
static lam_status try_algorithm(const struct lam_op *op, struct lam_cudnn_conv *conv, int algorithm,
                                bool *fits) {
    *fits = true;
    for (int i = 0; i < conv->slice_count && *fits; i++) {
        struct lam_cudnn_slice *slice = &conv->slices[i];
        slice->scratch_bytes = 0;
        cudnnStatus_t status = ask_scratch(conv, slice, algorithm, &slice->scratch_bytes);
        if (lam_cudnn_is_unsupported(status) || status == CUDNN_STATUS_BAD_PARAM)
            *fits = false;
        else if (status != CUDNN_STATUS_SUCCESS)
            return lam_cuda_op_failed(LAM_ERR_DEVICE, op, "asking cuDNN for the size of its workspace",
                                      cudnnGetErrorString(status));
        else
            *fits = slice->scratch_bytes <= scratch_limit(op, slice);
    }
    if (*fits) conv->algorithm = algorithm;
    return LAM_OK;
}

/* ---- what cuDNN's heuristic says of them ---- */

struct answer {
    int algorithm;
    bool good;
};

/* The three kinds of answers of cuDNN have the same members. An answer for tensor cores says nothing of the same algorithm
 * without them. */
#define COPY_ANSWERS(to, from, count, math)                                                                  \
    do {                                                                                                     \
        for (int i = 0; i < (count); i++)                                                                    \
            (to)[i] = (struct answer){.algorithm = (int)(from)[i].algo,                                      \
                                      .good = (from)[i].status == CUDNN_STATUS_SUCCESS &&                    \
                                              (from)[i].determinism == CUDNN_DETERMINISTIC &&                \
                                              ((from)[i].mathType == CUDNN_FMA_MATH) ==                      \
                                                  ((math) == CUDNN_FMA_MATH)};                               \
    } while (0)

static cudnnStatus_t ask_forward(const struct lam_cudnn_conv *c, struct answer *answers, int *count) {
    const struct lam_cudnn_slice *s = &c->slices[0];
    cudnnConvolutionFwdAlgoPerf_t said[MOST_ANSWERS];
    cudnnStatus_t status = cudnnGetConvolutionForwardAlgorithm_v7(c->handle, s->x, c->w, c->convolution, s->y,
                                                                  MOST_ANSWERS, count, said);
    if (status == CUDNN_STATUS_SUCCESS) COPY_ANSWERS(answers, said, *count, c->math);
    return status;
}

static cudnnStatus_t ask_data(const struct lam_cudnn_conv *c, struct answer *answers, int *count) {
    const struct lam_cudnn_slice *s = &c->slices[0];
    cudnnConvolutionBwdDataAlgoPerf_t said[MOST_ANSWERS];
    cudnnStatus_t status = cudnnGetConvolutionBackwardDataAlgorithm_v7(c->handle, c->w, s->y, c->convolution,
                                                                       s->x, MOST_ANSWERS, count, said);
    if (status == CUDNN_STATUS_SUCCESS) COPY_ANSWERS(answers, said, *count, c->math);
    return status;
}

static cudnnStatus_t ask_weights(const struct lam_cudnn_conv *c, struct answer *answers, int *count) {
    const struct lam_cudnn_slice *s = &c->slices[0];
    cudnnConvolutionBwdFilterAlgoPerf_t said[MOST_ANSWERS];
    cudnnStatus_t status = cudnnGetConvolutionBackwardFilterAlgorithm_v7(
        c->handle, s->x, s->y, c->convolution, c->w, MOST_ANSWERS, count, said);
    if (status == CUDNN_STATUS_SUCCESS) COPY_ANSWERS(answers, said, *count, c->math);
    return status;
}

/* Of the largest slice. Answers are in the order of the times that it expects. */
static lam_status ask(const struct lam_op *op, const struct lam_cudnn_conv *conv, struct answer *answers,
                      int *count) {
    *count = 0;
    cudnnStatus_t status = op->kind == LAM_OP_CONV            ? ask_forward(conv, answers, count)
                           : op->kind == LAM_OP_CONV_BWD_DATA ? ask_data(conv, answers, count)
                                                              : ask_weights(conv, answers, count);
    if (status == CUDNN_STATUS_SUCCESS) return LAM_OK;
    *count = 0;
    if (lam_cudnn_is_unsupported(status)) return LAM_OK;
    return lam_cuda_op_failed(LAM_ERR_DEVICE, op, "asking cuDNN for an algorithm",
                              cudnnGetErrorString(status));
}

/* ---- choosing ---- */

/* Places in the table, in the order in which they are to be tried. */
struct order {
    int places[MOST_ANSWERS], count;
};

/* As cuDNN expects them to be fast. */
static lam_status order_by_rule(const struct lam_op *op, const struct lam_cudnn_conv *conv,
                                struct order *order) {
    const struct algorithm *algorithms = algorithms_of(op->kind);
    struct answer answers[MOST_ANSWERS];
    int count;
    LAM_TRY(ask(op, conv, answers, &count));
    for (int i = 0; i < count; i++)
        for (int a = 0; answers[i].good && algorithms[a].name; a++)
            if (algorithms[a].value == answers[i].algorithm) order->places[order->count++] = a;
    return LAM_OK;
}

static lam_status order_by_name(const struct lam_op *op, const char *name, struct order *order) {
    const struct algorithm *algorithms = algorithms_of(op->kind);
    for (int a = 0; algorithms[a].name; a++)
        if (strcmp(algorithms[a].name, name) == 0) {
            order->places[order->count++] = a;
            return LAM_OK;
        }
    return lam_cuda_op_failed(LAM_ERR_INVALID, op, "cuDNN has no such algorithm", name);
}

lam_status lam_cudnn_choose(const struct lam_op *op, const struct lam_kernel_options *options,
                            struct lam_cudnn_conv *conv, const char **chosen) {
    struct order order = {.count = 0};
    if (options->choice)
        LAM_TRY(order_by_name(op, options->choice, &order));
    else
        LAM_TRY(order_by_rule(op, conv, &order));
    for (int i = 0; i < order.count; i++) {
        const struct algorithm *algorithm = &algorithms_of(op->kind)[order.places[i]];
        bool fits;
        LAM_TRY(try_algorithm(op, conv, algorithm->value, &fits));
        *chosen = algorithm->name;
        if (fits) return LAM_OK;
    }
    if (options->choice)
        return lam_cuda_op_failed(LAM_ERR_UNSUPPORTED, op, "cuDNN cannot do it here as", options->choice);
    return lam_cuda_op_failed(LAM_ERR_UNSUPPORTED, op, "cuDNN has no deterministic algorithm for it",
                              "other strides, groups or channels may do");
}
