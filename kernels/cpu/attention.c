/* ATTENTION and its gradient, one head of one sample at a time: all that a head needs stays in the cache.
 *
 *     S = q k^T,  P = softmax(scale S),  y = P v,  lse = log sum exp of the rows of scale S
 *
 * The gradient computes P again from lse (FlashAttention-2: Dao 2023, section 3.1) instead of reading it:
 *
 *     D = row sums of dy * y,  dP = dy v^T,  dS = scale P * (dP - D)
 *     dv = P^T dy,  dq = dS k,  dk = dS^T q
 *
 * With bf16 and hardware that multiplies it, P and dS are rounded to bf16 for their products; without, the
 * head is widened to f32 first.
 */
#include "cpu/cpu_kernel.h"
#include "cpu/gemm.h"
#include "cpu/layout_adapter.h"
#include "cpu/linear.h"
#include "cpu/softmax_isa.h"

#include <math.h>

enum { WIDENED_OPERANDS = 4 }; /* q, k, v, dy */

struct attention {
    struct lam_kernel kernel;
    int64_t tokens, features, heads, head_features;
    float scale;
    enum lam_gemm_format format; /* of the products: F32 or BF16 */
    enum lam_dtype dtype;        /* what those multiply */
    enum lam_dtype outside;      /* of the op's tensors */
    ptrdiff_t score_stride;      /* of the matrices [tokens, tokens] */
    size_t score_bytes, head_bytes, packed_bytes, scratch_bytes;
};

/* One head's operands: in the op's own tensors, or widened copies. */
struct matrix {
    const void *at;
    ptrdiff_t stride;
};
struct head {
    struct matrix q, k, v, dy;
};

/* A lane's workspace. */
struct work {
    float *scores, *gradients; /* S and dP, f32 */
    void *p, *ds; /* P and dS as the products want them: in place of the two above if that is f32 */
    float *widened[WIDENED_OPERANDS];
    float *row_dots;
    void *packed, *scratch;
};

static const struct attention *attention_of(const struct lam_kernel *kernel) {
    return (const struct attention *)kernel;
}

static size_t aligned(size_t bytes) {
    return (bytes + 63) / 64 * 64;
}

/* Lays `work` out from `base` on; returns the bytes it takes (base may be NULL to ask). */
static size_t work_layout(const struct attention *a, bool backward, char *base, struct work *work) {
    size_t used = 0;
#define TAKE(pointer, bytes) ((pointer) = (void *)(base ? base + used : NULL), used += aligned(bytes))
    bool inside_bf16 = a->dtype == LAM_BF16, widened = a->dtype != a->outside;
    TAKE(work->scores, a->score_bytes);
    work->p = work->scores;
    if (inside_bf16) TAKE(work->p, a->score_bytes / 2);
    if (backward) {
        TAKE(work->gradients, a->score_bytes);
        work->ds = work->gradients;
        if (inside_bf16) TAKE(work->ds, a->score_bytes / 2);
        TAKE(work->row_dots, (size_t)a->tokens * sizeof(float));
    }
    for (int i = 0; i < WIDENED_OPERANDS; i++)
        if (widened) TAKE(work->widened[i], a->head_bytes);
    TAKE(work->packed, a->packed_bytes);
    TAKE(work->scratch, a->scratch_bytes);
#undef TAKE
    return used;
}

/* ---- the operands of a head ---- */

static const void *element(const struct attention *a, const void *base, int64_t index) {
    return (const char *)base + index * (int64_t)lam_dtype_bytes(a->outside);
}

static struct matrix operand(const struct attention *a, const void *at, ptrdiff_t stride, float *widened) {
    if (a->dtype == a->outside) return (struct matrix){at, stride};
    lam_gemm_widen(a->tokens, a->head_features, at, stride, widened, a->head_features);
    return (struct matrix){widened, a->head_features};
}

/* First element of the head in q of sample n; k and v follow `features` and 2 `features` behind. */
static int64_t qkv_index(const struct attention *a, int64_t n, int64_t head) {
    return n * a->tokens * 3 * a->features + head * a->head_features;
}
static int64_t y_index(const struct attention *a, int64_t n, int64_t head) {
    return n * a->tokens * a->features + head * a->head_features;
}

