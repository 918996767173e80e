/* Drives one kernel over a batch (execution.h). All memory that the kernel sees lies between two guards; the
 * host keeps an image of every buffer as it was before the run and compares afterwards. */
#include "conformance/execution.h"

#include <stdlib.h>
#include <string.h>

#include "conformance/host_tensor.h"

enum { GUARD = 256, MAX_LANES = 8 };

/* ---- guarded device memory ---- */

struct guarded {
    uint8_t *device; /* NULL: absent. The content begins GUARD bytes behind it */
    uint8_t *image;  /* host: guards and content before the run */
    size_t bytes;    /* of the content */
};

static void *content(const struct guarded *g) {
    return g->device ? g->device + GUARD : NULL;
}

/* Room between and behind: the content's end is guarded from its very first byte on. */
static size_t total(const struct guarded *g) {
    return g->bytes + 2 * (size_t)GUARD;
}

static lam_status guarded_create(const struct execution *e, struct lam_stream *stream, size_t bytes,
                                 const void *initial, struct guarded *guarded) {
    struct guarded g = {.bytes = bytes};
    void *memory;
    LAM_TRY(e->backend->allocate(e->device, total(&g), &memory));
    g.device = memory;
    g.image = malloc(total(&g));
    *guarded = g;
    if (!g.image) return lam_no_memory();
    memset(g.image, e->poison, total(&g));
    if (initial) memcpy(g.image + GUARD, initial, bytes);
    return e->backend->copy_from_host(stream, g.device, g.image, total(&g));
}

/* Downloads the content to `host` (unless NULL) and checks the guards, and the content if `unchanged`. */
static lam_status guarded_check(const struct execution *e, struct lam_stream *stream, const struct guarded *g,
                                bool unchanged, void *host, const char *name, int index) {
    if (!g->device) return LAM_OK;
    uint8_t *now = malloc(total(g));
    if (!now) return lam_no_memory();
    lam_status status = e->backend->copy_to_host(stream, now, g->device, total(g));
    if (status == LAM_OK) status = e->backend->stream_sync(stream);
    if (status == LAM_OK && host) memcpy(host, now + GUARD, g->bytes);
    for (size_t i = 0; status == LAM_OK && i < total(g); i++) {
        bool inside = i >= GUARD && i < GUARD + g->bytes;
        if (now[i] == g->image[i] || (inside && !unchanged)) continue;
        status = lam_fail(LAM_ERR_INTERNAL, "byte %td of %s %d (%zu bytes) was written", (ptrdiff_t)i - GUARD,
                          name, index, g->bytes);
    }
    free(now);
    return status;
}

static void guarded_destroy(const struct execution *e, struct guarded *g) {
    if (g->device) e->backend->release(e->device, g->device);
    free(g->image);
    *g = (struct guarded){0};
}

/* ---- the batch, divided ---- */

static int64_t batch_of(const struct lam_op *op) {
    for (int i = 0; i < op->inputs; i++)
        if (op->in[i].present && op->in[i].batched) return op->in[i].desc.shape.dim[0];
    return 0;
}

static void lane_range(int64_t batch, int lane, int lanes, int64_t *begin, int64_t *end) {
    *begin = batch * lane / lanes;
    *end = batch * (lane + 1) / lanes;
}

static void add_size(int sizes[EXECUTION_MAX_SLICES], int *count, int64_t size) {
    int at = 0;
    if (size == 0) return;
    while (at < *count && sizes[at] > size) at++;
    if (at < *count && sizes[at] == size) return;
    for (int i = *count; i > at; i--) sizes[i] = sizes[i - 1];
    sizes[at] = (int)size;
    ++*count;
}

static int64_t slice_size(const struct execution *e, int64_t part) {
    return e->slice == 0 || e->slice > part ? part : e->slice;
}

int execution_slices(const struct execution *e, const struct lam_op *op, int sizes[EXECUTION_MAX_SLICES]) {
    int count = 0, lanes = e->backend->lanes(e->device);
    int64_t batch = batch_of(op);
    for (int lane = 0; lane < lanes && batch > 0; lane++) {
        int64_t begin, end;
        lane_range(batch, lane, lanes, &begin, &end);
        if (begin == end) continue;
        int64_t size = slice_size(e, end - begin);
        add_size(sizes, &count, size);
        add_size(sizes, &count, (end - begin) % size);
    }
    if (count == 0) sizes[count++] = 1; /* no batch: a size must be named, it is not used */
    return count;
}

/* ---- lanes ---- */

struct job {
    const struct execution *execution;
    const struct lam_kernel *kernel;
    const struct lam_op *op;
    const struct lam_run *run;
    struct lam_stream *stream;
    int lanes;
    int64_t batch;
    struct guarded in[LAM_MAX_INPUTS], prepared[LAM_MAX_INPUTS], out[LAM_MAX_OUTPUTS];
    struct guarded partial[MAX_LANES], workspace[MAX_LANES];
    void *lane_partial[MAX_LANES]; /* where each lane accumulates */
    void *partials[MAX_LANES];     /* of the lanes that have samples, in order */
    int partial_count;
    void *reduced[LAM_MAX_OUTPUTS];
};

