/* Augmentation of images with boxes: a box must lie on the pixels that were painted for it, whatever was
 * done. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tasks/detect/augment.h"

static void must(lam_status status) {
    if (status != LAM_OK) fail_msg("%s", lam_error_text());
}

static void refused(lam_status status, lam_status expected, const char *part) {
    assert_int_equal(status, expected);
    if (!strstr(lam_error_text(), part)) fail_msg("'%s' does not say '%s'", lam_error_text(), part);
}

static struct detect_augment make_augment(int width, int height) {
    return (struct detect_augment){.fit = {.width = width, .height = height}, .padding = {125, 122, 115}};
}

static uint8_t *make_planes(const struct detect_augment *a) {
    return malloc(3 * (size_t)(a->fit.width * a->fit.height));
}

static void free_sample(struct lam_sample *sample) {
    lam_image_free(&sample->image);
    free(sample->boxes);
}

/* Gray 60, with a box of a colour. */
static struct lam_sample paint(int width, int height, const uint8_t colour[3], int x0, int y0, int x1, int y1,
                               int label) {
    struct lam_sample sample = {.box_count = 1, .boxes = calloc(1, sizeof *sample.boxes)};
    must(lam_image_alloc(&sample.image, width, height, 3));
    memset(sample.image.pixels, 60, (size_t)(3 * width * height));
    for (int y = y0; y < y1; y++)
        for (int x = x0; x < x1; x++) memcpy(sample.image.pixels + 3 * (y * width + x), colour, 3);
    sample.boxes[0] = (struct lam_box){(float)x0, (float)y0, (float)x1, (float)y1, .label = label};
    return sample;
}

/* ---- views ---- */

static void a_view_fits_the_input(void **state) {
    (void)state;
    static const struct {
        int image[2], input[2], short_side, size[2], at[2];
    } cases[] = {
        {{640, 480}, {320, 240}, 0, {320, 240}, {0, 0}},
        {{640, 480}, {320, 320}, 0, {320, 240}, {0, 40}},
        {{480, 640}, {320, 240}, 0, {180, 240}, {70, 0}},
        {{100, 50}, {301, 301}, 0, {301, 151}, {0, 75}},
        {{1, 5000}, {64, 64}, 0, {1, 64}, {31, 0}},
        {{1, 1}, {32, 16}, 0, {16, 16}, {8, 0}},
        /* a short side of 800 in 1344: reached, reached by enlarging, and less where the long side is too long */
        {{1000, 1600}, {1344, 1344}, 800, {800, 1280}, {272, 32}},
        {{100, 100}, {1344, 1344}, 800, {800, 800}, {272, 272}},
        {{640, 320}, {1344, 1344}, 800, {1344, 672}, {0, 336}},
        {{480, 640}, {640, 480}, 400, {360, 480}, {140, 0}},
        {{640, 480}, {640, 480}, 300, {400, 300}, {120, 90}},
    };
    for (size_t k = 0; k < sizeof cases / sizeof cases[0]; k++) {
        struct detect_fit fit = {
            .width = cases[k].input[0], .height = cases[k].input[1], .short_side = cases[k].short_side};
        struct detect_view v = detect_view_fit(&fit, cases[k].image[0], cases[k].image[1]);
        assert_int_equal(v.width, cases[k].size[0]);
        assert_int_equal(v.height, cases[k].size[1]);
        assert_int_equal(v.x, cases[k].at[0]);
        assert_int_equal(v.y, cases[k].at[1]);
        fit = (struct detect_fit){.width = fit.width, .height = fit.height, .stretch = true};
        v = detect_view_fit(&fit, cases[k].image[0], cases[k].image[1]);
        assert_true(v.width == fit.width && v.height == fit.height && v.x == 0 && v.y == 0);
    }
}

