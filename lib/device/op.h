/* The ops: what a graph is made of and what a backend computes.
 *
 * This is the contract between lib/graph and the backends in kernels/: which inputs and outputs each op has,
 * in which order, and what it computes. An op is described by a struct lam_op; a backend turns the
 * description into a kernel (backend.h).
 *
 * Batched and shared operands. A *batched* tensor has the batch as its first dimension, and row n of each
 * batched output depends on row n of the batched inputs alone; so an op can run on a few samples at a time (a
 * slice). A *shared* operand (parameter, statistic, loss) is the same for all samples. A shared output of an
 * op with batched inputs is a *reduction* over the batch: the kernel accumulates a partial per lane and then
 * reduces the partials (backend.h). Below, reductions are marked "(sum)": their partials are plain sums of
 * per-sample terms.
 *
 * Every dtype combination that a backend must support: batched activations and their gradients are f32, or
 * all bf16; parameters, statistics, parameter gradients and losses are f32; arithmetic accumulates in f32.
 * Exceptions stand at the op. In the shapes N = batch, C = channels, H, W = height and width, T = tokens, D =
 * features.
 *
 * Addends. Some ops take a last input z, of the shape and type of output 0, that is added to it: an op that would otherwise
 * read and write the result once more. It may be left out altogether. lib/graph/fuse.c puts it there.
 */
#ifndef LAM_DEVICE_OP_H
#define LAM_DEVICE_OP_H

#include "base/tensor.h"

enum { LAM_MAX_INPUTS = 8, LAM_MAX_OUTPUTS = 5 };

