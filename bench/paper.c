/* lamina-bench paper: what a training step asks of a GPU, and the time that it cannot go below there. Nothing is run.
 *
 *     lamina-bench paper --model resnet110 --method dgl --blocks 4 --precision bf16
 *     lamina-bench paper ... --times times.json          # then: lamina-bench simulate --times times.json --link 450
 *
 * The network is compiled for a core of the CPU by fixed rules, whole and in blocks, and the programs' ops are counted
 * (paper_cost.h): which ops there are, and which are computed again, is the same for every device.
 *
 * A step is the program, launched as one recorded graph or kernel by kernel, and the update, whose kernels are launched
 * one by one; in between the host waits three times: for the program's end, for the loss, and for the sums that the
 * update is checked with. A part of n launches takes
 *
 *     in a graph     sum of the kernels' times + n node
 *     one by one     max(n launch, sum of the kernels' times + n node)
 *
 * Blocks are cut where the slowest of them is fastest by these times (--partition counted), each on a GPU of its own.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/files.h"
#include "bench/commands.h"
#include "bench/network.h"
#include "bench/paper_cost.h"
#include "local/chain.h"

enum { WAITS = 3 };

struct config {
    char *model, *method, *partition, *json, *times, *image_size;
    int precision;
    int64_t blocks, batch, classes, micro_batches;
    double tflops[3], bandwidth, launch, node, wait;
    bool graph, recompute, help;
};

enum { F32, BF16, TF32 };
static const char *const precisions[] = {"f32", "bf16", "tf32", NULL};

#define ROW(...) LAM_OPTION_ROW(struct config, __VA_ARGS__)
static const struct lam_option table[] = {
    ROW("model", TEXT, model, "resnet110", "What", .help = "network"),
    ROW("method", TEXT, method, "dgl", "What", .help = "auxiliary networks: dgl, glcan"),
    ROW("blocks", INT, blocks, "1", "What", LAM_RANGE(1, LAM_MAX_BLOCKS),
        .help = "gradient-isolated blocks; 1: end to end alone"),
    ROW("partition", TEXT, partition, "counted", "What",
        .help = "counted (by these times), uniform, paper or a list of last units"),
    ROW("batch", INT, batch, "128", "What", LAM_RANGE(1, 65536), .help = "samples in a step"),
    ROW("precision", CHOICE, precision, "bf16", "What", .choices = precisions, .help = "of the products"),
    ROW("image-size", TEXT, image_size, "", "What", .placeholder = "PIXELS", .help = "as of step"),
    ROW("classes", INT, classes, "10", "What", LAM_RANGE(2, 100000), .help = "of a classifier"),
    ROW("micro-batches", INT, micro_batches, "8", "What", LAM_RANGE(1, 1024),
        .help = "parts of a batch that the told --micro-overhead of simulate is for"),
    ROW("cuda-graph", BOOL, graph, "yes", "What", .help = "a program is launched as one recorded graph"),
    ROW("recompute", BOOL, recompute, "yes", "What", .help = "cheap values are computed again, not kept"),
    ROW("f32", NUMBER, tflops[F32], "67", "GPU", LAM_RANGE(1e-3, 1e9), .placeholder = "TFLOP/S",
        .help = "peak in f32; attention has it unless it is in bf16"),
    ROW("tf32", NUMBER, tflops[TF32], "495", "GPU", LAM_RANGE(1e-3, 1e9), .placeholder = "TFLOP/S",
        .help = "peak of dense products in TF32"),
    ROW("bf16", NUMBER, tflops[BF16], "989", "GPU", LAM_RANGE(1e-3, 1e9), .placeholder = "TFLOP/S",
        .help = "peak of dense products in bf16"),
    ROW("bandwidth", NUMBER, bandwidth, "3350", "GPU", LAM_RANGE(1e-3, 1e9), .placeholder = "GB/S",
        .help = "of the GPU's memory"),
    ROW("launch", NUMBER, launch, "4", "GPU", LAM_RANGE(0, 1e9), .placeholder = "US",
        .help = "microseconds of the host for each launch"),
    ROW("node", NUMBER, node, "1", "GPU", LAM_RANGE(0, 1e9), .placeholder = "US",
        .help = "microseconds between two kernels"),
    ROW("wait", NUMBER, wait, "6", "GPU", LAM_RANGE(0, 1e9), .placeholder = "US",
        .help = "microseconds until the host goes on when the GPU is done"),
    ROW("json", TEXT, json, "", "Output", .placeholder = "FILE", .help = "write the numbers there"),
    ROW("times", TEXT, times, "", "Output", .placeholder = "FILE",
        .help = "write what lamina-bench simulate needs there"),
    ROW("help", BOOL, help, "no", "Output", .flags = LAM_OPTION_UNSAVED, .help = "this text"),
};

enum part { FORWARD, AUX, BACKWARD, UPDATE, PARTS };

/* A block, or the whole network. */
struct count {
    char name[128];
    struct paper_cost parts[PARTS];
    double step_flops;    /* each op once */
    double forward_flops; /* without the auxiliary network */
    double send_bytes, snapshot_bytes;
    bool late_send; /* the whole step is one segment, so its output is known to be done when the step is */
};

