/* Ops that reorder the pixels of an image: patchify (image to rows of patches), pixel shuffle (channels to
 * a finer grid) and permute (image to rows of channels), with their inverses. Patchify is done in PLAIN, as is pixel
 * shuffle where channels do not fill their groups; runs of neighbouring pixels are copied whole. */
#include <string.h>

#include "cpu/layout_adapter.h"
#include "cpu/ops.h"
#include "cpu/shape_isa.h"

struct shuffle_kernel {
    struct lam_kernel base;
    size_t channels, height, width; /* of the image side; for pixel shuffle, of the fine side */
    size_t size;                    /* patch size, or factor */
    size_t element, sample;         /* bytes */
    bool inverse;
};

static const struct shuffle_kernel *of(const struct lam_kernel *kernel) {
    return (const struct shuffle_kernel *)kernel;
}

static lam_status shuffle_create(const struct lam_op *op, const struct lam_operand *image, int size,
                                 bool inverse, struct lam_kernel **kernel) {
    const struct lam_shape shape = image->desc.shape;
    if (shape.rank != 4 || size < 1 || shape.dim[2] % size || shape.dim[3] % size)
        return lam_cpu_unsupported(op, "the image must be of rank 4 and divide into patches");
    LAM_TRY(lam_cpu_kernel_new(sizeof(struct shuffle_kernel), op, kernel));
    struct shuffle_kernel *shuffle = (struct shuffle_kernel *)*kernel;
    shuffle->channels = (size_t)shape.dim[1];
    shuffle->height = (size_t)shape.dim[2];
    shuffle->width = (size_t)shape.dim[3];
    shuffle->size = (size_t)size;
    shuffle->element = lam_dtype_bytes(image->desc.dtype);
    shuffle->sample = (size_t)lam_cpu_sample_elements(image) * shuffle->element;
    shuffle->inverse = inverse;
    return LAM_OK;
}

/* ---- patchify ---- */

/* One line of one channel: `size` pixels at a time go to (or come from) neighbouring patches. */
static void patch_line(const struct shuffle_kernel *s, char *line, char *rows, size_t row_bytes) {
    const size_t run = s->size * s->element;
    for (size_t x = 0; x < s->width / s->size; x++) {
        if (s->inverse)
            memcpy(line, rows, run);
        else
            memcpy(rows, line, run);
        line += run;
        rows += row_bytes;
    }
}

static void patchify_run(const struct lam_kernel *kernel, const struct lam_kernel_args *args) {
    const struct shuffle_kernel *s = of(kernel);
    char *image = s->inverse ? args->out[0] : (char *)(uintptr_t)args->in[0];
    char *patches = s->inverse ? (char *)(uintptr_t)args->in[0] : args->out[0];
    const size_t run = s->size * s->element, row_bytes = s->channels * s->size * run;
    const size_t across = s->width / s->size;
    for (int n = 0; n < args->count; n++, image += s->sample, patches += s->sample)
        for (size_t c = 0; c < s->channels; c++)
            for (size_t y = 0; y < s->height; y++)
                patch_line(s, image + (c * s->height + y) * s->width * s->element,
                           patches + y / s->size * across * row_bytes + (c * s->size + y % s->size) * run,
                           row_bytes);
}

static lam_status patchify_create(const struct lam_op *op, const struct lam_kernel_options *options,
                                  lam_cpu_create_fn self, struct lam_kernel **kernel, const char **chosen) {
    if (lam_cpu_any_blocked(op)) return lam_cpu_adapt(op, options, LAM_PLAIN, self, kernel, chosen);
    bool inverse = op->kind == LAM_OP_UNPATCHIFY;
    LAM_TRY(shuffle_create(op, inverse ? &op->out[0] : &op->in[0], op->attr.patchify.size, inverse, kernel));
    (*kernel)->run = patchify_run;
    return LAM_OK;
}

lam_status lam_cpu_patchify_create(const struct lam_op *op, const struct lam_kernel_options *options,
                                   struct lam_kernel **kernel, const char **chosen) {
    return patchify_create(op, options, lam_cpu_patchify_create, kernel, chosen);
}

lam_status lam_cpu_unpatchify_create(const struct lam_op *op, const struct lam_kernel_options *options,
                                     struct lam_kernel **kernel, const char **chosen) {
    return patchify_create(op, options, lam_cpu_unpatchify_create, kernel, chosen);
}

