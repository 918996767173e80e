/* Pictures: the mosaic of shown samples, a batch with its targets, one image with what was found. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tasks/detect/boxes.h"
#include "tasks/detect/draw_boxes.h"
#include "tasks/detect/internal.h"
#include "train/draw.h"

enum { SHOWN_WIDTH = 320, COLUMNS = 4, GAP = 6, MOST_CELLS = 16 };

/* A sheet for `count` pictures of one size, in rows; and the place of each. */
struct sheet {
    struct lam_image *image;
    int columns, width, height; /* of a cell */
};

static lam_status open_sheet(struct sheet *sheet, int count, int width, int height, struct lam_image *image) {
    int columns = count < COLUMNS ? count : COLUMNS, rows = (count + COLUMNS - 1) / COLUMNS;
    *sheet = (struct sheet){image, columns, width, height};
    LAM_TRY(lam_image_alloc(image, GAP + columns * (width + GAP),
                            GAP + rows * (height + LAM_FONT_HEIGHT + GAP), 3));
    lam_draw_fill(image, 0, 0, image->width, image->height, LAM_WHITE);
    return LAM_OK;
}

static void put(const struct sheet *sheet, int place, const struct lam_image *picture, const char *text) {
    int x = GAP + place % sheet->columns * (sheet->width + GAP);
    int y = GAP + place / sheet->columns * (sheet->height + LAM_FONT_HEIGHT + GAP);
    lam_draw_image(sheet->image, x, y, sheet->width, sheet->height, picture);
    lam_draw_text(sheet->image, x, y + sheet->height + 1, sheet->width, text, LAM_BLACK);
}

/* `from` in RGB, as wide as asked. */
static lam_status scaled(const struct lam_image *from, int width, int height, struct lam_image *to) {
    struct lam_image rgb = {0};
    LAM_TRY(lam_image_alloc(&rgb, from->width, from->height, 3));
    lam_draw_image(&rgb, 0, 0, from->width, from->height, from);
    lam_status status = lam_image_resize(&rgb, width, height, to);
    lam_image_free(&rgb);
    return status;
}

/* The better ones of what was found; corners scaled with the picture. */
static lam_status draw_found(const struct detect *d, const struct detect_list *found, float least, float sx,
                             float sy, struct lam_image *picture) {
    struct detect_list drawn = {0};
    lam_status status = LAM_OK;
    for (int i = 0; i < found->count && status == LAM_OK; i++) {
        struct detect_found f = found->items[i];
        if (f.score < least) continue;
        for (int k = 0; k < 4; k++) f.corners[k] *= k % 2 ? sy : sx;
        status = detect_list_add(&drawn, &f);
    }
    if (status == LAM_OK)
        detect_draw_boxes(picture, drawn.items, drawn.count, d->classes.names, d->classes.count);
    detect_list_free(&drawn);
    return status;
}

static lam_status draw_cell(const struct detect *d, const struct sheet *sheet, int place,
                            struct lam_sample *sample) {
    const struct detect_shown *shown = &d->shown[place];
    struct lam_image picture = {0};
    char what[256], text[320];
    LAM_TRY(lam_dataset_read(d->val, shown->index, sample));
    int width = sample->image.width, height = sample->image.height, to_width = SHOWN_WIDTH,
        to_height = height * SHOWN_WIDTH / width;
    if (to_height > sheet->height) {
        to_height = sheet->height;
        to_width = width * sheet->height / height;
    }
    if (to_width < 1) to_width = 1;
    if (to_height < 1) to_height = 1;
    LAM_TRY(scaled(&sample->image, to_width, to_height, &picture));
    lam_status status = draw_found(d, &shown->found, (float)d->own->show_conf, (float)to_width / (float)width,
                                   (float)to_height / (float)height, &picture);
    const char *name = detect_describe(d, LAM_SPLIT_VAL, shown->index, what, sizeof what);
    const char *slash = strrchr(name, '/');
    snprintf(text, sizeof text, "%s (%d boxes)", slash ? slash + 1 : name, sample->box_count);
    if (status == LAM_OK) put(sheet, place, &picture, text);
    lam_image_free(&picture);
    return status;
}

lam_status detect_draw_shown(const struct detect *d, struct lam_image *mosaic) {
    struct sheet sheet;
    struct lam_sample sample = {0};
    if (d->shown_count == 0) return LAM_OK;
    int height = SHOWN_WIDTH * d->height / d->width;
    LAM_TRY(open_sheet(&sheet, d->shown_count, SHOWN_WIDTH, height > 0 ? height : 1, mosaic));
    lam_status status = LAM_OK;
    for (int i = 0; i < d->shown_count && status == LAM_OK; i++) status = draw_cell(d, &sheet, i, &sample);
    lam_sample_free(&sample);
    if (status != LAM_OK) lam_image_free(mosaic);
    return status;
}

