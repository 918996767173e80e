/* From graph to schedule: which ops live, which layout each value has, which segment each op runs in, and
 * which values are computed again rather than kept. Header program_internal.h says what segments and stages
 * are.
 *
 * Computing again. A value that later segments read must be kept for the whole batch, unless its op is cheap
 * and the op's own inputs are kept until then anyway, or are themselves computed again from such, or are so
 * much smaller that keeping them instead pays. Then the chain of ops is cloned into each later segment, and the
 * value never leaves the cache. The chain has at most MOST_DEPTH ops, so that of a long run of residual sums
 * every few are kept, not all and not only the first.
 */
#include <stdlib.h>
#include <string.h>

#include "graph/program_internal.h"

/* ---- live ops ---- */

static bool has_effect(const struct lam_graph *g, const struct node *node, const bool *needed) {
    for (int i = 0; i < node->op.outputs; i++) {
        lam_value v = node->out[i];
        if (v == LAM_NO_VALUE) continue;
        enum value_kind kind = g->values[v].kind;
        if (needed[v] || kind == VALUE_GRADIENT || kind == VALUE_BUFFER) return true;
    }
    return false;
}

/* alive[n] for each node, from the outputs backwards. */
static bool *find_live(const struct lam_graph *g) {
    bool *alive = calloc((size_t)g->node_count + 1, sizeof *alive);
    bool *needed = calloc((size_t)g->value_count + 1, sizeof *needed);
    if (!alive || !needed) {
        free(alive);
        free(needed);
        return NULL;
    }
    for (int i = 0; i < g->output_count; i++) needed[lam_graph_root(g, g->outputs[i].value)] = true;
    for (int n = g->node_count - 1; n >= 0; n--) {
        const struct node *node = &g->nodes[n];
        if (node->dead || !has_effect(g, node, needed)) continue;
        alive[n] = true;
        for (int i = 0; i < node->op.inputs; i++)
            if (node->in[i] != LAM_NO_VALUE) needed[node->in[i]] = true;
    }
    free(needed);
    return alive;
}

static struct step *add_step(struct lam_program *p, const struct node *node) {
    if (!lam_graph_grow((void **)&p->steps, p->step_count, &p->step_capacity, sizeof *p->steps)) return NULL;
    struct step *step = &p->steps[p->step_count++];
    *step = (struct step){.node = *node};
    return step;
}

static int add_value(struct lam_program *p, const struct value *value) {
    if (!lam_graph_grow((void **)&p->values, p->value_count, &p->value_capacity, sizeof *p->values))
        return -1;
    p->values[p->value_count] = (struct program_value){.value = *value, .output = -1};
    return p->value_count++;
}

static lam_status copy_graph(struct lam_program *p) {
    const struct lam_graph *g = p->graph;
    for (int v = 0; v < g->value_count; v++)
        if (add_value(p, &g->values[v]) < 0) return lam_no_memory();
    bool *alive = find_live(g);
    if (!alive) return lam_no_memory();
    for (int n = 0; n < g->node_count; n++) {
        if (!alive[n]) continue;
        if (!add_step(p, &g->nodes[n])) {
            free(alive);
            return lam_no_memory();
        }
    }
    free(alive);
    return LAM_OK;
}

/* ---- layouts, inputs, outputs ---- */

static bool wants_layout(const struct value *value) {
    return value->kind == VALUE_COMPUTED && value->batched && value->desc.shape.rank == 4;
}

