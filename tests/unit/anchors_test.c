/* Anchors: their places against a plain loop, sizes as text, how well they fit against a search over all of
 * them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/rng.h"
#include "tasks/detect/anchors.h"
#include "tasks/detect/boxes.h"

static void must(lam_status status) {
    if (status != LAM_OK) fail_msg("%s", lam_error_text());
}

static void refused(lam_status status, lam_status expected, const char *part) {
    assert_int_equal(status, expected);
    if (!strstr(lam_error_text(), part)) fail_msg("'%s' does not say '%s'", lam_error_text(), part);
}

static float between(struct lam_rng *rng, float low, float high) {
    return low + (high - low) * lam_rng_uniform(rng);
}

/* A box with a centre in the input and sides of up to `largest`. */
static struct lam_box random_box(struct lam_rng *rng, float width, float height, float largest) {
    float x = between(rng, 0, width), y = between(rng, 0, height);
    float w = 2 * expf(between(rng, 0, logf(largest / 2))), h = w * between(rng, 0.5f, 2);
    return (struct lam_box){.x0 = x - w / 2, .y0 = y - h / 2, .x1 = x + w / 2, .y1 = y + h / 2};
}

static void anchors_stand_where_they_should(void **state) {
    (void)state;
    static const int inputs[][2] = {{320, 240}, {300, 203}, {64, 64}, {33, 500}, {1, 1}};
    for (size_t k = 0; k < sizeof inputs / sizeof inputs[0]; k++) {
        struct detect_anchors anchors;
        must(detect_anchors_init(&anchors, inputs[k][0], inputs[k][1], 8, 5));
        float(*corners)[4] = malloc((size_t)anchors.count * sizeof *corners);
        detect_anchors_write(&anchors, corners);
        int at = 0;
        for (int stride = 8; stride <= 128; stride *= 2) {
            int columns = (int)ceil((double)inputs[k][0] / stride),
                rows = (int)ceil((double)inputs[k][1] / stride);
            for (int y = 0; y < rows; y++)
                for (int x = 0; x < columns; x++)
                    for (int s = 0; s < 3; s++)
                        for (int r = -1; r <= 1; r++, at++) {
                            double size = 4 * stride * pow(2, s / 3.0), ratio = pow(2, r);
                            double w = size / sqrt(ratio), h = size * sqrt(ratio);
                            double cx = stride * (x + 0.5), cy = stride * (y + 0.5);
                            const double want[4] = {cx - w / 2, cy - h / 2, cx + w / 2, cy + h / 2};
                            assert_true(at < anchors.count);
                            for (int i = 0; i < 4; i++) assert_true(fabs(corners[at][i] - want[i]) < 1e-3);
                        }
        }
        assert_int_equal(at, anchors.count);
        free(corners);
    }
    struct detect_anchors anchors; /* by hand */
    must(detect_anchors_init(&anchors, 320, 240, 8, 5));
    assert_int_equal(anchors.count, 9 * (40 * 30 + 20 * 15 + 10 * 8 + 5 * 4 + 3 * 2));
    assert_int_equal(anchors.levels[2].first, 9 * (40 * 30 + 20 * 15));
}

static void shapes_can_be_chosen(void **state) {
    (void)state;
    struct detect_anchors anchors;
    must(detect_anchors_init(&anchors, 64, 48, 8, 3));
    const float one = 1, bad = NAN;
    must(detect_anchors_set_shapes(&anchors, 2, 1, &one));
    assert_int_equal(anchors.per_cell, 2);
    assert_int_equal(anchors.count, 2 * (8 * 6 + 4 * 3 + 2 * 2));
    assert_true(fabsf(anchors.levels[1].sizes[1] - 64 * sqrtf(2)) < 1e-3f);
    struct detect_anchors before = anchors;
    refused(detect_anchors_set_shapes(&anchors, 0, 1, &one), LAM_ERR_INVALID, "0 anchor sizes");
    refused(detect_anchors_set_shapes(&anchors, 7, 1, &one), LAM_ERR_INVALID, "7 anchor sizes");
    refused(detect_anchors_set_shapes(&anchors, 1, 6, &one), LAM_ERR_INVALID, "6 aspect ratios");
    refused(detect_anchors_set_shapes(&anchors, 1, 1, &bad), LAM_ERR_INVALID, "nan");
    assert_memory_equal(&anchors, &before, sizeof before);
    refused(detect_anchors_init(&anchors, 0, 10, 8, 5), LAM_ERR_INVALID, "0 x 10");
    refused(detect_anchors_init(&anchors, 10, 1 << 20, 8, 5), LAM_ERR_INVALID, "10 x 1048576");
    refused(detect_anchors_init(&anchors, 10, 10, 8, 7), LAM_ERR_INVALID, "7 levels");
    refused(detect_anchors_init(&anchors, 10, 10, 0, 3), LAM_ERR_INVALID, "stride of 0");
}

