/* The networks of super-resolution: how many parameters they have, what shapes they give at each scale, where they are cut, how
 * far a pixel sees. Gradients are in tests/gradient. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

#include "base/rng.h"
#include "graph/program.h"
#include "tasks/sr/models.h"
#include "tasks/sr/tile.h"

#define OK(call)                                                                                             \
    do {                                                                                                     \
        if ((call) != LAM_OK) fail_msg("%s", lam_error_text());                                              \
    } while (0)

/* A network as a graph for evaluation. */
struct built {
    struct sr_net *net;
    struct lam_network network;
    struct lam_params *params;
    struct lam_graph *graph;
    lam_value image;
};

static void build(struct built *b, const struct sr_net_options *options, int width, int height) {
    *b = (struct built){0};
    OK(sr_net_create(options, &b->net));
    b->network = sr_net_network(b->net);
    OK(lam_params_create(&b->params));
    OK(lam_graph_create(b->params, 1, LAM_F32, false, &b->graph));
    lam_value taps[LAM_MAX_TAPS],
        x = lam_graph_input(b->graph, "image", LAM_F32, LAM_SHAPE(1, 3, height, width));
    for (int t = 0; t < LAM_MAX_TAPS; t++) taps[t] = LAM_NO_VALUE;
    lam_taps_turn(&b->network, -1, x, taps);
    for (int unit = 0; unit < b->network.units; unit++) {
        x = b->network.build_unit(b->network.context, b->graph, unit, x, taps);
        lam_taps_turn(&b->network, unit, x, taps);
    }
    b->image = x;
    lam_graph_output(b->graph, "image", x);
    OK(lam_graph_status(b->graph));
}

static void drop(struct built *b) {
    lam_graph_destroy(b->graph);
    lam_params_destroy(b->params);
    sr_net_destroy(b->net);
}

/* Of the published counts, 1.37 M and 15444667, the latter has the 24 numbers of two fixed shifts of the mean. */
static void test_parameters(void **state) {
    static const struct {
        const char *name;
        int scale;
        int64_t parameters;
    } cases[] = {{"edsr-baseline", 2, 1369859},
                 {"edsr-baseline", 3, 1554499},
                 {"edsr-baseline", 4, 1517571},
                 {"edsr-small", 2, 195971},
                 {"rcan", 2, 15444643}};
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct sr_net_options options = {.name = cases[i].name, .scale = cases[i].scale, .global_skip = true};
        struct built b;
        build(&b, &options, 8, 8);
        if (lam_params_count(b.params) != cases[i].parameters)
            fail_msg("%s x%d has %lld parameters, not %lld", cases[i].name, cases[i].scale,
                     (long long)lam_params_count(b.params), (long long)cases[i].parameters);
        drop(&b);
    }
}

static void test_shapes(void **state) {
    static const char *const names[] = {"edsr-small", "rcan-small"};
    (void)state;
    for (int n = 0; n < 2; n++)
        for (int scale = 2; scale <= 4; scale++)
            for (int skip = 0; skip < 2; skip++) {
                struct sr_net_options options = {.name = names[n],
                                                 .scale = scale,
                                                 .global_skip = skip,
                                                 .channels = 16,
                                                 .units = 2,
                                                 .blocks = 1};
                struct built b;
                build(&b, &options, 7, 5);
                assert_true(lam_shape_equal(lam_value_shape(b.graph, b.image),
                                            LAM_SHAPE(1, 3, scale * 5, scale * 7)));
                assert_int_equal(b.network.tap_count, 1 + skip);
                drop(&b);
            }
}

static void test_cuts(void **state) {
    (void)state;
    struct sr_net *net;
    struct sr_net_options options = {.name = "edsr-baseline", .scale = 2};
    OK(sr_net_create(&options, &net));
    struct lam_network network = sr_net_network(net);
    int cuts[8];
    char name[32];
    OK(network.paper_cuts(network.context, 4, cuts));
    static const int expected[] = {4, 8, 12};
    assert_memory_equal(cuts, expected, sizeof expected);
    assert_string_equal(network.unit_name(network.context, cuts[0], name, sizeof name), "body.3");
    assert_string_equal(network.unit_name(network.context, network.head_unit, name, sizeof name), "tail");
    assert_int_equal(network.paper_cuts(network.context, 17, cuts), LAM_ERR_INVALID);
    sr_net_destroy(net);
}

static void test_refusals(void **state) {
    (void)state;
    struct sr_net *net;
    struct sr_net_options options = {.name = "edsr-smal", .scale = 2};
    assert_int_equal(sr_net_create(&options, &net), LAM_ERR_NOT_FOUND);
    assert_non_null(strstr(lam_error_text(), "did you mean edsr-small"));
    options = (struct sr_net_options){.name = "edsr-small", .scale = 5};
    assert_int_equal(sr_net_create(&options, &net), LAM_ERR_INVALID);
}

/* ---- tiles ---- */

static bool all(const char *name) {
    (void)name;
    return true;
}

static bool none(const char *name) {
    (void)name;
    return false;
}

static bool all_but_body_and_tail_conv(const char *name) {
    return strncmp(name, "body.", 5) != 0 && strncmp(name, "tail.conv.", 10) != 0;
}

