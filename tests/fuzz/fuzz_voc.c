/* VOC annotations. Input: a byte whose lowest bit says whether there is a list of classes; an annotation. */
#include <stdlib.h>

#include "base/files.h"
#include "fuzz/boxes.h"
#include "unit/sample_files.h"
#include "unit/tiny_jpeg.h"

static char *folder, *text, *classes;

static void clean_up(void) {
    remove_folder(folder);
    free(text);
    free(classes);
}

static void make_set(void) {
    static const char good[] =
        "<annotation><object><name>cat</name><bndbox><xmin>1</xmin><ymin>1</ymin><xmax>9</xmax>"
        "<ymax>9</ymax></bndbox></object></annotation>";
    folder = make_folder();
    text = lam_format("voc:%s", folder);
    classes = lam_path_join(folder, "classes.txt");
    atexit(clean_up);
    write_file(folder, "ImageSets/Main/train.txt", "a\nb\n", 4);
    write_file(folder, "JPEGImages/a.jpg", jpeg_quadrants, sizeof jpeg_quadrants);
    write_file(folder, "JPEGImages/b.jpg", jpeg_quadrants, sizeof jpeg_quadrants);
    write_file(folder, "Annotations/b.xml", good, sizeof good - 1);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    if (!folder) make_set();
    if (size < 1) return 0;
    if (data[0] & 1)
        write_file(folder, "classes.txt", "cat\ndog\n", 8);
    else
        remove(classes);
    write_file(folder, "Annotations/a.xml", data + 1, size - 1);
    fuzz_boxes(text);
    return 0;
}
