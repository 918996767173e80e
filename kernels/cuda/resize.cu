/* Resizing by nearest neighbour or bilinear interpolation, and the gradient. A thread makes one value of the result, or a vector
 * of channels where channels are last. Places and weights are computed in whole numbers, so they are exact; the gradient looks up
 * the pixels that its own went into.
 */
#include "cuda/feature_map.cuh"

/* One axis of the forward op, from `small` pixels to `large` ones (which may be fewer). */
struct resize_axis {
    int small, large;
    struct divisor by_small, by_large, by_two_large;
};

/* The at most two pixels of `small` that pixel i of `large` is made of. */
struct resize_taps {
    int first, second;
    float weight; /* of the second */
};

template <bool BILINEAR>
__device__ inline struct resize_taps resize_taps_of(const struct resize_axis &a, int i) {
    if constexpr (!BILINEAR) {
        const int place = (int)divide((uint32_t)i * (uint32_t)a.small, a.by_large);
        return {place, place, 0.0f};
    } else {
        const int place = (2 * i + 1) * a.small - a.large; /* in units of 1 / (2 large) */
        if (place <= 0) return {0, 0, 0.0f};
        const int first = (int)divide((uint32_t)place, a.by_two_large), rest = place - first * 2 * a.large;
        return {first, at_most(first + 1, a.small - 1), (float)rest / (float)(2 * a.large)};
    }
}

struct resize_range {
    int begin, end;
};

/* The pixels of `large` that pixel j of `small` may be part of: those whose place is less than 1 from it. */
template <bool BILINEAR>
__device__ inline struct resize_range resize_users(const struct resize_axis &a, int j) {
    if constexpr (!BILINEAR) {
        const uint32_t begin = (uint32_t)j * (uint32_t)a.large + (uint32_t)a.small - 1;
        return {(int)divide(begin, a.by_small), (int)divide(begin + (uint32_t)a.large, a.by_small)};
    } else {
        const int low = (2 * j - 1) * a.large, high = (2 * j + 3) * a.large;
        const int begin = low < 0 ? 0 : ((int)divide((uint32_t)low, a.by_small) + 1) / 2;
        const int end = ((int)divide((uint32_t)(high - 1), a.by_small) + 1) / 2;
        return {begin, at_most(end, a.large)};
    }
}

/* Pixel j's weight in pixel i of `large`. */
template <bool BILINEAR> __device__ inline float resize_weight(const struct resize_axis &a, int i, int j) {
    const struct resize_taps taps = resize_taps_of<BILINEAR>(a, i);
    return (taps.first == j ? 1.0f - taps.weight : 0.0f) + (taps.second == j ? taps.weight : 0.0f);
}

struct resize_shape {
    struct resize_axis y, x;
    struct lam_cuda_view from, to;
    struct image_order order; /* of the result */
};

template <int N, typename T> __device__ inline void resize_add(const T *from, float weight, float (&sum)[N]) {
    float value[N];
    load_vector(from, value);
    for (int k = 0; k < N; k++) sum[k] = fmaf(weight, value[k], sum[k]);
}

template <int N, bool BILINEAR, typename T>
__global__ void resize(struct resize_shape s, const T *from, T *to, int64_t count) {
    for (int64_t i = first_index(); i < count; i += index_step()) {
        const struct image_place at = image_place_of(s.order, i);
        const struct resize_taps y = resize_taps_of<BILINEAR>(s.y, at.y),
                                 x = resize_taps_of<BILINEAR>(s.x, at.x);
        const int c = at.c * N;
        float sum[N] = {};
        resize_add(from + image_offset(s.from, at.n, c, y.first, x.first), (1 - y.weight) * (1 - x.weight),
                   sum);
        if constexpr (BILINEAR) {
            resize_add(from + image_offset(s.from, at.n, c, y.first, x.second), (1 - y.weight) * x.weight,
                       sum);
            resize_add(from + image_offset(s.from, at.n, c, y.second, x.first), y.weight * (1 - x.weight),
                       sum);
            resize_add(from + image_offset(s.from, at.n, c, y.second, x.second), y.weight * x.weight, sum);
        }
        store_vector(to + image_offset(s.to, at.n, c, at.y, at.x), sum);
    }
}

