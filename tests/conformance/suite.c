/* The conformance suite (suite.h): goes through cases, configurations and choices, and judges results. How a
 * kernel is driven stands in execution.c. */
#include "conformance/suite.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "conformance/execution.h"
#include "conformance/host_tensor.h"
#include "device/device.h"

enum { MAX_DEVICES = 4, MAX_CHOICES = 16, SHOWN_FAILURES = 3, SEED = 20 };

struct suite {
    const struct lam_backend *backend;
    struct lam_backend_device *devices[MAX_DEVICES];
    struct lam_device *owned[MAX_DEVICES];
    int device_count;
    FILE *reports; /* NULL: quiet */
    struct {
        char name[32];
        int count;
    } choices[MAX_CHOICES];
};

static const struct lam_run run = {.seed = 11, .step = 7};

/* ---- how a case is run ---- */

enum layouts { ALL_PLAIN, ALL_NATIVE, ODD_NATIVE, EVEN_NATIVE };
static const char *const layout_names[] = {"plain", "native layouts", "odd operands native",
                                           "even operands native"};

struct configuration {
    int device, slice;
    enum layouts layouts;
    bool share_partial;
};
static const struct configuration configurations[] = {
    {0, 0, ALL_NATIVE, false}, {0, 3, ALL_PLAIN, true},    {1, 2, ALL_NATIVE, true},
    {1, 0, ODD_NATIVE, false}, {2, 1, EVEN_NATIVE, false}, {2, 2, ALL_NATIVE, true},
};
enum { CONFIGURATIONS = sizeof configurations / sizeof *configurations };

struct the_case {
    const char *text;
    struct op_case parsed;
    struct operands operands;
    double *expected[LAM_MAX_OUTPUTS];
    int failures;
};

struct attempt {
    struct suite *suite;
    struct the_case *the_case;
    const struct configuration *configuration;
    struct execution execution;
    struct lam_op op; /* with layouts */
    const char *choice;
};

/* ---- reports ---- */

static void report(struct attempt *a, const char *what) {
    if (a->the_case->failures++ >= SHOWN_FAILURES || !a->suite->reports) return;
    char slice[32] = "whole parts";
    if (a->configuration->slice) snprintf(slice, sizeof slice, "slices of %d", a->configuration->slice);
    fprintf(a->suite->reports, "%s\n    [%s, %d lanes, %s, %s, choice %s%s]\n    %s\n", a->the_case->text,
            a->suite->backend->name, a->suite->backend->lanes(a->execution.device), slice,
            layout_names[a->configuration->layouts], a->choice ? a->choice : "by rule",
            a->configuration->share_partial ? ", partial shared" : "", what);
}

static void count_choice(struct suite *suite, const char *choice) {
    for (int i = 0; i < MAX_CHOICES; i++) {
        if (suite->choices[i].count && strcmp(suite->choices[i].name, choice)) continue;
        snprintf(suite->choices[i].name, sizeof suite->choices[i].name, "%s", choice);
        suite->choices[i].count++;
        return;
    }
}

int suite_choice_count(const struct suite *suite, const char *choice) {
    for (int i = 0; i < MAX_CHOICES; i++)
        if (suite->choices[i].count && !strcmp(suite->choices[i].name, choice))
            return suite->choices[i].count;
    return 0;
}

/* ---- judging ---- */

static bool uses_bf16(const struct lam_op *op) {
    for (int i = 0; i < op->inputs; i++)
        if (op->in[i].present && op->in[i].desc.dtype == LAM_BF16) return true;
    for (int i = 0; i < op->outputs; i++)
        if (op->out[i].present && op->out[i].desc.dtype == LAM_BF16) return true;
    return false;
}

/* A bf16 result carries bf16's rounding; an f32 result of bf16 operands is accumulated in f32, but weights or
 * inner products may have been rounded on the way. */
