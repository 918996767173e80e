/* The loader: what is in a batch depends on seed and epoch alone, whatever the threads do; any batch can be
 * the first; errors come in order; it can be ended at any time; memory is what was asked for. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/rng.h"
#include "data/loader.h"

/* A sample is its number, epoch and place, and some random numbers. */
struct task {
    int64_t bad[4]; /* samples that cannot be read */
    int bad_count;
    int sleep_us; /* at most, for a random time */
    atomic_int calls;
    int threads;
    atomic_int per_thread[16];
    atomic_llong furthest; /* batch */
};

static const struct lam_field fields[] = {{"where", LAM_I32, {.rank = 1, .dim = {4}}},
                                          {"noise", LAM_F32, {.rank = 2, .dim = {2, 3}}},
                                          {"byte", LAM_U8, {0}}};

static lam_status fill(void *context, const struct lam_fill *at, void *const *data) {
    struct task *task = context;
    atomic_fetch_add(&task->calls, 1);
    if (at->thread < 0 || at->thread >= task->threads)
        return lam_fail(LAM_ERR_INTERNAL, "thread %d", at->thread);
    if (atomic_fetch_add(&task->per_thread[at->thread], 1) != 0)
        return lam_fail(LAM_ERR_INTERNAL, "shared scratch");
    long long furthest = atomic_load(&task->furthest);
    while (at->batch > furthest && !atomic_compare_exchange_weak(&task->furthest, &furthest, at->batch))
        continue;
    struct lam_rng rng = lam_rng_make(at->seed, LAM_RNG_AUGMENT, at->epoch, (uint64_t)at->index);
    int32_t *where = data[0];
    where[0] = (int32_t)at->index;
    where[1] = (int32_t)at->epoch;
    where[2] = (int32_t)at->batch;
    where[3] = (int32_t)at->batch_indices[(at->slot + 1) % at->batch_count]; /* a partner, as for mixup */
    float *noise = data[1];
    for (int i = 0; i < 6; i++) noise[i] = lam_rng_uniform(&rng);
    *(uint8_t *)data[2] = (uint8_t)at->slot;
    if (task->sleep_us) {
        struct lam_rng nap = lam_rng_make(77, LAM_RNG_TEST, at->epoch, (uint64_t)at->index);
        usleep(lam_rng_below(&nap, (uint32_t)task->sleep_us));
    }
    atomic_fetch_sub(&task->per_thread[at->thread], 1);
    for (int i = 0; i < task->bad_count; i++)
        if (at->index == task->bad[i]) return lam_fail(LAM_ERR_FORMAT, "sample %d is bad", (int)at->index);
    return LAM_OK;
}

struct fixture {
    struct task task;
    struct lam_loader_options options;
    struct lam_device *device;
    struct lam_loader *loader;
};

static struct fixture prepare(int count, int batch, int threads) {
    struct fixture f = {.task = {.threads = threads, .furthest = -1}};
    f.options = (struct lam_loader_options){.batch = batch,
                                            .count = count,
                                            .shuffle = true,
                                            .seed = 5,
                                            .threads = threads,
                                            .prefetch = 3,
                                            .fields = fields,
                                            .field_count = 3,
                                            .fill = fill};
    if (lam_device_open("cpu:0", 0, &f.device) != LAM_OK) fail_msg("%s", lam_error_text());
    return f;
}

static void create(struct fixture *f) {
    f->options.context = &f->task;
    if (lam_loader_create(&f->options, f->device, &f->loader) != LAM_OK) fail_msg("%s", lam_error_text());
}

static void finish(struct fixture *f) {
    lam_loader_destroy(f->loader);
    assert_int_equal(lam_device_memory(f->device, LAM_MEMORY_DATA).current, 0);
    lam_device_close(f->device);
}

static struct lam_batch *next(struct fixture *f) {
    struct lam_batch *batch = NULL;
    if (lam_loader_next(f->loader, &batch) != LAM_OK) fail_msg("%s", lam_error_text());
    return batch;
}

static void start(struct fixture *f, uint64_t epoch, int64_t first) {
    if (lam_loader_start(f->loader, epoch, first) != LAM_OK) fail_msg("%s", lam_error_text());
}

