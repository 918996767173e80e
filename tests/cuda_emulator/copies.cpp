/* Copies and fills.
 *
 * A copy that is queued reads and writes the host's memory when it runs, pageable memory included: CUDA lets a driver do so
 * earlier, but does not promise it. */
#include <cstring>

#include "cuda_emulator/calls.h"
#include "cuda_emulator/memory.h"
#include "cuda_emulator/runtime.h"
#include "cuda_emulator/state.h"
#include "cuda_emulator/streams.h"

namespace emulator {
namespace {

struct side {
    const void *pointer;
    bool on_host;
    int device; /* whose work reaches it */
    const char *what;
};

bool is_device_memory(const void *pointer) {
    const allocation *a = find_allocation(pointer);
    return a && !a->pinned;
}

/* Adds what the side lies in, if that is CUDA's. */
void expect_side(const side &s, size_t bytes, std::vector<allocation *> *uses) {
    const allocation *a = find_allocation(s.pointer);
    if (s.on_host && !a) return; /* pageable */
    if (a && a->pinned != s.on_host)
        fail("%s: %p is memory of the %s, the copy's kind says otherwise", s.what, s.pointer,
             a->pinned ? "host" : "device");
    uses->push_back(expect_range(s.device, s.pointer, bytes, s.what));
}

void expect_apart(const void *to, const void *from, size_t bytes, const char *what) {
    const char *a = static_cast<const char *>(to), *b = static_cast<const char *>(from);
    if (a < b + bytes && b < a + bytes) fail("%s: the two ranges overlap", what);
}

/* Which sides are the host's. */
void split_kind(cudaMemcpyKind kind, side *to, side *from) {
    if (kind == cudaMemcpyDefault) {
        to->on_host = !is_device_memory(to->pointer);
        from->on_host = !is_device_memory(from->pointer);
    } else {
        to->on_host = kind == cudaMemcpyHostToHost || kind == cudaMemcpyDeviceToHost;
        from->on_host = kind == cudaMemcpyHostToHost || kind == cudaMemcpyHostToDevice;
    }
}

cudaError_t copy_on(cudaStream_t handle, void *to, const void *from, size_t bytes, cudaMemcpyKind kind) {
    stream *s = expect_stream(handle, "cudaMemcpyAsync");
    if (bytes == 0) return device_error(s->device);
    side target = {to, false, s->device, "cudaMemcpyAsync, to"},
         source = {from, false, s->device, "cudaMemcpyAsync, from"};
    split_kind(kind, &target, &source);
    std::vector<allocation *> uses;
    expect_side(target, bytes, &uses);
    expect_side(source, bytes, &uses);
    expect_apart(to, from, bytes, "cudaMemcpyAsync");
    return submit(s, "copy", uses, [=] { memcpy(to, from, bytes); });
}

/* Needs no access of one device to the other: then it goes through the host. It fails with either. */
cudaError_t copy_peer(cudaStream_t handle, void *to, int to_device, const void *from, int from_device,
                      size_t bytes) {
    stream *s = expect_stream(handle, "cudaMemcpyPeerAsync");
    std::vector<allocation *> uses;
    if (bytes == 0) return device_error(s->device);
    expect_side({to, false, to_device, "cudaMemcpyPeerAsync, to"}, bytes, &uses);
    expect_side({from, false, from_device, "cudaMemcpyPeerAsync, from"}, bytes, &uses);
    expect_apart(to, from, bytes, "cudaMemcpyPeerAsync");
    if (s->device != to_device && s->device != from_device)
        fail("cudaMemcpyPeerAsync: the stream is of device %d, the memory of %d and %d", s->device, to_device,
             from_device);
    int other = s->device == to_device ? from_device : to_device, own = s->device;
    if (device_error(other) != cudaSuccess) return device_error(other);
    return submit(s, "peer copy", uses, [=] {
        if (device_error(other) != cudaSuccess) return break_device(own, device_error(other));
        memcpy(to, from, bytes);
    });
}

cudaError_t fill_on(cudaStream_t handle, void *to, int value, size_t bytes) {
    stream *s = expect_stream(handle, "cudaMemsetAsync");
    if (bytes == 0) return device_error(s->device);
    std::vector<allocation *> uses;
    expect_side({to, false, s->device, "cudaMemsetAsync"}, bytes, &uses);
    return submit(s, "fill", uses, [=] { memset(to, value, bytes); });
}

/* By the calling thread, at once. */
cudaError_t copy_now(void *to, const void *from, size_t bytes, cudaMemcpyKind kind) {
    int ordinal = current_device();
    side target = {to, false, ordinal, "cudaMemcpy, to"}, source = {from, false, ordinal, "cudaMemcpy, from"};
    split_kind(kind, &target, &source);
    std::vector<allocation *> uses;
    if (bytes == 0 || device_error(ordinal) != cudaSuccess) return device_error(ordinal);
    expect_side(target, bytes, &uses);
    expect_side(source, bytes, &uses);
    expect_apart(to, from, bytes, "cudaMemcpy");
    memcpy(to, from, bytes);
    return cudaSuccess;
}

} // namespace
} // namespace emulator

using emulator::call;
using emulator::entry;

extern "C" {

cudaError_t cudaMemcpyAsync(void *to, const void *from, size_t bytes, cudaMemcpyKind kind,
                            cudaStream_t stream) {
    return call(entry::cudaMemcpyAsync, [&] { return emulator::copy_on(stream, to, from, bytes, kind); });
}

cudaError_t cudaMemcpyPeerAsync(void *to, int to_device, const void *from, int from_device, size_t bytes,
                                cudaStream_t stream) {
    return call(entry::cudaMemcpyPeerAsync,
                [&] { return emulator::copy_peer(stream, to, to_device, from, from_device, bytes); });
}

cudaError_t cudaMemsetAsync(void *to, int value, size_t bytes, cudaStream_t stream) {
    return call(entry::cudaMemsetAsync, [&] { return emulator::fill_on(stream, to, value, bytes); });
}

cudaError_t cudaMemcpy(void *to, const void *from, size_t bytes, cudaMemcpyKind kind) {
    return call(entry::cudaMemcpy, [&] { return emulator::copy_now(to, from, bytes, kind); });
}
}
