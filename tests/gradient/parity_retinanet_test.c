/* retinanet-tiny, as the detection task builds it, against a plain RetinaNet in PyTorch: outputs, losses, gradients and steps.
 * What the numbers are and why stands in tests/golden/make_retinanet_golden.py; images, boxes and weights are made again here
 * to the bit, and the targets are those of assign.h.
 *
 *     test_gradient_parity_retinanet [--device cpu:0] [--measure]
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/rng.h"
#include "golden_values.h"
#include "local/stage.h"
#include "tasks/detect/internal.h"

enum { BOXES = 3, CELL = 8, PATTERN = 4, CHANNELS = 3, MOST_IMAGES = 4 };
static const double gradient_tolerance = 1e-4, loss_tolerance = 1e-3;
static const uint64_t seed = 20240229; /* of golden_values.c */
static const char golden_path[] = "tests/golden/retinanet-tiny.json";

static json_t *golden;
static struct options {
    const char *device;
    bool measure, steps;
} options;

static int number(const char *key) {
    return (int)json_integer_value(json_object_get(golden, key));
}

static double real(const json_t *object, const char *key) {
    return json_number_value(json_object_get(object, key));
}

static const char *text(const json_t *object, const char *key) {
    return json_string_value(json_object_get(object, key));
}

static void must(lam_status status) {
    if (status != LAM_OK) fail_msg("%s", lam_error_text());
}

static void expect_within(double error, double tolerance, const char *what) {
    if (!(error <= tolerance)) fail_msg("%s: relative error %.3g is above %.3g", what, error, tolerance);
}

/* ---- images and boxes ---- */

static struct lam_rng stream(const char *name, int of) {
    return lam_rng_make(seed, LAM_RNG_INIT, lam_hash_text(name), (uint64_t)of);
}

/* in [-1, 1) */
static float next(struct lam_rng *rng) {
    return 2.0f * lam_rng_uniform(rng) - 1.0f;
}

static void make_boxes(int batch, int image, struct lam_box boxes[BOXES]) {
    struct lam_rng rng = stream("boxes", batch * 64 + image);
    for (int i = 0; i < BOXES; i++) {
        uint32_t word[5];
        for (int w = 0; w < 5; w++) word[w] = lam_rng_u32(&rng);
        uint32_t width = 640 + word[2] % 2560, height = 640 + word[3] % 2560;
        uint32_t x0 = word[0] % (64 * (uint32_t)number("width") - width),
                 y0 = word[1] % (64 * (uint32_t)number("height") - height);
        boxes[i] = (struct lam_box){.x0 = (float)x0 / 64,
                                    .y0 = (float)y0 / 64,
                                    .x1 = (float)(x0 + width) / 64,
                                    .y1 = (float)(y0 + height) / 64,
                                    .label = (int)(word[4] % (uint32_t)number("classes"))};
    }
}

static void paint_coarse(int batch, int image, int width, int height, float *pixels) {
    struct lam_rng rng = stream("coarse", batch * 64 + image);
    for (int c = 0; c < CHANNELS; c++)
        for (int cell = 0; cell < width / CELL * (height / CELL); cell++) {
            float value = next(&rng);
            int x0 = cell % (width / CELL) * CELL, y0 = cell / (width / CELL) * CELL;
            for (int y = y0; y < y0 + CELL; y++)
                for (int x = x0; x < x0 + CELL; x++) pixels[(c * height + y) * width + x] = value;
        }
}

static void paint_box(const struct lam_box *box, int width, int height, float *pixels) {
    float pattern[CHANNELS][PATTERN][PATTERN];
    struct lam_rng rng = stream("pattern", box->label);
    for (int i = 0; i < CHANNELS * PATTERN * PATTERN; i++) ((float *)pattern)[i] = next(&rng);
    int x0 = (int)box->x0, y0 = (int)box->y0, x1 = (int)box->x1, y1 = (int)box->y1;
    for (int c = 0; c < CHANNELS; c++)
        for (int y = y0; y < y1; y++)
            for (int x = x0; x < x1; x++)
                pixels[(c * height + y) * width + x] =
                    pattern[c][(y - y0) / PATTERN % PATTERN][(x - x0) / PATTERN % PATTERN];
}

static void make_image(int batch, int image, const struct lam_box boxes[BOXES], float *pixels) {
    int width = number("width"), height = number("height");
    paint_coarse(batch, image, width, height, pixels);
    for (int i = 0; i < BOXES; i++) paint_box(&boxes[i], width, height, pixels);
    struct lam_rng rng = stream("fine", batch * 64 + image);
    for (int i = 0; i < CHANNELS * width * height; i++) pixels[i] += 0.25f * next(&rng);
}

