/* Opening a run: everything that can be refused is refused here, before the folder of a new run is made; then
 * the memory, the weights, and the folder. */
#include <stdlib.h>
#include <string.h>

#include "base/files.h"
#include "base/log.h"
#include "train/run_internal.h"
#include "train/tuning_record.h"

enum { TRACED_SPANS = 1 << 14, WATCHDOG_SECONDS = 60 };

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

/* Ranks on several machines may each have a cuda:0: reports tell them apart. */
static lam_status tell_apart(struct lam_device *device, char *const *names, int count, int rank) {
    char name[96];
    bool alone = true;
    for (int d = 0; d < count; d++) alone = alone && (d == rank || strcmp(names[d], names[rank]) != 0);
    snprintf(name, sizeof name, "%.64s of rank %d", names[rank], rank);
    return alone ? LAM_OK : lam_device_rename(device, name);
}

static lam_status open_devices(struct run *run) {
    char **names;
    size_t *limits;
    int count;
    LAM_TRY(lam_config_devices(run->config, &names, &limits, &count));
    lam_status status =
        count <= LAM_MAX_DEVICES ? LAM_OK : lam_fail(LAM_ERR_INVALID, "--devices: %d are too many", count);
    for (int d = 0; d < count && status == LAM_OK; d++) {
        status = lam_device_open(names[d], limits[d], &run->devices[d]);
        if (status == LAM_OK) status = tell_apart(run->devices[d], names, count, d);
        if (status == LAM_OK) lam_device_set_modes(run->devices[d], lam_config_modes(run->config));
        run->device_count = d + (status == LAM_OK);
    }
    lam_config_free_devices(names, limits, count);
    return status;
}

/* ---- blocks and pipeline ---- */

static bool end_to_end(const struct run *run) {
    return run->config->schedule == LAM_PIPELINE_GPIPE || run->config->schedule == LAM_PIPELINE_1F1B;
}

static struct lam_aux_options aux_options(const struct lam_config *config) {
    return (struct lam_aux_options){
        .stages = config->glcan_global == LAM_GLCAN_STAGES,
        .no_lb = config->glcan_branches == LAM_GLCAN_EMA || config->glcan_branches == LAM_GLCAN_NEITHER,
        .no_ema = config->glcan_branches == LAM_GLCAN_LB || config->glcan_branches == LAM_GLCAN_NEITHER,
        .fixed_mix = config->glcan_fixed_mix,
        .depth = (int)config->glcan_depth};
}

static size_t data_bytes(const struct run *run) {
    const struct lam_network *network = run->task->network(run->state);
    int batch = (int)run->config->batch, prefetch = (int)run->config->prefetch, count;
    const struct lam_field *fields = run->task->eval_fields(run->state, &count);
    size_t training = lam_forecast_loader(network->fields, network->field_count, batch, prefetch);
    size_t evaluation = lam_forecast_loader(fields, count, lam_network_eval_batch(network, batch), prefetch);
    return training > evaluation ? training : evaluation;
}

/* What a cut under memory limits must leave room for. */
static struct lam_chain_room chain_room(const struct run *run) {
    const struct lam_config *config = run->config;
    enum lam_pipeline_schedule schedule = (enum lam_pipeline_schedule)config->schedule;
    return (struct lam_chain_room){
        .data = data_bytes(run),
        .slot_fields = lam_pipeline_slot_fields(run->task->network(run->state), (int)config->batch),
        .slots = lam_pipeline_slots(schedule, (int)config->queue),
        .versions = lam_pipeline_versions((int)config->ema_lag)};
}

