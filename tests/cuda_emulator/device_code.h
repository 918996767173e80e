/* What device code sees in the emulator: the built-in variables and functions of CUDA that kernels/cuda uses, on threads that
 * are fibers. Included by kernels/cuda/device_code.cuh in place of nvcc's own.
 *
 * A launch is copied into a closure and run later by its stream's thread, block by block; the threads of a block are fibers
 * that change places at __syncthreads and at warp functions (blocks.cpp). Shared memory is poisoned before each block.
 */
#ifndef LAM_CUDA_EMULATOR_DEVICE_CODE_H
#define LAM_CUDA_EMULATOR_DEVICE_CODE_H

#include <cmath>
#include <cstring>
#include <functional>
#include <initializer_list>
#include <type_traits>
#include <vector>

#include <cuda_runtime_api.h>

#undef __global__
#undef __device__
#undef __host__
#undef __forceinline__
#undef __launch_bounds__
#undef __restrict__
#define __global__ static
#define __device__ static
#define __host__
#define __forceinline__ inline
#define __launch_bounds__(...)
#define __restrict__ __restrict

namespace emulator {

struct thread {
    uint3 thread_index, block_index;
    dim3 block_size, grid_size;
};
/* The one that this thread of the host runs. */
extern constinit thread_local const thread *running;
inline const thread &current() {
    return *running;
}
void *shared();

/* Where a thread waits, for messages: file and line of the device code. */
struct place {
    const char *file;
    int line;
};
/* Fails the test when the threads of a block that have not ended do not all come to the same place. */
void sync_threads(place where);
/* All lanes of the caller's warp that are named in `mask` come here with `bytes` bytes each (at most 16); each gets those of lane
 * `source`. Fails the test when a lane of the mask does not come, or `source` is not in it. */
void exchange(unsigned mask, const void *mine, void *theirs, size_t bytes, int source, place where);
unsigned ballot(unsigned mask, bool predicate, place where);
void sync_warp(unsigned mask, place where);
/* All 32 lanes come, with `bytes` bytes each; each gets those of all. */
void gather(const void *mine, void *all, size_t bytes, place where);

struct launch_request {
    const char *name;
    const void *kernel;
    dim3 grid, block;
    size_t shared_bytes;
    cudaStream_t stream;
};
/* `body` runs one thread. The pointers are the kernel's arguments that point: they must point to memory of the device. */
cudaError_t submit(const launch_request &request, const std::vector<const void *> &pointers,
                   std::function<void()> body);

/* Of an argument: itself, or those that its member each_pointer tells. */
template <typename T> void add_pointers(const T &value, std::vector<const void *> &pointers) {
    if constexpr (std::is_pointer_v<T>)
        pointers.push_back((const void *)value);
    else if constexpr (requires { value.each_pointer([](const void *) {}); })
        value.each_pointer([&](const void *pointer) { pointers.push_back(pointer); });
}

template <typename... P>
cudaError_t launch(const char *name, void (*kernel)(P...), dim3 grid, dim3 block, size_t shared_bytes,
                   cudaStream_t stream, P... arguments) {
    std::vector<const void *> pointers;
    (add_pointers(arguments, pointers), ...);
    return submit({name, (const void *)kernel, grid, block, shared_bytes, stream}, pointers,
                  [=] { kernel(arguments...); });
}

template <typename T> T shuffle(unsigned mask, T value, int source, place where) {
    static_assert(sizeof(T) <= 16 && std::is_trivially_copyable_v<T>);
    T result;
    exchange(mask, &value, &result, sizeof value, source, where);
    return result;
}
inline int lane() {
    const thread &t = current();
    unsigned flat =
        t.thread_index.x + t.block_size.x * (t.thread_index.y + t.block_size.y * t.thread_index.z);
    return (int)(flat % 32);
}

} // namespace emulator

#define threadIdx (emulator::current().thread_index)
#define blockIdx  (emulator::current().block_index)
#define blockDim  (emulator::current().block_size)
#define gridDim   (emulator::current().grid_size)

inline constexpr int warpSize = 32;

template <typename T> T *shared_memory() {
    return static_cast<T *>(emulator::shared());
}

