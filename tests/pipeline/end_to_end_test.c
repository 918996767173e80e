/* GPIPE and 1F1B against training in one piece: micro-batches, cuts and schedules change rounding alone, where there is no
 * batch norm. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "pipeline/rig.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { STEPS = 5 };

static struct rig rig;

static void train(const struct rig_options *options) {
    rig_start(&rig, options);
    if (rig_train(&rig, 0, STEPS) != LAM_OK) fail_msg("%s", lam_error_text());
}

/* The parameter of that name, from whichever block has it. Caller frees. */
static float *parameter(const char *name, int64_t *count) {
    for (int j = 0; j < rig.options.blocks; j++) {
        struct lam_params *params = lam_block_params(rig.blocks[j]);
        int index = lam_params_find(params, name);
        if (index < 0) continue;
        *count = lam_params_get(params, index)->count;
        float *values = malloc((size_t)*count * sizeof *values);
        assert_int_equal(lam_params_read(params, index, values), LAM_OK);
        return values;
    }
    fail_msg("no parameter '%s'", name);
    return NULL;
}

/* All parameters of the trained rig, in the order of names of the first call. */
struct kept {
    char *name;
    float *values;
    int64_t count;
};
static struct kept kept[256];
static int kept_count;

static void keep(void) {
    struct lam_params *params = lam_block_params(rig.blocks[0]); /* one block has them all */
    kept_count = lam_params_size(params);
    for (int i = 0; i < kept_count; i++) {
        kept[i].name = strdup(lam_params_get(params, i)->name);
        kept[i].values = parameter(kept[i].name, &kept[i].count);
    }
}

static void forget(void) {
    for (int i = 0; i < kept_count; i++) {
        free(kept[i].name);
        free(kept[i].values);
    }
}

static double worst_difference(void) {
    double worst = 0;
    for (int i = 0; i < kept_count; i++) {
        int64_t count;
        float *values = parameter(kept[i].name, &count);
        double difference = 0, norm = 1e-12;
        for (int64_t k = 0; k < count; k++) {
            difference += pow((double)values[k] - (double)kept[i].values[k], 2);
            norm += pow((double)kept[i].values[k], 2);
        }
        if (sqrt(difference / norm) > worst) worst = sqrt(difference / norm);
        free(values);
    }
    return worst;
}

static void check_one_piece(bool taps) {
    struct rig_options whole = {
        .model = "vit-micro", .method = "dgl", .blocks = 1, .devices = 1, .taps = taps};
    train(&whole);
    keep();
    float loss = rig.losses[0];
    rig_close(&rig);
    for (int schedule = LAM_PIPELINE_GPIPE; schedule <= LAM_PIPELINE_1F1B; schedule++)
        for (int blocks = 1; blocks <= 4; blocks *= 2)
            for (int micro = 1; micro <= 8; micro *= 2) {
                struct rig_options options = {.model = "vit-micro",
                                              .method = "dgl",
                                              .blocks = blocks,
                                              .devices = blocks,
                                              .taps = taps,
                                              .schedule = (enum lam_pipeline_schedule)schedule,
                                              .micro_batches = micro,
                                              .longest_delay = micro == 4 ? 500 : 0};
                train(&options);
                double worst = worst_difference();
                if (worst > 1e-5)
                    fail_msg("K=%d, M=%d, schedule %d: parameters differ by %g", blocks, micro, schedule,
                             worst);
                assert_true(fabs((double)(rig.losses[blocks - 1] - loss)) < 1e-5 * fabs((double)loss));
                assert_int_equal(rig_evaluate(&rig, 1), LAM_OK);
                assert_int_equal(rig.evaluated, 2 * RIG_BATCH + RIG_TAIL);
                rig_close(&rig);
            }
    forget();
}

static void vit_is_trained_as_one_piece(void **state) {
    (void)state;
    check_one_piece(false);
}

/* Gradients come back through blocks that taps only pass. */
static void taps_are_trained_as_one_piece(void **state) {
    (void)state;
    check_one_piece(true);
}

/* Batch norm sees micro-batches, but the order of work changes nothing: both schedules and any delays agree to the bit. */
static void schedules_agree(void **state) {
    (void)state;
    void *reference = NULL;
    size_t bytes, got;
    for (int schedule = LAM_PIPELINE_GPIPE; schedule <= LAM_PIPELINE_1F1B; schedule++)
        for (int delays = 0; delays < 2; delays++) {
            struct rig_options options = {.model = "resnet20",
                                          .method = "dgl",
                                          .blocks = 4,
                                          .devices = 4,
                                          .schedule = (enum lam_pipeline_schedule)schedule,
                                          .micro_batches = 4,
                                          .longest_delay = delays ? 1000 : 0};
            train(&options);
            void *now = rig_state(&rig, reference ? &got : &bytes);
            rig_close(&rig);
            if (reference) assert_memory_equal(reference, now, bytes);
            if (reference) free(now);
            if (!reference) reference = now;
        }
    free(reference);
}

static void errors_stop_all(void **state) {
    (void)state;
    for (int schedule = LAM_PIPELINE_GPIPE; schedule <= LAM_PIPELINE_1F1B; schedule++) {
        struct rig_options options = {.model = "vit-micro",
                                      .method = "dgl",
                                      .blocks = 2,
                                      .devices = 2,
                                      .schedule = (enum lam_pipeline_schedule)schedule,
                                      .micro_batches = 2,
                                      .fail_at_step = 2};
        rig_start(&rig, &options);
        assert_int_equal(rig_train(&rig, 0, 20), LAM_ERR_NOT_FINITE);
        assert_non_null(strstr(lam_error_text(), "made to fail at step 2"));
        rig_close(&rig);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(vit_is_trained_as_one_piece),
        cmocka_unit_test(taps_are_trained_as_one_piece),
        cmocka_unit_test(schedules_agree),
        cmocka_unit_test(errors_stop_all),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
