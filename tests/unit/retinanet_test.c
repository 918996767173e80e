/* RetinaNet: sizes of the models against counts from their definition, rows for every anchor whatever the input's size, also
 * behind every unit, cuts, and names that are wrong. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <string.h>

#include "tasks/detect/anchors.h"
#include "tasks/detect/retinanet.h"

enum { BATCH = 2, PER_CELL = 9, CLASSES = 3, MOST_UNITS = 32 };

struct built {
    struct retinanet *net;
    struct lam_network network;
    struct lam_params *params;
    struct lam_graph *graph;
    lam_value unit[MOST_UNITS];
    lam_value taps[MOST_UNITS][LAM_MAX_TAPS]; /* behind each unit */
};

static void must(lam_status status) {
    if (status != LAM_OK) fail_msg("%s", lam_error_text());
}

static struct retinanet_options options_for(const char *name, int width, int height, int classes) {
    return (struct retinanet_options){
        .name = name, .image_width = width, .image_height = height, .classes = classes, .per_cell = PER_CELL};
}

/* All units, one behind the other, with the taps that each leaves. */
static void build(struct built *b, const struct retinanet_options *options) {
    *b = (struct built){0};
    must(retinanet_create(options, &b->net));
    b->network = retinanet_network(b->net);
    assert_true(b->network.units <= MOST_UNITS);
    must(lam_params_create(&b->params));
    must(lam_graph_create(b->params, BATCH, LAM_F32, true, &b->graph));
    lam_value taps[LAM_MAX_TAPS];
    for (int t = 0; t < LAM_MAX_TAPS; t++) taps[t] = LAM_NO_VALUE;
    lam_value x = lam_graph_input(b->graph, "image", LAM_F32,
                                  LAM_SHAPE(BATCH, 3, options->image_height, options->image_width));
    for (int i = 0; i < b->network.units; i++) {
        b->unit[i] = x = b->network.build_unit(b->network.context, b->graph, i, x, taps);
        lam_taps_turn(&b->network, i, x, taps);
        memcpy(b->taps[i], taps, sizeof taps);
    }
    must(lam_graph_status(b->graph));
}

static void drop(struct built *b) {
    lam_graph_destroy(b->graph);
    lam_params_destroy(b->params);
    retinanet_destroy(b->net);
}

static int anchors_of(const char *name, int width, int height) {
    struct detect_anchors anchors;
    int levels;
    must(retinanet_levels(name, &levels));
    must(detect_anchors_init(&anchors, width, height, RETINANET_FIRST_STRIDE, levels));
    return anchors.count;
}

static void expect_rows(const struct built *b, lam_value rows, int64_t anchors, const char *what) {
    char is[96];
    must(lam_graph_status(b->graph));
    struct lam_shape shape = lam_value_shape(b->graph, rows);
    if (!lam_shape_equal(shape, LAM_SHAPE(BATCH, anchors, CLASSES + 4)))
        fail_msg("%s: %s, not [%d, %lld, %d]", what, lam_shape_text(shape, is, sizeof is), BATCH,
                 (long long)anchors, CLASSES + 4);
}

/* ---- sizes ---- */

static int64_t conv(int64_t in, int64_t out, int64_t kernel) {
    return in * out * kernel * kernel + out;
}

/* Pyramid and subnets over stages that end with `c` channels. */
static int64_t head_count(const int c[3], int width, int depth, int levels, int classes) {
    int64_t count = 0;
    for (int i = 0; i < 3; i++) count += conv(c[i], width, 1) + conv(width, width, 3);
    if (levels == 5) count += conv(c[2], width, 3) + conv(width, width, 3);
    count += 2 * depth * conv(width, width, 3);
    return count + conv(width, PER_CELL * classes, 3) + conv(width, PER_CELL * 4, 3);
}

static void counts_are_those_of_the_definition(void **state) {
    (void)state;
    static const struct {
        const char *name;
        int64_t backbone; /* without the classifier; torchvision's, and bench/peers/torch_models.py's */
        int channels[3], width, depth, levels, units;
    } rows[] = {
        {"retinanet-tiny", 2798880, {64, 128, 256}, 64, 2, 3, 10},
        {"retinanet-r18", 11689512 - 513000, {128, 256, 512}, 256, 4, 5, 10},
        {"retinanet-r34", 21797672 - 513000, {128, 256, 512}, 256, 4, 5, 18},
        {"retinanet-r50", 25557032 - 2049000, {512, 1024, 2048}, 256, 4, 5, 18},
    };
    int names = 0;
    while (retinanet_names[names]) names++;
    assert_int_equal(names, sizeof rows / sizeof *rows);
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct built b;
        struct retinanet_options options = options_for(rows[i].name, 320, 320, 80);
        build(&b, &options);
        int64_t wanted =
            rows[i].backbone + head_count(rows[i].channels, rows[i].width, rows[i].depth, rows[i].levels, 80);
        if (lam_params_count(b.params) != wanted)
            fail_msg("%s: %lld parameters, not %lld", rows[i].name, (long long)lam_params_count(b.params),
                     (long long)wanted);
        assert_int_equal(b.network.units, rows[i].units);
        assert_int_equal(b.network.head_unit, rows[i].units - 1);
        assert_true(b.network.head_alone);
        drop(&b);
    }
}

