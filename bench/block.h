/* A whole training step (forward, loss, backward, update) of one block on data that is already there: timed, and compared
 * with the floor. lamina-bench step and lamina gpu-check measure with it.
 *
 *     struct bench_block block = {0};
 *     status = bench_block_open(&options, device, &block);
 *     if (status == LAM_OK) status = bench_block_time(&block, 10, false, &seconds);
 *     struct bench_floor floor = bench_block_floor(&block, flops_per_second, bytes_per_second);
 *     bench_block_close(&block);
 */
#ifndef LAMINA_BENCH_BLOCK_H
#define LAMINA_BENCH_BLOCK_H

#include "bench/network.h"
#include "local/stage.h"

struct bench_block_options {
    const char *model, *image_size; /* as bench_network_open takes them */
    int classes, batch;
    enum lam_dtype precision;
    struct lam_tuning *tuning; /* not owned, used while opening */
};

struct bench_block {
    struct lam_device *device; /* the caller's */
    struct bench_network network;
    struct lam_block *block;
    struct lam_stage stage;
    struct lam_batch batch;
};

/* Its batch stays on the device until that is closed. close: also after a failure. */
lam_status bench_block_open(const struct bench_block_options *options, struct lam_device *device,
                            struct bench_block *block);
void bench_block_close(struct bench_block *block);

/* *median: seconds of the step in the middle, after some that are not timed. profile: of the timed ones, by op. */
lam_status bench_block_time(struct bench_block *block, int steps, bool profile, double *median);

/* What no implementation of this step can go below: every multiply-add once, every kept value written and read once, every
 * parameter read twice and its gradient and optimizer state passed over once. */
struct bench_floor {
    double flops, bytes, seconds;
};
struct bench_floor bench_block_floor(const struct bench_block *block, double flops_per_second,
                                     double bytes_per_second);

/* Ascending. */
void bench_sort(double *values, int count);

#endif
