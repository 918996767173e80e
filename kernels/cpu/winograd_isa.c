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
 * the L2 cache, the products of one block of outputs in L1 and L2. A vector holds 16 channels of one pixel,
 * which is what C16 stores; so transforms are plain arithmetic on vectors, and in the products a vector of
 * weights meets one input channel of many tiles, each broadcast from memory.
 *
 * bf16 tensors are widened when they are read and rounded when written; everything between is f32. */
#include "cpu/winograd_isa.h"

#include "cpu/cpu_kernel.h"

#if defined(__AVX512F__) && defined(__AVX512BW__)

#include <immintrin.h>
#include <string.h>

#define INLINE static inline __attribute__((always_inline))

/* a, b; a^2, b^2; a^2 b^2; a^2 + b^2 */
static const float A1 = 0.625f, B1 = 1.5f, A2 = 0.390625f, B2 = 2.25f, A2B2 = 0.87890625f, A2_B2 = 2.640625f;

typedef __m512 vec;
enum { POINTS = LAM_WINOGRAD_POINTS, BLOCK = LAM_WINOGRAD_BLOCK };

INLINE vec all(float x) {
    return _mm512_set1_ps(x);
}
INLINE vec fma_(vec x, vec y, vec z) { /* x y + z */
    return _mm512_fmadd_ps(x, y, z);
}
INLINE vec fnma(vec x, vec y, vec z) { /* z - x y */
    return _mm512_fnmadd_ps(x, y, z);
}

/* ---- tensors: pixels of 16 channels ---- */

INLINE vec load_pixel(const void *base, ptrdiff_t pixel, bool bf16, __mmask16 keep) {
    if (!bf16) return _mm512_maskz_loadu_ps(keep, (const float *)base + pixel * BLOCK);
    __m256i half = _mm256_maskz_loadu_epi16(keep, (const uint16_t *)base + pixel * BLOCK);
    return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(half), 16));
}

/* Round to nearest even, as lam_f32_to_bf16 does. */
INLINE __m256i to_bf16(vec x) {
    __m512i bits = _mm512_castps_si512(x), one = _mm512_set1_epi32(1);
    __m512i odd = _mm512_and_si512(_mm512_srli_epi32(bits, 16), one);
    __m512i rounded = _mm512_add_epi32(bits, _mm512_add_epi32(_mm512_set1_epi32(0x7FFF), odd));
    __m512i quiet = _mm512_or_si512(bits, _mm512_set1_epi32(0x400000));
    __mmask16 nan = _mm512_cmp_ps_mask(x, x, _CMP_UNORD_Q);
    return _mm512_cvtepi32_epi16(_mm512_srli_epi32(_mm512_mask_mov_epi32(rounded, nan, quiet), 16));
}

INLINE void store_pixel(void *base, ptrdiff_t pixel, bool bf16, vec x) {
    if (bf16)
        _mm256_storeu_si256((__m256i *)((uint16_t *)base + pixel * BLOCK), to_bf16(x));
    else
        _mm512_storeu_ps((float *)base + pixel * BLOCK, x);
}

INLINE const void *plane_of(const void *tensor, ptrdiff_t plane, ptrdiff_t pixels, bool bf16) {
    return (const char *)tensor + plane * pixels * BLOCK * (bf16 ? 2 : 4);
}

/* ---- transforms of one line ---- */

/* B^T d: 6 to 6 */
INLINE void line_input(vec d0, vec d1, vec d2, vec d3, vec d4, vec d5, vec *y) {
    vec even_a = fnma(all(B2), d2, d4), odd_a = fnma(all(B2), d1, d3);
    vec even_b = fnma(all(A2), d2, d4), odd_b = fnma(all(A2), d1, d3);
    y[0] = fma_(all(A2B2), d0, fnma(all(A2_B2), d2, d4));
    y[1] = fma_(all(A1), odd_a, even_a);
    y[2] = fnma(all(A1), odd_a, even_a);
    y[3] = fma_(all(B1), odd_b, even_b);
    y[4] = fnma(all(B1), odd_b, even_b);
    y[5] = fma_(all(A2B2), d1, fnma(all(A2_B2), d3, d5));
}

