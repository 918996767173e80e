/* Detection metrics: COCO's numbers against those that pycocotools gave (tests/golden/detection.json), VOC's
 * against cases worked out by hand and against a slow reference; curves, confusion matrix, table, bad input. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/files.h"
#include "base/rng.h"
#include "tasks/detect/average_precision.h"
#include "tasks/detect/confusion.h"
#include "tasks/detect/curves.h"

enum { MOST = 400 }; /* detections or boxes of an image, and images of a made set */
static const double tolerance = 1e-6;

static void must(lam_status status) {
    if (status != LAM_OK) fail_msg("%s", lam_error_text());
}

static void same(const char *what, double actual, double expected) {
    if (!(fabs(actual - expected) <= tolerance)) fail_msg("%s: %.9f, not %.9f", what, actual, expected);
}

static struct detect_ap *create(int classes) {
    struct detect_ap *ap = NULL;
    must(detect_ap_create(classes, &ap));
    return ap;
}

static struct detect_found found_at(float x0, float y0, float x1, float y1, int label, float score) {
    return (struct detect_found){.corners = {x0, y0, x1, y1}, .label = label, .score = score};
}

static struct lam_box box_at(float x0, float y0, float x1, float y1, int label) {
    return (struct lam_box){.x0 = x0, .y0 = y0, .x1 = x1, .y1 = y1, .label = label};
}

/* ---- golden numbers ---- */

static float number(const json_t *row, size_t i) {
    const json_t *value = json_array_get(row, i);
    assert_true(json_is_number(value));
    return (float)json_number_value(value);
}

static struct lam_box golden_truth(const json_t *row) {
    enum { CROWD = 1, DIFFICULT = 2 };
    struct lam_box box =
        box_at(number(row, 0), number(row, 1), number(row, 2), number(row, 3), (int)number(row, 4));
    box.crowd = number(row, 5) == CROWD;
    box.difficult = number(row, 5) == DIFFICULT;
    box.area = number(row, 6);
    return box;
}

static struct detect_found golden_detection(const json_t *row) {
    return found_at(number(row, 0), number(row, 1), number(row, 2), number(row, 3), (int)number(row, 4),
                    number(row, 5));
}

static void add_golden(struct detect_ap *ap, const json_t *image) {
    static struct detect_found detections[MOST];
    static struct lam_box truths[MOST];
    const json_t *found = json_object_get(image, "detections"), *boxes = json_object_get(image, "truths"),
                 *row;
    size_t i;
    assert_true(json_array_size(found) <= MOST && json_array_size(boxes) <= MOST);
    json_array_foreach(found, i, row) detections[i] = golden_detection(row);
    json_array_foreach(boxes, i, row) truths[i] = golden_truth(row);
    must(detect_ap_add(ap, detections, (int)json_array_size(found), truths, (int)json_array_size(boxes)));
}

static double expected_at(const json_t *expected, const char *key, size_t i) {
    const json_t *value = json_array_get(json_object_get(expected, key), i);
    assert_true(json_is_number(value));
    return json_number_value(value);
}

static void check_case(const char *name, const json_t *expected, const struct detect_scores *s) {
    const double summary[12] = {s->ap,  s->ap50, s->ap75,  s->ap_small, s->ap_medium, s->ap_large,
                                s->ar1, s->ar10, s->ar100, s->ar_small, s->ar_medium, s->ar_large};
    char what[64];
    for (size_t i = 0; i < 12; i++) {
        snprintf(what, sizeof what, "%s, number %zu of the summary", name, i);
        same(what, summary[i], expected_at(expected, "summary", i));
    }
    for (int i = 0; i < s->classes; i++) {
        snprintf(what, sizeof what, "%s, class %d", name, i);
        same(what, s->of_class[i].ap, expected_at(expected, "ap", (size_t)i));
        same(what, s->of_class[i].ap50, expected_at(expected, "ap50", (size_t)i));
    }
}

