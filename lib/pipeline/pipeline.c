/* The pipeline's life: stages, links, memory, threads; and the calls from outside. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/files.h"
#include "base/log.h"
#include "pipeline/internal.h"

/* ---- create ---- */

/* Runs of blocks on one device. */
static lam_status find_stages(struct lam_pipeline *p) {
    struct lam_block *const *blocks = p->options.blocks;
    for (int j = 0; j < p->blocks; j++) {
        struct lam_device *device = lam_block_device(blocks[j]);
        bool same = j > 0 && lam_block_device(blocks[j - 1]) == device;
        for (int d = 0; d + (same ? 1 : 0) < p->devices; d++)
            if (p->workers[d].stage.device == device)
                return lam_fail(LAM_ERR_INTERNAL, "blocks of %s are not next to each other",
                                lam_device_name(device));
        if (!same) {
            struct worker *w = &p->workers[p->devices];
            *w = (struct worker){.pipeline = p, .device = p->devices, .first_block = j};
            w->stage.device = device;
            w->stage.blocks = (struct lam_block **)(uintptr_t)(blocks + j);
            p->devices++;
        }
        p->workers[p->devices - 1].stage.count++;
        p->device_of[j] = p->devices - 1;
    }
    return LAM_OK;
}

size_t lam_pipeline_field_bytes(const struct lam_field *fields, int count, int field, int batch) {
    if (field >= count) return 0;
    return (size_t)lam_shape_count(fields[field].shape) * lam_dtype_bytes(fields[field].dtype) *
           (size_t)batch;
}

/* What a slot holds of field f: in training or in evaluation, whichever takes more. */
static size_t network_field_room(const struct lam_network *n, int batch, int f) {
    size_t training = lam_pipeline_field_bytes(n->fields, n->field_count, f, batch);
    size_t evaluation =
        lam_pipeline_field_bytes(n->eval_fields, n->eval_field_count, f, lam_network_eval_batch(n, batch));
    return training > evaluation ? training : evaluation;
}

/* What a slot before block j holds at a place: a part of what the block before gives out, or a field. */
static size_t room_at(const struct lam_pipeline *p, int j, int place) {
    const struct lam_block_options *o = lam_block_options(p->options.blocks[j]);
    for (int part = 0; part < LAM_BORDER_PARTS; part++)
        if (lam_border_place(part) == place) return lam_block_part_bytes(p->options.blocks[j - 1], part);
    return network_field_room(o->network, o->batch, place);
}

size_t lam_pipeline_slot_fields(const struct lam_network *network, int batch) {
    size_t bytes = 0;
    for (int f = 1; f < LAM_MAX_FIELDS; f++) bytes += lam_cache_lines(network_field_room(network, batch, f));
    return bytes;
}

int lam_pipeline_slots(enum lam_pipeline_schedule schedule, int queue) {
    return schedule == LAM_PIPELINE_PPLL ? queue + 1 : 1;
}

/* Bytes of one slot before block j: what the block before gives out, and the fields but the first. */
static size_t slot_bytes(const struct lam_pipeline *p, int j) {
    const struct lam_block_options *o = lam_block_options(p->options.blocks[j]);
    return lam_block_output_bytes(p->options.blocks[j - 1]) + lam_pipeline_slot_fields(o->network, o->batch);
}

int lam_pipeline_most_samples(const struct lam_block *block) {
    const struct lam_block_options *o = lam_block_options(block);
    int evaluation = lam_network_eval_batch(o->network, o->batch);
    return o->batch > evaluation ? o->batch : evaluation;
}

static lam_status create_indices(struct message *message, int batch) {
    message->indices = calloc((size_t)batch, sizeof *message->indices);
    message->batch.indices = message->indices;
    return message->indices ? LAM_OK : lam_no_memory();
}

static lam_status create_side(struct side *side, struct lam_device *device, int slots, int batch) {
    side->device = device;
    side->messages = calloc((size_t)slots, sizeof *side->messages);
    if (!side->messages) return lam_no_memory();
    for (int i = 0; i < slots; i++) LAM_TRY(create_indices(&side->messages[i], batch));
    return LAM_OK;
}

/* Whether what block j - 1 gives to block j has to go to another memory, in this process. */
static bool is_bridged(const struct lam_pipeline *p, int j) {
    return j > 0 && j < p->blocks && !p->options.transport &&
           lam_carrier_needed(lam_block_device(p->options.blocks[j - 1]),
                              lam_block_device(p->options.blocks[j]));
}

