/* Boxes, suppression and decoding against naive versions, and boxes drawn on a picture. */
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
#include "tasks/detect/decode.h"
#include "tasks/detect/draw_boxes.h"
#include "train/draw.h"

static void must(lam_status status) {
    if (status != LAM_OK) fail_msg("%s", lam_error_text());
}

static float between(struct lam_rng *rng, float low, float high) {
    return low + (high - low) * lam_rng_uniform(rng);
}

static float whole_below(struct lam_rng *rng, uint32_t bound) {
    return (float)lam_rng_below(rng, bound);
}

static void assert_close(const float got[4], const float want[4], float tolerance) {
    for (int i = 0; i < 4; i++)
        if (!(fabsf(got[i] - want[i]) <= tolerance)) fail_msg("corner %d is %g, not %g", i, got[i], want[i]);
}

/* ---- boxes ---- */

/* On whole pixels areas can be counted. */
static void iou_is_that_of_counted_pixels(void **state) {
    (void)state;
    struct lam_rng rng = lam_rng_make(1, LAM_RNG_TEST, 0, 0);
    int touching = 0;
    for (int n = 0; n < 3000; n++) {
        float a[4], b[4];
        for (int i = 0; i < 2; i++) {
            a[i] = whole_below(&rng, 8), a[i + 2] = a[i] + 1 + whole_below(&rng, 6);
            b[i] = whole_below(&rng, 8), b[i + 2] = b[i] + 1 + whole_below(&rng, 6);
        }
        int both = 0, any = 0;
        for (int y = 0; y < 16; y++)
            for (int x = 0; x < 16; x++) {
                bool in_a = x >= a[0] && x < a[2] && y >= a[1] && y < a[3];
                bool in_b = x >= b[0] && x < b[2] && y >= b[1] && y < b[3];
                both += in_a && in_b;
                any += in_a || in_b;
            }
        assert_true(detect_iou(a, b) == (float)both / (float)any);
        assert_true(detect_iou(a, b) == detect_iou(b, a));
        assert_true(detect_intersection(a, b) == (float)both);
        touching += both > 0;
    }
    assert_in_range(touching, 500, 2900);
    const float flat[4] = {3, 3, 3, 9}, box[4] = {0, 0, 9, 9};
    assert_true(detect_iou(flat, box) == 0 && detect_iou(flat, flat) == 0);
}

static void decoding_undoes_encoding(void **state) {
    (void)state;
    struct lam_rng rng = lam_rng_make(2, LAM_RNG_TEST, 0, 0);
    for (int n = 0; n < 1000; n++) {
        float anchor[4], box[4], delta[4], again[4];
        for (int i = 0; i < 2; i++) {
            anchor[i] = between(&rng, -50, 300), anchor[i + 2] = anchor[i] + between(&rng, 5, 200);
            box[i] = between(&rng, -50, 300), box[i + 2] = box[i] + between(&rng, 5, 200);
        }
        detect_encode(anchor, box, delta);
        detect_decode_box(anchor, delta, again);
        assert_close(again, box, 2e-3f);
    }
    const float anchor[4] = {10, 20, 30, 60}, box[4] = {15, 20, 35, 100};
    float delta[4], decoded[4];
    detect_encode(anchor, box, delta); /* by hand */
    const float want[4] = {0.25f, 0.5f, 0, logf(2)};
    assert_close(delta, want, 1e-6f);
    const float wild[4] = {0, 0, 50, -1000}, huge[4] = {20 - 625, 40, 20 + 625, 40};
    detect_decode_box(anchor, wild, decoded);
    assert_close(decoded, huge, 1e-2f); /* 20 * 1000 / 16 wide, not exp(50) */
}

