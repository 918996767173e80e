/* The backend contract: what kernels/cpu and kernels/cuda implement, and the only way to them.
 *
 * A backend is one const struct lam_backend. lib/device/device.c lists the built-in ones and loads others
 * from modules on demand. Everything above this header treats all devices alike; pointers below are device
 * memory unless "host" is said.
 *
 * Lanes. A device runs kernels on one or more lanes. A CPU device of n cores has n lanes, each a pinned
 * thread, and the batch is divided over them; a GPU has one lane, whose kernels are put on a stream and run
 * later. Code for a lane runs inside run_lanes:
 *
 *     backend->run_lanes(device, step_lane, context);
 *
 *     static void step_lane(void *context, int lane) {
 *         for each of this lane's slices:
 *             kernel->run(kernel, &arguments);           // accumulates reductions into this lane's partial
 *         backend->lane_barrier(device, lane);
 *         kernel->reduce(kernel, partials, outputs, lane, lanes);   // this lane's part of the work
 *         backend->lane_barrier(device, lane);
 *     }
 *
 * Kernels. A kernel belongs to one op and to a set of slice sizes. It holds everything that needs setting up,
 * so run() allocates nothing and cannot fail on the CPU; on a GPU launch errors surface in stream_sync. A
 * kernel may be run by several lanes at once: per-lane state is indexed by the lane.
 */
#ifndef LAM_DEVICE_BACKEND_H
#define LAM_DEVICE_BACKEND_H

#include <stdio.h>

#include "base/status.h"
#include "device/op.h"

struct lam_backend_device; /* the backend's own state of one device */
struct lam_stream;         /* FIFO of work; a CPU backend runs work at once, so its streams are empty */
struct lam_event;
struct lam_recording; /* work of a stream, kept to be launched as often as wanted (a CUDA graph) */

/* Same for all kernels of one run of a program. */
struct lam_run {
    uint64_t seed, step;
    uint64_t first; /* the program's first sample's place in the batch: not 0 for micro-batches */
};

struct lam_kernel_args {
    const void *in[LAM_MAX_INPUTS]; /* batched: first sample of the slice; shared: whole; prepared form if it
                                       has one */
    void *out[LAM_MAX_OUTPUTS]; /* batched: first sample of the slice; reductions: NULL, see partial; absent:
                                   NULL */
    void *partial;              /* this lane's partial, partial_bytes; NULL if the op has no reduction */
    void *workspace;            /* workspace_bytes of scratch, this lane's own, content undefined */
    int count;                  /* samples in this slice: one of the slice sizes asked for */
    int64_t first;              /* the slice's first sample's place in the batch */
    bool accumulate; /* false: this is the lane's first slice, overwrite the partial; true: add to it */
    int lane;
    struct lam_stream *stream;
    const struct lam_run *run;
};

struct lam_kernel {
    const struct lam_backend *backend;
    struct lam_op op;
    size_t workspace_bytes; /* per lane */
    size_t partial_bytes;   /* per lane; 0 = no reduction */
    size_t
        prepared_bytes[LAM_MAX_INPUTS]; /* shared inputs: 0 = used as it is, else the size of a prepared form
                                           (repacked or converted weights) that is made once per run */
    /* 0: this kernel's own; else kernels of this backend with the same number make the same bytes of the same value
     * at the same input, so that one of them may do it for all. */
    int prepared_form[LAM_MAX_INPUTS];
    bool partial_is_output; /* the partial of a single-reduction op has the output's own format and
                               reduce() is a plain sum: lane 0 may then use the output as its partial */

    /* One slice. Op without batched operands: called with count 0, first 0, on lane 0 only. */
    void (*run)(const struct lam_kernel *kernel, const struct lam_kernel_args *args);

    /* Makes the prepared form of shared input `input`; the work is divided into `parts`, this call does
     * `part`. */
    void (*prepare)(const struct lam_kernel *kernel, int input, const void *source, void *prepared, int part,
                    int parts, struct lam_stream *stream);

