#include "tasks/detect/view.h"

#include <stdint.h>

static int scaled(int side, int to, int from) {
    int result = (int)(((int64_t)side * to + from / 2) / from);
    return result < 1 ? 1 : result;
}

struct detect_view detect_view_fit(int image_width, int image_height, int input_width, int input_height,
                                   bool stretch) {
    struct detect_view view = {.image_width = image_width,
                               .image_height = image_height,
                               .width = input_width,
                               .height = input_height};
    if (!stretch) {
        if ((int64_t)image_width * input_height >= (int64_t)image_height * input_width)
            view.height = scaled(image_height, input_width, image_width);
        else
            view.width = scaled(image_width, input_height, image_height);
    }
    view.x = (input_width - view.width) / 2;
    view.y = (input_height - view.height) / 2;
    return view;
}

/* Mirrors the two ends of a range in a line of `length`. */
static void mirror(float *x0, float *x1, float length) {
    float left = length - *x1;
    *x1 = length - *x0;
    *x0 = left;
}

void detect_view_box(const struct detect_view *view, float box[4]) {
    float across = (float)view->width / (float)view->image_width;
    float down = (float)view->height / (float)view->image_height;
    if (view->flip) mirror(&box[0], &box[2], (float)view->image_width);
    for (int i = 0; i < 4; i += 2) {
        box[i] = box[i] * across + (float)view->x;
        box[i + 1] = box[i + 1] * down + (float)view->y;
    }
}

void detect_view_box_back(const struct detect_view *view, float box[4]) {
    float across = (float)view->image_width / (float)view->width;
    float down = (float)view->image_height / (float)view->height;
    for (int i = 0; i < 4; i += 2) {
        box[i] = (box[i] - (float)view->x) * across;
        box[i + 1] = (box[i + 1] - (float)view->y) * down;
    }
    if (view->flip) mirror(&box[0], &box[2], (float)view->image_width);
}
