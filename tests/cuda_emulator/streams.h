/* Streams: each is a thread that runs the work of its queue, one piece after the other, some time after it was queued.
 *
 * A moment is the end of a piece of work. Streams and the host wait for moments, and by nothing else than such a wait does
 * anything come before anything else. */
#ifndef LAM_CUDA_EMULATOR_STREAMS_H
#define LAM_CUDA_EMULATOR_STREAMS_H

#include <chrono>
#include <condition_variable>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <thread>
#include <vector>

#include "cuda_emulator/memory.h"
#include "cuda_emulator/sanitizers.h"

namespace emulator {

using function = std::function<void()>;

/* A shared pointer whose counting makes no order between threads. */
template <typename T> class hidden_ref {
  public:
    hidden_ref() = default;
    explicit hidden_ref(T *object) {
        unseen hidden;
        held.reset(object);
    }
    hidden_ref(const hidden_ref &other) {
        unseen hidden;
        held = other.held;
    }
    hidden_ref &operator=(const hidden_ref &other) {
        unseen hidden;
        held = other.held;
        return *this;
    }
    ~hidden_ref() {
        unseen hidden;
        held.reset();
    }
    T *get() const {
        unseen hidden;
        return held.get();
    }
    T *operator->() const { return get(); }
    explicit operator bool() const { return get() != nullptr; }

  private:
    std::shared_ptr<T> held;
};

struct moment {
    std::mutex mutex;
    std::condition_variable came;
    bool done = false;
    std::chrono::steady_clock::time_point when;
};
using moment_ref = hidden_ref<moment>;

/* Waits until it has come; what came before it comes before what follows. */
void wait_for(const moment_ref &m);
/* True: it has come, as above. */
bool has_come(const moment_ref &m);

/* A piece of work: runs a function, or waits for a moment, or does nothing but end. */
struct work {
    const char *name;
    hidden_ref<const function> run;
    moment_ref wait;
    std::vector<allocation *> uses;
    bool always; /* even when the device has failed */
    moment_ref end;
};

struct capture;

struct stream {
    int device;
    std::thread thread;
    uint64_t random;
    hidden_ref<capture> captured; /* books' lock */
    int chain = 0;                /* its place among the streams that are captured together */

    std::mutex mutex; /* of what follows */
    std::condition_variable more;
    std::deque<std::unique_ptr<work>> queue;
    bool closing = false;
    moment_ref last; /* end of what was queued last; none = nothing was */
};

/* Not in the table of handles: also used for the inner streams of graphs. */
stream *open_stream(int device);
/* Lets it do what is queued. */
void close_stream(stream *s);

/* Aborts for stream 0, and for what is not a stream. */
stream *expect_stream(cudaStream_t handle, const char *what);

/* Queues work, or makes it a node of the graph that is being captured. */
cudaError_t submit(stream *s, const char *name, const std::vector<allocation *> &uses, function run,
                   bool always = false);
/* Queues it for sure. Returns its end. */
moment_ref push(stream *s, std::unique_ptr<work> w);
moment_ref push_wait(stream *s, const moment_ref &m);
moment_ref push_mark(stream *s);
moment_ref last_moment(stream *s);

/* A random number, for the work that runs now: the same for the same seed and the same place in the stream. */
unsigned draw();

void wait_for_device(int device);
void wait_for_all();

} // namespace emulator

#endif
