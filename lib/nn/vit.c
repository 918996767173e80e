/* Vision transformers (Dosovitskiy et al. 2021; the small widths are those of Touvron et al. 2021): patches,
 * a class token, learned positions, pre-norm layers, classification from the class token. Patches have 4 px
 * for images of up to 64 px, else 16. Parameter names below a unit are timm's. */
#include "nn/families.h"

#include <stdio.h>

enum { WIDTH, HEADS, LAYERS, PATCH }; /* places in config */
enum { SMALL_PATCH = 4, LARGE_PATCH = 16, LARGEST_SMALL = 64, MLP_RATIO = 4 };

static const float norm_eps = 1e-6f;
static const struct lam_init weight_init = {LAM_INIT_TRUNC_NORMAL, 0.02f};

static const char *const names[] = {"vit-micro", "vit-tiny", "vit-small", "vit-base", NULL};
static const struct {
    int width, heads, layers;
} kinds[] = {{64, 2, 4}, {192, 3, 12}, {384, 6, 12}, {768, 12, 12}};

static lam_value linear(struct lam_graph *graph, lam_value x, const char *name, int out) {
    return lam_linear(graph, x, name,
                      (struct lam_linear_spec){.out = out, .bias = true, .init = weight_init});
}

static lam_value dropout(const struct lam_model *model, struct lam_graph *graph, lam_value x,
                         const char *name) {
    return model->options.dropout > 0.0f ? lam_dropout(graph, x, name, model->options.dropout) : x;
}

/* The patches' projection is a convolution in timm and starts as PyTorch's do: from 0.02 a short training gets nowhere near
 * as far. */
static lam_value build_stem(const struct lam_model *model, struct lam_graph *graph, lam_value x) {
    struct lam_linear_spec patch = {.out = model->config[WIDTH], .bias = true};
    lam_value y = lam_linear(graph, lam_patchify(graph, x, model->config[PATCH]), "patch", patch);
    return lam_tokens(graph, y, "tokens");
}

static lam_value build_layer(const struct lam_model *model, struct lam_graph *graph, lam_value x) {
    lam_value y = lam_layer_norm(graph, x, "norm1", norm_eps);
    y = lam_attention(graph, y, "attn", model->config[HEADS]);
    x = lam_add(graph, x, dropout(model, graph, y, "drop1"));
    y = lam_layer_norm(graph, x, "norm2", norm_eps);
    y = lam_gelu(graph, linear(graph, y, "mlp.fc1", MLP_RATIO * model->config[WIDTH]));
    y = linear(graph, y, "mlp.fc2", model->config[WIDTH]);
    return lam_add(graph, x, dropout(model, graph, y, "drop2"));
}

/* Only the class token goes on, so it is cut out before the norm, which works on each token alone. */
static lam_value build_head(const struct lam_model *model, struct lam_graph *graph, lam_value x) {
    lam_value y = lam_slice(graph, x, 1, 0, 1);
    y = lam_reshape(graph, y, LAM_SHAPE(lam_graph_batch(graph), model->config[WIDTH]));
    y = lam_layer_norm(graph, y, "norm", norm_eps);
    return lam_cast(graph, linear(graph, y, "fc", model->options.classes), LAM_F32);
}

static lam_value build_unit(const struct lam_model *model, struct lam_graph *graph, int unit, lam_value x) {
    if (unit == 0) return build_stem(model, graph, x);
    if (unit <= model->config[LAYERS]) return build_layer(model, graph, x);
    return build_head(model, graph, x);
}

static const char *unit_name(const struct lam_model *model, int unit, char *text, size_t size) {
    if (unit > 0 && unit <= model->config[LAYERS])
        snprintf(text, size, "layers.%d", unit - 1);
    else
        snprintf(text, size, "%s", unit == 0 ? "stem" : "head");
    return text;
}

/* Four blocks of three layers each; the stem goes with the first, the head with the last. */
static lam_status paper_cuts(const struct lam_model *model, int blocks, int *cuts) {
    if (blocks != 1 && (blocks != 4 || model->config[LAYERS] != 12))
        return lam_fail(LAM_ERR_UNSUPPORTED,
                        "%s: the paper has no cut into %d blocks (12 layers: 4); use --partition profiled",
                        model->name, blocks);
    lam_model_even_cuts(model->config[LAYERS], blocks, cuts);
    for (int j = 0; j + 1 < blocks; j++) cuts[j]++;
    return LAM_OK;
}

static lam_status create(const char *name, const struct lam_model_options *options, struct lam_model *model) {
    int kind = lam_model_name_index(names, name);
    int patch = options->image_size <= LARGEST_SMALL ? SMALL_PATCH : LARGE_PATCH;
    if (options->image_size % patch != 0)
        return lam_fail(LAM_ERR_INVALID,
                        "%s: the image's side must be a multiple of the patch's %d px, not %d", name, patch,
                        options->image_size);
    model->config[WIDTH] = kinds[kind].width;
    model->config[HEADS] = kinds[kind].heads;
    model->config[LAYERS] = kinds[kind].layers;
    model->config[PATCH] = patch;
    model->unit_count = kinds[kind].layers + 2;
    model->unit_name = unit_name;
    model->build_unit = build_unit;
    model->paper_cuts = paper_cuts;
    return LAM_OK;
}

const struct lam_model_family lam_vit_family = {
    .names = names,
    .help = "vision transformers: patch 4 for images up to 64 px, else 16; class token, pre-norm",
    .has_dropout = true,
    .create = create,
};
