#include "cuda/libraries.h"

#include <stdio.h>
#include <stdlib.h>

struct lam_cuda_libraries {
    cudnnHandle_t dnn;     /* NULL until it is asked for */
    cublasLtHandle_t blas; /* the same */
};

static struct lam_cuda_libraries *libraries_of(struct lam_backend_device *device) {
    struct lam_cuda_libraries **slot = lam_cuda_libraries_slot(device);
    if (!*slot) *slot = calloc(1, sizeof **slot);
    return *slot;
}

void lam_cuda_libraries_close(struct lam_cuda_libraries *libraries) {
    if (!libraries) return;
    LAM_DESTROY_DNN(cudnnDestroy, libraries->dnn);
    LAM_DESTROY_BLAS(cublasLtDestroy, libraries->blas);
    free(libraries);
}

/* cuDNN's major version is that of its interface: with another one than this was compiled for, nothing can be trusted. */
static lam_status check_version(void) {
    size_t version = cudnnGetVersion();
    if (version / 10000 != CUDNN_MAJOR)
        return lam_fail(LAM_ERR_DEVICE, "cuDNN %zu.%zu is installed, but version %d is needed",
                        version / 10000, version / 100 % 100, CUDNN_MAJOR);
    return LAM_OK;
}

lam_status lam_cuda_dnn(struct lam_backend_device *device, cudnnHandle_t *handle) {
    struct lam_cuda_libraries *libraries = libraries_of(device);
    if (!libraries) return lam_no_memory();
    if (!libraries->dnn) {
        LAM_TRY(check_version());
        cudnnStatus_t status = cudnnCreate(&libraries->dnn);
        if (status != CUDNN_STATUS_SUCCESS) {
            libraries->dnn = NULL;
            return lam_fail(LAM_ERR_DEVICE, "cudnnCreate: %s", cudnnGetErrorString(status));
        }
    }
    *handle = libraries->dnn;
    return LAM_OK;
}

lam_status lam_cuda_blas(struct lam_backend_device *device, cublasLtHandle_t *handle) {
    struct lam_cuda_libraries *libraries = libraries_of(device);
    if (!libraries) return lam_no_memory();
    if (!libraries->blas) {
        cublasStatus_t status = cublasLtCreate(&libraries->blas);
        if (status != CUBLAS_STATUS_SUCCESS) {
            libraries->blas = NULL;
            return lam_fail(LAM_ERR_DEVICE, "cublasLtCreate: %s", cublasLtGetStatusString(status));
        }
    }
    *handle = libraries->blas;
    return LAM_OK;
}

lam_status lam_cuda_op_failed(lam_status status, const struct lam_op *op, const char *what,
                              const char *says) {
    char in[96], with[96] = "", out[96];
    bool two = op->inputs > 1 && op->in[1].present;
    if (two) lam_shape_text(op->in[1].desc.shape, with, sizeof with);
    return lam_fail(status, "%s of %s%s%s to %s: %s: %s", lam_op_name(op->kind),
                    lam_shape_text(op->in[0].desc.shape, in, sizeof in), two ? ", " : "", with,
                    lam_shape_text(op->out[0].desc.shape, out, sizeof out), what, says);
}
