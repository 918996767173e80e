/* The promise: whatever the devices, the queues and the timing, PPLL's parameters are those of plain local learning,
 * bit for bit. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "pipeline/rig.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { STEPS = 7 };

static struct rig rig;
static const struct rig_options four_blocks = {
    .model = "resnet20", .method = "glcan", .blocks = 4, .devices = 2, .schedule = LAM_PIPELINE_PPLL};

static void *train(const struct rig_options *options, int steps, size_t *bytes) {
    rig_start(&rig, options);
    if (rig_train(&rig, 0, (uint64_t)steps) != LAM_OK) fail_msg("%s", lam_error_text());
    for (int j = 0; j < options->blocks; j++) {
        assert_int_equal(rig.steps_told[j], steps);
        assert_true(isfinite(rig.losses[j]));
    }
    void *state = rig_state(&rig, bytes);
    rig_close(&rig);
    return state;
}

static void expect_same(const struct rig_options *options, const void *reference, size_t bytes) {
    size_t got;
    void *state = train(options, STEPS, &got);
    assert_int_equal(got, bytes);
    if (memcmp(state, reference, bytes) != 0)
        fail_msg("%s %s K=%d on %d devices, queue %d, delays up to %u us: other parameters than sequential",
                 options->model, options->method, options->blocks, options->devices, options->queue,
                 options->longest_delay);
    free(state);
}

/* On 1, 2 and 4 devices, queue 1, 2 and 8, with delays; and sequential on two devices. */
static void check_blocks(struct rig_options options) {
    static const int devices[] = {1, 2, 4}, queues[] = {1, 2, 8};
    size_t bytes;
    options.devices = 1;
    void *reference = train(&options, STEPS, &bytes);
    options.schedule = LAM_PIPELINE_PPLL;
    for (int d = 0; d < 3 && (d == 0 || devices[d] <= options.blocks); d++)
        for (int q = 0; q < 3; q++) {
            options.devices = devices[d];
            options.queue = queues[q];
            options.longest_delay = q == 1 ? 3000 : 0;
            expect_same(&options, reference, bytes);
        }
    options.schedule = LAM_PIPELINE_SEQUENTIAL;
    options.devices = options.blocks > 1 ? 2 : 1;
    expect_same(&options, reference, bytes);
    free(reference);
}

static void check_network(const char *model, const char *method, enum lam_dtype precision) {
    static const int blocks[] = {1, 2, 4, 8};
    int units = strcmp(model, "vit-micro") == 0 ? 5 : 10; /* that can be cut after */
    for (int b = 0; b < 4 && blocks[b] <= units; b++)
        check_blocks((struct rig_options){
            .model = model, .method = method, .blocks = blocks[b], .precision = precision});
}

static void resnet_dgl(void **state) {
    (void)state;
    check_network("resnet20", "dgl", LAM_F32);
}
static void resnet_glcan(void **state) {
    (void)state;
    check_network("resnet20", "glcan", LAM_F32);
}
static void vit_dgl(void **state) {
    (void)state;
    check_network("vit-micro", "dgl", LAM_F32);
}
static void vit_glcan(void **state) {
    (void)state;
    check_network("vit-micro", "glcan", LAM_F32);
}
/* What is computed again is what would have been kept; and keeping takes memory. */
static void kept(void **state) {
    (void)state;
    struct rig_options options = {.model = "resnet20", .method = "dgl", .blocks = 2, .devices = 1};
    size_t bytes, memory[2];
    void *reference = train(&options, STEPS, &bytes);
    for (int keep = 0; keep < 2; keep++) {
        options.keep = keep;
        rig_open(&rig, &options);
        memory[keep] = lam_block_memory(rig.blocks[0]).bytes[LAM_MEMORY_ACTIVATIONS];
        rig_close(&rig);
    }
    expect_same(&options, reference, bytes);
    if (memory[1] < memory[0] + memory[0] / 4)
        fail_msg("with all values kept %zu bytes, else %zu", memory[1], memory[0]);
    free(reference);
}

/* Twelve layers, so eight blocks. */
static void vit_eight_blocks(void **state) {
    (void)state;
    struct rig_options options = {.model = "vit-tiny", .method = "dgl", .blocks = 8};
    check_blocks(options);
    options.method = "glcan";
    check_blocks(options);
}
static void resnet_stages(void **state) {
    (void)state;
    check_blocks(
        (struct rig_options){.model = "resnet20", .method = "glcan", .blocks = 4, .aux.stages = true});
}
static void resnet_bf16(void **state) {
    (void)state;
    check_network("resnet20", "glcan", LAM_BF16);
}
static void vit_bf16(void **state) {
    (void)state;
    check_network("vit-micro", "dgl", LAM_BF16);
}

/* Taps travel beside activations, through blocks that do not look at them. */
static void taps(void **state) {
    (void)state;
    for (int blocks = 1; blocks <= 8; blocks *= 2) {
        struct rig_options options = {.model = "resnet20", .method = "glcan", .blocks = blocks, .taps = true};
        check_blocks(options);
        options.precision = LAM_BF16;
        if (blocks == 4) check_blocks(options);
    }
    check_blocks((struct rig_options){.model = "vit-micro", .method = "dgl", .blocks = 4, .taps = true});
}

