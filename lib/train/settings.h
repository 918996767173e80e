/* All settings of one run in one place: the shared options, the task's own, and the choices that a saved
 * config recorded.
 *
 *     struct lam_settings settings;
 *     LAM_TRY(lam_settings_open(task, &settings));                              // defaults
 *     LAM_TRY(lam_settings_parse(&settings, argc, argv, NULL, 0, NULL));        // or _read_text: a recipe
 *     LAM_TRY(lam_settings_check(&settings));
 *     ... settings.config.epochs, settings.own ...
 *     lam_settings_close(&settings);                                            // also after a failure
 *
 * With --resume the saved config of --out comes first, and options that a run cannot change are refused. Paths
 * of data are kept as seen from the root, so that a run is resumed and evaluated from any folder.
 */
#ifndef LAM_TRAIN_SETTINGS_H
#define LAM_TRAIN_SETTINGS_H

#include "train/task.h"

struct lam_settings {
    const struct lam_task *task;
    struct lam_config config;
    void *own; /* the task's config */
    struct lam_options options;
    struct lam_tuning *recorded;
};

lam_status lam_settings_open(const struct lam_task *task, struct lam_settings *settings);
void lam_settings_close(struct lam_settings *settings);
lam_status lam_settings_parse(struct lam_settings *settings, int argc, char **argv, const char **words,
                              int word_capacity, int *word_count);
lam_status lam_settings_check(const struct lam_settings *settings);

#endif
