/* From judged detections to numbers: sorted by score over the whole set, they give precision and recall. */
#include "tasks/detect/average_precision_internal.h"

#include <float.h>
#include <stdlib.h>

/* Precision where recall grows: value[k] is the highest precision at recall (k + 1) / boxes or above. */
struct envelope {
    double *value;
    int64_t count, boxes;
};

static int compare_judged(const void *a, const void *b) {
    const struct judged *one = a, *two = b;
    int by_score = detect_compare_scores(one->score, two->score);
    return by_score ? by_score : one->place < two->place ? -1 : one->place > two->place;
}

static void sort_record(struct class_record *r) {
    if (!r->sorted && r->count) qsort(r->judged, (size_t)r->count, sizeof *r->judged, compare_judged);
    r->sorted = true;
}

static enum outcome coco_outcome(const struct judged *j, int range, int threshold) {
    if (j->rank == MOST_DETECTIONS || j->ignored[range] >> threshold & 1) return OUTCOME_IGNORED;
    return j->right[range] >> threshold & 1 ? OUTCOME_RIGHT : OUTCOME_WRONG;
}

/* A walk from the highest score down. */
struct walk {
    int64_t right, wrong;
};

/* True if this one is right: there recall grows. */
static bool step(struct walk *w, enum outcome outcome) {
    w->right += outcome == OUTCOME_RIGHT;
    w->wrong += outcome == OUTCOME_WRONG;
    return outcome == OUTCOME_RIGHT;
}

/* The last term is pycocotools'. */
static double precision_of(const struct walk *w) {
    return (double)w->right / ((double)(w->right + w->wrong) + DBL_EPSILON);
}

static void keep_highest(struct envelope *e) {
    for (int64_t k = e->count - 1; k > 0; k--)
        if (e->value[k] > e->value[k - 1]) e->value[k - 1] = e->value[k];
}

static void fill_coco(const struct class_record *r, int range, int threshold, struct envelope *e) {
    struct walk walk = {0};
    e->count = 0;
    e->boxes = r->boxes[range];
    for (int64_t i = 0; i < r->count; i++)
        if (step(&walk, coco_outcome(&r->judged[i], range, threshold)))
            e->value[e->count++] = precision_of(&walk);
    keep_highest(e);
}

static void fill_voc(const struct class_record *r, struct envelope *e) {
    struct walk walk = {0};
    e->count = 0;
    e->boxes = r->voc_boxes;
    for (int64_t i = 0; i < r->count; i++)
        if (step(&walk, (enum outcome)r->judged[i].voc)) e->value[e->count++] = precision_of(&walk);
    keep_highest(e);
}

/* ---- areas under the curve; -1 without boxes ---- */

/* Precision at each of COCO's points of recall. */
static void sample_coco(const struct envelope *e, double at[DETECT_RECALLS]) {
    int64_t k = 0;
    for (int i = 0; i < DETECT_RECALLS; i++) {
        double recall = i == DETECT_RECALLS - 1 ? 1 : i * 0.01;
        while (k < e->count && (double)(k + 1) / (double)e->boxes < recall) k++;
        at[i] = k < e->count ? e->value[k] : 0;
    }
}

static double area_coco(const struct envelope *e) {
    if (e->boxes == 0) return -1;
    double at[DETECT_RECALLS], sum = 0;
    sample_coco(e, at);
    for (int i = 0; i < DETECT_RECALLS; i++) sum += at[i];
    return sum / DETECT_RECALLS;
}

static double area_voc(const struct envelope *e) {
    if (e->boxes == 0) return -1;
    double sum = 0;
    for (int64_t k = 0; k < e->count; k++) sum += e->value[k];
    return sum / (double)e->boxes;
}

