/* Runs a fuzz target over every file of the folders given, without a fuzzer. Also over all beginnings of
 * each, which is what truncation looks like. */
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/files.h"
#include "fuzz/fuzz.h"

static void run_file(const char *path) {
    uint8_t *data;
    size_t size;
    if (lam_file_read(path, &data, &size) != LAM_OK) {
        fprintf(stderr, "replay: %s\n", lam_error_text());
        exit(2);
    }
    size_t step = size / 64 + 1;
    for (size_t length = 0; length < size; length += step) {
        uint8_t *part = malloc(length + 1);
        if (!part) exit(2);
        memcpy(part, data, length);
        LLVMFuzzerTestOneInput(part, length);
        free(part);
    }
    LLVMFuzzerTestOneInput(data, size);
    free(data);
}

int main(int argc, char **argv) {
    int files = 0;
    for (int i = 1; i < argc; i++) {
        struct dirent **list;
        int count = scandir(argv[i], &list, NULL, alphasort);
        for (int k = 0; k < count; k++) {
            char *path = lam_path_join(argv[i], list[k]->d_name);
            if (path && !lam_path_is_folder(path)) {
                run_file(path);
                files++;
            }
            free(path);
            free(list[k]);
        }
        if (count >= 0) free(list);
    }
    printf("%d inputs replayed\n", files);
    return files > 0 ? 0 : 2; /* a corpus that is not there must not pass */
}
