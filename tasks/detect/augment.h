/* Samples of a detection set as the network sees them: planes of a fixed size, and the boxes that go with
 * them.
 *
 *     struct detect_augment augment = {.fit = {.width = 320, .height = 240}, .mean = ..., .deviation = ...,
 *                                      .flip = 0.5f, .scale_min = 0.5f, .scale_max = 1.5f, .mosaic = 0.5f,
 *                                      .hue = 0.015f, .saturation = 0.7f, .value = 0.4f};
 *     struct detect_scratch scratch = {0};                                        // one a thread
 *     LAM_TRY(detect_augment_check(&augment));
 *     struct lam_rng rng = lam_rng_make(seed, LAM_RNG_AUGMENT, epoch, index);
 *     LAM_TRY(detect_augment_train(&augment, &sample, &others, &rng, &scratch, planes));
 *     ... scratch.boxes.items, scratch.boxes.count: in the input's pixels, clipped to what is to be seen ...
 *     LAM_TRY(detect_augment_plain(&augment, &sample, &scratch, planes, &view));   // evaluation
 *     detect_scratch_free(&scratch);
 *
 * Training: with probability `mosaic` four images, one in each quarter around a random point (Bochkovskiy et
 * al. 2020), else one. Each is resized to a random scale of the size that fits the input, mirrored, placed
 * at random (cut where it is larger than its place, with the mean colour around it where it is smaller), and
 * its colours are changed. The draws come from the stream in this order: mosaic, centre; then for each image
 * its number (but the first), scale, place, flips (the
 * vertical one if there are any), colours. Evaluation: the whole image, as
 * large as `fit` says.
 *
 * A gray image fills three channels, alpha is dropped. Errors: LAM_ERR_FORMAT as detect_box_check,
 * LAM_ERR_INVALID, LAM_ERR_NO_MEMORY, and what reading another sample gives.
 */
#ifndef LAM_TASKS_DETECT_AUGMENT_H
#define LAM_TASKS_DETECT_AUGMENT_H

#include "base/rng.h"
#include "data/dataset.h"
#include "tasks/detect/view.h"

struct detect_augment {
    struct detect_fit fit;      /* the input, and how large images are in it */
    uint8_t padding[3];         /* the colour where no image is */
    float flip, flip_vertical;  /* probabilities: left to right, top to bottom */
    float scale_min, scale_max; /* of the fitting size, log-uniform; both 0 = 1 */
    float min_share; /* a box of which less than this share of its area remains is dropped; 0 = 0.25 */
    float hue;       /* greatest turn, in circles: 0..0.5 */
    float saturation, value; /* greatest change, as a share: factors 1 - s .. 1 + s */
    float mosaic;            /* probability */
};

/* Where a mosaic's other images come from. */
struct detect_source {
    int64_t count; /* images to draw from; 0 = no mosaic */
    lam_status (*read)(void *context, int64_t index, struct lam_sample *sample);
    void *context;
};

struct detect_boxes { /* grows as needed */
    struct lam_box *items;
    int count, room;
};

/* What one thread needs; starts as {0}. */
struct detect_scratch {
    struct detect_boxes boxes; /* of the last call, in the input's pixels */
    struct lam_sample other;   /* a mosaic's */
    struct lam_image part;     /* resized */
};
void detect_scratch_free(struct detect_scratch *scratch);

lam_status detect_augment_check(const struct detect_augment *augment);

/* planes: u8 [3][height][width]. `others` may be NULL. A box keeps its label and marks; crowds and
 * difficult boxes stay as long as anything of them is to be seen. */
lam_status detect_augment_train(const struct detect_augment *augment, const struct lam_sample *sample,
                                const struct detect_source *others, struct lam_rng *rng,
                                struct detect_scratch *scratch, uint8_t *planes);
/* Without randomness; *view tells the way back. */
lam_status detect_augment_plain(const struct detect_augment *augment, const struct lam_sample *sample,
                                struct detect_scratch *scratch, uint8_t *planes, struct detect_view *view);

/* The planes as a picture again, to be looked at. */
lam_status detect_augment_picture(const struct detect_augment *augment, const uint8_t *planes,
                                  struct lam_image *picture);

#endif
