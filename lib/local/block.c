/* A block's graphs, programs, memory and step. */
#include "local/block_internal.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

bool lam_block_is_last(const struct lam_block *block) {
    return block->options.last == block->options.network->units - 1;
}

/* ---- building ---- */

static struct lam_shape with_batch(struct lam_shape sample, int batch) {
    struct lam_shape shape = {.rank = sample.rank + 1, .dim = {batch}};
    memcpy(shape.dim + 1, sample.dim, (size_t)sample.rank * sizeof *shape.dim);
    return shape;
}

/* Field 0, or what the block before gives out, and in training the other fields. */
static lam_status declare_inputs(const struct lam_block *block, struct lam_graph *graph, lam_value *inputs,
                                 lam_value *x) {
    const struct lam_network *network = block->options.network;
    const struct lam_border *in = &block->options.in;
    int batch = (int)lam_graph_batch(graph), fields = lam_graph_training(graph) ? network->field_count : 1;
    bool first = block->options.first == 0;
    for (int f = 0; f < LAM_MAX_FIELDS; f++) inputs[f] = LAM_NO_VALUE;
    if (!first)
        *x = lam_graph_border_input(graph, LAM_BLOCK_INPUT, in->dtype, with_batch(in->shape, batch), false);
    for (int f = first ? 0 : 1; f < fields; f++) {
        const struct lam_field *field = &network->fields[f];
        if (field->shape.rank >= LAM_MAX_RANK)
            return lam_fail(LAM_ERR_INTERNAL, "field '%s' has too many dimensions", field->name);
        inputs[f] = lam_graph_input(graph, field->name, field->dtype, with_batch(field->shape, batch));
    }
    if (first) *x = inputs[0];
    return LAM_OK;
}

static lam_value build_auxiliary(const struct lam_block *block, struct lam_graph *graph, lam_value h,
                                 const lam_value *inputs) {
    const struct lam_block_options *options = &block->options;
    struct lam_aux_site site = {.network = options->network,
                                .next_unit = options->last + 1,
                                .next_last = options->next_last,
                                .options = options->aux_options};
    lam_graph_push_scope(graph, LAM_AUX_SCOPE "%d", options->number);
    lam_value loss = options->aux->build(&site, graph, h, inputs);
    lam_graph_pop_scope(graph);
    return loss;
}

/* What stands behind the block's units: the task's output, or the border and the auxiliary network. */
static lam_value build_end(struct lam_block *block, struct lam_graph *graph, lam_value x,
                           const lam_value *inputs) {
    const struct lam_network *network = block->options.network;
    if (lam_block_is_last(block)) return network->build_output(network->task, graph, x, inputs);
    lam_graph_border_output(graph, LAM_BLOCK_OUTPUT, x, false);
    struct lam_shape shape = lam_value_shape(graph, x);
    block->border = (struct lam_border){.dtype = lam_value_dtype(graph, x), .shape.rank = shape.rank - 1};
    memcpy(block->border.shape.dim, shape.dim + 1, (size_t)block->border.shape.rank * sizeof *shape.dim);
    if (!lam_graph_training(graph) || block->options.micro_batches) return LAM_NO_VALUE;
    return build_auxiliary(block, graph, x, inputs);
}

/* A part of an end-to-end pipeline: the gradient of what it gives out comes in, that of its input goes out. */
static lam_status build_micro_end(struct lam_block *block, struct lam_graph *graph, lam_value x, lam_value in,
                                  const lam_value *inputs) {
    lam_value dx, end = build_end(block, graph, x, inputs);
    if (lam_block_is_last(block)) {
        dx = lam_graph_backward_to(graph, end, in);
    } else {
        lam_value dy = lam_graph_border_input(graph, LAM_BLOCK_OUTPUT_GRADIENT, lam_value_dtype(graph, x),
                                              lam_value_shape(graph, x), false);
        dx = lam_graph_backward_from(graph, x, dy, in);
    }
    if (in != LAM_NO_VALUE) lam_graph_border_output(graph, LAM_BLOCK_INPUT_GRADIENT, dx, false);
    return lam_graph_status(graph);
}

/* Samples that a program takes at a time. */
static int program_batch(const struct lam_block *block, enum lam_block_program which) {
    const struct lam_block_options *o = &block->options;
    if (which == LAM_BLOCK_EVAL || !o->micro_batches) return which == LAM_BLOCK_TAIL ? o->tail : o->batch;
    int micro = o->batch / o->micro_batches;
    return which == LAM_BLOCK_TAIL ? o->tail % micro : micro;
}

