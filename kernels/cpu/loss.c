/* Losses: sums over the batch, and their gradients. Always in PLAIN, because padding channels would count.
 * The loops stand in loss_isa.c. Partials are double. */
#include "cpu/loss_isa.h"

#include <string.h>

#include "cpu/layout_adapter.h"
#include "cpu/ops.h"

struct loss_kernel {
    struct lam_kernel base;
    enum lam_simd_type type;
    const struct lam_loss_kernels *loops;
    lam_loss_sum_fn sum;
    lam_loss_slope_fn slope;
    int64_t row, classes; /* elements that share a weight; that share a label */
};

static const struct loss_kernel *of(const struct lam_kernel *kernel) {
    return (const struct loss_kernel *)kernel;
}

static lam_status loss_kernel_new(const struct lam_op *op, struct loss_kernel **kernel) {
    enum lam_dtype dtype = op->in[0].desc.dtype;
    if (dtype != LAM_F32 && dtype != LAM_BF16) return lam_cpu_unsupported(op, "losses are of f32 or bf16");
    struct lam_kernel *made = NULL;
    LAM_TRY(lam_cpu_kernel_new(sizeof(struct loss_kernel), op, &made));
    *kernel = (struct loss_kernel *)made;
    (*kernel)->type = lam_cpu_simd_type(dtype);
    (*kernel)->loops = LAM_ISA_PICK(lam_loss);
    return LAM_OK;
}

void lam_cpu_reduce_doubles(const struct lam_kernel *kernel, void *const *partials, int partial_count,
                            void *const *out, int part, int parts, struct lam_stream *stream) {
    (void)parts, (void)stream;
    if (part != 0) return;
    for (int o = 0; o < kernel->op.outputs; o++) {
        double sum = 0;
        for (int i = 0; i < partial_count; i++) sum += ((const double *)partials[i])[o];
        if (out[o]) *(float *)out[o] = (float)sum;
    }
}

/* ---- cross entropy ---- */

static bool cross_entropy_fits(const struct lam_op *op) {
    const struct lam_tensor_desc *logits = &op->in[0].desc, *target = &op->in[1].desc;
    if (logits->shape.rank != 2 || logits->shape.dim[1] < 1) return false;
    if (target->dtype == LAM_I32) return target->shape.rank == 1;
    return target->dtype == LAM_F32 && lam_shape_equal(target->shape, logits->shape);
}

/* Row n of a slice; false if its label is to be ignored. */
static bool row_of(const struct lam_kernel *kernel, const struct lam_kernel_args *args, int64_t n,
                   struct lam_cross_entropy_row *row) {
    const struct lam_op *op = &kernel->op;
    const struct lam_loss_attr *loss = &op->attr.loss;
    const int64_t classes = op->in[0].desc.shape.dim[1];
    const size_t bytes = (size_t)(n * classes) * lam_dtype_bytes(op->in[0].desc.dtype);
    *row = (struct lam_cross_entropy_row){.logits = (const char *)args->in[0] + bytes,
                                          .label = -1,
                                          .classes = classes,
                                          .smoothing = loss->smoothing,
                                          .scale = loss->scale};
    if (op->kind == LAM_OP_CROSS_ENTROPY_BWD) row->dlogits = (char *)args->out[0] + bytes;
    if (op->in[1].desc.dtype == LAM_F32) {
        row->target = (const float *)args->in[1] + n * classes;
        return true;
    }
    row->label = ((const int32_t *)args->in[1])[n];
    return row->label >= 0 && row->label < classes;
}

static float logit(const struct lam_kernel *kernel, const struct lam_cross_entropy_row *row, int64_t i) {
    if (kernel->op.in[0].desc.dtype == LAM_F32) return ((const float *)row->logits)[i];
    return lam_bf16_to_f32(((const uint16_t *)row->logits)[i]);
}

/* Is the first of the largest logits the first of the largest targets? */
static bool is_correct(const struct lam_kernel *kernel, const struct lam_cross_entropy_row *row) {
    int64_t best = 0, wanted = row->target ? 0 : row->label;
    for (int64_t i = 1; i < row->classes; i++) {
        if (logit(kernel, row, i) > logit(kernel, row, best)) best = i;
        if (row->target && row->target[i] > row->target[wanted]) wanted = i;
    }
    return best == wanted;
}

static void cross_entropy_run(const struct lam_kernel *kernel, const struct lam_kernel_args *args) {
    const struct loss_kernel *loss = of(kernel);
    double *partial = args->partial, sum = 0, correct = 0;
    for (int n = 0; n < args->count; n++) {
        struct lam_cross_entropy_row row;
        if (!row_of(kernel, args, n, &row)) continue;
        sum += loss->loops->cross_entropy[loss->type](&row);
        if (is_correct(kernel, &row)) correct += 1;
    }
    partial[0] = (args->accumulate ? partial[0] : 0) + sum * (double)kernel->op.attr.loss.scale;
    partial[1] = (args->accumulate ? partial[1] : 0) + correct;
}

