/* lamina plan: what a run would be, with the same options as the training program; trains nothing. The step
 * time is measured on the first batch, and the steps' results are thrown away. */
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "base/files.h"
#include "train/commands.h"
#include "train/run_internal.h"
#include "train/settings.h"

enum { TIMED_STEPS = 3 };

static void keep(void *context, struct lam_batch *batch) {
    (void)context, (void)batch; /* the same batch again */
}

/* Seconds of a step, and of each device's part of it. */
static lam_status run_steps(struct run *run, struct lam_batch *batch, double *seconds) {
    double begin = 0;
    for (uint64_t i = 0; i <= TIMED_STEPS; i++) {
        LAM_TRY(lam_pipeline_train(run->pipeline, batch, keep, NULL, 1e-6f, i));
        if (i > 0) continue;
        LAM_TRY(lam_pipeline_drain(run->pipeline));
        lam_pipeline_reset_times(run->pipeline);
        begin = lam_seconds();
    }
    LAM_TRY(lam_pipeline_drain(run->pipeline));
    *seconds = (lam_seconds() - begin) / TIMED_STEPS;
    return LAM_OK;
}

static void print_times(const struct run *run, double seconds, int samples, FILE *out) {
    double sum = 0, most = 1e-30, share = (double)samples / (double)run->config->batch;
    for (int d = 0; d < run->device_count; d++) {
        double busy = lam_pipeline_times(run->pipeline, d).busy / TIMED_STEPS;
        if (run->device_count > 1)
            fprintf(out, "%-11s %.1f ms of work in a step\n", lam_device_name(run->devices[d]), 1e3 * busy);
        sum += busy;
        most = busy > most ? busy : most;
    }
    if (run->device_count > 1)
        fprintf(out, "pipeline    ideal: %.2f times sequential, %.0f images/s\n", sum / most, samples / most);
    fprintf(out, "step        %.1f ms, %.0f images/s, %.0f GFLOP/s; an epoch about %.0f s\n", 1e3 * seconds,
            samples / seconds, lam_run_flops(run) * share / seconds / 1e9, seconds * (double)run->batches);
}

static lam_status time_steps(struct run *run, FILE *out) {
    struct lam_loader *loader;
    struct lam_batch *batch = NULL;
    double seconds = 0;
    LAM_TRY(lam_run_start_weights(run));
    LAM_TRY(lam_run_loader(run, &loader));
    lam_status status = lam_loader_start(loader, 0, 0);
    if (status == LAM_OK) status = lam_loader_next(loader, &batch);
    if (status == LAM_OK) status = run_steps(run, batch, &seconds);
    if (status == LAM_OK) print_times(run, seconds, batch->count, out);
    struct lam_error error;
    lam_error_save(&error, status);
    lam_pipeline_stop(run->pipeline);
    lam_loader_release(loader, batch);
    lam_loader_destroy(loader);
    return lam_error_restore(&error);
}

/* A line per block: where it is, what it costs, what it keeps. */
static void print_blocks(const struct run *run, FILE *out) {
    const struct lam_network *network = run->task->network(run->state);
    char name[48], bytes[32];
    if (*run->chain.why) fprintf(out, "cut         %s\n", run->chain.why);
    fprintf(out, "%-28s %-9s %5s %11s %15s %15s %12s\n", "block", "device", "units", "parameters",
            "forward GFLOP", "training GFLOP", "activations");
    for (int j = 0; j < run->chain.count; j++) {
        struct lam_block *block = run->chain.blocks[j];
        const struct lam_block_options *options = lam_block_options(block);
        double times = options->micro_batches ? options->micro_batches : 1;
        fprintf(out, "%-28s %-9s %5d %11lld %15.2f %15.2f %12s\n", lam_block_name(block),
                lam_device_name(lam_block_device(block)), options->last - options->first + 1,
                (long long)lam_params_count(lam_block_params(block)), lam_block_forward_flops(block) / 1e9,
                times * lam_block_training_flops(block) / 1e9,
                lam_bytes_text(lam_block_memory(block).bytes[LAM_MEMORY_ACTIVATIONS], bytes, sizeof bytes));
    }
    fputs("units      ", out);
    for (int i = 0; i < network->units; i++)
        fprintf(out, " %s", network->unit_name(network->context, i, name, sizeof name));
    fputc('\n', out);
}

static lam_status plan(struct lam_settings *settings, FILE *out) {
    struct lam_run_setup setup = {.task = settings->task,
                                  .config = &settings->config,
                                  .own = settings->own,
                                  .options = &settings->options,
                                  .recorded = settings->recorded,
                                  .out = out,
                                  .explain = true};
    struct run run = {
        .setup = &setup, .task = setup.task, .config = setup.config, .folder = {.lock = -1}, .head = true};
    lam_status status = lam_run_prepare(&run);
    if (run.pipeline) print_blocks(&run, out);
    if (status == LAM_OK) status = time_steps(&run, out);
    struct lam_error error;
    lam_error_save(&error, status);
    lam_run_close(&run);
    return lam_error_restore(&error);
}

/* The first word may name the task; classify is the usual one. */
static const struct lam_task *choose_task(const struct lam_task *const *tasks, int *argc, char ***argv) {
    for (int i = 0; *argc > 1 && tasks[i]; i++)
        if (!strcmp(tasks[i]->name, (*argv)[1])) {
            --*argc;
            ++*argv;
            return tasks[i];
        }
    return tasks[0];
}

LAM_COMMAND(plan) {
    (void)err;
    struct lam_settings settings;
    const struct lam_task *task = choose_task(tasks, &argc, &argv);
    lam_status status = lam_settings_open(task, &settings);
    settings.options.program = "lamina plan";
    settings.options.usage = command->usage;
    if (status == LAM_OK) status = lam_settings_parse(&settings, argc, argv, NULL, 0, NULL);
    if (status == LAM_OK && settings.config.help) {
        char *text;
        status = lam_options_help(&settings.options, &text);
        if (status == LAM_OK) fputs(text, out);
        if (status == LAM_OK) free(text);
    } else {
        if (status == LAM_OK) status = lam_settings_check(&settings);
        if (status == LAM_OK) status = plan(&settings, out);
    }
    lam_settings_close(&settings);
    return status;
}
