/* The training loop. It reads in the order of a run: lam_train at the end opens everything, then epochs of
 * steps, then closes; what a step, an epoch's end, a checkpoint is stands above it.
 *
 * Between two steps a run is described by its position (snapshot.h) and the block's weights and optimizer
 * state; everything else follows from options and seed. That is why a checkpoint may be written after any
 * step and a resumed run does bit for bit what the stopped one would have done.
 *
 * Training and evaluation have a loader each, but never at the same time: memory for batches is counted once.
 */
#include "train/run.h"

#include <signal.h>
#include <stdlib.h>
#include <string.h>

#include "base/files.h"
#include "train/evaluate.h"
#include "train/run_internal.h"

static volatile sig_atomic_t stop_asked;

void lam_run_stop(void) {
    stop_asked = 1;
}

bool lam_run_stopping(void) {
    return stop_asked != 0;
}

/* ---- checkpoints ---- */

static lam_status save_as(struct run *run, const char *name) {
    struct lam_snapshot snapshot = {.task = run->task,
                                    .state = run->state,
                                    .block = run->block,
                                    .position = &run->at,
                                    .data = &run->data,
                                    .recipe = run->recipe};
    char *path = lam_folder_file(&run->folder, name);
    if (!path) return lam_fail(LAM_ERR_NO_MEMORY, "out of memory");
    lam_status status = lam_snapshot_save(&snapshot, path);
    free(path);
    return status;
}

/* The best one first: the last one records the best score, so a process that is killed in between must find
 * the last one without it, and evaluate again. Both hold the same position. */
static lam_status save_checkpoint(struct run *run) {
    run->at.metrics_lines = lam_lines_count(run->folder.metrics);
    run->at.memory_lines = lam_lines_count(run->folder.memory);
    if (run->save_best) LAM_TRY(save_as(run, "checkpoints/best.safetensors"));
    run->save_best = false;
    run->saved_at = run->at.step;
    return save_as(run, "checkpoints/last.safetensors");
}

static lam_status stop_here(struct run *run) {
    LAM_TRY(save_checkpoint(run));
    LAM_TRY(lam_run_summary(run, false));
    return lam_fail(
        LAM_ERR_STOPPED, "stopped by a signal after step %llu (epoch %llu); --resume --out %s goes on",
        (unsigned long long)run->at.step, (unsigned long long)run->at.epoch + 1, run->folder.path);
}

/* ---- a step ---- */

static lam_status log_step(struct run *run, double loss, double score, float rate) {
    if (run->at.step % (uint64_t)run->config->log_steps != 0) return LAM_OK;
    struct lam_metric metric = {
        .step = run->at.step, .epoch = run->at.epoch + 1, .block = 1, .name = "train/loss", .value = loss};
    LAM_TRY(lam_folder_metric(&run->folder, &metric));
    metric.name = "learning_rate";
    metric.value = (double)rate;
    LAM_TRY(lam_folder_metric(&run->folder, &metric));
    metric.name = "gradient_norm";
    metric.value = (double)lam_optimizer_gradient_norm(lam_block_optimizer(run->block));
    LAM_TRY(lam_folder_metric(&run->folder, &metric));
    if (!run->task->step_score) return LAM_OK;
    char name[64];
    snprintf(name, sizeof name, "train/%s", run->task->step_score_name);
    metric.name = name;
    metric.value = score;
    return lam_folder_metric(&run->folder, &metric);
}

static void show_step(struct run *run, int samples) {
    double count = run->at.samples ? (double)run->at.samples : 1;
    struct lam_progress_state state = {
        .epoch = (int64_t)run->at.epoch + 1,
        .epochs = run->config->epochs,
        .batch = (int64_t)run->at.batch,
        .batches = run->batches,
        .steps_left = (int64_t)(run->last_step - run->at.step),
        .samples = samples,
        .loss = run->at.loss_sum / count,
        .accuracy = run->task->step_score ? run->at.score_sum / count : -1,
        .peak_bytes = lam_device_memory_total(run->device).peak,
    };
    lam_progress_step(run->progress, &state);
}

