/* Folders of images. Input: lines that name files to make (a line that ends with / is a folder); a file's
 * content is the line itself, or a real image if the line says so. Then the folder is opened and read. */
#include <stdlib.h>
#include <string.h>

#include "base/files.h"
#include "data/dataset.h"
#include "fuzz/fuzz.h"
#include "unit/sample_files.h"
#include "unit/tiny_jpeg.h"

enum { MOST_LINES = 12, LONGEST = 60 };

/* A name that stays inside the folder and has no file where a folder is needed. */
static int is_safe(const char *folder, const char *name) {
    if (!*name || strlen(name) > LONGEST || name[0] == '/' || strstr(name, "..")) return 0;
    if (strstr(name, "./") || name[strlen(name) - 1] == '.') return 0;
    char *path = lam_path_join(folder, name);
    int safe = !lam_path_exists(path);
    for (char *slash = strchr(path + strlen(folder) + 1, '/'); safe && slash;
         slash = strchr(slash + 1, '/')) {
        *slash = 0;
        safe = !lam_path_exists(path) || lam_path_is_folder(path);
        *slash = '/';
    }
    free(path);
    return safe;
}

static void make_files(const char *folder, char *script) {
    char *rest = NULL;
    int lines = 0;
    for (char *line = strtok_r(script, "\n", &rest); line && lines < MOST_LINES;
         line = strtok_r(NULL, "\n", &rest)) {
        if (!is_safe(folder, line)) continue;
        lines++;
        size_t length = strlen(line);
        if (line[length - 1] == '/') {
            char *path = lam_path_join(folder, line);
            (void)!lam_make_folders(path);
            free(path);
        } else if (strstr(line, "jp")) {
            write_file(folder, line, jpeg_quadrants, sizeof jpeg_quadrants);
        } else {
            write_file(folder, line, line, length);
        }
    }
}

static void read_all(const char *text, enum lam_split split, int skip_bad) {
    struct lam_dataset_options options = {.skip_bad = skip_bad};
    struct lam_dataset *set = NULL;
    if (lam_dataset_open(text, split, &options, &set) != LAM_OK) return;
    struct lam_sample sample = {0};
    int64_t failed = 0, bad = 0;
    for (int64_t i = 0; i < set->count; i++) {
        if (lam_dataset_read(set, i, &sample) != LAM_OK)
            failed++;
        else
            FUZZ_CHECK(sample.label >= 0 && sample.label < set->classes);
    }
    lam_sample_free(&sample);
    FUZZ_CHECK(lam_dataset_check(set, NULL, NULL, &bad) == LAM_OK);
    FUZZ_CHECK(skip_bad ? failed == 0 : bad == failed);
    lam_dataset_close(set);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    char *folder = make_folder(), *text = lam_format("folder:%s", folder);
    char *script = strndup((const char *)data, size);
    make_files(folder, script);
    for (int k = 0; k < 4; k++) read_all(text, k & 1 ? LAM_SPLIT_VAL : LAM_SPLIT_TRAIN, k >> 1);
    free(script);
    free(text);
    remove_folder(folder);
    return 0;
}
