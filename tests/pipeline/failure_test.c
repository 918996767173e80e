/* The first error stops everything, and is the one that is reported; a pipeline that stands still says where. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "pipeline/rig.h"

#include <math.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/files.h"
#include "base/log.h"
#include "pipeline/queue.h"

static struct rig rig;
static const struct rig_options two_blocks = {
    .model = "resnet20", .method = "dgl", .blocks = 2, .devices = 2, .schedule = LAM_PIPELINE_PPLL};

static void fails(enum lam_pipeline_schedule schedule, int devices) {
    struct rig_options options = {.model = "resnet20",
                                  .method = "glcan",
                                  .blocks = 4,
                                  .devices = devices,
                                  .schedule = schedule,
                                  .longest_delay = 500,
                                  .fail_at_step = 3};
    rig_start(&rig, &options);
    assert_int_equal(rig_train(&rig, 0, 50), LAM_ERR_NOT_FINITE);
    assert_non_null(strstr(lam_error_text(), "made to fail at step 3"));
    assert_int_equal(rig_train(&rig, 50, 51), LAM_ERR_NOT_FINITE); /* and stays so */
    assert_int_equal(lam_pipeline_drain(rig.pipeline), LAM_ERR_NOT_FINITE);
    rig_close(&rig); /* checks that every batch came back */
}

static void error_in_ppll(void **state) {
    (void)state;
    fails(LAM_PIPELINE_PPLL, 4);
    fails(LAM_PIPELINE_PPLL, 2);
}

static void error_in_sequential(void **state) {
    (void)state;
    fails(LAM_PIPELINE_SEQUENTIAL, 2);
}

/* A weight that is not a number: block and tensor are named. */
static void not_finite(void **state) {
    (void)state;
    rig_open(&rig, &two_blocks);
    rig_allocate(&rig, true);
    struct lam_params *params = lam_block_params(rig.blocks[1]);
    int weight = lam_params_find(params, "head.fc.weight");
    float *values = calloc((size_t)lam_params_get(params, weight)->count, sizeof *values);
    values[0] = NAN;
    assert_int_equal(lam_params_write(params, weight, values), LAM_OK);
    free(values);
    assert_int_equal(lam_pipeline_start(rig.pipeline, 0, true), LAM_OK);
    assert_int_equal(rig_train(&rig, 0, 20), LAM_ERR_NOT_FINITE);
    assert_non_null(strstr(lam_error_text(), "block 2 ("));
    assert_non_null(strstr(lam_error_text(), "head.fc.weight"));
    rig_close(&rig);
}

/* Closing with work under way ends without a hang, and gives all batches back. */
static void closing_early(void **state) {
    (void)state;
    struct rig_options options = {.model = "resnet20",
                                  .method = "glcan",
                                  .blocks = 4,
                                  .devices = 4,
                                  .schedule = LAM_PIPELINE_PPLL,
                                  .longest_delay = 2000};
    for (int i = 0; i < 5; i++) {
        rig_start(&rig, &options);
        for (uint64_t step = 0; step < (uint64_t)i; step++)
            assert_int_equal(
                lam_pipeline_train(rig.pipeline, rig_batch(&rig, step), rig_release, &rig, 0.1f, step),
                LAM_OK);
        rig_close(&rig);
    }
}

/* ---- times ---- */

/* The device that waits last has told of the whole time, but for what the other one still does: less than two steps. */
static void times_add_up(void **state) {
    (void)state;
    static const enum lam_pipeline_schedule schedules[] = {LAM_PIPELINE_SEQUENTIAL, LAM_PIPELINE_PPLL,
                                                           LAM_PIPELINE_GPIPE, LAM_PIPELINE_1F1B};
    for (int s = 0; s < 4; s++) {
        struct rig_options options = two_blocks;
        options.schedule = schedules[s];
        options.micro_batches = s > 1 ? 4 : 0;
        options.longest_delay = 0;
        rig_start(&rig, &options);
        double begin = lam_seconds(), most = 0;
        lam_pipeline_reset_times(rig.pipeline);
        assert_int_equal(rig_train(&rig, 0, 12), LAM_OK);
        double wall = lam_seconds() - begin;
        for (int d = 0; d < 2; d++) {
            struct lam_pipeline_times times = lam_pipeline_times(rig.pipeline, d);
            assert_true(times.busy > 0 && times.starved >= 0 && times.blocked >= 0);
            assert_true(times.forward <= times.busy);
            double all = times.busy + times.starved + times.blocked;
            assert_true(all <= wall);
            most = all > most ? all : most;
        }
        if (most < wall - 2 * wall / 12) fail_msg("schedule %d: %g s of %g s are told of", s, most, wall);
        rig_close(&rig);
    }
}

