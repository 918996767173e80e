/* A pipeline over several ranks: what would stay in place in one process is carried by threads of their own.
 *
 * Down: the last block of a rank writes into a staging slot; CARRY_BATCHES sends it. The next rank's main thread, which
 * hands batches in there, receives it into its queue. Up: CARRY_VERSIONS_UP sends each version of the parameters that twins
 * of the rank before follow, there CARRY_VERSIONS_IN puts it into its place. To the head: each block's step. */
#include <string.h>

#include "pipeline/internal.h"

/* What is sent of a message beside data. */
struct header {
    int32_t kind, count;
    uint64_t epoch, step;
    int64_t number;
    float learning_rate;
};

/* A header, and what is sent in place of a field that a message does not have, so that both ends have as many parts. */
struct envelope {
    struct header header;
    char nothing;
};

struct report {
    int32_t block;
    uint64_t step;
    float loss, gradient_norm;
};

/* A wait that ended since there is an error somewhere: that error. */
static lam_status cause(struct lam_pipeline *p, lam_status status) {
    if (status != LAM_ERR_STOPPED) return status;
    lam_status first = lam_transport_error(p->options.transport);
    return first == LAM_OK ? status : first;
}

/* ---- batches ---- */

/* A message before block j. Training or not, and how many samples, is known to the sender, and to the receiver once it has the
 * header: before, it makes room for whatever may come. */
static struct lam_cargo message_cargo(const struct lam_pipeline *p, int j, struct envelope *envelope,
                                      struct message *message, bool known) {
    const struct lam_block_options *o = lam_block_options(p->options.blocks[j]);
    const struct lam_network *n = o->network;
    bool training = known && message->kind == MESSAGE_TRAIN;
    bool counted = known && message->kind != MESSAGE_STOP;
    int samples = counted ? message->batch.count : lam_pipeline_most_samples(p->options.blocks[j]);
    struct lam_cargo cargo = {.count = 0};
    lam_cargo_add(&cargo, &envelope->header, sizeof envelope->header, false);
    lam_cargo_add(&cargo, message->indices, (size_t)samples * sizeof *message->indices, false);
    for (int part = 0; part < LAM_BORDER_PARTS; part++) {
        size_t bytes = lam_block_part_bytes(p->options.blocks[j - 1], part);
        if (bytes) lam_cargo_add(&cargo, message->batch.data[lam_border_place(part)], bytes, true);
    }
    int fields = n->field_count > n->eval_field_count ? n->field_count : n->eval_field_count;
    for (int f = 1; f < fields; f++) {
        int of_train = counted ? samples : o->batch;
        int of_eval = counted ? samples : lam_network_eval_batch(n, o->batch);
        size_t train = lam_pipeline_field_bytes(n->fields, n->field_count, f, of_train);
        size_t evaluate = lam_pipeline_field_bytes(n->eval_fields, n->eval_field_count, f, of_eval);
        size_t most = train > evaluate ? train : evaluate;
        size_t bytes = !known ? most : training ? train : evaluate;
        if (bytes)
            lam_cargo_add(&cargo, message->batch.data[f], bytes, true);
        else
            lam_cargo_add(&cargo, &envelope->nothing, 1, false);
    }
    return cargo;
}

static lam_status send_batch(struct lam_pipeline *p) {
    int j = lam_pipeline_end_block(p), slot;
    struct link *link = &p->links[j];
    struct lam_part parts[LAM_MAX_PARTS];
    LAM_TRY(lam_queue_take(link->queue, &slot));
    struct message *m = &link->near.messages[slot];
    struct envelope envelope = {.header = {(int32_t)m->kind, m->batch.count, m->batch.epoch, m->step,
                                           m->batch.number, m->learning_rate}};
    const struct lam_cargo cargo = message_cargo(p, j, &envelope, m, true);
    LAM_TRY(lam_wire_load(p->wires[CARRY_BATCHES], &cargo, parts));
    LAM_TRY(lam_transport_send(p->options.transport, p->first_device + 1, LAM_TAG_BATCH, parts, cargo.count,
                               &p->carriers_end));
    lam_queue_release(link->queue);
    return LAM_OK;
}

lam_status lam_ranks_receive(struct lam_pipeline *p, struct message *message) {
    struct lam_part parts[LAM_MAX_PARTS];
    struct envelope envelope;
    int j = lam_pipeline_first_block(p);
    struct lam_cargo cargo = message_cargo(p, j, &envelope, message, false);
    lam_wire_place(p->wires[ENTRY], &cargo, parts);
    LAM_TRY(cause(p, lam_transport_receive(p->options.transport, p->first_device - 1, LAM_TAG_BATCH, parts,
                                           cargo.count, &p->carriers_end)));
    const struct header header = envelope.header;
    message->kind = (enum message_kind)header.kind;
    message->batch.count = header.count;
    message->batch.epoch = header.epoch;
    message->batch.number = header.number;
    message->step = header.step;
    message->learning_rate = header.learning_rate;
    if (message->kind == MESSAGE_STOP) return LAM_OK;
    cargo = message_cargo(p, j, &envelope, message, true);
    return lam_wire_unload(p->wires[ENTRY], &cargo, parts);
}

