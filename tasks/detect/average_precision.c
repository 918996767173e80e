/* Matching of detections to ground truth, image by image and class by class. What remains of a detection is
 * whether it was right, wrong or ignored, under each threshold and range of sizes. */
#include "tasks/detect/average_precision_internal.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* COCO's ranges of sizes, both ends included. */
static const double area_low[AREAS] = {0, 0, 32 * 32, 96 * 96},
                    area_high[AREAS] = {1e5 * 1e5, 32 * 32, 96 * 96, 1e5 * 1e5};

/* The image at hand. */
struct image_scratch {
    const struct detect_found *detections;
    const struct lam_box *truths;
    int *found, *boxes; /* numbers of detections and truths, by label; detections then by score */
    /* Of the class at hand: */
    double *overlaps; /* [detection][box] */
    int *order;       /* boxes, those that are ignored last */
    bool *ignored, *taken;
    struct {
        size_t found, boxes, overlaps;
    } capacity;
};

/* Those of one class in `found` and `boxes`. */
struct group {
    int label;
    const int *found, *boxes;
    int count, box_count;
};

/* ---- room ---- */

/* An array, given by the address of its pointer, gets room for `count`. */
static lam_status grow(void *array_pointer, size_t count, size_t size) {
    void *array, *larger;
    memcpy(&array, array_pointer, sizeof array);
    if (count > SIZE_MAX / size || !(larger = realloc(array, count * size))) return lam_no_memory();
    memcpy(array_pointer, &larger, sizeof larger);
    return LAM_OK;
}

static lam_status reserve_image(struct image_scratch *s, size_t count, size_t boxes) {
    if (count > s->capacity.found) {
        LAM_TRY(grow(&s->found, count, sizeof *s->found));
        s->capacity.found = count;
    }
    if (boxes > s->capacity.boxes) {
        LAM_TRY(grow(&s->boxes, boxes, sizeof *s->boxes));
        LAM_TRY(grow(&s->order, boxes, sizeof *s->order));
        LAM_TRY(grow(&s->ignored, boxes, sizeof *s->ignored));
        LAM_TRY(grow(&s->taken, boxes, sizeof *s->taken));
        s->capacity.boxes = boxes;
    }
    return LAM_OK;
}

static lam_status reserve_group(struct detect_ap *ap, const struct group *g) {
    struct image_scratch *s = ap->scratch;
    struct class_record *record = &ap->of_class[g->label];
    size_t overlaps = (size_t)g->count * (size_t)g->box_count;
    if (overlaps > s->capacity.overlaps) {
        LAM_TRY(grow(&s->overlaps, overlaps, sizeof *s->overlaps));
        s->capacity.overlaps = overlaps;
    }
    int64_t count = record->count + g->count;
    if (count <= record->capacity) return LAM_OK;
    if (count > UINT32_MAX)
        return lam_fail(LAM_ERR_UNSUPPORTED, "more than %u detections of class %d", UINT32_MAX, g->label);
    int64_t capacity = count < 32 ? 32 : count + count / 2;
    LAM_TRY(grow(&record->judged, (size_t)capacity, sizeof *record->judged));
    record->capacity = capacity;
    return LAM_OK;
}

/* ---- creation ---- */

lam_status detect_ap_create(int classes, struct detect_ap **created) {
    if (classes < 1) return lam_fail(LAM_ERR_INVALID, "average precision of %d classes", classes);
    struct detect_ap *ap = calloc(1, sizeof *ap);
    if (!ap) return lam_no_memory();
    ap->classes = classes;
    ap->of_class = calloc((size_t)classes, sizeof *ap->of_class);
    ap->scratch = calloc(1, sizeof *ap->scratch);
    lam_status status = ap->of_class && ap->scratch ? reserve_image(ap->scratch, 100, 16) : lam_no_memory();
    if (status != LAM_OK) {
        detect_ap_destroy(ap);
        return status;
    }
    *created = ap;
    return LAM_OK;
}

void detect_ap_clear(struct detect_ap *ap) {
    for (int i = 0; i < ap->classes; i++) {
        free(ap->of_class[i].judged);
        ap->of_class[i] = (struct class_record){0};
    }
    ap->images = 0;
}

