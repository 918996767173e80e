/* The flat-buffer updates: each a single pass over the buffers, four elements a thread, with the CPU's formulas. */
#include <cmath>

#include "cuda/ops.h"
#include "cuda/element_vectors.cuh"
#include "cuda/launch.cuh"

namespace {

enum { THREADS = 256, SUM_THREADS = 1024, TOGETHER = 4 };

/* ---- formulas: what happens to one element of `states` buffers, given one of a buffer that is only read ---- */

struct sgd {
    static constexpr int states = 1;
    float learning_rate, weight_decay, gradient_scale;
};
__device__ void apply(const sgd &f, float state[], float gradient) {
    float g = fmaf(f.weight_decay, state[0], gradient * f.gradient_scale);
    state[0] = fmaf(-f.learning_rate, g, state[0]);
}

struct sgd_momentum {
    static constexpr int states = 2;
    float learning_rate, momentum, weight_decay, gradient_scale;
    bool nesterov, first;
};
__device__ void apply(const sgd_momentum &f, float state[], float gradient) {
    float g = fmaf(f.weight_decay, state[0], gradient * f.gradient_scale);
    float m = f.first ? g : fmaf(f.momentum, state[1], g);
    state[1] = m;
    state[0] = fmaf(-f.learning_rate, f.nesterov ? fmaf(f.momentum, m, g) : m, state[0]);
}

struct adamw {
    static constexpr int states = 3;
    float decay;               /* decoupled: parameters are multiplied by it */
    float l2;                  /* not decoupled: added to the gradient, times the parameter */
    float step_size;           /* learning rate / (1 - beta1^t) */
    float root_factor;         /* 1 / sqrt(1 - beta2^t) */
    float share1, share2, eps; /* 1 - beta */
    float gradient_scale;
};
__device__ void apply(const adamw &f, float state[], float gradient) {
    float w = state[0], g = fmaf(f.l2, w, gradient * f.gradient_scale);
    float m = fmaf(f.share1, g - state[1], state[1]);
    float v = fmaf(f.share2, g * g - state[2], state[2]);
    state[1] = m;
    state[2] = v;
    state[0] = fmaf(-f.step_size, m / fmaf(sqrtf(v), f.root_factor, f.eps), w * f.decay);
}

struct average {
    static constexpr int states = 1;
    float share;
};
__device__ void apply(const average &f, float state[], float value) {
    state[0] = fmaf(f.share, value - state[0], state[0]);
}

struct weighted_sum {
    static constexpr int states = 1;
    float weight;
    bool first;
};
__device__ void apply(const weighted_sum &f, float state[], float value) {
    state[0] = fmaf(f.weight, value, f.first ? 0.0f : state[0]);
}

/* ---- the pass ---- */

template <typename Formula>
__device__ void update_four(const Formula &formula, float *const buffer[], const float *in, int64_t i) {
    float state[Formula::states][TOGETHER], read[TOGETHER];
    load_vector(in + i, read);
    for (int s = 0; s < Formula::states; s++) load_vector(buffer[s] + i, state[s]);
    for (int k = 0; k < TOGETHER; k++) {
        float one[Formula::states];
        for (int s = 0; s < Formula::states; s++) one[s] = state[s][k];
        apply(formula, one, read[k]);
        for (int s = 0; s < Formula::states; s++) state[s][k] = one[s];
    }
    for (int s = 0; s < Formula::states; s++) store_vector(buffer[s] + i, state[s]);
}

template <typename Formula>
__device__ void update_one(const Formula &formula, float *const buffer[], const float *in, int64_t i) {
    float one[Formula::states];
    for (int s = 0; s < Formula::states; s++) one[s] = buffer[s][i];
    apply(formula, one, in[i]);
    for (int s = 0; s < Formula::states; s++) buffer[s][i] = one[s];
}

/* Elements [begin, end). Groups of four start at multiples of four, so that they are aligned where the buffers are. */
template <typename Formula>
__global__ void update(Formula formula, float *first, float *second, float *third, const float *in,
                       int64_t begin, int64_t end, bool aligned) {
    float *const buffer[] = {first, second, third};
    for (int64_t i = (begin / TOGETHER + first_index()) * TOGETHER; i < end; i += index_step() * TOGETHER) {
        if (aligned && i >= begin && i + TOGETHER <= end) {
            update_four(formula, buffer, in, i);
            continue;
        }
        for (int64_t k = i < begin ? begin : i; k < i + TOGETHER && k < end; k++)
            update_one(formula, buffer, in, k);
    }
}

template <typename Formula>
void pass(const char *name, const Formula &formula, float *first, float *second, float *third,
          const float *in, int64_t begin, int64_t end, struct lam_stream *stream) {
    if (begin >= end) return;
    uintptr_t bits = (uintptr_t)first | (uintptr_t)second | (uintptr_t)third | (uintptr_t)in;
    int64_t groups = (end - 1) / TOGETHER - begin / TOGETHER + 1;
    lam_launch(stream, name, update<Formula>, lam_grid(stream, groups, THREADS), THREADS, 0, formula, first,
               second, third, in, begin, end, bits % (TOGETHER * sizeof(float)) == 0);
}

/* In double throughout: squares of large gradients must not overflow and set off the NaN guard. */
/* A block does a chunk. */
__global__ void sum_squares(const float *value, int64_t begin, int64_t end, int64_t chunk, double *sums) {
    int64_t first = begin + blockIdx.x * chunk, last = first + chunk < end ? first + chunk : end;
    double squares = 0;
    for (int64_t i = first + threadIdx.x; i < last; i += blockDim.x)
        squares += (double)value[i] * (double)value[i];
    squares = block_sum(squares, shared_memory<double>());
    if (threadIdx.x == 0) sums[blockIdx.x] = squares;
}

__global__ void store_run(struct lam_run *to, struct lam_run run) {
    *to = run;
}

} // namespace

