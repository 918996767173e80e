/* Super-resolution: EDSR and RCAN, PSNR and SSIM. */
#ifndef LAM_TASKS_SR_H
#define LAM_TASKS_SR_H

#include "train/task.h"

extern const struct lam_task lam_task_sr;

#endif
