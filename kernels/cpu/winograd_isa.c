/* Winograd convolution F(4x4, 3x3), fused: Lavin and Gray, "Fast Algorithms for Convolutional Neural
 * Networks", CVPR 2016.
 *
 * The output is cut into tiles of 4x4; a tile needs 6x6 of input. With the transforms B, G, A of a Toom-Cook
 * scheme over the points 0, +-a, +-b, infinity,
 *
 *     Y = A^T [ sum over input channels of (G g G^T) . (B^T d B) ] A            (. elementwise)
 *
 * so that 36 products replace 144. In each of the 36 points the sum over channels is a product of matrices,
 * (tiles x inputs) by (inputs x outputs). The weights' gradient is the same scheme transposed:
 *
 *     dg = G^T [ sum over tiles of (A dY A^T) . (B^T d B) ] G
 *
 * whose sum stays in the transformed domain over all slices, and is transformed back once a step; unless
 * there are so many channels that it would not fit the cache: then it is transformed back block by block
 * (compact).
 *
 * The points a = 5/8 and b = 3/2 are exact in binary and give half of the rounding error of 1 and 2 (1e-6 of
 * the norm at 64 channels, f32).
 *
 * A block of tiles goes through all three steps before the next: the transformed inputs of the block stay in
 * the L2 cache, the products of one block of outputs in L1 and L2. A vector holds the channels of one pixel of
 * a plane, 16 with AVX-512 (tensors are C16) and 8 with AVX2 (C8); so transforms are plain arithmetic on
 * vectors. Between them 16 channels are a block for both, one or two planes (PARTS), zeros behind the last one:
 * in the products the weights of 16 outputs meet one input channel of many tiles, each broadcast from memory.
 *
 * bf16 tensors are widened when they are read and rounded when written; everything between is f32. */
#include "cpu/winograd_isa.h"

#include "cpu/cpu_kernel.h"
#include "cpu/simd.h"

/* a, b; a^2, b^2; a^2 b^2; a^2 + b^2 */
static const float A1 = 0.625f, B1 = 1.5f, A2 = 0.390625f, B2 = 2.25f, A2B2 = 0.87890625f, A2_B2 = 2.640625f;

enum {
    POINTS = LAM_WINOGRAD_POINTS,
    BLOCK = LAM_WINOGRAD_BLOCK,
    PARTS = BLOCK / LAM_V,      /* vectors of a block of channels */
    ROWS = LAM_V == 16 ? 28 : 6 /* of a product: with the weights they fill the registers */
};

/* ---- tensors: planes of pixels of LAM_V channels ---- */

LAM_INLINE vf load_pixel(const void *plane, ptrdiff_t pixel, bool bf16) {
    return v_load(plane, pixel * LAM_V, LAM_V, bf16 ? LAM_SIMD_BF16 : LAM_SIMD_F32);
}

/* Zeros where there is no such pixel. */
LAM_INLINE vf load_pixel_if(bool inside, const void *plane, ptrdiff_t pixel, bool bf16) {
#if LAM_V == 16
    __mmask16 keep = inside ? 0xFFFF : 0;
    if (!bf16) return _mm512_maskz_loadu_ps(keep, (const float *)plane + pixel * LAM_V);
    return v_widen((vh)_mm256_maskz_loadu_epi16(keep, (const uint16_t *)plane + pixel * LAM_V));
#else
    static const float nothing[LAM_V];
    return inside ? load_pixel(plane, pixel, bf16) : v_load_f32(nothing);
#endif
}

LAM_INLINE void store_pixel(void *plane, ptrdiff_t pixel, bool bf16, vf x) {
    v_store(plane, pixel * LAM_V, x, LAM_V, bf16 ? LAM_SIMD_BF16 : LAM_SIMD_F32);
}

LAM_INLINE const void *plane_of(const void *tensor, ptrdiff_t plane, ptrdiff_t pixels, bool bf16) {
    return (const char *)tensor + plane * pixels * LAM_V * (bf16 ? 2 : 4);
}

/* ---- transforms of one line ---- */