/* X(suffix, name, cheap, addend): cheap ops may be computed again in the backward pass instead of kept in memory; addend:
 * which input is one, -1: none.
 *
 * op                  inputs -> outputs; attributes
 *
 * CONV                x [N,C,H,W], w [O,C/g,kh,kw], bias [O] or none, z -> y [N,O,H',W']; attr.conv
 *                     H' = (H + 2 pad - dilation (kh - 1) - 1) / stride + 1. conv.relu: y = max(y, 0), z added before.
 * CONV_BWD_DATA       dy, w, z -> dx; attr.conv (relu ignored)
 * CONV_BWD_WEIGHTS    x, dy -> dw (sum), dbias (sum) or none; attr.conv
 *
 * LINEAR              x [N,...,I], w [O,I], bias [O] or none, z -> y [N,...,O]
 * LINEAR_BWD_DATA     dy, w -> dx
 * LINEAR_BWD_WEIGHTS  x, dy -> dw (sum), dbias (sum) or none
 *
 * BN_STATS            x [N,C,H,W] -> mean [C], inv_std [C], running_mean [C], running_var [C]; attr.bn
 *                     mean and biased variance over N, H, W; inv_std = 1 / sqrt(var + eps). The running outputs are
 *                     buffers updated in place: r <- (1 - momentum) r + momentum * (mean | unbiased var). All four are
 *                     reductions. Partials must merge without cancellation (Chan, Golub, LeVeque 1983).
 * BN_APPLY            x, mean, inv_std, gamma [C], beta [C], z -> y
 *                     y = gamma (x - mean) inv_std + beta + z, then max(., 0) if bn.relu.
 *                     bn.use_variance: input 2 is a variance (evaluation).
 * BN_BWD_STATS        dy, x, mean, inv_std, gamma, beta -> dgamma (sum), dbeta (sum)
 *                     with g = dy, or, if bn.relu, dy where gamma xhat + beta > 0 and else 0 (the mask is recomputed
 *                     from x; ops with an addend never come here with bn.relu): dbeta = sum g, dgamma = sum g xhat.
 * BN_BWD_APPLY        dy, x, mean, inv_std, gamma, beta, dgamma, dbeta -> dx
 *                     dx = gamma inv_std (g - dbeta / M - xhat dgamma / M), M = bn.count = N H W of the whole batch.
 * LAYER_NORM          x [N,...,D], gamma [D], beta [D] -> y, mean [N,...] f32, inv_std [N,...] f32; attr.bn.eps
 * LAYER_NORM_BWD      dy, x, mean, inv_std, gamma, z -> dx or none (then no z), dgamma (sum), dbeta (sum)
 *
 * RELU                x -> y
 * RELU_BWD            dy, y, z -> dx = dy + z where y > 0, else 0
 * GELU                x -> y = x Phi(x), by erf
 * GELU_BWD            dy, x -> dx
 * SIGMOID             x -> y = 1 / (1 + e^-x)
 * SIGMOID_BWD         dy, y -> dx = dy y (1 - y)
 * ADD                 a, b -> a + b (same shape; batched or all shared)
 * SCALE               x -> attr.scale.factor x
 * MIX                 a, b (same shape), s [1] -> y = s a + (2 - s) b
 * MIX_BWD             dy, a, b, s -> da or none, db or none, ds (sum): da = s dy, db = (2 - s) dy, ds = sum dy (a - b)
 * CHANNEL_SCALE       x [N,C,H,W], s [N,C] plain, of x's type, z -> y = s x (channel attention)
 * CHANNEL_SCALE_BWD   dy, x, s -> dx or none = s dy, ds [N,C] or none = sum over H, W of dy x
 * CAST                x -> y, other dtype (f32, bf16; u8 to f32 or bf16 as 0..255)
 * NORMALIZE           x [N,C,H,W] u8, C <= 4 -> y f32 or bf16 = (x / 255 - mean[c]) / deviation[c], each step rounded to f32;
 *                     attr.normalize. y has no gradient.
 * AUGMENT             x [N,C,H,W] u8, C <= 4 -> y of the same shape, f32 or bf16 = NORMALIZE of x shifted by up to attr.augment.pad
 *                     pixels each way, mirrored along W for half of the samples, and a square set to zero. The sample at place b
 *                     of the batch takes words 0..4 of the stream (seed, LAM_RNG_AUGMENT, step, b): shift of x and of y, mirror,
 *                     corner of the square (kernels/augment.h). y has no gradient.
 * COPY                x -> y, other layout or other shape of the same count per sample (reshape). The order of elements
 *                     is the row-major order of the logical shapes.
 * CONCAT              a, b, ... -> joined along attr.axis.axis (>= 1)
 * SLICE               x -> y = x[.., begin : begin + length, ..] along attr.axis.axis (>= 1)
 * SLICE_BWD           dy -> dx = zeros but dy in that range; attr.axis (dx's shape is out[0]'s)
 *
 * MAX_POOL            x -> y; attr.pool. Padding never wins; a NaN does.
 * MAX_POOL_BWD        dy, x -> dx; attr.pool. All of a window's dy goes to its first maximum in row-major order.
 * AVG_POOL            x -> y, padding counted as zeros (divisor kh kw); attr.pool
 * AVG_POOL_BWD        dy -> dx; attr.pool
 * GLOBAL_AVG_POOL     x [N,C,H,W] -> y [N,C] plain
 * GLOBAL_AVG_POOL_BWD dy [N,C] -> dx [N,C,H,W]
 * RESIZE              x [N,C,H,W] -> y [N,C,H',W']; attr.resize: nearest (floor(i H / H')) or bilinear (align_corners
 *                     false, edges clamped), both as PyTorch's interpolate
 * RESIZE_BWD          dy -> dx; attr.resize
 * PIXEL_SHUFFLE       x [N,C r r,H,W] -> y [N,C,H r,W r]; attr.pixel_shuffle.factor; PyTorch's channel order
 * PIXEL_UNSHUFFLE     the inverse (its backward, too)
 * PERMUTE_HWC         x [N,A K,H,W] -> y [N,H W A,K]: rows in the order (h, w, a), channel a K + k of x at place k of a row
 * PERMUTE_CHW         the inverse (its backward, too)
 * PATCHIFY            x [N,C,H,W] -> y [N,(H/p)(W/p),C p p]; attr.patchify.size; a row holds (c, ky, kx)
 * UNPATCHIFY          the inverse
 *
 * SOFTMAX             x [N,...,D] -> y over the last dimension
 * SOFTMAX_BWD         dy, y -> dx
 * ATTENTION           qkv [N,T,3D] -> y [N,T,D], lse [N,heads,T] f32; attr.attention.heads
 *                     q, k, v are the thirds of the last dimension, each heads x (D / heads); scores scaled by
 *                     1 / sqrt(D / heads); lse = log sum exp of the scaled scores.
 * ATTENTION_BWD       dy, qkv, y, lse -> dqkv; attr.attention
 * DROPOUT             x -> y = x / (1 - p) or 0; attr.dropout
 *                     The mask depends on (run.seed, run.step, dropout.stream, sample's place in the batch, element)
 *                     alone: element e of sample s is kept when word e % 4 of the Philox block with key from
 *                     lam_rng_make(seed, LAM_RNG_DROPOUT, step, stream + s) and counter[0] = e / 4 is >= p 2^32.
 *                     e counts in row-major order of the logical shape.
 * DROPOUT_BWD         dy -> dx; the same mask
 * TOKENS              patches [N,P,D], class token [D], positions [P+1,D] -> y [N,P+1,D]
 * TOKENS_BWD          dy -> dpatches or none, dclass (sum), dpositions (sum)
 *
 * CROSS_ENTROPY       logits [N,K] f32 or bf16, target: i32 [N] or f32 [N,K] probabilities
 *                     -> loss [] (sum), correct [] f32 (sum)
 *                     loss = loss.scale * sum over n of the cross entropy with target (1 - s) t + s / K, s = loss.smoothing;
 *                     correct = number of rows whose largest logit (first of equals) is the largest target.
 *                     Labels outside 0..K-1 are ignored (no loss, not correct).
 * CROSS_ENTROPY_BWD   logits, target -> dlogits (of loss, scale included)
 *
 * The elementwise losses: x [N,...] f32 or bf16, target f32 as x, weight f32 or none -> loss [] (sum) = loss.scale * the
 * sum over the elements of weight times term. weight's shape is x's first dimensions, but not all: [N] weights whole
 * samples, [N,A] the rows of x [N,A,4]. Where a weight is 0, x and target are not looked at. With d = x - target:
 *
 * L1                  |d|
 * MSE                 d d
 * SMOOTH_L1           d d / (2 beta) if |d| < beta, else |d| - beta / 2; beta = loss.beta
 * CHARBONNIER         sqrt(d d + eps eps), eps = loss.beta (Lai et al. 2017)
 * BCE_LOGITS          binary cross entropy of sigmoid(x), target in 0..1
 * FOCAL               sigmoid focal loss (Lin et al. 2017), loss.alpha, loss.gamma; target 1, 0, or -1 = ignored. Or target is
 *                     i32 of x's shape without the last dimension: the place in a row of x that is 1, the others are 0. -1:
 *                     all are 0. Below -1, or beyond the row: the row is ignored.
 * QUALITY_FOCAL       d d times the binary cross entropy of sigmoid(x), d = sigmoid(x) - target; target in 0..1, or -1 = ignored
 *                     (Li et al. 2020, quality focal loss with beta 2)
 * LOSS_BWD            x, target, weight or none -> dx, for each of these seven; attr.loss.of says whose. 0 where a weight is 0
 *
 * GIOU                deltas [N,A,4] f32 or bf16, anchors [A,4] (shared; corners x1, y1, x2, y2), target f32 [N,A,4] (corners),
 *                     weight f32 [N,A] -> loss [] (sum) = loss.scale * sum of weight (1 - GIoU(box, target))
 *                     A row dx, dy, dw, dh of deltas makes of an anchor with centre ax, ay and size aw, ah the box with centre
 *                     ax + dx aw, ay + dy ah and size aw e^min(dw, m), ah e^min(dh, m), m = log(1000 / 16). With the areas I of
 *                     intersection, U of union, E of the smallest box around both, and e = 1e-7:
 *                     GIoU = I / (U + e) - (E - U) / (E + e) (Rezatofighi et al. 2019). Where a weight is 0, deltas and
 *                     target are not looked at.
 * IOU_TARGETS         label i32 [N,A], and deltas, anchors, target, weight as of GIOU -> y f32 [N,A,K], targets of QUALITY_FOCAL: in
 *                     a row, at the place of its label, I / (U + e) of box and target, 0 at the others. Label -1, or weight 0: all
 *                     are 0. Below -1, or beyond the row: all are -1. y has no gradient.
 * GIOU_BWD            deltas, anchors, target, weight -> ddeltas, of the deltas' type. 0 where a weight is 0
 */
