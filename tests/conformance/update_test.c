/* The flat-buffer updates: SGD, Adam, AdamW, weight averages and sums of squares.
 *
 * Against golden values of PyTorch's optimizers (update_golden.py) and against plain formulas on buffers of
 * many lengths, cut into parts as lanes would do, between guards. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/rng.h"
#include "conformance/suite.h"

enum { GUARD = 64, MOST = 3001, BUFFERS = 4 };
static const int64_t lengths[] = {1, 2, 15, 16, 17, 64, 1000, MOST};
enum { LENGTHS = sizeof lengths / sizeof *lengths };

/* ---- buffers on the device; index 0..BUFFERS-1 ---- */

struct bench {
    const struct lam_backend *backend;
    struct lam_backend_device *device;
    struct lam_stream *stream;
    float *memory[BUFFERS];                /* device: guard, values, guard */
    float host[BUFFERS][MOST + 2 * GUARD]; /* what was last uploaded or downloaded */
    int64_t count;
};

static float *values(struct bench *b, int buffer) {
    return b->host[buffer] + GUARD;
}

static size_t bytes(const struct bench *b) {
    return (size_t)(b->count + 2 * GUARD) * sizeof(float);
}

static void open_bench(void **state, int64_t count, struct bench *b) {
    struct suite *suite = *state;
    *b = (struct bench){.backend = suite_backend(suite), .device = suite_device(suite, 0), .count = count};
    assert_int_equal(b->backend->stream_create(b->device, &b->stream), LAM_OK);
    for (int i = 0; i < BUFFERS; i++) {
        void *memory;
        assert_int_equal(b->backend->allocate(b->device, bytes(b), &memory), LAM_OK);
        b->memory[i] = memory;
        struct lam_rng rng = lam_rng_make(5, LAM_RNG_TEST, (uint64_t)i, (uint64_t)count);
        for (int64_t k = 0; k < count + 2 * GUARD; k++) b->host[i][k] = lam_rng_normal(&rng);
    }
}

static void upload(struct bench *b) {
    for (int i = 0; i < BUFFERS; i++)
        assert_int_equal(b->backend->copy_from_host(b->stream, b->memory[i], b->host[i], bytes(b)), LAM_OK);
}

/* Downloads; guards must be as they were, and so must buffers that are not in `written` (bits). */
static void download(struct bench *b, unsigned written) {
    float *now = malloc(bytes(b));
    assert_non_null(now);
    for (int i = 0; i < BUFFERS; i++) {
        assert_int_equal(b->backend->copy_to_host(b->stream, now, b->memory[i], bytes(b)), LAM_OK);
        assert_int_equal(b->backend->stream_sync(b->stream), LAM_OK);
        if (written >> i & 1) memcpy(values(b, i), now + GUARD, (size_t)b->count * sizeof *now);
        assert_memory_equal(now, b->host[i], bytes(b));
    }
    free(now);
}

static void close_bench(struct bench *b) {
    for (int i = 0; i < BUFFERS; i++) b->backend->release(b->device, b->memory[i]);
    b->backend->stream_destroy(b->stream);
}

/* The bounds of part `part` of three uneven parts. */
static void part_of(int64_t count, int part, int64_t *begin, int64_t *end) {
    const int64_t cuts[] = {0, count / 5, count / 2 + 1 > count ? count : count / 2 + 1, count};
    *begin = cuts[part];
    *end = cuts[part + 1];
}

static void check_near(const float *found, const double *expected, int64_t count, double allowed,
                       const char *name) {
    double largest = 1e-30;
    for (int64_t i = 0; i < count; i++) largest = fmax(largest, fabs(expected[i]));
    for (int64_t i = 0; i < count; i++)
        if (!(fabs((double)found[i] - expected[i]) <= allowed * largest))
            fail_msg("%s: element %lld of %lld is %.9g, not %.9g", name, (long long)i, (long long)count,
                     (double)found[i], expected[i]);
}

/* ---- SGD ---- */

/* PyTorch's formulas (torch.optim.SGD, dampening 0), in double. */
static void sgd_formula(const struct lam_sgd_args *a, double gradient, double *parameter, double *buffer) {
    double g = gradient * (double)a->gradient_scale + (double)a->weight_decay * *parameter;
    *buffer = a->first ? g : (double)a->momentum * *buffer + g;
    double direction = a->nesterov ? g + (double)a->momentum * *buffer : *buffer;
    *parameter -= (double)a->learning_rate * direction;
}