/* B^T d: 6 to 6 */
LAM_INLINE void line_input(vf d0, vf d1, vf d2, vf d3, vf d4, vf d5, vf *y) {
    vf even_a = v_fnma(v_set(B2), d2, d4), odd_a = v_fnma(v_set(B2), d1, d3);
    vf even_b = v_fnma(v_set(A2), d2, d4), odd_b = v_fnma(v_set(A2), d1, d3);
    y[0] = v_fma(v_set(A2B2), d0, v_fnma(v_set(A2_B2), d2, d4));
    y[1] = v_fma(v_set(A1), odd_a, even_a);
    y[2] = v_fnma(v_set(A1), odd_a, even_a);
    y[3] = v_fma(v_set(B1), odd_b, even_b);
    y[4] = v_fnma(v_set(B1), odd_b, even_b);
    y[5] = v_fma(v_set(A2B2), d1, v_fnma(v_set(A2_B2), d3, d5));
}

/* A^T m: 6 to 4 */
LAM_INLINE void line_output(vf m0, vf m1, vf m2, vf m3, vf m4, vf m5, vf *y) {
    vf sum_a = m1 + m2, sum_b = m3 + m4;
    vf odd_a = v_set(A1) * (m1 - m2), odd_b = v_set(B1) * (m3 - m4);
    y[0] = m0 + (sum_a + sum_b);
    y[1] = odd_a + odd_b;
    y[2] = v_fma(v_set(A2), sum_a, v_set(B2) * sum_b);
    y[3] = v_fma(v_set(A2), odd_a, v_fma(v_set(B2), odd_b, m5));
}

/* A dy: 4 to 6 */
LAM_INLINE void line_gradient(vf y0, vf y1, vf y2, vf y3, vf *z) {
    vf even_a = v_fma(v_set(A2), y2, y0), odd_a = v_fma(v_set(A2), y3, y1);
    vf even_b = v_fma(v_set(B2), y2, y0), odd_b = v_fma(v_set(B2), y3, y1);
    z[0] = y0;
    z[1] = v_fma(v_set(A1), odd_a, even_a);
    z[2] = v_fnma(v_set(A1), odd_a, even_a);
    z[3] = v_fma(v_set(B1), odd_b, even_b);
    z[4] = v_fnma(v_set(B1), odd_b, even_b);
    z[5] = y3;
}

/* Rows of G: [1, p, p^2] / prod(p - other points); its first and last row are one number. */
#define G0 (1.0f / A2B2)
#define GA (1.0f / (2 * A2 * (A2 - B2)))
#define GB (1.0f / (2 * B2 * (B2 - A2)))

/* G g: 3 to 6 */
LAM_INLINE void line_weights(vf g0, vf g1, vf g2, vf *u) {
    vf even_a = v_fma(v_set(A2), g2, g0), even_b = v_fma(v_set(B2), g2, g0);
    u[0] = v_set(G0) * g0;
    u[1] = v_set(GA) * v_fma(v_set(A1), g1, even_a);
    u[2] = v_set(GA) * v_fnma(v_set(A1), g1, even_a);
    u[3] = v_set(GB) * v_fma(v_set(B1), g1, even_b);
    u[4] = v_set(GB) * v_fnma(v_set(B1), g1, even_b);
    u[5] = g2;
}

/* G^T u: 6 to 3 */
LAM_INLINE void line_gradient_out(vf u0, vf u1, vf u2, vf u3, vf u4, vf u5, vf *g) {
    vf sum_a = v_set(GA) * (u1 + u2), sum_b = v_set(GB) * (u3 + u4);
    vf odd_a = v_set(GA * A1) * (u1 - u2), odd_b = v_set(GB * B1) * (u3 - u4);
    g[0] = v_fma(v_set(G0), u0, sum_a + sum_b);
    g[1] = odd_a + odd_b;
    g[2] = v_fma(v_set(A2), sum_a, v_fma(v_set(B2), sum_b, u5));
}

/* ---- tiles ---- */

struct tile {
    int sample, y, x; /* of the first output pixel */
};

struct tiling {
    int across, down; /* tiles of a sample */
    int total;        /* in the slice */
    int step;         /* tiles worked on together, a multiple of 4 */
    ptrdiff_t line;   /* floats from one channel block to the next: an odd number of vectors, so that a column
                         of points does not fall into one set of the L1 cache */
};

static struct tiling make_tiling(const struct lam_winograd_shape *s, bool gradient) {
    struct tiling t = {.across = (s->out_width + 3) / 4, .down = (s->out_height + 3) / 4};
    t.total = s->count * t.across * t.down;
    t.step = lam_winograd_tiles(s, gradient);
    t.line = (ptrdiff_t)(t.step | 1) * BLOCK;
    return t;
}

