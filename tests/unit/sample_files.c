/* Files for tests. Anything that goes wrong here ends the test program: there is nothing to test then. */
#include "unit/sample_files.h"

#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/files.h"

static char path[4096];

static void give_up(const char *what) {
    fprintf(stderr, "test files: %s\n", what);
    abort();
}

const char *sample_data(const char *name) {
    const char *root = getenv("LAMINA_DATA");
    snprintf(path, sizeof path, "%s/%s", root && *root ? root : "../shared/data", name);
    if (lam_path_exists(path)) return path;
    printf("notice: no sample data at %s (set LAMINA_DATA); this check is left out\n", path);
    return NULL;
}

char *make_folder(void) {
    const char *root = getenv("TMPDIR");
    char *folder = lam_format("%s/lamina-test-XXXXXX", root && *root ? root : "/tmp");
    if (!folder || !mkdtemp(folder)) give_up("no temporary folder");
    return folder;
}

static int remove_one(const char *name, const struct stat *info, int kind, struct FTW *at) {
    (void)info, (void)kind, (void)at;
    return remove(name);
}

void remove_folder(char *folder) {
    nftw(folder, remove_one, 16, FTW_DEPTH | FTW_PHYS);
    free(folder);
}

const char *write_file(const char *folder, const char *name, const void *data, size_t size) {
    snprintf(path, sizeof path, "%s/%s", folder, name);
    char *slash = strrchr(path, '/');
    *slash = 0;
    if (lam_make_folders(path) != LAM_OK) give_up(lam_error_text());
    *slash = '/';
    FILE *file = fopen(path, "wb");
    if (!file || fwrite(data, 1, size, file) != size || fclose(file) != 0) give_up(path);
    return path;
}
