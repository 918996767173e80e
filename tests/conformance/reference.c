/* Finds an op's reference among the families. */
#include "conformance/reference.h"

#include <math.h>

lam_status reference_run(const struct lam_op *op, const struct lam_run *run, const double *const *in,
                         double *const *out) {
    reference_fn (*const families[])(enum lam_op_kind) = {
        reference_conv, reference_norm,      reference_elementwise, reference_shape,
        reference_pool, reference_attention, reference_loss,
    };
    for (size_t i = 0; i < sizeof families / sizeof *families; i++) {
        reference_fn reference = families[i](op->kind);
        if (!reference) continue;
        reference(op, run, in, out);
        return LAM_OK;
    }
    return lam_fail(LAM_ERR_UNSUPPORTED, "%s has no reference", lam_op_name(op->kind));
}

double reference_log_sum_exp(const double *x, int64_t count) {
    double largest = x[0], sum = 0;
    for (int64_t i = 1; i < count; i++)
        if (x[i] > largest) largest = x[i];
    for (int64_t i = 0; i < count; i++) sum += exp(x[i] - largest);
    return largest + log(sum);
}