static void a_view_leads_there_and_back(void **state) {
    (void)state;
    struct lam_rng rng = lam_rng_make(1, LAM_RNG_TEST, 0, 0);
    for (int i = 0; i < 500; i++) {
        struct detect_view v = {.image_width = 1 + (int)lam_rng_below(&rng, 900),
                                .image_height = 1 + (int)lam_rng_below(&rng, 900),
                                .width = 1 + (int)lam_rng_below(&rng, 900),
                                .height = 1 + (int)lam_rng_below(&rng, 900),
                                .x = (int)lam_rng_below(&rng, 400) - 200,
                                .y = (int)lam_rng_below(&rng, 400) - 200,
                                .flip = i & 1,
                                .flip_vertical = i & 2};
        float x = lam_rng_uniform(&rng), y = lam_rng_uniform(&rng);
        float wide = (float)v.image_width, high = (float)v.image_height;
        const float box[4] = {x * wide, y * high, (x + 0.1f) * wide, (y + 0.2f) * high};
        float there[4], back[4];
        memcpy(there, box, sizeof box);
        detect_view_box(&v, there);
        assert_true(there[2] > there[0] && there[3] > there[1]);
        float left = v.flip ? 1 - x - 0.1f : x;
        assert_true(fabsf(there[0] - ((float)v.x + left * (float)v.width)) < 1e-2f);
        float lower = v.flip_vertical ? 1 - y : y + 0.2f;
        assert_true(fabsf(there[3] - ((float)v.y + lower * (float)v.height)) < 1e-2f);
        memcpy(back, there, sizeof back);
        detect_view_box_back(&v, back);
        for (int k = 0; k < 4; k++) assert_true(fabsf(back[k] - box[k]) < 2e-3f * (1 + fabsf(box[k])) + 0.1f);
    }
}

/* ---- evaluation ---- */

static void plain_is_the_resized_image_in_the_middle(void **state) {
    (void)state;
    static const int cases[][5] = {{64, 48, 32, 24, 3},
                                   {64, 48, 40, 40, 3},
                                   {31, 57, 40, 24, 4},
                                   {20, 10, 64, 64, 1},
                                   {33, 33, 33, 33, 2}};
    for (size_t k = 0; k < 10; k++) {
        const int *c = cases[k / 2];
        struct lam_sample sample = {0};
        struct lam_image resized = {0};
        struct detect_scratch scratch = {0};
        struct detect_augment a = make_augment(c[2], c[3]);
        a.fit.stretch = k & 1;
        a.flip = a.mosaic = a.value = 1; /* nothing of it in evaluation */
        must(lam_image_alloc(&sample.image, c[0], c[1], c[4]));
        for (int i = 0; i < c[0] * c[1] * c[4]; i++) sample.image.pixels[i] = (uint8_t)(i * 73 + i / 5);
        uint8_t *planes = make_planes(&a);
        struct detect_view v;
        must(detect_augment_plain(&a, &sample, &scratch, planes, &v));
        must(lam_image_resize(&sample.image, v.width, v.height, &resized));
        for (int p = 0; p < 3; p++)
            for (int y = 0; y < a.fit.height; y++)
                for (int x = 0; x < a.fit.width; x++) {
                    uint8_t want = a.padding[p];
                    int sx = x - v.x, sy = y - v.y;
                    if (sx >= 0 && sy >= 0 && sx < v.width && sy < v.height)
                        want = resized.pixels[(sy * v.width + sx) * c[4] + (c[4] >= 3 ? p : 0)];
                    assert_int_equal(planes[(p * a.fit.height + y) * a.fit.width + x], want);
                }
        assert_int_equal(scratch.boxes.count, 0);
        free(planes);
        lam_image_free(&resized);
        detect_scratch_free(&scratch);
        free_sample(&sample);
    }
}

/* ---- boxes follow pixels ---- */

static const uint8_t gray[3] = {60, 60, 60}, red[3] = {255, 40, 40}, green[3] = {40, 255, 40},
                     blue[3] = {60, 60, 255}, yellow[3] = {255, 255, 30};

static const uint8_t *nearest_colour(const uint8_t *pixel) {
    static const uint8_t *const all[] = {gray, red, green, blue, yellow};
    const uint8_t *nearest = NULL;
    for (int k = 0, least = 1000; k < 5; k++) {
        int distance = 0;
        for (int c = 0; c < 3; c++) distance += abs(pixel[c] - all[k][c]);
        if (distance < least) least = distance, nearest = all[k];
    }
    return nearest;
}

