/* RetinaNet (Lin et al., arXiv 1708.02002): a residual network, a feature pyramid on its last three stages, and two small
 * networks, shared by all levels, that say class and box of each anchor.
 *
 *     struct retinanet_options options = {.name = "retinanet-tiny", .width = 0, .depth = 0, .classes = 3, ...};
 *     LAM_TRY(retinanet_levels(options.name, &levels));              // anchors are made for so many
 *     LAM_TRY(retinanet_create(&options, &net));
 *     struct lam_network network = retinanet_network(net);           // the task adds fields and losses
 *     rows = retinanet_local_rows(net, graph, x, taps);              // the head made small, behind any unit
 *     retinanet_destroy(net);
 *
 * Units are those of the residual network (stem, layer1.0, ..., layer4.1) and "head": pyramid and subnets. What the head gives is
 * [N, A, classes + 4]: for each anchor, in the order of anchors.h, the logit of each class, then dx, dy, dw, dh. C3 and C4, what
 * stages 2 and 3 end with, are taps: they travel to the head detached where a block ends in between.
 *
 * Pyramid: 1x1 convolutions on C3, C4, C5, added from the top by nearest resizing, then a 3x3 convolution each: P3, P4, P5. Five
 * levels: P6 is a 3x3 convolution with stride 2 of C5, P7 another one of ReLU(P6). Subnets: `depth` times 3x3
 * convolution and ReLU, then a 3x3 convolution. The last bias of the classes starts so that everything is background with
 * probability 0.99. Their last convolutions start from N(0, 0.01), all else from Kaiming's: with narrow subnets, N(0, 0.01) throughout,
 * as published, lets hardly anything through at first.
 *
 * The local head has the same form with half the depth. Behind a unit of a stage whose followers are missing, stride-2 convolutions
 * take the place of C4 or C5 (METHODS.md).
 */
#ifndef LAM_TASKS_DETECT_RETINANET_H
#define LAM_TASKS_DETECT_RETINANET_H

#include "local/aux.h"

enum { RETINANET_FIRST_STRIDE = 8 };

struct retinanet_options {
    const char *name;
    int image_width, image_height;
    int classes, per_cell; /* anchors in a cell */
    int width, depth;      /* of pyramid and subnets; 0: the model's own */
    int local_depth;       /* of subnets of local heads; 0: half, at least 1 */
};

struct retinanet;

/* Levels of the model's pyramid, from stride 8. LAM_ERR_NOT_FOUND with the nearest name. */
lam_status retinanet_levels(const char *name, int *levels);
lam_status retinanet_create(const struct retinanet_options *options, struct retinanet **net);
void retinanet_destroy(struct retinanet *net);

/* Units, names, taps, published cuts. The net must outlive it. */
struct lam_network retinanet_network(struct retinanet *net);

/* As what the head gives, of features of any unit; taps as the network's build_local_head gets them. */
lam_value retinanet_local_rows(const struct retinanet *net, struct lam_graph *graph, lam_value x,
                               const lam_value *taps);

extern const char *const retinanet_names[]; /* NULL-terminated */

#endif
