/* PSNR and SSIM, as super-resolution papers report them.
 *
 *     struct sr_measure measure = {.channel = SR_CHANNEL_Y, .border = scale};
 *     LAM_TRY(sr_quality(&measure, &result, &truth, &quality));      // planes of 0..255
 *     printf("%.2f dB, %.4f\n", quality.psnr, quality.ssim);
 *
 * Y is MATLAB's rgb2ycbcr without its rounding, Y = 16 + (65.481 R + 128.553 G + 24.966 B) / 255 of R, G, B in
 * 0..255. A gray image is its own Y, as in the MATLAB code of the field, so a gray truth is compared on
 * the full range, and an RGB result against it counts as gray: (65.481 R + 128.553 G + 24.966 B) / 219, which is g for
 * R = G = B = g. (Y = 16 + 219 g / 255 for a gray image would read 1.3 dB higher.)
 *
 * Values are taken as they are: a result that will be saved as bytes is to be clipped and rounded before
 * (sr_planes_to_image and back), published numbers of bicubic upscaling are of the unrounded one.
 */
#ifndef TASKS_SR_QUALITY_H
#define TASKS_SR_QUALITY_H

#include <stdbool.h>

#include "tasks/sr/planes.h"

enum sr_channel {
    SR_CHANNEL_Y,
    SR_CHANNEL_RGB, /* PSNR of the mean error of all three, SSIM is the mean of three; gray: its one plane */
};

struct sr_measure {
    enum sr_channel channel;
    int border; /* pixels left out on each side; the scale by convention */
};

struct sr_quality {
    double psnr; /* dB, of a peak of 255; infinite for equal images */
    double ssim; /* Wang et al. 2004; NaN if there are fewer than 11 pixels to a side */
};

/* Planes of 1 or 3 channels. LAM_ERR_INVALID if sizes differ or the border leaves nothing. */
lam_status sr_quality(const struct sr_measure *measure, const struct sr_planes *result,
                      const struct sr_planes *truth, struct sr_quality *quality);

/* What is compared: one plane for SR_CHANNEL_Y, `gray` asks for the gray of the full range. */
lam_status sr_luma(const struct sr_planes *planes, bool gray, struct sr_planes *luma);

#endif
