/* Pooling by windows: maximum and average, and their gradients. A thread makes one value of the result, or a vector of channels
 * where channels are last; a gradient looks up the windows that hold its pixel, so nothing is added by two threads.
 */
#include "cuda/feature_map.cuh"

struct pool_axis {
    int large, small; /* pixels of the image that windows slide over, and windows */
    int kernel, stride, pad;
    struct divisor by_stride;
};

struct pool_windows {
    struct pool_axis y, x;
    struct lam_cuda_view large, small, image; /* image: what maxima are looked for in */
    struct image_order order;                 /* of the result */
    float share;                              /* of a pixel in an average */
};

struct pool_range {
    int begin, end;
};

/* Pixels of window `o`. */
__device__ inline struct pool_range pool_pixels(const struct pool_axis &a, int o) {
    const int begin = o * a.stride - a.pad;
    return {at_least(begin, 0), at_most(begin + a.kernel, a.large)};
}

/* Windows that hold pixel i. */
__device__ inline struct pool_range pool_holders(const struct pool_axis &a, int i) {
    const int last = (int)divide((uint32_t)(i + a.pad), a.by_stride), before = i + a.pad - a.kernel;
    const int first = before < 0 ? 0 : (int)divide((uint32_t)before, a.by_stride) + 1;
    return {first, at_most(last + 1, a.small)};
}

/* ---- maximum ---- */

/* Window (oy, ox): its maxima, and where in the image they are. */
template <int N, typename T>
__device__ inline void pool_most(const struct pool_windows &w, const T *x, int64_t n, int c, int oy, int ox,
                                 float (&most)[N], int32_t (&place)[N]) {
    const struct pool_range ys = pool_pixels(w.y, oy), xs = pool_pixels(w.x, ox);
    for (int k = 0; k < N; k++) {
        most[k] = -INFINITY;
        place[k] = ys.begin * w.x.large + xs.begin;
    }
    for (int iy = ys.begin; iy < ys.end; iy++)
        for (int ix = xs.begin; ix < xs.end; ix++) {
            float value[N];
            load_vector(x + image_offset(w.image, n, c, iy, ix), value);
            for (int k = 0; k < N; k++) {
                if (!(value[k] > most[k]) && value[k] == value[k]) continue; /* the last NaN wins */
                most[k] = value[k];
                place[k] = iy * w.x.large + ix;
            }
        }
}

template <int N, typename T>
__global__ void max_pool(struct pool_windows w, const T *x, T *y, int64_t count) {
    for (int64_t i = first_index(); i < count; i += index_step()) {
        const struct image_place at = image_place_of(w.order, i);
        float most[N];
        int32_t place[N];
        pool_most(w, x, at.n, at.c * N, at.y, at.x, most, place);
        store_vector(y + image_offset(w.small, at.n, at.c * N, at.y, at.x), most);
    }
}

/* The maxima of the few windows that hold a pixel are found again, from the cache, instead of kept in memory. */
template <int N, typename T>
__global__ void max_pool_bwd(struct pool_windows w, const T *dy, const T *x, T *dx, int64_t count) {
    for (int64_t i = first_index(); i < count; i += index_step()) {
        const struct image_place at = image_place_of(w.order, i);
        const struct pool_range ys = pool_holders(w.y, at.y), xs = pool_holders(w.x, at.x);
        const int32_t here = at.y * w.x.large + at.x;
        float sum[N] = {};
        for (int oy = ys.begin; oy < ys.end; oy++)
            for (int ox = xs.begin; ox < xs.end; ox++) {
                float gradient[N], most[N];
                int32_t place[N];
                load_vector(dy + image_offset(w.small, at.n, at.c * N, oy, ox), gradient);
                pool_most(w, x, at.n, at.c * N, oy, ox, most, place);
                for (int k = 0; k < N; k++) sum[k] += place[k] == here ? gradient[k] : 0.0f;
            }
        store_vector(dx + image_offset(w.large, at.n, at.c * N, at.y, at.x), sum);
    }
}

/* ---- average: both ways a sum over a range of the other side ---- */

template <int N, bool BACKWARD, typename T>
__global__ void avg_pool(struct pool_windows w, const T *from, T *to, int64_t count) {
    const struct lam_cuda_view &source = BACKWARD ? w.small : w.large, &target = BACKWARD ? w.large : w.small;
    for (int64_t i = first_index(); i < count; i += index_step()) {
        const struct image_place at = image_place_of(w.order, i);
        const struct pool_range ys = BACKWARD ? pool_holders(w.y, at.y) : pool_pixels(w.y, at.y);
        const struct pool_range xs = BACKWARD ? pool_holders(w.x, at.x) : pool_pixels(w.x, at.x);
        float sum[N] = {};
        for (int y = ys.begin; y < ys.end; y++)
            for (int x = xs.begin; x < xs.end; x++) {
                float value[N];
                load_vector(from + image_offset(source, at.n, at.c * N, y, x), value);
                for (int k = 0; k < N; k++) sum[k] += value[k];
            }
        for (int k = 0; k < N; k++) sum[k] *= w.share;
        store_vector(to + image_offset(target, at.n, at.c * N, at.y, at.x), sum);
    }
}

