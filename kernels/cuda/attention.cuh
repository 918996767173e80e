/* What the kernels of attention have in common: heads, and where their matrices are. */
#ifndef LAM_CUDA_ATTENTION_CUH
#define LAM_CUDA_ATTENTION_CUH

#include "cuda/operands.cuh"

#ifdef LAMINA_CUDA_EMULATOR
#define UNROLL
#else
#define UNROLL _Pragma("unroll")
#endif

#define LOG2_E 1.4426950408889634f
#define LN_2   0.6931471805599453f

struct heads {
    int tokens, features, count, width; /* width: features / count, those of a head */
    float scale;
    bool by_four; /* four features are aligned together in all operands */
};

/* A head's rows in a tensor. */
template <typename T> struct matrix {
    T *at;
    int stride;
};

__device__ inline int at_most(int x, int most) {
    return x < most ? x : most;
}

/* ---- where things are ---- */

/* Matrix `which` (q, k, v = 0, 1, 2) of head `head` of sample `sample`. */
template <typename T>
__device__ inline matrix<T> part_of(T *qkv, int which, int64_t sample, int head, const heads &h) {
    return {qkv + sample * h.tokens * 3 * h.features + which * h.features + head * h.width, 3 * h.features};
}
template <typename T> __device__ inline matrix<T> head_of(T *y, int64_t sample, int head, const heads &h) {
    return {y + sample * h.tokens * h.features + head * h.width, h.features};
}

/* The tile that a block holds; blocks are numbered (sample, head, tile). */
struct held {
    int64_t sample;
    int head, first, rows;
};
__device__ inline held held_by_block(int tile, const heads &h) {
    int tiles = (h.tokens + tile - 1) / tile, row = (int)blockIdx.x / tiles;
    int first = ((int)blockIdx.x - row * tiles) * tile;
    return {row / h.count, row % h.count, first, at_most(h.tokens - first, tile)};
}

/* ---- on tensor cores (attention_tensor.cu): bf16 alone, on a GPU that has them, heads of at most TENSOR_WIDTH features ---- */

constexpr int TENSOR_WIDTH = 64;

/* Whether they can do it. `pointers`: of q, k, v and what is as them. */
bool attention_fits_tensor_cores(const struct lam_stream *stream, const heads &h,
                                 std::initializer_list<const void *> pointers);
void attention_tensor(const struct lam_kernel_args *args, const heads &h);
/* dots: the row sums of dy * y, [sample][head][token]. */
void attention_bwd_tensor(const struct lam_kernel_args *args, const heads &h, const float *dots);

#endif
