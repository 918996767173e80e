/* What device code in kernels/cuda is written with: everything that differs between nvcc and the emulator, element types,
 * and sums over warps and blocks.
 *
 *     template <typename T>
 *     __global__ void relu(const T *x, T *y, int64_t count) {
 *         for (int64_t i = first_index(); i < count; i += index_step())
 *             store(y + i, fmaxf(load(x + i), 0.0f));
 *     }
 *
 * Shared memory is always dynamic: float *s = shared_memory<float>(), its bytes given at the launch.
 */
#ifndef LAM_CUDA_DEVICE_CODE_CUH
#define LAM_CUDA_DEVICE_CODE_CUH

#include <cstdint>

#include <cuda_runtime_api.h>

#ifdef LAMINA_CUDA_EMULATOR
#include "cuda_emulator/device_code.h"
#else
#include <cuda_runtime.h>
template <typename T> __device__ inline T *shared_memory() {
    extern __shared__ __align__(16) unsigned char lam_shared_bytes[];
    return reinterpret_cast<T *>(lam_shared_bytes);
}
#endif

/* ---- element types: kernels load and store float, whatever is in memory ---- */

struct bf16 {
    uint16_t bits;
};

__device__ inline float load(const float *x) {
    return *x;
}
__device__ inline float load(const bf16 *x) {
    return __uint_as_float((unsigned)x->bits << 16);
}
__device__ inline void store(float *to, float value) {
    *to = value;
}
/* Round to nearest even; NaN stays NaN. */
__device__ inline void store(bf16 *to, float value) {
    unsigned u = __float_as_uint(value);
    if ((u & 0x7FFFFFFFu) > 0x7F800000u)
        to->bits = (uint16_t)((u >> 16) | 0x40u);
    else
        to->bits = (uint16_t)((u + 0x7FFFu + ((u >> 16) & 1u)) >> 16);
}

/* ---- indices ---- */

__device__ inline int64_t first_index() {
    return (int64_t)blockIdx.x * blockDim.x + threadIdx.x;
}
__device__ inline int64_t index_step() {
    return (int64_t)gridDim.x * blockDim.x;
}

/* ---- sums in a fixed order ---- */

enum { WARP = 32 };

/* Every lane of the warp gets the sum. */
template <typename T> __device__ inline T warp_sum(T value) {
    for (int step = WARP / 2; step > 0; step /= 2) value += __shfl_xor_sync(0xFFFFFFFFu, value, step);
    return value;
}
__device__ inline float warp_max(float value) {
    for (int step = WARP / 2; step > 0; step /= 2)
        value = fmaxf(value, __shfl_xor_sync(0xFFFFFFFFu, value, step));
    return value;
}

/* Every thread of a one-dimensional block gets the sum; blockDim.x is a multiple of 32. `room`: WARP values of shared
 * memory, free again when this returns. All threads of the block must call it. */
template <typename T> __device__ inline T block_sum(T value, T *room) {
    int lane = (int)(threadIdx.x % WARP), warp = (int)(threadIdx.x / WARP), warps = (int)(blockDim.x / WARP);
    value = warp_sum(value);
    if (lane == 0) room[warp] = value;
    __syncthreads();
    T sum = 0;
    for (int i = 0; i < warps; i++) sum += room[i];
    __syncthreads();
    return sum;
}
__device__ inline float block_max(float value, float *room) {
    int lane = (int)(threadIdx.x % WARP), warp = (int)(threadIdx.x / WARP), warps = (int)(blockDim.x / WARP);
    value = warp_max(value);
    if (lane == 0) room[warp] = value;
    __syncthreads();
    float most = room[0];
    for (int i = 1; i < warps; i++) most = fmaxf(most, room[i]);
    __syncthreads();
    return most;
}

#endif
