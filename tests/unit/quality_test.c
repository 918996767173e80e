/* PSNR and SSIM: by hand, against a naive version, and the numbers that are known of plain bicubic. */
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
#include "tasks/sr/quality.h"
#include "unit/sample_files.h"

static void ok(lam_status status) {
    if (status != LAM_OK) fail_msg("%s", lam_error_text());
}

static void near(double value, double expected, double tolerance) {
    if (!(fabs(value - expected) <= tolerance)) fail_msg("%.7f, not %.7f", value, expected);
}

static struct sr_planes make(int channels, int width, int height, uint64_t seed, float spread) {
    struct sr_planes planes = {0};
    ok(sr_planes_alloc(&planes, channels, width, height));
    struct lam_rng rng = lam_rng_make(seed, LAM_RNG_TEST, 0, 0);
    for (int c = 0; c < channels; c++)
        for (int y = 0; y < height; y++)
            for (int x = 0; x < width; x++)
                planes.data[(c * height + y) * width + x] =
                    120 + 60 * sinf(0.3f * (float)(x + c)) * cosf(0.2f * (float)y) +
                    spread * lam_rng_normal(&rng);
    return planes;
}

static struct sr_quality measure(enum sr_channel channel, int border, const struct sr_planes *a,
                                 const struct sr_planes *b) {
    struct sr_measure how = {channel, border};
    struct sr_quality quality;
    ok(sr_quality(&how, a, b, &quality));
    return quality;
}

/* The index as section III.C of the paper has it: weighted means, then variances around them. */
static double naive_ssim(const float *a, const float *b, int stride, int width, int height) {
    double window[11][11], sum = 0, total = 0;
    for (int i = 0; i < 11; i++)
        for (int j = 0; j < 11; j++)
            sum += window[i][j] = exp(-((i - 5) * (i - 5) + (j - 5) * (j - 5)) / 4.5);
    for (int y = 0; y + 11 <= height; y++)
        for (int x = 0; x + 11 <= width; x++) {
            double ma = 0, mb = 0, va = 0, vb = 0, cov = 0;
            for (int i = 0; i < 121; i++) {
                int at = (y + i / 11) * stride + x + i % 11;
                ma += window[i / 11][i % 11] / sum * a[at];
                mb += window[i / 11][i % 11] / sum * b[at];
            }
            for (int i = 0; i < 121; i++) {
                int at = (y + i / 11) * stride + x + i % 11;
                double w = window[i / 11][i % 11] / sum;
                va += w * (a[at] - ma) * (a[at] - ma);
                vb += w * (b[at] - mb) * (b[at] - mb);
                cov += w * (a[at] - ma) * (b[at] - mb);
            }
            total += (2 * ma * mb + 6.5025) * (2 * cov + 58.5225) /
                     ((ma * ma + mb * mb + 6.5025) * (va + vb + 58.5225));
        }
    return total / ((width - 10) * (height - 10));
}

static void psnr_by_hand(void **state) {
    (void)state;
    struct sr_planes a = make(3, 20, 16, 1, 10), b = make(3, 20, 16, 1, 10);
    assert_true(isinf(measure(SR_CHANNEL_RGB, 0, &a, &b).psnr));
    near(measure(SR_CHANNEL_RGB, 0, &a, &b).ssim, 1, 1e-12);
    near(measure(SR_CHANNEL_Y, 2, &a, &b).ssim, 1, 1e-12);
    for (int i = 0; i < 3 * 320; i++) b.data[i] += 5;
    near(measure(SR_CHANNEL_RGB, 0, &a, &b).psnr, 20 * log10(255 / 5.0), 1e-4);
    near(measure(SR_CHANNEL_Y, 0, &a, &b).psnr, 20 * log10(255 / (5.0 * 219 / 255)), 1e-4);
    for (int i = 0; i < 2 * 320; i++) b.data[i] -= 5; /* blue alone is wrong */
    near(measure(SR_CHANNEL_RGB, 0, &a, &b).psnr, 10 * log10(3 * 255 * 255 / 25.0), 1e-4);
    near(measure(SR_CHANNEL_Y, 0, &a, &b).psnr, 20 * log10(255 / (5 * 24.966 / 255)), 1e-4);
    sr_planes_free(&a);
    sr_planes_free(&b);
}

static void y_by_hand(void **state) {
    (void)state;
    static const float pixels[3][4] = {{255, 0, 255, 90}, {0, 0, 255, 90}, {0, 255, 255, 90}};
    struct sr_planes rgb = {3, 4, 1, (float *)pixels}, y = {0};
    ok(sr_luma(&rgb, false, &y));
    static const double expected[] = {81.481, 40.966, 235, 16 + 219.0 * 90 / 255};
    for (int i = 0; i < 4; i++) near(y.data[i], expected[i], 1e-4);
    ok(sr_luma(&rgb, true, &y));
    near(y.data[2], 255, 1e-4);
    near(y.data[3], 90, 1e-4);
    sr_planes_free(&y);
}

