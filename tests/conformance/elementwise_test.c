/* Elementwise ops against the reference. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "conformance/suite.h"

#define FOR_BOTH_DTYPES(line) line, line " dtype=bf16"

#define SHAPES(op)                                                                                           \
    FOR_BOTH_DTYPES(op " shape=5x16x7x7"), FOR_BOTH_DTYPES(op " shape=2x17x5x3"),                            \
        FOR_BOTH_DTYPES(op " shape=8x65x48"), op " shape=1x1", op " shape=5x3x9x9", op " shape=8x40x1x1",    \
        op " shape=3x1000", op " shape=2x12x6x5", op " shape=5x64x2x2"

static const char *const activations[] = {SHAPES("relu"),
                                          SHAPES("relu_bwd"),
                                          SHAPES("gelu"),
                                          SHAPES("gelu_bwd"),
                                          SHAPES("sigmoid"),
                                          SHAPES("sigmoid_bwd"),
                                          "sigmoid shape=5x64 offset=60",
                                          "sigmoid shape=5x64 offset=-60",
                                          "gelu shape=5x64 offset=8",
                                          "gelu shape=5x64 offset=-8 absolute=1e-6",
                                          "relu shape=5x40x3x3 ties",
                                          FOR_BOTH_DTYPES("relu_bwd shape=5x16x7x7 z"),
                                          FOR_BOTH_DTYPES("relu_bwd shape=2x17x5x3 z"),
                                          FOR_BOTH_DTYPES("relu_bwd shape=8x65x48 z"),
                                          "relu_bwd shape=3x1000 z",
                                          "relu_bwd shape=1x1 z"};

static const char *const sums[] = {
    SHAPES("add"),
    "add shape=16x3x3x3 shared",
    "add shape=1 shared",
    "add shape=1000 shared",
    SHAPES("scale"),
    "scale shape=33 factor=-2 shared",
    "scale shape=1 factor=0.1 shared",
};

static const char *const mixes[] = {SHAPES("mix"), SHAPES("mix_bwd"), "mix_bwd shape=5x16x7x7 noda",
                                    "mix_bwd shape=5x17x7x7 nodb dtype=bf16", "mix_bwd shape=4x33 noda nodb"};

#define IMAGES(op)                                                                                           \
    FOR_BOTH_DTYPES(op " n=5 c=16 h=7 w=7"), FOR_BOTH_DTYPES(op " n=2 c=17 h=5 w=3"),                        \
        FOR_BOTH_DTYPES(op " n=3 c=64 h=4 w=4"), op " n=1 c=1 h=1 w=1", op " n=5 c=3 h=9 w=9",               \
        op " n=8 c=40 h=1 w=1", op " n=2 c=12 h=6 w=5", FOR_BOTH_DTYPES(op " n=3 c=72 h=30 w=30")

static const char *const channel_scales[] = {IMAGES("channel_scale"),
                                             IMAGES("channel_scale_bwd"),
                                             "channel_scale_bwd n=5 c=17 h=7 w=7 nodx",
                                             "channel_scale_bwd n=5 c=32 h=7 w=7 nods dtype=bf16",
                                             FOR_BOTH_DTYPES("channel_scale n=3 c=64 h=4 w=4 z"),
                                             FOR_BOTH_DTYPES("channel_scale n=2 c=17 h=5 w=3 z"),
                                             "channel_scale n=5 c=3 h=9 w=9 z"};

static const char *const casts[] = {
    "cast shape=5x17x4x4 from=f32 to=bf16", "cast shape=5x17x4x4 from=bf16 to=f32",
    "cast shape=8x33 from=f32 to=bf16",     "cast shape=8x33 from=bf16 to=f32",
    "cast shape=2x64x3x3 from=f32 to=bf16", "cast shape=5x3x8x8 from=u8 to=f32",
    "cast shape=5x3x7x9 from=u8 to=bf16",   "cast shape=3x7 from=u8 to=f32",
};

static const char *const normalizations[] = {
    FOR_BOTH_DTYPES("normalize n=5 c=3 h=9 w=7"),
    FOR_BOTH_DTYPES("normalize n=3 c=4 h=5 w=8"),
    FOR_BOTH_DTYPES("normalize n=1 c=1 h=1 w=1"),
    FOR_BOTH_DTYPES("normalize n=2 c=3 h=33 w=47"),
};

static const char *const augmentations[] = {
    FOR_BOTH_DTYPES("augment n=9 c=3 h=9 w=7 pad=2 reflect flip"),
    FOR_BOTH_DTYPES("augment n=7 c=1 h=5 w=8 pad=4 flip cutout=3"),
    FOR_BOTH_DTYPES("augment n=5 c=4 h=3 w=2 pad=5 reflect cutout=1"),
    "augment n=3 c=3 h=1 w=1 pad=3 reflect flip cutout=1",
    "augment n=8 c=3 h=32 w=32 pad=4 reflect flip cutout=16",
    "augment n=2 c=3 h=33 w=47",
};

#define DROPOUT(op)                                                                                          \
    SHAPES(op), op " shape=5x17x7x5 rate=0.5", op " shape=8x65x64 rate=0.25 stream=99",                      \
        op " shape=5x33 rate=0"

static const char *const dropouts[] = {DROPOUT("dropout"), DROPOUT("dropout_bwd")};

static void test_activations(void **state) {
    SUITE_RUN(state, activations);
}
static void test_sums(void **state) {
    SUITE_RUN(state, sums);
}
static void test_mixes(void **state) {
    SUITE_RUN(state, mixes);
}
static void test_channel_scales(void **state) {
    SUITE_RUN(state, channel_scales);
}
static void test_casts(void **state) {
    SUITE_RUN(state, casts);
}
static void test_normalizations(void **state) {
    SUITE_RUN(state, normalizations);
}
static void test_augmentations(void **state) {
    SUITE_RUN(state, augmentations);
}
static void test_dropouts(void **state) {
    SUITE_RUN(state, dropouts);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_activations),    cmocka_unit_test(test_sums),
        cmocka_unit_test(test_mixes),          cmocka_unit_test(test_channel_scales),
        cmocka_unit_test(test_casts),          cmocka_unit_test(test_dropouts),
        cmocka_unit_test(test_normalizations), cmocka_unit_test(test_augmentations),
    };
    return cmocka_run_group_tests(tests, suite_setup, suite_teardown);
}
