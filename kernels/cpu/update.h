/* The flat-buffer updates of backend.h on the CPU: optimizers, weight average, sum of squares. */
#ifndef LAM_CPU_UPDATE_H
#define LAM_CPU_UPDATE_H

#include "device/backend.h"

void lam_cpu_sgd(const struct lam_sgd_args *args, int64_t begin, int64_t end, struct lam_stream *stream);
void lam_cpu_adamw(const struct lam_adamw_args *args, int64_t begin, int64_t end, struct lam_stream *stream);
void lam_cpu_ema(float *average, const float *value, float decay, int64_t begin, int64_t end,
                 struct lam_stream *stream);
void lam_cpu_accumulate(float *sum, const float *value, float weight, bool first, int64_t begin, int64_t end,
                        struct lam_stream *stream);
void lam_cpu_sum_squares(const float *value, int64_t begin, int64_t end, int64_t chunk, double *sums,
                         struct lam_stream *stream);

#endif
