/* AUGMENT: NORMALIZE's table, read at places that each sample's random numbers say. */
#include <string.h>

#include "augment.h"
#include "base/rng.h"
#include "cpu/layout_adapter.h"
#include "cpu/normalize.h"
#include "cpu/ops.h"

struct augment_kernel {
    struct lam_kernel base;
    struct lam_pixel_table table;
};

static struct lam_augment_draw draw(const struct lam_kernel *kernel, const struct lam_run *run,
                                    int64_t place) {
    const struct lam_shape *shape = &kernel->op.in[0].desc.shape;
    uint32_t words[LAM_AUGMENT_WORDS];
    struct lam_rng rng = lam_rng_make(run->seed, LAM_RNG_AUGMENT, run->step, run->first + (uint64_t)place);
    for (int i = 0; i < LAM_AUGMENT_WORDS; i++) words[i] = lam_rng_u32(&rng);
    return lam_augment_draw_of(&kernel->op.attr.augment, (int)shape->dim[3], (int)shape->dim[2], words);
}

/* Places of a row: [0, begin) and [end, width) come from beyond the image's border, [cut, cut_end) is zero. */
struct row_places {
    int width, begin, end, cut, cut_end;
    int origin, way; /* place x comes from origin + way x */
    bool reflect;
};

static int least(int a, int b) {
    return a < b ? a : b;
}

static int most(int a, int b) {
    return a > b ? a : b;
}

static struct row_places places_of(const struct lam_augment_draw *d, bool reflect, int width, int y) {
    const int shift = d->mirror ? d->shift_x : -d->shift_x;
    const bool cut = y >= d->cut_y && y < d->cut_end_y;
    return (struct row_places){.width = width,
                               .begin = least(width, most(0, shift)),
                               .end = most(0, least(width, width + shift)),
                               .cut = most(0, d->cut_x),
                               .cut_end = cut ? least(width, d->cut_end_x) : 0,
                               .origin = (d->mirror ? width - 1 : 0) + d->shift_x,
                               .way = d->mirror ? -1 : 1,
                               .reflect = reflect};
}

/* A row of the result from the image's row. Zero is the same in both types. */
#define AUGMENT_ROW(name, type)                                                                              \
    static type name##_beyond(const struct row_places *p, int x, const uint8_t *from, const type *table) {   \
        const int at = lam_augment_inside(p->origin + p->way * x, p->width, p->reflect);                     \
        return at < 0 ? 0 : table[from[at]];                                                                 \
    }                                                                                                        \
    static void name(const struct row_places *p, const uint8_t *from, const type *table, type *to) {         \
        for (int x = 0; x < p->begin; x++) to[x] = name##_beyond(p, x, from, table);                         \
        for (int x = p->begin; x < p->end; x++) to[x] = table[from[p->origin + p->way * x]];                 \
        for (int x = p->end; x < p->width; x++) to[x] = name##_beyond(p, x, from, table);                    \
        for (int x = p->cut; x < p->cut_end; x++) to[x] = 0;                                                 \
    }
AUGMENT_ROW(augment_row, float)
AUGMENT_ROW(augment_row_halves, uint16_t)

static void augment_run(const struct lam_kernel *kernel, const struct lam_kernel_args *args) {
    const struct augment_kernel *k = (const struct augment_kernel *)kernel;
    const struct lam_shape *shape = &kernel->op.in[0].desc.shape;
    const int channels = (int)shape->dim[1], height = (int)shape->dim[2], width = (int)shape->dim[3];
    const bool half = kernel->op.out[0].desc.dtype == LAM_BF16, reflect = kernel->op.attr.augment.reflect;
    const uint8_t *plane = args->in[0];
    char *to = args->out[0];
    const size_t row = (size_t)width * lam_dtype_bytes(kernel->op.out[0].desc.dtype);
    for (int n = 0; n < args->count; n++) {
        const struct lam_augment_draw d = draw(kernel, args->run, args->first + n);
        for (int c = 0; c < channels; c++, plane += (size_t)height * (size_t)width)
            for (int y = 0; y < height; y++, to += row) {
                const int at = lam_augment_inside(y + d.shift_y, height, reflect);
                const uint8_t *from = plane + (size_t)most(at, 0) * (size_t)width;
                const struct row_places places = places_of(&d, reflect, width, y);
                if (at < 0)
                    memset(to, 0, row);
                else if (half)
                    augment_row_halves(&places, from, k->table.bf16[c], (uint16_t *)to);
                else
                    augment_row(&places, from, k->table.f32[c], (float *)to);
            }
    }
}

lam_status lam_cpu_augment_create(const struct lam_op *op, const struct lam_kernel_options *options,
                                  struct lam_kernel **kernel, const char **chosen) {
    LAM_TRY(lam_cpu_check_pixels(op));
    if (lam_cpu_any_blocked(op))
        return lam_cpu_adapt(op, options, LAM_PLAIN, lam_cpu_augment_create, kernel, chosen);
    LAM_TRY(lam_cpu_kernel_new(sizeof(struct augment_kernel), op, kernel));
    struct augment_kernel *k = (struct augment_kernel *)*kernel;
    lam_cpu_fill_pixel_table(&op->attr.augment.normalize, (int)op->in[0].desc.shape.dim[1], &k->table);
    k->base.run = augment_run;
    return LAM_OK;
}
