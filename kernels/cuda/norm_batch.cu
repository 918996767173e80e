/* Batch norm: statistics, application and both gradients.
 *
 * Statistics are sums of x - p and of its square, where the pivot p is the mean of a few values of the channel, spread over the
 * slice; so nothing cancels, and a slice's mean and M2 follow from them in double precision. Slices are merged by Chan, Golub
 * and LeVeque's formula (1983, equations 1.5). The partial is three arrays of doubles: count, mean and M2 of each channel.
 *
 * The partial of the only slice is what its chunks leave (column_sum.cuh), for reduce() to add: of statistics with the pivots
 * behind it, of gradients alone. That is a launch less.
 */
#include "cuda/column_sum.cuh"

struct bn_kernel {
    struct lam_kernel base;
    bool last;      /* all operands have channels last */
    int64_t chunks; /* of statistics of the only slice: as many lie in the partial; else 0 */
};

static const struct bn_kernel *bn_of(const struct lam_kernel *kernel) {
    return reinterpret_cast<const struct bn_kernel *>(kernel);
}

/* x: which input is normalised. */
static lam_status bn_new(const struct lam_op *op, int x,
                         std::initializer_list<const struct lam_operand *> maps, struct bn_kernel **kernel) {
    if (op->in[x].desc.shape.rank != 4 || !one_float_type(maps))
        return feature_op_unsupported(op, "batch norm takes f32 or bf16 of rank 4");
    LAM_TRY(feature_op_new(op, kernel));
    (*kernel)->last = true;
    for (const struct lam_operand *map : maps)
        if (map->present && !channels_last(map->desc)) (*kernel)->last = false;
    return LAM_OK;
}

static struct sum_shape bn_shape(const struct bn_kernel *bn, const struct lam_tensor_desc &x, int64_t samples,
                                 bool pointers_aligned) {
    const int64_t *d = x.shape.dim;
    const int64_t vector = x.dtype == LAM_F32 ? VECTOR<float> : VECTOR<bf16>;
    return {1, samples, d[2] * d[3], d[1], bn->last, pointers_aligned && d[1] % vector == 0};
}

/* Room for `terms` sums a channel over slices of at most options->slices[0] samples. */
static size_t bn_sum_bytes(struct lam_backend_device *device, const struct lam_kernel_options *options,
                           const struct lam_tensor_desc &x, int terms) {
    const int64_t *d = x.shape.dim;
    return sum_bytes(device, 1, options->slices[0] * d[2] * d[3], d[1], terms);
}

static int64_t bn_values(const struct lam_tensor_desc &x) { /* of a channel, in the batch */
    return x.shape.dim[0] * x.shape.dim[2] * x.shape.dim[3];
}

/* Of the only slice: the sums of its chunks are the partial, with `more` floats a channel behind them. */
static void bn_take_whole(struct bn_kernel *bn, struct lam_backend_device *device,
                          const struct lam_tensor_desc &x, int more) {
    const int64_t channels = x.shape.dim[1];
    bn->chunks = sum_chunks(device, 1, bn_values(x), channels);
    bn->base.partial_bytes = (size_t)((2 * bn->chunks + more) * channels) * sizeof(float);
}

/* ---- statistics ---- */

constexpr int PIVOT_VALUES = 8;

template <typename T> struct bn_deviations {
    enum { TERMS = 2 };
    const T *x;
    struct feature_map map;
    int64_t pivots[PIVOT_VALUES]; /* where the values for the pivots are, of channel 0 */
    float *pivots_out;            /* [channels]; may be NULL */
};

template <int N> struct bn_pivot { float at[N]; };

/* The same bits for every N. */
template <int N, typename T>
__device__ struct bn_pivot<N> constants_of(const struct bn_deviations<T> &s, int64_t, int c) {
    struct bn_pivot<N> pivot = {};
    for (int i = 0; i < PIVOT_VALUES; i++) {
        float x[N];
        load_vector(s.x + s.pivots[i] + c * s.map.channel, x);
        for (int k = 0; k < N; k++) pivot.at[k] += x[k] * (1.0f / (float)PIVOT_VALUES);
    }
    return pivot;
}

