/* What fills batches: images and their labels. Images go as bytes, and the device normalises them. It also moves them in training
 * (LAM_OP_AUGMENT) where the format says that all have the network's size; what needs more, resizing or mixing, is done here, by the
 * loader's threads, and goes as numbers.
 *
 * With mixup (Zhang et al. 2018) each sample is mixed with the one that stands at the mirrored place of its
 * batch, by one share per batch; labels become probabilities. The partner is augmented by its own random
 * numbers, so it looks as it does in its own place.
 *
 * With --overfit-batch every batch holds the first samples of the set, as they are. */
#include <math.h>
#include <string.h>

#include "tasks/classify/internal.h"

int64_t classify_samples(const void *state, enum lam_split split) {
    const struct classify *c = state;
    const struct lam_dataset *set = split == LAM_SPLIT_TRAIN ? c->train : c->val;
    if (!set) return 0;
    bool few = split == LAM_SPLIT_VAL && c->config->overfit_batch && set->count > c->config->batch;
    return few ? c->config->batch : set->count;
}

uint64_t classify_data_hash(const void *state, enum lam_split split) {
    const struct classify *c = state;
    return lam_dataset_hash(split == LAM_SPLIT_TRAIN ? c->train : c->val);
}

const char *classify_describe(const void *state, enum lam_split split, int64_t index, char *text,
                              size_t size) {
    const struct classify *c = state;
    return lam_dataset_describe(split == LAM_SPLIT_TRAIN ? c->train : c->val, index, text, size);
}

/* ---- mixup's share ---- */

/* Gamma(shape, 1) by Marsaglia and Tsang 2000; below 1 by the usual power of a uniform number. */
static double gamma_variate(struct lam_rng *rng, double shape) {
    double boost = 1;
    if (shape < 1) {
        double u = (double)lam_rng_uniform(rng);
        boost = pow(u > 0 ? u : 1e-8, 1 / shape);
        shape += 1;
    }
    double d = shape - 1.0 / 3, k = 1 / sqrt(9 * d);
    for (;;) {
        double x = (double)lam_rng_normal(rng), v = 1 + k * x;
        if (v <= 0) continue;
        v = v * v * v;
        double u = (double)lam_rng_uniform(rng);
        if (u <= 0 || log(u) < 0.5 * x * x + d - d * v + d * log(v)) return boost * d * v;
    }
}

float classify_mixup_share(double alpha, uint64_t seed, uint64_t epoch, int64_t batch) {
    struct lam_rng rng = lam_rng_make(seed, LAM_RNG_MIXUP, epoch, (uint64_t)batch);
    double a = gamma_variate(&rng, alpha), b = gamma_variate(&rng, alpha);
    return a + b > 0 ? (float)(a / (a + b)) : 0.5f;
}

/* ---- filling ---- */

static lam_status check_label(const struct classify *c, const struct lam_dataset *set, int64_t index,
                              int label) {
    char what[256];
    if (label >= 0 && label < c->classes.count) return LAM_OK;
    return lam_fail(LAM_ERR_FORMAT, "%s: label %d is not one of the %d classes",
                    lam_dataset_describe(set, index, what, sizeof what), label, c->classes.count);
}

static lam_status fill_augmented(const struct classify *c, const struct lam_fill *at, int64_t index,
                                 struct lam_sample *sample, float *planes) {
    LAM_TRY(lam_dataset_read(c->train, index, sample));
    LAM_TRY(check_label(c, c->train, index, sample->label));
    struct lam_rng rng = lam_rng_make(at->seed, LAM_RNG_AUGMENT, at->epoch, (uint64_t)index);
    return lam_augment_apply(&c->augment, &sample->image, &rng, planes);
}

static lam_status fill_mixed(const struct classify *c, const struct lam_fill *at, void *const *data) {
    struct scratch *scratch = &c->scratch[at->thread];
    float *planes = data[0], *shares = data[1];
    LAM_TRY(fill_augmented(c, at, at->index, &scratch->sample, planes));
    int place = at->slot % at->batch_count;
    LAM_TRY(fill_augmented(c, at, at->batch_indices[at->batch_count - 1 - place], &scratch->partner,
                           scratch->planes));
    float share = classify_mixup_share(c->own->mixup, at->seed, at->epoch, at->batch);
    int64_t count = lam_shape_count(c->fields[0].shape);
    for (int64_t i = 0; i < count; i++) planes[i] = share * planes[i] + (1 - share) * scratch->planes[i];
    memset(shares, 0, (size_t)c->classes.count * sizeof *shares);
    shares[scratch->sample.label] += share;
    shares[scratch->partner.label] += 1 - share;
    return LAM_OK;
}

static lam_status fill_plain(const struct classify *c, const struct lam_dataset *set, int64_t index,
                             int thread, void *const *data) {
    struct lam_sample *sample = &c->scratch[thread].sample;
    LAM_TRY(lam_dataset_read(set, index, sample));
    LAM_TRY(check_label(c, set, index, sample->label));
    *(int32_t *)data[1] = sample->label;
    return lam_augment_pixels(&c->plain, &sample->image, data[0]);
}

lam_status classify_fill_train(void *state, const struct lam_fill *at, void *const *data) {
    const struct classify *c = state;
    if (c->config->overfit_batch)
        return fill_plain(c, c->train, at->index % c->config->batch, at->thread, data);
    if (c->on_device) return fill_plain(c, c->train, at->index, at->thread, data);
    if (c->own->mixup > 0) return fill_mixed(c, at, data);
    struct lam_sample *sample = &c->scratch[at->thread].sample;
    LAM_TRY(fill_augmented(c, at, at->index, sample, data[0]));
    *(int32_t *)data[1] = sample->label;
    return LAM_OK;
}

lam_status classify_fill_eval(void *state, const struct lam_fill *at, void *const *data) {
    const struct classify *c = state;
    return fill_plain(c, c->val, at->index, at->thread, data);
}
