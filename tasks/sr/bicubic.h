/* Bicubic resizing with antialiasing, as MATLAB's imresize does it: the way in which low-resolution images are
 * made everywhere in the field, and the upscaling that networks are compared with.
 *
 *     LAM_TRY(sr_crop(&image, scale, &high));                 // right and bottom, to a multiple
 *     LAM_TRY(sr_low(&high, scale, SR_ROUND_PASSES, &low));   // what a published LR file holds
 *     LAM_TRY(sr_planes_from_image(&low, 255, &planes));
 *     LAM_TRY(sr_bicubic_planes(&planes, high.width, high.height, &upscaled));      // floats: for metrics
 *
 * The kernel is Keys's with a = -0.5 (Keys 1981), widened by the ratio when shrinking; weights are normalised
 * to 1, pixels beyond the border are the border's. Columns go first, then rows. Sums are doubles, so that
 * ties fall as they do in MATLAB. Alpha is resized as the other channels are. `to` may not be `from`.
 */
#ifndef TASKS_SR_BICUBIC_H
#define TASKS_SR_BICUBIC_H

#include "tasks/sr/planes.h"

enum sr_rounding {
    SR_ROUND_PASSES, /* to bytes after each of the two passes: MATLAB on uint8, published LR files */
    SR_ROUND_ONCE,   /* to bytes at the end: MATLAB on double, then im2uint8 */
};

/* LAM_ERR_INVALID for an empty image, LAM_ERR_FORMAT or LAM_ERR_UNSUPPORTED for an impossible size. */
lam_status sr_bicubic(const struct lam_image *from, int width, int height, enum sr_rounding rounding,
                      struct lam_image *to);

/* Only the part `part` of what sr_bicubic gives, the same to the bit, in time proportional to it. */
lam_status sr_bicubic_part(const struct lam_image *from, int width, int height, enum sr_rounding rounding,
                           struct sr_rect part, struct lam_image *to);

/* Neither rounded nor clipped. */
lam_status sr_bicubic_planes(const struct sr_planes *from, int width, int height, struct sr_planes *to);

/* Cuts right and bottom off so that both sides are multiples of `scale`. LAM_ERR_FORMAT when the image is
 * smaller than the scale. */
lam_status sr_crop(const struct lam_image *from, int scale, struct lam_image *to);

/* A part of the low-resolution image of `high`, cropped first (without a copy): what training patches are made
 * by. `part` is in low-resolution pixels. */
lam_status sr_low_part(const struct lam_image *high, int scale, enum sr_rounding rounding,
                       struct sr_rect part, struct lam_image *low);
/* All of it. */
lam_status sr_low(const struct lam_image *high, int scale, enum sr_rounding rounding, struct lam_image *low);

#endif
