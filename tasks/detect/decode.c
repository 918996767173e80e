/* Decoding: the best candidates of each level through a heap, so that memory does not depend on how many
 * pass the threshold; then boxes in the original image; then suppression within each class. */
#include "tasks/detect/decode.h"

#include <limits.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "tasks/detect/boxes.h"

/* ---- lists ---- */

void detect_list_free(struct detect_list *list) {
    free(list->items);
    *list = (struct detect_list){0};
}

lam_status detect_list_add(struct detect_list *list, const struct detect_found *item) {
    if (list->count == list->room) {
        int room = list->room ? 2 * list->room : 64;
        struct detect_found *items = realloc(list->items, (size_t)room * sizeof *items);
        if (!items) return lam_no_memory();
        list->items = items;
        list->room = room;
    }
    list->items[list->count++] = *item;
    return LAM_OK;
}

/* ---- suppression ---- */

struct key {
    float score;
    int index;
};

static int by_falling_score(const void *a, const void *b) {
    const struct key *x = a, *y = b;
    if (x->score != y->score) return x->score < y->score ? 1 : -1;
    return (x->index > y->index) - (x->index < y->index);
}

/* Stable. */
static lam_status sort_list(struct detect_list *list) {
    size_t count = (size_t)list->count;
    if (count < 2) return LAM_OK;
    struct key *keys = malloc(count * sizeof *keys);
    struct detect_found *sorted = malloc(count * sizeof *sorted);
    lam_status status = keys && sorted ? LAM_OK : lam_no_memory();
    if (status == LAM_OK) {
        for (size_t i = 0; i < count; i++) keys[i] = (struct key){list->items[i].score, (int)i};
        qsort(keys, count, sizeof *keys, by_falling_score);
        for (size_t i = 0; i < count; i++) sorted[i] = list->items[keys[i].index];
        memcpy(list->items, sorted, count * sizeof *sorted);
    }
    free(keys);
    free(sorted);
    return status;
}

/* Of a sorted list; the kept ones gather at its beginning. */
static void suppress(struct detect_list *list, float iou, int max_kept) {
    int kept = 0;
    for (int i = 0; i < list->count && (max_kept <= 0 || kept < max_kept); i++) {
        const struct detect_found *item = &list->items[i];
        bool covered = false;
        for (int k = 0; k < kept && !covered; k++)
            covered = list->items[k].label == item->label &&
                      detect_iou(list->items[k].corners, item->corners) > iou;
        if (!covered) list->items[kept++] = *item;
    }
    list->count = kept;
}

static bool finite4(const float *values) {
    return isfinite(values[0]) && isfinite(values[1]) && isfinite(values[2]) && isfinite(values[3]);
}

lam_status detect_nms(struct detect_list *list, float iou, int max_kept) {
    for (int i = 0; i < list->count; i++)
        if (!isfinite(list->items[i].score) || !finite4(list->items[i].corners))
            return lam_fail(LAM_ERR_NOT_FINITE, "box %d of %d to suppress is not finite", i, list->count);
    LAM_TRY(sort_list(list));
    suppress(list, iou, max_kept);
    return LAM_OK;
}

/* ---- candidates ---- */

struct candidate {
    float logit;
    int anchor, label;
};

/* A heap with the worst at the root, of `limit` candidates at most. */
struct heap {
    struct candidate *items;
    int count, room, limit;
};

static bool better(const struct candidate *a, const struct candidate *b) {
    if (a->logit != b->logit) return a->logit > b->logit;
    if (a->anchor != b->anchor) return a->anchor < b->anchor;
    return a->label < b->label;
}

static int best_first(const void *a, const void *b) {
    return better(a, b) ? -1 : better(b, a);
}

static lam_status grow(struct heap *heap) {
    if (heap->count < heap->room) return LAM_OK;
    int room = heap->room ? 2 * heap->room : 256;
    struct candidate *items = realloc(heap->items, (size_t)room * sizeof *items);
    if (!items) return lam_no_memory();
    heap->items = items;
    heap->room = room;
    return LAM_OK;
}

static void sift_up(struct candidate *items, int at, struct candidate added) {
    for (; at > 0 && better(&items[(at - 1) / 2], &added); at = (at - 1) / 2) items[at] = items[(at - 1) / 2];
    items[at] = added;
}

