/* Which samples of an evaluation are shown: at most `most` of `count`, spread evenly, the same each time. */
#ifndef LAM_TASKS_COMMON_SHOWN_H
#define LAM_TASKS_COMMON_SHOWN_H

#include <stdbool.h>
#include <stdint.h>

/* Whether sample `index` is one: the first of a share of the set. Samples come in order, `shown` of them have been. */
static inline bool task_is_shown(int64_t index, int64_t count, int shown, int most) {
    if (shown >= most) return false;
    return count <= most || index == 0 || index * most / count != (index - 1) * most / count;
}

#endif
