/* Which pixels an augmented sample takes, from the words of its random stream: what the backends' kernels of AUGMENT (lib/device/op.h)
 * do for a sample. In C and in CUDA's C++; device code defines LAM_AUGMENT_CODE as its kind of function. */
#ifndef LAM_AUGMENT_H
#define LAM_AUGMENT_H

#include <stdbool.h>
#include <stdint.h>

#include "device/op.h"

#ifndef LAM_AUGMENT_CODE
#define LAM_AUGMENT_CODE static inline
#endif
#define LAM_MIRROR_CODE LAM_AUGMENT_CODE
#include "base/mirror.h"

enum { LAM_AUGMENT_WORDS = 8 }; /* two Philox blocks */

/* Of one sample: source = place (mirrored along x) + shift; [cut_x, cut_end_x) x [cut_y, cut_end_y) of the result is zero. */
struct lam_augment_draw {
    int shift_x, shift_y;
    bool mirror;
    int cut_x, cut_y, cut_end_x, cut_end_y;
};

/* In [0, bound): equally likely up to 2^-32. */
LAM_AUGMENT_CODE int lam_augment_below(uint32_t word, int bound) {
    return (int)((uint64_t)word * (uint64_t)bound >> 32);
}

LAM_AUGMENT_CODE struct lam_augment_draw lam_augment_draw_of(const struct lam_augment_attr *a, int width,
                                                             int height, const uint32_t *words) {
    struct lam_augment_draw d;
    const int half = a->cutout / 2;
    d.shift_x = lam_augment_below(words[0], 2 * a->pad + 1) - a->pad;
    d.shift_y = lam_augment_below(words[1], 2 * a->pad + 1) - a->pad;
    d.mirror = a->flip && (words[2] >> 31) != 0;
    d.cut_x = lam_augment_below(words[3], width) - half;
    d.cut_y = lam_augment_below(words[4], height) - half;
    d.cut_end_x = d.cut_x + a->cutout;
    d.cut_end_y = d.cut_y + a->cutout;
    return d;
}

/* Where place `at` lies in [0, size), mirrored at the borders without repeating them if `reflect`; -1: in the padding. */
LAM_AUGMENT_CODE int lam_augment_inside(int at, int size, bool reflect) {
    if (at >= 0 && at < size) return at;
    return reflect ? lam_mirror(at, size) : -1;
}

LAM_AUGMENT_CODE bool lam_augment_is_cut(const struct lam_augment_draw *d, int x, int y) {
    return x >= d->cut_x && x < d->cut_end_x && y >= d->cut_y && y < d->cut_end_y;
}

#endif