/* A^T m: 6 to 4 */
INLINE void line_output(vec m0, vec m1, vec m2, vec m3, vec m4, vec m5, vec *y) {
    vec sum_a = _mm512_add_ps(m1, m2), sum_b = _mm512_add_ps(m3, m4);
    vec odd_a = _mm512_mul_ps(all(A1), _mm512_sub_ps(m1, m2));
    vec odd_b = _mm512_mul_ps(all(B1), _mm512_sub_ps(m3, m4));
    y[0] = _mm512_add_ps(m0, _mm512_add_ps(sum_a, sum_b));
    y[1] = _mm512_add_ps(odd_a, odd_b);
    y[2] = fma_(all(A2), sum_a, _mm512_mul_ps(all(B2), sum_b));
    y[3] = fma_(all(A2), odd_a, fma_(all(B2), odd_b, m5));
}

/* A dy: 4 to 6 */
INLINE void line_gradient(vec y0, vec y1, vec y2, vec y3, vec *z) {
    vec even_a = fma_(all(A2), y2, y0), odd_a = fma_(all(A2), y3, y1);
    vec even_b = fma_(all(B2), y2, y0), odd_b = fma_(all(B2), y3, y1);
    z[0] = y0;
    z[1] = fma_(all(A1), odd_a, even_a);
    z[2] = fnma(all(A1), odd_a, even_a);
    z[3] = fma_(all(B1), odd_b, even_b);
    z[4] = fnma(all(B1), odd_b, even_b);
    z[5] = y3;
}

/* Rows of G: [1, p, p^2] / prod(p - other points); its first and last row are one number. */
#define G0 (1.0f / A2B2)
#define GA (1.0f / (2 * A2 * (A2 - B2)))
#define GB (1.0f / (2 * B2 * (B2 - A2)))

/* G g: 3 to 6 */
INLINE void line_weights(vec g0, vec g1, vec g2, vec *u) {
    vec even_a = fma_(all(A2), g2, g0), even_b = fma_(all(B2), g2, g0);
    u[0] = _mm512_mul_ps(all(G0), g0);
    u[1] = _mm512_mul_ps(all(GA), fma_(all(A1), g1, even_a));
    u[2] = _mm512_mul_ps(all(GA), fnma(all(A1), g1, even_a));
    u[3] = _mm512_mul_ps(all(GB), fma_(all(B1), g1, even_b));
    u[4] = _mm512_mul_ps(all(GB), fnma(all(B1), g1, even_b));
    u[5] = g2;
}

/* G^T u: 6 to 3 */
INLINE void line_gradient_out(vec u0, vec u1, vec u2, vec u3, vec u4, vec u5, vec *g) {
    vec sum_a = _mm512_mul_ps(all(GA), _mm512_add_ps(u1, u2));
    vec sum_b = _mm512_mul_ps(all(GB), _mm512_add_ps(u3, u4));
    vec odd_a = _mm512_mul_ps(all(GA * A1), _mm512_sub_ps(u1, u2));
    vec odd_b = _mm512_mul_ps(all(GB * B1), _mm512_sub_ps(u3, u4));
    g[0] = fma_(all(G0), u0, _mm512_add_ps(sum_a, sum_b));
    g[1] = _mm512_add_ps(odd_a, odd_b);
    g[2] = fma_(all(A2), sum_a, fma_(all(B2), sum_b, u5));
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
                         of   points does not fall into one set of the L1 cache */
};

static struct tiling make_tiling(const struct lam_winograd_shape *s, bool gradient) {
    struct tiling t = {.across = (s->out_width + 3) / 4, .down = (s->out_height + 3) / 4};
    t.total = s->count * t.across * t.down;
    t.step = lam_winograd_tiles(s, gradient);
    t.line = (ptrdiff_t)(t.step | 1) * BLOCK;
    return t;
}

