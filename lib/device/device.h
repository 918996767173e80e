/* Devices and their memory.
 *
 *     struct lam_device *device;
 *     LAM_TRY(lam_device_open("cpu:0-1", 0, &device));        // one device of two cores, no limit
 *     float *weights;
 *     LAM_TRY(lam_device_alloc(device, LAM_MEMORY_PARAMETERS, bytes, (void **)&weights));
 *     ...
 *     struct lam_memory_stats stats = lam_device_memory(device, LAM_MEMORY_PARAMETERS);
 *     lam_device_free(device, weights);
 *     lam_device_close(device);
 *
 * All device memory comes from here, with a kind: the counters are the memory report. Allocation fails with
 * LAM_ERR_MEMORY_LIMIT and the numbers when it would pass the device's limit. Calls are thread safe.
 */
#ifndef LAM_DEVICE_DEVICE_H
#define LAM_DEVICE_DEVICE_H

#include "device/backend.h"

#define LAM_MEMORY_TABLE(X)                                                                                  \
    X(PARAMETERS, "parameters")                                                                              \
    X(GRADIENTS, "gradients")                                                                                \
    X(OPTIMIZER, "optimizer")                                                                                \
    X(ACTIVATIONS, "activations")                                                                            \
    X(WORKSPACE, "workspace")                                                                                \
    X(QUEUE, "queue")                                                                                        \
    X(DATA, "data")

enum lam_memory_kind {
#define LAM_MEMORY_ENUM(suffix, name) LAM_MEMORY_##suffix,
    LAM_MEMORY_TABLE(LAM_MEMORY_ENUM)
#undef LAM_MEMORY_ENUM
        LAM_MEMORY_KINDS
};
const char *lam_memory_kind_name(enum lam_memory_kind kind);

struct lam_memory_stats {
    size_t current, peak; /* bytes */
};

struct lam_device;

/* How programs that are compiled from here on use a device. Zero: exact and as fast as that allows. */
struct lam_device_modes {
    bool tf32;        /* f32 matrix products and convolutions round their inputs to TF32 (GPUs) */
    bool launch_each; /* every kernel is launched by itself, no step is recorded (CUDA graphs) */
    bool keep_all;    /* values of cheap ops are kept for the backward pass, too, not computed again */
};

/* Opens "cpu:0", "cpu:0-3" or "cuda:0". limit: bytes, 0 = none. Errors: LAM_ERR_NOT_FOUND with the devices
 * that there are, LAM_ERR_INVALID for a name that is none. */
lam_status lam_device_open(const char *name, size_t limit, struct lam_device **device);
/* Frees what was still allocated. NULL is allowed. */
void lam_device_close(struct lam_device *device);

const char *lam_device_name(const struct lam_device *device);
/* Another name for reports: where two ranks have a device of the same name. */
lam_status lam_device_rename(struct lam_device *device, const char *name);
const char *lam_device_describe(const struct lam_device *device);
int lam_device_lanes(const struct lam_device *device);
/* Of one backend, described alike, with as many lanes: what holds for one holds for the other. */
bool lam_device_alike(const struct lam_device *a, const struct lam_device *b);
size_t lam_device_limit(const struct lam_device *device);
/* What the hardware has: one memory for all CPU devices of a machine. */
uint64_t lam_device_total_memory(const struct lam_device *device);
/* As the driver counts: what any program could have, and what this process holds (takes some milliseconds). A GPU also holds what is
 * in no pool: its context, kernels, libraries, recordings. false: not known. */
bool lam_device_free_memory(const struct lam_device *device, uint64_t *bytes);
bool lam_device_process_memory(const struct lam_device *device, uint64_t *bytes);
const struct lam_backend *lam_device_backend(const struct lam_device *device);
struct lam_backend_device *lam_device_handle(const struct lam_device *device);
struct lam_stream *lam_device_stream(const struct lam_device *device); /* the compute stream */

void lam_device_set_modes(struct lam_device *device, struct lam_device_modes modes);
struct lam_device_modes lam_device_modes(const struct lam_device *device);

/* 64-byte aligned, zero filled. bytes = 0 gives NULL. */
lam_status lam_device_alloc(struct lam_device *device, enum lam_memory_kind kind, size_t bytes,
                            void **pointer);
void lam_device_free(struct lam_device *device, void *pointer);

struct lam_memory_stats lam_device_memory(const struct lam_device *device, enum lam_memory_kind kind);
struct lam_memory_stats lam_device_memory_total(const struct lam_device *device); /* peak of the sum */
void lam_device_memory_reset_peak(struct lam_device *device);

/* Blocking copies between host and device, on the compute stream: by the thread that runs programs on the device, or while none
 * does. */
lam_status lam_device_upload(struct lam_device *device, void *to, const void *from_host, size_t bytes);
lam_status lam_device_download(struct lam_device *device, void *to_host, const void *from, size_t bytes);

/* How many GPUs `--devices auto` would find: those of the CUDA backend, where there is a driver and the backend was built. */
int lam_device_gpu_count(void);

/* Parses "cpu:0,cpu:1" or "cpu:0-1" or "auto" (the first GPU; all cores as one device where there is none) into device names.
 * Free each name and the array with free(). */
lam_status lam_device_list_parse(const char *text, char ***names, int *count);

#endif
