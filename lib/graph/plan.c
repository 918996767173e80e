/* Memory planning: offsets for values whose lifetimes are known.
 *
 * Greedy by size: the largest item first, each at the lowest offset where it does not meet an item that is
 * alive at the same time. On networks that comes within a few percent of the lower bound (the largest sum of
 * live bytes), and the result depends on nothing but the items.
 *
 * In backward passes that would still keep one buffer too many: a gradient is computed while the activation that it is
 * computed from dies. Both are read and written sample by sample, so the one may lie where the other lies.
 */
#include <stdlib.h>

#include "graph/internal.h"

enum { ALIGNMENT = 64 };

static int larger_first(const void *a, const void *b, void *context) {
    const struct plan_item *items = context;
    int i = *(const int *)a, j = *(const int *)b;
    if (items[i].bytes != items[j].bytes) return items[i].bytes < items[j].bytes ? 1 : -1;
    return i < j ? -1 : 1;
}

static bool meet(const struct plan_item *a, const struct plan_item *b) {
    return a->begin <= b->end && b->begin <= a->end;
}

static bool takes_place_of(const struct plan_item *old, const struct plan_item *fresh) {
    return old->row && old->row == fresh->row && old->bytes == fresh->bytes && old->end == fresh->begin &&
           old->begin < fresh->begin && old->read < fresh->written;
}

static bool succeed(const struct plan_item *a, const struct plan_item *b) {
    return takes_place_of(a, b) || takes_place_of(b, a);
}

static size_t rounded(size_t bytes) {
    return (bytes + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
}

/* Whether item may lie at `offset`, with those that are placed already. */
static bool fits(const struct plan_item *items, const int *placed, int count, const struct plan_item *item,
                 size_t offset) {
    size_t need = rounded(item->bytes);
    for (int p = 0; p < count; p++) {
        const struct plan_item *other = &items[placed[p]];
        if (!meet(item, other) || other->offset >= offset + need ||
            other->offset + rounded(other->bytes) <= offset)
            continue;
        if (other->offset != offset || !succeed(item, other)) return false;
    }
    return true;
}

/* The lowest offset; placed: by offset. */
static size_t find_offset(const struct plan_item *items, const int *placed, int count,
                          const struct plan_item *item) {
    size_t need = rounded(item->bytes), offset = 0;
    for (int p = 0; p < count; p++) {
        const struct plan_item *other = &items[placed[p]];
        if (!meet(item, other)) continue;
        if (other->offset >= offset + need) break;
        if (succeed(item, other) && fits(items, placed, count, item, other->offset)) return other->offset;
        size_t end = other->offset + rounded(other->bytes);
        if (end > offset) offset = end;
    }
    return offset;
}

size_t lam_plan(struct plan_item *items, int count) {
    int *order = malloc(sizeof(int) * (size_t)(count + 1));
    int *placed = malloc(sizeof(int) * (size_t)(count + 1)); /* by offset */
    if (!order || !placed) {                                 /* no sharing at all is still a right plan */
        size_t total = 0;
        for (int i = 0; i < count; i++) {
            items[i].offset = total;
            total += rounded(items[i].bytes);
        }
        free(order);
        free(placed);
        return total;
    }
    for (int i = 0; i < count; i++) order[i] = i;
    qsort_r(order, (size_t)count, sizeof(int), larger_first, items);
    size_t total = 0;
    int placed_count = 0;
    for (int k = 0; k < count; k++) {
        struct plan_item *item = &items[order[k]];
        size_t need = rounded(item->bytes), offset = find_offset(items, placed, placed_count, item);
        item->offset = offset;
        if (offset + need > total) total = offset + need;
        int at = placed_count++;
        for (; at > 0 && items[placed[at - 1]].offset > offset; at--) placed[at] = placed[at - 1];
        placed[at] = order[k];
    }
    free(order);
    free(placed);
    return total;
}
