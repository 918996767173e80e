#include "base/rng.h"

#include <math.h>
#include <string.h>

void lam_philox(const uint32_t key[2], const uint32_t counter[4], uint32_t output[4]) {
    uint32_t k0 = key[0], k1 = key[1];
    uint32_t c0 = counter[0], c1 = counter[1], c2 = counter[2], c3 = counter[3];
    for (int round = 0; round < 10; round++) {
        uint64_t p0 = (uint64_t)0xD2511F53u * c0;
        uint64_t p1 = (uint64_t)0xCD9E8D57u * c2;
        uint32_t n0 = (uint32_t)(p1 >> 32) ^ c1 ^ k0;
        uint32_t n2 = (uint32_t)(p0 >> 32) ^ c3 ^ k1;
        c1 = (uint32_t)p1;
        c3 = (uint32_t)p0;
        c0 = n0;
        c2 = n2;
        k0 += 0x9E3779B9u;
        k1 += 0xBB67AE85u;
    }
    output[0] = c0;
    output[1] = c1;
    output[2] = c2;
    output[3] = c3;
}

/* splitmix64's finaliser: spreads the stream's name over key and counter */
static uint64_t mix(uint64_t x) {
    x ^= x >> 30;
    x *= 0xBF58476D1CE4E5B9u;
    x ^= x >> 27;
    x *= 0x94D049BB133111EBu;
    return x ^ (x >> 31);
}

struct lam_rng lam_rng_make(uint64_t seed, enum lam_rng_purpose purpose, uint64_t a, uint64_t b) {
    uint64_t key = mix(seed + 0x9E3779B97F4A7C15u * (uint64_t)purpose);
    uint64_t key2 = mix(key ^ mix(a + 0x632BE59BD9B4E019u));
    struct lam_rng rng = {.key = {(uint32_t)key2, (uint32_t)(key2 >> 32)},
                          .counter = {0, 0, (uint32_t)b, (uint32_t)(b >> 32)}};
    return rng;
}

uint32_t lam_rng_u32(struct lam_rng *rng) {
    if (rng->left == 0) {
        lam_philox(rng->key, rng->counter, rng->output);
        if (++rng->counter[0] == 0) rng->counter[1]++;
        rng->left = 4;
    }
    return rng->output[4 - rng->left--];
}

uint32_t lam_rng_below(struct lam_rng *rng, uint32_t bound) {
    uint64_t product = (uint64_t)lam_rng_u32(rng) * bound;
    if ((uint32_t)product < bound) { /* Lemire's rejection of the uneven rest */
        uint32_t threshold = -bound % bound;
        while ((uint32_t)product < threshold) product = (uint64_t)lam_rng_u32(rng) * bound;
    }
    return (uint32_t)(product >> 32);
}

float lam_rng_uniform(struct lam_rng *rng) {
    return (float)(lam_rng_u32(rng) >> 8) * 0x1p-24f;
}

float lam_rng_normal(struct lam_rng *rng) {
    double u = ((double)lam_rng_u32(rng) + 1.0) * 0x1p-32; /* (0, 1] */
    double v = (double)lam_rng_u32(rng) * 0x1p-32;
    return (float)(sqrt(-2.0 * log(u)) * cos(6.283185307179586 * v));
}

void lam_rng_permutation(struct lam_rng *rng, uint32_t *order, uint32_t n) {
    for (uint32_t i = 0; i < n; i++) order[i] = i;
    for (uint32_t i = n; i > 1; i--) {
        uint32_t j = lam_rng_below(rng, i);
        uint32_t t = order[i - 1];
        order[i - 1] = order[j];
        order[j] = t;
    }
}

uint64_t lam_hash_text(const char *text) {
    return lam_hash_bytes(LAM_HASH_EMPTY, text, strlen(text));
}

uint64_t lam_hash_bytes(uint64_t hash, const void *data, size_t bytes) {
    for (const uint8_t *byte = data; bytes > 0; bytes--) hash = (hash ^ *byte++) * 0x100000001B3u;
    return hash;
}
