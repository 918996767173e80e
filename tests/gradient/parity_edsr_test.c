/* EDSR against PyTorch in double precision, on the same weights and batches (tests/golden/make_sr_golden.py): gradients of all
 * parameters, and the losses of the first steps. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <jansson.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "golden_values.h"
#include "graph/program.h"
#include "optim/optimizer.h"
#include "tasks/sr/models.h"

static const double gradient_tolerance = 1e-4, loss_tolerance = 1e-3;
static json_t *golden;

static int number(const char *key) {
    return (int)json_integer_value(json_object_get(golden, key));
}

static void must(lam_status status) {
    if (status != LAM_OK) fail_msg("%s", lam_error_text());
}

/* The network for batches of one size, compiled. */
struct net {
    struct lam_device *device;
    struct sr_net *sr;
    struct lam_params *params;
    struct lam_graph *graph;
    struct lam_program *program;
    int batch, side, scale;
    void *activations, *workspace, *image, *target;
};

static void build(struct net *n) {
    struct sr_net_options options = {
        .name = json_string_value(json_object_get(golden, "model")), .scale = n->scale, .global_skip = true};
    must(sr_net_create(&options, &n->sr));
    struct lam_network network = sr_net_network(n->sr);
    must(lam_params_create(&n->params));
    must(lam_graph_create(n->params, n->batch, LAM_F32, true, &n->graph));
    int small = n->side / n->scale;
    lam_value taps[LAM_MAX_TAPS];
    lam_value x = lam_graph_input(n->graph, "image", LAM_F32, LAM_SHAPE(n->batch, 3, small, small));
    lam_value target = lam_graph_input(n->graph, "target", LAM_F32, LAM_SHAPE(n->batch, 3, n->side, n->side));
    for (int t = 0; t < LAM_MAX_TAPS; t++) taps[t] = LAM_NO_VALUE;
    lam_taps_turn(&network, -1, x, taps);
    for (int unit = 0; unit < network.units; unit++) {
        x = network.build_unit(network.context, n->graph, unit, x, taps);
        lam_taps_turn(&network, unit, x, taps);
    }
    lam_value loss = lam_l1_loss(n->graph, x, target);
    lam_graph_output(n->graph, "loss", loss);
    must(lam_graph_backward(n->graph, loss));
}

/* As the script sets them: what closes a branch is a quarter. */
static void fill(struct net *n) {
    must(lam_params_allocate(n->params, n->device));
    for (int i = 0; i < lam_params_size(n->params); i++) {
        const struct lam_param *p = lam_params_get(n->params, i);
        float *values = malloc((size_t)p->count * sizeof *values);
        assert_non_null(values);
        golden_parameter(p, values);
        bool closes = strstr(p->name, "conv2.weight") || strstr(p->name, "out.weight");
        for (int64_t k = 0; closes && k < p->count; k++) values[k] *= 0.25f;
        must(lam_params_write(n->params, i, values));
        free(values);
    }
}

static void open_net(struct net *n, int batch) {
    struct lam_program_options compile = {0};
    *n = (struct net){.batch = batch, .side = number("image_size"), .scale = number("scale")};
    must(lam_device_open("cpu:0", 0, &n->device));
    build(n);
    fill(n);
    must(lam_program_compile(n->graph, n->device, &compile, &n->program));
    size_t large = (size_t)(batch * 3 * n->side * n->side) * sizeof(float);
    must(lam_device_alloc(n->device, LAM_MEMORY_ACTIVATIONS, lam_program_activation_bytes(n->program),
                          &n->activations));
    must(lam_device_alloc(n->device, LAM_MEMORY_WORKSPACE, lam_program_workspace_bytes(n->program),
                          &n->workspace));
    must(lam_device_alloc(n->device, LAM_MEMORY_DATA, large, &n->target));
    must(lam_device_alloc(n->device, LAM_MEMORY_DATA, large / (size_t)(n->scale * n->scale), &n->image));
    lam_program_attach(n->program, n->activations, n->workspace);
    lam_program_bind_input(n->program, lam_program_input(n->program, "image"), n->image);
    lam_program_bind_input(n->program, lam_program_input(n->program, "target"), n->target);
}

static void close_net(struct net *n) {
    lam_program_destroy(n->program);
    lam_graph_destroy(n->graph);
    void *buffers[] = {n->activations, n->workspace, n->image, n->target};
    for (int i = 0; i < 4; i++) lam_device_free(n->device, buffers[i]);
    lam_params_destroy(n->params);
    sr_net_destroy(n->sr);
    lam_device_close(n->device);
}

