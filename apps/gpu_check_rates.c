/* What the hardware gives: bytes per second of copies and of a kernel that only streams, multiply-adds per second of large
 * matrices. The steps' floor is made of these. */
#include <string.h>

#include "apps/gpu_check.h"
#include "apps/gpu_check_rates.h"
#include "apps/gpu_check_time.h"
#include "device/carrier.h"
#include "tests/conformance/op_text.h"

static size_t copy_bytes(const struct gpu_check *check) {
    return check->quick ? 1 << 16 : (size_t)256 << 20;
}

static void tell(struct gpu_check *check, json_t *to, const char *name, const char *unit, double value) {
    fprintf(check->out, "  %-28s %9.4g %s\n", name, value, unit);
    json_object_set_new(to, name, json_real(value));
}

/* ---- copies on one GPU ---- */

struct copies {
    struct lam_device *device;
    void *host, *from, *to;
    size_t bytes;
};

static lam_status to_device(void *context) {
    struct copies *c = context;
    return lam_device_backend(c->device)->copy_from_host(lam_device_stream(c->device), c->to, c->host,
                                                         c->bytes);
}

static lam_status to_host(void *context) {
    struct copies *c = context;
    return lam_device_backend(c->device)->copy_to_host(lam_device_stream(c->device), c->host, c->to,
                                                       c->bytes);
}

static lam_status within(void *context) {
    struct copies *c = context;
    return lam_device_backend(c->device)->copy(lam_device_stream(c->device), c->to, c->from, c->bytes);
}

static lam_status time_copies(struct gpu_check *check, struct copies *c, json_t *result) {
    static const struct {
        const char *name;
        gpu_check_once once;
        double passes; /* bytes read and written on the GPU, in multiples of what is copied */
    } table[] = {{"pinned host to device", to_device, 1},
                 {"device to pinned host", to_host, 1},
                 {"copy, read + written", within, 2}};
    LAM_TRY(lam_device_alloc(c->device, LAM_MEMORY_DATA, c->bytes, &c->from));
    LAM_TRY(lam_device_alloc(c->device, LAM_MEMORY_DATA, c->bytes, &c->to));
    memset(c->host, 1, c->bytes);
    for (size_t i = 0; i < sizeof table / sizeof *table; i++) {
        double seconds;
        LAM_TRY(gpu_check_seconds(c->device, table[i].once, c, check->quick, &seconds));
        tell(check, result, table[i].name, "GB/s", 1e-9 * table[i].passes * (double)c->bytes / seconds);
    }
    return LAM_OK;
}

static lam_status copies(struct gpu_check *check, const char *name, json_t *result) {
    struct copies c = {.bytes = copy_bytes(check)};
    LAM_TRY(lam_device_open(name, 0, &c.device));
    const struct lam_backend *backend = lam_device_backend(c.device);
    lam_status status = backend->allocate_host(lam_device_handle(c.device), c.bytes, &c.host);
    if (status == LAM_OK) status = time_copies(check, &c, result);
    if (c.host) backend->release_host(lam_device_handle(c.device), c.host);
    lam_device_close(c.device);
    return status;
}

/* ---- kernels ---- */

static const struct {
    const char *name, *op, *quick; /* lines of op_text.h */
    bool tf32, matrix;
} kernels[] = {
    {GPU_CHECK_MEMORY, "add shape=8192x8192", "add shape=8x512", false, false},
    {"matrices f32", "linear shape=8192x8192 o=8192", "linear shape=16x32 o=32", false, true},
    {"matrices tf32", "linear shape=8192x8192 o=8192", "linear shape=16x32 o=32", true, true},
    {"matrices bf16", "linear shape=8192x8192 o=8192 dtype=bf16", "linear shape=16x32 o=32 dtype=bf16", false,
     true},
};

static double streamed_bytes(const struct lam_op *op) {
    double bytes = 0;
    for (int i = 0; i < op->inputs; i++) bytes += (double)lam_tensor_bytes(&op->in[i].desc);
    return bytes + (double)lam_tensor_bytes(&op->out[0].desc);
}

