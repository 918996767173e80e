/* What lam_graph builds, lam_graph_backward differentiates and lam_program runs, checked as a whole.
 *
 * For each network the loss is computed twice: by the compiled program, and by the interpreter, op by op
 * through the reference in doubles. The program's parameter gradients must agree with central differences of
 * the interpreter's loss along random directions (every element of a parameter changed at once, by +-h): the
 * same network, differentiated without any of the code under test. Programs run on devices of 1 to 3 lanes
 * and with several bounds on their slices; their gradients must agree with each other, too. */
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
#include "graph/program.h"
#include "gradient/interpreter.h"
#include "gradient/networks.h"

static const struct lam_run run = {.seed = 17, .step = 3};
static const double step = 2e-8;
enum { DIRECTIONS = 2, MAX_PARAMS = 64 };

/* ---- data, the same for program and interpreter ---- */

static struct lam_rng stream_of(const char *name) {
    return lam_rng_make(23, LAM_RNG_TEST, lam_hash_text(name), 0);
}

static bool starts(const char *text, const char *prefix) {
    return !strncmp(text, prefix, strlen(prefix));
}

static void fill_input(const char *name, struct lam_shape shape, double *x) {
    struct lam_rng rng = stream_of(name);
    int64_t count = lam_shape_count(shape), width = shape.dim[shape.rank - 1];
    for (int64_t i = 0; i < count; i++) {
        if (starts(name, "label"))
            x[i] = lam_rng_below(&rng, NETWORK_CLASSES);
        else if (starts(name, "class"))
            x[i] = (double)lam_rng_below(&rng, NETWORK_CLASSES) - 2;
        else if (starts(name, "weight"))
            x[i] = fmax(0, (double)lam_rng_normal(&rng));
        else if (starts(name, "corner"))
            x[i] = i % 4 < 2 ? 2 * (double)lam_rng_normal(&rng)
                             : x[i - 2] + 1 + 3 * (double)lam_rng_uniform(&rng);
        else if (starts(name, "sign"))
            x[i] = (double)lam_rng_below(&rng, 3) - 1;
        else if (starts(name, "probability") || starts(name, "distribution"))
            x[i] = (double)lam_rng_uniform(&rng);
        else
            x[i] = (double)lam_rng_normal(&rng);
    }
    if (!starts(name, "distribution")) return;
    for (int64_t r = 0; r < count; r += width) {
        double sum = 0;
        for (int64_t i = r; i < r + width; i++) sum += x[i];
        for (int64_t i = r; i < r + width; i++) x[i] = (double)(float)(x[i] / sum);
    }
}

/* Weights keep the size of what goes through them; vectors are near one where they scale, else near zero. */
static void fill_param(const struct lam_param *param, double *x) {
    struct lam_rng rng = stream_of(param->name);
    const char *last = strrchr(param->name, '.');
    bool scales = last && (!strcmp(last, ".weight") || !strcmp(last, ".running_var"));
    double fan_in = (double)param->count / (double)param->shape.dim[0];
    for (int64_t i = 0; i < param->count; i++) {
        double n = (double)lam_rng_normal(&rng);
        if (param->shape.rank > 1)
            x[i] = n / sqrt(fan_in);
        else
            x[i] = (scales ? 1 : 0) + 0.3 * n;
        x[i] = (double)(float)(param->buffer ? fabs(x[i]) : x[i]);
        if (param->values) x[i] = (double)param->values[i];
    }
}

/* ---- what is right ---- */

struct expectation {
    double loss;
    double slope[MAX_PARAMS][DIRECTIONS]; /* by parameter */
    double *buffers[MAX_PARAMS];          /* running statistics after one run */
};

static float sign_at(int param, int direction, int64_t element) {
    struct lam_rng rng = lam_rng_make(31, LAM_RNG_TEST, (uint64_t)param * 16 + (uint64_t)direction, 0);
    uint32_t words[4];
    rng.counter[0] = (uint32_t)element;
    lam_philox(rng.key, rng.counter, words);
    return words[0] & 1 ? 1.0f : -1.0f;
}

