/* Best ways to cut one run of units into blocks, by dynamic programming from the end of the run to its
 * beginning.
 *
 * Where memory matters, the cheapest way to cut the rest of a run may not leave room for a block before
 * it, so all ways are kept that no other beats in both cost and bytes. Without limits that is one way a
 * run. The number stays small because auxiliary networks and the bytes of blocks are much the same within
 * a stage of a network.
 */
#include "local/partition_runs.h"

#include <stdlib.h>
#include <string.h>

/* Of a block's bytes as a cost; what is larger fits nowhere anyway, and the sums must not overflow. */
static const size_t LARGEST = INT64_MAX / 1024;

static size_t add_bytes(size_t a, size_t b) {
    return a > SIZE_MAX - b ? SIZE_MAX : a + b;
}

static size_t bytes_of_block(const struct lam_partition_search *search, int device, int first, int last) {
    size_t row = (size_t)device * (size_t)search->units + (size_t)first;
    return search->bytes[row * (size_t)(search->spare + 1) + (size_t)(last - first)];
}

/* What the block [first, last] alone costs on the device. */
static struct lam_partition_way block_way(const struct lam_partition_search *search,
                                          enum lam_partition_aim aim, int device, int first, int last) {
    struct lam_partition_way way = {.rest = LAM_PARTITION_NO_REST, .last_unit = (uint8_t)last};
    if (aim == LAM_PARTITION_BYTES) {
        size_t bytes = bytes_of_block(search, device, first, last);
        way.cost.work = (int64_t)(bytes < LARGEST ? bytes : LARGEST);
        return way;
    }
    int64_t work = search->work_before[last + 1] - search->work_before[first] + search->aux[last];
    way.cost = (struct lam_partition_cost){work, (lam_u128)work * (lam_u128)work};
    if (aim == LAM_PARTITION_TIME_IN_LIMITS && lam_partition_limit(search->problem, device))
        way.bytes = bytes_of_block(search, device, first, last);
    return way;
}

/* By cost, then by last units in order. Both ways are of the same number of blocks and end with the same
 * unit. */
static int compare(const struct lam_partition_runs *runs, const struct lam_partition_way *a,
                   const struct lam_partition_way *b, int blocks) {
    int order = lam_partition_cost_compare(a->cost, b->cost);
    for (; order == 0 && blocks > 1; blocks--) {
        order = (a->last_unit > b->last_unit) - (a->last_unit < b->last_unit);
        if (blocks > 2 && a->rest == b->rest) break;
        a = &runs->ways[a->rest];
        b = &runs->ways[b->rest];
    }
    return order;
}

static lam_status make_room(struct lam_partition_runs *runs) {
    if (runs->count < runs->capacity) return LAM_OK;
    size_t capacity = runs->capacity ? runs->capacity * 2 : 1024;
    if (capacity > UINT32_MAX) return lam_fail(LAM_ERR_NO_MEMORY, "out of memory for partitions");
    struct lam_partition_way *ways = realloc(runs->ways, capacity * sizeof *ways);
    if (!ways) return lam_fail(LAM_ERR_NO_MEMORY, "out of memory for partitions");
    runs->ways = ways;
    runs->capacity = capacity;
    return LAM_OK;
}

/* Puts a way among those of the run under work, which lie from `first` to the end, unless one of them is
 * as good; drops those that are no better than it. */
static lam_status keep(struct lam_partition_runs *runs, size_t first, struct lam_partition_way way,
                       int blocks) {
    size_t at = first;
    while (at < runs->count && runs->ways[at].bytes <= way.bytes) at++;
    if (at > first && compare(runs, &runs->ways[at - 1], &way, blocks) <= 0) return LAM_OK;
    if (at > first && runs->ways[at - 1].bytes == way.bytes) at--;
    size_t end = at;
    while (end < runs->count && compare(runs, &way, &runs->ways[end], blocks) <= 0) end++;
    if (end == at) LAM_TRY(make_room(runs));
    memmove(&runs->ways[at + 1], &runs->ways[end], (runs->count - end) * sizeof way);
    runs->ways[at] = way;
    runs->count -= end - at;
    runs->count++;
    return LAM_OK;
}

struct place {
    const struct lam_partition_search *search;
    enum lam_partition_aim aim;
    int device;
    size_t limit; /* SIZE_MAX: none */
};

/* Whether a way cannot be kept, by what is quickly known; most cannot. */
static bool is_hopeless(const struct lam_partition_runs *runs, size_t begin, int64_t work, size_t bytes) {
    return runs->count > begin && runs->ways[begin].cost.work < work && runs->ways[begin].bytes <= bytes;
}

