/* Building, fusing and differentiating graphs; the memory planner. What the numbers are is checked in
 * tests/gradient. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/rng.h"
#include "graph/internal.h"
#include "graph/program.h"

struct fixture {
    struct lam_params *params;
    struct lam_graph *g;
};

static struct fixture make(bool training) {
    struct fixture f;
    assert_int_equal(lam_params_create(&f.params), LAM_OK);
    assert_int_equal(lam_graph_create(f.params, 4, LAM_F32, training, &f.g), LAM_OK);
    return f;
}

static void drop(struct fixture *f) {
    lam_graph_destroy(f->g);
    lam_params_destroy(f->params);
}

static int count(const struct lam_graph *g, enum lam_op_kind kind) {
    int n = 0;
    for (int i = 0; i < g->node_count; i++) n += !g->nodes[i].dead && g->nodes[i].op.kind == kind;
    return n;
}

static int with_addend(const struct lam_graph *g, enum lam_op_kind kind) {
    int n = 0;
    for (int i = 0; i < g->node_count; i++)
        n += !g->nodes[i].dead && g->nodes[i].op.kind == kind &&
             g->nodes[i].op.inputs > lam_op_addend(kind) &&
             g->nodes[i].in[lam_op_addend(kind)] != LAM_NO_VALUE;
    return n;
}

static lam_value image(struct lam_graph *g) {
    return lam_graph_input(g, "image", LAM_F32, LAM_SHAPE(4, 3, 8, 8));
}

static lam_value conv_bn(struct lam_graph *g, lam_value x, const char *name, int stride) {
    lam_graph_push_scope(g, "%s", name);
    x = lam_conv(g, x, "conv", (struct lam_conv_spec){.out = 16, .kernel = 3, .pad = 1, .stride = stride});
    x = lam_batch_norm(g, x, "bn");
    lam_graph_pop_scope(g);
    return x;
}

static lam_value residual_loss(struct lam_graph *g) {
    lam_value x = lam_relu(g, conv_bn(g, image(g), "stem", 1));
    lam_value y = conv_bn(g, lam_relu(g, conv_bn(g, x, "a", 1)), "b", 1);
    x = lam_relu(g, lam_add(g, y, x));
    lam_value logits =
        lam_linear(g, lam_global_avg_pool(g, x), "fc", (struct lam_linear_spec){.out = 5, .bias = true});
    return lam_cross_entropy(g, logits, lam_graph_input(g, "label", LAM_I32, LAM_SHAPE(4)), 0, NULL);
}

static void test_residual_network_is_fused(void **state) {
    (void)state;
    struct fixture f = make(true);
    lam_value loss = residual_loss(f.g);
    lam_graph_output(f.g, "loss", loss);
    assert_int_equal(lam_graph_backward(f.g, loss), LAM_OK);
    assert_int_equal(count(f.g, LAM_OP_RELU), 0);
    assert_int_equal(count(f.g, LAM_OP_BN_APPLY), 3);
    assert_int_equal(count(f.g, LAM_OP_CONV), 3);
    assert_int_equal(count(f.g, LAM_OP_CONV_BWD_WEIGHTS), 3);
    assert_int_equal(count(f.g, LAM_OP_CONV_BWD_DATA), 2); /* none for the image */
    assert_int_equal(count(f.g, LAM_OP_RELU_BWD), 1); /* only behind the skip; others are in batch norm */
    assert_int_equal(count(f.g, LAM_OP_ADD), 0);      /* the gradients that meet at the skip: an addend */
    assert_int_equal(with_addend(f.g, LAM_OP_CONV_BWD_DATA), 1);
    drop(&f);
}