static void check_sgd(void **state, int64_t count, struct lam_sgd_args args) {
    static struct bench b;
    static double parameter[MOST], buffer[MOST];
    open_bench(state, count, &b);
    for (int64_t i = 0; i < count; i++) {
        parameter[i] = (double)values(&b, 0)[i];
        buffer[i] = (double)values(&b, 1)[i];
        sgd_formula(&args, (double)values(&b, 2)[i], &parameter[i], &buffer[i]);
        if (args.first) values(&b, 1)[i] = NAN; /* not yet set: must not be read */
    }
    upload(&b);
    args.parameter = b.memory[0] + GUARD;
    args.momentum_buffer = b.memory[1] + GUARD;
    args.gradient = b.memory[2] + GUARD;
    for (int part = 0; part < 3; part++) {
        int64_t begin, end;
        part_of(count, part, &begin, &end);
        b.backend->sgd(&args, begin, end, b.stream);
    }
    download(&b, 3);
    check_near(values(&b, 0), parameter, count, 1e-6, "parameter");
    check_near(values(&b, 1), buffer, count, 1e-6, "momentum buffer");
    close_bench(&b);
}

static void test_sgd_formula(void **state) {
    for (int i = 0; i < LENGTHS; i++)
        for (int variant = 0; variant < 8; variant++)
            check_sgd(state, lengths[i],
                      (struct lam_sgd_args){.learning_rate = 0.1f,
                                            .momentum = 0.9f,
                                            .weight_decay = variant & 1 ? 0.05f : 0.0f,
                                            .gradient_scale = 0.7f,
                                            .nesterov = variant & 2,
                                            .first = variant & 4});
}

/* ---- Adam and AdamW ---- */

/* PyTorch's formulas (torch.optim.Adam and AdamW), in double. */
static void adamw_formula(const struct lam_adamw_args *a, double gradient, double *parameter, double *m,
                          double *v) {
    double b1 = (double)a->beta1, b2 = (double)a->beta2, rate = (double)a->learning_rate;
    double g = gradient * (double)a->gradient_scale, t = (double)a->step;
    if (a->decoupled)
        *parameter *= 1 - rate * (double)a->weight_decay;
    else
        g += (double)a->weight_decay * *parameter;
    *m = b1 * *m + (1 - b1) * g;
    *v = b2 * *v + (1 - b2) * g * g;
    double mean = *m / (1 - pow(b1, t)), root = sqrt(*v / (1 - pow(b2, t)));
    *parameter -= rate * mean / (root + (double)a->eps);
}

static void check_adamw(void **state, int64_t count, struct lam_adamw_args args) {
    static struct bench b;
    static double parameter[MOST], m[MOST], v[MOST];
    open_bench(state, count, &b);
    for (int64_t i = 0; i < count; i++) {
        if (args.step == 1) values(&b, 1)[i] = values(&b, 2)[i] = 0;
        values(&b, 2)[i] = fabsf(values(&b, 2)[i]);
        parameter[i] = (double)values(&b, 0)[i];
        m[i] = (double)values(&b, 1)[i];
        v[i] = (double)values(&b, 2)[i];
        adamw_formula(&args, (double)values(&b, 3)[i], &parameter[i], &m[i], &v[i]);
    }
    upload(&b);
    args.parameter = b.memory[0] + GUARD;
    args.first_moment = b.memory[1] + GUARD;
    args.second_moment = b.memory[2] + GUARD;
    args.gradient = b.memory[3] + GUARD;
    for (int part = 0; part < 3; part++) {
        int64_t begin, end;
        part_of(count, part, &begin, &end);
        b.backend->adamw(&args, begin, end, b.stream);
    }
    download(&b, 7);
    check_near(values(&b, 0), parameter, count, 2e-6, "parameter");
    check_near(values(&b, 1), m, count, 1e-6, "first moment");
    check_near(values(&b, 2), v, count, 1e-6, "second moment");
    close_bench(&b);
}

static void test_adamw_formula(void **state) {
    for (int i = 0; i < LENGTHS; i++)
        for (int variant = 0; variant < 8; variant++)
            check_adamw(state, lengths[i],
                        (struct lam_adamw_args){.learning_rate = 0.01f,
                                                .beta1 = 0.9f,
                                                .beta2 = 0.95f,
                                                .eps = 1e-8f,
                                                .weight_decay = variant & 1 ? 0.1f : 0.0f,
                                                .gradient_scale = 0.7f,
                                                .decoupled = variant & 2,
                                                .step = variant & 4 ? 1 : 50});
}

