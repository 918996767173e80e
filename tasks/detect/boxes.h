/* Boxes: overlap, and the encoding that the network learns.
 *
 * A box is four numbers x0, y0, x1, y1 in pixels; the pixel in column i covers [i, i + 1). Pure functions.
 */
#ifndef LAM_TASKS_DETECT_BOXES_H
#define LAM_TASKS_DETECT_BOXES_H

#include "data/dataset.h"

static inline float detect_area(const float box[4]) {
    return (box[2] - box[0]) * (box[3] - box[1]);
}

/* Area that two boxes share; 0 when they are apart. */
static inline float detect_intersection(const float a[4], const float b[4]) {
    float width = (a[2] < b[2] ? a[2] : b[2]) - (a[0] > b[0] ? a[0] : b[0]);
    float height = (a[3] < b[3] ? a[3] : b[3]) - (a[1] > b[1] ? a[1] : b[1]);
    return width > 0 && height > 0 ? width * height : 0;
}

/* Intersection over union; 0 for boxes without area. */
static inline float detect_iou(const float a[4], const float b[4]) {
    float shared = detect_intersection(a, b);
    return shared > 0 ? shared / (detect_area(a) + detect_area(b) - shared) : 0;
}

/* Encoding (Ren et al. 2015, "Faster R-CNN", equation 2), relative to an anchor. */

/* Greatest log ratio of a decoded side to its anchor's: log(1000 / 16), as in the field. */
#define DETECT_MAX_LOG_RATIO 4.135166556742356f

void detect_encode(const float anchor[4], const float box[4], float delta[4]); /* dx, dy, dw, dh */
void detect_decode_box(const float anchor[4], const float delta[4], float box[4]);

/* Into [0, width] x [0, height]; false when nothing of it lies there. */
bool detect_clip(float box[4], float width, float height);

/* LAM_ERR_FORMAT, naming box `index`, when a corner is NaN or farther than a million pixels away, or when
 * nothing lies between the corners. */
lam_status detect_box_check(const struct lam_box *box, int64_t index);

#endif
