/* A lane's ring has one slot more than it keeps. Its thread fills slot `recorded`, then publishes it by counting it;
 * until then that slot, which no reader takes for one of the newest `capacity`, is the only one that changes. A
 * reader copies what was published and looks at the count again: what the thread may have written over meanwhile is
 * older than the newest `capacity` by then, and is left out.
 *
 * Every word of a span is stored with release and loaded with acquire, so that whoever sees a word of span n also
 * sees that n spans were counted before it.
 */
#include "pipeline/trace.h"

#include <inttypes.h>
#include <jansson.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/files.h"

struct span { /* as it is written */
    uint64_t what, step;
    double begin, end;
};

struct slot { /* as it is kept */
    _Atomic uint64_t what, step;
    _Atomic double begin, end;
};

struct lane {
    struct slot *slots; /* capacity + 1 */
    _Atomic uint64_t recorded;
    char name[128]; /* keeps the counters of two lanes apart in the cache, too */
};

struct lam_trace {
    int lanes;
    uint64_t capacity;
    struct lane lane[];
};

static const char *const names[] = {
#define NAME(suffix, name, category) name,
    LAM_TRACE_TABLE(NAME)
#undef NAME
};

static const char *const categories[] = {
#define CATEGORY(suffix, name, category) category,
    LAM_TRACE_TABLE(CATEGORY)
#undef CATEGORY
};

const char *lam_trace_kind_name(enum lam_trace_kind kind) {
    return (unsigned)kind < LAM_TRACE_KINDS ? names[kind] : "unknown";
}

/* ---- create ---- */

lam_status lam_trace_create(int lanes, int capacity, struct lam_trace **trace) {
    enum { MOST_LANES = 4096 };
    if (lanes < 1 || lanes > MOST_LANES || capacity < 1)
        return lam_fail(LAM_ERR_INVALID, "trace: %d lanes of %d spans; it can be 1 to %d lanes of 1 or more",
                        lanes, capacity, MOST_LANES);
    struct lam_trace *t = calloc(1, sizeof *t + (size_t)lanes * sizeof *t->lane);
    bool complete = t != NULL;
    if (t) {
        t->lanes = lanes;
        t->capacity = (uint64_t)capacity;
    }
    for (int i = 0; i < lanes && complete; i++) {
        t->lane[i].slots = calloc((size_t)capacity + 1, sizeof *t->lane[i].slots);
        complete = t->lane[i].slots != NULL;
        snprintf(t->lane[i].name, sizeof t->lane[i].name, "lane %d", i);
    }
    if (!complete) {
        lam_trace_destroy(t);
        return lam_no_memory();
    }
    *trace = t;
    return LAM_OK;
}

void lam_trace_destroy(struct lam_trace *trace) {
    if (!trace) return;
    for (int i = 0; i < trace->lanes; i++) free(trace->lane[i].slots);
    free(trace);
}

/* ---- record ---- */

void lam_trace_lane(struct lam_trace *trace, int lane, const char *name) {
    if (!trace || lane < 0 || lane >= trace->lanes) return;
    char *to = trace->lane[lane].name;
    size_t size = strnlen(name, sizeof trace->lane[lane].name);
    if (size == sizeof trace->lane[lane].name) /* cut before a character, not inside one */
        for (size--; size > 0 && ((unsigned char)name[size] & 0xC0) == 0x80;) size--;
    memcpy(to, name, size);
    to[size] = 0;
}

void lam_trace_span(struct lam_trace *trace, int lane, enum lam_trace_kind kind, int block, uint64_t step,
                    double begin, double end) {
    const double most = 4e9; /* seconds: more than a century, and its nanoseconds fit 64 bits */
    if (!trace || lane < 0 || lane >= trace->lanes || (unsigned)kind >= LAM_TRACE_KINDS) return;
    if (!(begin >= 0 && begin <= end && end <= most)) return;
    struct lane *l = &trace->lane[lane];
    uint64_t n = atomic_load_explicit(&l->recorded, memory_order_relaxed); /* by this thread alone */
    struct slot *slot = &l->slots[n % (trace->capacity + 1)];
    uint64_t what = (uint64_t)kind << 32 | (uint32_t)block;
    atomic_store_explicit(&slot->what, what, memory_order_release);
    atomic_store_explicit(&slot->step, step, memory_order_release);
    atomic_store_explicit(&slot->begin, begin, memory_order_release);
    atomic_store_explicit(&slot->end, end, memory_order_release);
    atomic_store_explicit(&l->recorded, n + 1, memory_order_release);
}

/* ---- write ---- */

