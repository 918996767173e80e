/* Backbones as lists of units.
 *
 *     struct lam_model *model;
 *     struct lam_model_options options = {.image_size = 32, .channels = 3, .classes = 10};
 *     LAM_TRY(lam_model_create("resnet32", &options, &model));
 *     for (int i = 0; i < lam_model_units(model); i++) x = lam_model_build_unit(model, g, i, x);
 *
 * A unit is the smallest piece that a block can be cut at: the stem with what follows it up to the first
 * residual unit, each residual unit or transformer layer, and the head (pooling and classifier). Unit 0 takes
 * the image f32 [N, channels, size, size]; each unit takes its predecessor's one output; the last gives
 * logits f32 [N, classes]. Building twice in graphs over the same lam_params shares the parameters.
 */
#ifndef LAM_NN_MODEL_H
#define LAM_NN_MODEL_H

#include "graph/graph.h"

struct lam_model_options {
    int image_size; /* pixels, square */
    int channels;   /* of the image */
    int classes;
    float dropout; /* after attention and MLP, in families that have it; 0 = none */
};

struct lam_model;

/* One row of the model table (lib/nn/model.c): a family registers the names that it knows. */
struct lam_model_family {
    const char *const *names; /* NULL-terminated */
    const char *help;         /* one line */
    bool has_dropout;
    lam_status (*create)(const char *name, const struct lam_model_options *options, struct lam_model *model);
};

/* What a family fills in. */
struct lam_model {
    const struct lam_model_family *family;
    const char *name;
    struct lam_model_options options;
    int unit_count;
    int config[16]; /* the family's own numbers (widths, depths) */
    /* Name of unit i, as it stands in parameter names and plans ("stem", "layer2.3", "head"). */
    const char *(*unit_name)(const struct lam_model *model, int unit, char *text, size_t size);
    lam_value (*build_unit)(const struct lam_model *model, struct lam_graph *graph, int unit, lam_value x);
    /* The stage, from 0, of a unit that is neither stem nor head; features change their shape at the first unit of a stage
     * alone. NULL: there is one stage. */
    int (*unit_stage)(const struct lam_model *model, int unit);
    /* The `paper` cut of METHODS section 3: last unit of each block but the last, `blocks - 1` of them; NULL
     * or LAM_ERR_UNSUPPORTED where the paper has none. */
    lam_status (*paper_cuts)(const struct lam_model *model, int blocks, int *cuts);
};

/* Errors: LAM_ERR_NOT_FOUND with the nearest name, LAM_ERR_INVALID for an image size or a dropout that the
 * model cannot take. */
lam_status lam_model_create(const char *name, const struct lam_model_options *options,
                            struct lam_model **model);
void lam_model_destroy(struct lam_model *model);
int lam_model_units(const struct lam_model *model);
const char *lam_model_unit_name(const struct lam_model *model, int unit, char *text, size_t size);
/* Pushes the unit's scope, builds it, pops. */
lam_value lam_model_build_unit(const struct lam_model *model, struct lam_graph *graph, int unit, lam_value x);

/* Stem and head count with the stage beside them. */
int lam_model_unit_stage(const struct lam_model *model, int unit);

/* For --help: families in order, NULL-terminated. */
const struct lam_model_family *const *lam_model_families(void);

#endif