LAM_INLINE struct tile tile_at(const struct tiling *t, int index) {
    int per_sample = t->across * t->down, inside = index % per_sample;
    return (struct tile){index / per_sample, inside / t->across * 4, inside % t->across * 4};
}

/* 6x6 pixels from (y, x), those outside are zero, transformed into 36 points that are `point` floats apart.
 */
LAM_INLINE void tile_input(const void *plane, int height, int width, int y, int x, bool bf16, float *to,
                           ptrdiff_t point) {
    bool row[6];
    vf t[6][6];
    for (int i = 0; i < 6; i++) row[i] = y + i >= 0 && y + i < height;
    for (int j = 0; j < 6; j++) {
        vf column[6];
        if (x + j < 0 || x + j >= width) {
            for (int i = 0; i < 6; i++) t[i][j] = v_zero();
            continue;
        }
        ptrdiff_t first = (ptrdiff_t)y * width + x + j;
        vf d[6];
        for (int i = 0; i < 6; i++) d[i] = load_pixel_if(row[i], plane, first + (ptrdiff_t)i * width, bf16);
        line_input(d[0], d[1], d[2], d[3], d[4], d[5], column);
        for (int i = 0; i < 6; i++) t[i][j] = column[i];
    }
    for (int i = 0; i < 6; i++) {
        vf v[6];
        line_input(t[i][0], t[i][1], t[i][2], t[i][3], t[i][4], t[i][5], v);
        for (int j = 0; j < 6; j++) v_store_f32(to + (i * 6 + j) * point, v[j]);
    }
}

/* 36 products into 4x4 pixels at (y, x), as far as they are inside. */
LAM_INLINE void tile_output(const float *from, ptrdiff_t point, vf bias, bool relu, void *plane, int height,
                            int width, int y, int x, bool bf16) {
    vf t[4][6];
    for (int j = 0; j < 6; j++) {
        vf m[6], column[4];
        for (int i = 0; i < 6; i++) m[i] = v_load_f32(from + (i * 6 + j) * point);
        line_output(m[0], m[1], m[2], m[3], m[4], m[5], column);
        for (int i = 0; i < 4; i++) t[i][j] = column[i];
    }
    for (int i = 0; i < 4 && y + i < height; i++) {
        vf out[4];
        line_output(t[i][0], t[i][1], t[i][2], t[i][3], t[i][4], t[i][5], out);
        for (int j = 0; j < 4 && x + j < width; j++) {
            vf value = out[j] + bias;
            store_pixel(plane, (ptrdiff_t)(y + i) * width + x + j, bf16, relu ? v_relu(value) : value);
        }
    }
}

/* 4x4 pixels of an output's gradient, those outside are zero, into 36 points. */
LAM_INLINE void tile_gradient(const void *plane, int height, int width, int y, int x, bool bf16, float *to,
                              ptrdiff_t point) {
    vf t[6][4];
    for (int j = 0; j < 4; j++) {
        vf d[4], column[6];
        for (int i = 0; i < 4; i++)
            d[i] = load_pixel_if(y + i < height && x + j < width, plane, (ptrdiff_t)(y + i) * width + x + j,
                                 bf16);
        line_gradient(d[0], d[1], d[2], d[3], column);
        for (int i = 0; i < 6; i++) t[i][j] = column[i];
    }
    for (int i = 0; i < 6; i++) {
        vf z[6];
        line_gradient(t[i][0], t[i][1], t[i][2], t[i][3], z);
        for (int j = 0; j < 6; j++) v_store_f32(to + (i * 6 + j) * point, z[j]);
    }
}

/* Where plane `q` of a channel block is among the floats of a point. */
LAM_INLINE ptrdiff_t plane_offset(const struct tiling *t, int q) {
    return q / PARTS * t->line + q % PARTS * LAM_V;
}

/* The second half of a block, whose first half is the last plane of the tensor. */
LAM_INLINE void zero_plane(int tiles, float *to, ptrdiff_t point) {
    for (int p = 0; p < POINTS; p++)
        for (int i = 0; i < tiles; i++) v_store_f32(to + p * point + i * BLOCK, v_zero());
}