/* The ways of a run that begin with the block [first_unit, last]; `rest` is what follows it. */
static lam_status begin_with(struct lam_partition_runs *runs, const struct place *place, int first_unit,
                             int last, size_t rest, int blocks, size_t begin) {
    struct lam_partition_way block = block_way(place->search, place->aim, place->device, first_unit, last);
    for (uint32_t i = 0; i < runs->run[rest].count; i++) {
        uint32_t index = runs->run[rest].first + i;
        const struct lam_partition_way *after = &runs->ways[index];
        struct lam_partition_way way = block;
        way.cost.work += after->cost.work;
        way.bytes = add_bytes(way.bytes, after->bytes);
        if (way.bytes > place->limit) break;
        if (is_hopeless(runs, begin, way.cost.work, way.bytes)) continue;
        way.cost.squares += after->cost.squares;
        way.rest = index;
        LAM_TRY(keep(runs, begin, way, blocks));
    }
    return LAM_OK;
}

static lam_status single_block(struct lam_partition_runs *runs, const struct place *place, int first_unit,
                               int last) {
    struct lam_partition_way block = block_way(place->search, place->aim, place->device, first_unit, last);
    return block.bytes > place->limit ? LAM_OK : keep(runs, runs->count, block, 1);
}

static lam_status tabulate(struct lam_partition_runs *runs, const struct place *place, int end, int blocks,
                           int spare) {
    int first_unit = end + 1 - blocks - spare;
    if (first_unit > 0 && !place->search->may_end[first_unit - 1]) return LAM_OK;
    size_t begin = runs->count, at = lam_partition_runs_index(runs, end, blocks, spare);
    if (blocks == 1) LAM_TRY(single_block(runs, place, first_unit, end));
    size_t rest = blocks > 1 ? lam_partition_runs_index(runs, end, blocks - 1, spare) : 0;
    for (int own = 0; own <= spare && blocks > 1; own++)
        if (place->search->may_end[first_unit + own])
            LAM_TRY(begin_with(runs, place, first_unit, first_unit + own, rest - (size_t)own, blocks, begin));
    runs->run[at].first = (uint32_t)begin;
    runs->run[at].count = (uint32_t)(runs->count - begin);
    return LAM_OK;
}

static lam_status write_cuts(struct lam_partition_runs *runs) {
    size_t blocks = (size_t)runs->blocks;
    free(runs->cuts);
    runs->cuts = calloc(runs->count + 1, blocks); /* there may be no way at all */
    if (!runs->cuts) return lam_fail(LAM_ERR_NO_MEMORY, "out of memory for partitions");
    for (size_t w = 0; w < runs->count; w++) {
        uint8_t *cuts = runs->cuts + w * blocks;
        cuts[0] = runs->ways[w].last_unit;
        if (runs->ways[w].rest != LAM_PARTITION_NO_REST)
            memcpy(cuts + 1, runs->cuts + runs->ways[w].rest * blocks, blocks - 1);
    }
    return LAM_OK;
}

lam_status lam_partition_runs_build(struct lam_partition_runs *runs,
                                    const struct lam_partition_search *search, enum lam_partition_aim aim,
                                    int device) {
    runs->blocks = search->blocks - search->devices + 1; /* every other device has one at least */
    runs->spare = search->spare;
    runs->count = 0;
    size_t entries = (size_t)search->units * (size_t)runs->blocks * (size_t)(runs->spare + 1);
    if (!runs->run) runs->run = calloc(entries, sizeof *runs->run);
    if (!runs->run) return lam_fail(LAM_ERR_NO_MEMORY, "out of memory for partitions");
    size_t limit = aim == LAM_PARTITION_TIME_IN_LIMITS ? lam_partition_limit(search->problem, device) : 0;
    struct place place = {search, aim, device, limit ? limit : SIZE_MAX};
    /* One device alone has a single run, to the last unit. */
    for (int end = search->devices == 1 ? search->units - 1 : 0; end < search->units; end++)
        for (int blocks = 1; blocks <= runs->blocks && search->may_end[end]; blocks++)
            for (int spare = 0; spare <= runs->spare && blocks + spare <= end + 1; spare++)
                LAM_TRY(tabulate(runs, &place, end, blocks, spare));
    return write_cuts(runs);
}

void lam_partition_runs_free(struct lam_partition_runs *runs) {
    free(runs->ways);
    free(runs->cuts);
    free(runs->run);
    *runs = (struct lam_partition_runs){0};
}
