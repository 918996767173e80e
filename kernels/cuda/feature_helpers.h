/* Small operations on feature maps that more than one op needs: sums over rows, a bias, changes of layout.
 *
 * Matrices are row-major [rows][columns]; a feature map in NHWC is one, with rows = N H W and columns = C. dtype is f32 or
 * bf16, sums are in f32. Everything is put on the stream; errors are remembered there.
 */
#ifndef LAM_CUDA_FEATURE_HELPERS_H
#define LAM_CUDA_FEATURE_HELPERS_H

#include "cuda/cuda_kernel.h"

#ifdef __cplusplus
extern "C" {
#endif

/* sums[c] = the sum of x[r][c] over the rows, added to what is there if `accumulate`. The same bits in every run.
 * `workspace`: lam_cuda_column_sums_workspace bytes or more (of the largest `rows`), undefined before and after. */
void lam_cuda_column_sums(const void *x, enum lam_dtype dtype, int64_t rows, int64_t columns, float *sums,
                          bool accumulate, void *workspace, struct lam_stream *stream);
/* Grows with `rows`: that of the largest slice is enough for all. */
size_t lam_cuda_column_sums_workspace(const struct lam_backend_device *device, int64_t rows, int64_t columns);

/* The same as a reduction of a kernel, the gradient of a bias: the sums, or those over parts of the rows where there is only one
 * slice and reduce() can add them (bundle.h). `rows`: of the largest slice. */
struct lam_cuda_column_total {
    enum lam_dtype dtype;
    int64_t columns;
    int64_t parts; /* in the partial */
    bool whole;    /* the partial is of the only slice, and is never added to */
    size_t partial_bytes, workspace_bytes;
};
void lam_cuda_column_total_init(struct lam_cuda_column_total *total, const struct lam_backend_device *device,
                                bool whole, enum lam_dtype dtype, int64_t rows, int64_t columns);
void lam_cuda_column_total_run(const struct lam_cuda_column_total *total, const void *x, int64_t rows,
                               float *partial, bool accumulate, void *workspace, struct lam_stream *stream);
void lam_cuda_column_total_reduce(const struct lam_cuda_column_total *total, const float *partial,
                                  float *sums, struct lam_stream *stream);

/* y[r][c] += bias[c] + z[r][c], each of which may be NULL, then max(y, 0) if `relu`. z is of y's type. */
void lam_cuda_add_bias(void *y, enum lam_dtype dtype, const float *bias, const void *z, int64_t rows,
                       int64_t columns, bool relu, struct lam_stream *stream);

/* y [count][h][w][c] = x [count][c][h][w], and back. Not in place. */
void lam_cuda_to_nhwc(const void *x, void *y, enum lam_dtype dtype, int count, int c, int h, int w,
                      struct lam_stream *stream);
void lam_cuda_to_nchw(const void *x, void *y, enum lam_dtype dtype, int count, int c, int h, int w,
                      struct lam_stream *stream);

#ifdef __cplusplus
}
#endif

#endif
