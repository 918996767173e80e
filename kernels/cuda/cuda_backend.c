/* The CUDA backend: devices, memory, streams, events, copies and recordings.
 *
 * "cuda:N" is GPU N as CUDA counts them. A device has one lane: work is put on a stream by whatever thread runs it, and
 * done later. Every function that uses a device makes it the calling thread's current one first. Errors that come when work
 * is put on a stream are remembered by the stream (lam_cuda_check) and reported by stream_sync, as are those that come up
 * while the GPU works. */
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cuda/libraries.h"
#include "cuda/nvml.h"
#include "cuda/ops.h"
#include "cuda/report.h"

struct lam_backend_device {
    int ordinal, multiprocessors, capability;
    size_t shared_bytes, total_bytes;
    _Atomic uint64_t ways;                /* a bit for each GPU that this one was to reach */
    struct lam_cuda_libraries *libraries; /* made when they are first needed */
    char description[192];
};

struct lam_event {
    struct lam_backend_device *device;
    cudaEvent_t event;
};

struct lam_recording {
    cudaGraphExec_t graph;
};

/* ---- errors ---- */

static lam_status status_of(cudaError_t error) {
    return error == cudaErrorMemoryAllocation ? LAM_ERR_NO_MEMORY : LAM_ERR_DEVICE;
}

static lam_status failed(cudaError_t error, const char *what) {
    lam_status status = status_of(error);
    lam_fail(status, "%s: %s", what, cudaGetErrorString(error));
    cudaGetLastError(); /* this error is told; the next call's is its own */
    return status;
}

#define TRY_CUDA(call, what)                                                                                 \
    do {                                                                                                     \
        cudaError_t try_cuda_ = (call);                                                                      \
        if (try_cuda_ != cudaSuccess) return failed(try_cuda_, what);                                        \
    } while (0)

static lam_status use(const struct lam_backend_device *device) {
    TRY_CUDA(cudaSetDevice(device->ordinal), "choosing the GPU");
    return LAM_OK;
}

/* For what ends: whatever failed before stays the thread's error. */
static bool reach(const struct lam_backend_device *device) {
    if (cudaSetDevice(device->ordinal) == cudaSuccess) return true;
    cudaGetLastError();
    return false;
}

void lam_cuda_check(struct lam_stream *stream, cudaError_t error, const char *what) {
    if (error == cudaSuccess) return;
    cudaGetLastError();
    lam_cuda_failed(stream, status_of(error), what, cudaGetErrorString(error));
}

void lam_cuda_failed(struct lam_stream *stream, lam_status status, const char *what, const char *says) {
    if (stream->failed) return;
    stream->status = status;
    stream->failed = what;
    snprintf(stream->says, sizeof stream->says, "%s", says);
}

/* ---- devices ---- */

int lam_cuda_ordinal(const struct lam_backend_device *device) {
    return device->ordinal;
}

int lam_cuda_multiprocessors(const struct lam_backend_device *device) {
    return device->multiprocessors;
}

size_t lam_cuda_shared_bytes(const struct lam_backend_device *device) {
    return device->shared_bytes;
}

int lam_cuda_compute_capability(const struct lam_backend_device *device) {
    return device->capability;
}

struct lam_cuda_libraries **lam_cuda_libraries_slot(struct lam_backend_device *device) {
    return &device->libraries;
}

static lam_status count_devices(int *count) {
    *count = 0;
    cudaError_t error = cudaGetDeviceCount(count);
    if (error == cudaSuccess) return LAM_OK;
    *count = 0;
    cudaGetLastError();
    if (error == cudaErrorNoDevice) return LAM_OK;
    return lam_fail(LAM_ERR_NOT_FOUND, "no GPU can be used here: %s", cudaGetErrorString(error));
}

static int cuda_device_count(void) {
    int count;
    return count_devices(&count) == LAM_OK ? count : -1;
}

static lam_status parse_spec(const char *spec, int *ordinal) {
    char *end;
    long n = strtol(spec, &end, 10);
    if (end == spec || *end || spec[0] < '0' || spec[0] > '9' || n > 1023)
        return lam_fail(LAM_ERR_INVALID, "'%s' is not the number of a GPU; say cuda:0", spec);
    *ordinal = (int)n;
    return LAM_OK;
}

