/* Bicubic resizing, one output row at a time: the rows that it needs are summed into one row of doubles (the
 * pass over columns), whose ends are then repeated so that every output pixel finds its taps side by side
 * (the pass over rows). So no image stands between the passes, and a part of the result costs no more than
 * its own pixels.
 *
 * Source pixels are bytes or floats; `struct source` hides which. Planes are images of one channel. */
#include "tasks/sr/bicubic.h"

#include <math.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "data/image_codec.h"

/* Along one axis, for outputs first .. first + count - 1. */
struct taps {
    int reach;       /* weights of each output pixel */
    int *begin;      /* [count] first source pixel; may lie outside of the source */
    double *weights; /* [count][reach] */
};

static double keys(double x) {
    x = fabs(x);
    if (x <= 1) return (1.5 * x - 2.5) * x * x + 1;
    if (x < 2) return ((-0.5 * x + 2.5) * x - 4) * x + 2;
    return 0;
}

static void free_taps(struct taps *taps) {
    free(taps->begin);
    free(taps->weights);
}

/* Output pixel i lies at (i + 0.5) / ratio - 0.5 of the source; a kernel that shrinks is 1 / ratio times as
 * wide. */
static lam_status make_taps(int from, int to, int first, int count, struct taps *taps) {
    double step = (double)from / to, wide = step > 1 ? step : 1;
    taps->reach = (int)ceil(4 * wide) + 2;
    taps->begin = malloc((size_t)count * sizeof *taps->begin);
    taps->weights = malloc((size_t)count * (size_t)taps->reach * sizeof *taps->weights);
    if (!taps->begin || !taps->weights) {
        free_taps(taps);
        return lam_no_memory();
    }
    for (int i = 0; i < count; i++) {
        double centre = (first + i + 0.5) * step - 0.5, sum = 0;
        double *weights = taps->weights + (size_t)i * (size_t)taps->reach;
        taps->begin[i] = (int)floor(centre - 2 * wide);
        for (int k = 0; k < taps->reach; k++) sum += weights[k] = keys((centre - taps->begin[i] - k) / wide);
        for (int k = 0; k < taps->reach; k++) weights[k] /= sum;
    }
    return LAM_OK;
}

/* Drops taps that are zero for all outputs at either end: for whole ratios two or three of them. */
static void trim_taps(struct taps *taps, int count) {
    int left = taps->reach, right = 0;
    for (int i = 0; i < count; i++)
        for (int k = 0; k < taps->reach; k++)
            if (taps->weights[(size_t)i * (size_t)taps->reach + (size_t)k] != 0) {
                if (k < left) left = k;
                if (k > right) right = k;
            }
    int reach = right - left + 1;
    for (int i = 0; i < count; i++) {
        memmove(taps->weights + (size_t)i * (size_t)reach,
                taps->weights + (size_t)i * (size_t)taps->reach + left, (size_t)reach * sizeof(double));
        taps->begin[i] += left;
    }
    taps->reach = reach;
}

static int clamp(int i, int size) {
    return i < 0 ? 0 : i >= size ? size - 1 : i;
}

struct source {
    const uint8_t *bytes; /* or NULL: */
    const float *floats;
    int width, height, channels;
    int stride; /* pixels from row to row, at least the width */
};

struct pass {
    struct source from;
    struct sr_rect part; /* of the result */
    struct taps across, down;
    int left, right; /* source columns that the part needs, clamped: [left, right) */
    int before;      /* pixels of `row` before column `left` */
    int length;      /* pixels of `row` */
    double *row;     /* sums of one output row over the columns, ends repeated: [length][channels] */
};

static void add_bytes(double *restrict sum, const uint8_t *restrict row, double weight, size_t count) {
    for (size_t i = 0; i < count; i++) sum[i] += weight * row[i];
}

static void add_floats(double *restrict sum, const float *restrict row, double weight, size_t count) {
    for (size_t i = 0; i < count; i++) sum[i] += weight * (double)row[i];
}

static double round_to_byte(double value) {
    value += 0.5;
    return value >= 255 ? 255 : value >= 0 ? (double)(int)value : 0;
}

