/* idx files. Input: one byte, how long the label file is; the label file; the image file. */
#include <stdlib.h>

#include "base/files.h"
#include "data/dataset.h"
#include "fuzz/fuzz.h"
#include "unit/sample_files.h"

static char *folder, *text;

static void clean_up(void) {
    remove_folder(folder);
    free(text);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    if (!folder) {
        folder = make_folder();
        text = lam_format("idx:%s", folder);
        atexit(clean_up);
    }
    if (size < 1) return 0;
    size_t labels = data[0] < size - 1 ? data[0] : size - 1;
    write_file(folder, "train-labels-idx1-ubyte", data + 1, labels);
    write_file(folder, "train-images-idx3-ubyte", data + 1 + labels, size - 1 - labels);
    struct lam_dataset *set = NULL;
    if (lam_dataset_open(text, LAM_SPLIT_TRAIN, NULL, &set) != LAM_OK) return 0;
    struct lam_sample sample = {0};
    for (int64_t i = 0; i < set->count; i++) {
        FUZZ_CHECK(lam_dataset_read(set, i, &sample) == LAM_OK);
        FUZZ_CHECK(sample.label >= 0 && sample.label < set->classes);
        FUZZ_CHECK(sample.image.width == set->width && sample.image.height == set->height);
    }
    FUZZ_CHECK(set->deviation[0] > 0);
    lam_sample_free(&sample);
    lam_dataset_close(set);
    return 0;
}
