/* Times kernels as a step runs them: all lanes at once, because they share caches and memory; slices in a
 * loop over the same operands, because in a step the op before has just written them; and the work that is
 * done once a run (weights prepared, partials reduced) counted at its share.
 *
 * Other programs disturb a measurement but never make it faster: the best of several rounds counts. */
#include "cpu/measure.h"

#include "base/files.h"

#include <stdlib.h>
#include <string.h>

#define ROUNDS_AT_LEAST 4
#define ROUNDS_AT_MOST  200
#define ENOUGH_SECONDS  4e-3

struct trial {
    const struct lam_kernel *kernel;
    const struct lam_kernel_options *options;
    struct lam_lanes *lanes;
    void *in[LAM_MAX_INPUTS], *out[LAM_MAX_OUTPUTS]; /* shared operands */
    void *prepared[LAM_MAX_INPUTS];
    struct desk *desk; /* [lanes] */
    void **partials;   /* [lanes] */
    double run_seconds, once_seconds;
};

/* What one lane works on. */
struct desk {
    void *in[LAM_MAX_INPUTS], *out[LAM_MAX_OUTPUTS], *workspace, *partial;
    double run_seconds;
};

/* ---- buffers ---- */

static size_t operand_bytes(const struct lam_operand *operand, int count) {
    size_t bytes = lam_tensor_bytes(&operand->desc);
    if (!operand->batched || operand->desc.shape.dim[0] == 0) return bytes;
    return bytes / (size_t)operand->desc.shape.dim[0] * (size_t)count;
}

/* Zeros are as good as any numbers for the time of a convolution or product. */
static bool get_zeros(void **pointer, size_t bytes) {
    if (bytes == 0) return true;
    if (posix_memalign(pointer, bytes < 4096 ? 64 : 4096, bytes) != 0) {
        *pointer = NULL;
        return false;
    }
    memset(*pointer, 0, bytes);
    return true;
}

static bool fill_operands(const struct lam_kernel *kernel, bool batched, int count, void **in, void **out) {
    const struct lam_op *op = &kernel->op;
    bool good = true;
    for (int i = 0; i < op->inputs; i++)
        if (op->in[i].present && op->in[i].batched == batched)
            good = get_zeros(&in[i], operand_bytes(&op->in[i], count)) && good;
    for (int i = 0; i < op->outputs; i++)
        if (op->out[i].present && op->out[i].batched == batched)
            good = get_zeros(&out[i], operand_bytes(&op->out[i], count)) && good;
    return good;
}

static bool fill_trial(struct trial *t) {
    int lanes = t->options->lanes;
    t->desk = calloc((size_t)lanes, sizeof *t->desk);
    t->partials = calloc((size_t)lanes, sizeof *t->partials);
    if (!t->desk || !t->partials) return false;
    bool good = fill_operands(t->kernel, false, 0, t->in, t->out);
    for (int i = 0; i < t->kernel->op.inputs; i++)
        good = get_zeros(&t->prepared[i], t->kernel->prepared_bytes[i]) && good;
    for (int lane = 0; lane < lanes; lane++) {
        struct desk *desk = &t->desk[lane];
        good = fill_operands(t->kernel, true, t->options->slices[0], desk->in, desk->out) && good;
        good = get_zeros(&desk->workspace, t->kernel->workspace_bytes) && good;
        good = get_zeros(&desk->partial, t->kernel->partial_bytes) && good;
        t->partials[lane] = desk->partial;
    }
    return good;
}

static void free_trial(struct trial *t) {
    for (int lane = 0; t->desk && lane < t->options->lanes; lane++) {
        struct desk *desk = &t->desk[lane];
        for (int i = 0; i < LAM_MAX_INPUTS; i++) free(desk->in[i]);
        for (int i = 0; i < LAM_MAX_OUTPUTS; i++) free(desk->out[i]);
        free(desk->workspace);
        free(desk->partial);
    }
    for (int i = 0; i < LAM_MAX_INPUTS; i++) {
        free(t->in[i]);
        free(t->prepared[i]);
    }
    for (int i = 0; i < LAM_MAX_OUTPUTS; i++) free(t->out[i]);
    free(t->desk);
    free(t->partials);
}

/* ---- timing ---- */

static struct lam_kernel_args make_args(const struct trial *t, int lane, const struct lam_run *run) {
    const struct lam_op *op = &t->kernel->op;
    const struct desk *desk = &t->desk[lane];
    struct lam_kernel_args args = {.partial = desk->partial,
                                   .workspace = desk->workspace,
                                   .count = t->options->slices[0],
                                   .accumulate = true,
                                   .lane = lane,
                                   .run = run};
    for (int i = 0; i < op->inputs; i++)
        args.in[i] = t->prepared[i] ? t->prepared[i] : op->in[i].batched ? desk->in[i] : t->in[i];
    for (int i = 0; i < op->outputs; i++) args.out[i] = op->out[i].batched ? desk->out[i] : NULL;
    return args;
}

