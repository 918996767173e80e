/* Assignment by geometry instead of by a matrix of all overlaps.
 *
 * For a box and an anchor shape, an IoU of t needs a shared area of at least t / (1 + t) times the sum of
 * both areas, so a certain overlap along each axis, so centres no farther apart than a certain distance: a
 * small range of cells. Every anchor in it is compared exactly. To find a box's best anchor, t is the IoU of
 * the best anchor among the nearest cells, which is the best of all but for rounding.
 *
 * While boxes are gone through, the targets themselves hold the state: classes[a] the number of the anchor's
 * box, weights[a] their IoU, negative when the anchor is forced to that box. */
#include "tasks/detect/assign.h"

#include <math.h>
#include <string.h>

#include "tasks/detect/boxes.h"

/* Bounds are made looser by this share, far more than rounding can do. */
static const float slack = 1e-3f;

struct match {
    float iou;
    int anchor;
};

/* One shape of a level, against one box. */
struct shape {
    const struct detect_level *level;
    int number;
    float width, height;
};

struct range {
    int first, end;
};

/* What all steps for one box need. */
struct matcher {
    const struct detect_assign_options *options;
    const struct detect_anchors *anchors;
    const struct detect_targets *targets;
    float box[4];
    int number; /* of the box */
};

static void corners_of(const struct lam_box *box, float corners[4]) {
    corners[0] = box->x0;
    corners[1] = box->y0;
    corners[2] = box->x1;
    corners[3] = box->y1;
}

static struct shape shape_of(const struct detect_anchors *anchors, int level, int number) {
    struct shape shape = {.level = &anchors->levels[level], .number = number};
    detect_anchor_shape(anchors, shape.level, number, &shape.width, &shape.height);
    return shape;
}

static int anchor_at(const struct detect_anchors *anchors, const struct shape *shape, int column, int row) {
    return shape->level->first + (row * shape->level->width + column) * anchors->per_cell + shape->number;
}

static int clamp_cell(float cell, int cells) {
    return cell < 0 ? 0 : cell >= (float)cells ? cells - 1 : (int)cell;
}

/* Cells of one axis whose anchors (length `side`) overlap [from, to] by at least `overlap`. */
static struct range cells_near(float from, float to, float side, float overlap, int stride, int cells) {
    float reach = (side + (to - from)) / 2 - overlap, centre = (from + to) / 2, step = (float)stride;
    if (reach < 0) reach = 0;
    reach += slack * (side + (to - from) + step); /* a little of a cell too many does no harm */
    float first = ceilf((centre - reach) / step - 0.5f), last = floorf((centre + reach) / step - 0.5f);
    if (last < 0 || first >= (float)cells || last < first) return (struct range){0, 0};
    return (struct range){clamp_cell(first, cells), clamp_cell(last, cells) + 1};
}

/* The cells whose anchors of this shape may share at least `shared` pixels with the box; false if none can.
 */
static bool find_cells(const struct shape *shape, const float box[4], float shared, struct range *columns,
                       struct range *rows) {
    float width = fminf(shape->width, box[2] - box[0]), height = fminf(shape->height, box[3] - box[1]);
    shared *= 1 - slack;
    if (width * height < shared) return false;
    const struct detect_level *level = shape->level;
    *columns = cells_near(box[0], box[2], shape->width, shared / height, level->stride, level->width);
    *rows = cells_near(box[1], box[3], shape->height, shared / width, level->stride, level->height);
    return columns->end > columns->first && rows->end > rows->first;
}

/* ---- boxes ---- */

/* The best of the anchors in the cells that are nearest to the box's centre. */
static float best_nearby(const struct matcher *m) {
    const struct detect_anchors *anchors = m->anchors;
    float best = 0;
    for (int l = 0; l < anchors->level_count; l++) {
        const struct detect_level *level = &anchors->levels[l];
        int column = clamp_cell((m->box[0] + m->box[2]) / 2 / (float)level->stride, level->width);
        int row = clamp_cell((m->box[1] + m->box[3]) / 2 / (float)level->stride, level->height);
        for (int s = 0; s < anchors->per_cell; s++) {
            struct shape shape = shape_of(anchors, l, s);
            float corners[4];
            detect_anchor_place(level, column, row, shape.width, shape.height, corners);
            best = fmaxf(best, detect_iou(m->box, corners));
        }
    }
    return best;
}

/* All anchors of one shape that may reach an IoU of `least`. */
static void match_shape(const struct matcher *m, const struct shape *shape, float least, struct match *best) {
    float areas = shape->width * shape->height + detect_area(m->box);
    struct range columns, rows;
    if (!find_cells(shape, m->box, least / (1 + least) * areas, &columns, &rows)) return;
    int32_t *classes = m->targets->classes;
    float *weights = m->targets->weights;
    for (int row = rows.first; row < rows.end; row++)
        for (int column = columns.first; column < columns.end; column++) {
            float corners[4];
            detect_anchor_place(shape->level, column, row, shape->width, shape->height, corners);
            float iou = detect_iou(m->box, corners);
            int anchor = anchor_at(m->anchors, shape, column, row);
            if (iou > best->iou || (iou == best->iou && anchor < best->anchor))
                *best = (struct match){iou, anchor};
            if (weights[anchor] < 0 || iou <= weights[anchor]) continue; /* forced, or another box's */
            weights[anchor] = iou;
            classes[anchor] = m->number;
        }
}

