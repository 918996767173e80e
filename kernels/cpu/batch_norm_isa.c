/* Batch norm, vectorised. Planes as simd_block.h sees them; groups are the outer loop, samples the inner one,
 * so that a group's parameters are loaded once a slice.
 *
 * Statistics. Sums of a chunk are taken about a pivot, as s = sum (x - p) and q = sum (x - p)^2, and folded
 * into the channel's running (count, mean, M2) in double precision by Chan, Golub and LeVeque's formula. The
 * pivot is the channel's running mean. Nothing cancels: the error of q - s^2/n is eps * n (m - p)^2, and a
 * chunk whose mean m is far from the running mean p adds about as much to M2 itself. Only the first chunk has
 * no running mean; it is read twice. */
#include "cpu/batch_norm_isa.h"

#include "cpu/cpu_kernel.h"
#include "cpu/simd_block.h"

/* Vectors, about, that are summed in f32 before the sum goes on in double. Gradients may have a mean far from
 * 0, so theirs are shorter. */
enum { CHUNK = 512, GRADIENT_CHUNK = 128 };

LAM_INLINE int channels_there(const struct lam_bn_slice *s, int64_t group) {
    int64_t left = s->channels - group * s->block;
    return left < s->block ? (int)left : s->block;
}

LAM_INLINE int64_t plane_at(const struct lam_bn_slice *s, int64_t sample, int64_t group) {
    return (sample * s->groups + group) * s->pixels * s->block;
}

/* ---- statistics ---- */

/* sums += x - pivot, squares += its square. */
LAM_INLINE void add_strip(const void *x, int64_t i, int n, const vf *pivot, vf *sums, vf *squares,
                          enum lam_simd_type type) {
    vf strip[LAM_STRIP];
    v_load_strip(x, i, n, type, strip);
    for (int k = 0; k < LAM_STRIP; k++) {
        vf d = v_keep_lanes(strip[k] - pivot[k % v_period(type)], v_strip_lanes(n, k, type));
        sums[k] = v_fma(d, v_set(1), sums[k]); /* on the other unit than the subtraction */
        squares[k] = v_fma(d, d, squares[k]);
    }
}

LAM_INLINE void add_range(const void *x, int64_t begin, int64_t end, const vf *pivot, vf *sums, vf *squares,
                          enum lam_simd_type type) {
    int64_t i = begin;
    for (; i + LAM_STRIP_NUMBERS <= end; i += LAM_STRIP_NUMBERS)
        add_strip(x, i, LAM_STRIP_NUMBERS, pivot, sums, squares, type);
    if (i < end) add_strip(x, i, (int)(end - i), pivot, sums, squares, type);
}

/* A chunk is a run of whole planes of samples, or a piece of one plane. */
struct chunk {
    int64_t sample, samples, begin, end;
};

LAM_INLINE void chunk_sums(const struct lam_bn_slice *s, int64_t group, const struct chunk *chunk,
                           const float *center, float *sum, float *square, enum lam_simd_type type) {
    vf pivot[LAM_STRIP], sums[LAM_STRIP], squares[LAM_STRIP];
    for (int k = 0; k < v_period(type); k++) pivot[k] = v_spread(center, k, s->block, s->block, type);
    for (int k = 0; k < LAM_STRIP; k++) sums[k] = squares[k] = v_zero();
    for (int64_t n = chunk->sample; n < chunk->sample + chunk->samples; n++) {
        const char *plane = (const char *)s->x + (size_t)plane_at(s, n, group) * v_bytes(type);
        add_range(plane, chunk->begin, chunk->end, pivot, sums, squares, type);
    }
    v_fold_strip(sums, s->block, type, sum);
    v_fold_strip(squares, s->block, type, square);
}

/* Folds the sums about `center` of `added` values a channel into `count` values with mean and squares. */
LAM_INLINE void merge_channels(double *restrict mean, double *restrict squares, double count,
                               const float *restrict center, const float *restrict sum,
                               const float *restrict square, double added, int channels) {
    double share = added / (count + added), weight = count * share, inverse = 1 / added;
    for (int c = 0; c < channels; c++) {
        double shift = (double)sum[c] * inverse;
        double own = (double)square[c] - (double)sum[c] * shift;
        double delta = (double)center[c] + shift - mean[c];
        mean[c] += delta * share;
        squares[c] += (own < 0 ? 0 : own) + delta * delta * weight;
    }
}

