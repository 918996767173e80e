/* Every entry point of the CUDA runtime that the emulator has. To add one: a line here, and its function in the file of its
 * subject, whose body goes through call() (calls.h). */
#ifndef LAM_CUDA_EMULATOR_ENTRY_POINTS_H
#define LAM_CUDA_EMULATOR_ENTRY_POINTS_H

namespace emulator {

enum entry_flags : unsigned {
    PLAIN = 0,
    LOOKS = 1,      /* may be called after an error that nobody looked at yet: counts as looking */
    DOES = 2,       /* does its work even when it is made to fail */
    QUIET = 4,      /* its own error need not be looked at */
    NEVER = 8,      /* never fails, is not counted */
    ALLOCATES = 16, /* made to fail, it is out of memory */
    QUEUES = 32,    /* made to fail, it takes the device with it, as a kernel that goes wrong */
    UNSAFE = 64,    /* breaks a capture */

    ASKS = LOOKS | NEVER,
    WAITS = LOOKS | DOES | QUEUES,
    CLEANS = LOOKS | DOES | QUIET,
};

#define EMULATOR_ENTRY_POINTS(X)                                                                             \
    X(cudaGetLastError, ASKS)                                                                                \
    X(cudaPeekAtLastError, ASKS)                                                                             \
    X(cudaGetErrorName, ASKS)                                                                                \
    X(cudaGetErrorString, ASKS)                                                                              \
                                                                                                             \
    X(cudaDriverGetVersion, PLAIN)                                                                           \
    X(cudaRuntimeGetVersion, PLAIN)                                                                          \
    X(cudaGetDeviceCount, PLAIN)                                                                             \
    X(cudaGetDevice, PLAIN)                                                                                  \
    X(cudaSetDevice, PLAIN)                                                                                  \
    X(cudaGetDeviceProperties, PLAIN)                                                                        \
    X(cudaDeviceGetAttribute, PLAIN)                                                                         \
    X(cudaDeviceCanAccessPeer, PLAIN)                                                                        \
    X(cudaDeviceEnablePeerAccess, PLAIN)                                                                     \
    X(cudaDeviceSynchronize, WAITS | UNSAFE)                                                                 \
                                                                                                             \
    X(cudaMalloc, ALLOCATES | UNSAFE)                                                                        \
    X(cudaFree, CLEANS | UNSAFE)                                                                             \
    X(cudaMallocAsync, ALLOCATES)                                                                            \
    X(cudaFreeAsync, CLEANS)                                                                                 \
    X(cudaMallocHost, ALLOCATES | UNSAFE)                                                                    \
    X(cudaHostAlloc, ALLOCATES | UNSAFE)                                                                     \
    X(cudaFreeHost, CLEANS | UNSAFE)                                                                         \
    X(cudaMemGetInfo, PLAIN)                                                                                 \
    X(cudaPointerGetAttributes, PLAIN)                                                                       \
                                                                                                             \
    X(cudaMemcpy, QUEUES | UNSAFE)                                                                           \
    X(cudaMemcpyAsync, QUEUES)                                                                               \
    X(cudaMemcpyPeerAsync, QUEUES)                                                                           \
    X(cudaMemsetAsync, QUEUES)                                                                               \
                                                                                                             \
    X(cudaStreamCreateWithFlags, ALLOCATES)                                                                  \
    X(cudaStreamDestroy, CLEANS)                                                                             \
    X(cudaStreamSynchronize, WAITS)                                                                          \
    X(cudaStreamQuery, WAITS)                                                                                \
    X(cudaStreamWaitEvent, QUEUES)                                                                           \
                                                                                                             \
    X(cudaEventCreateWithFlags, ALLOCATES)                                                                   \
    X(cudaEventDestroy, CLEANS)                                                                              \
    X(cudaEventRecord, QUEUES)                                                                               \
    X(cudaEventSynchronize, WAITS)                                                                           \
    X(cudaEventQuery, WAITS)                                                                                 \
    X(cudaEventElapsedTime, PLAIN)                                                                           \
                                                                                                             \
    X(cudaLaunchKernel, QUEUES)                                                                              \
    X(cudaLaunchHostFunc, QUEUES)                                                                            \
    X(cudaFuncSetAttribute, PLAIN)                                                                           \
                                                                                                             \
    X(cudaStreamBeginCapture, PLAIN)                                                                         \
    X(cudaStreamEndCapture, LOOKS | DOES)                                                                    \
    X(cudaStreamIsCapturing, PLAIN)                                                                          \
    X(cudaGraphInstantiate, ALLOCATES)                                                                       \
    X(cudaGraphLaunch, QUEUES)                                                                               \
    X(cudaGraphExecDestroy, CLEANS)                                                                          \
    X(cudaGraphDestroy, CLEANS)                                                                              \
    X(cudaGraphGetNodes, PLAIN)

enum class entry {
#define EMULATOR_ENTRY(name, flags) name,
    EMULATOR_ENTRY_POINTS(EMULATOR_ENTRY)
#undef EMULATOR_ENTRY
};

} // namespace emulator

#endif
