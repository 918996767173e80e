/* Pooling, vectorised over the channels of a block (PLAIN has one channel in a vector: right, but slow; it is
 * only met below 16 channels).
 *
 * The backward passes gather: each input pixel sums the positions whose windows hold it, in f32, and is
 * written once. */
#include "cpu/pool_isa.h"

#include <math.h>

#include "cpu/cpu_kernel.h"
#include "cpu/simd_block.h"

/* ---- global average ---- */

LAM_INLINE void global_plane(const struct lam_global_pool_slice *s, int64_t sample, int64_t group,
                             enum lam_simd_type type) {
    int64_t plane = s->pixels * s->block, i = (sample * s->groups + group) * plane, end = i + plane;
    vf sums[LAM_STRIP], strip[LAM_STRIP];
    for (int k = 0; k < LAM_STRIP; k++) sums[k] = v_zero();
    for (; i < end; i += LAM_STRIP_NUMBERS) {
        if (end - i >= LAM_STRIP_NUMBERS)
            v_load_strip(s->in, i, LAM_STRIP_NUMBERS, type, strip);
        else
            v_load_strip(s->in, i, (int)(end - i), type, strip);
        for (int k = 0; k < LAM_STRIP; k++) sums[k] += strip[k];
    }
    float total[16] = {0};
    v_fold_strip(sums, s->block, type, total);
    const float share = 1 / (float)s->pixels;
    for (int64_t c = group * s->block; c < (group + 1) * s->block && c < s->channels; c++)
        v_write_one(s->out, sample * s->channels + c, total[c - group * s->block] * share, type);
}

LAM_INLINE void global_body(const struct lam_global_pool_slice *slice, enum lam_simd_type type) {
    const struct lam_global_pool_slice s = *slice;
    for (int64_t n = 0; n < s.samples; n++)
        for (int64_t g = 0; g < s.groups; g++) global_plane(&s, n, g, type);
}

LAM_INLINE void global_bwd_plane(const struct lam_global_pool_slice *s, int64_t sample, int64_t group,
                                 enum lam_simd_type type) {
    int64_t plane = s->pixels * s->block, i = (sample * s->groups + group) * plane, end = i + plane;
    const float share = 1 / (float)s->pixels;
    float each[16] = {0};
    for (int64_t c = group * s->block; c < (group + 1) * s->block && c < s->channels; c++)
        each[c - group * s->block] = v_read_one(s->in, sample * s->channels + c, type) * share;
    vf strip[LAM_STRIP];
    for (int k = 0; k < LAM_STRIP; k++)
        strip[k] = v_spread(each, k % v_period(type), s->block, s->block, type);
    for (; i + LAM_STRIP_NUMBERS <= end; i += LAM_STRIP_NUMBERS)
        v_store_strip(s->out, i, LAM_STRIP_NUMBERS, type, strip);
    if (i < end) v_store_strip(s->out, i, (int)(end - i), type, strip);
}

LAM_INLINE void global_bwd_body(const struct lam_global_pool_slice *slice, enum lam_simd_type type) {
    const struct lam_global_pool_slice s = *slice;
    for (int64_t n = 0; n < s.samples; n++)
        for (int64_t g = 0; g < s.groups; g++) global_bwd_plane(&s, n, g, type);
}

/* ---- windows ---- */

enum mode { MAX, AVG };

struct range {
    int begin, end;
};

/* Input pixels of window position o along one axis. */
LAM_INLINE struct range window(const struct lam_pool_slice *s, int axis, int o) {
    int begin = o * s->stride[axis] - s->pad[axis], end = begin + s->kernel[axis];
    return (struct range){begin < 0 ? 0 : begin, end > s->in_size[axis] ? s->in_size[axis] : end};
}

/* Window positions that hold input pixel i along one axis. */
LAM_INLINE struct range positions(const struct lam_pool_slice *s, int axis, int i) {
    int last = (i + s->pad[axis]) / s->stride[axis], before = i + s->pad[axis] - s->kernel[axis];
    int first = before < 0 ? 0 : before / s->stride[axis] + 1;
    return (struct range){first, last + 1 > s->out_size[axis] ? s->out_size[axis] : last + 1};
}

LAM_INLINE void store_place(int32_t *p, vi place, int n) {
    v_store_f32_n((float *)(void *)p, (vf)place, n);
}
LAM_INLINE vi load_place(const int32_t *p, int n) {
    return (vi)v_load_f32_n((const float *)(const void *)p, n);
}

/* One window position; lanes j .. j + n - 1 of the block. */
LAM_INLINE void forward_pixel(const struct lam_pool_slice *s, int64_t plane, int oy, int ox, int block, int j,
                              int n, enum lam_simd_type type, enum mode mode) {
    struct range ys = window(s, 0, oy), xs = window(s, 1, ox);
    vf value = mode == MAX ? v_set(-INFINITY) : v_zero();
    for (int y = ys.begin; y < ys.end; y++)
        for (int x = xs.begin; x < xs.end; x++) {
            int64_t at = (plane * s->in_size[0] + y) * s->in_size[1] + x;
            vf here = v_load(s->from, at * block + j, n, type);
            if (mode == AVG) {
                value += here;
                continue;
            }
            vi better = (vi)(here > value) | (vi)(here != here);
            value = (vf)((better & (vi)here) | (~better & (vi)value));
        }
    if (mode == AVG) value *= v_set(1 / (float)(s->kernel[0] * s->kernel[1]));
    v_store(s->to, ((plane * s->out_size[0] + oy) * s->out_size[1] + ox) * block + j, value, n, type);
}

