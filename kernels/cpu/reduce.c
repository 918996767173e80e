/* The fold of per-lane partials that most reductions share: a plain sum, in lane order. */
#include "cpu/cpu_kernel.h"
#include "cpu/reduce_isa.h"

void lam_cpu_reduce_sum(const struct lam_kernel *kernel, void *const *partials, int partial_count,
                        void *const *out, int part, int parts, struct lam_stream *stream) {
    (void)stream;
    const struct lam_reduce_kernels *k = LAM_ISA_PICK(lam_reduce);
    int index = 0;
    while (index < kernel->op.outputs - 1 && !out[index]) index++;
    int64_t begin, end;
    lam_part(lam_shape_count(kernel->op.out[index].desc.shape), part, parts, &begin, &end);
    float *sum = (float *)out[index] + begin;
    k->copy(sum, (const float *)partials[0] + begin, end - begin);
    for (int i = 1; i < partial_count; i++) k->add(sum, (const float *)partials[i] + begin, end - begin);
}
