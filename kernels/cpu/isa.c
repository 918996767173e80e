/* Which instruction set level the *_isa.c kernels run at. */
#include "cpu/cpu_kernel.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

static enum lam_cpu_isa of_processor(void) {
    __builtin_cpu_init();
    bool v3 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") &&
              __builtin_cpu_supports("bmi") && __builtin_cpu_supports("bmi2");
    bool v4 = v3 && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
              __builtin_cpu_supports("avx512cd") && __builtin_cpu_supports("avx512dq") &&
              __builtin_cpu_supports("avx512vl");
    return v4 ? LAM_CPU_V4 : v3 ? LAM_CPU_V3 : LAM_CPU_TOO_OLD;
}

static enum lam_cpu_isa find(void) {
    enum lam_cpu_isa best = of_processor(), asked = best;
    const char *text = getenv("LAMINA_ISA");
    if (text && strcmp(text, "v3") == 0) asked = LAM_CPU_V3;
    return asked < best ? asked : best;
}

enum lam_cpu_isa lam_cpu_isa(void) {
    static _Atomic int known = -1;
    int isa = atomic_load_explicit(&known, memory_order_relaxed);
    if (isa < 0) {
        isa = (int)find();
        atomic_store_explicit(&known, isa, memory_order_relaxed);
    }
    return (enum lam_cpu_isa)isa;
}
