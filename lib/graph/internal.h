/* Inside lib/graph: the graph's own data, shared by the files that build, differentiate, fuse and compile it.
 */
#ifndef LAM_GRAPH_INTERNAL_H
#define LAM_GRAPH_INTERNAL_H

#include "graph/graph.h"

enum value_kind {
    VALUE_INPUT,    /* filled by the caller */
    VALUE_PARAM,    /* in the flat parameter buffer */
    VALUE_BUFFER,   /* in the flat buffer of running statistics */
    VALUE_GRADIENT, /* in the flat gradient buffer */
    VALUE_COMPUTED,
};

struct value {
    enum value_kind kind;
    struct lam_tensor_desc desc;
    bool batched;
    bool needs_grad;
    bool detached;   /* this handle stands for `alias`, without its gradient */
    lam_value alias; /* LAM_NO_VALUE: none */
    int param;       /* PARAM, BUFFER, GRADIENT: index into the lam_params */
    int producer;    /* COMPUTED, GRADIENT, BUFFER updates: node that writes it, -1: none */
};

struct node {
    struct lam_op op; /* operand descriptions are filled in by compile */
    lam_value in[LAM_MAX_INPUTS], out[LAM_MAX_OUTPUTS];
    bool stops[LAM_MAX_INPUTS]; /* no gradient to this input: it came through lam_detach */
    bool dead;
    bool backward; /* appended by lam_graph_backward */
    int tag;       /* lam_graph_tag; a gradient's is that of the op it belongs to */
};

struct named_value {
    char *name;
    lam_value value;
    bool border; /* bound by the caller; in the device's layout unless plain */
    bool plain;
};

struct lam_graph {
    struct lam_params *params;
    int64_t batch;
    enum lam_dtype compute;
    bool training;
    bool fused;
    bool frozen; /* parameters are declared as buffers */
    int tag;
    struct lam_error error; /* first failure; status LAM_OK: none */

    struct value *values;
    int value_count, value_capacity;
    struct node *nodes;
    int node_count, node_capacity;
    struct named_value *inputs, *outputs;
    int input_count, output_count, input_capacity, output_capacity;

    char scope[256];
    size_t scope_lengths[16]; /* of the enclosing scopes */
    int scope_depth;
};

/* ---- building (graph.c) ---- */

/* Records the first failure; returns LAM_NO_VALUE. */
lam_value lam_graph_fail(struct lam_graph *graph, lam_status status, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
bool lam_graph_bad(const struct lam_graph *graph,
                   lam_value value); /* graph failed already, or value is none */

struct value *lam_graph_value(const struct lam_graph *graph, lam_value value);
/* Follows aliases to the value that holds the data. */
lam_value lam_graph_root(const struct lam_graph *graph, lam_value value);

lam_value lam_graph_new_value(struct lam_graph *graph, enum lam_dtype dtype, struct lam_shape shape,
                              bool batched);

/* Appends an op; absent operands are LAM_NO_VALUE. Inputs may be aliases. NULL on failure. */
struct node *lam_graph_add(struct lam_graph *graph, enum lam_op_kind kind, const union lam_op_attr *attr,
                           const lam_value *in, int in_count, const lam_value *out, int out_count);
/* One input, one batched output of the given type and shape. */
lam_value lam_graph_unary(struct lam_graph *graph, enum lam_op_kind kind, const union lam_op_attr *attr,
                          lam_value x, enum lam_dtype dtype, struct lam_shape shape);
/* The value in the graph's compute type. */
lam_value lam_graph_to_compute(struct lam_graph *graph, lam_value x);

/* Grows an array of `size`-byte items to hold one more. */
bool lam_graph_grow(void **items, int count, int *capacity, size_t size);

/* How many live nodes and outputs read each value; caller frees. NULL: out of memory. */
int *lam_graph_uses(const struct lam_graph *graph);

/* ---- parameters (params.c) ---- */

/* Initial values into flat buffers laid out like the parameters'; on the device. */
lam_status lam_params_draw(const struct lam_params *params, struct lam_device *device, uint64_t seed,
                           float *values, float *buffers);

/* ---- passes ---- */

/* fuse.c: each done once, before and behind differentiation. */
lam_status lam_graph_fuse(struct lam_graph *graph);
/* `kept`: gradients that are read from outside. */
lam_status lam_graph_fuse_gradients(struct lam_graph *graph, const lam_value *kept, int count);

/* ---- memory planning (plan.c) ---- */

struct plan_item {
    size_t bytes;
    int begin, end; /* live from begin to end, both included */
    size_t offset;  /* result, 64-byte aligned */
    /* Not 0: the item consists of rows of so many bytes, and a time step goes through them row by row. An item that is
     * written for the first time behind the last reading of another one, row by row of the same size, may have its place. */
    size_t row;
    int written,
        read; /* the first writing in step `begin` and the last reading in step `end`, on a common scale */
};
/* Gives every item an offset such that items alive at the same time do not overlap, but where one takes the other's
 * place as above; returns the bytes needed. */
size_t lam_plan(struct plan_item *items, int count);

#endif