/* One step on a batch: every second pixel of its images is the small image. */
static double run(struct net *n, int batch_number) {
    struct golden_shape shape = {n->batch, 3, n->side, number("classes")};
    int planes = n->batch * 3, small = n->side / n->scale;
    float *large = malloc((size_t)(planes * n->side * n->side) * sizeof *large);
    float *image = malloc((size_t)(planes * small * small) * sizeof *image);
    int32_t labels[64];
    assert_true(large && image);
    golden_batch(batch_number, &shape, large, labels);
    for (int i = 0; i < planes * small * small; i++) {
        int x = i % small, y = i / small % small, plane = i / small / small;
        image[i] = large[(plane * n->side + y * n->scale) * n->side + x * n->scale];
    }
    must(
        lam_device_upload(n->device, n->target, large, (size_t)(planes * n->side * n->side) * sizeof *large));
    must(lam_device_upload(n->device, n->image, image, (size_t)(planes * small * small) * sizeof *image));
    must(lam_program_run(n->program, 1, (uint64_t)batch_number));
    free(large);
    free(image);
    float loss;
    must(lam_program_read(n->program, "loss", &loss, sizeof loss));
    return (double)loss;
}

/* The mean square of a vector's inner products with random signs is the square of its norm. */
static double gradient_error(const struct net *n, const float *gradients, const json_t *row) {
    const char *name = json_string_value(json_object_get(row, "name"));
    const json_t *wanted = json_object_get(row, "projections");
    int index = lam_params_find(n->params, name);
    if (index < 0) fail_msg("no parameter %s", name);
    const struct lam_param *p = lam_params_get(n->params, index);
    assert_int_equal(p->count, json_integer_value(json_object_get(row, "count")));
    double projections[GOLDEN_PROJECTIONS], sum = 0;
    golden_project(name, gradients + p->offset, p->count, projections);
    for (int k = 0; k < GOLDEN_PROJECTIONS; k++)
        sum += pow(projections[k] - json_number_value(json_array_get(wanted, (size_t)k)), 2);
    double error = sqrt(sum / GOLDEN_PROJECTIONS) / json_number_value(json_object_get(row, "norm"));
    if (!(error <= gradient_tolerance)) fail_msg("%s: relative error %.3g", name, error);
    return error;
}

static void gradients_are_pytorchs(void **state) {
    (void)state;
    struct net n;
    open_net(&n, number("gradient_batch"));
    double loss = run(&n, number("gradient_batch_number")), worst = 0;
    double wanted = json_number_value(json_object_get(golden, "loss"));
    assert_true(fabs(loss / wanted - 1) <= gradient_tolerance);
    size_t bytes = (size_t)lam_params_count(n.params) * sizeof(float), i;
    float *gradients = malloc(bytes);
    assert_non_null(gradients);
    must(lam_device_download(n.device, gradients, lam_params_gradients(n.params), bytes));
    const json_t *rows = json_object_get(golden, "gradients"), *row;
    assert_int_equal(json_array_size(rows), lam_params_size(n.params));
    json_array_foreach(rows, i, row) worst = fmax(worst, gradient_error(&n, gradients, row));
    print_message("worst gradient %.2g off\n", worst);
    free(gradients);
    close_net(&n);
}

static void first_losses_are_pytorchs(void **state) {
    (void)state;
    struct net n;
    struct lam_optimizer *optimizer;
    struct lam_optimizer_options options = lam_optimizer_default_options(LAM_OPTIMIZER_ADAM);
    options.weight_decay = 0;
    open_net(&n, number("batch"));
    must(lam_optimizer_create(&options, n.params, n.device, &optimizer));
    const json_t *losses = json_object_get(golden, "losses"), *loss;
    double worst = 0;
    size_t step;
    assert_int_equal(json_array_size(losses), 20);
    json_array_foreach(losses, step, loss) {
        double error = fabs(run(&n, (int)step) / json_number_value(loss) - 1);
        worst = fmax(worst, error);
        if (!(error <= loss_tolerance)) fail_msg("loss of step %zu is %.3g off", step, error);
        must(lam_optimizer_step(optimizer, (float)json_number_value(json_object_get(golden, "learning_rate")),
                                step));
    }
    print_message("worst loss %.2g off\n", worst);
    lam_optimizer_destroy(optimizer);
    close_net(&n);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(gradients_are_pytorchs),
        cmocka_unit_test(first_losses_are_pytorchs),
    };
    json_error_t error;
    golden = json_load_file("tests/golden/edsr-small.json", 0, &error);
    if (!golden) {
        print_error("tests/golden/edsr-small.json: %s; run in the source folder\n", error.text);
        return 1;
    }
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    json_decref(golden);
    return failed;
}
