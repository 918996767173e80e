/* Reads a line of text into an op (op_text.h). Each family of ops has one build function that takes its words
 * and fills in attributes and operands; a word that none has asked for is an error. */
#include "conformance/op_text.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- words ---- */

enum { MAX_WORDS = 24, MAX_TEXT = 256 };

struct words {
    char text[MAX_TEXT];
    char *key[MAX_WORDS], *value[MAX_WORDS]; /* value: NULL for a flag */
    bool used[MAX_WORDS];
    int count;
    bool bad;
};

static void split(struct words *w, const char *text) {
    *w = (struct words){.count = 0};
    w->bad = strlen(text) >= MAX_TEXT;
    if (w->bad) return;
    strcpy(w->text, text);
    char *rest = NULL;
    for (char *word = strtok_r(w->text, " ", &rest); word; word = strtok_r(NULL, " ", &rest)) {
        if (w->count == MAX_WORDS) {
            w->bad = true;
            return;
        }
        char *equals = strchr(word, '=');
        if (equals) *equals = 0;
        w->key[w->count] = word;
        w->value[w->count++] = equals ? equals + 1 : NULL;
    }
}

static const char *word(struct words *w, const char *key, const char *otherwise) {
    for (int i = 0; i < w->count; i++) {
        if (strcmp(w->key[i], key)) continue;
        w->used[i] = true;
        return w->value[i] ? w->value[i] : "";
    }
    return otherwise;
}

static bool flag(struct words *w, const char *key) {
    return word(w, key, NULL) != NULL;
}

static double real(struct words *w, const char *key, double otherwise) {
    const char *text = word(w, key, NULL);
    if (!text) return otherwise;
    char *end;
    double value = strtod(text, &end);
    if (end == text || *end) w->bad = true;
    return value;
}

static int integer(struct words *w, const char *key, int otherwise) {
    return (int)real(w, key, otherwise);
}

static int pair(struct words *w, const char *key, char suffix, int otherwise) {
    char longer[8];
    snprintf(longer, sizeof longer, "%s%c", key, suffix);
    return integer(w, longer, integer(w, key, otherwise));
}

/* "5x16x8x8" */
static struct lam_shape shape_word(struct words *w, const char *key) {
    struct lam_shape shape = {.rank = 0};
    const char *text = word(w, key, "");
    while (*text && shape.rank < LAM_MAX_RANK) {
        char *end;
        shape.dim[shape.rank++] = strtoll(text, &end, 10);
        if (end == text) break;
        text = *end == 'x' ? end + 1 : end;
    }
    if (*text || shape.rank == 0 || lam_shape_count(shape) < 1) w->bad = true;
    return shape;
}

static enum lam_dtype dtype_word(struct words *w, const char *key) {
    const char *text = word(w, key, "f32");
    for (int i = LAM_F32; i <= LAM_U8; i++)
        if (!strcmp(text, lam_dtype_name((enum lam_dtype)i))) return (enum lam_dtype)i;
    w->bad = true;
    return LAM_F32;
}

/* ---- operands ---- */

static struct lam_operand batched(enum lam_dtype dtype, struct lam_shape shape) {
    return (struct lam_operand){.present = true, .batched = true, .desc = {.dtype = dtype, .shape = shape}};
}
static struct lam_operand shared(struct lam_shape shape) {
    return (struct lam_operand){.present = true, .desc = {.dtype = LAM_F32, .shape = shape}};
}
static struct lam_operand present_if(bool present, struct lam_operand operand) {
    return present ? operand : (struct lam_operand){.present = false};
}
static void input(struct lam_op *op, struct lam_operand operand) {
    op->in[op->inputs++] = operand;
}
static void output(struct lam_op *op, struct lam_operand operand) {
    op->out[op->outputs++] = operand;
}

static struct lam_shape image_words(struct words *w) {
    return LAM_SHAPE(integer(w, "n", 1), integer(w, "c", 1), integer(w, "h", 1), integer(w, "w", 1));
}

static struct lam_shape with_last(struct lam_shape shape, int64_t last) {
    shape.dim[shape.rank - 1] = last;
    return shape;
}
static struct lam_shape without_last(struct lam_shape shape) {
    shape.rank--;
    return shape;
}

