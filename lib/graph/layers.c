/* Layers: ops with parameters, declared under PyTorch's names. */
#include "graph/internal.h"

#include <math.h>
#include <stdio.h>

#include "base/rng.h"

static bool is_zero(struct lam_init init) {
    return init.kind == LAM_INIT_CONSTANT && init.a == 0;
}

static const struct lam_init ZERO = {LAM_INIT_CONSTANT, 0}, ONE = {LAM_INIT_CONSTANT, 1};

lam_value lam_conv(struct lam_graph *g, lam_value x, const char *name, struct lam_conv_spec spec) {
    x = lam_graph_to_compute(g, x);
    if (lam_graph_bad(g, x)) return LAM_NO_VALUE;
    struct lam_shape s = lam_value_shape(g, x);
    int stride = spec.stride ? spec.stride : 1, dilation = spec.dilation ? spec.dilation : 1;
    int groups = spec.groups ? spec.groups : 1, k = spec.kernel;
    if (s.rank != 4 || k < 1 || spec.out < 1 || spec.out % groups || s.dim[1] % groups) {
        char text[96];
        return lam_graph_fail(g, LAM_ERR_INVALID,
                              "conv '%s': %d outputs, kernel %d, %d groups do not fit input %s", name,
                              spec.out, k, groups, lam_shape_text(s, text, sizeof text));
    }
    union lam_op_attr attr = {.conv = {.kernel = {k, k},
                                       .stride = {stride, stride},
                                       .pad = {spec.pad, spec.pad},
                                       .dilation = {dilation, dilation},
                                       .groups = groups}};
    struct lam_shape shape = LAM_SHAPE(s.dim[0], spec.out, 0, 0);
    for (int i = 2; i < 4; i++)
        shape.dim[i] = (s.dim[i] + 2 * spec.pad - dilation * (k - 1) - 1 + stride) / stride;
    struct lam_init init = spec.init, bias = {LAM_INIT_CONSTANT, spec.bias_start};
    if (is_zero(init)) init = (struct lam_init){LAM_INIT_NORMAL, sqrtf(2.0f / (float)(k * k * spec.out))};
    lam_graph_push_scope(g, "%s", name);
    lam_value w = lam_param(g, "weight", LAM_SHAPE(spec.out, s.dim[1] / groups, k, k), init, true);
    lam_value b = spec.bias ? lam_param(g, "bias", LAM_SHAPE(spec.out), bias, true) : LAM_NO_VALUE;
    lam_graph_pop_scope(g);
    lam_value y = lam_graph_new_value(g, lam_value_dtype(g, x), shape, true), in[] = {x, w, b};
    if (y == LAM_NO_VALUE || !lam_graph_add(g, LAM_OP_CONV, &attr, in, 3, &y, 1)) return LAM_NO_VALUE;
    return y;
}

lam_value lam_linear(struct lam_graph *g, lam_value x, const char *name, struct lam_linear_spec spec) {
    x = lam_graph_to_compute(g, x);
    if (lam_graph_bad(g, x)) return LAM_NO_VALUE;
    struct lam_shape shape = lam_value_shape(g, x);
    if (shape.rank < 2 || spec.out < 1)
        return lam_graph_fail(g, LAM_ERR_INVALID, "linear '%s': input has no feature dimension", name);
    int64_t features = shape.dim[shape.rank - 1];
    struct lam_init init = spec.init, bias = ZERO;
    if (is_zero(init)) bias = init = (struct lam_init){LAM_INIT_UNIFORM, 1.0f / sqrtf((float)features)};
    lam_graph_push_scope(g, "%s", name);
    lam_value w = lam_param(g, "weight", LAM_SHAPE(spec.out, features), init, true);
    lam_value b = spec.bias ? lam_param(g, "bias", LAM_SHAPE(spec.out), bias, true) : LAM_NO_VALUE;
    lam_graph_pop_scope(g);
    shape.dim[shape.rank - 1] = spec.out;
    lam_value y = lam_graph_new_value(g, lam_value_dtype(g, x), shape, true), in[] = {x, w, b};
    if (y == LAM_NO_VALUE || !lam_graph_add(g, LAM_OP_LINEAR, NULL, in, 3, &y, 1)) return LAM_NO_VALUE;
    return y;
}

