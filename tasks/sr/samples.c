/* What fills batches. Training: patches, as many an epoch as asked, each from an image, a place and a symmetry that its number and
 * the epoch decide. Evaluation: the tiles of all validation images, one after another.
 *
 * All tiles are of one size, which is that of a compiled program. An image that is smaller is mirrored at its right and lower
 * border; what lies close to these may then differ from what the network says of the image alone (upscale.c does that).
 *
 * With --overfit-batch every batch holds the same patches. */
#include <stdlib.h>
#include <string.h>

#include "tasks/sr/internal.h"

int64_t sr_samples(const void *state, enum lam_split split) {
    const struct sr *sr = state;
    if (split == LAM_SPLIT_VAL) return sr->tiles;
    return sr->train ? sr->own->patches : 0;
}

uint64_t sr_data_hash(const void *state, enum lam_split split) {
    const struct sr *sr = state;
    return lam_dataset_hash(split == LAM_SPLIT_TRAIN ? sr->train : sr->val);
}

/* The image that a patch of an epoch comes from; *rng goes on to its place. */
static int64_t image_of_patch(const struct sr *sr, uint64_t seed, uint64_t epoch, int64_t index,
                              struct lam_rng *rng) {
    if (sr->config->overfit_batch) {
        epoch = 0;
        index %= sr->config->batch;
    }
    *rng = lam_rng_make(seed, LAM_RNG_AUGMENT, epoch, (uint64_t)index);
    return lam_rng_below(rng, (uint32_t)sr->train->count);
}

/* Which epoch is not known here, so a patch is told by its number. */
const char *sr_describe(const void *state, enum lam_split split, int64_t index, char *text, size_t size) {
    const struct sr *sr = state;
    if (split == LAM_SPLIT_VAL) return lam_dataset_describe(sr->val, sr_image_of_tile(sr, index), text, size);
    snprintf(text, size, "patch %lld", (long long)index);
    return text;
}

lam_status sr_name_sample(const struct lam_dataset *set, int64_t index, lam_status status) {
    char what[512];
    if (status == LAM_OK || status == LAM_ERR_NO_MEMORY) return status;
    lam_dataset_describe(set, index, what, sizeof what);
    if (strstr(lam_error_text(), what)) return status; /* it is named already */
    return lam_fail_in(status, what);
}

/* ---- training ---- */

lam_status sr_fill_train(void *state, const struct lam_fill *at, void *const *data) {
    const struct sr *sr = state;
    struct sr_thread *thread = &sr->threads[at->thread];
    const struct lam_sample *sample;
    struct lam_rng rng;
    int64_t index = image_of_patch(sr, at->seed, at->epoch, at->index, &rng);
    LAM_TRY(lam_dataset_borrow(sr->train, index, &thread->sample, &sample));
    float *input = data[SR_FIELD_IMAGE], *target = data[SR_FIELD_TARGET];
    LAM_TRY(sr_name_sample(sr->train, index,
                           sr_patch(&sr->patches, &sample->image, &sample->pair, &rng, input, target)));
    size_t pixels = (size_t)sr->patches.size * (size_t)sr->patches.size;
    sr_to_network(sr, input, pixels);
    sr_to_network(sr, target, pixels * (size_t)(sr->scale * sr->scale));
    return LAM_OK;
}

/* ---- evaluation ---- */

lam_status sr_measure_images(struct sr *sr) {
    struct sr_thread *thread = &sr->threads[0];
    sr->image_count = sr->val->count;
    sr->images = calloc((size_t)sr->image_count, sizeof *sr->images);
    if (!sr->images) return lam_no_memory();
    for (int64_t i = 0; i < sr->image_count; i++) {
        const struct lam_sample *sample;
        LAM_TRY(lam_dataset_borrow(sr->val, i, &thread->sample, &sample));
        struct sr_image *image = &sr->images[i];
        image->width = sample->image.width / sr->scale;
        image->height = sample->image.height / sr->scale;
        int border = 2 * sr->border;
        if (sr->scale * image->width > border && sr->scale * image->height > border) continue;
        char what[512];
        return lam_fail(LAM_ERR_INVALID, "%s: %d x %d pixels are too few for a --border of %d",
                        lam_dataset_describe(sr->val, i, what, sizeof what), sample->image.width,
                        sample->image.height, sr->border);
    }
    return LAM_OK;
}