/* Transforms `tiles` tiles from `first` on, all inputs: to[point][block][tile][16]. */
LAM_INLINE void block_input(const struct lam_winograd_shape *s, const struct tiling *t, const void *src,
                            int first, int tiles, float *to, bool bf16) {
    ptrdiff_t point = s->in_blocks * t->line, pixels = (ptrdiff_t)s->height * s->width;
    for (int q = 0; q < s->in_planes; q++)
        for (int i = 0; i < tiles; i++) {
            struct tile at = tile_at(t, first + i);
            const void *plane = plane_of(src, (ptrdiff_t)at.sample * s->in_planes + q, pixels, bf16);
            tile_input(plane, s->height, s->width, at.y - s->pad[0], at.x - s->pad[1], bf16,
                       to + plane_offset(t, q) + i * BLOCK, point);
        }
    if (s->in_planes % PARTS) zero_plane(tiles, to + plane_offset(t, s->in_planes), point);
}

LAM_INLINE void block_gradient(const struct lam_winograd_shape *s, const struct tiling *t,
                               const void *diff_dst, int first, int tiles, float *to, bool bf16) {
    ptrdiff_t point = s->out_blocks * t->line, pixels = (ptrdiff_t)s->out_height * s->out_width;
    for (int q = 0; q < s->out_planes; q++)
        for (int i = 0; i < tiles; i++) {
            struct tile at = tile_at(t, first + i);
            const void *plane = plane_of(diff_dst, (ptrdiff_t)at.sample * s->out_planes + q, pixels, bf16);
            tile_gradient(plane, s->out_height, s->out_width, at.y, at.x, bf16,
                          to + plane_offset(t, q) + i * BLOCK, point);
        }
    if (s->out_planes % PARTS) zero_plane(tiles, to + plane_offset(t, s->out_planes), point);
}

/* The products of the tiles, one block of outputs, into the tensor. */
LAM_INLINE void block_output(const struct lam_winograd_shape *s, const struct tiling *t, const float *from,
                             int first, int tiles, int block, const float *bias, int outputs, bool relu,
                             void *dst, bool bf16) {
    ptrdiff_t pixels = (ptrdiff_t)s->out_height * s->out_width;
    for (int q = block * PARTS; q < (block + 1) * PARTS && q < s->out_planes; q++) {
        int left = outputs - q * LAM_V;
        vf add = bias ? v_load_f32_n(bias + q * LAM_V, left) : v_zero();
        for (int i = 0; i < tiles; i++) {
            struct tile at = tile_at(t, first + i);
            void *plane = (void *)plane_of(dst, (ptrdiff_t)at.sample * s->out_planes + q, pixels, bf16);
            tile_output(from + i * BLOCK + q % PARTS * LAM_V, t->line, add, relu, plane, s->out_height,
                        s->out_width, at.y, at.x, bf16);
        }
    }
}

/* ---- products ---- */

/* m[row][16] = sum over input channels of v[row][channel] u[channel][16], for `rows` rows. */
LAM_INLINE void product_rows(const float *v, ptrdiff_t line, const float *u, int in_blocks, float *m,
                             const int rows) {
    vf sum[ROWS][PARTS];
#pragma GCC unroll 28
    for (int r = 0; r < rows; r++)
        for (int p = 0; p < PARTS; p++) sum[r][p] = v_zero();
    for (int b = 0; b < in_blocks; b++, v += line)
        for (int c = 0; c < BLOCK; c++, u += BLOCK) {
            vf w[PARTS];
            for (int p = 0; p < PARTS; p++) w[p] = v_load_f32(u + p * LAM_V);
#pragma GCC unroll 28
            for (int r = 0; r < rows; r++) {
                vf x = v_set(v[r * BLOCK + c]);
                for (int p = 0; p < PARTS; p++) sum[r][p] = v_fma(w[p], x, sum[r][p]);
            }
        }
#pragma GCC unroll 28
    for (int r = 0; r < rows; r++)
        for (int p = 0; p < PARTS; p++) v_store_f32(m + r * BLOCK + p * LAM_V, sum[r][p]);
}

#if LAM_V == 16
#define EACH_SIZE(X) X(28) X(24) X(20) X(16) X(12) X(8) X(4)
enum { SIZE_STEP = 4 };
#else
#define EACH_SIZE(X) X(6) X(4) X(2)
enum { SIZE_STEP = 2 };
#endif

