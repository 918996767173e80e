/* Random pairs of patches for training: a piece of the low-resolution image and the piece of the high-resolution
 * image at the same place.
 *
 *     struct sr_patches patches = {.scale = 2, .size = 48, .flip = true, .rotate = true};
 *     struct lam_rng rng = lam_rng_make(seed, LAM_RNG_AUGMENT, epoch, index);
 *     LAM_TRY(sr_patch(&patches, &sample->image, &sample->pair, &rng, input, target));
 *
 * input: f32 [3][size][size], target: f32 [3][scale * size][scale * size], both pixel / 255. Gray fills three
 * channels, alpha is left out. Where there is no low-resolution image the patch is made from the high-resolution
 * one by bicubic downscaling, only as much of it as the patch needs, with the bytes that a file would
 * hold. Images smaller than a patch are mirrored at their borders, both of a pair at the same line.
 *
 * With `shrink` the image is first made smaller by a random factor (a pair, whose low-resolution image cannot be made
 * anew, is refused), though not smaller than a patch: textures of more sizes, and the noise of a JPEG file goes (Dong et al.,
 * FSRCNN, ECCV 2016, section 4.1, use factors of 0.6 to 0.9). Only as much of the smaller image is made as the patch needs.
 *
 * Any thread; all randomness comes from `rng`: the factor if images shrink, place across, place down, symmetry.
 */
#ifndef TASKS_SR_PATCHES_H
#define TASKS_SR_PATCHES_H

#include <stdbool.h>

#include "base/rng.h"
#include "data/image.h"

struct sr_patches {
    int scale;
    int size;      /* side of the low-resolution patch */
    bool flip;     /* mirrored left to right, half of them */
    bool rotate;   /* by quarter turns; with flip all eight symmetries, equally often */
    double shrink; /* least factor, drawn evenly from here to 1; 0 or 1: images stay as they are */
};

/* `high` need not be a multiple of the scale: the rest at the right and bottom is not used. `low` is NULL or
 * empty where there is none. LAM_ERR_INVALID for settings that make no sense, LAM_ERR_FORMAT if `high` is smaller than
 * the scale or `low` is not `high` / scale. */
lam_status sr_patch(const struct sr_patches *patches, const struct lam_image *high,
                    const struct lam_image *low, struct lam_rng *rng, float *input, float *target);

#endif
