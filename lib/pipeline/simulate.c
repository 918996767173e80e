/* Every device works through its steps in a fixed order, and a link carries one device's transfers in the order in
 * which they are sent. So the time of an event is the later of a few earlier ones plus a duration, and events are
 * visited not by time but in an order in which those before are known: no event queue is needed, and what makes
 * a stage faster can never make an end later.
 */
#include "pipeline/simulate.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/rng.h"

struct device {
    double now; /* up to here everything about it is known */
    double busy, starved, blocked;
    double down,
        up;       /* when the link to the next stage, and to the one before, has sent all that it was given */
    int64_t head; /* oldest message that had not been started when the newest came */
};

/* One message on its way through one stage: a batch, or a micro-batch of gpipe and 1f1b. */
struct passage {
    double arrived;  /* its activations are there */
    double started;  /* forward begins */
    double finished; /* updated: the slot is free again */
    double snapshot; /* the stage before has the parameters that the update made */
    double gradient; /* gpipe, 1f1b: the next stage's gradient is there */
};

struct simulator {
    const struct lam_simulation *in;
    struct device devices[LAM_SIMULATED_STAGES];
    int peak_waiting[LAM_SIMULATED_STAGES];
    struct passage *passages; /* per stage a ring of the last `window` messages */
    int64_t window;
};

enum { UNKNOWN = -1 }; /* a time that is not known yet */

const char *lam_simulated_schedule_name(enum lam_simulated_schedule schedule) {
    static const char *const names[] = {"sequential", "ppll", "gpipe", "1f1b"};
    return (unsigned)schedule < LAM_SIMULATED_SCHEDULES ? names[schedule] : "unknown";
}

static bool is_local(const struct lam_simulation *in) {
    return in->schedule == LAM_SIMULATE_SEQUENTIAL || in->schedule == LAM_SIMULATE_PPLL;
}

static struct passage *passage_of(struct simulator *s, int stage, int64_t message) {
    return &s->passages[stage * s->window + message % s->window];
}

/* ---- what takes time ---- */

static void work(struct device *device, double seconds) {
    device->busy += seconds;
    device->now += seconds;
}

static void wait_until(struct device *device, double *share, double time) {
    if (time <= device->now) return;
    *share += time - device->now;
    device->now = time;
}

/* Takes a transfer that is ready at `now` onto a link; when it has arrived. */
static double transfer(const struct lam_simulation *in, double *link, double bytes, double now) {
    if (in->link_bytes_per_s == 0) return now;
    *link = fmax(*link, now) + in->latency + bytes / in->link_bytes_per_s;
    return *link;
}

static double jitter_of(const struct lam_simulation *in, int stage, int64_t step) {
    if (in->jitter == 0) return 1;
    struct lam_rng rng = lam_rng_make(in->seed, LAM_RNG_SIMULATE, (uint64_t)stage, (uint64_t)step);
    return 1 + in->jitter * (2 * (double)lam_rng_uniform(&rng) - 1);
}

/* Starts a message, and counts those that were there and not started when it came. Both times only grow from one
 * message to the next, so the oldest of them never moves back. */
static void start(struct simulator *s, int stage, int64_t message) {
    struct device *device = &s->devices[stage];
    struct passage *passage = passage_of(s, stage, message);
    passage->started = device->now;
    if (stage == 0) return;
    while (device->head <= message && passage_of(s, stage, device->head)->started <= passage->arrived)
        device->head++;
    int waiting = (int)(message - device->head + 1);
    if (waiting > s->peak_waiting[stage]) s->peak_waiting[stage] = waiting;
}

/* ---- sequential and ppll ---- */

static void wait_for_batch(struct simulator *s, int stage, int64_t step) {
    struct device *device = &s->devices[stage];
    if (stage > 0) wait_until(device, &device->starved, passage_of(s, stage, step)->arrived);
    if (s->in->schedule != LAM_SIMULATE_SEQUENTIAL) return;
    int before = stage > 0 ? stage - 1 : s->in->stage_count - 1;
    wait_until(device, &device->starved, s->devices[before].now);
}

