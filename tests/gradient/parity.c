#include "parity.h"

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

#include "base/files.h"
#include "golden_values.h"
#include "graph/program.h"
#include "nn/model.h"
#include "optim/optimizer.h"
#include "optim/schedule.h"

enum { MAX_LOGITS = 1024 };
static const double gradient_tolerance = 1e-4, loss_tolerance = 1e-3;

static json_t *golden;
static struct options {
    const char *device, *dump;
    bool measure;
    int max_slice;
} options;

static int number(const char *key) {
    return (int)json_integer_value(json_object_get(golden, key));
}

/* ---- a network with golden weights ---- */

struct net {
    struct lam_device *device;
    struct lam_model *model;
    struct lam_params *params;
    struct lam_tuning *tuning;
};

/* A graph of it, compiled, for batches of one size. */
struct runner {
    struct net *net;
    struct golden_shape shape;
    struct lam_graph *graph;
    struct lam_program *program;
    void *activations, *workspace;
    float *images, *device_images;
    int32_t *labels, *device_labels;
};

static void must(lam_status status) {
    if (status != LAM_OK) fail_msg("%s", lam_error_text());
}

static void open_device(struct net *net) {
    if (options.device)
        must(lam_device_open(options.device, 0, &net->device));
    else if (lam_device_open("cpu:0-1", 0, &net->device) != LAM_OK) /* a machine of one core */
        must(lam_device_open("cpu:0", 0, &net->device));
}

static void net_create(struct net *net) {
    struct lam_model_options model = {
        .image_size = number("image_size"), .channels = number("channels"), .classes = number("classes")};
    open_device(net);
    must(lam_model_create(json_string_value(json_object_get(golden, "model")), &model, &net->model));
    must(lam_params_create(&net->params));
    if (options.measure) must(lam_tuning_create(LAM_TUNING_MEASURE, &net->tuning));
}

/* Once all graphs have been built. */
static void net_fill(struct net *net) {
    must(lam_params_allocate(net->params, net->device));
    must(lam_params_init(net->params, 1)); /* running statistics */
    for (int i = 0; i < lam_params_size(net->params); i++) {
        const struct lam_param *p = lam_params_get(net->params, i);
        if (p->buffer) continue;
        float *values = malloc((size_t)p->count * sizeof *values);
        golden_parameter(p, values);
        must(lam_params_write(net->params, i, values));
        free(values);
    }
}

static void net_destroy(struct net *net) {
    lam_params_destroy(net->params);
    lam_model_destroy(net->model);
    lam_tuning_destroy(net->tuning);
    lam_device_close(net->device);
}

static void runner_build(struct runner *r, struct net *net, int batch, bool training) {
    const struct lam_model_options *o = &net->model->options;
    *r = (struct runner){.net = net, .shape = {batch, o->channels, o->image_size, o->classes}};
    must(lam_graph_create(net->params, batch, LAM_F32, training, &r->graph));
    lam_value x = lam_graph_input(r->graph, "image", LAM_F32,
                                  LAM_SHAPE(batch, o->channels, o->image_size, o->image_size));
    for (int i = 0; i < lam_model_units(net->model); i++)
        x = lam_model_build_unit(net->model, r->graph, i, x);
    lam_graph_output(r->graph, "logits", x);
    if (!training) return;
    lam_value label = lam_graph_input(r->graph, "label", LAM_I32, LAM_SHAPE(batch));
    lam_value loss = lam_cross_entropy(r->graph, x, label, 0.0f, NULL);
    lam_graph_output(r->graph, "loss", loss);
    must(lam_graph_backward(r->graph, loss));
}

