/* The life of a program, its inputs and outputs, and what it tells about itself. */
#include "graph/program.h"

#include <stdlib.h>
#include <string.h>

#include "graph/program_internal.h"

lam_status lam_program_compile(struct lam_graph *graph, struct lam_device *device,
                               const struct lam_program_options *options, struct lam_program **program) {
    LAM_TRY(lam_graph_fuse(graph));
    struct lam_program *p = calloc(1, sizeof *p);
    if (!p) return lam_no_memory();
    p->graph = graph;
    p->device = device;
    p->backend = lam_device_backend(device);
    p->handle = lam_device_handle(device);
    p->params = graph->params;
    p->lanes = lam_device_lanes(device);
    p->batch = graph->batch;
    p->max_slice = options ? options->max_slice : 0;
    p->split = options && options->split;
    p->hook.segment = -1;
    p->recorded = p->backend->record_begin && !lam_device_modes(device).launch_each;
    struct lam_tuning *tuning = options ? options->tuning : NULL;
    lam_status status = lam_program_schedule(p);
    if (status == LAM_OK) status = lam_program_choose_slices(p, tuning);
    if (status == LAM_OK) status = lam_program_instantiate(p, tuning);
    if (status != LAM_OK) {
        lam_program_destroy(p);
        return status;
    }
    *program = p;
    return LAM_OK;
}

void lam_program_destroy(struct lam_program *p) {
    if (!p) return;
    lam_program_clear(p);
    for (int t = 0; t < p->segment_count; t++) free(p->segments[t].signature);
    free(p->values);
    free(p->steps);
    free(p->segments);
    free(p->stages);
    free(p->input_values);
    free(p->output_values);
    free(p->input_data);
    free(p->output_data);
    free(p);
}

size_t lam_program_activation_bytes(const struct lam_program *p) {
    return p->activation_bytes;
}
size_t lam_program_workspace_bytes(const struct lam_program *p) {
    return p->workspace_bytes;
}

void lam_program_attach(struct lam_program *p, void *activations, void *workspace) {
    p->activations = activations;
    p->workspace = workspace;
    p->resolved = false;
}

/* ---- inputs and outputs ---- */

static int find_name(const struct named_value *list, int count, const char *name) {
    for (int i = 0; i < count; i++)
        if (!strcmp(list[i].name, name)) return i;
    return -1;
}

int lam_program_input(const struct lam_program *p, const char *name) {
    return find_name(p->graph->inputs, p->graph->input_count, name);
}

int lam_program_output(const struct lam_program *p, const char *name) {
    return find_name(p->graph->outputs, p->graph->output_count, name);
}

struct lam_tensor_desc lam_program_input_desc(const struct lam_program *p, int input) {
    return p->values[p->input_values[input]].value.desc;
}

struct lam_tensor_desc lam_program_output_desc(const struct lam_program *p, int output) {
    return p->values[p->output_values[output]].value.desc;
}

void lam_program_on_outputs(struct lam_program *p, const int *outputs, int count, lam_program_done done,
                            void *context) {
    p->hook.segment = -1;
    for (int i = 0; done && i < count; i++) {
        int defined = p->values[p->output_values[outputs[i]]].defined;
        if (defined > p->hook.segment) p->hook.segment = defined;
    }
    p->hook.done = done;
    p->hook.context = context;
}

size_t lam_program_input_bytes(const struct lam_program *p, int input) {
    return lam_tensor_bytes(&p->values[p->input_values[input]].value.desc);
}

size_t lam_program_output_bytes(const struct lam_program *p, int output) {
    return lam_tensor_bytes(&p->values[p->output_values[output]].value.desc);
}

void lam_program_bind_input(struct lam_program *p, int input, const void *data) {
    if (p->input_data[input] == data) return;
    p->input_data[input] = data;
    p->resolved = false;
}

void lam_program_bind_output(struct lam_program *p, int output, void *data) {
    if (p->output_data[output] == data) return;
    p->output_data[output] = data;
    p->resolved = false;
}

const void *lam_program_output_data(const struct lam_program *p, int output) {
    if (p->output_data[output]) return p->output_data[output];
    return p->activations + p->values[p->output_values[output]].place.offset;
}

/* ---- run ---- */

