/* Fusion: chains that are one pass over memory become one op.
 *
 *     batch norm -> ReLU                          BN_APPLY with relu
 *     batch norm -> add [-> ReLU]                 BN_APPLY with an addend [and relu]
 *     conv [-> add] [-> ReLU]                     CONV with an addend [and relu]
 *     linear, channel scale -> add                these with an addend
 *
 * These run once, before differentiation, so that the backward rules see the fused ops; behind it, of gradients that meet:
 *
 *     a convolution's or layer norm's -> add      CONV_BWD_DATA, LAYER_NORM_BWD with an addend
 *     add -> ReLU's gradient                      RELU_BWD with an addend
 *
 * A value is fused away only if nothing else reads it.
 */
#include <stdlib.h>

#include "graph/internal.h"

/* The live node that makes v, if v is read once and lies inside the graph. */
static struct node *sole_producer(struct lam_graph *g, const int *uses, lam_value v) {
    if (v == LAM_NO_VALUE || uses[v] != 1) return NULL;
    const struct value *value = &g->values[v];
    if (value->kind != VALUE_COMPUTED || value->producer < 0) return NULL;
    struct node *node = &g->nodes[value->producer];
    return node->dead || node->out[0] != v ? NULL : node;
}

static void set_output(struct lam_graph *g, struct node *node, lam_value v) {
    node->out[0] = v;
    g->values[v].producer = (int)(node - g->nodes);
}

/* Whether the op can still take an addend: what it has may not have gone through ReLU. */
static bool takes_addend(const struct node *node) {
    int addend = lam_op_addend(node->op.kind);
    if (addend < 0 || node->op.kind == LAM_OP_RELU_BWD) return false;
    if (node->op.kind == LAM_OP_BN_APPLY && node->op.attr.bn.relu) return false;
    if (node->op.kind == LAM_OP_CONV && node->op.attr.conv.relu) return false;
    return node->op.inputs <= addend || node->in[addend] == LAM_NO_VALUE;
}

/* ADD whose operand `side` is made by an op that takes an addend: becomes that op with the other operand as addend, in ADD's
 * place, where both operands are ready. */
static bool fuse_addend(struct lam_graph *g, const int *uses, struct node *add, int side) {
    struct node *maker = sole_producer(g, uses, add->in[side]);
    if (!maker || !takes_addend(maker) || add->stops[side]) return false;
    if (!lam_graph_value(g, add->out[0])->batched) return false;
    int addend = lam_op_addend(maker->op.kind);
    lam_value out = add->out[0], other = add->in[1 - side];
    bool stops = add->stops[1 - side];
    struct node fused = *maker;
    fused.op.inputs = addend + 1;
    fused.in[addend] = other;
    fused.stops[addend] = stops;
    *add = fused;
    set_output(g, add, out);
    for (int i = 1; i < fused.op.outputs; i++)
        if (fused.out[i] != LAM_NO_VALUE) g->values[fused.out[i]].producer = (int)(add - g->nodes);
    maker->dead = true;
    return true;
}

/* Batch norm first: its pass over memory is one that the sum then saves on every device. */
static void fuse_sum(struct lam_graph *g, const int *uses, struct node *add) {
    for (int side = 0; side < 2; side++) {
        const struct node *maker = sole_producer(g, uses, add->in[side]);
        if (maker && maker->op.kind == LAM_OP_BN_APPLY && fuse_addend(g, uses, add, side)) return;
    }
    if (!fuse_addend(g, uses, add, 0)) fuse_addend(g, uses, add, 1);
}

/* RELU_BWD of a sum: adds it itself. */
static void fuse_sum_below(struct lam_graph *g, const int *uses, struct node *mask) {
    struct node *add = sole_producer(g, uses, mask->in[0]);
    if (!add || add->op.kind != LAM_OP_ADD || mask->op.inputs > 2) return;
    mask->op.inputs = 3;
    mask->in[0] = add->in[0];
    mask->in[2] = add->in[1];
    add->dead = true;
}

static bool fuse_relu(struct lam_graph *g, const int *uses, struct node *relu) {
    struct node *producer = sole_producer(g, uses, relu->in[0]);
    if (!producer || relu->stops[0]) return false;
    if (producer->op.kind == LAM_OP_BN_APPLY && !producer->op.attr.bn.relu)
        producer->op.attr.bn.relu = true;
    else if (producer->op.kind == LAM_OP_CONV && !producer->op.attr.conv.relu)
        producer->op.attr.conv.relu = true;
    else
        return false;
    set_output(g, producer, relu->out[0]);
    relu->dead = true;
    return true;
}

lam_status lam_graph_fuse(struct lam_graph *g) {
    LAM_TRY(lam_graph_status(g));
    if (g->fused) return LAM_OK;
    int *uses = lam_graph_uses(g);
    if (!uses) return lam_no_memory();
    for (int n = 0; n < g->node_count; n++) {
        struct node *node = &g->nodes[n];
        if (node->dead) continue;
        if (node->op.kind == LAM_OP_ADD) fuse_sum(g, uses, node);
        if (node->op.kind == LAM_OP_RELU) fuse_relu(g, uses, node);
    }
    free(uses);
    g->fused = true;
    return LAM_OK;
}

/* An op that moves into its sum's place makes its other results later: nothing in between may read them. */
static bool can_move(const struct node *maker, const struct node *place) {
    for (const struct node *between = maker + 1; between < place; between++)
        for (int i = 0; !between->dead && i < between->op.inputs; i++)
            for (int o = 0; o < maker->op.outputs; o++)
                if (between->in[i] != LAM_NO_VALUE && between->in[i] == maker->out[o]) return false;
    return true;
}

lam_status lam_graph_fuse_gradients(struct lam_graph *g, const lam_value *kept, int count) {
    int *uses = lam_graph_uses(g);
    if (!uses) return lam_no_memory();
    for (int i = 0; i < count; i++)
        if (kept[i] != LAM_NO_VALUE) uses[kept[i]]++;
    for (int n = 0; n < g->node_count; n++) /* first: not every device's convolutions add on their way */
        if (!g->nodes[n].dead && g->nodes[n].op.kind == LAM_OP_RELU_BWD)
            fuse_sum_below(g, uses, &g->nodes[n]);
    for (int n = 0; n < g->node_count; n++) {
        struct node *node = &g->nodes[n];
        if (node->dead || !node->backward) continue;
        /* the operand that was made last first: then nothing moves */
        for (int side = 1; side >= 0 && node->op.kind == LAM_OP_ADD; side--) {
            const struct node *maker = sole_producer(g, uses, node->in[side]);
            if (maker && can_move(maker, node)) fuse_addend(g, uses, node, side);
        }
    }
    free(uses);
    return LAM_OK;
}
