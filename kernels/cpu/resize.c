/* Resizing by nearest neighbour or bilinear interpolation, and the gradient. Here: which pixels with which
 * weights, as tables made once; the gradient's tables are the forward ones turned round. */
#include "cpu/resize_isa.h"

#include <math.h>
#include <stdlib.h>

#include "cpu/layout_adapter.h"
#include "cpu/ops.h"

struct resize_kernel {
    struct lam_kernel base;
    struct lam_resize_axis axis[2];
    int64_t planes; /* of one sample */
    int block;
    lam_resize_fn loop;
};

static void resize_run(const struct lam_kernel *kernel, const struct lam_kernel_args *args) {
    const struct resize_kernel *resize = (const struct resize_kernel *)kernel;
    resize->loop(&(struct lam_resize_slice){
        .from = args->in[0],
        .to = args->out[0],
        .planes = resize->planes * args->count,
        .block = resize->block,
        .axis = resize->axis,
        .line = args->workspace,
    });
}

static void resize_destroy(struct lam_kernel *kernel) {
    struct resize_kernel *resize = (struct resize_kernel *)kernel;
    for (int i = 0; i < 2; i++) {
        free(resize->axis[i].begin);
        free(resize->axis[i].at);
        free(resize->axis[i].weight);
    }
    free(resize);
}

/* The at most two source pixels of result pixel i, as PyTorch's interpolate with align_corners false. */
struct taps {
    int at[2];
    float weight[2];
};

static struct taps taps_of(int i, int from, int to, bool bilinear) {
    if (!bilinear) return (struct taps){{(int)((int64_t)i * from / to), 0}, {1, 0}};
    double place = ((double)i + 0.5) * from / to - 0.5;
    if (place < 0) place = 0;
    int first = (int)floor(place);
    if (first > from - 1) first = from - 1;
    int second = first + 1 < from ? first + 1 : first;
    float share = (float)(place - first);
    if (second == first) return (struct taps){{first, 0}, {1, 0}};
    return (struct taps){{first, second}, {1 - share, share}};
}

static lam_status axis_allocate(struct lam_resize_axis *axis, int from, int to, int results) {
    int entries = 2 * (from > to ? from : to);
    axis->from = from;
    axis->to = to;
    axis->begin = calloc((size_t)results + 2, sizeof(int));
    axis->at = calloc((size_t)entries, sizeof(int));
    axis->weight = calloc((size_t)entries, sizeof(float));
    if (axis->begin && axis->at && axis->weight) return LAM_OK;
    return lam_fail(LAM_ERR_NO_MEMORY, "no memory for resizing tables");
}

static lam_status axis_forward(struct lam_resize_axis *axis, int from, int to, bool bilinear) {
    LAM_TRY(axis_allocate(axis, from, to, to));
    int entry = 0;
    for (int i = 0; i < to; i++) {
        struct taps taps = taps_of(i, from, to, bilinear);
        for (int t = 0; t < 2; t++) {
            if (taps.weight[t] == 0) continue;
            axis->at[entry] = taps.at[t];
            axis->weight[entry++] = taps.weight[t];
        }
        axis->begin[i + 1] = entry;
    }
    return LAM_OK;
}

/* small, large: sizes of the forward op's input and result. The gradient goes from `large` back to `small`.
 * A counting sort of the forward taps by input pixel: count, add up, fill in. */
static lam_status axis_backward(struct lam_resize_axis *axis, int small, int large, bool bilinear) {
    LAM_TRY(axis_allocate(axis, large, small, small));
    int *next = axis->begin + 1; /* while filling in, next[i] is where pixel i's next entry goes */
    for (int pass = 0; pass < 2; pass++) {
        for (int i = 0; i < large; i++) {
            struct taps taps = taps_of(i, small, large, bilinear);
            for (int t = 0; t < 2; t++) {
                if (taps.weight[t] == 0) continue;
                int pixel = taps.at[t];
                if (pass == 0) {
                    axis->begin[pixel + 2]++;
                    continue;
                }
                axis->at[next[pixel]] = i;
                axis->weight[next[pixel]++] = taps.weight[t];
            }
        }
        for (int i = 0; pass == 0 && i < small; i++) axis->begin[i + 2] += axis->begin[i + 1];
    }
    return LAM_OK;
}

