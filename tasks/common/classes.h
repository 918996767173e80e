/* Labelled sets and their classes, for tasks that have some.
 *
 *     LAM_TRY(task_open_set(config, &options, config->data, LAM_SPLIT_TRAIN, &train));
 *     LAM_TRY(task_classes_of(train, config->data, &classes));                 // a new run
 *     LAM_TRY(task_classes_read(checkpoint, "classify-train", &classes));      // or those of a checkpoint
 *     LAM_TRY(task_classes_compare(text, val->class_names, val->classes, &classes));
 *     LAM_TRY(task_classes_save(&classes, writer));
 *     task_classes_free(&classes);
 */
#ifndef LAM_TASKS_COMMON_CLASSES_H
#define LAM_TASKS_COMMON_CLASSES_H

#include "data/dataset.h"
#include "train/checkpoint.h"
#include "train/config.h"

struct task_classes { /* starts as {0} */
    int count;
    char **names; /* owned */
};

/* One part of a data set; seed and skip_bad come from the run's options. Says how many samples were left out. `text` is
 * config->data or config->val, which errors name as the option. */
lam_status task_open_set(const struct lam_config *config, struct lam_dataset_options options,
                         const char *text, enum lam_split split, struct lam_dataset **set);
/* The validation set of a training run: --val, or the data's own part; LAM_ERR_INVALID where it has none. */
lam_status task_open_val(const struct lam_config *config, struct lam_dataset_options options,
                         const struct lam_dataset *train, struct lam_dataset **val);

/* Names of a set's classes, or their numbers. LAM_ERR_UNSUPPORTED for names that are not UTF-8 (checkpoints and
 * logs are JSON). */
lam_status task_classes_of(const struct lam_dataset *set, const char *text, struct task_classes *classes);
/* LAM_ERR_FORMAT where the checkpoint has none: it is not `program`'s. */
lam_status task_classes_read(const struct lam_checkpoint *from, const char *program,
                             struct task_classes *classes);
lam_status task_classes_save(const struct task_classes *classes, struct lam_checkpoint_writer *writer);
void task_classes_free(struct task_classes *classes);

/* The classes of the data `text` against the network's own: as many, of the same names where both have names. */
lam_status task_classes_compare(const char *text, char *const *names, int count,
                                const struct task_classes *own);

#endif
