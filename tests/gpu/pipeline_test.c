/* The pipeline on GPUs, and on GPUs and cores together: the promise of exactness, and the CPU's numbers. Skipped where there is
 * no GPU; the build tests it with the emulator's. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "pipeline/rig.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { STEPS = 4 };

static struct rig rig;

static void *train(const struct rig_options *options, size_t *bytes) {
    rig_start(&rig, options);
    if (rig_train(&rig, 0, STEPS) != LAM_OK) fail_msg("%s", lam_error_text());
    for (int j = 0; j < options->blocks; j++) assert_true(isfinite(rig.losses[j]));
    void *state = rig_state(&rig, bytes);
    rig_close(&rig);
    return state;
}

static void expect_same(const struct rig_options *options, const void *reference, size_t bytes) {
    size_t got;
    void *state = train(options, &got);
    assert_int_equal(got, bytes);
    if (memcmp(state, reference, bytes) != 0)
        fail_msg("%s %s K=%d on %d devices of kind %d, queue %d, delays up to %u us: other parameters",
                 options->model, options->method, options->blocks, options->devices, (int)options->kind,
                 options->queue, options->longest_delay);
    free(state);
}

/* How far two states are from each other, as a share of the largest value. */
static double distance(const float *a, const float *b, size_t bytes) {
    double most = 0, largest = 0;
    for (size_t i = 0; i < bytes / sizeof *a; i++) {
        most = fmax(most, fabs((double)a[i] - (double)b[i]));
        largest = fmax(largest, fabs((double)b[i]));
    }
    return most / largest;
}

/* ppll gives the bits of sequential: one GPU, two, four, with and without recordings, whatever the timing. */
static void check_exact(struct rig_options options) {
    size_t bytes;
    options.kind = RIG_CUDA;
    options.devices = 1;
    options.launch_each = true;
    void *reference = train(&options, &bytes);
    options.launch_each = false;
    expect_same(&options, reference, bytes);
    options.keep = true;
    expect_same(&options, reference, bytes);
    options.keep = false;
    options.schedule = LAM_PIPELINE_PPLL;
    for (options.devices = 1; options.devices <= options.blocks && options.devices <= 4;
         options.devices *= 2) {
        options.queue = options.devices == 2 ? 1 : 2;
        options.longest_delay = options.devices == 2 ? 3000 : 0;
        expect_same(&options, reference, bytes);
    }
    free(reference);
}

static void resnet(void **state) {
    (void)state;
    check_exact((struct rig_options){.model = "resnet20", .method = "dgl", .blocks = 2});
    check_exact((struct rig_options){.model = "resnet20", .method = "glcan", .blocks = 4});
    check_exact(
        (struct rig_options){.model = "resnet20", .method = "glcan", .blocks = 4, .aux.stages = true});
    check_exact(
        (struct rig_options){.model = "resnet20", .method = "glcan", .blocks = 2, .precision = LAM_BF16});
}

static void vit(void **state) {
    (void)state;
    check_exact((struct rig_options){.model = "vit-micro", .method = "dgl", .blocks = 4});
    check_exact((struct rig_options){.model = "vit-micro", .method = "glcan", .blocks = 2});
    check_exact(
        (struct rig_options){.model = "vit-micro", .method = "dgl", .blocks = 2, .precision = LAM_BF16});
}

static void taps(void **state) {
    (void)state;
    check_exact((struct rig_options){.model = "resnet20", .method = "dgl", .blocks = 4, .taps = true});
}

static void lag(void **state) {
    (void)state;
    check_exact((struct rig_options){.model = "resnet20", .method = "glcan", .blocks = 2, .ema_lag = 1});
}