/* ---- the task's network, in one block, with golden weights ---- */

struct net {
    const json_t *golden_case;
    struct lam_config config;
    struct detect_config own;
    struct detect task;
    struct lam_device *device;
    struct lam_tuning *tuning;
    struct lam_block *block;
    struct lam_stage stage;
    struct lam_batch batch;
    int64_t indices[MOST_IMAGES];
};

static void make_task(struct net *net) {
    struct detect *d = &net->task;
    bool giou = strcmp(text(net->golden_case, "box_loss"), "giou") == 0;
    net->config = (struct lam_config){.model = (char *)(uintptr_t)text(golden, "model")};
    net->own = (struct detect_config){.box_loss = giou ? DETECT_GIOU : DETECT_SMOOTH_L1,
                                      .box_weight = 1,
                                      .focal_alpha = 0.25,
                                      .focal_gamma = 2};
    *d = (struct detect){.config = &net->config,
                         .own = &net->own,
                         .width = number("width"),
                         .height = number("height"),
                         .classes.count = number("classes")};
    int levels;
    must(retinanet_levels(net->config.model, &levels));
    must(detect_anchors_init(&d->anchors, d->width, d->height, RETINANET_FIRST_STRIDE, levels));
    must(detect_anchors_set_sizes(&d->anchors, text(golden, "anchors")));
    d->corners = malloc((size_t)d->anchors.count * sizeof *d->corners);
    detect_anchors_write(&d->anchors, d->corners);
    must(detect_make_network(d));
    d->fields[DETECT_FIELD_IMAGE].dtype = LAM_F32; /* these images are no bytes */
    d->network.normalize = NULL;
}

static struct lam_optimizer_options optimizer_of(const json_t *golden_case) {
    bool sgd = strcmp(text(golden_case, "optimizer"), "sgd") == 0;
    struct lam_optimizer_options o =
        lam_optimizer_default_options(sgd ? LAM_OPTIMIZER_SGD : LAM_OPTIMIZER_ADAMW);
    o.weight_decay = (float)real(golden_case, "weight_decay");
    return o;
}

/* As values.py has them, but that the head's convolutions before the last ones are as wide as others, and that all is
 * background at first. */
static void write_weights(struct lam_params *params) {
    for (int i = 0; i < lam_params_size(params); i++) {
        const struct lam_param *p = lam_params_get(params, i);
        if (p->buffer) continue;
        float *values = malloc((size_t)p->count * sizeof *values);
        golden_parameter(p, values);
        bool wide =
            strncmp(p->name, "head.", 5) == 0 && strstr(p->name, "weight") && !strstr(p->name, ".out.");
        bool prior = strcmp(p->name, "head.classes.out.bias") == 0;
        for (int64_t v = 0; v < p->count; v++) values[v] = values[v] * (wide ? 4 : 1) - (prior ? 4 : 0);
        must(lam_params_write(params, i, values));
        free(values);
    }
}

static void open_device(struct net *net) {
    if (options.device)
        must(lam_device_open(options.device, 0, &net->device));
    else if (lam_device_open("cpu:0-1", 0, &net->device) != LAM_OK) /* a machine of one core */
        must(lam_device_open("cpu:0", 0, &net->device));
}

static size_t field_bytes(const struct net *net, int field) {
    return (size_t)lam_shape_count(net->task.fields[field].shape) * 4;
}

static void net_create(struct net *net, const json_t *golden_case, int batch) {
    *net = (struct net){.golden_case = golden_case};
    assert_true(batch <= MOST_IMAGES);
    open_device(net);
    make_task(net);
    must(lam_tuning_create(options.measure ? LAM_TUNING_MEASURE : LAM_TUNING_FIXED, &net->tuning));
    struct lam_block_options block = {.network = &net->task.network,
                                      .number = 1,
                                      .last = net->task.network.units - 1,
                                      .batch = batch,
                                      .optimizer = optimizer_of(golden_case),
                                      .tuning = net->tuning};
    must(lam_block_create(&block, net->device, &net->block));
    net->stage = (struct lam_stage){.device = net->device, .blocks = &net->block, .count = 1};
    must(lam_stage_allocate(&net->stage));
    must(lam_params_init(lam_block_params(net->block), 1)); /* running statistics */
    write_weights(lam_block_params(net->block));
    net->batch = (struct lam_batch){.count = batch, .indices = net->indices};
    for (int f = 0; f < DETECT_FIELDS; f++)
        must(lam_device_alloc(net->device, LAM_MEMORY_DATA, field_bytes(net, f) * (size_t)batch,
                              &net->batch.data[f]));
}