/* Bounds of the pixels of a colour; returns how many there are. */
static int find_colour(const struct lam_image *picture, const uint8_t colour[3], float found[4]) {
    int count = 0, x0 = picture->width, y0 = picture->height, x1 = 0, y1 = 0;
    for (int y = 0; y < picture->height; y++)
        for (int x = 0; x < picture->width; x++) {
            if (nearest_colour(picture->pixels + 3 * (y * picture->width + x)) != colour) continue;
            count++;
            if (x < x0) x0 = x;
            if (y < y0) y0 = y;
            if (x + 1 > x1) x1 = x + 1;
            if (y + 1 > y1) y1 = y + 1;
        }
    const float all[4] = {(float)x0, (float)y0, (float)x1, (float)y1};
    memcpy(found, all, sizeof all);
    return count;
}

static void assert_on_pixels(const struct lam_box *box, const struct lam_image *picture,
                             const uint8_t colour[3]) {
    const float corners[4] = {box->x0, box->y0, box->x1, box->y1};
    float found[4];
    assert_true(find_colour(picture, colour, found) > 0);
    for (int i = 0; i < 4; i++)
        if (fabsf(found[i] - corners[i]) > 1.01f)
            fail_msg("label %d: side %d is at %g, painted at %g", box->label, i, corners[i], found[i]);
    assert_true(box->x0 >= 0 && box->y0 >= 0 && box->x1 <= picture->width && box->y1 <= picture->height);
}

static void one_image_keeps_its_box_on_its_pixels(void **state) {
    (void)state;
    struct lam_sample sample = paint(120, 90, red, 20, 30, 68, 61, 3);
    sample.boxes[0].crowd = true; /* kept however little of it is left */
    struct detect_scratch scratch = {0};
    struct lam_image picture = {0};
    int seen = 0, cut = 0;
    float least = 1e9f, greatest = 0;
    for (int i = 0; i < 400; i++) {
        struct detect_augment a = make_augment(i % 2 ? 80 : 96, i % 2 ? 80 : 72);
        memset(a.padding, 60, sizeof a.padding); /* the ground is the padding */
        a.flip = 0.5f;
        a.flip_vertical = i % 2 ? 0.5f : 0;
        a.fit.stretch = i % 3 == 0;
        if (i % 4) a.scale_min = 0.5f, a.scale_max = 2;
        uint8_t *planes = make_planes(&a);
        struct lam_rng rng = lam_rng_make(5, LAM_RNG_AUGMENT, 0, (uint64_t)i);
        must(detect_augment_train(&a, &sample, NULL, &rng, &scratch, planes));
        must(detect_augment_picture(&a, planes, &picture));
        free(planes);
        float found[4];
        if (scratch.boxes.count == 0) { /* not more than a sliver is to be seen */
            assert_true(find_colour(&picture, red, found) == 0 || found[2] - found[0] < 2 ||
                        found[3] - found[1] < 2);
            continue;
        }
        struct lam_box box = scratch.boxes.items[0];
        if (box.x1 - box.x0 < 2 || box.y1 - box.y0 < 2) continue;
        assert_int_equal(box.label, 3);
        assert_true(box.crowd);
        assert_on_pixels(&box, &picture, red);
        seen++;
        cut += box.x0 == 0 || box.x1 == a.fit.width;
        least = fminf(least, box.y1 - box.y0);
        greatest = fmaxf(greatest, box.y1 - box.y0);
    }
    assert_true(seen > 300 && cut > 10);
    assert_true(least < 15 && greatest > 40);
    detect_scratch_free(&scratch);
    lam_image_free(&picture);
    free_sample(&sample);
}

/* ---- mosaics ---- */

struct set {
    struct lam_sample samples[4];
    int reads;
    bool in_turn; /* 1, 2, 3, 1, ... whichever was asked for */
};