/* All rows of a point, a multiple of 4, in groups of nearly the same size. */
static void product(const float *v, ptrdiff_t line, const float *u, int in_blocks, float *m, int rows) {
    int groups = (rows + ROWS - 1) / ROWS, steps = rows / SIZE_STEP;
    for (int g = 0; g < groups; g++) {
        int begin = steps * g / groups * SIZE_STEP, end = steps * (g + 1) / groups * SIZE_STEP;
        const float *from = v + begin * BLOCK;
        float *to = m + begin * BLOCK;
        switch (end - begin) {
#define CASE(size)                                                                                           \
    case size:                                                                                               \
        product_rows(from, line, u, in_blocks, to, size);                                                    \
        break;
            EACH_SIZE(CASE)
#undef CASE
        }
    }
}

/* g[channel][16] (+)= sum over tiles of v[tile][channel] z[tile][16], for `channels` channels. */
LAM_INLINE void product_gradient_of(const float *v, const float *z, int tiles, float *g, bool accumulate,
                                    const int channels) {
    vf sum[BLOCK][PARTS];
#pragma GCC unroll 16
    for (int c = 0; c < channels; c++)
        for (int p = 0; p < PARTS; p++)
            sum[c][p] = accumulate ? v_load_f32(g + c * BLOCK + p * LAM_V) : v_zero();
    for (int i = 0; i < tiles; i++, v += BLOCK, z += BLOCK) {
        vf d[PARTS];
        for (int p = 0; p < PARTS; p++) d[p] = v_load_f32(z + p * LAM_V);
#pragma GCC unroll 16
        for (int c = 0; c < channels; c++) {
            vf x = v_set(v[c]);
            for (int p = 0; p < PARTS; p++) sum[c][p] = v_fma(d[p], x, sum[c][p]);
        }
    }
#pragma GCC unroll 16
    for (int c = 0; c < channels; c++)
        for (int p = 0; p < PARTS; p++) v_store_f32(g + c * BLOCK + p * LAM_V, sum[c][p]);
}

/* The same for 16 channels, as many at a time as the registers hold. */
LAM_INLINE void product_gradient(const float *v, const float *z, int tiles, float *g, bool accumulate) {
    if (PARTS == 1) {
        product_gradient_of(v, z, tiles, g, accumulate, BLOCK);
        return;
    }
    product_gradient_of(v, z, tiles, g, accumulate, 6);
    product_gradient_of(v + 6, z, tiles, g + 6 * BLOCK, accumulate, 6);
    product_gradient_of(v + 12, z, tiles, g + 12 * BLOCK, accumulate, 4);
}

/* ---- weights in and gradients out ---- */

enum { TAPS = LAM_WINOGRAD_TAPS, SQUARE = BLOCK * BLOCK };

typedef float square[BLOCK][BLOCK]; /* [in channel][out channel] */

/* [tap] of a block of 16 x 16 channels, zeros behind the last ones. */
static void gather(const float *plain, int inputs, int outputs, bool flipped, int in, int out, square *tile) {
    for (int o = 0; o < BLOCK; o++)
        for (int i = 0; i < BLOCK; i++) {
            bool inside = out + o < outputs && in + i < inputs;
            ptrdiff_t at =
                flipped ? (ptrdiff_t)(in + i) * outputs + out + o : (ptrdiff_t)(out + o) * inputs + in + i;
            for (int k = 0; k < TAPS; k++)
                tile[k][i][o] = inside ? plain[at * TAPS + (flipped ? TAPS - 1 - k : k)] : 0.0f;
        }
}

static void block_weights(const square *tile, float *to, ptrdiff_t point) {
    for (int i = 0; i < SQUARE; i += LAM_V, to += LAM_V) {
        const float *from = (const float *)tile + i;
        vf t[6][3];
        for (int x = 0; x < 3; x++) {
            vf column[6];
            line_weights(v_load_f32(from + x * SQUARE), v_load_f32(from + (3 + x) * SQUARE),
                         v_load_f32(from + (6 + x) * SQUARE), column);
            for (int y = 0; y < 6; y++) t[y][x] = column[y];
        }
        for (int y = 0; y < 6; y++) {
            vf u[6];
            line_weights(t[y][0], t[y][1], t[y][2], u);
            for (int x = 0; x < 6; x++) v_store_f32(to + (y * 6 + x) * point, u[x]);
        }
    }
}

