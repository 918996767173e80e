/* Winograd's convolution with a NaN among its inputs: the ReLU behind it must hand the NaN on, to where the NaN
 * guard sees it. Values are tested by the conformance suite. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <cmocka.h>

#include "cpu/cpu_kernel.h"
#include "cpu/winograd_isa.h"

enum { CHANNELS = 16, SIDE = 8, TAPS = LAM_WINOGRAD_TAPS, PIXELS = SIDE * SIDE };

static void a_relu_keeps_a_nan(void **state) {
    (void)state;
    const struct lam_winograd_kernels *kernels = LAM_ISA_PICK(lam_winograd);
    int planes = CHANNELS / lam_layout_block(lam_cpu_blocked_layout());
    const struct lam_winograd_shape shape = {.count = 1,
                                             .in_blocks = 1,
                                             .out_blocks = 1,
                                             .in_planes = planes,
                                             .out_planes = planes,
                                             .height = SIDE,
                                             .width = SIDE,
                                             .out_height = SIDE,
                                             .out_width = SIDE,
                                             .pad = {1, 1}};
    static float plain[CHANNELS * CHANNELS * TAPS], src[CHANNELS * PIXELS], dst[CHANNELS * PIXELS];
    static float packed[LAM_WINOGRAD_POINTS * CHANNELS * CHANNELS];
    for (size_t i = 0; i < sizeof plain / sizeof *plain; i++) plain[i] = 0.1f;
    for (size_t i = 0; i < sizeof src / sizeof *src; i++) src[i] = 1;
    src[0] = NAN; /* of the first pixel */
    float *workspace = malloc(lam_winograd_workspace(&shape, false));
    assert_non_null(workspace);
    kernels->weights(plain, packed, CHANNELS, CHANNELS, false, false, 0, 1);
    kernels->forward(&shape, src, packed, NULL, CHANNELS, true, dst, workspace);
    assert_true(isnan(dst[0]));
    /* the last pixel's tile does not see the first pixel: four taps of 16 channels */
    assert_true(fabsf(dst[CHANNELS * PIXELS - 1] - 4 * CHANNELS * 0.1f) < 1e-4f);
    free(workspace);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(a_relu_keeps_a_nan)};
    return cmocka_run_group_tests_name("winograd", tests, NULL, NULL);
}
