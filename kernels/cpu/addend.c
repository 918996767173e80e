#include "cpu/addend.h"

#include <stdlib.h>
#include <string.h>

#include "cpu/layout_adapter.h"

struct addend_kernel {
    struct lam_kernel base;
    struct lam_kernel *inner, *sum, *relu; /* relu: NULL without one */
    int addend;
    size_t workspace_offset; /* of what follows the inner kernel */
};

static void destroy(struct lam_kernel *kernel) {
    struct addend_kernel *k = (struct addend_kernel *)kernel;
    struct lam_kernel *parts[] = {k->inner, k->sum, k->relu};
    for (size_t i = 0; i < sizeof parts / sizeof parts[0]; i++)
        if (parts[i]) parts[i]->destroy(parts[i]);
    free(k);
}

static void run(const struct lam_kernel *kernel, const struct lam_kernel_args *args) {
    const struct addend_kernel *k = (const struct addend_kernel *)kernel;
    k->inner->run(k->inner, args);
    struct lam_kernel_args behind = *args;
    behind.in[0] = args->out[0];
    behind.in[1] = args->in[k->addend];
    behind.workspace = (char *)args->workspace + k->workspace_offset;
    k->sum->run(k->sum, &behind);
    if (k->relu) k->relu->run(k->relu, &behind);
}

static void prepare(const struct lam_kernel *kernel, int input, const void *source, void *prepared, int part,
                    int parts, struct lam_stream *stream) {
    const struct lam_kernel *inner = ((const struct addend_kernel *)kernel)->inner;
    inner->prepare(inner, input, source, prepared, part, parts, stream);
}

static void reduce(const struct lam_kernel *kernel, void *const *partials, int partial_count,
                   void *const *out, int part, int parts, struct lam_stream *stream) {
    const struct lam_kernel *inner = ((const struct addend_kernel *)kernel)->inner;
    inner->reduce(inner, partials, partial_count, out, part, parts, stream);
}

/* Of the output in place: the sum with input `addend`, or ReLU. */
static lam_status make_pass(const struct lam_op *op, enum lam_op_kind kind,
                            const struct lam_kernel_options *options, struct lam_kernel **pass) {
    struct lam_op of = {.kind = kind, .inputs = kind == LAM_OP_ADD ? 2 : 1, .outputs = 1};
    of.in[0] = of.out[0] = op->out[0];
    if (kind == LAM_OP_ADD) of.in[1] = op->in[lam_op_addend(op->kind)];
    struct lam_kernel_options by_rule = *options;
    by_rule.choice = NULL;
    const char *chosen;
    return lam_cpu_create_for(kind)(&of, &by_rule, pass, &chosen);
}

static lam_status fill(struct addend_kernel *k, const struct lam_op *op,
                       const struct lam_kernel_options *options, const char **chosen) {
    struct lam_op inner = *op;
    bool relu = op->kind == LAM_OP_CONV && op->attr.conv.relu;
    k->addend = lam_op_addend(op->kind);
    inner.inputs = k->addend;
    inner.in[k->addend] = (struct lam_operand){.present = false};
    if (relu) inner.attr.conv.relu = false;
    LAM_TRY(lam_cpu_create_for(op->kind)(&inner, options, &k->inner, chosen));
    LAM_TRY(make_pass(op, LAM_OP_ADD, options, &k->sum));
    return relu ? make_pass(op, LAM_OP_RELU, options, &k->relu) : LAM_OK;
}

lam_status lam_cpu_addend_create(const struct lam_op *op, const struct lam_kernel_options *options,
                                 struct lam_kernel **kernel, const char **chosen) {
    struct lam_kernel *made;
    LAM_TRY(lam_cpu_kernel_new(sizeof(struct addend_kernel), op, &made));
    struct addend_kernel *k = (struct addend_kernel *)made;
    made->destroy = destroy;
    made->run = run;
    lam_status status = fill(k, op, options, chosen);
    if (status != LAM_OK) {
        destroy(made);
        return status;
    }
    k->workspace_offset = (k->inner->workspace_bytes + 63) / 64 * 64;
    made->workspace_bytes = k->workspace_offset + k->sum->workspace_bytes;
    made->partial_bytes = k->inner->partial_bytes;
    made->partial_is_output = k->inner->partial_is_output;
    memcpy(made->prepared_bytes, k->inner->prepared_bytes, sizeof made->prepared_bytes);
    memcpy(made->prepared_form, k->inner->prepared_form, sizeof made->prepared_form);
    if (k->inner->prepare) made->prepare = prepare;
    if (k->inner->reduce) made->reduce = reduce;
    *kernel = made;
    return LAM_OK;
}
