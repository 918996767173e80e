/* The graph's values, ops, scopes and errors. What the ops are is in ops.c and layers.c. */
#include "graph/internal.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

lam_status lam_graph_create(struct lam_params *params, int64_t batch, enum lam_dtype compute, bool training,
                            struct lam_graph **graph) {
    if (batch < 1) return lam_fail(LAM_ERR_INVALID, "a graph's batch must be at least 1");
    if (compute != LAM_F32 && compute != LAM_BF16)
        return lam_fail(LAM_ERR_INVALID, "a graph computes in f32 or bf16, not %s", lam_dtype_name(compute));
    struct lam_graph *g = calloc(1, sizeof *g);
    if (!g) return lam_no_memory();
    g->params = params;
    g->batch = batch;
    g->compute = compute;
    g->training = training;
    *graph = g;
    return LAM_OK;
}

void lam_graph_destroy(struct lam_graph *g) {
    if (!g) return;
    for (int i = 0; i < g->input_count; i++) free(g->inputs[i].name);
    for (int i = 0; i < g->output_count; i++) free(g->outputs[i].name);
    free(g->inputs);
    free(g->outputs);
    free(g->values);
    free(g->nodes);
    free(g);
}

lam_status lam_graph_status(const struct lam_graph *g) {
    return g->error.status == LAM_OK ? LAM_OK : lam_error_restore(&g->error);
}

bool lam_graph_training(const struct lam_graph *g) {
    return g->training;
}
int64_t lam_graph_batch(const struct lam_graph *g) {
    return g->batch;
}
struct lam_params *lam_graph_params(const struct lam_graph *g) {
    return g->params;
}

struct lam_shape lam_value_shape(const struct lam_graph *g, lam_value value) {
    return value >= 0 && value < g->value_count ? g->values[value].desc.shape : LAM_SCALAR;
}

enum lam_dtype lam_value_dtype(const struct lam_graph *g, lam_value value) {
    return value >= 0 && value < g->value_count ? g->values[value].desc.dtype : LAM_F32;
}

/* ---- errors ---- */

lam_value lam_graph_fail(struct lam_graph *g, lam_status status, const char *format, ...) {
    if (g->error.status != LAM_OK) return LAM_NO_VALUE;
    char text[512];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    lam_fail(status, "%s%s%s", g->scope, g->scope[0] ? ": " : "", text);
    lam_error_save(&g->error, status);
    return LAM_NO_VALUE;
}

bool lam_graph_bad(const struct lam_graph *g, lam_value value) {
    return g->error.status != LAM_OK || value < 0 || value >= g->value_count;
}

/* ---- scopes ---- */

enum { MAX_DEPTH = 16 };

void lam_graph_push_scope(struct lam_graph *g, const char *format, ...) {
    size_t used = strlen(g->scope);
    char name[128];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(name, sizeof name, format, arguments);
    va_end(arguments);
    if (g->scope_depth == MAX_DEPTH || used + strlen(name) + 2 > sizeof g->scope) {
        lam_graph_fail(g, LAM_ERR_INVALID, "scope '%s' is too long or too deep", name);
        return;
    }
    g->scope_lengths[g->scope_depth++] = used;
    snprintf(g->scope + used, sizeof g->scope - used, "%s%s", used ? "." : "", name);
}

void lam_graph_pop_scope(struct lam_graph *g) {
    if (g->scope_depth > 0) g->scope[g->scope_lengths[--g->scope_depth]] = 0;
}

/* ---- values ---- */

bool lam_graph_grow(void **items, int count, int *capacity, size_t size) {
    if (count < *capacity) return true;
    int larger = *capacity ? *capacity * 2 : 64;
    void *grown = realloc(*items, (size_t)larger * size);
    if (!grown) return false;
    *items = grown;
    *capacity = larger;
    return true;
}

struct value *lam_graph_value(const struct lam_graph *g, lam_value value) {
    return &g->values[value];
}

lam_value lam_graph_root(const struct lam_graph *g, lam_value value) {
    while (value >= 0 && g->values[value].alias != LAM_NO_VALUE) value = g->values[value].alias;
    return value;
}

lam_value lam_graph_new_value(struct lam_graph *g, enum lam_dtype dtype, struct lam_shape shape,
                              bool batched) {
    for (int i = 0; i < shape.rank; i++) {
        if (shape.dim[i] >= 1) continue;
        char text[96];
        return lam_graph_fail(g, LAM_ERR_INVALID,
                              "a value of shape %s has no elements; is the image too small?",
                              lam_shape_text(shape, text, sizeof text));
    }
    if (!lam_graph_grow((void **)&g->values, g->value_count, &g->value_capacity, sizeof *g->values))
        return lam_graph_fail(g, LAM_ERR_NO_MEMORY, "out of memory");
    g->values[g->value_count] = (struct value){.kind = VALUE_COMPUTED,
                                               .desc = {.dtype = dtype, .shape = shape},
                                               .batched = batched,
                                               .alias = LAM_NO_VALUE,
                                               .param = -1,
                                               .producer = -1};
    return g->value_count++;
}