static lam_status run(struct lam_program *p, int begin, int end, const struct lam_run *of) {
    if ((p->activation_bytes && !p->activations) || (p->workspace_bytes && !p->workspace))
        return lam_fail(LAM_ERR_INTERNAL, "a program was run before its buffers were attached");
    for (int i = 0; i < p->graph->input_count; i++)
        if (!p->input_data[i] && !p->split)
            return lam_fail(LAM_ERR_INTERNAL, "program input '%s' is not bound", p->graph->inputs[i].name);
    for (int i = 0; i < p->graph->output_count; i++)
        if (p->graph->outputs[i].border && !p->output_data[i] && !p->split)
            return lam_fail(LAM_ERR_INTERNAL, "program output '%s' is not bound", p->graph->outputs[i].name);
    float *values = lam_params_values(p->params);
    if (p->param_base != values || p->buffer_base != lam_params_buffers(p->params)) p->resolved = false;
    p->param_base = values;
    p->gradient_base = lam_params_gradients(p->params);
    p->buffer_base = lam_params_buffers(p->params);
    if (!values && lam_params_count(p->params))
        return lam_fail(LAM_ERR_INTERNAL, "a program was run before its parameters were allocated");
    p->run = *of;
    p->run_begin = begin;
    p->run_end = end;
    return lam_program_execute(p);
}

lam_status lam_program_run(struct lam_program *p, uint64_t seed, uint64_t step) {
    return run(p, 0, p->segment_count, &(struct lam_run){.seed = seed, .step = step});
}

lam_status lam_program_run_part(struct lam_program *p, enum lam_program_part part, const struct lam_run *of) {
    if (!p->forward_segments)
        return lam_fail(LAM_ERR_INTERNAL, "the program was not compiled to be run in parts");
    bool forward = part == LAM_PROGRAM_FORWARD;
    return run(p, forward ? 0 : p->forward_segments, forward ? p->forward_segments : p->segment_count, of);
}

lam_status lam_program_read(const struct lam_program *p, const char *name, void *host, size_t bytes) {
    int output = lam_program_output(p, name);
    if (output < 0) return lam_fail(LAM_ERR_INTERNAL, "a program has no output '%s'", name);
    if (bytes != lam_program_output_bytes(p, output))
        return lam_fail(LAM_ERR_INTERNAL, "output '%s' has %zu bytes, not %zu", name,
                        lam_program_output_bytes(p, output), bytes);
    return lam_device_download(p->device, host, lam_program_output_data(p, output), bytes);
}

/* ---- look inside ---- */

void lam_program_profile(struct lam_program *p, bool on) {
    p->profile = on;
    p->run_seconds = 0;
    p->runs = 0;
    for (int s = 0; s < p->step_count; s++) {
        p->steps[s].seconds = p->steps[s].reduce_seconds = 0;
        p->steps[s].calls = 0;
    }
}

struct profile_line {
    char text[480];
    double seconds, reduce_seconds, flops, bytes;
    long calls;
    int ops;
};

static int slower_first(const void *a, const void *b) {
    const struct profile_line *x = a, *y = b;
    double tx = x->seconds + x->reduce_seconds, ty = y->seconds + y->reduce_seconds;
    return tx < ty ? 1 : tx > ty ? -1 : 0;
}

static double step_bytes(const struct lam_program *p, const struct step *step) {
    double sum = 0;
    for (int i = 0; i < step->node.op.inputs; i++)
        if (step->node.in[i] != LAM_NO_VALUE) sum += (double)p->values[step->node.in[i]].sample_bytes;
    for (int o = 0; o < step->node.op.outputs; o++)
        if (step->node.out[o] != LAM_NO_VALUE) sum += (double)p->values[step->node.out[o]].sample_bytes;
    return sum * (double)p->batch;
}

static int collect(const struct lam_program *p, struct profile_line *lines) {
    int count = 0;
    for (int s = 0; s < p->step_count; s++) {
        const struct step *step = &p->steps[s];
        char text[480];
        lam_program_op_text(p, step, text, sizeof text);
        int at = 0;
        while (at < count && strcmp(lines[at].text, text)) at++;
        if (at == count) {
            lines[count++] = (struct profile_line){.seconds = 0};
            memcpy(lines[at].text, text, sizeof text);
        }
        lines[at].seconds += step->seconds;
        lines[at].reduce_seconds += step->reduce_seconds;
        lines[at].calls += step->calls;
        lines[at].ops++;
        lines[at].flops += lam_op_flops(&step->node.op) * (step->clone ? 0 : 1);
        lines[at].bytes += step_bytes(p, step);
    }
    qsort(lines, (size_t)count, sizeof *lines, slower_first);
    return count;
}

