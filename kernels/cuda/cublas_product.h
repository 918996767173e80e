/* Matrix products by cuBLASLt: D = A B, with a bias for each row, with a matrix C that is added, which may be D itself; sums
 * are in f32.
 *
 * Matrices are row-major here, as everywhere in Lamina: cuBLAS, whose matrices are column-major, is told the transposed
 * product.
 */
#ifndef LAM_CUDA_CUBLAS_PRODUCT_H
#define LAM_CUDA_CUBLAS_PRODUCT_H

#include "cuda/libraries.h"

struct lam_cublas_matrix {
    int64_t rows, columns; /* as it lies in memory, f32 or bf16, without gaps */
    enum lam_dtype dtype;
    size_t alignment; /* its address is a multiple of it; a power of two */
    bool transposed;  /* the factor is its transpose */
};

struct lam_cublas_spec {
    struct lam_cublas_matrix a, b, d;
    bool bias; /* of D's columns and type; it is aligned to 64 bytes */
    bool tf32; /* f32 factors may be rounded to TF32 */
};

struct lam_cublas_product {
    cublasLtHandle_t handle;
    cublasLtMatmulDesc_t operation; /* what follows is in cuBLAS's view: its A is our B */
    cublasLtMatrixLayout_t a, b, d;
    cublasLtMatmulAlgo_t algorithm;
    size_t scratch_bytes;
    bool bias;
};

/* `op` is for the texts of errors; LAM_ERR_UNSUPPORTED if cuBLASLt cannot do it. A product that was made in part, or is zero,
 * can be destroyed. */
lam_status lam_cublas_product_make(struct lam_backend_device *device, const struct lam_op *op,
                                   const struct lam_cublas_spec *spec, struct lam_cublas_product *product);
void lam_cublas_product_destroy(struct lam_cublas_product *product);

/* `bias` is NULL for products without one. `c`: as d, and aligned as it; d itself or apart from it; NULL for none. */
cublasStatus_t lam_cublas_product_run(const struct lam_cublas_product *product, const void *a, const void *b,
                                      const void *bias, const void *c, void *d, void *scratch,
                                      cudaStream_t stream);

#endif