/* A slot per micro-batch, forward and back. */
static lam_status create_end_to_end_link(struct lam_pipeline *p, int j) {
    struct link *link = &p->links[j];
    const struct lam_block_options *options = lam_block_options(p->options.blocks[j]);
    int slots = j > 0 ? options->micro_batches : 1, batch = lam_pipeline_most_samples(p->options.blocks[j]);
    LAM_TRY(lam_queue_create(slots, &link->queue));
    LAM_TRY(create_side(&link->near, lam_block_device(p->options.blocks[j]), slots, batch));
    if (j == 0) return LAM_OK;
    if (is_bridged(p, j))
        LAM_TRY(create_side(&link->far, lam_block_device(p->options.blocks[j - 1]), slots, batch));
    for (int part = 0; part < LAM_BORDER_PARTS; part++)
        link->micro_bytes[lam_border_place(part)] =
            lam_block_micro_part_bytes(p->options.blocks[j - 1], part);
    LAM_TRY(lam_queue_create(slots, &link->back));
    return lam_block_check_border(p->options.blocks[j - 1], p->options.blocks[j]);
}

/* Slots before block j, on its device. */
static int slots_before(const struct lam_pipeline *p, int j) {
    bool entry = j == 0 || p->links[j].inside;
    return entry ? 1 : lam_pipeline_slots(p->options.schedule, p->options.queue);
}

/* Whether block j is the first one of the next rank. */
static bool is_outgoing(const struct lam_pipeline *p, int j) {
    return p->options.transport && j < p->blocks && j == lam_pipeline_end_block(p);
}

static lam_status create_link(struct lam_pipeline *p, int j) {
    struct link *link = &p->links[j];
    int batch = lam_pipeline_most_samples(p->options.blocks[j]);
    if (lam_pipeline_end_to_end(p)) return create_end_to_end_link(p, j);
    bool outgoing = is_outgoing(p, j);
    link->inside = j > 0 && p->device_of[j] == p->device_of[j - 1];
    int slots = outgoing ? LAM_PIPELINE_STAGING : slots_before(p, j);
    LAM_TRY(lam_queue_create(slots, &link->queue));
    LAM_TRY(
        create_side(&link->near, lam_block_device(p->options.blocks[outgoing ? j - 1 : j]), slots, batch));
    if (is_bridged(p, j)) LAM_TRY(create_indices(&link->outbox, batch));
    return j > 0 ? lam_block_check_border(p->options.blocks[j - 1], p->options.blocks[j]) : LAM_OK;
}

/* Versions t .. t + 1 are in use at once, and lag older ones; one more, so that the writer need not wait. */
int lam_pipeline_versions(int ema_lag) {
    return ema_lag + 3;
}

static lam_status create_twins(struct lam_pipeline *p, int j) {
    struct followed *twins = &p->twins[j];
    twins->count = j + 1 < p->blocks ? lam_block_twin_count(p->options.blocks[j]) : 0;
    if (twins->count == 0) return LAM_OK;
    twins->kept = lam_pipeline_versions(p->options.ema_lag);
    twins->places = calloc((size_t)twins->kept, sizeof *twins->places);
    if (!twins->places) return lam_no_memory();
    return lam_versions_create(twins->kept, &twins->versions);
}

/* The stage of this process, if each rank has one of its own. */
static lam_status find_own_stage(struct lam_pipeline *p) {
    p->end_device = p->devices;
    if (!p->options.transport) return LAM_OK;
    int ranks = lam_transport_ranks(p->options.transport);
    if (p->options.schedule != LAM_PIPELINE_PPLL)
        return lam_fail(LAM_ERR_INVALID, "several ranks work under the schedule ppll alone");
    if (ranks != p->devices)
        return lam_fail(LAM_ERR_INVALID, "%d ranks for %d devices; there must be one for each", ranks,
                        p->devices);
    p->first_device = lam_transport_rank(p->options.transport);
    p->end_device = p->first_device + 1;
    p->reporters = calloc((size_t)ranks, sizeof *p->reporters);
    return p->reporters ? LAM_OK : lam_no_memory();
}

static lam_status create(struct lam_pipeline *p) {
    size_t blocks = (size_t)p->blocks;
    p->workers = calloc(blocks, sizeof *p->workers);
    p->device_of = calloc(blocks, sizeof *p->device_of);
    p->links = calloc(blocks, sizeof *p->links);
    p->twins = calloc(blocks, sizeof *p->twins);
    p->hooks = calloc(blocks, sizeof *p->hooks);
    if (!p->workers || !p->device_of || !p->links || !p->twins || !p->hooks) return lam_no_memory();
    LAM_TRY(find_stages(p));
    LAM_TRY(find_own_stage(p));
    if (lam_pipeline_end_to_end(p) && p->devices != p->blocks)
        return lam_fail(LAM_ERR_INVALID,
                        "an end-to-end pipeline has one block per device: %d blocks, %d devices", p->blocks,
                        p->devices);
    for (int j = 0; j < p->blocks; j++) LAM_TRY(create_link(p, j));
    for (int j = 0; j < p->blocks; j++) LAM_TRY(create_twins(p, j));
    for (int j = 0; j + 1 < p->blocks; j++) {
        p->hooks[j] = (struct hook){&p->workers[p->device_of[j]], &p->links[j + 1]};
        if (!lam_pipeline_end_to_end(p))
            lam_block_on_output(p->options.blocks[j], lam_worker_output_done, &p->hooks[j]);
    }
    for (int d = 0; d < p->devices; d++) {
        const struct worker *w = &p->workers[d];
        lam_trace_lane(p->options.trace, d, lam_device_name(w->stage.device));
    }
    return LAM_OK;
}

