/* Philox4x32-10 on the device, with the streams of lib/base/rng.h. */
#ifndef LAM_CUDA_PHILOX_CUH
#define LAM_CUDA_PHILOX_CUH

#include "cuda/device_code.cuh"

/* lam_philox() of rng.c. */
__device__ inline uint4 philox(uint2 key, uint4 c) {
    for (int round = 0; round < 10; round++) {
        uint32_t high0 = __umulhi(0xD2511F53u, c.x), low0 = 0xD2511F53u * c.x;
        uint32_t high1 = __umulhi(0xCD9E8D57u, c.z), low1 = 0xCD9E8D57u * c.z;
        c = uint4{high1 ^ c.y ^ key.x, low1, high0 ^ c.w ^ key.y, low0};
        key.x += 0x9E3779B9u;
        key.y += 0xBB67AE85u;
    }
    return c;
}

__device__ inline uint64_t philox_mix(uint64_t x) {
    x ^= x >> 30;
    x *= 0xBF58476D1CE4E5B9u;
    x ^= x >> 27;
    x *= 0x94D049BB133111EBu;
    return x ^ (x >> 31);
}

/* The key that lam_rng_make(seed, purpose, a, b) has for every b; b is words 2 and 3 of the counter. */
__device__ inline uint2 philox_key(uint64_t seed, int purpose, uint64_t a) {
    uint64_t key = philox_mix(seed + 0x9E3779B97F4A7C15u * (uint64_t)purpose);
    key = philox_mix(key ^ philox_mix(a + 0x632BE59BD9B4E019u));
    return {(uint32_t)key, (uint32_t)(key >> 32)};
}

#endif
