/* Inside lib/graph: a compiled program, shared by the files that schedule, plan, tune and run it.
 *
 * Time. A program with S segments runs stage 0, segment 0, stage 1, segment 1, ..., segment S - 1, stage S.
 * Segments do the batched ops, slice by slice; stages, between them, fold reductions, run ops that have no
 * batch, and prepare weights for the segment that follows. For lifetimes, stage t is at time 2 t and segment
 * t at 2 t + 1.
 */
#ifndef LAM_GRAPH_PROGRAM_INTERNAL_H
#define LAM_GRAPH_PROGRAM_INTERNAL_H

#include "graph/internal.h"
#include "graph/program.h"

/* Where an operand's bytes are. Address = base + offset (+ lane * lane stride) (+ sample * sample stride). */
enum place_kind {
    PLACE_ABSENT,
    PLACE_INPUT,    /* index: program input */
    PLACE_OUTPUT,   /* index: program output that the caller may bind elsewhere; else in the activation buffer
                     */
    PLACE_PARAM,    /* flat parameter buffer */
    PLACE_BUFFER,   /* flat buffer of running statistics */
    PLACE_GRADIENT, /* flat gradient buffer */
    PLACE_ACTIVATION, /* activation buffer: values over the whole batch, shared values */
    PLACE_WORKSPACE,  /* workspace buffer: prepared weights */
    PLACE_SLICE,      /* workspace buffer, one copy per lane, as large as a slice */
};

struct place {
    enum place_kind kind;
    int index;
    size_t offset;
    size_t sample_bytes; /* batched: distance of two samples; 0: shared */
};

struct program_value {
    struct value value; /* a copy: layout decided here */
    size_t sample_bytes;
    int defined, last_used; /* segment (batched) or stage (shared) of the definition; time of the last use */
    int output;             /* program output that it is, -1: none */
    bool bound;             /* that output is a border: its place is the caller's */
    bool local;             /* batched, lives in one segment */
    int depth;              /* 0: kept; else computed again where needed, by a chain of so many ops */
    struct place place;
};

/* One op as it runs. */
struct step {
    struct node node; /* operands are indices of program values */
    bool batched;     /* runs in a segment; else in a stage */
    bool clone;       /* computes again what an earlier segment computed */
    int when;         /* segment or stage */

    /* made by instantiate */
    struct lam_kernel *kernel;
    const char *choice;
    size_t workspace_offset; /* in the lane's slice area */
    size_t partial_offset;   /* in the workspace buffer, one after another per lane */
    bool first_partial_is_output;
    struct place prepared[LAM_MAX_INPUTS]; /* kind ABSENT: input is used as it is */
    int preparer[LAM_MAX_INPUTS]; /* the earlier step that makes this form in the same stage; -1: this one */
    int prepare_stage;
    bool prepares_computed; /* what is prepared comes from an op of this run: it has to wait for that */

    /* made by resolve: addresses for lane 0, sample 0 */
    const char *in[LAM_MAX_INPUTS];
    char *out[LAM_MAX_OUTPUTS];
    char *partial, *workspace;
    char *prepared_at[LAM_MAX_INPUTS];

    double seconds; /* profile: on lane 0 */
    double reduce_seconds;
    long calls;
};

struct segment {
    int begin, end;  /* steps */
    int slice;       /* samples */
    char *signature; /* ops and shapes, for the tuning record */
    double seconds, best_seconds;
    int best_slice;
};

struct stage {
    int begin, end; /* steps without batch */
};

enum { LAM_PROGRAM_RECORDINGS = 128 };

struct lam_program {
    struct lam_graph *graph;
    struct lam_device *device;
    const struct lam_backend *backend;
    struct lam_backend_device *handle;
    struct lam_params *params;
    int lanes;
    int64_t batch;
    int max_slice;

    struct program_value *values;
    int value_count, value_capacity;
    struct step *steps; /* by segment, then those of stages */
    int step_count, step_capacity;
    struct segment *segments;
    struct stage *stages; /* segment_count + 1 */
    int segment_count;
    bool split;
    int forward_segments;   /* split: the segments before the first op of the backward pass */
    int run_begin, run_end; /* segments of the part that is being run */

    int *input_values, *output_values;
    const void **input_data;
    void **output_data; /* bound elsewhere; NULL: in the activation buffer */

    size_t activation_bytes, workspace_bytes, lane_bytes, lane_area_offset;
    char *activations, *workspace;
    float *param_base, *gradient_base,
        *buffer_base; /* what is used now: the parameters', or the tuner's own */
    bool resolved;

    struct {         /* told when an output is complete */
        int segment; /* -1: nobody wants to know */
        lam_program_done done;
        void *context;
    } hook;

    bool recorded; /* runs are recorded, and the recordings launched */
    bool warm[2];  /* the first part, or the whole, and the second one were run */
    struct program_recording {
        uintptr_t *key;
        struct lam_recording *recording;
    } recordings[LAM_PROGRAM_RECORDINGS];
    int recording_count;

    struct lam_run run;
    lam_status run_status; /* of what was put on the stream; its text: run_error */
    struct lam_error run_error;
    bool profile, time_segments;
    double run_seconds;
    long runs;
};

/* schedule.c: live ops, layouts, segments, what is computed again. */
lam_status lam_program_schedule(struct lam_program *program);

/* instantiate.c: kernels and memory for the segments' present slices; and their end. */
lam_status lam_program_instantiate(struct lam_program *program, struct lam_tuning *tuning);
void lam_program_clear(struct lam_program *program);
/* Samples of a lane: [begin, end). */
void lam_program_lane_range(const struct lam_program *program, int lane, int64_t *begin, int64_t *end);

/* tune.c: sets every segment's slice, by rule, record or measurement. */
lam_status lam_program_choose_slices(struct lam_program *program, struct lam_tuning *tuning);

/* run.c: runs segments run_begin to run_end and waits for the end. */
lam_status lam_program_execute(struct lam_program *program);
void lam_program_forget_recordings(struct lam_program *program);

/* One line that names an op with its shapes, for records, profiles and errors. */
void lam_program_op_text(const struct lam_program *program, const struct step *step, char *text, size_t size);

#endif
