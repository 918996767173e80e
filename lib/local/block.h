/* A block: a run of a network's units with everything that trains it on one device.
 *
 *     struct lam_block_options options = {.network = &network, .first = 0, .last = 5, .next_last = 17, .number = 1,
 *                                         .aux = &lam_aux_dgl, .batch = 128, .tail = 32, .optimizer = ...};
 *     LAM_TRY(lam_block_create(&options, device, &block));           // 1. graphs, plans, forecast
 *     struct lam_block_memory need = lam_block_memory(block);        //    nothing is allocated yet
 *     LAM_TRY(lam_block_allocate(block));                            // 2. parameters, optimizer
 *     LAM_TRY(lam_params_init(lam_block_params(block), seed));
 *     lam_block_attach(block, activations, activation_bytes, workspace);     // 3. buffers that blocks share: stage.h
 *     LAM_TRY(lam_block_train(block, &step, &loss));                 // 4. forward, backward, update
 *     LAM_TRY(lam_block_evaluate(block, batch, output));             // 5. forward in evaluation mode
 *     LAM_TRY(lam_program_read(lam_block_program(block, LAM_BLOCK_EVAL), "logits", logits, bytes));
 *
 * Its three programs (a full training batch, the uneven last one, evaluation) take turns, so they share one
 * activation buffer and one workspace, as large as the largest needs: evaluation costs no memory of its own.
 *
 * The first block's input is field 0 of the batch; another one's is what the block before gave out, in the same place
 * of the batch. A block that is not the last one gives out its last unit's value, and with it the taps (aux.h) that later
 * blocks read; it learns from the loss of its auxiliary network, the last one from the task's.
 */
#ifndef LAM_LOCAL_BLOCK_H
#define LAM_LOCAL_BLOCK_H

#include "graph/program.h"
#include "local/aux.h"
#include "optim/optimizer.h"

/* What crosses from a block to the next one: of one sample. Part 0 is the last unit's value, part t + 1 tap t, if that is on its way
 * and not this very value. */
enum { LAM_BORDER_PARTS = 1 + LAM_MAX_TAPS };
struct lam_border_part {
    bool present;
    enum lam_dtype dtype;
    struct lam_shape shape, eval_shape; /* in training and in evaluation */
};
struct lam_border {
    struct lam_border_part part[LAM_BORDER_PARTS];
};

/* The place of a part among a batch's data: the first, as field 0; and the last ones, behind all other fields. */
static inline int lam_border_place(int part) {
    return part ? LAM_MAX_FIELDS - part : 0;
}

