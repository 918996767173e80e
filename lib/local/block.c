/* A block's graphs, programs, memory and step. */
#include "local/block_internal.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

const struct lam_part_names lam_part_names[LAM_BORDER_PARTS] = {
    {"h_in", "h_out", "dh_in", "dh_out"},
    {"tap1_in", "tap1_out", "dtap1_in", "dtap1_out"},
    {"tap2_in", "tap2_out", "dtap2_in", "dtap2_out"},
    {"tap3_in", "tap3_out", "dtap3_in", "dtap3_out"},
    {"tap4_in", "tap4_out", "dtap4_in", "dtap4_out"},
};

bool lam_block_is_last(const struct lam_block *block) {
    return block->options.last == block->options.network->units - 1;
}

/* ---- building ---- */

static struct lam_shape with_batch(struct lam_shape sample, int batch) {
    struct lam_shape shape = {.rank = sample.rank + 1, .dim = {batch}};
    memcpy(shape.dim + 1, sample.dim, (size_t)sample.rank * sizeof *shape.dim);
    return shape;
}

/* What flows through a block while it is built. */
struct flow {
    lam_value inputs[LAM_MAX_FIELDS];
    lam_value x, taps[LAM_MAX_TAPS];
    lam_value in[LAM_BORDER_PARTS], out[LAM_BORDER_PARTS]; /* at its borders */
};

static void clear(lam_value *values, int count) {
    for (int i = 0; i < count; i++) values[i] = LAM_NO_VALUE;
}

static lam_status declare_fields(const struct lam_block *block, struct lam_graph *graph, struct flow *flow) {
    const struct lam_network *network = block->options.network;
    int batch = (int)lam_graph_batch(graph), fields = lam_graph_training(graph) ? network->field_count : 1;
    for (int f = block->options.first == 0 ? 0 : 1; f < fields; f++) {
        const struct lam_field *field =
            f > 0 ? &network->fields[f] : lam_network_input(network, lam_graph_training(graph));
        if (field->shape.rank >= LAM_MAX_RANK)
            return lam_fail(LAM_ERR_INTERNAL, "field '%s' has too many dimensions", field->name);
        flow->inputs[f] = lam_graph_input(graph, field->name, field->dtype, with_batch(field->shape, batch));
    }
    return LAM_OK;
}

/* Field 0, or what the block before gives out, and in training the other fields. */
static lam_status declare_inputs(const struct lam_block *block, struct lam_graph *graph, struct flow *flow) {
    clear(flow->inputs, LAM_MAX_FIELDS);
    clear(flow->taps, LAM_MAX_TAPS);
    clear(flow->in, LAM_BORDER_PARTS);
    clear(flow->out, LAM_BORDER_PARTS);
    for (int p = 0; p < LAM_BORDER_PARTS && block->options.first > 0; p++) {
        const struct lam_border_part *part = &block->options.in.part[p];
        if (!part->present) continue;
        struct lam_shape sample = lam_graph_training(graph) ? part->shape : part->eval_shape;
        flow->in[p] =
            lam_graph_border_input(graph, lam_part_names[p].in, part->dtype,
                                   with_batch(sample, (int)lam_graph_batch(graph)), block->options.plain_in);
        if (p > 0) flow->taps[p - 1] = flow->in[p];
    }
    LAM_TRY(declare_fields(block, graph, flow));
    flow->x = block->options.first > 0 ? flow->in[0] : flow->inputs[0];
    const struct lam_network *network = block->options.network;
    if (block->options.first > 0 || lam_value_dtype(graph, flow->x) != LAM_U8) return LAM_OK;
    if (network->augment)
        flow->x = lam_augment(graph, flow->x, network->augment);
    else if (network->normalize)
        flow->x = lam_normalize(graph, flow->x, network->normalize);
    return LAM_OK;
}

static bool has_gradient(const struct lam_network *network, int part) {
    return part == 0 || network->taps[part - 1].from >= 0;
}

static void build_units(const struct lam_block *block, struct lam_graph *graph, struct flow *flow) {
    const struct lam_network *network = block->options.network;
    lam_taps_turn(network, block->options.first - 1, flow->x, flow->taps);
    for (int unit = block->options.first; unit <= block->options.last; unit++) {
        lam_graph_tag(graph, unit);
        flow->x = network->build_unit(network->context, graph, unit, flow->x, flow->taps);
        lam_taps_turn(network, unit, flow->x, flow->taps);
    }
}

static lam_value build_auxiliary(const struct lam_block *block, struct lam_graph *graph,
                                 const struct flow *flow) {
    const struct lam_block_options *options = &block->options;
    struct lam_aux_site site = {.network = options->network,
                                .next_unit = options->last + 1,
                                .next_last = options->next_last,
                                .taps = flow->taps,
                                .options = options->aux_options};
    lam_graph_push_scope(graph, LAM_AUX_SCOPE "%d", options->number);
    lam_value loss = options->aux->build(&site, graph, flow->x, flow->inputs);
    lam_graph_pop_scope(graph);
    return loss;
}

