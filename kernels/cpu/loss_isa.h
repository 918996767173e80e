/* Vector loops behind loss.c. */
#ifndef LAM_CPU_LOSS_ISA_H
#define LAM_CPU_LOSS_ISA_H

#include "device/op.h"

#include "cpu/simd_type.h"

/* Elementwise losses over `count` elements. `sum` returns the unscaled loss; `slope` writes its derivative times
 * loss.scale to dx, in the type of x. */
struct lam_loss_terms {
    const void *x;
    const float *target;   /* NULL: labels */
    const int32_t *labels; /* of each `classes` elements (op.h, FOCAL) */
    int64_t count, classes;
    struct lam_loss_attr loss;
    void *dx; /* slope only */
};
typedef double (*lam_loss_sum_fn)(const struct lam_loss_terms *terms);
typedef void (*lam_loss_slope_fn)(const struct lam_loss_terms *terms);

/* Rows of logits against the target distribution (1 - s) t + s / K, with t one-hot at `label`, or `target`
 * where that is not NULL. The sum returns the unscaled cross entropy of one row. */
struct lam_cross_entropy_row {
    const void *logits;
    const float *target;
    int64_t label, classes;
    float smoothing, scale;
    void *dlogits; /* slope only */
};

struct lam_loss_kernels {
    struct {
        lam_loss_sum_fn sum[LAM_SIMD_TYPES];
        lam_loss_slope_fn slope[LAM_SIMD_TYPES];
    } l1, mse, smooth_l1, charbonnier, bce, focal, quality_focal;
    double (*cross_entropy[LAM_SIMD_TYPES])(const struct lam_cross_entropy_row *row);
    void (*cross_entropy_slope[LAM_SIMD_TYPES])(const struct lam_cross_entropy_row *row);
};
extern const struct lam_loss_kernels lam_loss_v3, lam_loss_v4;

#endif