LAM_OUTLINED void merge(double *mean, double *squares, double count, const float *center, const float *sum,
                        const float *square, double added, int block) {
    if (block == 16) /* known to the compiler: vectors */
        merge_channels(mean, squares, count, center, sum, square, added, 16);
    else
        merge_channels(mean, squares, count, center, sum, square, added, block);
}

LAM_INLINE double add_chunk(const struct lam_bn_slice *s, int64_t group, const struct chunk *chunk,
                            double count, enum lam_simd_type type) {
    float center[16] = {0}, sum[16], square[16];
    double *mean = s->mean_so_far + group * s->block, *squares = s->squares_so_far + group * s->block;
    double added = (double)chunk->samples * (double)(chunk->end - chunk->begin) / s->block;
    for (int c = 0; c < s->block; c++) center[c] = (float)mean[c];
    if (count == 0) { /* the first chunk: find the pivot from the chunk itself */
        const char *plane = (const char *)s->x + (size_t)plane_at(s, chunk->sample, group) * v_bytes(type);
        for (int c = 0; c < s->block; c++) center[c] = v_load(plane, c, 1, type)[0];
        chunk_sums(s, group, chunk, center, sum, square, type);
        for (int c = 0; c < s->block; c++) center[c] += (float)((double)sum[c] / added);
    }
    chunk_sums(s, group, chunk, center, sum, square, type);
    merge(mean, squares, count, center, sum, square, added, s->block);
    return count + added;
}

LAM_INLINE void bn_stats_body(const struct lam_bn_slice *s, enum lam_simd_type type) {
    const int64_t plane = s->pixels * s->block, most = (int64_t)CHUNK * LAM_V;
    const int64_t together = plane < most ? most / plane : 1;
    for (int64_t g = 0; g < s->groups; g++) {
        double count = s->count;
        for (int64_t n = 0; n < s->samples; n += together) {
            int64_t samples = s->samples - n < together ? s->samples - n : together;
            for (int64_t begin = 0; begin < plane; begin += most) {
                int64_t end = plane - begin < most ? plane : begin + most;
                struct chunk chunk = {n, samples, begin, end};
                count = add_chunk(s, g, &chunk, count, type);
            }
        }
    }
}

/* ---- application ---- */

LAM_INLINE vf inverse_deviation(const struct lam_bn_slice *s, int64_t first, int k, int there,
                                enum lam_simd_type type) {
    vf value = v_spread(s->inv_std + first, k, s->block, there, type);
    if (!s->use_variance) return value;
    vf variance = value + v_set(s->eps);
    return v_where_greater(variance, v_zero(), v_set(1) / v_sqrt(variance), v_zero());
}

struct apply_group {
    vf mean[LAM_STRIP], scale[LAM_STRIP], shift[LAM_STRIP];
};

LAM_INLINE void apply_group_load(const struct lam_bn_slice *s, int64_t g, enum lam_simd_type type,
                                 struct apply_group *p) {
    const int there = channels_there(s, g);
    const int64_t first = g * s->block;
    for (int k = 0; k < v_period(type); k++) {
        p->mean[k] = v_spread(s->mean + first, k, s->block, there, type);
        p->scale[k] = v_spread(s->gamma + first, k, s->block, there, type) *
                      inverse_deviation(s, first, k, there, type);
        p->shift[k] = v_spread(s->beta + first, k, s->block, there, type);
    }
}

LAM_INLINE void apply_strip(const struct lam_bn_slice *s, const struct apply_group *p, int64_t i, int n,
                            enum lam_simd_type type, bool skip, bool relu) {
    vf x[LAM_STRIP], more[LAM_STRIP];
    v_load_strip(s->x, i, n, type, x);
    if (skip) v_load_strip(s->skip, i, n, type, more);
    for (int k = 0; k < LAM_STRIP; k++) {
        x[k] = v_fma(x[k] - p->mean[k % v_period(type)], p->scale[k % v_period(type)],
                     p->shift[k % v_period(type)]);
        if (skip) x[k] += more[k];
        if (relu) x[k] = v_relu(x[k]);
    }
    v_store_strip(s->out, i, n, type, x);
}

