/* Classification: what mixup, augmentation options, scores and pictures come to. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "tasks/classify/internal.h"
#include "train/draw.h"
#include "train/settings.h"

/* Beta(a, a) has mean 1/2 and variance 1 / (4 (2 a + 1)). */
static void mixup_shares(void **state) {
    (void)state;
    static const double alphas[] = {0.2, 1, 4};
    enum { DRAWS = 20000 };
    for (int k = 0; k < 3; k++) {
        double sum = 0, squares = 0;
        for (int i = 0; i < DRAWS; i++) {
            double x = (double)classify_mixup_share(alphas[k], 3, (uint64_t)(i / 100), i % 100);
            assert_true(x >= 0 && x <= 1);
            sum += x;
            squares += x * x;
        }
        double mean = sum / DRAWS, variance = squares / DRAWS - mean * mean;
        double expected = 1 / (4 * (2 * alphas[k] + 1));
        assert_true(fabs(mean - 0.5) < 5 * sqrt(expected / DRAWS));
        assert_true(fabs(variance - expected) < 0.02 * expected + 0.001);
    }
    assert_true(classify_mixup_share(1, 3, 5, 7) == classify_mixup_share(1, 3, 5, 7));
    assert_true(classify_mixup_share(1, 3, 5, 7) != classify_mixup_share(1, 3, 5, 8));
}

struct opened {
    struct lam_settings settings;
    struct classify *state;
};

static void open_task(struct opened *o, int count, char **arguments) {
    char *argv[24] = {"classify-train", "--model", "resnet20", "--batch", "8"};
    memcpy(argv + 5, arguments, (size_t)count * sizeof *argv);
    assert_int_equal(lam_settings_open(&lam_task_classify, &o->settings), LAM_OK);
    assert_int_equal(lam_settings_parse(&o->settings, 5 + count, argv, NULL, 0, NULL), LAM_OK);
    assert_int_equal(lam_settings_check(&o->settings), LAM_OK);
    void *opened;
    assert_int_equal(
        lam_task_classify.open(&o->settings.config, o->settings.own, LAM_USE_TRAIN, NULL, &opened), LAM_OK);
    o->state = opened;
}

static void close_task(struct opened *o) {
    lam_task_classify.close(o->state);
    lam_settings_close(&o->settings);
}

enum { PIXELS = 3 * 32 * 32 };

/* What the device makes of pixel i. */
static float normalised(const struct classify *c, const uint8_t *pixels, int i) {
    const struct lam_normalize_attr *n = &c->device_augment.normalize;
    return ((float)pixels[i] / 255 - n->mean[i / (32 * 32)]) / n->deviation[i / (32 * 32)];
}

/* Whether the device moves images, and how, or the loader's threads do. */
static void who_augments(void **state) {
    (void)state;
    struct opened o;
    open_task(&o, 5, (char *[]){"--crop-pad", "3", "--flip", "--cutout", "5"});
    const struct lam_network *network = &o.state->network;
    assert_int_equal(network->fields[0].dtype, LAM_U8);
    assert_non_null(network->augment);
    assert_true(network->augment->pad == 3 && network->augment->flip && network->augment->reflect &&
                network->augment->cutout == 5);
    assert_memory_equal(network->augment->normalize.mean, o.state->mean, sizeof o.state->mean);
    close_task(&o);
    static char *const others[][2] = {{"--mixup", "1"}, {"--resized-crop", "--quiet"}};
    for (int i = 0; i < 2; i++) {
        open_task(&o, 2, (char **)(uintptr_t)others[i]);
        network = &o.state->network;
        assert_int_equal(network->fields[0].dtype, LAM_F32);
        assert_null(network->augment);
        assert_int_equal(network->eval_fields[0].dtype, LAM_U8);
        assert_non_null(network->normalize);
        close_task(&o);
    }
    open_task(&o, 2, (char *[]){"--overfit-batch", "--flip"});
    assert_int_equal(o.state->network.fields[0].dtype, LAM_U8);
    assert_null(o.state->network.augment);
    close_task(&o);
}

static void mixed_samples(void **state) {
    (void)state;
    struct opened plain, mixed;
    open_task(&plain, 0, NULL);
    open_task(&mixed, 2, (char *[]){"--mixup", "1"});
    assert_int_equal(mixed.state->network.fields[1].dtype, LAM_F32);
    const int64_t indices[4] = {10, 21, 32, 43};
    struct lam_fill at = {.seed = 1,
                          .epoch = 2,
                          .index = 21,
                          .batch = 5,
                          .slot = 1,
                          .batch_indices = indices,
                          .batch_count = 4};
    static float both[PIXELS];
    static uint8_t one[PIXELS], partner[PIXELS];
    float shares[10];
    int32_t label, other;
    assert_int_equal(classify_fill_train(mixed.state, &at, (void *[]){both, shares}), LAM_OK);
    assert_int_equal(classify_fill_train(plain.state, &at, (void *[]){one, &label}), LAM_OK);
    at.index = 32; /* the mirrored place */
    assert_int_equal(classify_fill_train(plain.state, &at, (void *[]){partner, &other}), LAM_OK);
    float share = classify_mixup_share(1, 1, 2, 5), sum = 0;
    for (int i = 0; i < 10; i++) sum += shares[i];
    assert_true(fabsf(sum - 1) < 1e-6f);
    assert_true(fabsf(shares[label] - (label == other ? 1 : share)) < 1e-6f);
    for (int i = 0; i < PIXELS; i++)
        assert_true(fabsf(both[i] - (share * normalised(plain.state, one, i) +
                                     (1 - share) * normalised(plain.state, partner, i))) < 1e-5f);
    close_task(&plain);
    close_task(&mixed);
}

