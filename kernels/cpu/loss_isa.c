/* Losses and their gradients, vectorised. Sums run in f32 within a stretch of the data and in double over
 * stretches. */
#include "cpu/loss_isa.h"

#include <math.h>

#include "cpu/cpu_kernel.h"
#include "cpu/simd_block.h"
#include "cpu/simd_math.h"

enum loss { L1, MSE, SMOOTH_L1, CHARBONNIER, BCE, FOCAL, QUALITY_FOCAL };
enum { STRETCH = 64 * LAM_V };

LAM_INLINE vf select_greater(vf a, float b, vf x, vf y) {
    return v_where_greater(a, v_set(b), x, y);
}

/* Sigmoid focal loss (Lin et al. 2017, equation 5), with z = x or -x so that p_t = sigmoid(z):
 * alpha_t (1 - p_t)^gamma softplus(-z); and d/dz of it. Targets below 0 count nothing. */
LAM_INLINE vf focal(vf x, vf t, const struct lam_loss_attr *loss, bool slope) {
    vf z = select_greater(t, 0.5f, x, v_negative(x));
    vf alpha = select_greater(t, 0.5f, v_set(loss->alpha), v_set(1 - loss->alpha));
    vf entropy = v_softplus(v_negative(z));
    vf weight = alpha * v_exp(v_softplus(z) * v_set(-loss->gamma)); /* 1 - p_t = e^-softplus(z) */
    vf result = weight * entropy;
    if (slope) {
        vf p = v_sigmoid(z);
        vf dz = weight * v_fnma(v_set(loss->gamma) * p, entropy, p - v_set(1));
        result = select_greater(t, 0.5f, dz, v_negative(dz));
    }
    return select_greater(t, -0.5f, result, v_zero());
}

/* d^2 (softplus(x) - t x) with d = sigmoid(x) - t (Li et al. 2020, equation 3, beta 2); and d/dx of it, where the entropy's slope
 * is d itself. */
LAM_INLINE vf quality_focal(vf x, vf t, bool slope) {
    vf p = v_sigmoid(x), d = p - t, entropy = v_fnma(x, t, v_softplus(x));
    vf result = slope ? d * v_fma((p + p) * (v_set(1) - p), entropy, d * d) : d * d * entropy;
    return select_greater(t, -0.5f, result, v_zero());
}

LAM_INLINE vf loss_of(enum loss which, vf x, vf t, const struct lam_loss_attr *loss) {
    vf d = x - t, size = v_abs(d);
    switch (which) {
    case L1:
        return size;
    case MSE:
        return d * d;
    case SMOOTH_L1: {
        vf beta = v_set(loss->beta);
        return v_where_greater(beta, size, d * d / (beta + beta), v_fma(beta, v_set(-0.5f), size));
    }
    case CHARBONNIER:
        return v_sqrt(v_fma(d, d, v_set(loss->beta * loss->beta)));
    case BCE:
        return v_fnma(x, t, v_softplus(x));
    case FOCAL:
        return focal(x, t, loss, false);
    case QUALITY_FOCAL:
        break;
    }
    return quality_focal(x, t, false);
}

LAM_INLINE vf slope_of(enum loss which, vf x, vf t, const struct lam_loss_attr *loss) {
    vf d = x - t, size = v_abs(d);
    vf sign = v_where_greater(d, v_zero(), v_set(1), v_where_greater(v_zero(), d, v_set(-1), d));
    switch (which) {
    case L1:
        return sign;
    case MSE:
        return d + d;
    case SMOOTH_L1:
        return v_where_greater(v_set(loss->beta), size, d / v_set(loss->beta), sign);
    case CHARBONNIER:
        return d / v_sqrt(v_fma(d, d, v_set(loss->beta * loss->beta)));
    case BCE:
        return v_sigmoid(x) - t;
    case FOCAL:
        return focal(x, t, loss, true);
    case QUALITY_FOCAL:
        break;
    }
    return quality_focal(x, t, true);
}

