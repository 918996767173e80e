/* The logs of a run: metrics.jsonl and memory.jsonl, one JSON object a line, readable while the run goes on.
 *
 *     LAM_TRY(lam_lines_open("runs/a/metrics.jsonl", 0, &lines));            // 0: from the beginning
 *     LAM_TRY(lam_metric_write(lines, &(struct lam_metric){.step = 10, .epoch = 0, .block = 1,
 *                                                          .name = "train/loss", .value = 2.3}));
 *     uint64_t count = lam_lines_count(lines);                               // stands in the checkpoint
 *     LAM_TRY(lam_lines_close(lines));
 *     LAM_TRY(lam_lines_open("runs/a/metrics.jsonl", count, &lines));        // resume: no line twice
 *
 * Each line is one write(), so a crash leaves whole lines, and a resumed run cuts off what came after its
 * checkpoint.
 */
#ifndef LAM_TRAIN_METRICS_H
#define LAM_TRAIN_METRICS_H

#include <jansson.h>
#include <stdint.h>

#include "device/device.h"

/* ---- a file of lines ---- */

struct lam_lines;

/* Opens for appending after the first `keep` lines (all whole lines, if there are fewer); what follows is
 * cut off. */
lam_status lam_lines_open(const char *path, uint64_t keep, struct lam_lines **lines);
lam_status lam_lines_close(struct lam_lines *lines); /* NULL is allowed */
uint64_t lam_lines_count(const struct lam_lines *lines);
/* One line; a newline is added. LAM_ERR_IO names the file; what was there is whole. */
lam_status lam_lines_write(struct lam_lines *lines, const char *line);

/* ---- what stands in them ---- */

struct lam_metric {
    uint64_t step, epoch;
    int block; /* from 1; 0 = the whole network */
    const char *name;
    double value; /* not finite is written as null */
};
/* {"step":..,"epoch":..,"block":..,"name":"..","value":..,"time":..}; time: seconds since 1970. */
lam_status lam_metric_write(struct lam_lines *lines, const struct lam_metric *metric);

/* A device's pools beside what its driver counts, at one moment. */
struct lam_memory_held {
    bool free_known, process_known;
    uint64_t pools, process, free; /* bytes */
};
struct lam_memory_held lam_memory_held(const struct lam_device *device);
/* {"pools":..,"free":..,"process":..}, the last where it is known; free_known must be true. */
json_t *lam_memory_held_json(const struct lam_memory_held *held);

/* What a device's memory comes to, with its limit (0: none). */
struct lam_memory_report {
    struct lam_memory_stats kinds[LAM_MEMORY_KINDS], total;
    size_t limit;
    struct lam_memory_held held; /* in the midst of training, once there was any */
};
struct lam_memory_report lam_memory_of(const struct lam_device *device);
/* One line per kind and one for the total of the device; where the driver tells, one more, of the moment that `held` is of:
 * {"step":..,"device":"cuda:0","kind":"driver","pools":..,"process":..,"free":..,"time":..}. The others:
 * {"step":..,"device":"cpu:0","kind":"activations","current":..,"peak":..,"limit":..,"time":..}. */
lam_status lam_memory_write(struct lam_lines *lines, uint64_t step, const char *device,
                            const struct lam_memory_report *report);

#endif
