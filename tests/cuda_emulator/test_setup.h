/* What most of the emulator's tests begin with. */
#ifndef LAM_CUDA_EMULATOR_TEST_SETUP_H
#define LAM_CUDA_EMULATOR_TEST_SETUP_H

#include <vector>

#include "cuda/device_code.cuh"
#include "cuda_emulator/test_harness.h"

[[maybe_unused]] __global__ void fill(float *x, float value, int count) {
    for (int64_t i = first_index(); i < count; i += index_step()) x[i] = value;
}

/* Two streams of device 0, and an event. */
struct setup {
    cudaStream_t stream, other;
    cudaEvent_t event;
    setup() {
        OK(cudaSetDevice(0));
        OK(cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking));
        OK(cudaStreamCreateWithFlags(&other, cudaStreamNonBlocking));
        OK(cudaEventCreateWithFlags(&event, cudaEventDisableTiming));
    }
    ~setup() {
        OK(cudaStreamSynchronize(stream));
        OK(cudaStreamSynchronize(other));
        OK(cudaEventDestroy(event));
        OK(cudaStreamDestroy(stream));
        OK(cudaStreamDestroy(other));
    }
};

/* Memory of the current device. */
template <typename T> struct memory {
    T *data;
    size_t count;
    explicit memory(size_t n) : count(n) { OK(cudaMalloc((void **)&data, n * sizeof(T))); }
    ~memory() { OK(cudaFree(data)); }
    std::vector<T> read(cudaStream_t stream) const {
        std::vector<T> host(count);
        OK(cudaMemcpyAsync(host.data(), data, count * sizeof(T), cudaMemcpyDeviceToHost, stream));
        OK(cudaStreamSynchronize(stream));
        return host;
    }
    void write(const std::vector<T> &host, cudaStream_t stream) {
        OK(cudaMemcpyAsync(data, host.data(), count * sizeof(T), cudaMemcpyHostToDevice, stream));
        OK(cudaStreamSynchronize(stream));
    }
};

template <typename... P, typename... A>
void start(cudaStream_t stream, void (*kernel)(P...), dim3 grid, dim3 block, size_t shared_bytes,
           A... arguments) {
    OK(emulator::launch("test", kernel, grid, block, shared_bytes, stream, static_cast<P>(arguments)...));
}

#endif
