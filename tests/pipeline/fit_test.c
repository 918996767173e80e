/* Cutting so that it fits, on real blocks: the search that compiles only what it must finds what a search over all blocks does; the
 * least budget is the least; and a chain that was cut to fit needs what its cut was promised to need. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

#include "local/fit.h"
#include "local/profile.h"
#include "rig.h"

enum { MOST_UNITS = 16, QUEUE = 2 };

#define OK(call)                                                                                             \
    do {                                                                                                     \
        if ((call) != LAM_OK) fail_msg("%s", lam_error_text());                                              \
    } while (0)

/* A network with what cutting it needs. */
struct bench {
    struct rig rig;
    struct lam_device *devices[2];
    struct lam_chain_options options;
    struct lam_partition_problem problem;
    struct lam_tuning *tuning;
    double unit[MOST_UNITS], aux[MOST_UNITS];
    bool may_cut[MOST_UNITS];
};

static void open_bench(struct bench *b, const char *model, const char *method, int devices, int depth,
                       bool taps) {
    memset(b, 0, sizeof *b);
    struct rig_options rig = {.model = model, .method = "dgl", .blocks = 1, .devices = 1, .taps = taps};
    rig_open(&b->rig, &rig);
    OK(lam_device_open("cpu:0", 0, &b->devices[0]));
    OK(lam_device_open("cpu:1", 0, &b->devices[1]));
    OK(lam_tuning_create(LAM_TUNING_FIXED, &b->tuning));
    b->options = (struct lam_chain_options){
        .network = &b->rig.network,
        .devices = b->devices,
        .device_count = devices,
        .fit = true,
        .room = {.data = 1000,
                 .slot_fields = lam_pipeline_slot_fields(&b->rig.network, RIG_BATCH),
                 .slots = lam_pipeline_slots(LAM_PIPELINE_PPLL, QUEUE),
                 .versions = lam_pipeline_versions(0)},
        .aux_options.depth = depth,
        .batch = RIG_BATCH,
        .tail = RIG_TAIL,
        .optimizer = lam_optimizer_default_options(LAM_OPTIMIZER_SGD),
        .tuning = b->tuning};
    OK(lam_aux_find(method, &b->options.aux));
    int units = b->rig.network.units;
    assert_in_range(units, 2, MOST_UNITS);
    for (int u = 0; u < units; u++) b->may_cut[u] = u + 1 < b->rig.network.head_unit;
    OK(lam_profile_flops(&b->options, b->unit, b->aux));
    b->problem = (struct lam_partition_problem){.units = units,
                                                .devices = devices,
                                                .unit_seconds = b->unit,
                                                .aux_seconds = b->aux,
                                                .may_cut = b->may_cut};
}

static void close_bench(struct bench *b) {
    lam_tuning_destroy(b->tuning);
    lam_device_close(b->devices[0]);
    lam_device_close(b->devices[1]);
    rig_close(&b->rig);
}

/* What every block takes, all compiled. */
struct table {
    struct lam_partition_bytes block[MOST_UNITS * MOST_UNITS];
    struct lam_partition_front front[MOST_UNITS];
};

static void fill_table(const struct bench *b, struct table *table) {
    const struct lam_chain_options *o = &b->options;
    struct lam_border border[MOST_UNITS];
    int units = b->problem.units;
    for (int last = 0; last < units; last++)
        for (int first = last; first >= 0; first--) {
            struct lam_block_options options = {.network = o->network,
                                                .number = 3,
                                                .first = first,
                                                .last = last,
                                                .next_last = units - 1,
                                                .aux = last + 1 < units ? o->aux : NULL,
                                                .aux_options = o->aux_options,
                                                .batch = o->batch,
                                                .tail = o->tail,
                                                .optimizer = o->optimizer};
            struct lam_block *block;
            if (first > 0) options.in = border[first - 1];
            OK(lam_block_create(&options, b->devices[0], &block));
            struct lam_block_memory memory = lam_block_memory(block);
            struct lam_partition_bytes *bytes = &table->block[first * units + last];
            bytes->activations = memory.bytes[LAM_MEMORY_ACTIVATIONS];
            bytes->workspace = memory.bytes[LAM_MEMORY_WORKSPACE];
            bytes->own = lam_fit_total(&memory) - bytes->activations - bytes->workspace +
                         (size_t)lam_block_twin_count(block) * sizeof(float) * (size_t)o->room.versions;
            border[last] = lam_block_border(block);
            size_t slot = lam_block_output_bytes(block) + o->room.slot_fields;
            if (last + 1 < units)
                table->front[last + 1] = (struct lam_partition_front){slot * (size_t)o->room.slots, slot};
            lam_block_destroy(block);
        }
}

