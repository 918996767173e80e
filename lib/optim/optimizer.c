/* Optimizers: one pass over the flat buffers, divided over the device's lanes in chunks.
 *
 * Chunks have a fixed size whatever the number of lanes, and their sums of squares are added up on the host
 * in order; so the gradient norm, the clipping that follows from it and every weight are the same on any
 * number of lanes. The same sums are the guard against NaN and infinity: one that is not finite stops the
 * step before anything is written, and only then the tensor is looked for. Parameters are guarded as well,
 * since one can become infinite where no gradient tells (behind a ReLU that never opens).
 */
#include "optim/optimizer.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { CHUNK = 16384 };

struct state {
    const char *name;
    float *data;
};

struct lam_optimizer {
    struct lam_optimizer_options options;
    struct lam_params *params;
    struct lam_device *device;
    struct state states[LAM_OPTIMIZER_STATES];
    int state_count;
    int64_t count, chunks;
    double *sums;      /* device: of each chunk of the gradients, then of the parameters */
    double *host_sums; /* the same on the host */
    float *exchange;   /* device: one chunk, for swap_ema; NULL without EMA */
    float gradient_norm;
};

/* What the lanes need during one pass. */
struct pass {
    const struct lam_optimizer *optimizer;
    float learning_rate, gradient_scale;
    uint64_t step;
};

struct lam_optimizer_options lam_optimizer_default_options(enum lam_optimizer_kind kind) {
    struct lam_optimizer_options options = {.kind = kind};
    if (kind == LAM_OPTIMIZER_SGD) {
        options.momentum = 0.9f;
        options.nesterov = true;
    } else {
        options.beta1 = 0.9f;
        options.beta2 = 0.999f;
        options.eps = 1e-8f;
    }
    return options;
}

/* ---- state ---- */

int lam_optimizer_state_names(const struct lam_optimizer_options *options,
                              const char *names[LAM_OPTIMIZER_STATES]) {
    int count = 0;
    if (options->kind == LAM_OPTIMIZER_SGD) {
        names[count++] = "momentum";
    } else {
        names[count++] = "exp_avg";
        names[count++] = "exp_avg_sq";
    }
    if (options->ema_decay > 0.0f) names[count++] = "ema";
    return count;
}

static int64_t chunk_count(int64_t elements) {
    return (elements + CHUNK - 1) / CHUNK;
}

size_t lam_optimizer_bytes(const struct lam_optimizer_options *options, const struct lam_params *params) {
    const char *names[LAM_OPTIMIZER_STATES];
    int64_t count = lam_params_count(params);
    size_t bytes = (size_t)lam_optimizer_state_names(options, names) * (size_t)count * sizeof(float);
    bytes += 2 * (size_t)chunk_count(count) * sizeof(double);
    if (options->ema_decay > 0.0f && count > 0) bytes += CHUNK * sizeof(float);
    return bytes;
}

int64_t lam_optimizer_calls(const struct lam_optimizer_options *options, const struct lam_params *params) {
    int64_t count = lam_params_count(params), decayed = lam_params_decayed_count(params);
    int ranges = (decayed > 0) + (decayed < count);
    return (count > 0 ? 2 : 0) + ranges + (options->ema_decay > 0.0f && count > 0);
}

static lam_status check_options(const struct lam_optimizer_options *options) {
    bool adam = options->kind != LAM_OPTIMIZER_SGD;
    if (!adam && !(options->momentum >= 0.0f && options->momentum < 1.0f))
        return lam_fail(LAM_ERR_INVALID, "momentum %g is not in [0, 1)", (double)options->momentum);
    if (adam &&
        !(options->beta1 >= 0.0f && options->beta1 < 1.0f && options->beta2 >= 0.0f && options->beta2 < 1.0f))
        return lam_fail(LAM_ERR_INVALID, "betas %g, %g are not in [0, 1)", (double)options->beta1,
                        (double)options->beta2);
    if (adam && !(options->eps > 0.0f))
        return lam_fail(LAM_ERR_INVALID, "eps %g is not above 0", (double)options->eps);
    if (!(options->weight_decay >= 0.0f && options->clip_norm >= 0.0f))
        return lam_fail(LAM_ERR_INVALID, "weight decay %g or clip norm %g is negative",
                        (double)options->weight_decay, (double)options->clip_norm);
    if (!(options->ema_decay >= 0.0f && options->ema_decay < 1.0f))
        return lam_fail(LAM_ERR_INVALID, "EMA decay %g is not in [0, 1)", (double)options->ema_decay);
    return LAM_OK;
}

