/* Vector loops behind resize.c. */
#ifndef LAM_CPU_RESIZE_ISA_H
#define LAM_CPU_RESIZE_ISA_H

#include "cpu/simd_type.h"

/* What one result pixel is made of along one axis: `weight[t]` of source pixel `at[t]`, for t in
 * [begin[i], begin[i + 1]). Forward these are one or two input pixels, backward all output pixels that an
 * input pixel went to. */
struct lam_resize_axis {
    int from, to; /* sizes */
    int *begin, *at;
    float *weight;
};

struct lam_resize_slice {
    const void *from;
    void *to;
    int64_t planes;
    int block;
    const struct lam_resize_axis *axis; /* vertical, horizontal */
};
typedef void (*lam_resize_fn)(const struct lam_resize_slice *slice);

struct lam_resize_kernels {
    lam_resize_fn apply[LAM_SIMD_TYPES];
};
extern const struct lam_resize_kernels lam_resize_v3, lam_resize_v4;

#endif