template <int N, typename T>
__device__ void add_terms(const struct bn_deviations<T> &s, const struct bn_pivot<N> &pivot, int64_t n,
                          int64_t p, int c, float (&sums)[2][N]) {
    float x[N];
    load_vector(s.x + feature_offset(s.map, n, p, c), x);
    for (int k = 0; k < N; k++) {
        const float deviation = x[k] - pivot.at[k];
        sums[0][k] += deviation;
        sums[1][k] += deviation * deviation;
    }
}

template <int N, typename T>
__device__ inline void store_constants(const struct bn_deviations<T> &s, const struct bn_pivot<N> &pivot,
                                       int c) {
    for (int k = 0; k < N && s.pivots_out; k++) s.pivots_out[c + k] = pivot.at[k];
}

struct bn_moments {
    double count, mean, m2;
};

/* Of a slice of `values` a channel, in the threads of row 0, from its chunks. All threads must call it; of channels beyond the
 * last, nothing is known. */
__device__ inline struct bn_moments bn_moments_of(const float *blocks, int64_t chunks, int channels, int c,
                                                  float pivot, double values) {
    double sums[2]; /* of deviations, of their squares */
    fold_chunks(blocks, chunks, 2 * channels, c, channels, channels, (int)threadIdx.y, sums);
    const double shift = sums[0] / values;
    return {values, (double)pivot + shift, fmax(sums[1] - sums[0] * shift, 0.0)};
}

template <typename T>
__global__ void bn_merge(struct bn_deviations<T> slice, const float *blocks, int64_t chunks, int channels,
                         double values, bool accumulate, double *partial) {
    const int c = (int)(blockIdx.x * WARP + threadIdx.x);
    const float pivot = c < channels ? constants_of<1>(slice, 0, c).at[0] : 0.0f;
    const struct bn_moments moments = bn_moments_of(blocks, chunks, channels, c, pivot, values);
    if (threadIdx.y != 0 || c >= channels) return;
    double *count = partial + c, *old_mean = count + channels, *old_m2 = old_mean + channels;
    if (accumulate) {
        const double total = *count + values, share = values / total, delta = moments.mean - *old_mean;
        *old_mean += delta * share;
        *old_m2 += moments.m2 + delta * delta * (*count * share);
        *count = total;
    } else {
        *count = values;
        *old_mean = moments.mean;
        *old_m2 = moments.m2;
    }
}

template <typename T>
static void bn_stats_slice(const struct lam_kernel *kernel, const struct lam_kernel_args *args) {
    const struct bn_kernel *bn = bn_of(kernel);
    const struct lam_tensor_desc &desc = kernel->op.in[0].desc;
    const char *name = lam_op_name(kernel->op.kind);
    const struct sum_shape shape = bn_shape(bn, desc, args->count, aligned({args->in[0]}));
    struct bn_deviations<T> sum = {
        static_cast<const T *>(args->in[0]), feature_map_of(desc), {}, nullptr
    };
    for (int64_t i = 0; i < PIVOT_VALUES; i++) {
        const int64_t r = args->count * shape.pixels * (2 * i + 1) / (2 * PIVOT_VALUES);
        sum.pivots[i] = r / shape.pixels * sum.map.sample + r % shape.pixels * sum.map.pixel;
    }
    if (bn->chunks) {
        float *chunks = static_cast<float *>(args->partial);
        sum.pivots_out = chunks + 2 * bn->chunks * shape.channels;
        sum_columns<T>(args->stream, name, sum, shape, chunks);
        return;
    }
    float *blocks = static_cast<float *>(args->workspace);
    const int64_t chunks = sum_columns<T>(args->stream, name, sum, shape, blocks);
    lam_launch(args->stream, name, bn_merge<T>, fold_grid(shape.channels), dim3(WARP, FOLD_ROWS),
               fold_room(2), sum, blocks, chunks, shape.channels, (double)(args->count * shape.pixels),
               args->accumulate, static_cast<double *>(args->partial));
}

