/* What can be told about a GPU beside its description: for reports that people send. */
#ifndef LAM_CUDA_REPORT_H
#define LAM_CUDA_REPORT_H

#include <stdio.h>

#include "cuda/cuda_kernel.h"

/* struct lam_backend's report. What cannot be found out is left out. */
void lam_cuda_report(struct lam_backend_device *device, FILE *file);

#endif