static lam_status read_sample(void *context, int64_t index, struct lam_sample *sample) {
    struct set *set = context;
    assert_in_range(index, 0, 3);
    if (set->in_turn) index = set->reads % 3 + 1;
    const struct lam_sample *from = &set->samples[index];
    set->reads++;
    must(lam_image_alloc(&sample->image, from->image.width, from->image.height, 3));
    memcpy(sample->image.pixels, from->image.pixels, (size_t)(3 * from->image.width * from->image.height));
    sample->boxes = realloc(sample->boxes, (size_t)from->box_count * sizeof *sample->boxes);
    memcpy(sample->boxes, from->boxes, (size_t)from->box_count * sizeof *sample->boxes);
    sample->box_count = from->box_count;
    return LAM_OK;
}

static lam_status fail_to_read(void *context, int64_t index, struct lam_sample *sample) {
    (void)context;
    (void)sample;
    return lam_fail(LAM_ERR_FORMAT, "sample %d is broken", (int)(index >= 0));
}

static struct set make_set(void) {
    return (struct set){
        .samples = {paint(120, 90, red, 20, 30, 68, 61, 0), paint(90, 120, green, 30, 30, 68, 101, 1),
                    paint(200, 40, blue, 50, 2, 158, 38, 2), paint(60, 60, yellow, 5, 20, 38, 51, 3)}};
}

static void free_set(struct set *set) {
    for (int i = 0; i < 4; i++) free_sample(&set->samples[i]);
}

static void a_mosaic_keeps_boxes_on_pixels(void **state) {
    (void)state;
    static const uint8_t *const colours[] = {red, green, blue, yellow};
    struct set set = make_set();
    set.in_turn = true;
    struct detect_source others = {4, read_sample, &set};
    struct detect_scratch scratch = {0};
    struct lam_image picture = {0};
    struct detect_augment a = make_augment(160, 120);
    memset(a.padding, 60, sizeof a.padding);
    a.flip = a.flip_vertical = 0.5f, a.mosaic = 1, a.scale_min = 0.5f, a.scale_max = 1.2f,
    a.min_share = 1e-6f;
    uint8_t *planes = make_planes(&a);
    int boxes[4] = {0};
    for (int i = 0; i < 300; i++) {
        struct lam_rng rng = lam_rng_make(6, LAM_RNG_AUGMENT, 0, (uint64_t)i);
        must(detect_augment_train(&a, &set.samples[0], &others, &rng, &scratch, planes));
        must(detect_augment_picture(&a, planes, &picture));
        for (int k = 0; k < scratch.boxes.count; k++) {
            const struct lam_box *b = &scratch.boxes.items[k];
            for (int other = 0; other < k; other++) assert_true(scratch.boxes.items[other].label != b->label);
            if (b->x1 - b->x0 < 2 || b->y1 - b->y0 < 2) continue; /* a sliver fades into the ground */
            assert_on_pixels(b, &picture, colours[b->label]);
            boxes[b->label]++;
        }
    }
    for (int label = 0; label < 4; label++) assert_in_range(boxes[label], 120, 300);
    assert_int_equal(set.reads, 900);
    a.mosaic = 0.25f;
    set.reads = 0;
    for (int i = 0; i < 400; i++) {
        struct lam_rng rng = lam_rng_make(6, LAM_RNG_AUGMENT, 1, (uint64_t)i);
        must(detect_augment_train(&a, &set.samples[0], &others, &rng, &scratch, planes));
    }
    assert_in_range(set.reads, 3 * 60, 3 * 140);
    others.read = fail_to_read;
    a.mosaic = 1;
    struct lam_rng rng = lam_rng_make(6, LAM_RNG_AUGMENT, 0, 0);
    refused(detect_augment_train(&a, &set.samples[0], &others, &rng, &scratch, planes), LAM_ERR_FORMAT,
            "sample 1 is broken");
    free(planes);
    detect_scratch_free(&scratch);
    lam_image_free(&picture);
    free_set(&set);
}

/* ---- what remains of boxes ---- */

