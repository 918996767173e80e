/* Vector loops behind resize.c. */
#ifndef LAM_CPU_RESIZE_ISA_H
#define LAM_CPU_RESIZE_ISA_H

#include <stdbool.h>

#include "cpu/simd_type.h"

/* What one result pixel is made of along one axis: `weight[t]` of source pixel `at[t]`, for t in
 * [begin[i], begin[i + 1]). Forward these are one or two input pixels, backward all output pixels that an
 * input pixel went to. */
struct lam_resize_axis {
    int from, to; /* sizes */
    int *begin, *at;
    float *weight;
    int taps, even_begin, even_end; /* results even_begin .. even_end - 1 have `taps` source pixels each */
    bool picks;                     /* every result is one source pixel as it is: at[i] */
};

struct lam_resize_slice {
    const void *from;
    void *to;
    int64_t planes;
    int block;
    const struct lam_resize_axis *axis; /* vertical, horizontal */
    float *line;                        /* room for a source row */
};
typedef void (*lam_resize_fn)(const struct lam_resize_slice *slice);

struct lam_resize_kernels {
    lam_resize_fn apply[LAM_SIMD_TYPES];
    lam_resize_fn pick[3][2]; /* both axes pick; [block 1, 8, 16], [elements of 2, 4 bytes] */
};
extern const struct lam_resize_kernels lam_resize_v3, lam_resize_v4;

#endif
