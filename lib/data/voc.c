/* voc: PASCAL VOC. A part is a list of names, ImageSets/Main/PART.txt, a name a line; the image of a name is
 * JPEGImages/NAME.jpg (or .jpeg or .png), its boxes are in Annotations/NAME.xml (voc_xml.c). What the XML says about the
 * file name is not looked at: tools disagree about it.
 *
 * Classes are the lines of classes.txt if there is one, else the sorted names of all objects in the annotations of all
 * the usual lists, so that the parts of a set agree.
 *
 * All annotations of the part are read when it is opened, and it is seen that the images are there. VOC counts
 * pixels from 1 and includes the last one: xmin and xmax become the corners xmin - 1 and xmax. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/files.h"
#include "data/boxed.h"
#include "data/voc_xml.h"

/* ---- lists of names ---- */

struct name {
    char *text;
    int line;   /* in its file */
    bool twice; /* it stood in an earlier line */
};

struct names {
    struct name *items;
    size_t count, capacity;
};

static void free_names(struct names *names) {
    for (size_t i = 0; i < names->count; i++) free(names->items[i].text);
    free(names->items);
    *names = (struct names){0};
}

static lam_status add_name(struct names *names, const char *text, size_t length, int line) {
    if (names->count == names->capacity) {
        size_t capacity = names->capacity ? 2 * names->capacity : 64;
        struct name *items = realloc(names->items, capacity * sizeof *items);
        if (!items) return lam_no_memory();
        names->items = items;
        names->capacity = capacity;
    }
    char *copy = strndup(text, length);
    if (!copy) return lam_no_memory();
    names->items[names->count++] = (struct name){.text = copy, .line = line};
    return LAM_OK;
}

static int by_text(const void *a, const void *b) {
    const struct name *left = a, *right = b;
    int order = strcmp(left->text, right->text);
    return order ? order : (left->line > right->line) - (left->line < right->line);
}

static int by_line(const void *a, const void *b) {
    const struct name *left = a, *right = b;
    return (left->line > right->line) - (left->line < right->line);
}

static void sort(struct names *names, int (*order)(const void *, const void *)) {
    if (names->count) qsort(names->items, names->count, sizeof *names->items, order);
}

static void sort_once(struct names *names) {
    sort(names, by_text);
    size_t kept = 0;
    for (size_t i = 0; i < names->count; i++) {
        if (kept && !strcmp(names->items[kept - 1].text, names->items[i].text))
            free(names->items[i].text);
        else
            names->items[kept++] = names->items[i];
    }
    names->count = kept;
}

static void mark_repeated(struct names *names) {
    sort(names, by_text);
    for (size_t i = 1; i < names->count; i++)
        names->items[i].twice = !strcmp(names->items[i - 1].text, names->items[i].text);
    sort(names, by_line);
}

static lam_status read_list(const char *path, struct names *names) {
    uint8_t *data;
    size_t size;
    LAM_TRY(lam_file_read(path, &data, &size));
    lam_status status = LAM_OK;
    int number = 1;
    for (const char *line = (const char *)data; *line && status == LAM_OK; number++) {
        const char *start = line + strspn(line, " \t\r"), *end = line + strcspn(line, "\n");
        line = *end ? end + 1 : end;
        while (end > start && strchr(" \t\r", end[-1])) end--;
        if (end > start) status = add_name(names, start, (size_t)(end - start), number);
    }
    if (status == LAM_OK && strlen((const char *)data) != size)
        status = lam_fail(LAM_ERR_FORMAT, "%s: byte %zu is 0; this is no list of names", path,
                          strlen((const char *)data));
    free(data);
    return status;
}

/* ---- parts ---- */

static char *list_path(const char *path, const char *part) {
    return lam_format("%s/ImageSets/Main/%s.txt", path, part);
}

static bool has_list(const char *path, const char *part) {
    char *list = list_path(path, part);
    bool found = list && lam_path_exists(list);
    free(list);
    return found;
}

static const char *part_of(const char *path, enum lam_split split, const struct lam_dataset *dataset) {
    if (dataset->part) return dataset->part;
    bool has_test = has_list(path, "test");
    if (split == LAM_SPLIT_VAL) return has_test ? "test" : "val";
    if (has_test && has_list(path, "trainval")) return "trainval";
    /* trainval has the images of val in it, too */
    if (!has_list(path, "train") && !has_list(path, "val") && has_list(path, "trainval")) return "trainval";
    return "train";
}

