/* Choosing a kernel by timing the candidates. */
#ifndef LAM_CPU_MEASURE_H
#define LAM_CPU_MEASURE_H

#include "cpu/cpu_kernel.h"
#include "cpu/lanes.h"

/* Makes the op's kernel with each of `choices` (NULL at the end; those that do not apply are passed over),
 * runs each as a step would and keeps the fastest. */
lam_status lam_cpu_measure(struct lam_lanes *lanes, lam_cpu_create_fn create, const char *const *choices,
                           const struct lam_op *op, const struct lam_kernel_options *options,
                           struct lam_kernel **kernel, const char **chosen);

#endif
