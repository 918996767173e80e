/* Bicubic resizing: against a naive version, against the published low-resolution files, in parts; and planes. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <dirent.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/files.h"
#include "base/rng.h"
#include "tasks/sr/bicubic.h"
#include "unit/sample_files.h"

static void ok(lam_status status) {
    if (status != LAM_OK) fail_msg("%s", lam_error_text());
}

static void refused(lam_status status, lam_status expected, const char *says) {
    if (status != expected) fail_msg("%s, not %s", lam_status_name(status), lam_status_name(expected));
    if (!strstr(lam_error_text(), says)) fail_msg("'%s' does not say '%s'", lam_error_text(), says);
}

static struct lam_image noise(int width, int height, int channels, uint64_t seed) {
    struct lam_image image = {0};
    ok(lam_image_alloc(&image, width, height, channels));
    struct lam_rng rng = lam_rng_make(seed, LAM_RNG_TEST, 0, 0);
    for (int i = 0; i < width * height * channels; i++) image.pixels[i] = (uint8_t)lam_rng_below(&rng, 256);
    return image;
}

/* ---- the naive version: imresize as its documentation tells it, in 1-based coordinates ---- */

static double cubic(double x) {
    double a = fabs(x), a2 = a * a, a3 = a2 * a;
    return a <= 1 ? 1.5 * a3 - 2.5 * a2 + 1 : a <= 2 ? -0.5 * a3 + 2.5 * a2 - 4 * a + 2 : 0;
}

/* One line of `from` values with a stride into `to` values. */
static void naive_line(const double *from, int n, int stride, int to, double *result) {
    double scale = (double)to / n;
    for (int i = 1; i <= to; i++) {
        double u = i / scale + 0.5 * (1 - 1 / scale), sum = 0, weights = 0;
        for (int k = -200; k < n + 200; k++) { /* every pixel, those beyond the border too */
            double weight = scale < 1 ? scale * cubic(scale * (u - k)) : cubic(u - k);
            int at = k < 1 ? 1 : k > n ? n : k;
            sum += weight * from[(at - 1) * stride];
            weights += weight;
        }
        result[(i - 1) * stride] = sum / weights;
    }
}

static void round_all(double *values, int count) {
    for (int i = 0; i < count; i++) values[i] = fmin(fmax(floor(values[i] + 0.5), 0), 255);
}

/* One channel, columns first. */
static double *naive(const double *pixels, int width, int height, int to_width, int to_height, bool passes) {
    int longer = width > to_width ? width : to_width;
    double *middle = malloc((size_t)longer * (size_t)to_height * sizeof *middle);
    double *result = malloc((size_t)longer * (size_t)to_height * sizeof *result);
    for (int x = 0; x < width; x++) naive_line(pixels + x, height, width, to_height, middle + x);
    /* columns have the stride of the source's width in both */
    if (passes) round_all(middle, width * to_height);
    for (int y = 0; y < to_height; y++)
        naive_line(middle + y * width, width, 1, to_width, result + y * to_width);
    free(middle);
    return result;
}

static void compare_with_naive(int width, int height, int channels, int to_width, int to_height) {
    struct lam_image image = noise(width, height, channels, 5), result = {0};
    double *pixels = malloc((size_t)(width * height) * sizeof *pixels);
    for (int passes = 0; passes < 2; passes++) {
        ok(sr_bicubic(&image, to_width, to_height, passes ? SR_ROUND_PASSES : SR_ROUND_ONCE, &result));
        assert_int_equal(result.width, to_width);
        assert_int_equal(result.height, to_height);
        assert_int_equal(result.channels, channels);
        for (int c = 0; c < channels; c++) {
            for (int i = 0; i < width * height; i++) pixels[i] = image.pixels[i * channels + c];
            double *expected = naive(pixels, width, height, to_width, to_height, passes);
            round_all(expected, to_width * to_height);
            for (int i = 0; i < to_width * to_height; i++)
                if (result.pixels[i * channels + c] != (int)expected[i])
                    fail_msg("%d x %d -> %d x %d, channel %d, pixel %d: %d, not %g", width, height, to_width,
                             to_height, c, i, result.pixels[i * channels + c], expected[i]);
            free(expected);
        }
    }
    free(pixels);
    lam_image_free(&image);
    lam_image_free(&result);
}

