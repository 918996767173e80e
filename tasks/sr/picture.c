/* Pictures: crops of the shown images beside bicubic and the truth; a batch of patches with their targets. */
#include <stdlib.h>
#include <string.h>

#include "tasks/sr/crops.h"
#include "tasks/sr/internal.h"
#include "train/draw.h"

enum { CROP = 64, MOST_ROWS = 8, MOST_PAIRS = 16, COLUMNS = 4, SIDE = 96, GAP = 6 };

/* ---- crops ---- */

/* Pictures of one row. */
struct row {
    struct lam_image low, bicubic, high;
    char name[64];
};

static void free_row(struct row *row) {
    lam_image_free(&row->low);
    lam_image_free(&row->bicubic);
    lam_image_free(&row->high);
}

/* RGB of any image, alpha left out. */
static lam_status make_rgb(struct lam_image *image) {
    struct lam_image rgb = {0};
    if (image->channels == 3) return LAM_OK;
    LAM_TRY(lam_image_alloc(&rgb, image->width, image->height, 3));
    size_t pixels = (size_t)image->width * (size_t)image->height;
    for (size_t i = 0; i < pixels; i++)
        for (size_t c = 0; c < 3; c++)
            rgb.pixels[3 * i + c] =
                image->pixels[(size_t)image->channels * i + (image->channels == 4 ? c : 0)];
    lam_image_free(image);
    *image = rgb;
    return LAM_OK;
}

static lam_status make_row(struct sr *sr, const struct sr_shown *shown, struct row *row,
                           struct sr_crop *crop) {
    struct sr_thread *thread = &sr->threads[sr->thread_count];
    const struct sr_image *image = &sr->images[shown->index];
    const struct lam_sample *sample;
    LAM_TRY(lam_dataset_borrow(sr->val, shown->index, &thread->sample, &sample));
    LAM_TRY(sr_crop(&sample->image, sr->scale, &row->high));
    LAM_TRY(sr_low_of(sr, sample, &row->low));
    LAM_TRY(sr_bicubic(&row->low, row->high.width, row->high.height, SR_ROUND_ONCE, &row->bicubic));
    LAM_TRY(make_rgb(&row->high));
    LAM_TRY(make_rgb(&row->low));
    LAM_TRY(make_rgb(&row->bicubic));
    char what[512];
    lam_dataset_describe(sr->val, shown->index, what, sizeof what);
    const char *slash = strrchr(what, '/');
    snprintf(row->name, sizeof row->name, "%.60s", slash ? slash + 1 : what);
    *crop = (struct sr_crop){.name = row->name,
                             .low = &row->low,
                             .bicubic = &row->bicubic,
                             .ours = &shown->ours,
                             .high = &row->high,
                             .part = sr_crop_of_most_detail(&row->high, CROP, sr->scale),
                             .bicubic_psnr = image->bicubic.psnr,
                             .psnr = image->ours.psnr};
    return LAM_OK;
}

lam_status sr_draw_shown(struct sr *sr, struct lam_image *mosaic) {
    struct row rows[MOST_ROWS] = {0};
    struct sr_crop crops[MOST_ROWS] = {0};
    int count = sr->shown_count < MOST_ROWS ? sr->shown_count : MOST_ROWS;
    lam_status status = LAM_OK;
    for (int i = 0; i < count && status == LAM_OK; i++)
        status = make_row(sr, &sr->shown[i], &rows[i], &crops[i]);
    if (status == LAM_OK && count) status = sr_draw_crops(crops, count, mosaic);
    for (int i = 0; i < count; i++) free_row(&rows[i]);
    return status;
}

/* ---- a batch ---- */

static lam_status draw_field(const struct sr *sr, struct lam_device *device, const struct lam_batch *batch,
                             int field, int row, int x, int y, struct lam_image *mosaic) {
    int side = (int)sr->fields[field].shape.dim[1];
    size_t pixels = (size_t)side * (size_t)side, bytes = 3 * pixels * sizeof(float);
    struct sr_planes planes = {0};
    struct lam_image image = {0};
    LAM_TRY(sr_planes_alloc(&planes, 3, side, side));
    lam_status status =
        lam_device_download(device, planes.data, (char *)batch->data[field] + (size_t)row * bytes, bytes);
    if (status == LAM_OK) sr_from_network(sr, planes.data, pixels);
    if (status == LAM_OK) status = sr_planes_to_image(&planes, 255, &image);
    if (status == LAM_OK) lam_draw_image(mosaic, x, y, SIDE, SIDE, &image);
    sr_planes_free(&planes);
    lam_image_free(&image);
    return status;
}

lam_status sr_draw_batch(void *state, struct lam_device *device, const struct lam_batch *batch,
                         struct lam_image *mosaic) {
    const struct sr *sr = state;
    int count = batch->count < MOST_PAIRS ? batch->count : MOST_PAIRS, cell = 2 * SIDE + GAP;
    int columns = count < COLUMNS ? count : COLUMNS, rows = (count + columns - 1) / columns;
    LAM_TRY(lam_image_alloc(mosaic, GAP + columns * (cell + GAP), GAP + rows * (SIDE + GAP), 3));
    lam_draw_fill(mosaic, 0, 0, mosaic->width, mosaic->height, LAM_WHITE);
    lam_status status = LAM_OK;
    for (int i = 0; i < count && status == LAM_OK; i++) {
        int x = GAP + i % columns * (cell + GAP), y = GAP + i / columns * (SIDE + GAP);
        status = draw_field(sr, device, batch, SR_FIELD_IMAGE, i, x, y, mosaic);
        if (status == LAM_OK) status = draw_field(sr, device, batch, SR_FIELD_TARGET, i, x + SIDE, y, mosaic);
    }
    if (status != LAM_OK) lam_image_free(mosaic);
    return status;
}