/* Recall 0, .1, ... 1, compared in whole numbers: .3 is reached with 3 of 10. */
static double area_voc11(const struct envelope *e) {
    if (e->boxes == 0) return -1;
    double sum = 0;
    for (int i = 0; i <= 10; i++) {
        int64_t needed = (i * e->boxes + 9) / 10, k = needed > 0 ? needed - 1 : 0;
        if (k < e->count) sum += e->value[k];
    }
    return sum / 11;
}

/* Share of the boxes that the `most` best detections of each image find, mean over thresholds. */
static double mean_recall(const struct class_record *r, int range, int most) {
    if (r->boxes[range] == 0) return -1;
    int64_t right = 0;
    for (int64_t i = 0; i < r->count; i++)
        if (r->judged[i].rank < most) right += __builtin_popcount(r->judged[i].right[range]);
    return (double)right / (double)r->boxes[range] / THRESHOLDS;
}

/* ---- means over classes ---- */

struct mean {
    double sum;
    int count;
};

static void include(struct mean *m, double value) {
    if (value < 0) return;
    m->sum += value;
    m->count++;
}

static double value_of(const struct mean *m) {
    return m->count ? m->sum / m->count : -1;
}

/* Everything that is a mean over classes, one class being included. */
struct means {
    struct mean ap[AREAS], ap50, ap75, ar1, ar10, ar[AREAS], voc, voc11;
};

static double area_over_thresholds(const struct class_record *r, int range, struct envelope *e) {
    struct mean mean = {0};
    for (int t = 0; t < THRESHOLDS; t++) {
        fill_coco(r, range, t, e);
        include(&mean, area_coco(e));
    }
    return value_of(&mean);
}

static void score_class(const struct class_record *r, struct envelope *e, struct detect_class_score *score) {
    enum { AT_50 = 0, AT_75 = 5 };
    *score = (struct detect_class_score){.images = r->images,
                                         .boxes = r->voc_boxes,
                                         .detections = r->count,
                                         .ap = area_over_thresholds(r, AREA_ALL, e)};
    fill_coco(r, AREA_ALL, AT_50, e);
    score->ap50 = area_coco(e);
    fill_coco(r, AREA_ALL, AT_75, e);
    score->ap75 = area_coco(e);
    fill_voc(r, e);
    score->voc = area_voc(e);
    score->voc11 = area_voc11(e);
}

static void include_class(struct means *m, const struct class_record *r,
                          const struct detect_class_score *score, struct envelope *e) {
    include(&m->ap[AREA_ALL], score->ap);
    for (int range = AREA_SMALL; range < AREAS; range++)
        include(&m->ap[range], area_over_thresholds(r, range, e));
    for (int range = 0; range < AREAS; range++)
        include(&m->ar[range], mean_recall(r, range, MOST_DETECTIONS));
    include(&m->ar1, mean_recall(r, AREA_ALL, 1));
    include(&m->ar10, mean_recall(r, AREA_ALL, 10));
    include(&m->ap50, score->ap50);
    include(&m->ap75, score->ap75);
    include(&m->voc, score->voc);
    include(&m->voc11, score->voc11);
}

static void set_means(struct detect_scores *s, const struct means *m) {
    s->ap = value_of(&m->ap[AREA_ALL]);
    s->ap50 = value_of(&m->ap50);
    s->ap75 = value_of(&m->ap75);
    s->ap_small = value_of(&m->ap[AREA_SMALL]);
    s->ap_medium = value_of(&m->ap[AREA_MEDIUM]);
    s->ap_large = value_of(&m->ap[AREA_LARGE]);
    s->ar1 = value_of(&m->ar1);
    s->ar10 = value_of(&m->ar10);
    s->ar100 = value_of(&m->ar[AREA_ALL]);
    s->ar_small = value_of(&m->ar[AREA_SMALL]);
    s->ar_medium = value_of(&m->ar[AREA_MEDIUM]);
    s->ar_large = value_of(&m->ar[AREA_LARGE]);
    s->voc = value_of(&m->voc);
    s->voc11 = value_of(&m->voc11);
}