static void equals_the_naive_version(void **state) {
    (void)state;
    static const int sizes[][5] = {
        {24, 18, 3, 12, 9}, {24, 18, 1, 8, 6},   {32, 24, 4, 8, 6},  {7, 9, 2, 14, 18}, {5, 4, 3, 15, 12},
        {30, 21, 3, 13, 8}, {13, 8, 1, 30, 21},  {20, 20, 1, 31, 7}, {1, 1, 3, 5, 4},   {9, 7, 3, 1, 1},
        {2, 40, 1, 40, 2},  {16, 12, 3, 16, 12}, {3, 3, 1, 1, 9},    {40, 3, 3, 5, 3}};
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++)
        compare_with_naive(sizes[i][0], sizes[i][1], sizes[i][2], sizes[i][3], sizes[i][4]);
}

static void planes_equal_the_naive_version(void **state) {
    (void)state;
    static const int sizes[][4] = {{12, 9, 24, 18}, {8, 6, 32, 24}, {21, 15, 7, 5}, {10, 10, 13, 27}};
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        int width = sizes[i][0], height = sizes[i][1], to_width = sizes[i][2], to_height = sizes[i][3];
        struct lam_image image = noise(width, height, 3, 9);
        struct sr_planes from = {0}, to = {0};
        ok(sr_planes_from_image(&image, 255, &from));
        ok(sr_bicubic_planes(&from, to_width, to_height, &to));
        assert_int_equal(to.channels, 3);
        double *pixels = malloc((size_t)(width * height) * sizeof *pixels);
        bool beyond = false; /* of 0..255: nothing is clipped */
        for (int c = 0; c < 3; c++) {
            for (int k = 0; k < width * height; k++) pixels[k] = image.pixels[k * 3 + c];
            double *expected = naive(pixels, width, height, to_width, to_height, false);
            for (int k = 0; k < to_width * to_height; k++) {
                double value = to.data[c * to_width * to_height + k];
                assert_true(fabs(value - expected[k]) < 1e-4);
                beyond |= value < 0 || value > 255;
            }
            free(expected);
        }
        assert_true(beyond || to_width < width);
        free(pixels);
        lam_image_free(&image);
        sr_planes_free(&from);
        sr_planes_free(&to);
    }
}

/* Worked out by hand: x2 has the weights -3 -9 29 111 111 29 -9 -3 over 256 on each axis. */
static void an_edge_by_hand(void **state) {
    (void)state;
    struct lam_image image = {0}, low = {0};
    ok(lam_image_alloc(&image, 16, 2, 1));
    for (int i = 0; i < 32; i++) image.pixels[i] = i % 16 < 8 ? 10 : 210;
    ok(sr_low(&image, 2, SR_ROUND_PASSES, &low));
    /* beyond the edge lie -3, then 29 - 9 - 3 of the weights, each times 200 */
    static const int expected[8] = {10, 10, 8, 23, 197, 212, 210, 210};
    for (int i = 0; i < 8; i++) assert_int_equal(low.pixels[i], expected[i]);
    lam_image_free(&image);
    lam_image_free(&low);
}

static void parts_are_the_same_pixels(void **state) {
    (void)state;
    struct lam_image image = noise(37, 29, 3, 2), whole = {0}, part = {0};
    static const int targets[][2] = {{18, 14}, {9, 7}, {74, 58}, {50, 11}};
    for (size_t t = 0; t < 4; t++) {
        int width = targets[t][0], height = targets[t][1];
        ok(sr_bicubic(&image, width, height, SR_ROUND_PASSES, &whole));
        struct lam_rng rng = lam_rng_make(1, LAM_RNG_TEST, t, 0);
        for (int round = 0; round < 60; round++) {
            struct sr_rect r;
            r.x = (int)lam_rng_below(&rng, (uint32_t)width);
            r.y = (int)lam_rng_below(&rng, (uint32_t)height);
            r.width = 1 + (int)lam_rng_below(&rng, (uint32_t)(width - r.x));
            r.height = 1 + (int)lam_rng_below(&rng, (uint32_t)(height - r.y));
            ok(sr_bicubic_part(&image, width, height, SR_ROUND_PASSES, r, &part));
            for (int y = 0; y < r.height; y++)
                assert_memory_equal(part.pixels + y * r.width * 3,
                                    whole.pixels + ((r.y + y) * width + r.x) * 3, (size_t)r.width * 3);
        }
    }
    lam_image_free(&image);
    lam_image_free(&whole);
    lam_image_free(&part);
}

