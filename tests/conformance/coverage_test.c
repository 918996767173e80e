/* No op of lib/device/op.h is left out: each has a case here, and the backend has a kernel for it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "conformance/one_of_each.h"
#include "conformance/op_text.h"
#include "conformance/suite.h"

static void test_every_op_has_a_kernel(void **state) {
    struct lam_backend_device *device = suite_device(*state, 0);
    const struct lam_backend *backend = suite_backend(*state);
    struct lam_kernel_options options = {
        .slices = (int[]){2}, .slice_count = 1, .lanes = backend->lanes(device)};
    for (int kind = 0; kind < LAM_OP_COUNT; kind++) {
        struct op_case c;
        struct lam_kernel *kernel = NULL;
        if (!one_of_each[kind]) fail_msg("%s has no case", lam_op_name((enum lam_op_kind)kind));
        assert_int_equal(op_from_text(one_of_each[kind], &c), LAM_OK);
        assert_int_equal((int)c.op.kind, kind);
        if (backend->kernel_create(device, &c.op, &options, &kernel, NULL) != LAM_OK)
            fail_msg("%s", lam_error_text());
        kernel->destroy(kernel);
    }
}

static void test_every_op_computes(void **state) {
    assert_int_equal(suite_run(*state, one_of_each, LAM_OP_COUNT), 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_op_has_a_kernel),
        cmocka_unit_test(test_every_op_computes),
    };
    return cmocka_run_group_tests(tests, suite_setup, suite_teardown);
}
