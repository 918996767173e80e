#include "bench/block.h"

#include <stdlib.h>

#include "base/files.h"

lam_status bench_block_open(const struct bench_block_options *options, struct lam_device *device,
                            struct bench_block *s) {
    s->device = device;
    LAM_TRY(bench_network_open(options->model, options->image_size, options->classes, options->batch,
                               &s->network));
    struct lam_block_options all = {
        .network = &s->network.network,
        .last = s->network.network.units - 1,
        .batch = options->batch,
        .precision = options->precision,
        .optimizer = bench_network_optimizer(&s->network),
        .tuning = options->tuning,
    };
    LAM_TRY(lam_block_create(&all, device, &s->block));
    lam_device_memory_reset_peak(device);
    s->stage = (struct lam_stage){.device = device, .blocks = &s->block, .count = 1};
    LAM_TRY(lam_stage_allocate(&s->stage));
    LAM_TRY(lam_params_init(lam_block_params(s->block), 1));
    return bench_network_batch(&s->network, device, &s->batch);
}

void bench_block_close(struct bench_block *s) {
    lam_stage_free(&s->stage);
    lam_block_destroy(s->block);
    bench_network_close(&s->network);
}

lam_status bench_block_time(struct bench_block *s, int steps, bool profile, double *median) {
    enum { WARM_UP = 2 };
    double *seconds = calloc((size_t)steps, sizeof *seconds);
    if (!seconds) return lam_no_memory();
    lam_status status = LAM_OK;
    float loss;
    for (int i = -WARM_UP; i < steps && status == LAM_OK; i++) {
        if (i == 0 && profile) lam_program_profile(lam_block_program(s->block, LAM_BLOCK_TRAIN), true);
        double start = lam_seconds();
        struct lam_block_step at = {
            .batch = &s->batch, .learning_rate = 1e-3f, .seed = 1, .step = (uint64_t)(i + WARM_UP)};
        status = lam_block_train(s->block, &at, &loss);
        if (i >= 0) seconds[i] = lam_seconds() - start;
    }
    bench_sort(seconds, steps);
    *median = seconds[steps / 2];
    free(seconds);
    return status;
}

struct bench_floor bench_block_floor(const struct bench_block *s, double flops_per_second,
                                     double bytes_per_second) {
    double parameters = (double)lam_params_count(lam_block_params(s->block)) * sizeof(float);
    struct bench_floor f = {
        .flops = lam_block_training_flops(s->block),
        .bytes = 2.0 * (double)lam_program_activation_bytes(lam_block_program(s->block, LAM_BLOCK_TRAIN)) +
                 8 * parameters,
    };
    f.seconds = f.flops / flops_per_second + f.bytes / bytes_per_second;
    return f;
}

static int ascending(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return x < y ? -1 : x > y ? 1 : 0;
}

void bench_sort(double *values, int count) {
    qsort(values, (size_t)count, sizeof *values, ascending);
}
