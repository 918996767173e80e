/* Assignment, to the bit, against one that compares every box with every anchor. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/rng.h"
#include "tasks/detect/assign.h"
#include "tasks/detect/boxes.h"

enum { CLASSES = 7 };

static void must(lam_status status) {
    if (status != LAM_OK) fail_msg("%s", lam_error_text());
}

static float between(struct lam_rng *rng, float low, float high) {
    return low + (high - low) * lam_rng_uniform(rng);
}

/* Targets with room for them. */
struct room {
    struct detect_targets targets;
    float normaliser;
};

static struct room *make_room(int anchors) {
    struct room *room = calloc(1, sizeof *room);
    size_t count = (size_t)anchors;
    room->targets =
        (struct detect_targets){malloc(count * sizeof(int32_t)), malloc(count * 16), malloc(count * 16),
                                malloc(count * sizeof(float)), &room->normaliser};
    memset(room->targets.classes, 0x55, count * sizeof(int32_t));
    memset(room->targets.deltas, 0x55, count * 16);
    memset(room->targets.corners, 0x55, count * 16);
    memset(room->targets.weights, 0x55, count * sizeof(float));
    return room;
}

static void free_room(struct room *room) {
    free(room->targets.classes);
    free(room->targets.deltas);
    free(room->targets.corners);
    free(room->targets.weights);
    free(room);
}

static void corners_of(const struct lam_box *box, float corners[4]) {
    const float all[4] = {box->x0, box->y0, box->x1, box->y1};
    memcpy(corners, all, sizeof all);
}

static bool is_region(const struct lam_box *box) {
    return box->crowd || box->difficult;
}

/* The rules of assign.h, one after another, over all pairs. box_of[a]: number of the box that anchor a is
 * positive for, or DETECT_BACKGROUND or DETECT_IGNORED. */
static void assign_plainly(const struct detect_assign_options *o, const struct detect_anchors *anchors,
                           const struct lam_box *boxes, int count, int *box_of) {
    int a_count = anchors->count;
    float(*anchor)[4] = malloc((size_t)a_count * sizeof *anchor);
    float *iou = calloc((size_t)a_count * (size_t)(count + 1), sizeof *iou);
    float *forced = calloc((size_t)a_count, sizeof *forced);
    detect_anchors_write(anchors, anchor);
    for (int a = 0; a < a_count; a++) {
        float best = 0;
        int best_box = -1;
        bool covered = false;
        for (int g = 0; g < count; g++) {
            float corners[4];
            corners_of(&boxes[g], corners);
            float value = detect_iou(anchor[a], corners);
            if (is_region(&boxes[g])) {
                covered |=
                    value >= 0.5f || detect_intersection(anchor[a], corners) >= 0.5f * detect_area(anchor[a]);
                continue;
            }
            iou[a * count + g] = value;
            if (value > best) best = value, best_box = g;
        }
        box_of[a] = best >= o->positive              ? best_box
                    : best >= o->negative || covered ? DETECT_IGNORED
                                                     : DETECT_BACKGROUND;
    }
    for (int g = 0; o->force_best && g < count; g++) {
        if (is_region(&boxes[g])) continue;
        int best = 0;
        for (int a = 1; a < a_count; a++)
            if (iou[a * count + g] > iou[best * count + g]) best = a;
        float value = iou[best * count + g];
        if (value <= forced[best]) continue;
        forced[best] = value;
        box_of[best] = g;
    }
    free(anchor);
    free(iou);
    free(forced);
}

