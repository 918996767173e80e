/* PNG by libpng, from memory and into memory.
 *
 * libpng reports errors by longjmp. All that must be released lives in a struct that outlives the jump, the
 * function with setjmp in it changes no local variable that is read after a jump, and the caller cleans up.
 */
#include <png.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "data/image_codec.h"

enum { LARGEST_RATIO = 1032 }; /* deflate packs at most 258 bytes into two bits */

struct coder {
    png_structp png;
    png_infop info;
    char reason[160];
    /* reading */
    const uint8_t *data;
    size_t size, at;
    const char *name;
    png_bytep *rows;
    struct lam_image image;
    int orientation;
    lam_status status; /* of a failure that is not libpng's */
    /* writing */
    uint8_t *output;
    size_t used, capacity;
};

static void on_error(png_structp png, png_const_charp message) {
    struct coder *coder = png_get_error_ptr(png);
    snprintf(coder->reason, sizeof coder->reason, "%s", message);
    png_longjmp(png, 1);
}

static void on_warning(png_structp png, png_const_charp message) {
    (void)png, (void)message; /* what libpng can repair or leave out is no error */
}

static void read_bytes(png_structp png, png_bytep to, size_t count) {
    struct coder *coder = png_get_io_ptr(png);
    if (count > coder->size - coder->at) png_error(png, "ends too early, the file is truncated");
    memcpy(to, coder->data + coder->at, count);
    coder->at += count;
}

/* Everything becomes 8 bits of gray, gray + alpha, RGB or RGBA. */
static void ask_for_bytes(png_structp png, png_infop info) {
    int type = png_get_color_type(png, info), depth = png_get_bit_depth(png, info);
    if (depth == 16) png_set_scale_16(png);
    if (type == PNG_COLOR_TYPE_PALETTE) png_set_palette_to_rgb(png);
    if (type == PNG_COLOR_TYPE_GRAY && depth < 8) png_set_expand_gray_1_2_4_to_8(png);
    if (png_get_valid(png, info, PNG_INFO_tRNS)) png_set_tRNS_to_alpha(png);
    png_set_interlace_handling(png);
    png_read_update_info(png, info);
}

static void fail_with(struct coder *coder, lam_status status) {
    coder->status = status;
    png_error(coder->png, "failed");
}

static void read_header(struct coder *coder) {
    png_structp png = coder->png;
    png_read_info(png, coder->info);
    png_uint_32 width = png_get_image_width(png, coder->info),
                height = png_get_image_height(png, coder->info);
    lam_status status = lam_image_check_size(coder->name, (int64_t)width, (int64_t)height);
    if (status != LAM_OK) fail_with(coder, status);
    if (png_get_rowbytes(png, coder->info) * height / LARGEST_RATIO > coder->size)
        png_error(png, "is far too short for its size in pixels, the file is truncated or damaged");
    ask_for_bytes(png, coder->info);
    status = lam_image_alloc(&coder->image, (int)width, (int)height, png_get_channels(png, coder->info));
    if (status != LAM_OK) fail_with(coder, status);
}

static void read_orientation(struct coder *coder) {
    png_bytep exif = NULL;
    png_uint_32 size = 0;
    if (!png_get_eXIf_1(coder->png, coder->info, &size, &exif) || size > 1 << 20) return;
    uint8_t *block = malloc(6 + (size_t)size); /* PNG leaves out the identifier that JPEG has */
    if (!block) return;
    memcpy(block, "Exif\0\0", 6);
    memcpy(block + 6, exif, size);
    coder->orientation = lam_exif_orientation(block, 6 + (size_t)size);
    free(block);
}

static bool read_image(struct coder *coder) {
    if (setjmp(png_jmpbuf(coder->png))) return false;
    png_set_read_fn(coder->png, coder, read_bytes);
    png_set_user_limits(coder->png, 0x7fffffff, 0x7fffffff);
    read_header(coder);
    const struct lam_image *image = &coder->image;
    size_t stride = (size_t)image->width * (size_t)image->channels;
    if (png_get_rowbytes(coder->png, coder->info) != stride) png_error(coder->png, "has rows of an odd size");
    coder->rows = malloc((size_t)image->height * sizeof *coder->rows);
    if (!coder->rows) fail_with(coder, lam_no_memory());
    for (int y = 0; y < image->height; y++) coder->rows[y] = image->pixels + (size_t)y * stride;
    png_read_image(coder->png, coder->rows);
    png_read_end(coder->png, coder->info);
    read_orientation(coder);
    return true;
}

