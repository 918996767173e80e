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
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "base/files.h"
#include "base/log.h"
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
                                    .blocks = run->chain.blocks,
                                    .block_count = run->chain.count,
                                    .pipeline = run->pipeline,
                                    .position = &run->at,
                                    .data = &run->data,
                                    .recipe = run->recipe,
                                    .fetch = lam_run_fetch,
                                    .context = run};
    if (!run->head) return lam_run_give(run, &snapshot);
    char *path = lam_folder_file(&run->folder, name);
    if (!path) return lam_no_memory();
    lam_status status = lam_snapshot_save(&snapshot, path);
    free(path);
    return status;
}

/* The best one first: the last one records the best score, so a process that is killed in between must find
 * the last one without it, and evaluate again. Both hold the same position. */
static lam_status save_checkpoint(struct run *run) {
    if (run->head) run->at.metrics_lines = lam_lines_count(run->folder.metrics);
    if (run->head) run->at.memory_lines = lam_lines_count(run->folder.memory);
    LAM_TRY(lam_run_gather_devices(run));
    if (run->save_best) LAM_TRY(save_as(run, "checkpoints/best.safetensors"));
    run->save_best = false;
    run->saved_at = run->at.step;
    run->scored_when_saved = run->at.scored_at;
    return save_as(run, "checkpoints/last.safetensors");
}

/* ---- what devices did and took ---- */

static lam_status log_metric(struct run *run, int block, const char *name, double value) {
    struct lam_metric metric = {
        .step = run->at.step, .epoch = run->at.epoch + 1, .block = block, .name = name, .value = value};
    return lam_folder_metric(&run->folder, &metric);
}

/* What devices did and hold, once at the end of an epoch's training, while everything of it is there. */
static void look_at_devices(struct run *run) {
    if (run->times_kept) return;
    run->times_kept = true;
    for (int d = 0; d < run->device_count; d++) {
        if (!lam_pipeline_local(run->pipeline, d)) continue;
        const struct lam_pipeline_times t = run->times[d] = lam_pipeline_times(run->pipeline, d);
        run->held[d] = lam_memory_held(run->devices[d]);
        run->whole[d].busy += t.busy;
        run->whole[d].forward += t.forward;
        run->whole[d].starved += t.starved;
        run->whole[d].blocked += t.blocked;
    }
}

double lam_run_all_times(const struct lam_pipeline_times *t) {
    return t->busy + t->starved + t->blocked;
}

/* A line of each device's shares: of the epoch, or of all training of this process. */
static void say_stages(const struct run *run, const char *what, bool whole) {
    char line[1024] = "";
    size_t used = 0;
    for (int d = 0; run->device_count > 1 && d < run->device_count && used < sizeof line; d++) {
        struct run_device device = lam_run_device(run, d);
        const struct lam_pipeline_times t = whole ? device.whole : device.times;
        double all = lam_run_all_times(&t);
        if (all > 0)
            used += (size_t)snprintf(line + used, sizeof line - used,
                                     "%s%s busy %.0f starved %.0f blocked %.0f %%", d ? "; " : "",
                                     lam_device_name(run->devices[d]), 100 * t.busy / all,
                                     100 * t.starved / all, 100 * t.blocked / all);
    }
    if (*line) lam_progress_line(run->progress, "  %s%s", what, line);
}

/* Pools beside what the driver counts, for devices whose driver tells. */
static void say_memory(const struct run *run) {
    for (int d = 0; d < run->device_count; d++) {
        const struct lam_memory_held held = lam_run_device(run, d).memory.held;
        char pools[32], process[32], rest[32];
        if (!held.free_known) continue;
        lam_bytes_text(held.pools, pools, sizeof pools);
        lam_bytes_text(held.process, process, sizeof process);
        lam_bytes_text(held.free, rest, sizeof rest);
        if (held.process_known)
            lam_progress_line(run->progress,
                              "  %s: this process holds %s, of which %s are pools, the rest what the driver "
                              "and its libraries need; %s are free",
                              lam_device_name(run->devices[d]), process, pools, rest);
        else
            lam_progress_line(run->progress, "  %s: pools hold %s; %s are free, all programs counted",
                              lam_device_name(run->devices[d]), pools, rest);
    }
}

