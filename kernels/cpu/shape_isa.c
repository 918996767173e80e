/* Layout changes and shuffles of pixels, vectorised. Tiles of 16 pixels by one channel group, so that both sides are touched in
 * whole cache lines; the compiler turns the fixed-size inner loops into shuffles. */
#include "cpu/shape_isa.h"

#include <stdbool.h>
#include <string.h>

#include "cpu/cpu_kernel.h"

#define INLINE static inline __attribute__((always_inline))

enum { TILE = 16 };

/* One element; `bytes` is a compile-time constant at every call. */
INLINE void move(void *target, int64_t to, const void *source, int64_t from, int bytes) {
    if (bytes == 4) ((uint32_t *)target)[to] = ((const uint32_t *)source)[from];
    if (bytes == 2) ((uint16_t *)target)[to] = ((const uint16_t *)source)[from];
    if (bytes == 1) ((uint8_t *)target)[to] = ((const uint8_t *)source)[from];
}

INLINE void to_blocked(const void *source, void *target, int64_t channels, int64_t pixels, int block,
                       int bytes) {
    for (int64_t first = 0; first < channels; first += block) {
        char *group = (char *)target + first * pixels * bytes;
        const char *planes = (const char *)source + first * pixels * bytes;
        int64_t there = channels - first < block ? channels - first : block;
        if (there < block) memset(group, 0, (size_t)(pixels * block * bytes));
        int64_t p = 0;
        for (; p + TILE <= pixels; p += TILE)
            for (int64_t c = 0; c < there; c++)
                for (int t = 0; t < TILE; t++)
                    move(group, (p + t) * block + c, planes, c * pixels + p + t, bytes);
        for (; p < pixels; p++)
            for (int64_t c = 0; c < there; c++) move(group, p * block + c, planes, c * pixels + p, bytes);
    }
}

INLINE void from_blocked(const void *source, void *target, int64_t channels, int64_t pixels, int block,
                         int bytes) {
    for (int64_t first = 0; first < channels; first += block) {
        const char *group = (const char *)source + first * pixels * bytes;
        char *planes = (char *)target + first * pixels * bytes;
        int64_t there = channels - first < block ? channels - first : block;
        int64_t p = 0;
        for (; p + TILE <= pixels; p += TILE)
            for (int64_t c = 0; c < there; c++)
                for (int t = 0; t < TILE; t++)
                    move(planes, c * pixels + p + t, group, (p + t) * block + c, bytes);
        for (; p < pixels; p++)
            for (int64_t c = 0; c < there; c++) move(planes, c * pixels + p, group, p * block + c, bytes);
    }
}

/* C16 holds two C8 groups in each of its own; an odd last C8 group has no partner. */
INLINE void between_blocks(const void *source, void *target, int64_t channels, int64_t pixels, int bytes,
                           int narrow) {
    int64_t small = 8 * bytes, groups = (channels + 7) / 8;
    char *wide = narrow ? (char *)(uintptr_t)source : target;
    char *thin = narrow ? target : (char *)(uintptr_t)source;
    for (int64_t g = 0; g < groups; g++)
        for (int64_t p = 0; p < pixels; p++) {
            char *in_wide = wide + ((g / 2) * pixels + p) * 2 * small + (g % 2) * small;
            char *in_thin = thin + (g * pixels + p) * small;
            if (narrow)
                memcpy(in_thin, in_wide, (size_t)small);
            else
                memcpy(in_wide, in_thin, (size_t)small);
        }
    if (!narrow && groups % 2 == 1)
        for (int64_t p = 0; p < pixels; p++)
            memset(wide + ((groups / 2) * pixels + p) * 2 * small + small, 0, (size_t)small);
}

/* Rows of all channels of a pixel. Blocked: a pixel's groups are copied one by one, the last one as far as it goes. */
INLINE void rows_of_groups(void *image, void *rows, int64_t channels, int64_t pixels, int block, int bytes,
                           bool inverse) {
    const size_t run = (size_t)(block * bytes);
    const int64_t whole = channels / block, plane = pixels * block * bytes;
    const size_t rest = (size_t)(channels % block * bytes);
    char *row = rows;
    for (int64_t p = 0; p < pixels; p++, row += channels * bytes) {
        char *group = (char *)image + (size_t)p * run;
        for (int64_t g = 0; g < whole; g++, group += plane) {
            if (inverse)
                memcpy(group, row + (size_t)g * run, run);
            else
                memcpy(row + (size_t)g * run, group, run);
        }
        if (!rest) continue;
        if (inverse) {
            memset(group, 0, run);
            memcpy(group, row + (size_t)whole * run, rest);
        } else {
            memcpy(row + (size_t)whole * run, group, rest);
        }
    }
}

/* The same for PLAIN: a transposition, tile by tile of pixels. */
INLINE void rows_of_planes(void *image, void *rows, int64_t channels, int64_t pixels, int bytes,
                           bool inverse) {
    for (int64_t first = 0; first < pixels; first += TILE) {
        const int64_t end = pixels - first < TILE ? pixels : first + TILE;
        for (int64_t c = 0; c < channels; c++)
            for (int64_t p = first; p < end; p++) {
                if (inverse)
                    move(image, c * pixels + p, rows, p * channels + c, bytes);
                else
                    move(rows, p * channels + c, image, c * pixels + p, bytes);
            }
    }
}

/* The r r groups of a coarse pixel hold, for each channel of a group, its r r fine pixels. They are gathered in a buffer and
 * leave it in the other order. */
