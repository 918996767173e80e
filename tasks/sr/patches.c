/* Patches. Cropping, mirroring, flips and turns all only say which source column and row a pixel comes from, so
 * each pixel is touched once.
 *
 * Mirroring repeats the border's pixel (.. 1 0 | 0 1 ..): the line of symmetry is then the image's edge, which is
 * the same line in both images of a pair, whatever the scale. */
#include "tasks/sr/patches.h"

#include <math.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "tasks/sr/bicubic.h"

enum {
    LARGEST_SIZE = 1024,
    LARGEST_SCALE = 16,
    KERNEL_REACH = 3, /* low-resolution pixels, two and what rounding may need */
};

static int mirror(int i, int size) {
    int period = 2 * size;
    i %= period;
    if (i < 0) i += period;
    return i < size ? i : period - 1 - i;
}

/* ---- one patch out of one image ---- */

/* `side` x `side` pixels from (x, y) on of a picture of width x height, of which `image` holds the part that
 * begins at (left, top). */
struct cut {
    const struct lam_image *image;
    int left, top, width, height;
    int x, y, side;
    int symmetry;
};

/* Byte offsets of the source columns and rows of the patch. */
static void find_sources(const struct cut *cut, ptrdiff_t *columns, ptrdiff_t *rows) {
    ptrdiff_t pixel = cut->image->channels, line = pixel * cut->image->width;
    for (int i = 0; i < cut->side; i++) {
        columns[i] = pixel * (mirror(cut->x + i, cut->width) - cut->left);
        rows[i] = line * (mirror(cut->y + i, cut->height) - cut->top);
    }
}

static void reverse(ptrdiff_t *list, int count) {
    for (int i = 0; i < count / 2; i++) {
        ptrdiff_t t = list[i];
        list[i] = list[count - 1 - i];
        list[count - 1 - i] = t;
    }
}

static lam_status write_patch(const struct cut *cut, float *planes) {
    ptrdiff_t *sources = malloc(2 * (size_t)cut->side * sizeof *sources);
    if (!sources) return lam_no_memory();
    ptrdiff_t *columns = sources, *rows = sources + cut->side;
    find_sources(cut, columns, rows);
    /* what a step right and a step down in the patch go through */
    ptrdiff_t *across = cut->symmetry & SR_TRANSPOSE ? rows : columns;
    ptrdiff_t *down = cut->symmetry & SR_TRANSPOSE ? columns : rows;
    if (cut->symmetry & SR_FLIP_X) reverse(across, cut->side);
    if (cut->symmetry & SR_FLIP_Y) reverse(down, cut->side);
    float values[256];
    for (int v = 0; v < 256; v++) values[v] = (float)v / 255;
    for (int c = 0; c < 3; c++) {
        const uint8_t *from = cut->image->pixels + (cut->image->channels >= 3 ? c : 0);
        for (int y = 0; y < cut->side; y++, planes += cut->side)
            for (int x = 0; x < cut->side; x++) planes[x] = values[from[down[y] + across[x]]];
    }
    free(sources);
    return LAM_OK;
}

/* ---- pairs ---- */

/* Anywhere in a large image; a small one lies anywhere in the patch. */
static int draw_place(struct lam_rng *rng, int size, int patch) {
    if (size >= patch) return (int)lam_rng_below(rng, (uint32_t)(size - patch) + 1);
    return -(int)lam_rng_below(rng, (uint32_t)(patch - size) + 1);
}

static int draw_symmetry(struct lam_rng *rng, const struct sr_patches *patches) {
    static const int turns[4] = {0, SR_TRANSPOSE | SR_FLIP_X, SR_FLIP_X | SR_FLIP_Y,
                                 SR_TRANSPOSE | SR_FLIP_Y};
    uint32_t bits = lam_rng_u32(rng); /* drawn even if unused: places do not depend on the options */
    int symmetry = patches->rotate ? turns[bits >> 1 & 3] : 0;
    return patches->flip && (bits & 1) ? symmetry ^ SR_FLIP_X : symmetry;
}

/* The part of a side of `size` pixels that `patch` pixels from `place` on touch, mirrored ones included. */
static void touched(int place, int size, int patch, int *begin, int *count) {
    *begin = place < 0 ? 0 : place;
    *count = size < patch ? size : patch;
}

/* What lies at (left, top) of a high-resolution image of which only that is needed; all of it: at (0, 0). */
struct high {
    const struct lam_image *image;
    int left, top;
};

/* The low-resolution patch from the high-resolution image. */
static lam_status make_input(const struct high *high, int scale, struct cut *cut, float *input) {
    struct lam_image part = {0};
    struct sr_rect window;
    touched(cut->x, cut->width, cut->side, &window.x, &window.width);
    touched(cut->y, cut->height, cut->side, &window.y, &window.height);
    cut->image = &part;
    cut->left = window.x;
    cut->top = window.y;
    window.x -= high->left / scale;
    window.y -= high->top / scale;
    LAM_TRY(sr_low_part(high->image, scale, SR_ROUND_PASSES, window, &part));
    lam_status status = write_patch(cut, input);
    lam_image_free(&part);
    return status;
}