/* ---- families ---- */

static void build_conv(struct words *w, struct lam_op *op, enum lam_dtype dtype) {
    struct lam_shape x = image_words(w);
    struct lam_conv_attr *a = &op->attr.conv;
    for (int i = 0; i < 2; i++) {
        char suffix = i == 0 ? 'h' : 'w';
        a->kernel[i] = pair(w, "k", suffix, 1);
        a->stride[i] = pair(w, "s", suffix, 1);
        a->pad[i] = pair(w, "p", suffix, 0);
        a->dilation[i] = pair(w, "d", suffix, 1);
    }
    a->groups = integer(w, "g", 1);
    a->relu = flag(w, "relu");
    int64_t outputs = integer(w, "o", 1), side[2];
    for (int i = 0; i < 2; i++)
        side[i] = (x.dim[2 + i] + 2 * a->pad[i] - a->dilation[i] * (a->kernel[i] - 1) - 1) / a->stride[i] + 1;
    if (side[0] < 1 || side[1] < 1 || x.dim[1] % a->groups || outputs % a->groups) w->bad = true;
    bool bias = flag(w, "bias");
    struct lam_operand image = batched(dtype, x),
                       result = batched(dtype, LAM_SHAPE(x.dim[0], outputs, side[0], side[1])),
                       weights = shared(LAM_SHAPE(outputs, x.dim[1] / a->groups, a->kernel[0], a->kernel[1])),
                       biases = present_if(bias, shared(LAM_SHAPE(outputs)));
    if (op->kind == LAM_OP_CONV) {
        input(op, image), input(op, weights), input(op, biases);
        output(op, result);
    } else if (op->kind == LAM_OP_CONV_BWD_DATA) {
        input(op, result), input(op, weights);
        output(op, image);
    } else {
        input(op, image), input(op, result);
        output(op, weights), output(op, biases);
    }
}

static void build_linear(struct words *w, struct lam_op *op, enum lam_dtype dtype) {
    struct lam_shape x = shape_word(w, "shape");
    int64_t outputs = integer(w, "o", 1);
    if (w->bad) return;
    bool bias = flag(w, "bias");
    struct lam_operand row = batched(dtype, x), result = batched(dtype, with_last(x, outputs)),
                       weights = shared(LAM_SHAPE(outputs, x.dim[x.rank - 1])),
                       biases = present_if(bias, shared(LAM_SHAPE(outputs)));
    if (op->kind == LAM_OP_LINEAR) {
        input(op, row), input(op, weights), input(op, biases);
        output(op, result);
    } else if (op->kind == LAM_OP_LINEAR_BWD_DATA) {
        input(op, result), input(op, weights);
        output(op, row);
    } else {
        input(op, row), input(op, result);
        output(op, weights), output(op, biases);
    }
}

static void build_batch_norm(struct words *w, struct lam_op *op, enum lam_dtype dtype) {
    struct lam_shape shape = image_words(w);
    struct lam_bn_attr *a = &op->attr.bn;
    a->eps = (float)real(w, "eps", 1e-5);
    a->momentum = (float)real(w, "momentum", 0.1);
    a->relu = flag(w, "relu");
    a->use_variance = flag(w, "use_variance");
    a->count = (double)(shape.dim[0] * shape.dim[2] * shape.dim[3]);
    bool skip = flag(w, "skip");
    struct lam_operand image = batched(dtype, shape), channel = shared(LAM_SHAPE(shape.dim[1]));
    if (op->kind == LAM_OP_BN_STATS) {
        input(op, image);
        for (int i = 0; i < 4; i++) output(op, channel);
    } else if (op->kind == LAM_OP_BN_APPLY) {
        input(op, image);
        for (int i = 0; i < 4; i++) input(op, channel);
        input(op, present_if(skip, image));
        output(op, image);
    } else {
        input(op, image), input(op, image);
        bool stats = op->kind == LAM_OP_BN_BWD_STATS;
        for (int i = 0; i < (stats ? 4 : 6); i++) input(op, channel);
        for (int i = 0; i < (stats ? 2 : 1); i++) output(op, stats ? channel : image);
    }
}

