/* An image times a number for each channel, vectorised: a plane at a time, whose numbers for its channels stay in
 * registers. Padding channels have the number 0. */
#include "cpu/channel_scale_isa.h"

#include "cpu/cpu_kernel.h"
#include "cpu/simd_block.h"

/* One plane of y = s x or, backward, of dx = s dy and ds = sum of dy x. n: numbers, LAM_STRIP_NUMBERS at most. */
LAM_INLINE void one_strip(const struct lam_channel_scale_slice *s, int64_t i, int n, const vf *factor,
                          vf *sums, bool backward, enum lam_simd_type type) {
    vf x[LAM_STRIP], dy[LAM_STRIP];
    v_load_strip(backward ? s->dy : s->x, i, n, type, dy);
    if (backward && s->ds) {
        v_load_strip(s->x, i, n, type, x);
        for (int k = 0; k < LAM_STRIP; k++) sums[k] = v_fma(x[k], dy[k], sums[k]);
    }
    if (!s->y) return;
    for (int k = 0; k < LAM_STRIP; k++) dy[k] *= factor[k];
    v_store_strip(s->y, i, n, type, dy);
}

LAM_INLINE void one_plane(const struct lam_channel_scale_slice *s, int64_t sample, int64_t group,
                          bool backward, enum lam_simd_type type) {
    const int64_t plane = s->pixels * s->block, first = sample * s->channels + group * s->block;
    const int there = v_clamp(s->channels - group * s->block, s->block);
    int64_t i = (sample * s->groups + group) * plane, end = i + plane;
    float each[16] = {0}, total[16] = {0};
    for (int c = 0; c < there; c++) each[c] = v_read_one(s->s, first + c, type);
    vf factor[LAM_STRIP], sums[LAM_STRIP];
    for (int k = 0; k < LAM_STRIP; k++) {
        factor[k] = v_spread(each, k % v_period(type), s->block, s->block, type);
        sums[k] = v_zero();
    }
    for (; i + LAM_STRIP_NUMBERS <= end; i += LAM_STRIP_NUMBERS)
        one_strip(s, i, LAM_STRIP_NUMBERS, factor, sums, backward, type);
    if (i < end) one_strip(s, i, (int)(end - i), factor, sums, backward, type);
    if (!backward || !s->ds) return;
    v_fold_strip(sums, s->block, type, total);
    for (int c = 0; c < there; c++) v_write_one(s->ds, first + c, total[c], type);
}

LAM_INLINE void planes(const struct lam_channel_scale_slice *slice, bool backward, enum lam_simd_type type) {
    const struct lam_channel_scale_slice s = *slice;
    for (int64_t n = 0; n < s.samples; n++)
        for (int64_t g = 0; g < s.groups; g++) one_plane(&s, n, g, backward, type);
}

#define DEFINE(type)                                                                                         \
    static void forward_##type(const struct lam_channel_scale_slice *s) {                                    \
        planes(s, false, LAM_SIMD_##type);                                                                   \
    }                                                                                                        \
    static void backward_##type(const struct lam_channel_scale_slice *s) {                                   \
        planes(s, true, LAM_SIMD_##type);                                                                    \
    }
LAM_BY_TYPE(DEFINE)

const struct lam_channel_scale_kernels LAM_ISA_NAME(lam_channel_scale) = {
    .forward = LAM_TYPES(forward),
    .backward = LAM_TYPES(backward),
};
