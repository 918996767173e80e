/* Decoded samples kept in memory, for sets that are read again and again. Not a public header: lam_dataset_open
 * makes one when options ask for it.
 *
 * It keeps the first samples that fit into its limit and never lets go of one: under random access no sample is
 * worth more than another, and what is kept may be used without a lock until the end. Any thread.
 *
 * A cache may be NULL: nothing is found, nothing is kept. Only images, pairs and labels are kept; a sample with
 * boxes is not.
 */
#ifndef LAM_DATA_SAMPLE_CACHE_H
#define LAM_DATA_SAMPLE_CACHE_H

#include "data/dataset.h"

struct lam_sample_cache;

/* For samples 0 .. count - 1; their pixels take `limit` bytes at most, the list beside 8 bytes a sample. */
lam_status lam_sample_cache_create(int64_t count, uint64_t limit, struct lam_sample_cache **cache);
void lam_sample_cache_destroy(struct lam_sample_cache *cache);

const struct lam_sample *lam_sample_cache_find(const struct lam_sample_cache *cache, int64_t index);
/* A copy of `sample`, or the one that another thread has just brought; NULL if there is no room. */
const struct lam_sample *lam_sample_cache_keep(struct lam_sample_cache *cache, int64_t index,
                                               const struct lam_sample *sample);

/* Image, pair and label. On failure `to` is as it was. */
lam_status lam_sample_copy(const struct lam_sample *from, struct lam_sample *to);

#endif
