/* Partitions: the optimum against an enumeration of all partitions of small problems, cases worked out by
 * hand, a large one against a simpler algorithm, and every error. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <math.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/rng.h"
#include "local/partition.h"

enum { UNITS = 9, BLOCKS = 6, DEVICES = 3, SEEDS = 6000 };

/* ---- random problems ---- */

/* All numbers are small integers times a power of two, so the sums of the enumeration are exact. */
struct sample {
    struct lam_partition_problem problem;
    double units[UNITS], aux[UNITS], speed[DEVICES];
    bool may_cut[UNITS];
    size_t bytes[DEVICES][UNITS][UNITS], limits[DEVICES];
    int asked[DEVICES][UNITS][UNITS];
};

static size_t sample_bytes(void *context, int device, int first, int last) {
    struct sample *s = context;
    assert_in_range(device, 0, s->problem.devices - 1);
    assert_in_range(first, 0, last);
    assert_in_range(last, first, s->problem.units - 1);
    s->asked[device][first][last]++;
    return s->bytes[device][first][last];
}

static int between(struct lam_rng *rng, int low, int high) {
    return low + (int)lam_rng_below(rng, (uint32_t)(high - low + 1));
}

static void make_times(struct sample *s, struct lam_rng *rng) {
    static const double speeds[] = {0.5, 1, 1, 2, 3, 0.7};
    double scale = ldexp(1.0, between(rng, -40, 40));
    int largest = between(rng, 0, 2) ? between(rng, 1, 4) : 1000; /* small ones give many ties */
    int largest_aux = between(rng, 0, 1) ? largest : 1 + largest / 4;
    for (int u = 0; u < UNITS; u++) {
        s->units[u] = between(rng, 0, largest) * scale;
        s->aux[u] = between(rng, 0, largest_aux) * scale;
        s->may_cut[u] = between(rng, 0, 3);
    }
    s->aux[s->problem.units - 1] = NAN; /* not read */
    for (int d = 0; d < DEVICES; d++) s->speed[d] = speeds[between(rng, 0, 5)];
}

static void make_memory(struct sample *s, struct lam_rng *rng) {
    size_t constant = (size_t)between(rng, 0, 4), most = (size_t)between(rng, 1, 6);
    for (int d = 0; d < DEVICES; d++) {
        s->limits[d] = (size_t)(between(rng, 0, 4) ? between(rng, 1, (int)(constant + most) * 5) : 0);
        for (int i = 0; i < UNITS; i++)
            for (int j = i; j < UNITS; j++)
                s->bytes[d][i][j] = constant + (size_t)(j - i) + lam_rng_below(rng, (uint32_t)most + 1);
    }
}

static void make_sample(struct sample *s, uint64_t seed) {
    struct lam_rng rng = lam_rng_make(seed, LAM_RNG_TEST, 0, 0);
    memset(s, 0, sizeof *s);
    s->problem.units = between(&rng, 1, UNITS);
    s->problem.blocks = between(&rng, 1, s->problem.units < BLOCKS ? s->problem.units : BLOCKS);
    s->problem.devices = between(&rng, 1, s->problem.blocks < DEVICES ? s->problem.blocks : DEVICES);
    make_times(s, &rng);
    make_memory(s, &rng);
    s->problem.unit_seconds = s->units;
    s->problem.aux_seconds = between(&rng, 0, 3) ? s->aux : NULL;
    s->problem.speed = between(&rng, 0, 1) ? s->speed : NULL;
    s->problem.may_cut = between(&rng, 0, 2) ? NULL : s->may_cut;
    s->problem.block_bytes = between(&rng, 0, 1) ? sample_bytes : NULL;
    s->problem.limits = between(&rng, 0, 7) ? s->limits : NULL;
    s->problem.context = s;
}

/* ---- the enumeration ---- */

struct option {
    double slowest, work, squares;
    int last_unit[BLOCKS], device[BLOCKS];
};

struct enumeration {
    const struct sample *sample;
    bool any, fit;
    struct option best;
    long least_excess; /* over all partitions, of the device that is worst off */
    struct option now;
};

static int compare_options(const struct option *a, const struct option *b, int blocks) {
    if (a->slowest != b->slowest) return a->slowest < b->slowest ? -1 : 1;
    if (a->work != b->work) return a->work < b->work ? -1 : 1;
    if (a->squares != b->squares) return a->squares < b->squares ? -1 : 1;
    for (int k = 0; k < blocks; k++)
        if (a->last_unit[k] != b->last_unit[k]) return a->last_unit[k] - b->last_unit[k];
    for (int k = 0; k < blocks; k++)
        if (a->device[k] != b->device[k]) return a->device[k] - b->device[k];
    return 0;
}