static void weights(const float *plain, float *packed, int inputs, int outputs, bool flipped, bool compact,
                    int begin, int end) {
    int in_blocks = (inputs + BLOCK - 1) / BLOCK;
    ptrdiff_t point = (ptrdiff_t)in_blocks * SQUARE;
    square tile[TAPS];
    for (int b = begin; b < end; b++)
        for (int c = 0; c < in_blocks; c++) {
            square *to = compact ? (square *)packed + ((ptrdiff_t)b * in_blocks + c) * TAPS : tile;
            gather(plain, inputs, outputs, flipped, c * BLOCK, b * BLOCK, to);
            if (!compact)
                block_weights((const square *)tile, packed + b * POINTS * point + c * SQUARE, point);
        }
}

/* Floats between the points of unpacked weights: not a power of two, at which 36 stores would meet in one
 * cache set. */
static ptrdiff_t unpacked_point(int in_blocks) {
    return (ptrdiff_t)in_blocks * SQUARE + BLOCK;
}

/* One output block of compact weights, transformed: [36][in channel][16]. */
static void unpack_weights(const float *compact, int block, int in_blocks, float *transformed) {
    const square *from = (const square *)compact + (ptrdiff_t)block * in_blocks * TAPS;
    for (int c = 0; c < in_blocks; c++)
        block_weights(from + c * TAPS, transformed + c * SQUARE, unpacked_point(in_blocks));
}

/* tile = or += */
LAM_INLINE void block_gradient_out(const float *from, ptrdiff_t point, square *tile, bool accumulate) {
    for (int i = 0; i < SQUARE; i += LAM_V, from += LAM_V) {
        vf t[3][6];
        for (int x = 0; x < 6; x++) {
            vf u[6], column[3];
            for (int y = 0; y < 6; y++) u[y] = v_load_f32(from + (y * 6 + x) * point);
            line_gradient_out(u[0], u[1], u[2], u[3], u[4], u[5], column);
            for (int y = 0; y < 3; y++) t[y][x] = column[y];
        }
        for (int y = 0; y < 3; y++) {
            vf g[3];
            line_gradient_out(t[y][0], t[y][1], t[y][2], t[y][3], t[y][4], t[y][5], g);
            for (int x = 0; x < 3; x++) {
                float *to = (float *)tile[y * 3 + x] + i;
                if (accumulate) g[x] += v_load_f32(to);
                v_store_f32(to, g[x]);
            }
        }
    }
}

static void scatter(const square *tile, float *plain, int inputs, int outputs, int in, int out) {
    for (int o = 0; o < BLOCK && out + o < outputs; o++)
        for (int i = 0; i < BLOCK && in + i < inputs; i++)
            for (int k = 0; k < TAPS; k++)
                plain[((ptrdiff_t)(out + o) * inputs + in + i) * TAPS + k] = tile[k][i][o];
}

static void gradient_out(const float *gradient, float *plain, int inputs, int outputs, bool compact,
                         int begin, int end) {
    int in_blocks = (inputs + BLOCK - 1) / BLOCK;
    ptrdiff_t point = (ptrdiff_t)in_blocks * SQUARE;
    square tile[TAPS];
    for (int b = begin; b < end; b++)
        for (int c = 0; c < in_blocks; c++) {
            const square *from = (const square *)gradient + ((ptrdiff_t)b * in_blocks + c) * TAPS;
            if (!compact) block_gradient_out(gradient + b * POINTS * point + c * SQUARE, point, tile, false);
            scatter(compact ? from : (const square *)tile, plain, inputs, outputs, c * BLOCK, b * BLOCK);
        }
}

/* ---- passes ---- */

LAM_INLINE void forward_as(const struct lam_winograd_shape *s, const void *src, const float *weights,
                           const float *bias, int outputs, bool relu, void *dst, float *workspace,
                           bool bf16) {
    struct tiling t = make_tiling(s, false);
    ptrdiff_t point = s->in_blocks * t.line;
    ptrdiff_t block_floats = (ptrdiff_t)s->in_blocks * SQUARE * POINTS;
    ptrdiff_t point_weights = s->compact ? unpacked_point(s->in_blocks) : (ptrdiff_t)s->in_blocks * SQUARE;
    float *inputs = workspace, *products = workspace + POINTS * point;
    float *unpacked = products + POINTS * t.line; /* compact: one output block of transformed weights */
    for (int first = 0; first < t.total; first += t.step) {
        int tiles = t.total - first < t.step ? t.total - first : t.step, rows = (tiles + 3) / 4 * 4;
        block_input(s, &t, src, first, tiles, inputs, bf16);
        for (int b = 0; b < s->out_blocks; b++) {
            const float *u = s->compact ? unpacked : weights + b * block_floats;
            if (s->compact) unpack_weights(weights, b, s->in_blocks, unpacked);
            for (int p = 0; p < POINTS; p++)
                product(inputs + p * point, t.line, u + p * point_weights, s->in_blocks,
                        products + p * t.line, rows);
            block_output(s, &t, products, first, tiles, b, bias, outputs, relu, dst, bf16);
        }
    }
}

