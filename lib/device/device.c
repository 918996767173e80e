/* Devices by name, and the pools that all device memory comes from.
 *
 * A name is "backend:spec". The backends that are part of the library stand in one table; any other one that
 * is known is a module, loaded when it is first asked for, so that one build serves machines with and without
 * the hardware and a CPU-only start maps none of a vendor's libraries.
 *
 * A pool keeps a record of each allocation and counters per kind, all under one mutex. Allocation is rare (a
 * step allocates nothing), so a list and a lock are enough, and holding the lock over the backend's call
 * keeps the limit exact. */
#include "device/device.h"

#include "base/files.h"
#include "base/log.h"

#include <ctype.h>
#include <dlfcn.h>
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- memory kinds ---- */

static const char *const kind_names[LAM_MEMORY_KINDS] = {
#define LAM_MEMORY_NAME(suffix, name) name,
    LAM_MEMORY_TABLE(LAM_MEMORY_NAME)
#undef LAM_MEMORY_NAME
};

const char *lam_memory_kind_name(enum lam_memory_kind kind) {
    return (unsigned)kind < LAM_MEMORY_KINDS ? kind_names[kind] : "?";
}

/* ---- backends ---- */

static const struct lam_backend *const built_in[] = {&lam_backend_cpu};
static const char *const modules[] = {"cuda"}; /* liblamina_NAME.so, symbol lam_backend_NAME */

enum {
    BUILT_IN_COUNT = sizeof built_in / sizeof built_in[0],
    MODULE_COUNT = sizeof modules / sizeof modules[0]
};

/* The module stays loaded until the program ends: vendor libraries do not bear being unloaded. */
static lam_status load_module(const char *kind, const struct lam_backend **backend) {
    char file[64], symbol[64];
    snprintf(file, sizeof file, "liblamina_%s.so", kind);
    snprintf(symbol, sizeof symbol, "lam_backend_%s", kind);
    void *module = dlopen(file, RTLD_NOW | RTLD_LOCAL);
    if (!module)
        return lam_fail(LAM_ERR_NOT_FOUND, "no %s devices here (%s); the cpu devices are always there", kind,
                        dlerror());
    *backend = dlsym(module, symbol);
    if (!*backend) return lam_fail(LAM_ERR_DEVICE, "%s: has no %s", file, symbol);
    return LAM_OK;
}

static bool is_kind(const char *name, size_t length, const char *kind) {
    return strlen(kind) == length && strncmp(name, kind, length) == 0;
}

/* Splits "kind:spec"; `module` or `backend` says where the kind lives. */
static lam_status parse_name(const char *name, const char **spec, const struct lam_backend **backend,
                             const char **module) {
    *backend = NULL;
    *module = NULL;
    const char *colon = strchr(name, ':');
    size_t length = colon ? (size_t)(colon - name) : strlen(name);
    for (int i = 0; i < BUILT_IN_COUNT; i++)
        if (is_kind(name, length, built_in[i]->name)) *backend = built_in[i];
    for (int i = 0; i < MODULE_COUNT; i++)
        if (is_kind(name, length, modules[i])) *module = modules[i];
    if ((!*backend && !*module) || !colon || colon[1] == '\0')
        return lam_fail(LAM_ERR_INVALID, "'%s' is not a device; say cpu:0, cpu:0-3 or cuda:0", name);
    *spec = colon + 1;
    return LAM_OK;
}

/* ---- open and close ---- */

struct allocation {
    struct allocation *next;
    void *pointer;
    size_t bytes;
    enum lam_memory_kind kind;
};

struct lam_device {
    char *name;
    const struct lam_backend *backend;
    struct lam_backend_device *handle;
    struct lam_stream *stream;
    size_t limit;
    struct lam_device_modes modes;
    pthread_mutex_t mutex;       /* guards what follows */
    struct lam_stream *clearing; /* clears fresh memory, whatever the compute stream is about */
    struct allocation *allocations;
    struct lam_memory_stats kinds[LAM_MEMORY_KINDS], total;
};

lam_status lam_device_open(const char *name, size_t limit, struct lam_device **device) {
    const char *spec, *module;
    const struct lam_backend *backend;
    LAM_TRY(parse_name(name, &spec, &backend, &module));
    if (module) LAM_TRY(load_module(module, &backend));

    struct lam_device *d = calloc(1, sizeof *d);
    char *copy = strdup(name);
    if (!d || !copy) {
        free(d);
        free(copy);
        return lam_fail(LAM_ERR_NO_MEMORY, "%s: out of memory", name);
    }
    d->name = copy;
    d->backend = backend;
    d->limit = limit;
    pthread_mutex_init(&d->mutex, NULL);
    lam_status status = backend->device_open(spec, &d->handle);
    if (status == LAM_OK) status = backend->stream_create(d->handle, &d->stream);
    if (status == LAM_OK) status = backend->stream_create(d->handle, &d->clearing);
    if (status != LAM_OK) {
        lam_device_close(d);
        return lam_fail_in(status, name);
    }
    *device = d;
    return LAM_OK;
}