static void give_out(struct lam_block *block, struct lam_graph *graph, struct flow *flow, int p,
                     lam_value value) {
    flow->out[p] = value;
    lam_graph_border_output(graph, lam_part_names[p].out, value, block->options.plain_out);
    struct lam_shape shape = lam_value_shape(graph, value), sample = {.rank = shape.rank - 1};
    struct lam_border_part *part = &block->border.part[p];
    memcpy(sample.dim, shape.dim + 1, (size_t)sample.rank * sizeof *shape.dim);
    part->present = true;
    part->dtype = lam_value_dtype(graph, value);
    *(lam_graph_training(graph) ? &part->shape : &part->eval_shape) = sample;
}

/* The activation, and taps on their way that are something else. What only passes through is copied: the slot that it came in is
 * given back. */
static void build_border(struct lam_block *block, struct lam_graph *graph, struct flow *flow) {
    const struct lam_network *network = block->options.network;
    for (int t = 0; t < network->tap_count; t++) {
        if (flow->taps[t] == LAM_NO_VALUE || network->taps[t].from == block->options.last) continue;
        bool passes = network->taps[t].from < block->options.first;
        give_out(block, graph, flow, t + 1, passes ? lam_copy(graph, flow->taps[t]) : flow->taps[t]);
    }
    give_out(block, graph, flow, 0, flow->x);
}

/* What stands behind the block's units: the task's output, or the border and the auxiliary network. */
static lam_value build_end(struct lam_block *block, struct lam_graph *graph, struct flow *flow) {
    const struct lam_network *network = block->options.network;
    if (lam_block_is_last(block)) return network->build_output(network->task, graph, flow->x, flow->inputs);
    build_border(block, graph, flow);
    if (lam_graph_status(graph) != LAM_OK) return LAM_NO_VALUE;
    if (!lam_graph_training(graph) || block->options.micro_batches || !block->options.aux)
        return LAM_NO_VALUE;
    return build_auxiliary(block, graph, flow);
}

/* A part of an end-to-end pipeline: the gradients of what it gives out come in, those of its inputs go out. */
static lam_status build_micro_end(struct lam_block *block, struct lam_graph *graph, struct flow *flow) {
    const struct lam_network *network = block->options.network;
    lam_value y[LAM_BORDER_PARTS], dy[LAM_BORDER_PARTS], x[LAM_BORDER_PARTS], dx[LAM_BORDER_PARTS];
    struct lam_graph_part part = {.loss = build_end(block, graph, flow), .y = y, .dy = dy, .x = x, .dx = dx};
    int from[LAM_BORDER_PARTS];
    for (int p = 0; p < LAM_BORDER_PARTS; p++) {
        if (flow->out[p] != LAM_NO_VALUE && has_gradient(network, p)) {
            y[part.outputs] = flow->out[p];
            dy[part.outputs++] = lam_graph_border_input(
                graph, lam_part_names[p].out_gradient, lam_value_dtype(graph, flow->out[p]),
                lam_value_shape(graph, flow->out[p]), block->options.plain_out);
        }
        if (flow->in[p] != LAM_NO_VALUE && has_gradient(network, p)) {
            from[part.inputs] = p;
            x[part.inputs++] = flow->in[p];
        }
    }
    LAM_TRY(lam_graph_backward_part(graph, &part));
    for (int i = 0; i < part.inputs; i++)
        lam_graph_border_output(graph, lam_part_names[from[i]].in_gradient, dx[i], block->options.plain_in);
    return lam_graph_status(graph);
}

