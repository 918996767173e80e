/* The create functions of all ops of the CUDA backend, by the file that holds them. X(op, create function) */
#ifndef LAM_CUDA_OPS_H
#define LAM_CUDA_OPS_H

#include "cuda/cuda_kernel.h"

/* conv.c, linear.c */
#define LAM_CUDA_LIBRARY_OPS(X)                                                                              \
    X(CONV, lam_cuda_conv_create)                                                                            \
    X(CONV_BWD_DATA, lam_cuda_conv_create)                                                                   \
    X(CONV_BWD_WEIGHTS, lam_cuda_conv_create)                                                                \
    X(LINEAR, lam_cuda_linear_create)                                                                        \
    X(LINEAR_BWD_DATA, lam_cuda_linear_create)                                                               \
    X(LINEAR_BWD_WEIGHTS, lam_cuda_linear_create)

/* norm_*.cu, elementwise*.cu, shape.cu, pool*.cu, resize.cu */
#define LAM_CUDA_FEATURE_OPS(X)                                                                              \
    X(BN_STATS, lam_cuda_bn_stats_create)                                                                    \
    X(BN_APPLY, lam_cuda_bn_apply_create)                                                                    \
    X(BN_BWD_STATS, lam_cuda_bn_bwd_stats_create)                                                            \
    X(BN_BWD_APPLY, lam_cuda_bn_bwd_apply_create)                                                            \
    X(LAYER_NORM, lam_cuda_layer_norm_create)                                                                \
    X(LAYER_NORM_BWD, lam_cuda_layer_norm_bwd_create)                                                        \
    X(RELU, lam_cuda_relu_create)                                                                            \
    X(RELU_BWD, lam_cuda_relu_bwd_create)                                                                    \
    X(GELU, lam_cuda_gelu_create)                                                                            \
    X(GELU_BWD, lam_cuda_gelu_bwd_create)                                                                    \
    X(SIGMOID, lam_cuda_sigmoid_create)                                                                      \
    X(SIGMOID_BWD, lam_cuda_sigmoid_bwd_create)                                                              \
    X(ADD, lam_cuda_add_create)                                                                              \
    X(SCALE, lam_cuda_scale_create)                                                                          \
    X(MIX, lam_cuda_mix_create)                                                                              \
    X(MIX_BWD, lam_cuda_mix_bwd_create)                                                                      \
    X(CHANNEL_SCALE, lam_cuda_channel_scale_create)                                                          \
    X(CHANNEL_SCALE_BWD, lam_cuda_channel_scale_bwd_create)                                                  \
    X(CAST, lam_cuda_cast_create)                                                                            \
    X(NORMALIZE, lam_cuda_normalize_create)                                                                  \
    X(AUGMENT, lam_cuda_augment_create)                                                                      \
    X(COPY, lam_cuda_copy_create)                                                                            \
    X(CONCAT, lam_cuda_concat_create)                                                                        \
    X(SLICE, lam_cuda_slice_create)                                                                          \
    X(SLICE_BWD, lam_cuda_slice_bwd_create)                                                                  \
    X(PIXEL_SHUFFLE, lam_cuda_pixel_shuffle_create)                                                          \
    X(PIXEL_UNSHUFFLE, lam_cuda_pixel_unshuffle_create)                                                      \
    X(PERMUTE_HWC, lam_cuda_permute_hwc_create)                                                              \
    X(PERMUTE_CHW, lam_cuda_permute_chw_create)                                                              \
    X(PATCHIFY, lam_cuda_patchify_create)                                                                    \
    X(UNPATCHIFY, lam_cuda_unpatchify_create)                                                                \
    X(MAX_POOL, lam_cuda_max_pool_create)                                                                    \
    X(MAX_POOL_BWD, lam_cuda_max_pool_bwd_create)                                                            \
    X(AVG_POOL, lam_cuda_avg_pool_create)                                                                    \
    X(AVG_POOL_BWD, lam_cuda_avg_pool_bwd_create)                                                            \
    X(GLOBAL_AVG_POOL, lam_cuda_global_avg_pool_create)                                                      \
    X(GLOBAL_AVG_POOL_BWD, lam_cuda_global_avg_pool_bwd_create)                                              \
    X(RESIZE, lam_cuda_resize_create)                                                                        \
    X(RESIZE_BWD, lam_cuda_resize_bwd_create)

