/* Sums over the rows of feature maps and matrices, column by column: deterministic, in two steps.
 *
 * What is summed is a struct S with pointers and maps, a constant S::TERMS, and two functions (three, if
 * constants are to be kept):
 *
 *     template <int N> __device__ auto constants_of(const S &s, int64_t n, int c);      // of N columns from c on
 *     template <int N> __device__ void add_terms(const S &s, const C &constants, int64_t n, int64_t p, int c,
 *                                                float (&sums)[S::TERMS][N]);
 *     template <int N> __device__ void store_constants(const S &s, const C &constants, int c);  // by the first chunk
 *
 * sum_columns() gives a fixed number of chunks of the rows to as many blocks, which leave their sums in `blocks`, as
 * [segment][chunk][term][channel]; fold_chunks() adds the chunks, always in one order, in fold_blocks(), lam_cuda_fold (bundle.h)
 * and other kernels. A segment is a part of the rows with sums of its own: a sample, or everything. With channels last, threads stand along channels and a segment of several samples is one sample
 * of many pixels; else a block takes one channel, and threads stand along pixels.
 */
#ifndef LAM_CUDA_COLUMN_SUM_CUH
#define LAM_CUDA_COLUMN_SUM_CUH

#include "cuda/feature_map.cuh"

struct sum_shape {
    int64_t segments, samples; /* samples: of a segment */
    int64_t pixels, channels;
    bool last, wide; /* as for map_features */
};

constexpr int SUM_BLOCKS = 4;    /* of a multiprocessor */
constexpr int SUM_COLUMNS = 256; /* of a block, about */
constexpr int LEAST_ROWS = 128;  /* of a chunk, about */

static inline int64_t sum_chunks(const struct lam_backend_device *device, int64_t segments, int64_t rows,
                                 int64_t channels) {
    const int64_t blocks = (int64_t)lam_cuda_multiprocessors(device) * SUM_BLOCKS;
    const int64_t others = segments * ((channels + SUM_COLUMNS - 1) / SUM_COLUMNS);
    const int64_t useful = (rows + LEAST_ROWS - 1) / LEAST_ROWS;
    return std::max<int64_t>(1, std::min<int64_t>(useful, (blocks + others - 1) / others));
}

/* Bytes of `blocks`. Grows with `rows`, but not always with `segments`. */
static inline size_t sum_bytes(const struct lam_backend_device *device, int64_t segments, int64_t rows,
                               int64_t channels, int terms) {
    const int64_t chunks = sum_chunks(device, segments, rows, channels);
    return (size_t)(segments * chunks * terms * channels) * sizeof(float);
}

/* The most that a slice needs whose samples are its segments, of one term each. */
static inline size_t largest_sum_bytes(const struct lam_backend_device *device,
                                       const struct lam_kernel_options *options, int64_t pixels,
                                       int64_t channels) {
    size_t most = 0;
    for (int i = 0; i < options->slice_count; i++)
        most = std::max(most, sum_bytes(device, options->slices[i], pixels, channels, 1));
    return most;
}

/* ---- step 1: chunks ---- */

/* Most have nothing to store. */
template <int N, typename S, typename C> __device__ inline void store_constants(const S &, const C &, int) {}

/* sum + lost grows by `value`, almost exactly (Knuth's TwoSum): sums of many terms of either sign may be small. */
__device__ inline void add_compensated(float &sum, float &lost, float value) {
    const float total = sum + value, added = total - sum;
    lost += (sum - (total - added)) + (value - added);
    sum = total;
}

/* Adds up `values` over threadIdx.y and writes the sums of the block's columns to `to`, which begins at the block's first column
 * and has `columns` left. `room`: N floats for each thread. All threads must call it. */
