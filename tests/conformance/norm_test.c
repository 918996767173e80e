/* Batch norm and layer norm against the reference. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "conformance/suite.h"

#define FOR_BOTH_DTYPES(line) line, line " dtype=bf16"

#define IMAGES(op, words)                                                                                    \
    FOR_BOTH_DTYPES(op " n=8 c=16 h=8 w=8" words), FOR_BOTH_DTYPES(op " n=5 c=17 h=7 w=5" words),            \
        FOR_BOTH_DTYPES(op " n=2 c=64 h=4 w=4" words), op " n=5 c=40 h=3 w=3" words,                         \
        op " n=2 c=3 h=9 w=11" words, op " n=8 c=1 h=5 w=4" words, op " n=5 c=12 h=1 w=1" words,             \
        op " n=1 c=33 h=6 w=6" words, op " n=3 c=48 h=13 w=1" words,                                         \
        FOR_BOTH_DTYPES(op " n=5 c=264 h=12 w=11" words)

/* The offset makes variances of squares minus squares of means worthless. */
static const char *const bn_stats[] = {IMAGES("bn_stats", ""), IMAGES("bn_stats", " momentum=0.3 eps=0.001"),
                                       "bn_stats n=8 c=16 h=8 w=8 offset=1000",
                                       "bn_stats n=5 c=17 h=7 w=5 offset=-300",
                                       "bn_stats n=8 c=64 h=2 w=2 offset=100 dtype=bf16"};
static const char *const bn_apply[] = {
    IMAGES("bn_apply", ""),
    IMAGES("bn_apply", " relu"),
    IMAGES("bn_apply", " skip"),
    IMAGES("bn_apply", " skip relu"),
    IMAGES("bn_apply", " use_variance"),
    IMAGES("bn_apply", " use_variance skip relu eps=0.01"),
};
static const char *const bn_bwd_stats[] = {IMAGES("bn_bwd_stats", ""), IMAGES("bn_bwd_stats", " relu"),
                                           "bn_bwd_stats n=8 c=16 h=8 w=8 offset=100"};
static const char *const bn_bwd_apply[] = {IMAGES("bn_bwd_apply", ""), IMAGES("bn_bwd_apply", " relu")};

#define ROWS(op)                                                                                             \
    FOR_BOTH_DTYPES(op " shape=5x65x192"), FOR_BOTH_DTYPES(op " shape=8x64"), op " shape=2x17x40",           \
        op " shape=1x3", FOR_BOTH_DTYPES(op " shape=5x7x33 eps=0.001"), op " shape=8x17",                    \
        op " shape=2x3x5x12", op " shape=3x2x1000", FOR_BOTH_DTYPES(op " shape=3x20x768"),                   \
        FOR_BOTH_DTYPES(op " shape=3x40x1280"), FOR_BOTH_DTYPES(op " shape=4x13x8x64")

static const char *const layer_norm[] = {ROWS("layer_norm"), "layer_norm shape=5x9x64 offset=50",
                                         "layer_norm shape=5x1 eps=0.1"};
static const char *const layer_norm_bwd[] = {ROWS("layer_norm_bwd"),
                                             "layer_norm_bwd shape=5x17x64 nodx",
                                             "layer_norm_bwd shape=5x17x64 nodx dtype=bf16",
                                             FOR_BOTH_DTYPES("layer_norm_bwd shape=5x65x192 z"),
                                             FOR_BOTH_DTYPES("layer_norm_bwd shape=3x7x33 z"),
                                             FOR_BOTH_DTYPES("layer_norm_bwd shape=3x40x1280 z"),
                                             "layer_norm_bwd shape=4x13x8x64 z"};

static void test_bn_stats(void **state) {
    SUITE_RUN(state, bn_stats);
}
static void test_bn_apply(void **state) {
    SUITE_RUN(state, bn_apply);
}
static void test_bn_bwd_stats(void **state) {
    SUITE_RUN(state, bn_bwd_stats);
}
static void test_bn_bwd_apply(void **state) {
    SUITE_RUN(state, bn_bwd_apply);
}
static void test_layer_norm(void **state) {
    SUITE_RUN(state, layer_norm);
}
static void test_layer_norm_bwd(void **state) {
    SUITE_RUN(state, layer_norm_bwd);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_bn_stats),     cmocka_unit_test(test_bn_apply),
        cmocka_unit_test(test_bn_bwd_stats), cmocka_unit_test(test_bn_bwd_apply),
        cmocka_unit_test(test_layer_norm),   cmocka_unit_test(test_layer_norm_bwd),
    };
    return cmocka_run_group_tests(tests, suite_setup, suite_teardown);
}