static void head_load(const struct attention *a, const void *qkv, const void *dy, int64_t n, int64_t head,
                      const struct work *w, struct head *h) {
    int64_t first = qkv_index(a, n, head);
    ptrdiff_t stride = 3 * a->features;
    h->q = operand(a, element(a, qkv, first), stride, w->widened[0]);
    h->k = operand(a, element(a, qkv, first + a->features), stride, w->widened[1]);
    h->v = operand(a, element(a, qkv, first + 2 * a->features), stride, w->widened[2]);
    if (dy) h->dy = operand(a, element(a, dy, y_index(a, n, head)), a->features, w->widened[3]);
}

/* ---- products ---- */

/* c [tokens, tokens] = x m^T, both [tokens, head features]. A class token behind an even number of patches
 * leaves one column over, for which a whole vector of the product would be too much: it is done by itself. */
static void times_transposed(const struct attention *a, struct matrix x, struct matrix m,
                             const struct work *w, float *c) {
    int64_t columns = a->tokens;
    if (lam_gemm_whole_columns(a->format, columns - 1) == columns - 1 && columns > 1) columns--;
    struct lam_gemm_operand b = {.src = m.at, .dtype = a->dtype, .stride = m.stride, .columns_apart = true};
    lam_gemm_pack(a->format, &b, a->head_features, columns, w->packed, 0, 1);
    lam_gemm(&(struct lam_gemm){.format = a->format,
                                .m = a->tokens,
                                .n = lam_gemm_whole_columns(a->format, columns),
                                .k = a->head_features,
                                .a = x.at,
                                .a_stride = x.stride,
                                .b = w->packed,
                                .c = c,
                                .c_stride = a->score_stride,
                                .c_dtype = LAM_F32});
    if (columns < a->tokens) {
        const char *last = (const char *)m.at + columns * m.stride * (ptrdiff_t)lam_dtype_bytes(a->dtype);
        LAM_ISA_PICK(lam_softmax)
            ->row_dots(a->tokens, a->head_features, x.at, x.stride, last, 0, c + columns, a->score_stride,
                       lam_cpu_simd_type(a->dtype));
    }
}

/* c [tokens, head features] = s m, with s [tokens, tokens] */
static void score_times(const struct attention *a, const void *s, struct matrix m, const struct work *w,
                        void *c, ptrdiff_t c_stride) {
    struct lam_gemm_operand b = {.src = m.at, .dtype = a->dtype, .stride = m.stride};
    lam_gemm_pack(a->format, &b, a->tokens, a->head_features, w->packed, 0, 1);
    lam_gemm(&(struct lam_gemm){.format = a->format,
                                .m = a->tokens,
                                .n = a->head_features,
                                .k = a->tokens,
                                .a = s,
                                .a_stride = a->score_stride,
                                .b = w->packed,
                                .c = c,
                                .c_stride = c_stride,
                                .c_dtype = a->outside});
}

/* c [tokens, head features] = s^T m */
static void score_transposed_times(const struct attention *a, const void *s, struct matrix m,
                                   const struct work *w, void *c, ptrdiff_t c_stride) {
    lam_gemm_transposed(&(struct lam_gemm){.format = a->format,
                                           .m = a->tokens,
                                           .n = a->head_features,
                                           .k = a->tokens,
                                           .a = s,
                                           .a_stride = a->score_stride,
                                           .b = m.at,
                                           .b_stride = m.stride,
                                           .c = c,
                                           .c_stride = c_stride,
                                           .c_dtype = a->outside,
                                           .scratch = w->scratch});
}

/* ---- the ops ---- */

static void forward_run(const struct lam_kernel *kernel, const struct lam_kernel_args *args) {
    const struct attention *a = attention_of(kernel);
    const struct lam_softmax_kernels *softmax = LAM_ISA_PICK(lam_softmax);
    struct work w = {0};
    work_layout(a, false, args->workspace, &w);
    for (int64_t n = 0; n < args->count; n++)
        for (int64_t i = 0; i < a->heads; i++) {
            struct head h;
            head_load(a, args->in[0], NULL, n, i, &w, &h);
            times_transposed(a, h.q, h.k, &w, w.scores);
            softmax->probabilities(a->tokens, a->tokens, a->score_stride, w.scores, a->scale, w.p,
                                   lam_cpu_simd_type(a->dtype),
                                   (float *)args->out[1] + (n * a->heads + i) * a->tokens);
            score_times(a, w.p, h.v, &w, (void *)element(a, args->out[0], y_index(a, n, i)), a->features);
        }
}