static lam_value add_named(struct lam_graph *g, struct named_value **list, int *count, int *capacity,
                           const char *name, lam_value value, bool border, bool plain) {
    for (int i = 0; i < *count; i++)
        if (!strcmp((*list)[i].name, name))
            return lam_graph_fail(g, LAM_ERR_INVALID, "the name '%s' is taken", name);
    char *copy = strdup(name);
    if (!copy || !lam_graph_grow((void **)list, *count, capacity, sizeof **list)) {
        free(copy);
        return lam_graph_fail(g, LAM_ERR_NO_MEMORY, "out of memory");
    }
    (*list)[(*count)++] = (struct named_value){copy, value, border, plain};
    return value;
}

static lam_value add_input(struct lam_graph *g, const char *name, enum lam_dtype dtype,
                           struct lam_shape shape, bool border, bool plain) {
    if (g->error.status != LAM_OK) return LAM_NO_VALUE;
    if (shape.rank < 1 || shape.dim[0] != g->batch)
        return lam_graph_fail(g, LAM_ERR_INVALID, "input '%s' must have the batch as its first dimension",
                              name);
    lam_value value = lam_graph_new_value(g, dtype, shape, true);
    if (value == LAM_NO_VALUE) return value;
    g->values[value].kind = VALUE_INPUT;
    return add_named(g, &g->inputs, &g->input_count, &g->input_capacity, name, value, border, plain);
}

lam_value lam_graph_input(struct lam_graph *g, const char *name, enum lam_dtype dtype,
                          struct lam_shape shape) {
    return add_input(g, name, dtype, shape, false, true);
}

lam_value lam_graph_border_input(struct lam_graph *g, const char *name, enum lam_dtype dtype,
                                 struct lam_shape shape, bool plain) {
    return add_input(g, name, dtype, shape, true, plain);
}

void lam_graph_output(struct lam_graph *g, const char *name, lam_value value) {
    if (lam_graph_bad(g, value)) return;
    add_named(g, &g->outputs, &g->output_count, &g->output_capacity, name, value, false, true);
}

void lam_graph_border_output(struct lam_graph *g, const char *name, lam_value value, bool plain) {
    if (lam_graph_bad(g, value)) return;
    add_named(g, &g->outputs, &g->output_count, &g->output_capacity, name, value, true, plain);
}

void lam_graph_freeze(struct lam_graph *g, bool frozen) {
    g->frozen = frozen;
}

void lam_graph_tag(struct lam_graph *g, int tag) {
    g->tag = tag;
}

/* The name in the scopes that are open. */
static void full_name(const struct lam_graph *g, const char *name, char full[384]) {
    snprintf(full, 384, "%s%s%s", g->scope, g->scope[0] ? "." : "", name);
}

/* The value of a parameter that was declared with this status. One value per parameter, so that gradients of a shared
 * one add up. */
static lam_value declared(struct lam_graph *g, lam_status status, int index, bool buffer) {
    if (status != LAM_OK) {
        lam_error_save(&g->error, status);
        return LAM_NO_VALUE;
    }
    enum value_kind kind = buffer ? VALUE_BUFFER : VALUE_PARAM;
    for (int i = 0; i < g->value_count; i++)
        if (g->values[i].kind == kind && g->values[i].param == index && g->values[i].alias == LAM_NO_VALUE)
            return i;
    lam_value value = lam_graph_new_value(g, LAM_F32, lam_params_get(g->params, index)->shape, false);
    if (value == LAM_NO_VALUE) return value;
    g->values[value].kind = kind;
    g->values[value].param = index;
    g->values[value].needs_grad = !buffer;
    return value;
}

static lam_value declare(struct lam_graph *g, const char *name, struct lam_shape shape, struct lam_init init,
                         bool decay, bool buffer, bool frozen) {
    if (g->error.status != LAM_OK) return LAM_NO_VALUE;
    char full[384];
    int index = -1;
    full_name(g, name, full);
    lam_status status = lam_params_declare(g->params, full, shape, init, decay, buffer, &index);
    if (status == LAM_OK && frozen) lam_params_freeze(g->params, index);
    return declared(g, status, index, buffer);
}

lam_value lam_param(struct lam_graph *g, const char *name, struct lam_shape shape, struct lam_init init,
                    bool decay) {
    return declare(g, name, shape, init, decay && !g->frozen, g->frozen, g->frozen);
}

lam_value lam_buffer(struct lam_graph *g, const char *name, struct lam_shape shape, float initial) {
    return declare(g, name, shape, (struct lam_init){LAM_INIT_CONSTANT, initial}, false, true, false);
}

lam_value lam_constant(struct lam_graph *g, const char *name, struct lam_shape shape, const float *values) {
    if (g->error.status != LAM_OK) return LAM_NO_VALUE;
    char full[384];
    int index = -1;
    full_name(g, name, full);
    lam_status status = lam_params_declare_constant(g->params, full, shape, values, &index);
    return declared(g, status, index, true);
}

