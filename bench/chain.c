#include "bench/chain.h"

#include "base/files.h"

enum { WARM_UP = 3 };

static lam_status step_done(void *context, const struct lam_pipeline_step *step) {
    struct bench_chain *c = context;
    if (step->block != c->cut.count - 1) return LAM_OK;
    if (step->step == c->clock.first) c->clock.begin = lam_seconds();
    if (step->step == c->clock.last) c->clock.end = lam_seconds();
    return LAM_OK;
}

static void give_back(void *context, struct lam_batch *batch) {
    (void)context, (void)batch;
}

static lam_status cut(const struct bench_chain_options *o, struct bench_chain *c) {
    struct lam_chain_options options = {
        .network = &o->network->network,
        .devices = c->devices,
        .device_count = c->device_count,
        .blocks = o->blocks,
        .partition = o->partition,
        .aux = o->aux,
        .aux_options = o->aux_options,
        .micro_batches = o->micro_batches,
        .all_in_flight = o->all_in_flight,
        .batch = o->network->batch,
        .precision = o->precision,
        .optimizer = o->optimizer,
        .tuning = o->tuning,
    };
    return lam_chain_create(&options, &c->cut);
}

static lam_status begin(const struct bench_chain_options *o, struct bench_chain *c) {
    struct lam_pipeline_options options = {.blocks = c->cut.blocks,
                                           .block_count = c->cut.count,
                                           .schedule = o->schedule,
                                           .queue = o->queue,
                                           .ema_momentum = 0.995f,
                                           .seed = 1,
                                           .context = c,
                                           .step_done = step_done};
    LAM_TRY(lam_pipeline_create(&options, &c->pipeline));
    for (int d = 0; d < c->device_count; d++) lam_device_memory_reset_peak(c->devices[d]);
    LAM_TRY(lam_pipeline_allocate(c->pipeline));
    for (int j = 0; j < c->cut.count; j++) LAM_TRY(lam_params_init(lam_block_params(c->cut.blocks[j]), 1));
    LAM_TRY(bench_network_batch(o->network, lam_block_device(c->cut.blocks[0]), &c->batch));
    return lam_pipeline_start(c->pipeline, 0, true);
}

lam_status bench_chain_open(const struct bench_chain_options *o, struct bench_chain *c) {
    c->samples = o->network->batch;
    for (; c->device_count < o->device_count; c->device_count++) {
        LAM_TRY(lam_device_open(o->devices[c->device_count], 0, &c->devices[c->device_count]));
        lam_device_set_modes(c->devices[c->device_count], o->modes);
    }
    LAM_TRY(cut(o, c));
    return begin(o, c);
}

void bench_chain_close(struct bench_chain *c) {
    lam_pipeline_destroy(c->pipeline);
    lam_chain_destroy(&c->cut);
    for (int d = 0; d < c->device_count; d++) lam_device_close(c->devices[d]);
}

lam_status bench_chain_train(struct bench_chain *c, uint64_t from, uint64_t to, float learning_rate) {
    for (uint64_t step = from; step < to; step++)
        LAM_TRY(lam_pipeline_train(c->pipeline, &c->batch, give_back, NULL, learning_rate, step));
    return lam_pipeline_drain(c->pipeline);
}

lam_status bench_chain_time(struct bench_chain *c, int steps, double *rate, uint64_t *next) {
    c->clock.first = WARM_UP;
    c->clock.last = WARM_UP + (uint64_t)steps;
    *next = c->clock.last + 1;
    for (uint64_t step = 0; step < *next; step++) {
        if (step == WARM_UP + 1) lam_pipeline_reset_times(c->pipeline);
        LAM_TRY(lam_pipeline_train(c->pipeline, &c->batch, give_back, NULL, 1e-3f, step));
    }
    LAM_TRY(lam_pipeline_drain(c->pipeline));
    *rate = (double)c->samples * steps / (c->clock.end - c->clock.begin);
    return LAM_OK;
}
