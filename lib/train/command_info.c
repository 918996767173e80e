/* lamina info: what a checkpoint or a run is. */
#include <stdlib.h>
#include <string.h>

#include "base/files.h"
#include "train/commands.h"
#include "train/snapshot.h"
#include "train/trained.h"

/* Weights without optimizer state, averages and older versions. */
static int64_t count_weights(const struct lam_checkpoint *c, int *tensors) {
    int64_t sum = 0;
    *tensors = 0;
    for (int i = 0; i < lam_checkpoint_size(c); i++) {
        const struct lam_checkpoint_tensor *t = lam_checkpoint_get(c, i);
        if (!strncmp(t->name, "optimizer.", 10) || !strncmp(t->name, "ema.", 4) ||
            !strncmp(t->name, "lag.", 4))
            continue;
        sum += lam_shape_count(t->shape);
        ++*tensors;
    }
    return sum;
}

static void print_position(const struct lam_position *at, FILE *out, json_t *json) {
    fprintf(out, "position    step %llu: %llu epoch%s and %llu batch%s done\n", (unsigned long long)at->step,
            (unsigned long long)at->epoch, at->epoch == 1 ? "" : "s", (unsigned long long)at->batch,
            at->batch == 1 ? "" : "es");
    json_object_set_new(json, "epoch", json_integer((json_int_t)at->epoch));
    json_object_set_new(json, "batch", json_integer((json_int_t)at->batch));
    json_object_set_new(json, "step", json_integer((json_int_t)at->step));
    for (int i = 0; i < at->score_count; i++) {
        fprintf(out, "%-11s %.4f\n", at->scores[i].name, at->scores[i].value);
        json_object_set_new(json, at->scores[i].name, json_real(at->scores[i].value));
    }
    if (at->has_best) fprintf(out, "best        %.4f\n", at->best);
}

/* The recipe's lines, without headings, comments and measured choices. */
static void print_recipe(const char *recipe, FILE *out) {
    fputs("recipe\n", out);
    for (const char *line = recipe; *line;) {
        size_t length = strcspn(line, "\n");
        if (!strncmp(line, "[tuning]", 8)) break;
        if (length && *line != '[' && *line != '#') fprintf(out, "  %.*s\n", (int)length, line);
        line += length + (line[length] == '\n');
    }
}

static void print_tensors(const struct lam_checkpoint *c, FILE *out) {
    for (int i = 0; i < lam_checkpoint_size(c); i++) {
        const struct lam_checkpoint_tensor *t = lam_checkpoint_get(c, i);
        char shape[96];
        fprintf(out, "  %-48s %-5s %s\n", t->name, lam_dtype_name(t->dtype),
                lam_shape_text(t->shape, shape, sizeof shape));
    }
}

static lam_status describe(const struct lam_checkpoint *c, const struct lam_command_options *options,
                           FILE *out) {
    json_t *json = json_object();
    int tensors;
    int64_t numbers = count_weights(c, &tensors);
    const char *task = lam_checkpoint_find_text(c, "task"), *recipe = lam_checkpoint_find_text(c, "recipe");
    fprintf(out, "checkpoint  %s\n", lam_checkpoint_path(c));
    fprintf(out, "weights     %lld numbers in %d tensors; %d tensors in all\n", (long long)numbers, tensors,
            lam_checkpoint_size(c));
    json_object_set_new(json, "checkpoint", json_string(lam_checkpoint_path(c)));
    json_object_set_new(json, "weights", json_integer((json_int_t)numbers));
    struct lam_position at;
    if (task && recipe && lam_snapshot_position(c, &at) == LAM_OK) {
        const char *version = lam_checkpoint_find_text(c, "version");
        fprintf(out, "task        %s, by Lamina %s\n", task, version ? version : "?");
        json_object_set_new(json, "task", json_string(task));
        json_object_set_new(json, "recipe", json_string(recipe));
        print_position(&at, out, json);
        print_recipe(recipe, out);
    } else {
        fputs("a plain safetensors file, not of a Lamina run\n", out);
        print_tensors(c, out);
    }
    if (*options->json) return lam_command_write_json(options->json, json, out);
    json_decref(json);
    return LAM_OK;
}

static void print_summary(const char *folder, FILE *out) {
    char *path = lam_path_join(folder, "summary.json");
    json_t *summary = path ? json_load_file(path, 0, NULL) : NULL;
    fprintf(out, "run         %s, %s\n", folder,
            !summary                                             ? "no epoch done yet"
            : json_is_true(json_object_get(summary, "finished")) ? "finished"
                                                                 : "not finished");
    json_decref(summary);
    free(path);
}

LAM_COMMAND(info) {
    (void)tasks, (void)err;
    struct lam_command_options options;
    struct lam_checkpoint *checkpoint = NULL;
    const char *words[1];
    char *path = NULL;
    int count = 0;
    bool done;
    lam_status status = lam_command_parse(command, argc, argv, &options, words, 1, &count, out, &done);
    if (status == LAM_OK && !done && count != 1)
        status = lam_fail(LAM_ERR_INVALID, "a CHECKPOINT or a run's folder is missing");
    if (status == LAM_OK && !done) status = lam_trained_path(words[0], &path);
    if (status == LAM_OK && path) status = lam_checkpoint_open(path, &checkpoint);
    if (status == LAM_OK && checkpoint) {
        if (lam_path_is_folder(words[0])) print_summary(words[0], out);
        status = describe(checkpoint, &options, out);
    }
    lam_checkpoint_close(checkpoint);
    free(path);
    lam_command_options_free(&options);
    return status;
}
