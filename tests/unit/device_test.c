/* Devices: names, pools and their counters, lanes and barriers, copies. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include "device/device.h"

#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* Sanitizers' allocators abort on the absurd size below unless told not to. */
const char *__asan_default_options(void);
const char *__tsan_default_options(void);
const char *__asan_default_options(void) {
    return "allocator_may_return_null=1";
}
const char *__tsan_default_options(void) {
    return "allocator_may_return_null=1";
}

static struct lam_device *open_device(const char *name, size_t limit) {
    struct lam_device *device = NULL;
    if (lam_device_open(name, limit, &device) != LAM_OK) fail_msg("%s: %s", name, lam_error_text());
    return device;
}

/* ---- names ---- */

static void names_that_are_none(void **state) {
    (void)state;
    static const char *const bad[] = {"",          "cpu",    "cpu:",      "cpu:x",  "cpu:-1", "cpu:1-0",
                                      "cpu:0-",    "cpu:0 ", "cpu:0-1-2", "gpu:0",  "0",      "cpu:99999",
                                      "cpu:0-999", "cpu:+1", "cpu:0-+1",  "cpux:0", ":0"};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        struct lam_device *device = (void *)0x1;
        assert_int_equal(lam_device_open(bad[i], 0, &device), LAM_ERR_INVALID);
        assert_ptr_equal(device, (void *)0x1);
        assert_true(strlen(lam_error_text()) > 0);
    }
}

static void a_kind_without_module_is_not_found(void **state) {
    (void)state;
    struct lam_device *device = NULL;
    lam_status status = lam_device_open("cuda:0", 0, &device);
    if (status == LAM_OK) { /* a machine with the CUDA module */
        lam_device_close(device);
        skip();
    }
    assert_int_equal(status, LAM_ERR_NOT_FOUND);
    assert_non_null(strstr(lam_error_text(), "cuda"));
}

static void describes_itself(void **state) {
    (void)state;
    struct lam_device *device = open_device("cpu:0", 77);
    assert_string_equal(lam_device_name(device), "cpu:0");
    assert_int_equal(lam_device_lanes(device), 1);
    assert_int_equal(lam_device_limit(device), 77);
    assert_ptr_equal(strstr(lam_device_describe(device), "1 core of "), lam_device_describe(device));
    assert_null(strstr(lam_device_describe(device), "shared"));
    assert_true(lam_device_backend(device)->total_memory(lam_device_handle(device)) > (64u << 20));
    lam_device_close(device);
    device = open_device("cpu:1000-1002", 0);
    assert_int_equal(lam_device_lanes(device), 3);
    assert_non_null(strstr(lam_device_describe(device), "shared"));
    lam_device_close(device);
}

static void check_list(const char *text, const char *const *names, int count) {
    char **list = NULL;
    int found = -1;
    assert_int_equal(lam_device_list_parse(text, &list, &found), LAM_OK);
    assert_int_equal(found, count);
    for (int i = 0; i < count; i++) {
        assert_string_equal(list[i], names[i]);
        free(list[i]);
    }
    free(list);
}

static void parses_lists(void **state) {
    (void)state;
    check_list("cpu:0,cpu:1", (const char *[]){"cpu:0", "cpu:1"}, 2);
    check_list("cpu:0-1", (const char *[]){"cpu:0-1"}, 1);
    check_list(" cpu:0-1 , cuda:3 ", (const char *[]){"cpu:0-1", "cuda:3"}, 2);

    cpu_set_t set;
    assert_int_equal(sched_getaffinity(0, sizeof set, &set), 0);
    char all[32] = "cpu:0";
    if (CPU_COUNT(&set) > 1) snprintf(all, sizeof all, "cpu:0-%d", CPU_COUNT(&set) - 1);
    check_list("auto", (const char *[]){all}, 1);

    static const char *const bad[] = {"", ",", "cpu:0,", "cpu:0,,cpu:1", "cpu:0 cpu:1,gpu:0", "auto,cpu:0"};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        char **list = NULL;
        int count = -1;
        assert_int_equal(lam_device_list_parse(bad[i], &list, &count), LAM_ERR_INVALID);
        assert_null(list);
        assert_int_equal(count, -1);
    }
}

/* ---- pools ---- */

static void check_memory(struct lam_device *device, enum lam_memory_kind kind, size_t current, size_t peak) {
    struct lam_memory_stats stats = lam_device_memory(device, kind);
    assert_int_equal(stats.current, current);
    assert_int_equal(stats.peak, peak);
}

static void check_total(struct lam_device *device, size_t current, size_t peak) {
    struct lam_memory_stats stats = lam_device_memory_total(device);
    assert_int_equal(stats.current, current);
    assert_int_equal(stats.peak, peak);
}

