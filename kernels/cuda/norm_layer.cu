/* Layer norm and its gradients.
 *
 * Rows of up to 1024 features that lie side by side are done by a warp each, which keeps its row in registers: everything is read
 * once and written once. Other rows are done by a block each. The gradients of gamma and beta are sums over the rows: a
 * thread keeps those of its features, blocks leave theirs in the workspace, and fold_blocks() adds them in order.
 */
#include "cuda/column_sum.cuh"

constexpr int LN_WARPS = 8, LN_THREADS = LN_WARPS * WARP, LN_FEATURES = 1024,
              LN_BLOCKS = 4 /* of a multiprocessor */;

/* ---- where rows are ---- */

/* Row r of a tensor is the row (n, a, b) with r = (n A + a) B + b. */
struct ln_rows {
    struct divisor sample, inner; /* A B, and B */
    int64_t sample_step, outer_step, inner_step, feature_step;
};

static struct ln_rows ln_rows_of(const struct lam_tensor_desc &desc) {
    const int rank = desc.shape.rank;
    const int64_t features = desc.shape.dim[rank - 1], sample = lam_cuda_sample(&desc),
                  rows = sample / features;
    if (rank == 1) return {divisor_of(1), divisor_of(1), features, 0, 0, 1};
    if (row_major(desc)) return {divisor_of(rows), divisor_of(rows), sample, 0, features, 1};
    const struct lam_cuda_view view = lam_cuda_view_of(&desc);
    return {divisor_of(rows), divisor_of(view.h), view.sn, view.sc, view.sh, view.sw};
}

__device__ inline int64_t ln_row_offset(const struct ln_rows &rows, int64_t r) {
    const int64_t n = divide_long(r, rows.sample);
    const uint32_t rest = (uint32_t)(r - n * rows.sample.value), a = divide(rest, rows.inner);
    return n * rows.sample_step + a * rows.outer_step + (rest - a * rows.inner.value) * rows.inner_step;
}

/* ---- a row in the registers of a warp: V vectors of N features a lane ---- */

template <int V, int N, typename T>
__device__ inline void ln_load(const T *row, int features, float (&values)[V][N]) {
    const int lane = (int)(threadIdx.x % WARP);
    for (int v = 0; v < V; v++) {
        const int d = (v * WARP + lane) * N;
        if (d < features)
            load_vector(row + d, values[v]);
        else
            for (int k = 0; k < N; k++) values[v][k] = 0.0f;
    }
}

/* The first row of this warp, and the number of warps. */
__device__ inline int64_t first_warp() {
    return first_index() / WARP;
}
__device__ inline int64_t warp_step() {
    return index_step() / WARP;
}

/* ---- forward ---- */

struct ln_parameters {
    const float *gamma, *beta;
    float eps;
};

/* Of the features beyond the row, which are 0, each adds the mean's square too much: they are left out. */
template <int V, int N>
__device__ inline void ln_moments(const float (&x)[V][N], int features, float eps, float *mean,
                                  float *inv_std) {
    const int lane = (int)(threadIdx.x % WARP);
    float sum = 0.0f, squares = 0.0f;
    for (int v = 0; v < V; v++)
        for (int k = 0; k < N; k++) sum += x[v][k];
    *mean = warp_sum(sum) / (float)features;
    for (int v = 0; v < V; v++) {
        if ((v * WARP + lane) * N >= features) continue;
        for (int k = 0; k < N; k++) squares += (x[v][k] - *mean) * (x[v][k] - *mean);
    }
    *inv_std = 1.0f / sqrtf(warp_sum(squares) / (float)features + eps);
}

template <int V, int N, typename T>
__global__ void layer_norm_warps(const T *x, struct ln_parameters p, int64_t rows, int features, T *y,
                                 float *means, float *inv_stds) {
    const int lane = (int)(threadIdx.x % WARP);
    for (int64_t r = first_warp(); r < rows; r += warp_step()) {
        float values[V][N], mean, inv_std;
        ln_load(x + r * features, features, values);
        ln_moments(values, features, p.eps, &mean, &inv_std);
        if (lane == 0) {
            means[r] = mean;
            inv_stds[r] = inv_std;
        }
        for (int v = 0; v < V; v++) {
            const int d = (v * WARP + lane) * N;
            if (d >= features) continue;
            for (int k = 0; k < N; k++)
                values[v][k] = fmaf((values[v][k] - mean) * inv_std, p.gamma[d + k], p.beta[d + k]);
            store_vector(y + r * features + d, values[v]);
        }
    }
}