/* Puts "step, epoch, batch, samples" in front of the error of a step. */
static lam_status name_batch(const struct run *run, const struct lam_batch *batch, lam_status status) {
    char text[512];
    int used = snprintf(text, sizeof text, "step %llu (epoch %llu, batch %lld; samples",
                        (unsigned long long)run->at.step + 1, (unsigned long long)batch->epoch + 1,
                        (long long)batch->number + 1);
    int shown = batch->count < 8 ? batch->count : 8;
    for (int i = 0; i < shown; i++)
        used += snprintf(text + used, sizeof text - (size_t)used, " %lld", (long long)batch->indices[i]);
    snprintf(text + used, sizeof text - (size_t)used, "%s)", batch->count > shown ? " ..." : "");
    return lam_fail_in(status, text);
}

static lam_status train_batch(struct run *run, const struct lam_batch *batch) {
    float loss, rate = lam_schedule_at(&run->schedule, run->at.step);
    double score = 0;
    lam_status status = lam_block_train(
        run->block,
        &(struct lam_block_step){
            .batch = batch, .learning_rate = rate, .seed = (uint64_t)run->config->seed, .step = run->at.step},
        &loss);
    if (status == LAM_ERR_NOT_FINITE) return name_batch(run, batch, status);
    LAM_TRY(status);
    if (run->task->step_score) LAM_TRY(run->task->step_score(run->state, run->block, batch->count, &score));
    run->started = true;
    run->at.step++;
    run->at.batch++;
    run->at.samples += (uint64_t)batch->count;
    run->at.loss_sum += (double)loss * batch->count;
    run->at.score_sum += score * batch->count;
    show_step(run, batch->count);
    return log_step(run, (double)loss, score, rate);
}

/* ---- an epoch ---- */

lam_status lam_run_loader(const struct run *run, struct lam_loader **loader) {
    const struct lam_config *config = run->config;
    const struct lam_network *network = run->task->network(run->state);
    struct lam_loader_options options = {
        .batch = (int)config->batch,
        .count = run->samples,
        .shuffle = !config->overfit_batch,
        .drop_last = run->drop_last,
        .seed = (uint64_t)config->seed,
        .threads = (int)config->loader_threads,
        .prefetch = (int)config->prefetch,
        .fields = network->fields,
        .field_count = network->field_count,
        .fill = run->task->fill_train,
        .context = run->state,
    };
    return lam_loader_create(&options, run->device, loader);
}

/* One step; *more: whether another one follows in this epoch. */
static lam_status next_step(struct run *run, struct lam_loader *loader, bool *more) {
    struct lam_batch *batch;
    if (lam_run_stopping()) return stop_here(run);
    LAM_TRY(lam_loader_next(loader, &batch));
    if (!batch) return lam_fail(LAM_ERR_INTERNAL, "the loader gave fewer batches than it has");
    lam_status status = train_batch(run, batch);
    lam_loader_release(loader, batch);
    LAM_TRY(status);
    *more = run->at.batch < (uint64_t)run->batches && run->at.step < run->last_step;
    if (!run->config->checkpoint_steps || run->at.step % (uint64_t)run->config->checkpoint_steps != 0)
        return LAM_OK;
    LAM_TRY(save_checkpoint(run));
    return lam_run_summary(run, false);
}

static lam_status train_epoch(struct run *run) {
    struct lam_loader *loader;
    bool more = run->at.batch < (uint64_t)run->batches && run->at.step < run->last_step;
    if (!more) return LAM_OK;
    LAM_TRY(lam_run_loader(run, &loader));
    lam_status status = lam_loader_start(loader, run->at.epoch, (int64_t)run->at.batch);
    lam_progress_resume(run->progress);
    while (status == LAM_OK && more) status = next_step(run, loader, &more);
    lam_progress_pause(run->progress, NULL);
    lam_loader_destroy(loader);
    return status;
}

/* ---- evaluation ---- */

