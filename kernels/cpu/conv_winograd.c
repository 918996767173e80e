/* Convolutions by our own Winograd kernels: 3x3, stride 1, both sides in the blocked layout of the instruction
 * set, f32 or bf16.
 *
 * Backward data is a forward pass with flipped weights (conv.c). The prepared weights, and the partial of a
 * weight gradient, are in the transformed domain, four times the plain size, up to where the caches end. */
#include "cpu/conv.h"
#include "cpu/reduce_isa.h"
#include "cpu/winograd_isa.h"

#include <stdlib.h>
#include <string.h>

enum { BLOCK = LAM_WINOGRAD_BLOCK, POINTS = LAM_WINOGRAD_POINTS };

/* Bytes in the transformed domain up to which they are kept there. A gradient is read and written by every
 * lane for every block of tiles, and belongs in L2; weights are read by all lanes and do as well from L3. */
enum { MOST_GRADIENT = 4 << 20, MOST_WEIGHTS = 16 << 20 };

/* Bits of a prepared form: all that prepare depends on beside the weights. */
enum { FORM = 1, FLIPPED = 2, COMPACT = 4 };

struct winograd_kernel {
    struct lam_kernel base;
    struct lam_winograd_shape shape; /* count is the slice's, set in run */
    int inputs, outputs;             /* channels of the pass: backward data reads the output's gradient */
    size_t packed_bytes;             /* of the weights or their gradient; the bias gradient is behind it */
};

static const struct lam_winograd_kernels *kernels(void) {
    return LAM_ISA_PICK(lam_winograd);
}

/* ---- how much is done together ---- */

/* As many tiles as keep the transformed block in half of a 1 MiB L2 cache, but enough that the weights, read
 * once a block, do not become the bottleneck. */
int lam_winograd_tiles(const struct lam_winograd_shape *shape, bool gradient) {
    enum { BYTES = 384 << 10, LEAST = 28, LEAST_WIDE = 64, MOST = 112, WIDE = 24 };
    int blocks = shape->in_blocks + (gradient ? shape->out_blocks : 1);
    int tiles = BYTES / (POINTS * BLOCK * 4 * blocks);
    int least = blocks > WIDE ? LEAST_WIDE : LEAST;
    tiles = tiles < least ? least : tiles > MOST ? MOST : tiles;
    int total = shape->count * ((shape->out_width + 3) / 4) * ((shape->out_height + 3) / 4);
    int rounds = (total + tiles - 1) / tiles;
    return ((total + rounds - 1) / rounds + 3) / 4 * 4;
}

size_t lam_winograd_workspace(const struct lam_winograd_shape *shape, bool gradient) {
    int tiles = lam_winograd_tiles(shape, gradient);
    size_t blocks = (size_t)(shape->in_blocks + (gradient ? shape->out_blocks : 1));
    /* One output block of compact weights, transformed; winograd_isa.c: unpacked_point. */
    size_t unpacked = shape->compact && !gradient ? (size_t)shape->in_blocks * BLOCK + 1 : 0;
    return ((size_t)(tiles | 1) * blocks + unpacked) * POINTS * BLOCK * sizeof(float);
}

/* ---- running ---- */

static void run_data(const struct lam_kernel *kernel, const struct lam_kernel_args *args) {
    const struct winograd_kernel *k = (const struct winograd_kernel *)kernel;
    struct lam_winograd_shape shape = k->shape;
    shape.count = args->count;
    bool forward = kernel->op.kind == LAM_OP_CONV;
    kernels()->forward(&shape, args->in[0], args->in[1], forward ? args->in[2] : NULL, k->outputs,
                       forward && kernel->op.attr.conv.relu, args->out[0], args->workspace);
}

static void run_weights(const struct lam_kernel *kernel, const struct lam_kernel_args *args) {
    const struct winograd_kernel *k = (const struct winograd_kernel *)kernel;
    struct lam_winograd_shape shape = k->shape;
    shape.count = args->count;
    kernels()->gradient(&shape, args->in[0], args->in[1], args->partial, args->accumulate, args->workspace);
    if (kernel->op.out[1].present)
        kernels()->bias_gradient(&shape, args->in[1], (float *)((char *)args->partial + k->packed_bytes),
                                 args->accumulate);
}

static void prepare(const struct lam_kernel *kernel, int input, const void *source, void *prepared, int part,
                    int parts, struct lam_stream *stream) {
    (void)input, (void)stream;
    const struct winograd_kernel *k = (const struct winograd_kernel *)kernel;
    int64_t begin, end;
    lam_part(k->shape.out_blocks, part, parts, &begin, &end);
    kernels()->weights(source, prepared, k->inputs, k->outputs, kernel->op.kind == LAM_OP_CONV_BWD_DATA,
                       k->shape.compact, (int)begin, (int)end);
}

/* Sums floats [begin, end) of all partials into the first one's. */
static void fold(void *const *partials, int count, int64_t begin, int64_t end) {
    for (int i = 1; i < count; i++)
        LAM_ISA_PICK(lam_reduce)
            ->add((float *)partials[0] + begin, (const float *)partials[i] + begin, end - begin);
}