static void weigh(struct enumeration *e) {
    const struct lam_partition_problem *p = &e->sample->problem;
    double work[DEVICES] = {0};
    size_t bytes[DEVICES] = {0};
    e->now.slowest = e->now.work = e->now.squares = 0;
    for (int k = 0, first = 0; k < p->blocks; first = e->now.last_unit[k++] + 1) {
        int last = e->now.last_unit[k], d = e->now.device[k];
        double block = p->aux_seconds && last < p->units - 1 ? p->aux_seconds[last] : 0;
        for (int u = first; u <= last; u++) block += p->unit_seconds[u];
        work[d] += block;
        e->now.work += block;
        e->now.squares += block * block;
        bytes[d] += e->sample->bytes[d][first][last];
    }
    long excess = -1000000;
    for (int d = 0; d < p->devices; d++) {
        e->now.slowest = fmax(e->now.slowest, p->speed ? work[d] / p->speed[d] : work[d]);
        if (p->block_bytes && p->limits && p->limits[d] && (long)bytes[d] - (long)p->limits[d] > excess)
            excess = (long)bytes[d] - (long)p->limits[d];
    }
    if (!e->any || excess < e->least_excess) e->least_excess = excess;
    e->any = true;
    if (excess > 0) return;
    if (!e->fit || compare_options(&e->now, &e->best, p->blocks) < 0) e->best = e->now;
    e->fit = true;
}

static void enumerate(struct enumeration *e, int block) {
    const struct lam_partition_problem *p = &e->sample->problem;
    if (block == p->blocks) {
        weigh(e);
        return;
    }
    int first = block ? e->now.last_unit[block - 1] + 1 : 0, before = block ? e->now.device[block - 1] : 0;
    bool last_block = block == p->blocks - 1;
    for (int u = last_block ? p->units - 1 : first; u < p->units - !last_block; u++) {
        if (!last_block && p->may_cut && !p->may_cut[u]) continue;
        for (int d = before; d <= (block ? before + 1 : 0) && d < p->devices; d++) {
            if (last_block && d != p->devices - 1) continue;
            e->now.last_unit[block] = u;
            e->now.device[block] = d;
            if (first <= u) enumerate(e, block + 1);
        }
    }
}

/* ---- the optimum ---- */

static void check_text(lam_status got, lam_status wanted, const char *part) {
    if (got != wanted || !strstr(lam_error_text(), part))
        fail_msg("%s: '%s', not %s with '%s'", lam_status_name(got), lam_error_text(),
                 lam_status_name(wanted), part);
}

static void check_excess(const struct sample *s, long least) {
    int device;
    size_t need, limit;
    const char *text = lam_error_text();
    assert_int_equal(
        sscanf(text, "device %d: its blocks need at least %*s %*s (%zu bytes) and its limit is %*s %*s (%zu",
               &device, &need, &limit),
        3);
    assert_int_equal(limit, s->limits[device]);
    assert_int_equal((long)need - (long)limit, least);
}

static bool close_to(double a, double b) {
    return fabs(a - b) <= 1e-12 * fmax(fabs(a), fabs(b));
}

static void check_sums(const struct lam_partition_problem *p, const struct lam_partition *got) {
    double device[LAM_MAX_BLOCKS] = {0}, slowest = 0, sum = 0;
    for (int k = 0, u = 0; k < p->blocks; k++) {
        double block = p->aux_seconds && k < p->blocks - 1 ? p->aux_seconds[got->last_unit[k]] : 0;
        while (u <= got->last_unit[k]) block += p->unit_seconds[u++];
        block /= p->speed ? p->speed[got->device[k]] : 1;
        assert_true(close_to(block, got->block_seconds[k]));
        device[got->device[k]] += block;
    }
    for (int d = 0; d < p->devices; d++) {
        assert_true(close_to(device[d], got->device_seconds[d]));
        slowest = fmax(slowest, device[d]);
        sum += device[d];
    }
    assert_true(close_to(got->ideal_speedup, slowest > 0 ? sum / slowest : 1));
    assert_int_equal(got->blocks, p->blocks);
    assert_int_equal(got->devices, p->devices);
}