static void wait_for_room(struct simulator *s, int stage, int64_t step) {
    struct device *device = &s->devices[stage];
    if (stage + 1 < s->in->stage_count && step >= s->in->queue)
        wait_until(device, &device->blocked, passage_of(s, stage + 1, step - s->in->queue)->finished);
}

static void hand_over(struct simulator *s, int stage, int64_t step) {
    struct device *device = &s->devices[stage];
    if (stage + 1 == s->in->stage_count) return;
    wait_for_room(s, stage, step);
    passage_of(s, stage + 1, step)->arrived =
        transfer(s->in, &device->down, s->in->stages[stage].send_bytes, device->now);
}

static void send_snapshot(struct simulator *s, int stage, int64_t step) {
    struct device *device = &s->devices[stage];
    double bytes = s->in->stages[stage].snapshot_bytes;
    if (stage > 0 && bytes > 0)
        passage_of(s, stage, step)->snapshot = transfer(s->in, &device->up, bytes, device->now);
}

/* The first steps use the parameters that the run began with, which every device has. Snapshots that are not sent
 * keep no one waiting: their time stays 0. */
static void wait_for_snapshot(struct simulator *s, int stage, int64_t step) {
    struct device *device = &s->devices[stage];
    int64_t update = step - 1 - s->in->ema_lag;
    if (stage + 1 < s->in->stage_count && update >= 0)
        wait_until(device, &device->starved, passage_of(s, stage + 1, update)->snapshot);
}

static void local_step(struct simulator *s, int stage, int64_t step) {
    const struct lam_simulated_stage *times = &s->in->stages[stage];
    struct device *device = &s->devices[stage];
    double jitter = jitter_of(s->in, stage, step);
    wait_for_batch(s, stage, step);
    start(s, stage, step);
    if (s->in->early_slot) wait_for_room(s, stage, step);
    work(device, jitter * times->forward);
    if (!times->late_send) hand_over(s, stage, step);
    work(device, jitter * (times->aux + times->backward + times->update));
    passage_of(s, stage, step)->finished = device->now;
    send_snapshot(s, stage, step);
    if (times->late_send) hand_over(s, stage, step);
    wait_for_snapshot(s, stage, step);
}

/* A step needs the same step of the stage before and earlier steps of its own and the next stage. */
static void local_batch(struct simulator *s, int64_t step) {
    for (int stage = 0; stage < s->in->stage_count; stage++) local_step(s, stage, step);
}

/* ---- gpipe and 1f1b ---- */

/* The passes of a stage in a batch: `ahead` forward, then backward and forward in turn, then the backward ones that
 * are left. */
static bool nth_pass(const struct lam_simulation *in, int stage, int n, int *micro_batch) {
    int ahead = in->micro_batches;
    if (in->schedule == LAM_SIMULATE_1F1B && ahead > in->stage_count - stage) ahead = in->stage_count - stage;
    int in_turn = 2 * (in->micro_batches - ahead), after = n - ahead;
    bool forward = after < 0 || (after < in_turn && after % 2 == 1);
    if (after < 0)
        *micro_batch = n;
    else if (after < in_turn)
        *micro_batch = after / 2 + (forward ? ahead : 0);
    else
        *micro_batch = after - in_turn / 2;
    return forward;
}

static void forward_pass(struct simulator *s, int stage, int micro_batch, double jitter) {
    const struct lam_simulation *in = s->in;
    const struct lam_simulated_stage *times = &in->stages[stage];
    struct device *device = &s->devices[stage];
    start(s, stage, micro_batch);
    work(device, jitter * times->forward / in->micro_batches + in->micro_overhead);
    if (stage + 1 < in->stage_count)
        passage_of(s, stage + 1, micro_batch)->arrived =
            transfer(in, &device->down, times->send_bytes / in->micro_batches, device->now);
}

