/* Addends (device/op.h) of ops whose kernels know none. */
#ifndef LAM_CPU_ADDEND_H
#define LAM_CPU_ADDEND_H

#include "cpu/cpu_kernel.h"

/* `create` makes the op without its addend and without ReLU; both follow it, in its output, which a slice leaves in the cache. */
lam_status lam_cpu_add_behind(const struct lam_op *op, const struct lam_kernel_options *options,
                              lam_cpu_create_fn create, struct lam_kernel **kernel, const char **chosen);

/* The same for any op whose create function knows no addend. */
lam_status lam_cpu_addend_create(const struct lam_op *op, const struct lam_kernel_options *options,
                                 struct lam_kernel **kernel, const char **chosen);

#endif