/* They reach what reads them; what lies before stays as it is, since no gradient comes back through them. */
static void taps_matter(void **state) {
    (void)state;
    struct rig_options options = {
        .model = "resnet20", .method = "dgl", .blocks = 4, .devices = 2, .taps = true};
    size_t bytes, plain_bytes;
    void *with = train(&options, STEPS, &bytes);
    float first = rig.losses[0], last = rig.losses[3];
    options.taps = false;
    void *plain = train(&options, STEPS, &plain_bytes);
    assert_true(bytes > plain_bytes); /* the image's convolution */
    assert_true(rig.losses[0] == first);
    assert_true(fabsf(rig.losses[3] - last) > 1e-4f);
    assert_memory_equal(with, plain, 4096); /* of the first block */
    free(with);
    free(plain);
}

/* Twins that follow with a lag follow the same versions whatever the timing. */
static void lags(void **state) {
    (void)state;
    static const int lag[] = {1, 3, STEPS + 2};
    for (int i = 0; i < 3; i++) {
        struct rig_options options = four_blocks;
        options.devices = 1;
        options.schedule = LAM_PIPELINE_SEQUENTIAL;
        options.ema_lag = lag[i];
        size_t bytes;
        void *reference = train(&options, STEPS, &bytes);
        options.schedule = LAM_PIPELINE_PPLL;
        for (int devices = 1; devices <= 4; devices *= 2)
            for (int queue = 1; queue <= 4; queue += 3) {
                options.devices = devices;
                options.queue = queue;
                options.longest_delay = queue == 1 ? 3000 : 0;
                expect_same(&options, reference, bytes);
            }
        free(reference);
    }
}

/* Stopping after `stop` steps, keeping all parameters, and going on in another process is no different from going on. */
static void check_resume(int lag, int stop) {
    struct rig_options options = four_blocks;
    options.ema_lag = lag;
    size_t bytes, part_bytes, resumed_bytes;
    void *whole = train(&options, STEPS, &bytes), *part = train(&options, stop, &part_bytes);
    rig_open(&rig, &options);
    rig_allocate(&rig, false);
    rig_restore(&rig, part, (uint64_t)stop);
    assert_int_equal(lam_pipeline_start(rig.pipeline, (uint64_t)stop, false), LAM_OK);
    assert_int_equal(rig_train(&rig, (uint64_t)stop, STEPS), LAM_OK);
    void *resumed = rig_state(&rig, &resumed_bytes);
    rig_close(&rig);
    assert_int_equal(bytes, resumed_bytes);
    assert_memory_equal(whole, resumed, bytes);
    free(whole);
    free(part);
    free(resumed);
}

static void resume(void **state) {
    (void)state;
    check_resume(0, 3);
}

/* Also where fewer steps were done than the lag is long. */
static void resume_lag(void **state) {
    (void)state;
    check_resume(1, 1);
    check_resume(2, 5);
    check_resume(4, 3);
}

/* Evaluation between steps changes nothing. */
static void evaluation(void **state) {
    (void)state;
    size_t bytes;
    void *plain = train(&four_blocks, 4, &bytes);
    rig_start(&rig, &four_blocks);
    for (uint64_t step = 0; step < 4; step += 2) {
        assert_int_equal(rig_train(&rig, step, step + 2), LAM_OK);
        assert_int_equal(rig_evaluate(&rig, step), LAM_OK);
    }
    assert_int_equal(rig.evaluated, 2 * (2 * RIG_BATCH + RIG_TAIL));
    void *with = rig_state(&rig, &bytes);
    rig_close(&rig);
    assert_memory_equal(plain, with, bytes);
    free(plain);
    free(with);
}

/* Equality above is not for free: what the twins follow reaches the parameters. */
static void twins_matter(void **state) {
    (void)state;
    struct rig_options options = {.model = "resnet20", .method = "glcan", .blocks = 2, .devices = 1};
    size_t bytes, other_bytes;
    void *glcan = train(&options, STEPS, &bytes);
    options.ema_momentum = 0.5f;
    void *other = train(&options, STEPS, &other_bytes);
    assert_int_equal(bytes, other_bytes);
    assert_memory_not_equal(glcan, other, bytes);
    free(other);
    options.ema_momentum = 0;
    options.ema_lag = 1;
    other = train(&options, STEPS, &other_bytes);
    assert_true(other_bytes > bytes); /* the versions stand behind the parameters */
    assert_memory_not_equal(glcan, other, bytes);
    free(glcan);
    free(other);
}

/* The argument, if any, is a pattern for the names of the tests to run: under a sanitizer all of them take long. */
int main(int argc, char **argv) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(resnet_dgl),    cmocka_unit_test(resnet_glcan),
        cmocka_unit_test(vit_dgl),       cmocka_unit_test(vit_glcan),
        cmocka_unit_test(resnet_bf16),   cmocka_unit_test(vit_bf16),
        cmocka_unit_test(kept),          cmocka_unit_test(vit_eight_blocks),
        cmocka_unit_test(resnet_stages), cmocka_unit_test(lags),
        cmocka_unit_test(taps),          cmocka_unit_test(taps_matter),
        cmocka_unit_test(resume),        cmocka_unit_test(resume_lag),
        cmocka_unit_test(evaluation),    cmocka_unit_test(twins_matter),
    };
    if (argc > 1) cmocka_set_test_filter(argv[1]);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