static void clipping_keeps_what_is_inside(void **state) {
    (void)state;
    float box[4] = {-5, 3, 20, 40}, inside[4] = {0, 3, 10, 30}, out[4] = {11, 0, 20, 5},
          edge[4] = {-4, 0, 0, 9};
    assert_true(detect_clip(box, 10, 30));
    assert_close(box, inside, 0);
    assert_true(detect_clip(inside, 10, 30));
    assert_false(detect_clip(out, 10, 30));
    assert_false(detect_clip(edge, 10, 30));
}

/* ---- suppression ---- */

static void fill_random(struct lam_rng *rng, struct detect_list *list, int count) {
    list->count = 0;
    for (int i = 0; i < count; i++) {
        struct detect_found item = {.label = (int)lam_rng_below(rng, 3)};
        item.score = (float)lam_rng_below(rng, 12) / 12; /* many are equal */
        for (int k = 0; k < 2; k++) {
            item.corners[k] = between(rng, 0, 60);
            item.corners[k + 2] = item.corners[k] + between(rng, 10, 40);
        }
        must(detect_list_add(list, &item));
    }
}

/* Takes the best of those left, strikes out what it covers, and again. */
static void suppress_plainly(struct detect_list *list, float iou, int max_kept, struct detect_list *kept) {
    bool *gone = calloc((size_t)list->count + 1, sizeof *gone);
    kept->count = 0;
    while (max_kept <= 0 || kept->count < max_kept) {
        int best = -1;
        for (int i = 0; i < list->count; i++)
            if (!gone[i] && (best < 0 || list->items[i].score > list->items[best].score)) best = i;
        if (best < 0) break;
        must(detect_list_add(kept, &list->items[best]));
        gone[best] = true;
        for (int i = 0; i < list->count; i++)
            if (list->items[i].label == list->items[best].label &&
                detect_iou(list->items[i].corners, list->items[best].corners) > iou)
                gone[i] = true;
    }
    free(gone);
}

static void assert_same_list(const struct detect_list *got, const struct detect_list *want) {
    assert_int_equal(got->count, want->count);
    for (int i = 0; i < got->count; i++) {
        assert_int_equal(got->items[i].label, want->items[i].label);
        assert_true(got->items[i].score == want->items[i].score);
        assert_close(got->items[i].corners, want->items[i].corners, 0);
    }
}

static void suppression_is_greedy_by_class_and_stable(void **state) {
    (void)state;
    struct detect_list list = {0}, want = {0};
    int kept = 0, given = 0;
    for (int n = 0; n < 300; n++) {
        struct lam_rng rng = lam_rng_make(3, LAM_RNG_TEST, 0, (uint64_t)n);
        fill_random(&rng, &list, (int)lam_rng_below(&rng, 120));
        given += list.count;
        float iou = between(&rng, 0.1f, 0.8f);
        int most = n % 3 == 0 ? 1 + (int)lam_rng_below(&rng, 20) : 0;
        suppress_plainly(&list, iou, most, &want);
        must(detect_nms(&list, iou, most));
        assert_same_list(&list, &want);
        kept += list.count;
    }
    assert_true(kept > given / 20 && kept < given * 3 / 4);
    fill_random(&(struct lam_rng){0}, &list, 4);
    list.items[2].corners[1] = NAN;
    assert_int_equal(detect_nms(&list, 0.5f, 0), LAM_ERR_NOT_FINITE);
    assert_non_null(strstr(lam_error_text(), "box 2 of 4"));
    list.items[2].corners[1] = 0;
    list.items[3].score = NAN;
    assert_int_equal(detect_nms(&list, 0.5f, 0), LAM_ERR_NOT_FINITE);
    list.count = 0;
    must(detect_nms(&list, 0.5f, 0));
    detect_list_free(&list);
    detect_list_free(&want);
}

/* ---- decoding ---- */

enum { CLASSES = 3 };

/* A network's outputs for one image. */
struct outputs {
    struct detect_anchors anchors;
    float *logits, *deltas;
};

