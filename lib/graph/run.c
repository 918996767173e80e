/* Running a program: every lane walks through stages and segments in the same order and meets the others
 * between them.
 *
 * Stage t folds the reductions of segment t - 1 and prepares weights for segment t (on devices that take the whole batch at
 * once: for all segments of the part, when it begins), each lane doing its part
 * of every item; then lane 0 alone runs the ops that have no batch. In segment t a lane takes its samples
 * slice by slice through all of the segment's ops. Which lane does which samples is fixed, and partial sums
 * are folded in lane order, so the result does not depend on timing.
 */
#include "graph/program_internal.h"

#include <stdlib.h>
#include <string.h>

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

/* ---- profile ---- */

/* A profile that wants times waits for a device that works later. */
static double profile_time(const struct lam_program *p, int lane) {
    if (!p->profile || lane != 0) return 0;
    if (!p->backend->host_visible) p->backend->stream_sync(lam_device_stream(p->device));
    return lam_seconds();
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
    double start = profile_time(p, lane);
    step->kernel->reduce(step->kernel, partials, count, out, lane, p->lanes, lam_device_stream(p->device));
    if (p->profile && lane == 0) step->reduce_seconds += profile_time(p, lane) - start;
}

/* ---- stages ---- */

static void prepare(struct lam_program *p, struct step *step, int lane) {
    double start = profile_time(p, lane);
    for (int i = 0; i < step->node.op.inputs; i++)
        if (step->prepared_at[i] && step->preparer[i] < 0)
            step->kernel->prepare(step->kernel, i, step->in[i], step->prepared_at[i], lane, p->lanes,
                                  lam_device_stream(p->device));
    if (p->profile && lane == 0) step->reduce_seconds += profile_time(p, lane) - start;
}

