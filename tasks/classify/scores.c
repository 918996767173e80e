/* Evaluation: loss, accuracy and the confusion matrix from logits, on the host in double precision, sample by
 * sample in order, so that neither padding nor the number of threads has a say. Then what is reported. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "tasks/common/shown.h"
#include "tasks/classify/internal.h"
#include "tasks/common/confusion_matrix.h"

lam_status classify_step_score(const void *state, const struct lam_block *block, int count, double *score) {
    (void)state;
    float correct;
    LAM_TRY(lam_program_read(lam_block_last_program(block), "correct", &correct, sizeof correct));
    *score = (double)correct / count;
    return LAM_OK;
}

/* ---- one row of logits ---- */

static int best_class(const float *logits, int classes) {
    int best = 0;
    for (int i = 1; i < classes; i++)
        if (logits[i] > logits[best]) best = i;
    return best;
}

/* log of the sum of exp(logits), without overflow */
static double log_sum(const float *logits, int classes) {
    double most = (double)logits[best_class(logits, classes)], sum = 0;
    for (int i = 0; i < classes; i++) sum += exp((double)logits[i] - most);
    return most + log(sum);
}

static int rank_of(const float *logits, int classes, int label) {
    int higher = 0;
    for (int i = 0; i < classes; i++) higher += logits[i] > logits[label];
    return higher;
}

/* ---- evaluation ---- */

lam_status classify_eval_begin(void *state) {
    struct classify *c = state;
    memset(c->confusion, 0, (size_t)c->classes.count * (size_t)c->classes.count * sizeof *c->confusion);
    c->seen = c->top5 = 0;
    c->loss_sum = 0;
    c->shown_count = 0;
    return LAM_OK;
}

static void add_row(struct classify *c, int64_t index, int label, const float *logits) {
    int guess = best_class(logits, c->classes.count);
    double log_total = log_sum(logits, c->classes.count);
    c->confusion[(size_t)label * (size_t)c->classes.count + (size_t)guess]++;
    c->seen++;
    c->top5 += rank_of(logits, c->classes.count, label) < 5;
    c->loss_sum += log_total - (double)logits[label];
    if (task_is_shown(index, classify_samples(c, LAM_SPLIT_VAL), c->shown_count, c->shown_capacity))
        c->shown[c->shown_count++] =
            (struct shown){index, label, guess, (float)exp((double)logits[guess] - log_total)};
}

static lam_status read_logits(struct classify *c, const struct lam_block *block) {
    size_t bytes = (size_t)c->config->batch * (size_t)c->classes.count * sizeof *c->logits;
    return lam_program_read(lam_block_program(block, LAM_BLOCK_EVAL), "logits", c->logits, bytes);
}

lam_status classify_eval_batch(void *state, const struct lam_block *block, const struct lam_batch *batch) {
    struct classify *c = state;
    LAM_TRY(read_logits(c, block));
    LAM_TRY(lam_device_download(lam_block_device(block), c->labels, batch->data[1],
                                (size_t)batch->count * sizeof *c->labels));
    for (int row = 0; row < batch->count; row++)
        add_row(c, batch->indices[row], c->labels[row], c->logits + (size_t)row * (size_t)c->classes.count);
    return LAM_OK;
}

static int64_t right(const struct classify *c) {
    int64_t sum = 0;
    for (int i = 0; i < c->classes.count; i++)
        sum += c->confusion[(size_t)i * (size_t)c->classes.count + (size_t)i];
    return sum;
}

static double share(int64_t part, int64_t whole) {
    return whole ? (double)part / (double)whole : 0;
}

lam_status classify_eval_end(void *state, struct lam_score *scores, int *count) {
    const struct classify *c = state;
    scores[0] = (struct lam_score){"accuracy", share(right(c), c->seen)};
    scores[1] = (struct lam_score){"loss", c->seen ? c->loss_sum / (double)c->seen : 0};
    scores[2] = (struct lam_score){"top5", share(c->top5, c->seen)};
    *count = c->classes.count > 10 ? 3 : 2;
    return LAM_OK;
}

/* ---- samples that are shown ---- */

lam_status classify_show(void *state, struct lam_image *mosaic, json_t **list) {
    const struct classify *c = state;
    json_t *array = json_array();
    if (!array) return lam_no_memory();
    for (int i = 0; i < c->shown_count; i++) {
        const struct shown *s = &c->shown[i];
        char what[512];
        classify_describe(c, LAM_SPLIT_VAL, s->index, what, sizeof what);
        json_array_append_new(
            array, json_pack("{s:I, s:s, s:s, s:s, s:f, s:b}", "index", (json_int_t)s->index, "sample", what,
                             "label", c->classes.names[s->label], "predicted", c->classes.names[s->guess],
                             "probability", (double)s->probability, "right", s->label == s->guess));
    }
    lam_status status = classify_draw_shown(c, mosaic);
    if (status != LAM_OK)
        json_decref(array);
    else
        *list = array;
    return status;
}