template <typename T>
__global__ void layer_norm_blocks(const T *x, struct ln_rows of_x, struct ln_parameters p, int64_t rows,
                                  int features, T *y, struct ln_rows of_y, float *means, float *inv_stds) {
    float *room = shared_memory<float>();
    for (int64_t r = blockIdx.x; r < rows; r += gridDim.x) {
        const T *from = x + ln_row_offset(of_x, r);
        T *to = y + ln_row_offset(of_y, r);
        float sum = 0.0f, squares = 0.0f;
        for (int d = (int)threadIdx.x; d < features; d += (int)blockDim.x)
            sum += load(from + d * of_x.feature_step);
        const float mean = block_sum(sum, room) / (float)features;
        for (int d = (int)threadIdx.x; d < features; d += (int)blockDim.x) {
            const float deviation = load(from + d * of_x.feature_step) - mean;
            squares += deviation * deviation;
        }
        const float inv_std = 1.0f / sqrtf(block_sum(squares, room) / (float)features + p.eps);
        if (threadIdx.x == 0) {
            means[r] = mean;
            inv_stds[r] = inv_std;
        }
        for (int d = (int)threadIdx.x; d < features; d += (int)blockDim.x)
            store(to + d * of_y.feature_step,
                  fmaf((load(from + d * of_x.feature_step) - mean) * inv_std, p.gamma[d], p.beta[d]));
    }
}

/* ---- backward: dx = inv (h - mean(h) - xhat mean(h xhat)) + z with h = dy gamma ---- */

template <typename T> struct ln_gradient {
    const T *dy, *x;
    const float *mean, *inv_std, *gamma;
    T *dx;      /* may be NULL */
    const T *z; /* may be NULL */
    struct ln_rows of_dy, of_x, of_dx, of_z;
};

/* x becomes xhat. Adds to the sums of this thread's features, and writes the row of dx. */
template <int V, int N, typename T>
__device__ inline void ln_bwd_row(const struct ln_gradient<T> &g, int64_t r, int features,
                                  float (&dgamma)[V][N], float (&dbeta)[V][N]) {
    const int lane = (int)(threadIdx.x % WARP);
    const float mean = g.mean[r], inv_std = g.inv_std[r];
    float dy[V][N], x[V][N], sum = 0.0f, product = 0.0f;
    ln_load(g.dy + r * features, features, dy);
    ln_load(g.x + r * features, features, x);
    for (int v = 0; v < V; v++) {
        const int d = (v * WARP + lane) * N;
        if (d >= features) continue;
        for (int k = 0; k < N; k++) {
            x[v][k] = (x[v][k] - mean) * inv_std;
            dgamma[v][k] += dy[v][k] * x[v][k];
            dbeta[v][k] += dy[v][k];
            dy[v][k] *= g.gamma[d + k];
            sum += dy[v][k];
            product += dy[v][k] * x[v][k];
        }
    }
    if (!g.dx) return;
    sum = warp_sum(sum) / (float)features;
    product = warp_sum(product) / (float)features;
    for (int v = 0; v < V; v++) {
        const int d = (v * WARP + lane) * N;
        if (d >= features) continue;
        float z[N] = {};
        if (g.z) load_vector(g.z + r * features + d, z);
        for (int k = 0; k < N; k++) dy[v][k] = fmaf(inv_std, dy[v][k] - sum - x[v][k] * product, z[k]);
        store_vector(g.dx + r * features + d, dy[v]);
    }
}

/* Adds up the warps' sums in order, to `to`. `room`: `features` floats for each warp. */
template <int V, int N>
__device__ inline void ln_fold_warps(const float (&sums)[V][N], int features, float *room, float *to) {
    const int lane = (int)(threadIdx.x % WARP), warp = (int)(threadIdx.x / WARP);
    for (int v = 0; v < V; v++) {
        const int d = (v * WARP + lane) * N;
        for (int k = 0; k < N && d < features; k++) room[warp * features + d + k] = sums[v][k];
    }
    __syncthreads();
    for (int d = (int)threadIdx.x; d < features; d += LN_THREADS) {
        float sum = 0.0f, lost = 0.0f;
        for (int w = 0; w < LN_WARPS; w++) add_compensated(sum, lost, room[w * features + d]);
        to[d] = sum + lost;
    }
    __syncthreads();
}

