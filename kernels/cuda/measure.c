/* Kernels are timed as steps run them: recorded, so that the host's launching is not in the time, the same one several
 * times in a row, and of some rounds the best, as disturbances only ever add. */
#include "cuda/measure.h"

#include "cuda/libraries.h"
#include "cuda/library_operand.h"

#include <math.h>

#define ENOUGH_MILLISECONDS 2.0f /* of a round */
/* Behind by this much in one run of ENOUGH_MILLISECONDS or more is beaten. */
#define FAR_BEHIND          1.5f
enum { ROUNDS = 3, MOST_RUNS = 8 };

static const struct lam_backend *const backend = &lam_backend_cuda;

struct trial {
    struct lam_backend_device *device;
    struct lam_stream *stream;
    cudaEvent_t from, to;
    void *memory; /* all operands of a kernel, with its workspace and partial */
    struct lam_kernel_args args;
};

/* ---- what a kernel runs on ---- */

static size_t operand_bytes(const struct lam_operand *operand, int count) {
    size_t bytes = lam_tensor_bytes(&operand->desc);
    int64_t samples = operand->batched ? operand->desc.shape.dim[0] : 0;
    return lam_library_align(samples > 0 ? bytes / (size_t)samples * (size_t)count : bytes);
}

/* The next `bytes` behind *end; NULL while only counting. */
static void *take(const struct trial *t, size_t *end, size_t bytes) {
    void *place = t->memory ? (char *)t->memory + *end : NULL;
    *end += lam_library_align(bytes);
    return place;
}

/* Returns the bytes that all takes; sets the arguments if there is memory. */
static size_t lay_out(struct trial *t, const struct lam_kernel *k, int count) {
    const struct lam_op *op = &k->op;
    size_t end = 0;
    t->args = (struct lam_kernel_args){.count = count, .stream = t->stream};
    for (int i = 0; i < op->inputs; i++)
        if (op->in[i].present)
            t->args.in[i] =
                take(t, &end, k->prepared_bytes[i] ? k->prepared_bytes[i] : operand_bytes(&op->in[i], count));
    for (int i = 0; i < op->outputs; i++)
        if (op->out[i].present && op->out[i].batched)
            t->args.out[i] = take(t, &end, operand_bytes(&op->out[i], count));
    if (k->partial_bytes) t->args.partial = take(t, &end, k->partial_bytes);
    if (k->workspace_bytes) t->args.workspace = take(t, &end, k->workspace_bytes);
    return end;
}

/* Zeros are as good as any numbers for the time of a convolution or product. */
static lam_status fill(struct trial *t, const struct lam_kernel *k, int count) {
    size_t bytes = lay_out(t, k, count);
    LAM_TRY(backend->allocate(t->device, bytes, &t->memory));
    lay_out(t, k, count);
    return backend->fill_zero(t->stream, t->memory, bytes);
}

static void empty(struct trial *t) {
    if (t->memory) backend->release(t->device, t->memory);
    t->memory = NULL;
}

/* ---- timing ---- */

/* The stream's time between its events, which have been put on it. */
static lam_status read_time(struct trial *t, float *milliseconds) {
    LAM_TRY(backend->stream_sync(t->stream));
    lam_cuda_check(t->stream, cudaEventElapsedTime(milliseconds, t->from, t->to), "timing a kernel");
    return backend->stream_sync(t->stream);
}

static void mark(struct trial *t, cudaEvent_t event) {
    lam_cuda_check(t->stream, cudaEventRecord(event, t->stream->stream), "timing a kernel");
}

static lam_status time_one(struct trial *t, const struct lam_kernel *k, float *milliseconds) {
    mark(t, t->from);
    k->run(k, &t->args);
    mark(t, t->to);
    return read_time(t, milliseconds);
}

static lam_status time_recording(struct trial *t, struct lam_recording *recording, int runs, float *best) {
    for (int round = 0; round < ROUNDS; round++) {
        float milliseconds;
        mark(t, t->from);
        LAM_TRY(backend->record_launch(recording, t->stream));
        mark(t, t->to);
        LAM_TRY(read_time(t, &milliseconds));
        if (milliseconds / (float)runs < *best) *best = milliseconds / (float)runs;
    }
    return LAM_OK;
}

