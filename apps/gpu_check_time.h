/* Seconds of things that a GPU does, by the host's clock around many of them. */
#ifndef LAMINA_GPU_CHECK_TIME_H
#define LAMINA_GPU_CHECK_TIME_H

#include "device/device.h"

/* Does it once, or puts it once on the device's stream. */
typedef lam_status (*gpu_check_once)(void *context);

/* Of one, the middle of several rounds; as many in a round as make it long enough to be timed. quick: one. */
lam_status gpu_check_seconds(struct lam_device *device, gpu_check_once once, void *context, bool quick,
                             double *seconds);

/* Of an op's kernel on random numbers, in the form that it wants its weights in. For ops without reductions.
 * device: its name; it is opened for this. */
lam_status gpu_check_op_seconds(const char *device, const struct lam_op *op, bool tf32, bool quick,
                                double *seconds);

#endif
