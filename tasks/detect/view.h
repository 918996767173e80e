/* How an image lies in the network's input: resized to a whole number of pixels, perhaps mirrored, and
 * placed at an offset, which may leave parts of it outside.
 *
 *     struct detect_fit fit = {.width = 320, .height = 320};
 *     struct detect_view view = detect_view_fit(&fit, 640, 480);   // 320 x 240 at (0, 40)
 *     detect_view_box(&view, box);          // from the image's pixels to the input's
 *     detect_view_box_back(&view, box);     // and back
 */
#ifndef LAM_TASKS_DETECT_VIEW_H
#define LAM_TASKS_DETECT_VIEW_H

#include <stdbool.h>

struct detect_view {
    int image_width, image_height; /* of the original image */
    int width, height;             /* that it is resized to */
    int x, y;                      /* where its top left corner then lies in the input */
    bool flip, flip_vertical;      /* mirrored left to right, top to bottom, before it is placed */
};

/* How whole images are fitted into the input. */
struct detect_fit {
    int width, height; /* of the input */
    int short_side; /* 0: as large as fits (letterbox); else so that the image's shorter side has so many pixels, or as
                          large as fits if that is less */
    bool stretch; /* to all of the input; else the image's aspect is kept */
};

/* The whole image in the middle of the input. All sizes are at least 1. */
struct detect_view detect_view_fit(const struct detect_fit *fit, int image_width, int image_height);

/* Corners (x0, y0, x1, y1), in place. (x0, y0) stays the top left one when the view mirrors. */
void detect_view_box(const struct detect_view *view, float box[4]);
void detect_view_box_back(const struct detect_view *view, float box[4]);

#endif
