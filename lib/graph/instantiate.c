/* From schedule to something that runs: a kernel for each op at its segment's slice, and a place for each
 * value.
 *
 * Two buffers. The activation buffer holds values over the whole batch and shared values, planned by the time
 * they live. The workspace buffer holds repacked weights and partial sums, planned alike, and behind them one
 * slice area per lane, in which the values of a segment that need not be kept, and the kernels' scratch, are
 * planned op by op.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "graph/program_internal.h"

void lam_program_lane_range(const struct lam_program *p, int lane, int64_t *begin, int64_t *end) {
    *begin = p->batch * lane / p->lanes;
    *end = p->batch * (lane + 1) / p->lanes;
}

/* ---- names ---- */

static void operand_text(const struct lam_operand *operand, char *text, size_t size) {
    static const char *const layouts[] = {"", "c8", "c16", "nhwc"};
    struct lam_shape shape = operand->desc.shape;
    if (operand->batched) { /* the batch is not part of the name: slices are */
        for (int i = 1; i < shape.rank; i++) shape.dim[i - 1] = shape.dim[i];
        shape.rank--;
    }
    char dims[96];
    size_t used = (size_t)snprintf(text, size, " %s%s%s", lam_dtype_name(operand->desc.dtype),
                                   layouts[operand->desc.layout], operand->batched ? "n" : "");
    lam_shape_text(shape, dims, sizeof dims);
    for (const char *d = dims + 1; *d && *d != ']' && used + 2 < size; d++) /* "16x32x32" */
        if (*d != ' ') text[used++] = *d == ',' ? 'x' : *d;
    text[used] = 0;
}

void lam_program_op_text(const struct lam_program *p, const struct step *step, char *text, size_t size) {
    (void)p;
    const struct lam_op *op = &step->node.op;
    size_t used = (size_t)snprintf(text, size, "%s", lam_op_name(op->kind));
    if (op->kind == LAM_OP_CONV || op->kind == LAM_OP_CONV_BWD_DATA || op->kind == LAM_OP_CONV_BWD_WEIGHTS) {
        const struct lam_conv_attr *c = &op->attr.conv;
        used += (size_t)snprintf(text + used, size - used, " k%dx%d s%dx%d p%dx%d d%dx%d g%d%s", c->kernel[0],
                                 c->kernel[1], c->stride[0], c->stride[1], c->pad[0], c->pad[1],
                                 c->dilation[0], c->dilation[1], c->groups, c->relu ? " relu" : "");
    }
    for (int i = 0; i < op->inputs + op->outputs && used + 1 < size; i++) {
        const struct lam_operand *operand = i < op->inputs ? &op->in[i] : &op->out[i - op->inputs];
        if (i == op->inputs) used += (size_t)snprintf(text + used, size - used, " ->");
        if (!operand->present || used + 1 >= size) continue;
        operand_text(operand, text + used, size - used);
        used += strlen(text + used);
    }
}

/* ---- kernels ---- */

static int descending(const void *a, const void *b) {
    return *(const int *)b - *(const int *)a;
}

/* The slice sizes that occur when lanes go through their samples `slice` at a time; largest first. */
static int slice_sizes(const struct lam_program *p, int slice, int *sizes, int capacity) {
    int count = 0;
    for (int lane = 0; lane < p->lanes; lane++) {
        int64_t begin, end;
        lam_program_lane_range(p, lane, &begin, &end);
        int samples = (int)(end - begin), found[2] = {samples < slice ? samples : slice, samples % slice};
        for (int i = 0; i < 2; i++) {
            bool known = found[i] == 0;
            for (int k = 0; k < count; k++) known |= sizes[k] == found[i];
            if (!known && count < capacity) sizes[count++] = found[i];
        }
    }
    qsort(sizes, (size_t)count, sizeof *sizes, descending);
    return count;
}