#define LAM_OP_TABLE(X)                                                                                      \
    X(CONV, "conv", false, 3)                                                                                \
    X(CONV_BWD_DATA, "conv_bwd_data", false, 2)                                                              \
    X(CONV_BWD_WEIGHTS, "conv_bwd_weights", false, -1)                                                       \
    X(LINEAR, "linear", false, 3)                                                                            \
    X(LINEAR_BWD_DATA, "linear_bwd_data", false, -1)                                                         \
    X(LINEAR_BWD_WEIGHTS, "linear_bwd_weights", false, -1)                                                   \
    X(BN_STATS, "bn_stats", false, -1)                                                                       \
    X(BN_APPLY, "bn_apply", true, 5)                                                                         \
    X(BN_BWD_STATS, "bn_bwd_stats", false, -1)                                                               \
    X(BN_BWD_APPLY, "bn_bwd_apply", false, -1)                                                               \
    X(LAYER_NORM, "layer_norm", true, -1)                                                                    \
    X(LAYER_NORM_BWD, "layer_norm_bwd", false, 5)                                                            \
    X(RELU, "relu", true, -1)                                                                                \
    X(RELU_BWD, "relu_bwd", false, 2)                                                                        \
    X(GELU, "gelu", true, -1)                                                                                \
    X(GELU_BWD, "gelu_bwd", false, -1)                                                                       \
    X(SIGMOID, "sigmoid", true, -1)                                                                          \
    X(SIGMOID_BWD, "sigmoid_bwd", false, -1)                                                                 \
    X(ADD, "add", true, -1)                                                                                  \
    X(SCALE, "scale", true, -1)                                                                              \
    X(MIX, "mix", true, -1)                                                                                  \
    X(MIX_BWD, "mix_bwd", false, -1)                                                                         \
    X(CHANNEL_SCALE, "channel_scale", true, 2)                                                               \
    X(CHANNEL_SCALE_BWD, "channel_scale_bwd", false, -1)                                                     \
    X(CAST, "cast", true, -1)                                                                                \
    X(NORMALIZE, "normalize", true, -1)                                                                      \
    X(AUGMENT, "augment", true, -1)                                                                          \
    X(COPY, "copy", true, -1)                                                                                \
    X(CONCAT, "concat", true, -1)                                                                            \
    X(SLICE, "slice", true, -1)                                                                              \
    X(SLICE_BWD, "slice_bwd", false, -1)                                                                     \
    X(MAX_POOL, "max_pool", false, -1)                                                                       \
    X(MAX_POOL_BWD, "max_pool_bwd", true, -1)                                                                \
    X(AVG_POOL, "avg_pool", false, -1)                                                                       \
    X(AVG_POOL_BWD, "avg_pool_bwd", false, -1)                                                               \
    X(GLOBAL_AVG_POOL, "global_avg_pool", false, -1)                                                         \
    X(GLOBAL_AVG_POOL_BWD, "global_avg_pool_bwd", true, -1)                                                  \
    X(RESIZE, "resize", true, -1)                                                                            \
    X(RESIZE_BWD, "resize_bwd", false, -1)                                                                   \
    X(PIXEL_SHUFFLE, "pixel_shuffle", true, -1)                                                              \
    X(PIXEL_UNSHUFFLE, "pixel_unshuffle", true, -1)                                                          \
    X(PERMUTE_HWC, "permute_hwc", true, -1)                                                                  \
    X(PERMUTE_CHW, "permute_chw", true, -1)                                                                  \
    X(PATCHIFY, "patchify", true, -1)                                                                        \
    X(UNPATCHIFY, "unpatchify", true, -1)                                                                    \
    X(SOFTMAX, "softmax", false, -1)                                                                         \
    X(SOFTMAX_BWD, "softmax_bwd", false, -1)                                                                 \
    X(ATTENTION, "attention", false, -1)                                                                     \
    X(ATTENTION_BWD, "attention_bwd", false, -1)                                                             \
    X(DROPOUT, "dropout", true, -1)                                                                          \
    X(DROPOUT_BWD, "dropout_bwd", false, -1)                                                                 \
    X(TOKENS, "tokens", true, -1)                                                                            \
    X(TOKENS_BWD, "tokens_bwd", false, -1)                                                                   \
    X(CROSS_ENTROPY, "cross_entropy", false, -1)                                                             \
    X(CROSS_ENTROPY_BWD, "cross_entropy_bwd", false, -1)                                                     \
    X(L1, "l1", false, -1)                                                                                   \
    X(MSE, "mse", false, -1)                                                                                 \
    X(SMOOTH_L1, "smooth_l1", false, -1)                                                                     \
    X(CHARBONNIER, "charbonnier", false, -1)                                                                 \
    X(BCE_LOGITS, "bce_logits", false, -1)                                                                   \
    X(FOCAL, "focal", false, -1)                                                                             \
    X(QUALITY_FOCAL, "quality_focal", false, -1)                                                             \
    X(LOSS_BWD, "loss_bwd", false, -1)                                                                       \
    X(GIOU, "giou", false, -1)                                                                               \
    X(IOU_TARGETS, "iou_targets", true, -1)                                                                  \
    X(GIOU_BWD, "giou_bwd", false, -1)

