/* ATTENTION and its gradient, without the matrix of scores in memory (FlashAttention-2: Dao 2023, sections 3.1 and 3.2).
 *
 *     S = q k^T,  P = softmax(scale S),  y = P v,  lse = log sum exp of the rows of scale S
 *
 * Forward, a block holds a tile of queries and goes over the keys tile by tile; the largest score of a row, the sum of its
 * exponentials and its part of y are corrected when a larger score turns up. Exponentials are powers of two: scores
 * are scaled by log2(e), too.
 *
 * The gradient computes P again from lse:
 *
 *     D = row sums of dy * y,  dP = dy v^T,  dS = scale P * (dP - D)
 *     dq = dS k,  dk = dS^T q,  dv = P^T dy
 *
 * It has no atomics: blocks that hold a tile of queries make dq, and blocks that hold a tile of keys make dk and dv, each going
 * over the other kind. Both are one kernel, because dk comes from (k, v, q, dy) as dq does from (q, dy, k, v).
 *
 * Here products are in f32, whatever the tensors are: for f32, and for bf16 where attention_tensor.cu does not apply.
 *
 * A block has 16 x 8 threads. Thread (down, across) has rows down, down + 16, ... of the block's tile, against columns
 * across, across + 8, ... of the other tile, and four features at 4 across, 4 across + 32, ... So a row is the matter of 8
 * neighbours in one warp, and what they share by memory needs no barrier of the block. Everything in shared memory is f32; the
 * rows there are 4 elements longer than they have to be, and thus fall into different banks. */
#include <cmath>

#include "cuda/attention.cuh"
#include "cuda/ops.h"

