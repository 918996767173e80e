/* Small networks for the gradient tests (networks.h). Images are tiny and channel counts lie around 16, so
 * that plain and blocked layouts meet, and every value goes through several segments of a program. */
#include "gradient/networks.h"

#include <stdio.h>

#include "base/rng.h"
#include "tasks/sr/models.h"

/* ---- parts ---- */

static lam_value image(struct lam_graph *g, int64_t c, int64_t h, int64_t w) {
    return lam_graph_input(g, "image", LAM_F32, LAM_SHAPE(lam_graph_batch(g), c, h, w));
}

static lam_value labels(struct lam_graph *g) {
    return lam_graph_input(g, "label", LAM_I32, LAM_SHAPE(lam_graph_batch(g)));
}

static lam_value conv(struct lam_graph *g, lam_value x, const char *name, int out, int kernel, int stride) {
    return lam_conv(
        g, x, name,
        (struct lam_conv_spec){.out = out, .kernel = kernel, .stride = stride, .pad = kernel / 2});
}

static lam_value conv_bn(struct lam_graph *g, lam_value x, const char *name, int out, int kernel,
                         int stride) {
    lam_graph_push_scope(g, "%s", name);
    x = lam_batch_norm(g, conv(g, x, "conv", out, kernel, stride), "bn");
    lam_graph_pop_scope(g);
    return x;
}

static lam_value linear(struct lam_graph *g, lam_value x, const char *name, int out) {
    return lam_linear(g, x, name, (struct lam_linear_spec){.out = out, .bias = true});
}

static lam_value classify(struct lam_graph *g, lam_value x, float smoothing) {
    lam_value logits = linear(g, lam_global_avg_pool(g, x), "fc", NETWORK_CLASSES);
    return lam_cross_entropy(g, logits, labels(g), smoothing, NULL);
}

/* ---- one network a family ---- */

static lam_value residual(struct lam_graph *g, uint64_t seed) {
    (void)seed;
    lam_value x = lam_relu(g, conv_bn(g, image(g, 3, 8, 8), "stem", 16, 3, 1));
    lam_value y = conv_bn(g, lam_relu(g, conv_bn(g, x, "a1", 16, 3, 1)), "a2", 16, 3, 1);
    x = lam_relu(g, lam_add(g, y, x));
    y = conv_bn(g, lam_relu(g, conv_bn(g, x, "b1", 20, 3, 2)), "b2", 20, 3, 1);
    x = lam_relu(g, lam_add(g, y, conv_bn(g, x, "b3", 20, 1, 2)));
    return classify(g, x, 0.1f);
}

static lam_value transformer(struct lam_graph *g, uint64_t seed) {
    (void)seed;
    lam_value x = linear(g, lam_patchify(g, image(g, 3, 8, 8), 4), "embed", 18);
    x = lam_dropout(g, lam_tokens(g, x, "tokens"), "drop", 0.1f);
    for (int i = 0; i < 2; i++) {
        lam_graph_push_scope(g, "layer%d", i);
        lam_value y = lam_attention(g, lam_layer_norm(g, x, "norm1", 1e-6f), "attention", 3);
        x = lam_add(g, x, lam_dropout(g, y, "drop1", 0.2f));
        y = lam_gelu(g, linear(g, lam_layer_norm(g, x, "norm2", 1e-6f), "mlp1", 33));
        x = lam_add(g, x, linear(g, y, "mlp2", 18));
        lam_graph_pop_scope(g);
    }
    x = lam_slice(g, lam_layer_norm(g, x, "norm", 1e-6f), 1, 0, 1);
    x = lam_reshape(g, x, LAM_SHAPE(lam_graph_batch(g), 18));
    return lam_cross_entropy(g, linear(g, x, "head", NETWORK_CLASSES), labels(g), 0, NULL);
}

