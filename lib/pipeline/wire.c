/* Wires: far parts behind each other in one piece of host memory. */
#include "pipeline/wire.h"

#include <stdlib.h>
#include <string.h>

#include "local/block.h"

struct lam_wire {
    struct lam_device *device;
    struct lam_stream *stream;
    void *host;
};

void lam_cargo_add(struct lam_cargo *cargo, void *data, size_t bytes, bool far) {
    cargo->far[cargo->count] = far;
    cargo->parts[cargo->count++] = (struct lam_part){data, bytes};
}

size_t lam_cargo_far_bytes(const struct lam_cargo *cargo) {
    size_t bytes = 0;
    for (int i = 0; i < cargo->count; i++)
        if (cargo->far[i]) bytes += lam_cache_lines(cargo->parts[i].bytes);
    return bytes;
}

static lam_status fill(struct lam_wire *wire, size_t bytes) {
    const struct lam_backend *backend = lam_device_backend(wire->device);
    LAM_TRY(backend->stream_create(lam_device_handle(wire->device), &wire->stream));
    return backend->allocate_host(lam_device_handle(wire->device), bytes, &wire->host);
}

lam_status lam_wire_create(struct lam_device *device, size_t bytes, struct lam_wire **wire) {
    *wire = NULL;
    if (lam_device_backend(device)->host_visible || bytes == 0) return LAM_OK;
    struct lam_wire *w = calloc(1, sizeof *w);
    if (!w) return lam_no_memory();
    w->device = device;
    lam_status status = fill(w, bytes);
    if (status != LAM_OK) {
        lam_wire_destroy(w);
        return lam_fail_in(status, lam_device_name(device));
    }
    *wire = w;
    return LAM_OK;
}

void lam_wire_destroy(struct lam_wire *wire) {
    if (!wire) return;
    const struct lam_backend *backend = lam_device_backend(wire->device);
    if (wire->host) backend->release_host(lam_device_handle(wire->device), wire->host);
    if (wire->stream) backend->stream_destroy(wire->stream);
    free(wire);
}

void lam_wire_place(const struct lam_wire *wire, const struct lam_cargo *cargo, struct lam_part *parts) {
    char *host = wire ? wire->host : NULL;
    memcpy(parts, cargo->parts, (size_t)cargo->count * sizeof *parts);
    for (int i = 0; wire && i < cargo->count; i++) {
        if (!cargo->far[i]) continue;
        parts[i].data = host;
        host += lam_cache_lines(parts[i].bytes);
    }
}

/* Copies far parts, one way or the other, and waits. */
static lam_status copy(const struct lam_wire *wire, const struct lam_cargo *cargo,
                       const struct lam_part *parts, bool to_host) {
    if (!wire) return LAM_OK;
    const struct lam_backend *backend = lam_device_backend(wire->device);
    lam_status status = LAM_OK;
    for (int i = 0; i < cargo->count && status == LAM_OK; i++) {
        void *far = cargo->parts[i].data, *near = parts[i].data;
        size_t bytes = cargo->parts[i].bytes;
        if (!cargo->far[i]) continue;
        status = to_host ? backend->copy_to_host(wire->stream, near, far, bytes)
                         : backend->copy_from_host(wire->stream, far, near, bytes);
    }
    lam_status waited = backend->stream_sync(wire->stream);
    if (status == LAM_OK) status = waited;
    return status == LAM_OK ? LAM_OK : lam_fail_in(status, lam_device_name(wire->device));
}

lam_status lam_wire_load(const struct lam_wire *wire, const struct lam_cargo *cargo, struct lam_part *parts) {
    lam_wire_place(wire, cargo, parts);
    return copy(wire, cargo, parts, true);
}

lam_status lam_wire_unload(const struct lam_wire *wire, const struct lam_cargo *cargo,
                           const struct lam_part *parts) {
    return copy(wire, cargo, parts, false);
}
