/* What fills batches: images, augmented for training, and the targets of all anchors.
 *
 * With --overfit-batch every batch holds the first samples of the set, as they are. */
#include "tasks/detect/internal.h"

int64_t detect_samples(const void *state, enum lam_split split) {
    const struct detect *d = state;
    const struct lam_dataset *set = split == LAM_SPLIT_TRAIN ? d->train : d->val;
    if (!set) return 0;
    bool few = split == LAM_SPLIT_VAL && d->config->overfit_batch && set->count > d->config->batch;
    return few ? d->config->batch : set->count;
}

uint64_t detect_data_hash(const void *state, enum lam_split split) {
    const struct detect *d = state;
    return lam_dataset_hash(split == LAM_SPLIT_TRAIN ? d->train : d->val);
}

const char *detect_describe(const void *state, enum lam_split split, int64_t index, char *text, size_t size) {
    const struct detect *d = state;
    return lam_dataset_describe(split == LAM_SPLIT_TRAIN ? d->train : d->val, index, text, size);
}

static lam_status read_other(void *context, int64_t index, struct lam_sample *sample) {
    const struct detect *d = context;
    return lam_dataset_read(d->train, index, sample);
}

/* An error of one sample names it. */
static lam_status name_sample(const struct lam_dataset *set, int64_t index, lam_status status) {
    char what[512];
    if (status == LAM_OK || status == LAM_ERR_NO_MEMORY) return status;
    return lam_fail_in(status, lam_dataset_describe(set, index, what, sizeof what));
}

static lam_status augment(const struct detect *d, const struct lam_fill *at, struct detect_thread *thread,
                          uint8_t *planes) {
    LAM_TRY(lam_dataset_read(d->train, at->index, &thread->sample));
    struct lam_rng rng = lam_rng_make(at->seed, LAM_RNG_AUGMENT, at->epoch, (uint64_t)at->index);
    const struct detect_source others = {d->train->count, read_other, (void *)(uintptr_t)d};
    return name_sample(
        d->train, at->index,
        detect_augment_train(&d->augment, &thread->sample, &others, &rng, &thread->scratch, planes));
}

static lam_status plain(const struct detect *d, const struct lam_dataset *set, int64_t index,
                        struct detect_thread *thread, uint8_t *planes) {
    struct detect_view view;
    LAM_TRY(lam_dataset_read(set, index, &thread->sample));
    return name_sample(set, index,
                       detect_augment_plain(&d->plain, &thread->sample, &thread->scratch, planes, &view));
}

static lam_status fill_targets(const struct detect *d, const struct detect_thread *thread, int64_t index,
                               void *const *data) {
    bool corners = d->own->box_loss == DETECT_GIOU;
    const struct detect_targets targets = {.classes = data[DETECT_FIELD_CLASSES],
                                           .deltas = corners ? NULL : data[DETECT_FIELD_BOXES],
                                           .corners = corners ? data[DETECT_FIELD_BOXES] : NULL,
                                           .weights = data[DETECT_FIELD_WEIGHTS],
                                           .normaliser = data[DETECT_FIELD_NORMALISER]};
    const struct detect_assign_options options = {.positive = (float)d->own->positive,
                                                  .negative = (float)d->own->negative,
                                                  .force_best = d->own->force_best};
    const struct detect_boxes *boxes = &thread->scratch.boxes;
    return name_sample(
        d->train, index,
        detect_assign(&options, &d->anchors, d->classes.count, boxes->items, boxes->count, &targets));
}

lam_status detect_fill_train(void *state, const struct lam_fill *at, void *const *data) {
    const struct detect *d = state;
    struct detect_thread *thread = &d->threads[at->thread];
    uint8_t *planes = data[DETECT_FIELD_IMAGE];
    if (d->config->overfit_batch)
        LAM_TRY(plain(d, d->train, at->index % d->config->batch, thread, planes));
    else
        LAM_TRY(augment(d, at, thread, planes));
    return fill_targets(d, thread, at->index, data);
}

lam_status detect_fill_eval(void *state, const struct lam_fill *at, void *const *data) {
    const struct detect *d = state;
    return plain(d, d->val, at->index, &d->threads[at->thread], data[0]);
}
