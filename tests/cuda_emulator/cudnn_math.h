/* The numbers of the emulated cuDNN: direct convolutions with float sums in a fixed order. */
#ifndef LAM_CUDA_EMULATOR_CUDNN_MATH_H
#define LAM_CUDA_EMULATOR_CUDNN_MATH_H

#include "cuda_emulator/cudnn_algorithms.h"

namespace emulator::cudnn {

/* Where sums go: out = act(alpha sum + beta z + bias), all in float, rounded once. */
struct output {
    tensor to;
    void *memory;
    float alpha;
    float beta; /* 0: z is not read */
    tensor z_of;
    const void *z;    /* may be `memory` */
    const void *bias; /* one value per channel of `to`, packed, of its type; NULL: none */
    bool relu, propagate_nan;
    uint64_t noise; /* 0, or which: each sum is off by at most one unit of the element type's precision */
};

/* alpha sum + beta what was there. */
output plain_output(const tensor &to, void *memory, float alpha, float beta);

void forward(const problem &p, const void *x, const void *w, const output &y);
void backward_data(const problem &p, const void *w, const void *dy, const output &dx);
void backward_filter(const problem &p, const void *x, const void *dy, const output &dw);
/* db[c] = sum of dy over all else; db is [1,C,1,1]. */
void backward_bias(const tensor &dy_of, const void *dy, const output &db);

} // namespace emulator::cudnn

#endif
