/* The suite itself: it must pass a right backend and catch every kind of wrong one.
 *
 * The backend here is the CPU's with kernels that call the reference, each of which can be given one fault.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "conformance/host_tensor.h"
#include "conformance/operands.h"
#include "conformance/suite.h"

enum fault {
    NO_FAULT,
    NO_KERNEL,          /* the op is not there */
    WRONG_ELEMENT,      /* one element in a hundred is 10 % off */
    UNWRITTEN_ELEMENT,  /* one element is not written */
    DIRTY_PADDING,      /* the first padding channel holds a one */
    WRITES_BEHIND,      /* the byte behind the slice's output is written */
    WRITES_INPUT,       /* an input is written */
    FORGETS_SLICES,     /* a lane's second slice overwrites its first one's partial */
    ADDS_TO_GARBAGE,    /* a lane's first slice adds to what the partial held */
    FORGETS_LANE,       /* reduce leaves out the last partial */
    READS_SCRATCH,      /* the result depends on the workspace's content */
    CHANGES,            /* every run gives a little more */
    FORGETS_FIRST,      /* the slice's place in the batch is ignored */
    SOURCE_NOT_PREPARED /* the prepared form of an input is left as it was */
};

static enum fault fault;
static int runs; /* of one kernel */

/* ---- kernels that call the reference ---- */

static double *doubles(int64_t count) {
    double *values = calloc((size_t)count, sizeof *values);
    if (!values) abort();
    return values;
}

static struct lam_op op_of_slice(const struct lam_op *op, int count) {
    struct lam_op slice = *op;
    for (int i = 0; i < op->inputs; i++)
        if (op->in[i].batched) slice.in[i].desc.shape.dim[0] = count;
    for (int i = 0; i < op->outputs; i++)
        if (op->out[i].batched) slice.out[i].desc.shape.dim[0] = count;
    return slice;
}

static void spoil_output(const struct lam_tensor_desc *desc, double *values, uint8_t *bytes) {
    int64_t count = lam_shape_count(desc->shape);
    size_t size = lam_tensor_bytes(desc);
    uint8_t before[8];
    memcpy(before, bytes + size - 4, 4);
    if (fault == WRONG_ELEMENT)
        for (int64_t i = 0; i < count; i += 100) values[i] *= 1.1;
    if (fault == CHANGES) values[0] *= 1 + 1e-6 * (runs % 7);
    host_tensor_store(desc, values, bytes);
    if (fault == UNWRITTEN_ELEMENT) memcpy(bytes + size - 4, before, 4);
    if (fault == DIRTY_PADDING && lam_layout_block(desc->layout) > 1) /* the last place of all */
        bytes[size - 1] = 0x3F;
    if (fault == WRITES_BEHIND) bytes[size] ^= 1;
}

static void fake_run(const struct lam_kernel *kernel, const struct lam_kernel_args *args) {
    struct lam_op op = args->count ? op_of_slice(&kernel->op, args->count) : kernel->op;
    double *in[LAM_MAX_INPUTS] = {NULL}, *out[LAM_MAX_OUTPUTS] = {NULL};
    __atomic_fetch_add(&runs, 1, __ATOMIC_RELAXED);
    if (op.kind == LAM_OP_DROPOUT && fault != FORGETS_FIRST) op.attr.dropout.stream += (uint64_t)args->first;
    for (int i = 0; i < op.inputs; i++) {
        if (!op.in[i].present) continue;
        in[i] = doubles(reference_count(&op.in[i]));
        host_tensor_load(&op.in[i].desc, args->in[i], in[i]);
    }
    for (int i = 0; i < op.outputs; i++)
        if (op.out[i].present) out[i] = doubles(reference_count(&op.out[i]));
    if (reference_run(&op, args->run, (const double *const *)in, out) != LAM_OK) abort();
    if (fault == READS_SCRATCH) out[0][0] += 1e-3 * *(const uint8_t *)args->workspace;
    if (fault == WRITES_INPUT) *(uint8_t *)(uintptr_t)args->in[0] ^= 1;
    double *partial = args->partial;
    bool add = (args->accumulate && fault != FORGETS_SLICES) || fault == ADDS_TO_GARBAGE;
    for (int i = 0; i < op.outputs; i++) {
        if (!op.out[i].present) continue;
        if (args->out[i]) {
            spoil_output(&op.out[i].desc, out[i], args->out[i]);
            continue;
        }
        for (int64_t k = 0; k < reference_count(&op.out[i]); k++, partial++)
            *partial = add ? *partial + out[i][k] : out[i][k];
    }
    for (int i = 0; i < LAM_MAX_INPUTS; i++) free(in[i]);
    for (int i = 0; i < LAM_MAX_OUTPUTS; i++) free(out[i]);
}

