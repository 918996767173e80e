/* Elementwise ops: activations, sums, mixing, casts. One kernel for all: y[i] = f(a[i], b[i], s). */
#include "cuda/elementwise.cuh"

/* ---- the functions; `s` is a factor ---- */

struct relu_op {};
struct relu_bwd_op {};
struct gelu_op {};
struct gelu_bwd_op {};
struct sigmoid_op {};
struct sigmoid_bwd_op {};
struct add_op {};
struct scale_op {};
struct mix_op {};
struct cast_op {};

__device__ inline float normal_cdf(float x) {
    return 0.5f * erfcf(-0.70710678f * x);
}

__device__ inline float value_of(relu_op, float x, float, float) {
    return rectified(x);
}
__device__ inline float value_of(relu_bwd_op, float dy, float y, float) {
    return y > 0.0f ? dy : 0.0f;
}
__device__ inline float value_of(gelu_op, float x, float, float) {
    return x * normal_cdf(x);
}
__device__ inline float value_of(gelu_bwd_op, float dy, float x, float) {
    const float density = 0.39894228f * expf(-0.5f * x * x);
    return dy * (normal_cdf(x) + x * density);
}
__device__ inline float value_of(sigmoid_op, float x, float, float) {
    return 1.0f / (1.0f + expf(-x));
}
__device__ inline float value_of(sigmoid_bwd_op, float dy, float y, float) {
    return dy * y * (1.0f - y);
}
__device__ inline float value_of(add_op, float a, float b, float) {
    return a + b;
}
__device__ inline float value_of(scale_op, float x, float, float s) {
    return s * x;
}
__device__ inline float value_of(mix_op, float a, float b, float s) {
    return fmaf(s, a, (2.0f - s) * b);
}
__device__ inline float value_of(cast_op, float x, float, float) {
    return x;
}

/* ---- the kernel ---- */

/* Operands of `places`: y, a, b, z. `b` is NULL for functions of one value; z is added to a, NULL: nothing; s is *weight, or
 * `factor` without one. */
template <typename Op, int N, typename From, typename To, typename Places>
__global__ void elementwise(Places places, const From *a, const From *b, const From *z, const float *weight,
                            float factor, To *y, int64_t count) {
    const float s = weight ? *weight : factor;
    const int64_t vectors = count / N;
    for (int64_t i = first_index(); i < vectors; i += index_step()) {
        float values[N], others[N] = {}, addends[N] = {};
        load_vector(a + place_of(places, 1, i * N), values);
        if (b) load_vector(b + place_of(places, 2, i * N), others);
        if (z) load_vector(z + place_of(places, 3, i * N), addends);
        for (int k = 0; k < N; k++) {
            const float value = z ? values[k] + addends[k] : values[k];
            values[k] = value_of(Op{}, value, others[k], s);
        }
        store_vector(y + place_of(places, 0, i * N), values);
    }
    for (int64_t i = vectors * N + first_index(); i < count; i += index_step()) {
        const float other = b ? load(b + place_of(places, 2, i)) : 0.0f;
        float value = load(a + place_of(places, 1, i));
        if (z) value += load(z + place_of(places, 3, i));
        store(y + place_of(places, 0, i), value_of(Op{}, value, other, s));
    }
}

struct elementwise_kernel {
    struct lam_kernel base;
    int values; /* inputs that are values, 1 or 2; a third is the addend, or else the weight */
    float factor;
    bool flat; /* all operands lie in one order */
};

template <typename Op, typename From, typename To>
static void elementwise_slice(const struct lam_kernel *kernel, const struct lam_kernel_args *args) {
    constexpr int N = VECTOR<From> < VECTOR<To> ? VECTOR<From> : VECTOR<To>;
    const struct elementwise_kernel *e = reinterpret_cast<const struct elementwise_kernel *>(kernel);
    const struct lam_op &op = kernel->op;
    const char *name = lam_op_name(op.kind);
    const int64_t count = slice_elements(op.out[0], args);
    const bool sum = lam_op_has_addend(&op);
    const From *a = static_cast<const From *>(args->in[0]);
    const From *b = e->values > 1 ? static_cast<const From *>(args->in[1]) : nullptr;
    const From *z = sum ? static_cast<const From *>(args->in[2]) : nullptr;
    const float *weight = op.inputs > 2 && !sum ? static_cast<const float *>(args->in[2]) : nullptr;
    To *y = static_cast<To *>(args->out[0]);
    const bool wide =
        aligned({a, b, z}, alignof(element_vector<From, N>)) && aligned({y}, alignof(element_vector<To, N>));
    if (e->flat && wide)
        lam_launch(args->stream, name, elementwise<Op, N, From, To, flat_places>,
                   lam_grid(args->stream, (count + N - 1) / N, ROW_THREADS), ROW_THREADS, 0, flat_places{}, a,
                   b, z, weight, e->factor, y, count);
    else if (e->flat)
        lam_launch(args->stream, name, elementwise<Op, 1, From, To, flat_places>,
                   lam_grid(args->stream, count, ROW_THREADS), ROW_THREADS, 0, flat_places{}, a, b, z, weight,
                   e->factor, y, count);
    else
        lam_launch(args->stream, name, elementwise<Op, 1, From, To, mixed_places>,
                   lam_grid(args->stream, count, ROW_THREADS), ROW_THREADS, 0,
                   mixed_places_of({&op.out[0], &op.in[0], e->values > 1 ? &op.in[1] : nullptr,
                                    sum ? &op.in[2] : nullptr}),
                   a, b, z, weight, e->factor, y, count);
}

