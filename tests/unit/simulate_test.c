/* The simulation against closed forms, timelines worked out by hand, and a slow second simulation that moves a clock
 * tick by tick. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "base/rng.h"
#include "pipeline/simulate.h"

#define NEAR(a, b) near(a, b, __LINE__)
static void near(double a, double b, int line) {
    if (!(fabs(a - b) <= 1e-9 * fmax(1, fabs(b)))) fail_msg("line %d: %.12g is not %.12g", line, a, b);
}

#define RUN(simulation) run(&(simulation))
static struct lam_simulation_result run(const struct lam_simulation *simulation) {
    struct lam_simulation_result result;
    if (lam_simulate(simulation, &result) != LAM_OK) fail_msg("%s", lam_error_text());
    return result;
}

enum { STAGES = 4 };
static struct lam_simulated_stage stages[STAGES];

/* `count` stages of 3 s: forward, backward, and the rest a second each. */
static struct lam_simulation equal_stages(enum lam_simulated_schedule schedule, int count, int batches) {
    for (int i = 0; i < STAGES; i++)
        stages[i] = (struct lam_simulated_stage){.forward = 1, .aux = 0.75, .backward = 1, .update = 0.25};
    return (struct lam_simulation){.schedule = schedule,
                                   .stages = stages,
                                   .stage_count = count,
                                   .batches = batches,
                                   .queue = 2,
                                   .micro_batches = 4};
}

/* ---- sequential ---- */

static void sequential_is_the_sum(void **state) {
    (void)state;
    struct lam_simulation s = equal_stages(LAM_SIMULATE_SEQUENTIAL, 4, 10);
    stages[1].aux = 3;
    stages[2].forward = 0.5;
    stages[3].update = 2;
    for (int i = 0; i < STAGES; i++) stages[i].snapshot_bytes = 1;
    double work[] = {3, 5.25, 2.5, 4.75};
    struct lam_simulation_result r = RUN(s);
    NEAR(r.seconds, 155);
    NEAR(r.steady_seconds, 15.5);
    NEAR(r.ideal_seconds, 15.5);
    for (int i = 0; i < STAGES; i++) {
        NEAR(r.busy[i], work[i] / 15.5);
        NEAR(r.starved[i], 1 - work[i] / 15.5);
        NEAR(r.blocked[i], 0);
    }
}

static void sequential_transfers_hide_behind_the_rest_of_a_step(void **state) {
    (void)state;
    struct lam_simulation s = equal_stages(LAM_SIMULATE_SEQUENTIAL, 3, 5);
    s.link_bytes_per_s = 100;
    s.latency = 0.5;
    stages[0].send_bytes = 100; /* 1.5 s, of which all is hidden */
    stages[1].send_bytes = 250; /* 3 s, of which 2 are hidden */
    NEAR(RUN(s).seconds, 5 * (9 + 1));
    stages[0].late_send = stages[1].late_send = true; /* nothing is hidden */
    NEAR(RUN(s).seconds, 5 * (9 + 1.5 + 3));
}

/* ---- ppll ---- */

static void ppll_fills_by_forward_passes(void **state) {
    (void)state;
    for (int queue = 1; queue < 200; queue *= 4) {
        struct lam_simulation s = equal_stages(LAM_SIMULATE_PPLL, 4, 20);
        s.queue = queue;
        struct lam_simulation_result r = RUN(s);
        NEAR(r.seconds, 20 * 3 + 3 * 1);
        NEAR(r.steady_seconds, 3);
        NEAR(r.ideal_seconds, 3);
        for (int i = 0; i < STAGES; i++) {
            NEAR(r.starved[i], 3.0 / (3 * 20 + 3)); /* (K - 1) / (3 N + K - 1) */
            NEAR(r.blocked[i], 0);
            assert_int_equal(r.peak_waiting[i], 0);
        }
    }
}

static void ppll_that_sends_late_fills_by_steps(void **state) {
    (void)state;
    struct lam_simulation s = equal_stages(LAM_SIMULATE_PPLL, 4, 20);
    for (int i = 0; i < STAGES; i++) stages[i].late_send = true;
    NEAR(RUN(s).seconds, (20 + 3) * 3);
    stages[0].late_send = false;
    NEAR(RUN(s).seconds, 1 + (20 + 2) * 3);
}