/* All bytes of the real samples of an epoch from `first` on, after one another. */
static size_t record(struct fixture *f, uint64_t epoch, int64_t first, uint8_t *bytes) {
    size_t used = 0;
    int64_t number = first;
    start(f, epoch, first);
    for (struct lam_batch *b; (b = next(f)); lam_loader_release(f->loader, b)) {
        assert_int_equal(b->number, number++);
        assert_int_equal(b->epoch, epoch);
        int rows = f->options.pad_last ? f->options.batch : b->count;
        static const size_t sizes[] = {16, 24, 1};
        for (int k = 0; k < 3; k++) {
            memcpy(bytes + used, b->data[k], (size_t)rows * sizes[k]);
            used += (size_t)rows * sizes[k];
        }
    }
    assert_int_equal(number, lam_loader_batches(f->loader));
    assert_null(next(f)); /* and stays over */
    return used;
}

static uint8_t recorded[2][1 << 18];

static void any_number_of_threads_gives_the_same_bytes(void **state) {
    (void)state;
    for (int last = 0; last < 3; last++) {
        size_t first_size = 0;
        for (int threads = 1; threads <= 4; threads++) {
            struct fixture f = prepare(1003, 32, threads);
            f.options.drop_last = last == 1;
            f.options.pad_last = last == 2;
            f.options.prefetch = threads == 4 ? 5 : 2;
            f.task.sleep_us = threads == 3 ? 60 : 0;
            create(&f);
            size_t size = record(&f, 3, 0, recorded[threads > 1]);
            if (threads == 1) first_size = size;
            assert_int_equal(size, first_size);
            assert_memory_equal(recorded[0], recorded[threads > 1], size);
            finish(&f);
        }
    }
}

static void an_epoch_has_every_sample_once(void **state) {
    (void)state;
    enum { COUNT = 203 };
    uint32_t orders[3][COUNT];
    struct fixture f = prepare(COUNT, 20, 2);
    create(&f);
    for (uint64_t epoch = 0; epoch < 3; epoch++) {
        int seen[COUNT] = {0}, position = 0;
        lam_loader_order(&f.options, epoch, orders[epoch]);
        start(&f, epoch, 0);
        for (struct lam_batch *b; (b = next(&f)); lam_loader_release(f.loader, b))
            for (int i = 0; i < b->count; i++) {
                const int32_t *where = (const int32_t *)b->data[0] + 4 * i;
                assert_int_equal(where[0], orders[epoch][position++]);
                assert_int_equal(where[0], b->indices[i]);
                assert_int_equal(where[1], epoch);
                assert_int_equal(where[2], b->number);
                assert_int_equal(where[3], b->indices[(i + 1) % b->count]);
                assert_int_equal(((const uint8_t *)b->data[2])[i], i);
                seen[where[0]]++;
            }
        for (int i = 0; i < COUNT; i++) assert_int_equal(seen[i], 1);
    }
    assert_memory_not_equal(orders[0], orders[1], sizeof orders[0]);
    assert_memory_not_equal(orders[1], orders[2], sizeof orders[0]);
    finish(&f);
    f = prepare(COUNT, 20, 2);
    f.options.shuffle = false;
    lam_loader_order(&f.options, 7, orders[0]);
    for (uint32_t i = 0; i < COUNT; i++) assert_int_equal(orders[0][i], i);
    lam_device_close(f.device);
}

static void any_batch_can_be_the_first(void **state) {
    (void)state;
    struct fixture f = prepare(310, 16, 2);
    f.task.sleep_us = 30;
    create(&f);
    int64_t batches = lam_loader_batches(f.loader);
    assert_int_equal(batches, 20);
    size_t whole = record(&f, 8, 0, recorded[0]);
    for (int64_t first = 1; first <= batches; first++) {
        size_t size = record(&f, 8, first, recorded[1]);
        assert_memory_equal(recorded[0] + whole - size, recorded[1], size);
        assert_int_equal(whole - size, first * 16 * 41 < 310 * 41 ? first * 16 * 41 : 310 * 41);
    }
    assert_int_equal(lam_loader_start(f.loader, 8, batches + 1), LAM_ERR_INVALID);
    assert_int_equal(lam_loader_start(f.loader, 8, -1), LAM_ERR_INVALID);
    finish(&f);
}

