#include "tasks/detect/found.h"

#include <math.h>

static lam_status check_box(const float corner[4], int label, int classes, const char *what, int number) {
    for (int i = 0; i < 4; i++)
        if (!isfinite(corner[i]))
            return lam_fail(LAM_ERR_NOT_FINITE, "%s %d: the box %g, %g to %g, %g is not finite", what, number,
                            (double)corner[0], (double)corner[1], (double)corner[2], (double)corner[3]);
    if (corner[2] < corner[0] || corner[3] < corner[1])
        return lam_fail(LAM_ERR_INVALID, "%s %d: the box %g, %g to %g, %g ends before it begins", what,
                        number, (double)corner[0], (double)corner[1], (double)corner[2], (double)corner[3]);
    if (label < 0 || label >= classes)
        return lam_fail(LAM_ERR_INVALID, "%s %d: label %d is not one of the %d classes", what, number, label,
                        classes);
    return LAM_OK;
}

lam_status detect_check_image(int classes, const struct detect_found *detections, int count,
                              const struct lam_box *truths, int truth_count) {
    for (int i = 0; i < count; i++) {
        const struct detect_found *d = &detections[i];
        LAM_TRY(check_box(d->corners, d->label, classes, "detection", i));
        if (!isfinite(d->score))
            return lam_fail(LAM_ERR_NOT_FINITE, "detection %d: the score %g is not finite", i,
                            (double)d->score);
    }
    for (int i = 0; i < truth_count; i++) {
        const struct lam_box *t = &truths[i];
        LAM_TRY(check_box((float[]){t->x0, t->y0, t->x1, t->y1}, t->label, classes, "ground truth box", i));
        if (!isfinite(t->area))
            return lam_fail(LAM_ERR_NOT_FINITE, "ground truth box %d: the area %g is not finite", i,
                            (double)t->area);
        if (t->area < 0)
            return lam_fail(LAM_ERR_INVALID, "ground truth box %d: the area %g is negative", i,
                            (double)t->area);
    }
    return LAM_OK;
}

double detect_found_area(const struct detect_found *d) {
    return ((double)d->corners[2] - (double)d->corners[0]) * ((double)d->corners[3] - (double)d->corners[1]);
}

double detect_overlap(const struct detect_found *d, const struct lam_box *t, bool crowd) {
    double width = fmin((double)d->corners[2], (double)t->x1) - fmax((double)d->corners[0], (double)t->x0);
    double height = fmin((double)d->corners[3], (double)t->y1) - fmax((double)d->corners[1], (double)t->y0);
    if (width <= 0 || height <= 0) return 0;
    double both = width * height, own = detect_found_area(d);
    double other = ((double)t->x1 - (double)t->x0) * ((double)t->y1 - (double)t->y0);
    return both / (crowd ? own : own + other - both);
}

int detect_compare_scores(float a, float b) {
    return a > b ? -1 : a < b;
}
