/* Calls are counted, made to fail when that is on order, and their errors followed. */
#include "cuda_emulator/calls.h"

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <unistd.h>
#include <cstdarg>

#include "cuda_emulator/graphs.h"
#include "cuda_emulator/orders.h"
#include "cuda_emulator/runtime.h"
#include "cuda_emulator/state.h"

namespace emulator {
namespace {

struct entry_point {
    const char *name;
    unsigned flags;
};
const entry_point entry_points[] = {
#define EMULATOR_ENTRY(name, flags) {#name, flags},
    EMULATOR_ENTRY_POINTS(EMULATOR_ENTRY)
#undef EMULATOR_ENTRY
};
const entry_point &point_of(entry which) {
    return entry_points[(int)which];
}

/* Of this thread: the entry point whose error nobody has looked at yet, and the error that cudaGetLastError gives. */
thread_local const char *ignored;
thread_local cudaError_t last_error;

void expect_looked(const char *name) {
    if (ignored) fail("%s is called after an ignored error of %s", name, ignored);
}

/* Making a device current can fail only when that sets it up. */
bool can_fail(entry which) {
    return which != entry::cudaSetDevice && which != entry::cudaGetDevice;
}

cudaError_t planned_error(unsigned flags) {
    if (flags & ALLOCATES) return cudaErrorMemoryAllocation;
    if (!(flags & QUEUES)) return cudaErrorUnknown;
    break_device(current_device(), cudaErrorLaunchFailure);
    return device_error(current_device());
}

} // namespace

void fail(const char *format, ...) {
    char text[1024];
    int used = snprintf(text, sizeof text, "emulator: ");
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(text + used, sizeof text - (size_t)used - 1, format, arguments);
    va_end(arguments);
    strcat(text, "\n");
    fflush(nullptr);
    if (write(STDERR_FILENO, text, strlen(text)) < 0) _exit(98);
    abort();
}

cudaError_t begin_call(entry which) {
    const entry_point &point = point_of(which);
    if (point.flags & LOOKS) note_looked();
    expect_looked(point.name);
    if (point.flags & NEVER) return cudaSuccess;
    if (can_fail(which) && count_call(point.name)) return planned_error(point.flags);
    if (point.flags & UNSAFE && break_captures()) return cudaErrorStreamCaptureUnsupported;
    return cudaSuccess;
}

cudaError_t end_call(entry which, cudaError_t error) {
    const entry_point &point = point_of(which);
    if (error == cudaSuccess || point.flags & NEVER) return error;
    last_error = error;
    if (error != cudaErrorNotReady && !(point.flags & QUIET)) ignored = point.name;
    return error;
}

bool does_its_work(entry which, cudaError_t planned) {
    return planned == cudaSuccess ||
           (point_of(which).flags & DOES && planned != cudaErrorStreamCaptureUnsupported);
}

bool should_fail(const char *entry_point) {
    expect_looked(entry_point);
    bool now = count_call(entry_point);
    if (now) ignored = entry_point;
    return now;
}

void note_failure(const char *entry_point) {
    ignored = entry_point;
}

void note_looked() {
    ignored = nullptr;
}

/* ---- errors and versions ---- */

namespace {

struct error_text {
    cudaError_t error;
    const char *name, *text;
};
#define EMULATOR_ERROR(error, text) {error, #error, text},
const error_text error_texts[] = {
    EMULATOR_ERROR(cudaSuccess, "no error") EMULATOR_ERROR(cudaErrorInvalidValue, "invalid argument")
        EMULATOR_ERROR(cudaErrorMemoryAllocation, "out of memory") EMULATOR_ERROR(cudaErrorInvalidDevice,
                                                                                  "invalid device ordinal")
            EMULATOR_ERROR(cudaErrorNoDevice, "no CUDA-capable device is detected") EMULATOR_ERROR(
                cudaErrorInvalidResourceHandle, "invalid resource handle") EMULATOR_ERROR(cudaErrorNotReady,
                                                                                          "device not ready")
                EMULATOR_ERROR(cudaErrorIllegalAddress, "an illegal memory access was encountered")
                    EMULATOR_ERROR(cudaErrorLaunchFailure, "unspecified launch failure") EMULATOR_ERROR(
                        cudaErrorDevicesUnavailable, "CUDA-capable device(s) is/are busy or unavailable")
                        EMULATOR_ERROR(cudaErrorPeerAccessAlreadyEnabled, "peer access is already enabled")
                            EMULATOR_ERROR(cudaErrorPeerAccessUnsupported,
                                           "peer access is not supported between these two devices")
                                EMULATOR_ERROR(cudaErrorStreamCaptureUnsupported,
                                               "operation not permitted when stream is capturing")
                                    EMULATOR_ERROR(cudaErrorStreamCaptureInvalidated,
                                                   "operation failed due to a previous error during capture")
                                        EMULATOR_ERROR(cudaErrorStreamCaptureUnmatched,
                                                       "capture was not initiated in this stream")
                                            EMULATOR_ERROR(cudaErrorStreamCaptureUnjoined,
                                                           "capturing stream has unjoined work")
                                                EMULATOR_ERROR(
                                                    cudaErrorStreamCaptureIsolation,
                                                    "dependency created on uncaptured work in another stream")
                                                    EMULATOR_ERROR(cudaErrorStreamCaptureWrongThread,
                                                                   "attempt to terminate a thread-local "
                                                                   "capture sequence from another thread")
                                                        EMULATOR_ERROR(cudaErrorCapturedEvent,
                                                                       "operation not permitted on an event "
                                                                       "last recorded in a capturing stream")
                                                            EMULATOR_ERROR(cudaErrorUnknown,
                                                                           "unknown error")};
#undef EMULATOR_ERROR

const error_text *find_text(cudaError_t error) {
    for (const error_text &t : error_texts)
        if (t.error == error) return &t;
    return nullptr;
}

enum { VERSION = 13000 };

} // namespace
} // namespace emulator

using emulator::call;
using emulator::entry;

extern "C" {

cudaError_t cudaGetLastError(void) {
    call(entry::cudaGetLastError, [] { return cudaSuccess; });
    cudaError_t error = emulator::last_error;
    emulator::last_error = cudaSuccess;
    return error;
}

cudaError_t cudaPeekAtLastError(void) {
    call(entry::cudaPeekAtLastError, [] { return cudaSuccess; });
    return emulator::last_error;
}

const char *cudaGetErrorName(cudaError_t error) {
    call(entry::cudaGetErrorName, [] { return cudaSuccess; });
    const emulator::error_text *t = emulator::find_text(error);
    return t ? t->name : "unrecognized error code";
}

const char *cudaGetErrorString(cudaError_t error) {
    call(entry::cudaGetErrorString, [] { return cudaSuccess; });
    const emulator::error_text *t = emulator::find_text(error);
    return t ? t->text : "unrecognized error code";
}

cudaError_t cudaDriverGetVersion(int *version) {
    return call(entry::cudaDriverGetVersion, [&] { return *version = emulator::VERSION, cudaSuccess; });
}

cudaError_t cudaRuntimeGetVersion(int *version) {
    return call(entry::cudaRuntimeGetVersion, [&] { return *version = emulator::VERSION, cudaSuccess; });
}
}
