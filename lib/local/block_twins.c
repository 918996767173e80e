/* EMA twins: parameters of a block's auxiliary network that follow the next block's. Both sides go through the twins in the order
 * in which the block declared them, so that a packed version needs no names. */
#include "local/block_internal.h"

#include <stdio.h>
#include <string.h>

const char *lam_block_twin_of(const struct lam_block *block, int index) {
    const struct lam_param *param = lam_params_get(block->params, index);
    char prefix[32];
    int length = snprintf(prefix, sizeof prefix, LAM_AUX_SCOPE "%d." LAM_AUX_TWIN ".", block->options.number);
    return param->frozen && !strncmp(param->name, prefix, (size_t)length) ? param->name + length : NULL;
}

int64_t lam_block_twin_count(const struct lam_block *block) {
    int64_t count = 0;
    for (int i = 0; i < lam_params_size(block->params); i++)
        if (lam_block_twin_of(block, i)) count += lam_params_get(block->params, i)->count;
    return count;
}

lam_status lam_block_pack(const struct lam_block *next, const struct lam_block *block, float *packed) {
    const struct lam_backend *backend = lam_device_backend(next->device);
    struct lam_stream *stream = lam_device_stream(next->device);
    for (int i = 0; i < lam_params_size(block->params); i++) {
        const char *name = lam_block_twin_of(block, i);
        if (!name) continue;
        int64_t count = lam_params_get(block->params, i)->count;
        int source = lam_params_find(next->params, name);
        if (source < 0 || lam_params_get(next->params, source)->count != count)
            return lam_fail(LAM_ERR_INTERNAL, "%s has no '%s' for %s", next->name, name, block->name);
        const float *from = lam_params_values(next->params) + lam_params_get(next->params, source)->offset;
        LAM_TRY(backend->copy(stream, packed, from, (size_t)count * sizeof *packed));
        packed += count;
    }
    return backend->stream_sync(stream);
}

struct follow {
    struct lam_block *block;
    const float *packed;
    float momentum;
};

static void follow_on_lane(void *context, int lane) {
    const struct follow *f = context;
    const struct lam_params *params = f->block->params;
    const struct lam_backend *backend = lam_device_backend(f->block->device);
    const float *from = f->packed;
    for (int i = 0; lane == 0 && i < lam_params_size(params); i++) {
        if (!lam_block_twin_of(f->block, i)) continue;
        const struct lam_param *param = lam_params_get(params, i);
        backend->ema(lam_params_buffers(params) + param->offset, from, f->momentum, 0, param->count,
                     lam_device_stream(f->block->device));
        from += param->count;
    }
}

lam_status lam_block_follow(struct lam_block *block, const float *packed, float momentum) {
    struct follow follow = {block, packed, momentum};
    const struct lam_backend *backend = lam_device_backend(block->device);
    backend->run_lanes(lam_device_handle(block->device), follow_on_lane, &follow);
    return backend->stream_sync(lam_device_stream(block->device));
}
