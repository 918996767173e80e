/* The gradients of MIX: da = s dy, db = (2 - s) dy, and ds = the sum of dy (a - b), which is summed in blocks first and then over
 * the blocks, in order. */
#include "cuda/elementwise.cuh"

/* Operands of `places`: dy, a, b, da, db. da and db may be NULL. */
template <int N, typename T, typename Places>
__global__ void mix_bwd(Places places, const T *dy, const T *a, const T *b, const float *weight, T *da, T *db,
                        int64_t count, float *blocks) {
    const float s = *weight;
    float sum = 0.0f;
    for (int64_t i = first_index() * N; i < count; i += index_step() * N) {
        float g[N], x[N], z[N];
        load_vector(dy + place_of(places, 0, i), g);
        load_vector(a + place_of(places, 1, i), x);
        load_vector(b + place_of(places, 2, i), z);
        for (int k = 0; k < N; k++) {
            sum += g[k] * (x[k] - z[k]);
            x[k] = s * g[k];
            z[k] = (2.0f - s) * g[k];
        }
        if (da) store_vector(da + place_of(places, 3, i), x);
        if (db) store_vector(db + place_of(places, 4, i), z);
    }
    sum = block_sum(sum, shared_memory<float>());
    if (threadIdx.x == 0) blocks[blockIdx.x] = sum;
}

__global__ void mix_bwd_fold(const float *blocks, int count, bool accumulate, float *partial) {
    double sum = 0;
    for (int i = (int)threadIdx.x; i < count; i += (int)blockDim.x) sum += (double)blocks[i];
    sum = block_sum(sum, shared_memory<double>());
    if (threadIdx.x == 0) *partial = accumulate ? *partial + (float)sum : (float)sum;
}

struct mix_bwd_kernel {
    struct lam_kernel base;
    unsigned blocks;
    bool flat;
};

template <int N, typename T, typename Places>
static void mix_bwd_launch(const struct lam_kernel *kernel, const struct lam_kernel_args *args,
                           const Places &places) {
    const struct mix_bwd_kernel *mix = reinterpret_cast<const struct mix_bwd_kernel *>(kernel);
    const char *name = lam_op_name(kernel->op.kind);
    float *blocks = static_cast<float *>(args->workspace);
    lam_launch(args->stream, name, mix_bwd<N, T, Places>, dim3(mix->blocks), ROW_THREADS,
               WARP * sizeof(float), places, static_cast<const T *>(args->in[0]),
               static_cast<const T *>(args->in[1]), static_cast<const T *>(args->in[2]),
               static_cast<const float *>(args->in[3]), static_cast<T *>(args->out[0]),
               static_cast<T *>(args->out[1]), slice_elements(kernel->op.in[0], args), blocks);
    lam_launch(args->stream, name, mix_bwd_fold, dim3(1), ROW_THREADS, WARP * sizeof(double), blocks,
               mix->blocks, args->accumulate, static_cast<float *>(args->partial));
}

template <typename T>
static void mix_bwd_slice(const struct lam_kernel *kernel, const struct lam_kernel_args *args) {
    const struct lam_op &op = kernel->op;
    const bool flat = reinterpret_cast<const struct mix_bwd_kernel *>(kernel)->flat;
    const bool wide = slice_elements(op.in[0], args) % VECTOR<T> == 0 &&
                      aligned({args->in[0], args->in[1], args->in[2], args->out[0], args->out[1]});
    if (flat && wide)
        mix_bwd_launch<VECTOR<T>, T>(kernel, args, flat_places{});
    else if (flat)
        mix_bwd_launch<1, T>(kernel, args, flat_places{});
    else
        mix_bwd_launch<1, T>(kernel, args,
                             mixed_places_of({&op.in[0], &op.in[1], &op.in[2], &op.out[0], &op.out[1]}));
}

static void mix_bwd_run(const struct lam_kernel *kernel, const struct lam_kernel_args *args) {
    with_float_type(kernel->op.in[0].desc.dtype,
                    [&](auto *type) { mix_bwd_slice<std::remove_pointer_t<decltype(type)>>(kernel, args); });
}

/* ds is the third output; the others are batched. */
static void mix_bwd_reduce(const struct lam_kernel *kernel, void *const *partials, int, void *const *out, int,
                           int, struct lam_stream *stream) {
    (void)kernel;
    if (out[2] && out[2] != partials[0])
        lam_cuda_transpose(stream, partials[0], LAM_F32, out[2], LAM_F32, 1, 1, 1);
}

lam_status lam_cuda_mix_bwd_create(struct lam_backend_device *device, const struct lam_op *op,
                                   const struct lam_kernel_options *, struct lam_kernel **kernel,
                                   const char **) {
    constexpr int BLOCKS = 4; /* of a multiprocessor */
    struct mix_bwd_kernel *mix = nullptr;
    if (!one_float_type({&op->in[0], &op->in[1], &op->in[2], &op->out[0], &op->out[1]}))
        return feature_op_unsupported(op, "operands must be all f32 or all bf16");
    LAM_TRY(feature_op_new(op, &mix));
    mix->blocks = (unsigned)(BLOCKS * lam_cuda_multiprocessors(device));
    mix->flat = one_order(*op);
    mix->base.workspace_bytes = mix->blocks * sizeof(float);
    mix->base.partial_bytes = sizeof(float);
    mix->base.run = mix_bwd_run;
    mix->base.reduce = mix_bwd_reduce;
    *kernel = &mix->base;
    return LAM_OK;
}
