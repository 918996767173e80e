/* JPEG by TurboJPEG.
 *
 * The decoder goes on after damage and fills the rest with gray, which is right for a viewer and wrong for
 * training: the first warning ends the decoding and is an error. A few warnings are about oddities that
 * cameras and editors produce in whole files; those are read again with warnings ignored, provided that the
 * file has its end marker. */
#include <stdlib.h>
#include <string.h>
#include <turbojpeg.h>

#include "data/image_codec.h"

enum {
    MARKER_APP1 = 0xe1,
    MARKER_APP14 = 0xee,
    MARKER_EOI = 0xd9,
    MARKER_SOS = 0xda,
    MARKER_TEM = 0x01,
    MARKER_RST0 = 0xd0
};

struct markers {
    const uint8_t *exif; /* the block that starts with "Exif\0\0" */
    size_t exif_size;
    bool adobe; /* Adobe's programs store CMYK inverted, and leave this mark */
    bool ended; /* there is an end marker after the start of the picture data */
};

static bool has_end_marker(const uint8_t *data, size_t from, size_t size) {
    for (size_t at = size; at >= from + 2; at--)
        if (data[at - 2] == 0xff && data[at - 1] == MARKER_EOI) return true;
    return false;
}

/* Walks over the segments before the picture data. */
static struct markers find_markers(const uint8_t *data, size_t size) {
    struct markers found = {0};
    size_t at = 2;
    while (at + 4 <= size) {
        if (data[at] != 0xff) {
            at++; /* stray bytes between segments; the decoder skips them too */
            continue;
        }
        int marker = data[at + 1];
        if (marker == 0xff || marker == 0x00) {
            at++;
            continue;
        }
        if (marker == MARKER_SOS) {
            found.ended = has_end_marker(data, at, size);
            break;
        }
        if (marker == MARKER_TEM || (marker >= MARKER_RST0 && marker <= MARKER_EOI)) {
            at += 2; /* markers without a segment */
            continue;
        }
        size_t length = (size_t)data[at + 2] << 8 | data[at + 3];
        if (length < 2 || length > size - at - 2) break;
        const uint8_t *body = data + at + 4;
        size_t body_size = length - 2;
        if (marker == MARKER_APP1 && !found.exif && body_size >= 6 && !memcmp(body, "Exif\0\0", 6)) {
            found.exif = body;
            found.exif_size = body_size;
        }
        if (marker == MARKER_APP14 && body_size >= 12 && !memcmp(body, "Adobe", 5)) found.adobe = true;
        at += 2 + length;
    }
    return found;
}

static bool is_harmless(const char *warning) {
    static const char *const harmless[] = {"extraneous bytes before marker", "Invalid SOS parameters",
                                           "Unknown Adobe color transform", "unknown JFIF revision"};
    for (size_t i = 0; i < sizeof harmless / sizeof harmless[0]; i++)
        if (strstr(warning, harmless[i])) return true;
    return false;
}

static lam_status decoder_error(tjhandle decoder, const char *name) {
    const char *reason = tjGetErrorStr2(decoder);
    bool unsupported = strstr(reason, "nsupported") || strstr(reason, "not supported") ||
                       strstr(reason, "not compiled") || strstr(reason, "Could not determine");
    return lam_fail(unsupported ? LAM_ERR_UNSUPPORTED : LAM_ERR_FORMAT, "%s: JPEG: %s", name, reason);
}

static lam_status decode_pixels(tjhandle decoder, const uint8_t *data, size_t size, const char *name,
                                bool ended, int format, struct lam_image *image) {
    int flags = TJFLAG_ACCURATEDCT | TJFLAG_LIMITSCANS;
    if (tjDecompress2(decoder, data, size, image->pixels, image->width, 0, image->height, format,
                      flags | TJFLAG_STOPONWARNING) == 0)
        return LAM_OK;
    if (tjGetErrorCode(decoder) != TJERR_WARNING || !is_harmless(tjGetErrorStr2(decoder)) || !ended)
        return decoder_error(decoder, name);
    if (tjDecompress2(decoder, data, size, image->pixels, image->width, 0, image->height, format, flags) ==
            0 ||
        (tjGetErrorCode(decoder) == TJERR_WARNING && is_harmless(tjGetErrorStr2(decoder))))
        return LAM_OK;
    return decoder_error(decoder, name);
}

static uint8_t scaled(uint8_t a, uint8_t b) {
    return (uint8_t)(((unsigned)a * b + 127) / 255);
}

/* Four channels of ink to RGB, in place. */
static lam_status cmyk_to_rgb(struct lam_image *image, bool inverted) {
    struct lam_image rgb = {0};
    LAM_TRY(lam_image_alloc(&rgb, image->width, image->height, 3));
    size_t count = (size_t)image->width * (size_t)image->height;
    uint8_t flip = inverted ? 0 : 255; /* bytes of paper left white, not of ink */
    for (size_t i = 0; i < count; i++) {
        const uint8_t *ink = image->pixels + 4 * i;
        uint8_t black = ink[3] ^ flip;
        for (size_t c = 0; c < 3; c++) rgb.pixels[3 * i + c] = scaled(ink[c] ^ flip, black);
    }
    lam_image_free(image);
    *image = rgb;
    return LAM_OK;
}

static lam_status decode(tjhandle decoder, const uint8_t *data, size_t size, const char *name,
                         const struct markers *markers, struct lam_image *image) {
    int width = 0, height = 0, subsampling = -1, space = -1;
    /* It complains of subsamplings that it has no name for, after having read all that is needed here. */
    if (tjDecompressHeader3(decoder, data, size, &width, &height, &subsampling, &space) != 0 &&
        (width < 1 || height < 1 || space < 0))
        return decoder_error(decoder, name);
    if (width < 1 || height < 1)
        return lam_fail(LAM_ERR_FORMAT, "%s: JPEG: has no picture, the file is truncated", name);
    LAM_TRY(lam_image_check_size(name, width, height));
    bool ink = space == TJCS_CMYK || space == TJCS_YCCK;
    int format = ink ? TJPF_CMYK : space == TJCS_GRAY ? TJPF_GRAY : TJPF_RGB;
    LAM_TRY(lam_image_alloc(image, width, height, tjPixelSize[format]));
    LAM_TRY(decode_pixels(decoder, data, size, name, markers->ended, format, image));
    return ink ? cmyk_to_rgb(image, markers->adobe) : LAM_OK;
}

lam_status lam_jpeg_decode(const uint8_t *data, size_t size, const char *name, struct lam_image *image,
                           int *orientation) {
    tjhandle decoder = tjInitDecompress();
    if (!decoder) return lam_fail(LAM_ERR_NO_MEMORY, "%s: no memory for the JPEG decoder", name);
    struct markers markers = find_markers(data, size);
    struct lam_image result = {0};
    lam_status status = decode(decoder, data, size, name, &markers, &result);
    tjDestroy(decoder);
    if (status != LAM_OK) {
        lam_image_free(&result);
        return status;
    }
    *image = result;
    *orientation = markers.exif ? lam_exif_orientation(markers.exif, markers.exif_size) : 1;
    return LAM_OK;
}
