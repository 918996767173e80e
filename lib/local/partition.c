/* Checks of a problem, its exact numbers, and what is said of a partition once it is found. The search
 * itself is in partition_runs.c (on one device) and partition_search.c (over devices). */
#include "local/partition.h"

#include <inttypes.h>
#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/files.h"
#include "local/partition_runs.h"

/* ---- checks ---- */

static const char *unit_text(const struct lam_partition_problem *problem, int unit, char *text, size_t size) {
    if (problem->unit_names)
        snprintf(text, size, "unit %d (%.60s)", unit, problem->unit_names[unit]);
    else
        snprintf(text, size, "unit %d", unit);
    return text;
}

static bool may_cut(const struct lam_partition_problem *problem, int unit) {
    return !problem->may_cut || problem->may_cut[unit];
}

static lam_status check_counts(const struct lam_partition_problem *problem) {
    int units = problem->units, blocks = problem->blocks, devices = problem->devices;
    if (units < 1 || units > LAM_MAX_UNITS)
        return lam_fail(LAM_ERR_INVALID, "%d units cannot be partitioned; 1 to %d can", units, LAM_MAX_UNITS);
    if (blocks < 1 || blocks > LAM_MAX_BLOCKS)
        return lam_fail(LAM_ERR_INVALID, "%d blocks: there must be 1 to %d", blocks,
                        units < LAM_MAX_BLOCKS ? units : LAM_MAX_BLOCKS);
    if (devices < 1) return lam_fail(LAM_ERR_INVALID, "%d devices: there must be at least 1", devices);
    if (blocks > units)
        return lam_fail(LAM_ERR_INVALID, "%d blocks of %d units: there can be at most %d blocks", blocks,
                        units, units);
    if (devices > blocks)
        return lam_fail(LAM_ERR_INVALID,
                        "%d devices for %d block%s would leave %d idle; use more blocks or fewer devices",
                        devices, blocks, blocks == 1 ? "" : "s", devices - blocks);
    int most = 1;
    for (int u = 0; u < units - 1; u++) most += may_cut(problem, u);
    if (blocks > most)
        return lam_fail(LAM_ERR_INVALID, "%d blocks: these %d units can be cut into at most %d", blocks,
                        units, most);
    return LAM_OK;
}

static bool makes_sense(double seconds) {
    return isfinite(seconds) && seconds >= 0;
}

static lam_status check_numbers(const struct lam_partition_problem *problem) {
    char text[96];
    double sum = 0;
    for (int u = 0; u < problem->units; u++) {
        double unit = problem->unit_seconds[u];
        double aux = problem->aux_seconds && u < problem->units - 1 ? problem->aux_seconds[u] : 0;
        if (!makes_sense(unit))
            return lam_fail(LAM_ERR_INVALID, "%s: it cannot take %g seconds",
                            unit_text(problem, u, text, sizeof text), unit);
        if (!makes_sense(aux))
            return lam_fail(LAM_ERR_INVALID, "%s: the auxiliary network behind it cannot take %g seconds",
                            unit_text(problem, u, text, sizeof text), aux);
        sum += unit + aux;
    }
    if (!isfinite(sum)) return lam_fail(LAM_ERR_INVALID, "the units' seconds are too large to be added");
    for (int d = 0; d < problem->devices && problem->speed; d++)
        if (!(isfinite(problem->speed[d]) && problem->speed[d] > 0))
            return lam_fail(LAM_ERR_INVALID, "device %d: it cannot have speed %g", d, problem->speed[d]);
    return LAM_OK;
}

static lam_status check(const struct lam_partition_problem *problem) {
    LAM_TRY(check_counts(problem));
    return check_numbers(problem);
}

/* ---- from a problem to exact numbers ---- */

static double aux_seconds(const struct lam_partition_problem *problem, int last_unit) {
    return problem->aux_seconds && last_unit < problem->units - 1 ? problem->aux_seconds[last_unit] : 0;
}

