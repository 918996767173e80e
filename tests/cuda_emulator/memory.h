/* The table of all memory: which device it is of, whether it is alive, and what queued work uses it. */
#ifndef LAM_CUDA_EMULATOR_MEMORY_H
#define LAM_CUDA_EMULATOR_MEMORY_H

#include <vector>

#include <cuda_runtime_api.h>

namespace emulator {

/* Records are kept for ever, so a pointer to one is always good. All but the first four members: books' lock. */
struct allocation {
    char *base;
    size_t bytes;
    int device; /* pinned memory: the one that was current */
    bool pinned;
    bool live = true;
    int uses = 0;               /* pieces of queued work that use it */
    const char *user = nullptr; /* the last of them */
};

/* The allocation that [pointer, pointer + bytes) lies in. Aborts unless it is live and kernels of `device` can use it. */
allocation *expect_range(int device, const void *pointer, size_t bytes, const char *what);
/* The allocation, live or not, that a pointer points into; NULL if it is the host's own. */
allocation *find_allocation(const void *pointer);

/* Called as work is queued, and as it ends. */
void add_uses(const std::vector<allocation *> &uses, const char *name);
void drop_uses(const std::vector<allocation *> &uses);

/* Prints one line for each live allocation. Returns how many there are. */
int list_memory();

} // namespace emulator

#endif