struct paper {
    struct config config;
    struct paper_gpu gpu;
    struct bench_network network;
    struct lam_device *device;
    struct lam_tuning *tuning;
    const struct lam_aux *aux;
    double *unit_seconds, *aux_seconds; /* [units] */
    bool *may_cut;
    struct count whole, *blocks;
    int block_count;
};

/* ---- counting ---- */

static struct lam_block_options block_options(const struct paper *p, int first, int last) {
    return (struct lam_block_options){
        .network = &p->network.network,
        .number = 1,
        .first = first,
        .last = last,
        .next_last = p->network.network.units - 1,
        .aux = last + 1 < p->network.network.units ? p->aux : NULL,
        .aux_options.stages = true,
        .batch = (int)p->config.batch,
        .precision = p->config.precision == BF16 ? LAM_BF16 : LAM_F32,
        .optimizer = bench_network_optimizer(&p->network),
        .tuning = p->tuning,
    };
}

/* Of a program: the segment behind which a block hands its output over, and the last one. */
struct ends {
    int forward, last;
};

static struct ends find_ends(const struct lam_block *block) {
    const struct lam_program *program = lam_block_program(block, LAM_BLOCK_TRAIN);
    int units = lam_block_options(block)->network->units;
    struct ends ends = {0};
    for (int i = 0; i < lam_program_op_count(program); i++) {
        struct lam_program_op op = lam_program_op(program, i);
        bool forward = op.tag < units && !op.backward && !op.again;
        if (forward && op.segment > ends.forward) ends.forward = op.segment;
        if (op.batched && op.segment > ends.last) ends.last = op.segment;
    }
    return ends;
}

/* What stands behind the last unit of a block is its auxiliary network, or the task's loss. */
static enum part part_of(const struct lam_block *block, const struct ends *ends,
                         const struct lam_program_op *op) {
    const struct lam_network *network = lam_block_options(block)->network;
    if (op->tag == network->units && lam_block_options(block)->last + 1 < network->units) return AUX;
    return op->backward || (op->again && op->segment > ends->forward) ? BACKWARD : FORWARD;
}

static double sent_bytes(const struct lam_block *block) {
    const struct lam_network *network = lam_block_options(block)->network;
    struct lam_border border = lam_block_border(block);
    double bytes = 0;
    for (int p = 0; p < LAM_BORDER_PARTS; p++)
        if (border.part[p].present)
            bytes +=
                (double)lam_shape_count(border.part[p].shape) * (double)lam_dtype_bytes(border.part[p].dtype);
    for (int f = 1; f < network->field_count && bytes > 0; f++)
        bytes += (double)lam_shape_count(network->fields[f].shape) *
                 (double)lam_dtype_bytes(network->fields[f].dtype);
    return bytes * lam_block_options(block)->batch;
}

/* What is prepared goes together when the step begins, what is summed when its segment ends. */
static void count_bundles(const struct lam_block *block, const struct ends *ends, struct count *count) {
    const struct lam_program *program = lam_block_program(block, LAM_BLOCK_TRAIN);
    int64_t before = 0;
    for (int i = 0; i < lam_program_op_count(program); i++) {
        struct lam_program_op op = lam_program_op(program, i);
        before += paper_weight_copies(&op);
    }
    struct paper_cost cost = paper_cost_of_bundles(before);
    paper_cost_add(&count->parts[FORWARD], &cost);
    for (int segment = 0; segment <= ends->last; segment++) {
        enum part part = FORWARD;
        int64_t behind = 0;
        for (int i = 0; i < lam_program_op_count(program); i++) {
            struct lam_program_op op = lam_program_op(program, i);
            int copies = op.segment == segment ? paper_sum_copies(&op) : 0;
            if (copies > 0) part = part_of(block, ends, &op);
            behind += copies;
        }
        cost = paper_cost_of_bundles(behind);
        paper_cost_add(&count->parts[part], &cost);
    }
}

