/* Files: whole reads, atomic writes, appended lines. All errors name the path and errno's reason. */
#ifndef LAM_BASE_FILES_H
#define LAM_BASE_FILES_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include "base/status.h"

/* Whole file into memory with a 0 byte behind it; free() it. LAM_ERR_NOT_FOUND, LAM_ERR_IO. */
lam_status lam_file_read(const char *path, uint8_t **data, size_t *size);

/* Writes beside ("path.tmp-PID"), syncs, renames over `path`, syncs the folder. On failure `path` is as it
 * was. */
lam_status lam_file_write(const char *path, const void *data, size_t size);

/* The same in pieces: write to file->stream, then commit or abandon. Write errors are found at commit. */
struct lam_atomic_file {
    FILE *stream;
    char *path, *temporary;
};
lam_status lam_atomic_open(struct lam_atomic_file *file, const char *path);
lam_status lam_atomic_commit(struct lam_atomic_file *file);
void lam_atomic_abandon(struct lam_atomic_file *file);

/* A field of a CSV file: in quotes, a quote in it doubled. */
void lam_put_csv(const char *text, FILE *to);

bool lam_path_exists(const char *path);
bool lam_path_is_folder(const char *path);
lam_status lam_make_folders(const char *path); /* like mkdir -p */
/* Whether a file can be written to `path`, or a folder made there and written to: asked before long work
 * whose result goes there. LAM_ERR_INVALID with the reason. */
lam_status lam_check_output_file(const char *path);
lam_status lam_check_output_folder(const char *path);
/* `path`, seen from the root; malloc'd, NULL when out of memory or the current folder is gone. */
char *lam_path_absolute(const char *path);
/* "folder/name"; malloc'd, NULL when out of memory. */
char *lam_path_join(const char *folder, const char *name);

/* printf into a malloc'd string; NULL when out of memory. */
char *lam_format(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* Nearest of `names` to `word` by edit distance, NULL if none is near: for "did you mean". */
const char *lam_nearest(const char *word, const char *const *names, int count);

/* "1.5 GiB"; returns text. Parse: "512M", "1.5GiB", "1000000". */
const char *lam_bytes_text(uint64_t bytes, char *text, size_t size);
lam_status lam_bytes_parse(const char *text, uint64_t *bytes);

double lam_seconds(void); /* monotonic clock */

#endif
