/* Augmentations for classification, and what evaluation sees of an image.
 *
 *     struct lam_augment augment = {.pad = 4, .pad_reflect = true, .crop = true, .flip = true, .size = 32};
 *     lam_augment_apply(&augment, &sample.image, &rng, planes);    // normalised: f32 [channels][size][size]
 *     lam_augment_pixels(&augment, &sample.image, pixels);         // as they are, for a device to normalise: u8
 *
 * An image of another size is resized first: its short side to `size`. Then the random crop takes its place
 * in the padded image. Evaluation (lam_augment_pixels) has nothing random: it resizes the short side
 * to size * eval_resize and takes the middle. A gray image fills three channels, a colour one is made gray
 * for one, alpha is dropped. Errors: LAM_ERR_INVALID for settings that make no sense, LAM_ERR_NO_MEMORY.
 */
#ifndef LAM_DATA_AUGMENT_H
#define LAM_DATA_AUGMENT_H

#include <stdbool.h>

#include "base/rng.h"
#include "data/image.h"

struct lam_augment {
    int size, channels;          /* of the result */
    float mean[3], deviation[3]; /* y = (pixel / 255 - mean) / deviation */
    int pad;                     /* pixels on each side before the random crop */
    bool pad_reflect;            /* else zeros (of the normalised image: the mean colour) */
    bool crop;                   /* random crop of the padded image */
    bool flip;                   /* horizontally, half of the samples */
    bool resized_crop; /* random resized crop (Szegedy et al. 2015): area 8..100 %, aspect 3/4..4/3 */
    float min_area;    /* of resized_crop; 0 = 0.08 */
    int cutout;        /* side of a square set to zero after normalising (DeVries and Taylor 2017); 0 = off */
    float eval_resize; /* 0 = 1 */
};

lam_status lam_augment_apply(const struct lam_augment *augment, const struct lam_image *image,
                             struct lam_rng *rng, float *planes);
/* What evaluation sees, and a device normalises and, in training, moves: u8 [channels][size][size]. */
lam_status lam_augment_pixels(const struct lam_augment *augment, const struct lam_image *image,
                              uint8_t *pixels);

#endif