static lam_value super_resolution(struct lam_graph *g, uint64_t seed) {
    (void)seed;
    lam_value small = image(g, 3, 5, 6), x = conv(g, small, "head", 16, 3, 1), y;
    y = lam_conv(g, x, "body1", (struct lam_conv_spec){.out = 16, .kernel = 3, .pad = 1, .bias = true});
    y = lam_conv(g, lam_relu(g, y), "body2",
                 (struct lam_conv_spec){.out = 16, .kernel = 3, .pad = 1, .bias = true});
    x = lam_add(g, x, lam_scale(g, y, 0.1f));
    x = lam_pixel_shuffle(g, conv(g, x, "up", 3 * 4, 3, 1), 2);
    x = lam_add(g, x, lam_resize(g, small, 10, 12, true));
    lam_value target = lam_graph_input(g, "target", LAM_F32, lam_value_shape(g, x));
    return lam_add(g, lam_l1_loss(g, x, target), lam_scale(g, lam_mse_loss(g, x, target), 0.3f));
}

/* A pyramid: two levels share the weights of one head, as in RetinaNet. */
static lam_value detection(struct lam_graph *g, uint64_t seed) {
    (void)seed;
    lam_value fine = lam_relu(g, conv_bn(g, image(g, 3, 8, 8), "c1", 16, 3, 1));
    lam_value coarse = lam_relu(g, conv_bn(g, lam_max_pool(g, fine, 3, 2, 1), "c2", 24, 3, 1));
    coarse = conv(g, coarse, "lateral2", 17, 1, 1);
    fine = lam_add(g, conv(g, fine, "lateral1", 17, 1, 1), lam_resize(g, coarse, 8, 8, false));
    lam_value level[2] = {fine, coarse}, rows[2];
    for (int i = 0; i < 2; i++) {
        lam_value x =
            lam_relu(g, lam_conv(g, level[i], "head1",
                                 (struct lam_conv_spec){.out = 16, .kernel = 3, .pad = 1, .bias = true}));
        x = lam_conv(g, x, "head2", (struct lam_conv_spec){.out = 6, .kernel = 3, .pad = 1, .bias = true});
        struct lam_shape s = lam_value_shape(g, x);
        rows[i] = lam_reshape(g, x, LAM_SHAPE(s.dim[0], 6, s.dim[2] * s.dim[3]));
    }
    lam_value all = lam_concat(g, rows, 2, 2);
    lam_value classes = lam_slice(g, all, 1, 0, 2), boxes = lam_slice(g, all, 1, 2, 4);
    lam_value focal =
        lam_focal_loss(g, classes, lam_graph_input(g, "sign", LAM_F32, lam_value_shape(g, classes)),
                       LAM_NO_VALUE, 0.25f, 2, 1);
    lam_value smooth = lam_smooth_l1_loss(
        g, boxes, lam_graph_input(g, "box", LAM_F32, lam_value_shape(g, boxes)), LAM_NO_VALUE, 0.5f);
    return lam_add(g, focal, lam_scale(g, smooth, 0.5f));
}

/* The same with rows of anchors: two anchors of three classes on each of 16 + 4 pixels, and the losses of few of them. */
static lam_value anchors(struct lam_graph *g, uint64_t seed) {
    (void)seed;
    enum { ANCHORS = 2 * (16 + 4), CLASSES = 3 };
    int64_t batch = lam_graph_batch(g);
    lam_value fine = lam_relu(g, conv_bn(g, image(g, 3, 8, 8), "c1", 16, 3, 2));
    lam_value level[2] = {fine, lam_relu(g, conv_bn(g, fine, "c2", 16, 3, 2))}, classes[2], boxes[2];
    for (int i = 0; i < 2; i++) {
        struct lam_conv_spec spec = {.out = 2 * CLASSES, .kernel = 3, .pad = 1, .bias = true};
        classes[i] = lam_to_rows(g, lam_conv(g, level[i], "classes", spec), CLASSES);
        spec.out = 2 * 4;
        boxes[i] = lam_to_rows(g, lam_conv(g, level[i], "boxes", spec), 4);
    }
    lam_value logits = lam_concat(g, classes, 2, 1), deltas = lam_concat(g, boxes, 2, 1);
    float corners[ANCHORS][4];
    for (int a = 0; a < ANCHORS; a++)
        for (int i = 0; i < 4; i++) corners[a][i] = (float)(a % 4 + (i < 2 ? -2 : 1 + a % 3));
    lam_value positive = lam_graph_input(g, "weight of rows", LAM_F32, LAM_SHAPE(batch, ANCHORS));
    lam_value focal =
        lam_focal_loss(g, logits, lam_graph_input(g, "class", LAM_I32, LAM_SHAPE(batch, ANCHORS)),
                       lam_graph_input(g, "weight of samples", LAM_F32, LAM_SHAPE(batch)), 0.25f, 2, 0.5f);
    lam_value smooth = lam_smooth_l1_loss(
        g, deltas, lam_graph_input(g, "box", LAM_F32, LAM_SHAPE(batch, ANCHORS, 4)), positive, 0.5f);
    lam_value giou =
        lam_giou_loss(g, deltas, lam_constant(g, "anchors", LAM_SHAPE(ANCHORS, 4), &corners[0][0]),
                      lam_graph_input(g, "corner", LAM_F32, LAM_SHAPE(batch, ANCHORS, 4)), positive);
    return lam_add(g, focal, lam_add(g, lam_scale(g, smooth, 0.02f), lam_scale(g, giou, 0.1f)));
}