static void check_same(uint64_t seed, const struct lam_partition *got, const struct option *wanted) {
    for (int k = 0; k < got->blocks; k++)
        if (got->last_unit[k] != wanted->last_unit[k] || got->device[k] != wanted->device[k])
            fail_msg("seed %llu, block %d of %d: unit %d on %d, not %d on %d", (unsigned long long)seed, k,
                     got->blocks, got->last_unit[k], got->device[k], wanted->last_unit[k], wanted->device[k]);
}

static void check_asked(const struct sample *s) {
    for (int d = 0; d < DEVICES; d++)
        for (int i = 0; i < UNITS; i++)
            for (int j = 0; j < UNITS; j++) assert_in_range(s->asked[d][i][j], 0, 3);
}

static void the_optimum_is_that_of_enumeration(void **state) {
    (void)state;
    struct sample s;
    int fit = 0, unfit = 0, impossible = 0, limits_matter = 0;
    for (uint64_t seed = 0; seed < SEEDS; seed++) {
        make_sample(&s, seed);
        struct enumeration all = {.sample = &s};
        enumerate(&all, 0);
        struct lam_partition got, untouched;
        memset(&got, 0x5a, sizeof got);
        untouched = got;
        lam_status status = lam_partition_profiled(&s.problem, &got);
        check_asked(&s);
        if (all.fit) {
            fit++;
            if (status != LAM_OK) fail_msg("seed %llu: %s", (unsigned long long)seed, lam_error_text());
            check_same(seed, &got, &all.best);
            check_sums(&s.problem, &got);
            s.problem.limits = NULL;
            assert_int_equal(lam_partition_profiled(&s.problem, &got), LAM_OK);
            limits_matter += memcmp(got.last_unit, all.best.last_unit, sizeof(int) * (size_t)got.blocks) != 0;
            continue;
        }
        if (all.any) {
            unfit++;
            check_text(status, LAM_ERR_MEMORY_LIMIT, "raise the limit");
            check_excess(&s, all.least_excess);
        } else {
            impossible++;
            check_text(status, LAM_ERR_INVALID, "can be cut into at most");
        }
        assert_memory_equal(&got, &untouched, sizeof got);
    }
    /* The samples are of all kinds. */
    assert_true(fit > SEEDS / 2 && unfit > SEEDS / 20 && impossible > SEEDS / 50 &&
                limits_matter > SEEDS / 50);
}

static void fixed_cuts_go_to_devices_as_enumeration_says(void **state) {
    (void)state;
    struct sample s;
    for (uint64_t seed = SEEDS; seed < SEEDS + SEEDS / 3; seed++) {
        make_sample(&s, seed);
        struct lam_rng rng = lam_rng_make(seed, LAM_RNG_TEST, 1, 0);
        bool only[UNITS] = {false};
        int cuts[BLOCKS];
        for (int left = s.problem.blocks - 1; left > 0;) {
            int u = between(&rng, 0, s.problem.units - 2);
            left -= !only[u];
            only[u] = true;
        }
        for (int u = 0, k = 0; u < s.problem.units; u++)
            if (only[u]) cuts[k++] = u;
        struct lam_partition got;
        s.problem.may_cut = NULL;
        lam_status status = lam_partition_fixed(cuts, &s.problem, &got);
        s.problem.may_cut = only;
        struct enumeration all = {.sample = &s};
        enumerate(&all, 0);
        if (!all.fit) {
            check_text(status, LAM_ERR_MEMORY_LIMIT, "raise the limit");
            continue;
        }
        assert_int_equal(status, LAM_OK);
        check_same(seed, &got, &all.best);
        check_sums(&s.problem, &got);
    }
}

static void uniform_parts_have_the_least_squares(void **state) {
    (void)state;
    struct sample s;
    for (uint64_t seed = 2 * SEEDS; seed < 2 * SEEDS + SEEDS / 3; seed++) {
        make_sample(&s, seed);
        s.problem.may_cut = NULL;
        struct lam_partition got;
        assert_int_equal(lam_partition_uniform(&s.problem, &got), LAM_OK);
        s.problem.aux_seconds = s.problem.speed = NULL;
        s.problem.limits = NULL;
        check_sums(&s.problem, &got);
        int devices = s.problem.devices;
        s.problem.devices = 1;
        struct enumeration parts = {.sample = &s};
        enumerate(&parts, 0);
        bool only[UNITS] = {false};
        for (int k = 0; k < s.problem.blocks; k++) only[parts.best.last_unit[k]] = true;
        s.problem.may_cut = only;
        s.problem.devices = devices;
        struct enumeration all = {.sample = &s};
        enumerate(&all, 0);
        check_same(seed, &got, &all.best);
    }
}

