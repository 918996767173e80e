/* A confusion matrix as files, for the tasks that have classes.
 *
 *     struct confusion_matrix matrix = {.size = classes, .counts = counts, .names = names};
 *     LAM_TRY(confusion_matrix_write(&matrix, folder));        // confusion.csv and confusion.png in it
 */
#ifndef LAM_TASKS_COMMON_CONFUSION_MATRIX_H
#define LAM_TASKS_COMMON_CONFUSION_MATRIX_H

#include "data/image.h"

struct confusion_matrix {
    int size;
    const int64_t *counts; /* [label][guess] */
    char *const *names;    /* of both */
};

lam_status confusion_matrix_write(const struct confusion_matrix *matrix, const char *folder);

/* A cell's colour is its share of the row. Names and counts are written where there is room for them. */
lam_status confusion_matrix_draw(const struct confusion_matrix *matrix, struct lam_image *image);

#endif
