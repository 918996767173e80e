/* Augmentation in one pass: every geometric step that keeps pixels whole (padding, reflection, crop, flip)
 * only decides which source column and row each output column and row comes from, so the pixels are touched
 * once, with normalisation as a table of 256 numbers a channel. Only images of another size than the result
 * are resized first.
 *
 * The order of draws from the stream is fixed: crop, flip, cutout. */
#include "data/augment.h"

#include <math.h>
#include <string.h>

#include "base/mirror.h"
#include "data/image_codec.h"

enum { LARGEST_SIZE = 2048 };

/* Where each output column and row comes from; -1: the padding. */
struct window {
    int size;
    int column[LARGEST_SIZE], row[LARGEST_SIZE];
};

static void take_from(int *index, int count, int first, int size, bool mirror) {
    for (int i = 0; i < count; i++) {
        int at = first + i;
        index[i] = at >= 0 && at < size ? at : mirror ? lam_mirror(at, size) : -1;
    }
}

static void reverse(int *index, int count) {
    for (int i = 0; i < count / 2; i++) {
        int t = index[i];
        index[i] = index[count - 1 - i];
        index[count - 1 - i] = t;
    }
}

static void write_channel(const struct lam_image *image, const struct window *window, int channel, float mean,
                          float deviation, float *plane) {
    float table[256];
    float scale = 1 / (255 * deviation), shift = -mean / deviation;
    for (int v = 0; v < 256; v++) table[v] = (float)v * scale + shift;
    int size = window->size, channels = image->channels;
    for (int y = 0; y < size; y++, plane += size) {
        if (window->row[y] < 0) {
            memset(plane, 0, (size_t)size * sizeof *plane);
            continue;
        }
        const uint8_t *row =
            image->pixels + ((size_t)window->row[y] * (size_t)image->width) * (size_t)channels + channel;
        for (int x = 0; x < size; x++)
            plane[x] = window->column[x] < 0 ? 0 : table[row[window->column[x] * channels]];
    }
}

/* Pixels of a window without padding, as they are. */
static void write_pixels(const struct lam_augment *augment, const struct lam_image *image,
                         const struct window *window, uint8_t *planes) {
    const int size = window->size, channels = image->channels;
    for (int c = 0; c < augment->channels; c++)
        for (int y = 0; y < size; y++, planes += size) {
            const uint8_t *row = image->pixels +
                                 ((size_t)window->row[y] * (size_t)image->width) * (size_t)channels +
                                 (channels >= 3 ? c : 0);
            for (int x = 0; x < size; x++) planes[x] = row[window->column[x] * channels];
        }
}

static void write_planes(const struct lam_augment *augment, const struct lam_image *image,
                         const struct window *window, float *planes) {
    size_t plane = (size_t)window->size * (size_t)window->size;
    for (int c = 0; c < augment->channels; c++)
        write_channel(image, window, image->channels >= 3 ? c : 0, augment->mean[c], augment->deviation[c],
                      planes + (size_t)c * plane);
}

static void cut_out(const struct lam_augment *augment, struct lam_rng *rng, float *planes) {
    int size = augment->size, half = augment->cutout / 2;
    int x = (int)lam_rng_below(rng, (uint32_t)size) - half,
        y = (int)lam_rng_below(rng, (uint32_t)size) - half;
    int x0 = x < 0 ? 0 : x, x1 = x + augment->cutout < size ? x + augment->cutout : size;
    int y0 = y < 0 ? 0 : y, y1 = y + augment->cutout < size ? y + augment->cutout : size;
    if (x1 <= x0) return;
    for (int c = 0; c < augment->channels; c++)
        for (int row = y0; row < y1; row++)
            memset(planes + ((size_t)c * (size_t)size + (size_t)row) * (size_t)size + x0, 0,
                   (size_t)(x1 - x0) * sizeof *planes);
}

/* ---- images of another size ---- */

static lam_status resize_short_side(const struct lam_image *image, int side, struct lam_image *resized) {
    int width = image->width, height = image->height;
    if (width <= height) {
        height = (int)((int64_t)height * side / width);
        width = side;
    } else {
        width = (int)((int64_t)width * side / height);
        height = side;
    }
    return lam_image_resize(image, width, height, resized);
}

struct rectangle {
    int x, y, width, height;
};

/* Szegedy et al., "Going deeper with convolutions", 2015, section 6: a part of random area and aspect. */
static struct rectangle random_part(const struct lam_augment *augment, const struct lam_image *image,
                                    struct lam_rng *rng) {
    float least = augment->min_area > 0 ? augment->min_area : 0.08f;
    float area = (float)image->width * (float)image->height, log_aspect = logf(4.0f / 3.0f);
    for (int attempt = 0; attempt < 10; attempt++) {
        float target = area * (least + (1 - least) * lam_rng_uniform(rng));
        float aspect = expf(log_aspect * (2 * lam_rng_uniform(rng) - 1));
        int width = (int)lroundf(sqrtf(target * aspect)), height = (int)lroundf(sqrtf(target / aspect));
        if (width < 1 || height < 1 || width > image->width || height > image->height) continue;
        int x = (int)lam_rng_below(rng, (uint32_t)(image->width - width + 1));
        int y = (int)lam_rng_below(rng, (uint32_t)(image->height - height + 1));
        return (struct rectangle){x, y, width, height};
    }
    /* no part fits: the middle, as near to the whole as the aspect allows */
    int width = image->width, height = image->height;
    if (3 * width > 4 * height) width = 4 * height / 3;
    if (3 * height > 4 * width) height = 4 * width / 3;
    width = width < 1 ? 1 : width;
    height = height < 1 ? 1 : height;
    return (struct rectangle){(image->width - width) / 2, (image->height - height) / 2, width, height};
}

