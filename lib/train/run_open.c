/* Opening a run: everything that can be refused is refused here, before the folder is touched; then the
 * folder, the memory, and the checkpoint. */
#include <stdlib.h>
#include <string.h>

#include "base/files.h"
#include "base/log.h"
#include "train/run_internal.h"
#include "train/tuning_record.h"

static lam_status no_memory(void) {
    return lam_fail(LAM_ERR_NO_MEMORY, "out of memory");
}

/* ---- data and device ---- */

static lam_status open_task(struct run *run) {
    LAM_TRY(run->task->open(run->config, run->setup->own, LAM_USE_TRAIN, run->from, &run->state));
    int64_t batch = run->config->batch;
    run->samples = run->task->samples(run->state, LAM_SPLIT_TRAIN);
    run->drop_last = run->config->last_batch == LAM_LAST_BATCH_DROP || run->config->overfit_batch;
    if (run->samples < 1 || (run->drop_last && run->samples < batch))
        return lam_fail(LAM_ERR_INVALID,
                        "--data %s: %lld samples are fewer than a batch of %lld; use a smaller --batch",
                        run->config->data, (long long)run->samples, (long long)batch);
    if (run->task->samples(run->state, LAM_SPLIT_VAL) < 1)
        return lam_fail(LAM_ERR_INVALID, "the validation set is empty; give another --val");
    run->batches = run->drop_last ? run->samples / batch : (run->samples + batch - 1) / batch;
    LAM_TRY(lam_config_schedule(run->config, (uint64_t)run->batches, &run->schedule));
    run->last_step = run->schedule.steps;
    return LAM_OK;
}

static lam_status open_device(struct run *run) {
    char *name;
    size_t limit;
    LAM_TRY(lam_config_one_device(run->config, &name, &limit));
    lam_status status = lam_device_open(name, limit, &run->device);
    free(name);
    return status;
}

/* ---- the block ---- */

static lam_status create_block(struct run *run, struct lam_tuning *tuning) {
    const struct lam_network *network = run->task->network(run->state);
    struct lam_block_options options = {
        .network = network,
        .last = network->units - 1,
        .batch = (int)run->config->batch,
        .tail = run->drop_last ? 0 : (int)(run->samples % run->config->batch),
        .precision = run->config->precision ? LAM_BF16 : LAM_F32,
        .optimizer = lam_config_optimizer(run->config),
        .tuning = tuning,
    };
    return lam_block_create(&options, run->device, &run->block);
}

/* All that choices depend on beside the device. */
static char *plan_text(const struct run *run) {
    const struct lam_network *network = run->task->network(run->state);
    const struct lam_config *config = run->config;
    char shape[96];
    return lam_format("%s|%s|%s|%lld|%lld|%s", run->task->name, config->model,
                      lam_shape_text(network->fields[0].shape, shape, sizeof shape), (long long)config->batch,
                      (long long)(run->drop_last ? 0 : run->samples % config->batch),
                      config->precision ? "bf16" : "f32");
}

static lam_status try_block(struct run *run, const char *plan, enum lam_tuning_mode mode, bool use_cache) {
    lam_tuning_destroy(run->tuning);
    run->tuning = NULL;
    LAM_TRY(lam_tuning_record_open(mode, run->device, plan, run->setup->recorded, use_cache, &run->tuning));
    if (mode == LAM_TUNING_MEASURE && lam_tuning_size(run->tuning) == 0 && run->setup->out &&
        !run->config->quiet) {
        fputs("measuring kernels, once for this network on this machine ...\n", run->setup->out);
        fflush(run->setup->out);
    }
    return create_block(run, run->tuning);
}

/* Measuring takes memory too. Where the limit forbids it, rules choose; and a cache that an older Lamina
 * wrote may hold choices that are no more. */
