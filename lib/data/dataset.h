/* Data sets of labelled images, behind one interface.
 *
 *     struct lam_dataset *train;
 *     LAM_TRY(lam_dataset_open("cifar10:/data/cifar10", LAM_SPLIT_TRAIN, &options, &train));
 *     struct lam_sample sample = {0};
 *     LAM_TRY(lam_dataset_read(train, i, &sample));      // any thread, any order
 *     lam_sample_free(&sample);
 *     lam_dataset_close(train);
 *
 * A format is one const struct lam_dataset_format in its own file and one line in the table of formats.c.
 * Formats check all that they can when opened (sizes, counts, labels) and name file and byte or line when
 * something is wrong.
 */
#ifndef LAM_DATA_DATASET_H
#define LAM_DATA_DATASET_H

#include <stdbool.h>

#include "data/image.h"

enum lam_split { LAM_SPLIT_TRAIN, LAM_SPLIT_VAL };

struct lam_box {
    float x0, y0, x1, y1; /* pixels, corners */
    int label;
    bool difficult, crowd;
};

struct lam_sample {
    struct lam_image image;
    int label;             /* classification; -1 = none */
    struct lam_box *boxes; /* detection; owned */
    int box_count;
    struct lam_image pair; /* super-resolution: the low-resolution partner, if the set has one */
};
void lam_sample_free(struct lam_sample *sample);

struct lam_dataset_options {
    uint64_t seed;   /* shapes */
    int image_size;  /* shapes: side in pixels, 0 = 32 */
    int train_count; /* shapes: samples of the training part, 0 = default */
    int val_count;   /* shapes: samples of the validation part, 0 = default */
    bool skip_bad;   /* leave out samples that are malformed or unsupported (they are counted, and listed by
                        check), not stop */
};

struct lam_dataset;

struct lam_dataset_format {
    const char *name; /* as in --data name:path */
    const char *help; /* one line: layout expected under path */
    bool needs_path;
    lam_status (*open)(const char *path, enum lam_split split, const struct lam_dataset_options *options,
                       struct lam_dataset *dataset);
    void (*close)(struct lam_dataset *dataset);
    lam_status (*read)(const struct lam_dataset *dataset, int64_t index, struct lam_sample *sample);
    /* "file" or "file:record" of a sample; returns text. */
    const char *(*describe)(const struct lam_dataset *dataset, int64_t index, char *text, size_t size);
    /* Of what tells one set from another without reading its images: names below the path, labels, seed. */
    uint64_t (*hash)(const struct lam_dataset *dataset);
};

/* What a format's open fills in. */
struct lam_dataset {
    const struct lam_dataset_format *format;
    int64_t count;
    int64_t left_out;   /* by skip_bad; not in count */
    int classes;        /* 0: no labels */
    char **class_names; /* classes of them, or NULL */
    int channels;       /* of every image as training sees it: 1 or 3 */
    int width, height;  /* of every image (folder: of some that were looked at), or 0 if they differ */
    float mean[3],
        deviation[3]; /* normalisation, of pixels in 0..1; by format, or computed by lam_dataset_measure */
    bool has_own_val; /* the format has a validation or test part of its own */
    void *state;      /* the format's own */
};

/* `text` is "format:path" or "format". Errors: unknown format (with the nearest), missing path, malformed
 * files. */
lam_status lam_dataset_open(const char *text, enum lam_split split, const struct lam_dataset_options *options,
                            struct lam_dataset **dataset);
void lam_dataset_close(struct lam_dataset *dataset);
/* Thread safe. Overwrites *sample (its memory is reused where it fits). */
lam_status lam_dataset_read(const struct lam_dataset *dataset, int64_t index, struct lam_sample *sample);
const char *lam_dataset_describe(const struct lam_dataset *dataset, int64_t index, char *text, size_t size);

/* The same for the same samples with the same labels in the same order, wherever the set lies. Pixels are not
 * looked at. */
uint64_t lam_dataset_hash(const struct lam_dataset *dataset);

/* Mean and deviation per channel over at most `limit` samples (evenly spaced), into dataset->mean and
 * deviation. */
lam_status lam_dataset_measure(struct lam_dataset *dataset, int64_t limit);

/* Reads every sample; calls report(context, index, what, reason) for each bad one. *bad: how many. */
lam_status lam_dataset_check(const struct lam_dataset *dataset,
                             void (*report)(void *context, int64_t index, const char *what,
                                            const char *reason),
                             void *context, int64_t *bad);

const struct lam_dataset_format *const *lam_dataset_formats(void); /* NULL-terminated, for --help */

#endif
