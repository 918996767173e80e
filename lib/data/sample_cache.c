/* A list of pointers that go from NULL to a sample once. Whoever decoded a sample first publishes it by one
 * compare and swap; the bytes are reserved before, so that the limit holds at every moment. */
#include "data/sample_cache.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

struct lam_sample_cache {
    int64_t count;
    uint64_t limit;
    _Atomic uint64_t used;
    struct lam_sample *_Atomic samples[];
};

static size_t image_bytes(const struct lam_image *image) {
    return image->pixels ? (size_t)image->width * (size_t)image->height * (size_t)image->channels : 0;
}

static lam_status copy_image(const struct lam_image *from, struct lam_image *to) {
    if (!from->pixels) return LAM_OK;
    LAM_TRY(lam_image_alloc(to, from->width, from->height, from->channels));
    memcpy(to->pixels, from->pixels, image_bytes(from));
    return LAM_OK;
}

lam_status lam_sample_copy(const struct lam_sample *from, struct lam_sample *to) {
    struct lam_image image = {0}, pair = {0};
    lam_status status = copy_image(&from->image, &image);
    if (status == LAM_OK) status = copy_image(&from->pair, &pair);
    if (status != LAM_OK) {
        lam_image_free(&image);
        return status;
    }
    lam_image_free(&to->image);
    lam_image_free(&to->pair);
    to->image = image;
    to->pair = pair;
    to->label = from->label;
    to->image_id = from->image_id;
    to->box_count = 0;
    return LAM_OK;
}

lam_status lam_sample_cache_create(int64_t count, uint64_t limit, struct lam_sample_cache **cache) {
    *cache = calloc(1, sizeof **cache + (size_t)count * sizeof((*cache)->samples[0]));
    if (!*cache) return lam_no_memory();
    (*cache)->count = count;
    (*cache)->limit = limit;
    for (int64_t i = 0; i < count; i++) atomic_init(&(*cache)->samples[i], NULL);
    return LAM_OK;
}

static void free_sample(struct lam_sample *sample) {
    if (!sample) return;
    lam_sample_free(sample);
    free(sample);
}

void lam_sample_cache_destroy(struct lam_sample_cache *cache) {
    if (!cache) return;
    for (int64_t i = 0; i < cache->count; i++) free_sample(atomic_load(&cache->samples[i]));
    free(cache);
}

const struct lam_sample *lam_sample_cache_find(const struct lam_sample_cache *cache, int64_t index) {
    if (!cache || index < 0 || index >= cache->count) return NULL;
    return atomic_load_explicit(&cache->samples[index], memory_order_acquire);
}

const struct lam_sample *lam_sample_cache_keep(struct lam_sample_cache *cache, int64_t index,
                                               const struct lam_sample *sample) {
    if (!cache || sample->box_count) return NULL;
    uint64_t bytes = image_bytes(&sample->image) + image_bytes(&sample->pair);
    if (atomic_fetch_add(&cache->used, bytes) + bytes > cache->limit) {
        atomic_fetch_sub(&cache->used, bytes);
        return NULL;
    }
    struct lam_sample *copy = calloc(1, sizeof *copy), *present = NULL;
    bool copied = copy && lam_sample_copy(sample, copy) == LAM_OK; /* without memory nothing is kept */
    if (copied && atomic_compare_exchange_strong(&cache->samples[index], &present, copy)) return copy;
    atomic_fetch_sub(&cache->used, bytes);
    free_sample(copy);
    return present;
}
