/* A block: its forecast is what it allocates, its programs share memory, it learns, and it names what is not
 * finite without having updated anything. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "local/stage.h"
#include "tasks/classify/heads.h"
#include "train/checkpoint.h"
#include "train/snapshot.h"

enum { BATCH = 6, TAIL = 2, SIZE = 8, CLASSES = 3, PIXELS = SIZE * SIZE };

static const float constant[3] = {1, -2, 0.5f};

static const char *unit_name(void *context, int unit, char *text, size_t size) {
    (void)context;
    snprintf(text, size, unit == 0 ? "stem" : "head");
    return text;
}

static lam_value build_unit(void *context, struct lam_graph *graph, int unit, lam_value x,
                            const lam_value *taps) {
    (void)context;
    (void)taps;
    if (unit == 0) {
        x = lam_conv(graph, x, "stem.conv", (struct lam_conv_spec){.out = 4, .kernel = 3, .pad = 1});
        return lam_relu(graph, lam_batch_norm(graph, x, "stem.bn"));
    }
    x = lam_global_avg_pool(graph, x);
    lam_constant(graph, "head.constant", LAM_SHAPE(3), constant);
    return lam_linear(graph, x, "head.fc", (struct lam_linear_spec){.out = CLASSES, .bias = true});
}

static lam_value build_output(void *task, struct lam_graph *graph, lam_value x, const lam_value *inputs) {
    (void)task;
    return classify_output(graph, x, inputs[1], 0, false);
}

static const struct lam_field fields[2] = {{"image", LAM_F32, {.rank = 3, .dim = {1, SIZE, SIZE}}},
                                           {"label", LAM_I32, {.rank = 0}}};
static const struct lam_network network = {.units = 2,
                                           .fields = fields,
                                           .field_count = 2,
                                           .unit_name = unit_name,
                                           .build_unit = build_unit,
                                           .build_output = build_output};

struct fixture {
    struct lam_device *device;
    struct lam_block *block;
    struct lam_stage stage;
    struct lam_block_memory memory;
    int64_t indices[BATCH];
    struct lam_batch batch;
    float *images;
};

static int set_up(void **state) {
    struct fixture *f = calloc(1, sizeof *f);
    struct lam_block_options options = {.network = &network,
                                        .last = 1,
                                        .batch = BATCH,
                                        .tail = TAIL,
                                        .optimizer = lam_optimizer_default_options(LAM_OPTIMIZER_SGD)};
    if (!f || lam_device_open("cpu:0", 0, &f->device) != LAM_OK) return -1;
    if (lam_block_create(&options, f->device, &f->block) != LAM_OK) return -1;
    if (lam_device_memory_total(f->device).peak != 0) return -1; /* nothing is allocated yet */
    f->memory = lam_block_memory(f->block);
    f->stage = (struct lam_stage){.device = f->device, .blocks = &f->block, .count = 1};
    if (lam_stage_allocate(&f->stage) != LAM_OK) return -1;
    if (lam_params_init(lam_block_params(f->block), 1) != LAM_OK) return -1;
    void *labels;
    lam_device_alloc(f->device, LAM_MEMORY_DATA, BATCH * PIXELS * sizeof(float), (void **)&f->images);
    lam_device_alloc(f->device, LAM_MEMORY_DATA, BATCH * sizeof(int32_t), &labels);
    for (int i = 0; i < BATCH; i++) {
        f->indices[i] = 100 + i;
        ((int32_t *)labels)[i] = i % CLASSES;
        for (int p = 0; p < PIXELS; p++) f->images[i * PIXELS + p] = (float)((p * (i % CLASSES + 1)) % 5) - 2;
    }
    f->batch = (struct lam_batch){.count = BATCH, .indices = f->indices, .data = {f->images, labels}};
    *state = f;
    return 0;
}

static int tear_down(void **state) {
    struct fixture *f = *state;
    lam_stage_free(&f->stage);
    lam_block_destroy(f->block);
    lam_device_close(f->device);
    free(f);
    return 0;
}

static lam_status train(struct fixture *f, uint64_t step, float *loss) {
    struct lam_block_step at = {.batch = &f->batch, .learning_rate = 0.1f, .seed = 1, .step = step};
    return lam_block_train(f->block, &at, loss);
}

static void forecast_is_measured(void **state) {
    struct fixture *f = *state;
    for (int kind = 0; kind < LAM_MEMORY_KINDS; kind++)
        if (kind != LAM_MEMORY_DATA)
            assert_int_equal(lam_device_memory(f->device, (enum lam_memory_kind)kind).peak,
                             f->memory.bytes[kind]);
    size_t before = lam_device_memory_total(f->device).current;
    float loss;
    assert_int_equal(train(f, 0, &loss), LAM_OK);
    assert_int_equal(lam_block_evaluate(f->block, &f->batch, NULL), LAM_OK);
    assert_int_equal(lam_device_memory_total(f->device).current, before);
}

