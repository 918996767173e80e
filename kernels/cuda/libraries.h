/* The handles of cuDNN and cuBLASLt: one of each for a device, made when it is first asked for. And what a create function
 * says when one of them refuses. */
#ifndef LAM_CUDA_LIBRARIES_H
#define LAM_CUDA_LIBRARIES_H

#include <cublasLt.h>
#include <cudnn.h>

#include "base/log.h"
#include "cuda/cuda_kernel.h"

#ifdef __cplusplus
extern "C" {
#endif

extern const struct lam_backend lam_backend_cuda;

struct lam_cuda_libraries;
/* Where a device keeps them (cuda_backend.c). */
struct lam_cuda_libraries **lam_cuda_libraries_slot(struct lam_backend_device *device);
/* NULL is allowed. */
void lam_cuda_libraries_close(struct lam_cuda_libraries *libraries);

/* The device must be the calling thread's current one. */
lam_status lam_cuda_dnn(struct lam_backend_device *device, cudnnHandle_t *handle);
lam_status lam_cuda_blas(struct lam_backend_device *device, cublasLtHandle_t *handle);

/* Fails with the op's name and shapes: "conv of [8, 3, 32, 32], [16, 3, 3, 3] to [8, 16, 32, 32]: `what`: `says`". */
lam_status lam_cuda_op_failed(lam_status status, const struct lam_op *op, const char *what, const char *says);

/* In create functions: calls a function of the library, and returns LAM_ERR_DEVICE if it fails. */
#define LAM_TRY_DNN(op, function, ...)                                                                       \
    do {                                                                                                     \
        cudnnStatus_t lam_try_dnn_ = function(__VA_ARGS__);                                                  \
        if (lam_try_dnn_ != CUDNN_STATUS_SUCCESS)                                                            \
            return lam_cuda_op_failed(LAM_ERR_DEVICE, op, #function, cudnnGetErrorString(lam_try_dnn_));     \
    } while (0)

#define LAM_TRY_BLAS(op, function, ...)                                                                      \
    do {                                                                                                     \
        cublasStatus_t lam_try_blas_ = function(__VA_ARGS__);                                                \
        if (lam_try_blas_ != CUBLAS_STATUS_SUCCESS)                                                          \
            return lam_cuda_op_failed(LAM_ERR_DEVICE, op, #function,                                         \
                                      cublasLtGetStatusString(lam_try_blas_));                               \
    } while (0)

/* Destroys an object of the library unless it is NULL. A failure is worth a warning, and nothing more. */
#define LAM_DESTROY_DNN(function, object)                                                                    \
    do {                                                                                                     \
        cudnnStatus_t lam_destroy_dnn_ = (object) ? function(object) : CUDNN_STATUS_SUCCESS;                 \
        if (lam_destroy_dnn_ != CUDNN_STATUS_SUCCESS)                                                        \
            lam_log(LAM_LOG_WARNING, "%s: %s", #function, cudnnGetErrorString(lam_destroy_dnn_));            \
    } while (0)

#define LAM_DESTROY_BLAS(function, object)                                                                   \
    do {                                                                                                     \
        cublasStatus_t lam_destroy_blas_ = (object) ? function(object) : CUBLAS_STATUS_SUCCESS;              \
        if (lam_destroy_blas_ != CUBLAS_STATUS_SUCCESS)                                                      \
            lam_log(LAM_LOG_WARNING, "%s: %s", #function, cublasLtGetStatusString(lam_destroy_blas_));       \
    } while (0)

#ifdef __cplusplus
}
#endif

#endif