static void sizes_survive_as_text(void **state) {
    (void)state;
    struct detect_anchors anchors, again;
    char text[512], small[8];
    must(detect_anchors_init(&anchors, 320, 240, 8, 5));
    detect_anchors_text(&anchors, text, sizeof text);
    must(detect_anchors_init(&again, 320, 240, 8, 5));
    must(detect_anchors_set_sizes(&again, "1/2/3/4/5"));
    assert_int_equal(again.per_cell, 3);
    must(detect_anchors_set_sizes(&again, text));
    assert_memory_equal(&again, &anchors, sizeof anchors);
    assert_int_equal(strlen(detect_anchors_text(&anchors, small, sizeof small)), 7);

    must(detect_anchors_init(&anchors, 320, 240, 8, 3));
    must(detect_anchors_set_sizes(&anchors, "16,20.5/44,44/90,100"));
    assert_string_equal(detect_anchors_text(&anchors, text, sizeof text), "16,20.5/44,44/90,100");
    struct detect_anchors before = anchors;
    static const struct {
        const char *text, *says;
    } bad[] = {{"", "character 1"},          {"16/44", "character 6: expected sizes of more levels"},
               {"16/44/90/120", "no more"},  {"16,20/44/90", "as many sizes on every level"},
               {"16/4x/90", "character 5"},  {"16/-4/90", "above 0"},
               {"16/nan/90", "above 0"},     {"16/inf/90", "above 0"},
               {"16/44/90 ", "character 9"}, {"16,/44/90", "character 4"},
               {"20,16/1,2/3,4", "rising"},  {"1,2,3,4,5,6,7/1/1", "6 at most"}};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        refused(detect_anchors_set_sizes(&anchors, bad[i].text), LAM_ERR_INVALID, bad[i].says);
    assert_memory_equal(&anchors, &before, sizeof before);
}

static void quality_is_that_of_all_anchors(void **state) {
    (void)state;
    enum { N = 300 };
    static struct lam_box boxes[N];
    struct lam_rng rng = lam_rng_make(1, LAM_RNG_TEST, 0, 0);
    struct detect_anchors anchors;
    must(detect_anchors_init(&anchors, 200, 150, 8, 4));
    for (int i = 0; i < N; i++) {
        boxes[i] = random_box(&rng, 200, 150, i % 5 ? 220 : 60);
        boxes[i].label = i % 5 ? 1 : 0;
    }
    boxes[7].crowd = true;
    float(*corners)[4] = malloc((size_t)anchors.count * sizeof *corners);
    detect_anchors_write(&anchors, corners);
    double sum[2] = {0}, recalled[2] = {0}, count[2] = {0};
    for (int i = 0; i < N; i++) {
        float box[4] = {boxes[i].x0, boxes[i].y0, boxes[i].x1, boxes[i].y1}, best = 0;
        for (int a = 0; a < anchors.count; a++) best = fmaxf(best, detect_iou(box, corners[a]));
        if (i == 7) continue;
        count[boxes[i].label]++;
        sum[boxes[i].label] += best;
        recalled[boxes[i].label] += best >= 0.5f;
    }
    free(corners);
    struct detect_anchor_quality quality;
    must(detect_anchors_measure(&anchors, boxes, N, &quality));
    assert_int_equal(quality.boxes, N - 1);
    double mean = (sum[0] / count[0] + sum[1] / count[1]) / 2;
    double recall = (recalled[0] / count[0] + recalled[1] / count[1]) / 2;
    assert_true(fabs(quality.mean_iou - mean) < 1e-6);
    assert_true(fabs(quality.recall - recall) < 1e-6);
    assert_true(recall > 0.2 && recall < 0.95);
}