static void backward_pass(struct simulator *s, int stage, int micro_batch, double jitter) {
    const struct lam_simulation *in = s->in;
    struct device *device = &s->devices[stage];
    work(device, jitter * in->stages[stage].backward / in->micro_batches + in->micro_overhead);
    if (stage > 0)
        passage_of(s, stage - 1, micro_batch)->gradient =
            transfer(in, &device->up, in->stages[stage - 1].send_bytes / in->micro_batches, device->now);
}

/* Does the n-th pass of a stage if it is known when its input arrives. */
static bool try_pass(struct simulator *s, int stage, int n, double jitter) {
    struct device *device = &s->devices[stage];
    int micro_batch;
    bool forward = nth_pass(s->in, stage, n, &micro_batch);
    struct passage *passage = passage_of(s, stage, micro_batch);
    double input = forward ? passage->arrived : passage->gradient;
    if (input == UNKNOWN) return false;
    wait_until(device, &device->starved, input);
    if (forward)
        forward_pass(s, stage, micro_batch, jitter);
    else
        backward_pass(s, stage, micro_batch, jitter);
    return true;
}

static void forget_micro_batches(struct simulator *s) {
    int last = s->in->stage_count - 1;
    for (int stage = 0; stage <= last; stage++) {
        s->devices[stage].head = 0;
        for (int i = 0; i < s->in->micro_batches; i++) {
            struct passage *passage = passage_of(s, stage, i);
            passage->arrived = stage > 0 ? UNKNOWN : 0;
            passage->gradient = stage < last ? UNKNOWN : 0;
        }
    }
}

static void flushed_batch(struct simulator *s, int64_t step) {
    const struct lam_simulation *in = s->in;
    int done[LAM_SIMULATED_STAGES] = {0}, passes = 2 * in->micro_batches;
    forget_micro_batches(s);
    for (int complete = 0; complete < in->stage_count;) {
        complete = 0;
        for (int stage = 0; stage < in->stage_count; stage++) {
            double jitter = jitter_of(in, stage, step);
            while (done[stage] < passes && try_pass(s, stage, done[stage], jitter)) done[stage]++;
            complete += done[stage] == passes;
        }
    }
    for (int stage = 0; stage < in->stage_count; stage++)
        work(&s->devices[stage], jitter_of(in, stage, step) * in->stages[stage].update);
}

/* ---- checks ---- */

static lam_status check_count(const char *name, int value, int least, int most) {
    if (value >= least && value <= most) return LAM_OK;
    return lam_fail(LAM_ERR_INVALID, "simulation: %s is %d; it can be %d to %d", name, value, least, most);
}

static lam_status check_amount(const char *name, double value) {
    if (isfinite(value) && value >= 0) return LAM_OK;
    return lam_fail(LAM_ERR_INVALID, "simulation: %s is %g; it must be a number, 0 or more", name, value);
}

static lam_status check_stage(const struct lam_simulated_stage *stage) {
    LAM_TRY(check_amount("forward", stage->forward));
    LAM_TRY(check_amount("aux", stage->aux));
    LAM_TRY(check_amount("backward", stage->backward));
    LAM_TRY(check_amount("update", stage->update));
    LAM_TRY(check_amount("send_bytes", stage->send_bytes));
    return check_amount("snapshot_bytes", stage->snapshot_bytes);
}