static lam_status find_list(const char *path, enum lam_split split, struct lam_dataset *dataset,
                            char **list) {
    const char *part = part_of(path, split, dataset);
    dataset->has_own_val = !dataset->part && (has_list(path, "test") || has_list(path, "val"));
    if (strchr(part, '/'))
        return lam_fail(LAM_ERR_INVALID, "%s#%s: a part is the name of a list in ImageSets/Main without .txt",
                        path, part);
    *list = list_path(path, part);
    if (!*list) return lam_no_memory();
    if (lam_path_exists(*list)) return LAM_OK;
    return lam_fail(LAM_ERR_NOT_FOUND,
                    "%s: has no ImageSets/Main/%s.txt; #PART behind the path names another list", path, part);
}

/* ---- classes ---- */

/* Files that cannot be read are named when their part is opened. */
static lam_status add_object_names(const char *path, const struct name *name, struct names *classes) {
    if (!lam_path_stays_inside(name->text)) return LAM_OK;
    char *xml = lam_format("%s/Annotations/%s.xml", path, name->text);
    if (!xml) return lam_no_memory();
    struct lam_voc_annotation annotation = {0};
    lam_status status = lam_voc_read(xml, &annotation);
    free(xml);
    if (status != LAM_OK) return status == LAM_ERR_NO_MEMORY ? status : LAM_OK;
    for (int i = 0; i < annotation.count && status == LAM_OK; i++)
        status = add_name(classes, annotation.objects[i].name, strlen(annotation.objects[i].name), 0);
    lam_voc_free(&annotation);
    if (status != LAM_OK || classes->count <= LAM_MAX_CLASSES) return status;
    sort_once(classes);
    if (classes->count <= LAM_MAX_CLASSES) return LAM_OK;
    return lam_fail(LAM_ERR_FORMAT, "%s: the annotations have more than %d names of classes", path,
                    LAM_MAX_CLASSES);
}

static lam_status add_list(const char *path, const char *part, struct names *names) {
    if (!has_list(path, part)) return LAM_OK;
    char *list = list_path(path, part);
    if (!list) return lam_no_memory();
    lam_status status = read_list(list, names);
    free(list);
    return status;
}

static lam_status collect_classes(const char *path, const struct lam_dataset *dataset, struct names *names,
                                  struct names *classes) {
    static const char *const parts[] = {"train", "val", "trainval", "test"};
    for (size_t i = 0; i < sizeof parts / sizeof parts[0]; i++) LAM_TRY(add_list(path, parts[i], names));
    if (dataset->part) LAM_TRY(add_list(path, dataset->part, names));
    sort_once(names);
    for (size_t i = 0; i < names->count; i++) LAM_TRY(add_object_names(path, &names->items[i], classes));
    sort_once(classes);
    return LAM_OK;
}

static lam_status use_classes(const struct names *classes, struct lam_dataset *dataset) {
    const char **texts = calloc(classes->count + 1, sizeof *texts);
    if (!texts) return lam_no_memory();
    for (size_t i = 0; i < classes->count; i++) texts[i] = classes->items[i].text;
    dataset->classes = (int)classes->count;
    lam_status status = classes->count ? lam_class_names_copy(dataset, texts) : LAM_OK;
    free(texts);
    return status;
}

static lam_status check_distinct(const char *path, const struct lam_dataset *dataset) {
    for (int i = 1; i < dataset->classes; i++)
        if (lam_class_find(dataset, dataset->class_names[i]) < i)
            return lam_fail(LAM_ERR_FORMAT, "%s/classes.txt: '%s' stands there twice", path,
                            dataset->class_names[i]);
    return LAM_OK;
}

static lam_status find_classes(const char *path, struct lam_dataset *dataset) {
    if (lam_folder_has(path, "classes.txt")) {
        LAM_TRY(lam_class_names_read(dataset, path, "classes.txt", NULL));
        return check_distinct(path, dataset);
    }
    struct names names = {0}, classes = {0};
    lam_status status = collect_classes(path, dataset, &names, &classes);
    if (status == LAM_OK) status = use_classes(&classes, dataset);
    free_names(&names);
    free_names(&classes);
    return status;
}

/* ---- images ---- */

static lam_status find_image(const char *path, const struct name *name, char **image, bool *found) {
    static const char *const endings[] = {"jpg", "jpeg", "png", "JPG", "JPEG", "PNG"};
    *found = false;
    for (size_t i = 0; i < sizeof endings / sizeof endings[0]; i++) {
        *image = lam_format("%s/JPEGImages/%s.%s", path, name->text, endings[i]);
        if (!*image) return lam_no_memory();
        *found = lam_path_exists(*image);
        if (*found) return LAM_OK;
        free(*image);
    }
    *image = lam_format("%s/JPEGImages/%s.jpg", path, name->text);
    return *image ? LAM_OK : lam_no_memory();
}

