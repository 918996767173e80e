/* Batch norm, vectorised.
 *
 * One loop for all layouts: a plane (one sample's channel group) is `pixels * block` numbers in a row, and
 * lane l of its k-th vector belongs to channel (k * LAM_V + l) % block. So the parameters of a group repeat
 * every PERIOD vectors (1, 2 or 4: block / LAM_V, at least 1) and are loaded once a group into that many
 * registers; C16 on AVX-512 has one channel a lane, PLAIN one channel in all lanes. Groups are the outer
 * loop, samples the inner one.
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

/* sums[k] += sum of x - pivot, squares[k] += sum of its square, over numbers [begin, end) of a plane. */
LAM_INLINE void add_range(const void *x, int64_t begin, int64_t end, const vf *pivot, vf *sums, vf *squares,
                          enum lam_simd_type type, int period) {
    int64_t i = begin;
    const vf one = v_set(1);
    for (; i + LAM_UNROLL * LAM_V <= end; i += LAM_UNROLL * LAM_V)
        for (int k = 0; k < LAM_UNROLL; k++) {
            vf d = v_load(x, i + k * LAM_V, LAM_V, type) - pivot[k % period];
            sums[k] = v_fma(d, one, sums[k]);
            squares[k] = v_fma(d, d, squares[k]);
        }
    for (int k = 0; i < end; i += LAM_V, k++) {
        int n = end - i < LAM_V ? (int)(end - i) : LAM_V;
        vf d = v_keep_lanes(v_load(x, i, n, type) - pivot[k % period], n);
        sums[k] += d;
        squares[k] = v_fma(d, d, squares[k]);
    }
}

/* A chunk is a run of whole planes of samples, or a piece of one plane. */
struct chunk {
    int64_t sample, samples, begin, end;
};

LAM_INLINE void chunk_sums(const struct lam_bn_slice *s, int64_t group, const struct chunk *chunk,
                           const float *center, float *sum, float *square, enum lam_simd_type type,
                           int period) {
    vf pivot[LAM_UNROLL], sums[LAM_UNROLL], squares[LAM_UNROLL];
    for (int k = 0; k < period; k++) pivot[k] = v_spread(center, k, s->block, s->block);
    for (int k = 0; k < LAM_UNROLL; k++) sums[k] = squares[k] = v_zero();
    for (int64_t n = chunk->sample; n < chunk->sample + chunk->samples; n++) {
        const char *plane = (const char *)s->x + (size_t)plane_at(s, n, group) * v_bytes(type);
        add_range(plane, chunk->begin, chunk->end, pivot, sums, squares, type, period);
    }
    v_fold_unrolled(sums, period, s->block, sum);
    v_fold_unrolled(squares, period, s->block, square);
}

/* Folds the sums about `center` of `added` values a channel into `count` values with mean and squares. */
LAM_INLINE void merge(double *mean, double *squares, double count, const float *center, const float *sum,
                      const float *square, double added, int block) {
    double share = added / (count + added), weight = count * share, inverse = 1 / added;
    for (int c = 0; c < block; c++) {
        double shift = (double)sum[c] * inverse;
        double own = (double)square[c] - (double)sum[c] * shift;
        double delta = (double)center[c] + shift - mean[c];
        mean[c] += delta * share;
        squares[c] += (own < 0 ? 0 : own) + delta * delta * weight;
    }
}

