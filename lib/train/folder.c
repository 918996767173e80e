/* The run's folder. flock on the folder itself keeps a second process out and ends with the process, whatever
 * becomes of it. */
#include "train/folder.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

#include "base/files.h"

lam_status lam_folder_free_name(const char *name, char **path) {
    for (int i = 1; i < 100000; i++) {
        char *candidate = lam_format("runs/%s-%d", name, i);
        if (!candidate) return lam_no_memory();
        if (!lam_path_exists(candidate)) {
            *path = candidate;
            return LAM_OK;
        }
        free(candidate);
    }
    return lam_fail(LAM_ERR_INVALID, "runs/%s-1 to -99999 all exist; give --out", name);
}

static lam_status lock(struct lam_folder *folder) {
    folder->lock = open(folder->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (folder->lock < 0)
        return lam_fail(LAM_ERR_IO, "%s: cannot be opened: %s", folder->path, strerror(errno));
    if (flock(folder->lock, LOCK_EX | LOCK_NB) != 0 && errno == EWOULDBLOCK)
        return lam_fail(LAM_ERR_INVALID, "%s: another process is training in this folder", folder->path);
    return LAM_OK;
}

static lam_status make_parts(struct lam_folder *folder) {
    static const char *const parts[] = {"checkpoints", "predictions"};
    for (int i = 0; i < 2; i++) {
        char *path = lam_folder_file(folder, parts[i]);
        lam_status status = path ? lam_make_folders(path) : lam_no_memory();
        free(path);
        LAM_TRY(status);
    }
    return LAM_OK;
}

lam_status lam_folder_check(const char *path, bool resume) {
    char *config = lam_path_join(path, "config.ini");
    if (!config) return lam_no_memory();
    bool holds = lam_path_exists(config);
    free(config);
    if (resume && !holds)
        return lam_fail(LAM_ERR_NOT_FOUND, "%s: holds no run to resume (no config.ini)", path);
    if (!resume && holds)
        return lam_fail(LAM_ERR_INVALID,
                        "%s: holds a run already; go on with it by --resume, or give another --out", path);
    return lam_check_output_folder(path);
}

/* ---- what a killed process leaves ---- */

/* "last.safetensors.tmp-1234": of a file of ours, never one that the user has put here. */
static bool is_leftover(const char *name) {
    static const char *const files[] = {
        "config.ini.", "summary.json.", "last.safetensors.", "best.safetensors.", "epoch-",
        "confusion.",  "report.",       "precision_recall.", "first-batch."};
    const char *mark = strstr(name, ".tmp-");
    if (!mark || !mark[5] || mark[5 + strspn(mark + 5, "0123456789")]) return false;
    for (size_t i = 0; i < sizeof files / sizeof *files; i++)
        if (!strncmp(name, files[i], strlen(files[i]))) return true;
    return false;
}

/* Only the owner of the lock writes here, so what is half-written is nobody's. */
static void remove_leftovers(const struct lam_folder *folder) {
    static const char *const parts[] = {".", "checkpoints", "predictions"};
    for (int i = 0; i < 3; i++) {
        char *path = lam_folder_file(folder, parts[i]);
        DIR *list = path ? opendir(path) : NULL;
        for (struct dirent *entry; list && (entry = readdir(list));)
            if (is_leftover(entry->d_name)) unlinkat(dirfd(list), entry->d_name, 0);
        if (list) closedir(list);
        free(path);
    }
}

/* ---- open and close ---- */

lam_status lam_folder_open(const char *path, bool resume, struct lam_folder *folder) {
    struct lam_folder f = {.path = strdup(path), .lock = -1};
    lam_status status = f.path ? lam_folder_check(path, resume) : lam_no_memory();
    if (status == LAM_OK) status = make_parts(&f);
    if (status == LAM_OK) status = lock(&f);
    if (status == LAM_OK) status = lam_folder_check(path, resume); /* nobody was faster */
    if (status != LAM_OK) {
        lam_folder_close(&f);
        return status;
    }
    remove_leftovers(&f);
    *folder = f;
    return LAM_OK;
}

void lam_folder_close(struct lam_folder *folder) {
    if (!folder->path) return;
    lam_lines_close(folder->metrics);
    lam_lines_close(folder->memory);
    lam_events_close(folder->events);
    if (folder->lock >= 0) close(folder->lock);
    free(folder->path);
    *folder = (struct lam_folder){.lock = -1};
}

lam_status lam_folder_open_logs(struct lam_folder *folder, uint64_t metrics_lines, uint64_t memory_lines,
                                uint64_t step) {
    char *metrics = lam_folder_file(folder, "metrics.jsonl"),
         *memory = lam_folder_file(folder, "memory.jsonl");
    lam_status status = metrics && memory ? LAM_OK : lam_no_memory();
    if (status == LAM_OK) status = lam_lines_open(metrics, metrics_lines, &folder->metrics);
    if (status == LAM_OK) status = lam_lines_open(memory, memory_lines, &folder->memory);
    if (status == LAM_OK) status = lam_events_open(folder->path, step, &folder->events);
    free(metrics);
    free(memory);
    return status;
}

lam_status lam_folder_metric(struct lam_folder *folder, const struct lam_metric *metric) {
    LAM_TRY(lam_metric_write(folder->metrics, metric));
    return lam_events_scalar(folder->events, metric->step, metric->name, metric->value);
}

char *lam_folder_file(const struct lam_folder *folder, const char *name) {
    return lam_path_join(folder->path, name);
}

lam_status lam_folder_write_text(const struct lam_folder *folder, const char *name, const char *text) {
    char *path = lam_folder_file(folder, name);
    if (!path) return lam_no_memory();
    lam_status status = lam_file_write(path, text, strlen(text));
    free(path);
    return status;
}

lam_status lam_folder_write_json(const struct lam_folder *folder, const char *name, json_t *json) {
    char *text = json ? json_dumps(json, JSON_INDENT(2) | JSON_REAL_PRECISION(14)) : NULL;
    json_decref(json);
    if (!text) return lam_no_memory();
    lam_status status = lam_folder_write_text(folder, name, text);
    free(text);
    return status;
}