static lam_status connect(struct lam_program *p) {
    const struct lam_graph *g = p->graph;
    for (int v = 0; v < p->value_count; v++) {
        struct value *value = &p->values[v].value;
        if (wants_layout(value)) value->desc.layout = p->backend->layout(p->handle, &value->desc);
    }
    p->input_values = malloc(sizeof(int) * (size_t)(g->input_count + 1));
    p->output_values = malloc(sizeof(int) * (size_t)(g->output_count + 1));
    p->input_data = calloc((size_t)g->input_count + 1, sizeof *p->input_data);
    p->output_data = calloc((size_t)g->output_count + 1, sizeof *p->output_data);
    if (!p->input_values || !p->output_values || !p->input_data || !p->output_data) return lam_no_memory();
    for (int i = 0; i < g->input_count; i++) {
        p->input_values[i] = g->inputs[i].value;
        struct value *value = &p->values[g->inputs[i].value].value;
        if (g->inputs[i].border && !g->inputs[i].plain && value->desc.shape.rank == 4)
            value->desc.layout = p->backend->layout(p->handle, &value->desc);
    }
    for (int i = 0; i < g->output_count; i++) {
        lam_value v = lam_graph_root(g, g->outputs[i].value);
        bool fits = !g->outputs[i].plain || p->values[v].value.desc.layout == LAM_PLAIN;
        bool direct = fits && p->values[v].output < 0 && p->values[v].value.kind == VALUE_COMPUTED;
        if (!direct) { /* another layout, or a second name: copied out */
            struct value copy = p->values[v].value;
            copy.kind = VALUE_COMPUTED;
            if (g->outputs[i].plain) copy.desc.layout = LAM_PLAIN;
            int out = add_value(p, &copy);
            struct node node = {.op = {.kind = LAM_OP_COPY, .inputs = 1, .outputs = 1}};
            for (int k = 0; k < LAM_MAX_INPUTS; k++) node.in[k] = LAM_NO_VALUE;
            for (int k = 0; k < LAM_MAX_OUTPUTS; k++) node.out[k] = LAM_NO_VALUE;
            node.in[0] = v;
            node.out[0] = out;
            if (out < 0 || !add_step(p, &node)) return lam_no_memory();
            v = out;
        }
        p->output_values[i] = v;
        p->values[v].output = i;
        p->values[v].bound = g->outputs[i].border;
    }
    for (int v = 0; v < p->value_count; v++) {
        struct program_value *value = &p->values[v];
        size_t bytes = lam_tensor_bytes(&value->value.desc);
        value->sample_bytes = value->value.batched ? bytes / (size_t)p->batch : 0;
    }
    return LAM_OK;
}

/* ---- segments ---- */

static bool computed(const struct program_value *value) {
    return value->value.kind == VALUE_COMPUTED || value->value.kind == VALUE_GRADIENT;
}

static bool is_batched(const struct lam_program *p, const struct node *node) {
    for (int i = 0; i < node->op.inputs; i++)
        if (node->in[i] != LAM_NO_VALUE && p->values[node->in[i]].value.batched) return true;
    for (int i = 0; i < node->op.outputs; i++)
        if (node->out[i] != LAM_NO_VALUE && p->values[node->out[i]].value.batched) return true;
    return false;
}

/* In program order, each op in the earliest segment that is not before its predecessor's. `defined` of a
 * shared value is the stage that makes it, of a batched value its segment; a gradient may be read by ops, so
 * it counts as well. */
static int assign_segments(struct lam_program *p) {
    int current = 0;
    for (int s = 0; s < p->step_count; s++) {
        struct step *step = &p->steps[s];
        step->batched = is_batched(p, &step->node);
        if (p->split && step->batched && step->node.backward && p->forward_segments == 0)
            p->forward_segments = ++current;
        int when = step->batched ? current : 0;
        for (int i = 0; i < step->node.op.inputs; i++) {
            if (step->node.in[i] == LAM_NO_VALUE) continue;
            const struct program_value *value = &p->values[step->node.in[i]];
            if (computed(value) && value->defined > when) when = value->defined;
        }
        step->when = when;
        if (step->batched) current = when;
        for (int i = 0; i < step->node.op.outputs; i++) {
            if (step->node.out[i] == LAM_NO_VALUE) continue;
            struct program_value *value = &p->values[step->node.out[i]];
            value->defined = step->batched && !value->value.batched ? when + 1 : when;
        }
    }
    return current + 1;
}

static int time_of(const struct step *step) {
    return 2 * step->when + (step->batched ? 1 : 0);
}

static void find_last_uses(struct lam_program *p) {
    for (int v = 0; v < p->value_count; v++)
        p->values[v].last_used = 2 * p->values[v].defined + (p->values[v].value.batched ? 1 : 0);
    for (int s = 0; s < p->step_count; s++)
        for (int i = 0; i < p->steps[s].node.op.inputs; i++) {
            lam_value v = p->steps[s].node.in[i];
            if (v != LAM_NO_VALUE && p->values[v].last_used < time_of(&p->steps[s]))
                p->values[v].last_used = time_of(&p->steps[s]);
        }
}

/* ---- computing again ---- */

enum {
    MOST_DEPTH = 4,
    LEAST_GAIN = 2,        /* what is kept instead takes at most half of it */
    CHEAP_CONV_FLOPS = 64, /* per output element: about the time it takes to write and read the element */
};

static bool is_cheap(const struct lam_program *p, const struct node *node) {
    if (lam_op_is_cheap(node->op.kind)) return true;
    if (node->op.kind != LAM_OP_CONV) return false;
    const struct lam_shape *weight = &p->values[node->in[1]].value.desc.shape;
    return 2 * weight->dim[1] * weight->dim[2] * weight->dim[3] <= CHEAP_CONV_FLOPS;
}