static void bn_stats_run(const struct lam_kernel *kernel, const struct lam_kernel_args *args) {
    with_float_type(kernel->op.in[0].desc.dtype,
                    [&](auto *type) { bn_stats_slice<std::remove_pointer_t<decltype(type)>>(kernel, args); });
}

/* Any may be absent. */
struct bn_outputs {
    float *mean, *inv_std, *running_mean, *running_var;
    double eps, momentum;
};

__device__ inline void bn_write(const struct bn_moments &moments, int64_t c, const struct bn_outputs &out) {
    const double variance = moments.m2 / moments.count,
                 unbiased = moments.count > 1 ? moments.m2 / (moments.count - 1) : variance,
                 momentum = out.momentum;
    if (out.mean) out.mean[c] = (float)moments.mean;
    if (out.inv_std) out.inv_std[c] = (float)(1 / sqrt(variance + out.eps));
    if (out.running_mean)
        out.running_mean[c] = (float)((1 - momentum) * out.running_mean[c] + momentum * moments.mean);
    if (out.running_var)
        out.running_var[c] = (float)((1 - momentum) * out.running_var[c] + momentum * unbiased);
}

__global__ void bn_finish(const double *partial, int channels, struct bn_outputs out) {
    for (int64_t c = first_index(); c < channels; c += index_step())
        bn_write({partial[c], partial[channels + c], partial[2 * channels + c]}, c, out);
}

__global__ void bn_finish_whole(const float *blocks, int64_t chunks, int channels, const float *pivots,
                                double values, struct bn_outputs out) {
    const int c = (int)(blockIdx.x * WARP + threadIdx.x);
    const float pivot = c < channels ? pivots[c] : 0.0f;
    const struct bn_moments moments = bn_moments_of(blocks, chunks, channels, c, pivot, values);
    if (threadIdx.y == 0 && c < channels) bn_write(moments, c, out);
}

static void bn_stats_reduce(const struct lam_kernel *kernel, void *const *partials, int, void *const *out,
                            int, int, struct lam_stream *stream) {
    const struct bn_kernel *bn = bn_of(kernel);
    const struct lam_tensor_desc &x = kernel->op.in[0].desc;
    const int channels = (int)x.shape.dim[1];
    const char *name = lam_op_name(kernel->op.kind);
    float *const *o = reinterpret_cast<float *const *>(out);
    const struct bn_outputs outputs = {
        o[0], o[1], o[2], o[3], kernel->op.attr.bn.eps, kernel->op.attr.bn.momentum};
    const float *chunks = static_cast<const float *>(partials[0]);
    if (bn->chunks)
        lam_launch(stream, name, bn_finish_whole, fold_grid(channels), dim3(WARP, FOLD_ROWS), fold_room(2),
                   chunks, bn->chunks, channels, chunks + 2 * bn->chunks * channels, (double)bn_values(x),
                   outputs);
    else
        lam_launch(stream, name, bn_finish, lam_grid(stream, channels, ROW_THREADS), ROW_THREADS, 0,
                   static_cast<const double *>(partials[0]), channels, outputs);
}

lam_status lam_cuda_bn_stats_create(struct lam_backend_device *device, const struct lam_op *op,
                                    const struct lam_kernel_options *options, struct lam_kernel **kernel,
                                    const char **) {
    struct bn_kernel *bn = nullptr;
    LAM_TRY(bn_new(op, 0, {&op->in[0]}, &bn));
    if (lam_cuda_is_whole(op, options)) {
        bn_take_whole(bn, device, op->in[0].desc, 1);
    } else {
        bn->base.workspace_bytes = bn_sum_bytes(device, options, op->in[0].desc, 2);
        bn->base.partial_bytes = 3 * sizeof(double) * (size_t)op->in[0].desc.shape.dim[1];
    }
    bn->base.run = bn_stats_run;
    bn->base.reduce = bn_stats_reduce;
    *kernel = &bn->base;
    return LAM_OK;
}

/* ---- application ---- */

struct bn_parameters {
    const float *mean, *deviation, *gamma, *beta; /* deviation: 1 / sqrt(var + eps), or var */
    float eps;
    bool use_variance, relu;
};

