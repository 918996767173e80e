/* Copies from one device to another that does not share its memory.
 *
 *     if (lam_carrier_needed(a, b)) LAM_TRY(lam_carrier_create(a, b, &carrier));
 *     LAM_TRY(lam_carrier_copy(carrier, to_on_b, from_on_a, bytes));      // done when it returns
 *     lam_carrier_destroy(carrier);
 *
 * A carrier has a stream of its own, so that copies run beside what the devices compute. One thread uses it at a time; what
 * it copies must be complete, and must not be written meanwhile.
 */
#ifndef LAM_DEVICE_CARRIER_H
#define LAM_DEVICE_CARRIER_H

#include "device/device.h"

/* Two GPUs, or a GPU and cores of this machine. Not: a device and itself, or two groups of cores. */
bool lam_carrier_needed(const struct lam_device *from, const struct lam_device *to);

struct lam_carrier;
/* LAM_ERR_UNSUPPORTED: no backend copies between these two. */
lam_status lam_carrier_create(struct lam_device *from, struct lam_device *to, struct lam_carrier **carrier);
void lam_carrier_destroy(struct lam_carrier *carrier); /* NULL is allowed */
lam_status lam_carrier_copy(struct lam_carrier *carrier, void *to, const void *from, size_t bytes);

#endif
