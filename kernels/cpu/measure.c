/* Times kernels as a step runs them: all lanes at once, because they share caches and memory; slices in a
 * loop over the same operands, because in a step the op before has just written them; and the work that is
 * done once a run (weights prepared, partials reduced) counted at its share.
 *
 * Times are of the lane's own processor time, so that a lane that had to wait for its core is not taken for a
 * slow kernel. What is left of other programs' disturbance never makes it faster: the best of rounds counts,
 * the candidates take turns, so that a disturbance of some milliseconds does not fall on one of them alone.
 * Who is far behind is out. */
#include "cpu/measure.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

#define TURNS               5
#define ROUNDS_AT_MOST      100
#define ENOUGH_SECONDS      2e-3 /* of a turn */
/* Behind by this much is beaten: at first, when a disturbance may be all that there is to see, and later. */
#define FAR_BEHIND_AT_FIRST 2.0
#define FAR_BEHIND_LATER    1.4
enum { MOST_CANDIDATES = 8 };

struct trial {
    struct lam_kernel *kernel;
    const char *name;
    const struct lam_kernel_options *options;
    struct lam_lanes *lanes;
    void *in[LAM_MAX_INPUTS], *out[LAM_MAX_OUTPUTS]; /* shared operands */
    void *prepared[LAM_MAX_INPUTS];
    struct desk *desk; /* [lanes] */
    void **partials;   /* [lanes] */
    bool beaten;
};

/* What one lane works on. */
struct desk {
    void *in[LAM_MAX_INPUTS], *out[LAM_MAX_OUTPUTS], *workspace, *partial;
    double run_seconds, once_seconds;
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
        desk->run_seconds = desk->once_seconds = 1e9;
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

static double processor_seconds(void) {
    struct timespec t;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

/* What a lane does once a run. */
static void time_once(const struct trial *t, int lane) {
    const struct lam_kernel *k = t->kernel;
    int lanes = t->options->lanes;
    double start = processor_seconds();
    for (int i = 0; i < k->op.inputs; i++)
        if (t->prepared[i]) k->prepare(k, i, t->in[i], t->prepared[i], lane, lanes, NULL);
    if (k->reduce) k->reduce(k, t->partials, lanes, t->out, lane, lanes, NULL);
    double seconds = processor_seconds() - start;
    if (seconds < t->desk[lane].once_seconds) t->desk[lane].once_seconds = seconds;
    lam_lanes_barrier(t->lanes);
}

static void time_lane(void *context, int lane) {
    const struct trial *t = context;
    const struct lam_kernel *k = t->kernel;
    struct lam_run run = {.seed = 1, .step = 1};
    struct lam_kernel_args args = make_args(t, lane, &run);
    time_once(t, lane);
    double best = 1e9, spent = 0;
    for (int round = 0; round < 2 || (spent < ENOUGH_SECONDS && round < ROUNDS_AT_MOST); round++) {
        double start = processor_seconds();
        k->run(k, &args);
        double seconds = processor_seconds() - start;
        if (seconds < best) best = seconds;
        spent += seconds;
    }
    if (best < t->desk[lane].run_seconds) t->desk[lane].run_seconds = best;
}

/* Seconds that the kernel would take of a step. */
static double step_seconds(const struct trial *t) {
    double run = 0, once = 0, batch = (double)t->kernel->op.in[0].desc.shape.dim[0];
    for (int lane = 0; lane < t->options->lanes; lane++) {
        if (t->desk[lane].run_seconds > run) run = t->desk[lane].run_seconds;
        if (t->desk[lane].once_seconds > once) once = t->desk[lane].once_seconds;
    }
    return once + run * batch / t->options->lanes / t->options->slices[0];
}

/* ---- choosing ---- */

struct contest {
    struct trial trial[MOST_CANDIDATES];
    int count;
};

/* Makes the kernels of the choices that apply, with what they need to run. */
static lam_status enter(struct contest *contest, struct lam_lanes *lanes, lam_cpu_create_fn create,
                        const char *const *choices, const struct lam_op *op,
                        const struct lam_kernel_options *options) {
    for (; *choices && contest->count < MOST_CANDIDATES; choices++) {
        struct lam_kernel_options with_choice = *options;
        with_choice.choice = *choices;
        struct trial *t = &contest->trial[contest->count];
        lam_status status = create(op, &with_choice, &t->kernel, &t->name);
        if (status == LAM_ERR_UNSUPPORTED) continue;
        LAM_TRY(status);
        t->options = options;
        t->lanes = lanes;
        contest->count++;
        if (!fill_trial(t))
            return lam_fail(LAM_ERR_NO_MEMORY, "no memory left to time %s", lam_op_name(op->kind));
    }
    if (contest->count == 0) return lam_fail_in(LAM_ERR_UNSUPPORTED, lam_op_name(op->kind));
    return LAM_OK;
}

static int find_fastest(struct contest *contest, struct lam_lanes *lanes) {
    int best = 0, left = contest->count;
    for (int turn = 0; turn < TURNS && left > 1; turn++) {
        for (int i = 0; i < contest->count; i++)
            if (!contest->trial[i].beaten) lam_lanes_run(lanes, time_lane, &contest->trial[i]);
        for (int i = 0; i < contest->count; i++)
            if (!contest->trial[i].beaten &&
                step_seconds(&contest->trial[i]) < step_seconds(&contest->trial[best]))
                best = i;
        double limit =
            (turn == 0 ? FAR_BEHIND_AT_FIRST : FAR_BEHIND_LATER) * step_seconds(&contest->trial[best]);
        for (int i = 0; i < contest->count; i++)
            if (!contest->trial[i].beaten && step_seconds(&contest->trial[i]) > limit) {
                contest->trial[i].beaten = true;
                left--;
            }
    }
    return best;
}

lam_status lam_cpu_measure(struct lam_lanes *lanes, lam_cpu_create_fn create, const char *const *choices,
                           const struct lam_op *op, const struct lam_kernel_options *options,
                           struct lam_kernel **kernel, const char **chosen) {
    struct contest contest = {.count = 0};
    int best = -1;
    lam_status status = enter(&contest, lanes, create, choices, op, options);
    if (status == LAM_OK) {
        best = find_fastest(&contest, lanes);
        *kernel = contest.trial[best].kernel;
        *chosen = contest.trial[best].name;
    }
    for (int i = 0; i < contest.count; i++) {
        free_trial(&contest.trial[i]);
        if (i != best) contest.trial[i].kernel->destroy(contest.trial[i].kernel);
    }
    return status;
}