/* Returns how many are positive. */
static int check_against_plain(const struct detect_assign_options *o, const struct detect_anchors *anchors,
                               const struct lam_box *boxes, int count) {
    struct room *room = make_room(anchors->count);
    int *box_of = malloc((size_t)anchors->count * sizeof *box_of), positives = 0;
    must(detect_assign(o, anchors, CLASSES, boxes, count, &room->targets));
    assign_plainly(o, anchors, boxes, count, box_of);
    for (int a = 0; a < anchors->count; a++) positives += box_of[a] >= 0;
    float share = 1 / (float)(positives ? positives : 1);
    assert_true(room->normaliser == share);
    for (int a = 0; a < anchors->count; a++) {
        int want = box_of[a] >= 0 ? boxes[box_of[a]].label : box_of[a];
        if (room->targets.classes[a] != want)
            fail_msg("anchor %d is of class %d, not %d (box %d of %d)", a, room->targets.classes[a], want,
                     box_of[a], count);
        assert_true(room->targets.weights[a] == (box_of[a] >= 0 ? share : 0));
        float corners[4] = {0}, delta[4] = {0}, anchor[4];
        if (box_of[a] >= 0) {
            corners_of(&boxes[box_of[a]], corners);
            detect_anchor_corners(anchors, a, anchor);
            detect_encode(anchor, corners, delta);
        }
        assert_memory_equal(room->targets.corners + 4 * a, corners, sizeof corners);
        assert_memory_equal(room->targets.deltas + 4 * a, delta, sizeof delta);
    }
    free(box_of);
    free_room(room);
    return positives;
}

/* Sides from a fraction of a pixel to more than the input; some stick out; corners on a grid make ties. */
static struct lam_box random_box(struct lam_rng *rng, int kind) {
    float w = 0.3f * expf(between(rng, 0, 6.5f)), h = w * expf(between(rng, -1.2f, 1.2f));
    float x = between(rng, -10, 170) - w / 2, y = between(rng, -10, 130) - h / 2;
    struct lam_box box = {
        .x0 = x, .y0 = y, .x1 = x + w, .y1 = y + h, .label = (int)lam_rng_below(rng, CLASSES)};
    if (kind == 1) {
        box.x0 = 4 * floorf(x / 4), box.y0 = 4 * floorf(y / 4);
        box.x1 = box.x0 + 4 * ceilf(w / 4), box.y1 = box.y0 + 4 * ceilf(h / 4);
    }
    return box;
}

static void equals_the_search_over_all_pairs(void **state) {
    (void)state;
    struct detect_anchors anchors[3];
    must(detect_anchors_init(&anchors[0], 160, 120, 8, 5));
    must(detect_anchors_init(&anchors[1], 150, 117, 8, 3));
    must(detect_anchors_set_sizes(&anchors[1], "10,14/20,40/60,100"));
    const float ratio = 1;
    must(detect_anchors_init(&anchors[2], 160, 120, 16, 2));
    must(detect_anchors_set_shapes(&anchors[2], 1, 1, &ratio));
    struct lam_box boxes[24];
    int positives = 0;
    for (int i = 0; i < 360; i++) {
        struct lam_rng rng = lam_rng_make(3, LAM_RNG_TEST, 0, (uint64_t)i);
        int count = (int)lam_rng_below(&rng, 25);
        for (int k = 0; k < count; k++) {
            boxes[k] = k && lam_rng_below(&rng, 10) == 0 ? boxes[k - 1] : random_box(&rng, i & 1);
            boxes[k].label = (int)lam_rng_below(&rng, CLASSES); /* not the same for equal boxes */
            boxes[k].crowd = lam_rng_below(&rng, 12) == 0;
            boxes[k].difficult = lam_rng_below(&rng, 12) == 0;
        }
        struct detect_assign_options o = DETECT_ASSIGN_DEFAULTS;
        if (i % 4 == 2) o.force_best = false;
        if (i % 4 == 3) o = (struct detect_assign_options){0.7f, 0.2f, true};
        positives += check_against_plain(&o, &anchors[i % 3], boxes, count);
    }
    assert_true(positives > 3000);
}

/* ---- the rules one by one ---- */

static const struct detect_assign_options defaults = DETECT_ASSIGN_DEFAULTS;