lam_status lam_cpu_cross_entropy_create(const struct lam_op *op, const struct lam_kernel_options *options,
                                        struct lam_kernel **kernel, const char **chosen) {
    (void)options, (void)chosen;
    if (!cross_entropy_fits(op)) return lam_cpu_unsupported(op, "needs [N, K] and labels or probabilities");
    struct loss_kernel *loss = NULL;
    LAM_TRY(loss_kernel_new(op, &loss));
    loss->base.partial_bytes = 2 * sizeof(double);
    loss->base.run = cross_entropy_run;
    loss->base.reduce = lam_cpu_reduce_doubles;
    *kernel = &loss->base;
    return LAM_OK;
}

static void cross_entropy_bwd_run(const struct lam_kernel *kernel, const struct lam_kernel_args *args) {
    const struct loss_kernel *loss = of(kernel);
    for (int n = 0; n < args->count; n++) {
        struct lam_cross_entropy_row row;
        if (!row_of(kernel, args, n, &row)) row.scale = 0;
        loss->loops->cross_entropy_slope[loss->type](&row);
    }
}

lam_status lam_cpu_cross_entropy_bwd_create(const struct lam_op *op, const struct lam_kernel_options *options,
                                            struct lam_kernel **kernel, const char **chosen) {
    (void)options, (void)chosen;
    if (!cross_entropy_fits(op)) return lam_cpu_unsupported(op, "needs [N, K] and labels or probabilities");
    if (op->out[0].desc.dtype != op->in[0].desc.dtype)
        return lam_cpu_unsupported(op, "the gradient has the logits' type");
    struct loss_kernel *loss = NULL;
    LAM_TRY(loss_kernel_new(op, &loss));
    loss->base.run = cross_entropy_bwd_run;
    *kernel = &loss->base;
    return LAM_OK;
}

/* ---- elementwise losses ---- */

static const void *element(const void *base, int64_t at, const struct lam_operand *operand) {
    return (const char *)base + (size_t)at * lam_dtype_bytes(operand->desc.dtype);
}

/* Elements [begin, begin + count) of a slice. */
static struct lam_loss_terms terms_of(const struct lam_kernel *kernel, const struct lam_kernel_args *args,
                                      int64_t begin, int64_t count) {
    const struct lam_operand *x = &kernel->op.in[0], *target = &kernel->op.in[1];
    struct lam_loss_terms terms = {.x = element(args->in[0], begin, x),
                                   .count = count,
                                   .classes = of(kernel)->classes,
                                   .loss = kernel->op.attr.loss};
    if (target->desc.dtype == LAM_I32)
        terms.labels = element(args->in[1], begin / terms.classes, target);
    else
        terms.target = element(args->in[1], begin, target);
    if (kernel->op.kind == LAM_OP_LOSS_BWD)
        terms.dx = (void *)(uintptr_t)element(args->out[0], begin, &kernel->op.out[0]);
    return terms;
}

static bool has_weight(const struct lam_op *op) {
    return op->inputs > 2 && op->in[2].present;
}

static double weighted_sum(const struct lam_kernel *kernel, const struct lam_kernel_args *args) {
    const int64_t rows = lam_cpu_slice_elements(&kernel->op.in[2], args), length = of(kernel)->row;
    const float *weight = args->in[2];
    double sum = 0;
    for (int64_t r = 0; r < rows; r++) {
        if (weight[r] == 0) continue;
        struct lam_loss_terms terms = terms_of(kernel, args, r * length, length);
        sum += (double)weight[r] * of(kernel)->sum(&terms);
    }
    return sum;
}

static void loss_run(const struct lam_kernel *kernel, const struct lam_kernel_args *args) {
    double *partial = args->partial, sum;
    if (has_weight(&kernel->op)) {
        sum = weighted_sum(kernel, args);
    } else {
        struct lam_loss_terms all =
            terms_of(kernel, args, 0, lam_cpu_slice_elements(&kernel->op.in[0], args));
        sum = of(kernel)->sum(&all);
    }
    partial[0] = (args->accumulate ? partial[0] : 0) + sum * (double)kernel->op.attr.loss.scale;
}

/* Rows of weight 0 are cleared run by run: in a detector's box loss they are most. */
static void weighted_slope(const struct lam_kernel *kernel, const struct lam_kernel_args *args) {
    const int64_t rows = lam_cpu_slice_elements(&kernel->op.in[2], args), length = of(kernel)->row;
    const size_t row_bytes = (size_t)length * lam_dtype_bytes(kernel->op.out[0].desc.dtype);
    const float *weight = args->in[2];
    for (int64_t r = 0; r < rows;) {
        int64_t end = r;
        while (end < rows && weight[end] == 0) end++;
        memset((char *)args->out[0] + (size_t)r * row_bytes, 0, (size_t)(end - r) * row_bytes);
        for (r = end; r < rows && weight[r] != 0; r++) {
            struct lam_loss_terms terms = terms_of(kernel, args, r * length, length);
            terms.loss.scale *= weight[r];
            of(kernel)->slope(&terms);
        }
    }
}

