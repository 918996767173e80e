/* The model zoo: parameter counts against the published ones, shapes and names of units, the paper's cuts,
 * and what a wrong name or size says. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "nn/model.h"

enum { BATCH = 2 };

static struct lam_model *create(const char *name, int image_size, int classes) {
    struct lam_model *model = NULL;
    struct lam_model_options options = {.image_size = image_size, .channels = 3, .classes = classes};
    if (lam_model_create(name, &options, &model) != LAM_OK) fail_msg("%s", lam_error_text());
    return model;
}

struct built {
    struct lam_params *params;
    struct lam_graph *graph;
    struct lam_model *model;
    lam_value unit[128]; /* output of each unit */
};

static void build_graph(struct built *b, bool training) {
    int size = b->model->options.image_size;
    assert_int_equal(lam_graph_create(b->params, BATCH, LAM_F32, training, &b->graph), LAM_OK);
    lam_value x =
        lam_graph_input(b->graph, "image", LAM_F32, LAM_SHAPE(BATCH, b->model->options.channels, size, size));
    for (int i = 0; i < lam_model_units(b->model); i++)
        b->unit[i] = x = lam_model_build_unit(b->model, b->graph, i, x);
    if (lam_graph_status(b->graph) != LAM_OK) fail_msg("%s", lam_error_text());
}

static struct built build(const char *name, int image_size, int classes) {
    struct built b = {.model = create(name, image_size, classes)};
    assert_int_equal(lam_params_create(&b.params), LAM_OK);
    build_graph(&b, true);
    return b;
}

static void drop(struct built *b) {
    lam_graph_destroy(b->graph);
    lam_params_destroy(b->params);
    lam_model_destroy(b->model);
}

static void counts_are_the_published_ones(void **state) {
    (void)state;
    static const struct {
        const char *name;
        int image_size, classes, parameters, units;
    } rows[] = {
        {"resnet20", 32, 10, 272474, 11},      {"resnet32", 32, 10, 466906, 17},
        {"resnet44", 32, 10, 661338, 23},      {"resnet56", 32, 10, 855770, 29},
        {"resnet110", 32, 10, 1730714, 56},    {"resnet18", 32, 10, 11173962, 10},
        {"resnet18", 224, 1000, 11689512, 10}, {"resnet34", 224, 1000, 21797672, 18},
        {"resnet50", 224, 1000, 25557032, 18}, {"resnet101", 224, 1000, 44549160, 35},
        {"vit-tiny", 224, 1000, 5717416, 14},  {"vit-small", 224, 1000, 22050664, 14},
        {"vit-base", 224, 1000, 86567656, 14}, {"vit-tiny", 32, 10, 5362762, 14},
        {"vit-micro", 32, 10, 208074, 6},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct built b = build(rows[i].name, rows[i].image_size, rows[i].classes);
        if (lam_params_count(b.params) != rows[i].parameters)
            fail_msg("%s at %d px: %lld parameters, not %d", rows[i].name, rows[i].image_size,
                     (long long)lam_params_count(b.params), rows[i].parameters);
        assert_int_equal(lam_model_units(b.model), rows[i].units);
        drop(&b);
    }
}

static void expect_shape(const struct built *b, int unit, struct lam_shape wanted) {
    char is[96], should[96];
    struct lam_shape shape = lam_value_shape(b->graph, b->unit[unit]);
    if (!lam_shape_equal(shape, wanted))
        fail_msg("%s, unit %d: %s, not %s", b->model->name, unit, lam_shape_text(shape, is, sizeof is),
                 lam_shape_text(wanted, should, sizeof should));
}

static void shapes_shrink_by_stage(void **state) {
    (void)state;
    struct built b = build("resnet32", 32, 10);
    expect_shape(&b, 0, LAM_SHAPE(BATCH, 16, 32, 32));
    expect_shape(&b, 5, LAM_SHAPE(BATCH, 16, 32, 32));
    expect_shape(&b, 6, LAM_SHAPE(BATCH, 32, 16, 16));
    expect_shape(&b, 11, LAM_SHAPE(BATCH, 64, 8, 8));
    expect_shape(&b, 16, LAM_SHAPE(BATCH, 10));
    drop(&b);
    b = build("resnet18", 64, 200); /* 3x3 stem */
    expect_shape(&b, 0, LAM_SHAPE(BATCH, 64, 64, 64));
    expect_shape(&b, 8, LAM_SHAPE(BATCH, 512, 8, 8));
    drop(&b);
    b = build("resnet50", 224, 1000); /* 7x7 stem and max pool */
    expect_shape(&b, 0, LAM_SHAPE(BATCH, 64, 56, 56));
    expect_shape(&b, 1, LAM_SHAPE(BATCH, 256, 56, 56));
    expect_shape(&b, 16, LAM_SHAPE(BATCH, 2048, 7, 7));
    expect_shape(&b, 17, LAM_SHAPE(BATCH, 1000));
    drop(&b);
    b = build("vit-tiny", 32, 10); /* patch 4 */
    expect_shape(&b, 0, LAM_SHAPE(BATCH, 65, 192));
    expect_shape(&b, 13, LAM_SHAPE(BATCH, 10));
    drop(&b);
    b = build("vit-tiny", 96, 10); /* patch 16 */
    expect_shape(&b, 12, LAM_SHAPE(BATCH, 37, 192));
    drop(&b);
}