/* ---- by hand ---- */

static void check_cuts(const struct lam_partition *got, const char *cuts, const char *devices) {
    char text[512] = "", on[512] = "";
    for (int k = 0; k < got->blocks; k++) {
        snprintf(text + strlen(text), sizeof text - strlen(text), "%s%d", k ? " " : "", got->last_unit[k]);
        snprintf(on + strlen(on), sizeof on - strlen(on), "%s%d", k ? " " : "", got->device[k]);
    }
    assert_string_equal(text, cuts);
    assert_string_equal(on, devices);
}

static void profile(const struct lam_partition_problem *problem, const char *cuts, const char *devices) {
    struct lam_partition got;
    if (lam_partition_profiled(problem, &got) != LAM_OK) fail_msg("%s", lam_error_text());
    check_cuts(&got, cuts, devices);
}

static void cases_worked_out_by_hand(void **state) {
    (void)state;
    const double equal[] = {0.0137, 0.0137, 0.0137, 0.0137, 0.0137, 0.0137, 0.0137};
    struct lam_partition_problem p = {.units = 7, .blocks = 1, .devices = 1, .unit_seconds = equal};
    profile(&p, "6", "0");
    p.blocks = 7;
    profile(&p, "0 1 2 3 4 5 6", "0 0 0 0 0 0 0");
    p.blocks = 3;
    profile(&p, "1 3 6", "0 0 0"); /* 2 2 3 before 2 3 2 and 3 2 2, though none of the sums is exact */
    p.devices = 3;
    profile(&p, "1 3 6", "0 1 2");
    p.blocks = 4;
    p.devices = 2;
    profile(&p, "0 2 4 6", "0 0 1 1"); /* 3 and 4 units, either way round */
    const double triple[] = {1, 3};
    p.speed = triple;
    p.blocks = 2;
    profile(&p, "1 6", "0 1");
    const double work[] = {4, 1, 1, 1, 1}, aux[] = {3, 2, 1, 9, 1e9};
    struct lam_partition_problem q = {
        .units = 5, .blocks = 2, .devices = 2, .unit_seconds = work, .aux_seconds = aux};
    profile(&q, "2 4",
            "0 1"); /* 7 for device 0 with any of the first three cuts; the last has the least in all */
}

static void less_auxiliary_work_goes_before_alike_blocks(void **state) {
    (void)state;
    const double work[] = {2, 2, 2, 2, 20}, aux[] = {1, 5, 5, 5, 0};
    struct lam_partition_problem p = {
        .units = 5, .blocks = 3, .devices = 2, .unit_seconds = work, .aux_seconds = aux};
    profile(&p, "0 3 4", "0 0 1"); /* 20 in any case; 3 + 11 is less than 9 + 9 */
}

static void the_bottleneck_need_not_be_where_the_rest_is_best(void **state) {
    (void)state;
    /* Device 0 has 10 in any case. The rest on two devices could be as quick as 4 with an auxiliary
     * network of 3, but up to 10 is as good, and the one of 0 is less work. */
    const double work[] = {10, 1, 1, 1, 1, 1}, aux[] = {0, 3, 2, 1, 0, 0};
    const bool may_cut[] = {true, true, false, false, true, true};
    struct lam_partition_problem p = {
        .units = 6, .blocks = 3, .devices = 3, .unit_seconds = work, .aux_seconds = aux, .may_cut = may_cut};
    profile(&p, "0 4 5", "0 1 2");
}

static size_t unit_bytes(void *context, int device, int first, int last) {
    const size_t *bytes = context;
    size_t sum = device == 1 ? 1 : 0;
    for (int u = first; u <= last; u++) sum += bytes[u];
    return sum;
}