/* y = (x - mean) scale + shift */
template <int N> struct bn_line { float mean[N], inv_std[N], scale[N], shift[N]; };

template <int N> __device__ struct bn_line<N> bn_line_of(const struct bn_parameters &p, int c) {
    struct bn_line<N> line;
    for (int k = 0; k < N; k++) {
        line.mean[k] = p.mean[c + k];
        const float deviation = p.deviation[c + k];
        line.inv_std[k] = p.use_variance ? 1.0f / sqrtf(deviation + p.eps) : deviation;
        line.scale[k] = p.gamma[c + k] * line.inv_std[k];
        line.shift[k] = p.beta[c + k];
    }
    return line;
}

template <typename T>
struct bn_application {
    const T *x, *skip;
    T *y;
    struct feature_map of_x, of_skip, of_y;
    struct bn_parameters parameters;
};

template <int N, typename T>
__device__ struct bn_line<N> constants_of(const struct bn_application<T> &m, int64_t, int c) {
    return bn_line_of<N>(m.parameters, c);
}

template <int N, typename T>
__device__ void map_at(const struct bn_application<T> &m, const struct bn_line<N> &line, int64_t n, int64_t p,
                       int c) {
    float x[N], skip[N] = {};
    load_vector(m.x + feature_offset(m.of_x, n, p, c), x);
    if (m.skip) load_vector(m.skip + feature_offset(m.of_skip, n, p, c), skip);
    for (int k = 0; k < N; k++) {
        x[k] = fmaf(x[k] - line.mean[k], line.scale[k], line.shift[k]) + skip[k];
        if (m.parameters.relu) x[k] = rectified(x[k]);
    }
    store_vector(m.y + feature_offset(m.of_y, n, p, c), x);
}

/* Inputs `first` to first + 3 are mean, inv_std, gamma and beta. */
static struct bn_parameters bn_parameters_of(const struct lam_op &op, const struct lam_kernel_args *args,
                                             int first) {
    const float *const *in = reinterpret_cast<const float *const *>(args->in) + first;
    return {in[0],          in[1],          in[2],
            in[3],          op.attr.bn.eps, op.kind == LAM_OP_BN_APPLY && op.attr.bn.use_variance,
            op.attr.bn.relu};
}

template <typename T>
static void bn_apply_slice(const struct lam_kernel *kernel, const struct lam_kernel_args *args) {
    const struct bn_kernel *bn = bn_of(kernel);
    const struct lam_op &op = kernel->op;
    const struct lam_tensor_desc &x = op.in[0].desc;
    const bool skip = op.inputs > 5 && op.in[5].present;
    struct bn_application<T> map = {};
    map.x = static_cast<const T *>(args->in[0]);
    map.y = static_cast<T *>(args->out[0]);
    map.of_x = feature_map_of(x);
    map.of_y = feature_map_of(op.out[0].desc);
    map.parameters = bn_parameters_of(op, args, 1);
    if (skip) {
        map.skip = static_cast<const T *>(args->in[5]);
        map.of_skip = feature_map_of(op.in[5].desc);
    }
    const bool wide = x.shape.dim[1] % VECTOR<T> == 0 && aligned({map.x, map.skip, map.y});
    map_features<T>(args, op, map, op.out[0].desc, bn->last, wide, false);
}

static void bn_apply_run(const struct lam_kernel *kernel, const struct lam_kernel_args *args) {
    with_float_type(kernel->op.in[0].desc.dtype,
                    [&](auto *type) { bn_apply_slice<std::remove_pointer_t<decltype(type)>>(kernel, args); });
}

static lam_status bn_apply_create(const struct lam_op *op, struct lam_kernel **kernel) {
    struct bn_kernel *bn = nullptr;
    if (op->inputs > 5)
        LAM_TRY(bn_new(op, 0, {&op->in[0], &op->in[5], &op->out[0]}, &bn));
    else
        LAM_TRY(bn_new(op, 0, {&op->in[0], &op->out[0]}, &bn));
    bn->base.run = bn_apply_run;
    *kernel = &bn->base;
    return LAM_OK;
}
LAM_CUDA_CREATE(lam_cuda_bn_apply_create, bn_apply_create)

