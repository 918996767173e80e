/* The lanes of a CPU device: one pinned thread per core, that wait together and work together.
 *
 *     struct lam_lanes *lanes;
 *     LAM_TRY(lam_lanes_start(cores, 2, true, &lanes));
 *     lam_lanes_run(lanes, work, context);         // work(context, 0) and work(context, 1), at the same time
 *     lam_lanes_stop(lanes);
 */
#ifndef LAM_CPU_LANES_H
#define LAM_CPU_LANES_H

#include "base/status.h"

#include <stdbool.h>

struct lam_lanes;

/* Starts `count` threads, thread i pinned to system core cores[i]. spin: a waiting thread may keep its core
 * busy for some microseconds; say false where several threads share a core. */
lam_status lam_lanes_start(const int *cores, int count, bool spin, struct lam_lanes **lanes);
void lam_lanes_stop(struct lam_lanes *lanes);

/* Runs work(context, lane) on every lane and returns when all have returned. One caller at a time. */
void lam_lanes_run(struct lam_lanes *lanes, void (*work)(void *context, int lane), void *context);

/* Called by every lane inside work: returns when all lanes have called it. */
void lam_lanes_barrier(struct lam_lanes *lanes);

/* From now on OpenMP regions that this thread enters have one thread: oneDNN must not spread over cores that
 * are not its lane's. Returns what it was, for lam_openmp_set. */
int lam_openmp_single(void);
void lam_openmp_set(int threads);

#endif
