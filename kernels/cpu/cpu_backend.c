/* The CPU backend: groups of cores as devices.
 *
 * "cpu:A-B" is one device with a lane on each of the cores A to B, counted among the cores that this process
 * may use. Numbers beyond those wrap around, so that a plan for more devices than there are cores still runs
 * (slower, and describe() says so). Work is done by the caller's run_lanes at once: streams and events are
 * there for the contract and have nothing to wait for. */
#include "base/log.h"
#include "cpu/addend.h"
#include "cpu/conv.h"
#include "cpu/lanes.h"
#include "cpu/measure.h"
#include "cpu/update.h"

#include <cpuid.h>
#include <errno.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

enum { MAX_CORE = 1023, MAX_LANES = 256, HUGE_PAGE = 2 << 20 };

struct lam_backend_device {
    struct lam_lanes *lanes;
    int lane_count;
    char description[256];
};

struct lam_stream {
    struct lam_backend_device *device;
};

struct lam_event {
    struct lam_backend_device *device;
};

/* ---- devices ---- */

/* "3" or "0-3" into first and last. */
static lam_status parse_spec(const char *spec, int *first, int *last) {
    char *end;
    errno = 0;
    long a = strtol(spec, &end, 10), b = a;
    bool good = end != spec && spec[0] >= '0' && spec[0] <= '9';
    if (good && *end == '-') {
        const char *second = end + 1;
        b = strtol(second, &end, 10);
        good = end != second && second[0] >= '0' && second[0] <= '9';
    }
    if (!good || *end != '\0' || errno || b < a)
        return lam_fail(LAM_ERR_INVALID, "'%s' is not a core or a range of cores; say cpu:0 or cpu:0-3",
                        spec);
    if (b > MAX_CORE || b - a + 1 > MAX_LANES)
        return lam_fail(LAM_ERR_INVALID, "cores go up to %d, at most %d in a device", (int)MAX_CORE,
                        (int)MAX_LANES);
    *first = (int)a;
    *last = (int)b;
    return LAM_OK;
}

/* The system's numbers of the cores that this process may use; returns how many. */
static int allowed_cores(int *cores, int room) {
    cpu_set_t set;
    int count = 0;
    if (sched_getaffinity(0, sizeof set, &set) == 0)
        for (int core = 0; core < CPU_SETSIZE && count < room; core++)
            if (CPU_ISSET((size_t)core, &set)) cores[count++] = core;
    if (count == 0) cores[count++] = 0;
    return count;
}

static int cpu_device_count(void) {
    int cores[MAX_CORE + 1];
    return allowed_cores(cores, MAX_CORE + 1);
}

static void processor_name(char *text, size_t size) {
    unsigned brand[12] = {0}, most = __get_cpuid_max(0x80000000u, NULL);
    if (most >= 0x80000004u)
        for (unsigned i = 0; i < 3; i++)
            __get_cpuid(0x80000002u + i, &brand[4 * i], &brand[4 * i + 1], &brand[4 * i + 2],
                        &brand[4 * i + 3]);
    char raw[sizeof brand + 1];
    memcpy(raw, brand, sizeof brand);
    raw[sizeof brand] = '\0';
    size_t used = 0; /* runs of blanks become one, none at the ends */
    for (const char *c = raw; *c && used + 1 < size; c++)
        if (*c != ' ' || (used > 0 && text[used - 1] != ' ')) text[used++] = *c;
    while (used > 0 && text[used - 1] == ' ') used--;
    text[used] = '\0';
    if (used == 0) snprintf(text, size, "an unnamed processor");
}

/* The kernel knows better than sysconf(), which adds up caches that virtual machines do not have. */
static int l3_mebibytes(void) {
    FILE *file = fopen("/sys/devices/system/cpu/cpu0/cache/index3/size", "r");
    int kibibytes = 0;
    if (file && fscanf(file, "%dK", &kibibytes) != 1) kibibytes = 0;
    if (file) fclose(file);
    return kibibytes / 1024;
}

static void describe_device(struct lam_backend_device *device, int cores, bool shared) {
    const char *isa = lam_cpu_isa() == LAM_CPU_V4 ? "AVX-512" : "AVX2";
    char processor[64], cache[32] = "";
    processor_name(processor, sizeof processor);
    int mebibytes = l3_mebibytes();
    if (mebibytes > 0) snprintf(cache, sizeof cache, ", %d MiB L3", mebibytes);
    int lanes = device->lane_count;
    char who[64];
    if (lanes > cores)
        snprintf(who, sizeof who, "%d lanes on %d core%s", lanes, cores, cores == 1 ? "" : "s");
    else
        snprintf(who, sizeof who, "%d core%s", lanes, lanes == 1 ? "" : "s");
    snprintf(device->description, sizeof device->description, "%s of %s, %s%s%s%s", who, processor, isa,
             cache, lam_cpu_conv_direct_only() ? ", direct convolutions" : "",
             shared ? ", shared with other lanes" : "");
}