static void names_are_torchvisions_below_units(void **state) {
    (void)state;
    static const struct {
        const char *model, *name;
        bool buffer, decay;
    } rows[] = {
        {"resnet32", "stem.conv1.weight", false, true},
        {"resnet32", "layer1.0.bn2.running_var", true, false},
        {"resnet32", "layer2.0.downsample.0.weight", false, true},
        {"resnet32", "layer3.4.conv2.weight", false, true},
        {"resnet32", "head.fc.bias", false, true},
        {"resnet50", "layer1.0.downsample.1.bias", false, true},
        {"resnet50", "layer4.2.conv3.weight", false, true},
        {"vit-micro", "stem.patch.weight", false, true},
        {"vit-micro", "stem.tokens.pos_embed", false, false},
        {"vit-micro", "layers.3.attn.qkv.weight", false, true},
        {"vit-micro", "layers.0.norm2.bias", false, false},
        {"vit-micro", "layers.0.mlp.fc2.bias", false, true},
        {"vit-micro", "head.norm.weight", false, false},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct built b = build(rows[i].model, 32, 10);
        int index = lam_params_find(b.params, rows[i].name);
        if (index < 0) fail_msg("%s has no %s", rows[i].model, rows[i].name);
        const struct lam_param *p = lam_params_get(b.params, index);
        assert_int_equal(p->buffer, rows[i].buffer);
        if (!p->buffer && p->decay != rows[i].decay) fail_msg("%s: decay is %d", p->name, p->decay);
        drop(&b);
    }
}

static void no_unit_repeats_a_name(void **state) {
    (void)state;
    static const char *const models[] = {"resnet32", "resnet18", "vit-micro"};
    for (size_t m = 0; m < 3; m++) {
        struct lam_model *model = create(models[m], 32, 10);
        char a[64], b[64];
        for (int i = 0; i < lam_model_units(model); i++)
            for (int j = 0; j < i; j++)
                assert_string_not_equal(lam_model_unit_name(model, i, a, sizeof a),
                                        lam_model_unit_name(model, j, b, sizeof b));
        assert_string_equal(lam_model_unit_name(model, 0, a, sizeof a), "stem");
        assert_string_equal(lam_model_unit_name(model, lam_model_units(model) - 1, a, sizeof a), "head");
        lam_model_destroy(model);
    }
}

static void a_second_graph_shares_the_parameters(void **state) {
    (void)state;
    static const char *const models[] = {"resnet20", "resnet18", "vit-micro"};
    for (size_t m = 0; m < 3; m++) {
        struct built b = build(models[m], 32, 10);
        int before = lam_params_size(b.params);
        lam_graph_destroy(b.graph);
        build_graph(&b, false);
        assert_int_equal(lam_params_size(b.params), before);
        drop(&b);
    }
}

/* `wanted`: the names of the units that end a block. */
static void expect_cuts(const char *name, int blocks, const char *wanted) {
    struct lam_model *model = create(name, 32, 10);
    int cuts[64];
    char text[1024] = "", unit[64];
    if (model->paper_cuts(model, blocks, cuts) != LAM_OK) fail_msg("%s", lam_error_text());
    for (int j = 0; j + 1 < blocks; j++) {
        size_t used = strlen(text);
        snprintf(text + used, sizeof text - used, "%s%s", j ? " " : "",
                 lam_model_unit_name(model, cuts[j], unit, sizeof unit));
    }
    assert_string_equal(text, wanted);
    lam_model_destroy(model);
}

static void paper_cuts_are_the_published_ones(void **state) {
    (void)state;
    expect_cuts("resnet32", 1, "");
    expect_cuts("resnet32", 2, "layer2.1");
    expect_cuts("resnet32", 4, "layer1.2 layer2.1 layer3.0");
    expect_cuts("resnet32", 8, "layer1.0 layer1.2 layer1.4 layer2.1 layer2.3 layer3.0 layer3.2");
    expect_cuts(
        "resnet32", 16,
        "stem layer1.0 layer1.1 layer1.2 layer1.3 layer1.4 layer2.0 layer2.1 layer2.2 layer2.3 layer2.4 "
        "layer3.0 layer3.1 layer3.2 layer3.3");
    expect_cuts("resnet110", 2, "layer2.8");
    expect_cuts("resnet110", 4, "layer1.11 layer2.7 layer3.3");
    expect_cuts("resnet110", 8, "layer1.4 layer1.11 layer2.0 layer2.7 layer2.14 layer3.3 layer3.10");
    expect_cuts("vit-tiny", 4, "layers.2 layers.5 layers.8");
}

