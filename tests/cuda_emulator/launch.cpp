/* Launching kernels. */
#include <map>

#include "cuda_emulator/blocks.h"
#include "cuda_emulator/calls.h"
#include "cuda_emulator/limits.h"
#include "cuda_emulator/memory.h"
#include "cuda_emulator/runtime.h"
#include "cuda_emulator/state.h"
#include "cuda_emulator/streams.h"

namespace emulator {
namespace {

/* Dynamic shared memory that kernels were allowed, where it is more than any may have. Books' lock. */
std::map<const void *, int> &allowed_shared() {
    static auto *allowed = new std::map<const void *, int>;
    return *allowed;
}

size_t most_shared(const void *kernel) {
    books locked;
    auto found = allowed_shared().find(kernel);
    return found == allowed_shared().end() ? (size_t)SHARED_BYTES : (size_t)found->second;
}

void expect_size(const char *name, const char *of, const dim3 &size, const unsigned most[3]) {
    if (size.x < 1 || size.y < 1 || size.z < 1 || size.x > most[0] || size.y > most[1] || size.z > most[2])
        fail("kernel '%s': a %s of %u x %u x %u; at most %u x %u x %u", name, of, size.x, size.y, size.z,
             most[0], most[1], most[2]);
}

void expect_limits(const launch_request &r) {
    expect_size(r.name, "grid", r.grid, most_grid);
    expect_size(r.name, "block", r.block, most_block);
    if ((uint64_t)r.block.x * r.block.y * r.block.z > MOST_BLOCK_THREADS)
        fail("kernel '%s': a block of %u x %u x %u threads; at most %d in all", r.name, r.block.x, r.block.y,
             r.block.z, (int)MOST_BLOCK_THREADS);
    if (r.shared_bytes > most_shared(r.kernel))
        fail("kernel '%s': %zu bytes of shared memory; at most %zu%s", r.name, r.shared_bytes,
             most_shared(r.kernel),
             r.shared_bytes > SHARED_BYTES_OPTIN ? "" : " without cudaFuncSetAttribute for more");
}

std::vector<allocation *> used_memory(const launch_request &r, int device,
                                      const std::vector<const void *> &pointers) {
    std::vector<allocation *> uses;
    int argument = 0;
    for (const void *pointer : pointers) {
        std::string what = std::string("kernel '") + r.name + "', argument " + std::to_string(argument++);
        if (pointer) uses.push_back(expect_range(device, pointer, 0, what.c_str()));
    }
    return uses;
}

cudaError_t launch(const launch_request &r, const std::vector<const void *> &pointers, function body) {
    stream *s = expect_stream(r.stream, r.name);
    if (s->device != current_device())
        fail("kernel '%s': the stream is of device %d, the current device is %d", r.name, s->device,
             current_device());
    expect_limits(r);
    std::vector<allocation *> uses = used_memory(r, s->device, pointers);
    return submit(s, r.name, uses, [r, body = std::move(body)] { run_grid(r, body, draw()); });
}

cudaError_t allow_shared(const void *kernel, cudaFuncAttribute attribute, int value) {
    if (attribute == cudaFuncAttributePreferredSharedMemoryCarveout) return cudaSuccess;
    if (attribute != cudaFuncAttributeMaxDynamicSharedMemorySize)
        fail("cudaFuncSetAttribute: attribute %d is not emulated", (int)attribute);
    if (value < 0 || value > SHARED_BYTES_OPTIN) return cudaErrorInvalidValue;
    books locked;
    allowed_shared()[kernel] = value < SHARED_BYTES ? (int)SHARED_BYTES : value;
    return cudaSuccess;
}

} // namespace

cudaError_t submit(const launch_request &request, const std::vector<const void *> &pointers,
                   std::function<void()> body) {
    return call(entry::cudaLaunchKernel, [&] { return launch(request, pointers, std::move(body)); });
}

} // namespace emulator

extern "C" cudaError_t cudaFuncSetAttribute(const void *kernel, cudaFuncAttribute attribute, int value) {
    return emulator::call(emulator::entry::cudaFuncSetAttribute,
                          [&] { return emulator::allow_shared(kernel, attribute, value); });
}