INLINE struct tile tile_at(const struct tiling *t, int index) {
    int per_sample = t->across * t->down, inside = index % per_sample;
    return (struct tile){index / per_sample, inside / t->across * 4, inside % t->across * 4};
}

/* 6x6 pixels from (y, x), those outside are zero, transformed into 36 points that are `point` floats apart.
 */
INLINE void tile_input(const void *plane, int height, int width, int y, int x, bool bf16, float *to,
                       ptrdiff_t point) {
    __mmask16 row[6];
    vec t[6][6];
    for (int i = 0; i < 6; i++) row[i] = y + i >= 0 && y + i < height ? 0xFFFF : 0;
    for (int j = 0; j < 6; j++) {
        vec column[6];
        if (x + j < 0 || x + j >= width) {
            for (int i = 0; i < 6; i++) t[i][j] = _mm512_setzero_ps();
            continue;
        }
        ptrdiff_t first = (ptrdiff_t)y * width + x + j;
        vec d[6];
        for (int i = 0; i < 6; i++) d[i] = load_pixel(plane, first + (ptrdiff_t)i * width, bf16, row[i]);
        line_input(d[0], d[1], d[2], d[3], d[4], d[5], column);
        for (int i = 0; i < 6; i++) t[i][j] = column[i];
    }
    for (int i = 0; i < 6; i++) {
        vec v[6];
        line_input(t[i][0], t[i][1], t[i][2], t[i][3], t[i][4], t[i][5], v);
        for (int j = 0; j < 6; j++) _mm512_storeu_ps(to + (i * 6 + j) * point, v[j]);
    }
}

/* 36 products into 4x4 pixels at (y, x), as far as they are inside. */
INLINE void tile_output(const float *from, ptrdiff_t point, vec bias, bool relu, void *plane, int height,
                        int width, int y, int x, bool bf16) {
    vec t[4][6];
    for (int j = 0; j < 6; j++) {
        vec m[6], column[4];
        for (int i = 0; i < 6; i++) m[i] = _mm512_loadu_ps(from + (i * 6 + j) * point);
        line_output(m[0], m[1], m[2], m[3], m[4], m[5], column);
        for (int i = 0; i < 4; i++) t[i][j] = column[i];
    }
    for (int i = 0; i < 4 && y + i < height; i++) {
        vec out[4];
        line_output(t[i][0], t[i][1], t[i][2], t[i][3], t[i][4], t[i][5], out);
        for (int j = 0; j < 4 && x + j < width; j++) {
            vec value = _mm512_add_ps(out[j], bias);
            if (relu) value = _mm512_max_ps(value, _mm512_setzero_ps());
            store_pixel(plane, (ptrdiff_t)(y + i) * width + x + j, bf16, value);
        }
    }
}

/* 4x4 pixels of an output's gradient, those outside are zero, into 36 points. */
INLINE void tile_gradient(const void *plane, int height, int width, int y, int x, bool bf16, float *to,
                          ptrdiff_t point) {
    vec t[6][4];
    for (int j = 0; j < 4; j++) {
        vec d[4], column[6];
        for (int i = 0; i < 4; i++) {
            bool inside = y + i < height && x + j < width;
            d[i] = load_pixel(plane, (ptrdiff_t)(y + i) * width + x + j, bf16, inside ? 0xFFFF : 0);
        }
        line_gradient(d[0], d[1], d[2], d[3], column);
        for (int i = 0; i < 6; i++) t[i][j] = column[i];
    }
    for (int i = 0; i < 6; i++) {
        vec z[6];
        line_gradient(t[i][0], t[i][1], t[i][2], t[i][3], z);
        for (int j = 0; j < 6; j++) _mm512_storeu_ps(to + (i * 6 + j) * point, z[j]);
    }
}