template <int N>
__device__ inline void fold_rows(const float (&values)[N], float *room, float *to, int columns) {
    const int across = (int)blockDim.x, threads = across * (int)blockDim.y;
    const int me = (int)(threadIdx.y * blockDim.x + threadIdx.x);
    for (int k = 0; k < N; k++) room[k * threads + me] = values[k];
    __syncthreads();
    for (int i = me; i < across * N && i < columns; i += threads) {
        const float *column = room + i % N * threads + i / N;
        float sum = 0.0f, lost = 0.0f;
        for (int y = 0; y < (int)blockDim.y; y++) add_compensated(sum, lost, column[y * across]);
        to[i] = sum + lost;
    }
    __syncthreads();
}

template <int N, typename S>
__global__ void sum_rows(S sum, int64_t segments, int64_t rows, int channels, float *blocks) {
    const int first = (int)(blockIdx.y * blockDim.x) * N, c = first + (int)threadIdx.x * N;
    for (int64_t n = blockIdx.z; n < segments; n += gridDim.z) {
        float sums[S::TERMS][N] = {};
        if (c < channels) {
            const auto constants = constants_of<N>(sum, n, c);
            if (blockIdx.x == 0 && threadIdx.y == 0) store_constants<N>(sum, constants, c);
            const int64_t step = (int64_t)gridDim.x * blockDim.y;
            UNROLLED(4)
            for (int64_t p = (int64_t)blockIdx.x * blockDim.y + threadIdx.y; p < rows; p += step)
                add_terms<N>(sum, constants, n, p, c, sums);
        }
        float *to = blocks + (n * gridDim.x + blockIdx.x) * S::TERMS * channels + first;
        for (int k = 0; k < S::TERMS; k++)
            fold_rows(sums[k], shared_memory<float>(), to + (int64_t)k * channels, channels - first);
    }
}

/* One channel of one chunk of one segment; `blockDim.x` threads along its pixels. */
template <typename S>
__device__ inline void sum_channel(const S &sum, const struct sum_shape &shape, int64_t segment, int c,
                                   float (&sums)[S::TERMS][1]) {
    const auto constants = constants_of<1>(sum, segment, c);
    if (blockIdx.x == 0 && threadIdx.x == 0) store_constants<1>(sum, constants, c);
    const int64_t rows = shape.samples * shape.pixels, end = rows * (blockIdx.x + 1) / gridDim.x;
    int64_t r = rows * blockIdx.x / gridDim.x + threadIdx.x;
    int64_t n = r / shape.pixels, p = r % shape.pixels;
    const int64_t samples = blockDim.x / shape.pixels, pixels = blockDim.x % shape.pixels;
    for (; r < end; r += blockDim.x) {
        add_terms<1>(sum, constants, segment * shape.samples + n, p, c, sums);
        n += samples;
        p += pixels;
        if (p < shape.pixels) continue;
        p -= shape.pixels;
        n++;
    }
}

template <typename S> __global__ void sum_planes(S sum, struct sum_shape shape, float *blocks) {
    for (int64_t segment = blockIdx.z; segment < shape.segments; segment += gridDim.z)
        for (int64_t c = blockIdx.y; c < shape.channels; c += gridDim.y) {
            float sums[S::TERMS][1] = {};
            sum_channel(sum, shape, segment, (int)c, sums);
            float *to = blocks + (segment * gridDim.x + blockIdx.x) * S::TERMS * shape.channels + c;
            for (int k = 0; k < S::TERMS; k++) {
                const float total = block_sum(sums[k][0], shared_memory<float>());
                if (threadIdx.x == 0) to[k * shape.channels] = total;
            }
        }
}

template <int N, typename S>
static void sum_matrix(struct lam_stream *stream, const char *name, const S &sum,
                       const struct sum_shape &shape, int64_t chunks, float *blocks) {
    const int64_t columns = (shape.channels + N - 1) / N;
    const dim3 block = row_block(columns);
    const dim3 grid((unsigned)chunks, (unsigned)((columns + block.x - 1) / block.x),
                    (unsigned)std::min<int64_t>(shape.segments, 65535));
    lam_launch(stream, name, sum_rows<N, S>, grid, block, (size_t)(block.x * block.y * N) * sizeof(float),
               sum, shape.segments, shape.samples * shape.pixels, shape.channels, blocks);
}

