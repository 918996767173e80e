/* coco: COCO's "instances" JSON. Classes are the categories by ascending id; ids are sparse, so a file's id is kept
 * beside each class (dataset->category_ids). Samples are the images in the order of the file.
 *
 * The file is read when the set is opened, by jansson; of its objects only these keys mean something:
 *
 *     "categories":  "id" "name"
 *     "images":      "id" "file_name", "width" "height" (if they are missing, the image is decoded to know)
 *     "annotations": "image_id" "category_id" "bbox": [x, y, width, height], "id", "area", "iscrowd" (may be missing)
 *
 * An annotation that makes no sense makes its image a bad sample: without that box the image would teach that nothing
 * is there. One whose image is not listed is a stray. */
#include <dirent.h>
#include <errno.h>
#include <float.h>
#include <jansson.h>
#include <limits.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/files.h"
#include "data/boxed.h"

enum { MAX_FOLDERS = 5 };

/* A number of the file and where what it names stands in a list of ours. */
struct number {
    int64_t id, place;
};

struct reader {
    const char *path;           /* of the set */
    char *file;                 /* the annotations */
    char *folders[MAX_FOLDERS]; /* where images may be, in the order in which they are looked for */
    int folder_count;
    json_t *root;
    struct number *images; /* sorted by id */
    size_t image_count;
    struct lam_dataset *dataset;
    struct lam_boxed *boxed;
};

static int by_id(const void *a, const void *b) {
    const struct number *left = a, *right = b;
    int order = (left->id > right->id) - (left->id < right->id);
    return order ? order : (left->place > right->place) - (left->place < right->place);
}

static const struct number *find(const struct number *numbers, size_t count, int64_t id) {
    size_t low = 0, high = count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (numbers[middle].id < id)
            low = middle + 1;
        else
            high = middle;
    }
    return low < count && numbers[low].id == id ? &numbers[low] : NULL;
}

/* ---- which file ---- */

static bool is_instances(const char *name, const char *start) {
    size_t length = strlen(name);
    return !strncmp(name, start, strlen(start)) && length > 5 && !strcmp(name + length - 5, ".json");
}

/* How many files of annotations/ are called START*.json; *name is the first of them, malloc'd. */
static lam_status count_files(const char *path, const char *start, char **name, int *count) {
    char *folder = lam_path_join(path, "annotations");
    if (!folder) return lam_no_memory();
    struct dirent **list;
    int entries = scandir(folder, &list, NULL, alphasort);
    *count = 0;
    *name = NULL;
    lam_status status = LAM_OK;
    if (entries < 0 && errno != ENOENT)
        status = lam_fail(LAM_ERR_IO, "%s: cannot be listed: %s", folder, strerror(errno));
    for (int i = 0; i < entries; i++) {
        if (status == LAM_OK && is_instances(list[i]->d_name, start) && (*count)++ == 0) {
            *name = strdup(list[i]->d_name);
            if (!*name) status = lam_no_memory();
        }
        free(list[i]);
    }
    if (entries >= 0) free(list);
    free(folder);
    return status;
}

static lam_status find_usual(const char *path, enum lam_split split, char **file) {
    const char *start = split == LAM_SPLIT_VAL ? "instances_val" : "instances_train";
    char *name;
    int count;
    LAM_TRY(count_files(path, start, &name, &count));
    lam_status status = LAM_OK;
    if (count == 1) {
        *file = lam_format("%s/annotations/%s", path, name);
        if (!*file) status = lam_no_memory();
    } else if (count == 0) {
        status = lam_fail(LAM_ERR_NOT_FOUND,
                          "%s: has no annotations/%s*.json; name another file behind a #, as in "
                          "coco:%s#annotations/FILE.json",
                          path, start, path);
    } else {
        status = lam_fail(LAM_ERR_INVALID,
                          "%s: has %d files annotations/%s*.json; name one of them behind a #, as in "
                          "coco:%s#annotations/%s",
                          path, count, start, path, name);
    }
    free(name);
    return status;
}

