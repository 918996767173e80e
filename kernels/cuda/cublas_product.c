#include "cuda/cublas_product.h"

/* Scratch lets the algorithm split long sums; what cuBLAS's documentation advises for each generation. */
#define SCRATCH_OF_SM90  ((size_t)32 << 20)
#define SCRATCH_OF_OLDER ((size_t)4 << 20)

enum { BIAS_ALIGNMENT = 64 };

/* ---- making ---- */

static cudaDataType_t data_type(enum lam_dtype dtype) {
    return dtype == LAM_BF16 ? CUDA_R_16BF : CUDA_R_32F;
}

/* The bias's address is not known yet, but its alignment counts for the choice of the algorithm. */
static lam_status describe_bias(const struct lam_op *op, cublasLtMatmulDesc_t operation) {
    cublasLtEpilogue_t epilogue = CUBLASLT_EPILOGUE_BIAS;
    const void *anywhere = (const void *)(uintptr_t)BIAS_ALIGNMENT;
    LAM_TRY_BLAS(op, cublasLtMatmulDescSetAttribute, operation, CUBLASLT_MATMUL_DESC_EPILOGUE, &epilogue,
                 sizeof epilogue);
    LAM_TRY_BLAS(op, cublasLtMatmulDescSetAttribute, operation, CUBLASLT_MATMUL_DESC_BIAS_POINTER, &anywhere,
                 sizeof anywhere);
    return LAM_OK;
}

static lam_status describe_operation(const struct lam_op *op, const struct lam_cublas_spec *spec,
                                     cublasLtMatmulDesc_t *operation) {
    bool tf32 = spec->tf32 && spec->a.dtype == LAM_F32;
    cublasOperation_t a = spec->b.transposed ? CUBLAS_OP_T : CUBLAS_OP_N;
    cublasOperation_t b = spec->a.transposed ? CUBLAS_OP_T : CUBLAS_OP_N;
    LAM_TRY_BLAS(op, cublasLtMatmulDescCreate, operation,
                 tf32 ? CUBLAS_COMPUTE_32F_FAST_TF32 : CUBLAS_COMPUTE_32F, CUDA_R_32F);
    LAM_TRY_BLAS(op, cublasLtMatmulDescSetAttribute, *operation, CUBLASLT_MATMUL_DESC_TRANSA, &a, sizeof a);
    LAM_TRY_BLAS(op, cublasLtMatmulDescSetAttribute, *operation, CUBLASLT_MATMUL_DESC_TRANSB, &b, sizeof b);
    return spec->bias ? describe_bias(op, *operation) : LAM_OK;
}

static lam_status describe_matrix(const struct lam_op *op, const struct lam_cublas_matrix *matrix,
                                  cublasLtMatrixLayout_t *layout) {
    LAM_TRY_BLAS(op, cublasLtMatrixLayoutCreate, layout, data_type(matrix->dtype), (uint64_t)matrix->columns,
                 (uint64_t)matrix->rows, matrix->columns);
    return LAM_OK;
}

static lam_status set_preference(const struct lam_op *op, cublasLtMatmulPreference_t preference,
                                 cublasLtMatmulPreferenceAttributes_t attribute, const void *value,
                                 size_t bytes) {
    LAM_TRY_BLAS(op, cublasLtMatmulPreferenceSetAttribute, preference, attribute, value, bytes);
    return LAM_OK;
}

/* Partial sums are added up in f32 and in a fixed order, never in a bf16 output. */
static lam_status set_preferences(const struct lam_op *op, const struct lam_cublas_spec *spec,
                                  uint64_t scratch, cublasLtMatmulPreference_t p) {
    uint32_t reductions = CUBLASLT_REDUCTION_SCHEME_COMPUTE_TYPE;
    uint32_t a = (uint32_t)spec->b.alignment, b = (uint32_t)spec->a.alignment,
             d = (uint32_t)spec->d.alignment;
    LAM_TRY(set_preference(op, p, CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES, &scratch, sizeof scratch));
    LAM_TRY(
        set_preference(op, p, CUBLASLT_MATMUL_PREF_REDUCTION_SCHEME_MASK, &reductions, sizeof reductions));
    LAM_TRY(set_preference(op, p, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES, &a, sizeof a));
    LAM_TRY(set_preference(op, p, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_B_BYTES, &b, sizeof b));
    LAM_TRY(set_preference(op, p, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_C_BYTES, &d, sizeof d));
    return set_preference(op, p, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_D_BYTES, &d, sizeof d);
}

