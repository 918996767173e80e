/* Traces: the file is what Chrome's format says, overflow is counted, and writing beside recording gives whole
 * spans. */
#include <dirent.h>
#include <math.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include <cmocka.h>
#include <jansson.h>

#include "base/files.h"
#include "pipeline/trace.h"

static char folder[64], path[128];

static int make_folder(void **state) {
    (void)state;
    strcpy(folder, "/tmp/lamina_trace_XXXXXX");
    if (!mkdtemp(folder)) return -1;
    snprintf(path, sizeof path, "%s/trace.json", folder);
    return 0;
}

static int remove_folder(void **state) {
    (void)state;
    unlink(path);
    return rmdir(folder); /* fails if anything was left beside */
}

static struct lam_trace *create(int lanes, int capacity) {
    struct lam_trace *trace = NULL;
    assert_int_equal(lam_trace_create(lanes, capacity, &trace), LAM_OK);
    return trace;
}

static json_t *write_and_load(const struct lam_trace *trace) {
    if (lam_trace_write(trace, path) != LAM_OK) fail_msg("%s", lam_error_text());
    json_error_t error;
    json_t *root = json_load_file(path, JSON_REJECT_DUPLICATES, &error);
    if (!root) fail_msg("line %d: %s", error.line, error.text);
    return root;
}

static const char *text_of(const json_t *event, const char *key) {
    const char *text = json_string_value(json_object_get(event, key));
    return text ? text : "";
}

static double number_of(const json_t *event, const char *key) {
    const json_t *value = json_object_get(event, key);
    assert_true(json_is_number(value));
    return json_number_value(value);
}

/* The n-th event of a lane with this "ph" and, unless NULL, this name. */
static const json_t *event_of(const json_t *root, int lane, const char *ph, const char *name, int n) {
    const json_t *events = json_object_get(root, "traceEvents");
    for (size_t i = 0; i < json_array_size(events); i++) {
        const json_t *e = json_array_get(events, i);
        bool fits =
            !strcmp(text_of(e, "ph"), ph) && json_integer_value(json_object_get(e, "tid")) == lane + 1;
        if (fits && (!name || !strcmp(text_of(e, "name"), name)) && n-- == 0) return e;
    }
    return NULL;
}

static json_int_t lost_of(const json_t *root, int lane) {
    const json_t *lost = json_object_get(json_object_get(root, "otherData"), "lost");
    const json_t *value = json_array_get(lost, (size_t)lane);
    assert_true(json_is_integer(value));
    return json_integer_value(value);
}

static void a_span_is_a_complete_event(void **state) {
    (void)state;
    struct lam_trace *trace = create(2, 8);
    lam_trace_lane(trace, 0, "cpu:0  stem..layer1.4");
    lam_trace_lane(trace, 1, "cpu:1 \"\\\n\xC3\xA9");
    lam_trace_span(trace, 1, LAM_TRACE_FORWARD, 2, 41, 12345.000001, 12345.25);
    lam_trace_span(trace, 1, LAM_TRACE_STARVED, 0, 5000000000, 12345.25, 12345.2500004);
    json_t *root = write_and_load(trace);

    const json_t *e = event_of(root, 1, "X", NULL, 0);
    assert_string_equal(text_of(e, "name"), "forward");
    assert_string_equal(text_of(e, "cat"), "work");
    assert_int_equal(number_of(e, "pid"), 1);
    assert_true(fabs(number_of(e, "ts") - 12345000001.0) < 0.01);
    assert_true(fabs(number_of(e, "dur") - 249999) < 0.01);
    assert_int_equal(number_of(json_object_get(e, "args"), "step"), 41);
    assert_int_equal(number_of(json_object_get(e, "args"), "block"), 2);

    e = event_of(root, 1, "X", NULL, 1);
    assert_string_equal(text_of(e, "name"), "starved");
    assert_string_equal(text_of(e, "cat"), "wait");
    assert_true(fabs(number_of(e, "dur") - 0.4) < 0.01);
    assert_true(number_of(json_object_get(e, "args"), "step") == 5000000000.0);
    assert_int_equal(number_of(json_object_get(e, "args"), "block"), 0);
    assert_null(event_of(root, 1, "X", NULL, 2));
    assert_null(event_of(root, 0, "X", NULL, 0));
    json_decref(root);
    lam_trace_destroy(trace);
}

static void every_lane_has_one_name(void **state) {
    (void)state;
    struct lam_trace *trace = create(4, 8);
    char many[200] = {0};
    memset(many, 'a', 126);
    strcat(many, "\xC3\xA9 and more"); /* the cut would fall inside the e with its accent */
    lam_trace_lane(trace, 0, "cpu:0 \"\\\n\xC3\xA9");
    lam_trace_lane(trace, 1, many);
    lam_trace_lane(trace, 2, "\xFF");
    const char *names[] = {"cpu:0 \"\\\n\xC3\xA9", many, "?", "lane 3"};
    json_t *root = write_and_load(trace);
    many[126] = 0;
    for (int lane = 0; lane < 4; lane++) {
        const json_t *e = event_of(root, lane, "M", "thread_name", 0);
        assert_string_equal(text_of(json_object_get(e, "args"), "name"), names[lane]);
        assert_null(event_of(root, lane, "M", "thread_name", 1));
        e = event_of(root, lane, "M", "thread_sort_index", 0);
        assert_int_equal(number_of(json_object_get(e, "args"), "sort_index"), lane);
    }
    json_decref(root);
    lam_trace_destroy(trace);
}

