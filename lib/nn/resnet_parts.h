/* What the two ResNet families share: residual units and the naming of units by stage.
 *
 * Both are a stem, stages of residual units, and a head; a model keeps the units of each stage in config[0],
 * config[1], ... and the number of stages in config[LAM_RESNET_STAGES]. Unit 0 is "stem", then come
 * "layer1.0", "layer1.1", ..., and last "head".
 */
#ifndef LAM_NN_RESNET_PARTS_H
#define LAM_NN_RESNET_PARTS_H

#include "nn/model.h"

enum { LAM_RESNET_MAX_STAGES = 4, LAM_RESNET_STAGES = LAM_RESNET_MAX_STAGES, LAM_RESNET_OWN };

/* Fills in the stages, the number of units and the unit names of a model. */
void lam_resnet_set_stages(struct lam_model *model, int stages, const int *units);

/* Stage (from 0) and place in the stage of a residual unit; false for the stem and the head. */
bool lam_resnet_place(const struct lam_model *model, int unit, int *stage, int *index);

/* He et al. 2016 (CVPR), figure 5 left: two 3x3 convolutions with BN; the first has the stride. Where shape
 * or stride change, the shortcut is a 1x1 convolution with BN (option B). */
lam_value lam_resnet_basic(struct lam_graph *graph, lam_value x, int width, int stride);

/* He et al. 2016 (CVPR), figure 5 right: 1x1, 3x3, 1x1 to 4 width channels; the 3x3 has the stride, as in
 * torchvision. */
lam_value lam_resnet_bottleneck(struct lam_graph *graph, lam_value x, int width, int stride);

/* Global average pool and linear classifier "fc"; the logits are f32. */
lam_value lam_resnet_head(struct lam_graph *graph, lam_value x, int classes);

#endif
