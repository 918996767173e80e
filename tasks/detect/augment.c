/* Augmentation of images with boxes. Every image is one view (view.h) into a window of the input: the whole
 * of it, or a quarter of a mosaic. Only the part that the window shows is resized; mirroring and
 * normalisation happen while it is written. */
#include "tasks/detect/augment.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "tasks/detect/boxes.h"

enum { SMALLEST_INPUT = 8, LARGEST_INPUT = 8192 };

struct rectangle {
    int x0, y0, x1, y1;
};

/* What happens to an image's colours. */
struct colours {
    float turn, saturation, value; /* turn in circles, factors */
};

/* ---- boxes ---- */

void detect_scratch_free(struct detect_scratch *scratch) {
    free(scratch->boxes.items);
    lam_sample_free(&scratch->other);
    lam_image_free(&scratch->part);
    *scratch = (struct detect_scratch){0};
}

static lam_status add_box(struct detect_boxes *boxes, const struct lam_box *box) {
    if (boxes->count == boxes->room) {
        int room = boxes->room ? 2 * boxes->room : 32;
        struct lam_box *items = realloc(boxes->items, (size_t)room * sizeof *items);
        if (!items) return lam_no_memory();
        boxes->items = items;
        boxes->room = room;
    }
    boxes->items[boxes->count++] = *box;
    return LAM_OK;
}

/* What is to be seen of a box in the rectangle, or nothing. */
static lam_status add_visible(const struct detect_view *view, const struct rectangle *visible,
                              const struct lam_box *box, float min_share, struct detect_boxes *boxes) {
    float corners[4] = {box->x0, box->y0, box->x1, box->y1};
    detect_view_box(view, corners);
    float area = detect_area(corners);
    const float window[4] = {(float)visible->x0, (float)visible->y0, (float)visible->x1, (float)visible->y1};
    for (int i = 0; i < 2; i++) {
        corners[i] = fmaxf(corners[i], window[i]);
        corners[i + 2] = fminf(corners[i + 2], window[i + 2]);
    }
    if (!(corners[2] > corners[0] && corners[3] > corners[1])) return LAM_OK;
    bool target = !box->crowd && !box->difficult;
    if (target && detect_area(corners) < min_share * area) return LAM_OK;
    struct lam_box seen = *box;
    seen.x0 = corners[0];
    seen.y0 = corners[1];
    seen.x1 = corners[2];
    seen.y1 = corners[3];
    return add_box(boxes, &seen);
}

/* ---- colours ---- */

static float clamp(float x, float low, float high) {
    return x < low ? low : x > high ? high : x;
}

/* Hue in sixths of a circle. */
static float hue_of(int r, int g, int b, int greatest, int chroma) {
    if (chroma == 0) return 0;
    float share = 1 / (float)chroma;
    if (greatest == r) return (float)(g - b) * share + (g < b ? 6 : 0);
    return greatest == g ? (float)(b - r) * share + 2 : (float)(r - g) * share + 4;
}

static uint8_t channel_of(float n, float hue, float value, float chroma) {
    float k = n + hue;
    k -= k >= 6 ? 6 : 0;
    if (k > 2) k = 4 - k; /* 0 .. 1: how far this channel falls below the greatest */
    return (uint8_t)(value - chroma * clamp(k, 0, 1) + 0.5f);
}

static void change_colour(uint8_t *rgb, const struct colours *colours) {
    int r = rgb[0], g = rgb[1], b = rgb[2];
    int greatest = r > g ? r : g, least = r > g ? g : r;
    greatest = greatest > b ? greatest : b;
    least = least < b ? least : b;
    int chroma = greatest - least;
    float hue = hue_of(r, g, b, greatest, chroma) + 6 * colours->turn;
    hue += hue < 0 ? 6 : hue >= 6 ? -6 : 0;
    float saturation = (float)chroma * colours->saturation;
    saturation = saturation < (float)greatest ? saturation / (float)greatest : greatest > 0;
    float value = clamp((float)greatest * colours->value, 0, 255);
    rgb[0] = channel_of(5, hue, value, value * saturation);
    rgb[1] = channel_of(3, hue, value, value * saturation);
    rgb[2] = channel_of(1, hue, value, value * saturation);
}

static void change_colours(struct lam_image *image, const struct colours *colours) {
    if (colours->turn == 0 && colours->saturation == 1 && colours->value == 1) return;
    size_t count = (size_t)image->width * (size_t)image->height, step = (size_t)image->channels;
    for (size_t i = 0; i < count; i++) {
        uint8_t *pixel = image->pixels + i * step;
        if (step >= 3)
            change_colour(pixel, colours);
        else
            pixel[0] = (uint8_t)(clamp((float)pixel[0] * colours->value, 0, 255) + 0.5f);
    }
}

/* ---- pixels ---- */

static struct rectangle common(const struct rectangle *window, const struct detect_view *view) {
    struct rectangle r = {view->x, view->y, view->x + view->width, view->y + view->height};
    if (r.x0 < window->x0) r.x0 = window->x0;
    if (r.y0 < window->y0) r.y0 = window->y0;
    if (r.x1 > window->x1) r.x1 = window->x1;
    if (r.y1 > window->y1) r.y1 = window->y1;
    return r;
}

