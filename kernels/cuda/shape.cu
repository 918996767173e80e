/* Ops that only move elements: copy, concat, slice and its gradient, pixel shuffle, permute and patchify, and their inverses.
 * Each says, for one sample, which dimensions it has and what steps they take on both sides; shape_copy.cu does the rest.
 */
#include "cuda/divisor.cuh"
#include "cuda/shape_copy.cuh"

struct shape_kernel {
    struct lam_kernel base;
    struct shape_copy copy[LAM_MAX_INPUTS]; /* one for each input; the first dimension is the batch */
    int64_t from_offset, to_offset[LAM_MAX_INPUTS];
    bool clear; /* the output is cleared first */
};

static const char *at(const void *base, int64_t offset, const struct lam_operand &operand) {
    return static_cast<const char *>(base) + (size_t)offset * lam_dtype_bytes(operand.desc.dtype);
}

static void shape_run(const struct lam_kernel *kernel, const struct lam_kernel_args *args) {
    const struct shape_kernel *s = reinterpret_cast<const struct shape_kernel *>(kernel);
    const struct lam_op &op = kernel->op;
    const char *name = lam_op_name(op.kind);
    const size_t bytes = lam_dtype_bytes(op.out[0].desc.dtype);
    if (s->clear)
        lam_cuda_check(args->stream,
                       cudaMemsetAsync(args->out[0], 0, (size_t)slice_elements(op.out[0], args) * bytes,
                                       args->stream->stream),
                       name);
    for (int i = 0; i < op.inputs; i++) {
        struct shape_copy copy = s->copy[i];
        if (op.in[i].batched) copy.size[0] = args->count;
        lam_cuda_shape_copy(args->stream, name, &copy, at(args->in[i], s->from_offset, op.in[i]),
                            const_cast<char *>(at(args->out[0], s->to_offset[i], op.out[0])), bytes);
    }
}

/* Checks what all these ops have in common. */
static lam_status shape_new(const struct lam_op *op, struct shape_kernel **kernel) {
    for (int i = 0; i < op->inputs; i++)
        if (op->in[i].desc.dtype != op->out[0].desc.dtype)
            return feature_op_unsupported(op, "elements keep their type");
    LAM_TRY(feature_op_new(op, kernel));
    (*kernel)->base.run = shape_run;
    return LAM_OK;
}

/* The batch dimension of all copies of a kernel. */
static void add_batch(struct shape_copy *copy, const struct lam_tensor_desc &from,
                      const struct lam_tensor_desc &to) {
    shape_copy_add(copy, from.shape.dim[0], lam_cuda_sample(&from), lam_cuda_sample(&to));
}

/* The steps of a tensor's dimensions, in elements. */
static void steps_of(const struct lam_tensor_desc &desc, int64_t steps[LAM_MAX_RANK]) {
    int64_t step = 1;
    for (int i = desc.shape.rank - 1; i >= 0; i--) {
        steps[i] = step;
        step *= desc.shape.dim[i];
    }
    if (desc.shape.rank != 4) return;
    const struct lam_cuda_view view = lam_cuda_view_of(&desc);
    steps[1] = view.sc;
    steps[2] = view.sh;
    steps[3] = view.sw;
}

/* ---- copy ---- */

struct reshape_kernel {
    struct lam_kernel base;
    struct divisor source_pixels, target_pixels, sample;
};

/* Element i of a sample in row-major order of its shape, with channels last in memory. */
__device__ inline int64_t image_place(uint32_t i, struct divisor pixels, struct divisor sample) {
    const uint32_t c = divide(i, pixels), channels = sample.value / pixels.value;
    return (int64_t)(i - c * pixels.value) * channels + c;
}