static void repeat_ends(struct pass *pass) {
    size_t channels = (size_t)pass->from.channels, pixel = channels * sizeof(double);
    double *first = pass->row + (size_t)pass->before * channels;
    for (int i = 0; i < pass->before; i++) memcpy(pass->row + (size_t)i * channels, first, pixel);
    int end = pass->before + pass->right - pass->left;
    for (int i = end; i < pass->length; i++)
        memcpy(pass->row + (size_t)i * channels, pass->row + (size_t)(end - 1) * channels, pixel);
}

static void sum_columns(struct pass *pass, int y, bool round) {
    const struct source *from = &pass->from;
    size_t channels = (size_t)from->channels, count = (size_t)(pass->right - pass->left) * channels;
    double *sum = pass->row + (size_t)pass->before * channels;
    memset(sum, 0, count * sizeof *sum);
    for (int k = 0; k < pass->down.reach; k++) {
        double weight = pass->down.weights[(size_t)y * (size_t)pass->down.reach + (size_t)k];
        size_t row = (size_t)clamp(pass->down.begin[y] + k, from->height);
        size_t at = (row * (size_t)from->stride + (size_t)pass->left) * channels;
        if (weight == 0) continue;
        if (from->bytes)
            add_bytes(sum, from->bytes + at, weight, count);
        else
            add_floats(sum, from->floats + at, weight, count);
    }
    if (round)
        for (size_t i = 0; i < count; i++) sum[i] = round_to_byte(sum[i]);
    repeat_ends(pass);
}

/* The taps of output pixel x, and where they begin in the row. */
static const double *taps_of(const struct pass *pass, int x, const double **weights) {
    *weights = pass->across.weights + (size_t)x * (size_t)pass->across.reach;
    return pass->row + (ptrdiff_t)(pass->across.begin[x] - pass->left + pass->before) * pass->from.channels;
}

static void sum_row_to_bytes(const struct pass *pass, uint8_t *to) {
    size_t channels = (size_t)pass->from.channels;
    for (int x = 0; x < pass->part.width; x++) {
        const double *weights, *in = taps_of(pass, x, &weights);
        for (size_t c = 0; c < channels; c++) {
            double sum = 0;
            for (int k = 0; k < pass->across.reach; k++) sum += weights[k] * in[(size_t)k * channels + c];
            *to++ = (uint8_t)round_to_byte(sum);
        }
    }
}

static void sum_row_to_floats(const struct pass *pass, float *to) { /* of one channel */
    for (int x = 0; x < pass->part.width; x++) {
        const double *weights, *in = taps_of(pass, x, &weights);
        double sum = 0;
        for (int k = 0; k < pass->across.reach; k++) sum += weights[k] * in[k];
        to[x] = (float)sum;
    }
}

static void close_pass(struct pass *pass) {
    free_taps(&pass->across);
    free_taps(&pass->down);
    free(pass->row);
}

static lam_status open_pass(struct source from, int width, int height, struct sr_rect part,
                            struct pass *pass) {
    *pass = (struct pass){.from = from, .part = part};
    LAM_TRY(make_taps(from.width, width, part.x, part.width, &pass->across));
    lam_status status = make_taps(from.height, height, part.y, part.height, &pass->down);
    if (status != LAM_OK) {
        free_taps(&pass->across);
        return status;
    }
    trim_taps(&pass->across, part.width);
    trim_taps(&pass->down, part.height);
    int begin = pass->across.begin[0], end = pass->across.begin[part.width - 1] + pass->across.reach;
    pass->left = clamp(begin, from.width);
    pass->right = clamp(end - 1, from.width) + 1;
    pass->before = pass->left - begin > 0 ? pass->left - begin : 0;
    pass->length = end - begin;
    pass->row = malloc((size_t)pass->length * (size_t)from.channels * sizeof *pass->row);
    if (pass->row) return LAM_OK;
    close_pass(pass);
    return lam_no_memory();
}

static lam_status check_part(struct sr_rect part, int width, int height) {
    LAM_TRY(lam_image_check_size("resized image", width, height));
    if (part.x < 0 || part.y < 0 || part.width < 1 || part.height < 1 || part.x > width - part.width ||
        part.y > height - part.height)
        return lam_fail(LAM_ERR_INVALID, "a part of %d x %d at %d, %d is not inside of %d x %d", part.width,
                        part.height, part.x, part.y, width, height);
    return LAM_OK;
}

