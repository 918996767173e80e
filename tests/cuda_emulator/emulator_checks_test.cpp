/* The emulator finds mistakes, and fails when it is told to. Built as emulator_test.cpp is. */
#include <cmath>
#include <cstring>

#include "cuda_emulator/faults.h"
#include "cuda_emulator/runtime.h"
#include "cuda_emulator/sanitizers.h"
#include "cuda_emulator/test_harness.h"
#include "cuda_emulator/test_setup.h"

namespace {

/* ---- memory ---- */

void host_pointer() {
    setup s;
    float host[64];
    start(s.stream, fill, 1, 64, 0, host, 1.0f, 64);
}
void other_device() {
    setup s;
    memory<float> x(64);
    cudaStream_t far;
    OK(cudaSetDevice(1));
    OK(cudaStreamCreateWithFlags(&far, cudaStreamNonBlocking));
    start(far, fill, 1, 64, 0, x.data, 1.0f, 64);
}
void wrong_current_device() {
    setup s;
    memory<float> x(64);
    OK(cudaSetDevice(1));
    start(s.stream, fill, 1, 64, 0, x.data, 1.0f, 64);
}
void freed_pointer() {
    setup s;
    float *x;
    OK(cudaMalloc((void **)&x, 256));
    OK(cudaFree(x));
    start(s.stream, fill, 1, 64, 0, x, 1.0f, 64);
}
void freed_pointer_in_graph() {
    setup s;
    float *x;
    cudaGraph_t graph;
    cudaGraphExec_t launchable;
    OK(cudaMalloc((void **)&x, 256));
    OK(cudaStreamBeginCapture(s.stream, cudaStreamCaptureModeThreadLocal));
    start(s.stream, fill, 1, 64, 0, x, 1.0f, 64);
    OK(cudaStreamEndCapture(s.stream, &graph));
    OK(cudaGraphInstantiate(&launchable, graph, 0));
    OK(cudaFree(x));
    cudaGraphLaunch(launchable, s.stream);
}
void freed_twice() {
    void *x;
    OK(cudaMalloc(&x, 256));
    OK(cudaFree(x));
    cudaFree(x);
}
void freed_inside() {
    char *x;
    OK(cudaMalloc((void **)&x, 256));
    cudaFree(x + 16);
}
void freed_as_host_memory() {
    void *x;
    OK(cudaMalloc(&x, 256));
    cudaFreeHost(x);
}
void copy_too_long() {
    setup s;
    memory<float> x(64), y(32);
    cudaMemcpyAsync(y.data, x.data, 256, cudaMemcpyDeviceToDevice, s.stream);
}
void copy_of_wrong_kind() {
    setup s;
    memory<float> x(64), y(64);
    cudaMemcpyAsync(y.data, x.data, 256, cudaMemcpyHostToDevice, s.stream);
}
void copy_overlaps() {
    setup s;
    memory<float> x(64);
    cudaMemcpyAsync(x.data, x.data + 16, 128, cudaMemcpyDeviceToDevice, s.stream);
}
void fill_too_long() {
    setup s;
    memory<float> x(64);
    cudaMemsetAsync(x.data + 1, 0, 256, s.stream);
}
void peer_of_wrong_device() {
    setup s;
    memory<float> x(64), y(64);
    cudaMemcpyPeerAsync(y.data, 1, x.data, 0, 256, s.stream);
}
void workspace_too_small() {
    setup s;
    memory<float> x(64);
    emulator::enqueue(s.stream, "cudnnTest", {{x.data, 257, "cudnnTest: workspace"}}, [] {});
}

/* ---- what is in flight ---- */

void wait_a_while(void *) {
    usleep(200000);
}
void free_in_flight() {
    setup s;
    float *x;
    OK(cudaMalloc((void **)&x, 256));
    OK(cudaLaunchHostFunc(s.stream, wait_a_while, nullptr));
    start(s.stream, fill, 1, 64, 0, x, 1.0f, 64);
    cudaFree(x);
}
void free_host_in_flight() {
    setup s;
    void *pinned;
    memory<float> x(64);
    OK(cudaMallocHost(&pinned, 256));
    OK(cudaLaunchHostFunc(s.stream, wait_a_while, nullptr));
    OK(cudaMemcpyAsync(x.data, pinned, 256, cudaMemcpyHostToDevice, s.stream));
    cudaFreeHost(pinned);
}
void free_async_in_flight() {
    setup s;
    void *x;
    OK(cudaMallocAsync(&x, 256, s.stream));
    OK(cudaLaunchHostFunc(s.other, wait_a_while, nullptr));
    OK(cudaMemsetAsync(x, 0, 256, s.other));
    OK(cudaFreeAsync(x, s.stream));
    cudaStreamSynchronize(s.stream);
}
void stream_in_flight() {
    setup s;
    OK(cudaLaunchHostFunc(s.stream, wait_a_while, nullptr));
    cudaStreamDestroy(s.stream);
}
void event_in_flight() {
    setup s;
    OK(cudaLaunchHostFunc(s.stream, wait_a_while, nullptr));
    OK(cudaEventRecord(s.event, s.stream));
    cudaEventDestroy(s.event);
}
void graph_in_flight() {
    setup s;
    cudaGraph_t graph;
    cudaGraphExec_t launchable;
    OK(cudaStreamBeginCapture(s.stream, cudaStreamCaptureModeThreadLocal));
    OK(cudaLaunchHostFunc(s.stream, wait_a_while, nullptr));
    OK(cudaStreamEndCapture(s.stream, &graph));
    OK(cudaGraphInstantiate(&launchable, graph, 0));
    OK(cudaGraphLaunch(launchable, s.stream));
    cudaGraphExecDestroy(launchable);
}

/* ---- handles ---- */

void default_stream() {
    setup s;
    memory<float> x(64);
    cudaMemsetAsync(x.data, 0, 256, nullptr);
}
void destroyed_stream() {
    setup s;
    OK(cudaStreamDestroy(s.other));
    cudaStreamSynchronize(s.other);
}
void destroyed_event() {
    setup s;
    OK(cudaEventDestroy(s.event));
    cudaEventRecord(s.event, s.stream);
}
void event_of_other_device() {
    setup s;
    cudaEvent_t event;
    OK(cudaSetDevice(1));
    OK(cudaEventCreateWithFlags(&event, cudaEventDisableTiming));
    cudaEventRecord(event, s.stream);
}

/* ---- kernels ---- */

__global__ void divergent_barrier(float *x) {
    if (threadIdx.x < 8) {
        __syncthreads();
        x[threadIdx.x] = 1;
    } else {
        __syncthreads();
    }
}
__global__ void barrier_against_shuffle(float *x) {
    if (threadIdx.x == 3) __syncthreads();
    x[threadIdx.x] = __shfl_xor_sync(0xFFFFFFFFu, 1.0f, 1);
    if (threadIdx.x != 3) __syncthreads();
}
__global__ void shuffle_without_a_lane(float *x) {
    if (threadIdx.x == 31) return;
    x[threadIdx.x] = __shfl_xor_sync(0xFFFFFFFFu, 1.0f, 1);
}
__global__ void shuffle_outside_of_mask(float *x) {
    if (threadIdx.x < 16) x[threadIdx.x] = __shfl_sync(0x0000FFFFu, 1.0f, 20);
}
__global__ void shuffle_of_others(float *x) {
    x[threadIdx.x] = __shfl_sync(0x0000FFFFu, 1.0f, 2);
}
__global__ void different_masks(float *x) {
    x[threadIdx.x] = __shfl_sync(threadIdx.x < 16 ? 0xFFFFFFFFu : 0xFFFF0001u, 1.0f, 20);
}
__global__ void beyond_shared_memory(float *x) {
    x[threadIdx.x] = shared_memory<float>()[threadIdx.x + 2];
}

template <void (*kernel)(float *)> void run_wrong_kernel() {
    setup s;
    memory<float> x(32);
    start(s.stream, kernel, 1, 32, 132, x.data);
    cudaStreamSynchronize(s.stream);
}
void block_too_large() {
    setup s;
    memory<float> x(64);
    start(s.stream, fill, 1, dim3(64, 32), 0, x.data, 1.0f, 64);
}
void grid_too_large() {
    setup s;
    memory<float> x(64);
    start(s.stream, fill, dim3(1, 65536), 32, 0, x.data, 1.0f, 64);
}
void empty_grid() {
    setup s;
    memory<float> x(64);
    start(s.stream, fill, 0, 32, 0, x.data, 1.0f, 64);
}
void too_much_shared_memory() {
    setup s;
    memory<float> x(64);
    start(s.stream, fill, 1, 32, 49153, x.data, 1.0f, 64);
}

/* ---- errors that nobody looks at ---- */

void ignored_error() {
    void *x;
    cudaMalloc(&x, 1 << 20);
    cudaMalloc(&x, 16);
}
void ignored_library_error() {
    setup s;
    emulator::note_failure("cudnnTest");
    cudaEventRecord(s.event, s.stream);
}
void looked_at_error() {
    void *x;
    CHECK(cudaMalloc(&x, 1 << 20) == cudaErrorMemoryAllocation);
    CHECK(cudaGetLastError() == cudaErrorMemoryAllocation);
    CHECK(cudaMalloc(&x, 1 << 20) == cudaErrorMemoryAllocation);
    cudaGetErrorString(cudaErrorMemoryAllocation);
    OK(cudaMalloc(&x, 16));
    CHECK(cudaMalloc(&x, 1 << 20) == cudaErrorMemoryAllocation);
    OK(cudaFree(nullptr));
    OK(cudaMalloc(&x, 16));
    _exit(0);
}

/* ---- leaks ---- */

void leak() {
    void *x;
    cudaStream_t stream;
    OK(cudaMalloc(&x, 123));
    OK(cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking));
}