static void golden_cases(void **state) {
    (void)state;
    json_error_t error;
    json_t *golden = json_load_file("tests/golden/detection.json", 0, &error), *one, *image;
    if (!golden) fail_msg("tests/golden/detection.json:%d: %s", error.line, error.text);
    size_t i, k;
    assert_int_equal(json_array_size(json_object_get(golden, "cases")), 3);
    json_array_foreach(json_object_get(golden, "cases"), i, one) {
        struct detect_ap *ap = create((int)json_integer_value(json_object_get(one, "classes")));
        struct detect_scores scores = {0};
        json_array_foreach(json_object_get(one, "images"), k, image) {
            add_golden(ap, image);
            if (k == 7)
                must(detect_ap_score(ap, &scores)); /* on the way: that may not disturb what follows */
        }
        must(detect_ap_score(ap, &scores));
        check_case(json_string_value(json_object_get(one, "name")), json_object_get(one, "expected"),
                   &scores);
        detect_ap_clear(ap); /* and all over again */
        json_array_foreach(json_object_get(one, "images"), k, image) add_golden(ap, image);
        must(detect_ap_score(ap, &scores));
        check_case("once more", json_object_get(one, "expected"), &scores);
        detect_scores_free(&scores);
        detect_ap_destroy(ap);
    }
    json_decref(golden);
}

/* ---- by hand ---- */

/* Two images, one class, boxes 10 x 10: right at .9, wrong at .8, right at .7; a third box is never found.
 * Precision where recall grows: 1/1 and 2/3. */
static void worked_out(void **state) {
    (void)state;
    struct detect_ap *ap = create(3);
    const struct lam_box first[] = {box_at(0, 0, 10, 10, 1), box_at(50, 0, 60, 10, 1)},
                         second[] = {box_at(0, 0, 10, 10, 1)};
    const struct detect_found one[] = {found_at(50, 0, 60, 10, 1, 0.7f), found_at(0, 0, 10, 10, 1, 0.9f)},
                              two[] = {found_at(80, 80, 90, 90, 1, 0.8f)};
    must(detect_ap_add(ap, one, 2, first, 2));
    must(detect_ap_add(ap, two, 1, second, 1));
    struct detect_scores s = {0};
    must(detect_ap_score(ap, &s));
    const struct detect_class_score *c = &s.of_class[1];
    same("VOC", c->voc, (1 + 2.0 / 3) / 3);
    same("VOC 11", c->voc11, (4 * 1 + 3 * 2.0 / 3) / 11); /* recall 0 .. .3, and .4 .. .6 */
    same("COCO", c->ap, (34 + 33 * 2.0 / 3) / 101);       /* 0 .. .33, and .34 .. .66 */
    same("AP50", c->ap50, c->ap);
    same("mean", s.voc, c->voc);
    same("recall of one", s.ar1, 1.0 / 3);
    same("recall", s.ar100, 2.0 / 3);
    same("all are small", s.ap_small, c->ap);
    same("none is large", s.ap_large, -1);
    same("no ground truth", s.of_class[0].ap, -1);
    same("no ground truth", s.of_class[2].voc11, -1);
    assert_int_equal(c->images, 2);
    assert_int_equal(c->boxes, 3);
    assert_int_equal(c->detections, 3);
    assert_int_equal(s.images, 2);
    detect_scores_free(&s);
    detect_ap_destroy(ap);
}

static void empty_sets(void **state) {
    (void)state;
    struct detect_ap *ap = create(2);
    struct detect_scores s = {0};
    must(detect_ap_score(ap, &s));
    same("nothing at all", s.ap, -1);
    same("nothing at all", s.ar100, -1);
    must(detect_ap_add(ap, NULL, 0, NULL, 0));
    const struct detect_found lost[] = {found_at(0, 0, 5, 5, 0, 0.5f)};
    must(detect_ap_add(ap, lost, 1, NULL, 0));
    must(detect_ap_score(ap, &s));
    same("no ground truth", s.ap, -1);
    same("no ground truth", s.voc, -1);
    const struct lam_box box = box_at(0, 0, 5, 5, 1);
    must(detect_ap_add(ap, NULL, 0, &box, 1));
    must(detect_ap_score(ap, &s));
    same("nothing found", s.ap, 0);
    same("nothing found", s.voc11, 0);
    same("nothing found", s.ar100, 0);
    assert_int_equal(s.images, 3);
    detect_scores_free(&s);
    detect_ap_destroy(ap);
}

