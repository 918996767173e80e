/* ATTENTION and its gradient in bf16, their products on tensor cores (tensor_core.cuh). What is computed, and how blocks share
 * it, is said in attention.cu; P and dS are rounded to bf16 for the products with v, k and q, as in FlashAttention-2.
 *
 * A warp holds 16 rows: scores and sums stay in its registers, and a tile of scores is, rounded, a factor of the next product.
 * The other tile lies in shared memory by rows, and, where features are summed over its rows, transposed as well. Rows there
 * are 8 elements longer than they have to be, so that what a warp reads at once falls into different banks. */
#include <cmath>

#include "cuda/attention.cuh"
#include "cuda/tensor_core.cuh"

namespace {

constexpr int WARPS = 4, THREADS = WARPS * WARP, ROWS = 16, HELD = WARPS * ROWS, PAD = 8, GROUP = 8;

__device__ int first_row_of_warp() {
    return (int)threadIdx.x / WARP * ROWS;
}

/* ---- tiles ---- */

template <int WIDTH, int OTHER_> struct tensor_shape {
    static constexpr int W = WIDTH, STRIDE = WIDTH + PAD, OTHER = OTHER_, TRANSPOSED = OTHER_ + PAD;
    static constexpr int FEATURES = WIDTH / 8, COLUMNS = OTHER_ / 8; /* products of 8 columns */
};

using group = element_vector<bf16, GROUP>; /* neighbours of a row */

/* Rows [first, first + rows) of a matrix, zeros in what is left of COUNT x W: to `by_rows` and to `transposed`, where they are not NULL. */
template <typename Shape, int COUNT>
__device__ void load_tile(bf16 *by_rows, bf16 *transposed, matrix<const bf16> m, int first, int rows,
                          int width) {
    constexpr int GROUPS = Shape::W / GROUP;
    for (int i = (int)threadIdx.x; i < COUNT * GROUPS; i += THREADS) {
        /* two neighbours read 32 bytes of a row, the next two of the next row: so there are few banks that meet in `transposed` */
        const int row = i / 2 % COUNT, feature = (i / 2 / COUNT * 2 + i % 2) * GROUP;
        group values = {};
        if (row < rows && feature < width)
            values = *reinterpret_cast<const group *>(m.at + (int64_t)(first + row) * m.stride + feature);
        if (by_rows) *reinterpret_cast<group *>(by_rows + row * Shape::STRIDE + feature) = values;
        if (transposed)
            for (int k = 0; k < GROUP; k++)
                transposed[(feature + k) * Shape::TRANSPOSED + row] = values.at[k];
    }
}

/* ---- products ---- */

/* s = the warp's rows of `mine` times the rows of `other`; only of the first `columns`. */
template <typename Shape>
__device__ void score(const bf16 *mine, const bf16 *other, int columns, float (&s)[Shape::COLUMNS][4]) {
    UNROLL for (int k = 0; k < Shape::W; k += 16) {
        unsigned a[4];
        load_a<Shape::STRIDE>(mine, first_row_of_warp(), k, a);
        UNROLL for (int n = 0; n < Shape::COLUMNS; n++) {
            if (n * 8 >= columns) continue;
            unsigned b[2];
            load_b<Shape::STRIDE>(other, n * 8, k, b);
            multiply_add(s[n], a, b);
        }
    }
}

/* sums += s (rounded) times the first `columns` rows of the tile that is transposed. */
template <typename Shape>
__device__ void add_weighted(const float (&s)[Shape::COLUMNS][4], const bf16 *transposed, int columns,
                             float (&sums)[Shape::FEATURES][4]) {
    UNROLL for (int k = 0; k < Shape::OTHER; k += 16) {
        if (k >= columns) continue;
        unsigned a[4];
        make_a(s[k / 8], s[k / 8 + 1], a);
        UNROLL for (int n = 0; n < Shape::FEATURES; n++) {
            unsigned b[2];
            load_b<Shape::TRANSPOSED>(transposed, n * 8, k, b);
            multiply_add(sums[n], a, b);
        }
    }
}

template <typename Shape>
__device__ void store_rows(matrix<bf16> m, const float (&sums)[Shape::FEATURES][4], const held &tile,
                           int width) {
    UNROLL for (int half = 0; half < 2; half++) {
        const int row = first_row_of_warp() + lane_row() + 8 * half;
        if (row >= tile.rows) continue;
        bf16 *to = m.at + (int64_t)(tile.first + row) * m.stride;
        UNROLL for (int n = 0; n < Shape::FEATURES; n++) {
            const int feature = n * 8 + lane_column();
            if (feature < width) /* an even number, as its place */
                store_pair(to + feature, sums[n][2 * half], sums[n][2 * half + 1]);
        }
    }
}

/* Over the four lanes that have a row together. */
__device__ float lanes_sum(float value) {
    for (int step = 2; step > 0; step /= 2) value += __shfl_xor_sync(0xFFFFFFFFu, value, step);
    return value;
}
__device__ float lanes_max(float value) {
    for (int step = 2; step > 0; step /= 2) value = fmaxf(value, __shfl_xor_sync(0xFFFFFFFFu, value, step));
    return value;
}

/* ---- forward ---- */

template <typename Shape> constexpr size_t tensor_forward_bytes() {
    return sizeof(bf16) * ((HELD + Shape::OTHER) * Shape::STRIDE + Shape::W * Shape::TRANSPOSED);
}

/* A lane's two rows so far. */
template <typename Shape> struct two_rows {
    float most[2], sum[2];
    float y[Shape::FEATURES][4];
};

template <typename Shape>
__device__ void exponentials(float (&s)[Shape::COLUMNS][4], two_rows<Shape> &so_far, int columns,
                             float scale) {
    UNROLL for (int half = 0; half < 2; half++) {
        float most = so_far.most[half], sum = 0;
        UNROLL for (int n = 0; n < Shape::COLUMNS; n++) UNROLL for (int e = 2 * half; e < 2 * half + 2; e++) {
            s[n][e] = n * 8 + lane_column() + e % 2 < columns ? s[n][e] * scale : -INFINITY;
            most = fmaxf(most, s[n][e]);
        }
        most = lanes_max(most);
        UNROLL for (int n = 0; n < Shape::COLUMNS; n++) UNROLL for (int e = 2 * half; e < 2 * half + 2; e++) {
            s[n][e] = exp2f(s[n][e] - most);
            sum += s[n][e];
        }
        const float before = exp2f(so_far.most[half] - most);
        so_far.most[half] = most;
        so_far.sum[half] = fmaf(so_far.sum[half], before, lanes_sum(sum));
        UNROLL for (int n = 0; n < Shape::FEATURES; n++) UNROLL for (int e = 2 * half; e < 2 * half + 2; e++)
            so_far.y[n][e] *= before;
    }
}

template <typename Shape> __device__ void finish(two_rows<Shape> &so_far, float *lse, const held &tile) {
    UNROLL for (int half = 0; half < 2; half++) {
        const int row = first_row_of_warp() + lane_row() + 8 * half;
        const float share = 1.0f / so_far.sum[half];
        if (lane_column() == 0 && row < tile.rows)
            lse[tile.first + row] = fmaf(so_far.most[half], LN_2, logf(so_far.sum[half]));
        UNROLL for (int n = 0; n < Shape::FEATURES; n++) UNROLL for (int e = 2 * half; e < 2 * half + 2; e++)
            so_far.y[n][e] *= share;
    }
}

template <typename Shape>
__global__ void __launch_bounds__(THREADS, 3)
    attention_tensor_kernel(const bf16 *qkv, bf16 *y, float *lse, heads h) {
    bf16 *q = shared_memory<bf16>(), *k = q + HELD * Shape::STRIDE, *v = k + Shape::OTHER * Shape::STRIDE;
    const held tile = held_by_block(HELD, h);
    const matrix<const bf16> keys = part_of(qkv, 1, tile.sample, tile.head, h);
    const matrix<const bf16> values = part_of(qkv, 2, tile.sample, tile.head, h);
    load_tile<Shape, HELD>(q, nullptr, part_of(qkv, 0, tile.sample, tile.head, h), tile.first, tile.rows,
                           h.width);
    two_rows<Shape> so_far = {};
    UNROLL for (int half = 0; half < 2; half++) so_far.most[half] = -INFINITY;
    for (int first = 0; first < h.tokens; first += Shape::OTHER) {
        const int columns = at_most(h.tokens - first, Shape::OTHER);
        __syncthreads();
        load_tile<Shape, Shape::OTHER>(k, nullptr, keys, first, columns, h.width);
        __syncthreads();
        float s[Shape::COLUMNS][4] = {};
        const bool has_rows = first_row_of_warp() < tile.rows;
        if (has_rows) {
            score<Shape>(q, k, columns, s);
            exponentials<Shape>(s, so_far, columns, h.scale * LOG2_E);
        }
        load_tile<Shape, Shape::OTHER>(nullptr, v, values, first, columns, h.width);
        __syncthreads();
        if (has_rows) add_weighted<Shape>(s, v, columns, so_far.y);
    }
    if (first_row_of_warp() >= tile.rows) return;
    finish<Shape>(so_far, lse + (tile.sample * h.count + tile.head) * h.tokens, tile);
    store_rows<Shape>(head_of(y, tile.sample, tile.head, h), so_far.y, tile, h.width);
}

/* ---- backward ---- */

template <typename Shape> constexpr size_t tensor_backward_bytes() {
    return sizeof(bf16) * (2 * (HELD + Shape::OTHER) * Shape::STRIDE + 2 * Shape::W * Shape::TRANSPOSED);
}

/* Makes P of the scores s, and dS of their gradients; what a query knows of itself stands by rows, or OF_KEYS by columns. */
template <typename Shape, bool OF_KEYS>
__device__ void score_gradients(float (&s)[Shape::COLUMNS][4], float (&ds)[Shape::COLUMNS][4],
                                const float *lse, const float *dots, const held &tile, int first, int columns,
                                const heads &h) {
    UNROLL for (int n = 0; n < Shape::COLUMNS; n++) UNROLL for (int e = 0; e < 4; e++) {
        const int row = tile.first + first_row_of_warp() + lane_row() + e / 2 * 8;
        const int column = n * 8 + lane_column() + e % 2;
        const int query = OF_KEYS ? first + column : row;
        const bool there = column < columns && query < h.tokens;
        const float of = there ? lse[query] * LOG2_E : 0.0f, dot = there ? dots[query] : 0.0f;
        s[n][e] = there ? exp2f(fmaf(s[n][e], h.scale * LOG2_E, -of)) : 0.0f;
        ds[n][e] = there ? h.scale * s[n][e] * (ds[n][e] - dot) : 0.0f;
    }
}

template <typename Shape, bool OF_KEYS>
__global__ void __launch_bounds__(THREADS, 2)
    attention_bwd_tensor_kernel(const bf16 *dy, const bf16 *qkv, const float *lse, const float *dots,
                                bf16 *dqkv, heads h) {
    bf16 *mine = shared_memory<bf16>(), *mine_b = mine + HELD * Shape::STRIDE;
    bf16 *other = mine_b + HELD * Shape::STRIDE, *other_b = other + Shape::OTHER * Shape::STRIDE;
    bf16 *transposed = other_b + Shape::OTHER * Shape::STRIDE,
         *transposed_b = transposed + Shape::W * Shape::TRANSPOSED;
    const held tile = held_by_block(HELD, h);
    const int64_t statistics = (tile.sample * h.count + tile.head) * h.tokens;
    const matrix<const bf16> q = part_of(qkv, 0, tile.sample, tile.head, h);
    const matrix<const bf16> k = part_of(qkv, 1, tile.sample, tile.head, h);
    const matrix<const bf16> v = part_of(qkv, 2, tile.sample, tile.head, h);
    const matrix<const bf16> dys = head_of(dy, tile.sample, tile.head, h);
    load_tile<Shape, HELD>(mine, nullptr, OF_KEYS ? k : q, tile.first, tile.rows, h.width);
    load_tile<Shape, HELD>(mine_b, nullptr, OF_KEYS ? v : dys, tile.first, tile.rows, h.width);
    float of_a[Shape::FEATURES][4] = {}, of_b[Shape::FEATURES][4] = {};
    const bool has_rows = first_row_of_warp() < tile.rows;
    for (int first = 0; first < h.tokens; first += Shape::OTHER) {
        const int columns = at_most(h.tokens - first, Shape::OTHER);
        __syncthreads();
        load_tile<Shape, Shape::OTHER>(other, transposed, OF_KEYS ? q : k, first, columns, h.width);
        load_tile<Shape, Shape::OTHER>(other_b, OF_KEYS ? transposed_b : nullptr, OF_KEYS ? dys : v, first,
                                       columns, h.width);
        __syncthreads();
        if (!has_rows) continue;
        float s[Shape::COLUMNS][4] = {}, ds[Shape::COLUMNS][4] = {};
        score<Shape>(mine, other, columns, s);
        score<Shape>(mine_b, other_b, columns, ds);
        score_gradients<Shape, OF_KEYS>(s, ds, lse + statistics, dots + statistics, tile, first, columns, h);
        if (OF_KEYS) add_weighted<Shape>(s, transposed_b, columns, of_b);
        add_weighted<Shape>(ds, transposed, columns, of_a);
    }
    if (!has_rows) return;
    store_rows<Shape>(part_of(dqkv, OF_KEYS ? 1 : 0, tile.sample, tile.head, h), of_a, tile, h.width);
    if (OF_KEYS) store_rows<Shape>(part_of(dqkv, 2, tile.sample, tile.head, h), of_b, tile, h.width);
}

/* ---- launches ---- */

unsigned tensor_blocks(const heads &h, int count) {
    return (unsigned)((h.tokens + HELD - 1) / HELD * h.count * count);
}

template <int OTHER, typename F> void with_tensor_shape(int width, F f) {
    if (width <= 32)
        f(tensor_shape<32, OTHER>());
    else
        f(tensor_shape<TENSOR_WIDTH, OTHER>());
}

template <bool OF_KEYS, typename S>
void launch_backward(const struct lam_kernel_args *args, const heads &h, const float *dots, S) {
    lam_launch(args->stream, OF_KEYS ? "attention_bwd_kv_tensor" : "attention_bwd_q_tensor",
               attention_bwd_tensor_kernel<S, OF_KEYS>, tensor_blocks(h, args->count), THREADS,
               tensor_backward_bytes<S>(), (const bf16 *)args->in[0], (const bf16 *)args->in[1],
               (const float *)args->in[3], dots, (bf16 *)args->out[0], h);
}

} // namespace

/* Rows of every head begin at 16 bytes. */
bool attention_fits_tensor_cores(const struct lam_stream *stream, const heads &h,
                                 std::initializer_list<const void *> pointers) {
    return lam_cuda_compute_capability(stream->device) >= LEAST_CAPABILITY && h.width <= TENSOR_WIDTH &&
           h.width % GROUP == 0 && aligned(pointers, 16);
}

void attention_tensor(const struct lam_kernel_args *args, const heads &h) {
    with_tensor_shape<64>(h.width, [&](auto shape) {
        using S = decltype(shape);
        lam_launch(args->stream, "attention_tensor", attention_tensor_kernel<S>,
                   tensor_blocks(h, args->count), THREADS, tensor_forward_bytes<S>(),
                   (const bf16 *)args->in[0], (bf16 *)args->out[0], (float *)args->out[1], h);
    });
}

void attention_bwd_tensor(const struct lam_kernel_args *args, const heads &h, const float *dots) {
    with_tensor_shape<32>(h.width, [&](auto shape) {
        launch_backward<false>(args, h, dots, shape);
        launch_backward<true>(args, h, dots, shape);
    });
}
