/* Inside lib/local: a block, shared by block.c, block_micro.c and block_twins.c. */
#ifndef LAM_LOCAL_BLOCK_INTERNAL_H
#define LAM_LOCAL_BLOCK_INTERNAL_H

#include "local/block.h"

/* Names of the borders' parts in a block's graphs. */
struct lam_part_names {
    const char *in, *out, *in_gradient, *out_gradient;
};
extern const struct lam_part_names lam_part_names[LAM_BORDER_PARTS];

struct lam_block {
    struct lam_block_options options;
    struct lam_device *device;
    struct lam_params *params;
    struct lam_optimizer *optimizer;
    struct lam_graph *graphs[LAM_BLOCK_PROGRAMS];
    struct lam_program *programs[LAM_BLOCK_PROGRAMS], *last;
    struct lam_border border;
    float *accumulated; /* micro-batches: the gradients so far */
    char *activations;  /* attached */
    void *workspace;
    double own_flops; /* forward, without the auxiliary network */
    char name[128];
};

bool lam_block_is_last(const struct lam_block *block);

/* Bytes between the activations of two micro-batches. */
size_t lam_block_micro_stride(const struct lam_block *block);

/* Binds input and fields of the batch, and what the block gives out, by place. */
void lam_block_bind(struct lam_block *block, enum lam_block_program which, const struct lam_batch *batch,
                    void *const *output);

#endif