lam_status lam_png_decode(const uint8_t *data, size_t size, const char *name, struct lam_image *image,
                          int *orientation) {
    struct coder coder = {.data = data, .size = size, .name = name, .orientation = 1};
    coder.png = png_create_read_struct(PNG_LIBPNG_VER_STRING, &coder, on_error, on_warning);
    if (coder.png) coder.info = png_create_info_struct(coder.png);
    bool done = coder.info && read_image(&coder);
    bool memory = coder.info != NULL;
    png_destroy_read_struct(&coder.png, &coder.info, NULL);
    free(coder.rows);
    if (done) {
        *image = coder.image;
        *orientation = coder.orientation;
        return LAM_OK;
    }
    lam_image_free(&coder.image);
    if (!memory) return lam_fail(LAM_ERR_NO_MEMORY, "%s: no memory for the PNG decoder", name);
    if (coder.status != LAM_OK) return coder.status; /* its text has been recorded */
    return lam_fail(LAM_ERR_FORMAT, "%s: PNG: %s (at byte %zu of %zu)", name, coder.reason, coder.at, size);
}

static void write_bytes(png_structp png, png_bytep from, size_t count) {
    struct coder *coder = png_get_io_ptr(png);
    if (count > coder->capacity - coder->used) {
        size_t capacity = 2 * coder->capacity + count + 4096;
        uint8_t *output = realloc(coder->output, capacity);
        if (!output) png_error(png, "out of memory");
        coder->output = output;
        coder->capacity = capacity;
    }
    memcpy(coder->output + coder->used, from, count);
    coder->used += count;
}

static void flush_nothing(png_structp png) {
    (void)png;
}

static bool write_image(struct coder *coder, const struct lam_image *image) {
    static const int types[] = {0, PNG_COLOR_TYPE_GRAY, PNG_COLOR_TYPE_GRAY_ALPHA, PNG_COLOR_TYPE_RGB,
                                PNG_COLOR_TYPE_RGB_ALPHA};
    if (setjmp(png_jmpbuf(coder->png))) return false;
    png_set_write_fn(coder->png, coder, write_bytes, flush_nothing);
    png_set_IHDR(coder->png, coder->info, (png_uint_32)image->width, (png_uint_32)image->height, 8,
                 types[image->channels], PNG_INTERLACE_NONE, PNG_COMPRESSION_TYPE_DEFAULT,
                 PNG_FILTER_TYPE_DEFAULT);
    png_write_info(coder->png, coder->info);
    size_t stride = (size_t)image->width * (size_t)image->channels;
    for (int y = 0; y < image->height; y++) png_write_row(coder->png, image->pixels + (size_t)y * stride);
    png_write_end(coder->png, NULL);
    return true;
}

lam_status lam_image_encode_png(const struct lam_image *image, uint8_t **data, size_t *size) {
    if (!image->pixels || image->channels < 1 || image->channels > 4)
        return lam_fail(LAM_ERR_INVALID, "PNG: an image of %d channels cannot be written", image->channels);
    LAM_TRY(lam_image_check_size("PNG", image->width, image->height));
    struct coder coder = {.reason = "out of memory"};
    coder.png = png_create_write_struct(PNG_LIBPNG_VER_STRING, &coder, on_error, on_warning);
    if (coder.png) coder.info = png_create_info_struct(coder.png);
    bool done = coder.info && write_image(&coder, image);
    png_destroy_write_struct(&coder.png, &coder.info);
    if (!done) {
        free(coder.output);
        return lam_fail(LAM_ERR_NO_MEMORY, "PNG: cannot be encoded: %s", coder.reason);
    }
    *data = coder.output;
    *size = coder.used;
    return LAM_OK;
}
