/* Partitions under memory limits: the optimum against an enumeration of all partitions of small problems, with a number of
 * blocks that is given and with one that is free; what devices need; and a problem as large as they come. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/rng.h"
#include "local/partition_memory.h"

enum { UNITS = 8, DEVICES = 3, SEEDS = 6000 };

/* ---- random problems: small integers, so that sums are exact ---- */

struct sample {
    struct lam_partition_problem problem;
    struct lam_partition_room room;
    double units[UNITS], aux[UNITS], speed[DEVICES];
    bool may_cut[UNITS];
    struct lam_partition_bytes block[2][UNITS * UNITS];
    struct lam_partition_front front[UNITS];
    size_t limits[DEVICES];
};

static int between(struct lam_rng *rng, int low, int high) {
    return low + (int)lam_rng_below(rng, (uint32_t)(high - low + 1));
}

static void make_memory(struct sample *s, struct lam_rng *rng) {
    int units = s->problem.units, most = between(rng, 1, 8);
    for (int u = 0; u < units; u++)
        s->front[u] = (struct lam_partition_front){(size_t)between(rng, 0, 6), (size_t)between(rng, 0, 3)};
    for (int t = 0; t < 2; t++)
        for (int a = 0; a < units; a++)
            for (int b = a; b < units; b++)
                s->block[t][a * units + b] = (struct lam_partition_bytes){
                    (size_t)(b - a + between(rng, 0, 2)), (size_t)(2 * (b - a) + between(rng, 0, most)),
                    (size_t)between(rng, 0, most)};
    bool alike = between(rng, 0, 1);
    for (int d = 0; d < DEVICES; d++) {
        s->room.block[d] = s->block[alike ? 0 : d % 2];
        s->limits[d] = between(rng, 0, 6) ? (size_t)between(rng, 1, 4 * units + 2 * most) : 0;
        if (alike && d) s->limits[d] = s->limits[0];
    }
    s->room.front = s->front;
    s->room.data = (size_t)between(rng, 0, 5);
    s->room.limits = s->limits;
}

static void make_sample(struct sample *s, uint64_t seed) {
    static const double speeds[] = {0.5, 1, 1, 2};
    struct lam_rng rng = lam_rng_make(seed, LAM_RNG_TEST, 1, 0);
    memset(s, 0, sizeof *s);
    int units = s->problem.units = between(&rng, 1, UNITS), largest = between(&rng, 0, 2) ? 4 : 100;
    s->problem.devices = between(&rng, 1, units < DEVICES ? units : DEVICES);
    s->problem.blocks = between(&rng, 0, 1) ? 0 : between(&rng, s->problem.devices, units);
    for (int u = 0; u < units; u++) {
        s->units[u] = between(&rng, 0, largest);
        s->aux[u] = between(&rng, 0, largest);
        s->may_cut[u] = between(&rng, 0, 4);
    }
    for (int d = 0; d < DEVICES; d++) s->speed[d] = speeds[between(&rng, 0, 3)];
    s->problem.unit_seconds = s->units;
    s->problem.aux_seconds = s->aux;
    s->problem.speed = between(&rng, 0, 1) ? s->speed : NULL;
    s->problem.may_cut = between(&rng, 0, 1) ? s->may_cut : NULL;
    make_memory(s, &rng);
}

/* ---- the enumeration ---- */

struct value {
    double slowest, work, squares;
};

struct enumeration {
    const struct sample *sample;
    struct lam_partition now;
    bool possible, any;
    struct value best;
};

static struct value value_of(const struct sample *s, const struct lam_partition *cut) {
    struct value v = {0, 0, 0};
    double device[DEVICES] = {0};
    for (int b = 0, first = 0; b < cut->blocks; first = cut->last_unit[b++] + 1) {
        double work = cut->last_unit[b] + 1 < s->problem.units ? s->aux[cut->last_unit[b]] : 0;
        for (int u = first; u <= cut->last_unit[b]; u++) work += s->units[u];
        device[cut->device[b]] += work;
        v.work += work;
        v.squares += work * work;
    }
    for (int d = 0; d < s->problem.devices; d++)
        v.slowest = fmax(v.slowest, device[d] / (s->problem.speed ? s->speed[d] : 1));
    return v;
}

/* Written out anew, block by block. */
static size_t bytes_of(const struct sample *s, const struct lam_partition *cut, int device) {
    size_t sum = device == 0 ? s->room.data : 0, activations = 0, workspace = 0, slot = 0;
    int blocks = 0;
    for (int b = 0; b < cut->blocks; b++) {
        int first = b ? cut->last_unit[b - 1] + 1 : 0;
        if (cut->device[b] != device) continue;
        const struct lam_partition_bytes *block =
            &s->room.block[device][first * s->problem.units + cut->last_unit[b]];
        sum += block->own;
        if (block->activations > activations) activations = block->activations;
        if (block->workspace > workspace) workspace = block->workspace;
        if (blocks > 0 && s->front[first].slot > slot) slot = s->front[first].slot;
        if (blocks == 0 && b > 0) sum += s->front[first].queue;
        blocks++;
    }
    return sum + activations + workspace + (blocks < 2 ? 0 : blocks == 2 ? slot : 2 * slot);
}

static bool fits(const struct sample *s, const struct lam_partition *cut) {
    for (int d = 0; d < s->problem.devices; d++)
        if (s->limits[d] && bytes_of(s, cut, d) > s->limits[d]) return false;
    return true;
}

static int compare(const struct value *a, const struct value *b) {
    if (a->slowest != b->slowest) return a->slowest < b->slowest ? -1 : 1;
    if (a->work != b->work) return a->work < b->work ? -1 : 1;
    return (a->squares > b->squares) - (a->squares < b->squares);
}

