#include "cpu/simd_type.h"

#include "cpu/cpu_kernel.h"

enum lam_simd_type lam_cpu_simd_type(enum lam_dtype dtype) {
    if (dtype == LAM_F32) return LAM_SIMD_F32;
    bool hardware = lam_cpu_isa() == LAM_CPU_V4 && __builtin_cpu_supports("avx512bf16");
    return hardware ? LAM_SIMD_BF16_HW : LAM_SIMD_BF16;
}