/* ---- the watchdog ---- */

/* All lines: on a slow machine there may be more than the one that is looked for. */
static char said[1 << 14];
static pthread_mutex_t said_lock = PTHREAD_MUTEX_INITIALIZER;

static void listen_to_log(void *context, enum lam_log_level level, const char *text) {
    (void)context, (void)level;
    pthread_mutex_lock(&said_lock);
    size_t used = strlen(said);
    snprintf(said + used, sizeof said - used, "%s\n", text);
    pthread_mutex_unlock(&said_lock);
}

static void watchdog(void **state) {
    (void)state;
    struct rig_options options = {.model = "vit-micro",
                                  .method = "dgl",
                                  .blocks = 2,
                                  .devices = 2,
                                  .schedule = LAM_PIPELINE_PPLL,
                                  .sleep_at_step = 1,
                                  .watchdog_seconds = 0.1};
    lam_log_set_sink(listen_to_log, NULL);
    rig_start(&rig, &options);
    assert_int_equal(rig_train(&rig, 0, 4), LAM_OK);
    rig_close(&rig);
    lam_log_set_sink(NULL, NULL);
    if (!strstr(said, "nothing was handed on for 0.1 s: cpu:0: ") ||
        !strstr(said, "cpu:1: working at step 2"))
        fail_msg("the watchdog said '%s'", said);
}

/* ---- queues ---- */

struct ends {
    struct lam_queue *queue;
    int values[3];
    long sum;
};

static void *consume(void *context) {
    struct ends *ends = context;
    int slot;
    while (lam_queue_take(ends->queue, &slot) == LAM_OK) {
        ends->sum = 31 * ends->sum % 1000003 + ends->values[slot];
        lam_queue_release(ends->queue);
    }
    return NULL;
}

/* First in, first out, nothing lost, never more in flight than there are slots. */
static void queue_order(void **state) {
    (void)state;
    struct ends ends = {.sum = 0};
    long expected = 0;
    pthread_t thread;
    assert_int_equal(lam_queue_create(3, &ends.queue), LAM_OK);
    assert_int_equal(pthread_create(&thread, NULL, consume, &ends), 0);
    for (int i = 0; i < 20000; i++) {
        int slot;
        assert_int_equal(lam_queue_acquire(ends.queue, &slot), LAM_OK);
        assert_in_range(lam_queue_waiting(ends.queue), 0, 2);
        ends.values[slot] = i;
        expected = 31 * expected % 1000003 + i;
        lam_queue_publish(ends.queue);
    }
    while (lam_queue_waiting(ends.queue)) usleep(100);
    usleep(20000);
    lam_queue_poison(ends.queue);
    pthread_join(thread, NULL);
    int slot;
    assert_int_equal(ends.sum, expected);
    assert_int_equal(lam_queue_acquire(ends.queue, &slot), LAM_ERR_STOPPED);
    lam_queue_destroy(ends.queue);
}

static void versions(void **state) {
    (void)state;
    struct lam_versions *v;
    int place;
    assert_int_equal(lam_versions_create(3, &v), LAM_OK);
    lam_versions_start(v, 10);
    for (int i = 0; i < 3; i++) {
        assert_int_equal(lam_versions_acquire(v, &place), LAM_OK);
        assert_int_equal(place, (10 + i) % 3);
        lam_versions_publish(v);
    }
    assert_int_equal(lam_versions_read(v, 9, &place), LAM_ERR_INTERNAL); /* was before the start */
    assert_int_equal(lam_versions_read(v, 11, &place), LAM_OK);
    assert_int_equal(place, 11 % 3);
    assert_int_equal(lam_versions_read(v, 10, &place), LAM_ERR_INTERNAL); /* given up */
    assert_int_equal(lam_versions_acquire(v, &place), LAM_OK);            /* its place is free again */
    assert_int_equal(place, 13 % 3);
    lam_versions_poison(v);
    assert_int_equal(lam_versions_read(v, 14, &place), LAM_ERR_STOPPED);
    lam_versions_destroy(v);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(error_in_ppll), cmocka_unit_test(error_in_sequential),
        cmocka_unit_test(not_finite),    cmocka_unit_test(closing_early),
        cmocka_unit_test(times_add_up),  cmocka_unit_test(watchdog),
        cmocka_unit_test(queue_order),   cmocka_unit_test(versions),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
