#include "base/files.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

lam_status lam_file_read(const char *path, uint8_t **data, size_t *size) {
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return lam_fail(errno == ENOENT || errno == ENOTDIR ? LAM_ERR_NOT_FOUND : LAM_ERR_IO,
                        "%s: cannot be opened: %s", path, strerror(errno));
    struct stat info;
    if (fstat(fd, &info) != 0 || !S_ISREG(info.st_mode)) {
        close(fd);
        return lam_fail(LAM_ERR_INVALID, "%s: is not a regular file", path);
    }
    size_t capacity = (size_t)info.st_size;
    uint8_t *bytes = malloc(capacity + 1);
    if (!bytes) {
        close(fd);
        return lam_no_memory();
    }
    size_t used = 0;
    while (used < capacity) {
        ssize_t got = read(fd, bytes + used, capacity - used);
        if (got < 0 && errno == EINTR) continue;
        if (got < 0) {
            lam_status status =
                lam_fail(LAM_ERR_IO, "%s: read failed at byte %zu: %s", path, used, strerror(errno));
            free(bytes);
            close(fd);
            return status;
        }
        if (got == 0) break;
        used += (size_t)got;
    }
    close(fd);
    bytes[used] = 0;
    *data = bytes;
    *size = used;
    return LAM_OK;
}

