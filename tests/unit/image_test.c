/* Images: every encoding of the shared image-zoo against its reference, and small files made here: all PNG
 * kinds, orientation, ink, truncation at every byte, resizing against PIL's numbers. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <math.h>
#include <png.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/files.h"
#include "data/image.h"
#include "unit/sample_files.h"
#include "unit/tiny_jpeg.h"

static void must(lam_status status) {
    if (status != LAM_OK) fail_msg("%s", lam_error_text());
}

static void assert_says(const char *part) {
    if (!strstr(lam_error_text(), part)) fail_msg("'%s' does not say '%s'", lam_error_text(), part);
}

static void assert_size(const struct lam_image *image, int width, int height, int channels) {
    assert_int_equal(image->width, width);
    assert_int_equal(image->height, height);
    assert_int_equal(image->channels, channels);
}

/* Greatest and mean difference of two images of one size. */
static int difference(const struct lam_image *a, const struct lam_image *b, double *mean) {
    assert_size(a, b->width, b->height, b->channels);
    size_t count = (size_t)a->width * (size_t)a->height * (size_t)a->channels;
    int greatest = 0;
    double sum = 0;
    for (size_t i = 0; i < count; i++) {
        int d = abs(a->pixels[i] - b->pixels[i]);
        if (d > greatest) greatest = d;
        sum += d;
    }
    if (mean) *mean = sum / (double)count;
    return greatest;
}

/* ---- the zoo ---- */

static void jpeg_equals_the_reference_decoder(void **state) {
    (void)state;
    static const char *const names[] = {
        "jpg_base_411", "jpg_base_420",  "jpg_base_420_opthuff", "jpg_base_420_restart", "jpg_base_422",
        "jpg_base_440", "jpg_base_444",  "jpg_base_gray",        "jpg_ext_420_q10",      "jpg_prog_420",
        "jpg_prog_444", "jpg_prog_gray", "jpg_rgb_colorspace"};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        struct lam_image image = {0}, reference = {0};
        char name[128];
        snprintf(name, sizeof name, "image-zoo/%s.jpg", names[i]);
        const char *path = sample_data(name);
        if (!path) skip();
        must(lam_image_load(path, LAM_IMAGE_AS_IS, &image));
        snprintf(name, sizeof name, "image-zoo/ref/%s.png", names[i]);
        must(lam_image_load(sample_data(name), LAM_IMAGE_AS_IS, &reference));
        assert_int_equal(difference(&image, &reference, NULL), 0);
        lam_image_free(&image);
        lam_image_free(&reference);
    }
}

static void every_other_encoding_shows_the_picture(void **state) {
    (void)state;
    static const struct {
        const char *name;
        int channels;
        double mean; /* difference from the original that lossy coding may make */
    } cases[] = {
        {"png_gray8.png", 1, 0},       {"png_gray_alpha.png", 2, 0},    {"png_interlaced_rgb8.png", 3, 0},
        {"png_rgb16.png", 3, 0},       {"png_rgba.png", 4, 0},          {"bad_png_named.jpg", 4, 0},
        {"png_palette64.png", 3, 1.5}, {"png_palette4bit.png", 3, 3.5}, {"jpg_exif_orient6.jpg", 3, 3},
        {"jpg_cmyk_adobe.jpg", 3, 3},  {"jpg_arith_420.jpg", 3, 3}};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct lam_image image = {0}, original = {0};
        char name[128];
        snprintf(name, sizeof name, "image-zoo/%s", cases[i].name);
        const char *path = sample_data(name);
        if (!path) skip();
        lam_status status = lam_image_load(path, LAM_IMAGE_AS_IS, &image);
        if (status == LAM_ERR_UNSUPPORTED && strstr(name, "arith"))
            continue; /* depends on the library's build */
        must(status);
        assert_size(&image, 203, 149, cases[i].channels);
        lam_image_free(&image);
        enum lam_image_mode mode = cases[i].channels < 3 ? LAM_IMAGE_GRAY : LAM_IMAGE_RGB;
        must(lam_image_load(sample_data(name), mode, &image));
        must(lam_image_load(sample_data("image-zoo/base_203x149.png"), mode, &original));
        double mean;
        difference(&image, &original, &mean);
        if (mean > cases[i].mean) fail_msg("%s differs by %f", name, mean);
        lam_image_free(&image);
        lam_image_free(&original);
    }
}

static void one_bit_is_black_and_white(void **state) {
    (void)state;
    const char *path = sample_data("image-zoo/png_1bit.png");
    if (!path) skip();
    struct lam_image image = {0};
    must(lam_image_load(path, LAM_IMAGE_AS_IS, &image));
    assert_size(&image, 203, 149, 1);
    int white = 0;
    for (int i = 0; i < 203 * 149; i++) {
        assert_true(image.pixels[i] == 0 || image.pixels[i] == 255);
        white += image.pixels[i] == 255;
    }
    assert_in_range(white, 1, 203 * 149 - 1);
    lam_image_free(&image);
}

