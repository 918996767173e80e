/* PSNR and SSIM. SSIM's local means, variances and covariance are sums under a Gaussian of 11 x 11, which is a
 * product of two of 11: one row of output at a time, five sums over 11 rows are taken, then 11 of those over
 * columns. Doubles, because variances are small differences of large squares. */
#include "tasks/sr/quality.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { WINDOW = 11, SUMS = 5 };

static const double red = 65.481, green = 128.553, blue = 24.966; /* of ITU-R BT.601, for 8 bits */

lam_status sr_luma(const struct sr_planes *planes, bool gray, struct sr_planes *luma) {
    if (!planes->data || (planes->channels != 1 && planes->channels != 3))
        return lam_fail(LAM_ERR_INVALID, "%d planes have no luma", planes->channels);
    LAM_TRY(sr_planes_alloc(luma, 1, planes->width, planes->height));
    size_t count = (size_t)planes->width * (size_t)planes->height;
    if (planes->channels == 1) {
        memcpy(luma->data, planes->data, count * sizeof *luma->data);
        return LAM_OK;
    }
    const float *r = planes->data, *g = r + count, *b = g + count;
    double scale = gray ? 1 / (red + green + blue) : 1.0 / 255, base = gray ? 0 : 16;
    for (size_t i = 0; i < count; i++)
        luma->data[i] =
            (float)(base + scale * (red * (double)r[i] + green * (double)g[i] + blue * (double)b[i]));
    return LAM_OK;
}

/* One channel of both pictures inside of the border. */
struct pair {
    const float *a, *b;
    size_t stride;
    int width, height;
};

static double squared_error(const struct pair *pair) {
    double sum = 0;
    for (int y = 0; y < pair->height; y++) {
        const float *a = pair->a + (size_t)y * pair->stride, *b = pair->b + (size_t)y * pair->stride;
        for (int x = 0; x < pair->width; x++) {
            double difference = (double)a[x] - (double)b[x];
            sum += difference * difference;
        }
    }
    return sum;
}

static void make_gaussian(double *window) {
    double sum = 0;
    for (int i = 0; i < WINDOW; i++) sum += window[i] = exp(-(i - 5) * (i - 5) / (2 * 1.5 * 1.5));
    for (int i = 0; i < WINDOW; i++) window[i] /= sum;
}

/* Weighted sums of a, b, aa, bb, ab over the 11 rows from y: [SUMS][width]. */
static void sum_rows(const struct pair *pair, const double *window, int y, double *sums) {
    size_t width = (size_t)pair->width;
    memset(sums, 0, SUMS * width * sizeof *sums);
    double *restrict sa = sums, *restrict sb = sa + width, *restrict saa = sb + width,
                     *restrict sbb = saa + width, *restrict sab = sbb + width;
    for (int k = 0; k < WINDOW; k++) {
        const float *restrict a = pair->a + (size_t)(y + k) * pair->stride;
        const float *restrict b = pair->b + (size_t)(y + k) * pair->stride;
        double weight = window[k];
        for (size_t x = 0; x < width; x++) {
            double va = (double)a[x], vb = (double)b[x], wa = weight * va, wb = weight * vb;
            sa[x] += wa;
            sb[x] += wb;
            saa[x] += wa * va;
            sbb[x] += wb * vb;
            sab[x] += wa * vb;
        }
    }
}

/* In place: the result stands at the left end of each row. */
static void sum_columns(const double *window, int width, double *sums) {
    int left = width - WINDOW + 1;
    for (int s = 0; s < SUMS; s++) {
        double *row = sums + (size_t)s * (size_t)width;
        for (int x = 0; x < left; x++) {
            double sum = 0;
            for (int k = 0; k < WINDOW; k++) sum += window[k] * row[x + k];
            row[x] = sum;
        }
    }
}

/* Wang et al. 2004, equation 13, K1 = 0.01, K2 = 0.03, of a peak of 255. */
static double similarity(double a, double b, double aa, double bb, double ab) {
    const double c1 = 0.01 * 255 * 0.01 * 255, c2 = 0.03 * 255 * 0.03 * 255;
    double covariance = ab - a * b, variances = aa - a * a + bb - b * b;
    return (2 * a * b + c1) * (2 * covariance + c2) / ((a * a + b * b + c1) * (variances + c2));
}

static lam_status mean_similarity(const struct pair *pair, double *ssim) {
    int columns = pair->width - WINDOW + 1, rows = pair->height - WINDOW + 1;
    *ssim = NAN;
    if (columns < 1 || rows < 1) return LAM_OK;
    size_t width = (size_t)pair->width;
    double window[WINDOW], *sums = malloc(SUMS * width * sizeof *sums), total = 0;
    if (!sums) return lam_no_memory();
    make_gaussian(window);
    for (int y = 0; y < rows; y++) {
        sum_rows(pair, window, y, sums);
        sum_columns(window, pair->width, sums);
        for (int x = 0; x < columns; x++)
            total += similarity(sums[x], sums[width + (size_t)x], sums[2 * width + (size_t)x],
                                sums[3 * width + (size_t)x], sums[4 * width + (size_t)x]);
    }
    free(sums);
    *ssim = total / ((double)columns * rows);
    return LAM_OK;
}

static lam_status measure_planes(int border, const struct sr_planes *result, const struct sr_planes *truth,
                                 struct sr_quality *quality) {
    size_t stride = (size_t)truth->width, inside = (size_t)border * stride + (size_t)border;
    double error = 0, ssim = 0;
    struct pair pair = {NULL, NULL, stride, truth->width - 2 * border, truth->height - 2 * border};
    for (int c = 0; c < truth->channels; c++) {
        size_t at = (size_t)c * stride * (size_t)truth->height + inside;
        pair.a = result->data + at;
        pair.b = truth->data + at;
        error += squared_error(&pair);
        double of_channel;
        LAM_TRY(mean_similarity(&pair, &of_channel));
        ssim += of_channel;
    }
    double count = (double)truth->channels * pair.width * pair.height;
    quality->psnr = 10 * log10(255.0 * 255.0 / (error / count)); /* infinite for no error */
    quality->ssim = ssim / truth->channels;
    return LAM_OK;
}

static lam_status measure_luma(int border, const struct sr_planes *result, const struct sr_planes *truth,
                               struct sr_quality *quality) {
    struct sr_planes a = {0}, b = {0};
    bool gray = result->channels == 1 || truth->channels == 1;
    lam_status status = sr_luma(result, gray, &a);
    if (status == LAM_OK) status = sr_luma(truth, gray, &b);
    if (status == LAM_OK) status = measure_planes(border, &a, &b, quality);
    sr_planes_free(&a);
    sr_planes_free(&b);
    return status;
}

lam_status sr_quality(const struct sr_measure *measure, const struct sr_planes *result,
                      const struct sr_planes *truth, struct sr_quality *quality) {
    if (result->width != truth->width || result->height != truth->height)
        return lam_fail(LAM_ERR_INVALID, "a result of %d x %d pixels cannot be compared with %d x %d",
                        result->width, result->height, truth->width, truth->height);
    int side = truth->width < truth->height ? truth->width : truth->height;
    if (measure->border < 0 || side - measure->border <= measure->border)
        return lam_fail(LAM_ERR_INVALID, "a border of %d leaves nothing of an image of %d x %d pixels",
                        measure->border, truth->width, truth->height);
    if (measure->channel == SR_CHANNEL_Y || result->channels != truth->channels)
        return measure_luma(measure->border, result, truth, quality);
    return measure_planes(measure->border, result, truth, quality);
}
