/* folder: one folder of images per class. The class of an image is the place of its folder in the sorted list
 * of folders, those without images included. Under `path` there may be train and val (or valid, validation,
 * test) folders, each with the classes; the list of classes is then that of the training part, so that both
 * parts agree. Images may lie deeper below their class.
 *
 * Files are found by their names' endings and told apart by their content. Nothing is decoded before it is
 * needed, except the sizes of a few images, spread evenly, which tell whether all are of one size. */
#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/files.h"
#include "base/rng.h"
#include "data/formats.h"

enum { PROBES = 16 };

struct entry {
    char *path;
    int label;
};

struct folder {
    struct entry *entries;
    int64_t count, capacity;
    size_t root; /* bytes of the path that the set was opened by */
};

static lam_status add_entry(struct folder *folder, char *path, int label) {
    if (folder->count == folder->capacity) {
        int64_t capacity = folder->capacity ? 2 * folder->capacity : 1024;
        struct entry *entries = realloc(folder->entries, (size_t)capacity * sizeof *entries);
        if (!entries)
            return lam_fail(LAM_ERR_NO_MEMORY, "no memory for a list of %lld files", (long long)capacity);
        folder->entries = entries;
        folder->capacity = capacity;
    }
    folder->entries[folder->count++] = (struct entry){path, label};
    return LAM_OK;
}

/* A folder and those that it is in. */
struct level {
    dev_t device;
    ino_t inode;
    const struct level *above;
};

/* Links must not lead round in circles: images would come again under other labels. */
static lam_status enter_folder(const char *path, const struct level *above, struct level *level) {
    struct stat info;
    if (stat(path, &info) != 0)
        return lam_fail(LAM_ERR_IO, "%s: cannot be examined: %s", path, strerror(errno));
    *level = (struct level){info.st_dev, info.st_ino, above};
    for (const struct level *at = above; at; at = at->above)
        if (at->device == info.st_dev && at->inode == info.st_ino)
            return lam_fail(LAM_ERR_FORMAT, "%s: is a link to a folder that it is in", path);
    return LAM_OK;
}

static lam_status add_images(struct folder *folder, const char *path, int label, const struct level *above);

static lam_status add_one(struct folder *folder, const char *parent, const char *name, int label,
                          const struct level *above) {
    char *path = lam_path_join(parent, name);
    if (!path) return lam_no_memory();
    lam_status status = LAM_OK;
    if (lam_path_is_folder(path)) {
        status = add_images(folder, path, label, above);
    } else if (lam_is_image_name(name)) {
        status = add_entry(folder, path, label);
        if (status == LAM_OK) return LAM_OK; /* the list owns the path now */
    }
    free(path);
    return status;
}

static lam_status add_images(struct folder *folder, const char *path, int label, const struct level *above) {
    struct level level;
    LAM_TRY(enter_folder(path, above, &level));
    struct dirent **list;
    int count;
    LAM_TRY(lam_list_folder(path, &list, &count));
    lam_status status = LAM_OK;
    for (int i = 0; i < count && status == LAM_OK; i++)
        status = add_one(folder, path, list[i]->d_name, label, &level);
    lam_list_free(list, count);
    return status;
}

static bool has_subfolder(const char *parent, const char *name) {
    char *path = name ? lam_path_join(parent, name) : NULL;
    bool found = path && lam_path_is_folder(path);
    free(path);
    return found;
}

/* The sorted names of the folders below `path` become the classes. */
static lam_status find_classes(const char *path, struct lam_dataset *dataset) {
    struct dirent **list;
    int count;
    LAM_TRY(lam_list_folder(path, &list, &count));
    const char **names = calloc((size_t)count + 1, sizeof *names);
    lam_status status = names ? LAM_OK : lam_no_memory();
    for (int i = 0; i < count && names; i++)
        if (has_subfolder(path, list[i]->d_name)) names[dataset->classes++] = list[i]->d_name;
    if (names && dataset->classes == 0)
        status = lam_fail(LAM_ERR_NOT_FOUND, "%s: has no folders; one folder of images per class is expected",
                          path);
    if (names && dataset->classes == 1)
        status = lam_fail(LAM_ERR_FORMAT,
                          "%s: has only the folder %s; two classes at least are needed, is the "
                          "path one level too high?",
                          path, names[0]);
    if (status == LAM_OK) status = lam_class_names_copy(dataset, names);
    free(names);
    lam_list_free(list, count);
    return status;
}

static lam_status add_classes(struct folder *folder, const char *path, const char *train,
                              const struct lam_dataset *dataset) {
    struct level level;
    LAM_TRY(enter_folder(path, NULL, &level));
    struct dirent **list;
    int count;
    LAM_TRY(lam_list_folder(path, &list, &count));
    lam_status status = LAM_OK;
    for (int i = 0; i < count && status == LAM_OK; i++) {
        if (!has_subfolder(path, list[i]->d_name)) continue;
        int label = lam_class_find(dataset, list[i]->d_name);
        status = label >= 0 ? add_one(folder, path, list[i]->d_name, label, &level)
                            : lam_fail(LAM_ERR_FORMAT, "%s/%s: is not among the classes of %s", path,
                                       list[i]->d_name, train);
    }
    lam_list_free(list, count);
    return status;
}