static void limits_move_the_cut(void **state) {
    (void)state;
    const double work[] = {1, 1, 1, 1};
    size_t bytes[] = {1 << 20, 10, 10, 10}, limits[] = {(1 << 20) + 9, 0};
    struct lam_partition_problem p = {.units = 4,
                                      .blocks = 2,
                                      .devices = 2,
                                      .unit_seconds = work,
                                      .block_bytes = unit_bytes,
                                      .context = bytes};
    struct lam_partition got = {.blocks = 77};
    profile(&p, "1 3", "0 1");
    p.limits = limits;
    profile(&p, "0 3", "0 1");
    limits[0] = (1 << 20) + 10;
    profile(&p, "1 3", "0 1");
    limits[0] = (1 << 20) - 1;
    check_text(lam_partition_profiled(&p, &got), LAM_ERR_MEMORY_LIMIT,
               "device 0: its blocks need at least 1.0 MiB (1048576 bytes) and its limit is 1024 KiB "
               "(1048575 bytes), "
               "however 4 units are cut into 2 blocks");
    limits[0] = 0;
    limits[1] = 10;
    check_text(lam_partition_profiled(&p, &got), LAM_ERR_MEMORY_LIMIT,
               "device 1: its blocks need at least 11 B (11 b");
    assert_int_equal(got.blocks, 77);
    int cut = 0;
    limits[1] = 30;
    check_text(lam_partition_fixed(&cut, &p, &got), LAM_ERR_MEMORY_LIMIT,
               "device 1: its blocks need at least 31 B");
}

static size_t enormous(void *context, int device, int first, int last) {
    (void)device, (void)last;
    return first == *(const int *)context ? SIZE_MAX - 1 : 3;
}

static void enormous_bytes_do_not_wrap(void **state) {
    (void)state;
    const double work[] = {1, 1, 1, 1};
    size_t limit = 1000;
    struct lam_partition_problem p = {.units = 4,
                                      .blocks = 3,
                                      .devices = 1,
                                      .unit_seconds = work,
                                      .block_bytes = enormous,
                                      .limits = &limit};
    struct lam_partition got;
    int first = 0;
    p.context = &first; /* of the one enormous block */
    check_text(lam_partition_profiled(&p, &got), LAM_ERR_MEMORY_LIMIT, "device 0");
    first = 3;
    profile(&p, "0 1 3", "0 0 0");
}

/* ---- large ---- */

/* Least slowest of `devices` equal ones, without auxiliary networks. */
static double least_slowest(const double *units, int count, int devices) {
    double best[129];
    best[0] = 0;
    for (int n = 1; n <= count; n++) best[n] = INFINITY;
    for (int d = 0; d < devices; d++)
        for (int n = count; n >= 0; n--) {
            double sum = 0, least = INFINITY;
            for (int from = n - 1; from >= 0; from--) {
                sum += units[from];
                least = fmin(least, fmax(best[from], sum));
            }
            best[n] = least;
        }
    return best[count];
}

static void large_problems_are_solved(void **state) {
    (void)state;
    struct lam_rng rng = lam_rng_make(1, LAM_RNG_TEST, 2, 0);
    double units[128], aux[128];
    size_t limits[16];
    size_t bytes[128];
    for (int u = 0; u < 128; u++) {
        units[u] = 1 + (double)lam_rng_below(&rng, 1000);
        aux[u] = (double)(1 + u / 32);
        bytes[u] = 100;
    }
    for (int d = 0; d < 16; d++) limits[d] = 1201;
    struct lam_partition got;
    for (int blocks = 16; blocks <= 128; blocks *= 2) {
        struct lam_partition_problem p = {
            .units = 128, .blocks = blocks, .devices = 16, .unit_seconds = units};
        assert_int_equal(lam_partition_profiled(&p, &got), LAM_OK);
        check_sums(&p, &got);
        double slowest = 0;
        for (int d = 0; d < 16; d++) slowest = fmax(slowest, got.device_seconds[d]);
        assert_true(blocks > 64 ? slowest >= least_slowest(units, 128, 16)
                                : slowest == least_slowest(units, 128, 16));
    }
    struct lam_partition_problem p = {.units = 128,
                                      .blocks = 32,
                                      .devices = 4,
                                      .unit_seconds = units,
                                      .aux_seconds = aux,
                                      .block_bytes = unit_bytes,
                                      .context = bytes};
    limits[0] = 2500, limits[1] = 3508, limits[2] = 0, limits[3] = 3000;
    p.limits = limits;
    if (lam_partition_profiled(&p, &got) != LAM_OK) fail_msg("%s", lam_error_text());
    size_t need[4] = {0};
    for (int k = 0; k < 32; k++)
        need[got.device[k]] +=
            unit_bytes(bytes, got.device[k], k ? got.last_unit[k - 1] + 1 : 0, got.last_unit[k]);
    assert_true(need[0] <= limits[0] && need[1] <= limits[1] && need[3] <= limits[3]);
}

