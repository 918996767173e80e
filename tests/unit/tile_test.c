/* Tiles give the pixels of the whole image, to the bit, and seams where they overlap too little; symmetries are undone;
 * crops are drawn. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <math.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/rng.h"
#include "tasks/sr/crops.h"
#include "tasks/sr/tile.h"

static void ok(lam_status status) {
    if (status != LAM_OK) fail_msg("%s", lam_error_text());
}

static struct sr_planes noise(int channels, int width, int height, uint64_t seed) {
    struct sr_planes planes = {0};
    ok(sr_planes_alloc(&planes, channels, width, height));
    struct lam_rng rng = lam_rng_make(seed, LAM_RNG_TEST, 2, 0);
    for (int i = 0; i < channels * width * height; i++) planes.data[i] = lam_rng_normal(&rng);
    return planes;
}

/* ---- a small network: `depth` zero-padded 3 x 3 convolutions, then every pixel becomes scale x scale ---- */

static void convolve(const float *in, int width, int height, int layer, float *out) {
    for (int y = 0; y < height; y++)
        for (int x = 0; x < width; x++) {
            float sum = 0;
            for (int k = 0; k < 9; k++) {
                int v = y + k / 3 - 1, u = x + k % 3 - 1;
                bool inside = u >= 0 && v >= 0 && u < width && v < height;
                sum += (inside ? in[v * width + u] : 0) * (0.3f + 0.1f * (float)((k * 5 + layer) % 7));
            }
            out[y * width + x] = sum > 0 ? sum : 0.2f * sum;
        }
}

static void network(const float *in, int channels, int width, int height, int depth, int scale, float *out) {
    size_t area = (size_t)width * (size_t)height;
    float *a = malloc(area * sizeof *a), *b = malloc(area * sizeof *b);
    for (int c = 0; c < channels; c++, in += area) {
        memcpy(a, in, area * sizeof *a);
        for (int layer = 0; layer < depth; layer++) {
            convolve(a, width, height, layer, b);
            float *t = a;
            a = b;
            b = t;
        }
        for (int y = 0; y < height * scale; y++)
            for (int x = 0; x < width * scale; x++)
                *out++ = a[y / scale * width + x / scale] * (float)(1 + y % scale * scale + x % scale);
    }
    free(a);
    free(b);
}

/* How many pixels differ from the whole image's. */
static int differing(int width, int height, int side, int radius, int depth, int scale) {
    struct sr_planes image = noise(2, width, height, 1), whole = {0}, tiled = {0};
    ok(sr_planes_alloc(&whole, 2, width * scale, height * scale));
    ok(sr_planes_alloc(&tiled, 2, width * scale, height * scale));
    int count = 2 * width * height * scale * scale, differ = 0;
    for (int i = 0; i < count; i++) tiled.data[i] = NAN;
    network(image.data, 2, width, height, depth, scale, whole.data);
    struct sr_tiling tiling;
    ok(sr_tiling_make(width, height, side, radius, scale, &tiling));
    size_t area = (size_t)(tiling.tile_width * tiling.tile_height);
    float *input = malloc(2 * area * sizeof *input);
    float *output = malloc(2 * area * (size_t)(scale * scale) * sizeof *output);
    for (int i = 0; i < tiling.columns * tiling.rows; i++) {
        struct sr_tile tile = sr_tiling_at(&tiling, i);
        assert_int_equal(tile.from.width, tiling.tile_width);
        assert_int_equal(tile.from.height, tiling.tile_height);
        sr_tile_cut(&tile, &image, input);
        network(input, 2, tile.from.width, tile.from.height, depth, scale, output);
        sr_tile_paste(&tile, output, &tiled);
    }
    for (int i = 0; i < count; i++) differ += !(whole.data[i] == tiled.data[i]);
    free(input);
    free(output);
    sr_planes_free(&image);
    sr_planes_free(&whole);
    sr_planes_free(&tiled);
    return differ;
}

static void tiles_give_the_pixels_of_the_whole(void **state) {
    (void)state;
    static const int cases[][6] = {{40, 33, 12, 3, 3, 2}, {40, 33, 13, 3, 3, 3}, {13, 50, 16, 4, 4, 4},
                                   {50, 13, 16, 2, 2, 1}, {17, 17, 17, 9, 3, 2}, {10, 8, 64, 40, 3, 2},
                                   {41, 23, 9, 4, 4, 2},  {30, 30, 11, 5, 5, 2}, {30, 30, 11, 5, 2, 2},
                                   {12, 12, 11, 5, 5, 2}, {23, 5, 1, 0, 0, 3}};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        const int *c = cases[i];
        if (differing(c[0], c[1], c[2], c[3], c[4], c[5])) fail_msg("case %zu has seams", i);
    }
}