static void the_border_is_left_out(void **state) {
    (void)state;
    struct sr_planes a = make(1, 30, 26, 1, 10), b = make(1, 30, 26, 1, 10);
    for (int y = 0; y < 26; y++)
        for (int x = 0; x < 30; x++)
            if (x < 3 || y < 3 || x >= 27 || y >= 23) b.data[y * 30 + x] += 90;
    assert_true(measure(SR_CHANNEL_Y, 2, &a, &b).psnr < 30);
    assert_true(measure(SR_CHANNEL_Y, 2, &a, &b).ssim < 0.999);
    assert_true(isinf(measure(SR_CHANNEL_Y, 3, &a, &b).psnr));
    near(measure(SR_CHANNEL_Y, 3, &a, &b).ssim, 1, 1e-12);
    sr_planes_free(&a);
    sr_planes_free(&b);
}

static void gray_is_its_own_y(void **state) {
    (void)state;
    struct sr_planes truth = make(1, 24, 20, 1, 10), gray = make(1, 24, 20, 2, 14), rgb = {0};
    ok(sr_planes_alloc(&rgb, 3, 24, 20));
    for (int c = 0; c < 3; c++) memcpy(rgb.data + c * 480, gray.data, 480 * sizeof(float));
    struct sr_quality expected = measure(SR_CHANNEL_Y, 2, &gray, &truth);
    double error = 0;
    for (int y = 2; y < 18; y++)
        for (int x = 2; x < 22; x++) error += pow(gray.data[y * 24 + x] - truth.data[y * 24 + x], 2);
    near(expected.psnr, 10 * log10(255 * 255 / (error / 320)), 1e-6);
    for (int channel = SR_CHANNEL_Y; channel <= SR_CHANNEL_RGB; channel++) { /* an RGB result, a gray truth */
        struct sr_quality quality = measure((enum sr_channel)channel, 2, &rgb, &truth);
        near(quality.psnr, expected.psnr, 1e-4);
        near(quality.ssim, expected.ssim, 1e-6);
    }
    near(measure(SR_CHANNEL_RGB, 2, &gray, &truth).psnr, expected.psnr, 1e-9);
    sr_planes_free(&truth);
    sr_planes_free(&gray);
    sr_planes_free(&rgb);
}

static void ssim_equals_the_naive_version(void **state) {
    (void)state;
    static const int sizes[][3] = {{11, 11, 0}, {40, 33, 0}, {40, 33, 4}, {19, 64, 2}};
    for (size_t i = 0; i < 4; i++)
        for (int spread = 0; spread < 2; spread++) {
            int width = sizes[i][0], height = sizes[i][1], border = sizes[i][2];
            struct sr_planes a = make(3, width, height, 1, spread ? 30 : 0.5f),
                             b = make(3, width, height, 2, 8);
            double expected = 0;
            for (int c = 0; c < 3; c++) {
                int at = (c * height + border) * width + border;
                expected +=
                    naive_ssim(a.data + at, b.data + at, width, width - 2 * border, height - 2 * border) / 3;
            }
            assert_true(expected < 0.999 && expected > 0.05);
            near(measure(SR_CHANNEL_RGB, border, &a, &b).ssim, expected, 1e-9);
            struct sr_planes ya = {0}, yb = {0};
            ok(sr_luma(&a, false, &ya));
            ok(sr_luma(&b, false, &yb));
            int at = border * width + border;
            expected = naive_ssim(ya.data + at, yb.data + at, width, width - 2 * border, height - 2 * border);
            near(measure(SR_CHANNEL_Y, border, &a, &b).ssim, expected, 1e-9);
            sr_planes_free(&ya);
            sr_planes_free(&yb);
            sr_planes_free(&a);
            sr_planes_free(&b);
        }
}

/* Flat pictures have no variance: only the means speak. */
static void ssim_by_hand(void **state) {
    (void)state;
    struct sr_planes a = make(1, 12, 14, 1, 0), b = make(1, 12, 14, 1, 0);
    for (int i = 0; i < 12 * 14; i++) a.data[i] = 100, b.data[i] = 150;
    near(measure(SR_CHANNEL_Y, 0, &a, &b).ssim, (2 * 100 * 150 + 6.5025) / (100 * 100 + 150 * 150 + 6.5025),
         1e-9);
    sr_planes_free(&a);
    sr_planes_free(&b);
}

