/* The prefetching loader.
 *
 * Workers take small runs of samples, in order: all samples of a batch before any of the next one, so that
 * the batch that the consumer waits for is always the one being finished. A batch is filled in a slot; there
 * are `prefetch` slots, and no more memory than that.
 *
 * One mutex guards all state; it is never held while samples are made. A slot goes
 *
 *     FREE -> FILLING (all its samples are handed out or being made) -> READY -> HELD (by the consumer) ->
 * FREE
 *
 * FIFO: next() gives batch first, first + 1, ... whatever finishes first. What a sample is depends on seed,
 * epoch and its number alone, never on the thread or the slot, so any number of threads gives the same bytes.
 *
 * A failed sample fails its batch when its turn comes, with the error of the first bad place in the batch,
 * whichever thread met it first; the error stays until the next start(). */
#include "data/loader.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "base/files.h"
#include "base/rng.h"

enum { RUN = 8 }; /* samples that a worker takes at once */

enum slot_state { FREE, FILLING, READY, HELD };

struct slot {
    struct lam_batch batch; /* first: what the consumer sees */
    enum slot_state state;
    int64_t *indices; /* [options.batch] */
    void
        *host[LAM_MAX_FIELDS]; /* where samples are made; the device memory itself if the host can write it */
    int samples;               /* to make, with padding */
    int taken, made;
    int failed_place; /* first place in the batch that failed, -1 = none */
    struct lam_error error;
};

struct lam_loader {
    struct lam_loader_options options;
    struct lam_field fields[LAM_MAX_FIELDS];
    size_t sample_bytes[LAM_MAX_FIELDS];
    struct lam_device *device;
    bool staged; /* the device's memory is not the host's: each thread copies the samples that it made */
    struct lam_stream **streams; /* staged: one for each thread */
    uint32_t *order;
    struct slot *slots;
    pthread_t *threads;
    int started; /* threads that run */

    pthread_mutex_t mutex;
    pthread_cond_t work;  /* workers wait: for a free slot, an epoch, or the end */
    pthread_cond_t ready; /* the consumer waits: for a batch, or for workers to be idle */
    bool stop;
    uint64_t epoch;
    int64_t next_fill, next_give, batches; /* batch numbers in the epoch */
    struct slot *filling;                  /* the slot whose samples are being handed out */
    int busy;                              /* workers that are making samples */
    double waited;
};

struct worker {
    struct lam_loader *loader;
    int number;
};

int64_t lam_loader_batches(const struct lam_loader *loader) {
    const struct lam_loader_options *o = &loader->options;
    return o->drop_last ? o->count / o->batch : (o->count + o->batch - 1) / o->batch;
}

void lam_loader_order(const struct lam_loader_options *options, uint64_t epoch, uint32_t *order) {
    if (options->shuffle) {
        struct lam_rng rng = lam_rng_make(options->seed, LAM_RNG_SHUFFLE, epoch, 0);
        lam_rng_permutation(&rng, order, (uint32_t)options->count);
    } else {
        for (uint32_t i = 0; i < (uint32_t)options->count; i++) order[i] = i;
    }
}

/* ---- filling; these run with the mutex held unless said ---- */

static struct slot *free_slot(struct lam_loader *loader) {
    for (int i = 0; i < loader->options.prefetch; i++)
        if (loader->slots[i].state == FREE) return &loader->slots[i];
    return NULL;
}

static void begin_batch(struct lam_loader *loader, struct slot *slot) {
    const struct lam_loader_options *o = &loader->options;
    int64_t number = loader->next_fill++, first = number * o->batch, left = o->count - first;
    int count = left < o->batch ? (int)left : o->batch;
    slot->samples = o->pad_last ? o->batch : count;
    for (int i = 0; i < slot->samples; i++) slot->indices[i] = loader->order[first + i % count];
    slot->batch.count = count;
    slot->batch.epoch = loader->epoch;
    slot->batch.number = number;
    slot->batch.indices = slot->indices;
    slot->taken = slot->made = 0;
    slot->failed_place = -1;
    slot->state = FILLING;
    loader->filling = slot;
}

/* The next run of samples: places [*first, *first + count) of a slot. NULL: nothing to do now. */
static struct slot *take_run(struct lam_loader *loader, int *first, int *count) {
    if (!loader->filling) {
        struct slot *slot = loader->next_fill < loader->batches ? free_slot(loader) : NULL;
        if (!slot) return NULL;
        begin_batch(loader, slot);
    }
    struct slot *slot = loader->filling;
    int left = slot->samples - slot->taken;
    *first = slot->taken;
    *count = left < RUN ? left : RUN;
    slot->taken += *count;
    if (slot->taken == slot->samples) loader->filling = NULL;
    return slot;
}

