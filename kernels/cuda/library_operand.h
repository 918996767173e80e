/* Batched operands for a library that takes one layout only, and perhaps aligned data only.
 *
 * An operand that has another layout passes through the kernel's workspace, slice by slice:
 *
 *     bytes = lam_library_operand(&x, &op->in[0], LAM_NHWC, 16, options, 0);    // in create
 *     ...
 *     const void *x = lam_library_in(&k->x, args->in[0], args);                 // in run
 *     void *y = lam_library_out(&k->y, args->out[0], args);
 *     ... the library's call, from x to y ...
 *     lam_library_done(&k->y, args->out[0], args);
 */
#ifndef LAM_CUDA_LIBRARY_OPERAND_H
#define LAM_CUDA_LIBRARY_OPERAND_H

#include "cuda/cuda_kernel.h"

/* Parts of a workspace and of prepared forms begin at multiples of this; what is handed to a library as its scratch, too. */
enum { LAM_LIBRARY_ALIGNMENT = 256 };

struct lam_library_operand {
    struct lam_tensor_desc desc;
    size_t sample_bytes;
    size_t alignment;
    size_t offset;    /* its room in the workspace */
    bool other_order; /* its elements stand in another order than is wanted */
    bool has_room;    /* else it is always used where it is */
};

/* Describes an operand that is wanted in `layout`, at addresses that are multiples of `alignment`; `offset` is where its room
 * in the workspace begins. Returns the bytes of that room: 0 if it is always used where it is. */
size_t lam_library_operand(struct lam_library_operand *operand, const struct lam_operand *of,
                           enum lam_layout layout, size_t alignment, const struct lam_kernel_options *options,
                           size_t offset);

const void *lam_library_in(const struct lam_library_operand *operand, const void *data,
                           const struct lam_kernel_args *args);
void *lam_library_out(const struct lam_library_operand *operand, void *data,
                      const struct lam_kernel_args *args);
void lam_library_done(const struct lam_library_operand *operand, void *data,
                      const struct lam_kernel_args *args);

static inline size_t lam_library_align(size_t bytes) {
    return (bytes + LAM_LIBRARY_ALIGNMENT - 1) / LAM_LIBRARY_ALIGNMENT * LAM_LIBRARY_ALIGNMENT;
}

/* The aligned scratch that begins at `offset` in the workspace; it takes lam_library_scratch_bytes. The workspace itself is
 * aligned to 64 bytes. */
static inline void *lam_library_scratch(const struct lam_kernel_args *args, size_t offset) {
    return (void *)lam_library_align((uintptr_t)args->workspace + offset);
}
static inline size_t lam_library_scratch_bytes(size_t bytes) {
    return bytes > 0 ? bytes + LAM_LIBRARY_ALIGNMENT : 0;
}

#endif