static lam_status build(struct lam_block *block, enum lam_block_program which) {
    const struct lam_network *network = block->options.network;
    bool training = which != LAM_BLOCK_EVAL;
    struct lam_graph *graph;
    LAM_TRY(lam_graph_create(block->params, program_batch(block, which), block->options.precision, training,
                             &graph));
    block->graphs[which] = graph;
    lam_value inputs[LAM_MAX_FIELDS], x = LAM_NO_VALUE;
    LAM_TRY(declare_inputs(block, graph, inputs, &x));
    lam_value border = block->options.first > 0 ? x : LAM_NO_VALUE;
    if (training && block->options.micro_batches) lam_graph_want_gradient(graph, border);
    for (int unit = block->options.first; unit <= block->options.last; unit++) {
        lam_graph_tag(graph, unit);
        x = network->build_unit(network->context, graph, unit, x);
    }
    lam_graph_tag(graph, network->units); /* what stands behind the units */
    if (!training) block->own_flops = lam_graph_forward_flops(graph);
    if (training && block->options.micro_batches) return build_micro_end(block, graph, x, border, inputs);
    lam_value loss = build_end(block, graph, x, inputs);
    return training ? lam_graph_backward(graph, loss) : lam_graph_status(graph);
}

static lam_status build_and_compile(struct lam_block *block, enum lam_block_program which) {
    LAM_TRY(build(block, which));
    bool split = which != LAM_BLOCK_EVAL && block->options.micro_batches > 0;
    struct lam_program_options options = {.tuning = block->options.tuning, .split = split};
    return lam_program_compile(block->graphs[which], block->device, &options, &block->programs[which]);
}

static void name_block(struct lam_block *block) {
    const struct lam_network *network = block->options.network;
    char first[48], last[48];
    snprintf(block->name, sizeof block->name, "block %d (%s..%s)", block->options.number,
             network->unit_name(network->context, block->options.first, first, sizeof first),
             network->unit_name(network->context, block->options.last, last, sizeof last));
}

static lam_status create(struct lam_block *b) {
    const struct lam_block_options *options = &b->options;
    if (options->micro_batches && options->batch % options->micro_batches != 0)
        return lam_fail(LAM_ERR_INVALID, "%d micro-batches do not divide a batch of %d",
                        options->micro_batches, options->batch);
    if (!options->evaluation_only && !lam_block_is_last(b) && !options->aux && !options->micro_batches)
        return lam_fail(LAM_ERR_INTERNAL, "%s: has neither the network's end nor an auxiliary network",
                        b->name);
    LAM_TRY(lam_params_create(&b->params));
    if (!options->evaluation_only) LAM_TRY(build_and_compile(b, LAM_BLOCK_TRAIN));
    if (!options->evaluation_only && options->tail && program_batch(b, LAM_BLOCK_TAIL) > 0)
        LAM_TRY(build_and_compile(b, LAM_BLOCK_TAIL));
    return build_and_compile(b, LAM_BLOCK_EVAL);
}

lam_status lam_block_create(const struct lam_block_options *options, struct lam_device *device,
                            struct lam_block **block) {
    struct lam_block *b = calloc(1, sizeof *b);
    if (!b) return lam_no_memory();
    b->options = *options;
    b->device = device;
    if (b->options.number < 1) b->options.number = 1;
    name_block(b);
    lam_status status = create(b);
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
    if (block->accumulated) lam_device_free(block->device, block->accumulated);
    lam_optimizer_destroy(block->optimizer);
    lam_params_destroy(block->params);
    free(block);
}

/* ---- memory ---- */

static size_t most_activations(const struct lam_block *block) {
    size_t most = 0;
    for (int i = 0; i < LAM_BLOCK_PROGRAMS; i++) {
        if (!block->programs[i]) continue;
        size_t bytes = lam_program_activation_bytes(block->programs[i]);
        if (i != LAM_BLOCK_EVAL && block->options.micro_batches)
            bytes = lam_block_micro_stride(block) * (size_t)block->options.in_flight;
        if (bytes > most) most = bytes;
    }
    return most;
}

/* Where the workspace of a program that keeps little starts within a buffer of `activations` bytes, which is as
 * large as the program that keeps the most needs it: evaluation, beside training. False: it needs a place of its
 * own. */
static bool workspace_within(const struct lam_block *block, int which, size_t activations, size_t *offset) {
    const struct lam_program *program = block->programs[which];
    if (block->options.micro_batches && which != LAM_BLOCK_EVAL)
        return false; /* other micro-batches lie there */
    *offset = (lam_program_activation_bytes(program) + 63) / 64 * 64;
    return *offset + lam_program_workspace_bytes(program) <= activations;
}