static void a_box_that_is_mostly_cut_off_is_dropped(void **state) {
    (void)state;
    struct lam_sample sample = paint(100, 100, red, 0, 0, 50, 100, 1);
    sample.boxes = realloc(sample.boxes, 4 * sizeof *sample.boxes);
    sample.box_count = 4;
    for (int i = 1; i < 4; i++) sample.boxes[i] = sample.boxes[0];
    sample.boxes[1].crowd = true;
    sample.boxes[2].difficult = true;
    sample.boxes[3] =
        (struct lam_box){.x0 = 90, .y0 = -50, .x1 = 110, .y1 = 50, .label = 2}; /* half in each axis */
    struct detect_scratch scratch = {0};
    struct detect_augment a = make_augment(64, 64);
    a.scale_min = a.scale_max = 2;
    uint8_t *planes = make_planes(&a);
    int with = 0, without = 0;
    for (int i = 0; i < 300; i++) {
        a.min_share = i % 2 ? 0 : 0.5f; /* 0 = 0.25 */
        float share = i % 2 ? 0.25f : 0.5f;
        struct lam_rng rng = lam_rng_make(7, LAM_RNG_AUGMENT, 0, (uint64_t)i);
        must(detect_augment_train(&a, &sample, NULL, &rng, &scratch, planes));
        int targets = 0, difficult = 0;
        float part = 0; /* of the left half, from the crowd */
        for (int k = 0; k < scratch.boxes.count; k++) {
            const struct lam_box *b = &scratch.boxes.items[k];
            float area = (b->x1 - b->x0) * (b->y1 - b->y0) / (128.0f * 64);
            if (b->crowd) part = area;
            difficult += b->difficult && area == part;
            targets += b->label == 1 && !b->crowd && !b->difficult;
            if (b->label == 2) assert_true((b->x1 - b->x0) * (b->y1 - b->y0) >= share * 25.6f * 128);
        }
        assert_int_equal(difficult, part > 0);
        if (fabsf(part - share) < 1e-4f) continue;
        assert_int_equal(targets, part > share);
        with += targets;
        without += part > 0 && !targets;
    }
    assert_true(with > 30 && without > 30);
    free(planes);
    detect_scratch_free(&scratch);
    free_sample(&sample);
}

/* ---- draws ---- */

static void assert_same_box(const struct lam_box *a, const struct lam_box *b) {
    assert_true(a->x0 == b->x0 && a->y0 == b->y0 && a->x1 == b->x1 && a->y1 == b->y1);
    assert_true(a->label == b->label && a->crowd == b->crowd && a->difficult == b->difficult);
}

static void the_same_stream_gives_the_same_sample(void **state) {
    (void)state;
    struct set set = make_set();
    struct detect_source others = {4, read_sample, &set};
    struct detect_scratch scratch = {0}, fresh = {0};
    struct detect_augment a = make_augment(72, 56);
    a.flip = a.mosaic = 0.5f, a.scale_min = 0.4f, a.scale_max = 1.5f;
    a.hue = 0.1f, a.saturation = a.value = 0.5f;
    uint8_t *first = make_planes(&a), *second = make_planes(&a);
    size_t bytes = 3 * (size_t)(a.fit.width * a.fit.height);
    int differ = 0;
    for (int i = 0; i < 60; i++) {
        struct lam_rng rng = lam_rng_make(8, LAM_RNG_AUGMENT, 2, (uint64_t)i), same = rng;
        must(detect_augment_train(&a, &set.samples[i % 4], &others, &rng, &scratch, first));
        memset(second, 0xff, bytes);
        must(detect_augment_train(&a, &set.samples[i % 4], &others, &same, &fresh, second));
        assert_memory_equal(first, second, bytes);
        assert_int_equal(scratch.boxes.count, fresh.boxes.count);
        for (int k = 0; k < fresh.boxes.count; k++)
            assert_same_box(&scratch.boxes.items[k], &fresh.boxes.items[k]);
        detect_scratch_free(&fresh); /* what it holds from before does not matter */
        struct lam_rng other = lam_rng_make(8, LAM_RNG_AUGMENT, 3, (uint64_t)i);
        must(detect_augment_train(&a, &set.samples[i % 4], &others, &other, &scratch, second));
        differ += memcmp(first, second, bytes) != 0;
    }
    assert_in_range(differ, 58, 60); /* of one epoch and the next */
    free(first);
    free(second);
    detect_scratch_free(&scratch);
    free_set(&set);
}