    /* Folds the partials of all lanes, in lane order, into the reduction outputs (out[i], NULL where the
     * output is batched or absent); lanes that had no slice are not among them. This call does `part` of
     * `parts`. */
    void (*reduce)(const struct lam_kernel *kernel, void *const *partials, int partial_count,
                   void *const *out, int part, int parts, struct lam_stream *stream);

    void (*destroy)(struct lam_kernel *kernel);
};

/* How kernels are chosen. */
struct lam_kernel_options {
    const int *slices; /* the slice sizes that run() will be called with, largest first; at least one */
    int slice_count;
    int lanes;
    /* A choice made earlier for the same op ("winograd"), from the tuning record; NULL = the rule of shape
     * alone. LAM_KERNEL_MEASURE: time the candidates here and now. A choice that does not apply is an error.
     */
    const char *choice;
    bool
        tf32; /* f32 matrix products and convolutions may round their inputs to TF32 (GPUs; others ignore it) */
};
#define LAM_KERNEL_MEASURE "measure"

/* The flat-buffer updates. Each call does elements [begin, end) of the buffers; all f32. */
struct lam_sgd_args {
    float *parameter, *momentum_buffer;
    const float *gradient;
    float learning_rate, momentum, weight_decay, gradient_scale;
    bool nesterov,
        first; /* first: momentum_buffer is not yet set (PyTorch's first step: buffer = gradient) */
};
struct lam_adamw_args {
    float *parameter, *first_moment, *second_moment;
    const float *gradient;
    float learning_rate, beta1, beta2, eps, weight_decay, gradient_scale;
    bool decoupled; /* true: AdamW; false: Adam with L2 */
    uint64_t step;  /* from 1 */
};

struct lam_backend {
    const char *name; /* "cpu", "cuda" */
    /* How many devices there are: cores, or GPUs. 0 is not an error; -1 is, and the error text says which. */
    int (*device_count)(void);

    /* Devices. `spec` is what follows "name:" ("0", "0-1"). */
    lam_status (*device_open)(const char *spec, struct lam_backend_device **device);
    void (*device_close)(struct lam_backend_device *device);
    int (*lanes)(const struct lam_backend_device *device);
    /* One line for people ("2 cores of AMD EPYC, AVX-512"), and a key under which measured choices are
     * remembered. */
    const char *(*describe)(const struct lam_backend_device *device);
    uint64_t (*total_memory)(const struct lam_backend_device *device);
    /* Memory as the driver counts it now: what is to be had by whatever program, and what this process holds, in pools and beside
     * them. false: not known. NULL: never. */
    bool (*free_memory)(const struct lam_backend_device *device, uint64_t *bytes);
    bool (*process_memory)(const struct lam_backend_device *device, uint64_t *bytes);
    /* Further lines about a device for reports, each a name, two blanks or more, and a value. NULL: there are none. */
    void (*report)(struct lam_backend_device *device, FILE *file);

    /* Memory, aligned to 64 bytes at least; content undefined. Only lib/device's pools call these, and a backend that measures
     * kernels. */
    lam_status (*allocate)(struct lam_backend_device *device, size_t bytes, void **pointer);
    void (*release)(struct lam_backend_device *device, void *pointer);
    bool host_visible; /* device pointers can be read and written by the host (CPU) */
    bool whole_batch;  /* slices save nothing here: a segment always takes the whole batch (GPUs) */
    /* Host memory that copies to and from this device are fast with; as allocate and release. */
    lam_status (*allocate_host)(struct lam_backend_device *device, size_t bytes, void **pointer);
    void (*release_host)(struct lam_backend_device *device, void *pointer);

