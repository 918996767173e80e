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
