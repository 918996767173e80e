/* Anchors: their geometry, and their sizes as text. */
#include "tasks/detect/anchors.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { LARGEST_INPUT = 8192 };

static void count_anchors(struct detect_anchors *anchors) {
    anchors->per_cell = anchors->size_count * anchors->ratio_count;
    anchors->count = 0;
    for (int i = 0; i < anchors->level_count; i++) {
        struct detect_level *level = &anchors->levels[i];
        level->first = anchors->count;
        anchors->count += level->width * level->height * anchors->per_cell;
    }
}

static void default_sizes(struct detect_anchors *anchors) {
    for (int i = 0; i < anchors->level_count; i++)
        for (int s = 0; s < anchors->size_count; s++)
            anchors->levels[i].sizes[s] =
                4.0f * (float)anchors->levels[i].stride * exp2f((float)s / (float)anchors->size_count);
}

lam_status detect_anchors_init(struct detect_anchors *anchors, int input_width, int input_height,
                               int first_stride, int levels) {
    if (input_width < 1 || input_height < 1 || input_width > LARGEST_INPUT || input_height > LARGEST_INPUT)
        return lam_fail(LAM_ERR_INVALID, "anchors for an input of %d x %d; each side must be in 1..%d",
                        input_width, input_height, LARGEST_INPUT);
    if (levels < 1 || levels > DETECT_MAX_LEVELS)
        return lam_fail(LAM_ERR_INVALID, "anchors on %d levels; 1..%d are possible", levels,
                        DETECT_MAX_LEVELS);
    if (first_stride < 1 || first_stride > LARGEST_INPUT)
        return lam_fail(LAM_ERR_INVALID, "anchors with a stride of %d; it must be in 1..%d", first_stride,
                        LARGEST_INPUT);
    *anchors = (struct detect_anchors){.input_width = input_width,
                                       .input_height = input_height,
                                       .level_count = levels,
                                       .size_count = 3,
                                       .ratio_count = 3,
                                       .ratios = {0.5f, 1, 2}};
    for (int i = 0; i < levels; i++) {
        int stride = first_stride << i;
        anchors->levels[i] = (struct detect_level){.stride = stride,
                                                   .width = (input_width + stride - 1) / stride,
                                                   .height = (input_height + stride - 1) / stride};
    }
    default_sizes(anchors);
    count_anchors(anchors);
    return LAM_OK;
}

lam_status detect_anchors_set_shapes(struct detect_anchors *anchors, int sizes, int ratio_count,
                                     const float *ratios) {
    if (sizes < 1 || sizes > DETECT_MAX_SIZES)
        return lam_fail(LAM_ERR_INVALID, "%d anchor sizes on a level; 1..%d are possible", sizes,
                        DETECT_MAX_SIZES);
    if (ratio_count < 1 || ratio_count > DETECT_MAX_RATIOS)
        return lam_fail(LAM_ERR_INVALID, "%d aspect ratios of anchors; 1..%d are possible", ratio_count,
                        DETECT_MAX_RATIOS);
    for (int i = 0; i < ratio_count; i++)
        if (!(ratios[i] >= 0.01f && ratios[i] <= 100))
            return lam_fail(LAM_ERR_INVALID, "an aspect ratio of %g for anchors is not in 0.01..100",
                            (double)ratios[i]);
    anchors->size_count = sizes;
    anchors->ratio_count = ratio_count;
    memcpy(anchors->ratios, ratios, (size_t)ratio_count * sizeof *ratios);
    default_sizes(anchors);
    count_anchors(anchors);
    return LAM_OK;
}

/* ---- sizes as text ---- */

/* The fewest digits that give the same float again. */
static size_t write_size(float value, const char *separator, char *text, size_t size) {
    char digits[32];
    for (int precision = 6; precision <= 9; precision++) {
        snprintf(digits, sizeof digits, "%.*g", precision, (double)value);
        if (strtof(digits, NULL) == value) break;
    }
    return (size_t)snprintf(text, size, "%s%s", separator, digits);
}

const char *detect_anchors_text(const struct detect_anchors *anchors, char *text, size_t size) {
    size_t used = 0;
    for (int i = 0; i < anchors->level_count; i++)
        for (int s = 0; s < anchors->size_count && used < size; s++)
            used += write_size(anchors->levels[i].sizes[s], s ? "," : i ? "/" : "", text + used, size - used);
    return text;
}

static lam_status bad_sizes(const char *text, const char *at, const char *expected) {
    return lam_fail(LAM_ERR_INVALID, "anchor sizes '%s', character %d: expected %s", text,
                    (int)(at - text) + 1, expected);
}

/* The sizes of one level, up to its slash or the end. */
static lam_status read_level(const char *text, const char **at, float *sizes, int *count) {
    for (*count = 0;; (*at)++) {
        char *end;
        float size = strtof(*at, &end);
        if (end == *at || !(size > 0 && size <= LARGEST_INPUT))
            return bad_sizes(text, *at, "a size in pixels above 0");
        if (*count == DETECT_MAX_SIZES) return bad_sizes(text, *at, "fewer sizes on a level (6 at most)");
        if (*count && size < sizes[*count - 1]) return bad_sizes(text, *at, "rising sizes on each level");
        sizes[(*count)++] = size;
        *at = end;
        if (**at != ',') return LAM_OK;
    }
}

lam_status detect_anchors_set_sizes(struct detect_anchors *anchors, const char *text) {
    struct detect_anchors changed = *anchors;
    const char *at = text;
    for (int i = 0; i < anchors->level_count; i++) {
        int count;
        LAM_TRY(read_level(text, &at, changed.levels[i].sizes, &count));
        if (i == 0) changed.size_count = count;
        if (count != changed.size_count) return bad_sizes(text, at, "as many sizes on every level");
        bool last = i + 1 == anchors->level_count;
        if (!last && *at != '/')
            return bad_sizes(text, at, *at ? "a comma or slash" : "sizes of more levels");
        if (!last) at++;
    }
    if (*at)
        return bad_sizes(text, at, *at == '/' ? "no more levels than the network has" : "a comma or slash");
    count_anchors(&changed);
    *anchors = changed;
    return LAM_OK;
}

/* ---- geometry ---- */

void detect_anchor_shape(const struct detect_anchors *anchors, const struct detect_level *level, int shape,
                         float *width, float *height) {
    float size = level->sizes[shape / anchors->ratio_count];
    float stretch = sqrtf(anchors->ratios[shape % anchors->ratio_count]);
    *width = size / stretch;
    *height = size * stretch;
}

void detect_anchor_corners(const struct detect_anchors *anchors, int index, float corners[4]) {
    const struct detect_level *level = &anchors->levels[anchors->level_count - 1];
    while (index < level->first) level--;
    int cell = (index - level->first) / anchors->per_cell, shape = (index - level->first) % anchors->per_cell;
    float width, height;
    detect_anchor_shape(anchors, level, shape, &width, &height);
    detect_anchor_place(level, cell % level->width, cell / level->width, width, height, corners);
}

void detect_anchors_write(const struct detect_anchors *anchors, float (*corners)[4]) {
    for (int i = 0; i < anchors->count; i++) detect_anchor_corners(anchors, i, corners[i]);
}