LAM_INLINE double add_chunk(const struct lam_bn_slice *s, int64_t group, const struct chunk *chunk,
                            double count, enum lam_simd_type type, int period) {
    float center[16], sum[16], square[16];
    double *mean = s->mean_so_far + group * s->block, *squares = s->squares_so_far + group * s->block;
    double added = (double)chunk->samples * (double)(chunk->end - chunk->begin) / s->block;
    for (int c = 0; c < s->block; c++) center[c] = (float)mean[c];
    if (count == 0) { /* the first chunk: find the pivot from the chunk itself */
        vf first[LAM_UNROLL];
        const char *plane = (const char *)s->x + (size_t)plane_at(s, chunk->sample, group) * v_bytes(type);
        for (int k = 0; k < period; k++)
            first[k] = v_load(plane, k * LAM_V, s->block < LAM_V ? s->block : LAM_V, type);
        float lanes[LAM_UNROLL * LAM_V];
        for (int k = 0; k < period; k++) v_store_f32(lanes + k * LAM_V, first[k]);
        memcpy(center, lanes, (size_t)s->block * sizeof(float));
        chunk_sums(s, group, chunk, center, sum, square, type, period);
        for (int c = 0; c < s->block; c++) center[c] += (float)((double)sum[c] / added);
    }
    chunk_sums(s, group, chunk, center, sum, square, type, period);
    merge(mean, squares, count, center, sum, square, added, s->block);
    return count + added;
}

LAM_INLINE void bn_stats_body(const struct lam_bn_slice *s, enum lam_simd_type type, int period) {
    const int64_t plane = s->pixels * s->block, most = (int64_t)CHUNK * LAM_V;
    const int64_t together = plane < most ? most / plane : 1;
    for (int64_t g = 0; g < s->groups; g++) {
        double count = s->count;
        for (int64_t n = 0; n < s->samples; n += together) {
            int64_t samples = s->samples - n < together ? s->samples - n : together;
            for (int64_t begin = 0; begin < plane; begin += most) {
                int64_t end = plane - begin < most ? plane : begin + most;
                struct chunk chunk = {n, samples, begin, end};
                count = add_chunk(s, g, &chunk, count, type, period);
            }
        }
    }
}

/* ---- application ---- */

LAM_INLINE vf inverse_deviation(const struct lam_bn_slice *s, int64_t first, int k, int there) {
    vf value = v_spread(s->inv_std + first, k, s->block, there);
    if (!s->use_variance) return value;
    vf variance = value + v_set(s->eps);
    return v_where_greater(variance, v_zero(), v_set(1) / v_sqrt(variance), v_zero());
}

struct apply_group {
    vf mean[LAM_UNROLL], scale[LAM_UNROLL], shift[LAM_UNROLL];
};

LAM_INLINE void apply_group_load(const struct lam_bn_slice *s, int64_t g, int period, struct apply_group *p) {
    const int there = channels_there(s, g);
    const int64_t first = g * s->block;
    for (int k = 0; k < period; k++) {
        p->mean[k] = v_spread(s->mean + first, k, s->block, there);
        p->scale[k] = v_spread(s->gamma + first, k, s->block, there) * inverse_deviation(s, first, k, there);
        p->shift[k] = v_spread(s->beta + first, k, s->block, there);
    }
}

LAM_INLINE void apply_at(const struct lam_bn_slice *s, const struct apply_group *p, int64_t i, int k, int n,
                         enum lam_simd_type type, bool skip, bool relu) {
    vf y = v_fma(v_load(s->x, i, n, type) - p->mean[k], p->scale[k], p->shift[k]);
    if (skip) y += v_load(s->skip, i, n, type);
    if (relu) y = v_relu(y);
    v_store(s->out, i, y, n, type);
}

LAM_INLINE void bn_apply_planes(const struct lam_bn_slice *slice, enum lam_simd_type type, int period,
                                bool skip, bool relu) {
    const struct lam_bn_slice s = *slice;
    const int64_t plane = s.pixels * s.block;
    for (int64_t g = 0; g < s.groups; g++) {
        struct apply_group p;
        apply_group_load(&s, g, period, &p);
        for (int64_t n = 0; n < s.samples; n++) {
            int64_t i = plane_at(&s, n, g), end = i + plane;
            for (; i + LAM_UNROLL * LAM_V <= end; i += LAM_UNROLL * LAM_V)
                for (int k = 0; k < LAM_UNROLL; k++)
                    apply_at(&s, &p, i + k * LAM_V, k % period, LAM_V, type, skip, relu);
            for (int k = 0; i < end; i += LAM_V, k++)
                apply_at(&s, &p, i, k % period, end - i < LAM_V ? (int)(end - i) : LAM_V, type, skip, relu);
        }
    }
}