/* conv -> add, add's gradient beside that of a mask, linear -> add, layer norm's gradient -> add, channel scale -> add. */
static void test_sums_become_addends(void **state) {
    (void)state;
    struct fixture f = make(true);
    struct lam_conv_spec three = {.out = 3, .kernel = 3, .pad = 1, .bias = true};
    lam_value x = lam_conv(f.g, image(f.g), "stem", three);
    lam_value y = lam_conv(f.g, lam_relu(f.g, lam_conv(f.g, x, "a", three)), "b", three);
    y = lam_channel_scale(f.g, y, lam_global_avg_pool(f.g, y));
    x = lam_relu(f.g, lam_add(f.g, x, y));
    x = lam_add(f.g, lam_conv(f.g, x, "c", three), x);
    x = lam_reshape(f.g, x, LAM_SHAPE(4, 8, 24));
    y = lam_linear(f.g, lam_layer_norm(f.g, x, "norm", 1e-6f), "d", (struct lam_linear_spec){.out = 24});
    x = lam_add(f.g, x, y);
    lam_value loss = lam_l1_loss(f.g, x, lam_graph_input(f.g, "t", LAM_F32, LAM_SHAPE(4, 8, 24)));
    lam_graph_output(f.g, "loss", loss);
    assert_int_equal(lam_graph_backward(f.g, loss), LAM_OK);
    assert_int_equal(with_addend(f.g, LAM_OP_CHANNEL_SCALE), 1);
    assert_int_equal(with_addend(f.g, LAM_OP_CONV), 1);
    assert_int_equal(with_addend(f.g, LAM_OP_LINEAR), 1);
    assert_int_equal(with_addend(f.g, LAM_OP_LAYER_NORM_BWD), 1);
    assert_int_equal(with_addend(f.g, LAM_OP_RELU_BWD), 1);      /* behind the first skip */
    assert_int_equal(with_addend(f.g, LAM_OP_CONV_BWD_DATA), 1); /* at the stem */
    assert_int_equal(count(f.g, LAM_OP_ADD), 1);                 /* of two gradients of a gate's x */
    drop(&f);
}

/* A sum that somebody else reads stays. */
static void test_sums_that_are_wanted_stay(void **state) {
    (void)state;
    struct fixture f = make(true);
    struct lam_conv_spec three = {.out = 3, .kernel = 3, .pad = 1};
    lam_value x = lam_relu(f.g, image(f.g)), y = lam_conv(f.g, x, "a", three);
    lam_graph_output(f.g, "y", lam_add(f.g, lam_add(f.g, y, x), y)); /* y is read twice */
    assert_int_equal(lam_graph_fuse(f.g), LAM_OK);
    assert_int_equal(with_addend(f.g, LAM_OP_CONV), 0);
    assert_int_equal(count(f.g, LAM_OP_ADD), 2);
    drop(&f);
}

static bool is_made(const struct lam_graph *g, lam_value v) {
    return v != LAM_NO_VALUE && g->values[v].producer >= 0 && !g->nodes[g->values[v].producer].dead;
}

/* A gradient that goes out of a part is made, though ReLU's gradient could have added its terms by itself. */
static void test_gradients_that_go_out_stay(void **state) {
    (void)state;
    struct fixture f = make(true);
    struct lam_conv_spec three = {.out = 3, .kernel = 3, .pad = 1};
    lam_value x = lam_relu(f.g, lam_conv(f.g, image(f.g), "stem", three));
    lam_value out = lam_add(f.g, lam_scale(f.g, x, 2), lam_scale(f.g, x, 3));
    lam_value dy = lam_graph_input(f.g, "dy", LAM_F32, LAM_SHAPE(4, 3, 8, 8)), dx;
    struct lam_graph_part part = {
        .loss = LAM_NO_VALUE, .y = &out, .dy = &dy, .outputs = 1, .x = &x, .dx = &dx, .inputs = 1};
    assert_int_equal(lam_graph_backward_part(f.g, &part), LAM_OK);
    assert_true(is_made(f.g, dx));
    assert_int_equal(with_addend(f.g, LAM_OP_RELU_BWD), 0);
    assert_int_equal(count(f.g, LAM_OP_CONV_BWD_WEIGHTS), 1);
    drop(&f);
}

/* Two norms have their gamma in common: the sum of its gradients reads what the one that is differentiated first makes, and comes
 * before the sum at x. So that norm's gradient may not move there. */
