/* Addends (device/op.h) of ops whose kernels know none: all but batch norm and ReLU's gradient. In Winograd's output, where tiles of four rows
 * are written, adding takes as long as it does behind it, row by row.
 */
#ifndef LAM_CPU_ADDEND_H
#define LAM_CPU_ADDEND_H

#include "cpu/cpu_kernel.h"

/* The op's own kernel without its addend and without ReLU; both follow it, in its output, which a slice leaves in the cache. */
lam_status lam_cpu_addend_create(const struct lam_op *op, const struct lam_kernel_options *options,
                                 struct lam_kernel **kernel, const char **chosen);

#endif
