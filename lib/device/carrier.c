/* Which backend copies: the one whose memory the host cannot see; between two of those, the sender's. */
#include "device/carrier.h"

#include <stdlib.h>

struct lam_carrier {
    struct lam_device *from, *to;
    const struct lam_backend *backend; /* that copies */
    struct lam_stream *stream;
};

bool lam_carrier_needed(const struct lam_device *from, const struct lam_device *to) {
    const struct lam_backend *a = lam_device_backend(from), *b = lam_device_backend(to);
    return from != to && !(a->host_visible && b->host_visible);
}

lam_status lam_carrier_create(struct lam_device *from, struct lam_device *to, struct lam_carrier **carrier) {
    const struct lam_backend *a = lam_device_backend(from), *b = lam_device_backend(to);
    if (!a->host_visible && !b->host_visible && a != b)
        return lam_fail(LAM_ERR_UNSUPPORTED, "nothing copies from %s to %s", lam_device_name(from),
                        lam_device_name(to));
    struct lam_carrier *c = calloc(1, sizeof *c);
    if (!c) return lam_no_memory();
    struct lam_device *copier = a->host_visible ? to : from;
    *c = (struct lam_carrier){.from = from, .to = to, .backend = lam_device_backend(copier)};
    lam_status status = c->backend->stream_create(lam_device_handle(copier), &c->stream);
    if (status != LAM_OK) {
        free(c);
        return lam_fail_in(status, lam_device_name(copier));
    }
    *carrier = c;
    return LAM_OK;
}

void lam_carrier_destroy(struct lam_carrier *carrier) {
    if (!carrier) return;
    carrier->backend->stream_destroy(carrier->stream);
    free(carrier);
}

static lam_status start(const struct lam_carrier *c, void *to, const void *from, size_t bytes) {
    if (lam_device_backend(c->from)->host_visible)
        return c->backend->copy_from_host(c->stream, to, from, bytes);
    if (lam_device_backend(c->to)->host_visible) return c->backend->copy_to_host(c->stream, to, from, bytes);
    return c->backend->copy_peer(c->stream, lam_device_handle(c->to), to, lam_device_handle(c->from), from,
                                 bytes);
}

lam_status lam_carrier_copy(struct lam_carrier *carrier, void *to, const void *from, size_t bytes) {
    lam_status status = start(carrier, to, from, bytes);
    if (status == LAM_OK) status = carrier->backend->stream_sync(carrier->stream);
    return status == LAM_OK ? LAM_OK : lam_fail_in(status, lam_device_name(carrier->from));
}
