/* Random operands that make sense for an op: labels in range, probabilities that sum to one, statistics that
 * belong to the data, pool indices that a pool has found. */
#ifndef LAM_TESTS_OPERANDS_H
#define LAM_TESTS_OPERANDS_H

#include "conformance/op_text.h"
#include "conformance/reference.h"

struct operands {
    double *in[LAM_MAX_INPUTS],
        *out[LAM_MAX_OUTPUTS]; /* NULL: absent. out: room, initial running statistics */
};

/* Values are rounded to each operand's dtype if `round`, as a kernel would see them. */
lam_status operands_create(const struct op_case *the_case, uint64_t seed, bool round,
                           struct operands *operands);
void operands_destroy(struct operands *operands);

/* Standard normal numbers. */
void operands_fill_normal(double *values, int64_t count, uint64_t seed, uint64_t which);

/* What `value` becomes when it is stored as dtype. */
double operands_round(double value, enum lam_dtype dtype);

/* Does the op update output `output` in place? */
bool operands_in_place(enum lam_op_kind kind, int output);

#endif
