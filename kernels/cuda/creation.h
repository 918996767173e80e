/* What create functions share: making a kernel, and refusing an op. */
#ifndef LAM_CUDA_CREATION_H
#define LAM_CUDA_CREATION_H

#include "cuda/cuda_kernel.h"

#ifdef __cplusplus
extern "C" {
#endif

/* A zeroed kernel of `bytes` whose op is `op` and whose destroy is free(). */
lam_status lam_cuda_kernel_new(size_t bytes, const struct lam_op *op, struct lam_kernel **kernel);

/* LAM_ERR_UNSUPPORTED with the op's name, its first shape and `why`. */
lam_status lam_cuda_unsupported(const struct lam_op *op, const char *why);

#ifdef __cplusplus
}
#endif

#endif