/* Without the mutex. Returns the place that failed, or -1. */
static int make_samples(struct lam_loader *loader, struct slot *slot, int first, int count, int thread,
                        struct lam_error *error) {
    struct lam_fill at = {.seed = loader->options.seed,
                          .epoch = slot->batch.epoch,
                          .batch = slot->batch.number,
                          .thread = thread,
                          .batch_indices = slot->indices,
                          .batch_count = slot->batch.count};
    for (int place = first; place < first + count; place++) {
        void *data[LAM_MAX_FIELDS] = {0};
        for (int f = 0; f < loader->options.field_count; f++)
            data[f] = (char *)slot->host[f] + (size_t)place * loader->sample_bytes[f];
        at.slot = place;
        at.index = slot->indices[place];
        lam_status status = loader->options.fill(loader->options.context, &at, data);
        if (status == LAM_OK) continue;
        lam_error_save(error, status);
        return place;
    }
    return -1;
}

/* Without the mutex: samples [first, first + count) to the device. */
static lam_status upload(const struct lam_loader *loader, const struct slot *slot, int first, int count,
                         int thread) {
    const struct lam_backend *backend = lam_device_backend(loader->device);
    struct lam_stream *stream = loader->streams[thread];
    for (int f = 0; f < loader->options.field_count; f++) {
        size_t bytes = loader->sample_bytes[f], offset = (size_t)first * bytes;
        LAM_TRY(backend->copy_from_host(stream, (char *)slot->batch.data[f] + offset,
                                        (char *)slot->host[f] + offset, (size_t)count * bytes));
    }
    return backend->stream_sync(stream);
}

/* Without the mutex: make_samples, and what it made is on the device. */
static int fill_samples(struct lam_loader *loader, struct slot *slot, int first, int count, int thread,
                        struct lam_error *error) {
    int failed = make_samples(loader, slot, first, count, thread, error);
    if (failed >= 0 || !loader->staged) return failed;
    lam_status status = upload(loader, slot, first, count, thread);
    if (status == LAM_OK) return -1;
    lam_error_save(error, status);
    return first;
}

static void *work(void *argument) {
    struct worker worker = *(struct worker *)argument;
    free(argument);
    struct lam_loader *loader = worker.loader;
    pthread_mutex_lock(&loader->mutex);
    while (!loader->stop) {
        int first, count;
        struct slot *slot = take_run(loader, &first, &count);
        if (!slot) {
            pthread_cond_wait(&loader->work, &loader->mutex);
            continue;
        }
        loader->busy++;
        pthread_mutex_unlock(&loader->mutex);
        struct lam_error error;
        int failed = fill_samples(loader, slot, first, count, worker.number, &error);
        pthread_mutex_lock(&loader->mutex);
        loader->busy--;
        if (failed >= 0 && (slot->failed_place < 0 || failed < slot->failed_place)) {
            slot->failed_place = failed;
            slot->error = error;
        }
        slot->made += count;
        if (slot->made == slot->samples) slot->state = READY;
        if (slot->state == READY || loader->busy == 0) pthread_cond_broadcast(&loader->ready);
    }
    pthread_mutex_unlock(&loader->mutex);
    return NULL;
}

/* ---- making and ending ---- */

static lam_status check_options(const struct lam_loader_options *o) {
    if (o->batch < 1) return lam_fail(LAM_ERR_INVALID, "a batch of %d samples", o->batch);
    if (o->count < 1 || o->count > UINT32_MAX - 1)
        return lam_fail(LAM_ERR_INVALID, "a data set of %lld samples", (long long)o->count);
    if (o->threads < 1 || o->prefetch < 2)
        return lam_fail(LAM_ERR_INVALID,
                        "%d loader threads and %d prefetched batches; at least 1 and 2 are "
                        "needed",
                        o->threads, o->prefetch);
    if (o->field_count < 1 || o->field_count > LAM_MAX_FIELDS)
        return lam_fail(LAM_ERR_INVALID, "%d fields in a batch; 1 to %d are possible", o->field_count,
                        LAM_MAX_FIELDS);
    if (o->drop_last && o->count < o->batch)
        return lam_fail(
            LAM_ERR_INVALID,
            "the data set has %lld samples, less than one batch of %d, and the uneven last batch is "
            "dropped; use a smaller batch or keep it",
            (long long)o->count, o->batch);
    return LAM_OK;
}

