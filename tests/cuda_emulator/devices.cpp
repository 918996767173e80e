/* Entry points that choose and describe devices. */
#include <cstdio>
#include <cstring>

#include "cuda_emulator/calls.h"
#include "cuda_emulator/limits.h"
#include "cuda_emulator/orders.h"
#include "cuda_emulator/runtime.h"
#include "cuda_emulator/state.h"
#include "cuda_emulator/streams.h"

namespace emulator {
namespace {

thread_local int current = 0;

bool exists(int ordinal) {
    return ordinal >= 0 && ordinal < device_count();
}

bool can_access(int from, int to) {
    return configured().peers && exists(from) && exists(to) && from != to;
}

/* Setting a device up may fail; to choose one that is set up cannot. */
cudaError_t choose(int ordinal) {
    if (device_count() == 0) return cudaErrorNoDevice;
    if (!exists(ordinal)) return cudaErrorInvalidDevice;
    bool first;
    {
        books locked;
        first = !device_at(ordinal).in_use;
    }
    if (first && count_call("cudaSetDevice")) return cudaErrorMemoryAllocation;
    current = ordinal;
    books locked;
    device_at(ordinal).in_use = true;
    return cudaSuccess;
}

void describe(cudaDeviceProp *p, int ordinal) {
    *p = {};
    snprintf(p->name, sizeof p->name, "emulated GPU");
    p->major = configured().major;
    p->minor = configured().minor;
    p->multiProcessorCount = MULTIPROCESSORS;
    p->warpSize = WARP_THREADS;
    p->maxThreadsPerBlock = MOST_BLOCK_THREADS;
    p->maxThreadsPerMultiProcessor = 2048;
    p->maxBlocksPerMultiProcessor = 32;
    for (int i = 0; i < 3; i++) {
        p->maxThreadsDim[i] = (int)most_block[i];
        p->maxGridSize[i] = (int)most_grid[i];
    }
    p->sharedMemPerBlock = SHARED_BYTES;
    p->sharedMemPerBlockOptin = SHARED_BYTES_OPTIN;
    p->sharedMemPerMultiprocessor = SHARED_BYTES_OPTIN + 1024;
    p->reservedSharedMemPerBlock = 1024;
    p->regsPerBlock = p->regsPerMultiprocessor = 65536;
    p->l2CacheSize = 4 << 20;
    p->memoryBusWidth = 256;
    p->asyncEngineCount = 2;
    p->concurrentKernels = p->unifiedAddressing = p->canMapHostMemory = p->memoryPoolsSupported = 1;
    p->pciBusID = ordinal + 1;
    books locked;
    p->totalGlobalMem = device_at(ordinal).limit;
}

cudaError_t attribute(int *value, cudaDeviceAttr which, int ordinal) {
    cudaDeviceProp p;
    describe(&p, ordinal);
    switch (which) {
    case cudaDevAttrComputeCapabilityMajor:
        *value = p.major;
        break;
    case cudaDevAttrComputeCapabilityMinor:
        *value = p.minor;
        break;
    case cudaDevAttrMultiProcessorCount:
        *value = p.multiProcessorCount;
        break;
    case cudaDevAttrMaxThreadsPerBlock:
        *value = p.maxThreadsPerBlock;
        break;
    case cudaDevAttrMaxThreadsPerMultiProcessor:
        *value = p.maxThreadsPerMultiProcessor;
        break;
    case cudaDevAttrMaxSharedMemoryPerBlock:
        *value = (int)p.sharedMemPerBlock;
        break;
    case cudaDevAttrMaxSharedMemoryPerBlockOptin:
        *value = (int)p.sharedMemPerBlockOptin;
        break;
    case cudaDevAttrWarpSize:
        *value = p.warpSize;
        break;
    case cudaDevAttrL2CacheSize:
        *value = p.l2CacheSize;
        break;
    case cudaDevAttrClockRate:
        *value = 1000000;
        break;
    case cudaDevAttrMemoryClockRate:
        *value = 1000000;
        break;
    case cudaDevAttrGlobalMemoryBusWidth:
        *value = p.memoryBusWidth;
        break;
    case cudaDevAttrAsyncEngineCount:
        *value = p.asyncEngineCount;
        break;
    case cudaDevAttrConcurrentKernels:
    case cudaDevAttrUnifiedAddressing:
    case cudaDevAttrCanMapHostMemory:
    case cudaDevAttrMemoryPoolsSupported:
        *value = 1;
        break;
    default:
        fail("cudaDeviceGetAttribute: attribute %d is not emulated", (int)which);
    }
    return cudaSuccess;
}

cudaError_t enable_peer(int peer, unsigned flags) {
    if (flags != 0) return cudaErrorInvalidValue;
    if (!exists(peer) || peer == current) return cudaErrorInvalidDevice;
    if (!can_access(current, peer)) return cudaErrorPeerAccessUnsupported;
    books locked;
    return device_at(current).peers.insert(peer).second ? cudaSuccess : cudaErrorPeerAccessAlreadyEnabled;
}

} // namespace

int current_device() {
    return current;
}

} // namespace emulator

using emulator::call;
using emulator::entry;

extern "C" {

cudaError_t cudaGetDeviceCount(int *count) {
    return call(entry::cudaGetDeviceCount, [&] {
        *count = emulator::device_count();
        return *count > 0 ? cudaSuccess : cudaErrorNoDevice;
    });
}

cudaError_t cudaGetDevice(int *ordinal) {
    return call(entry::cudaGetDevice, [&] { return *ordinal = emulator::current_device(), cudaSuccess; });
}

cudaError_t cudaSetDevice(int ordinal) {
    return call(entry::cudaSetDevice, [&] { return emulator::choose(ordinal); });
}

cudaError_t cudaGetDeviceProperties(cudaDeviceProp *properties, int ordinal) {
    return call(entry::cudaGetDeviceProperties, [&] {
        if (!emulator::exists(ordinal)) return cudaErrorInvalidDevice;
        emulator::describe(properties, ordinal);
        return cudaSuccess;
    });
}

cudaError_t cudaDeviceGetAttribute(int *value, cudaDeviceAttr which, int ordinal) {
    return call(entry::cudaDeviceGetAttribute, [&] {
        if (!emulator::exists(ordinal)) return cudaErrorInvalidDevice;
        return emulator::attribute(value, which, ordinal);
    });
}

cudaError_t cudaDeviceCanAccessPeer(int *can, int ordinal, int peer) {
    return call(entry::cudaDeviceCanAccessPeer, [&] {
        if (!emulator::exists(ordinal) || !emulator::exists(peer)) return cudaErrorInvalidDevice;
        *can = emulator::can_access(ordinal, peer);
        return cudaSuccess;
    });
}

cudaError_t cudaDeviceEnablePeerAccess(int peer, unsigned flags) {
    return call(entry::cudaDeviceEnablePeerAccess, [&] { return emulator::enable_peer(peer, flags); });
}

cudaError_t cudaDeviceSynchronize(void) {
    return call(entry::cudaDeviceSynchronize, [] {
        emulator::wait_for_device(emulator::current_device());
        return emulator::device_error(emulator::current_device());
    });
}
}
