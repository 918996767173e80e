/* A block as a part of an end-to-end pipeline: forward and backward apart, micro-batch by micro-batch. */
#include "local/block_internal.h"

#include <math.h>

size_t lam_block_micro_stride(const struct lam_block *block) {
    size_t most = 0;
    for (int i = 0; i < LAM_BLOCK_EVAL; i++)
        if (block->programs[i] && lam_program_activation_bytes(block->programs[i]) > most)
            most = lam_program_activation_bytes(block->programs[i]);
    return (most + 63) / 64 * 64;
}

static enum lam_block_program program_for(const struct lam_block *block, int samples) {
    return samples == block->options.batch / block->options.micro_batches ? LAM_BLOCK_TRAIN : LAM_BLOCK_TAIL;
}

/* Binds everything and puts the micro-batch's own activations under the program. */
static lam_status set(struct lam_block *block, const struct lam_block_micro *micro,
                      struct lam_program **program) {
    enum lam_block_program which = program_for(block, micro->batch->count);
    struct lam_program *p = *program = block->programs[which];
    if (!p)
        return lam_fail(LAM_ERR_INTERNAL, "%s: no program for a micro-batch of %d", block->name,
                        micro->batch->count);
    lam_program_attach(p, block->activations + lam_block_micro_stride(block) * (size_t)micro->place,
                       block->workspace);
    lam_block_bind(block, which, micro->batch, micro->output);
    for (int part = 0; part < LAM_BORDER_PARTS; part++) {
        int dy = lam_program_input(p, lam_part_names[part].out_gradient),
            dx = lam_program_output(p, lam_part_names[part].in_gradient), place = lam_border_place(part);
        if (dy >= 0)
            lam_program_bind_input(p, dy, micro->output_gradient ? micro->output_gradient[place] : NULL);
        if (dx >= 0)
            lam_program_bind_output(p, dx, micro->input_gradient ? micro->input_gradient[place] : NULL);
    }
    return LAM_OK;
}

static lam_status run_part(struct lam_program *program, enum lam_program_part part,
                           const struct lam_block_micro *micro) {
    const struct lam_run run = {.seed = micro->seed, .step = micro->step, .first = (uint64_t)micro->first};
    return lam_program_run_part(program, part, &run);
}

lam_status lam_block_micro_forward(struct lam_block *block, const struct lam_block_micro *micro,
                                   float *loss) {
    struct lam_program *program;
    *loss = 0;
    LAM_TRY(set(block, micro, &program));
    LAM_TRY(run_part(program, LAM_PROGRAM_FORWARD, micro));
    block->last = program;
    if (!lam_block_is_last(block)) return LAM_OK;
    LAM_TRY(lam_program_read(program, "loss", loss, sizeof *loss));
    if (isfinite(*loss)) return LAM_OK;
    return lam_fail(LAM_ERR_NOT_FINITE, "%s: the loss is %g", block->name, (double)*loss);
}

struct sum {
    const struct lam_block *block;
    float weight;
    bool first;
};

static void accumulate(void *context, int lane) {
    const struct sum *sum = context;
    const struct lam_block *block = sum->block;
    int lanes = lam_device_lanes(block->device);
    int64_t count = lam_params_count(block->params), begin = count * lane / lanes,
            end = count * (lane + 1) / lanes;
    lam_device_backend(block->device)
        ->accumulate(block->accumulated, lam_params_gradients(block->params), sum->weight, sum->first, begin,
                     end, lam_device_stream(block->device));
}

lam_status lam_block_micro_backward(struct lam_block *block, const struct lam_block_micro *micro,
                                    float weight, bool first) {
    struct lam_program *program;
    LAM_TRY(set(block, micro, &program));
    LAM_TRY(run_part(program, LAM_PROGRAM_BACKWARD, micro));
    struct sum sum = {block, weight, first};
    lam_device_backend(block->device)->run_lanes(lam_device_handle(block->device), accumulate, &sum);
    return lam_device_backend(block->device)->stream_sync(lam_device_stream(block->device));
}

lam_status lam_block_micro_update(struct lam_block *block, float learning_rate, uint64_t step) {
    const struct lam_backend *backend = lam_device_backend(block->device);
    size_t bytes = (size_t)lam_params_count(block->params) * sizeof(float);
    LAM_TRY(backend->copy(lam_device_stream(block->device), lam_params_gradients(block->params),
                          block->accumulated, bytes));
    lam_status status = lam_optimizer_step(block->optimizer, learning_rate, step);
    return status == LAM_OK ? LAM_OK : lam_fail_in(status, block->name);
}
