/* lamina plan: what a run would be, with the same options as the training program; trains nothing. The step
 * time is measured on the first batch, and the steps' results are thrown away. */
#include <stdlib.h>
#include <string.h>

#include "base/files.h"
#include "train/commands.h"
#include "train/run_internal.h"
#include "train/settings.h"

enum { TIMED_STEPS = 3 };

static lam_status time_steps(struct run *run, FILE *out) {
    struct lam_loader *loader;
    struct lam_batch *batch;
    LAM_TRY(lam_run_start_weights(run));
    LAM_TRY(lam_run_loader(run, &loader));
    lam_status status = lam_loader_start(loader, 0, 0);
    if (status == LAM_OK) status = lam_loader_next(loader, &batch);
    double best = 1e30;
    for (int i = 0; status == LAM_OK && i < TIMED_STEPS; i++) {
        float loss;
        double begin = lam_seconds();
        status = lam_block_train(run->block, &(struct lam_block_step){.batch=batch,.learning_rate=1e-6f,.seed=1,.step=(uint64_t)i}, &loss);
        double seconds = lam_seconds() - begin;
        if (seconds < best) best = seconds;
    }
    if (status == LAM_OK) {
        double flops = lam_block_training_flops(run->block);
        double share = (double)batch->count / (double)run->config->batch;
        fprintf(out, "step        %.1f ms, %.0f images/s, %.0f GFLOP/s; an epoch about %.0f s\n", 1e3 * best,
                batch->count / best, flops * share / best / 1e9, best * (double)run->batches);
        lam_loader_release(loader, batch);
    }
    lam_loader_destroy(loader);
    return status;
}

static void print_block(const struct run *run, FILE *out) {
    const struct lam_network *network = run->task->network(run->state);
    char name[48];
    fprintf(out, "%s on %s: %.2f GFLOP forward, %.2f backward for a batch\n", lam_block_name(run->block),
            lam_device_name(run->device), lam_block_forward_flops(run->block) / 1e9,
            (lam_block_training_flops(run->block)-lam_block_forward_flops(run->block)) / 1e9);
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
                                  .out = out};
    struct run run = {.setup = &setup, .task = setup.task, .config = setup.config, .folder = {.lock = -1}};
    lam_status status = lam_run_prepare(&run);
    if (run.block) print_block(&run, out);
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