static void test_an_op_whose_results_are_read_before_stays(void **state) {
    (void)state;
    struct fixture f = make(true);
    struct lam_conv_spec one = {.out = 3, .kernel = 1};
    lam_value x = lam_reshape(f.g, lam_conv(f.g, image(f.g), "stem", one), LAM_SHAPE(4, 8, 24));
    lam_value b = lam_layer_norm(f.g, lam_gelu(f.g, lam_scale(f.g, x, 2)), "norm", 1e-6f);
    lam_value a = lam_layer_norm(f.g, x, "norm", 1e-6f);
    lam_value t = lam_graph_input(f.g, "t", LAM_F32, LAM_SHAPE(4, 8, 24));
    lam_value loss = lam_l1_loss(f.g, lam_add(f.g, a, b), t);
    lam_graph_output(f.g, "loss", loss);
    assert_int_equal(lam_graph_backward(f.g, loss), LAM_OK);
    assert_int_equal(with_addend(f.g, LAM_OP_LAYER_NORM_BWD), 0);
    for (int n = 0; n < f.g->node_count; n++) { /* each op stands behind those that make what it reads */
        const struct node *node = &f.g->nodes[n];
        for (int i = 0; !node->dead && i < node->op.inputs; i++)
            if (node->in[i] != LAM_NO_VALUE) assert_true(f.g->values[node->in[i]].producer < n);
    }
    drop(&f);
}

/* What came through a detach stays without a gradient when it becomes an addend, and when its sum is taken over. */
static void test_detached_addends(void **state) {
    (void)state;
    for (int side = 0; side < 2; side++) {
        struct fixture f = make(true);
        struct lam_conv_spec three = {.out = 3, .kernel = 3, .pad = 1};
        lam_value x = image(f.g), a = lam_conv(f.g, x, "a", three), b = lam_conv(f.g, x, "b", three);
        lam_value sum = side ? lam_add(f.g, lam_detach(f.g, a), lam_relu(f.g, b))
                             : lam_add(f.g, a, lam_detach(f.g, lam_relu(f.g, b)));
        lam_value loss = lam_l1_loss(f.g, sum, lam_graph_input(f.g, "t", LAM_F32, LAM_SHAPE(4, 3, 8, 8)));
        lam_graph_output(f.g, "loss", loss);
        assert_int_equal(lam_graph_backward(f.g, loss), LAM_OK);
        assert_int_equal(count(f.g, LAM_OP_CONV_BWD_WEIGHTS), 1);
        int node = -1;
        for (int n = 0; n < f.g->node_count; n++)
            if (!f.g->nodes[n].dead && f.g->nodes[n].op.kind == LAM_OP_CONV_BWD_WEIGHTS) node = n;
        const struct lam_param *of = lam_params_get(f.params, f.g->values[f.g->nodes[node].out[0]].param);
        assert_string_equal(of->name, side ? "b.weight" : "a.weight");
        drop(&f);
    }
}

static void test_a_value_read_twice_is_not_fused_away(void **state) {
    (void)state;
    struct fixture f = make(true);
    lam_value y = conv_bn(f.g, image(f.g), "a", 1);
    lam_value both = lam_add(f.g, lam_relu(f.g, y), lam_scale(f.g, y, 2));
    lam_graph_output(f.g, "both", both);
    assert_int_equal(lam_graph_fuse(f.g), LAM_OK);
    assert_int_equal(count(f.g, LAM_OP_RELU), 1);
    drop(&f);
}

static void test_names_follow_scopes(void **state) {
    (void)state;
    struct fixture f = make(true);
    lam_graph_push_scope(f.g, "layer1.0");
    conv_bn(f.g, image(f.g), "a", 1);
    lam_graph_pop_scope(f.g);
    assert_true(lam_params_find(f.params, "layer1.0.a.conv.weight") >= 0);
    assert_true(lam_params_find(f.params, "layer1.0.a.bn.running_var") >= 0);
    assert_int_equal(lam_params_count(f.params), 16 * 3 * 9 + 2 * 16);
    assert_int_equal(lam_params_buffer_count(f.params), 2 * 16);
    drop(&f);
}

