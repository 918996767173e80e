/* Vector loops behind pool.c. */
#ifndef LAM_CPU_POOL_ISA_H
#define LAM_CPU_POOL_ISA_H

#include "cpu/simd_type.h"

/* Global average: planes of pixels x block, and one value per channel, [samples][channels]. */
struct lam_global_pool_slice {
    const void *in;
    void *out;
    int64_t samples, groups, channels, pixels;
    int block;
};
typedef void (*lam_global_pool_fn)(const struct lam_global_pool_slice *slice);

/* Windows: `planes` planes of in_size[0] x in_size[1] pixels (what a window slides over) and of out_size (the
 * window's positions). Forward reads `in` and writes `out`; backward reads `out`'s gradient and writes
 * `in`'s. */
struct lam_pool_slice {
    const void *from;
    void *to;
    /* Gradient of the maximum: what forward read, and a scratch of a plane of out_size for where the maxima are. */
    const void *image;
    int32_t *places;
    int64_t planes; /* of all samples */
    int in_size[2], out_size[2], kernel[2], stride[2], pad[2];
    int block;
};
typedef void (*lam_pool_fn)(const struct lam_pool_slice *slice);

struct lam_pool_kernels {
    lam_global_pool_fn global[LAM_SIMD_TYPES], global_bwd[LAM_SIMD_TYPES];
    lam_pool_fn max[LAM_SIMD_TYPES], max_bwd[LAM_SIMD_TYPES];
    lam_pool_fn avg[LAM_SIMD_TYPES], avg_bwd[LAM_SIMD_TYPES];
};
extern const struct lam_pool_kernels lam_pool_v3, lam_pool_v4;

#endif