static lam_status add_object(const char *xml, const struct lam_voc_object *object,
                             const struct lam_dataset *dataset, struct lam_boxed_image *image) {
    struct lam_box box = {.label = lam_class_find(dataset, object->name), .difficult = object->difficult};
    if (box.label < 0)
        return lam_fail(LAM_ERR_FORMAT, "%s: line %lu: '%.60s' is not among the %d classes", xml,
                        object->line, object->name, dataset->classes);
    const double *in = object->corners;
    /* from pixels to corners, but for boxes of no size, which must not get one by that */
    double shift = in[0] < in[2] && in[1] < in[3] ? 1 : 0;
    double corners[4] = {in[0] - shift, in[1] - shift, in[2], in[3]};
    return lam_boxed_add_box(image, corners, &box);
}

static lam_status add_objects(const char *xml, const struct lam_dataset *dataset,
                              struct lam_boxed_image *image) {
    struct lam_voc_annotation annotation = {0};
    LAM_TRY(lam_voc_read(xml, &annotation));
    image->width = annotation.width;
    image->height = annotation.height;
    lam_status status = image->width && image->height ? LAM_OK : lam_boxed_measure(image);
    for (int i = 0; i < annotation.count && status == LAM_OK; i++)
        status = add_object(xml, &annotation.objects[i], dataset, image);
    lam_voc_free(&annotation);
    return status;
}

static lam_status check_name(const char *list, const struct name *name, const char *xml, bool found) {
    if (!lam_path_stays_inside(name->text))
        return lam_fail(LAM_ERR_FORMAT, "%s: line %d: '%.60s' is not the name of an image", list, name->line,
                        name->text);
    if (name->twice)
        return lam_fail(LAM_ERR_FORMAT, "%s: line %d: '%.60s' stands there twice", list, name->line,
                        name->text);
    if (!lam_path_exists(xml))
        return lam_fail(LAM_ERR_FORMAT, "%s: line %d: there is no Annotations/%s.xml", list, name->line,
                        name->text);
    if (!found)
        return lam_fail(LAM_ERR_FORMAT, "%s: line %d: there is no JPEGImages/%s with .jpg, .jpeg or .png",
                        list, name->line, name->text);
    return LAM_OK;
}

static lam_status add_image(const char *path, const char *list, const struct name *name,
                            const struct lam_dataset *dataset, struct lam_boxed *boxed) {
    char *file, *xml;
    bool found;
    struct lam_boxed_image *image;
    LAM_TRY(find_image(path, name, &file, &found));
    LAM_TRY(lam_boxed_add(boxed, file, &image));
    xml = lam_format("%s/Annotations/%s.xml", path, name->text);
    if (!xml) return lam_no_memory();
    lam_status status = check_name(list, name, xml, found);
    if (status == LAM_OK) status = add_objects(xml, dataset, image);
    if (status != LAM_OK) status = lam_boxed_blame(image, status);
    free(xml);
    return status;
}

static lam_status add_images(const char *path, const char *list, const struct lam_dataset *dataset,
                             struct lam_boxed *boxed) {
    struct names names = {0};
    lam_status status = read_list(list, &names);
    if (status == LAM_OK && names.count == 0) status = lam_fail(LAM_ERR_FORMAT, "%s: names no image", list);
    mark_repeated(&names);
    for (size_t i = 0; i < names.count && status == LAM_OK; i++)
        status = add_image(path, list, &names.items[i], dataset, boxed);
    free_names(&names);
    return status;
}

static lam_status fill_in(const char *path, const char *list, const struct lam_dataset_options *options,
                          struct lam_dataset *dataset) {
    LAM_TRY(find_classes(path, dataset));
    struct lam_boxed *boxed = lam_boxed_new(path);
    if (!boxed) return LAM_ERR_NO_MEMORY;
    lam_status status = add_images(path, list, dataset, boxed);
    if (status != LAM_OK) {
        lam_boxed_free(boxed);
        return status;
    }
    LAM_TRY(lam_boxed_finish(boxed, options, dataset));
    if (dataset->classes > 0) return LAM_OK;
    return lam_fail(LAM_ERR_FORMAT, "%s: no annotation has an object, so there are no classes", path);
}

static lam_status open_voc(const char *path, enum lam_split split, const struct lam_dataset_options *options,
                           struct lam_dataset *dataset) {
    char *list = NULL;
    lam_status status = find_list(path, split, dataset, &list);
    if (status == LAM_OK) status = fill_in(path, list, options, dataset);
    free(list);
    return status;
}

const struct lam_dataset_format lam_format_voc = {
    .name = "voc",
    .help = "a folder with JPEGImages, Annotations and ImageSets/Main (PASCAL VOC); #PART names a list",
    .needs_path = true,
    .takes_part = true,
    .open = open_voc,
    .close = lam_boxed_close,
    .read = lam_boxed_read,
    .describe = lam_boxed_describe,
    .hash = lam_boxed_hash,
    .read_boxes = lam_boxed_read_boxes,
    .count_boxes = lam_boxed_count,
};