lam_status lam_pipeline_create(const struct lam_pipeline_options *options, struct lam_pipeline **pipeline) {
    for (int j = 0; j < options->block_count; j++) {
        int micro = lam_block_options(options->blocks[j])->micro_batches;
        bool ends = options->schedule == LAM_PIPELINE_GPIPE || options->schedule == LAM_PIPELINE_1F1B;
        if ((micro > 0) != ends)
            return lam_fail(LAM_ERR_INTERNAL, "%s is not made for this schedule",
                            lam_block_name(options->blocks[j]));
    }
    if (options->block_count < 1 || options->queue < 1 || options->ema_lag < 0)
        return lam_fail(LAM_ERR_INVALID,
                        "a pipeline needs a block, a queue of at least 1 and a lag of at least 0");
    struct lam_pipeline *p = calloc(1, sizeof *p);
    if (!p) return lam_no_memory();
    p->options = *options;
    p->blocks = options->block_count;
    pthread_mutex_init(&p->mutex, NULL);
    pthread_cond_init(&p->moved, NULL);
    lam_status status = create(p);
    if (status != LAM_OK) {
        lam_pipeline_destroy(p);
        return status;
    }
    *pipeline = p;
    return LAM_OK;
}

/* ---- memory ---- */

bool lam_pipeline_local(const struct lam_pipeline *p, int device) {
    return device >= p->first_device && device < p->end_device;
}

int lam_pipeline_device_of(const struct lam_pipeline *p, int block) {
    return p->device_of[block];
}

bool lam_pipeline_has_block(const struct lam_pipeline *p, int block) {
    return lam_pipeline_local(p, p->device_of[block]);
}

bool lam_pipeline_head(const struct lam_pipeline *p) {
    return p->end_device == p->devices;
}

int lam_pipeline_first_block(const struct lam_pipeline *p) {
    return p->workers[p->first_device].first_block;
}

int lam_pipeline_end_block(const struct lam_pipeline *p) {
    const struct worker *last = &p->workers[p->end_device - 1];
    return last->first_block + last->stage.count;
}

int lam_pipeline_devices(const struct lam_pipeline *p) {
    return p->devices;
}

const struct lam_stage *lam_pipeline_stage(const struct lam_pipeline *p, int device) {
    return &p->workers[device].stage;
}

/* Activations and gradients of a batch, and its fields. */
static size_t end_to_end_bytes(const struct lam_pipeline *p, int j) {
    return j > 0 ? slot_bytes(p, j) + lam_block_output_bytes(p->options.blocks[j - 1]) : 0;
}

static size_t version_bytes(const struct lam_pipeline *p, int j) {
    return (size_t)p->twins[j].count * sizeof(float) * (size_t)p->twins[j].kept;
}

/* Bytes of the largest slot inside a device. */
static size_t turn_bytes(const struct lam_pipeline *p, const struct worker *w) {
    size_t most = 0;
    for (int j = w->first_block + 1; j < w->first_block + w->stage.count; j++)
        if (slot_bytes(p, j) > most) most = slot_bytes(p, j);
    return most;
}

/* Between ranks both have slots, and both have versions. */
struct lam_block_memory lam_pipeline_memory(const struct lam_pipeline *p, int device) {
    const struct worker *w = &p->workers[device];
    struct lam_block_memory memory = lam_stage_memory(&w->stage);
    size_t *queue = &memory.bytes[LAM_MEMORY_QUEUE];
    int end = w->first_block + w->stage.count;
    for (int j = w->first_block; j < end; j++) {
        if (lam_pipeline_end_to_end(p)) {
            *queue += end_to_end_bytes(p, j);
            if (is_bridged(p, j + 1)) *queue += end_to_end_bytes(p, j + 1);
            continue;
        }
        if (j > 0 && !p->links[j].inside) *queue += slot_bytes(p, j) * (size_t)slots_before(p, j);
        *queue += version_bytes(p, j);
        if (is_bridged(p, j + 1)) *queue += slot_bytes(p, j + 1);
        if (is_bridged(p, j)) *queue += (size_t)p->twins[j - 1].count * sizeof(float);
    }
    *queue += (size_t)lam_stage_turns(w->stage.count) * turn_bytes(p, w);
    if (p->options.transport && end < p->blocks) *queue += slot_bytes(p, end) * LAM_PIPELINE_STAGING;
    if (p->options.transport && device > 0) *queue += version_bytes(p, w->first_block - 1);
    return memory;
}

