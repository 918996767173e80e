/* Learning-rate schedules: pure functions of the step.
 *
 *     struct lam_schedule s = {.kind = LAM_SCHEDULE_COSINE, .base = 0.1f, .steps = 1560, .warmup = 156};
 *     float lr = lam_schedule_at(&s, step);
 */
#ifndef LAM_OPTIM_SCHEDULE_H
#define LAM_OPTIM_SCHEDULE_H

#include <stdint.h>

#define LAM_SCHEDULE_TABLE(X)                                                                                \
    X(CONSTANT, "constant")                                                                                  \
    X(LINEAR, "linear") /* to `end` * base */                                                                \
    X(COSINE, "cosine") /* half a cosine down to `end` * base */                                             \
    X(STEP, "step")     /* times `gamma` at each milestone */

enum lam_schedule_kind {
#define LAM_SCHEDULE_ENUM(suffix, name) LAM_SCHEDULE_##suffix,
    LAM_SCHEDULE_TABLE(LAM_SCHEDULE_ENUM)
#undef LAM_SCHEDULE_ENUM
};

struct lam_schedule {
    enum lam_schedule_kind kind;
    float base;            /* learning rate after the warm-up */
    uint64_t steps;        /* of the whole run */
    uint64_t warmup;       /* steps of linear rise from base / warmup to base, before the schedule proper */
    float end;             /* LINEAR, COSINE: final rate as a share of base */
    float gamma;           /* STEP */
    uint64_t milestone[8]; /* STEP: in steps, ascending, 0 ends the list */
};

/* Rate of step `step` (from 0). Past the end it stays at the last value. */
float lam_schedule_at(const struct lam_schedule *schedule, uint64_t step);

#endif
