/* Resizing, vectorised. Nearest and bilinear, forward and backward are one loop, one axis after the other: the source rows
 * of a result row are added up in a line of f32 numbers, whatever the layout, and then the columns of that. Where results are
 * source pixels as they are, they are only copied. */
#include "cpu/resize_isa.h"

#include "cpu/cpu_kernel.h"
#include "cpu/simd_block.h"

/* ---- sums ---- */

/* The source rows of result row y, added up: s->line, or a source row itself. `source`: the plane's first number. */
LAM_INLINE const float *add_rows(const struct lam_resize_slice *s, int64_t source, int y, int block,
                                 enum lam_simd_type type) {
    const struct lam_resize_axis *rows = &s->axis[0];
    const int begin = rows->begin[y], end = rows->begin[y + 1];
    const int64_t count = (int64_t)s->axis[1].from * block;
    if (type == LAM_SIMD_F32 && end - begin == 1 && rows->weight[begin] == 1)
        return (const float *)s->from + source + rows->at[begin] * count;
    for (int64_t i = 0; i < count; i += LAM_STRIP_NUMBERS) {
        const int n = v_clamp(count - i, LAM_STRIP_NUMBERS);
        vf sums[LAM_STRIP] = {v_zero(), v_zero(), v_zero(), v_zero()}, strip[LAM_STRIP];
        for (int r = begin; r < end; r++) {
            const int64_t at = source + rows->at[r] * count + i;
            if (n == LAM_STRIP_NUMBERS)
                v_load_in_order(s->from, at, LAM_STRIP_NUMBERS, type, strip);
            else
                v_load_in_order(s->from, at, n, type, strip);
            for (int k = 0; k < LAM_STRIP; k++) sums[k] = v_fma(strip[k], v_set(rows->weight[r]), sums[k]);
        }
        v_store_in_order(s->line, i, n, LAM_SIMD_F32, sums);
    }
    return s->line;
}

/* Columns begin .. end - 1 of a result row that starts at number `target`; all have `taps` source pixels, or any number: 0. */
LAM_INLINE void add_columns(const struct lam_resize_slice *s, const float *line, int64_t target, int begin,
                            int end, int taps, int block, enum lam_simd_type type) {
    const struct lam_resize_axis *columns = &s->axis[1];
    const int lanes = block < LAM_V ? block : LAM_V;
    const int *at = columns->at + columns->begin[begin];
    const float *weight = columns->weight + columns->begin[begin];
    for (int x = begin; x < end; x++) {
        const int count = taps ? taps : columns->begin[x + 1] - columns->begin[x];
        if (block == 1) {
            float sum = 0;
            for (int t = 0; t < count; t++) sum += line[at[t]] * weight[t];
            v_write_one(s->to, target + x, sum, type);
        }
        for (int j = 0; j < block && block > 1; j += lanes) {
            vf sum = v_zero();
            for (int t = 0; t < count; t++)
                sum = v_fma(v_load_f32_n(line + at[t] * block + j, lanes), v_set(weight[t]), sum);
            v_store(s->to, target + (int64_t)x * block + j, sum, lanes, type);
        }
        at += count;
        weight += count;
    }
}

LAM_INLINE void add_row(const struct lam_resize_slice *s, const float *line, int64_t target, int block,
                        enum lam_simd_type type) {
    const struct lam_resize_axis *columns = &s->axis[1];
    const int begin = columns->even_begin, end = columns->even_end;
    add_columns(s, line, target, 0, begin, 0, block, type);
    if (columns->taps == 1)
        add_columns(s, line, target, begin, end, 1, block, type);
    else if (columns->taps == 2)
        add_columns(s, line, target, begin, end, 2, block, type);
    else if (columns->taps == 3)
        add_columns(s, line, target, begin, end, 3, block, type);
    else
        add_columns(s, line, target, begin, end, 0, block, type);
    add_columns(s, line, target, end, columns->to, 0, block, type);
}

LAM_INLINE void planes(const struct lam_resize_slice *slice, enum lam_simd_type type, int block) {
    const struct lam_resize_slice s = *slice;
    const int64_t plane = (int64_t)s.axis[0].from * s.axis[1].from * block,
                  row = (int64_t)s.axis[1].to * block;
    for (int64_t p = 0; p < s.planes; p++)
        for (int y = 0; y < s.axis[0].to; y++)
            add_row(&s, add_rows(&s, p * plane, y, block, type), (p * s.axis[0].to + y) * row, block, type);
}

/* ---- copies ---- */

LAM_INLINE void pick(const struct lam_resize_slice *s, int block, int bytes) {
    const struct lam_resize_axis *rows = &s->axis[0], *columns = &s->axis[1];
    const size_t pixel = (size_t)(block * bytes);
    const size_t source_row = (size_t)columns->from * pixel, row = (size_t)columns->to * pixel;
    const char *source = s->from;
    char *target = s->to;
    for (int64_t p = 0; p < s->planes; p++, source += (size_t)rows->from * source_row)
        for (int y = 0; y < rows->to; y++, target += row) {
            if (y > 0 && rows->at[y] == rows->at[y - 1]) {
                memcpy(target, target - row, row);
                continue;
            }
            const char *line = source + (size_t)rows->at[y] * source_row;
            for (int x = 0; x < columns->to; x++)
                memcpy(target + (size_t)x * pixel, line + (size_t)columns->at[x] * pixel, pixel);
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

#define DEFINE_PICK(block, bytes)                                                                            \
    static void pick_##block##_##bytes(const struct lam_resize_slice *s) {                                   \
        pick(s, block, bytes);                                                                               \
    }
DEFINE_PICK(1, 2)
DEFINE_PICK(1, 4)
DEFINE_PICK(8, 2)
DEFINE_PICK(8, 4)
DEFINE_PICK(16, 2)
DEFINE_PICK(16, 4)

const struct lam_resize_kernels LAM_ISA_NAME(lam_resize) = {
    .apply = LAM_TYPES(apply),
    .pick = {{pick_1_2, pick_1_4}, {pick_8_2, pick_8_4}, {pick_16_2, pick_16_4}},
};