static void loss_bwd_run(const struct lam_kernel *kernel, const struct lam_kernel_args *args) {
    if (has_weight(&kernel->op)) {
        weighted_slope(kernel, args);
        return;
    }
    struct lam_loss_terms all = terms_of(kernel, args, 0, lam_cpu_slice_elements(&kernel->op.in[0], args));
    of(kernel)->slope(&all);
}

static lam_status set_loops(const struct lam_op *op, enum lam_op_kind of_kind, struct loss_kernel *loss) {
    const struct lam_loss_kernels *k = loss->loops;
#define CASE(KIND, name)                                                                                     \
    case LAM_OP_##KIND:                                                                                      \
        loss->sum = k->name.sum[loss->type];                                                                 \
        loss->slope = k->name.slope[loss->type];                                                             \
        return LAM_OK;
    switch ((int)of_kind) {
        CASE(L1, l1)
        CASE(MSE, mse)
        CASE(SMOOTH_L1, smooth_l1)
        CASE(CHARBONNIER, charbonnier)
        CASE(BCE_LOGITS, bce)
        CASE(FOCAL, focal)
        CASE(QUALITY_FOCAL, quality_focal)
    default:
        return lam_cpu_unsupported(op, "no such loss");
    }
#undef CASE
}

/* Elements of x that each element of `part`, whose shape is the first dimensions of x's, stands for; 0: it is not. */
static int64_t elements_for_each(const struct lam_shape *x, const struct lam_shape *part) {
    if (part->rank < 1 || part->rank >= x->rank) return 0;
    int64_t elements = 1;
    for (int i = 0; i < x->rank; i++) {
        if (i >= part->rank)
            elements *= x->dim[i];
        else if (part->dim[i] != x->dim[i])
            return 0;
    }
    return elements;
}

static bool loss_fits(const struct lam_op *op) {
    const struct lam_tensor_desc *x = &op->in[0].desc, *target = &op->in[1].desc, *weight = &op->in[2].desc;
    enum lam_op_kind which = op->kind == LAM_OP_LOSS_BWD ? op->attr.loss.of : op->kind;
    if (has_weight(op) && (weight->dtype != LAM_F32 || !elements_for_each(&x->shape, &weight->shape)))
        return false;
    if (target->dtype == LAM_I32)
        return which == LAM_OP_FOCAL && target->shape.rank + 1 == x->shape.rank &&
               elements_for_each(&x->shape, &target->shape);
    return target->dtype == LAM_F32 && lam_shape_equal(x->shape, target->shape);
}

static lam_status loss_create(const struct lam_op *op, const struct lam_kernel_options *options,
                              lam_cpu_create_fn self, struct lam_kernel **kernel, const char **chosen) {
    if (lam_cpu_any_blocked(op)) return lam_cpu_adapt(op, options, LAM_PLAIN, self, kernel, chosen);
    if (!loss_fits(op))
        return lam_cpu_unsupported(
            op, "the target must be f32 of the same shape, or labels of the rows; a weight "
                "is f32 of the first dimensions");
    bool backward = op->kind == LAM_OP_LOSS_BWD;
    if (backward && op->out[0].desc.dtype != op->in[0].desc.dtype)
        return lam_cpu_unsupported(op, "the gradient has the type of x");
    struct loss_kernel *loss = NULL;
    LAM_TRY(loss_kernel_new(op, &loss));
    lam_status status = set_loops(op, backward ? op->attr.loss.of : op->kind, loss);
    if (status != LAM_OK) {
        loss->base.destroy(&loss->base);
        return status;
    }
    if (has_weight(op)) loss->row = elements_for_each(&op->in[0].desc.shape, &op->in[2].desc.shape);
    if (op->in[1].desc.dtype == LAM_I32)
        loss->classes = elements_for_each(&op->in[0].desc.shape, &op->in[1].desc.shape);
    loss->base.run = backward ? loss_bwd_run : loss_run;
    if (!backward) {
        loss->base.partial_bytes = sizeof(double);
        loss->base.reduce = lam_cpu_reduce_doubles;
    }
    *kernel = &loss->base;
    return LAM_OK;
}

#define CREATE(name)                                                                                         \
    lam_status lam_cpu_##name##_create(const struct lam_op *op, const struct lam_kernel_options *options,    \
                                       struct lam_kernel **kernel, const char **chosen) {                    \
        return loss_create(op, options, lam_cpu_##name##_create, kernel, chosen);                            \
    }
CREATE(l1)
CREATE(mse)
CREATE(smooth_l1)
CREATE(charbonnier)
CREATE(bce_logits)
CREATE(focal)
CREATE(quality_focal)
CREATE(loss_bwd)
