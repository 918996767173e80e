/* Vector loops behind repack.c and shuffle.c. */
#ifndef LAM_CPU_SHAPE_ISA_H
#define LAM_CPU_SHAPE_ISA_H

#include <stddef.h>
#include <stdint.h>

/* One sample between [channels][pixels] and [ceil(channels / block)][pixels][block]. */
typedef void (*lam_repack_fn)(const void *source, void *target, int64_t channels, int64_t pixels);

/* One sample between an image [ceil(channels / block)][pixels][block] and rows [pixels][channels]. */
typedef void (*lam_rows_fn)(void *image, void *rows, int64_t channels, int64_t pixels);

/* One sample of pixel shuffle, `fine` [fine_groups][rows r][columns r][block] and `coarse` [fine_groups r r][rows][columns][block], for
 * channels that fill their groups. */
typedef void (*lam_shuffle_fn)(void *fine, void *coarse, int64_t fine_groups, int64_t rows, int64_t columns,
                               int r);

/* Indices: [block 1, 8, 16], [block 8, 16], [elements of 2, 4 bytes]. */
struct lam_shape_kernels {
    lam_rows_fn to_rows[3][2], from_rows[3][2];
    lam_shuffle_fn shuffle[2][2], unshuffle[2][2];
    lam_repack_fn to_blocked[2][3];   /* [block 8, 16][log2 of the element's bytes] */
    lam_repack_fn from_blocked[2][3]; /* the same */
    lam_repack_fn narrow_blocks[3];   /* C16 to C8 */
    lam_repack_fn widen_blocks[3];    /* C8 to C16 */
};
extern const struct lam_shape_kernels lam_shape_v3, lam_shape_v4;

#endif
