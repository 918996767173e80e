/* The numbers of the emulated cuBLASLt: products of matrices with float sums in a fixed order. */
#ifndef LAM_CUDA_EMULATOR_CUBLAS_MATH_H
#define LAM_CUDA_EMULATOR_CUBLAS_MATH_H

#include "cuda_emulator/cublas_objects.h"

namespace emulator::cublas {

/* D = alpha op(A) op(B) + beta C (+ bias); op(A) is m x k, op(B) is k x n. */
struct product {
    operation op;
    layout a, b, c, d;
    int64_t m, n, k;

    bool epilogue(cublasLtEpilogue_t which) const { return op.epilogue == (uint32_t)which; }
    /* Whether op.bias is an output. */
    bool gradient() const { return epilogue(CUBLASLT_EPILOGUE_BGRADA) || epilogue(CUBLASLT_EPILOGUE_BGRADB); }
    /* Elements of what op.bias points at. */
    int64_t bias_count() const {
        return epilogue(CUBLASLT_EPILOGUE_DEFAULT) ? 0 : epilogue(CUBLASLT_EPILOGUE_BGRADB) ? n : m;
    }
};

/* `run` terms of a sum are added up in one go, then the sums of such runs: algorithms differ in it. beta = 0: C is not
 * read. */
void multiply(const product &p, int64_t run, float alpha, const void *a, const void *b, float beta,
              const void *c, void *d);

} // namespace emulator::cublas

#endif