/* The CPU's parameters after a few steps, up to rounding. */
static void check_like_cpu(struct rig_options options, double most) {
    size_t bytes, cuda_bytes;
    void *cpu = train(&options, &bytes);
    options.kind = RIG_CUDA;
    void *cuda = train(&options, &cuda_bytes);
    assert_int_equal(bytes, cuda_bytes);
    double off = distance(cuda, cpu, bytes);
    if (!(off < most)) fail_msg("%s %s: %.3g from the CPU's parameters", options.model, options.method, off);
    free(cpu);
    free(cuda);
}

static void like_cpu(void **state) {
    (void)state;
    check_like_cpu((struct rig_options){.model = "resnet20", .method = "glcan", .blocks = 4, .devices = 2},
                   1e-4);
    check_like_cpu((struct rig_options){.model = "vit-micro", .method = "dgl", .blocks = 2, .devices = 2},
                   1e-4);
}

/* Cores and GPUs in one pipeline. */
static void mixed(void **state) {
    (void)state;
    struct rig_options options = {
        .model = "resnet20", .method = "glcan", .blocks = 4, .devices = 4, .kind = RIG_MIXED};
    size_t bytes, cpu_bytes;
    void *reference = train(&options, &bytes);
    options.schedule = LAM_PIPELINE_PPLL;
    options.longest_delay = 2000;
    expect_same(&options, reference, bytes);
    options.kind = RIG_CPU;
    void *cpu = train(&options, &cpu_bytes);
    assert_int_equal(bytes, cpu_bytes);
    assert_true(distance(reference, cpu, bytes) < 1e-4);
    free(reference);
    free(cpu);
}

/* gpipe and 1f1b sum the same micro-batches in the same order, and are the CPU's up to rounding. */
static void end_to_end(void **state) {
    (void)state;
    struct rig_options options = {.model = "vit-micro",
                                  .method = "dgl",
                                  .blocks = 2,
                                  .devices = 2,
                                  .micro_batches = 2,
                                  .schedule = LAM_PIPELINE_GPIPE,
                                  .kind = RIG_CUDA};
    size_t bytes;
    void *reference = train(&options, &bytes);
    options.schedule = LAM_PIPELINE_1F1B;
    expect_same(&options, reference, bytes);
    free(reference);
    options.kind = RIG_CPU;
    check_like_cpu(options, 1e-4);
    options.kind = RIG_MIXED;
    free(train(&options, &bytes));
    /* several segments in both parts */
    options.kind = RIG_CPU;
    options.model = "resnet20";
    check_like_cpu(options, 1e-4);
}

static void evaluation(void **state) {
    (void)state;
    struct rig_options options = {.model = "resnet20",
                                  .method = "glcan",
                                  .blocks = 2,
                                  .devices = 2,
                                  .schedule = LAM_PIPELINE_PPLL,
                                  .kind = RIG_CUDA};
    size_t bytes, with_bytes;
    void *plain = train(&options, &bytes);
    rig_start(&rig, &options);
    for (uint64_t step = 0; step < STEPS; step += 2) {
        assert_int_equal(rig_train(&rig, step, step + 2), LAM_OK);
        assert_int_equal(rig_evaluate(&rig, step), LAM_OK);
    }
    assert_int_equal(rig.evaluated, 2 * (2 * RIG_BATCH + RIG_TAIL));
    void *with = rig_state(&rig, &with_bytes);
    rig_close(&rig);
    assert_memory_equal(plain, with, bytes);
    free(plain);
    free(with);
}

int main(void) {
    /* Winograd's rounding, which is not direct convolution's, flips a ReLU of so small a network here and there. */
    setenv("LAMINA_CONV", "direct", 1);
    struct lam_device *device;
    if (lam_device_open("cuda:0", 0, &device) != LAM_OK) {
        print_message("skipped: %s\n", lam_error_text());
        return 77;
    }
    lam_device_close(device);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(resnet),     cmocka_unit_test(vit),        cmocka_unit_test(taps),
        cmocka_unit_test(lag),        cmocka_unit_test(like_cpu),   cmocka_unit_test(mixed),
        cmocka_unit_test(end_to_end), cmocka_unit_test(evaluation),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
