/* Chooses among the ways in which a kernel can do its op by timing them.
 *
 *     const char *const ways[] = {"implicit_gemm", "winograd", NULL};
 *     lam_cuda_measure(device, create, ways, op, options, &kernel, &chosen);
 *
 * Timed is all that run() does: a library's call and what stands around it, the bias, the addend, another layout, sums over
 * slices. So a way that leaves the bias to a pass behind it is charged for that pass.
 */
#ifndef LAM_CUDA_MEASURE_H
#define LAM_CUDA_MEASURE_H

#include "cuda/cuda_kernel.h"

#ifdef __cplusplus
extern "C" {
#endif

/* `create` is called with options->choice set to each of `choices` (NULL at the end). Those that it, or the library when
 * it runs them, refuses as LAM_ERR_UNSUPPORTED are left out; any other failure is returned. *kernel is the fastest with the
 * largest slice, *chosen its name. If all are refused, it is whatever `create` makes of no choice. */
lam_status lam_cuda_measure(struct lam_backend_device *device, lam_cuda_create_fn create,
                            const char *const *choices, const struct lam_op *op,
                            const struct lam_kernel_options *options, struct lam_kernel **kernel,
                            const char **chosen);

#ifdef __cplusplus
}
#endif

#endif