static lam_status create_kernel(struct lam_program *p, struct step *step, int slice,
                                struct lam_tuning *tuning) {
    enum { MOST_SIZES = 8 };
    int sizes[MOST_SIZES] = {1};
    struct lam_kernel_options options = {
        .slices = sizes, .slice_count = 1, .lanes = p->lanes, .tf32 = lam_device_modes(p->device).tf32};
    if (step->batched) options.slice_count = slice_sizes(p, slice, sizes, MOST_SIZES);
    char key[512], text[480];
    lam_program_op_text(p, step, text, sizeof text);
    snprintf(key, sizeof key, "kernel %s slice %d", text, slice);
    enum lam_tuning_mode mode = lam_tuning_mode(tuning);
    if (mode != LAM_TUNING_FIXED) options.choice = lam_tuning_get(tuning, key);
    bool measure = !options.choice && mode == LAM_TUNING_MEASURE;
    if (measure) options.choice = LAM_KERNEL_MEASURE;
    if (measure && lam_tuning_stopped(tuning))
        return lam_fail(LAM_ERR_STOPPED, "stopped while measuring kernels");
    step->choice = NULL;
    LAM_TRY(p->backend->kernel_create(p->handle, &step->node.op, &options, &step->kernel, &step->choice));
    if (measure && step->choice) LAM_TRY(lam_tuning_set(tuning, key, step->choice));
    return LAM_OK;
}

static lam_status create_kernels(struct lam_program *p, struct lam_tuning *tuning) {
    for (int t = 0; t < p->segment_count; t++)
        for (int s = p->segments[t].begin; s < p->segments[t].end; s++)
            LAM_TRY(create_kernel(p, &p->steps[s], p->segments[t].slice, tuning));
    for (int t = 0; t <= p->segment_count; t++)
        for (int s = p->stages[t].begin; s < p->stages[t].end; s++)
            LAM_TRY(create_kernel(p, &p->steps[s], 0, tuning));
    return LAM_OK;
}

void lam_program_clear(struct lam_program *p) {
    lam_program_forget_recordings(p);
    for (int s = 0; s < p->step_count; s++) {
        if (p->steps[s].kernel) p->steps[s].kernel->destroy(p->steps[s].kernel);
        p->steps[s].kernel = NULL;
    }
    p->resolved = false;
}

/* ---- memory ---- */

static size_t value_bytes(const struct lam_program *p, const struct program_value *value) {
    return value->value.batched ? value->sample_bytes * (size_t)p->batch
                                : lam_tensor_bytes(&value->value.desc);
}

/* The step that writes a value, and the last one that reads it. */
static void find_steps(const struct lam_program *p, int v, struct plan_item *item) {
    for (int s = 0; s < p->step_count; s++) {
        const struct node *node = &p->steps[s].node;
        for (int o = 0; o < node->op.outputs; o++)
            if (node->out[o] == v) item->written = item->read = s;
        for (int i = 0; i < node->op.inputs; i++)
            if (node->in[i] == v) item->read = s;
    }
}

/* Values over the batch, and shared ones. */
static lam_status plan_activations(struct lam_program *p, const bool *made) {
    struct plan_item *items = calloc((size_t)p->value_count + 1, sizeof *items);
    int *of = malloc(sizeof *of * ((size_t)p->value_count + 1));
    if (!items || !of) {
        free(items);
        free(of);
        return lam_no_memory();
    }
    int count = 0;
    for (int v = 0; v < p->value_count; v++) {
        struct program_value *value = &p->values[v];
        if (value->value.kind != VALUE_COMPUTED || value->local || !made[v]) continue;
        if (value->bound) {
            value->place = (struct place){
                .kind = PLACE_OUTPUT, .index = value->output, .sample_bytes = value->sample_bytes};
            continue;
        }
        of[count] = v;
        items[count] = (struct plan_item){
            .bytes = value_bytes(p, value),
            .begin = 2 * value->defined + (value->value.batched ? 1 : 0),
            .end = value->output >= 0 ? 2 * p->segment_count + 1 : value->last_used,
            .row = value->sample_bytes,
        };
        find_steps(p, v, &items[count++]);
    }
    p->activation_bytes = lam_plan(items, count);
    for (int i = 0; i < count; i++) {
        struct program_value *value = &p->values[of[i]];
        value->place = (struct place){.kind = value->output >= 0 ? PLACE_OUTPUT : PLACE_ACTIVATION,
                                      .index = value->output,
                                      .offset = items[i].offset,
                                      .sample_bytes = value->sample_bytes};
    }
    free(items);
    free(of);
    return LAM_OK;
}

static void place_externals(struct lam_program *p) {
    for (int v = 0; v < p->value_count; v++) {
        struct program_value *value = &p->values[v];
        const struct value *of = &value->value;
        if (of->kind == VALUE_COMPUTED) continue;
        struct place place = {.sample_bytes = value->sample_bytes};
        if (of->kind == VALUE_INPUT) {
            place.kind = PLACE_INPUT;
            for (int i = 0; i < p->graph->input_count; i++)
                if (p->input_values[i] == v) place.index = i;
        } else {
            place.kind = of->kind == VALUE_PARAM    ? PLACE_PARAM
                         : of->kind == VALUE_BUFFER ? PLACE_BUFFER
                                                    : PLACE_GRADIENT;
            place.offset = (size_t)lam_params_get(p->params, of->param)->offset * sizeof(float);
        }
        value->place = place;
    }
}

