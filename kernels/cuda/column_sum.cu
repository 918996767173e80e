/* Sums of the columns of a matrix. */
#include "cuda/column_sum.cuh"

#include "cuda/feature_helpers.h"

template <typename T> struct matrix_sums {
    enum { TERMS = 1 };
    const T *x;
    int64_t columns;
};

struct no_constants {};

template <int N, typename T>
__device__ struct no_constants constants_of(const struct matrix_sums<T> &, int64_t, int) {
    return {};
}

template <int N, typename T>
__device__ void add_terms(const struct matrix_sums<T> &m, const struct no_constants &, int64_t, int64_t row,
                          int c, float (&sums)[1][N]) {
    float x[N];
    load_vector(m.x + row * m.columns + c, x);
    for (int k = 0; k < N; k++) sums[0][k] += x[k];
}

size_t lam_cuda_column_sums_workspace(const struct lam_backend_device *device, int64_t rows,
                                      int64_t columns) {
    return sum_bytes(device, 1, rows, columns, 1);
}

/* Returns the number of parts. */
static int64_t sum_parts(const void *x, enum lam_dtype dtype, int64_t rows, int64_t columns, float *parts,
                         struct lam_stream *stream) {
    int64_t count = 0;
    with_float_type(dtype, [&](auto *type) {
        using T = std::remove_pointer_t<decltype(type)>;
        const struct matrix_sums<T> sum = { static_cast<const T *>(x), columns };
        const struct sum_shape shape = {1, 1, rows, columns, true, columns % VECTOR<T> == 0 && aligned({x})};
        count = sum_columns<T>(stream, "column_sums", sum, shape, parts);
    });
    return count;
}

void lam_cuda_column_sums(const void *x, enum lam_dtype dtype, int64_t rows, int64_t columns, float *sums,
                          bool accumulate, void *workspace, struct lam_stream *stream) {
    float *parts = static_cast<float *>(workspace);
    const int64_t count = sum_parts(x, dtype, rows, columns, parts, stream);
    fold_blocks(stream, "column_sums", parts, 1, count, columns, 1.0f, accumulate, sums);
}

void lam_cuda_column_total_init(struct lam_cuda_column_total *total, const struct lam_backend_device *device,
                                bool whole, enum lam_dtype dtype, int64_t rows, int64_t columns) {
    const size_t parts_bytes = sum_bytes(device, 1, rows, columns, 1);
    total->dtype = dtype;
    total->columns = columns;
    total->whole = whole;
    total->parts = whole ? sum_chunks(device, 1, rows, columns) : 1;
    total->partial_bytes = whole ? parts_bytes : (size_t)columns * sizeof(float);
    total->workspace_bytes = whole ? 0 : parts_bytes;
}

void lam_cuda_column_total_run(const struct lam_cuda_column_total *total, const void *x, int64_t rows,
                               float *partial, bool accumulate, void *workspace, struct lam_stream *stream) {
    if (!total->whole)
        lam_cuda_column_sums(x, total->dtype, rows, total->columns, partial, accumulate, workspace, stream);
    else if (sum_parts(x, total->dtype, rows, total->columns, partial, stream) != total->parts)
        lam_cuda_failed(stream, LAM_ERR_INTERNAL, "column_sums", "other parts than there is room for");
}

void lam_cuda_column_total_reduce(const struct lam_cuda_column_total *total, const float *partial,
                                  float *sums, struct lam_stream *stream) {
    lam_cuda_fold(stream, partial, total->parts, total->columns, sums, total->columns);
}