/* Zeros, as the device's memory is: fill functions need not write everything. */
static lam_status make_staging(const struct lam_loader *loader, size_t bytes, void **host) {
    *host = NULL;
    LAM_TRY(
        lam_device_backend(loader->device)->allocate_host(lam_device_handle(loader->device), bytes, host));
    memset(*host, 0, bytes);
    return LAM_OK;
}

static lam_status make_slot(struct lam_loader *loader, struct slot *slot) {
    slot->indices = calloc((size_t)loader->options.batch, sizeof *slot->indices);
    if (!slot->indices) return lam_fail(LAM_ERR_NO_MEMORY, "no memory for the loader");
    for (int f = 0; f < loader->options.field_count; f++) {
        size_t bytes = loader->sample_bytes[f] * (size_t)loader->options.batch;
        LAM_TRY(lam_device_alloc(loader->device, LAM_MEMORY_DATA, bytes, &slot->batch.data[f]));
        slot->host[f] = slot->batch.data[f];
        if (loader->staged) LAM_TRY(make_staging(loader, bytes, &slot->host[f]));
    }
    return LAM_OK;
}

static lam_status make_streams(struct lam_loader *loader) {
    const struct lam_backend *backend = lam_device_backend(loader->device);
    loader->streams = calloc((size_t)loader->options.threads, sizeof(struct lam_stream *));
    if (!loader->streams) return lam_no_memory();
    for (int i = 0; loader->staged && i < loader->options.threads; i++)
        LAM_TRY(backend->stream_create(lam_device_handle(loader->device), &loader->streams[i]));
    return LAM_OK;
}

static lam_status start_threads(struct lam_loader *loader) {
    for (int i = 0; i < loader->options.threads; i++) {
        struct worker *worker = malloc(sizeof *worker);
        if (!worker) return lam_fail(LAM_ERR_NO_MEMORY, "no memory for the loader");
        *worker = (struct worker){loader, i};
        int failed = pthread_create(&loader->threads[i], NULL, work, worker);
        if (failed) {
            free(worker);
            return lam_fail(LAM_ERR_NO_MEMORY, "loader thread %d cannot be started: %s", i, strerror(failed));
        }
        loader->started++;
    }
    return LAM_OK;
}

static lam_status prepare(struct lam_loader *loader) {
    const struct lam_loader_options *o = &loader->options;
    memcpy(loader->fields, o->fields, (size_t)o->field_count * sizeof *o->fields);
    loader->options.fields = loader->fields;
    for (int f = 0; f < o->field_count; f++)
        loader->sample_bytes[f] =
            (size_t)lam_shape_count(loader->fields[f].shape) * lam_dtype_bytes(loader->fields[f].dtype);
    loader->order = malloc((size_t)o->count * sizeof *loader->order);
    loader->slots = calloc((size_t)o->prefetch, sizeof *loader->slots);
    loader->threads = calloc((size_t)o->threads, sizeof *loader->threads);
    if (!loader->order || !loader->slots || !loader->threads)
        return lam_fail(LAM_ERR_NO_MEMORY, "no memory for the loader");
    for (int i = 0; i < o->prefetch; i++) LAM_TRY(make_slot(loader, &loader->slots[i]));
    LAM_TRY(make_streams(loader));
    return start_threads(loader);
}

lam_status lam_loader_create(const struct lam_loader_options *options, struct lam_device *device,
                             struct lam_loader **loader) {
    LAM_TRY(check_options(options));
    struct lam_loader *made = calloc(1, sizeof *made);
    if (!made) return lam_fail(LAM_ERR_NO_MEMORY, "no memory for the loader");
    made->options = *options;
    made->device = device;
    made->staged = !lam_device_backend(device)->host_visible;
    pthread_mutex_init(&made->mutex, NULL);
    pthread_cond_init(&made->work, NULL);
    pthread_cond_init(&made->ready, NULL);
    lam_status status = prepare(made);
    if (status != LAM_OK) {
        lam_loader_destroy(made);
        return status;
    }
    *loader = made;
    return LAM_OK;
}