INLINE void shuffle_groups(void *fine, void *coarse, int64_t fine_groups, int64_t rows, int64_t columns,
                           int r, int block, int bytes, bool inverse) {
    enum { MOST = 8 * 8 * 16 * 4 };
    const size_t run = (size_t)(block * bytes);
    const int64_t plane = rows * columns * block * bytes;
    char buffer[MOST];
    for (int64_t g = 0; g < fine_groups; g++)
        for (int64_t y = 0; y < rows; y++)
            for (int64_t x = 0; x < columns; x++) {
                char *at = (char *)coarse + g * r * r * plane + (y * columns + x) * block * bytes;
                char *to = (char *)fine + ((g * rows + y) * r * columns + x) * r * block * bytes;
                for (int q = 0; q < r * r && !inverse; q++)
                    memcpy(buffer + (size_t)q * run, at + q * plane, run);
                for (int q = 0; q < r * r; q++) {
                    char *pixel = to + (q / r * r * columns + q % r) * block * bytes;
                    for (int c = 0; c < block; c++) {
                        if (inverse)
                            move(buffer, c * r * r + q, pixel, c, bytes);
                        else
                            move(pixel, c, buffer, c * r * r + q, bytes);
                    }
                }
                for (int q = 0; q < r * r && inverse; q++)
                    memcpy(at + q * plane, buffer + (size_t)q * run, run);
            }
}

INLINE void shuffle(void *fine, void *coarse, int64_t groups, int64_t rows, int64_t columns, int r, int block,
                    int bytes, bool inverse) {
    if (r == 2)
        shuffle_groups(fine, coarse, groups, rows, columns, 2, block, bytes, inverse);
    else if (r == 3)
        shuffle_groups(fine, coarse, groups, rows, columns, 3, block, bytes, inverse);
    else
        shuffle_groups(fine, coarse, groups, rows, columns, r, block, bytes, inverse);
}

#define DEFINE_BLOCK(block, bytes)                                                                           \
    static void to_rows_##block##_##bytes(void *i, void *r, int64_t c, int64_t p) {                          \
        rows_of_groups(i, r, c, p, block, bytes, false);                                                     \
    }                                                                                                        \
    static void from_rows_##block##_##bytes(void *i, void *r, int64_t c, int64_t p) {                        \
        rows_of_groups(i, r, c, p, block, bytes, true);                                                      \
    }                                                                                                        \
    static void shuffle_##block##_##bytes(void *f, void *c, int64_t g, int64_t h, int64_t w, int r) {        \
        shuffle(f, c, g, h, w, r, block, bytes, false);                                                      \
    }                                                                                                        \
    static void unshuffle_##block##_##bytes(void *f, void *c, int64_t g, int64_t h, int64_t w, int r) {      \
        shuffle(f, c, g, h, w, r, block, bytes, true);                                                       \
    }
#define DEFINE_ROWS(bytes)                                                                                   \
    DEFINE_BLOCK(8, bytes)                                                                                   \
    DEFINE_BLOCK(16, bytes)                                                                                  \
    static void to_rows_1_##bytes(void *i, void *r, int64_t c, int64_t p) {                                  \
        rows_of_planes(i, r, c, p, bytes, false);                                                            \
    }                                                                                                        \
    static void from_rows_1_##bytes(void *i, void *r, int64_t c, int64_t p) {                                \
        rows_of_planes(i, r, c, p, bytes, true);                                                             \
    }
DEFINE_ROWS(2)
DEFINE_ROWS(4)

#define DEFINE(bytes)                                                                                        \
    static void to_8_##bytes(const void *s, void *t, int64_t c, int64_t p) {                                 \
        to_blocked(s, t, c, p, 8, bytes);                                                                    \
    }                                                                                                        \
    static void to_16_##bytes(const void *s, void *t, int64_t c, int64_t p) {                                \
        to_blocked(s, t, c, p, 16, bytes);                                                                   \
    }                                                                                                        \
    static void from_8_##bytes(const void *s, void *t, int64_t c, int64_t p) {                               \
        from_blocked(s, t, c, p, 8, bytes);                                                                  \
    }                                                                                                        \
    static void from_16_##bytes(const void *s, void *t, int64_t c, int64_t p) {                              \
        from_blocked(s, t, c, p, 16, bytes);                                                                 \
    }                                                                                                        \
    static void narrow_##bytes(const void *s, void *t, int64_t c, int64_t p) {                               \
        between_blocks(s, t, c, p, bytes, 1);                                                                \
    }                                                                                                        \
    static void widen_##bytes(const void *s, void *t, int64_t c, int64_t p) {                                \
        between_blocks(s, t, c, p, bytes, 0);                                                                \
    }
DEFINE(1)
DEFINE(2)
DEFINE(4)

#define BY_BLOCK(name)                                                                                       \
    {                                                                                                        \
        {name##_8_2, name##_8_4}, {                                                                          \
            name##_16_2, name##_16_4                                                                         \
        }                                                                                                    \
    }
#define BY_ANY_BLOCK(name)                                                                                   \
    {                                                                                                        \
        {name##_1_2, name##_1_4}, {name##_8_2, name##_8_4}, {                                                \
            name##_16_2, name##_16_4                                                                         \
        }                                                                                                    \
    }
const struct lam_shape_kernels LAM_ISA_NAME(lam_shape) = {
    .to_rows = BY_ANY_BLOCK(to_rows),
    .from_rows = BY_ANY_BLOCK(from_rows),
    .shuffle = BY_BLOCK(shuffle),
    .unshuffle = BY_BLOCK(unshuffle),
    .to_blocked = {{to_8_1, to_8_2, to_8_4}, {to_16_1, to_16_2, to_16_4}},
    .from_blocked = {{from_8_1, from_8_2, from_8_4}, {from_16_1, from_16_2, from_16_4}},
    .narrow_blocks = {narrow_1, narrow_2, narrow_4},
    .widen_blocks = {widen_1, widen_2, widen_4},
};
