/* What the three training programs' mains share: options, help, signals, the result line. */
#include <signal.h>
#include <stdlib.h>
#include <string.h>

#include "base/files.h"
#include "base/log.h"
#include "local/aux.h"
#include "nn/model.h"
#include "train/run.h"
#include "train/settings.h"

static void on_signal(int number) {
    (void)number;
    lam_run_stop();
}

/* The first signal asks for a stop after the step, a second one ends the process at once. */
static void catch_signals(void) {
    struct sigaction action = {.sa_handler = on_signal, .sa_flags = (int)SA_RESETHAND};
    sigemptyset(&action.sa_mask);
    sigaction(SIGINT, &action, NULL);
    sigaction(SIGTERM, &action, NULL);
    signal(SIGXFSZ, SIG_IGN); /* a write past a file-size limit is an error like a full disk */
    signal(SIGPIPE, SIG_IGN);
}

struct streams {
    const char *program;
    FILE *err;
    bool quiet;
};

/* Under mpirun, what all ranks have to say is said by the last one. */
static bool another_rank_speaks(void) {
    const char *rank = getenv("OMPI_COMM_WORLD_RANK"), *ranks = getenv("OMPI_COMM_WORLD_SIZE");
    return rank && ranks && strtol(rank, NULL, 10) + 1 < strtol(ranks, NULL, 10);
}

static void print_log(void *context, enum lam_log_level level, const char *text) {
    const struct streams *streams = context;
    if (level == LAM_LOG_NOTICE && streams->quiet) return;
    fprintf(streams->err, "%s: %s%s\n", streams->program, level == LAM_LOG_WARNING ? "warning: " : "", text);
}

static void print_models(const struct lam_task *task, FILE *out) {
    fputs("\nModels:\n", out);
    if (task->models) {
        fputc(' ', out);
        for (const char *const *name = task->models; *name; name++) fprintf(out, " %s", *name);
        fputc('\n', out);
        return;
    }
    for (const struct lam_model_family *const *family = lam_model_families(); *family; family++) {
        fputc(' ', out);
        for (const char *const *name = (*family)->names; *name; name++) fprintf(out, " %s", *name);
        fprintf(out, "\n      %s\n", (*family)->help);
    }
}

static lam_status print_help(const struct lam_settings *settings, FILE *out) {
    char *text;
    LAM_TRY(lam_options_help(&settings->options, &text));
    fputs(text, out);
    free(text);
    print_models(settings->task, out);
    fputs("\nMethods (--method), by what stands behind each block:\n", out);
    fprintf(out, "  %-10s %s\n", "none", "nothing: the network is trained end to end");
    for (const struct lam_aux *const *aux = lam_aux_kinds; *aux; aux++)
        fprintf(out, "  %-10s %s\n", (*aux)->name, (*aux)->help);
    fputs("\nData formats:\n", out);
    for (const struct lam_dataset_format *const *format = lam_dataset_formats(); *format; format++)
        fprintf(out, "  %-10s %s\n", (*format)->name, (*format)->help);
    fputs("\nExit status: 0 done, 1 the run failed, 2 bad usage or input, 130 stopped by a signal.\n", out);
    return LAM_OK;
}

static void print_result(const struct lam_run_result *result, FILE *out) {
    fputs("result:", out);
    for (int i = 0; i < result->score_count; i++)
        fprintf(out, " %s=%.4f", result->scores[i].name, result->scores[i].value);
    fprintf(out, " images_per_s=%.1f seconds=%.1f peak_bytes=%zu\n", result->images_per_s, result->seconds,
            result->peak_bytes);
    fflush(out);
}

static int fail(const struct lam_task *task, int code, FILE *err) {
    fprintf(err, "%s: %s\n", task->program, lam_error_text());
    return code;
}

/* Options are refused by all ranks alike. */
static int refuse(const struct lam_task *task, lam_status status, FILE *err) {
    int code = lam_refusal_code(status);
    return another_rank_speaks() ? code : fail(task, code, err);
}

static int run(struct lam_settings *settings, FILE *out, FILE *err) {
    struct lam_run_setup setup = {.task = settings->task,
                                  .config = &settings->config,
                                  .own = settings->own,
                                  .options = &settings->options,
                                  .recorded = settings->recorded,
                                  .out = out,
                                  .err = err};
    bool rank = settings->config.transport == LAM_TRANSPORT_MPI && another_rank_speaks();
    struct streams streams = {settings->task->program, err, settings->config.quiet || rank};
    lam_log_set_sink(print_log, &streams);
    catch_signals();
    struct lam_run_result result;
    lam_status status = lam_train(&setup, &result);
    lam_log_set_sink(NULL, NULL);
    if (result.silent) return result.exit_code;
    if (status != LAM_OK) return fail(settings->task, result.exit_code, err);
    print_result(&result, out);
    return 0;
}

int lam_train_program(const struct lam_task *task, int argc, char **argv, FILE *out, FILE *err) {
    struct lam_settings settings;
    lam_status status = lam_settings_open(task, &settings);
    if (status == LAM_OK) status = lam_settings_parse(&settings, argc, argv, NULL, 0, NULL);
    int code = 0;
    if (status != LAM_OK) {
        code = refuse(task, status, err);
    } else if (settings.config.help) {
        print_help(&settings, out);
    } else if (settings.config.version) {
        fprintf(out, "%s %s\n", task->program, LAMINA_VERSION);
    } else {
        status = lam_settings_check(&settings);
        code = status == LAM_OK ? run(&settings, out, err) : refuse(task, status, err);
    }
    lam_settings_close(&settings);
    return code;
}