static lam_status find_file(const char *path, enum lam_split split, struct lam_dataset *dataset,
                            char **file) {
    if (dataset->part) {
        if (!lam_path_stays_inside(dataset->part))
            return lam_fail(LAM_ERR_INVALID, "%s#%s: the file of annotations must be below the folder", path,
                            dataset->part);
        *file = lam_path_join(path, dataset->part);
        if (!*file) return lam_no_memory();
        if (lam_path_exists(*file) && !lam_path_is_folder(*file)) return LAM_OK;
        return lam_fail(LAM_ERR_NOT_FOUND, "%s: there is no such file of annotations", *file);
    }
    char *name;
    int count;
    LAM_TRY(count_files(path, "instances_val", &name, &count));
    free(name);
    dataset->has_own_val = count > 0;
    return find_usual(path, split, file);
}

/* ---- where images are ---- */

static lam_status add_folder(struct reader *reader, char *folder) {
    if (!folder) return lam_no_memory();
    if (lam_path_is_folder(folder))
        reader->folders[reader->folder_count++] = folder;
    else
        free(folder);
    return LAM_OK;
}

/* Of annotations/instances_train2017.json: images/train2017, train2017, images, the set's folder, annotations. */
static lam_status find_folders(struct reader *reader) {
    const char *slash = strrchr(reader->file, '/'), *name = slash ? slash + 1 : reader->file;
    const char *underscore = strchr(name, '_'), *start = underscore ? underscore + 1 : name;
    int length = (int)strcspn(start, ".");
    if (length) {
        LAM_TRY(add_folder(reader, lam_format("%s/images/%.*s", reader->path, length, start)));
        LAM_TRY(add_folder(reader, lam_format("%s/%.*s", reader->path, length, start)));
    }
    LAM_TRY(add_folder(reader, lam_path_join(reader->path, "images")));
    LAM_TRY(add_folder(reader, strdup(reader->path)));
    return add_folder(reader, strndup(reader->file, (size_t)(name - reader->file - (slash != NULL))));
}

/* *path: of the image, or where it should have been. */
static lam_status find_image(const struct reader *reader, const char *name, char **path, bool *found) {
    *found = false;
    for (int i = 0; i < reader->folder_count; i++) {
        *path = lam_path_join(reader->folders[i], name);
        if (!*path) return lam_no_memory();
        *found = lam_path_exists(*path) && !lam_path_is_folder(*path);
        if (*found) return LAM_OK;
        free(*path);
    }
    *path = lam_path_join(reader->path, name);
    return *path ? LAM_OK : lam_no_memory();
}

/* ---- values ---- */

/* What stands before an error about the `index`-th object of a list: "file: annotation 17" (the list's name without its s). */
static lam_status blame(const struct reader *reader, const char *what, const json_t *object, size_t index,
                        lam_status status) {
    const json_t *id = json_object_get(object, "id");
    char where[1200];
    if (json_is_integer(id))
        snprintf(where, sizeof where, "%s: %s %lld", reader->file, what, (long long)json_integer_value(id));
    else
        snprintf(where, sizeof where, "%s: %s at place %zu", reader->file, what, index);
    return lam_fail_in(status, where);
}

static lam_status get_integer(const json_t *object, const char *key, int64_t low, int64_t high,
                              int64_t *value) {
    const json_t *field = json_object_get(object, key);
    if (!field) return lam_fail(LAM_ERR_FORMAT, "has no '%s'", key);
    if (!json_is_integer(field)) return lam_fail(LAM_ERR_FORMAT, "'%s' is not an integer", key);
    *value = json_integer_value(field);
    if (*value >= low && *value <= high) return LAM_OK;
    return lam_fail(LAM_ERR_FORMAT, "'%s' is %lld, not in %lld..%lld", key, (long long)*value, (long long)low,
                    (long long)high);
}

/* As get_integer; where the key is missing, *value stays as it is. */
static lam_status get_optional(const json_t *object, const char *key, int64_t low, int64_t high,
                               int64_t *value) {
    return json_object_get(object, key) ? get_integer(object, key, low, high, value) : LAM_OK;
}

static lam_status get_text(const json_t *object, const char *key, const char **text) {
    const json_t *field = json_object_get(object, key);
    if (!field) return lam_fail(LAM_ERR_FORMAT, "has no '%s'", key);
    *text = json_string_value(field);
    if (!*text) return lam_fail(LAM_ERR_FORMAT, "'%s' is not a text", key);
    if (!**text) return lam_fail(LAM_ERR_FORMAT, "'%s' is empty", key);
    return LAM_OK;
}