static const struct step *find_producer(const struct lam_program *p, lam_value v) {
    for (int s = 0; s < p->step_count; s++)
        for (int o = 0; o < p->steps[s].node.op.outputs; o++)
            if (p->steps[s].node.out[o] == v) return &p->steps[s];
    return NULL;
}

static size_t kept_for_value(const struct lam_program *p, lam_value v, int segment, bool keep);

/* Bytes of a sample that must be kept longer than they are, to have the op's inputs in segment `segment`; keep: they are
 * from now on. */
static size_t kept_for(const struct lam_program *p, const struct node *node, int segment, bool keep) {
    size_t bytes = 0;
    for (int i = 0; i < node->op.inputs; i++) bytes += kept_for_value(p, node->in[i], segment, keep);
    return bytes;
}

static size_t kept_for_value(const struct lam_program *p, lam_value v, int segment, bool keep) {
    if (v == LAM_NO_VALUE) return 0;
    struct program_value *value = &p->values[v];
    if (!value->value.batched || value->value.kind != VALUE_COMPUTED) return 0;
    if (value->depth > 0) return kept_for(p, &find_producer(p, v)->node, segment, keep);
    if (value->last_used >= 2 * segment + 1) return 0;
    if (keep) value->last_used = 2 * segment + 1;
    return value->sample_bytes;
}

/* Ops in the longest chain from kept values to the op's result. */
static int chain_depth(const struct lam_program *p, const struct node *node) {
    int depth = 0;
    for (int i = 0; i < node->op.inputs; i++)
        if (node->in[i] != LAM_NO_VALUE && p->values[node->in[i]].depth > depth)
            depth = p->values[node->in[i]].depth;
    return depth + 1;
}

static bool reads(const struct step *step, const struct node *producer) {
    for (int i = 0; i < step->node.op.inputs; i++)
        for (int o = 0; o < producer->op.outputs; o++)
            if (step->node.in[i] != LAM_NO_VALUE && step->node.in[i] == producer->out[o]) return true;
    return false;
}

/* Cheap, without reductions, not an output; what must be kept longer to have its inputs in every later segment that
 * reads it is nothing, or small beside it. (None may read it: it can still be a link in the chain of a value that is
 * read.) */
static bool can_rematerialize(const struct lam_program *p, const struct step *step) {
    if (!step->batched || !is_cheap(p, &step->node) || chain_depth(p, &step->node) > MOST_DEPTH) return false;
    size_t bytes = 0;
    for (int i = 0; i < step->node.op.outputs; i++) {
        if (step->node.out[i] == LAM_NO_VALUE) continue;
        const struct program_value *value = &p->values[step->node.out[i]];
        if (!value->value.batched || value->output >= 0) return false;
        bytes += value->sample_bytes;
    }
    for (int s = 0; s < p->step_count; s++) {
        const struct step *user = &p->steps[s];
        if (user->batched && user->when != step->when && reads(user, &step->node) &&
            kept_for(p, &step->node, user->when, false) > bytes / LEAST_GAIN)
            return false;
    }
    return true;
}

static void keep_inputs(const struct lam_program *p, const struct step *step) {
    for (int s = 0; s < p->step_count; s++) {
        const struct step *user = &p->steps[s];
        if (user->batched && user->when != step->when && reads(user, &step->node))
            kept_for(p, &step->node, user->when, true);
    }
}

/* Inserts a copy of steps[at] before steps[before], giving it fresh outputs; users in its segment read those.
 */
static lam_status clone_step(struct lam_program *p, int at, int before) {
    struct step clone = p->steps[at];
    clone.clone = true;
    clone.when = p->steps[before].when;
    for (int i = 0; i < clone.node.op.outputs; i++) {
        lam_value old = clone.node.out[i];
        if (old == LAM_NO_VALUE) continue;
        struct value copy = p->values[old].value;
        int fresh = add_value(p, &copy);
        if (fresh < 0) return lam_no_memory();
        p->values[fresh].sample_bytes = p->values[old].sample_bytes;
        p->values[fresh].defined = clone.when;
        p->values[fresh].last_used = 2 * clone.when + 1;
        clone.node.out[i] = fresh;
        for (int s = before; s < p->step_count; s++)
            for (int k = 0; k < p->steps[s].node.op.inputs; k++)
                if (p->steps[s].when == clone.when && p->steps[s].batched && p->steps[s].node.in[k] == old)
                    p->steps[s].node.in[k] = fresh;
    }
    if (!add_step(p, &clone.node)) return lam_no_memory();
    memmove(p->steps + before + 1, p->steps + before,
            (size_t)(p->step_count - 1 - before) * sizeof *p->steps);
    p->steps[before] = clone;
    return LAM_OK;
}

