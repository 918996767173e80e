/* A pipeline over ranks: the same parameters as in one process, bit for bit, and one error for all. Ranks are threads here,
 * so that sanitizers see all of them; tests/faults runs processes. */
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

enum { STEPS = 7, SPLIT = 3 };

/* What a rank does, and what came of it. Nothing is asserted in a rank's thread. */
struct rank {
    struct rig rig;
    struct rig_options options;
    int from, to;     /* steps */
    const void *half; /* parameters to go on from; NULL: fresh */
    bool evaluate;    /* after the steps, and then SPLIT steps more */
    pthread_t thread;
    lam_status status;
    char error[1024];
    void *state;
    size_t bytes;
};

static lam_status work(struct rank *r) {
    LAM_TRY(lam_pipeline_start(r->rig.pipeline, (uint64_t)r->from, !r->half));
    LAM_TRY(rig_train(&r->rig, (uint64_t)r->from, (uint64_t)r->to));
    if (!r->evaluate) return LAM_OK;
    LAM_TRY(rig_evaluate(&r->rig, 0));
    return rig_train(&r->rig, (uint64_t)r->to, (uint64_t)r->to + SPLIT);
}

static void *run(void *argument) {
    struct rank *r = argument;
    r->status = work(r);
    strcpy(r->error, lam_error_text());
    if (r->status == LAM_OK) r->state = rig_state(&r->rig, &r->bytes);
    if (r->status == LAM_OK && r->options.transport) r->status = lam_transport_barrier(r->options.transport);
    lam_pipeline_stop(r->rig.pipeline);
    return NULL;
}

static void start(struct rank *ranks, int count, const struct rank *as) {
    struct lam_transport *transports[RIG_MOST_DEVICES];
    assert_int_equal(lam_transport_open_local(count, transports), LAM_OK);
    size_t done = 0;
    for (int r = 0; r < count; r++) {
        ranks[r] = *as;
        ranks[r].options.devices = count;
        ranks[r].options.schedule = LAM_PIPELINE_PPLL;
        ranks[r].options.transport = transports[r];
        rig_open(&ranks[r].rig, &ranks[r].options);
        rig_allocate(&ranks[r].rig, !as->half);
        if (as->half) rig_restore(&ranks[r].rig, (const char *)as->half + done, (uint64_t)as->from);
        size_t bytes;
        free(rig_state(&ranks[r].rig, &bytes));
        done += bytes;
    }
    for (int r = 0; r < count; r++)
        assert_int_equal(pthread_create(&ranks[r].thread, NULL, run, &ranks[r]), 0);
}

static void *close_rank(void *argument) {
    struct rank *r = argument;
    lam_transport_close(r->options.transport);
    return NULL;
}

/* Closing waits for the others, so all do it at once. */
static void finish(struct rank *ranks, int count) {
    for (int r = 0; r < count; r++) pthread_join(ranks[r].thread, NULL);
    for (int r = 0; r < count; r++) rig_close(&ranks[r].rig);
    for (int r = 0; r < count; r++) pthread_create(&ranks[r].thread, NULL, close_rank, &ranks[r]);
    for (int r = 0; r < count; r++) pthread_join(ranks[r].thread, NULL);
}

/* All ranks' parameters behind each other, in the order of blocks. */
static void *join_states(struct rank *ranks, int count, size_t *bytes) {
    *bytes = 0;
    for (int r = 0; r < count; r++) {
        if (ranks[r].status != LAM_OK) fail_msg("rank %d: %s", r, ranks[r].error);
        *bytes += ranks[r].bytes;
    }
    char *state = malloc(*bytes), *to = state;
    assert_non_null(state);
    for (int r = 0; r < count; r++) {
        memcpy(to, ranks[r].state, ranks[r].bytes);
        to += ranks[r].bytes;
        free(ranks[r].state);
    }
    return state;
}

static void *train(int count, const struct rank *as, size_t *bytes) {
    static struct rank ranks[RIG_MOST_DEVICES];
    start(ranks, count, as);
    finish(ranks, count);
    void *state = join_states(ranks, count, bytes);
    const struct rig *head = &ranks[count - 1].rig;
    int steps = as->to - as->from + (as->evaluate ? SPLIT : 0);
    for (int j = 0; j < as->options.blocks; j++) {
        assert_int_equal(head->steps_told[j], steps); /* the head hears of all blocks */
        assert_true(isfinite(head->losses[j]));
    }
    assert_int_equal(head->evaluated, as->evaluate ? 2 * RIG_BATCH + RIG_TAIL : 0);
    return state;
}