/* ---- PyTorch ---- */

enum { PARAMETERS = 4, STEPS = 5 };
enum { SGD, SGD_DECAY, SGD_MOMENTUM, SGD_NESTEROV, ADAM, ADAMW, OPTIMIZERS };
static const double golden[OPTIMIZERS][PARAMETERS] = {
    /* the output of update_golden.py */
    /* sgd */ {0.752291829, 0.613632857, -0.129206993, -0.909810904},
    /* sgd_decay */ {0.731318728, 0.602038531, -0.121733316, -0.888598343},
    /* sgd_momentum */ {0.081585312, 0.319004413, 0.364727638, -0.336181851},
    /* sgd_nesterov */ {-0.082936393, 0.410496202, 0.573038001, -0.312254383},
    /* adam */ {0.953598520, 0.517007270, -0.370177742, -0.952685510},
    /* adamw */ {0.949590492, 0.516493811, -0.368716923, -0.950178698},
};

static void golden_step(struct bench *b, int optimizer, int step) {
    if (optimizer < ADAM) {
        struct lam_sgd_args args = {.parameter = b->memory[0] + GUARD,
                                    .momentum_buffer = b->memory[1] + GUARD,
                                    .gradient = b->memory[3] + GUARD,
                                    .learning_rate = 0.1f,
                                    .momentum = optimizer >= SGD_MOMENTUM ? 0.9f : 0.0f,
                                    .weight_decay = optimizer >= SGD_DECAY ? 0.05f : 0.0f,
                                    .gradient_scale = 1,
                                    .nesterov = optimizer == SGD_NESTEROV,
                                    .first = step == 1};
        b->backend->sgd(&args, 0, PARAMETERS, b->stream);
    } else {
        struct lam_adamw_args args = {.parameter = b->memory[0] + GUARD,
                                      .first_moment = b->memory[1] + GUARD,
                                      .second_moment = b->memory[2] + GUARD,
                                      .gradient = b->memory[3] + GUARD,
                                      .learning_rate = 0.01f,
                                      .beta1 = 0.9f,
                                      .beta2 = 0.95f,
                                      .eps = 1e-8f,
                                      .weight_decay = 0.1f,
                                      .gradient_scale = 1,
                                      .decoupled = optimizer == ADAMW,
                                      .step = (uint64_t)step};
        b->backend->adamw(&args, 0, PARAMETERS, b->stream);
    }
}

static void test_pytorch(void **state) {
    static struct bench b;
    for (int optimizer = 0; optimizer < OPTIMIZERS; optimizer++) {
        open_bench(state, PARAMETERS, &b);
        for (int i = 0; i < PARAMETERS; i++) {
            values(&b, 0)[i] = cosf((float)i);
            values(&b, 1)[i] = values(&b, 2)[i] = 0;
        }
        for (int step = 1; step <= STEPS; step++) {
            for (int i = 0; i < PARAMETERS; i++) values(&b, 3)[i] = (float)sin(1.3 * i + 0.7 * step);
            upload(&b);
            golden_step(&b, optimizer, step);
            download(&b, 7);
        }
        check_near(values(&b, 0), golden[optimizer], PARAMETERS, 2e-6, "parameter");
        close_bench(&b);
    }
}

/* ---- averages and sums ---- */

static void test_ema(void **state) {
    static struct bench b;
    static double average[MOST];
    for (int l = 0; l < LENGTHS; l++) {
        open_bench(state, lengths[l], &b);
        for (int64_t i = 0; i < b.count; i++)
            average[i] = 0.99 * (double)values(&b, 0)[i] + 0.01 * (double)values(&b, 1)[i];
        upload(&b);
        for (int part = 0; part < 3; part++) {
            int64_t begin, end;
            part_of(b.count, part, &begin, &end);
            b.backend->ema(b.memory[0] + GUARD, b.memory[1] + GUARD, 0.99f, begin, end, b.stream);
        }
        download(&b, 1);
        check_near(values(&b, 0), average, b.count, 1e-6, "average");
        close_bench(&b);
    }
}