enum lam_op_kind {
#define LAM_OP_ENUM(suffix, name, cheap, addend) LAM_OP_##suffix,
    LAM_OP_TABLE(LAM_OP_ENUM)
#undef LAM_OP_ENUM
        LAM_OP_COUNT
};

const char *lam_op_name(enum lam_op_kind kind);
bool lam_op_is_cheap(enum lam_op_kind kind);

struct lam_conv_attr {
    int kernel[2], stride[2], pad[2], dilation[2]; /* height, width; dilation 1 = none */
    int groups;
    bool relu;
};
struct lam_bn_attr {
    float eps, momentum;
    bool relu, use_variance;
    double count; /* values per channel in the whole batch; set by the graph */
};
enum { LAM_MAX_COLOURS = 4 };
struct lam_normalize_attr {
    float mean[LAM_MAX_COLOURS], deviation[LAM_MAX_COLOURS]; /* of pixels / 255; deviations above 0 */
};
struct lam_augment_attr {
    struct lam_normalize_attr normalize;
    int pad; /* longest shift; what comes in is the image mirrored at its border, or zero (the mean colour) */
    bool reflect; /* mirrored */
    bool flip;    /* half of the samples */
    int cutout;   /* side of the square; 0: none */
};
struct lam_axis_attr {
    int axis;
    int64_t begin, length;
};
struct lam_pool_attr {
    int kernel[2], stride[2], pad[2];
};
struct lam_resize_attr {
    bool bilinear;
};
struct lam_loss_attr {
    float scale, smoothing, beta, alpha, gamma;
    enum lam_op_kind of; /* LOSS_BWD: the loss that it is the backward of */
};

