/* Counter-based random numbers: Philox4x32-10 (Salmon et al., "Parallel random numbers: as easy as 1, 2, 3",
 * SC 2011).
 *
 * A stream is named by (seed, purpose, a, b): what it is for and which item it belongs to. The numbers depend
 * on nothing else, so augmentation, dropout and initialisation are the same on any number of threads and
 * devices and after any resume.
 *
 *     struct lam_rng rng = lam_rng_make(seed, LAM_RNG_AUGMENT, epoch, sample_index);
 *     int dx = (int)lam_rng_below(&rng, 9) - 4;
 */
#ifndef LAM_BASE_RNG_H
#define LAM_BASE_RNG_H

#include <stddef.h>
#include <stdint.h>

enum lam_rng_purpose {
    LAM_RNG_INIT = 1, /* a = hash of the parameter's name, b = 0 */
    LAM_RNG_SHUFFLE,  /* a = epoch, b = 0 */
    LAM_RNG_AUGMENT,  /* a = epoch, b = sample index in the data set; on a device a = step, b = place in the batch */
    LAM_RNG_DROPOUT,  /* a = step, b = hash of the layer's name combined with the sample's place in the batch
                       */
    LAM_RNG_DATASET,  /* generated data: a = split, b = sample index */
    LAM_RNG_MIXUP,    /* a = epoch, b = batch index */
    LAM_RNG_TEST,
    LAM_RNG_SIMULATE, /* a = stage, b = step */
};

struct lam_rng {
    uint32_t key[2];
    uint32_t counter[4];
    uint32_t output[4];
    int left; /* unread words of output */
};

struct lam_rng lam_rng_make(uint64_t seed, enum lam_rng_purpose purpose, uint64_t a, uint64_t b);

uint32_t lam_rng_u32(struct lam_rng *rng);
uint32_t lam_rng_below(struct lam_rng *rng, uint32_t bound); /* uniform in [0, bound), unbiased; bound > 0 */
float lam_rng_uniform(struct lam_rng *rng);                  /* uniform in [0, 1), 24 bits */
float lam_rng_normal(struct lam_rng *rng);                   /* mean 0, deviation 1 (Box-Muller) */

/* Ten Philox rounds over one counter block; for kernels that want many independent blocks at once. */
void lam_philox(const uint32_t key[2], const uint32_t counter[4], uint32_t output[4]);

/* Shuffles 0..n-1 into `order` (Fisher-Yates). */
void lam_rng_permutation(struct lam_rng *rng, uint32_t *order, uint32_t n);

/* FNV-1a of a string: a stable 64-bit name for a stream. */
uint64_t lam_hash_text(const char *text);
/* The same of bytes, going on from an earlier hash (LAM_HASH_EMPTY: from the beginning). */
#define LAM_HASH_EMPTY 0xCBF29CE484222325u
uint64_t lam_hash_bytes(uint64_t hash, const void *data, size_t bytes);

#endif
