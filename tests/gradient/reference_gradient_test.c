/* Proves that the reference of every backward op is the derivative of its forward op's reference.
 *
 * With random weights r the scalar L = sum r . y has dL/dy = r. A backward op given dy = r must give dL/dx
 * for every input x it differentiates, which central differences of L through the forward reference give too:
 * in double arithmetic with a step of 1e-5 they agree to about 1e-9. Kernels are then compared with the
 * references alone (tests/conformance).
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "conformance/operands.h"

enum { SEED = 7 };
static const struct lam_run run = {.seed = 3, .step = 5};
static const double step = 1e-5, tolerance = 1e-7;

/* What a backward op reads or writes, seen from its forward op. */
enum role { END, DY, IN, OUT };
struct source {
    enum role role;
    int index;
};

struct pair {
    const char *forward, *backward; /* op names */
    const char *words;              /* op_text.h; both ops are built from them */
    struct source in[LAM_MAX_INPUTS];
    int gradient[LAM_MAX_OUTPUTS + 1]; /* the forward input whose gradient the output is; ends with -1 */
};

#define CONV_DATA                                                                                            \
    {{DY, 0}, {IN, 1}}, {                                                                                    \
        0, -1                                                                                                \
    }
#define CONV_WEIGHTS                                                                                         \
    {{IN, 0}, {DY, 0}}, {                                                                                    \
        1, 2, -1                                                                                             \
    }
#define CONV_NO_BIAS                                                                                         \
    {{IN, 0}, {DY, 0}}, {                                                                                    \
        1, -1                                                                                                \
    }
#define LAYER_NORM                                                                                           \
    {{DY, 0}, {IN, 0}, {OUT, 1}, {OUT, 2}, {IN, 1}}, {                                                       \
        0, 1, 2, -1                                                                                          \
    }
#define OF_INPUT                                                                                             \
    {{DY, 0}, {IN, 0}}, {                                                                                    \
        0, -1                                                                                                \
    }
#define OF_OUTPUT                                                                                            \
    {{DY, 0}, {OUT, 0}}, {                                                                                   \
        0, -1                                                                                                \
    }
#define OF_DY                                                                                                \
    {{DY, 0}}, {                                                                                             \
        0, -1                                                                                                \
    }
#define ATTENTION                                                                                            \
    {{DY, 0}, {IN, 0}, {OUT, 0}, {OUT, 1}}, {                                                                \
        0, -1                                                                                                \
    }
#define OF_LOSS                                                                                              \
    {{IN, 0}, {IN, 1}}, {                                                                                    \
        0, -1                                                                                                \
    }
#define OF_WEIGHTED_LOSS                                                                                     \
    {{IN, 0}, {IN, 1}, {IN, 2}}, {                                                                           \
        0, -1                                                                                                \
    }
#define OF_GIOU                                                                                              \
    {{IN, 0}, {IN, 1}, {IN, 2}, {IN, 3}}, {                                                                  \
        0, -1                                                                                                \
    }
#define DATA           "conv", "conv_bwd_data"
#define WEIGHTS        "conv", "conv_bwd_weights"
#define LINEAR_DATA    "linear", "linear_bwd_data"
#define LINEAR_WEIGHTS "linear", "linear_bwd_weights"

