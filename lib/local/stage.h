/* A stage: one device with the blocks that live on it, next to each other in the network. Its blocks take turns, so they
 * share one activation buffer and one workspace: a device that runs many blocks needs no more than its hungriest one.
 *
 *     struct lam_stage stage = {.device = device, .blocks = blocks + 2, .count = 2};
 *     struct lam_block_memory need = lam_stage_memory(&stage);       // before anything is allocated
 *     LAM_TRY(lam_stage_allocate(&stage));
 *     ...
 *     lam_stage_free(&stage);                                        // before its blocks are destroyed
 */
#ifndef LAM_LOCAL_STAGE_H
#define LAM_LOCAL_STAGE_H

#include "local/block.h"

struct lam_stage {
    struct lam_device *device;
    struct lam_block **blocks; /* not owned */
    int count;
    void *activations, *workspace; /* allocate's */
};

/* Slots that its blocks need to hand their outputs to each other: each reads one and writes the other. */
static inline int lam_stage_turns(int blocks) {
    return blocks < 3 ? blocks - 1 : 2;
}

/* By kind, of all its blocks together. */
struct lam_block_memory lam_stage_memory(const struct lam_stage *stage);
/* One block more on the device: what is shared grows to the largest, all else adds up. */
void lam_stage_add_memory(struct lam_block_memory *sum, const struct lam_block_memory *block);
/* Parameters, optimizers and buffers of all its blocks. */
lam_status lam_stage_allocate(struct lam_stage *stage);
void lam_stage_free(struct lam_stage *stage);

#endif
