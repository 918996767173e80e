/* Bilinear resize with antialiasing: each output pixel is the mean of the input under a triangle that is one
 * output pixel wide to each side when shrinking, one input pixel when growing. Two passes, rows first, each
 * rounded to bytes, with weights in fixed point: what PIL's BILINEAR gives. */
#include <math.h>
#include <stdlib.h>

#include "data/image_codec.h"

enum { WEIGHT_BITS = 22 }; /* 255 * the sum of the weights stays within 31 bits */

/* For `outputs` pixels of one axis. */
struct taps {
    int outputs;
    int reach;        /* weights kept for each output pixel */
    int *first;       /* first input pixel */
    int *count;       /* of them */
    int32_t *weights; /* [output][reach] */
};

static void free_taps(struct taps *taps) {
    free(taps->first);
    free(taps->count);
    free(taps->weights);
}

/* The pixel at `place` of the resized axis becomes output number `output`. */
static void make_output_taps(int from, double scale, double radius, int place, int output,
                             struct taps *taps) {
    double centre = (place + 0.5) * scale, sum = 0, widest = radius > 1 ? radius : 1;
    int begin = (int)fmax(centre - widest + 0.5, 0), end = (int)fmin(centre + widest + 0.5, from);
    int32_t *weights = taps->weights + (size_t)output * (size_t)taps->reach;
    for (int i = begin; i < end; i++) sum += fmax(0, 1 - fabs((i + 0.5 - centre) / widest));
    for (int i = begin; i < end; i++) {
        double weight = fmax(0, 1 - fabs((i + 0.5 - centre) / widest)) / sum;
        weights[i - begin] = (int32_t)lrint(weight * (1 << WEIGHT_BITS));
    }
    taps->first[output] = begin;
    taps->count[output] = end - begin;
}

/* Of the pixels [begin, begin + outputs) of an axis that is resized from `from` to `to` pixels. */
static lam_status make_taps(int from, int to, int begin, int outputs, struct taps *taps) {
    double scale = (double)from / to, radius = scale > 1 ? scale : 1;
    *taps = (struct taps){.outputs = outputs, .reach = 2 * (int)ceil(radius) + 1};
    taps->first = malloc((size_t)outputs * sizeof *taps->first);
    taps->count = malloc((size_t)outputs * sizeof *taps->count);
    taps->weights = malloc((size_t)outputs * (size_t)taps->reach * sizeof *taps->weights);
    if (!taps->first || !taps->count || !taps->weights) {
        free_taps(taps);
        return lam_fail(LAM_ERR_NO_MEMORY, "no memory to resize an image");
    }
    for (int output = 0; output < outputs; output++)
        make_output_taps(from, scale, radius, begin + output, output, taps);
    return LAM_OK;
}

/* Which input pixels all outputs together need: both ends of the ranges grow with the output. */
static int first_needed(const struct taps *taps) {
    return taps->first[0];
}
static int count_needed(const struct taps *taps) {
    int last = taps->outputs - 1;
    return taps->first[last] + taps->count[last] - taps->first[0];
}

static uint8_t round_sum(int32_t sum) {
    int32_t value = sum >> WEIGHT_BITS;
    return (uint8_t)(value < 0 ? 0 : value > 255 ? 255 : value);
}

/* One row of pixels of `channels` bytes; inlined for each count of channels, so that the sums of a pixel stay in
 * registers. */
static inline __attribute__((always_inline)) void resize_row(const uint8_t *row, const struct taps *taps,
                                                             int channels, uint8_t *out) {
    const int32_t *weight = taps->weights;
    for (int x = 0; x < taps->outputs; x++, weight += taps->reach, out += channels) {
        const uint8_t *in = row + (size_t)taps->first[x] * (size_t)channels;
        int32_t sums[4];
        for (int c = 0; c < channels; c++) sums[c] = 1 << (WEIGHT_BITS - 1);
        for (int k = 0; k < taps->count[x]; k++, in += channels)
            for (int c = 0; c < channels; c++) sums[c] += weight[k] * in[c];
        for (int c = 0; c < channels; c++) out[c] = round_sum(sums[c]);
    }
}

