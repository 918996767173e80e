/* Cross entropy of rows of logits with labels or probabilities, and its gradient. */
#include "cuda/loss_sums.cuh"
#include "cuda/operands.cuh"
#include "cuda/ops.h"
#include "cuda/row_team.cuh"

namespace {

struct distribution {
    int classes;
    float smoothing, scale;
};

/* What a row is to be: `label`, or `target` where that is not NULL. */
struct wanted_row {
    const float *target;
    int label;
};

__device__ wanted_row wanted_of(const float *target, const int32_t *labels, int64_t row, int classes) {
    if (target) return {target + row * classes, -1};
    return {nullptr, labels[row]};
}
__device__ bool is_ignored(const wanted_row &wanted, int classes) {
    return !wanted.target && (wanted.label < 0 || wanted.label >= classes);
}
__device__ float share_of(const wanted_row &wanted, int j) {
    if (wanted.target) return wanted.target[j];
    return j == wanted.label ? 1.0f : 0.0f;
}

/* The sum of e^(x - most). A NaN in the row is in the sum. */
template <typename Team, typename T>
__device__ float exponential_sum(Team team, const T *x, int classes, float *most) {
    float largest = -INFINITY, sum = 0;
    for (int j = rank_in(team); j < classes; j += size_of(team)) largest = fmaxf(largest, load(x + j));
    largest = team_max(team, largest);
    for (int j = rank_in(team); j < classes; j += size_of(team)) sum += expf(load(x + j) - largest);
    *most = largest;
    return team_sum(team, sum);
}

template <typename Team, typename T>
__device__ double row_loss(Team team, const T *x, const wanted_row &wanted, const distribution &d) {
    float most, sum = exponential_sum(team, x, d.classes, &most);
    double s = (double)d.smoothing, all = 0, asked = 0, weight = 0;
    for (int j = rank_in(team); j < d.classes; j += size_of(team)) {
        double z = (double)load(x + j) - (double)most, t = (double)share_of(wanted, j);
        weight += t;
        if (t > 0) asked += t * z; /* a logit of -infinity counts only where it is asked for */
        all += z;
    }
    weight = (1 - s) * team_sum(team, weight) + s;
    asked = team_sum(team, asked);
    all = team_sum(team, all);
    double smooth = s > 0 ? s / d.classes * all : 0;
    return weight * (double)logf(sum) - (1 - s) * asked - smooth;
}

/* Is the first of the largest logits the first of the largest targets? */
template <typename Team, typename T>
__device__ bool is_correct(Team team, const T *x, const wanted_row &wanted, const distribution &d) {
    ranked best = {-INFINITY, 0}, target = {-INFINITY, 0};
    for (int j = rank_in(team); j < d.classes; j += size_of(team)) {
        best = larger(best, {load(x + j), j});
        target = larger(target, {share_of(wanted, j), j});
    }
    return team_largest(team, best).place == team_largest(team, target).place;
}

template <typename Team, typename T>
__global__ void cross_entropy(const T *logits, const float *target, const int32_t *labels, double *sums,
                              int64_t rows, distribution d) {
    const Team team;
    double loss = 0, correct = 0;
    for (int64_t row = first_row(team); row < rows; row += row_step(team)) {
        const wanted_row wanted = wanted_of(target, labels, row, d.classes);
        if (is_ignored(wanted, d.classes)) continue;
        const T *x = logits + row * d.classes;
        double of_row = row_loss(team, x, wanted, d);
        bool right = is_correct(team, x, wanted, d);
        if (rank_in(team) != 0) continue;
        loss += of_row;
        correct += right ? 1 : 0;
    }
    loss_sum_leave(sums, 0, loss, shared_memory<double>());
    loss_sum_leave(sums, 1, correct, shared_memory<double>());
}

/* scale (weight softmax - target distribution); the weight is the distribution's sum, 1 for a proper one. */
template <typename Team, typename T>
__global__ void cross_entropy_bwd(const T *logits, const float *target, const int32_t *labels, T *dlogits,
                                  int64_t rows, distribution d) {
    const Team team;
    const float keep = 1 - d.smoothing, floor = d.smoothing / (float)d.classes;
    for (int64_t row = first_row(team); row < rows; row += row_step(team)) {
        const wanted_row wanted = wanted_of(target, labels, row, d.classes);
        const T *x = logits + row * d.classes;
        T *dx = dlogits + row * d.classes;
        if (is_ignored(wanted, d.classes)) {
            for (int j = rank_in(team); j < d.classes; j += size_of(team)) store(dx + j, 0.0f);
            continue;
        }
        float most, sum = exponential_sum(team, x, d.classes, &most), weight = 0;
        for (int j = rank_in(team); j < d.classes; j += size_of(team)) weight += share_of(wanted, j);
        float share = (keep * team_sum(team, weight) + d.smoothing) / sum;
        for (int j = rank_in(team); j < d.classes; j += size_of(team)) {
            float p = expf(load(x + j) - most) * share;
            store(dx + j, d.scale * (p - fmaf(keep, share_of(wanted, j), floor)));
        }
    }
}

/* ---- kernels ---- */

distribution distribution_of(const struct lam_op *op) {
    return {(int)op->in[0].desc.shape.dim[1], op->attr.loss.smoothing, op->attr.loss.scale};
}

/* The target as probabilities and as labels; one of them is NULL. */
const float *probabilities(const struct lam_kernel *kernel, const struct lam_kernel_args *args) {
    return kernel->op.in[1].desc.dtype == LAM_F32 ? (const float *)args->in[1] : nullptr;
}
const int32_t *labels_of(const struct lam_kernel *kernel, const struct lam_kernel_args *args) {
    return kernel->op.in[1].desc.dtype == LAM_I32 ? (const int32_t *)args->in[1] : nullptr;
}

void forward_run(const struct lam_kernel *kernel, const struct lam_kernel_args *args) {
    const distribution d = distribution_of(&kernel->op);
    with_team(d.classes, [&](auto team) {
        with_float_type(kernel->op.in[0].desc.dtype, [&](auto *type) {
            using T = std::remove_pointer_t<decltype(type)>;
            dim3 grid = team_grid(team, args->stream, args->count);
            grid.x = std::min<unsigned>(grid.x, LOSS_BLOCKS);
            lam_launch(args->stream, "cross_entropy", cross_entropy<decltype(team), T>, grid, TEAM_THREADS,
                       TEAM_SHARED, (const T *)args->in[0], probabilities(kernel, args),
                       labels_of(kernel, args), (double *)args->workspace, args->count, d);
            loss_sums_fold(kernel, args, (int)grid.x, d.scale);
        });
    });
}

void backward_run(const struct lam_kernel *kernel, const struct lam_kernel_args *args) {
    const distribution d = distribution_of(&kernel->op);
    with_team(d.classes, [&](auto team) {
        with_float_type(kernel->op.in[0].desc.dtype, [&](auto *type) {
            using T = std::remove_pointer_t<decltype(type)>;
            lam_launch(args->stream, "cross_entropy_bwd", cross_entropy_bwd<decltype(team), T>,
                       team_grid(team, args->stream, args->count), TEAM_THREADS, TEAM_SHARED,
                       (const T *)args->in[0], probabilities(kernel, args), labels_of(kernel, args),
                       (T *)args->out[0], args->count, d);
        });
    });
}

bool fits(const struct lam_op *op) {
    const struct lam_tensor_desc *logits = &op->in[0].desc, *target = &op->in[1].desc;
    if (logits->shape.rank != 2 || logits->shape.dim[1] < 1) return false;
    if (!op->in[0].batched || !is_float(op->in[0])) return false;
    if (target->dtype == LAM_I32) return target->shape.rank == 1;
    return target->dtype == LAM_F32 && lam_shape_equal(target->shape, logits->shape);
}

lam_status create(const struct lam_op *op, struct lam_kernel **kernel) {
    const bool backward = op->kind == LAM_OP_CROSS_ENTROPY_BWD;
    if (!fits(op))
        return feature_op_unsupported(op, "needs [N, K] of f32 or bf16 and labels or probabilities");
    if (backward && op->out[0].desc.dtype != op->in[0].desc.dtype)
        return feature_op_unsupported(op, "the gradient has the logits' type");
    simple_kernel *made = nullptr;
    LAM_TRY(feature_op_new(op, &made));
    *kernel = &made->base;
    (*kernel)->run = backward ? backward_run : forward_run;
    if (!backward) loss_sums_declare(*kernel);
    return LAM_OK;
}

} // namespace

LAM_CUDA_CREATE(lam_cuda_cross_entropy_create, create)
LAM_CUDA_CREATE(lam_cuda_cross_entropy_bwd_create, create)
