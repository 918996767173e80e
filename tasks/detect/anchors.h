/* Anchors: the boxes that a RetinaNet (Lin et al. 2017) classifies and corrects, a few in each cell of each
 * level of its feature pyramid.
 *
 *     struct detect_anchors anchors;
 *     LAM_TRY(detect_anchors_init(&anchors, 320, 240, 8, 5));        // RetinaNet's own, P3..P7
 *     LAM_TRY(detect_anchors_fit(&anchors, boxes, count));           // or sizes that fit the data
 *     detect_anchors_text(&anchors, text, sizeof text);   // for the record: "16,20,25/32,40,51/..."
 *     LAM_TRY(detect_anchors_set_sizes(&anchors, text));             // as a resumed run does
 *     float (*corners)[4] = malloc((size_t)anchors.count * sizeof *corners);
 *     detect_anchors_write(&anchors, corners);
 *
 * The order is level, row, column, then size by size with all ratios of each. Every level has the same
 * number of anchors in a cell, so the heads can share their weights. A plain value: copy it as you like;
 * once set up, any thread.
 */
#ifndef LAM_TASKS_DETECT_ANCHORS_H
#define LAM_TASKS_DETECT_ANCHORS_H

#include "data/dataset.h"

enum { DETECT_MAX_LEVELS = 6, DETECT_MAX_SIZES = 6, DETECT_MAX_RATIOS = 5 };

struct detect_level {
    int stride;        /* pixels from cell to cell */
    int width, height; /* cells: ceil(input / stride), as convolutions with stride 2 and padding give */
    int first;         /* number of this level's first anchor */
    float sizes[DETECT_MAX_SIZES]; /* sqrt(area) in pixels, rising */
};

struct detect_anchors {
    int input_width, input_height;
    int level_count, size_count, ratio_count;
    float ratios[DETECT_MAX_RATIOS]; /* height / width */
    struct detect_level levels[DETECT_MAX_LEVELS];
    int per_cell; /* size_count * ratio_count */
    int count;    /* of all anchors */
};

/* Levels of stride first_stride, 2 first_stride, ...; sizes 4 stride * 2^(0, 1/3, 2/3), ratios 1/2, 1, 2. */
lam_status detect_anchors_init(struct detect_anchors *anchors, int input_width, int input_height,
                               int first_stride, int levels);
/* Other ratios (and as many as they are), other numbers of sizes: 4 stride * 2^(i / sizes). */
lam_status detect_anchors_set_shapes(struct detect_anchors *anchors, int sizes, int ratio_count,
                                     const float *ratios);

/* Sizes as text: commas between those of a level, slashes between levels. Every level must have as many. */
lam_status detect_anchors_set_sizes(struct detect_anchors *anchors, const char *text);
const char *detect_anchors_text(const struct detect_anchors *anchors, char *text, size_t size);

/* Width and height of the anchor `shape` (0 .. per_cell - 1) of a level. */
void detect_anchor_shape(const struct detect_anchors *anchors, const struct detect_level *level, int shape,
                         float *width, float *height);
/* Its corners in the cell (column, row): centred on ((column + 1/2) stride, (row + 1/2) stride). Not
 * clipped. */
static inline void detect_anchor_place(const struct detect_level *level, int column, int row, float width,
                                       float height, float corners[4]) {
    float x = ((float)column + 0.5f) * (float)level->stride, y = ((float)row + 0.5f) * (float)level->stride;
    corners[0] = x - width / 2;
    corners[1] = y - height / 2;
    corners[2] = x + width / 2;
    corners[3] = y + height / 2;
}
/* Corners of anchor number `index`. */
void detect_anchor_corners(const struct detect_anchors *anchors, int index, float corners[4]);
void detect_anchors_write(const struct detect_anchors *anchors, float (*corners)[4]); /* all `count` */

/* ---- fitted to the data ---- */

/* Means over classes of means over their boxes, so that a rare class counts as much as a common one. */
struct detect_anchor_quality {
    int64_t boxes;   /* that were looked at */
    double mean_iou; /* of a box and the anchor that overlaps it best */
    double recall;   /* share of boxes whose best anchor overlaps them by an IoU of at least 0.5 */
};

/* Over boxes in the input's pixels; crowds do not count. LAM_ERR_FORMAT as detect_box_check, and for a
 * negative label. */
lam_status detect_anchors_measure(const struct detect_anchors *anchors, const struct lam_box *boxes,
                                  int64_t count, struct detect_anchor_quality *quality);

/* Replaces the sizes of all levels by those for which the mean IoU of boxes and their best anchors is high;
 * never worse than what was there. Sizes rise over the levels too. The same boxes in the same order give the
 * same sizes; of a large set 20,000 boxes are looked at. LAM_ERR_INVALID when there are no boxes. */
lam_status detect_anchors_fit(struct detect_anchors *anchors, const struct lam_box *boxes, int64_t count);

#endif