/* Transforms `tiles` tiles from `first` on, all input blocks: to[point][block][tile][16]. */
INLINE void block_input(const struct lam_winograd_shape *s, const struct tiling *t, const void *src,
                        int first, int tiles, float *to, bool bf16) {
    ptrdiff_t point = s->in_blocks * t->line;
    for (int b = 0; b < s->in_blocks; b++)
        for (int i = 0; i < tiles; i++) {
            struct tile at = tile_at(t, first + i);
            const void *plane =
                plane_of(src, (ptrdiff_t)at.sample * s->in_blocks + b, (ptrdiff_t)s->height * s->width, bf16);
            tile_input(plane, s->height, s->width, at.y - s->pad[0], at.x - s->pad[1], bf16,
                       to + b * t->line + i * BLOCK, point);
        }
}

INLINE void block_gradient(const struct lam_winograd_shape *s, const struct tiling *t, const void *diff_dst,
                           int first, int tiles, float *to, bool bf16) {
    ptrdiff_t point = s->out_blocks * t->line;
    for (int b = 0; b < s->out_blocks; b++)
        for (int i = 0; i < tiles; i++) {
            struct tile at = tile_at(t, first + i);
            const void *plane = plane_of(diff_dst, (ptrdiff_t)at.sample * s->out_blocks + b,
                                         (ptrdiff_t)s->out_height * s->out_width, bf16);
            tile_gradient(plane, s->out_height, s->out_width, at.y, at.x, bf16, to + b * t->line + i * BLOCK,
                          point);
        }
}

/* ---- products ---- */

/* m[row][16] = sum over input channels of v[row][channel] u[channel][16], for `rows` rows. */
INLINE void product_rows(const float *v, ptrdiff_t line, const float *u, int in_blocks, float *m,
                         const int rows) {
    vec sum[28];
#pragma GCC unroll 28
    for (int r = 0; r < rows; r++) sum[r] = _mm512_setzero_ps();
    for (int b = 0; b < in_blocks; b++, v += line)
        for (int c = 0; c < BLOCK; c++, u += BLOCK) {
            vec w = _mm512_loadu_ps(u);
#pragma GCC unroll 28
            for (int r = 0; r < rows; r++) sum[r] = fma_(w, all(v[r * BLOCK + c]), sum[r]);
        }
#pragma GCC unroll 28
    for (int r = 0; r < rows; r++) _mm512_storeu_ps(m + r * BLOCK, sum[r]);
}

/* All rows of a point, in groups of nearly the same size; 28 sums and the weights fit the registers. */
static void product(const float *v, ptrdiff_t line, const float *u, int in_blocks, float *m, int rows) {
    int groups = (rows + 27) / 28, quads = rows / 4;
    for (int g = 0; g < groups; g++) {
        int begin = quads * g / groups * 4, end = quads * (g + 1) / groups * 4;
        const float *from = v + begin * BLOCK;
        float *to = m + begin * BLOCK;
        switch (end - begin) {
        case 28:
            product_rows(from, line, u, in_blocks, to, 28);
            break;
        case 24:
            product_rows(from, line, u, in_blocks, to, 24);
            break;
        case 20:
            product_rows(from, line, u, in_blocks, to, 20);
            break;
        case 16:
            product_rows(from, line, u, in_blocks, to, 16);
            break;
        case 12:
            product_rows(from, line, u, in_blocks, to, 12);
            break;
        case 8:
            product_rows(from, line, u, in_blocks, to, 8);
            break;
        default:
            product_rows(from, line, u, in_blocks, to, 4);
        }
    }
}

