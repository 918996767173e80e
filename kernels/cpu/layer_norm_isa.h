/* Vector loops behind layer_norm.c. */
#ifndef LAM_CPU_LAYER_NORM_ISA_H
#define LAM_CPU_LAYER_NORM_ISA_H

#include "cpu/simd_type.h"

struct lam_ln_slice {
    const void *x, *dy; /* rows x features */
    void *out;          /* y, or dx (NULL: not wanted) */
    int64_t rows, features;
    const float *gamma, *beta;
    float *mean, *inv_std; /* a value per row; the backward pass only reads them */
    float eps;
    float *dgamma_sum, *dbeta_sum; /* features each, added to */
};

typedef void (*lam_ln_fn)(const struct lam_ln_slice *slice);

struct lam_ln_kernels {
    lam_ln_fn forward[LAM_SIMD_TYPES], backward[LAM_SIMD_TYPES];
};
extern const struct lam_ln_kernels lam_ln_v3, lam_ln_v4;

#endif
