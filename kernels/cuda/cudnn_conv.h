/* One convolution by cuDNN: its descriptors for each slice size, and the algorithm with which it runs.
 *
 * Feature maps are NHWC, filters [O][kh][kw][C/g], both of the activations' type and at addresses that are multiples of
 * LAM_CUDNN_ALIGNMENT; sums are in f32. The pass is the op's kind: CONV (x, w -> y), CONV_BWD_DATA (dy, w -> dx) or
 * CONV_BWD_WEIGHTS (x, dy -> dw).
 */
#ifndef LAM_CUDA_CUDNN_CONV_H
#define LAM_CUDA_CUDNN_CONV_H

#include "cuda/libraries.h"

enum { LAM_CUDNN_ALIGNMENT = 16 };

struct lam_cudnn_slice {
    int count; /* samples */
    cudnnTensorDescriptor_t x, y;
    size_t scratch_bytes; /* of the algorithm */
};

struct lam_cudnn_conv {
    enum lam_op_kind kind;
    cudnnHandle_t handle;
    cudnnConvolutionDescriptor_t convolution;
    cudnnMathType_t math; /* that the convolution's description asks for */
    cudnnFilterDescriptor_t w;
    cudnnTensorDescriptor_t bias;           /* of the activations' type; NULL, as `activation`, without one */
    cudnnActivationDescriptor_t activation; /* ReLU or nothing */
    int algorithm;                          /* of the enumeration of the pass */
    int slice_count;
    struct lam_cudnn_slice slices[];
};

/* The operands of a convolution op by their role, whatever the pass. */
static inline const struct lam_operand *lam_conv_x(const struct lam_op *op) {
    return op->kind == LAM_OP_CONV_BWD_DATA ? &op->out[0] : &op->in[0];
}
static inline const struct lam_operand *lam_conv_y(const struct lam_op *op) {
    return op->kind == LAM_OP_CONV ? &op->out[0] : op->kind == LAM_OP_CONV_BWD_DATA ? &op->in[0] : &op->in[1];
}
static inline const struct lam_operand *lam_conv_w(const struct lam_op *op) {
    return op->kind == LAM_OP_CONV_BWD_WEIGHTS ? &op->out[0] : &op->in[1];
}

/* options->choice is NULL or an algorithm's name. LAM_ERR_UNSUPPORTED if there is no algorithm for it, or that one is none
 * for it; LAM_ERR_INVALID if the pass has none of that name. *chosen: the algorithm's name. */
lam_status lam_cudnn_conv_create(struct lam_backend_device *device, const struct lam_op *op,
                                 const struct lam_kernel_options *options, struct lam_cudnn_conv **conv,
                                 const char **chosen);
void lam_cudnn_conv_destroy(struct lam_cudnn_conv *conv);

/* The names of all algorithms of a pass, NULL behind the last. */
enum { LAM_CUDNN_MOST_ALGORITHMS = 5 };
void lam_cudnn_algorithms(enum lam_op_kind kind, const char *names[LAM_CUDNN_MOST_ALGORITHMS + 1]);

/* Scratch that run() wants for any of the slice sizes. */
size_t lam_cudnn_conv_scratch_bytes(const struct lam_cudnn_conv *conv);

/* out = the convolution of the inputs in the order of the op, of `count` samples: one of the slice sizes. */
cudnnStatus_t lam_cudnn_conv_run(const struct lam_cudnn_conv *conv, int count, const void *first,
                                 const void *second, void *out, void *scratch, cudaStream_t stream);

/* y = x (*) w + bias + z, then max(y, 0) if the op has ReLU; z: as y, or NULL. CUDNN_STATUS_NOT_SUPPORTED, or one of that
 * category: then nothing has been done. Without ReLU cuDNN has it for one algorithm alone. */
cudnnStatus_t lam_cudnn_conv_run_fused(const struct lam_cudnn_conv *conv, int count, const void *x,
                                       const void *w, const void *bias, const void *z, void *y, void *scratch,
                                       cudaStream_t stream);
static inline bool lam_cudnn_conv_may_fuse(const struct lam_cudnn_conv *conv, bool relu) {
    return conv->activation && (relu || conv->algorithm == CUDNN_CONVOLUTION_FWD_ALGO_IMPLICIT_PRECOMP_GEMM);
}

/* What it was asked for, that is; not that the installation lacks something. */
static inline bool lam_cudnn_is_unsupported(cudnnStatus_t status) {
    return CUDNN_STATUS_CATEGORY(status) == CUDNN_STATUS_NOT_SUPPORTED &&
           status != CUDNN_STATUS_NOT_SUPPORTED_INCOMPATIBLE_CUDA_DRIVER &&
           status != CUDNN_STATUS_NOT_SUPPORTED_INCOMPATIBLE_CUDART &&
           status != CUDNN_STATUS_NOT_SUPPORTED_RUNTIME_PREREQUISITE_MISSING &&
           status != CUDNN_STATUS_NOT_SUPPORTED_SUBLIBRARY_UNAVAILABLE;
}

/* Inside: sets the algorithm of a convolution whose descriptors are made (cudnn_choice.c). */
lam_status lam_cudnn_choose(const struct lam_op *op, const struct lam_kernel_options *options,
                            struct lam_cudnn_conv *conv, const char **chosen);

#endif
