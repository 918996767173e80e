/* Flat-buffer updates, vectorised. Each element depends on its own inputs alone, with the same operations in
 * whole vectors and in the tail, so the result does not depend on how lanes divide the buffer. */
#include "cpu/update_isa.h"

#include "cpu/cpu_kernel.h"
#include "cpu/simd.h"

LAM_INLINE void sgd_at(const struct lam_sgd_args *a, int64_t i, int n) {
    vf w = v_load_f32_n(a->parameter + i, n);
    vf g = v_load_f32_n(a->gradient + i, n) * v_set(a->gradient_scale);
    g = v_fma(v_set(a->weight_decay), w, g);
    if (a->momentum_buffer && a->momentum != 0) {
        vf m = g;
        if (!a->first) m = v_fma(v_set(a->momentum), v_load_f32_n(a->momentum_buffer + i, n), g);
        v_store_f32_n(a->momentum_buffer + i, m, n);
        g = a->nesterov ? v_fma(v_set(a->momentum), m, g) : m;
    }
    v_store_f32_n(a->parameter + i, v_fnma(v_set(a->learning_rate), g, w), n);
}

static void sgd(const struct lam_sgd_args *args, int64_t begin, int64_t end) {
    const struct lam_sgd_args a = *args; /* a copy that no store can change */
    int64_t i = begin;
    for (; i + LAM_V <= end; i += LAM_V) sgd_at(&a, i, LAM_V);
    if (i < end) sgd_at(&a, i, (int)(end - i));
}

LAM_INLINE void adamw_at(const struct lam_adamw_args *a, const struct lam_adamw_scalars *s, int64_t i,
                         int n) {
    vf w = v_load_f32_n(a->parameter + i, n);
    vf g = v_fma(v_set(s->l2), w, v_load_f32_n(a->gradient + i, n) * v_set(a->gradient_scale));
    vf m = v_load_f32_n(a->first_moment + i, n);
    vf v = v_load_f32_n(a->second_moment + i, n);
    m = v_fma(v_set(1 - a->beta1), g - m, m);
    v = v_fma(v_set(1 - a->beta2), g * g - v, v);
    v_store_f32_n(a->first_moment + i, m, n);
    v_store_f32_n(a->second_moment + i, v, n);
    vf root = v_fma(v_sqrt(v), v_set(s->root_factor), v_set(a->eps));
    w = v_fnma(v_set(s->step_size), m / root, w * v_set(s->decay));
    v_store_f32_n(a->parameter + i, w, n);
}

static void adamw(const struct lam_adamw_args *args, const struct lam_adamw_scalars *scalars, int64_t begin,
                  int64_t end) {
    const struct lam_adamw_args a = *args;
    const struct lam_adamw_scalars s = *scalars;
    int64_t i = begin;
    for (; i + LAM_V <= end; i += LAM_V) adamw_at(&a, &s, i, LAM_V);
    if (i < end) adamw_at(&a, &s, i, (int)(end - i));
}

LAM_INLINE void ema_at(float *average, const float *value, vf share, int64_t i, int n) {
    vf old = v_load_f32_n(average + i, n);
    v_store_f32_n(average + i, v_fma(share, v_load_f32_n(value + i, n) - old, old), n);
}

static void ema(float *average, const float *value, float decay, int64_t begin, int64_t end) {
    vf share = v_set(1 - decay);
    int64_t i = begin;
    for (; i + LAM_V <= end; i += LAM_V) ema_at(average, value, share, i, LAM_V);
    if (i < end) ema_at(average, value, share, i, (int)(end - i));
}

LAM_INLINE void accumulate_at(float *sum, const float *value, vf weight, bool first, int64_t i, int n) {
    vf before = first ? v_zero() : v_load_f32_n(sum + i, n);
    v_store_f32_n(sum + i, v_fma(weight, v_load_f32_n(value + i, n), before), n);
}

static void accumulate(float *sum, const float *value, float weight, bool first, int64_t begin, int64_t end) {
    const vf w = v_set(weight);
    int64_t i = begin;
    for (; i + LAM_V <= end; i += LAM_V) accumulate_at(sum, value, w, first, i, LAM_V);
    if (i < end) accumulate_at(sum, value, w, first, i, (int)(end - i));
}

/* In double throughout: squares of large gradients must not overflow and set off the NaN guard. */
static double sum_squares(const float *value, int64_t begin, int64_t end) {
    vd sum[4] = {{0}};
    int64_t i = begin;
    for (; i + 2 * LAM_V <= end; i += 2 * LAM_V)
        for (int k = 0; k < 4; k++) {
            vd x = v_double(value + i + k * (LAM_V / 2));
            sum[k] += x * x;
        }
    double total = v_sum_double((sum[0] + sum[1]) + (sum[2] + sum[3]));
    for (; i < end; i++) total += (double)value[i] * (double)value[i];
    return total;
}

const struct lam_update_kernels LAM_ISA_NAME(lam_update) = {sgd, adamw, ema, accumulate, sum_squares};
