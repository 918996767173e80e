/* What pixels become: 256 numbers for each channel, as f32 and as bf16. */
#ifndef LAM_CPU_NORMALIZE_H
#define LAM_CPU_NORMALIZE_H

#include "base/status.h"
#include "device/op.h"

struct lam_pixel_table {
    float f32[LAM_MAX_COLOURS][256];
    uint16_t bf16[LAM_MAX_COLOURS][256];
};
/* Whether an op makes numbers of an image of u8; LAM_ERR_UNSUPPORTED. */
lam_status lam_cpu_check_pixels(const struct lam_op *op);
void lam_cpu_fill_pixel_table(const struct lam_normalize_attr *attr, int channels,
                              struct lam_pixel_table *table);

#endif
