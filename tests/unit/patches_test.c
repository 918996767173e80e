/* Patches: both of a pair show the same place in the same way, whatever the symmetry, size and source. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tasks/sr/bicubic.h"
#include "tasks/sr/patches.h"

enum { MOST = 3 * 64 * 64 };

static void ok(lam_status status) {
    if (status != LAM_OK) fail_msg("%s", lam_error_text());
}

static struct lam_rng stream(uint64_t number) {
    return lam_rng_make(7, LAM_RNG_TEST, 0, number);
}

static struct lam_image noise(int width, int height, int channels, uint64_t seed) {
    struct lam_image image = {0};
    ok(lam_image_alloc(&image, width, height, channels));
    struct lam_rng rng = lam_rng_make(seed, LAM_RNG_TEST, 1, 0);
    for (int i = 0; i < width * height * channels; i++) image.pixels[i] = (uint8_t)lam_rng_below(&rng, 256);
    return image;
}

/* ---- the naive version: a patch is cut by coordinates, then flipped and turned as a square ---- */

static int fold(int i, int size) {
    while (i < 0 || i >= size) i = i < 0 ? -1 - i : 2 * size - 1 - i;
    return i;
}

/* Quarter turns first, then a flip left to right. */
static void naive_patch(const struct lam_image *image, int width, int height, int x, int y, int side,
                        int turns, bool flip, float *planes) {
    for (int c = 0; c < 3; c++)
        for (int v = 0; v < side; v++)
            for (int u = 0; u < side; u++) {
                int s = flip ? side - 1 - u : u, t = v;
                for (int k = 0; k < turns; k++) {
                    int was = s;
                    s = t;
                    t = side - 1 - was;
                }
                int column = fold(x + s, width), row = fold(y + t, height);
                const uint8_t *pixel = image->pixels + (row * image->width + column) * image->channels;
                planes[(c * side + v) * side + u] = (float)pixel[image->channels >= 3 ? c : 0] / 255;
            }
}

struct found {
    int x, y, symmetry; /* turns + 4 * flip */
};

static bool equal(const float *a, const float *b, int side) {
    return !memcmp(a, b, (size_t)(3 * side * side) * sizeof *a);
}

/* Which patch of `low` the input is; the target must be the same of `high`. */
static struct found find(const struct sr_patches *how, const struct lam_image *low,
                         const struct lam_image *high, const float *input, const float *target) {
    static float naive[MOST];
    int width = high->width / how->scale, height = high->height / how->scale, side = how->size;
    for (int symmetry = 0; symmetry < 8; symmetry++)
        for (int y = height < side ? height - side : 0; y <= (height < side ? 0 : height - side); y++)
            for (int x = width < side ? width - side : 0; x <= (width < side ? 0 : width - side); x++) {
                naive_patch(low, width, height, x, y, side, symmetry & 3, symmetry >> 2, naive);
                if (!equal(input, naive, side)) continue;
                naive_patch(high, width * how->scale, height * how->scale, x * how->scale, y * how->scale,
                            side * how->scale, symmetry & 3, symmetry >> 2, naive);
                if (!equal(target, naive, side * how->scale)) fail_msg("target is of another place");
                return (struct found){x, y, symmetry};
            }
    fail_msg("the input is no patch of the image");
    return (struct found){0};
}

static void pairs_agree(const struct sr_patches *how, int width, int height, int channels, bool given,
                        int rounds, int *symmetries, int *left, int *right) {
    static float input[MOST], target[MOST];
    struct lam_image high = noise(width, height, channels, 3), low = {0};
    ok(sr_low(&high, how->scale, SR_ROUND_PASSES, &low));
    memset(symmetries, 0, 8 * sizeof *symmetries);
    *left = *right = 0;
    for (int i = 0; i < rounds; i++) {
        struct lam_rng rng = stream((uint64_t)i);
        ok(sr_patch(how, &high, given ? &low : NULL, &rng, input, target));
        struct found found = find(how, &low, &high, input, target);
        symmetries[found.symmetry]++;
        int most = low.width - how->size;
        *left += found.x == (most < 0 ? most : 0);
        *right += found.x == (most < 0 ? 0 : most);
    }
    lam_image_free(&high);
    lam_image_free(&low);
}

