/* A chain: a network cut into blocks, each on its device.
 *
 *     struct lam_chain_options options = {.network = &network, .devices = devices, .device_count = 2, .blocks = 4,
 *                                         .partition = "profiled", .aux = &lam_aux_glcan, .batch = 128, ...};
 *     LAM_TRY(lam_chain_create(&options, &chain));
 *     ... lam_pipeline_create(...blocks = chain.blocks, .block_count = chain.count...) ...
 *     lam_chain_destroy(&chain);
 *
 * How it is cut (options.partition):
 *     profiled  the least time of the slowest device by measured times of units and auxiliary networks (profile.h), under
 *               each device's memory limit; the cut that comes out is then run, and moved as long as that makes it faster.
 *               The tuning record keeps it. Where the record's mode is FIXED, FLOPs stand for times.
 *     uniform   equal FLOPs of units
 *     paper     the cut that was published for this network and number of blocks
 *     CUTS      "3,7,11" or "layer1.2,layer2.1": last units of all blocks but the last
 * or, with options.fit, into as many blocks as it takes to stay within each device's memory limit, one unit a block at the
 * most; among all such cuts it is the profiled one, with the least time of the slowest device (fit.h).
 */
#ifndef LAM_LOCAL_CHAIN_H
#define LAM_LOCAL_CHAIN_H

#include "local/block.h"
#include "local/partition.h"

/* What a run needs beside its blocks, to cut them under memory limits; pipeline.h tells it. */
struct lam_chain_room {
    size_t data;        /* bytes of batches on the first device */
    size_t slot_fields; /* bytes of a queue's slot beside the activation */
    int slots;          /* before a block whose predecessor is on another device */
    int versions;       /* of parameters that a twin follows */
};

struct lam_chain_options {
    const struct lam_network *network;
    struct lam_device *const *devices;
    int device_count;
    int blocks;            /* 0: as many as the list of cuts says */
    const char *partition; /* NULL: profiled */
    bool fit;     /* into as many blocks as memory limits ask for; blocks and partition are not read */
    bool explain; /* `why` also tells what is only good to know, though it takes a while to find */
    struct lam_chain_room room;
    const struct lam_aux *aux; /* blocks > 1 */
    struct lam_aux_options aux_options;
    int micro_batches; /* 0: local learning; else end-to-end pipelines, one block per device */
    bool
        all_in_flight; /* gpipe: a device keeps all micro-batches; 1f1b: as many as devices follow, itself included */
    int batch, tail;
    bool evaluation_only;
    enum lam_dtype precision;
    struct lam_optimizer_options optimizer;
    struct lam_tuning *tuning; /* not owned, used while creating */
};

struct lam_chain {
    struct lam_block *blocks[LAM_MAX_BLOCKS];
    int count;
    struct lam_partition partition;
    char why[512]; /* how the cut was found, in a few words */
    /* After LAM_ERR_MEMORY_LIMIT, where no cut is within the limits: what the cut that needs the least would. */
    bool too_large;
    struct lam_block_memory least[LAM_MAX_BLOCKS]; /* by device */
};

/* Errors: those of cutting (partition.h) and of creating blocks; LAM_ERR_MEMORY_LIMIT where a profiled or fitting cut is asked for
 * and none is within the devices' limits, with the least that would do. */
lam_status lam_chain_create(const struct lam_chain_options *options, struct lam_chain *chain);
void lam_chain_destroy(struct lam_chain *chain);

#endif