static struct outputs make_outputs(int width, int height, int levels, float logit) {
    struct outputs o;
    must(detect_anchors_init(&o.anchors, width, height, 8, levels));
    size_t count = (size_t)o.anchors.count;
    o.logits = malloc(count * CLASSES * sizeof(float));
    o.deltas = calloc(count, 4 * sizeof(float));
    for (size_t i = 0; i < count * CLASSES; i++) o.logits[i] = logit;
    return o;
}

static void free_outputs(struct outputs *o) {
    free(o->logits);
    free(o->deltas);
}

static void fill_outputs(struct lam_rng *rng, struct outputs *o) {
    for (int i = 0; i < o->anchors.count * CLASSES; i++)
        o->logits[i] = roundf(lam_rng_normal(rng) * 16) / 8 - 3; /* some are equal */
    for (int i = 0; i < o->anchors.count * 4; i++) o->deltas[i] = 0.3f * lam_rng_normal(rng);
}

/* The best of a level's logits not taken yet, the first of equal ones; -1: none is at least `least`. */
static int next_best(const struct outputs *o, int first, int end, const bool *taken, float least) {
    int best = -1;
    for (int i = first * CLASSES; i < end * CLASSES; i++)
        if (!taken[i] && o->logits[i] >= least && (best < 0 || o->logits[i] > o->logits[best])) best = i;
    return best;
}

static void decode_plainly(const struct detect_decode_options *options, const struct outputs *o,
                           const struct detect_view *view, struct detect_list *kept) {
    struct detect_list all = {0}, sorted = {0};
    bool *taken = calloc((size_t)o->anchors.count * CLASSES, sizeof *taken);
    for (int l = 0; l < o->anchors.level_count; l++) {
        int first = o->anchors.levels[l].first;
        int end = l + 1 < o->anchors.level_count ? o->anchors.levels[l + 1].first : o->anchors.count;
        for (int n = 0; n < options->top_level || !options->top_level; n++) {
            int best = next_best(o, first, end, taken, (float)log(options->conf / (1.0 - options->conf)));
            if (best < 0) break;
            taken[best] = true;
            struct detect_found item = {.score = 1 / (1 + expf(-o->logits[best])), .label = best % CLASSES};
            float anchor[4];
            detect_anchor_corners(&o->anchors, best / CLASSES, anchor);
            detect_decode_box(anchor, o->deltas + best / CLASSES * 4, item.corners);
            detect_view_box_back(view, item.corners);
            if (detect_clip(item.corners, (float)view->image_width, (float)view->image_height))
                must(detect_list_add(&all, &item));
        }
    }
    suppress_plainly(&all, 2, options->top, &sorted); /* nothing is covered: only sorts */
    suppress_plainly(&sorted, options->iou, options->max_det, kept);
    detect_list_free(&all);
    detect_list_free(&sorted);
    free(taken);
}

static void decoding_is_what_the_steps_give(void **state) {
    (void)state;
    struct outputs o = make_outputs(64, 48, 3, 0);
    struct detect_list got = {0}, want = {0};
    for (int n = 0; n < 24; n++) {
        struct lam_rng rng = lam_rng_make(4, LAM_RNG_TEST, 0, (uint64_t)n);
        fill_outputs(&rng, &o);
        struct detect_decode_options options = DETECT_DECODE_DEFAULTS;
        options.conf = 0.2f;
        options.iou = n % 2 ? 0.5f : 0.95f;
        options.top_level = n % 4 == 0 ? 0 : n % 4 == 1 ? 1 : 25;
        options.top = n % 3 == 0 ? 30 : 0;
        options.max_det = n % 5 == 0 ? 7 : 0;
        const struct detect_fit fit = {.width = 64, .height = 48, .stretch = n % 3 == 1};
        struct detect_view view = detect_view_fit(&fit, 200, n % 2 ? 100 : 300);
        view.flip = n % 7 == 0;
        decode_plainly(&options, &o, &view, &want);
        must(detect_decode(&options, &o.anchors, o.logits, o.deltas, CLASSES, &view, &got));
        assert_same_list(&got, &want);
        assert_true(got.count > 0);
        for (int i = 0; i < got.count; i++) {
            const float *c = got.items[i].corners;
            assert_true(c[0] >= 0 && c[1] >= 0 && c[2] <= view.image_width && c[3] <= view.image_height);
        }
    }
    detect_list_free(&got);
    detect_list_free(&want);
    free_outputs(&o);
}

