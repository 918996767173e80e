/* A block: a run of a network's units with everything that trains it on one device.
 *
 *     struct lam_block_options options = {.network = &network, .first = 0, .last = units - 1, .batch = 128,
 *                                         .tail = 32, .optimizer = ..., .tuning = tuning};
 *     LAM_TRY(lam_block_create(&options, device, &block));           // 1. graphs, plans, forecast
 *     struct lam_block_memory need = lam_block_memory(block);        //    nothing is allocated yet
 *     LAM_TRY(lam_block_allocate(block));                            // 2. device memory
 *     LAM_TRY(lam_params_init(lam_block_params(block), seed));
 *     LAM_TRY(lam_block_train(block, batch, rate, seed, step, &loss));   // 3. forward, backward, update
 *     LAM_TRY(lam_block_evaluate(block, batch));                     // 4. forward in evaluation mode
 *     LAM_TRY(lam_program_read(lam_block_program(block, LAM_BLOCK_EVAL), "logits", logits, bytes));
 *
 * Its three programs (a full training batch, the uneven last one, evaluation) take turns, so they share one
 * activation buffer and one workspace, as large as the largest needs: evaluation costs no memory of its own.
 */
#ifndef LAM_LOCAL_BLOCK_H
#define LAM_LOCAL_BLOCK_H

#include "data/loader.h"
#include "graph/program.h"
#include "optim/optimizer.h"

/* What a task supplies for building: units, and what stands behind the last one. */
struct lam_network {
    void *context;
    int units;
    /* What one sample is made of; field 0 is the input of unit 0. Graph inputs have the fields' names. The
     * evaluation graph gets field 0 alone. */
    const struct lam_field *fields;
    int field_count;
    const char *(*unit_name)(void *context, int unit, char *text, size_t size);
    lam_value (*build_unit)(void *context, struct lam_graph *graph, int unit, lam_value x);
    /* Behind the last unit. Training: declares the outputs "loss" (and others) and returns the loss.
     * Evaluation: declares what the task reads ("logits") and returns LAM_NO_VALUE. inputs[f]: field f. */
    lam_value (*build_output)(void *context, struct lam_graph *graph, lam_value x, const lam_value *inputs);
};

struct lam_block_options {
    const struct lam_network *network;
    int first, last;      /* units */
    int batch;            /* samples of a full batch; evaluation batches are as large */
    int tail;             /* samples of the uneven last training batch; 0 = there is none */
    bool evaluation_only; /* no training programs, no optimizer */
    enum lam_dtype precision;
    struct lam_optimizer_options optimizer;
    struct lam_tuning *tuning; /* not owned, used while creating */
};

enum lam_block_program { LAM_BLOCK_TRAIN, LAM_BLOCK_TAIL, LAM_BLOCK_EVAL, LAM_BLOCK_PROGRAMS };

struct lam_block;

/* Builds and compiles. The network must outlive the block. */
lam_status lam_block_create(const struct lam_block_options *options, struct lam_device *device,
                            struct lam_block **block);
void lam_block_destroy(struct lam_block *block);

/* Bytes that allocate will take, by kind; known after create. */
struct lam_block_memory {
    size_t bytes[LAM_MEMORY_KINDS];
};
struct lam_block_memory lam_block_memory(const struct lam_block *block);

lam_status lam_block_allocate(struct lam_block *block);

/* One step on a batch of batch->count samples, either the full size or the tail's. *loss is a mean over the
 * batch. LAM_ERR_NOT_FINITE names the tensor; then neither parameters nor optimizer state have been updated,
 * but the running statistics of batch norm have, which is part of the forward pass. */
lam_status lam_block_train(struct lam_block *block, const struct lam_batch *batch, float learning_rate,
                           uint64_t seed, uint64_t step, float *loss);

/* Forward in evaluation mode over all rows of the batch, padding included; outputs are in the EVAL program.
 */
lam_status lam_block_evaluate(struct lam_block *block, const struct lam_batch *batch);

/* ---- look inside ---- */

const char *lam_block_name(const struct lam_block *block); /* "block stem..head" */
struct lam_device *lam_block_device(const struct lam_block *block);
struct lam_params *lam_block_params(const struct lam_block *block);
struct lam_optimizer *lam_block_optimizer(const struct lam_block *block); /* NULL: evaluation only */
/* NULL where there is none. */
struct lam_program *lam_block_program(const struct lam_block *block, enum lam_block_program which);
/* The program of the last lam_block_train. */
struct lam_program *lam_block_last_program(const struct lam_block *block);
double lam_block_forward_flops(const struct lam_block *block);  /* of a full batch */
double lam_block_backward_flops(const struct lam_block *block); /* of a full batch; 0: evaluation only */

#endif
