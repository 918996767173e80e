/* How the ops on tokens and losses find their way in operands. They count elements in the row-major order of the logical shape,
 * within one sample, with 32 bits; element_order tells where such an element is stored. */
#ifndef LAM_CUDA_OPERANDS_CUH
#define LAM_CUDA_OPERANDS_CUH

#include "cuda/divisor.cuh"
#include "cuda/element_vectors.cuh"
#include "cuda/feature_op.cuh"

/* Elements of a group that is moved together, if it is aligned. */
constexpr int TOGETHER = 4;

/* A kernel that needs to know no more than its op. */
struct simple_kernel {
    struct lam_kernel base;
};

/* Samples of a slice and elements of a sample; an operand that is not batched is one sample. */
static inline int64_t samples_of(const struct lam_operand &operand, int count) {
    return operand.batched ? count : 1;
}
static inline int64_t elements_of(const struct lam_operand &operand) {
    return operand.batched ? lam_cuda_sample(&operand.desc) : lam_shape_count(operand.desc.shape);
}

/* A grid with samples along y, for loops over first_index() within a sample and over blockIdx.y. */
static inline dim3 sample_grid(const struct lam_stream *stream, int64_t elements, int64_t samples,
                               int threads) {
    dim3 grid = lam_grid(stream, elements, threads);
    grid.y = (unsigned)std::clamp<int64_t>(samples, 1, 65535);
    return grid;
}

/* ---- order of elements ---- */

struct element_order {
    bool plain;
    uint32_t channels;
    struct divisor pixels;
};

static inline element_order order_of(const struct lam_operand &operand) {
    const int64_t *d = operand.desc.shape.dim;
    if (operand.desc.layout != LAM_NHWC) return {true, 1, divisor_of(1)};
    return {false, (uint32_t)d[1], divisor_of(d[2] * d[3])};
}

/* Where element e of a sample is, from the sample's beginning. */
__device__ inline uint32_t place_of(uint32_t e, const element_order &order) {
    if (order.plain) return e;
    uint32_t channel = divide(e, order.pixels), pixel = e - channel * order.pixels.value;
    return pixel * order.channels + channel;
}

#endif
