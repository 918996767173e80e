/* Shapes, sizes of layouts, and bf16. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <math.h>
#include <string.h>

#include "base/tensor.h"

static void test_dtypes(void **state) {
    (void)state;
    assert_int_equal(lam_dtype_bytes(LAM_F32), 4);
    assert_int_equal(lam_dtype_bytes(LAM_BF16), 2);
    assert_int_equal(lam_dtype_bytes(LAM_I32), 4);
    assert_int_equal(lam_dtype_bytes(LAM_U8), 1);
    assert_string_equal(lam_dtype_name(LAM_BF16), "bf16");
    assert_string_equal(lam_dtype_name((enum lam_dtype)99), "?");
}

static void test_shapes(void **state) {
    (void)state;
    struct lam_shape shape = LAM_SHAPE(5, 17, 3, 2);
    char text[64];
    assert_int_equal(shape.rank, 4);
    assert_int_equal(lam_shape_count(shape), 510);
    assert_int_equal(lam_shape_count(LAM_SCALAR), 1);
    assert_true(lam_shape_equal(shape, LAM_SHAPE(5, 17, 3, 2)));
    assert_false(lam_shape_equal(shape, LAM_SHAPE(5, 17, 3)));
    assert_false(lam_shape_equal(shape, LAM_SHAPE(5, 17, 3, 1)));
    assert_string_equal(lam_shape_text(shape, text, sizeof text), "[5, 17, 3, 2]");
    assert_string_equal(lam_shape_text(LAM_SCALAR, text, sizeof text), "[]");
    char short_text[6];
    memset(short_text, 'x', sizeof short_text);
    lam_shape_text(shape, short_text, sizeof short_text);
    assert_string_equal(short_text, "[5, 1");
}

static void test_bytes(void **state) {
    (void)state;
    static const struct {
        struct lam_tensor_desc desc;
        size_t bytes;
    } cases[] = {
        {{LAM_F32, LAM_PLAIN, {4, {2, 17, 3, 5}}}, 2 * 17 * 15 * 4},
        {{LAM_F32, LAM_C16, {4, {2, 17, 3, 5}}}, 2 * 32 * 15 * 4},
        {{LAM_F32, LAM_C8, {4, {2, 17, 3, 5}}}, 2 * 24 * 15 * 4},
        {{LAM_BF16, LAM_C16, {4, {2, 16, 3, 5}}}, 2 * 16 * 15 * 2},
        {{LAM_BF16, LAM_NHWC, {4, {2, 3, 3, 5}}}, 2 * 3 * 15 * 2},
        {{LAM_U8, LAM_PLAIN, {2, {7, 3}}}, 21},
        {{LAM_F32, LAM_PLAIN, {0, {0}}}, 4},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        assert_int_equal(lam_tensor_bytes(&cases[i].desc), cases[i].bytes);
    assert_int_equal(lam_layout_block(LAM_PLAIN), 1);
    assert_int_equal(lam_layout_block(LAM_NHWC), 1);
    assert_int_equal(lam_layout_block(LAM_C8), 8);
    assert_int_equal(lam_layout_block(LAM_C16), 16);
}

static void check_bf16(float value, uint16_t bits) {
    assert_int_equal(lam_f32_to_bf16(value), bits);
}

static void test_bf16_rounding(void **state) {
    (void)state;
    check_bf16(0.0f, 0x0000);
    check_bf16(-0.0f, 0x8000);
    check_bf16(1.0f, 0x3F80);
    check_bf16(0x1.01p0f, 0x3F80);     /* half way between 0x3F80 and 0x3F81: to the even one */
    check_bf16(0x1.03p0f, 0x3F82);     /* half way between 0x3F81 and 0x3F82: to the even one */
    check_bf16(0x1.010002p0f, 0x3F81); /* just above half way */
    check_bf16(0x1.00fffep0f, 0x3F80); /* just below half way */
    check_bf16(-0x1.03p0f, 0xBF82);
    check_bf16(0x1.fffffep127f, 0x7F80); /* past the largest bf16: infinity */
    check_bf16(0x1.fep127f, 0x7F7F);     /* the largest bf16 */
    check_bf16(INFINITY, 0x7F80);
    check_bf16(-INFINITY, 0xFF80);
    check_bf16(0x1p-133f, 0x0001); /* the smallest subnormal bf16 */
}

static void test_bf16_nan_stays_nan(void **state) {
    (void)state;
    const uint32_t patterns[] = {0x7F800001u, 0x7FFFFFFFu, 0xFF800001u, 0x7FC00000u};
    for (size_t i = 0; i < sizeof patterns / sizeof *patterns; i++) {
        float value;
        memcpy(&value, &patterns[i], sizeof value);
        assert_true(isnan(lam_bf16_to_f32(lam_f32_to_bf16(value))));
    }
}

static void test_every_bf16_survives(void **state) {
    (void)state;
    for (uint32_t bits = 0; bits < 0x10000; bits++) {
        float value = lam_bf16_to_f32((uint16_t)bits);
        if (!isnan(value)) assert_int_equal(lam_f32_to_bf16(value), bits);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_dtypes),
        cmocka_unit_test(test_shapes),
        cmocka_unit_test(test_bytes),
        cmocka_unit_test(test_bf16_rounding),
        cmocka_unit_test(test_bf16_nan_stays_nan),
        cmocka_unit_test(test_every_bf16_survives),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
