/* Linear layers, forward and both backward passes, against the reference. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "conformance/suite.h"

#define FOR_BOTH_DTYPES(line) line, line " dtype=bf16"

#define SHAPES(op)                                                                                           \
    FOR_BOTH_DTYPES(op " shape=8x64 o=10 bias"), FOR_BOTH_DTYPES(op " shape=5x65x192 o=192 bias"),           \
        FOR_BOTH_DTYPES(op " shape=2x65x64 o=192"), FOR_BOTH_DTYPES(op " shape=3x17x48 o=64 bias"),          \
        FOR_BOTH_DTYPES(op " shape=2x50x192 o=576 bias"), op " shape=1x33x40 o=17 bias",                     \
        op " shape=5x1 o=1", op " shape=1x3 o=2 bias", op " shape=8x1 o=40", op " shape=5x40 o=1 bias",      \
        FOR_BOTH_DTYPES(op " shape=5x17 o=12 bias"), FOR_BOTH_DTYPES(op " shape=8x512 o=100 bias"),          \
        op " shape=2x3x5x7 o=11 bias", op " shape=3x17x3x5 o=11 bias", op " shape=5x130x31 o=33",            \
        FOR_BOTH_DTYPES(op " shape=3x4x255 o=257")

static const char *const forward[] = {
    SHAPES("linear"),
    FOR_BOTH_DTYPES("linear shape=5x65x192 o=192 bias z"),
    FOR_BOTH_DTYPES("linear shape=3x17x48 o=64 z"),
    "linear shape=5x40 o=1 bias z",
    "linear shape=3x17x3x5 o=11 bias z",
};
static const char *const data[] = {SHAPES("linear_bwd_data")};
static const char *const weights[] = {SHAPES("linear_bwd_weights")};

static void test_forward(void **state) {
    SUITE_RUN(state, forward);
}
static void test_backward_data(void **state) {
    SUITE_RUN(state, data);
}
static void test_backward_weights(void **state) {
    SUITE_RUN(state, weights);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_forward),
        cmocka_unit_test(test_backward_data),
        cmocka_unit_test(test_backward_weights),
    };
    return cmocka_run_group_tests(tests, suite_setup, suite_teardown);
}
