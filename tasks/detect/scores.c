/* Evaluation: from the network's outputs to objects, image by image in order, and what they are worth. */
#include <stdlib.h>
#include <string.h>

#include "base/files.h"
#include "tasks/common/shown.h"
#include "tasks/detect/curves.h"
#include "tasks/detect/internal.h"

/* Scores of the report's confusion matrix; the curves have all. */
#define CONFUSION_CONF 0.3f
#define CONFUSION_IOU  0.5f

lam_status detect_eval_begin(void *state) {
    struct detect *d = state;
    if (!d->ap) LAM_TRY(detect_ap_create(d->classes.count, &d->ap));
    if (!d->confusion)
        LAM_TRY(detect_confusion_create(d->classes.count, CONFUSION_CONF, CONFUSION_IOU, &d->confusion));
    detect_ap_clear(d->ap);
    detect_confusion_clear(d->confusion);
    d->shown_count = 0;
    return LAM_OK;
}

static lam_status read_outputs(struct detect *d, const struct lam_block *block) {
    struct lam_program *program = lam_block_program(block, LAM_BLOCK_EVAL);
    size_t rows = (size_t)d->config->batch * (size_t)d->anchors.count;
    LAM_TRY(lam_program_read(program, "classes", d->logits, rows * (size_t)d->classes.count * sizeof(float)));
    return lam_program_read(program, "deltas", d->deltas, rows * 4 * sizeof(float));
}

static lam_status decode(struct detect *d, int row, int width, int height, struct detect_list *found) {
    size_t anchors = (size_t)d->anchors.count;
    struct detect_fit fit = detect_fit_of(d);
    struct detect_view view = detect_view_fit(&fit, width, height);
    struct detect_decode_options options = DETECT_DECODE_DEFAULTS;
    options.conf = (float)d->own->conf;
    options.iou = (float)d->own->iou;
    options.max_det = (int)d->own->max_det;
    return detect_decode(&options, &d->anchors, d->logits + (size_t)row * anchors * (size_t)d->classes.count,
                         d->deltas + (size_t)row * anchors * 4, d->classes.count, &view, found);
}

static lam_status keep(struct detect *d, int64_t index) {
    struct detect_shown *shown = &d->shown[d->shown_count];
    shown->index = index;
    shown->found.count = 0;
    for (int i = 0; i < d->found.count; i++) LAM_TRY(detect_list_add(&shown->found, &d->found.items[i]));
    d->shown_count++;
    return LAM_OK;
}

static lam_status add_row(struct detect *d, int row, int64_t index) {
    int width, height;
    LAM_TRY(lam_dataset_read_boxes(d->val, index, &d->truth, &width, &height));
    LAM_TRY(decode(d, row, width, height, &d->found));
    LAM_TRY(detect_ap_add(d->ap, d->found.items, d->found.count, d->truth.boxes, d->truth.box_count));
    LAM_TRY(detect_confusion_add(d->confusion, d->found.items, d->found.count, d->truth.boxes,
                                 d->truth.box_count));
    return task_is_shown(index, detect_samples(d, LAM_SPLIT_VAL), d->shown_count, d->shown_capacity)
               ? keep(d, index)
               : LAM_OK;
}

lam_status detect_eval_batch(void *state, const struct lam_block *block, const struct lam_batch *batch) {
    struct detect *d = state;
    LAM_TRY(read_outputs(d, block));
    for (int row = 0; row < batch->count; row++) LAM_TRY(add_row(d, row, batch->indices[row]));
    return LAM_OK;
}

static double at_least_zero(double score) {
    return score < 0 ? 0 : score;
}

lam_status detect_eval_end(void *state, struct lam_score *scores, int *count) {
    struct detect *d = state;
    LAM_TRY(detect_ap_score(d->ap, &d->scores));
    scores[0] = (struct lam_score){"ap50", at_least_zero(d->scores.ap50)};
    scores[1] = (struct lam_score){"ap", at_least_zero(d->scores.ap)};
    *count = 2;
    return LAM_OK;
}

/* ---- as JSON ---- */

/* COCO's form of a result; image: its id, or its name where it is no number. */
static json_t *result(const struct detect *d, json_t *image, const struct detect_found *found) {
    const float *c = found->corners;
    int category = d->category_ids ? d->category_ids[found->label] : found->label + 1;
    return json_pack("{s:o, s:i, s:s, s:[f,f,f,f], s:f}", "image_id", image, "category_id", category,
                     "category", d->classes.names[found->label], "bbox", (double)c[0], (double)c[1],
                     (double)(c[2] - c[0]), (double)(c[3] - c[1]), "score", (double)found->score);
}