static lam_status check(const struct lam_simulation *in) {
    enum { MOST = 1 << 24 };
    LAM_TRY(check_count("schedule", (int)in->schedule, 0, LAM_SIMULATED_SCHEDULES - 1));
    LAM_TRY(check_count("stage_count", in->stage_count, 1, LAM_SIMULATED_STAGES));
    LAM_TRY(check_count("batches", in->batches, 1, MOST));
    if (is_local(in)) {
        LAM_TRY(check_count("queue", in->queue, 1, MOST));
        LAM_TRY(check_count("ema_lag", in->ema_lag, 0, MOST));
    } else {
        LAM_TRY(check_count("micro_batches", in->micro_batches, 1, MOST));
        LAM_TRY(check_amount("micro_overhead", in->micro_overhead));
    }
    LAM_TRY(check_amount("link_bytes_per_s", in->link_bytes_per_s));
    LAM_TRY(check_amount("latency", in->latency));
    if (!(in->jitter >= 0 && in->jitter <= 1))
        return lam_fail(LAM_ERR_INVALID, "simulation: jitter is %g; it can be 0 to 1", in->jitter);
    for (int i = 0; i < in->stage_count; i++) {
        lam_status status = check_stage(&in->stages[i]);
        char prefix[32];
        snprintf(prefix, sizeof prefix, "stage %d of %d", i + 1, in->stage_count);
        if (status != LAM_OK) return lam_fail_in(status, prefix);
    }
    return LAM_OK;
}

/* ---- the whole ---- */

static double ideal_seconds(const struct lam_simulation *in) {
    double sum = 0, slowest = 0;
    for (int i = 0; i < in->stage_count; i++) {
        const struct lam_simulated_stage *stage = &in->stages[i];
        double seconds = stage->forward + stage->backward + stage->update + (is_local(in) ? stage->aux : 0);
        sum += seconds;
        slowest = fmax(slowest, seconds);
    }
    return in->schedule == LAM_SIMULATE_SEQUENTIAL ? sum : slowest;
}

static double latest(const struct simulator *s) {
    double time = 0;
    for (int i = 0; i < s->in->stage_count; i++) time = fmax(time, s->devices[i].now);
    return time;
}

/* How far back a step looks: to the batch whose slot it takes over, and to the update that its EMA follows. */
static int64_t window_of(const struct lam_simulation *in) {
    if (!is_local(in)) return in->micro_batches;
    int64_t back = in->queue > in->ema_lag ? in->queue : (int64_t)in->ema_lag + 1;
    return back + 1 < in->batches ? back + 1 : in->batches;
}

static lam_status summarise(struct simulator *s, double middle, struct lam_simulation_result *result) {
    const struct lam_simulation *in = s->in;
    double seconds = latest(s);
    if (!(seconds > 0 && isfinite(seconds)))
        return lam_fail(LAM_ERR_INVALID, "simulation: %s takes %g seconds; give the stages times that add up",
                        lam_simulated_schedule_name(in->schedule), seconds);
    *result = (struct lam_simulation_result){
        .seconds = seconds,
        .steady_seconds = (seconds - middle) / (in->batches - in->batches / 2),
        .ideal_seconds = ideal_seconds(in),
    };
    for (int i = 0; i < in->stage_count; i++) {
        struct device *device = &s->devices[i];
        wait_until(device, &device->starved, seconds);
        result->busy[i] = device->busy / seconds;
        result->starved[i] = device->starved / seconds;
        result->blocked[i] = device->blocked / seconds;
        result->peak_waiting[i] = s->peak_waiting[i];
    }
    return LAM_OK;
}

lam_status lam_simulate(const struct lam_simulation *simulation, struct lam_simulation_result *result) {
    LAM_TRY(check(simulation));
    struct simulator s = {.in = simulation, .window = window_of(simulation)};
    s.passages = calloc((size_t)(s.window * simulation->stage_count), sizeof *s.passages);
    if (!s.passages) return lam_no_memory();
    double middle = 0; /* when the first half of the batches was done */
    for (int step = 0; step < simulation->batches; step++) {
        if (is_local(simulation))
            local_batch(&s, step);
        else
            flushed_batch(&s, step);
        if (step + 1 == simulation->batches / 2) middle = latest(&s);
    }
    lam_status status = summarise(&s, middle, result);
    free(s.passages);
    return status;
}