static lam_status take_first(const struct lam_op *op, cublasLtMatmulPreference_t preference,
                             struct lam_cublas_product *p) {
    cublasLtMatmulHeuristicResult_t result;
    int count = 0;
    cublasStatus_t status = cublasLtMatmulAlgoGetHeuristic(p->handle, p->operation, p->a, p->b, p->d, p->d,
                                                           preference, 1, &result, &count);
    if (status == CUBLAS_STATUS_NOT_SUPPORTED || (status == CUBLAS_STATUS_SUCCESS && count == 0))
        return lam_cuda_op_failed(LAM_ERR_UNSUPPORTED, op, "cuBLASLt", "there is no algorithm for it");
    if (status == CUBLAS_STATUS_SUCCESS) status = result.state;
    if (status != CUBLAS_STATUS_SUCCESS)
        return lam_cuda_op_failed(LAM_ERR_DEVICE, op, "asking cuBLASLt for an algorithm",
                                  cublasLtGetStatusString(status));
    p->algorithm = result.algo;
    p->scratch_bytes = result.workspaceSize;
    return LAM_OK;
}

static lam_status choose(struct lam_backend_device *device, const struct lam_op *op,
                         const struct lam_cublas_spec *spec, struct lam_cublas_product *p) {
    enum { SM90 = 90 };
    size_t scratch = lam_cuda_compute_capability(device) >= SM90 ? SCRATCH_OF_SM90 : SCRATCH_OF_OLDER;
    cublasLtMatmulPreference_t preference;
    LAM_TRY_BLAS(op, cublasLtMatmulPreferenceCreate, &preference);
    lam_status status = set_preferences(op, spec, scratch, preference);
    if (status == LAM_OK) status = take_first(op, preference, p);
    LAM_DESTROY_BLAS(cublasLtMatmulPreferenceDestroy, preference);
    return status;
}

lam_status lam_cublas_product_make(struct lam_backend_device *device, const struct lam_op *op,
                                   const struct lam_cublas_spec *spec, struct lam_cublas_product *product) {
    *product = (struct lam_cublas_product){.bias = spec->bias};
    LAM_TRY(lam_cuda_blas(device, &product->handle));
    LAM_TRY(describe_operation(op, spec, &product->operation));
    LAM_TRY(describe_matrix(op, &spec->b, &product->a));
    LAM_TRY(describe_matrix(op, &spec->a, &product->b));
    LAM_TRY(describe_matrix(op, &spec->d, &product->d));
    return choose(device, op, spec, product);
}

void lam_cublas_product_destroy(struct lam_cublas_product *product) {
    LAM_DESTROY_BLAS(cublasLtMatmulDescDestroy, product->operation);
    LAM_DESTROY_BLAS(cublasLtMatrixLayoutDestroy, product->a);
    LAM_DESTROY_BLAS(cublasLtMatrixLayoutDestroy, product->b);
    LAM_DESTROY_BLAS(cublasLtMatrixLayoutDestroy, product->d);
}

/* ---- running ---- */

cublasStatus_t lam_cublas_product_run(const struct lam_cublas_product *product, const void *a, const void *b,
                                      const void *bias, const void *c, void *d, void *scratch,
                                      cudaStream_t stream) {
    const float alpha = 1, beta = c ? 1 : 0;
    if (product->scratch_bytes == 0) scratch = NULL;
    if (product->bias) {
        cublasStatus_t status = cublasLtMatmulDescSetAttribute(
            product->operation, CUBLASLT_MATMUL_DESC_BIAS_POINTER, &bias, sizeof bias);
        if (status != CUBLAS_STATUS_SUCCESS) return status;
    }
    return cublasLtMatmul(product->handle, product->operation, &alpha, b, product->a, a, product->b, &beta,
                          c ? c : d, product->d, d, product->d, &product->algorithm, scratch,
                          product->scratch_bytes, stream);
}