void detect_ap_destroy(struct detect_ap *ap) {
    if (!ap) return;
    if (ap->of_class) detect_ap_clear(ap);
    if (ap->scratch) {
        free(ap->scratch->found);
        free(ap->scratch->boxes);
        free(ap->scratch->overlaps);
        free(ap->scratch->order);
        free(ap->scratch->ignored);
        free(ap->scratch->taken);
    }
    free(ap->scratch);
    free(ap->of_class);
    free(ap);
}

/* ---- order ---- */

static int compare_found(const void *a, const void *b, void *context) {
    const struct detect_found *detections = context;
    int i = *(const int *)a, j = *(const int *)b;
    const struct detect_found *one = &detections[i], *two = &detections[j];
    if (one->label != two->label) return one->label < two->label ? -1 : 1;
    int by_score = detect_compare_scores(one->score, two->score);
    return by_score ? by_score : i - j;
}

static int compare_boxes(const void *a, const void *b, void *context) {
    const struct lam_box *truths = context;
    int i = *(const int *)a, j = *(const int *)b;
    if (truths[i].label != truths[j].label) return truths[i].label < truths[j].label ? -1 : 1;
    return i - j;
}

static void sort_image(struct image_scratch *s, int count, int box_count) {
    for (int i = 0; i < count; i++) s->found[i] = i;
    for (int i = 0; i < box_count; i++) s->boxes[i] = i;
    if (count) qsort_r(s->found, (size_t)count, sizeof *s->found, compare_found, (void *)s->detections);
    if (box_count) qsort_r(s->boxes, (size_t)box_count, sizeof *s->boxes, compare_boxes, (void *)s->truths);
}

/* Takes the class of the lowest label off the front of what is left; false at the end. */
static bool next_group(const struct image_scratch *s, struct group *left, struct group *g) {
    if (left->count == 0 && left->box_count == 0) return false;
    int label = left->count ? s->detections[left->found[0]].label : INT32_MAX;
    if (left->box_count && s->truths[left->boxes[0]].label < label) label = s->truths[left->boxes[0]].label;
    *g = (struct group){.label = label, .found = left->found, .boxes = left->boxes};
    while (g->count < left->count && s->detections[g->found[g->count]].label == label) g->count++;
    while (g->box_count < left->box_count && s->truths[g->boxes[g->box_count]].label == label) g->box_count++;
    left->found += g->count;
    left->count -= g->count;
    left->boxes += g->box_count;
    left->box_count -= g->box_count;
    return true;
}

/* ---- COCO's matching ---- */

static bool is_outside(double area, int range) {
    return area < area_low[range] || area > area_high[range];
}

static double truth_area(const struct lam_box *t) {
    return t->area > 0 ? (double)t->area : ((double)t->x1 - (double)t->x0) * ((double)t->y1 - (double)t->y0);
}

/* Which boxes are ignored in this range, and the order in which they are tried. Returns how many count. */
static int order_boxes(struct image_scratch *s, const struct group *g, int range) {
    int counted = 0, last = g->box_count;
    for (int i = 0; i < g->box_count; i++) {
        const struct lam_box *t = &s->truths[g->boxes[i]];
        s->ignored[i] = t->crowd || t->difficult || is_outside(truth_area(t), range);
        if (!s->ignored[i]) s->order[counted++] = i;
    }
    for (int i = g->box_count - 1; i >= 0; i--)
        if (s->ignored[i]) s->order[--last] = i;
    return counted;
}

/* The box that a detection takes at a threshold, -1 if none. One that counts goes before all that are ignored,
 * and of two that overlap alike the later one is taken: so does pycocotools. */
static int best_box(const struct image_scratch *s, const struct group *g, int detection, double threshold) {
    size_t row = (size_t)detection * (size_t)g->box_count;
    double least = fmin(threshold, 1 - 1e-10);
    int best = -1;
    for (int k = 0; k < g->box_count; k++) {
        int i = s->order[k];
        if (s->taken[i] && !s->truths[g->boxes[i]].crowd) continue;
        if (best >= 0 && !s->ignored[best] && s->ignored[i]) break;
        if (s->overlaps[row + (size_t)i] < least) continue;
        least = s->overlaps[row + (size_t)i];
        best = i;
    }
    return best;
}