/* Outputs that say what the targets ask for give the objects back, where they are in the original image. */
static void targets_decode_to_the_objects(void **state) {
    (void)state;
    static const struct detect_found objects[] = {{{30, 50, 110, 140}, 0, 1},
                                                  {{200, 20, 330, 190}, 0, 0},
                                                  {{380, 300, 420, 345}, 0, 2},
                                                  {{0, 400, 90, 480}, 0, 1}};
    enum { N = sizeof objects / sizeof objects[0] };
    for (int flip = 0; flip < 2; flip++) {
        struct outputs o = make_outputs(320, 320, 5, -6);
        const struct detect_fit fit = {.width = 320, .height = 320};
        struct detect_view view = detect_view_fit(&fit, 640, 480);
        view.flip = flip;
        struct lam_box boxes[N];
        for (int i = 0; i < N; i++) {
            float c[4];
            memcpy(c, objects[i].corners, sizeof c);
            detect_view_box(&view, c);
            boxes[i] =
                (struct lam_box){.x0 = c[0], .y0 = c[1], .x1 = c[2], .y1 = c[3], .label = objects[i].label};
        }
        int32_t *classes = malloc((size_t)o.anchors.count * sizeof *classes);
        float *weights = malloc((size_t)o.anchors.count * sizeof *weights), normaliser;
        struct detect_targets targets = {classes, o.deltas, NULL, weights, &normaliser};
        struct detect_assign_options rules = DETECT_ASSIGN_DEFAULTS;
        must(detect_assign(&rules, &o.anchors, CLASSES, boxes, N, &targets));
        for (int a = 0; a < o.anchors.count; a++)
            if (classes[a] >= 0) o.logits[a * CLASSES + classes[a]] = 4;

        struct detect_decode_options options = DETECT_DECODE_DEFAULTS;
        struct detect_list found = {0};
        must(detect_decode(&options, &o.anchors, o.logits, o.deltas, CLASSES, &view, &found));
        assert_int_equal(found.count, N);
        for (int i = 0; i < N; i++) {
            int hits = 0;
            for (int k = 0; k < N; k++) {
                if (detect_iou(found.items[k].corners, objects[i].corners) < 0.99f) continue;
                hits++;
                assert_int_equal(found.items[k].label, objects[i].label);
                assert_close(found.items[k].corners, objects[i].corners, 0.02f);
                assert_true(fabsf(found.items[k].score - 0.982f) < 1e-3f);
            }
            assert_int_equal(hits, 1);
        }
        detect_list_free(&found);
        free(classes);
        free(weights);
        free_outputs(&o);
    }
}

static void what_is_not_finite_is_not_found(void **state) {
    (void)state;
    struct outputs o = make_outputs(64, 48, 3, -9);
    struct detect_decode_options options = DETECT_DECODE_DEFAULTS;
    const struct detect_fit fit = {.width = 64, .height = 48};
    struct detect_view view = detect_view_fit(&fit, 64, 48);
    struct detect_list found = {0};
    const int middle = (3 * 8 + 4) * 9 + 4;
    must(detect_decode(&options, &o.anchors, o.logits, o.deltas, CLASSES, &view, &found));
    assert_int_equal(found.count, 0);
    o.logits[middle * CLASSES + 1] = 2;
    must(detect_decode(&options, &o.anchors, o.logits, o.deltas, CLASSES, &view, &found));
    assert_int_equal(found.count, 1);
    for (int k = 0; k < 4; k++) {
        static const float bad[] = {NAN, INFINITY, -INFINITY};
        for (int b = 0; b < 3; b++) {
            o.deltas[middle * 4 + k] = bad[b];
            must(detect_decode(&options, &o.anchors, o.logits, o.deltas, CLASSES, &view, &found));
            if (b == 0 || k < 2) assert_int_equal(found.count, 0); /* +-infinite sides are clamped or empty */
            for (int i = 0; i < found.count; i++)
                for (int c = 0; c < 4; c++) assert_true(isfinite(found.items[i].corners[c]));
        }
        o.deltas[middle * 4 + k] = 0;
    }
    for (int i = 0; i < o.anchors.count * CLASSES; i++) o.logits[i] = i % 2 ? NAN : INFINITY;
    options.conf = 0;
    must(detect_decode(&options, &o.anchors, o.logits, o.deltas, CLASSES, &view, &found));
    assert_int_equal(found.count, 0);
    detect_list_free(&found);
    free_outputs(&o);
}