static void the_uneven_last_batch(void **state) {
    (void)state;
    for (int last = 0; last < 3; last++) {
        struct fixture f = prepare(25, 10, 2);
        f.options.drop_last = last == 1;
        f.options.pad_last = last == 2;
        create(&f);
        assert_int_equal(lam_loader_batches(f.loader), last == 1 ? 2 : 3);
        start(&f, 1, 0);
        int64_t real = 0;
        for (struct lam_batch *b; (b = next(&f)); lam_loader_release(f.loader, b)) {
            assert_int_equal(b->count, b->number == 2 ? 5 : 10);
            real += b->count;
            if (b->number < 2 || last != 2) continue;
            const int32_t *where = b->data[0];
            for (int i = 5; i < 10; i++) {
                assert_int_equal(b->indices[i], b->indices[i - 5]);
                assert_int_equal(where[4 * i], where[4 * (i - 5)]);
                assert_memory_equal((float *)b->data[1] + 6 * i, (float *)b->data[1] + 6 * (i - 5), 24);
            }
        }
        assert_int_equal(real, last == 1 ? 20 : 25);
        finish(&f);
    }
    struct fixture f = prepare(29, 10, 1);
    f.options.drop_last = true;
    create(&f);
    assert_int_equal(lam_loader_batches(f.loader), 2);
    finish(&f);
    f = prepare(3, 10, 1); /* less than one batch, filled up more than once */
    f.options.pad_last = true;
    create(&f);
    start(&f, 0, 0);
    struct lam_batch *b = next(&f);
    assert_int_equal(b->count, 3);
    for (int i = 3; i < 10; i++) assert_int_equal(b->indices[i], b->indices[i % 3]);
    lam_loader_release(f.loader, b);
    assert_null(next(&f));
    finish(&f);
}

static void a_new_start_drops_what_was_prefetched(void **state) {
    (void)state;
    struct fixture f = prepare(400, 16, 3);
    f.task.sleep_us = 200;
    create(&f);
    assert_null(next(&f)); /* nothing was started */
    for (int round = 0; round < 12; round++) {
        start(&f, (uint64_t)round, round % 5);
        struct lam_batch *held = next(&f);
        int32_t before = ((const int32_t *)held->data[0])[0];
        start(&f, 100 + (uint64_t)round, 2);
        struct lam_batch *b = next(&f);
        assert_int_equal(b->epoch, 100 + round);
        assert_int_equal(b->number, 2);
        assert_int_equal(((const int32_t *)b->data[0])[1], 100 + round);
        assert_int_equal(((const int32_t *)held->data[0])[0], before); /* a held batch is left alone */
        assert_int_equal(((const int32_t *)held->data[0])[1], round);
        lam_loader_release(f.loader, held);
        lam_loader_release(f.loader, b);
    }
    finish(&f);
}

static void errors_come_when_it_is_their_turn(void **state) {
    (void)state;
    for (int threads = 1; threads <= 4; threads += 3)
        for (int round = 0; round < 10; round++) {
            struct fixture f = prepare(200, 20, threads);
            f.options.shuffle = false;
            f.task.bad_count = 3;
            f.task.bad[0] = 75; /* batch 3, and the first of it although others are met sooner or later */
            f.task.bad[1] = 63;
            f.task.bad[2] = 140;
            f.task.sleep_us = 100;
            create(&f);
            start(&f, (uint64_t)round, 0);
            for (int i = 0; i < 3; i++) {
                struct lam_batch *b = next(&f);
                assert_int_equal(b->number, i);
                lam_loader_release(f.loader, b);
            }
            struct lam_batch *b = NULL;
            for (int again = 0; again < 2; again++) { /* it does not go away by asking again */
                assert_int_equal(lam_loader_next(f.loader, &b), LAM_ERR_FORMAT);
                assert_string_equal(lam_error_text(), "sample 63 is bad");
                assert_null(b);
            }
            start(&f, (uint64_t)round, 4);
            for (int i = 4; i < 7; i++) {
                b = next(&f);
                assert_int_equal(b->number, i);
                lam_loader_release(f.loader, b);
            }
            assert_int_equal(lam_loader_next(f.loader, &b), LAM_ERR_FORMAT);
            assert_string_equal(lam_error_text(), "sample 140 is bad");
            finish(&f);
        }
}

static void it_can_be_ended_at_any_time(void **state) {
    (void)state;
    for (int round = 0; round < 40; round++) {
        struct fixture f = prepare(500, 8, 1 + round % 4);
        f.task.sleep_us = round % 2 ? 300 : 0;
        f.task.bad_count = round % 3 == 0;
        create(&f);
        if (round % 5) start(&f, 0, round);
        struct lam_batch *b = NULL;
        for (int i = 0; i < round % 7 && round % 5; i++)
            if (lam_loader_next(f.loader, &b) != LAM_OK)
                break;
            else if (i % 2 == 0 || i > 2)
                lam_loader_release(f.loader, b);
        finish(&f);
    }
}

