/* COCO files of annotations. Input: the JSON; there are images a.jpg and b.jpg. */
#include <stdlib.h>

#include "base/files.h"
#include "fuzz/boxes.h"
#include "unit/sample_files.h"
#include "unit/tiny_jpeg.h"

static char *folder, *text;

static void clean_up(void) {
    remove_folder(folder);
    free(text);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    if (!folder) {
        folder = make_folder();
        text = lam_format("coco:%s", folder);
        atexit(clean_up);
        write_file(folder, "images/a.jpg", jpeg_quadrants, sizeof jpeg_quadrants);
        write_file(folder, "images/b.jpg", jpeg_quadrants, sizeof jpeg_quadrants);
    }
    write_file(folder, "annotations/instances_train.json", data, size);
    fuzz_boxes(text);
    return 0;
}