/* ---- gradients ---- */

template <typename T> struct bn_gradient {
    const T *dy, *x;
    struct feature_map of_dy, of_x;
    struct bn_parameters parameters;
};

/* g = dy, or 0 where the ReLU behind the normalisation gave 0 (by the same operations as there), and x - mean. */
template <int N, typename T>
__device__ inline void bn_gradient_at(const struct bn_gradient<T> &m, const struct bn_line<N> &line,
                                      int64_t n, int64_t p, int c, float (&g)[N], float (&centered)[N]) {
    load_vector(m.dy + feature_offset(m.of_dy, n, p, c), g);
    load_vector(m.x + feature_offset(m.of_x, n, p, c), centered);
    for (int k = 0; k < N; k++) {
        centered[k] -= line.mean[k];
        if (m.parameters.relu && !(fmaf(centered[k], line.scale[k], line.shift[k]) > 0.0f)) g[k] = 0.0f;
    }
}

template <typename T>
static struct bn_gradient<T> bn_gradient_of(const struct lam_op &op, const struct lam_kernel_args *args) {
    return {static_cast<const T *>(args->in[0]), static_cast<const T *>(args->in[1]),
            feature_map_of(op.in[0].desc), feature_map_of(op.in[1].desc), bn_parameters_of(op, args, 2)};
}

template <typename T>
struct bn_gradient_sums {
    enum { TERMS = 2 }; /* dgamma, dbeta */
    struct bn_gradient<T> gradient;
};

template <int N, typename T>
__device__ struct bn_line<N> constants_of(const struct bn_gradient_sums<T> &s, int64_t, int c) {
    return bn_line_of<N>(s.gradient.parameters, c);
}

template <int N, typename T>
__device__ void add_terms(const struct bn_gradient_sums<T> &s, const struct bn_line<N> &line, int64_t n,
                          int64_t p, int c, float (&sums)[2][N]) {
    float g[N], centered[N];
    bn_gradient_at(s.gradient, line, n, p, c, g, centered);
    for (int k = 0; k < N; k++) {
        sums[0][k] += g[k] * (centered[k] * line.inv_std[k]);
        sums[1][k] += g[k];
    }
}

template <typename T>
static void bn_bwd_stats_slice(const struct lam_kernel *kernel, const struct lam_kernel_args *args) {
    const struct lam_op &op = kernel->op;
    const char *name = lam_op_name(op.kind);
    const struct bn_gradient_sums<T> sum = { bn_gradient_of<T>(op, args) };
    const struct sum_shape shape =
        bn_shape(bn_of(kernel), op.in[1].desc, args->count, aligned({args->in[0], args->in[1]}));
    float *blocks = static_cast<float *>(bn_of(kernel)->chunks ? args->partial : args->workspace);
    const int64_t chunks = sum_columns<T>(args->stream, name, sum, shape, blocks);
    if (!bn_of(kernel)->chunks)
        fold_blocks(args->stream, name, blocks, 1, chunks, 2 * shape.channels, 1.0f, args->accumulate,
                    static_cast<float *>(args->partial));
}

static void bn_bwd_stats_run(const struct lam_kernel *kernel, const struct lam_kernel_args *args) {
    with_float_type(kernel->op.in[1].desc.dtype, [&](auto *type) {
        bn_bwd_stats_slice<std::remove_pointer_t<decltype(type)>>(kernel, args);
    });
}

static void bn_bwd_stats_reduce(const struct lam_kernel *kernel, void *const *partials, int, void *const *out,
                                int, int, struct lam_stream *stream) {
    const int64_t parts = std::max<int64_t>(bn_of(kernel)->chunks, 1);
    const int64_t channels = kernel->op.in[1].desc.shape.dim[1];
    const float *sums = static_cast<const float *>(partials[0]);
    for (int o = 0; o < 2; o++)
        if (out[o])
            lam_cuda_fold(stream, sums + o * channels, parts, 2 * channels, static_cast<float *>(out[o]),
                          channels);
}