/* What each device did in the epoch, or as much of it as there was, where there are several. */
static lam_status tell_stages(struct run *run) {
    static const char *const names[] = {"busy", "starved", "blocked"};
    for (int d = 0; run->device_count > 1 && d < run->device_count; d++) {
        struct lam_pipeline_times t = lam_run_device(run, d).times;
        double parts[] = {t.busy, t.starved, t.blocked}, all = lam_run_all_times(&t);
        const char *device = lam_device_name(run->devices[d]);
        for (int i = 0; i < 3; i++) {
            char name[96];
            snprintf(name, sizeof name, "%s/%s", names[i], device);
            LAM_TRY(log_metric(run, 0, name, all > 0 ? parts[i] / all : 0));
        }
    }
    say_stages(run, "", false);
    return LAM_OK;
}

static lam_status write_trace(const struct run *run) {
    if (!run->trace) return LAM_OK;
    char *path = lam_folder_file(&run->folder, "trace.json");
    if (!path) return lam_no_memory();
    lam_status status = lam_trace_write(run->trace, path);
    free(path);
    return status;
}

/* In the head, once all ranks have told theirs. */
static lam_status log_devices(struct run *run) {
    for (int d = 0; d < run->device_count; d++) {
        struct run_device device = lam_run_device(run, d);
        LAM_TRY(lam_memory_write(run->folder.memory, run->at.step, lam_device_name(run->devices[d]),
                                 &device.memory));
    }
    return write_trace(run);
}

/* Where a run ends within an epoch. Behind its checkpoint: a resumed run takes back what was written after that, and tells the
 * whole epoch. */
static lam_status tell_devices(struct run *run) {
    LAM_TRY(lam_run_gather_devices(run));
    if (!run->head) return LAM_OK;
    LAM_TRY(log_devices(run));
    return tell_stages(run);
}

static lam_status stop_here(struct run *run) {
    look_at_devices(run);
    LAM_TRY(save_checkpoint(run));
    LAM_TRY(tell_devices(run));
    LAM_TRY(lam_run_summary(run, false));
    LAM_TRY(lam_run_meet(run));
    run->stop_agreed = true;
    return lam_fail(LAM_ERR_STOPPED,
                    "stopped by a signal after step %llu (epoch %llu); --resume --out %s goes on",
                    (unsigned long long)run->at.step, (unsigned long long)run->at.epoch + 1,
                    run->head ? run->folder.path : run->config->out);
}

/* ---- a step ---- */

static lam_status log_step(struct run *run, const struct run_step *step) {
    int blocks = run->chain.count;
    if (!run->head || run->at.step % (uint64_t)run->config->log_steps != 0) return LAM_OK;
    for (int j = 0; j < blocks; j++) {
        LAM_TRY(log_metric(run, j + 1, "train/loss", (double)step->loss[j]));
        LAM_TRY(log_metric(run, j + 1, "gradient_norm", (double)step->gradient_norm[j]));
    }
    LAM_TRY(log_metric(run, 0, "learning_rate", (double)lam_schedule_at(&run->schedule, run->at.step - 1)));
    if (step->score < 0) return LAM_OK;
    char name[64];
    snprintf(name, sizeof name, "train/%s", run->task->step_score_name);
    return log_metric(run, blocks, name, step->score);
}

/* "97/2/1 95/5/0": shares of the epoch so far that each device was busy, starved and blocked; empty where there is one, or where
 * some belong to other processes. */
static void stages_text(const struct run *run, char *text, size_t size) {
    size_t used = 0;
    *text = 0;
    for (int d = 0; run->device_count > 1 && d < run->device_count && used < size; d++) {
        if (!lam_pipeline_local(run->pipeline, d)) {
            *text = 0;
            return;
        }
        struct lam_pipeline_times t = lam_pipeline_times(run->pipeline, d);
        double all = lam_run_all_times(&t), percent = all > 0 ? 100 / all : 0;
        used += (size_t)snprintf(text + used, size - used, "%s%.0f/%.0f/%.0f", d ? " " : "", percent * t.busy,
                                 percent * t.starved, percent * t.blocked);
    }
}

static void show_step(struct run *run, const struct run_step *step) {
    char stages[LAM_MAX_DEVICES * 12 + 1];
    stages_text(run, stages, sizeof stages);
    double count = run->at.samples ? (double)run->at.samples : 1;
    struct lam_progress_state state = {
        .epoch = (int64_t)run->at.epoch + 1,
        .epochs = run->config->epochs,
        .batch = (int64_t)run->at.batch,
        .batches = run->batches,
        .steps_left = (int64_t)(run->last_step - run->at.step),
        .samples = step->samples,
        .loss = run->at.loss_sum / count,
        .accuracy = step->score < 0 ? -1 : run->at.score_sum / count,
        .peak_bytes = lam_run_peak_bytes(run),
        .stages = stages,
    };
    lam_progress_step(run->progress, &state);
}