static lam_status describe_device(struct lam_backend_device *d) {
    enum { OLDEST = 75 };
    struct cudaDeviceProp properties;
    TRY_CUDA(cudaGetDeviceProperties(&properties, d->ordinal), "asking for the GPU's properties");
    d->multiprocessors = properties.multiProcessorCount;
    d->capability = 10 * properties.major + properties.minor;
    d->shared_bytes = properties.sharedMemPerBlockOptin;
    d->total_bytes = properties.totalGlobalMem;
    const size_t dnn =
        cudnnGetVersion(); /* measured choices are its algorithms: they hold for this version */
    snprintf(d->description, sizeof d->description,
             "%.100s, %d multiprocessors, sm_%d, %.0f GiB, cuDNN %zu.%zu.%zu", properties.name,
             d->multiprocessors, d->capability, (double)d->total_bytes / (1 << 30), dnn / 10000,
             dnn / 100 % 100, dnn % 100);
    if (d->capability < OLDEST)
        return lam_fail(LAM_ERR_UNSUPPORTED, "%s is too old: Lamina needs sm_%d or later", d->description,
                        (int)OLDEST);
    return LAM_OK;
}

static lam_status cuda_device_open(const char *spec, struct lam_backend_device **device) {
    int ordinal = 0, count;
    LAM_TRY(parse_spec(spec, &ordinal));
    LAM_TRY(count_devices(&count));
    if (count == 0)
        return lam_fail(LAM_ERR_NOT_FOUND, "there is no GPU here; the cpu devices are always there");
    if (ordinal >= count)
        return lam_fail(LAM_ERR_NOT_FOUND, "there %s %d GPU%s here, counted from 0",
                        count == 1 ? "is" : "are", count, count == 1 ? "" : "s");
    struct lam_backend_device *d = calloc(1, sizeof *d);
    if (!d) return lam_no_memory();
    d->ordinal = ordinal;
    lam_status status = describe_device(d);
    if (status == LAM_OK) status = use(d);
    if (status != LAM_OK) {
        free(d);
        return status;
    }
    *device = d;
    return LAM_OK;
}

static void cuda_device_close(struct lam_backend_device *device) {
    if (reach(device) && device->libraries) lam_cuda_libraries_close(device->libraries);
    free(device);
}

static int cuda_lanes(const struct lam_backend_device *device) {
    (void)device;
    return 1;
}

static const char *cuda_describe(const struct lam_backend_device *device) {
    return device->description;
}

static uint64_t cuda_total_memory(const struct lam_backend_device *device) {
    return device->total_bytes;
}

/* ---- memory ---- */

static bool cuda_free_memory(const struct lam_backend_device *device, uint64_t *bytes) {
    size_t rest = 0, total = 0;
    if (!reach(device)) return false;
    const bool known = cudaMemGetInfo(&rest, &total) == cudaSuccess;
    if (!known) cudaGetLastError();
    *bytes = rest;
    return known;
}

static bool cuda_process_memory(const struct lam_backend_device *device, uint64_t *bytes) {
    struct lam_nvml nvml;
    if (!lam_nvml_open(device->ordinal, &nvml)) return false;
    *bytes = lam_nvml_process_bytes(&nvml);
    lam_nvml_close(&nvml);
    return *bytes > 0;
}

static lam_status cuda_allocate(struct lam_backend_device *device, size_t bytes, void **pointer) {
    LAM_TRY(use(device));
    cudaError_t error = cudaMalloc(pointer, bytes);
    if (error == cudaSuccess) return LAM_OK;
    size_t rest = 0, total = 0;
    cudaGetLastError();
    if (error != cudaErrorMemoryAllocation || cudaMemGetInfo(&rest, &total) != cudaSuccess)
        return failed(error, "allocating memory");
    return lam_fail(LAM_ERR_NO_MEMORY,
                    "the GPU has no %zu bytes left: %zu of %zu are free, and other programs may use it, too",
                    bytes, rest, total);
}

static void cuda_release(struct lam_backend_device *device, void *pointer) {
    if (reach(device) && cudaFree(pointer) != cudaSuccess) cudaGetLastError();
}

static lam_status cuda_allocate_host(struct lam_backend_device *device, size_t bytes, void **pointer) {
    LAM_TRY(use(device));
    TRY_CUDA(cudaMallocHost(pointer, bytes), "allocating pinned memory");
    return LAM_OK;
}

