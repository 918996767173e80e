/* Values of a feature map with one number for each channel: channel scale and its gradients, and a bias. */
#include "cuda/column_sum.cuh"
#include "cuda/feature_helpers.h"

/* ---- y = s x + z ---- */

template <typename T> struct channel_scaling {
    const T *x, *s, *z; /* s: [N,C]; z: NULL for none */
    T *y;
    struct feature_map of_x, of_z, of_y;
    int channels;
};

template <int N> struct channel_factors { float at[N]; };

template <int N, typename T>
__device__ struct channel_factors<N> constants_of(const struct channel_scaling<T> &m, int64_t n, int c) {
    struct channel_factors<N> factors;
    load_each(m.s + n * m.channels + c, factors.at);
    return factors;
}

template <int N, typename T>
__device__ void map_at(const struct channel_scaling<T> &m, const struct channel_factors<N> &factors,
                       int64_t n, int64_t p, int c) {
    float x[N], z[N] = {};
    load_vector(m.x + feature_offset(m.of_x, n, p, c), x);
    if (m.z) load_vector(m.z + feature_offset(m.of_z, n, p, c), z);
    for (int k = 0; k < N; k++) x[k] = fmaf(x[k], factors.at[k], z[k]);
    store_vector(m.y + feature_offset(m.of_y, n, p, c), x);
}

struct channel_scale_kernel {
    struct lam_kernel base;
    bool last;
};

static const struct channel_scale_kernel *channel_scale_of(const struct lam_kernel *kernel) {
    return reinterpret_cast<const struct channel_scale_kernel *>(kernel);
}

/* Input `x` times input `s`, and the addend, to output 0. */
template <typename T>
static void channel_scale_slice(const struct lam_kernel *kernel, const struct lam_kernel_args *args, int x,
                                int s) {
    const struct lam_op &op = kernel->op;
    const struct lam_tensor_desc &desc = op.in[x].desc;
    struct channel_scaling<T> map = {};
    map.x = static_cast<const T *>(args->in[x]);
    map.s = static_cast<const T *>(args->in[s]);
    map.y = static_cast<T *>(args->out[0]);
    map.of_x = feature_map_of(desc);
    map.of_y = feature_map_of(op.out[0].desc);
    map.channels = (int)desc.shape.dim[1];
    if (lam_op_has_addend(&op)) {
        map.z = static_cast<const T *>(args->in[2]);
        map.of_z = feature_map_of(op.in[2].desc);
    }
    const bool wide = map.channels % VECTOR<T> == 0 && aligned({map.x, map.z, map.y});
    map_features<T>(args, op, map, op.out[0].desc, channel_scale_of(kernel)->last, wide, true);
}

static void channel_scale_run(const struct lam_kernel *kernel, const struct lam_kernel_args *args) {
    with_float_type(kernel->op.in[0].desc.dtype, [&](auto *type) {
        channel_scale_slice<std::remove_pointer_t<decltype(type)>>(kernel, args, 0, 1);
    });
}

/* ---- ds = sum of dy x, and dx = s dy on the way, if it is asked for ---- */

template <typename T> struct channel_scale_sums {
    enum { TERMS = 1 };
    const T *dy, *x, *s;
    T *dx;
    struct feature_map of_dy, of_x, of_dx;
    int channels;
};

template <int N, typename T>
__device__ struct channel_factors<N> constants_of(const struct channel_scale_sums<T> &m, int64_t n, int c) {
    struct channel_factors<N> factors;
    load_each(m.s + n * m.channels + c, factors.at);
    return factors;
}

template <int N, typename T>
__device__ void add_terms(const struct channel_scale_sums<T> &m, const struct channel_factors<N> &factors,
                          int64_t n, int64_t p, int c, float (&sums)[1][N]) {
    float dy[N], x[N];
    load_vector(m.dy + feature_offset(m.of_dy, n, p, c), dy);
    load_vector(m.x + feature_offset(m.of_x, n, p, c), x);
    for (int k = 0; k < N; k++) {
        sums[0][k] += dy[k] * x[k];
        dy[k] *= factors.at[k];
    }
    if (m.dx) store_vector(m.dx + feature_offset(m.of_dx, n, p, c), dy);
}

template <typename T>
static void channel_scale_bwd_slice(const struct lam_kernel *kernel, const struct lam_kernel_args *args) {
    const struct lam_op &op = kernel->op;
    const char *name = lam_op_name(op.kind);
    const int64_t *d = op.in[1].desc.shape.dim;
    struct channel_scale_sums<T> sum = {};
    sum.dy = static_cast<const T *>(args->in[0]);
    sum.x = static_cast<const T *>(args->in[1]);
    sum.s = static_cast<const T *>(args->in[2]);
    sum.of_dy = feature_map_of(op.in[0].desc);
    sum.of_x = feature_map_of(op.in[1].desc);
    sum.channels = (int)d[1];
    if (op.out[0].present) {
        sum.dx = static_cast<T *>(args->out[0]);
        sum.of_dx = feature_map_of(op.out[0].desc);
    }
    const bool wide = d[1] % VECTOR<T> == 0 && aligned({sum.dy, sum.x, sum.dx});
    const struct sum_shape shape = {args->count, 1, d[2] * d[3], d[1], channel_scale_of(kernel)->last, wide};
    float *blocks = static_cast<float *>(args->workspace);
    const int64_t chunks = sum_columns<T>(args->stream, name, sum, shape, blocks);
    fold_blocks(args->stream, name, blocks, args->count, chunks, d[1], 1.0f, false,
                static_cast<T *>(args->out[1]));
}

