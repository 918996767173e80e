/* Elementwise ops: one loop over the stored elements of a slice, whatever the layout. */
#include <string.h>

#include "cpu/elementwise_isa.h"
#include "cpu/layout_adapter.h"
#include "cpu/ops.h"

struct elementwise_kernel {
    struct lam_kernel base;
    lam_elementwise_fn loop;
    float factor;
};

static void run(const struct lam_kernel *kernel, const struct lam_kernel_args *args) {
    const struct elementwise_kernel *e = (const struct elementwise_kernel *)kernel;
    e->loop(args->in[0], kernel->op.inputs > 1 ? args->in[1] : NULL, args->out[0],
            lam_cpu_slice_elements(&kernel->op.out[0], args), e->factor);
}

static lam_status kernel_new(const struct lam_op *op, lam_elementwise_fn loop, struct lam_kernel **kernel) {
    LAM_TRY(lam_cpu_kernel_new(sizeof(struct elementwise_kernel), op, kernel));
    struct elementwise_kernel *e = (struct elementwise_kernel *)*kernel;
    e->loop = loop;
    e->base.run = run;
    return LAM_OK;
}

static bool same_float_type(const struct lam_op *op) {
    enum lam_dtype dtype = op->out[0].desc.dtype;
    for (int i = 0; i < op->inputs; i++)
        if (op->in[i].desc.dtype != dtype) return false;
    return dtype == LAM_F32 || dtype == LAM_BF16;
}

#define CREATE(name)                                                                                         \
    lam_status lam_cpu_##name##_create(const struct lam_op *op, const struct lam_kernel_options *options,    \
                                       struct lam_kernel **kernel, const char **chosen) {                    \
        enum lam_layout layout;                                                                              \
        if (!same_float_type(op)) return lam_cpu_unsupported(op, "operands must be all f32 or all bf16");    \
        if (!lam_cpu_same_layout(op, &layout))                                                               \
            return lam_cpu_adapt(op, options, layout, lam_cpu_##name##_create, kernel, chosen);              \
        enum lam_simd_type type = lam_cpu_simd_type(op->out[0].desc.dtype);                                  \
        return kernel_new(op, LAM_ISA_PICK(lam_elementwise)->name[type], kernel);                            \
    }
CREATE(relu)
CREATE(gelu)
CREATE(gelu_bwd)
CREATE(sigmoid_bwd)
CREATE(add)

struct masked_sum_kernel {
    struct lam_kernel base;
    lam_masked_sum_fn loop;
};

static void masked_sum_run(const struct lam_kernel *kernel, const struct lam_kernel_args *args) {
    ((const struct masked_sum_kernel *)kernel)
        ->loop(args->in[0], args->in[2], args->in[1], args->out[0],
               lam_cpu_slice_elements(&kernel->op.out[0], args));
}

lam_status lam_cpu_relu_bwd_create(const struct lam_op *op, const struct lam_kernel_options *options,
                                   struct lam_kernel **kernel, const char **chosen) {
    enum lam_layout layout;
    if (!same_float_type(op)) return lam_cpu_unsupported(op, "operands must be all f32 or all bf16");
    if (!lam_cpu_same_layout(op, &layout))
        return lam_cpu_adapt(op, options, layout, lam_cpu_relu_bwd_create, kernel, chosen);
    const struct lam_elementwise_kernels *loops = LAM_ISA_PICK(lam_elementwise);
    enum lam_simd_type type = lam_cpu_simd_type(op->out[0].desc.dtype);
    if (!lam_op_has_addend(op)) return kernel_new(op, loops->relu_bwd[type], kernel);
    LAM_TRY(lam_cpu_kernel_new(sizeof(struct masked_sum_kernel), op, kernel));
    ((struct masked_sum_kernel *)*kernel)->loop = loops->relu_bwd_sum[type];
    (*kernel)->run = masked_sum_run;
    return LAM_OK;
}

/* In PLAIN: sigmoid(0) is not 0, so padding channels would not stay zero. */
lam_status lam_cpu_sigmoid_create(const struct lam_op *op, const struct lam_kernel_options *options,
                                  struct lam_kernel **kernel, const char **chosen) {
    if (!same_float_type(op)) return lam_cpu_unsupported(op, "operands must be all f32 or all bf16");
    if (lam_cpu_any_blocked(op))
        return lam_cpu_adapt(op, options, LAM_PLAIN, lam_cpu_sigmoid_create, kernel, chosen);
    enum lam_simd_type type = lam_cpu_simd_type(op->out[0].desc.dtype);
    return kernel_new(op, LAM_ISA_PICK(lam_elementwise)->sigmoid[type], kernel);
}

lam_status lam_cpu_scale_create(const struct lam_op *op, const struct lam_kernel_options *options,
                                struct lam_kernel **kernel, const char **chosen) {
    enum lam_layout layout;
    if (!same_float_type(op)) return lam_cpu_unsupported(op, "operands must be all f32 or all bf16");
    if (!lam_cpu_same_layout(op, &layout))
        return lam_cpu_adapt(op, options, layout, lam_cpu_scale_create, kernel, chosen);
    enum lam_simd_type type = lam_cpu_simd_type(op->out[0].desc.dtype);
    LAM_TRY(kernel_new(op, LAM_ISA_PICK(lam_elementwise)->scale[type], kernel));
    ((struct elementwise_kernel *)*kernel)->factor = op->attr.scale.factor;
    return LAM_OK;
}

static void copy_run(const struct lam_kernel *kernel, const struct lam_kernel_args *args) {
    const struct lam_operand *out = &kernel->op.out[0];
    memcpy(args->out[0], args->in[0],
           (size_t)lam_cpu_slice_elements(out, args) * lam_dtype_bytes(out->desc.dtype));
}

lam_status lam_cpu_cast_create(const struct lam_op *op, const struct lam_kernel_options *options,
                               struct lam_kernel **kernel, const char **chosen) {
    enum lam_layout layout;
    if (!lam_cpu_same_layout(op, &layout))
        return lam_cpu_adapt(op, options, layout, lam_cpu_cast_create, kernel, chosen);
    const struct lam_elementwise_kernels *k = LAM_ISA_PICK(lam_elementwise);
    enum lam_dtype from = op->in[0].desc.dtype, to = op->out[0].desc.dtype;
    if (from == to) {
        LAM_TRY(lam_cpu_kernel_new(sizeof(struct lam_kernel), op, kernel));
        (*kernel)->run = copy_run;
        return LAM_OK;
    }
    lam_elementwise_fn loop = NULL;
    if (from == LAM_BF16 && to == LAM_F32) loop = k->to_f32;
    if (from == LAM_F32 && to == LAM_BF16) loop = k->from_f32[lam_cpu_simd_type(to)];
    if (from == LAM_U8 && (to == LAM_F32 || to == LAM_BF16)) loop = k->from_u8[lam_cpu_simd_type(to)];
    if (!loop) return lam_cpu_unsupported(op, "no cast between these types");
    return kernel_new(op, loop, kernel);
}
