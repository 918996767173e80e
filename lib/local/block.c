/* A block's graphs, programs, memory and step. */
#include "local/block.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct lam_block {
    struct lam_block_options options;
    struct lam_device *device;
    struct lam_params *params;
    struct lam_optimizer *optimizer;
    struct lam_graph *graphs[LAM_BLOCK_PROGRAMS];
    struct lam_program *programs[LAM_BLOCK_PROGRAMS], *last;
    void *activations, *workspace;
    char name[128];
};

static lam_status no_memory(void) {
    return lam_fail(LAM_ERR_NO_MEMORY, "out of memory");
}

/* ---- building ---- */

static lam_status build(struct lam_block *block, enum lam_block_program which) {
    const struct lam_network *network = block->options.network;
    bool training = which != LAM_BLOCK_EVAL;
    int batch = which == LAM_BLOCK_TAIL ? block->options.tail : block->options.batch;
    struct lam_graph *graph;
    LAM_TRY(lam_graph_create(block->params, batch, block->options.precision, training, &graph));
    block->graphs[which] = graph;
    lam_value inputs[LAM_MAX_FIELDS];
    for (int f = 0; f < (training ? network->field_count : 1); f++) {
        const struct lam_field *field = &network->fields[f];
        if (field->shape.rank >= LAM_MAX_RANK)
            return lam_fail(LAM_ERR_INTERNAL, "field '%s' has too many dimensions", field->name);
        struct lam_shape shape = {.rank = field->shape.rank + 1, .dim = {batch}};
        memcpy(shape.dim + 1, field->shape.dim, (size_t)field->shape.rank * sizeof *shape.dim);
        inputs[f] = lam_graph_input(graph, field->name, field->dtype, shape);
    }
    lam_value x = inputs[0];
    for (int unit = block->options.first; unit <= block->options.last; unit++)
        x = network->build_unit(network->context, graph, unit, x);
    lam_value loss = network->build_output(network->context, graph, x, inputs);
    return training ? lam_graph_backward(graph, loss) : lam_graph_status(graph);
}

static lam_status build_and_compile(struct lam_block *block, enum lam_block_program which) {
    LAM_TRY(build(block, which));
    struct lam_program_options options = {.tuning = block->options.tuning};
    return lam_program_compile(block->graphs[which], block->device, &options, &block->programs[which]);
}

lam_status lam_block_create(const struct lam_block_options *options, struct lam_device *device,
                            struct lam_block **block) {
    struct lam_block *b = calloc(1, sizeof *b);
    if (!b) return no_memory();
    b->options = *options;
    b->device = device;
    char first[48], last[48];
    const struct lam_network *network = options->network;
    snprintf(b->name, sizeof b->name, "block %s..%s",
             network->unit_name(network->context, options->first, first, sizeof first),
             network->unit_name(network->context, options->last, last, sizeof last));
    lam_status status = lam_params_create(&b->params);
    if (status == LAM_OK && !options->evaluation_only) status = build_and_compile(b, LAM_BLOCK_TRAIN);
    if (status == LAM_OK && !options->evaluation_only && options->tail)
        status = build_and_compile(b, LAM_BLOCK_TAIL);
    if (status == LAM_OK) status = build_and_compile(b, LAM_BLOCK_EVAL);
    if (status != LAM_OK) {
        lam_block_destroy(b);
        return status;
    }
    *block = b;
    return LAM_OK;
}

void lam_block_destroy(struct lam_block *block) {
    if (!block) return;
    for (int i = 0; i < LAM_BLOCK_PROGRAMS; i++) lam_program_destroy(block->programs[i]);
    for (int i = 0; i < LAM_BLOCK_PROGRAMS; i++) lam_graph_destroy(block->graphs[i]);
    lam_optimizer_destroy(block->optimizer);
    lam_params_destroy(block->params);
    lam_device_free(block->device, block->activations);
    lam_device_free(block->device, block->workspace);
    free(block);
}

/* ---- memory ---- */