static int assign_one(const struct detect_anchors *anchors, const struct lam_box *boxes, int count,
                      int *ignored, struct room *room) {
    must(detect_assign(&defaults, anchors, CLASSES, boxes, count, &room->targets));
    int positives = 0;
    *ignored = 0;
    for (int a = 0; a < anchors->count; a++) {
        positives += room->targets.classes[a] >= 0;
        *ignored += room->targets.classes[a] == DETECT_IGNORED;
    }
    return positives;
}

static void each_rule_shows(void **state) {
    (void)state;
    struct detect_anchors anchors;
    const float ratio = 1;
    must(detect_anchors_init(&anchors, 64, 64, 8, 1));
    must(detect_anchors_set_shapes(&anchors, 1, 1, &ratio)); /* 64 squares of 32, centres 4, 12, 20, ... */
    struct room *room = make_room(anchors.count);
    int ignored;

    assert_int_equal(assign_one(&anchors, NULL, 0, &ignored, room), 0); /* no boxes: all background */
    assert_int_equal(ignored, 0);
    assert_true(room->normaliser == 1);
    for (int a = 0; a < 64; a++) assert_int_equal(room->targets.classes[a], DETECT_BACKGROUND);

    /* on the anchor at (3, 3): moved by one cell the IoU is 24 / 40 = 0.6, by one cell in both axes 576 /
     * 1472 = 0.391, by two 16 / 48 = 0.33 */
    struct lam_box box = {.x0 = 12, .y0 = 12, .x1 = 44, .y1 = 44, .label = 5};
    assert_int_equal(assign_one(&anchors, &box, 1, &ignored, room), 5);
    assert_int_equal(ignored, 0);
    assert_int_equal(room->targets.classes[3 * 8 + 3], 5);
    assert_int_equal(room->targets.classes[3 * 8 + 4], 5);
    assert_int_equal(room->targets.classes[2 * 8 + 3], 5);
    assert_int_equal(room->targets.classes[2 * 8 + 2], DETECT_BACKGROUND);
    assert_true(room->normaliser == 0.2f && room->targets.weights[27] == 0.2f);
    for (int i = 0; i < 4; i++) assert_true(room->targets.deltas[4 * 27 + i] == 0);
    assert_true(room->targets.deltas[4 * 28] == -0.25f); /* the box is 8 of 32 pixels to the left */

    /* as large as 0.4 to 0.5 of the anchor it lies in: positive by force only, others ignored */
    box = (struct lam_box){.x0 = 17, .y0 = 17, .x1 = 38.5f, .y1 = 38.5f, .label = 2};
    assert_int_equal(assign_one(&anchors, &box, 1, &ignored, room), 1);
    assert_int_equal(room->targets.classes[27], 2);
    assert_true(ignored >= 0);

    /* a tiny box lies in many anchors that are equally good: the first gets it */
    box = (struct lam_box){.x0 = 31, .y0 = 31, .x1 = 33, .y1 = 33, .label = 1};
    assert_int_equal(assign_one(&anchors, &box, 1, &ignored, room), 1);
    assert_int_equal(room->targets.classes[2 * 8 + 2], 1); /* [4, 36] is the first range around [31, 33] */

    /* a crowd over the left half makes everything ignored that lies in it by half */
    struct lam_box pair[2] = {{.x0 = 0, .y0 = 0, .x1 = 36, .y1 = 64, .crowd = true},
                              {.x0 = 12, .y0 = 12, .x1 = 44, .y1 = 44, .label = 5}};
    assert_int_equal(assign_one(&anchors, pair, 2, &ignored, room), 5);
    assert_int_equal(room->targets.classes[27], 5);                        /* positive stays positive */
    assert_int_equal(room->targets.classes[18], DETECT_IGNORED);           /* [4, 36]: all of it */
    assert_int_equal(room->targets.classes[4 * 8 + 4], DETECT_IGNORED);    /* [20, 52]: half of it */
    assert_int_equal(room->targets.classes[5 * 8 + 5], DETECT_BACKGROUND); /* [28, 60] */
    pair[0].crowd = false;
    pair[0].difficult = true;
    assert_int_equal(assign_one(&anchors, pair, 2, &ignored, room), 5);
    assert_int_equal(room->targets.classes[18], DETECT_IGNORED);

    /* out of reach of all anchors */
    box = (struct lam_box){.x0 = 300, .y0 = 300, .x1 = 320, .y1 = 310};
    assert_int_equal(assign_one(&anchors, &box, 1, &ignored, room), 0);

    struct detect_targets bare = room->targets; /* deltas and corners are optional */
    bare.deltas = bare.corners = NULL;
    must(detect_assign(&defaults, &anchors, CLASSES, &pair[1], 1, &bare));
    assert_int_equal(bare.classes[27], 5);
    free_room(room);
}