/* Where everything of a message before block j lies in a slot. */
static void lay_out(const struct lam_pipeline *p, int j, char *slot, struct message *message) {
    for (int place = 0; place < LAM_MAX_FIELDS; place++) {
        size_t bytes = lam_cache_lines(room_at(p, j, place));
        message->batch.data[place] = bytes ? slot : NULL;
        slot += bytes;
    }
}

static lam_status allocate_slot(struct lam_pipeline *p, int j, struct message *message) {
    void *slot;
    LAM_TRY(lam_device_alloc(p->links[j].near.device, LAM_MEMORY_QUEUE, slot_bytes(p, j), &slot));
    lay_out(p, j, slot, message);
    return LAM_OK;
}

/* The slots inside a device: its blocks read one and write the other, by turns. */
static lam_status allocate_turns(struct lam_pipeline *p, struct worker *w) {
    for (int t = 0; t < lam_stage_turns(w->stage.count); t++)
        LAM_TRY(lam_device_alloc(w->stage.device, LAM_MEMORY_QUEUE, turn_bytes(p, w), (void **)&w->turn[t]));
    for (int i = 1; i < w->stage.count; i++) {
        int j = w->first_block + i;
        lay_out(p, j, w->turn[(i - 1) % 2], &p->links[j].near.messages[0]);
    }
    return LAM_OK;
}

/* One side of an end-to-end link: a place is one allocation, of which the micro-batches have a part each. */
static lam_status allocate_side(const struct lam_pipeline *p, int j, struct side *side) {
    const struct link *link = &p->links[j];
    const struct lam_block_options *options = lam_block_options(p->options.blocks[j]);
    size_t slots = (size_t)lam_queue_slots(link->queue);
    for (int part = 0; part < LAM_BORDER_PARTS; part++) {
        int place = lam_border_place(part);
        size_t micro = link->micro_bytes[place],
               bytes = lam_cache_lines(lam_block_part_bytes(p->options.blocks[j - 1], part));
        LAM_TRY(lam_device_alloc(side->device, LAM_MEMORY_QUEUE, bytes, &side->activation[place]));
        LAM_TRY(lam_device_alloc(side->device, LAM_MEMORY_QUEUE, bytes, &side->gradient[place]));
        for (size_t i = 0; bytes && i < slots; i++)
            side->messages[i].batch.data[place] = (char *)side->activation[place] + i * micro;
    }
    for (int f = 1; f < LAM_MAX_FIELDS - LAM_MAX_TAPS; f++) {
        size_t stride = lam_pipeline_field_bytes(options->network->fields, options->network->field_count, f,
                                                 options->batch / options->micro_batches);
        char *data;
        LAM_TRY(lam_device_alloc(side->device, LAM_MEMORY_QUEUE, lam_cache_lines(room_at(p, j, f)),
                                 (void **)&data));
        for (size_t i = 0; data && i < slots; i++) side->messages[i].batch.data[f] = data + i * stride;
    }
    return LAM_OK;
}

static lam_status allocate_end_to_end(struct lam_pipeline *p, int j) {
    struct link *link = &p->links[j];
    LAM_TRY(allocate_side(p, j, &link->near));
    if (!is_bridged(p, j)) return LAM_OK;
    LAM_TRY(lam_carrier_create(link->far.device, link->near.device, &link->forward));
    LAM_TRY(lam_carrier_create(link->near.device, link->far.device, &link->backward));
    return allocate_side(p, j, &link->far);
}

/* The way from block j - 1 to block j, if it leads to another memory. */
static lam_status allocate_bridge(struct lam_pipeline *p, int j) {
    struct link *link = &p->links[j];
    if (!is_bridged(p, j)) return LAM_OK;
    struct lam_bridge_options options = {.from = lam_block_device(p->options.blocks[j - 1]),
                                         .to = link->near.device,
                                         .bytes = slot_bytes(p, j),
                                         .arrived = lam_worker_arrived,
                                         .context = &p->hooks[j - 1]};
    LAM_TRY(lam_bridge_create(&options, &link->bridge));
    lay_out(p, j, lam_bridge_outbox(link->bridge), &link->outbox);
    struct followed *twins = &p->twins[j - 1];
    if (twins->count == 0) return LAM_OK;
    LAM_TRY(lam_carrier_create(link->near.device, options.from, &twins->carrier));
    return lam_device_alloc(link->near.device, LAM_MEMORY_QUEUE, (size_t)twins->count * sizeof(float),
                            (void **)&twins->packed);
}

