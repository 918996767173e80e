/* Random numbers: Philox against the published vectors, and the distributions made of it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <math.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "base/rng.h"

/* philox4x32-10 of the Random123 distribution's known-answer file (Salmon et al. 2011). */
static void test_philox_known_answers(void **state) {
    (void)state;
    static const struct {
        uint32_t counter[4], key[2], output[4];
    } vectors[] = {
        {{0, 0, 0, 0}, {0, 0}, {0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8}},
        {{0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff},
         {0xffffffff, 0xffffffff},
         {0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd}},
        {{0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344},
         {0xa4093822, 0x299f31d0},
         {0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1}},
    };
    for (size_t i = 0; i < sizeof vectors / sizeof *vectors; i++) {
        uint32_t output[4];
        lam_philox(vectors[i].key, vectors[i].counter, output);
        assert_memory_equal(output, vectors[i].output, sizeof output);
    }
}

/* The words of a stream are the blocks of consecutive counters, so a kernel may make any block alone. */
static void test_stream_is_consecutive_blocks(void **state) {
    (void)state;
    struct lam_rng rng = lam_rng_make(9, LAM_RNG_DROPOUT, 4, 17);
    const struct lam_rng start = rng;
    for (uint32_t block = 0; block < 5; block++) {
        uint32_t counter[4] = {block, start.counter[1], start.counter[2], start.counter[3]}, output[4];
        lam_philox(start.key, counter, output);
        for (int i = 0; i < 4; i++) assert_int_equal(lam_rng_u32(&rng), output[i]);
    }
}

static void test_counter_carries(void **state) {
    (void)state;
    struct lam_rng rng = lam_rng_make(1, LAM_RNG_TEST, 0, 0);
    rng.counter[0] = 0xffffffff;
    for (int i = 0; i < 5; i++) lam_rng_u32(&rng);
    assert_int_equal(rng.counter[0], 1);
    assert_int_equal(rng.counter[1], 1);
}

static void test_streams_differ(void **state) {
    (void)state;
    struct lam_rng streams[] = {
        lam_rng_make(1, LAM_RNG_INIT, 2, 3),
        lam_rng_make(2, LAM_RNG_INIT, 2, 3),
        lam_rng_make(1, LAM_RNG_AUGMENT, 2, 3),
        lam_rng_make(1, LAM_RNG_INIT, 3, 3),
        lam_rng_make(1, LAM_RNG_INIT, 2, 4),
        lam_rng_make(1, LAM_RNG_INIT, 3, 2),
        lam_rng_make(1, LAM_RNG_INIT, 2, 3 + (1ull << 32)),
        lam_rng_make(1 + (1ull << 32), LAM_RNG_INIT, 2, 3),
    };
    enum { COUNT = sizeof streams / sizeof *streams };
    uint64_t first[COUNT];
    for (int i = 0; i < COUNT; i++) {
        first[i] = (uint64_t)lam_rng_u32(&streams[i]) << 32;
        first[i] |= lam_rng_u32(&streams[i]);
        for (int k = 0; k < i; k++) assert_true(first[i] != first[k]);
    }
    struct lam_rng again = lam_rng_make(1, LAM_RNG_INIT, 2, 3);
    uint64_t word = (uint64_t)lam_rng_u32(&again) << 32;
    assert_true((word | lam_rng_u32(&again)) == first[0]);
}

/* Chi-squared of `cells` equally likely cells; its mean is cells - 1 and its deviation sqrt(2 (cells - 1)).
 */
static void check_even(const int *hits, int cells, int draws) {
    double expected = (double)draws / cells, chi = 0;
    for (int i = 0; i < cells; i++) chi += pow(hits[i] - expected, 2) / expected;
    assert_true(fabs(chi - (cells - 1)) < 5 * sqrt(2.0 * (cells - 1)));
}