static void zoo_files_that_cannot_be_read_say_why(void **state) {
    (void)state;
    static const struct {
        const char *name;
        lam_status status;
        const char *reason;
    } cases[] = {{"bmp_rgb24.bmp", LAM_ERR_UNSUPPORTED, "is a BMP file"},
                 {"pgm_p5.pgm", LAM_ERR_UNSUPPORTED, "is a PGM file"},
                 {"ppm_p6.ppm", LAM_ERR_UNSUPPORTED, "is a PPM file"},
                 {"bad_truncated.jpg", LAM_ERR_FORMAT, "Premature end"},
                 {"bad_truncated.png", LAM_ERR_FORMAT, "truncated"}};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char name[128];
        snprintf(name, sizeof name, "image-zoo/%s", cases[i].name);
        const char *path = sample_data(name);
        if (!path) skip();
        struct lam_image image = {0};
        assert_int_equal(lam_image_load(path, LAM_IMAGE_RGB, &image), cases[i].status);
        assert_says(cases[i].reason);
        assert_says(cases[i].name);
        assert_null(image.pixels);
    }
}

/* ---- PNG of every kind, written here by libpng ---- */

struct png_case {
    int type, depth;
    bool interlaced, transparent;
    int channels; /* as read */
};

static void take(png_structp png, png_bytep data, size_t size) {
    FILE *file = png_get_io_ptr(png);
    assert_int_equal(fwrite(data, 1, size, file), size);
}

enum { WIDTH = 13, HEIGHT = 9, COLOURS = 16 };

static png_color palette_colour(int i) {
    return (png_color){(png_byte)(i * 16), (png_byte)(255 - i * 7), (png_byte)(i * i)};
}

/* The stored value of channel c at (x, y), below 2^depth. */
static int stored(const struct png_case *c, int x, int y, int channel) {
    int limit = c->type == PNG_COLOR_TYPE_PALETTE && c->depth > 4 ? COLOURS : 1 << c->depth;
    return (x * 7 + y * 13 + channel * 29 + x * y * 311) % limit;
}

static void put_row(const struct png_case *c, int samples, int y, png_byte *row) {
    memset(row, 0, 8 * WIDTH);
    for (int x = 0; x < WIDTH; x++)
        for (int k = 0; k < samples; k++) {
            int value = stored(c, x, y, k), bit = (x * samples + k) * c->depth;
            if (c->depth == 16) {
                row[bit / 8] = (png_byte)(value >> 8);
                row[bit / 8 + 1] = (png_byte)value;
            } else {
                row[bit / 8] = (png_byte)(row[bit / 8] | value << (8 - c->depth - bit % 8));
            }
        }
}

static size_t write_png(const struct png_case *c, uint8_t **data) {
    char *buffer;
    size_t size;
    FILE *file = open_memstream(&buffer, &size);
    png_structp png = png_create_write_struct(PNG_LIBPNG_VER_STRING, NULL, NULL, NULL);
    png_infop info = png_create_info_struct(png);
    png_set_write_fn(png, file, take, NULL);
    png_set_IHDR(png, info, WIDTH, HEIGHT, c->depth, c->type, c->interlaced, 0, 0);
    png_color palette[COLOURS];
    png_byte alpha[COLOURS];
    for (int i = 0; i < COLOURS; i++) {
        palette[i] = palette_colour(i);
        alpha[i] = (png_byte)(i * 3);
    }
    int colours = c->depth < 4 ? 1 << c->depth : COLOURS;
    if (c->type == PNG_COLOR_TYPE_PALETTE) png_set_PLTE(png, info, palette, colours);
    png_color_16 clear = {.gray = 1, .red = 5, .green = 34, .blue = 63};
    if (c->transparent) png_set_tRNS(png, info, alpha, colours, &clear);
    png_write_info(png, info);
    int samples = png_get_channels(png, info);
    png_byte row[8 * WIDTH];
    int passes = png_set_interlace_handling(png);
    for (int pass = 0; pass < passes; pass++)
        for (int y = 0; y < HEIGHT; y++) {
            put_row(c, samples, y, row);
            png_write_row(png, row);
        }
    png_write_end(png, info);
    png_destroy_write_struct(&png, &info);
    fclose(file);
    *data = (uint8_t *)buffer;
    return size;
}

