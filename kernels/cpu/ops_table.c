/* Which create function makes the kernel of each op. One line per op. */
#include "cpu/cpu_kernel.h"

/* convolution: conv.c */
#include "cpu/conv.h"

/* linear and attention: linear.c, softmax.c, attention.c */
#include "cpu/linear.h"

/* normalisation: norm.c */

/* elementwise: elementwise.c */

/* moving data: shape.c */

/* pooling and resizing: pool.c, resize.c */

/* losses: loss.c */

static const lam_cpu_create_fn creators[LAM_OP_COUNT] = {
    /* convolution */
    [LAM_OP_CONV] = lam_cpu_conv_create,
    [LAM_OP_CONV_BWD_DATA] = lam_cpu_conv_create,
    [LAM_OP_CONV_BWD_WEIGHTS] = lam_cpu_conv_create,

    /* linear and attention */
    [LAM_OP_LINEAR] = lam_cpu_linear_create,
    [LAM_OP_LINEAR_BWD_DATA] = lam_cpu_linear_bwd_data_create,
    [LAM_OP_LINEAR_BWD_WEIGHTS] = lam_cpu_linear_bwd_weights_create,
    [LAM_OP_SOFTMAX] = lam_cpu_softmax_create,
    [LAM_OP_SOFTMAX_BWD] = lam_cpu_softmax_bwd_create,
    [LAM_OP_ATTENTION] = lam_cpu_attention_create,
    [LAM_OP_ATTENTION_BWD] = lam_cpu_attention_bwd_create,

    /* normalisation */

    /* elementwise */

    /* moving data */

    /* pooling and resizing */

    /* losses */
};

lam_cpu_create_fn lam_cpu_create_for(enum lam_op_kind kind) {
    return (unsigned)kind < LAM_OP_COUNT ? creators[kind] : NULL;
}

const char *const *lam_cpu_choices_for(enum lam_op_kind kind) {
    switch (kind) {
    case LAM_OP_CONV:
    case LAM_OP_CONV_BWD_DATA:
    case LAM_OP_CONV_BWD_WEIGHTS:
        return lam_cpu_conv_choices;
    default:
        return NULL;
    }
}
