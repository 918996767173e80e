#include "tasks/detect/view.h"

#include <stdint.h>

static int scaled(int side, int to, int from) {
    int result = (int)(((int64_t)side * to + from / 2) / from);
    return result < 1 ? 1 : result;
}

/* The side that the input limits is found first; the other one follows. */
static void keep_aspect(const struct detect_fit *fit, struct detect_view *view) {
    int64_t across = (int64_t)view->image_width * fit->height,
            down = (int64_t)view->image_height * fit->width;
    bool wide = across >= down; /* the input's width limits */
    int limit = wide ? fit->width : fit->height, side = wide ? view->image_width : view->image_height;
    int shorter = view->image_width < view->image_height ? view->image_width : view->image_height;
    if (fit->short_side > 0) {
        int asked = scaled(side, fit->short_side, shorter);
        if (asked < limit) limit = asked;
    }
    view->width = wide ? limit : scaled(view->image_width, limit, view->image_height);
    view->height = wide ? scaled(view->image_height, limit, view->image_width) : limit;
}

struct detect_view detect_view_fit(const struct detect_fit *fit, int image_width, int image_height) {
    struct detect_view view = {
        .image_width = image_width, .image_height = image_height, .width = fit->width, .height = fit->height};
    if (!fit->stretch) keep_aspect(fit, &view);
    view.x = (fit->width - view.width) / 2;
    view.y = (fit->height - view.height) / 2;
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
    if (view->flip_vertical) mirror(&box[1], &box[3], (float)view->image_height);
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
    if (view->flip_vertical) mirror(&box[1], &box[3], (float)view->image_height);
}
