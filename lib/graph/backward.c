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

static void addend_backward(struct backward *b, const struct node *node, lam_value dy) {
    int addend = lam_op_addend(node->op.kind);
    if (node->op.inputs > addend) accumulate(b, addend, dy);
}

static void conv_rule(struct backward *b, const struct node *node, lam_value dy) {
    if (node->op.attr.conv.relu) dy = relu_backward(b, dy, node->out[0]);
    addend_backward(b, node, dy);
    weights_backward(b, node, LAM_OP_CONV_BWD_WEIGHTS, dy);
    lam_value in[] = {dy, node->in[1]};
    to_input(b, 0, LAM_OP_CONV_BWD_DATA, &node->op.attr, in, 2);
}

static void linear_rule(struct backward *b, const struct node *node, lam_value dy) {
    addend_backward(b, node, dy);
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

static void sigmoid_rule(struct backward *b, const struct node *node, lam_value dy) {
    lam_value in[] = {dy, node->out[0]};
    to_input(b, 0, LAM_OP_SIGMOID_BWD, NULL, in, 2);
}

static void channel_scale_rule(struct backward *b, const struct node *node, lam_value dy) {
    addend_backward(b, node, dy);
    lam_value in[] = {dy, node->in[0], node->in[1]}, out[] = {fresh(b, 0), fresh(b, 1)};
    if (out[0] == LAM_NO_VALUE && out[1] == LAM_NO_VALUE) return;
    emit(b, LAM_OP_CHANNEL_SCALE_BWD, NULL, in, 3, out, 2);
    for (int i = 0; i < 2; i++) accumulate(b, i, out[i]);
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
        {LAM_OP_PERMUTE_HWC, LAM_OP_PERMUTE_CHW},
        {LAM_OP_PERMUTE_CHW, LAM_OP_PERMUTE_HWC},
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
    lam_value in[] = {dy, node->in[0]};
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
    [LAM_OP_SIGMOID] = sigmoid_rule,
    [LAM_OP_ADD] = add_rule,
    [LAM_OP_SCALE] = mirror_rule,
    [LAM_OP_MIX] = mix_rule,
    [LAM_OP_CHANNEL_SCALE] = channel_scale_rule,
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
    [LAM_OP_PERMUTE_HWC] = mirror_rule,
    [LAM_OP_PERMUTE_CHW] = mirror_rule,
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

/* A loss op's backward op has the same inputs, and in its scale what the whole loss makes of this one. */
static void loss_backward(struct backward *b, const struct node *node, enum lam_op_kind kind, double weight) {
    union lam_op_attr attr = node->op.attr;
    attr.loss.scale = (float)((double)attr.loss.scale * weight);
    attr.loss.of = node->op.kind;
    to_input(b, 0, kind, &attr, node->in, node->op.inputs);
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
        loss_backward(b, node, LAM_OP_CROSS_ENTROPY_BWD, weight);
        return;
    case LAM_OP_L1:
    case LAM_OP_MSE:
    case LAM_OP_SMOOTH_L1:
    case LAM_OP_CHARBONNIER:
    case LAM_OP_BCE_LOGITS:
    case LAM_OP_FOCAL:
    case LAM_OP_QUALITY_FOCAL:
        loss_backward(b, node, LAM_OP_LOSS_BWD, weight);
        return;
    case LAM_OP_GIOU:
        loss_backward(b, node, LAM_OP_GIOU_BWD, weight);
        return;
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

/* Gradients from outside; two of one value are added. */
static void seed(struct backward *b, const struct lam_graph_part *part) {
    b->node = 0; /* whose tag an addition gets */
    for (int i = 0; i < part->outputs; i++) {
        lam_value y = lam_graph_root(b->g, part->y[i]);
        if (b->grad[y] == LAM_NO_VALUE) {
            b->grad[y] = part->dy[i];
            continue;
        }
        lam_value in[] = {b->grad[y], part->dy[i]}, sum = like(b, y);
        emit(b, LAM_OP_ADD, NULL, in, 2, &sum, 1);
        b->grad[y] = sum;
    }
}

static lam_status differentiate(struct backward *b, const struct lam_graph_part *part) {
    struct lam_graph *g = b->g;
    int node_count = g->node_count, value_count = g->value_count;
    b->grad = malloc(sizeof(lam_value) * (size_t)value_count);
    b->scalar = calloc((size_t)value_count, sizeof(double));
    if (!b->grad || !b->scalar) return lam_no_memory();
    for (int v = 0; v < value_count; v++) b->grad[v] = LAM_NO_VALUE;
    if (part->loss != LAM_NO_VALUE) b->scalar[lam_graph_root(g, part->loss)] = 1;
    seed(b, part);
    walk(b, node_count);
    place_gradients(b, value_count);
    for (int i = 0; i < part->inputs; i++) part->dx[i] = b->grad[lam_graph_root(g, part->x[i])];
    LAM_TRY(lam_graph_status(g));
    return lam_graph_fuse_gradients(g, part->dx, part->inputs);
}

static bool any_bad(const struct lam_graph *g, const lam_value *values, int count) {
    for (int i = 0; i < count; i++)
        if (lam_graph_bad(g, values[i])) return true;
    return false;
}

lam_status lam_graph_backward_part(struct lam_graph *g, const struct lam_graph_part *part) {
    for (int i = 0; i < part->inputs; i++) part->dx[i] = LAM_NO_VALUE;
    LAM_TRY(lam_graph_status(g));
    if (!g->training) return lam_fail(LAM_ERR_INVALID, "an evaluation graph has no backward pass");
    if (any_bad(g, part->y, part->outputs) || any_bad(g, part->dy, part->outputs) ||
        any_bad(g, part->x, part->inputs))
        return lam_fail(LAM_ERR_INTERNAL, "a part's inputs and outputs must be values");
    if (part->loss != LAM_NO_VALUE && !is_scalar(g, part->loss))
        return lam_fail(LAM_ERR_INVALID, "a loss must be a scalar");
    LAM_TRY(lam_graph_fuse(g));
    struct backward b = {.g = g};
    lam_status status = differentiate(&b, part);
    free(b.grad);
    free(b.scalar);
    return status;
}

lam_status lam_graph_backward(struct lam_graph *g, lam_value loss) {
    LAM_TRY(lam_graph_status(g));
    if (loss == LAM_NO_VALUE) return lam_fail(LAM_ERR_INVALID, "a loss must be a scalar");
    return lam_graph_backward_part(g, &(struct lam_graph_part){.loss = loss});
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