void lam_device_close(struct lam_device *device) {
    if (!device) return;
    while (device->allocations) lam_device_free(device, device->allocations->pointer);
    if (device->stream) device->backend->stream_destroy(device->stream);
    if (device->clearing) device->backend->stream_destroy(device->clearing);
    if (device->handle) device->backend->device_close(device->handle);
    pthread_mutex_destroy(&device->mutex);
    free(device->name);
    free(device);
}

const char *lam_device_name(const struct lam_device *device) {
    return device->name;
}

lam_status lam_device_rename(struct lam_device *device, const char *name) {
    char *copy = strdup(name);
    if (!copy) return lam_no_memory();
    free(device->name);
    device->name = copy;
    return LAM_OK;
}

const char *lam_device_describe(const struct lam_device *device) {
    return device->backend->describe(device->handle);
}

bool lam_device_alike(const struct lam_device *a, const struct lam_device *b) {
    return lam_device_lanes(a) == lam_device_lanes(b) && lam_device_backend(a) == lam_device_backend(b) &&
           !strcmp(lam_device_describe(a), lam_device_describe(b));
}

int lam_device_lanes(const struct lam_device *device) {
    return device->backend->lanes(device->handle);
}

size_t lam_device_limit(const struct lam_device *device) {
    return device->limit;
}

uint64_t lam_device_total_memory(const struct lam_device *device) {
    return device->backend->total_memory(device->handle);
}

bool lam_device_free_memory(const struct lam_device *device, uint64_t *bytes) {
    const struct lam_backend *backend = device->backend;
    return backend->free_memory && backend->free_memory(device->handle, bytes);
}

bool lam_device_process_memory(const struct lam_device *device, uint64_t *bytes) {
    const struct lam_backend *backend = device->backend;
    return backend->process_memory && backend->process_memory(device->handle, bytes);
}

const struct lam_backend *lam_device_backend(const struct lam_device *device) {
    return device->backend;
}

struct lam_backend_device *lam_device_handle(const struct lam_device *device) {
    return device->handle;
}

struct lam_stream *lam_device_stream(const struct lam_device *device) {
    return device->stream;
}

void lam_device_set_modes(struct lam_device *device, struct lam_device_modes modes) {
    device->modes = modes;
}

struct lam_device_modes lam_device_modes(const struct lam_device *device) {
    return device->modes;
}

/* ---- the pool ---- */

static lam_status over_limit(const struct lam_device *device, enum lam_memory_kind kind, size_t bytes) {
    char wanted[32], used[32], limit[32];
    return lam_fail(
        LAM_ERR_MEMORY_LIMIT,
        "%s: %s more for %s would pass the limit of %s, of which %s are in use; raise the limit, or "
        "use a smaller batch or more blocks",
        device->name, lam_bytes_text(bytes, wanted, sizeof wanted), lam_memory_kind_name(kind),
        lam_bytes_text(device->limit, limit, sizeof limit),
        lam_bytes_text(device->total.current, used, sizeof used));
}

static void count(struct lam_memory_stats *stats, size_t bytes) {
    stats->current += bytes;
    if (stats->current > stats->peak) stats->peak = stats->current;
}

/* The pool's part of an allocation; the mutex is held. */
static lam_status take(struct lam_device *device, enum lam_memory_kind kind, size_t bytes,
                       struct allocation *record) {
    if (device->limit > 0 && (bytes > device->limit || device->total.current > device->limit - bytes))
        return over_limit(device, kind, bytes);
    lam_status status = device->backend->allocate(device->handle, bytes, &record->pointer);
    if (status != LAM_OK) return lam_fail_in(status, device->name);
    *record = (struct allocation){device->allocations, record->pointer, bytes, kind};
    device->allocations = record;
    count(&device->kinds[kind], bytes);
    count(&device->total, bytes);
    return LAM_OK;
}

/* The mutex is held. */
static lam_status clear(struct lam_device *device, void *fresh, size_t bytes) {
    LAM_TRY(device->backend->fill_zero(device->clearing, fresh, bytes));
    return device->backend->stream_sync(device->clearing);
}

lam_status lam_device_alloc(struct lam_device *device, enum lam_memory_kind kind, size_t bytes,
                            void **pointer) {
    *pointer = NULL;
    if (bytes == 0) return LAM_OK;
    if ((unsigned)kind >= LAM_MEMORY_KINDS)
        return lam_fail(LAM_ERR_INTERNAL, "%s: no memory kind %d", device->name, (int)kind);
    struct allocation *record = calloc(1, sizeof *record);
    if (!record) return lam_fail(LAM_ERR_NO_MEMORY, "%s: out of memory", device->name);

    pthread_mutex_lock(&device->mutex);
    lam_status status = take(device, kind, bytes, record);
    void *fresh = status == LAM_OK ? record->pointer : NULL;
    lam_status cleared = status == LAM_OK ? clear(device, fresh, bytes) : LAM_OK;
    pthread_mutex_unlock(&device->mutex);
    if (status != LAM_OK) {
        free(record);
        return status;
    }
    if (cleared != LAM_OK) {
        lam_device_free(device, fresh);
        return lam_fail_in(cleared, device->name);
    }
    *pointer = fresh;
    return LAM_OK;
}