static const struct pair pairs[] = {
    {DATA, "n=2 c=3 h=5 w=4 o=2 k=3 p=1", CONV_DATA},
    {DATA, "n=2 c=4 h=6 w=5 o=6 kh=3 kw=2 sh=2 sw=1 ph=1 pw=0 dh=1 dw=2 g=2", CONV_DATA},
    {WEIGHTS, "n=2 c=3 h=5 w=4 o=2 k=3 p=1 bias", CONV_WEIGHTS},
    {WEIGHTS, "n=2 c=4 h=6 w=5 o=6 kh=3 kw=2 sh=2 sw=1 ph=1 pw=0 dh=1 dw=2 g=2 bias", CONV_WEIGHTS},
    {WEIGHTS, "n=3 c=2 h=4 w=4 o=3 k=1 s=2", CONV_NO_BIAS},
    {LINEAR_DATA, "shape=3x7 o=5", CONV_DATA},
    {LINEAR_DATA, "shape=2x4x3 o=5 bias", CONV_DATA},
    {LINEAR_WEIGHTS, "shape=3x7 o=5 bias", CONV_WEIGHTS},
    {LINEAR_WEIGHTS, "shape=2x4x3 o=5", CONV_NO_BIAS},
    {"layer_norm", "layer_norm_bwd", "shape=3x8", LAYER_NORM},
    {"layer_norm", "layer_norm_bwd", "shape=2x4x5", LAYER_NORM},
    {"relu", "relu_bwd", "shape=2x3x4x4", OF_OUTPUT},
    {"gelu", "gelu_bwd", "shape=2x30", OF_INPUT},
    {"sigmoid", "sigmoid_bwd", "shape=2x30", OF_OUTPUT},
    {"channel_scale", "channel_scale_bwd", "n=2 c=3 h=4 w=3", {{DY, 0}, {IN, 0}, {IN, 1}}, {0, 1, -1}},
    {"permute_hwc", "permute_chw", "n=2 c=6 h=2 w=3 k=3", OF_DY},
    {"permute_chw", "permute_hwc", "n=2 c=6 h=2 w=3 k=2", OF_DY},
    {"scale", "scale", "shape=2x5 factor=-0.75", OF_DY},
    {"mix", "mix_bwd", "shape=3x2x4x5", {{DY, 0}, {IN, 0}, {IN, 1}, {IN, 2}}, {0, 1, 2, -1}},
    {"slice", "slice_bwd", "shape=2x5x3x2 axis=1 begin=1 length=3", OF_DY},
    {"slice", "slice_bwd", "shape=2x5x3x4 axis=3 begin=0 length=2", OF_DY},
    {"max_pool", "max_pool_bwd", "n=2 c=2 h=6 w=5 k=3 s=2 p=1", OF_INPUT},
    {"max_pool", "max_pool_bwd", "n=1 c=3 h=5 w=5 k=2 s=2", OF_INPUT},
    {"max_pool", "max_pool_bwd", "n=1 c=3 h=5 w=5 k=3 s=1 p=1", OF_INPUT},
    {"avg_pool", "avg_pool_bwd", "n=2 c=2 h=6 w=5 k=3 s=2 p=1", OF_DY},
    {"avg_pool", "avg_pool_bwd", "n=2 c=2 h=5 w=4 kh=2 kw=3 s=1 ph=0 pw=1", OF_DY},
    {"global_avg_pool", "global_avg_pool_bwd", "n=2 c=3 h=4 w=3", OF_DY},
    {"resize", "resize_bwd", "n=2 c=2 h=3 w=4 oh=6 ow=8", OF_DY},
    {"resize", "resize_bwd", "n=2 c=2 h=5 w=4 oh=7 ow=3", OF_DY},
    {"resize", "resize_bwd", "n=2 c=2 h=3 w=4 oh=6 ow=8 bilinear", OF_DY},
    {"resize", "resize_bwd", "n=1 c=2 h=6 w=5 oh=4 ow=9 bilinear", OF_DY},
    {"pixel_shuffle", "pixel_unshuffle", "n=2 c=2 h=6 w=4 r=2", OF_DY},
    {"pixel_unshuffle", "pixel_shuffle", "n=1 c=1 h=6 w=9 r=3", OF_DY},
    {"patchify", "unpatchify", "n=2 c=3 h=4 w=6 r=2", OF_DY},
    {"unpatchify", "patchify", "n=1 c=2 h=6 w=6 r=3", OF_DY},
    {"softmax", "softmax_bwd", "shape=3x7", OF_OUTPUT},
    {"attention", "attention_bwd", "n=2 t=5 f=6 heads=2", ATTENTION},
    {"attention", "attention_bwd", "n=1 t=3 f=4 heads=1", ATTENTION},
    {"dropout", "dropout_bwd", "shape=3x17 rate=0.4", OF_DY},
    {"tokens", "tokens_bwd", "n=3 t=4 f=5", {{DY, 0}}, {0, 1, 2, -1}},
    {"cross_entropy", "cross_entropy_bwd", "shape=5x7", OF_LOSS},
    {"cross_entropy", "cross_entropy_bwd", "shape=5x7 smoothing=0.1 scale=1.5", OF_LOSS},
    {"cross_entropy", "cross_entropy_bwd", "shape=4x3 soft smoothing=0.2", OF_LOSS},
    {"l1", "loss_bwd of=l1", "shape=4x9", OF_LOSS},
    {"mse", "loss_bwd of=mse", "shape=4x9 scale=2", OF_LOSS},
    {"smooth_l1", "loss_bwd of=smooth_l1", "shape=4x9 beta=0.7", OF_LOSS},
    {"smooth_l1", "loss_bwd of=smooth_l1", "shape=4x9x4 beta=0.7 weight=2", OF_WEIGHTED_LOSS},
    {"charbonnier", "loss_bwd of=charbonnier", "shape=4x9 beta=0.1", OF_LOSS},
    {"bce_logits", "loss_bwd of=bce_logits", "shape=4x9", OF_LOSS},
    {"focal", "loss_bwd of=focal", "shape=6x20", OF_LOSS},
    {"focal", "loss_bwd of=focal", "shape=6x20 alpha=0.6 gamma=1.5", OF_LOSS},
    {"focal", "loss_bwd of=focal", "labels shape=3x9x5 weight=1", OF_WEIGHTED_LOSS},
    {"focal", "loss_bwd of=focal", "labels shape=3x9x5 gamma=1.5", OF_LOSS},
    {"quality_focal", "loss_bwd of=quality_focal", "shape=6x20", OF_LOSS},
    {"quality_focal", "loss_bwd of=quality_focal", "shape=3x9x5 weight=1", OF_WEIGHTED_LOSS},
    {"giou", "giou_bwd", "n=3 a=40", OF_GIOU},
};

