/* Layout changes, vectorised. Tiles of 16 pixels by one channel group, so that both sides are touched in
 * whole cache lines; the compiler turns the fixed-size inner loops into shuffles. */
#include "cpu/shape_isa.h"

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

const struct lam_shape_kernels LAM_ISA_NAME(lam_shape) = {
    .to_blocked = {{to_8_1, to_8_2, to_8_4}, {to_16_1, to_16_2, to_16_4}},
    .from_blocked = {{from_8_1, from_8_2, from_8_4}, {from_16_1, from_16_2, from_16_4}},
    .narrow_blocks = {narrow_1, narrow_2, narrow_4},
    .widen_blocks = {widen_1, widen_2, widen_4},
};