static int expected(const struct png_case *c, int x, int y, int channel) {
    int value = stored(c, x, y, channel);
    if (c->type == PNG_COLOR_TYPE_PALETTE) {
        int colour = stored(c, x, y, 0);
        png_color p = palette_colour(colour);
        return channel == 0 ? p.red : channel == 1 ? p.green : channel == 2 ? p.blue : colour * 3;
    }
    if (c->transparent && channel == 1 && c->type == PNG_COLOR_TYPE_GRAY) /* alpha made from tRNS */
        return stored(c, x, y, 0) == 1 ? 0 : 255;
    return (int)lround(value * 255.0 / ((1 << c->depth) - 1));
}

static void every_kind_of_png(void **state) {
    (void)state;
    static const struct png_case cases[] = {
        {PNG_COLOR_TYPE_GRAY, 1, false, false, 1},        {PNG_COLOR_TYPE_GRAY, 2, true, false, 1},
        {PNG_COLOR_TYPE_GRAY, 4, false, false, 1},        {PNG_COLOR_TYPE_GRAY, 8, false, false, 1},
        {PNG_COLOR_TYPE_GRAY, 16, true, false, 1},        {PNG_COLOR_TYPE_GRAY, 4, false, true, 2},
        {PNG_COLOR_TYPE_GRAY, 8, true, true, 2},          {PNG_COLOR_TYPE_GRAY_ALPHA, 8, true, false, 2},
        {PNG_COLOR_TYPE_GRAY_ALPHA, 16, false, false, 2}, {PNG_COLOR_TYPE_RGB, 8, true, false, 3},
        {PNG_COLOR_TYPE_RGB, 16, false, false, 3},        {PNG_COLOR_TYPE_RGB_ALPHA, 8, false, false, 4},
        {PNG_COLOR_TYPE_RGB_ALPHA, 16, true, false, 4},   {PNG_COLOR_TYPE_PALETTE, 1, false, false, 3},
        {PNG_COLOR_TYPE_PALETTE, 2, true, false, 3},      {PNG_COLOR_TYPE_PALETTE, 4, false, true, 4},
        {PNG_COLOR_TYPE_PALETTE, 8, true, false, 3},      {PNG_COLOR_TYPE_PALETTE, 8, false, true, 4},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        uint8_t *data;
        size_t size = write_png(&cases[i], &data);
        struct lam_image image = {0};
        must(lam_image_decode(data, size, "made.png", LAM_IMAGE_AS_IS, &image));
        assert_size(&image, WIDTH, HEIGHT, cases[i].channels);
        for (int y = 0; y < HEIGHT; y++)
            for (int x = 0; x < WIDTH; x++)
                for (int c = 0; c < image.channels; c++) {
                    int got = image.pixels[(y * WIDTH + x) * image.channels + c];
                    int want = expected(&cases[i], x, y, c);
                    if (got != want)
                        fail_msg("case %zu at %d, %d, channel %d: %d, not %d", i, x, y, c, got, want);
                }
        lam_image_free(&image);
        free(data);
    }
}

/* ---- damage ---- */

/* Every proper beginning of a file is an error, and none of them leaks or crashes. */
static void refuse_beginnings(const uint8_t *data, size_t size) {
    struct lam_image image = {0};
    must(lam_image_decode(data, size, "whole", LAM_IMAGE_AS_IS, &image));
    lam_image_free(&image);
    for (size_t length = 0; length < size; length++) {
        uint8_t *part =
            malloc(length ? length : 1); /* of its own, so that a sanitizer sees reads behind it */
        memcpy(part, data, length);
        lam_status status = lam_image_decode(part, length, "cut.img", LAM_IMAGE_RGB, &image);
        if (status == LAM_OK) fail_msg("%zu of %zu bytes were accepted", length, size);
        assert_int_equal(status, LAM_ERR_FORMAT);
        assert_says("cut.img: ");
        if (length > 3) assert_says(data[0] == 0xff ? "JPEG: " : length < 8 ? "neither" : "PNG: ");
        assert_null(image.pixels);
        free(part);
    }
}

static void truncation_at_any_byte_is_an_error(void **state) {
    (void)state;
    refuse_beginnings(jpeg_quadrants, sizeof jpeg_quadrants);
    refuse_beginnings(jpeg_progressive, sizeof jpeg_progressive);
    refuse_beginnings(jpeg_cmyk, sizeof jpeg_cmyk);
    static const struct png_case cases[] = {{PNG_COLOR_TYPE_PALETTE, 4, true, true, 4},
                                            {PNG_COLOR_TYPE_RGB, 16, false, false, 3}};
    for (int i = 0; i < 2; i++) {
        uint8_t *data;
        size_t size = write_png(&cases[i], &data);
        refuse_beginnings(data, size);
        free(data);
    }
}