static lam_status cpu_device_open(const char *spec, struct lam_backend_device **device) {
    LAM_TRY(lam_cpu_isa_check());
    LAM_TRY(lam_cpu_conv_check());
    int first = 0, last = 0, allowed[MAX_CORE + 1], cores[MAX_LANES];
    LAM_TRY(parse_spec(spec, &first, &last));
    int allowed_count = allowed_cores(allowed, MAX_CORE + 1);
    struct lam_backend_device *d = calloc(1, sizeof *d);
    if (!d) return lam_no_memory();
    d->lane_count = last - first + 1;
    for (int i = 0; i < d->lane_count; i++) cores[i] = allowed[(first + i) % allowed_count];
    bool shared = last >= allowed_count;
    describe_device(d, allowed_count, shared);
    lam_status status = lam_lanes_start(cores, d->lane_count, !shared, &d->lanes);
    if (status != LAM_OK) {
        free(d);
        return status;
    }
    if (shared)
        lam_log(LAM_LOG_NOTICE,
                "cpu:%s: this process may use %d core%s, counted from 0; lanes beyond share them", spec,
                allowed_count, allowed_count == 1 ? "" : "s");
    *device = d;
    return LAM_OK;
}

static void cpu_device_close(struct lam_backend_device *device) {
    lam_lanes_stop(device->lanes);
    free(device);
}

static int cpu_lanes(const struct lam_backend_device *device) {
    return device->lane_count;
}

static const char *cpu_describe(const struct lam_backend_device *device) {
    return device->description;
}

/* What the machine has, or what a container grants of it. */
static uint64_t cpu_total_memory(const struct lam_backend_device *device) {
    (void)device;
    uint64_t total = (uint64_t)sysconf(_SC_PHYS_PAGES) * (uint64_t)sysconf(_SC_PAGESIZE);
    FILE *file = fopen("/sys/fs/cgroup/memory.max", "r");
    unsigned long long granted;
    if (file && fscanf(file, "%llu", &granted) == 1 && granted < total) total = granted;
    if (file) fclose(file);
    return total;
}

/* ---- memory ---- */

/* Big blocks start on a huge page and ask for huge pages: a step walks through all of its arena, and with
 * small pages address translation alone takes a noticeable share of it. */
static lam_status cpu_allocate(struct lam_backend_device *device, size_t bytes, void **pointer) {
    (void)device;
    bool huge = bytes >= HUGE_PAGE;
    void *memory = NULL;
    if (posix_memalign(&memory, huge ? HUGE_PAGE : 64, bytes) != 0)
        return lam_fail(LAM_ERR_NO_MEMORY, "the system has no %zu bytes left", bytes);
    if (huge) madvise(memory, bytes / HUGE_PAGE * HUGE_PAGE, MADV_HUGEPAGE);
    *pointer = memory;
    return LAM_OK;
}

static void cpu_release(struct lam_backend_device *device, void *pointer) {
    (void)device;
    free(pointer);
}

/* ---- streams, events, copies ---- */

static lam_status cpu_stream_create(struct lam_backend_device *device, struct lam_stream **stream) {
    struct lam_stream *s = malloc(sizeof *s);
    if (!s) return lam_no_memory();
    s->device = device;
    *stream = s;
    return LAM_OK;
}

static void cpu_stream_destroy(struct lam_stream *stream) {
    free(stream);
}

static lam_status cpu_stream_sync(struct lam_stream *stream) {
    (void)stream;
    return LAM_OK;
}

static lam_status cpu_event_create(struct lam_backend_device *device, struct lam_event **event) {
    struct lam_event *e = malloc(sizeof *e);
    if (!e) return lam_no_memory();
    e->device = device;
    *event = e;
    return LAM_OK;
}

static void cpu_event_destroy(struct lam_event *event) {
    free(event);
}

static lam_status cpu_event_on_stream(struct lam_event *event, struct lam_stream *stream) {
    (void)event, (void)stream;
    return LAM_OK;
}

static lam_status cpu_event_sync(struct lam_event *event) {
    (void)event;
    return LAM_OK;
}

static lam_status cpu_copy(struct lam_stream *stream, void *to, const void *from, size_t bytes) {
    (void)stream;
    if (bytes > 0) memcpy(to, from, bytes);
    return LAM_OK;
}

