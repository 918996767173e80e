/* Images in memory, and the way from any file to them: the content says which decoder reads it, then the
 * picture is turned upright and brought to the channels that were asked for. The decoders stand in
 * image_png.c and image_jpeg.c. */
#include "data/image.h"

#include <stdlib.h>
#include <string.h>

#include "base/files.h"
#include "data/image_codec.h"

lam_status lam_image_alloc(struct lam_image *image, int width, int height, int channels) {
    if (channels < 1 || channels > 4) return lam_fail(LAM_ERR_INVALID, "an image of %d channels", channels);
    LAM_TRY(lam_image_check_size("image", width, height));
    size_t bytes = (size_t)width * (size_t)height * (size_t)channels;
    size_t held = image->pixels ? (size_t)image->width * (size_t)image->height * (size_t)image->channels : 0;
    if (bytes != held) {
        uint8_t *pixels = malloc(bytes);
        if (!pixels) return lam_fail(LAM_ERR_NO_MEMORY, "no memory for an image of %zu bytes", bytes);
        free(image->pixels);
        image->pixels = pixels;
    }
    image->width = width;
    image->height = height;
    image->channels = channels;
    return LAM_OK;
}

void lam_image_free(struct lam_image *image) {
    free(image->pixels);
    *image = (struct lam_image){0};
}

lam_status lam_image_check_size(const char *name, int64_t width, int64_t height) {
    if (width < 1 || height < 1)
        return lam_fail(LAM_ERR_FORMAT, "%s: has no pixels (%lld x %lld)", name, (long long)width,
                        (long long)height);
    if (width > LAM_IMAGE_MAX_SIDE || height > LAM_IMAGE_MAX_SIDE || width * height > LAM_IMAGE_MAX_PIXELS)
        return lam_fail(LAM_ERR_UNSUPPORTED,
                        "%s: %lld x %lld pixels is too large; the limit is %d megapixels", name,
                        (long long)width, (long long)height, LAM_IMAGE_MAX_PIXELS >> 20);
    return LAM_OK;
}

/* Files are told apart by how they begin: names are often wrong. */
static const struct signature {
    const char *format;
    size_t offset, length;
    const char *bytes;
} signatures[] = {
    {"PNG", 0, 8, "\x89PNG\r\n\x1a\n"},
    {"JPEG", 0, 3, "\xff\xd8\xff"},
    {"GIF", 0, 4, "GIF8"},
    {"WebP", 8, 4, "WEBP"},
    {"TIFF", 0, 4, "II*\0"},
    {"TIFF", 0, 4, "MM\0*"},
    {"HEIF or AVIF", 4, 4, "ftyp"},
    {"JPEG 2000", 0, 6, "\0\0\0\x0cjP"},
    {"JPEG XL", 0, 7, "\0\0\0\x0cJXL"},
    {"PBM", 0, 2, "P1"},
    {"PGM", 0, 2, "P2"},
    {"PPM", 0, 2, "P3"},
    {"PBM", 0, 2, "P4"},
    {"PGM", 0, 2, "P5"},
    {"PPM", 0, 2, "P6"},
    {"PAM", 0, 2, "P7"},
    {"BMP", 0, 2, "BM"},
    {"HTML", 0, 5, "<!DOC"},
    {"HTML", 0, 5, "<html"},
    {"Git LFS pointer", 0, 12, "version http"},
};

static const char *sniff(const uint8_t *data, size_t size) {
    for (size_t i = 0; i < sizeof signatures / sizeof signatures[0]; i++) {
        const struct signature *s = &signatures[i];
        if (size >= s->offset + s->length && !memcmp(data + s->offset, s->bytes, s->length)) return s->format;
    }
    return NULL;
}

static lam_status unreadable(const uint8_t *data, size_t size, const char *name, const char *format) {
    if (size == 0) return lam_fail(LAM_ERR_FORMAT, "%s: is empty", name);
    if (format)
        return lam_fail(LAM_ERR_UNSUPPORTED,
                        "%s: unsupported, is a %s file; only PNG and JPEG are read, convert it", name,
                        format);
    char start[3 * 8 + 1] = "";
    for (size_t i = 0; i < 8 && i < size; i++) snprintf(start + 3 * i, 4, " %02x", data[i]);
    return lam_fail(LAM_ERR_FORMAT, "%s: is neither PNG nor JPEG (begins with bytes%s)", name, start);
}

lam_status lam_image_decode(const void *data, size_t size, const char *name, enum lam_image_mode mode,
                            struct lam_image *image) {
    const char *format = sniff(data, size);
    struct lam_image result = {0};
    int orientation = 1;
    if (format && !strcmp(format, "PNG"))
        LAM_TRY(lam_png_decode(data, size, name, &result, &orientation));
    else if (format && !strcmp(format, "JPEG"))
        LAM_TRY(lam_jpeg_decode(data, size, name, &result, &orientation));
    else
        return unreadable(data, size, name, format);

    lam_status status = lam_image_orient(&result, orientation);
    if (status == LAM_OK) status = lam_image_convert(&result, mode);
    if (status != LAM_OK) {
        lam_image_free(&result);
        return lam_fail_in(status, name);
    }
    lam_image_free(image);
    *image = result;
    return LAM_OK;
}

lam_status lam_image_load(const char *path, enum lam_image_mode mode, struct lam_image *image) {
    uint8_t *data;
    size_t size;
    LAM_TRY(lam_file_read(path, &data, &size));
    lam_status status = lam_image_decode(data, size, path, mode, image);
    free(data);
    return status;
}

lam_status lam_image_save_png(const char *path, const struct lam_image *image) {
    uint8_t *data;
    size_t size;
    lam_status status = lam_image_encode_png(image, &data, &size);
    if (status != LAM_OK) return lam_fail_in(status, path);
    status = lam_file_write(path, data, size);
    free(data);
    return status;
}

lam_status lam_image_convert(struct lam_image *image, enum lam_image_mode mode) {
    int channels = mode == LAM_IMAGE_AS_IS ? image->channels : mode == LAM_IMAGE_RGB ? 3 : 1;
    if (channels == image->channels) return LAM_OK;
    struct lam_image result = {0};
    LAM_TRY(lam_image_alloc(&result, image->width, image->height, channels));
    size_t count = (size_t)image->width * (size_t)image->height, step = (size_t)image->channels;
    const uint8_t *from = image->pixels;
    uint8_t *to = result.pixels;
    bool colour = image->channels >= 3;
    for (size_t i = 0; i < count; i++, from += step, to += channels) {
        if (channels == 1) {
            to[0] = colour ? lam_luma(from) : from[0];
        } else {
            to[0] = from[0];
            to[1] = from[colour ? 1 : 0];
            to[2] = from[colour ? 2 : 0];
        }
    }
    lam_image_free(image);
    *image = result;
    return LAM_OK;
}
