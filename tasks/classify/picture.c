/* Pictures: the mosaic of shown samples, one image with its prediction. */
#include <stdio.h>
#include <string.h>

#include "tasks/classify/internal.h"
#include "train/draw.h"

enum { PICTURE = 96, GAP = 6, LINES = 2, COLUMNS = 8, CELL = PICTURE + GAP };
enum { CELL_HEIGHT = PICTURE + LINES * LAM_FONT_HEIGHT + GAP };

static lam_status draw_cell(const struct classify *c, struct lam_image *mosaic, int place,
                            struct lam_sample *sample) {
    const struct shown *s = &c->shown[place];
    int x = GAP + place % COLUMNS * CELL, y = GAP + place / COLUMNS * CELL_HEIGHT;
    LAM_TRY(lam_dataset_read(c->val, s->index, sample));
    lam_draw_image(mosaic, x, y, PICTURE, PICTURE, &sample->image);
    bool good = s->label == s->guess;
    char text[64];
    snprintf(text, sizeof text, "%.11s %.0f%%", c->classes.names[s->guess], 100 * (double)s->probability);
    lam_draw_text(mosaic, x, y + PICTURE + 1, PICTURE, text, good ? LAM_GREEN : LAM_RED);
    if (good) return LAM_OK;
    snprintf(text, sizeof text, "is %.13s", c->classes.names[s->label]);
    lam_draw_text(mosaic, x, y + PICTURE + 1 + LAM_FONT_HEIGHT, PICTURE, text, LAM_BLACK);
    return LAM_OK;
}

lam_status classify_draw_shown(const struct classify *c, struct lam_image *mosaic) {
    int rows = (c->shown_count + COLUMNS - 1) / COLUMNS,
        columns = c->shown_count < COLUMNS ? c->shown_count : COLUMNS;
    if (rows == 0) return LAM_OK;
    LAM_TRY(lam_image_alloc(mosaic, GAP + columns * CELL, GAP + rows * CELL_HEIGHT, 3));
    lam_draw_fill(mosaic, 0, 0, mosaic->width, mosaic->height, LAM_WHITE);
    struct lam_sample sample = {0};
    lam_status status = LAM_OK;
    for (int i = 0; status == LAM_OK && i < c->shown_count; i++) status = draw_cell(c, mosaic, i, &sample);
    lam_sample_free(&sample);
    if (status != LAM_OK) lam_image_free(mosaic);
    return status;
}

lam_status classify_draw_guess(const struct classify *c, const char *path, int guess, float probability,
                               struct lam_image *picture) {
    enum { SIDE = 256 };
    struct lam_image image = {0};
    LAM_TRY(lam_image_load(path, LAM_IMAGE_RGB, &image));
    lam_status status = lam_image_alloc(picture, SIDE, SIDE + 16, 3);
    if (status == LAM_OK) {
        char text[80];
        snprintf(text, sizeof text, "%.32s %.1f%%", c->classes.names[guess], 100 * (double)probability);
        lam_draw_fill(picture, 0, 0, SIDE, SIDE + 16, LAM_WHITE);
        lam_draw_image(picture, 0, 0, SIDE, SIDE, &image);
        lam_draw_text(picture, 4, SIDE + 4, SIDE - 8, text, LAM_BLACK);
    }
    lam_image_free(&image);
    return status;
}
