/* Inside lib/data: drawing for the generated sets. Not a public header. */
#ifndef LAM_DATA_SHAPES_H
#define LAM_DATA_SHAPES_H

#include <stdbool.h>

#include "base/rng.h"
#include "data/image.h"

enum { LAM_SHAPE_KINDS = 10 };

extern const char *const lam_shape_names[LAM_SHAPE_KINDS];

struct lam_shape_place {
    int kind;        /* 0 .. LAM_SHAPE_KINDS - 1 */
    float x, y;      /* centre, pixels */
    float radius;    /* the shape lies inside this circle */
    float angle;     /* radians */
    float colour[3]; /* 0..1 */
    float opacity;   /* 0..1 */
};

/* Draws one shape on an RGB image, with smooth edges. */
void lam_shape_draw(struct lam_image *image, const struct lam_shape_place *place);

/* The smallest box around a shape: left, top, right, bottom, in quarters of a pixel. */
void lam_shape_extent(const struct lam_shape_place *place, float corners[4]);

/* The scene around the shapes: a gradient with a texture (returns its mean colour in colour[]), then lines
 * and specks, then noise over everything. `unit`: half the width of a thick line, in pixels. */
void lam_scene_background(struct lam_image *image, struct lam_rng *rng, float colour[3]);
void lam_scene_clutter(struct lam_image *image, struct lam_rng *rng, float unit);
void lam_scene_noise(struct lam_image *image, struct lam_rng *rng);

/* A colour that can be told from `other`. */
void lam_scene_contrast(struct lam_rng *rng, const float other[3], float colour[3]);

#endif
