#include "cuda/creation.h"

#include <stdlib.h>

static void free_kernel(struct lam_kernel *kernel) {
    free(kernel);
}

lam_status lam_cuda_kernel_new(size_t bytes, const struct lam_op *op, struct lam_kernel **kernel) {
    struct lam_kernel *made = calloc(1, bytes);
    if (!made) return lam_fail(LAM_ERR_NO_MEMORY, "no memory for a kernel of %zu bytes", bytes);
    made->op = *op;
    made->destroy = free_kernel;
    *kernel = made;
    return LAM_OK;
}

lam_status lam_cuda_unsupported(const struct lam_op *op, const char *why) {
    char shape[96] = "";
    if (op->inputs > 0) lam_shape_text(op->in[0].desc.shape, shape, sizeof shape);
    return lam_fail(LAM_ERR_UNSUPPORTED, "%s of %s on CUDA: %s", lam_op_name(op->kind), shape, why);
}