/* A residual unit with channel attention, and the input's nearest upscaling added to the output. */
static lam_value channel_attention(struct lam_graph *g, uint64_t seed) {
    (void)seed;
    lam_value small = image(g, 3, 6, 4), x = conv(g, small, "head", 16, 3, 1);
    lam_value y = conv(g, lam_relu(g, conv(g, x, "body1", 16, 3, 1)), "body2", 16, 3, 1);
    lam_value gate = lam_relu(g, linear(g, lam_global_avg_pool(g, y), "down", 4));
    y = lam_channel_scale(g, y, lam_sigmoid(g, linear(g, gate, "up", 16)));
    x = lam_pixel_shuffle(g, conv(g, lam_add(g, x, y), "tail", 16 * 4, 3, 1), 2);
    x = lam_pixel_unshuffle(g, conv(g, x, "last", 12, 3, 1), 2);
    x = lam_pixel_shuffle(g, conv(g, x, "mixed", 3 * 9, 1, 1), 3);
    x = lam_add(g, x, lam_resize(g, small, 18, 12, false));
    return lam_charbonnier_loss(g, x, lam_graph_input(g, "target", LAM_F32, lam_value_shape(g, x)), 0.1f);
}

/* One loss per block, with the gradient stopped between them: local learning in one graph. */
static lam_value detached_blocks(struct lam_graph *g, uint64_t seed) {
    (void)seed;
    lam_value x = lam_relu(g, conv_bn(g, image(g, 3, 6, 6), "one", 16, 3, 1));
    lam_value auxiliary = linear(g, lam_global_avg_pool(g, x), "auxiliary", NETWORK_CLASSES);
    lam_value target = labels(g), inner = lam_detach(g, x);
    x = lam_relu(g, lam_add(g, conv_bn(g, inner, "two", 16, 3, 1), inner));
    lam_value logits = linear(g, lam_global_avg_pool(g, x), "fc", NETWORK_CLASSES);
    return lam_add(g, lam_cross_entropy(g, auxiliary, target, 0, NULL),
                   lam_cross_entropy(g, logits, target, 0.1f, NULL));
}

static lam_value odd_convolutions(struct lam_graph *g, uint64_t seed) {
    (void)seed;
    lam_value x = image(g, 3, 9, 7);
    x = lam_relu(
        g, lam_conv(g, x, "dilated",
                    (struct lam_conv_spec){.out = 12, .kernel = 3, .pad = 2, .dilation = 2, .bias = true}));
    x = lam_batch_norm(
        g, lam_conv(g, x, "grouped", (struct lam_conv_spec){.out = 32, .kernel = 3, .pad = 1, .groups = 2}),
        "bn1");
    x = lam_gelu(g, lam_avg_pool(g, x, 3, 2, 1));
    x = lam_conv(g, x, "depthwise",
                 (struct lam_conv_spec){.out = 32, .kernel = 3, .stride = 2, .pad = 1, .groups = 32});
    return classify(g, lam_batch_norm(g, x, "bn2"), 0);
}