static void ppll_runs_at_the_pace_of_the_slowest(void **state) {
    (void)state;
    for (int slow = 0; slow < STAGES; slow++)
        for (int queue = 1; queue <= 64; queue *= 8) {
            struct lam_simulation s = equal_stages(LAM_SIMULATE_PPLL, 4, 400);
            s.queue = queue;
            stages[slow].backward = 4.5;
            struct lam_simulation_result r = RUN(s);
            NEAR(r.seconds, slow + 400 * 6.5); /* those after it end before it does */
            NEAR(r.steady_seconds, 6.5);
            NEAR(r.ideal_seconds, 6.5);
            NEAR(r.busy[slow], 400 * 6.5 / r.seconds);
        }
}

static void a_slow_stage_blocks_those_before_and_starves_those_after(void **state) {
    (void)state;
    struct lam_simulation s = equal_stages(LAM_SIMULATE_PPLL, 3, 1000);
    stages[1].backward = 4; /* 6 s */
    struct lam_simulation_result r = RUN(s);
    assert_true(fabs(r.blocked[0] - 0.5) < 0.01 && r.starved[0] < 0.01);
    assert_true(r.busy[1] > 0.99);
    assert_true(fabs(r.starved[2] - 0.5) < 0.01);
    NEAR(r.blocked[2], 0);
    s.batches = 3; /* stage 0 hands over at 1, 4 and 7: just then batch 0 is finished */
    r = RUN(s);
    NEAR(r.seconds, 1 + 3 * 6);
    NEAR(r.blocked[0], 0);
    s.queue = 1; /* at 1, 7 (it could at 4) and 13 (it could at 10) */
    r = RUN(s);
    NEAR(r.seconds, 1 + 3 * 6);
    NEAR(r.blocked[0], (3 + 3) / 19.0);
}

static void queues_hold_what_their_depth_allows(void **state) {
    (void)state;
    struct lam_simulation s = equal_stages(LAM_SIMULATE_PPLL, 2, 101);
    stages[1].backward = 4; /* 6 s */
    for (int queue = 1; queue <= 8; queue++) {
        s.queue = queue;
        assert_int_equal(RUN(s).peak_waiting[1], queue - 1); /* and one is being worked at */
    }
    s.queue = 1000;
    struct lam_simulation_result r = RUN(s);
    assert_int_equal(r.peak_waiting[1], 50);
    assert_int_equal(r.peak_waiting[0], 0);
    NEAR(r.blocked[0], 0);
    NEAR(r.seconds, 1 + 101 * 6);
}

static void slots_taken_before_forward(void **state) {
    (void)state;
    struct lam_simulation s = equal_stages(LAM_SIMULATE_PPLL, 2, 100);
    s.early_slot = true;
    NEAR(RUN(s).steady_seconds, 3);
    s.queue = 1; /* forward waits until the batch before is finished */
    struct lam_simulation_result r = RUN(s);
    NEAR(r.seconds, 99 * (1 + 3) + 1 + 3);
    NEAR(r.blocked[0], 99.0 / r.seconds);
    stages[0].late_send = true;
    NEAR(RUN(s).seconds, 100 * (3 + 3)); /* one after the other */
    s.queue = 2;                         /* two slots go round: send, work there, work here */
    s.link_bytes_per_s = 1;
    s.latency = 1;
    NEAR(RUN(s).steady_seconds, (3 + 1 + 3) / 2.0);
    s.early_slot = false;
    NEAR(RUN(s).steady_seconds, 3);
}

