/* Image files: any bytes give an image or an error. What is decoded is written as PNG and read back. */
#include <stdlib.h>
#include <string.h>

#include "data/image.h"
#include "fuzz/fuzz.h"

enum { MOST_PIXELS = 1 << 18 }; /* larger pictures are only slower */

static uint32_t big(const uint8_t *at, int bytes) {
    uint32_t value = 0;
    for (int i = 0; i < bytes; i++) value = value << 8 | at[i];
    return value;
}

static int is_large(const uint8_t *data, size_t size) {
    if (size >= 24 && data[0] == 0x89) return (uint64_t)big(data + 16, 4) * big(data + 20, 4) > MOST_PIXELS;
    for (size_t i = 0; i + 9 <= size && data[0] == 0xff; i++)
        if (data[i] == 0xff && data[i + 1] >= 0xc0 && data[i + 1] <= 0xcf &&
            (uint64_t)big(data + i + 5, 2) * big(data + i + 7, 2) > MOST_PIXELS)
            return 1;
    return 0;
}

static void write_and_read_back(const struct lam_image *image) {
    uint8_t *data;
    size_t size;
    struct lam_image back = {0};
    FUZZ_CHECK(lam_image_encode_png(image, &data, &size) == LAM_OK);
    FUZZ_CHECK(lam_image_decode(data, size, "back", LAM_IMAGE_AS_IS, &back) == LAM_OK);
    FUZZ_CHECK(back.width == image->width && back.height == image->height &&
               back.channels == image->channels);
    size_t bytes = (size_t)image->width * (size_t)image->height * (size_t)image->channels;
    FUZZ_CHECK(memcmp(back.pixels, image->pixels, bytes) == 0);
    lam_image_free(&back);
    free(data);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    if (is_large(data, size)) return 0;
    for (int mode = LAM_IMAGE_AS_IS; mode <= LAM_IMAGE_GRAY; mode++) {
        struct lam_image image = {0};
        lam_status status = lam_image_decode(data, size, "input", (enum lam_image_mode)mode, &image);
        FUZZ_CHECK((status == LAM_OK) == (image.pixels != NULL));
        if (status != LAM_OK)
            FUZZ_CHECK(strncmp(lam_error_text(), "input: ", 7) == 0);
        else
            write_and_read_back(&image);
        lam_image_free(&image);
        if (status != LAM_OK) break;
    }
    return 0;
}
