/* Optimizers against the formulas written out in double precision, and what stays the same whatever the
 * number of lanes. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/rng.h"
#include "optim/optimizer.h"

/* Larger than one chunk, no multiple of it or of a vector; the border of decay lies inside a chunk. */
enum { FIRST = 20011, SECOND = 13, PLAIN = 15007, COUNT = FIRST + SECOND + PLAIN, STEPS = 4 };

struct fixture {
    struct lam_device *device;
    struct lam_params *params;
    struct lam_optimizer *optimizer;
    float values[COUNT]; /* before the first step */
};

static void upload_gradients(struct fixture *f, int step) {
    static float gradients[COUNT];
    struct lam_rng rng = lam_rng_make(9, LAM_RNG_TEST, 1, (uint64_t)step);
    for (int i = 0; i < COUNT; i++) gradients[i] = 0.1f * lam_rng_normal(&rng);
    lam_device_upload(f->device, lam_params_gradients(f->params), gradients, sizeof gradients);
}

static struct fixture *make(const char *device, const struct lam_optimizer_options *options) {
    struct fixture *f = calloc(1, sizeof *f);
    int index;
    struct lam_init init = {LAM_INIT_NORMAL, 1.0f};
    if (lam_device_open(device, 0, &f->device) != LAM_OK) {
        free(f);
        return NULL;
    }
    assert_int_equal(lam_params_create(&f->params), LAM_OK);
    lam_params_declare(f->params, "a.weight", LAM_SHAPE(FIRST), init, true, false, &index);
    lam_params_declare(f->params, "a.running_mean", LAM_SHAPE(3), init, false, true, &index);
    lam_params_declare(f->params, "b.plain", LAM_SHAPE(PLAIN), init, false, false, &index);
    lam_params_declare(f->params, "b.weight", LAM_SHAPE(SECOND), init, true, false, &index);
    assert_int_equal(lam_params_allocate(f->params, f->device), LAM_OK);
    assert_int_equal(lam_params_count(f->params), COUNT);
    assert_int_equal(lam_params_decayed_count(f->params), FIRST + SECOND);
    assert_int_equal(lam_params_init(f->params, 3), LAM_OK);
    lam_device_download(f->device, f->values, lam_params_values(f->params), sizeof f->values);
    if (lam_optimizer_create(options, f->params, f->device, &f->optimizer) != LAM_OK)
        fail_msg("%s", lam_error_text());
    return f;
}

static void drop(struct fixture *f) {
    lam_optimizer_destroy(f->optimizer);
    lam_params_destroy(f->params);
    lam_device_close(f->device);
    free(f);
}

static void run_steps(struct fixture *f, int steps) {
    for (int t = 0; t < steps; t++) {
        upload_gradients(f, t);
        if (lam_optimizer_step(f->optimizer, 0.1f / (float)(t + 1), (uint64_t)t) != LAM_OK)
            fail_msg("%s", lam_error_text());
    }
}

/* What `steps` steps make of value `w`; gradients and rates as in run_steps. */
struct plain {
    const struct lam_optimizer_options *options;
    double decay, w, m, v, ema;
};

static void plain_step(struct plain *p, double g, double rate, int t) {
    const struct lam_optimizer_options *o = p->options;
    if (t == 0) p->ema = p->w;
    if (o->kind == LAM_OPTIMIZER_SGD) {
        g += p->decay * p->w;
        p->m = t == 0 ? g : o->momentum * p->m + g;
        p->w -= rate * (o->nesterov ? g + o->momentum * p->m : p->m);
    } else {
        if (o->kind == LAM_OPTIMIZER_ADAM)
            g += p->decay * p->w;
        else
            p->w *= 1.0 - rate * p->decay;
        p->m = o->beta1 * p->m + (1.0 - o->beta1) * g;
        p->v = o->beta2 * p->v + (1.0 - o->beta2) * g * g;
        double m = p->m / (1.0 - pow(o->beta1, t + 1)), v = p->v / (1.0 - pow(o->beta2, t + 1));
        p->w -= rate * m / (sqrt(v) + o->eps);
    }
    p->ema = o->ema_decay * p->ema + (1.0 - o->ema_decay) * p->w;
}

