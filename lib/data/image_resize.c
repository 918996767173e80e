/* Bilinear resize with antialiasing: each output pixel is the mean of the input under a triangle that is one
 * output pixel wide to each side when shrinking, one input pixel when growing. Two passes, rows first, each
 * rounded to bytes, with weights in fixed point: what PIL's BILINEAR gives. */
#include <math.h>
#include <stdlib.h>

#include "data/image_codec.h"

enum { WEIGHT_BITS = 22 }; /* 255 * the sum of the weights stays within 31 bits */

struct taps {
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

static void make_output_taps(int from, double scale, double radius, int output, struct taps *taps) {
    double centre = (output + 0.5) * scale, sum = 0, widest = radius > 1 ? radius : 1;
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

static lam_status make_taps(int from, int to, struct taps *taps) {
    double scale = (double)from / to, radius = scale > 1 ? scale : 1;
    *taps = (struct taps){.reach = 2 * (int)ceil(radius) + 1};
    taps->first = malloc((size_t)to * sizeof *taps->first);
    taps->count = malloc((size_t)to * sizeof *taps->count);
    taps->weights = malloc((size_t)to * (size_t)taps->reach * sizeof *taps->weights);
    if (!taps->first || !taps->count || !taps->weights) {
        free_taps(taps);
        return lam_fail(LAM_ERR_NO_MEMORY, "no memory to resize an image");
    }
    for (int output = 0; output < to; output++) make_output_taps(from, scale, radius, output, taps);
    return LAM_OK;
}

static uint8_t round_sum(int32_t sum) {
    int32_t value = sum >> WEIGHT_BITS;
    return (uint8_t)(value < 0 ? 0 : value > 255 ? 255 : value);
}

static void resize_rows(const struct lam_image *from, const struct taps *taps, struct lam_image *to) {
    size_t channels = (size_t)from->channels;
    for (int y = 0; y < to->height; y++) {
        const uint8_t *row = from->pixels + (size_t)y * (size_t)from->width * channels;
        uint8_t *out = to->pixels + (size_t)y * (size_t)to->width * channels;
        for (int x = 0; x < to->width; x++)
            for (size_t c = 0; c < channels; c++) {
                const uint8_t *in = row + (size_t)taps->first[x] * channels + c;
                const int32_t *weight = taps->weights + (size_t)x * (size_t)taps->reach;
                int32_t sum = 1 << (WEIGHT_BITS - 1);
                for (int k = 0; k < taps->count[x]; k++) sum += weight[k] * in[(size_t)k * channels];
                *out++ = round_sum(sum);
            }
    }
}

static void resize_columns(const struct lam_image *from, const struct taps *taps, struct lam_image *to) {
    size_t stride = (size_t)from->width * (size_t)from->channels;
    for (int y = 0; y < to->height; y++) {
        const uint8_t *in = from->pixels + (size_t)taps->first[y] * stride;
        const int32_t *weight = taps->weights + (size_t)y * (size_t)taps->reach;
        uint8_t *out = to->pixels + (size_t)y * stride;
        for (size_t i = 0; i < stride; i++) {
            int32_t sum = 1 << (WEIGHT_BITS - 1);
            for (int k = 0; k < taps->count[y]; k++) sum += weight[k] * in[(size_t)k * stride + i];
            out[i] = round_sum(sum);
        }
    }
}

static lam_status resize(const struct lam_image *from, const struct taps *across, const struct taps *down,
                         int width, int height, struct lam_image *to) {
    struct lam_image middle = {0}, result = {0};
    LAM_TRY(lam_image_alloc(&middle, width, from->height, from->channels));
    lam_status status = lam_image_alloc(&result, width, height, from->channels);
    if (status == LAM_OK) {
        resize_rows(from, across, &middle);
        resize_columns(&middle, down, &result);
        lam_image_free(to);
        *to = result;
    }
    lam_image_free(&middle);
    return status;
}

lam_status lam_image_resize(const struct lam_image *from, int width, int height, struct lam_image *to) {
    if (!from->pixels) return lam_fail(LAM_ERR_INVALID, "an empty image cannot be resized");
    LAM_TRY(lam_image_check_size("resized image", width, height));
    struct taps across, down;
    LAM_TRY(make_taps(from->width, width, &across));
    lam_status status = make_taps(from->height, height, &down);
    if (status == LAM_OK) {
        status = resize(from, &across, &down, width, height, to);
        free_taps(&down);
    }
    free_taps(&across);
    return status;
}