static void reduce(const struct lam_kernel *kernel, void *const *partials, int partial_count,
                   void *const *out, int part, int parts, struct lam_stream *stream) {
    (void)stream;
    const struct winograd_kernel *k = (const struct winograd_kernel *)kernel;
    int64_t begin, end, block = (int64_t)(k->packed_bytes / sizeof(float)) / k->shape.out_blocks;
    lam_part(k->shape.out_blocks, part, parts, &begin, &end);
    if (out[0]) {
        fold(partials, partial_count, begin * block, end * block);
        kernels()->gradient_out(partials[0], out[0], k->inputs, k->outputs, k->shape.compact, (int)begin,
                                (int)end);
    }
    if (part == parts - 1 && kernel->op.out[1].present && out[1]) {
        int64_t bias = k->shape.out_blocks * block;
        fold(partials, partial_count, bias, bias + k->outputs);
        memcpy(out[1], (const float *)partials[0] + bias, (size_t)k->outputs * sizeof(float));
    }
}

/* ---- create ---- */

bool lam_cpu_conv_winograd_applies(const struct lam_op *op) {
    const struct lam_conv_attr *a = &op->attr.conv;
    const struct lam_operand *other = op->kind == LAM_OP_CONV_BWD_WEIGHTS ? &op->in[1] : &op->out[0];
    bool plain_steps = a->groups == 1;
    for (int i = 0; i < 2; i++)
        plain_steps &= a->kernel[i] == 3 && a->stride[i] == 1 && a->dilation[i] == 1 && a->pad[i] <= 2;
    enum lam_layout blocked = lam_cpu_blocked_layout();
    return plain_steps && op->in[0].desc.layout == blocked && other->desc.layout == blocked;
}

static void destroy(struct lam_kernel *kernel) {
    free(kernel);
}

static int blocks_of(int channels, int block) {
    return (channels + block - 1) / block;
}

static void fill_shape(struct winograd_kernel *k) {
    const struct lam_op *op = &k->base.op;
    bool weights = op->kind == LAM_OP_CONV_BWD_WEIGHTS;
    const int64_t *in = op->in[0].desc.shape.dim;
    const int64_t *out = weights ? op->in[1].desc.shape.dim : op->out[0].desc.shape.dim;
    k->inputs = (int)in[1];
    k->outputs = (int)out[1];
    int plane = lam_layout_block(op->in[0].desc.layout);
    k->shape = (struct lam_winograd_shape){.in_blocks = blocks_of(k->inputs, BLOCK),
                                           .out_blocks = blocks_of(k->outputs, BLOCK),
                                           .in_planes = blocks_of(k->inputs, plane),
                                           .out_planes = blocks_of(k->outputs, plane),
                                           .height = (int)in[2],
                                           .width = (int)in[3],
                                           .out_height = (int)out[2],
                                           .out_width = (int)out[3],
                                           .bf16 = op->in[0].desc.dtype == LAM_BF16};
    for (int i = 0; i < 2; i++) {
        int pad = op->attr.conv.pad[i];
        k->shape.pad[i] = op->kind == LAM_OP_CONV_BWD_DATA ? 2 - pad : pad;
    }
}

/* The largest slice need not be the one that takes the most workspace: rounding tiles is not monotonic. */
static size_t most_workspace(const struct winograd_kernel *k, const struct lam_kernel_options *options) {
    size_t most = 0;
    for (int i = 0; i < options->slice_count; i++) {
        struct lam_winograd_shape shape = k->shape;
        shape.count = options->slices[i];
        size_t bytes = lam_winograd_workspace(&shape, k->base.op.kind == LAM_OP_CONV_BWD_WEIGHTS);
        if (bytes > most) most = bytes;
    }
    return most;
}

lam_status lam_cpu_conv_winograd_create(const struct lam_op *op, const struct lam_kernel_options *options,
                                        struct lam_kernel **kernel) {
    struct winograd_kernel *k = calloc(1, sizeof *k);
    if (!k) return lam_no_memory();
    k->base.op = *op;
    k->base.destroy = destroy;
    fill_shape(k);
    k->packed_bytes =
        (size_t)k->shape.in_blocks * (size_t)k->shape.out_blocks * POINTS * BLOCK * BLOCK * sizeof(float);
    k->shape.compact = k->packed_bytes > (op->kind == LAM_OP_CONV_BWD_WEIGHTS ? MOST_GRADIENT : MOST_WEIGHTS);
    if (k->shape.compact) k->packed_bytes = k->packed_bytes / POINTS * LAM_WINOGRAD_TAPS;
    k->base.workspace_bytes = most_workspace(k, options);
    if (op->kind == LAM_OP_CONV_BWD_WEIGHTS) {
        size_t bias = op->out[1].present ? (size_t)k->shape.out_blocks * BLOCK * sizeof(float) : 0;
        k->base.partial_bytes = k->packed_bytes + bias;
        k->base.run = run_weights;
        k->base.reduce = reduce;
    } else {
        k->base.prepared_bytes[1] = k->packed_bytes;
        k->base.prepared_form[1] =
            FORM | (op->kind == LAM_OP_CONV_BWD_DATA ? FLIPPED : 0) | (k->shape.compact ? COMPACT : 0);
        k->base.run = run_data;
        k->base.prepare = prepare;
    }
    *kernel = &k->base;
    return LAM_OK;
}