static lam_value value_of_param(const struct lam_graph *g, int param) {
    for (int v = 0; v < g->value_count; v++) {
        enum value_kind kind = g->values[v].kind;
        if ((kind == VALUE_PARAM || kind == VALUE_BUFFER) && g->values[v].param == param) return v;
    }
    fail_msg("parameter %d has no value", param);
    return LAM_NO_VALUE;
}

/* Parameters may stand in the graph under several values (weights that are used twice). */
static void set_params(struct interpreter *in, int changed, int direction, double change) {
    const struct lam_graph *g = in->graph;
    for (int v = 0; v < g->value_count; v++) {
        if (g->values[v].kind != VALUE_PARAM && g->values[v].kind != VALUE_BUFFER) continue;
        int p = g->values[v].param;
        const struct lam_param *param = lam_params_get(g->params, p);
        fill_param(param, in->values[v]);
        for (int64_t i = 0; p == changed && i < param->count; i++)
            in->values[v][i] += change * (double)sign_at(p, direction, i);
    }
}

static void expect(const struct network *network, struct expectation *e) {
    struct lam_params *params;
    struct lam_graph *g;
    struct interpreter in;
    memset(e, 0, sizeof *e);
    assert_int_equal(lam_params_create(&params), LAM_OK);
    assert_int_equal(lam_graph_create(params, network->batch, LAM_F32, true, &g), LAM_OK);
    lam_value loss = network->build(g, network->seed);
    if (lam_graph_status(g) != LAM_OK) fail_msg("%s: %s", network->name, lam_error_text());
    assert_true(interpreter_open(&in, g));
    assert_true(lam_params_size(params) <= MAX_PARAMS);
    for (int i = 0; i < g->input_count; i++)
        fill_input(g->inputs[i].name, g->values[g->inputs[i].value].desc.shape,
                   in.values[g->inputs[i].value]);
    set_params(&in, -1, 0, 0);
    e->loss = interpreter_run(&in, loss, &run, false);
    interpreter_freeze(&in);
    for (int p = 0; p < lam_params_size(params); p++) {
        const struct lam_param *param = lam_params_get(params, p);
        if (param->buffer) {
            size_t bytes = (size_t)param->count * sizeof(double);
            e->buffers[p] = malloc(bytes);
            assert_non_null(e->buffers[p]);
            memcpy(e->buffers[p], in.frozen[value_of_param(g, p)], bytes);
            continue;
        }
        for (int d = 0; d < DIRECTIONS; d++) {
            set_params(&in, p, d, step);
            double above = interpreter_run(&in, loss, &run, true);
            set_params(&in, p, d, -step);
            e->slope[p][d] = (above - interpreter_run(&in, loss, &run, true)) / (2 * step);
        }
    }
    interpreter_close(&in);
    lam_graph_destroy(g);
    lam_params_destroy(params);
}

static void forget(struct expectation *e) {
    for (int p = 0; p < MAX_PARAMS; p++) free(e->buffers[p]);
}

/* ---- what a program gives ---- */

struct machine {
    struct lam_device *device;
    struct lam_params *params;
    struct lam_graph *graph;
    struct lam_program *program;
    void *activations, *workspace, *inputs[16];
    bool rounded; /* parameters to bf16 */
};

static float to_bf16(float x) {
    uint32_t bits;
    memcpy(&bits, &x, sizeof bits);
    bits = (bits + 0x7FFF + ((bits >> 16) & 1)) & 0xFFFF0000u;
    memcpy(&x, &bits, sizeof x);
    return x;
}

static void upload(struct machine *m, void *to, const double *from, int64_t count, enum lam_dtype dtype) {
    union {
        float f;
        int32_t i;
    } *host = malloc((size_t)count * sizeof *host);
    assert_non_null(host);
    for (int64_t i = 0; i < count; i++) {
        if (dtype == LAM_I32)
            host[i].i = (int32_t)from[i];
        else
            host[i].f = (float)from[i];
    }
    assert_int_equal(lam_device_upload(m->device, to, host, (size_t)count * sizeof *host), LAM_OK);
    free(host);
}