/* ---- pixel shuffle: fine(c, y r + i, x r + j) = coarse(c r r + i r + j, y, x) ---- */

/* Every r-th element of `fine` is a neighbour in `coarse`; `element` is a constant at every call. */
static inline void interleave(char *fine, char *coarse, size_t count, size_t r, size_t element,
                              bool inverse) {
    for (size_t x = 0; x < count; x++) {
        if (inverse)
            memcpy(coarse + x * element, fine + x * r * element, element);
        else
            memcpy(fine + x * r * element, coarse + x * element, element);
    }
}

static void pixel_shuffle_run(const struct lam_kernel *kernel, const struct lam_kernel_args *args) {
    const struct shuffle_kernel *s = of(kernel);
    char *fine = s->inverse ? (char *)(uintptr_t)args->in[0] : args->out[0];
    char *coarse = s->inverse ? args->out[0] : (char *)(uintptr_t)args->in[0];
    const size_t r = s->size, rows = s->height / r, columns = s->width / r;
    for (int n = 0; n < args->count; n++, fine += s->sample, coarse += s->sample)
        for (size_t line = 0; line < s->channels * s->height; line++)
            for (size_t j = 0; j < r; j++) {
                size_t c = line / s->height, y = line % s->height;
                size_t plane = c * r * r + y % r * r + j;
                char *to = fine + (line * s->width + j) * s->element;
                char *from = coarse + (plane * rows + y / r) * columns * s->element;
                if (s->element == 4)
                    interleave(to, from, columns, r, 4, s->inverse);
                else
                    interleave(to, from, columns, r, 2, s->inverse);
            }
}

/* In a blocked layout: channels of the fine image fill their groups, and so do those of the coarse one. */
struct blocked_shuffle {
    struct lam_kernel base;
    int64_t fine_groups, rows, columns;
    size_t sample; /* bytes */
    lam_shuffle_fn loop;
};

static void blocked_shuffle_run(const struct lam_kernel *kernel, const struct lam_kernel_args *args) {
    const struct blocked_shuffle *s = (const struct blocked_shuffle *)kernel;
    const bool inverse = kernel->op.kind == LAM_OP_PIXEL_UNSHUFFLE;
    char *in = (char *)(uintptr_t)args->in[0], *out = args->out[0]; /* in is only read */
    for (int n = 0; n < args->count; n++, in += s->sample, out += s->sample)
        s->loop(inverse ? in : out, inverse ? out : in, s->fine_groups, s->rows, s->columns,
                kernel->op.attr.pixel_shuffle.factor);
}

enum { LARGEST_BLOCKED_FACTOR = 8 }; /* a buffer's size */

static lam_status blocked_shuffle_create(const struct lam_op *op, const struct lam_operand *fine,
                                         const struct lam_operand *coarse, struct lam_kernel **kernel) {
    LAM_TRY(lam_cpu_kernel_new(sizeof(struct blocked_shuffle), op, kernel));
    struct blocked_shuffle *s = (struct blocked_shuffle *)*kernel;
    const struct lam_shape_kernels *k = LAM_ISA_PICK(lam_shape);
    const int block = lam_layout_block(fine->desc.layout);
    const size_t bytes = lam_dtype_bytes(fine->desc.dtype);
    s->fine_groups = fine->desc.shape.dim[1] / block;
    s->rows = coarse->desc.shape.dim[2];
    s->columns = coarse->desc.shape.dim[3];
    s->sample = (size_t)lam_cpu_sample_elements(fine) * bytes;
    s->loop = (op->kind == LAM_OP_PIXEL_UNSHUFFLE ? k->unshuffle : k->shuffle)[block == 16][bytes == 4];
    s->base.run = blocked_shuffle_run;
    return LAM_OK;
}

