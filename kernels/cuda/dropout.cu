/* Dropout and its gradient, which are one and the same: a mask that depends on the run, the sample and the element alone,
 * times 1 / (1 - p). Seed and step are read when the kernel runs, from the stream's own memory, so that a captured graph can be
 * launched again with others. */
#include <cmath>

#include "base/rng.h"
#include "cuda/operands.cuh"
#include "cuda/ops.h"
#include "cuda/philox.cuh"

namespace {

constexpr int THREADS = 256, WORDS = TOGETHER; /* words: of a Philox block, one for each element */

struct mask {
    uint64_t stream, threshold; /* stream: of the slice's first sample */
    float scale;
};

struct forms {
    element_order x, y;
    uint32_t elements; /* of a sample */
    int samples;
    bool by_four; /* both are plain, and four elements are aligned together */
};

__device__ void apply_mask(float (&values)[WORDS], uint4 words, const mask &mask) {
    const uint32_t word[WORDS] = {words.x, words.y, words.z, words.w};
    for (int i = 0; i < WORDS; i++) values[i] = word[i] >= mask.threshold ? values[i] * mask.scale : 0.0f;
}

/* The four elements of a Philox block. */
template <typename T>
__device__ void apply(const T *x, T *y, uint32_t block, uint4 words, const mask &mask, const forms &forms) {
    const uint32_t first = block * WORDS, left = forms.elements - first;
    const int count = left < WORDS ? (int)left : (int)WORDS;
    float values[WORDS] = {};
    if (forms.by_four) {
        load_vector(x + first, values);
        apply_mask(values, words, mask);
        store_vector(y + first, values);
        return;
    }
    for (int i = 0; i < count; i++) values[i] = load(x + place_of(first + (uint32_t)i, forms.x));
    apply_mask(values, words, mask);
    for (int i = 0; i < count; i++) store(y + place_of(first + (uint32_t)i, forms.y), values[i]);
}

template <typename T>
__global__ void dropout(const T *x, T *y, const struct lam_run *run, mask mask, forms forms) {
    const uint2 key = philox_key(run->seed, LAM_RNG_DROPOUT, run->step);
    const uint32_t blocks = (forms.elements + WORDS - 1) / WORDS;
    for (int n = (int)blockIdx.y; n < forms.samples; n += (int)gridDim.y) {
        const uint64_t stream = mask.stream + run->first + (uint64_t)n;
        const int64_t sample = (int64_t)n * forms.elements;
        for (uint32_t b = (uint32_t)first_index(); b < blocks; b += (uint32_t)index_step()) {
            uint4 words = philox(key, uint4{b, 0, (uint32_t)stream, (uint32_t)(stream >> 32)});
            apply(x + sample, y + sample, b, words, mask, forms);
        }
    }
}

struct dropout_kernel {
    struct lam_kernel base;
    uint64_t threshold;
    float scale;
};

void run(const struct lam_kernel *kernel, const struct lam_kernel_args *args) {
    auto d = reinterpret_cast<const dropout_kernel *>(kernel);
    const struct lam_operand *x = &kernel->op.in[0], *y = &kernel->op.out[0];
    const int64_t elements = lam_cuda_sample(&x->desc);
    mask mask = {kernel->op.attr.dropout.stream + (uint64_t)args->first, d->threshold, d->scale};
    forms forms = {order_of(*x), order_of(*y), (uint32_t)elements, args->count, false};
    const size_t four_bytes = WORDS * lam_dtype_bytes(x->desc.dtype);
    forms.by_four = forms.x.plain && forms.y.plain && elements % WORDS == 0 &&
                    aligned({args->in[0], args->out[0]}, four_bytes);
    /* A few blocks of numbers a thread, for one key. */
    dim3 grid = sample_grid(args->stream, (elements + 2 * WORDS - 1) / (2 * WORDS), args->count, THREADS);
    with_float_type(x->desc.dtype, [&](auto *type) {
        using T = std::remove_pointer_t<decltype(type)>;
        lam_launch(args->stream, "dropout", dropout<T>, grid, THREADS, 0, (const T *)args->in[0],
                   (T *)args->out[0], args->stream->run, mask, forms);
    });
}

lam_status create(const struct lam_op *op, struct lam_kernel **kernel) {
    const struct lam_operand *x = &op->in[0];
    const double p = (double)op->attr.dropout.p;
    if (x->desc.dtype != op->out[0].desc.dtype || !is_float(*x) || !x->batched)
        return feature_op_unsupported(op, "operands must be batched and all f32 or all bf16");
    if (!(p >= 0 && p <= 1)) return feature_op_unsupported(op, "the rate must be in 0..1");

    dropout_kernel *d = nullptr;
    LAM_TRY(feature_op_new(op, &d));
    d->threshold = (uint64_t)std::ceil(p * 4294967296.0);
    d->scale = p < 1 ? (float)(1 / (1 - p)) : 0;
    d->base.run = run;
    *kernel = &d->base;
    return LAM_OK;
}

} // namespace

LAM_CUDA_CREATE(lam_cuda_dropout_create, create)
LAM_CUDA_CREATE(lam_cuda_dropout_bwd_create, create)
