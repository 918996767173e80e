/* Blocks on one device, and the buffers that they share. */
#include "local/stage.h"

void lam_stage_add_memory(struct lam_block_memory *sum, const struct lam_block_memory *block) {
    for (int kind = 0; kind < LAM_MEMORY_KINDS; kind++) {
        bool shared = kind == LAM_MEMORY_ACTIVATIONS || kind == LAM_MEMORY_WORKSPACE;
        if (!shared)
            sum->bytes[kind] += block->bytes[kind];
        else if (block->bytes[kind] > sum->bytes[kind])
            sum->bytes[kind] = block->bytes[kind];
    }
}

struct lam_block_memory lam_stage_memory(const struct lam_stage *stage) {
    struct lam_block_memory sum = {{0}};
    for (int i = 0; i < stage->count; i++) {
        struct lam_block_memory block = lam_block_memory(stage->blocks[i]);
        lam_stage_add_memory(&sum, &block);
    }
    return sum;
}

lam_status lam_stage_allocate(struct lam_stage *stage) {
    struct lam_block_memory need = lam_stage_memory(stage);
    size_t activations = need.bytes[LAM_MEMORY_ACTIVATIONS];
    for (int i = 0; i < stage->count; i++) LAM_TRY(lam_block_allocate(stage->blocks[i]));
    LAM_TRY(lam_device_alloc(stage->device, LAM_MEMORY_ACTIVATIONS, activations, &stage->activations));
    LAM_TRY(lam_device_alloc(stage->device, LAM_MEMORY_WORKSPACE, need.bytes[LAM_MEMORY_WORKSPACE],
                             &stage->workspace));
    for (int i = 0; i < stage->count; i++)
        lam_block_attach(stage->blocks[i], stage->activations, activations, stage->workspace);
    return LAM_OK;
}

void lam_stage_free(struct lam_stage *stage) {
    if (stage->device) {
        lam_device_free(stage->device, stage->activations);
        lam_device_free(stage->device, stage->workspace);
    }
    stage->activations = stage->workspace = NULL;
}