/* ---- versions ---- */

static struct lam_cargo version_cargo(const struct followed *twins, int place) {
    struct lam_cargo cargo = {.count = 0};
    lam_cargo_add(&cargo, twins->places[place], (size_t)twins->count * sizeof(float), true);
    return cargo;
}

static lam_status send_version(struct lam_pipeline *p, uint64_t version) {
    const struct followed *twins = &p->twins[lam_pipeline_first_block(p) - 1];
    struct lam_part part;
    int place;
    LAM_TRY(lam_versions_read(twins->versions, version, &place));
    const struct lam_cargo cargo = version_cargo(twins, place);
    LAM_TRY(lam_wire_load(p->wires[CARRY_VERSIONS_UP], &cargo, &part));
    return lam_transport_send(p->options.transport, p->first_device - 1, LAM_TAG_VERSION, &part, 1,
                              &p->carriers_end);
}

static lam_status receive_version(struct lam_pipeline *p) {
    const struct followed *twins = &p->twins[lam_pipeline_end_block(p) - 1];
    struct lam_part part;
    int place;
    LAM_TRY(lam_versions_acquire(twins->versions, &place));
    const struct lam_cargo cargo = version_cargo(twins, place);
    lam_wire_place(p->wires[CARRY_VERSIONS_IN], &cargo, &part);
    LAM_TRY(lam_transport_receive(p->options.transport, p->first_device + 1, LAM_TAG_VERSION, &part, 1,
                                  &p->carriers_end));
    LAM_TRY(lam_wire_unload(p->wires[CARRY_VERSIONS_IN], &cargo, &part));
    lam_versions_publish(twins->versions);
    pthread_mutex_lock(&p->mutex);
    pthread_cond_broadcast(&p->moved);
    pthread_mutex_unlock(&p->mutex);
    return LAM_OK;
}

/* ---- reports ---- */

lam_status lam_ranks_report(struct lam_pipeline *p, const struct lam_pipeline_step *step) {
    if (lam_pipeline_head(p)) return LAM_OK;
    struct report report = {step->block, step->step, step->loss, step->gradient_norm};
    const struct lam_part part = {&report, sizeof report};
    return cause(p, lam_transport_send(p->options.transport, p->devices - 1, LAM_TAG_REPORT, &part, 1,
                                       &p->carriers_end));
}

static lam_status hear_report(struct reporter *r) {
    struct lam_pipeline *p = r->pipeline;
    struct report report;
    const struct lam_part part = {&report, sizeof report};
    LAM_TRY(lam_transport_receive(p->options.transport, r->rank, LAM_TAG_REPORT, &part, 1, &p->carriers_end));
    const struct worker *w = &p->workers[r->rank];
    if (report.block < w->first_block || report.block >= w->first_block + w->stage.count)
        return lam_fail(LAM_ERR_INTERNAL, "rank %d has no block %d", r->rank, (int)report.block + 1);
    struct lam_pipeline_step told = {.block = report.block,
                                     .step = report.step,
                                     .loss = report.loss,
                                     .gradient_norm = report.gradient_norm};
    if (p->options.step_done) LAM_TRY(p->options.step_done(p->options.context, &told));
    if (report.block + 1 < w->first_block + w->stage.count) return LAM_OK;
    pthread_mutex_lock(&p->mutex);
    r->steps++;
    pthread_cond_broadcast(&p->moved);
    pthread_mutex_unlock(&p->mutex);
    return LAM_OK;
}

bool lam_ranks_settled(const struct lam_pipeline *p) {
    int end = lam_pipeline_end_block(p);
    struct lam_versions *followed =
        p->options.transport && end < p->blocks ? p->twins[end - 1].versions : NULL;
    if (followed && lam_versions_next(followed) <= p->first_version + p->trained_in) return false;
    for (int r = 0; p->reporters && lam_pipeline_head(p) && r < p->first_device; r++)
        if (p->reporters[r].steps < p->trained_in) return false;
    return true;
}

/* ---- wires ---- */

static lam_status wire(struct lam_pipeline *p, int which, int block, const struct lam_cargo *cargo) {
    return lam_wire_create(lam_block_device(p->options.blocks[block]), lam_cargo_far_bytes(cargo),
                           &p->wires[which]);
}

