/* Which slice each segment takes.
 *
 * By rule: the largest power of two with which the widest op of the segment stays in half a megabyte. By
 * measurement: the whole program is run with every slice of a short list, segment by segment the fastest is
 * taken. Segments with the same ops and shapes share their measurements and one line of the record. On a device
 * where slices save nothing a segment takes the whole batch.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/files.h"
#include "base/rng.h"
#include "graph/program_internal.h"

/* What the widest op of a segment touches in a slice: by rule, and at most. Larger slices would cost memory
 * for nothing: such an op works from outside of the L2 cache already. */
enum { RULE_BYTES = 1 << 19, MOST_BYTES = 6 << 20, MOST_CANDIDATES = 6 };

static int lane_samples(const struct lam_program *p) {
    return (int)((p->batch + p->lanes - 1) / p->lanes);
}

static int most_samples(const struct lam_program *p) {
    int samples = lane_samples(p);
    return p->max_slice > 0 && p->max_slice < samples ? p->max_slice : samples;
}

static size_t op_bytes(const struct lam_program *p, const struct step *step) {
    size_t sum = 0;
    for (int i = 0; i < step->node.op.inputs; i++)
        if (step->node.in[i] != LAM_NO_VALUE) sum += p->values[step->node.in[i]].sample_bytes;
    for (int o = 0; o < step->node.op.outputs; o++)
        if (step->node.out[o] != LAM_NO_VALUE) sum += p->values[step->node.out[o]].sample_bytes;
    return sum;
}

static size_t widest_op(const struct lam_program *p, const struct segment *segment) {
    size_t widest = 1;
    for (int s = segment->begin; s < segment->end; s++) {
        size_t bytes = op_bytes(p, &p->steps[s]);
        if (bytes > widest) widest = bytes;
    }
    return widest;
}

static int slice_by_rule(const struct lam_program *p, const struct segment *segment) {
    size_t widest = widest_op(p, segment);
    int slice = 1;
    while (2 * slice <= most_samples(p) && (size_t)(2 * slice) * widest <= RULE_BYTES) slice *= 2;
    return slice;
}

/* The key under which a segment's slice is recorded: short, but of the whole list of ops. */
static lam_status name_segments(struct lam_program *p) {
    for (int t = 0; t < p->segment_count; t++) {
        struct segment *segment = &p->segments[t];
        char *text = NULL;
        size_t size = 0;
        FILE *stream = open_memstream(&text, &size);
        if (!stream) return lam_no_memory();
        for (int s = segment->begin; s < segment->end; s++) {
            char op[480];
            lam_program_op_text(p, &p->steps[s], op, sizeof op);
            fprintf(stream, "%s;", op);
        }
        fclose(stream);
        int ops = segment->end - segment->begin;
        segment->signature = ops ? lam_format("segment %016llx %s.. %d ops batch %d lanes %d most %d",
                                              (unsigned long long)lam_hash_text(text),
                                              lam_op_name(p->steps[segment->begin].node.op.kind), ops,
                                              (int)p->batch, p->lanes, most_samples(p))
                                 : lam_format("segment empty");
        free(text);
        if (!segment->signature) return lam_no_memory();
    }
    return LAM_OK;
}

/* ---- measuring ---- */

struct scratch {
    void *activations, *workspace;
    float *values, *gradients, *buffers;
    void **inputs, **outputs; /* outputs: of borders */
};

static void free_scratch(struct lam_program *p, struct scratch *scratch) {
    lam_device_free(p->device, scratch->activations);
    lam_device_free(p->device, scratch->workspace);
    lam_device_free(p->device, scratch->values);
    lam_device_free(p->device, scratch->gradients);
    lam_device_free(p->device, scratch->buffers);
    for (int i = 0; scratch->inputs && i < p->graph->input_count; i++)
        lam_device_free(p->device, scratch->inputs[i]);
    for (int i = 0; scratch->outputs && i < p->graph->output_count; i++)
        lam_device_free(p->device, scratch->outputs[i]);
    free(scratch->inputs);
    free(scratch->outputs);
    memset(scratch, 0, sizeof *scratch);
}