static json_t *results(const struct detect *d, json_t *image, const struct detect_list *found) {
    json_t *array = json_array();
    for (int i = 0; i < found->count; i++)
        json_array_append_new(array, result(d, json_incref(image), &found->items[i]));
    return array;
}

lam_status detect_show(void *state, struct lam_image *mosaic, json_t **list) {
    const struct detect *d = state;
    json_t *array = json_array();
    if (!array) return lam_no_memory();
    for (int i = 0; i < d->shown_count; i++) {
        char what[512];
        detect_describe(d, LAM_SPLIT_VAL, d->shown[i].index, what, sizeof what);
        json_t *id = json_integer((json_int_t)d->shown[i].index);
        json_array_append_new(array, json_pack("{s:I, s:s, s:o}", "index", (json_int_t)d->shown[i].index,
                                               "sample", what, "found", results(d, id, &d->shown[i].found)));
        json_decref(id);
    }
    lam_status status = detect_draw_shown(d, mosaic);
    if (status != LAM_OK)
        json_decref(array);
    else
        *list = array;
    return status;
}

/* ---- report ---- */

static lam_status write_files(const struct detect *d, const char *folder) {
    struct detect_curves curves = {0};
    LAM_TRY(detect_ap_curves(d->ap, &curves));
    lam_status status = detect_curves_write(&curves, d->classes.names, folder);
    detect_curves_free(&curves);
    LAM_TRY(status);
    return detect_confusion_write(d->confusion, d->classes.names, folder);
}

lam_status detect_report(void *state, FILE *table, json_t **json, const char *folder) {
    const struct detect *d = state;
    detect_ap_print(&d->scores, d->classes.names, table);
    detect_ap_print_summary(&d->scores, table);
    if (folder) LAM_TRY(write_files(d, folder));
    *json = detect_ap_json(&d->scores, d->classes.names);
    return *json ? LAM_OK : lam_no_memory();
}

/* ---- prediction ---- */

lam_status detect_load(void *state, const char *path, void *data) {
    const struct detect *d = state;
    struct lam_sample sample = {0};
    struct detect_scratch scratch = {0};
    struct detect_view view;
    LAM_TRY(lam_image_load(path, LAM_IMAGE_RGB, &sample.image));
    lam_status status = detect_augment_plain(&d->plain, &sample, &scratch, data, &view);
    detect_scratch_free(&scratch);
    lam_sample_free(&sample);
    return status;
}

/* The number in a name such as 000000000139.jpg, which is the id of a COCO image; else the path. */
static json_t *image_id(const char *path) {
    const char *slash = strrchr(path, '/'), *name = slash ? slash + 1 : path;
    size_t digits = strspn(name, "0123456789");
    if (digits > 0 && digits < 18 && name[digits] == '.') return json_integer((json_int_t)atoll(name));
    return json_string(path);
}

static void print_found(const struct detect *d, const char *path, FILE *table) {
    int shown = 0; /* the best come first */
    while (shown < d->found.count && d->found.items[shown].score >= (float)d->own->show_conf) shown++;
    fprintf(table, "%s: %d %s\n", path, shown, shown == 1 ? "object" : "objects");
    for (int i = 0; i < shown; i++) {
        const struct detect_found *f = &d->found.items[i];
        fprintf(table, "  %-20.20s %.3f  %7.1f %7.1f %7.1f %7.1f\n", d->classes.names[f->label],
                (double)f->score, (double)f->corners[0], (double)f->corners[1], (double)f->corners[2],
                (double)f->corners[3]);
    }
}

lam_status detect_predict(void *state, const struct lam_block *block, int row, const char *path, FILE *table,
                          json_t **json, struct lam_image *picture) {
    struct detect *d = state;
    struct lam_image image = {0};
    LAM_TRY(read_outputs(d, block));
    LAM_TRY(lam_image_load(path, LAM_IMAGE_RGB, &image));
    int width = image.width, height = image.height;
    lam_image_free(&image);
    LAM_TRY(decode(d, row, width, height, &d->found));
    print_found(d, path, table);
    LAM_TRY(detect_draw_found(d, path, &d->found, picture));
    json_t *id = image_id(path);
    if (!id) return lam_fail(LAM_ERR_INVALID, "%s: the name is not UTF-8", path);
    *json = results(d, id, &d->found);
    json_decref(id);
    return *json ? LAM_OK : lam_no_memory();
}
