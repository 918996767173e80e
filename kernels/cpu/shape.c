/* Ops that move elements without changing them: copy (layout and shape), concat, slice and its gradient. */
#include <string.h>

#include "cpu/layout_adapter.h"
#include "cpu/ops.h"
#include "cpu/repack.h"

static size_t sample_bytes(const struct lam_operand *operand) {
    return (size_t)lam_cpu_sample_elements(operand) * lam_dtype_bytes(operand->desc.dtype);
}

/* ---- copy ---- */

static bool blocked(const struct lam_operand *operand) {
    return lam_layout_block(operand->desc.layout) > 1;
}

static void copy_same(const struct lam_kernel *kernel, const struct lam_kernel_args *args) {
    const struct lam_operand *in = &kernel->op.in[0];
    memcpy(args->out[0], args->in[0], sample_bytes(in) * (size_t)(in->batched ? args->count : 1));
}

static void copy_layout(const struct lam_kernel *kernel, const struct lam_kernel_args *args) {
    lam_cpu_repack(&kernel->op.in[0].desc, args->in[0], kernel->op.out[0].desc.layout, args->out[0],
                   args->count);
}

static void copy_to_blocked(const struct lam_kernel *kernel, const struct lam_kernel_args *args) {
    struct lam_tensor_desc plain = kernel->op.out[0].desc;
    plain.layout = LAM_PLAIN;
    lam_cpu_repack(&plain, args->in[0], kernel->op.out[0].desc.layout, args->out[0], args->count);
}

static void copy_from_blocked(const struct lam_kernel *kernel, const struct lam_kernel_args *args) {
    lam_cpu_repack(&kernel->op.in[0].desc, args->in[0], LAM_PLAIN, args->out[0], args->count);
}

/* Blocked to another blocked shape: by way of PLAIN. */
static void copy_through_plain(const struct lam_kernel *kernel, const struct lam_kernel_args *args) {
    lam_cpu_repack(&kernel->op.in[0].desc, args->in[0], LAM_PLAIN, args->workspace, args->count);
    struct lam_kernel_args second = *args;
    second.in[0] = args->workspace;
    copy_to_blocked(kernel, &second);
}

lam_status lam_cpu_copy_create(const struct lam_op *op, const struct lam_kernel_options *options,
                               struct lam_kernel **kernel, const char **chosen) {
    (void)chosen;
    const struct lam_operand *in = &op->in[0], *out = &op->out[0];
    if (in->desc.layout == LAM_NHWC || out->desc.layout == LAM_NHWC)
        return lam_cpu_unsupported(op, "the NHWC layout is not for this device");
    if (in->desc.dtype != out->desc.dtype) return lam_cpu_unsupported(op, "copy keeps the type");
    bool same_shape = lam_shape_equal(in->desc.shape, out->desc.shape);
    LAM_TRY(lam_cpu_kernel_new(sizeof(struct lam_kernel), op, kernel));
    if (!blocked(in) && !blocked(out))
        (*kernel)->run = copy_same;
    else if (same_shape)
        (*kernel)->run = in->desc.layout == out->desc.layout ? copy_same : copy_layout;
    else if (!blocked(in))
        (*kernel)->run = copy_to_blocked;
    else if (!blocked(out))
        (*kernel)->run = copy_from_blocked;
    else {
        int64_t elements = lam_shape_count(in->desc.shape) / in->desc.shape.dim[0];
        (*kernel)->workspace_bytes =
            (size_t)(elements * options->slices[0]) * lam_dtype_bytes(in->desc.dtype);
        (*kernel)->run = copy_through_plain;
    }
    return LAM_OK;
}

/* ---- ranges along one axis ----
 *
 * A sample seen along an axis is `outer` runs of `length` steps, each step `inner` bytes in a row. In a
 * blocked layout the channel axis steps by whole groups, so it works there only when ranges begin at a group,
 * and end at one or at the last channel. */

struct along {
    size_t outer, length, inner;
};

static struct along seen_along(const struct lam_operand *operand, int axis) {
    const struct lam_tensor_desc *desc = &operand->desc;
    size_t block = (size_t)lam_layout_block(desc->layout);
    struct along along = {1, 0, lam_dtype_bytes(desc->dtype) * block};
    for (int i = 1; i < desc->shape.rank; i++) {
        size_t size = (size_t)desc->shape.dim[i];
        if (i == 1 && block > 1) size = (size + block - 1) / block;
        if (i < axis) along.outer *= size;
        if (i == axis) along.length = size;
        if (i > axis) along.inner *= size;
    }
    return along;
}

/* Copies steps between a part and the `begin`-th step on of a whole. */
static void copy_range(const struct along *whole, size_t begin, char *in_whole, const struct along *part,
                       char *in_part, bool into_whole) {
    size_t run = part->length * part->inner;
    in_whole += begin * whole->inner;
    for (size_t o = 0; o < whole->outer; o++) {
        if (into_whole)
            memcpy(in_whole, in_part, run);
        else
            memcpy(in_part, in_whole, run);
        in_whole += whole->length * whole->inner;
        in_part += run;
    }
}

/* True if steps [begin, begin + part's channels) of the whole are whole groups. */
static bool on_groups(const struct lam_operand *whole, const struct lam_operand *part, int axis,
                      int64_t begin) {
    int block = lam_layout_block(whole->desc.layout);
    if (axis != 1 || block == 1) return true;
    int64_t length = part->desc.shape.dim[1];
    bool to_end = begin + length == whole->desc.shape.dim[1];
    return begin % block == 0 && (length % block == 0 || to_end);
}

