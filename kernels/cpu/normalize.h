/* What pixels become: 256 numbers for each channel, as f32 and as bf16. */
#ifndef LAM_CPU_NORMALIZE_H
#define LAM_CPU_NORMALIZE_H

#include "device/op.h"

struct lam_pixel_table {
    float f32[LAM_MAX_COLOURS][256];
    uint16_t bf16[LAM_MAX_COLOURS][256];
};
void lam_cpu_fill_pixel_table(const struct lam_normalize_attr *attr, int channels,
                              struct lam_pixel_table *table);

#endif