/* With the weights' average, if there is one. */
static lam_status evaluate(struct run *run) {
    struct lam_evaluation evaluation = {.task = run->task,
                                        .state = run->state,
                                        .block = run->block,
                                        .batch = (int)run->config->batch,
                                        .config = run->config,
                                        .stop = lam_run_stopping};
    struct lam_score scores[LAM_MAX_SCORES];
    int count = 0;
    bool ema = run->config->ema > 0;
    lam_progress_pause(run->progress, "evaluating ...");
    if (ema) LAM_TRY(lam_optimizer_swap_ema(lam_block_optimizer(run->block)));
    lam_status status = lam_evaluate(&evaluation, scores, &count);
    if (ema) {
        struct lam_error error;
        lam_error_save(&error, status);
        LAM_TRY(lam_optimizer_swap_ema(lam_block_optimizer(run->block)));
        lam_error_restore(&error);
    }
    if (status == LAM_ERR_STOPPED) return stop_here(run);
    LAM_TRY(status);
    memcpy(run->at.scores, scores, sizeof scores);
    run->at.score_count = count;
    run->at.scored_at = run->at.step;
    return LAM_OK;
}

static lam_status log_scores(struct run *run) {
    for (int i = 0; i < run->at.score_count; i++) {
        char name[64];
        snprintf(name, sizeof name, "val/%s", run->at.scores[i].name);
        struct lam_metric metric = {
            .step = run->at.step, .epoch = run->at.epoch + 1, .name = name, .value = run->at.scores[i].value};
        LAM_TRY(lam_folder_metric(&run->folder, &metric));
    }
    return LAM_OK;
}

/* The fixed samples: predictions/epoch-0001.png and .json, and the event file. */
static lam_status show_predictions(struct run *run) {
    if (run->config->samples_shown == 0 || !run->task->show) return LAM_OK;
    struct lam_image mosaic = {0};
    json_t *list = NULL;
    LAM_TRY(run->task->show(run->state, &mosaic, &list));
    char name[64];
    snprintf(name, sizeof name, "predictions/epoch-%04llu.json", (unsigned long long)run->at.epoch + 1);
    lam_status status = lam_folder_write_json(&run->folder, name, list);
    if (status == LAM_OK && mosaic.width) {
        snprintf(name, sizeof name, "predictions/epoch-%04llu.png", (unsigned long long)run->at.epoch + 1);
        char *path = lam_folder_file(&run->folder, name);
        status = path ? lam_image_save_png(path, &mosaic) : lam_fail(LAM_ERR_NO_MEMORY, "out of memory");
        free(path);
        if (status == LAM_OK)
            status = lam_events_image(run->folder.events, run->at.step, "predictions", &mosaic);
    }
    lam_image_free(&mosaic);
    return status;
}

static lam_status evaluate_and_keep(struct run *run) {
    LAM_TRY(evaluate(run));
    LAM_TRY(log_scores(run));
    LAM_TRY(show_predictions(run));
    LAM_TRY(lam_run_report(run));
    double score = run->at.score_count ? run->at.scores[0].value : 0;
    bool better =
        !run->at.has_best || (run->task->lower_is_better ? score < run->at.best : score > run->at.best);
    if (!better) return LAM_OK;
    run->at.has_best = true;
    run->at.best = score;
    run->save_best = true;
    return LAM_OK;
}

/* ---- an epoch's end ---- */

static void print_epoch(struct run *run, bool evaluated) {
    char text[512];
    size_t size = sizeof text;
    double count = run->at.samples ? (double)run->at.samples : 1;
    int used = snprintf(text, size, "epoch %llu/%lld  loss %.4f", (unsigned long long)run->at.epoch + 1,
                        (long long)run->config->epochs, run->at.loss_sum / count);
    if (run->task->step_score)
        used += snprintf(text + used, size - (size_t)used, "  %s %.4f", run->task->step_score_name,
                         run->at.score_sum / count);
    for (int i = 0; evaluated && i < run->at.score_count && (size_t)used < size; i++)
        used += snprintf(text + used, size - (size_t)used, "  val %s %.4f", run->at.scores[i].name,
                         run->at.scores[i].value);
    char peak[32];
    lam_bytes_text(lam_device_memory_total(run->device).peak, peak, sizeof peak);
    lam_progress_line(run->progress, "%s  %.0f img/s  peak %s", text, lam_progress_rate(run->progress), peak);
}

