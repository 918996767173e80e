/* What the plain C kernels of this folder share: making a kernel, and running one on operands in another
 * layout.
 *
 * Most kernels are written for operands that all have one layout. Where an op mixes layouts, its create
 * function hands itself to the adapter, which makes the kernel for one layout and converts the operands that
 * differ, slice by slice, in its workspace:
 *
 *     if (!lam_cpu_same_layout(op, &layout))
 *         return lam_cpu_adapt(op, options, layout, lam_cpu_add_create, kernel, chosen);
 */
#ifndef LAM_CPU_LAYOUT_ADAPTER_H
#define LAM_CPU_LAYOUT_ADAPTER_H

#include "cpu/cpu_kernel.h"

/* A zeroed kernel of `bytes` whose op is `op` and whose destroy is free(). */
lam_status lam_cpu_kernel_new(size_t bytes, const struct lam_op *op, struct lam_kernel **kernel);

/* Elements stored for one sample (or for the whole of a shared operand), with channel padding. */
int64_t lam_cpu_sample_elements(const struct lam_operand *operand);

/* Elements of `operand` that a slice of args->count samples has. */
int64_t lam_cpu_slice_elements(const struct lam_operand *operand, const struct lam_kernel_args *args);

/* True when all present rank-4 batched operands have one layout, then in *layout. Else *layout is the one to
 * convert to: the first blocked one. */
bool lam_cpu_same_layout(const struct lam_op *op, enum lam_layout *layout);

/* True when a rank-4 batched operand is blocked: for ops that are only done in PLAIN. */
bool lam_cpu_any_blocked(const struct lam_op *op);

lam_status lam_cpu_adapt(const struct lam_op *op, const struct lam_kernel_options *options,
                         enum lam_layout layout, lam_cpu_create_fn create, struct lam_kernel **kernel,
                         const char **chosen);

/* LAM_ERR_UNSUPPORTED with the op's name, its first shape and `why`. */
lam_status lam_cpu_unsupported(const struct lam_op *op, const char *why);

#endif
