/* Division by numbers that are known when a kernel is launched: a multiplication and a shift (Granlund and Montgomery 1994). */
#ifndef LAM_CUDA_DIVISOR_CUH
#define LAM_CUDA_DIVISOR_CUH

#include "cuda/device_code.cuh"

struct divisor {
    uint32_t value, multiplier, shift;
};

/* value: 1 .. 2^31 - 1 */
static inline struct divisor divisor_of(int64_t value) {
    uint64_t v = (uint64_t)value;
    uint32_t shift = 0;
    while (((uint64_t)1 << shift) < v) shift++;
    uint64_t multiplier = ((((uint64_t)1 << shift) - v) << 32) / v + 1;
    return {(uint32_t)v, (uint32_t)multiplier, shift};
}

/* i: 0 .. 2^31 - 1 */
__device__ inline uint32_t divide(uint32_t i, struct divisor by) {
    return (__umulhi(i, by.multiplier) + i) >> by.shift;
}

/* i: not negative */
__device__ inline int64_t divide_long(int64_t i, struct divisor by) {
    return i <= INT32_MAX ? (int64_t)divide((uint32_t)i, by) : i / by.value;
}

#endif
