#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "pipeline/rig.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/rng.h"
#include "local/model_network.h"
#include "tasks/classify/heads.h"

enum { SIZE = 16, PIXELS = 3 * SIZE * SIZE };

#define OK(call)                                                                                             \
    do {                                                                                                     \
        if ((call) != LAM_OK) fail_msg("%s", lam_error_text());                                              \
    } while (0)

/* ---- network ---- */

static lam_value build_output(void *task, struct lam_graph *graph, lam_value logits,
                              const lam_value *inputs) {
    (void)task;
    return classify_output(graph, logits, inputs[1], 0, false);
}

static lam_value build_local_head(void *task, struct lam_graph *graph, lam_value x, const lam_value *inputs,
                                  const lam_value *taps) {
    (void)taps;
    return build_output(task, graph, classify_local_logits(graph, x, RIG_CLASSES), inputs);
}

/* ---- taps ---- */

/* ResNet-20: two skips within a stage, one over a border of the paper's cuts at least, and the image into the last unit. ViT: two
 * skips that are on their way together. */
static const struct lam_tap resnet_taps[] = {{"early", 0, 3}, {"middle", 4, 6}, {"image", -1, 9}};
static const struct lam_tap vit_taps[] = {{"first", 0, 3}, {"second", 1, 4}};

static lam_value build_tapped_unit(void *context, struct lam_graph *graph, int unit, lam_value x,
                                   const lam_value *taps) {
    const struct lam_model *model = context;
    bool vit = strncmp(model->name, "vit", 3) == 0;
    for (int t = 0; t < (vit ? 2 : 3); t++) {
        const struct lam_tap *tap = vit ? &vit_taps[t] : &resnet_taps[t];
        if (tap->to != unit) continue;
        lam_value skip = taps[t];
        if (tap->from < 0) {
            struct lam_conv_spec spec = {.out = 64, .kernel = 3, .stride = 4, .pad = 1};
            skip = lam_conv(graph, skip, "image.conv", spec);
        }
        x = lam_add(graph, x, skip);
    }
    return lam_model_build_unit(model, graph, unit, x);
}

static void add_taps(struct rig *rig) {
    bool vit = strncmp(rig->model->name, "vit", 3) == 0;
    rig->network.taps = vit ? vit_taps : resnet_taps;
    rig->network.tap_count = vit ? 2 : 3;
    rig->network.build_unit = build_tapped_unit;
}

/* ---- callbacks ---- */

static lam_status step_done(void *context, const struct lam_pipeline_step *step) {
    struct rig *rig = context;
    const struct rig_options *o = &rig->options;
    rig->losses[step->block] = step->loss;
    rig->steps_told[step->block]++;
    bool named = step->of && step->block == (o->fail_in_first ? 0 : o->blocks - 1);
    if (!named || step->step == 0) return LAM_OK;
    if ((int)step->step == o->fail_at_step)
        return lam_fail(LAM_ERR_NOT_FINITE, "made to fail at step %d", (int)step->step);
    if ((int)step->step == o->sleep_at_step) usleep(500000);
    return LAM_OK;
}

static lam_status evaluated(void *context, struct lam_block *block, const struct lam_batch *batch) {
    struct rig *rig = context;
    float logits[RIG_BATCH * RIG_CLASSES];
    LAM_TRY(lam_program_read(lam_block_program(block, LAM_BLOCK_EVAL), "logits", logits, sizeof logits));
    rig->evaluated += batch->count;
    return LAM_OK;
}

/* ---- open ---- */