static void what_cannot_be_compared(void **state) {
    (void)state;
    struct sr_planes a = make(1, 12, 10, 1, 9), b = make(1, 10, 12, 1, 9), two = make(2, 12, 10, 1, 9),
                     none = {0};
    struct sr_measure how = {SR_CHANNEL_Y, 0};
    struct sr_quality quality;
    assert_int_equal(sr_quality(&how, &a, &b, &quality), LAM_ERR_INVALID);
    assert_non_null(strstr(lam_error_text(), "12 x 10 pixels cannot be compared with 10 x 12"));
    assert_int_equal(sr_quality(&how, &two, &two, &quality), LAM_ERR_INVALID);
    assert_int_equal(sr_quality(&how, &none, &none, &quality), LAM_ERR_INVALID);
    static const int borders[] = {5, 6, 1000000, 2147483647, -1};
    for (size_t i = 0; i < sizeof borders / sizeof borders[0]; i++) {
        how.border = borders[i];
        assert_int_equal(sr_quality(&how, &a, &a, &quality), LAM_ERR_INVALID);
        assert_non_null(strstr(lam_error_text(), "leaves nothing of an image of 12 x 10"));
    }
    how.border = 4; /* fewer pixels than the window has: a PSNR alone */
    ok(sr_quality(&how, &a, &a, &quality));
    assert_true(isinf(quality.psnr) && isnan(quality.ssim));
    sr_planes_free(&a);
    sr_planes_free(&b);
    sr_planes_free(&two);
}

/* ---- the shared data ---- */

/* Y of the image and of its bicubic copy: resizing and the luma are both linear. */
static double bicubic_psnr(const struct lam_image *image, int scale) {
    struct lam_image high = {0}, low = {0};
    struct sr_planes planes = {0}, truth = {0}, small = {0}, result = {0};
    ok(sr_crop(image, scale, &high));
    ok(sr_low(&high, scale, SR_ROUND_ONCE, &low));
    ok(sr_planes_from_image(&high, 255, &planes));
    ok(sr_luma(&planes, false, &truth));
    ok(sr_planes_from_image(&low, 255, &planes));
    ok(sr_luma(&planes, false, &small));
    ok(sr_bicubic_planes(&small, high.width, high.height, &result));
    struct sr_quality quality = measure(SR_CHANNEL_Y, scale, &result, &truth);
    sr_planes_free(&planes);
    sr_planes_free(&truth);
    sr_planes_free(&small);
    sr_planes_free(&result);
    lam_image_free(&high);
    lam_image_free(&low);
    return quality.psnr;
}

static void compare_set(const char *name, int count, const double *psnr) { /* at x2, x3, x4 */
    char *folder = lam_format("%s/HR", sample_data(name));
    DIR *listing = opendir(folder);
    assert_non_null(listing);
    double sums[3] = {0};
    int found = 0;
    struct lam_image image = {0};
    for (struct dirent *entry; (entry = readdir(listing));) {
        if (!strstr(entry->d_name, ".png")) continue;
        char *path = lam_path_join(folder, entry->d_name);
        ok(lam_image_load(path, LAM_IMAGE_AS_IS, &image));
        for (int i = 0; i < 3; i++) sums[i] += bicubic_psnr(&image, 2 + i);
        found++;
        free(path);
    }
    assert_int_equal(found, count);
    for (int i = 0; i < 3; i++)
        if (fabs(sums[i] / found - psnr[i]) > 0.0051)
            fail_msg("%s x%d: %.4f dB, not %.2f", name, 2 + i, sums[i] / found, psnr[i]);
    lam_image_free(&image);
    closedir(listing);
    free(folder);
}

static void plain_bicubic_is_as_published(void **state) {
    (void)state;
    if (!sample_data("set5") || !sample_data("set14") || !sample_data("bsd100")) skip();
    static const double set5[] = {33.69, 30.41, 28.43}, set14[] = {30.23, 27.54, 26.00},
                        bsd100[] = {29.57, 27.21, 25.96};
    compare_set("set5", 5, set5);
    compare_set("set14", 14, set14);
    compare_set("bsd100", 100, bsd100);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(psnr_by_hand),
        cmocka_unit_test(y_by_hand),
        cmocka_unit_test(the_border_is_left_out),
        cmocka_unit_test(gray_is_its_own_y),
        cmocka_unit_test(ssim_equals_the_naive_version),
        cmocka_unit_test(ssim_by_hand),
        cmocka_unit_test(what_cannot_be_compared),
        cmocka_unit_test(plain_bicubic_is_as_published),
    };
    return cmocka_run_group_tests_name("quality", tests, NULL, NULL);
}
