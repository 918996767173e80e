/* A program: a graph compiled for one device. Planned once, then run step after step without allocating.
 *
 *     struct lam_program *program;
 *     LAM_TRY(lam_program_compile(graph, device, &(struct lam_program_options){.tuning = tuning}, &program));
 *     size_t bytes = lam_program_activation_bytes(program);        // known before anything is allocated
 *     LAM_TRY(lam_device_alloc(device, LAM_MEMORY_ACTIVATIONS, bytes, &activations));
 *     bytes = lam_program_workspace_bytes(program);
 *     LAM_TRY(lam_device_alloc(device, LAM_MEMORY_WORKSPACE, bytes, &workspace));
 *     lam_program_attach(program, activations, workspace);         // programs that take turns may share both
 *     lam_program_bind_input(program, lam_program_input(program, "image"), images);
 *     LAM_TRY(lam_program_run(program, seed, step));
 *     float loss;
 *     LAM_TRY(lam_program_read(program, "loss", &loss, sizeof loss));
 *
 * How it runs. Ops are grouped into *segments*. Inside a segment each lane takes its part of the batch, slice
 * by slice, through all of the segment's ops; a value that lives inside one segment exists only as large as a
 * slice and stays in the cache. A segment ends where an op needs a reduction over the whole batch (batch
 * norm); between segments lanes meet, reductions are folded, weights are repacked. Cheap values that a later
 * segment needs again are computed again there instead of being kept.
 *
 * Choices that measurement makes better (kernel per layer and pass, slice per segment) come from the tuning
 * record and are added to it, so that another compile, a resumed run or another schedule uses the same ones.
 */
#ifndef LAM_GRAPH_PROGRAM_H
#define LAM_GRAPH_PROGRAM_H

#include <stdio.h>

#include "graph/graph.h"

/* ---- tuning record: text key -> choice ---- */

struct lam_tuning;
enum lam_tuning_mode {
    LAM_TUNING_FIXED,   /* rules of shape alone; the record is not used */
    LAM_TUNING_MEASURE, /* what the record does not have is measured and added */
    LAM_TUNING_RECORD,  /* what the record does not have falls back to the rule of shape */
};
lam_status lam_tuning_create(enum lam_tuning_mode mode, struct lam_tuning **tuning);
void lam_tuning_destroy(struct lam_tuning *tuning);
/* One "key = choice" a line, sorted. A file that does not exist is an empty record. */
lam_status lam_tuning_load(struct lam_tuning *tuning, const char *path);
lam_status lam_tuning_save(const struct lam_tuning *tuning, const char *path);
const char *lam_tuning_get(const struct lam_tuning *tuning, const char *key); /* NULL: none */
lam_status lam_tuning_set(struct lam_tuning *tuning, const char *key, const char *choice);
enum lam_tuning_mode lam_tuning_mode(const struct lam_tuning *tuning);
/* The record's lines, to write them elsewhere: their number, and the key of one. */
int lam_tuning_size(const struct lam_tuning *tuning);
const char *lam_tuning_key(const struct lam_tuning *tuning, int index);
/* stop() is asked while measuring; once it says true, compiling ends with LAM_ERR_STOPPED. NULL: never. */
void lam_tuning_set_stop(struct lam_tuning *tuning, bool (*stop)(void));
bool lam_tuning_stopped(const struct lam_tuning *tuning);

/* ---- compile ---- */

struct lam_program;
struct lam_program_options {
    struct lam_tuning *tuning; /* NULL: fixed. Not owned; used during compile only */
    /* Forward and backward are run apart (lam_program_run_part), so nothing is shared between them but kept values. */
    bool split;
    int max_slice; /* 0: no bound; else no slice holds more samples (less memory, for tests and planning) */
};

/* The graph must outlive the program. The parameters need not be allocated yet, unless tuning measures. */
lam_status lam_program_compile(struct lam_graph *graph, struct lam_device *device,
                               const struct lam_program_options *options, struct lam_program **program);
void lam_program_destroy(struct lam_program *program);

/* Bytes of the two buffers that a program needs: values over the batch (activations and their gradients); and
 * workspace (slices, kernels' scratch, partial sums, repacked weights). */
size_t lam_program_activation_bytes(const struct lam_program *program);
size_t lam_program_workspace_bytes(const struct lam_program *program);
/* Gives the program its buffers, 64-byte aligned device memory, not owned. */
void lam_program_attach(struct lam_program *program, void *activations, void *workspace);

/* ---- run ---- */

int lam_program_input(const struct lam_program *program, const char *name);  /* -1: no such input */
int lam_program_output(const struct lam_program *program, const char *name); /* -1: no such output */
size_t lam_program_input_bytes(const struct lam_program *program, int input);
size_t lam_program_output_bytes(const struct lam_program *program, int output);

/* Binds an input (device memory, PLAIN, whole batch) for the runs that follow; must stay valid while they
 * run. */
void lam_program_bind_input(struct lam_program *program, int input, const void *data);
/* Lets an output be written to `data` instead of the arena (a queue slot, say). NULL: back to the arena. */
void lam_program_bind_output(struct lam_program *program, int output, void *data);
/* Of a border: type, shape and layout, which both sides must agree on. */
struct lam_tensor_desc lam_program_input_desc(const struct lam_program *program, int input);
struct lam_tensor_desc lam_program_output_desc(const struct lam_program *program, int output);

/* During each run from now on, done(context) is called as soon as all of these batched outputs are complete, from one of
 * the device's threads: the rest of the run goes on behind it. NULL: no more. */
typedef void (*lam_program_done)(void *context);
void lam_program_on_outputs(struct lam_program *program, const int *outputs, int count, lam_program_done done,
                            void *context);

const void *lam_program_output_data(const struct lam_program *program, int output); /* device memory */

/* One pass over all ops: forward, and the gradients if the graph has them. Parameter gradients are
 * overwritten. */
lam_status lam_program_run(struct lam_program *program, uint64_t seed, uint64_t step);
/* A split program: its forward part, or its backward part of what the last forward part left in the activation buffer that is
 * attached now. In between other forward parts may run with other activation buffers (micro-batches). */
enum lam_program_part { LAM_PROGRAM_FORWARD, LAM_PROGRAM_BACKWARD };
lam_status lam_program_run_part(struct lam_program *program, enum lam_program_part part,
                                const struct lam_run *run);
/* Copies an output to the host. bytes must be the output's. */
lam_status lam_program_read(const struct lam_program *program, const char *name, void *host, size_t bytes);

/* ---- look inside ---- */

void lam_program_profile(struct lam_program *program, bool on);
/* Seconds a profiled run spent on lane 0 in ops with this tag (lam_graph_tag). */
double lam_program_tag_seconds(const struct lam_program *program, int tag);
/* Time per op kind and shape, share, GFLOP/s and GB/s where known; segments and slices. */
void lam_program_profile_print(const struct lam_program *program, FILE *file);
/* The ops as they are run, for counting: those of the segments in their order, then those without a batch. */
struct lam_program_op {
    const struct lam_op *op; /* the program's */
    int tag;                 /* lam_graph_tag */
    int segment;             /* of a batched op; else what it comes before */
    bool batched, backward;
    bool again;        /* computes again what an earlier segment computed */
    bool from_outside; /* its first input is one of the program's */
};
int lam_program_op_count(const struct lam_program *program);
struct lam_program_op lam_program_op(const struct lam_program *program, int index);
/* Segments, slices, kernels chosen, values kept and their bytes. */
void lam_program_print(const struct lam_program *program, FILE *file);

#endif
