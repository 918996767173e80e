/* What is here: processors, versions, and all that a backend tells of its GPUs. */
#include <stdlib.h>
#include <string.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "apps/gpu_check.h"
#include "base/files.h"
#include "device/device.h"

/* ---- which GPUs ---- */

static lam_status add_named(const char *list, json_t *names) {
    char **given;
    int count;
    LAM_TRY(lam_device_list_parse(list, &given, &count));
    lam_status status = LAM_OK;
    for (int i = 0; i < count; i++) {
        struct lam_device *device;
        if (status == LAM_OK && strncmp(given[i], "cuda:", 5) != 0)
            status = lam_fail(LAM_ERR_INVALID, "--devices: '%s' is no GPU; say cuda:0", given[i]);
        if (status == LAM_OK) status = lam_device_open(given[i], 0, &device);
        if (status == LAM_OK) lam_device_close(device);
        json_array_append_new(names, json_string(given[i]));
        free(given[i]);
    }
    free(given);
    return status;
}

static lam_status add_all(json_t *names) {
    struct lam_device *first;
    lam_status status = lam_device_open("cuda:0", 0, &first);
    if (status == LAM_ERR_NOT_FOUND) {
        struct lam_error error;
        lam_error_save(&error, status);
        return lam_fail(status, "there is no GPU here to check (%s)", error.text);
    }
    LAM_TRY(status);
    int count = lam_device_backend(first)->device_count();
    lam_device_close(first);
    for (int i = 0; i < count; i++) {
        char name[32];
        snprintf(name, sizeof name, "cuda:%d", i);
        json_array_append_new(names, json_string(name));
    }
    return LAM_OK;
}

static lam_status find(struct gpu_check *check, const void *list, json_t *result) {
    (void)check;
    json_t *names = json_array();
    json_object_set_new(result, "names", names);
    return *(const char *)list ? add_named(list, names) : add_all(names);
}

lam_status gpu_check_find(struct gpu_check *check, const char *list, json_t **names) {
    json_t *result = json_object();
    lam_status status = gpu_check_apart(check, find, list, result);
    *names = json_incref(json_object_get(result, "names"));
    json_decref(result);
    return status;
}

/* ---- what they are ---- */

static void tell(struct gpu_check *check, json_t *to, const char *name, const char *value) {
    fprintf(check->out, "  %-20s  %s\n", name, value);
    json_object_set_new(to, name, json_string(value));
}

static lam_status describe_host(struct gpu_check *check, json_t *result) {
    char text[256];
    struct utsname system;
    struct lam_device *cores;
    long count = sysconf(_SC_NPROCESSORS_ONLN), pages = sysconf(_SC_PHYS_PAGES);
    if (uname(&system) == 0) {
        snprintf(text, sizeof text, "%.60s %.100s", system.sysname, system.release);
        tell(check, result, "system", text);
    }
    snprintf(text, sizeof text, count > 1 ? "cpu:0-%ld" : "cpu:0", count - 1);
    LAM_TRY(lam_device_open(text, 0, &cores));
    tell(check, result, "processor", lam_device_describe(cores));
    lam_device_close(cores);
    tell(check, result, "memory",
         lam_bytes_text((uint64_t)pages * (uint64_t)sysconf(_SC_PAGESIZE), text, sizeof text));
    return LAM_OK;
}

/* "name  value", the blanks between them two or more. */
static void tell_line(struct gpu_check *check, json_t *to, char *line) {
    char *gap = strstr(line, "  ");
    if (!gap) return;
    *gap = 0;
    tell(check, to, line, gap + 2 + strspn(gap + 2, " "));
}

static lam_status tell_report(struct gpu_check *check, struct lam_device *device, json_t *to) {
    const struct lam_backend *backend = lam_device_backend(device);
    char *text = NULL, *rest = NULL;
    size_t size;
    if (!backend->report) return LAM_OK;
    FILE *file = open_memstream(&text, &size);
    if (!file) return lam_no_memory();
    backend->report(lam_device_handle(device), file);
    fclose(file);
    for (char *line = strtok_r(text, "\n", &rest); line; line = strtok_r(NULL, "\n", &rest))
        tell_line(check, to, line);
    free(text);
    return LAM_OK;
}

static lam_status describe(struct gpu_check *check, const void *context, json_t *result) {
    (void)context;
    LAM_TRY(describe_host(check, result));
    for (int d = 0; d < check->device_count; d++) {
        struct lam_device *device;
        json_t *told = json_object();
        json_object_set_new(result, check->devices[d], told);
        LAM_TRY(lam_device_open(check->devices[d], 0, &device));
        fprintf(check->out, "\n");
        tell(check, told, check->devices[d], lam_device_describe(device));
        lam_status status = tell_report(check, device, told);
        lam_device_close(device);
        LAM_TRY(status);
    }
    return LAM_OK;
}

void gpu_check_machine(struct gpu_check *check, json_t *result) {
    gpu_check_passed(check, "looking around", gpu_check_apart(check, describe, NULL, result));
}
