/* Chooses among the ways in which a kernel can do its op by timing them.
 *
 *     const char *const ways[] = {"implicit_gemm", "winograd", NULL};
 *     lam_cuda_measure(device, create, ways, op, options, &kernel, &chosen);
 *
 * Timed is all that run() does: a library's call and what stands around it, the bias, the addend, another layout. So a way
 * that leaves the bias to a pass behind it is charged for that pass. As in a step, runs are recorded, whether or not the steps
 * to come are: one choice holds for both. Unlike there, a kernel works on the same operands time and again, and these are
 * zeros.
 */
#ifndef LAM_CUDA_MEASURE_H
#define LAM_CUDA_MEASURE_H

#include "cuda/cuda_kernel.h"

#ifdef __cplusplus
extern "C" {
#endif

/* `create` is called with options->choice set to each of `choices` (NULL at the end, eight at most); what it refuses as
 * LAM_ERR_UNSUPPORTED is no candidate, any other failure of it is returned. *kernel is the fastest of the candidates with the
 * largest slice, *chosen its name; a single one is taken as it is. A candidate that fails when it runs is left out with a
 * warning, as long as the device goes on; if all fail, the last failure is returned. Without any candidate, it is whatever
 * `create` makes, or says, of no choice. Takes device memory for one kernel's operands while it lasts, past the pools;
 * LAM_ERR_NO_MEMORY if there is too little for any of the candidates. */
lam_status lam_cuda_measure(struct lam_backend_device *device, lam_cuda_create_fn create,
                            const char *const *choices, const struct lam_op *op,
                            const struct lam_kernel_options *options, struct lam_kernel **kernel,
                            const char **chosen);

#ifdef __cplusplus
}
#endif

#endif
