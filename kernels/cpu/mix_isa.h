/* Vector loops behind mix.c. */
#ifndef LAM_CPU_MIX_ISA_H
#define LAM_CPU_MIX_ISA_H

#include "cpu/simd_type.h"

struct lam_mix_kernels {
    /* y = s a + (2 - s) b */
    void (*forward[LAM_SIMD_TYPES])(const void *a, const void *b, void *y, int64_t count, float s);
    /* da = s dy and db = (2 - s) dy, where they are not NULL; returns sum dy (a - b). */
    float (*backward[LAM_SIMD_TYPES])(const void *dy, const void *a, const void *b, void *da, void *db,
                                      int64_t count, float s);
};
extern const struct lam_mix_kernels lam_mix_v3, lam_mix_v4;

#endif