template <typename E>
__global__ void copy_reshaped(const E *from, E *to, struct divisor source_pixels,
                              struct divisor target_pixels, struct divisor sample, int64_t count) {
    for (int64_t i = first_index(); i < count; i += index_step()) {
        const int64_t first = divide_long(i, sample) * sample.value;
        const uint32_t element = (uint32_t)(i - first);
        to[first + image_place(element, target_pixels, sample)] =
            from[first + image_place(element, source_pixels, sample)];
    }
}

template <typename E>
static void reshape_slice(const struct lam_kernel *kernel, const struct lam_kernel_args *args) {
    const struct reshape_kernel *r = reinterpret_cast<const struct reshape_kernel *>(kernel);
    const int64_t count = slice_elements(kernel->op.in[0], args);
    lam_launch(args->stream, lam_op_name(kernel->op.kind), copy_reshaped<E>,
               lam_grid(args->stream, count, 256), 256, 0, static_cast<const E *>(args->in[0]),
               static_cast<E *>(args->out[0]), r->source_pixels, r->target_pixels, r->sample, count);
}

/* Between two shapes with channels last: no steps describe that. */
static lam_status reshape_create(const struct lam_op *op, struct lam_kernel **kernel) {
    const int64_t *from = op->in[0].desc.shape.dim, *to = op->out[0].desc.shape.dim;
    const size_t bytes = lam_dtype_bytes(op->in[0].desc.dtype);
    struct reshape_kernel *r = nullptr;
    LAM_TRY(feature_op_new(op, &r));
    r->source_pixels = divisor_of(from[2] * from[3]);
    r->target_pixels = divisor_of(to[2] * to[3]);
    r->sample = divisor_of(lam_cuda_sample(&op->in[0].desc));
    r->base.run = bytes == 4   ? reshape_slice<uint32_t>
                  : bytes == 2 ? reshape_slice<uint16_t>
                               : reshape_slice<uint8_t>;
    *kernel = &r->base;
    return LAM_OK;
}

static lam_status copy_create(const struct lam_op *op, struct lam_kernel **kernel) {
    const struct lam_operand &in = op->in[0], &out = op->out[0];
    const bool same_shape = lam_shape_equal(in.desc.shape, out.desc.shape);
    if (in.desc.dtype != out.desc.dtype || lam_shape_count(in.desc.shape) != lam_shape_count(out.desc.shape))
        return feature_op_unsupported(op, "a copy has the same type and count");
    if (!row_major(in.desc) && !row_major(out.desc) && !same_shape) return reshape_create(op, kernel);
    struct shape_kernel *s = nullptr;
    LAM_TRY(shape_new(op, &s));
    /* In the shape of the side that is not row-major: the other side is row-major in it, too. */
    const struct lam_shape &shape = row_major(out.desc) ? in.desc.shape : out.desc.shape;
    struct lam_tensor_desc from = in.desc, to = out.desc;
    int64_t from_steps[LAM_MAX_RANK], to_steps[LAM_MAX_RANK];
    from.shape = to.shape = shape;
    if (row_major(in.desc)) from.layout = LAM_PLAIN;
    if (row_major(out.desc)) to.layout = LAM_PLAIN;
    steps_of(from, from_steps);
    steps_of(to, to_steps);
    if (shape.rank == 0) shape_copy_add(&s->copy[0], 1, 1, 1);
    for (int i = 0; i < shape.rank; i++)
        shape_copy_add(&s->copy[0], shape.dim[i], from_steps[i], to_steps[i]);
    *kernel = &s->base;
    return LAM_OK;
}
LAM_CUDA_CREATE(lam_cuda_copy_create, copy_create)

/* ---- ranges along an axis: concat, slice ---- */

/* A copy of all dimensions but the batch; sizes are those of `part`. */
static void add_dimensions(struct shape_copy *copy, const struct lam_shape &part,
                           const struct lam_tensor_desc &from, const struct lam_tensor_desc &to) {
    int64_t from_steps[LAM_MAX_RANK], to_steps[LAM_MAX_RANK];
    steps_of(from, from_steps);
    steps_of(to, to_steps);
    add_batch(copy, from, to);
    for (int i = 1; i < part.rank; i++) shape_copy_add(copy, part.dim[i], from_steps[i], to_steps[i]);
}