/* Samples that a program takes at a time. */
static int program_batch(const struct lam_block *block, enum lam_block_program which) {
    const struct lam_block_options *o = &block->options;
    if (which == LAM_BLOCK_EVAL) return lam_network_eval_batch(o->network, o->batch);
    if (!o->micro_batches) return which == LAM_BLOCK_TAIL ? o->tail : o->batch;
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
    struct flow flow;
    LAM_TRY(declare_inputs(block, graph, &flow));
    bool micro = training && block->options.micro_batches;
    for (int p = 0; p < LAM_BORDER_PARTS && micro; p++)
        if (flow.in[p] != LAM_NO_VALUE && has_gradient(network, p))
            lam_graph_want_gradient(graph, flow.in[p]);
    build_units(block, graph, &flow);
    lam_graph_tag(graph, network->units); /* what stands behind the units */
    if (which == LAM_BLOCK_TRAIN || !block->graphs[LAM_BLOCK_TRAIN])
        block->own_flops =
            lam_graph_forward_flops(graph) * block->options.batch / (double)lam_graph_batch(graph);
    if (micro) return build_micro_end(block, graph, &flow);
    lam_value loss = build_end(block, graph, &flow);
    /* without a loss: a block that is built only for counting */
    return training && loss != LAM_NO_VALUE ? lam_graph_backward(graph, loss) : lam_graph_status(graph);
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
    const struct lam_network *network = options->network;
    if (network->tap_count > LAM_MAX_TAPS || network->field_count > LAM_MAX_FIELDS - LAM_MAX_TAPS ||
        network->eval_field_count > LAM_MAX_FIELDS - LAM_MAX_TAPS)
        return lam_fail(LAM_ERR_INTERNAL, "the network has too many fields or taps");
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

/* Where a program has a part among its outputs or inputs; -1: nowhere. */
static int part_of(const struct lam_program *program, int part, bool out, struct lam_tensor_desc *desc) {
    if (!program) return -1;
    int place = out ? lam_program_output(program, lam_part_names[part].out)
                    : lam_program_input(program, lam_part_names[part].in);
    if (place >= 0)
        *desc = out ? lam_program_output_desc(program, place) : lam_program_input_desc(program, place);
    return place;
}

static size_t part_bytes(const struct lam_program *program, int part) {
    struct lam_tensor_desc desc;
    return part_of(program, part, true, &desc) < 0 ? 0 : lam_tensor_bytes(&desc);
}

size_t lam_block_micro_part_bytes(const struct lam_block *block, int part) {
    return part_bytes(block->programs[LAM_BLOCK_TRAIN], part);
}

size_t lam_block_part_bytes(const struct lam_block *block, int part) {
    size_t micro = block->options.micro_batches ? (size_t)block->options.micro_batches : 1;
    size_t training = micro * part_bytes(block->programs[LAM_BLOCK_TRAIN], part);
    size_t evaluation = part_bytes(block->programs[LAM_BLOCK_EVAL], part);
    return training > evaluation ? training : evaluation;
}

size_t lam_cache_lines(size_t bytes) {
    return (bytes + 63) / 64 * 64;
}

size_t lam_block_output_bytes(const struct lam_block *block) {
    size_t bytes = 0;
    for (int p = 0; p < LAM_BORDER_PARTS; p++) bytes += lam_cache_lines(lam_block_part_bytes(block, p));
    return bytes;
}

static bool agree(const struct lam_program *block, const struct lam_program *next, int part) {
    struct lam_tensor_desc from, to;
    bool gives = part_of(block, part, true, &from) >= 0, takes = part_of(next, part, false, &to) >= 0;
    if (!gives || !takes) return gives == takes;
    return from.dtype == to.dtype && from.layout == to.layout && lam_shape_equal(from.shape, to.shape);
}

lam_status lam_block_check_border(const struct lam_block *block, const struct lam_block *next) {
    for (int i = 0; i < LAM_BLOCK_PROGRAMS; i++)
        for (int p = 0; p < LAM_BORDER_PARTS; p++)
            if (!agree(block->programs[i], next->programs[i], p))
                return lam_fail(LAM_ERR_INTERNAL, "%s does not read what %s writes", next->name, block->name);
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
                    void *const *output) {
    struct lam_program *program = block->programs[which];
    const struct lam_network *network = block->options.network;
    for (int f = block->options.first > 0 ? 1 : 0; f < network->field_count; f++) {
        int input = lam_program_input(program, network->fields[f].name);
        if (input >= 0) lam_program_bind_input(program, input, batch->data[f]);
    }
    for (int p = 0; p < LAM_BORDER_PARTS; p++) {
        int input = lam_program_input(program, lam_part_names[p].in),
            out = lam_program_output(program, lam_part_names[p].out);
        if (input >= 0) lam_program_bind_input(program, input, batch->data[lam_border_place(p)]);
        if (out >= 0) lam_program_bind_output(program, out, output[lam_border_place(p)]);
    }
}

static lam_status run(struct lam_block *block, enum lam_block_program which, const struct lam_batch *batch,
                      void *const *output, uint64_t seed, uint64_t step) {
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
    for (int i = 0; i < LAM_BLOCK_EVAL; i++) {
        int outputs[LAM_BORDER_PARTS], count = 0;
        if (!block->programs[i] || lam_block_is_last(block)) continue;
        for (int p = 0; p < LAM_BORDER_PARTS; p++) {
            outputs[count] = lam_program_output(block->programs[i], lam_part_names[p].out);
            if (outputs[count] >= 0) count++;
        }
        lam_program_on_outputs(block->programs[i], outputs, count, done, context);
    }
}

lam_status lam_block_evaluate(struct lam_block *block, const struct lam_batch *batch, void *const *output) {
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
    lam_status status = build(&block, LAM_BLOCK_TRAIN);
    if (status == LAM_OK)
        *flops = (struct lam_block_flops){
            .units = 3 * block.own_flops,
            .aux = lam_graph_tag_flops(block.graphs[LAM_BLOCK_TRAIN], options->network->units)};
    *border = block.border;
    for (int i = 0; i < LAM_BLOCK_PROGRAMS; i++) lam_graph_destroy(block.graphs[i]);
    lam_params_destroy(block.params);
    return status;
}