/* ---- failures on order ---- */

void third_allocation_fails() {
    void *x[3];
    OK(cudaMalloc(&x[0], 16));
    OK(cudaMalloc(&x[1], 16));
    CHECK(cudaMalloc(&x[2], 16) == cudaErrorMemoryAllocation);
    OK(cudaFree(x[0]));
    OK(cudaMalloc(&x[2], 16));
    OK(cudaFree(x[1]));
    OK(cudaFree(x[2]));
    CHECK(emulator_calls("cudaMalloc") == 4 && emulator_calls("any") == 7);
}

/* Work that fails takes the device with it, and nothing else. */
void work_fails() {
    cudaStream_t stream;
    float *x;
    OK(cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking));
    OK(cudaMalloc((void **)&x, 256));
    for (int i = 0; i < 3; i++) {
        cudaError_t error = emulator::launch("fill", fill, 1, 64, 0, stream, x, (float)i, 64);
        CHECK(error == cudaSuccess || (i == 2 && error == cudaErrorLaunchFailure));
        cudaGetLastError();
    }
    CHECK(cudaStreamSynchronize(stream) == cudaErrorLaunchFailure);
    cudaGetLastError();
    CHECK(x[0] == 0); /* the second did not run */
    CHECK(cudaMemsetAsync(x, 0, 256, stream) == cudaErrorLaunchFailure);
    CHECK(cudaGetLastError() == cudaErrorLaunchFailure);
    CHECK(cudaFree(x) == cudaErrorLaunchFailure);
    CHECK(cudaStreamDestroy(stream) == cudaErrorLaunchFailure);
    OK(cudaSetDevice(1));
    OK(cudaMalloc((void **)&x, 256));
    OK(cudaFree(x));
    OK(cudaSetDevice(0));
    emulator_restore();
    OK(cudaMalloc((void **)&x, 256));
    OK(cudaFree(x));
}