/* Scales, places and flips, read from the box of the whole image. */
static void draws_cover_what_they_should(void **state) {
    (void)state;
    enum { N = 3000 };
    struct lam_sample sample = paint(40, 40, red, 0, 0, 20, 40, 0);
    sample.boxes[0].difficult = true; /* never dropped */
    struct detect_scratch scratch = {0};
    struct detect_augment a = make_augment(32, 32);
    a.flip = 0.3f, a.scale_min = 0.25f, a.scale_max = 1;
    uint8_t *planes = make_planes(&a);
    int flips = 0, small = 0, low = 0, high = 0;
    for (int i = 0; i < N; i++) {
        struct lam_rng rng = lam_rng_make(9, LAM_RNG_AUGMENT, 0, (uint64_t)i);
        must(detect_augment_train(&a, &sample, NULL, &rng, &scratch, planes));
        const struct lam_box *b = &scratch.boxes.items[0];
        assert_int_equal(scratch.boxes.count, 1);
        float side = b->y1 - b->y0;
        assert_true(side >= 8 && side <= 32 && fabsf((b->x1 - b->x0) * 2 - side) < 1.01f);
        small += side < 16; /* the middle of the log scale */
        low += b->y0 == 0;
        high += b->y1 == 32;
    }
    assert_in_range(small, N / 2 - 200, N / 2 + 100);
    assert_true(low > N / 25 && high > N / 25 && abs(low - high) < N / 30);

    a.scale_min = a.scale_max = 0; /* only flips: the box is at the left or at the right */
    flips = 0;
    for (int i = 0; i < N; i++) {
        struct lam_rng rng = lam_rng_make(9, LAM_RNG_AUGMENT, 1, (uint64_t)i);
        must(detect_augment_train(&a, &sample, NULL, &rng, &scratch, planes));
        float x0 = scratch.boxes.items[0].x0;
        assert_true(x0 == 0 || x0 == 16);
        flips += x0 == 16;
    }
    assert_in_range(flips, N * 3 / 10 - 125, N * 3 / 10 + 125); /* five deviations */

    a.flip_vertical = 0.4f; /* of the upper left quarter, independent of each other */
    sample.boxes[0].y1 = 20;
    int downs = 0, both = 0;
    for (int i = 0; i < N; i++) {
        struct lam_rng rng = lam_rng_make(9, LAM_RNG_AUGMENT, 2, (uint64_t)i);
        must(detect_augment_train(&a, &sample, NULL, &rng, &scratch, planes));
        const struct lam_box *b = &scratch.boxes.items[0];
        assert_true((b->y0 == 0 && b->y1 == 16) || (b->y0 == 16 && b->y1 == 32));
        downs += b->y0 == 16;
        both += b->y0 == 16 && b->x0 == 16;
    }
    assert_in_range(downs, N * 4 / 10 - 135, N * 4 / 10 + 135);
    assert_in_range(both, N * 12 / 100 - 90, N * 12 / 100 + 90);
    free(planes);
    detect_scratch_free(&scratch);
    free_sample(&sample);
}

/* ---- colours ---- */

/* Hue, saturation, value of a colour, by the textbook. */
static void to_hsv(const float rgb[3], double hsv[3]) {
    double r = rgb[0], g = rgb[1], b = rgb[2], high = fmax(r, fmax(g, b)), low = fmin(r, fmin(g, b)),
           d = high - low;
    hsv[0] = d == 0      ? 0
             : high == r ? fmod((g - b) / d + 6, 6)
             : high == g ? (b - r) / d + 2
                         : (r - g) / d + 4;
    hsv[0] /= 6;
    hsv[1] = high == 0 ? 0 : d / high;
    hsv[2] = high;
}