/* One image in which the detections are judged as VOC does; `expected` is the area under the curve. */
static void voc_is(const struct detect_found *found, int count, const struct lam_box *boxes, int box_count,
                   double expected) {
    struct detect_ap *ap = create(1);
    struct detect_scores s = {0};
    must(detect_ap_add(ap, found, count, boxes, box_count));
    must(detect_ap_score(ap, &s));
    same("VOC", s.voc, expected);
    detect_scores_free(&s);
    detect_ap_destroy(ap);
}

static void voc_matching(void **state) {
    (void)state;
    struct lam_box boxes[] = {box_at(0, 0, 10, 10, 0), box_at(0, 2, 10, 12, 0)};
    const struct detect_found twice[] = {found_at(0, 0, 10, 10, 0, 0.9f), found_at(0, 0, 10, 10, 0, 0.8f),
                                         found_at(0, 2, 10, 12, 0, 0.7f)};
    /* The second one overlaps the second box by 2/3, but belongs to the first, which is taken. */
    voc_is(twice, 3, boxes, 2, (1 + 2.0 / 3) / 2);
    boxes[0].difficult = true; /* then it and its double count for nothing */
    voc_is(twice, 3, boxes, 2, 1);
    voc_is(twice, 2, boxes, 2, 0);
    boxes[1].difficult = true;
    voc_is(twice, 3, boxes, 2, -1);
    /* Of boxes that lie on each other it is the first one, here a difficult one. */
    boxes[1] = box_at(0, 0, 10, 10, 0);
    voc_is(twice, 1, boxes, 2, 0);
    /* Exactly one half is enough, with continuous coordinates: 5 of 10 columns. */
    const struct lam_box whole = box_at(0, 0, 10, 10, 0);
    const struct detect_found half = found_at(0, 0, 5, 10, 0, 0.5f),
                              less = found_at(0, 0, 4.9375f, 10, 0, 0.5f);
    voc_is(&half, 1, &whole, 1, 1);
    voc_is(&less, 1, &whole, 1, 0);
}

/* More than 100 detections of a class in an image: COCO leaves the rest out, VOC does not. */
static void many_detections(void **state) {
    (void)state;
    enum { COUNT = 130 };
    struct detect_found found[COUNT];
    for (int i = 0; i < COUNT; i++) found[i] = found_at(100, 100, 110, 110, 0, 1 - (float)i / COUNT);
    const struct lam_box box = box_at(0, 0, 10, 10, 0);
    const struct detect_found last = found_at(0, 0, 10, 10, 0, -1);
    for (int rank = 99; rank <= 100; rank++) {
        struct detect_ap *ap = create(1);
        struct detect_scores s = {0};
        struct detect_found kept = found[rank];
        memcpy(found[rank].corners, last.corners, sizeof kept.corners);
        must(detect_ap_add(ap, found, COUNT, &box, 1));
        must(detect_ap_score(ap, &s));
        same("COCO", s.ap50, rank < 100 ? 1.0 / (rank + 1) : 0);
        same("VOC", s.voc, 1.0 / (rank + 1));
        must(detect_ap_add(ap, &last, 1, &box, 1)); /* in another image, where it is the best */
        must(detect_ap_score(ap, &s));
        same("COCO", s.ap50, rank < 100 ? 2.0 / 101 : 51.0 / 101 / 101); /* after 99 wrong ones, or 100 */
        found[rank] = kept;
        detect_scores_free(&s);
        detect_ap_destroy(ap);
    }
}

/* ---- VOC against a slow reference: everything anew for each point of the curve ---- */

struct scene {
    int images, found_count[MOST], box_count[MOST];
    struct detect_found found[MOST][16];
    struct lam_box boxes[MOST][8];
};

static float between(struct lam_rng *rng, float low, float high) {
    return low + (high - low) * lam_rng_uniform(rng);
}

