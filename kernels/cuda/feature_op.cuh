/* The host's side of ops in device code: making kernels, and what operands look like in memory. */
#ifndef LAM_CUDA_FEATURE_OP_CUH
#define LAM_CUDA_FEATURE_OP_CUH

#include <initializer_list>

#include "cuda/creation.h"
#include "cuda/launch.cuh"
#include "cuda/ops.h"

/* Defines the create function of an op by a function that takes no more than the op: make(op, kernel). */
#define LAM_CUDA_CREATE(name, make)                                                                          \
    lam_status name(struct lam_backend_device *, const struct lam_op *op, const struct lam_kernel_options *, \
                    struct lam_kernel **kernel, const char **) {                                             \
        return make(op, kernel);                                                                             \
    }

static inline lam_status feature_op_unsupported(const struct lam_op *op, const char *why) {
    return lam_cuda_unsupported(op, why);
}

/* A zeroed K, which begins with `struct lam_kernel base`; freed by free(). */
template <typename K> static lam_status feature_op_new(const struct lam_op *op, K **kernel) {
    for (int i = 0; i < op->inputs + op->outputs; i++) {
        const struct lam_operand *operand = i < op->inputs ? &op->in[i] : &op->out[i - op->inputs];
        if (operand->present && lam_cuda_sample(&operand->desc) > INT32_MAX)
            return feature_op_unsupported(op, "a sample of 2^31 elements or more");
    }
    struct lam_kernel *made = nullptr;
    LAM_TRY(lam_cuda_kernel_new(sizeof(K), op, &made));
    *kernel = reinterpret_cast<K *>(made);
    return LAM_OK;
}

static inline bool is_float(const struct lam_operand &operand) {
    return operand.desc.dtype == LAM_F32 || operand.desc.dtype == LAM_BF16;
}

/* All of these are present operands' types, or absent: one type for all of them, f32 or bf16. */
static inline bool one_float_type(std::initializer_list<const struct lam_operand *> operands) {
    enum lam_dtype dtype = (*operands.begin())->desc.dtype;
    for (const struct lam_operand *operand : operands)
        if (operand->present && (operand->desc.dtype != dtype || !is_float(*operand))) return false;
    return true;
}

/* Calls f with a null pointer to the element type. dtype: f32 or bf16. */
template <typename F> static void with_float_type(enum lam_dtype dtype, F f) {
    if (dtype == LAM_F32)
        f(static_cast<float *>(nullptr));
    else
        f(static_cast<bf16 *>(nullptr));
}

/* Elements of an operand that a slice has. */
static inline int64_t slice_elements(const struct lam_operand &operand, const struct lam_kernel_args *args) {
    return operand.batched ? args->count * lam_cuda_sample(&operand.desc)
                           : lam_shape_count(operand.desc.shape);
}

/* True for NHWC, and for PLAIN values that lie just the same. Of rank-4 values. */
static inline bool channels_last(const struct lam_tensor_desc &desc) {
    const int64_t *d = desc.shape.dim;
    return desc.layout == LAM_NHWC || d[1] == 1 || d[2] * d[3] == 1;
}

/* True if the order in memory is the row-major one of the shape. */
static inline bool row_major(const struct lam_tensor_desc &desc) {
    const int64_t *d = desc.shape.dim;
    return desc.shape.rank != 4 || desc.layout == LAM_PLAIN || d[1] == 1 || d[2] * d[3] == 1;
}

/* Null pointers are aligned. */
static inline bool aligned(std::initializer_list<const void *> pointers, size_t bytes = 16) {
    for (const void *pointer : pointers)
        if (reinterpret_cast<uintptr_t>(pointer) % bytes != 0) return false;
    return true;
}

#endif
