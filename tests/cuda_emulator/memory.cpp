/* Memory of devices, and pinned memory of the host.
 *
 * All of it comes from malloc, exactly as large as asked, so that AddressSanitizer guards its ends. Fresh and freed memory is
 * filled with 0xFF: NaN as a number, -1 as an index. Freed memory is given back a while later, so that its users can be told
 * that it was freed. */
#include "cuda_emulator/memory.h"

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <deque>
#include <map>

#include "cuda_emulator/calls.h"
#include "cuda_emulator/graphs.h"
#include "cuda_emulator/runtime.h"
#include "cuda_emulator/state.h"
#include "cuda_emulator/streams.h"

namespace emulator {
namespace {

enum { ALIGNMENT = 256, POISON = 0xFF };
constexpr size_t MOST_QUARANTINED = (size_t)64 << 20;

/* Under the books' lock: by the address after the last byte, then what is freed but not given back. */
struct table {
    std::map<const char *, allocation *> by_end;
    std::deque<allocation *> quarantine;
    size_t quarantined = 0;
};
table &memory() {
    static table *t = new table;
    return *t;
}

const char *end_of(const allocation *a) {
    return a->base + (a->bytes ? a->bytes : 1);
}

allocation *find(const void *pointer) {
    const char *p = static_cast<const char *>(pointer);
    auto inside = memory().by_end.upper_bound(p);
    return inside != memory().by_end.end() && inside->second->base <= p ? inside->second : nullptr;
}

allocation *find_by_end(const void *pointer) {
    auto found = memory().by_end.find(static_cast<const char *>(pointer));
    return found == memory().by_end.end() ? nullptr : found->second;
}

void give_back(allocation *a) {
    memory().by_end.erase(end_of(a));
    open_memory(a->base, a->bytes);
    free(a->base);
}

void quarantine(allocation *a) {
    table &t = memory();
    close_memory(a->base, a->bytes);
    t.quarantine.push_back(a);
    t.quarantined += a->bytes;
    while (t.quarantined > MOST_QUARANTINED) {
        allocation *oldest = t.quarantine.front();
        t.quarantine.pop_front();
        t.quarantined -= oldest->bytes;
        give_back(oldest);
    }
}

/* ---- allocating ---- */

/* With the books' lock. */
size_t left(const device &d) {
    size_t taken = d.used + configured().taken;
    return d.limit > taken ? d.limit - taken : 0;
}

bool reserve(int ordinal, size_t bytes) {
    books locked;
    device &d = device_at(ordinal);
    if (bytes > left(d)) return false;
    d.used += bytes;
    return true;
}

allocation *add(size_t bytes, int ordinal, bool pinned) {
    void *base = nullptr;
    if (posix_memalign(&base, ALIGNMENT, bytes ? bytes : 1) != 0)
        fail("the host has no %zu bytes for an emulated GPU", bytes);
    books locked;
    allocation *a = new allocation{static_cast<char *>(base), bytes, ordinal, pinned};
    memory().by_end[end_of(a)] = a;
    return a;
}

/* Memory of the current device, its content undefined; NULL if there is not enough. */
allocation *add_device_memory(size_t bytes) {
    int ordinal = current_device();
    return reserve(ordinal, bytes) ? add(bytes, ordinal, false) : nullptr;
}

cudaError_t allocate(void **pointer, size_t bytes) {
    cudaError_t error = device_error(current_device());
    if (error != cudaSuccess) return error;
    allocation *a = bytes ? add_device_memory(bytes) : nullptr;
    *pointer = a ? a->base : nullptr;
    if (!a) return bytes ? cudaErrorMemoryAllocation : cudaSuccess;
    memset(a->base, POISON, bytes);
    return cudaSuccess;
}

cudaError_t allocate_pinned(void **pointer, size_t bytes) {
    cudaError_t error = device_error(current_device());
    if (error != cudaSuccess) return error;
    allocation *a = add(bytes, current_device(), true);
    memset(a->base, POISON, bytes);
    *pointer = a->base;
    return cudaSuccess;
}

/* Poisoned by the stream, so that a use that does not come after it is a race. */
cudaError_t allocate_on(cudaStream_t handle, void **pointer, size_t bytes) {
    stream *s = expect_stream(handle, "cudaMallocAsync");
    if (is_capturing(s)) fail("cudaMallocAsync while a graph is captured is not emulated");
    if (device_of(handle) != current_device()) fail("cudaMallocAsync on a stream of another device");
    cudaError_t error = device_error(s->device);
    if (error != cudaSuccess) return error;
    allocation *a = bytes ? add_device_memory(bytes) : nullptr;
    *pointer = a ? a->base : nullptr;
    if (!a) return bytes ? cudaErrorMemoryAllocation : cudaSuccess;
    return submit(s, "allocation", {a}, [a] { memset(a->base, POISON, a->bytes); });
}

/* ---- freeing ---- */

allocation *expect_beginning(const void *pointer, bool pinned, const char *what) {
    books locked;
    allocation *a = find(pointer);
    if (!a) fail("%s(%p): this is not CUDA's memory", what, pointer);
    if (a->base != pointer) fail("%s(%p): this is inside of an allocation, not its beginning", what, pointer);
    if (!a->live) fail("%s(%p): freed twice", what, pointer);
    if (a->pinned != pinned)
        fail("%s(%p): this is memory of %s", what, pointer, a->pinned ? "the host" : "a device");
    return a;
}

void expect_idle(const allocation *a, int known_uses, const char *what) {
    books locked;
    if (a->uses > known_uses)
        fail("%s(%p): freed in flight: %zu bytes of %s %d are used by queued work, the last of it '%s'", what,
             (const void *)a->base, a->bytes, a->pinned ? "pinned memory, device" : "device", a->device,
             a->user);
}

/* Whatever used it has ended. */
void remove(allocation *a) {
    memset(a->base, POISON, a->bytes);
    books locked;
    a->live = false;
    if (!a->pinned) device_at(a->device).used -= a->bytes;
    quarantine(a);
}

cudaError_t release_memory(void *pointer, bool pinned, const char *what) {
    if (!pointer) return cudaSuccess;
    allocation *a = expect_beginning(pointer, pinned, what);
    /* A device that has failed is not waited for by programs; what it had begun ends here all the same. */
    if (device_error(a->device) != cudaSuccess) wait_for_all();
    expect_idle(a, 0, what);
    remove(a);
    return device_error(a->device);
}

/* Dead for all calls from now on; its bytes are given back when the stream comes so far. */
cudaError_t release_on(cudaStream_t handle, void *pointer) {
    if (!pointer) return cudaSuccess;
    allocation *a = expect_beginning(pointer, false, "cudaFreeAsync");
    stream *s = expect_stream(handle, "cudaFreeAsync");
    if (is_capturing(s)) fail("cudaFreeAsync while a graph is captured is not emulated");
    {
        books locked;
        a->live = false;
    }
    auto free_it = [a] {
        expect_idle(a, 1, "cudaFreeAsync");
        remove(a);
    };
    if (device_error(s->device) == cudaSuccess) return submit(s, "release", {a}, free_it, true);
    wait_for_all();
    remove(a);
    return device_error(s->device);
}

cudaError_t describe(cudaPointerAttributes *attributes, const void *pointer) {
    *attributes = {};
    attributes->device = current_device();
    books locked;
    allocation *a = find(pointer);
    if (!a || !a->live) {
        attributes->type = cudaMemoryTypeUnregistered;
        attributes->hostPointer = const_cast<void *>(pointer);
        return cudaSuccess;
    }
    attributes->type = a->pinned ? cudaMemoryTypeHost : cudaMemoryTypeDevice;
    attributes->device = a->device;
    attributes->devicePointer = const_cast<void *>(pointer);
    attributes->hostPointer = a->pinned ? const_cast<void *>(pointer) : nullptr;
    return cudaSuccess;
}

bool can_use(int ordinal, const allocation *a) {
    return a->pinned || a->device == ordinal || device_at(ordinal).peers.count(a->device) != 0;
}

} // namespace

allocation *find_allocation(const void *pointer) {
    books locked;
    return find(pointer);
}

allocation *expect_range(int ordinal, const void *pointer, size_t bytes, const char *what) {
    books locked;
    allocation *a = find(pointer);
    if (!a && bytes == 0) a = find_by_end(pointer); /* nothing of it is used */
    if (!a) fail("%s: %p is not memory of a device", what, pointer);
    if (!a->live) fail("%s: %p is memory that was freed", what, pointer);
    size_t offset = (size_t)(static_cast<const char *>(pointer) - a->base);
    if (bytes > a->bytes - offset)
        fail("%s: %zu bytes at %p go beyond the end: it lies %zu bytes into an allocation of %zu", what,
             bytes, pointer, offset, a->bytes);
    if (!can_use(ordinal, a))
        fail("%s: %p is memory of device %d, which device %d cannot access", what, pointer, a->device,
             ordinal);
    return a;
}

void check_device_range(cudaStream_t stream, const void *pointer, size_t bytes, const char *what) {
    if (pointer || bytes) expect_range(device_of(stream), pointer, bytes, what);
}

void add_uses(const std::vector<allocation *> &uses, const char *name) {
    books locked;
    for (allocation *a : uses) {
        a->uses++;
        a->user = name;
    }
}

void drop_uses(const std::vector<allocation *> &uses) {
    books locked;
    for (allocation *a : uses) a->uses--;
}

int list_memory() {
    books locked;
    int count = 0;
    for (const auto &[end, a] : memory().by_end) {
        if (!a->live) continue;
        fprintf(stderr, "emulator: leaked: %zu bytes of %s %d at %p\n", a->bytes,
                a->pinned ? "pinned memory, device" : "device", a->device, (void *)a->base);
        count++;
    }
    return count;
}

} // namespace emulator