static lam_status allocate(struct lam_optimizer *optimizer) {
    const char *names[LAM_OPTIMIZER_STATES];
    struct lam_device *device = optimizer->device;
    size_t bytes = (size_t)optimizer->count * sizeof(float);
    size_t sum_bytes = 2 * (size_t)optimizer->chunks * sizeof(double);
    optimizer->state_count = lam_optimizer_state_names(&optimizer->options, names);
    for (int i = 0; i < optimizer->state_count; i++) {
        optimizer->states[i].name = names[i];
        LAM_TRY(lam_device_alloc(device, LAM_MEMORY_OPTIMIZER, bytes, (void **)&optimizer->states[i].data));
    }
    LAM_TRY(lam_device_alloc(device, LAM_MEMORY_OPTIMIZER, sum_bytes, (void **)&optimizer->sums));
    if (optimizer->options.ema_decay > 0.0f && optimizer->count > 0)
        LAM_TRY(lam_device_alloc(device, LAM_MEMORY_OPTIMIZER, CHUNK * sizeof(float),
                                 (void **)&optimizer->exchange));
    optimizer->host_sums = malloc(sum_bytes ? sum_bytes : 1);
    if (!optimizer->host_sums) return lam_fail(LAM_ERR_NO_MEMORY, "optimizer: out of memory");
    return LAM_OK;
}

lam_status lam_optimizer_create(const struct lam_optimizer_options *options, struct lam_params *params,
                                struct lam_device *device, struct lam_optimizer **optimizer) {
    LAM_TRY(check_options(options));
    struct lam_optimizer *created = calloc(1, sizeof *created);
    if (!created) return lam_fail(LAM_ERR_NO_MEMORY, "optimizer: out of memory");
    created->options = *options;
    created->params = params;
    created->device = device;
    created->count = lam_params_count(params);
    created->chunks = chunk_count(created->count);
    lam_status status = allocate(created);
    if (status != LAM_OK) {
        lam_optimizer_destroy(created);
        return status;
    }
    *optimizer = created;
    return LAM_OK;
}

void lam_optimizer_destroy(struct lam_optimizer *optimizer) {
    if (!optimizer) return;
    /* The last update may be under way; the memory is still its own, and the parameters'. */
    if (optimizer->sums)
        lam_device_backend(optimizer->device)->stream_sync(lam_device_stream(optimizer->device));
    for (int i = 0; i < LAM_OPTIMIZER_STATES; i++)
        if (optimizer->states[i].data) lam_device_free(optimizer->device, optimizer->states[i].data);
    if (optimizer->sums) lam_device_free(optimizer->device, optimizer->sums);
    if (optimizer->exchange) lam_device_free(optimizer->device, optimizer->exchange);
    free(optimizer->host_sums);
    free(optimizer);
}

int lam_optimizer_state_count(const struct lam_optimizer *optimizer) {
    return optimizer->state_count;
}

const char *lam_optimizer_state_name(const struct lam_optimizer *optimizer, int state) {
    return optimizer->states[state].name;
}

float *lam_optimizer_state(const struct lam_optimizer *optimizer, int state) {
    return optimizer->states[state].data;
}

static float *ema_state(const struct lam_optimizer *optimizer) {
    return optimizer->options.ema_decay > 0.0f ? optimizer->states[optimizer->state_count - 1].data : NULL;
}

float lam_optimizer_gradient_norm(const struct lam_optimizer *optimizer) {
    return optimizer->gradient_norm;
}

/* ---- lanes ---- */

static void run_lanes(const struct pass *pass, void (*work)(void *, int)) {
    struct lam_device *device = pass->optimizer->device;
    lam_device_backend(device)->run_lanes(lam_device_handle(device), work, (void *)pass);
}