/* The part of the resized image that the rectangle shows, not yet mirrored. */
static lam_status resize_visible(const struct lam_image *image, const struct detect_view *view,
                                 const struct rectangle *visible, struct lam_image *part) {
    int x = visible->x0 - view->x, width = visible->x1 - visible->x0;
    int y = visible->y0 - view->y, height = visible->y1 - visible->y0;
    if (view->flip) x = view->width - x - width;
    if (view->flip_vertical) y = view->height - y - height;
    return lam_image_resize_part(image, view->width, view->height, x, y, width, height, part);
}

static void write_channel(const struct detect_augment *augment, const struct lam_image *part, int channel,
                          const struct rectangle *place, const struct detect_view *view, uint8_t *plane) {
    int step = view->flip ? -part->channels : part->channels;
    const uint8_t *first = part->pixels + (part->channels >= 3 ? channel : 0);
    if (view->flip) first += (size_t)(part->width - 1) * (size_t)part->channels;
    for (int y = 0; y < part->height; y++) {
        int row = view->flip_vertical ? part->height - 1 - y : y;
        const uint8_t *in = first + (size_t)row * (size_t)part->width * (size_t)part->channels;
        uint8_t *out = plane + (size_t)(place->y0 + y) * (size_t)augment->fit.width + place->x0;
        for (int x = 0; x < part->width; x++) out[x] = in[x * step];
    }
}

/* One sample into its window: pixels and boxes. The planes hold the padding before. */
static lam_status show(const struct detect_augment *augment, const struct lam_sample *sample,
                       const struct detect_view *view, const struct rectangle *window,
                       const struct colours *colours, struct detect_scratch *scratch, uint8_t *planes) {
    struct rectangle visible = common(window, view);
    LAM_TRY(resize_visible(&sample->image, view, &visible, &scratch->part));
    change_colours(&scratch->part, colours);
    size_t plane = (size_t)augment->fit.width * (size_t)augment->fit.height;
    for (int c = 0; c < 3; c++)
        write_channel(augment, &scratch->part, c, &visible, view, planes + (size_t)c * plane);
    float min_share = augment->min_share > 0 ? augment->min_share : 0.25f;
    for (int i = 0; i < sample->box_count; i++) {
        LAM_TRY(detect_box_check(&sample->boxes[i], i));
        LAM_TRY(add_visible(view, &visible, &sample->boxes[i], min_share, &scratch->boxes));
    }
    return LAM_OK;
}

/* ---- draws ---- */

/* A place for `length` pixels in the window [from, to): inside it when they are fewer, around it when they
 * are more. */
static int draw_place(struct lam_rng *rng, int from, int to, int length) {
    int room = to - from - length, offset = (int)lam_rng_below(rng, (uint32_t)abs(room) + 1);
    return from + (room < 0 ? -offset : offset);
}

static int scaled(int side, float scale) {
    int result = (int)lroundf((float)side * scale);
    return result < 1 ? 1 : result;
}

static struct detect_view draw_view(const struct detect_augment *augment, const struct lam_image *image,
                                    const struct rectangle *window, struct lam_rng *rng) {
    struct detect_view view = detect_view_fit(&augment->fit, image->width, image->height);
    if (augment->scale_max > 0) {
        float range = augment->scale_max / augment->scale_min;
        float scale = augment->scale_min * powf(range, lam_rng_uniform(rng));
        view.width = scaled(view.width, scale);
        view.height = scaled(view.height, scale);
    }
    view.x = draw_place(rng, window->x0, window->x1, view.width);
    view.y = draw_place(rng, window->y0, window->y1, view.height);
    view.flip = lam_rng_uniform(rng) < augment->flip;
    if (augment->flip_vertical > 0) view.flip_vertical = lam_rng_uniform(rng) < augment->flip_vertical;
    return view;
}

static float draw_around(struct lam_rng *rng, float middle, float reach) {
    return reach > 0 ? middle + reach * (2 * lam_rng_uniform(rng) - 1) : middle;
}

static lam_status show_randomly(const struct detect_augment *augment, const struct lam_sample *sample,
                                const struct rectangle *window, struct lam_rng *rng,
                                struct detect_scratch *scratch, uint8_t *planes) {
    if (!sample->image.pixels) return lam_fail(LAM_ERR_INVALID, "augmentation of an empty image");
    struct detect_view view = draw_view(augment, &sample->image, window, rng);
    struct colours colours;
    colours.turn = draw_around(rng, 0, augment->hue);
    colours.saturation = draw_around(rng, 1, augment->saturation);
    colours.value = draw_around(rng, 1, augment->value);
    return show(augment, sample, &view, window, &colours, scratch, planes);
}

