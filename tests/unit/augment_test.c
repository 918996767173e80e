/* Augmentation against a plain reference that pads, cuts, mirrors and normalises step by step, and the
 * statistics of what is random. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "data/augment.h"

static struct lam_image make_image(int width, int height, int channels) {
    struct lam_image image = {0};
    if (lam_image_alloc(&image, width, height, channels) != LAM_OK) fail_msg("%s", lam_error_text());
    for (int i = 0; i < width * height * channels; i++) image.pixels[i] = (uint8_t)(i * 73 + i / 5);
    return image;
}

static struct lam_augment make_augment(int size, int channels) {
    return (struct lam_augment){
        .size = size, .channels = channels, .mean = {.49f, .48f, .45f}, .deviation = {.25f, .24f, .26f}};
}

static float normalised(const struct lam_augment *a, int channel, int pixel) {
    return ((float)pixel / 255 - a->mean[channel]) / a->deviation[channel];
}

/* Mirrors without repeating the border, one step at a time. */
static int mirrored(int i, int size) {
    while (size > 1 && (i < 0 || i >= size)) i = i < 0 ? -i : 2 * (size - 1) - i;
    return size > 1 ? i : 0;
}

/* The value that the result must have, from the crop's corner in the padded image and the flip. */
static float reference(const struct lam_augment *a, const struct lam_image *image, int corner_x, int corner_y,
                       bool flip, int c, int y, int x) {
    int sx = corner_x - a->pad + (flip ? a->size - 1 - x : x), sy = corner_y - a->pad + y;
    bool inside = sx >= 0 && sy >= 0 && sx < image->width && sy < image->height;
    if (!inside && !a->pad_reflect) return 0;
    sx = mirrored(sx, image->width);
    sy = mirrored(sy, image->height);
    int channel = image->channels >= 3 ? c : 0;
    return normalised(a, c, image->pixels[(sy * image->width + sx) * image->channels + channel]);
}

static void check_against_reference(struct lam_augment a, const struct lam_image *image, uint64_t sample) {
    struct lam_rng rng = lam_rng_make(5, LAM_RNG_AUGMENT, 1, sample), same = rng;
    float *planes = malloc(sizeof *planes * (size_t)(a.size * a.size * a.channels));
    if (lam_augment_apply(&a, image, &rng, planes) != LAM_OK) fail_msg("%s", lam_error_text());
    int x0 = a.pad + (image->width - a.size) / 2, y0 = a.pad + (image->height - a.size) / 2;
    if (a.crop) {
        x0 = (int)lam_rng_below(&same, (uint32_t)(image->width + 2 * a.pad - a.size + 1));
        y0 = (int)lam_rng_below(&same, (uint32_t)(image->height + 2 * a.pad - a.size + 1));
    }
    bool flip = a.flip && (lam_rng_u32(&same) & 1);
    for (int c = 0; c < a.channels; c++)
        for (int y = 0; y < a.size; y++)
            for (int x = 0; x < a.size; x++) {
                float got = planes[(c * a.size + y) * a.size + x];
                float want = reference(&a, image, x0, y0, flip, c, y, x);
                if (fabsf(got - want) > 2e-6f) fail_msg("%d %d %d: %g, not %g", c, y, x, got, want);
            }
    free(planes);
}

static void every_combination_equals_the_reference(void **state) {
    (void)state;
    static const struct {
        int width, height, channels, size, planes, pad;
    } cases[] = {{32, 32, 3, 32, 3, 4}, {32, 32, 3, 32, 3, 0}, {28, 28, 1, 28, 1, 2}, {9, 7, 4, 7, 3, 20},
                 {8, 8, 1, 8, 3, 3},    {8, 8, 2, 8, 3, 1},    {1, 1, 3, 1, 3, 5},    {11, 8, 3, 8, 3, 2},
                 {8, 13, 3, 8, 3, 0},   {31, 31, 3, 31, 3, 31}};
    for (size_t k = 0; k < sizeof cases / sizeof cases[0]; k++) {
        struct lam_image image = make_image(cases[k].width, cases[k].height, cases[k].channels);
        for (int bits = 0; bits < 8; bits++) {
            struct lam_augment a = make_augment(cases[k].size, cases[k].planes);
            a.pad = cases[k].pad;
            a.crop = bits & 1;
            a.flip = bits & 2;
            a.pad_reflect = bits & 4;
            for (uint64_t sample = 0; sample < 25; sample++) check_against_reference(a, &image, sample);
        }
        lam_image_free(&image);
    }
}

