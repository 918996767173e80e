/* The conformance suite: a backend's kernels against the reference, through lib/device/backend.h alone.
 *
 *     static const char *const cases[] = {"relu shape=5x16x7x7", "relu shape=8x40x3x5 dtype=bf16"};
 *     static void test_relu(void **state) { SUITE_RUN(state, cases); }
 *     ... cmocka_run_group_tests(tests, suite_setup, suite_teardown) ...
 *
 * For each case it makes random operands, computes what is right with the reference, and runs the kernel on
 * every device, in slices of several sizes with remainders, with operands in PLAIN, in the backend's own
 * layout and in mixtures, and with every choice of algorithm that applies; always twice. It checks
 *   - the values: norm-wise, and element by element against the largest;
 *   - that both runs give the same bits, though all scratch, partials, prepared weights and outputs were
 * filled with NaN before the first and with huge numbers before the second;
 *   - that bytes around all buffers, and the inputs, are as they were;
 *   - that padding channels of blocked layouts are zero.
 * A kernel that does not exist is a failure.
 */
#ifndef LAM_TESTS_SUITE_H
#define LAM_TESTS_SUITE_H

#include <stdio.h>

#include "base/status.h"
#include "device/backend.h"

struct suite;

/* The devices stay the caller's. */
lam_status suite_create(const struct lam_backend *backend, struct lam_backend_device *const *devices,
                        int device_count, struct suite **suite);
void suite_destroy(struct suite *suite);

/* Runs the cases (lines as in op_text.h) and prints each failure. Returns the number of cases that failed. */
int suite_run(struct suite *suite, const char *const *cases, int count);

/* Where failures are printed instead of stderr. NULL: they are only counted. */
void suite_report_to(struct suite *suite, FILE *file);

/* How often a kernel with this choice ("winograd") has run: for tests that a path was reached at all. */
int suite_choice_count(const struct suite *suite, const char *choice);

const struct lam_backend *suite_backend(const struct suite *suite);
int suite_device_count(const struct suite *suite);
struct lam_backend_device *suite_device(const struct suite *suite, int index);

/* cmocka's group setup and teardown. The devices are those named in LAMINA_TEST_DEVICES ("cuda:0"), or else
 * CPU devices of 1, 2 and 3 lanes. */
int suite_setup(void **state);
int suite_teardown(void **state);

#define SUITE_RUN(state, cases)                                                                              \
    assert_int_equal(suite_run(*(state), cases, (int)(sizeof(cases) / sizeof *(cases))), 0)

#endif
