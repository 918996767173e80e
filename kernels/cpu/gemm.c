/* The matrix product above its tiles: blocking for the caches.
 *
 * C = A B goes over blocks of rows, in each over the panels of B, in each over blocks of k, and innermost
 * over the tiles of the row block. So a block of a panel (up to BLOCK_K x 2 vectors, 32 KiB) is read from L1
 * by all tiles, and the rows of A come from L2, a few bytes per multiply-add. Blocks of k add to C in memory;
 * a bf16 C cannot hold partial sums, so there k is one block.
 *
 * C = A^T B (weight gradients: k counts the rows of a slice, m and n are features) packs a block of B that
 * stays in L2, and one tile's columns of A at a time, which then meet all panels of the block. A packed value
 * is used m (or n) times, which pays for packing many times over; strided reads of both operands would fall
 * into few sets of the L1 cache, because features are often multiples of 64.
 */
#include "cpu/gemm.h"

#include "cpu/cpu_kernel.h"
#include "cpu/gemm_isa.h"
#include "cpu/simd_type.h"

enum {
    BLOCK_K = 256,       /* steps */
    BLOCK_TILES = 8,     /* tiles in a block of rows */
    BLOCK_COLUMNS = 384, /* of B packed at a time by the transposed product */
    WIDENED_COLUMNS =
        16, /* of slack behind each widened row, so that rows do not fall into the same cache set */
};

enum lam_gemm_format lam_gemm_format(enum lam_dtype dtype) {
    if (dtype == LAM_F32) return LAM_GEMM_F32;
    return lam_cpu_simd_type(dtype) == LAM_SIMD_BF16_HW ? LAM_GEMM_BF16 : LAM_GEMM_WIDENED;
}

static const struct lam_gemm_tiles *tiles_of(enum lam_gemm_format format) {
    return format == LAM_GEMM_BF16 ? &lam_gemm_bf16_v4 : LAM_ISA_PICK(lam_gemm_f32);
}

static int64_t round_up(int64_t x, int64_t unit) {
    return (x + unit - 1) / unit * unit;
}
static int64_t blocks_of(int64_t count, int64_t largest) {
    return (count + largest - 1) / largest;
}
static int64_t part_begin(int64_t count, int64_t part, int64_t parts) {
    return count * part / parts;
}

/* ---- panels of B: two vectors wide, the last one or two; each holds all steps of k ---- */

struct panel {
    int64_t first; /* column */
    int columns;   /* that exist */
    int vectors;
};

static struct panel panel_at(const struct lam_gemm_tiles *t, int64_t n, int64_t index) {
    int64_t first = index * 2 * t->vector, left = n - first;
    if (left > 2 * t->vector) left = 2 * t->vector;
    return (struct panel){.first = first, .columns = (int)left, .vectors = left > t->vector ? 2 : 1};
}
static int64_t panels_of(const struct lam_gemm_tiles *t, int64_t n) {
    return blocks_of(n, 2 * t->vector);
}
static int64_t steps_of(const struct lam_gemm_tiles *t, int64_t k) {
    return blocks_of(k, t->pair);
}

size_t lam_gemm_packed_bytes(enum lam_gemm_format format, int64_t k, int64_t n) {
    const struct lam_gemm_tiles *t = tiles_of(format);
    return (size_t)(steps_of(t, k) * round_up(n, t->vector)) * sizeof(float);
}

void lam_gemm_pack(enum lam_gemm_format format, const struct lam_gemm_operand *b, int64_t k, int64_t n,
                   void *packed, int part, int parts) {
    const struct lam_gemm_tiles *t = tiles_of(format);
    int64_t begin, end;
    lam_part(panels_of(t, n), part, parts, &begin, &end);
    for (int64_t i = begin; i < end; i++) {
        struct panel panel = panel_at(t, n, i);
        ptrdiff_t from = panel.first * (b->columns_apart ? b->stride : 1);
        struct lam_gemm_panel p = {.src = (const char *)b->src + from * (ptrdiff_t)lam_dtype_bytes(b->dtype),
                                   .dtype = b->dtype,
                                   .stride = b->stride,
                                   .k = k,
                                   .columns = panel.columns,
                                   .width = panel.vectors * t->vector,
                                   .dst = (float *)packed + panel.first * steps_of(t, k)};
        if (b->columns_apart)
            t->pack_columns(&p);
        else
            t->pack_rows(&p);
    }
}

/* ---- C = A B ---- */