LAM_INLINE void bn_apply_body(const struct lam_bn_slice *s, enum lam_simd_type type, int period) {
    if (s->skip && s->relu)
        bn_apply_planes(s, type, period, true, true);
    else if (s->skip)
        bn_apply_planes(s, type, period, true, false);
    else if (s->relu)
        bn_apply_planes(s, type, period, false, true);
    else
        bn_apply_planes(s, type, period, false, false);
}

/* ---- gradients ---- */

/* dy, or 0 where the ReLU behind the normalisation gave 0; the same operations as in apply_at, so the same
 * mask. */
LAM_INLINE vf masked_gradient(const struct lam_bn_slice *s, const struct apply_group *p, vf centered,
                              int64_t i, int k, int n, enum lam_simd_type type, bool relu) {
    vf g = v_load(s->dy, i, n, type);
    if (!relu) return g;
    return v_where_greater(v_fma(centered, p->scale[k], p->shift[k]), v_zero(), g, v_zero());
}

LAM_INLINE void bwd_stats_at(const struct lam_bn_slice *s, const struct apply_group *p, int64_t i, int k,
                             int lane_set, int n, enum lam_simd_type type, bool relu, vf *sums,
                             vf *products) {
    vf centered = v_load(s->x, i, n, type) - p->mean[k];
    vf g = masked_gradient(s, p, centered, i, k, n, type, relu);
    sums[lane_set] += g;
    products[lane_set] = v_fma(g, centered, products[lane_set]);
}

/* One plane's sums, added to the lane's partial. */
LAM_INLINE void bwd_stats_flush(const struct lam_bn_slice *s, int64_t g, const vf *sums, const vf *products,
                                int period) {
    float sum[16], product[16];
    v_fold_unrolled(sums, period, s->block, sum);
    v_fold_unrolled(products, period, s->block, product);
    const int there = channels_there(s, g);
    for (int c = 0; c < s->block; c++) {
        float inverse = c < there ? s->inv_std[g * s->block + c] : 0;
        s->dbeta_sum[g * s->block + c] += (double)sum[c];
        s->dgamma_sum[g * s->block + c] += (double)product[c] * (double)inverse;
    }
}

LAM_INLINE void bn_bwd_stats_planes(const struct lam_bn_slice *slice, enum lam_simd_type type, int period,
                                    bool relu) {
    const struct lam_bn_slice s = *slice;
    const int64_t plane = s.pixels * s.block, most = (int64_t)GRADIENT_CHUNK * LAM_V;
    for (int64_t g = 0; g < s.groups; g++) {
        struct apply_group p;
        apply_group_load(&s, g, period, &p);
        vf sums[LAM_UNROLL], products[LAM_UNROLL];
        for (int k = 0; k < LAM_UNROLL; k++) sums[k] = products[k] = v_zero();
        int64_t unflushed = 0;
        for (int64_t n = 0; n < s.samples; n++) {
            int64_t i = plane_at(&s, n, g), plane_end = i + plane;
            while (i < plane_end) {
                int64_t end = plane_end - i < most ? plane_end : i + most;
                unflushed += end - i;
                for (; i + LAM_UNROLL * LAM_V <= end; i += LAM_UNROLL * LAM_V)
                    for (int k = 0; k < LAM_UNROLL; k++)
                        bwd_stats_at(&s, &p, i + k * LAM_V, k % period, k, LAM_V, type, relu, sums, products);
                for (int k = 0; i < end; i += LAM_V, k++)
                    bwd_stats_at(&s, &p, i, k % period, k, end - i < LAM_V ? (int)(end - i) : LAM_V, type,
                                 relu, sums, products);
                i = end;
                if (unflushed < most && (n + 1 < s.samples || i < plane_end)) continue;
                bwd_stats_flush(&s, g, sums, products, period);
                for (int k = 0; k < LAM_UNROLL; k++) sums[k] = products[k] = v_zero();
                unflushed = 0;
            }
        }
    }
}

