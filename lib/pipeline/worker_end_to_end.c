/* A device under GPIPE or 1F1B: micro-batches forward, their gradients back, one update a batch. */
#include <string.h>

#include "base/files.h"
#include "pipeline/internal.h"

enum { MOST_MICRO_BATCHES = 256 };

/* A batch on its way through one device. */
struct batch_run {
    struct worker *worker;
    int block;
    const struct message *entry;              /* first device: the whole batch */
    struct message parts[MOST_MICRO_BATCHES]; /* first device: its micro-batches */
    const struct message *in[MOST_MICRO_BATCHES];
    /* What was handed on: the backward pass may read it, and its slot is kept till then. */
    void *const *out[MOST_MICRO_BATCHES];
    int count, in_flight; /* micro-batches; most between forward and backward */
    int samples;          /* of the whole batch */
    double loss;
};

bool lam_pipeline_end_to_end(const struct lam_pipeline *p) {
    return p->options.schedule == LAM_PIPELINE_GPIPE || p->options.schedule == LAM_PIPELINE_1F1B;
}

static const struct lam_block_options *options_of(const struct batch_run *r) {
    return lam_block_options(r->worker->pipeline->options.blocks[r->block]);
}

static struct link *link_before(const struct batch_run *r) {
    return &r->worker->pipeline->links[r->block];
}

static struct link *link_behind(const struct batch_run *r) {
    return r->block + 1 < r->worker->pipeline->blocks ? &r->worker->pipeline->links[r->block + 1] : NULL;
}

/* Where the block before writes, and reads the gradients that come back. */
static struct side *sender_side(struct link *link) {
    return link->far.device ? &link->far : &link->near;
}

/* ---- waiting ---- */

static lam_status wait_take(struct worker *w, struct lam_queue *queue, int *slot) {
    double begin = lam_seconds();
    lam_worker_enter(w, DOING_STARVED);
    LAM_TRY(lam_queue_take(queue, slot));
    lam_worker_waited(w, &w->starved, LAM_TRACE_STARVED, w->first_block + 1, atomic_load(&w->step), begin);
    return LAM_OK;
}

static lam_status wait_acquire(struct worker *w, struct lam_queue *queue, int *slot) {
    double begin = lam_seconds();
    lam_worker_enter(w, DOING_BLOCKED);
    LAM_TRY(lam_queue_acquire(queue, slot));
    lam_worker_waited(w, &w->blocked, LAM_TRACE_BLOCKED, w->first_block + 1, atomic_load(&w->step), begin);
    return LAM_OK;
}

/* ---- micro-batches ---- */

/* The first device cuts the batch. */
static void cut(struct batch_run *r) {
    const struct lam_block_options *o = options_of(r);
    int micro = o->batch / o->micro_batches;
    r->samples = r->entry->batch.count;
    r->count = (r->samples + micro - 1) / micro;
    for (int m = 0; m < r->count; m++) {
        struct message *part = &r->parts[m];
        *part = *r->entry;
        part->loan = NULL;
        part->micro_batches = r->count;
        part->batch_samples = r->samples;
        part->batch.count = m + 1 < r->count ? micro : r->samples - m * micro;
        part->batch.indices += m * micro;
        for (int f = 0; f < o->network->field_count; f++) {
            const struct lam_field *field = &o->network->fields[f];
            size_t bytes =
                (size_t)lam_shape_count(field->shape) * lam_dtype_bytes(field->dtype) * (size_t)micro;
            part->batch.data[f] = (char *)part->batch.data[f] + (size_t)m * bytes;
        }
        r->in[m] = part;
    }
}

/* Other devices take micro-batches as they come; the first one says how many there will be. */
static lam_status take(struct batch_run *r, int m) {
    int slot;
    LAM_TRY(wait_take(r->worker, link_before(r)->queue, &slot));
    r->in[m] = &link_before(r)->near.messages[slot];
    r->count = r->in[m]->micro_batches;
    r->samples = r->in[m]->batch_samples;
    atomic_store(&r->worker->step, r->in[m]->step);
    return LAM_OK;
}

