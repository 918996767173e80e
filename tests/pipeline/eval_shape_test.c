/* Evaluation of another shape than training's: larger pictures, fewer at a time. Blocks in a pipeline say the same of them as the
 * whole network does, under each schedule; memory is what was forecast; and training does not notice. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

#include "base/rng.h"
#include "pipeline/pipeline.h"
#include "tasks/sr/models.h"

enum { PATCH = 8, BATCH = 6, TILE = 20, TILES = 2, SCALE = 2, STEPS = 4, MOST = 3, NUMBERS = 5000 };
enum { ANSWER = TILES * 3 * SCALE * TILE * SCALE * TILE };

#define OK(call)                                                                                             \
    do {                                                                                                     \
        if ((call) != LAM_OK) fail_msg("%s", lam_error_text());                                              \
    } while (0)

struct setting {
    int blocks, devices;
    enum lam_pipeline_schedule schedule;
    bool evaluate; /* between steps, too */
};

struct bed {
    const struct setting *setting;
    struct sr_net *net;
    struct lam_network network;
    struct lam_field fields[2], eval_fields[2];
    struct lam_device *devices[MOST];
    struct lam_block *blocks[MOST];
    struct lam_pipeline *pipeline;
    float *answer; /* ANSWER of each evaluation */
    int evaluated;
};

/* ---- network ---- */

static lam_value build_output(void *task, struct lam_graph *graph, lam_value image, const lam_value *inputs) {
    (void)task;
    if (!lam_graph_training(graph)) {
        lam_graph_output(graph, "image", image);
        return LAM_NO_VALUE;
    }
    lam_value loss = lam_l1_loss(graph, image, inputs[1]);
    lam_graph_output(graph, "loss", loss);
    return loss;
}

static lam_value build_local_head(void *task, struct lam_graph *graph, lam_value x, const lam_value *inputs,
                                  const lam_value *taps) {
    const struct bed *bed = task;
    return build_output(task, graph, sr_net_local(bed->net, graph, x, taps), inputs);
}

static void make_network(struct bed *bed) {
    struct sr_net_options options = {
        .name = "edsr-small", .scale = SCALE, .global_skip = true, .channels = 4, .units = 4};
    OK(sr_net_create(&options, &bed->net));
    bed->network = sr_net_network(bed->net);
    bed->fields[0] = (struct lam_field){"image", LAM_F32, LAM_SHAPE(3, PATCH, PATCH)};
    bed->fields[1] = (struct lam_field){"target", LAM_F32, LAM_SHAPE(3, SCALE * PATCH, SCALE * PATCH)};
    bed->eval_fields[0] = (struct lam_field){"image", LAM_F32, LAM_SHAPE(3, TILE, TILE)};
    bed->eval_fields[1] = (struct lam_field){"number", LAM_I32, LAM_SHAPE(NUMBERS)}; /* more than a target */
    bed->network.fields = bed->fields;
    bed->network.field_count = 2;
    bed->network.eval_fields = bed->eval_fields;
    bed->network.eval_field_count = 2;
    bed->network.eval_batch = TILES;
    bed->network.task = bed;
    bed->network.build_output = build_output;
    bed->network.build_local_head = build_local_head;
}

/* ---- pipeline ---- */

static lam_status step_done(void *context, const struct lam_pipeline_step *step) {
    (void)context, (void)step;
    return LAM_OK;
}

static lam_status evaluated(void *context, struct lam_block *block, const struct lam_batch *batch) {
    struct bed *bed = context;
    int32_t last = ((const int32_t *)batch->data[1])[NUMBERS * TILES - 1];
    if (batch->count != TILES || last != NUMBERS * TILES - 1)
        return lam_fail(LAM_ERR_INTERNAL, "%d tiles came, the last number is %d", batch->count, (int)last);
    return lam_program_read(lam_block_program(block, LAM_BLOCK_EVAL), "image",
                            bed->answer + ANSWER * bed->evaluated++, ANSWER * sizeof(float));
}