/* Whichever call fails, what was made can be freed, and nothing hangs. */
bool step() {
    cudaStream_t stream = nullptr;
    cudaEvent_t event = nullptr;
    float *x = nullptr, host[64];
    bool good = cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking) == cudaSuccess &&
                cudaEventCreateWithFlags(&event, cudaEventDisableTiming) == cudaSuccess &&
                cudaMalloc((void **)&x, 256) == cudaSuccess &&
                emulator::launch("fill", fill, 1, 64, 0, stream, x, 1.0f, 64) == cudaSuccess &&
                cudaMemcpyAsync(host, x, 256, cudaMemcpyDeviceToHost, stream) == cudaSuccess &&
                cudaEventRecord(event, stream) == cudaSuccess && cudaEventSynchronize(event) == cudaSuccess;
    if (!good) cudaGetLastError();
    if (stream) good = cudaStreamSynchronize(stream) == cudaSuccess && good;
    if (x) good = cudaFree(x) == cudaSuccess && good;
    if (event) good = cudaEventDestroy(event) == cudaSuccess && good;
    if (stream) good = cudaStreamDestroy(stream) == cudaSuccess && good;
    return good;
}

void every_call_fails() {
    CHECK(step());
    long calls = emulator_calls("any");
    CHECK(calls == 11);
    for (long n = 1; n <= calls; n++) {
        emulator_fail("any", n);
        CHECK(!step());
        CHECK(emulator_leaks() == 0);
        emulator_restore();
    }
    for (long n = 1; n <= 2; n++) {
        emulator_fail("work", n);
        CHECK(!step());
        CHECK(emulator_leaks() == 0);
        emulator_restore();
    }
    CHECK(step());
}

