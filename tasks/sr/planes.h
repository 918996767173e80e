/* Pictures as the networks and the metrics see them: planes of floats, [channel][row][column].
 *
 *     struct sr_planes planes = {0};
 *     LAM_TRY(sr_planes_from_image(&image, 255, &planes));    // 1 or 3 planes, bytes as they are
 *     ...
 *     LAM_TRY(sr_planes_to_image(&planes, 255, &image));      // clipped, rounded
 *     sr_planes_free(&planes);
 *
 * A struct sr_planes starts as {0}; functions that fill one reuse or free what it held. One that only points
 * to memory of somebody else (a network's output) may be read, never filled or freed.
 *
 * The eight symmetries of a square (flips and quarter turns) are numbered 0 .. 7: the bits SR_TRANSPOSE,
 * SR_FLIP_X and SR_FLIP_Y. A symmetry transposes first, then flips the result.
 */
#ifndef TASKS_SR_PLANES_H
#define TASKS_SR_PLANES_H

#include "data/image.h"

struct sr_rect {
    int x, y, width, height;
};

struct sr_planes {
    int channels, width, height;
    float *data;
};

lam_status sr_planes_alloc(struct sr_planes *planes, int channels, int width, int height);
void sr_planes_free(struct sr_planes *planes);

/* byte * peak / 255. Gray gives one plane, colour three; alpha is left out. */
lam_status sr_planes_from_image(const struct lam_image *image, float peak, struct sr_planes *planes);
/* One plane gives gray, three RGB. Values are clipped to 0 .. peak, halves are rounded up; what is not a
 * number becomes 0. */
lam_status sr_planes_to_image(const struct sr_planes *planes, float peak, struct lam_image *image);

/* The alpha of an image of 2 or 4 channels as a gray image; empty (no pixels) where there is none. */
lam_status sr_alpha_of(const struct lam_image *image, struct lam_image *alpha);
/* Puts `alpha` (one channel, the same size) beside the colours of `image` (1 or 3 channels). */
lam_status sr_alpha_join(struct lam_image *image, const struct lam_image *alpha);

enum { SR_FLIP_X = 1, SR_FLIP_Y = 2, SR_TRANSPOSE = 4, SR_SYMMETRIES = 8 };

int sr_symmetry_inverse(int symmetry);
/* `to` has `from`'s width and height, swapped when `symmetry` transposes; they must not overlap. */
lam_status sr_symmetry_apply(int symmetry, const struct sr_planes *from, struct sr_planes *to);
/* Undoes `symmetry` on the result of a network and adds share * it to `sum`, which has the upright size: the
 * self-ensemble (Lim et al. 2017, EDSR, section 3.3) is this with a share of 1/8 for each symmetry.
 * LAM_ERR_INVALID if the sizes do not agree. */
lam_status sr_symmetry_add_inverse(int symmetry, float share, const struct sr_planes *from,
                                   struct sr_planes *sum);

#endif
