/* Ops written as a line of text, so that tables of cases stay short and readable:
 *
 *     conv n=5 c=17 h=9 w=7 o=12 k=3 s=2 p=1 bias relu dtype=bf16
 *
 * The first word is the op's name in lib/device/op.h, then come "key=value" words and flags, in any order.
 * Forward and backward ops of a family take the same words, so one line serves both.
 *
 *     conv, conv_bwd_*      n c h w o; k (square) or kh kw; s sh sw, p ph pw, d dh dw, g; bias relu
 *     linear, linear_bwd_*  shape=5x65x192 (the input's) o; bias
 *     bn_*                  n c h w; eps momentum; relu skip use_variance
 *     layer_norm*           shape; eps; nodx
 *     relu gelu add scale cast copy softmax dropout   shape; add, scale: shared; scale: factor;
 *                           cast: from to; copy: to=SHAPE; dropout: rate stream
 *     concat                shape (of the result) axis parts=3+16+5
 *     slice slice_bwd       shape (the longer one) axis begin length
 *     max_pool avg_pool global_avg_pool   n c h w; k s p as conv
 *     resize                n c h w oh ow; bilinear
 *     pixel_shuffle, patchify and their inverses      n c h w of the image (pixel shuffle: the large one); r
 *     attention             n t f heads
 *     tokens                n t (with the class token) f; nodx
 *     cross_entropy         shape; smoothing scale; soft; correct=0
 *     l1 mse smooth_l1 bce_logits focal, loss_bwd of=NAME   shape; scale beta alpha gamma
 *
 * z: with an addend, where the op takes one.
 * dtype is that of batched activations, f32 unless given. Words for the suite (suite.h): offset= is added to
 * the random activations (not to a loss's target); ties draws them from few values; absolute= allows each
 * element this error besides the relative one; measure also times the choices.
 */
#ifndef LAM_TESTS_OP_TEXT_H
#define LAM_TESTS_OP_TEXT_H

#include "base/status.h"
#include "device/op.h"

struct op_case {
    struct lam_op op; /* all operands PLAIN */
    double offset, absolute;
    bool ties, measure;
};

/* LAM_ERR_FORMAT for a word that is unknown, malformed, or not one of this op's. */
lam_status op_from_text(const char *text, struct op_case *result);

#endif