static void build_layer_norm(struct words *w, struct lam_op *op, enum lam_dtype dtype) {
    struct lam_shape shape = shape_word(w, "shape");
    op->attr.bn.eps = (float)real(w, "eps", 1e-6);
    bool dx = !flag(w, "nodx");
    if (w->bad) return;
    struct lam_operand row = batched(dtype, shape), statistic = batched(LAM_F32, without_last(shape)),
                       feature = shared(LAM_SHAPE(shape.dim[shape.rank - 1]));
    if (op->kind == LAM_OP_LAYER_NORM) {
        input(op, row), input(op, feature), input(op, feature);
        output(op, row), output(op, statistic), output(op, statistic);
    } else {
        input(op, row), input(op, row), input(op, statistic), input(op, statistic), input(op, feature);
        output(op, present_if(dx, row)), output(op, feature), output(op, feature);
    }
}

/* Ops whose inputs and output all have one shape. */
static void build_elementwise(struct words *w, struct lam_op *op, enum lam_dtype dtype) {
    struct lam_shape shape = shape_word(w, "shape");
    bool alone = (op->kind == LAM_OP_ADD || op->kind == LAM_OP_SCALE) && flag(w, "shared");
    struct lam_operand operand = alone ? shared(shape) : batched(dtype, shape);
    bool two = op->kind == LAM_OP_ADD || op->kind == LAM_OP_RELU_BWD || op->kind == LAM_OP_GELU_BWD ||
               op->kind == LAM_OP_SIGMOID_BWD || op->kind == LAM_OP_SOFTMAX_BWD;
    for (int i = 0; i < 1 + two; i++) input(op, operand);
    output(op, operand);
    if (op->kind == LAM_OP_SCALE) op->attr.scale.factor = (float)real(w, "factor", 0.25);
    if (op->kind == LAM_OP_DROPOUT || op->kind == LAM_OP_DROPOUT_BWD) {
        op->attr.dropout.p = (float)real(w, "rate", 0.1);
        op->attr.dropout.stream = (uint64_t)real(w, "stream", 12345);
    }
}

static void build_mix(struct words *w, struct lam_op *op, enum lam_dtype dtype) {
    struct lam_operand row = batched(dtype, shape_word(w, "shape")), weight = shared(LAM_SHAPE(1));
    bool da = !flag(w, "noda"), db = !flag(w, "nodb");
    if (w->bad) return;
    input(op, row), input(op, row);
    if (op->kind == LAM_OP_MIX_BWD) input(op, row);
    input(op, weight);
    if (op->kind == LAM_OP_MIX)
        output(op, row);
    else
        output(op, present_if(da, row)), output(op, present_if(db, row)), output(op, weight);
}

static void build_channel_scale(struct words *w, struct lam_op *op, enum lam_dtype dtype) {
    struct lam_shape shape = image_words(w);
    struct lam_operand image = batched(dtype, shape),
                       gate = batched(dtype, LAM_SHAPE(shape.dim[0], shape.dim[1]));
    bool dx = !flag(w, "nodx"), ds = !flag(w, "nods");
    if (op->kind == LAM_OP_CHANNEL_SCALE_BWD) input(op, image);
    input(op, image), input(op, gate);
    if (op->kind == LAM_OP_CHANNEL_SCALE)
        output(op, image);
    else
        output(op, present_if(dx, image)), output(op, present_if(ds, gate));
}

static void build_cast(struct words *w, struct lam_op *op, enum lam_dtype dtype) {
    (void)dtype;
    struct lam_shape shape = shape_word(w, "shape");
    input(op, batched(dtype_word(w, "from"), shape));
    output(op, batched(dtype_word(w, "to"), shape));
}

/* The means and deviations of ImageNet, and others for a fourth channel. */
static void build_normalize(struct words *w, struct lam_op *op, enum lam_dtype dtype) {
    struct lam_shape shape = image_words(w);
    op->attr.normalize =
        (struct lam_normalize_attr){{0.485f, 0.456f, 0.406f, 0.5f}, {0.229f, 0.224f, 0.225f, 1}};
    input(op, batched(LAM_U8, shape));
    output(op, batched(dtype, shape));
}