static void both_of_a_pair_are_one_place(void **state) {
    (void)state;
    static const struct {
        struct sr_patches how;
        int width, height, channels;
        int seen; /* symmetries, a bit each; 0: mirrored so often that they cannot be told apart */
    } cases[] = {
        {{2, 5, false, false, 0}, 24, 20, 3, 0x01}, {{2, 5, true, false, 0}, 24, 20, 3, 0x11},
        {{3, 4, false, true, 0}, 25, 20, 3, 0x0f},  {{4, 3, true, true, 0}, 27, 23, 3, 0xff},
        {{1, 6, true, true, 0}, 9, 8, 3, 0xff},     {{2, 6, true, true, 0}, 25, 17, 1, 0xff},
        {{2, 5, true, true, 0}, 23, 17, 2, 0xff},   {{3, 5, true, true, 0}, 23, 17, 4, 0xff},
        {{2, 7, true, true, 0}, 9, 30, 3, 0xff},    {{2, 7, true, true, 0}, 31, 8, 3, 0xff},
        {{3, 7, true, true, 0}, 8, 7, 3, 0},        {{2, 4, true, true, 0}, 8, 8, 3, 0xff},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
        for (int given = 0; given < 2; given++) {
            int symmetries[8], seen = 0, left, right;
            pairs_agree(&cases[i].how, cases[i].width, cases[i].height, cases[i].channels, given, 160,
                        symmetries, &left, &right);
            for (int s = 0; s < 8; s++) seen |= (symmetries[s] > 0) << s;
            if (cases[i].seen == 0) continue;
            if (seen != cases[i].seen)
                fail_msg("case %zu: symmetries %02x, not %02x", i, seen, cases[i].seen);
            assert_true(left > 0 && right > 0); /* the first and the last place, too */
        }
}

static void all_eight_symmetries_are_as_frequent(void **state) {
    (void)state;
    struct sr_patches how = {2, 4, true, true, 0};
    int symmetries[8], left, right;
    pairs_agree(&how, 16, 16, 3, true, 1600, symmetries, &left, &right);
    for (int s = 0; s < 8; s++) /* 200 each, deviation 13 */
        if (symmetries[s] < 140 || symmetries[s] > 260) fail_msg("symmetry %d: %d of 1600", s, symmetries[s]);
    assert_true(left > 240 && left < 400); /* one in 5 */
}

/* One pixel is larger than no patch. */
static void the_smallest_image(void **state) {
    (void)state;
    static float input[MOST], target[MOST];
    struct sr_patches how = {2, 9, true, true, 0};
    struct lam_image high = noise(3, 2, 3, 5), low = {0};
    struct lam_rng rng = stream(1);
    ok(sr_low(&high, 2, SR_ROUND_PASSES, &low));
    assert_int_equal(low.width * low.height, 1);
    ok(sr_patch(&how, &high, NULL, &rng, input, target));
    for (int c = 0; c < 3; c++)
        for (int i = 0; i < 81; i++) assert_true(input[c * 81 + i] == (float)low.pixels[c] / 255);
    lam_image_free(&high);
    lam_image_free(&low);
}

static void the_stream_alone_decides(void **state) {
    (void)state;
    static float a[MOST], b[MOST], ta[MOST], tb[MOST];
    struct sr_patches how = {2, 8, true, true, 0}, plain = {2, 8, false, false, 0};
    struct lam_image high = noise(90, 70, 3, 6), low = {0};
    ok(sr_low(&high, 2, SR_ROUND_PASSES, &low));
    int differ = 0;
    for (uint64_t i = 0; i < 20; i++) {
        struct lam_rng one = stream(i), two = stream(i), three = stream(i + 1), four = stream(i);
        ok(sr_patch(&how, &high, NULL, &one, a, ta));
        ok(sr_patch(&how, &high, &low, &two, b, tb)); /* made from the image or read from a file */
        assert_true(equal(a, b, 8) && equal(ta, tb, 16));
        ok(sr_patch(&how, &high, NULL, &three, b, tb));
        differ += !equal(a, b, 8);
        ok(sr_patch(&plain, &high, NULL, &four, b, tb));
        struct found turned = find(&how, &low, &high, a, ta), upright = find(&plain, &low, &high, b, tb);
        assert_int_equal(turned.x, upright.x); /* places do not depend on the symmetries */
        assert_int_equal(turned.y, upright.y);
        assert_int_equal(upright.symmetry, 0);
    }
    assert_int_equal(differ, 20);
    lam_image_free(&high);
    lam_image_free(&low);
}

/* A patch of a shrunk image is a patch of the whole of it, resized. */
static void shrunk_images(void **state) {
    (void)state;
    static float input[MOST], target[MOST], wanted_input[MOST], wanted_target[MOST];
    static const struct {
        struct sr_patches how;
        int width, height, channels;
        double least; /* factor that still leaves a patch */
    } cases[] = {{{2, 6, true, true, .3}, 61, 44, 3, .3},
                 {{3, 5, true, true, .5}, 50, 67, 4, .5},
                 {{4, 3, false, true, .2}, 41, 90, 1, 12. / 41},
                 {{2, 15, true, false, .1}, 34, 38, 3, 30. / 34}};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct sr_patches plain = cases[i].how;
        plain.shrink = 0;
        struct lam_image high = noise(cases[i].width, cases[i].height, cases[i].channels, i), resized = {0};
        double smallest = 1, largest = 0;
        for (uint64_t round = 0; round < 200; round++) {
            struct lam_rng rng = stream(round), again = rng;
            ok(sr_patch(&cases[i].how, &high, NULL, &rng, input, target));
            double factor = cases[i].least + (1 - cases[i].least) * lam_rng_uniform(&again);
            smallest = factor < smallest ? factor : smallest;
            largest = factor > largest ? factor : largest;
            ok(sr_bicubic(&high, (int)(high.width * factor + .5), (int)(high.height * factor + .5),
                          SR_ROUND_PASSES, &resized));
            ok(sr_patch(&plain, &resized, NULL, &again, wanted_input, wanted_target));
            assert_true(equal(input, wanted_input, plain.size));
            assert_true(equal(target, wanted_target, plain.size * plain.scale));
        }
        double range = 1 - cases[i].least;
        assert_true(smallest < cases[i].least + .05 * range && largest > 1 - .05 * range);
        lam_image_free(&high);
        lam_image_free(&resized);
    }
    struct sr_patches large = {2, 8, true, true, .5}, still = {2, 8, true, true, 0};
    struct lam_image high = noise(16, 30, 3, 9); /* no larger than a patch: as it is */
    for (uint64_t round = 0; round < 20; round++) {
        struct lam_rng rng = stream(round), again = rng;
        ok(sr_patch(&large, &high, NULL, &rng, input, target));
        (void)lam_rng_uniform(&again);
        ok(sr_patch(&still, &high, NULL, &again, wanted_input, wanted_target));
        assert_true(equal(input, wanted_input, 8) && equal(target, wanted_target, 16));
    }
    lam_image_free(&high);
}