static struct lam_partition_search prepare(const struct lam_partition_problem *problem) {
    struct lam_partition_search search = {.problem = problem,
                                          .units = problem->units,
                                          .blocks = problem->blocks,
                                          .devices = problem->devices,
                                          .spare = problem->units - problem->blocks};
    double sum = 0;
    for (int u = 0; u < problem->units; u++) sum += problem->unit_seconds[u] + aux_seconds(problem, u);
    int exponent;
    frexp(sum, &exponent);
    for (int u = 0; u < problem->units; u++) {
        int64_t ticks = llrint(ldexp(problem->unit_seconds[u], 52 - exponent));
        search.work_before[u + 1] = search.work_before[u] + ticks;
        search.aux[u] = llrint(ldexp(aux_seconds(problem, u), 52 - exponent));
        search.may_end[u] = u == problem->units - 1 || may_cut(problem, u);
    }
    return search;
}

lam_status lam_partition_prepare(const struct lam_partition_problem *problem,
                                 struct lam_partition_search *search) {
    LAM_TRY(check(problem));
    *search = prepare(problem);
    return LAM_OK;
}

static lam_status ask_bytes(struct lam_partition_search *search) {
    const struct lam_partition_problem *problem = search->problem;
    size_t row = (size_t)(search->spare + 1);
    search->bytes = calloc((size_t)(search->devices * search->units) * row, sizeof *search->bytes);
    if (!search->bytes) return lam_fail(LAM_ERR_NO_MEMORY, "out of memory for partitions");
    for (int d = 0; d < search->devices; d++)
        for (int first = 0; first < search->units && lam_partition_limit(problem, d); first++)
            for (int own = 0; own <= search->spare && first + own < search->units; own++)
                if (search->may_end[first + own] && (first == 0 || search->may_end[first - 1]))
                    search->bytes[(size_t)(d * search->units + first) * row + (size_t)own] =
                        problem->block_bytes(problem->context, d, first, first + own);
    return LAM_OK;
}

/* ---- memory ---- */

static size_t device_bytes(const struct lam_partition_problem *problem, int device, const int *last_unit,
                           const int *device_of) {
    size_t sum = 0;
    for (int b = 0; b < problem->blocks; b++) {
        if (device_of[b] != device) continue;
        size_t more =
            problem->block_bytes(problem->context, device, b ? last_unit[b - 1] + 1 : 0, last_unit[b]);
        sum = sum > SIZE_MAX - more ? SIZE_MAX : sum + more;
    }
    return sum;
}

static bool fits(const struct lam_partition_problem *problem, const int *last_unit, const int *device_of) {
    if (!problem->block_bytes || !problem->limits) return true;
    for (int d = 0; d < problem->devices; d++)
        if (problem->limits[d] && device_bytes(problem, d, last_unit, device_of) > problem->limits[d])
            return false;
    return true;
}

/* The error of a problem that fits nowhere: the device that is worst off where things are best. */
static lam_status too_large(const struct lam_partition_search *search) {
    const struct lam_partition_problem *problem = search->problem;
    int last_unit[LAM_MAX_BLOCKS], device_of[LAM_MAX_BLOCKS], worst = 0;
    bool found;
    LAM_TRY(lam_partition_search_run(search, LAM_PARTITION_BYTES, last_unit, device_of, &found));
    size_t excess = 0, need = 0;
    for (int d = 0; d < problem->devices; d++) {
        size_t bytes = problem->limits[d] ? device_bytes(problem, d, last_unit, device_of) : 0;
        if (bytes <= problem->limits[d] || bytes - problem->limits[d] <= excess) continue;
        excess = bytes - problem->limits[d];
        need = bytes;
        worst = d;
    }
    char need_text[32], limit_text[32];
    return lam_fail(LAM_ERR_MEMORY_LIMIT,
                    "device %d: its blocks need at least %s (%zu bytes) and its limit is %s (%zu bytes), "
                    "however %d units "
                    "are cut into %d blocks; raise the limit, or use more devices or a smaller batch",
                    worst, lam_bytes_text(need, need_text, sizeof need_text), need,
                    lam_bytes_text(problem->limits[worst], limit_text, sizeof limit_text),
                    problem->limits[worst], problem->units, problem->blocks);
}

/* ---- the result ---- */

