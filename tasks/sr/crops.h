/* What super-resolution did, side by side: the same piece of each picture, enlarged, with labels and PSNR.
 *
 *     struct sr_crop crops[] = {{.name = "butterfly", .low = &low, .bicubic = &bicubic, .ours = &ours,
 *                                .high = &high, .bicubic_psnr = 27.43, .psnr = 31.6}};
 *     crops[0].part = sr_crop_of_most_detail(&high, 64, scale);
 *     LAM_TRY(sr_draw_crops(crops, 1, &picture));        // a row each: LR, bicubic, ours, HR
 */
#ifndef TASKS_SR_CROPS_H
#define TASKS_SR_CROPS_H

#include "tasks/sr/planes.h"

struct sr_crop {
    const char *name;
    const struct lam_image *low, *bicubic, *ours,
        *high;                 /* low by any scale smaller, the others of one size */
    struct sr_rect part;       /* in high-resolution pixels */
    double bicubic_psnr, psnr; /* of the whole image, dB */
};

/* The square of `side` pixels (less if the image is smaller), at a multiple of `scale`, where neighbouring
 * pixels differ most. */
struct sr_rect sr_crop_of_most_detail(const struct lam_image *image, int side, int scale);

/* Pieces are enlarged by whole factors, to about 128 pixels. LAM_ERR_INVALID if a part is not inside of its
 * images. */
lam_status sr_draw_crops(const struct sr_crop *crops, int count, struct lam_image *picture);

#endif