static void test_detach_stops_the_gradient(void **state) {
    (void)state;
    struct fixture f = make(true);
    lam_value x = lam_relu(f.g, conv_bn(f.g, image(f.g), "a", 1));
    x = lam_relu(f.g, conv_bn(f.g, lam_detach(f.g, x), "b", 1));
    lam_value logits = lam_linear(f.g, lam_global_avg_pool(f.g, x), "fc", (struct lam_linear_spec){.out = 5});
    lam_value label = lam_graph_input(f.g, "label", LAM_I32, LAM_SHAPE(4));
    lam_value loss = lam_cross_entropy(f.g, logits, label, 0, NULL);
    assert_int_equal(lam_graph_backward(f.g, loss), LAM_OK);
    assert_int_equal(count(f.g, LAM_OP_CONV_BWD_WEIGHTS), 1);
    assert_int_equal(count(f.g, LAM_OP_CONV_BWD_DATA), 0);
    drop(&f);
}

static void test_weights_of_losses_are_folded_into_their_scale(void **state) {
    (void)state;
    struct fixture f = make(true);
    lam_value label = lam_graph_input(f.g, "label", LAM_I32, LAM_SHAPE(4));
    lam_value x =
        lam_linear(f.g, lam_global_avg_pool(f.g, image(f.g)), "fc", (struct lam_linear_spec){.out = 5});
    lam_value a = lam_cross_entropy(f.g, x, label, 0, NULL), b = lam_cross_entropy(f.g, x, label, 0.1f, NULL);
    lam_value loss = lam_add(f.g, lam_scale(f.g, a, 0.25f), b);
    assert_int_equal(lam_graph_backward(f.g, loss), LAM_OK);
    float scales[2];
    int found = 0;
    for (int n = 0; n < f.g->node_count; n++)
        if (f.g->nodes[n].op.kind == LAM_OP_CROSS_ENTROPY_BWD)
            scales[found++] = f.g->nodes[n].op.attr.loss.scale;
    assert_int_equal(found, 2);
    assert_float_equal(scales[0], 0.25f, 1e-7f); /* the last loss is differentiated first */
    assert_float_equal(scales[1], 0.0625f, 1e-7f);
    drop(&f);
}

static void test_the_first_error_stays(void **state) {
    (void)state;
    struct fixture f = make(true);
    lam_graph_push_scope(f.g, "stem");
    lam_value y = lam_max_pool(f.g, image(f.g), 9, 1, 0); /* larger than the image */
    assert_int_equal(y, LAM_NO_VALUE);
    y = lam_add(f.g, lam_relu(f.g, y), y); /* goes on without a crash */
    assert_int_equal(lam_graph_backward(f.g, y), LAM_ERR_INVALID);
    assert_non_null(strstr(lam_error_text(), "stem"));
    assert_non_null(strstr(lam_error_text(), "no elements"));
    drop(&f);
}

static void test_shapes_that_differ_are_refused(void **state) {
    (void)state;
    struct fixture f = make(true);
    lam_value x = image(f.g);
    assert_int_equal(lam_add(f.g, x, lam_avg_pool(f.g, x, 2, 2, 0)), LAM_NO_VALUE);
    assert_non_null(strstr((lam_graph_status(f.g), lam_error_text()), "[4, 3, 8, 8] and [4, 3, 4, 4]"));
    drop(&f);
}

static void test_evaluation_graphs_have_no_backward(void **state) {
    (void)state;
    struct fixture f = make(false);
    lam_value loss = residual_loss(f.g);
    assert_int_equal(count(f.g, LAM_OP_BN_STATS), 0);
    assert_int_equal(lam_graph_backward(f.g, loss), LAM_ERR_INVALID);
    drop(&f);
}