/* A rename is safe on disk only when the folder that holds the name is synced too. */
static void sync_folder_of(const char *path) {
    char *folder = strdup(path);
    if (!folder) return;
    char *slash = strrchr(folder, '/');
    if (slash) *(slash == folder ? slash + 1 : slash) = 0;
    int fd = open(slash ? folder : ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    free(folder);
    if (fd < 0) return;
    fsync(fd);
    close(fd);
}

lam_status lam_atomic_open(struct lam_atomic_file *file, const char *path) {
    struct lam_atomic_file f = {.path = strdup(path),
                                .temporary = lam_format("%s.tmp-%d", path, (int)getpid())};
    if (!f.path || !f.temporary) {
        free(f.path);
        free(f.temporary);
        return lam_no_memory();
    }
    f.stream = fopen(f.temporary, "wbe");
    if (!f.stream) {
        lam_status status = lam_fail(LAM_ERR_IO, "%s: cannot be written: %s", path, strerror(errno));
        free(f.path);
        free(f.temporary);
        return status;
    }
    *file = f;
    return LAM_OK;
}

static void release(struct lam_atomic_file *file) {
    free(file->path);
    free(file->temporary);
    *file = (struct lam_atomic_file){0};
}

lam_status lam_atomic_commit(struct lam_atomic_file *file) {
    bool bad = fflush(file->stream) != 0 || ferror(file->stream) || fsync(fileno(file->stream)) != 0;
    int reason = errno;
    if (fclose(file->stream) != 0 && !bad) {
        bad = true;
        reason = errno;
    }
    if (!bad && rename(file->temporary, file->path) != 0) {
        bad = true;
        reason = errno;
    }
    lam_status status = LAM_OK;
    if (bad) {
        unlink(file->temporary);
        status = lam_fail(LAM_ERR_IO, "%s: cannot be written: %s; what was there before is kept", file->path,
                          strerror(reason ? reason : EIO));
    } else {
        sync_folder_of(file->path);
    }
    release(file);
    return status;
}

void lam_atomic_abandon(struct lam_atomic_file *file) {
    if (!file->stream) return;
    fclose(file->stream);
    unlink(file->temporary);
    release(file);
}

lam_status lam_file_write(const char *path, const void *data, size_t size) {
    struct lam_atomic_file file;
    LAM_TRY(lam_atomic_open(&file, path));
    if (size) fwrite(data, 1, size, file.stream);
    return lam_atomic_commit(&file);
}

void lam_put_csv(const char *text, FILE *to) {
    fputc('"', to);
    for (; *text; text++) {
        if (*text == '"') fputc('"', to);
        fputc(*text, to);
    }
    fputc('"', to);
}

bool lam_path_exists(const char *path) {
    struct stat info;
    return stat(path, &info) == 0;
}

bool lam_path_is_folder(const char *path) {
    struct stat info;
    return stat(path, &info) == 0 && S_ISDIR(info.st_mode);
}

static lam_status folder_failed(const char *path, int reason) {
    if ((reason == EEXIST || reason == ENOTDIR) && lam_path_exists(path))
        return lam_fail(LAM_ERR_INVALID, "%s: is a file, not a folder; name another one", path);
    return lam_fail(LAM_ERR_IO, "%s: the folder cannot be made: %s", path, strerror(reason));
}

lam_status lam_make_folders(const char *path) {
    char *part = strdup(path);
    if (!part) return lam_no_memory();
    for (char *p = part + 1; *part; p++) {
        if (*p != '/' && *p != 0) continue;
        bool last = *p == 0;
        *p = 0;
        if (mkdir(part, 0777) != 0 && !(errno == EEXIST && lam_path_is_folder(part))) {
            lam_status status = folder_failed(part, errno);
            free(part);
            return status;
        }
        if (last) break;
        *p = '/';
    }
    free(part);
    return LAM_OK;
}

/* Cuts `path` to the folder that it is in: "." for a name alone. */
static void cut_to_parent(char *path) {
    char *slash = strrchr(path, '/');
    if (!slash)
        strcpy(path, ".");
    else
        *(slash == path ? slash + 1 : slash) = 0;
}

/* Whether entries can be made in an existing folder. */
static lam_status check_writable(const char *folder, const char *path) {
    if (!lam_path_is_folder(folder))
        return lam_fail(LAM_ERR_INVALID, "%s: cannot be written: %s is a file, not a folder", path, folder);
    if (access(folder, W_OK | X_OK) != 0)
        return lam_fail(LAM_ERR_INVALID, "%s: cannot be written: %s: %s", path, folder, strerror(errno));
    return LAM_OK;
}

lam_status lam_check_output_file(const char *path) {
    if (lam_path_is_folder(path)) return lam_fail(LAM_ERR_INVALID, "%s: is a folder, not a file", path);
    char *folder = lam_format("%s%s", path, *path ? "" : ".");
    if (!folder) return lam_no_memory();
    cut_to_parent(folder);
    lam_status status =
        lam_path_exists(folder)
            ? check_writable(folder, path)
            : lam_fail(LAM_ERR_INVALID, "%s: cannot be written: there is no folder %s", path, folder);
    free(folder);
    return status;
}

lam_status lam_check_output_folder(const char *path) {
    char *folder = lam_format("%s%s", path, *path ? "" : ".");
    if (!folder) return lam_no_memory();
    while (!lam_path_exists(folder) && strcmp(folder, ".") != 0) cut_to_parent(folder);
    bool there = !strcmp(folder, path) && !lam_path_is_folder(folder);
    lam_status status = there ? folder_failed(folder, EEXIST) : check_writable(folder, path);
    free(folder);
    return status;
}

char *lam_path_absolute(const char *path) {
    if (*path == '/') return strdup(path);
    while (path[0] == '.' && path[1] == '/') path += 2 + strspn(path + 2, "/");
    char *here = getcwd(NULL, 0);
    if (!here) return NULL;
    char *whole = strcmp(path, ".") != 0 ? lam_path_join(here, path) : strdup(here);
    free(here);
    return whole;
}

char *lam_path_join(const char *folder, const char *name) {
    size_t length = strlen(folder);
    return lam_format("%s%s%s", folder, length == 0 || folder[length - 1] == '/' ? "" : "/", name);
}

char *lam_format(const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    va_list again;
    va_copy(again, arguments);
    int length = vsnprintf(NULL, 0, format, arguments);
    char *text = length < 0 ? NULL : malloc((size_t)length + 1);
    if (text) vsnprintf(text, (size_t)length + 1, format, again);
    va_end(again);
    va_end(arguments);
    return text;
}

enum { LONGEST_WORD = 63 };

static int edit_distance(const char *a, const char *b) {
    int row[LONGEST_WORD + 1];
    int n = (int)strlen(b);
    for (int j = 0; j <= n; j++) row[j] = j;
    for (int i = 1; a[i - 1]; i++) {
        int diagonal = row[0];
        row[0] = i;
        for (int j = 1; j <= n; j++) {
            int replace = diagonal + (a[i - 1] != b[j - 1]);
            diagonal = row[j];
            int best = row[j] < row[j - 1] ? row[j] + 1 : row[j - 1] + 1;
            row[j] = replace < best ? replace : best;
        }
    }
    return row[n];
}

const char *lam_nearest(const char *word, const char *const *names, int count) {
    const char *nearest = NULL;
    size_t length = strlen(word);
    if (length > LONGEST_WORD) return NULL;
    int limit = length < 4 ? 1 : (int)length / 3 + 1; /* further than that it is another word */
    for (int i = 0; i < count; i++) {
        if (strlen(names[i]) > LONGEST_WORD) continue;
        int distance = edit_distance(word, names[i]);
        if (distance <= limit) {
            nearest = names[i];
            limit = distance - 1;
        }
    }
    return nearest;
}

static const char *const units[] = {"B", "KiB", "MiB", "GiB", "TiB"};

const char *lam_bytes_text(uint64_t bytes, char *text, size_t size) {
    double value = (double)bytes;
    int unit = 0;
    while (value >= 1024 && unit < 4) {
        value /= 1024;
        unit++;
    }
    snprintf(text, size, unit == 0 || value >= 100 ? "%.0f %s" : "%.1f %s", value, units[unit]);
    return text;
}

lam_status lam_bytes_parse(const char *text, uint64_t *bytes) {
    char *end;
    errno = 0;
    double value = strtod(text, &end);
    while (*end == ' ') end++;
    double factor = 1;
    const char *letters = "BKMGT";
    const char *found =
        *end ? strchr(letters, *end >= 'a' && *end <= 'z' ? *end - 'a' + 'A' : *end) : letters;
    bool good = end != text && found && value >= 0;
    if (good && *end) {
        for (const char *p = letters; p < found; p++) factor *= 1024;
        good = !strcmp(end + 1, "") || !strcmp(end + 1, "B") || !strcmp(end + 1, "iB");
    }
    if (!good || value * factor >= 0x1p63)
        return lam_fail(LAM_ERR_INVALID, "'%s' is not a size in bytes; write 1500000, 512M or 1.5GiB", text);
    *bytes = (uint64_t)(value * factor);
    return LAM_OK;
}

double lam_seconds(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}
