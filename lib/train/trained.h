/* A trained network, opened from a checkpoint (or a run's folder) for evaluation and prediction.
 *
 *     struct lam_trained trained;
 *     LAM_TRY(lam_trained_open(tasks, path, &options, &trained));
 *     ... trained.task->predict(trained.state, trained.block, ...) ...
 *     lam_trained_close(&trained);                               // also after a failure
 *
 * The file holds all that is needed: task, recipe, weights. Nothing of training is built or allocated.
 */
#ifndef LAM_TRAIN_TRAINED_H
#define LAM_TRAIN_TRAINED_H

#include "pipeline/pipeline.h"
#include "train/settings.h"

struct lam_trained_options {
    enum lam_use use;    /* EVAL or PREDICT */
    const char *data;    /* EVAL: instead of the recipe's; NULL or "": the recipe's */
    const char *devices; /* NULL or "": auto */
    const char *memory_limit;
    int64_t threads, loader_threads, batch; /* 0: the recipe's */
    bool raw;                               /* the weights themselves even where there is an average */
    bool skip_bad;
    /* Options of the task that may be other than in training (LAM_OPTION_USE), as on a command line, program name first. */
    char *const *words;
    int word_count;
};

struct lam_trained {
    const struct lam_task *task;
    struct lam_checkpoint *file;
    struct lam_settings settings;
    void *state;
    struct lam_device *device;
    struct lam_tuning *tuning;
    struct lam_block *block;
    struct lam_pipeline *pipeline;
    int batch; /* samples of an evaluation batch */
    /* The state's network; lam_trained_shape makes a copy of it. */
    struct lam_network network;
    struct lam_field fields[LAM_MAX_FIELDS];
    struct lam_trained_options options;
    void *input; /* lam_trained_asker's */
};

/* tasks: NULL-terminated. */
lam_status lam_trained_open(const struct lam_task *const *tasks, const char *path,
                            const struct lam_trained_options *options, struct lam_trained *trained);
void lam_trained_close(struct lam_trained *trained);

/* Compiles it anew for batches of `batch` samples of another shape; nothing happens where it has that already. */
lam_status lam_trained_shape(struct lam_trained *trained, struct lam_shape shape, int batch);
/* Asks it; `trained` must outlive the asker. */
struct lam_asker lam_trained_asker(struct lam_trained *trained);

/* The checkpoint that a path means: itself, or a run's best (else last) one; malloc'd. */
lam_status lam_trained_path(const char *path, char **checkpoint);

#endif