lam_value lam_batch_norm(struct lam_graph *g, lam_value x, const char *name) {
    if (lam_graph_bad(g, x)) return LAM_NO_VALUE;
    struct lam_shape s = lam_value_shape(g, x);
    if (s.rank != 4) return lam_graph_fail(g, LAM_ERR_INVALID, "batch norm '%s' takes rank 4", name);
    struct lam_shape c = LAM_SHAPE(s.dim[1]);
    lam_graph_push_scope(g, "%s", name);
    lam_value gamma = lam_param(g, "weight", c, ONE, true);
    lam_value beta = lam_param(g, "bias", c, ZERO, true);
    lam_value mean = lam_buffer(g, "running_mean", c, 0), variance = lam_buffer(g, "running_var", c, 1);
    lam_graph_pop_scope(g);
    union lam_op_attr attr = {.bn = {.eps = 1e-5f,
                                     .momentum = 0.1f,
                                     .use_variance = !g->training,
                                     .count = (double)(s.dim[0] * s.dim[2] * s.dim[3])}};
    if (g->training) {
        lam_value out[] = {lam_graph_new_value(g, LAM_F32, c, false),
                           lam_graph_new_value(g, LAM_F32, c, false), mean, variance};
        if (!lam_graph_add(g, LAM_OP_BN_STATS, &attr, &x, 1, out, 4)) return LAM_NO_VALUE;
        mean = out[0];
        variance = out[1];
    }
    lam_value y = lam_graph_new_value(g, lam_value_dtype(g, x), s, true);
    lam_value in[] = {x, mean, variance, gamma, beta, LAM_NO_VALUE};
    if (y == LAM_NO_VALUE || !lam_graph_add(g, LAM_OP_BN_APPLY, &attr, in, 6, &y, 1)) return LAM_NO_VALUE;
    return y;
}

lam_value lam_layer_norm(struct lam_graph *g, lam_value x, const char *name, float eps) {
    if (lam_graph_bad(g, x)) return LAM_NO_VALUE;
    struct lam_shape s = lam_value_shape(g, x), rows = s;
    if (s.rank < 2)
        return lam_graph_fail(g, LAM_ERR_INVALID, "layer norm '%s': input has no feature dimension", name);
    rows.rank--;
    lam_graph_push_scope(g, "%s", name);
    lam_value gamma = lam_param(g, "weight", LAM_SHAPE(s.dim[s.rank - 1]), ONE, false);
    lam_value beta = lam_param(g, "bias", LAM_SHAPE(s.dim[s.rank - 1]), ZERO, false);
    lam_graph_pop_scope(g);
    union lam_op_attr attr = {.bn = {.eps = eps}};
    lam_value in[] = {x, gamma, beta};
    lam_value out[] = {lam_graph_new_value(g, lam_value_dtype(g, x), s, true),
                       lam_graph_new_value(g, LAM_F32, rows, true),
                       lam_graph_new_value(g, LAM_F32, rows, true)};
    if (!lam_graph_add(g, LAM_OP_LAYER_NORM, &attr, in, 3, out, 3)) return LAM_NO_VALUE;
    return out[0];
}

