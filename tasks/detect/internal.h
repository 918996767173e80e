/* The detection task's state, shared by its files: detect.c (options, opening, the task's table), network.c (fields, losses),
 * samples.c (what fills batches), scores.c (evaluation, report, prediction), picture.c (what is drawn). */
#ifndef LAM_TASKS_DETECT_INTERNAL_H
#define LAM_TASKS_DETECT_INTERNAL_H

#include "tasks/common/classes.h"
#include "tasks/detect/assign.h"
#include "tasks/detect/augment.h"
#include "tasks/detect/average_precision.h"
#include "tasks/detect/confusion.h"
#include "tasks/detect/decode.h"
#include "tasks/detect/detect.h"
#include "tasks/detect/retinanet.h"

enum detect_class_loss { DETECT_FOCAL, DETECT_QUALITY };
enum detect_box_loss { DETECT_GIOU, DETECT_SMOOTH_L1 };

struct detect_config {
    char *image_size, *anchors;
    bool stretch, force_best;
    int64_t short_side;
    double flip, flip_vertical, scale_min, scale_max, hue, saturation, value, mosaic;
    int64_t head_width, head_depth, local_depth, anchor_sizes;
    int class_loss; /* enum detect_class_loss; DETECT_QUALITY needs DETECT_GIOU */
    int box_loss;   /* enum detect_box_loss */
    double box_weight, focal_alpha, focal_gamma, positive, negative;
    double conf, show_conf, iou;
    int64_t max_det;
};

/* Fields of a training batch. Box targets are corners or, for smooth L1, deltas. */
enum detect_field {
    DETECT_FIELD_IMAGE,      /* u8 [3][height][width] */
    DETECT_FIELD_CLASSES,    /* i32 [A] */
    DETECT_FIELD_BOXES,      /* f32 [A][4] */
    DETECT_FIELD_WEIGHTS,    /* f32 [A] */
    DETECT_FIELD_NORMALISER, /* f32 */
    DETECT_FIELDS
};

/* What evaluation saw of one sample that is shown. */
struct detect_shown {
    int64_t index; /* in the validation set */
    struct detect_list found;
};

/* Per loader thread. */
struct detect_thread {
    struct lam_sample sample;
    struct detect_scratch scratch;
};

struct detect {
    const struct lam_config *config;
    const struct detect_config *own;
    struct lam_dataset *train, *val; /* val may be train (--overfit-batch); NULL where not in use */
    struct task_classes classes;
    int *category_ids; /* COCO: of each class; NULL: class + 1 */
    int width, height; /* of the input */
    struct lam_normalize_attr normalize;
    struct detect_anchors anchors;
    float (*corners)[4]; /* of all anchors */
    struct detect_augment augment, plain;
    struct retinanet *net;
    struct lam_field fields[DETECT_FIELDS];
    struct lam_network network;
    struct detect_thread *threads;
    int thread_count;
    /* The evaluation so far. */
    float *logits, *deltas; /* of one batch */
    struct detect_list found;
    struct lam_sample truth; /* boxes of one image */
    struct detect_ap *ap;
    struct detect_confusion *confusion;
    struct detect_scores scores;
    struct detect_shown *shown;
    int shown_count, shown_capacity;
};

/* detect.c: how images are fitted into the input. */
struct detect_fit detect_fit_of(const struct detect *d);

/* network.c */
lam_status detect_make_network(struct detect *d);

/* samples.c */
int64_t detect_samples(const void *state, enum lam_split split);
uint64_t detect_data_hash(const void *state, enum lam_split split);
lam_status detect_fill_train(void *state, const struct lam_fill *at, void *const *data);
lam_status detect_fill_eval(void *state, const struct lam_fill *at, void *const *data);
const char *detect_describe(const void *state, enum lam_split split, int64_t index, char *text, size_t size);

/* scores.c */
lam_status detect_eval_begin(void *state);
lam_status detect_eval_batch(void *state, const struct lam_block *block, const struct lam_batch *batch);
lam_status detect_eval_end(void *state, struct lam_score *scores, int *count);
lam_status detect_show(void *state, struct lam_image *mosaic, json_t **list);
lam_status detect_report(void *state, FILE *table, json_t **json, const char *folder);
lam_status detect_load(void *state, const char *path, void *data);
lam_status detect_predict(void *state, const struct lam_block *block, int row, const char *path, FILE *table,
                          json_t **json, struct lam_image *picture);

/* picture.c */
lam_status detect_draw_shown(const struct detect *d, struct lam_image *mosaic);
/* The batch as the network sees it, with the boxes that its targets come from. */
lam_status detect_draw_batch(void *state, struct lam_device *device, const struct lam_batch *batch,
                             struct lam_image *mosaic);
lam_status detect_draw_found(const struct detect *d, const char *path, const struct detect_list *found,
                             struct lam_image *picture);

#endif