static void every_kind_has_its_name(void **state) {
    (void)state;
    struct lam_trace *trace = create(1, LAM_TRACE_KINDS);
    for (int kind = 0; kind < LAM_TRACE_KINDS; kind++) lam_trace_span(trace, 0, kind, 1, 0, kind, kind + 1);
    json_t *root = write_and_load(trace);
    for (int kind = 0; kind < LAM_TRACE_KINDS; kind++)
        assert_string_equal(text_of(event_of(root, 0, "X", NULL, kind), "name"), lam_trace_kind_name(kind));
    assert_string_equal(lam_trace_kind_name(LAM_TRACE_STEP), "forward and backward");
    assert_string_equal(lam_trace_kind_name(LAM_TRACE_KINDS), "unknown");
    json_decref(root);
    lam_trace_destroy(trace);
}

static void the_newest_spans_are_kept(void **state) {
    (void)state;
    for (int capacity = 1; capacity <= 5; capacity++)
        for (int spans = 0; spans <= 13; spans++) {
            struct lam_trace *trace = create(2, capacity);
            for (int i = 0; i < spans; i++)
                lam_trace_span(trace, 1, LAM_TRACE_UPDATE, 1, (uint64_t)i, i, i + 1);
            json_t *root = write_and_load(trace);
            int lost = spans > capacity ? spans - capacity : 0;
            assert_int_equal(lost_of(root, 0), 0);
            assert_int_equal(lost_of(root, 1), lost);
            for (int i = lost; i < spans; i++) {
                const json_t *e = event_of(root, 1, "X", NULL, i - lost);
                assert_int_equal(number_of(json_object_get(e, "args"), "step"), i);
            }
            assert_null(event_of(root, 1, "X", NULL, spans - lost));
            json_decref(root);
            lam_trace_destroy(trace);
        }
}

static void what_is_no_span_is_left_out(void **state) {
    (void)state;
    struct lam_trace *trace = create(1, 8);
    lam_trace_span(NULL, 0, LAM_TRACE_UPDATE, 1, 1, 0, 1);
    lam_trace_lane(NULL, 0, "none");
    lam_trace_lane(trace, 1, "none");
    lam_trace_lane(trace, -1, "none");
    lam_trace_span(trace, 1, LAM_TRACE_UPDATE, 1, 1, 0, 1);
    lam_trace_span(trace, -1, LAM_TRACE_UPDATE, 1, 1, 0, 1);
    lam_trace_span(trace, 0, LAM_TRACE_KINDS, 1, 1, 0, 1);
    lam_trace_span(trace, 0, LAM_TRACE_UPDATE, 1, 1, 1, 0.5);
    lam_trace_span(trace, 0, LAM_TRACE_UPDATE, 1, 1, -1, 0.5);
    lam_trace_span(trace, 0, LAM_TRACE_UPDATE, 1, 1, NAN, 1);
    lam_trace_span(trace, 0, LAM_TRACE_UPDATE, 1, 1, 0, NAN);
    lam_trace_span(trace, 0, LAM_TRACE_UPDATE, 1, 1, 0, INFINITY);
    json_t *root = write_and_load(trace);
    assert_null(event_of(root, 0, "X", NULL, 0));
    assert_int_equal(lost_of(root, 0), 0);
    json_decref(root);
    lam_trace_destroy(trace);
}

static void bad_sizes_are_refused(void **state) {
    (void)state;
    struct lam_trace *trace = NULL;
    assert_int_equal(lam_trace_create(0, 1, &trace), LAM_ERR_INVALID);
    assert_int_equal(lam_trace_create(1, 0, &trace), LAM_ERR_INVALID);
    assert_int_equal(lam_trace_create(-1, 5, &trace), LAM_ERR_INVALID);
    assert_int_equal(lam_trace_create(1 << 20, 5, &trace), LAM_ERR_INVALID);
    assert_non_null(strstr(lam_error_text(), "1048576 lanes"));
    assert_null(trace);
    lam_trace_destroy(NULL);
}

