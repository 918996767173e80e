/* Image classification: one label an image, cross entropy, accuracy. */
#ifndef LAM_TASKS_CLASSIFY_H
#define LAM_TASKS_CLASSIFY_H

#include "train/task.h"

extern const struct lam_task lam_task_classify;

#endif
