/* The matrix product above its tiles: blocking for the caches.
 *
 * C = A B goes over blocks of rows, in each over the panels of B, in each over blocks of k, and innermost
 * over the tiles of the row block. So a block of a panel (up to BLOCK_K x 2 vectors, 32 KiB) is read from L1
 * by all tiles, and the rows of A come from L2, a few bytes per multiply-add. Blocks of k add to C in memory;
 * a bf16 C cannot hold partial sums, so there k is one block.
 *
 * C = A^T B (weight gradients: k counts the rows of a slice, m and n are features) packs a block of B that
 * stays in L2, and streams its panels past each tile of A. One step of A is a run of elements, which f32
 * tiles broadcast from where they are; for pairs of bf16 and for widening a block of A is packed as well. B
 * is packed because a strided panel would fall into few sets of the L1 cache: features are often multiples
 * of 64.
 */
#include "cpu/gemm.h"

#include "cpu/cpu_kernel.h"
#include "cpu/gemm_isa.h"
#include "cpu/simd_type.h"

enum {
    BLOCK_K = 256,       /* steps in a block of k */
    BLOCK_TILES = 14,    /* tiles in a block of rows */
    BLOCK_DEPTH = 384,   /* steps in a block of k of the transposed product */
    BLOCK_COLUMNS = 192, /* columns of B in one */
    WIDENED_COLUMNS =
        16, /* slack behind each widened row, so that rows do not fall into the same cache set */
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
/* Rows of a tile when m rows are cut into as few tiles as possible, as even as possible; the last has the
 * rest. */
static int64_t height_of(const struct lam_gemm_tiles *t, int64_t m) {
    return blocks_of(m, blocks_of(m, t->rows));
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

int64_t lam_gemm_whole_columns(enum lam_gemm_format format, int64_t n) {
    return round_up(n, tiles_of(format)->vector);
}

size_t lam_gemm_packed_bytes(enum lam_gemm_format format, int64_t k, int64_t n) {
    const struct lam_gemm_tiles *t = tiles_of(format);
    return (size_t)(steps_of(t, k) * round_up(n, t->vector)) * sizeof(float);
}

static const void *element(const struct lam_gemm_operand *b, ptrdiff_t index) {
    return (const char *)b->src + index * (ptrdiff_t)lam_dtype_bytes(b->dtype);
}

/* Panels [begin, end) of B. */
static void pack_columns(const struct lam_gemm_tiles *t, const struct lam_gemm_operand *b, int64_t k,
                         int64_t n, float *packed, int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; i++) {
        struct panel panel = panel_at(t, n, i);
        t->pack_columns(&(struct lam_gemm_columns){.src = element(b, panel.first * b->stride),
                                                   .dtype = b->dtype,
                                                   .stride = b->stride,
                                                   .k = k,
                                                   .columns = panel.columns,
                                                   .width = panel.vectors * t->vector,
                                                   .dst = packed + panel.first * steps_of(t, k)});
    }
}

/* The same: all panels of two vectors at once, then one of a single vector. */
static void pack_rows(const struct lam_gemm_tiles *t, const struct lam_gemm_operand *b, int64_t k, int64_t n,
                      float *packed, int64_t begin, int64_t end) {
    while (begin < end) {
        struct panel first = panel_at(t, n, begin), last = panel_at(t, n, end - 1);
        int64_t panels = first.vectors == last.vectors ? end - begin : end - begin - 1;
        t->pack_rows(&(struct lam_gemm_rows){.src = element(b, first.first),
                                             .dtype = b->dtype,
                                             .stride = b->stride,
                                             .k = k,
                                             .columns = n - first.first,
                                             .panels = panels,
                                             .advance = first.vectors * t->vector,
                                             .width = first.vectors * t->vector,
                                             .dst = packed + first.first * steps_of(t, k)});
        begin += panels;
    }
}

void lam_gemm_pack(enum lam_gemm_format format, const struct lam_gemm_operand *b, int64_t k, int64_t n,
                   void *packed, int part, int parts) {
    const struct lam_gemm_tiles *t = tiles_of(format);
    int64_t begin, end;
    lam_part(panels_of(t, n), part, parts, &begin, &end);
    if (b->columns_apart)
        pack_columns(t, b, k, n, packed, begin, end);
    else
        pack_rows(t, b, k, n, packed, begin, end);
}

/* ---- C = A B ---- */

/* Some whole tiles' rows of the product: A from row `first` on. */
struct row_block {
    const struct lam_gemm *g;
    const struct lam_gemm_tiles *t;
    const char *a; /* the block's first row (or its widened copy) */
    ptrdiff_t a_row;
    int64_t first, end, height; /* rows; of a tile */
};

static void multiply_panel(const struct row_block *r, int64_t index) {
    const struct lam_gemm *g = r->g;
    const struct lam_gemm_tiles *t = r->t;
    struct panel panel = panel_at(t, g->n, index);
    int64_t whole = g->k / t->pair, packed = steps_of(t, g->k);
    int64_t blocks = g->c_dtype == LAM_F32 ? blocks_of(whole, BLOCK_K) : 1;
    if (blocks < 1) blocks = 1;
    size_t c_bytes = lam_dtype_bytes(g->c_dtype);
    for (int64_t block = 0; block < blocks; block++) {
        int64_t step = part_begin(whole, block, blocks);
        struct lam_gemm_tile tile = {
            .a_stride = r->a_row,
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
        for (int64_t row = r->first; row < r->end; row += r->height) {
            int64_t height = row + r->height < r->end ? r->height : r->end - row;
            tile.a = r->a + (row - r->first) * r->a_row + 4 * step;
            tile.c = (char *)g->c + (size_t)(row * g->c_stride + panel.first) * c_bytes;
            t->by_rows[height - 1][panel.vectors - 1](&tile);
        }
    }
}

void lam_gemm(const struct lam_gemm *g) {
    const struct lam_gemm_tiles *t = tiles_of(g->format);
    struct row_block r = {.g = g, .t = t, .height = height_of(t, g->m)};
    ptrdiff_t row_floats = g->k + WIDENED_COLUMNS;
    for (; r.first < g->m; r.first = r.end) {
        r.end = r.first + BLOCK_TILES * r.height;
        if (r.end > g->m) r.end = g->m;
        r.a_row = g->a_stride * (g->format == LAM_GEMM_F32 ? 4 : 2);
        r.a = (const char *)g->a + r.first * r.a_row;
        if (g->format == LAM_GEMM_WIDENED) {
            lam_gemm_widen(r.end - r.first, g->k, (const uint16_t *)r.a, g->a_stride, g->scratch, row_floats);
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

/* How A^T B is cut: k into pieces of `depth`, the rows of C into blocks of `rows` (whole tiles), its columns
 * into blocks of `columns` (whole panels). */
struct cut {
    int64_t depth, height, rows, columns;
    int64_t b_floats, a_floats; /* of a packed block; A is 0 if read in place */
};

static struct cut cut_of(enum lam_gemm_format format, int64_t m, int64_t n, int64_t k,
                         enum lam_dtype c_dtype) {
    const struct lam_gemm_tiles *t = tiles_of(format);
    struct cut cut = {.height = height_of(t, m)};
    int64_t depths = c_dtype == LAM_F32 ? blocks_of(steps_of(t, k), BLOCK_DEPTH) : 1;
    cut.depth = blocks_of(k, depths);
    cut.rows = BLOCK_TILES * cut.height;
    if (cut.rows > m) cut.rows = m;
    cut.columns = 2 * t->vector * blocks_of(panels_of(t, n), blocks_of(n, BLOCK_COLUMNS));
    if (cut.columns > n) cut.columns = n;
    int64_t steps = steps_of(t, cut.depth);
    cut.b_floats = round_up(steps * round_up(cut.columns, t->vector), 16);
    cut.a_floats = format == LAM_GEMM_F32 ? 0 : steps * blocks_of(cut.rows, cut.height) * t->a_step;
    return cut;
}

/* A block of C, += rows [k, k_end) of A and B. */
struct block {
    const struct lam_gemm *g;
    const struct lam_gemm_tiles *t;
    const struct cut *cut;
    int64_t k, k_end, row, row_end, column, column_end;
    struct lam_gemm_operand a, b; /* from row k on */
    float *b_packed, *a_packed;
};

static void pack_b_block(const struct block *in) {
    struct lam_gemm_operand b = in->b;
    b.src = element(&in->b, in->column);
    int64_t columns = in->column_end - in->column;
    pack_rows(in->t, &b, in->k_end - in->k, columns, in->b_packed, 0, panels_of(in->t, columns));
}

static void pack_a_block(const struct block *in) {
    in->t->pack_rows(&(struct lam_gemm_rows){.src = element(&in->a, in->row),
                                             .dtype = in->a.dtype,
                                             .stride = in->a.stride,
                                             .k = in->k_end - in->k,
                                             .columns = in->g->m - in->row,
                                             .panels = blocks_of(in->row_end - in->row, in->cut->height),
                                             .advance = (int)in->cut->height,
                                             .width = in->t->a_step,
                                             .dst = in->a_packed});
}

static void multiply_block(const struct block *in) {
    const struct lam_gemm *g = in->g;
    const struct lam_gemm_tiles *t = in->t;
    bool in_place = in->cut->a_floats == 0;
    int64_t steps = steps_of(t, in->k_end - in->k), columns = in->column_end - in->column;
    ptrdiff_t a_step = in_place ? in->a.stride : t->a_step,
              a_tile = in_place ? in->cut->height : steps * a_step;
    const float *a = in_place ? element(&in->a, in->row) : in->a_packed;
    for (int64_t row = in->row; row < in->row_end; row += in->cut->height, a += a_tile) {
        int64_t height = row + in->cut->height < in->row_end ? in->cut->height : in->row_end - row;
        for (int64_t j = 0; j < panels_of(t, columns); j++) {
            struct panel panel = panel_at(t, columns, j);
            int64_t c = row * g->c_stride + in->column + panel.first;
            struct lam_gemm_tile tile = {
                .a = (const char *)a,
                .a_stride = a_step * (ptrdiff_t)sizeof *a,
                .b = (const char *)(in->b_packed + panel.first * steps),
                .steps = steps,
                .c = (char *)g->c + c * (int64_t)lam_dtype_bytes(g->c_dtype),
                .c_row = g->c_stride,
                .c_bf16 = g->c_dtype == LAM_BF16,
                .accumulate = g->accumulate || in->k > 0,
                .columns = panel.columns,
            };
            t->by_columns[height - 1][panel.vectors - 1](&tile);
        }
    }
}

/* All of C, += rows [k, k_end): each block of B meets each block of A. Where A is one block, it is packed
 * once. */
static void multiply_depth(struct block *in) {
    const struct lam_gemm *g = in->g;
    for (in->column = 0; in->column < g->n; in->column = in->column_end) {
        in->column_end = in->column + in->cut->columns < g->n ? in->column + in->cut->columns : g->n;
        pack_b_block(in);
        for (in->row = 0; in->row < g->m; in->row = in->row_end) {
            in->row_end = in->row + in->cut->rows < g->m ? in->row + in->cut->rows : g->m;
            bool packed = in->cut->a_floats == 0 || (in->column > 0 && in->cut->rows == g->m);
            if (!packed) pack_a_block(in);
            multiply_block(in);
        }
    }
}

void lam_gemm_transposed(const struct lam_gemm *g) {
    const struct cut cut = cut_of(g->format, g->m, g->n, g->k, g->c_dtype);
    struct block in = {.g = g, .t = tiles_of(g->format), .cut = &cut, .b_packed = g->scratch};
    in.a_packed = in.b_packed + cut.b_floats;
    in.a.dtype = in.b.dtype = g->format == LAM_GEMM_F32 ? LAM_F32 : LAM_BF16;
    in.a.stride = g->a_stride;
    in.b.stride = g->b_stride;
    for (; in.k < g->k; in.k = in.k_end) {
        in.k_end = in.k + cut.depth < g->k ? in.k + cut.depth : g->k;
        in.a.src = g->a;
        in.a.src = element(&in.a, in.k * g->a_stride);
        in.b.src = g->b;
        in.b.src = element(&in.b, in.k * g->b_stride);
        multiply_depth(&in);
    }
}

/* A smaller k can be cut into deeper pieces than k itself: ask for the deepest. */
size_t lam_gemm_transposed_scratch_bytes(enum lam_gemm_format format, int64_t m, int64_t n, int64_t k,
                                         enum lam_dtype c_dtype) {
    int64_t deepest = BLOCK_DEPTH * tiles_of(format)->pair;
    const struct cut cut = cut_of(format, m, n, c_dtype == LAM_F32 && k > deepest ? deepest : k, c_dtype);
    return (size_t)(cut.b_floats + cut.a_floats) * sizeof(float);
}

void lam_gemm_column_sums(int64_t rows, int64_t columns, const void *src, enum lam_dtype dtype,
                          ptrdiff_t stride, float *sum, bool accumulate) {
    LAM_ISA_PICK(lam_gemm_helpers)->column_sums(rows, columns, src, dtype, stride, sum, accumulate);
}

void lam_gemm_widen(int64_t rows, int64_t columns, const uint16_t *from, ptrdiff_t from_stride, float *to,
                    ptrdiff_t to_stride) {
    LAM_ISA_PICK(lam_gemm_helpers)->widen(rows, columns, from, from_stride, to, to_stride);
}