static lam_status create_chain(struct run *run) {
    const struct lam_config *config = run->config;
    struct lam_chain_options options = {
        .network = run->task->network(run->state),
        .devices = run->devices,
        .device_count = run->device_count,
        .blocks = (int)config->blocks,
        .partition = config->partition,
        .fit = lam_config_fits(config),
        .explain = run->setup->explain,
        .room = chain_room(run),
        .aux_options = aux_options(config),
        .micro_batches = end_to_end(run) ? (int)config->micro_batches : 0,
        .all_in_flight = config->schedule == LAM_PIPELINE_GPIPE,
        .batch = (int)config->batch,
        .tail = run->drop_last ? 0 : (int)(run->samples % config->batch),
        .precision = config->precision == LAM_PRECISION_BF16 ? LAM_BF16 : LAM_F32,
        .optimizer = lam_config_optimizer(config),
        .tuning = run->tuning,
    };
    if (config->method != LAM_METHOD_NONE)
        LAM_TRY(lam_aux_find(lam_method_name(config->method), &options.aux));
    return lam_chain_create(&options, &run->chain);
}

/* Batches between hand-in and the last block's word: all slots there are, and one that is being handed in. */
static lam_status create_steps(struct run *run) {
    run->step_capacity = (int)(run->config->queue + 4 + LAM_PIPELINE_STAGING) * (run->chain.count + 1) + 4;
    free(run->steps);
    run->steps = calloc((size_t)run->step_capacity, sizeof *run->steps);
    return run->steps ? LAM_OK : lam_no_memory();
}

static void destroy_blocks(struct run *run) {
    lam_pipeline_destroy(run->pipeline);
    run->pipeline = NULL;
    lam_chain_destroy(&run->chain);
}

static lam_status create_blocks(struct run *run) {
    destroy_blocks(run);
    LAM_TRY(create_chain(run));
    struct lam_pipeline_options options = {.blocks = run->chain.blocks,
                                           .block_count = run->chain.count,
                                           .schedule = (enum lam_pipeline_schedule)run->config->schedule,
                                           .queue = (int)run->config->queue,
                                           .ema_momentum = (float)run->config->ema_momentum,
                                           .ema_lag = (int)run->config->ema_lag,
                                           .seed = (uint64_t)run->config->seed,
                                           .trace = run->trace,
                                           .transport = run->transport,
                                           .context = run,
                                           .step_done = lam_run_step_done,
                                           .evaluated = lam_run_evaluated,
                                           .watchdog_seconds = WATCHDOG_SECONDS};
    LAM_TRY(lam_pipeline_create(&options, &run->pipeline));
    return create_steps(run);
}

int64_t lam_run_parameters(const struct run *run, bool auxiliary) {
    int64_t count = 0;
    for (int j = 0; j < run->chain.count; j++) {
        const struct lam_params *params = lam_block_params(run->chain.blocks[j]);
        for (int i = 0; i < lam_params_size(params); i++) {
            const struct lam_param *param = lam_params_get(params, i);
            bool of_aux = !strncmp(param->name, LAM_AUX_SCOPE, strlen(LAM_AUX_SCOPE));
            if (!param->buffer && of_aux == auxiliary) count += param->count;
        }
    }
    return count;
}

double lam_run_flops(const struct run *run) {
    double flops = 0;
    double times = end_to_end(run) ? (double)run->config->micro_batches : 1;
    for (int j = 0; j < run->chain.count; j++)
        flops += times * lam_block_training_flops(run->chain.blocks[j]);
    return flops;
}

size_t lam_run_forecast_bytes(const struct run *run) {
    size_t bytes = 0;
    for (int d = 0; d < run->device_count; d++) bytes += run->forecasts[d].total;
    return bytes;
}

size_t lam_run_peak_bytes(const struct run *run) {
    size_t bytes = 0;
    for (int d = 0; d < run->device_count; d++) bytes += lam_run_device(run, d).memory.total.peak;
    return bytes;
}

/* All that choices depend on beside the device. */
static char *plan_text(const struct run *run) {
    const struct lam_network *network = run->task->network(run->state);
    const struct lam_config *config = run->config;
    char shape[96];
    return lam_format("%s|%s|%s|%lld|%lld|%s|%s|%lld|%s|%d|%s|%d%s%s", run->task->name, config->model,
                      lam_shape_text(network->fields[0].shape, shape, sizeof shape), (long long)config->batch,
                      (long long)(run->drop_last ? 0 : run->samples % config->batch),
                      lam_precision_name(config->precision), lam_method_name(config->method),
                      (long long)config->blocks, config->partition, run->device_count,
                      lam_device_describe(run->devices[run->device_count - 1]),
                      end_to_end(run) ? (int)config->micro_batches : 0, lam_config_fits(config) ? "|" : "",
                      lam_config_fits(config) ? config->fit_memory : "");
}

