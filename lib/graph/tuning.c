/* The tuning record: a sorted list of "key = choice". */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/files.h"
#include "graph/program.h"

struct entry {
    char *key, *choice;
};

struct lam_tuning {
    enum lam_tuning_mode mode;
    struct entry *entries;
    int count, capacity;
    bool (*stop)(void);
};

lam_status lam_tuning_create(enum lam_tuning_mode mode, struct lam_tuning **tuning) {
    *tuning = calloc(1, sizeof **tuning);
    if (!*tuning) return lam_no_memory();
    (*tuning)->mode = mode;
    return LAM_OK;
}

void lam_tuning_destroy(struct lam_tuning *t) {
    if (!t) return;
    for (int i = 0; i < t->count; i++) {
        free(t->entries[i].key);
        free(t->entries[i].choice);
    }
    free(t->entries);
    free(t);
}

enum lam_tuning_mode lam_tuning_mode(const struct lam_tuning *t) {
    return t ? t->mode : LAM_TUNING_FIXED;
}

void lam_tuning_set_stop(struct lam_tuning *t, bool (*stop)(void)) {
    t->stop = stop;
}

bool lam_tuning_stopped(const struct lam_tuning *t) {
    return t && t->stop && t->stop();
}

/* Index of the key, or of the place where it belongs. */
static int find(const struct lam_tuning *t, const char *key, bool *found) {
    int low = 0, high = t->count;
    while (low < high) {
        int middle = (low + high) / 2;
        int order = strcmp(t->entries[middle].key, key);
        if (order == 0) {
            *found = true;
            return middle;
        }
        if (order < 0)
            low = middle + 1;
        else
            high = middle;
    }
    *found = false;
    return low;
}

const char *lam_tuning_get(const struct lam_tuning *t, const char *key) {
    if (!t || t->mode == LAM_TUNING_FIXED) return NULL;
    bool found;
    int at = find(t, key, &found);
    return found ? t->entries[at].choice : NULL;
}

int lam_tuning_size(const struct lam_tuning *t) {
    return t ? t->count : 0;
}

const char *lam_tuning_key(const struct lam_tuning *t, int index) {
    return t->entries[index].key;
}

lam_status lam_tuning_set(struct lam_tuning *t, const char *key, const char *choice) {
    bool found;
    int at = find(t, key, &found);
    char *copy = strdup(choice), *name = found ? NULL : strdup(key);
    if (!copy || (!found && !name)) goto no_memory;
    if (found) {
        free(t->entries[at].choice);
        t->entries[at].choice = copy;
        return LAM_OK;
    }
    if (t->count == t->capacity) {
        int larger = t->capacity ? 2 * t->capacity : 64;
        struct entry *grown = realloc(t->entries, (size_t)larger * sizeof *grown);
        if (!grown) goto no_memory;
        t->entries = grown;
        t->capacity = larger;
    }
    memmove(t->entries + at + 1, t->entries + at, (size_t)(t->count - at) * sizeof *t->entries);
    t->entries[at] = (struct entry){name, copy};
    t->count++;
    return LAM_OK;
no_memory:
    free(copy);
    free(name);
    return lam_no_memory();
}

static char *trim(char *text) {
    while (*text == ' ' || *text == '\t') text++;
    size_t length = strlen(text);
    while (length && strchr(" \t\r\n", text[length - 1])) text[--length] = 0;
    return text;
}

lam_status lam_tuning_load(struct lam_tuning *t, const char *path) {
    if (!lam_path_exists(path)) return LAM_OK;
    uint8_t *data;
    size_t size;
    LAM_TRY(lam_file_read(path, &data, &size));
    lam_status status = LAM_OK;
    int number = 0;
    char *rest = (char *)data, *line;
    while (status == LAM_OK && (line = strsep(&rest, "\n"))) {
        number++;
        line = trim(line);
        if (!*line || *line == '#') continue;
        char *equals = strstr(line, " = ");
        if (!equals) {
            status = lam_fail(LAM_ERR_FORMAT,
                              "%s:%d: is not 'key = choice'; remove the file to measure again", path, number);
            break;
        }
        *equals = 0;
        status = lam_tuning_set(t, trim(line), trim(equals + 3));
    }
    free(data);
    return status;
}

lam_status lam_tuning_save(const struct lam_tuning *t, const char *path) {
    struct lam_atomic_file file;
    LAM_TRY(lam_atomic_open(&file, path));
    fprintf(file.stream, "# choices made by measurement on this machine; remove the file to measure again\n");
    for (int i = 0; i < t->count; i++)
        fprintf(file.stream, "%s = %s\n", t->entries[i].key, t->entries[i].choice);
    return lam_atomic_commit(&file);
}