static lam_status cpu_copy_peer(struct lam_stream *stream, struct lam_backend_device *to_device, void *to,
                                struct lam_backend_device *from_device, const void *from, size_t bytes) {
    (void)to_device, (void)from_device;
    return cpu_copy(stream, to, from, bytes);
}

static lam_status cpu_fill_zero(struct lam_stream *stream, void *to, size_t bytes) {
    (void)stream;
    if (bytes > 0) memset(to, 0, bytes);
    return LAM_OK;
}

static lam_status cpu_call_host(struct lam_stream *stream, void (*function)(void *context), void *context) {
    (void)stream;
    function(context);
    return LAM_OK;
}

/* ---- lanes and ops ---- */

static void cpu_run_lanes(struct lam_backend_device *device, void (*work)(void *context, int lane),
                          void *context) {
    lam_lanes_run(device->lanes, work, context);
}

static void cpu_lane_barrier(struct lam_backend_device *device, int lane) {
    (void)lane;
    lam_lanes_barrier(device->lanes);
}

/* Blocked as soon as a block is full once: with fewer channels most of it would be padding. */
static enum lam_layout cpu_layout(const struct lam_backend_device *device,
                                  const struct lam_tensor_desc *desc) {
    (void)device;
    if (desc->shape.rank != 4 || desc->shape.dim[1] < 16 || desc->dtype == LAM_U8) return LAM_PLAIN;
    return lam_cpu_blocked_layout();
}

static lam_status missing(const struct lam_op *op) {
    char shape[96] = "";
    if (op->inputs > 0) lam_shape_text(op->in[0].desc.shape, shape, sizeof shape);
    return lam_fail(LAM_ERR_UNSUPPORTED, "the cpu backend has no %s (first operand %s)",
                    lam_op_name(op->kind), shape);
}

static lam_status cpu_kernel_create(struct lam_backend_device *device, const struct lam_op *op,
                                    const struct lam_kernel_options *options, struct lam_kernel **kernel,
                                    const char **chosen) {
    lam_cpu_create_fn create = lam_cpu_create_for(op->kind);
    if (!create) return missing(op);
    if (lam_op_has_addend(op) && !lam_cpu_adds(op->kind)) create = lam_cpu_addend_create;
    if (options->slice_count < 1 || options->lanes != device->lane_count)
        return lam_fail(LAM_ERR_INTERNAL, "%s: asked for with %d slice sizes and %d lanes on a device of %d",
                        lam_op_name(op->kind), options->slice_count, options->lanes, device->lane_count);
    const char *choice = NULL;
    const char *const *choices = lam_cpu_choices_for(op->kind);
    bool measure = options->choice && strcmp(options->choice, LAM_KERNEL_MEASURE) == 0;
    if (measure && choices) {
        LAM_TRY(lam_cpu_measure(device->lanes, create, choices, op, options, kernel, &choice));
    } else {
        struct lam_kernel_options by_rule = *options;
        if (measure) by_rule.choice = NULL;
        LAM_TRY(create(op, &by_rule, kernel, &choice));
    }
    (*kernel)->backend = &lam_backend_cpu;
    if (chosen) *chosen = choice;
    return LAM_OK;
}

const struct lam_backend lam_backend_cpu = {
    .name = "cpu",
    .device_count = cpu_device_count,
    .device_open = cpu_device_open,
    .device_close = cpu_device_close,
    .lanes = cpu_lanes,
    .describe = cpu_describe,
    .total_memory = cpu_total_memory,
    .allocate = cpu_allocate,
    .release = cpu_release,
    .host_visible = true,
    .allocate_host = cpu_allocate,
    .release_host = cpu_release,
    .stream_create = cpu_stream_create,
    .stream_destroy = cpu_stream_destroy,
    .stream_sync = cpu_stream_sync,
    .event_create = cpu_event_create,
    .event_destroy = cpu_event_destroy,
    .event_record = cpu_event_on_stream,
    .event_wait = cpu_event_on_stream,
    .event_sync = cpu_event_sync,
    .copy_from_host = cpu_copy,
    .copy_to_host = cpu_copy,
    .copy = cpu_copy,
    .copy_peer = cpu_copy_peer,
    .fill_zero = cpu_fill_zero,
    .call_host = cpu_call_host,
    .run_lanes = cpu_run_lanes,
    .lane_barrier = cpu_lane_barrier,
    .layout = cpu_layout,
    .kernel_create = cpu_kernel_create,
    .sgd = lam_cpu_sgd,
    .adamw = lam_cpu_adamw,
    .ema = lam_cpu_ema,
    .accumulate = lam_cpu_accumulate,
    .sum_squares = lam_cpu_sum_squares,
};
