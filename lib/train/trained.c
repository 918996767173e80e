#include "train/trained.h"

#include <stdlib.h>
#include <string.h>

#include "base/files.h"
#include "train/forecast.h"
#include "train/snapshot.h"
#include "train/tuning_record.h"

lam_status lam_trained_path(const char *path, char **checkpoint) {
    static const char *const names[] = {"checkpoints/best.safetensors", "checkpoints/last.safetensors"};
    if (!lam_path_is_folder(path)) {
        *checkpoint = strdup(path);
        return *checkpoint ? LAM_OK : lam_no_memory();
    }
    for (int i = 0; i < 2; i++) {
        char *file = lam_path_join(path, names[i]);
        if (!file) return lam_no_memory();
        if (lam_path_exists(file)) {
            *checkpoint = file;
            return LAM_OK;
        }
        free(file);
    }
    return lam_fail(LAM_ERR_NOT_FOUND, "%s: is a folder without checkpoints/last.safetensors", path);
}

static lam_status open_file(struct lam_trained *t, const char *path) {
    char *file;
    LAM_TRY(lam_trained_path(path, &file));
    lam_status status = lam_checkpoint_open(file, &t->file);
    free(file);
    return status;
}

static lam_status find_task(struct lam_trained *t, const struct lam_task *const *tasks) {
    const char *name = lam_checkpoint_find_text(t->file, "task");
    for (int i = 0; name && tasks[i]; i++)
        if (!strcmp(tasks[i]->name, name)) {
            t->task = tasks[i];
            return LAM_OK;
        }
    if (!name)
        return lam_fail(LAM_ERR_FORMAT, "%s: holds no trained network of Lamina's (no 'task')",
                        lam_checkpoint_path(t->file));
    return lam_fail(LAM_ERR_UNSUPPORTED, "%s: is of task '%.40s', which this version has not",
                    lam_checkpoint_path(t->file), name);
}

static lam_status set_text(struct lam_settings *settings, const char *name, const char *value) {
    return value && *value ? lam_options_set(&settings->options, name, value) : LAM_OK;
}

/* The recipe in the file, and over it what the user asks for now. */
static lam_status read_settings(struct lam_trained *t, const struct lam_trained_options *options) {
    struct lam_settings *settings = &t->settings;
    const char *recipe = lam_checkpoint_find_text(t->file, "recipe");
    if (!recipe) return lam_fail(LAM_ERR_FORMAT, "%s: has no 'recipe'", lam_checkpoint_path(t->file));
    LAM_TRY(lam_settings_open(t->task, settings));
    lam_status status = lam_options_read_text(&settings->options, recipe, "recipe");
    if (status != LAM_OK) return lam_fail_in(status, lam_checkpoint_path(t->file));
    LAM_TRY(lam_options_set(&settings->options, "devices", "auto"));
    LAM_TRY(lam_options_set(&settings->options, "memory-limit", ""));
    LAM_TRY(set_text(settings, "devices", options->devices));
    LAM_TRY(set_text(settings, "memory-limit", options->memory_limit));
    LAM_TRY(set_text(settings, "data", options->data));
    if (options->data && *options->data) LAM_TRY(lam_options_set(&settings->options, "val", ""));
    if (options->word_count > 1)
        LAM_TRY(lam_options_parse(&settings->options, options->word_count, options->words, NULL, 0, NULL));
    struct lam_config *config = &settings->config;
    config->threads = options->threads;
    config->blocks = 1; /* however it was trained, it is used in one piece */
    config->schedule = LAM_PIPELINE_SEQUENTIAL;
    if (options->loader_threads) config->loader_threads = options->loader_threads;
    if (options->batch) config->batch = options->batch;
    config->on_bad = options->skip_bad ? LAM_ON_BAD_SKIP : LAM_ON_BAD_STOP;
    config->overfit_batch = false;
    return LAM_OK;
}

static lam_status open_device(struct lam_trained *t) {
    char *name;
    size_t limit;
    LAM_TRY(lam_config_one_device(&t->settings.config, &name, &limit));
    lam_status status = lam_device_open(name, limit, &t->device);
    if (status == LAM_OK) lam_device_set_modes(t->device, lam_config_modes(&t->settings.config));
    free(name);
    return status;
}

static lam_status evaluated(void *context, struct lam_block *block, const struct lam_batch *batch) {
    struct lam_trained *t = context;
    return t->task->eval_batch(t->state, block, batch);
}

