/* Precision and recall as files.
 *
 *     struct detect_curves curves = {0};
 *     LAM_TRY(detect_ap_curves(ap, &curves));
 *     lam_status status = detect_curves_write(&curves, names, folder);   // precision_recall.csv and .png
 *     detect_curves_free(&curves);
 */
#ifndef LAM_TASKS_DETECT_CURVES_H
#define LAM_TASKS_DETECT_CURVES_H

#include "tasks/detect/average_precision.h"

/* The CSV has a row for each point of each curve; the picture shows `best` of them and their mean. */
lam_status detect_curves_write(const struct detect_curves *curves, char *const *names, const char *folder);

/* Few classes have a colour and a place in the legend each; of many, only the mean stands out. */
lam_status detect_curves_draw(const struct detect_curves *curves, char *const *names,
                              struct lam_image *image);

#endif
