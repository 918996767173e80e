/* Pooling: maximum, average, global average, and their gradients. The loops stand in pool_isa.c. */
#include "cpu/pool_isa.h"

#include "cpu/layout_adapter.h"
#include "cpu/ops.h"

/* ---- global average ---- */

struct global_kernel {
    struct lam_kernel base;
    struct lam_global_pool_slice slice; /* what all slices have in common */
    lam_global_pool_fn loop;
};

static void global_run(const struct lam_kernel *kernel, const struct lam_kernel_args *args) {
    const struct global_kernel *global = (const struct global_kernel *)kernel;
    struct lam_global_pool_slice slice = global->slice;
    slice.in = args->in[0];
    slice.out = args->out[0];
    slice.samples = args->count;
    global->loop(&slice);
}

static bool is_float(const struct lam_operand *operand) {
    return operand->desc.dtype == LAM_F32 || operand->desc.dtype == LAM_BF16;
}

static lam_status global_create(const struct lam_op *op, const struct lam_operand *image,
                                const lam_global_pool_fn *loops, struct lam_kernel **kernel) {
    const struct lam_tensor_desc *desc = &image->desc;
    if (desc->shape.rank != 4 || !is_float(image) || op->in[0].desc.dtype != op->out[0].desc.dtype ||
        desc->layout == LAM_NHWC)
        return lam_cpu_unsupported(op, "pooling takes f32 or bf16 of rank 4, channels first");
    LAM_TRY(lam_cpu_kernel_new(sizeof(struct global_kernel), op, kernel));
    struct global_kernel *global = (struct global_kernel *)*kernel;
    int block = lam_layout_block(desc->layout);
    global->slice = (struct lam_global_pool_slice){
        .groups = (desc->shape.dim[1] + block - 1) / block,
        .channels = desc->shape.dim[1],
        .pixels = desc->shape.dim[2] * desc->shape.dim[3],
        .block = block,
    };
    global->loop = loops[lam_cpu_simd_type(desc->dtype)];
    global->base.run = global_run;
    return LAM_OK;
}

lam_status lam_cpu_global_avg_pool_create(const struct lam_op *op, const struct lam_kernel_options *options,
                                          struct lam_kernel **kernel, const char **chosen) {
    (void)options, (void)chosen;
    return global_create(op, &op->in[0], LAM_ISA_PICK(lam_pool)->global, kernel);
}

lam_status lam_cpu_global_avg_pool_bwd_create(const struct lam_op *op,
                                              const struct lam_kernel_options *options,
                                              struct lam_kernel **kernel, const char **chosen) {
    (void)options, (void)chosen;
    return global_create(op, &op->out[0], LAM_ISA_PICK(lam_pool)->global_bwd, kernel);
}

/* ---- windows ---- */

struct pool_kernel {
    struct lam_kernel base;
    struct lam_pool_slice slice;
    int64_t planes; /* of one sample */
    lam_pool_fn loop;
};

static void pool_run(const struct lam_kernel *kernel, const struct lam_kernel_args *args) {
    const struct pool_kernel *pool = (const struct pool_kernel *)kernel;
    struct lam_pool_slice slice = pool->slice;
    slice.from = args->in[0];
    slice.to = args->out[0];
    slice.planes = pool->planes * args->count;
    slice.image = args->in[1];
    slice.places = args->workspace;
    pool->loop(&slice);
}

/* `large` is the operand that windows slide over, `small` has a value per window. */
static lam_status pool_create(const struct lam_op *op, const struct lam_operand *large,
                              const struct lam_operand *small, const lam_pool_fn *loops,
                              struct lam_kernel **kernel) {
    const struct lam_tensor_desc *desc = &large->desc;
    if (desc->shape.rank != 4 || !is_float(large) || small->desc.dtype != desc->dtype ||
        op->in[op->inputs - 1].desc.dtype != desc->dtype)
        return lam_cpu_unsupported(op, "pooling takes f32 or bf16 of rank 4");
    LAM_TRY(lam_cpu_kernel_new(sizeof(struct pool_kernel), op, kernel));
    struct pool_kernel *pool = (struct pool_kernel *)*kernel;
    int block = lam_layout_block(desc->layout);
    pool->planes = (desc->shape.dim[1] + block - 1) / block;
    pool->slice.block = block;
    for (int axis = 0; axis < 2; axis++) {
        pool->slice.in_size[axis] = (int)desc->shape.dim[2 + axis];
        pool->slice.out_size[axis] = (int)small->desc.shape.dim[2 + axis];
        pool->slice.kernel[axis] = op->attr.pool.kernel[axis];
        pool->slice.stride[axis] = op->attr.pool.stride[axis];
        pool->slice.pad[axis] = op->attr.pool.pad[axis];
    }
    pool->loop = loops[lam_cpu_simd_type(desc->dtype)];
    pool->base.run = pool_run;
    if (op->kind == LAM_OP_MAX_POOL_BWD)
        pool->base.workspace_bytes =
            (size_t)(small->desc.shape.dim[2] * small->desc.shape.dim[3] * block) * sizeof(int32_t);
    return LAM_OK;
}

#define CREATE(name, loops, large, small)                                                                    \
    lam_status lam_cpu_##name##_create(const struct lam_op *op, const struct lam_kernel_options *options,    \
                                       struct lam_kernel **kernel, const char **chosen) {                    \
        enum lam_layout layout;                                                                              \
        if (!lam_cpu_same_layout(op, &layout))                                                               \
            return lam_cpu_adapt(op, options, layout, lam_cpu_##name##_create, kernel, chosen);              \
        return pool_create(op, &op->large[0], &op->small[0], LAM_ISA_PICK(lam_pool)->loops, kernel);         \
    }
CREATE(max_pool, max, in, out)
CREATE(max_pool_bwd, max_bwd, out, in)
CREATE(avg_pool, avg, in, out)
CREATE(avg_pool_bwd, avg_bwd, out, in)