static void a_changed_byte_never_crashes(void **state) {
    (void)state;
    static const uint8_t changes[] = {0x01, 0x80, 0xff};
    for (size_t at = 0; at < sizeof jpeg_progressive; at++)
        for (size_t k = 0; k < sizeof changes; k++) {
            uint8_t data[sizeof jpeg_progressive];
            memcpy(data, jpeg_progressive, sizeof data);
            data[at] ^= changes[k];
            struct lam_image image = {0};
            if (lam_image_decode(data, sizeof data, "x", LAM_IMAGE_RGB, &image) != LAM_OK)
                assert_null(image.pixels);
            lam_image_free(&image);
        }
    struct png_case c = {PNG_COLOR_TYPE_RGB, 8, false, false, 3};
    uint8_t *data;
    size_t size = write_png(&c, &data);
    for (size_t at = 0; at < size; at++) { /* a checksum covers every byte of a PNG */
        data[at] ^= 0x10;
        struct lam_image image = {0};
        lam_status status = lam_image_decode(data, size, "x", LAM_IMAGE_RGB, &image);
        assert_int_not_equal(status, LAM_OK);
        data[at] ^= 0x10;
    }
    free(data);
}

static void a_failed_read_leaves_the_image_as_it_was(void **state) {
    (void)state;
    struct lam_image image = {0};
    must(lam_image_decode(jpeg_quadrants, sizeof jpeg_quadrants, "x", LAM_IMAGE_RGB, &image));
    uint8_t *before = image.pixels;
    assert_int_equal(lam_image_decode("BM......", 8, "x", LAM_IMAGE_RGB, &image), LAM_ERR_UNSUPPORTED);
    assert_ptr_equal(image.pixels, before);
    assert_size(&image, 32, 16, 3);
    assert_int_equal(lam_image_load("/nonexistent/a.png", LAM_IMAGE_RGB, &image), LAM_ERR_NOT_FOUND);
    assert_says("/nonexistent/a.png");
    assert_ptr_equal(image.pixels, before);
    lam_image_free(&image);
}

static void contents_that_are_no_image(void **state) {
    (void)state;
    static const struct {
        const char *data, *reason;
        size_t size;
        lam_status status;
    } cases[] = {{"", "is empty", 0, LAM_ERR_FORMAT},
                 {"GIF89a....", "is a GIF file", 10, LAM_ERR_UNSUPPORTED},
                 {"RIFF\1\2\3\4WEBPVP8 ", "is a WebP file", 16, LAM_ERR_UNSUPPORTED},
                 {"II*\0....", "is a TIFF file", 8, LAM_ERR_UNSUPPORTED},
                 {"MM\0*....", "is a TIFF file", 8, LAM_ERR_UNSUPPORTED},
                 {"hello", "neither PNG nor JPEG (begins with bytes 68 65 6c 6c 6f)", 5, LAM_ERR_FORMAT},
                 {"version https://git-lfs", "Git LFS pointer", 23, LAM_ERR_UNSUPPORTED}};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct lam_image image = {0};
        assert_int_equal(lam_image_decode(cases[i].data, cases[i].size, "f", LAM_IMAGE_RGB, &image),
                         cases[i].status);
        assert_says(cases[i].reason);
    }
}

static void absurd_sizes_take_no_memory(void **state) {
    (void)state;
    struct png_case c = {PNG_COLOR_TYPE_RGB, 8, false, false, 3};
    uint8_t *data;
    size_t size = write_png(&c, &data);
    static const uint8_t large[2][4] = {{0x7f, 0xff, 0xff, 0xff}, {0, 0, 0x40, 0}}; /* 2^31 - 1 and 16384 */
    for (int i = 0; i < 2; i++) {
        memcpy(data + 16, large[i], 4);
        memcpy(data + 20, large[i], 4);
        uint32_t crc = 0xffffffffu;
        for (int k = 12; k < 29; k++) {
            crc ^= data[k];
            for (int b = 0; b < 8; b++) crc = crc >> 1 ^ (crc & 1 ? 0xedb88320u : 0);
        }
        crc = ~crc;
        for (int k = 0; k < 4; k++) data[29 + k] = (uint8_t)(crc >> (24 - 8 * k));
        struct lam_image image = {0};
        lam_status status = lam_image_decode(data, size, "huge.png", LAM_IMAGE_RGB, &image);
        assert_true(status == LAM_ERR_UNSUPPORTED || status == LAM_ERR_FORMAT);
        assert_says(i == 0 ? "2147483647" : "too large");
    }
    free(data);
    struct lam_image image = {0};
    assert_int_equal(lam_image_alloc(&image, 60000, 60000, 3), LAM_ERR_UNSUPPORTED);
    assert_int_equal(lam_image_alloc(&image, 4, 4, 5), LAM_ERR_INVALID);
    assert_int_equal(lam_image_alloc(&image, 0, 4, 3), LAM_ERR_FORMAT);
}

