#include "bench/paper_cost.h"

static double elements(const struct lam_operand *operand) {
    return operand->present ? (double)lam_shape_count(operand->desc.shape) : 0;
}

static double bytes_of(const struct lam_operand *operand) {
    return elements(operand) * (double)lam_dtype_bytes(operand->desc.dtype);
}

/* ---- how kernels/cuda does it ---- */

static bool is_convolution(const struct lam_op *op) {
    return op->kind == LAM_OP_CONV || op->kind == LAM_OP_CONV_BWD_DATA;
}

static bool is_product(const struct lam_op *op) {
    return op->kind == LAM_OP_LINEAR || op->kind == LAM_OP_LINEAR_BWD_DATA;
}

static bool is_weight_gradient(const struct lam_op *op) {
    return op->kind == LAM_OP_CONV_BWD_WEIGHTS || op->kind == LAM_OP_LINEAR_BWD_WEIGHTS;
}

static bool is_attention(const struct lam_op *op) {
    return op->kind == LAM_OP_ATTENTION || op->kind == LAM_OP_ATTENTION_BWD;
}

/* Attention in bf16, of heads as they are usual. */
static bool on_tensor_cores(const struct lam_op *op) {
    const struct lam_tensor_desc *y = op->kind == LAM_OP_ATTENTION ? &op->out[0].desc : &op->in[0].desc;
    int64_t width = y->shape.dim[2] / op->attr.attention.heads;
    return y->dtype == LAM_BF16 && width <= 64 && width % 8 == 0;
}

/* Weights, and the bias where a library adds it, are brought into the order and type of the activations. */
static bool is_prepared(const struct lam_op *op, int input) {
    bool fused = op->kind == LAM_OP_LINEAR || op->kind == LAM_OP_CONV;
    if (!op->in[input].present || op->in[input].batched) return false;
    return (is_convolution(op) || is_product(op)) && (input == 1 || (input == 2 && fused));
}

/* cuDNN adds bias, addend and applies ReLU, but not without a bias; ReLU's absence wants IMPLICIT_PRECOMP_GEMM, which is taken
 * to be what it chooses. */
static bool has_pass_behind(const struct lam_op *op) {
    if (op->kind == LAM_OP_CONV) return !op->in[2].present && (op->attr.conv.relu || lam_op_has_addend(op));
    return op->kind == LAM_OP_CONV_BWD_DATA && lam_op_has_addend(op);
}

/* Pictures come as the loader makes them, and cuDNN sees them in the order of all other values; what an op has made of pixels is
 * in it. */
static bool is_reordered(const struct lam_program_op *at, int input) {
    const struct lam_op *op = at->op;
    const struct lam_operand *in = &op->in[input];
    return (op->kind == LAM_OP_CONV || op->kind == LAM_OP_CONV_BWD_WEIGHTS) && at->from_outside &&
           in->batched && in->desc.layout == LAM_PLAIN && in->desc.dtype == LAM_F32;
}

/* Kernels of a run. Sums over the batch are taken in two: of parts, then of the parts' sums, which may go with other small work
 * (paper_sum_copies). Of some networks, tests/gpu/programs.sh compares all launches of a step with those that emulated GPUs
 * count. */
static int run_launches(const struct lam_program_op *at) {
    const struct lam_op *op = at->op;
    switch (op->kind) {
    case LAM_OP_CONV:
    case LAM_OP_CONV_BWD_DATA:
        return 1 + has_pass_behind(op) + is_reordered(at, 0);
    case LAM_OP_CONV_BWD_WEIGHTS:
    case LAM_OP_LINEAR_BWD_WEIGHTS:
        return 1 + op->out[1].present + is_reordered(at, 0);
    case LAM_OP_BN_STATS: /* these add up their parts' sums by a kernel of their own */
    case LAM_OP_LAYER_NORM_BWD:
    case LAM_OP_MIX_BWD:
    case LAM_OP_GLOBAL_AVG_POOL:
    case LAM_OP_SLICE_BWD:
        return 2;
    case LAM_OP_L1: /* losses finish their sums by a kernel of their own */
    case LAM_OP_MSE:
    case LAM_OP_SMOOTH_L1:
    case LAM_OP_CHARBONNIER:
    case LAM_OP_BCE_LOGITS:
    case LAM_OP_FOCAL:
    case LAM_OP_QUALITY_FOCAL:
    case LAM_OP_GIOU:
    case LAM_OP_ATTENTION_BWD:
    case LAM_OP_TOKENS_BWD:
        return 3;
    case LAM_OP_CROSS_ENTROPY: /* two of them */
        return 4;
    default:
        return 1;
    }
}

/* A convolution or product shares prepared weights with its gradient, and where it is run again. cuDNN has not its fused form
 * for all convolutions: where the activations' type is another, a bias is kept in f32, too. */
int paper_weight_copies(const struct lam_program_op *at) {
    const struct lam_op *op = at->op;
    int count = 0;
    if (at->again || (op->kind != LAM_OP_CONV && op->kind != LAM_OP_LINEAR)) return 0;
    for (int i = 0; i < op->inputs; i++) count += is_prepared(op, i);
    bool both = op->kind == LAM_OP_CONV && is_prepared(op, 2) && op->in[0].desc.dtype != LAM_F32;
    return count + both;
}

