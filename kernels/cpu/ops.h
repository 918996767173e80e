/* The create functions of the ops that are plain C: everything but convolution, matrix products and
 * attention. What each computes is said in lib/device/op.h. */
#ifndef LAM_CPU_OPS_H
#define LAM_CPU_OPS_H

#include "cpu/cpu_kernel.h"

#define LAM_CPU_CREATE(name)                                                                                 \
    lam_status lam_cpu_##name##_create(const struct lam_op *op, const struct lam_kernel_options *options,    \
                                       struct lam_kernel **kernel, const char **chosen)

/* batch_norm.c */
LAM_CPU_CREATE(bn_stats);
LAM_CPU_CREATE(bn_apply);
LAM_CPU_CREATE(bn_bwd_stats);
LAM_CPU_CREATE(bn_bwd_apply);

/* layer_norm.c */
LAM_CPU_CREATE(layer_norm);
LAM_CPU_CREATE(layer_norm_bwd);

/* elementwise.c */
LAM_CPU_CREATE(relu);
LAM_CPU_CREATE(relu_bwd);
LAM_CPU_CREATE(gelu);
LAM_CPU_CREATE(gelu_bwd);
LAM_CPU_CREATE(sigmoid);
LAM_CPU_CREATE(sigmoid_bwd);
LAM_CPU_CREATE(add);
LAM_CPU_CREATE(scale);
LAM_CPU_CREATE(cast);

/* normalize.c, augment.c */
LAM_CPU_CREATE(normalize);
LAM_CPU_CREATE(augment);

/* mix.c */
LAM_CPU_CREATE(mix);
LAM_CPU_CREATE(mix_bwd);

/* channel_scale.c */
LAM_CPU_CREATE(channel_scale);
LAM_CPU_CREATE(channel_scale_bwd);

/* shape.c */
LAM_CPU_CREATE(copy);
LAM_CPU_CREATE(concat);
LAM_CPU_CREATE(slice);
LAM_CPU_CREATE(slice_bwd);

/* pool.c */
LAM_CPU_CREATE(max_pool);
LAM_CPU_CREATE(max_pool_bwd);
LAM_CPU_CREATE(avg_pool);
LAM_CPU_CREATE(avg_pool_bwd);
LAM_CPU_CREATE(global_avg_pool);
LAM_CPU_CREATE(global_avg_pool_bwd);

/* resize.c */
LAM_CPU_CREATE(resize);
LAM_CPU_CREATE(resize_bwd);

/* shuffle.c */
LAM_CPU_CREATE(pixel_shuffle);
LAM_CPU_CREATE(pixel_unshuffle);
LAM_CPU_CREATE(permute_hwc);
LAM_CPU_CREATE(permute_chw);
LAM_CPU_CREATE(patchify);
LAM_CPU_CREATE(unpatchify);

/* dropout.c */
LAM_CPU_CREATE(dropout);
LAM_CPU_CREATE(dropout_bwd);

/* tokens.c */
LAM_CPU_CREATE(tokens);
LAM_CPU_CREATE(tokens_bwd);

/* loss.c */
LAM_CPU_CREATE(cross_entropy);
LAM_CPU_CREATE(cross_entropy_bwd);
LAM_CPU_CREATE(l1);
LAM_CPU_CREATE(mse);
LAM_CPU_CREATE(smooth_l1);
LAM_CPU_CREATE(charbonnier);
LAM_CPU_CREATE(bce_logits);
LAM_CPU_CREATE(focal);
LAM_CPU_CREATE(quality_focal);
LAM_CPU_CREATE(loss_bwd);

/* loss_giou.c */
LAM_CPU_CREATE(giou);
LAM_CPU_CREATE(iou_targets);
LAM_CPU_CREATE(giou_bwd);

#undef LAM_CPU_CREATE

#endif