/* From the upper left `from_width` x `from_height` pixels of `from`. */
static lam_status resize_part(const struct lam_image *from, int from_width, int from_height, int width,
                              int height, enum sr_rounding rounding, struct sr_rect part,
                              struct lam_image *to) {
    LAM_TRY(check_part(part, width, height));
    struct source source = {from->pixels, NULL, from_width, from_height, from->channels, from->width};
    struct pass pass;
    LAM_TRY(open_pass(source, width, height, part, &pass));
    lam_status status = lam_image_alloc(to, part.width, part.height, from->channels);
    size_t stride = (size_t)part.width * (size_t)from->channels;
    for (int y = 0; status == LAM_OK && y < part.height; y++) {
        sum_columns(&pass, y, rounding == SR_ROUND_PASSES);
        sum_row_to_bytes(&pass, to->pixels + (size_t)y * stride);
    }
    close_pass(&pass);
    return status;
}

lam_status sr_bicubic_part(const struct lam_image *from, int width, int height, enum sr_rounding rounding,
                           struct sr_rect part, struct lam_image *to) {
    if (!from->pixels) return lam_fail(LAM_ERR_INVALID, "an empty image cannot be resized");
    return resize_part(from, from->width, from->height, width, height, rounding, part, to);
}

lam_status sr_bicubic(const struct lam_image *from, int width, int height, enum sr_rounding rounding,
                      struct lam_image *to) {
    return sr_bicubic_part(from, width, height, rounding, (struct sr_rect){0, 0, width, height}, to);
}

lam_status sr_bicubic_planes(const struct sr_planes *from, int width, int height, struct sr_planes *to) {
    if (!from->data) return lam_fail(LAM_ERR_INVALID, "empty planes cannot be resized");
    struct sr_rect all = {0, 0, width, height};
    LAM_TRY(check_part(all, width, height));
    struct source source = {NULL, from->data, from->width, from->height, 1, from->width};
    struct pass pass;
    LAM_TRY(open_pass(source, width, height, all, &pass));
    lam_status status = sr_planes_alloc(to, from->channels, width, height);
    float *out = to->data;
    for (int c = 0; status == LAM_OK && c < from->channels; c++) {
        pass.from.floats = from->data + (size_t)c * (size_t)from->width * (size_t)from->height;
        for (int y = 0; y < height; y++, out += width) {
            sum_columns(&pass, y, false);
            sum_row_to_floats(&pass, out);
        }
    }
    close_pass(&pass);
    return status;
}

/* ---- low-resolution images ---- */

static lam_status check_scale(const struct lam_image *image, int scale) {
    if (scale < 1) return lam_fail(LAM_ERR_INVALID, "a scale of %d", scale);
    if (!image->pixels) return lam_fail(LAM_ERR_INVALID, "an empty image has no other scale");
    if (image->width >= scale && image->height >= scale) return LAM_OK;
    return lam_fail(LAM_ERR_FORMAT, "an image of %d x %d pixels is smaller than the scale %d", image->width,
                    image->height, scale);
}

lam_status sr_crop(const struct lam_image *from, int scale, struct lam_image *to) {
    LAM_TRY(check_scale(from, scale));
    int width = from->width - from->width % scale, height = from->height - from->height % scale;
    LAM_TRY(lam_image_alloc(to, width, height, from->channels));
    size_t channels = (size_t)from->channels;
    for (int y = 0; y < height; y++)
        memcpy(to->pixels + (size_t)y * (size_t)width * channels,
               from->pixels + (size_t)y * (size_t)from->width * channels, (size_t)width * channels);
    return LAM_OK;
}

lam_status sr_low_part(const struct lam_image *high, int scale, enum sr_rounding rounding,
                       struct sr_rect part, struct lam_image *low) {
    LAM_TRY(check_scale(high, scale));
    int width = high->width / scale, height = high->height / scale;
    return resize_part(high, width * scale, height * scale, width, height, rounding, part, low);
}

lam_status sr_low(const struct lam_image *high, int scale, enum sr_rounding rounding, struct lam_image *low) {
    LAM_TRY(check_scale(high, scale));
    struct sr_rect all = {0, 0, high->width / scale, high->height / scale};
    return sr_low_part(high, scale, rounding, all, low);
}
