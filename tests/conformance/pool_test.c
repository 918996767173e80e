/* Pooling and resizing against the reference. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "conformance/suite.h"

#define FOR_BOTH_DTYPES(line) line, line " dtype=bf16"

#define POOLS(op)                                                                                            \
    FOR_BOTH_DTYPES(op " n=5 c=16 h=8 w=8 k=2 s=2"), FOR_BOTH_DTYPES(op " n=2 c=64 h=9 w=7 k=3 s=2 p=1"),    \
        FOR_BOTH_DTYPES(op " n=5 c=17 h=7 w=7 k=3 s=1 p=1"), op " n=8 c=3 h=6 w=5 k=2 s=1",                  \
        op " n=1 c=40 h=5 w=8 kh=1 kw=3 sh=1 sw=2 ph=0 pw=1", op " n=2 c=12 h=5 w=5 k=5 s=5",                \
        op " n=5 c=1 h=11 w=4 k=3 s=3 p=1", op " n=2 c=16 h=7 w=7 k=2 s=3"

/* Ties: the first of equals wins, in every path. Offset -9: padding must not win with its zeros. */
static const char *const max_pools[] = {
    POOLS("max_pool"),
    "max_pool n=5 c=16 h=8 w=8 k=3 s=2 p=1 ties",
    "max_pool n=2 c=17 h=9 w=9 k=3 s=1 p=1 ties",
    "max_pool n=5 c=40 h=6 w=6 k=2 s=2 ties dtype=bf16",
    "max_pool n=2 c=3 h=6 w=6 k=3 s=2 p=1 ties offset=-9",
    "max_pool n=2 c=16 h=6 w=6 k=3 s=2 p=1 offset=-9",
    POOLS("max_pool_bwd"),
};
static const char *const avg_pools[] = {POOLS("avg_pool"), POOLS("avg_pool_bwd")};

#define GLOBAL(op)                                                                                           \
    FOR_BOTH_DTYPES(op " n=5 c=64 h=8 w=8"), FOR_BOTH_DTYPES(op " n=2 c=17 h=7 w=7"), op " n=8 c=3 h=5 w=4", \
        op " n=1 c=40 h=1 w=1", op " n=5 c=12 h=3 w=3", op " n=3 c=16 h=13 w=13",                            \
        FOR_BOTH_DTYPES(op " n=3 c=72 h=30 w=30")

static const char *const global_pools[] = {GLOBAL("global_avg_pool"), GLOBAL("global_avg_pool_bwd")};

#define SIZES(op, words)                                                                                     \
    FOR_BOTH_DTYPES(op " n=5 c=16 h=4 w=5 oh=8 ow=10" words),                                                \
        FOR_BOTH_DTYPES(op " n=2 c=17 h=6 w=6 oh=9 ow=4" words), op " n=8 c=3 h=7 w=5 oh=3 ow=11" words,     \
        op " n=1 c=64 h=1 w=1 oh=4 ow=3" words, op " n=2 c=40 h=5 w=5 oh=5 ow=5" words,                      \
        op " n=2 c=12 h=8 w=8 oh=1 ow=1" words, op " n=2 c=1 h=10 w=3 oh=7 ow=7" words,                      \
        op " n=5 c=16 h=3 w=3 oh=13 ow=17" words, FOR_BOTH_DTYPES(op " n=3 c=3 h=9 w=12 oh=27 ow=36" words), \
        FOR_BOTH_DTYPES(op " n=2 c=24 h=5 w=7 oh=20 ow=28" words), op " n=2 c=3 h=6 w=40 oh=6 ow=80" words

static const char *const resizes[] = {SIZES("resize", ""), SIZES("resize", " bilinear"),
                                      SIZES("resize_bwd", ""), SIZES("resize_bwd", " bilinear")};

static void test_max_pools(void **state) {
    SUITE_RUN(state, max_pools);
}
static void test_avg_pools(void **state) {
    SUITE_RUN(state, avg_pools);
}
static void test_global_pools(void **state) {
    SUITE_RUN(state, global_pools);
}
static void test_resizes(void **state) {
    SUITE_RUN(state, resizes);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_max_pools),
        cmocka_unit_test(test_avg_pools),
        cmocka_unit_test(test_global_pools),
        cmocka_unit_test(test_resizes),
    };
    return cmocka_run_group_tests(tests, suite_setup, suite_teardown);
}
