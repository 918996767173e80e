/* Auxiliary networks: what a block that is not the last one learns from.
 *
 * A kind is one const struct lam_aux in a file of its own (lib/local/aux_NAME.c) and a line in aux.c. Its build
 * function gets the block's output and hangs behind it whatever ends in a loss; parameters that it declares are
 * trained with the block's, and dropped for inference:
 *
 *     static lam_value build(const struct lam_aux_site *site, struct lam_graph *graph, lam_value h,
 *                            const lam_value *inputs) {
 *         return site->network->build_local_head(site->network->task, graph, h, inputs, site->taps);
 *     }
 *     const struct lam_aux lam_aux_dgl = {.name = "dgl", .help = "...", .build = build};
 *
 * EMA twins. A kind may build copies of the next block's first units that are not trained but follow them: with
 * lam_graph_freeze, under the scope LAM_AUX_TWIN, so that parameter "auxN.ema.UNIT.LAYER.TENSOR" of
 * block N follows "UNIT.LAYER.TENSOR" of the next block. The schedule brings their values (lib/pipeline).
 */
#ifndef LAM_LOCAL_AUX_H
#define LAM_LOCAL_AUX_H

#include "data/loader.h"
#include "graph/graph.h"

/* A tap: what unit `from` gives (-1: field 0) is read by unit `to` as well, further on than the next one: a long skip, or features of
 * an earlier stage. Within a block it is that value itself, and gradients flow; from block to block it travels beside the
 * activation, detached as that is (end-to-end pipelines bring its gradient back). */
struct lam_tap {
    const char *name; /* "c3" */
    int from, to;
};
enum { LAM_MAX_TAPS = 4 };

/* What a task supplies for building: units (model_network.h has them from a model), and what stands behind them. */
struct lam_network {
    void *context; /* of the functions of units */
    int units;
    /* Units from this one on give no features that an auxiliary network could work on (the classifier). */
    int head_unit;
    /* Those units weigh enough to be a block of their own: a cut may stand right before head_unit. */
    bool head_alone;
    const struct lam_tap *taps; /* tap_count of them, at most LAM_MAX_TAPS */
    int tap_count;
    /* What one sample is made of, at most LAM_MAX_FIELDS - LAM_MAX_TAPS fields; field 0 is the input of unit 0. Graph inputs have
     * the fields' names. The evaluation graph gets field 0 alone. */
    const struct lam_field *fields;
    int field_count;
    /* Where field 0 is pixels, u8 [C,H,W]: unit 0 gets them normalised (lam_normalize) or, if there is `augment`, normalised like that,
     * and in training moved at random (lam_augment). Both NULL: it gets them as they are. */
    const struct lam_normalize_attr *normalize;
    const struct lam_augment_attr *augment;
    /* The same for evaluation; none: field 0 alone. Field 0 may have another shape there, and a batch another number of samples
     * (eval_batch, 0: as many as in training): what learns from small pieces of pictures is asked for large ones. Choose
     * the two such that evaluation needs about as much memory as training at most; the forecast has the larger. The other fields go along with a batch to
     * the last block, for the task to compare with. */
    const struct lam_field *eval_fields;
    int eval_field_count;
    int eval_batch;
    const char *(*unit_name)(void *context, int unit, char *text, size_t size);
    /* Published cuts into `blocks` blocks: the last unit of each but the last. NULL: none are known. */
    lam_status (*paper_cuts)(void *context, int blocks, int *cuts);
    /* taps[t]: tap t, where there is one already and a unit from this one on reads it. */
    lam_value (*build_unit)(void *context, struct lam_graph *graph, int unit, lam_value x,
                            const lam_value *taps);
    /* The stage of a unit: features change their shape at the first unit of a stage alone, and that unit takes those of any
     * earlier stage. NULL: there is one stage. */
    int (*unit_stage)(void *context, int unit);
    /* The units from head_unit on cost next to nothing, and work behind those of any stage: an auxiliary network may end in
     * a copy of them, and in build_output. */
    bool small_head;
    void *task; /* of the functions of what stands behind them */
    /* Behind the last unit. Training: declares the outputs "loss" (and others) and returns the loss.
     * Evaluation: declares what the task reads ("logits") and returns LAM_NO_VALUE. inputs[f]: field f;
     * inputs[0] is there in the first block alone. */
    lam_value (*build_output)(void *task, struct lam_graph *graph, lam_value x, const lam_value *inputs);
    /* The task's own head made small, behind features of any unit; declares "loss" (and others), returns the loss. taps: as
     * they are behind those features. */
    lam_value (*build_local_head)(void *task, struct lam_graph *graph, lam_value x, const lam_value *inputs,
                                  const lam_value *taps);
};

struct lam_aux_options {
    bool stages; /* glcan: the global part is the rest of the network in small, not the next block's units */
    bool no_lb, no_ema; /* glcan, next units: leave one of the global part's two branches out, or both */
    bool fixed_mix;     /* glcan, next units: the weight of the branches stays at 1 */
    int depth;          /* glcan: units of the global part; 0: as many as is usual */
};

/* Where an auxiliary network stands. */
struct lam_aux_site {
    const struct lam_network *network;
    int next_unit, next_last; /* units of the next block */
    const lam_value *taps;    /* that leave the block, or that its last unit gives */
    struct lam_aux_options options;
};

struct lam_aux {
    const char *name;
    const char *help; /* one line, with the source */
    lam_value (*build)(const struct lam_aux_site *site, struct lam_graph *graph, lam_value h,
                       const lam_value *inputs);
};

#define LAM_AUX_SCOPE "aux"
#define LAM_AUX_TWIN  "ema"

/* Field 0, in training or in evaluation; and samples of an evaluation batch where training's has `batch`. */
const struct lam_field *lam_network_input(const struct lam_network *network, bool training);
int lam_network_eval_batch(const struct lam_network *network, int batch);

/* Taps behind a unit (-1: before unit 0) that gives x: those that it gives begin, those that it reads end. */
void lam_taps_turn(const struct lam_network *network, int unit, lam_value x, lam_value *taps);
bool lam_unit_reads_taps(const struct lam_network *network, int unit);

/* By name. LAM_ERR_NOT_FOUND with the names there are. */
lam_status lam_aux_find(const char *name, const struct lam_aux **aux);
extern const struct lam_aux *const lam_aux_kinds[]; /* NULL at the end */

#endif
