/* Feature maps in any mix of layouts, element by element: f(x[n,c,p]) with numbers that depend on the channel.
 *
 * An op is a struct M with pointers and maps, and two functions:
 *
 *     template <int N> __device__ auto constants_of(const M &m, int64_t n, int c);     // of N channels from c on
 *     template <int N> __device__ void map_at(const M &m, const C &constants, int64_t n, int64_t p, int c);
 *
 * map_features() runs it: where all operands have channels last, a thread keeps its N channels and walks along the rows;
 * else a thread does one element at a time, in the order of the output. If constants do not depend on the sample
 * (`per_sample` is false), channels-last maps are one sample of many pixels.
 */
#ifndef LAM_CUDA_FEATURE_MAP_CUH
#define LAM_CUDA_FEATURE_MAP_CUH

#include "cuda/divisor.cuh"
#include "cuda/element_vectors.cuh"
#include "cuda/feature_op.cuh"

/* Element (n, c, p) of a feature map, p = y W + x, is at n sample + c channel + p pixel. */
struct feature_map {
    int64_t sample, channel, pixel;
};

static inline struct feature_map feature_map_of(const struct lam_tensor_desc &desc) {
    struct lam_tensor_desc same = desc;
    if (channels_last(desc)) same.layout = LAM_NHWC;
    const struct lam_cuda_view view = lam_cuda_view_of(&same);
    return {view.sn, view.sc, view.sw};
}

__device__ inline int64_t feature_offset(const struct feature_map &map, int64_t n, int64_t p, int c) {
    return n * map.sample + p * map.pixel + c * map.channel;
}

/* The order in which elements are counted: that of a layout. */
struct feature_order {
    struct divisor sample, inner;
    bool channels_last;
};

struct feature_place {
    int64_t n;
    int c, p;
};

static inline struct feature_order feature_order_of(const struct lam_tensor_desc &desc) {
    const int64_t *d = desc.shape.dim;
    bool last = channels_last(desc);
    return {divisor_of(d[1] * d[2] * d[3]), divisor_of(last ? d[1] : d[2] * d[3]), last};
}

__device__ inline struct feature_place feature_place_of(const struct feature_order &order, int64_t i) {
    const int64_t n = divide_long(i, order.sample);
    const uint32_t rest = (uint32_t)(i - n * order.sample.value), outer = divide(rest, order.inner);
    const uint32_t inner = rest - outer * order.inner.value;
    if (order.channels_last) return {n, (int)inner, (int)outer};
    return {n, (int)outer, (int)inner};
}

/* ---- images, pixel by pixel, for kernels that look at neighbours ---- */

/* Vectors of channels counted in the order of a layout. */
struct image_order {
    struct divisor sample, channels, height, width; /* in vectors; sample: all of them */
    bool channels_last;
};

struct image_place {
    int64_t n;
    int c, y, x; /* c: of vectors */
};

/* vector: channels that a thread does together; 1 unless channels are last. */
static inline struct image_order image_order_of(const struct lam_tensor_desc &desc, int vector) {
    const int64_t *d = desc.shape.dim, channels = d[1] / vector;
    return {divisor_of(channels * d[2] * d[3]), divisor_of(channels), divisor_of(d[2]), divisor_of(d[3]),
            channels_last(desc)};
}

__device__ inline struct image_place image_place_of(const struct image_order &order, int64_t i) {
    const int64_t n = divide_long(i, order.sample);
    const uint32_t rest = (uint32_t)(i - n * order.sample.value);
    const struct divisor inner = order.channels_last ? order.channels : order.width;
    const struct divisor middle = order.channels_last ? order.width : order.height;
    const uint32_t outside = divide(rest, inner), outer = divide(outside, middle);
    const int first = (int)(rest - outside * inner.value), second = (int)(outside - outer * middle.value);
    if (order.channels_last) return {n, first, (int)outer, second};
    return {n, (int)outer, second, first};
}

__device__ inline int at_least(int x, int least) {
    return x < least ? least : x;
}
__device__ inline int at_most(int x, int most) {
    return x > most ? most : x;
}