static void test_below(void **state) {
    (void)state;
    enum { CELLS = 7, DRAWS = 70000 };
    struct lam_rng rng = lam_rng_make(5, LAM_RNG_TEST, 1, 0);
    int hits[CELLS] = {0};
    for (int i = 0; i < DRAWS; i++) {
        uint32_t value = lam_rng_below(&rng, CELLS);
        assert_true(value < CELLS);
        hits[value]++;
    }
    check_even(hits, CELLS, DRAWS);
    for (int i = 0; i < 100; i++) assert_int_equal(lam_rng_below(&rng, 1), 0);
    /* A bound of 3/4 of the range: a plain remainder would favour the lower third two to one. */
    int low = 0;
    for (int i = 0; i < DRAWS; i++) low += lam_rng_below(&rng, 0xC0000000u) < 0x40000000u;
    assert_true(abs(low - DRAWS / 3) < 5 * sqrt(DRAWS * 2.0 / 9));
}

static void test_uniform(void **state) {
    (void)state;
    enum { CELLS = 64, DRAWS = 100000 };
    struct lam_rng rng = lam_rng_make(6, LAM_RNG_TEST, 2, 0);
    int hits[CELLS] = {0};
    double sum = 0;
    for (int i = 0; i < DRAWS; i++) {
        float value = lam_rng_uniform(&rng);
        assert_true(value >= 0.0f && value < 1.0f);
        hits[(int)(value * CELLS)]++;
        sum += (double)value;
    }
    check_even(hits, CELLS, DRAWS);
    assert_true(fabs(sum / DRAWS - 0.5) < 5 * sqrt(1.0 / 12 / DRAWS));
}

static void test_normal(void **state) {
    (void)state;
    enum { DRAWS = 100000 };
    struct lam_rng rng = lam_rng_make(7, LAM_RNG_TEST, 3, 0);
    double moment[5] = {0}, inside = 0;
    for (int i = 0; i < DRAWS; i++) {
        double x = (double)lam_rng_normal(&rng);
        assert_true(isfinite(x));
        for (int k = 1; k <= 4; k++) moment[k] += pow(x, k) / DRAWS;
        inside += fabs(x) < 1;
    }
    /* The deviations of the sample moments of N(0, 1) are 1, sqrt 2, sqrt 15 and sqrt 96 over sqrt n. */
    double unit = 5 / sqrt(DRAWS);
    assert_true(fabs(moment[1]) < unit);
    assert_true(fabs(moment[2] - 1) < sqrt(2.0) * unit);
    assert_true(fabs(moment[3]) < sqrt(15.0) * unit);
    assert_true(fabs(moment[4] - 3) < sqrt(96.0) * unit);
    assert_true(fabs(inside / DRAWS - 0.682689) < unit * 0.4654);
}

static void test_permutation(void **state) {
    (void)state;
    enum { COUNT = 50, ROUNDS = 5000 };
    struct lam_rng rng = lam_rng_make(8, LAM_RNG_SHUFFLE, 4, 0);
    int first_hits[COUNT] = {0}, last_hits[COUNT] = {0};
    for (int round = 0; round < ROUNDS; round++) {
        uint32_t order[COUNT];
        bool seen[COUNT] = {false};
        lam_rng_permutation(&rng, order, COUNT);
        for (int i = 0; i < COUNT; i++) {
            assert_true(order[i] < COUNT && !seen[order[i]]);
            seen[order[i]] = true;
        }
        first_hits[order[0]]++;
        last_hits[order[COUNT - 1]]++;
    }
    check_even(first_hits, COUNT, ROUNDS);
    check_even(last_hits, COUNT, ROUNDS);
    uint32_t one = 99;
    lam_rng_permutation(&rng, &one, 1);
    assert_int_equal(one, 0);
    lam_rng_permutation(&rng, NULL, 0);
}

/* 64-bit FNV-1a, from its authors' test vectors. */
static void test_hash(void **state) {
    (void)state;
    assert_true(lam_hash_text("") == 0xcbf29ce484222325ull);
    assert_true(lam_hash_text("a") == 0xaf63dc4c8601ec8cull);
    assert_true(lam_hash_text("foobar") == 0x85944171f73967e8ull);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_philox_known_answers),
        cmocka_unit_test(test_stream_is_consecutive_blocks),
        cmocka_unit_test(test_counter_carries),
        cmocka_unit_test(test_streams_differ),
        cmocka_unit_test(test_below),
        cmocka_unit_test(test_uniform),
        cmocka_unit_test(test_normal),
        cmocka_unit_test(test_permutation),
        cmocka_unit_test(test_hash),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
