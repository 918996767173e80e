/* What happens around every call of an entry point: it is counted, may be made to fail, and its error must be looked at. */
#ifndef LAM_CUDA_EMULATOR_CALLS_H
#define LAM_CUDA_EMULATOR_CALLS_H

#include <cuda_runtime_api.h>

#include "cuda_emulator/entry_points.h"
#include "cuda_emulator/sanitizers.h"

namespace emulator {

/* The error that the call was made to fail with, or cudaSuccess. */
cudaError_t begin_call(entry which);
/* Notes the error as the thread's last one. Returns it. */
cudaError_t end_call(entry which, cudaError_t error);

bool does_its_work(entry which, cudaError_t planned);

/* body() returns the call's own error. ThreadSanitizer sees what it does; books are touched under `unseen` there. */
template <typename Body> cudaError_t call(entry which, Body body) {
    cudaError_t planned = begin_call(which);
    if (!does_its_work(which, planned)) return end_call(which, planned);
    cudaError_t own = body();
    return end_call(which, planned != cudaSuccess ? planned : own);
}

} // namespace emulator

#endif
