/* Which class is taken for which: a confusion matrix of detections, with the background as one class more.
 *
 *     struct detect_confusion *confusion;
 *     LAM_TRY(detect_confusion_create(classes, 0.25f, 0.5f, &confusion));
 *     for each image:
 *         LAM_TRY(detect_confusion_add(confusion, detections, count, boxes, box_count));
 *     LAM_TRY(detect_confusion_write(confusion, names, folder));      // confusion.csv, confusion.png
 *     detect_confusion_destroy(confusion);
 *
 * Of an image's detections with at least `conf` as score, from the highest down, each takes the free ground truth
 * box that it overlaps most, by an IoU of at least `iou`, whatever the classes; counts[label of the box][label of the detection]
 * grows. A box that no detection took was taken for background; a detection without a box took background for an
 * object, unless it lies in a crowd or on a difficult box. Those are counted nowhere.
 */
#ifndef LAM_TASKS_DETECT_CONFUSION_H
#define LAM_TASKS_DETECT_CONFUSION_H

#include "tasks/detect/found.h"

struct detect_confusion;

lam_status detect_confusion_create(int classes, float conf, float iou, struct detect_confusion **confusion);
void detect_confusion_destroy(struct detect_confusion *confusion);
void detect_confusion_clear(struct detect_confusion *confusion);

/* One image. Refuses what detect_check_image refuses; then nothing has been counted. */
lam_status detect_confusion_add(struct detect_confusion *confusion, const struct detect_found *detections,
                                int count, const struct lam_box *truths, int truth_count);

/* [classes + 1][classes + 1]: label, guess; background is the last one of both. */
const int64_t *detect_confusion_counts(const struct detect_confusion *confusion);

lam_status detect_confusion_write(const struct detect_confusion *confusion, char *const *names,
                                  const char *folder);

#endif