static lam_status record(struct trial *t, const struct lam_kernel *k, int runs,
                         struct lam_recording **recording) {
    LAM_TRY(backend->record_begin(t->stream));
    for (int i = 0; i < runs; i++) k->run(k, &t->args);
    return backend->record_end(t->stream, recording);
}

/* The first run loads what the library has not loaded yet. `to_beat`: the best time of other kernels. */
static lam_status time_kernel(struct trial *t, const struct lam_kernel *k, float to_beat, float *best) {
    LAM_TRY(time_one(t, k, best));
    LAM_TRY(time_one(t, k, best));
    if (*best >= ENOUGH_MILLISECONDS && *best > FAR_BEHIND * to_beat) return LAM_OK;
    int runs = *best * MOST_RUNS > ENOUGH_MILLISECONDS ? (int)(ENOUGH_MILLISECONDS / *best) : MOST_RUNS;
    if (runs < 1) runs = 1;
    struct lam_recording *recording;
    LAM_TRY(record(t, k, runs, &recording));
    *best = INFINITY; /* the one alone waited for its launch */
    lam_status status = time_recording(t, recording, runs, best);
    backend->record_destroy(recording);
    return status;
}

/* ---- choosing ---- */

struct winner {
    struct lam_kernel *kernel;
    const char *name;
    float milliseconds;
};

static lam_status try_choice(struct trial *t, lam_cuda_create_fn create, const struct lam_op *op,
                             const struct lam_kernel_options *options, struct winner *best) {
    struct winner one = {.milliseconds = INFINITY};
    lam_status status = create(t->device, op, options, &one.kernel, &one.name);
    if (status != LAM_OK) return status;
    status = fill(t, one.kernel, options->slices[0]);
    if (status == LAM_OK) status = time_kernel(t, one.kernel, best->milliseconds, &one.milliseconds);
    empty(t);
    if (status == LAM_OK && one.milliseconds < best->milliseconds) {
        struct lam_kernel *loser = best->kernel;
        *best = one;
        one.kernel = loser;
    }
    if (one.kernel) one.kernel->destroy(one.kernel);
    return status;
}

static lam_status try_all(struct trial *t, lam_cuda_create_fn create, const char *const *choices,
                          const struct lam_op *op, const struct lam_kernel_options *options,
                          struct winner *best) {
    struct lam_kernel_options with_choice = *options;
    for (; *choices; choices++) {
        with_choice.choice = *choices;
        lam_status status = try_choice(t, create, op, &with_choice, best);
        if (status != LAM_OK && status != LAM_ERR_UNSUPPORTED) return status;
    }
    with_choice.choice = NULL;
    return best->kernel ? LAM_OK : create(t->device, op, &with_choice, &best->kernel, &best->name);
}

static lam_status prepare_trial(struct trial *t) {
    LAM_TRY(backend->stream_create(t->device, &t->stream));
    lam_cuda_check(t->stream, cudaEventCreateWithFlags(&t->from, cudaEventDefault), "making an event");
    lam_cuda_check(t->stream, cudaEventCreateWithFlags(&t->to, cudaEventDefault), "making an event");
    return backend->stream_sync(t->stream);
}

static void end_trial(struct trial *t) {
    if (t->from && cudaEventDestroy(t->from) != cudaSuccess) cudaGetLastError();
    if (t->to && cudaEventDestroy(t->to) != cudaSuccess) cudaGetLastError();
    if (t->stream) backend->stream_destroy(t->stream);
}

lam_status lam_cuda_measure(struct lam_backend_device *device, lam_cuda_create_fn create,
                            const char *const *choices, const struct lam_op *op,
                            const struct lam_kernel_options *options, struct lam_kernel **kernel,
                            const char **chosen) {
    struct trial trial = {.device = device};
    struct winner best = {.milliseconds = INFINITY};
    lam_status status = prepare_trial(&trial);
    if (status == LAM_OK) status = try_all(&trial, create, choices, op, options, &best);
    end_trial(&trial);
    if (status != LAM_OK) {
        if (best.kernel) best.kernel->destroy(best.kernel);
        return status;
    }
    *kernel = best.kernel;
    *chosen = best.name;
    return LAM_OK;
}