LAM_INLINE void bn_apply_planes(const struct lam_bn_slice *slice, enum lam_simd_type type, bool skip,
                                bool relu) {
    const struct lam_bn_slice s = *slice;
    for (int64_t g = 0; g < s.groups; g++) {
        struct apply_group p;
        apply_group_load(&s, g, type, &p);
        for (int64_t n = 0; n < s.samples; n++) {
            int64_t i = plane_at(&s, n, g), end = i + s.pixels * s.block;
            for (; i + LAM_STRIP_NUMBERS <= end; i += LAM_STRIP_NUMBERS)
                apply_strip(&s, &p, i, LAM_STRIP_NUMBERS, type, skip, relu);
            if (i < end) apply_strip(&s, &p, i, (int)(end - i), type, skip, relu);
        }
    }
}

LAM_INLINE void bn_apply_body(const struct lam_bn_slice *s, enum lam_simd_type type) {
    if (s->skip && s->relu)
        bn_apply_planes(s, type, true, true);
    else if (s->skip)
        bn_apply_planes(s, type, true, false);
    else if (s->relu)
        bn_apply_planes(s, type, false, true);
    else
        bn_apply_planes(s, type, false, false);
}

/* ---- gradients ---- */

/* g = dy, or 0 where the ReLU behind the normalisation gave 0 (the same operations as in apply_strip, so the
 * same mask), and x - mean. */
LAM_INLINE void gradient_strip(const struct lam_bn_slice *s, const struct apply_group *p, int64_t i, int n,
                               enum lam_simd_type type, bool relu, vf *g, vf *centered) {
    v_load_strip(s->dy, i, n, type, g);
    v_load_strip(s->x, i, n, type, centered);
    for (int k = 0; k < LAM_STRIP; k++) {
        centered[k] -= p->mean[k % v_period(type)];
        if (!relu) continue;
        vf y = v_fma(centered[k], p->scale[k % v_period(type)], p->shift[k % v_period(type)]);
        g[k] = v_where_greater(y, v_zero(), g[k], v_zero());
    }
}

/* Numbers beyond n have g = 0 and add nothing. */
LAM_INLINE void bwd_stats_strip(const struct lam_bn_slice *s, const struct apply_group *p, int64_t i, int n,
                                enum lam_simd_type type, bool relu, vf *sums, vf *products) {
    vf g[LAM_STRIP], centered[LAM_STRIP];
    gradient_strip(s, p, i, n, type, relu, g, centered);
    for (int k = 0; k < LAM_STRIP; k++) {
        sums[k] += g[k];
        products[k] = v_fma(g[k], centered[k], products[k]);
    }
}

LAM_INLINE void add_channels(double *restrict dgamma, double *restrict dbeta, const float *restrict inverse,
                             const float *restrict sum, const float *restrict product, int channels) {
    for (int c = 0; c < channels; c++) {
        dbeta[c] += (double)sum[c];
        dgamma[c] += (double)product[c] * (double)inverse[c];
    }
}

LAM_OUTLINED void add_sums(const struct lam_bn_slice *s, int64_t g, const float *sum, const float *product) {
    double *dgamma = s->dgamma_sum + g * s->block, *dbeta = s->dbeta_sum + g * s->block;
    float inverse[16] = {0};
    memcpy(inverse, s->inv_std + g * s->block, (size_t)channels_there(s, g) * sizeof(float));
    if (s->block == 16)
        add_channels(dgamma, dbeta, inverse, sum, product, 16);
    else
        add_channels(dgamma, dbeta, inverse, sum, product, s->block);
}

/* Adds sums to the lane's partial and starts them again. */
LAM_INLINE void bwd_stats_flush(const struct lam_bn_slice *s, int64_t g, vf *sums, vf *products,
                                enum lam_simd_type type) {
    float sum[16], product[16];
    v_fold_strip(sums, s->block, type, sum);
    v_fold_strip(products, s->block, type, product);
    add_sums(s, g, sum, product);
    for (int k = 0; k < LAM_STRIP; k++) sums[k] = products[k] = v_zero();
}

LAM_INLINE void bn_bwd_stats_planes(const struct lam_bn_slice *slice, enum lam_simd_type type, bool relu) {
    const struct lam_bn_slice s = *slice;
    const int64_t plane = s.pixels * s.block, most = (int64_t)GRADIENT_CHUNK * LAM_V;
    for (int64_t g = 0; g < s.groups; g++) {
        struct apply_group p;
        apply_group_load(&s, g, type, &p);
        vf sums[LAM_STRIP], products[LAM_STRIP];
        for (int k = 0; k < LAM_STRIP; k++) sums[k] = products[k] = v_zero();
        int64_t unflushed = 0;
        for (int64_t n = 0; n < s.samples; n++) {
            int64_t i = plane_at(&s, n, g), plane_end = i + plane;
            while (i < plane_end) {
                int64_t end = plane_end - i < most ? plane_end : i + most;
                unflushed += end - i;
                for (; i + LAM_STRIP_NUMBERS <= end; i += LAM_STRIP_NUMBERS)
                    bwd_stats_strip(&s, &p, i, LAM_STRIP_NUMBERS, type, relu, sums, products);
                if (i < end) bwd_stats_strip(&s, &p, i, (int)(end - i), type, relu, sums, products);
                i = end;
                if (unflushed < most && (n + 1 < s.samples || i < plane_end)) continue;
                bwd_stats_flush(&s, g, sums, products, type);
                unflushed = 0;
            }
        }
    }
}

