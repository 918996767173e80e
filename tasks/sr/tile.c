/* Along each axis tiles follow each other in steps of what is taken of an inner one, side - 2 * radius; the last
 * is moved back to end with the image, so that all are of one size. Each takes what the one before it left. */
#include "tasks/sr/tile.h"

#include <stdbool.h>
#include <string.h>

static int tiles_along(int size, int tile, int radius) {
    int step = tile - 2 * radius;
    return size <= tile ? 1 : 1 + (size - tile + step - 1) / step;
}

lam_status sr_tiling_make(int width, int height, int side, int radius, int scale, struct sr_tiling *tiling) {
    if (width < 1 || height < 1 || side < 1 || radius < 0 || scale < 1)
        return lam_fail(LAM_ERR_INVALID, "tiles of %d with a radius of %d in %d x %d pixels at x%d", side,
                        radius, width, height, scale);
    bool several = width > side || height > side;
    if (several && (radius > side / 2 || side <= 2 * radius))
        return lam_fail(LAM_ERR_INVALID,
                        "tiles of %d pixels keep nothing when each pixel sees %d to each side; %lld at least",
                        side, radius, 2 * (long long)radius + 1);
    *tiling = (struct sr_tiling){.width = width,
                                 .height = height,
                                 .tile_width = width < side ? width : side,
                                 .tile_height = height < side ? height : side,
                                 .radius = radius,
                                 .scale = scale};
    tiling->columns = tiles_along(width, side, radius);
    tiling->rows = tiles_along(height, side, radius);
    return LAM_OK;
}

static int start_of(int i, int size, int tile, int radius) {
    int64_t start = (int64_t)i * (tile - 2 * radius);
    return start + tile > size ? size - tile : (int)start;
}

/* What tile i of n takes: [*begin, *end). */
static void taken_of(int i, int n, int size, int tile, int radius, int *begin, int *end) {
    *begin = i == 0 ? 0 : start_of(i - 1, size, tile, radius) + tile - radius;
    *end = i == n - 1 ? size : start_of(i, size, tile, radius) + tile - radius;
}

struct sr_tile sr_tiling_at(const struct sr_tiling *tiling, int index) {
    int column = index % tiling->columns, row = index / tiling->columns, x0, x1, y0, y1;
    taken_of(column, tiling->columns, tiling->width, tiling->tile_width, tiling->radius, &x0, &x1);
    taken_of(row, tiling->rows, tiling->height, tiling->tile_height, tiling->radius, &y0, &y1);
    return (struct sr_tile){
        .from = {start_of(column, tiling->width, tiling->tile_width, tiling->radius),
                 start_of(row, tiling->height, tiling->tile_height, tiling->radius), tiling->tile_width,
                 tiling->tile_height},
        .take = {x0, y0, x1 - x0, y1 - y0},
        .scale = tiling->scale,
    };
}

void sr_tile_cut(const struct sr_tile *tile, const struct sr_planes *image, float *input) {
    const struct sr_rect *from = &tile->from;
    for (int c = 0; c < image->channels; c++)
        for (int y = 0; y < from->height; y++, input += from->width) {
            size_t row = (size_t)c * (size_t)image->height + (size_t)(from->y + y);
            memcpy(input, image->data + row * (size_t)image->width + from->x,
                   (size_t)from->width * sizeof *input);
        }
}

void sr_tile_paste(const struct sr_tile *tile, const float *output, struct sr_planes *result) {
    const struct sr_rect *from = &tile->from, *take = &tile->take;
    int scale = tile->scale, stride = scale * from->width, height = scale * take->height;
    output += (size_t)(scale * (take->y - from->y)) * (size_t)stride + (size_t)(scale * (take->x - from->x));
    for (int c = 0; c < result->channels; c++)
        for (int y = 0; y < height; y++) {
            size_t from_row = (size_t)c * (size_t)(scale * from->height) + (size_t)y;
            size_t to_row = (size_t)c * (size_t)result->height + (size_t)(scale * take->y + y);
            memcpy(result->data + to_row * (size_t)result->width + scale * take->x,
                   output + from_row * (size_t)stride, (size_t)(scale * take->width) * sizeof *output);
        }
}