static double gradient_scale(const struct lam_optimizer_options *options, const float *gradients) {
    double sum = 0;
    for (int i = 0; i < COUNT; i++) sum += (double)gradients[i] * gradients[i];
    double scale = options->clip_norm > 0 ? options->clip_norm / (sqrt(sum) + 1e-6) : 1.0;
    return scale < 1.0 ? scale : 1.0;
}

static void expect_close(const float *got, const double *wanted, const char *what) {
    for (int i = 0; i < COUNT; i++)
        if (fabs(got[i] - wanted[i]) > 2e-6 * fmax(1.0, fabs(wanted[i])))
            fail_msg("%s %d: %.9g, not %.9g", what, i, got[i], wanted[i]);
}

static void check_against_formula(const struct lam_optimizer_options *options) {
    struct fixture *f = make("cpu:0", options);
    static float gradients[COUNT], got[COUNT];
    static double weights[COUNT], averages[COUNT];
    static struct plain plain[COUNT];
    for (int i = 0; i < COUNT; i++)
        plain[i] = (struct plain){
            .options = options, .decay = i < FIRST + SECOND ? options->weight_decay : 0.0, .w = f->values[i]};
    for (int t = 0; t < STEPS; t++) {
        struct lam_rng rng = lam_rng_make(9, LAM_RNG_TEST, 1, (uint64_t)t);
        for (int i = 0; i < COUNT; i++) gradients[i] = 0.1f * lam_rng_normal(&rng);
        double scale = gradient_scale(options, gradients);
        for (int i = 0; i < COUNT; i++) plain_step(&plain[i], scale * gradients[i], 0.1f / (float)(t + 1), t);
    }
    for (int i = 0; i < COUNT; i++) {
        weights[i] = plain[i].w;
        averages[i] = plain[i].ema;
    }
    run_steps(f, STEPS);
    lam_device_download(f->device, got, lam_params_values(f->params), sizeof got);
    expect_close(got, weights, "weight");
    if (options->ema_decay > 0) {
        int last = lam_optimizer_state_count(f->optimizer) - 1;
        assert_string_equal(lam_optimizer_state_name(f->optimizer, last), "ema");
        lam_device_download(f->device, got, lam_optimizer_state(f->optimizer, last), sizeof got);
        expect_close(got, averages, "average");
    }
    drop(f);
}

static void sgd_follows_its_formula(void **state) {
    (void)state;
    for (int nesterov = 0; nesterov < 2; nesterov++) {
        struct lam_optimizer_options o = lam_optimizer_default_options(LAM_OPTIMIZER_SGD);
        o.nesterov = nesterov;
        o.weight_decay = 0.05f;
        check_against_formula(&o);
    }
    struct lam_optimizer_options o = {.kind = LAM_OPTIMIZER_SGD}; /* no momentum at all */
    check_against_formula(&o);
}

static void adam_and_adamw_follow_their_formulas(void **state) {
    (void)state;
    for (int kind = LAM_OPTIMIZER_ADAM; kind <= LAM_OPTIMIZER_ADAMW; kind++) {
        struct lam_optimizer_options o = lam_optimizer_default_options((enum lam_optimizer_kind)kind);
        o.weight_decay = 0.05f;
        check_against_formula(&o);
    }
}

static void clipping_and_ema_follow_their_formulas(void **state) {
    (void)state;
    struct lam_optimizer_options o = lam_optimizer_default_options(LAM_OPTIMIZER_SGD);
    o.clip_norm = 5.0f; /* the gradients' norm is about 18.7 */
    o.ema_decay = 0.75f;
    check_against_formula(&o);
    o.clip_norm = 1000.0f; /* never reached */
    check_against_formula(&o);
}

static void lanes_do_not_change_a_bit(void **state) {
    (void)state;
    struct lam_optimizer_options o = lam_optimizer_default_options(LAM_OPTIMIZER_ADAMW);
    o.weight_decay = 0.05f;
    o.clip_norm = 1.0f;
    struct fixture *one = make("cpu:0", &o), *two = make("cpu:0-1", &o);
    if (!two) { /* a machine of one core */
        drop(one);
        skip();
    }
    run_steps(one, STEPS);
    run_steps(two, STEPS);
    static float a[COUNT], b[COUNT];
    lam_device_download(one->device, a, lam_params_values(one->params), sizeof a);
    lam_device_download(two->device, b, lam_params_values(two->params), sizeof b);
    assert_memory_equal(a, b, sizeof a);
    assert_true(lam_optimizer_gradient_norm(one->optimizer) == lam_optimizer_gradient_norm(two->optimizer));
    drop(one);
    drop(two);
}

