/* Inside lib/local: a block, shared by block.c, block_micro.c and block_twins.c. */
#ifndef LAM_LOCAL_BLOCK_INTERNAL_H
#define LAM_LOCAL_BLOCK_INTERNAL_H

#include "local/block.h"

/* Names of the borders in a block's graphs. */
#define LAM_BLOCK_INPUT           "h_in"
#define LAM_BLOCK_OUTPUT          "h_out"
#define LAM_BLOCK_INPUT_GRADIENT  "dh_in"
#define LAM_BLOCK_OUTPUT_GRADIENT "dh_out"

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

/* Binds input and fields of the batch, and what the block gives out. */
void lam_block_bind(struct lam_block *block, enum lam_block_program which, const struct lam_batch *batch,
                    void *output);

#endif