static void test_accumulate(void **state) {
    static struct bench b;
    static double sum[MOST];
    for (int l = 0; l < LENGTHS; l++)
        for (int first = 0; first < 2; first++) {
            open_bench(state, lengths[l], &b);
            for (int64_t i = 0; i < b.count; i++)
                sum[i] = (first ? 0 : (double)values(&b, 0)[i]) + 0.25 * (double)values(&b, 1)[i];
            upload(&b);
            for (int part = 0; part < 3; part++) {
                int64_t begin, end;
                part_of(b.count, part, &begin, &end);
                b.backend->accumulate(b.memory[0] + GUARD, b.memory[1] + GUARD, 0.25f, first, begin, end,
                                      b.stream);
            }
            download(&b, 1);
            check_near(values(&b, 0), sum, b.count, 1e-6, "sum");
            close_bench(&b);
        }
}

static void device_sums(struct bench *b, int64_t begin, int64_t end, int64_t chunk, double *sums,
                        size_t count) {
    void *place;
    for (size_t i = 0; i < count; i++) sums[i] = NAN;
    assert_int_equal(b->backend->allocate(b->device, count * sizeof *sums, &place), LAM_OK);
    assert_int_equal(b->backend->copy_from_host(b->stream, place, sums, count * sizeof *sums), LAM_OK);
    b->backend->sum_squares(b->memory[0] + GUARD, begin, end, chunk, place, b->stream);
    assert_int_equal(b->backend->copy_to_host(b->stream, sums, place, count * sizeof *sums), LAM_OK);
    assert_int_equal(b->backend->stream_sync(b->stream), LAM_OK);
    b->backend->release(b->device, place);
}

static double device_sum_squares(struct bench *b, int64_t begin, int64_t end) {
    double sum;
    device_sums(b, begin, end, b->count + 1, &sum, 1);
    return sum;
}

/* Each chunk's sum is what the chunk gives by itself, and nothing behind them is written. */
static void test_sum_squares_chunks(void **state) {
    static struct bench b;
    open_bench(state, 1000, &b);
    upload(&b);
    double sums[6];
    device_sums(&b, 7, 931, 200, sums, 6);
    for (int i = 0; i < 5; i++)
        assert_true(sums[i] == device_sum_squares(&b, 7 + 200 * i, i < 4 ? 207 + 200 * i : 931));
    assert_true(isnan(sums[5]));
    close_bench(&b);
}

static void test_sum_squares(void **state) {
    static struct bench b;
    for (int l = 0; l < LENGTHS; l++) {
        open_bench(state, lengths[l], &b);
        double expected = 0;
        for (int64_t i = b.count / 3; i < b.count; i++) expected += pow((double)values(&b, 0)[i], 2);
        upload(&b);
        double found = device_sum_squares(&b, b.count / 3, b.count);
        assert_true(fabs(found - expected) <= 1e-6 * expected);
        assert_true(found == device_sum_squares(&b, b.count / 3, b.count)); /* to the bit */
        assert_true(device_sum_squares(&b, b.count, b.count) == 0);
        close_bench(&b);
    }
}

/* The NaN guard relies on it: one bad element anywhere makes the sum bad. And large values must not overflow.
 */
static void test_sum_squares_extremes(void **state) {
    static struct bench b;
    const float bad[] = {NAN, INFINITY, -INFINITY};
    for (int64_t at = 0; at < 40; at += 13)
        for (int i = 0; i < 3; i++) {
            open_bench(state, 40, &b);
            values(&b, 0)[at] = bad[i];
            upload(&b);
            assert_true(!isfinite(device_sum_squares(&b, 0, 40)));
            close_bench(&b);
        }
    open_bench(state, 40, &b);
    for (int i = 0; i < 40; i++) values(&b, 0)[i] = 1e30f;
    upload(&b);
    double found = device_sum_squares(&b, 0, 40);
    assert_true(fabs(found - 40e60) < 1e-5 * 40e60);
    close_bench(&b);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_sgd_formula),
        cmocka_unit_test(test_adamw_formula),
        cmocka_unit_test(test_pytorch),
        cmocka_unit_test(test_ema),
        cmocka_unit_test(test_accumulate),
        cmocka_unit_test(test_sum_squares),
        cmocka_unit_test(test_sum_squares_chunks),
        cmocka_unit_test(test_sum_squares_extremes),
    };
    return cmocka_run_group_tests(tests, suite_setup, suite_teardown);
}