/* ---- drawing ---- */

static uint32_t pixel(const struct lam_image *image, int x, int y) {
    const uint8_t *p = image->pixels + 3 * (y * image->width + x);
    return (uint32_t)p[0] << 16 | (uint32_t)p[1] << 8 | p[2];
}

static void boxes_are_drawn_where_they_are(void **state) {
    (void)state;
    struct lam_image picture = {0};
    must(lam_image_alloc(&picture, 120, 90, 3));
    char *names[] = {"cat", "a name that is much longer than there is room for in any picture at all"};
    struct detect_found boxes[] = {{{20, 30, 70, 80}, 0.875f, 0},
                                   {{-50, -50, 400, 400}, -1, 1},
                                   {{NAN, 0, 5, 5}, 0.5f, 0},
                                   {{1e30f, -1e30f, 2e30f, INFINITY}, 0.5f, -3},
                                   {{119.9f, 89.9f, 119.95f, 89.95f}, 1, 99}};
    lam_draw_fill(&picture, 0, 0, 120, 90, LAM_WHITE);
    detect_draw_boxes(&picture, boxes, 1, names, 2);
    uint32_t colour = detect_class_colour(0);
    for (int i = 20; i < 70; i++) {
        assert_int_equal(pixel(&picture, i, 30), colour);
        assert_int_equal(pixel(&picture, i, 79), colour);
        assert_int_equal(pixel(&picture, 20, i + 10), colour);
        assert_int_equal(pixel(&picture, 69, i + 10), colour);
    }
    assert_int_equal(pixel(&picture, 45, 55), LAM_WHITE); /* inside and outside */
    assert_int_equal(pixel(&picture, 71, 55), LAM_WHITE);
    assert_int_equal(pixel(&picture, 45, 81), LAM_WHITE);
    assert_int_equal(pixel(&picture, 20, 25), colour); /* "cat 88%" on the class's colour above the box */
    int ink = 0;
    for (int y = 20; y < 30; y++)
        for (int x = 20; x < 70; x++)
            ink += pixel(&picture, x, y) == LAM_WHITE && pixel(&picture, x, 20) == colour;
    assert_true(ink > 30);
    assert_true(detect_class_colour(0) != detect_class_colour(1));
    detect_draw_boxes(&picture, boxes, 5, names, 2);
    detect_draw_boxes(&picture, boxes, 5, NULL, 0);
    assert_int_equal(pixel(&picture, 20, 50), colour); /* the first ones are on top */
    lam_image_free(&picture);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(iou_is_that_of_counted_pixels),
        cmocka_unit_test(decoding_undoes_encoding),
        cmocka_unit_test(clipping_keeps_what_is_inside),
        cmocka_unit_test(suppression_is_greedy_by_class_and_stable),
        cmocka_unit_test(decoding_is_what_the_steps_give),
        cmocka_unit_test(targets_decode_to_the_objects),
        cmocka_unit_test(what_is_not_finite_is_not_found),
        cmocka_unit_test(boxes_are_drawn_where_they_are),
    };
    return cmocka_run_group_tests_name("boxes", tests, NULL, NULL);
}
