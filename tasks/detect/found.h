/* What a detector found in an image. */
#ifndef LAM_TASKS_DETECT_FOUND_H
#define LAM_TASKS_DETECT_FOUND_H

#include "data/dataset.h"

struct detect_found {
    float corners[4]; /* x0, y0, x1, y1 in pixels */
    float score;      /* 0..1; below 0: a ground truth, which has none */
    int label;
};

/* Refuses what no measure can be taken of: coordinates, scores or areas that are no finite numbers
 * (LAM_ERR_NOT_FINITE), boxes with x1 < x0 or y1 < y0 and labels outside of 0 .. classes - 1 (LAM_ERR_INVALID).
 * The text names the detection or the ground truth box by its number. */
lam_status detect_check_image(int classes, const struct detect_found *detections, int count,
                              const struct lam_box *truths, int truth_count);

/* Share of the intersection of a detection and a ground truth box in their union, or, for a crowd, in the
 * detection: that may be any part of a crowd. Coordinates are continuous: a box from 3 to 5 is 2 wide, not 3. */
double detect_overlap(const struct detect_found *detection, const struct lam_box *truth, bool crowd);

double detect_found_area(const struct detect_found *detection);

/* For sorting: the higher score first. 0 where they are equal. */
int detect_compare_scores(float a, float b);

#endif