/* ---- errors of problems ---- */

static void fails(const struct lam_partition_problem *p, const char *part) {
    struct lam_partition got, before;
    memset(&got, 0x33, sizeof got);
    before = got;
    check_text(lam_partition_profiled(p, &got), LAM_ERR_INVALID, part);
    assert_memory_equal(&got, &before, sizeof got);
    check_text(lam_partition_fixed((int[]){0, 1, 2, 3, 4, 5, 6}, p, &got), LAM_ERR_INVALID, part);
    assert_memory_equal(&got, &before, sizeof got);
}

static void counts_out_of_range_are_refused(void **state) {
    (void)state;
    const double work[] = {1, 1, 1, 1};
    const bool may_cut[] = {false, true, false, false};
    struct lam_partition_problem good = {.units = 4, .blocks = 2, .devices = 2, .unit_seconds = work};
    struct lam_partition_problem p = good;
    p.units = 0;
    fails(&p, "0 units cannot be partitioned; 1 to 128 can");
    p.units = 129;
    fails(&p, "129 units cannot be partitioned");
    p = good, p.blocks = 0;
    fails(&p, "0 blocks: there must be 1 to 4");
    p = good, p.blocks = 129, p.units = 128;
    fails(&p, "129 blocks: there must be 1 to 128");
    p = good, p.blocks = 5;
    fails(&p, "5 blocks of 4 units: there can be at most 4 blocks");
    p = good, p.devices = 0;
    fails(&p, "0 devices: there must be at least 1");
    p = good, p.devices = 3;
    fails(&p, "3 devices for 2 blocks would leave 1 idle; use more blocks or fewer devices");
    p = good, p.blocks = 3, p.may_cut = may_cut;
    fails(&p, "3 blocks: these 4 units can be cut into at most 2");
}

static void numbers_that_make_no_sense_are_refused(void **state) {
    (void)state;
    const char *const names[] = {"stem", "a", "b", "head"};
    const double work[] = {1, 1, 1, 1}, negative[] = {1, 1, -2, 1}, nan[] = {1, NAN, 1, 1};
    const double huge[] = {1e308, 1e308, 1, 1}, zero[] = {1, 0}, endless[] = {INFINITY, 1};
    struct lam_partition_problem good = {.units = 4, .blocks = 2, .devices = 2, .unit_seconds = work};
    struct lam_partition_problem p = good;
    p.unit_seconds = negative;
    fails(&p, "unit 2: it cannot take -2 seconds");
    p.unit_seconds = nan, p.unit_names = names;
    fails(&p, "unit 1 (a): it cannot take nan seconds");
    p = good, p.aux_seconds = negative, p.unit_names = names;
    fails(&p, "unit 2 (b): the auxiliary network behind it cannot take -2 seconds");
    p = good, p.unit_seconds = huge;
    fails(&p, "too large to be added");
    p = good, p.speed = zero;
    fails(&p, "device 1: it cannot have speed 0");
    p.speed = endless;
    fails(&p, "device 0: it cannot have speed inf");
}

static void fixed_cuts_that_make_no_sense_are_refused(void **state) {
    (void)state;
    const double work[] = {1, 1, 1, 1, 1};
    const bool may_cut[] = {true, false, true, true, false};
    const char *const names[] = {"stem", "a", "b", "c", "head"};
    struct lam_partition_problem p = {.units = 5, .blocks = 3, .devices = 1, .unit_seconds = work};
    struct lam_partition got;
    check_text(lam_partition_fixed((int[]){-1, 2}, &p, &got), LAM_ERR_INVALID,
               "block 0 cannot end with unit -1: last units must rise, from 0 to 3");
    check_text(lam_partition_fixed((int[]){2, 2}, &p, &got), LAM_ERR_INVALID,
               "block 1 cannot end with unit 2");
    check_text(lam_partition_fixed((int[]){2, 4}, &p, &got), LAM_ERR_INVALID,
               "block 1 cannot end with unit 4");
    p.may_cut = may_cut;
    p.unit_names = names;
    check_text(lam_partition_fixed((int[]){1, 2}, &p, &got), LAM_ERR_UNSUPPORTED,
               "block 0 cannot end with unit 1 (a): the network cannot be cut behind it");
    assert_int_equal(lam_partition_fixed((int[]){0, 3}, &p, &got), LAM_OK);
    check_cuts(&got, "0 3 4", "0 0 0");
}