static void forward(const struct lam_winograd_shape *shape, const void *src, const float *weights,
                    const float *bias, int outputs, bool relu, void *dst, float *workspace) {
    if (shape->bf16)
        forward_as(shape, src, weights, bias, outputs, relu, dst, workspace, true);
    else
        forward_as(shape, src, weights, bias, outputs, relu, dst, workspace, false);
}

/* All products of a block of tiles, transformed back and added to the compact gradient. */
static void products_compact(const struct lam_winograd_shape *s, const struct tiling *t, const float *inputs,
                             const float *outputs, int tiles, float *gradient, bool accumulate) {
    ptrdiff_t in_point = s->in_blocks * t->line, out_point = s->out_blocks * t->line;
    float g[POINTS * SQUARE];
    square *tile = (square *)gradient;
    for (int b = 0; b < s->out_blocks; b++)
        for (int c = 0; c < s->in_blocks; c++, tile += TAPS) {
            for (int p = 0; p < POINTS; p++)
                product_gradient(inputs + p * in_point + c * t->line, outputs + p * out_point + b * t->line,
                                 tiles, g + p * SQUARE, false);
            if (accumulate) /* constants: each call is inlined without the branch */
                block_gradient_out(g, SQUARE, tile, true);
            else
                block_gradient_out(g, SQUARE, tile, false);
        }
}

LAM_INLINE void gradient_as(const struct lam_winograd_shape *s, const void *src, const void *diff_dst,
                            float *gradient, bool accumulate, float *workspace, bool bf16) {
    struct tiling t = make_tiling(s, true);
    ptrdiff_t in_point = s->in_blocks * t.line, out_point = s->out_blocks * t.line;
    float *inputs = workspace, *outputs = workspace + POINTS * in_point;
    for (int first = 0; first < t.total; first += t.step) {
        int tiles = t.total - first < t.step ? t.total - first : t.step;
        block_input(s, &t, src, first, tiles, inputs, bf16);
        block_gradient(s, &t, diff_dst, first, tiles, outputs, bf16);
        if (s->compact) {
            products_compact(s, &t, inputs, outputs, tiles, gradient, accumulate || first > 0);
            continue;
        }
        float *g = gradient;
        for (int b = 0; b < s->out_blocks; b++)
            for (int p = 0; p < POINTS; p++)
                for (int c = 0; c < s->in_blocks; c++, g += BLOCK * BLOCK)
                    product_gradient(inputs + p * in_point + c * t.line, outputs + p * out_point + b * t.line,
                                     tiles, g, accumulate || first > 0);
    }
}

static void gradient(const struct lam_winograd_shape *shape, const void *src, const void *diff_dst,
                     float *transformed, bool accumulate, float *workspace) {
    if (shape->bf16)
        gradient_as(shape, src, diff_dst, transformed, accumulate, workspace, true);
    else
        gradient_as(shape, src, diff_dst, transformed, accumulate, workspace, false);
}

static void bias_gradient(const struct lam_winograd_shape *s, const void *diff_dst, float *bias,
                          bool accumulate) {
    ptrdiff_t pixels = (ptrdiff_t)s->out_height * s->out_width;
    for (int q = 0; q < s->out_planes; q++) {
        vf sum = v_zero();
        for (int n = 0; n < s->count; n++) {
            const void *plane = plane_of(diff_dst, (ptrdiff_t)n * s->out_planes + q, pixels, s->bf16);
            for (ptrdiff_t i = 0; i < pixels; i++) sum += load_pixel(plane, i, s->bf16);
        }
        if (accumulate) sum += v_load_f32(bias + q * LAM_V);
        v_store_f32(bias + q * LAM_V, sum);
    }
}

const struct lam_winograd_kernels LAM_ISA_NAME(lam_winograd) = {weights, forward, gradient, bias_gradient,
                                                                gradient_out};
