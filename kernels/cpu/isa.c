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

lam_status lam_cpu_isa_check(void) {
    enum lam_cpu_isa best = of_processor();
    const char *text = getenv("LAMINA_ISA");
    if (best == LAM_CPU_TOO_OLD)
        return lam_fail(LAM_ERR_UNSUPPORTED,
                        "this processor has no AVX2 and FMA (x86-64-v3), which Lamina needs");
    if (!text || !*text || strcmp(text, "v3") == 0) return LAM_OK;
    if (strcmp(text, "v4") != 0)
        return lam_fail(LAM_ERR_INVALID,
                        "LAMINA_ISA=%.40s: is neither v3 (AVX2) nor v4 (AVX-512); unset it for the best of "
                        "the processor",
                        text);
    if (best == LAM_CPU_V4) return LAM_OK;
    return lam_fail(LAM_ERR_INVALID, "LAMINA_ISA=v4: this processor has no AVX-512; unset it");
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

enum lam_layout lam_cpu_blocked_layout(void) {
    return lam_cpu_isa() == LAM_CPU_V4 ? LAM_C16 : LAM_C8;
}