template <int V, int N, typename T>
__global__ void __launch_bounds__(LN_THREADS)
    layer_norm_bwd_warps(struct ln_gradient<T> g, int64_t rows, int features, float *blocks) {
    float dgamma[V][N] = {}, dbeta[V][N] = {};
    for (int64_t r = first_warp(); r < rows; r += warp_step()) ln_bwd_row(g, r, features, dgamma, dbeta);
    float *room = shared_memory<float>(), *to = blocks + (int64_t)blockIdx.x * 2 * features;
    ln_fold_warps(dgamma, features, room, to);
    ln_fold_warps(dbeta, features, room, to + features);
}

template <typename T>
__global__ void layer_norm_bwd_blocks(struct ln_gradient<T> g, int64_t rows, int features) {
    float *room = shared_memory<float>();
    for (int64_t r = blockIdx.x; r < rows; r += gridDim.x) {
        const T *dy = g.dy + ln_row_offset(g.of_dy, r), *x = g.x + ln_row_offset(g.of_x, r);
        T *dx = g.dx + ln_row_offset(g.of_dx, r);
        const float mean = g.mean[r], inv_std = g.inv_std[r];
        float sum = 0.0f, product = 0.0f;
        for (int d = (int)threadIdx.x; d < features; d += (int)blockDim.x) {
            const float h = load(dy + d * g.of_dy.feature_step) * g.gamma[d];
            sum += h;
            product += h * ((load(x + d * g.of_x.feature_step) - mean) * inv_std);
        }
        sum = block_sum(sum, room) / (float)features;
        product = block_sum(product, room) / (float)features;
        for (int d = (int)threadIdx.x; d < features; d += (int)blockDim.x) {
            const float h = load(dy + d * g.of_dy.feature_step) * g.gamma[d];
            const float xhat = (load(x + d * g.of_x.feature_step) - mean) * inv_std;
            const float more = g.z ? load(g.z + ln_row_offset(g.of_z, r) + d * g.of_z.feature_step) : 0.0f;
            store(dx + d * g.of_dx.feature_step, fmaf(inv_std, h - sum - xhat * product, more));
        }
    }
}

/* dgamma and dbeta alone; rows are the pixels and features the channels of column_sum.cuh. */
template <typename T> struct ln_gradient_sums {
    enum { TERMS = 2 };
    struct ln_gradient<T> gradient;
};

struct no_constants {};

template <int N, typename T>
__device__ struct no_constants constants_of(const struct ln_gradient_sums<T> &, int64_t, int) {
    return {};
}

/* N > 1 only where features lie side by side. */
template <int N, typename T>
__device__ void add_terms(const struct ln_gradient_sums<T> &s, const struct no_constants &, int64_t,
                          int64_t r, int d, float (&sums)[2][N]) {
    const struct ln_gradient<T> &g = s.gradient;
    const float mean = g.mean[r], inv_std = g.inv_std[r];
    float dy[N], x[N];
    load_vector(g.dy + ln_row_offset(g.of_dy, r) + d * g.of_dy.feature_step, dy);
    load_vector(g.x + ln_row_offset(g.of_x, r) + d * g.of_x.feature_step, x);
    for (int k = 0; k < N; k++) {
        sums[0][k] += dy[k] * ((x[k] - mean) * inv_std);
        sums[1][k] += dy[k];
    }
}

/* ---- ops ---- */

struct ln_kernel {
    struct lam_kernel base;
    int features;
    int64_t largest;   /* blocks that leave sums, at most */
    bool side_by_side; /* all rows' features, and the rows */
};

static const struct ln_kernel *ln_of(const struct lam_kernel *kernel) {
    return reinterpret_cast<const struct ln_kernel *>(kernel);
}

/* Calls f with the number of vectors of N features that a lane has, as a constant: as few as do. */
template <int N, typename F> static void with_vectors(int features, F f) {
    if (features <= WARP * N)
        f(std::integral_constant<int, 1>());
    else if (features <= 2 * WARP * N)
        f(std::integral_constant<int, 2>());
    else if (features <= 4 * WARP * N)
        f(std::integral_constant<int, 4>());
    else if constexpr (4 * WARP * N < LN_FEATURES)
        f(std::integral_constant<int, 8>());
}

