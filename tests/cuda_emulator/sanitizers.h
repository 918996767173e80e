/* What ThreadSanitizer and AddressSanitizer are told; nothing in other builds.
 *
 * The emulator's own books (tables, queues, counters) are shared by all threads and guarded by ordinary mutexes. A mutex is
 * an order between threads that a GPU does not know, and would hide a missing event. So wherever the books are touched,
 * ThreadSanitizer looks away (unseen), and the orders that CUDA promises are told to it one by one (release, acquire):
 * from the call that queues a piece of work to the work, and from the end of work to whoever waits for it.
 */
#ifndef LAM_CUDA_EMULATOR_SANITIZERS_H
#define LAM_CUDA_EMULATOR_SANITIZERS_H

#if defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define EMULATOR_TSAN
#endif
#if __has_feature(address_sanitizer)
#define EMULATOR_ASAN
#endif
#endif
#ifdef __SANITIZE_THREAD__
#define EMULATOR_TSAN
#endif
#ifdef __SANITIZE_ADDRESS__
#define EMULATOR_ASAN
#endif

#ifdef EMULATOR_TSAN
#include <sanitizer/tsan_interface.h>
#endif
#ifdef EMULATOR_ASAN
#include <sanitizer/asan_interface.h>
#include <sanitizer/common_interface_defs.h>
#endif

namespace emulator {

/* While one lives, ThreadSanitizer sees nothing of what its thread does. (What it offers for the signals of a home-made mutex
 * does just that, and is faster than AnnotateIgnoreSyncBegin, which keeps the call stack.) */
struct unseen {
    unseen() {
#ifdef EMULATOR_TSAN
        __tsan_mutex_pre_signal(nullptr, 0);
#endif
    }
    ~unseen() {
#ifdef EMULATOR_TSAN
        __tsan_mutex_post_signal(nullptr, 0);
#endif
    }
    unseen(const unseen &) = delete;
    unseen &operator=(const unseen &) = delete;
};

template <typename T> T unseen_value(const T &x) {
    unseen hidden;
    return x;
}

/* What came before release(x) in its thread comes before what follows acquire(x) in another. */
inline void release([[maybe_unused]] const void *x) {
#ifdef EMULATOR_TSAN
    __tsan_release(const_cast<void *>(x));
#endif
}
inline void acquire([[maybe_unused]] const void *x) {
#ifdef EMULATOR_TSAN
    __tsan_acquire(const_cast<void *>(x));
#endif
}

/* Memory that nobody may touch until it is opened again. */
inline void close_memory([[maybe_unused]] const void *base, [[maybe_unused]] size_t bytes) {
#ifdef EMULATOR_ASAN
    __asan_poison_memory_region(base, bytes);
#endif
}
inline void open_memory([[maybe_unused]] const void *base, [[maybe_unused]] size_t bytes) {
#ifdef EMULATOR_ASAN
    __asan_unpoison_memory_region(base, bytes);
#endif
}

} // namespace emulator

#endif
