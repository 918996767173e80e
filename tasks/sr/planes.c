/* Planes of floats: conversions from and to images, and the eight symmetries. */
#include "tasks/sr/planes.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "data/image_codec.h"

static size_t area(const struct sr_planes *planes) {
    return (size_t)planes->width * (size_t)planes->height;
}

lam_status sr_planes_alloc(struct sr_planes *planes, int channels, int width, int height) {
    if (channels < 1) return lam_fail(LAM_ERR_INVALID, "%d planes", channels);
    LAM_TRY(lam_image_check_size("planes", width, height));
    size_t count = (size_t)channels * (size_t)width * (size_t)height;
    size_t held = planes->data ? (size_t)planes->channels * area(planes) : 0;
    if (count != held) {
        float *data = malloc(count * sizeof *data);
        if (!data) return lam_fail(LAM_ERR_NO_MEMORY, "no memory for %zu pixels", count);
        free(planes->data);
        planes->data = data;
    }
    planes->channels = channels;
    planes->width = width;
    planes->height = height;
    return LAM_OK;
}

void sr_planes_free(struct sr_planes *planes) {
    free(planes->data);
    *planes = (struct sr_planes){0};
}

lam_status sr_planes_from_image(const struct lam_image *image, float peak, struct sr_planes *planes) {
    if (!image->pixels) return lam_fail(LAM_ERR_INVALID, "an empty image has no planes");
    int channels = image->channels >= 3 ? 3 : 1;
    LAM_TRY(sr_planes_alloc(planes, channels, image->width, image->height));
    size_t count = area(planes), step = (size_t)image->channels;
    for (int c = 0; c < channels; c++) {
        const uint8_t *from = image->pixels + c;
        float *to = planes->data + (size_t)c * count;
        for (size_t i = 0; i < count; i++) to[i] = (float)from[i * step] * peak / 255;
    }
    return LAM_OK;
}

lam_status sr_planes_to_image(const struct sr_planes *planes, float peak, struct lam_image *image) {
    if (!planes->data || (planes->channels != 1 && planes->channels != 3))
        return lam_fail(LAM_ERR_INVALID, "%d planes are no image", planes->channels);
    LAM_TRY(lam_image_alloc(image, planes->width, planes->height, planes->channels));
    size_t count = area(planes), step = (size_t)planes->channels;
    float scale = 255 / peak;
    for (size_t c = 0; c < step; c++) {
        const float *from = planes->data + c * count;
        uint8_t *to = image->pixels + c;
        for (size_t i = 0; i < count; i++) {
            float value = from[i] * scale + 0.5f;
            to[i * step] = (uint8_t)(value >= 255 ? 255 : value >= 0 ? value : 0);
        }
    }
    return LAM_OK;
}

/* ---- alpha ---- */

lam_status sr_alpha_of(const struct lam_image *image, struct lam_image *alpha) {
    if (image->channels != 2 && image->channels != 4) {
        lam_image_free(alpha);
        return LAM_OK;
    }
    LAM_TRY(lam_image_alloc(alpha, image->width, image->height, 1));
    size_t count = (size_t)image->width * (size_t)image->height, step = (size_t)image->channels;
    for (size_t i = 0; i < count; i++) alpha->pixels[i] = image->pixels[i * step + step - 1];
    return LAM_OK;
}

lam_status sr_alpha_join(struct lam_image *image, const struct lam_image *alpha) {
    if (image->width != alpha->width || image->height != alpha->height || alpha->channels != 1 ||
        (image->channels != 1 && image->channels != 3))
        return lam_fail(LAM_ERR_INVALID, "alpha of %d x %d does not fit an image of %d x %d, %d channels",
                        alpha->width, alpha->height, image->width, image->height, image->channels);
    struct lam_image joined = {0};
    LAM_TRY(lam_image_alloc(&joined, image->width, image->height, image->channels + 1));
    size_t count = (size_t)image->width * (size_t)image->height, colours = (size_t)image->channels;
    for (size_t i = 0; i < count; i++) {
        memcpy(joined.pixels + i * (colours + 1), image->pixels + i * colours, colours);
        joined.pixels[i * (colours + 1) + colours] = alpha->pixels[i];
    }
    lam_image_free(image);
    *image = joined;
    return LAM_OK;
}

/* ---- symmetries ---- */

/* Flips do not commute with the transposition: they change places. */
int sr_symmetry_inverse(int symmetry) {
    static const int inverse[SR_SYMMETRIES] = {0, 1, 2, 3, 4, 6, 5, 7};
    return inverse[symmetry];
}

/* Pixel (0, 0) of a plane of width x height under `symmetry` is from[*origin]; a step right or down in the
 * result moves by *right or *down in `from`. */
static void walk(int symmetry, int width, int height, ptrdiff_t *origin, ptrdiff_t *right, ptrdiff_t *down) {
    bool transpose = symmetry & SR_TRANSPOSE;
    int to_width = transpose ? height : width, to_height = transpose ? width : height;
    *origin = 0;
    *right = transpose ? width : 1;
    *down = transpose ? 1 : width;
    if (symmetry & SR_FLIP_X) {
        *origin += *right * (to_width - 1);
        *right = -*right;
    }
    if (symmetry & SR_FLIP_Y) {
        *origin += *down * (to_height - 1);
        *down = -*down;
    }
}

lam_status sr_symmetry_apply(int symmetry, const struct sr_planes *from, struct sr_planes *to) {
    bool transpose = symmetry & SR_TRANSPOSE;
    LAM_TRY(sr_planes_alloc(to, from->channels, transpose ? from->height : from->width,
                            transpose ? from->width : from->height));
    ptrdiff_t origin, right, down;
    walk(symmetry, from->width, from->height, &origin, &right, &down);
    float *out = to->data;
    for (int c = 0; c < from->channels; c++) {
        const float *plane = from->data + (size_t)c * area(from) + origin;
        for (int y = 0; y < to->height; y++)
            for (int x = 0; x < to->width; x++) *out++ = plane[y * down + x * right];
    }
    return LAM_OK;
}

lam_status sr_symmetry_add_inverse(int symmetry, float share, const struct sr_planes *from,
                                   struct sr_planes *sum) {
    bool transpose = symmetry & SR_TRANSPOSE;
    if (sum->channels != from->channels || sum->width != (transpose ? from->height : from->width) ||
        sum->height != (transpose ? from->width : from->height))
        return lam_fail(LAM_ERR_INVALID, "planes of %d x %d x %d do not fit a sum of %d x %d x %d",
                        from->channels, from->width, from->height, sum->channels, sum->width, sum->height);
    ptrdiff_t origin, right, down;
    walk(sr_symmetry_inverse(symmetry), from->width, from->height, &origin, &right, &down);
    float *out = sum->data;
    for (int c = 0; c < from->channels; c++) {
        const float *plane = from->data + (size_t)c * area(from) + origin;
        for (int y = 0; y < sum->height; y++)
            for (int x = 0; x < sum->width; x++) *out++ += share * plane[y * down + x * right];
    }
    return LAM_OK;
}