static lam_status create_tuned_block(struct run *run) {
    enum lam_tuning_mode mode = run->config->tuning ? LAM_TUNING_MEASURE : LAM_TUNING_FIXED;
    char *plan = plan_text(run);
    if (!plan) return no_memory();
    lam_status status = try_block(run, plan, mode, true);
    if (status != LAM_OK && status != LAM_ERR_MEMORY_LIMIT && mode == LAM_TUNING_MEASURE)
        status = try_block(run, plan, mode, false);
    if (status == LAM_ERR_MEMORY_LIMIT && mode == LAM_TUNING_MEASURE) {
        status = try_block(run, plan, LAM_TUNING_FIXED, false);
        if (status == LAM_OK)
            lam_log(LAM_LOG_NOTICE, "too little memory to measure kernels in; rules of shape choose them");
    }
    if (status == LAM_OK) lam_tuning_record_keep(run->tuning, run->device, plan);
    free(plan);
    return status;
}

static size_t data_bytes(const struct run *run) {
    const struct lam_network *network = run->task->network(run->state);
    int batch = (int)run->config->batch, prefetch = (int)run->config->prefetch, count;
    const struct lam_field *fields = run->task->eval_fields(run->state, &count);
    size_t training = lam_forecast_loader(network->fields, network->field_count, batch, prefetch);
    size_t evaluation = lam_forecast_loader(fields, count, batch, prefetch);
    return training > evaluation ? training : evaluation;
}

static void print_plan(const struct run *run) {
    FILE *out = run->setup->out;
    if (!out || run->config->quiet) return;
    const struct lam_config *config = run->config;
    double flops = lam_block_forward_flops(run->block) + lam_block_backward_flops(run->block);
    fprintf(out, "%s: %s, %lld parameters, %.2f GFLOP an image; %lld training and %lld validation samples\n",
            run->task->name, config->model, (long long)lam_params_count(lam_block_params(run->block)),
            flops / 1e9 / (double)config->batch, (long long)run->samples,
            (long long)run->task->samples(run->state, LAM_SPLIT_VAL));
    fprintf(out, "%lld epochs of %lld batches of %lld, %s, %s, seed %lld\n", (long long)config->epochs,
            (long long)run->batches, (long long)config->batch, config->precision ? "bf16" : "f32",
            config->tuning ? "measured kernels" : "kernels by rule", (long long)config->seed);
    lam_forecast_print(&run->forecast, out);
    fflush(out);
}

/* ---- the folder ---- */

static lam_status open_folder(struct run *run) {
    char *name = NULL;
    if (!*run->config->out) LAM_TRY(lam_folder_free_name(run->config->model, &name));
    lam_status status = lam_folder_open(name ? name : run->config->out, run->config->resume, &run->folder);
    free(name);
    return status;
}

/* Options and measured choices as one INI text. */
static lam_status make_recipe(const struct run *run, unsigned without, char **text) {
    char *options, *tuning;
    LAM_TRY(lam_options_ini(run->setup->options, without, &options));
    lam_status status = lam_tuning_record_ini(run->tuning, &tuning);
    if (status == LAM_OK) {
        *text = lam_format("%s%s", options, tuning);
        free(tuning);
        if (!*text) status = no_memory();
    }
    free(options);
    return status;
}

/* What earlier processes of a resumed run took; 0 where the summary is missing. */
static double seconds_so_far(const struct run *run) {
    char *path = lam_path_join(run->config->out, "summary.json");
    json_t *summary = path ? json_load_file(path, 0, NULL) : NULL;
    double seconds = json_number_value(json_object_get(summary, "seconds"));
    json_decref(summary);
    free(path);
    return seconds > 0 ? seconds : 0;
}

/* The checkpoint to go on from; none was written yet: from the beginning. */
static lam_status open_checkpoint(struct run *run) {
    char *path = lam_path_join(run->config->out, "checkpoints/last.safetensors");
    if (!path) return no_memory();
    lam_status status = LAM_OK;
    if (run->config->resume && lam_path_exists(path)) status = lam_checkpoint_open(path, &run->from);
    free(path);
    if (status == LAM_OK && run->from) status = lam_snapshot_position(run->from, &run->at);
    return status;
}

/* ---- all of it ---- */

lam_status lam_run_prepare(struct run *run) {
    LAM_TRY(open_task(run));
    LAM_TRY(open_device(run));
    LAM_TRY(create_tuned_block(run));
    run->forecast = lam_forecast_block(run->block, data_bytes(run), lam_device_limit(run->device));
    print_plan(run);
    return lam_forecast_check(&run->forecast);
}

