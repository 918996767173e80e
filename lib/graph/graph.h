/* The static graph: ops over typed values, built once, differentiated, then compiled (program.h).
 *
 *     struct lam_graph *g;
 *     LAM_TRY(lam_graph_create(params, batch, LAM_F32, true, &g));            // 1. a training graph
 *     lam_value x = lam_graph_input(g, "image", LAM_F32, LAM_SHAPE(batch, 3, 32, 32));
 *     lam_value t = lam_graph_input(g, "label", LAM_I32, LAM_SHAPE(batch));
 *     lam_value y = lam_conv(g, x, "stem.conv", (struct lam_conv_spec){.out = 16, .kernel = 3, .pad = 1});
 *     y = lam_relu(g, lam_batch_norm(g, y, "stem.bn"));                        // 2. layers
 *     y = lam_linear(g, lam_global_avg_pool(g, y), "head.fc", (struct lam_linear_spec){.out = 10, .bias = true});
 *     lam_value correct;
 *     lam_value loss = lam_cross_entropy(g, y, t, 0.0f, &correct);             // 3. a loss: mean over the batch
 *     lam_graph_output(g, "loss", loss);
 *     lam_graph_output(g, "correct", correct);
 *     LAM_TRY(lam_graph_backward(g, loss));                                    // 4. gradients of all parameters
 *     LAM_TRY(lam_program_compile(g, device, &options, &program));             // 5. program.h
 *
 * Errors are sticky: after the first bad call every builder function returns LAM_NO_VALUE, and
 * lam_graph_status, lam_graph_backward and lam_program_compile report that first error. So builders need no
 * checks.
 *
 * Values are numbers, owned by the graph. Layers declare parameters in the graph's lam_params under
 * "prefix.weight", "prefix.bias", "prefix.running_mean" and so on (PyTorch's names), where the prefix is the
 * layer's name below the unit (lam_graph_scope). In an evaluation graph (training = false) batch norm uses
 * running statistics and dropout is the identity.
 *
 * Precision: with compute type bf16, conv, linear, attention and all between work in bf16 (casts are put in
 * where needed); parameters, statistics and losses stay f32.
 */
#ifndef LAM_GRAPH_GRAPH_H
#define LAM_GRAPH_GRAPH_H

#include "graph/params.h"

typedef int lam_value;
#define LAM_NO_VALUE (-1)

struct lam_graph;

lam_status lam_graph_create(struct lam_params *params, int64_t batch, enum lam_dtype compute, bool training,
                            struct lam_graph **graph);
void lam_graph_destroy(struct lam_graph *graph);
lam_status lam_graph_status(const struct lam_graph *graph); /* the sticky error, its text restored */

bool lam_graph_training(const struct lam_graph *graph);
int64_t lam_graph_batch(const struct lam_graph *graph);
struct lam_params *lam_graph_params(const struct lam_graph *graph);
struct lam_shape lam_value_shape(const struct lam_graph *graph, lam_value value);
enum lam_dtype lam_value_dtype(const struct lam_graph *graph, lam_value value);

