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
 * Any thread; all randomness comes from `rng`: place across, place down, symmetry, always three draws or
 * more.
 */
#ifndef TASKS_SR_PATCHES_H
#define TASKS_SR_PATCHES_H

#include <stdbool.h>

#include "base/rng.h"
#include "data/image.h"

struct sr_patches {
    int scale;
    int size;    /* side of the low-resolution patch */
    bool flip;   /* mirrored left to right, half of them */
    bool rotate; /* by quarter turns; with flip all eight symmetries, equally often */
};

/* `high` need not be a multiple of the scale: the rest at the right and bottom is not used. `low` is NULL or
 * empty where there is none. LAM_ERR_INVALID for settings that make no sense, LAM_ERR_FORMAT if `high` is smaller than
 * the scale or `low` is not `high` / scale. */
lam_status sr_patch(const struct sr_patches *patches, const struct lam_image *high,
                    const struct lam_image *low, struct lam_rng *rng, float *input, float *target);

#endif
