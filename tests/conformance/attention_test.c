/* Softmax and attention against the reference. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "conformance/suite.h"

#define FOR_BOTH_DTYPES(line) line, line " dtype=bf16"

#define ATTENTION(op)                                                                                        \
    FOR_BOTH_DTYPES(op " n=5 t=65 f=192 heads=3"), FOR_BOTH_DTYPES(op " n=2 t=64 f=64 heads=4"),             \
        FOR_BOTH_DTYPES(op " n=1 t=17 f=48 heads=1"), FOR_BOTH_DTYPES(op " n=2 t=197 f=64 heads=1"),         \
        FOR_BOTH_DTYPES(op " n=8 t=1 f=16 heads=2"), op " n=5 t=2 f=12 heads=3",                             \
        FOR_BOTH_DTYPES(op " n=3 t=33 f=40 heads=5"), op " n=2 t=7 f=9 heads=9",                             \
        FOR_BOTH_DTYPES(op " n=2 t=31 f=34 heads=2"), FOR_BOTH_DTYPES(op " n=2 t=50 f=128 heads=1"),         \
        FOR_BOTH_DTYPES(op " n=2 t=90 f=96 heads=3")

static const char *const attention[] = {ATTENTION("attention"),
                                        FOR_BOTH_DTYPES("attention n=2 t=20 f=32 heads=2 offset=6")};
static const char *const attention_bwd[] = {ATTENTION("attention_bwd")};

#define SOFTMAX(op)                                                                                          \
    FOR_BOTH_DTYPES(op " shape=8x10"), FOR_BOTH_DTYPES(op " shape=5x65x17"), op " shape=5x1",                \
        op " shape=1x1000", FOR_BOTH_DTYPES(op " shape=2x3x5x33"), op " shape=3x16", op " shape=3x17x2x5",   \
        op " shape=2x3000"

/* Large scores must not overflow. */
static const char *const softmax[] = {SOFTMAX("softmax"), "softmax shape=5x40 offset=500"};
static const char *const softmax_bwd[] = {SOFTMAX("softmax_bwd")};

static void test_attention(void **state) {
    SUITE_RUN(state, attention);
}
static void test_attention_bwd(void **state) {
    SUITE_RUN(state, attention_bwd);
}
static void test_softmax(void **state) {
    SUITE_RUN(state, softmax);
}
static void test_softmax_bwd(void **state) {
    SUITE_RUN(state, softmax_bwd);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_attention),
        cmocka_unit_test(test_attention_bwd),
        cmocka_unit_test(test_softmax),
        cmocka_unit_test(test_softmax_bwd),
    };
    return cmocka_run_group_tests(tests, suite_setup, suite_teardown);
}