static lam_status allocate_versions(struct lam_pipeline *p, int j, struct lam_device *device) {
    struct followed *twins = &p->twins[j];
    for (int i = 0; i < twins->kept; i++)
        LAM_TRY(lam_device_alloc(device, LAM_MEMORY_QUEUE, (size_t)twins->count * sizeof(float),
                                 (void **)&twins->places[i]));
    return LAM_OK;
}

/* Links and versions of this process's blocks, and those that other ranks have a part in. */
static lam_status allocate_links(struct lam_pipeline *p) {
    int first = lam_pipeline_first_block(p), end = lam_pipeline_end_block(p);
    for (int d = p->first_device; d < p->end_device; d++) LAM_TRY(allocate_turns(p, &p->workers[d]));
    for (int j = first > 0 ? first : 1; j < p->blocks && (j < end || is_outgoing(p, j)); j++)
        for (int i = 0; !p->links[j].inside && i < lam_queue_slots(p->links[j].queue); i++)
            LAM_TRY(allocate_slot(p, j, &p->links[j].near.messages[i]));
    for (int j = first; j < end; j++) {
        LAM_TRY(allocate_versions(p, j, lam_block_device(p->options.blocks[j])));
        LAM_TRY(allocate_bridge(p, j));
    }
    if (first > 0) LAM_TRY(allocate_versions(p, first - 1, lam_block_device(p->options.blocks[first])));
    return lam_ranks_allocate(p);
}

lam_status lam_pipeline_allocate(struct lam_pipeline *p) {
    for (int d = p->first_device; d < p->end_device; d++) LAM_TRY(lam_stage_allocate(&p->workers[d].stage));
    if (!lam_pipeline_end_to_end(p)) return allocate_links(p);
    for (int j = 1; j < p->blocks; j++) LAM_TRY(allocate_end_to_end(p, j));
    return LAM_OK;
}

/* ---- errors and the watchdog ---- */

static void poison(struct lam_pipeline *p) {
    for (int j = 0; j < p->blocks; j++) {
        if (p->links[j].queue) lam_queue_poison(p->links[j].queue);
        if (p->links[j].back) lam_queue_poison(p->links[j].back);
        if (p->links[j].bridge) lam_bridge_poison(p->links[j].bridge);
        if (p->twins[j].versions) lam_versions_poison(p->twins[j].versions);
    }
}

void lam_pipeline_fail(struct lam_pipeline *p, lam_status status) {
    pthread_mutex_lock(&p->mutex);
    bool first = p->error.status == LAM_OK && !p->stopping;
    if (first) lam_error_save(&p->error, status);
    pthread_cond_broadcast(&p->moved);
    pthread_mutex_unlock(&p->mutex);
    poison(p);
    if (first && p->options.transport) lam_transport_fail(p->options.transport, status);
}

/* The first error, if there was one; else what this call found. */
static lam_status first_error(struct lam_pipeline *p, lam_status status) {
    pthread_mutex_lock(&p->mutex);
    struct lam_error error = p->error;
    pthread_mutex_unlock(&p->mutex);
    return error.status != LAM_OK ? lam_error_restore(&error) : status;
}

static uint64_t all_actions(const struct lam_pipeline *p) {
    uint64_t sum = 0;
    for (int d = 0; d < p->devices; d++) sum += atomic_load(&p->workers[d].actions);
    return sum;
}

static bool all_done(const struct lam_pipeline *p) {
    for (int d = p->first_device; d < p->end_device; d++)
        if (p->workers[d].done < p->handed_in) return false;
    return lam_ranks_settled(p);
}

char *lam_pipeline_text(const struct lam_pipeline *p) {
    static const char *const doing[DOING_STATES] = {"idle", "working", "waiting for a batch",
                                                    "waiting for a snapshot",
                                                    "waiting for room in the next queue"};
    char *text = NULL;
    size_t size;
    FILE *file = open_memstream(&text, &size);
    if (!file) return NULL;
    for (int d = p->first_device; d < p->end_device; d++) {
        const struct worker *w = &p->workers[d];
        fprintf(file, "%s%s: %s at step %llu", d > p->first_device ? "; " : "",
                lam_device_name(w->stage.device), doing[atomic_load(&w->doing)],
                (unsigned long long)atomic_load(&w->step) + 1);
        struct lam_queue *queue = p->links[w->first_block].queue;
        if (d > 0)
            fprintf(file, ", %d of %d batches in its queue", lam_queue_waiting(queue),
                    lam_queue_slots(queue));
    }
    fclose(file);
    return text;
}