/* Three kinds of objects, none of the size of RetinaNet's anchors. */
static void fill_kinds(struct lam_rng *rng, struct lam_box *boxes, int count) {
    static const float sides[3] = {19, 27, 70};
    for (int i = 0; i < count; i++) {
        int kind = i % 10 < 8 ? 1 : i % 2 ? 0 : 2;
        float side = sides[kind] * between(rng, 0.9f, 1.1f);
        float x = between(rng, 0, 320 - side), y = between(rng, 0, 240 - side);
        boxes[i] = (struct lam_box){
            .x0 = x, .y0 = y, .x1 = x + side, .y1 = y + side * between(rng, 0.9f, 1.1f), .label = kind};
    }
}

static void a_fit_raises_the_quality(void **state) {
    (void)state;
    enum { N = 500 };
    static struct lam_box boxes[N];
    struct lam_rng rng = lam_rng_make(2, LAM_RNG_TEST, 0, 0);
    fill_kinds(&rng, boxes, N);
    struct detect_anchors anchors, again;
    struct detect_anchor_quality before, after;
    must(detect_anchors_init(&anchors, 320, 240, 8, 3));
    again = anchors;
    must(detect_anchors_measure(&anchors, boxes, N, &before));
    must(detect_anchors_fit(&anchors, boxes, N));
    must(detect_anchors_measure(&anchors, boxes, N, &after));
    assert_true(before.recall < 0.95);
    assert_true(after.mean_iou > before.mean_iou + 0.1);
    assert_true(after.recall > 0.98);
    for (int i = 1; i < 9; i++) /* rising over all levels */
        assert_true(anchors.levels[i / 3].sizes[i % 3] >= anchors.levels[(i - 1) / 3].sizes[(i - 1) % 3]);
    assert_true(anchors.count == again.count && anchors.per_cell == again.per_cell);
    must(detect_anchors_fit(&again, boxes, N)); /* deterministic */
    assert_memory_equal(&again, &anchors, sizeof again);

    must(detect_anchors_fit(&again, boxes, N)); /* from the result: never worse */
    struct detect_anchor_quality further;
    must(detect_anchors_measure(&again, boxes, N, &further));
    assert_true(further.mean_iou >= after.mean_iou - 1e-7);
    char text[256];
    must(detect_anchors_set_sizes(&again, detect_anchors_text(&anchors, text, sizeof text)));
    assert_memory_equal(&again, &anchors, sizeof again);
}

static void a_fit_of_few_or_odd_boxes(void **state) {
    (void)state;
    struct detect_anchors anchors;
    struct detect_anchor_quality quality;
    must(detect_anchors_init(&anchors, 320, 240, 8, 3));
    struct lam_box one = {.x0 = 100, .y0 = 100, .x1 = 117, .y1 = 117};
    must(detect_anchors_fit(&anchors, &one, 1));
    must(detect_anchors_measure(&anchors, &one, 1, &quality));
    assert_true(quality.mean_iou > 0.7);

    struct detect_anchors before = anchors;
    struct lam_box bad[3] = {one, one, one};
    bad[2].y0 = NAN;
    refused(detect_anchors_fit(&anchors, bad, 3), LAM_ERR_FORMAT, "box 2");
    refused(detect_anchors_measure(&anchors, bad, 3, &quality), LAM_ERR_FORMAT, "box 2");
    bad[2] = one;
    bad[1].x1 = bad[1].x0;
    refused(detect_anchors_fit(&anchors, bad, 3), LAM_ERR_FORMAT, "box 1 is empty");
    bad[0].label = -1;
    refused(detect_anchors_fit(&anchors, bad, 1), LAM_ERR_FORMAT, "label -1");
    bad[0].label = 0;
    bad[0].crowd = true;
    refused(detect_anchors_fit(&anchors, bad, 1), LAM_ERR_INVALID, "no boxes");
    refused(detect_anchors_fit(&anchors, NULL, 0), LAM_ERR_INVALID, "no boxes");
    must(detect_anchors_measure(&anchors, NULL, 0, &quality));
    assert_true(quality.boxes == 0 && quality.mean_iou == 0);
    assert_memory_equal(&anchors, &before, sizeof before);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(anchors_stand_where_they_should), cmocka_unit_test(shapes_can_be_chosen),
        cmocka_unit_test(sizes_survive_as_text),           cmocka_unit_test(quality_is_that_of_all_anchors),
        cmocka_unit_test(a_fit_raises_the_quality),        cmocka_unit_test(a_fit_of_few_or_odd_boxes),
    };
    return cmocka_run_group_tests_name("anchors", tests, NULL, NULL);
}