static void width_and_depth_can_be_chosen(void **state) {
    (void)state;
    static const int channels[3] = {64, 128, 256};
    struct built b;
    struct retinanet_options options = options_for("retinanet-tiny", 64, 64, CLASSES);
    options.width = 24;
    options.depth = 3;
    build(&b, &options);
    int64_t head = 0;
    for (int i = 0; i < lam_params_size(b.params); i++) {
        const struct lam_param *p = lam_params_get(b.params, i);
        if (strncmp(p->name, "head.", 5) == 0) head += p->count;
    }
    assert_int_equal(head, head_count(channels, 24, 3, 3, CLASSES));
    expect_rows(&b, b.unit[b.network.head_unit], anchors_of("retinanet-tiny", 64, 64), "another width");
    drop(&b);
}

/* ---- rows ---- */

static const struct {
    int width, height;
} sizes[] = {{96, 64}, {100, 77}, {33, 32}, {65, 129}, {320, 240}, {47, 255}};

static void head_has_a_row_for_each_anchor(void **state) {
    (void)state;
    for (int m = 0; retinanet_names[m]; m++)
        for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
            struct built b;
            char what[64];
            int width = sizes[i].width, height = sizes[i].height;
            struct retinanet_options options = options_for(retinanet_names[m], width, height, CLASSES);
            build(&b, &options);
            snprintf(what, sizeof what, "%s at %dx%d", retinanet_names[m], width, height);
            expect_rows(&b, b.unit[b.network.head_unit], anchors_of(retinanet_names[m], width, height), what);
            drop(&b);
        }
}

/* Each in a scope of its own, so that parameters of several do not meet. */
static void expect_local_rows(struct built *b, int unit, int64_t anchors, const char *what) {
    lam_graph_push_scope(b->graph, "aux%d", unit);
    lam_value rows = retinanet_local_rows(b->net, b->graph, b->unit[unit], b->taps[unit]);
    lam_graph_pop_scope(b->graph);
    expect_rows(b, rows, anchors, what);
}

static void local_heads_have_the_same_rows(void **state) {
    (void)state;
    for (int m = 0; retinanet_names[m]; m++)
        for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
            struct built b;
            char what[96];
            int width = sizes[i].width, height = sizes[i].height;
            struct retinanet_options options = options_for(retinanet_names[m], width, height, CLASSES);
            build(&b, &options);
            for (int unit = 0; unit < b.network.head_unit; unit++) {
                snprintf(what, sizeof what, "%s at %dx%d behind unit %d", retinanet_names[m], width, height,
                         unit);
                expect_local_rows(&b, unit, anchors_of(retinanet_names[m], width, height), what);
            }
            drop(&b);
        }
}

static bool has(const struct lam_params *params, const char *scope, const char *name) {
    char full[64];
    snprintf(full, sizeof full, "%s.%s", scope, name);
    return lam_params_find(params, full) >= 0;
}

/* Stages that are still to come are stood in for by convolutions, those that are there are read. And half the
 * depth. */
static void local_heads_shrink_what_is_missing(void **state) {
    (void)state;
    static const struct {
        int unit; /* of retinanet-tiny */
        const char *there[4], *missing[4];
    } rows[] = {
        {0, {"down3.weight", "down4.weight", "down5.weight"}, {"down0.weight"}},
        {2, {"down3.weight", "down4.weight", "down5.weight"}, {"down0.weight"}},
        {3, {"down4.weight", "down5.weight"}, {"down3.weight"}},
        {4, {"down4.weight", "down5.weight"}, {"down3.weight"}},
        {5, {"down5.weight"}, {"down3.weight", "down4.weight"}},
        {6, {"down5.weight"}, {"down3.weight", "down4.weight"}},
        {7, {NULL}, {"down3.weight", "down4.weight", "down5.weight"}},
        {8, {NULL}, {"down3.weight", "down4.weight", "down5.weight"}},
    };
    struct built b;
    struct retinanet_options options = options_for("retinanet-tiny", 96, 64, CLASSES);
    build(&b, &options);
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        char scope[16];
        snprintf(scope, sizeof scope, "aux%d", rows[i].unit);
        expect_local_rows(&b, rows[i].unit, anchors_of("retinanet-tiny", 96, 64), scope);
        for (int k = 0; k < 4 && rows[i].there[k]; k++)
            if (!has(b.params, scope, rows[i].there[k])) fail_msg("%s: no %s", scope, rows[i].there[k]);
        for (int k = 0; k < 4 && rows[i].missing[k]; k++)
            if (has(b.params, scope, rows[i].missing[k])) fail_msg("%s: has %s", scope, rows[i].missing[k]);
        assert_true(has(b.params, scope, "classes.conv1.weight"));
        assert_false(has(b.params, scope, "classes.conv2.weight"));
    }
    drop(&b);
    options.local_depth = 3;
    build(&b, &options);
    expect_local_rows(&b, 2, anchors_of("retinanet-tiny", 96, 64), "depth 3");
    assert_true(has(b.params, "aux2", "boxes.conv3.weight"));
    drop(&b);
}