static void count_block(const struct paper *p, const struct lam_block *block, struct count *count) {
    const struct lam_program *program = lam_block_program(block, LAM_BLOCK_TRAIN);
    struct ends ends = find_ends(block);
    *count = (struct count){.step_flops = lam_block_training_flops(block),
                            .forward_flops = lam_block_forward_flops(block),
                            .send_bytes = sent_bytes(block)};
    snprintf(count->name, sizeof count->name, "%s", lam_block_name(block));
    for (int i = 0; i < lam_program_op_count(program); i++) {
        struct lam_program_op op = lam_program_op(program, i);
        struct paper_cost cost = paper_cost_of_op(&op, &p->gpu);
        paper_cost_add(&count->parts[part_of(block, &ends, &op)], &cost);
    }
    count_bundles(block, &ends, count);
    count->late_send = count->send_bytes > 0 && ends.forward == ends.last;
    count->parts[UPDATE] =
        paper_cost_of_update(&lam_block_options(block)->optimizer, lam_block_params(block), &p->gpu);
}

/* The host's waiting is counted with the update, as is the graph's own launch. */
static double part_seconds(const struct paper *p, const struct count *count, enum part part, bool graph) {
    double seconds = paper_cost_seconds(&count->parts[part], &p->gpu, graph && part != UPDATE);
    return part == UPDATE ? seconds + WAITS * p->gpu.wait + (graph ? p->gpu.launch : 0) : seconds;
}

static double step_seconds(const struct paper *p, const struct count *count, bool graph) {
    double seconds = 0;
    for (int part = 0; part < PARTS; part++) seconds += part_seconds(p, count, (enum part)part, graph);
    return seconds;
}

static struct paper_cost all_parts(const struct count *count) {
    struct paper_cost all = {0};
    for (int part = 0; part < PARTS; part++) paper_cost_add(&all, &count->parts[part]);
    return all;
}

/* ---- cutting ---- */

/* Units' shares of the whole network's step: their ops' time, and of the update by their parameters. */
static void share_by_units(struct paper *p, const struct lam_block *whole) {
    const struct lam_program *program = lam_block_program(whole, LAM_BLOCK_TRAIN);
    int units = p->network.network.units;
    double parameters = (double)lam_params_count(lam_block_params(whole));
    double update = part_seconds(p, &p->whole, UPDATE, p->config.graph) / (parameters > 0 ? parameters : 1);
    for (int i = 0; i < lam_program_op_count(program); i++) {
        struct lam_program_op op = lam_program_op(program, i);
        struct paper_cost cost = paper_cost_of_op(&op, &p->gpu);
        double *seconds = &p->unit_seconds[op.tag < units ? op.tag : units - 1];
        *seconds += paper_cost_seconds(&cost, &p->gpu, p->config.graph);
        for (int o = 0; o < op.op->outputs && op.backward && op.batched; o++)
            if (op.op->out[o].present && !op.op->out[o].batched)
                *seconds += update * (double)lam_shape_count(op.op->out[o].desc.shape);
    }
}

static lam_status count_whole(struct paper *p) {
    struct lam_block_options options = block_options(p, 0, p->network.network.units - 1);
    struct lam_block *block;
    LAM_TRY(lam_block_create(&options, p->device, &block));
    count_block(p, block, &p->whole);
    snprintf(p->whole.name, sizeof p->whole.name, "end to end");
    share_by_units(p, block);
    lam_block_destroy(block);
    return LAM_OK;
}

/* A block of each unit alone, for its auxiliary network. */
static lam_status count_auxiliaries(struct paper *p) {
    struct lam_border in = {0};
    for (int unit = 0; unit + 1 < p->network.network.units; unit++) {
        struct lam_block_options options = block_options(p, unit, unit);
        struct lam_block *block;
        struct count count;
        options.in = in;
        LAM_TRY(lam_block_create(&options, p->device, &block));
        count_block(p, block, &count);
        p->aux_seconds[unit] = part_seconds(p, &count, AUX, p->config.graph);
        in = lam_block_border(block);
        lam_block_destroy(block);
    }
    return LAM_OK;
}