void lost_device() {
    void *x;
    OK(cudaSetDevice(1));
    OK(cudaMalloc(&x, 16));
    CHECK(cudaMalloc(&x, 16) ==
          cudaErrorDevicesUnavailable); /* the second call: cudaSetDevice counts when it is first */
    cudaGetLastError();
    _exit(0);
}

void less_memory() {
    void *x;
    emulator_set_memory(0, 100);
    CHECK(cudaMalloc(&x, 101) == cudaErrorMemoryAllocation);
    cudaGetLastError();
    OK(cudaMalloc(&x, 100));
    CHECK(emulator_memory_used(0) == 100);
    OK(cudaFree(x));
}

char count_file[] = "/tmp/emulator_count_XXXXXX";
void counted() {
    CHECK(step());
}
void count_is_written() {
    int file = mkstemp(count_file);
    std::string setting = std::string("LAMINA_EMULATED_COUNT=") + count_file;
    expect_success("counted", counted, {setting.c_str()});
    char text[4096] = "";
    ssize_t got = read(file, text, sizeof text - 1);
    close(file);
    unlink(count_file);
    judge("count is written", {0, text}, got > 0 && strncmp(text, "11\n", 3) == 0, "\nany\t11\n");
}

/* ---- all of them ---- */

#ifdef EMULATOR_ASAN
constexpr bool overruns_are_found = true;
#else
constexpr bool overruns_are_found = false;
#endif