static void too_small_a_radius_leaves_seams(void **state) {
    (void)state;
    assert_true(differing(40, 33, 13, 3, 4, 2) > 0);
    assert_true(differing(40, 33, 12, 0, 1, 2) > 0);
}

static void what_is_taken_covers_the_image_once(void **state) {
    (void)state;
    for (int width = 1; width < 40; width += 3)
        for (int side = 1; side < 20; side++)
            for (int radius = 0; 2 * radius < side; radius++) {
                struct sr_tiling tiling;
                int height = 7 + width / 2, seen[40 * 40] = {0};
                ok(sr_tiling_make(width, height, side, radius, 2, &tiling));
                for (int i = 0; i < tiling.columns * tiling.rows; i++) {
                    struct sr_tile t = sr_tiling_at(&tiling, i);
                    assert_true(t.take.width > 0 && t.take.height > 0);
                    assert_true(t.from.x >= 0 && t.from.x + t.from.width <= width);
                    assert_true(t.from.y >= 0 && t.from.y + t.from.height <= height);
                    /* a pixel near an end of the tile only where that is the image's */
                    assert_true(t.from.x == 0 || t.take.x - t.from.x >= radius);
                    int after = t.from.x + t.from.width - t.take.x - t.take.width;
                    assert_true(after >= radius || t.from.x + t.from.width == width);
                    for (int y = t.take.y; y < t.take.y + t.take.height; y++)
                        for (int x = t.take.x; x < t.take.x + t.take.width; x++) seen[y * 40 + x]++;
                }
                for (int y = 0; y < height; y++)
                    for (int x = 0; x < width; x++) assert_int_equal(seen[y * 40 + x], 1);
            }
}

static void what_cannot_be_tiled(void **state) {
    (void)state;
    static const int cases[][5] = {{100, 20, 16, 8, 2}, {20, 100, 16, 9, 2}, {100, 20, 16, 2000000000, 2},
                                   {0, 5, 4, 1, 2},     {5, 5, 0, 0, 2},     {5, 5, 4, -1, 2},
                                   {5, 5, 4, 1, 0}};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct sr_tiling tiling;
        const int *c = cases[i];
        assert_int_equal(sr_tiling_make(c[0], c[1], c[2], c[3], c[4], &tiling), LAM_ERR_INVALID);
        if (i < 2 && !strstr(lam_error_text(), i ? "19 at least" : "17 at least"))
            fail_msg("%s", lam_error_text());
    }
}

/* ---- symmetries ---- */

static void symmetries_by_hand(void **state) {
    (void)state;
    /* 1 2 3 / 4 5 6 */
    static const int widths[] = {3, 3, 3, 3, 2, 2, 2, 2};
    static const float expected[8][6] = {{1, 2, 3, 4, 5, 6}, {3, 2, 1, 6, 5, 4}, {4, 5, 6, 1, 2, 3},
                                         {6, 5, 4, 3, 2, 1}, {1, 4, 2, 5, 3, 6}, {4, 1, 5, 2, 6, 3},
                                         {3, 6, 2, 5, 1, 4}, {6, 3, 5, 2, 4, 1}};
    float values[] = {1, 2, 3, 4, 5, 6};
    struct sr_planes from = {1, 3, 2, values}, to = {0};
    for (int s = 0; s < SR_SYMMETRIES; s++) {
        ok(sr_symmetry_apply(s, &from, &to));
        assert_int_equal(to.width, widths[s]);
        assert_int_equal(to.height, 6 / widths[s]);
        assert_memory_equal(to.data, expected[s], sizeof expected[s]);
    }
    sr_planes_free(&to);
}