static void match_coco(struct image_scratch *s, const struct group *g, int range, struct judged *judged) {
    int count = g->count < MOST_DETECTIONS ? g->count : MOST_DETECTIONS;
    for (int t = 0; t < THRESHOLDS; t++) {
        double threshold = t == THRESHOLDS - 1 ? 0.95 : 0.5 + t * ((0.95 - 0.5) / (THRESHOLDS - 1));
        uint16_t bit = (uint16_t)(1 << t);
        memset(s->taken, 0, (size_t)g->box_count * sizeof *s->taken);
        for (int i = 0; i < count; i++) {
            int box = best_box(s, g, i, threshold);
            if (box >= 0) s->taken[box] = true;
            bool ignored = box >= 0 ? s->ignored[box]
                                    : is_outside(detect_found_area(&s->detections[g->found[i]]), range);
            if (ignored)
                judged[i].ignored[range] |= bit;
            else if (box >= 0)
                judged[i].right[range] |= bit;
        }
    }
}

/* ---- VOC's matching ---- */

static bool counts(const struct lam_box *truth) {
    return !truth->difficult && !truth->crowd;
}

static enum outcome judge_voc(struct image_scratch *s, const struct group *g,
                              const struct detect_found *detection) {
    double most = 0;
    int best = -1;
    for (int i = 0; i < g->box_count; i++) {
        double overlap = detect_overlap(detection, &s->truths[g->boxes[i]], false);
        if (overlap <= most) continue;
        most = overlap;
        best = i;
    }
    if (most < 0.5) return OUTCOME_WRONG;
    if (!counts(&s->truths[g->boxes[best]])) return OUTCOME_IGNORED;
    if (s->taken[best]) return OUTCOME_WRONG;
    s->taken[best] = true;
    return OUTCOME_RIGHT;
}

static void match_voc(struct image_scratch *s, const struct group *g, struct judged *judged) {
    memset(s->taken, 0, (size_t)g->box_count * sizeof *s->taken);
    for (int i = 0; i < g->count; i++) judged[i].voc = (uint8_t)judge_voc(s, g, &s->detections[g->found[i]]);
}

/* ---- an image ---- */

static void fill_overlaps(struct image_scratch *s, const struct group *g) {
    for (int i = 0; i < g->count && i < MOST_DETECTIONS; i++)
        for (int j = 0; j < g->box_count; j++) {
            const struct lam_box *t = &s->truths[g->boxes[j]];
            s->overlaps[(size_t)i * (size_t)g->box_count + (size_t)j] =
                detect_overlap(&s->detections[g->found[i]], t, t->crowd);
        }
}

static void add_group(struct detect_ap *ap, const struct group *g) {
    struct image_scratch *s = ap->scratch;
    struct class_record *record = &ap->of_class[g->label];
    struct judged *judged = g->count ? record->judged + record->count : NULL;
    for (int i = 0; i < g->count; i++)
        judged[i] = (struct judged){.score = s->detections[g->found[i]].score,
                                    .place = (uint32_t)(record->count + i),
                                    .rank = (uint8_t)(i < MOST_DETECTIONS ? i : MOST_DETECTIONS)};
    fill_overlaps(s, g);
    for (int range = 0; range < AREAS; range++) {
        int counted = order_boxes(s, g, range);
        record->boxes[range] += counted;
        if (g->count) match_coco(s, g, range, judged);
    }
    int voc_boxes = 0;
    for (int i = 0; i < g->box_count; i++) voc_boxes += counts(&s->truths[g->boxes[i]]);
    record->voc_boxes += voc_boxes;
    record->images += voc_boxes > 0;
    if (g->count) match_voc(s, g, judged);
    record->count += g->count;
    record->sorted = record->sorted && !g->count;
}

lam_status detect_ap_add(struct detect_ap *ap, const struct detect_found *detections, int count,
                         const struct lam_box *truths, int truth_count) {
    struct image_scratch *s = ap->scratch;
    lam_status status = detect_check_image(ap->classes, detections, count, truths, truth_count);
    if (status != LAM_OK) {
        char image[32];
        snprintf(image, sizeof image, "image %lld", (long long)ap->images);
        return lam_fail_in(status, image);
    }
    LAM_TRY(reserve_image(s, (size_t)count, (size_t)truth_count));
    s->detections = detections;
    s->truths = truths;
    sort_image(s, count, truth_count);
    const struct group all = {.found = s->found, .boxes = s->boxes, .count = count, .box_count = truth_count};
    struct group g, left = all;
    while (next_group(s, &left, &g)) LAM_TRY(reserve_group(ap, &g));
    left = all;
    while (next_group(s, &left, &g)) add_group(ap, &g);
    ap->images++;
    return LAM_OK;
}