static void bind_inputs(struct machine *m) {
    for (int i = 0; i < m->graph->input_count; i++) {
        const char *name = m->graph->inputs[i].name;
        int input = lam_program_input(m->program, name);
        if (input < 0) continue;
        const struct lam_tensor_desc *desc = &m->graph->values[m->graph->inputs[i].value].desc;
        int64_t count = lam_shape_count(desc->shape);
        double *x = calloc((size_t)count, sizeof *x);
        assert_non_null(x);
        fill_input(name, desc->shape, x);
        assert_int_equal(lam_device_alloc(m->device, LAM_MEMORY_DATA,
                                          lam_program_input_bytes(m->program, input), &m->inputs[i]),
                         LAM_OK);
        upload(m, m->inputs[i], x, count, desc->dtype);
        lam_program_bind_input(m->program, input, m->inputs[i]);
        free(x);
    }
}

static void write_params(struct machine *m) {
    for (int p = 0; p < lam_params_size(m->params); p++) {
        const struct lam_param *param = lam_params_get(m->params, p);
        double *x = calloc((size_t)param->count, sizeof *x);
        float *host = calloc((size_t)param->count, sizeof *host);
        assert_true(x && host);
        fill_param(param, x);
        for (int64_t i = 0; i < param->count; i++) host[i] = m->rounded ? to_bf16((float)x[i]) : (float)x[i];
        assert_int_equal(lam_params_write(m->params, p, host), LAM_OK);
        free(host);
        free(x);
    }
}

static void start(struct machine *m, const struct network *network, struct lam_device *device,
                  enum lam_dtype compute, int max_slice) {
    *m = (struct machine){.device = device};
    assert_int_equal(lam_params_create(&m->params), LAM_OK);
    assert_int_equal(lam_graph_create(m->params, network->batch, compute, true, &m->graph), LAM_OK);
    lam_value loss = network->build(m->graph, network->seed);
    lam_graph_output(m->graph, "loss", loss);
    lam_status status = lam_graph_backward(m->graph, loss);
    struct lam_program_options options = {.max_slice = max_slice};
    if (status == LAM_OK) status = lam_program_compile(m->graph, device, &options, &m->program);
    if (status != LAM_OK) fail_msg("%s: %s", network->name, lam_error_text());
    assert_int_equal(lam_params_allocate(m->params, device), LAM_OK);
    assert_int_equal(lam_device_alloc(device, LAM_MEMORY_ACTIVATIONS,
                                      lam_program_activation_bytes(m->program), &m->activations),
                     LAM_OK);
    assert_int_equal(lam_device_alloc(device, LAM_MEMORY_WORKSPACE, lam_program_workspace_bytes(m->program),
                                      &m->workspace),
                     LAM_OK);
    lam_program_attach(m->program, m->activations, m->workspace);
    bind_inputs(m);
}

static void stop(struct machine *m) {
    for (int i = 0; i < 16; i++) lam_device_free(m->device, m->inputs[i]);
    lam_device_free(m->device, m->activations);
    lam_device_free(m->device, m->workspace);
    lam_program_destroy(m->program);
    lam_graph_destroy(m->graph);
    lam_params_destroy(m->params);
}

/* Fills memory with NaN bytes first: nothing may depend on what was there. Returns the gradients; free(). */
static float *run_program(struct machine *m, float *loss) {
    const struct {
        void *memory;
        size_t bytes;
    } dirty[] = {
        {m->activations, lam_program_activation_bytes(m->program)},
        {m->workspace, lam_program_workspace_bytes(m->program)},
        {lam_params_gradients(m->params), (size_t)lam_params_count(m->params) * sizeof(float)},
    };
    for (int i = 0; i < 3; i++) {
        uint8_t *poison = malloc(dirty[i].bytes + 1);
        assert_non_null(poison);
        memset(poison, 0xFF, dirty[i].bytes);
        assert_int_equal(lam_device_upload(m->device, dirty[i].memory, poison, dirty[i].bytes), LAM_OK);
        free(poison);
    }
    write_params(m);
    assert_int_equal(lam_program_run(m->program, run.seed, run.step), LAM_OK);
    assert_int_equal(lam_program_read(m->program, "loss", loss, sizeof *loss), LAM_OK);
    float *gradients = malloc(dirty[2].bytes);
    assert_non_null(gradients);
    assert_int_equal(
        lam_device_download(m->device, gradients, lam_params_gradients(m->params), dirty[2].bytes), LAM_OK);
    return gradients;
}