static void open_blocks(struct bed *bed) {
    const struct setting *s = bed->setting;
    bool ends = s->schedule == LAM_PIPELINE_GPIPE || s->schedule == LAM_PIPELINE_1F1B;
    const struct lam_aux *aux;
    OK(lam_aux_find("dgl", &aux));
    for (int j = 0; j < s->blocks; j++) {
        bool last = j + 1 == s->blocks;
        struct lam_block_options options = {.network = &bed->network,
                                            .number = j + 1,
                                            .first = j ? bed->network.head_unit * j / s->blocks : 0,
                                            .last = last ? bed->network.head_unit
                                                         : bed->network.head_unit * (j + 1) / s->blocks - 1,
                                            .next_last = bed->network.head_unit,
                                            .aux = last || ends ? NULL : aux,
                                            .micro_batches = ends ? 3 : 0,
                                            .in_flight = ends ? 3 : 0,
                                            .batch = BATCH,
                                            .optimizer = lam_optimizer_default_options(LAM_OPTIMIZER_SGD)};
        if (j) options.in = lam_block_border(bed->blocks[j - 1]);
        OK(lam_block_create(&options, bed->devices[j * s->devices / s->blocks], &bed->blocks[j]));
    }
}

static void open_bed(struct bed *bed, const struct setting *setting) {
    static const char *const names[] = {"cpu:0", "cpu:1", "cpu:2"};
    memset(bed, 0, sizeof *bed);
    bed->setting = setting;
    bed->answer = calloc((STEPS + 1) * ANSWER, sizeof *bed->answer);
    assert_non_null(bed->answer);
    make_network(bed);
    for (int d = 0; d < setting->devices; d++) OK(lam_device_open(names[d], 0, &bed->devices[d]));
    open_blocks(bed);
    struct lam_pipeline_options options = {.blocks = bed->blocks,
                                           .block_count = setting->blocks,
                                           .schedule = setting->schedule,
                                           .queue = 2,
                                           .seed = 3,
                                           .context = bed,
                                           .step_done = step_done,
                                           .evaluated = evaluated};
    OK(lam_pipeline_create(&options, &bed->pipeline));
    struct lam_block_memory need[MOST];
    for (int d = 0; d < setting->devices; d++) need[d] = lam_pipeline_memory(bed->pipeline, d);
    OK(lam_pipeline_allocate(bed->pipeline));
    for (int d = 0; d < setting->devices; d++)
        for (int kind = 0; kind < LAM_MEMORY_KINDS; kind++)
            assert_int_equal(lam_device_memory(bed->devices[d], (enum lam_memory_kind)kind).peak,
                             need[d].bytes[kind]);
    for (int j = 0; j < setting->blocks; j++) OK(lam_params_init(lam_block_params(bed->blocks[j]), 5));
    OK(lam_pipeline_start(bed->pipeline, 0, true));
}

static void close_bed(struct bed *bed) {
    lam_pipeline_destroy(bed->pipeline);
    for (int j = 0; j < bed->setting->blocks; j++) lam_block_destroy(bed->blocks[j]);
    for (int d = 0; d < bed->setting->devices; d++) {
        for (int kind = 0; kind < LAM_MEMORY_KINDS; kind++)
            assert_int_equal(lam_device_memory(bed->devices[d], (enum lam_memory_kind)kind).current, 0);
        lam_device_close(bed->devices[d]);
    }
    sr_net_destroy(bed->net);
    free(bed->answer);
}

/* ---- batches ---- */

struct own_batch {
    struct lam_batch batch;
    int64_t indices[BATCH];
    float images[BATCH * 3 * TILE * TILE] __attribute__((aligned(64)));
    float targets[BATCH * 3 * SCALE * PATCH * SCALE * PATCH] __attribute__((aligned(64)));
    int32_t numbers[TILES * NUMBERS] __attribute__((aligned(64)));
};