/* This lane's chunks. */
static void lane_chunks(const struct lam_optimizer *optimizer, int lane, int64_t *begin, int64_t *end) {
    int lanes = lam_device_lanes(optimizer->device);
    *begin = optimizer->chunks * lane / lanes;
    *end = optimizer->chunks * (lane + 1) / lanes;
}

static int64_t clamp(int64_t x, int64_t low, int64_t high) {
    return x < low ? low : x > high ? high : x;
}

static void sum_lane(void *context, int lane) {
    const struct lam_optimizer *o = ((const struct pass *)context)->optimizer;
    const struct lam_backend *backend = lam_device_backend(o->device);
    struct lam_stream *stream = lam_device_stream(o->device);
    const float *gradients = lam_params_gradients(o->params), *values = lam_params_values(o->params);
    int64_t first, last;
    lane_chunks(o, lane, &first, &last);
    if (first == last) return;
    int64_t begin = first * CHUNK, end = clamp(last * CHUNK, 0, o->count);
    backend->sum_squares(gradients, begin, end, CHUNK, o->sums + first, stream);
    backend->sum_squares(values, begin, end, CHUNK, o->sums + o->chunks + first, stream);
}

static void update_range(const struct pass *pass, int64_t begin, int64_t end, float weight_decay) {
    const struct lam_optimizer *o = pass->optimizer;
    const struct lam_optimizer_options *options = &o->options;
    const struct lam_backend *backend = lam_device_backend(o->device);
    struct lam_stream *stream = lam_device_stream(o->device);
    if (begin >= end) return;
    if (options->kind == LAM_OPTIMIZER_SGD) {
        struct lam_sgd_args args = {.parameter = lam_params_values(o->params),
                                    .momentum_buffer = o->states[0].data,
                                    .gradient = lam_params_gradients(o->params),
                                    .learning_rate = pass->learning_rate,
                                    .momentum = options->momentum,
                                    .weight_decay = weight_decay,
                                    .gradient_scale = pass->gradient_scale,
                                    .nesterov = options->nesterov,
                                    .first = pass->step == 0};
        backend->sgd(&args, begin, end, stream);
    } else {
        struct lam_adamw_args args = {.parameter = lam_params_values(o->params),
                                      .first_moment = o->states[0].data,
                                      .second_moment = o->states[1].data,
                                      .gradient = lam_params_gradients(o->params),
                                      .learning_rate = pass->learning_rate,
                                      .beta1 = options->beta1,
                                      .beta2 = options->beta2,
                                      .eps = options->eps,
                                      .weight_decay = weight_decay,
                                      .gradient_scale = pass->gradient_scale,
                                      .decoupled = options->kind == LAM_OPTIMIZER_ADAMW,
                                      .step = pass->step + 1};
        backend->adamw(&args, begin, end, stream);
    }
}

static void update_lane(void *context, int lane) {
    const struct pass *pass = context;
    const struct lam_optimizer *o = pass->optimizer;
    int64_t first, last, decayed = lam_params_decayed_count(o->params);
    lane_chunks(o, lane, &first, &last);
    int64_t begin = first * CHUNK, end = clamp(last * CHUNK, 0, o->count);
    update_range(pass, begin, clamp(decayed, begin, end), o->options.weight_decay);
    update_range(pass, clamp(decayed, begin, end), end, 0.0f);
    float *average = ema_state(o);
    if (average && begin < end)
        lam_device_backend(o->device)->ema(average, lam_params_values(o->params), o->options.ema_decay, begin,
                                           end, lam_device_stream(o->device));
}

/* ---- step ---- */

/* Name of the first parameter in `flat` that is not finite, or NULL. */
static lam_status find_not_finite(const struct lam_optimizer *optimizer, const float *flat,
                                  const char **name) {
    size_t bytes = (size_t)optimizer->count * sizeof(float);
    float *host = malloc(bytes ? bytes : 1);
    if (!host) return lam_fail(LAM_ERR_NO_MEMORY, "optimizer: out of memory");
    lam_status status = lam_device_download(optimizer->device, host, flat, bytes);
    for (int i = 0; status == LAM_OK && i < lam_params_size(optimizer->params) && !*name; i++) {
        const struct lam_param *p = lam_params_get(optimizer->params, i);
        for (int64_t e = 0; !p->buffer && e < p->count && !*name; e++)
            if (!isfinite(host[p->offset + e])) *name = p->name;
    }
    free(host);
    return status;
}

