/* Copies with steps (shape_copy.cuh), and changes of layout, which are such.
 *
 * A copy is first made simple: dimensions are put in the order of the target, those that follow on each other on both sides
 * become one, and where both sides have runs of neighbours, several elements are moved as one of up to 16 bytes. Then one of two
 * kernels does it: element by element in the order of the target, or, where the source's neighbours are far apart in the target,
 * by tiles that are turned round in shared memory.
 */
#include "cuda/shape_copy.cuh"

#include <utility>

#include "cuda/divisor.cuh"
#include "cuda/feature_helpers.h"

/* ---- making it simple ---- */

static void swap_dimensions(struct shape_copy *copy, int a, int b) {
    std::swap(copy->size[a], copy->size[b]);
    std::swap(copy->from[a], copy->from[b]);
    std::swap(copy->to[a], copy->to[b]);
}

/* Dimensions of size 1 go, the others stand by their step in the target, the largest first. */
static void order_dimensions(struct shape_copy *copy) {
    int kept = 0;
    for (int i = 0; i < copy->rank; i++)
        if (copy->size[i] > 1) swap_dimensions(copy, kept++, i);
    copy->rank = kept;
    for (int i = 1; i < copy->rank; i++)
        for (int k = i; k > 0 && copy->to[k - 1] < copy->to[k]; k--) swap_dimensions(copy, k - 1, k);
}

static void join_dimensions(struct shape_copy *copy) {
    int last = 0;
    for (int i = 1; i < copy->rank; i++) {
        const bool follows = copy->from[last] == copy->size[i] * copy->from[i] &&
                             copy->to[last] == copy->size[i] * copy->to[i];
        if (!follows) last++;
        copy->size[last] = follows ? copy->size[last] * copy->size[i] : copy->size[i];
        copy->from[last] = copy->from[i];
        copy->to[last] = copy->to[i];
    }
    if (copy->rank > 0) copy->rank = last + 1;
}

/* Elements that can be moved together: a power of two, `most` at most. `wide`: the pointers allow it. */
static int64_t neighbours(const struct shape_copy *copy, int64_t most, size_t element_bytes, const void *from,
                          const void *to) {
    const int last = copy->rank - 1;
    if (last < 0 || copy->from[last] != 1 || copy->to[last] != 1) return 1;
    for (int64_t n = most; n > 1; n /= 2) {
        bool fits = copy->size[last] % n == 0 && aligned({from, to}, (size_t)n * element_bytes);
        for (int i = 0; i < last; i++) fits = fits && copy->from[i] % n == 0 && copy->to[i] % n == 0;
        if (fits) return n;
    }
    return 1;
}

static void take_together(struct shape_copy *copy, int64_t n) {
    const int last = copy->rank - 1;
    if (n == 1) return;
    copy->size[last] /= n;
    for (int i = 0; i < last; i++) {
        copy->from[i] /= n;
        copy->to[i] /= n;
    }
}

static int64_t copy_count(const struct shape_copy *copy) {
    int64_t count = 1;
    for (int i = 0; i < copy->rank; i++) count *= copy->size[i];
    return count;
}

/* ---- element by element ---- */

struct copy_steps {
    int rank;
    struct divisor size[COPY_RANK]; /* the first is not used */
    int64_t from[COPY_RANK], to[COPY_RANK];
};

static struct copy_steps copy_steps_of(const struct shape_copy *copy) {
    struct copy_steps steps = {};
    steps.rank = copy->rank;
    for (int i = 0; i < copy->rank; i++) {
        steps.size[i] = divisor_of(i == 0 ? 1 : copy->size[i]);
        steps.from[i] = copy->from[i];
        steps.to[i] = copy->to[i];
    }
    return steps;
}

/* Where element i is, on both sides. */
__device__ inline void copy_offsets(const struct copy_steps &steps, int64_t i, int64_t *from, int64_t *to) {
    *from = *to = 0;
    for (int d = COPY_RANK - 1; d >= 0; d--) { /* a constant count: the steps are read by constant places */
        if (d >= steps.rank) continue;
        const int64_t outer = d == 0 ? 0 : divide_long(i, steps.size[d]);
        const int64_t place = i - outer * steps.size[d].value;
        *from += (d == 0 ? i : place) * steps.from[d];
        *to += (d == 0 ? i : place) * steps.to[d];
        i = outer;
    }
}

template <typename T> __device__ inline void copy_element(const T *from, T *to) {
    *to = *from;
}
__device__ inline void copy_element(const float *from, bf16 *to) {
    store(to, *from);
}
__device__ inline void copy_element(const bf16 *from, float *to) {
    *to = load(from);
}

template <typename From, typename To>
__global__ void copy_each(const From *from, To *to, struct copy_steps steps, int64_t count) {
    for (int64_t i = first_index(); i < count; i += index_step()) {
        int64_t source, target;
        copy_offsets(steps, i, &source, &target);
        copy_element(from + source, to + target);
    }
}

/* ---- by tiles ---- */

constexpr int TILE = 32, TILE_ROWS = 8, LEAST_TILED = 8;

struct copy_tiles_shape {
    int64_t rows, columns;         /* columns are neighbours in the source, rows in the target */
    int64_t row_step, column_step; /* of rows in the source, of columns in the target */
    int64_t tiles_down, tiles_across;
    struct copy_steps outer;
};