static void counts_by_kind(void **state) {
    (void)state;
    struct lam_device *device = open_device("cpu:0", 0);
    void *a, *b, *c;
    assert_int_equal(lam_device_alloc(device, LAM_MEMORY_PARAMETERS, 1000, &a), LAM_OK);
    assert_int_equal(lam_device_alloc(device, LAM_MEMORY_QUEUE, 500, &b), LAM_OK);
    check_memory(device, LAM_MEMORY_PARAMETERS, 1000, 1000);
    check_total(device, 1500, 1500);
    lam_device_free(device, a);
    check_memory(device, LAM_MEMORY_PARAMETERS, 0, 1000);
    assert_int_equal(lam_device_alloc(device, LAM_MEMORY_PARAMETERS, 600, &c), LAM_OK);
    check_memory(device, LAM_MEMORY_PARAMETERS, 600, 1000);
    check_total(device, 1100, 1500); /* the peak of the sum, not the sum of the peaks */
    lam_device_memory_reset_peak(device);
    check_memory(device, LAM_MEMORY_PARAMETERS, 600, 600);
    check_total(device, 1100, 1100);
    check_memory(device, LAM_MEMORY_DATA, 0, 0);
    lam_device_free(device, NULL);
    lam_device_close(device); /* frees b and c; the leak checker watches */
}

static void holds_the_limit(void **state) {
    (void)state;
    struct lam_device *device = open_device("cpu:0", 1000);
    void *a, *b = (void *)0x1;
    assert_int_equal(lam_device_alloc(device, LAM_MEMORY_DATA, 600, &a), LAM_OK);
    assert_int_equal(lam_device_alloc(device, LAM_MEMORY_ACTIVATIONS, 401, &b), LAM_ERR_MEMORY_LIMIT);
    assert_null(b);
    assert_non_null(strstr(lam_error_text(), "activations"));
    assert_non_null(strstr(lam_error_text(), "cpu:0"));
    check_total(device, 600, 600);
    check_memory(device, LAM_MEMORY_ACTIVATIONS, 0, 0);
    assert_int_equal(lam_device_alloc(device, LAM_MEMORY_ACTIVATIONS, SIZE_MAX, &b), LAM_ERR_MEMORY_LIMIT);
    assert_int_equal(lam_device_alloc(device, LAM_MEMORY_ACTIVATIONS, 400, &b), LAM_OK);
    lam_device_close(device);
}

static void a_system_without_memory_is_an_error(void **state) {
    (void)state;
    struct lam_device *device = open_device("cpu:0", 0);
    void *pointer;
    assert_int_equal(lam_device_alloc(device, LAM_MEMORY_DATA, SIZE_MAX / 2, &pointer), LAM_ERR_NO_MEMORY);
    assert_null(pointer);
    check_total(device, 0, 0);
    lam_device_close(device);
}

static void memory_is_aligned_and_zero(void **state) {
    (void)state;
    struct lam_device *device = open_device("cpu:0", 0);
    static const size_t sizes[] = {1, 63, 100, 4097, (2u << 20) - 1, 2u << 20, (5u << 20) + 3};
    for (int round = 0; round < 2; round++)
        for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
            unsigned char *bytes;
            assert_int_equal(lam_device_alloc(device, LAM_MEMORY_DATA, sizes[i], (void **)&bytes), LAM_OK);
            assert_int_equal((uintptr_t)bytes % 64, 0);
            for (size_t k = 0; k < sizes[i]; k++)
                if (bytes[k] != 0) fail_msg("byte %zu of %zu is not zero", k, sizes[i]);
            memset(bytes, 0xA5, sizes[i]); /* the next round must not see this */
            lam_device_free(device, bytes);
        }
    void *none = (void *)0x1;
    assert_int_equal(lam_device_alloc(device, LAM_MEMORY_DATA, 0, &none), LAM_OK);
    assert_null(none);
    lam_device_close(device);
}

static void *allocate_often(void *argument) {
    struct lam_device *device = argument;
    for (size_t i = 0; i < 500; i++) {
        void *pointer;
        if (lam_device_alloc(device, LAM_MEMORY_QUEUE, 64 + i, &pointer) != LAM_OK) return device;
        lam_device_free(device, pointer);
    }
    return NULL;
}

static void pools_are_thread_safe(void **state) {
    (void)state;
    struct lam_device *device = open_device("cpu:0", 0);
    pthread_t threads[4];
    for (int i = 0; i < 4; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, allocate_often, device), 0);
    for (int i = 0; i < 4; i++) {
        void *failed;
        assert_int_equal(pthread_join(threads[i], &failed), 0);
        assert_null(failed);
    }
    assert_int_equal(lam_device_memory(device, LAM_MEMORY_QUEUE).current, 0);
    lam_device_close(device);
}

static void copies(void **state) {
    (void)state;
    struct lam_device *device = open_device("cpu:0", 0);
    float host[5] = {1, 2, 3, 4, 5}, back[5] = {0};
    void *a, *b;
    assert_int_equal(lam_device_alloc(device, LAM_MEMORY_DATA, sizeof host, &a), LAM_OK);
    assert_int_equal(lam_device_alloc(device, LAM_MEMORY_DATA, sizeof host, &b), LAM_OK);
    assert_int_equal(lam_device_upload(device, a, host, sizeof host), LAM_OK);
    const struct lam_backend *backend = lam_device_backend(device);
    assert_int_equal(backend->copy(lam_device_stream(device), b, a, sizeof host), LAM_OK);
    assert_int_equal(lam_device_download(device, back, b, sizeof back), LAM_OK);
    assert_memory_equal(host, back, sizeof host);
    lam_device_close(device);
}