static void deltas_lead_to_the_box(void **state) {
    (void)state;
    struct detect_anchors anchors;
    must(detect_anchors_init(&anchors, 320, 240, 8, 5));
    struct room *room = make_room(anchors.count);
    struct lam_box box = {.x0 = 30.5f, .y0 = 41, .x1 = 97, .y1 = 120.25f, .label = 3};
    int ignored;
    assert_true(assign_one(&anchors, &box, 1, &ignored, room) > 0);
    for (int a = 0; a < anchors.count; a++) {
        if (room->targets.classes[a] != 3) continue;
        float anchor[4], corners[4];
        detect_anchor_corners(&anchors, a, anchor);
        detect_decode_box(anchor, room->targets.deltas + 4 * a, corners);
        for (int i = 0; i < 4; i++) assert_true(fabsf(corners[i] - room->targets.corners[4 * a + i]) < 1e-3f);
    }
    free_room(room);
}

static void what_makes_no_sense_is_refused(void **state) {
    (void)state;
    struct detect_anchors anchors;
    must(detect_anchors_init(&anchors, 64, 64, 8, 2));
    struct room *room = make_room(anchors.count), *untouched = make_room(anchors.count);
    const struct lam_box good = {.x0 = 1, .y0 = 2, .x1 = 30, .y1 = 40, .label = 1};
    for (int k = 0; k < 9; k++) {
        struct lam_box boxes[2] = {good, good};
        struct lam_box *b = &boxes[1];
        float *corners[4] = {&b->x0, &b->y0, &b->x1, &b->y1};
        if (k < 4) *corners[k] = NAN;
        if (k == 4) b->x1 = INFINITY;
        if (k == 5) b->x0 = -3e38f;
        if (k == 6) b->x0 = 30;
        if (k == 7) b->label = CLASSES;
        if (k == 8) b->label = -1;
        assert_int_equal(detect_assign(&defaults, &anchors, CLASSES, boxes, 2, &room->targets),
                         LAM_ERR_FORMAT);
        assert_non_null(strstr(lam_error_text(), "box 1"));
        assert_memory_equal(room->targets.classes, untouched->targets.classes,
                            (size_t)anchors.count * sizeof(int32_t));
    }
    const struct detect_assign_options bad[] = {
        {0.4f, 0.5f, true}, {0.5f, 0, true}, {1.5f, 0.4f, true}, {NAN, 0.4f, true}};
    for (int k = 0; k < 4; k++)
        assert_int_equal(detect_assign(&bad[k], &anchors, CLASSES, &good, 1, &room->targets),
                         LAM_ERR_INVALID);
    free_room(room);
    free_room(untouched);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(equals_the_search_over_all_pairs),
        cmocka_unit_test(each_rule_shows),
        cmocka_unit_test(deltas_lead_to_the_box),
        cmocka_unit_test(what_makes_no_sense_is_refused),
    };
    return cmocka_run_group_tests_name("assign", tests, NULL, NULL);
}
