/* TensorBoard event files: scalars and pictures that TensorBoard shows while the run goes on.
 *
 *     LAM_TRY(lam_events_open("runs/a", 0, &events));          // runs/a/events.out.tfevents.TIME.HOST.PID
 *     LAM_TRY(lam_events_scalar(events, step, "train/loss", 2.3));
 *     LAM_TRY(lam_events_image(events, step, "predictions", &mosaic));
 *     LAM_TRY(lam_events_close(events));
 *
 * A file is a list of records: length, masked CRC-32C of the length, a serialised Event, masked CRC-32C of
 * it. A resumed run starts a file of its own that tells TensorBoard from which step on it replaces earlier
 * ones.
 */
#ifndef LAM_TRAIN_EVENTS_H
#define LAM_TRAIN_EVENTS_H

#include <stdint.h>

#include "data/image.h"

struct lam_events;

/* first_step: steps from there on in older files of the folder are out of date. */
lam_status lam_events_open(const char *folder, uint64_t first_step, struct lam_events **events);
lam_status lam_events_close(struct lam_events *events); /* NULL is allowed */

lam_status lam_events_scalar(struct lam_events *events, uint64_t step, const char *name, double value);
lam_status lam_events_image(struct lam_events *events, uint64_t step, const char *name,
                            const struct lam_image *image);

/* CRC-32C (Castagnoli) of `size` bytes, and TensorFlow's mask of it. */
uint32_t lam_crc32c(const void *data, size_t size);
uint32_t lam_crc32c_masked(const void *data, size_t size);

#endif
