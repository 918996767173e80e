/* Image files: PNG (libpng) and JPEG (TurboJPEG), told apart by their content, not their names.
 *
 *     struct lam_image image = {0};
 *     LAM_TRY(lam_image_load("photo.jpg", LAM_IMAGE_RGB, &image));
 *     ... image.pixels[(y * image.width + x) * image.channels + c] ...
 *     lam_image_free(&image);
 *
 * Every common form is read: gray, gray + alpha, palette, 1/2/4/8/16 bit, interlaced; baseline and
 * progressive JPEG with any subsampling, gray, CMYK and YCCK. EXIF orientation is applied. What cannot be
 * read gives LAM_ERR_FORMAT or LAM_ERR_UNSUPPORTED with the file's name and the decoder's reason.
 *
 * A struct lam_image starts as {0}. Functions that fill one take over what it held: its memory is reused or
 * freed; on failure it is as it was.
 */
#ifndef LAM_DATA_IMAGE_H
#define LAM_DATA_IMAGE_H

#include <stdint.h>

#include "base/status.h"

struct lam_image {
    int width, height, channels; /* channels 1 gray, 2 gray + alpha, 3 RGB, 4 RGB + alpha */
    uint8_t *pixels;             /* rows of interleaved bytes, no padding; owned */
};

enum lam_image_mode {
    LAM_IMAGE_AS_IS, /* the file's own channels (palette becomes RGB or RGBA, CMYK becomes RGB); 16 bit
                        becomes 8 */
    LAM_IMAGE_RGB,   /* 3 channels: gray is repeated, alpha is dropped */
    LAM_IMAGE_GRAY,  /* 1 channel: 0.299 R + 0.587 G + 0.114 B */
};

lam_status lam_image_alloc(struct lam_image *image, int width, int height, int channels);
void lam_image_free(struct lam_image *image);

lam_status lam_image_load(const char *path, enum lam_image_mode mode, struct lam_image *image);
/* From memory; `name` is what error texts call it. */
lam_status lam_image_decode(const void *data, size_t size, const char *name, enum lam_image_mode mode,
                            struct lam_image *image);
lam_status lam_image_save_png(const char *path, const struct lam_image *image); /* beside, then renamed */

/* PNG into memory (for event files); *data is freed with free(). */
lam_status lam_image_encode_png(const struct lam_image *image, uint8_t **data, size_t *size);

/* Bilinear with antialiasing when shrinking (triangle filter widened by the scale), as PIL and torchvision.
 */
lam_status lam_image_resize(const struct lam_image *from, int width, int height, struct lam_image *to);

/* A part of what lam_image_resize gives, at the cost of that part: the pixels [x, x + part_width) x
 * [y, y + part_height) of the image resized to width x height. The part must lie inside. */
lam_status lam_image_resize_part(const struct lam_image *from, int width, int height, int x, int y,
                                 int part_width, int part_height, struct lam_image *to);

#endif