template <typename T>
static bool by_warps(const struct ln_kernel *ln, std::initializer_list<const void *> pointers) {
    return ln->side_by_side && ln->features <= LN_FEATURES && ln->features % VECTOR<T> == 0 &&
           aligned(pointers);
}

/* A block for each row, with no more threads than features, about. */
static unsigned ln_block(int features) {
    return (unsigned)std::min(LN_THREADS, (features + WARP - 1) / WARP * WARP);
}

template <typename T>
static void layer_norm_slice(const struct lam_kernel *kernel, const struct lam_kernel_args *args) {
    constexpr int N = VECTOR<T>;
    const struct ln_kernel *ln = ln_of(kernel);
    const struct lam_op &op = kernel->op;
    const char *name = lam_op_name(op.kind);
    const int64_t rows = slice_elements(op.in[0], args) / ln->features;
    const T *x = static_cast<const T *>(args->in[0]);
    T *y = static_cast<T *>(args->out[0]);
    float *mean = static_cast<float *>(args->out[1]), *inv_std = static_cast<float *>(args->out[2]);
    const struct ln_parameters parameters = {static_cast<const float *>(args->in[1]),
                                             static_cast<const float *>(args->in[2]), op.attr.bn.eps};
    if (!by_warps<T>(ln, {x, y})) {
        const unsigned threads = ln_block(ln->features);
        lam_launch(args->stream, name, layer_norm_blocks<T>,
                   lam_grid(args->stream, rows * threads, (int)threads), threads, WARP * sizeof(float), x,
                   ln_rows_of(op.in[0].desc), parameters, rows, ln->features, y, ln_rows_of(op.out[0].desc),
                   mean, inv_std);
        return;
    }
    with_vectors<N>(ln->features, [&](auto vectors) {
        lam_launch(args->stream, name, layer_norm_warps<decltype(vectors)::value, N, T>,
                   lam_grid(args->stream, rows * WARP, LN_THREADS), LN_THREADS, 0, x, parameters, rows,
                   ln->features, y, mean, inv_std);
    });
}

static void layer_norm_run(const struct lam_kernel *kernel, const struct lam_kernel_args *args) {
    with_float_type(kernel->op.in[0].desc.dtype, [&](auto *type) {
        layer_norm_slice<std::remove_pointer_t<decltype(type)>>(kernel, args);
    });
}

/* Both return the number of blocks that left sums in the workspace. */
template <typename T>
static int64_t ln_bwd_by_warps(const struct ln_kernel *ln, const struct lam_kernel_args *args,
                               const struct ln_gradient<T> &gradient, int64_t rows) {
    constexpr int N = VECTOR<T>;
    const int64_t count = std::min(ln->largest, (rows + LN_WARPS - 1) / LN_WARPS);
    with_vectors<N>(ln->features, [&](auto vectors) {
        lam_launch(args->stream, lam_op_name(ln->base.op.kind),
                   layer_norm_bwd_warps<decltype(vectors)::value, N, T>, dim3((unsigned)count), LN_THREADS,
                   (size_t)(LN_WARPS * ln->features) * sizeof(float), gradient, rows, ln->features,
                   static_cast<float *>(args->workspace));
    });
    return count;
}

template <typename T>
static int64_t ln_bwd_by_blocks(const struct ln_kernel *ln, const struct lam_kernel_args *args,
                                const struct ln_gradient<T> &gradient, int64_t rows) {
    const char *name = lam_op_name(ln->base.op.kind);
    const unsigned threads = ln_block(ln->features);
    if (gradient.dx)
        lam_launch(args->stream, name, layer_norm_bwd_blocks<T>,
                   lam_grid(args->stream, rows * threads, (int)threads), threads, WARP * sizeof(float),
                   gradient, rows, ln->features);
    const bool wide = ln->side_by_side && ln->features % VECTOR<T> == 0 && aligned({gradient.dy, gradient.x});
    const struct sum_shape shape = {1, 1, rows, ln->features, true, wide};
    return sum_columns<T>(args->stream, name, ln_gradient_sums<T>{gradient}, shape,
                          static_cast<float *>(args->workspace));
}