/* The same, and how pixels are moved. */
static void build_augment(struct words *w, struct lam_op *op, enum lam_dtype dtype) {
    build_normalize(w, op, dtype);
    const struct lam_normalize_attr normalize = op->attr.normalize;
    op->attr.augment = (struct lam_augment_attr){.normalize = normalize,
                                                 .pad = (int)real(w, "pad", 0),
                                                 .reflect = flag(w, "reflect"),
                                                 .flip = flag(w, "flip"),
                                                 .cutout = (int)real(w, "cutout", 0)};
}

static void build_copy(struct words *w, struct lam_op *op, enum lam_dtype dtype) {
    struct lam_shape from = shape_word(w, "shape"), to = from;
    if (word(w, "to", NULL)) to = shape_word(w, "to");
    if (lam_shape_count(from) != lam_shape_count(to)) w->bad = true;
    input(op, batched(dtype, from));
    output(op, batched(dtype, to));
}

static void build_concat(struct words *w, struct lam_op *op, enum lam_dtype dtype) {
    struct lam_shape shape = shape_word(w, "shape"), part = shape;
    int axis = op->attr.axis.axis = integer(w, "axis", 1);
    int64_t length = 0;
    for (const char *text = word(w, "parts", ""); *text && op->inputs < LAM_MAX_INPUTS;) {
        char *end;
        length += part.dim[axis] = strtoll(text, &end, 10);
        text = *end ? end + 1 : end;
        input(op, batched(dtype, part));
    }
    if (length != shape.dim[axis]) w->bad = true;
    output(op, batched(dtype, shape));
}

static void build_slice(struct words *w, struct lam_op *op, enum lam_dtype dtype) {
    struct lam_shape whole = shape_word(w, "shape"), part = whole;
    struct lam_axis_attr *a = &op->attr.axis;
    *a = (struct lam_axis_attr){integer(w, "axis", 1), integer(w, "begin", 0), integer(w, "length", 1)};
    part.dim[a->axis] = a->length;
    if (a->begin + a->length > whole.dim[a->axis]) w->bad = true;
    input(op, batched(dtype, op->kind == LAM_OP_SLICE ? whole : part));
    output(op, batched(dtype, op->kind == LAM_OP_SLICE ? part : whole));
}

static void build_pool(struct words *w, struct lam_op *op, enum lam_dtype dtype) {
    struct lam_shape x = image_words(w), y = x;
    struct lam_pool_attr *a = &op->attr.pool;
    for (int i = 0; i < 2; i++) {
        char suffix = i == 0 ? 'h' : 'w';
        a->kernel[i] = pair(w, "k", suffix, 2);
        a->stride[i] = pair(w, "s", suffix, 2);
        a->pad[i] = pair(w, "p", suffix, 0);
        y.dim[2 + i] = (x.dim[2 + i] + 2 * a->pad[i] - a->kernel[i]) / a->stride[i] + 1;
    }
    struct lam_operand image = batched(dtype, x), result = batched(dtype, y);
    bool backward = op->kind == LAM_OP_MAX_POOL_BWD || op->kind == LAM_OP_AVG_POOL_BWD;
    input(op, backward ? result : image);
    if (op->kind == LAM_OP_MAX_POOL_BWD) input(op, image);
    output(op, backward ? image : result);
}

