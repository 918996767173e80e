/* Vector loops behind update.c. */
#ifndef LAM_CPU_UPDATE_ISA_H
#define LAM_CPU_UPDATE_ISA_H

#include "device/backend.h"

/* What AdamW's formula needs beside its arguments, computed once a call in double precision. */
struct lam_adamw_scalars {
    float decay;       /* decoupled: parameters are multiplied by it */
    float l2;          /* not decoupled: added to the gradient, times the parameter */
    float step_size;   /* learning rate / (1 - beta1^t) */
    float root_factor; /* 1 / sqrt(1 - beta2^t) */
};

struct lam_update_kernels {
    void (*sgd)(const struct lam_sgd_args *args, int64_t begin, int64_t end);
    void (*adamw)(const struct lam_adamw_args *args, const struct lam_adamw_scalars *scalars, int64_t begin,
                  int64_t end);
    void (*ema)(float *average, const float *value, float decay, int64_t begin, int64_t end);
    void (*accumulate)(float *sum, const float *value, float weight, bool first, int64_t begin, int64_t end);
    double (*sum_squares)(const float *value, int64_t begin, int64_t end);
};
extern const struct lam_update_kernels lam_update_v3, lam_update_v4;

#endif
