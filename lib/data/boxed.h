/* Inside lib/data: sets of image files with boxes (VOC, COCO). A format reads its annotations and fills in the
 * list of images; reading, counting and hashing samples is the same for all.
 *
 * Annotations are read when the set is opened, pixels when a sample is read. What is wrong with an image or its
 * annotation is kept as the image's fault: lam_boxed_finish refuses a set with a fault, or, with skip_bad, lets
 * reading that sample fail, so that it is left out and listed like any other bad sample. Boxes that are well formed but of no
 * use (no width or height, outside the image) are left out and counted in any case: common sets have them. */
#ifndef LAM_DATA_BOXED_H
#define LAM_DATA_BOXED_H

#include "data/formats.h"

struct lam_boxed_image {
    char *path;        /* of the image, or of what stands for it in error texts if there is no image; owned */
    char *fault;       /* why the sample is bad, with file and line; owned, NULL = it is not */
    int64_t id;        /* COCO: image id; else number in the list */
    int width, height; /* as annotated; 0 = not told (lam_boxed_measure finds out) */
    struct lam_box *boxes;
    int box_count, box_capacity;
    struct lam_box_counts counts;
};

struct lam_boxed {
    struct lam_boxed_image *images;
    int64_t count, capacity;
    char *root;       /* the path that the set was opened by, with which every image's begins; owned */
    char **strays;    /* about boxes that belong to no image, each "FILE: reason"; owned */
    char *stray_file; /* that FILE; owned */
    int64_t stray_count, stray_capacity;
};

struct lam_boxed *lam_boxed_new(const char *root); /* NULL with the error recorded */
void lam_boxed_free(struct lam_boxed *boxed);

/* A new image at the end of the list; takes `path`, also on failure. Valid until the next one is added. */
lam_status lam_boxed_add(struct lam_boxed *boxed, char *path, struct lam_boxed_image **image);

/* Makes this thread's error text the image's fault, unless it has one, and returns LAM_OK; other statuses than LAM_ERR_FORMAT,
 * LAM_ERR_NOT_FOUND and LAM_ERR_UNSUPPORTED are not the image's fault and are handed back. */
lam_status lam_boxed_blame(struct lam_boxed_image *image, lam_status status);

/* Finds out the size of an image whose annotation does not tell it, by decoding it. */
lam_status lam_boxed_measure(struct lam_boxed_image *image);

/* Adds a box of finite corners (in *box they are not set yet), cut at the image's border; or counts why not. The image's size must be
 * known. */
lam_status lam_boxed_add_box(struct lam_boxed_image *image, const double corners[4],
                             const struct lam_box *box);

/* Keeps this thread's error text as that of a box of no image. */
lam_status lam_boxed_add_stray(struct lam_boxed *boxed);

/* Makes `boxed` the state of the data set; LAM_ERR_FORMAT with the first fault or stray, unless skip_bad. Takes `boxed`, also
 * on failure. */
lam_status lam_boxed_finish(struct lam_boxed *boxed, const struct lam_dataset_options *options,
                            struct lam_dataset *dataset);

/* The format's functions. */
void lam_boxed_close(struct lam_dataset *dataset);
lam_status lam_boxed_read(const struct lam_dataset *dataset, int64_t index, struct lam_sample *sample);
lam_status lam_boxed_read_boxes(const struct lam_dataset *dataset, int64_t index, struct lam_sample *sample,
                                int *width, int *height);
void lam_boxed_count(const struct lam_dataset *dataset, int64_t index, struct lam_box_counts *counts);
const char *lam_boxed_describe(const struct lam_dataset *dataset, int64_t index, char *text, size_t size);
uint64_t lam_boxed_hash(const struct lam_dataset *dataset);
int64_t lam_boxed_check_rest(const struct lam_dataset *dataset,
                             void (*report)(void *context, int64_t index, const char *what,
                                            const char *reason),
                             void *context);

/* Whether `name` stays in the folder that it is relative to: not empty, no / in front, no "..". */
bool lam_path_stays_inside(const char *name);

/* Room for `count` boxes in a sample. */
lam_status lam_sample_reserve_boxes(struct lam_sample *sample, int count);

#endif