/* Constants are buffers with values of their own: there after allocation and after initialisation, not trained. */
static void test_constants(void **state) {
    (void)state;
    struct fixture f = make(true);
    const float values[] = {1, -2, 3.5f, 4}, others[] = {1, -2, 3.5f, 5};
    float read[4];
    struct lam_device *device;
    conv_bn(f.g, image(f.g), "before", 1);
    lam_value x = lam_constant(f.g, "anchors", LAM_SHAPE(1, 4), values);
    int index = lam_params_find(f.params, "anchors");
    assert_int_not_equal(x, LAM_NO_VALUE);
    assert_int_equal(lam_constant(f.g, "anchors", LAM_SHAPE(1, 4), values), x);
    assert_int_equal(f.g->values[x].param, index);
    assert_int_equal(lam_params_buffer_count(f.params), 2 * 16 + 4);
    assert_int_equal(lam_device_open("cpu:0", 0, &device), LAM_OK);
    assert_int_equal(lam_params_allocate(f.params, device), LAM_OK);
    for (int i = 0; i < 2; i++) {
        assert_int_equal(lam_params_read(f.params, index, read), LAM_OK);
        assert_memory_equal(read, values, sizeof values);
        assert_int_equal(lam_params_init(f.params, 3), LAM_OK);
    }
    assert_int_equal(lam_constant(f.g, "anchors", LAM_SHAPE(1, 4), others), LAM_NO_VALUE);
    assert_non_null(
        strstr((lam_graph_status(f.g), lam_error_text()), "'anchors' is declared again with other"));
    drop(&f);
    lam_device_close(device);
}

/* What a program of the fixture's graph takes; the end of the fixture. */
static size_t bytes_of(struct fixture *f, size_t (*which)(const struct lam_program *program)) {
    struct lam_device *device;
    struct lam_program *program;
    struct lam_program_options options = {.max_slice = 1};
    assert_int_equal(lam_device_open("cpu:0", 0, &device), LAM_OK);
    assert_int_equal(lam_program_compile(f->g, device, &options, &program), LAM_OK);
    size_t bytes = which(program);
    lam_program_destroy(program);
    drop(f);
    lam_device_close(device);
    return bytes;
}

/* Of a forward pass with two convolutions side by side. */
static size_t workspace_of_two(const char *first, const char *second) {
    struct fixture f = make(false);
    const struct lam_conv_spec conv = {.out = 64, .kernel = 3, .pad = 1};
    lam_value x =
        lam_conv(f.g, lam_graph_input(f.g, "image", LAM_F32, LAM_SHAPE(4, 64, 16, 16)), "before", conv);
    lam_value a = lam_conv(f.g, x, first, conv), b = lam_conv(f.g, x, second, conv);
    lam_graph_output(f.g, "sum", lam_add(f.g, lam_relu(f.g, a), b));
    return bytes_of(&f, lam_program_workspace_bytes);
}

/* Weights that several convolutions of a segment share are transformed once, into 36 numbers for 9. */
static void test_shared_weights_are_prepared_once(void **state) {
    (void)state;
    size_t transformed = 64 * 64 * 36 * sizeof(float);
    size_t shared = workspace_of_two("a", "a"), apart = workspace_of_two("a", "b");
    assert_int_equal(apart - shared, transformed);
}

/* Of a step of training over four images: a wide map, its maxima, a loss. */
static size_t activations_of_a_pool(int kernel, int stride) {
    struct fixture f = make(true);
    const struct lam_conv_spec conv = {.out = 32, .kernel = 7, .stride = 2, .pad = 3};
    lam_value x = lam_graph_input(f.g, "image", LAM_F32, LAM_SHAPE(4, 3, 64, 64));
    x = lam_relu(f.g, lam_batch_norm(f.g, lam_conv(f.g, x, "conv", conv), "bn"));
    x = lam_max_pool(f.g, x, kernel, stride, 1);
    lam_value label = lam_graph_input(f.g, "label", LAM_I32, LAM_SHAPE(4));
    x = lam_linear(f.g, lam_global_avg_pool(f.g, x), "fc", (struct lam_linear_spec){.out = 10, .bias = true});
    assert_int_equal(lam_graph_backward(f.g, lam_cross_entropy(f.g, x, label, 0, NULL)), LAM_OK);
    return bytes_of(&f, lam_program_activation_bytes);
}

