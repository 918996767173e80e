/* How well anchors fit a set of boxes, and sizes that fit better.
 *
 * Of all anchors of one shape on one level, the one in the cell nearest to a box's centre overlaps it best:
 * the overlap along each axis only falls with the distance of the centres. So the best IoU of a box is found
 * among as many anchors as there are shapes, on the true grid: a small box on a coarse level counts as badly
 * as it will be matched.
 *
 * The fit climbs the mean of that, one size at a time by a factor up or down, with factors that shrink, from
 * several beginnings: what was there, quantiles of the boxes' sizes, sizes spread evenly on a log scale, and
 * around the one size for each level that fits best; the best result is taken. Sizes keep their order over
 * the levels: heads that are shared by all levels want objects that are larger where the cells are. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "tasks/detect/anchors.h"
#include "tasks/detect/boxes.h"

enum { MOST_BOXES = 20000, ROUNDS = 20 };

/* Boxes, each with its weight in the mean: all classes count alike, as they do in average precision. */
struct objects {
    float (*boxes)[4];
    float *weights; /* sum 1 */
    int64_t count;
};

/* Column m is what size m % size_count of level m / size_count gives. */
struct fit {
    struct detect_anchors anchors; /* being fitted */
    struct objects data;
    int columns;
    float *ious;  /* [columns][count]: best IoU of each box with the anchors of one size */
    float *rest;  /* [count]: best over all columns but one */
    float *trial; /* [count]: a column for another size */
};

static int nearest_cell(float centre, int stride, int cells) {
    float cell = floorf(centre / (float)stride);
    return cell < 0 ? 0 : cell >= (float)cells ? cells - 1 : (int)cell;
}

/* Best IoU of a box with the anchors of size `s` on a level, all ratios. */
static float best_of_size(const struct detect_anchors *anchors, const struct detect_level *level, int s,
                          const float box[4]) {
    int column = nearest_cell((box[0] + box[2]) / 2, level->stride, level->width);
    int row = nearest_cell((box[1] + box[3]) / 2, level->stride, level->height);
    float best = 0;
    for (int r = 0; r < anchors->ratio_count; r++) {
        float width, height, corners[4];
        detect_anchor_shape(anchors, level, s * anchors->ratio_count + r, &width, &height);
        detect_anchor_place(level, column, row, width, height, corners);
        float iou = detect_iou(box, corners);
        if (iou > best) best = iou;
    }
    return best;
}

/* ---- the boxes that count ---- */

enum { MOST_CLASSES = 1 << 16 };

static void free_data(struct objects *data) {
    free(data->boxes);
    free(data->weights);
}

static lam_status check_boxes(const struct lam_box *boxes, int64_t count, int64_t *taken) {
    *taken = 0;
    for (int64_t i = 0; i < count; i++) {
        LAM_TRY(detect_box_check(&boxes[i], i));
        if (boxes[i].label < 0 || boxes[i].label >= MOST_CLASSES)
            return lam_fail(LAM_ERR_FORMAT, "box %lld: label %d is not in 0..%d", (long long)i,
                            boxes[i].label, MOST_CLASSES - 1);
        *taken += !boxes[i].crowd;
    }
    return LAM_OK;
}

/* labels[i]: class of box i; in_class: room for a count of each. */
static void weigh(struct objects *data, const int *labels, int *in_class) {
    int classes = 0;
    for (int64_t i = 0; i < data->count; i++) classes += in_class[labels[i]]++ == 0;
    for (int64_t i = 0; i < data->count; i++)
        data->weights[i] = 1 / ((float)classes * (float)in_class[labels[i]]);
}

