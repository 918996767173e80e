#include "tasks/classify/heads.h"

enum { NARROW = 8, HIDDEN = 128 };

static lam_value of_map(struct lam_graph *graph, lam_value x, int classes) {
    struct lam_shape shape = lam_value_shape(graph, x);
    bool wide = shape.dim[2] > NARROW;
    struct lam_conv_spec conv = {
        .out = (int)shape.dim[1] * (wide ? 2 : 1), .kernel = 3, .stride = wide ? 2 : 1, .pad = 1};
    lam_value y = lam_conv(graph, x, "conv", conv);
    y = lam_relu(graph, lam_batch_norm(graph, y, "bn"));
    y = lam_linear(graph, lam_global_avg_pool(graph, y), "fc1",
                   (struct lam_linear_spec){.out = HIDDEN, .bias = true});
    return lam_linear(graph, lam_relu(graph, y), "fc2",
                      (struct lam_linear_spec){.out = classes, .bias = true});
}

static lam_value of_tokens(struct lam_graph *graph, lam_value x, int classes) {
    struct lam_shape shape = lam_value_shape(graph, x);
    struct lam_init init = {LAM_INIT_TRUNC_NORMAL, 0.02f};
    lam_value y = lam_slice(graph, x, 1, 0, 1);
    y = lam_reshape(graph, y, LAM_SHAPE(shape.dim[0], shape.dim[2]));
    y = lam_layer_norm(graph, y, "norm", 1e-6f);
    return lam_linear(graph, y, "fc", (struct lam_linear_spec){.out = classes, .bias = true, .init = init});
}

lam_value classify_local_logits(struct lam_graph *graph, lam_value x, int classes) {
    bool map = lam_value_shape(graph, x).rank == 4;
    return lam_cast(graph, map ? of_map(graph, x, classes) : of_tokens(graph, x, classes), LAM_F32);
}

lam_value classify_output(struct lam_graph *graph, lam_value logits, lam_value target, float smoothing,
                          bool count_correct) {
    if (!lam_graph_training(graph)) {
        lam_graph_output(graph, "logits", logits);
        return LAM_NO_VALUE;
    }
    lam_value correct,
        loss = lam_cross_entropy(graph, logits, target, smoothing, count_correct ? &correct : NULL);
    lam_graph_output(graph, "loss", loss);
    if (count_correct) lam_graph_output(graph, "correct", correct);
    return loss;
}