static void run_unbatched(struct lam_program *p, struct step *step) {
    struct lam_kernel_args args = {
        .workspace = step->workspace, .stream = lam_device_stream(p->device), .run = &p->run};
    for (int i = 0; i < step->node.op.inputs; i++) args.in[i] = step->in[i];
    for (int o = 0; o < step->node.op.outputs; o++) args.out[o] = step->out[o];
    step->kernel->run(step->kernel, &args);
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

/* Does what stage t prepares: inputs that ops make (computed), or that were there before the run. */
static bool prepare_stage(struct lam_program *p, int t, int lane, bool computed) {
    bool work = false,
         all = p->backend->whole_batch && !computed; /* then it is for any segment of the part */
    if (all && t != 0 && t != p->forward_segments) return false;
    int end = p->segments[all ? p->segment_count - 1 : t].end;
    for (int s = p->segments[t].begin; s < end; s++) {
        struct step *step = &p->steps[s];
        if (!has_prepared(step) || step->prepare_stage != t || step->prepares_computed != computed) continue;
        prepare(p, step, lane);
        work = true;
    }
    return work;
}

static void together(const struct lam_program *p, void (*function)(struct lam_stream *stream)) {
    if (function && !p->profile) function(lam_device_stream(p->device));
}

/* A part of a run begins with preparing for its first segment, and ends with folding its last one: the other part may
 * come much later. */
static void run_stage(struct lam_program *p, int t, int lane) {
    bool begins = t == p->run_begin && t > 0, ends = t == p->run_end, work = false;
    together(p, p->backend->together_begin);
    if (t > p->run_begin) work |= fold_segment(p, t - 1, lane);
    if (!ends) work |= prepare_stage(p, t, lane, false);
    together(p, p->backend->together_end);
    if (work) p->backend->lane_barrier(p->handle, lane);
    if (!begins && p->stages[t].end > p->stages[t].begin) {
        for (int s = p->stages[t].begin; s < p->stages[t].end && lane == 0; s++)
            run_unbatched(p, &p->steps[s]);
        p->backend->lane_barrier(p->handle, lane);
    }
    if (!ends && prepare_stage(p, t, lane, true)) p->backend->lane_barrier(p->handle, lane);
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
    double start = profile_time(p, lane);
    step->kernel->run(step->kernel, &args);
    if (p->profile && lane == 0) {
        step->seconds += profile_time(p, lane) - start;
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

/* From lane 0: what wants to know of outputs is told when they are complete. */
static void tell(struct lam_program *p, int segment) {
    if (!p->hook.done || p->hook.segment != segment) return;
    lam_status status = p->backend->call_host(lam_device_stream(p->device), p->hook.done, p->hook.context);
    if (p->run_status == LAM_OK && status != LAM_OK) lam_error_save(&p->run_error, p->run_status = status);
}

static void run_lane(void *context, int lane) {
    struct lam_program *p = context;
    for (int t = p->run_begin; t <= p->run_end; t++) {
        double start = p->time_segments && lane == 0 ? lam_seconds() : 0;
        run_stage(p, t, lane);
        if (t == p->run_end) break;
        run_segment(p, t, lane);
        p->backend->lane_barrier(p->handle, lane);
        if (lane == 0) tell(p, t);
        if (p->time_segments && lane == 0) p->segments[t].seconds = lam_seconds() - start;
    }
}

/* ---- recordings ----
 *
 * Where launching costs time, a part of the program is recorded once for each set of addresses that it is run with (the slots
 * of a queue take turns), and launched from then on. The very first run of a part is not: libraries set themselves up in it. */

/* Everything that a recording has in it beside the program itself. */
static void describe_run(const struct lam_program *p, uintptr_t *key) {
    const void *addresses[] = {p->activations,   p->workspace,   p->param_base,
                               p->gradient_base, p->buffer_base, p->hook.context};
    for (size_t i = 0; i < sizeof addresses / sizeof addresses[0]; i++) *key++ = (uintptr_t)addresses[i];
    *key++ = (uintptr_t)p->hook.done;
    *key++ = (uintptr_t)p->hook.segment;
    *key++ = (uintptr_t)p->run_begin;
    *key++ = (uintptr_t)p->run_end;
    for (int i = 0; i < p->graph->input_count; i++) *key++ = (uintptr_t)p->input_data[i];
    for (int i = 0; i < p->graph->output_count; i++) *key++ = (uintptr_t)p->output_data[i];
}

enum { KEY_WORDS = 10 };

static size_t key_bytes(const struct lam_program *p) {
    return sizeof(uintptr_t) * (size_t)(KEY_WORDS + p->graph->input_count + p->graph->output_count);
}

void lam_program_forget_recordings(struct lam_program *p) {
    for (int i = 0; i < p->recording_count; i++) {
        p->backend->record_destroy(p->recordings[i].recording);
        free(p->recordings[i].key);
    }
    p->recording_count = 0;
}

static lam_status record(struct lam_program *p, struct lam_recording **recording) {
    struct lam_stream *stream = lam_device_stream(p->device);
    LAM_TRY(p->backend->record_begin(stream));
    p->backend->run_lanes(p->handle, run_lane, p);
    return p->backend->record_end(stream, recording);
}

/* The recording of this run, made if there is none yet. NULL: there are too many already. */
static lam_status find_recording(struct lam_program *p, struct lam_recording **found) {
    uintptr_t *key = calloc(1, key_bytes(p));
    if (!key) return lam_no_memory();
    describe_run(p, key);
    for (int i = 0; i < p->recording_count; i++)
        if (!memcmp(key, p->recordings[i].key, key_bytes(p))) {
            *found = p->recordings[i].recording;
            free(key);
            return LAM_OK;
        }
    lam_status status = p->recording_count < LAM_PROGRAM_RECORDINGS ? record(p, found) : LAM_OK;
    if (status == LAM_OK && p->run_status != LAM_OK) {
        p->backend->record_destroy(*found);
        status = lam_error_restore(&p->run_error);
    }
    if (status != LAM_OK || !*found) {
        free(key);
        return status;
    }
    p->recordings[p->recording_count++] = (struct program_recording){.key = key, .recording = *found};
    return LAM_OK;
}

static lam_status execute(struct lam_program *p) {
    struct lam_stream *stream = lam_device_stream(p->device);
    if (p->backend->set_run) p->backend->set_run(stream, &p->run);
    p->run_status = LAM_OK;
    struct lam_recording *recording = NULL;
    bool *warm = &p->warm[p->run_begin > 0];
    if (p->recorded && *warm && !p->profile && !p->time_segments) LAM_TRY(find_recording(p, &recording));
    *warm = true;
    if (recording)
        LAM_TRY(p->backend->record_launch(recording, stream));
    else
        p->backend->run_lanes(p->handle, run_lane, p);
    return p->run_status == LAM_OK ? LAM_OK : lam_error_restore(&p->run_error);
}

lam_status lam_program_execute(struct lam_program *p) {
    if (!p->resolved) resolve(p);
    double start = lam_seconds();
    lam_status status = execute(p);
    lam_status synced = p->backend->stream_sync(lam_device_stream(p->device));
    p->run_seconds += lam_seconds() - start;
    p->runs++;
    return status != LAM_OK ? status : synced;
}