namespace {

constexpr int DOWN = 16, ACROSS = 8, THREADS = DOWN * ACROSS, PAD = 4;

__device__ int down() {
    return (int)threadIdx.x / ACROSS;
}
__device__ int across() {
    return (int)threadIdx.x % ACROSS;
}
/* The first row of this thread's warp. */
__device__ int warp_row() {
    return (int)threadIdx.x / WARP * ((int)WARP / ACROSS);
}

__device__ int up_to_four(int x) {
    return (x + TOGETHER - 1) / TOGETHER * TOGETHER;
}

/* ---- tiles ---- */

template <typename T>
__device__ void load_features(const T *from, int feature, float (&values)[TOGETHER], const heads &h) {
    if (h.by_four) return load_vector(from + feature, values);
    for (int i = 0; i < TOGETHER && feature + i < h.width; i++) values[i] = load(from + feature + i);
}

/* Rows [first, first + rows) to shared memory, zeros in what is left of ROWS x WIDTH. */
template <int ROWS, int WIDTH, typename T>
__device__ void load_tile(float *tile, matrix<T> m, int first, int rows, const heads &h) {
    constexpr int GROUPS = WIDTH / TOGETHER;
    for (int i = (int)threadIdx.x; i < ROWS * GROUPS; i += THREADS) {
        int row = i / GROUPS, feature = i % GROUPS * TOGETHER;
        float values[TOGETHER] = {};
        if (row < rows && feature < h.width)
            load_features(m.at + (int64_t)(first + row) * m.stride, feature, values, h);
        store_vector(tile + row * (WIDTH + PAD) + feature, values);
    }
}

/* acc[i][j] += x[down + 16 i] . y[across + 8 j] over `depth` elements, a multiple of four; only for the first USED columns. */
template <int USED, int STRIDE, int I, int J>
__device__ void multiply_rows(float (&acc)[I][J], const float *x, const float *y, int depth) {
    x += down() * STRIDE;
    y += across() * STRIDE;
    for (int k = 0; k < depth; k += TOGETHER) {
        float a[I][TOGETHER], b[USED][TOGETHER];
        UNROLL for (int i = 0; i < I; i++) load_vector(x + i * DOWN * STRIDE + k, a[i]);
        UNROLL for (int j = 0; j < USED; j++) load_vector(y + j * ACROSS * STRIDE + k, b[j]);
        UNROLL for (int i = 0; i < I; i++) UNROLL for (int j = 0; j < USED; j++)
            UNROLL for (int t = 0; t < TOGETHER; t++) acc[i][j] = fmaf(a[i][t], b[j][t], acc[i][j]);
    }
}

/* The same for a tile of y that has `columns` rows: few are not worth the work for all. */
template <int STRIDE, int I, int J>
__device__ void multiply_tile(float (&acc)[I][J], const float *x, const float *y, int depth, int columns) {
    if (columns <= ACROSS)
        multiply_rows<1, STRIDE>(acc, x, y, depth);
    else
        multiply_rows<J, STRIDE>(acc, x, y, depth);
}

/* acc[i][c] += the sum over k < depth, a multiple of four, of s[down + 16 i][k] y[k][4 across + 32 c ...] */
template <int S_STRIDE, int Y_STRIDE, int I, int C>
__device__ void add_weighted_rows(float (&acc)[I][C][TOGETHER], const float *s, const float *y, int depth) {
    s += down() * S_STRIDE;
    y += across() * TOGETHER;
    for (int k = 0; k < depth; k += TOGETHER) {
        float a[I][TOGETHER];
        UNROLL for (int i = 0; i < I; i++) load_vector(s + i * DOWN * S_STRIDE + k, a[i]);
        UNROLL for (int t = 0; t < TOGETHER; t++) UNROLL for (int c = 0; c < C; c++) {
            float b[TOGETHER];
            load_vector(y + (k + t) * Y_STRIDE + c * ACROSS * TOGETHER, b);
            UNROLL for (int i = 0; i < I; i++) UNROLL for (int e = 0; e < TOGETHER; e++) acc[i][c][e] =
                fmaf(a[i][t], b[e], acc[i][c][e]);
        }
    }
}

/* Puts s[i][j] where add_weighted_rows reads it. Only the warp's own rows are concerned. */
template <int STRIDE, int I, int J> __device__ void share_scores(float *to, const float (&s)[I][J]) {
    __syncwarp();
    UNROLL for (int i = 0; i < I; i++) UNROLL for (int j = 0; j < J; j++)
        to[(down() + i * DOWN) * STRIDE + across() + j * ACROSS] = s[i][j];
    __syncwarp();
}

template <typename T, int I, int C>
__device__ void store_rows(matrix<T> m, const float (&acc)[I][C][TOGETHER], const held &tile,
                           const heads &h) {
    UNROLL for (int i = 0; i < I; i++) {
        const int row = down() + i * DOWN;
        if (row >= tile.rows) continue;
        T *to = m.at + (int64_t)(tile.first + row) * m.stride;
        UNROLL for (int c = 0; c < C; c++) {
            const int feature = (across() + c * ACROSS) * TOGETHER;
            if (h.by_four) {
                if (feature < h.width) store_vector(to + feature, acc[i][c]);
                continue;
            }
            UNROLL for (int e = 0; e < TOGETHER; e++) if (feature + e < h.width)
                store(to + feature + e, acc[i][c][e]);
        }
    }
}

/* Over the threads that have a row together. */
__device__ float row_sum(float value) {
    for (int step = ACROSS / 2; step > 0; step /= 2) value += __shfl_xor_sync(0xFFFFFFFFu, value, step);
    return value;
}
__device__ float row_max(float value) {
    for (int step = ACROSS / 2; step > 0; step /= 2)
        value = fmaxf(value, __shfl_xor_sync(0xFFFFFFFFu, value, step));
    return value;
}

/* ---- forward ---- */

/* A thread's rows so far: largest score, sum of 2^(score - largest), and the weighted sum of v. */
template <int I, int C> struct rows_so_far {
    float most[I], sum[I];
    float y[I][C][TOGETHER];
};

/* Makes exponentials of the scores of one tile, of which `columns` are there, and corrects what came before. */
template <int I, int J, int C>
__device__ void exponentials(float (&s)[I][J], rows_so_far<I, C> &so_far, int columns, float scale) {
    UNROLL for (int i = 0; i < I; i++) {
        float most = so_far.most[i], sum = 0;
        UNROLL for (int j = 0; j < J; j++) {
            s[i][j] = across() + j * ACROSS < columns ? s[i][j] * scale : -INFINITY;
            most = fmaxf(most, s[i][j]);
        }
        most = row_max(most);
        UNROLL for (int j = 0; j < J; j++) {
            s[i][j] = exp2f(s[i][j] - most);
            sum += s[i][j];
        }
        const float before = exp2f(so_far.most[i] - most);
        so_far.most[i] = most;
        so_far.sum[i] = fmaf(so_far.sum[i], before, row_sum(sum));
        UNROLL for (int c = 0; c < C; c++) UNROLL for (int e = 0; e < TOGETHER; e++) so_far.y[i][c][e] *=
            before;
    }
}

template <int I, int C> __device__ void finish_rows(rows_so_far<I, C> &so_far, float *lse, const held &tile) {
    UNROLL for (int i = 0; i < I; i++) {
        const int row = down() + i * DOWN;
        const float share = 1.0f / so_far.sum[i];
        if (across() == 0 && row < tile.rows)
            lse[tile.first + row] = fmaf(so_far.most[i], LN_2, logf(so_far.sum[i]));
        UNROLL for (int c = 0; c < C; c++) UNROLL for (int e = 0; e < TOGETHER; e++) so_far.y[i][c][e] *=
            share;
    }
}

/* I, J: rows and columns of a thread. */
template <int WIDTH_, int I_, int J_> struct shape {
    static constexpr int WIDTH = WIDTH_, I = I_, J = J_, HELD = DOWN * I, OTHER = ACROSS * J;
    static constexpr int STRIDE = WIDTH + PAD, SCORES = OTHER + PAD, C = WIDTH / (ACROSS * TOGETHER);
};
template <typename Shape> constexpr size_t forward_bytes() {
    return sizeof(float) * ((Shape::HELD + Shape::OTHER) * Shape::STRIDE + Shape::HELD * Shape::SCORES);
}
template <typename Shape> constexpr size_t backward_bytes() {
    return sizeof(float) * ((Shape::HELD + Shape::OTHER) * 2 * Shape::STRIDE + Shape::HELD * Shape::SCORES);
}

template <typename T, typename Shape>
__global__ void __launch_bounds__(THREADS, 3) attention(const T *qkv, T *y, float *lse, heads h) {
    constexpr int I = Shape::I, J = Shape::J, STRIDE = Shape::STRIDE;
    float *q = shared_memory<float>(), *kv = q + Shape::HELD * STRIDE, *p = kv + Shape::OTHER * STRIDE;
    const held tile = held_by_block(Shape::HELD, h);
    const matrix<const T> k = part_of(qkv, 1, tile.sample, tile.head, h);
    const matrix<const T> v = part_of(qkv, 2, tile.sample, tile.head, h);
    const bool has_rows = warp_row() < tile.rows;
    load_tile<Shape::HELD, Shape::WIDTH>(q, part_of(qkv, 0, tile.sample, tile.head, h), tile.first, tile.rows,
                                         h);
    rows_so_far<I, Shape::C> so_far = {};
    UNROLL for (int i = 0; i < I; i++) so_far.most[i] = -INFINITY;
    for (int first = 0; first < h.tokens; first += Shape::OTHER) {
        const int columns = at_most(h.tokens - first, Shape::OTHER);
        __syncthreads();
        load_tile<Shape::OTHER, Shape::WIDTH>(kv, k, first, columns, h);
        __syncthreads();
        if (has_rows) {
            float s[I][J] = {};
            multiply_tile<STRIDE>(s, q, kv, up_to_four(h.width), columns);
            exponentials(s, so_far, columns, h.scale * LOG2_E);
            share_scores<Shape::SCORES>(p, s);
        }
        __syncthreads();
        load_tile<Shape::OTHER, Shape::WIDTH>(kv, v, first, columns, h);
        __syncthreads();
        if (has_rows) add_weighted_rows<Shape::SCORES, STRIDE>(so_far.y, p, kv, up_to_four(columns));
    }
    finish_rows(so_far, lse + (tile.sample * h.count + tile.head) * h.tokens, tile);
    store_rows(head_of(y, tile.sample, tile.head, h), so_far.y, tile, h);
}

/* ---- backward ---- */

/* dots = D; a warp for each head of each token. */
template <typename T>
__global__ void attention_dots(const T *dy, const T *y, float *dots, int64_t rows, heads h) {
    for (int64_t r = first_index() / WARP; r < rows; r += index_step() / WARP) {
        float sum = 0;
        for (int j = (int)threadIdx.x % WARP; j < h.width; j += WARP)
            sum = fmaf(load(dy + r * h.width + j), load(y + r * h.width + j), sum);
        sum = warp_sum(sum);
        const int64_t token = r / h.count, sample = token / h.tokens;
        if (threadIdx.x % WARP == 0)
            dots[(sample * h.count + r % h.count) * h.tokens + token - sample * h.tokens] = sum;
    }
}

/* What a row of P and dS needs to know of its query. */
struct query {
    float lse, dot;
};
__device__ query query_of(const float *lse, const float *dots, int token, int tokens) {
    if (token >= tokens) return {0, 0};
    return {lse[token] * LOG2_E, dots[token]};
}

/* Makes P of the scores s, and dS of their gradients. OF_KEYS: rows are keys and columns are queries, else the other way. */
template <bool OF_KEYS, int I, int J>
__device__ void score_gradients(float (&s)[I][J], float (&ds)[I][J], const float *lse, const float *dots,
                                int row, int column, int columns, const heads &h) {
    query of_row[I], of_column[J];
    if (OF_KEYS) {
        UNROLL for (int j = 0; j < J; j++) of_column[j] =
            query_of(lse, dots, column + across() + j * ACROSS, h.tokens);
    } else {
        UNROLL for (int i = 0; i < I; i++) of_row[i] = query_of(lse, dots, row + down() + i * DOWN, h.tokens);
    }
    UNROLL for (int i = 0; i < I; i++) UNROLL for (int j = 0; j < J; j++) {
        const query of = OF_KEYS ? of_column[j] : of_row[i];
        const bool there = across() + j * ACROSS < columns;
        s[i][j] = there ? exp2f(fmaf(s[i][j], h.scale * LOG2_E, -of.lse)) : 0.0f;
        ds[i][j] = there ? h.scale * s[i][j] * (ds[i][j] - of.dot) : 0.0f;
    }
}

/* Two matrices of a head: (q, dy) or (k, v). */
template <typename T> struct pair_of { matrix<T> a, b; };

template <int ROWS, int WIDTH, typename T>
__device__ void load_pair(float *tile, pair_of<T> pair, int first, int rows, const heads &h) {
    load_tile<ROWS, WIDTH>(tile, pair.a, first, rows, h);
    load_tile<ROWS, WIDTH>(tile + ROWS * (WIDTH + PAD), pair.b, first, rows, h);
}

template <typename T, typename Shape, bool OF_KEYS>
__global__ void __launch_bounds__(THREADS, 2)
    attention_bwd(const T *dy, const T *qkv, const float *lse, const float *dots, T *dqkv, heads h) {
    constexpr int I = Shape::I, J = Shape::J, STRIDE = Shape::STRIDE, C = Shape::C;
    float *mine = shared_memory<float>(), *mine_b = mine + Shape::HELD * STRIDE;
    float *other = mine_b + Shape::HELD * STRIDE, *other_b = other + Shape::OTHER * STRIDE;
    float *scores = other_b + Shape::OTHER * STRIDE;
    const held tile = held_by_block(Shape::HELD, h);
    const bool has_rows = warp_row() < tile.rows;
    const int64_t statistics = (tile.sample * h.count + tile.head) * h.tokens;
    const pair_of<const T> queries = {part_of(qkv, 0, tile.sample, tile.head, h),
                                      head_of(dy, tile.sample, tile.head, h)};
    const pair_of<const T> keys = {part_of(qkv, 1, tile.sample, tile.head, h),
                                   part_of(qkv, 2, tile.sample, tile.head, h)};
    load_pair<Shape::HELD, Shape::WIDTH>(mine, OF_KEYS ? keys : queries, tile.first, tile.rows, h);
    float of_a[I][C][TOGETHER] = {}, of_b[I][C][TOGETHER] = {};
    for (int first = 0; first < h.tokens; first += Shape::OTHER) {
        const int columns = at_most(h.tokens - first, Shape::OTHER);
        __syncthreads();
        load_pair<Shape::OTHER, Shape::WIDTH>(other, OF_KEYS ? queries : keys, first, columns, h);
        __syncthreads();
        if (!has_rows) continue;
        float s[I][J] = {}, ds[I][J] = {};
        multiply_tile<STRIDE>(s, mine, other, up_to_four(h.width), columns);
        multiply_tile<STRIDE>(ds, mine_b, other_b, up_to_four(h.width), columns);
        score_gradients<OF_KEYS>(s, ds, lse + statistics, dots + statistics, tile.first, first, columns, h);
        if (OF_KEYS) {
            share_scores<Shape::SCORES>(scores, s);
            add_weighted_rows<Shape::SCORES, STRIDE>(of_b, scores, other_b, up_to_four(columns));
        }
        share_scores<Shape::SCORES>(scores, ds);
        add_weighted_rows<Shape::SCORES, STRIDE>(of_a, scores, other, up_to_four(columns));
    }
    store_rows(part_of(dqkv, OF_KEYS ? 1 : 0, tile.sample, tile.head, h), of_a, tile, h);
    if (OF_KEYS) store_rows(part_of(dqkv, 2, tile.sample, tile.head, h), of_b, tile, h);
}

/* ---- kernels ---- */

struct attention_kernel {
    struct lam_kernel base;
    struct heads heads;
};

const attention_kernel *of(const struct lam_kernel *kernel) {
    return reinterpret_cast<const attention_kernel *>(kernel);
}

/* Tiles that keep a block below 48 KiB of shared memory. Calls f with the shape for heads of so many features. */
template <typename F> void with_forward_shape(int width, F f) {
    if (width <= 32)
        f(shape<32, 4, 4>());
    else if (width <= 64)
        f(shape<64, 4, 4>());
    else
        f(shape<128, 2, 4>());
}
template <typename F> void with_backward_shape(int width, F f) {
    if (width <= 32)
        f(shape<32, 4, 4>());
    else if (width <= 64)
        f(shape<64, 2, 4>());
    else
        f(shape<128, 1, 2>());
}

/* `pointers`: the tensors of the op's element type. */
heads heads_for(const attention_kernel *a, std::initializer_list<const void *> pointers) {
    heads h = a->heads;
    const size_t bytes = TOGETHER * lam_dtype_bytes(a->base.op.out[0].desc.dtype);
    h.by_four = h.width % TOGETHER == 0 && aligned(pointers, bytes);
    return h;
}

unsigned blocks_of(const heads &h, int tile, int count) {
    return (unsigned)((h.tokens + tile - 1) / tile * h.count * count);
}

void forward_run(const struct lam_kernel *kernel, const struct lam_kernel_args *args) {
    const heads h = heads_for(of(kernel), {args->in[0], args->out[0]});
    if (kernel->op.in[0].desc.dtype == LAM_BF16 &&
        attention_fits_tensor_cores(args->stream, h, {args->in[0], args->out[0]})) {
        attention_tensor(args, h);
        return;
    }
    with_forward_shape(h.width, [&](auto shape) {
        with_float_type(kernel->op.in[0].desc.dtype, [&](auto *type) {
            using T = std::remove_pointer_t<decltype(type)>;
            using S = decltype(shape);
            lam_launch(args->stream, "attention", attention<T, S>, blocks_of(h, S::HELD, args->count),
                       THREADS, forward_bytes<S>(), (const T *)args->in[0], (T *)args->out[0],
                       (float *)args->out[1], h);
        });
    });
}

template <bool OF_KEYS, typename T, typename S>
void launch_backward(const struct lam_kernel_args *args, const heads &h, const T *, S) {
    lam_launch(args->stream, OF_KEYS ? "attention_bwd_kv" : "attention_bwd_q", attention_bwd<T, S, OF_KEYS>,
               blocks_of(h, S::HELD, args->count), THREADS, backward_bytes<S>(), (const T *)args->in[0],
               (const T *)args->in[1], (const float *)args->in[3], (const float *)args->workspace,
               (T *)args->out[0], h);
}

void backward_run(const struct lam_kernel *kernel, const struct lam_kernel_args *args) {
    const heads h = heads_for(of(kernel), {args->in[0], args->in[1], args->out[0]});
    const int64_t rows = (int64_t)args->count * h.tokens * h.count;
    const bool tensor =
        kernel->op.out[0].desc.dtype == LAM_BF16 &&
        attention_fits_tensor_cores(args->stream, h, {args->in[0], args->in[1], args->out[0]});
    with_backward_shape(h.width, [&](auto shape) {
        with_float_type(kernel->op.out[0].desc.dtype, [&](auto *type) {
            using T = std::remove_pointer_t<decltype(type)>;
            lam_launch(args->stream, "attention_dots", attention_dots<T>,
                       lam_grid(args->stream, rows * WARP, THREADS), THREADS, 0, (const T *)args->in[0],
                       (const T *)args->in[2], (float *)args->workspace, rows, h);
            if (tensor) {
                attention_bwd_tensor(args, h, (const float *)args->workspace);
                return;
            }
            launch_backward<false>(args, h, type, shape);
            launch_backward<true>(args, h, type, shape);
        });
    });
}

lam_status create(const struct lam_op *op, const struct lam_operand *qkv,
                  const struct lam_kernel_options *options, struct lam_kernel **kernel) {
    const struct lam_shape *shape = &qkv->desc.shape;
    const int count = op->attr.attention.heads;
    if (shape->rank != 3 || count < 1 || shape->dim[2] % (3 * count) != 0)
        return feature_op_unsupported(op, "the last dimension does not divide into q, k and v of its heads");
    if (!qkv->batched || !is_float(*qkv))
        return feature_op_unsupported(op, "q, k and v must be batched and f32 or bf16");
    if (shape->dim[2] / 3 / count > 128)
        return feature_op_unsupported(op, "a head has more than 128 features");
    if (options->slices[0] * shape->dim[1] * count > INT32_MAX)
        return feature_op_unsupported(op, "there are too many tokens");
    attention_kernel *a = nullptr;
    LAM_TRY(feature_op_new(op, &a));
    a->heads.tokens = (int)shape->dim[1];
    a->heads.features = (int)(shape->dim[2] / 3);
    a->heads.count = count;
    a->heads.width = a->heads.features / count;
    a->heads.scale = 1.0f / std::sqrt((float)a->heads.width);
    a->base.run = forward_run;
    if (op->kind == LAM_OP_ATTENTION_BWD) {
        a->base.run = backward_run;
        a->base.workspace_bytes = (size_t)(options->slices[0] * shape->dim[1] * count) * sizeof(float);
    }
    *kernel = &a->base;
    return LAM_OK;
}

} // namespace

lam_status lam_cuda_attention_create(struct lam_backend_device *, const struct lam_op *op,
                                     const struct lam_kernel_options *options, struct lam_kernel **kernel,
                                     const char **) {
    return create(op, &op->in[0], options, kernel);
}

lam_status lam_cuda_attention_bwd_create(struct lam_backend_device *, const struct lam_op *op,
                                         const struct lam_kernel_options *options, struct lam_kernel **kernel,
                                         const char **) {
    return create(op, &op->in[1], options, kernel);
}