/* The gradient of a pooled map is wide as well, but can be had again from the small one behind the pool. */
static void test_a_wide_gradient_is_computed_again(void **state) {
    (void)state;
    const size_t map = 4 * 32 * 32 * 32 * sizeof(float);
    assert_in_range(activations_of_a_pool(3, 2), map, map + map / 2);
    assert_true(activations_of_a_pool(3, 1) >= map); /* as large behind it as before */
}

static void refused(struct fixture *f, lam_value value, const char *part) {
    assert_int_equal(value, LAM_NO_VALUE);
    lam_graph_status(f->g);
    if (!strstr(lam_error_text(), part)) fail_msg("'%s' does not say '%s'", lam_error_text(), part);
    drop(f);
}

static void test_bad_operands_are_refused(void **state) {
    (void)state;
    struct fixture f = make(true);
    lam_value rows = lam_graph_input(f.g, "rows", LAM_F32, LAM_SHAPE(4, 9, 4)), wrong;
    wrong = lam_graph_input(f.g, "weight", LAM_F32, LAM_SHAPE(4, 8));
    refused(&f, lam_smooth_l1_loss(f.g, rows, rows, wrong, 1), "weights must be f32");
    f = make(true);
    rows = lam_graph_input(f.g, "rows", LAM_F32, LAM_SHAPE(4, 9, 4));
    wrong = lam_graph_input(f.g, "class", LAM_I32, LAM_SHAPE(4, 9, 4));
    refused(&f, lam_focal_loss(f.g, rows, wrong, LAM_NO_VALUE, 0.25f, 2, 1), "differ in shape");
    f = make(true);
    rows = lam_graph_input(f.g, "rows", LAM_F32, LAM_SHAPE(4, 9, 4));
    wrong = lam_graph_input(f.g, "class", LAM_I32, LAM_SHAPE(4, 9));
    refused(&f, lam_smooth_l1_loss(f.g, rows, wrong, LAM_NO_VALUE, 1), "differ in shape");
    f = make(true);
    rows = lam_graph_input(f.g, "rows", LAM_F32, LAM_SHAPE(4, 9, 4));
    wrong = lam_graph_input(f.g, "weight", LAM_F32, LAM_SHAPE(4, 9));
    refused(&f, lam_giou_loss(f.g, rows, rows, rows, wrong), "anchors [A, 4]");
    f = make(true);
    refused(&f, lam_to_rows(f.g, image(f.g), 2), "3 channels do not divide into rows of 2");
    f = make(true);
    refused(&f, lam_channel_scale(f.g, image(f.g), lam_graph_input(f.g, "s", LAM_F32, LAM_SHAPE(4, 2))),
            "2 numbers for 3 channels");
    f = make(true);
    refused(&f, lam_pixel_unshuffle(f.g, image(f.g), 3), "8x8 does not divide by 3");
    struct lam_normalize_attr normalize = {.mean = {.5f, .5f, .5f}, .deviation = {.25f, .25f, .25f}};
    f = make(true);
    refused(&f, lam_normalize(f.g, image(f.g), &normalize), "takes u8 of at most 4 channels, not f32 of 3");
    f = make(true);
    refused(&f, lam_normalize(f.g, lam_graph_input(f.g, "wide", LAM_U8, LAM_SHAPE(4, 5, 8, 8)), &normalize),
            "not u8 of 5");
    normalize.deviation[2] = 0;
    f = make(true);
    refused(&f, lam_normalize(f.g, lam_graph_input(f.g, "bytes", LAM_U8, LAM_SHAPE(4, 3, 8, 8)), &normalize),
            "the deviation of channel 2 is 0");
    struct lam_augment_attr augment = {.normalize = normalize};
    f = make(true);
    refused(&f, lam_augment(f.g, lam_graph_input(f.g, "bytes", LAM_U8, LAM_SHAPE(4, 3, 8, 8)), &augment),
            "augment: the deviation of channel 2 is 0");
    augment.normalize.deviation[2] = 1;
    augment.pad = -1;
    f = make(true);
    refused(&f, lam_augment(f.g, lam_graph_input(f.g, "bytes", LAM_U8, LAM_SHAPE(4, 3, 8, 8)), &augment),
            "a shift of -1");
}