void lam_partition_fill_in(const struct lam_partition_problem *problem, const int *last_unit,
                           const int *device_of, struct lam_partition *partition) {
    *partition = (struct lam_partition){.blocks = problem->blocks, .devices = problem->devices};
    for (int b = 0, unit = 0; b < problem->blocks; b++) {
        double seconds = aux_seconds(problem, last_unit[b]);
        while (unit <= last_unit[b]) seconds += problem->unit_seconds[unit++];
        int device = device_of[b];
        if (problem->speed) seconds /= problem->speed[device];
        partition->last_unit[b] = last_unit[b];
        partition->device[b] = device;
        partition->block_seconds[b] = seconds;
        partition->device_seconds[device] += seconds;
    }
    double slowest = 0, sum = 0;
    for (int d = 0; d < problem->devices; d++) {
        slowest = fmax(slowest, partition->device_seconds[d]);
        sum += partition->device_seconds[d];
    }
    partition->ideal_speedup = slowest > 0 ? sum / slowest : 1;
}

/* Most optima fit the limits, or there are none, so memory is looked at only when it must be. */
static lam_status solve(struct lam_partition_search *search, int *last_unit, int *device_of) {
    bool found;
    LAM_TRY(lam_partition_search_run(search, LAM_PARTITION_TIME, last_unit, device_of, &found));
    if (!found) return lam_fail(LAM_ERR_INTERNAL, "no partition of %d units was found", search->units);
    if (fits(search->problem, last_unit, device_of)) return LAM_OK;
    LAM_TRY(ask_bytes(search));
    LAM_TRY(lam_partition_search_run(search, LAM_PARTITION_TIME_IN_LIMITS, last_unit, device_of, &found));
    return found ? LAM_OK : too_large(search);
}

lam_status lam_partition_profiled(const struct lam_partition_problem *problem,
                                  struct lam_partition *partition) {
    LAM_TRY(check(problem));
    struct lam_partition_search search = prepare(problem);
    int last_unit[LAM_MAX_BLOCKS], device_of[LAM_MAX_BLOCKS];
    lam_status status = solve(&search, last_unit, device_of);
    free(search.bytes);
    if (status == LAM_OK) lam_partition_fill_in(problem, last_unit, device_of, partition);
    return status;
}

lam_status lam_partition_uniform(const struct lam_partition_problem *problem,
                                 struct lam_partition *partition) {
    struct lam_partition_problem plain = *problem;
    plain.aux_seconds = plain.speed = NULL;
    plain.block_bytes = NULL;
    LAM_TRY(check(&plain));
    struct lam_partition_problem together = plain;
    together.devices = 1; /* so that nothing but the squares tells partitions apart */
    struct lam_partition parts;
    LAM_TRY(lam_partition_profiled(&together, &parts));
    return lam_partition_fixed(parts.last_unit, &plain, partition);
}

static lam_status check_cuts(const int *last_unit, const struct lam_partition_problem *problem) {
    char text[96];
    for (int b = 0; b < problem->blocks - 1; b++) {
        int before = b ? last_unit[b - 1] : -1;
        if (last_unit[b] <= before || last_unit[b] > problem->units - 2)
            return lam_fail(LAM_ERR_INVALID,
                            "block %d cannot end with unit %d: last units must rise, from 0 to %d", b,
                            last_unit[b], problem->units - 2);
        if (!may_cut(problem, last_unit[b]))
            return lam_fail(LAM_ERR_UNSUPPORTED,
                            "block %d cannot end with %s: the network cannot be cut behind it", b,
                            unit_text(problem, last_unit[b], text, sizeof text));
    }
    return LAM_OK;
}

lam_status lam_partition_fixed(const int *last_unit, const struct lam_partition_problem *problem,
                               struct lam_partition *partition) {
    LAM_TRY(check(problem));
    LAM_TRY(check_cuts(last_unit, problem));
    bool only[LAM_MAX_UNITS] = {false};
    for (int b = 0; b < problem->blocks - 1; b++) only[last_unit[b]] = true;
    struct lam_partition_problem forced = *problem;
    forced.may_cut = only;
    return lam_partition_profiled(&forced, partition);
}
