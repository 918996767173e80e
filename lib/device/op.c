#include "device/op.h"

static const struct {
    const char *name;
    bool cheap;
    int addend;
} ops[] = {
#define LAM_OP_ROW(suffix, name, cheap, addend) {name, cheap, addend},
    LAM_OP_TABLE(LAM_OP_ROW)
#undef LAM_OP_ROW
};

const char *lam_op_name(enum lam_op_kind kind) {
    return (unsigned)kind < LAM_OP_COUNT ? ops[kind].name : "?";
}

bool lam_op_is_cheap(enum lam_op_kind kind) {
    return (unsigned)kind < LAM_OP_COUNT && ops[kind].cheap;
}

int lam_op_addend(enum lam_op_kind kind) {
    return (unsigned)kind < LAM_OP_COUNT ? ops[kind].addend : -1;
}

static double count(const struct lam_operand *operand) {
    return (double)lam_shape_count(operand->desc.shape);
}

/* A convolution does weight.count / outputs multiply-adds for each output element; its gradients do the same
 * work. */
static double conv_flops(const struct lam_op *op) {
    const struct lam_operand *weight = op->kind == LAM_OP_CONV_BWD_WEIGHTS ? &op->out[0] : &op->in[1];
    const struct lam_operand *y = op->kind == LAM_OP_CONV            ? &op->out[0]
                                  : op->kind == LAM_OP_CONV_BWD_DATA ? &op->in[0]
                                                                     : &op->in[1];
    return 2 * count(weight) / (double)weight->desc.shape.dim[0] * count(y);
}

static double linear_flops(const struct lam_op *op) {
    const struct lam_operand *weight = op->kind == LAM_OP_LINEAR_BWD_WEIGHTS ? &op->out[0] : &op->in[1];
    const struct lam_operand *rows =
        op->kind == LAM_OP_LINEAR_BWD_DATA ? &op->out[0] : &op->in[0]; /* [..., I] */
    return 2 * count(weight) * count(rows) / (double)weight->desc.shape.dim[1];
}

double lam_op_flops(const struct lam_op *op) {
    switch (op->kind) {
    case LAM_OP_CONV:
    case LAM_OP_CONV_BWD_DATA:
    case LAM_OP_CONV_BWD_WEIGHTS:
        return conv_flops(op);
    case LAM_OP_LINEAR:
    case LAM_OP_LINEAR_BWD_DATA:
    case LAM_OP_LINEAR_BWD_WEIGHTS:
        return linear_flops(op);
    case LAM_OP_ATTENTION: /* two products of T x T x D; five backward */
        return 4 * count(&op->out[0]) * (double)op->out[0].desc.shape.dim[1];
    case LAM_OP_ATTENTION_BWD:
        return 10 * count(&op->in[0]) * (double)op->in[0].desc.shape.dim[1];
    default:
        return 0;
    }
}