/* Copies and sums of sums: one for each result that no kernel of the op's own finishes. */
int paper_sum_copies(const struct lam_program_op *at) {
    int count = 0;
    if (at->op->kind == LAM_OP_BN_STATS) return 0;
    for (int o = 0; o < at->op->outputs && at->batched; o++) {
        const struct lam_operand *out = &at->op->out[o];
        const bool loss = out->present && out->desc.shape.rank == 0;
        count += out->present && !out->batched && !loss;
    }
    return count;
}

struct paper_cost paper_cost_of_bundles(int64_t copies) {
    int64_t launches = (copies + PAPER_MOST_BUNDLED - 1) / PAPER_MOST_BUNDLED;
    return (struct paper_cost){.launches = launches, .bundles = launches, .copies = copies};
}

/* What kernels read or write more than once: column sums, the pass behind a convolution, the parts of attention. */
static double second_bytes(const struct lam_program_op *at) {
    const struct lam_op *op = at->op;
    double reordered = is_reordered(at, 0) ? 2 * bytes_of(&op->in[0]) : 0;
    if (has_pass_behind(op)) return reordered + 2 * bytes_of(&op->out[0]);
    if (is_weight_gradient(op)) return reordered + (op->out[1].present ? bytes_of(&op->in[1]) : 0);
    if (op->kind == LAM_OP_TOKENS_BWD) return bytes_of(&op->in[0]);
    if (op->kind == LAM_OP_ATTENTION_BWD) return 2 * bytes_of(&op->in[0]) + bytes_of(&op->in[1]);
    return reordered;
}

/* ---- one op ---- */

static double own_bytes(const struct lam_op *op) {
    double bytes = 0;
    double element = (double)lam_dtype_bytes(op->in[0].desc.dtype);
    for (int i = 0; i < op->inputs; i++)
        bytes += is_prepared(op, i) ? elements(&op->in[i]) * element : bytes_of(&op->in[i]);
    for (int o = 0; o < op->outputs; o++) bytes += bytes_of(&op->out[o]);
    return bytes;
}

/* Before and after the op: weights read and written, partial sums read and written. */
static double side_bytes(const struct lam_program_op *at) {
    const struct lam_op *op = at->op;
    double bytes = 0, element = (double)lam_dtype_bytes(op->in[0].desc.dtype);
    for (int i = 0; i < op->inputs && paper_weight_copies(at) > 0; i++)
        if (is_prepared(op, i)) bytes += bytes_of(&op->in[i]) + elements(&op->in[i]) * element;
    for (int o = 0; o < op->outputs && at->batched; o++)
        if (!op->out[o].batched) bytes += 2 * bytes_of(&op->out[o]);
    return bytes;
}

struct paper_cost paper_cost_of_op(const struct lam_program_op *at, const struct paper_gpu *gpu) {
    const struct lam_op *op = at->op;
    double flops = lam_op_flops(op), own = own_bytes(op), more = second_bytes(at) + side_bytes(at);
    double products =
        flops / (is_attention(op) && !on_tensor_cores(op) ? gpu->plain_flops : gpu->matrix_flops);
    double memory = own / gpu->bytes;
    int launches = run_launches(at);
    struct paper_cost cost = {
        .ops = 1,
        .launches = launches,
        .again_launches = at->again ? launches : 0,
        .flops = flops,
        .bytes = own + more,
        .matrix_bytes = flops > 0 ? own + more : 0,
        .again_flops = at->again ? flops : 0,
        .again_bytes = at->again ? own + more : 0,
        .seconds = (products > memory ? products : memory) + more / gpu->bytes,
    };
    return cost;
}

/* ---- the update ---- */

struct paper_cost paper_cost_of_update(const struct lam_optimizer_options *options,
                                       const struct lam_params *params, const struct paper_gpu *gpu) {
    const char *names[LAM_OPTIMIZER_STATES];
    int states = lam_optimizer_state_names(options, names);
    /* gradients and parameters for the sums; then gradients, and parameters and states there and back */
    double passes = 2 + 1 + 2 * (1 + states);
    double bytes = passes * (double)lam_params_count(params) * sizeof(float);
    return (struct paper_cost){.launches = lam_optimizer_calls(options, params),
                               .bytes = bytes,
                               .matrix_bytes = bytes,
                               .seconds = bytes / gpu->bytes};
}

/* ---- sums ---- */

void paper_cost_add(struct paper_cost *sum, const struct paper_cost *cost) {
    sum->ops += cost->ops;
    sum->launches += cost->launches;
    sum->bundles += cost->bundles;
    sum->copies += cost->copies;
    sum->again_launches += cost->again_launches;
    sum->flops += cost->flops;
    sum->bytes += cost->bytes;
    sum->matrix_bytes += cost->matrix_bytes;
    sum->again_flops += cost->again_flops;
    sum->again_bytes += cost->again_bytes;
    sum->seconds += cost->seconds;
}

double paper_cost_seconds(const struct paper_cost *cost, const struct paper_gpu *gpu, bool recorded) {
    double on_gpu = cost->seconds + (double)cost->launches * gpu->node;
    double by_host = (double)cost->launches * gpu->launch;
    return recorded || on_gpu > by_host ? on_gpu : by_host;
}