lam_value lam_attention(struct lam_graph *g, lam_value x, const char *name, int heads) {
    if (lam_graph_bad(g, x)) return LAM_NO_VALUE;
    struct lam_shape s = lam_value_shape(g, x);
    if (s.rank != 3 || heads < 1 || s.dim[2] % heads)
        return lam_graph_fail(g, LAM_ERR_INVALID, "attention '%s': %d heads do not divide the features", name,
                              heads);
    int width = (int)s.dim[2];
    lam_graph_push_scope(g, "%s", name);
    struct lam_init init = {LAM_INIT_TRUNC_NORMAL, 0.02f};
    lam_value qkv =
        lam_linear(g, x, "qkv", (struct lam_linear_spec){.out = 3 * width, .bias = true, .init = init});
    union lam_op_attr attr = {.attention = {heads}};
    lam_value y = LAM_NO_VALUE;
    if (!lam_graph_bad(g, qkv)) {
        lam_value out[] = {lam_graph_new_value(g, lam_value_dtype(g, qkv), s, true),
                           lam_graph_new_value(g, LAM_F32, LAM_SHAPE(s.dim[0], heads, s.dim[1]), true)};
        if (lam_graph_add(g, LAM_OP_ATTENTION, &attr, &qkv, 1, out, 2)) y = out[0];
    }
    y = lam_linear(g, y, "proj", (struct lam_linear_spec){.out = width, .bias = true, .init = init});
    lam_graph_pop_scope(g);
    return y;
}

lam_value lam_mix(struct lam_graph *g, lam_value a, lam_value b, const char *name, float initial) {
    if (lam_graph_bad(g, a) || lam_graph_bad(g, b)) return LAM_NO_VALUE;
    struct lam_shape shape = lam_value_shape(g, a);
    if (!lam_shape_equal(shape, lam_value_shape(g, b)))
        return lam_graph_fail(g, LAM_ERR_INVALID, "mix '%s': its two inputs differ in shape", name);
    lam_value s = lam_param(g, name, LAM_SHAPE(1), (struct lam_init){LAM_INIT_CONSTANT, initial}, false);
    lam_value y = lam_graph_new_value(g, lam_value_dtype(g, a), shape, true), in[] = {a, b, s};
    if (y == LAM_NO_VALUE || !lam_graph_add(g, LAM_OP_MIX, NULL, in, 3, &y, 1)) return LAM_NO_VALUE;
    return y;
}

lam_value lam_tokens(struct lam_graph *g, lam_value x, const char *name) {
    if (lam_graph_bad(g, x)) return LAM_NO_VALUE;
    struct lam_shape s = lam_value_shape(g, x);
    if (s.rank != 3) return lam_graph_fail(g, LAM_ERR_INVALID, "tokens '%s' takes rank 3", name);
    lam_graph_push_scope(g, "%s", name);
    struct lam_init init = {LAM_INIT_TRUNC_NORMAL, 0.02f};
    lam_value class_token = lam_param(g, "cls_token", LAM_SHAPE(s.dim[2]), init, false);
    lam_value positions = lam_param(g, "pos_embed", LAM_SHAPE(s.dim[1] + 1, s.dim[2]), init, false);
    lam_graph_pop_scope(g);
    s.dim[1]++;
    lam_value y = lam_graph_new_value(g, lam_value_dtype(g, x), s, true), in[] = {x, class_token, positions};
    if (y == LAM_NO_VALUE || !lam_graph_add(g, LAM_OP_TOKENS, NULL, in, 3, &y, 1)) return LAM_NO_VALUE;
    return y;
}

lam_value lam_dropout(struct lam_graph *g, lam_value x, const char *name, float p) {
    if (lam_graph_bad(g, x) || p <= 0 || !g->training) return x;
    if (p >= 1) return lam_graph_fail(g, LAM_ERR_INVALID, "dropout '%s': p must be below 1", name);
    char full[384];
    snprintf(full, sizeof full, "%s.%s", g->scope, name);
    union lam_op_attr attr = {.dropout = {.p = p}};
    attr.dropout.stream = lam_hash_text(full);
    return lam_graph_unary(g, LAM_OP_DROPOUT, &attr, x, lam_value_dtype(g, x), lam_value_shape(g, x));
}
