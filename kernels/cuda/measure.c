/* Candidates take turns, so that neither a disturbance nor a clock that still rises falls on one of them alone, and the best
 * of their rounds counts, as disturbances only ever add. Who is far behind is out. */
#include "cuda/measure.h"

#include "cuda/libraries.h"
#include "cuda/library_operand.h"

#include <math.h>

#define ENOUGH_MILLISECONDS 2.0f /* of a round */
#define FAR_BEHIND          1.5f
enum { TURNS = 4, MOST_RUNS = 16, MOST_CANDIDATES = 8 };

static const struct lam_backend *const backend = &lam_backend_cuda;

struct candidate {
    struct lam_kernel *kernel;
    const char *name;
    struct lam_recording *recording; /* of `runs` runs */
    int runs;
    float milliseconds; /* of a run, the least up to now */
    bool out;
};

struct contest {
    struct lam_backend_device *device;
    const struct lam_kernel_options *options;
    struct lam_stream *stream;
    cudaEvent_t from, to;
    void *memory; /* all operands of a kernel, with its workspace and partial; for one at a time */
    struct candidate candidates[MOST_CANDIDATES];
    int count;
};

/* ---- what a kernel runs on ---- */

static size_t operand_bytes(const struct lam_operand *operand, int count) {
    size_t bytes = lam_tensor_bytes(&operand->desc);
    int64_t samples = operand->batched ? operand->desc.shape.dim[0] : 0;
    return samples > 0 ? bytes / (size_t)samples * (size_t)count : bytes;
}

/* The next `bytes` behind *end; NULL without memory. */
static void *take(void *memory, size_t *end, size_t bytes) {
    void *place = memory ? (char *)memory + *end : NULL;
    *end += lam_library_align(bytes);
    return place;
}

/* Lays all that a kernel needs into `memory`. Returns the bytes that it takes. */
static size_t lay_out(const struct contest *c, const struct lam_kernel *k, void *memory,
                      struct lam_kernel_args *args) {
    const struct lam_op *op = &k->op;
    int count = c->options->slices[0];
    size_t end = 0;
    *args = (struct lam_kernel_args){.count = count, .stream = c->stream};
    for (int i = 0; i < op->inputs; i++)
        if (op->in[i].present)
            args->in[i] = take(
                memory, &end, k->prepared_bytes[i] ? k->prepared_bytes[i] : operand_bytes(&op->in[i], count));
    for (int i = 0; i < op->outputs; i++)
        if (op->out[i].present && op->out[i].batched)
            args->out[i] = take(memory, &end, operand_bytes(&op->out[i], count));
    if (k->partial_bytes) args->partial = take(memory, &end, k->partial_bytes);
    if (k->workspace_bytes) args->workspace = take(memory, &end, k->workspace_bytes);
    return end;
}

/* ---- who takes part ---- */

static int left(const struct contest *c) {
    int count = 0;
    for (int i = 0; i < c->count; i++) count += !c->candidates[i].out;
    return count;
}

/* Leaves a candidate out that has failed; if the device has, that is the failure. */
static lam_status leave_out(struct contest *c, struct candidate *candidate, lam_status failure) {
    lam_log(LAM_LOG_WARNING, "%s is not measured as %s: %s", lam_op_name(candidate->kernel->op.kind),
            candidate->name, lam_error_text());
    candidate->out = true;
    return left(c) > 0 ? backend->stream_sync(c->stream) : failure;
}

static lam_status enter(struct contest *c, lam_cuda_create_fn create, const char *const *choices,
                        const struct lam_op *op) {
    struct lam_kernel_options with_choice = *c->options;
    for (; *choices && c->count < MOST_CANDIDATES; choices++) {
        struct candidate *candidate = &c->candidates[c->count];
        with_choice.choice = *choices;
        lam_status status = create(c->device, op, &with_choice, &candidate->kernel, &candidate->name);
        if (status == LAM_ERR_UNSUPPORTED) continue;
        LAM_TRY(status);
        candidate->milliseconds = INFINITY;
        c->count++;
    }
    return LAM_OK;
}

/* Zeros do for the time of a convolution, but for what a GPU saves that is at its limit of power. */
static lam_status get_memory(struct contest *c) {
    size_t bytes = 0;
    for (int i = 0; i < c->count; i++) {
        struct lam_kernel_args args;
        size_t need = lay_out(c, c->candidates[i].kernel, NULL, &args);
        if (need > bytes) bytes = need;
    }
    LAM_TRY(backend->allocate(c->device, bytes, &c->memory));
    return backend->fill_zero(c->stream, c->memory, bytes);
}

/* ---- timing ---- */

static void mark(struct contest *c, cudaEvent_t event) {
    lam_cuda_check(c->stream, cudaEventRecord(event, c->stream->stream), "timing a kernel");
}

/* The stream's time between its events, which have been put on it. */
static lam_status read_time(struct contest *c, float *milliseconds) {
    LAM_TRY(backend->stream_sync(c->stream));
    lam_cuda_check(c->stream, cudaEventElapsedTime(milliseconds, c->from, c->to), "timing a kernel");
    return backend->stream_sync(c->stream);
}