static void cuda_release_host(struct lam_backend_device *device, void *pointer) {
    if (reach(device) && cudaFreeHost(pointer) != cudaSuccess) cudaGetLastError();
}

/* ---- streams ---- */

static void cuda_stream_destroy(struct lam_stream *stream) {
    if (reach(stream->device)) {
        if (stream->run && cudaFree(stream->run) != cudaSuccess) cudaGetLastError();
        if (stream->stream && cudaStreamDestroy(stream->stream) != cudaSuccess) cudaGetLastError();
    }
    free(stream);
}

static lam_status fill_stream(struct lam_stream *s) {
    LAM_TRY(use(s->device));
    TRY_CUDA(cudaStreamCreateWithFlags(&s->stream, cudaStreamNonBlocking), "making a stream");
    TRY_CUDA(cudaMalloc((void **)&s->run, sizeof *s->run), "making a stream");
    return LAM_OK;
}

static lam_status cuda_stream_create(struct lam_backend_device *device, struct lam_stream **stream) {
    struct lam_stream *s = calloc(1, sizeof *s);
    if (!s) return lam_no_memory();
    s->device = device;
    lam_status status = fill_stream(s);
    if (status != LAM_OK)
        cuda_stream_destroy(s);
    else
        *stream = s;
    return status;
}

static lam_status remembered(struct lam_stream *stream) {
    lam_fail(stream->status, "cuda:%d: %s: %s", stream->device->ordinal, stream->failed, stream->says);
    stream->failed = NULL;
    return stream->status;
}

static lam_status cuda_stream_sync(struct lam_stream *stream) {
    LAM_TRY(use(stream->device));
    cudaError_t error = cudaStreamSynchronize(stream->stream);
    if (stream->failed) {
        if (error != cudaSuccess) cudaGetLastError();
        return remembered(stream);
    }
    if (error == cudaSuccess) return LAM_OK;
    char name[24];
    snprintf(name, sizeof name, "cuda:%d", stream->device->ordinal);
    return lam_fail_in(failed(error, "waiting for the GPU"), name);
}

/* ---- events ---- */

static lam_status cuda_event_create(struct lam_backend_device *device, struct lam_event **event) {
    LAM_TRY(use(device));
    struct lam_event *e = calloc(1, sizeof *e);
    if (!e) return lam_no_memory();
    e->device = device;
    cudaError_t error = cudaEventCreateWithFlags(&e->event, cudaEventDisableTiming);
    if (error != cudaSuccess) {
        free(e);
        return failed(error, "making an event");
    }
    *event = e;
    return LAM_OK;
}

static void cuda_event_destroy(struct lam_event *event) {
    if (reach(event->device) && cudaEventDestroy(event->event) != cudaSuccess) cudaGetLastError();
    free(event);
}

static lam_status cuda_event_record(struct lam_event *event, struct lam_stream *stream) {
    LAM_TRY(use(stream->device));
    TRY_CUDA(cudaEventRecord(event->event, stream->stream), "recording an event");
    return LAM_OK;
}

static lam_status cuda_event_wait(struct lam_event *event, struct lam_stream *stream) {
    LAM_TRY(use(stream->device));
    TRY_CUDA(cudaStreamWaitEvent(stream->stream, event->event, 0), "waiting for an event on a stream");
    return LAM_OK;
}

static lam_status cuda_event_sync(struct lam_event *event) {
    LAM_TRY(use(event->device));
    TRY_CUDA(cudaEventSynchronize(event->event), "waiting for an event");
    return LAM_OK;
}

/* ---- copies ---- */

static lam_status copy_as(struct lam_stream *stream, void *to, const void *from, size_t bytes,
                          enum cudaMemcpyKind kind) {
    if (bytes == 0) return LAM_OK;
    LAM_TRY(use(stream->device));
    TRY_CUDA(cudaMemcpyAsync(to, from, bytes, kind, stream->stream), "copying");
    return LAM_OK;
}

static lam_status cuda_copy_from_host(struct lam_stream *stream, void *to, const void *from_host,
                                      size_t bytes) {
    return copy_as(stream, to, from_host, bytes, cudaMemcpyHostToDevice);
}