static void the_gradient_norm_is_that_of_all(void **state) {
    (void)state;
    struct lam_optimizer_options o = lam_optimizer_default_options(LAM_OPTIMIZER_SGD);
    o.clip_norm = 0.5f;
    struct fixture *f = make("cpu:0", &o);
    static float gradients[COUNT];
    upload_gradients(f, 0);
    lam_device_download(f->device, gradients, lam_params_gradients(f->params), sizeof gradients);
    double sum = 0;
    for (int i = 0; i < COUNT; i++) sum += (double)gradients[i] * gradients[i];
    assert_int_equal(lam_optimizer_step(f->optimizer, 0.1f, 0), LAM_OK);
    double norm = lam_optimizer_gradient_norm(f->optimizer);
    assert_true(fabs(norm - sqrt(sum)) < 1e-5 * norm);
    drop(f);
}

/* Puts `bad` at element `at` of the gradients or the values; the step must name `name` and change nothing. */
static void expect_not_finite(bool gradient, int at, float bad, const char *name) {
    struct lam_optimizer_options o = lam_optimizer_default_options(LAM_OPTIMIZER_ADAMW);
    struct fixture *f = make("cpu:0", &o);
    static float before[COUNT], after[COUNT];
    run_steps(f, 1);
    float *flat = gradient ? lam_params_gradients(f->params) : lam_params_values(f->params);
    lam_device_upload(f->device, flat + at, &bad, sizeof bad);
    lam_device_download(f->device, before, lam_params_values(f->params), sizeof before);
    assert_int_equal(lam_optimizer_step(f->optimizer, 0.1f, 7), LAM_ERR_NOT_FINITE);
    if (!strstr(lam_error_text(), name) || (strstr(lam_error_text(), "gradient") != NULL) != gradient)
        fail_msg("element %d: %s", at, lam_error_text());
    lam_device_download(f->device, after, lam_params_values(f->params), sizeof after);
    assert_memory_equal(before, after, sizeof before);
    drop(f);
}

static void what_is_not_finite_is_named(void **state) {
    (void)state;
    expect_not_finite(true, 0, NAN, "a.weight");
    expect_not_finite(true, FIRST - 1, INFINITY, "a.weight");
    expect_not_finite(true, FIRST, -INFINITY, "b.weight");
    expect_not_finite(true, COUNT - 1, NAN, "b.plain");
    expect_not_finite(false, FIRST + SECOND, INFINITY, "b.plain");
    expect_not_finite(false, 5, NAN, "a.weight");
}

static void large_finite_gradients_pass(void **state) {
    (void)state;
    struct lam_optimizer_options o = lam_optimizer_default_options(LAM_OPTIMIZER_ADAMW);
    struct fixture *f = make("cpu:0", &o);
    float large = 1e30f; /* its square is no float */
    upload_gradients(f, 0);
    lam_device_upload(f->device, lam_params_gradients(f->params), &large, sizeof large);
    assert_int_equal(lam_optimizer_step(f->optimizer, 0.1f, 0), LAM_OK);
    assert_true(fabs(lam_optimizer_gradient_norm(f->optimizer) / 1e30 - 1) < 1e-5);
    drop(f);
}

static void swapping_twice_changes_nothing(void **state) {
    (void)state;
    struct lam_optimizer_options o = lam_optimizer_default_options(LAM_OPTIMIZER_SGD);
    o.ema_decay = 0.9f;
    struct fixture *f = make("cpu:0", &o);
    run_steps(f, 2);
    static float values[COUNT], average[COUNT], got[COUNT];
    const float *ema = lam_optimizer_state(f->optimizer, 1);
    lam_device_download(f->device, values, lam_params_values(f->params), sizeof values);
    lam_device_download(f->device, average, ema, sizeof average);
    assert_true(memcmp(values, average, sizeof values) != 0);
    assert_int_equal(lam_optimizer_swap_ema(f->optimizer), LAM_OK);
    lam_device_download(f->device, got, lam_params_values(f->params), sizeof got);
    assert_memory_equal(got, average, sizeof got);
    lam_device_download(f->device, got, ema, sizeof got);
    assert_memory_equal(got, values, sizeof got);
    assert_int_equal(lam_optimizer_swap_ema(f->optimizer), LAM_OK);
    lam_device_download(f->device, got, lam_params_values(f->params), sizeof got);
    assert_memory_equal(got, values, sizeof got);
    drop(f);

    o.ema_decay = 0.0f;
    f = make("cpu:0", &o);
    assert_int_equal(lam_optimizer_swap_ema(f->optimizer), LAM_ERR_INVALID);
    drop(f);
}