struct lam_block_options {
    const struct lam_network *network;
    int number;                /* from 1: names auxiliary parameters */
    int first, last;           /* units */
    int next_last;             /* last unit of the next block, if there is one */
    struct lam_border in;      /* of the block before, where first > 0 (lam_block_border) */
    bool plain_in, plain_out;  /* borders to a device whose layouts are others are PLAIN */
    const struct lam_aux *aux; /* where last is not the network's last unit; NULL: only evaluation */
    struct lam_aux_options aux_options;
    int batch;            /* samples of a full batch; of evaluation: lam_network_eval_batch */
    int tail;             /* samples of the uneven last training batch; 0 = there is none */
    bool evaluation_only; /* no training programs, no optimizer */
    /* 0: the block learns from its own loss. Else it is a part of an end-to-end pipeline that takes a batch in so many
     * micro-batches (they must divide it), of which at most in_flight are between forward and backward. */
    int micro_batches, in_flight;
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

/* Bytes that it takes, by kind; known after create. Activations and workspace are those of lam_block_attach. */
struct lam_block_memory {
    size_t bytes[LAM_MEMORY_KINDS];
};
struct lam_block_memory lam_block_memory(const struct lam_block *block);

/* Parameters and optimizer. */
lam_status lam_block_allocate(struct lam_block *block);

/* Buffers of at least lam_block_memory's sizes, not owned; blocks that take turns may have the same ones.
 * activation_bytes: how large it is; what is over holds the workspace of programs that keep little. */
void lam_block_attach(struct lam_block *block, void *activations, size_t activation_bytes, void *workspace);

/* What it gives out. Last block: no part is present. */
struct lam_border lam_block_border(const struct lam_block *block);
/* Of a full batch, as it is stored, in training or in evaluation, whichever takes more: one part; 0: there is none. */
size_t lam_block_part_bytes(const struct lam_block *block, int part);
/* The same of one micro-batch. */
size_t lam_block_micro_part_bytes(const struct lam_block *block, int part);
/* All parts together, each in whole cache lines. */
size_t lam_block_output_bytes(const struct lam_block *block);
size_t lam_cache_lines(size_t bytes); /* rounded up to whole ones */
/* LAM_ERR_INTERNAL where the next block would not read what this one writes. */
lam_status lam_block_check_border(const struct lam_block *block, const struct lam_block *next);

struct lam_block_step {
    const struct lam_batch *batch; /* a full batch or the tail's samples */
    void *const *output;           /* where parts of the border go, by place; NULL: last block */
    float learning_rate;
    uint64_t seed, step;
};

/* One step. *loss is a mean over the batch. LAM_ERR_NOT_FINITE names block and tensor; then neither parameters nor
 * optimizer state have been updated, but the running statistics of batch norm have, which is part of the forward pass. */
lam_status lam_block_train(struct lam_block *block, const struct lam_block_step *step, float *loss);

/* done(context) is called in the midst of lam_block_train, from a thread of the device, as soon as all that it gives out
 * is complete. */
void lam_block_on_output(struct lam_block *block, lam_program_done done, void *context);

/* Forward in evaluation mode over all rows of the batch, padding included. Last block: results are outputs of the EVAL
 * program. */
lam_status lam_block_evaluate(struct lam_block *block, const struct lam_batch *batch, void *const *output);

/* ---- micro-batches: a part of an end-to-end pipeline ---- */

struct lam_block_micro {
    int place; /* of its activations, < in_flight, from forward to backward */
    /* Its data begin with the first sample of this micro-batch; the same in backward as in forward. */
    const struct lam_batch *batch;
    /* By place, as in a batch. Not for the last block: */
    void *const *output, *const *output_gradient; /* forward; backward */
    void *const *input_gradient;                  /* backward: not for the first block */
    uint64_t seed, step;                          /* of the batch */
    int first;                                    /* its first sample's place in the batch */
};
/* *loss is a mean over the micro-batch; 0 but for the last block. */
lam_status lam_block_micro_forward(struct lam_block *block, const struct lam_block_micro *micro, float *loss);
/* Adds weight times the micro-batch's gradients to those of the batch; first: forgets what was before. */
lam_status lam_block_micro_backward(struct lam_block *block, const struct lam_block_micro *micro,
                                    float weight, bool first);
/* One update with the sum. */
lam_status lam_block_micro_update(struct lam_block *block, float learning_rate, uint64_t step);

/* ---- EMA twins: parameters that follow units of the next block ---- */

/* The name of the next block's parameter that parameter `index` of this one follows; NULL: it is no twin. */
const char *lam_block_twin_of(const struct lam_block *block, int index);
/* Floats of what the twins follow, packed in the order of this block's parameters; 0: this block has no twins. */
int64_t lam_block_twin_count(const struct lam_block *block);
/* Packs from `next` what the twins of `block` follow, into device memory of `next`'s device. */
lam_status lam_block_pack(const struct lam_block *next, const struct lam_block *block, float *packed);
/* twin <- momentum twin + (1 - momentum) packed; momentum 0 copies. packed: memory of this block's device. */
lam_status lam_block_follow(struct lam_block *block, const float *packed, float momentum);

/* ---- look inside ---- */

const char *lam_block_name(const struct lam_block *block); /* "block 1 (stem..layer1.2)" */
const struct lam_block_options *lam_block_options(const struct lam_block *block);
struct lam_device *lam_block_device(const struct lam_block *block);
struct lam_params *lam_block_params(const struct lam_block *block);
struct lam_optimizer *lam_block_optimizer(const struct lam_block *block); /* NULL: evaluation only */
/* NULL where there is none. */
struct lam_program *lam_block_program(const struct lam_block *block, enum lam_block_program which);
/* The program of the last lam_block_train. */
struct lam_program *lam_block_last_program(const struct lam_block *block);
/* Of a full batch, without the auxiliary network. */
double lam_block_forward_flops(const struct lam_block *block);
/* Forward, backward and the auxiliary network; 0: evaluation only. */
double lam_block_training_flops(const struct lam_block *block);
/* The training graph's ops, for comparing: blocks with the same text compute the same. Caller frees; NULL: no memory. */
char *lam_block_text(const struct lam_block *block);

/* FLOPs of a training step on options->batch samples, of a block that is built only for counting: three times the units'
 * forward pass, and the auxiliary network's whole. *border: what the block would give out. */
struct lam_block_flops {
    double units, aux;
};
lam_status lam_block_count_flops(const struct lam_block_options *options, struct lam_block_flops *flops,
                                 struct lam_border *border);

#endif