struct range_kernel {
    struct lam_kernel base;
    int parts;
    struct along whole, part[LAM_MAX_INPUTS];
    size_t begin[LAM_MAX_INPUTS]; /* steps */
    size_t whole_bytes, part_bytes[LAM_MAX_INPUTS];
};

static lam_status range_kernel_new(const struct lam_op *op, const struct lam_operand *whole,
                                   const struct lam_operand *parts, int count, struct range_kernel **kernel) {
    struct lam_kernel *made = NULL;
    LAM_TRY(lam_cpu_kernel_new(sizeof(struct range_kernel), op, &made));
    struct range_kernel *range = (struct range_kernel *)made;
    int axis = op->attr.axis.axis;
    range->whole = seen_along(whole, axis);
    range->whole_bytes = sample_bytes(whole);
    range->parts = count;
    for (int i = 0; i < count; i++) {
        range->part[i] = seen_along(&parts[i], axis);
        range->part_bytes[i] = sample_bytes(&parts[i]);
    }
    *kernel = range;
    return LAM_OK;
}

static void concat_run(const struct lam_kernel *kernel, const struct lam_kernel_args *args) {
    const struct range_kernel *range = (const struct range_kernel *)kernel;
    for (int n = 0; n < args->count; n++)
        for (int i = 0; i < range->parts; i++)
            copy_range(&range->whole, range->begin[i], (char *)args->out[0] + (size_t)n * range->whole_bytes,
                       &range->part[i], (char *)(uintptr_t)args->in[i] + (size_t)n * range->part_bytes[i],
                       true);
}

lam_status lam_cpu_concat_create(const struct lam_op *op, const struct lam_kernel_options *options,
                                 struct lam_kernel **kernel, const char **chosen) {
    enum lam_layout layout;
    if (!lam_cpu_same_layout(op, &layout))
        return lam_cpu_adapt(op, options, layout, lam_cpu_concat_create, kernel, chosen);
    int axis = op->attr.axis.axis;
    if (axis < 1) return lam_cpu_unsupported(op, "not along the batch");
    int64_t begin = 0;
    for (int i = 0; i < op->inputs; i++) {
        if (!on_groups(&op->out[0], &op->in[i], axis, begin))
            return lam_cpu_adapt(op, options, LAM_PLAIN, lam_cpu_concat_create, kernel, chosen);
        begin += op->in[i].desc.shape.dim[axis];
    }
    struct range_kernel *range = NULL;
    LAM_TRY(range_kernel_new(op, &op->out[0], op->in, op->inputs, &range));
    for (int i = 1; i < op->inputs; i++) range->begin[i] = range->begin[i - 1] + range->part[i - 1].length;
    range->base.run = concat_run;
    *kernel = &range->base;
    return LAM_OK;
}

static void slice_run(const struct lam_kernel *kernel, const struct lam_kernel_args *args) {
    const struct range_kernel *range = (const struct range_kernel *)kernel;
    for (int n = 0; n < args->count; n++)
        copy_range(&range->whole, range->begin[0],
                   (char *)(uintptr_t)args->in[0] + (size_t)n * range->whole_bytes, &range->part[0],
                   (char *)args->out[0] + (size_t)n * range->part_bytes[0], false);
}

static void slice_bwd_run(const struct lam_kernel *kernel, const struct lam_kernel_args *args) {
    const struct range_kernel *range = (const struct range_kernel *)kernel;
    memset(args->out[0], 0, (size_t)args->count * range->whole_bytes);
    for (int n = 0; n < args->count; n++)
        copy_range(&range->whole, range->begin[0], (char *)args->out[0] + (size_t)n * range->whole_bytes,
                   &range->part[0], (char *)(uintptr_t)args->in[0] + (size_t)n * range->part_bytes[0], true);
}

static lam_status slice_create(const struct lam_op *op, const struct lam_kernel_options *options,
                               lam_cpu_create_fn self, struct lam_kernel **kernel, const char **chosen) {
    bool backward = op->kind == LAM_OP_SLICE_BWD;
    const struct lam_operand *whole = backward ? &op->out[0] : &op->in[0];
    const struct lam_operand *part = backward ? &op->in[0] : &op->out[0];
    int axis = op->attr.axis.axis;
    int64_t begin = op->attr.axis.begin;
    enum lam_layout layout;
    if (!lam_cpu_same_layout(op, &layout)) return lam_cpu_adapt(op, options, layout, self, kernel, chosen);
    if (axis < 1) return lam_cpu_unsupported(op, "not along the batch");
    if (!on_groups(whole, part, axis, begin))
        return lam_cpu_adapt(op, options, LAM_PLAIN, self, kernel, chosen);
    struct range_kernel *range = NULL;
    LAM_TRY(range_kernel_new(op, whole, part, 1, &range));
    range->begin[0] = (size_t)begin / (axis == 1 ? (size_t)lam_layout_block(layout) : 1);
    range->base.run = backward ? slice_bwd_run : slice_run;
    *kernel = &range->base;
    return LAM_OK;
}

lam_status lam_cpu_slice_create(const struct lam_op *op, const struct lam_kernel_options *options,
                                struct lam_kernel **kernel, const char **chosen) {
    return slice_create(op, options, lam_cpu_slice_create, kernel, chosen);
}

lam_status lam_cpu_slice_bwd_create(const struct lam_op *op, const struct lam_kernel_options *options,
                                    struct lam_kernel **kernel, const char **chosen) {
    return slice_create(op, options, lam_cpu_slice_bwd_create, kernel, chosen);
}
