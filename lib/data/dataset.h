/* Data sets of images with labels or boxes, behind one interface.
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

/* What a task is about to learn. */
enum lam_content {
    LAM_CONTENT_LABELS, /* a class for each image */
    LAM_CONTENT_BOXES,  /* boxes with classes */
    LAM_CONTENT_IMAGES, /* the pixels themselves */
};

/* The corner (0, 0) is the upper left corner of the upper left pixel, so a box of one pixel there is
 * 0, 0, 1, 1. Boxes of a sample lie within its image and are wider and higher than 0. */
struct lam_box {
    float x0, y0, x1, y1; /* pixels, corners */
    int label;
    bool difficult; /* VOC: counts neither for nor against a detector */
    bool crowd;     /* COCO: stands for many objects */
    float area;     /* COCO: of the object's outline, pixels; 0 = that of the box */
};

struct lam_sample {
    struct lam_image image;
    int label;             /* classification; -1 = none */
    struct lam_box *boxes; /* detection; owned */
    int box_count, box_capacity;
    int64_t image_id;      /* COCO: the file's own; elsewhere the sample's number in the files */
    struct lam_image pair; /* super-resolution: the low-resolution partner, if the set has one */
};
void lam_sample_free(struct lam_sample *sample);

/* Boxes of all samples, and those that the files have but no sample. */
struct lam_box_counts {
    int64_t kept;
    int64_t clipped;    /* of the kept ones: partly outside the image, cut at its border */
    int64_t degenerate; /* not kept: no wider or higher than nothing */
    int64_t outside;    /* not kept: wholly outside the image */
    int64_t strays;     /* not kept: of an image that the file does not list (COCO; only with skip_bad) */
};

struct lam_dataset_options {
    enum lam_content content; /* formats that can give several kinds, such as shapes, give this one */
    uint64_t seed;            /* shapes */
    int image_size;           /* shapes: side in pixels, 0 = 32, with boxes 128 */
    int train_count;          /* shapes: samples of the training part, 0 = default */
    int val_count;            /* shapes: samples of the validation part, 0 = default */
    bool skip_bad; /* leave out samples that are malformed or unsupported (they are counted, and listed by
                        check), not stop */
    int scale;  /* srdir: high-resolution images must be as large as this at least; 0 = any size, no pairs */
    bool pairs; /* srdir: give the low-resolution partner too, for folders that have them at this scale */
    uint64_t cache_bytes; /* decoded samples are kept in memory, up to so many bytes; 0 = none */
};

struct lam_dataset;

struct lam_dataset_format {
    const char *name; /* as in --data name:path */
    const char *help; /* one line: layout expected under path */
    bool needs_path;
    bool takes_part;  /* "path#part" names a part of the set (dataset->part) */
    bool takes_paths; /* "path+path"; open checks them */
    lam_status (*open)(const char *path, enum lam_split split, const struct lam_dataset_options *options,
                       struct lam_dataset *dataset);
    void (*close)(struct lam_dataset *dataset);
    lam_status (*read)(const struct lam_dataset *dataset, int64_t index, struct lam_sample *sample);
    /* "file" or "file:record" of a sample; returns text. */
    const char *(*describe)(const struct lam_dataset *dataset, int64_t index, char *text, size_t size);
    /* Of what tells one set from another without reading its images: names below the path, labels, seed. */
    uint64_t (*hash)(const struct lam_dataset *dataset);
    /* Formats with boxes; the others leave these out. The boxes and the image_id of a sample without its pixels,
     * and the size of its image; and adding a sample to the counts. */
    lam_status (*read_boxes)(const struct lam_dataset *dataset, int64_t index, struct lam_sample *sample,
                             int *width, int *height);
    void (*count_boxes)(const struct lam_dataset *dataset, int64_t index, struct lam_box_counts *counts);
    /* What is wrong in the files but belongs to no sample: calls report (may be NULL) for each with index -1,
     * returns how many. May be left out. */
    int64_t (*check_rest)(const struct lam_dataset *dataset,
                          void (*report)(void *context, int64_t index, const char *what, const char *reason),
                          void *context);
};

/* What a format's open fills in. */
struct lam_dataset {
    const struct lam_dataset_format *format; /* this and the part are there before */
    char *part;                              /* named behind a # in the text, or NULL */
    int64_t count;
    int64_t left_out;   /* by skip_bad; not in count */
    int classes;        /* 0: no labels */
    char **class_names; /* classes of them, or NULL */
    int channels;       /* of every image as training sees it: 1 or 3 */
    int width, height;  /* of every image, or 0 if they differ */
    bool size_probed;   /* width and height are those of some images that were looked at */
    float mean[3],
        deviation[3]; /* normalisation, of pixels in 0..1; by format, or computed by lam_dataset_measure */
    bool has_own_val; /* the format has a validation or test part of its own, and no part was named */
    bool has_boxes;
    bool has_pairs; /* some images have low-resolution partners */
    int *category_ids;            /* COCO: what the file calls each class; else NULL */
    struct lam_box_counts counts; /* has_boxes; filled in after open */
    void *state;                  /* the format's own */
};

/* `text` is "format", "format:path" or "format:path#part". Errors: unknown format (with the nearest), missing path, malformed
 * files. */
lam_status lam_dataset_open(const char *text, enum lam_split split, const struct lam_dataset_options *options,
                            struct lam_dataset **dataset);
void lam_dataset_close(struct lam_dataset *dataset);
/* Thread safe. Overwrites *sample (its memory is reused where it fits). */
lam_status lam_dataset_read(const struct lam_dataset *dataset, int64_t index, struct lam_sample *sample);
/* The same without the pixels, for anchors and counts: only boxes, box_count and image_id are written to. Sets with boxes
 * alone; else LAM_ERR_UNSUPPORTED. */
lam_status lam_dataset_read_boxes(const struct lam_dataset *dataset, int64_t index, struct lam_sample *sample,
                                  int *width, int *height);
/* The same without a copy where the sample is kept in memory: *sample is the set's own then, valid until it is
 * closed, else `scratch`. */
lam_status lam_dataset_borrow(const struct lam_dataset *dataset, int64_t index, struct lam_sample *scratch,
                              const struct lam_sample **sample);
const char *lam_dataset_describe(const struct lam_dataset *dataset, int64_t index, char *text, size_t size);

/* The same for the same samples with the same labels and boxes in the same order, wherever the set lies. Pixels are not
 * looked at. */
uint64_t lam_dataset_hash(const struct lam_dataset *dataset);

/* Mean and deviation per channel (gray images count for all three) over at most `limit` samples (evenly spaced), into dataset->mean and
 * deviation. */
lam_status lam_dataset_measure(struct lam_dataset *dataset, int64_t limit);

/* Reads every sample; calls report(context, index, what, reason) for each bad one, with index -1 for what is
 * wrong beside the samples. *bad: how many. */
lam_status lam_dataset_check(const struct lam_dataset *dataset,
                             void (*report)(void *context, int64_t index, const char *what,
                                            const char *reason),
                             void *context, int64_t *bad);

const struct lam_dataset_format *const *lam_dataset_formats(void); /* NULL-terminated, for --help */

#endif
