/* Launching device code on a stream.
 *
 *     lam_launch(stream, "relu", relu<float>, lam_grid(stream, count, 256), 256, 0, x, y, count);
 *
 * Arguments are converted to the kernel's parameter types, copied at once, and used later. An error is remembered by the
 * stream.
 */
#ifndef LAM_CUDA_LAUNCH_CUH
#define LAM_CUDA_LAUNCH_CUH

#include <algorithm>
#include <type_traits>

#include "cuda/cuda_kernel.h"
#include "cuda/device_code.cuh"

/* Blocks for `count` threads' worth of work in a loop over index_step(): enough to fill the GPU a few times, no more. */
static inline dim3 lam_grid(const struct lam_stream *stream, int64_t count, int threads) {
    int64_t blocks = (count + threads - 1) / threads;
    int64_t most = (int64_t)lam_cuda_multiprocessors(stream->device) * (2048 / threads) * 4;
    return dim3((unsigned)std::clamp<int64_t>(blocks, 1, most));
}

template <typename... Parameters, typename... Arguments>
static void lam_launch(struct lam_stream *stream, const char *name, void (*kernel)(Parameters...), dim3 grid,
                       dim3 block, size_t shared_bytes, Arguments... arguments) {
#ifdef LAMINA_CUDA_EMULATOR
    lam_cuda_check(stream,
                   emulator::launch(name, kernel, grid, block, shared_bytes, stream->stream,
                                    static_cast<Parameters>(arguments)...),
                   name);
#else
    auto run = [&](Parameters... converted) {
        void *pointers[] = {(void *)&converted..., nullptr};
        lam_cuda_check(
            stream,
            cudaLaunchKernel((const void *)kernel, grid, block, pointers, shared_bytes, stream->stream),
            name);
    };
    run(static_cast<Parameters>(arguments)...);
#endif
}

#endif
