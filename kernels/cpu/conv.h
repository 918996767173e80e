/* The convolution ops. */
#ifndef LAM_CPU_CONV_H
#define LAM_CPU_CONV_H

#include "cpu/cpu_kernel.h"

lam_status lam_cpu_conv_create(const struct lam_op *op, const struct lam_kernel_options *options,
                               struct lam_kernel **kernel, const char **chosen);

/* The choices among which kernel_create measures, NULL at the end. */
extern const char *const lam_cpu_conv_choices[];

/* LAMINA_CONV=direct in the environment leaves Winograd out, for tests and comparisons: whether it is so, and
 * LAM_ERR_INVALID for another value. */
bool lam_cpu_conv_direct_only(void);
lam_status lam_cpu_conv_check(void);

/* Inside: whether a way can do the op, and its kernel; widened: bf16 operands through `create` of f32 ones.
 */
bool lam_cpu_conv_flipped_applies(const struct lam_op *op);
bool lam_cpu_conv_winograd_applies(const struct lam_op *op);
lam_status lam_cpu_conv_direct_create(const struct lam_op *op, const struct lam_kernel_options *options,
                                      bool flipped, struct lam_kernel **kernel);
lam_status lam_cpu_conv_winograd_create(const struct lam_op *op, const struct lam_kernel_options *options,
                                        struct lam_kernel **kernel);

lam_status lam_cpu_conv_widened_create(const struct lam_op *op, const struct lam_kernel_options *options,
                                       lam_cpu_create_fn create, struct lam_kernel **kernel,
                                       const char **chosen);

#endif