static void match_box(const struct matcher *m) {
    float least = m->options->negative;
    struct match best = {0, 0};
    if (m->options->force_best) least = fminf(least, best_nearby(m));
    if (least <= 0) return; /* out of every anchor's reach */
    for (int l = 0; l < m->anchors->level_count; l++)
        for (int s = 0; s < m->anchors->per_cell; s++) {
            struct shape shape = shape_of(m->anchors, l, s);
            match_shape(m, &shape, least, &best);
        }
    if (!m->options->force_best || best.iou <= 0) return;
    float *held = &m->targets->weights[best.anchor];
    if (*held < 0 && best.iou <= -*held) return; /* it is the best of another box too, which has more of it */
    *held = -best.iou;
    m->targets->classes[best.anchor] = m->number;
}

/* Ignores anchors that lie in a region by half of their area. */
static void ignore_region(const struct matcher *m, const struct shape *shape) {
    struct range columns, rows;
    if (!find_cells(shape, m->box, shape->width * shape->height / 2, &columns, &rows)) return;
    for (int row = rows.first; row < rows.end; row++)
        for (int column = columns.first; column < columns.end; column++) {
            float corners[4];
            detect_anchor_place(shape->level, column, row, shape->width, shape->height, corners);
            int anchor = anchor_at(m->anchors, shape, column, row);
            float held = m->targets->weights[anchor];
            if (held < 0 || held >= m->options->positive) continue;
            if (detect_intersection(m->box, corners) >= 0.5f * detect_area(corners))
                m->targets->classes[anchor] = DETECT_IGNORED;
        }
}

/* ---- the targets ---- */

/* From numbers of boxes to classes; returns how many anchors are positive, whose weights become 1. */
static int settle(const struct detect_assign_options *options, const struct detect_anchors *anchors,
                  const struct lam_box *boxes, const struct detect_targets *targets) {
    int positives = 0;
    for (int a = 0; a < anchors->count; a++) {
        int32_t box = targets->classes[a];
        float iou = targets->weights[a];
        targets->weights[a] = 0;
        if (box < 0) continue;
        if (iou >= 0 && iou < options->positive) {
            targets->classes[a] = iou < options->negative ? DETECT_BACKGROUND : DETECT_IGNORED;
            continue;
        }
        float corners[4], anchor[4];
        corners_of(&boxes[box], corners);
        detect_anchor_corners(anchors, a, anchor);
        if (targets->deltas) detect_encode(anchor, corners, targets->deltas + 4 * (size_t)a);
        if (targets->corners) memcpy(targets->corners + 4 * (size_t)a, corners, sizeof corners);
        targets->classes[a] = boxes[box].label;
        targets->weights[a] = 1;
        positives++;
    }
    return positives;
}

static lam_status check(const struct detect_assign_options *options, int classes, const struct lam_box *boxes,
                        int count) {
    if (!(options->negative > 0 && options->negative <= options->positive && options->positive <= 1))
        return lam_fail(LAM_ERR_INVALID,
                        "anchors negative below an IoU of %g and positive from %g; both must "
                        "rise within 0..1",
                        (double)options->negative, (double)options->positive);
    for (int i = 0; i < count; i++) {
        LAM_TRY(detect_box_check(&boxes[i], i));
        if (boxes[i].label < 0 || boxes[i].label >= classes)
            return lam_fail(LAM_ERR_FORMAT, "box %d: label %d is not one of the %d classes", i,
                            boxes[i].label, classes);
    }
    return LAM_OK;
}

lam_status detect_assign(const struct detect_assign_options *options, const struct detect_anchors *anchors,
                         int classes, const struct lam_box *boxes, int count,
                         const struct detect_targets *targets) {
    LAM_TRY(check(options, classes, boxes, count));
    size_t all = (size_t)anchors->count;
    for (size_t a = 0; a < all; a++) targets->classes[a] = DETECT_BACKGROUND;
    memset(targets->weights, 0, all * sizeof(float));
    if (targets->deltas) memset(targets->deltas, 0, 4 * all * sizeof(float));
    if (targets->corners) memset(targets->corners, 0, 4 * all * sizeof(float));

    struct matcher m = {.options = options, .anchors = anchors, .targets = targets};
    for (int regions = 0; regions < 2; regions++) /* objects first: what is positive stays so */
        for (m.number = 0; m.number < count; m.number++) {
            const struct lam_box *box = &boxes[m.number];
            if ((box->crowd || box->difficult) != (bool)regions) continue;
            corners_of(box, m.box);
            if (!regions) match_box(&m);
            for (int s = 0; regions && s < anchors->level_count * anchors->per_cell; s++) {
                struct shape shape = shape_of(anchors, s / anchors->per_cell, s % anchors->per_cell);
                ignore_region(&m, &shape);
            }
        }
    int positives = settle(options, anchors, boxes, targets);
    float share = 1 / (float)(positives > 1 ? positives : 1);
    for (size_t a = 0; a < all; a++) targets->weights[a] *= share;
    *targets->normaliser = share;
    return LAM_OK;
}