static void replace_root(struct candidate *items, int count, struct candidate added) {
    int at = 0;
    for (int child; (child = 2 * at + 1) < count; at = child) {
        if (child + 1 < count && better(&items[child], &items[child + 1])) child++;
        if (!better(&added, &items[child])) break;
        items[at] = items[child];
    }
    items[at] = added;
}

static lam_status offer(struct heap *heap, struct candidate added) {
    if (heap->count == heap->limit) {
        if (better(&added, &heap->items[0])) replace_root(heap->items, heap->count, added);
        return LAM_OK;
    }
    LAM_TRY(grow(heap));
    sift_up(heap->items, heap->count++, added);
    return LAM_OK;
}

/* The best of the anchors [first, end), best first. */
static lam_status collect(struct heap *heap, const float *logits, int classes, int first, int end,
                          float least) {
    heap->count = 0;
    for (int a = first; a < end; a++) {
        const float *row = logits + (size_t)a * (size_t)classes;
        for (int c = 0; c < classes; c++)
            if (row[c] >= least && isfinite(row[c])) LAM_TRY(offer(heap, (struct candidate){row[c], a, c}));
    }
    if (heap->count) qsort(heap->items, (size_t)heap->count, sizeof *heap->items, best_first);
    return LAM_OK;
}

/* ---- decoding ---- */

/* Into the original image; a candidate of which nothing lies there is left out. */
static lam_status add_candidate(const struct candidate *candidate, const struct detect_anchors *anchors,
                                const float *deltas, const struct detect_view *view,
                                struct detect_list *found) {
    const float *delta = deltas + 4 * (size_t)candidate->anchor;
    struct detect_found item = {.score = 1 / (1 + expf(-candidate->logit)), .label = candidate->label};
    float anchor[4];
    detect_anchor_corners(anchors, candidate->anchor, anchor);
    detect_decode_box(anchor, delta, item.corners);
    if (!finite4(item.corners)) return LAM_OK;
    detect_view_box_back(view, item.corners);
    if (!detect_clip(item.corners, (float)view->image_width, (float)view->image_height)) return LAM_OK;
    return detect_list_add(found, &item);
}

static lam_status decode_level(const struct detect_anchors *anchors, int level, const float *logits,
                               const float *deltas, int classes, float least, const struct detect_view *view,
                               struct heap *heap, struct detect_list *found) {
    bool last = level + 1 == anchors->level_count;
    int first = anchors->levels[level].first, end = last ? anchors->count : anchors->levels[level + 1].first;
    LAM_TRY(collect(heap, logits, classes, first, end, least));
    for (int i = 0; i < heap->count; i++)
        LAM_TRY(add_candidate(&heap->items[i], anchors, deltas, view, found));
    return LAM_OK;
}

/* The logit whose sigmoid is the least score. */
static float least_logit(float conf) {
    if (conf <= 0) return -INFINITY;
    if (conf >= 1) return INFINITY;
    return (float)log((double)conf / (1 - (double)conf));
}

static lam_status decode_all(const struct detect_decode_options *options,
                             const struct detect_anchors *anchors, const float *logits, const float *deltas,
                             int classes, const struct detect_view *view, struct heap *heap,
                             struct detect_list *found) {
    float least = least_logit(options->conf);
    for (int level = 0; level < anchors->level_count; level++)
        LAM_TRY(decode_level(anchors, level, logits, deltas, classes, least, view, heap, found));
    LAM_TRY(sort_list(found));
    if (options->top > 0 && found->count > options->top) found->count = options->top;
    suppress(found, options->iou, options->max_det);
    return LAM_OK;
}

lam_status detect_decode(const struct detect_decode_options *options, const struct detect_anchors *anchors,
                         const float *logits, const float *deltas, int classes,
                         const struct detect_view *view, struct detect_list *found) {
    struct heap heap = {.limit = options->top_level > 0 ? options->top_level : INT_MAX};
    found->count = 0;
    lam_status status = decode_all(options, anchors, logits, deltas, classes, view, &heap, found);
    if (status != LAM_OK) found->count = 0;
    free(heap.items);
    return status;
}
