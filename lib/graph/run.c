/* Running a program: every lane walks through stages and segments in the same order and meets the others
 * between them.
 *
 * Stage t folds the reductions of segment t - 1 and prepares weights for segment t, each lane doing its part
 * of every item; then lane 0 alone runs the ops that have no batch. In segment t a lane takes its samples
 * slice by slice through all of the segment's ops. Which lane does which samples is fixed, and partial sums
 * are folded in lane order, so the result does not depend on timing.
 */
#include "graph/program_internal.h"

#include "base/files.h"

/* ---- addresses ---- */

static char *base_of(const struct lam_program *p, const struct place *place) {
    switch (place->kind) {
    case PLACE_ABSENT:
        return NULL;
    case PLACE_INPUT:
        return (char *)(uintptr_t)p->input_data[place->index];
    case PLACE_OUTPUT:
        return p->output_data[place->index] ? p->output_data[place->index] : p->activations + place->offset;
    case PLACE_PARAM:
        return (char *)p->param_base + place->offset;
    case PLACE_BUFFER:
        return (char *)p->buffer_base + place->offset;
    case PLACE_GRADIENT:
        return (char *)p->gradient_base + place->offset;
    case PLACE_ACTIVATION:
        return p->activations + place->offset;
    case PLACE_WORKSPACE:
        return p->workspace + place->offset;
    case PLACE_SLICE:
        return p->workspace + p->lane_area_offset + place->offset;
    }
    return NULL;
}

static void resolve(struct lam_program *p) {
    for (int s = 0; s < p->step_count; s++) {
        struct step *step = &p->steps[s];
        for (int i = 0; i < step->node.op.inputs; i++) {
            lam_value v = step->node.in[i];
            step->in[i] = v == LAM_NO_VALUE ? NULL : base_of(p, &p->values[v].place);
            step->prepared_at[i] = base_of(p, &step->prepared[i]);
        }
        for (int o = 0; o < step->node.op.outputs; o++) {
            lam_value v = step->node.out[o];
            step->out[o] = v == LAM_NO_VALUE ? NULL : base_of(p, &p->values[v].place);
        }
        step->partial = p->workspace + step->partial_offset;
        step->workspace = p->workspace + p->lane_area_offset + step->workspace_offset;
    }
    p->resolved = true;
}

/* An operand's address for one lane and first sample. */
static char *locate(const struct lam_program *p, const char *address, lam_value v, int lane, int64_t first) {
    const struct place *place = &p->values[v].place;
    size_t shift =
        place->kind == PLACE_SLICE ? (size_t)lane * p->lane_bytes : (size_t)first * place->sample_bytes;
    return (char *)(uintptr_t)address + shift;
}

/* ---- partial sums ---- */

static int first_busy_lane(const struct lam_program *p) {
    return p->batch >= p->lanes ? 0 : (int)((p->lanes + p->batch - 1) / p->batch) - 1;
}

static void *partial_of(const struct lam_program *p, const struct step *step, int lane) {
    size_t bytes = (step->kernel->partial_bytes + 63) / 64 * 64;
    if (!step->first_partial_is_output) return step->partial + (size_t)lane * bytes;
    int first = first_busy_lane(p);
    if (lane == first) return step->out[0];
    return step->partial + (size_t)(lane - (lane > first ? 1 : 0)) * bytes;
}

static bool has_reduction(const struct step *step) {
    return step->kernel->partial_bytes > 0;
}

static void fold(struct lam_program *p, struct step *step, int lane) {
    enum { MOST_LANES = 256 };
    void *partials[MOST_LANES], *out[LAM_MAX_OUTPUTS] = {0};
    int count = 0;
    for (int l = 0; l < p->lanes && count < MOST_LANES; l++) {
        int64_t begin, end;
        lam_program_lane_range(p, l, &begin, &end);
        if (end > begin) partials[count++] = partial_of(p, step, l);
    }
    for (int o = 0; o < step->node.op.outputs; o++) {
        lam_value v = step->node.out[o];
        if (v != LAM_NO_VALUE && !p->values[v].value.batched) out[o] = step->out[o];
    }
    double start = p->profile && lane == 0 ? lam_seconds() : 0;
    step->kernel->reduce(step->kernel, partials, count, out, lane, p->lanes, lam_device_stream(p->device));
    if (p->profile && lane == 0) step->reduce_seconds += lam_seconds() - start;
}

/* ---- stages ---- */

static void prepare(struct lam_program *p, struct step *step, int lane) {
    double start = p->profile && lane == 0 ? lam_seconds() : 0;
    for (int i = 0; i < step->node.op.inputs; i++)
        if (step->prepared_at[i])
            step->kernel->prepare(step->kernel, i, step->in[i], step->prepared_at[i], lane, p->lanes,
                                  lam_device_stream(p->device));
    if (p->profile && lane == 0) step->reduce_seconds += lam_seconds() - start;
}

static void run_unbatched(struct lam_program *p, struct step *step) {
    struct lam_kernel_args args = {
        .workspace = step->workspace, .stream = lam_device_stream(p->device), .run = &p->run};
    for (int i = 0; i < step->node.op.inputs; i++) args.in[i] = step->in[i];
    for (int o = 0; o < step->node.op.outputs; o++) args.out[o] = step->out[o];
    step->kernel->run(step->kernel, &args);
}