static double tolerance(const struct attempt *a, int output) {
    const struct lam_op *op = &a->op;
    enum lam_dtype dtype = op->out[output].desc.dtype;
    if (dtype == LAM_I32 || dtype == LAM_U8) return 0;
    if (!uses_bf16(op)) return 1e-5;
    /* cuDNN rounds the sum of a slice to bf16, once. */
    bool rounded = op->kind == LAM_OP_CONV_BWD_WEIGHTS && output == 0;
    if (rounded && strcmp(a->suite->backend->name, "cuda") == 0) return 3e-3;
    return dtype == LAM_BF16 ? 1e-2 : 1e-3;
}

static void judge_values(struct attempt *a, int output, const double *found, const double *expected) {
    int64_t count = reference_count(&a->op.out[output]), worst = 0;
    double difference = 0, norm = 0, largest = 0, furthest = 0;
    for (int64_t i = 0; i < count; i++) {
        double d = fabs(found[i] - expected[i]);
        difference += d * d;
        norm += expected[i] * expected[i];
        largest = fmax(largest, fabs(expected[i]));
        if (d <= furthest) continue; /* a NaN passes here, and becomes the worst */
        furthest = d;
        worst = i;
        if (isnan(d)) break;
    }
    double allowed = tolerance(a, output), absolute = a->the_case->parsed.absolute;
    if (sqrt(difference) <= allowed * sqrt(norm) + absolute * sqrt((double)count) &&
        furthest <= 10 * allowed * largest + absolute)
        return;
    char what[256];
    snprintf(what, sizeof what,
             "output %d is off by %.3g (norm-wise, %.3g allowed); worst: element %lld is %.9g, not %.9g",
             output, norm > 0 ? sqrt(difference / norm) : sqrt(difference), allowed, (long long)worst,
             found[worst], expected[worst]);
    report(a, what);
}

static void judge(struct attempt *a, const struct results *first, const struct results *second) {
    for (int i = 0; i < a->op.outputs; i++) {
        const struct lam_tensor_desc *desc = &a->op.out[i].desc;
        if (!first->out[i]) continue;
        if (memcmp(first->out[i], second->out[i], lam_tensor_bytes(desc)) != 0)
            report(a, "two runs give different bits");
        if (!host_tensor_padding_is_zero(desc, first->out[i])) report(a, "padding channels are not zero");
        double *found = malloc((size_t)lam_shape_count(desc->shape) * sizeof *found);
        if (!found) {
            report(a, "out of memory");
            return;
        }
        host_tensor_load(desc, first->out[i], found);
        judge_values(a, i, found, a->the_case->expected[i]);
        free(found);
    }
}

/* ---- running ---- */

static void choose_layouts(struct attempt *a) {
    struct lam_op *op = &a->op;
    int place = 0;
    for (int i = 0; i < op->inputs + op->outputs; i++) {
        struct lam_operand *operand = i < op->inputs ? &op->in[i] : &op->out[i - op->inputs];
        if (!operand->present || !operand->batched || operand->desc.shape.rank != 4) continue;
        bool odd = ++place % 2;
        enum layouts l = a->configuration->layouts;
        bool native = l == ALL_NATIVE || (l == ODD_NATIVE && odd) || (l == EVEN_NATIVE && !odd);
        operand->desc.layout =
            native ? a->suite->backend->layout(a->execution.device, &operand->desc) : LAM_PLAIN;
    }
}

static lam_status create_kernel(struct attempt *a, const char *choice, struct lam_kernel **kernel,
                                const char **chosen) {
    int sizes[EXECUTION_MAX_SLICES];
    struct lam_kernel_options options = {.slices = sizes,
                                         .slice_count = execution_slices(&a->execution, &a->op, sizes),
                                         .lanes = a->suite->backend->lanes(a->execution.device),
                                         .choice = choice};
    return a->suite->backend->kernel_create(a->execution.device, &a->op, &options, kernel, chosen);
}

/* Runs twice on different poison and judges; `kept` (may be NULL) receives the first run's results. */
static void run_kernel(struct attempt *a, const struct lam_kernel *kernel, struct results *kept) {
    struct results results[2] = {{{NULL}}, {{NULL}}};
    const uint8_t poison[2] = {0xFF, 0x7B};
    lam_status status = LAM_OK;
    for (int i = 0; i < 2 && status == LAM_OK; i++) {
        a->execution.poison = poison[i];
        status = execution_run(&a->execution, kernel, &a->op, &a->the_case->operands, &run, &results[i]);
    }
    if (status == LAM_OK)
        judge(a, &results[0], &results[1]);
    else
        report(a, lam_error_text());
    results_destroy(&results[1]);
    if (kept)
        *kept = results[0];
    else
        results_destroy(&results[0]);
}