/* Targets of elements begin .. begin + count - 1, from the labels of their rows. */
LAM_OUTLINED void spread_labels(const struct lam_loss_terms *s, int64_t begin, int64_t count,
                                float *targets) {
    memset(targets, 0, (size_t)count * sizeof *targets);
    int64_t row = begin / s->classes;
    for (int64_t at = row * s->classes - begin; at < count; row++, at += s->classes) {
        const int64_t label = s->labels[row];
        if (label == -1) continue;
        if (label >= 0 && label < s->classes) {
            if (at + label >= 0 && at + label < count) targets[at + label] = 1;
            continue;
        }
        for (int64_t i = at < 0 ? 0 : at; i < at + s->classes && i < count; i++) targets[i] = -1;
    }
}

/* The same; `room` is used where they have to be made. */
LAM_INLINE const float *targets_of(const struct lam_loss_terms *s, int64_t begin, int64_t count,
                                   float *room) {
    if (s->target) return s->target + begin;
    spread_labels(s, begin, count, room);
    return room;
}

LAM_INLINE double loss_sum(enum loss which, const struct lam_loss_terms *terms, enum lam_simd_type type) {
    const struct lam_loss_terms s = *terms;
    double total = 0;
    float room[STRETCH];
    for (int64_t begin = 0; begin < s.count; begin += STRETCH) {
        const int64_t count = s.count - begin < STRETCH ? s.count - begin : STRETCH;
        const float *t = targets_of(&s, begin, count, room);
        vf sum = v_zero();
        int64_t i = 0;
        for (; i + LAM_V <= count; i += LAM_V)
            sum += loss_of(which, v_load(s.x, begin + i, LAM_V, type), v_load_f32(t + i), &s.loss);
        if (i < count) {
            int n = (int)(count - i);
            vf rest = loss_of(which, v_load(s.x, begin + i, n, type), v_load_f32_n(t + i, n), &s.loss);
            sum += v_keep_lanes(rest, n);
        }
        total += (double)v_sum(sum);
    }
    return total;
}

LAM_INLINE void loss_slope(enum loss which, const struct lam_loss_terms *terms, enum lam_simd_type type) {
    const struct lam_loss_terms s = *terms;
    const vf scale = v_set(s.loss.scale);
    float room[STRETCH];
    for (int64_t begin = 0; begin < s.count; begin += STRETCH) {
        const int64_t count = s.count - begin < STRETCH ? s.count - begin : STRETCH;
        const float *t = targets_of(&s, begin, count, room);
        int64_t i = 0;
        for (; i + LAM_V <= count; i += LAM_V) {
            vf x = v_load(s.x, begin + i, LAM_V, type);
            v_store(s.dx, begin + i, scale * slope_of(which, x, v_load_f32(t + i), &s.loss), LAM_V, type);
        }
        if (i < count) {
            int n = (int)(count - i);
            vf x = v_load(s.x, begin + i, n, type);
            v_store(s.dx, begin + i, scale * slope_of(which, x, v_load_f32_n(t + i, n), &s.loss), n, type);
        }
    }
}

/* ---- cross entropy ---- */

LAM_INLINE int lanes_left(int64_t i, int64_t end) {
    return end - i < LAM_V ? (int)(end - i) : LAM_V;
}

/* sum of e^(x - largest) */
LAM_INLINE float row_sum(const struct lam_cross_entropy_row *row, float *largest, enum lam_simd_type type) {
    float most = v_read_one(row->logits, 0, type);
    for (int64_t i = 0; i < row->classes; i += LAM_V) {
        vf x = v_load(row->logits, i, lanes_left(i, row->classes), type);
        for (int l = 0; l < lanes_left(i, row->classes); l++)
            if (x[l] > most || x[l] != x[l]) most = x[l];
    }
    vf sum = v_zero();
    for (int64_t i = 0; i < row->classes; i += LAM_V) {
        int n = lanes_left(i, row->classes);
        sum += v_keep_lanes(v_exp(v_load(row->logits, i, n, type) - v_set(most)), n);
    }
    *largest = most;
    return v_sum(sum);
}