template <typename From, typename To>
__device__ inline void copy_tile(const From *from, To *to, const struct copy_tiles_shape &s, int64_t row,
                                 int64_t column) {
    To *room = shared_memory<To>();
    const int x = (int)threadIdx.x, y = (int)threadIdx.y;
    for (int k = y; k < TILE; k += TILE_ROWS)
        if (row + k < s.rows && column + x < s.columns)
            copy_element(from + (row + k) * s.row_step + column + x, room + k * (TILE + 1) + x);
    __syncthreads();
    for (int k = y; k < TILE; k += TILE_ROWS)
        if (column + k < s.columns && row + x < s.rows)
            to[(column + k) * s.column_step + row + x] = room[x * (TILE + 1) + k];
    __syncthreads();
}

template <typename From, typename To>
__global__ void copy_tiles(const From *from, To *to, struct copy_tiles_shape s, int64_t tiles) {
    for (int64_t i = blockIdx.x; i < tiles; i += gridDim.x) {
        const int64_t line = i / s.tiles_across, across = i % s.tiles_across;
        const int64_t outer = line / s.tiles_down, down = line % s.tiles_down;
        int64_t source, target;
        copy_offsets(s.outer, outer, &source, &target);
        copy_tile(from + source, to + target, s, down * TILE, across * TILE);
    }
}

/* The dimension that is the source's neighbours, if tiles are worth while: else -1. */
static int turned_dimension(const struct shape_copy *copy) {
    const int last = copy->rank - 1;
    if (last < 1 || copy->to[last] != 1 || copy->from[last] == 1 || copy->size[last] < LEAST_TILED) return -1;
    for (int i = 0; i < last; i++)
        if (copy->from[i] == 1 && copy->size[i] >= LEAST_TILED) return i;
    return -1;
}

template <typename From, typename To>
static void launch_tiles(struct lam_stream *stream, const char *name, struct shape_copy copy, int turned,
                         const From *from, To *to) {
    const int last = copy.rank - 1;
    struct copy_tiles_shape shape = {};
    shape.rows = copy.size[last];
    shape.row_step = copy.from[last];
    shape.columns = copy.size[turned];
    shape.column_step = copy.to[turned];
    shape.tiles_down = (shape.rows + TILE - 1) / TILE;
    shape.tiles_across = (shape.columns + TILE - 1) / TILE;
    swap_dimensions(&copy, turned, copy.rank - 2);
    copy.rank -= 2;
    const int64_t tiles = copy_count(&copy) * shape.tiles_down * shape.tiles_across;
    shape.outer = copy_steps_of(&copy);
    lam_launch(stream, name, copy_tiles<From, To>,
               lam_grid(stream, tiles * TILE * TILE_ROWS, TILE * TILE_ROWS), dim3(TILE, TILE_ROWS),
               TILE * (TILE + 1) * sizeof(To), from, to, shape, tiles);
}

/* ---- both ---- */

template <typename From, typename To>
static void launch_copy(struct lam_stream *stream, const char *name, const struct shape_copy &copy,
                        const void *from, void *to) {
    constexpr int THREADS = 256;
    const From *source = static_cast<const From *>(from);
    To *target = static_cast<To *>(to);
    const int turned = turned_dimension(&copy);
    const int64_t count = copy_count(&copy);
    if (turned >= 0)
        launch_tiles(stream, name, copy, turned, source, target);
    else
        lam_launch(stream, name, copy_each<From, To>, lam_grid(stream, count, THREADS), THREADS, 0, source,
                   target, copy_steps_of(&copy), count);
}

void lam_cuda_shape_copy(struct lam_stream *stream, const char *name, const struct shape_copy *copy,
                         const void *from, void *to, size_t element_bytes) {
    struct shape_copy simple = *copy;
    order_dimensions(&simple);
    join_dimensions(&simple);
    const int64_t together = neighbours(&simple, 16 / (int64_t)element_bytes, element_bytes, from, to);
    take_together(&simple, together);
    switch ((size_t)together * element_bytes) {
    case 1:
        launch_copy<uint8_t, uint8_t>(stream, name, simple, from, to);
        break;
    case 2:
        launch_copy<uint16_t, uint16_t>(stream, name, simple, from, to);
        break;
    case 4:
        launch_copy<uint32_t, uint32_t>(stream, name, simple, from, to);
        break;
    case 8:
        launch_copy<uint2, uint2>(stream, name, simple, from, to);
        break;
    case 16:
        launch_copy<uint4, uint4>(stream, name, simple, from, to);
        break;
    }
}

/* ---- layouts ---- */

void lam_cuda_to_nhwc(const void *x, void *y, enum lam_dtype dtype, int count, int c, int h, int w,
                      struct lam_stream *stream) {
    const int64_t pixels = (int64_t)h * w, sample = c * pixels;
    const struct shape_copy copy = {3, {count, c, pixels}, {sample, pixels, 1}, {sample, 1, c}};
    lam_cuda_shape_copy(stream, "to_nhwc", &copy, x, y, lam_dtype_bytes(dtype));
}

void lam_cuda_to_nchw(const void *x, void *y, enum lam_dtype dtype, int count, int c, int h, int w,
                      struct lam_stream *stream) {
    const int64_t pixels = (int64_t)h * w, sample = c * pixels;
    const struct shape_copy copy = {3, {count, c, pixels}, {sample, 1, c}, {sample, pixels, 1}};
    lam_cuda_shape_copy(stream, "to_nchw", &copy, x, y, lam_dtype_bytes(dtype));
}