static void build(const char *name, const char *words, struct op_case *result) {
    char text[256];
    assert_true(snprintf(text, sizeof text, "%s %s", name, words) < (int)sizeof text);
    if (op_from_text(text, result) != LAM_OK) fail_msg("%s", lam_error_text());
}

static double *new_values(int64_t count) {
    double *values = calloc((size_t)count, sizeof *values);
    assert_non_null(values);
    return values;
}

static double weighted_sum(const double *r, const double *y, int64_t count) {
    double sum = 0;
    for (int64_t i = 0; i < count; i++) sum += r[i] * y[i];
    return sum;
}

static double forward_value(const struct lam_op *op, struct operands *o, const double *r) {
    assert_int_equal(reference_run(op, &run, (const double *const *)o->in, o->out), LAM_OK);
    return weighted_sum(r, o->out[0], reference_count(&op->out[0]));
}

/* Norm-wise relative distance of `gradient` from the central differences of L in input `which`. */
static double distance(const struct lam_op *op, struct operands *o, const double *r, int which,
                       const double *gradient) {
    double difference = 0, norm = 0;
    for (int64_t i = 0; i < reference_count(&op->in[which]); i++) {
        double *x = &o->in[which][i], kept = *x;
        *x = kept + step;
        double above = forward_value(op, o, r);
        *x = kept - step;
        double below = forward_value(op, o, r);
        *x = kept;
        double expected = (above - below) / (2 * step);
        difference += pow(gradient[i] - expected, 2);
        norm += expected * expected;
    }
    if (norm == 0) fail_msg("%s: the gradient is zero, so the case proves nothing", lam_op_name(op->kind));
    return sqrt(difference / norm);
}

static void check_pair(const struct pair *p) {
    struct op_case forward, backward;
    build(p->forward, p->words, &forward);
    build(p->backward, p->words, &backward);
    struct operands o;
    assert_int_equal(operands_create(&forward, SEED, false, &o), LAM_OK);
    const struct lam_op *op = &forward.op;
    int64_t results = reference_count(&op->out[0]);
    double *r = new_values(results);
    if (op->out[0].batched)
        operands_fill_normal(r, results, SEED, 1000);
    else
        r[0] = 1; /* a loss: its backward op has no dy */
    forward_value(op, &o, r);

    const double *in[LAM_MAX_INPUTS] = {NULL};
    double *out[LAM_MAX_OUTPUTS] = {NULL}, *copies[LAM_MAX_INPUTS] = {NULL};
    for (int i = 0; i < backward.op.inputs; i++) {
        struct source s = p->in[i];
        if (!backward.op.in[i].present) continue;
        const struct lam_operand *from = s.role == OUT ? &op->out[s.index] : &op->in[s.index];
        const double *values = s.role == DY ? r : s.role == OUT ? o.out[s.index] : o.in[s.index];
        int64_t count = s.role == DY ? results : reference_count(from);
        assert_int_not_equal(s.role, END);
        assert_int_equal(count, reference_count(&backward.op.in[i]));
        in[i] = copies[i] = new_values(count);
        memcpy(copies[i], values, (size_t)count * sizeof *values);
    }
    for (int i = 0; i < backward.op.outputs; i++)
        if (backward.op.out[i].present) out[i] = new_values(reference_count(&backward.op.out[i]));
    assert_int_equal(reference_run(&backward.op, &run, in, out), LAM_OK);
    for (int i = 0; p->gradient[i] >= 0; i++) {
        double found = distance(op, &o, r, p->gradient[i], out[i]);
        if (!(found < tolerance))
            fail_msg("%s %s: gradient of input %d is off by %g", p->backward, p->words, p->gradient[i],
                     found);
    }
    for (int i = 0; i < LAM_MAX_INPUTS; i++) free(copies[i]);
    for (int i = 0; i < LAM_MAX_OUTPUTS; i++) free(out[i]);
    free(r);
    operands_destroy(&o);
}