static void the_same_stream_gives_the_same_image(void **state) {
    (void)state;
    struct lam_image image = make_image(32, 32, 3), large = make_image(50, 41, 3);
    struct lam_augment a = make_augment(32, 3);
    a.pad = 4;
    a.crop = a.flip = a.pad_reflect = true;
    a.cutout = 8;
    static float first[3 * 32 * 32], second[3 * 32 * 32];
    for (int k = 0; k < 2; k++) {
        a.resized_crop = k == 1;
        const struct lam_image *from = k == 1 ? &large : &image;
        int differ = 0;
        for (uint64_t i = 0; i < 20; i++) {
            struct lam_rng rng = lam_rng_make(1, LAM_RNG_AUGMENT, 2, i), same = rng;
            assert_int_equal(lam_augment_apply(&a, from, &rng, first), LAM_OK);
            memset(second, 0xff, sizeof second);
            assert_int_equal(lam_augment_apply(&a, from, &same, second), LAM_OK);
            assert_memory_equal(first, second, sizeof first);
            struct lam_rng other = lam_rng_make(1, LAM_RNG_AUGMENT, 3, i);
            assert_int_equal(lam_augment_apply(&a, from, &other, second), LAM_OK);
            differ += memcmp(first, second, sizeof first) != 0;
        }
        assert_in_range(differ, 18, 20); /* of one epoch and the next */
    }
    lam_image_free(&image);
    lam_image_free(&large);
}

/* The corner of every crop and both sides come equally often. */
static void crops_and_flips_are_uniform(void **state) {
    (void)state;
    enum { N = 8100, SIDE = 9 };
    struct lam_image image = make_image(16, 16, 1);
    for (int i = 0; i < 256; i++) image.pixels[i] = (uint8_t)i; /* every pixel is its own place */
    struct lam_augment a = make_augment(16, 1);
    a.mean[0] = 0;
    a.deviation[0] = 1;
    a.pad = 4;
    a.pad_reflect = a.crop = a.flip = true;
    int corner[SIDE * SIDE] = {0}, flips = 0;
    float planes[256];
    for (uint64_t i = 0; i < N; i++) {
        struct lam_rng rng = lam_rng_make(9, LAM_RNG_AUGMENT, 0, i);
        assert_int_equal(lam_augment_apply(&a, &image, &rng, planes), LAM_OK);
        int centre = (int)lroundf(planes[8 * 16 + 8] * 255), right = (int)lroundf(planes[8 * 16 + 9] * 255);
        bool flip = right < centre;
        int x = centre % 16 - (flip ? 7 : 8) + 4, y = centre / 16 - 8 + 4;
        assert_in_range(x, 0, SIDE - 1);
        assert_in_range(y, 0, SIDE - 1);
        corner[y * SIDE + x]++;
        flips += flip;
    }
    for (int i = 0; i < SIDE * SIDE; i++)
        assert_in_range(corner[i], 100 - 50, 100 + 50); /* five deviations */
    assert_in_range(flips, N / 2 - 225, N / 2 + 225);
    lam_image_free(&image);
}

static void cutout_is_a_square_of_zeros(void **state) {
    (void)state;
    enum { SIZE = 20, CUT = 6, N = 4000 };
    struct lam_image image = make_image(SIZE, SIZE, 3);
    memset(image.pixels, 255, 3 * SIZE * SIZE);
    struct lam_augment a = make_augment(SIZE, 3);
    a.cutout = CUT;
    static float planes[3 * SIZE * SIZE];
    int whole = 0, covered[SIZE * SIZE] = {0};
    for (uint64_t i = 0; i < N; i++) {
        struct lam_rng rng = lam_rng_make(3, LAM_RNG_AUGMENT, 0, i);
        assert_int_equal(lam_augment_apply(&a, &image, &rng, planes), LAM_OK);
        int x0 = SIZE, x1 = -1, y0 = SIZE, y1 = -1, zeros = 0;
        for (int k = 0; k < SIZE * SIZE; k++) {
            bool zero = planes[k] == 0;
            assert_true(zero == (planes[k + SIZE * SIZE] == 0) && zero == (planes[k + 2 * SIZE * SIZE] == 0));
            if (!zero) continue;
            int x = k % SIZE, y = k / SIZE;
            x0 = x < x0 ? x : x0, x1 = x > x1 ? x : x1, y0 = y < y0 ? y : y0, y1 = y > y1 ? y : y1;
            zeros++;
            covered[k]++;
        }
        assert_int_equal(zeros, (x1 - x0 + 1) * (y1 - y0 + 1)); /* a full rectangle */
        assert_true(x1 - x0 < CUT && y1 - y0 < CUT && zeros > 0);
        whole += zeros == CUT * CUT;
    }
    assert_in_range(whole, N * 225 / 400 - 200, N * 225 / 400 + 200); /* centres that leave it inside */
    assert_in_range(covered[10 * SIZE + 10], N * 36 / 400 - 100, N * 36 / 400 + 100);
    assert_true(covered[0] > 0);
    a.cutout = 100; /* larger than the image: nothing is left, nothing is overwritten */
    struct lam_rng rng = lam_rng_make(3, LAM_RNG_AUGMENT, 0, 0);
    assert_int_equal(lam_augment_apply(&a, &image, &rng, planes), LAM_OK);
    for (int k = 0; k < 3 * SIZE * SIZE; k++) assert_true(planes[k] == 0);
    lam_image_free(&image);
}

