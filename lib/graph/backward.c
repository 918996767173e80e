/* Differentiation: one rule per op kind, applied from the loss backwards.
 *
 * The gradient of a value is another value; where several ops read a value, their gradients are added. Losses
 * are scalars whose own gradients are plain numbers (scale and add of losses are linear), so they are folded
 * into the loss ops' scales and no op is spent on them. A gradient that reaches a parameter is written
 * straight to the parameter's place in the flat gradient buffer.
 */
#include <stdlib.h>

#include "graph/internal.h"

struct backward {
    struct lam_graph *g;
    lam_value *grad; /* by value: its gradient, LAM_NO_VALUE = none yet */
    double *scalar;  /* by value: d loss / d value of scalar values */
    int node;        /* node that is being differentiated */
};

static lam_value like(struct backward *b, lam_value v) {
    struct value value = b->g->values[v];
    return lam_graph_new_value(b->g, value.desc.dtype, value.desc.shape, value.batched);
}

/* The input of the current node wants a gradient. */
static bool wanted(const struct backward *b, int input) {
    const struct node *node = &b->g->nodes[b->node];
    lam_value v = node->in[input];
    return v != LAM_NO_VALUE && !node->stops[input] && b->g->values[v].needs_grad;
}

static struct node *emit(struct backward *b, enum lam_op_kind kind, const union lam_op_attr *attr,
                         const lam_value *in, int in_count, const lam_value *out, int out_count) {
    struct node *node = lam_graph_add(b->g, kind, attr, in, in_count, out, out_count);
    if (!node) return NULL;
    node->backward = true;
    node->tag = b->g->nodes[b->node].tag;
    for (int i = 0; i < out_count; i++)
        if (out[i] != LAM_NO_VALUE) b->g->values[out[i]].needs_grad = false;
    return node;
}

static void accumulate(struct backward *b, int input, lam_value gradient) {
    if (!wanted(b, input) || gradient == LAM_NO_VALUE) return;
    lam_value v = b->g->nodes[b->node].in[input];
    if (b->grad[v] == LAM_NO_VALUE) {
        b->grad[v] = gradient;
        return;
    }
    lam_value in[] = {b->grad[v], gradient}, sum = like(b, v);
    emit(b, LAM_OP_ADD, NULL, in, 2, &sum, 1);
    b->grad[v] = sum;
}

/* A fresh value for the gradient of an input, or none if it is not wanted. */
static lam_value fresh(struct backward *b, int input) {
    return wanted(b, input) ? like(b, b->g->nodes[b->node].in[input]) : LAM_NO_VALUE;
}

/* dx = op(in...), where `in` starts with dy. */
static void to_input(struct backward *b, int input, enum lam_op_kind kind, const union lam_op_attr *attr,
                     const lam_value *in, int in_count) {
    lam_value dx = fresh(b, input);
    if (dx == LAM_NO_VALUE) return;
    emit(b, kind, attr, in, in_count, &dx, 1);
    accumulate(b, input, dx);
}

/* ---- rules; dy = gradient of output 0. `node` is a copy: the node array may move. ---- */

typedef void (*rule_fn)(struct backward *b, const struct node *node, lam_value dy);

static lam_value relu_backward(struct backward *b, lam_value dy, lam_value y) {
    lam_value in[] = {dy, y}, g = like(b, y);
    emit(b, LAM_OP_RELU_BWD, NULL, in, 2, &g, 1);
    return g;
}

static void weights_backward(struct backward *b, const struct node *node, enum lam_op_kind kind,
                             lam_value dy) {
    lam_value in[] = {node->in[0], dy}, out[] = {fresh(b, 1), fresh(b, 2)};
    if (out[0] == LAM_NO_VALUE && out[1] == LAM_NO_VALUE) return;
    if (out[0] == LAM_NO_VALUE) out[0] = like(b, node->in[1]); /* the op always has dw */
    emit(b, kind, &node->op.attr, in, 2, out, 2);
    if (wanted(b, 1)) accumulate(b, 1, out[0]);
    accumulate(b, 2, out[1]);
}

static void conv_rule(struct backward *b, const struct node *node, lam_value dy) {
    if (node->op.attr.conv.relu) dy = relu_backward(b, dy, node->out[0]);
    weights_backward(b, node, LAM_OP_CONV_BWD_WEIGHTS, dy);
    lam_value in[] = {dy, node->in[1]};
    to_input(b, 0, LAM_OP_CONV_BWD_DATA, &node->op.attr, in, 2);
}

static void linear_rule(struct backward *b, const struct node *node, lam_value dy) {
    weights_backward(b, node, LAM_OP_LINEAR_BWD_WEIGHTS, dy);
    lam_value in[] = {dy, node->in[1]};
    to_input(b, 0, LAM_OP_LINEAR_BWD_DATA, &node->op.attr, in, 2);
}

