/* Large images in overlapping tiles, all of one size, so that a network compiled for that size gives the same
 * pixels as it would for the whole image.
 *
 *     struct sr_tiling tiling;
 *     LAM_TRY(sr_tiling_make(low.width, low.height, 96, radius, scale, &tiling));
 *     ... compile the network for tiling.tile_width x tiling.tile_height ...
 *     LAM_TRY(sr_planes_alloc(&result, 3, scale * low.width, scale * low.height));
 *     for (int i = 0; i < tiling.columns * tiling.rows; i++) {
 *         struct sr_tile tile = sr_tiling_at(&tiling, i);
 *         sr_tile_cut(&tile, &low, input);               // [channels][tile_height][tile_width]
 *         ... input -> output, [channels][scale * tile_height][scale * tile_width] ...
 *         sr_tile_paste(&tile, output, &result);
 *     }
 *
 * `radius` is how far an output pixel sees, in input pixels: the sum of the kernels' half widths at the input's
 * resolution. A pixel is taken from a tile only if all that it sees is in it; where a tile ends at the image's
 * border, the network pads there as it does for the whole image. With a smaller radius there may be seams; a
 * network with global pooling (RCAN) sees everything, and no radius is enough for it.
 */
#ifndef TASKS_SR_TILE_H
#define TASKS_SR_TILE_H

#include "tasks/sr/planes.h"

struct sr_tiling {
    int width, height;           /* of the input image */
    int tile_width, tile_height; /* of every tile, the overlap included; at most the image's */
    int radius, scale;
    int columns, rows;
};

struct sr_tile {
    struct sr_rect from; /* what the network sees, in input pixels */
    struct sr_rect
        take; /* what is taken of its result, in input pixels of the whole image; inside of `from` */
    int scale;
};

/* Tiles of `side` x `side` input pixels, less where the image is smaller. LAM_ERR_INVALID if the image needs
 * more than one and nothing of a tile is left: side must be above 2 * radius then. */
lam_status sr_tiling_make(int width, int height, int side, int radius, int scale, struct sr_tiling *tiling);

/* Row by row; what is taken of all tiles covers the image once. */
struct sr_tile sr_tiling_at(const struct sr_tiling *tiling, int index);

/* Planes of the whole input into one tile's. */
void sr_tile_cut(const struct sr_tile *tile, const struct sr_planes *image, float *input);
/* One tile's result into planes of the whole result. */
void sr_tile_paste(const struct sr_tile *tile, const float *output, struct sr_planes *result);

#endif