/* A block tells its step; called by its device's worker. End to end the score of a step is spread over its
 * micro-batches, and not told. */
lam_status lam_run_step_done(void *context, const struct lam_pipeline_step *step) {
    struct run *run = context;
    struct run_step *to = &run->steps[step->step % (uint64_t)run->step_capacity];
    to->loss[step->block] = step->loss;
    to->gradient_norm[step->block] = step->gradient_norm;
    bool here = step->of != NULL;
    bool scored = here && run->task->step_score && lam_block_options(step->of)->micro_batches == 0;
    if (here && step->block + 1 == run->chain.count) {
        to->samples = step->batch->count;
        to->score = -1;
        if (scored) LAM_TRY(run->task->step_score(run->state, step->of, step->batch->count, &to->score));
    }
    atomic_fetch_add(&to->told, 1);
    return LAM_OK;
}

/* Blocks that this process is told of: all, or, where another one is the head, its own. */
static int told_blocks(const struct run *run) {
    return run->head ? run->chain.count : lam_pipeline_stage(run->pipeline, run->rank)->count;
}

/* Logs the steps that all blocks have done, in their order. */
static lam_status collect(struct run *run) {
    while (run->at.step < run->handed_in) {
        struct run_step *step = &run->steps[run->at.step % (uint64_t)run->step_capacity];
        if (atomic_load(&step->told) < told_blocks(run)) break;
        atomic_store(&step->told, 0);
        run->started = true;
        run->at.step++;
        run->at.batch++;
        run->at.samples += (uint64_t)step->samples;
        run->at.loss_sum += (double)step->loss[run->chain.count - 1] * step->samples;
        if (step->score >= 0) run->at.score_sum += step->score * step->samples;
        show_step(run, step);
        LAM_TRY(log_step(run, step));
    }
    return LAM_OK;
}

/* Waits until every block has done every step: what a checkpoint holds is one point of the run. */
static lam_status drain(struct run *run) {
    LAM_TRY(lam_pipeline_drain(run->pipeline));
    return collect(run);
}

static void give_back(void *loader, struct lam_batch *batch) {
    lam_loader_release(loader, batch);
}

/* first-batch.png, of the first step of a run. */
static lam_status draw_batch(struct run *run, const struct lam_batch *batch) {
    struct lam_image mosaic = {0};
    if (!batch || !run->head || !run->task->draw_batch || run->handed_in > 0) return LAM_OK;
    LAM_TRY(run->task->draw_batch(run->state, run->devices[0], batch, &mosaic));
    char *path = lam_folder_file(&run->folder, "first-batch.png");
    lam_status status = path ? lam_image_save_png(path, &mosaic) : lam_no_memory();
    free(path);
    lam_image_free(&mosaic);
    return status;
}

static lam_status train_batch(struct run *run, struct lam_loader *loader, struct lam_batch *batch) {
    LAM_TRY(draw_batch(run, batch));
    float rate = lam_schedule_at(&run->schedule, run->handed_in);
    LAM_TRY(lam_pipeline_train(run->pipeline, batch, give_back, loader, rate, run->handed_in));
    if (!lam_pipeline_announced(run->pipeline)) run->handed_in++;
    return collect(run);
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
    return lam_loader_create(&options, run->devices[0], loader);
}

/* One step handed in; *more: whether another one follows in this epoch, of which `done` have been handed in. */
static lam_status next_step(struct run *run, struct lam_loader *loader, uint64_t *done, bool *more) {
    struct lam_batch *batch = NULL;
    bool stop = lam_run_stop_asked(run);
    if (stop) LAM_TRY(lam_pipeline_announce_stop(run->pipeline));
    if (!stop && loader) LAM_TRY(lam_loader_next(loader, &batch));
    if (!stop && loader && !batch)
        return lam_fail(LAM_ERR_INTERNAL, "the loader gave fewer batches than it has");
    if (!stop) LAM_TRY(train_batch(run, loader, batch));
    if (stop || lam_pipeline_announced(run->pipeline)) {
        LAM_TRY(drain(run));
        return stop_here(run);
    }
    *more = ++*done < (uint64_t)run->batches && run->handed_in < run->last_step;
    if (!run->config->checkpoint_steps || run->handed_in % (uint64_t)run->config->checkpoint_steps != 0)
        return LAM_OK;
    LAM_TRY(drain(run));
    LAM_TRY(save_checkpoint(run));
    return lam_run_summary(run, false);
}