/* The last two parameters are never given: they say where the call stands. */
#define EMULATOR_PLACE const char *file = __builtin_FILE(), int line = __builtin_LINE()

inline void __syncthreads(EMULATOR_PLACE) {
    emulator::sync_threads({file, line});
}
inline void __syncwarp(unsigned mask = 0xFFFFFFFFu, EMULATOR_PLACE) {
    emulator::sync_warp(mask, {file, line});
}
inline unsigned __ballot_sync(unsigned mask, int predicate, EMULATOR_PLACE) {
    return emulator::ballot(mask, predicate != 0, {file, line});
}
inline int __any_sync(unsigned mask, int predicate, EMULATOR_PLACE) {
    return emulator::ballot(mask, predicate != 0, {file, line}) != 0;
}
inline int __all_sync(unsigned mask, int predicate, EMULATOR_PLACE) {
    return emulator::ballot(mask, predicate != 0, {file, line}) == mask;
}
template <typename T> T __shfl_sync(unsigned mask, T value, int source, int width = 32, EMULATOR_PLACE) {
    int l = emulator::lane();
    return emulator::shuffle(mask, value, l / width * width + source % width, {file, line});
}
template <typename T> T __shfl_xor_sync(unsigned mask, T value, int bits, int width = 32, EMULATOR_PLACE) {
    int l = emulator::lane(), source = l ^ bits;
    return emulator::shuffle(mask, value, source / width == l / width ? source : l, {file, line});
}
template <typename T>
T __shfl_down_sync(unsigned mask, T value, unsigned delta, int width = 32, EMULATOR_PLACE) {
    int l = emulator::lane(), source = l + (int)delta;
    return emulator::shuffle(mask, value, source / width == l / width ? source : l, {file, line});
}
template <typename T>
T __shfl_up_sync(unsigned mask, T value, unsigned delta, int width = 32, EMULATOR_PLACE) {
    int l = emulator::lane(), source = l - (int)delta;
    return emulator::shuffle(mask, value, source >= l / width * width ? source : l, {file, line});
}

/* ---- tensor cores ---- */

namespace emulator {

struct tensor_factors {
    unsigned a[4], b[2];
};
/* The left or the right bf16 of a register. */
inline float half_of(unsigned pair, int right) {
    unsigned bits = right ? pair & 0xFFFF0000u : pair << 16;
    float value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

} // namespace emulator

/* mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32; which lane holds what is said in kernels/cuda/tensor_core.cuh, from the
 * PTX ISA. Each lane gets its four of D from what all lanes hold of A and B. */
inline void multiply_add_m16n8k16(float (&d)[4], const unsigned (&a)[4], const unsigned (&b)[2],
                                  EMULATOR_PLACE) {
    emulator::tensor_factors mine, all[32];
    memcpy(mine.a, a, sizeof mine.a);
    memcpy(mine.b, b, sizeof mine.b);
    emulator::gather(&mine, all, sizeof mine, {file, line});
    const int lane = emulator::lane();
    for (int e = 0; e < 4; e++) {
        const int row = lane / 4 + e / 2 * 8, column = lane % 4 * 2 + e % 2;
        for (int k = 0; k < 16; k++) {
            const emulator::tensor_factors &of_a = all[row % 8 * 4 + k % 8 / 2];
            const emulator::tensor_factors &of_b = all[column * 4 + k % 8 / 2];
            d[e] += emulator::half_of(of_a.a[row / 8 + k / 8 * 2], k % 2) *
                    emulator::half_of(of_b.b[k / 8], k % 2);
        }
    }
}

/* ---- arithmetic ---- */

inline float __uint_as_float(unsigned bits) {
    float value;
    memcpy(&value, &bits, sizeof value);
    return value;
}
inline unsigned __float_as_uint(float value) {
    unsigned bits;
    memcpy(&bits, &value, sizeof bits);
    return bits;
}
inline unsigned __umulhi(unsigned a, unsigned b) {
    return (unsigned)(((unsigned long long)a * b) >> 32);
}
inline float __frcp_rn(float x) {
    return 1.0f / x;
}
inline float rsqrtf(float x) {
    return 1.0f / sqrtf(x);
}
inline float __fmaf_rn(float a, float b, float c) {
    return fmaf(a, b, c);
}

#endif