/* One image through a network compiled for its size, whose parameters are zero but for those that are kept. */
static void run_with(const struct sr_net_options *options, bool (*kept)(const char *name), int width,
                     int height, const float *input, float *output) {
    struct built b;
    struct lam_device *device;
    struct lam_program *program;
    struct lam_program_options compile = {0};
    void *activations, *workspace, *image;
    size_t pixels = 3 * (size_t)width * (size_t)height, scale = (size_t)options->scale;
    OK(lam_device_open("cpu:0", 0, &device));
    build(&b, options, width, height);
    OK(lam_params_allocate(b.params, device));
    OK(lam_params_init(b.params, 4));
    float *zeros = calloc((size_t)lam_params_count(b.params), sizeof *zeros);
    assert_non_null(zeros);
    for (int i = 0; i < lam_params_size(b.params); i++)
        if (!kept(lam_params_get(b.params, i)->name)) OK(lam_params_write(b.params, i, zeros));
    free(zeros);
    OK(lam_program_compile(b.graph, device, &compile, &program));
    OK(lam_device_alloc(device, LAM_MEMORY_ACTIVATIONS, lam_program_activation_bytes(program), &activations));
    OK(lam_device_alloc(device, LAM_MEMORY_WORKSPACE, lam_program_workspace_bytes(program), &workspace));
    OK(lam_device_alloc(device, LAM_MEMORY_DATA, pixels * sizeof(float), &image));
    lam_program_attach(program, activations, workspace);
    OK(lam_device_upload(device, image, input, pixels * sizeof(float)));
    lam_program_bind_input(program, lam_program_input(program, "image"), image);
    OK(lam_program_run(program, 1, 0));
    OK(lam_program_read(program, "image", output, pixels * scale * scale * sizeof(float)));
    lam_program_destroy(program);
    lam_device_free(device, activations);
    lam_device_free(device, workspace);
    lam_device_free(device, image);
    drop(&b);
    lam_device_close(device);
}

static void run(const struct sr_net_options *options, int width, int height, const float *input,
                float *output) {
    run_with(options, all, width, height, input, output);
}

/* The radius is enough, and one pixel less is not: tiles give the image's own pixels, up to rounding. */
static double tile_error(const struct sr_net_options *options, int radius) {
    enum { WIDTH = 40, HEIGHT = 33, SIDE = 27 };
    struct sr_planes image = {0}, whole = {0}, tiled = {0};
    int scale = options->scale;
    OK(sr_planes_alloc(&image, 3, WIDTH, HEIGHT));
    OK(sr_planes_alloc(&whole, 3, scale * WIDTH, scale * HEIGHT));
    OK(sr_planes_alloc(&tiled, 3, scale * WIDTH, scale * HEIGHT));
    struct lam_rng rng = lam_rng_make(1, LAM_RNG_TEST, 0, 0);
    for (int i = 0; i < 3 * WIDTH * HEIGHT; i++) image.data[i] = lam_rng_normal(&rng);
    run(options, WIDTH, HEIGHT, image.data, whole.data);
    struct sr_tiling tiling;
    OK(sr_tiling_make(WIDTH, HEIGHT, SIDE, radius, scale, &tiling));
    float *input = malloc(3 * SIDE * SIDE * sizeof *input);
    float *output = malloc(3 * SIDE * SIDE * (size_t)(scale * scale) * sizeof *output);
    assert_true(input && output);
    for (int i = 0; i < tiling.columns * tiling.rows; i++) {
        struct sr_tile tile = sr_tiling_at(&tiling, i);
        sr_tile_cut(&tile, &image, input);
        run(options, SIDE, SIDE, input, output);
        sr_tile_paste(&tile, output, &tiled);
    }
    double most = 0;
    for (int i = 0; i < 3 * scale * WIDTH * scale * HEIGHT; i++) {
        double d = (double)whole.data[i] - (double)tiled.data[i];
        most = d > most ? d : -d > most ? -d : most;
    }
    free(input);
    free(output);
    sr_planes_free(&image);
    sr_planes_free(&whole);
    sr_planes_free(&tiled);
    return most;
}

static void test_radius(void **state) {
    (void)state;
    for (int scale = 2; scale <= 4; scale++) {
        struct sr_net_options options = {
            .name = "edsr-small", .scale = scale, .global_skip = true, .channels = 4, .units = 3};
        struct sr_net *net;
        OK(sr_net_create(&options, &net));
        int radius = sr_net_radius(net);
        assert_false(sr_net_sees_all(net));
        sr_net_destroy(net);
        assert_int_equal(radius, 10);
        assert_true(tile_error(&options, radius) < 1e-5);
        assert_true(tile_error(&options, radius - 2) > 1e-9);
    }
}

/* ---- skips ---- */

/* Without weights, the input with each pixel repeated comes out. Where the tail's first convolution is zero, what the long skip
 * brings comes out. */
static void test_skips(void **state) {
    enum { SIDE = 4, LARGE = 3 * SIDE };
    (void)state;
    float input[3 * SIDE * SIDE], output[3 * LARGE * LARGE];
    for (int i = 0; i < 3 * SIDE * SIDE; i++) input[i] = (float)i - 20;
    struct sr_net_options options = {
        .name = "edsr-small", .scale = 3, .global_skip = true, .channels = 8, .units = 2};
    run_with(&options, none, SIDE, SIDE, input, output);
    for (int c = 0; c < 3; c++)
        for (int y = 0; y < LARGE; y++)
            for (int x = 0; x < LARGE; x++)
                assert_true(output[(c * LARGE + y) * LARGE + x] == input[(c * SIDE + y / 3) * SIDE + x / 3]);
    options.global_skip = false;
    run_with(&options, none, SIDE, SIDE, input, output);
    for (int i = 0; i < 3 * LARGE * LARGE; i++) assert_true(output[i] == 0);
    float most = 0;
    run_with(&options, all_but_body_and_tail_conv, SIDE, SIDE, input, output);
    for (int i = 0; i < 3 * LARGE * LARGE; i++) most = output[i] > most ? output[i] : most;
    assert_true(most > 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_parameters), cmocka_unit_test(test_shapes), cmocka_unit_test(test_cuts),
        cmocka_unit_test(test_refusals),   cmocka_unit_test(test_radius), cmocka_unit_test(test_skips),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