static void memory_is_what_was_asked_for(void **state) {
    (void)state;
    struct fixture f = prepare(1000, 16, 4);
    f.options.prefetch = 3;
    create(&f);
    size_t batch = 16 * (16 + 24 + 1);
    size_t now = lam_device_memory(f.device, LAM_MEMORY_DATA).current;
    assert_in_range(now, 3 * batch, 3 * batch + 9 * 64);
    start(&f, 0, 0);
    struct lam_batch *held[2];
    for (int i = 0; i < 2; i++) held[i] = next(&f);
    usleep(50000); /* time to run ahead, if it could */
    assert_int_equal(atomic_load(&f.task.furthest), 2);
    assert_int_equal(atomic_load(&f.task.calls), 3 * 16);
    struct lam_batch *third = next(&f), *fourth = NULL;
    assert_int_equal(third->number, 2);
    assert_int_equal(lam_loader_next(f.loader, &fourth), LAM_ERR_INVALID); /* rather than waiting for ever */
    assert_non_null(strstr(lam_error_text(), "all 3 batches of the loader are held"));
    lam_loader_release(f.loader, held[1]); /* in any order */
    fourth = next(&f);
    assert_int_equal(fourth->number, 3);
    assert_int_equal(((const int32_t *)held[0]->data[0])[2], 0);
    lam_loader_release(f.loader, held[0]);
    lam_loader_release(f.loader, third);
    lam_loader_release(f.loader, fourth);
    lam_loader_release(f.loader, NULL);
    assert_int_equal(lam_device_memory(f.device, LAM_MEMORY_DATA).peak, now);
    finish(&f);
}

/* All slots are ready, and which of them holds the next batch changes with every batch. */
static void a_slow_consumer_gets_them_in_order(void **state) {
    (void)state;
    struct fixture f = prepare(120, 10, 2);
    create(&f);
    start(&f, 1, 0);
    for (int i = 0; i < 12; i++) {
        usleep(3000);
        struct lam_batch *b = next(&f);
        assert_int_equal(b->number, i);
        assert_int_equal(((const int32_t *)b->data[0])[2], i);
        lam_loader_release(f.loader, b);
    }
    finish(&f);
}

static void waiting_is_counted(void **state) {
    (void)state;
    struct fixture f = prepare(40, 20, 1);
    f.task.sleep_us = 2000;
    create(&f);
    assert_true(lam_loader_wait_seconds(f.loader) == 0);
    start(&f, 0, 0);
    lam_loader_release(f.loader, next(&f));
    assert_true(lam_loader_wait_seconds(f.loader) > 0.002);
    finish(&f);
}

static void options_that_make_no_sense(void **state) {
    (void)state;
    struct fixture f = prepare(5, 10, 1);
    f.options.context = &f.task;
    struct lam_loader_options bad[8];
    for (int i = 0; i < 8; i++) bad[i] = f.options;
    bad[0].batch = 0;
    bad[1].count = 0;
    bad[2].threads = 0;
    bad[3].prefetch = 1;
    bad[4].field_count = 0;
    bad[5].field_count = LAM_MAX_FIELDS + 1;
    bad[6].drop_last = true; /* 5 samples, batches of 10 */
    bad[7].count = INT64_C(1) << 32;
    for (int i = 0; i < 8; i++)
        assert_int_equal(lam_loader_create(&bad[i], f.device, &f.loader), LAM_ERR_INVALID);
    lam_device_close(f.device);
    assert_int_equal(lam_device_open("cpu:0", 4096, &f.device), LAM_OK);
    f.options.batch = 100;
    assert_int_equal(lam_loader_create(&f.options, f.device, &f.loader), LAM_ERR_MEMORY_LIMIT);
    assert_int_equal(lam_device_memory(f.device, LAM_MEMORY_DATA).current, 0);
    assert_null(f.loader);
    lam_loader_destroy(NULL);
    lam_device_close(f.device);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(any_number_of_threads_gives_the_same_bytes),
        cmocka_unit_test(an_epoch_has_every_sample_once),
        cmocka_unit_test(any_batch_can_be_the_first),
        cmocka_unit_test(the_uneven_last_batch),
        cmocka_unit_test(a_new_start_drops_what_was_prefetched),
        cmocka_unit_test(errors_come_when_it_is_their_turn),
        cmocka_unit_test(it_can_be_ended_at_any_time),
        cmocka_unit_test(memory_is_what_was_asked_for),
        cmocka_unit_test(a_slow_consumer_gets_them_in_order),
        cmocka_unit_test(waiting_is_counted),
        cmocka_unit_test(options_that_make_no_sense),
    };
    return cmocka_run_group_tests_name("loader", tests, NULL, NULL);
}