/* Names are "scope.name"; scopes nest. */
void lam_graph_push_scope(struct lam_graph *graph, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
void lam_graph_pop_scope(struct lam_graph *graph);

/* Inputs are batched, PLAIN, and filled by the caller before a run. Outputs are kept and readable after a
 * run: loss scalars, or batched values (stored PLAIN). Names are unique among inputs and among outputs. */
lam_value lam_graph_input(struct lam_graph *graph, const char *name, enum lam_dtype dtype,
                          struct lam_shape shape);
void lam_graph_output(struct lam_graph *graph, const char *name, lam_value value);

/* Borders between blocks: an input and an output in the device's own layout, so that one block's output can be another
 * one's input as it is. Both are bound by the caller; a border output is never a part of the activation buffer. Where two
 * devices' layouts differ, LAM_PLAIN borders (plain = true on both sides) fit all. */
lam_value lam_graph_border_input(struct lam_graph *graph, const char *name, enum lam_dtype dtype,
                                 struct lam_shape shape, bool plain);
void lam_graph_border_output(struct lam_graph *graph, const char *name, lam_value value, bool plain);

/* While frozen, layers declare their parameters as buffers: initialised alike, but not trained (EMA twins). */
void lam_graph_freeze(struct lam_graph *graph, bool frozen);

/* Ops that are added from now on, and their gradients, carry this number: lam_program_tag_seconds tells what they cost. */
void lam_graph_tag(struct lam_graph *graph, int tag);

lam_value lam_param(struct lam_graph *graph, const char *name, struct lam_shape shape, struct lam_init init,
                    bool decay);
lam_value lam_buffer(struct lam_graph *graph, const char *name, struct lam_shape shape, float initial);
/* Numbers that stay as they are (anchor boxes): f32, the same for all samples, copied from the host. They are not in
 * checkpoints; who builds the graph gives them again. */
lam_value lam_constant(struct lam_graph *graph, const char *name, struct lam_shape shape,
                       const float *values);

/* The value without its gradient: what a block border does. */
lam_value lam_detach(struct lam_graph *graph, lam_value x);

/* ---- layers: ops with parameters ---- */

struct lam_conv_spec {
    int out;    /* output channels */
    int kernel; /* square */
    int stride; /* 0 means 1 */
    int pad;
    int dilation; /* 0 means 1 */
    int groups;   /* 0 means 1 */
    bool bias;
    float bias_start;     /* what the bias is at first */
    struct lam_init init; /* all zero: Kaiming normal, fan out: N(0, sqrt(2 / (k k C_out))) */
};
lam_value lam_conv(struct lam_graph *graph, lam_value x, const char *name, struct lam_conv_spec spec);

struct lam_linear_spec {
    int out;
    bool bias;
    struct lam_init init; /* all zero: PyTorch's default, U(-1/sqrt(in), 1/sqrt(in)) for weight and bias */
};
/* Over the last dimension of x [N, ..., in]. */
lam_value lam_linear(struct lam_graph *graph, lam_value x, const char *name, struct lam_linear_spec spec);

/* eps 1e-5, momentum 0.1; gamma 1, beta 0, no weight decay exemption unless the task asks (decay = true). */
lam_value lam_batch_norm(struct lam_graph *graph, lam_value x, const char *name);
lam_value lam_layer_norm(struct lam_graph *graph, lam_value x, const char *name, float eps);
/* Self attention over x [N, T, D]: qkv linear, attention, projection ("name.qkv", "name.proj"). */
lam_value lam_attention(struct lam_graph *graph, lam_value x, const char *name, int heads);
/* Class token and positions: x [N, P, D] -> [N, P + 1, D] ("name.cls_token", "name.pos_embed"). */
lam_value lam_tokens(struct lam_graph *graph, lam_value x, const char *name);
lam_value lam_dropout(struct lam_graph *graph, lam_value x, const char *name, float p);

/* ---- ops without parameters ---- */

lam_value lam_relu(struct lam_graph *graph, lam_value x);
lam_value lam_gelu(struct lam_graph *graph, lam_value x);
lam_value lam_sigmoid(struct lam_graph *graph, lam_value x);
lam_value lam_add(struct lam_graph *graph, lam_value a, lam_value b);
/* s a + (2 - s) b with a trained number s, a parameter that starts at `initial`; no weight decay. */
lam_value lam_mix(struct lam_graph *graph, lam_value a, lam_value b, const char *name, float initial);
lam_value lam_scale(struct lam_graph *graph, lam_value x, float factor);
/* x [N,C,H,W] times s [N,C], its gate for each channel (channel attention). */
lam_value lam_channel_scale(struct lam_graph *graph, lam_value x, lam_value s);
lam_value lam_cast(struct lam_graph *graph, lam_value x, enum lam_dtype dtype);
/* Pixels, u8 [N,C,H,W] with C <= 4, to (x / 255 - mean[c]) / deviation[c] in the type that the graph computes in. */
lam_value lam_normalize(struct lam_graph *graph, lam_value x, const struct lam_normalize_attr *attr);
/* The same of pixels that are moved at random (LAM_OP_AUGMENT); in an evaluation graph as they are. */
lam_value lam_augment(struct lam_graph *graph, lam_value x, const struct lam_augment_attr *attr);
lam_value lam_copy(struct lam_graph *graph, lam_value x); /* into a place of its own */
lam_value lam_reshape(struct lam_graph *graph, lam_value x, struct lam_shape shape); /* dim[0] stays */
lam_value lam_concat(struct lam_graph *graph, const lam_value *x, int count, int axis);
lam_value lam_slice(struct lam_graph *graph, lam_value x, int axis, int64_t begin, int64_t length);
lam_value lam_max_pool(struct lam_graph *graph, lam_value x, int kernel, int stride, int pad);
lam_value lam_avg_pool(struct lam_graph *graph, lam_value x, int kernel, int stride, int pad);
lam_value lam_global_avg_pool(struct lam_graph *graph, lam_value x); /* [N,C,H,W] -> [N,C] */
lam_value lam_resize(struct lam_graph *graph, lam_value x, int64_t height, int64_t width, bool bilinear);
lam_value lam_pixel_shuffle(struct lam_graph *graph, lam_value x, int factor);
lam_value lam_pixel_unshuffle(struct lam_graph *graph, lam_value x, int factor);
lam_value lam_patchify(struct lam_graph *graph, lam_value x, int size);
/* [N, A k, H, W] -> [N, H W A, k], rows in the order (y, x, a): what a detection head says about each anchor. Levels
 * are joined by lam_concat along axis 1. */
lam_value lam_to_rows(struct lam_graph *graph, lam_value x, int k);
lam_value lam_softmax(struct lam_graph *graph, lam_value x);

/* ---- losses: f32 scalars; x and logits may be bf16 ---- */

/* logits [N, K]; target i32 [N] or f32 [N, K] probabilities. correct (may be NULL): number of right rows. Mean over the
 * batch. */
lam_value lam_cross_entropy(struct lam_graph *graph, lam_value logits, lam_value target, float smoothing,
                            lam_value *correct);

/* Elementwise losses: the mean over all elements. Those that take a weight (LAM_NO_VALUE: none) are, with one, the
 * mean over the samples of the weighted sum of a sample's terms: divided by N only. The weight is f32 of x's first
 * dimensions, [N] or [N, A] for x [N, A, 4]; rows of weight 0 are not looked at. */
lam_value lam_l1_loss(struct lam_graph *graph, lam_value x, lam_value target);
lam_value lam_mse_loss(struct lam_graph *graph, lam_value x, lam_value target);
lam_value lam_smooth_l1_loss(struct lam_graph *graph, lam_value x, lam_value target, lam_value weight,
                             float beta);
lam_value lam_charbonnier_loss(struct lam_graph *graph, lam_value x, lam_value target, float eps);
lam_value lam_bce_loss(struct lam_graph *graph, lam_value x, lam_value target);
/* x: logits [N, ..., C]. target: f32 as x (1, 0, -1 = ignored), or i32 [N, ...] (class, -1 = none, -2 = ignored). The
 * result is times `scale`. */
lam_value lam_focal_loss(struct lam_graph *graph, lam_value x, lam_value target, lam_value weight,
                         float alpha, float gamma, float scale);
/* Quality focal loss (Li et al. 2020) of x [N, A, K] against lam_iou_targets; weight and scale as of lam_focal_loss. */
lam_value lam_quality_focal_loss(struct lam_graph *graph, lam_value x, lam_value target, lam_value weight,
                                 float scale);
/* [N, A, classes]: how well the box of each row meets its target, at the place of the row's label (op.h, IOU_TARGETS). label
 * i32 [N, A]; the others as of lam_giou_loss. A constant: no gradient flows into the boxes. */
lam_value lam_iou_targets(struct lam_graph *graph, lam_value label, int64_t classes, lam_value deltas,
                          lam_value anchors, lam_value target, lam_value weight);

/* 1 - GIoU of the boxes that deltas [N, A, 4] make of anchors [A, 4] and of the boxes target [N, A, 4], weighted by
 * weight [N, A]: the mean over the samples of the weighted sum. What a delta means stands in device/op.h. */
lam_value lam_giou_loss(struct lam_graph *graph, lam_value deltas, lam_value anchors, lam_value target,
                        lam_value weight);

/* ---- differentiation ---- */

/* Appends the gradient ops of `loss` (a scalar; combine several with lam_add and lam_scale) for every
 * trainable parameter that it depends on. The results go to the parameters' gradient buffers. Called once,
 * last. */
lam_status lam_graph_backward(struct lam_graph *graph, lam_value loss);

/* The same for a part of a network, whose gradients come in behind and go out in front. */
struct lam_graph_part {
    lam_value loss;          /* LAM_NO_VALUE: there is none */
    const lam_value *y, *dy; /* values with gradients from outside: inputs like them */
    int outputs;             /* of y */
    const lam_value *x;      /* inputs that were declared with lam_graph_want_gradient */
    lam_value *dx;           /* receives their gradients, LAM_NO_VALUE where nothing depends on x */
    int inputs;              /* of x */
};
lam_status lam_graph_backward_part(struct lam_graph *graph, const struct lam_graph_part *part);
void lam_graph_want_gradient(struct lam_graph *graph, lam_value x);

/* Multiply-adds of one forward pass over the batch (conv, linear, attention), counted as 2 FLOPs each. */
double lam_graph_forward_flops(const struct lam_graph *graph);
double lam_graph_backward_flops(const struct lam_graph *graph);
double lam_graph_tag_flops(const struct lam_graph *graph, int tag); /* both passes, ops of one tag */

/* One line per op, for debugging and tests. Caller frees. */
char *lam_graph_text(const struct lam_graph *graph);

#endif