void lam_loader_destroy(struct lam_loader *loader) {
    if (!loader) return;
    pthread_mutex_lock(&loader->mutex);
    loader->stop = true;
    pthread_cond_broadcast(&loader->work);
    pthread_mutex_unlock(&loader->mutex);
    for (int i = 0; i < loader->started; i++) pthread_join(loader->threads[i], NULL);
    const struct lam_backend *backend = lam_device_backend(loader->device);
    for (int i = 0; loader->streams && i < loader->options.threads; i++)
        if (loader->streams[i]) backend->stream_destroy(loader->streams[i]);
    free(loader->streams);
    for (int i = 0; loader->slots && i < loader->options.prefetch; i++) {
        struct slot *slot = &loader->slots[i];
        for (int f = 0; f < loader->options.field_count; f++) {
            if (loader->staged && slot->host[f])
                backend->release_host(lam_device_handle(loader->device), slot->host[f]);
            if (slot->batch.data[f]) lam_device_free(loader->device, slot->batch.data[f]);
        }
        free(slot->indices);
    }
    pthread_cond_destroy(&loader->ready);
    pthread_cond_destroy(&loader->work);
    pthread_mutex_destroy(&loader->mutex);
    free(loader->threads);
    free(loader->slots);
    free(loader->order);
    free(loader);
}

/* ---- the consumer ---- */

lam_status lam_loader_start(struct lam_loader *loader, uint64_t epoch, int64_t first) {
    int64_t batches = lam_loader_batches(loader);
    if (first < 0 || first > batches)
        return lam_fail(LAM_ERR_INVALID, "batch %lld of an epoch of %lld", (long long)first,
                        (long long)batches);
    pthread_mutex_lock(&loader->mutex);
    loader->batches = 0; /* nothing new is begun while the old work runs out */
    loader->filling = NULL;
    while (loader->busy > 0) pthread_cond_wait(&loader->ready, &loader->mutex);
    for (int i = 0; i < loader->options.prefetch; i++)
        if (loader->slots[i].state != HELD) loader->slots[i].state = FREE;
    lam_loader_order(&loader->options, epoch, loader->order);
    loader->epoch = epoch;
    loader->next_fill = loader->next_give = first;
    loader->batches = batches;
    pthread_cond_broadcast(&loader->work);
    pthread_mutex_unlock(&loader->mutex);
    return LAM_OK;
}

static struct slot *ready_slot(struct lam_loader *loader, int64_t number) {
    for (int i = 0; i < loader->options.prefetch; i++)
        if (loader->slots[i].state == READY && loader->slots[i].batch.number == number)
            return &loader->slots[i];
    return NULL;
}

static bool all_held(const struct lam_loader *loader) {
    for (int i = 0; i < loader->options.prefetch; i++)
        if (loader->slots[i].state != HELD) return false;
    return true;
}

/* With the mutex held; waits for the batch whose turn it is. */
static lam_status wait_for_turn(struct lam_loader *loader, struct slot **found) {
    *found = NULL;
    if (loader->next_give >= loader->batches) return LAM_OK;
    if (all_held(loader))
        return lam_fail(LAM_ERR_INVALID, "all %d batches of the loader are held; release one",
                        loader->options.prefetch);
    struct slot *slot = ready_slot(loader, loader->next_give);
    if (!slot) {
        double start = lam_seconds();
        while (!(slot = ready_slot(loader, loader->next_give)))
            pthread_cond_wait(&loader->ready, &loader->mutex);
        loader->waited += lam_seconds() - start;
    }
    if (slot->failed_place >= 0) return lam_error_restore(&slot->error);
    slot->state = HELD;
    loader->next_give++;
    *found = slot;
    return LAM_OK;
}

lam_status lam_loader_next(struct lam_loader *loader, struct lam_batch **batch) {
    struct slot *slot;
    pthread_mutex_lock(&loader->mutex);
    lam_status status = wait_for_turn(loader, &slot);
    pthread_mutex_unlock(&loader->mutex);
    LAM_TRY(status);
    *batch = slot ? &slot->batch : NULL;
    return LAM_OK;
}

void lam_loader_release(struct lam_loader *loader, struct lam_batch *batch) {
    if (!batch) return;
    struct slot *slot = (struct slot *)batch;
    pthread_mutex_lock(&loader->mutex);
    if (slot->state == HELD) slot->state = FREE;
    pthread_cond_broadcast(&loader->work);
    pthread_mutex_unlock(&loader->mutex);
}

double lam_loader_wait_seconds(const struct lam_loader *loader) {
    return loader->waited;
}
