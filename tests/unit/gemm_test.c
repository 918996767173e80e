/* The matrix product against three plain loops: odd sizes, every format, every instruction set that this
 * processor has (each in a process of its own, because the choice is made once). */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/rng.h"
#include "cpu/cpu_kernel.h"
#include "cpu/gemm.h"

enum { MARGIN = 3 }; /* elements behind each row that a product must neither read into a sum nor write */

/* ---- matrices ---- */

struct matrix {
    int64_t rows, columns;
    ptrdiff_t stride;
    enum lam_dtype dtype;
    void *data;
};

static void *aligned_memory(size_t bytes) {
    void *p = aligned_alloc(64, (bytes + 127) / 64 * 64);
    assert_non_null(p);
    memset(p, 0xFF, bytes); /* NaN in both element types */
    return p;
}

static double get(const struct matrix *m, int64_t i, int64_t j) {
    int64_t at = i * m->stride + j;
    return m->dtype == LAM_BF16 ? lam_bf16_to_f32(((uint16_t *)m->data)[at]) : ((float *)m->data)[at];
}
static void set(const struct matrix *m, int64_t i, int64_t j, float x) {
    int64_t at = i * m->stride + j;
    if (m->dtype == LAM_BF16)
        ((uint16_t *)m->data)[at] = lam_f32_to_bf16(x);
    else
        ((float *)m->data)[at] = x;
}

/* Small random numbers; what lies between the rows is NaN. */
static struct matrix matrix_make(int64_t rows, int64_t columns, enum lam_dtype dtype, uint64_t seed) {
    struct matrix m = {.rows = rows, .columns = columns, .stride = columns + MARGIN, .dtype = dtype};
    m.data = aligned_memory((size_t)(rows * m.stride) * lam_dtype_bytes(dtype));
    struct lam_rng rng = lam_rng_make(seed, LAM_RNG_TEST, (uint64_t)rows, (uint64_t)columns);
    for (int64_t i = 0; i < rows; i++)
        for (int64_t j = 0; j < columns; j++) set(&m, i, j, lam_rng_uniform(&rng) - 0.5f);
    return m;
}

/* ---- one product ---- */

struct product {
    enum lam_gemm_format format;
    int64_t m, n, k;
    bool transposed; /* A^T B */
    bool weights;    /* B from f32 [n, k], as in LINEAR; else [k, n] of A's dtype */
    bool bias, accumulate, c_bf16;
};

static const char *product_text(const struct product *p, char *text, size_t size) {
    snprintf(text, size, "format %d, m %d, n %d, k %d%s%s%s%s%s", (int)p->format, (int)p->m, (int)p->n,
             (int)p->k, p->transposed ? ", transposed" : "", p->weights ? ", weights" : "",
             p->bias ? ", bias" : "", p->accumulate ? ", accumulate" : "", p->c_bf16 ? ", bf16" : "");
    return text;
}

/* B's elements as they are multiplied: weights are rounded to bf16 for the BF16 format. */
static double b_element(const struct product *p, const struct matrix *b, int64_t k, int64_t n) {
    double x = p->weights ? get(b, n, k) : get(b, k, n);
    return p->format == LAM_GEMM_BF16 ? lam_bf16_to_f32(lam_f32_to_bf16((float)x)) : x;
}

static void compare(const struct product *p, const struct matrix *a, const struct matrix *b,
                    const float *bias, const struct matrix *before, const struct matrix *c) {
    char text[128];
    for (int64_t i = 0; i < p->m; i++) {
        for (int64_t j = 0; j < p->n; j++) {
            double sum = p->accumulate ? get(before, i, j) : 0, magnitude = fabs(sum);
            if (p->bias) sum += bias[j];
            for (int64_t k = 0; k < p->k; k++) {
                double term = (p->transposed ? get(a, k, i) : get(a, i, k)) * b_element(p, b, k, j);
                sum += term;
                magnitude += fabs(term);
            }
            double allowed = 1e-6 * (magnitude + 1) + (p->c_bf16 ? fabs(sum) / 256 : 0);
            if (!(fabs(get(c, i, j) - sum) <= allowed))
                fail_msg("%s: element %d, %d is %g instead of %g", product_text(p, text, sizeof text), (int)i,
                         (int)j, get(c, i, j), sum);
        }
        for (int64_t j = p->n; j < c->stride; j++)
            if (!isnan(get(c, i, j)))
                fail_msg("%s: wrote behind row %d", product_text(p, text, sizeof text), (int)i);
    }
}

