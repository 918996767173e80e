/* A run's folder: what is where, and that only one process writes to it.
 *
 *     config.ini  metrics.jsonl  memory.jsonl  events.out.tfevents...  summary.json
 *     report.txt  report.json, and a task's own files beside them (confusion.csv, confusion.png)
 *     checkpoints/last.safetensors  checkpoints/best.safetensors  predictions/epoch-0001.png .json
 */
#ifndef LAM_TRAIN_FOLDER_H
#define LAM_TRAIN_FOLDER_H

#include <jansson.h>

#include "train/events.h"
#include "train/metrics.h"

struct lam_folder {
    char *path;
    int lock; /* the folder itself, locked; -1: not open */
    struct lam_lines *metrics, *memory;
    struct lam_events *events;
};

/* resume = false: the folder must not hold a run yet, and can be made; resume = true: it must hold one.
 * Either way it can be written to. */
lam_status lam_folder_check(const char *path, bool resume);
/* Checks, makes and locks the folder, and removes the half-written files of a process that was killed. */
lam_status lam_folder_open(const char *path, bool resume, struct lam_folder *folder);
/* First free "runs/NAME-N"; malloc'd. */
lam_status lam_folder_free_name(const char *name, char **path);
void lam_folder_close(struct lam_folder *folder);

/* Opens the logs behind what is to be kept; step: of the first line to come. */
lam_status lam_folder_open_logs(struct lam_folder *folder, uint64_t metrics_lines, uint64_t memory_lines,
                                uint64_t step);

/* A metric into metrics.jsonl and the event file. */
lam_status lam_folder_metric(struct lam_folder *folder, const struct lam_metric *metric);

/* "FOLDER/name"; malloc'd, NULL when out of memory. */
char *lam_folder_file(const struct lam_folder *folder, const char *name);
/* Writes beside and renames; `json` is freed. */
lam_status lam_folder_write_json(const struct lam_folder *folder, const char *name, json_t *json);
lam_status lam_folder_write_text(const struct lam_folder *folder, const char *name, const char *text);

#endif