/* Training moves pixels, evaluation does not. */
static void test_augment_in_training_alone(void **state) {
    (void)state;
    const struct lam_augment_attr attr = {
        .normalize = {.mean = {.5f, .5f, .5f}, .deviation = {.25f, .25f, .25f}}, .pad = 2, .flip = true};
    for (int training = 0; training < 2; training++) {
        struct fixture f = make(training == 1);
        lam_value y = lam_augment(f.g, lam_graph_input(f.g, "bytes", LAM_U8, LAM_SHAPE(4, 3, 8, 8)), &attr);
        lam_graph_output(f.g, "y", y);
        assert_int_equal(lam_graph_status(f.g), LAM_OK);
        char *text = lam_graph_text(f.g);
        assert_true((strstr(text, "augment") != NULL) == (training == 1));
        assert_true((strstr(text, "normalize") != NULL) == (training == 0));
        free(text);
        drop(&f);
    }
}

/* A weighted loss is divided by the batch alone, the others by all elements. */
static void test_scales_of_losses(void **state) {
    (void)state;
    struct fixture f = make(true);
    lam_value rows = lam_graph_input(f.g, "rows", LAM_F32, LAM_SHAPE(4, 9, 4));
    lam_value weight = lam_graph_input(f.g, "weight", LAM_F32, LAM_SHAPE(4, 9));
    const lam_value losses[] = {lam_smooth_l1_loss(f.g, rows, rows, LAM_NO_VALUE, 1),
                                lam_smooth_l1_loss(f.g, rows, rows, weight, 1),
                                lam_focal_loss(f.g, rows, rows, LAM_NO_VALUE, 0.25f, 2, 3),
                                lam_focal_loss(f.g, rows, rows, weight, 0.25f, 2, 3)};
    const float scales[] = {1.0f / (4 * 9 * 4), 1.0f / 4, 3.0f / (4 * 9 * 4), 3.0f / 4};
    for (int i = 0; i < 4; i++) {
        assert_int_not_equal(losses[i], LAM_NO_VALUE);
        assert_float_equal(f.g->nodes[i].op.attr.loss.scale, scales[i], 1e-9f);
    }
    drop(&f);
}

/* ---- planner ---- */

enum { ITEMS = 300 };

static void test_plan_never_overlaps_and_is_tight(void **state) {
    (void)state;
    struct lam_rng rng = lam_rng_make(7, LAM_RNG_TEST, 0, 0);
    for (int round = 0; round < 20; round++) {
        struct plan_item items[ITEMS];
        size_t live[100] = {0}, bound = 0;
        for (int i = 0; i < ITEMS; i++) {
            int begin = (int)lam_rng_below(&rng, 90), length = (int)lam_rng_below(&rng, 10);
            items[i] = (struct plan_item){
                .bytes = 1 + lam_rng_below(&rng, 5000), .begin = begin, .end = begin + length};
            for (int t = begin; t <= begin + length; t++) live[t] += (items[i].bytes + 63) / 64 * 64;
        }
        for (int t = 0; t < 100; t++) bound = live[t] > bound ? live[t] : bound;
        size_t total = lam_plan(items, ITEMS);
        assert_in_range(total, bound, bound + bound / 5);
        for (int i = 0; i < ITEMS; i++) {
            assert_int_equal(items[i].offset % 64, 0);
            assert_true(items[i].offset + items[i].bytes <= total);
            for (int j = 0; j < i; j++) {
                bool together = items[i].begin <= items[j].end && items[j].begin <= items[i].end;
                bool apart = items[i].offset + items[i].bytes <= items[j].offset ||
                             items[j].offset + items[j].bytes <= items[i].offset;
                assert_true(!together || apart);
            }
        }
    }
}