static double slowest(const struct lam_partition *cut) {
    double most = 0;
    for (int d = 0; d < cut->devices; d++)
        if (cut->device_seconds[d] > most) most = cut->device_seconds[d];
    return most;
}

static double work(const struct lam_partition *cut) {
    double sum = 0;
    for (int k = 0; k < cut->blocks; k++) sum += cut->block_seconds[k];
    return sum;
}

/* Budgets from what is too little up to what one block needs. */
static void compare_searches(struct bench *b, const struct table *table, int blocks) {
    struct lam_fit *fit;
    OK(lam_fit_create(&b->options, &b->problem, &fit));
    const struct lam_partition_bytes *whole = &table->block[b->problem.units - 1];
    size_t limits[2], least, most = whole->own + 2 * (whole->activations + whole->workspace);
    struct lam_partition_room room = {
        .block = {table->block, table->block}, .front = table->front, .data = 1000, .limits = limits};
    struct lam_partition cut, all_cut;
    bool found, all_found;
    int some = 0;
    b->problem.blocks = blocks;
    for (int i = 1; i <= 24; i++) {
        limits[0] = limits[1] = most * (size_t)i / 24;
        OK(lam_fit_search(fit, blocks, limits, &cut, &found));
        OK(lam_partition_in_memory(&b->problem, &room, &all_cut, &all_found));
        assert_int_equal(found, all_found);
        if (!found) continue;
        some++;
        assert_true(slowest(&cut) == slowest(&all_cut));
        assert_true(work(&cut) == work(&all_cut));
        for (int d = 0; d < b->problem.devices; d++) {
            struct lam_block_memory memory;
            OK(lam_fit_memory(fit, &cut, d, &memory));
            assert_int_equal(lam_fit_total(&memory), lam_partition_device_need(&room, &cut, d).total);
        }
    }
    assert_in_range(some, 1, 24);
    OK(lam_fit_smallest(fit, blocks, &least, &cut));
    limits[0] = limits[1] = least;
    OK(lam_partition_in_memory(&b->problem, &room, &all_cut, &all_found));
    assert_true(all_found);
    limits[0] = limits[1] = least - 1;
    OK(lam_partition_in_memory(&b->problem, &room, &all_cut, &all_found));
    assert_false(all_found);
    lam_fit_destroy(fit);
    for (int i = 0; i < 8; i++) { /* asked anew, with little compiled */
        limits[0] = limits[1] = least + (whole->own + whole->activations - least) / 16 * (size_t)i;
        OK(lam_fit_create(&b->options, &b->problem, &fit));
        OK(lam_fit_search(fit, blocks, limits, &cut, &found));
        b->problem.blocks = blocks;
        OK(lam_partition_in_memory(&b->problem, &room, &all_cut, &all_found));
        assert_true(found && all_found && slowest(&cut) == slowest(&all_cut));
        lam_fit_destroy(fit);
    }
    b->problem.blocks = 0;
}

static void test_search(void **state) {
    (void)state;
    static const struct {
        const char *model, *method;
        int devices, depth;
        bool taps;
        int batch, side; /* 0: the rig's */
    } cases[] = {{"resnet20", "dgl", 1, 1, false, 0, 0},
                 {"resnet20", "dgl", 1, 1, false, 32, 32},
                 {"resnet20", "glcan", 2, 1, false, 0, 0},
                 {"vit-micro", "dgl", 2, 1, false, 0, 0},
                 {"resnet20", "dgl", 2, 1, true, 0, 0}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct bench b;
        static struct table table;
        open_bench(&b, cases[i].model, cases[i].method, cases[i].devices, cases[i].depth, cases[i].taps);
        if (cases[i].batch) b.options.batch = cases[i].batch, b.options.tail = 0;
        if (cases[i].side) b.rig.fields[0].shape = LAM_SHAPE(3, cases[i].side, cases[i].side);
        fill_table(&b, &table);
        compare_searches(&b, &table, 0);
        compare_searches(&b, &table, 3);
        close_bench(&b);
    }
}