static void learns(void **state) {
    struct fixture *f = *state;
    float first = 0, loss = 0;
    for (int step = 0; step < 60; step++) {
        f->batch.count = step % 3 == 2 ? TAIL : BATCH; /* the tail program takes turns */
        assert_int_equal(train(f, (uint64_t)step, &loss), LAM_OK);
        if (step == 0) first = loss;
    }
    assert_true(isfinite(first) && loss < 0.5f * first);
    f->batch.count = BATCH - 1; /* neither full nor the tail */
    assert_int_equal(train(f, 60, &loss), LAM_ERR_INTERNAL);
}

static void evaluation_changes_nothing(void **state) {
    struct fixture *f = *state;
    const struct lam_params *params = lam_block_params(f->block);
    int mean = lam_params_find(params, "stem.bn.running_mean");
    float before[4], after[4], logits[BATCH * CLASSES];
    assert_true(mean >= 0);
    assert_int_equal(lam_params_read(params, mean, before), LAM_OK);
    assert_int_equal(lam_block_evaluate(f->block, &f->batch, NULL), LAM_OK);
    assert_int_equal(lam_params_read(params, mean, after), LAM_OK);
    assert_memory_equal(before, after, sizeof before);
    assert_int_equal(
        lam_program_read(lam_block_program(f->block, LAM_BLOCK_EVAL), "logits", logits, sizeof logits),
        LAM_OK);
    for (int i = 0; i < BATCH * CLASSES; i++) assert_true(isfinite(logits[i]));
}

/* A file of all tensors of ones, but for one. */
static void write_checkpoint(const struct lam_params *params, const char *path, const char *but) {
    struct lam_checkpoint_writer *w;
    const float ones[64] = {1};
    assert_int_equal(lam_checkpoint_create(path, &w), LAM_OK);
    for (int pass = 0; pass < 2; pass++)
        for (int i = 0; i < lam_params_size(params); i++) {
            const struct lam_param *param = lam_params_get(params, i);
            if (!strcmp(param->name, but)) continue;
            assert_true(param->count <= 64);
            lam_status status = pass == 0
                                    ? lam_checkpoint_declare(w, param->name, LAM_F32, param->shape)
                                    : lam_checkpoint_write(w, ones, (size_t)param->count * sizeof *ones);
            assert_int_equal(status, LAM_OK);
        }
    assert_int_equal(lam_checkpoint_commit(w), LAM_OK);
}

/* Weights come from a checkpoint, constants do not. */
static void constants_stay(void **state) {
    struct fixture *f = *state;
    const struct lam_params *params = lam_block_params(f->block);
    char path[] = "/tmp/lamina-block-XXXXXX";
    int fd = mkstemp(path), at = lam_params_find(params, "head.constant");
    struct lam_checkpoint *c;
    float read[3];
    assert_true(fd >= 0 && at >= 0);
    close(fd);
    write_checkpoint(params, path, "head.constant");
    assert_int_equal(lam_checkpoint_open(path, &c), LAM_OK);
    assert_int_equal(lam_snapshot_weights(c, f->block, false), LAM_OK);
    lam_checkpoint_close(c);
    assert_int_equal(lam_params_read(params, at, read), LAM_OK);
    assert_memory_equal(read, constant, sizeof constant);
    write_checkpoint(params, path, "stem.bn.running_mean");
    assert_int_equal(lam_checkpoint_open(path, &c), LAM_OK);
    assert_int_equal(lam_snapshot_weights(c, f->block, false), LAM_ERR_FORMAT);
    lam_checkpoint_close(c);
    unlink(path);
}

/* Trains a step that must fail; checks the error and that no weight moved. */
static void expect_blame(struct fixture *f, const char *text) {
    struct lam_params *params = lam_block_params(f->block);
    int weight = lam_params_find(params, "head.fc.weight");
    float before[4 * CLASSES], after[4 * CLASSES], loss;
    assert_int_equal(lam_params_read(params, weight, before), LAM_OK);
    assert_int_equal(train(f, 0, &loss), LAM_ERR_NOT_FINITE);
    assert_int_equal(lam_params_read(params, weight, after), LAM_OK);
    assert_memory_equal(before, after, sizeof before);
    assert_non_null(strstr(lam_error_text(), "block 1 (stem..head): "));
    if (!strstr(lam_error_text(), text)) fail_msg("'%s' is not in '%s'", text, lam_error_text());
}

static void names_the_tensor(void **state) {
    struct fixture *f = *state;
    struct lam_params *params = lam_block_params(f->block);
    int bias = lam_params_find(params, "head.fc.bias");
    float values[CLASSES] = {0, NAN, 0};
    assert_int_equal(lam_params_write(params, bias, values), LAM_OK);
    expect_blame(f, "tensor 'head.fc.bias' is not finite");
}

static void names_the_sample(void **state) {
    struct fixture *f = *state;
    f->images[4 * PIXELS + 17] = INFINITY;
    expect_blame(f, "input 'image' of sample 104 is not finite");
}

int main(void) {
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        TEST(forecast_is_measured), TEST(learns),           TEST(evaluation_changes_nothing),
        TEST(constants_stay),       TEST(names_the_tensor), TEST(names_the_sample),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