static void net_destroy(struct net *net) {
    for (int f = 0; f < DETECT_FIELDS; f++) lam_device_free(net->device, net->batch.data[f]);
    lam_stage_free(&net->stage);
    lam_block_destroy(net->block);
    lam_tuning_destroy(net->tuning);
    lam_device_close(net->device);
    retinanet_destroy(net->task.net);
    free(net->task.corners);
}

static void load_batch(struct net *net, int batch_number) {
    const struct detect *d = &net->task;
    bool giou = net->own.box_loss == DETECT_GIOU;
    char *data[DETECT_FIELDS];
    const struct detect_assign_options assign = DETECT_ASSIGN_DEFAULTS;
    for (int f = 0; f < DETECT_FIELDS; f++) data[f] = malloc(field_bytes(net, f) * (size_t)net->batch.count);
    for (int i = 0; i < net->batch.count; i++) {
        void *at[DETECT_FIELDS];
        struct lam_box boxes[BOXES];
        for (int f = 0; f < DETECT_FIELDS; f++) at[f] = data[f] + field_bytes(net, f) * (size_t)i;
        make_boxes(batch_number, i, boxes);
        make_image(batch_number, i, boxes, at[DETECT_FIELD_IMAGE]);
        const struct detect_targets targets = {.classes = at[DETECT_FIELD_CLASSES],
                                               .deltas = giou ? NULL : at[DETECT_FIELD_BOXES],
                                               .corners = giou ? at[DETECT_FIELD_BOXES] : NULL,
                                               .weights = at[DETECT_FIELD_WEIGHTS],
                                               .normaliser = at[DETECT_FIELD_NORMALISER]};
        must(detect_assign(&assign, &d->anchors, d->classes.count, boxes, BOXES, &targets));
    }
    for (int f = 0; f < DETECT_FIELDS; f++) {
        must(lam_device_upload(net->device, net->batch.data[f], data[f],
                               field_bytes(net, f) * (size_t)net->batch.count));
        free(data[f]);
    }
}

static double train(struct net *net, int batch_number, float learning_rate, uint64_t step) {
    float loss;
    load_batch(net, batch_number);
    struct lam_block_step what = {
        .batch = &net->batch, .learning_rate = learning_rate, .seed = 1, .step = step};
    must(lam_block_train(net->block, &what, &loss));
    return (double)loss;
}

/* ---- comparisons ---- */

/* Norm of the difference over the norm of what is wanted; from the projections (the mean square of a vector's inner products with
 * random signs is the square of its norm), or exactly, whichever is larger. */
static double error_of(const json_t *row, const float *got, int64_t count) {
    double projections[GOLDEN_PROJECTIONS], sum = 0, exact = 0, norm = real(row, "norm");
    const json_t *wanted = json_object_get(row, "projections"), *values = json_object_get(row, "values");
    assert_int_equal(count, json_integer_value(json_object_get(row, "count")));
    assert_int_equal(json_array_size(wanted), GOLDEN_PROJECTIONS);
    golden_project(text(row, "name"), got, count, projections);
    for (int k = 0; k < GOLDEN_PROJECTIONS; k++)
        sum += pow(projections[k] - json_number_value(json_array_get(wanted, (size_t)k)), 2);
    for (int64_t i = 0; values && i < count; i++)
        exact += pow((double)got[i] - json_number_value(json_array_get(values, (size_t)i)), 2);
    double projected = sqrt(sum / GOLDEN_PROJECTIONS) / norm;
    return fmax(projected, sqrt(exact) / norm);
}

static double compare_gradients(const struct net *net) {
    const struct lam_params *params = lam_block_params(net->block);
    size_t bytes = (size_t)lam_params_count(params) * sizeof(float);
    float *gradients = malloc(bytes);
    must(lam_device_download(net->device, gradients, lam_params_gradients(params), bytes));
    const json_t *row;
    double worst = 0;
    int64_t seen = 0;
    size_t i;
    json_array_foreach(json_object_get(net->golden_case, "gradients"), i, row) {
        int index = lam_params_find(params, text(row, "name"));
        if (index < 0) fail_msg("no parameter %s", text(row, "name"));
        const struct lam_param *p = lam_params_get(params, index);
        double error = error_of(row, gradients + p->offset, p->count);
        expect_within(error, gradient_tolerance, p->name);
        worst = fmax(worst, error);
        seen += p->count;
    }
    assert_int_equal(seen, lam_params_count(params)); /* all parameters */
    free(gradients);
    return worst;
}

