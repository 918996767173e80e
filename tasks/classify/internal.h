/* The classification task's state, shared by its files: classify.c (opening, network, the task's table),
 * samples.c (what fills batches), scores.c (evaluation, report, prediction), picture.c (what is drawn). */
#ifndef LAM_TASKS_CLASSIFY_INTERNAL_H
#define LAM_TASKS_CLASSIFY_INTERNAL_H

#include "data/augment.h"
#include "nn/model.h"
#include "tasks/classify/classify.h"
#include "tasks/common/classes.h"

struct classify_config {
    int64_t image_size, crop_pad, cutout;
    int pad_mode; /* 0 reflect, 1 zero */
    bool flip, resized_crop;
    double mixup, label_smoothing, dropout;
};

/* What evaluation saw of one sample that is shown. */
struct shown {
    int64_t index; /* in the validation set */
    int label, guess;
    float probability;
};

/* Per loader thread. */
struct scratch {
    struct lam_sample sample, partner;
    float *planes; /* of the partner; NULL without mixup */
};

struct classify {
    const struct lam_config *config;
    const struct classify_config *own;
    struct lam_dataset *train, *val; /* val may be train (--overfit-batch); NULL where not in use */
    struct task_classes classes;
    int size, channels;
    float mean[3], deviation[3];
    struct lam_augment augment, plain;
    struct lam_augment_attr device_augment;
    bool on_device; /* it augments */
    struct lam_model *model;
    struct lam_field fields[2], eval_fields[2];
    struct lam_network network;
    struct scratch *scratch;
    int threads;
    /* The evaluation so far. */
    float *logits;      /* of one batch */
    int32_t *labels;    /* of one batch */
    int64_t *confusion; /* [label][guess] */
    int64_t seen, top5;
    double loss_sum;
    struct shown *shown;
    int shown_count, shown_capacity;
};

/* samples.c */
int64_t classify_samples(const void *state, enum lam_split split);
uint64_t classify_data_hash(const void *state, enum lam_split split);
lam_status classify_fill_train(void *state, const struct lam_fill *at, void *const *data);
lam_status classify_fill_eval(void *state, const struct lam_fill *at, void *const *data);
const char *classify_describe(const void *state, enum lam_split split, int64_t index, char *text,
                              size_t size);
/* Probability that the mixture gives to the sample itself, of batch `batch` in `epoch`: Beta(alpha, alpha).
 */
float classify_mixup_share(double alpha, uint64_t seed, uint64_t epoch, int64_t batch);

/* scores.c */
lam_status classify_step_score(const void *state, const struct lam_block *block, int count, double *score);
lam_status classify_eval_begin(void *state);
lam_status classify_eval_batch(void *state, const struct lam_block *block, const struct lam_batch *batch);
lam_status classify_eval_end(void *state, struct lam_score *scores, int *count);
lam_status classify_show(void *state, struct lam_image *mosaic, json_t **list);
lam_status classify_report(void *state, FILE *table, json_t **json, const char *folder);
lam_status classify_load(void *state, const char *path, void *data);
lam_status classify_predict(void *state, const struct lam_block *block, int row, const char *path,
                            FILE *table, json_t **json, struct lam_image *picture);

/* picture.c */
lam_status classify_draw_shown(const struct classify *c, struct lam_image *mosaic);
lam_status classify_draw_guess(const struct classify *c, const char *path, int guess, float probability,
                               struct lam_image *picture);

#endif
