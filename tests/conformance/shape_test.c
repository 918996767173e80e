/* Ops that move elements against the reference. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "conformance/suite.h"

#define FOR_BOTH_DTYPES(line) line, line " dtype=bf16"

static const char *const copies[] = {
    FOR_BOTH_DTYPES("copy shape=5x17x4x3"),
    FOR_BOTH_DTYPES("copy shape=2x64x5x5"),
    FOR_BOTH_DTYPES("copy shape=5x16x4x4 to=5x256"),
    "copy shape=3x40x2x2 to=3x160",
    "copy shape=3x160 to=3x40x2x2",
    "copy shape=2x12x6x6 to=2x48x3x3",
    "copy shape=8x6x10 to=8x60",
    "copy shape=8x3x5x5",
    FOR_BOTH_DTYPES("copy shape=5x72x33x35"),
    "copy shape=2x48x24x24 to=2x192x12x12",
};

#define CONCATS                                                                                              \
    FOR_BOTH_DTYPES("concat shape=5x24x4x3 axis=1 parts=16+8"),                                              \
        FOR_BOTH_DTYPES("concat shape=2x64x3x3 axis=1 parts=32+32"),                                         \
        FOR_BOTH_DTYPES("concat shape=5x36x3x2 axis=1 parts=3+16+17"),                                       \
        "concat shape=5x20x7x3 axis=2 parts=4+3", "concat shape=2x17x3x8 axis=3 parts=1+2+5",                \
        "concat shape=8x30 axis=1 parts=10+7+13", "concat shape=2x9x16 axis=1 parts=1+8",                    \
        "concat shape=2x9x16 axis=2 parts=5+11", "concat shape=1x8x2x2 axis=1 parts=1+1+1+1+1+1+1+1",        \
        "concat shape=5x16x2x2 axis=1 parts=16"

static const char *const concats[] = {CONCATS};

#define SLICES(op)                                                                                           \
    FOR_BOTH_DTYPES(op " shape=5x48x4x3 axis=1 begin=16 length=16"),                                         \
        FOR_BOTH_DTYPES(op " shape=5x40x4x3 axis=1 begin=5 length=17"),                                      \
        op " shape=2x64x3x3 axis=1 begin=0 length=32", op " shape=2x17x8x3 axis=2 begin=2 length=5",         \
        op " shape=2x20x3x9 axis=3 begin=8 length=1",                                                        \
        FOR_BOTH_DTYPES(op " shape=8x65x48 axis=1 begin=0 length=1"),                                        \
        op " shape=8x65x48 axis=2 begin=7 length=33", op " shape=5x30 axis=1 begin=29 length=1",             \
        op " shape=5x3x6x6 axis=1 begin=1 length=2", op " shape=3x16x2x2 axis=1 begin=0 length=16"

static const char *const slices[] = {SLICES("slice"), SLICES("slice_bwd")};

#define SHUFFLES(op)                                                                                         \
    FOR_BOTH_DTYPES(op " n=5 c=3 h=8 w=6 r=2"), FOR_BOTH_DTYPES(op " n=2 c=16 h=6 w=10 r=2"),                \
        op " n=2 c=64 h=4 w=4 r=2", op " n=5 c=1 h=9 w=6 r=3", op " n=2 c=17 h=8 w=4 r=4",                   \
        op " n=1 c=4 h=12 w=12 r=2", FOR_BOTH_DTYPES(op " n=3 c=32 h=9 w=15 r=3"),                           \
        FOR_BOTH_DTYPES(op " n=2 c=16 h=8 w=12 r=4"), op " n=2 c=16 h=5 w=10 r=5",                           \
        op " n=1 c=16 h=9 w=18 r=9", op " n=2 c=24 h=4 w=6 r=2"

static const char *const shuffles[] = {SHUFFLES("pixel_shuffle"), SHUFFLES("pixel_unshuffle")};

#define PATCHES(op)                                                                                          \
    FOR_BOTH_DTYPES(op " n=5 c=3 h=32 w=32 r=4"), FOR_BOTH_DTYPES(op " n=2 c=16 h=8 w=6 r=2"),               \
        op " n=2 c=17 h=6 w=9 r=3", op " n=1 c=1 h=16 w=16 r=16", op " n=8 c=40 h=2 w=2 r=1"

static const char *const patches[] = {PATCHES("patchify"), PATCHES("unpatchify")};

#define TOKENS(op)                                                                                           \
    FOR_BOTH_DTYPES(op " n=5 t=65 f=192"), FOR_BOTH_DTYPES(op " n=2 t=17 f=33"), op " n=8 t=2 f=1",          \
        op " n=1 t=5 f=16"

static const char *const tokens[] = {TOKENS("tokens"), TOKENS("tokens_bwd"), "tokens_bwd n=5 t=9 f=40 nodx",
                                     "tokens_bwd n=5 t=9 f=40 nodx dtype=bf16"};

/* RetinaNet's 9 anchors of 4 numbers or of some classes, channels that fill their groups and not. */
#define PERMUTES(op)                                                                                         \
    FOR_BOTH_DTYPES(op " n=5 c=36 h=5 w=4 k=4"), FOR_BOTH_DTYPES(op " n=2 c=32 h=7 w=3 k=1"),                \
        FOR_BOTH_DTYPES(op " n=3 c=27 h=6 w=6 k=3"), FOR_BOTH_DTYPES(op " n=3 c=12 h=5 w=7 k=4"),            \
        op " n=2 c=17 h=1 w=1 k=17", op " n=1 c=180 h=3 w=2 k=20", op " n=8 c=1 h=4 w=4 k=1",                \
        op " n=2 c=8 h=33 w=1 k=2"

static const char *const permutes[] = {PERMUTES("permute_hwc"), PERMUTES("permute_chw")};

static void test_copies(void **state) {
    SUITE_RUN(state, copies);
}
static void test_concats(void **state) {
    SUITE_RUN(state, concats);
}
static void test_slices(void **state) {
    SUITE_RUN(state, slices);
}
static void test_shuffles(void **state) {
    SUITE_RUN(state, shuffles);
}
static void test_patches(void **state) {
    SUITE_RUN(state, patches);
}
static void test_tokens(void **state) {
    SUITE_RUN(state, tokens);
}

static void test_permutes(void **state) {
    SUITE_RUN(state, permutes);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_copies),   cmocka_unit_test(test_concats), cmocka_unit_test(test_slices),
        cmocka_unit_test(test_shuffles), cmocka_unit_test(test_patches), cmocka_unit_test(test_tokens),
        cmocka_unit_test(test_permutes),
    };
    return cmocka_run_group_tests(tests, suite_setup, suite_teardown);
}
