/* Vector loops behind batch_norm.c. */
#ifndef LAM_CPU_BATCH_NORM_ISA_H
#define LAM_CPU_BATCH_NORM_ISA_H

#include "cpu/simd_type.h"

/* A slice: samples x groups x pixels x block; PLAIN has block 1 and a group for each channel. */
struct lam_bn_slice {
    const void *x, *dy, *skip; /* dy: gradients; skip: application, NULL for none */
    void *out;
    int64_t samples, pixels, groups, channels;
    int block;
    const float *mean, *inv_std, *gamma, *beta, *dgamma, *dbeta; /* inv_std: a variance if use_variance */
    float eps, inverse_count;
    bool relu, use_variance;
    /* Partials, groups x block channels. Statistics: mean and sum of squared deviations of the `count` values
     * that each channel has had so far. Gradients: sums. All are added to. */
    double *mean_so_far, *squares_so_far, count;
    double *dgamma_sum, *dbeta_sum;
};

typedef void (*lam_bn_fn)(const struct lam_bn_slice *slice);

struct lam_bn_kernels {
    lam_bn_fn stats[LAM_SIMD_TYPES], apply[LAM_SIMD_TYPES];
    lam_bn_fn bwd_stats[LAM_SIMD_TYPES], bwd_apply[LAM_SIMD_TYPES];
};
extern const struct lam_bn_kernels lam_bn_v3, lam_bn_v4;

#endif
