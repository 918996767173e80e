/* The emulator does what CUDA does: devices, memory, streams, events, kernels, graphs. And under ThreadSanitizer, what the
 * program under test leaves without an order is a race.
 *
 *     g++ -std=c++20 -g -O2 -DLAMINA_CUDA_EMULATOR -fsanitize=thread -Ikernels -Ilib -Itests -I.../cuda/include \
 *         tests/cuda_emulator/emulator_test.cpp tests/cuda_emulator/[the emulator's sources].cpp
 *
 * and the same with -fsanitize=address,undefined, and with neither. The races are only looked for in the first.
 */
#include <cmath>
#include <cstring>

#include "cuda/device_code.cuh"
#include "cuda_emulator/faults.h"
#include "cuda_emulator/runtime.h"
#include "cuda_emulator/sanitizers.h"
#include "cuda_emulator/test_harness.h"
#include "cuda_emulator/test_setup.h"

namespace {

/* ---- kernels ---- */

__global__ void add(const float *x, float *y, float value, int count) {
    for (int64_t i = first_index(); i < count; i += index_step()) y[i] = x[i] + value;
}
__global__ void places(int *seen) {
    int in_block = (int)(threadIdx.x + blockDim.x * (threadIdx.y + blockDim.y * threadIdx.z));
    int block = (int)(blockIdx.x + gridDim.x * (blockIdx.y + gridDim.y * blockIdx.z));
    seen[block * (int)(blockDim.x * blockDim.y * blockDim.z) + in_block]++;
}
/* y = x, each block's part in reverse, through shared memory. */
__global__ void reverse(const int *x, int *y) {
    int *room = shared_memory<int>();
    int i = (int)threadIdx.x, n = (int)blockDim.x, first = (int)blockIdx.x * n;
    room[i] = x[first + i];
    __syncthreads();
    y[first + i] = room[n - 1 - i];
}
__global__ void reverse_without_barrier(const int *x, int *y) {
    int *room = shared_memory<int>();
    int i = (int)threadIdx.x, n = (int)blockDim.x;
    room[i] = x[i];
    y[i] = room[n - 1 - i];
}
__global__ void shared_is_poisoned(float *x) {
    float *room = shared_memory<float>();
    x[threadIdx.x] = room[threadIdx.x];
    room[threadIdx.x] = 1;
}
__global__ void sums(const float *x, float *y) {
    float sum = block_sum(x[first_index()], shared_memory<float>());
    float most = block_max(x[first_index()], shared_memory<float>());
    if (threadIdx.x == 0) {
        y[2 * blockIdx.x] = sum;
        y[2 * blockIdx.x + 1] = most;
    }
}
__global__ void warp_functions(int *y) {
    int lane = (int)threadIdx.x;
    int *to = y + 8 * lane;
    to[0] = __shfl_sync(0xFFFFFFFFu, lane, 5);
    to[1] = __shfl_xor_sync(0xFFFFFFFFu, lane, 3);
    to[2] = __shfl_down_sync(0xFFFFFFFFu, lane, 4);
    to[3] = __shfl_up_sync(0xFFFFFFFFu, lane, 4);
    to[4] = (int)__ballot_sync(0xFFFFFFFFu, lane % 2);
    to[5] = __shfl_sync(0xFFFFFFFFu, lane, 1, 8);
    if (lane < 16) /* half of a warp by itself */
        to[6] = __shfl_xor_sync(0x0000FFFFu, lane, 1);
    else
        to[6] = (int)__ballot_sync(0xFFFF0000u, lane == 20);
    __syncwarp();
    to[7] = __all_sync(0xFFFFFFFFu, lane < 32) + 2 * __any_sync(0xFFFFFFFFu, lane == 32);
}
/* Half of the threads end before the barrier, which is for those that are left. */
__global__ void early_end(int *y) {
    if (threadIdx.x % 2) return;
    __syncthreads();
    y[threadIdx.x] = 7;
}

/* ---- devices and memory ---- */

void devices() {
    int count, device, can;
    OK(cudaGetDeviceCount(&count));
    CHECK(count == 3);
    CHECK(cudaSetDevice(3) == cudaErrorInvalidDevice);
    CHECK(cudaGetLastError() == cudaErrorInvalidDevice);
    CHECK(cudaGetLastError() == cudaSuccess);
    OK(cudaSetDevice(2));
    OK(cudaGetDevice(&device));
    CHECK(device == 2);
    cudaDeviceProp p;
    OK(cudaGetDeviceProperties(&p, 1));
    CHECK(p.major == 9 && p.minor == 0 && p.totalGlobalMem == 1 << 20 && p.warpSize == 32);
    OK(cudaDeviceGetAttribute(&can, cudaDevAttrMaxSharedMemoryPerBlockOptin, 0));
    CHECK(can == 101376);
    OK(cudaDeviceCanAccessPeer(&can, 0, 1));
    CHECK(can == 1);
    OK(cudaDeviceEnablePeerAccess(1, 0));
    CHECK(cudaDeviceEnablePeerAccess(1, 0) == cudaErrorPeerAccessAlreadyEnabled);
    cudaGetLastError();
    CHECK(strcmp(cudaGetErrorName(cudaErrorLaunchFailure), "cudaErrorLaunchFailure") == 0);
    CHECK(strcmp(cudaGetErrorString(cudaErrorMemoryAllocation), "out of memory") == 0);
}

void limits_of_memory() {
    size_t rest, total;
    void *a, *b;
    OK(cudaMalloc(&a, 600 << 10));
    CHECK(cudaMalloc(&b, 600 << 10) == cudaErrorMemoryAllocation);
    CHECK(cudaGetLastError() == cudaErrorMemoryAllocation);
    OK(cudaMemGetInfo(&rest, &total));
    CHECK(total == 1 << 20 && rest == (1 << 20) - (600 << 10));
    OK(cudaSetDevice(1));
    OK(cudaMalloc(&b, 600 << 10));
    cudaPointerAttributes at;
    OK(cudaPointerGetAttributes(&at, b));
    CHECK(at.type == cudaMemoryTypeDevice && at.device == 1);
    OK(cudaFree(a));
    OK(cudaFree(b));
    CHECK(emulator_memory_used(0) == 0 && emulator_memory_used(1) == 0);
}

void copies() {
    setup s;
    float *pinned, *on_other;
    OK(cudaHostAlloc((void **)&pinned, 16 * sizeof(float), 0));
    CHECK(std::isnan(pinned[3])); /* poisoned */
    memory<float> a(16), b(16);
    CHECK(std::isnan(a.read(s.stream)[15]));
    for (int i = 0; i < 16; i++) pinned[i] = (float)i;
    OK(cudaMemcpyAsync(a.data, pinned, 64, cudaMemcpyHostToDevice, s.stream));
    OK(cudaMemcpyAsync(b.data, a.data, 64, cudaMemcpyDeviceToDevice, s.stream));
    OK(cudaMemsetAsync(a.data, 0, 32, s.stream));
    OK(cudaMemcpyAsync(pinned, b.data, 64, cudaMemcpyDefault, s.stream));
    OK(cudaStreamSynchronize(s.stream));
    for (int i = 0; i < 16; i++) CHECK(pinned[i] == (float)i);
    CHECK(a.read(s.stream)[7] == 0 && a.read(s.stream)[8] == 8);
    OK(cudaSetDevice(1));
    OK(cudaMalloc((void **)&on_other, 64));
    OK(cudaMemcpyPeerAsync(on_other, 1, b.data, 0, 64, s.stream));
    OK(cudaStreamSynchronize(s.stream));
    OK(cudaMemcpy(pinned, on_other, 64, cudaMemcpyDeviceToHost));
    CHECK(pinned[15] == 15);
    OK(cudaFree(on_other));
    OK(cudaFreeHost(pinned));
    OK(cudaSetDevice(0));
}

void memory_in_stream_order() {
    setup s;
    float *x;
    memory<float> y(64);
    OK(cudaMallocAsync((void **)&x, 256, s.stream));
    start(s.stream, fill, 1, 64, 0, x, 2.0f, 64);
    start(s.stream, add, 1, 64, 0, x, y.data, 1.0f, 64);
    OK(cudaFreeAsync(x, s.stream));
    CHECK(y.read(s.stream)[63] == 3);
    CHECK(emulator_memory_used(0) == 256);
}

/* ---- streams and events ---- */

void first_in_first_out() {
    setup s;
    memory<float> x(256);
    start(s.stream, fill, 2, 64, 0, x.data, 0.0f, 256);
    for (int i = 0; i < 200; i++) start(s.stream, add, 2, 64, 0, x.data, x.data, 1.0f, 256);
    CHECK(x.read(s.stream)[255] == 200);
}

void append(void *to) {
    static_cast<std::vector<int> *>(to)->push_back(1);
}

void order_by_events() {
    setup s;
    memory<float> x(256);
    std::vector<int> called;
    start(s.stream, fill, 2, 64, 0, x.data, 0.0f, 256);
    for (int i = 0; i < 50; i++) {
        OK(cudaEventRecord(s.event, s.stream));
        OK(cudaStreamWaitEvent(s.other, s.event, 0));
        start(s.other, add, 2, 64, 0, x.data, x.data, 1.0f, 256);
        OK(cudaLaunchHostFunc(s.other, append, &called));
        OK(cudaEventRecord(s.event, s.other));
        OK(cudaStreamWaitEvent(s.stream, s.event, 0));
        start(s.stream, add, 2, 64, 0, x.data, x.data, 1.0f, 256);
    }
    CHECK(x.read(s.stream)[255] == 100);
    CHECK(called.size() == 50);
    OK(cudaEventRecord(s.event, s.stream));
    OK(cudaEventSynchronize(s.event));
    OK(cudaEventQuery(s.event));
    OK(cudaStreamQuery(s.stream));
}

void other_devices() {
    setup s;
    cudaStream_t far;
    float *y;
    memory<float> x(64);
    start(s.stream, fill, 1, 64, 0, x.data, 3.0f, 64);
    OK(cudaEventRecord(s.event, s.stream));
    OK(cudaSetDevice(1));
    OK(cudaDeviceEnablePeerAccess(0, 0));
    OK(cudaMalloc((void **)&y, 256));
    OK(cudaStreamCreateWithFlags(&far, cudaStreamNonBlocking));
    OK(cudaStreamWaitEvent(far, s.event, 0));
    start(far, add, 1, 64, 0, x.data, y, 1.0f, 64);
    OK(cudaDeviceSynchronize());
    float last;
    OK(cudaMemcpy(&last, y + 63, 4, cudaMemcpyDeviceToHost));
    CHECK(last == 4);
    OK(cudaStreamDestroy(far));
    OK(cudaFree(y));
    OK(cudaSetDevice(0));
}

void times() {
    setup s;
    cudaEvent_t from, to;
    float ms = -1;
    OK(cudaEventCreateWithFlags(&from, cudaEventDefault));
    OK(cudaEventCreateWithFlags(&to, cudaEventDefault));
    OK(cudaEventRecord(from, s.stream));
    OK(cudaLaunchHostFunc(
        s.stream, [](void *) { usleep(2000); }, nullptr));
    OK(cudaEventRecord(to, s.stream));
    CHECK(cudaEventQuery(to) == cudaErrorNotReady);
    OK(cudaEventSynchronize(to));
    OK(cudaEventElapsedTime(&ms, from, to));
    CHECK(ms >= 2);
    OK(cudaEventDestroy(from));
    OK(cudaEventDestroy(to));
}

/* ---- kernels ---- */

void all_places() {
    setup s;
    memory<int> x(2 * 3 * 4 * 5 * 6 * 7);
    OK(cudaMemsetAsync(x.data, 0, x.count * sizeof(int), s.stream));
    start(s.stream, places, dim3(2, 3, 4), dim3(5, 6, 7), 0, x.data);
    for (int seen : x.read(s.stream)) CHECK(seen == 1);
}

void barriers_and_shared_memory() {
    setup s;
    memory<int> x(4 * 96), y(4 * 96), z(8);
    memory<float> poison(32);
    std::vector<int> numbers(4 * 96);
    for (int i = 0; i < 4 * 96; i++) numbers[(size_t)i] = i;
    x.write(numbers, s.stream);
    start(s.stream, reverse, 4, 96, 96 * sizeof(int), x.data, y.data);
    std::vector<int> back = y.read(s.stream);
    for (int i = 0; i < 4 * 96; i++) CHECK(back[(size_t)i] == i / 96 * 96 + 95 - i % 96);
    start(s.stream, shared_is_poisoned, 2, 32, 32 * sizeof(float), poison.data);
    for (float p : poison.read(s.stream)) CHECK(std::isnan(p));
    OK(cudaMemsetAsync(z.data, 0, 32, s.stream));
    start(s.stream, early_end, 1, 8, 0, z.data);
    CHECK((z.read(s.stream) == std::vector<int>{7, 0, 7, 0, 7, 0, 7, 0}));
}

void sums_over_blocks() {
    setup s;
    memory<float> x(3 * 256), y(6);
    std::vector<float> numbers(3 * 256);
    for (size_t i = 0; i < numbers.size(); i++) numbers[i] = (float)i;
    x.write(numbers, s.stream);
    start(s.stream, sums, 3, 256, WARP * sizeof(float), x.data, y.data);
    std::vector<float> got = y.read(s.stream);
    for (size_t b = 0; b < 3; b++) {
        float first = 256.0f * (float)b;
        CHECK(got[2 * b] == 256 * first + 255 * 128 && got[2 * b + 1] == first + 255);
    }
}

void warps() {
    setup s;
    memory<int> y(32 * 8);
    start(s.stream, warp_functions, 1, 32, 0, y.data);
    std::vector<int> got = y.read(s.stream);
    for (int lane = 0; lane < 32; lane++) {
        const int *g = &got[(size_t)(8 * lane)];
        CHECK(g[0] == 5 && g[1] == (lane ^ 3));
        CHECK(g[2] == (lane < 28 ? lane + 4 : lane) && g[3] == (lane < 4 ? lane : lane - 4));
        CHECK((unsigned)g[4] == 0xAAAAAAAAu && g[5] == lane / 8 * 8 + 1);
        CHECK(g[6] == (lane < 16 ? lane ^ 1 : 1 << 20) && g[7] == 1);
    }
}

void much_shared_memory() {
    setup s;
    memory<int> x(1024), y(1024);
    OK(cudaMemsetAsync(x.data, 0, 4096, s.stream));
    OK(cudaFuncSetAttribute((const void *)reverse, cudaFuncAttributeMaxDynamicSharedMemorySize, 101376));
    start(s.stream, reverse, 1, 1024, 101376, x.data, y.data);
    CHECK(y.read(s.stream)[0] == 0);
}

/* ---- graphs ---- */

void graphs() {
    setup s;
    memory<float> x(256);
    cudaGraph_t graph;
    cudaGraphExec_t launchable;
    cudaStreamCaptureStatus status;
    size_t nodes;
    start(s.stream, fill, 1, 64, 0, x.data, 0.0f, 256);
    OK(cudaStreamBeginCapture(s.stream, cudaStreamCaptureModeThreadLocal));
    OK(cudaStreamIsCapturing(s.stream, &status));
    CHECK(status == cudaStreamCaptureStatusActive);
    for (int i = 0; i < 3; i++) start(s.stream, add, 1, 64, 0, x.data, x.data, 1.0f, 256);
    OK(cudaStreamEndCapture(s.stream, &graph));
    OK(cudaGraphGetNodes(graph, nullptr, &nodes));
    CHECK(nodes == 3);
    CHECK(x.read(s.stream)[0] == 0); /* nothing has run */
    OK(cudaGraphInstantiate(&launchable, graph, 0));
    OK(cudaGraphDestroy(graph));
    for (int i = 0; i < 5; i++) OK(cudaGraphLaunch(launchable, s.stream));
    CHECK(x.read(s.stream)[255] == 15);
    OK(cudaGraphLaunch(launchable, s.other)); /* on another stream */
    CHECK(x.read(s.other)[255] == 18);
    OK(cudaGraphExecDestroy(launchable));
}

/* other: x -> y, between two kernels on x. */
cudaGraphExec_t capture_fork(setup &s, memory<float> &x, memory<float> &y, bool join_before_write) {
    cudaGraph_t graph;
    cudaGraphExec_t launchable;
    OK(cudaStreamBeginCapture(s.stream, cudaStreamCaptureModeThreadLocal));
    start(s.stream, add, 1, 64, 0, x.data, x.data, 1.0f, 64);
    OK(cudaEventRecord(s.event, s.stream));
    OK(cudaStreamWaitEvent(s.other, s.event, 0));
    start(s.other, add, 1, 64, 0, x.data, y.data, 10.0f, 64);
    OK(cudaEventRecord(s.event, s.other));
    if (join_before_write) OK(cudaStreamWaitEvent(s.stream, s.event, 0));
    start(s.stream, add, 1, 64, 0, x.data, x.data, 1.0f, 64);
    if (!join_before_write) OK(cudaStreamWaitEvent(s.stream, s.event, 0));
    OK(cudaStreamEndCapture(s.stream, &graph));
    OK(cudaGraphInstantiate(&launchable, graph, 0));
    OK(cudaGraphDestroy(graph));
    return launchable;
}

void launch_fork(bool join_before_write) {
    setup s;
    memory<float> x(64), y(64);
    cudaGraphExec_t launchable = capture_fork(s, x, y, join_before_write);
    start(s.stream, fill, 1, 64, 0, x.data, 0.0f, 64);
    for (int i = 0; i < 20; i++) OK(cudaGraphLaunch(launchable, s.stream));
    if (join_before_write) CHECK(x.read(s.stream)[63] == 40 && y.read(s.stream)[63] == 49);
    OK(cudaStreamSynchronize(s.stream));
    OK(cudaGraphExecDestroy(launchable));
    OK(cudaEventRecord(s.event, s.stream)); /* it was last recorded in the capture */
    OK(cudaEventSynchronize(s.event));
}

void fork_and_join() {
    launch_fork(true);
}

void bad_captures() {
    setup s;
    cudaGraph_t graph;
    void *x;
    OK(cudaStreamBeginCapture(s.stream, cudaStreamCaptureModeThreadLocal));
    CHECK(cudaMalloc(&x, 16) == cudaErrorStreamCaptureUnsupported);
    CHECK(cudaStreamEndCapture(s.stream, &graph) == cudaErrorStreamCaptureInvalidated && !graph);
    cudaGetLastError();
    OK(cudaStreamBeginCapture(s.stream, cudaStreamCaptureModeThreadLocal));
    CHECK(cudaStreamSynchronize(s.stream) == cudaErrorStreamCaptureUnsupported);
    CHECK(cudaStreamEndCapture(s.stream, &graph) == cudaErrorStreamCaptureInvalidated);
    cudaGetLastError();
    OK(cudaStreamBeginCapture(s.stream, cudaStreamCaptureModeThreadLocal));
    OK(cudaEventRecord(s.event, s.stream));
    OK(cudaStreamWaitEvent(s.other, s.event, 0));
    OK(cudaLaunchHostFunc(
        s.other, [](void *) {}, nullptr));
    CHECK(cudaStreamEndCapture(s.stream, &graph) == cudaErrorStreamCaptureUnjoined);
    cudaGetLastError();
}

/* ---- the interface of emulated libraries ---- */

void library_work() {
    setup s;
    memory<float> x(4);
    int runs = 0;
    CHECK(!emulator::should_fail("cudnnTest"));
    OK(emulator::enqueue(s.stream, "cudnnTest", {{x.data, 16, "x"}, {nullptr, 0, "workspace"}},
                         [&] { runs++; }));
    OK(cudaStreamSynchronize(s.stream));
    CHECK(runs == 1 && emulator_calls("cudnnTest") == 1);
    emulator::add_object("cudnnHandle_t", &runs);
    CHECK(emulator_leaks() == 5); /* with two streams, an event and x */
    emulator::remove_object("cudnnHandle_t", &runs);
}

/* ---- races, for ThreadSanitizer ---- */

void missing_event() {
    setup s;
    memory<float> x(64), y(64);
    start(s.stream, fill, 1, 64, 0, x.data, 1.0f, 64);
    start(s.other, add, 1, 64, 0, x.data, y.data, 1.0f, 64);
    OK(cudaStreamSynchronize(s.stream));
    OK(cudaStreamSynchronize(s.other));
}

void missing_event_after_time() {
    setup s;
    memory<float> x(64), y(64);
    start(s.stream, fill, 1, 64, 0, x.data, 1.0f, 64);
    usleep(20000); /* it has run, but the host did not ask */
    start(s.other, add, 1, 64, 0, x.data, y.data, 1.0f, 64);
    OK(cudaStreamSynchronize(s.stream));
    OK(cudaStreamSynchronize(s.other));
}

void missing_sync() {
    setup s;
    float *pinned;
    memory<float> x(64);
    OK(cudaMallocHost((void **)&pinned, 256));
    start(s.stream, fill, 1, 64, 0, x.data, 1.0f, 64);
    OK(cudaMemcpyAsync(pinned, x.data, 256, cudaMemcpyDeviceToHost, s.stream));
    usleep(20000);
    CHECK(pinned[63] == 1);
    OK(cudaStreamSynchronize(s.stream));
    OK(cudaFreeHost(pinned));
}

void missing_order_in_graph() {
    launch_fork(false);
}

void missing_barrier() {
    setup s;
    memory<int> x(32), y(32);
    OK(cudaMemsetAsync(x.data, 0, 128, s.stream));
    start(s.stream, reverse_without_barrier, 1, 32, 128, x.data, y.data);
    OK(cudaStreamSynchronize(s.stream));
}

#ifdef EMULATOR_TSAN
constexpr bool races_are_found = true;
#else
constexpr bool races_are_found = false;
#endif

/* A race under ThreadSanitizer; elsewhere nobody sees it. */
void expect_race(const char *name, void (*test)(), environment settings = {}) {
    enum { EXIT_RACE = 66 };
    if (races_are_found) expect_exit(name, test, EXIT_RACE, "ThreadSanitizer: data race", settings);
}

void races() {
    expect_race("missing event", missing_event);
    expect_race("missing event, much later", missing_event_after_time);
    expect_race("missing sync", missing_sync);
    expect_race("missing order in a graph", missing_order_in_graph);
    expect_race("missing barrier", missing_barrier, {"LAMINA_EMULATED_RACES=1"});
    expect_success("barriers, looked at for races", barriers_and_shared_memory, {"LAMINA_EMULATED_RACES=1"});
    expect_success("sums, looked at for races", sums_over_blocks, {"LAMINA_EMULATED_RACES=1"});
    expect_success("warps, looked at for races", warps, {"LAMINA_EMULATED_RACES=1"});
}

} // namespace

