#include "apps/gpu_check_shapes.h"

#include <stddef.h>

#define CONV(shape)     "conv " shape, "conv_bwd_data " shape, "conv_bwd_weights " shape
#define FIRST(shape)    "conv " shape, "conv_bwd_weights " shape /* of images, which have no gradient */
#define LINEAR(shape)   "linear " shape, "linear_bwd_data " shape, "linear_bwd_weights " shape
#define BOTH(op, shape) op " " shape, op "_bwd " shape
#define LOSS(op, shape) op " " shape, "loss_bwd of=" op " " shape

const char *const gpu_check_shapes[] = {
    /* ResNet-110 */
    FIRST("n=8 c=3 h=32 w=32 o=16 k=3 p=1"),
    CONV("n=8 c=16 h=32 w=32 o=16 k=3 p=1"),
    CONV("n=8 c=32 h=16 w=16 o=64 k=3 s=2 p=1"),
    CONV("n=8 c=64 h=8 w=8 o=64 k=3 p=1"),
    "bn_stats n=32 c=16 h=32 w=32",
    "bn_apply n=32 c=16 h=32 w=32 relu skip",
    "bn_bwd_stats n=32 c=16 h=32 w=32 relu",
    "bn_bwd_apply n=32 c=16 h=32 w=32 relu",
    LINEAR("shape=128x64 o=10 bias"),
    BOTH("cross_entropy", "shape=128x10 scale=0.0078125"),
    /* ResNet-50 on ImageNet */
    FIRST("n=2 c=3 h=224 w=224 o=64 k=7 s=2 p=3"),
    CONV("n=1 c=64 h=56 w=56 o=64 k=3 p=1"),
    CONV("n=2 c=256 h=28 w=28 o=128 k=1"),
    CONV("n=2 c=128 h=28 w=28 o=128 k=3 s=2 p=1"),
    CONV("n=1 c=256 h=14 w=14 o=256 k=3 p=1"),
    CONV("n=2 c=512 h=7 w=7 o=2048 k=1"),
    "normalize n=8 c=3 h=224 w=224",
    "augment n=128 c=3 h=32 w=32 pad=4 reflect flip cutout=8",
    BOTH("max_pool", "n=2 c=64 h=112 w=112 k=3 s=2 p=1"),
    BOTH("global_avg_pool", "n=8 c=2048 h=7 w=7"),
    BOTH("cross_entropy", "shape=64x1000 smoothing=0.1"),
    /* ViT */
    BOTH("tokens", "n=8 t=65 f=192"),
    LINEAR("shape=8x65x192 o=576 bias"),
    LINEAR("shape=4x65x768 o=192 bias"),
    BOTH("attention", "n=4 t=65 f=192 heads=3"),
    BOTH("attention", "n=2 t=197 f=384 heads=6"),
    BOTH("layer_norm", "shape=16x65x192"),
    BOTH("gelu", "shape=8x65x768"),
    BOTH("dropout", "shape=8x65x768"),
    /* RetinaNet */
    CONV("n=1 c=256 h=20 w=20 o=256 k=3 p=1 bias relu"),
    CONV("n=1 c=256 h=40 w=40 o=36 k=3 p=1 bias"),
    BOTH("resize", "n=2 c=256 h=20 w=20 oh=40 ow=40"),
    "permute_hwc n=2 c=36 h=40 w=40 k=4",
    "permute_chw n=2 c=36 h=40 w=40 k=4",
    LOSS("focal", "shape=2x19206x8 labels"),
    LOSS("quality_focal", "shape=2x19206x8"),
    BOTH("giou", "n=2 a=19206"),
    "iou_targets n=2 a=19206 k=8",
    /* EDSR */
    FIRST("n=1 c=3 h=48 w=48 o=64 k=3 p=1 bias"),
    CONV("n=1 c=64 h=32 w=32 o=256 k=3 p=1 bias"),
    CONV("n=1 c=64 h=96 w=96 o=3 k=3 p=1 bias"),
    "pixel_shuffle n=4 c=64 h=96 w=96 r=2",
    "pixel_unshuffle n=4 c=64 h=96 w=96 r=2",
    LOSS("l1", "shape=16x3x96x96"),
    LOSS("charbonnier", "shape=4x3x192x192 beta=0.001"),
    NULL,
};