static void run(struct contest *c, const struct candidate *candidate, int times) {
    struct lam_kernel_args args;
    lay_out(c, candidate->kernel, c->memory, &args);
    for (int i = 0; i < times; i++) candidate->kernel->run(candidate->kernel, &args);
}

/* The first run loads what the library has not loaded yet; of the others, one may be disturbed. */
static lam_status estimate(struct contest *c, const struct candidate *candidate, float *milliseconds) {
    run(c, candidate, 1);
    LAM_TRY(backend->stream_sync(c->stream));
    *milliseconds = INFINITY;
    for (int i = 0; i < 2; i++) {
        float once;
        mark(c, c->from);
        run(c, candidate, 1);
        mark(c, c->to);
        LAM_TRY(read_time(c, &once));
        if (once < *milliseconds) *milliseconds = once;
    }
    return LAM_OK;
}

static lam_status make_ready(struct contest *c, struct candidate *candidate) {
    float milliseconds;
    LAM_TRY(estimate(c, candidate, &milliseconds));
    float runs = ENOUGH_MILLISECONDS / milliseconds;
    candidate->runs = runs > MOST_RUNS ? MOST_RUNS : runs < 1 ? 1 : (int)runs;
    LAM_TRY(backend->record_begin(c->stream));
    run(c, candidate, candidate->runs);
    return backend->record_end(c->stream, &candidate->recording);
}

/* What is timed is led by as much again, so that the GPU is busy while the host launches it. */
static lam_status time_round(struct contest *c, struct candidate *candidate) {
    float milliseconds;
    LAM_TRY(backend->record_launch(candidate->recording, c->stream));
    mark(c, c->from);
    LAM_TRY(backend->record_launch(candidate->recording, c->stream));
    mark(c, c->to);
    LAM_TRY(read_time(c, &milliseconds));
    milliseconds /= (float)candidate->runs;
    if (milliseconds < candidate->milliseconds) candidate->milliseconds = milliseconds;
    return LAM_OK;
}

/* ---- choosing ---- */

static lam_status for_each(struct contest *c, lam_status (*action)(struct contest *c, struct candidate *)) {
    for (int i = 0; i < c->count; i++) {
        struct candidate *candidate = &c->candidates[i];
        if (candidate->out) continue;
        lam_status status = action(c, candidate);
        if (status != LAM_OK) LAM_TRY(leave_out(c, candidate, status));
    }
    return LAM_OK;
}

static struct candidate *fastest(struct contest *c) {
    struct candidate *best = NULL;
    for (int i = 0; i < c->count; i++)
        if (!c->candidates[i].out && (!best || c->candidates[i].milliseconds < best->milliseconds))
            best = &c->candidates[i];
    return best;
}

static lam_status compete(struct contest *c) {
    LAM_TRY(get_memory(c));
    LAM_TRY(for_each(c, make_ready));
    for (int turn = 0; turn < TURNS && left(c) > 1; turn++) {
        LAM_TRY(for_each(c, time_round));
        float limit = fastest(c)->milliseconds * FAR_BEHIND;
        for (int i = 0; turn > 0 && i < c->count; i++)
            c->candidates[i].out |= c->candidates[i].milliseconds > limit;
    }
    return LAM_OK;
}

static lam_status begin(struct contest *c) {
    LAM_TRY(backend->stream_create(c->device, &c->stream));
    lam_cuda_check(c->stream, cudaEventCreateWithFlags(&c->from, cudaEventDefault), "making an event");
    lam_cuda_check(c->stream, cudaEventCreateWithFlags(&c->to, cudaEventDefault), "making an event");
    return backend->stream_sync(c->stream);
}

static void end(struct contest *c, const struct candidate *winner) {
    for (int i = 0; i < c->count; i++) {
        struct candidate *candidate = &c->candidates[i];
        backend->record_destroy(candidate->recording);
        if (candidate != winner) candidate->kernel->destroy(candidate->kernel);
    }
    if (c->memory) backend->release(c->device, c->memory);
    if (c->from && cudaEventDestroy(c->from) != cudaSuccess) cudaGetLastError();
    if (c->to && cudaEventDestroy(c->to) != cudaSuccess) cudaGetLastError();
    if (c->stream) backend->stream_destroy(c->stream);
}

lam_status lam_cuda_measure(struct lam_backend_device *device, lam_cuda_create_fn create,
                            const char *const *choices, const struct lam_op *op,
                            const struct lam_kernel_options *options, struct lam_kernel **kernel,
                            const char **chosen) {
    struct contest c = {.device = device, .options = options};
    struct lam_kernel_options by_rule = *options;
    by_rule.choice = NULL;
    lam_status status = enter(&c, create, choices, op);
    if (status == LAM_OK && c.count == 0) return create(device, op, &by_rule, kernel, chosen);
    if (status == LAM_OK && c.count > 1) {
        status = begin(&c);
        if (status == LAM_OK) status = compete(&c);
    }
    struct candidate *winner = status == LAM_OK ? fastest(&c) : NULL;
    if (winner) {
        *kernel = winner->kernel;
        *chosen = winner->name;
    }
    end(&c, winner);
    return status;
}