/* After an error the pipeline ends before the loader, whose batches it may hold. */
static lam_status train_epoch(struct run *run) {
    struct lam_loader *loader = NULL; /* in the first rank alone */
    uint64_t done = run->at.batch;
    bool more = run->at.batch < (uint64_t)run->batches && run->at.step < run->last_step;
    if (!more) return LAM_OK;
    if (run->rank == 0) LAM_TRY(lam_run_loader(run, &loader));
    lam_status status = loader ? lam_loader_start(loader, run->at.epoch, (int64_t)run->at.batch) : LAM_OK;
    lam_progress_resume(run->progress);
    lam_pipeline_reset_times(run->pipeline);
    run->times_kept = false;
    while (status == LAM_OK && more) status = next_step(run, loader, &done, &more);
    if (status == LAM_OK) status = drain(run);
    if (status == LAM_OK) look_at_devices(run);
    lam_progress_pause(run->progress, NULL);
    struct lam_error error;
    lam_error_save(&error, status);
    if (status != LAM_OK) lam_pipeline_stop(run->pipeline);
    lam_loader_destroy(loader);
    return lam_error_restore(&error);
}

/* ---- evaluation ---- */

lam_status lam_run_evaluated(void *context, struct lam_block *block, const struct lam_batch *batch) {
    struct run *run = context;
    return run->task->eval_batch(run->state, block, batch);
}

static lam_status swap_averages(struct run *run) {
    for (int j = 0; run->config->ema > 0 && j < run->chain.count; j++)
        if (lam_pipeline_has_block(run->pipeline, j))
            LAM_TRY(lam_optimizer_swap_ema(lam_block_optimizer(run->chain.blocks[j])));
    return LAM_OK;
}

static bool stop_asked_in(const void *run) {
    return lam_run_stop_asked(run);
}

/* With the weights' average, if there is one. */
static lam_status evaluate(struct run *run) {
    struct lam_evaluation evaluation = {
        .task = run->task,
        .state = run->state,
        .pipeline = run->pipeline,
        .batch = lam_network_eval_batch(run->task->network(run->state), (int)run->config->batch),
        .config = run->config,
        .stop = stop_asked_in,
        .context = run};
    struct lam_score scores[LAM_MAX_SCORES];
    int count = 0;
    lam_progress_pause(run->progress, "evaluating ...");
    LAM_TRY(swap_averages(run));
    lam_status status = lam_evaluate(&evaluation, scores, &count);
    struct lam_error error;
    lam_error_save(&error, status);
    LAM_TRY(swap_averages(run));
    lam_error_restore(&error);
    if (status == LAM_ERR_STOPPED) return stop_here(run);
    LAM_TRY(status);
    LAM_TRY(lam_run_share_scores(run, scores, &count));
    memcpy(run->at.scores, scores, sizeof scores);
    run->at.score_count = count;
    run->at.scored_at = run->at.step;
    return LAM_OK;
}