static bool has_choices(enum lam_op_kind kind) {
    return kind == LAM_OP_CONV || kind == LAM_OP_CONV_BWD_DATA || kind == LAM_OP_CONV_BWD_WEIGHTS;
}

/* The choices of convolutions that are tried by name; the first one applies to all of them. */
static const char *const *choices_of(const struct lam_backend *backend) {
    static const char *const of_cpu[] = {"direct", "flipped", "winograd", NULL};
    static const char *const of_cuda[] = {"implicit_gemm", "implicit_precomp_gemm", "winograd",
                                          "winograd_nonfused", NULL};
    return strcmp(backend->name, "cuda") == 0 ? of_cuda : of_cpu;
}

/* Runs with a choice and copies what was chosen to `chosen`; a named choice that does not apply is skipped.
 */
static void try_choice(struct attempt *a, const char *choice, char chosen[32], struct results *kept) {
    struct lam_kernel *kernel = NULL;
    const char *name = NULL;
    a->choice = choice;
    lam_status status = create_kernel(a, choice, &kernel, &name);
    bool may_not_apply = choice && strcmp(choice, LAM_KERNEL_MEASURE) != 0 &&
                         strcmp(choice, choices_of(a->suite->backend)[0]) != 0;
    if (status != LAM_OK) {
        if (!may_not_apply) report(a, lam_error_text());
        return;
    }
    if (!name) name = "";
    if (may_not_apply && strcmp(name, choice) != 0) report(a, "another choice was made than was asked for");
    if (chosen) snprintf(chosen, 32, "%s", name);
    count_choice(a->suite, name);
    run_kernel(a, kernel, kept);
    kernel->destroy(kernel);
}

static bool same_bits(const struct lam_op *op, const struct results *x, const struct results *y) {
    for (int i = 0; i < op->outputs; i++)
        if (x->out[i] && y->out[i] && memcmp(x->out[i], y->out[i], lam_tensor_bytes(&op->out[i].desc)))
            return false;
    return true;
}

/* What was measured once must be the same computation when it is asked for by name. */
static void try_measured(struct attempt *a) {
    char measured[32] = "", again[32] = "";
    struct results first = {{NULL}}, second = {{NULL}};
    try_choice(a, LAM_KERNEL_MEASURE, measured, &first);
    try_choice(a, measured, again, &second);
    if (strcmp(measured, again) != 0 || !same_bits(&a->op, &first, &second))
        report(a, "a measured choice gives other results when it is asked for by name");
    results_destroy(&first);
    results_destroy(&second);
}

/* `all`: try every choice by name, not only the one that the rule makes. */
static void run_configuration(struct suite *suite, struct the_case *c,
                              const struct configuration *configuration, bool all) {
    struct attempt a = {.suite = suite, .the_case = c, .configuration = configuration, .op = c->parsed.op};
    a.execution = (struct execution){.backend = suite->backend,
                                     .device = suite->devices[configuration->device % suite->device_count],
                                     .slice = configuration->slice,
                                     .share_partial = configuration->share_partial};
    choose_layouts(&a);
    char chosen[32] = "";
    try_choice(&a, NULL, chosen, NULL);
    if (!has_choices(a.op.kind)) return;
    for (const char *const *named = choices_of(suite->backend); all && *named; named++)
        if (strcmp(chosen, *named) != 0) try_choice(&a, *named, NULL, NULL);
    if (c->parsed.measure && configuration->slice == 2) try_measured(&a);
}