/* Ops between an image and something else of it: (image) -> (other) or back. */
static void build_view(struct words *w, struct lam_op *op, enum lam_dtype dtype) {
    struct lam_shape image = image_words(w), other = image;
    bool backward = false;
    switch ((int)op->kind) {
    case LAM_OP_GLOBAL_AVG_POOL_BWD:
        backward = true; /* fall through */
    case LAM_OP_GLOBAL_AVG_POOL:
        other.rank = 2;
        break;
    case LAM_OP_RESIZE_BWD:
        backward = true; /* fall through */
    case LAM_OP_RESIZE:
        other.dim[2] = integer(w, "oh", 1);
        other.dim[3] = integer(w, "ow", 1);
        op->attr.resize.bilinear = flag(w, "bilinear");
        break;
    case LAM_OP_PIXEL_SHUFFLE: /* the image is the large one */
        backward = true;       /* fall through */
    case LAM_OP_PIXEL_UNSHUFFLE: {
        int r = op->attr.pixel_shuffle.factor = integer(w, "r", 2);
        other = LAM_SHAPE(image.dim[0], image.dim[1] * r * r, image.dim[2] / r, image.dim[3] / r);
        break;
    }
    case LAM_OP_PERMUTE_CHW:
        backward = true; /* fall through */
    case LAM_OP_PERMUTE_HWC: {
        int k = integer(w, "k", 1);
        if (image.dim[1] % k) w->bad = true;
        other = LAM_SHAPE(image.dim[0], image.dim[2] * image.dim[3] * (image.dim[1] / k), k);
        break;
    }
    case LAM_OP_UNPATCHIFY:
        backward = true; /* fall through */
    case LAM_OP_PATCHIFY: {
        int r = op->attr.patchify.size = integer(w, "r", 4);
        other = LAM_SHAPE(image.dim[0], image.dim[2] / r * (image.dim[3] / r), image.dim[1] * r * r);
        break;
    }
    }
    input(op, batched(dtype, backward ? other : image));
    output(op, batched(dtype, backward ? image : other));
}

static void build_attention(struct words *w, struct lam_op *op, enum lam_dtype dtype) {
    int64_t n = integer(w, "n", 1), t = integer(w, "t", 1), f = integer(w, "f", 1);
    int heads = op->attr.attention.heads = integer(w, "heads", 1);
    if (f % heads) w->bad = true;
    struct lam_operand qkv = batched(dtype, LAM_SHAPE(n, t, 3 * f)), y = batched(dtype, LAM_SHAPE(n, t, f)),
                       lse = batched(LAM_F32, LAM_SHAPE(n, heads, t));
    if (op->kind == LAM_OP_ATTENTION) {
        input(op, qkv);
        output(op, y), output(op, lse);
    } else {
        input(op, y), input(op, qkv), input(op, y), input(op, lse);
        output(op, qkv);
    }
}

static void build_tokens(struct words *w, struct lam_op *op, enum lam_dtype dtype) {
    int64_t n = integer(w, "n", 1), t = integer(w, "t", 2), f = integer(w, "f", 1);
    bool dx = !flag(w, "nodx");
    struct lam_operand patches = batched(dtype, LAM_SHAPE(n, t - 1, f)), token = shared(LAM_SHAPE(f)),
                       positions = shared(LAM_SHAPE(t, f)), y = batched(dtype, LAM_SHAPE(n, t, f));
    if (op->kind == LAM_OP_TOKENS) {
        input(op, patches), input(op, token), input(op, positions);
        output(op, y);
    } else {
        input(op, y);
        output(op, present_if(dx, patches)), output(op, token), output(op, positions);
    }
}

static void build_cross_entropy(struct words *w, struct lam_op *op, enum lam_dtype dtype) {
    struct lam_shape shape = shape_word(w, "shape");
    op->attr.loss.scale = (float)real(w, "scale", 0.2);
    op->attr.loss.smoothing = (float)real(w, "smoothing", 0);
    bool soft = flag(w, "soft"), correct = integer(w, "correct", 1);
    if (w->bad) return;
    struct lam_operand logits = batched(dtype, shape);
    input(op, logits);
    input(op, soft ? batched(LAM_F32, shape) : batched(LAM_I32, without_last(shape)));
    if (op->kind == LAM_OP_CROSS_ENTROPY) {
        output(op, shared(LAM_SCALAR));
        output(op, present_if(correct, shared(LAM_SCALAR)));
    } else {
        output(op, logits);
    }
}

static enum lam_op_kind kind_of(const char *name) {
    for (int i = 0; i < LAM_OP_COUNT; i++)
        if (!strcmp(name, lam_op_name((enum lam_op_kind)i))) return (enum lam_op_kind)i;
    return LAM_OP_COUNT;
}

