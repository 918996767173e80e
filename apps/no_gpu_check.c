/* lamina gpu-check where there is nothing to check. */
#include "apps/gpu_check.h"

LAM_COMMAND(gpu_check) {
    (void)command, (void)tasks, (void)argc, (void)argv, (void)out, (void)err;
    return lam_fail(
        LAM_ERR_UNSUPPORTED,
        "there is no GPU here for Lamina: this build has no CUDA backend (cmake -DLAMINA_CUDA=ON)");
}