/* On a picture whose red is x and whose green is y, the result tells which part was taken. */
static void resized_crops_have_the_areas_asked_for(void **state) {
    (void)state;
    enum { SIDE = 200, SIZE = 32, N = 1500 };
    struct lam_image image = {0};
    assert_int_equal(lam_image_alloc(&image, SIDE, SIDE, 3), LAM_OK);
    for (int i = 0; i < SIDE * SIDE; i++) {
        image.pixels[3 * i] = (uint8_t)(i % SIDE);
        image.pixels[3 * i + 1] = (uint8_t)(i / SIDE);
        image.pixels[3 * i + 2] = 7;
    }
    struct lam_augment a = {
        .size = SIZE, .channels = 3, .deviation = {1, 1, 1}, .resized_crop = true, .flip = true};
    static float planes[3 * SIZE * SIZE];
    for (int k = 0; k < 2; k++) {
        a.min_area = k == 0 ? 0 : 0.5f;
        double least = 1, greatest = 0, mean = 0, low = k == 0 ? 0.08 : 0.5;
        int flips = 0;
        for (uint64_t i = 0; i < N; i++) {
            struct lam_rng rng = lam_rng_make(4, LAM_RNG_AUGMENT, 0, i);
            assert_int_equal(lam_augment_apply(&a, &image, &rng, planes), LAM_OK);
            /* centres of the first and last column are (SIZE - 1) / SIZE of the width apart */
            double across = (planes[16 * SIZE + SIZE - 1] - planes[16 * SIZE]) * 255 * SIZE / (SIZE - 1);
            const float *green = planes + SIZE * SIZE;
            double down = (green[(SIZE - 1) * SIZE + 16] - green[16]) * 255 * SIZE / (SIZE - 1);
            flips += across < 0;
            double area = fabs(across) * down / (SIDE * SIDE), aspect = fabs(across) / down;
            assert_true(aspect > 0.7 && aspect < 1.43);
            least = fmin(least, area);
            greatest = fmax(greatest, area);
            mean += area / N;
        }
        assert_true(least > low - 0.03 && least < low + 0.06);
        assert_true(greatest > 0.9 && greatest < 1.03);
        /* not the middle: a part of area A > 3/4 fits only if its aspect is within 1 / A, with probability
         * -ln A / ln(4/3), else it is drawn again; integrated by hand */
        double expected = k == 0 ? 0.478 : 0.692;
        if (fabs(mean - expected) > 0.025) fail_msg("mean area %f, not %f", mean, expected);
        assert_in_range(flips, N / 2 - 100, N / 2 + 100);
    }
    lam_image_free(&image);
}

static void odd_images_can_be_cut(void **state) {
    (void)state;
    static const int sizes[][2] = {{1, 1}, {1, 300}, {300, 1}, {2, 3}, {640, 31}, {31, 640}, {64, 64}};
    static float planes[3 * 24 * 24];
    for (size_t k = 0; k < sizeof sizes / sizeof sizes[0]; k++) {
        struct lam_image image = {0};
        assert_int_equal(lam_image_alloc(&image, sizes[k][0], sizes[k][1], 3), LAM_OK);
        memset(image.pixels, 51, (size_t)(3 * sizes[k][0] * sizes[k][1]));
        struct lam_augment a = {.size = 24,
                                .channels = 3,
                                .deviation = {1, 1, 1},
                                .flip = true,
                                .crop = true,
                                .pad = 3,
                                .pad_reflect = true};
        for (int i = 0; i < 40; i++) {
            a.resized_crop = i & 1;
            struct lam_rng rng = lam_rng_make(4, LAM_RNG_AUGMENT, 0, (uint64_t)i);
            memset(planes, 0xff, sizeof planes);
            if (lam_augment_apply(&a, &image, &rng, planes) != LAM_OK) fail_msg("%s", lam_error_text());
            for (int p = 0; p < 3 * 24 * 24; p++) assert_true(fabsf(planes[p] - 0.2f) < 1e-5f);
        }
        lam_image_free(&image);
    }
}