/* T: the elements' type. Returns the number of chunks. */
template <typename T, typename S>
static int64_t sum_columns(struct lam_stream *stream, const char *name, const S &sum,
                           const struct sum_shape &shape, float *blocks) {
    const int64_t chunks =
        sum_chunks(stream->device, shape.segments, shape.samples * shape.pixels, shape.channels);
    if (shape.last && shape.wide) {
        sum_matrix<VECTOR<T>>(stream, name, sum, shape, chunks, blocks);
    } else if (shape.last) {
        sum_matrix<1>(stream, name, sum, shape, chunks, blocks);
    } else {
        const dim3 grid((unsigned)chunks, (unsigned)std::min<int64_t>(shape.channels, 65535),
                        (unsigned)std::min<int64_t>(shape.segments, 65535));
        lam_launch(stream, name, sum_planes<S>, grid, ROW_THREADS, WARP * sizeof(float), sum, shape, blocks);
    }
    return chunks;
}

/* ---- step 2: the chunks, in order ---- */

constexpr int FOLD_ROWS = 8;

/* Bytes of shared memory for fold_chunks. */
constexpr size_t fold_room(int terms) {
    return (size_t)terms * WARP * FOLD_ROWS * sizeof(double);
}
static inline dim3 fold_grid(int64_t columns, int64_t segments = 1) {
    return dim3((unsigned)((columns + WARP - 1) / WARP), (unsigned)std::min<int64_t>(segments, 65535));
}

/* The sums of column `column` over the chunks, which are `stride` apart, and those of the columns `between`, 2 `between` and so
 * on behind it; in the threads of row 0. Blocks of FOLD_ROWS rows of 32 threads. All threads must call it; columns from `end` on
 * have the sum 0. */
template <int TERMS>
__device__ inline void fold_chunks(const float *blocks, int64_t chunks, int64_t stride, int64_t column,
                                   int64_t between, int64_t end, int row, double (&sums)[TERMS]) {
    constexpr int OF_TERM = WARP * FOLD_ROWS;
    double *room = shared_memory<double>() + threadIdx.x % WARP;
    for (int t = 0; t < TERMS; t++) sums[t] = 0;
    if (column < end) {
        UNROLLED(8)
        for (int64_t i = row; i < chunks; i += FOLD_ROWS)
            for (int t = 0; t < TERMS; t++) sums[t] += (double)blocks[i * stride + column + t * between];
    }
    for (int t = 0; t < TERMS; t++) room[t * OF_TERM + row * WARP] = sums[t];
    __syncthreads();
    for (int t = 0; t < TERMS && row == 0; t++) {
        sums[t] = 0;
        for (int y = 0; y < FOLD_ROWS; y++) sums[t] += room[t * OF_TERM + y * WARP];
    }
    __syncthreads();
}

/* out[segment][column] = scale * sum, added to what is there if `accumulate`. */
template <typename T>
__global__ void fold_columns(const float *blocks, int64_t segments, int64_t chunks, int64_t columns,
                             float scale, bool accumulate, T *out) {
    const int64_t column = (int64_t)blockIdx.x * WARP + threadIdx.x;
    for (int64_t s = blockIdx.y; s < segments; s += gridDim.y) {
        double sum[1];
        fold_chunks(blocks + s * chunks * columns, chunks, columns, column, 0, columns, (int)threadIdx.y,
                    sum);
        if (threadIdx.y != 0 || column >= columns) continue;
        T *to = out + s * columns + column;
        const float total = (float)(scale * sum[0]);
        store(to, accumulate ? load(to) + total : total);
    }
}

/* columns: terms times channels. */
template <typename T>
static void fold_blocks(struct lam_stream *stream, const char *name, const float *blocks, int64_t segments,
                        int64_t chunks, int64_t columns, float scale, bool accumulate, T *out) {
    lam_launch(stream, name, fold_columns<T>, fold_grid(columns, segments), dim3(WARP, FOLD_ROWS),
               fold_room(1), blocks, segments, chunks, columns, scale, accumulate, out);
}

#endif
