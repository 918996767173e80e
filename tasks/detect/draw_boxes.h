/* Boxes drawn over a picture, each in its class's colour with its name and score.
 *
 *     detect_draw_boxes(&picture, found.items, found.count, names, classes);
 */
#ifndef LAM_TASKS_DETECT_DRAW_BOXES_H
#define LAM_TASKS_DETECT_DRAW_BOXES_H

#include "tasks/detect/decode.h"

/* On an RGB picture, the first ones on top. A score below 0 is not written (ground truth). `names` may be
 * NULL: then labels are written as numbers. What lies outside is left out. */
void detect_draw_boxes(struct lam_image *picture, const struct detect_found *boxes, int count,
                       char *const *names, int name_count);
uint32_t detect_class_colour(int label); /* 0xRRGGBB, the same in every picture */

#endif