static int at_least(int size, int least) {
    return size > least ? size : least;
}

lam_status sr_cut_tiles(struct sr *sr) {
    int radius = sr_net_radius(sr->net);
    if (sr_net_sees_all(sr->net) && radius > sr->tile / 4) radius = sr->tile / 4;
    sr->tiles = 0;
    for (int64_t i = 0; i < sr->image_count; i++) {
        struct sr_image *image = &sr->images[i];
        LAM_TRY(sr_tiling_make(at_least(image->width, sr->tile), at_least(image->height, sr->tile), sr->tile,
                               radius, sr->scale, &image->tiling));
        image->first = sr->tiles;
        sr->tiles += (int64_t)image->tiling.columns * image->tiling.rows;
    }
    return LAM_OK;
}

int64_t sr_image_of_tile(const struct sr *sr, int64_t tile) {
    int64_t low = 0, high = sr->image_count - 1;
    while (low < high) {
        int64_t middle = (low + high + 1) / 2;
        if (sr->images[middle].first <= tile)
            low = middle;
        else
            high = middle - 1;
    }
    return low;
}

lam_status sr_low_of(const struct sr *sr, const struct lam_sample *sample, struct lam_image *low) {
    struct lam_image *pair = (struct lam_image *)(uintptr_t)&sample->pair;
    if (!pair->pixels) return sr_low(&sample->image, sr->scale, SR_ROUND_PASSES, low);
    LAM_TRY(lam_image_alloc(low, pair->width, pair->height, pair->channels));
    memcpy(low->pixels, pair->pixels, (size_t)pair->width * (size_t)pair->height * (size_t)pair->channels);
    return LAM_OK;
}

static int mirrored(int i, int size) {
    while (i >= size || i < 0) i = i < 0 ? -i - 1 : 2 * size - 1 - i;
    return i;
}

/* `part` of an image of which `low` holds what begins at (x, y). */
static void write_tile(const struct lam_image *low, int x, int y, const struct sr_image *image,
                       const struct sr_rect *part, float *planes) {
    for (int c = 0; c < 3; c++)
        for (int row = 0; row < part->height; row++)
            for (int column = 0; column < part->width; column++) {
                size_t at = (size_t)(mirrored(part->y + row, image->height) - y) * (size_t)low->width +
                            (size_t)(mirrored(part->x + column, image->width) - x);
                *planes++ =
                    (float)low->pixels[at * (size_t)low->channels + (size_t)(low->channels >= 3 ? c : 0)] /
                    255;
            }
}

lam_status sr_fill_eval(void *state, const struct lam_fill *at, void *const *data) {
    const struct sr *sr = state;
    struct sr_thread *thread = &sr->threads[at->thread];
    int64_t index = sr_image_of_tile(sr, at->index);
    const struct sr_image *image = &sr->images[index];
    struct sr_rect part = sr_tiling_at(&image->tiling, (int)(at->index - image->first)).from, inside = part;
    const struct lam_sample *sample;
    LAM_TRY(lam_dataset_borrow(sr->val, index, &thread->sample, &sample));
    if (inside.width > image->width) inside.width = image->width;
    if (inside.height > image->height) inside.height = image->height;
    if (sample->pair.pixels) {
        write_tile(&sample->pair, 0, 0, image, &part, data[0]);
    } else {
        LAM_TRY(sr_name_sample(
            sr->val, index, sr_low_part(&sample->image, sr->scale, SR_ROUND_PASSES, inside, &thread->low)));
        write_tile(&thread->low, inside.x, inside.y, image, &part, data[0]);
    }
    sr_to_network(sr, data[0], (size_t)part.width * (size_t)part.height);
    return LAM_OK;
}