static void symmetries_are_undone(void **state) {
    (void)state;
    struct sr_planes image = noise(3, 7, 5, 3), turned = {0}, back = {0}, sum = {0};
    ok(sr_planes_alloc(&sum, 3, 7, 5));
    memset(sum.data, 0, 3 * 35 * sizeof(float));
    for (int s = 0; s < SR_SYMMETRIES; s++) {
        ok(sr_symmetry_apply(s, &image, &turned));
        ok(sr_symmetry_apply(sr_symmetry_inverse(s), &turned, &back));
        assert_int_equal(back.width, 7);
        assert_memory_equal(back.data, image.data, 3 * 35 * sizeof(float));
        ok(sr_symmetry_add_inverse(s, 0.125f, &turned, &sum));
    }
    for (int i = 0; i < 3 * 35; i++) assert_true(fabsf(sum.data[i] - image.data[i]) < 1e-6f);
    ok(sr_symmetry_apply(SR_TRANSPOSE, &image, &turned));
    assert_int_equal(sr_symmetry_add_inverse(SR_FLIP_X, 1, &turned, &sum), LAM_ERR_INVALID);
    assert_non_null(strstr(lam_error_text(), "3 x 5 x 7 do not fit a sum of 3 x 7 x 5"));
    sr_planes_free(&image);
    sr_planes_free(&turned);
    sr_planes_free(&back);
    sr_planes_free(&sum);
}

/* ---- crops ---- */

static struct lam_image flat(int width, int height, int channels, int value) {
    struct lam_image image = {0};
    ok(lam_image_alloc(&image, width, height, channels));
    memset(image.pixels, value, (size_t)(width * height * channels));
    return image;
}

static bool has_colour(const struct lam_image *picture, int r, int g, int b) {
    for (int i = 0; i < picture->width * picture->height; i++) {
        const uint8_t *p = picture->pixels + 3 * i;
        if (p[0] == r && p[1] == g && p[2] == b) return true;
    }
    return false;
}

static void crops_show_the_most_detail(void **state) {
    (void)state;
    struct lam_image high = flat(64, 48, 1, 90);
    for (int y = 30; y < 40; y++)
        for (int x = 40; x < 52; x++) high.pixels[y * 64 + x] = (x + y) % 2 ? 0 : 255;
    struct sr_rect part = sr_crop_of_most_detail(&high, 16, 2);
    assert_int_equal(part.width, 16);
    assert_true(part.x <= 40 && part.x + 16 >= 52 && part.y <= 30 && part.y + 16 >= 40);
    assert_true(part.x % 2 == 0 && part.y % 2 == 0);
    part = sr_crop_of_most_detail(&high, 1000, 2);
    assert_true(part.x == 0 && part.y == 0 && part.width == 64 && part.height == 48);
    lam_image_free(&high);
}

static void crops_are_drawn_side_by_side(void **state) {
    (void)state;
    struct lam_image low = flat(10, 9, 3, 10), bicubic = flat(20, 18, 3, 20), ours = flat(20, 18, 1, 30),
                     high = flat(20, 18, 4, 40), picture = {0};
    struct sr_crop crops[] = {
        {"one", &low, &bicubic, &ours, &high, {4, 2, 16, 16}, 30, 31},
        {"two", &low, &bicubic, &ours, &high, {0, 0, 1, 1}, 30, INFINITY},
    };
    ok(sr_draw_crops(crops, 2, &picture));
    assert_int_equal(picture.channels, 3);
    for (int value = 10; value <= 40; value += 10) assert_true(has_colour(&picture, value, value, value));
    assert_true(has_colour(&picture, 0x11, 0x80, 0x33)); /* better than bicubic */
    int count = 0;                                       /* a piece is 16 x 16, eight times as large */
    for (int i = 0; i < picture.width * 145; i++) count += picture.pixels[3 * i] == 40;
    assert_int_equal(count, 128 * 128);
    crops[1].part = (struct sr_rect){10, 0, 11, 4};
    struct lam_image none = {0};
    assert_int_equal(sr_draw_crops(crops, 2, &none), LAM_ERR_INVALID);
    assert_null(none.pixels);
    crops[1].part = (struct sr_rect){-2, 0, 4, 4};
    assert_int_equal(sr_draw_crops(crops, 2, &none), LAM_ERR_INVALID);
    lam_image_free(&low);
    lam_image_free(&bicubic);
    lam_image_free(&ours);
    lam_image_free(&high);
    lam_image_free(&picture);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(tiles_give_the_pixels_of_the_whole),
        cmocka_unit_test(too_small_a_radius_leaves_seams),
        cmocka_unit_test(what_is_taken_covers_the_image_once),
        cmocka_unit_test(what_cannot_be_tiled),
        cmocka_unit_test(symmetries_by_hand),
        cmocka_unit_test(symmetries_are_undone),
        cmocka_unit_test(crops_show_the_most_detail),
        cmocka_unit_test(crops_are_drawn_side_by_side),
    };
    return cmocka_run_group_tests_name("tile", tests, NULL, NULL);
}
