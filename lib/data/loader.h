/* The prefetching loader: worker threads fill batches ahead of the consumer, in an order that depends on
 * nothing but seed and epoch.
 *
 *     struct lam_field fields[] = {{"image", LAM_F32, LAM_SHAPE(3, 32, 32)}, {"label", LAM_I32, LAM_SCALAR}};
 *     struct lam_loader_options options = {
 *         .batch = 128, .count = 20000, .shuffle = true, .seed = 1, .threads = 2, .prefetch = 3,
 *         .fields = fields, .field_count = 2, .fill = fill_sample, .context = task};
 *     LAM_TRY(lam_loader_create(&options, device, &loader));
 *     LAM_TRY(lam_loader_start(loader, epoch, first_batch));           // resume: any batch of any epoch
 *     while (lam_loader_next(loader, &batch) == LAM_OK && batch) {     // batch == NULL: the epoch is over
 *         ... batch->data[0] is [128][3][32][32] ...
 *         lam_loader_release(loader, batch);
 *     }
 *
 * Memory is bounded: `prefetch` batches, allocated once from the device's pool (LAM_MEMORY_DATA), so that a
 * CPU device uses them in place. A task's fill function turns sample `index` of epoch `epoch` into its part
 * of each field; all randomness comes from lam_rng keyed by seed, epoch and sample index.
 */
#ifndef LAM_DATA_LOADER_H
#define LAM_DATA_LOADER_H

#include "device/device.h"

enum { LAM_MAX_FIELDS = 16 };

struct lam_field {
    const char *name;
    enum lam_dtype dtype;
    struct lam_shape shape; /* of one sample; the batch goes before it */
};

/* Where a sample stands. */
struct lam_fill {
    uint64_t seed, epoch;
    int64_t index;                /* sample in the data set */
    int64_t batch;                /* batch in the epoch */
    int slot;                     /* place in the batch */
    int thread;                   /* loader thread, 0 .. threads - 1, for per-thread scratch */
    const int64_t *batch_indices; /* all samples of this batch (mixup, mosaic) */
    int batch_count;
};

struct lam_loader_options {
    int batch;     /* samples in a batch */
    int64_t count; /* samples in the data set */
    bool shuffle;
    bool drop_last; /* leave out the uneven last batch */
    bool pad_last;  /* fill the uneven last batch up with its first samples; batch->count says how many are
                       real */
    uint64_t seed;
    int threads;  /* >= 1 */
    int prefetch; /* batches; >= 2 */
    const struct lam_field *fields;
    int field_count;
    /* Writes sample at->index into data[f] (already this slot's place), one pointer per field. */
    lam_status (*fill)(void *context, const struct lam_fill *at, void *const *data);
    void *context;
};

struct lam_batch {
    int count; /* real samples */
    uint64_t epoch;
    int64_t number; /* of the batch in its epoch */
    const int64_t *indices;
    void *data[LAM_MAX_FIELDS]; /* device memory, [batch][field shape] */
};

struct lam_loader;
lam_status lam_loader_create(const struct lam_loader_options *options, struct lam_device *device,
                             struct lam_loader **loader);
void lam_loader_destroy(struct lam_loader *loader); /* stops the threads */

int64_t lam_loader_batches(const struct lam_loader *loader); /* in an epoch */

/* Begins an epoch at batch `first`; whatever was prefetched is dropped, batches that are held stay as they
 * are until released. */
lam_status lam_loader_start(struct lam_loader *loader, uint64_t epoch, int64_t first);
/* Next batch in order; waits for it. NULL at the end of the epoch. A sample that cannot be read fails the
 * call with the error of the first bad place in its batch, after all batches before it were given; the error
 * stays until the next start. Up to `prefetch` - 1 batches may be held at once. One consumer thread. */
lam_status lam_loader_next(struct lam_loader *loader, struct lam_batch **batch);
void lam_loader_release(struct lam_loader *loader, struct lam_batch *batch);
double lam_loader_wait_seconds(const struct lam_loader *loader); /* time that next() waited, in all */

/* The order of an epoch: `count` sample numbers. */
void lam_loader_order(const struct lam_loader_options *options, uint64_t epoch, uint32_t *order);

#endif
