/* A trace of who did what when, in Chrome's trace event format: opens in Perfetto or chrome://tracing.
 *
 *     struct lam_trace *trace;
 *     LAM_TRY(lam_trace_create(2, 1 << 16, &trace));
 *     lam_trace_lane(trace, 0, "cpu:0  stem..layer1.4");                   // a lane per device
 *     double begin = lam_seconds();
 *     ... work ...
 *     lam_trace_span(trace, 0, LAM_TRACE_FORWARD, 1, step, begin, lam_seconds());
 *     LAM_TRY(lam_trace_write(trace, "runs/a/trace.json"));                // whole file, written beside and renamed
 *
 * Spans go into one ring per lane, allocated at creation: recording takes no lock and no memory, keeps the newest
 * `capacity` spans of each lane and counts those that fell out. One thread records for a lane at a time; write may
 * be called while others record, it then sees a prefix of what they did.
 *
 * In the file lane n is thread n + 1 of process 1, and its number of lost spans is otherData.lost[n]; times are
 * lam_seconds() in microseconds.
 */
#ifndef LAM_PIPELINE_TRACE_H
#define LAM_PIPELINE_TRACE_H

#include "base/status.h"

#include <stdint.h>

/* X(suffix, name, category): "work" keeps the device busy, "wait" does not */
#define LAM_TRACE_TABLE(X)                                                                                   \
    X(FORWARD, "forward", "work")                                                                            \
    X(BACKWARD, "backward", "work")                                                                          \
    X(STEP, "forward and backward", "work") /* where the two cannot be told apart */                         \
    X(UPDATE, "update", "work")                                                                              \
    X(STARVED, "starved", "wait") /* waits for a batch or a snapshot */                                      \
    X(BLOCKED, "blocked", "wait") /* waits for room in the next queue */                                     \
    X(EVALUATE, "evaluate", "work")

enum lam_trace_kind {
#define LAM_TRACE_ENUM(suffix, name, category) LAM_TRACE_##suffix,
    LAM_TRACE_TABLE(LAM_TRACE_ENUM)
#undef LAM_TRACE_ENUM
        LAM_TRACE_KINDS
};
const char *lam_trace_kind_name(enum lam_trace_kind kind); /* "unknown" for no kind */

struct lam_trace;

/* capacity: spans kept per lane, >= 1; a span takes 32 bytes. LAM_ERR_INVALID, LAM_ERR_NO_MEMORY. */
lam_status lam_trace_create(int lanes, int capacity, struct lam_trace **trace);
void lam_trace_destroy(struct lam_trace *trace); /* NULL is allowed */
/* Copies the name in UTF-8, at most 127 bytes of it; before other threads use the trace. NULL trace: does nothing. */
void lam_trace_lane(struct lam_trace *trace, int lane, const char *name);
/* begin, end: lam_seconds(). block: number from 1, 0 = none. NULL trace, a lane or kind that does not exist, or times
 * that no clock shows: does nothing. */
void lam_trace_span(struct lam_trace *trace, int lane, enum lam_trace_kind kind, int block, uint64_t step,
                    double begin, double end);
/* The file as it was stays on failure. LAM_ERR_IO, LAM_ERR_NO_MEMORY. NULL trace: writes nothing. */
lam_status lam_trace_write(const struct lam_trace *trace, const char *path);

#endif
