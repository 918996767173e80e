/* The ImageNet ResNets of He et al. 2016 (table 1), as torchvision has them. Large images enter through the
 * 7x7 stride-2 convolution and a max pool; images of up to 64 px through a 3x3 convolution, since the large
 * stem would leave them 16 times smaller before the first residual unit. */
#include "nn/families.h"

#include "nn/resnet_parts.h"

enum { STAGES = 4, BOTTLENECK = LAM_RESNET_OWN, WIDTH, MIN_SIZE = 16, LARGEST_SMALL = 64 };

static const char *const names[] = {"resnet18", "resnet34", "resnet50", "resnet101", "resnet18-half", NULL};
static const struct {
    int units[STAGES];
    bool bottleneck;
    int width; /* channels of the first stage */
} kinds[] = {
    {{2, 2, 2, 2}, false, 64}, {{3, 4, 6, 3}, false, 64}, {{3, 4, 6, 3}, true, 64},
    {{3, 4, 23, 3}, true, 64}, {{2, 2, 2, 2}, false, 32},
};

static lam_value build_stem(const struct lam_model *model, struct lam_graph *graph, lam_value x) {
    bool small = model->options.image_size <= LARGEST_SMALL;
    struct lam_conv_spec spec = {.out = model->config[WIDTH], .kernel = small ? 3 : 7};
    spec.stride = small ? 1 : 2;
    spec.pad = spec.kernel / 2;
    lam_value y = lam_relu(graph, lam_batch_norm(graph, lam_conv(graph, x, "conv1", spec), "bn1"));
    return small ? y : lam_max_pool(graph, y, 3, 2, 1);
}

static lam_value build_unit(const struct lam_model *model, struct lam_graph *graph, int unit, lam_value x) {
    int stage, index;
    if (!lam_resnet_place(model, unit, &stage, &index))
        return unit == 0 ? build_stem(model, graph, x) : lam_resnet_head(graph, x, model->options.classes);
    int stride = stage > 0 && index == 0 ? 2 : 1;
    int width = model->config[WIDTH] << stage;
    return model->config[BOTTLENECK] ? lam_resnet_bottleneck(graph, x, width, stride)
                                     : lam_resnet_basic(graph, x, width, stride);
}

static lam_status create(const char *name, const struct lam_model_options *options, struct lam_model *model) {
    if (options->image_size < MIN_SIZE)
        return lam_fail(LAM_ERR_INVALID, "%s: images must have at least %d px, not %d; try resnet32", name,
                        MIN_SIZE, options->image_size);
    int kind = lam_model_name_index(names, name);
    lam_resnet_set_stages(model, STAGES, kinds[kind].units);
    model->config[BOTTLENECK] = kinds[kind].bottleneck;
    model->config[WIDTH] = kinds[kind].width;
    model->build_unit = build_unit;
    return LAM_OK;
}

const struct lam_model_family lam_resnet_family = {
    .names = names,
    .help = "ResNets as for ImageNet: 4 stages of 64 to 512 channels (-half: 32 to 256); 3x3 stem up to 64 "
            "px, else 7x7",
    .create = create,
};
