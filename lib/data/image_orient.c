/* EXIF orientation: cameras store the picture as the sensor saw it and a number that says how it was held. */
#include <libexif/exif-data.h>

#include "data/image_codec.h"

int lam_exif_orientation(const uint8_t *exif, size_t size) {
    if (size < 6 || size > 1 << 24) return 1;
    ExifData *data = exif_data_new();
    if (!data) return 1;
    /* "following the specification" would invent missing tags */
    exif_data_unset_option(data, EXIF_DATA_OPTION_FOLLOW_SPECIFICATION);
    exif_data_load_data(data, exif, (unsigned)size);
    int orientation = 1;
    const ExifEntry *entry = exif_content_get_entry(data->ifd[EXIF_IFD_0], EXIF_TAG_ORIENTATION);
    if (entry && entry->format == EXIF_FORMAT_SHORT && entry->data && entry->size >= 2)
        orientation = exif_get_short(entry->data, exif_data_get_byte_order(data));
    exif_data_unref(data);
    return orientation >= 1 && orientation <= 8 ? orientation : 1;
}

/* The stored picture's pixel that belongs to (x, y) of the upright one. */
static size_t source_of(int orientation, int width, int height, int x, int y) {
    int right = width - 1, bottom = height - 1, sx = x, sy = y;
    switch (orientation) {
    case 2:
        sx = right - x;
        break;
    case 3:
        sx = right - x, sy = bottom - y;
        break;
    case 4:
        sy = bottom - y;
        break;
    case 5:
        sx = y, sy = x;
        break;
    case 6:
        sx = y, sy = bottom - x;
        break;
    case 7:
        sx = right - y, sy = bottom - x;
        break;
    case 8:
        sx = right - y, sy = x;
        break;
    default:
        break;
    }
    return (size_t)sy * (size_t)width + (size_t)sx;
}

lam_status lam_image_orient(struct lam_image *image, int orientation) {
    if (orientation <= 1 || orientation > 8) return LAM_OK;
    bool turned = orientation >= 5;
    struct lam_image upright = {0};
    LAM_TRY(lam_image_alloc(&upright, turned ? image->height : image->width,
                            turned ? image->width : image->height, image->channels));
    size_t channels = (size_t)image->channels;
    uint8_t *to = upright.pixels;
    for (int y = 0; y < upright.height; y++)
        for (int x = 0; x < upright.width; x++, to += channels) {
            const uint8_t *from =
                image->pixels + channels * source_of(orientation, image->width, image->height, x, y);
            for (size_t c = 0; c < channels; c++) to[c] = from[c];
        }
    lam_image_free(image);
    *image = upright;
    return LAM_OK;
}