static void build_loss(struct words *w, struct lam_op *op, enum lam_dtype dtype) {
    struct lam_shape shape = shape_word(w, "shape"), weight = shape;
    op->attr.loss = (struct lam_loss_attr){.scale = (float)real(w, "scale", 0.2),
                                           .beta = (float)real(w, "beta", 0.5),
                                           .alpha = (float)real(w, "alpha", 0.25),
                                           .gamma = (float)real(w, "gamma", 2)};
    weight.rank = integer(w, "weight", 0); /* as many of the first dimensions */
    bool labels = flag(w, "labels");
    if (weight.rank >= shape.rank) w->bad = true;
    if (w->bad) return;
    input(op, batched(dtype, shape));
    input(op, labels ? batched(LAM_I32, without_last(shape)) : batched(LAM_F32, shape));
    input(op, present_if(weight.rank > 0, batched(LAM_F32, weight)));
    if (op->kind == LAM_OP_LOSS_BWD) {
        op->attr.loss.of = kind_of(word(w, "of", ""));
        if (op->attr.loss.of == LAM_OP_COUNT) w->bad = true;
        output(op, batched(dtype, shape));
    } else {
        output(op, shared(LAM_SCALAR));
    }
}

static void build_giou(struct words *w, struct lam_op *op, enum lam_dtype dtype) {
    int64_t n = integer(w, "n", 1), a = integer(w, "a", 1);
    op->attr.loss.scale = (float)real(w, "scale", 0.2);
    struct lam_operand deltas = batched(dtype, LAM_SHAPE(n, a, 4));
    input(op, deltas), input(op, shared(LAM_SHAPE(a, 4)));
    input(op, batched(LAM_F32, LAM_SHAPE(n, a, 4))), input(op, batched(LAM_F32, LAM_SHAPE(n, a)));
    output(op, op->kind == LAM_OP_GIOU ? shared(LAM_SCALAR) : deltas);
}

static void build_iou_targets(struct words *w, struct lam_op *op, enum lam_dtype dtype) {
    int64_t n = integer(w, "n", 1), a = integer(w, "a", 1), classes = integer(w, "k", 3);
    input(op, batched(LAM_I32, LAM_SHAPE(n, a)));
    input(op, batched(dtype, LAM_SHAPE(n, a, 4))), input(op, shared(LAM_SHAPE(a, 4)));
    input(op, batched(LAM_F32, LAM_SHAPE(n, a, 4))), input(op, batched(LAM_F32, LAM_SHAPE(n, a)));
    output(op, batched(LAM_F32, LAM_SHAPE(n, a, classes)));
}

/* "z": an addend like output 0. */
static void add_addend(struct words *w, struct lam_op *op) {
    int addend = lam_op_addend(op->kind);
    if (addend < 0 || op->inputs > addend || !flag(w, "z")) return;
    while (op->inputs < addend) input(op, (struct lam_operand){.present = false});
    input(op, op->out[0]);
}

typedef void (*build_fn)(struct words *w, struct lam_op *op, enum lam_dtype dtype);