/* ---- evaluation ---- */

static void plain_is_the_middle_of_the_resized_image(void **state) {
    (void)state;
    static const struct {
        int width, height, size;
        float eval_resize;
        int resized_width, resized_height;
    } cases[] = {{32, 32, 32, 0, 32, 32}, {64, 48, 32, 0, 42, 32},           {30, 60, 20, 1.25f, 25, 50},
                 {16, 16, 32, 0, 32, 32}, {256, 256, 224, 1.143f, 256, 256}, {40, 32, 32, 0, 40, 32}};
    for (size_t k = 0; k < sizeof cases / sizeof cases[0]; k++) {
        struct lam_image image = make_image(cases[k].width, cases[k].height, 3), resized = {0};
        struct lam_augment a = make_augment(cases[k].size, 3);
        a.eval_resize = cases[k].eval_resize;
        a.crop = a.flip = a.resized_crop = true; /* nothing of it in evaluation */
        a.cutout = 5;
        a.pad = 4;
        int size = a.size, w = cases[k].resized_width, h = cases[k].resized_height;
        uint8_t *pixels = malloc((size_t)(3 * size * size));
        if (lam_augment_pixels(&a, &image, pixels) != LAM_OK) fail_msg("%s", lam_error_text());
        assert_int_equal(lam_image_resize(&image, w, h, &resized), LAM_OK);
        for (int c = 0; c < 3; c++)
            for (int y = 0; y < size; y++)
                for (int x = 0; x < size; x++) {
                    int pixel = resized.pixels[((y + (h - size) / 2) * w + x + (w - size) / 2) * 3 + c];
                    assert_int_equal(pixels[(c * size + y) * size + x], pixel);
                }
        free(pixels);
        lam_image_free(&image);
        lam_image_free(&resized);
    }
}

static void colour_to_gray(void **state) {
    (void)state;
    struct lam_image image = make_image(4, 4, 3);
    struct lam_augment a = {.size = 4, .channels = 1, .deviation = {1}};
    uint8_t pixels[16];
    assert_int_equal(lam_augment_pixels(&a, &image, pixels), LAM_OK);
    for (int i = 0; i < 16; i++) {
        const uint8_t *p = image.pixels + 3 * i;
        assert_true(fabs(pixels[i] - (0.299 * p[0] + 0.587 * p[1] + 0.114 * p[2])) < 0.51);
    }
    lam_image_free(&image);
}

static void what_makes_no_sense_is_refused(void **state) {
    (void)state;
    struct lam_image image = make_image(4, 4, 3), empty = {0};
    uint8_t pixels[48];
    struct lam_augment good = make_augment(4, 3), bad[6];
    for (int i = 0; i < 6; i++) bad[i] = good;
    bad[0].size = 0;
    bad[1].channels = 2;
    bad[2].deviation[1] = 0;
    bad[3].pad = -1;
    bad[4].cutout = -1;
    bad[5].size = 100000;
    for (int i = 0; i < 6; i++)
        assert_int_equal(lam_augment_pixels(&bad[i], &image, pixels), LAM_ERR_INVALID);
    assert_int_equal(lam_augment_pixels(&good, &empty, pixels), LAM_ERR_INVALID);
    assert_int_equal(lam_augment_pixels(&good, &image, pixels), LAM_OK);
    lam_image_free(&image);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_combination_equals_the_reference),
        cmocka_unit_test(the_same_stream_gives_the_same_image),
        cmocka_unit_test(crops_and_flips_are_uniform),
        cmocka_unit_test(cutout_is_a_square_of_zeros),
        cmocka_unit_test(resized_crops_have_the_areas_asked_for),
        cmocka_unit_test(odd_images_can_be_cut),
        cmocka_unit_test(plain_is_the_middle_of_the_resized_image),
        cmocka_unit_test(colour_to_gray),
        cmocka_unit_test(what_makes_no_sense_is_refused),
    };
    return cmocka_run_group_tests_name("augment", tests, NULL, NULL);
}
