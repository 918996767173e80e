/* Plain loops that the compiler vectorises for each instruction set. */
#include "cpu/reduce_isa.h"

#include "cpu/cpu_kernel.h"

#include <string.h>

static void copy(float *to, const float *from, int64_t count) {
    if (to != from) memcpy(to, from, (size_t)count * sizeof *to);
}

static void add(float *restrict to, const float *restrict from, int64_t count) {
    for (int64_t i = 0; i < count; i++) to[i] += from[i];
}

const struct lam_reduce_kernels LAM_ISA_NAME(lam_reduce) = {copy, add};
