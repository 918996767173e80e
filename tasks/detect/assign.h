/* What the network should say at each anchor: targets of a fixed shape for the objects of one image.
 *
 *     struct detect_targets targets = {classes, deltas, corners, weights, &normaliser};
 *     struct detect_assign_options options = DETECT_ASSIGN_DEFAULTS;
 *     LAM_TRY(detect_assign(&options, &anchors, class_count, boxes.items, boxes.count, &targets));
 *
 * An anchor takes the box that it overlaps best (the first of equal ones). It is positive from an IoU of
 * `positive` on, background below `negative`, and ignored between. With force_best the anchor that overlaps
 * a box best (the first of equal ones) is positive for that box however little that is; where several boxes
 * have the same best anchor, the one that overlaps it most gets it. Crowds and difficult boxes are no
 * targets: anchors that lie in one by half of their area (so also all that overlap it by an IoU of one half)
 * are ignored unless they are positive.
 *
 * Only anchors near a box are looked at, so the time is that of writing the targets and a few microseconds a
 * box. No state, no memory of its own: any thread.
 */
#ifndef LAM_TASKS_DETECT_ASSIGN_H
#define LAM_TASKS_DETECT_ASSIGN_H

#include "tasks/detect/anchors.h"

enum { DETECT_BACKGROUND = -1, DETECT_IGNORED = -2 };

struct detect_assign_options {
    float positive, negative; /* IoU; 0 < negative <= positive <= 1 */
    bool force_best;
};
#define DETECT_ASSIGN_DEFAULTS                                                                               \
    { .positive = 0.5f, .negative = 0.4f, .force_best = true }

/* One image's; A = anchors->count. What does not belong to a positive anchor is 0. */
struct detect_targets {
    int32_t *classes;  /* [A]: class of a positive anchor, DETECT_BACKGROUND or DETECT_IGNORED */
    float *deltas;     /* [A][4]: detect_encode of the box; or NULL */
    float *corners;    /* [A][4]: the box itself, for losses on boxes; or NULL */
    float *weights;    /* [A]: of the box losses: 1 / max(1, positives) */
    float *normaliser; /* [1]: of the class losses: 1 / max(1, positives) */
};

/* Boxes are in the input's pixels. LAM_ERR_FORMAT as detect_box_check, or for a label that is not below
 * `classes`; the targets are then as they were. */
lam_status detect_assign(const struct detect_assign_options *options, const struct detect_anchors *anchors,
                         int classes, const struct lam_box *boxes, int count,
                         const struct detect_targets *targets);

#endif
