/* What a device does with a batch: its blocks one after another, each handing on as early as it can. */
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "base/files.h"
#include "base/rng.h"
#include "pipeline/internal.h"

/* ---- time ---- */

void lam_worker_busy(struct worker *w, _Atomic uint64_t *to, double seconds) {
    (void)w;
    if (seconds > 0) atomic_fetch_add(to, (uint64_t)(1e9 * seconds));
}

void lam_worker_enter(struct worker *w, enum doing doing) {
    atomic_store(&w->doing, doing);
    atomic_fetch_add(&w->actions, 1);
}

/* A wait that began at `begin` is over. What was before the last reset of the times does not count. */
void lam_worker_waited(struct worker *w, _Atomic uint64_t *to, enum lam_trace_kind kind, int block,
                       uint64_t step, double begin) {
    double end = lam_seconds(), from = atomic_load(&w->pipeline->reset_at);
    lam_worker_busy(w, to, end - (begin > from ? begin : from));
    if (end - begin > 2e-5)
        lam_trace_span(w->pipeline->options.trace, w->device, kind, block, step, begin, end);
    lam_worker_enter(w, DOING_WORK);
}

/* Tests: a random pause, so that every order of events comes up. */
void lam_worker_delay(struct worker *w) {
    unsigned longest = w->pipeline->options.longest_delay;
    if (!longest) return;
    struct lam_rng rng =
        lam_rng_make(w->pipeline->options.seed, LAM_RNG_TEST, (uint64_t)w->device, w->delays++);
    struct timespec pause = {.tv_nsec = (long)(1000.0 * longest * (double)lam_rng_uniform(&rng))};
    nanosleep(&pause, NULL);
}

/* ---- handing on ---- */

void lam_worker_hand_on(struct link *behind) {
    if (behind->bridge)
        lam_bridge_send(behind->bridge, behind->near.messages[behind->bound_for].batch.data[0]);
    else
        lam_queue_publish(behind->queue);
}

/* Told by a thread of the device, in the midst of a step. */
void lam_worker_output_done(void *context) {
    struct hook *hook = context;
    hook->worker->forward_end = lam_seconds();
    lam_worker_hand_on(hook->link);
}

void lam_worker_copy_head(const struct message *from, struct message *to) {
    struct message copy = *from;
    memcpy(copy.batch.data, to->batch.data, sizeof copy.batch.data);
    copy.indices = to->indices;
    copy.batch.indices = to->indices;
    memcpy(to->indices, from->indices, (size_t)from->batch.count * sizeof *to->indices);
    *to = copy;
}

void lam_worker_arrived(void *context, lam_status status) {
    const struct hook *hook = context;
    struct link *link = hook->link;
    if (status != LAM_OK) {
        lam_pipeline_fail(hook->worker->pipeline, status);
        return;
    }
    lam_worker_copy_head(&link->outbox, &link->near.messages[link->bound_for]);
    lam_queue_publish(link->queue);
}

lam_status lam_worker_fill(const struct worker *w, int block, const struct message *from,
                           struct message *to) {
    const struct lam_block_options *options = lam_block_options(w->pipeline->options.blocks[block]);
    const struct lam_backend *backend = lam_device_backend(w->stage.device);
    to->kind = from->kind;
    to->learning_rate = from->learning_rate;
    to->step = from->step;
    to->batch.count = from->batch.count;
    to->batch.epoch = from->batch.epoch;
    to->batch.number = from->batch.number;
    if (from->batch.count)
        memcpy(to->indices, from->batch.indices, (size_t)from->batch.count * sizeof *to->indices);
    if (from->kind == MESSAGE_STOP) return LAM_OK;
    bool training = from->kind == MESSAGE_TRAIN;
    const struct lam_network *network = options->network;
    const struct lam_field *fields = training ? network->fields : network->eval_fields;
    int count = training ? network->field_count : network->eval_field_count;
    for (int f = 1; f < count; f++) {
        size_t bytes = lam_pipeline_field_bytes(fields, count, f, from->batch.count);
        LAM_TRY(
            backend->copy(lam_device_stream(w->stage.device), to->batch.data[f], from->batch.data[f], bytes));
    }
    return LAM_OK;
}

