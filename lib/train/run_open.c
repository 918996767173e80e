/* Opening a run: everything that can be refused is refused here, before the folder of a new run is made; then
 * the memory, the weights, and the folder. */
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
    for (int split = 0; split < 2; split++) {
        run->data.samples[split] = run->task->samples(run->state, (enum lam_split)split);
        run->data.hash[split] = run->task->data_hash(run->state, (enum lam_split)split);
    }
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

static lam_status create_block(struct run *run) {
    lam_block_destroy(run->block);
    run->block = NULL;
    const struct lam_network *network = run->task->network(run->state);
    struct lam_block_options options = {
        .network = network,
        .last = network->units - 1,
        .batch = (int)run->config->batch,
        .tail = run->drop_last ? 0 : (int)(run->samples % run->config->batch),
        .precision = run->config->precision ? LAM_BF16 : LAM_F32,
        .optimizer = lam_config_optimizer(run->config),
        .tuning = run->tuning,
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

static size_t data_bytes(const struct run *run) {
    const struct lam_network *network = run->task->network(run->state);
    int batch = (int)run->config->batch, prefetch = (int)run->config->prefetch, count;
    const struct lam_field *fields = run->task->eval_fields(run->state, &count);
    size_t training = lam_forecast_loader(network->fields, network->field_count, batch, prefetch);
    size_t evaluation = lam_forecast_loader(fields, count, batch, prefetch);
    return training > evaluation ? training : evaluation;
}

static void print_forecast(const struct run *run, const char *before) {
    if (!run->setup->out || run->config->quiet) return;
    fputs(before, run->setup->out);
    lam_forecast_print(&run->forecast, run->setup->out);
    fflush(run->setup->out);
}

static void print_plan(const struct run *run) {
    FILE *out = run->setup->out;
    if (!out || run->config->quiet) return;
    const struct lam_config *config = run->config;
    double flops = lam_block_training_flops(run->block);
    fprintf(out, "%s: %s, %lld parameters, %.2f GFLOP an image; %lld training and %lld validation samples\n",
            run->task->name, config->model, (long long)lam_params_count(lam_block_params(run->block)),
            flops / 1e9 / (double)config->batch, (long long)run->samples,
            (long long)run->task->samples(run->state, LAM_SPLIT_VAL));
    fprintf(out, "%lld epochs of %lld batches of %lld, %s, %s, seed %lld\n", (long long)config->epochs,
            (long long)run->batches, (long long)config->batch, config->precision ? "bf16" : "f32",
            config->tuning ? "measured kernels" : "kernels by rule", (long long)config->seed);
    print_forecast(run, "");
}

static struct lam_forecast forecast(const struct run *run) {
    return lam_forecast_block(run->block, data_bytes(run), lam_device_limit(run->device));
}

/* ---- measured kernels ---- */

static lam_status open_tuning(struct run *run, const char *plan, enum lam_tuning_mode mode, bool use_cache) {
    lam_tuning_destroy(run->tuning);
    run->tuning = NULL;
    LAM_TRY(lam_tuning_record_open(mode, run->device, plan, run->setup->recorded, use_cache, &run->tuning));
    lam_tuning_set_stop(run->tuning, lam_run_stopping);
    return LAM_OK;
}

static lam_status choose_by_rule(struct run *run, const char *plan) {
    LAM_TRY(open_tuning(run, plan, LAM_TUNING_FIXED, false));
    return create_block(run);
}

/* What rules of shape choose needs about what measured kernels will need: a run that cannot fit is refused
 * before anything is measured. */
static lam_status forecast_by_rule(struct run *run, const char *plan) {
    LAM_TRY(choose_by_rule(run, plan));
    run->forecast = forecast(run);
    print_plan(run);
    return lam_forecast_check(&run->forecast, 1);
}

/* Opens the record; where it is empty, everything will be measured, which takes a while. */
static lam_status begin_measuring(struct run *run, const char *plan, bool use_cache) {
    LAM_TRY(open_tuning(run, plan, LAM_TUNING_MEASURE, use_cache));
    if (lam_tuning_size(run->tuning) > 0) return LAM_OK;
    LAM_TRY(forecast_by_rule(run, plan));
    if (run->setup->out && !run->config->quiet) {
        fputs("measuring kernels, once for this network on this machine ...\n", run->setup->out);
        fflush(run->setup->out);
    }
    return open_tuning(run, plan, LAM_TUNING_MEASURE, false);
}

/* A cache that an older Lamina wrote may hold choices that are no more; other failures would only come again. */
static bool may_be_stale(lam_status status) {
    return status == LAM_ERR_INVALID || status == LAM_ERR_FORMAT || status == LAM_ERR_UNSUPPORTED ||
           status == LAM_ERR_NOT_FOUND;
}

/* Measuring takes memory too. Where the limit forbids it, rules choose. */
static lam_status choose_by_measuring(struct run *run, const char *plan) {
    LAM_TRY(begin_measuring(run, plan, true));
    lam_status status = create_block(run);
    if (may_be_stale(status)) {
        LAM_TRY(begin_measuring(run, plan, false));
        status = create_block(run);
    }
    if (status == LAM_ERR_MEMORY_LIMIT) {
        lam_log(LAM_LOG_NOTICE, "too little memory to measure kernels in; rules of shape choose them");
        status = choose_by_rule(run, plan);
    }
    if (status == LAM_OK) lam_tuning_record_keep(run->tuning, run->device, plan);
    return status;
}

static lam_status create_tuned_block(struct run *run) {
    char *plan = plan_text(run);
    if (!plan) return no_memory();
    lam_status status = run->config->tuning ? choose_by_measuring(run, plan) : choose_by_rule(run, plan);
    free(plan);
    return status;
}

/* ---- the folder ---- */

static lam_status open_folder(struct run *run) {
    char *name = NULL;
    if (!*run->config->out) LAM_TRY(lam_folder_free_name(run->config->model, &name));
    lam_status status = lam_folder_open(name ? name : run->config->out, run->config->resume, &run->folder);
    free(name);
    LAM_TRY(status);
    run->last_path = lam_folder_file(&run->folder, "checkpoints/last.safetensors");
    return run->last_path ? LAM_OK : no_memory();
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

/* Checkpoints and logs are JSON, which is UTF-8. */
static lam_status check_utf8(const char *option, const char *value) {
    json_t *text = json_string(value);
    bool good = text != NULL;
    json_decref(text);
    if (good) return LAM_OK;
    return lam_fail(LAM_ERR_UNSUPPORTED, "--%s %s: is not UTF-8, as a checkpoint needs it; rename the folder",
                    option, value);
}

/* That the options can be saved, before anything is made. */
static lam_status check_saved_texts(const struct run *run) {
    char *options;
    LAM_TRY(lam_options_ini(run->setup->options, 0, &options));
    free(options);
    LAM_TRY(check_utf8("data", run->config->data));
    return check_utf8("val", run->config->val);
}

/* ---- all of it ---- */

lam_status lam_run_prepare(struct run *run) {
    LAM_TRY(open_task(run));
    if (run->from) LAM_TRY(lam_run_check_data(run));
    LAM_TRY(open_device(run));
    LAM_TRY(create_tuned_block(run));
    size_t told = run->forecast.total; /* 0: nothing had to be measured, nothing was told */
    run->forecast = forecast(run);
    if (told == 0)
        print_plan(run);
    else if (told != run->forecast.total)
        print_forecast(run, "with measured kernels: ");
    return lam_forecast_check(&run->forecast, 1);
}

lam_status lam_run_start_weights(struct run *run) {
    lam_device_memory_reset_peak(run->device); /* measuring does not count */
    run->stage = (struct lam_stage){.device = run->device, .blocks = &run->block, .count = 1};
    LAM_TRY(lam_stage_allocate(&run->stage));
    if (!run->from) return lam_params_init(lam_block_params(run->block), (uint64_t)run->config->seed);
    LAM_TRY(lam_snapshot_weights(run->from, run->block, false));
    LAM_TRY(lam_snapshot_optimizer(run->from, run->block));
    if (run->at.batch > (uint64_t)run->batches)
        return lam_fail(LAM_ERR_FORMAT, "%s: stands at batch %llu of an epoch of %lld",
                        lam_checkpoint_path(run->from), (unsigned long long)run->at.batch,
                        (long long)run->batches);
    return LAM_OK;
}

static lam_status open_logs(struct run *run) {
    LAM_TRY(lam_folder_write_text(&run->folder, "config.ini", run->config_ini));
    LAM_TRY(lam_folder_open_logs(&run->folder, run->at.metrics_lines, run->at.memory_lines, run->at.step));
    if (!run->from) LAM_TRY(lam_memory_write(run->folder.memory, run->at.step, run->device));
    bool quiet = run->config->quiet;
    struct lam_progress_options progress = {.lines = quiet ? NULL : run->setup->out,
                                            .bar = quiet ? NULL : run->setup->err};
    LAM_TRY(lam_progress_create(&progress, &run->progress));
    lam_progress_pause(run->progress, NULL);
    lam_progress_line(run->progress, "%s %s", run->from ? "resuming" : "writing", run->folder.path);
    return lam_run_summary(run, false);
}

lam_status lam_run_open(struct run *run) {
    const struct lam_config *config = run->config;
    LAM_TRY(*config->out ? lam_folder_check(config->out, config->resume) : lam_check_output_folder("runs"));
    LAM_TRY(check_saved_texts(run));
    if (config->resume) LAM_TRY(open_folder(run)); /* locked: what is read from here on stays as it is */
    if (config->resume) LAM_TRY(lam_run_resume(run));
    if (run->nothing_left) return LAM_OK;
    LAM_TRY(lam_run_prepare(run));
    LAM_TRY(make_recipe(run, 0, &run->config_ini));
    LAM_TRY(make_recipe(run, LAM_OPTION_MACHINE, &run->recipe));
    LAM_TRY(lam_run_start_weights(run));
    if (lam_run_stopping()) return lam_fail(LAM_ERR_STOPPED, "stopped by a signal before the first step");
    if (!config->resume) LAM_TRY(open_folder(run));
    return open_logs(run);
}

void lam_run_close(struct run *run) {
    lam_progress_destroy(run->progress);
    lam_folder_close(&run->folder);
    lam_stage_free(&run->stage);
    lam_block_destroy(run->block);
    lam_tuning_destroy(run->tuning);
    lam_device_close(run->device);
    if (run->state) run->task->close(run->state);
    lam_checkpoint_close(run->from);
    free(run->config_ini);
    free(run->recipe);
    free(run->last_path);
}