/* attention.cu, softmax.cu, dropout.cu, tokens.cu, loss.cu, giou.cu */
#define LAM_CUDA_TOKEN_AND_LOSS_OPS(X)                                                                       \
    X(SOFTMAX, lam_cuda_softmax_create)                                                                      \
    X(SOFTMAX_BWD, lam_cuda_softmax_bwd_create)                                                              \
    X(ATTENTION, lam_cuda_attention_create)                                                                  \
    X(ATTENTION_BWD, lam_cuda_attention_bwd_create)                                                          \
    X(DROPOUT, lam_cuda_dropout_create)                                                                      \
    X(DROPOUT_BWD, lam_cuda_dropout_bwd_create)                                                              \
    X(TOKENS, lam_cuda_tokens_create)                                                                        \
    X(TOKENS_BWD, lam_cuda_tokens_bwd_create)                                                                \
    X(CROSS_ENTROPY, lam_cuda_cross_entropy_create)                                                          \
    X(CROSS_ENTROPY_BWD, lam_cuda_cross_entropy_bwd_create)                                                  \
    X(L1, lam_cuda_l1_create)                                                                                \
    X(MSE, lam_cuda_mse_create)                                                                              \
    X(SMOOTH_L1, lam_cuda_smooth_l1_create)                                                                  \
    X(CHARBONNIER, lam_cuda_charbonnier_create)                                                              \
    X(BCE_LOGITS, lam_cuda_bce_logits_create)                                                                \
    X(FOCAL, lam_cuda_focal_create)                                                                          \
    X(QUALITY_FOCAL, lam_cuda_quality_focal_create)                                                          \
    X(LOSS_BWD, lam_cuda_loss_bwd_create)                                                                    \
    X(GIOU, lam_cuda_giou_create)                                                                            \
    X(IOU_TARGETS, lam_cuda_iou_targets_create)                                                              \
    X(GIOU_BWD, lam_cuda_giou_bwd_create)

#define LAM_CUDA_OPS(X)                                                                                      \
    LAM_CUDA_LIBRARY_OPS(X)                                                                                  \
    LAM_CUDA_FEATURE_OPS(X)                                                                                  \
    LAM_CUDA_TOKEN_AND_LOSS_OPS(X)

#ifdef __cplusplus
extern "C" {
#endif

#define LAM_CUDA_DECLARE(suffix, create)                                                                     \
    lam_status create(struct lam_backend_device *device, const struct lam_op *op,                            \
                      const struct lam_kernel_options *options, struct lam_kernel **kernel,                  \
                      const char **chosen);
LAM_CUDA_OPS(LAM_CUDA_DECLARE)
#undef LAM_CUDA_DECLARE

/* The flat-buffer updates: update.cu; signatures as in struct lam_backend. */
void lam_cuda_sgd(const struct lam_sgd_args *args, int64_t begin, int64_t end, struct lam_stream *stream);
void lam_cuda_adamw(const struct lam_adamw_args *args, int64_t begin, int64_t end, struct lam_stream *stream);
void lam_cuda_ema(float *average, const float *value, float decay, int64_t begin, int64_t end,
                  struct lam_stream *stream);
void lam_cuda_accumulate(float *sum, const float *value, float weight, bool first, int64_t begin, int64_t end,
                         struct lam_stream *stream);
void lam_cuda_sum_squares(const float *value, int64_t begin, int64_t end, int64_t chunk, double *sums,
                          struct lam_stream *stream);
/* *to = *run, on the stream. */
void lam_cuda_store_run(struct lam_run *to, const struct lam_run *run, struct lam_stream *stream);

#ifdef __cplusplus
}
#endif

#endif