/* ---- taps, cuts, names ---- */

static void taps_are_what_stages_end_with(void **state) {
    (void)state;
    struct built b;
    struct retinanet_options options = options_for("retinanet-r50", 128, 96, CLASSES);
    build(&b, &options);
    assert_int_equal(b.network.tap_count, 2);
    static const struct {
        const char *name;
        int from, to, channels, stride;
    } rows[] = {{"c3", 7, 17, 512, 8}, {"c4", 13, 17, 1024, 16}};
    for (int t = 0; t < 2; t++) {
        const struct lam_tap *tap = &b.network.taps[t];
        assert_string_equal(tap->name, rows[t].name);
        assert_int_equal(tap->from, rows[t].from);
        assert_int_equal(tap->to, rows[t].to);
        assert_true(
            lam_shape_equal(lam_value_shape(b.graph, b.unit[tap->from]),
                            LAM_SHAPE(BATCH, rows[t].channels, 96 / rows[t].stride, 128 / rows[t].stride)));
    }
    drop(&b);
}

static void published_cuts(void **state) {
    (void)state;
    static const struct {
        const char *name;
        int two, four[3];
    } rows[] = {{"retinanet-tiny", 4, {2, 4, 6}},
                {"retinanet-r18", 4, {2, 4, 6}},
                {"retinanet-r34", 7, {3, 7, 13}},
                {"retinanet-r50", 7, {3, 7, 13}}};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct retinanet *net;
        struct retinanet_options options = options_for(rows[i].name, 96, 64, CLASSES);
        must(retinanet_create(&options, &net));
        struct lam_network network = retinanet_network(net);
        int cuts[4];
        char name[32];
        must(network.paper_cuts(network.context, 2, cuts));
        assert_int_equal(cuts[0], rows[i].two);
        must(network.paper_cuts(network.context, 4, cuts));
        assert_memory_equal(cuts, rows[i].four, sizeof rows[i].four);
        assert_int_equal(network.paper_cuts(network.context, 3, cuts), LAM_ERR_UNSUPPORTED);
        assert_non_null(strstr(lam_error_text(), "cuts into 2 and 4 blocks, not 3"));
        assert_string_equal(network.unit_name(network.context, 0, name, sizeof name), "stem");
        assert_string_equal(network.unit_name(network.context, 1, name, sizeof name), "layer1.0");
        assert_string_equal(network.unit_name(network.context, network.head_unit, name, sizeof name), "head");
        retinanet_destroy(net);
    }
}

static void wrong_names_are_refused(void **state) {
    (void)state;
    static const char *const wrong[] = {"retinanet-tinny", "retinanet", "resnet18-half",
                                        "retinanet-r101",  "",          "RETINANET-TINY"};
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        struct retinanet *net = NULL;
        int levels = -7;
        struct retinanet_options options = options_for(wrong[i], 96, 64, CLASSES);
        assert_int_equal(retinanet_levels(wrong[i], &levels), LAM_ERR_NOT_FOUND);
        assert_int_equal(levels, -7);
        assert_int_equal(retinanet_create(&options, &net), LAM_ERR_NOT_FOUND);
        assert_null(net);
        assert_non_null(strstr(lam_error_text(), "no such network"));
    }
    int levels;
    assert_int_equal(retinanet_levels(wrong[0], &levels), LAM_ERR_NOT_FOUND);
    assert_non_null(strstr(lam_error_text(), "did you mean retinanet-tiny"));
    must(retinanet_levels("retinanet-tiny", &levels));
    assert_int_equal(levels, 3);
    must(retinanet_levels("retinanet-r50", &levels));
    assert_int_equal(levels, 5);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(counts_are_those_of_the_definition),
        cmocka_unit_test(width_and_depth_can_be_chosen),
        cmocka_unit_test(head_has_a_row_for_each_anchor),
        cmocka_unit_test(local_heads_have_the_same_rows),
        cmocka_unit_test(local_heads_shrink_what_is_missing),
        cmocka_unit_test(taps_are_what_stages_end_with),
        cmocka_unit_test(published_cuts),
        cmocka_unit_test(wrong_names_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
