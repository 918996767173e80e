/* NORMALIZE: a table of 256 numbers for each channel. */
#include "cpu/normalize.h"
#include "cpu/layout_adapter.h"
#include "cpu/ops.h"

struct normalize_kernel {
    struct lam_kernel base;
    struct lam_pixel_table table;
};

void lam_cpu_fill_pixel_table(const struct lam_normalize_attr *attr, int channels,
                              struct lam_pixel_table *table) {
    for (int c = 0; c < channels; c++)
        for (int v = 0; v < 256; v++) {
            table->f32[c][v] = ((float)v / 255 - attr->mean[c]) / attr->deviation[c];
            table->bf16[c][v] = lam_f32_to_bf16(table->f32[c][v]);
        }
}

lam_status lam_cpu_check_pixels(const struct lam_op *op) {
    const enum lam_dtype to = op->out[0].desc.dtype;
    if (op->in[0].desc.dtype != LAM_U8 || (to != LAM_F32 && to != LAM_BF16))
        return lam_cpu_unsupported(op, "it makes f32 or bf16 from u8");
    if (op->in[0].desc.shape.rank != 4 || op->in[0].desc.shape.dim[1] > LAM_MAX_COLOURS)
        return lam_cpu_unsupported(op, "it takes images of at most four channels");
    return LAM_OK;
}

static void normalize_run(const struct lam_kernel *kernel, const struct lam_kernel_args *args) {
    const struct normalize_kernel *k = (const struct normalize_kernel *)kernel;
    const struct lam_shape shape = kernel->op.in[0].desc.shape;
    const int64_t channels = shape.dim[1], pixels = shape.dim[2] * shape.dim[3];
    const bool half = kernel->op.out[0].desc.dtype == LAM_BF16;
    for (int64_t plane = 0; plane < args->count * channels; plane++) {
        const uint8_t *in = (const uint8_t *)args->in[0] + plane * pixels;
        if (half) {
            const uint16_t *table = k->table.bf16[plane % channels];
            uint16_t *out = (uint16_t *)args->out[0] + plane * pixels;
            for (int64_t i = 0; i < pixels; i++) out[i] = table[in[i]];
        } else {
            const float *table = k->table.f32[plane % channels];
            float *out = (float *)args->out[0] + plane * pixels;
            for (int64_t i = 0; i < pixels; i++) out[i] = table[in[i]];
        }
    }
}

lam_status lam_cpu_normalize_create(const struct lam_op *op, const struct lam_kernel_options *options,
                                    struct lam_kernel **kernel, const char **chosen) {
    LAM_TRY(lam_cpu_check_pixels(op));
    if (lam_cpu_any_blocked(op))
        return lam_cpu_adapt(op, options, LAM_PLAIN, lam_cpu_normalize_create, kernel, chosen);
    LAM_TRY(lam_cpu_kernel_new(sizeof(struct normalize_kernel), op, kernel));
    (*kernel)->run = normalize_run;
    lam_cpu_fill_pixel_table(&op->attr.normalize, (int)op->in[0].desc.shape.dim[1],
                             &((struct normalize_kernel *)*kernel)->table);
    return LAM_OK;
}