/* Says so, once, when nothing was handed on for a while though there is work: a device may also just compute that long. The
 * text takes the queues' locks, one by one, so the pipeline's is given back before. */
static void *watch(void *argument) {
    struct lam_pipeline *p = argument;
    uint64_t last = 0;
    bool said = false;
    pthread_mutex_lock(&p->mutex);
    while (!p->stopping && p->error.status == LAM_OK) {
        struct timespec until;
        clock_gettime(CLOCK_MONOTONIC, &until);
        double at = (double)until.tv_sec + 1e-9 * (double)until.tv_nsec + p->options.watchdog_seconds;
        until = (struct timespec){(time_t)at, (long)(1e9 * (at - (double)(time_t)at))};
        while (!p->stopping && p->error.status == LAM_OK &&
               pthread_cond_clockwait(&p->moved, &p->mutex, CLOCK_MONOTONIC, &until) == 0)
            ;
        uint64_t now = all_actions(p);
        bool stuck = now == last && !all_done(p) && !p->stopping;
        last = now;
        if (stuck && !said) {
            pthread_mutex_unlock(&p->mutex);
            char *text = lam_pipeline_text(p);
            lam_log(LAM_LOG_WARNING, "nothing was handed on for %g s: %s", p->options.watchdog_seconds,
                    text ? text : "out of memory");
            free(text);
            pthread_mutex_lock(&p->mutex);
        }
        said = stuck;
    }
    pthread_mutex_unlock(&p->mutex);
    return NULL;
}

/* ---- start and stop ---- */

int lam_pipeline_older_versions(const struct lam_pipeline *p, int block, uint64_t step) {
    if (!p->twins[block].versions) return 0;
    return step < (uint64_t)p->options.ema_lag ? (int)step : p->options.ema_lag;
}

float *lam_pipeline_version(const struct lam_pipeline *p, int block, uint64_t version) {
    const struct followed *twins = &p->twins[block];
    return twins->places[version % (uint64_t)twins->kept];
}

/* The versions that blocks of this process follow or are followed by; older ones are in the follower's places already, and
 * another rank, which only passes new ones on, has none. */
static lam_status publish_twins(struct lam_pipeline *p, uint64_t step, bool fresh) {
    int first = lam_pipeline_first_block(p), end = lam_pipeline_end_block(p);
    for (int j = first > 0 ? first - 1 : 0; j < end && j + 1 < p->blocks; j++) {
        struct lam_versions *versions = p->twins[j].versions;
        if (!versions) continue;
        int older = fresh || j < first ? 0 : lam_pipeline_older_versions(p, j, step);
        lam_versions_start(versions, step - (uint64_t)older);
        for (int i = 0; i < older; i++) lam_versions_publish(versions);
        if (j + 1 < end) LAM_TRY(lam_worker_publish(&p->workers[p->device_of[j + 1]], j + 1));
    }
    return LAM_OK;
}

/* Twins start as what they follow. */
static lam_status copy_twins(struct lam_pipeline *p, uint64_t step) {
    for (int j = lam_pipeline_first_block(p); j < lam_pipeline_end_block(p); j++) {
        const struct followed *twins = &p->twins[j];
        int place;
        if (!twins->versions) continue;
        lam_status status = lam_versions_read(twins->versions, step, &place);
        if (status != LAM_OK) return first_error(p, status);
        LAM_TRY(lam_block_follow(p->options.blocks[j], twins->places[place], 0));
    }
    return LAM_OK;
}

lam_status lam_pipeline_start(struct lam_pipeline *p, uint64_t step, bool fresh) {
    if (p->started) return lam_fail(LAM_ERR_INTERNAL, "the pipeline runs already");
    LAM_TRY(publish_twins(p, step, fresh));
    LAM_TRY(lam_ranks_start(p, step));
    if (fresh) LAM_TRY(copy_twins(p, step));
    p->started = true;
    lam_pipeline_reset_times(p);
    if (p->options.schedule == LAM_PIPELINE_SEQUENTIAL) return LAM_OK;
    for (int d = p->first_device; d < p->end_device; d++) {
        if (pthread_create(&p->workers[d].thread, NULL, lam_worker_loop, &p->workers[d]) != 0)
            return lam_fail(LAM_ERR_NO_MEMORY, "a worker thread could not be started");
        p->workers[d].running = true;
    }
    if (p->options.watchdog_seconds > 0) p->watched = pthread_create(&p->watchdog, NULL, watch, p) == 0;
    return LAM_OK;
}

/* A batch that was handed in and never taken; its data is the loader's. */
static void give_back(struct lam_pipeline *p) {
    struct message *first = p->links ? p->links[0].near.messages : NULL;
    if (!first) return;
    if (first->loan) first->release(first->release_context, first->loan);
    first->loan = NULL;
    memset(first->batch.data, 0, sizeof first->batch.data);
}