/* What a lane does once a run. */
static void once(const struct trial *t, int lane) {
    const struct lam_kernel *k = t->kernel;
    int lanes = t->options->lanes;
    for (int i = 0; i < k->op.inputs; i++)
        if (t->prepared[i]) k->prepare(k, i, t->in[i], t->prepared[i], lane, lanes, NULL);
    lam_lanes_barrier(t->lanes);
    if (k->reduce) k->reduce(k, t->partials, lanes, t->out, lane, lanes, NULL);
    lam_lanes_barrier(t->lanes);
}

static void time_once(struct trial *t, int lane) {
    double best = 1e9;
    for (int round = 0; round < 3; round++) {
        lam_lanes_barrier(t->lanes);
        double start = lam_seconds();
        once(t, lane);
        double seconds = lam_seconds() - start;
        if (seconds < best) best = seconds;
    }
    if (lane == 0) t->once_seconds = best;
}

static void time_lane(void *context, int lane) {
    struct trial *t = context;
    const struct lam_kernel *k = t->kernel;
    struct lam_run run = {.seed = 1, .step = 1};
    struct lam_kernel_args args = make_args(t, lane, &run);
    time_once(t, lane);
    double best = 1e9, spent = 0;
    for (int round = 0; round < ROUNDS_AT_LEAST || (spent < ENOUGH_SECONDS && round < ROUNDS_AT_MOST);
         round++) {
        double start = lam_seconds();
        k->run(k, &args);
        double seconds = lam_seconds() - start;
        if (round > 0 && seconds < best) best = seconds; /* the first one warms up */
        spent += seconds;
    }
    t->desk[lane].run_seconds = best;
}

/* Seconds that the kernel would take of a step. */
static lam_status step_seconds(struct lam_lanes *lanes, const struct lam_kernel *kernel,
                               const struct lam_kernel_options *options, double *seconds) {
    struct trial t = {.kernel = kernel, .options = options, .lanes = lanes};
    if (!fill_trial(&t)) {
        free_trial(&t);
        return lam_fail(LAM_ERR_NO_MEMORY, "no memory left to time %s", lam_op_name(kernel->op.kind));
    }
    lam_lanes_run(lanes, time_lane, &t);
    double slowest = 0;
    for (int lane = 0; lane < options->lanes; lane++)
        if (t.desk[lane].run_seconds > slowest) slowest = t.desk[lane].run_seconds;
    double batch = (double)kernel->op.in[0].desc.shape.dim[0];
    *seconds = t.once_seconds + slowest * batch / options->lanes / options->slices[0];
    free_trial(&t);
    return LAM_OK;
}

/* ---- choosing ---- */

static lam_status try_choice(struct lam_lanes *lanes, lam_cpu_create_fn create, const struct lam_op *op,
                             const struct lam_kernel_options *options, struct lam_kernel **kernel,
                             const char **chosen, double *seconds) {
    LAM_TRY(create(op, options, kernel, chosen));
    lam_status status = step_seconds(lanes, *kernel, options, seconds);
    if (status != LAM_OK) (*kernel)->destroy(*kernel);
    return status;
}

lam_status lam_cpu_measure(struct lam_lanes *lanes, lam_cpu_create_fn create, const char *const *choices,
                           const struct lam_op *op, const struct lam_kernel_options *options,
                           struct lam_kernel **kernel, const char **chosen) {
    struct lam_kernel *best = NULL;
    double best_seconds = 0;
    lam_status status = LAM_ERR_UNSUPPORTED;
    for (; *choices; choices++) {
        struct lam_kernel_options with_choice = *options;
        with_choice.choice = *choices;
        struct lam_kernel *candidate = NULL;
        const char *name = NULL;
        double seconds = 0;
        status = try_choice(lanes, create, op, &with_choice, &candidate, &name, &seconds);
        if (status == LAM_ERR_UNSUPPORTED) continue;
        if (status != LAM_OK) break;
        bool better = !best || seconds < best_seconds;
        struct lam_kernel *loser = better ? best : candidate;
        if (loser) loser->destroy(loser);
        if (better) {
            best = candidate;
            best_seconds = seconds;
            *chosen = name;
        }
    }
    if (status != LAM_OK && status != LAM_ERR_UNSUPPORTED) {
        if (best) best->destroy(best);
        return status;
    }
    if (!best) return lam_fail_in(LAM_ERR_UNSUPPORTED, lam_op_name(op->kind));
    *kernel = best;
    return LAM_OK;
}