/* Both patches; that of low resolution is made where `small` has no image. */
static lam_status write_pair(const struct sr_patches *patches, const struct high *high, struct cut small,
                             float *input, float *target) {
    int scale = patches->scale;
    struct cut large = {.image = high->image,
                        .left = high->left,
                        .top = high->top,
                        .width = small.width * scale,
                        .height = small.height * scale,
                        .x = small.x * scale,
                        .y = small.y * scale,
                        .side = small.side * scale,
                        .symmetry = small.symmetry};
    LAM_TRY(write_patch(&large, target));
    return small.image ? write_patch(&small, input) : make_input(high, scale, &small, input);
}

/* ---- smaller images ---- */

/* A factor that leaves an image of these sides a patch in each. */
static double draw_factor(const struct sr_patches *patches, int width, int height, struct lam_rng *rng) {
    int shorter = width < height ? width : height;
    double least = (double)patches->size * patches->scale / shorter, draw = lam_rng_uniform(rng);
    if (least < patches->shrink) least = patches->shrink;
    return least < 1 ? least + (1 - least) * draw : 1;
}

/* The part of a side that is made of the smaller image: what the low-resolution pixels place .. place + patch are of, and
 * what the kernel that makes these reaches beyond. */
static void reached(int place, int size, int patch, int scale, int *begin, int *count) {
    touched(place, size, patch, begin, count);
    int end = *begin + *count + KERNEL_REACH;
    *begin = *begin > KERNEL_REACH ? *begin - KERNEL_REACH : 0;
    *count = (end < size ? end : size) - *begin;
    *begin *= scale;
    *count *= scale;
}

static bool shrinks(const struct sr_patches *patches) {
    return patches->shrink > 0 && patches->shrink < 1;
}

static lam_status check(const struct sr_patches *patches, const struct lam_image *high,
                        const struct lam_image *low) {
    int scale = patches->scale;
    if (scale < 1 || scale > LARGEST_SCALE || patches->size < 1 || patches->size > LARGEST_SIZE)
        return lam_fail(LAM_ERR_INVALID, "patches of %d pixels at x%d; 1 to %d and x1 to x%d are possible",
                        patches->size, scale, LARGEST_SIZE, LARGEST_SCALE);
    if (!high->pixels) return lam_fail(LAM_ERR_INVALID, "a patch of an empty image");
    if (high->width < scale || high->height < scale)
        return lam_fail(LAM_ERR_FORMAT, "an image of %d x %d pixels is smaller than the scale %d",
                        high->width, high->height, scale);
    if (low && shrinks(patches))
        return lam_fail(LAM_ERR_INVALID, "an image that has a low-resolution partner cannot be shrunk");
    if (low && (low->width != high->width / scale || low->height != high->height / scale))
        return lam_fail(LAM_ERR_FORMAT, "a low-resolution image of %d x %d pixels is not %d x %d over %d",
                        low->width, low->height, high->width, high->height, scale);
    return LAM_OK;
}

/* Where the patch lies in an image of this size. */
static struct cut draw_cut(const struct sr_patches *patches, int width, int height, struct lam_rng *rng) {
    struct cut cut = {
        .width = width / patches->scale, .height = height / patches->scale, .side = patches->size};
    cut.x = draw_place(rng, cut.width, cut.side);
    cut.y = draw_place(rng, cut.height, cut.side);
    cut.symmetry = draw_symmetry(rng, patches);
    return cut;
}

static lam_status shrunk_patch(const struct sr_patches *patches, const struct lam_image *image, double factor,
                               struct lam_rng *rng, float *input, float *target) {
    int width = (int)lround(image->width * factor), height = (int)lround(image->height * factor);
    struct cut small = draw_cut(patches, width, height, rng);
    struct sr_rect window;
    reached(small.x, small.width, small.side, patches->scale, &window.x, &window.width);
    reached(small.y, small.height, small.side, patches->scale, &window.y, &window.height);
    struct lam_image part = {0};
    LAM_TRY(sr_bicubic_part(image, width, height, SR_ROUND_PASSES, window, &part));
    struct high high = {&part, window.x, window.y};
    lam_status status = write_pair(patches, &high, small, input, target);
    lam_image_free(&part);
    return status;
}

lam_status sr_patch(const struct sr_patches *patches, const struct lam_image *high,
                    const struct lam_image *low, struct lam_rng *rng, float *input, float *target) {
    if (low && !low->pixels) low = NULL;
    LAM_TRY(check(patches, high, low));
    double factor = shrinks(patches) ? draw_factor(patches, high->width, high->height, rng) : 1;
    if (factor < 1) return shrunk_patch(patches, high, factor, rng, input, target);
    struct high whole = {high, 0, 0};
    struct cut small = draw_cut(patches, high->width, high->height, rng);
    small.image = low;
    return write_pair(patches, &whole, small, input, target);
}