static void many_paper_blocks_are_even(void **state) {
    (void)state;
    static const struct {
        int blocks, least, most; /* units in a block */
    } rows[] = {{16, 3, 4}, {32, 1, 2}, {55, 1, 1}};
    struct lam_model *model = create("resnet110", 32, 10);
    for (size_t i = 0; i < 3; i++) {
        int cuts[64];
        assert_int_equal(model->paper_cuts(model, rows[i].blocks, cuts), LAM_OK);
        cuts[rows[i].blocks - 1] = lam_model_units(model) - 2; /* the head goes with the last unit */
        for (int j = 0, previous = -1; j < rows[i].blocks; previous = cuts[j++])
            assert_in_range(cuts[j] - previous, rows[i].least, rows[i].most);
    }
    lam_model_destroy(model);
}

static void cuts_that_no_paper_has_are_refused(void **state) {
    (void)state;
    static const struct {
        const char *name;
        int blocks;
    } rows[] = {{"resnet32", 3}, {"resnet32", 55}, {"resnet20", 2}, {"vit-tiny", 2}, {"vit-micro", 4}};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct lam_model *model = create(rows[i].name, 32, 10);
        int cuts[64] = {-7};
        assert_int_equal(model->paper_cuts(model, rows[i].blocks, cuts), LAM_ERR_UNSUPPORTED);
        assert_int_equal(cuts[0], -7);
        assert_non_null(strstr(lam_error_text(), rows[i].name));
        lam_model_destroy(model);
    }
}

static void wrong_options_are_told(void **state) {
    (void)state;
    static const struct {
        const char *name;
        struct lam_model_options options;
        lam_status status;
        const char *says;
    } rows[] = {
        {"resnet23", {32, 3, 10, 0}, LAM_ERR_NOT_FOUND, "did you mean 'resnet"},
        {"vit-tny", {32, 3, 10, 0}, LAM_ERR_NOT_FOUND, "did you mean 'vit-tiny'"},
        {"zzzzzzzzzzzzzzzzzzzzzzzz", {32, 3, 10, 0}, LAM_ERR_NOT_FOUND, "zzzz"},
        {"", {32, 3, 10, 0}, LAM_ERR_NOT_FOUND, "no model ''"},
        {"vit-tiny", {30, 3, 10, 0}, LAM_ERR_INVALID, "multiple of the patch's 4 px"},
        {"vit-tiny", {100, 3, 10, 0}, LAM_ERR_INVALID, "multiple of the patch's 16 px"},
        {"resnet32", {4, 3, 10, 0}, LAM_ERR_INVALID, "at least 8 px"},
        {"resnet18", {8, 3, 10, 0}, LAM_ERR_INVALID, "at least 16 px"},
        {"resnet32", {0, 3, 10, 0}, LAM_ERR_INVALID, "0 px"},
        {"resnet32", {32, 0, 10, 0}, LAM_ERR_INVALID, "channel"},
        {"resnet32", {32, 3, 0, 0}, LAM_ERR_INVALID, "class"},
        {"vit-tiny", {32, 3, 10, 1.0f}, LAM_ERR_INVALID, "dropout"},
        {"resnet32", {32, 3, 10, 0.1f}, LAM_ERR_INVALID, "resnet32: has no dropout; leave --dropout out"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct lam_model *model = NULL;
        assert_int_equal(lam_model_create(rows[i].name, &rows[i].options, &model), rows[i].status);
        assert_null(model);
        if (!strstr(lam_error_text(), rows[i].says))
            fail_msg("'%s' is not in: %s", rows[i].says, lam_error_text());
    }
}

static void dropout_stands_only_in_training(void **state) {
    (void)state;
    struct lam_model_options options = {.image_size = 32, .channels = 3, .classes = 10, .dropout = 0.1f};
    for (int training = 0; training < 2; training++) {
        struct built b = {0};
        assert_int_equal(lam_model_create("vit-micro", &options, &b.model), LAM_OK);
        assert_int_equal(lam_params_create(&b.params), LAM_OK);
        build_graph(&b, training);
        char *text = lam_graph_text(b.graph);
        assert_int_equal(strstr(text, "dropout") != NULL, training);
        free(text);
        drop(&b);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(counts_are_the_published_ones),
        cmocka_unit_test(shapes_shrink_by_stage),
        cmocka_unit_test(names_are_torchvisions_below_units),
        cmocka_unit_test(no_unit_repeats_a_name),
        cmocka_unit_test(a_second_graph_shares_the_parameters),
        cmocka_unit_test(paper_cuts_are_the_published_ones),
        cmocka_unit_test(many_paper_blocks_are_even),
        cmocka_unit_test(cuts_that_no_paper_has_are_refused),
        cmocka_unit_test(wrong_options_are_told),
        cmocka_unit_test(dropout_stands_only_in_training),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