void lam_device_free(struct lam_device *device, void *pointer) {
    if (!pointer) return;
    pthread_mutex_lock(&device->mutex);
    struct allocation **link = &device->allocations;
    while (*link && (*link)->pointer != pointer) link = &(*link)->next;
    struct allocation *record = *link;
    if (record) {
        *link = record->next;
        device->kinds[record->kind].current -= record->bytes;
        device->total.current -= record->bytes;
        device->backend->release(device->handle, pointer);
    }
    pthread_mutex_unlock(&device->mutex);
    free(record);
}

/* Readers lock as well; the mutex is not part of what `const` promises. */
static struct lam_memory_stats read_stats(const struct lam_device *device,
                                          const struct lam_memory_stats *stats) {
    pthread_mutex_t *mutex = (pthread_mutex_t *)&device->mutex;
    pthread_mutex_lock(mutex);
    struct lam_memory_stats copy = *stats;
    pthread_mutex_unlock(mutex);
    return copy;
}

struct lam_memory_stats lam_device_memory(const struct lam_device *device, enum lam_memory_kind kind) {
    if ((unsigned)kind >= LAM_MEMORY_KINDS) return (struct lam_memory_stats){0, 0};
    return read_stats(device, &device->kinds[kind]);
}

struct lam_memory_stats lam_device_memory_total(const struct lam_device *device) {
    return read_stats(device, &device->total);
}

void lam_device_memory_reset_peak(struct lam_device *device) {
    pthread_mutex_lock(&device->mutex);
    for (int i = 0; i < LAM_MEMORY_KINDS; i++) device->kinds[i].peak = device->kinds[i].current;
    device->total.peak = device->total.current;
    pthread_mutex_unlock(&device->mutex);
}

/* ---- blocking copies ---- */

lam_status lam_device_upload(struct lam_device *device, void *to, const void *from_host, size_t bytes) {
    LAM_TRY(device->backend->copy_from_host(device->stream, to, from_host, bytes));
    return device->backend->stream_sync(device->stream);
}

lam_status lam_device_download(struct lam_device *device, void *to_host, const void *from, size_t bytes) {
    LAM_TRY(device->backend->copy_to_host(device->stream, to_host, from, bytes));
    return device->backend->stream_sync(device->stream);
}

/* ---- lists of names ---- */

/* Loading the backend maps half a gigabyte of vendor libraries, so the driver is asked for first. */
int lam_device_gpu_count(void) {
    static const char driver[] = "libcuda.so.1";
    void *found = dlopen(driver, RTLD_LAZY | RTLD_LOCAL);
    if (!found) return 0;
    dlclose(found);
    const struct lam_backend *backend;
    int count = load_module("cuda", &backend) == LAM_OK ? backend->device_count() : -1;
    if (count < 0)
        lam_log(LAM_LOG_NOTICE, "there is a GPU driver here, but no GPU is used: %s", lam_error_text());
    return count > 0 ? count : 0;
}

/* "auto": the first GPU, or one CPU device of all the cores that this process may use. */
static char *auto_name(void) {
    if (lam_device_gpu_count() > 0) return lam_format("cuda:0");
    cpu_set_t set;
    int cores = sched_getaffinity(0, sizeof set, &set) == 0 ? CPU_COUNT(&set) : 1;
    return cores > 1 ? lam_format("cpu:0-%d", cores - 1) : lam_format("cpu:0");
}

static void free_names(char **names, int count_of_names) {
    for (int i = 0; i < count_of_names; i++) free(names[i]);
    free(names);
}

/* One entry, [begin, end) of the list, without the blanks around it. */
static lam_status parse_entry(const char *begin, const char *end, char **name) {
    while (begin < end && isspace((unsigned char)*begin)) begin++;
    while (end > begin && isspace((unsigned char)end[-1])) end--;
    char *text = strndup(begin, (size_t)(end - begin));
    if (!text) return lam_no_memory();
    const char *spec, *module;
    const struct lam_backend *backend;
    lam_status status = parse_name(text, &spec, &backend, &module);
    if (status != LAM_OK)
        free(text);
    else
        *name = text;
    return status;
}

lam_status lam_device_list_parse(const char *text, char ***names, int *count_of_names) {
    int entries = 1;
    for (const char *c = text; *c; c++) entries += *c == ',';
    char **list = calloc((size_t)entries, sizeof *list);
    if (!list) return lam_no_memory();
    lam_status status = LAM_OK;
    if (strcmp(text, "auto") == 0) {
        list[0] = auto_name();
        if (!list[0]) status = lam_no_memory();
    } else {
        const char *begin = text;
        for (int i = 0; i < entries && status == LAM_OK; i++) {
            const char *end = begin + strcspn(begin, ",");
            status = parse_entry(begin, end, &list[i]);
            begin = end + 1;
        }
    }
    if (status != LAM_OK) {
        free_names(list, entries);
        return status;
    }
    *names = list;
    *count_of_names = entries;
    return LAM_OK;
}
