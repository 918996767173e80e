/* A run's logs: whole lines whatever happens, no line twice after a resume; events' checksums; the bar. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <signal.h>
#include <unistd.h>

#include <cmocka.h>

#include <jansson.h>

#include "base/files.h"
#include "train/events.h"
#include "train/metrics.h"
#include "train/progress.h"

static char path[] = "/tmp/lamina-metrics-XXXXXX";

static int make_path(void **state) {
    (void)state;
    int fd = mkstemp(path);
    return fd < 0 ? -1 : close(fd);
}

static int remove_path(void **state) {
    (void)state;
    return unlink(path);
}

static char text[8192]; /* what the file holds */

static void read_back(void) {
    uint8_t *data;
    size_t size;
    assert_int_equal(lam_file_read(path, &data, &size), LAM_OK);
    assert_true(size < sizeof text);
    memcpy(text, data, size + 1);
    free(data);
}

static void lines_and_resume(void **state) {
    (void)state;
    struct lam_lines *lines;
    assert_int_equal(lam_file_write(path, "left over\n", 10), LAM_OK);
    assert_int_equal(lam_lines_open(path, 0, &lines), LAM_OK);
    assert_int_equal(lam_lines_write(lines, "one"), LAM_OK);
    assert_int_equal(lam_lines_write(lines, "two"), LAM_OK);
    uint64_t kept = lam_lines_count(lines);
    assert_int_equal(kept, 2);
    assert_int_equal(lam_lines_write(lines, "three"), LAM_OK);
    assert_int_equal(lam_lines_close(lines), LAM_OK);
    assert_int_equal(lam_lines_open(path, kept, &lines), LAM_OK);
    assert_int_equal(lam_lines_write(lines, "3"), LAM_OK);
    assert_int_equal(lam_lines_close(lines), LAM_OK);
    read_back();
    assert_string_equal(text, "one\ntwo\n3\n");
    /* A torn last line, and a file shorter than what is to be kept. */
    assert_int_equal(lam_file_write(path, "one\ntw", 6), LAM_OK);
    assert_int_equal(lam_lines_open(path, 1000, &lines), LAM_OK);
    assert_int_equal(lam_lines_count(lines), 1);
    assert_int_equal(lam_lines_close(lines), LAM_OK);
    read_back();
    assert_string_equal(text, "one\n");
}

static void long_torn_line(void **state) {
    (void)state;
    static char torn[100000];
    memset(torn, 'x', sizeof torn);
    torn[4] = '\n';
    assert_int_equal(lam_file_write(path, torn, sizeof torn), LAM_OK);
    struct lam_lines *lines;
    assert_int_equal(lam_lines_open(path, UINT64_MAX, &lines), LAM_OK);
    assert_int_equal(lam_lines_count(lines), 1);
    assert_int_equal(lam_lines_write(lines, "next"), LAM_OK);
    assert_int_equal(lam_lines_close(lines), LAM_OK);
    read_back();
    assert_string_equal(text, "xxxx\nnext\n");
}

static void metric_is_json(void **state) {
    (void)state;
    struct lam_lines *lines;
    assert_int_equal(lam_lines_open(path, 0, &lines), LAM_OK);
    struct lam_metric metric = {.step = 10, .epoch = 1, .block = 2, .name = "train/\"loss\"", .value = 0.1};
    assert_int_equal(lam_metric_write(lines, &metric), LAM_OK);
    metric.value = NAN;
    assert_int_equal(lam_metric_write(lines, &metric), LAM_OK);
    assert_int_equal(lam_lines_close(lines), LAM_OK);
    read_back();
    char *second = strchr(text, '\n');
    *second++ = 0;
    json_t *a = json_loads(text, 0, NULL), *b = json_loads(second, 0, NULL);
    assert_int_equal(json_integer_value(json_object_get(a, "step")), 10);
    assert_int_equal(json_integer_value(json_object_get(a, "block")), 2);
    assert_true(json_real_value(json_object_get(a, "value")) == 0.1);
    assert_string_equal(json_string_value(json_object_get(a, "name")), "train/\"loss\"");
    assert_true(json_real_value(json_object_get(a, "time")) > 1.5e9);
    assert_true(json_is_null(json_object_get(b, "value")));
    json_decref(a);
    json_decref(b);
}

/* A file-size limit stands in for a full disk: the torn line is taken back, the error names the file. */
static void full_disk(void **state) {
    (void)state;
    struct lam_lines *lines;
    assert_int_equal(lam_lines_open(path, 0, &lines), LAM_OK);
    assert_int_equal(lam_lines_write(lines, "0123456789"), LAM_OK);
    struct rlimit before, limit;
    getrlimit(RLIMIT_FSIZE, &before);
    limit = before;
    limit.rlim_cur = 15;
    signal(SIGXFSZ, SIG_IGN);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &limit), 0);
    lam_status status = lam_lines_write(lines, "0123456789");
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &before), 0);
    assert_int_equal(status, LAM_ERR_IO);
    assert_non_null(strstr(lam_error_text(), path));
    assert_int_equal(lam_lines_close(lines), LAM_OK);
    read_back();
    assert_string_equal(text, "0123456789\n");
}

static void crc(void **state) {
    (void)state;
    assert_int_equal(lam_crc32c("123456789", 9), 0xE3069283u); /* the polynomial's check value */
    uint8_t zeros[32] = {0};
    assert_int_equal(lam_crc32c(zeros, 32), 0x8A9136AAu); /* RFC 3720, B.4 */
    assert_int_equal(lam_crc32c_masked("123456789", 9), 0xC78AB0E5u);
}

static void progress_text(void **state) {
    (void)state;
    struct lam_progress_state s = {.epoch = 2,
                                   .epochs = 10,
                                   .batch = 50,
                                   .batches = 100,
                                   .loss = 1.25,
                                   .accuracy = 0.5,
                                   .peak_bytes = 300 << 20};
    lam_progress_text(&s, 400, 3661, 100, text, sizeof text);
    assert_int_equal(strlen(text), 100);
    assert_non_null(strstr(text, "epoch 2/10 ["));
    assert_non_null(strstr(text, "50/100  loss 1.2500  acc 0.500  400 img/s  left 1:01:01  peak 300 MiB"));
    for (int width = 1; width < 120; width++)
        assert_true((int)strlen(lam_progress_text(&s, 400, 3661, width, text, sizeof text)) <=
                    (width < 11 ? 11 : width));
    s.stages = "97/2/1 5/95/0";
    lam_progress_text(&s, 400, 3661, 0, text, sizeof text);
    assert_non_null(strstr(text, "peak 300 MiB  busy/starved/blocked 97/2/1 5/95/0 %"));
    lam_progress_text(&s, 0, 0, 0, text, sizeof text);
    assert_null(strchr(text, '['));
    assert_non_null(strstr(text, "left -:--"));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(lines_and_resume),
        cmocka_unit_test(long_torn_line),
        cmocka_unit_test(metric_is_json),
        cmocka_unit_test(full_disk),
        cmocka_unit_test(crc),
        cmocka_unit_test(progress_text),
    };
    return cmocka_run_group_tests(tests, make_path, remove_path);
}