static void open_blocks(struct rig *rig) {
    const struct rig_options *o = &rig->options;
    const struct lam_aux *aux = NULL;
    OK(lam_aux_find(o->method, &aux));
    for (int j = 0; j + 1 < o->blocks; j++) rig->cuts[j] = (j + 1) * (rig->network.units - 1) / o->blocks - 1;
    for (int j = 0; j < o->blocks; j++) {
        bool last = j + 1 == o->blocks;
        struct lam_block_options options = {
            .network = &rig->network,
            .number = j + 1,
            .first = j ? rig->cuts[j - 1] + 1 : 0,
            .last = last ? rig->network.units - 1 : rig->cuts[j],
            .next_last = j + 2 < o->blocks ? rig->cuts[j + 1] : rig->network.units - 1,
            .aux = last || o->micro_batches ? NULL : aux,
            .micro_batches = o->micro_batches,
            .in_flight = o->micro_batches,
            .aux_options = o->aux,
            .batch = RIG_BATCH,
            .tail = RIG_TAIL,
            .precision = o->precision,
            .optimizer = lam_optimizer_default_options(LAM_OPTIMIZER_SGD),
        };
        if (o->kind == RIG_MIXED) {
            int here = j * o->devices / o->blocks;
            options.plain_in = j > 0 && (j - 1) * o->devices / o->blocks != here;
            options.plain_out = !last && (j + 1) * o->devices / o->blocks != here;
        }
        if (j) options.in = lam_block_border(rig->blocks[j - 1]);
        OK(lam_block_create(&options, rig->devices[j * o->devices / o->blocks], &rig->blocks[j]));
    }
}

static void open_device(struct rig *rig, int d) {
    const struct rig_options *o = &rig->options;
    int lanes = o->lanes ? o->lanes : 1;
    char name[32];
    if (o->kind == RIG_CUDA || (o->kind == RIG_MIXED && d % 2 == 1))
        snprintf(name, sizeof name, "cuda:%d", d);
    else
        snprintf(name, sizeof name, lanes > 1 ? "cpu:%d-%d" : "cpu:%d", d * lanes, d * lanes + lanes - 1);
    OK(lam_device_open(name, 0, &rig->devices[d]));
    lam_device_set_modes(rig->devices[d],
                         (struct lam_device_modes){.launch_each = o->launch_each, .keep_all = o->keep});
}

void rig_open(struct rig *rig, const struct rig_options *options) {
    memset(rig, 0, sizeof *rig);
    rig->options = *options;
    if (rig->options.ema_momentum == 0) rig->options.ema_momentum = 0.9f;
    if (rig->options.devices > rig->options.blocks) rig->options.devices = rig->options.blocks;
    struct lam_model_options model = {.image_size = SIZE, .channels = 3, .classes = RIG_CLASSES};
    OK(lam_model_create(options->model, &model, &rig->model));
    rig->fields[0] = (struct lam_field){"image", LAM_F32, LAM_SHAPE(3, SIZE, SIZE)};
    rig->fields[1] = (struct lam_field){"label", LAM_I32, LAM_SCALAR};
    rig->network = lam_model_network(rig->model);
    rig->network.fields = rig->fields;
    rig->network.field_count = 2;
    rig->network.build_output = build_output;
    rig->network.build_local_head = build_local_head;
    if (options->taps) add_taps(rig);
    for (int d = 0; d < rig->options.devices; d++) open_device(rig, d);
    open_blocks(rig);
    struct lam_pipeline_options pipeline = {.blocks = rig->blocks,
                                            .block_count = options->blocks,
                                            .schedule = options->schedule,
                                            .queue = options->queue ? options->queue : 2,
                                            .ema_momentum = rig->options.ema_momentum,
                                            .ema_lag = rig->options.ema_lag,
                                            .seed = 3,
                                            .transport = options->transport,
                                            .context = rig,
                                            .step_done = step_done,
                                            .evaluated = evaluated,
                                            .watchdog_seconds = options->watchdog_seconds,
                                            .longest_delay = options->longest_delay};
    OK(lam_pipeline_create(&pipeline, &rig->pipeline));
}