static void transfers_bound_the_pace(void **state) {
    (void)state;
    struct lam_simulation s = equal_stages(LAM_SIMULATE_PPLL, 2, 100);
    s.link_bytes_per_s = 1e9;
    s.latency = 0.5;
    stages[0].send_bytes = 4e9; /* 4.5 s; then 3 s at the end */
    struct lam_simulation_result r = RUN(s);
    NEAR(r.seconds, 1 + 100 * 4.5 + 3);
    NEAR(r.busy[1], 300 / r.seconds);
    NEAR(r.starved[1], 1 - 300 / r.seconds);
    assert_true(fabs(r.blocked[0] - 1.5 / 4.5) < 0.01);
    s.queue = 1; /* nothing overlaps with the one batch that may be on its way */
    NEAR(RUN(s).steady_seconds, 4.5 + 3);
    s.queue = 1000;
    r = RUN(s);
    NEAR(r.seconds, 1 + 100 * 4.5 + 3);
    NEAR(r.blocked[0], 0);
    s.latency = 0;
    stages[0].send_bytes = 2e9; /* hidden */
    s.queue = 2;
    NEAR(RUN(s).seconds, 1 + 2 + 100 * 3);
    s.link_bytes_per_s = 0; /* no link: latency does not count either */
    s.latency = 7;
    NEAR(RUN(s).seconds, 1 + 100 * 3);
}

/* ---- snapshots ---- */

static struct lam_simulation two_with_snapshots(int batches) {
    struct lam_simulation s = equal_stages(LAM_SIMULATE_PPLL, 2, batches);
    for (int i = 0; i < 2; i++) stages[i] = (struct lam_simulated_stage){.forward = 0.5, .backward = 0.5};
    stages[0].send_bytes = 0.25;
    stages[1].snapshot_bytes = 0.5;
    s.link_bytes_per_s = 1;
    s.queue = 4;
    return s;
}

static void snapshots_make_a_stage_wait(void **state) {
    (void)state;
    /* Stage 0 ends its steps at 1, 2.25 (0.25 late: snapshot 0 is there), 3.25 (snapshot 1 is there just then);
     * stage 1 begins at 0.75, 1.75, 3 and ends at 4. */
    struct lam_simulation s = two_with_snapshots(3);
    struct lam_simulation_result r = RUN(s);
    NEAR(r.seconds, 4);
    NEAR(r.starved[0], (0.25 + 0.75) / 4);
    NEAR(r.starved[1], (0.75 + 0.25) / 4);
    NEAR(r.blocked[0], 0);
    s.batches = 1; /* the first step needs none */
    NEAR(RUN(s).seconds, 0.5 + 0.25 + 1);
    s.batches = 400; /* forward, send, work there, snapshot: two steps */
    NEAR(RUN(s).steady_seconds, (0.5 + 0.25 + 1 + 0.5) / 2);
    stages[1].snapshot_bytes = 0.25; /* fits into one */
    NEAR(RUN(s).steady_seconds, 1);
}

static void snapshots_and_late_sends(void **state) {
    (void)state;
    struct lam_simulation s = two_with_snapshots(400);
    stages[0].late_send = true;
    NEAR(RUN(s).steady_seconds, (1 + 0.25 + 1 + 0.5) / 2);
    s.ema_lag = 1; /* the same way, but three steps for it */
    NEAR(RUN(s).steady_seconds, 1);
    stages[1].snapshot_bytes = 0.9;
    stages[0].send_bytes = 0.9;
    s.batches = 402; /* whole rounds in the second half */
    NEAR(RUN(s).steady_seconds, (1 + 0.9 + 1 + 0.9) / 3);
    s.ema_lag = 2;
    NEAR(RUN(s).steady_seconds, 1);
}

static void snapshots_make_starved_what_else_would_be_blocked(void **state) {
    (void)state;
    struct lam_simulation s = two_with_snapshots(400);
    s.link_bytes_per_s = 0;
    stages[1].backward = 1.5;
    struct lam_simulation_result r = RUN(s);
    NEAR(r.blocked[0], 0);
    assert_true(fabs(r.starved[0] - 0.5) < 0.01);
    stages[1].snapshot_bytes = 0;
    r = RUN(s);
    assert_true(fabs(r.blocked[0] - 0.5) < 0.01);
    assert_true(r.starved[0] < 0.01);
    stages[0].snapshot_bytes = 1e9; /* nobody stands before stage 0 */
    NEAR(RUN(s).seconds, r.seconds);
}

/* ---- gpipe and 1f1b ---- */

