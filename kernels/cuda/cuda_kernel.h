/* Inside kernels/cuda: how a CUDA kernel is put together.
 *
 * Each op kind has a create function in the file of its subject, listed once in ops_table.c:
 *
 *     lam_status lam_cuda_relu_create(struct lam_backend_device *device, const struct lam_op *op,
 *                                     const struct lam_kernel_options *options, struct lam_kernel **kernel,
 *                                     const char **chosen);
 *
 * It allocates a struct whose first member is struct lam_kernel, copies the op, fills in byte counts and functions; the
 * backend sets `backend`. A GPU has one lane, so partial_count is 1 and `parts` is 1 wherever they are passed.
 *
 * run(), prepare() and reduce() put work on args->stream and return at once; they allocate nothing and call nothing that
 * waits. What a call to CUDA returns goes through lam_cuda_check, so that stream_sync can tell.
 *
 * Files named *.cu hold device code and the C++ that launches it (launch.cuh, device_code.cuh); files named *.c talk to
 * cuDNN and cuBLASLt, or to nothing but the CUDA runtime. Both are built by nvcc and the C compiler for real GPUs, and by
 * the host compilers for the emulator in tests/cuda_emulator.
 *
 * Determinism. The same run gives the same bits: no floating-point atomics, sums are folded in a fixed order, and
 * library algorithms that are not deterministic are not taken.
 */
#ifndef LAM_CUDA_KERNEL_H
#define LAM_CUDA_KERNEL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <cuda_runtime_api.h>

#ifdef __cplusplus
extern "C" {
#endif

#include "cuda/bundle.h"
#include "device/backend.h"

typedef lam_status (*lam_cuda_create_fn)(struct lam_backend_device *device, const struct lam_op *op,
                                         const struct lam_kernel_options *options, struct lam_kernel **kernel,
                                         const char **chosen);

/* ops_table.c; NULL for an op that the backend does not have. */
lam_cuda_create_fn lam_cuda_create_for(enum lam_op_kind kind);
/* The choices that LAM_KERNEL_MEASURE tries are the create function's own business (measure.h). */

/* ---- streams (cuda_backend.c) ---- */

struct lam_stream {
    struct lam_backend_device *device;
    cudaStream_t stream;
    lam_status status;  /* of the first failure since the last sync */
    const char *failed; /* what failed then; a static string */
    char says[96];      /* what CUDA, cuDNN or cuBLASLt say of it */
    struct lam_run
        *run; /* device memory: seed and step of the run that is under way, for kernels in captured graphs */
    struct lam_cuda_bundle bundle; /* copies and sums that are not yet on the stream; none unless bundling */
    bool bundling;
};

/* Remembers the first failure on a stream; `what` is a static string ("conv_bwd_data"). stream_sync reports it. */
void lam_cuda_check(struct lam_stream *stream, cudaError_t error, const char *what);
/* The same for another failure; `says` is the text of whoever failed. */
void lam_cuda_failed(struct lam_stream *stream, lam_status status, const char *what, const char *says);

/* ---- devices (cuda_backend.c) ---- */

int lam_cuda_ordinal(const struct lam_backend_device *device);
int lam_cuda_multiprocessors(const struct lam_backend_device *device);
size_t
lam_cuda_shared_bytes(const struct lam_backend_device *device); /* most dynamic shared memory of a block */
int lam_cuda_compute_capability(const struct lam_backend_device *device); /* 75, 80, 90, ... */

/* ---- tensors ---- */

/* A rank-4 value [N,C,H,W] in PLAIN or NHWC layout: element (n, c, h, w) is at n sn + c sc + h sh + w sw. Values of other
 * ranks are row-major. */
struct lam_cuda_view {
    int c, h, w;
    int64_t sn, sc, sh, sw;
};

static inline struct lam_cuda_view lam_cuda_view_of(const struct lam_tensor_desc *desc) {
    const int64_t *d = desc->shape.dim;
    struct lam_cuda_view v;
    v.c = (int)d[1];
    v.h = (int)d[2];
    v.w = (int)d[3];
    v.sn = d[1] * d[2] * d[3];
    bool last = desc->layout == LAM_NHWC;
    v.sc = last ? 1 : d[2] * d[3];
    v.sh = last ? d[3] * d[1] : d[3];
    v.sw = last ? d[1] : 1;
    return v;
}

/* Elements of one sample. */
static inline int64_t lam_cuda_sample(const struct lam_tensor_desc *desc) {
    int64_t count = 1;
    for (int i = 1; i < desc->shape.rank; i++) count *= desc->shape.dim[i];
    return count;
}

/* There is one slice, the batch. */
static inline bool lam_cuda_is_whole(const struct lam_op *op, const struct lam_kernel_options *options) {
    return op->in[0].batched && options->slice_count == 1 &&
           options->slices[0] == op->in[0].desc.shape.dim[0];
}

/* reduce() of partials that have the outputs' own format one behind the other: outputs in the order of the op, absent
 * ones left out. With one output only, the kernel can say partial_is_output. */
void lam_cuda_reduce_copy(const struct lam_kernel *kernel, void *const *partials, int partial_count,
                          void *const *out, int part, int parts, struct lam_stream *stream);

#ifdef __cplusplus
}
#endif

#endif