static void test_backward_is_derivative(void **state) {
    (void)state;
    for (size_t i = 0; i < sizeof pairs / sizeof *pairs; i++) check_pair(&pairs[i]);
}

/* ---- batch norm: statistics, then apply; the gradient flows through both ---- */

static struct lam_op bn_op(const char *name, const char *words) {
    struct op_case c;
    build(name, words, &c);
    return c.op;
}

struct batch_norm {
    struct lam_op stats, apply;
    double *x, *mean, *inv_std, *gamma, *beta, *running, *y, *r;
    int64_t count, channels;
};

static double batch_norm_value(struct batch_norm *b) {
    reference_run(&b->stats, &run, (const double *[]){b->x},
                  (double *[]){b->mean, b->inv_std, b->running, b->running + b->channels});
    reference_run(&b->apply, &run,
                  (const double *[]){b->x, b->mean, b->inv_std, b->gamma, b->beta, NULL, NULL, NULL},
                  (double *[]){b->y});
    return weighted_sum(b->r, b->y, b->count);
}

static void check_batch_norm_input(struct batch_norm *b, double *input, int64_t count, const double *gradient,
                                   const char *name) {
    double difference = 0, norm = 0;
    for (int64_t i = 0; i < count; i++) {
        double kept = input[i];
        input[i] = kept + step;
        double above = batch_norm_value(b);
        input[i] = kept - step;
        double below = batch_norm_value(b);
        input[i] = kept;
        double expected = (above - below) / (2 * step);
        difference += pow(gradient[i] - expected, 2);
        norm += expected * expected;
    }
    batch_norm_value(b);
    if (!(difference < tolerance * tolerance * norm))
        fail_msg("batch norm: gradient of %s is off by %g", name, sqrt(difference / norm));
}

static void check_batch_norm(const char *words) {
    struct batch_norm b = {.stats = bn_op("bn_stats", words), .apply = bn_op("bn_apply", words)};
    struct lam_op sums = bn_op("bn_bwd_stats", words), backward = bn_op("bn_bwd_apply", words);
    b.count = reference_count(&b.stats.in[0]);
    b.channels = b.stats.in[0].desc.shape.dim[1];
    double **images[] = {&b.x, &b.y, &b.r}, **vectors[] = {&b.mean, &b.inv_std, &b.gamma, &b.beta};
    for (int i = 0; i < 3; i++)
        operands_fill_normal(*images[i] = new_values(b.count), b.count, SEED, (uint64_t)i);
    for (int i = 0; i < 4; i++)
        operands_fill_normal(*vectors[i] = new_values(b.channels), b.channels, SEED, 10 + (uint64_t)i);
    b.running = new_values(2 * b.channels);
    double *dgamma = new_values(b.channels), *dbeta = new_values(b.channels), *dx = new_values(b.count);
    batch_norm_value(&b);
    const double *in[] = {b.r, b.x, b.mean, b.inv_std, b.gamma, b.beta, dgamma, dbeta};
    reference_run(&sums, &run, in, (double *[]){dgamma, dbeta});
    reference_run(&backward, &run, in, (double *[]){dx});
    check_batch_norm_input(&b, b.x, b.count, dx, "x");
    check_batch_norm_input(&b, b.gamma, b.channels, dgamma, "gamma");
    check_batch_norm_input(&b, b.beta, b.channels, dbeta, "beta");
    for (int i = 0; i < 3; i++) free(*images[i]);
    for (int i = 0; i < 4; i++) free(*vectors[i]);
    free(b.running);
    free(dgamma);
    free(dbeta);
    free(dx);
}

static void test_batch_norm(void **state) {
    (void)state;
    check_batch_norm("n=3 c=4 h=3 w=2");
    check_batch_norm("n=4 c=3 h=2 w=3 relu");
    check_batch_norm("n=5 c=2 h=1 w=1 eps=0.01");
}

/* Every backward op of op.h stands in the table or is batch norm's. */
static void test_every_backward_op_is_proven(void **state) {
    (void)state;
    for (int kind = 0; kind < LAM_OP_COUNT; kind++) {
        const char *name = lam_op_name((enum lam_op_kind)kind);
        if (!strstr(name, "_bwd") || !strncmp(name, "bn_bwd", 6)) continue;
        bool found = false;
        for (size_t i = 0; i < sizeof pairs / sizeof *pairs; i++)
            if (!strncmp(pairs[i].backward, name, strlen(name))) found = true;
        if (!found) fail_msg("%s is not proven", name);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_backward_is_derivative),
        cmocka_unit_test(test_batch_norm),
        cmocka_unit_test(test_every_backward_op_is_proven),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