static void make_scene(struct scene *s, uint64_t seed, int images, int classes) {
    struct lam_rng rng = lam_rng_make(seed, LAM_RNG_INIT, 0, 0);
    s->images = images;
    for (int i = 0; i < images; i++) {
        s->box_count[i] = (int)(lam_rng_u32(&rng) % 9);
        s->found_count[i] = (int)(lam_rng_u32(&rng) % 17);
        for (int k = 0; k < s->box_count[i]; k++) {
            float x = between(&rng, 0, 60), y = between(&rng, 0, 60);
            s->boxes[i][k] = box_at(x, y, x + between(&rng, 10, 30), y + between(&rng, 10, 30),
                                    (int)(lam_rng_u32(&rng) % (uint32_t)classes));
            s->boxes[i][k].difficult = lam_rng_u32(&rng) % 5 == 0;
        }
        for (int k = 0; k < s->found_count[i]; k++) {
            struct lam_box b = box_at(20, 20, 40, 40, 0);
            if (s->box_count[i]) b = s->boxes[i][lam_rng_u32(&rng) % (uint32_t)s->box_count[i]];
            float dx = between(&rng, -5, 5), dy = between(&rng, -5, 5);
            s->found[i][k] = found_at(b.x0 + dx, b.y0 + dy, b.x1 + dx, b.y1 + dy,
                                      (int)(lam_rng_u32(&rng) % (uint32_t)classes), lam_rng_uniform(&rng));
        }
    }
}

static double reference_iou(const struct detect_found *d, const struct lam_box *b) {
    double left = fmax(d->corners[0], b->x0), right = fmin(d->corners[2], b->x1);
    double top = fmax(d->corners[1], b->y0), bottom = fmin(d->corners[3], b->y1);
    if (left >= right || top >= bottom) return 0;
    double shared = (right - left) * (bottom - top);
    double first = (double)(d->corners[2] - d->corners[0]) * (d->corners[3] - d->corners[1]);
    double second = (double)(b->x1 - b->x0) * (b->y1 - b->y0);
    return shared / (first + second - shared);
}

static int reference_choice(const struct scene *s, int image, const struct detect_found *d) {
    int best = -1;
    for (int k = 0; k < s->box_count[image]; k++)
        if (s->boxes[image][k].label == d->label && reference_iou(d, &s->boxes[image][k]) >= 0.5 &&
            (best < 0 || reference_iou(d, &s->boxes[image][k]) > reference_iou(d, &s->boxes[image][best])))
            best = k;
    return best;
}

/* Whether a better detection of the same image has the same box. */
static bool reference_second(const struct scene *s, int image, int k) {
    const struct detect_found *d = &s->found[image][k];
    for (int j = 0; j < s->found_count[image]; j++)
        if (s->found[image][j].label == d->label && s->found[image][j].score > d->score &&
            reference_choice(s, image, &s->found[image][j]) == reference_choice(s, image, d))
            return true;
    return false;
}

/* Recall and precision of what has at least this score. */
static void reference_point(const struct scene *s, int label, float score, double *recall,
                            double *precision) {
    int right = 0, wrong = 0, boxes = 0;
    for (int i = 0; i < s->images; i++) {
        for (int k = 0; k < s->box_count[i]; k++)
            boxes += s->boxes[i][k].label == label && !s->boxes[i][k].difficult;
        for (int k = 0; k < s->found_count[i]; k++) {
            if (s->found[i][k].label != label || s->found[i][k].score < score) continue;
            int box = reference_choice(s, i, &s->found[i][k]);
            if (box >= 0 && s->boxes[i][box].difficult) continue;
            bool good = box >= 0 && !reference_second(s, i, k);
            right += good;
            wrong += !good;
        }
    }
    *recall = (double)right / boxes;
    *precision = right + wrong ? (double)right / (right + wrong) : 0;
}