static int64_t step_along(const struct lam_tensor_desc &desc, int axis) {
    int64_t steps[LAM_MAX_RANK];
    steps_of(desc, steps);
    return steps[axis];
}

static bool axis_fits(const struct lam_op *op) {
    return op->attr.axis.axis >= 1 && op->attr.axis.axis < op->out[0].desc.shape.rank &&
           op->in[0].desc.shape.rank == op->out[0].desc.shape.rank;
}

static lam_status concat_create(const struct lam_op *op, struct lam_kernel **kernel) {
    const int axis = op->attr.axis.axis;
    struct shape_kernel *s = nullptr;
    if (!axis_fits(op)) return feature_op_unsupported(op, "not along this axis");
    LAM_TRY(shape_new(op, &s));
    int64_t begin = 0;
    for (int i = 0; i < op->inputs; i++) {
        const struct lam_tensor_desc &part = op->in[i].desc;
        add_dimensions(&s->copy[i], part.shape, part, op->out[0].desc);
        s->to_offset[i] = begin * step_along(op->out[0].desc, axis);
        begin += part.shape.dim[axis];
    }
    *kernel = &s->base;
    return LAM_OK;
}
LAM_CUDA_CREATE(lam_cuda_concat_create, concat_create)

static lam_status slice_create(const struct lam_op *op, struct lam_kernel **kernel) {
    const bool backward = op->kind == LAM_OP_SLICE_BWD;
    const struct lam_axis_attr &range = op->attr.axis;
    struct shape_kernel *s = nullptr;
    if (!axis_fits(op)) return feature_op_unsupported(op, "not along this axis");
    LAM_TRY(shape_new(op, &s));
    const struct lam_operand &part = backward ? op->in[0] : op->out[0],
                             &whole = backward ? op->out[0] : op->in[0];
    const int64_t offset = range.begin * step_along(whole.desc, range.axis);
    add_dimensions(&s->copy[0], part.desc.shape, op->in[0].desc, op->out[0].desc);
    if (backward)
        s->to_offset[0] = offset;
    else
        s->from_offset = offset;
    s->clear = backward && !lam_shape_equal(part.desc.shape, whole.desc.shape);
    *kernel = &s->base;
    return LAM_OK;
}
LAM_CUDA_CREATE(lam_cuda_slice_create, slice_create)

LAM_CUDA_CREATE(lam_cuda_slice_bwd_create, slice_create)

/* ---- images to other forms, and back ---- */

/* Describes a copy from `image` to `other`; the batch dimension is there already. */
typedef void (*shuffle_fn)(const struct lam_op &op, const struct lam_tensor_desc &image,
                           const struct lam_tensor_desc &other, struct shape_copy *copy);

static void add_inverse(const struct shape_copy &copy, struct shape_copy *inverse) {
    for (int i = 0; i < copy.rank; i++) shape_copy_add(inverse, copy.size[i], copy.to[i], copy.from[i]);
}

/* `inverse`: the image is the output. */
static lam_status shuffle_create(const struct lam_op *op, bool inverse, int size, int other_rank,
                                 shuffle_fn describe, struct lam_kernel **kernel) {
    const struct lam_tensor_desc &image = inverse ? op->out[0].desc : op->in[0].desc;
    const struct lam_tensor_desc &other = inverse ? op->in[0].desc : op->out[0].desc;
    struct shape_kernel *s = nullptr;
    if (image.shape.rank != 4 || other.shape.rank != other_rank || size < 1 ||
        image.shape.dim[2] % size != 0 || image.shape.dim[3] % size != 0 ||
        lam_cuda_sample(&image) != lam_cuda_sample(&other))
        return feature_op_unsupported(op, "the image must be of rank 4 and divide into its parts");
    LAM_TRY(shape_new(op, &s));
    struct shape_copy copy = {};
    add_batch(&copy, image, other);
    describe(*op, image, other, &copy);
    if (inverse)
        add_inverse(copy, &s->copy[0]);
    else
        s->copy[0] = copy;
    *kernel = &s->base;
    return LAM_OK;
}

