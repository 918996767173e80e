/* Convolutions by oneDNN's direct code, or by it with the weights flipped (conv.c).
 *
 * The prepared weights are in the library's format; behind them, where weights are flipped, is room for the
 * flipped plain copy. A weight gradient's partial is in the library's format, too, followed by the bias
 * gradient: the first slice of a lane writes into it, further slices write into the workspace and are added.
 */
#include "cpu/conv.h"
#include "cpu/onednn.h"
#include "cpu/reduce_isa.h"

#include <stdlib.h>
#include <string.h>

struct conv_kernel {
    struct lam_kernel base;
    struct lam_dnn_conv *conv;
    enum lam_dnn_pass pass; /* the library's, which is not the op's where weights are flipped */
    bool flipped;           /* prepare() flips the weights */
    size_t packed_bytes;    /* of the weights; the flipped plain copy, or the bias gradient, is behind them */
    size_t gradient_bytes;  /* front of the workspace that takes the gradient of one slice */
    int64_t output_channels; /* floats in a bias gradient; 0: there is none */
};

static size_t align64(size_t bytes) {
    return (bytes + 63) / 64 * 64;
}

/* ---- running ---- */

static void run_data(const struct lam_kernel *kernel, const struct lam_kernel_args *args) {
    const struct conv_kernel *k = (const struct conv_kernel *)kernel;
    bool forward = k->pass == LAM_DNN_FORWARD;
    lam_dnn_conv_run(k->conv, args->count, args->lane,
                     &(struct lam_dnn_conv_args){.src = forward ? args->in[0] : args->out[0],
                                                 .dst = forward ? args->out[0] : args->in[0],
                                                 .packed = args->in[1],
                                                 .bias = args->in[2],
                                                 .workspace = args->workspace});
}

static void run_weights(const struct lam_kernel *kernel, const struct lam_kernel_args *args) {
    const struct conv_kernel *k = (const struct conv_kernel *)kernel;
    char *gradient = args->accumulate ? args->workspace : args->partial;
    lam_dnn_conv_run(k->conv, args->count, args->lane,
                     &(struct lam_dnn_conv_args){.src = args->in[0],
                                                 .dst = args->in[1],
                                                 .packed = gradient,
                                                 .bias = gradient + k->packed_bytes,
                                                 .workspace = (char *)args->workspace + k->gradient_bytes});
    if (args->accumulate)
        LAM_ISA_PICK(lam_reduce)
            ->add(args->partial, (const float *)gradient,
                  (int64_t)(k->packed_bytes / sizeof(float)) + k->output_channels);
}

/* ---- weights in ---- */

/* flipped[i][o][t] = weights[o][i][taps - 1 - t] for input channels [first, first + count). */
static void flip(const float *weights, float *flipped, int64_t outputs, int64_t inputs, int64_t taps,
                 int64_t first, int64_t count) {
    enum { TILE = 16 }; /* a tile of each side stays in the L1 cache */
    for (int64_t i0 = first; i0 < first + count; i0 += TILE)
        for (int64_t o = 0; o < outputs; o++)
            for (int64_t i = i0; i < i0 + TILE && i < first + count; i++) {
                const float *from = weights + (o * inputs + i) * taps;
                float *to = flipped + (i * outputs + o) * taps;
                for (int64_t t = 0; t < taps; t++) to[t] = from[taps - 1 - t];
            }
}

static void prepare(const struct lam_kernel *kernel, int input, const void *source, void *prepared, int part,
                    int parts, struct lam_stream *stream) {
    (void)input, (void)stream;
    const struct conv_kernel *k = (const struct conv_kernel *)kernel;
    const int64_t *dim = kernel->op.in[1].desc.shape.dim;
    for (int c = 0; c < lam_dnn_conv_chunks(k->conv); c++) {
        if (c % parts != part) continue;
        const float *plain = source;
        if (k->flipped) {
            float *copy = (float *)((char *)prepared + k->packed_bytes);
            struct lam_dnn_chunk chunk = lam_dnn_conv_chunk(k->conv, c);
            flip(source, copy, dim[0], dim[1], dim[2] * dim[3], chunk.first, chunk.count);
            plain = copy;
        }
        lam_dnn_conv_pack(k->conv, c, plain, prepared);
    }
}

/* ---- weight gradients out ---- */

/* Sums bytes [begin, end) of all partials into the first one's. */
static void fold(void *const *partials, int count, size_t begin, size_t end) {
    const struct lam_reduce_kernels *reduce = LAM_ISA_PICK(lam_reduce);
    for (int i = 1; i < count; i++)
        reduce->add((float *)((char *)partials[0] + begin), (const float *)((char *)partials[i] + begin),
                    (int64_t)((end - begin) / sizeof(float)));
}