/* Copies a lane's spans [*first, *end) to the places of a ring of `capacity`. */
static void copy_lane(const struct lam_trace *trace, int lane, struct span *ring, uint64_t *first,
                      uint64_t *end) {
    const struct lane *l = &trace->lane[lane];
    *end = atomic_load_explicit(&l->recorded, memory_order_acquire);
    *first = *end > trace->capacity ? *end - trace->capacity : 0;
    for (uint64_t n = *first; n < *end; n++) {
        const struct slot *slot = &l->slots[n % (trace->capacity + 1)];
        ring[n % trace->capacity] = (struct span){
            .what = atomic_load_explicit(&slot->what, memory_order_acquire),
            .step = atomic_load_explicit(&slot->step, memory_order_acquire),
            .begin = atomic_load_explicit(&slot->begin, memory_order_acquire),
            .end = atomic_load_explicit(&slot->end, memory_order_acquire),
        };
    }
    uint64_t now = atomic_load_explicit(&l->recorded, memory_order_relaxed);
    uint64_t oldest = now > trace->capacity ? now - trace->capacity : 0;
    if (*first < oldest) *first = oldest < *end ? oldest : *end;
}

/* Not by a printf of the fraction, whose decimal point depends on the locale. */
static void put_microseconds(FILE *to, const char *key, uint64_t nanoseconds) {
    fprintf(to, "\"%s\":%" PRIu64 ".%03" PRIu64 ",", key, nanoseconds / 1000, nanoseconds % 1000);
}

static void put_span(FILE *to, int lane, const struct span *span) {
    unsigned kind = (unsigned)(span->what >> 32);
    uint64_t begin = (uint64_t)(span->begin * 1e9 + 0.5), end = (uint64_t)(span->end * 1e9 + 0.5);
    fprintf(to, ",\n{\"ph\":\"X\",\"pid\":1,\"tid\":%d,", lane + 1);
    put_microseconds(to, "ts", begin);
    put_microseconds(to, "dur", end - begin);
    fprintf(to, "\"name\":\"%s\",\"cat\":\"%s\",\"args\":{\"step\":%" PRIu64 ",\"block\":%d}}", names[kind],
            categories[kind], span->step, (int)(uint32_t)span->what);
}

/* {"ph":"M", ...}: names a lane, or says where it stands. Takes `value`. */
static lam_status put_about_lane(FILE *to, const char *what, int lane, const char *key, json_t *value) {
    json_t *event = json_pack("{s:s, s:i, s:i, s:s, s:{s:o}}", "ph", "M", "pid", 1, "tid", lane + 1, "name",
                              what, "args", key, value);
    char *text = event ? json_dumps(event, JSON_COMPACT) : NULL;
    json_decref(event);
    if (!text) return lam_no_memory();
    fprintf(to, ",\n%s", text);
    free(text);
    return LAM_OK;
}

/* The file must stay JSON, whatever the bytes of a name are. */
static json_t *lane_name(const struct lane *lane) {
    json_t *name = json_string(lane->name);
    return name ? name : json_string("?");
}

static lam_status put_lane(FILE *to, const struct lam_trace *trace, int lane, struct span *ring,
                           uint64_t *lost) {
    LAM_TRY(put_about_lane(to, "thread_name", lane, "name", lane_name(&trace->lane[lane])));
    LAM_TRY(put_about_lane(to, "thread_sort_index", lane, "sort_index", json_integer(lane)));
    uint64_t end;
    copy_lane(trace, lane, ring, lost, &end);
    for (uint64_t n = *lost; n < end; n++) put_span(to, lane, &ring[n % trace->capacity]);
    return LAM_OK;
}

static lam_status put_trace(FILE *to, const struct lam_trace *trace, struct span *ring, uint64_t *lost) {
    fputs("{\"displayTimeUnit\":\"ms\",\"traceEvents\":[\n"
          "{\"ph\":\"M\",\"pid\":1,\"name\":\"process_name\",\"args\":{\"name\":\"lamina\"}}",
          to);
    for (int i = 0; i < trace->lanes; i++) LAM_TRY(put_lane(to, trace, i, ring, &lost[i]));
    fprintf(to, "\n],\"otherData\":{\"capacity\":%" PRIu64 ",\"lost\":[", trace->capacity);
    for (int i = 0; i < trace->lanes; i++) fprintf(to, "%s%" PRIu64, i ? "," : "", lost[i]);
    fputs("]}}\n", to);
    return LAM_OK;
}

lam_status lam_trace_write(const struct lam_trace *trace, const char *path) {
    if (!trace) return LAM_OK;
    struct lam_atomic_file file = {0};
    struct span *ring = malloc((size_t)trace->capacity * sizeof *ring);
    uint64_t *lost = calloc((size_t)trace->lanes, sizeof *lost);
    lam_status status = ring && lost ? lam_atomic_open(&file, path) : lam_no_memory();
    if (status == LAM_OK) {
        status = put_trace(file.stream, trace, ring, lost);
        if (status == LAM_OK)
            status = lam_atomic_commit(&file);
        else
            lam_atomic_abandon(&file);
    }
    free(ring);
    free(lost);
    return status;
}