/* Those that are no crowds, evenly thinned out to at most `most`. */
static lam_status take_boxes(const struct lam_box *boxes, int64_t count, int64_t most, struct objects *data) {
    int64_t all;
    LAM_TRY(check_boxes(boxes, count, &all));
    int64_t kept = all < most ? all : most;
    size_t room = (size_t)kept + 1;
    *data = (struct objects){malloc(room * sizeof *data->boxes), malloc(room * sizeof(float)), 0};
    int *labels = malloc(room * sizeof *labels), *in_class = calloc(MOST_CLASSES, sizeof *in_class);
    lam_status status = data->boxes && data->weights && labels && in_class ? LAM_OK : lam_no_memory();
    if (status == LAM_OK) {
        int64_t number = 0; /* of a box among those that are no crowds */
        for (int64_t i = 0; i < count; i++) {
            if (boxes[i].crowd || number++ != data->count * all / kept) continue;
            float corners[4] = {boxes[i].x0, boxes[i].y0, boxes[i].x1, boxes[i].y1};
            memcpy(data->boxes[data->count], corners, sizeof corners);
            labels[data->count++] = boxes[i].label;
        }
        weigh(data, labels, in_class);
    } else {
        free_data(data);
    }
    free(labels);
    free(in_class);
    return status;
}

lam_status detect_anchors_measure(const struct detect_anchors *anchors, const struct lam_box *boxes,
                                  int64_t count, struct detect_anchor_quality *quality) {
    struct objects data;
    LAM_TRY(take_boxes(boxes, count, INT64_MAX, &data));
    *quality = (struct detect_anchor_quality){.boxes = data.count};
    for (int64_t i = 0; i < data.count; i++) {
        float best = 0;
        for (int l = 0; l < anchors->level_count; l++)
            for (int s = 0; s < anchors->size_count; s++)
                best = fmaxf(best, best_of_size(anchors, &anchors->levels[l], s, data.boxes[i]));
        quality->mean_iou += (double)data.weights[i] * (double)best;
        quality->recall += best >= 0.5f ? (double)data.weights[i] : 0;
    }
    free_data(&data);
    return LAM_OK;
}

/* ---- fitting ---- */

static float *size_of(struct fit *fit, int column) {
    int sizes = fit->anchors.size_count;
    return &fit->anchors.levels[column / sizes].sizes[column % sizes];
}

static void fill_column(const struct fit *fit, int column, float *ious) {
    int sizes = fit->anchors.size_count;
    const struct detect_level *level = &fit->anchors.levels[column / sizes];
    for (int64_t i = 0; i < fit->data.count; i++)
        ious[i] = best_of_size(&fit->anchors, level, column % sizes, fit->data.boxes[i]);
}

static void fill_rest(struct fit *fit, int without) {
    memset(fit->rest, 0, (size_t)fit->data.count * sizeof *fit->rest);
    for (int m = 0; m < fit->columns; m++) {
        const float *ious = fit->ious + (size_t)m * (size_t)fit->data.count;
        for (int64_t i = 0; m != without && i < fit->data.count; i++)
            fit->rest[i] = ious[i] > fit->rest[i] ? ious[i] : fit->rest[i];
    }
}

static double mean_with(const struct fit *fit, const float *ious) {
    double sum = 0;
    for (int64_t i = 0; i < fit->data.count; i++)
        sum += (double)fit->data.weights[i] * (double)(ious[i] > fit->rest[i] ? ious[i] : fit->rest[i]);
    return sum;
}

/* Tenths of a pixel, so that the sizes look well in a record. */
static float rounded(float size) {
    float largest = 8192;
    size = roundf(size * 10) / 10;
    return size < 1 ? 1 : size > largest ? largest : size;
}

/* Between its neighbours of all levels. */
static bool in_order(struct fit *fit, int column, float size) {
    return (column == 0 || size >= *size_of(fit, column - 1)) &&
           (column + 1 == fit->columns || size <= *size_of(fit, column + 1));
}

/* Tries one size larger and smaller by a factor; returns by how much the mean rose. */
static double try_column(struct fit *fit, int column, float factor) {
    float *ious = fit->ious + (size_t)column * (size_t)fit->data.count;
    float *size = size_of(fit, column), kept = *size, chosen = kept;
    fill_rest(fit, column);
    double before = mean_with(fit, ious), best = before;
    const float candidates[2] = {rounded(kept * factor), rounded(kept / factor)};
    for (int k = 0; k < 2; k++) {
        if (!in_order(fit, column, candidates[k])) continue;
        *size = candidates[k];
        fill_column(fit, column, fit->trial);
        double mean = mean_with(fit, fit->trial);
        if (mean <= best + 1e-9) continue;
        best = mean;
        chosen = candidates[k];
        memcpy(ious, fit->trial, (size_t)fit->data.count * sizeof *ious);
    }
    *size = chosen;
    return best - before;
}