/* As a list for a chain; caller frees. */
static lam_status cut_by_counts(struct paper *p, char **list) {
    const struct lam_network *network = &p->network.network;
    struct lam_partition cut;
    for (int u = 0; u < network->units; u++)
        p->may_cut[u] = u + 1 < network->head_unit + (network->head_alone ? 1 : 0);
    struct lam_partition_problem problem = {.units = network->units,
                                            .blocks = (int)p->config.blocks,
                                            .devices = (int)p->config.blocks,
                                            .unit_seconds = p->unit_seconds,
                                            .aux_seconds = p->aux_seconds,
                                            .may_cut = p->may_cut};
    LAM_TRY(count_auxiliaries(p));
    LAM_TRY(lam_partition_profiled(&problem, &cut));
    *list = strdup("");
    for (int j = 0; j + 1 < cut.blocks && *list; j++) {
        char *longer = lam_format("%s%s%d", *list, j ? "," : "", cut.last_unit[j]);
        free(*list);
        *list = longer;
    }
    return *list ? LAM_OK : lam_no_memory();
}

static lam_status count_chain(struct paper *p, const char *partition) {
    struct lam_chain_options options = {
        .network = &p->network.network,
        .devices = &p->device,
        .device_count = 1,
        .blocks = (int)p->config.blocks,
        .partition = partition,
        .aux = p->aux,
        .aux_options.stages = true,
        .batch = (int)p->config.batch,
        .precision = p->config.precision == BF16 ? LAM_BF16 : LAM_F32,
        .optimizer = bench_network_optimizer(&p->network),
        .tuning = p->tuning,
    };
    struct lam_chain chain;
    LAM_TRY(lam_chain_create(&options, &chain));
    for (int j = 0; j < chain.count; j++) {
        count_block(p, chain.blocks[j], &p->blocks[j]);
        if (j > 0)
            p->blocks[j].snapshot_bytes = (double)lam_block_twin_count(chain.blocks[j - 1]) * sizeof(float);
    }
    p->block_count = chain.count;
    lam_chain_destroy(&chain);
    return LAM_OK;
}

static lam_status count_all(struct paper *p) {
    LAM_TRY(count_whole(p));
    if (p->config.blocks == 1) return LAM_OK;
    char *list = NULL;
    bool counted = !strcmp(p->config.partition, "counted");
    lam_status status = counted ? cut_by_counts(p, &list) : LAM_OK;
    if (status == LAM_OK) status = count_chain(p, counted ? list : p->config.partition);
    free(list);
    return status;
}

/* ---- output ---- */

static double of_peak(const struct paper *p, const struct count *count) {
    return count->step_flops / step_seconds(p, count, p->config.graph) / p->gpu.matrix_flops;
}

/* Seconds that each part of a batch costs more than its share, forward or backward: every kernel runs once for each, and the
 * host waits for it. */
static double micro_overhead(const struct paper *p) {
    double most = 0, more = 1 - 1 / (double)p->config.micro_batches;
    double each = p->config.graph ? p->gpu.node : p->gpu.launch;
    for (int j = 0; j < p->block_count; j++) {
        const struct paper_cost *parts = p->blocks[j].parts;
        double passes = 0.5 * (double)(parts[FORWARD].launches + parts[BACKWARD].launches);
        if (passes * each * more > most) most = passes * each * more;
    }
    return most + p->gpu.wait;
}

static void print_count(const struct paper *p, const struct count *count) {
    struct paper_cost all = all_parts(count);
    int64_t update = count->parts[UPDATE].launches;
    printf("%-30s %5lld %9.2f %8.1f %8.1f %7.1f %6lld %6lld %7.3f %7.3f %7.3f %7.3f %8.3f %8.3f %6.2f\n",
           count->name, (long long)all.ops, 1e-9 * count->step_flops, 1e-6 * all.bytes,
           1e-6 * all.matrix_bytes, 1e-6 * all.again_bytes, (long long)(all.launches - update),
           (long long)update, 1e3 * part_seconds(p, count, FORWARD, p->config.graph),
           1e3 * part_seconds(p, count, AUX, p->config.graph),
           1e3 * part_seconds(p, count, BACKWARD, p->config.graph),
           1e3 * part_seconds(p, count, UPDATE, p->config.graph), 1e3 * step_seconds(p, count, true),
           1e3 * step_seconds(p, count, false), 100 * of_peak(p, count));
}