static size_t most_activations(const struct lam_block *block) {
    size_t most = 0;
    for (int i = 0; i < LAM_BLOCK_PROGRAMS; i++)
        if (block->programs[i] && lam_program_activation_bytes(block->programs[i]) > most)
            most = lam_program_activation_bytes(block->programs[i]);
    return most;
}

/* Where the workspace of a program that keeps little starts within the block's activations, which are then as
 * large as the program that keeps the most needs them: evaluation, beside training. 0: it needs a place of
 * its own. */
static size_t workspace_within(const struct lam_program *program, size_t activations) {
    size_t own = (lam_program_activation_bytes(program) + 63) / 64 * 64;
    return own > 0 && own + lam_program_workspace_bytes(program) <= activations ? own : 0;
}

static size_t most_workspace(const struct lam_block *block) {
    size_t most = 0, activations = most_activations(block);
    for (int i = 0; i < LAM_BLOCK_PROGRAMS; i++)
        if (block->programs[i] && !workspace_within(block->programs[i], activations) &&
            lam_program_workspace_bytes(block->programs[i]) > most)
            most = lam_program_workspace_bytes(block->programs[i]);
    return most;
}

struct lam_block_memory lam_block_memory(const struct lam_block *block) {
    size_t trained = (size_t)lam_params_count(block->params) * sizeof(float);
    size_t buffers = (size_t)lam_params_buffer_count(block->params) * sizeof(float);
    struct lam_block_memory memory = {{0}};
    memory.bytes[LAM_MEMORY_PARAMETERS] = trained + buffers;
    memory.bytes[LAM_MEMORY_GRADIENTS] = trained;
    if (!block->options.evaluation_only)
        memory.bytes[LAM_MEMORY_OPTIMIZER] = lam_optimizer_bytes(&block->options.optimizer, block->params);
    memory.bytes[LAM_MEMORY_ACTIVATIONS] = most_activations(block);
    memory.bytes[LAM_MEMORY_WORKSPACE] = most_workspace(block);
    return memory;
}

lam_status lam_block_allocate(struct lam_block *block) {
    struct lam_block_memory need = lam_block_memory(block);
    LAM_TRY(lam_params_allocate(block->params, block->device));
    if (!block->options.evaluation_only)
        LAM_TRY(
            lam_optimizer_create(&block->options.optimizer, block->params, block->device, &block->optimizer));
    LAM_TRY(lam_device_alloc(block->device, LAM_MEMORY_ACTIVATIONS, need.bytes[LAM_MEMORY_ACTIVATIONS],
                             &block->activations));
    LAM_TRY(lam_device_alloc(block->device, LAM_MEMORY_WORKSPACE, need.bytes[LAM_MEMORY_WORKSPACE],
                             &block->workspace));
    for (int i = 0; i < LAM_BLOCK_PROGRAMS; i++) {
        if (!block->programs[i]) continue;
        size_t within = workspace_within(block->programs[i], need.bytes[LAM_MEMORY_ACTIVATIONS]);
        lam_program_attach(block->programs[i], block->activations,
                           within ? (char *)block->activations + within : block->workspace);
    }
    return LAM_OK;
}

/* ---- a value that is not finite ---- */

static bool all_finite(const float *values, int64_t count) {
    for (int64_t i = 0; i < count; i++)
        if (!isfinite(values[i])) return false;
    return true;
}

/* Whether `count` floats on the device are finite. */
static lam_status check_finite(const struct lam_block *block, const float *values, int64_t count,
                               bool *finite) {
    float *host = malloc((size_t)count * sizeof *host + 1);
    if (!host) return no_memory();
    lam_status status = lam_device_download(block->device, host, values, (size_t)count * sizeof *host);
    *finite = status != LAM_OK || all_finite(host, count);
    free(host);
    return status;
}