static struct lam_block_micro describe(const struct batch_run *r, int m) {
    const struct message *in = r->in[m];
    const struct lam_block_options *o = options_of(r);
    return (struct lam_block_micro){.place = m % r->in_flight,
                                    .batch = &in->batch,
                                    .seed = r->worker->pipeline->options.seed,
                                    .step = in->step,
                                    .first = m * (o->batch / o->micro_batches)};
}

static void worked(struct worker *w, enum lam_trace_kind kind, uint64_t step, double begin) {
    double end = lam_seconds();
    lam_trace_span(w->pipeline->options.trace, w->device, kind, w->first_block + 1, step, begin, end);
    lam_worker_busy(w, &w->busy, end - begin);
    if (kind == LAM_TRACE_FORWARD) lam_worker_busy(w, &w->forward, end - begin);
    lam_worker_delay(w);
}

/* A slot from the sender's side of a link to the receiver's; bytes[f]: of each place. */
static lam_status carry(struct link *link, int slot, void *const *to, void *const *from,
                        const size_t *bytes) {
    for (int f = 0; f < LAM_MAX_FIELDS; f++)
        if (from[f] && bytes[f]) LAM_TRY(lam_carrier_copy(link->forward, to[f], from[f], bytes[f]));
    lam_worker_copy_head(&link->far.messages[slot], &link->near.messages[slot]);
    return LAM_OK;
}

static lam_status carry_micro(const struct batch_run *r, struct link *link, int slot) {
    const struct lam_block_options *o = options_of(r);
    size_t bytes[LAM_MAX_FIELDS];
    for (int f = 0; f < LAM_MAX_FIELDS; f++)
        bytes[f] = f > 0 && f < o->network->field_count
                       ? lam_pipeline_field_bytes(o->network->fields, o->network->field_count, f,
                                                  o->batch / o->micro_batches)
                       : link->micro_bytes[f];
    return carry(link, slot, link->near.messages[slot].batch.data, link->far.messages[slot].batch.data,
                 bytes);
}

static lam_status forward(struct batch_run *r, int m) {
    struct worker *w = r->worker;
    struct link *behind = link_behind(r);
    if (r->block > 0) LAM_TRY(take(r, m));
    struct lam_block_micro micro = describe(r, m);
    int slot = 0;
    if (behind) {
        LAM_TRY(wait_acquire(w, behind->queue, &slot));
        struct message *out = &sender_side(behind)->messages[slot];
        LAM_TRY(lam_worker_fill(w, r->block, r->in[m], out));
        out->micro_batches = r->count;
        out->batch_samples = r->samples;
        micro.output = r->out[m] = out->batch.data;
    }
    float loss;
    double begin = lam_seconds();
    lam_status status = lam_block_micro_forward(w->pipeline->options.blocks[r->block], &micro, &loss);
    if (status == LAM_ERR_NOT_FINITE) return lam_worker_name_batch(r->in[m], status);
    LAM_TRY(status);
    r->loss += (double)loss * r->in[m]->batch.count / r->samples;
    if (behind && behind->forward) LAM_TRY(carry_micro(r, behind, slot));
    worked(w, LAM_TRACE_FORWARD, r->in[m]->step, begin);
    if (behind) lam_queue_publish(behind->queue);
    return LAM_OK;
}

/* Places of gradients in a slot of what comes back. */
static void find_gradients(const struct link *link, const struct side *side, int slot, void **places) {
    for (int f = 0; f < LAM_MAX_FIELDS; f++)
        places[f] =
            side->gradient[f] ? (char *)side->gradient[f] + link->micro_bytes[f] * (size_t)slot : NULL;
}

static lam_status carry_gradients(struct link *link, int slot) {
    void *from[LAM_MAX_FIELDS], *to[LAM_MAX_FIELDS];
    find_gradients(link, &link->near, slot, from);
    find_gradients(link, &link->far, slot, to);
    for (int f = 0; f < LAM_MAX_FIELDS; f++)
        if (from[f]) LAM_TRY(lam_carrier_copy(link->backward, to[f], from[f], link->micro_bytes[f]));
    return LAM_OK;
}