static void backward_run(const struct lam_kernel *kernel, const struct lam_kernel_args *args) {
    const struct attention *a = attention_of(kernel);
    const struct lam_softmax_kernels *softmax = LAM_ISA_PICK(lam_softmax);
    const void *dy = args->in[0], *qkv = args->in[1], *y = args->in[2];
    enum lam_simd_type type = lam_cpu_simd_type(a->dtype);
    int64_t t = a->tokens;
    struct work w = {0};
    work_layout(a, true, args->workspace, &w);
    for (int64_t n = 0; n < args->count; n++)
        for (int64_t i = 0; i < a->heads; i++) {
            const float *lse = (const float *)args->in[3] + (n * a->heads + i) * t;
            int64_t first = qkv_index(a, n, i), y_first = y_index(a, n, i);
            void *dq = (void *)element(a, args->out[0], first);
            void *dk = (void *)element(a, args->out[0], first + a->features);
            void *dv = (void *)element(a, args->out[0], first + 2 * a->features);
            struct head h;
            head_load(a, qkv, dy, n, i, &w, &h);
            times_transposed(a, h.q, h.k, &w, w.scores);
            softmax->probabilities_again(t, t, a->score_stride, w.scores, a->scale, lse, w.p, type);
            score_transposed_times(a, w.p, h.dy, &w, dv, 3 * a->features);
            times_transposed(a, h.dy, h.v, &w, w.gradients);
            softmax->row_dots(t, a->head_features, element(a, dy, y_first), a->features,
                              element(a, y, y_first), a->features, w.row_dots, 1,
                              lam_cpu_simd_type(a->outside));
            softmax->score_gradients(t, t, a->score_stride, w.p, w.gradients, w.row_dots, a->scale, w.ds,
                                     type);
            score_times(a, w.ds, h.k, &w, dq, 3 * a->features);
            score_transposed_times(a, w.ds, h.q, &w, dk, 3 * a->features);
        }
}

/* ---- creation ---- */

static lam_status create(const struct lam_op *op, const struct lam_operand *qkv, struct lam_kernel **kernel) {
    int heads = op->attr.attention.heads;
    if (qkv->desc.shape.rank != 3 || heads < 1 || qkv->desc.shape.dim[2] % (3 * heads) != 0)
        return lam_cpu_unsupported(op, "the last dimension does not divide into q, k and v of its heads");
    if (!qkv->batched) return lam_cpu_unsupported(op, "q, k and v are not batched");
    LAM_TRY(lam_cpu_kernel_new(sizeof(struct attention), op, kernel));
    struct attention *a = (struct attention *)*kernel;
    bool backward = op->kind == LAM_OP_ATTENTION_BWD;
    a->kernel.run = backward ? backward_run : forward_run;
    a->tokens = qkv->desc.shape.dim[1];
    a->features = qkv->desc.shape.dim[2] / 3;
    a->heads = op->attr.attention.heads;
    a->head_features = a->features / a->heads;
    a->scale = 1.0f / sqrtf((float)a->head_features);
    a->outside = qkv->desc.dtype;
    a->format = lam_gemm_format(a->outside);
    if (a->format == LAM_GEMM_WIDENED) a->format = LAM_GEMM_F32;
    a->dtype = a->format == LAM_GEMM_F32 ? LAM_F32 : LAM_BF16;
    /* Whole cache lines, and one more so that rows do not fall into the same sets. */
    a->score_stride = (a->tokens + 15) / 16 * 16 + 16;
    a->score_bytes = (size_t)(a->tokens * a->score_stride) * sizeof(float);
    a->head_bytes = (size_t)(a->tokens * a->head_features) * sizeof(float);
    size_t across = lam_gemm_packed_bytes(a->format, a->head_features, a->tokens);
    size_t along = lam_gemm_packed_bytes(a->format, a->tokens, a->head_features);
    a->packed_bytes = across > along ? across : along;
    if (backward)
        a->scratch_bytes =
            lam_gemm_transposed_scratch_bytes(a->format, a->tokens, a->head_features, a->tokens, a->outside);
    struct work unused;
    a->kernel.workspace_bytes = work_layout(a, backward, NULL, &unused);
    return LAM_OK;
}

lam_status lam_cpu_attention_create(const struct lam_op *op, const struct lam_kernel_options *options,
                                    struct lam_kernel **kernel, const char **chosen) {
    (void)options, (void)chosen;
    return create(op, &op->in[0], kernel);
}

lam_status lam_cpu_attention_bwd_create(const struct lam_op *op, const struct lam_kernel_options *options,
                                        struct lam_kernel **kernel, const char **chosen) {
    (void)options, (void)chosen;
    return create(op, &op->in[1], kernel);
}