template <typename T>
static void layer_norm_bwd_slice(const struct lam_kernel *kernel, const struct lam_kernel_args *args) {
    const struct ln_kernel *ln = ln_of(kernel);
    const struct lam_op &op = kernel->op;
    const int64_t rows = slice_elements(op.in[1], args) / ln->features;
    struct ln_gradient<T> gradient = {};
    gradient.dy = static_cast<const T *>(args->in[0]);
    gradient.x = static_cast<const T *>(args->in[1]);
    gradient.mean = static_cast<const float *>(args->in[2]);
    gradient.inv_std = static_cast<const float *>(args->in[3]);
    gradient.gamma = static_cast<const float *>(args->in[4]);
    gradient.of_dy = ln_rows_of(op.in[0].desc);
    gradient.of_x = ln_rows_of(op.in[1].desc);
    if (op.out[0].present) {
        gradient.dx = static_cast<T *>(args->out[0]);
        gradient.of_dx = ln_rows_of(op.out[0].desc);
    }
    if (lam_op_has_addend(&op)) {
        gradient.z = static_cast<const T *>(args->in[5]);
        gradient.of_z = ln_rows_of(op.in[5].desc);
    }
    const int64_t blocks = by_warps<T>(ln, {gradient.dy, gradient.x, gradient.dx, gradient.z})
                               ? ln_bwd_by_warps(ln, args, gradient, rows)
                               : ln_bwd_by_blocks(ln, args, gradient, rows);
    fold_blocks(args->stream, lam_op_name(op.kind), static_cast<const float *>(args->workspace), 1, blocks,
                2 * (int64_t)ln->features, 1.0f, args->accumulate, static_cast<float *>(args->partial));
}

static void layer_norm_bwd_run(const struct lam_kernel *kernel, const struct lam_kernel_args *args) {
    with_float_type(kernel->op.in[1].desc.dtype, [&](auto *type) {
        layer_norm_bwd_slice<std::remove_pointer_t<decltype(type)>>(kernel, args);
    });
}

/* `operands`: x, then the others that have its shape. */
static lam_status ln_new(const struct lam_op *op, std::initializer_list<const struct lam_operand *> operands,
                         struct ln_kernel **kernel) {
    const struct lam_tensor_desc &x = (*operands.begin())->desc;
    if (x.shape.rank < 1 || !one_float_type(operands))
        return feature_op_unsupported(op, "layer norm takes f32 or bf16");
    LAM_TRY(feature_op_new(op, kernel));
    (*kernel)->features = (int)x.shape.dim[x.shape.rank - 1];
    (*kernel)->side_by_side = true;
    for (const struct lam_operand *operand : operands)
        if (operand->present && !row_major(operand->desc)) (*kernel)->side_by_side = false;
    return LAM_OK;
}

static lam_status layer_norm_create(const struct lam_op *op, struct lam_kernel **kernel) {
    struct ln_kernel *ln = nullptr;
    LAM_TRY(ln_new(op, {&op->in[0], &op->out[0]}, &ln));
    ln->base.run = layer_norm_run;
    *kernel = &ln->base;
    return LAM_OK;
}
LAM_CUDA_CREATE(lam_cuda_layer_norm_create, layer_norm_create)

lam_status lam_cuda_layer_norm_bwd_create(struct lam_backend_device *device, const struct lam_op *op,
                                          const struct lam_kernel_options *options,
                                          struct lam_kernel **kernel, const char **) {
    struct ln_kernel *ln = nullptr;
    const struct lam_operand *addend = lam_op_has_addend(op) ? &op->in[5] : &op->in[0];
    LAM_TRY(ln_new(op, {&op->in[1], &op->in[0], &op->out[0], addend}, &ln));
    const int64_t rows = options->slices[0] * lam_cuda_sample(&op->in[1].desc) / ln->features;
    const size_t by_blocks = sum_bytes(device, 1, rows, ln->features, 2);
    ln->largest =
        std::min<int64_t>((rows + LN_WARPS - 1) / LN_WARPS, lam_cuda_multiprocessors(device) * LN_BLOCKS);
    ln->base.workspace_bytes = std::max(by_blocks, (size_t)(ln->largest * 2 * ln->features) * sizeof(float));
    ln->base.partial_bytes = 2 * sizeof(float) * (size_t)ln->features;
    ln->base.run = layer_norm_bwd_run;
    ln->base.reduce = lam_cuda_reduce_copy;
    *kernel = &ln->base;
    return LAM_OK;
}
