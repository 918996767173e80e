/* Running the blocks of a kernel. */
#ifndef LAM_CUDA_EMULATOR_BLOCKS_H
#define LAM_CUDA_EMULATOR_BLOCKS_H

#include "cuda_emulator/device_code.h"

namespace emulator {

/* All blocks, one after the other, in an order drawn from `random`. */
void run_grid(const launch_request &request, const std::function<void()> &body, unsigned random);

} // namespace emulator

#endif