/* ---- JPEG's own ways ---- */

/* A pixel from the middle of a quarter: 0 top left, 1 top right, 2 bottom left, 3 bottom right. */
static char quarter(const struct lam_image *image, int which) {
    int x = image->width / 4 + (which & 1) * image->width / 2;
    int y = image->height / 4 + (which >> 1) * image->height / 2;
    const uint8_t *p = image->pixels + 3 * (y * image->width + x);
    if (p[0] > 240 && p[1] > 240 && p[2] > 240) return 'w';
    return p[0] > 240 && p[1] < 9 ? 'r' : p[1] > 240 && p[0] < 9 ? 'g' : p[2] > 240 && p[0] < 9 ? 'b' : '?';
}

/* The small picture with an EXIF block after its start, and perhaps another block of that kind before it. */
static size_t with_exif(uint8_t *to, int orientation, bool big_endian, bool other_first) {
    static const uint8_t other[] = {0xff, 0xe1, 0, 8, 'h', 't', 't', 'p', ':', 0};
    uint8_t exif[] = {0xff,
                      0xe1,
                      0,
                      34,
                      'E',
                      'x',
                      'i',
                      'f',
                      0,
                      0,
                      'I',
                      'I',
                      42,
                      0,
                      8,
                      0,
                      0,
                      0,
                      1,
                      0,
                      0x12,
                      1,
                      3,
                      0,
                      1,
                      0,
                      0,
                      0,
                      (uint8_t)orientation,
                      0,
                      0,
                      0,
                      0,
                      0,
                      0,
                      0};
    static const uint8_t big[] = {'M', 'M', 0, 42, 0, 0, 0, 8, 0, 1, 1, 0x12, 0, 3, 0, 0, 0, 1, 0};
    if (big_endian) {
        memcpy(exif + 10, big, sizeof big);
        exif[28] = 0;
        exif[29] = (uint8_t)orientation;
    }
    size_t used = 2;
    memcpy(to, jpeg_quadrants, 2);
    if (other_first) {
        memcpy(to + used, other, sizeof other);
        used += sizeof other;
    }
    memcpy(to + used, exif, sizeof exif);
    used += sizeof exif;
    memcpy(to + used, jpeg_quadrants + 2, sizeof jpeg_quadrants - 2);
    return used + sizeof jpeg_quadrants - 2;
}

static void all_orientations_are_turned_upright(void **state) {
    (void)state;
    /* stored: red green / blue white; EXIF 2.3, 4.6.4 A: where row 0 and column 0 are seen */
    static const char *const upright[] = {"rgbw", "rgbw", "grwb", "wbgr", "bwrg",
                                          "rbgw", "brwg", "wgbr", "gwrb"};
    for (int o = 0; o <= 9; o++)
        for (int kind = 0; kind < 4; kind++) {
            uint8_t data[sizeof jpeg_quadrants + 64];
            size_t size = with_exif(data, o, kind & 1, kind >> 1);
            struct lam_image image = {0};
            must(lam_image_decode(data, size, "turned.jpg", LAM_IMAGE_RGB, &image));
            bool turned = o >= 5 && o <= 8;
            assert_size(&image, turned ? 16 : 32, turned ? 32 : 16, 3);
            const char *want = upright[o <= 8 ? o : 1];
            for (int q = 0; q < 4; q++)
                if (quarter(&image, q) != want[q])
                    fail_msg("orientation %d, quarter %d: %c, not %c", o, q, quarter(&image, q), want[q]);
            lam_image_free(&image);
        }
}

static void near(const uint8_t *pixel, int r, int g, int b) {
    if (abs(pixel[0] - r) > 2 || abs(pixel[1] - g) > 2 || abs(pixel[2] - b) > 2)
        fail_msg("%d %d %d, not %d %d %d", pixel[0], pixel[1], pixel[2], r, g, b);
}

static void ink_becomes_colour(void **state) {
    (void)state;
    struct lam_image image = {0};
    uint8_t data[sizeof jpeg_cmyk];
    memcpy(data, jpeg_cmyk, sizeof data);
    must(lam_image_decode(data, sizeof data, "ink", LAM_IMAGE_AS_IS, &image));
    assert_size(&image, 16, 8, 3);
    near(image.pixels + 3 * 34, 0, 255, 255);
    near(image.pixels + 3 * 46, 204, 102, 204);
    uint8_t *adobe = memmem(data, sizeof data, "Adobe", 5);
    adobe[11] = 2; /* the same bytes read as YCCK; what PIL makes of them */
    must(lam_image_decode(data, sizeof data, "ink", LAM_IMAGE_AS_IS, &image));
    near(image.pixels + 3 * 34, 77, 255, 30);
    near(image.pixels + 3 * 46, 0, 72, 2);
    adobe[0] = 'a'; /* without the mark, bytes are ink, not paper */
    must(lam_image_decode(data, sizeof data, "ink", LAM_IMAGE_AS_IS, &image));
    near(image.pixels + 3 * 34, 0, 0, 0);
    near(image.pixels + 3 * 46, 0, 26, 0);
    lam_image_free(&image);
}

