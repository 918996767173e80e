#include "cuda/bundle.h"

#include "cuda/column_sum.cuh"

/* Elements: of a block that copies, of one that sums. */
enum { THREADS = WARP * FOLD_ROWS, COPIED_BY_BLOCK = 2048, SUMMED_BY_BLOCK = WARP };

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
__device__ inline void transpose(const struct lam_cuda_bundled &t) {
    const uint32_t rows = (uint32_t)t.rows, columns = (uint32_t)t.columns;
    const uint32_t begin = (blockIdx.x - t.first_block) * COPIED_BY_BLOCK;
    const uint32_t end = t.count - begin < COPIED_BY_BLOCK ? t.count : begin + COPIED_BY_BLOCK;
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

__device__ inline void fold(const struct lam_cuda_bundled &t) {
    const uint32_t i = (blockIdx.x - t.first_block) * SUMMED_BY_BLOCK + threadIdx.x % WARP;
    const int row = (int)(threadIdx.x / WARP);
    double sum[1];
    fold_chunks(static_cast<const float *>(t.from), t.parts, t.columns, i, 0, t.count, row, sum);
    if (row == 0 && i < t.count) static_cast<float *>(t.to)[i] = (float)sum[0];
}

__global__ void run_bundle(struct bundled bundled) {
    const struct lam_cuda_bundled &entry = entry_of_block(bundled.bundle);
    if (entry.parts > 0)
        fold(entry);
    else
        transpose(entry);
}

static void flush(struct lam_stream *stream) {
    struct lam_cuda_bundle *bundle = &stream->bundle;
    if (bundle->count > 0)
        lam_launch(stream, "bundle", run_bundle, dim3(bundle->blocks), dim3(THREADS),
                   THREADS * sizeof(double), bundled{*bundle});
    bundle->count = 0;
    bundle->blocks = 0;
}

/* What is missing in `entry` is its place in the launch. */
static void add(struct lam_stream *stream, struct lam_cuda_bundled entry, uint32_t elements_of_block) {
    struct lam_cuda_bundle *bundle = &stream->bundle;
    if (entry.count == 0) return;
    if (bundle->count == LAM_CUDA_MOST_BUNDLED) flush(stream);
    entry.first_block = bundle->blocks;
    bundle->entries[bundle->count++] = entry;
    bundle->blocks += (entry.count + elements_of_block - 1) / elements_of_block;
    if (!stream->bundling) flush(stream);
}

void lam_cuda_transpose(struct lam_stream *stream, const void *from, enum lam_dtype from_type, void *to,
                        enum lam_dtype to_type, int64_t groups, int64_t rows, int64_t columns) {
    struct lam_cuda_bundled copy = {};
    copy.from = from;
    copy.to = to;
    copy.count = (uint32_t)(groups * rows * columns);
    copy.rows = (int32_t)rows;
    copy.columns = (int32_t)columns;
    copy.from_bf16 = from_type == LAM_BF16;
    copy.to_bf16 = to_type == LAM_BF16;
    add(stream, copy, COPIED_BY_BLOCK);
}

void lam_cuda_fold(struct lam_stream *stream, const float *from, int64_t parts, int64_t stride, float *to,
                   int64_t count) {
    struct lam_cuda_bundled sum = {};
    sum.from = from;
    sum.to = to;
    sum.count = (uint32_t)count;
    sum.columns = (int32_t)stride;
    sum.parts = (int32_t)parts;
    add(stream, sum, SUMMED_BY_BLOCK);
}

void lam_cuda_bundle_begin(struct lam_stream *stream) {
    stream->bundling = true;
}

void lam_cuda_bundle_end(struct lam_stream *stream) {
    stream->bundling = false;
    flush(stream);
}