/* The slice area of one segment: local values and kernels' scratch, by op. Returns its bytes; 0 also when
 * empty. */
static lam_status plan_slices(struct lam_program *p, const struct segment *segment, size_t *bytes) {
    int steps = segment->end - segment->begin;
    struct plan_item *items = calloc((size_t)(steps * (LAM_MAX_OUTPUTS + 1)) + 1, sizeof *items);
    int *of = malloc(sizeof *of * ((size_t)(steps * (LAM_MAX_OUTPUTS + 1)) + 1)); /* value, or -1 - step */
    int *item_of = malloc(sizeof *item_of * ((size_t)p->value_count + 1));
    if (!items || !of || !item_of) {
        free(items);
        free(of);
        free(item_of);
        return lam_no_memory();
    }
    int count = 0;
    for (int s = segment->begin; s < segment->end; s++) {
        const struct step *step = &p->steps[s];
        for (int o = 0; o < step->node.op.outputs; o++) {
            lam_value v = step->node.out[o];
            if (v == LAM_NO_VALUE || !p->values[v].local) continue;
            item_of[v] = count;
            of[count] = v;
            items[count++] = (struct plan_item){
                .bytes = p->values[v].sample_bytes * (size_t)segment->slice, .begin = s, .end = s};
        }
        for (int i = 0; i < step->node.op.inputs; i++)
            if (step->node.in[i] != LAM_NO_VALUE && p->values[step->node.in[i]].local)
                items[item_of[step->node.in[i]]].end = s;
        if (step->kernel->workspace_bytes) {
            of[count] = -1 - s;
            items[count++] = (struct plan_item){.bytes = step->kernel->workspace_bytes, .begin = s, .end = s};
        }
    }
    *bytes = lam_plan(items, count);
    for (int i = 0; i < count; i++) {
        if (of[i] >= 0)
            p->values[of[i]].place = (struct place){.kind = PLACE_SLICE, .offset = items[i].offset};
        else
            p->steps[-1 - of[i]].workspace_offset = items[i].offset;
    }
    free(items);
    free(of);
    free(item_of);
    return LAM_OK;
}

static size_t aligned(size_t bytes) {
    return (bytes + 63) / 64 * 64;
}

/* In front of its segment. Where the whole batch is taken at once, parameters are prepared together when the part of the
 * program begins, since there a launch costs more than the memory that they hold from then on. */
static void find_prepare_stage(const struct lam_program *p, struct step *step) {
    step->prepares_computed = false;
    for (int i = 0; i < step->node.op.inputs; i++) {
        if (!step->batched || !step->kernel->prepared_bytes[i]) continue;
        enum value_kind kind = p->values[step->node.in[i]].value.kind;
        step->prepares_computed |= kind == VALUE_COMPUTED || kind == VALUE_GRADIENT;
    }
    bool early = p->backend->whole_batch && !step->prepares_computed;
    int part = p->split && step->when >= p->forward_segments ? p->forward_segments : 0;
    step->prepare_stage = early ? part : step->when;
}

/* The earlier step that makes the form of input `i` that step `s` needs, in the same stage; -1: none. Where several
 * convolutions share weights, and where one and its gradient do, the first prepares them for all. */
static int find_preparer(const struct lam_program *p, int s, int i) {
    const struct step *step = &p->steps[s];
    if (!step->kernel->prepared_form[i]) return -1;
    for (int other = p->segments[step->prepare_stage].begin; other < s; other++) {
        const struct step *earlier = &p->steps[other];
        if (earlier->prepare_stage == step->prepare_stage && earlier->node.in[i] == step->node.in[i] &&
            earlier->kernel->prepared_form[i] == step->kernel->prepared_form[i] &&
            earlier->kernel->prepared_bytes[i] == step->kernel->prepared_bytes[i])
            return other;
    }
    return -1;
}

