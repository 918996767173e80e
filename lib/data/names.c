/* Class names and the folders that archives unpack into: small things that all formats need. */
#include <stdlib.h>
#include <string.h>

#include "base/files.h"
#include "data/formats.h"

void lam_class_names_free(struct lam_dataset *dataset) {
    for (int i = 0; dataset->class_names && i < dataset->classes; i++) free(dataset->class_names[i]);
    free(dataset->class_names);
    dataset->class_names = NULL;
}

lam_status lam_class_names_copy(struct lam_dataset *dataset, const char *const *names) {
    dataset->class_names = calloc((size_t)dataset->classes, sizeof *dataset->class_names);
    if (!dataset->class_names) return lam_no_memory();
    for (int i = 0; i < dataset->classes; i++) {
        dataset->class_names[i] = strdup(names[i]);
        if (!dataset->class_names[i]) {
            lam_class_names_free(dataset);
            return lam_no_memory();
        }
    }
    return LAM_OK;
}

static void trim_end(char *line) {
    size_t length = strlen(line);
    while (length && (line[length - 1] == ' ' || line[length - 1] == '\t')) line[--length] = 0;
}

/* Cuts `text` into lines without the blank ones, and these without blanks at their ends; at most `limit` of them are kept, all are counted. */
static int split_lines(char *text, const char **lines, int limit) {
    int count = 0;
    char *rest = NULL;
    for (char *line = strtok_r(text, "\r\n", &rest); line; line = strtok_r(NULL, "\r\n", &rest)) {
        trim_end(line);
        if (!*line) continue;
        if (count < limit) lines[count] = line;
        count++;
    }
    return count;
}

static lam_status read_names(struct lam_dataset *dataset, const char *path) {
    uint8_t *text;
    size_t size;
    LAM_TRY(lam_file_read(path, &text, &size));
    bool any_number = dataset->classes == 0;
    size_t limit = any_number ? size / 2 + 1 : (size_t)dataset->classes; /* a name and an end of line */
    if (limit > LAM_MAX_CLASSES) limit = LAM_MAX_CLASSES;
    const char **lines = calloc(limit, sizeof *lines);
    if (!lines) {
        free(text);
        return lam_no_memory();
    }
    int count = split_lines((char *)text, lines, (int)limit);
    if (any_number && count > 0 && (size_t)count <= limit) dataset->classes = count;
    lam_status status = LAM_OK;
    if (count > 0 && count == dataset->classes)
        status = lam_class_names_copy(dataset, lines);
    else if (any_number)
        status = lam_fail(LAM_ERR_FORMAT, "%s: has %d class names, 1 to %d are expected", path, count,
                          LAM_MAX_CLASSES);
    else
        status = lam_fail(LAM_ERR_FORMAT, "%s: has %d class names, %d are expected", path, count,
                          dataset->classes);
    free(lines);
    free(text);
    return status;
}

lam_status lam_class_names_read(struct lam_dataset *dataset, const char *folder, const char *file,
                                const char *const *standard) {
    if (!lam_folder_has(folder, file)) return standard ? lam_class_names_copy(dataset, standard) : LAM_OK;
    char *path = lam_path_join(folder, file);
    if (!path) return lam_no_memory();
    lam_status status = read_names(dataset, path);
    free(path);
    return status;
}

int lam_class_find(const struct lam_dataset *dataset, const char *name) {
    for (int i = 0; i < dataset->classes; i++)
        if (!strcmp(name, dataset->class_names[i])) return i;
    return -1;
}

bool lam_folder_has(const char *folder, const char *file) {
    char *path = lam_path_join(folder, file);
    bool found = path && lam_path_exists(path);
    free(path);
    return found;
}

char *lam_inner_folder(const char *path, const char *inner) {
    char *folder = lam_path_join(path, inner);
    if (folder && lam_path_is_folder(folder)) return folder;
    free(folder);
    return strdup(path);
}