static lam_status backward(struct batch_run *r, int m) {
    struct worker *w = r->worker;
    struct link *before = link_before(r), *behind = link_behind(r);
    struct lam_block_micro micro = describe(r, m);
    void *from_behind[LAM_MAX_FIELDS], *to_before[LAM_MAX_FIELDS];
    int from, to;
    if (behind) {
        LAM_TRY(wait_take(w, behind->back, &from));
        find_gradients(behind, sender_side(behind), from, from_behind);
        micro.output_gradient = from_behind;
        micro.output = r->out[m];
    }
    if (r->block > 0) {
        LAM_TRY(wait_acquire(w, before->back, &to));
        find_gradients(before, &before->near, to, to_before);
        micro.input_gradient = to_before;
    }
    double begin = lam_seconds();
    float weight = (float)r->in[m]->batch.count / (float)r->samples;
    LAM_TRY(lam_block_micro_backward(w->pipeline->options.blocks[r->block], &micro, weight, m == 0));
    worked(w, LAM_TRACE_BACKWARD, r->in[m]->step, begin);
    if (behind) lam_queue_release(behind->back);
    if (r->block == 0) return LAM_OK;
    if (before->backward) LAM_TRY(carry_gradients(before, to));
    lam_queue_publish(before->back);
    lam_queue_release(before->queue);
    return LAM_OK;
}

/* ---- a batch ---- */

/* GPIPE: all forward, then all backward. 1F1B: device j of K runs K - j forward, then backward and forward in turn. */
static lam_status train(struct batch_run *r) {
    struct lam_pipeline *p = r->worker->pipeline;
    bool gpipe = p->options.schedule == LAM_PIPELINE_GPIPE;
    int forwards = 1, backwards = 0;
    r->in_flight = options_of(r)->in_flight;
    LAM_TRY(forward(r, 0));
    while (backwards < r->count) {
        int most = gpipe ? r->count : p->blocks - r->block;
        if (forwards < r->count && forwards - backwards < most)
            LAM_TRY(forward(r, forwards++));
        else
            LAM_TRY(backward(r, backwards++));
    }
    return LAM_OK;
}

static lam_status finish(struct batch_run *r, const struct message *first, const struct lam_batch *batch) {
    struct worker *w = r->worker;
    struct lam_pipeline *p = w->pipeline;
    double begin = lam_seconds();
    LAM_TRY(lam_block_micro_update(p->options.blocks[r->block], first->learning_rate, first->step));
    worked(w, LAM_TRACE_UPDATE, first->step, begin);
    struct lam_pipeline_step told = {.block = r->block,
                                     .of = p->options.blocks[r->block],
                                     .batch = batch,
                                     .step = first->step,
                                     .loss = (float)r->loss};
    told.gradient_norm = lam_optimizer_gradient_norm(lam_block_optimizer(told.of));
    return p->options.step_done ? p->options.step_done(p->options.context, &told) : LAM_OK;
}

/* A whole batch lies where the slots of all micro-batches do, whichever of them tells of it: each place from its beginning. */
static struct lam_batch whole_batch(const struct side *side, const struct message *message) {
    struct lam_batch batch = message->batch;
    for (int f = 1; f < LAM_MAX_FIELDS - LAM_MAX_TAPS; f++) batch.data[f] = side->messages[0].batch.data[f];
    for (int part = 0; part < LAM_BORDER_PARTS; part++)
        batch.data[lam_border_place(part)] = side->activation[lam_border_place(part)];
    return batch;
}

static lam_status fill_whole(struct worker *w, const struct side *side, const struct message *in, int slot) {
    struct message *to = &side->messages[slot], whole = *to;
    whole.batch = whole_batch(side, to);
    LAM_TRY(lam_worker_fill(w, w->first_block, in, &whole));
    memcpy(whole.batch.data, to->batch.data, sizeof whole.batch.data);
    *to = whole;
    return LAM_OK;
}