/* A folder called train that holds only images is a class of that name. */
static bool holds_classes(const char *path) {
    struct dirent **list;
    int count;
    if (lam_list_folder(path, &list, &count) != LAM_OK) return false;
    bool found = false;
    for (int i = 0; i < count && !found; i++) found = has_subfolder(path, list[i]->d_name);
    lam_list_free(list, count);
    return found;
}

/* Where the parts are; malloc'd, *val is NULL if there is none. */
static lam_status find_parts(const char *path, char **train, char **val) {
    static const char *const names[] = {"val", "valid", "validation", "test"};
    *val = NULL;
    *train = lam_path_join(path, "train");
    if (*train && !holds_classes(*train)) {
        free(*train);
        *train = strdup(path);
        return *train ? LAM_OK : lam_no_memory();
    }
    for (size_t i = 0; i < sizeof names / sizeof names[0] && *train && !*val; i++) {
        *val = lam_path_join(path, names[i]);
        if (*val && lam_path_is_folder(*val)) break;
        free(*val);
        *val = NULL;
    }
    return *train ? LAM_OK : lam_no_memory();
}

/* One size if all the probed images have it, else 0. */
static void probe_size(const struct folder *folder, struct lam_dataset *dataset) {
    int64_t step = folder->count > PROBES ? folder->count / PROBES : 1;
    struct lam_image image = {0};
    int width = 0, height = 0;
    bool same = true;
    for (int64_t i = 0; i < folder->count && same; i += step) {
        if (lam_image_load(folder->entries[i].path, LAM_IMAGE_RGB, &image) != LAM_OK) continue;
        same = width == 0 || (image.width == width && image.height == height);
        width = image.width;
        height = image.height;
    }
    lam_image_free(&image);
    dataset->size_probed = true;
    dataset->width = same ? width : 0;
    dataset->height = same ? height : 0;
}

static lam_status fill_in(const char *path, const char *train, const char *val, enum lam_split split,
                          struct lam_dataset *dataset) {
    /* the usual ones for photographs (ImageNet's), the same for every part */
    static const float mean[3] = {.485f, .456f, .406f}, deviation[3] = {.229f, .224f, .225f};
    memcpy(dataset->mean, mean, sizeof mean);
    memcpy(dataset->deviation, deviation, sizeof deviation);
    dataset->channels = 3;
    dataset->has_own_val = val != NULL;
    bool parts = strcmp(train, path) != 0;
    if (split == LAM_SPLIT_VAL && parts && !val)
        return lam_fail(LAM_ERR_NOT_FOUND,
                        "%s: has a train folder but no val, valid, validation or test folder", path);
    const char *mine = split == LAM_SPLIT_VAL && val ? val : train;
    struct folder *folder = calloc(1, sizeof *folder);
    if (!folder) return lam_no_memory();
    dataset->state = folder;
    folder->root = strlen(path);
    LAM_TRY(find_classes(train, dataset));
    LAM_TRY(add_classes(folder, mine, train, dataset));
    if (folder->count == 0)
        return lam_fail(LAM_ERR_NOT_FOUND, "%s: its %d folders have no images (.png, .jpg, .jpeg)", mine,
                        dataset->classes);
    dataset->count = folder->count;
    probe_size(folder, dataset);
    return LAM_OK;
}

static lam_status open_folder(const char *path, enum lam_split split,
                              const struct lam_dataset_options *options, struct lam_dataset *dataset) {
    (void)options;
    char *train, *val;
    lam_status status = find_parts(path, &train, &val);
    if (status == LAM_OK) status = fill_in(path, train, val, split, dataset);
    free(train);
    free(val);
    return status;
}

static void close_folder(struct lam_dataset *dataset) {
    struct folder *folder = dataset->state;
    if (!folder) return;
    for (int64_t i = 0; i < folder->count; i++) free(folder->entries[i].path);
    free(folder->entries);
    free(folder);
    dataset->state = NULL;
}

static lam_status read_folder(const struct lam_dataset *dataset, int64_t index, struct lam_sample *sample) {
    const struct folder *folder = dataset->state;
    LAM_TRY(lam_image_load(folder->entries[index].path, LAM_IMAGE_RGB, &sample->image));
    sample->label = folder->entries[index].label;
    return LAM_OK;
}

static const char *describe_folder(const struct lam_dataset *dataset, int64_t index, char *text,
                                   size_t size) {
    const struct folder *folder = dataset->state;
    snprintf(text, size, "%s", folder->entries[index].path);
    return text;
}

/* By names below the root, so that a set that was moved as a whole is still the same. */
static uint64_t hash_folder(const struct lam_dataset *dataset) {
    const struct folder *folder = dataset->state;
    uint64_t hash = LAM_HASH_EMPTY;
    for (int64_t i = 0; i < folder->count; i++) {
        const struct entry *entry = &folder->entries[i];
        const char *name = entry->path + folder->root;
        name += strspn(name, "/");
        hash = lam_hash_bytes(hash, name, strlen(name) + 1);
        hash = lam_hash_bytes(hash, &entry->label, sizeof entry->label);
    }
    return hash;
}

const struct lam_dataset_format lam_format_folder = {
    .name = "folder",
    .help = "a folder with one folder of PNG or JPEG images per class, or train and val folders of such",
    .needs_path = true,
    .open = open_folder,
    .close = close_folder,
    .read = read_folder,
    .describe = describe_folder,
    .hash = hash_folder,
};