static bool computed_here(const struct lam_program *p, lam_value v) {
    return p->values[v].value.kind == VALUE_COMPUTED || p->values[v].value.kind == VALUE_GRADIENT;
}

/* The prepared input of this step comes from an op, not from a parameter: it has to wait for that op. */
static bool prepares_computed(const struct lam_program *p, const struct step *step) {
    for (int i = 0; i < step->node.op.inputs; i++)
        if (step->prepared[i].kind != PLACE_ABSENT && computed_here(p, step->node.in[i])) return true;
    return false;
}

static bool has_prepared(const struct step *step) {
    for (int i = 0; i < step->node.op.inputs; i++)
        if (step->prepared[i].kind != PLACE_ABSENT) return true;
    return false;
}

/* Folds the reductions of segment t; each lane its part. */
static bool fold_segment(struct lam_program *p, int t, int lane) {
    bool work = false;
    for (int s = p->segments[t].begin; s < p->segments[t].end; s++)
        if (has_reduction(&p->steps[s])) {
            fold(p, &p->steps[s], lane);
            work = true;
        }
    return work;
}

/* Prepares inputs of segment t that ops make (computed), or that were there before the run. */
static bool prepare_segment(struct lam_program *p, int t, int lane, bool computed) {
    bool work = false;
    for (int s = p->segments[t].begin; s < p->segments[t].end; s++)
        if (has_prepared(&p->steps[s]) && prepares_computed(p, &p->steps[s]) == computed) {
            prepare(p, &p->steps[s], lane);
            work = true;
        }
    return work;
}

/* A part of a run begins with preparing for its first segment, and ends with folding its last one: the other part may
 * come much later. */
static void run_stage(struct lam_program *p, int t, int lane) {
    bool begins = t == p->run_begin && t > 0, ends = t == p->run_end, work = false;
    if (t > p->run_begin) work |= fold_segment(p, t - 1, lane);
    if (!ends) work |= prepare_segment(p, t, lane, false);
    if (work) p->backend->lane_barrier(p->handle, lane);
    if (!begins && p->stages[t].end > p->stages[t].begin) {
        for (int s = p->stages[t].begin; s < p->stages[t].end && lane == 0; s++)
            run_unbatched(p, &p->steps[s]);
        p->backend->lane_barrier(p->handle, lane);
    }
    if (!ends && prepare_segment(p, t, lane, true)) p->backend->lane_barrier(p->handle, lane);
}

/* ---- segments ---- */

static void run_step(struct lam_program *p, struct step *step, int lane, int64_t first, int count,
                     bool accumulate) {
    struct lam_kernel_args args = {
        .workspace = step->workspace + (size_t)lane * p->lane_bytes,
        .partial = has_reduction(step) ? partial_of(p, step, lane) : NULL,
        .count = count,
        .first = first,
        .accumulate = accumulate,
        .lane = lane,
        .stream = lam_device_stream(p->device),
        .run = &p->run,
    };
    for (int i = 0; i < step->node.op.inputs; i++) {
        lam_value v = step->node.in[i];
        if (v == LAM_NO_VALUE) continue;
        args.in[i] = step->prepared_at[i] ? step->prepared_at[i] : locate(p, step->in[i], v, lane, first);
    }
    for (int o = 0; o < step->node.op.outputs; o++) {
        lam_value v = step->node.out[o];
        if (v != LAM_NO_VALUE && p->values[v].value.batched)
            args.out[o] = locate(p, step->out[o], v, lane, first);
    }
    double start = p->profile && lane == 0 ? lam_seconds() : 0;
    step->kernel->run(step->kernel, &args);
    if (p->profile && lane == 0) {
        step->seconds += lam_seconds() - start;
        step->calls++;
    }
}

static void run_segment(struct lam_program *p, int t, int lane) {
    const struct segment *segment = &p->segments[t];
    int64_t begin, end;
    lam_program_lane_range(p, lane, &begin, &end);
    for (int64_t first = begin; first < end; first += segment->slice) {
        int count = (int)(end - first < segment->slice ? end - first : segment->slice);
        for (int s = segment->begin; s < segment->end; s++)
            run_step(p, &p->steps[s], lane, first, count, first > begin);
    }
}

static void run_lane(void *context, int lane) {
    struct lam_program *p = context;
    for (int t = p->run_begin; t <= p->run_end; t++) {
        double start = p->time_segments && lane == 0 ? lam_seconds() : 0;
        run_stage(p, t, lane);
        if (t == p->run_end) break;
        run_segment(p, t, lane);
        p->backend->lane_barrier(p->handle, lane);
        if (lane == 0 && p->hook.done && p->hook.segment == t) p->hook.done(p->hook.context);
        if (p->time_segments && lane == 0) p->segments[t].seconds = lam_seconds() - start;
    }
}

void lam_program_execute(struct lam_program *p) {
    if (!p->resolved) resolve(p);
    double start = lam_seconds();
    p->backend->run_lanes(p->handle, run_lane, p);
    p->run_seconds += lam_seconds() - start;
    p->runs++;
}