static size_t sample_bytes(const struct lam_operand *operand) {
    return lam_tensor_bytes(&operand->desc) / (size_t)operand->desc.shape.dim[0];
}

static void *at_sample(const struct guarded *g, const struct lam_operand *operand, int64_t first) {
    return (uint8_t *)content(g) + (size_t)first * sample_bytes(operand);
}

static void run_slice(const struct job *job, int lane, int64_t first, int64_t count, bool accumulate) {
    struct lam_kernel_args args = {.partial = job->lane_partial[lane],
                                   .workspace = content(&job->workspace[lane]),
                                   .count = (int)count,
                                   .first = first,
                                   .accumulate = accumulate,
                                   .lane = lane,
                                   .stream = job->stream,
                                   .run = job->run};
    for (int i = 0; i < job->op->inputs; i++) {
        if (!job->op->in[i].present) continue;
        if (job->op->in[i].batched)
            args.in[i] = at_sample(&job->in[i], &job->op->in[i], first);
        else
            args.in[i] = content(job->prepared[i].device ? &job->prepared[i] : &job->in[i]);
    }
    for (int i = 0; i < job->op->outputs; i++) {
        if (!job->op->out[i].present) continue;
        if (job->op->out[i].batched)
            args.out[i] = at_sample(&job->out[i], &job->op->out[i], first);
        else if (job->batch == 0)
            args.out[i] = content(&job->out[i]);
    }
    job->kernel->run(job->kernel, &args);
}

static void step_lane(void *context, int lane) {
    const struct job *job = context;
    const struct lam_backend *backend = job->execution->backend;
    struct lam_backend_device *device = job->execution->device;
    const struct lam_kernel *kernel = job->kernel;
    for (int i = 0; i < job->op->inputs; i++)
        if (job->prepared[i].device)
            kernel->prepare(kernel, i, content(&job->in[i]), content(&job->prepared[i]), lane, job->lanes,
                            job->stream);
    backend->lane_barrier(device, lane);
    if (job->batch == 0 && lane == 0) run_slice(job, lane, 0, 0, false);
    int64_t begin, end;
    lane_range(job->batch, lane, job->lanes, &begin, &end);
    int64_t size = slice_size(job->execution, end - begin);
    for (int64_t first = begin; first < end; first += size) {
        int64_t count = end - first < size ? end - first : size;
        run_slice(job, lane, first, count, first > begin);
    }
    backend->lane_barrier(device, lane);
    if (job->partial_count)
        kernel->reduce(kernel, job->partials, job->partial_count, job->reduced, lane, job->lanes,
                       job->stream);
    backend->lane_barrier(device, lane);
}

/* ---- buffers ---- */

static lam_status stored(const struct job *job, const struct lam_operand *operand, const double *values,
                         struct guarded *guarded) {
    void *bytes = malloc(lam_tensor_bytes(&operand->desc));
    if (!bytes) return lam_no_memory();
    host_tensor_store(&operand->desc, values, bytes);
    lam_status status =
        guarded_create(job->execution, job->stream, lam_tensor_bytes(&operand->desc), bytes, guarded);
    free(bytes);
    return status;
}

static lam_status create_operands(struct job *job, const struct operands *operands) {
    const struct lam_op *op = job->op;
    for (int i = 0; i < op->inputs; i++) {
        if (!op->in[i].present) continue;
        LAM_TRY(stored(job, &op->in[i], operands->in[i], &job->in[i]));
        if (op->in[i].batched || job->kernel->prepared_bytes[i] == 0) continue;
        LAM_TRY(guarded_create(job->execution, job->stream, job->kernel->prepared_bytes[i], NULL,
                               &job->prepared[i]));
    }
    for (int i = 0; i < op->outputs; i++) {
        if (!op->out[i].present) continue;
        if (operands_in_place(op->kind, i))
            LAM_TRY(stored(job, &op->out[i], operands->out[i], &job->out[i]));
        else
            LAM_TRY(guarded_create(job->execution, job->stream, lam_tensor_bytes(&op->out[i].desc), NULL,
                                   &job->out[i]));
        if (job->batch > 0 && !op->out[i].batched) job->reduced[i] = content(&job->out[i]);
    }
    return LAM_OK;
}

static lam_status create_scratch(struct job *job) {
    const struct lam_kernel *kernel = job->kernel;
    for (int lane = 0; lane < job->lanes; lane++) {
        int64_t begin, end;
        lane_range(job->batch, lane, job->lanes, &begin, &end);
        if (kernel->workspace_bytes)
            LAM_TRY(guarded_create(job->execution, job->stream, kernel->workspace_bytes, NULL,
                                   &job->workspace[lane]));
        if (kernel->partial_bytes == 0 || begin == end) continue;
        bool share = lane == 0 && job->execution->share_partial && kernel->partial_is_output;
        if (!share)
            LAM_TRY(guarded_create(job->execution, job->stream, kernel->partial_bytes, NULL,
                                   &job->partial[lane]));
        job->lane_partial[lane] = content(share ? &job->out[0] : &job->partial[lane]);
        job->partials[job->partial_count++] = job->lane_partial[lane];
    }
    return LAM_OK;
}