LAM_INLINE double cross_entropy(const struct lam_cross_entropy_row *row, enum lam_simd_type type) {
    float largest, sum = row_sum(row, &largest, type);
    double s = (double)row->smoothing, all = 0, wanted = 0, weight = 0;
    for (int64_t i = 0; i < row->classes; i++) {
        double x = (double)v_read_one(row->logits, i, type) - (double)largest;
        double t = row->target ? (double)row->target[i] : i == row->label ? 1 : 0;
        weight += t;
        if (t > 0) wanted += t * x; /* a logit of -infinity counts only where it is asked for */
        all += x;
    }
    weight = (1 - s) * weight + s;
    double smooth = s > 0 ? s / (double)row->classes * all : 0;
    return weight * (double)logf(sum) - (1 - s) * wanted - smooth;
}

/* scale (weight softmax - target distribution); the weight is the distribution's sum, 1 for a proper one */
LAM_INLINE void cross_entropy_slope(const struct lam_cross_entropy_row *row, enum lam_simd_type type) {
    float largest, sum = row_sum(row, &largest, type), weight = 1;
    if (row->target) {
        weight = 0;
        for (int64_t i = 0; i < row->classes; i++) weight += row->target[i];
    }
    weight = (1 - row->smoothing) * weight + row->smoothing;
    const vf share = v_set(weight / sum), floor = v_set(row->smoothing / (float)row->classes);
    const vf keep = v_set(1 - row->smoothing), scale = v_set(row->scale);
    for (int64_t i = 0; i < row->classes; i += LAM_V) {
        int n = lanes_left(i, row->classes);
        float one_hot[LAM_V] = {0};
        if (!row->target && row->label >= i && row->label < i + n) one_hot[row->label - i] = 1;
        vf t = row->target ? v_load_f32_n(row->target + i, n) : v_load_f32(one_hot);
        vf p = v_exp(v_load(row->logits, i, n, type) - v_set(largest)) * share;
        v_store(row->dlogits, i, scale * (p - v_fma(keep, t, floor)), n, type);
    }
}

#define DEFINE_LOSS(name, which, type)                                                                       \
    static double name##_sum_##type(const struct lam_loss_terms *terms) {                                    \
        return loss_sum(which, terms, LAM_SIMD_##type);                                                      \
    }                                                                                                        \
    static void name##_slope_##type(const struct lam_loss_terms *terms) {                                    \
        loss_slope(which, terms, LAM_SIMD_##type);                                                           \
    }
#define DEFINE(type)                                                                                         \
    DEFINE_LOSS(l1, L1, type)                                                                                \
    DEFINE_LOSS(mse, MSE, type)                                                                              \
    DEFINE_LOSS(smooth_l1, SMOOTH_L1, type)                                                                  \
    DEFINE_LOSS(charbonnier, CHARBONNIER, type)                                                              \
    DEFINE_LOSS(bce, BCE, type)                                                                              \
    DEFINE_LOSS(focal, FOCAL, type)                                                                          \
    DEFINE_LOSS(quality_focal, QUALITY_FOCAL, type)                                                          \
    static double cross_entropy_##type(const struct lam_cross_entropy_row *row) {                            \
        return cross_entropy(row, LAM_SIMD_##type);                                                          \
    }                                                                                                        \
    static void cross_entropy_slope_##type(const struct lam_cross_entropy_row *row) {                        \
        cross_entropy_slope(row, LAM_SIMD_##type);                                                           \
    }
LAM_BY_TYPE(DEFINE)

#define LOSS(name)                                                                                           \
    { LAM_TYPES(name##_sum), LAM_TYPES(name##_slope) }
const struct lam_loss_kernels LAM_ISA_NAME(lam_loss) = {
    .l1 = LOSS(l1),
    .mse = LOSS(mse),
    .smooth_l1 = LOSS(smooth_l1),
    .charbonnier = LOSS(charbonnier),
    .bce = LOSS(bce),
    .focal = LOSS(focal),
    .quality_focal = LOSS(quality_focal),
    .cross_entropy = LAM_TYPES(cross_entropy),
    .cross_entropy_slope = LAM_TYPES(cross_entropy_slope),
};