using emulator::call;
using emulator::entry;

extern "C" {

cudaError_t cudaMalloc(void **pointer, size_t bytes) {
    return call(entry::cudaMalloc, [&] { return emulator::allocate(pointer, bytes); });
}

cudaError_t cudaFree(void *pointer) {
    return call(entry::cudaFree, [&] { return emulator::release_memory(pointer, false, "cudaFree"); });
}

cudaError_t cudaMallocAsync(void **pointer, size_t bytes, cudaStream_t stream) {
    return call(entry::cudaMallocAsync, [&] { return emulator::allocate_on(stream, pointer, bytes); });
}

cudaError_t cudaFreeAsync(void *pointer, cudaStream_t stream) {
    return call(entry::cudaFreeAsync, [&] { return emulator::release_on(stream, pointer); });
}

cudaError_t cudaMallocHost(void **pointer, size_t bytes) {
    return call(entry::cudaMallocHost, [&] { return emulator::allocate_pinned(pointer, bytes); });
}

cudaError_t cudaHostAlloc(void **pointer, size_t bytes, unsigned) {
    return call(entry::cudaHostAlloc, [&] { return emulator::allocate_pinned(pointer, bytes); });
}

cudaError_t cudaFreeHost(void *pointer) {
    return call(entry::cudaFreeHost, [&] { return emulator::release_memory(pointer, true, "cudaFreeHost"); });
}

cudaError_t cudaMemGetInfo(size_t *rest, size_t *total) {
    return call(entry::cudaMemGetInfo, [&] {
        int ordinal = emulator::current_device();
        emulator::books locked;
        emulator::device &d = emulator::device_at(ordinal);
        *rest = emulator::left(d);
        *total = d.limit;
        return emulator::device_error(ordinal);
    });
}

cudaError_t cudaPointerGetAttributes(cudaPointerAttributes *attributes, const void *pointer) {
    return call(entry::cudaPointerGetAttributes, [&] { return emulator::describe(attributes, pointer); });
}
}