static void flushed_schedules_have_the_known_bubble(void **state) {
    (void)state;
    for (int schedule = LAM_SIMULATE_GPIPE; schedule <= LAM_SIMULATE_1F1B; schedule++)
        for (int k = 1; k <= STAGES; k++)
            for (int m = 1; m <= 16; m++) {
                struct lam_simulation s = equal_stages(schedule, k, 6);
                for (int i = 0; i < k; i++) {
                    stages[i].update = 0;
                    stages[i].backward = 2;
                    stages[i].snapshot_bytes = 1; /* these, aux and late_send belong to local learning */
                    stages[i].late_send = true;
                }
                s.micro_batches = m;
                struct lam_simulation_result r = RUN(s);
                NEAR(r.seconds, 6 * (m + k - 1) * (1.0 + 2) / m);
                NEAR(r.steady_seconds, (m + k - 1) * (1.0 + 2) / m);
                NEAR(r.ideal_seconds, 3);
                for (int i = 0; i < k; i++) {
                    NEAR(r.starved[i], (k - 1.0) / (m + k - 1));
                    NEAR(r.blocked[i], 0);
                }
                s.micro_overhead = 0.125;
                for (int i = 0; i < k; i++) stages[i].update = 0.5;
                NEAR(RUN(s).seconds, 6 * ((m + k - 1) * (3.0 / m + 0.25) + 0.5));
            }
}

static void flushed_schedules_by_hand(void **state) {
    (void)state;
    struct lam_simulation s = equal_stages(LAM_SIMULATE_GPIPE, 2, 1);
    for (int i = 0; i < 2; i++) stages[i] = (struct lam_simulated_stage){.forward = 3, .backward = 6};
    s.micro_batches = 3; /* passes of 1 s and 2 s, transfers of 1 s */
    stages[0].send_bytes = 1.5;
    s.link_bytes_per_s = 1;
    s.latency = 0.5;
    /* stage 0: 0 1 2 - - - - - B0 8..10 10..12 12..14; stage 1: 2 3 4, B0 5..7 7..9 9..11 */
    struct lam_simulation_result r = RUN(s);
    NEAR(r.seconds, 14);
    assert_int_equal(r.peak_waiting[1], 0);
    /* stage 0: F0 0 F1 1 B0 6..8 F2 8..9 B1 9..11 B2 14..16; stage 1: F0 2 B0 3..5 F1 5 B1 6..8 F2 10 B2 11..13 */
    s.schedule = LAM_SIMULATE_1F1B;
    r = RUN(s);
    NEAR(r.seconds, 16);
    assert_int_equal(r.peak_waiting[1], 1);
    stages[0].send_bytes = 1.5 + 1.5; /* transfers of 1.5 s are 1.5 times as long as a forward pass */
    s.schedule = LAM_SIMULATE_GPIPE;  /* F there 2.5 4 5.5; B0 6.5..8.5, 10.5, 12.5; back at 10, 12, 14 */
    NEAR(RUN(s).seconds, 16);
    stages[1].update = 8; /* of the stage that is done first: hidden in part */
    NEAR(RUN(s).seconds, 12.5 + 8);
}

static void micro_batches_wait_in_every_batch(void **state) {
    (void)state;
    int more = 0;
    for (uint64_t seed = 1; seed <= 20; seed++) {
        struct lam_simulation s = equal_stages(LAM_SIMULATE_GPIPE, 2, 1);
        s.micro_batches = 16;
        s.jitter = 0.5;
        s.seed = seed;
        int first = RUN(s).peak_waiting[1];
        s.batches = 50;
        int all = RUN(s).peak_waiting[1];
        assert_true(all >= first && all < 16);
        more += all > first;
    }
    assert_true(more > 15);
}

/* ---- a second simulation, clock tick by clock tick ---- */

enum phase { BATCH, EARLY_ROOM, FORWARD, HAND_OVER, REST, FINISH, LATE_HAND_OVER, SNAPSHOT };
struct ticking_link {
    int given, arrived, duration, left;
};
struct ticking_stage {
    int step, left, finished, busy, starved, blocked;
    enum phase phase;
    struct ticking_link down, up;
};

static bool has_room(const struct lam_simulation *s, const struct ticking_stage *t, int i) {
    return i + 1 == s->stage_count || t[i].step - t[i + 1].finished < s->queue;
}