/* ---- lists ---- */

static const double list_work[] = {1, 1, 1, 1, 1, 1};
static const char *const list_names[] = {"stem", "layer1.0", "layer1.1", "layer2.0", "layer2.1", "head"};

static void lists_of_numbers_and_names_are_read(void **state) {
    (void)state;
    struct lam_partition_problem p = {
        .units = 6, .devices = 1, .unit_seconds = list_work, .unit_names = list_names};
    struct {
        const char *text, *cuts, *devices;
    } good[] = {
        {"", "5", "0"},
        {"  ", "5", "0"},
        {"0,1,2,3,4", "0 1 2 3 4 5", "0 0 0 0 0 0"},
        {" 1 , 3", "1 3 5", "0 0 0"},
        {"layer1.1,4", "2 4 5", "0 0 0"},
        {"stem", "0 5", "0 0"},
    };
    struct lam_partition got;
    for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
        if (lam_partition_parse(good[i].text, &p, &got) != LAM_OK) fail_msg("%s", lam_error_text());
        check_cuts(&got, good[i].cuts, good[i].devices);
        assert_int_equal(p.blocks, 0);
    }
    p.devices = 2;
    p.blocks = 4;
    assert_int_equal(lam_partition_parse("0,1,2", &p, &got), LAM_OK);
    check_cuts(&got, "0 1 2 5", "0 0 0 1");
    static const char *const digits[] = {"5", "4", "3", "2", "1", "0"};
    p.unit_names = digits; /* a name goes before a number */
    p.blocks = 0;
    assert_int_equal(lam_partition_parse("4,2", &p, &got), LAM_OK);
    check_cuts(&got, "1 3 5", "0 0 1");
}

static void bad_lists_name_the_entry(void **state) {
    (void)state;
    static const bool may_cut[] = {true, false, true, true, true, true};
    struct lam_partition_problem p = {
        .units = 6, .devices = 1, .unit_seconds = list_work, .unit_names = list_names, .may_cut = may_cut};
    struct {
        const char *text;
        lam_status status;
        const char *part;
    } bad[] = {
        {"0,,3", LAM_ERR_INVALID, "entry 2 of the partition is empty"},
        {"0,", LAM_ERR_INVALID, "entry 2 of the partition is empty"},
        {",", LAM_ERR_INVALID, "entry 1 of the partition is empty"},
        {"0,layer2,4", LAM_ERR_NOT_FOUND,
         "entry 2 of the partition, 'layer2': no such unit; did you mean layer2.0?"},
        {"layer1.2", LAM_ERR_NOT_FOUND, "did you mean layer1.0?"},
        {"transformer", LAM_ERR_NOT_FOUND, "a number from 0 to 4 or a name from stem to layer2.1"},
        {"2x", LAM_ERR_NOT_FOUND, "entry 1 of the partition, '2x': no such unit"},
        {"0,6", LAM_ERR_INVALID, "entry 2 of the partition, '6': must be from 0 to 4"},
        {"-1", LAM_ERR_INVALID, "'-1': must be from 0 to 4"},
        {"99999999999999999999", LAM_ERR_INVALID, "must be from 0 to 4"},
        {"3,2", LAM_ERR_INVALID, "entry 2 of the partition, '2': unit 2 does not come after unit 3"},
        {"2,layer1.1", LAM_ERR_INVALID, "'layer1.1': unit 2 does not come after unit 2"},
        {"2,head", LAM_ERR_INVALID, "'head': this is the last unit"},
        {"5", LAM_ERR_INVALID, "'5': this is the last unit"},
        {"0,1", LAM_ERR_UNSUPPORTED,
         "entry 2 of the partition, '1': the network cannot be cut behind this unit"},
        {"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
         "aaaaaaa",
         LAM_ERR_INVALID, "is too long for a unit"},
    };
    struct lam_partition got = {.blocks = 77};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        check_text(lam_partition_parse(bad[i].text, &p, &got), bad[i].status, bad[i].part);
    p.unit_names = NULL;
    check_text(lam_partition_parse("stem", &p, &got), LAM_ERR_NOT_FOUND, "'stem': not a number from 0 to 4");
    assert_int_equal(got.blocks, 77);
}