lam_status lam_cuda_bn_bwd_stats_create(struct lam_backend_device *device, const struct lam_op *op,
                                        const struct lam_kernel_options *options, struct lam_kernel **kernel,
                                        const char **) {
    struct bn_kernel *bn = nullptr;
    LAM_TRY(bn_new(op, 1, {&op->in[1], &op->in[0]}, &bn));
    if (lam_cuda_is_whole(op, options)) {
        bn_take_whole(bn, device, op->in[1].desc, 0);
    } else {
        bn->base.workspace_bytes = bn_sum_bytes(device, options, op->in[1].desc, 2);
        bn->base.partial_bytes = 2 * sizeof(float) * (size_t)op->in[1].desc.shape.dim[1];
    }
    bn->base.run = bn_bwd_stats_run;
    bn->base.reduce = bn_bwd_stats_reduce;
    *kernel = &bn->base;
    return LAM_OK;
}

template <typename T> struct bn_gradient_application {
    struct bn_gradient<T> gradient;
    const float *dgamma, *dbeta;
    float inverse_count;
    T *dx;
    struct feature_map of_dx;
};

/* dx = scale g - (x - mean) slope - offset */
template <int N> struct bn_gradient_line {
    struct bn_line<N> line;
    float slope[N], offset[N];
};

template <int N, typename T>
__device__ struct bn_gradient_line<N> constants_of(const struct bn_gradient_application<T> &m, int64_t,
                                                   int c) {
    struct bn_gradient_line<N> constants;
    constants.line = bn_line_of<N>(m.gradient.parameters, c);
    for (int k = 0; k < N; k++) {
        const float share = constants.line.scale[k] * m.inverse_count;
        constants.slope[k] = share * constants.line.inv_std[k] * m.dgamma[c + k];
        constants.offset[k] = share * m.dbeta[c + k];
    }
    return constants;
}

template <int N, typename T>
__device__ void map_at(const struct bn_gradient_application<T> &m,
                       const struct bn_gradient_line<N> &constants, int64_t n, int64_t p, int c) {
    float g[N], centered[N];
    bn_gradient_at(m.gradient, constants.line, n, p, c, g, centered);
    for (int k = 0; k < N; k++) {
        const float correction = fmaf(centered[k], constants.slope[k], constants.offset[k]);
        g[k] = fmaf(g[k], constants.line.scale[k], -correction);
    }
    store_vector(m.dx + feature_offset(m.of_dx, n, p, c), g);
}

template <typename T>
static void bn_bwd_apply_slice(const struct lam_kernel *kernel, const struct lam_kernel_args *args) {
    const struct lam_op &op = kernel->op;
    struct bn_gradient_application<T> map = {};
    map.gradient = bn_gradient_of<T>(op, args);
    map.dgamma = static_cast<const float *>(args->in[6]);
    map.dbeta = static_cast<const float *>(args->in[7]);
    map.inverse_count = op.attr.bn.count > 0 ? (float)(1 / op.attr.bn.count) : 0.0f;
    map.dx = static_cast<T *>(args->out[0]);
    map.of_dx = feature_map_of(op.out[0].desc);
    const bool wide =
        op.in[1].desc.shape.dim[1] % VECTOR<T> == 0 && aligned({args->in[0], args->in[1], args->out[0]});
    map_features<T>(args, op, map, op.out[0].desc, bn_of(kernel)->last, wide, false);
}

static void bn_bwd_apply_run(const struct lam_kernel *kernel, const struct lam_kernel_args *args) {
    with_float_type(kernel->op.in[1].desc.dtype, [&](auto *type) {
        bn_bwd_apply_slice<std::remove_pointer_t<decltype(type)>>(kernel, args);
    });
}

static lam_status bn_bwd_apply_create(const struct lam_op *op, struct lam_kernel **kernel) {
    struct bn_kernel *bn = nullptr;
    LAM_TRY(bn_new(op, 1, {&op->in[1], &op->in[0], &op->out[0]}, &bn));
    bn->base.run = bn_bwd_apply_run;
    *kernel = &bn->base;
    return LAM_OK;
}
LAM_CUDA_CREATE(lam_cuda_bn_bwd_apply_create, bn_bwd_apply_create)