void lam_pipeline_stop(struct lam_pipeline *p) {
    pthread_mutex_lock(&p->mutex);
    p->stopping = true;
    pthread_cond_broadcast(&p->moved);
    pthread_mutex_unlock(&p->mutex);
    if (p->workers && p->links && p->twins) poison(p);
    lam_ranks_stop(p);
    for (int d = 0; d < p->devices; d++)
        if (p->workers[d].running) pthread_join(p->workers[d].thread, NULL);
    for (int d = 0; d < p->devices; d++) p->workers[d].running = false;
    if (p->watched) pthread_join(p->watchdog, NULL);
    p->watched = false;
    p->options.transport = NULL; /* may be closed from here on; nobody is left who uses it */
    give_back(p);
}

/* A slot is one allocation, of which data[0] is the beginning. End to end, each place of the first slot is the beginning of the
 * whole batch's. */
static void destroy_side(const struct link *link, struct side *side) {
    for (int i = 0; link->queue && side->messages && i < lam_queue_slots(link->queue); i++) {
        int places = link->inside ? 0 : !link->back ? 1 : i == 0 ? LAM_MAX_FIELDS : 0;
        for (int f = 0; f < places; f++) lam_device_free(side->device, side->messages[i].batch.data[f]);
        free(side->messages[i].indices);
    }
    for (int f = 0; f < LAM_MAX_FIELDS && side->device && link->back; f++)
        lam_device_free(side->device, side->gradient[f]);
    free(side->messages);
}

static void destroy_link(struct link *link) {
    lam_bridge_destroy(link->bridge);
    free(link->outbox.indices);
    destroy_side(link, &link->near);
    destroy_side(link, &link->far);
    lam_carrier_destroy(link->forward);
    lam_carrier_destroy(link->backward);
    lam_queue_destroy(link->back);
    lam_queue_destroy(link->queue);
}

/* Where the versions that block j follows lie. */
static struct lam_device *versions_device(const struct lam_pipeline *p, int j) {
    return lam_block_device(p->options.blocks[lam_pipeline_first_block(p) == j + 1 ? j + 1 : j]);
}

void lam_pipeline_destroy(struct lam_pipeline *p) {
    if (!p) return;
    lam_pipeline_stop(p);
    for (int j = 0; j < p->blocks; j++) {
        for (int i = 0; p->twins && i < p->twins[j].kept && p->twins[j].places; i++)
            lam_device_free(versions_device(p, j), p->twins[j].places[i]);
        if (p->twins && p->twins[j].carrier) {
            lam_carrier_destroy(p->twins[j].carrier);
            lam_device_free(lam_block_device(p->options.blocks[j + 1]), p->twins[j].packed);
        }
        if (p->twins) free(p->twins[j].places);
        if (p->twins) lam_versions_destroy(p->twins[j].versions);
        if (p->links) destroy_link(&p->links[j]);
        lam_block_on_output(p->options.blocks[j], NULL, NULL);
    }
    for (int i = 0; i < WIRES; i++) lam_wire_destroy(p->wires[i]);
    for (int d = 0; d < p->devices; d++) {
        for (int t = 0; t < 2; t++) lam_device_free(p->workers[d].stage.device, p->workers[d].turn[t]);
        lam_stage_free(&p->workers[d].stage);
    }
    free(p->workers);
    free(p->device_of);
    free(p->links);
    free(p->twins);
    free(p->hooks);
    free(p->reporters);
    pthread_cond_destroy(&p->moved);
    pthread_mutex_destroy(&p->mutex);
    free(p);
}

/* ---- batches ---- */

static void count_in(struct lam_pipeline *p, enum message_kind kind) {
    pthread_mutex_lock(&p->mutex);
    p->handed_in++;
    if (kind == MESSAGE_TRAIN) p->trained_in++;
    pthread_mutex_unlock(&p->mutex);
}

/* The next batch that the rank before sends, which must be what this rank's caller expects. */
static lam_status receive(struct lam_pipeline *p, const struct message *expected) {
    struct link *entry = &p->links[lam_pipeline_first_block(p)];
    int slot;
    lam_status status = p->started ? lam_queue_acquire(entry->queue, &slot)
                                   : lam_fail(LAM_ERR_INTERNAL, "the pipeline was not started");
    if (status == LAM_OK) status = lam_ranks_receive(p, &entry->near.messages[slot]);
    if (status != LAM_OK) return first_error(p, status);
    const struct message *in = &entry->near.messages[slot];
    if (in->kind == MESSAGE_STOP) p->announced = true;
    if (!p->announced &&
        (in->kind != expected->kind || (in->kind == MESSAGE_TRAIN && in->step != expected->step))) {
        lam_pipeline_fail(p, lam_fail(LAM_ERR_INTERNAL, "ranks are out of step: %llu came for %llu",
                                      (unsigned long long)in->step, (unsigned long long)expected->step));
        return first_error(p, LAM_ERR_INTERNAL);
    }
    count_in(p, in->kind);
    lam_queue_publish(entry->queue);
    return LAM_OK;
}

