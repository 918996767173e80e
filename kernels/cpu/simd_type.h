/* How the vector kernels are told the element type of their batched operands (simd.h). Kernels come as arrays
 * indexed by it. */
#ifndef LAM_CPU_SIMD_TYPE_H
#define LAM_CPU_SIMD_TYPE_H

#include <stdint.h>

#include "base/tensor.h"

enum lam_simd_type { LAM_SIMD_F32, LAM_SIMD_BF16, LAM_SIMD_BF16_HW, LAM_SIMD_TYPES };

/* For f32 and bf16; BF16_HW where this processor has it and LAMINA_ISA does not hide it. */
enum lam_simd_type lam_cpu_simd_type(enum lam_dtype dtype);

#endif