static lam_status acquire(struct worker *w, int block, const struct message *in, struct message **out) {
    struct lam_pipeline *p = w->pipeline;
    *out = NULL;
    if (block + 1 == p->blocks) return LAM_OK;
    int slot;
    double begin = lam_seconds();
    lam_worker_enter(w, DOING_BLOCKED);
    struct link *link = &p->links[block + 1];
    if (link->bridge) LAM_TRY(lam_bridge_wait(link->bridge)); /* the slot before is published, too */
    LAM_TRY(lam_queue_acquire(link->queue, &slot));
    lam_worker_waited(w, &w->blocked, LAM_TRACE_BLOCKED, block + 1, in->step, begin);
    *out = &link->near.messages[slot];
    if (link->bridge) {
        link->bound_for = slot;
        *out = &link->outbox;
    }
    return lam_worker_fill(w, block, in, *out);
}

/* ---- snapshots ---- */

lam_status lam_worker_publish(struct worker *w, int block) {
    struct lam_pipeline *p = w->pipeline;
    if (block == 0 || !p->twins[block - 1].versions) return LAM_OK;
    const struct followed *followed = &p->twins[block - 1];
    int place;
    LAM_TRY(lam_versions_acquire(followed->versions, &place));
    float *packed = followed->carrier ? followed->packed : followed->places[place];
    LAM_TRY(lam_block_pack(p->options.blocks[block], p->options.blocks[block - 1], packed));
    if (followed->carrier)
        LAM_TRY(lam_carrier_copy(followed->carrier, followed->places[place], packed,
                                 (size_t)followed->count * sizeof *packed));
    lam_versions_publish(followed->versions);
    return LAM_OK;
}

static lam_status follow(struct worker *w, int block, uint64_t step) {
    struct lam_pipeline *p = w->pipeline;
    const struct followed *followed = &p->twins[block];
    if (!followed->versions) return LAM_OK;
    uint64_t lag = (uint64_t)p->options.ema_lag;
    int place;
    double begin = lam_seconds();
    lam_worker_enter(w, DOING_SNAPSHOT);
    LAM_TRY(lam_versions_read(followed->versions, step > lag ? step - lag : 0, &place));
    lam_worker_waited(w, &w->starved, LAM_TRACE_STARVED, block + 1, step, begin);
    return lam_block_follow(p->options.blocks[block], followed->places[place], p->options.ema_momentum);
}

/* ---- a block's part ---- */

static void trace_step(struct worker *w, int block, uint64_t step, double begin, double end) {
    struct lam_trace *trace = w->pipeline->options.trace;
    if (w->forward_end > 0) {
        lam_trace_span(trace, w->device, LAM_TRACE_FORWARD, block + 1, step, begin, w->forward_end);
        lam_trace_span(trace, w->device, LAM_TRACE_BACKWARD, block + 1, step, w->forward_end, end);
    } else {
        lam_trace_span(trace, w->device, LAM_TRACE_STEP, block + 1, step, begin, end);
    }
}

/* Puts "step, epoch, batch, samples" in front of the error of a step. */
lam_status lam_worker_name_batch(const struct message *in, lam_status status) {
    char text[512];
    int used = snprintf(text, sizeof text, "step %llu (epoch %llu, batch %lld; samples",
                        (unsigned long long)in->step + 1, (unsigned long long)in->batch.epoch + 1,
                        (long long)in->batch.number + 1);
    int shown = in->batch.count < 8 ? in->batch.count : 8;
    for (int i = 0; i < shown; i++)
        used += snprintf(text + used, sizeof text - (size_t)used, " %lld", (long long)in->batch.indices[i]);
    snprintf(text + used, sizeof text - (size_t)used, "%s)", in->batch.count > shown ? " ..." : "");
    return lam_fail_in(status, text);
}

