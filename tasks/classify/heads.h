/* What stands behind features and logits in classification. */
#ifndef LAM_CLASSIFY_HEADS_H
#define LAM_CLASSIFY_HEADS_H

#include "graph/graph.h"

/* Logits f32 [N, classes] from a block's features.
 *
 * Maps [N, C, H, W]: one convolution and two linear layers (the 1c2f head of Belilovsky et al., arXiv 1901.08164, as
 * InfoPro's released code has it): conv 3x3, BN, ReLU, global average pool, linear 128, ReLU, linear. As long as the map is
 * wider than 8 px the convolution halves it and doubles the channels. Tokens [N, T, D], the class token first: layer
 * norm and a linear layer on that. */
lam_value classify_local_logits(struct lam_graph *graph, lam_value x, int classes);

/* The end of the network, or of a small head. In training the output "loss", the cross entropy against `target` (i32 [N] or f32
 * [N, classes]), and if asked for "correct", the number of right guesses; returns the loss. Else the output "logits". */
lam_value classify_output(struct lam_graph *graph, lam_value logits, lam_value target, float smoothing,
                          bool count_correct);

#endif
