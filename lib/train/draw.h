/* A little drawing on RGB images: what prediction mosaics, confusion matrices and curves need.
 *
 *     struct lam_image sheet = {0};
 *     LAM_TRY(lam_image_alloc(&sheet, 320, 200, 3));
 *     lam_draw_fill(&sheet, 0, 0, 320, 200, LAM_WHITE);
 *     lam_draw_image(&sheet, 8, 8, 64, 64, &picture);
 *     lam_draw_text(&sheet, 8, 76, 64, "cat 98%", LAM_GREEN);
 *
 * What lies outside of the image is left out. Colours are 0xRRGGBB.
 */
#ifndef LAM_TRAIN_DRAW_H
#define LAM_TRAIN_DRAW_H

#include <stdint.h>

#include "data/image.h"

#define LAM_WHITE 0xFFFFFFu
#define LAM_BLACK 0x000000u
#define LAM_GREEN 0x118033u
#define LAM_RED   0xC02020u

enum { LAM_FONT_WIDTH = 6, LAM_FONT_HEIGHT = 9 }; /* one character's cell */

void lam_draw_fill(struct lam_image *to, int x, int y, int width, int height, uint32_t colour);
/* The edge of a rectangle, `thickness` pixels wide, inside of it. */
void lam_draw_frame(struct lam_image *to, int x, int y, int width, int height, int thickness,
                    uint32_t colour);
/* A line with round ends and smooth edges, `thickness` pixels wide; pixel (0, 0) has its centre at (0.5, 0.5). */
void lam_draw_line(struct lam_image *to, float x0, float y0, float x1, float y1, float thickness,
                   uint32_t colour);
/* `from` (1 or 3 channels) into the rectangle: nearest neighbour when enlarged, average when reduced; the
 * shape is kept, the rest of the rectangle untouched. */
void lam_draw_image(struct lam_image *to, int x, int y, int width, int height, const struct lam_image *from);
/* One line, cut to `width` pixels; characters outside of ASCII become '?'. */
void lam_draw_text(struct lam_image *to, int x, int y, int width, const char *text, uint32_t colour);

#endif