static lam_status train(struct worker *w, int block, const struct message *in, struct message *out) {
    struct lam_pipeline *p = w->pipeline;
    struct lam_block_step step = {.batch = &in->batch,
                                  .output = out ? out->batch.data : NULL,
                                  .learning_rate = in->learning_rate,
                                  .seed = p->options.seed,
                                  .step = in->step};
    struct lam_pipeline_step told = {
        .block = block, .of = p->options.blocks[block], .batch = &in->batch, .step = in->step};
    double begin = lam_seconds();
    w->forward_end = 0;
    lam_status status = lam_block_train(p->options.blocks[block], &step, &told.loss);
    if (status == LAM_ERR_NOT_FINITE) return lam_worker_name_batch(in, status);
    LAM_TRY(status);
    lam_worker_delay(w);
    LAM_TRY(lam_worker_publish(w, block));
    double end = lam_seconds();
    trace_step(w, block, in->step, begin, end);
    lam_worker_busy(w, &w->busy, end - begin);
    if (w->forward_end > 0) lam_worker_busy(w, &w->forward, w->forward_end - begin);
    LAM_TRY(follow(w, block, in->step));
    told.gradient_norm = lam_optimizer_gradient_norm(lam_block_optimizer(told.of));
    if (p->options.step_done) LAM_TRY(p->options.step_done(p->options.context, &told));
    return lam_ranks_report(p, &told);
}

static lam_status evaluate(struct worker *w, int block, const struct message *in, struct message *out) {
    struct lam_pipeline *p = w->pipeline;
    double begin = lam_seconds();
    LAM_TRY(lam_block_evaluate(p->options.blocks[block], &in->batch, out ? out->batch.data : NULL));
    if (out) lam_worker_hand_on(&p->links[block + 1]);
    if (!out && p->options.evaluated)
        LAM_TRY(p->options.evaluated(p->options.context, p->options.blocks[block], &in->batch));
    double end = lam_seconds();
    lam_trace_span(p->options.trace, w->device, LAM_TRACE_EVALUATE, block + 1, in->step, begin, end);
    lam_worker_busy(w, &w->busy, end - begin);
    return LAM_OK;
}

static lam_status run_block(struct worker *w, int block) {
    struct lam_pipeline *p = w->pipeline;
    struct link *link = &p->links[block];
    int slot;
    double begin = lam_seconds();
    lam_worker_enter(w, DOING_STARVED);
    LAM_TRY(lam_queue_take(link->queue, &slot));
    struct message *in = &link->near.messages[slot], *out;
    lam_worker_waited(w, &w->starved, LAM_TRACE_STARVED, block + 1, in->step, begin);
    atomic_store(&w->step, in->step);
    lam_worker_delay(w);
    lam_status status = acquire(w, block, in, &out);
    lam_worker_delay(w);
    if (status == LAM_OK && in->kind == MESSAGE_TRAIN) status = train(w, block, in, out);
    if (status == LAM_OK && in->kind == MESSAGE_EVALUATE) status = evaluate(w, block, in, out);
    if (status == LAM_OK && in->kind == MESSAGE_STOP && out) lam_worker_hand_on(&p->links[block + 1]);
    if (in->loan) in->release(in->release_context, in->loan);
    in->loan = NULL;
    lam_worker_delay(w);
    lam_queue_release(link->queue);
    return status;
}

lam_status lam_worker_message(struct worker *w) {
    struct lam_pipeline *p = w->pipeline;
    if (lam_pipeline_end_to_end(p)) {
        LAM_TRY(lam_worker_end_to_end(w));
    } else {
        for (int i = 0; i < w->stage.count; i++) LAM_TRY(run_block(w, w->first_block + i));
    }
    lam_worker_enter(w, DOING_NOTHING);
    pthread_mutex_lock(&p->mutex);
    w->done++;
    pthread_cond_broadcast(&p->moved);
    pthread_mutex_unlock(&p->mutex);
    return LAM_OK;
}

void *lam_worker_loop(void *argument) {
    struct worker *w = argument;
    lam_status status = LAM_OK;
    while (status == LAM_OK) status = lam_worker_message(w);
    lam_pipeline_fail(w->pipeline, status);
    return NULL;
}
