/* Appended lines. write() goes straight to the file, without a buffer of our own: what a reader or a crash
 * finds is whole lines. A short write (full disk) is cut off again before the error is told. */
#include "train/metrics.h"

#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/files.h"

struct lam_lines {
    char *path;
    int fd;
    uint64_t count, bytes; /* lines, and their bytes */
};

/* Finds the end of the first `keep` whole lines. */
static lam_status find_end(struct lam_lines *lines, uint64_t keep) {
    char piece[65536];
    uint64_t at = 0;
    for (;;) {
        ssize_t got = pread(lines->fd, piece, sizeof piece, (off_t)at);
        if (got < 0 && errno == EINTR) continue;
        if (got < 0) return lam_fail(LAM_ERR_IO, "%s: cannot be read: %s", lines->path, strerror(errno));
        if (got == 0) return LAM_OK;
        for (ssize_t i = 0; i < got; i++) {
            if (lines->count == keep) return LAM_OK;
            if (piece[i] != '\n') continue;
            lines->count++;
            lines->bytes = at + (uint64_t)i + 1;
        }
        at += (uint64_t)got;
    }
}

static lam_status cut(struct lam_lines *lines, uint64_t keep) {
    LAM_TRY(find_end(lines, keep));
    if (ftruncate(lines->fd, (off_t)lines->bytes) != 0)
        return lam_fail(LAM_ERR_IO, "%s: cannot be cut: %s", lines->path, strerror(errno));
    return LAM_OK;
}

lam_status lam_lines_open(const char *path, uint64_t keep, struct lam_lines **lines) {
    struct lam_lines *l = calloc(1, sizeof *l);
    char *copy = strdup(path);
    if (!l || !copy) {
        free(l);
        free(copy);
        return lam_no_memory();
    }
    l->path = copy;
    l->fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0666);
    lam_status status = LAM_OK;
    if (l->fd < 0) status = lam_fail(LAM_ERR_IO, "%s: cannot be written: %s", path, strerror(errno));
    if (status == LAM_OK) status = cut(l, keep);
    if (status != LAM_OK) {
        if (l->fd >= 0) close(l->fd);
        free(copy);
        free(l);
        return status;
    }
    *lines = l;
    return LAM_OK;
}

lam_status lam_lines_close(struct lam_lines *lines) {
    if (!lines) return LAM_OK;
    lam_status status = LAM_OK;
    if (close(lines->fd) != 0)
        status = lam_fail(LAM_ERR_IO, "%s: cannot be written: %s", lines->path, strerror(errno));
    free(lines->path);
    free(lines);
    return status;
}

uint64_t lam_lines_count(const struct lam_lines *lines) {
    return lines->count;
}

lam_status lam_lines_write(struct lam_lines *lines, const char *line) {
    size_t length = strlen(line);
    char *text = malloc(length + 1);
    if (!text) return lam_no_memory();
    memcpy(text, line, length);
    text[length] = '\n';
    ssize_t put;
    do put = pwrite(lines->fd, text, length + 1, (off_t)lines->bytes);
    while (put < 0 && errno == EINTR);
    int reason = put < 0 ? errno : ENOSPC;
    free(text);
    if (put == (ssize_t)(length + 1)) {
        lines->bytes += length + 1;
        lines->count++;
        return LAM_OK;
    }
    int cut_off = ftruncate(lines->fd, (off_t)lines->bytes);
    return lam_fail(LAM_ERR_IO, "%s: cannot be written: %s%s", lines->path, strerror(reason),
                    cut_off == 0 ? "" : " (its last line is not whole)");
}

/* Writes and frees `object`, NULL when it could not be made. */
static lam_status write_object(struct lam_lines *lines, json_t *object) {
    char *text = object ? json_dumps(object, JSON_COMPACT | JSON_REAL_PRECISION(14)) : NULL;
    json_decref(object);
    if (!text) return lam_no_memory();
    lam_status status = lam_lines_write(lines, text);
    free(text);
    return status;
}

/* Seconds since 1970, to the millisecond. */
static json_t *now(void) {
    struct timespec time;
    clock_gettime(CLOCK_REALTIME, &time);
    return json_real((double)time.tv_sec + (double)(time.tv_nsec / 1000000) / 1e3);
}

lam_status lam_metric_write(struct lam_lines *lines, const struct lam_metric *metric) {
    json_t *value = isfinite(metric->value) ? json_real(metric->value) : json_null();
    return write_object(lines, json_pack("{s:I, s:I, s:i, s:s, s:o, s:o}", "step", (json_int_t)metric->step,
                                         "epoch", (json_int_t)metric->epoch, "block", metric->block, "name",
                                         metric->name, "value", value, "time", now()));
}

struct lam_memory_report lam_memory_of(const struct lam_device *device) {
    struct lam_memory_report report = {.total = lam_device_memory_total(device),
                                       .limit = lam_device_limit(device)};
    for (int kind = 0; kind < LAM_MEMORY_KINDS; kind++)
        report.kinds[kind] = lam_device_memory(device, (enum lam_memory_kind)kind);
    return report;
}

struct lam_memory_held lam_memory_held(const struct lam_device *device) {
    struct lam_memory_held held = {.pools = lam_device_memory_total(device).current};
    held.free_known = lam_device_free_memory(device, &held.free);
    held.process_known = held.free_known && lam_device_process_memory(device, &held.process);
    return held;
}

json_t *lam_memory_held_json(const struct lam_memory_held *held) {
    json_t *json = json_pack("{s:I, s:I}", "pools", (json_int_t)held->pools, "free", (json_int_t)held->free);
    if (held->process_known) json_object_set_new(json, "process", json_integer((json_int_t)held->process));
    return json;
}

static lam_status memory_line(struct lam_lines *lines, uint64_t step, const char *device, const char *kind,
                              struct lam_memory_stats stats, size_t limit) {
    return write_object(lines,
                        json_pack("{s:I, s:s, s:s, s:I, s:I, s:I, s:o}", "step", (json_int_t)step, "device",
                                  device, "kind", kind, "current", (json_int_t)stats.current, "peak",
                                  (json_int_t)stats.peak, "limit", (json_int_t)limit, "time", now()));
}

lam_status lam_memory_write(struct lam_lines *lines, uint64_t step, const char *device,
                            const struct lam_memory_report *report) {
    for (int kind = 0; kind < LAM_MEMORY_KINDS; kind++)
        LAM_TRY(memory_line(lines, step, device, lam_memory_kind_name((enum lam_memory_kind)kind),
                            report->kinds[kind], report->limit));
    LAM_TRY(memory_line(lines, step, device, "total", report->total, report->limit));
    if (!report->held.free_known) return LAM_OK;
    json_t *line = lam_memory_held_json(&report->held);
    json_object_set_new(line, "step", json_integer((json_int_t)step));
    json_object_set_new(line, "device", json_string(device));
    json_object_set_new(line, "kind", json_string("driver"));
    json_object_set_new(line, "time", now());
    return write_object(lines, line);
}