static size_t most_workspace(const struct lam_block *block) {
    size_t most = 0, activations = most_activations(block), offset;
    for (int i = 0; i < LAM_BLOCK_PROGRAMS; i++)
        if (block->programs[i] && !workspace_within(block, i, activations, &offset) &&
            lam_program_workspace_bytes(block->programs[i]) > most)
            most = lam_program_workspace_bytes(block->programs[i]);
    return most;
}

struct lam_block_memory lam_block_memory(const struct lam_block *block) {
    size_t trained = (size_t)lam_params_count(block->params) * sizeof(float);
    size_t buffers = (size_t)lam_params_buffer_count(block->params) * sizeof(float);
    struct lam_block_memory memory = {{0}};
    memory.bytes[LAM_MEMORY_PARAMETERS] = trained + buffers;
    memory.bytes[LAM_MEMORY_GRADIENTS] = trained * (block->options.micro_batches ? 2 : 1);
    if (!block->options.evaluation_only)
        memory.bytes[LAM_MEMORY_OPTIMIZER] = lam_optimizer_bytes(&block->options.optimizer, block->params);
    memory.bytes[LAM_MEMORY_ACTIVATIONS] = most_activations(block);
    memory.bytes[LAM_MEMORY_WORKSPACE] = most_workspace(block);
    return memory;
}

lam_status lam_block_allocate(struct lam_block *block) {
    LAM_TRY(lam_params_allocate(block->params, block->device));
    if (block->options.evaluation_only) return LAM_OK;
    if (block->options.micro_batches)
        LAM_TRY(lam_device_alloc(block->device, LAM_MEMORY_GRADIENTS,
                                 (size_t)lam_params_count(block->params) * sizeof(float),
                                 (void **)&block->accumulated));
    return lam_optimizer_create(&block->options.optimizer, block->params, block->device, &block->optimizer);
}

void lam_block_attach(struct lam_block *block, void *activations, size_t activation_bytes, void *workspace) {
    block->activations = activations;
    block->workspace = workspace;
    for (int i = 0; i < LAM_BLOCK_PROGRAMS; i++) {
        size_t offset;
        if (!block->programs[i]) continue;
        bool within = activations && workspace_within(block, i, activation_bytes, &offset);
        lam_program_attach(block->programs[i], activations,
                           within ? (char *)activations + offset : workspace);
    }
}

/* ---- borders ---- */

struct lam_border lam_block_border(const struct lam_block *block) {
    return block->border;
}

/* The evaluation program's: there always is one, and all have the same layout. */
static struct lam_tensor_desc output_desc(const struct lam_block *block) {
    const struct lam_program *program = block->programs[LAM_BLOCK_EVAL];
    return lam_program_output_desc(program, lam_program_output(program, LAM_BLOCK_OUTPUT));
}

size_t lam_block_output_bytes(const struct lam_block *block) {
    if (lam_block_is_last(block)) return 0;
    struct lam_tensor_desc desc = output_desc(block);
    return lam_tensor_bytes(&desc);
}

lam_status lam_block_check_border(const struct lam_block *block, const struct lam_block *next) {
    const struct lam_program *program = next->programs[LAM_BLOCK_EVAL];
    struct lam_tensor_desc from = output_desc(block);
    struct lam_tensor_desc to = lam_program_input_desc(program, lam_program_input(program, LAM_BLOCK_INPUT));
    if (from.dtype == to.dtype && from.layout == to.layout && lam_shape_equal(from.shape, to.shape))
        return LAM_OK;
    return lam_fail(LAM_ERR_INTERNAL, "%s does not read what %s writes", next->name, block->name);
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
    if (!host) return lam_no_memory();
    lam_status status = lam_device_download(block->device, host, values, (size_t)count * sizeof *host);
    *finite = status != LAM_OK || all_finite(host, count);
    free(host);
    return status;
}

/* An input that is not finite: field 0 of the first block, or what the block before gave. */
static lam_status blame_input(const struct lam_block *block, const struct lam_batch *batch, float loss) {
    const struct lam_field *input = &block->options.network->fields[0];
    int64_t sample = lam_shape_count(input->shape);
    if (block->options.first > 0 || input->dtype != LAM_F32) return LAM_OK;
    for (int row = 0; row < batch->count; row++) {
        bool finite;
        LAM_TRY(check_finite(block, (const float *)batch->data[0] + row * sample, sample, &finite));
        if (!finite)
            return lam_fail(LAM_ERR_NOT_FINITE, "the loss is %g; input '%s' of sample %lld is not finite",
                            (double)loss, input->name, (long long)batch->indices[row]);
    }
    return LAM_OK;
}

