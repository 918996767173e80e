/* Losses and their gradients against the reference. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "conformance/suite.h"

#define FOR_BOTH_DTYPES(line) line, line " dtype=bf16"

#define CROSS_ENTROPY(op)                                                                                    \
    FOR_BOTH_DTYPES(op " shape=8x10"), FOR_BOTH_DTYPES(op " shape=5x100 smoothing=0.1"),                     \
        FOR_BOTH_DTYPES(op " shape=8x10 soft"), op " shape=5x17 soft smoothing=0.2 scale=1",                 \
        op " shape=1x1000 scale=1", op " shape=8x2 smoothing=0.05", op " shape=5x33", op " shape=5x1",       \
        op " shape=5x10 offset=300", op " shape=8x10 offset=-300 smoothing=0.1",                             \
        op " shape=2x3000 smoothing=0.1"

static const char *const cross_entropy[] = {
    CROSS_ENTROPY("cross_entropy"), CROSS_ENTROPY("cross_entropy_bwd"), "cross_entropy shape=8x5 ties",
    "cross_entropy shape=8x10 correct=0"};

#define ELEMENTWISE(op)                                                                                      \
    FOR_BOTH_DTYPES(op "shape=5x33"), FOR_BOTH_DTYPES(op "shape=8x16x6x5 scale=0.001"),                      \
        op "shape=2x17x3x3 scale=1", op "shape=1x1 scale=3", op "shape=5x3x8x8", op "shape=3x9x7x4"

static const char *const regressions[] = {
    ELEMENTWISE("l1 "),
    ELEMENTWISE("loss_bwd of=l1 "),
    "loss_bwd of=l1 shape=5x40 ties",
    ELEMENTWISE("mse "),
    ELEMENTWISE("loss_bwd of=mse "),
    ELEMENTWISE("smooth_l1 "),
    ELEMENTWISE("loss_bwd of=smooth_l1 "),
    ELEMENTWISE("charbonnier "),
    ELEMENTWISE("loss_bwd of=charbonnier "),
    "charbonnier shape=5x40 beta=0.001",
    "loss_bwd of=charbonnier shape=5x40 beta=0.001 ties",
    "smooth_l1 shape=5x40 beta=1.5",
    "loss_bwd of=smooth_l1 shape=5x40 beta=1.5 ties",
};

/* The offsets drive the sigmoid into both ends, where a naive logarithm is infinite. */
static const char *const classifications[] = {
    ELEMENTWISE("bce_logits "),
    ELEMENTWISE("loss_bwd of=bce_logits "),
    "bce_logits shape=5x40 offset=90",
    "bce_logits shape=5x40 offset=-90",
    "loss_bwd of=bce_logits shape=5x40 offset=90",
    ELEMENTWISE("focal "),
    ELEMENTWISE("loss_bwd of=focal "),
    "focal shape=5x40 alpha=0.6 gamma=1.5",
    "focal shape=5x40 gamma=0",
    "focal shape=5x40 offset=60",
    "focal shape=5x40 offset=-60",
    "loss_bwd of=focal shape=5x40 alpha=0.6 gamma=1.5",
    "loss_bwd of=focal shape=5x40 gamma=0",
    "loss_bwd of=focal shape=5x40 offset=60",
    "loss_bwd of=focal shape=5x40 offset=-60",
    ELEMENTWISE("quality_focal "),
    ELEMENTWISE("loss_bwd of=quality_focal "),
    "quality_focal shape=5x40 offset=60",
    "quality_focal shape=5x40 offset=-60",
    "loss_bwd of=quality_focal shape=5x40 offset=60",
    "loss_bwd of=quality_focal shape=5x40 offset=-60",
};

/* Weights of samples, of rows, and of pixels. */
#define WEIGHTED(op)                                                                                         \
    FOR_BOTH_DTYPES(op "shape=5x33x4 weight=2"), FOR_BOTH_DTYPES(op "shape=5x9x12 weight=1"),                \
        op "shape=3x700x3 weight=1 scale=1", op "shape=3x17x4x3 weight=3", op "shape=2x17x4x3 weight=2",     \
        op "shape=2x33x1 weight=2"

static const char *const weighted[] = {
    WEIGHTED("l1 "),
    WEIGHTED("loss_bwd of=l1 "),
    WEIGHTED("mse "),
    WEIGHTED("loss_bwd of=mse "),
    WEIGHTED("smooth_l1 "),
    WEIGHTED("loss_bwd of=smooth_l1 "),
    WEIGHTED("charbonnier "),
    WEIGHTED("loss_bwd of=charbonnier "),
    WEIGHTED("bce_logits "),
    WEIGHTED("loss_bwd of=bce_logits "),
    WEIGHTED("focal "),
    WEIGHTED("loss_bwd of=focal "),
    WEIGHTED("quality_focal "),
    WEIGHTED("loss_bwd of=quality_focal "),
};

/* Rows shorter, as long, and longer than vectors, and more elements than are done at a time. */
#define LABELS(op)                                                                                           \
    FOR_BOTH_DTYPES(op "labels shape=5x33x3"), FOR_BOTH_DTYPES(op "labels shape=3x60x20 weight=1"),          \
        op "labels shape=2x700x3 weight=1 scale=1", op "labels shape=2x11x80 weight=2",                      \
        op "labels shape=8x5", op "labels shape=2x40x1", op "labels shape=2x5x1300",                         \
        op "labels shape=2x33x16 alpha=0.6 gamma=1.5", op "labels shape=3x4x5x6 weight=2"

static const char *const labels[] = {LABELS("focal "), LABELS("loss_bwd of=focal ")};

#define GIOU(op)                                                                                             \
    FOR_BOTH_DTYPES(op " n=5 a=70"), FOR_BOTH_DTYPES(op " n=2 a=9 scale=1"), op " n=1 a=1", op " n=8 a=3"

static const char *const giou[] = {GIOU("giou"),
                                   GIOU("giou_bwd"),
                                   FOR_BOTH_DTYPES("iou_targets n=5 a=70"),
                                   FOR_BOTH_DTYPES("iou_targets n=2 a=9"),
                                   "iou_targets n=1 a=1",
                                   "iou_targets n=3 a=40 k=1",
                                   "iou_targets n=2 a=33 k=80"};

static void test_cross_entropy(void **state) {
    SUITE_RUN(state, cross_entropy);
}
static void test_regressions(void **state) {
    SUITE_RUN(state, regressions);
}
static void test_classifications(void **state) {
    SUITE_RUN(state, classifications);
}

static void test_weights(void **state) {
    SUITE_RUN(state, weighted);
}
static void test_labels(void **state) {
    SUITE_RUN(state, labels);
}
static void test_giou(void **state) {
    SUITE_RUN(state, giou);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_cross_entropy),   cmocka_unit_test(test_regressions),
        cmocka_unit_test(test_classifications), cmocka_unit_test(test_weights),
        cmocka_unit_test(test_labels),          cmocka_unit_test(test_giou),
    };
    return cmocka_run_group_tests(tests, suite_setup, suite_teardown);
}