static void destroy_job(struct job *job) {
    for (int i = 0; i < LAM_MAX_INPUTS; i++) {
        guarded_destroy(job->execution, &job->in[i]);
        guarded_destroy(job->execution, &job->prepared[i]);
    }
    for (int i = 0; i < LAM_MAX_OUTPUTS; i++) guarded_destroy(job->execution, &job->out[i]);
    for (int lane = 0; lane < MAX_LANES; lane++) {
        guarded_destroy(job->execution, &job->partial[lane]);
        guarded_destroy(job->execution, &job->workspace[lane]);
    }
    if (job->stream) job->execution->backend->stream_destroy(job->stream);
}

static lam_status fetch(const struct job *job, struct results *results) {
    const struct execution *e = job->execution;
    const struct lam_op *op = job->op;
    for (int i = 0; i < op->inputs; i++) {
        LAM_TRY(guarded_check(e, job->stream, &job->in[i], true, NULL, "input", i));
        LAM_TRY(guarded_check(e, job->stream, &job->prepared[i], false, NULL, "prepared input", i));
    }
    for (int lane = 0; lane < job->lanes; lane++) {
        LAM_TRY(guarded_check(e, job->stream, &job->partial[lane], false, NULL, "partial of lane", lane));
        LAM_TRY(guarded_check(e, job->stream, &job->workspace[lane], false, NULL, "workspace of lane", lane));
    }
    for (int i = 0; i < op->outputs; i++) {
        if (!op->out[i].present) continue;
        results->out[i] = malloc(job->out[i].bytes);
        if (!results->out[i]) return lam_no_memory();
        LAM_TRY(guarded_check(e, job->stream, &job->out[i], false, results->out[i], "output", i));
    }
    return LAM_OK;
}

/* What the kernel declares must be consistent before anything is run. */
static lam_status check_declaration(const struct job *job) {
    const struct lam_kernel *k = job->kernel;
    bool reduction = false;
    for (int i = 0; i < job->op->outputs; i++)
        if (job->batch > 0 && job->op->out[i].present && !job->op->out[i].batched) reduction = true;
    if (job->lanes > MAX_LANES) return lam_fail(LAM_ERR_INTERNAL, "the suite knows %d lanes", MAX_LANES);
    if (reduction != (k->partial_bytes > 0) || (reduction && !k->reduce))
        return lam_fail(LAM_ERR_INTERNAL, "the op is %sa reduction but partial_bytes is %zu",
                        reduction ? "" : "not ", k->partial_bytes);
    if (k->partial_is_output && k->partial_bytes != lam_tensor_bytes(&job->op->out[0].desc))
        return lam_fail(LAM_ERR_INTERNAL, "partial_is_output, but %zu bytes are not the output's",
                        k->partial_bytes);
    for (int i = 0; i < LAM_MAX_INPUTS; i++)
        if (k->prepared_bytes[i] &&
            (i >= job->op->inputs || !job->op->in[i].present || job->op->in[i].batched || !k->prepare))
            return lam_fail(LAM_ERR_INTERNAL, "input %d cannot have a prepared form", i);
    return LAM_OK;
}

static lam_status run_job(struct job *job, const struct operands *operands, struct results *results) {
    const struct lam_backend *backend = job->execution->backend;
    LAM_TRY(check_declaration(job));
    LAM_TRY(backend->stream_create(job->execution->device, &job->stream));
    LAM_TRY(create_operands(job, operands));
    LAM_TRY(create_scratch(job));
    LAM_TRY(backend->stream_sync(job->stream));
    if (backend->set_run) backend->set_run(job->stream, job->run);
    backend->run_lanes(job->execution->device, step_lane, job);
    LAM_TRY(backend->stream_sync(job->stream));
    return fetch(job, results);
}

lam_status execution_run(const struct execution *e, const struct lam_kernel *kernel, const struct lam_op *op,
                         const struct operands *operands, const struct lam_run *run,
                         struct results *results) {
    struct job job = {.execution = e,
                      .kernel = kernel,
                      .op = op,
                      .run = run,
                      .lanes = e->backend->lanes(e->device),
                      .batch = batch_of(op)};
    struct results r = {{NULL}};
    lam_status status = run_job(&job, operands, &r);
    destroy_job(&job);
    if (status == LAM_OK)
        *results = r;
    else
        results_destroy(&r);
    return status;
}

void results_destroy(struct results *results) {
    for (int i = 0; i < LAM_MAX_OUTPUTS; i++) free(results->out[i]);
    *results = (struct results){{NULL}};
}