static lam_status get_box(const json_t *annotation, double box[4]) {
    static const char *const names[] = {"x", "y", "width", "height"};
    const json_t *field = json_object_get(annotation, "bbox");
    if (!field) return lam_fail(LAM_ERR_FORMAT, "has no 'bbox'");
    if (!json_is_array(field) || json_array_size(field) != 4)
        return lam_fail(LAM_ERR_FORMAT, "'bbox' is not a list of four numbers");
    for (size_t i = 0; i < 4; i++) {
        const json_t *number = json_array_get(field, i);
        if (!json_is_number(number))
            return lam_fail(LAM_ERR_FORMAT, "the %s of 'bbox' is no number", names[i]);
        box[i] = json_number_value(number);
        if (!isfinite(box[i])) return lam_fail(LAM_ERR_FORMAT, "the %s of 'bbox' is not finite", names[i]);
        if (i >= 2 && box[i] < 0)
            return lam_fail(LAM_ERR_FORMAT, "the %s of 'bbox' is negative, %g", names[i], box[i]);
    }
    return LAM_OK;
}

static lam_status get_area(const json_t *annotation, float *area) {
    const json_t *field = json_object_get(annotation, "area");
    *area = 0;
    if (!field) return LAM_OK;
    double value = json_number_value(field);
    if (!json_is_number(field) || !(value >= 0 && value <= FLT_MAX))
        return lam_fail(LAM_ERR_FORMAT, "'area' is not a number from 0 up");
    *area = (float)value;
    return LAM_OK;
}

static lam_status get_list(const struct reader *reader, const char *key, const json_t **list) {
    *list = json_object_get(reader->root, key);
    if (!*list)
        return lam_fail(LAM_ERR_FORMAT, "%s: has no '%s'; is it an instances file?", reader->file, key);
    if (!json_is_array(*list)) return lam_fail(LAM_ERR_FORMAT, "%s: '%s' is not a list", reader->file, key);
    return LAM_OK;
}

/* ---- categories ---- */

static lam_status read_category(const json_t *category, struct number *number, const char **name) {
    if (!json_is_object(category)) return lam_fail(LAM_ERR_FORMAT, "is not an object");
    LAM_TRY(get_integer(category, "id", INT_MIN, INT_MAX, &number->id));
    return get_text(category, "name", name);
}

static lam_status read_numbers(const struct reader *reader, const json_t *list, struct number *numbers) {
    size_t count = json_array_size(list);
    for (size_t i = 0; i < count; i++) {
        const char *name;
        numbers[i].place = (int64_t)i;
        lam_status status = read_category(json_array_get(list, i), &numbers[i], &name);
        if (status != LAM_OK) return blame(reader, "category", json_array_get(list, i), i, status);
    }
    qsort(numbers, count, sizeof *numbers, by_id);
    for (size_t i = 1; i < count; i++)
        if (numbers[i].id == numbers[i - 1].id)
            return lam_fail(LAM_ERR_FORMAT, "%s: category %lld is defined twice", reader->file,
                            (long long)numbers[i].id);
    return LAM_OK;
}

static lam_status use_categories(const json_t *list, const struct number *numbers,
                                 struct lam_dataset *dataset) {
    size_t count = json_array_size(list);
    const char **names = calloc(count, sizeof *names);
    dataset->category_ids = calloc(count, sizeof *dataset->category_ids);
    lam_status status = names && dataset->category_ids ? LAM_OK : lam_no_memory();
    for (size_t i = 0; i < count && status == LAM_OK; i++) {
        names[i] = json_string_value(json_object_get(json_array_get(list, (size_t)numbers[i].place), "name"));
        dataset->category_ids[i] = (int)numbers[i].id;
    }
    dataset->classes = (int)count;
    if (status == LAM_OK) status = lam_class_names_copy(dataset, names);
    free(names);
    return status;
}

static lam_status read_categories(const struct reader *reader) {
    const json_t *list;
    LAM_TRY(get_list(reader, "categories", &list));
    size_t count = json_array_size(list);
    if (count < 1 || count > LAM_MAX_CLASSES)
        return lam_fail(LAM_ERR_FORMAT, "%s: has %zu categories, 1 to %d are expected", reader->file, count,
                        LAM_MAX_CLASSES);
    struct number *numbers = calloc(count, sizeof *numbers);
    if (!numbers) return lam_no_memory();
    lam_status status = read_numbers(reader, list, numbers);
    if (status == LAM_OK) status = use_categories(list, numbers, reader->dataset);
    free(numbers);
    return status;
}