static void colours_change_in_hue_saturation_and_value(void **state) {
    (void)state;
    static const uint8_t palette[][3] = {{200, 100, 50}, {100, 180, 60}, {50, 90, 160}, {160, 60, 140}};
    struct detect_scratch scratch = {0};
    struct lam_sample sample = {0};
    must(lam_image_alloc(&sample.image, 16, 16, 3));
    struct detect_augment a = make_augment(16, 16);
    uint8_t *planes = make_planes(&a);
    for (int kind = 0; kind < 3; kind++) {
        a.hue = kind == 0 ? 0.2f : 0, a.saturation = kind == 1 ? 0.4f : 0, a.value = kind == 2 ? 0.25f : 0;
        double least = 10, greatest = -10;
        for (int i = 0; i < 400; i++) {
            const uint8_t *colour = palette[i % 4];
            for (int p = 0; p < 256; p++) memcpy(sample.image.pixels + 3 * p, colour, 3);
            struct lam_rng rng = lam_rng_make(10, LAM_RNG_AUGMENT, 0, (uint64_t)i);
            must(detect_augment_train(&a, &sample, NULL, &rng, &scratch, planes));
            const float before[3] = {colour[0], colour[1], colour[2]},
                        after[3] = {planes[0], planes[256], planes[512]};
            for (int p = 1; p < 256; p++) assert_true(planes[p] == planes[0]);
            double x[3], y[3];
            to_hsv(before, x);
            to_hsv(after, y);
            double turn = y[0] - x[0], changes[3];
            changes[0] = turn > 0.5 ? turn - 1 : turn < -0.5 ? turn + 1 : turn;
            changes[1] = y[1] / x[1] - 1;
            changes[2] = y[2] / x[2] - 1;
            for (int k = 0; k < 3; k++)
                if (k != kind && fabs(changes[k]) > 0.012)
                    fail_msg("change %d of %g when only %d should", k, changes[k], kind);
            least = fmin(least, changes[kind]);
            greatest = fmax(greatest, changes[kind]);
        }
        const double reach[3] = {0.2, 0.4, 0.25}; /* bytes are rounded */
        assert_true(least > -reach[kind] - 0.012 && least < -0.9 * reach[kind]);
        assert_true(greatest < reach[kind] + 0.012 && greatest > 0.9 * reach[kind]);
    }
    free(planes);
    detect_scratch_free(&scratch);
    free_sample(&sample);
}

static void a_gray_image_stays_gray(void **state) {
    (void)state;
    struct detect_scratch scratch = {0};
    struct lam_sample sample = {0};
    must(lam_image_alloc(&sample.image, 20, 20, 1));
    memset(sample.image.pixels, 120, 400);
    struct detect_augment a = make_augment(16, 16);
    a.hue = 0.3f, a.saturation = 0.9f, a.value = 0.5f;
    uint8_t *planes = make_planes(&a);
    bool brighter = false, darker = false;
    for (int i = 0; i < 50; i++) {
        struct lam_rng rng = lam_rng_make(11, LAM_RNG_AUGMENT, 0, (uint64_t)i);
        must(detect_augment_train(&a, &sample, NULL, &rng, &scratch, planes));
        for (int p = 0; p < 256; p++)
            assert_true(planes[p] == planes[256 + p] && planes[p] == planes[512 + p]);
        brighter |= planes[0] > 150;
        darker |= planes[0] < 90;
    }
    assert_true(brighter && darker);
    free(planes);
    detect_scratch_free(&scratch);
    free_sample(&sample);
}

/* ---- odd and bad input ---- */

static void odd_images_can_be_shown(void **state) {
    (void)state;
    static const int sizes[][2] = {{1, 1}, {1, 3000}, {3000, 1}, {2, 3}, {640, 31}, {8, 8}};
    struct detect_scratch scratch = {0};
    struct detect_augment a = make_augment(24, 17);
    a.flip = 0.5f, a.scale_min = 0.01f, a.scale_max = 16, a.mosaic = 0.5f, a.hue = 0.5f,
    a.saturation = a.value = 1;
    uint8_t *planes = make_planes(&a);
    for (size_t k = 0; k < sizeof sizes / sizeof sizes[0]; k++) {
        int width = sizes[k][0], height = sizes[k][1];
        struct set set = {.samples = {paint(width, height, red, 0, 0, width, height, 1)}};
        struct detect_source others = {1, read_sample, &set};
        struct detect_view view;
        for (int i = 0; i < 60; i++) {
            struct lam_rng rng = lam_rng_make(12, LAM_RNG_AUGMENT, k, (uint64_t)i);
            must(detect_augment_train(&a, &set.samples[0], &others, &rng, &scratch, planes));
            for (int b = 0; b < scratch.boxes.count; b++) {
                const struct lam_box *box = &scratch.boxes.items[b];
                assert_true(box->x0 >= 0 && box->y0 >= 0 && box->x1 <= 24 && box->y1 <= 17);
                assert_true(box->x1 > box->x0 && box->y1 > box->y0);
            }
        }
        must(detect_augment_plain(&a, &set.samples[0], &scratch, planes, &view));
        assert_int_equal(scratch.boxes.count, 1);
        set.samples[0].box_count = 0; /* an image without objects */
        must(detect_augment_plain(&a, &set.samples[0], &scratch, planes, &view));
        assert_int_equal(scratch.boxes.count, 0);
        free_set(&set);
    }
    free(planes);
    detect_scratch_free(&scratch);
}

