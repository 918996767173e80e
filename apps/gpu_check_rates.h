/* The rates that the part of that name found. */
#ifndef LAMINA_GPU_CHECK_RATES_H
#define LAMINA_GPU_CHECK_RATES_H

#include "apps/gpu_check.h"

#define GPU_CHECK_MEMORY "memory, read + written"

/* Per second; 0: not known. precision: "f32", "tf32", "bf16". */
double gpu_check_flops_rate(const struct gpu_check *check, const char *device, const char *precision);
double gpu_check_bytes_rate(const struct gpu_check *check, const char *device);

#endif