static lam_status hand_in(struct lam_pipeline *p, const struct message *message) {
    if (p->first_device > 0) return receive(p, message);
    struct link *entry = &p->links[0];
    int slot;
    lam_status status = p->started ? lam_queue_acquire(entry->queue, &slot)
                                   : lam_fail(LAM_ERR_INTERNAL, "the pipeline was not started");
    if (status != LAM_OK) {
        message->release(message->release_context, message->loan);
        return first_error(p, status);
    }
    struct message *to = &entry->near.messages[slot];
    int64_t *indices = to->indices;
    *to = *message;
    to->indices = indices;
    count_in(p, message->kind);
    lam_queue_publish(entry->queue);
    if (p->options.schedule != LAM_PIPELINE_SEQUENTIAL) return LAM_OK;
    double begin = lam_seconds();
    status = LAM_OK;
    for (int d = 0; d < p->devices && status == LAM_OK; d++) status = lam_worker_message(&p->workers[d]);
    p->inside += lam_seconds() - begin;
    if (status != LAM_OK) lam_pipeline_fail(p, status);
    return status == LAM_OK ? LAM_OK : first_error(p, status);
}

lam_status lam_pipeline_train(struct lam_pipeline *p, struct lam_batch *batch, lam_pipeline_release release,
                              void *release_context, float learning_rate, uint64_t step) {
    struct message message = {.kind = MESSAGE_TRAIN,
                              .learning_rate = learning_rate,
                              .step = step,
                              .loan = batch,
                              .release = release,
                              .release_context = release_context};
    if (batch) message.batch = *batch;
    return hand_in(p, &message);
}

static void keep(void *context, struct lam_batch *batch) {
    (void)context, (void)batch;
}

lam_status lam_pipeline_announce_stop(struct lam_pipeline *p) {
    if (!p->options.transport) return LAM_OK;
    p->announced = true;
    return hand_in(p, &(struct message){.kind = MESSAGE_STOP, .release = keep});
}

bool lam_pipeline_announced(const struct lam_pipeline *p) {
    return p->announced;
}

/* End to end there is room for one whole batch at a time between two devices. */
static lam_status drain_first(struct lam_pipeline *p, struct lam_batch *batch, lam_pipeline_release release,
                              void *release_context) {
    lam_status status = lam_pipeline_drain(p);
    if (status != LAM_OK) release(release_context, batch);
    return status;
}

lam_status lam_pipeline_evaluate(struct lam_pipeline *p, struct lam_batch *batch,
                                 lam_pipeline_release release, void *release_context) {
    if (lam_pipeline_end_to_end(p)) LAM_TRY(drain_first(p, batch, release, release_context));
    struct message message = {
        .kind = MESSAGE_EVALUATE, .loan = batch, .release = release, .release_context = release_context};
    if (batch) message.batch = *batch;
    return hand_in(p, &message);
}

lam_status lam_pipeline_drain(struct lam_pipeline *p) {
    pthread_mutex_lock(&p->mutex);
    while (p->error.status == LAM_OK && !all_done(p)) pthread_cond_wait(&p->moved, &p->mutex);
    pthread_mutex_unlock(&p->mutex);
    return first_error(p, LAM_OK);
}

/* ---- times ---- */

struct lam_pipeline_times lam_pipeline_times(const struct lam_pipeline *p, int device) {
    const struct worker *w = &p->workers[device];
    struct lam_pipeline_times times = {.busy = 1e-9 * (double)atomic_load(&w->busy),
                                       .forward = 1e-9 * (double)atomic_load(&w->forward),
                                       .starved = 1e-9 * (double)atomic_load(&w->starved),
                                       .blocked = 1e-9 * (double)atomic_load(&w->blocked)};
    if (p->options.schedule == LAM_PIPELINE_SEQUENTIAL)
        times.starved = p->inside - times.busy - times.blocked;
    return times;
}

void lam_pipeline_reset_times(struct lam_pipeline *p) {
    atomic_store(&p->reset_at, lam_seconds());
    p->inside = 0;
    for (int d = 0; d < p->devices; d++) {
        atomic_store(&p->workers[d].busy, 0);
        atomic_store(&p->workers[d].forward, 0);
        atomic_store(&p->workers[d].starved, 0);
        atomic_store(&p->workers[d].blocked, 0);
    }
}