template <int N, bool BILINEAR, typename T>
__global__ void resize_bwd(struct resize_shape s, const T *from, T *to, int64_t count) {
    for (int64_t i = first_index(); i < count; i += index_step()) {
        const struct image_place at = image_place_of(s.order, i);
        const struct resize_range ys = resize_users<BILINEAR>(s.y, at.y),
                                  xs = resize_users<BILINEAR>(s.x, at.x);
        float sum[N] = {};
        for (int y = ys.begin; y < ys.end; y++) {
            const float weight = resize_weight<BILINEAR>(s.y, y, at.y);
            for (int x = xs.begin; x < xs.end; x++)
                resize_add(from + image_offset(s.from, at.n, at.c * N, y, x),
                           weight * resize_weight<BILINEAR>(s.x, x, at.x), sum);
        }
        store_vector(to + image_offset(s.to, at.n, at.c * N, at.y, at.x), sum);
    }
}

/* ---- ops ---- */

struct resize_kernel {
    struct lam_kernel base;
    struct resize_shape shape; /* but for the order */
    bool last;                 /* both operands have channels last */
};

template <int N, bool BILINEAR, typename T>
static void resize_launch(const struct lam_kernel *kernel, const struct lam_kernel_args *args) {
    const struct lam_op &op = kernel->op;
    struct resize_shape shape = reinterpret_cast<const struct resize_kernel *>(kernel)->shape;
    shape.order = image_order_of(op.out[0].desc, N);
    const int64_t count = slice_elements(op.out[0], args) / N;
    auto *run = op.kind == LAM_OP_RESIZE ? resize<N, BILINEAR, T> : resize_bwd<N, BILINEAR, T>;
    lam_launch(args->stream, lam_op_name(op.kind), run, lam_grid(args->stream, count, ROW_THREADS),
               ROW_THREADS, 0, shape, static_cast<const T *>(args->in[0]), static_cast<T *>(args->out[0]),
               count);
}

template <int N, typename T>
static void resize_by(const struct lam_kernel *kernel, const struct lam_kernel_args *args) {
    if (kernel->op.attr.resize.bilinear)
        resize_launch<N, true, T>(kernel, args);
    else
        resize_launch<N, false, T>(kernel, args);
}

static void resize_run(const struct lam_kernel *kernel, const struct lam_kernel_args *args) {
    const bool last = reinterpret_cast<const struct resize_kernel *>(kernel)->last;
    const struct lam_tensor_desc &desc = kernel->op.in[0].desc;
    with_float_type(desc.dtype, [&](auto *type) {
        using T = std::remove_pointer_t<decltype(type)>;
        if (last && desc.shape.dim[1] % VECTOR<T> == 0 && aligned({args->in[0], args->out[0]}))
            resize_by<VECTOR<T>, T>(kernel, args);
        else
            resize_by<1, T>(kernel, args);
    });
}

static struct resize_axis resize_axis_of(int64_t small, int64_t large) {
    return {(int)small, (int)large, divisor_of(small), divisor_of(large), divisor_of(2 * large)};
}

static lam_status resize_create(const struct lam_op *op, struct lam_kernel **kernel) {
    constexpr int64_t LARGEST = 16384; /* (2 i + 3) times a size stays below 2^31 */
    const struct lam_operand &in = op->in[0], &out = op->out[0];
    if (in.desc.shape.rank != 4 || out.desc.shape.rank != 4 || !one_float_type({&in, &out}))
        return feature_op_unsupported(op, "resizing takes f32 or bf16 of rank 4");
    const bool backward = op->kind == LAM_OP_RESIZE_BWD;
    const int64_t *small = backward ? out.desc.shape.dim : in.desc.shape.dim;
    const int64_t *large = backward ? in.desc.shape.dim : out.desc.shape.dim;
    for (int i = 2; i < 4; i++)
        if (small[i] > LARGEST || large[i] > LARGEST)
            return feature_op_unsupported(op, "an image is too large");
    struct resize_kernel *made = nullptr;
    LAM_TRY(feature_op_new(op, &made));
    made->shape.y = resize_axis_of(small[2], large[2]);
    made->shape.x = resize_axis_of(small[3], large[3]);
    made->shape.from = lam_cuda_view_of(&in.desc);
    made->shape.to = lam_cuda_view_of(&out.desc);
    made->last = channels_last(in.desc) && channels_last(out.desc);
    made->base.run = resize_run;
    *kernel = &made->base;
    return LAM_OK;
}

LAM_CUDA_CREATE(lam_cuda_resize_create, resize_create)

LAM_CUDA_CREATE(lam_cuda_resize_bwd_create, resize_create)
