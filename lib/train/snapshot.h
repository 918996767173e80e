/* A training run as it stands in a checkpoint: weights, optimizer state, position, and the recipe.
 *
 * Tensors: "unit.layer.tensor" (weights and statistics), "optimizer.STATE.NAME", "ema.NAME"; with --ema-lag also
 * "lag.A.NAME": what EMA twins have still to read, weight NAME as it was A updates ago. Texts: task,
 * recipe (a config.ini without what concerns this machine alone), what the data was, and the position's numbers.
 * Nothing in it depends on time or on the number of loader threads: equal runs write equal files. So a
 * checkpoint alone is enough to evaluate, predict or go on.
 */
#ifndef LAM_TRAIN_SNAPSHOT_H
#define LAM_TRAIN_SNAPSHOT_H

#include "train/task.h"

#define LAM_SNAPSHOT_FORMAT "lamina-1"

/* Where a run stands, between two steps. */
struct lam_position {
    uint64_t epoch, batch; /* the next batch of this epoch; all batches done: evaluation is next */
    uint64_t step;         /* updates so far */
    double loss_sum, score_sum;
    uint64_t samples; /* of this epoch so far, and sums over them */
    bool has_best;
    double best; /* first score of the best evaluation */
    struct lam_score scores[LAM_MAX_SCORES];
    int score_count;                      /* of the last evaluation, 0 = none yet */
    uint64_t scored_at;                   /* step of it */
    uint64_t metrics_lines, memory_lines; /* in the logs */
};

/* What a run is trained and validated on, by enum lam_split; a resumed one must find the same. */
struct lam_data_identity {
    int64_t samples[2];
    uint64_t hash[2]; /* lam_dataset_hash */
};

struct lam_snapshot {
    const struct lam_task *task;
    const void *state;
    struct lam_block *const *blocks;
    int block_count;
    const struct lam_pipeline *pipeline; /* of these blocks, drained */
    const struct lam_position *position;
    const struct lam_data_identity *data;
    const char *recipe;
    /* Ranks: brings the arrays of blocks that are in other processes, in their order. */
    lam_status (*fetch)(void *context, int device, void *host, size_t bytes);
    void *context;
};

lam_status lam_snapshot_save(const struct lam_snapshot *snapshot, const char *path);

/* The arrays of this process's blocks as lam_snapshot_save asks for them, for `fetch` in another process. */
lam_status lam_snapshot_give(const struct lam_snapshot *snapshot,
                             lam_status (*give)(void *context, const void *host, size_t bytes),
                             void *context);

/* LAM_ERR_FORMAT for a file that holds weights but no run of ours. */
lam_status lam_snapshot_position(const struct lam_checkpoint *checkpoint, struct lam_position *position);
lam_status lam_snapshot_data(const struct lam_checkpoint *checkpoint, struct lam_data_identity *data);

/* Weights and statistics into an allocated block; ema: the averages where the file has them. Errors name the
 * first tensor that is missing or has another shape. */
lam_status lam_snapshot_weights(const struct lam_checkpoint *checkpoint, struct lam_block *block, bool ema);
/* The optimizer's state too. */
lam_status lam_snapshot_optimizer(const struct lam_checkpoint *checkpoint, struct lam_block *block);
/* The older versions that the twins of block `j` of a pipeline have still to read after `step` updates; before its start. */
lam_status lam_snapshot_versions(const struct lam_checkpoint *checkpoint, struct lam_pipeline *pipeline,
                                 int j, const struct lam_block *block, uint64_t step);

#endif