/* ---- comparison ---- */

struct setting {
    const struct network *network;
    const char *device;
    int max_slice;
    double allowed;
};

static void check_slopes(const struct setting *s, const struct machine *m, const struct expectation *e,
                         const float *gradients) {
    double total = 0;
    for (int p = 0; p < lam_params_size(m->params); p++)
        for (int d = 0; d < DIRECTIONS; d++) total += e->slope[p][d] * e->slope[p][d];
    assert_true(total > 0);
    for (int p = 0; p < lam_params_size(m->params); p++) {
        const struct lam_param *param = lam_params_get(m->params, p);
        if (param->buffer) continue;
        double difference = 0, norm = 0;
        for (int d = 0; d < DIRECTIONS; d++) {
            double slope = 0;
            for (int64_t i = 0; i < param->count; i++)
                slope += (double)gradients[param->offset + i] * (double)sign_at(p, d, i);
            difference += pow(slope - e->slope[p][d], 2);
            norm += e->slope[p][d] * e->slope[p][d];
        }
        /* A conv in front of a batch norm has a bias whose gradient is zero: its rounding is no error. */
        if (!(sqrt(difference) <= s->allowed * sqrt(norm) + 1e-2 * s->allowed * sqrt(total)))
            fail_msg("%s on %s, slices of %d: gradient of %s is off by %g of %g", s->network->name, s->device,
                     s->max_slice, param->name, sqrt(difference), sqrt(norm));
    }
}

static void check_buffers(const struct setting *s, const struct machine *m, const struct expectation *e) {
    for (int p = 0; p < lam_params_size(m->params); p++) {
        const struct lam_param *param = lam_params_get(m->params, p);
        if (!param->buffer) continue;
        float *host = malloc((size_t)param->count * sizeof *host);
        assert_non_null(host);
        assert_int_equal(lam_params_read(m->params, p, host), LAM_OK);
        for (int64_t i = 0; i < param->count; i++)
            if (!(fabs((double)host[i] - e->buffers[p][i]) <= s->allowed * (1 + fabs(e->buffers[p][i]))))
                fail_msg("%s on %s, slices of %d: %s is %g, not %g", s->network->name, s->device,
                         s->max_slice, param->name, (double)host[i], e->buffers[p][i]);
        free(host);
    }
}

static double distance(const float *a, const float *b, int64_t count) {
    double difference = 0, norm = 0;
    for (int64_t i = 0; i < count; i++) {
        difference += pow((double)a[i] - (double)b[i], 2);
        norm += (double)b[i] * (double)b[i];
    }
    return sqrt(difference / norm);
}

static void check_setting(const struct setting *s, const struct expectation *e, float **first) {
    struct lam_device *device;
    struct machine m;
    float loss, again;
    assert_int_equal(lam_device_open(s->device, 0, &device), LAM_OK);
    start(&m, s->network, device, LAM_F32, s->max_slice);
    float *gradients = run_program(&m, &loss);
    check_buffers(s, &m, e);
    float *repeated = run_program(&m, &again);
    assert_memory_equal(gradients, repeated, (size_t)lam_params_count(m.params) * sizeof *gradients);
    assert_memory_equal(&loss, &again, sizeof loss);
    if (!(fabs((double)loss - e->loss) <= 1e-5 * fabs(e->loss)))
        fail_msg("%s on %s, slices of %d: loss is %.9g, not %.9g", s->network->name, s->device, s->max_slice,
                 (double)loss, e->loss);
    check_slopes(s, &m, e, gradients);
    if (!*first) {
        *first = gradients;
    } else {
        double d = distance(gradients, *first, lam_params_count(m.params));
        if (!(d <= 1e-5))
            fail_msg("%s on %s, slices of %d: gradients differ by %g from those on one lane",
                     s->network->name, s->device, s->max_slice, d);
        free(gradients);
    }
    free(repeated);
    stop(&m);
    lam_device_close(device);
}