static lam_status fill_input(struct lam_program *p, int input, void **data) {
    const struct value *value = &p->values[p->input_values[input]].value;
    size_t bytes = lam_tensor_bytes(&value->desc);
    LAM_TRY(lam_device_alloc(p->device, LAM_MEMORY_DATA, bytes, data));
    if (value->desc.dtype != LAM_F32) return LAM_OK; /* labels: zeros will do */
    float *host = malloc(bytes);
    if (!host) return lam_no_memory();
    struct lam_rng rng = lam_rng_make(0, LAM_RNG_TEST, 0, (uint64_t)input);
    for (size_t i = 0; i < bytes / sizeof *host; i++) host[i] = 2 * lam_rng_uniform(&rng) - 1;
    lam_status status = lam_device_upload(p->device, *data, host, bytes);
    free(host);
    return status;
}

/* Parameters and inputs of the tuner's own, so that measuring changes nothing of the run's. */
static lam_status make_data(struct lam_program *p, struct scratch *scratch) {
    size_t trainable = (size_t)lam_params_count(p->params) * sizeof(float);
    size_t buffered = (size_t)lam_params_buffer_count(p->params) * sizeof(float);
    LAM_TRY(lam_device_alloc(p->device, LAM_MEMORY_PARAMETERS, trainable, (void **)&scratch->values));
    LAM_TRY(lam_device_alloc(p->device, LAM_MEMORY_GRADIENTS, trainable, (void **)&scratch->gradients));
    LAM_TRY(lam_device_alloc(p->device, LAM_MEMORY_PARAMETERS, buffered, (void **)&scratch->buffers));
    LAM_TRY(lam_params_draw(p->params, p->device, 0, scratch->values, scratch->buffers));
    scratch->inputs = calloc((size_t)p->graph->input_count + 1, sizeof *scratch->inputs);
    scratch->outputs = calloc((size_t)p->graph->output_count + 1, sizeof *scratch->outputs);
    if (!scratch->inputs || !scratch->outputs) return lam_no_memory();
    for (int i = 0; i < p->graph->input_count; i++) LAM_TRY(fill_input(p, i, &scratch->inputs[i]));
    for (int i = 0; i < p->graph->output_count; i++)
        if (p->graph->outputs[i].border)
            LAM_TRY(lam_device_alloc(p->device, LAM_MEMORY_QUEUE, lam_program_output_bytes(p, i),
                                     &scratch->outputs[i]));
    return LAM_OK;
}

/* The least time of each segment over a few runs. */
static lam_status time_runs(struct lam_program *p, const struct lam_tuning *tuning, double *least) {
    for (int t = 0; t < p->segment_count; t++) least[t] = 1e30;
    double began = lam_seconds();
    for (int round = 0; round < 3 && !lam_tuning_stopped(tuning); round++) {
        LAM_TRY(lam_program_execute(p));
        for (int t = 0; t < p->segment_count; t++)
            if (p->segments[t].seconds < least[t]) least[t] = p->segments[t].seconds;
        if (round > 0 && lam_seconds() - began > 3.0) break; /* large networks: two runs have to do */
    }
    return LAM_OK;
}

/* A segment keeps its slice if the mean time of segments like it is the least so far. */
static void keep_best(struct lam_program *p, const double *least) {
    for (int t = 0; t < p->segment_count; t++) {
        double sum = 0;
        int count = 0;
        for (int k = 0; k < p->segment_count; k++)
            if (!strcmp(p->segments[t].signature, p->segments[k].signature)) {
                sum += least[k];
                count++;
            }
        if (sum / count < p->segments[t].best_seconds) {
            p->segments[t].best_seconds = sum / count;
            p->segments[t].best_slice = p->segments[t].slice;
        }
    }
}

static lam_status time_segments(struct lam_program *p, const struct lam_tuning *tuning,
                                struct scratch *scratch) {
    LAM_TRY(lam_device_alloc(p->device, LAM_MEMORY_ACTIVATIONS, p->activation_bytes, &scratch->activations));
    LAM_TRY(lam_device_alloc(p->device, LAM_MEMORY_WORKSPACE, p->workspace_bytes, &scratch->workspace));
    lam_program_attach(p, scratch->activations, scratch->workspace);
    p->param_base = scratch->values;
    p->gradient_base = scratch->gradients;
    p->buffer_base = scratch->buffers;
    for (int i = 0; i < p->graph->input_count; i++) p->input_data[i] = scratch->inputs[i];
    for (int i = 0; i < p->graph->output_count; i++) p->output_data[i] = scratch->outputs[i];
    p->run_begin = 0;
    p->run_end = p->segment_count;
    double *least = malloc(sizeof *least * ((size_t)p->segment_count + 1));
    if (!least) return lam_no_memory();
    p->time_segments = true;
    lam_status status = time_runs(p, tuning, least);
    p->time_segments = false;
    if (status == LAM_OK) keep_best(p, least);
    free(least);
    lam_device_free(p->device, scratch->activations);
    lam_device_free(p->device, scratch->workspace);
    scratch->activations = scratch->workspace = NULL;
    return status;
}