static lam_status pixel_shuffle_create(const struct lam_op *op, const struct lam_kernel_options *options,
                                       lam_cpu_create_fn self, struct lam_kernel **kernel,
                                       const char **chosen) {
    bool inverse = op->kind == LAM_OP_PIXEL_UNSHUFFLE;
    const struct lam_operand *fine = inverse ? &op->in[0] : &op->out[0];
    const struct lam_operand *coarse = inverse ? &op->out[0] : &op->in[0];
    const int block = lam_layout_block(fine->desc.layout), factor = op->attr.pixel_shuffle.factor;
    if (lam_dtype_bytes(fine->desc.dtype) < 2) return lam_cpu_unsupported(op, "elements of 2 or 4 bytes");
    if (block > 1 && fine->desc.layout == coarse->desc.layout && fine->desc.shape.dim[1] % block == 0 &&
        factor <= LARGEST_BLOCKED_FACTOR)
        return blocked_shuffle_create(op, fine, coarse, kernel);
    if (lam_cpu_any_blocked(op)) return lam_cpu_adapt(op, options, LAM_PLAIN, self, kernel, chosen);
    LAM_TRY(shuffle_create(op, fine, factor, inverse, kernel));
    (*kernel)->run = pixel_shuffle_run;
    return LAM_OK;
}

lam_status lam_cpu_pixel_shuffle_create(const struct lam_op *op, const struct lam_kernel_options *options,
                                        struct lam_kernel **kernel, const char **chosen) {
    return pixel_shuffle_create(op, options, lam_cpu_pixel_shuffle_create, kernel, chosen);
}

lam_status lam_cpu_pixel_unshuffle_create(const struct lam_op *op, const struct lam_kernel_options *options,
                                          struct lam_kernel **kernel, const char **chosen) {
    return pixel_shuffle_create(op, options, lam_cpu_pixel_unshuffle_create, kernel, chosen);
}

/* ---- permute: rows(y W + x, c) = image(c, y, x), which are rows of (a, k) as they lie ---- */

struct permute_kernel {
    struct lam_kernel base;
    int64_t channels, pixels;
    size_t image_sample, rows_sample; /* bytes */
    lam_rows_fn loop;
};

static void permute_run(const struct lam_kernel *kernel, const struct lam_kernel_args *args) {
    const struct permute_kernel *permute = (const struct permute_kernel *)kernel;
    const bool inverse = kernel->op.kind == LAM_OP_PERMUTE_CHW;
    char *image = inverse ? args->out[0] : (char *)(uintptr_t)args->in[0];
    char *rows = inverse ? (char *)(uintptr_t)args->in[0] : args->out[0];
    for (int n = 0; n < args->count; n++, image += permute->image_sample, rows += permute->rows_sample)
        permute->loop(image, rows, permute->channels, permute->pixels);
}

static lam_status permute_create(const struct lam_op *op, const struct lam_operand *image,
                                 const struct lam_operand *rows, struct lam_kernel **kernel) {
    const struct lam_tensor_desc *desc = &image->desc;
    const size_t bytes = lam_dtype_bytes(desc->dtype);
    if (desc->shape.rank != 4 || rows->desc.shape.rank != 3 || desc->layout == LAM_NHWC ||
        rows->desc.dtype != desc->dtype || bytes < 2 ||
        lam_shape_count(desc->shape) != lam_shape_count(rows->desc.shape))
        return lam_cpu_unsupported(op, "permutes an image of rank 4 to rows, elements of 2 or 4 bytes");
    LAM_TRY(lam_cpu_kernel_new(sizeof(struct permute_kernel), op, kernel));
    struct permute_kernel *permute = (struct permute_kernel *)*kernel;
    const struct lam_shape_kernels *k = LAM_ISA_PICK(lam_shape);
    const int block = lam_layout_block(desc->layout);
    permute->channels = desc->shape.dim[1];
    permute->pixels = desc->shape.dim[2] * desc->shape.dim[3];
    permute->image_sample = (size_t)lam_cpu_sample_elements(image) * bytes;
    permute->rows_sample = (size_t)lam_cpu_sample_elements(rows) * bytes;
    permute->loop =
        (op->kind == LAM_OP_PERMUTE_CHW ? k->from_rows : k->to_rows)[block / 8][bytes == 4]; /* 0, 1, 2 */
    permute->base.run = permute_run;
    return LAM_OK;
}

lam_status lam_cpu_permute_hwc_create(const struct lam_op *op, const struct lam_kernel_options *options,
                                      struct lam_kernel **kernel, const char **chosen) {
    (void)options, (void)chosen;
    return permute_create(op, &op->in[0], &op->out[0], kernel);
}

lam_status lam_cpu_permute_chw_create(const struct lam_op *op, const struct lam_kernel_options *options,
                                      struct lam_kernel **kernel, const char **chosen) {
    (void)options, (void)chosen;
    return permute_create(op, &op->out[0], &op->in[0], kernel);
}
