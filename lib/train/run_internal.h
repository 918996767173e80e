/* A run from the inside: shared by run.c (the loop) and run_open.c (opening and closing it). */
#ifndef LAM_TRAIN_RUN_INTERNAL_H
#define LAM_TRAIN_RUN_INTERNAL_H

#include "train/folder.h"
#include "train/forecast.h"
#include "train/progress.h"
#include "train/run.h"
#include "train/snapshot.h"

struct run {
    const struct lam_run_setup *setup;
    const struct lam_task *task;
    const struct lam_config *config;
    /* What it works with. */
    void *state; /* the task's */
    struct lam_device *device;
    struct lam_tuning *tuning;
    struct lam_block *block;
    struct lam_folder folder;
    struct lam_progress *progress;
    struct lam_checkpoint *from; /* the checkpoint that a resumed run starts from; NULL: a new run */
    struct lam_forecast forecast;
    char *config_ini; /* what is saved with the run */
    char *recipe;     /* the same for checkpoints, without what concerns this machine alone */
    char *last_path;  /* of checkpoints/last.safetensors */
    /* How much there is to do. */
    int64_t samples, batches; /* in an epoch */
    bool drop_last;
    uint64_t last_step; /* of the whole run */
    struct lam_schedule schedule;
    /* Where it is. */
    struct lam_position at;
    bool started, save_best;
    uint64_t saved_at;            /* step of the last checkpoint of this process */
    double begin, seconds_before; /* start of this process; what earlier ones took */
};

/* Opens data, device, block and folder, in this order; prints the forecast; loads the checkpoint. On failure
 * run is still to be closed. */
lam_status lam_run_open(struct run *run);
void lam_run_close(struct run *run);

/* The parts of opening that a plan needs too: data, device, block and forecast, with nothing allocated; and
 * then memory and first weights. A loader for training. */
lam_status lam_run_prepare(struct run *run);
lam_status lam_run_start_weights(struct run *run);
lam_status lam_run_loader(const struct run *run, struct lam_loader **loader);

/* summary.json */
lam_status lam_run_summary(const struct run *run, bool finished);
/* After an evaluation: report.txt, report.json, and the task's own files (a confusion matrix). */
lam_status lam_run_report(const struct run *run);

#endif