static void bytes_behind_the_end_do_no_harm(void **state) {
    (void)state;
    uint8_t data[sizeof jpeg_quadrants + 100] = {0};
    memcpy(data, jpeg_quadrants, sizeof jpeg_quadrants);
    struct lam_image image = {0};
    must(lam_image_decode(data, sizeof data, "x", LAM_IMAGE_RGB, &image));
    assert_int_equal(quarter(&image, 3), 'w');
    /* stray bytes before the end marker are an oddity of some cameras */
    memcpy(data + sizeof jpeg_quadrants - 2, "\1\2\3\4\xff\xd9", 6);
    must(lam_image_decode(data, sizeof jpeg_quadrants + 4, "x", LAM_IMAGE_RGB, &image));
    assert_int_equal(quarter(&image, 3), 'w');
    lam_image_free(&image);
}

/* ---- writing and converting ---- */

static void png_round_trip(void **state) {
    (void)state;
    for (int channels = 1; channels <= 4; channels++) {
        struct lam_image image = {0}, back = {0};
        must(lam_image_alloc(&image, 17, 5, channels));
        for (int i = 0; i < 17 * 5 * channels; i++) image.pixels[i] = (uint8_t)(i * 89);
        uint8_t *data;
        size_t size;
        must(lam_image_encode_png(&image, &data, &size));
        must(lam_image_decode(data, size, "back", LAM_IMAGE_AS_IS, &back));
        assert_int_equal(difference(&image, &back, NULL), 0);
        free(data);
        lam_image_free(&image);
        lam_image_free(&back);
    }
}

static void saving_is_all_or_nothing(void **state) {
    (void)state;
    char *folder = make_folder();
    struct lam_image image = {0}, back = {0};
    must(lam_image_alloc(&image, 3, 2, 3));
    memset(image.pixels, 200, 18);
    char *path = lam_path_join(folder, "a.png");
    must(lam_image_save_png(path, &image));
    must(lam_image_load(path, LAM_IMAGE_GRAY, &back));
    assert_size(&back, 3, 2, 1);
    assert_int_equal(back.pixels[5], 200);
    char *nowhere = lam_path_join(folder, "no/b.png");
    assert_int_equal(lam_image_save_png(nowhere, &image), LAM_ERR_IO);
    assert_says(nowhere);
    struct lam_image empty = {0};
    assert_int_equal(lam_image_save_png(path, &empty), LAM_ERR_INVALID);
    must(lam_image_load(path, LAM_IMAGE_RGB, &back)); /* still whole */
    free(path);
    free(nowhere);
    lam_image_free(&image);
    lam_image_free(&back);
    remove_folder(folder);
}

static void modes_convert(void **state) {
    (void)state;
    static const struct {
        int channels;
        uint8_t from[4], gray, rgb[3];
    } cases[] = {{1, {77}, 77, {77, 77, 77}},          {2, {77, 9}, 77, {77, 77, 77}},
                 {3, {255, 0, 0}, 76, {255, 0, 0}},    {3, {0, 255, 0}, 150, {0, 255, 0}},
                 {4, {0, 0, 255, 3}, 29, {0, 0, 255}}, {3, {255, 255, 255}, 255, {255, 255, 255}}};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct lam_image image = {0}, back = {0};
        must(lam_image_alloc(&image, 1, 1, cases[i].channels));
        memcpy(image.pixels, cases[i].from, (size_t)cases[i].channels);
        uint8_t *data;
        size_t size;
        must(lam_image_encode_png(&image, &data, &size));
        must(lam_image_decode(data, size, "x", LAM_IMAGE_GRAY, &back));
        assert_size(&back, 1, 1, 1);
        assert_int_equal(back.pixels[0], cases[i].gray);
        must(lam_image_decode(data, size, "x", LAM_IMAGE_RGB, &back));
        assert_size(&back, 1, 1, 3);
        assert_memory_equal(back.pixels, cases[i].rgb, 3);
        free(data);
        lam_image_free(&image);
        lam_image_free(&back);
    }
}

/* ---- resizing ---- */

/* PIL 9.4, Image.resize(size, BILINEAR) of the 7 x 5 RGB picture whose bytes are 37 i mod 256. */
static const uint8_t pil_3x4[] = {97,  79,  116, 139, 116, 93,  116, 153, 135, 108, 90,  127,
                                  150, 127, 104, 127, 164, 146, 118, 100, 137, 160, 137, 114,
                                  137, 174, 156, 88,  111, 148, 126, 103, 125, 148, 144, 98};