/* One transition that takes no time; false: there is none now. */
static bool tick_transition(const struct lam_simulation *s, struct ticking_stage *t, int i) {
    const struct lam_simulated_stage *stage = &s->stages[i];
    bool last = i + 1 == s->stage_count;
    if (t[i].left > 0) return false;
    switch (t[i].phase) {
    case BATCH:
        if (t[i].step == s->batches || (i > 0 && t[i - 1].down.arrived <= t[i].step)) return false;
        break;
    case EARLY_ROOM:
        if (s->early_slot && !has_room(s, t, i)) return false;
        break;
    case FORWARD:
        t[i].left = (int)stage->forward;
        break;
    case HAND_OVER:
    case LATE_HAND_OVER:
        if (last || stage->late_send != (t[i].phase == LATE_HAND_OVER)) break;
        if (!has_room(s, t, i)) return false;
        t[i].down.given++;
        break;
    case REST:
        t[i].left = (int)(stage->aux + stage->backward + stage->update);
        break;
    case FINISH:
        t[i].finished++;
        if (i > 0 && stage->snapshot_bytes > 0) t[i].up.given++;
        break;
    case SNAPSHOT:
        if (!last && s->stages[i + 1].snapshot_bytes > 0 && t[i + 1].up.arrived < t[i].step - s->ema_lag)
            return false;
        t[i].step++;
        t[i].phase = BATCH;
        return true;
    }
    t[i].phase++;
    return true;
}

static bool tick_link_start(struct ticking_link *link) {
    if (link->left > 0 || link->given == link->arrived) return false;
    if (link->duration == 0)
        link->arrived++;
    else
        link->left = link->duration;
    return link->duration == 0;
}

static void tick_link(struct ticking_link *link) {
    if (link->left > 0 && --link->left == 0) link->arrived++;
}

static void tick_stage(struct ticking_stage *t) {
    if (t->left > 0)
        t->left--, t->busy++;
    else if (t->phase == EARLY_ROOM || t->phase == HAND_OVER || t->phase == LATE_HAND_OVER)
        t->blocked++;
    else
        t->starved++;
}

/* Ticks until all is done. */
static int tick_through(const struct lam_simulation *s, struct ticking_stage *t) {
    for (int i = 0; i < s->stage_count; i++) {
        t[i].down.duration = (int)(s->latency + s->stages[i].send_bytes / s->link_bytes_per_s);
        t[i].up.duration = (int)(s->latency + s->stages[i].snapshot_bytes / s->link_bytes_per_s);
    }
    for (int time = 0;; time++) {
        bool changed = true, done = true;
        while (changed) {
            changed = false;
            for (int i = 0; i < s->stage_count; i++) {
                changed |= tick_transition(s, t, i);
                changed |= tick_link_start(&t[i].down);
                changed |= tick_link_start(&t[i].up);
            }
        }
        for (int i = 0; i < s->stage_count; i++) done = done && t[i].step == s->batches;
        if (done) return time;
        for (int i = 0; i < s->stage_count; i++) {
            tick_stage(&t[i]);
            tick_link(&t[i].down);
            tick_link(&t[i].up);
        }
    }
}

static void draw(struct lam_rng *rng, struct lam_simulation *s) {
    for (int i = 0; i < STAGES; i++)
        stages[i] = (struct lam_simulated_stage){.forward = lam_rng_below(rng, 5),
                                                 .aux = lam_rng_below(rng, 3),
                                                 .backward = 1 + lam_rng_below(rng, 6),
                                                 .update = lam_rng_below(rng, 2),
                                                 .late_send = lam_rng_below(rng, 2) == 0,
                                                 .send_bytes = lam_rng_below(rng, 6),
                                                 .snapshot_bytes = lam_rng_below(rng, 5)};
    *s = (struct lam_simulation){.schedule = LAM_SIMULATE_PPLL,
                                 .stages = stages,
                                 .stage_count = 1 + (int)lam_rng_below(rng, STAGES),
                                 .batches = 1 + (int)lam_rng_below(rng, 30),
                                 .queue = 1 + (int)lam_rng_below(rng, 4),
                                 .early_slot = lam_rng_below(rng, 4) == 0,
                                 .ema_lag = (int)lam_rng_below(rng, 3),
                                 .micro_batches = 1 + (int)lam_rng_below(rng, 6),
                                 .link_bytes_per_s = 1,
                                 .latency = lam_rng_below(rng, 3)};
}