static lam_status cuda_copy_to_host(struct lam_stream *stream, void *to_host, const void *from,
                                    size_t bytes) {
    return copy_as(stream, to_host, from, bytes, cudaMemcpyDeviceToHost);
}

static lam_status cuda_copy(struct lam_stream *stream, void *to, const void *from, size_t bytes) {
    return copy_as(stream, to, from, bytes, cudaMemcpyDeviceToDevice);
}

/* Once for each pair; where the two GPUs cannot reach each other, the driver goes through host memory. */
static void open_way(struct lam_backend_device *from, int to) {
    if (to >= 64 || to == from->ordinal || atomic_fetch_or(&from->ways, UINT64_C(1) << to) >> to & 1) return;
    int can = 0;
    if (cudaDeviceCanAccessPeer(&can, from->ordinal, to) != cudaSuccess) can = 0;
    if (!can || cudaDeviceEnablePeerAccess(to, 0) != cudaSuccess) cudaGetLastError();
}

static lam_status cuda_copy_peer(struct lam_stream *stream, struct lam_backend_device *to_device, void *to,
                                 struct lam_backend_device *from_device, const void *from, size_t bytes) {
    if (bytes == 0) return LAM_OK;
    LAM_TRY(use(stream->device));
    open_way(stream->device, to_device == stream->device ? from_device->ordinal : to_device->ordinal);
    TRY_CUDA(cudaMemcpyPeerAsync(to, to_device->ordinal, from, from_device->ordinal, bytes, stream->stream),
             "copying between GPUs");
    return LAM_OK;
}

static lam_status cuda_fill_zero(struct lam_stream *stream, void *to, size_t bytes) {
    if (bytes == 0) return LAM_OK;
    LAM_TRY(use(stream->device));
    TRY_CUDA(cudaMemsetAsync(to, 0, bytes, stream->stream), "clearing memory");
    return LAM_OK;
}

static lam_status cuda_call_host(struct lam_stream *stream, void (*function)(void *context), void *context) {
    LAM_TRY(use(stream->device));
    TRY_CUDA(cudaLaunchHostFunc(stream->stream, function, context), "calling the host from a stream");
    return LAM_OK;
}

/* ---- recordings ---- */

static void cuda_set_run(struct lam_stream *stream, const struct lam_run *run) {
    if (use(stream->device) == LAM_OK) lam_cuda_store_run(stream->run, run, stream);
}

static lam_status cuda_record_begin(struct lam_stream *stream) {
    LAM_TRY(use(stream->device));
    TRY_CUDA(cudaStreamBeginCapture(stream->stream, cudaStreamCaptureModeThreadLocal), "recording a graph");
    return LAM_OK;
}

static lam_status instantiate(cudaGraph_t graph, struct lam_recording **recording) {
    struct lam_recording *r = calloc(1, sizeof *r);
    if (!r) return lam_no_memory();
    cudaError_t error = cudaGraphInstantiate(&r->graph, graph, 0);
    if (error != cudaSuccess) {
        free(r);
        return failed(error, "making a graph");
    }
    *recording = r;
    return LAM_OK;
}

/* A failure on the way is the stream's: it made the recording useless. */
static lam_status cuda_record_end(struct lam_stream *stream, struct lam_recording **recording) {
    LAM_TRY(use(stream->device));
    cudaGraph_t graph = NULL;
    cudaError_t error = cudaStreamEndCapture(stream->stream, &graph);
    lam_status status = LAM_OK;
    if (stream->failed) {
        if (error != cudaSuccess) cudaGetLastError();
        status = remembered(stream);
    } else if (error != cudaSuccess) {
        status = failed(error, "recording a graph");
    }
    if (status == LAM_OK) status = instantiate(graph, recording);
    if (graph && cudaGraphDestroy(graph) != cudaSuccess) cudaGetLastError();
    return status;
}

static lam_status cuda_record_launch(struct lam_recording *recording, struct lam_stream *stream) {
    LAM_TRY(use(stream->device));
    TRY_CUDA(cudaGraphLaunch(recording->graph, stream->stream), "launching a graph");
    return LAM_OK;
}

static void cuda_record_destroy(struct lam_recording *recording) {
    if (!recording) return;
    if (cudaGraphExecDestroy(recording->graph) != cudaSuccess) cudaGetLastError();
    free(recording);
}

