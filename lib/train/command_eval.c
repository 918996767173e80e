/* lamina eval: scores on validation data. */
#include <stdlib.h>

#include "base/files.h"
#include "train/commands.h"
#include "train/evaluate.h"
#include "train/trained.h"

static lam_status report(struct lam_trained *trained, const struct lam_command_options *options,
                         const struct lam_score *scores, int count, FILE *out) {
    if (*options->out) LAM_TRY(lam_make_folders(options->out));
    json_t *json = NULL, *list = json_object();
    fprintf(out, "%s\n", lam_checkpoint_path(trained->file));
    for (int i = 0; i < count; i++) {
        fprintf(out, "%-24s %9.4f\n", scores[i].name, scores[i].value);
        json_object_set_new(list, scores[i].name, json_real(scores[i].value));
    }
    lam_status status =
        trained->task->report(trained->state, out, &json, *options->out ? options->out : NULL);
    if (status != LAM_OK) {
        json_decref(list);
        return status;
    }
    json_object_update(list, json);
    json_decref(json);
    json_object_set_new(list, "checkpoint", json_string(lam_checkpoint_path(trained->file)));
    if (*options->json) return lam_command_write_json(options->json, list, out);
    json_decref(list);
    return LAM_OK;
}

static lam_status score_images(struct lam_trained *trained, struct lam_score *scores, int *count) {
    const struct lam_task *task = trained->task;
    struct lam_asker asker = lam_trained_asker(trained);
    int64_t images = task->images(trained->state);
    LAM_TRY(task->eval_begin(trained->state));
    for (int64_t i = 0; i < images; i++) LAM_TRY(task->eval_image(trained->state, &asker, i));
    return task->eval_end(trained->state, scores, count);
}

static lam_status score(struct lam_trained *trained, struct lam_score *scores, int *count) {
    if (trained->task->eval_image) return score_images(trained, scores, count);
    struct lam_evaluation evaluation = {.task = trained->task,
                                        .state = trained->state,
                                        .pipeline = trained->pipeline,
                                        .batch = trained->batch,
                                        .config = &trained->settings.config};
    return lam_evaluate(&evaluation, scores, count);
}

static lam_status evaluate(const struct lam_task *const *tasks, const char *path,
                           const struct lam_command_options *options, FILE *out) {
    struct lam_trained_options use = {.use = LAM_USE_EVAL,
                                      .data = options->data,
                                      .devices = options->devices,
                                      .memory_limit = options->memory_limit,
                                      .threads = options->threads,
                                      .loader_threads = options->loader_threads,
                                      .batch = options->batch,
                                      .raw = options->weights == 1,
                                      .skip_bad = options->skip_bad,
                                      .words = options->task_words,
                                      .word_count = options->task_word_count};
    struct lam_trained trained;
    struct lam_score scores[LAM_MAX_SCORES];
    int count = 0;
    lam_status status = lam_trained_open(tasks, path, &use, &trained);
    if (status == LAM_OK) status = score(&trained, scores, &count);
    if (status == LAM_OK) status = report(&trained, options, scores, count, out);
    lam_trained_close(&trained);
    return status;
}

LAM_COMMAND(eval) {
    (void)err;
    struct lam_command_options options;
    const char *words[1];
    int count = 0;
    bool done;
    lam_status status =
        lam_command_parse_with(tasks, command, argc, argv, &options, words, 1, &count, out, &done);
    if (status == LAM_OK && !done)
        status = count == 1 ? evaluate(tasks, words[0], &options, out)
                            : lam_fail(LAM_ERR_INVALID, "a CHECKPOINT or a run's folder is missing");
    lam_command_options_free(&options);
    return status;
}
