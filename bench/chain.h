/* A network cut into blocks on devices of its own, under a schedule, with one batch to train on: what lamina-bench pipeline and
 * lamina gpu-check measure and compare.
 *
 *     struct bench_chain chain = {.count = 0};
 *     status = bench_chain_open(&options, &chain);
 *     if (status == LAM_OK) status = bench_chain_train(&chain, 0, steps);     // or bench_chain_time
 *     bench_chain_close(&chain);
 */
#ifndef LAMINA_BENCH_CHAIN_H
#define LAMINA_BENCH_CHAIN_H

#include "bench/network.h"
#include "local/chain.h"
#include "pipeline/pipeline.h"

enum { BENCH_MOST_DEVICES = 16 };

struct bench_chain_options {
    const struct bench_network *network;
    char *const *devices; /* names */
    int device_count;
    struct lam_device_modes modes;
    enum lam_pipeline_schedule schedule;
    int queue;
    int blocks;
    const char *partition;     /* as lam_chain_options */
    const struct lam_aux *aux; /* the same; and the next three */
    struct lam_aux_options aux_options;
    int micro_batches;
    bool all_in_flight;
    enum lam_dtype precision;
    struct lam_optimizer_options optimizer;
    struct lam_tuning *tuning;
};

struct bench_chain {
    struct lam_device *devices[BENCH_MOST_DEVICES];
    int device_count;
    struct lam_chain cut;
    struct lam_pipeline *pipeline;
    struct lam_batch batch;
    int samples;
    /* When the last block ended two of its steps: */
    struct {
        uint64_t first, last;
        double begin, end;
    } clock;
};

/* Opens the devices, allocates and begins; memory peaks count from here. close: also after a failure. */
lam_status bench_chain_open(const struct bench_chain_options *options, struct bench_chain *chain);
void bench_chain_close(struct bench_chain *chain);

/* Steps [from, to), all on the same batch, up to a drain. */
lam_status bench_chain_train(struct bench_chain *chain, uint64_t from, uint64_t to, float learning_rate);
/* From the start: *rate, images per second between two steps' ends in the last block, without filling and draining; the
 * pipeline's times are those of these steps. *next: the step to go on with. */
lam_status bench_chain_time(struct bench_chain *chain, int steps, double *rate, uint64_t *next);

#endif
