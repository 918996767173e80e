#include "tasks/detect/draw_boxes.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "train/draw.h"

enum { PADDING = 1 };

uint32_t detect_class_colour(int label) {
    static const uint32_t colours[] = {0xE6194B, 0x3CB44B, 0x4363D8, 0xF58231, 0x911EB4, 0x00A0A0,
                                       0xF032E6, 0x808000, 0x9A6324, 0xFFD000, 0x800000, 0x40C0FF};
    return label < 0 ? 0x808080 : colours[label % (int)(sizeof colours / sizeof colours[0])];
}

/* Dark writing on light colours. */
static uint32_t ink_on(uint32_t colour) {
    uint32_t luma = 299 * (colour >> 16) + 587 * (colour >> 8 & 255) + 114 * (colour & 255);
    return luma > 140000 ? LAM_BLACK : LAM_WHITE;
}

/* A corner as a whole pixel at most one step outside of the picture, so that nothing overflows. */
static int pixel_at(float x, int size) {
    return x < 0 ? -1 : x > (float)size ? size + 1 : (int)lroundf(x);
}

static void write_caption(const struct detect_found *box, char *const *names, int name_count, char *text,
                          size_t size) {
    int used = names && box->label >= 0 && box->label < name_count
                   ? snprintf(text, size, "%.40s", names[box->label])
                   : snprintf(text, size, "%d", box->label);
    if (box->score >= 0) snprintf(text + used, size - (size_t)used, " %.0f%%", 100 * (double)box->score);
}

/* Above the box where there is room, else inside of it. */
static void draw_caption(struct lam_image *picture, int x, int y, const char *text, uint32_t colour) {
    int width = (int)strlen(text) * LAM_FONT_WIDTH + 2 * PADDING, height = LAM_FONT_HEIGHT + PADDING;
    if (x + width > picture->width) x = picture->width - width;
    if (x < 0) x = 0;
    y = y >= height ? y - height : y < 0 ? 0 : y;
    lam_draw_fill(picture, x, y, width, height, colour);
    lam_draw_text(picture, x + PADDING, y, width, text, ink_on(colour));
}

static void draw_box(struct lam_image *picture, const struct detect_found *box, char *const *names,
                     int name_count) {
    const float *c = box->corners;
    if (!isfinite(c[0]) || !isfinite(c[1]) || !isfinite(c[2]) || !isfinite(c[3])) return;
    int longer = picture->width > picture->height ? picture->width : picture->height;
    int line = longer / 400 + 1;
    int x0 = pixel_at(c[0], picture->width), x1 = pixel_at(c[2], picture->width);
    int y0 = pixel_at(c[1], picture->height), y1 = pixel_at(c[3], picture->height);
    if (x1 < x0 + line) x1 = x0 + line;
    if (y1 < y0 + line) y1 = y0 + line;
    uint32_t colour = detect_class_colour(box->label);
    char text[64];
    lam_draw_frame(picture, x0, y0, x1 - x0, y1 - y0, line, colour);
    write_caption(box, names, name_count, text, sizeof text);
    draw_caption(picture, x0, y0, text, colour);
}

void detect_draw_boxes(struct lam_image *picture, const struct detect_found *boxes, int count,
                       char *const *names, int name_count) {
    for (int i = count - 1; i >= 0; i--) draw_box(picture, &boxes[i], names, name_count);
}
