/* Convolution, forward and both backward passes, against the reference. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

#include "conformance/op_text.h"
#include "conformance/suite.h"

#define FOR_BOTH_DTYPES(line) line, line " dtype=bf16"

/* Every line is run as conv, conv_bwd_data and conv_bwd_weights. */
#define GEOMETRIES(op)                                                                                       \
    /* 3x3 layers of ResNets, the ones where Winograd applies, in odd and even sizes */                      \
    FOR_BOTH_DTYPES(op " n=5 c=16 h=12 w=12 o=16 k=3 p=1"),                                                  \
        FOR_BOTH_DTYPES(op " n=2 c=32 h=7 w=9 o=32 k=3 p=1 bias relu"),                                      \
        FOR_BOTH_DTYPES(op " n=3 c=64 h=8 w=8 o=64 k=3 p=1"),                                                \
        op " n=8 c=64 h=4 w=4 o=128 k=3 p=1 bias measure", /* too many channels to stay transformed */       \
        FOR_BOTH_DTYPES(op " n=3 c=350 h=5 w=4 o=370 k=3 p=1 bias"), op " n=3 c=200 h=6 w=5 o=180 k=3 p=1",  \
        FOR_BOTH_DTYPES(op " n=5 c=16 h=8 w=8 o=32 k=3 s=2 p=1"),                                            \
        op " n=1 c=64 h=7 w=7 o=40 k=3 s=2 p=1 bias", /* image-facing */                                     \
        FOR_BOTH_DTYPES(op " n=5 c=3 h=11 w=13 o=16 k=3 p=1 bias"),                                          \
        FOR_BOTH_DTYPES(op " n=2 c=3 h=20 w=18 o=64 k=7 s=2 p=3"),                                           \
        op " n=2 c=1 h=9 w=9 o=12 k=5 p=2 bias relu", op " n=8 c=64 h=6 w=5 o=3 k=3 p=1 bias",               \
        op " n=5 c=40 h=6 w=6 o=1 k=3 p=1 bias", /* 1x1 */                                                   \
        FOR_BOTH_DTYPES(op " n=5 c=16 h=9 w=7 o=64 k=1 bias"),                                               \
        FOR_BOTH_DTYPES(op " n=2 c=64 h=8 w=8 o=16 k=1 s=2"),                                                \
        op " n=8 c=12 h=1 w=1 o=17 k=1 relu", /* odd channels */                                             \
        FOR_BOTH_DTYPES(op " n=5 c=17 h=9 w=7 o=12 k=3 s=2 p=1 bias relu"),                                  \
        FOR_BOTH_DTYPES(op " n=2 c=40 h=5 w=6 o=17 k=3 p=1"), op " n=1 c=12 h=8 w=8 o=40 k=3 p=1 bias",      \
        op " n=2 c=1 h=6 w=6 o=1 k=3 p=1", /* other windows */                                               \
        op " n=2 c=16 h=10 w=9 o=16 k=3 p=2 d=2 bias",                                                       \
        op " n=2 c=16 h=9 w=12 o=17 kh=1 kw=5 sh=1 sw=2 ph=0 pw=2",                                          \
        op " n=3 c=16 h=9 w=9 o=16 kh=3 kw=2 sh=2 sw=1 ph=1 pw=0 dh=1 dw=2", /* groups */                    \
        FOR_BOTH_DTYPES(op " n=2 c=32 h=7 w=7 o=32 k=3 p=1 g=2 bias"),                                       \
        op " n=2 c=12 h=6 w=7 o=24 k=3 p=1 g=3", op " n=5 c=40 h=7 w=7 o=40 k=3 p=1 g=40 bias relu"

/* With an addend. */
#define SUMS(op)                                                                                             \
    FOR_BOTH_DTYPES(op " n=5 c=16 h=12 w=12 o=16 k=3 p=1 z"),                                                \
        FOR_BOTH_DTYPES(op " n=2 c=32 h=7 w=9 o=32 k=3 p=1 bias relu z"),                                    \
        FOR_BOTH_DTYPES(op " n=3 c=64 h=8 w=8 o=40 k=3 p=1 bias z measure"),                                 \
        FOR_BOTH_DTYPES(op " n=3 c=16 h=9 w=7 o=17 k=1 bias z"),                                             \
        FOR_BOTH_DTYPES(op " n=5 c=17 h=9 w=7 o=12 k=3 s=2 p=1 relu z"),                                     \
        op " n=2 c=3 h=11 w=13 o=3 k=3 p=1 z", op " n=2 c=12 h=6 w=7 o=24 k=3 p=1 g=3 bias z"

static const char *const forward[] = {GEOMETRIES("conv"), SUMS("conv")};
static const char *const data[] = {GEOMETRIES("conv_bwd_data"), SUMS("conv_bwd_data")};
static const char *const weights[] = {GEOMETRIES("conv_bwd_weights")};

static void test_forward(void **state) {
    SUITE_RUN(state, forward);
}
static void test_backward_data(void **state) {
    SUITE_RUN(state, data);
}
static void test_backward_weights(void **state) {
    SUITE_RUN(state, weights);
}

/* The cases above must have reached every algorithm; comes after them in the list of tests. */
static void test_all_choices_were_run(void **state) {
    if (strcmp(suite_backend(*state)->name, "cuda") == 0) { /* cuDNN has the others for PLAIN only */
        assert_true(suite_choice_count(*state, "implicit_gemm") > 0);
        assert_true(suite_choice_count(*state, "implicit_precomp_gemm") > 0);
        return;
    }
    assert_true(suite_choice_count(*state, "direct") > 0);
    assert_true(suite_choice_count(*state, "flipped") > 0);
    assert_true(suite_choice_count(*state, "winograd") > 0);
}

/* A choice that no backend has is an error that says so. */
static void test_unknown_choice(void **state) {
    struct op_case c;
    assert_int_equal(op_from_text("conv n=2 c=16 h=8 w=8 o=16 k=3 p=1", &c), LAM_OK);
    struct lam_backend_device *device = suite_device(*state, 0);
    struct lam_kernel_options options = {.slices = (int[]){2},
                                         .slice_count = 1,
                                         .lanes = suite_backend(*state)->lanes(device),
                                         .choice = "fft"};
    struct lam_kernel *kernel = NULL;
    assert_int_not_equal(suite_backend(*state)->kernel_create(device, &c.op, &options, &kernel, NULL),
                         LAM_OK);
    assert_null(kernel);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_forward),          cmocka_unit_test(test_backward_data),
        cmocka_unit_test(test_backward_weights), cmocka_unit_test(test_all_choices_were_run),
        cmocka_unit_test(test_unknown_choice),
    };
    return cmocka_run_group_tests(tests, suite_setup, suite_teardown);
}