static void bn_rule(struct backward *b, const struct node *node, lam_value dy) {
    struct lam_bn_attr bn = node->op.attr.bn;
    if (bn.use_variance) {
        lam_graph_fail(b->g, LAM_ERR_UNSUPPORTED, "an evaluation graph has no backward pass");
        return;
    }
    if (node->in[5] != LAM_NO_VALUE) {
        if (bn.relu) dy = relu_backward(b, dy, node->out[0]);
        bn.relu = false;
        accumulate(b, 5, dy);
    }
    union lam_op_attr attr = {.bn = bn};
    lam_value in[] = {dy,          node->in[0], node->in[1],  node->in[2],
                      node->in[3], node->in[4], LAM_NO_VALUE, LAM_NO_VALUE};
    lam_value sums[] = {like(b, node->in[3]), like(b, node->in[4])};
    emit(b, LAM_OP_BN_BWD_STATS, &attr, in, 6, sums, 2);
    accumulate(b, 3, sums[0]);
    accumulate(b, 4, sums[1]);
    in[6] = sums[0];
    in[7] = sums[1];
    to_input(b, 0, LAM_OP_BN_BWD_APPLY, &attr, in, 8);
}

static void layer_norm_rule(struct backward *b, const struct node *node, lam_value dy) {
    lam_value in[] = {dy, node->in[0], node->out[1], node->out[2], node->in[1]};
    lam_value out[] = {fresh(b, 0), like(b, node->in[1]), like(b, node->in[2])};
    emit(b, LAM_OP_LAYER_NORM_BWD, &node->op.attr, in, 5, out, 3);
    accumulate(b, 0, out[0]);
    accumulate(b, 1, out[1]);
    accumulate(b, 2, out[2]);
}

static void relu_rule(struct backward *b, const struct node *node, lam_value dy) {
    lam_value in[] = {dy, node->out[0]};
    to_input(b, 0, LAM_OP_RELU_BWD, NULL, in, 2);
}

static void gelu_rule(struct backward *b, const struct node *node, lam_value dy) {
    lam_value in[] = {dy, node->in[0]};
    to_input(b, 0, LAM_OP_GELU_BWD, NULL, in, 2);
}

static void add_rule(struct backward *b, const struct node *node, lam_value dy) {
    (void)node;
    accumulate(b, 0, dy);
    accumulate(b, 1, dy);
}

/* Ops whose backward is one op over dy alone. */
static void mirror_rule(struct backward *b, const struct node *node, lam_value dy) {
    static const struct {
        enum lam_op_kind forward, backward;
    } mirrors[] = {
        {LAM_OP_SCALE, LAM_OP_SCALE},
        {LAM_OP_CAST, LAM_OP_CAST},
        {LAM_OP_COPY, LAM_OP_COPY},
        {LAM_OP_SLICE, LAM_OP_SLICE_BWD},
        {LAM_OP_AVG_POOL, LAM_OP_AVG_POOL_BWD},
        {LAM_OP_GLOBAL_AVG_POOL, LAM_OP_GLOBAL_AVG_POOL_BWD},
        {LAM_OP_RESIZE, LAM_OP_RESIZE_BWD},
        {LAM_OP_PIXEL_SHUFFLE, LAM_OP_PIXEL_UNSHUFFLE},
        {LAM_OP_PIXEL_UNSHUFFLE, LAM_OP_PIXEL_SHUFFLE},
        {LAM_OP_PATCHIFY, LAM_OP_UNPATCHIFY},
        {LAM_OP_UNPATCHIFY, LAM_OP_PATCHIFY},
        {LAM_OP_DROPOUT, LAM_OP_DROPOUT_BWD},
    };
    for (size_t i = 0; i < sizeof mirrors / sizeof *mirrors; i++)
        if (mirrors[i].forward == node->op.kind) {
            to_input(b, 0, mirrors[i].backward, &node->op.attr, &dy, 1);
            return;
        }
}

static void concat_rule(struct backward *b, const struct node *node, lam_value dy) {
    union lam_op_attr attr = node->op.attr;
    for (int i = 0; i < node->op.inputs; i++) {
        attr.axis.length = b->g->values[node->in[i]].desc.shape.dim[attr.axis.axis];
        to_input(b, i, LAM_OP_SLICE, &attr, &dy, 1);
        attr.axis.begin += attr.axis.length;
    }
}

static void max_pool_rule(struct backward *b, const struct node *node, lam_value dy) {
    lam_value in[] = {dy, node->out[1]};
    to_input(b, 0, LAM_OP_MAX_POOL_BWD, &node->op.attr, in, 2);
}