/* ---- a batch ---- */

/* Host copies of one sample's fields. */
struct targets {
    uint8_t *planes;
    float *boxes, *weights;
    int32_t *classes;
};

static void free_targets(struct targets *t) {
    free(t->planes);
    free(t->boxes);
    free(t->weights);
    free(t->classes);
}

static lam_status download(struct lam_device *device, const struct lam_batch *batch, int field, int row,
                           size_t bytes, void **to) {
    *to = malloc(bytes);
    if (!*to) return lam_no_memory();
    return lam_device_download(device, *to, (const char *)batch->data[field] + (size_t)row * bytes, bytes);
}

static lam_status read_targets(const struct detect *d, struct lam_device *device,
                               const struct lam_batch *batch, int row, struct targets *t) {
    size_t anchors = (size_t)d->anchors.count, pixels = (size_t)d->width * (size_t)d->height;
    LAM_TRY(download(device, batch, DETECT_FIELD_IMAGE, row, 3 * pixels, (void **)&t->planes));
    LAM_TRY(
        download(device, batch, DETECT_FIELD_CLASSES, row, anchors * sizeof(int32_t), (void **)&t->classes));
    LAM_TRY(
        download(device, batch, DETECT_FIELD_WEIGHTS, row, anchors * sizeof(float), (void **)&t->weights));
    return download(device, batch, DETECT_FIELD_BOXES, row, 4 * anchors * sizeof(float), (void **)&t->boxes);
}

/* The boxes that positive anchors are to find, each once. */
static lam_status collect_targets(const struct detect *d, const struct targets *t, struct detect_list *list) {
    for (int a = 0; a < d->anchors.count; a++) {
        struct detect_found f = {.score = -1, .label = t->classes[a]};
        bool known = false;
        if (f.label < 0) continue;
        if (d->own->box_loss == DETECT_GIOU)
            memcpy(f.corners, t->boxes + 4 * (size_t)a, sizeof f.corners);
        else
            detect_decode_box(d->corners[a], t->boxes + 4 * (size_t)a, f.corners);
        for (int i = 0; i < list->count && !known; i++)
            known = list->items[i].label == f.label && detect_iou(list->items[i].corners, f.corners) > 0.99f;
        if (!known) LAM_TRY(detect_list_add(list, &f));
    }
    return LAM_OK;
}

static lam_status draw_row(const struct detect *d, const struct sheet *sheet, int row,
                           const struct lam_batch *batch, const struct targets *t) {
    struct lam_image picture = {0};
    struct detect_list boxes = {0};
    char text[64];
    lam_status status = detect_augment_picture(&d->augment, t->planes, &picture);
    if (status == LAM_OK) status = collect_targets(d, t, &boxes);
    if (status == LAM_OK) {
        detect_draw_boxes(&picture, boxes.items, boxes.count, d->classes.names, d->classes.count);
        snprintf(text, sizeof text, "sample %lld", (long long)batch->indices[row]);
        put(sheet, row, &picture, text);
    }
    detect_list_free(&boxes);
    lam_image_free(&picture);
    return status;
}

lam_status detect_draw_batch(void *state, struct lam_device *device, const struct lam_batch *batch,
                             struct lam_image *mosaic) {
    const struct detect *d = state;
    struct sheet sheet;
    int count = batch->count < MOST_CELLS ? batch->count : MOST_CELLS;
    LAM_TRY(open_sheet(&sheet, count, d->width, d->height, mosaic));
    lam_status status = LAM_OK;
    for (int row = 0; row < count && status == LAM_OK; row++) {
        struct targets targets = {0};
        status = read_targets(d, device, batch, row, &targets);
        if (status == LAM_OK) status = draw_row(d, &sheet, row, batch, &targets);
        free_targets(&targets);
    }
    if (status != LAM_OK) lam_image_free(mosaic);
    return status;
}

/* ---- one image ---- */

lam_status detect_draw_found(const struct detect *d, const char *path, const struct detect_list *found,
                             struct lam_image *picture) {
    LAM_TRY(lam_image_load(path, LAM_IMAGE_RGB, picture));
    return draw_found(d, found, (float)d->own->show_conf, 1, 1, picture);
}