static void lists_agree_with_the_problem(void **state) {
    (void)state;
    double many[LAM_MAX_UNITS];
    char text[2048] = "0";
    for (int u = 0; u < LAM_MAX_UNITS; u++) many[u] = 1;
    for (int u = 1; u < 127; u++) snprintf(text + strlen(text), sizeof text - strlen(text), ",%d", u);
    struct lam_partition_problem p = {.units = 6, .blocks = 4, .devices = 1, .unit_seconds = many};
    struct lam_partition got = {.blocks = 77};
    check_text(lam_partition_parse("1,3", &p, &got), LAM_ERR_INVALID,
               "the partition's 2 last units make 3 blocks, but 4 were asked for");
    check_text(lam_partition_parse("", &p, &got), LAM_ERR_INVALID,
               "the partition's 0 last units make 1 block, but 4 were asked for");
    p.blocks = 0;
    p.devices = 2;
    check_text(lam_partition_parse("", &p, &got), LAM_ERR_INVALID,
               "2 devices for 1 block would leave 1 idle");
    p.units = 1;
    check_text(lam_partition_parse("0", &p, &got), LAM_ERR_INVALID, "'0': a single unit cannot be cut");
    p.units = 0;
    check_text(lam_partition_parse("0", &p, &got), LAM_ERR_INVALID, "0 units cannot be partitioned");
    p.units = LAM_MAX_UNITS;
    assert_int_equal(lam_partition_parse(text, &p, &got), LAM_OK);
    assert_int_equal(got.blocks, 128);
    assert_int_equal(got.last_unit[126], 126);
    assert_int_equal(got.last_unit[127], 127);
    strcat(text, ",126");
    got.blocks = 77;
    check_text(lam_partition_parse(text, &p, &got), LAM_ERR_INVALID,
               "entry 128 of the partition, '126': more than 128");
    assert_int_equal(got.blocks, 77);
}

/* Slashes say where a device begins; text and partition go both ways. */
static void slashes_say_where_a_device_begins(void **state) {
    (void)state;
    static const char *const texts[] = {"1/2,4", "1,2,4/", "0/1/", "3", "0,1,2,3"};
    static const char *const devices[] = {"0 1 1 1", "0 0 0 1", "0 1 2", "0 0", "0 0 0 0 0"};
    static const int counts[] = {2, 2, 3, 1, 1};
    const double work[] = {1, 1, 1, 1, 1, 9};
    struct lam_partition_problem p = {.units = 6, .unit_seconds = work};
    for (size_t i = 0; i < sizeof counts / sizeof *counts; i++) {
        struct lam_partition got;
        char list[32] = "", *text;
        size_t used = 0;
        p.devices = counts[i];
        assert_int_equal(lam_partition_parse(texts[i], &p, &got), LAM_OK);
        for (int k = 0; k < got.blocks; k++)
            used += (size_t)snprintf(list + used, sizeof list - used, k ? " %d" : "%d", got.device[k]);
        assert_string_equal(list, devices[i]);
        text = lam_partition_text(&got);
        assert_string_equal(text, texts[i]);
        free(text);
    }
    struct lam_partition got;
    p.devices = 2;
    check_text(lam_partition_parse("1/2/", &p, &got), LAM_ERR_INVALID,
               "parts for 3 devices, but there are 2");
    check_text(lam_partition_parse("1//2", &p, &got), LAM_ERR_INVALID, "entry 2 of the partition is empty");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_optimum_is_that_of_enumeration),
        cmocka_unit_test(fixed_cuts_go_to_devices_as_enumeration_says),
        cmocka_unit_test(uniform_parts_have_the_least_squares),
        cmocka_unit_test(cases_worked_out_by_hand),
        cmocka_unit_test(less_auxiliary_work_goes_before_alike_blocks),
        cmocka_unit_test(the_bottleneck_need_not_be_where_the_rest_is_best),
        cmocka_unit_test(limits_move_the_cut),
        cmocka_unit_test(enormous_bytes_do_not_wrap),
        cmocka_unit_test(large_problems_are_solved),
        cmocka_unit_test(counts_out_of_range_are_refused),
        cmocka_unit_test(numbers_that_make_no_sense_are_refused),
        cmocka_unit_test(fixed_cuts_that_make_no_sense_are_refused),
        cmocka_unit_test(lists_of_numbers_and_names_are_read),
        cmocka_unit_test(bad_lists_name_the_entry),
        cmocka_unit_test(lists_agree_with_the_problem),
        cmocka_unit_test(slashes_say_where_a_device_begins),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
