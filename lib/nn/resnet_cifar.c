/* The CIFAR ResNets of He et al. 2016 (section 4.2): a 3x3 stem of 16 channels and three stages of n basic
 * units with 16, 32 and 64 channels, depth 6n + 2. Shortcuts that change shape are projections (option B), as
 * in the local-learning papers that these networks are compared with; ResNet-32 then has 466,906 parameters.
 */
#include "nn/families.h"

#include "nn/resnet_parts.h"

enum { STAGES = 3, MIN_SIZE = 8 };

static const char *const names[] = {"resnet20", "resnet32", "resnet44", "resnet56", "resnet110", NULL};
static const int units_per_stage[] = {3, 5, 7, 9, 18};

static lam_value build_unit(const struct lam_model *model, struct lam_graph *graph, int unit, lam_value x) {
    int stage, index;
    if (lam_resnet_place(model, unit, &stage, &index))
        return lam_resnet_basic(graph, x, 16 << stage, stage > 0 && index == 0 ? 2 : 1);
    if (unit > 0) return lam_resnet_head(graph, x, model->options.classes);
    lam_value y = lam_conv(graph, x, "conv1", (struct lam_conv_spec){.out = 16, .kernel = 3, .pad = 1});
    return lam_relu(graph, lam_batch_norm(graph, y, "bn1"));
}

/* The published cuts of ResNet-32 and ResNet-110 deal stem and residual units out evenly, except for two
 * blocks of ResNet-110, where the spare unit goes to the first. */
static lam_status paper_cuts(const struct lam_model *model, int blocks, int *cuts) {
    static const int published[2][8] = {{1, 2, 4, 8, 16}, {1, 2, 4, 8, 16, 32, 55}} /* 0 ends a list */;
    int units = model->unit_count - 1;
    const int *known = model->config[0] == 5 ? published[0] : model->config[0] == 18 ? published[1] : NULL;
    for (; known && *known; known++) {
        if (*known != blocks) continue;
        lam_model_even_cuts(units, blocks, cuts);
        if (units == 55 && blocks == 2) cuts[0] = 27;
        return LAM_OK;
    }
    return lam_fail(LAM_ERR_UNSUPPORTED,
                    "%s: the paper has no cut into %d blocks (resnet32: 2, 4, 8, 16; resnet110: 2, 4, 8, 16, "
                    "32, 55); use --partition profiled",
                    model->name, blocks);
}

static lam_status create(const char *name, const struct lam_model_options *options, struct lam_model *model) {
    if (options->image_size < MIN_SIZE)
        return lam_fail(LAM_ERR_INVALID, "%s: images must have at least %d px, not %d", name, MIN_SIZE,
                        options->image_size);
    int n = units_per_stage[lam_model_name_index(names, name)];
    lam_resnet_set_stages(model, STAGES, (int[]){n, n, n});
    model->build_unit = build_unit;
    model->paper_cuts = paper_cuts;
    return LAM_OK;
}

const struct lam_model_family lam_resnet_cifar_family = {
    .names = names,
    .help = "ResNets for small images: 3 stages of 16, 32 and 64 channels",
    .create = create,
};