/* The longest run of results with equally many source pixels, from the middle: only ends differ where sizes divide. */
static void find_even(struct lam_resize_axis *axis) {
    const int *begin = axis->begin, middle = axis->to / 2;
    axis->taps = begin[middle + 1] - begin[middle];
    axis->even_begin = axis->even_end = middle;
    while (axis->even_begin > 0 && begin[axis->even_begin] - begin[axis->even_begin - 1] == axis->taps)
        axis->even_begin--;
    while (axis->even_end < axis->to && begin[axis->even_end + 1] - begin[axis->even_end] == axis->taps)
        axis->even_end++;
    axis->picks = axis->taps == 1 && axis->even_begin == 0 && axis->even_end == axis->to;
    for (int i = 0; i < axis->to && axis->picks; i++) axis->picks = axis->weight[i] == 1;
}

static lam_status resize_create(const struct lam_op *op, const struct lam_kernel_options *options,
                                lam_cpu_create_fn self, struct lam_kernel **kernel, const char **chosen) {
    enum lam_layout layout;
    if (!lam_cpu_same_layout(op, &layout)) return lam_cpu_adapt(op, options, layout, self, kernel, chosen);
    const struct lam_tensor_desc *from = &op->in[0].desc, *to = &op->out[0].desc;
    if (from->shape.rank != 4 || from->dtype != to->dtype ||
        (from->dtype != LAM_F32 && from->dtype != LAM_BF16))
        return lam_cpu_unsupported(op, "resizing takes f32 or bf16 of rank 4");
    struct lam_kernel *made = NULL;
    LAM_TRY(lam_cpu_kernel_new(sizeof(struct resize_kernel), op, &made));
    struct resize_kernel *resize = (struct resize_kernel *)made;
    made->destroy = resize_destroy;
    made->run = resize_run;
    resize->block = lam_layout_block(layout);
    resize->planes = (from->shape.dim[1] + resize->block - 1) / resize->block;
    bool bilinear = op->attr.resize.bilinear;
    for (int i = 0; i < 2; i++) {
        int here = (int)from->shape.dim[2 + i], there = (int)to->shape.dim[2 + i];
        lam_status status = op->kind == LAM_OP_RESIZE
                                ? axis_forward(&resize->axis[i], here, there, bilinear)
                                : axis_backward(&resize->axis[i], there, here, bilinear);
        if (status != LAM_OK) {
            resize_destroy(made);
            return status;
        }
        find_even(&resize->axis[i]);
    }
    const struct lam_resize_kernels *loops = LAM_ISA_PICK(lam_resize);
    if (resize->axis[0].picks && resize->axis[1].picks) {
        resize->loop = loops->pick[resize->block / 8][from->dtype == LAM_F32];
    } else {
        resize->loop = loops->apply[lam_cpu_simd_type(from->dtype)];
        made->workspace_bytes = (size_t)from->shape.dim[3] * (size_t)resize->block * sizeof(float);
    }
    *kernel = made;
    return LAM_OK;
}

lam_status lam_cpu_resize_create(const struct lam_op *op, const struct lam_kernel_options *options,
                                 struct lam_kernel **kernel, const char **chosen) {
    return resize_create(op, options, lam_cpu_resize_create, kernel, chosen);
}

lam_status lam_cpu_resize_bwd_create(const struct lam_op *op, const struct lam_kernel_options *options,
                                     struct lam_kernel **kernel, const char **chosen) {
    return resize_create(op, options, lam_cpu_resize_bwd_create, kernel, chosen);
}
