/* lamina check: reads every sample of a data set, both parts, and names those that cannot be used. */
#include <stdlib.h>
#include <string.h>

#include "data/dataset.h"
#include "train/commands.h"

struct check {
    FILE *out;
    json_t *list;
};

static void report(void *context, int64_t index, const char *what, const char *reason) {
    const struct check *check = context;
    fprintf(check->out, "%s: %s\n", what, reason);
    json_array_append_new(check->list, json_pack("{s:I, s:s, s:s}", "index", (json_int_t)index, "sample",
                                                 what, "reason", reason));
}

/* Some formats look at every record when they are opened and refuse a set with a bad one; left out, it is
 * listed like any other. */
static lam_status open_part(const char *data, enum lam_split split, struct lam_dataset **set) {
    lam_status status = lam_dataset_open(data, split, NULL, set);
    if (status != LAM_ERR_FORMAT) return status;
    struct lam_error error;
    lam_error_save(&error, status);
    struct lam_dataset_options options = {.skip_bad = true};
    if (lam_dataset_open(data, split, &options, set) == LAM_OK) return LAM_OK;
    return lam_error_restore(&error);
}

/* What is in the samples that can be used; `empty` of them have no box. */
static void print_boxes(FILE *out, const struct lam_dataset *set, const int64_t *found, int64_t empty) {
    const struct lam_box_counts *counts = &set->counts;
    const char *separator = ":";
    fprintf(out, "%lld boxes", (long long)counts->kept);
    for (int c = 0; c < set->classes; c++) {
        if (!found[c]) continue;
        fprintf(out, "%s %s %lld", separator, set->class_names[c], (long long)found[c]);
        separator = ",";
    }
    fprintf(out, "; %lld images without boxes\n", (long long)empty);
    if (counts->clipped)
        fprintf(out, "boxes that reach beyond their image and are cut at its border: %lld\n",
                (long long)counts->clipped);
    const struct {
        int64_t count;
        const char *why;
    } left_out[] = {{counts->degenerate, "no wider or higher than nothing"},
                    {counts->outside, "outside their image"},
                    {counts->strays, "of images that are not listed"}};
    for (size_t i = 0; i < sizeof left_out / sizeof left_out[0]; i++)
        if (left_out[i].count)
            fprintf(out, "boxes left out, %s: %lld\n", left_out[i].why, (long long)left_out[i].count);
}

static lam_status count_boxes(FILE *out, const struct lam_dataset *set) {
    int64_t *found = calloc((size_t)set->classes, sizeof *found), empty = 0;
    if (!found) return lam_no_memory();
    struct lam_sample sample = {0};
    lam_status status = LAM_OK;
    for (int64_t i = 0; i < set->count && status == LAM_OK; i++) {
        int width, height;
        status = lam_dataset_read_boxes(set, i, &sample, &width, &height);
        if (status != LAM_OK) break;
        empty += sample.box_count == 0;
        for (int b = 0; b < sample.box_count; b++) found[sample.boxes[b].label]++;
    }
    if (status == LAM_OK) print_boxes(out, set, found, empty);
    lam_sample_free(&sample);
    free(found);
    return status;
}

static lam_status check_part(struct check *check, const char *data, enum lam_split split, int64_t *bad) {
    struct lam_dataset *set;
    int64_t found = 0;
    const char *part = split == LAM_SPLIT_TRAIN ? "training" : "validation";
    LAM_TRY(open_part(data, split, &set));
    lam_status status = lam_dataset_check(set, report, check, &found);
    if (status == LAM_OK) {
        fprintf(check->out, "%s, %s part: %lld samples", data, part, (long long)set->count);
        if (set->classes) fprintf(check->out, " of %d classes", set->classes);
        if (set->width) fprintf(check->out, ", %d x %d", set->width, set->height);
        fprintf(check->out, "; %lld bad\n", (long long)found);
    }
    if (status == LAM_OK && set->has_boxes) status = count_boxes(check->out, set);
    bool more = split == LAM_SPLIT_TRAIN && set->has_own_val;
    lam_dataset_close(set);
    *bad += found;
    if (status == LAM_OK && more) return check_part(check, data, LAM_SPLIT_VAL, bad);
    return status;
}

LAM_COMMAND(check) {
    (void)tasks, (void)err;
    struct lam_command_options options;
    const char *words[1];
    int count = 0;
    bool done;
    int64_t bad = 0;
    struct check check = {.out = out, .list = json_array()};
    lam_status status = lam_command_parse(command, argc, argv, &options, words, 1, &count, out, &done);
    const char *data = status != LAM_OK ? "" : *options.data ? options.data : count == 1 ? words[0] : "";
    if (status == LAM_OK && !done && !*data)
        status = lam_fail(LAM_ERR_INVALID, "--data FORMAT:PATH is missing");
    if (status == LAM_OK && !done) status = check_part(&check, data, LAM_SPLIT_TRAIN, &bad);
    if (status == LAM_OK && *options.json)
        status = lam_command_write_json(options.json, json_incref(check.list), out);
    if (status == LAM_OK && bad)
        status = lam_fail(LAM_ERR_FORMAT, "%s: %lld bad sample%s; --on-bad skip trains without %s", data,
                          (long long)bad, bad == 1 ? "" : "s", bad == 1 ? "it" : "them");
    json_decref(check.list);
    lam_command_options_free(&options);
    return status;
}