static void *train_here(const struct rank *as, size_t *bytes) {
    static struct rank alone;
    alone = *as;
    alone.options.devices = 1;
    rig_open(&alone.rig, &alone.options);
    rig_allocate(&alone.rig, true);
    run(&alone);
    rig_close(&alone.rig);
    if (alone.status != LAM_OK) fail_msg("%s", alone.error);
    *bytes = alone.bytes;
    return alone.state;
}

static void check(const char *model, const char *method, int most_blocks, bool taps) {
    static const int queues[] = {1, 2, 8};
    for (int blocks = 2; blocks <= most_blocks; blocks *= 2) {
        struct rank as = {.options = {.model = model, .method = method, .blocks = blocks, .taps = taps},
                          .to = STEPS};
        size_t bytes, got;
        void *reference = train_here(&as, &bytes);
        for (int ranks = 2; ranks <= 4 && ranks <= blocks; ranks *= 2)
            for (int q = 0; q < 3; q++) {
                as.options.queue = queues[q];
                as.options.longest_delay = q == 1 ? 3000 : 0;
                void *state = train(ranks, &as, &got);
                assert_int_equal(got, bytes);
                if (memcmp(state, reference, bytes) != 0)
                    fail_msg("%s %s K=%d over %d ranks, queue %d: other parameters than in one process",
                             model, method, blocks, ranks, queues[q]);
                free(state);
            }
        free(reference);
    }
}

static void resnet_dgl(void **state) {
    (void)state;
    check("resnet20", "dgl", 4, false);
}
static void resnet_glcan(void **state) {
    (void)state;
    check("resnet20", "glcan", 8, false);
}
static void vit_glcan(void **state) {
    (void)state;
    check("vit-micro", "glcan", 4, false);
}

static void taps(void **state) {
    (void)state;
    check("resnet20", "dgl", 4, true);
}

/* Evaluation between steps, and ranks that go on where others stopped. */
static void check_evaluation_and_resume(int kind) {
    struct rank as = {
        .options = {.model = "resnet20", .method = "glcan", .blocks = 4, .ema_lag = 2, .kind = kind},
        .to = SPLIT + SPLIT};
    size_t bytes, half_bytes, got;
    void *reference = train_here(&as, &bytes);
    as.to = SPLIT;
    as.evaluate = true;
    void *evaluated = train(2, &as, &got);
    assert_int_equal(got, bytes);
    assert_memory_equal(evaluated, reference, bytes);
    as.evaluate = false;
    void *half = train(4, &as, &half_bytes);
    as.half = half;
    as.from = SPLIT;
    as.to = SPLIT + SPLIT;
    void *resumed = train(2, &as, &got); /* on other devices than before, too */
    assert_memory_equal(resumed, reference, bytes);
    free(reference);
    free(evaluated);
    free(half);
    free(resumed);
}

static void evaluation_and_resume(void **state) {
    (void)state;
    check_evaluation_and_resume(RIG_CPU);
}

/* Ranks whose devices are GPUs, or cores and GPUs by turns: what is sent goes through host memory. */
static void gpus(void **state) {
    (void)state;
    check_evaluation_and_resume(RIG_CUDA);
}

static void cores_and_gpus(void **state) {
    (void)state;
    struct rank as = {
        .options = {.model = "resnet20", .method = "glcan", .blocks = 4, .devices = 4, .kind = RIG_MIXED},
        .to = SPLIT};
    size_t bytes, got;
    static struct rig rig;
    rig_start(&rig, &as.options);
    assert_int_equal(rig_train(&rig, 0, SPLIT), LAM_OK);
    void *reference = rig_state(&rig, &bytes);
    rig_close(&rig);
    void *state_of_ranks = train(4, &as, &got);
    assert_int_equal(got, bytes);
    assert_memory_equal(state_of_ranks, reference, bytes);
    free(reference);
    free(state_of_ranks);
}

/* An error in one rank is what all of them report. */
static void one_error(void **state) {
    (void)state;
    static struct rank ranks[RIG_MOST_DEVICES];
    for (int first = 0; first < 2; first++) {
        struct rank as = {.options = {.model = "resnet20",
                                      .method = "glcan",
                                      .blocks = 4,
                                      .longest_delay = 500,
                                      .fail_in_first = first == 1,
                                      .fail_at_step = 3},
                          .to = 50};
        start(ranks, 4, &as);
        finish(ranks, 4);
        for (int r = 0; r < 4; r++) {
            assert_int_equal(ranks[r].status, LAM_ERR_NOT_FINITE);
            assert_non_null(strstr(ranks[r].error, "made to fail at step 3"));
        }
    }
}