static lam_status log_scores(struct run *run) {
    for (int i = 0; run->head && i < run->at.score_count; i++) {
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
    if (!run->head || run->config->samples_shown == 0 || !run->task->show) return LAM_OK;
    struct lam_image mosaic = {0};
    json_t *list = NULL;
    LAM_TRY(run->task->show(run->state, &mosaic, &list));
    char name[64];
    snprintf(name, sizeof name, "predictions/epoch-%04llu.json", (unsigned long long)run->at.epoch + 1);
    lam_status status = lam_folder_write_json(&run->folder, name, list);
    if (status == LAM_OK && mosaic.width) {
        snprintf(name, sizeof name, "predictions/epoch-%04llu.png", (unsigned long long)run->at.epoch + 1);
        char *path = lam_folder_file(&run->folder, name);
        status = path ? lam_image_save_png(path, &mosaic) : lam_no_memory();
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
    if (run->task->step_score && run->at.score_sum > 0)
        used += snprintf(text + used, size - (size_t)used, "  %s %.4f", run->task->step_score_name,
                         run->at.score_sum / count);
    for (int i = 0; evaluated && i < run->at.score_count && (size_t)used < size; i++)
        used += snprintf(text + used, size - (size_t)used, "  val %s %.4f", run->at.scores[i].name,
                         run->at.scores[i].value);
    char peak[32];
    lam_bytes_text(lam_run_peak_bytes(run), peak, sizeof peak);
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
    return log_devices(run);
}

static lam_status tell_epoch(struct run *run, bool evaluated) {
    LAM_TRY(log_epoch(run));
    print_epoch(run, evaluated);
    return tell_stages(run);
}

static lam_status end_epoch(struct run *run) {
    bool last = run->at.epoch + 1 >= (uint64_t)run->config->epochs;
    bool due = last || (run->at.epoch + 1) % (uint64_t)run->config->eval_epochs == 0;
    if (due) LAM_TRY(evaluate_and_keep(run));
    LAM_TRY(lam_run_gather_devices(run));
    if (run->head) LAM_TRY(tell_epoch(run, due));
    run->at.epoch++;
    run->at.batch = run->at.samples = 0;
    run->at.loss_sum = run->at.score_sum = 0;
    if (last || run->save_best || run->at.epoch % (uint64_t)run->config->checkpoint_epochs == 0)
        LAM_TRY(save_checkpoint(run));
    return lam_run_summary(run, false);
}

/* ---- the whole run ---- */

/* Whether the last checkpoint holds all that there is. Every rank takes part in writing one, so all must come to the
 * same answer: lines are logged where steps are taken or scores change, and all ranks know of these. */
static bool saved(const struct run *run) {
    return run->saved_at == run->at.step && run->scored_when_saved == run->at.scored_at;
}

static lam_status train(struct run *run) {
    run->handed_in = run->at.step;
    if (!run->from) LAM_TRY(save_checkpoint(run)); /* a stop has something to go on with */
    while (run->at.epoch < (uint64_t)run->config->epochs) {
        LAM_TRY(train_epoch(run));
        if (run->at.batch < (uint64_t)run->batches) break; /* by --max-steps */
        LAM_TRY(end_epoch(run)); /* also where an earlier process was stopped while evaluating */
    }
    bool within = !run->at.score_count || run->at.scored_at != run->at.step; /* an epoch, by --max-steps */
    if (within) {
        LAM_TRY(evaluate_and_keep(run));
        if (run->head) print_epoch(run, true);
    }
    if (!saved(run) || run->save_best) LAM_TRY(save_checkpoint(run));
    if (within) LAM_TRY(tell_devices(run));
    if (run->head && run->at.epoch > 1) say_stages(run, "in all: ", true);
    if (run->head) say_memory(run);
    return lam_run_summary(run, true);
}

static void fill_result(const struct run *run, struct lam_run_result *result) {
    result->started = run->started;
    memcpy(result->scores, run->at.scores, sizeof result->scores);
    result->score_count = run->at.score_count;
    result->images_per_s = lam_run_images_per_s(run);
    result->seconds = lam_run_seconds(run);
    result->peak_bytes = run->device_count ? lam_run_peak_bytes(run) : run->past.peak_bytes;
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

/* Of a run that failed: the trace shows how it came to that. The failure is what is reported, not this. */
static void keep_trace(const struct run *run) {
    struct lam_error error;
    lam_error_save(&error, LAM_ERR_INTERNAL);
    if (write_trace(run) != LAM_OK) lam_log(LAM_LOG_NOTICE, "trace.json: %s", lam_error_text());
    lam_error_restore(&error);
}

lam_status lam_train(const struct lam_run_setup *setup, struct lam_run_result *result) {
    struct run run = {.setup = setup,
                      .task = setup->task,
                      .config = setup->config,
                      .folder = {.lock = -1},
                      .begin = lam_seconds()};
    memset(result, 0, sizeof *result);
    lam_status status = lam_run_open_ranks(&run);
    if (status == LAM_OK) status = lam_run_open(&run);
    bool opened = status == LAM_OK;
    if (opened && !run.nothing_left) status = train(&run);
    if (opened && run.head && status != LAM_OK && status != LAM_ERR_STOPPED) keep_trace(&run);
    status = lam_run_close_ranks(&run, status);
    fill_result(&run, result);
    result->exit_code = exit_code(&run, opened, status);
    struct lam_error error;
    lam_error_save(&error, status);
    lam_run_close(&run);
    result->silent = run.silent;
    return lam_error_restore(&error);
}