static int label_of(const struct lam_dataset *dataset, int64_t id) {
    int low = 0, high = dataset->classes;
    while (low < high) {
        int middle = low + (high - low) / 2;
        if (dataset->category_ids[middle] < id)
            low = middle + 1;
        else
            high = middle;
    }
    return low < dataset->classes && dataset->category_ids[low] == id ? low : -1;
}

/* ---- images ---- */

static lam_status get_size(const json_t *object, struct lam_boxed_image *image) {
    int64_t width = 0, height = 0;
    LAM_TRY(get_optional(object, "width", 1, 1 << 20, &width));
    LAM_TRY(get_optional(object, "height", 1, 1 << 20, &height));
    image->width = (int)width;
    image->height = (int)height;
    return width && height ? LAM_OK : lam_boxed_measure(image);
}

static lam_status check_image(const struct reader *reader, const json_t *object, const char *name, bool found,
                              struct lam_boxed_image *image) {
    const char *text;
    if (!json_is_object(object)) return lam_fail(LAM_ERR_FORMAT, "is not an object");
    LAM_TRY(get_integer(object, "id", INT64_MIN, INT64_MAX, &image->id));
    LAM_TRY(get_text(object, "file_name", &text));
    if (!lam_path_stays_inside(name))
        return lam_fail(LAM_ERR_FORMAT, "'file_name' is '%.100s', which is not below the folder", name);
    if (!found) return lam_fail(LAM_ERR_FORMAT, "there is no file '%.100s' in %s", name, reader->folders[0]);
    return get_size(object, image);
}

static lam_status read_image(struct reader *reader, const json_t *object, size_t index) {
    const char *name = json_string_value(json_object_get(object, "file_name"));
    char *path = NULL;
    bool found = false, usable = name && lam_path_stays_inside(name);
    LAM_TRY(usable ? find_image(reader, name, &path, &found) : LAM_OK);
    if (!path) path = strdup(reader->file);
    if (!path) return lam_no_memory();
    struct lam_boxed_image *image;
    LAM_TRY(lam_boxed_add(reader->boxed, path, &image));
    lam_status status = check_image(reader, object, name, found, image);
    if (json_is_integer(json_object_get(object, "id"))) /* known by its id, even if nothing else is right */
        reader->images[reader->image_count++] = (struct number){image->id, (int64_t)index};
    if (status == LAM_OK) return LAM_OK;
    return lam_boxed_blame(image, blame(reader, "image", object, index, status));
}

/* Which of two images with one id an annotation means cannot be known. */
static lam_status blame_repeated(struct reader *reader) {
    const struct number *images = reader->images;
    for (size_t i = 1; i < reader->image_count; i++) {
        if (images[i].id != images[i - 1].id) continue;
        for (size_t k = i - 1; k <= i; k++) {
            lam_status status = lam_fail(LAM_ERR_FORMAT, "%s: image %lld is listed twice", reader->file,
                                         (long long)images[i].id);
            LAM_TRY(lam_boxed_blame(&reader->boxed->images[images[k].place], status));
        }
    }
    return LAM_OK;
}

static lam_status read_images(struct reader *reader) {
    const json_t *list;
    LAM_TRY(get_list(reader, "images", &list));
    size_t count = json_array_size(list);
    if (count == 0) return lam_fail(LAM_ERR_FORMAT, "%s: lists no image", reader->file);
    reader->images = calloc(count, sizeof *reader->images);
    if (!reader->images) return lam_no_memory();
    for (size_t i = 0; i < count; i++) LAM_TRY(read_image(reader, json_array_get(list, i), i));
    if (reader->image_count) qsort(reader->images, reader->image_count, sizeof *reader->images, by_id);
    return blame_repeated(reader);
}

/* ---- annotations ---- */

static lam_status read_box(const struct reader *reader, const json_t *annotation,
                           struct lam_boxed_image *image) {
    double in[4];
    int64_t category, crowd = 0;
    struct lam_box box = {0};
    LAM_TRY(get_integer(annotation, "category_id", INT64_MIN, INT64_MAX, &category));
    box.label = label_of(reader->dataset, category);
    if (box.label < 0)
        return lam_fail(LAM_ERR_FORMAT, "'category_id' is %lld, which is nowhere defined",
                        (long long)category);
    LAM_TRY(get_box(annotation, in));
    LAM_TRY(get_area(annotation, &box.area));
    LAM_TRY(get_optional(annotation, "iscrowd", 0, 1, &crowd));
    box.crowd = crowd == 1;
    if (image->fault) return LAM_OK;
    double corners[4] = {in[0], in[1], in[0] + in[2], in[1] + in[3]};
    return lam_boxed_add_box(image, corners, &box);
}