/* As many ranks as devices; nothing hangs where there are not. */
static void wrong_number(void **state) {
    (void)state;
    struct lam_transport *transports[2];
    assert_int_equal(lam_transport_open_local(2, transports), LAM_OK);
    struct rig rig;
    struct rig_options options = {
        .model = "resnet20", .method = "dgl", .blocks = 4, .devices = 4, .schedule = LAM_PIPELINE_PPLL};
    rig_open(&rig, &options);
    struct lam_pipeline_options pipeline = {.blocks = rig.blocks,
                                            .block_count = 4,
                                            .schedule = LAM_PIPELINE_PPLL,
                                            .queue = 1,
                                            .transport = transports[0]};
    struct lam_pipeline *made;
    assert_int_equal(lam_pipeline_create(&pipeline, &made), LAM_ERR_INVALID);
    assert_non_null(strstr(lam_error_text(), "2 ranks for 4 devices"));
    pipeline.schedule = LAM_PIPELINE_SEQUENTIAL;
    assert_int_equal(lam_pipeline_create(&pipeline, &made), LAM_ERR_INVALID);
    rig_close(&rig);
    struct rank closing[2] = {{.options.transport = transports[0]}, {.options.transport = transports[1]}};
    for (int r = 0; r < 2; r++) pthread_create(&closing[r].thread, NULL, close_rank, &closing[r]);
    for (int r = 0; r < 2; r++) pthread_join(closing[r].thread, NULL);
}

/* A wait ends when it is given up, and when another rank fails; the text travels. */
static void *give_up(void *cancel) {
    struct timespec pause = {.tv_nsec = 20000000};
    nanosleep(&pause, NULL);
    atomic_store((_Atomic bool *)cancel, true);
    return NULL;
}

static void waits_end(void **state) {
    (void)state;
    struct lam_transport *t[2];
    assert_int_equal(lam_transport_open_local(2, t), LAM_OK);
    _Atomic bool cancel = false;
    pthread_t thread;
    char byte = 0;
    const struct lam_part part = {&byte, 1};
    pthread_create(&thread, NULL, give_up, &cancel);
    assert_int_equal(lam_transport_receive(t[0], 1, LAM_TAG_BATCH, &part, 1, &cancel), LAM_ERR_STOPPED);
    pthread_join(thread, NULL);
    assert_int_equal(lam_transport_error(t[0]), LAM_OK);
    assert_int_equal(lam_transport_fail(t[1], lam_fail(LAM_ERR_IO, "the disk is full")), LAM_ERR_IO);
    assert_int_equal(lam_transport_receive(t[0], 1, LAM_TAG_BATCH, &part, 1, NULL), LAM_ERR_STOPPED);
    assert_int_equal(lam_transport_error(t[0]), LAM_ERR_IO);
    assert_string_equal(lam_error_text(), "rank 1: the disk is full");
    struct rank closing[2] = {{.options.transport = t[0]}, {.options.transport = t[1]}};
    for (int r = 0; r < 2; r++) pthread_create(&closing[r].thread, NULL, close_rank, &closing[r]);
    for (int r = 0; r < 2; r++) pthread_join(closing[r].thread, NULL);
}

/* The argument, if any, is a pattern for the names of the tests to run: under a sanitizer all of them take long. With devices
 * named in LAMINA_TEST_DEVICES, GPUs are tested instead of cores. */
int main(int argc, char **argv) {
    const struct CMUnitTest with_gpus[] = {cmocka_unit_test(gpus), cmocka_unit_test(cores_and_gpus)};
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(resnet_dgl),
        cmocka_unit_test(resnet_glcan),
        cmocka_unit_test(vit_glcan),
        cmocka_unit_test(taps),
        cmocka_unit_test(evaluation_and_resume),
        cmocka_unit_test(one_error),
        cmocka_unit_test(wrong_number),
        cmocka_unit_test(waits_end),
    };
    if (argc > 1) cmocka_set_test_filter(argv[1]);
    if (getenv("LAMINA_TEST_DEVICES")) return cmocka_run_group_tests(with_gpus, NULL, NULL);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
