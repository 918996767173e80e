/* Events: an event is the moment at which it was recorded last. */
#include "cuda_emulator/calls.h"
#include "cuda_emulator/graphs.h"
#include "cuda_emulator/runtime.h"
#include "cuda_emulator/state.h"
#include "cuda_emulator/streams.h"

namespace emulator {
namespace {

struct event {
    int device;
    unsigned flags;
    moment_ref latest;            /* none: not recorded yet; books' lock */
    hidden_ref<capture> captured; /* recorded last in a capture; books' lock */
    int mark = 0;                 /* which of the capture's marks */
};

event *expect_event(cudaEvent_t handle) {
    expect_object("cudaEvent_t", handle);
    return reinterpret_cast<event *>(handle);
}

moment_ref latest_of(event *e) {
    books locked;
    return e->latest;
}

hidden_ref<capture> capture_of(event *e) {
    books locked;
    return e->captured;
}

cudaError_t create(cudaEvent_t *handle, unsigned flags) {
    if (flags & ~(unsigned)(cudaEventBlockingSync | cudaEventDisableTiming)) return cudaErrorInvalidValue;
    cudaError_t error = device_error(current_device());
    if (error != cudaSuccess) return error;
    event *e = new event{current_device(), flags, {}, {}};
    add_object("cudaEvent_t", e);
    *handle = reinterpret_cast<cudaEvent_t>(e);
    return cudaSuccess;
}

bool is_idle(event *e) {
    unseen hidden;
    return has_come(latest_of(e));
}

cudaError_t destroy(cudaEvent_t handle) {
    event *e = expect_event(handle);
    int ordinal = e->device;
    if (device_error(ordinal) == cudaSuccess && !is_idle(e)) fail("cudaEventDestroy: destroyed in flight");
    remove_object("cudaEvent_t", e);
    unseen hidden;
    delete e;
    return device_error(ordinal);
}

void remember(event *e, const moment_ref &latest, const hidden_ref<capture> &captured, int mark) {
    books locked;
    e->latest = latest;
    e->captured = captured;
    e->mark = mark;
}

cudaError_t record(event *e, stream *s) {
    if (e->device != s->device)
        fail("cudaEventRecord: the event is of device %d, the stream of device %d", e->device, s->device);
    int mark;
    if (hidden_ref<capture> captured = capture_mark(s, &mark)) {
        remember(e, {}, captured, mark);
        return cudaSuccess;
    }
    cudaError_t error = device_error(s->device);
    if (error == cudaSuccess) remember(e, push_mark(s), {}, 0);
    return error;
}

cudaError_t wait_on_stream(stream *s, event *e) {
    if (hidden_ref<capture> captured = capture_of(e)) return capture_wait(s, captured, e->mark);
    if (break_capture_of(s)) return cudaErrorStreamCaptureIsolation;
    cudaError_t error = device_error(s->device);
    moment_ref latest = latest_of(e);
    if (error == cudaSuccess && latest) push_wait(s, latest);
    return error;
}

cudaError_t synchronize(event *e) {
    if (capture_of(e)) return cudaErrorCapturedEvent;
    wait_for(latest_of(e));
    return device_error(e->device);
}

cudaError_t query(event *e) {
    if (capture_of(e)) return cudaErrorCapturedEvent;
    cudaError_t error = device_error(e->device);
    if (error != cudaSuccess) return error;
    return has_come(latest_of(e)) ? cudaSuccess : cudaErrorNotReady;
}

cudaError_t elapsed(float *milliseconds, event *from, event *to) {
    moment_ref begin = latest_of(from), end = latest_of(to);
    if ((from->flags | to->flags) & cudaEventDisableTiming || !begin || !end)
        return cudaErrorInvalidResourceHandle;
    if (!has_come(begin) || !has_come(end)) return cudaErrorNotReady;
    unseen hidden;
    *milliseconds = std::chrono::duration<float, std::milli>(end->when - begin->when).count();
    return device_error(from->device);
}

} // namespace
} // namespace emulator

using emulator::call;
using emulator::entry;
using emulator::expect_event;
using emulator::expect_stream;

extern "C" {

cudaError_t cudaEventCreateWithFlags(cudaEvent_t *event, unsigned flags) {
    return call(entry::cudaEventCreateWithFlags, [&] { return emulator::create(event, flags); });
}

cudaError_t cudaEventDestroy(cudaEvent_t event) {
    return call(entry::cudaEventDestroy, [&] { return emulator::destroy(event); });
}

cudaError_t cudaEventRecord(cudaEvent_t event, cudaStream_t stream) {
    return call(entry::cudaEventRecord, [&] {
        return emulator::record(expect_event(event), expect_stream(stream, "cudaEventRecord"));
    });
}

cudaError_t cudaStreamWaitEvent(cudaStream_t stream, cudaEvent_t event, unsigned) {
    return call(entry::cudaStreamWaitEvent, [&] {
        return emulator::wait_on_stream(expect_stream(stream, "cudaStreamWaitEvent"), expect_event(event));
    });
}

cudaError_t cudaEventSynchronize(cudaEvent_t event) {
    return call(entry::cudaEventSynchronize, [&] { return emulator::synchronize(expect_event(event)); });
}

cudaError_t cudaEventQuery(cudaEvent_t event) {
    return call(entry::cudaEventQuery, [&] { return emulator::query(expect_event(event)); });
}

cudaError_t cudaEventElapsedTime(float *milliseconds, cudaEvent_t from, cudaEvent_t to) {
    return call(entry::cudaEventElapsedTime,
                [&] { return emulator::elapsed(milliseconds, expect_event(from), expect_event(to)); });
}
}