static void run_product(const struct product *p, const struct matrix *a, const struct matrix *b,
                        const float *bias, const struct matrix *c) {
    struct lam_gemm g = {.format = p->format,
                         .m = p->m,
                         .n = p->n,
                         .k = p->k,
                         .a = a->data,
                         .a_stride = a->stride,
                         .b = b->data,
                         .b_stride = b->stride,
                         .c = c->data,
                         .c_stride = c->stride,
                         .c_dtype = c->dtype,
                         .bias = p->bias ? bias : NULL,
                         .accumulate = p->accumulate};
    if (p->transposed) {
        void *scratch =
            aligned_memory(lam_gemm_transposed_scratch_bytes(p->format, p->m, p->n, p->k, c->dtype));
        g.scratch = scratch;
        lam_gemm_transposed(&g);
        free(scratch);
        return;
    }
    struct lam_gemm_operand operand = {
        .src = b->data, .dtype = b->dtype, .stride = b->stride, .columns_apart = p->weights};
    void *packed = aligned_memory(lam_gemm_packed_bytes(p->format, p->k, p->n));
    void *scratch = aligned_memory(lam_gemm_scratch_bytes(p->format, p->m, p->k));
    for (int part = 0; part < 3; part++) lam_gemm_pack(p->format, &operand, p->k, p->n, packed, part, 3);
    g.b = packed;
    g.scratch = scratch;
    lam_gemm(&g);
    free(scratch);
    free(packed);
}

static void check(const struct product *p) {
    enum lam_dtype dtype = p->format == LAM_GEMM_F32 ? LAM_F32 : LAM_BF16;
    struct matrix a = p->transposed ? matrix_make(p->k, p->m, dtype, 1) : matrix_make(p->m, p->k, dtype, 1);
    struct matrix b = p->weights ? matrix_make(p->n, p->k, LAM_F32, 2) : matrix_make(p->k, p->n, dtype, 2);
    struct matrix before = matrix_make(p->m, p->n, p->c_bf16 ? LAM_BF16 : LAM_F32, 3);
    struct matrix c = matrix_make(p->m, p->n, before.dtype, 3);
    struct matrix bias = matrix_make(1, p->n, LAM_F32, 4);
    run_product(p, &a, &b, bias.data, &c);
    compare(p, &a, &b, bias.data, &before, &c);
    free(a.data), free(b.data), free(before.data), free(c.data), free(bias.data);
}

/* ---- tests ---- */

static const int64_t sizes_m[] = {1, 2, 5, 6, 7, 13, 14, 15, 29, 65},
                     sizes_n[] = {1, 4, 7, 8, 9, 16, 17, 31, 33, 65}, sizes_k[] = {1, 2, 3, 16, 33, 64, 65};
#define COUNT(array) (int)(sizeof(array) / sizeof *(array))

static int formats(enum lam_gemm_format format[3]) {
    format[0] = LAM_GEMM_F32;
    format[1] = LAM_GEMM_WIDENED;
    format[2] = LAM_GEMM_BF16;
    return lam_gemm_format(LAM_BF16) == LAM_GEMM_BF16 ? 3 : 2;
}

static void all_sizes(struct product p) {
    enum lam_gemm_format format[3];
    int format_count = formats(format);
    for (int f = 0; f < format_count; f++)
        for (int i = 0; i < COUNT(sizes_m); i++)
            for (int j = 0; j < COUNT(sizes_n); j++)
                for (int l = 0; l < COUNT(sizes_k); l++) {
                    p.format = format[f];
                    p.m = sizes_m[i];
                    p.n = sizes_n[j];
                    p.k = sizes_k[l];
                    p.c_bf16 = p.format != LAM_GEMM_F32 && !p.accumulate && l % 2 == 0;
                    check(&p);
                }
}

static void products_of_all_sizes(void **state) {
    (void)state;
    all_sizes((struct product){.bias = true});
    all_sizes((struct product){.weights = true});
    all_sizes((struct product){.weights = true, .accumulate = true});
}

static void transposed_products_of_all_sizes(void **state) {
    (void)state;
    all_sizes((struct product){.transposed = true});
    all_sizes((struct product){.transposed = true, .accumulate = true});
}

/* Sizes beyond every cache block. */
static void large_products(void **state) {
    (void)state;
    enum lam_gemm_format format[3];
    int format_count = formats(format);
    for (int f = 0; f < format_count; f++) {
        check(&(struct product){
            .format = format[f], .m = 241, .n = 70, .k = 1101, .weights = true, .bias = true});
        check(&(struct product){.format = format[f], .m = 50, .n = 870, .k = 90, .accumulate = true});
        check(&(struct product){.format = format[f], .m = 31, .n = 811, .k = 1203, .transposed = true});
        check(&(struct product){
            .format = format[f], .m = 31, .n = 70, .k = 1203, .transposed = true, .accumulate = true});
    }
    for (int f = 1; f < format_count; f++) {
        check(&(struct product){
            .format = format[f], .m = 20, .n = 50, .k = 1101, .weights = true, .c_bf16 = true});
        check(&(struct product){
            .format = format[f], .m = 20, .n = 50, .k = 1101, .transposed = true, .c_bf16 = true});
    }
}

