#include "cuda/bundle.h"

#include "cuda/launch.cuh"

enum { THREADS = 256, OF_A_BLOCK = 2048 }; /* elements */

static_assert(sizeof(struct lam_cuda_bundle) <= 4096, "parameters of a launch");

/* As a parameter of a launch. */
struct bundled {
    struct lam_cuda_bundle bundle;
    template <typename F> void each_pointer(F f) const {
        for (int i = 0; i < bundle.count; i++) f(bundle.entries[i].from), f(bundle.entries[i].to);
    }
};

__device__ inline const struct lam_cuda_bundled &entry_of_block(const struct lam_cuda_bundle &bundle) {
    int low = 0, high = bundle.count - 1;
    while (low < high) {
        const int middle = (low + high + 1) / 2;
        if (bundle.entries[middle].first_block <= blockIdx.x)
            low = middle;
        else
            high = middle - 1;
    }
    return bundle.entries[low];
}

/* By places in the target. */
__global__ void transpose(struct bundled bundled) {
    const struct lam_cuda_bundled &t = entry_of_block(bundled.bundle);
    const uint32_t rows = (uint32_t)t.rows, columns = (uint32_t)t.columns;
    const uint32_t begin = (blockIdx.x - t.first_block) * OF_A_BLOCK;
    const uint32_t end = t.count - begin < OF_A_BLOCK ? t.count : begin + OF_A_BLOCK;
    for (uint32_t i = begin + threadIdx.x; i < end; i += THREADS) {
        const uint32_t line = i / rows, row = i % rows, group = line / columns, column = line % columns;
        const size_t at = ((size_t)group * rows + row) * columns + column;
        const float value = t.from_bf16 ? load(static_cast<const bf16 *>(t.from) + at)
                                        : load(static_cast<const float *>(t.from) + at);
        if (t.to_bf16)
            store(static_cast<bf16 *>(t.to) + i, value);
        else
            store(static_cast<float *>(t.to) + i, value);
    }
}

static void flush(struct lam_stream *stream) {
    struct lam_cuda_bundle *bundle = &stream->bundle;
    if (bundle->count > 0)
        lam_launch(stream, "transpose", transpose, dim3(bundle->blocks), dim3(THREADS), 0, bundled{*bundle});
    bundle->count = 0;
    bundle->blocks = 0;
}

void lam_cuda_transpose(struct lam_stream *stream, const void *from, enum lam_dtype from_type, void *to,
                        enum lam_dtype to_type, int64_t groups, int64_t rows, int64_t columns) {
    struct lam_cuda_bundle *bundle = &stream->bundle;
    const int64_t count = groups * rows * columns;
    if (count == 0) return;
    if (bundle->count == LAM_CUDA_MOST_BUNDLED) flush(stream);
    bundle->entries[bundle->count++] = {from,
                                        to,
                                        (uint32_t)count,
                                        bundle->blocks,
                                        (int32_t)rows,
                                        (int32_t)columns,
                                        from_type == LAM_BF16,
                                        to_type == LAM_BF16};
    bundle->blocks += (uint32_t)((count + OF_A_BLOCK - 1) / OF_A_BLOCK);
    if (!stream->bundling) flush(stream);
}

void lam_cuda_bundle_begin(struct lam_stream *stream) {
    stream->bundling = true;
}

void lam_cuda_bundle_end(struct lam_stream *stream) {
    stream->bundling = false;
    flush(stream);
}