void rig_allocate(struct rig *rig, bool fresh) {
    struct lam_block_memory need[RIG_MOST_DEVICES];
    for (int d = 0; d < rig->options.devices; d++) need[d] = lam_pipeline_memory(rig->pipeline, d);
    OK(lam_pipeline_allocate(rig->pipeline));
    for (int d = 0; d < rig->options.devices; d++) /* the forecast is what is allocated */
        for (int kind = 0; kind < LAM_MEMORY_KINDS; kind++)
            assert_int_equal(lam_device_memory(rig->devices[d], (enum lam_memory_kind)kind).peak,
                             lam_pipeline_local(rig->pipeline, d) ? need[d].bytes[kind] : 0);
    if (fresh)
        for (int j = rig_first_block(rig); j < rig_end_block(rig); j++)
            OK(lam_params_init(lam_block_params(rig->blocks[j]), 5));
}

void rig_start(struct rig *rig, const struct rig_options *options) {
    rig_open(rig, options);
    rig_allocate(rig, true);
    OK(lam_pipeline_start(rig->pipeline, 0, true));
}

/* ---- batches ---- */

struct own_batch {
    struct lam_batch batch;
    struct rig *rig;
    int64_t indices[RIG_BATCH];
    float images[RIG_BATCH * PIXELS] __attribute__((aligned(64)));
    int32_t labels[RIG_BATCH] __attribute__((aligned(64)));
};

static bool staged(const struct rig *rig) {
    return !lam_device_backend(rig->devices[0])->host_visible;
}

void rig_release(void *context, struct lam_batch *batch) {
    struct rig *rig = context;
    for (int f = 0; f < 2 && staged(rig); f++) lam_device_free(rig->devices[0], batch->data[f]);
    __atomic_sub_fetch(&rig->loans, 1, __ATOMIC_SEQ_CST);
    free(batch);
}

/* The batch's data, on a first device that cannot read it where it is. */
static void stage(struct rig *rig, struct own_batch *own) {
    void *host[] = {own->images, own->labels};
    size_t bytes[] = {sizeof own->images, sizeof own->labels};
    struct lam_device *device = rig->devices[0];
    const struct lam_backend *backend = lam_device_backend(device);
    struct lam_stream *stream; /* the compute stream is the worker's */
    OK(backend->stream_create(lam_device_handle(device), &stream));
    for (int f = 0; f < 2; f++) {
        OK(lam_device_alloc(device, LAM_MEMORY_DATA, bytes[f], &own->batch.data[f]));
        OK(backend->copy_from_host(stream, own->batch.data[f], host[f], bytes[f]));
    }
    OK(backend->stream_sync(stream));
    backend->stream_destroy(stream);
}

struct lam_batch *rig_batch(struct rig *rig, uint64_t step) {
    struct own_batch *own = aligned_alloc(64, (sizeof *own + 63) / 64 * 64);
    assert_non_null(own);
    struct lam_rng rng = lam_rng_make(11, LAM_RNG_TEST, step, 0);
    own->batch = (struct lam_batch){.count = step % 3 == 2 ? RIG_TAIL : RIG_BATCH,
                                    .number = (int64_t)step,
                                    .indices = own->indices,
                                    .data = {own->images, own->labels}};
    for (int i = 0; i < RIG_BATCH * PIXELS; i++) own->images[i] = lam_rng_normal(&rng);
    for (int i = 0; i < RIG_BATCH; i++) {
        own->labels[i] = (int32_t)(lam_rng_uniform(&rng) * RIG_CLASSES) % RIG_CLASSES;
        own->indices[i] = i;
    }
    __atomic_add_fetch(&rig->loans, 1, __ATOMIC_SEQ_CST);
    if (staged(rig)) stage(rig, own);
    return &own->batch;
}

/* NULL: it comes from the rank before. */
static struct lam_batch *next_batch(struct rig *rig, uint64_t step) {
    return lam_pipeline_local(rig->pipeline, 0) ? rig_batch(rig, step) : NULL;
}