/* Where in the plane its maximum is. */
LAM_INLINE void find_place(const struct lam_pool_slice *s, int64_t plane, int oy, int ox, int block, int j,
                           int n, enum lam_simd_type type) {
    struct range ys = window(s, 0, oy), xs = window(s, 1, ox);
    vf value = v_set(-INFINITY);
    vi place = (vi)v_zero() + (ys.begin * s->in_size[1] + xs.begin);
    for (int y = ys.begin; y < ys.end; y++)
        for (int x = xs.begin; x < xs.end; x++) {
            int at = y * s->in_size[1] + x;
            vf here = v_load(s->image, (plane * s->in_size[0] * s->in_size[1] + at) * block + j, n, type);
            vi better = (vi)(here > value) | (vi)(here != here);
            place = (better & at) | (~better & place);
            value = (vf)((better & (vi)here) | (~better & (vi)value));
        }
    store_place(s->places + (oy * s->out_size[1] + ox) * block + j, place, n);
}

LAM_INLINE void backward_pixel(const struct lam_pool_slice *s, int64_t plane, int y, int x, int block, int j,
                               int n, enum lam_simd_type type, enum mode mode) {
    struct range oys = positions(s, 0, y), oxs = positions(s, 1, x);
    const int at = y * s->in_size[1] + x;
    vf sum = v_zero();
    for (int oy = oys.begin; oy < oys.end; oy++)
        for (int ox = oxs.begin; ox < oxs.end; ox++) {
            int out = (oy * s->out_size[1] + ox) * block + j;
            vf gradient = v_load(s->from, plane * s->out_size[0] * s->out_size[1] * block + out, n, type);
            if (mode == MAX)
                sum += v_where_same(load_place(s->places + out, n), (vi)v_zero() + at, gradient, v_zero());
            else
                sum += gradient;
        }
    if (mode == AVG) sum *= v_set(1 / (float)(s->kernel[0] * s->kernel[1]));
    v_store(s->to, (plane * s->in_size[0] * s->in_size[1] + at) * block + j, sum, n, type);
}

LAM_INLINE void windows(const struct lam_pool_slice *slice, enum lam_simd_type type, enum mode mode,
                        bool backward, int block) {
    const struct lam_pool_slice s = *slice;
    const int lanes = block < LAM_V ? block : LAM_V;
    const int *size = backward ? s.in_size : s.out_size;
    for (int64_t p = 0; p < s.planes; p++) {
        for (int y = 0; y < s.out_size[0] && backward && mode == MAX; y++)
            for (int x = 0; x < s.out_size[1]; x++)
                for (int j = 0; j < block; j += lanes) find_place(&s, p, y, x, block, j, lanes, type);
        for (int y = 0; y < size[0]; y++)
            for (int x = 0; x < size[1]; x++)
                for (int j = 0; j < block; j += lanes) {
                    if (backward)
                        backward_pixel(&s, p, y, x, block, j, lanes, type, mode);
                    else
                        forward_pixel(&s, p, y, x, block, j, lanes, type, mode);
                }
    }
}

#define DEFINE_WINDOWS(name, type, mode, backward)                                                           \
    static void name##_##type(const struct lam_pool_slice *s) {                                              \
        if (s->block == 16)                                                                                  \
            windows(s, LAM_SIMD_##type, mode, backward, 16);                                                 \
        else if (s->block == 8)                                                                              \
            windows(s, LAM_SIMD_##type, mode, backward, 8);                                                  \
        else                                                                                                 \
            windows(s, LAM_SIMD_##type, mode, backward, 1);                                                  \
    }
#define DEFINE(type)                                                                                         \
    static void global_##type(const struct lam_global_pool_slice *s) {                                       \
        global_body(s, LAM_SIMD_##type);                                                                     \
    }                                                                                                        \
    static void global_bwd_##type(const struct lam_global_pool_slice *s) {                                   \
        global_bwd_body(s, LAM_SIMD_##type);                                                                 \
    }                                                                                                        \
    DEFINE_WINDOWS(max, type, MAX, false)                                                                    \
    DEFINE_WINDOWS(max_bwd, type, MAX, true)                                                                 \
    DEFINE_WINDOWS(avg, type, AVG, false) DEFINE_WINDOWS(avg_bwd, type, AVG, true)
LAM_BY_TYPE(DEFINE)

const struct lam_pool_kernels LAM_ISA_NAME(lam_pool) = {
    .global = LAM_TYPES(global),
    .global_bwd = LAM_TYPES(global_bwd),
    .max = LAM_TYPES(max),
    .max_bwd = LAM_TYPES(max_bwd),
    .avg = LAM_TYPES(avg),
    .avg_bwd = LAM_TYPES(avg_bwd),
};