/* A cut that does not fit can be another one. */
static lam_status check_forecasts(const struct run *run) {
    const struct lam_config *config = run->config;
    char why[512];
    lam_status status = lam_forecast_check(run->forecasts, run->device_count);
    bool could_move = config->method != LAM_METHOD_NONE && config->blocks > 1 &&
                      strcmp(config->partition, "profiled") != 0 && !*config->fit_memory;
    if (status != LAM_ERR_MEMORY_LIMIT || !could_move) return status;
    snprintf(why, sizeof why, "%s", lam_error_text());
    return lam_fail(status, "%s; or cut elsewhere: --partition profiled, or --fit-memory", why);
}

static void print_forecast(const struct run *run, const char *before) {
    if (!run->setup->out || run->config->quiet) return;
    fputs(before, run->setup->out);
    for (int d = 0; d < run->device_count; d++) lam_forecast_print(&run->forecasts[d], run->setup->out);
    fflush(run->setup->out);
}

static void print_plan(const struct run *run) {
    FILE *out = run->setup->out;
    if (!out || run->config->quiet) return;
    const struct lam_config *config = run->config;
    char auxiliary[64] = "";
    if (lam_run_parameters(run, true))
        snprintf(auxiliary, sizeof auxiliary, " and %lld auxiliary",
                 (long long)lam_run_parameters(run, true));
    fprintf(out,
            "%s: %s, %lld%s parameters, %.2f GFLOP an image; %lld training and %lld validation samples\n",
            run->task->name, config->model, (long long)lam_run_parameters(run, false), auxiliary,
            lam_run_flops(run) / 1e9 / (double)config->batch, (long long)run->samples,
            (long long)run->task->samples(run->state, LAM_SPLIT_VAL));
    fprintf(out, "%lld epochs of %lld batches of %lld, %s, %s, seed %lld\n", (long long)config->epochs,
            (long long)run->batches, (long long)config->batch, lam_precision_name(config->precision),
            config->tuning ? "measured kernels" : "kernels by rule", (long long)config->seed);
    for (int j = 0; run->chain.count > 1 && j < run->chain.count; j++)
        fprintf(out, "%s on %s\n", lam_block_name(run->chain.blocks[j]),
                lam_device_name(lam_block_device(run->chain.blocks[j])));
    if (*run->chain.why && !run->setup->explain) fprintf(out, "cut %s\n", run->chain.why);
    print_forecast(run, "");
}

/* What is free on another rank's device, that rank knows. */
static void make_forecasts(struct run *run) {
    for (int d = 0; d < run->device_count; d++) {
        run->forecasts[d] = lam_forecast_device(run->pipeline, d, data_bytes(run));
        if (!lam_pipeline_local(run->pipeline, d)) run->forecasts[d].free_known = false;
    }
}

/* ---- measured kernels ---- */

static lam_status open_tuning(struct run *run, const char *plan, enum lam_tuning_mode mode, bool use_cache) {
    lam_tuning_destroy(run->tuning);
    run->tuning = NULL;
    LAM_TRY(
        lam_tuning_record_open(mode, run->devices[0], plan, run->setup->recorded, use_cache, &run->tuning));
    lam_tuning_set_stop(run->tuning, lam_run_stopping);
    return LAM_OK;
}

static lam_status choose_by_rule(struct run *run, const char *plan) {
    LAM_TRY(open_tuning(run, plan, LAM_TUNING_FIXED, false));
    return create_blocks(run);
}

/* What rules of shape choose needs about what measured kernels will need: a run that cannot fit is refused
 * before anything is measured. */