static void agrees_with_a_clock(void **state) {
    (void)state;
    struct lam_rng rng = lam_rng_make(5, LAM_RNG_TEST, 0, 0);
    for (int trial = 0; trial < 3000; trial++) {
        struct lam_simulation s;
        struct ticking_stage t[STAGES] = {0};
        draw(&rng, &s);
        struct lam_simulation_result r = RUN(s);
        int ticks = tick_through(&s, t);
        NEAR(r.seconds, ticks);
        for (int i = 0; i < s.stage_count; i++) {
            NEAR(r.busy[i] * r.seconds, t[i].busy);
            NEAR(r.starved[i] * r.seconds, t[i].starved);
            NEAR(r.blocked[i] * r.seconds, t[i].blocked);
        }
    }
}

/* ---- what holds for all of them ---- */

static void shares_make_one(void **state) {
    (void)state;
    struct lam_rng rng = lam_rng_make(6, LAM_RNG_TEST, 0, 0);
    for (int trial = 0; trial < 1000; trial++) {
        struct lam_simulation s;
        draw(&rng, &s);
        s.schedule = trial % LAM_SIMULATED_SCHEDULES;
        struct lam_simulation_result r = RUN(s);
        bool local = s.schedule < LAM_SIMULATE_GPIPE;
        for (int i = 0; i < s.stage_count; i++) {
            double work =
                stages[i].forward + stages[i].backward + stages[i].update + (local ? stages[i].aux : 0);
            NEAR(r.busy[i] * r.seconds, s.batches * work);
        }
        s.jitter = 0.7;
        struct lam_simulation_result shaken = RUN(s);
        for (int i = 0; i < s.stage_count; i++) {
            NEAR(r.busy[i] + r.starved[i] + r.blocked[i], 1);
            NEAR(shaken.busy[i] + shaken.starved[i] + shaken.blocked[i], 1);
            assert_true(shaken.busy[i] >= 0 && shaken.starved[i] >= 0 && shaken.blocked[i] >= 0);
        }
        assert_true(r.seconds >= s.batches * r.ideal_seconds * (1 - 1e-12));
    }
}

/* Takes something away, or gives room: what a change for the better can be. */
static void improve(struct lam_rng *rng, struct lam_simulation *s) {
    struct lam_simulated_stage *stage = &stages[lam_rng_below(rng, (uint32_t)s->stage_count)];
    double *fields[] = {&stage->forward, &stage->aux,        &stage->backward,
                        &stage->update,  &stage->send_bytes, &stage->snapshot_bytes,
                        &s->latency};
    uint32_t choice = lam_rng_below(rng, 11);
    if (choice < 7)
        *fields[choice] *= (double)lam_rng_uniform(rng);
    else if (choice == 7)
        s->queue++;
    else if (choice == 8)
        s->ema_lag++;
    else if (choice == 9)
        s->link_bytes_per_s *= 1.5;
    else
        s->early_slot = false;
}

static void faster_parts_make_nothing_slower(void **state) {
    (void)state;
    struct lam_rng rng = lam_rng_make(7, LAM_RNG_TEST, 0, 0);
    for (int trial = 0; trial < 4000; trial++) {
        struct lam_simulation s;
        draw(&rng, &s);
        s.schedule = trial % LAM_SIMULATED_SCHEDULES;
        s.jitter = trial % 3 == 0 ? 0.3 : 0;
        double before = RUN(s).seconds;
        improve(&rng, &s);
        assert_true(RUN(s).seconds <= before * (1 + 1e-12));
    }
}

static void ppll_is_never_slower_than_sequential(void **state) {
    (void)state;
    struct lam_rng rng = lam_rng_make(8, LAM_RNG_TEST, 0, 0);
    for (int trial = 0; trial < 1000; trial++) {
        struct lam_simulation s;
        draw(&rng, &s);
        s.jitter = 0.5;
        double ppll = RUN(s).seconds;
        s.schedule = LAM_SIMULATE_SEQUENTIAL;
        assert_true(ppll <= RUN(s).seconds * (1 + 1e-12));
    }
}