static void print_all(const struct paper *p) {
    const struct config *c = &p->config;
    printf("%s, batch %lld, %s: %.0f TFLOP/s (attention %.0f), %.0f GB/s; %g us a launch, %g between "
           "kernels, %g a wait\n\n",
           c->model, (long long)c->batch, precisions[c->precision], 1e-12 * p->gpu.matrix_flops,
           1e-12 * p->gpu.plain_flops, 1e-9 * p->gpu.bytes, c->launch, c->node, c->wait);
    printf("%-30s %5s %9s %8s %8s %7s %6s %6s %7s %7s %7s %7s %8s %8s %6s\n", "", "ops", "GFLOP", "MB",
           "products", "again", "nodes", "update", "forward", "aux", "backw.", "update", "graph ms",
           "each ms", "% peak");
    print_count(p, &p->whole);
    for (int j = 0; j < p->block_count; j++) print_count(p, &p->blocks[j]);
    struct paper_cost all = all_parts(&p->whole);
    printf("\nend to end: FLOPs at the peak %.3f ms, bytes at the bandwidth %.3f ms, kernels without a pause "
           "%.3f ms\n",
           1e3 * p->whole.step_flops / p->gpu.matrix_flops, 1e3 * all.bytes / p->gpu.bytes,
           1e3 * all.seconds);
    int64_t update = p->whole.parts[UPDATE].launches, nodes = all.launches - update;
    printf(
        "launches: %lld of ops (%lld of these run again), %lld of %lld copies of weights and sums together; "
        "update %lld\n",
        (long long)(nodes - all.bundles), (long long)all.again_launches, (long long)all.bundles,
        (long long)all.copies, (long long)update);
    if (p->block_count)
        printf("lamina-bench simulate: --micro-batches %lld --micro-overhead %.1f\n",
               (long long)c->micro_batches, 1e6 * micro_overhead(p));
}

static json_t *launches_to_json(const struct count *count) {
    struct paper_cost all = all_parts(count);
    int64_t update = count->parts[UPDATE].launches;
    return json_pack("{s:I, s:I, s:I, s:I, s:I}", "nodes", (json_int_t)(all.launches - update), "bundles",
                     (json_int_t)all.bundles, "copies", (json_int_t)all.copies, "again",
                     (json_int_t)all.again_launches, "update", (json_int_t)update);
}

static json_t *seconds_to_json(const struct paper *p, const struct count *count) {
    double seconds[PARTS];
    for (int i = 0; i < PARTS; i++) seconds[i] = part_seconds(p, count, (enum part)i, p->config.graph);
    return json_pack("{s:f, s:f, s:f, s:f, s:f, s:f, s:f}", "forward", seconds[FORWARD], "aux", seconds[AUX],
                     "backward", seconds[BACKWARD], "update", seconds[UPDATE], "kernels",
                     all_parts(count).seconds, "graph", step_seconds(p, count, true), "each",
                     step_seconds(p, count, false));
}

static json_t *to_json(const struct paper *p, const struct count *count, int block) {
    struct paper_cost all = all_parts(count);
    json_t *row = json_pack("{s:s, s:s, s:s, s:s, s:I, s:I, s:i, s:s}", "benchmark", "paper", "model",
                            p->config.model, "method", p->config.method, "precision",
                            precisions[p->config.precision], "batch", (json_int_t)p->config.batch, "blocks",
                            (json_int_t)p->config.blocks, "block", block, "name", count->name);
    json_t *sums =
        json_pack("{s:I, s:f, s:f, s:f, s:f, s:f, s:f, s:f, s:f}", "ops", (json_int_t)all.ops, "flops",
                  count->step_flops, "forward_flops", count->forward_flops, "again_flops", all.again_flops,
                  "bytes", all.bytes, "matrix_bytes", all.matrix_bytes, "again_bytes", all.again_bytes,
                  "send_bytes", count->send_bytes, "of_peak", of_peak(p, count));
    json_object_update(row, sums);
    json_decref(sums);
    json_object_set_new(row, "launches", launches_to_json(count));
    json_object_set_new(row, "seconds", seconds_to_json(p, count));
    if (block > 0) return row;
    json_object_set_new(row, "gpu",
                        json_pack("{s:f, s:f, s:f, s:f}", "bytes", p->gpu.bytes, "launch", p->gpu.launch,
                                  "node", p->gpu.node, "wait", p->gpu.wait));
    if (p->block_count) json_object_set_new(row, "micro_overhead", json_real(micro_overhead(p)));
    return row;
}

