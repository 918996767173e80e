/* The queues of streams, and the entry points for streams. */
#include "cuda_emulator/streams.h"

#include <set>
#include <sys/prctl.h>

#include "cuda_emulator/calls.h"
#include "cuda_emulator/graphs.h"
#include "cuda_emulator/orders.h"
#include "cuda_emulator/runtime.h"
#include "cuda_emulator/state.h"

namespace emulator {
namespace {

/* Under the books' lock. */
std::set<stream *> &open_streams() {
    static std::set<stream *> *all = new std::set<stream *>;
    return *all;
}

/* xorshift64* (Marsaglia 2003, Vigna 2016) */
uint64_t next_random(stream *s) {
    s->random ^= s->random >> 12;
    s->random ^= s->random << 25;
    s->random ^= s->random >> 27;
    return s->random * 0x2545F4914F6CDD1Dull;
}

/* ---- the stream's thread ---- */

thread_local stream *own;

std::unique_ptr<work> take(stream *s) {
    unseen hidden;
    std::unique_lock<std::mutex> lock(s->mutex);
    s->more.wait(lock, [s] { return !s->queue.empty() || s->closing; });
    if (s->queue.empty()) return nullptr;
    std::unique_ptr<work> w = std::move(s->queue.front());
    s->queue.pop_front();
    return w;
}

/* One piece of work in eight is late. */
void delay(stream *s) {
    uint64_t r = next_random(s);
    unsigned most = configured().delay_us;
    if (most && r % 8 == 0) std::this_thread::sleep_for(std::chrono::microseconds(r / 8 % (most + 1)));
}

bool may_run(const stream *s, const work &w) {
    if (device_error(s->device) != cudaSuccess) return w.always;
    if (!count_work(w.name)) return true;
    break_device(s->device, cudaErrorLaunchFailure);
    return w.always;
}

void run(stream *s, const work &w) {
    if (w.wait) return wait_for(w.wait);
    if (!w.run) return;
    delay(s);
    if (may_run(s, w)) (*w.run.get())();
}

void finish(std::unique_ptr<work> w) {
    moment *end = w->end.get();
    release(end);
    unseen hidden;
    drop_uses(w->uses);
    moment_ref kept = w->end;
    w.reset();
    std::lock_guard<std::mutex> lock(end->mutex);
    end->when = std::chrono::steady_clock::now();
    end->done = true;
    end->came.notify_all();
}

void stream_main(stream *s) {
    own = s;
    prctl(PR_SET_TIMERSLACK, 1000ul); /* or else sleeping takes 50 us more */
    while (std::unique_ptr<work> w = take(s)) {
        acquire(w.get());
        run(s, *w);
        finish(std::move(w));
    }
}

/* ---- entry points ---- */

cudaError_t create(cudaStream_t *handle, unsigned flags) {
    if (flags & ~(unsigned)cudaStreamNonBlocking) return cudaErrorInvalidValue;
    cudaError_t error = device_error(current_device());
    if (error != cudaSuccess) return error;
    stream *s = open_stream(current_device());
    add_object("cudaStream_t", s);
    *handle = reinterpret_cast<cudaStream_t>(s);
    return cudaSuccess;
}

bool is_idle(stream *s) {
    moment_ref last = last_moment(s);
    unseen hidden;
    return !last || has_come(last);
}

cudaError_t destroy(cudaStream_t handle) {
    stream *s = expect_stream(handle, "cudaStreamDestroy");
    int ordinal = s->device;
    if (is_capturing(s)) fail("cudaStreamDestroy: the stream is being captured");
    if (device_error(ordinal) == cudaSuccess && !is_idle(s))
        fail("cudaStreamDestroy: destroyed with work in flight");
    remove_object("cudaStream_t", s);
    close_stream(s);
    return device_error(ordinal);
}

cudaError_t synchronize(cudaStream_t handle) {
    stream *s = expect_stream(handle, "cudaStreamSynchronize");
    if (break_capture_of(s)) return cudaErrorStreamCaptureUnsupported;
    wait_for(last_moment(s));
    return device_error(s->device);
}

cudaError_t query(cudaStream_t handle) {
    stream *s = expect_stream(handle, "cudaStreamQuery");
    if (break_capture_of(s)) return cudaErrorStreamCaptureUnsupported;
    cudaError_t error = device_error(s->device);
    if (error != cudaSuccess) return error;
    return has_come(last_moment(s)) ? cudaSuccess : cudaErrorNotReady;
}

cudaError_t launch_host(cudaStream_t handle, cudaHostFn_t called, void *context) {
    stream *s = expect_stream(handle, "cudaLaunchHostFunc");
    return submit(s, "host function", {}, [=] { called(context); });
}

} // namespace

/* ---- moments ---- */

void wait_for(const moment_ref &m) {
    if (!m) return;
    {
        unseen hidden;
        std::unique_lock<std::mutex> lock(m->mutex);
        m->came.wait(lock, [&m] { return m->done; });
    }
    acquire(m.get());
}

bool has_come(const moment_ref &m) {
    if (!m) return true;
    {
        unseen hidden;
        std::lock_guard<std::mutex> lock(m->mutex);
        if (!m->done) return false;
    }
    acquire(m.get());
    return true;
}

unsigned draw() {
    return (unsigned)(next_random(own) >> 32);
}

/* ---- queues ---- */

stream *open_stream(int device) {
    stream *s;
    {
        books locked;
        static uint64_t opened;
        s = new stream;
        s->device = device;
        s->random = (configured().seed + 1) * 0x9E3779B97F4A7C15ull + ++opened;
        open_streams().insert(s);
    }
    s->thread = std::thread(stream_main, s);
    return s;
}

void close_stream(stream *s) {
    unseen hidden;
    {
        std::lock_guard<std::mutex> lock(s->mutex);
        s->closing = true;
        s->more.notify_all();
    }
    s->thread.join();
    books locked;
    open_streams().erase(s);
    delete s;
}

stream *expect_stream(cudaStream_t handle, const char *what) {
    if (reinterpret_cast<uintptr_t>(handle) <= 2) fail("%s: the default stream is used", what);
    expect_object("cudaStream_t", handle);
    return reinterpret_cast<stream *>(handle);
}

moment_ref push(stream *s, std::unique_ptr<work> w) {
    release(w.get());
    unseen hidden;
    w->end = moment_ref(new moment);
    moment_ref end = w->end;
    add_uses(w->uses, w->name);
    std::lock_guard<std::mutex> lock(s->mutex);
    s->last = end;
    s->queue.push_back(std::move(w));
    s->more.notify_all();
    return end;
}

static std::unique_ptr<work> make_work(const char *name, const moment_ref &wait) {
    unseen hidden;
    return std::unique_ptr<work>(new work{name, {}, wait, {}, false, {}});
}

moment_ref push_wait(stream *s, const moment_ref &m) {
    return push(s, make_work("wait", m));
}

moment_ref push_mark(stream *s) {
    return push(s, make_work("mark", {}));
}

moment_ref last_moment(stream *s) {
    unseen hidden;
    std::lock_guard<std::mutex> lock(s->mutex);
    return s->last;
}

cudaError_t submit(stream *s, const char *name, const std::vector<allocation *> &uses, function run,
                   bool always) {
    hidden_ref<const function> kept(new function(std::move(run)));
    if (is_capturing(s)) return capture_work(s, name, uses, kept);
    cudaError_t error = device_error(s->device);
    if (error != cudaSuccess) return error;
    std::unique_ptr<work> w(new work{name, kept, {}, uses, always, {}});
    push(s, std::move(w));
    return cudaSuccess;
}

cudaError_t enqueue(cudaStream_t handle, const char *name, const std::vector<use> &uses, function run) {
    stream *s = expect_stream(handle, name);
    if (s->device != current_device())
        fail("%s: the stream is of device %d, the current device is %d", name, s->device, current_device());
    std::vector<allocation *> used;
    for (const use &u : uses)
        if (u.pointer || u.bytes) used.push_back(expect_range(s->device, u.pointer, u.bytes, u.what));
    return submit(s, name, used, std::move(run));
}

int device_of(cudaStream_t handle) {
    return expect_stream(handle, "device_of")->device;
}

namespace {

void wait_for_streams(bool all, int device) {
    std::vector<moment_ref> ends;
    {
        books locked;
        for (stream *s : open_streams())
            if (all || s->device == device) ends.push_back(last_moment(s));
    }
    for (const moment_ref &end : ends) wait_for(end);
}

} // namespace

void wait_for_device(int device) {
    wait_for_streams(false, device);
}

void wait_for_all() {
    wait_for_streams(true, 0);
}

} // namespace emulator

using emulator::call;
using emulator::entry;

extern "C" {

cudaError_t cudaStreamCreateWithFlags(cudaStream_t *stream, unsigned flags) {
    return call(entry::cudaStreamCreateWithFlags, [&] { return emulator::create(stream, flags); });
}

cudaError_t cudaStreamDestroy(cudaStream_t stream) {
    return call(entry::cudaStreamDestroy, [&] { return emulator::destroy(stream); });
}

cudaError_t cudaStreamSynchronize(cudaStream_t stream) {
    return call(entry::cudaStreamSynchronize, [&] { return emulator::synchronize(stream); });
}

cudaError_t cudaStreamQuery(cudaStream_t stream) {
    return call(entry::cudaStreamQuery, [&] { return emulator::query(stream); });
}

cudaError_t cudaLaunchHostFunc(cudaStream_t stream, cudaHostFn_t function, void *context) {
    return call(entry::cudaLaunchHostFunc, [&] { return emulator::launch_host(stream, function, context); });
}
}