lam_value lam_detach(struct lam_graph *g, lam_value x) {
    if (lam_graph_bad(g, x)) return LAM_NO_VALUE;
    struct value copy = g->values[x];
    lam_value value = lam_graph_new_value(g, copy.desc.dtype, copy.desc.shape, copy.batched);
    if (value == LAM_NO_VALUE) return value;
    g->values[value].alias = x;
    g->values[value].detached = true;
    return value;
}

/* ---- ops ---- */

static bool stops_gradient(const struct lam_graph *g, lam_value value) {
    for (; value != LAM_NO_VALUE; value = g->values[value].alias)
        if (g->values[value].detached) return true;
    return false;
}

static struct lam_operand operand_of(const struct lam_graph *g, lam_value value) {
    return (struct lam_operand){true, g->values[value].batched, g->values[value].desc};
}

struct node *lam_graph_add(struct lam_graph *g, enum lam_op_kind kind, const union lam_op_attr *attr,
                           const lam_value *in, int in_count, const lam_value *out, int out_count) {
    if (g->error.status != LAM_OK) return NULL;
    if (!lam_graph_grow((void **)&g->nodes, g->node_count, &g->node_capacity, sizeof *g->nodes)) {
        lam_graph_fail(g, LAM_ERR_NO_MEMORY, "out of memory");
        return NULL;
    }
    struct node *node = &g->nodes[g->node_count];
    *node = (struct node){.op = {.kind = kind, .inputs = in_count, .outputs = out_count}, .tag = g->tag};
    if (attr) node->op.attr = *attr;
    bool needs_grad = false;
    for (int i = 0; i < LAM_MAX_INPUTS; i++) {
        node->in[i] = i < in_count ? lam_graph_root(g, in[i]) : LAM_NO_VALUE;
        if (node->in[i] == LAM_NO_VALUE) continue;
        node->op.in[i] = operand_of(g, node->in[i]);
        node->stops[i] = stops_gradient(g, in[i]);
        needs_grad |= !node->stops[i] && g->values[node->in[i]].needs_grad;
    }
    for (int i = 0; i < LAM_MAX_OUTPUTS; i++) {
        node->out[i] = i < out_count ? out[i] : LAM_NO_VALUE;
        if (node->out[i] == LAM_NO_VALUE) continue;
        struct value *value = &g->values[node->out[i]];
        node->op.out[i] = operand_of(g, node->out[i]);
        if (value->kind == VALUE_COMPUTED) value->needs_grad = needs_grad;
        if (value->kind != VALUE_BUFFER) value->producer = g->node_count;
    }
    g->node_count++;
    return node;
}

lam_value lam_graph_unary(struct lam_graph *g, enum lam_op_kind kind, const union lam_op_attr *attr,
                          lam_value x, enum lam_dtype dtype, struct lam_shape shape) {
    if (lam_graph_bad(g, x)) return LAM_NO_VALUE;
    lam_value y = lam_graph_new_value(g, dtype, shape, g->values[x].batched);
    if (y == LAM_NO_VALUE || !lam_graph_add(g, kind, attr, &x, 1, &y, 1)) return LAM_NO_VALUE;
    return y;
}

int *lam_graph_uses(const struct lam_graph *g) {
    int *uses = calloc((size_t)g->value_count + 1, sizeof *uses);
    if (!uses) return NULL;
    for (int n = 0; n < g->node_count; n++)
        for (int i = 0; i < g->nodes[n].op.inputs && !g->nodes[n].dead; i++)
            if (g->nodes[n].in[i] != LAM_NO_VALUE) uses[g->nodes[n].in[i]]++;
    for (int i = 0; i < g->output_count; i++) uses[lam_graph_root(g, g->outputs[i].value)]++;
    return uses;
}

/* ---- text ---- */

static void print_operand(FILE *file, const struct lam_graph *g, lam_value v) {
    if (v == LAM_NO_VALUE) {
        fprintf(file, " -");
        return;
    }
    const struct value *value = &g->values[v];
    char text[96];
    fprintf(file, " %c%d:%s%s", "ipbgv"[value->kind], v, lam_dtype_name(value->desc.dtype),
            lam_shape_text(value->desc.shape, text, sizeof text));
}

char *lam_graph_text(const struct lam_graph *g) {
    char *text = NULL;
    size_t size;
    FILE *file = open_memstream(&text, &size);
    if (!file) return NULL;
    for (int n = 0; n < g->node_count; n++) {
        const struct node *node = &g->nodes[n];
        if (node->dead) continue;
        fprintf(file, "%4d %-20s", n, lam_op_name(node->op.kind));
        for (int i = 0; i < node->op.inputs; i++) print_operand(file, g, node->in[i]);
        fprintf(file, "  ->");
        for (int i = 0; i < node->op.outputs; i++) print_operand(file, g, node->out[i]);
        fputc('\n', file);
    }
    fclose(file);
    return text;
}