static void softmax_rule(struct backward *b, const struct node *node, lam_value dy) {
    lam_value in[] = {dy, node->out[0]};
    to_input(b, 0, LAM_OP_SOFTMAX_BWD, NULL, in, 2);
}

static void attention_rule(struct backward *b, const struct node *node, lam_value dy) {
    lam_value in[] = {dy, node->in[0], node->out[0], node->out[1]};
    to_input(b, 0, LAM_OP_ATTENTION_BWD, &node->op.attr, in, 4);
}

static void tokens_rule(struct backward *b, const struct node *node, lam_value dy) {
    lam_value out[] = {fresh(b, 0), like(b, node->in[1]), like(b, node->in[2])};
    emit(b, LAM_OP_TOKENS_BWD, NULL, &dy, 1, out, 3);
    for (int i = 0; i < 3; i++) accumulate(b, i, out[i]);
}

static void mix_rule(struct backward *b, const struct node *node, lam_value dy) {
    lam_value in[] = {dy, node->in[0], node->in[1], node->in[2]};
    lam_value out[] = {fresh(b, 0), fresh(b, 1), like(b, node->in[2])};
    emit(b, LAM_OP_MIX_BWD, NULL, in, 4, out, 3);
    for (int i = 0; i < 3; i++) accumulate(b, i, out[i]);
}

static const rule_fn rules[LAM_OP_COUNT] = {
    [LAM_OP_CONV] = conv_rule,
    [LAM_OP_LINEAR] = linear_rule,
    [LAM_OP_BN_APPLY] = bn_rule,
    [LAM_OP_LAYER_NORM] = layer_norm_rule,
    [LAM_OP_RELU] = relu_rule,
    [LAM_OP_GELU] = gelu_rule,
    [LAM_OP_ADD] = add_rule,
    [LAM_OP_SCALE] = mirror_rule,
    [LAM_OP_MIX] = mix_rule,
    [LAM_OP_CAST] = mirror_rule,
    [LAM_OP_COPY] = mirror_rule,
    [LAM_OP_CONCAT] = concat_rule,
    [LAM_OP_SLICE] = mirror_rule,
    [LAM_OP_MAX_POOL] = max_pool_rule,
    [LAM_OP_AVG_POOL] = mirror_rule,
    [LAM_OP_GLOBAL_AVG_POOL] = mirror_rule,
    [LAM_OP_RESIZE] = mirror_rule,
    [LAM_OP_PIXEL_SHUFFLE] = mirror_rule,
    [LAM_OP_PIXEL_UNSHUFFLE] = mirror_rule,
    [LAM_OP_PATCHIFY] = mirror_rule,
    [LAM_OP_UNPATCHIFY] = mirror_rule,
    [LAM_OP_SOFTMAX] = softmax_rule,
    [LAM_OP_ATTENTION] = attention_rule,
    [LAM_OP_DROPOUT] = mirror_rule,
    [LAM_OP_TOKENS] = tokens_rule,
};

/* ---- scalars and losses ---- */

static bool is_scalar(const struct lam_graph *g, lam_value v) {
    return v != LAM_NO_VALUE && g->values[v].desc.shape.rank == 0;
}

static void scalar_rule(struct backward *b, const struct node *node, double weight) {
    struct lam_graph *g = b->g;
    switch (node->op.kind) {
    case LAM_OP_ADD:
        for (int i = 0; i < 2; i++)
            if (!node->stops[i]) b->scalar[node->in[i]] += weight;
        return;
    case LAM_OP_SCALE:
        if (!node->stops[0]) b->scalar[node->in[0]] += weight * (double)node->op.attr.scale.factor;
        return;
    case LAM_OP_CROSS_ENTROPY:
    case LAM_OP_L1:
    case LAM_OP_MSE:
    case LAM_OP_SMOOTH_L1:
    case LAM_OP_BCE_LOGITS:
    case LAM_OP_FOCAL: {
        union lam_op_attr attr = node->op.attr;
        attr.loss.scale = (float)((double)attr.loss.scale * weight);
        attr.loss.of = node->op.kind;
        to_input(b, 0, node->op.kind == LAM_OP_CROSS_ENTROPY ? LAM_OP_CROSS_ENTROPY_BWD : LAM_OP_LOSS_BWD,
                 &attr, node->in, 2);
        return;
    }
    default:
        lam_graph_fail(g, LAM_ERR_UNSUPPORTED, "%s cannot be part of a loss", lam_op_name(node->op.kind));
    }
}

/* Sends each parameter's gradient to the flat buffer: the op that makes it writes there. */
static void place_gradients(struct backward *b, int value_count) {
    for (int v = 0; v < value_count; v++) {
        if (b->g->values[v].kind != VALUE_PARAM || b->grad[v] == LAM_NO_VALUE) continue;
        struct value *gradient = &b->g->values[b->grad[v]];
        gradient->kind = VALUE_GRADIENT;
        gradient->param = b->g->values[v].param;
    }
}

