/* A training run: from options to a folder that holds everything (DESIGN: config, logs, checkpoints).
 *
 *     struct lam_run_setup setup = {.task = &lam_task_classify, .config = &config, .own = &own,
 *                                   .options = &options, .out = stdout, .err = stderr};
 *     lam_status status = lam_train(&setup, &result);
 *     return result.exit_code;
 *
 * The same seed, batch, model and tuning record give the same weights to the bit: with any number of loader
 * threads, and in one go or stopped and resumed anywhere. A stop (lam_run_stop, from a signal handler)
 * finishes the step, writes a checkpoint and ends with LAM_ERR_STOPPED.
 */
#ifndef LAM_TRAIN_RUN_H
#define LAM_TRAIN_RUN_H

#include "train/task.h"

struct lam_run_setup {
    const struct lam_task *task;
    const struct lam_config *config;
    void *own; /* the task's config */
    struct lam_options *options;
    const struct lam_tuning *recorded; /* choices from a saved config; NULL: none */
    FILE *out, *err;                   /* where people look; NULL: nowhere */
    bool explain;                      /* tell of a chosen cut also what takes a while to find */
};

struct lam_run_result {
    bool started;  /* a step was taken: a failure after that is a failed run, not bad input */
    bool silent;   /* another rank reports the error, or the result */
    int exit_code; /* of the program */
    struct lam_score scores[LAM_MAX_SCORES];
    int score_count;
    double images_per_s, seconds;
    size_t peak_bytes;
};

lam_status lam_train(const struct lam_run_setup *setup, struct lam_run_result *result);

/* Exit status of a program that ends before training begins: what cannot be read or written then was named
 * wrongly, so it is bad input (2). */
int lam_refusal_code(lam_status status);

/* Asks the run of this process to stop after its step; async-signal-safe. */
void lam_run_stop(void);

/* What a training program's main does: options, --help, --version, signals, lam_train. Returns the exit
 * status. */
int lam_train_program(const struct lam_task *task, int argc, char **argv, FILE *out, FILE *err);

#endif