static void the_rest_at_right_and_bottom_is_cut_off(void **state) {
    (void)state;
    struct lam_image image = noise(23, 17, 3, 3), high = {0}, expected = {0}, low = {0};
    for (int scale = 1; scale <= 8; scale++) {
        ok(sr_crop(&image, scale, &high));
        assert_int_equal(high.width, 23 / scale * scale);
        assert_int_equal(high.height, 17 / scale * scale);
        assert_memory_equal(high.pixels + high.width * 3, image.pixels + 23 * 3, (size_t)high.width * 3);
        ok(sr_bicubic(&high, 23 / scale, 17 / scale, SR_ROUND_ONCE, &expected));
        ok(sr_low(&image, scale, SR_ROUND_ONCE, &low));
        assert_int_equal(low.width, expected.width);
        assert_int_equal(low.height, expected.height);
        assert_memory_equal(low.pixels, expected.pixels, (size_t)(low.width * low.height * 3));
    }
    lam_image_free(&image);
    lam_image_free(&high);
    lam_image_free(&expected);
    lam_image_free(&low);
}

static void what_cannot_be_resized(void **state) {
    (void)state;
    struct lam_image image = noise(8, 3, 3, 1), to = {0}, empty = {0};
    struct sr_planes planes = {0}, none = {0};
    ok(sr_planes_from_image(&image, 1, &planes));
    refused(sr_bicubic(&empty, 4, 4, SR_ROUND_ONCE, &to), LAM_ERR_INVALID, "empty");
    refused(sr_bicubic(&image, 0, 4, SR_ROUND_ONCE, &to), LAM_ERR_FORMAT, "no pixels (0 x 4)");
    refused(sr_bicubic(&image, 4, 1 << 20, SR_ROUND_ONCE, &to), LAM_ERR_UNSUPPORTED, "too large");
    static const struct sr_rect parts[] = {
        {-1, 0, 2, 2}, {0, 0, 5, 1}, {3, 0, 2, 1}, {0, 2, 1, 1}, {0, 0, 0, 1}};
    for (size_t i = 0; i < sizeof parts / sizeof parts[0]; i++)
        refused(sr_bicubic_part(&image, 4, 2, SR_ROUND_ONCE, parts[i], &to), LAM_ERR_INVALID,
                "not inside of 4 x 2");
    refused(sr_crop(&image, 4, &to), LAM_ERR_FORMAT, "8 x 3 pixels is smaller than the scale 4");
    refused(sr_crop(&image, 0, &to), LAM_ERR_INVALID, "a scale of 0");
    refused(sr_low(&image, 4, SR_ROUND_ONCE, &to), LAM_ERR_FORMAT, "smaller than the scale 4");
    refused(sr_low(&image, -2, SR_ROUND_ONCE, &to), LAM_ERR_INVALID, "a scale of -2");
    refused(sr_low(&empty, 2, SR_ROUND_ONCE, &to), LAM_ERR_INVALID, "empty");
    refused(sr_bicubic_planes(&none, 4, 4, &planes), LAM_ERR_INVALID, "empty");
    refused(sr_bicubic_planes(&planes, 4, 0, &none), LAM_ERR_FORMAT, "no pixels");
    assert_null(to.pixels);
    assert_null(none.data);
    lam_image_free(&image);
    sr_planes_free(&planes);
}

/* ---- planes ---- */