/* ---- ops ---- */

static lam_status elementwise_new(const struct lam_op *op, int values,
                                  void (*run)(const struct lam_kernel *, const struct lam_kernel_args *),
                                  struct lam_kernel **kernel) {
    struct elementwise_kernel *e = nullptr;
    for (int i = 0; i < values + lam_op_has_addend(op); i++)
        if (!lam_shape_equal(op->in[i].desc.shape, op->out[0].desc.shape))
            return feature_op_unsupported(op, "operands must have one shape");
    LAM_TRY(feature_op_new(op, &e));
    e->values = values;
    e->flat = one_order(*op);
    e->factor = op->kind == LAM_OP_SCALE ? op->attr.scale.factor : 1.0f;
    e->base.run = run;
    *kernel = &e->base;
    return LAM_OK;
}

/* VALUES: inputs that are values. */
template <typename Op, int VALUES>
static lam_status elementwise_create(const struct lam_op *op, struct lam_kernel **kernel) {
    const struct lam_operand *last = lam_op_has_addend(op) ? &op->in[VALUES] : &op->in[0];
    if (!one_float_type({&op->out[0], &op->in[0], &op->in[VALUES - 1], last}))
        return feature_op_unsupported(op, "operands must be all f32 or all bf16");
    if (op->out[0].desc.dtype == LAM_F32)
        return elementwise_new(op, VALUES, elementwise_slice<Op, float, float>, kernel);
    return elementwise_new(op, VALUES, elementwise_slice<Op, bf16, bf16>, kernel);
}

LAM_CUDA_CREATE(lam_cuda_relu_create, (elementwise_create<relu_op, 1>))
LAM_CUDA_CREATE(lam_cuda_relu_bwd_create, (elementwise_create<relu_bwd_op, 2>))
LAM_CUDA_CREATE(lam_cuda_gelu_create, (elementwise_create<gelu_op, 1>))
LAM_CUDA_CREATE(lam_cuda_gelu_bwd_create, (elementwise_create<gelu_bwd_op, 2>))
LAM_CUDA_CREATE(lam_cuda_sigmoid_create, (elementwise_create<sigmoid_op, 1>))
LAM_CUDA_CREATE(lam_cuda_sigmoid_bwd_create, (elementwise_create<sigmoid_bwd_op, 2>))
LAM_CUDA_CREATE(lam_cuda_add_create, (elementwise_create<add_op, 2>))
LAM_CUDA_CREATE(lam_cuda_scale_create, (elementwise_create<scale_op, 1>))
LAM_CUDA_CREATE(lam_cuda_mix_create, (elementwise_create<mix_op, 2>))

lam_status lam_cuda_cast_create(struct lam_backend_device *device, const struct lam_op *op,
                                const struct lam_kernel_options *options, struct lam_kernel **kernel,
                                const char **chosen) {
    const enum lam_dtype from = op->in[0].desc.dtype, to = op->out[0].desc.dtype;
    if (from == to) return lam_cuda_copy_create(device, op, options, kernel, chosen);
    if (from == LAM_F32 && to == LAM_BF16)
        return elementwise_new(op, 1, elementwise_slice<cast_op, float, bf16>, kernel);
    if (from == LAM_BF16 && to == LAM_F32)
        return elementwise_new(op, 1, elementwise_slice<cast_op, bf16, float>, kernel);
    if (from == LAM_U8 && to == LAM_F32)
        return elementwise_new(op, 1, elementwise_slice<cast_op, uint8_t, float>, kernel);
    if (from == LAM_U8 && to == LAM_BF16)
        return elementwise_new(op, 1, elementwise_slice<cast_op, uint8_t, bf16>, kernel);
    return feature_op_unsupported(op, "no cast between these types");
}