static lam_status cut(const struct lam_image *image, struct rectangle part, struct lam_image *result) {
    LAM_TRY(lam_image_alloc(result, part.width, part.height, image->channels));
    size_t channels = (size_t)image->channels, bytes = (size_t)part.width * channels;
    for (int y = 0; y < part.height; y++)
        memcpy(result->pixels + (size_t)y * bytes,
               image->pixels + ((size_t)(part.y + y) * (size_t)image->width + (size_t)part.x) * channels,
               bytes);
    return LAM_OK;
}

static lam_status cut_and_resize(const struct lam_image *image, struct rectangle part, int size,
                                 struct lam_image *result) {
    struct lam_image piece = {0};
    LAM_TRY(cut(image, part, &piece));
    lam_status status = LAM_OK;
    if (part.width == size && part.height == size) {
        *result = piece;
        return LAM_OK;
    }
    status = lam_image_resize(&piece, size, size, result);
    lam_image_free(&piece);
    return status;
}

/* ---- the two ways in ---- */

static lam_status check(const struct lam_augment *augment, const struct lam_image *image) {
    if (!image->pixels) return lam_fail(LAM_ERR_INVALID, "augmentation of an empty image");
    if (augment->size < 1 || augment->size > LARGEST_SIZE)
        return lam_fail(LAM_ERR_INVALID, "an image size of %d is not in 1..%d", augment->size, LARGEST_SIZE);
    if (augment->channels != 1 && augment->channels != 3)
        return lam_fail(LAM_ERR_INVALID, "augmentation to %d channels; 1 and 3 are possible",
                        augment->channels);
    if (augment->pad < 0 || augment->cutout < 0 || augment->pad > LARGEST_SIZE)
        return lam_fail(LAM_ERR_INVALID, "a padding of %d or a cutout of %d pixels makes no sense",
                        augment->pad, augment->cutout);
    for (int c = 0; c < augment->channels; c++)
        if (!(augment->deviation[c] > 0))
            return lam_fail(LAM_ERR_INVALID, "the deviation of channel %d is not above 0", c);
    return LAM_OK;
}

/* Gray from colour is the one conversion that a channel's choice cannot express. */
static lam_status to_gray(const struct lam_image *image, struct lam_image *gray) {
    LAM_TRY(cut(image, (struct rectangle){0, 0, image->width, image->height}, gray));
    lam_status status = lam_image_convert(gray, LAM_IMAGE_GRAY);
    if (status != LAM_OK) lam_image_free(gray);
    return status;
}

static void place_window(const struct lam_augment *augment, const struct lam_image *image,
                         struct lam_rng *rng, struct window *window) {
    int size = augment->size, x = (image->width - size) / 2, y = (image->height - size) / 2;
    window->size = size;
    if (rng && augment->crop) {
        int free_x = image->width + 2 * augment->pad - size, free_y = image->height + 2 * augment->pad - size;
        x = (int)lam_rng_below(rng, (uint32_t)free_x + 1) - augment->pad;
        y = (int)lam_rng_below(rng, (uint32_t)free_y + 1) - augment->pad;
    }
    take_from(window->column, size, x, image->width, augment->pad_reflect);
    take_from(window->row, size, y, image->height, augment->pad_reflect);
    if (rng && augment->flip && (lam_rng_u32(rng) & 1)) reverse(window->column, size);
}

/* Where the result goes: numbers, of random places, or pixels of the middle. */
struct target {
    float *planes;
    uint8_t *pixels;
};

static lam_status run(const struct lam_augment *augment, const struct lam_image *image, struct lam_rng *rng,
                      struct target to) {
    struct lam_image resized = {0};
    const struct lam_image *from = image;
    int side = augment->size;
    if (!rng && augment->eval_resize > 0) side = (int)lroundf((float)side * augment->eval_resize);
    if (side < augment->size) side = augment->size;
    int shorter = image->width < image->height ? image->width : image->height;
    lam_status status = LAM_OK;
    if (rng && augment->resized_crop)
        status = cut_and_resize(image, random_part(augment, image, rng), augment->size, &resized);
    else if (shorter != side)
        status = resize_short_side(image, side, &resized);
    if (status != LAM_OK) return status;
    if (resized.pixels) from = &resized;

    struct lam_augment rest = *augment;
    if (augment->resized_crop) rest.crop = false;
    struct window window;
    place_window(&rest, from, rng, &window);
    if (to.pixels)
        write_pixels(&rest, from, &window, to.pixels);
    else
        write_planes(&rest, from, &window, to.planes);
    if (rng && to.planes && rest.cutout > 0) cut_out(&rest, rng, to.planes);
    lam_image_free(&resized);
    return LAM_OK;
}

static lam_status run_checked(const struct lam_augment *augment, const struct lam_image *image,
                              struct lam_rng *rng, struct target to) {
    LAM_TRY(check(augment, image));
    if (augment->channels != 1 || image->channels < 3) return run(augment, image, rng, to);
    struct lam_image gray = {0};
    LAM_TRY(to_gray(image, &gray));
    lam_status status = run(augment, &gray, rng, to);
    lam_image_free(&gray);
    return status;
}

lam_status lam_augment_apply(const struct lam_augment *augment, const struct lam_image *image,
                             struct lam_rng *rng, float *planes) {
    return run_checked(augment, image, rng, (struct target){.planes = planes});
}

lam_status lam_augment_pixels(const struct lam_augment *augment, const struct lam_image *image,
                              uint8_t *pixels) {
    return run_checked(augment, image, NULL, (struct target){.pixels = pixels});
}