LAM_INLINE void bn_bwd_stats_body(const struct lam_bn_slice *s, enum lam_simd_type type) {
    if (s->relu)
        bn_bwd_stats_planes(s, type, true);
    else
        bn_bwd_stats_planes(s, type, false);
}

struct bwd_group {
    vf slope[LAM_STRIP], offset[LAM_STRIP]; /* dx = scale g - (centered slope + offset) */
};

LAM_INLINE void bwd_group_load(const struct lam_bn_slice *s, int64_t g, enum lam_simd_type type,
                               const struct apply_group *p, struct bwd_group *q) {
    const int there = channels_there(s, g);
    const int64_t first = g * s->block;
    for (int k = 0; k < v_period(type); k++) {
        vf scale = p->scale[k] * v_set(s->inverse_count);
        q->slope[k] = scale * inverse_deviation(s, first, k, there, type) *
                      v_spread(s->dgamma + first, k, s->block, there, type);
        q->offset[k] = scale * v_spread(s->dbeta + first, k, s->block, there, type);
    }
}

LAM_INLINE void bwd_apply_strip(const struct lam_bn_slice *s, const struct apply_group *p,
                                const struct bwd_group *q, int64_t i, int n, enum lam_simd_type type,
                                bool relu) {
    vf g[LAM_STRIP], centered[LAM_STRIP];
    gradient_strip(s, p, i, n, type, relu, g, centered);
    for (int k = 0; k < LAM_STRIP; k++) {
        vf correction = v_fma(centered[k], q->slope[k % v_period(type)], q->offset[k % v_period(type)]);
        g[k] = v_fma(g[k], p->scale[k % v_period(type)], v_zero() - correction);
    }
    v_store_strip(s->out, i, n, type, g);
}

LAM_INLINE void bn_bwd_apply_planes(const struct lam_bn_slice *slice, enum lam_simd_type type, bool relu) {
    const struct lam_bn_slice s = *slice;
    for (int64_t g = 0; g < s.groups; g++) {
        struct apply_group p;
        struct bwd_group q;
        apply_group_load(&s, g, type, &p);
        bwd_group_load(&s, g, type, &p, &q);
        for (int64_t n = 0; n < s.samples; n++) {
            int64_t i = plane_at(&s, n, g), end = i + s.pixels * s.block;
            for (; i + LAM_STRIP_NUMBERS <= end; i += LAM_STRIP_NUMBERS)
                bwd_apply_strip(&s, &p, &q, i, LAM_STRIP_NUMBERS, type, relu);
            if (i < end) bwd_apply_strip(&s, &p, &q, i, (int)(end - i), type, relu);
        }
    }
}

LAM_INLINE void bn_bwd_apply_body(const struct lam_bn_slice *s, enum lam_simd_type type) {
    if (s->relu)
        bn_bwd_apply_planes(s, type, true);
    else
        bn_bwd_apply_planes(s, type, false);
}

#define DEFINE_BODY(body, type)                                                                              \
    static void body##_##type(const struct lam_bn_slice *s) {                                                \
        body##_body(s, LAM_SIMD_##type);                                                                     \
    }
#define DEFINE(type)                                                                                         \
    DEFINE_BODY(bn_stats, type)                                                                              \
    DEFINE_BODY(bn_apply, type)                                                                              \
    DEFINE_BODY(bn_bwd_stats, type)                                                                          \
    DEFINE_BODY(bn_bwd_apply, type)
LAM_BY_TYPE(DEFINE)

const struct lam_bn_kernels LAM_ISA_NAME(lam_bn) = {
    .stats = LAM_TYPES(bn_stats),
    .apply = LAM_TYPES(bn_apply),
    .bwd_stats = LAM_TYPES(bn_bwd_stats),
    .bwd_apply = LAM_TYPES(bn_bwd_apply),
};
