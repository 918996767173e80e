/* Vector loops behind repack.c. */
#ifndef LAM_CPU_SHAPE_ISA_H
#define LAM_CPU_SHAPE_ISA_H

#include <stddef.h>
#include <stdint.h>

/* One sample between [channels][pixels] and [ceil(channels / block)][pixels][block]. */
typedef void (*lam_repack_fn)(const void *source, void *target, int64_t channels, int64_t pixels);

struct lam_shape_kernels {
    lam_repack_fn to_blocked[2][3];   /* [block 8, 16][log2 of the element's bytes] */
    lam_repack_fn from_blocked[2][3]; /* the same */
    lam_repack_fn narrow_blocks[3];   /* C16 to C8 */
    lam_repack_fn widen_blocks[3];    /* C8 to C16 */
};
extern const struct lam_shape_kernels lam_shape_v3, lam_shape_v4;

#endif
