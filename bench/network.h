/* What lamina-bench trains: a network of the model zoo as classify-train builds it, on images that are made up. */
#ifndef LAMINA_BENCH_NETWORK_H
#define LAMINA_BENCH_NETWORK_H

#include "data/loader.h"
#include "local/aux.h"
#include "nn/model.h"
#include "optim/optimizer.h"

struct bench_network {
    struct lam_model *model;
    struct lam_field fields[2];
    struct lam_network network;
    int batch;        /* samples */
    int64_t *indices; /* of the made-up samples: all 0 */
};

lam_status bench_network_open(const char *model, int image_size, int classes, int batch,
                              struct bench_network *network);
void bench_network_close(struct bench_network *network);

/* AdamW for transformers, SGD for the rest. */
struct lam_optimizer_options bench_network_optimizer(const struct bench_network *network);

/* One batch of noise in the device's memory, which frees it when it is closed. */
lam_status bench_network_batch(const struct bench_network *network, struct lam_device *device,
                               struct lam_batch *batch);

#endif