static void enumerate(struct enumeration *e) {
    const struct lam_partition_problem *p = &e->sample->problem;
    struct lam_partition *now = &e->now;
    int first = now->blocks ? now->last_unit[now->blocks - 1] + 1 : 0;
    int device = now->blocks ? now->device[now->blocks - 1] : 0;
    if (first == p->units) {
        if (device + 1 != p->devices || (p->blocks && now->blocks != p->blocks)) return;
        e->possible = true;
        if (!fits(e->sample, now)) return;
        struct value value = value_of(e->sample, now);
        if (!e->any || compare(&value, &e->best) < 0) e->best = value;
        e->any = true;
        return;
    }
    for (int last = first; last < p->units; last++) {
        if (p->may_cut && last + 1 < p->units && !p->may_cut[last]) continue;
        for (int d = device; d <= (now->blocks ? device + 1 : 0) && d < p->devices; d++) {
            now->last_unit[now->blocks] = last;
            now->device[now->blocks++] = d;
            enumerate(e);
            now->blocks--;
        }
    }
}

/* ---- tests ---- */

static void test_optimum(void **state) {
    (void)state;
    int fitted = 0, not_fitted = 0;
    for (uint64_t seed = 0; seed < SEEDS; seed++) {
        struct sample s;
        make_sample(&s, seed);
        struct enumeration e = {.sample = &s};
        enumerate(&e);
        struct lam_partition got;
        bool found = false;
        lam_status status = lam_partition_in_memory(&s.problem, &s.room, &got, &found);
        if (!e.possible) {
            assert_int_equal(status, LAM_ERR_INVALID); /* too few places to cut */
            continue;
        }
        if (status != LAM_OK) fail_msg("seed %d: %s", (int)seed, lam_error_text());
        if (found != e.any) fail_msg("seed %d: found %d, there is %d", (int)seed, found, e.any);
        (found ? &fitted : &not_fitted)[0]++;
        if (!found) continue;
        struct value value = value_of(&s, &got);
        if (compare(&value, &e.best) != 0)
            fail_msg("seed %d: %g %g %g instead of %g %g %g", (int)seed, value.slowest, value.work,
                     value.squares, e.best.slowest, e.best.work, e.best.squares);
        for (int d = 0; d < s.problem.devices; d++) {
            assert_int_equal(lam_partition_device_need(&s.room, &got, d).total, bytes_of(&s, &got, d));
            if (s.limits[d]) assert_in_range(bytes_of(&s, &got, d), 0, s.limits[d]);
        }
    }
    assert_true(fitted > SEEDS / 5 && not_fitted > SEEDS / 20);
}

/* Four units of 10 bytes of activations each: a limit decides how many blocks there are. */
static void test_number_of_blocks(void **state) {
    (void)state;
    static const double units[] = {1, 1, 1, 1}, aux[] = {1, 1, 1, 0};
    static const int blocks[] = {1, 2, 4}; /* by limit: 40, 20, 10 */
    struct lam_partition_bytes block[16];
    for (int a = 0; a < 4; a++)
        for (int b = a; b < 4; b++)
            block[4 * a + b] = (struct lam_partition_bytes){0, 10 * (size_t)(b - a + 1), 0};
    struct lam_partition_front front[4] = {{0}};
    struct lam_partition_problem problem = {
        .units = 4, .devices = 1, .unit_seconds = units, .aux_seconds = aux};
    for (int i = 0; i < 3; i++) {
        size_t limit = (size_t)40 >> i;
        struct lam_partition_room room = {.block = {block}, .front = front, .limits = &limit};
        struct lam_partition got;
        bool found;
        assert_int_equal(lam_partition_in_memory(&problem, &room, &got, &found), LAM_OK);
        assert_true(found);
        assert_int_equal(got.blocks, blocks[i]);
        limit--;
        if (i < 2) continue;
        assert_int_equal(lam_partition_in_memory(&problem, &room, &got, &found), LAM_OK);
        assert_false(found);
    }
}

/* All units differ, so that as many ways as can be are worth keeping. */
static void test_large(void **state) {
    (void)state;
    static double units[LAM_MAX_UNITS], aux[LAM_MAX_UNITS];
    static struct lam_partition_bytes block[LAM_MAX_UNITS * LAM_MAX_UNITS];
    static struct lam_partition_front front[LAM_MAX_UNITS];
    struct lam_rng rng = lam_rng_make(5, LAM_RNG_TEST, 1, 0);
    size_t limits[4] = {12000, 12000, 12000, 12000};
    for (int u = 0; u < LAM_MAX_UNITS; u++) {
        units[u] = 1 + 0.1 * lam_rng_uniform(&rng);
        aux[u] = 0.3 + 0.01 * (u / 16);
        front[u] = (struct lam_partition_front){2000, 1000};
        for (int b = u; b < LAM_MAX_UNITS; b++)
            block[u * LAM_MAX_UNITS + b] =
                (struct lam_partition_bytes){100 * (size_t)(b - u + 1), 500 * (size_t)(b - u + 2), 200};
    }
    struct lam_partition_problem problem = {
        .units = LAM_MAX_UNITS, .devices = 4, .unit_seconds = units, .aux_seconds = aux};
    struct lam_partition_room room = {
        .block = {block, block, block, block}, .front = front, .data = 500, .limits = limits};
    struct lam_partition got;
    bool found;
    assert_int_equal(lam_partition_in_memory(&problem, &room, &got, &found), LAM_OK);
    assert_true(found);
    for (int d = 0; d < 4; d++)
        assert_in_range(lam_partition_device_need(&room, &got, d).total, 1, limits[d]);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_optimum),
        cmocka_unit_test(test_number_of_blocks),
        cmocka_unit_test(test_large),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
