/* Learning-rate schedules against values worked out by hand. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <math.h>

#include "optim/schedule.h"

static void close_to(double got, double wanted) {
    if (fabs(got - wanted) > 1e-6 * fmax(1.0, fabs(wanted))) fail_msg("%.9g is not %.9g", got, wanted);
}

static void constant_stays(void **state) {
    (void)state;
    struct lam_schedule s = {.kind = LAM_SCHEDULE_CONSTANT, .base = 0.25f, .steps = 10};
    for (uint64_t step = 0; step < 20; step++) close_to(lam_schedule_at(&s, step), 0.25);
}

static void warmup_rises_linearly_for_each_kind(void **state) {
    (void)state;
    for (int kind = LAM_SCHEDULE_CONSTANT; kind <= LAM_SCHEDULE_STEP; kind++) {
        struct lam_schedule s = {.kind = (enum lam_schedule_kind)kind,
                                 .base = 0.8f,
                                 .steps = 100,
                                 .warmup = 4,
                                 .gamma = 0.1f,
                                 .milestone = {50}};
        close_to(lam_schedule_at(&s, 0), 0.2);
        close_to(lam_schedule_at(&s, 1), 0.4);
        close_to(lam_schedule_at(&s, 2), 0.6);
        close_to(lam_schedule_at(&s, 3), 0.8);
        close_to(lam_schedule_at(&s, 4), 0.8); /* the schedule proper begins at its base */
    }
}

static void linear_falls_to_its_end(void **state) {
    (void)state;
    struct lam_schedule s = {
        .kind = LAM_SCHEDULE_LINEAR, .base = 1.0f, .steps = 12, .warmup = 2, .end = 0.5f};
    close_to(lam_schedule_at(&s, 2), 1.0);
    close_to(lam_schedule_at(&s, 4), 0.9);
    close_to(lam_schedule_at(&s, 7), 0.75);
    close_to(lam_schedule_at(&s, 11), 0.55);
    close_to(lam_schedule_at(&s, 12), 0.5);
    close_to(lam_schedule_at(&s, 1000), 0.5);
}

static void cosine_is_half_a_wave(void **state) {
    (void)state;
    struct lam_schedule s = {.kind = LAM_SCHEDULE_COSINE, .base = 0.1f, .steps = 110, .warmup = 10};
    close_to(lam_schedule_at(&s, 10), 0.1);
    close_to(lam_schedule_at(&s, 35), 0.1 * 0.853553391);
    close_to(lam_schedule_at(&s, 60), 0.05);
    close_to(lam_schedule_at(&s, 85), 0.1 * 0.146446609);
    close_to(lam_schedule_at(&s, 110), 0.0);
    close_to(lam_schedule_at(&s, UINT64_MAX), 0.0);
    s.end = 0.2f;
    close_to(lam_schedule_at(&s, 10), 0.1);
    close_to(lam_schedule_at(&s, 60), 0.06);
    close_to(lam_schedule_at(&s, 110), 0.02);
}

static void step_multiplies_at_each_milestone(void **state) {
    (void)state;
    struct lam_schedule s = {
        .kind = LAM_SCHEDULE_STEP, .base = 1.0f, .steps = 90, .gamma = 0.1f, .milestone = {60, 80}};
    close_to(lam_schedule_at(&s, 0), 1.0);
    close_to(lam_schedule_at(&s, 59), 1.0);
    close_to(lam_schedule_at(&s, 60), 0.1);
    close_to(lam_schedule_at(&s, 79), 0.1);
    close_to(lam_schedule_at(&s, 80), 0.01);
    close_to(lam_schedule_at(&s, 500), 0.01);
    struct lam_schedule full = {.kind = LAM_SCHEDULE_STEP,
                                .base = 256.0f,
                                .steps = 9,
                                .gamma = 0.5f,
                                .milestone = {1, 2, 3, 4, 5, 6, 7, 8}};
    close_to(lam_schedule_at(&full, 8), 1.0);
}

static void a_run_that_is_all_warmup_still_has_a_rate(void **state) {
    (void)state;
    struct lam_schedule s = {.kind = LAM_SCHEDULE_COSINE, .base = 0.4f, .steps = 3, .warmup = 4};
    close_to(lam_schedule_at(&s, 2), 0.3);
    close_to(lam_schedule_at(&s, 4), 0.0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(constant_stays),
        cmocka_unit_test(warmup_rises_linearly_for_each_kind),
        cmocka_unit_test(linear_falls_to_its_end),
        cmocka_unit_test(cosine_is_half_a_wave),
        cmocka_unit_test(step_multiplies_at_each_milestone),
        cmocka_unit_test(a_run_that_is_all_warmup_still_has_a_rate),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
