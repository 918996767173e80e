#include "tasks/detect/confusion.h"

#include <stdlib.h>
#include <string.h>

#include "tasks/common/confusion_matrix.h"

struct detect_confusion {
    int classes;
    float conf, iou;
    int64_t *counts;
};

static size_t cells(const struct detect_confusion *c) {
    return ((size_t)c->classes + 1) * ((size_t)c->classes + 1);
}

lam_status detect_confusion_create(int classes, float conf, float iou, struct detect_confusion **created) {
    if (classes < 1) return lam_fail(LAM_ERR_INVALID, "a confusion matrix of %d classes", classes);
    if (!(iou > 0 && iou <= 1))
        return lam_fail(LAM_ERR_INVALID, "a confusion matrix at IoU %g, which is not in (0, 1]", (double)iou);
    struct detect_confusion *c = calloc(1, sizeof *c);
    if (!c) return lam_no_memory();
    *c = (struct detect_confusion){.classes = classes, .conf = conf, .iou = iou};
    c->counts = calloc(cells(c), sizeof *c->counts);
    if (!c->counts) {
        free(c);
        return lam_no_memory();
    }
    *created = c;
    return LAM_OK;
}

void detect_confusion_destroy(struct detect_confusion *c) {
    if (!c) return;
    free(c->counts);
    free(c);
}

void detect_confusion_clear(struct detect_confusion *c) {
    memset(c->counts, 0, cells(c) * sizeof *c->counts);
}

const int64_t *detect_confusion_counts(const struct detect_confusion *c) {
    return c->counts;
}

/* ---- an image ---- */

static bool is_counted(const struct lam_box *truth) {
    return !truth->crowd && !truth->difficult;
}

static void count(struct detect_confusion *c, int label, int guess) {
    c->counts[(size_t)label * ((size_t)c->classes + 1) + (size_t)guess]++;
}

/* The free box that counts and is overlapped most; -1 if none is overlapped enough. */
static int best_box(const struct detect_confusion *c, const struct detect_found *detection,
                    const struct lam_box *truths, int truth_count, const bool *taken) {
    double most = 0;
    int best = -1;
    for (int i = 0; i < truth_count; i++) {
        if (taken[i] || !is_counted(&truths[i])) continue;
        double overlap = detect_overlap(detection, &truths[i], false);
        if (overlap < (double)c->iou || overlap <= most) continue;
        most = overlap;
        best = i;
    }
    return best;
}

static bool is_excused(const struct detect_confusion *c, const struct detect_found *detection,
                       const struct lam_box *truths, int truth_count) {
    for (int i = 0; i < truth_count; i++)
        if (!is_counted(&truths[i]) &&
            detect_overlap(detection, &truths[i], truths[i].crowd) >= (double)c->iou)
            return true;
    return false;
}

static int compare(const void *a, const void *b, void *context) {
    const struct detect_found *detections = context;
    int i = *(const int *)a, j = *(const int *)b;
    int by_score = detect_compare_scores(detections[i].score, detections[j].score);
    return by_score ? by_score : i - j;
}

/* order: room for the numbers of the detections. */
static void match(struct detect_confusion *c, const struct detect_found *detections, int found,
                  const struct lam_box *truths, int truth_count, int *order, bool *taken) {
    int kept = 0;
    for (int i = 0; i < found; i++)
        if (detections[i].score >= c->conf) order[kept++] = i;
    qsort_r(order, (size_t)kept, sizeof *order, compare, (void *)detections);
    for (int k = 0; k < kept; k++) {
        const struct detect_found *d = &detections[order[k]];
        int box = best_box(c, d, truths, truth_count, taken);
        if (box >= 0) {
            taken[box] = true;
            count(c, truths[box].label, d->label);
        } else if (!is_excused(c, d, truths, truth_count)) {
            count(c, c->classes, d->label);
        }
    }
    for (int i = 0; i < truth_count; i++)
        if (!taken[i] && is_counted(&truths[i])) count(c, truths[i].label, c->classes);
}

lam_status detect_confusion_add(struct detect_confusion *c, const struct detect_found *detections, int found,
                                const struct lam_box *truths, int truth_count) {
    LAM_TRY(detect_check_image(c->classes, detections, found, truths, truth_count));
    int *order = malloc(((size_t)found + 1) * sizeof *order);
    bool *taken = calloc((size_t)truth_count + 1, sizeof *taken);
    lam_status status = order && taken ? LAM_OK : lam_no_memory();
    if (status == LAM_OK) match(c, detections, found, truths, truth_count, order, taken);
    free(order);
    free(taken);
    return status;
}

lam_status detect_confusion_write(const struct detect_confusion *c, char *const *names, const char *folder) {
    char background[] = "background", **all = malloc(((size_t)c->classes + 1) * sizeof *all);
    if (!all) return lam_no_memory();
    memcpy(all, names, (size_t)c->classes * sizeof *all);
    all[c->classes] = background;
    const struct confusion_matrix matrix = {.size = c->classes + 1, .counts = c->counts, .names = all};
    lam_status status = confusion_matrix_write(&matrix, folder);
    free(all);
    return status;
}