/* Rows of 32 bytes: the second is written behind the last reading of the first, the third beside it. */
static void test_plan_gives_a_place_on_row_by_row(void **state) {
    (void)state;
    struct plan_item dying = {.bytes = 640, .begin = 0, .end = 3, .row = 32, .written = 0, .read = 10};
    struct plan_item behind = {.bytes = 640, .begin = 3, .end = 5, .row = 32, .written = 11, .read = 20};
    struct plan_item items[3] = {dying, behind, {.bytes = 640, .begin = 0, .end = 9}};
    assert_int_equal(lam_plan(items, 3), 1280);
    assert_int_equal(items[0].offset, items[1].offset);
    struct plan_item refused[] = {behind, behind, behind, behind};
    refused[0].written = 10; /* the op that reads the one writes the other */
    refused[1].row = 64;
    refused[2].bytes = 704;
    refused[3].begin = 2;
    for (int i = 0; i < 4; i++) {
        struct plan_item two[2] = {dying, refused[i]};
        assert_int_equal(lam_plan(two, 2), dying.bytes + refused[i].bytes);
    }
    struct plan_item heirs[3] = {dying, behind, behind}; /* only one of two can have the place */
    assert_int_equal(lam_plan(heirs, 3), 1280);
}

/* ---- tuning record ---- */

static void test_tuning_record_round_trip(void **state) {
    (void)state;
    char path[] = "/tmp/lamina-tuning-XXXXXX";
    int fd = mkstemp(path);
    assert_true(fd >= 0);
    struct lam_tuning *a, *b;
    assert_int_equal(lam_tuning_create(LAM_TUNING_MEASURE, &a), LAM_OK);
    assert_int_equal(lam_tuning_create(LAM_TUNING_RECORD, &b), LAM_OK);
    assert_int_equal(lam_tuning_set(a, "kernel conv k3x3 slice 8", "winograd"), LAM_OK);
    assert_int_equal(lam_tuning_set(a, "a first key", "1"), LAM_OK);
    assert_int_equal(lam_tuning_set(a, "a first key", "2"), LAM_OK);
    assert_int_equal(lam_tuning_save(a, path), LAM_OK);
    assert_int_equal(lam_tuning_load(b, path), LAM_OK);
    assert_string_equal(lam_tuning_get(b, "kernel conv k3x3 slice 8"), "winograd");
    assert_string_equal(lam_tuning_get(b, "a first key"), "2");
    assert_null(lam_tuning_get(b, "another"));
    FILE *file = fopen(path, "w");
    fputs("# fine\n\nnot an entry\n", file);
    fclose(file);
    assert_int_equal(lam_tuning_load(b, path), LAM_ERR_FORMAT);
    assert_non_null(strstr(lam_error_text(), ":3:"));
    lam_tuning_destroy(a);
    lam_tuning_destroy(b);
    unlink(path);
    close(fd);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_residual_network_is_fused),
        cmocka_unit_test(test_a_value_read_twice_is_not_fused_away),
        cmocka_unit_test(test_sums_become_addends),
        cmocka_unit_test(test_sums_that_are_wanted_stay),
        cmocka_unit_test(test_gradients_that_go_out_stay),
        cmocka_unit_test(test_an_op_whose_results_are_read_before_stays),
        cmocka_unit_test(test_detached_addends),
        cmocka_unit_test(test_names_follow_scopes),
        cmocka_unit_test(test_detach_stops_the_gradient),
        cmocka_unit_test(test_weights_of_losses_are_folded_into_their_scale),
        cmocka_unit_test(test_the_first_error_stays),
        cmocka_unit_test(test_shapes_that_differ_are_refused),
        cmocka_unit_test(test_evaluation_graphs_have_no_backward),
        cmocka_unit_test(test_constants),
        cmocka_unit_test(test_shared_weights_are_prepared_once),
        cmocka_unit_test(test_a_wide_gradient_is_computed_again),
        cmocka_unit_test(test_bad_operands_are_refused),
        cmocka_unit_test(test_scales_of_losses),
        cmocka_unit_test(test_augment_in_training_alone),
        cmocka_unit_test(test_plan_never_overlaps_and_is_tight),
        cmocka_unit_test(test_plan_gives_a_place_on_row_by_row),
        cmocka_unit_test(test_tuning_record_round_trip),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
