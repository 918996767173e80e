/* Error text: per thread, carried between threads, prefixed, never too long. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <pthread.h>
#include <string.h>

#include "base/status.h"

static lam_status fails(int number) {
    return lam_fail(LAM_ERR_FORMAT, "%s: byte %d is wrong", "a.bin", number);
}

static lam_status hands_on(int number) {
    LAM_TRY(LAM_OK);
    LAM_TRY(fails(number));
    return LAM_OK;
}

static void test_failure_is_handed_on(void **state) {
    (void)state;
    assert_int_equal(hands_on(7), LAM_ERR_FORMAT);
    assert_string_equal(lam_error_text(), "a.bin: byte 7 is wrong");
    assert_int_equal(lam_fail_in(LAM_ERR_IO, "train"), LAM_ERR_IO);
    assert_string_equal(lam_error_text(), "train: a.bin: byte 7 is wrong");
}

/* The old text may be an argument of the new one. */
static void test_text_may_quote_itself(void **state) {
    (void)state;
    fails(1);
    lam_fail(LAM_ERR_IO, "twice: %s, %s", lam_error_text(), lam_error_text());
    assert_string_equal(lam_error_text(), "twice: a.bin: byte 1 is wrong, a.bin: byte 1 is wrong");
}

static void test_long_texts_are_cut(void **state) {
    (void)state;
    char text[5000];
    memset(text, 'x', sizeof text - 1);
    text[sizeof text - 1] = 0;
    lam_fail(LAM_ERR_IO, "%s", text);
    assert_true(strlen(lam_error_text()) == 1023);
    lam_fail_in(LAM_ERR_IO, text);
    assert_true(strlen(lam_error_text()) < 1024);
    assert_non_null(strstr(lam_error_text(), "x: x"));
}

static void test_names_and_exit_codes(void **state) {
    (void)state;
    static const struct {
        lam_status status;
        int code;
    } cases[] = {
        {LAM_OK, 0},
        {LAM_ERR_INVALID, 2},
        {LAM_ERR_NOT_FOUND, 2},
        {LAM_ERR_FORMAT, 2},
        {LAM_ERR_IO, 1},
        {LAM_ERR_UNSUPPORTED, 2},
        {LAM_ERR_NO_MEMORY, 1},
        {LAM_ERR_INTERNAL, 1},
        {LAM_ERR_STOPPED, 130},
        {LAM_ERR_MEMORY_LIMIT, 2},
        {LAM_ERR_NOT_FINITE, 1},
        {LAM_ERR_DEVICE, 1},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        assert_int_equal(lam_exit_code(cases[i].status), cases[i].code);
        assert_string_not_equal(lam_status_name(cases[i].status), "unknown status");
        for (size_t k = 0; k < i; k++)
            assert_string_not_equal(lam_status_name(cases[i].status), lam_status_name(cases[k].status));
    }
    assert_string_equal(lam_status_name((lam_status)999), "unknown status");
    assert_int_equal(lam_exit_code((lam_status)999), 1);
}

static void *worker(void *argument) {
    if (lam_error_text()[0] == 0) lam_error_save(argument, fails(42));
    return NULL;
}

static void test_threads_have_their_own(void **state) {
    (void)state;
    struct lam_error error = {.status = LAM_OK};
    pthread_t thread;
    lam_fail(LAM_ERR_IO, "mine");
    assert_int_equal(pthread_create(&thread, NULL, worker, &error), 0);
    assert_int_equal(pthread_join(thread, NULL), 0);
    assert_string_equal(lam_error_text(), "mine");
    assert_int_equal(lam_error_restore(&error), LAM_ERR_FORMAT);
    assert_string_equal(lam_error_text(), "a.bin: byte 42 is wrong");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_failure_is_handed_on),   cmocka_unit_test(test_text_may_quote_itself),
        cmocka_unit_test(test_long_texts_are_cut),     cmocka_unit_test(test_names_and_exit_codes),
        cmocka_unit_test(test_threads_have_their_own),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