/* `to` gets the rows of `from` that begin at `top`. */
static void resize_rows(const struct lam_image *from, const struct taps *taps, int top,
                        struct lam_image *to) {
    size_t channels = (size_t)from->channels;
    for (int y = 0; y < to->height; y++) {
        const uint8_t *row = from->pixels + (size_t)(top + y) * (size_t)from->width * channels;
        uint8_t *out = to->pixels + (size_t)y * (size_t)to->width * channels;
        switch (from->channels) {
        case 1:
            resize_row(row, taps, 1, out);
            break;
        case 2:
            resize_row(row, taps, 2, out);
            break;
        case 3:
            resize_row(row, taps, 3, out);
            break;
        default:
            resize_row(row, taps, 4, out);
            break;
        }
    }
}

/* A row of bytes from `count` rows that are `stride` apart. In runs, whose sums stay in the nearest cache. */
static void resize_column_row(const uint8_t *in, size_t stride, const int32_t *weight, int count,
                              uint8_t *out) {
    enum { RUN = 64 };
    for (size_t begin = 0; begin < stride; begin += RUN) {
        size_t run = stride - begin < RUN ? stride - begin : RUN;
        int32_t sums[RUN];
        for (size_t i = 0; i < run; i++) sums[i] = 1 << (WEIGHT_BITS - 1);
        for (int k = 0; k < count; k++) {
            const uint8_t *row = in + (size_t)k * stride + begin;
            for (size_t i = 0; i < run; i++) sums[i] += weight[k] * row[i];
        }
        for (size_t i = 0; i < run; i++) out[begin + i] = round_sum(sums[i]);
    }
}

/* `from` begins with row `top` of the image that the taps count in. */
static void resize_columns(const struct lam_image *from, const struct taps *taps, int top,
                           struct lam_image *to) {
    size_t stride = (size_t)from->width * (size_t)from->channels;
    for (int y = 0; y < to->height; y++)
        resize_column_row(from->pixels + (size_t)(taps->first[y] - top) * stride, stride,
                          taps->weights + (size_t)y * (size_t)taps->reach, taps->count[y],
                          to->pixels + (size_t)y * stride);
}

static lam_status resize(const struct lam_image *from, const struct taps *across, const struct taps *down,
                         struct lam_image *to) {
    struct lam_image middle = {0}, result = {0};
    int top = first_needed(down);
    LAM_TRY(lam_image_alloc(&middle, across->outputs, count_needed(down), from->channels));
    lam_status status = lam_image_alloc(&result, across->outputs, down->outputs, from->channels);
    if (status == LAM_OK) {
        resize_rows(from, across, top, &middle);
        resize_columns(&middle, down, top, &result);
        lam_image_free(to);
        *to = result;
    }
    lam_image_free(&middle);
    return status;
}

lam_status lam_image_resize_part(const struct lam_image *from, int width, int height, int x, int y,
                                 int part_width, int part_height, struct lam_image *to) {
    if (!from->pixels) return lam_fail(LAM_ERR_INVALID, "an empty image cannot be resized");
    LAM_TRY(lam_image_check_size("resized image", part_width, part_height));
    if (x < 0 || y < 0 || part_width > width - x || part_height > height - y)
        return lam_fail(LAM_ERR_INVALID,
                        "the part %d x %d at %d, %d is not inside of a resized image of %d x %d", part_width,
                        part_height, x, y, width, height);
    struct taps across, down;
    LAM_TRY(make_taps(from->width, width, x, part_width, &across));
    lam_status status = make_taps(from->height, height, y, part_height, &down);
    if (status == LAM_OK) {
        status = resize(from, &across, &down, to);
        free_taps(&down);
    }
    free_taps(&across);
    return status;
}

lam_status lam_image_resize(const struct lam_image *from, int width, int height, struct lam_image *to) {
    return lam_image_resize_part(from, width, height, 0, 0, width, height, to);
}
