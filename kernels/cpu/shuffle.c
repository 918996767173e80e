/* Ops that reorder the pixels of an image: patchify (image to rows of patches) and pixel shuffle (channels to
 * a finer grid), with their inverses. Done in PLAIN; runs of neighbouring pixels are copied whole. */
#include <string.h>

#include "cpu/layout_adapter.h"
#include "cpu/ops.h"

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

static lam_status pixel_shuffle_create(const struct lam_op *op, const struct lam_kernel_options *options,
                                       lam_cpu_create_fn self, struct lam_kernel **kernel,
                                       const char **chosen) {
    if (lam_cpu_any_blocked(op)) return lam_cpu_adapt(op, options, LAM_PLAIN, self, kernel, chosen);
    bool inverse = op->kind == LAM_OP_PIXEL_UNSHUFFLE;
    const struct lam_operand *fine = inverse ? &op->in[0] : &op->out[0];
    if (lam_dtype_bytes(fine->desc.dtype) < 2) return lam_cpu_unsupported(op, "elements of 2 or 4 bytes");
    LAM_TRY(shuffle_create(op, fine, op->attr.pixel_shuffle.factor, inverse, kernel));
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