/* fine(c, y r + i, x r + j) = coarse(c r r + i r + j, y, x); the image is the fine side. */
static void describe_pixel_shuffle(const struct lam_op &op, const struct lam_tensor_desc &image,
                                   const struct lam_tensor_desc &other, struct shape_copy *copy) {
    const struct lam_cuda_view fine = lam_cuda_view_of(&image), coarse = lam_cuda_view_of(&other);
    const int r = op.attr.pixel_shuffle.factor;
    shape_copy_add(copy, fine.c, fine.sc, coarse.sc * r * r);
    shape_copy_add(copy, r, fine.sh, coarse.sc * r);
    shape_copy_add(copy, r, fine.sw, coarse.sc);
    shape_copy_add(copy, coarse.h, fine.sh * r, coarse.sh);
    shape_copy_add(copy, coarse.w, fine.sw * r, coarse.sw);
}

static lam_status pixel_shuffle_create(const struct lam_op *op, struct lam_kernel **kernel) {
    return shuffle_create(op, op->kind == LAM_OP_PIXEL_SHUFFLE, op->attr.pixel_shuffle.factor, 4,
                          describe_pixel_shuffle, kernel);
}
LAM_CUDA_CREATE(lam_cuda_pixel_shuffle_create, pixel_shuffle_create)
LAM_CUDA_CREATE(lam_cuda_pixel_unshuffle_create, pixel_shuffle_create)

/* rows(y W + x, c) = image(c, y, x), which are rows of (a, k) as they lie. */
static void describe_permute(const struct lam_op &, const struct lam_tensor_desc &image,
                             const struct lam_tensor_desc &, struct shape_copy *copy) {
    const struct lam_cuda_view view = lam_cuda_view_of(&image);
    shape_copy_add(copy, view.c, view.sc, 1);
    shape_copy_add(copy, view.h, view.sh, (int64_t)view.w * view.c);
    shape_copy_add(copy, view.w, view.sw, view.c);
}

static lam_status permute_create(const struct lam_op *op, struct lam_kernel **kernel) {
    return shuffle_create(op, op->kind == LAM_OP_PERMUTE_CHW, 1, 3, describe_permute, kernel);
}
LAM_CUDA_CREATE(lam_cuda_permute_hwc_create, permute_create)
LAM_CUDA_CREATE(lam_cuda_permute_chw_create, permute_create)

/* patches((y / p) (W / p) + x / p, c p p + y % p p + x % p) = image(c, y, x) */
static void describe_patchify(const struct lam_op &op, const struct lam_tensor_desc &image,
                              const struct lam_tensor_desc &, struct shape_copy *copy) {
    const struct lam_cuda_view view = lam_cuda_view_of(&image);
    const int64_t p = op.attr.patchify.size, row = view.c * p * p;
    shape_copy_add(copy, view.c, view.sc, p * p);
    shape_copy_add(copy, p, view.sh, p);
    shape_copy_add(copy, p, view.sw, 1);
    shape_copy_add(copy, view.h / p, view.sh * p, row * (view.w / p));
    shape_copy_add(copy, view.w / p, view.sw * p, row);
}

static lam_status patchify_create(const struct lam_op *op, struct lam_kernel **kernel) {
    return shuffle_create(op, op->kind == LAM_OP_UNPATCHIFY, op->attr.patchify.size, 3, describe_patchify,
                          kernel);
}
LAM_CUDA_CREATE(lam_cuda_patchify_create, patchify_create)
LAM_CUDA_CREATE(lam_cuda_unpatchify_create, patchify_create)
