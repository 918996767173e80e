/* Resizing, vectorised over the channels of a block. Nearest and bilinear, forward and backward are one loop:
 * each result pixel is a weighted sum of source pixels, separable in the two axes. */
#include "cpu/resize_isa.h"

#include "cpu/cpu_kernel.h"
#include "cpu/simd.h"

/* Lanes j .. j + n - 1 of result pixel (y, x). */
LAM_INLINE vf pixel(const struct lam_resize_slice *s, int64_t source, int y, int x, int block, int j, int n,
                    enum lam_simd_type type) {
    const struct lam_resize_axis *rows = &s->axis[0], *columns = &s->axis[1];
    vf sum = v_zero();
    for (int r = rows->begin[y]; r < rows->begin[y + 1]; r++) {
        int64_t line = source + (int64_t)rows->at[r] * columns->from;
        vf row = v_zero();
        for (int c = columns->begin[x]; c < columns->begin[x + 1]; c++)
            row = v_fma(v_load(s->from, (line + columns->at[c]) * block + j, n, type),
                        v_set(columns->weight[c]), row);
        sum = v_fma(row, v_set(rows->weight[r]), sum);
    }
    return sum;
}

LAM_INLINE void planes(const struct lam_resize_slice *slice, enum lam_simd_type type, int block) {
    const struct lam_resize_slice s = *slice;
    const int lanes = block < LAM_V ? block : LAM_V;
    const int height = s.axis[0].to, width = s.axis[1].to;
    for (int64_t p = 0; p < s.planes; p++) {
        int64_t source = p * s.axis[0].from * s.axis[1].from, target = p * height * width;
        for (int y = 0; y < height; y++)
            for (int x = 0; x < width; x++)
                for (int j = 0; j < block; j += lanes)
                    v_store(s.to, (target + y * width + x) * block + j,
                            pixel(&s, source, y, x, block, j, lanes, type), lanes, type);
    }
}

#define DEFINE(type)                                                                                         \
    static void apply_##type(const struct lam_resize_slice *s) {                                             \
        if (s->block == 16)                                                                                  \
            planes(s, LAM_SIMD_##type, 16);                                                                  \
        else if (s->block == 8)                                                                              \
            planes(s, LAM_SIMD_##type, 8);                                                                   \
        else                                                                                                 \
            planes(s, LAM_SIMD_##type, 1);                                                                   \
    }
LAM_BY_TYPE(DEFINE)

const struct lam_resize_kernels LAM_ISA_NAME(lam_resize) = {LAM_TYPES(apply)};
