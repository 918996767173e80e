/* Inside lib/data: what the image files share. Not a public header. */
#ifndef LAM_DATA_IMAGE_CODEC_H
#define LAM_DATA_IMAGE_CODEC_H

#include <stdbool.h>
#include <stddef.h>

#include "data/image.h"

/* A header can claim any size, so there is a limit before memory is asked for. */
enum { LAM_IMAGE_MAX_SIDE = 65500, LAM_IMAGE_MAX_PIXELS = 1 << 27 };

/* Decode all of a file that has been told to be PNG or JPEG. `image` is empty before and owns the result
 * after; left empty on failure. *orientation: EXIF's value, 1 to 8, 1 if there is none. */
lam_status lam_png_decode(const uint8_t *data, size_t size, const char *name, struct lam_image *image,
                          int *orientation);
lam_status lam_jpeg_decode(const uint8_t *data, size_t size, const char *name, struct lam_image *image,
                           int *orientation);

/* LAM_ERR_UNSUPPORTED when an image is larger than the limits above, LAM_ERR_FORMAT when it has no pixels. */
lam_status lam_image_check_size(const char *name, int64_t width, int64_t height);

/* The orientation in an EXIF block that starts with "Exif\0\0"; 1 when there is none or it makes no sense. */
int lam_exif_orientation(const uint8_t *exif, size_t size);

/* Turns an image upright, in place of what it was. */
lam_status lam_image_orient(struct lam_image *image, int orientation);

/* Brings an image to the channels that `mode` asks for, in place of what it was. */
lam_status lam_image_convert(struct lam_image *image, enum lam_image_mode mode);

/* The bytes that are the luma of an RGB pixel: 0.299 R + 0.587 G + 0.114 B, rounded. */
static inline uint8_t lam_luma(const uint8_t *rgb) {
    return (uint8_t)((19595u * rgb[0] + 38470u * rgb[1] + 7471u * rgb[2] + 32768u) >> 16);
}

#endif
