/* A naive implementation of every op of lib/device/op.h: what the kernels of all backends are compared with.
 *
 * Plain loops straight from the formulas in op.h, over whole PLAIN tensors. Every operand, whatever its dtype
 * in the op, is an array of doubles (labels and indices too): so a result is exact to about 1e-15, nothing of
 * a kernel's rounding is repeated here, and finite differences through a forward op are sharp enough to prove
 * its backward op (tests/gradient/reference_gradient_test.c).
 *
 *     double y[...];
 *     assert_int_equal(reference_run(&op, &run, (const double *[]){x, w, bias}, (double *[]){y}), LAM_OK);
 *
 * Absent operands are NULL. Outputs that a kernel updates in place (BN_STATS: the running statistics) are
 * updated in place here, too; all others are overwritten. Dtypes matter in two places only: an i32 target
 * makes CROSS_ENTROPY read labels, and nothing is ever rounded to a dtype.
 */
#ifndef LAM_TESTS_REFERENCE_H
#define LAM_TESTS_REFERENCE_H

#include "base/status.h"
#include "device/backend.h"

/* LAM_ERR_UNSUPPORTED for an op kind without a reference. */
lam_status reference_run(const struct lam_op *op, const struct lam_run *run, const double *const *in,
                         double *const *out);

/* One op kind's reference; the families below stand in reference_FAMILY.c. */
typedef void (*reference_fn)(const struct lam_op *op, const struct lam_run *run, const double *const *in,
                             double *const *out);

reference_fn reference_conv(enum lam_op_kind kind);        /* convolution and linear */
reference_fn reference_norm(enum lam_op_kind kind);        /* batch norm and layer norm */
reference_fn reference_elementwise(enum lam_op_kind kind); /* activations, sums, dropout */
reference_fn reference_shape(enum lam_op_kind kind);       /* what only moves elements */
reference_fn reference_pool(enum lam_op_kind kind);        /* pooling and resizing */
reference_fn reference_attention(enum lam_op_kind kind);   /* softmax and attention */
reference_fn reference_loss(enum lam_op_kind kind);

double reference_log_sum_exp(const double *x, int64_t count);

/* A rank-4 shape taken apart, and where element (n, c, y, x) stands. */
struct reference_image {
    int64_t n, c, h, w;
};
static inline struct reference_image reference_image(const struct lam_operand *operand) {
    const int64_t *dim = operand->desc.shape.dim;
    return (struct reference_image){dim[0], dim[1], dim[2], dim[3]};
}
static inline int64_t reference_at(struct reference_image i, int64_t n, int64_t c, int64_t y, int64_t x) {
    return ((n * i.c + c) * i.h + y) * i.w + x;
}
static inline int64_t reference_count(const struct lam_operand *operand) {
    return lam_shape_count(operand->desc.shape);
}
/* Element i of the addend, 0 without one. */
static inline double reference_addend(const struct lam_op *op, const double *const *in, int64_t i) {
    return lam_op_has_addend(op) ? in[lam_op_addend(op->kind)][i] : 0;
}
/* Elements of one sample. */
static inline int64_t reference_row(const struct lam_operand *operand) {
    return reference_count(operand) / operand->desc.shape.dim[0];
}
/* Length of the last dimension. */
static inline int64_t reference_last(const struct lam_operand *operand) {
    return operand->desc.shape.dim[operand->desc.shape.rank - 1];
}

#endif