/* ---- lanes and ops ---- */

static void cuda_run_lanes(struct lam_backend_device *device, void (*work)(void *context, int lane),
                           void *context) {
    if (use(device) == LAM_OK) work(context, 0);
}

static void cuda_lane_barrier(struct lam_backend_device *device, int lane) {
    (void)device, (void)lane; /* one lane, and its stream keeps the order */
}

static enum lam_layout cuda_layout(const struct lam_backend_device *device,
                                   const struct lam_tensor_desc *desc) {
    (void)device;
    return desc->shape.rank == 4 && desc->dtype != LAM_U8 ? LAM_NHWC : LAM_PLAIN;
}

enum { BF16_FROM = 80 };

static bool has_bf16(const struct lam_op *op) {
    for (int i = 0; i < op->inputs; i++)
        if (op->in[i].present && op->in[i].desc.dtype == LAM_BF16) return true;
    for (int i = 0; i < op->outputs; i++)
        if (op->out[i].present && op->out[i].desc.dtype == LAM_BF16) return true;
    return false;
}

static lam_status cuda_kernel_create(struct lam_backend_device *device, const struct lam_op *op,
                                     const struct lam_kernel_options *options, struct lam_kernel **kernel,
                                     const char **chosen) {
    lam_cuda_create_fn create = lam_cuda_create_for(op->kind);
    if (!create) return lam_fail(LAM_ERR_UNSUPPORTED, "the cuda backend has no %s", lam_op_name(op->kind));
    if (options->slice_count < 1 || options->lanes != 1)
        return lam_fail(LAM_ERR_INTERNAL, "%s: asked for with %d slice sizes and %d lanes on a GPU",
                        lam_op_name(op->kind), options->slice_count, options->lanes);
    if (device->capability < BF16_FROM && has_bf16(op))
        return lam_fail(LAM_ERR_UNSUPPORTED, "cuda:%d is an sm_%d, which has no bf16; say --precision f32",
                        device->ordinal, device->capability);
    LAM_TRY(use(device));
    const char *choice = NULL;
    LAM_TRY(create(device, op, options, kernel, &choice));
    (*kernel)->backend = &lam_backend_cuda;
    if (chosen) *chosen = choice;
    return LAM_OK;
}

const struct lam_backend lam_backend_cuda = {
    .name = "cuda",
    .device_count = cuda_device_count,
    .device_open = cuda_device_open,
    .device_close = cuda_device_close,
    .lanes = cuda_lanes,
    .describe = cuda_describe,
    .total_memory = cuda_total_memory,
    .free_memory = cuda_free_memory,
    .process_memory = cuda_process_memory,
    .report = lam_cuda_report,
    .allocate = cuda_allocate,
    .release = cuda_release,
    .host_visible = false,
    .whole_batch = true,
    .allocate_host = cuda_allocate_host,
    .release_host = cuda_release_host,
    .stream_create = cuda_stream_create,
    .stream_destroy = cuda_stream_destroy,
    .stream_sync = cuda_stream_sync,
    .event_create = cuda_event_create,
    .event_destroy = cuda_event_destroy,
    .event_record = cuda_event_record,
    .event_wait = cuda_event_wait,
    .event_sync = cuda_event_sync,
    .copy_from_host = cuda_copy_from_host,
    .copy_to_host = cuda_copy_to_host,
    .copy = cuda_copy,
    .copy_peer = cuda_copy_peer,
    .fill_zero = cuda_fill_zero,
    .call_host = cuda_call_host,
    .set_run = cuda_set_run,
    .record_begin = cuda_record_begin,
    .record_end = cuda_record_end,
    .record_launch = cuda_record_launch,
    .record_destroy = cuda_record_destroy,
    .together_begin = lam_cuda_bundle_begin,
    .together_end = lam_cuda_bundle_end,
    .run_lanes = cuda_run_lanes,
    .lane_barrier = cuda_lane_barrier,
    .layout = cuda_layout,
    .kernel_create = cuda_kernel_create,
    .sgd = lam_cuda_sgd,
    .adamw = lam_cuda_adamw,
    .ema = lam_cuda_ema,
    .accumulate = lam_cuda_accumulate,
    .sum_squares = lam_cuda_sum_squares,
};
