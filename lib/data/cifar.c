/* CIFAR-10 and CIFAR-100, binary version (Krizhevsky 2009): records of one label byte (CIFAR-100: two, the
 * coarse label first and the fine one that is used second) and 3072 bytes of pixels: 32 x 32, a plane of red,
 * one of green, one of blue, row by row. */
#include <dirent.h>
#include <errno.h>
#include <fnmatch.h>
#include <stdlib.h>
#include <string.h>

#include "base/files.h"
#include "data/packed.h"

enum { SIDE = 32, PLANE = SIDE * SIDE, PIXELS = 3 * PLANE };

struct variant {
    const char *name, *folder; /* folder: where the archive unpacks to */
    const char *train, *test, *names_file;
    int classes, label_bytes;
    const char *const *names;
    float mean[3], deviation[3];
};

static const char *const cifar10_names[] = {"airplane", "automobile", "bird",  "cat",  "deer",
                                            "dog",      "frog",       "horse", "ship", "truck"};

static const struct variant cifar10 = {
    .name = "CIFAR-10",
    .folder = "cifar-10-batches-bin",
    .train = "data_batch_*.bin",
    .test = "test_batch.bin",
    .names_file = "batches.meta.txt",
    .classes = 10,
    .label_bytes = 1,
    .names = cifar10_names,
    .mean = {.49140f, .48216f, .44653f},
    .deviation = {.24703f, .24349f, .26159f},
};

static const struct variant cifar100 = {
    .name = "CIFAR-100",
    .folder = "cifar-100-binary",
    .train = "train.bin",
    .test = "test.bin",
    .names_file = "fine_label_names.txt",
    .classes = 100,
    .label_bytes = 2,
    .mean = {.50707f, .48655f, .44092f},
    .deviation = {.26733f, .25644f, .27615f},
};

static lam_status add_file(const struct variant *variant, const char *folder, const char *file,
                           struct lam_packed *packed) {
    struct lam_packed_part part = {.path = lam_path_join(folder, file)};
    if (!part.path) return lam_no_memory();
    size_t size, record = (size_t)variant->label_bytes + PIXELS;
    lam_status status = lam_file_read(part.path, &part.data, &size);
    if (status == LAM_OK && size == 0) status = lam_fail(LAM_ERR_FORMAT, "%s: is empty", part.path);
    if (status == LAM_OK && size % record != 0)
        status =
            lam_fail(LAM_ERR_FORMAT,
                     "%s: %zu bytes is not a multiple of %zu: record %zu, at byte %zu, is cut short; is this "
                     "a file of the binary version of %s?",
                     part.path, size, record, size / record, size / record * record, variant->name);
    if (status != LAM_OK) {
        lam_packed_part_free(&part);
        return status;
    }
    part.count = (int64_t)(size / record);
    part.pixels = (size_t)variant->label_bytes;
    part.labels = (size_t)variant->label_bytes - 1;
    part.record = part.step = record;
    return lam_packed_add(packed, &part);
}

static int is_batch(const struct dirent *entry) {
    return fnmatch(cifar10.train, entry->d_name, 0) == 0;
}

/* All batches that there are, in the order of their numbers: a part of the data set is a data set too. */
static lam_status add_batches(const struct variant *variant, const char *folder, struct lam_packed *packed) {
    struct dirent **entries;
    int count = scandir(folder, &entries, is_batch, versionsort);
    if (count < 0) return lam_fail(LAM_ERR_IO, "%s: cannot be listed: %s", folder, strerror(errno));
    lam_status status = LAM_OK;
    for (int i = 0; i < count; i++) {
        if (status == LAM_OK) status = add_file(variant, folder, entries[i]->d_name, packed);
        free(entries[i]);
    }
    free(entries);
    if (count > 0) return status;
    return lam_fail(LAM_ERR_NOT_FOUND, "%s: has no %s; is this the binary version of %s?", folder,
                    variant->train, variant->name);
}

static lam_status add_split(const struct variant *variant, const char *folder, enum lam_split split,
                            struct lam_packed *packed) {
    if (split == LAM_SPLIT_TRAIN && variant == &cifar10) return add_batches(variant, folder, packed);
    const char *file = split == LAM_SPLIT_TRAIN ? variant->train : variant->test;
    if (!lam_folder_has(folder, file))
        return lam_fail(LAM_ERR_NOT_FOUND, "%s: has no %s; is this the binary version of %s?", folder, file,
                        variant->name);
    return add_file(variant, folder, file, packed);
}

static lam_status fill_in(const struct variant *variant, const char *folder, enum lam_split split,
                          const struct lam_dataset_options *options, struct lam_dataset *dataset) {
    dataset->classes = variant->classes;
    memcpy(dataset->mean, variant->mean, sizeof dataset->mean);
    memcpy(dataset->deviation, variant->deviation, sizeof dataset->deviation);
    dataset->has_own_val = lam_folder_has(folder, variant->test);
    LAM_TRY(lam_class_names_read(dataset, folder, variant->names_file, variant->names));
    struct lam_packed *packed = lam_packed_new();
    if (!packed) return LAM_ERR_NO_MEMORY;
    packed->width = packed->height = SIDE;
    packed->channels = 3;
    packed->step_x = 1;
    packed->step_y = SIDE;
    packed->step_channel = PLANE;
    lam_status status = add_split(variant, folder, split, packed);
    if (status == LAM_OK) return lam_packed_finish(packed, options, dataset);
    lam_packed_free(packed);
    return status;
}

static lam_status open_variant(const struct variant *variant, const char *path, enum lam_split split,
                               const struct lam_dataset_options *options, struct lam_dataset *dataset) {
    char *folder = lam_inner_folder(path, variant->folder);
    if (!folder) return lam_no_memory();
    lam_status status = fill_in(variant, folder, split, options, dataset);
    free(folder);
    return status;
}

static lam_status open_cifar10(const char *path, enum lam_split split,
                               const struct lam_dataset_options *options, struct lam_dataset *dataset) {
    return open_variant(&cifar10, path, split, options, dataset);
}

static lam_status open_cifar100(const char *path, enum lam_split split,
                                const struct lam_dataset_options *options, struct lam_dataset *dataset) {
    return open_variant(&cifar100, path, split, options, dataset);
}

const struct lam_dataset_format lam_format_cifar10 = {
    .name = "cifar10",
    .help = "a folder with data_batch_*.bin and test_batch.bin (binary version)",
    .needs_path = true,
    .open = open_cifar10,
    .close = lam_packed_close,
    .read = lam_packed_read,
    .describe = lam_packed_describe,
    .hash = lam_packed_hash,
};

const struct lam_dataset_format lam_format_cifar100 = {
    .name = "cifar100",
    .help = "a folder with train.bin and test.bin (binary version); the fine labels are used",
    .needs_path = true,
    .open = open_cifar100,
    .close = lam_packed_close,
    .read = lam_packed_read,
    .describe = lam_packed_describe,
    .hash = lam_packed_hash,
};