/* A lane's whole part of the batch and halves of it, down to a thirty-second. */
static int candidates(const struct lam_program *p, int *slices) {
    int count = 0;
    for (int slice = most_samples(p); slice >= 1 && count < MOST_CANDIDATES; slice = (slice + 1) / 2) {
        slices[count++] = slice;
        if (slice == 1) break;
    }
    return count;
}

static int largest_allowed(const struct lam_program *p, const struct segment *segment, const int *slices,
                           int count) {
    size_t widest = widest_op(p, segment);
    int c = 0;
    while (c < count - 1 && (size_t)slices[c] * widest > MOST_BYTES) c++;
    return slices[c];
}

static lam_status measure(struct lam_program *p, struct lam_tuning *tuning, const bool *known) {
    struct scratch scratch = {0};
    int slices[MOST_CANDIDATES], count = candidates(p, slices);
    for (int t = 0; t < p->segment_count; t++) p->segments[t].best_seconds = 1e30;
    lam_status status = make_data(p, &scratch);
    for (int c = 0; c < count && status == LAM_OK; c++) {
        for (int t = 0; t < p->segment_count; t++)
            if (!known[t]) p->segments[t].slice = largest_allowed(p, &p->segments[t], slices + c, count - c);
        status = lam_program_instantiate(p, tuning);
        if (status == LAM_OK) status = time_segments(p, tuning, &scratch);
        lam_program_clear(p);
        if (status == LAM_OK && lam_tuning_stopped(tuning))
            status = lam_fail(LAM_ERR_STOPPED, "stopped while measuring slices");
    }
    for (int t = 0; t < p->segment_count && status == LAM_OK; t++) {
        if (known[t]) continue;
        char text[16];
        snprintf(text, sizeof text, "%d", p->segments[t].best_slice);
        p->segments[t].slice = p->segments[t].best_slice;
        status = lam_tuning_set(tuning, p->segments[t].signature, text);
    }
    free_scratch(p, &scratch);
    p->activations = p->workspace = NULL;
    memset(p->input_data, 0, sizeof *p->input_data * (size_t)p->graph->input_count);
    memset(p->output_data, 0, sizeof *p->output_data * (size_t)p->graph->output_count);
    p->run_seconds = 0;
    p->runs = 0;
    return status;
}

static lam_status read_record(const struct lam_program *p, const struct lam_tuning *tuning,
                              struct segment *segment, bool *known) {
    const char *choice = lam_tuning_get(tuning, segment->signature);
    *known = choice != NULL;
    if (!choice) return LAM_OK;
    char *end;
    long slice = strtol(choice, &end, 10);
    if (end == choice || *end || slice < 1 || slice > lane_samples(p))
        return lam_fail(LAM_ERR_FORMAT,
                        "tuning record: '%s = %s' is not a slice of 1 to %d samples; remove the line",
                        segment->signature, choice, lane_samples(p));
    segment->slice = (int)slice;
    return LAM_OK;
}

lam_status lam_program_choose_slices(struct lam_program *p, struct lam_tuning *tuning) {
    LAM_TRY(name_segments(p));
    if (p->backend->whole_batch) {
        for (int t = 0; t < p->segment_count; t++) p->segments[t].slice = most_samples(p);
        return LAM_OK;
    }
    bool *known = calloc((size_t)p->segment_count + 1, sizeof *known), all = true;
    if (!known) return lam_no_memory();
    lam_status status = LAM_OK;
    for (int t = 0; t < p->segment_count && status == LAM_OK; t++) {
        p->segments[t].slice = slice_by_rule(p, &p->segments[t]);
        status = read_record(p, tuning, &p->segments[t], &known[t]);
        all &= known[t];
    }
    if (status == LAM_OK && !all && lam_tuning_mode(tuning) == LAM_TUNING_MEASURE)
        status = measure(p, tuning, known);
    free(known);
    return status;
}