/* Applies the rules from the last op to the first. */
static void walk(struct backward *b, int node_count) {
    struct lam_graph *g = b->g;
    for (b->node = node_count - 1; b->node >= 0 && g->error.status == LAM_OK; b->node--) {
        struct node node = g->nodes[b->node];
        lam_value y = node.out[0];
        if (node.dead || y == LAM_NO_VALUE) continue;
        if (is_scalar(g, y)) {
            if (b->scalar[y] != 0) scalar_rule(b, &node, b->scalar[y]);
            continue;
        }
        if (b->grad[y] == LAM_NO_VALUE || !g->values[y].needs_grad) continue;
        if (rules[node.op.kind])
            rules[node.op.kind](b, &node, b->grad[y]);
        else
            lam_graph_fail(g, LAM_ERR_UNSUPPORTED, "%s has no backward rule", lam_op_name(node.op.kind));
    }
}

/* From a loss (dy: none), or from a value whose gradient dy is given. *dx: the gradient of x, where there is one. */
static lam_status differentiate(struct lam_graph *g, lam_value y, lam_value dy, lam_value x, lam_value *dx) {
    LAM_TRY(lam_graph_status(g));
    if (!g->training) return lam_fail(LAM_ERR_INVALID, "an evaluation graph has no backward pass");
    y = lam_graph_root(g, y);
    if (dy == LAM_NO_VALUE && !is_scalar(g, y)) return lam_fail(LAM_ERR_INVALID, "a loss must be a scalar");
    LAM_TRY(lam_graph_fuse(g));
    int node_count = g->node_count, value_count = g->value_count;
    struct backward b = {.g = g,
                         .grad = malloc(sizeof(lam_value) * (size_t)value_count),
                         .scalar = calloc((size_t)value_count, sizeof(double))};
    if (!b.grad || !b.scalar) {
        free(b.grad);
        free(b.scalar);
        return lam_no_memory();
    }
    for (int v = 0; v < value_count; v++) b.grad[v] = LAM_NO_VALUE;
    if (dy == LAM_NO_VALUE)
        b.scalar[y] = 1;
    else
        b.grad[y] = dy;
    walk(&b, node_count);
    place_gradients(&b, value_count);
    if (dx && x != LAM_NO_VALUE) *dx = b.grad[lam_graph_root(g, x)];
    free(b.grad);
    free(b.scalar);
    return lam_graph_status(g);
}

lam_status lam_graph_backward(struct lam_graph *g, lam_value loss) {
    return differentiate(g, loss, LAM_NO_VALUE, LAM_NO_VALUE, NULL);
}

/* The graph keeps the failure, as every builder's. */
static lam_value gradient_of(struct lam_graph *g, lam_value y, lam_value dy, lam_value x) {
    lam_value dx = LAM_NO_VALUE;
    lam_status status = differentiate(g, y, dy, x, &dx);
    if (status != LAM_OK && g->error.status == LAM_OK) lam_error_save(&g->error, status);
    return status == LAM_OK ? dx : LAM_NO_VALUE;
}

lam_value lam_graph_backward_from(struct lam_graph *g, lam_value y, lam_value dy, lam_value x) {
    if (lam_graph_bad(g, y) || lam_graph_bad(g, dy)) return LAM_NO_VALUE;
    return gradient_of(g, y, dy, x);
}

lam_value lam_graph_backward_to(struct lam_graph *g, lam_value loss, lam_value x) {
    return lam_graph_bad(g, loss) ? LAM_NO_VALUE : gradient_of(g, loss, LAM_NO_VALUE, x);
}

void lam_graph_want_gradient(struct lam_graph *g, lam_value x) {
    if (!lam_graph_bad(g, x)) g->values[x].needs_grad = true;
}

/* ---- FLOPs ---- */

static double flops(const struct lam_graph *g, bool backward) {
    double sum = 0;
    for (int n = 0; n < g->node_count; n++)
        if (!g->nodes[n].dead && g->nodes[n].backward == backward) sum += lam_op_flops(&g->nodes[n].op);
    return sum;
}

double lam_graph_tag_flops(const struct lam_graph *g, int tag) {
    double sum = 0;
    for (int n = 0; n < g->node_count; n++)
        if (!g->nodes[n].dead && g->nodes[n].tag == tag) sum += lam_op_flops(&g->nodes[n].op);
    return sum;
}

double lam_graph_forward_flops(const struct lam_graph *g) {
    return flops(g, false);
}

double lam_graph_backward_flops(const struct lam_graph *g) {
    return flops(g, true);
}