/* The result of a row is the same to the bit however many rows stand beside it. */
static void rows_do_not_depend_on_each_other(void **state) {
    (void)state;
    enum lam_gemm_format format[3];
    int format_count = formats(format);
    for (int f = 0; f < format_count; f++) {
        enum lam_dtype dtype = format[f] == LAM_GEMM_F32 ? LAM_F32 : LAM_BF16;
        struct product p = {.format = format[f], .m = 40, .n = 37, .k = 300, .weights = true};
        struct matrix a = matrix_make(p.m, p.k, dtype, 1), b = matrix_make(p.n, p.k, LAM_F32, 2);
        struct matrix all = matrix_make(p.m, p.n, LAM_F32, 3), one = matrix_make(1, p.n, LAM_F32, 3);
        set(&a, 17, 5, NAN);
        run_product(&p, &a, &b, NULL, &all);
        p.m = 1;
        for (int64_t i = 0; i < all.rows; i++) {
            struct matrix row = a;
            row.data = (char *)a.data + (size_t)(i * a.stride) * lam_dtype_bytes(dtype);
            run_product(&p, &row, &b, NULL, &one);
            for (int64_t j = 0; j < p.n; j++) {
                assert_int_equal(isnan(get(&all, i, j)) != 0, i == 17);
                if (i != 17) assert_true(get(&all, i, j) == get(&one, 0, j));
            }
        }
        free(a.data), free(b.data), free(all.data), free(one.data);
    }
}

/* A kernel asks for its largest slice and runs smaller ones. */
static void scratch_grows_with_size(void **state) {
    (void)state;
    enum lam_gemm_format format[3];
    int format_count = formats(format);
    for (int f = 0; f < format_count; f++)
        for (int64_t size = 2; size < 2000; size++) {
            assert_true(lam_gemm_scratch_bytes(format[f], size, 100) >=
                        lam_gemm_scratch_bytes(format[f], size - 1, 100));
            assert_true(lam_gemm_transposed_scratch_bytes(format[f], 100, 100, size, LAM_F32) >=
                        lam_gemm_transposed_scratch_bytes(format[f], 100, 100, size - 1, LAM_F32));
        }
}

static void column_sums(void **state) {
    (void)state;
    for (int64_t columns = 1; columns < 150; columns += 7)
        for (int bf16 = 0; bf16 < 2; bf16++) {
            struct matrix m = matrix_make(23, columns, bf16 ? LAM_BF16 : LAM_F32, 1);
            struct matrix sum = matrix_make(1, columns, LAM_F32, 2);
            lam_gemm_column_sums(m.rows, columns, m.data, m.dtype, m.stride, sum.data, false);
            lam_gemm_column_sums(m.rows, columns, m.data, m.dtype, m.stride, sum.data, true);
            for (int64_t j = 0; j < columns; j++) {
                double expected = 0;
                for (int64_t i = 0; i < m.rows; i++) expected += 2 * get(&m, i, j);
                assert_true(fabs(get(&sum, 0, j) - expected) < 1e-4);
            }
            assert_true(isnan(get(&sum, 0, columns)));
            free(m.data), free(sum.data);
        }
}

static int run_level(const char *level) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(products_of_all_sizes),   cmocka_unit_test(transposed_products_of_all_sizes),
        cmocka_unit_test(large_products),          cmocka_unit_test(rows_do_not_depend_on_each_other),
        cmocka_unit_test(scratch_grows_with_size), cmocka_unit_test(column_sums),
    };
    return cmocka_run_group_tests_name(level, tests, NULL, NULL);
}

int main(void) {
    static const char *const levels[] = {"v3", "v4"};
    int failed = 0;
    for (int i = 0; i < COUNT(levels); i++) {
        fflush(NULL);
        pid_t child = fork();
        if (child == 0) {
            setenv("LAMINA_ISA", levels[i], 1);
            if ((int)lam_cpu_isa() < LAM_CPU_V3 + i) return 0; /* this processor does not have the level */
            return run_level(levels[i]);
        }
        int status = 1;
        if (child < 0 || waitpid(child, &status, 0) != child) status = 1;
        failed += status != 0;
    }
    return failed;
}
