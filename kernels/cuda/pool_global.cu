/* Global average pooling and its gradient. */
#include "cuda/column_sum.cuh"

struct global_pool_kernel {
    struct lam_kernel base;
};

struct no_constants {};

template <typename T> struct global_pool_sums {
    enum { TERMS = 1 };
    const T *x;
    struct feature_map map;
};

template <int N, typename T>
__device__ struct no_constants constants_of(const struct global_pool_sums<T> &, int64_t, int) {
    return {};
}

template <int N, typename T>
__device__ void add_terms(const struct global_pool_sums<T> &s, const struct no_constants &, int64_t n,
                          int64_t p, int c, float (&sums)[1][N]) {
    float x[N];
    load_vector(s.x + feature_offset(s.map, n, p, c), x);
    for (int k = 0; k < N; k++) sums[0][k] += x[k];
}

static void global_avg_pool_run(const struct lam_kernel *kernel, const struct lam_kernel_args *args) {
    const struct lam_tensor_desc &x = kernel->op.in[0].desc;
    const char *name = lam_op_name(kernel->op.kind);
    const int64_t channels = x.shape.dim[1], pixels = x.shape.dim[2] * x.shape.dim[3];
    with_float_type(x.dtype, [&](auto *type) {
        using T = std::remove_pointer_t<decltype(type)>;
        const struct global_pool_sums<T> sum = { static_cast<const T *>(args->in[0]), feature_map_of(x) };
        const bool wide = channels % VECTOR<T> == 0 && aligned({sum.x});
        const struct sum_shape shape = {args->count, 1, pixels, channels, channels_last(x), wide};
        float *blocks = static_cast<float *>(args->workspace);
        const int64_t chunks = sum_columns<T>(args->stream, name, sum, shape, blocks);
        fold_blocks(args->stream, name, blocks, args->count, chunks, channels, 1.0f / (float)pixels, false,
                    static_cast<T *>(args->out[0]));
    });
}

/* ---- the gradient: every pixel gets its share ---- */

template <typename T> struct global_pool_spread {
    const T *dy;
    T *dx;
    struct feature_map map;
    int channels;
    float share;
};

template <int N> struct global_pool_shares { float at[N]; };

template <int N, typename T>
__device__ struct global_pool_shares<N> constants_of(const struct global_pool_spread<T> &m, int64_t n,
                                                     int c) {
    struct global_pool_shares<N> shares;
    load_each(m.dy + n * m.channels + c, shares.at);
    for (int k = 0; k < N; k++) shares.at[k] *= m.share;
    return shares;
}

template <int N, typename T>
__device__ void map_at(const struct global_pool_spread<T> &m, const struct global_pool_shares<N> &shares,
                       int64_t n, int64_t p, int c) {
    store_vector(m.dx + feature_offset(m.map, n, p, c), shares.at);
}

static void global_avg_pool_bwd_run(const struct lam_kernel *kernel, const struct lam_kernel_args *args) {
    const struct lam_tensor_desc &dx = kernel->op.out[0].desc;
    const int64_t channels = dx.shape.dim[1], pixels = dx.shape.dim[2] * dx.shape.dim[3];
    with_float_type(dx.dtype, [&](auto *type) {
        using T = std::remove_pointer_t<decltype(type)>;
        const struct global_pool_spread<T> map = {
            static_cast<const T *>(args->in[0]), static_cast<T *>(args->out[0]), feature_map_of(dx),
                (int)channels, 1.0f / (float)pixels
        };
        const bool wide = channels % VECTOR<T> == 0 && aligned({map.dx});
        map_features<T>(args, kernel->op, map, dx, channels_last(dx), wide, true);
    });
}

/* ---- ops ---- */

static lam_status global_pool_new(const struct lam_op *op, const struct lam_operand &image,
                                  const struct lam_operand &vector, struct global_pool_kernel **kernel) {
    if (image.desc.shape.rank != 4 || vector.desc.shape.rank != 2 || !one_float_type({&image, &vector}))
        return feature_op_unsupported(op, "pooling takes f32 or bf16 of rank 4");
    return feature_op_new(op, kernel);
}

lam_status lam_cuda_global_avg_pool_create(struct lam_backend_device *device, const struct lam_op *op,
                                           const struct lam_kernel_options *options,
                                           struct lam_kernel **kernel, const char **) {
    const int64_t *d = op->in[0].desc.shape.dim;
    struct global_pool_kernel *made = nullptr;
    LAM_TRY(global_pool_new(op, op->in[0], op->out[0], &made));
    made->base.workspace_bytes = largest_sum_bytes(device, options, d[2] * d[3], d[1]);
    made->base.run = global_avg_pool_run;
    *kernel = &made->base;
    return LAM_OK;
}

static lam_status global_avg_pool_bwd_create(const struct lam_op *op, struct lam_kernel **kernel) {
    struct global_pool_kernel *made = nullptr;
    LAM_TRY(global_pool_new(op, op->out[0], op->in[0], &made));
    made->base.run = global_avg_pool_bwd_run;
    *kernel = &made->base;
    return LAM_OK;
}
LAM_CUDA_CREATE(lam_cuda_global_avg_pool_bwd_create, global_avg_pool_bwd_create)