/* One row for the whole network, block 0, which has the GPU's figures as well, and one for each block. */
static lam_status write_json(const struct paper *p) {
    json_t *list = json_array();
    json_array_append_new(list, to_json(p, &p->whole, 0));
    for (int j = 0; j < p->block_count; j++) json_array_append_new(list, to_json(p, &p->blocks[j], j + 1));
    return bench_write_json(p->config.json, list);
}

static lam_status write_times(const struct paper *p) {
    json_t *stages = json_array();
    for (int j = 0; j < p->block_count; j++) {
        const struct count *count = &p->blocks[j];
        double seconds[PARTS];
        for (int i = 0; i < PARTS; i++) seconds[i] = part_seconds(p, count, (enum part)i, p->config.graph);
        json_array_append_new(stages, json_pack("{s:s, s:f, s:f, s:f, s:f, s:b, s:f, s:f}", "name",
                                                count->name, "forward", seconds[FORWARD], "aux", seconds[AUX],
                                                "backward", seconds[BACKWARD], "update", seconds[UPDATE],
                                                "late_send", count->late_send, "send_bytes",
                                                count->send_bytes, "snapshot_bytes", count->snapshot_bytes));
    }
    return bench_write_json(p->config.times,
                            json_pack("{s:I, s:o}", "batch", (json_int_t)p->config.batch, "stages", stages));
}

/* ---- the command ---- */

static lam_status set_up(struct paper *p) {
    struct config *c = &p->config;
    p->gpu = (struct paper_gpu){.matrix_flops = 1e12 * c->tflops[c->precision],
                                .plain_flops = 1e12 * c->tflops[F32],
                                .bytes = 1e9 * c->bandwidth,
                                .launch = 1e-6 * c->launch,
                                .node = 1e-6 * c->node,
                                .wait = 1e-6 * c->wait};
    LAM_TRY(lam_aux_find(c->method, &p->aux));
    if (*c->json) LAM_TRY(lam_check_output_file(c->json));
    if (*c->times) LAM_TRY(lam_check_output_file(c->times));
    if (*c->times && c->blocks == 1)
        return lam_fail(LAM_ERR_INVALID, "--times: a pipeline has two blocks or more; give --blocks");
    LAM_TRY(bench_network_open(c->model, c->image_size, (int)c->classes, (int)c->batch, &p->network));
    LAM_TRY(lam_tuning_create(LAM_TUNING_FIXED, &p->tuning));
    LAM_TRY(lam_device_open("cpu:0", 0, &p->device));
    lam_device_set_modes(p->device, (struct lam_device_modes){.keep_all = !p->config.recompute});
    size_t units = (size_t)p->network.network.units;
    p->unit_seconds = calloc(units, sizeof *p->unit_seconds);
    p->aux_seconds = calloc(units, sizeof *p->aux_seconds);
    p->may_cut = calloc(units, sizeof *p->may_cut);
    p->blocks = calloc((size_t)c->blocks, sizeof *p->blocks);
    return p->unit_seconds && p->aux_seconds && p->may_cut && p->blocks ? LAM_OK : lam_no_memory();
}

static void tear_down(struct paper *p) {
    free(p->blocks);
    free(p->may_cut);
    free(p->aux_seconds);
    free(p->unit_seconds);
    lam_device_close(p->device);
    lam_tuning_destroy(p->tuning);
    bench_network_close(&p->network);
}

static lam_status run(struct paper *p) {
    LAM_TRY(set_up(p));
    LAM_TRY(count_all(p));
    print_all(p);
    LAM_TRY(write_json(p));
    return *p->config.times ? write_times(p) : LAM_OK;
}

lam_status bench_paper(int argc, char **argv) {
    struct paper paper = {.block_count = 0};
    struct lam_options options = {.program = "lamina-bench paper",
                                  .usage = "[options]",
                                  .tables = {{table, sizeof table / sizeof *table, &paper.config}},
                                  .table_count = 1};
    lam_status status = bench_options(&options, argc, argv, &paper.config.help);
    if (status == LAM_OK && !paper.config.help) status = run(&paper);
    tear_down(&paper);
    lam_options_free(&options);
    return status;
}