static double climb(struct fit *fit) {
    static const float factors[] = {1.6f, 1.25f, 1.1f, 1.04f, 1.015f};
    for (int m = 0; m < fit->columns; m++)
        fill_column(fit, m, fit->ious + (size_t)m * (size_t)fit->data.count);
    for (size_t f = 0; f < sizeof factors / sizeof factors[0]; f++)
        for (int round = 0; round < ROUNDS; round++) {
            double gained = 0;
            for (int m = 0; m < fit->columns; m++) gained += try_column(fit, m, factors[f]);
            if (gained < 1e-5) break;
        }
    fill_rest(fit, -1);
    return mean_with(fit, fit->rest);
}

static int rising(const void *a, const void *b) {
    float x = *(const float *)a, y = *(const float *)b;
    return (x > y) - (x < y);
}

enum beginning { AS_IT_IS, QUANTILES, EVEN, AROUND_ONE, BEGINNINGS };

static void fit_best(struct fit *fit, const float *sizes, struct detect_anchors *anchors);

/* The best single size of each level, and the others around it within an octave. */
static void begin_around_one(struct fit *fit, const float *sizes) {
    int count = fit->anchors.size_count;
    struct detect_anchors whole = fit->anchors, one = whole;
    one.size_count = 1;
    fit->columns = one.level_count;
    fit_best(fit, sizes, &one);
    fit->anchors = whole;
    fit->columns = whole.level_count * count;
    float least = 0; /* octaves of two levels may overlap */
    for (int m = 0; m < fit->columns; m++) {
        float octave = (2 * (float)(m % count) - (float)(count - 1)) / (2 * (float)count);
        least = fmaxf(least, rounded(one.levels[m / count].sizes[0] * exp2f(octave)));
        *size_of(fit, m) = least;
    }
}

static void begin(struct fit *fit, enum beginning beginning, const float *sizes) {
    int64_t count = fit->data.count;
    float low = sizes[count / 100], high = sizes[count - 1 - count / 100];
    if (beginning == AROUND_ONE) begin_around_one(fit, sizes);
    if (beginning != QUANTILES && beginning != EVEN) return;
    for (int m = 0; m < fit->columns; m++) {
        float place = ((float)m + 0.5f) / (float)fit->columns;
        float quantile = sizes[(int64_t)((double)place * (double)count)];
        *size_of(fit, m) = rounded(beginning == QUANTILES ? quantile : low * powf(high / low, place));
    }
}

static void fit_best(struct fit *fit, const float *sizes, struct detect_anchors *anchors) {
    struct detect_anchors before = *anchors;
    double best = -1;
    for (int k = 0; k < (before.size_count > 1 ? BEGINNINGS : AROUND_ONE); k++) {
        fit->anchors = before;
        begin(fit, (enum beginning)k, sizes);
        double mean = climb(fit);
        if (mean <= best + 1e-9) continue;
        best = mean;
        *anchors = fit->anchors;
    }
}

static lam_status fit_objects(struct fit *fit, struct detect_anchors *anchors) {
    size_t count = (size_t)fit->data.count;
    fit->columns = anchors->level_count * anchors->size_count;
    float *memory = malloc(((size_t)fit->columns + 3) * count * sizeof *memory);
    if (!memory) return lam_no_memory();
    float *sizes = memory;
    fit->rest = sizes + count;
    fit->trial = fit->rest + count;
    fit->ious = fit->trial + count;
    for (size_t i = 0; i < count; i++) sizes[i] = sqrtf(detect_area(fit->data.boxes[i]));
    qsort(sizes, count, sizeof *sizes, rising);
    fit_best(fit, sizes, anchors);
    free(memory);
    return LAM_OK;
}

lam_status detect_anchors_fit(struct detect_anchors *anchors, const struct lam_box *boxes, int64_t count) {
    struct fit fit = {0};
    LAM_TRY(take_boxes(boxes, count, MOST_BOXES, &fit.data));
    lam_status status =
        fit.data.count
            ? fit_objects(&fit, anchors)
            : lam_fail(LAM_ERR_INVALID, "there are no boxes to fit anchors to; give the anchors' sizes");
    free_data(&fit.data);
    return status;
}