lam_status rig_train(struct rig *rig, uint64_t from, uint64_t to) {
    for (uint64_t step = from; step < to; step++)
        LAM_TRY(lam_pipeline_train(rig->pipeline, next_batch(rig, step), rig_release, rig,
                                   0.05f / (float)(1 + step % 4), step));
    rig->step = to;
    return lam_pipeline_drain(rig->pipeline);
}

lam_status rig_evaluate(struct rig *rig, uint64_t step) {
    for (int i = 0; i < 3; i++)
        LAM_TRY(
            lam_pipeline_evaluate(rig->pipeline, next_batch(rig, 3 * step + (uint64_t)i), rig_release, rig));
    return lam_pipeline_drain(rig->pipeline);
}

void rig_close(struct rig *rig) {
    lam_pipeline_destroy(rig->pipeline);
    for (int j = 0; j < rig->options.blocks; j++) lam_block_destroy(rig->blocks[j]);
    for (int d = 0; d < rig->options.devices; d++) {
        for (int kind = 0; kind < LAM_MEMORY_KINDS; kind++)
            assert_int_equal(lam_device_memory(rig->devices[d], (enum lam_memory_kind)kind).current, 0);
        lam_device_close(rig->devices[d]);
    }
    lam_model_destroy(rig->model);
    assert_int_equal(rig->loans, 0);
}

/* ---- state ---- */

static int blocks_of(const struct rig *rig, int devices) {
    int count = 0;
    for (int d = 0; d < devices; d++) count += lam_pipeline_stage(rig->pipeline, d)->count;
    return count;
}

int rig_first_block(const struct rig *rig) {
    return rig->options.transport ? blocks_of(rig, lam_transport_rank(rig->options.transport)) : 0;
}

int rig_end_block(const struct rig *rig) {
    return rig->options.transport ? blocks_of(rig, lam_transport_rank(rig->options.transport) + 1)
                                  : rig->options.blocks;
}

/* Copies a buffer to or from its place in the state; NULL: only counts. Gives the place behind it. */
static size_t copy_buffer(struct lam_device *device, void *buffer, size_t count, char *state, size_t used,
                          bool write) {
    size_t bytes = count * sizeof(float);
    if (bytes && state && write) OK(lam_device_upload(device, buffer, state + used, bytes));
    if (bytes && state && !write) OK(lam_device_download(device, state + used, buffer, bytes));
    return used + bytes;
}

/* Visits each flat buffer of each block of this rank, and the older versions that it follows. */
static size_t each_buffer(const struct rig *rig, char *state, bool write) {
    size_t used = 0;
    for (int j = rig_first_block(rig); j < rig_end_block(rig); j++) {
        const struct lam_params *params = lam_block_params(rig->blocks[j]);
        const struct lam_optimizer *optimizer = lam_block_optimizer(rig->blocks[j]);
        struct lam_device *device = lam_block_device(rig->blocks[j]);
        void *buffers[] = {lam_params_values(params), lam_params_buffers(params),
                           lam_optimizer_state(optimizer, 0)};
        int64_t counts[] = {lam_params_count(params), lam_params_buffer_count(params),
                            lam_params_count(params)};
        for (int i = 0; i < 3; i++)
            used = copy_buffer(device, buffers[i], (size_t)counts[i], state, used, write);
        size_t twins = (size_t)lam_block_twin_count(rig->blocks[j]);
        int older = lam_pipeline_older_versions(rig->pipeline, j, rig->step);
        for (uint64_t version = rig->step - (uint64_t)older; version < rig->step; version++)
            used = copy_buffer(device, lam_pipeline_version(rig->pipeline, j, version), twins, state, used,
                               write);
    }
    return used;
}

void *rig_state(const struct rig *rig, size_t *bytes) {
    *bytes = each_buffer(rig, NULL, false);
    char *state = malloc(*bytes);
    assert_non_null(state);
    each_buffer(rig, state, false);
    return state;
}

void rig_restore(struct rig *rig, const void *state, uint64_t step) {
    rig->step = step;
    each_buffer(rig, (char *)(uintptr_t)state, true);
}
