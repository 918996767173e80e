/* Runs a graph through the reference (interpreter.h). */
#include "gradient/interpreter.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "conformance/reference.h"

static int64_t count_of(const struct lam_graph *g, lam_value v) {
    return lam_shape_count(g->values[v].desc.shape);
}

bool interpreter_open(struct interpreter *interpreter, struct lam_graph *graph) {
    size_t count = (size_t)graph->value_count;
    struct interpreter in = {
        .graph = graph, .values = calloc(count, sizeof(double *)), .frozen = calloc(count, sizeof(double *))};
    bool good = in.values && in.frozen;
    for (int v = 0; good && v < graph->value_count; v++) {
        if (graph->values[v].alias != LAM_NO_VALUE) continue;
        in.values[v] = calloc((size_t)count_of(graph, v), sizeof(double));
        in.frozen[v] = calloc((size_t)count_of(graph, v), sizeof(double));
        good = in.values[v] && in.frozen[v];
    }
    *interpreter = in;
    if (!good) interpreter_close(interpreter);
    return good;
}

void interpreter_close(struct interpreter *interpreter) {
    for (int v = 0; interpreter->graph && v < interpreter->graph->value_count; v++) {
        if (interpreter->values) free(interpreter->values[v]);
        if (interpreter->frozen) free(interpreter->frozen[v]);
    }
    free(interpreter->values);
    free(interpreter->frozen);
    *interpreter = (struct interpreter){0};
}

void interpreter_freeze(struct interpreter *interpreter) {
    for (int v = 0; v < interpreter->graph->value_count; v++)
        if (interpreter->values[v])
            memcpy(interpreter->frozen[v], interpreter->values[v],
                   (size_t)count_of(interpreter->graph, v) * sizeof(double));
}

static struct lam_operand operand(const struct lam_graph *g, lam_value v) {
    if (v == LAM_NO_VALUE) return (struct lam_operand){.present = false};
    return (struct lam_operand){.present = true, .batched = g->values[v].batched, .desc = g->values[v].desc};
}

static lam_status run_node(struct interpreter *interpreter, const struct node *node,
                           const struct lam_run *run, bool use_frozen) {
    const struct lam_graph *g = interpreter->graph;
    const double *in[LAM_MAX_INPUTS] = {NULL};
    double *out[LAM_MAX_OUTPUTS] = {NULL};
    struct lam_op op = node->op;
    for (int i = 0; i < op.inputs; i++) {
        lam_value v = node->in[i] == LAM_NO_VALUE ? LAM_NO_VALUE : lam_graph_root(g, node->in[i]);
        op.in[i] = operand(g, v);
        if (v == LAM_NO_VALUE) continue;
        in[i] = use_frozen && node->stops[i] ? interpreter->frozen[v] : interpreter->values[v];
    }
    for (int i = 0; i < op.outputs; i++) {
        op.out[i] = operand(g, node->out[i]);
        if (op.out[i].present) out[i] = interpreter->values[node->out[i]];
    }
    return reference_run(&op, run, in, out);
}

double interpreter_run(struct interpreter *interpreter, lam_value loss, const struct lam_run *run,
                       bool use_frozen) {
    const struct lam_graph *g = interpreter->graph;
    for (int n = 0; n < g->node_count; n++)
        if (run_node(interpreter, &g->nodes[n], run, use_frozen) != LAM_OK) return NAN;
    return interpreter->values[lam_graph_root(g, loss)][0];
}
