/* STL-10, binary version (Coates, Lee and Ng 2011): train_X.bin and test_X.bin hold 96 x 96 images, a plane
 * of red, one of green, one of blue, each column by column; train_y.bin and test_y.bin a byte a label, 1
 * to 10. */
#include <stdlib.h>
#include <string.h>

#include "base/files.h"
#include "data/packed.h"

enum { SIDE = 96, PLANE = SIDE * SIDE, RECORD = 3 * PLANE, CLASSES = 10 };

static const char *const standard_names[CLASSES] = {"airplane", "bird",  "car",    "cat",  "deer",
                                                    "dog",      "horse", "monkey", "ship", "truck"};

static lam_status check_sizes(const struct lam_packed_part *part, size_t size, size_t label_size) {
    if (size == 0) return lam_fail(LAM_ERR_FORMAT, "%s: is empty", part->path);
    if (size % RECORD != 0)
        return lam_fail(LAM_ERR_FORMAT,
                        "%s: %zu bytes is not a multiple of %d: image %zu, at byte %zu, is cut short",
                        part->path, size, RECORD, size / RECORD, size / RECORD * RECORD);
    if (label_size != size / RECORD)
        return lam_fail(LAM_ERR_FORMAT, "%s: has %zu labels for the %zu images of %s", part->label_path,
                        label_size, size / RECORD, part->path);
    return LAM_OK;
}

static lam_status add_pair(const char *folder, const char *images, const char *labels,
                           struct lam_packed *packed) {
    struct lam_packed_part part = {.path = lam_path_join(folder, images),
                                   .label_path = lam_path_join(folder, labels),
                                   .record = RECORD,
                                   .step = 1};
    size_t size = 0, label_size = 0;
    lam_status status = part.path && part.label_path ? LAM_OK : lam_no_memory();
    if (status == LAM_OK && !lam_path_exists(part.path))
        status = lam_fail(LAM_ERR_NOT_FOUND, "%s: has no %s; is this the binary version of STL-10?", folder,
                          images);
    if (status == LAM_OK) status = lam_file_read(part.path, &part.data, &size);
    if (status == LAM_OK) status = lam_file_read(part.label_path, &part.label_data, &label_size);
    if (status == LAM_OK) status = check_sizes(&part, size, label_size);
    part.count = (int64_t)(size / RECORD);
    if (status == LAM_OK) return lam_packed_add(packed, &part);
    lam_packed_part_free(&part);
    return status;
}

static lam_status fill_in(const char *folder, enum lam_split split, const struct lam_dataset_options *options,
                          struct lam_dataset *dataset) {
    static const float mean[3] = {.44671f, .43981f, .40665f}, deviation[3] = {.26034f, .25658f, .27127f};
    memcpy(dataset->mean, mean, sizeof mean);
    memcpy(dataset->deviation, deviation, sizeof deviation);
    dataset->classes = CLASSES;
    dataset->has_own_val = lam_folder_has(folder, "test_X.bin");
    LAM_TRY(lam_class_names_read(dataset, folder, "class_names.txt", standard_names));
    struct lam_packed *packed = lam_packed_new();
    if (!packed) return LAM_ERR_NO_MEMORY;
    packed->width = packed->height = SIDE;
    packed->channels = 3;
    packed->step_x = SIDE;
    packed->step_y = 1;
    packed->step_channel = PLANE;
    packed->first_label = 1;
    lam_status status = split == LAM_SPLIT_TRAIN ? add_pair(folder, "train_X.bin", "train_y.bin", packed)
                                                 : add_pair(folder, "test_X.bin", "test_y.bin", packed);
    if (status == LAM_OK) return lam_packed_finish(packed, options, dataset);
    lam_packed_free(packed);
    return status;
}

static lam_status open_stl10(const char *path, enum lam_split split,
                             const struct lam_dataset_options *options, struct lam_dataset *dataset) {
    char *folder = lam_inner_folder(path, "stl10_binary");
    if (!folder) return lam_no_memory();
    lam_status status = fill_in(folder, split, options, dataset);
    free(folder);
    return status;
}

const struct lam_dataset_format lam_format_stl10 = {
    .name = "stl10",
    .help = "a folder with train_X.bin, train_y.bin, test_X.bin and test_y.bin (binary version)",
    .needs_path = true,
    .open = open_stl10,
    .close = lam_packed_close,
    .read = lam_packed_read,
    .describe = lam_packed_describe,
    .hash = lam_packed_hash,
};