static const uint8_t pil_11x9[] = {
    0,   37,  74,  50,  87,  124, 121, 135, 172, 192, 43,  80,  169, 43,  80,  77,  114, 151, 148, 185,
    59,  148, 185, 36,  56,  93,  107, 104, 141, 178, 154, 191, 228, 3,   40,  77,  53,  90,  127, 124,
    138, 175, 195, 46,  83,  172, 46,  83,  80,  117, 154, 151, 188, 62,  151, 188, 39,  59,  96,  110,
    107, 144, 181, 157, 194, 231, 8,   45,  82,  58,  95,  132, 129, 143, 180, 200, 51,  88,  177, 51,
    88,  85,  122, 159, 156, 193, 67,  156, 193, 44,  64,  101, 115, 112, 149, 186, 162, 199, 236, 13,
    50,  87,  63,  100, 137, 134, 148, 185, 205, 56,  93,  182, 56,  93,  90,  127, 164, 161, 198, 72,
    161, 198, 49,  69,  106, 120, 117, 154, 191, 167, 204, 241, 18,  55,  92,  68,  105, 142, 139, 153,
    190, 210, 61,  98,  187, 61,  98,  95,  132, 169, 166, 203, 77,  166, 203, 54,  74,  111, 125, 122,
    159, 196, 172, 209, 246, 23,  60,  97,  73,  110, 147, 144, 158, 195, 215, 66,  103, 192, 66,  103,
    100, 137, 174, 171, 208, 82,  171, 208, 59,  79,  116, 130, 127, 164, 201, 177, 214, 251, 28,  65,
    102, 78,  115, 152, 146, 163, 200, 199, 71,  108, 179, 71,  108, 105, 142, 179, 176, 195, 87,  176,
    192, 64,  84,  118, 135, 132, 169, 190, 182, 219, 228, 33,  70,  107, 83,  120, 157, 139, 168, 205,
    101, 76,  113, 93,  76,  113, 110, 147, 184, 181, 109, 92,  181, 94,  69,  89,  111, 140, 137, 174,
    118, 187, 224, 90,  36,  73,  110, 86,  123, 160, 134, 171, 208, 42,  79,  116, 42,  79,  116, 113,
    150, 187, 184, 58,  95,  184, 35,  72,  92,  106, 143, 140, 177, 74,  190, 227, 8};
static const uint8_t pil_7x2[] = {9,  46, 83,  120, 157, 194, 231, 12, 49, 86,  123, 160, 197, 234,
                                  15, 52, 89,  126, 163, 200, 237, 27, 64, 101, 138, 175, 212, 168,
                                  30, 67, 104, 141, 178, 215, 171, 33, 70, 107, 144, 181, 218, 174};
static const uint8_t pil_1x1[] = {130, 125, 123};

static void resize_is_pils(void **state) {
    (void)state;
    static const struct {
        int width, height;
        const uint8_t *pixels;
    } cases[] = {{3, 4, pil_3x4}, {11, 9, pil_11x9}, {7, 2, pil_7x2}, {1, 1, pil_1x1}};
    struct lam_image image = {0}, resized = {0};
    must(lam_image_alloc(&image, 7, 5, 3));
    for (int i = 0; i < 7 * 5 * 3; i++) image.pixels[i] = (uint8_t)(i * 37);
    for (size_t k = 0; k < sizeof cases / sizeof cases[0]; k++) {
        must(lam_image_resize(&image, cases[k].width, cases[k].height, &resized));
        assert_size(&resized, cases[k].width, cases[k].height, 3);
        for (int i = 0; i < cases[k].width * cases[k].height * 3; i++)
            if (abs(resized.pixels[i] - cases[k].pixels[i]) > 1)
                fail_msg("%d x %d, byte %d: %d, not %d", cases[k].width, cases[k].height, i,
                         resized.pixels[i], cases[k].pixels[i]);
    }
    lam_image_free(&image);
    lam_image_free(&resized);
}

/* Plain definition, in one pass, without rounding in between. */
static double plain_bilinear(const struct lam_image *image, int width, int height, int x, int y, int c) {
    double sx = (double)image->width / width, sy = (double)image->height / height, sum = 0, weights = 0;
    double rx = fmax(sx, 1), ry = fmax(sy, 1);
    for (int v = 0; v < image->height; v++)
        for (int u = 0; u < image->width; u++) {
            double wx = fmax(0, 1 - fabs((u + 0.5 - (x + 0.5) * sx) / rx));
            double wy = fmax(0, 1 - fabs((v + 0.5 - (y + 0.5) * sy) / ry));
            sum += wx * wy * image->pixels[(v * image->width + u) * image->channels + c];
            weights += wx * wy;
        }
    return sum / weights;
}

