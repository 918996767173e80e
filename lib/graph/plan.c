/* Memory planning: offsets for values whose lifetimes are known.
 *
 * Greedy by size: the largest item first, each at the lowest offset where it does not meet an item that is
 * alive at the same time. On networks that comes within a few percent of the lower bound (the largest sum of
 * live bytes), and the result depends on nothing but the items.
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

static size_t rounded(size_t bytes) {
    return (bytes + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
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
        size_t need = rounded(item->bytes), offset = 0;
        for (int p = 0; p < placed_count; p++) {
            const struct plan_item *other = &items[placed[p]];
            if (!meet(item, other)) continue;
            if (other->offset >= offset + need) break;
            size_t end = other->offset + rounded(other->bytes);
            if (end > offset) offset = end;
        }
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