static void jitter_comes_from_the_seed(void **state) {
    (void)state;
    struct lam_simulation s = equal_stages(LAM_SIMULATE_PPLL, 4, 300);
    double still = RUN(s).seconds;
    s.jitter = 0.4;
    s.seed = 11;
    struct lam_simulation_result a, b;
    memset(&a, 0, sizeof a); /* the bytes between the fields, too */
    memset(&b, 0, sizeof b);
    assert_int_equal(lam_simulate(&s, &a), LAM_OK);
    assert_int_equal(lam_simulate(&s, &b), LAM_OK);
    assert_memory_equal(&a, &b, sizeof a);
    assert_true(a.seconds > still); /* the slowest of several, each time */
    assert_true(a.seconds < 1.4 * still);
    s.seed = 12;
    assert_true(RUN(s).seconds != a.seconds);
    s.seed = 11;
    s.queue = 50; /* levels the differences out */
    assert_true(RUN(s).seconds < a.seconds);

    s.stage_count = 1; /* the same numbers under every schedule, their mean 1 */
    s.micro_batches = 1;
    stages[0].aux = 0;
    double alone = RUN(s).seconds;
    assert_true(alone != 300 * 2.25 && fabs(alone / (300 * 2.25) - 1) < 0.05);
    for (int schedule = 0; schedule < LAM_SIMULATED_SCHEDULES; schedule++) {
        s.schedule = schedule;
        NEAR(RUN(s).seconds, alone);
    }
}

static void steady_leaves_out_the_fill(void **state) {
    (void)state;
    struct lam_simulation s = equal_stages(LAM_SIMULATE_PPLL, 4, 1);
    NEAR(RUN(s).steady_seconds, 3 + 3);
    s.batches = 2;
    NEAR(RUN(s).steady_seconds, 3);
    s.batches = 7;
    NEAR(RUN(s).steady_seconds, 3);
}

static void many_stages(void **state) {
    (void)state;
    struct lam_simulated_stage many[LAM_SIMULATED_STAGES];
    for (int i = 0; i < LAM_SIMULATED_STAGES; i++)
        many[i] = (struct lam_simulated_stage){.forward = 1, .backward = 2};
    struct lam_simulation s = {.schedule = LAM_SIMULATE_PPLL,
                               .stages = many,
                               .stage_count = LAM_SIMULATED_STAGES,
                               .batches = 10,
                               .queue = 2,
                               .micro_batches = 256};
    NEAR(RUN(s).seconds, 30 + 127);
    s.schedule = LAM_SIMULATE_1F1B;
    NEAR(RUN(s).seconds, 10 * 3.0 * (256 + 127) / 256);
    s.schedule = LAM_SIMULATE_GPIPE;
    NEAR(RUN(s).seconds, 10 * 3.0 * (256 + 127) / 256);
}

/* ---- bad input ---- */

#define REFUSED(simulation, word) refused(&(simulation), word, __LINE__)
static void refused(const struct lam_simulation *simulation, const char *word, int line) {
    struct lam_simulation_result result, before;
    memset(&result, 0x5A, sizeof result);
    before = result;
    lam_status status = lam_simulate(simulation, &result);
    if (status != LAM_ERR_INVALID) fail_msg("line %d: %s", line, lam_status_name(status));
    if (!strstr(lam_error_text(), word)) fail_msg("line %d: %s", line, lam_error_text());
    assert_memory_equal(&result, &before, sizeof result);
}

