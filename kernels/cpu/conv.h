/* The convolution ops. */
#ifndef LAM_CPU_CONV_H
#define LAM_CPU_CONV_H

#include "cpu/cpu_kernel.h"

lam_status lam_cpu_conv_create(const struct lam_op *op, const struct lam_kernel_options *options,
                               struct lam_kernel **kernel, const char **chosen);

/* The choices among which kernel_create measures, NULL at the end. */
extern const char *const lam_cpu_conv_choices[];

#endif