/* The pipeline's own forecast of a chain that was cut under limits of its devices. */
static void check_chain(struct bench *b, const size_t *limits) {
    struct lam_chain chain;
    struct lam_pipeline *pipeline;
    struct lam_device *devices[2];
    OK(lam_device_open("cpu:0", limits[0], &devices[0]));
    OK(lam_device_open("cpu:1", limits[1], &devices[1]));
    b->options.devices = devices;
    OK(lam_chain_create(&b->options, &chain));
    struct lam_pipeline_options options = {
        .blocks = chain.blocks, .block_count = chain.count, .schedule = LAM_PIPELINE_PPLL, .queue = QUEUE};
    OK(lam_pipeline_create(&options, &pipeline));
    assert_int_equal(lam_pipeline_devices(pipeline), b->options.device_count);
    for (int d = 0; d < b->options.device_count; d++) {
        struct lam_block_memory memory = lam_pipeline_memory(pipeline, d);
        assert_in_range(lam_fit_total(&memory) + (d == 0 ? b->options.room.data : 0), 1, limits[d]);
    }
    OK(lam_pipeline_allocate(pipeline));
    for (int d = 0; d < b->options.device_count; d++) {
        struct lam_block_memory memory = lam_pipeline_memory(pipeline, d);
        assert_int_equal(lam_device_memory_total(devices[d]).peak, lam_fit_total(&memory));
    }
    lam_pipeline_destroy(pipeline);
    lam_chain_destroy(&chain);
    b->options.devices = b->devices;
    lam_device_close(devices[0]);
    lam_device_close(devices[1]);
}

/* At the least budget, which leaves nothing over, and above it. Where an auxiliary network stands for several units, the search
 * assumes the most of them. */
static void test_chain(void **state) {
    (void)state;
    for (int i = 0; i < 4; i++) {
        struct bench b;
        struct lam_fit *fit;
        struct lam_partition cut;
        size_t least;
        open_bench(&b, "resnet20", i ? "glcan" : "dgl", i < 2 ? 1 : 2, i, i == 3);
        OK(lam_fit_create(&b.options, &b.problem, &fit));
        OK(lam_fit_smallest(fit, 0, &least, &cut));
        lam_fit_destroy(fit);
        check_chain(&b, (size_t[]){least, least});
        check_chain(&b, (size_t[]){least + least / 4, least + least / 8});
        close_bench(&b);
    }
}

/* FLOPs of the second block over those of the first, for a device of one core and one of three in this order. */
static double share_of_second(const char *first, const char *second) {
    struct bench b;
    struct lam_chain chain;
    struct lam_device *devices[2];
    open_bench(&b, "resnet20", "dgl", 2, 1, false);
    OK(lam_device_open(first, 0, &devices[0]));
    OK(lam_device_open(second, 0, &devices[1]));
    b.options.devices = devices;
    b.options.fit = false;
    b.options.blocks = 2;
    OK(lam_chain_create(&b.options, &chain));
    assert_int_equal(chain.count, 2);
    double share = lam_block_training_flops(chain.blocks[1]) / lam_block_training_flops(chain.blocks[0]);
    lam_chain_destroy(&chain);
    b.options.devices = b.devices;
    for (int d = 0; d < 2; d++) lam_device_close(devices[d]);
    close_bench(&b);
    return share;
}

static void test_a_faster_device_gets_more(void **state) {
    (void)state;
    double alike = share_of_second("cpu:0", "cpu:1"), more = share_of_second("cpu:0", "cpu:1-3");
    double less = share_of_second("cpu:1-3", "cpu:0");
    assert_true(more > 1.7 * alike && more > 2 && more < 4.5);
    assert_true(less < alike / 1.7 && less < 1.0 / 2 && less > 1 / 4.5);
}

static void test_too_little(void **state) {
    (void)state;
    struct bench b;
    struct lam_chain chain;
    struct lam_device *device;
    open_bench(&b, "resnet20", "dgl", 1, 1, false);
    OK(lam_device_open("cpu:0", 100000, &device));
    b.options.devices = &device;
    assert_int_equal(lam_chain_create(&b.options, &chain), LAM_ERR_MEMORY_LIMIT);
    assert_non_null(strstr(lam_error_text(), "the least that works is --fit-memory "));
    assert_true(chain.too_large);
    assert_true(lam_fit_total(&chain.least[0]) > 100000);
    size_t least = (size_t)atoll(strstr(lam_error_text(), "is --fit-memory ") + strlen("is --fit-memory "));
    assert_int_equal(least, lam_fit_total(&chain.least[0]));
    b.options.aux = NULL; /* end to end cannot be cut */
    assert_int_equal(lam_chain_create(&b.options, &chain), LAM_ERR_MEMORY_LIMIT);
    assert_non_null(strstr(lam_error_text(), "use --method dgl"));
    lam_device_close(device);
    b.options.devices = b.devices;
    close_bench(&b);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_search),
        cmocka_unit_test(test_chain),
        cmocka_unit_test(test_a_faster_device_gets_more),
        cmocka_unit_test(test_too_little),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