void lam_cuda_sgd(const struct lam_sgd_args *args, int64_t begin, int64_t end, struct lam_stream *stream) {
    if (args->momentum_buffer && args->momentum != 0)
        pass("sgd",
             sgd_momentum{args->learning_rate, args->momentum, args->weight_decay, args->gradient_scale,
                          args->nesterov, args->first},
             args->parameter, args->momentum_buffer, nullptr, args->gradient, begin, end, stream);
    else
        pass("sgd", sgd{args->learning_rate, args->weight_decay, args->gradient_scale}, args->parameter,
             nullptr, nullptr, args->gradient, begin, end, stream);
}

void lam_cuda_adamw(const struct lam_adamw_args *args, int64_t begin, int64_t end,
                    struct lam_stream *stream) {
    const double t = (double)args->step, rate = (double)args->learning_rate;
    adamw formula = {};
    formula.decay = args->decoupled ? (float)(1 - rate * (double)args->weight_decay) : 1.0f;
    formula.l2 = args->decoupled ? 0.0f : args->weight_decay;
    formula.step_size = (float)(rate / (1 - std::pow((double)args->beta1, t)));
    formula.root_factor = (float)(1 / std::sqrt(1 - std::pow((double)args->beta2, t)));
    formula.share1 = 1 - args->beta1;
    formula.share2 = 1 - args->beta2;
    formula.eps = args->eps;
    formula.gradient_scale = args->gradient_scale;
    pass("adamw", formula, args->parameter, args->first_moment, args->second_moment, args->gradient, begin,
         end, stream);
}

void lam_cuda_ema(float *average_, const float *value, float decay, int64_t begin, int64_t end,
                  struct lam_stream *stream) {
    pass("ema", average{1 - decay}, average_, nullptr, nullptr, value, begin, end, stream);
}

void lam_cuda_accumulate(float *sum, const float *value, float weight, bool first, int64_t begin, int64_t end,
                         struct lam_stream *stream) {
    pass("accumulate", weighted_sum{weight, first}, sum, nullptr, nullptr, value, begin, end, stream);
}

void lam_cuda_sum_squares(const float *value, int64_t begin, int64_t end, int64_t chunk, double *sums,
                          struct lam_stream *stream) {
    int64_t chunks = end > begin ? (end - begin + chunk - 1) / chunk : 1;
    lam_launch(stream, "sum_squares", sum_squares, dim3((unsigned)chunks), SUM_THREADS, WARP * sizeof(double),
               value, begin, end, chunk, sums);
}

void lam_cuda_store_run(struct lam_run *to, const struct lam_run *run, struct lam_stream *stream) {
    lam_launch(stream, "store_run", store_run, 1, 1, 0, to, *run);
}