static void what_gives_no_patch(void **state) {
    (void)state;
    static float input[MOST], target[MOST];
    struct lam_image high = noise(8, 6, 3, 1), low = noise(4, 4, 3, 1), empty = {0};
    struct lam_rng rng = stream(1);
    static const struct {
        struct sr_patches how;
        bool low;
        lam_status status;
        const char *says;
    } cases[] = {{{0, 4, 0, 0, 0}, 0, LAM_ERR_INVALID, "at x0"},
                 {{17, 4, 0, 0, 0}, 0, LAM_ERR_INVALID, "at x17"},
                 {{2, 0, 0, 0, 0}, 0, LAM_ERR_INVALID, "patches of 0 pixels"},
                 {{2, 5000, 0, 0, 0}, 0, LAM_ERR_INVALID, "patches of 5000 pixels"},
                 {{7, 2, 0, 0, 0}, 0, LAM_ERR_FORMAT, "8 x 6 pixels is smaller than the scale 7"},
                 {{2, 2, 0, 0, .5}, 1, LAM_ERR_INVALID, "cannot be shrunk"},
                 {{2, 2, 0, 0, 0}, 1, LAM_ERR_FORMAT, "4 x 4 pixels is not 8 x 6 over 2"}};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        assert_int_equal(sr_patch(&cases[i].how, &high, cases[i].low ? &low : NULL, &rng, input, target),
                         cases[i].status);
        if (!strstr(lam_error_text(), cases[i].says))
            fail_msg("'%s' does not say '%s'", lam_error_text(), cases[i].says);
    }
    struct sr_patches how = {2, 2, false, false, 0};
    assert_int_equal(sr_patch(&how, &empty, NULL, &rng, input, target), LAM_ERR_INVALID);
    ok(sr_patch(&how, &high, &empty, &rng, input, target)); /* an empty partner is none */
    lam_image_free(&high);
    lam_image_free(&low);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(both_of_a_pair_are_one_place),
        cmocka_unit_test(all_eight_symmetries_are_as_frequent),
        cmocka_unit_test(the_smallest_image),
        cmocka_unit_test(the_stream_alone_decides),
        cmocka_unit_test(shrunk_images),
        cmocka_unit_test(what_gives_no_patch),
    };
    return cmocka_run_group_tests_name("patches", tests, NULL, NULL);
}
