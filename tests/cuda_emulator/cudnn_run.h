/* The emulated cuDNN: how a pass of a convolution is put on its handle's stream. */
#ifndef LAM_CUDA_EMULATOR_CUDNN_RUN_H
#define LAM_CUDA_EMULATOR_CUDNN_RUN_H

#include "cuda_emulator/cudnn_algorithms.h"

namespace emulator::cudnn {

/* The three operands of a problem, of which its kind says what is written; and the workspace. */
struct memory_of {
    const void *x, *w, *y;
    void *workspace;
    size_t workspace_bytes;
};

/* out = alpha pass + beta out; noisy: as algorithms that are not deterministic. `name` lives as long as the program. */
void run(cudnnHandle_t handle, const char *name, const problem &p, const memory_of &m, float alpha,
         float beta, bool noisy);

} // namespace emulator::cudnn

#endif