static void fake_reduce(const struct lam_kernel *kernel, void *const *partials, int partial_count,
                        void *const *out, int part, int parts, struct lam_stream *stream) {
    (void)parts, (void)stream;
    if (part != 0) return;
    if (fault == FORGETS_LANE && partial_count > 1) partial_count--;
    int64_t offset = 0;
    for (int i = 0; i < kernel->op.outputs; i++) {
        if (!out[i]) continue;
        for (int64_t k = 0; k < reference_count(&kernel->op.out[i]); k++, offset++) {
            double sum = 0;
            for (int p = 0; p < partial_count; p++) sum += ((const double *)partials[p])[offset];
            ((float *)out[i])[k] = (float)sum;
        }
    }
}

/* The prepared form of a shared input is a copy of it. */
static void fake_prepare(const struct lam_kernel *kernel, int input, const void *source, void *prepared,
                         int part, int parts, struct lam_stream *stream) {
    (void)parts, (void)stream;
    if (part == 0 && fault != SOURCE_NOT_PREPARED) memcpy(prepared, source, kernel->prepared_bytes[input]);
}

static void fake_destroy(struct lam_kernel *kernel) {
    free(kernel);
}

static lam_status fake_create(struct lam_backend_device *device, const struct lam_op *op,
                              const struct lam_kernel_options *options, struct lam_kernel **kernel,
                              const char **chosen) {
    (void)device;
    if (options->choice) return lam_fail(LAM_ERR_UNSUPPORTED, "no choices here");
    if (fault == NO_KERNEL) return lam_fail(LAM_ERR_UNSUPPORTED, "no %s", lam_op_name(op->kind));
    struct lam_kernel *k = calloc(1, sizeof *k);
    if (!k) return lam_no_memory();
    *k = (struct lam_kernel){.op = *op,
                             .workspace_bytes = 8,
                             .run = fake_run,
                             .prepare = fake_prepare,
                             .reduce = fake_reduce,
                             .destroy = fake_destroy};
    bool batch = op->in[0].batched;
    for (int i = 0; i < op->outputs; i++)
        if (batch && op->out[i].present && !op->out[i].batched)
            k->partial_bytes += (size_t)reference_count(&op->out[i]) * sizeof(double);
    for (int i = 0; i < op->inputs; i++)
        if (batch && op->in[i].present && !op->in[i].batched)
            k->prepared_bytes[i] = lam_tensor_bytes(&op->in[i].desc);
    *kernel = k;
    *chosen = "";
    return LAM_OK;
}

/* ---- tests ---- */

static struct lam_backend fake;
static struct suite *suite;

static int setup(void **state) {
    if (suite_setup(state) != 0) return -1;
    struct suite *real = *state;
    struct lam_backend_device *devices[4];
    int count = suite_device_count(real);
    for (int i = 0; i < count; i++) devices[i] = suite_device(real, i);
    fake = *suite_backend(real);
    fake.name = "fake";
    fake.kernel_create = fake_create;
    return suite_create(&fake, devices, count, &suite) == LAM_OK ? 0 : -1;
}

static int teardown(void **state) {
    suite_destroy(suite);
    return suite_teardown(state);
}

static const char *const cases[] = {
    "relu shape=5x17x4x3",
    "linear shape=5x12 o=40 bias",
    "linear_bwd_weights shape=5x12 o=40 bias",
    "dropout shape=8x30",
    "add shape=30 shared",
    "max_pool n=5 c=17 h=5 w=5 k=2 s=2",
    "relu shape=2x16x4x3 dtype=bf16",
    "tokens_bwd n=5 t=4 f=7",
};
enum { CASES = sizeof cases / sizeof *cases };

static void test_right_kernels_pass(void **state) {
    (void)state;
    fault = NO_FAULT;
    assert_int_equal(suite_run(suite, cases, CASES), 0);
}

static void expect_failure(enum fault which, const char *text) {
    fault = which;
    if (suite_run(suite, &text, 1) != 1) fail_msg("fault %d in '%s' was not found", (int)which, text);
    fault = NO_FAULT;
}