static void runner_compile(struct runner *r) {
    struct lam_device *device = r->net->device;
    struct lam_program_options program = {.tuning = r->net->tuning, .max_slice = options.max_slice};
    must(lam_program_compile(r->graph, device, &program, &r->program));
    must(lam_device_alloc(device, LAM_MEMORY_ACTIVATIONS, lam_program_activation_bytes(r->program),
                          &r->activations));
    must(lam_device_alloc(device, LAM_MEMORY_WORKSPACE, lam_program_workspace_bytes(r->program),
                          &r->workspace));
    lam_program_attach(r->program, r->activations, r->workspace);
    size_t pixels = (size_t)r->shape.channels * (size_t)r->shape.image_size * (size_t)r->shape.image_size;
    size_t count = (size_t)r->shape.count, image_bytes = count * pixels * sizeof(float);
    r->images = malloc(image_bytes);
    r->labels = malloc(count * sizeof *r->labels);
    must(lam_device_alloc(device, LAM_MEMORY_DATA, image_bytes, (void **)&r->device_images));
    must(lam_device_alloc(device, LAM_MEMORY_DATA, count * sizeof(int32_t), (void **)&r->device_labels));
    lam_program_bind_input(r->program, lam_program_input(r->program, "image"), r->device_images);
    int label = lam_program_input(r->program, "label");
    if (label >= 0) lam_program_bind_input(r->program, label, r->device_labels);
}

static void runner_run(struct runner *r, int batch_number) {
    golden_batch(batch_number, &r->shape, r->images, r->labels);
    size_t image_bytes = (size_t)r->shape.count * (size_t)r->shape.channels * (size_t)r->shape.image_size *
                         (size_t)r->shape.image_size * sizeof(float);
    must(lam_device_upload(r->net->device, r->device_images, r->images, image_bytes));
    must(lam_device_upload(r->net->device, r->device_labels, r->labels,
                           (size_t)r->shape.count * sizeof(int32_t)));
    must(lam_program_run(r->program, 1, (uint64_t)batch_number));
}

static int read_logits(const struct runner *r, float *logits) {
    int count = r->shape.count * r->shape.classes;
    assert_true(count <= MAX_LOGITS);
    must(lam_program_read(r->program, "logits", logits, (size_t)count * sizeof(float)));
    return count;
}

static float read_loss(const struct runner *r) {
    float loss;
    must(lam_program_read(r->program, "loss", &loss, sizeof loss));
    return loss;
}

static void runner_destroy(struct runner *r) {
    lam_device_free(r->net->device, r->activations);
    lam_device_free(r->net->device, r->workspace);
    lam_device_free(r->net->device, r->device_images);
    lam_device_free(r->net->device, r->device_labels);
    free(r->images);
    free(r->labels);
    lam_program_destroy(r->program);
    lam_graph_destroy(r->graph);
}

/* All gradients, flat, as they lie on the device. */
static float *read_gradients(const struct net *net) {
    size_t bytes = (size_t)lam_params_count(net->params) * sizeof(float);
    float *gradients = malloc(bytes);
    must(lam_device_download(net->device, gradients, lam_params_gradients(net->params), bytes));
    return gradients;
}

/* ---- comparisons ---- */

/* Norm of the difference over the norm of what is wanted. */
static double relative_error(const float *got, const json_t *wanted, int64_t count) {
    double difference = 0, norm = 0;
    assert_int_equal(json_array_size(wanted), count);
    for (int64_t i = 0; i < count; i++) {
        double w = json_number_value(json_array_get(wanted, (size_t)i)), d = (double)got[i] - w;
        difference += d * d;
        norm += w * w;
    }
    return sqrt(difference / norm);
}

/* The same from projections: the mean square of a vector's inner products with random signs is the square of
 * its norm. */
static double projected_error(const char *name, const float *got, int64_t count, const json_t *row) {
    double projections[GOLDEN_PROJECTIONS], sum = 0;
    const json_t *wanted = json_object_get(row, "projections");
    assert_int_equal(json_array_size(wanted), GOLDEN_PROJECTIONS);
    golden_project(name, got, count, projections);
    for (int k = 0; k < GOLDEN_PROJECTIONS; k++) {
        double d = projections[k] - json_number_value(json_array_get(wanted, (size_t)k));
        sum += d * d;
    }
    return sqrt(sum / GOLDEN_PROJECTIONS) / json_number_value(json_object_get(row, "norm"));
}

static void expect_within(double error, double tolerance, const char *what) {
    if (!(error <= tolerance)) fail_msg("%s: relative error %.3g is above %.3g", what, error, tolerance);
}

