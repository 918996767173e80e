/* Object detection: boxes with classes, RetinaNet, average precision. */
#ifndef LAM_TASKS_DETECT_H
#define LAM_TASKS_DETECT_H

#include "train/task.h"

extern const struct lam_task lam_task_detect;

#endif