/* LAMINA_TEST_DEVICES names another device to test ("cuda:0"). */
static const char *test_device(const char *otherwise) {
    const char *given = getenv("LAMINA_TEST_DEVICES");
    return given ? given : otherwise;
}

static void test_gradients(void **state) {
    (void)state;
    const struct setting settings[] = {
        {NULL, "cpu:0", 0, 1e-4},   {NULL, "cpu:0", 1, 1e-4},   {NULL, "cpu:0-1", 0, 1e-4},
        {NULL, "cpu:0-1", 1, 1e-4}, {NULL, "cpu:0-1", 2, 1e-4}, {NULL, "cpu:0-2", 1, 1e-4},
    };
    for (int n = 0; n < network_count; n++) {
        struct expectation e;
        float *first = NULL;
        expect(&networks[n], &e);
        for (size_t i = 0; i < sizeof settings / sizeof *settings; i++) {
            struct setting s = settings[i];
            s.network = &networks[n];
            s.device = test_device(s.device);
            check_setting(&s, &e, &first);
        }
        free(first);
        forget(&e);
    }
}

/* In bf16 the direction must be right: off by little more than what rounding the parameters once does in f32. How far that
 * is differs from network to network: a ReLU that flips weighs much where batches and maps are small. */
static void test_bf16(void **state) {
    (void)state;
    struct lam_device *device;
    assert_int_equal(lam_device_open(test_device("cpu:0-1"), 0, &device), LAM_OK);
    for (int n = 0; n < network_count; n++) {
        struct machine m;
        float *gradients[3], loss[3];
        int64_t count = 0;
        for (int i = 0; i < 3; i++) { /* f32; f32 with rounded parameters; bf16 */
            start(&m, &networks[n], device, i == 2 ? LAM_BF16 : LAM_F32, 2);
            m.rounded = i == 1;
            gradients[i] = run_program(&m, &loss[i]);
            count = lam_params_count(m.params);
            stop(&m);
        }
        double d = distance(gradients[2], gradients[0], count),
               once = distance(gradients[1], gradients[0], count);
        if (!(d < 0.05 + 2 * once))
            fail_msg("%s: bf16 gradients are off by %g, rounded parameters by %g", networks[n].name, d, once);
        if (!(fabsf(loss[2] - loss[0]) < 0.02f * fabsf(loss[0])))
            fail_msg("%s: the bf16 loss is %g, not %g", networks[n].name, (double)loss[2], (double)loss[0]);
        for (int i = 0; i < 3; i++) free(gradients[i]);
    }
    lam_device_close(device);
}

/* The random networks would prove little if they were alike or hardly any had a layer kind. */
static void test_random_networks_cover_the_ops(void **state) {
    (void)state;
    static const enum lam_op_kind kinds[] = {
        LAM_OP_CONV,     LAM_OP_BN_APPLY, LAM_OP_RELU,          LAM_OP_GELU,   LAM_OP_ADD,   LAM_OP_MAX_POOL,
        LAM_OP_AVG_POOL, LAM_OP_RESIZE,   LAM_OP_PIXEL_SHUFFLE, LAM_OP_CONCAT, LAM_OP_SLICE, LAM_OP_DROPOUT,
    };
    int seen[LAM_OP_COUNT] = {0};
    for (int n = 0; n < network_count; n++) {
        struct lam_params *params;
        struct lam_graph *g;
        if (networks[n].seed == 0) continue;
        assert_int_equal(lam_params_create(&params), LAM_OK);
        assert_int_equal(lam_graph_create(params, networks[n].batch, LAM_F32, true, &g), LAM_OK);
        networks[n].build(g, networks[n].seed);
        for (int k = 0; k < g->node_count; k++) seen[g->nodes[k].op.kind]++;
        lam_graph_destroy(g);
        lam_params_destroy(params);
    }
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++)
        if (seen[kinds[i]] < 2) fail_msg("%s stands in fewer than 2 places", lam_op_name(kinds[i]));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_random_networks_cover_the_ops),
        cmocka_unit_test(test_gradients),
        cmocka_unit_test(test_bf16),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