__device__ inline int64_t image_offset(const struct lam_cuda_view &view, int64_t n, int c, int y, int x) {
    return n * view.sn + c * view.sc + y * view.sh + x * view.sw;
}

/* ---- grids of threads along channels (x) and rows (y) ---- */

constexpr int ROW_THREADS = 256, ROWS_PER_THREAD = 4, ROW_BLOCKS = 8; /* blocks: of a multiprocessor */

/* Threads for `columns` columns side by side, as evenly as they divide into groups of 32, and as many rows as fit. */
static inline dim3 row_block(int64_t columns) {
    const int64_t groups = (columns + WARP - 1) / WARP, across = (columns + groups - 1) / groups;
    return dim3((unsigned)across, (unsigned)(ROW_THREADS / across));
}

static inline dim3 row_grid(const struct lam_stream *stream, dim3 block, int64_t columns, int64_t rows,
                            int64_t segments) {
    const int64_t groups = (columns + block.x - 1) / block.x, deep = std::min<int64_t>(segments, 65535);
    const int64_t most = (int64_t)lam_cuda_multiprocessors(stream->device) * ROW_BLOCKS / (groups * deep);
    const int64_t wanted = (rows + block.y * ROWS_PER_THREAD - 1) / (block.y * ROWS_PER_THREAD);
    return dim3((unsigned)std::clamp<int64_t>(wanted, 1, std::max<int64_t>(most, 1)), (unsigned)groups,
                (unsigned)std::max<int64_t>(deep, 1));
}

/* ---- mapping ---- */

template <int N, typename M>
__global__ void __launch_bounds__(ROW_THREADS, 3)
    map_rows(M map, int64_t segments, int64_t rows, int channels) {
    const int c = (int)(blockIdx.y * blockDim.x + threadIdx.x) * N;
    if (c >= channels) return;
    for (int64_t n = blockIdx.z; n < segments; n += gridDim.z) {
        const auto constants = constants_of<N>(map, n, c);
        const int64_t step = (int64_t)gridDim.x * blockDim.y;
        for (int64_t p = (int64_t)blockIdx.x * blockDim.y + threadIdx.y; p < rows; p += step)
            map_at<N>(map, constants, n, p, c);
    }
}

template <typename M> __global__ void map_elements(M map, struct feature_order order, int64_t count) {
    for (int64_t i = first_index(); i < count; i += index_step()) {
        const struct feature_place at = feature_place_of(order, i);
        map_at<1>(map, constants_of<1>(map, at.n, at.c), at.n, at.p, at.c);
    }
}

template <int N, typename M>
static void map_matrix(struct lam_stream *stream, const char *name, const M &map, int64_t segments,
                       int64_t rows, int64_t channels) {
    const int64_t columns = (channels + N - 1) / N;
    const dim3 block = row_block(columns);
    lam_launch(stream, name, map_rows<N, M>, row_grid(stream, block, columns, rows, segments), block, 0, map,
               segments, rows, channels);
}

/* `out`: whose order elements are taken in. `last`: all operands have channels last. T: the elements' type; `wide`: vectors of
 * them can be loaded and stored (pointers are aligned, channels divide). */
template <typename T, typename M>
static void map_features(const struct lam_kernel_args *args, const struct lam_op &op, const M &map,
                         const struct lam_tensor_desc &out, bool last, bool wide, bool per_sample) {
    const int64_t channels = out.shape.dim[1], pixels = out.shape.dim[2] * out.shape.dim[3];
    const int64_t segments = per_sample ? args->count : 1, rows = per_sample ? pixels : args->count * pixels;
    const char *name = lam_op_name(op.kind);
    if (last && wide) {
        map_matrix<VECTOR<T>>(args->stream, name, map, segments, rows, channels);
    } else if (last) {
        map_matrix<1>(args->stream, name, map, segments, rows, channels);
    } else {
        const int64_t count = args->count * channels * pixels;
        lam_launch(args->stream, name, map_elements<M>, lam_grid(args->stream, count, ROW_THREADS),
                   ROW_THREADS, 0, map, feature_order_of(out), count);
    }
}

#endif
