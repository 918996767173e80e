/* Flat-buffer updates: the scalars of each formula; the loops stand in update_isa.c. */
#include "cpu/update.h"

#include <math.h>

#include "cpu/cpu_kernel.h"
#include "cpu/update_isa.h"

void lam_cpu_sgd(const struct lam_sgd_args *args, int64_t begin, int64_t end, struct lam_stream *stream) {
    (void)stream;
    LAM_ISA_PICK(lam_update)->sgd(args, begin, end);
}

void lam_cpu_adamw(const struct lam_adamw_args *args, int64_t begin, int64_t end, struct lam_stream *stream) {
    (void)stream;
    double t = (double)args->step;
    double rate = args->learning_rate;
    struct lam_adamw_scalars scalars = {
        .decay = args->decoupled ? (float)(1 - rate * (double)args->weight_decay) : 1.0f,
        .l2 = args->decoupled ? 0.0f : args->weight_decay,
        .step_size = (float)(rate / (1 - pow((double)args->beta1, t))),
        .root_factor = (float)(1 / sqrt(1 - pow((double)args->beta2, t))),
    };
    LAM_ISA_PICK(lam_update)->adamw(args, &scalars, begin, end);
}

void lam_cpu_ema(float *average, const float *value, float decay, int64_t begin, int64_t end,
                 struct lam_stream *stream) {
    (void)stream;
    LAM_ISA_PICK(lam_update)->ema(average, value, decay, begin, end);
}

void lam_cpu_accumulate(float *sum, const float *value, float weight, bool first, int64_t begin, int64_t end,
                        struct lam_stream *stream) {
    (void)stream;
    LAM_ISA_PICK(lam_update)->accumulate(sum, value, weight, first, begin, end);
}

void lam_cpu_sum_squares(const float *value, int64_t begin, int64_t end, int64_t chunk, double *sums,
                         struct lam_stream *stream) {
    (void)stream;
    do {
        int64_t next = end - begin < chunk ? end : begin + chunk;
        *sums++ = LAM_ISA_PICK(lam_update)->sum_squares(value, begin, next);
        begin = next;
    } while (begin < end);
}