static void the_forecast_is_what_is_allocated(void **state) {
    (void)state;
    for (int kind = LAM_OPTIMIZER_SGD; kind <= LAM_OPTIMIZER_ADAMW; kind++)
        for (int ema = 0; ema < 2; ema++) {
            struct lam_optimizer_options o = lam_optimizer_default_options((enum lam_optimizer_kind)kind);
            o.ema_decay = ema ? 0.99f : 0.0f;
            struct fixture *f = make("cpu:0", &o);
            size_t current = lam_device_memory(f->device, LAM_MEMORY_OPTIMIZER).current;
            assert_int_equal(current, lam_optimizer_bytes(&o, f->params));
            lam_optimizer_destroy(f->optimizer);
            f->optimizer = NULL;
            assert_int_equal(lam_device_memory(f->device, LAM_MEMORY_OPTIMIZER).current, 0);
            drop(f);
        }
}

static void options_that_make_no_sense_are_refused(void **state) {
    (void)state;
    struct lam_optimizer_options good = lam_optimizer_default_options(LAM_OPTIMIZER_SGD), o[7];
    for (int i = 0; i < 7; i++) o[i] = i < 4 ? good : lam_optimizer_default_options(LAM_OPTIMIZER_ADAMW);
    o[0].momentum = 1.0f;
    o[1].weight_decay = -1.0f;
    o[2].clip_norm = NAN;
    o[3].ema_decay = 1.5f;
    o[4].beta2 = 1.0f;
    o[5].eps = 0.0f;
    o[6].beta1 = -0.1f;
    struct fixture *f = make("cpu:0", &good);
    for (int i = 0; i < 7; i++) {
        struct lam_optimizer *none = NULL;
        assert_int_equal(lam_optimizer_create(&o[i], f->params, f->device, &none), LAM_ERR_INVALID);
        assert_null(none);
    }
    upload_gradients(f, 0);
    assert_int_equal(lam_optimizer_step(f->optimizer, NAN, 0), LAM_ERR_INVALID);
    drop(f);
}

static void a_memory_limit_leaves_nothing_behind(void **state) {
    (void)state;
    struct lam_optimizer_options o = lam_optimizer_default_options(LAM_OPTIMIZER_ADAMW);
    struct fixture *f = make("cpu:0", &o);
    struct lam_device *small;
    assert_int_equal(lam_device_open("cpu:0", (size_t)COUNT * 6, &small), LAM_OK); /* 1.5 states */
    struct lam_optimizer *none = NULL;
    assert_int_equal(lam_optimizer_create(&o, f->params, small, &none), LAM_ERR_MEMORY_LIMIT);
    assert_null(none);
    assert_int_equal(lam_device_memory(small, LAM_MEMORY_OPTIMIZER).current, 0);
    lam_device_close(small);
    drop(f);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sgd_follows_its_formula),
        cmocka_unit_test(adam_and_adamw_follow_their_formulas),
        cmocka_unit_test(clipping_and_ema_follow_their_formulas),
        cmocka_unit_test(lanes_do_not_change_a_bit),
        cmocka_unit_test(the_gradient_norm_is_that_of_all),
        cmocka_unit_test(what_is_not_finite_is_named),
        cmocka_unit_test(large_finite_gradients_pass),
        cmocka_unit_test(swapping_twice_changes_nothing),
        cmocka_unit_test(the_forecast_is_what_is_allocated),
        cmocka_unit_test(options_that_make_no_sense_are_refused),
        cmocka_unit_test(a_memory_limit_leaves_nothing_behind),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