static void release(void *context, struct lam_batch *batch) {
    (void)context;
    free(batch);
}

static struct lam_batch *make_batch(uint64_t number, bool training) {
    struct own_batch *own = aligned_alloc(64, (sizeof *own + 63) / 64 * 64);
    assert_non_null(own);
    struct lam_rng rng = lam_rng_make(7, LAM_RNG_TEST, number, training);
    own->batch = (struct lam_batch){.count = training ? BATCH : TILES,
                                    .number = (int64_t)number,
                                    .indices = own->indices,
                                    .data = {own->images, training ? (void *)own->targets : own->numbers}};
    for (int i = 0; i < BATCH; i++) own->indices[i] = i;
    for (int i = 0; i < BATCH * 3 * TILE * TILE; i++) own->images[i] = lam_rng_normal(&rng);
    for (size_t i = 0; i < sizeof own->targets / sizeof *own->targets; i++)
        own->targets[i] = lam_rng_normal(&rng);
    for (int i = 0; i < TILES * NUMBERS; i++) own->numbers[i] = i;
    return &own->batch;
}

static void run(struct bed *bed) {
    for (uint64_t step = 0; step < STEPS; step++) {
        if (bed->setting->evaluate) {
            OK(lam_pipeline_evaluate(bed->pipeline, make_batch(step, false), release, NULL));
            OK(lam_pipeline_drain(bed->pipeline));
        }
        OK(lam_pipeline_train(bed->pipeline, make_batch(step, true), release, NULL, 0.02f, step));
        OK(lam_pipeline_drain(bed->pipeline));
    }
    OK(lam_pipeline_evaluate(bed->pipeline, make_batch(99, false), release, NULL));
    OK(lam_pipeline_drain(bed->pipeline));
}

/* ---- cases ---- */

/* Before the first step all cuts are the same network. */
static void test_cuts_agree(void **state) {
    static const struct setting whole = {1, 1, LAM_PIPELINE_SEQUENTIAL, true};
    static const struct setting others[] = {{2, 1, LAM_PIPELINE_SEQUENTIAL, true},
                                            {3, 2, LAM_PIPELINE_PPLL, true},
                                            {3, 3, LAM_PIPELINE_PPLL, true},
                                            {2, 2, LAM_PIPELINE_GPIPE, true},
                                            {3, 3, LAM_PIPELINE_1F1B, true}};
    (void)state;
    struct bed bed;
    float *first = malloc(ANSWER * sizeof *first);
    assert_non_null(first);
    open_bed(&bed, &whole);
    run(&bed);
    memcpy(first, bed.answer, ANSWER * sizeof *first);
    close_bed(&bed);
    for (size_t i = 0; i < sizeof others / sizeof *others; i++) {
        open_bed(&bed, &others[i]);
        run(&bed);
        assert_int_equal(bed.evaluated, STEPS + 1);
        if (memcmp(bed.answer, first, ANSWER * sizeof *first) != 0)
            fail_msg("%d blocks under schedule %d say something else", others[i].blocks,
                     (int)others[i].schedule);
        close_bed(&bed);
    }
    free(first);
}

/* What comes out in the end does not depend on evaluations in between. */
static void test_training_goes_on(void **state) {
    static const struct setting plain = {3, 1, LAM_PIPELINE_SEQUENTIAL, false},
                                watched = {3, 2, LAM_PIPELINE_PPLL, true};
    (void)state;
    struct bed a, b;
    open_bed(&a, &plain);
    run(&a);
    open_bed(&b, &watched);
    run(&b);
    assert_memory_equal(a.answer, b.answer + STEPS * ANSWER, ANSWER * sizeof(float));
    assert_memory_not_equal(b.answer, b.answer + STEPS * ANSWER, ANSWER * sizeof(float));
    close_bed(&a);
    close_bed(&b);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_cuts_agree),
        cmocka_unit_test(test_training_goes_on),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