/* A whole evaluation batch to the receiver's side. */
static lam_status carry_whole(struct worker *w, struct link *link, int slot) {
    const struct lam_block *block = w->pipeline->options.blocks[w->first_block];
    const struct lam_block_options *o = lam_block_options(block);
    const struct lam_network *n = o->network;
    size_t bytes[LAM_MAX_FIELDS] = {0};
    for (int part = 0; part < LAM_BORDER_PARTS; part++)
        bytes[lam_border_place(part)] = lam_block_part_bytes(block, part);
    for (int f = 1; f < n->eval_field_count; f++)
        bytes[f] = lam_pipeline_field_bytes(n->eval_fields, n->eval_field_count, f,
                                            lam_network_eval_batch(n, o->batch));
    struct lam_batch to = whole_batch(&link->near, &link->near.messages[slot]),
                     from = whole_batch(&link->far, &link->far.messages[slot]);
    return carry(link, slot, to.data, from.data, bytes);
}

static lam_status evaluate(struct worker *w, struct message *in, struct link *behind) {
    struct lam_pipeline *p = w->pipeline;
    int block = w->first_block, slot;
    struct message whole = *in;
    if (block > 0) whole.batch = whole_batch(&p->links[block].near, in);
    double begin = lam_seconds();
    if (behind) {
        LAM_TRY(lam_queue_acquire(behind->queue, &slot));
        LAM_TRY(fill_whole(w, sender_side(behind), &whole, slot));
    }
    LAM_TRY(lam_block_evaluate(p->options.blocks[block], &whole.batch,
                               behind ? sender_side(behind)->activation : NULL));
    if (behind && behind->forward) LAM_TRY(carry_whole(w, behind, slot));
    if (behind)
        lam_queue_publish(behind->queue);
    else if (p->options.evaluated)
        LAM_TRY(p->options.evaluated(p->options.context, p->options.blocks[block], &whole.batch));
    lam_trace_span(p->options.trace, w->device, LAM_TRACE_EVALUATE, block + 1, in->step, begin,
                   lam_seconds());
    return LAM_OK;
}

/* The first device: a whole batch comes in. */
static lam_status run_entry(struct worker *w, struct batch_run *r) {
    struct link *entry = &w->pipeline->links[0];
    int slot;
    LAM_TRY(wait_take(w, entry->queue, &slot));
    struct message *in = &entry->near.messages[slot];
    atomic_store(&w->step, in->step);
    lam_status status;
    if (in->kind == MESSAGE_EVALUATE) {
        status = evaluate(w, in, link_behind(r));
    } else {
        r->entry = in;
        cut(r);
        status = train(r);
        if (status == LAM_OK) status = finish(r, in, &in->batch);
    }
    if (in->loan) in->release(in->release_context, in->loan);
    in->loan = NULL;
    lam_queue_release(entry->queue);
    return status;
}

/* The kind of what comes next is known only when it is there: evaluation is looked at in its slot. */
static lam_status run_later(struct worker *w, struct batch_run *r) {
    struct link *before = link_before(r);
    double begin = lam_seconds();
    lam_worker_enter(w, DOING_STARVED);
    int slot;
    LAM_TRY(lam_queue_peek(before->queue, &slot));
    lam_worker_waited(w, &w->starved, LAM_TRACE_STARVED, w->first_block + 1, atomic_load(&w->step), begin);
    struct message *first = &before->near.messages[slot];
    if (first->kind == MESSAGE_EVALUATE) {
        LAM_TRY(lam_queue_take(before->queue, &slot));
        LAM_TRY(evaluate(w, first, link_behind(r)));
        lam_queue_release(before->queue);
        return LAM_OK;
    }
    struct message head = *first; /* its slot is given back before the batch is done */
    LAM_TRY(train(r));
    struct lam_batch batch = {.count = r->samples, .epoch = head.batch.epoch, .number = head.batch.number};
    return finish(r, &head, &batch);
}

lam_status lam_worker_end_to_end(struct worker *w) {
    struct batch_run run = {.worker = w, .block = w->first_block};
    return w->first_block == 0 ? run_entry(w, &run) : run_later(w, &run);
}