static bool is_again(const struct lam_program *p, const struct step *step) {
    for (int o = 0; o < step->node.op.outputs; o++)
        if (step->node.out[o] != LAM_NO_VALUE && p->values[step->node.out[o]].depth > 0) return true;
    return false;
}

/* Clones a step into every later segment that reads its result. */
static lam_status clone_for_users(struct lam_program *p, int at) {
    struct node producer = p->steps[at].node;
    for (int s = at + 1; s < p->step_count; s++)
        if (p->steps[s].batched && p->steps[s].when != p->steps[at].when && reads(&p->steps[s], &producer)) {
            LAM_TRY(clone_step(p, at, s));
            s++;
        }
    return LAM_OK;
}

/* Decided forwards, since the depth of a chain is known from its inputs; cloned backwards, since a clone
 * reads the op's inputs in a new segment. */
static lam_status rematerialize(struct lam_program *p) {
    for (int at = 0; at < p->step_count; at++) {
        const struct node *node = &p->steps[at].node;
        if (!can_rematerialize(p, &p->steps[at])) continue;
        int depth = chain_depth(p, node);
        for (int o = 0; o < node->op.outputs; o++)
            if (node->out[o] != LAM_NO_VALUE) p->values[node->out[o]].depth = depth;
        keep_inputs(p, &p->steps[at]);
    }
    for (int at = p->step_count - 1; at >= 0; at--)
        if (!p->steps[at].clone && is_again(p, &p->steps[at])) LAM_TRY(clone_for_users(p, at));
    find_last_uses(p);
    return LAM_OK;
}

/* ---- order ---- */

static lam_status group(struct lam_program *p, int segment_count) {
    struct step *ordered = malloc(sizeof *ordered * (size_t)(p->step_count + 1));
    p->segments = calloc((size_t)segment_count, sizeof *p->segments);
    p->stages = calloc((size_t)segment_count + 1, sizeof *p->stages);
    p->segment_count = segment_count;
    if (!ordered || !p->segments || !p->stages) {
        free(ordered);
        return lam_no_memory();
    }
    int count = 0;
    for (int t = 0; t < segment_count; t++) {
        p->segments[t].begin = count;
        for (int s = 0; s < p->step_count; s++)
            if (p->steps[s].batched && p->steps[s].when == t) ordered[count++] = p->steps[s];
        p->segments[t].end = count;
    }
    for (int t = 0; t <= segment_count; t++) {
        p->stages[t].begin = count;
        for (int s = 0; s < p->step_count; s++)
            if (!p->steps[s].batched && p->steps[s].when == t) ordered[count++] = p->steps[s];
        p->stages[t].end = count;
    }
    free(p->steps);
    p->steps = ordered;
    p->step_capacity = count + 1;
    return LAM_OK;
}

static void find_local(struct lam_program *p) {
    for (int v = 0; v < p->value_count; v++) {
        struct program_value *value = &p->values[v];
        value->local = value->value.batched && value->value.kind == VALUE_COMPUTED && value->output < 0 &&
                       value->last_used == 2 * value->defined + 1;
    }
}

static void describe_operands(struct lam_program *p) {
    for (int s = 0; s < p->step_count; s++) {
        struct node *node = &p->steps[s].node;
        for (int i = 0; i < node->op.inputs; i++) {
            if (node->in[i] == LAM_NO_VALUE) continue;
            const struct value *value = &p->values[node->in[i]].value;
            node->op.in[i] = (struct lam_operand){true, value->batched, value->desc};
        }
        for (int i = 0; i < node->op.outputs; i++) {
            if (node->out[i] == LAM_NO_VALUE) continue;
            const struct value *value = &p->values[node->out[i]].value;
            node->op.out[i] = (struct lam_operand){true, value->batched, value->desc};
        }
    }
}

lam_status lam_program_schedule(struct lam_program *p) {
    LAM_TRY(copy_graph(p));
    LAM_TRY(connect(p));
    int segment_count = assign_segments(p);
    find_last_uses(p);
    if (!lam_device_modes(p->device).keep_all) LAM_TRY(rematerialize(p));
    LAM_TRY(group(p, segment_count));
    find_local(p);
    describe_operands(p);
    return LAM_OK;
}
