#include "train/settings.h"

#include <stdlib.h>
#include <string.h>

#include "base/files.h"
#include "train/tuning_record.h"

lam_status lam_settings_open(const struct lam_task *task, struct lam_settings *settings) {
    memset(settings, 0, sizeof *settings);
    settings->task = task;
    settings->own = calloc(1, task->config_size + 1);
    if (!settings->own) return lam_no_memory();
    LAM_TRY(lam_tuning_create(LAM_TUNING_RECORD, &settings->recorded));
    settings->options = (struct lam_options){
        .program = task->program,
        .usage = "--model NAME --data FORMAT:PATH [options]",
        .tables = {lam_config_table(&settings->config), {task->options, task->option_count, settings->own}},
        .table_count = 2,
        .tuning = lam_tuning_record_line,
        .tuning_context = settings->recorded,
    };
    return lam_options_defaults(&settings->options);
}

void lam_settings_close(struct lam_settings *settings) {
    if (settings->own && settings->options.table_count) lam_options_free(&settings->options);
    lam_tuning_destroy(settings->recorded);
    free(settings->own);
    memset(settings, 0, sizeof *settings);
}

static lam_status read_saved(struct lam_settings *settings, const char *folder) {
    char *path = lam_path_join(folder, "config.ini");
    if (!path) return lam_no_memory();
    lam_status status =
        lam_path_exists(path)
            ? lam_options_read(&settings->options, path)
            : lam_fail(LAM_ERR_NOT_FOUND, "%s: holds no run to resume (no config.ini)", folder);
    free(path);
    return status;
}

/* The saved config, then the command line again over it; only some options may then differ. */
static lam_status resume(struct lam_settings *settings, const char *folder, int argc, char **argv,
                         const char **words, int word_capacity, int *word_count) {
    struct lam_settings saved;
    lam_status status = lam_settings_open(settings->task, &saved);
    if (status == LAM_OK) status = read_saved(&saved, folder);
    if (status == LAM_OK) status = lam_options_defaults(&settings->options);
    if (status == LAM_OK) status = read_saved(settings, folder);
    if (status == LAM_OK)
        status = lam_options_parse(&settings->options, argc, argv, words, word_capacity, word_count);
    const char *differs =
        status == LAM_OK ? lam_options_difference(&saved.options, &settings->options) : NULL;
    if (differs)
        status = lam_fail(LAM_ERR_INVALID,
                          "--%s: differs from the run in %s, which --resume must go on with as it was; leave "
                          "it out, or start a new run",
                          differs, folder);
    lam_settings_close(&saved);
    return status;
}

/* "folder:fd" to "folder:/home/me/fd". */
static lam_status make_absolute(char **data) {
    const char *colon = strchr(*data, ':');
    if (!colon || !colon[1] || colon[1] == '/') return LAM_OK;
    char *path = lam_path_absolute(colon + 1);
    char *whole = path ? lam_format("%.*s:%s", (int)(colon - *data), *data, path) : NULL;
    free(path);
    if (!whole) return lam_fail(LAM_ERR_NO_MEMORY, "%s: out of memory, or the current folder is gone", *data);
    free(*data);
    *data = whole;
    return LAM_OK;
}

static lam_status parse(struct lam_settings *settings, int argc, char **argv, const char **words,
                        int word_capacity, int *word_count) {
    LAM_TRY(lam_options_parse(&settings->options, argc, argv, words, word_capacity, word_count));
    const struct lam_config *config = &settings->config;
    if (!config->resume || config->help || config->version || !*config->out) return LAM_OK;
    char *folder = strdup(config->out);
    if (!folder) return lam_no_memory();
    lam_status status = resume(settings, folder, argc, argv, words, word_capacity, word_count);
    free(folder);
    return status;
}

lam_status lam_settings_parse(struct lam_settings *settings, int argc, char **argv, const char **words,
                              int word_capacity, int *word_count) {
    LAM_TRY(parse(settings, argc, argv, words, word_capacity, word_count));
    LAM_TRY(make_absolute(&settings->config.data));
    return make_absolute(&settings->config.val);
}

lam_status lam_settings_check(const struct lam_settings *settings) {
    LAM_TRY(lam_config_check(&settings->config));
    return settings->task->check ? settings->task->check(&settings->config, settings->own) : LAM_OK;
}