static lam_status show_mosaic(const struct detect_augment *augment, const struct lam_sample *sample,
                              const struct detect_source *others, struct lam_rng *rng,
                              struct detect_scratch *scratch, uint8_t *planes) {
    int width = augment->fit.width, height = augment->fit.height;
    int x = width / 4 + (int)lam_rng_below(rng, (uint32_t)(width / 2 + 1));
    int y = height / 4 + (int)lam_rng_below(rng, (uint32_t)(height / 2 + 1));
    const struct rectangle windows[4] = {
        {0, 0, x, y}, {x, 0, width, y}, {0, y, x, height}, {x, y, width, height}};
    LAM_TRY(show_randomly(augment, sample, &windows[0], rng, scratch, planes));
    for (int i = 1; i < 4; i++) {
        int64_t index = (int64_t)lam_rng_below(rng, (uint32_t)others->count);
        LAM_TRY(others->read(others->context, index, &scratch->other));
        LAM_TRY(show_randomly(augment, &scratch->other, &windows[i], rng, scratch, planes));
    }
    return LAM_OK;
}

/* ---- the ways in ---- */

static bool is_share(float x) {
    return x >= 0 && x <= 1;
}

lam_status detect_augment_check(const struct detect_augment *augment) {
    int width = augment->fit.width, height = augment->fit.height;
    if (width < SMALLEST_INPUT || height < SMALLEST_INPUT || width > LARGEST_INPUT || height > LARGEST_INPUT)
        return lam_fail(LAM_ERR_INVALID, "an input of %d x %d pixels; each side must be in %d..%d", width,
                        height, SMALLEST_INPUT, LARGEST_INPUT);
    int side = augment->fit.short_side;
    if (side < 0 || side > LARGEST_INPUT || (side > 0 && augment->fit.stretch))
        return lam_fail(LAM_ERR_INVALID,
                        "a short side of %d pixels%s; it must be in 0..%d, and 0 for stretched images", side,
                        augment->fit.stretch ? ", stretched" : "", LARGEST_INPUT);
    float low = augment->scale_min, high = augment->scale_max;
    if (!(low == 0 && high == 0) && !(low >= 0.01f && low <= high && high <= 16))
        return lam_fail(LAM_ERR_INVALID, "random scales from %g to %g; they must rise within 0.01..16",
                        (double)low, (double)high);
    if (!is_share(augment->flip) || !is_share(augment->flip_vertical) || !is_share(augment->mosaic) ||
        !is_share(augment->min_share))
        return lam_fail(LAM_ERR_INVALID,
                        "flip %g, vertical flip %g, mosaic %g and min_share %g must each be in 0..1",
                        (double)augment->flip, (double)augment->flip_vertical, (double)augment->mosaic,
                        (double)augment->min_share);
    if (!(augment->hue >= 0 && augment->hue <= 0.5f) || !is_share(augment->saturation) ||
        !is_share(augment->value))
        return lam_fail(LAM_ERR_INVALID,
                        "changes of hue by %g (0..0.5), saturation by %g and value by %g (0..1)",
                        (double)augment->hue, (double)augment->saturation, (double)augment->value);
    return LAM_OK;
}

static void clear(const struct detect_augment *augment, struct detect_scratch *scratch, uint8_t *planes) {
    size_t plane = (size_t)augment->fit.width * (size_t)augment->fit.height;
    for (size_t c = 0; c < 3; c++) memset(planes + c * plane, augment->padding[c], plane);
    scratch->boxes.count = 0;
}

lam_status detect_augment_train(const struct detect_augment *augment, const struct lam_sample *sample,
                                const struct detect_source *others, struct lam_rng *rng,
                                struct detect_scratch *scratch, uint8_t *planes) {
    LAM_TRY(detect_augment_check(augment));
    clear(augment, scratch, planes);
    bool possible = others && others->count > 0 && others->count <= UINT32_MAX && augment->mosaic > 0;
    if (possible && lam_rng_uniform(rng) < augment->mosaic)
        return show_mosaic(augment, sample, others, rng, scratch, planes);
    const struct rectangle window = {0, 0, augment->fit.width, augment->fit.height};
    return show_randomly(augment, sample, &window, rng, scratch, planes);
}

lam_status detect_augment_plain(const struct detect_augment *augment, const struct lam_sample *sample,
                                struct detect_scratch *scratch, uint8_t *planes, struct detect_view *view) {
    LAM_TRY(detect_augment_check(augment));
    if (!sample->image.pixels)
        return lam_fail(LAM_ERR_INVALID, "an empty image cannot be shown to a network");
    clear(augment, scratch, planes);
    *view = detect_view_fit(&augment->fit, sample->image.width, sample->image.height);
    const struct rectangle window = {0, 0, augment->fit.width, augment->fit.height};
    const struct colours same = {.saturation = 1, .value = 1};
    return show(augment, sample, view, &window, &same, scratch, planes);
}

lam_status detect_augment_picture(const struct detect_augment *augment, const uint8_t *planes,
                                  struct lam_image *picture) {
    LAM_TRY(lam_image_alloc(picture, augment->fit.width, augment->fit.height, 3));
    size_t count = (size_t)augment->fit.width * (size_t)augment->fit.height;
    for (size_t c = 0; c < 3; c++)
        for (size_t i = 0; i < count; i++) picture->pixels[3 * i + c] = planes[c * count + i];
    return LAM_OK;
}
