/* What an emulated GPU can do at most. */
#ifndef LAM_CUDA_EMULATOR_LIMITS_H
#define LAM_CUDA_EMULATOR_LIMITS_H

namespace emulator {

enum {
    WARP_THREADS = 32,
    MOST_BLOCK_THREADS = 1024,
    MULTIPROCESSORS = 2,
    SHARED_BYTES = 48 << 10,       /* of a block */
    SHARED_BYTES_OPTIN = 99 << 10, /* of a block of a kernel that was allowed it */
};
inline constexpr unsigned most_block[3] = {1024, 1024, 64};
inline constexpr unsigned most_grid[3] = {0x7FFFFFFF, 65535, 65535};

} // namespace emulator

#endif