static void resize_is_a_weighted_mean(void **state) {
    (void)state;
    static const int sizes[][4] = {
        {40, 30, 13, 7}, {13, 7, 40, 30}, {31, 17, 31, 17}, {1, 1, 5, 4}, {50, 3, 7, 11}};
    for (size_t k = 0; k < sizeof sizes / sizeof sizes[0]; k++)
        for (int channels = 1; channels <= 4; channels++) {
            struct lam_image image = {0}, resized = {0};
            must(lam_image_alloc(&image, sizes[k][0], sizes[k][1], channels));
            for (int i = 0; i < image.width * image.height * channels; i++)
                image.pixels[i] = (uint8_t)(i * i * 31 + i * 7);
            must(lam_image_resize(&image, sizes[k][2], sizes[k][3], &resized));
            for (int y = 0; y < resized.height; y++)
                for (int x = 0; x < resized.width; x++)
                    for (int c = 0; c < channels; c++) {
                        double want = plain_bilinear(&image, resized.width, resized.height, x, y, c);
                        double got = resized.pixels[(y * resized.width + x) * channels + c];
                        if (fabs(got - want) > 1.01) fail_msg("case %zu: %f, not %f", k, got, want);
                    }
            lam_image_free(&image);
            lam_image_free(&resized);
        }
}

/* Every part of a resized image is that part of the whole resized image, to the bit. */
static void resizing_a_part_is_cutting_the_whole(void **state) {
    (void)state;
    static const int cases[][3] = {{7, 5, 3}, {40, 31, 1}, {31, 64, 4}};
    static const int sizes[][2] = {{20, 13}, {5, 4}, {40, 31}, {1, 1}, {9, 50}};
    for (size_t k = 0; k < 3; k++)
        for (size_t n = 0; n < 5; n++) {
            struct lam_image image = {0}, whole = {0}, part = {0};
            int channels = cases[k][2], width = sizes[n][0], height = sizes[n][1];
            must(lam_image_alloc(&image, cases[k][0], cases[k][1], channels));
            for (int i = 0; i < image.width * image.height * channels; i++)
                image.pixels[i] = (uint8_t)(i * 37 + i / 11);
            must(lam_image_resize(&image, width, height, &whole));
            for (int x = 0; x < width; x += 1 + width / 4)
                for (int y = 0; y < height; y += 1 + height / 4)
                    for (int w = 1; w <= width - x; w += 1 + width / 3) {
                        int h = height - y > 2 ? height - y - 1 : 1;
                        must(lam_image_resize_part(&image, width, height, x, y, w, h, &part));
                        assert_size(&part, w, h, channels);
                        for (int row = 0; row < h; row++)
                            assert_memory_equal(part.pixels + row * w * channels,
                                                whole.pixels + ((y + row) * width + x) * channels,
                                                (size_t)(w * channels));
                    }
            assert_int_equal(lam_image_resize_part(&image, width, height, 1, 0, width, height, &part),
                             LAM_ERR_INVALID);
            assert_int_equal(lam_image_resize_part(&image, width, height, 0, -1, 1, 1, &part),
                             LAM_ERR_INVALID);
            lam_image_free(&image);
            lam_image_free(&whole);
            lam_image_free(&part);
        }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(jpeg_equals_the_reference_decoder),
        cmocka_unit_test(every_other_encoding_shows_the_picture),
        cmocka_unit_test(one_bit_is_black_and_white),
        cmocka_unit_test(zoo_files_that_cannot_be_read_say_why),
        cmocka_unit_test(every_kind_of_png),
        cmocka_unit_test(truncation_at_any_byte_is_an_error),
        cmocka_unit_test(a_changed_byte_never_crashes),
        cmocka_unit_test(a_failed_read_leaves_the_image_as_it_was),
        cmocka_unit_test(contents_that_are_no_image),
        cmocka_unit_test(absurd_sizes_take_no_memory),
        cmocka_unit_test(all_orientations_are_turned_upright),
        cmocka_unit_test(ink_becomes_colour),
        cmocka_unit_test(bytes_behind_the_end_do_no_harm),
        cmocka_unit_test(png_round_trip),
        cmocka_unit_test(saving_is_all_or_nothing),
        cmocka_unit_test(modes_convert),
        cmocka_unit_test(resize_is_pils),
        cmocka_unit_test(resize_is_a_weighted_mean),
        cmocka_unit_test(resizing_a_part_is_cutting_the_whole),
    };
    return cmocka_run_group_tests_name("image", tests, NULL, NULL);
}