lam_status lam_run_start_weights(struct run *run) {
    lam_device_memory_reset_peak(run->device); /* measuring does not count */
    LAM_TRY(lam_block_allocate(run->block));
    if (!run->from) return lam_params_init(lam_block_params(run->block), (uint64_t)run->config->seed);
    LAM_TRY(lam_snapshot_weights(run->from, run->block, false));
    LAM_TRY(lam_snapshot_optimizer(run->from, run->block));
    if (run->at.batch > (uint64_t)run->batches)
        return lam_fail(LAM_ERR_FORMAT, "%s: stands at batch %llu of an epoch of %lld; has the data changed?",
                        lam_checkpoint_path(run->from), (unsigned long long)run->at.batch,
                        (long long)run->batches);
    run->seconds_before = seconds_so_far(run);
    return LAM_OK;
}

lam_status lam_run_open(struct run *run) {
    if (*run->config->out) LAM_TRY(lam_folder_check(run->config->out, run->config->resume));
    LAM_TRY(open_checkpoint(run));
    LAM_TRY(lam_run_prepare(run));
    LAM_TRY(make_recipe(run, 0, &run->config_ini));
    LAM_TRY(make_recipe(run, LAM_OPTION_MACHINE, &run->recipe));
    LAM_TRY(lam_run_start_weights(run));
    LAM_TRY(open_folder(run));
    LAM_TRY(lam_folder_write_text(&run->folder, "config.ini", run->config_ini));
    LAM_TRY(lam_folder_open_logs(&run->folder, run->at.metrics_lines, run->at.memory_lines, run->at.step));
    if (!run->from) LAM_TRY(lam_memory_write(run->folder.memory, run->at.step, run->device));
    run->last_path = lam_folder_file(&run->folder, "checkpoints/last.safetensors");
    if (!run->last_path) return no_memory();
    bool quiet = run->config->quiet;
    struct lam_progress_options progress = {.lines = quiet ? NULL : run->setup->out,
                                            .bar = quiet ? NULL : run->setup->err};
    LAM_TRY(lam_progress_create(&progress, &run->progress));
    lam_progress_pause(run->progress, NULL);
    lam_progress_line(run->progress, "%s %s", run->from ? "resuming" : "writing", run->folder.path);
    return LAM_OK;
}

void lam_run_close(struct run *run) {
    lam_progress_destroy(run->progress);
    lam_folder_close(&run->folder);
    lam_block_destroy(run->block);
    lam_tuning_destroy(run->tuning);
    lam_device_close(run->device);
    if (run->state) run->task->close(run->state);
    lam_checkpoint_close(run->from);
    free(run->config_ini);
    free(run->recipe);
    free(run->last_path);
}

/* ---- the summary ---- */

lam_status lam_run_summary(const struct run *run, bool finished) {
    json_t *scores = json_object(), *peak = json_object();
    for (int i = 0; i < run->at.score_count; i++)
        json_object_set_new(scores, run->at.scores[i].name, json_real(run->at.scores[i].value));
    json_object_set_new(peak, lam_device_name(run->device),
                        json_integer((json_int_t)lam_device_memory_total(run->device).peak));
    double seconds = run->seconds_before + lam_seconds() - run->begin;
    json_t *summary = json_pack(
        "{s:s, s:s, s:b, s:I, s:I, s:I, s:o, s:f, s:f, s:o, s:I, s:s}", "task", run->task->name, "model",
        run->config->model, "finished", finished, "epoch", (json_int_t)run->at.epoch, "step",
        (json_int_t)run->at.step, "parameters", (json_int_t)lam_params_count(lam_block_params(run->block)),
        "scores", scores, "images_per_s", lam_progress_rate(run->progress), "seconds", seconds, "peak_bytes",
        peak, "forecast_bytes", (json_int_t)run->forecast.total, "version", LAMINA_VERSION);
    for (int i = 0; summary && i < run->at.score_count; i++)
        json_object_set_new(summary, run->at.scores[i].name, json_real(run->at.scores[i].value));
    if (summary && run->at.has_best) json_object_set_new(summary, "best", json_real(run->at.best));
    return lam_folder_write_json(&run->folder, "summary.json", summary);
}