static void test_faults_are_found(void **state) {
    (void)state;
    suite_report_to(suite, NULL);
    for (int i = 0; i < CASES; i++) expect_failure(NO_KERNEL, cases[i]);
    expect_failure(WRONG_ELEMENT, cases[0]);
    expect_failure(WRONG_ELEMENT, "relu shape=5x64x20x20 dtype=bf16");
    expect_failure(WRONG_ELEMENT, cases[5]);
    expect_failure(UNWRITTEN_ELEMENT, "relu shape=5x30");
    expect_failure(DIRTY_PADDING, cases[0]);
    expect_failure(WRITES_BEHIND, cases[0]);
    expect_failure(WRITES_BEHIND, cases[4]);
    expect_failure(WRITES_INPUT, cases[0]);
    expect_failure(WRITES_INPUT, cases[2]);
    expect_failure(FORGETS_SLICES, cases[2]);
    expect_failure(ADDS_TO_GARBAGE, cases[2]);
    expect_failure(FORGETS_LANE, cases[2]);
    expect_failure(READS_SCRATCH, cases[1]);
    expect_failure(READS_SCRATCH, cases[7]);
    expect_failure(CHANGES, cases[1]);
    expect_failure(FORGETS_FIRST, cases[3]);
    expect_failure(SOURCE_NOT_PREPARED, cases[1]);
}

static void test_bad_case_lines(void **state) {
    (void)state;
    static const char *const bad[] = {
        "",
        "convolution n=1",
        "relu shape=5x0",
        "relu shape=5xx3",
        "relu shape=5 stride=2",
        "conv n=1 c=3 h=2 w=2 o=1 k=5",
        "conv n=1 c=3 h=8 w=8 o=4 k=3 g=2",
        "relu shape=5x3 dtype=f16",
        "concat shape=5x9 axis=1 parts=3+3",
        "slice shape=5x9 axis=1 begin=5 length=5",
        "copy shape=5x9 to=5x8",
        "loss_bwd shape=5x9",
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        struct op_case c;
        if (op_from_text(bad[i], &c) != LAM_ERR_FORMAT) fail_msg("'%s' was taken", bad[i]);
    }
}

/* What the suite compares with: stored and loaded, an element keeps its place in every layout. */
static void test_host_tensors(void **state) {
    (void)state;
    const enum lam_layout layouts[] = {LAM_PLAIN, LAM_C8, LAM_C16, LAM_NHWC};
    double values[2 * 17 * 3 * 5], loaded[2 * 17 * 3 * 5];
    enum { COUNT = sizeof values / sizeof *values };
    for (int i = 0; i < COUNT; i++) values[i] = i - 100;
    for (size_t l = 0; l < sizeof layouts / sizeof *layouts; l++) {
        struct lam_tensor_desc desc = {LAM_F32, layouts[l], LAM_SHAPE(2, 17, 3, 5)};
        float *bytes = malloc(lam_tensor_bytes(&desc));
        assert_non_null(bytes);
        memset(bytes, 0xFF, lam_tensor_bytes(&desc));
        host_tensor_store(&desc, values, bytes);
        host_tensor_load(&desc, bytes, loaded);
        assert_memory_equal(values, loaded, sizeof values);
        assert_true(host_tensor_padding_is_zero(&desc, bytes));
        free(bytes);
    }
    /* nChw16c by hand: sample 1, channel 16, row 2, column 3 is the first of its group of 16. */
    struct lam_tensor_desc desc = {LAM_F32, LAM_C16, LAM_SHAPE(2, 17, 3, 5)};
    float *bytes = calloc(1, lam_tensor_bytes(&desc));
    assert_non_null(bytes);
    host_tensor_store(&desc, values, bytes);
    assert_true((double)bytes[(((1 * 2 + 1) * 3 + 2) * 5 + 3) * 16] ==
                values[((1 * 17 + 16) * 3 + 2) * 5 + 3]);
    bytes[(((1 * 2 + 1) * 3 + 2) * 5 + 3) * 16 + 1] = 1;
    assert_false(host_tensor_padding_is_zero(&desc, bytes));
    free(bytes);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_host_tensors),
        cmocka_unit_test(test_bad_case_lines),
        cmocka_unit_test(test_right_kernels_pass),
        cmocka_unit_test(test_faults_are_found),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