/* g[channel][16] (+)= sum over tiles of v[tile][channel] z[tile][16], for 16 channels. */
INLINE void product_gradient(const float *v, const float *z, int tiles, float *g, bool accumulate) {
    vec sum[BLOCK];
#pragma GCC unroll 16
    for (int c = 0; c < BLOCK; c++)
        sum[c] = accumulate ? _mm512_loadu_ps(g + c * BLOCK) : _mm512_setzero_ps();
    for (int i = 0; i < tiles; i++, v += BLOCK, z += BLOCK) {
        vec d = _mm512_loadu_ps(z);
#pragma GCC unroll 16
        for (int c = 0; c < BLOCK; c++) sum[c] = fma_(d, all(v[c]), sum[c]);
    }
#pragma GCC unroll 16
    for (int c = 0; c < BLOCK; c++) _mm512_storeu_ps(g + c * BLOCK, sum[c]);
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
    for (int i = 0; i < BLOCK; i++, to += BLOCK) {
        vec t[6][3];
        for (int x = 0; x < 3; x++) {
            vec column[6];
            line_weights(_mm512_loadu_ps(tile[x][i]), _mm512_loadu_ps(tile[3 + x][i]),
                         _mm512_loadu_ps(tile[6 + x][i]), column);
            for (int y = 0; y < 6; y++) t[y][x] = column[y];
        }
        for (int y = 0; y < 6; y++) {
            vec u[6];
            line_weights(t[y][0], t[y][1], t[y][2], u);
            for (int x = 0; x < 6; x++) _mm512_storeu_ps(to + (y * 6 + x) * point, u[x]);
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
INLINE void block_gradient_out(const float *from, ptrdiff_t point, square *tile, bool accumulate) {
    for (int i = 0; i < BLOCK; i++, from += BLOCK) {
        vec t[3][6];
        for (int x = 0; x < 6; x++) {
            vec u[6], column[3];
            for (int y = 0; y < 6; y++) u[y] = _mm512_loadu_ps(from + (y * 6 + x) * point);
            line_gradient_out(u[0], u[1], u[2], u[3], u[4], u[5], column);
            for (int y = 0; y < 3; y++) t[y][x] = column[y];
        }
        for (int y = 0; y < 3; y++) {
            vec g[3];
            line_gradient_out(t[y][0], t[y][1], t[y][2], t[y][3], t[y][4], t[y][5], g);
            for (int x = 0; x < 3; x++) {
                float *to = tile[y * 3 + x][i];
                _mm512_storeu_ps(to, accumulate ? _mm512_add_ps(g[x], _mm512_loadu_ps(to)) : g[x]);
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

INLINE vec load_bias(const float *bias, int block, int outputs) {
    if (!bias) return _mm512_setzero_ps();
    int left = outputs - block * BLOCK;
    __mmask16 keep = (__mmask16)(left >= BLOCK ? 0xFFFF : (1 << left) - 1);
    return _mm512_maskz_loadu_ps(keep, bias + block * BLOCK);
}

INLINE void forward_as(const struct lam_winograd_shape *s, const void *src, const float *weights,
                       const float *bias, int outputs, bool relu, void *dst, float *workspace, bool bf16) {
    struct tiling t = make_tiling(s, false);
    ptrdiff_t point = s->in_blocks * t.line, pixels = (ptrdiff_t)s->out_height * s->out_width;
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
            vec add = load_bias(bias, b, outputs);
            for (int i = 0; i < tiles; i++) {
                struct tile at = tile_at(&t, first + i);
                void *plane = (void *)plane_of(dst, (ptrdiff_t)at.sample * s->out_blocks + b, pixels, bf16);
                tile_output(products + i * BLOCK, t.line, add, relu, plane, s->out_height, s->out_width, at.y,
                            at.x, bf16);
            }
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

INLINE void gradient_as(const struct lam_winograd_shape *s, const void *src, const void *diff_dst,
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
    for (int b = 0; b < s->out_blocks; b++) {
        vec sum = _mm512_setzero_ps();
        for (int n = 0; n < s->count; n++) {
            const void *plane = plane_of(diff_dst, (ptrdiff_t)n * s->out_blocks + b, pixels, s->bf16);
            for (ptrdiff_t i = 0; i < pixels; i++)
                sum = _mm512_add_ps(sum, load_pixel(plane, i, s->bf16, 0xFFFF));
        }
        if (accumulate) sum = _mm512_add_ps(sum, _mm512_loadu_ps(bias + b * BLOCK));
        _mm512_storeu_ps(bias + b * BLOCK, sum);
    }
}

const struct lam_winograd_kernels LAM_ISA_NAME(lam_winograd) = {weights, forward, gradient, bias_gradient,
                                                                gradient_out};

#else

const struct lam_winograd_kernels LAM_ISA_NAME(lam_winograd) = {0};

#endif