lam_status lam_ranks_allocate(struct lam_pipeline *p) {
    if (!p->options.transport) return LAM_OK;
    struct envelope envelope;
    struct lam_cargo cargo;
    int first = lam_pipeline_first_block(p), last = lam_pipeline_end_block(p);
    if (first > 0) {
        cargo = message_cargo(p, first, &envelope, p->links[first].near.messages, false);
        LAM_TRY(wire(p, ENTRY, first, &cargo));
    }
    if (first > 0 && p->twins[first - 1].versions) {
        cargo = version_cargo(&p->twins[first - 1], 0);
        LAM_TRY(wire(p, CARRY_VERSIONS_UP, first, &cargo));
    }
    if (last == p->blocks) return LAM_OK;
    cargo = message_cargo(p, last, &envelope, p->links[last].near.messages, false);
    LAM_TRY(wire(p, CARRY_BATCHES, last - 1, &cargo));
    if (!p->twins[last - 1].versions) return LAM_OK;
    cargo = version_cargo(&p->twins[last - 1], 0);
    return wire(p, CARRY_VERSIONS_IN, last - 1, &cargo);
}

/* ---- threads ---- */

static void end(struct lam_pipeline *p, lam_status status) {
    lam_pipeline_fail(p, cause(p, status));
}

/* Does one thing over and over, until it fails. */
static void *repeat(struct lam_pipeline *p, lam_status (*carry)(struct lam_pipeline *p)) {
    lam_status status = LAM_OK;
    while (status == LAM_OK) status = carry(p);
    end(p, status);
    return NULL;
}

static void *carry_batches(void *pipeline) {
    return repeat(pipeline, send_batch);
}

static void *carry_versions_up(void *pipeline) {
    struct lam_pipeline *p = pipeline;
    lam_status status = LAM_OK;
    for (uint64_t version = p->first_version; status == LAM_OK; version++) status = send_version(p, version);
    end(p, status);
    return NULL;
}

static void *carry_versions_in(void *pipeline) {
    return repeat(pipeline, receive_version);
}

static void *hear_reports(void *reporter) {
    struct reporter *r = reporter;
    lam_status status = LAM_OK;
    while (status == LAM_OK) status = hear_report(r);
    end(r->pipeline, status);
    return NULL;
}

static lam_status start(struct lam_pipeline *p, int carrier, bool needed, void *(*carry)(void *)) {
    if (!needed) return LAM_OK;
    if (pthread_create(&p->carriers[carrier], NULL, carry, p) != 0)
        return lam_fail(LAM_ERR_NO_MEMORY, "a thread that carries batches could not be started");
    p->carrying[carrier] = true;
    return LAM_OK;
}

/* An error of another rank. */
static void other_rank_failed(void *pipeline) {
    struct lam_pipeline *p = pipeline;
    lam_pipeline_fail(p, lam_transport_error(p->options.transport));
}

lam_status lam_ranks_start(struct lam_pipeline *p, uint64_t step) {
    if (!p->options.transport) return LAM_OK;
    int first = lam_pipeline_first_block(p), last = lam_pipeline_end_block(p);
    p->first_version = step;
    lam_transport_on_error(p->options.transport, other_rank_failed, p);
    LAM_TRY(start(p, CARRY_BATCHES, last < p->blocks, carry_batches));
    LAM_TRY(start(p, CARRY_VERSIONS_UP, first > 0 && p->twins[first - 1].versions, carry_versions_up));
    LAM_TRY(start(p, CARRY_VERSIONS_IN, last < p->blocks && p->twins[last - 1].versions, carry_versions_in));
    for (int r = 0; lam_pipeline_head(p) && r < p->first_device; r++) {
        struct reporter *reporter = &p->reporters[r];
        reporter->pipeline = p;
        reporter->rank = r;
        if (pthread_create(&reporter->thread, NULL, hear_reports, reporter) != 0)
            return lam_fail(LAM_ERR_NO_MEMORY, "a thread that hears reports could not be started");
        reporter->running = true;
    }
    return LAM_OK;
}

void lam_ranks_stop(struct lam_pipeline *p) {
    if (!p->options.transport) return;
    lam_transport_on_error(p->options.transport, NULL, NULL);
    atomic_store(&p->carriers_end, true);
    for (int i = 0; i < CARRIERS; i++)
        if (p->carrying[i]) pthread_join(p->carriers[i], NULL);
    for (int r = 0; p->reporters && r < p->devices; r++)
        if (p->reporters[r].running) pthread_join(p->reporters[r].thread, NULL);
    for (int r = 0; p->reporters && r < p->devices; r++) p->reporters[r].running = false;
    memset(p->carrying, 0, sizeof p->carrying);
}
