/* Class token and positions in front of and on top of a sequence of patches, and the gradients.
 *
 * The gradient of the positions is the sum of dy over the batch, and that of the class token is its first
 * row, so one partial of [P + 1, D] serves both. */
#include <string.h>

#include "cpu/elementwise_isa.h"
#include "cpu/layout_adapter.h"
#include "cpu/ops.h"

struct tokens_kernel {
    struct lam_kernel base;
    int64_t tokens, features; /* tokens: patches + 1 */
    size_t element;
    enum lam_simd_type type;
};

static const struct tokens_kernel *of(const struct lam_kernel *kernel) {
    return (const struct tokens_kernel *)kernel;
}

/* whole: the operand with P + 1 tokens */
static lam_status tokens_kernel_new(const struct lam_op *op, const struct lam_operand *whole,
                                    struct tokens_kernel **kernel) {
    const struct lam_tensor_desc *desc = &whole->desc;
    if (desc->shape.rank != 3 || (desc->dtype != LAM_F32 && desc->dtype != LAM_BF16))
        return lam_cpu_unsupported(op, "tokens are f32 or bf16 of rank 3");
    struct lam_kernel *made = NULL;
    LAM_TRY(lam_cpu_kernel_new(sizeof(struct tokens_kernel), op, &made));
    struct tokens_kernel *tokens = (struct tokens_kernel *)made;
    tokens->tokens = desc->shape.dim[1];
    tokens->features = desc->shape.dim[2];
    tokens->element = lam_dtype_bytes(desc->dtype);
    tokens->type = lam_cpu_simd_type(desc->dtype);
    *kernel = tokens;
    return LAM_OK;
}

static void class_row(const struct tokens_kernel *tokens, void *y, const float *class_token,
                      const float *position) {
    for (int64_t i = 0; i < tokens->features; i++) {
        float x = class_token[i] + position[i];
        if (tokens->element == 4)
            ((float *)y)[i] = x;
        else
            ((uint16_t *)y)[i] = lam_f32_to_bf16(x);
    }
}

static void tokens_run(const struct lam_kernel *kernel, const struct lam_kernel_args *args) {
    const struct tokens_kernel *tokens = of(kernel);
    const float *class_token = args->in[1], *positions = args->in[2];
    const int64_t features = tokens->features, rest = (tokens->tokens - 1) * features;
    const size_t row = (size_t)features * tokens->element, patches = (size_t)rest * tokens->element;
    lam_elementwise_fn add = LAM_ISA_PICK(lam_elementwise)->add_f32[tokens->type];
    for (int n = 0; n < args->count; n++) {
        char *y = (char *)args->out[0] + (size_t)n * (row + patches);
        const char *x = (const char *)args->in[0] + (size_t)n * patches;
        class_row(tokens, y, class_token, positions);
        add(x, positions + features, y + row, rest, 0);
    }
}

lam_status lam_cpu_tokens_create(const struct lam_op *op, const struct lam_kernel_options *options,
                                 struct lam_kernel **kernel, const char **chosen) {
    (void)options, (void)chosen;
    struct tokens_kernel *tokens = NULL;
    LAM_TRY(tokens_kernel_new(op, &op->out[0], &tokens));
    tokens->base.run = tokens_run;
    *kernel = &tokens->base;
    return LAM_OK;
}

static void tokens_bwd_run(const struct lam_kernel *kernel, const struct lam_kernel_args *args) {
    const struct tokens_kernel *tokens = of(kernel);
    const size_t row = (size_t)tokens->features * tokens->element;
    const size_t patches = (size_t)(tokens->tokens - 1) * row;
    lam_elementwise_fn sum = LAM_ISA_PICK(lam_elementwise)->sum_f32[tokens->type];
    if (!args->accumulate) memset(args->partial, 0, kernel->partial_bytes);
    for (int n = 0; n < args->count; n++) {
        const char *dy = (const char *)args->in[0] + (size_t)n * (row + patches);
        sum(dy, args->partial, args->partial, tokens->tokens * tokens->features, 0);
        if (kernel->op.out[0].present) memcpy((char *)args->out[0] + (size_t)n * patches, dy + row, patches);
    }
}

static void tokens_bwd_reduce(const struct lam_kernel *kernel, void *const *partials, int partial_count,
                              void *const *out, int part, int parts, struct lam_stream *stream) {
    (void)stream;
    const struct tokens_kernel *tokens = of(kernel);
    int64_t begin, end;
    lam_part(tokens->tokens * tokens->features, part, parts, &begin, &end);
    for (int64_t i = begin; i < end; i++) {
        float sum = 0;
        for (int p = 0; p < partial_count; p++) sum += ((const float *)partials[p])[i];
        if (out[1] && i < tokens->features) ((float *)out[1])[i] = sum;
        if (out[2]) ((float *)out[2])[i] = sum;
    }
}

lam_status lam_cpu_tokens_bwd_create(const struct lam_op *op, const struct lam_kernel_options *options,
                                     struct lam_kernel **kernel, const char **chosen) {
    (void)options, (void)chosen;
    struct tokens_kernel *tokens = NULL;
    LAM_TRY(tokens_kernel_new(op, &op->in[0], &tokens));
    tokens->base.partial_bytes = (size_t)(tokens->tokens * tokens->features) * sizeof(float);
    tokens->base.run = tokens_bwd_run;
    tokens->base.reduce = tokens_bwd_reduce;
    *kernel = &tokens->base;
    return LAM_OK;
}
