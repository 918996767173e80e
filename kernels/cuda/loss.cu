/* The elementwise losses: their sums over the batch, and their gradients.
 *
 * Elements are taken in the order of the logical shape, sample by sample, which is also that of weights and labels. Where all
 * operands lie in one and the same order and there are neither weights nor labels, the order does not matter, and the slice
 * is taken for a single sample. */
#include "cuda/loss_sums.cuh"
#include "cuda/operands.cuh"
#include "cuda/ops.h"

namespace {

enum { STRETCH = 32 /* terms that are added in f32 */ };

/* ---- the losses: value and slope of a term ---- */

struct l1 {};
struct mse {};
struct smooth_l1 {};
struct charbonnier {};
struct bce_logits {};
struct focal {};
struct quality_focal {};

__device__ float sign(float d) {
    return d > 0 ? 1.0f : d < 0 ? -1.0f : d; /* NaN stays */
}

/* softplus(z), softplus(-z) and sigmoid(z) from one exponential. */
struct logistic {
    float plus, minus, sigmoid;
};
__device__ logistic logistic_of(float z) {
    float small = expf(-fabsf(z)), rest = log1pf(small), share = 1.0f / (1.0f + small);
    return {fmaxf(z, 0.0f) + rest, fmaxf(-z, 0.0f) + rest, z < 0 ? small * share : share};
}

__device__ float value_of(l1, float x, float t, const struct lam_loss_attr &) {
    return fabsf(x - t);
}
__device__ float slope_of(l1, float x, float t, const struct lam_loss_attr &) {
    return sign(x - t);
}

__device__ float value_of(mse, float x, float t, const struct lam_loss_attr &) {
    return (x - t) * (x - t);
}
__device__ float slope_of(mse, float x, float t, const struct lam_loss_attr &) {
    return 2 * (x - t);
}

__device__ float value_of(smooth_l1, float x, float t, const struct lam_loss_attr &loss) {
    float d = x - t, size = fabsf(d);
    return size < loss.beta ? d * d / (2 * loss.beta) : size - 0.5f * loss.beta;
}
__device__ float slope_of(smooth_l1, float x, float t, const struct lam_loss_attr &loss) {
    float d = x - t;
    return fabsf(d) < loss.beta ? d / loss.beta : sign(d);
}

__device__ float value_of(charbonnier, float x, float t, const struct lam_loss_attr &loss) {
    return sqrtf((x - t) * (x - t) + loss.beta * loss.beta);
}
__device__ float slope_of(charbonnier c, float x, float t, const struct lam_loss_attr &loss) {
    return (x - t) / value_of(c, x, t, loss);
}

__device__ float value_of(bce_logits, float x, float t, const struct lam_loss_attr &) {
    return logistic_of(x).plus - x * t;
}
__device__ float slope_of(bce_logits, float x, float t, const struct lam_loss_attr &) {
    return logistic_of(x).sigmoid - t;
}

/* Lin et al. 2017, equation 5, with z = x or -x so that p_t = sigmoid(z): alpha_t (1 - p_t)^gamma softplus(-z), where 1 - p_t =
 * e^-softplus(z). Targets below 0 count nothing. */
__device__ float value_of(focal, float x, float t, const struct lam_loss_attr &loss) {
    if (t < -0.5f) return 0;
    float alpha = t > 0.5f ? loss.alpha : 1 - loss.alpha;
    logistic z = logistic_of(t > 0.5f ? x : -x);
    return alpha * expf(-loss.gamma * z.plus) * z.minus;
}
__device__ float slope_of(focal, float x, float t, const struct lam_loss_attr &loss) {
    if (t < -0.5f) return 0;
    float alpha = t > 0.5f ? loss.alpha : 1 - loss.alpha;
    logistic z = logistic_of(t > 0.5f ? x : -x);
    float dz = alpha * expf(-loss.gamma * z.plus) * (z.sigmoid - 1 - loss.gamma * z.sigmoid * z.minus);
    return t > 0.5f ? dz : -dz;
}

/* Li et al. 2020, equation 3 with beta 2: d^2 (softplus(x) - t x), d = sigmoid(x) - t, which is also the entropy's slope. */
__device__ float value_of(quality_focal, float x, float t, const struct lam_loss_attr &) {
    if (t < -0.5f) return 0;
    logistic z = logistic_of(x);
    float d = z.sigmoid - t;
    return d * d * (z.plus - t * x);
}
__device__ float slope_of(quality_focal, float x, float t, const struct lam_loss_attr &) {
    if (t < -0.5f) return 0;
    logistic z = logistic_of(x);
    float d = z.sigmoid - t, p = z.sigmoid;
    return d * (2 * p * (1 - p) * (z.plus - t * x) + d * d);
}

/* ---- operands ---- */

struct loss_form {
    struct lam_loss_attr loss;
    element_order x, target, dx;
    struct divisor row, classes;        /* elements that share a weight; that share a label */
    uint32_t elements, weights, labels; /* of a sample */
    int samples;
};

/* One term: its operands, or that it has none. */
struct term {
    float x, target, weight;
};

/* The target by its row's label (op.h, FOCAL). */
__device__ float label_target(int32_t label, uint32_t place, uint32_t classes) {
    if (label < -1 || (label >= 0 && (uint32_t)label >= classes)) return -1;
    return label >= 0 && (uint32_t)label == place ? 1.0f : 0.0f;
}

/* Element e of sample n. Where the weight is 0, nothing else is looked at. */
template <typename T>
__device__ term term_of(const T *x, const float *target, const int32_t *labels, const float *weight, int n,
                        uint32_t e, const loss_form &form) {
    const int64_t sample = (int64_t)n * form.elements;
    term t = {0, 0, 1};
    if (weight) t.weight = weight[(int64_t)n * form.weights + divide(e, form.row)];
    if (t.weight == 0) return t;
    t.x = load(x + sample + place_of(e, form.x));
    if (labels) {
        uint32_t row = divide(e, form.classes), classes = form.classes.value;
        t.target = label_target(labels[(int64_t)n * form.labels + row], e - row * classes, classes);
    } else {
        t.target = target[sample + place_of(e, form.target)];
    }
    return t;
}

template <typename Loss, typename T>
__global__ void loss_sum(const T *x, const float *target, const int32_t *labels, const float *weight,
                         double *sums, loss_form form) {
    double sum = 0;
    for (int n = (int)blockIdx.y; n < form.samples; n += (int)gridDim.y)
        for (uint32_t e = (uint32_t)first_index(); e < form.elements;) {
            float stretch = 0;
            for (int i = 0; i < STRETCH && e < form.elements; i++, e += (uint32_t)index_step()) {
                term t = term_of(x, target, labels, weight, n, e, form);
                if (t.weight != 0) stretch += t.weight * value_of(Loss(), t.x, t.target, form.loss);
            }
            sum += (double)stretch;
        }
    loss_sum_leave(sums, 0, sum, shared_memory<double>());
}

template <typename Loss, typename T>
__global__ void loss_slope(const T *x, const float *target, const int32_t *labels, const float *weight, T *dx,
                           loss_form form) {
    for (int n = (int)blockIdx.y; n < form.samples; n += (int)gridDim.y)
        for (uint32_t e = (uint32_t)first_index(); e < form.elements; e += (uint32_t)index_step()) {
            term t = term_of(x, target, labels, weight, n, e, form);
            float slope = 0;
            if (t.weight != 0)
                slope = form.loss.scale * t.weight * slope_of(Loss(), t.x, t.target, form.loss);
            store(dx + (int64_t)n * form.elements + place_of(e, form.dx), slope);
        }
}

/* ---- kernels ---- */

bool has_weight(const struct lam_op *op) {
    return op->inputs > 2 && op->in[2].present;
}
bool has_labels(const struct lam_op *op) {
    return op->in[1].desc.dtype == LAM_I32;
}

/* Do all operands lie in one order, so that it does not matter which? */
bool one_order(const struct lam_op *op) {
    if (has_weight(op) || has_labels(op)) return false;
    bool plain = order_of(op->in[0]).plain;
    if (order_of(op->in[1]).plain != plain) return false;
    return op->kind != LAM_OP_LOSS_BWD || order_of(op->out[0]).plain == plain;
}

loss_form form_of(const struct lam_op *op, int count) {
    const struct lam_operand *x = &op->in[0];
    loss_form form = {};
    form.loss = op->attr.loss;
    form.samples = (int)samples_of(*x, count);
    form.elements = (uint32_t)elements_of(*x);
    form.x = order_of(*x);
    form.target = has_labels(op) ? form.x : order_of(op->in[1]);
    form.dx = op->kind == LAM_OP_LOSS_BWD ? order_of(op->out[0]) : form.x;
    form.row = form.classes = divisor_of(1);
    if (has_weight(op)) {
        form.weights = (uint32_t)elements_of(op->in[2]);
        form.row = divisor_of(form.elements / form.weights);
    }
    if (has_labels(op)) {
        form.labels = (uint32_t)elements_of(op->in[1]);
        form.classes = divisor_of(form.elements / form.labels);
    }
    if (one_order(op) && (int64_t)form.elements * form.samples <= INT32_MAX) {
        form.elements *= (uint32_t)form.samples;
        form.samples = 1;
        form.x = form.target = form.dx = {true, 1, divisor_of(1)};
    }
    return form;
}

template <typename F> void with_loss(enum lam_op_kind kind, F f) {
    switch ((int)kind) {
    case LAM_OP_L1:
        return f(l1());
    case LAM_OP_MSE:
        return f(mse());
    case LAM_OP_SMOOTH_L1:
        return f(smooth_l1());
    case LAM_OP_CHARBONNIER:
        return f(charbonnier());
    case LAM_OP_BCE_LOGITS:
        return f(bce_logits());
    case LAM_OP_FOCAL:
        return f(focal());
    case LAM_OP_QUALITY_FOCAL:
        return f(quality_focal());
    }
}

/* The operands of a launch; absent ones are NULL. */
struct pointers {
    const float *target, *weight;
    const int32_t *labels;
};
pointers pointers_of(const struct lam_op *op, const struct lam_kernel_args *args) {
    pointers p = {};
    if (has_labels(op))
        p.labels = (const int32_t *)args->in[1];
    else
        p.target = (const float *)args->in[1];
    if (has_weight(op)) p.weight = (const float *)args->in[2];
    return p;
}

dim3 sum_grid(const loss_form &form) {
    const unsigned y = (unsigned)std::min<int64_t>(form.samples, LOSS_BLOCKS);
    const int64_t x = ((int64_t)form.elements + 4 * LOSS_THREADS - 1) / (4 * LOSS_THREADS);
    return dim3((unsigned)std::clamp<int64_t>(x, 1, LOSS_BLOCKS / y), y);
}

void sum_run(const struct lam_kernel *kernel, const struct lam_kernel_args *args) {
    const struct lam_op *op = &kernel->op;
    const loss_form form = form_of(op, args->count);
    const pointers p = pointers_of(op, args);
    const dim3 grid = sum_grid(form);
    with_loss(op->kind, [&](auto loss) {
        with_float_type(op->in[0].desc.dtype, [&](auto *type) {
            using T = std::remove_pointer_t<decltype(type)>;
            lam_launch(args->stream, "loss", loss_sum<decltype(loss), T>, grid, LOSS_THREADS,
                       WARP * sizeof(double), (const T *)args->in[0], p.target, p.labels, p.weight,
                       (double *)args->workspace, form);
        });
    });
    loss_sums_fold(kernel, args, (int)(grid.x * grid.y), form.loss.scale);
}

void slope_run(const struct lam_kernel *kernel, const struct lam_kernel_args *args) {
    const struct lam_op *op = &kernel->op;
    const loss_form form = form_of(op, args->count);
    const pointers p = pointers_of(op, args);
    const dim3 grid = sample_grid(args->stream, form.elements, form.samples, LOSS_THREADS);
    with_loss(op->attr.loss.of, [&](auto loss) {
        with_float_type(op->in[0].desc.dtype, [&](auto *type) {
            using T = std::remove_pointer_t<decltype(type)>;
            lam_launch(args->stream, "loss_bwd", loss_slope<decltype(loss), T>, grid, LOSS_THREADS, 0,
                       (const T *)args->in[0], p.target, p.labels, p.weight, (T *)args->out[0], form);
        });
    });
}

/* Is the shape that of x's first dimensions, but not of all? */
bool is_beginning(const struct lam_shape *x, const struct lam_shape *part) {
    if (part->rank < 1 || part->rank >= x->rank) return false;
    return std::equal(part->dim, part->dim + part->rank, x->dim);
}

bool fits(const struct lam_op *op, enum lam_op_kind which) {
    const struct lam_tensor_desc *x = &op->in[0].desc, *target = &op->in[1].desc, *weight = &op->in[2].desc;
    if (!op->in[0].batched || !is_float(op->in[0])) return false;
    if (has_weight(op) && (weight->dtype != LAM_F32 || !is_beginning(&x->shape, &weight->shape)))
        return false;
    if (has_labels(op))
        return which == LAM_OP_FOCAL && target->shape.rank + 1 == x->shape.rank &&
               is_beginning(&x->shape, &target->shape);
    return target->dtype == LAM_F32 && lam_shape_equal(x->shape, target->shape);
}

lam_status create(const struct lam_op *op, struct lam_kernel **kernel) {
    const bool backward = op->kind == LAM_OP_LOSS_BWD;
    const enum lam_op_kind which = backward ? op->attr.loss.of : op->kind;
    if (which < LAM_OP_L1 || which > LAM_OP_QUALITY_FOCAL) return feature_op_unsupported(op, "no such loss");
    if (!fits(op, which))
        return feature_op_unsupported(
            op, "x must be batched, f32 or bf16; the target f32 of the same shape, or labels of the "
                "rows; a weight is f32 of the first dimensions");
    if (backward && op->out[0].desc.dtype != op->in[0].desc.dtype)
        return feature_op_unsupported(op, "the gradient has the type of x");
    simple_kernel *made = nullptr;
    LAM_TRY(feature_op_new(op, &made));
    *kernel = &made->base;
    (*kernel)->run = backward ? slope_run : sum_run;
    if (!backward) loss_sums_declare(*kernel);
    return LAM_OK;
}

} // namespace

LAM_CUDA_CREATE(lam_cuda_l1_create, create)
LAM_CUDA_CREATE(lam_cuda_mse_create, create)
LAM_CUDA_CREATE(lam_cuda_smooth_l1_create, create)
LAM_CUDA_CREATE(lam_cuda_charbonnier_create, create)
LAM_CUDA_CREATE(lam_cuda_bce_logits_create, create)
LAM_CUDA_CREATE(lam_cuda_focal_create, create)
LAM_CUDA_CREATE(lam_cuda_quality_focal_create, create)
LAM_CUDA_CREATE(lam_cuda_loss_bwd_create, create)
