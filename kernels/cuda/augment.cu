/* AUGMENT: NORMALIZE of pixels that are taken from where each sample's random numbers say. */
#include "base/rng.h"
#include "cuda/operands.cuh"
#include "cuda/ops.h"
#include "cuda/philox.cuh"

#define LAM_AUGMENT_CODE __device__ inline
#include "augment.h"

namespace {

constexpr int THREADS = 256;

struct size {
    int channels, height, width;
    struct divisor by_channels, by_plane, by_width;
};

/* A block's threads share one draw a sample; the first thread makes it. */
__device__ void draw_sample(const struct lam_run *run, uint64_t place, const lam_augment_attr &attr,
                            const size &size, lam_augment_draw *draw) {
    const uint2 key = philox_key(run->seed, LAM_RNG_AUGMENT, run->step);
    uint32_t words[LAM_AUGMENT_WORDS];
    for (uint32_t block = 0; block < LAM_AUGMENT_WORDS / 4; block++) {
        const uint4 four = philox(key, uint4{block, 0, (uint32_t)place, (uint32_t)(place >> 32)});
        words[4 * block] = four.x;
        words[4 * block + 1] = four.y;
        words[4 * block + 2] = four.z;
        words[4 * block + 3] = four.w;
    }
    *draw = lam_augment_draw_of(&attr, size.width, size.height, words);
}

/* Element i in the order of y, which may be NHWC. The divisions are not merged with what follows: the result is that of the CPU to
 * the bit. */
template <typename T>
__global__ void augment(const uint8_t *x, T *y, const struct lam_run *run, lam_augment_attr attr, size size,
                        uint64_t first, int samples, bool channels_last) {
    lam_augment_draw *draw = shared_memory<lam_augment_draw>();
    const uint32_t plane = (uint32_t)size.height * (uint32_t)size.width;
    const uint32_t elements = plane * (uint32_t)size.channels;
    for (int n = (int)blockIdx.y; n < samples; n += (int)gridDim.y) {
        if (threadIdx.x == 0) draw_sample(run, run->first + first + (uint64_t)n, attr, size, draw);
        __syncthreads();
        const uint8_t *image = x + (int64_t)n * elements;
        T *result = y + (int64_t)n * elements;
        for (uint32_t i = (uint32_t)first_index(); i < elements; i += (uint32_t)index_step()) {
            const uint32_t whole = divide(i, channels_last ? size.by_channels : size.by_plane);
            const uint32_t rest = i - whole * (channels_last ? (uint32_t)size.channels : plane);
            const uint32_t c = channels_last ? rest : whole, p = channels_last ? whole : rest;
            const int py = (int)divide(p, size.by_width), px = (int)p - py * size.width;
            const int sy = lam_augment_inside(py + draw->shift_y, size.height, attr.reflect);
            const int sx = lam_augment_inside((draw->mirror ? size.width - 1 - px : px) + draw->shift_x,
                                              size.width, attr.reflect);
            float value = 0;
            if (sy >= 0 && sx >= 0 && !lam_augment_is_cut(draw, px, py)) {
                const float share = (float)image[c * plane + (uint32_t)(sy * size.width + sx)] / 255.0f;
                value = (share - attr.normalize.mean[c]) / attr.normalize.deviation[c];
            }
            store(result + i, value);
        }
        __syncthreads();
    }
}

void run(const struct lam_kernel *kernel, const struct lam_kernel_args *args) {
    const struct lam_tensor_desc &to = kernel->op.out[0].desc;
    const struct lam_shape &shape = kernel->op.in[0].desc.shape;
    const size size = {(int)shape.dim[1],
                       (int)shape.dim[2],
                       (int)shape.dim[3],
                       divisor_of(shape.dim[1]),
                       divisor_of(shape.dim[2] * shape.dim[3]),
                       divisor_of(shape.dim[3])};
    const int64_t elements = shape.dim[1] * shape.dim[2] * shape.dim[3];
    dim3 grid = sample_grid(args->stream, elements, args->count, THREADS);
    with_float_type(to.dtype, [&](auto *type) {
        using T = std::remove_pointer_t<decltype(type)>;
        lam_launch(args->stream, "augment", augment<T>, grid, THREADS, sizeof(lam_augment_draw),
                   static_cast<const uint8_t *>(args->in[0]), static_cast<T *>(args->out[0]),
                   args->stream->run, kernel->op.attr.augment, size, (uint64_t)args->first, args->count,
                   to.layout == LAM_NHWC);
    });
}

lam_status create(const struct lam_op *op, struct lam_kernel **kernel) {
    const struct lam_tensor_desc &from = op->in[0].desc;
    if (from.dtype != LAM_U8 || !is_float(op->out[0]))
        return feature_op_unsupported(op, "it makes f32 or bf16 from u8");
    if (from.shape.rank != 4 || from.shape.dim[1] > LAM_MAX_COLOURS || from.layout != LAM_PLAIN)
        return feature_op_unsupported(op, "it takes plain images of at most four channels");
    simple_kernel *made = nullptr;
    LAM_TRY(feature_op_new(op, &made));
    made->base.run = run;
    *kernel = &made->base;
    return LAM_OK;
}

} // namespace

LAM_CUDA_CREATE(lam_cuda_augment_create, create)