/* The curve has at most one point a detection; the area is summed up from right to left. */
static void reference_voc(const struct scene *s, int label, double *area, double *eleven) {
    static double recall[16 * MOST], precision[16 * MOST];
    int count = 0;
    for (int i = 0; i < s->images; i++)
        for (int k = 0; k < s->found_count[i]; k++)
            if (s->found[i][k].label == label) {
                reference_point(s, label, s->found[i][k].score, &recall[count], &precision[count]);
                count++;
            }
    *eleven = *area = 0;
    for (int t = 0; t <= 10; t++) {
        double most = 0;
        for (int i = 0; i < count; i++)
            if (recall[i] >= t / 10.0 - 1e-12 && precision[i] > most) most = precision[i];
        *eleven += most / 11;
    }
    for (double at = 1; at > 0;) { /* from one recall down to the next lower one */
        double next = 0, most = 0;
        for (int i = 0; i < count; i++) {
            if (recall[i] < at - 1e-12 && recall[i] > next) next = recall[i];
            if (recall[i] >= at - 1e-12 && precision[i] > most) most = precision[i];
        }
        *area += (at - next) * most;
        at = next;
    }
}

static void voc_reference(void **state) {
    (void)state;
    enum { CLASSES = 2 };
    static struct scene scene;
    for (uint64_t seed = 1; seed <= 3; seed++) {
        make_scene(&scene, seed, 25, CLASSES);
        struct detect_ap *ap = create(CLASSES);
        struct detect_scores s = {0};
        for (int i = 0; i < scene.images; i++)
            must(detect_ap_add(ap, scene.found[i], scene.found_count[i], scene.boxes[i], scene.box_count[i]));
        must(detect_ap_score(ap, &s));
        for (int label = 0; label < CLASSES; label++) {
            double area, eleven;
            reference_voc(&scene, label, &area, &eleven);
            assert_true(area > 0.05 && area < 0.95);
            same("area", s.of_class[label].voc, area);
            same("11 points", s.of_class[label].voc11, eleven);
        }
        detect_scores_free(&s);
        detect_ap_destroy(ap);
    }
}

/* ---- bad input ---- */

struct bad {
    lam_status status;
    const char *says;
    struct detect_found found;
    struct lam_box box;
};

static void bad_input(void **state) {
    (void)state;
    const struct lam_box good_box = box_at(0, 0, 10, 10, 1);
    const struct detect_found good = found_at(0, 0, 10, 10, 1, 0.5f);
    struct lam_box odd_area = good_box, negative_area = good_box;
    odd_area.area = NAN;
    negative_area.area = -1;
    const struct bad cases[] = {
        {LAM_ERR_NOT_FINITE, "detection 1: the score nan", found_at(0, 0, 10, 10, 1, NAN), good_box},
        {LAM_ERR_NOT_FINITE, "detection 1: the score inf", found_at(0, 0, 10, 10, 1, INFINITY), good_box},
        {LAM_ERR_NOT_FINITE, "detection 1: the box", found_at(0, NAN, 10, 10, 1, 0.5f), good_box},
        {LAM_ERR_NOT_FINITE, "detection 1: the box", found_at(0, 0, INFINITY, 10, 1, 0.5f), good_box},
        {LAM_ERR_INVALID, "detection 1: the box", found_at(0, 11, 10, 10, 1, 0.5f), good_box},
        {LAM_ERR_INVALID, "detection 1: label -1", found_at(0, 0, 10, 10, -1, 0.5f), good_box},
        {LAM_ERR_INVALID, "detection 1: label 2", found_at(0, 0, 10, 10, 2, 0.5f), good_box},
        {LAM_ERR_NOT_FINITE, "ground truth box 1", good, box_at(0, 0, 10, NAN, 1)},
        {LAM_ERR_INVALID, "ground truth box 1", good, box_at(11, 0, 10, 10, 1)},
        {LAM_ERR_INVALID, "ground truth box 1: label 2", good, box_at(0, 0, 10, 10, 2)},
        {LAM_ERR_NOT_FINITE, "ground truth box 1: the area", good, odd_area},
        {LAM_ERR_INVALID, "ground truth box 1: the area", good, negative_area},
    };
    struct detect_ap *ap = create(2), *none = NULL;
    struct detect_confusion *confusion = NULL, *no_confusion = NULL;
    must(detect_confusion_create(2, 0.1f, 0.5f, &confusion));
    must(detect_ap_add(ap, &good, 1, &good_box, 1));
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const struct detect_found found[] = {good, cases[i].found};
        const struct lam_box boxes[] = {good_box, cases[i].box};
        assert_int_equal(detect_ap_add(ap, found, 2, boxes, 2), cases[i].status);
        if (!strstr(lam_error_text(), cases[i].says))
            fail_msg("'%s' does not say '%s'", lam_error_text(), cases[i].says);
        assert_non_null(strstr(lam_error_text(), "image 1: "));
        assert_int_equal(detect_confusion_add(confusion, found, 2, boxes, 2), cases[i].status);
    }
    struct detect_scores s = {0};
    must(detect_ap_score(ap, &s));
    assert_int_equal(s.images, 1); /* what was refused has left nothing behind */
    assert_int_equal(s.boxes, 1);
    same("AP", s.ap, 1);
    for (int i = 0; i < 9; i++) assert_int_equal(detect_confusion_counts(confusion)[i], 0);
    assert_int_equal(detect_ap_create(0, &none), LAM_ERR_INVALID);
    assert_int_equal(detect_confusion_create(0, 0.1f, 0.5f, &no_confusion), LAM_ERR_INVALID);
    assert_int_equal(detect_confusion_create(2, 0.1f, 0, &no_confusion), LAM_ERR_INVALID);
    assert_int_equal(detect_confusion_create(2, 0.1f, NAN, &no_confusion), LAM_ERR_INVALID);
    /* Boxes without an area can never be found, and divide by nothing. */
    const struct detect_found point = found_at(3, 3, 3, 3, 0, 0.5f);
    const struct lam_box dot = box_at(3, 3, 3, 3, 0);
    must(detect_ap_add(ap, &point, 1, &dot, 1));
    must(detect_ap_score(ap, &s));
    same("AP", s.of_class[0].ap, 0);
    detect_scores_free(&s);
    detect_confusion_destroy(confusion);
    detect_ap_destroy(ap);
}

