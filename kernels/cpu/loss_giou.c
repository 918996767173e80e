/* Generalised IoU loss of decoded boxes, and its gradient by the deltas. Plain C in doubles: only the rows of anchors that
 * are to find something have a weight, a few of thousands; the rest are skipped.
 *
 * Seen along one axis, a box is a centre and a size, and so are all lengths here: they are taken from the anchor's centre, so
 * that nothing is lost far from the image's corner. Areas are products over the two axes. */
#include <math.h>
#include <string.h>

#include "cpu/layout_adapter.h"
#include "cpu/ops.h"

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
static struct axis axis_of(const float *anchor, const float *target, double shift, double stretch) {
    const double middle = 0.5 * ((double)anchor[0] + (double)anchor[2]);
    struct axis a = {.anchor = (double)anchor[2] - (double)anchor[0],
                     .target = (double)target[2] - (double)target[0],
                     .stretched_most = stretch > LARGEST_STRETCH};
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

static struct areas areas_of(const struct axis *x, const struct axis *y) {
    struct areas a = {.intersection = x->inner * y->inner, .enclosing = x->outer * y->outer};
    a.whole = x->size * y->size + x->target * y->target - a.intersection;
    return a;
}

static double loss_of(const struct areas *a) {
    return 1 - a->intersection / (a->whole + EPS) + (a->enclosing - a->whole) / (a->enclosing + EPS);
}

/* The loss's slopes by this axis' two deltas. The union changes with the box's area and against the intersection. */
static void slopes_of(const struct areas *a, const struct axis *here, const struct axis *across,
                      double *by_shift, double *by_stretch) {
    const double u = a->whole + EPS, e = a->enclosing + EPS;
    const double by_union = a->intersection / (u * u) - 1 / e;
    const double by_inner = (-1 / u - by_union) * across->inner, by_outer = u / (e * e) * across->outer;
    *by_shift = here->anchor * (by_inner * here->inner_by_centre + by_outer * here->outer_by_centre);
    *by_stretch = here->stretched_most
                      ? 0
                      : here->size * (by_union * across->size + by_inner * here->inner_by_size +
                                      by_outer * here->outer_by_size);
}

/* ---- kernels ---- */

static double number(const void *base, int64_t i, enum lam_dtype dtype) {
    return (double)(dtype == LAM_F32 ? ((const float *)base)[i]
                                     : lam_bf16_to_f32(((const uint16_t *)base)[i]));
}

static void read_row(const struct lam_kernel *kernel, const struct lam_kernel_args *args, int64_t row,
                     struct axis axis[2]) {
    const struct lam_shape *shape = &kernel->op.in[0].desc.shape;
    const float *anchor = (const float *)args->in[1] + row % shape->dim[1] * 4;
    const float *target = (const float *)args->in[2] + row * 4;
    const enum lam_dtype dtype = kernel->op.in[0].desc.dtype;
    for (int i = 0; i < 2; i++)
        axis[i] = axis_of(anchor + i, target + i, number(args->in[0], row * 4 + i, dtype),
                          number(args->in[0], row * 4 + 2 + i, dtype));
}

static void giou_run(const struct lam_kernel *kernel, const struct lam_kernel_args *args) {
    const int64_t rows = kernel->op.in[0].desc.shape.dim[1] * args->count;
    const float *weight = args->in[3];
    double *partial = args->partial, sum = 0;
    for (int64_t r = 0; r < rows; r++) {
        struct axis axis[2];
        if (weight[r] == 0) continue;
        read_row(kernel, args, r, axis);
        struct areas areas = areas_of(&axis[0], &axis[1]);
        sum += (double)weight[r] * loss_of(&areas);
    }
    partial[0] = (args->accumulate ? partial[0] : 0) + sum * (double)kernel->op.attr.loss.scale;
}

static void giou_bwd_run(const struct lam_kernel *kernel, const struct lam_kernel_args *args) {
    const int64_t rows = kernel->op.in[0].desc.shape.dim[1] * args->count;
    const enum lam_dtype dtype = kernel->op.out[0].desc.dtype;
    const float *weight = args->in[3];
    memset(args->out[0], 0, (size_t)rows * 4 * lam_dtype_bytes(dtype));
    for (int64_t r = 0; r < rows; r++) {
        struct axis axis[2];
        if (weight[r] == 0) continue;
        read_row(kernel, args, r, axis);
        struct areas areas = areas_of(&axis[0], &axis[1]);
        double slope[4], scale = (double)weight[r] * (double)kernel->op.attr.loss.scale;
        for (int i = 0; i < 2; i++) slopes_of(&areas, &axis[i], &axis[1 - i], &slope[i], &slope[2 + i]);
        for (int i = 0; i < 4; i++) {
            float d = (float)(scale * slope[i]);
            if (dtype == LAM_F32)
                ((float *)args->out[0])[r * 4 + i] = d;
            else
                ((uint16_t *)args->out[0])[r * 4 + i] = lam_f32_to_bf16(d);
        }
    }
}

static bool giou_fits(const struct lam_op *op) {
    const struct lam_tensor_desc *x = &op->in[0].desc;
    if (op->inputs != 4 || x->shape.rank != 3 || x->shape.dim[2] != 4) return false;
    if (x->dtype != LAM_F32 && x->dtype != LAM_BF16) return false;
    for (int i = 1; i < 4; i++)
        if (!op->in[i].present || op->in[i].desc.dtype != LAM_F32) return false;
    return lam_shape_equal(op->in[1].desc.shape, LAM_SHAPE(x->shape.dim[1], 4)) && !op->in[1].batched &&
           lam_shape_equal(op->in[2].desc.shape, x->shape) &&
           lam_shape_equal(op->in[3].desc.shape, LAM_SHAPE(x->shape.dim[0], x->shape.dim[1]));
}

lam_status lam_cpu_giou_create(const struct lam_op *op, const struct lam_kernel_options *options,
                               struct lam_kernel **kernel, const char **chosen) {
    (void)options, (void)chosen;
    if (!giou_fits(op))
        return lam_cpu_unsupported(op,
                                   "takes deltas [N, A, 4], anchors [A, 4], target [N, A, 4], weight [N, A]");
    LAM_TRY(lam_cpu_kernel_new(sizeof(struct lam_kernel), op, kernel));
    (*kernel)->partial_bytes = sizeof(double);
    (*kernel)->run = giou_run;
    (*kernel)->reduce = lam_cpu_reduce_doubles;
    return LAM_OK;
}

lam_status lam_cpu_giou_bwd_create(const struct lam_op *op, const struct lam_kernel_options *options,
                                   struct lam_kernel **kernel, const char **chosen) {
    (void)options, (void)chosen;
    if (!giou_fits(op) || op->out[0].desc.dtype != op->in[0].desc.dtype)
        return lam_cpu_unsupported(op,
                                   "takes deltas [N, A, 4], anchors [A, 4], target [N, A, 4], weight [N, A]");
    LAM_TRY(lam_cpu_kernel_new(sizeof(struct lam_kernel), op, kernel));
    (*kernel)->run = giou_bwd_run;
    return LAM_OK;
}