static lam_status log_epoch(struct run *run) {
    double count = run->at.samples ? (double)run->at.samples : 1;
    struct lam_metric metric = {.step = run->at.step,
                                .epoch = run->at.epoch + 1,
                                .name = "epoch/loss",
                                .value = run->at.loss_sum / count};
    LAM_TRY(lam_folder_metric(&run->folder, &metric));
    metric.name = "images_per_s";
    metric.value = lam_progress_rate(run->progress);
    LAM_TRY(lam_folder_metric(&run->folder, &metric));
    if (run->task->step_score) {
        char name[64];
        snprintf(name, sizeof name, "epoch/%s", run->task->step_score_name);
        metric.name = name;
        metric.value = run->at.score_sum / count;
        LAM_TRY(lam_folder_metric(&run->folder, &metric));
    }
    return lam_memory_write(run->folder.memory, run->at.step, run->device);
}

static lam_status end_epoch(struct run *run) {
    bool last = run->at.epoch + 1 >= (uint64_t)run->config->epochs;
    bool due = last || (run->at.epoch + 1) % (uint64_t)run->config->eval_epochs == 0;
    if (due) LAM_TRY(evaluate_and_keep(run));
    LAM_TRY(log_epoch(run));
    print_epoch(run, due);
    run->at.epoch++;
    run->at.batch = run->at.samples = 0;
    run->at.loss_sum = run->at.score_sum = 0;
    if (last || run->save_best || run->at.epoch % (uint64_t)run->config->checkpoint_epochs == 0)
        LAM_TRY(save_checkpoint(run));
    return lam_run_summary(run, false);
}

/* ---- the whole run ---- */

static lam_status train(struct run *run) {
    if (!lam_path_exists(run->last_path))
        LAM_TRY(save_checkpoint(run)); /* a stop has something to go on with */
    while (run->at.epoch < (uint64_t)run->config->epochs) {
        LAM_TRY(train_epoch(run));
        if (run->at.batch < (uint64_t)run->batches) break; /* by --max-steps */
        LAM_TRY(end_epoch(run)); /* also where an earlier process was stopped while evaluating */
    }
    if (!run->at.score_count ||
        run->at.scored_at != run->at.step) { /* ended inside an epoch by --max-steps */
        LAM_TRY(evaluate_and_keep(run));
        print_epoch(run, true);
    }
    bool saved =
        run->saved_at == run->at.step && run->at.metrics_lines == lam_lines_count(run->folder.metrics);
    if (!saved || run->save_best) LAM_TRY(save_checkpoint(run));
    return lam_run_summary(run, true);
}

static void fill_result(const struct run *run, struct lam_run_result *result) {
    result->started = run->started;
    memcpy(result->scores, run->at.scores, sizeof result->scores);
    result->score_count = run->at.score_count;
    result->images_per_s = lam_run_images_per_s(run);
    result->seconds = lam_run_seconds(run);
    result->peak_bytes = run->device ? lam_device_memory_total(run->device).peak : run->past.peak_bytes;
}

int lam_refusal_code(lam_status status) {
    return status == LAM_ERR_IO ? lam_exit_code(LAM_ERR_INVALID) : lam_exit_code(status);
}

/* A failure in mid-run is a failed run (1), whatever kind of input it was. */
static int exit_code(const struct run *run, bool opened, lam_status status) {
    if (status == LAM_ERR_STOPPED || (opened && !run->started)) return lam_exit_code(status);
    if (status == LAM_OK) return 0;
    return run->started ? 1 : lam_refusal_code(status);
}

lam_status lam_train(const struct lam_run_setup *setup, struct lam_run_result *result) {
    struct run run = {.setup = setup,
                      .task = setup->task,
                      .config = setup->config,
                      .folder = {.lock = -1},
                      .begin = lam_seconds()};
    memset(result, 0, sizeof *result);
    lam_status status = lam_run_open(&run);
    bool opened = status == LAM_OK;
    if (opened && !run.nothing_left) status = train(&run);
    fill_result(&run, result);
    result->exit_code = exit_code(&run, opened, status);
    struct lam_error error;
    lam_error_save(&error, status);
    lam_run_close(&run);
    return lam_error_restore(&error);
}
