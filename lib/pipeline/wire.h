/* Between a device's memory and the transport, which takes host memory alone: a stream of its own, and host memory that copies
 * are fast with. Where the host sees the device's memory there is no wire (NULL) and parts go as they are.
 *
 *     LAM_TRY(lam_wire_create(device, bytes, &wire));
 *     LAM_TRY(lam_wire_load(wire, &cargo, parts));                 // the sender: what lies on the device is fetched
 *     LAM_TRY(lam_transport_send(..., parts, cargo.count, ...));
 *
 *     lam_wire_place(wire, &cargo, parts);                         // the receiver: room for it
 *     LAM_TRY(lam_transport_receive(..., parts, cargo.count, ...));
 *     LAM_TRY(lam_wire_unload(wire, &cargo, parts));               // brought to the device
 *
 * One thread uses a wire at a time. Copies are done when the call returns; what is fetched must be complete.
 */
#ifndef LAM_PIPELINE_WIRE_H
#define LAM_PIPELINE_WIRE_H

#include "device/device.h"
#include "pipeline/transport.h"

/* The parts of a message, some of them (far) in the memory of a device. */
struct lam_cargo {
    struct lam_part parts[LAM_MAX_PARTS];
    bool far[LAM_MAX_PARTS];
    int count;
};
void lam_cargo_add(struct lam_cargo *cargo, void *data, size_t bytes, bool far);
/* Of the far parts: what a wire for it needs. */
size_t lam_cargo_far_bytes(const struct lam_cargo *cargo);

struct lam_wire;
/* *wire is NULL where none is needed. */
lam_status lam_wire_create(struct lam_device *device, size_t bytes, struct lam_wire **wire);
void lam_wire_destroy(struct lam_wire *wire); /* NULL is allowed, here and below */

/* parts: the cargo's, in host memory throughout. */
void lam_wire_place(const struct lam_wire *wire, const struct lam_cargo *cargo, struct lam_part *parts);
lam_status lam_wire_load(const struct lam_wire *wire, const struct lam_cargo *cargo, struct lam_part *parts);
/* The cargo's sizes count: its parts may be shorter than the places that they were received in. */
lam_status lam_wire_unload(const struct lam_wire *wire, const struct lam_cargo *cargo,
                           const struct lam_part *parts);

#endif