void memory_tests() {
    expect_abort("host pointer", host_pointer, "argument 0");
    expect_abort("other device", other_device, "which device 1 cannot access");
    expect_abort("wrong current device", wrong_current_device, "the current device is 1");
    expect_abort("freed pointer", freed_pointer, "was freed");
    expect_abort("freed pointer in a graph", freed_pointer_in_graph, "which was freed");
    expect_abort("freed twice", freed_twice, "freed twice");
    expect_abort("freed inside", freed_inside, "not its beginning");
    expect_abort("freed as host memory", freed_as_host_memory, "memory of a device");
    expect_abort("copy too long", copy_too_long, "go beyond the end");
    expect_abort("copy of wrong kind", copy_of_wrong_kind, "kind says otherwise");
    expect_abort("copy overlaps", copy_overlaps, "overlap");
    expect_abort("fill too long", fill_too_long, "go beyond the end");
    expect_abort("peer of wrong device", peer_of_wrong_device, "cannot access");
    expect_abort("workspace too small", workspace_too_small, "cudnnTest: workspace: 257 bytes");
}

void flight_tests() {
    expect_abort("free in flight", free_in_flight, "freed in flight");
    expect_abort("free of host memory in flight", free_host_in_flight, "freed in flight");
    expect_abort("free on a stream in flight", free_async_in_flight, "freed in flight");
    expect_abort("stream in flight", stream_in_flight, "with work in flight");
    expect_abort("event in flight", event_in_flight, "destroyed in flight");
    expect_abort("graph in flight", graph_in_flight, "destroyed in flight");
    expect_abort("default stream", default_stream, "default stream");
    expect_abort("destroyed stream", destroyed_stream, "no cudaStream_t that is alive");
    expect_abort("destroyed event", destroyed_event, "no cudaEvent_t that is alive");
    expect_abort("event of another device", event_of_other_device, "the event is of device 1");
}

void kernel_tests() {
    expect_abort("divergent barrier", run_wrong_kernel<divergent_barrier>, "wait at different barriers");
    expect_abort("barrier against shuffle", run_wrong_kernel<barrier_against_shuffle>, "not all come");
    expect_abort("shuffle without a lane", run_wrong_kernel<shuffle_without_a_lane>,
                 "1 of 32 have ended; thread");
    expect_abort("shuffle outside of the mask", run_wrong_kernel<shuffle_outside_of_mask>,
                 "reads from lane 20");
    expect_abort("shuffle of others", run_wrong_kernel<shuffle_of_others>, "does not name the calling lane");
    expect_abort("different masks", run_wrong_kernel<different_masks>, "disagree");
    expect_abort("block too large", block_too_large, "at most 1024 in all");
    expect_abort("grid too large", grid_too_large, "a grid of 1 x 65536 x 1");
    expect_abort("empty grid", empty_grid, "a grid of 0 x 1 x 1");
    expect_abort("too much shared memory", too_much_shared_memory, "without cudaFuncSetAttribute");
    if (overruns_are_found)
        expect_exit("beyond shared memory", run_wrong_kernel<beyond_shared_memory>, 1,
                    "heap-buffer-overflow");
}

void fault_tests() {
    const char *little = "LAMINA_EMULATED_MEMORY=64K";
    expect_abort("ignored error", ignored_error, "cudaMalloc is called after an ignored error of cudaMalloc",
                 {little});
    expect_abort("ignored error of a library", ignored_library_error, "ignored error of cudnnTest");
    expect_success("looked at error", looked_at_error, {little});
    expect_exit("leak", leak, 97, "leaked: 123 bytes of device 0");
    expect_exit("leak of a handle", leak, 97, "leaked: 1 of cudaStream_t");
    expect_success("leak that does not matter", leak, {"LAMINA_EMULATED_LEAKS=ignore"});
    expect_success("third allocation fails", third_allocation_fails, {"LAMINA_EMULATED_FAIL=cudaMalloc:3"});
    expect_success("work fails", work_fails, {"LAMINA_EMULATED_FAIL=work:fill:2"});
    expect_success("every call fails", every_call_fails);
    expect_success("lost device", lost_device, {"LAMINA_EMULATED_LOSE=1:3"});
    expect_success("less memory", less_memory);
    count_is_written();
}

} // namespace

int main() {
    memory_tests();
    flight_tests();
    kernel_tests();
    fault_tests();
    return test_result();
}
