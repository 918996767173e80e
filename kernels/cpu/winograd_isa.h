/* Winograd convolution F(4x4, 3x3) on C16 (v4) or C8 (v3) tensors: the loops, per instruction set. winograd_isa.c explains.
 */
#ifndef LAM_CPU_WINOGRAD_ISA_H
#define LAM_CPU_WINOGRAD_ISA_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    LAM_WINOGRAD_POINTS = 36, /* 6 x 6 products in a tile */
    LAM_WINOGRAD_TAPS = 9,    /* 3 x 3 weights */
    LAM_WINOGRAD_BLOCK = 16,  /* channels that are multiplied together */
};

/* A convolution with stride 1 of `count` samples. */
struct lam_winograd_shape {
    int count;
    int in_blocks, out_blocks; /* of 16 channels, whatever the tensors' layout */
    int in_planes, out_planes; /* of the tensors: vectors of 16 or 8 channels */
    int height, width, out_height, out_width, pad[2];
    bool bf16;    /* the tensors; else f32 */
    bool compact; /* the weights or their gradient */
};

/* Packed weights are f32 of blocks of 16 channels padded with zeros: transformed, [out block][36][in
 * channel][16 out channels], or compact, [out block][in block][9][16 in][16 out], transformed each time that
 * they are used. Compact ones take a quarter of the memory and, where the transformed ones are too many for
 * the cache, no more time. `flipped` reads the plain weights as those of the convolution whose gradient this
 * is: input and output channels changed over, turned by 180 degrees. inputs, outputs: channels of the packed
 * side. */
struct lam_winograd_kernels {
    /* The blocks [begin, end) of packed weights from plain OIHW ones. */
    void (*weights)(const float *plain, float *packed, int inputs, int outputs, bool flipped, bool compact,
                    int begin, int end);
    /* dst = conv(src, weights) (+ bias) (then relu). bias has `outputs` floats or is NULL. */
    void (*forward)(const struct lam_winograd_shape *shape, const void *src, const float *weights,
                    const float *bias, int outputs, bool relu, void *dst, float *workspace);
    /* gradient = or += the weights' gradient, packed. */
    void (*gradient)(const struct lam_winograd_shape *shape, const void *src, const void *diff_dst,
                     float *gradient, bool accumulate, float *workspace);
    /* bias = or += sum of diff_dst over samples and pixels; 16 floats a block. */
    void (*bias_gradient)(const struct lam_winograd_shape *shape, const void *diff_dst, float *bias,
                          bool accumulate);
    /* The blocks [begin, end) of a packed gradient as plain OIHW ones. */
    void (*gradient_out)(const float *gradient, float *plain, int inputs, int outputs, bool compact,
                         int begin, int end);
};

extern const struct lam_winograd_kernels lam_winograd_v3, lam_winograd_v4;

/* Tiles that are worked on together, and the bytes of workspace that takes. */
int lam_winograd_tiles(const struct lam_winograd_shape *shape, bool gradient);
size_t lam_winograd_workspace(const struct lam_winograd_shape *shape, bool gradient);

#endif