int main() {
    expect_success("devices", devices,
                   {"LAMINA_EMULATED_GPUS=3", "LAMINA_EMULATED_MEMORY=1M", "LAMINA_EMULATED_CAPABILITY=9.0"});
    expect_success("limits of memory", limits_of_memory, {"LAMINA_EMULATED_MEMORY=1M"});
    expect_success("copies", copies);
    expect_success("memory in stream order", memory_in_stream_order);
    expect_success("first in, first out", first_in_first_out);
    expect_success("order by events", order_by_events);
    expect_success("order by events, slow", order_by_events, {"LAMINA_EMULATED_DELAY_US=2000"});
    expect_success("other devices", other_devices);
    expect_success("times", times);
    expect_success("all places", all_places);
    expect_success("barriers and shared memory", barriers_and_shared_memory);
    expect_success("sums over blocks", sums_over_blocks);
    for (const char *seed : {"LAMINA_EMULATED_SEED=2", "LAMINA_EMULATED_SEED=3", "LAMINA_EMULATED_SEED=4"})
        expect_success("warps", warps, {seed});
    expect_success("much shared memory", much_shared_memory);
    expect_success("graphs", graphs);
    expect_success("fork and join in a graph", fork_and_join);
    expect_success("bad captures", bad_captures);
    expect_success("library work", library_work);
    races();
    return test_result();
}