static void counts_are_checked(void **state) {
    (void)state;
    struct lam_simulation good = equal_stages(LAM_SIMULATE_PPLL, 4, 10), s;
#define BAD(field, value, word) (s = good, s.field = value, REFUSED(s, word))
    BAD(schedule, LAM_SIMULATED_SCHEDULES, "schedule is 4");
    BAD(stage_count, 0, "stage_count is 0");
    BAD(stage_count, LAM_SIMULATED_STAGES + 1, "stage_count is 129");
    BAD(batches, 0, "batches is 0");
    BAD(queue, 0, "queue is 0");
    BAD(ema_lag, -1, "ema_lag is -1");
    BAD(link_bytes_per_s, -1, "link_bytes_per_s is -1");
    BAD(link_bytes_per_s, INFINITY, "link_bytes_per_s is inf");
    BAD(latency, NAN, "latency is");
    BAD(jitter, 1.5, "jitter is 1.5");
    BAD(jitter, -0.1, "jitter is -0.1");
    BAD(jitter, NAN, "jitter is");
    good.schedule = LAM_SIMULATE_GPIPE;
    BAD(micro_batches, 0, "micro_batches is 0");
    BAD(micro_overhead, -1, "micro_overhead is -1");
    good.queue = 0; /* what the schedule does not use is not looked at */
    RUN(good);
    good.schedule = LAM_SIMULATE_SEQUENTIAL;
    good.queue = 1;
    good.micro_batches = 0;
    RUN(good);
}

static void times_are_checked(void **state) {
    (void)state;
    double values[] = {-1, NAN, INFINITY};
    for (int i = 0; i < 3; i++) {
        struct lam_simulation s = equal_stages(LAM_SIMULATE_PPLL, 4, 10);
#define BAD_TIME(field)                                                                                      \
    (stages[2].field = values[i], REFUSED(s, "stage 3 of 4"), REFUSED(s, #field), stages[2].field = 0)
        BAD_TIME(forward);
        BAD_TIME(aux);
        BAD_TIME(backward);
        BAD_TIME(update);
        BAD_TIME(send_bytes);
        BAD_TIME(snapshot_bytes);
    }
    struct lam_simulation s = equal_stages(LAM_SIMULATE_GPIPE, 1, 10);
    stages[0] = (struct lam_simulated_stage){.aux = 1};
    REFUSED(s, "gpipe takes 0 seconds");
    s.schedule = LAM_SIMULATE_PPLL;
    NEAR(RUN(s).seconds, 10);
    stages[0].aux = 1e308;
    REFUSED(s, "takes inf seconds");
}

static void schedules_have_names(void **state) {
    (void)state;
    assert_string_equal(lam_simulated_schedule_name(LAM_SIMULATE_SEQUENTIAL), "sequential");
    assert_string_equal(lam_simulated_schedule_name(LAM_SIMULATE_PPLL), "ppll");
    assert_string_equal(lam_simulated_schedule_name(LAM_SIMULATE_GPIPE), "gpipe");
    assert_string_equal(lam_simulated_schedule_name(LAM_SIMULATE_1F1B), "1f1b");
    assert_string_equal(lam_simulated_schedule_name(LAM_SIMULATED_SCHEDULES), "unknown");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sequential_is_the_sum),
        cmocka_unit_test(sequential_transfers_hide_behind_the_rest_of_a_step),
        cmocka_unit_test(ppll_fills_by_forward_passes),
        cmocka_unit_test(ppll_that_sends_late_fills_by_steps),
        cmocka_unit_test(ppll_runs_at_the_pace_of_the_slowest),
        cmocka_unit_test(a_slow_stage_blocks_those_before_and_starves_those_after),
        cmocka_unit_test(queues_hold_what_their_depth_allows),
        cmocka_unit_test(slots_taken_before_forward),
        cmocka_unit_test(transfers_bound_the_pace),
        cmocka_unit_test(snapshots_make_a_stage_wait),
        cmocka_unit_test(snapshots_and_late_sends),
        cmocka_unit_test(snapshots_make_starved_what_else_would_be_blocked),
        cmocka_unit_test(flushed_schedules_have_the_known_bubble),
        cmocka_unit_test(flushed_schedules_by_hand),
        cmocka_unit_test(micro_batches_wait_in_every_batch),
        cmocka_unit_test(agrees_with_a_clock),
        cmocka_unit_test(shares_make_one),
        cmocka_unit_test(faster_parts_make_nothing_slower),
        cmocka_unit_test(ppll_is_never_slower_than_sequential),
        cmocka_unit_test(jitter_comes_from_the_seed),
        cmocka_unit_test(steady_leaves_out_the_fill),
        cmocka_unit_test(many_stages),
        cmocka_unit_test(counts_are_checked),
        cmocka_unit_test(times_are_checked),
        cmocka_unit_test(schedules_have_names),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