static void planes_and_back(void **state) {
    (void)state;
    static const int kept[5] = {0, 1, 1, 3, 3};
    for (int channels = 1; channels <= 4; channels++)
        for (int peak = 1; peak <= 255; peak += 254) {
            struct lam_image image = noise(9, 5, channels, 4), back = {0}, alpha = {0};
            struct sr_planes planes = {0};
            ok(sr_planes_from_image(&image, (float)peak, &planes));
            assert_int_equal(planes.channels, kept[channels]);
            assert_true(fabsf(planes.data[7] - image.pixels[7 * channels] * (float)peak / 255) < 1e-6f);
            ok(sr_planes_to_image(&planes, (float)peak, &back));
            assert_int_equal(back.channels, kept[channels]);
            ok(sr_alpha_of(&image, &alpha));
            assert_int_equal(alpha.pixels != NULL, channels % 2 == 0);
            if (alpha.pixels) ok(sr_alpha_join(&back, &alpha));
            assert_int_equal(back.channels, channels);
            assert_memory_equal(back.pixels, image.pixels, (size_t)(9 * 5 * channels));
            lam_image_free(&image);
            lam_image_free(&back);
            lam_image_free(&alpha);
            sr_planes_free(&planes);
        }
}

static void values_are_clipped_and_rounded(void **state) {
    (void)state;
    float values[] = {-1, 0.4f, 0.5f, 254.4f, 254.5f, 300, NAN, INFINITY};
    static const uint8_t expected[] = {0, 0, 1, 254, 255, 255, 0, 255};
    struct sr_planes planes = {1, 8, 1, values};
    struct lam_image image = {0}, wrong = noise(3, 3, 1, 1);
    ok(sr_planes_to_image(&planes, 255, &image));
    assert_memory_equal(image.pixels, expected, 8);
    planes = (struct sr_planes){2, 4, 1, values};
    refused(sr_planes_to_image(&planes, 255, &image), LAM_ERR_INVALID, "2 planes");
    refused(sr_alpha_join(&image, &wrong), LAM_ERR_INVALID, "does not fit");
    lam_image_free(&wrong);
    refused(sr_planes_from_image(&wrong, 1, &planes), LAM_ERR_INVALID, "empty");
    lam_image_free(&image);
}

/* ---- the shared data ---- */

static int compare_set(const char *root, const char *set) {
    char *folder = lam_format("%s/%s/HR", root, set);
    DIR *listing = opendir(folder);
    assert_non_null(listing);
    int files = 0;
    for (struct dirent *entry; (entry = readdir(listing));) {
        char *dot = strrchr(entry->d_name, '.');
        if (!dot || strcmp(dot, ".png") != 0) continue;
        struct lam_image image = {0}, low = {0}, file = {0};
        char *path = lam_path_join(folder, entry->d_name);
        ok(lam_image_load(path, LAM_IMAGE_AS_IS, &image));
        free(path);
        for (int scale = 2; scale <= 4; scale++, files++) {
            path = lam_format("%s/%s/LR_bicubic/X%d/%.*sx%d.png", root, set, scale,
                              (int)(dot - entry->d_name), entry->d_name, scale);
            ok(lam_image_load(path, LAM_IMAGE_AS_IS, &file));
            ok(sr_low(&image, scale, SR_ROUND_PASSES, &low));
            assert_int_equal(low.width, file.width);
            assert_int_equal(low.height, file.height);
            assert_int_equal(low.channels, file.channels);
            if (memcmp(low.pixels, file.pixels,
                       (size_t)low.width * (size_t)low.height * (size_t)low.channels) != 0)
                fail_msg("%s: differs", path);
            free(path);
        }
        lam_image_free(&image);
        lam_image_free(&low);
        lam_image_free(&file);
    }
    closedir(listing);
    free(folder);
    return files;
}

static void published_files_to_the_bit(void **state) {
    (void)state;
    if (!sample_data("set5") || !sample_data("set14")) skip();
    char *root = strdup(sample_data(""));
    assert_int_equal(compare_set(root, "set5"), 15);
    assert_int_equal(compare_set(root, "set14"), 42);
    free(root);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(equals_the_naive_version),
        cmocka_unit_test(planes_equal_the_naive_version),
        cmocka_unit_test(an_edge_by_hand),
        cmocka_unit_test(parts_are_the_same_pixels),
        cmocka_unit_test(the_rest_at_right_and_bottom_is_cut_off),
        cmocka_unit_test(what_cannot_be_resized),
        cmocka_unit_test(planes_and_back),
        cmocka_unit_test(values_are_clipped_and_rounded),
        cmocka_unit_test(published_files_to_the_bit),
    };
    return cmocka_run_group_tests_name("bicubic", tests, NULL, NULL);
}