static lam_status forecast_by_rule(struct run *run, const char *plan) {
    LAM_TRY(choose_by_rule(run, plan));
    make_forecasts(run);
    print_plan(run);
    return check_forecasts(run);
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

/* Measuring takes memory too. Where there is none, rules choose. */
static lam_status choose_by_measuring(struct run *run, const char *plan) {
    LAM_TRY(begin_measuring(run, plan, true));
    lam_status status = create_blocks(run);
    if (may_be_stale(status)) {
        LAM_TRY(begin_measuring(run, plan, false));
        status = create_blocks(run);
    }
    if (status == LAM_ERR_MEMORY_LIMIT || status == LAM_ERR_NO_MEMORY) {
        lam_log(LAM_LOG_NOTICE, "too little memory to measure kernels in; rules of shape choose them");
        status = choose_by_rule(run, plan);
    }
    if (status == LAM_OK) lam_tuning_record_keep(run->tuning, run->devices[0], plan);
    return status;
}

/* What the last rank found out, which holds for all: they are to be equal. */
static lam_status choose_as_head(struct run *run, const char *plan) {
    enum lam_tuning_mode mode;
    struct lam_tuning *chosen;
    LAM_TRY(lam_run_receive_choices(run, &mode, &chosen));
    lam_tuning_destroy(run->tuning);
    run->tuning = NULL;
    lam_status status = lam_tuning_record_open(mode, run->devices[0], plan, chosen, false, &run->tuning);
    lam_tuning_destroy(chosen);
    return status == LAM_OK ? create_blocks(run) : status;
}

static lam_status create_tuned_blocks(struct run *run) {
    char *plan = plan_text(run);
    if (!plan) return lam_no_memory();
    lam_status status;
    if (!run->head)
        status = choose_as_head(run, plan);
    else
        status = run->config->tuning ? choose_by_measuring(run, plan) : choose_by_rule(run, plan);
    if (status == LAM_OK && run->head) status = lam_run_send_choices(run);
    if (status == LAM_OK) status = lam_run_check_choices(run);
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
    return run->last_path ? LAM_OK : lam_no_memory();
}

/* Options and measured choices as one INI text. */
static lam_status make_recipe(const struct run *run, unsigned without, char **text) {
    char *options, *tuning;
    LAM_TRY(lam_options_ini(run->setup->options, without, &options));
    lam_status status = lam_tuning_record_ini(run->tuning, &tuning);
    if (status == LAM_OK) {
        *text = lam_format("%s%s", options, tuning);
        free(tuning);
        if (!*text) status = lam_no_memory();
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
    LAM_TRY(open_devices(run));
    LAM_TRY(lam_run_check_ranks(run));
    if (run->device_count > 1) LAM_TRY(lam_trace_create(run->device_count, TRACED_SPANS, &run->trace));
    lam_status status = create_tuned_blocks(run);
    if (status != LAM_OK) lam_run_print_least(run);
    LAM_TRY(status);
    size_t told = lam_run_forecast_bytes(run); /* 0: nothing had to be measured, nothing was told */
    make_forecasts(run);
    if (told == 0)
        print_plan(run);
    else if (told != lam_run_forecast_bytes(run))
        print_forecast(run, "with measured kernels: ");
    return check_forecasts(run);
}

static lam_status load_weights(struct run *run) {
    for (int j = 0; j < run->chain.count; j++) {
        if (!lam_pipeline_has_block(run->pipeline, j)) continue;
        LAM_TRY(lam_snapshot_weights(run->from, run->chain.blocks[j], false));
        LAM_TRY(lam_snapshot_optimizer(run->from, run->chain.blocks[j]));
        LAM_TRY(lam_snapshot_versions(run->from, run->pipeline, j, run->chain.blocks[j], run->at.step));
    }
    if (run->at.batch > (uint64_t)run->batches)
        return lam_fail(LAM_ERR_FORMAT, "%s: stands at batch %llu of an epoch of %lld",
                        lam_checkpoint_path(run->from), (unsigned long long)run->at.batch,
                        (long long)run->batches);
    return LAM_OK;
}

lam_status lam_run_start_weights(struct run *run) {
    for (int d = 0; d < run->device_count; d++)
        lam_device_memory_reset_peak(run->devices[d]); /* measuring does not count */
    LAM_TRY(lam_pipeline_allocate(run->pipeline));
    if (run->from) LAM_TRY(load_weights(run));
    for (int j = 0; !run->from && j < run->chain.count; j++)
        if (lam_pipeline_has_block(run->pipeline, j))
            LAM_TRY(lam_params_init(lam_block_params(run->chain.blocks[j]), (uint64_t)run->config->seed));
    return lam_pipeline_start(run->pipeline, run->at.step, !run->from);
}

/* In a rank that keeps no folder. */
static lam_status open_nothing(struct run *run) {
    struct lam_progress_options progress = {.lines = NULL};
    LAM_TRY(lam_progress_create(&progress, &run->progress));
    lam_progress_pause(run->progress, NULL);
    return LAM_OK;
}

static lam_status open_logs(struct run *run) {
    LAM_TRY(lam_folder_write_text(&run->folder, "config.ini", run->config_ini));
    LAM_TRY(lam_folder_open_logs(&run->folder, run->at.metrics_lines, run->at.memory_lines, run->at.step));
    for (int d = 0; !run->from && d < run->device_count; d++) {
        struct run_device device = lam_run_device(run, d);
        LAM_TRY(lam_memory_write(run->folder.memory, run->at.step, lam_device_name(run->devices[d]),
                                 &device.memory));
    }
    bool quiet = run->config->quiet;
    struct lam_progress_options progress = {.lines = quiet ? NULL : run->setup->out,
                                            .bar = quiet ? NULL : run->setup->err};
    LAM_TRY(lam_progress_create(&progress, &run->progress));
    lam_progress_pause(run->progress, NULL);
    lam_progress_line(run->progress, "%s %s", run->from ? "resuming" : "writing", run->folder.path);
    return lam_run_summary(run, false);
}

/* A run that is to go on: the head locks its folder; the other ranks read what they need of it. */
static lam_status open_resumed(struct run *run) {
    if (run->head) LAM_TRY(open_folder(run)); /* locked: what is read from here on stays as it is */
    LAM_TRY(lam_run_meet(run));
    if (!run->head) run->folder.path = strdup(run->config->out);
    if (!run->head) run->last_path = lam_folder_file(&run->folder, "checkpoints/last.safetensors");
    if (!run->folder.path || !run->last_path) return lam_no_memory();
    return lam_run_resume(run);
}

lam_status lam_run_open(struct run *run) {
    const struct lam_config *config = run->config;
    if (run->head)
        LAM_TRY(*config->out ? lam_folder_check(config->out, config->resume)
                             : lam_check_output_folder("runs"));
    LAM_TRY(check_saved_texts(run));
    if (config->resume) LAM_TRY(open_resumed(run));
    if (run->nothing_left) return LAM_OK;
    LAM_TRY(lam_run_prepare(run));
    LAM_TRY(lam_run_settle_fit(run));
    LAM_TRY(make_recipe(run, 0, &run->config_ini));
    LAM_TRY(make_recipe(run, LAM_OPTION_MACHINE, &run->recipe));
    LAM_TRY(lam_run_start_weights(run));
    if (lam_run_stopping()) return lam_fail(LAM_ERR_STOPPED, "stopped by a signal before the first step");
    LAM_TRY(lam_run_gather_devices(run)); /* every rank is fine */
    if (run->head && !config->resume) LAM_TRY(open_folder(run));
    return run->head ? open_logs(run) : open_nothing(run);
}

void lam_run_close(struct run *run) {
    lam_progress_destroy(run->progress);
    lam_folder_close(&run->folder);
    if (run->pipeline) lam_pipeline_stop(run->pipeline);
    bool last_closes = lam_transport_close(run->transport);
    run->silent = !run->head && last_closes;
    destroy_blocks(run); /* not before: what was under way to another rank may still be read */
    lam_trace_destroy(run->trace);
    lam_tuning_destroy(run->tuning);
    for (int d = 0; d < run->device_count; d++) lam_device_close(run->devices[d]);
    free(run->steps);
    if (run->state) run->task->close(run->state);
    lam_checkpoint_close(run->from);
    free(run->config_ini);
    free(run->recipe);
    free(run->last_path);
}
