/* NORMALIZE: pixels to numbers, on the way into the layout of the device. */
#include "cuda/elementwise.cuh"
#include "cuda/operands.cuh"

/* Elements in the order of y. The divisions are not merged with what follows: the result is that of the CPU to the bit. */
template <typename T>
__global__ void normalize(struct feature_order order, struct feature_map from, struct feature_map to,
                          struct lam_normalize_attr attr, const uint8_t *x, T *y, int64_t count) {
    for (int64_t i = first_index(); i < count; i += index_step()) {
        const struct feature_place at = feature_place_of(order, i);
        const float share = (float)x[feature_offset(from, at.n, at.p, at.c)] / 255.0f;
        store(y + feature_offset(to, at.n, at.p, at.c), (share - attr.mean[at.c]) / attr.deviation[at.c]);
    }
}

static void normalize_run(const struct lam_kernel *kernel, const struct lam_kernel_args *args) {
    const struct lam_op &op = kernel->op;
    const int64_t count = slice_elements(op.out[0], args);
    with_float_type(op.out[0].desc.dtype, [&](auto *type) {
        using T = std::remove_pointer_t<decltype(type)>;
        lam_launch(args->stream, "normalize", normalize<T>, lam_grid(args->stream, count, ROW_THREADS),
                   ROW_THREADS, 0, feature_order_of(op.out[0].desc), feature_map_of(op.in[0].desc),
                   feature_map_of(op.out[0].desc), op.attr.normalize,
                   static_cast<const uint8_t *>(args->in[0]), static_cast<T *>(args->out[0]), count);
    });
}

static lam_status normalize_create(const struct lam_op *op, struct lam_kernel **kernel) {
    if (op->in[0].desc.dtype != LAM_U8 || !is_float(op->out[0]))
        return feature_op_unsupported(op, "it makes f32 or bf16 from u8");
    if (op->in[0].desc.shape.rank != 4 || op->in[0].desc.shape.dim[1] > LAM_MAX_COLOURS)
        return feature_op_unsupported(op, "it takes images of at most four channels");
    simple_kernel *made = nullptr;
    LAM_TRY(feature_op_new(op, &made));
    made->base.run = normalize_run;
    *kernel = &made->base;
    return LAM_OK;
}

LAM_CUDA_CREATE(lam_cuda_normalize_create, normalize_create)