/* ---- lanes ---- */

enum { ROUNDS = 400, MOST_LANES = 5 };

struct meeting {
    const struct lam_backend *backend;
    struct lam_backend_device *handle;
    int lanes, core[MOST_LANES], calls[MOST_LANES];
    int board[2][MOST_LANES]; /* what each lane wrote in this round and in the one before */
    _Atomic int wrong;
    bool sleepy;
};

/* Each round every lane writes its number, meets the others and checks that it sees all of their numbers. */
static void meet(void *context, int lane) {
    struct meeting *m = context;
    m->core[lane] = sched_getcpu();
    m->calls[lane]++;
    for (int round = 0; round < ROUNDS; round++) {
        if (m->sleepy && (round + lane) % 97 == 0) usleep(1000);
        int *board = m->board[round % 2];
        board[lane] = round * 10 + lane;
        m->backend->lane_barrier(m->handle, lane);
        for (int other = 0; other < m->lanes; other++)
            if (board[other] != round * 10 + other) atomic_fetch_add(&m->wrong, 1);
    }
}

static void check_meeting(const char *name, int lanes, bool sleepy) {
    struct lam_device *device = open_device(name, 0);
    struct meeting m = {.backend = lam_device_backend(device),
                        .handle = lam_device_handle(device),
                        .lanes = lanes,
                        .sleepy = sleepy};
    assert_int_equal(lam_device_lanes(device), lanes);
    for (int run = 1; run <= 5; run++) {
        m.backend->run_lanes(m.handle, meet, &m);
        for (int lane = 0; lane < lanes; lane++) assert_int_equal(m.calls[lane], run);
    }
    assert_int_equal(atomic_load(&m.wrong), 0);

    cpu_set_t set;
    assert_int_equal(sched_getaffinity(0, sizeof set, &set), 0);
    for (int lane = 0; lane < lanes; lane++) assert_true(CPU_ISSET((size_t)m.core[lane], &set));
    if (CPU_COUNT(&set) >= lanes)
        for (int lane = 1; lane < lanes; lane++) assert_int_not_equal(m.core[lane], m.core[lane - 1]);
    lam_device_close(device);
}

static void lanes_meet(void **state) {
    (void)state;
    check_meeting("cpu:0", 1, false);
    check_meeting("cpu:0-1", 2, false);
    check_meeting("cpu:0-4", 5, false); /* more lanes than cores, where there are few */
}

static void lanes_meet_after_sleep(void **state) {
    (void)state;
    check_meeting("cpu:0-1", 2, true);
    check_meeting("cpu:0-2", 3, true);
}

static void devices_have_their_own_cores(void **state) {
    (void)state;
    cpu_set_t set;
    assert_int_equal(sched_getaffinity(0, sizeof set, &set), 0);
    if (CPU_COUNT(&set) < 2) skip();
    struct lam_device *first = open_device("cpu:0", 0), *second = open_device("cpu:1", 0);
    struct meeting a = {lam_device_backend(first), lam_device_handle(first), .lanes = 1};
    struct meeting b = {lam_device_backend(second), lam_device_handle(second), .lanes = 1};
    a.backend->run_lanes(a.handle, meet, &a);
    b.backend->run_lanes(b.handle, meet, &b);
    assert_int_not_equal(a.core[0], b.core[0]);
    lam_device_close(first);
    lam_device_close(second);
}

static void layouts(void **state) {
    (void)state;
    struct lam_device *device = open_device("cpu:0", 0);
    const struct lam_backend *backend = lam_device_backend(device);
    struct lam_backend_device *handle = lam_device_handle(device);
    struct lam_tensor_desc image = {LAM_F32, LAM_PLAIN, LAM_SHAPE(8, 3, 32, 32)};
    struct lam_tensor_desc wide = {LAM_BF16, LAM_PLAIN, LAM_SHAPE(8, 40, 32, 32)};
    struct lam_tensor_desc tokens = {LAM_F32, LAM_PLAIN, LAM_SHAPE(8, 65, 192)};
    assert_int_equal(backend->layout(handle, &image), LAM_PLAIN);
    assert_int_equal(backend->layout(handle, &tokens), LAM_PLAIN);
    assert_true(lam_layout_block(backend->layout(handle, &wide)) >= 8);
    lam_device_close(device);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(names_that_are_none),
        cmocka_unit_test(a_kind_without_module_is_not_found),
        cmocka_unit_test(describes_itself),
        cmocka_unit_test(parses_lists),
        cmocka_unit_test(counts_by_kind),
        cmocka_unit_test(holds_the_limit),
        cmocka_unit_test(a_system_without_memory_is_an_error),
        cmocka_unit_test(memory_is_aligned_and_zero),
        cmocka_unit_test(pools_are_thread_safe),
        cmocka_unit_test(copies),
        cmocka_unit_test(lanes_meet),
        cmocka_unit_test(lanes_meet_after_sleep),
        cmocka_unit_test(devices_have_their_own_cores),
        cmocka_unit_test(layouts),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
