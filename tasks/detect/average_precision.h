/* Average precision of a detector: COCO's (Lin et al., arXiv 1405.0312, as pycocotools computes it for boxes)
 * and PASCAL VOC's (Everingham et al. 2010), precision and recall by class.
 *
 *     struct detect_ap *ap;
 *     LAM_TRY(detect_ap_create(classes, &ap));
 *     for each image:
 *         LAM_TRY(detect_ap_add(ap, detections, count, boxes, box_count));
 *     struct detect_scores scores = {0};
 *     LAM_TRY(detect_ap_score(ap, &scores));
 *     ... scores.ap, scores.ap50, scores.of_class[label].ap ...
 *     detect_ap_print(&scores, names, stdout);
 *     detect_scores_free(&scores);
 *     detect_ap_clear(ap);                 // for the next evaluation
 *     detect_ap_destroy(ap);
 *
 * An image's detections are matched when it is added, so what is kept is a few bytes for each of them.
 * Detections and boxes of an image must be in the same coordinates; COCO's sizes are meant in pixels of the
 * image itself. Where scores are equal, detections come in the order in which they were added: images in the
 * order of their ids give pycocotools' result.
 *
 * A number is -1 where there is nothing that it could be measured on: a class without ground truth, or without
 * any of that size. Such classes are left out of means.
 *
 * COCO: at ten thresholds of IoU, .50 to .95, each detection from the highest score down takes the free ground
 * truth box that it overlaps most. The area under the curve is a mean over 101 points of recall. The 100 best
 * detections of a class and an image count. Crowds, difficult boxes and what is outside of a range of sizes are
 * ignored: to find them is neither right nor wrong.
 *
 * VOC: at IoU .5 each detection, however many, belongs to the box that it overlaps most; where another one has
 * taken that, it is wrong. Difficult boxes (and crowds, which VOC does not have) are ignored. Coordinates are continuous:
 * nothing is added to the width of a box, which VOC's own program does with its whole pixels.
 */
#ifndef LAM_TASKS_DETECT_AVERAGE_PRECISION_H
#define LAM_TASKS_DETECT_AVERAGE_PRECISION_H

#include <jansson.h>
#include <stdio.h>

#include "tasks/detect/found.h"

struct detect_ap;

lam_status detect_ap_create(int classes, struct detect_ap **ap);
void detect_ap_destroy(struct detect_ap *ap);
void detect_ap_clear(struct detect_ap *ap); /* as it was created */

/* One image, with any number of detections, in any order, and of boxes. Refuses what detect_check_image refuses; then
 * the image has not been added. The text says which image it is, counted from 0. */
lam_status detect_ap_add(struct detect_ap *ap, const struct detect_found *detections, int count,
                         const struct lam_box *truths, int truth_count);

struct detect_class_score {
    int64_t images, boxes; /* ground truth: boxes that count, and images that have one */
    int64_t detections;
    double ap, ap50, ap75; /* COCO */
    double voc, voc11;     /* VOC: area under the whole curve; mean over 11 points of recall (2007) */
};

struct detect_scores {
    /* COCO's summary. ap: over all thresholds; small: below 32 x 32 pixels, large: above 96 x 96;
     * ar1: mean recall of the best detection of each class in an image, and so on. */
    double ap, ap50, ap75, ap_small, ap_medium, ap_large;
    double ar1, ar10, ar100, ar_small, ar_medium, ar_large;
    double voc, voc11; /* VOC: means over classes */
    int64_t images, boxes, detections;
    int classes;
    struct detect_class_score *of_class; /* owned */
};

/* What the images so far come to; more may be added. Takes over what *scores held, {0} at first. */
lam_status detect_ap_score(struct detect_ap *ap, struct detect_scores *scores);
void detect_scores_free(struct detect_scores *scores);

/* A table for people: a row a class, and one for all. */
void detect_ap_print(const struct detect_scores *scores, char *const *names, FILE *to);
/* COCO's twelve numbers in two lines, VOC's two in one. */
void detect_ap_print_summary(const struct detect_scores *scores, FILE *to);
/* All numbers; null where there is none. NULL when out of memory or a name is not UTF-8. */
json_t *detect_ap_json(const struct detect_scores *scores, char *const *names);

/* Precision against recall at IoU .5 (COCO's matching, all sizes), a point for each right detection, from the
 * highest score down: where recall grows. */
struct detect_curve_point {
    float score;
    double recall, precision;
    double best; /* the highest precision at this recall or above: what average precision is the area of */
};

enum { DETECT_RECALLS = 101 };

struct detect_curve {
    int64_t boxes; /* of ground truth; 0: there is no curve */
    double ap50;
    int64_t count;
    struct detect_curve_point *points;
};

struct detect_curves {
    int classes;
    struct detect_curve *of_class; /* owned, as are their points */
    double ap50;                   /* mean over classes, -1 if none has a box */
    double mean[DETECT_RECALLS];   /* mean over classes of `best` at recall i / 100 */
};

lam_status detect_ap_curves(struct detect_ap *ap, struct detect_curves *curves);
void detect_curves_free(struct detect_curves *curves);

#endif