static lam_status fail_not_finite(const struct lam_optimizer *optimizer) {
    const char *name = NULL, *what = "parameter";
    LAM_TRY(find_not_finite(optimizer, lam_params_values(optimizer->params), &name));
    if (!name) {
        what = "gradient of";
        LAM_TRY(find_not_finite(optimizer, lam_params_gradients(optimizer->params), &name));
    }
    return lam_fail(LAM_ERR_NOT_FINITE, "%s %s is not finite; try a lower learning rate", what,
                    name ? name : "?");
}

static double sum_chunks(const struct lam_optimizer *optimizer, int which) {
    double sum = 0.0;
    for (int64_t c = 0; c < optimizer->chunks; c++)
        sum += optimizer->host_sums[which * optimizer->chunks + c];
    return sum;
}

/* The norm of all gradients, after the check that it and all parameters are finite. */
static lam_status measure(struct lam_optimizer *optimizer, const struct pass *pass, double *norm) {
    run_lanes(pass, sum_lane);
    LAM_TRY(lam_device_download(optimizer->device, optimizer->host_sums, optimizer->sums,
                                2 * (size_t)optimizer->chunks * sizeof(double)));
    *norm = sqrt(sum_chunks(optimizer, 0));
    if (!isfinite(*norm) || !isfinite(sum_chunks(optimizer, 1))) return fail_not_finite(optimizer);
    return LAM_OK;
}

/* The average starts at the weights that training starts from. */
static lam_status start_ema(const struct lam_optimizer *optimizer) {
    const struct lam_backend *backend = lam_device_backend(optimizer->device);
    return backend->copy(lam_device_stream(optimizer->device), ema_state(optimizer),
                         lam_params_values(optimizer->params), (size_t)optimizer->count * sizeof(float));
}

lam_status lam_optimizer_step(struct lam_optimizer *optimizer, float learning_rate, uint64_t step) {
    struct pass pass = {
        .optimizer = optimizer, .learning_rate = learning_rate, .gradient_scale = 1.0f, .step = step};
    if (optimizer->count == 0) return LAM_OK;
    if (!isfinite(learning_rate))
        return lam_fail(LAM_ERR_INVALID, "the learning rate of step %llu is not finite",
                        (unsigned long long)step);
    double norm;
    LAM_TRY(measure(optimizer, &pass, &norm));
    optimizer->gradient_norm = (float)norm;
    /* 1e-6: as PyTorch's clip_grad_norm_ */
    double scale = (double)optimizer->options.clip_norm / (norm + 1e-6);
    if (optimizer->options.clip_norm > 0.0f && scale < 1.0) pass.gradient_scale = (float)scale;
    if (step == 0 && ema_state(optimizer)) LAM_TRY(start_ema(optimizer));
    run_lanes(&pass, update_lane);
    return LAM_OK;
}

lam_status lam_optimizer_swap_ema(struct lam_optimizer *optimizer) {
    float *average = ema_state(optimizer), *values = lam_params_values(optimizer->params);
    if (!average)
        return lam_fail(LAM_ERR_INVALID, "the optimizer keeps no average of the weights (EMA decay is 0)");
    const struct lam_backend *backend = lam_device_backend(optimizer->device);
    struct lam_stream *stream = lam_device_stream(optimizer->device);
    for (int64_t begin = 0; begin < optimizer->count; begin += CHUNK) {
        size_t bytes = (size_t)(clamp(begin + CHUNK, 0, optimizer->count) - begin) * sizeof(float);
        LAM_TRY(backend->copy(stream, optimizer->exchange, values + begin, bytes));
        LAM_TRY(backend->copy(stream, values + begin, average + begin, bytes));
        LAM_TRY(backend->copy(stream, average + begin, optimizer->exchange, bytes));
    }
    return backend->stream_sync(stream);
}
