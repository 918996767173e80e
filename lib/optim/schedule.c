/* Learning rates as functions of the step alone, so that a resumed run needs no state to go on exactly. */
#include "optim/schedule.h"

#include <math.h>

static const double pi = 3.14159265358979323846;

/* Share of the schedule proper (what follows the warm-up) that lies behind `step`, at most 1. */
static double progress(const struct lam_schedule *schedule, uint64_t step) {
    if (step >= schedule->steps) return 1.0;
    return (double)(step - schedule->warmup) / (double)(schedule->steps - schedule->warmup);
}

static double decay_by_milestones(const struct lam_schedule *schedule, uint64_t step) {
    const int most = sizeof schedule->milestone / sizeof *schedule->milestone;
    double factor = 1.0;
    for (int i = 0; i < most && schedule->milestone[i] && schedule->milestone[i] <= step; i++)
        factor *= (double)schedule->gamma;
    return factor;
}

float lam_schedule_at(const struct lam_schedule *schedule, uint64_t step) {
    double base = (double)schedule->base, end = (double)schedule->end;
    if (step < schedule->warmup) return (float)(base * (double)(step + 1) / (double)schedule->warmup);
    switch (schedule->kind) {
    case LAM_SCHEDULE_CONSTANT:
        break;
    case LAM_SCHEDULE_LINEAR:
        return (float)(base * (1.0 + (end - 1.0) * progress(schedule, step)));
    case LAM_SCHEDULE_COSINE:
        return (float)(base * (end + (1.0 - end) * 0.5 * (1.0 + cos(pi * progress(schedule, step)))));
    case LAM_SCHEDULE_STEP:
        return (float)(base * decay_by_milestones(schedule, step));
    }
    return schedule->base;
}
