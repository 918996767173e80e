/* lamina gpu-check: on a machine with GPUs, one command and one report that says whether everything works there, how fast, and
 * whether it is exact.
 *
 * A part (gpu_check_PART.c) is a line in the table in gpu_check.c. What uses a GPU runs in a process of its own
 * (gpu_check_apart), so that a crash, a hang, or a fault that leaves the GPU unusable to its process ends only that piece.
 */
#ifndef LAMINA_GPU_CHECK_H
#define LAMINA_GPU_CHECK_H

#include "train/commands.h"

struct gpu_check {
    FILE *out;            /* to people and into report.txt */
    char *const *devices; /* "cuda:0", ... */
    int device_count;
    bool quick;     /* small sizes: whether it works, not how fast */
    json_t *parts;  /* results of the parts that are done, by their names */
    json_t *failed; /* texts: what went wrong in this part */
};

LAM_COMMAND(gpu_check);

/* Prints that something is wrong and counts it; the part goes on. */
__attribute__((format(printf, 2, 3))) void gpu_check_failed(struct gpu_check *check, const char *format, ...);
/* The same of a status that is not LAM_OK, with its error text. Returns whether it was LAM_OK. */
bool gpu_check_passed(struct gpu_check *check, const char *what, lam_status status);

/* What runs apart: it fills `result`, which comes back, as do failures; nothing else does. */
typedef lam_status (*gpu_check_work)(struct gpu_check *check, const void *context, json_t *result);

enum { GPU_CHECK_SECONDS = 900 }; /* of work that is taken to hang; it may call alarm() for other limits */
/* LAM_ERR_DEVICE where the process did not come to its end; else what `work` returned. */
lam_status gpu_check_apart(struct gpu_check *check, gpu_check_work work, const void *context, json_t *result);

/* Names of the GPUs to check, as an array: those of `list`, "" = all that there are. */
lam_status gpu_check_find(struct gpu_check *check, const char *list, json_t **names);

/* The parts. */
void gpu_check_machine(struct gpu_check *check, json_t *result);
void gpu_check_ops(struct gpu_check *check, json_t *result);
void gpu_check_rates(struct gpu_check *check, json_t *result);
void gpu_check_steps(struct gpu_check *check, json_t *result);
void gpu_check_exactness(struct gpu_check *check, json_t *result);
void gpu_check_pipelines(struct gpu_check *check, json_t *result);

#endif