/* ---- files ---- */

static char folder[] = "/tmp/lamina-detection-XXXXXX";
static char cat[] = "cat", dog[] = "\"big\" dog", none[] = "none";
static char *const names[] = {cat, dog, none};

static int make_folder(void **state) {
    (void)state;
    return mkdtemp(folder) ? 0 : -1;
}

static int remove_folder(void **state) {
    (void)state;
    static const char *const files[] = {"precision_recall.csv", "precision_recall.png", "confusion.csv",
                                        "confusion.png"};
    for (int i = 0; i < 4; i++) {
        char *path = lam_path_join(folder, files[i]);
        unlink(path);
        free(path);
    }
    return rmdir(folder);
}

static void file_is(const char *name, const char *expected) {
    char *path = lam_path_join(folder, name);
    uint8_t *data;
    size_t size;
    must(lam_file_read(path, &data, &size));
    assert_string_equal((char *)data, expected);
    free(data);
    free(path);
}

static unsigned pixel(const struct lam_image *image, int x, int y) {
    const uint8_t *p = image->pixels + ((size_t)y * (size_t)image->width + (size_t)x) * 3;
    return (unsigned)p[0] << 16 | (unsigned)p[1] << 8 | p[2];
}

static int pixels_of(const struct lam_image *image, unsigned colour) {
    int count = 0;
    for (int y = 0; y < image->height; y++)
        for (int x = 0; x < image->width; x++) count += pixel(image, x, y) == colour;
    return count;
}

static void load_picture(const char *name, struct lam_image *image) {
    char *path = lam_path_join(folder, name);
    must(lam_image_load(path, LAM_IMAGE_RGB, image));
    free(path);
}

/* Cats: right, wrong, right of two; dogs: wrong, right of one. */
static void add_cats_and_dogs(struct detect_ap *ap) {
    const struct lam_box boxes[] = {box_at(0, 0, 10, 10, 0), box_at(50, 0, 60, 10, 0),
                                    box_at(80, 0, 90, 10, 1)};
    const struct detect_found found[] = {
        found_at(0, 0, 10, 10, 0, 1),      found_at(20, 20, 30, 30, 0, 0.75f),
        found_at(50, 0, 60, 10, 0, 0.5f),  found_at(20, 0, 30, 10, 1, 0.75f),
        found_at(80, 0, 90, 10, 1, 0.25f),
    };
    must(detect_ap_add(ap, found, 5, boxes, 3));
}

