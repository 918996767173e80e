/* Vector loops behind dropout.c. */
#ifndef LAM_CPU_DROPOUT_ISA_H
#define LAM_CPU_DROPOUT_ISA_H

#include "base/rng.h"
#include "cpu/simd_type.h"

/* out[e] = x[e] * scale where the sample's random word e is at least `threshold`, else 0. `stream` is the
 * sample's stream, from its start; threshold may be 2^32 (nothing is kept). */
typedef void (*lam_dropout_fn)(const void *x, void *out, int64_t count, const struct lam_rng *stream,
                               uint64_t threshold, float scale);

struct lam_dropout_kernels {
    lam_dropout_fn apply[LAM_SIMD_TYPES];
};
extern const struct lam_dropout_kernels lam_dropout_v3, lam_dropout_v4;

#endif