union lam_op_attr {
    struct lam_conv_attr conv;
    struct lam_bn_attr bn;
    struct lam_axis_attr axis;
    struct lam_normalize_attr normalize;
    struct lam_augment_attr augment;
    struct lam_pool_attr pool;
    struct lam_resize_attr resize;
    struct lam_loss_attr loss;
    struct {
        float factor;
    } scale;
    struct {
        int factor;
    } pixel_shuffle;
    struct {
        int size;
    } patchify;
    struct {
        int heads;
    } attention;
    struct {
        float p;
        uint64_t stream;
    } dropout;
};

struct lam_operand {
    bool present; /* false: an optional operand that is absent ("or none") */
    bool batched;
    struct lam_tensor_desc desc; /* a batched operand's shape has dim[0] = the whole batch */
};

struct lam_op {
    enum lam_op_kind kind;
    union lam_op_attr attr;
    int inputs, outputs; /* operands counted, absent ones included */
    struct lam_operand in[LAM_MAX_INPUTS], out[LAM_MAX_OUTPUTS];
};

/* Which input of an op of this kind is its addend; -1: it takes none. */
int lam_op_addend(enum lam_op_kind kind);
static inline bool lam_op_has_addend(const struct lam_op *op) {
    int addend = lam_op_addend(op->kind);
    return addend >= 0 && op->inputs > addend && op->in[addend].present;
}

/* FLOPs of the op over the whole batch, a multiply-add counted as two; 0 for ops that are bound by memory. */
double lam_op_flops(const struct lam_op *op);

#endif
