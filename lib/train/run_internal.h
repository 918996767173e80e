/* A run from the inside: shared by run.c (the loop), run_open.c (opening and closing it),
 * run_resume.c and run_summary.c. */
#ifndef LAM_TRAIN_RUN_INTERNAL_H
#define LAM_TRAIN_RUN_INTERNAL_H

#include "local/chain.h"
#include "train/folder.h"
#include "train/forecast.h"
#include "train/progress.h"
#include "train/run.h"
#include "train/snapshot.h"

/* What earlier processes of a resumed run left in its summary; zeros where there is none. */
struct run_past {
    bool finished;
    uint64_t step;
    double seconds, images_per_s;
    size_t peak_bytes;
};

enum { LAM_MAX_DEVICES = LAM_MAX_BLOCKS };

/* A step that was handed to the pipeline: what its blocks told of it, until all have. Steps are logged in their order by the
 * thread that runs the loop, whatever the order they were told in. */
struct run_step {
    _Atomic int told; /* blocks */
    int samples;
    float loss[LAM_MAX_BLOCKS], gradient_norm[LAM_MAX_BLOCKS];
    double score; /* of the last block */
};

/* What a device did and what it took, told by the process that it belongs to. */
struct run_device {
    struct lam_pipeline_times times; /* of the last epoch's training, evaluation left out */
    struct lam_pipeline_times whole; /* of all training of this process */
    struct lam_memory_report memory;
};

struct run {
    const struct lam_run_setup *setup;
    const struct lam_task *task;
    const struct lam_config *config;
    /* What it works with. */
    void *state; /* the task's */
    struct lam_device *devices[LAM_MAX_DEVICES];
    int device_count;
    struct lam_tuning *tuning;
    struct lam_chain chain;
    struct lam_pipeline *pipeline;
    struct lam_trace *trace;
    struct run_step *steps; /* a ring */
    int step_capacity;
    /* By device of this process; kept where an epoch's training ends. */
    struct lam_pipeline_times times[LAM_MAX_DEVICES], whole[LAM_MAX_DEVICES];
    struct lam_memory_held held[LAM_MAX_DEVICES];
    bool times_kept;
    uint64_t handed_in; /* steps; at.step of them have been logged */
    /* Several ranks; alone, this process is the head. */
    struct lam_transport *transport; /* NULL: alone */
    struct lam_run_setup own_setup;
    int rank;
    bool head;                                 /* it keeps the folder, and speaks */
    bool loss_told;                            /* that a rank is gone */
    bool stop_told, stop_agreed;               /* a signal was passed on; all ranks stop at this step */
    bool silent;                               /* another rank reports what this one returns */
    struct run_device others[LAM_MAX_DEVICES]; /* as last told, the head's */
    struct lam_folder folder;
    struct lam_progress *progress;
    struct lam_checkpoint *from; /* the checkpoint that a resumed run starts from; NULL: a new run */
    struct lam_forecast forecasts[LAM_MAX_DEVICES];
    char *config_ini; /* what is saved with the run */
    char *recipe;     /* the same for checkpoints, without what concerns this machine alone */
    char *last_path;  /* of checkpoints/last.safetensors */
    struct lam_data_identity data;
    /* How much there is to do. */
    int64_t samples, batches; /* in an epoch */
    bool drop_last;
    uint64_t last_step; /* of the whole run */
    struct lam_schedule schedule;
    /* Where it is. */
    struct lam_position at;
    bool started, save_best;
    bool nothing_left; /* a finished run was resumed: nothing was opened */
    uint64_t saved_at; /* step of the last checkpoint of this process */
    uint64_t scored_when_saved;
    struct run_past past;
    double begin; /* when this process started */
};

/* A new run: opens data, device and block, prints the forecast, and makes the folder when nothing can be
 * refused any more. A resumed one: locks its folder first, then reads the checkpoint. On failure run is still
 * to be closed. */
lam_status lam_run_open(struct run *run);
void lam_run_close(struct run *run);

/* Reads checkpoint and summary of a locked folder; refuses what the run has passed already. Says so where
 * nothing is left to do. */
lam_status lam_run_resume(struct run *run);
/* A resumed run goes on with the data that it had, wherever it lies now. */
lam_status lam_run_check_data(const struct run *run);

/* The parts of opening that a plan needs too: data, device, block and forecast, with nothing allocated; and
 * then memory and first weights. A loader for training. */
lam_status lam_run_prepare(struct run *run);
lam_status lam_run_start_weights(struct run *run);
lam_status lam_run_loader(const struct run *run, struct lam_loader **loader);

/* ---- several ranks (run_ranks.c); alone these do nothing ---- */

lam_status lam_run_open_ranks(struct run *run);
/* The run ends with status: tells the others, returns the first error of all. */
lam_status lam_run_close_ranks(struct run *run, lam_status status);
/* Nobody goes on before all are here. */
lam_status lam_run_meet(struct run *run);
/* All have the same options and data. */
lam_status lam_run_check_ranks(struct run *run);
/* The head's measured choices. *tuning is to be destroyed. */
lam_status lam_run_send_choices(struct run *run);
lam_status lam_run_receive_choices(struct run *run, enum lam_tuning_mode *mode, struct lam_tuning **tuning);
lam_status lam_run_check_choices(struct run *run);
/* The head's scores. */
lam_status lam_run_share_scores(struct run *run, struct lam_score *scores, int *count);
/* Tells the head what this rank's device did. */
lam_status lam_run_gather_devices(struct run *run);
/* This rank's weights and states to the head, which writes a checkpoint with lam_run_fetch. */
lam_status lam_run_give(struct run *run, const struct lam_snapshot *snapshot);
lam_status lam_run_fetch(void *run, int device, void *host, size_t bytes);
/* Whether this process is to stop after its step. In ranks but the first: never, the first one announces it. */
bool lam_run_stop_asked(const struct run *run);
/* Busy, starved and blocked together. */
double lam_run_all_times(const struct lam_pipeline_times *times);
/* Of a device of this rank, or as it was last told. */
struct run_device lam_run_device(const struct run *run, int device);

/* --fit-memory (run_fit.c): writes what was chosen into the options, once there are blocks; says what would be needed at least
 * where there are none. */
lam_status lam_run_settle_fit(struct run *run);
void lam_run_print_least(const struct run *run);

/* The pipeline's callbacks; context: the run. */
lam_status lam_run_step_done(void *run, const struct lam_pipeline_step *step);
lam_status lam_run_evaluated(void *run, struct lam_block *block, const struct lam_batch *batch);

/* Numbers of the network and of its auxiliary networks; FLOPs of a step. */
int64_t lam_run_parameters(const struct run *run, bool auxiliary);
double lam_run_flops(const struct run *run);
size_t lam_run_forecast_bytes(const struct run *run); /* of all devices */
size_t lam_run_peak_bytes(const struct run *run);

/* Whether lam_run_stop was called. */
bool lam_run_stopping(void);

/* summary.json: written at the start, after every epoch and at a stop; read on resume. Time stands here and not
 * in checkpoints, which are equal for equal runs. */
lam_status lam_run_summary(const struct run *run, bool finished);
/* After an evaluation: report.txt, report.json, and the task's own files (a confusion matrix). */
lam_status lam_run_report(const struct run *run);
struct run_past lam_run_past(const struct run *run);
/* This process's, or the run's before it where this one has taken no step. */
double lam_run_images_per_s(const struct run *run);
double lam_run_seconds(const struct run *run);

#endif
