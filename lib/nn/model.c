/* The table of model families, and what all models have in common: looking a name up, checking the options
 * that every family shares, and building a unit inside its scope. */
#include "nn/families.h"

#include <stdlib.h>
#include <string.h>

#include "base/files.h"

enum { MAX_NAMES = 64 };

static const struct lam_model_family *const families[] = {
    &lam_resnet_cifar_family,
    &lam_resnet_family,
    &lam_vit_family,
    NULL,
};

const struct lam_model_family *const *lam_model_families(void) {
    return families;
}

int lam_model_name_index(const char *const *names, const char *name) {
    for (int i = 0; names[i]; i++)
        if (!strcmp(names[i], name)) return i;
    return -1;
}

void lam_model_even_cuts(int units, int blocks, int *cuts) {
    for (int j = 0; j + 1 < blocks; j++) cuts[j] = (j + 1) * units / blocks - 1;
}

static lam_status unknown_name(const char *name) {
    const char *names[MAX_NAMES];
    int count = 0;
    for (int f = 0; families[f]; f++)
        for (int i = 0; families[f]->names[i] && count < MAX_NAMES; i++)
            names[count++] = families[f]->names[i];
    const char *nearest = lam_nearest(name, names, count);
    if (nearest) return lam_fail(LAM_ERR_NOT_FOUND, "no model '%s'; did you mean '%s'?", name, nearest);
    return lam_fail(LAM_ERR_NOT_FOUND, "no model '%s'; '%s' is one that there is", name, names[0]);
}

static lam_status check_options(const struct lam_model_family *family, const char *name,
                                const struct lam_model_options *options) {
    if (options->image_size < 1)
        return lam_fail(LAM_ERR_INVALID, "%s: an image of %d px is none", name, options->image_size);
    if (options->channels < 1)
        return lam_fail(LAM_ERR_INVALID, "%s: an image needs at least 1 channel, not %d", name,
                        options->channels);
    if (options->classes < 1)
        return lam_fail(LAM_ERR_INVALID, "%s: needs at least 1 class, not %d", name, options->classes);
    if (!(options->dropout >= 0.0f && options->dropout < 1.0f))
        return lam_fail(LAM_ERR_INVALID, "%s: dropout %g is not in [0, 1)", name, (double)options->dropout);
    if (options->dropout > 0.0f && !family->has_dropout)
        return lam_fail(LAM_ERR_INVALID, "%s: has no dropout; leave --dropout out", name);
    return LAM_OK;
}

lam_status lam_model_create(const char *name, const struct lam_model_options *options,
                            struct lam_model **model) {
    const struct lam_model_family *family = NULL;
    int index = -1;
    for (int f = 0; families[f] && index < 0; f++) {
        family = families[f];
        index = lam_model_name_index(family->names, name);
    }
    if (index < 0) return unknown_name(name);
    LAM_TRY(check_options(family, name, options));

    struct lam_model *created = calloc(1, sizeof *created);
    if (!created) return lam_fail(LAM_ERR_NO_MEMORY, "model %s: out of memory", name);
    created->family = family;
    created->name = family->names[index];
    created->options = *options;
    lam_status status = family->create(created->name, options, created);
    if (status != LAM_OK) {
        free(created);
        return status;
    }
    *model = created;
    return LAM_OK;
}

void lam_model_destroy(struct lam_model *model) {
    free(model);
}

int lam_model_units(const struct lam_model *model) {
    return model->unit_count;
}

const char *lam_model_unit_name(const struct lam_model *model, int unit, char *text, size_t size) {
    return model->unit_name(model, unit, text, size);
}

int lam_model_unit_stage(const struct lam_model *model, int unit) {
    int last = model->unit_count - 2;
    return model->unit_stage ? model->unit_stage(model, unit < 1 ? 1 : unit > last ? last : unit) : 0;
}

lam_value lam_model_build_unit(const struct lam_model *model, struct lam_graph *graph, int unit,
                               lam_value x) {
    char name[64];
    lam_graph_push_scope(graph, "%s", lam_model_unit_name(model, unit, name, sizeof name));
    lam_value y = model->build_unit(model, graph, unit, x);
    lam_graph_pop_scope(graph);
    return y;
}
