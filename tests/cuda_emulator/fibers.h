/* Fibers: stacks that a thread of the host changes between by itself, without a system call. */
#ifndef LAM_CUDA_EMULATOR_FIBERS_H
#define LAM_CUDA_EMULATOR_FIBERS_H

#include <cstddef>

namespace emulator {

struct fiber {
    void *stack_pointer = nullptr; /* while it does not run */
    char *stack = nullptr;         /* its lowest byte */
    size_t stack_bytes = 0;
    void *tsan = nullptr, *asan = nullptr; /* what the sanitizers know it by */
};

/* The fiber that the thread is on when it comes here. `apart`, here and below: ThreadSanitizer takes every fiber for a thread
 * of its own, without any order between them. Otherwise it takes them all for one thread, which is much faster; in its
 * reports the callers of what they do are then mixed up. */
void home_fiber(fiber *home, bool apart);
/* One that calls main() when it is switched to for the first time. main() never returns. */
void open_fiber(fiber *f, void (*main)(), bool apart);
void close_fiber(fiber *f);

/* Leaves `from`, the running one; returns when something switches back to it. */
void switch_fiber(fiber *from, fiber *to);

} // namespace emulator

#endif