/* Some whole tiles' rows of the product: A from row `first` on. */
struct row_block {
    const struct lam_gemm *g;
    const struct lam_gemm_tiles *t;
    const char *a; /* the block's first row (or its widened copy) */
    ptrdiff_t a_row;
    int64_t first_tile, end_tile, tiles; /* of `tiles` in all */
};

static void multiply_panel(const struct row_block *r, int64_t index) {
    const struct lam_gemm *g = r->g;
    const struct lam_gemm_tiles *t = r->t;
    struct panel panel = panel_at(t, g->n, index);
    int64_t whole = g->k / t->pair, packed = steps_of(t, g->k);
    int64_t blocks = g->c_dtype == LAM_F32 ? blocks_of(whole, BLOCK_K) : 1;
    if (blocks < 1) blocks = 1;
    size_t c_bytes = lam_dtype_bytes(g->c_dtype);
    int64_t first_row = part_begin(g->m, r->first_tile, r->tiles);
    for (int64_t block = 0; block < blocks; block++) {
        int64_t step = part_begin(whole, block, blocks);
        struct lam_gemm_tile tile = {
            .a_row = r->a_row,
            .b =
                (const char *)((const float *)g->b + panel.first * packed + step * panel.vectors * t->vector),
            .steps = part_begin(whole, block + 1, blocks) - step,
            .half_step = block == blocks - 1 && whole < packed,
            .c_row = g->c_stride,
            .c_bf16 = g->c_dtype == LAM_BF16,
            .accumulate = g->accumulate || block > 0,
            .bias = g->bias && block == 0 ? g->bias + panel.first : NULL,
            .columns = panel.columns,
        };
        for (int64_t i = r->first_tile; i < r->end_tile; i++) {
            int64_t row = part_begin(g->m, i, r->tiles), end = part_begin(g->m, i + 1, r->tiles);
            tile.a = r->a + (row - first_row) * r->a_row + 4 * step;
            tile.c = (char *)g->c + (size_t)(row * g->c_stride + panel.first) * c_bytes;
            t->in_place[end - row - 1][panel.vectors - 1](&tile);
        }
    }
}

void lam_gemm(const struct lam_gemm *g) {
    const struct lam_gemm_tiles *t = tiles_of(g->format);
    struct row_block r = {.g = g, .t = t, .tiles = blocks_of(g->m, t->rows)};
    ptrdiff_t row_floats = g->k + WIDENED_COLUMNS;
    for (; r.first_tile < r.tiles; r.first_tile = r.end_tile) {
        r.end_tile = r.first_tile + BLOCK_TILES < r.tiles ? r.first_tile + BLOCK_TILES : r.tiles;
        int64_t row = part_begin(g->m, r.first_tile, r.tiles), end = part_begin(g->m, r.end_tile, r.tiles);
        r.a_row = g->a_stride * (g->format == LAM_GEMM_F32 ? 4 : 2);
        r.a = (const char *)g->a + row * r.a_row;
        if (g->format == LAM_GEMM_WIDENED) {
            lam_gemm_widen(end - row, g->k, (const uint16_t *)r.a, g->a_stride, g->scratch, row_floats);
            r.a_row = row_floats * (ptrdiff_t)sizeof(float);
            r.a = g->scratch;
        }
        for (int64_t i = 0; i < panels_of(t, g->n); i++) multiply_panel(&r, i);
    }
}

size_t lam_gemm_scratch_bytes(enum lam_gemm_format format, int64_t m, int64_t k) {
    if (format != LAM_GEMM_WIDENED) return 0;
    int64_t rows = BLOCK_TILES * tiles_of(format)->rows;
    return (size_t)((m < rows ? m : rows) * (k + WIDENED_COLUMNS)) * sizeof(float);
}

/* ---- C = A^T B ---- */

/* Rows [row, row + rows) of k, columns [column, column + columns) of B: packed, then met by all of A's
 * columns. */
struct inner_block {
    const struct lam_gemm *g;
    const struct lam_gemm_tiles *t;
    enum lam_dtype dtype; /* of A and B */
    int64_t row, rows, column, columns;
    bool accumulate;
    float *b, *a; /* scratch: the block of B, one tile of A */
};

