#include "cpu/repack.h"

#include <string.h>

#include "cpu/cpu_kernel.h"
#include "cpu/shape_isa.h"

static int log2_bytes(enum lam_dtype dtype) {
    size_t bytes = lam_dtype_bytes(dtype);
    return bytes == 4 ? 2 : bytes == 2 ? 1 : 0;
}

static lam_repack_fn repack_function(enum lam_layout from, enum lam_layout to, enum lam_dtype dtype) {
    const struct lam_shape_kernels *k = LAM_ISA_PICK(lam_shape);
    int size = log2_bytes(dtype);
    if (from == LAM_PLAIN) return k->to_blocked[to == LAM_C16][size];
    if (to == LAM_PLAIN) return k->from_blocked[from == LAM_C16][size];
    return from == LAM_C16 ? k->narrow_blocks[size] : k->widen_blocks[size];
}

static size_t sample_bytes(const struct lam_tensor_desc *desc) {
    return desc->shape.dim[0] > 0 ? lam_tensor_bytes(desc) / (size_t)desc->shape.dim[0] : 0;
}

void lam_cpu_repack(const struct lam_tensor_desc *from, const void *source, enum lam_layout to, void *target,
                    int64_t samples) {
    struct lam_tensor_desc to_desc = *from;
    to_desc.layout = to;
    size_t source_step = sample_bytes(from), target_step = sample_bytes(&to_desc);
    if (from->layout == to) {
        memcpy(target, source, source_step * (size_t)samples);
        return;
    }
    lam_repack_fn repack = repack_function(from->layout, to, from->dtype);
    int64_t channels = from->shape.dim[1], pixels = from->shape.dim[2] * from->shape.dim[3];
    for (int64_t n = 0; n < samples; n++)
        repack((const char *)source + (size_t)n * source_step, (char *)target + (size_t)n * target_step,
               channels, pixels);
}