/* The image of an annotation; NULL with the error recorded. */
static struct lam_boxed_image *image_of(const struct reader *reader, const json_t *annotation) {
    int64_t id;
    if (!json_is_object(annotation)) {
        lam_fail(LAM_ERR_FORMAT, "is not an object");
        return NULL;
    }
    if (get_integer(annotation, "image_id", INT64_MIN, INT64_MAX, &id) != LAM_OK) return NULL;
    const struct number *number = find(reader->images, reader->image_count, id);
    if (number) return &reader->boxed->images[number->place];
    lam_fail(LAM_ERR_FORMAT, "'image_id' is %lld, which is nowhere defined", (long long)id);
    return NULL;
}

static lam_status read_annotation(const struct reader *reader, const json_t *annotation, size_t index) {
    struct lam_boxed_image *image = image_of(reader, annotation);
    if (!image) {
        blame(reader, "annotation", annotation, index, LAM_ERR_FORMAT);
        return lam_boxed_add_stray(reader->boxed);
    }
    lam_status status = read_box(reader, annotation, image);
    if (status == LAM_OK) return LAM_OK;
    return lam_boxed_blame(image, blame(reader, "annotation", annotation, index, status));
}

static lam_status read_annotations(const struct reader *reader) {
    const json_t *list;
    LAM_TRY(get_list(reader, "annotations", &list));
    for (size_t i = 0; i < json_array_size(list); i++)
        LAM_TRY(read_annotation(reader, json_array_get(list, i), i));
    return LAM_OK;
}

/* ---- the file ---- */

static lam_status load(struct reader *reader) {
    FILE *file = fopen(reader->file, "rb");
    if (!file) return lam_fail(LAM_ERR_IO, "%s: cannot be opened: %s", reader->file, strerror(errno));
    json_error_t error;
    reader->root = json_loadf(file, JSON_REJECT_DUPLICATES, &error);
    bool broken = ferror(file);
    fclose(file);
    if (broken) return lam_fail(LAM_ERR_IO, "%s: cannot be read", reader->file);
    if (!reader->root && json_error_code(&error) == json_error_out_of_memory) return lam_no_memory();
    if (!reader->root)
        return lam_fail(LAM_ERR_FORMAT, "%s: line %d, column %d: %s", reader->file, error.line, error.column,
                        error.text);
    if (json_is_object(reader->root)) return LAM_OK;
    return lam_fail(LAM_ERR_FORMAT, "%s: is not a JSON object with images, annotations and categories",
                    reader->file);
}

static lam_status read_set(struct reader *reader) {
    LAM_TRY(find_folders(reader));
    LAM_TRY(load(reader));
    LAM_TRY(read_categories(reader));
    LAM_TRY(read_images(reader));
    return read_annotations(reader);
}

static lam_status open_coco(const char *path, enum lam_split split, const struct lam_dataset_options *options,
                            struct lam_dataset *dataset) {
    struct reader reader = {.path = path, .dataset = dataset, .boxed = lam_boxed_new(path)};
    lam_status status = reader.boxed ? LAM_OK : LAM_ERR_NO_MEMORY;
    if (status == LAM_OK) status = find_file(path, split, dataset, &reader.file);
    if (status == LAM_OK) status = read_set(&reader);
    json_decref(reader.root);
    free(reader.images);
    for (int i = 0; i < reader.folder_count; i++) free(reader.folders[i]);
    if (status == LAM_OK) {
        reader.boxed->stray_file = reader.file;
        return lam_boxed_finish(reader.boxed, options, dataset);
    }
    free(reader.file);
    lam_boxed_free(reader.boxed);
    return status;
}

const struct lam_dataset_format lam_format_coco = {
    .name = "coco",
    .help =
        "a folder with annotations/instances_train*.json, instances_val*.json and images (COCO); #FILE names "
        "another JSON file",
    .needs_path = true,
    .takes_part = true,
    .open = open_coco,
    .close = lam_boxed_close,
    .read = lam_boxed_read,
    .describe = lam_boxed_describe,
    .hash = lam_boxed_hash,
    .read_boxes = lam_boxed_read_boxes,
    .count_boxes = lam_boxed_count,
    .check_rest = lam_boxed_check_rest,
};
