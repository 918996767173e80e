/* A task: everything about classification, detection or super-resolution that the training loop needs to
 * know. It is one const struct lam_task in tasks/NAME/NAME.c; the programs in apps/ hand it over.
 *
 * A task's state is opened from the options, for training (data sets, model, augmentation) or for using a
 * checkpoint (the same, with data as asked and class names from the file). From then on all functions get it
 * as `state`. `fill` is called from loader threads, everything else from the thread that opened it.
 */
#ifndef LAM_TRAIN_TASK_H
#define LAM_TRAIN_TASK_H

#include <jansson.h>
#include <stdio.h>

#include "data/dataset.h"
#include "local/block.h"
#include "train/checkpoint.h"
#include "train/config.h"

/* What a state is opened for. */
enum lam_use {
    LAM_USE_TRAIN,   /* both data sets */
    LAM_USE_EVAL,    /* the validation part of config->data (or config->val), no augmentation */
    LAM_USE_PREDICT, /* no data set: images come from files */
};

/* A number that evaluation gives; the first of them decides which checkpoint is the best. */
struct lam_score {
    char name[32]; /* "accuracy" */
    double value;
};
enum { LAM_MAX_SCORES = 8 };

/* Asks a finished network: one sample of any shape. The values are those of field 0 in host memory, f32; the answer is the evaluation
 * output `output`, `count` floats of it. A shape that it was not asked for just before takes a while to compile. */
struct lam_asker {
    void *context;
    lam_status (*ask)(void *context, struct lam_shape shape, const float *values, const char *output,
                      float *answer, size_t count);
};

struct lam_task {
    const char *name;    /* "classify" */
    const char *program; /* "classify-train" */
    const char *help;    /* one line */
    /* Its networks, for --help, NULL-terminated; NULL: those of lib/nn. */
    const char *const *models;

    /* Its own options. config_size: bytes of the struct that they are kept in. */
    const struct lam_option *options;
    int option_count;
    size_t config_size;
    lam_status (*check)(const struct lam_config *config, const void *own);

    /* from: the checkpoint in use, NULL for a new run. The configs must outlive the state. */
    lam_status (*open)(const struct lam_config *config, const void *own, enum lam_use use,
                       const struct lam_checkpoint *from, void **state);
    void (*close)(void *state);

    /* Text entries that a checkpoint needs beside the recipe (class names, normalisation). */
    lam_status (*save)(const void *state, struct lam_checkpoint_writer *writer);

    const struct lam_network *(*network)(const void *state);

    /* Data. Samples of a split, and one of them into the fields of network(), or of eval_fields. An epoch of training has as
     * many samples as the task says; of evaluation, they may be pieces of what is evaluated. */
    int64_t (*samples)(const void *state, enum lam_split split);
    uint64_t (*data_hash)(const void *state, enum lam_split split); /* lam_dataset_hash of what is in use */
    const struct lam_field *(*eval_fields)(const void *state, int *count);
    lam_status (*fill_train)(void *state, const struct lam_fill *at, void *const *data);
    lam_status (*fill_eval)(void *state, const struct lam_fill *at, void *const *data);
    const char *(*describe)(const void *state, enum lam_split split, int64_t index, char *text, size_t size);

    /* Training: a picture of a batch as the network sees it, with its targets; NULL where there is none. The device is that
     * of the batch. */
    lam_status (*draw_batch)(void *state, struct lam_device *device, const struct lam_batch *batch,
                             struct lam_image *mosaic);

    /* Training: a number in 0..1 of the last step for the progress bar; NULL where there is none. */
    const char *step_score_name; /* "accuracy" */
    lam_status (*step_score)(const void *state, const struct lam_block *block, int count, double *score);

    /* Evaluation: begin, then each batch after lam_block_evaluate in order of the data set, then end. Only
     * batch->count rows are real. end fills scores (at most LAM_MAX_SCORES) and their number. */
    lam_status (*eval_begin)(void *state);
    lam_status (*eval_batch)(void *state, const struct lam_block *block, const struct lam_batch *batch);
    lam_status (*eval_end)(void *state, struct lam_score *scores, int *count);
    bool lower_is_better; /* of the first score */

    /* After an evaluation: the fixed samples of it with what was predicted: a picture and a JSON list. */
    lam_status (*show)(void *state, struct lam_image *mosaic, json_t **list);
    /* After an evaluation: a table for people; more of it as JSON; files (CSV, PNG) into `folder` unless
     * NULL. */
    lam_status (*report)(void *state, FILE *table, json_t **json, const char *folder);

    /* One image file (LAM_USE_PREDICT): into row `row` of a batch of field 0 in host memory; and, after
     * lam_block_evaluate, what was predicted for it: text for people, JSON, a picture to save (width 0:
     * none).
     */
    lam_status (*load)(void *state, const char *path, void *data); /* NULL: see predict_image */
    lam_status (*predict)(void *state, const struct lam_block *block, int row, const char *path, FILE *table,
                          json_t **json, struct lam_image *picture);

    /* Instead of the two, where an image is not one row of a batch; and where evaluation of a finished network can be more
     * exact than in training, one sample of the data set (between eval_begin and eval_end). NULL: as above. */
    lam_status (*predict_image)(void *state, const struct lam_asker *asker, const char *path, FILE *table,
                                json_t **json, struct lam_image *picture);
    lam_status (*eval_image)(void *state, const struct lam_asker *asker, int64_t index);
    int64_t (*images)(const void *state); /* that eval_image is called for: 0 .. images - 1 */
};

#endif