static lam_status open_block(struct lam_trained *t) {
    const struct lam_network *network = &t->network;
    struct lam_block_options block = {
        .network = network,
        .last = network->units - 1,
        .batch = (int)t->settings.config.batch,
        .evaluation_only = true,
        .precision = t->settings.config.precision == LAM_PRECISION_BF16 ? LAM_BF16 : LAM_F32,
        .tuning = t->tuning};
    LAM_TRY(lam_block_create(&block, t->device, &t->block));
    bool loader = t->options.use == LAM_USE_EVAL && !t->task->eval_image;
    size_t data = lam_forecast_loader(network->eval_fields, network->eval_field_count, t->batch,
                                      loader ? (int)t->settings.config.prefetch : 1);
    struct lam_pipeline_options pipeline = {
        .blocks = &t->block, .block_count = 1, .queue = 1, .context = t, .evaluated = evaluated};
    LAM_TRY(lam_pipeline_create(&pipeline, &t->pipeline));
    struct lam_forecast forecast = lam_forecast_device(t->pipeline, 0, data);
    LAM_TRY(lam_forecast_check(&forecast, 1));
    LAM_TRY(lam_pipeline_allocate(t->pipeline));
    LAM_TRY(lam_pipeline_start(t->pipeline, 0, true));
    return lam_snapshot_weights(t->file, t->block, !t->options.raw);
}

static void close_block(struct lam_trained *t) {
    if (t->input) lam_device_free(t->device, t->input);
    t->input = NULL;
    lam_pipeline_destroy(t->pipeline);
    lam_block_destroy(t->block);
    t->pipeline = NULL;
    t->block = NULL;
}

static lam_status open_network(struct lam_trained *t) {
    t->network = *t->task->network(t->state);
    memcpy(t->fields, t->network.eval_fields, (size_t)t->network.eval_field_count * sizeof *t->fields);
    t->network.eval_fields = t->fields;
    t->batch = lam_network_eval_batch(&t->network, (int)t->settings.config.batch);
    LAM_TRY(
        lam_tuning_record_open(LAM_TUNING_RECORD, t->device, "", t->settings.recorded, false, &t->tuning));
    bool asked =
        t->options.use == LAM_USE_EVAL ? t->task->eval_image != NULL : t->task->predict_image != NULL;
    return asked ? LAM_OK : open_block(t); /* what is asked says the shape itself */
}

lam_status lam_trained_shape(struct lam_trained *t, struct lam_shape shape, int batch) {
    if (t->block && t->batch == batch && lam_shape_equal(t->fields[0].shape, shape)) return LAM_OK;
    close_block(t);
    t->fields[0].shape = shape;
    t->network.eval_batch = t->batch = batch;
    return open_block(t);
}

static lam_status ask(void *context, struct lam_shape shape, const float *values, const char *output,
                      float *answer, size_t count) {
    struct lam_trained *t = context;
    size_t bytes = (size_t)lam_shape_count(shape) * sizeof *values;
    LAM_TRY(lam_trained_shape(t, shape, 1));
    if (!t->input) LAM_TRY(lam_device_alloc(t->device, LAM_MEMORY_DATA, bytes, &t->input));
    LAM_TRY(lam_device_upload(t->device, t->input, values, bytes));
    struct lam_batch batch = {.count = 1, .data = {t->input}};
    LAM_TRY(lam_block_evaluate(t->block, &batch, NULL));
    return lam_program_read(lam_block_program(t->block, LAM_BLOCK_EVAL), output, answer,
                            count * sizeof *answer);
}

struct lam_asker lam_trained_asker(struct lam_trained *trained) {
    return (struct lam_asker){.context = trained, .ask = ask};
}

lam_status lam_trained_open(const struct lam_task *const *tasks, const char *path,
                            const struct lam_trained_options *options, struct lam_trained *trained) {
    memset(trained, 0, sizeof *trained);
    trained->options = *options;
    LAM_TRY(open_file(trained, path));
    LAM_TRY(find_task(trained, tasks));
    LAM_TRY(read_settings(trained, options));
    LAM_TRY(open_device(trained));
    LAM_TRY(trained->task->open(&trained->settings.config, trained->settings.own, options->use, trained->file,
                                &trained->state));
    return open_network(trained);
}

void lam_trained_close(struct lam_trained *trained) {
    close_block(trained);
    lam_tuning_destroy(trained->tuning);
    lam_device_close(trained->device);
    if (trained->state) trained->task->close(trained->state);
    if (trained->settings.task) lam_settings_close(&trained->settings);
    lam_checkpoint_close(trained->file);
    memset(trained, 0, sizeof *trained);
}
