/* No op of lib/device/op.h is left out: each has a case here, and the backend has a kernel for it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "conformance/op_text.h"
#include "conformance/suite.h"

#define IMAGE " n=2 c=16 h=4 w=4"

static const char *const one_of_each[LAM_OP_COUNT] = {
    [LAM_OP_CONV] = "conv" IMAGE " o=16 k=3 p=1",
    [LAM_OP_CONV_BWD_DATA] = "conv_bwd_data" IMAGE " o=16 k=3 p=1",
    [LAM_OP_CONV_BWD_WEIGHTS] = "conv_bwd_weights" IMAGE " o=16 k=3 p=1",
    [LAM_OP_LINEAR] = "linear shape=2x3 o=4",
    [LAM_OP_LINEAR_BWD_DATA] = "linear_bwd_data shape=2x3 o=4",
    [LAM_OP_LINEAR_BWD_WEIGHTS] = "linear_bwd_weights shape=2x3 o=4",
    [LAM_OP_BN_STATS] = "bn_stats" IMAGE,
    [LAM_OP_BN_APPLY] = "bn_apply" IMAGE,
    [LAM_OP_BN_BWD_STATS] = "bn_bwd_stats" IMAGE,
    [LAM_OP_BN_BWD_APPLY] = "bn_bwd_apply" IMAGE,
    [LAM_OP_LAYER_NORM] = "layer_norm shape=2x5",
    [LAM_OP_LAYER_NORM_BWD] = "layer_norm_bwd shape=2x5",
    [LAM_OP_RELU] = "relu shape=2x5",
    [LAM_OP_RELU_BWD] = "relu_bwd shape=2x5",
    [LAM_OP_GELU] = "gelu shape=2x5",
    [LAM_OP_GELU_BWD] = "gelu_bwd shape=2x5",
    [LAM_OP_SIGMOID] = "sigmoid shape=2x5",
    [LAM_OP_SIGMOID_BWD] = "sigmoid_bwd shape=2x5",
    [LAM_OP_ADD] = "add shape=2x5",
    [LAM_OP_SCALE] = "scale shape=2x5",
    [LAM_OP_MIX] = "mix shape=2x5",
    [LAM_OP_MIX_BWD] = "mix_bwd shape=2x5",
    [LAM_OP_CHANNEL_SCALE] = "channel_scale" IMAGE,
    [LAM_OP_CHANNEL_SCALE_BWD] = "channel_scale_bwd" IMAGE,
    [LAM_OP_CAST] = "cast shape=2x5 from=f32 to=bf16",
    [LAM_OP_COPY] = "copy shape=2x5",
    [LAM_OP_CONCAT] = "concat shape=2x5 axis=1 parts=2+3",
    [LAM_OP_SLICE] = "slice shape=2x5 axis=1 begin=1 length=3",
    [LAM_OP_SLICE_BWD] = "slice_bwd shape=2x5 axis=1 begin=1 length=3",
    [LAM_OP_MAX_POOL] = "max_pool" IMAGE,
    [LAM_OP_MAX_POOL_BWD] = "max_pool_bwd" IMAGE,
    [LAM_OP_AVG_POOL] = "avg_pool" IMAGE,
    [LAM_OP_AVG_POOL_BWD] = "avg_pool_bwd" IMAGE,
    [LAM_OP_GLOBAL_AVG_POOL] = "global_avg_pool" IMAGE,
    [LAM_OP_GLOBAL_AVG_POOL_BWD] = "global_avg_pool_bwd" IMAGE,
    [LAM_OP_RESIZE] = "resize" IMAGE " oh=3 ow=7",
    [LAM_OP_RESIZE_BWD] = "resize_bwd" IMAGE " oh=3 ow=7",
    [LAM_OP_PIXEL_SHUFFLE] = "pixel_shuffle" IMAGE,
    [LAM_OP_PIXEL_UNSHUFFLE] = "pixel_unshuffle" IMAGE,
    [LAM_OP_PERMUTE_HWC] = "permute_hwc" IMAGE " k=4",
    [LAM_OP_PERMUTE_CHW] = "permute_chw" IMAGE " k=4",
    [LAM_OP_PATCHIFY] = "patchify" IMAGE,
    [LAM_OP_UNPATCHIFY] = "unpatchify" IMAGE,
    [LAM_OP_SOFTMAX] = "softmax shape=2x5",
    [LAM_OP_SOFTMAX_BWD] = "softmax_bwd shape=2x5",
    [LAM_OP_ATTENTION] = "attention n=2 t=3 f=4",
    [LAM_OP_ATTENTION_BWD] = "attention_bwd n=2 t=3 f=4",
    [LAM_OP_DROPOUT] = "dropout shape=2x5",
    [LAM_OP_DROPOUT_BWD] = "dropout_bwd shape=2x5",
    [LAM_OP_TOKENS] = "tokens n=2 t=3 f=4",
    [LAM_OP_TOKENS_BWD] = "tokens_bwd n=2 t=3 f=4",
    [LAM_OP_CROSS_ENTROPY] = "cross_entropy shape=2x5",
    [LAM_OP_CROSS_ENTROPY_BWD] = "cross_entropy_bwd shape=2x5",
    [LAM_OP_L1] = "l1 shape=2x5",
    [LAM_OP_MSE] = "mse shape=2x5",
    [LAM_OP_SMOOTH_L1] = "smooth_l1 shape=2x5",
    [LAM_OP_CHARBONNIER] = "charbonnier shape=2x5",
    [LAM_OP_BCE_LOGITS] = "bce_logits shape=2x5",
    [LAM_OP_FOCAL] = "focal shape=2x5",
    [LAM_OP_LOSS_BWD] = "loss_bwd of=mse shape=2x5",
    [LAM_OP_GIOU] = "giou n=2 a=5",
    [LAM_OP_GIOU_BWD] = "giou_bwd n=2 a=5",
};

static void test_every_op_has_a_kernel(void **state) {
    struct lam_backend_device *device = suite_device(*state, 0);
    const struct lam_backend *backend = suite_backend(*state);
    struct lam_kernel_options options = {
        .slices = (int[]){2}, .slice_count = 1, .lanes = backend->lanes(device)};
    for (int kind = 0; kind < LAM_OP_COUNT; kind++) {
        struct op_case c;
        struct lam_kernel *kernel = NULL;
        if (!one_of_each[kind]) fail_msg("%s has no case", lam_op_name((enum lam_op_kind)kind));
        assert_int_equal(op_from_text(one_of_each[kind], &c), LAM_OK);
        assert_int_equal((int)c.op.kind, kind);
        if (backend->kernel_create(device, &c.op, &options, &kernel, NULL) != LAM_OK)
            fail_msg("%s", lam_error_text());
        kernel->destroy(kernel);
    }
}

static void test_every_op_computes(void **state) {
    assert_int_equal(suite_run(*state, one_of_each, LAM_OP_COUNT), 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_op_has_a_kernel),
        cmocka_unit_test(test_every_op_computes),
    };
    return cmocka_run_group_tests(tests, suite_setup, suite_teardown);
}
