/* CIFAR-10 files. Input: flags, the number of records, bytes too many; then the file's bytes, over and over,
 * and as the file of class names too: inputs stay short although records are long. */
#include <stdlib.h>

#include "base/files.h"
#include "data/dataset.h"
#include "fuzz/fuzz.h"
#include "unit/sample_files.h"

enum { RECORD = 3073, MOST = 3, HEAD = 3 };

static char *folder, *text;

static void clean_up(void) {
    remove_folder(folder);
    free(text);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static uint8_t file[MOST * RECORD + 256];
    if (!folder) {
        folder = make_folder();
        text = lam_format("cifar10:%s", folder);
        atexit(clean_up);
    }
    if (size <= HEAD) return 0;
    size_t length = (size_t)data[1] % (MOST + 1) * RECORD + (data[0] & 2 ? data[2] : 0u);
    for (size_t i = 0; i < length; i++) file[i] = data[HEAD + i % (size - HEAD)];
    write_file(folder, "data_batch_1.bin", file, length);
    if (data[0] & 4) write_file(folder, "batches.meta.txt", data + HEAD, size - HEAD);
    struct lam_dataset_options options = {.skip_bad = data[0] & 1};
    struct lam_dataset *set = NULL;
    lam_status status = lam_dataset_open(text, LAM_SPLIT_TRAIN, &options, &set);
    if (data[0] & 4) write_file(folder, "batches.meta.txt", "0\n1\n2\n3\n4\n5\n6\n7\n8\n9\n", 20);
    if (status != LAM_OK) return 0;
    struct lam_sample sample = {0};
    for (int64_t i = 0; i < set->count; i++) {
        FUZZ_CHECK(lam_dataset_read(set, i, &sample) == LAM_OK);
        FUZZ_CHECK(sample.label >= 0 && sample.label < 10);
    }
    lam_sample_free(&sample);
    int64_t bad = 0;
    FUZZ_CHECK(lam_dataset_check(set, NULL, NULL, &bad) == LAM_OK);
    FUZZ_CHECK(bad + set->count == (int64_t)(length / RECORD));
    lam_dataset_close(set);
    return 0;
}
