/* Vector loops behind channel_scale.c. */
#ifndef LAM_CPU_CHANNEL_SCALE_ISA_H
#define LAM_CPU_CHANNEL_SCALE_ISA_H

#include "cpu/simd_type.h"

/* x, dy, y: planes of pixels x block; s, ds: a value per channel, [samples][channels]. */
struct lam_channel_scale_slice {
    const void *x, *s, *dy; /* dy: backward only */
    void *y;                /* forward: the result; backward: dx, or NULL */
    void *ds;               /* backward; or NULL */
    int64_t samples, groups, channels, pixels;
    int block;
};
typedef void (*lam_channel_scale_fn)(const struct lam_channel_scale_slice *slice);

struct lam_channel_scale_kernels {
    lam_channel_scale_fn forward[LAM_SIMD_TYPES], backward[LAM_SIMD_TYPES];
};
extern const struct lam_channel_scale_kernels lam_channel_scale_v3, lam_channel_scale_v4;

#endif
