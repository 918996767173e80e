/* Inside lib/data: sets whose files are arrays of raw images of one size (CIFAR, STL-10, SVHN, idx). A format
 * reads and checks its files and says how the bytes lie; everything after that is the same for all. */
#ifndef LAM_DATA_PACKED_H
#define LAM_DATA_PACKED_H

#include "data/formats.h"

/* The samples of one file. */
struct lam_packed_part {
    char *path;            /* of the images; owned */
    char *label_path;      /* owned; NULL: the labels are in the same file */
    uint8_t *data;         /* the file's content; owned */
    uint8_t *label_data;   /* owned, NULL if the labels are in `data` */
    size_t pixels, record; /* byte of the first image in data, bytes from image to image */
    size_t labels, step;   /* byte of the first label, bytes from label to label */
    int64_t count;
};

struct lam_packed {
    int width, height, channels;
    size_t step_x, step_y, step_channel; /* bytes to the next column, row, channel */
    int first_label;                     /* what the files call class 0 */
    int wrapped_label;                   /* another name for class 0 (SVHN's 10); 0 = none */
    struct lam_packed_part *parts;
    int part_count;
};

/* Adds a part and takes what it owns, also on failure. */
lam_status lam_packed_add(struct lam_packed *packed, const struct lam_packed_part *part);

/* Makes `packed` the state of the data set, with count and sizes, and checks all labels against
 * dataset->classes, unless `skip_bad`: then reading a sample with a bad label fails. Takes `packed`, also on
 * failure. */
lam_status lam_packed_finish(struct lam_packed *packed, const struct lam_dataset_options *options,
                             struct lam_dataset *dataset);

/* The format's functions. */
void lam_packed_close(struct lam_dataset *dataset);
lam_status lam_packed_read(const struct lam_dataset *dataset, int64_t index, struct lam_sample *sample);
const char *lam_packed_describe(const struct lam_dataset *dataset, int64_t index, char *text, size_t size);
uint64_t lam_packed_hash(const struct lam_dataset *dataset);

/* Mean and deviation of gray bytes into channel 0 of the data set. */
void lam_packed_measure(const uint8_t *bytes, size_t count, struct lam_dataset *dataset);

void lam_packed_part_free(struct lam_packed_part *part);
void lam_packed_free(struct lam_packed *packed);
struct lam_packed *lam_packed_new(void); /* NULL with the error recorded */

#endif