static const build_fn builders[LAM_OP_COUNT] = {
    [LAM_OP_CONV] = build_conv,
    [LAM_OP_CONV_BWD_DATA] = build_conv,
    [LAM_OP_CONV_BWD_WEIGHTS] = build_conv,
    [LAM_OP_LINEAR] = build_linear,
    [LAM_OP_LINEAR_BWD_DATA] = build_linear,
    [LAM_OP_LINEAR_BWD_WEIGHTS] = build_linear,
    [LAM_OP_BN_STATS] = build_batch_norm,
    [LAM_OP_BN_APPLY] = build_batch_norm,
    [LAM_OP_BN_BWD_STATS] = build_batch_norm,
    [LAM_OP_BN_BWD_APPLY] = build_batch_norm,
    [LAM_OP_LAYER_NORM] = build_layer_norm,
    [LAM_OP_LAYER_NORM_BWD] = build_layer_norm,
    [LAM_OP_RELU] = build_elementwise,
    [LAM_OP_RELU_BWD] = build_elementwise,
    [LAM_OP_GELU] = build_elementwise,
    [LAM_OP_GELU_BWD] = build_elementwise,
    [LAM_OP_SIGMOID] = build_elementwise,
    [LAM_OP_SIGMOID_BWD] = build_elementwise,
    [LAM_OP_ADD] = build_elementwise,
    [LAM_OP_SCALE] = build_elementwise,
    [LAM_OP_MIX] = build_mix,
    [LAM_OP_MIX_BWD] = build_mix,
    [LAM_OP_CHANNEL_SCALE] = build_channel_scale,
    [LAM_OP_CHANNEL_SCALE_BWD] = build_channel_scale,
    [LAM_OP_CAST] = build_cast,
    [LAM_OP_NORMALIZE] = build_normalize,
    [LAM_OP_AUGMENT] = build_augment,
    [LAM_OP_COPY] = build_copy,
    [LAM_OP_CONCAT] = build_concat,
    [LAM_OP_SLICE] = build_slice,
    [LAM_OP_SLICE_BWD] = build_slice,
    [LAM_OP_MAX_POOL] = build_pool,
    [LAM_OP_MAX_POOL_BWD] = build_pool,
    [LAM_OP_AVG_POOL] = build_pool,
    [LAM_OP_AVG_POOL_BWD] = build_pool,
    [LAM_OP_GLOBAL_AVG_POOL] = build_view,
    [LAM_OP_GLOBAL_AVG_POOL_BWD] = build_view,
    [LAM_OP_RESIZE] = build_view,
    [LAM_OP_RESIZE_BWD] = build_view,
    [LAM_OP_PIXEL_SHUFFLE] = build_view,
    [LAM_OP_PIXEL_UNSHUFFLE] = build_view,
    [LAM_OP_PERMUTE_HWC] = build_view,
    [LAM_OP_PERMUTE_CHW] = build_view,
    [LAM_OP_PATCHIFY] = build_view,
    [LAM_OP_UNPATCHIFY] = build_view,
    [LAM_OP_SOFTMAX] = build_elementwise,
    [LAM_OP_SOFTMAX_BWD] = build_elementwise,
    [LAM_OP_ATTENTION] = build_attention,
    [LAM_OP_ATTENTION_BWD] = build_attention,
    [LAM_OP_DROPOUT] = build_elementwise,
    [LAM_OP_DROPOUT_BWD] = build_elementwise,
    [LAM_OP_TOKENS] = build_tokens,
    [LAM_OP_TOKENS_BWD] = build_tokens,
    [LAM_OP_CROSS_ENTROPY] = build_cross_entropy,
    [LAM_OP_CROSS_ENTROPY_BWD] = build_cross_entropy,
    [LAM_OP_L1] = build_loss,
    [LAM_OP_MSE] = build_loss,
    [LAM_OP_SMOOTH_L1] = build_loss,
    [LAM_OP_CHARBONNIER] = build_loss,
    [LAM_OP_BCE_LOGITS] = build_loss,
    [LAM_OP_FOCAL] = build_loss,
    [LAM_OP_QUALITY_FOCAL] = build_loss,
    [LAM_OP_LOSS_BWD] = build_loss,
    [LAM_OP_GIOU] = build_giou,
    [LAM_OP_IOU_TARGETS] = build_iou_targets,
    [LAM_OP_GIOU_BWD] = build_giou,
};

lam_status op_from_text(const char *text, struct op_case *result) {
    struct words w;
    split(&w, text);
    enum lam_op_kind kind = w.count ? kind_of(w.key[0]) : LAM_OP_COUNT;
    if (kind == LAM_OP_COUNT || !builders[kind])
        return lam_fail(LAM_ERR_FORMAT, "'%s' does not begin with the name of an op", text);
    w.used[0] = true;
    memset(result, 0, sizeof *result);
    result->op.kind = kind;
    builders[kind](&w, &result->op, dtype_word(&w, "dtype"));
    if (!w.bad) add_addend(&w, &result->op);
    result->offset = real(&w, "offset", 0);
    result->absolute = real(&w, "absolute", 1e-30); /* below that f32 underflows */
    result->ties = flag(&w, "ties");
    result->measure = flag(&w, "measure");
    for (int i = 0; i < w.count; i++)
        if (!w.used[i]) return lam_fail(LAM_ERR_FORMAT, "'%s': %s is not a word of this op", text, w.key[i]);
    if (w.bad) return lam_fail(LAM_ERR_FORMAT, "'%s' has a value that makes no sense", text);
    return LAM_OK;
}