static void reduce(const struct lam_kernel *kernel, void *const *partials, int partial_count,
                   void *const *out, int part, int parts, struct lam_stream *stream) {
    (void)stream;
    const struct conv_kernel *k = (const struct conv_kernel *)kernel;
    for (int c = 0; c < lam_dnn_conv_chunks(k->conv) && out[0]; c++) {
        if (c % parts != part) continue;
        struct lam_dnn_chunk chunk = lam_dnn_conv_chunk(k->conv, c);
        fold(partials, partial_count, chunk.begin, chunk.end);
        lam_dnn_conv_unpack(k->conv, c, partials[0], out[0]);
    }
    if (part == parts - 1 && k->output_channels > 0 && out[1]) {
        size_t bytes = (size_t)k->output_channels * sizeof(float);
        fold(partials, partial_count, k->packed_bytes, k->packed_bytes + bytes);
        memcpy(out[1], (const char *)partials[0] + k->packed_bytes, bytes);
    }
}

/* ---- create ---- */

static void destroy(struct lam_kernel *kernel) {
    lam_dnn_conv_destroy(((struct conv_kernel *)kernel)->conv);
    free(kernel);
}

static struct lam_conv_attr flipped_attr(struct lam_conv_attr attr) {
    for (int i = 0; i < 2; i++) attr.pad[i] = attr.kernel[i] - 1 - attr.pad[i];
    return attr;
}

static struct lam_dnn_conv_spec make_spec(const struct lam_op *op, const struct lam_kernel_options *options,
                                          bool flipped) {
    bool weights = op->kind == LAM_OP_CONV_BWD_WEIGHTS, forward = op->kind == LAM_OP_CONV;
    struct lam_dnn_conv_spec spec = {.bias = weights ? op->out[1].present : forward && op->in[2].present,
                                     .relu = forward && op->attr.conv.relu,
                                     .attr = flipped ? flipped_attr(op->attr.conv) : op->attr.conv,
                                     .slices = options->slices,
                                     .slice_count = options->slice_count,
                                     .lanes = options->lanes};
    if (weights) {
        spec.pass = LAM_DNN_BACKWARD_WEIGHTS;
        spec.src = op->in[0].desc;
        spec.dst = op->in[1].desc;
    } else {
        spec.pass = forward != flipped ? LAM_DNN_FORWARD : LAM_DNN_BACKWARD_DATA;
        bool reads_src = spec.pass == LAM_DNN_FORWARD;
        spec.src = reads_src ? op->in[0].desc : op->out[0].desc;
        spec.dst = reads_src ? op->out[0].desc : op->in[0].desc;
    }
    return spec;
}

static void fill_data(struct conv_kernel *k) {
    size_t plain = (size_t)lam_shape_count(k->base.op.in[1].desc.shape) * sizeof(float);
    k->base.prepared_bytes[1] = k->packed_bytes + (k->flipped ? align64(plain) : 0);
    k->base.workspace_bytes = lam_dnn_conv_workspace_bytes(k->conv);
    k->base.run = run_data;
    k->base.prepare = prepare;
}

static void fill_weights(struct conv_kernel *k) {
    bool bias = k->base.op.out[1].present;
    k->output_channels = bias ? lam_shape_count(k->base.op.out[1].desc.shape) : 0;
    k->gradient_bytes = k->packed_bytes + align64((size_t)k->output_channels * sizeof(float));
    k->base.partial_bytes = k->gradient_bytes;
    k->base.workspace_bytes = k->gradient_bytes + lam_dnn_conv_workspace_bytes(k->conv);
    k->base.run = run_weights;
    k->base.reduce = reduce;
}

bool lam_cpu_conv_flipped_applies(const struct lam_op *op) {
    const struct lam_conv_attr *a = &op->attr.conv;
    bool good = op->kind != LAM_OP_CONV_BWD_WEIGHTS && a->groups == 1;
    for (int i = 0; i < 2; i++) good &= a->stride[i] == 1 && a->dilation[i] == 1 && a->pad[i] < a->kernel[i];
    /* Backward-data code takes no bias and no relu. */
    return good && !(op->kind == LAM_OP_CONV && (op->in[2].present || a->relu));
}

lam_status lam_cpu_conv_direct_create(const struct lam_op *op, const struct lam_kernel_options *options,
                                      bool flipped, struct lam_kernel **kernel) {
    struct lam_dnn_conv_spec spec = make_spec(op, options, flipped);
    struct conv_kernel *k = calloc(1, sizeof *k);
    if (!k) return lam_no_memory();
    lam_status status = lam_dnn_conv_create(&spec, &k->conv);
    if (status != LAM_OK) {
        free(k);
        return status;
    }
    k->base.op = *op;
    k->base.destroy = destroy;
    k->pass = spec.pass;
    k->flipped = flipped;
    k->packed_bytes = lam_dnn_conv_packed_bytes(k->conv);
    if (spec.pass == LAM_DNN_BACKWARD_WEIGHTS)
        fill_weights(k);
    else
        fill_data(k);
    *kernel = &k->base;
    return LAM_OK;
}