/* Looks where a loss that is not finite came from: the input, a weight or statistic, or a gradient. */
static lam_status blame(const struct lam_block *block, const struct lam_batch *batch, float loss) {
    const struct lam_field *input = &block->options.network->fields[0];
    int64_t sample = lam_shape_count(input->shape);
    bool finite;
    for (int row = 0; row < batch->count && input->dtype == LAM_F32; row++) {
        LAM_TRY(check_finite(block, (const float *)batch->data[0] + row * sample, sample, &finite));
        if (!finite)
            return lam_fail(LAM_ERR_NOT_FINITE, "the loss is %g; input '%s' of sample %lld is not finite",
                            (double)loss, input->name, (long long)batch->indices[row]);
    }
    for (int pass = 0; pass < 2; pass++)
        for (int i = 0; i < lam_params_size(block->params); i++) {
            const struct lam_param *param = lam_params_get(block->params, i);
            if (pass == 1 && param->buffer) continue;
            const float *values = pass == 1       ? lam_params_gradients(block->params)
                                  : param->buffer ? lam_params_buffers(block->params)
                                                  : lam_params_values(block->params);
            LAM_TRY(check_finite(block, values + param->offset, param->count, &finite));
            if (!finite)
                return lam_fail(LAM_ERR_NOT_FINITE, "the loss is %g; %s '%s' is not finite", (double)loss,
                                pass == 0 ? "tensor" : "the gradient of", param->name);
        }
    return lam_fail(LAM_ERR_NOT_FINITE, "the loss is %g, though weights and gradients are finite",
                    (double)loss);
}

/* ---- steps ---- */

static lam_status run(struct lam_block *block, enum lam_block_program which, const struct lam_batch *batch,
                      uint64_t seed, uint64_t step) {
    struct lam_program *program = block->programs[which];
    for (int f = 0; f < block->options.network->field_count; f++) {
        int input = lam_program_input(program, block->options.network->fields[f].name);
        if (input >= 0) lam_program_bind_input(program, input, batch->data[f]);
    }
    return lam_program_run(program, seed, step);
}

lam_status lam_block_train(struct lam_block *block, const struct lam_batch *batch, float learning_rate,
                           uint64_t seed, uint64_t step, float *loss) {
    enum lam_block_program which = batch->count == block->options.batch ? LAM_BLOCK_TRAIN : LAM_BLOCK_TAIL;
    if (!block->optimizer || (which == LAM_BLOCK_TAIL && batch->count != block->options.tail))
        return lam_fail(LAM_ERR_INTERNAL, "%s: no program for a batch of %d", block->name, batch->count);
    LAM_TRY(run(block, which, batch, seed, step));
    block->last = block->programs[which];
    LAM_TRY(lam_program_read(block->last, "loss", loss, sizeof *loss));
    lam_status status = isfinite(*loss) ? lam_optimizer_step(block->optimizer, learning_rate, step)
                                        : blame(block, batch, *loss);
    return status == LAM_OK ? LAM_OK : lam_fail_in(status, block->name);
}

lam_status lam_block_evaluate(struct lam_block *block, const struct lam_batch *batch) {
    return run(block, LAM_BLOCK_EVAL, batch, 0, 0);
}

/* ---- look inside ---- */

const char *lam_block_name(const struct lam_block *block) {
    return block->name;
}

struct lam_device *lam_block_device(const struct lam_block *block) {
    return block->device;
}

struct lam_params *lam_block_params(const struct lam_block *block) {
    return block->params;
}

struct lam_optimizer *lam_block_optimizer(const struct lam_block *block) {
    return block->optimizer;
}

struct lam_program *lam_block_program(const struct lam_block *block, enum lam_block_program which) {
    return block->programs[which];
}

struct lam_program *lam_block_last_program(const struct lam_block *block) {
    return block->last;
}

double lam_block_forward_flops(const struct lam_block *block) {
    return lam_graph_forward_flops(block->graphs[LAM_BLOCK_EVAL]);
}

double lam_block_backward_flops(const struct lam_block *block) {
    const struct lam_graph *graph = block->graphs[LAM_BLOCK_TRAIN];
    return graph ? lam_graph_backward_flops(graph) : 0;
}
