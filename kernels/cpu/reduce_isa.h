/* Sums of partials, per instruction set. */
#ifndef LAM_CPU_REDUCE_ISA_H
#define LAM_CPU_REDUCE_ISA_H

#include <stdint.h>

struct lam_reduce_kernels {
    /* to[i] = from[i], and to[i] += from[i], for i in [0, count). `to` may be `from` in copy. */
    void (*copy)(float *to, const float *from, int64_t count);
    void (*add)(float *to, const float *from, int64_t count);
};
extern const struct lam_reduce_kernels lam_reduce_v3, lam_reduce_v4;

#endif
