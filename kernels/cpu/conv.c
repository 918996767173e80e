/* CONV, CONV_BWD_DATA and CONV_BWD_WEIGHTS: which code does them.
 *
 * A pass can be done in several ways, the op's *choices*:
 *
 *   direct     oneDNN's direct code for this pass.
 *   flipped    stride 1 only: forward by oneDNN's backward-data code, and the other way round. A convolution
 *              with stride 1 and its gradient are the same thing with input and output changed over, the
 * weights transposed and turned by 180 degrees, and the padding k - 1 - p: dx[i] = sum_o w[o][i] (*) dy[o] =
 * conv(dy, w'),  w'[i][o][y][x] = w[o][i][k-1-y][k-1-x]. The two codes of the library block their loops
 * differently, and which is better depends on the number of channels. winograd   our own kernels
 * (winograd_isa.c), for 3x3 with stride 1. oneDNN's have to transform the weights by a generic reorder, which
 * for the wide layers takes longer than the convolution, and work in tens of megabytes. */
#include "cpu/conv.h"

#include <stdlib.h>
#include <string.h>

const char *const lam_cpu_conv_choices[] = {"direct", "flipped", "winograd", NULL};

/* ---- choices ---- */

static bool equals(const char *a, const char *b) {
    return strcmp(a, b) == 0;
}

lam_status lam_cpu_conv_check(void) {
    const char *text = getenv("LAMINA_CONV");
    if (!text || !*text || equals(text, "direct")) return LAM_OK;
    return lam_fail(LAM_ERR_INVALID, "LAMINA_CONV=%.40s: can only be 'direct'; unset it for Winograd as well",
                    text);
}

bool lam_cpu_conv_direct_only(void) {
    const char *text = getenv("LAMINA_CONV");
    return text && equals(text, "direct");
}

static bool applies(const struct lam_op *op, const char *choice) {
    if (equals(choice, "flipped")) return lam_cpu_conv_flipped_applies(op);
    if (equals(choice, "winograd")) return !lam_cpu_conv_direct_only() && lam_cpu_conv_winograd_applies(op);
    return equals(choice, "direct");
}

/* The rule of shape. Winograd reads four times the weights that direct code reads, for every slice: with few
 * tiles of 4x4 pixels in a slice and weights that do not stay in the L2 cache that is too much. */
static const char *rule(const struct lam_op *op, const struct lam_kernel_options *options) {
    enum { FEW_TILES = 16, SMALL_WEIGHTS = 64 * 64 };
    if (!applies(op, "winograd")) return "direct";
    const struct lam_tensor_desc *in = &op->in[0].desc;
    const struct lam_tensor_desc *out =
        op->kind == LAM_OP_CONV_BWD_WEIGHTS ? &op->in[1].desc : &op->out[0].desc;
    int64_t tiles = options->slices[0] * ((out->shape.dim[2] + 3) / 4) * ((out->shape.dim[3] + 3) / 4);
    bool small = in->shape.dim[1] * out->shape.dim[1] <= SMALL_WEIGHTS;
    return tiles >= FEW_TILES || small ? "winograd" : "direct";
}

/* ---- create ---- */

/* One of the static names, so that it can be handed out; NULL if there is no such choice. */
static const char *find_choice(const char *name) {
    for (int i = 0; lam_cpu_conv_choices[i]; i++)
        if (equals(lam_cpu_conv_choices[i], name)) return lam_cpu_conv_choices[i];
    return NULL;
}

lam_status lam_cpu_conv_create(const struct lam_op *op, const struct lam_kernel_options *options,
                               struct lam_kernel **kernel, const char **chosen) {
    const char *choice = options->choice ? find_choice(options->choice) : rule(op, options);
    if (!choice || !applies(op, choice))
        return lam_fail(LAM_ERR_UNSUPPORTED, "%s cannot be done as '%s' here", lam_op_name(op->kind),
                        options->choice);
    *chosen = choice;
    if (equals(choice, "winograd")) return lam_cpu_conv_winograd_create(op, options, kernel);
    lam_status status = lam_cpu_conv_direct_create(op, options, equals(choice, "flipped"), kernel);
    if (status == LAM_ERR_UNSUPPORTED && op->in[0].desc.dtype == LAM_BF16)
        status = lam_cpu_conv_widened_create(op, options, lam_cpu_conv_create, kernel, chosen);
    return status;
}