static double gradient_error(const struct net *net, const float *gradients, const json_t *row) {
    const char *name = json_string_value(json_object_get(row, "name"));
    int index = lam_params_find(net->params, name);
    if (index < 0) fail_msg("no parameter %s", name);
    const struct lam_param *p = lam_params_get(net->params, index);
    const float *got = gradients + p->offset;
    assert_int_equal(p->count, json_integer_value(json_object_get(row, "count")));
    double error = projected_error(name, got, p->count, row);
    const json_t *values = json_object_get(row, "values");
    if (values) {
        double exact = relative_error(got, values, p->count);
        if (!(exact <= error)) error = exact;
    }
    expect_within(error, gradient_tolerance, name);
    return error;
}

static int trainable(const struct lam_params *params) {
    int count = 0;
    for (int i = 0; i < lam_params_size(params); i++) count += !lam_params_get(params, i)->buffer;
    return count;
}

/* ---- tests ---- */

static void logits_and_gradients_are_pytorchs(void **state) {
    (void)state;
    struct net net = {0};
    struct runner train, evaluate;
    float logits[MAX_LOGITS];
    net_create(&net);
    runner_build(&train, &net, number("gradient_batch"), true);
    runner_build(&evaluate, &net, number("gradient_batch"), false);
    net_fill(&net);
    runner_compile(&train);
    runner_compile(&evaluate);

    runner_run(&train, number("gradient_batch_number"));
    int count = read_logits(&train, logits);
    double error = relative_error(logits, json_object_get(golden, "logits"), count);
    expect_within(error, gradient_tolerance, "logits");
    double loss = json_number_value(json_object_get(golden, "loss"));
    expect_within(fabs((double)read_loss(&train) - loss) / loss, gradient_tolerance, "loss");

    const json_t *rows = json_object_get(golden, "gradients"), *row;
    float *gradients = read_gradients(&net);
    double worst = 0;
    size_t i;
    assert_int_equal(json_array_size(rows), trainable(net.params));
    json_array_foreach(rows, i, row) worst = fmax(worst, gradient_error(&net, gradients, row));
    print_message("logits %.2g, worst gradient %.2g off\n", error, worst);

    runner_run(&evaluate, number("gradient_batch_number")); /* with the running statistics of that one step */
    read_logits(&evaluate, logits);
    expect_within(relative_error(logits, json_object_get(golden, "eval_logits"), count), gradient_tolerance,
                  "evaluation logits");
    free(gradients);
    runner_destroy(&evaluate);
    runner_destroy(&train);
    net_destroy(&net);
}

static struct lam_optimizer_options optimizer_options(void) {
    bool sgd = !strcmp(json_string_value(json_object_get(golden, "optimizer")), "sgd");
    struct lam_optimizer_options o =
        lam_optimizer_default_options(sgd ? LAM_OPTIMIZER_SGD : LAM_OPTIMIZER_ADAMW);
    o.weight_decay = sgd ? 1e-4f : 0.05f;
    return o;
}

static void twenty_losses_are_pytorchs(void **state) {
    (void)state;
    struct net net = {0};
    struct runner train;
    net_create(&net);
    runner_build(&train, &net, number("batch"), true);
    net_fill(&net);
    runner_compile(&train);
    struct lam_optimizer *optimizer;
    struct lam_optimizer_options o = optimizer_options();
    must(lam_optimizer_create(&o, net.params, net.device, &optimizer));
    struct lam_schedule schedule = {.kind = LAM_SCHEDULE_CONSTANT,
                                    .base =
                                        (float)json_number_value(json_object_get(golden, "learning_rate")),
                                    .warmup = (uint64_t)number("warmup")};
    const json_t *losses = json_object_get(golden, "losses"), *loss;
    double worst = 0;
    size_t step;
    assert_int_equal(json_array_size(losses), 20);
    json_array_foreach(losses, step, loss) {
        char what[48];
        runner_run(&train, (int)step);
        double error = fabs((double)read_loss(&train) / json_number_value(loss) - 1.0);
        worst = fmax(worst, error);
        snprintf(what, sizeof what, "loss of step %zu", step);
        expect_within(error, loss_tolerance, what);
        must(lam_optimizer_step(optimizer, lam_schedule_at(&schedule, step), step));
    }
    print_message("worst loss %.2g off\n", worst);
    lam_optimizer_destroy(optimizer);
    runner_destroy(&train);
    net_destroy(&net);
}

