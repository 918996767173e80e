/* The emulator's books: settings, devices, and the lock that guards them. */
#ifndef LAM_CUDA_EMULATOR_STATE_H
#define LAM_CUDA_EMULATOR_STATE_H

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <mutex>
#include <set>
#include <vector>

#include <cuda_runtime_api.h>

#include "cuda_emulator/sanitizers.h"

namespace emulator {

struct settings {
    int gpus = 2, major = 8, minor = 0;
    size_t memory = (size_t)2 << 30, taken = 0;
    bool peers = true, leaks_matter = true, races = false;
    uint64_t seed = 1;
    unsigned delay_us = 50;
};
const settings &configured();

struct device {
    size_t limit = 0, used = 0;                   /* books' lock */
    std::set<int> peers;                          /* whose memory its kernels may use; books' lock */
    bool in_use = false;                          /* somebody has made it current; books' lock */
    std::atomic<cudaError_t> error = cudaSuccess; /* it has failed or is lost */
};
/* Aborts if there is no such device. */
device &device_at(int ordinal);
int device_count();
/* The first error stays. */
void break_device(int ordinal, cudaError_t error);
cudaError_t device_error(int ordinal);

/* Guards all tables. Held for a moment only, and unseen by ThreadSanitizer; taken by threads of the host and of streams. */
struct books {
    books();
    unseen hidden;
    std::lock_guard<std::mutex> lock;
};

} // namespace emulator

#endif