static double compare_outputs(struct net *net) {
    must(lam_block_evaluate(net->block, &net->batch, NULL));
    const json_t *row;
    double worst = 0;
    size_t i;
    assert_int_equal(json_array_size(json_object_get(net->golden_case, "outputs")), 2);
    json_array_foreach(json_object_get(net->golden_case, "outputs"), i, row) {
        const char *name = text(row, "name");
        int per_anchor = strcmp(name, "deltas") == 0 ? 4 : net->task.classes.count;
        int64_t count = (int64_t)net->batch.count * net->task.anchors.count * per_anchor;
        float *got = malloc((size_t)count * sizeof *got);
        must(lam_program_read(lam_block_program(net->block, LAM_BLOCK_EVAL), name, got,
                              (size_t)count * sizeof *got));
        double error = error_of(row, got, count);
        expect_within(error, gradient_tolerance, name);
        worst = fmax(worst, error);
        free(got);
    }
    return worst;
}

/* ---- tests ---- */

static void gradients_and_outputs_are_pytorchs(void **state) {
    const json_t *golden_case = *state;
    struct net net;
    net_create(&net, golden_case, number("gradient_batch"));
    double loss = train(&net, number("gradient_batch_number"), 0, 0), wanted = real(golden_case, "loss");
    expect_within(fabs(loss / wanted - 1), gradient_tolerance, "loss");
    double worst = compare_gradients(&net);
    double outputs = compare_outputs(&net); /* with the running statistics of that one step */
    print_message("%s: loss %.2g, worst gradient %.2g, outputs %.2g off\n", text(golden_case, "box_loss"),
                  fabs(loss / wanted - 1), worst, outputs);
    net_destroy(&net);
}

static void losses_of_steps_are_pytorchs(void **state) {
    const json_t *golden_case = *state, *numbers = json_object_get(golden, "batch_numbers");
    struct net net;
    net_create(&net, golden_case, number("batch"));
    const json_t *losses = json_object_get(golden_case, "losses"), *wanted;
    double worst = 0;
    size_t step;
    assert_int_equal(json_array_size(losses), 10);
    assert_int_equal(json_array_size(numbers), 10);
    json_array_foreach(losses, step, wanted) {
        char what[48];
        int batch = (int)json_integer_value(json_array_get(numbers, step));
        double loss = train(&net, batch, (float)real(golden_case, "learning_rate"), step);
        double error = fabs(loss / json_number_value(wanted) - 1);
        snprintf(what, sizeof what, "loss of step %zu", step);
        expect_within(error, loss_tolerance, what);
        worst = fmax(worst, error);
    }
    print_message("%s: worst loss %.2g off\n", text(golden_case, "box_loss"), worst);
    net_destroy(&net);
}

static bool parse(int argc, char **argv) {
    for (int i = 1; i < argc; i++) {
        if (!strcmp(argv[i], "--measure"))
            options.measure = true;
        else if (!strcmp(argv[i], "--steps"))
            options.steps = true;
        else if (!strcmp(argv[i], "--device") && i + 1 < argc)
            options.device = argv[++i];
        else
            return false;
    }
    return true;
}

int main(int argc, char **argv) {
    if (!parse(argc, argv)) {
        fprintf(stderr, "usage: %s [--device NAME] [--measure] [--steps]\n", argv[0]);
        return 2;
    }
    json_error_t error;
    golden = json_load_file(golden_path, 0, &error);
    if (!golden) {
        fprintf(stderr, "%s: %s; run in the source folder\n", golden_path, error.text);
        return 1;
    }
    json_t *cases = json_object_get(golden, "cases");
    json_t *giou = json_array_get(cases, 0), *smooth_l1 = json_array_get(cases, 1);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_prestate(gradients_and_outputs_are_pytorchs, giou),
        cmocka_unit_test_prestate(gradients_and_outputs_are_pytorchs, smooth_l1),
    };
    const struct CMUnitTest steps[] = {
        cmocka_unit_test_prestate(losses_of_steps_are_pytorchs, giou),
        cmocka_unit_test_prestate(losses_of_steps_are_pytorchs, smooth_l1),
    };
    int failed =
        options.steps ? cmocka_run_group_tests(steps, NULL, NULL) : cmocka_run_group_tests(tests, NULL, NULL);
    json_decref(golden);
    return failed;
}