static void curve_files(void **state) {
    (void)state;
    struct detect_ap *ap = create(3);
    add_cats_and_dogs(ap);
    struct detect_curves curves = {0};
    must(detect_ap_curves(ap, &curves));
    struct detect_scores s = {0};
    must(detect_ap_score(ap, &s));
    assert_int_equal(curves.of_class[0].count, 2);
    assert_int_equal(curves.of_class[2].count, 0);
    same("AP50", curves.of_class[0].ap50, s.of_class[0].ap50);
    same("mean AP50", curves.ap50, s.ap50);
    double sum = 0;
    for (int i = 0; i < DETECT_RECALLS; i++) sum += curves.mean[i];
    same("area of the mean", sum / DETECT_RECALLS, s.ap50);
    must(detect_curves_write(&curves, names, folder));
    file_is("precision_recall.csv", "class,score,recall,precision,best_precision\n"
                                    "\"cat\",1,0.5,1,1\n"
                                    "\"cat\",0.5,1,0.666667,0.666667\n"
                                    "\"\"\"big\"\" dog\",0.25,1,0.5,0.5\n");
    struct lam_image image = {0};
    load_picture("precision_recall.png", &image);
    assert_true(image.width > 400 && image.height > 400);
    assert_true(pixels_of(&image, 0x1F77B4) > 200); /* the cats' line, and its mark in the legend */
    assert_true(pixels_of(&image, 0xFF7F0E) > 200);
    assert_int_equal(pixels_of(&image, 0x2CA02C), 0); /* a class without boxes has none */
    lam_image_free(&image);
    detect_curves_free(&curves);
    detect_scores_free(&s);
    detect_ap_destroy(ap);
}

/* Nothing to draw, and more classes than there are colours. */
static void curves_of_none_and_many(void **state) {
    (void)state;
    enum { CLASSES = 90 };
    char *many[CLASSES];
    for (int i = 0; i < CLASSES; i++) many[i] = cat;
    struct detect_ap *ap = create(CLASSES);
    struct detect_curves curves = {0};
    struct lam_image image = {0};
    must(detect_ap_curves(ap, &curves));
    same("none", curves.ap50, -1);
    must(detect_curves_draw(&curves, many, &image));
    for (int i = 0; i < CLASSES; i++) {
        const struct detect_found found = found_at(0, 0, 10, 10, i, 0.5f);
        const struct lam_box boxes[] = {box_at(0, 0, 10, 10, i), box_at(30, 0, 40, 10, i)};
        must(detect_ap_add(ap, &found, 1, boxes, 2));
    }
    must(detect_ap_curves(ap, &curves));
    must(detect_curves_draw(&curves, many, &image));
    assert_int_equal(pixels_of(&image, 0x1F77B4), 0);
    same("half of each is found", curves.ap50, 51.0 / 101);
    lam_image_free(&image);
    detect_curves_free(&curves);
    detect_ap_destroy(ap);
}

