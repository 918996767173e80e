/* The families of models, one file each; model.c lists them. */
#ifndef LAM_NN_FAMILIES_H
#define LAM_NN_FAMILIES_H

#include "nn/model.h"

extern const struct lam_model_family lam_resnet_cifar_family;
extern const struct lam_model_family lam_resnet_family;
extern const struct lam_model_family lam_vit_family;

/* Finds `name` among `names`; its place, or -1. */
int lam_model_name_index(const char *const *names, const char *name);

/* Deals `units` units out to `blocks` blocks as evenly as whole units allow: cuts[j], the last unit of block
 * j, is floor((j + 1) units / blocks) - 1; blocks - 1 of them. */
void lam_model_even_cuts(int units, int blocks, int *cuts);

#endif
