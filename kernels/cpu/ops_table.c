/* Which create function makes the kernel of each op. One line per op. */
#include "cpu/cpu_kernel.h"

/* convolution: conv.c */
#include "cpu/conv.h"

/* linear and attention: linear.c, softmax.c, attention.c */
#include "cpu/linear.h"

/* the rest, plain C: batch_norm.c, layer_norm.c, elementwise.c, mix.c, channel_scale.c, shape.c, shuffle.c,
 * tokens.c, dropout.c, pool.c, resize.c, loss.c, loss_giou.c */
#include "cpu/ops.h"

static const lam_cpu_create_fn creators[LAM_OP_COUNT] = {
    /* convolution */
    [LAM_OP_CONV] = lam_cpu_conv_create,
    [LAM_OP_CONV_BWD_DATA] = lam_cpu_conv_create,
    [LAM_OP_CONV_BWD_WEIGHTS] = lam_cpu_conv_create,

    /* linear and attention */
    [LAM_OP_LINEAR] = lam_cpu_linear_create,
    [LAM_OP_LINEAR_BWD_DATA] = lam_cpu_linear_bwd_data_create,
    [LAM_OP_LINEAR_BWD_WEIGHTS] = lam_cpu_linear_bwd_weights_create,
    [LAM_OP_SOFTMAX] = lam_cpu_softmax_create,
    [LAM_OP_SOFTMAX_BWD] = lam_cpu_softmax_bwd_create,
    [LAM_OP_ATTENTION] = lam_cpu_attention_create,
    [LAM_OP_ATTENTION_BWD] = lam_cpu_attention_bwd_create,

    /* normalisation */
    [LAM_OP_BN_STATS] = lam_cpu_bn_stats_create,
    [LAM_OP_BN_APPLY] = lam_cpu_bn_apply_create,
    [LAM_OP_BN_BWD_STATS] = lam_cpu_bn_bwd_stats_create,
    [LAM_OP_BN_BWD_APPLY] = lam_cpu_bn_bwd_apply_create,
    [LAM_OP_LAYER_NORM] = lam_cpu_layer_norm_create,
    [LAM_OP_LAYER_NORM_BWD] = lam_cpu_layer_norm_bwd_create,

    /* elementwise */
    [LAM_OP_RELU] = lam_cpu_relu_create,
    [LAM_OP_RELU_BWD] = lam_cpu_relu_bwd_create,
    [LAM_OP_GELU] = lam_cpu_gelu_create,
    [LAM_OP_GELU_BWD] = lam_cpu_gelu_bwd_create,
    [LAM_OP_SIGMOID] = lam_cpu_sigmoid_create,
    [LAM_OP_SIGMOID_BWD] = lam_cpu_sigmoid_bwd_create,
    [LAM_OP_ADD] = lam_cpu_add_create,
    [LAM_OP_SCALE] = lam_cpu_scale_create,
    [LAM_OP_MIX] = lam_cpu_mix_create,
    [LAM_OP_MIX_BWD] = lam_cpu_mix_bwd_create,
    [LAM_OP_CHANNEL_SCALE] = lam_cpu_channel_scale_create,
    [LAM_OP_CHANNEL_SCALE_BWD] = lam_cpu_channel_scale_bwd_create,
    [LAM_OP_CAST] = lam_cpu_cast_create,
    [LAM_OP_NORMALIZE] = lam_cpu_normalize_create,
    [LAM_OP_AUGMENT] = lam_cpu_augment_create,
    [LAM_OP_DROPOUT] = lam_cpu_dropout_create,
    [LAM_OP_DROPOUT_BWD] = lam_cpu_dropout_bwd_create,

    /* moving data */
    [LAM_OP_COPY] = lam_cpu_copy_create,
    [LAM_OP_CONCAT] = lam_cpu_concat_create,
    [LAM_OP_SLICE] = lam_cpu_slice_create,
    [LAM_OP_SLICE_BWD] = lam_cpu_slice_bwd_create,
    [LAM_OP_PIXEL_SHUFFLE] = lam_cpu_pixel_shuffle_create,
    [LAM_OP_PIXEL_UNSHUFFLE] = lam_cpu_pixel_unshuffle_create,
    [LAM_OP_PERMUTE_HWC] = lam_cpu_permute_hwc_create,
    [LAM_OP_PERMUTE_CHW] = lam_cpu_permute_chw_create,
    [LAM_OP_PATCHIFY] = lam_cpu_patchify_create,
    [LAM_OP_UNPATCHIFY] = lam_cpu_unpatchify_create,
    [LAM_OP_TOKENS] = lam_cpu_tokens_create,
    [LAM_OP_TOKENS_BWD] = lam_cpu_tokens_bwd_create,

    /* pooling and resizing */
    [LAM_OP_MAX_POOL] = lam_cpu_max_pool_create,
    [LAM_OP_MAX_POOL_BWD] = lam_cpu_max_pool_bwd_create,
    [LAM_OP_AVG_POOL] = lam_cpu_avg_pool_create,
    [LAM_OP_AVG_POOL_BWD] = lam_cpu_avg_pool_bwd_create,
    [LAM_OP_GLOBAL_AVG_POOL] = lam_cpu_global_avg_pool_create,
    [LAM_OP_GLOBAL_AVG_POOL_BWD] = lam_cpu_global_avg_pool_bwd_create,
    [LAM_OP_RESIZE] = lam_cpu_resize_create,
    [LAM_OP_RESIZE_BWD] = lam_cpu_resize_bwd_create,

    /* losses */
    [LAM_OP_CROSS_ENTROPY] = lam_cpu_cross_entropy_create,
    [LAM_OP_CROSS_ENTROPY_BWD] = lam_cpu_cross_entropy_bwd_create,
    [LAM_OP_L1] = lam_cpu_l1_create,
    [LAM_OP_MSE] = lam_cpu_mse_create,
    [LAM_OP_SMOOTH_L1] = lam_cpu_smooth_l1_create,
    [LAM_OP_CHARBONNIER] = lam_cpu_charbonnier_create,
    [LAM_OP_BCE_LOGITS] = lam_cpu_bce_logits_create,
    [LAM_OP_FOCAL] = lam_cpu_focal_create,
    [LAM_OP_QUALITY_FOCAL] = lam_cpu_quality_focal_create,
    [LAM_OP_LOSS_BWD] = lam_cpu_loss_bwd_create,
    [LAM_OP_GIOU] = lam_cpu_giou_create,
    [LAM_OP_IOU_TARGETS] = lam_cpu_iou_targets_create,
    [LAM_OP_GIOU_BWD] = lam_cpu_giou_bwd_create,
};

lam_cpu_create_fn lam_cpu_create_for(enum lam_op_kind kind) {
    return (unsigned)kind < LAM_OP_COUNT ? creators[kind] : NULL;
}

const char *const *lam_cpu_choices_for(enum lam_op_kind kind) {
    switch (kind) {
    case LAM_OP_CONV:
    case LAM_OP_CONV_BWD_DATA:
    case LAM_OP_CONV_BWD_WEIGHTS:
        return lam_cpu_conv_choices;
    default:
        return NULL;
    }
}

bool lam_cpu_adds(enum lam_op_kind kind) {
    return kind == LAM_OP_RELU_BWD || kind == LAM_OP_BN_APPLY;
}