/* Values that several ops read, sums of sums, a batch norm used without ReLU and with, soft targets. */
static lam_value shared_values(struct lam_graph *g, uint64_t seed) {
    (void)seed;
    lam_value x = conv(g, image(g, 3, 6, 6), "stem", 16, 3, 1);
    lam_value n = lam_batch_norm(g, x, "bn"), r = lam_relu(g, n);
    lam_value parts[] = {r, n, lam_scale(g, x, -0.5f), r};
    lam_value y = lam_concat(g, parts, 4, 1);
    y = lam_add(g, lam_slice(g, y, 1, 3, 16), lam_add(g, r, r));
    lam_value logits = linear(g, lam_global_avg_pool(g, y), "fc", NETWORK_CLASSES);
    lam_value mixed = lam_graph_input(g, "distribution", LAM_F32, lam_value_shape(g, logits));
    lam_value loss = lam_cross_entropy(g, logits, mixed, 0.1f, NULL);
    lam_value soft = lam_softmax(g, linear(g, logits, "again", 7));
    lam_value probability = lam_graph_input(g, "probability", LAM_F32, lam_value_shape(g, soft));
    return lam_add(g, loss, lam_bce_loss(g, soft, probability));
}

/* ---- random networks: a walk that grows an image-shaped value by random layers ---- */

struct walk {
    struct lam_graph *g;
    struct lam_rng rng;
    lam_value x;
    int layers;
};

static int pick(struct walk *w, int bound) {
    return (int)lam_rng_below(&w->rng, (uint32_t)bound);
}

static const char *layer_name(struct walk *w, const char *kind) {
    static _Thread_local char name[32];
    snprintf(name, sizeof name, "%s%d", kind, w->layers++);
    return name;
}

static int channels(struct walk *w) {
    static const int choices[] = {4, 8, 12, 16, 17, 20, 32};
    return choices[pick(w, 7)];
}

static lam_value random_branch(struct walk *w) {
    struct lam_shape s = lam_value_shape(w->g, w->x);
    lam_value y = conv(w->g, w->x, layer_name(w, "branch"), (int)s.dim[1], pick(w, 2) ? 3 : 1, 1);
    if (pick(w, 2)) y = lam_batch_norm(w->g, y, layer_name(w, "bn"));
    if (pick(w, 2)) y = lam_relu(w->g, y);
    return y;
}

static void random_layer(struct walk *w) {
    struct lam_graph *g = w->g;
    struct lam_shape s = lam_value_shape(g, w->x);
    bool large = s.dim[2] >= 4 && s.dim[3] >= 4;
    switch (pick(w, 13)) {
    case 0:
    case 1:
        w->x =
            conv(g, w->x, layer_name(w, "conv"), channels(w), pick(w, 2) ? 3 : 1, 1 + (large && pick(w, 2)));
        break;
    case 2:
        w->x = lam_relu(g, lam_batch_norm(g, w->x, layer_name(w, "bn")));
        break;
    case 3:
        w->x = pick(w, 2) ? lam_gelu(g, w->x) : lam_relu(g, w->x);
        break;
    case 4:
        w->x = lam_add(g, random_branch(w), w->x);
        break;
    case 5:
        w->x = lam_relu(g, lam_add(g, w->x, random_branch(w)));
        break;
    case 6:
        if (large) w->x = lam_max_pool(g, w->x, 2 + pick(w, 2), 2, pick(w, 2));
        break;
    case 7:
        w->x = lam_avg_pool(g, w->x, 3, 1, 1);
        break;
    case 8:
        w->x = lam_resize(g, w->x, 3 + pick(w, 6), 3 + pick(w, 6), pick(w, 2));
        break;
    case 9:
        if (s.dim[2] < 9 && s.dim[3] < 9)
            w->x = lam_pixel_shuffle(g, conv(g, w->x, layer_name(w, "up"), 4 * (3 + pick(w, 3)), 1, 1), 2);
        break;
    case 10: {
        lam_value parts[] = {w->x, random_branch(w), w->x};
        if (s.dim[1] <= 20) w->x = lam_concat(g, parts, 2 + pick(w, 2), 1 + pick(w, 3));
        break;
    }
    case 11: {
        int axis = 1 + pick(w, 3);
        if (s.dim[axis] >= 4) w->x = lam_slice(g, w->x, axis, pick(w, 2), s.dim[axis] - 1 - pick(w, 2));
        break;
    }
    case 12:
        w->x = lam_dropout(g, lam_scale(g, w->x, 1.5f), layer_name(w, "drop"), 0.25f);
        break;
    }
}