LAM_INLINE void bn_bwd_stats_body(const struct lam_bn_slice *s, enum lam_simd_type type, int period) {
    if (s->relu)
        bn_bwd_stats_planes(s, type, period, true);
    else
        bn_bwd_stats_planes(s, type, period, false);
}

struct bwd_group {
    vf slope[LAM_UNROLL], offset[LAM_UNROLL]; /* dx = scale g - (centered slope + offset) */
};

LAM_INLINE void bwd_group_load(const struct lam_bn_slice *s, int64_t g, int period,
                               const struct apply_group *p, struct bwd_group *q) {
    const int there = channels_there(s, g);
    const int64_t first = g * s->block;
    for (int k = 0; k < period; k++) {
        vf scale = p->scale[k] * v_set(s->inverse_count);
        q->slope[k] =
            scale * inverse_deviation(s, first, k, there) * v_spread(s->dgamma + first, k, s->block, there);
        q->offset[k] = scale * v_spread(s->dbeta + first, k, s->block, there);
    }
}

LAM_INLINE void bwd_apply_at(const struct lam_bn_slice *s, const struct apply_group *p,
                             const struct bwd_group *q, int64_t i, int k, int n, enum lam_simd_type type,
                             bool relu) {
    vf centered = v_load(s->x, i, n, type) - p->mean[k];
    vf g = masked_gradient(s, p, centered, i, k, n, type, relu);
    vf correction = v_fma(centered, q->slope[k], q->offset[k]);
    v_store(s->out, i, v_fma(g, p->scale[k], v_zero() - correction), n, type);
}

LAM_INLINE void bn_bwd_apply_planes(const struct lam_bn_slice *slice, enum lam_simd_type type, int period,
                                    bool relu) {
    const struct lam_bn_slice s = *slice;
    const int64_t plane = s.pixels * s.block;
    for (int64_t g = 0; g < s.groups; g++) {
        struct apply_group p;
        struct bwd_group q;
        apply_group_load(&s, g, period, &p);
        bwd_group_load(&s, g, period, &p, &q);
        for (int64_t n = 0; n < s.samples; n++) {
            int64_t i = plane_at(&s, n, g), end = i + plane;
            for (; i + LAM_UNROLL * LAM_V <= end; i += LAM_UNROLL * LAM_V)
                for (int k = 0; k < LAM_UNROLL; k++)
                    bwd_apply_at(&s, &p, &q, i + k * LAM_V, k % period, LAM_V, type, relu);
            for (int k = 0; i < end; i += LAM_V, k++)
                bwd_apply_at(&s, &p, &q, i, k % period, end - i < LAM_V ? (int)(end - i) : LAM_V, type, relu);
        }
    }
}

LAM_INLINE void bn_bwd_apply_body(const struct lam_bn_slice *s, enum lam_simd_type type, int period) {
    if (s->relu)
        bn_bwd_apply_planes(s, type, period, true);
    else
        bn_bwd_apply_planes(s, type, period, false);
}

#define BY_PERIOD(body, type)                                                                                \
    static void body##_##type(const struct lam_bn_slice *s) {                                                \
        LAM_BY_PERIOD(s->block, body##_body, s, LAM_SIMD_##type)                                             \
    }
#define BY_TYPE(body) BY_PERIOD(body, F32) BY_PERIOD(body, BF16) BY_PERIOD(body, BF16_HW)
BY_TYPE(bn_stats)
BY_TYPE(bn_apply)
BY_TYPE(bn_bwd_stats)
BY_TYPE(bn_bwd_apply)

#define TYPES(body)                                                                                          \
    { body##_F32, body##_BF16, body##_BF16_HW }
const struct lam_bn_kernels LAM_ISA_NAME(lam_bn) = {
    .stats = TYPES(bn_stats),
    .apply = TYPES(bn_apply),
    .bwd_stats = TYPES(bn_bwd_stats),
    .bwd_apply = TYPES(bn_bwd_apply),
};