/* ---- ops ---- */

struct pool_kernel {
    struct lam_kernel base;
    struct pool_windows windows; /* but for the order */
    bool last;                   /* all operands have channels last */
};

/* Launches for vectors of N channels. */
template <int N, typename T>
static void pool_launch(const struct lam_kernel *kernel, const struct lam_kernel_args *args) {
    const struct lam_op &op = kernel->op;
    const char *name = lam_op_name(op.kind);
    struct pool_windows w = reinterpret_cast<const struct pool_kernel *>(kernel)->windows;
    w.order = image_order_of(op.out[0].desc, N);
    const int64_t count = slice_elements(op.out[0], args) / N;
    const dim3 grid = lam_grid(args->stream, count, ROW_THREADS);
    const T *from = static_cast<const T *>(args->in[0]);
    T *to = static_cast<T *>(args->out[0]);
    if (op.kind == LAM_OP_MAX_POOL)
        lam_launch(args->stream, name, max_pool<N, T>, grid, ROW_THREADS, 0, w, from, to, count);
    else if (op.kind == LAM_OP_MAX_POOL_BWD)
        lam_launch(args->stream, name, max_pool_bwd<N, T>, grid, ROW_THREADS, 0, w, from,
                   static_cast<const T *>(args->in[1]), to, count);
    else if (op.kind == LAM_OP_AVG_POOL)
        lam_launch(args->stream, name, avg_pool<N, false, T>, grid, ROW_THREADS, 0, w, from, to, count);
    else
        lam_launch(args->stream, name, avg_pool<N, true, T>, grid, ROW_THREADS, 0, w, from, to, count);
}

static void pool_run(const struct lam_kernel *kernel, const struct lam_kernel_args *args) {
    const bool last = reinterpret_cast<const struct pool_kernel *>(kernel)->last;
    const struct lam_op &op = kernel->op;
    const void *image = op.inputs > 1 ? args->in[1] : nullptr;
    with_float_type(op.in[0].desc.dtype, [&](auto *type) {
        using T = std::remove_pointer_t<decltype(type)>;
        const bool wide =
            op.in[0].desc.shape.dim[1] % VECTOR<T> == 0 && aligned({args->in[0], args->out[0], image});
        if (last && wide)
            pool_launch<VECTOR<T>, T>(kernel, args);
        else
            pool_launch<1, T>(kernel, args);
    });
}

static struct pool_axis pool_axis_of(const struct lam_op *op, const struct lam_tensor_desc &large,
                                     const struct lam_tensor_desc &small, int axis) {
    const struct lam_pool_attr &a = op->attr.pool;
    return {(int)large.shape.dim[2 + axis],
            (int)small.shape.dim[2 + axis],
            a.kernel[axis],
            a.stride[axis],
            a.pad[axis],
            divisor_of(a.stride[axis])};
}

/* `large` is the operand that windows slide over, `small` has a value for each window. */
static lam_status pool_new(const struct lam_op *op, const struct lam_operand &large,
                           const struct lam_operand &small, struct lam_kernel **kernel) {
    struct pool_kernel *pool = nullptr;
    if (large.desc.shape.rank != 4 || small.desc.shape.rank != 4 ||
        !one_float_type({&large, &small, &op->in[op->inputs - 1]}))
        return feature_op_unsupported(op, "pooling takes f32 or bf16 of rank 4");
    LAM_TRY(feature_op_new(op, &pool));
    struct pool_windows *w = &pool->windows;
    w->y = pool_axis_of(op, large.desc, small.desc, 0);
    w->x = pool_axis_of(op, large.desc, small.desc, 1);
    w->large = lam_cuda_view_of(&large.desc);
    w->small = lam_cuda_view_of(&small.desc);
    w->share = 1.0f / (float)(op->attr.pool.kernel[0] * op->attr.pool.kernel[1]);
    const struct lam_operand &image = op->in[op->inputs - 1];
    w->image = lam_cuda_view_of(&image.desc);
    pool->last = channels_last(large.desc) && channels_last(small.desc) && channels_last(image.desc);
    pool->base.run = pool_run;
    *kernel = &pool->base;
    return LAM_OK;
}

static lam_status pool_create(const struct lam_op *op, struct lam_kernel **kernel) {
    const bool backward = op->kind == LAM_OP_MAX_POOL_BWD || op->kind == LAM_OP_AVG_POOL_BWD;
    return pool_new(op, backward ? op->out[0] : op->in[0], backward ? op->in[0] : op->out[0], kernel);
}
LAM_CUDA_CREATE(lam_cuda_max_pool_create, pool_create)
LAM_CUDA_CREATE(lam_cuda_max_pool_bwd_create, pool_create)
LAM_CUDA_CREATE(lam_cuda_avg_pool_create, pool_create)
LAM_CUDA_CREATE(lam_cuda_avg_pool_bwd_create, pool_create)
