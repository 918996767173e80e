/* What lamina-bench trains: a network as its program builds it. Classifiers see noise, of any size and number of classes; the other
 * tasks the built-in shapes. */
#ifndef LAMINA_BENCH_NETWORK_H
#define LAMINA_BENCH_NETWORK_H

#include "data/loader.h"
#include "local/aux.h"
#include "nn/model.h"
#include "optim/optimizer.h"
#include "train/settings.h"

struct bench_network {
    struct lam_network network;
    int batch;        /* samples */
    int64_t *indices; /* of them */
    /* A classifier: */
    struct lam_model *model;
    struct lam_field fields[2];
    /* Another task: */
    struct lam_settings settings;
    void *state;
};

/* image_size: "32", "320x240", the side of a patch, or "" for the usual one. classes: of classifiers. */
lam_status bench_network_open(const char *model, const char *image_size, int classes, int batch,
                              struct bench_network *network);
void bench_network_close(struct bench_network *network); /* also after a failure */

/* SGD for convolutional classifiers, AdamW for the rest. */
struct lam_optimizer_options bench_network_optimizer(const struct bench_network *network);

/* One batch in the device's memory, which frees it when it is closed. */
lam_status bench_network_batch(const struct bench_network *network, struct lam_device *device,
                               struct lam_batch *batch);

#endif
