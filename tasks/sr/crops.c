/* Side-by-side crops. */
#include "tasks/sr/crops.h"

#include <math.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "train/draw.h"

enum { CELL = 128, GAP = 6, COLUMNS = 4, TEXT = 2 * LAM_FONT_HEIGHT + 2 };

/* ---- where to look ---- */

static const uint8_t *pixel_at(const struct lam_image *image, int x, int y) {
    return image->pixels + ((size_t)y * (size_t)image->width + (size_t)x) * (size_t)image->channels;
}

static int64_t detail_of(const struct lam_image *image, struct sr_rect part) {
    int green = image->channels >= 3 ? 1 : 0;
    int64_t sum = 0;
    for (int y = part.y; y < part.y + part.height - 1; y++)
        for (int x = part.x; x < part.x + part.width - 1; x++) {
            int here = pixel_at(image, x, y)[green];
            sum +=
                abs(pixel_at(image, x + 1, y)[green] - here) + abs(pixel_at(image, x, y + 1)[green] - here);
        }
    return sum;
}

struct sr_rect sr_crop_of_most_detail(const struct lam_image *image, int side, int scale) {
    struct sr_rect part = {0, 0, side < image->width ? side : image->width,
                           side < image->height ? side : image->height};
    struct sr_rect best = part;
    int step = side / 4 / scale * scale;
    if (step < scale) step = scale;
    int64_t most = -1;
    for (part.y = 0; part.y <= image->height - part.height; part.y += step)
        for (part.x = 0; part.x <= image->width - part.width; part.x += step) {
            int64_t detail = detail_of(image, part);
            if (detail > most) best = part;
            if (detail > most) most = detail;
        }
    return best;
}

/* ---- drawing ---- */

/* The piece of `image` that shows `part` of a picture `width` pixels wide, as an image of its own. */
static lam_status cut(const struct lam_image *image, const struct sr_crop *crop, struct lam_image *piece) {
    const struct sr_rect *part = &crop->part;
    if (image->width < 1 || image->width > crop->high->width)
        return lam_fail(LAM_ERR_INVALID, "a crop of %d pixels' width beside one of %d", image->width,
                        crop->high->width);
    int scale = crop->high->width / image->width, x = part->x / scale, y = part->y / scale;
    int width = part->width / scale, height = part->height / scale;
    width = width < 1 ? 1 : width;
    height = height < 1 ? 1 : height;
    if (x < 0 || y < 0 || x > image->width - width || y > image->height - height)
        return lam_fail(LAM_ERR_INVALID, "a crop at %d, %d of %d x %d is not inside of %d x %d pixels", x, y,
                        width, height, image->width, image->height);
    LAM_TRY(lam_image_alloc(piece, width, height, image->channels));
    size_t bytes = (size_t)width * (size_t)image->channels;
    for (int row = 0; row < height; row++)
        memcpy(piece->pixels + (size_t)row * bytes, pixel_at(image, x, y + row), bytes);
    return LAM_OK;
}

static lam_status draw_cell(struct lam_image *picture, int x, int y, int side, const struct lam_image *image,
                            const struct sr_crop *crop) {
    struct lam_image piece = {0};
    lam_status status = cut(image, crop, &piece);
    if (status == LAM_OK) lam_draw_image(picture, x, y, side, side, &piece);
    lam_image_free(&piece);
    return status;
}

static void label(struct lam_image *picture, int x, int y, int side, const char *what, double psnr,
                  uint32_t colour) {
    char text[64];
    lam_draw_text(picture, x, y + 2, side, what, colour);
    if (isnan(psnr)) return;
    snprintf(text, sizeof text, isinf(psnr) ? "equal" : "%.2f dB", psnr);
    lam_draw_text(picture, x, y + 2 + LAM_FONT_HEIGHT, side, text, colour);
}

/* The largest multiple of the part's size that fits a cell; enlarged by whole factors pixels stay square. */
static int side_of(const struct sr_crop *crop) {
    int longer = crop->part.width > crop->part.height ? crop->part.width : crop->part.height;
    return longer < 1 || longer > CELL ? CELL : CELL / longer * longer;
}

static lam_status draw_row(struct lam_image *picture, int row, const struct sr_crop *crop) {
    const struct lam_image *images[COLUMNS] = {crop->low, crop->bicubic, crop->ours, crop->high};
    const char *names[COLUMNS] = {crop->name, "bicubic", "ours", "HR"};
    double psnr[COLUMNS] = {NAN, crop->bicubic_psnr, crop->psnr, NAN};
    int y = GAP + row * (CELL + TEXT + GAP), side = side_of(crop);
    for (int i = 0; i < COLUMNS; i++) {
        int x = GAP + i * (CELL + GAP);
        LAM_TRY(draw_cell(picture, x, y, side, images[i], crop));
        bool better = i == 2 && crop->psnr > crop->bicubic_psnr,
             worse = i == 2 && crop->psnr < crop->bicubic_psnr;
        label(picture, x, y + side, CELL, names[i], psnr[i],
              better  ? LAM_GREEN
              : worse ? LAM_RED
                      : LAM_BLACK);
    }
    lam_draw_text(picture, GAP, y + side + 2 + LAM_FONT_HEIGHT, CELL, "LR", LAM_BLACK);
    return LAM_OK;
}

lam_status sr_draw_crops(const struct sr_crop *crops, int count, struct lam_image *picture) {
    LAM_TRY(lam_image_alloc(picture, GAP + COLUMNS * (CELL + GAP), GAP + count * (CELL + TEXT + GAP), 3));
    lam_draw_fill(picture, 0, 0, picture->width, picture->height, LAM_WHITE);
    for (int i = 0; i < count; i++) {
        lam_status status = draw_row(picture, i, &crops[i]);
        if (status == LAM_OK) continue;
        lam_image_free(picture);
        return status;
    }
    return LAM_OK;
}