    /* Streams and events. copy: kind follows from the flags; both pointers on this device unless said. */
    lam_status (*stream_create)(struct lam_backend_device *device, struct lam_stream **stream);
    void (*stream_destroy)(struct lam_stream *stream);
    lam_status (*stream_sync)(struct lam_stream *stream);
    lam_status (*event_create)(struct lam_backend_device *device, struct lam_event **event);
    void (*event_destroy)(struct lam_event *event);
    lam_status (*event_record)(struct lam_event *event, struct lam_stream *stream);
    lam_status (*event_wait)(struct lam_event *event, struct lam_stream *stream); /* the stream waits */
    lam_status (*event_sync)(struct lam_event *event);                            /* the host waits */
    lam_status (*copy_from_host)(struct lam_stream *stream, void *to, const void *from_host, size_t bytes);
    lam_status (*copy_to_host)(struct lam_stream *stream, void *to_host, const void *from, size_t bytes);
    lam_status (*copy)(struct lam_stream *stream, void *to, const void *from, size_t bytes);
    lam_status (*copy_peer)(struct lam_stream *stream, struct lam_backend_device *to_device, void *to,
                            struct lam_backend_device *from_device, const void *from, size_t bytes);
    lam_status (*fill_zero)(struct lam_stream *stream, void *to, size_t bytes);
    /* Calls function(context) when the stream has come so far, from whatever thread; it must be short and must not call into
     * the backend. */
    lam_status (*call_host)(struct lam_stream *stream, void (*function)(void *context), void *context);

    /* Seed and step of what is put on the stream from here on; also of recordings that are launched from here on. NULL on the
     * CPU, whose kernels take them from their arguments. */
    void (*set_run)(struct lam_stream *stream, const struct lam_run *run);
    /* Recordings. What is put on a stream between begin and end is not run but kept, with all addresses as they are; launch puts
     * it on a stream as one piece. Nothing may wait for the stream in between. All four are NULL where launching costs nothing. */
    lam_status (*record_begin)(struct lam_stream *stream);
    lam_status (*record_end)(struct lam_stream *stream, struct lam_recording **recording);
    lam_status (*record_launch)(struct lam_recording *recording, struct lam_stream *stream);
    void (*record_destroy)(struct lam_recording *recording);

    /* What the prepare and reduce functions of kernels put on the stream in between does not depend on one another; so it may be
     * done in fewer pieces, and come at the end. Both are NULL where that saves nothing. */
    void (*together_begin)(struct lam_stream *stream);
    void (*together_end)(struct lam_stream *stream);

    /* Lanes. run_lanes calls work(context, lane) once for each lane, at the same time, and returns when all
     * have returned; one caller at a time. */
    void (*run_lanes)(struct lam_backend_device *device, void (*work)(void *context, int lane),
                      void *context);
    void (*lane_barrier)(struct lam_backend_device *device, int lane);

    /* Ops. layout: which layout a batched rank-4 value should have here; every kernel takes any mix of
     * PLAIN and that one. kernel_create must be called from outside run_lanes. `chosen` (may be NULL)
     * receives a static string: the choice that was made, to be recorded. Errors: LAM_ERR_UNSUPPORTED with
     * the op's name and shapes. */
    enum lam_layout (*layout)(const struct lam_backend_device *device, const struct lam_tensor_desc *desc);
    lam_status (*kernel_create)(struct lam_backend_device *device, const struct lam_op *op,
                                const struct lam_kernel_options *options, struct lam_kernel **kernel,
                                const char **chosen);

    /* Flat buffers, elements [begin, end), called on a lane with its part. */
    void (*sgd)(const struct lam_sgd_args *args, int64_t begin, int64_t end, struct lam_stream *stream);
    void (*adamw)(const struct lam_adamw_args *args, int64_t begin, int64_t end, struct lam_stream *stream);
    void (*ema)(float *average, const float *value, float decay, int64_t begin, int64_t end,
                struct lam_stream *stream); /* average <- decay average + (1 - decay) value */
    /* sum <- sum + weight value; first: sum <- weight value */
    void (*accumulate)(float *sum, const float *value, float weight, bool first, int64_t begin, int64_t end,
                       struct lam_stream *stream);
    /* Sums of squares of [begin, end), `chunk` elements each, the last one maybe fewer and the only one maybe none, into
     * sums[0], sums[1], ... (doubles on the device); for clipping and the NaN guard. */
    void (*sum_squares)(const float *value, int64_t begin, int64_t end, int64_t chunk, double *sums,
                        struct lam_stream *stream);
};

extern const struct lam_backend lam_backend_cpu;

#endif
