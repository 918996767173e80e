/* The super-resolution task's state, shared by its files: sr.c (options, opening, the task's table), network.c (fields, losses),
 * samples.c (patches for training, tiles for evaluation), scores.c (evaluation and report), upscale.c (whole images through a
 * finished network), picture.c (what is drawn).
 *
 * What the network sees and gives are pixels / 255, less the mean colour, times the image range. */
#ifndef LAM_TASKS_SR_INTERNAL_H
#define LAM_TASKS_SR_INTERNAL_H

#include "tasks/sr/bicubic.h"
#include "tasks/sr/models.h"
#include "tasks/sr/patches.h"
#include "tasks/sr/quality.h"
#include "tasks/sr/sr.h"
#include "tasks/sr/tile.h"

enum sr_loss { SR_L1, SR_CHARBONNIER };

struct sr_config {
    int scale; /* index: scale - 2 */
    int64_t patch, patches, channels, units, blocks, local_width, border, tile;
    bool flip, rotate, pairs, global_skip, self_ensemble;
    double image_range, charbonnier_eps, shrink;
    int loss;    /* enum sr_loss */
    int channel; /* enum sr_channel */
    char *cache;
};

enum sr_field { SR_FIELD_IMAGE, SR_FIELD_TARGET, SR_FIELDS };

/* A validation image and what is known of it. */
struct sr_image {
    struct sr_tiling tiling; /* of the image, or of a mirrored one that is as large as a tile */
    int64_t first;           /* of its tiles among all */
    int width, height;       /* low resolution */
    bool measured;           /* bicubic */
    struct sr_quality bicubic, ours;
};

struct sr_shown {
    int64_t index;
    struct lam_image ours;
};

/* Per loader thread; one more for evaluation. */
struct sr_thread {
    struct lam_sample sample;
    struct lam_image low;
};

struct sr {
    const struct lam_config *config;
    const struct sr_config *own;
    int scale, border, tile;
    struct lam_dataset *train, *val; /* val may be train (--overfit-batch); NULL where not in use */
    struct sr_patches patches;
    struct sr_net *net;
    struct lam_field fields[SR_FIELDS], eval_field;
    struct lam_network network;
    struct sr_thread *threads;
    int thread_count;
    struct sr_image *images; /* of val */
    int64_t image_count, tiles;
    /* The evaluation so far. */
    struct sr_planes result; /* of the image whose tiles come in */
    float *answer;           /* of one batch */
    int64_t done;            /* images */
    struct sr_shown *shown;
    int shown_count, shown_capacity;
};

/* network.c */
lam_status sr_make_network(struct sr *sr);
void sr_to_network(const struct sr *sr, float *planes, size_t pixels);   /* three planes of pixels / 255 */
void sr_from_network(const struct sr *sr, float *planes, size_t pixels); /* to 0..255 */

/* samples.c */
int64_t sr_samples(const void *state, enum lam_split split);
uint64_t sr_data_hash(const void *state, enum lam_split split);
lam_status sr_fill_train(void *state, const struct lam_fill *at, void *const *data);
lam_status sr_fill_eval(void *state, const struct lam_fill *at, void *const *data);
const char *sr_describe(const void *state, enum lam_split split, int64_t index, char *text, size_t size);
/* Sizes of all validation images, and the tiles that they are cut into. */
lam_status sr_measure_images(struct sr *sr);
lam_status sr_cut_tiles(struct sr *sr);
int64_t sr_image_of_tile(const struct sr *sr, int64_t tile);
/* The low-resolution image of a sample: its partner, or made. */
lam_status sr_low_of(const struct sr *sr, const struct lam_sample *sample, struct lam_image *low);
/* Error of a sample with its name in front. */
lam_status sr_name_sample(const struct lam_dataset *set, int64_t index, lam_status status);

/* scores.c */
lam_status sr_eval_begin(void *state);
lam_status sr_eval_batch(void *state, const struct lam_block *block, const struct lam_batch *batch);
lam_status sr_eval_image(void *state, const struct lam_asker *asker, int64_t index);
lam_status sr_eval_end(void *state, struct lam_score *scores, int *count);
int64_t sr_images(const void *state);
lam_status sr_show(void *state, struct lam_image *mosaic, json_t **list);
lam_status sr_report(void *state, FILE *table, json_t **json, const char *folder);

/* upscale.c: three planes of 0..255, large, from an image of any size and kind. */
lam_status sr_upscale(const struct sr *sr, const struct lam_asker *asker, const struct lam_image *low,
                      struct sr_planes *result);
lam_status sr_predict_image(void *state, const struct lam_asker *asker, const char *path, FILE *table,
                            json_t **json, struct lam_image *picture);

/* picture.c */
lam_status sr_draw_shown(struct sr *sr, struct lam_image *mosaic);
lam_status sr_draw_batch(void *state, struct lam_device *device, const struct lam_batch *batch,
                         struct lam_image *mosaic);

#endif