/* ---- dump ---- */

static void add_tensor(json_t *header, const char *name, struct lam_shape shape, size_t begin, size_t end) {
    json_t *dims = json_array();
    for (int i = 0; i < shape.rank; i++) json_array_append_new(dims, json_integer(shape.dim[i]));
    json_object_set_new(header, name,
                        json_pack("{s:s, s:o, s:[I, I]}", "dtype", "F32", "shape", dims, "data_offsets",
                                  (json_int_t)begin, (json_int_t)end));
}

static void write_dump(const struct net *net, const struct runner *train, const char *path) {
    float logits[MAX_LOGITS], *gradients = read_gradients(net);
    size_t bytes = (size_t)lam_params_count(net->params) * sizeof(float);
    size_t logit_bytes = (size_t)read_logits(train, logits) * sizeof(float);
    json_t *header = json_object();
    add_tensor(header, "logits", LAM_SHAPE(train->shape.count, train->shape.classes), bytes,
               bytes + logit_bytes);
    for (int i = 0; i < lam_params_size(net->params); i++) {
        const struct lam_param *p = lam_params_get(net->params, i);
        size_t begin = (size_t)p->offset * sizeof(float);
        if (!p->buffer)
            add_tensor(header, p->name, p->shape, begin, begin + (size_t)p->count * sizeof(float));
    }
    char *text = json_dumps(header, JSON_COMPACT);
    uint64_t length = strlen(text);
    struct lam_atomic_file file;
    must(lam_atomic_open(&file, path));
    fwrite(&length, sizeof length, 1, file.stream);
    fwrite(text, 1, length, file.stream);
    fwrite(gradients, 1, bytes, file.stream);
    fwrite(logits, 1, logit_bytes, file.stream);
    must(lam_atomic_commit(&file));
    free(text);
    free(gradients);
    json_decref(header);
}

static void dump(void **state) {
    (void)state;
    struct net net = {0};
    struct runner train;
    net_create(&net);
    runner_build(&train, &net, number("gradient_batch"), true);
    net_fill(&net);
    runner_compile(&train);
    runner_run(&train, number("gradient_batch_number"));
    write_dump(&net, &train, options.dump);
    runner_destroy(&train);
    net_destroy(&net);
}

static bool parse(int argc, char **argv) {
    for (int i = 1; i < argc; i++) {
        bool value = i + 1 < argc;
        if (!strcmp(argv[i], "--measure"))
            options.measure = true;
        else if (!strcmp(argv[i], "--dump") && value)
            options.dump = argv[++i];
        else if (!strcmp(argv[i], "--device") && value)
            options.device = argv[++i];
        else if (!strcmp(argv[i], "--max-slice") && value)
            options.max_slice = atoi(argv[++i]);
        else
            return false;
    }
    return true;
}

int parity_main(const char *golden_path, int argc, char **argv) {
    if (!parse(argc, argv)) {
        fprintf(stderr, "usage: %s [--device NAME] [--measure] [--max-slice N] [--dump FILE]\n", argv[0]);
        return 2;
    }
    json_error_t error;
    golden = json_load_file(golden_path, 0, &error);
    if (!golden) {
        fprintf(stderr, "%s: %s; run in the source folder\n", golden_path, error.text);
        return 1;
    }
    const struct CMUnitTest dumps[] = {cmocka_unit_test(dump)};
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(logits_and_gradients_are_pytorchs),
        cmocka_unit_test(twenty_losses_are_pytorchs),
    };
    int failed =
        options.dump ? cmocka_run_group_tests(dumps, NULL, NULL) : cmocka_run_group_tests(tests, NULL, NULL);
    json_decref(golden);
    return failed;
}