static void what_makes_no_sense_is_refused(void **state) {
    (void)state;
    struct lam_sample sample = paint(20, 20, red, 2, 2, 9, 9, 0), empty = {0};
    struct detect_scratch scratch = {0};
    struct detect_augment good = make_augment(16, 16), bad[13];
    struct detect_view view;
    uint8_t *planes = make_planes(&good);
    must(detect_augment_plain(&good, &sample, &scratch, planes, &view));
    static const char *const says[13] = {
        "4 x 16", "16 x 100000", "flip 1.5",      "mosaic -", "min_share 2", "from 0 to", "from 2 to",
        "to 100", "hue by 0.7",  "saturation by", "value by", "nan",         "stretched"};
    for (int i = 0; i < 13; i++) bad[i] = good;
    bad[0].fit.width = 4;
    bad[1].fit.height = 100000;
    bad[2].flip = 1.5f;
    bad[3].mosaic = -0.5f;
    bad[4].min_share = 2;
    bad[5].scale_max = 1;
    bad[6].scale_min = 2, bad[6].scale_max = 1;
    bad[7].scale_min = 1, bad[7].scale_max = 100;
    bad[8].hue = 0.7f;
    bad[9].saturation = 2;
    bad[10].value = NAN;
    bad[11].flip = NAN;
    bad[12].fit.short_side = 12, bad[12].fit.stretch = true;
    struct lam_rng rng = lam_rng_make(13, LAM_RNG_AUGMENT, 0, 0);
    for (int i = 0; i < 13; i++) {
        refused(detect_augment_check(&bad[i]), LAM_ERR_INVALID, says[i]);
        refused(detect_augment_train(&bad[i], &sample, NULL, &rng, &scratch, planes), LAM_ERR_INVALID,
                says[i]);
    }
    refused(detect_augment_plain(&good, &empty, &scratch, planes, &view), LAM_ERR_INVALID, "empty image");
    refused(detect_augment_train(&good, &empty, NULL, &rng, &scratch, planes), LAM_ERR_INVALID,
            "empty image");
    sample.boxes[0].x1 = NAN;
    refused(detect_augment_plain(&good, &sample, &scratch, planes, &view), LAM_ERR_FORMAT, "box 0");
    refused(detect_augment_train(&good, &sample, NULL, &rng, &scratch, planes), LAM_ERR_FORMAT, "box 0");
    free(planes);
    detect_scratch_free(&scratch);
    free_sample(&sample);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_view_fits_the_input),
        cmocka_unit_test(a_view_leads_there_and_back),
        cmocka_unit_test(plain_is_the_resized_image_in_the_middle),
        cmocka_unit_test(one_image_keeps_its_box_on_its_pixels),
        cmocka_unit_test(a_mosaic_keeps_boxes_on_pixels),
        cmocka_unit_test(a_box_that_is_mostly_cut_off_is_dropped),
        cmocka_unit_test(the_same_stream_gives_the_same_sample),
        cmocka_unit_test(draws_cover_what_they_should),
        cmocka_unit_test(colours_change_in_hue_saturation_and_value),
        cmocka_unit_test(a_gray_image_stays_gray),
        cmocka_unit_test(odd_images_can_be_shown),
        cmocka_unit_test(what_makes_no_sense_is_refused),
    };
    return cmocka_run_group_tests_name("detect_augment", tests, NULL, NULL);
}