static void confusion_counts(void **state) {
    (void)state;
    struct detect_confusion *c = NULL;
    must(detect_confusion_create(3, 0.25f, 0.5f, &c));
    struct lam_box boxes[] = {box_at(0, 0, 10, 10, 0),  box_at(20, 0, 30, 10, 0), box_at(40, 0, 50, 10, 1),
                              box_at(60, 0, 90, 30, 1), box_at(0, 60, 10, 70, 2), box_at(20, 60, 30, 70, 2)};
    boxes[3].crowd = boxes[4].difficult = true;
    const struct detect_found found[] = {
        found_at(1, 0, 11, 10, 1, 0.5f),    /* overlaps the first box best of those left: a cat for a dog */
        found_at(20, 0, 30, 10, 0, 0.9f),   /* right */
        found_at(20, 0, 30, 10, 0, 0.8f),   /* again: background for a cat */
        found_at(40, 0, 50, 10, 1, 0.2f),   /* below conf: a dog for background */
        found_at(61, 1, 71, 11, 1, 0.9f),   /* in the crowd */
        found_at(0, 60, 10, 70, 0, 0.9f),   /* on the difficult one */
        found_at(90, 90, 99, 99, 2, 0.25f), /* at conf */
        found_at(0, 0, 10, 10, 0, 0.3f),    /* better, but later: the box is taken */
    };
    must(detect_confusion_add(c, found, 8, boxes, 6));
    const int64_t expected[16] = {1, 1, 0, 0, /* cats */
                                  0, 0, 0, 1, /* dogs */
                                  0, 0, 0, 1, /* the last box of the third */
                                  2, 0, 1, 0};
    for (int i = 0; i < 16; i++) assert_int_equal(detect_confusion_counts(c)[i], expected[i]);
    must(detect_confusion_write(c, names, folder));
    file_is("confusion.csv", "label\\predicted,\"cat\",\"\"\"big\"\" dog\",\"none\",\"background\"\n"
                             "\"cat\",1,1,0,0\n"
                             "\"\"\"big\"\" dog\",0,0,0,1\n"
                             "\"none\",0,0,0,1\n"
                             "\"background\",2,0,1,0\n");
    struct lam_image image = {0};
    load_picture("confusion.png", &image);
    assert_int_equal(pixel(&image, 111, 25), 0x93AEFF);               /* half of the row */
    assert_int_equal(pixel(&image, 111 + 3 * 36, 25 + 36), 0x285DFF); /* the whole row */
    assert_int_equal(pixel(&image, 111, 25 + 36), 0xFFFFFF);          /* none */
    lam_image_free(&image);
    detect_confusion_clear(c);
    for (int i = 0; i < 16; i++) assert_int_equal(detect_confusion_counts(c)[i], 0);
    detect_confusion_destroy(c);
}

static void table_and_json(void **state) {
    (void)state;
    struct detect_ap *ap = create(3);
    add_cats_and_dogs(ap);
    struct detect_scores s = {0};
    must(detect_ap_score(ap, &s));
    char *text = NULL;
    size_t size;
    FILE *table = open_memstream(&text, &size);
    detect_ap_print(&s, names, table);
    fclose(table);
    assert_string_equal(text, "class                     images   boxes    AP50      AP\n"
                              "cat                            1       2  0.8350  0.8350\n"
                              "\"big\" dog                      1       1  0.5000  0.5000\n"
                              "none                           0       0       -       -\n"
                              "all                            1       3  0.6675  0.6675\n");
    free(text);
    table = open_memstream(&text, &size);
    detect_ap_print_summary(&s, table);
    fclose(table);
    assert_true(strncmp(text, "COCO   AP  0.6675  AP50  0.6675  AP75", 37) == 0);
    assert_non_null(strstr(text, "large       -\n       AR1 "));
    assert_non_null(strstr(text, "\nVOC    all points"));
    free(text);
    json_t *json = detect_ap_json(&s, names), *classes = json_object_get(json, "classes");
    same("ap50", json_real_value(json_object_get(json, "ap50")), s.ap50);
    assert_true(json_is_null(json_object_get(json, "ap_large")));
    assert_int_equal(json_array_size(classes), 3);
    assert_string_equal(json_string_value(json_object_get(json_array_get(classes, 1), "class")), dog);
    same("voc", json_real_value(json_object_get(json_array_get(classes, 1), "voc")), 0.5);
    assert_true(json_is_null(json_object_get(json_array_get(classes, 2), "ap")));
    json_decref(json);
    detect_scores_free(&s);
    detect_ap_destroy(ap);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(golden_cases),     cmocka_unit_test(worked_out),
        cmocka_unit_test(empty_sets),       cmocka_unit_test(voc_matching),
        cmocka_unit_test(many_detections),  cmocka_unit_test(voc_reference),
        cmocka_unit_test(bad_input),        cmocka_unit_test(curve_files),
        cmocka_unit_test(confusion_counts), cmocka_unit_test(curves_of_none_and_many),
        cmocka_unit_test(table_and_json),
    };
    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