static lam_value random_network(struct lam_graph *g, uint64_t seed) {
    struct walk w = {.g = g, .rng = lam_rng_make(seed, LAM_RNG_TEST, 0, 0), .x = image(g, 3, 7, 6)};
    w.x = conv(g, w.x, "stem", channels(&w), 3, 1);
    for (int i = 0; i < 8; i++) random_layer(&w);
    return classify(g, w.x, 0.05f);
}

/* A small one of tasks/sr, end to end, and behind its second unit the local head: both losses. */
static lam_value sr_network(struct lam_graph *g, const char *name, int scale, bool global_skip) {
    enum { SIDE = 5 };
    struct sr_net_options options = {.name = name,
                                     .scale = scale,
                                     .global_skip = global_skip,
                                     .channels = 6,
                                     .units = 2,
                                     .blocks = 1,
                                     .local_width = 3};
    struct sr_net *net;
    if (sr_net_create(&options, &net) != LAM_OK) return LAM_NO_VALUE;
    struct lam_network n = sr_net_network(net);
    lam_value x = image(g, 3, SIDE, SIDE), taps[LAM_MAX_TAPS] = {LAM_NO_VALUE, LAM_NO_VALUE}, local = x;
    lam_value target =
        lam_graph_input(g, "target", LAM_F32, LAM_SHAPE(lam_graph_batch(g), 3, scale * SIDE, scale * SIDE));
    lam_taps_turn(&n, -1, x, taps);
    for (int unit = 0; unit < n.units; unit++) {
        if (unit == 2) {
            lam_graph_push_scope(g, "aux");
            local = sr_net_local(net, g, x, taps);
            lam_graph_pop_scope(g);
        }
        x = n.build_unit(n.context, g, unit, x, taps);
        lam_taps_turn(&n, unit, x, taps);
    }
    sr_net_destroy(net);
    return lam_add(g, lam_l1_loss(g, x, target), lam_charbonnier_loss(g, local, target, 0.1f));
}

static lam_value edsr(struct lam_graph *g, uint64_t seed) {
    (void)seed;
    return sr_network(g, "edsr-small", 2, true);
}

static lam_value edsr_times_four(struct lam_graph *g, uint64_t seed) {
    (void)seed;
    return sr_network(g, "edsr-small", 4, false);
}

static lam_value rcan(struct lam_graph *g, uint64_t seed) {
    (void)seed;
    return sr_network(g, "rcan-small", 3, true);
}

const struct network networks[] = {
    {"residual", 5, residual, 0},
    {"transformer", 3, transformer, 0},
    {"super resolution", 3, super_resolution, 0},
    {"detection", 3, detection, 0},
    {"anchors", 3, anchors, 0},
    {"edsr", 3, edsr, 0},
    {"edsr x4", 2, edsr_times_four, 0},
    {"rcan x3", 3, rcan, 0},
    {"channel attention", 3, channel_attention, 0},
    {"detached blocks", 4, detached_blocks, 0},
    {"odd convolutions", 5, odd_convolutions, 0},
    {"shared values", 4, shared_values, 0},
    {"random 1", 3, random_network, 1},
    {"random 2", 4, random_network, 2},
    {"random 3", 5, random_network, 3},
    {"random 4", 3, random_network, 4},
    {"random 5", 4, random_network, 5},
    {"random 6", 5, random_network, 6},
    {"random 7", 3, random_network, 7},
    {"random 8", 4, random_network, 8},
    {"random 9", 3, random_network, 9},
    {"random 10", 5, random_network, 10},
};
const int network_count = sizeof networks / sizeof *networks;
