/* What the machine can do at most: the floor that a step is compared with. */
#ifndef LAMINA_BENCH_PEAK_H
#define LAMINA_BENCH_PEAK_H

#include "device/device.h"

struct peak {
    double f32_flops, bf16_flops; /* per second, all lanes of the device */
    double bytes;                 /* read + written per second (triad with streaming reads), all lanes */
};

/* Measures for about a third of a second on a CPU device. */
lam_status peak_measure(struct lam_device *device, struct peak *peak);

#endif