static lam_status time_kernels(struct gpu_check *check, const char *name, json_t *result) {
    for (size_t i = 0; i < sizeof kernels / sizeof *kernels; i++) {
        struct op_case line;
        double seconds;
        LAM_TRY(op_from_text(check->quick ? kernels[i].quick : kernels[i].op, &line));
        LAM_TRY(gpu_check_op_seconds(name, &line.op, kernels[i].tf32, check->quick, &seconds));
        if (kernels[i].matrix)
            tell(check, result, kernels[i].name, "TFLOP/s", 1e-12 * lam_op_flops(&line.op) / seconds);
        else
            tell(check, result, kernels[i].name, "GB/s", 1e-9 * streamed_bytes(&line.op) / seconds);
    }
    return LAM_OK;
}

/* ---- from GPU to GPU ---- */

struct crossing {
    struct lam_carrier *carrier;
    void *from, *to;
    size_t bytes;
};

static lam_status cross(void *context) {
    struct crossing *c = context;
    return lam_carrier_copy(c->carrier, c->to, c->from, c->bytes);
}

static lam_status time_crossing(struct gpu_check *check, struct lam_device *const devices[2],
                                json_t *result) {
    struct crossing c = {.bytes = copy_bytes(check)};
    char name[80];
    double seconds = 0;
    LAM_TRY(lam_carrier_create(devices[0], devices[1], &c.carrier));
    lam_status status = lam_device_alloc(devices[0], LAM_MEMORY_DATA, c.bytes, &c.from);
    if (status == LAM_OK) status = lam_device_alloc(devices[1], LAM_MEMORY_DATA, c.bytes, &c.to);
    if (status == LAM_OK) status = gpu_check_seconds(devices[0], cross, &c, check->quick, &seconds);
    lam_carrier_destroy(c.carrier);
    LAM_TRY(status);
    snprintf(name, sizeof name, "%s to %s", lam_device_name(devices[0]), lam_device_name(devices[1]));
    tell(check, result, name, "GB/s", 1e-9 * (double)c.bytes / seconds);
    return LAM_OK;
}

static lam_status crossings(struct gpu_check *check, const void *context, json_t *result) {
    (void)context;
    for (int a = 0; a < check->device_count; a++)
        for (int b = 0; b < check->device_count; b++) {
            struct lam_device *devices[2] = {NULL};
            if (a == b) continue;
            lam_status status = lam_device_open(check->devices[a], 0, &devices[0]);
            if (status == LAM_OK) status = lam_device_open(check->devices[b], 0, &devices[1]);
            if (status == LAM_OK) status = time_crossing(check, devices, result);
            for (int d = 0; d < 2; d++) lam_device_close(devices[d]);
            LAM_TRY(status);
        }
    return LAM_OK;
}

/* ---- all ---- */

static lam_status of_one(struct gpu_check *check, const void *name, json_t *result) {
    fprintf(check->out, "  %s\n", (const char *)name);
    LAM_TRY(copies(check, name, result));
    return time_kernels(check, name, result);
}

void gpu_check_rates(struct gpu_check *check, json_t *result) {
    for (int d = 0; d < check->device_count; d++) {
        const char *name = check->devices[d];
        json_t *rates = json_object();
        gpu_check_passed(check, name, gpu_check_apart(check, of_one, name, rates));
        json_object_set_new(result, name, rates);
    }
    if (check->device_count < 2) return;
    json_t *rates = json_object();
    gpu_check_passed(check, "copies between GPUs", gpu_check_apart(check, crossings, NULL, rates));
    json_object_set_new(result, "between GPUs", rates);
}

static double rate_of(const struct gpu_check *check, const char *device, const char *name) {
    json_t *rates =
        json_object_get(json_object_get(json_object_get(check->parts, "rates"), "result"), device);
    return json_number_value(json_object_get(rates, name));
}

double gpu_check_flops_rate(const struct gpu_check *check, const char *device, const char *precision) {
    char name[32];
    snprintf(name, sizeof name, "matrices %s", precision);
    return 1e12 * rate_of(check, device, name);
}

double gpu_check_bytes_rate(const struct gpu_check *check, const char *device) {
    return 1e9 * rate_of(check, device, GPU_CHECK_MEMORY);
}
