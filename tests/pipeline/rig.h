/* A small training rig for pipeline tests: a network of lib/nn on made-up images, cut into blocks on CPU devices. */
#ifndef TEST_PIPELINE_RIG_H
#define TEST_PIPELINE_RIG_H

#include "nn/model.h"
#include "pipeline/pipeline.h"

enum { RIG_BATCH = 8, RIG_TAIL = 4, RIG_CLASSES = 10, RIG_MOST_BLOCKS = 16, RIG_MOST_DEVICES = 4 };

struct rig_options {
    const char *model;          /* "resnet20", "vit-micro" */
    const char *method;         /* "dgl", "glcan" */
    int blocks, devices, lanes; /* lanes: cores of each device, 0 means 1 */
    enum lam_pipeline_schedule schedule;
    int queue;
    int micro_batches; /* gpipe, 1f1b */
    bool taps;         /* skips over several units, across borders */
    unsigned longest_delay;
    enum lam_dtype precision;
    struct lam_aux_options aux;
    float ema_momentum; /* 0 means 0.9 */
    int ema_lag;
    int fail_at_step;   /* 0: never; else step_done of the last block fails there */
    bool fail_in_first; /* or of the first block */
    int sleep_at_step;  /* 0: never; else it sleeps there for half a second */
    double watchdog_seconds;
    struct lam_transport *transport;            /* NULL: all stages in this process */
    enum { RIG_CPU, RIG_CUDA, RIG_MIXED } kind; /* of the devices; mixed: cpu and cuda by turns */
    bool launch_each;                           /* no recordings */
    bool keep;                                  /* nothing is computed again */
};

struct rig {
    struct rig_options options;
    struct lam_model *model;
    struct lam_network network;
    struct lam_field fields[2];
    struct lam_device *devices[RIG_MOST_DEVICES];
    struct lam_block *blocks[RIG_MOST_BLOCKS];
    struct lam_pipeline *pipeline;
    uint64_t step; /* updates so far */
    int cuts[RIG_MOST_BLOCKS];
    int loans; /* batches handed in and not released */
    float losses[RIG_MOST_BLOCKS];
    int steps_told[RIG_MOST_BLOCKS];
    int evaluated;
};

/* Opens, allocates and starts from the beginning. This and the next two fail the test on errors. */
void rig_start(struct rig *rig, const struct rig_options *options);
void rig_open(struct rig *rig, const struct rig_options *options);
/* Device memory; fresh: initial parameters too. */
void rig_allocate(struct rig *rig, bool fresh);
/* Steps [from, to); each third has RIG_TAIL samples. Stops at the first error. */
lam_status rig_train(struct rig *rig, uint64_t from, uint64_t to);
lam_status rig_evaluate(struct rig *rig, uint64_t step);
void rig_close(struct rig *rig);

/* The batch of a step, and what gives it back. */
struct lam_batch *rig_batch(struct rig *rig, uint64_t step);
void rig_release(void *rig, struct lam_batch *batch);

/* Blocks of this rank: [first, end). */
int rig_first_block(const struct rig *rig);
int rig_end_block(const struct rig *rig);

/* All parameters, buffers and momenta of all blocks (of this rank), as bytes to compare; *bytes: how many. Caller frees. */
void *rig_state(const struct rig *rig, size_t *bytes);
/* Writes such bytes back, those after `step` updates. */
void rig_restore(struct rig *rig, const void *state, uint64_t step);

#endif