/* ---- report ---- */

static int64_t class_samples(const struct classify *c, int label) {
    int64_t sum = 0;
    for (int i = 0; i < c->classes.count; i++)
        sum += c->confusion[(size_t)label * (size_t)c->classes.count + (size_t)i];
    return sum;
}

static int64_t class_guesses(const struct classify *c, int guess) {
    int64_t sum = 0;
    for (int i = 0; i < c->classes.count; i++)
        sum += c->confusion[(size_t)i * (size_t)c->classes.count + (size_t)guess];
    return sum;
}

/* One row a class: recall is the class's accuracy, precision the share of right ones among its guesses. */
static void print_classes(const struct classify *c, FILE *table, json_t *list) {
    fprintf(table, "%-24s %9s %9s %9s\n", "class", "samples", "accuracy", "precision");
    for (int i = 0; i < c->classes.count; i++) {
        int64_t hits = c->confusion[(size_t)i * (size_t)c->classes.count + (size_t)i];
        int64_t samples = class_samples(c, i), guesses = class_guesses(c, i);
        if (samples)
            fprintf(table, "%-24.24s %9lld %9.4f", c->classes.names[i], (long long)samples,
                    share(hits, samples));
        else
            fprintf(table, "%-24.24s %9lld %9s", c->classes.names[i], 0LL, "-");
        if (guesses)
            fprintf(table, " %9.4f\n", share(hits, guesses));
        else
            fprintf(table, " %9s\n", "-");
        json_array_append_new(list,
                              json_pack("{s:s, s:I, s:o, s:o}", "class", c->classes.names[i], "samples",
                                        (json_int_t)samples, "accuracy",
                                        samples ? json_real(share(hits, samples)) : json_null(), "precision",
                                        guesses ? json_real(share(hits, guesses)) : json_null()));
    }
}

lam_status classify_report(void *state, FILE *table, json_t **json, const char *folder) {
    const struct classify *c = state;
    json_t *classes = json_array(), *matrix = json_array();
    print_classes(c, table, classes);
    for (int i = 0; i < c->classes.count; i++) {
        json_t *row = json_array();
        for (int j = 0; j < c->classes.count; j++)
            json_array_append_new(
                row,
                json_integer((json_int_t)c->confusion[(size_t)i * (size_t)c->classes.count + (size_t)j]));
        json_array_append_new(matrix, row);
    }
    json_t *report =
        json_pack("{s:I, s:o, s:o}", "samples", (json_int_t)c->seen, "classes", classes, "confusion", matrix);
    if (!report) return lam_no_memory();
    const struct confusion_matrix drawn = {
        .size = c->classes.count, .counts = c->confusion, .names = c->classes.names};
    lam_status status = folder ? confusion_matrix_write(&drawn, folder) : LAM_OK;
    if (status != LAM_OK)
        json_decref(report);
    else
        *json = report;
    return status;
}

/* ---- prediction ---- */

lam_status classify_load(void *state, const char *path, void *data) {
    const struct classify *c = state;
    struct lam_image image = {0};
    LAM_TRY(lam_image_load(path, c->channels == 1 ? LAM_IMAGE_GRAY : LAM_IMAGE_RGB, &image));
    lam_status status = lam_augment_pixels(&c->plain, &image, data);
    lam_image_free(&image);
    return status;
}

lam_status classify_predict(void *state, const struct lam_block *block, int row, const char *path,
                            FILE *table, json_t **json, struct lam_image *picture) {
    struct classify *c = state;
    LAM_TRY(read_logits(c, block));
    float *logits = c->logits + (size_t)row * (size_t)c->classes.count;
    double log_total = log_sum(logits, c->classes.count);
    int first = best_class(logits, c->classes.count);
    float probability = (float)exp((double)logits[first] - log_total);
    json_t *top = json_array();
    fprintf(table, "%s:", path);
    for (int k = 0; k < 5 && k < c->classes.count; k++) {
        int best = best_class(logits, c->classes.count);
        double p = exp((double)logits[best] - log_total);
        fprintf(table, "%s %s %.4f", k ? "," : "", c->classes.names[best], p);
        json_array_append_new(top,
                              json_pack("{s:s, s:f}", "class", c->classes.names[best], "probability", p));
        logits[best] = -INFINITY; /* the next one */
    }
    fputc('\n', table);
    lam_status status = classify_draw_guess(c, path, first, probability, picture);
    if (status != LAM_OK) {
        json_decref(top);
        return status;
    }
    *json = json_pack("{s:s, s:s, s:f, s:o}", "image", path, "class", c->classes.names[first], "probability",
                      (double)probability, "top", top);
    return *json ? LAM_OK : lam_fail(LAM_ERR_INVALID, "%s: the name is not UTF-8", path);
}