static void overfit_batch(void **state) {
    (void)state;
    struct opened o;
    open_task(&o, 4, (char *[]){"--overfit-batch", "--crop-pad", "4", "--flip"});
    assert_int_equal(classify_samples(o.state, LAM_SPLIT_VAL), 8);
    struct lam_fill at = {.seed = 1, .epoch = 0, .index = 3, .batch_count = 8};
    static uint8_t one[PIXELS], two[PIXELS];
    int32_t label, other;
    assert_int_equal(classify_fill_train(o.state, &at, (void *[]){one, &label}), LAM_OK);
    at.index = 803; /* place 3 of batch 100 */
    at.epoch = 9;
    assert_int_equal(classify_fill_train(o.state, &at, (void *[]){two, &other}), LAM_OK);
    assert_memory_equal(one, two, sizeof one);
    assert_int_equal(label, other);
    close_task(&o);
}

static void options_that_contradict(void **state) {
    (void)state;
    struct lam_settings s;
    char *argv[] = {"x", "--model", "resnet20", "--resized-crop", "--crop-pad", "4"};
    assert_int_equal(lam_settings_open(&lam_task_classify, &s), LAM_OK);
    assert_int_equal(lam_settings_parse(&s, 6, argv, NULL, 0, NULL), LAM_OK);
    assert_int_equal(lam_settings_check(&s), LAM_ERR_INVALID);
    assert_non_null(strstr(lam_error_text(), "--crop-pad"));
    lam_settings_close(&s);
}

static unsigned pixel(const struct lam_image *image, int x, int y) {
    const uint8_t *p = image->pixels + ((size_t)y * (size_t)image->width + (size_t)x) * 3;
    return (unsigned)p[0] << 16 | (unsigned)p[1] << 8 | p[2];
}

static void drawing(void **state) {
    (void)state;
    struct lam_image sheet = {0}, small = {0};
    assert_int_equal(lam_image_alloc(&sheet, 40, 20, 3), LAM_OK);
    assert_int_equal(lam_image_alloc(&small, 2, 1, 1), LAM_OK);
    small.pixels[0] = 10;
    small.pixels[1] = 200;
    lam_draw_fill(&sheet, -5, -5, 100, 100, LAM_WHITE); /* what is outside is left out */
    lam_draw_image(&sheet, 0, 0, 20, 20, &small);       /* 20 x 10, in the middle */
    assert_int_equal(pixel(&sheet, 0, 0), LAM_WHITE);
    assert_int_equal(pixel(&sheet, 9, 5), 0x0A0A0A);
    assert_int_equal(pixel(&sheet, 10, 14), 0xC8C8C8);
    assert_int_equal(pixel(&sheet, 10, 15), LAM_WHITE);
    lam_draw_text(&sheet, 22, 0, 14, "I\xc3\xa4T", LAM_RED); /* two letters fit; the second is not ASCII */
    assert_int_equal(pixel(&sheet, 24, 4), LAM_RED);
    assert_int_equal(pixel(&sheet, 22, 4), LAM_WHITE);
    for (int y = 0; y < 20; y++) assert_int_equal(pixel(&sheet, 36, y), LAM_WHITE);
    lam_draw_frame(&sheet, 30, 10, 8, 6, 1, LAM_GREEN);
    for (int y = 10; y < 16; y++)
        for (int x = 30; x < 38; x++) {
            bool edge = x == 30 || x == 37 || y == 10 || y == 15;
            assert_int_equal(pixel(&sheet, x, y), edge ? LAM_GREEN : LAM_WHITE);
        }
    lam_draw_line(&sheet, -50, 18, 100, 18, 2, LAM_BLACK); /* rows 17 and 18; ends outside */
    for (int x = 0; x < 40; x++) {
        assert_int_equal(pixel(&sheet, x, 17), LAM_BLACK);
        assert_int_equal(pixel(&sheet, x, 18), LAM_BLACK);
        assert_int_equal(pixel(&sheet, x, 19), LAM_WHITE);
    }
    lam_draw_line(&sheet, 500, 500, 600, 600, 3, LAM_RED); /* wholly outside */
    lam_image_free(&sheet);
    lam_image_free(&small);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(who_augments),
        cmocka_unit_test(mixup_shares),
        cmocka_unit_test(mixed_samples),
        cmocka_unit_test(overfit_batch),
        cmocka_unit_test(options_that_contradict),
        cmocka_unit_test(drawing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
