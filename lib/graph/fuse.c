/* Forward fusion: chains that are one pass over memory become one op.
 *
 *     batch norm -> ReLU               BN_APPLY with relu
 *     batch norm -> add [-> ReLU]      BN_APPLY with skip [and relu]
 *     conv -> ReLU                     CONV with relu
 *
 * Runs once, before differentiation, so that the backward rules see the fused ops. A value is fused away only
 * if nothing else reads it.
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

/* ADD whose operand `side` is a batch norm: becomes BN_APPLY with the other operand as skip, in ADD's place,
 * where both operands are ready. */
static bool fuse_add(struct lam_graph *g, const int *uses, struct node *add, int side) {
    struct node *bn = sole_producer(g, uses, add->in[side]);
    if (!bn || bn->op.kind != LAM_OP_BN_APPLY || bn->op.attr.bn.relu || bn->in[5] != LAM_NO_VALUE)
        return false;
    if (add->stops[side] || !lam_graph_value(g, add->out[0])->batched) return false;
    lam_value out = add->out[0], skip = add->in[1 - side];
    bool stops = add->stops[1 - side];
    struct node fused = *bn;
    fused.in[5] = skip;
    fused.stops[5] = stops;
    *add = fused;
    set_output(g, add, out);
    bn->dead = true;
    return true;
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
        if (node->op.kind == LAM_OP_ADD && !fuse_add(g, uses, node, 0)) fuse_add(g, uses, node, 1);
        if (node->op.kind == LAM_OP_RELU) fuse_relu(g, uses, node);
    }
    free(uses);
    g->fused = true;
    return LAM_OK;
}