/* Room for the curve of any class: as many points as it has detections. */
static lam_status open_envelope(const struct detect_ap *ap, struct envelope *e) {
    int64_t most = 1;
    for (int i = 0; i < ap->classes; i++)
        if (ap->of_class[i].count > most) most = ap->of_class[i].count;
    e->value = malloc((size_t)most * sizeof *e->value);
    return e->value ? LAM_OK : lam_no_memory();
}

lam_status detect_ap_score(struct detect_ap *ap, struct detect_scores *scores) {
    struct detect_scores made = {.images = ap->images, .classes = ap->classes};
    struct envelope envelope;
    LAM_TRY(open_envelope(ap, &envelope));
    made.of_class = calloc((size_t)ap->classes, sizeof *made.of_class);
    if (!made.of_class) {
        free(envelope.value);
        return lam_no_memory();
    }
    struct means means = {0};
    for (int i = 0; i < ap->classes; i++) {
        struct class_record *r = &ap->of_class[i];
        sort_record(r);
        score_class(r, &envelope, &made.of_class[i]);
        include_class(&means, r, &made.of_class[i], &envelope);
        made.boxes += made.of_class[i].boxes;
        made.detections += r->count;
    }
    set_means(&made, &means);
    free(envelope.value);
    detect_scores_free(scores);
    *scores = made;
    return LAM_OK;
}

void detect_scores_free(struct detect_scores *scores) {
    free(scores->of_class);
    *scores = (struct detect_scores){0};
}

/* ---- curves ---- */

static lam_status make_curve(const struct class_record *r, struct envelope *e, struct detect_curve *curve) {
    fill_coco(r, AREA_ALL, 0, e);
    *curve = (struct detect_curve){.boxes = e->boxes, .ap50 = area_coco(e), .count = e->count};
    if (e->count == 0) return LAM_OK;
    curve->points = malloc((size_t)e->count * sizeof *curve->points);
    if (!curve->points) return lam_no_memory();
    struct walk walk = {0};
    int64_t k = 0;
    for (int64_t i = 0; i < r->count; i++)
        if (step(&walk, coco_outcome(&r->judged[i], AREA_ALL, 0))) {
            curve->points[k] = (struct detect_curve_point){.score = r->judged[i].score,
                                                           .recall = (double)walk.right / (double)e->boxes,
                                                           .precision = precision_of(&walk),
                                                           .best = e->value[k]};
            k++;
        }
    return LAM_OK;
}

lam_status detect_ap_curves(struct detect_ap *ap, struct detect_curves *curves) {
    struct detect_curves made = {.classes = ap->classes};
    struct envelope envelope;
    LAM_TRY(open_envelope(ap, &envelope));
    made.of_class = calloc((size_t)ap->classes, sizeof *made.of_class);
    lam_status status = made.of_class ? LAM_OK : lam_no_memory();
    struct mean ap50 = {0};
    for (int i = 0; status == LAM_OK && i < ap->classes; i++) {
        sort_record(&ap->of_class[i]);
        status = make_curve(&ap->of_class[i], &envelope, &made.of_class[i]);
        if (status != LAM_OK || envelope.boxes == 0) continue;
        double at[DETECT_RECALLS];
        sample_coco(&envelope, at);
        for (int k = 0; k < DETECT_RECALLS; k++) made.mean[k] += at[k];
        include(&ap50, made.of_class[i].ap50);
    }
    free(envelope.value);
    for (int k = 0; k < DETECT_RECALLS && ap50.count; k++) made.mean[k] /= ap50.count;
    made.ap50 = value_of(&ap50);
    detect_curves_free(status == LAM_OK ? curves : &made);
    if (status == LAM_OK) *curves = made;
    return status;
}

void detect_curves_free(struct detect_curves *curves) {
    for (int i = 0; curves->of_class && i < curves->classes; i++) free(curves->of_class[i].points);
    free(curves->of_class);
    *curves = (struct detect_curves){0};
}
