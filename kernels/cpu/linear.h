/* The create functions of the ops that stand on the matrix product, and of softmax. */
#ifndef LAM_CPU_LINEAR_H
#define LAM_CPU_LINEAR_H

#include "cpu/cpu_kernel.h"

#define LAM_CPU_CREATE(name)                                                                                 \
    lam_status lam_cpu_##name##_create(const struct lam_op *op, const struct lam_kernel_options *options,    \
                                       struct lam_kernel **kernel, const char **chosen)

/* linear.c */
LAM_CPU_CREATE(linear);
LAM_CPU_CREATE(linear_bwd_data);
LAM_CPU_CREATE(linear_bwd_weights);

/* softmax.c */
LAM_CPU_CREATE(softmax);
LAM_CPU_CREATE(softmax_bwd);

/* attention.c */
LAM_CPU_CREATE(attention);
LAM_CPU_CREATE(attention_bwd);

#undef LAM_CPU_CREATE

#endif
