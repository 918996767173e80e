/* Generalised IoU loss of decoded boxes, and its gradient by the deltas. In doubles: only the rows of anchors that are to find
 * something have a weight, a few of thousands; the rest are skipped.
 *
 * Seen along one axis, a box is a centre and a size, and so are all lengths here: they are taken from the anchor's centre, so
 * that nothing is lost far from the image's corner. Areas are products over the two axes. */
#include "cuda/loss_sums.cuh"
#include "cuda/operands.cuh"
#include "cuda/ops.h"

namespace {

#define LARGEST_STRETCH 4.135166556742356 /* log(1000 / 16) */
#define EPS             1e-7

/* One axis: the box's size, how it overlaps with the target, and how the lengths change with centre and size. */
struct axis {
    double anchor, size, target; /* sizes */
    double inner, outer;         /* of intersection and enclosing box */
    double inner_by_centre, inner_by_size, outer_by_centre, outer_by_size;
    bool stretched_most; /* the size does not change with its delta any more */
};

/* NaN passes through every comparison here. */
__device__ axis axis_of(const float *anchor, const float *target, double shift, double stretch) {
    const double middle = 0.5 * ((double)anchor[0] + (double)anchor[2]);
    axis a = {};
    a.anchor = (double)anchor[2] - (double)anchor[0];
    a.target = (double)target[2] - (double)target[0];
    a.stretched_most = stretch > LARGEST_STRETCH;
    a.size = a.anchor * exp(a.stretched_most ? LARGEST_STRETCH : stretch);
    const double centre = shift * a.anchor, begin = centre - a.size / 2, end = centre + a.size / 2;
    const double from = (double)target[0] - middle, to = (double)target[2] - middle;
    a.inner = (to < end ? to : end) - (from > begin ? from : begin);
    a.outer = (to > end ? to : end) - (from < begin ? from : begin);
    if (a.inner < 0) {
        a.inner = 0;
    } else {
        double by_begin = begin > from ? -1 : 0, by_end = end < to ? 1 : 0;
        a.inner_by_centre = by_begin + by_end;
        a.inner_by_size = (by_end - by_begin) / 2;
    }
    double by_begin = begin < from ? -1 : 0, by_end = end > to ? 1 : 0;
    a.outer_by_centre = by_begin + by_end;
    a.outer_by_size = (by_end - by_begin) / 2;
    return a;
}

struct areas {
    double intersection, whole /* union */, enclosing;
};

__device__ areas areas_of(const axis &x, const axis &y) {
    areas a = {x.inner * y.inner, 0, x.outer * y.outer};
    a.whole = x.size * y.size + x.target * y.target - a.intersection;
    return a;
}

__device__ double loss_of(const areas &a) {
    return 1 - a.intersection / (a.whole + EPS) + (a.enclosing - a.whole) / (a.enclosing + EPS);
}

/* The loss's slopes by this axis' two deltas. The union changes with the box's area and against the intersection. */
__device__ void slopes_of(const areas &a, const axis &here, const axis &across, double *by_shift,
                          double *by_stretch) {
    const double u = a.whole + EPS, e = a.enclosing + EPS;
    const double by_union = a.intersection / (u * u) - 1 / e;
    const double by_inner = (-1 / u - by_union) * across.inner, by_outer = u / (e * e) * across.outer;
    *by_shift = here.anchor * (by_inner * here.inner_by_centre + by_outer * here.outer_by_centre);
    *by_stretch = 0;
    if (!here.stretched_most)
        *by_stretch = here.size * (by_union * across.size + by_inner * here.inner_by_size +
                                   by_outer * here.outer_by_size);
}

/* Axis i of a row. */
template <typename T>
__device__ axis row_axis(const T *deltas, const float *anchor, const float *target, int i) {
    return axis_of(anchor + i, target + i, (double)load(deltas + i), (double)load(deltas + 2 + i));
}

template <typename T>
__global__ void giou(const T *deltas, const float *anchors, const float *target, const float *weight,
                     double *sums, int64_t rows, int anchor_count) {
    double sum = 0;
    for (int64_t r = first_index(); r < rows; r += index_step()) {
        if (weight[r] == 0) continue;
        const float *anchor = anchors + r % anchor_count * 4;
        axis x = row_axis(deltas + r * 4, anchor, target + r * 4, 0);
        axis y = row_axis(deltas + r * 4, anchor, target + r * 4, 1);
        sum += (double)weight[r] * loss_of(areas_of(x, y));
    }
    loss_sum_leave(sums, 0, sum, shared_memory<double>());
}

template <typename T>
__global__ void giou_bwd(const T *deltas, const float *anchors, const float *target, const float *weight,
                         T *ddeltas, int64_t rows, int anchor_count, float scale) {
    for (int64_t r = first_index(); r < rows; r += index_step()) {
        double slope[4] = {0, 0, 0, 0}, factor = (double)weight[r] * (double)scale;
        if (weight[r] != 0) {
            const float *anchor = anchors + r % anchor_count * 4;
            axis x = row_axis(deltas + r * 4, anchor, target + r * 4, 0);
            axis y = row_axis(deltas + r * 4, anchor, target + r * 4, 1);
            areas a = areas_of(x, y);
            slopes_of(a, x, y, &slope[0], &slope[2]);
            slopes_of(a, y, x, &slope[1], &slope[3]);
        }
        for (int i = 0; i < 4; i++) store(ddeltas + r * 4 + i, (float)(factor * slope[i]));
    }
}

/* ---- kernels ---- */

int anchors_of(const struct lam_kernel *kernel) {
    return (int)kernel->op.in[0].desc.shape.dim[1];
}

void forward_run(const struct lam_kernel *kernel, const struct lam_kernel_args *args) {
    const int64_t rows = (int64_t)anchors_of(kernel) * args->count;
    const int64_t blocks = std::clamp<int64_t>((rows + LOSS_THREADS - 1) / LOSS_THREADS, 1, LOSS_BLOCKS);
    with_float_type(kernel->op.in[0].desc.dtype, [&](auto *type) {
        using T = std::remove_pointer_t<decltype(type)>;
        lam_launch(args->stream, "giou", giou<T>, (unsigned)blocks, LOSS_THREADS, WARP * sizeof(double),
                   (const T *)args->in[0], (const float *)args->in[1], (const float *)args->in[2],
                   (const float *)args->in[3], (double *)args->workspace, rows, anchors_of(kernel));
    });
    loss_sums_fold(kernel, args, (int)blocks, kernel->op.attr.loss.scale);
}

void backward_run(const struct lam_kernel *kernel, const struct lam_kernel_args *args) {
    const int64_t rows = (int64_t)anchors_of(kernel) * args->count;
    with_float_type(kernel->op.in[0].desc.dtype, [&](auto *type) {
        using T = std::remove_pointer_t<decltype(type)>;
        lam_launch(args->stream, "giou_bwd", giou_bwd<T>, lam_grid(args->stream, rows, LOSS_THREADS),
                   LOSS_THREADS, 0, (const T *)args->in[0], (const float *)args->in[1],
                   (const float *)args->in[2], (const float *)args->in[3], (T *)args->out[0], rows,
                   anchors_of(kernel), kernel->op.attr.loss.scale);
    });
}

bool fits(const struct lam_op *op) {
    const struct lam_shape *x = &op->in[0].desc.shape;
    if (op->inputs != 4 || !op->in[0].batched || x->rank != 3 || x->dim[2] != 4 || !is_float(op->in[0]))
        return false;
    for (int i = 1; i < 4; i++)
        if (!op->in[i].present || op->in[i].desc.dtype != LAM_F32) return false;
    const struct lam_shape anchors = {2, {x->dim[1], 4}}, weight = {2, {x->dim[0], x->dim[1]}};
    return lam_shape_equal(op->in[1].desc.shape, anchors) && !op->in[1].batched &&
           lam_shape_equal(op->in[2].desc.shape, *x) && lam_shape_equal(op->in[3].desc.shape, weight);
}

lam_status create(const struct lam_op *op, struct lam_kernel **kernel) {
    const bool backward = op->kind == LAM_OP_GIOU_BWD;
    if (!fits(op) || (backward && op->out[0].desc.dtype != op->in[0].desc.dtype))
        return feature_op_unsupported(
            op, "takes deltas [N, A, 4], anchors [A, 4], target [N, A, 4], weight [N, A]");
    simple_kernel *made = nullptr;
    LAM_TRY(feature_op_new(op, &made));
    *kernel = &made->base;
    (*kernel)->run = backward ? backward_run : forward_run;
    if (!backward) loss_sums_declare(*kernel);
    return LAM_OK;
}

} // namespace

LAM_CUDA_CREATE(lam_cuda_giou_create, create)
LAM_CUDA_CREATE(lam_cuda_giou_bwd_create, create)