/* Repacked weights and partial sums. An item's owner is (step, input) or (step, -1) for the partials. */
static lam_status plan_workspace(struct lam_program *p) {
    const size_t most = (size_t)p->step_count * (LAM_MAX_INPUTS + 1) + 1;
    struct plan_item *items = calloc(most, sizeof *items);
    int *of = malloc(sizeof *of * most), *item_of = malloc(sizeof *item_of * most); /* owners; their items */
    if (!items || !of || !item_of) {
        free(items);
        free(of);
        free(item_of);
        return lam_no_memory();
    }
    int count = 0;
    for (int s = 0; s < p->step_count; s++) {
        struct step *step = &p->steps[s];
        const struct lam_kernel *kernel = step->kernel;
        find_prepare_stage(p, step);
        for (int i = 0; i < step->node.op.inputs; i++) {
            step->prepared[i] = (struct place){.kind = PLACE_ABSENT};
            step->preparer[i] = -1;
            if (!step->batched || !kernel->prepared_bytes[i]) continue;
            step->preparer[i] = find_preparer(p, s, i);
            if (step->preparer[i] >= 0) {
                items[item_of[step->preparer[i] * (LAM_MAX_INPUTS + 1) + i]].end = 2 * step->when + 1;
                continue;
            }
            of[count] = s * (LAM_MAX_INPUTS + 1) + i;
            item_of[of[count]] = count;
            items[count++] = (struct plan_item){.bytes = kernel->prepared_bytes[i],
                                                .begin = 2 * step->prepare_stage,
                                                .end = 2 * step->when + 1};
        }
        if (!step->batched || !kernel->partial_bytes) continue;
        step->first_partial_is_output = kernel->partial_is_output;
        of[count] = s * (LAM_MAX_INPUTS + 1) + LAM_MAX_INPUTS;
        size_t own = (size_t)(p->lanes - (step->first_partial_is_output ? 1 : 0));
        items[count++] = (struct plan_item){.bytes = own * aligned(kernel->partial_bytes),
                                            .begin = 2 * step->when + 1,
                                            .end = 2 * step->when + 2};
    }
    p->lane_area_offset = aligned(lam_plan(items, count));
    for (int k = 0; k < count; k++) {
        struct step *step = &p->steps[of[k] / (LAM_MAX_INPUTS + 1)];
        int i = of[k] % (LAM_MAX_INPUTS + 1);
        if (i == LAM_MAX_INPUTS)
            step->partial_offset = items[k].offset;
        else
            step->prepared[i] = (struct place){.kind = PLACE_WORKSPACE, .offset = items[k].offset};
    }
    for (int s = 0; s < p->step_count; s++)
        for (int i = 0; i < p->steps[s].node.op.inputs; i++)
            if (p->steps[s].preparer[i] >= 0)
                p->steps[s].prepared[i] = p->steps[p->steps[s].preparer[i]].prepared[i];
    free(items);
    free(of);
    free(item_of);
    return LAM_OK;
}

static lam_status plan_memory(struct lam_program *p) {
    bool *made = calloc((size_t)p->value_count + 1, sizeof *made);
    if (!made) return lam_no_memory();
    for (int s = 0; s < p->step_count; s++)
        for (int o = 0; o < p->steps[s].node.op.outputs; o++)
            if (p->steps[s].node.out[o] != LAM_NO_VALUE) made[p->steps[s].node.out[o]] = true;
    lam_status status = plan_activations(p, made);
    free(made);
    LAM_TRY(status);
    place_externals(p);
    LAM_TRY(plan_workspace(p));
    p->lane_bytes = 0;
    for (int t = 0; t < p->segment_count; t++) {
        size_t bytes = 0;
        LAM_TRY(plan_slices(p, &p->segments[t], &bytes));
        if (bytes > p->lane_bytes) p->lane_bytes = bytes;
    }
    for (int t = 0; t <= p->segment_count; t++) /* ops without batch use lane 0's area for scratch */
        for (int s = p->stages[t].begin; s < p->stages[t].end; s++) {
            p->steps[s].workspace_offset = 0;
            if (p->steps[s].kernel->workspace_bytes > p->lane_bytes)
                p->lane_bytes = p->steps[s].kernel->workspace_bytes;
        }
    p->lane_bytes = aligned(p->lane_bytes);
    p->workspace_bytes = p->lane_area_offset + (size_t)p->lanes * p->lane_bytes;
    return LAM_OK;
}

lam_status lam_program_instantiate(struct lam_program *p, struct lam_tuning *tuning) {
    lam_program_clear(p);
    lam_status status = create_kernels(p, tuning);
    if (status == LAM_OK) status = plan_memory(p);
    if (status != LAM_OK) lam_program_clear(p);
    return status;
}