/* Looks where a loss that is not finite came from: the input, a weight or statistic, or a gradient. */
static lam_status blame(const struct lam_block *block, const struct lam_batch *batch, float loss) {
    LAM_TRY(blame_input(block, batch, loss));
    for (int pass = 0; pass < 2; pass++)
        for (int i = 0; i < lam_params_size(block->params); i++) {
            const struct lam_param *param = lam_params_get(block->params, i);
            bool finite;
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

void lam_block_bind(struct lam_block *block, enum lam_block_program which, const struct lam_batch *batch,
                    void *output) {
    struct lam_program *program = block->programs[which];
    const struct lam_network *network = block->options.network;
    for (int f = 0; f < network->field_count; f++) {
        bool border = f == 0 && block->options.first > 0;
        int input = lam_program_input(program, border ? LAM_BLOCK_INPUT : network->fields[f].name);
        if (input >= 0) lam_program_bind_input(program, input, batch->data[f]);
    }
    if (!lam_block_is_last(block))
        lam_program_bind_output(program, lam_program_output(program, LAM_BLOCK_OUTPUT), output);
}

static lam_status run(struct lam_block *block, enum lam_block_program which, const struct lam_batch *batch,
                      void *output, uint64_t seed, uint64_t step) {
    lam_block_bind(block, which, batch, output);
    return lam_program_run(block->programs[which], seed, step);
}

lam_status lam_block_train(struct lam_block *block, const struct lam_block_step *step, float *loss) {
    const struct lam_batch *batch = step->batch;
    enum lam_block_program which = batch->count == block->options.batch ? LAM_BLOCK_TRAIN : LAM_BLOCK_TAIL;
    if (!block->optimizer || (which == LAM_BLOCK_TAIL && batch->count != block->options.tail))
        return lam_fail(LAM_ERR_INTERNAL, "%s: no program for a batch of %d", block->name, batch->count);
    LAM_TRY(run(block, which, batch, step->output, step->seed, step->step));
    block->last = block->programs[which];
    LAM_TRY(lam_program_read(block->last, "loss", loss, sizeof *loss));
    lam_status status = isfinite(*loss)
                            ? lam_optimizer_step(block->optimizer, step->learning_rate, step->step)
                            : blame(block, batch, *loss);
    return status == LAM_OK ? LAM_OK : lam_fail_in(status, block->name);
}

void lam_block_on_output(struct lam_block *block, lam_program_done done, void *context) {
    for (int i = 0; i < LAM_BLOCK_EVAL; i++)
        if (block->programs[i] && !lam_block_is_last(block))
            lam_program_on_output(block->programs[i],
                                  lam_program_output(block->programs[i], LAM_BLOCK_OUTPUT), done, context);
}

lam_status lam_block_evaluate(struct lam_block *block, const struct lam_batch *batch, void *output) {
    return run(block, LAM_BLOCK_EVAL, batch, output, 0, 0);
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

const struct lam_block_options *lam_block_options(const struct lam_block *block) {
    return &block->options;
}

double lam_block_forward_flops(const struct lam_block *block) {
    return block->own_flops;
}

double lam_block_training_flops(const struct lam_block *block) {
    const struct lam_graph *graph = block->graphs[LAM_BLOCK_TRAIN];
    return graph ? lam_graph_forward_flops(graph) + lam_graph_backward_flops(graph) : 0;
}

char *lam_block_text(const struct lam_block *block) {
    const struct lam_graph *graph = block->graphs[LAM_BLOCK_TRAIN];
    return lam_graph_text(graph ? graph : block->graphs[LAM_BLOCK_EVAL]);
}

lam_status lam_block_count_flops(const struct lam_block_options *options, struct lam_block_flops *flops,
                                 struct lam_border *border) {
    struct lam_block block = {.options = *options};
    LAM_TRY(lam_params_create(&block.params));
    lam_status status = build(&block, LAM_BLOCK_EVAL);
    if (status == LAM_OK && (lam_block_is_last(&block) || options->aux))
        status = build(&block, LAM_BLOCK_TRAIN);
    const struct lam_graph *training = block.graphs[LAM_BLOCK_TRAIN];
    if (status == LAM_OK)
        *flops = (struct lam_block_flops){
            .units = 3 * block.own_flops,
            .aux = training ? lam_graph_tag_flops(training, options->network->units) : 0};
    *border = block.border;
    for (int i = 0; i < LAM_BLOCK_PROGRAMS; i++) lam_graph_destroy(block.graphs[i]);
    lam_params_destroy(block.params);
    return status;
}