static void channel_scale_bwd_run(const struct lam_kernel *kernel, const struct lam_kernel_args *args) {
    with_float_type(kernel->op.in[0].desc.dtype, [&](auto *type) {
        using T = std::remove_pointer_t<decltype(type)>;
        if (kernel->op.out[1].present)
            channel_scale_bwd_slice<T>(kernel, args);
        else if (kernel->op.out[0].present)
            channel_scale_slice<T>(kernel, args, 0, 2);
    });
}

/* ---- ops ---- */

/* `maps`: x first. */
static lam_status channel_scale_new(const struct lam_op *op,
                                    std::initializer_list<const struct lam_operand *> maps,
                                    const struct lam_operand *s, struct channel_scale_kernel **kernel) {
    const struct lam_tensor_desc &x = (*maps.begin())->desc;
    const int64_t *d = s->desc.shape.dim;
    if (x.shape.rank != 4 || !one_float_type(maps) || s->desc.dtype != x.dtype || s->desc.shape.rank != 2 ||
        d[0] != x.shape.dim[0] || d[1] != x.shape.dim[1])
        return feature_op_unsupported(op, "takes x [N, C, H, W] and s [N, C], all f32 or all bf16");
    LAM_TRY(feature_op_new(op, kernel));
    (*kernel)->last = true;
    for (const struct lam_operand *map : maps)
        if (map->present && !channels_last(map->desc)) (*kernel)->last = false;
    return LAM_OK;
}

static lam_status channel_scale_create(const struct lam_op *op, struct lam_kernel **kernel) {
    struct channel_scale_kernel *made = nullptr;
    const struct lam_operand *addend = lam_op_has_addend(op) ? &op->in[2] : &op->in[0];
    LAM_TRY(channel_scale_new(op, {&op->in[0], &op->out[0], addend}, &op->in[1], &made));
    made->base.run = channel_scale_run;
    *kernel = &made->base;
    return LAM_OK;
}
LAM_CUDA_CREATE(lam_cuda_channel_scale_create, channel_scale_create)

lam_status lam_cuda_channel_scale_bwd_create(struct lam_backend_device *device, const struct lam_op *op,
                                             const struct lam_kernel_options *options,
                                             struct lam_kernel **kernel, const char **) {
    struct channel_scale_kernel *made = nullptr;
    LAM_TRY(channel_scale_new(op, {&op->in[1], &op->in[0], &op->out[0]}, &op->in[2], &made));
    const int64_t *d = op->in[1].desc.shape.dim;
    made->base.workspace_bytes = largest_sum_bytes(device, options, d[2] * d[3], d[1]);
    made->base.run = channel_scale_bwd_run;
    *kernel = &made->base;
    return LAM_OK;
}

/* ---- bias and addend ---- */

template <typename T> struct bias_addition {
    T *y;
    const float *bias; /* may be NULL, as z */
    const T *z;
    int64_t columns;
    bool relu;
};

template <int N, typename T>
__device__ struct channel_factors<N> constants_of(const struct bias_addition<T> &m, int64_t, int c) {
    struct channel_factors<N> bias = {};
    if (m.bias) load_each(m.bias + c, bias.at);
    return bias;
}

template <int N, typename T>
__device__ void map_at(const struct bias_addition<T> &m, const struct channel_factors<N> &bias, int64_t,
                       int64_t row, int c) {
    T *at = m.y + row * m.columns + c;
    float y[N], z[N] = {};
    load_vector(at, y);
    if (m.z) load_vector(m.z + row * m.columns + c, z);
    for (int k = 0; k < N; k++) {
        y[k] += bias.at[k] + z[k];
        if (m.relu) y[k] = rectified(y[k]);
    }
    store_vector(at, y);
}

void lam_cuda_add_bias(void *y, enum lam_dtype dtype, const float *bias, const void *z, int64_t rows,
                       int64_t columns, bool relu, struct lam_stream *stream) {
    with_float_type(dtype, [&](auto *type) {
        using T = std::remove_pointer_t<decltype(type)>;
        const struct bias_addition<T> map = {
            static_cast<T *>(y), bias, static_cast<const T *>(z), columns, relu
        };
        if (columns % VECTOR<T> == 0 && aligned({y, z}))
            map_matrix<VECTOR<T>>(stream, "add_bias", map, 1, rows, columns);
        else
            map_matrix<1>(stream, "add_bias", map, 1, rows, columns);
    });
}