static void multiply_inner_block(const struct inner_block *in) {
    const struct lam_gemm *g = in->g;
    const struct lam_gemm_tiles *t = in->t;
    ptrdiff_t bytes = (ptrdiff_t)lam_dtype_bytes(in->dtype);
    struct lam_gemm_operand b = {.src = (const char *)g->b + (in->row * g->b_stride + in->column) * bytes,
                                 .dtype = in->dtype,
                                 .stride = g->b_stride};
    lam_gemm_pack(g->format, &b, in->rows, in->columns, in->b, 0, 1);
    int64_t tiles = blocks_of(g->m, t->rows), steps = steps_of(t, in->rows);
    size_t c_bytes = lam_dtype_bytes(g->c_dtype);
    for (int64_t i = 0; i < tiles; i++) {
        int64_t row = part_begin(g->m, i, tiles);
        int height = (int)(part_begin(g->m, i + 1, tiles) - row);
        struct lam_gemm_panel a = {.src = (const char *)g->a + (in->row * g->a_stride + row) * bytes,
                                   .dtype = in->dtype,
                                   .stride = g->a_stride,
                                   .k = in->rows,
                                   .columns = height,
                                   .width = height,
                                   .dst = in->a};
        t->pack_rows(&a);
        for (int64_t j = 0; j < panels_of(t, in->columns); j++) {
            struct panel panel = panel_at(t, in->columns, j);
            struct lam_gemm_tile tile = {
                .a = (const char *)in->a,
                .b = (const char *)(in->b + panel.first * steps),
                .steps = steps,
                .c = (char *)g->c + (size_t)(row * g->c_stride + in->column + panel.first) * c_bytes,
                .c_row = g->c_stride,
                .c_bf16 = g->c_dtype == LAM_BF16,
                .accumulate = in->accumulate,
                .columns = panel.columns,
            };
            t->packed[height - 1][panel.vectors - 1](&tile);
        }
    }
}

/* Bytes of the largest packed block of B. */
static size_t inner_bytes(enum lam_gemm_format format, int64_t n, int64_t k, enum lam_dtype c_dtype) {
    int64_t rows = BLOCK_K * tiles_of(format)->pair;
    if (k < rows || c_dtype == LAM_BF16) rows = k;
    return lam_gemm_packed_bytes(format, rows, n < BLOCK_COLUMNS ? n : BLOCK_COLUMNS);
}

void lam_gemm_transposed(const struct lam_gemm *g) {
    const struct lam_gemm_tiles *t = tiles_of(g->format);
    int64_t k_blocks = g->c_dtype == LAM_F32 ? blocks_of(g->k, BLOCK_K * t->pair) : 1;
    int64_t n_blocks = blocks_of(g->n, BLOCK_COLUMNS);
    int64_t panels = panels_of(t, g->n), width = 2 * t->vector;
    for (int64_t j = 0; j < n_blocks; j++)
        for (int64_t i = 0; i < k_blocks; i++) {
            int64_t row = part_begin(g->k, i, k_blocks), column = width * part_begin(panels, j, n_blocks);
            int64_t end = j + 1 < n_blocks ? width * part_begin(panels, j + 1, n_blocks) : g->n;
            multiply_inner_block(&(struct inner_block){
                .g = g,
                .t = t,
                .dtype = g->format == LAM_GEMM_F32 ? LAM_F32 : LAM_BF16,
                .row = row,
                .rows = part_begin(g->k, i + 1, k_blocks) - row,
                .column = column,
                .columns = end - column,
                .accumulate = g->accumulate || i > 0,
                .b = g->scratch,
                .a = (float *)((char *)g->scratch + inner_bytes(g->format, g->n, g->k, g->c_dtype)),
            });
        }
}

size_t lam_gemm_transposed_scratch_bytes(enum lam_gemm_format format, int64_t n, int64_t k,
                                         enum lam_dtype c_dtype) {
    const struct lam_gemm_tiles *t = tiles_of(format);
    int64_t steps = steps_of(t, k);
    if (steps > BLOCK_K && c_dtype == LAM_F32) steps = BLOCK_K;
    return inner_bytes(format, n, k, c_dtype) + (size_t)(steps * t->rows) * sizeof(float);
}

void lam_gemm_column_sums(int64_t rows, int64_t columns, const void *src, enum lam_dtype dtype,
                          ptrdiff_t stride, float *sum, bool accumulate) {
    LAM_ISA_PICK(lam_gemm_helpers)->column_sums(rows, columns, src, dtype, stride, sum, accumulate);
}

void lam_gemm_widen(int64_t rows, int64_t columns, const uint16_t *from, ptrdiff_t from_stride, float *to,
                    ptrdiff_t to_stride) {
    LAM_ISA_PICK(lam_gemm_helpers)->widen(rows, columns, from, from_stride, to, to_stride);
}