double lam_program_tag_seconds(const struct lam_program *p, int tag) {
    double sum = 0;
    for (int s = 0; s < p->step_count; s++)
        if (p->steps[s].node.tag == tag) sum += p->steps[s].seconds + p->steps[s].reduce_seconds;
    return p->runs ? sum / (double)p->runs : 0;
}

void lam_program_profile_print(const struct lam_program *p, FILE *file) {
    struct profile_line *lines = calloc((size_t)p->step_count + 1, sizeof *lines);
    if (!lines || !p->runs) {
        free(lines);
        return;
    }
    int count = collect(p, lines);
    double total = p->run_seconds / (double)p->runs, sum = 0;
    for (int i = 0; i < count; i++) sum += (lines[i].seconds + lines[i].reduce_seconds) / (double)p->runs;
    fprintf(file, "step %.2f ms on lane 0 of %d; ops %.2f ms (%.1f %%), the rest is waiting and calls\n",
            1e3 * total, p->lanes, 1e3 * sum, 100 * sum / total);
    fprintf(file, "%9s %6s %9s %9s %9s %5s  %s\n", "ms", "share", "GFLOP/s", "GB/s", "fold ms", "ops", "op");
    for (int i = 0; i < count; i++) {
        double seconds = lines[i].seconds / (double)p->runs, fold = lines[i].reduce_seconds / (double)p->runs;
        double share = (seconds + fold) / total,
               per_lane = 1e-9 / (double)p->lanes / (seconds > 0 ? seconds : 1);
        fprintf(file, "%9.3f %5.1f%% %9.1f %9.1f %9.3f %5d  %s\n", 1e3 * seconds, 100 * share,
                lines[i].flops * per_lane, lines[i].bytes * per_lane, 1e3 * fold, lines[i].ops,
                lines[i].text);
    }
    free(lines);
}

int lam_program_op_count(const struct lam_program *p) {
    return p->step_count;
}

struct lam_program_op lam_program_op(const struct lam_program *p, int index) {
    const struct step *step = &p->steps[index];
    return (struct lam_program_op){.op = &step->node.op,
                                   .tag = step->node.tag,
                                   .segment = step->when,
                                   .batched = step->batched,
                                   .backward = step->node.backward,
                                   .again = step->clone,
                                   .from_outside = step->node.in[0] != LAM_NO_VALUE &&
                                                   p->values[step->node.in[0]].value.kind == VALUE_INPUT};
}

void lam_program_print(const struct lam_program *p, FILE *file) {
    fprintf(
        file,
        "%d ops in %d segments on %d lanes; activations %zu bytes, workspace %zu bytes (slice area %zu)\n",
        p->step_count, p->segment_count, p->lanes, p->activation_bytes, p->workspace_bytes, p->lane_bytes);
    for (int t = 0; t < p->segment_count; t++) {
        fprintf(file, "segment %d, slice %d\n", t, p->segments[t].slice);
        for (int s = p->segments[t].begin; s < p->segments[t].end; s++) {
            char text[480];
            lam_program_op_text(p, &p->steps[s], text, sizeof text);
            fprintf(file, "  %s%s%s%s%s\n", p->steps[s].clone ? "again: " : "", text,
                    p->steps[s].choice ? " (" : "", p->steps[s].choice ? p->steps[s].choice : "",
                    p->steps[s].choice ? ")" : "");
        }
    }
    for (int v = 0; v < p->value_count; v++) {
        const struct program_value *value = &p->values[v];
        if (value->value.kind != VALUE_COMPUTED || value->local || !value->value.batched ||
            (value->place.kind != PLACE_ACTIVATION && value->place.kind != PLACE_OUTPUT))
            continue;
        char text[96];
        fprintf(file, "kept v%d %s %s from segment %d to time %d\n", v,
                lam_dtype_name(value->value.desc.dtype),
                lam_shape_text(value->value.desc.shape, text, sizeof text), value->defined, value->last_used);
    }
}