static bool prepare_case(struct the_case *c) {
    if (op_from_text(c->text, &c->parsed) != LAM_OK) return false;
    const struct lam_op *op = &c->parsed.op;
    if (operands_create(&c->parsed, SEED, true, &c->operands) != LAM_OK) return false;
    for (int i = 0; i < op->outputs; i++) {
        if (!op->out[i].present) continue;
        size_t bytes = (size_t)reference_count(&op->out[i]) * sizeof(double);
        c->expected[i] = malloc(bytes);
        if (!c->expected[i]) return false;
        memcpy(c->expected[i], c->operands.out[i], bytes);
    }
    return reference_run(op, &run, (const double *const *)c->operands.in, c->expected) == LAM_OK;
}

static bool run_case(struct suite *suite, const char *text, int number) {
    struct the_case c = {.text = text};
    if (prepare_case(&c)) {
        for (int i = 0; i < CONFIGURATIONS; i++)
            run_configuration(suite, &c, &configurations[i], (i + number) % 2 == 0);
    } else {
        c.failures = 1;
        if (suite->reports) fprintf(suite->reports, "%s\n", lam_error_text());
    }
    if (c.failures > SHOWN_FAILURES && suite->reports)
        fprintf(suite->reports, "    ... and %d more failures of this case\n", c.failures - SHOWN_FAILURES);
    for (int i = 0; i < LAM_MAX_OUTPUTS; i++) free(c.expected[i]);
    operands_destroy(&c.operands);
    return c.failures == 0;
}

int suite_run(struct suite *suite, const char *const *cases, int count) {
    int failed = 0;
    for (int i = 0; i < count; i++)
        if (!run_case(suite, cases[i], i)) failed++;
    return failed;
}

/* ---- opening ---- */

lam_status suite_create(const struct lam_backend *backend, struct lam_backend_device *const *devices,
                        int device_count, struct suite **suite) {
    if (device_count < 1 || device_count > MAX_DEVICES)
        return lam_fail(LAM_ERR_INVALID, "%d devices; the suite takes 1 to %d", device_count, MAX_DEVICES);
    struct suite *s = calloc(1, sizeof *s);
    if (!s) return lam_no_memory();
    s->backend = backend;
    s->reports = stderr;
    s->device_count = device_count;
    memcpy(s->devices, devices, (size_t)device_count * sizeof *devices);
    *suite = s;
    return LAM_OK;
}

void suite_destroy(struct suite *suite) {
    if (!suite) return;
    for (int i = 0; i < MAX_DEVICES; i++) lam_device_close(suite->owned[i]);
    free(suite);
}

void suite_report_to(struct suite *suite, FILE *file) {
    suite->reports = file;
}

const struct lam_backend *suite_backend(const struct suite *suite) {
    return suite->backend;
}

int suite_device_count(const struct suite *suite) {
    return suite->device_count;
}

struct lam_backend_device *suite_device(const struct suite *suite, int index) {
    return suite->devices[index];
}

static lam_status open_devices(char *names, struct suite **suite) {
    struct lam_device *owned[MAX_DEVICES] = {NULL};
    struct lam_backend_device *handles[MAX_DEVICES];
    int count = 0;
    lam_status status = LAM_OK;
    char *rest = NULL;
    for (char *name = strtok_r(names, ",", &rest); name && count < MAX_DEVICES && status == LAM_OK;
         name = strtok_r(NULL, ",", &rest)) {
        status = lam_device_open(name, 0, &owned[count]);
        if (status == LAM_OK) handles[count] = lam_device_handle(owned[count]), count++;
    }
    if (status == LAM_OK) status = suite_create(lam_device_backend(owned[0]), handles, count, suite);
    if (status == LAM_OK)
        memcpy((*suite)->owned, owned, sizeof owned);
    else
        for (int i = 0; i < MAX_DEVICES; i++) lam_device_close(owned[i]);
    return status;
}

int suite_setup(void **state) {
    const char *given = getenv("LAMINA_TEST_DEVICES");
    char names[128];
    snprintf(names, sizeof names, "%s", given ? given : "cpu:0,cpu:0-1,cpu:0-2");
    struct suite *suite;
    if (open_devices(names, &suite) != LAM_OK) {
        fprintf(stderr, "%s\n", lam_error_text());
        return -1;
    }
    *state = suite;
    return 0;
}

int suite_teardown(void **state) {
    suite_destroy(*state);
    return 0;
}