static void a_failed_write_keeps_the_file(void **state) {
    (void)state;
    struct lam_trace *trace = create(1, 8);
    assert_int_equal(lam_trace_write(trace, "/no/such/folder/trace.json"), LAM_ERR_IO);
    assert_non_null(strstr(lam_error_text(), "/no/such/folder/trace.json"));
    unlink(path);
    assert_int_equal(lam_trace_write(NULL, path), LAM_OK);
    assert_false(lam_path_exists(path));
    lam_trace_span(trace, 0, LAM_TRACE_STEP, 1, 1, 0, 1);
    json_decref(write_and_load(trace));

    struct rlimit limit, small;
    getrlimit(RLIMIT_FSIZE, &limit);
    small = (struct rlimit){.rlim_cur = 100, .rlim_max = limit.rlim_max};
    signal(SIGXFSZ, SIG_IGN);
    setrlimit(RLIMIT_FSIZE, &small); /* as a full disk does */
    lam_trace_span(trace, 0, LAM_TRACE_STEP, 1, 2, 1, 2);
    lam_status status = lam_trace_write(trace, path);
    setrlimit(RLIMIT_FSIZE, &limit);
    assert_int_equal(status, LAM_ERR_IO);
    json_t *root = json_load_file(path, 0, NULL);
    assert_non_null(event_of(root, 0, "X", NULL, 0));
    assert_null(event_of(root, 0, "X", NULL, 1));
    json_decref(root);

    root = write_and_load(trace);
    assert_non_null(event_of(root, 0, "X", NULL, 1));
    json_decref(root);
    lam_trace_destroy(trace);
}

/* ---- recording and writing at the same time ---- */

enum { LANES = 3, CAPACITY = 24, WRITES = 60 };

struct recorder {
    struct lam_trace *trace;
    int lane;
    atomic_bool *stop;
    atomic_ullong recorded;
};

/* Spans whose parts all follow from the step, so that a torn one shows. Lane 0 runs through its ring all the time;
 * the others rest now and then, so that a writer finds spans that stay, and some that are just being written over. */
static void *record(void *context) {
    struct recorder *r = context;
    for (uint64_t step = 0; !atomic_load(r->stop); step++) {
        double begin = (double)(step % 1000000) + 0.125 * r->lane;
        lam_trace_span(r->trace, r->lane, (enum lam_trace_kind)(step % LAM_TRACE_KINDS), (int)(step % 1009),
                       step, begin, begin + 0.5 + (double)(step % 7));
        atomic_store(&r->recorded, step + 1);
        if (r->lane > 0 && step % (uint64_t)(4 * r->lane) == 0) usleep(1);
    }
    return NULL;
}

static void check_span(const json_t *e, int lane, uint64_t step) {
    const json_t *args = json_object_get(e, "args");
    assert_true(number_of(args, "step") == (double)step);
    assert_true(number_of(args, "block") == (double)(step % 1009));
    assert_string_equal(text_of(e, "name"), lam_trace_kind_name(step % LAM_TRACE_KINDS));
    assert_true(fabs(number_of(e, "ts") - 1e6 * ((double)(step % 1000000) + 0.125 * lane)) < 0.01);
    assert_true(fabs(number_of(e, "dur") - 1e6 * (0.5 + (double)(step % 7))) < 0.01);
}

static uint64_t check_lane(const json_t *root, int lane) {
    uint64_t step = (uint64_t)lost_of(root, lane);
    const json_t *e;
    int n = 0;
    for (; (e = event_of(root, lane, "X", NULL, n)); n++) check_span(e, lane, step++);
    assert_true(n <= CAPACITY);
    return step;
}

static void writing_beside_recording(void **state) {
    (void)state;
    struct lam_trace *trace = create(LANES, CAPACITY);
    static atomic_bool stop = false; /* the threads outlive a check that fails */
    static struct recorder recorders[LANES];
    pthread_t threads[LANES];
    uint64_t seen[LANES] = {0};
    for (int i = 0; i < LANES; i++) {
        recorders[i].trace = trace;
        recorders[i].lane = i;
        recorders[i].stop = &stop;
        assert_int_equal(pthread_create(&threads[i], NULL, record, &recorders[i]), 0);
    }
    for (int n = 0; n < WRITES; n++) {
        json_t *root = write_and_load(trace);
        for (int i = 0; i < LANES; i++) {
            uint64_t end = check_lane(root, i);
            assert_true(end >= seen[i]);
            seen[i] = end;
        }
        json_decref(root);
    }
    atomic_store(&stop, true);
    for (int i = 0; i < LANES; i++) pthread_join(threads[i], NULL);
    json_t *root = write_and_load(trace); /* now nothing is missing */
    for (int i = 0; i < LANES; i++) assert_true(check_lane(root, i) == atomic_load(&recorders[i].recorded));
    json_decref(root);
    lam_trace_destroy(trace);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_span_is_a_complete_event),    cmocka_unit_test(every_lane_has_one_name),
        cmocka_unit_test(every_kind_has_its_name),       cmocka_unit_test(the_newest_spans_are_kept),
        cmocka_unit_test(what_is_no_span_is_left_out),   cmocka_unit_test(bad_sizes_are_refused),
        cmocka_unit_test(a_failed_write_keeps_the_file), cmocka_unit_test(writing_beside_recording),
    };
    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
