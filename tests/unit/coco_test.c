/* COCO sets: which file and which images, ids and classes, boxes, and everything that can be wrong. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/files.h"
#include "unit/box_sets.h"
#include "unit/sample_files.h"

static void write_json(const char *folder, const char *name, const char *text) {
    write_file(folder, name, text, strlen(text));
}

#define TRAIN "annotations/instances_train.json"
#define CATEGORIES                                                                                           \
    "\"categories\": [{\"id\": 90, \"name\": \"dog\"}, {\"id\": 7, \"name\": \"cat\", \"x\": []}]"
#define IMAGE(id, name) "{\"id\": " #id ", \"file_name\": \"" name "\", \"width\": 40, \"height\": 30}"
#define IMAGES          "\"images\": [" IMAGE(502, "a.png") ", " IMAGE(9, "b.png") ", " IMAGE(-1, "deep/c.png") "]"
#define FIRST           "{\"id\": 1, \"image_id\": 502, \"category_id\": 7, \"bbox\": [1, 2.5, 10, 5]}"
#define SET(images, annotations)                                                                             \
    "{\"info\": {},\n " images ",\n \"annotations\": [" annotations "],\n " CATEGORIES "}\n"
#define WITH(annotation) SET(IMAGES, FIRST ", " annotation)

static void write_images(const char *folder, const char *where) {
    static const char *const names[] = {"a.png", "b.png", "deep/c.png"};
    char file[256];
    for (int i = 0; i < 3; i++) {
        snprintf(file, sizeof file, "%s/%s", where, names[i]);
        write_picture(folder, file, 40, 30);
    }
}

static char *small_set(void) {
    char *folder = make_folder();
    write_images(folder, "images");
    write_json(
        folder, TRAIN,
        WITH("{\"image_id\": 9, \"category_id\": 90, \"bbox\": [0, 0, 40, 30], \"iscrowd\": 1, \"area\": "
             "99.5, \"segmentation\": {\"counts\": [1, 2]}}, "
             "{\"id\": 3, \"image_id\": 502, \"category_id\": 90, \"bbox\": [3, 4, 5, 6], \"iscrowd\": 0}"));
    return folder;
}

static void boxes_and_ids(void **state) {
    (void)state;
    char *folder = small_set();
    struct lam_dataset *set = open_boxes("coco", folder, LAM_SPLIT_TRAIN, false);
    assert_int_equal(set->count, 3);
    assert_int_equal(set->classes, 2);
    assert_string_equal(set->class_names[0], "cat"); /* by id */
    assert_string_equal(set->class_names[1], "dog");
    assert_int_equal(set->category_ids[0], 7);
    assert_int_equal(set->category_ids[1], 90);
    assert_int_equal(set->width, 40);
    assert_false(set->has_own_val);
    assert_counts(set, 3, 0, 0, 0, 0);
    struct lam_sample sample = {0};
    read_sample(set, 0, &sample);
    assert_int_equal(sample.image_id, 502);
    assert_int_equal(sample.box_count, 2);
    assert_box(&sample, 0, 0, 1, 2.5, 11, 7.5);
    assert_box(&sample, 1, 1, 3, 4, 8, 10);
    assert_true(!sample.boxes[0].crowd && sample.boxes[0].area == 0);
    read_sample(set, 1, &sample);
    assert_int_equal(sample.image_id, 9);
    assert_int_equal(sample.box_count, 1);
    assert_box(&sample, 0, 1, 0, 0, 40, 30);
    assert_true(sample.boxes[0].crowd && sample.boxes[0].area == 99.5f && !sample.boxes[0].difficult);
    read_sample(set, 2, &sample); /* nothing in it */
    assert_int_equal(sample.image_id, -1);
    assert_int_equal(sample.box_count, 0);
    char text[512];
    assert_non_null(strstr(lam_dataset_describe(set, 2, text, sizeof text), "images/deep/c.png"));
    lam_sample_free(&sample);
    assert_boxes_agree(set);
    lam_dataset_close(set);
    remove_folder(folder);
}

static void useless_boxes_are_counted(void **state) {
    (void)state;
    char *folder = small_set();
#define OF_B(box) "{\"image_id\": 9, \"category_id\": 90, \"bbox\": [" box "]}"
    write_json(folder, TRAIN,
               WITH(OF_B("5, 5, 0, 9") "," OF_B("5, 5, 9, 0") "," OF_B("40, 1, 5, 5") "," OF_B(
                   "-7, -7, 7, 7") "," OF_B("-2, 3, 10, 99") "," OF_B("0.5, 0.25, 39.75, 2")));
    struct lam_dataset *set = open_boxes("coco", folder, LAM_SPLIT_TRAIN, false);
    assert_counts(set, 3, 2, 2, 2, 0);
    struct lam_sample sample = {0};
    read_sample(set, 1, &sample);
    assert_box(&sample, 0, 1, 0, 3, 8, 30);
    assert_box(&sample, 1, 1, .5, .25, 40, 2.25);
    lam_sample_free(&sample);
    assert_boxes_agree(set);
    lam_dataset_close(set);
    remove_folder(folder);
}

static void expect_images(const char *folder, const char *where, enum lam_split split) {
    struct lam_dataset *set = open_boxes("coco", folder, split, false);
    char text[512];
    assert_non_null(strstr(lam_dataset_describe(set, 0, text, sizeof text), where));
    struct lam_sample sample = {0};
    read_sample(set, 0, &sample);
    lam_sample_free(&sample);
    lam_dataset_close(set);
}

static void where_images_are_looked_for(void **state) {
    (void)state;
    static const char *const places[] = {"/annotations/", "/", "/images/", "/train2017/",
                                         "/images/train2017/"};
    char *folder = make_folder();
    write_json(folder, "annotations/instances_train2017.json", SET(IMAGES, FIRST));
    refuses_boxes("coco", folder, LAM_SPLIT_TRAIN, LAM_ERR_FORMAT,
                  "instances_train2017.json: image 502: there is no file 'a.png' in ");
    for (int i = 0; i < 5; i++) { /* each goes before those that are there already */
        char where[512];
        write_images(folder, places[i] + 1 - (places[i][1] == 0));
        snprintf(where, sizeof where, "%s%sa.png", folder, places[i]);
        expect_images(folder, where, LAM_SPLIT_TRAIN);
    }
    remove_folder(folder);
}

static void parts_by_their_files(void **state) {
    (void)state;
    char *folder = small_set(), where[512];
    refuses_boxes("coco", folder, LAM_SPLIT_VAL, LAM_ERR_NOT_FOUND,
                  "has no annotations/instances_val*.json; name another file behind a #");
    write_json(folder, "annotations/instances_val2017.json", SET("\"images\": [" IMAGE(3, "b.png") "]", ""));
    write_json(folder, "annotations/captions_train.json", "x");
    write_json(folder, "annotations/instances_trainer.txt", "x");
    struct lam_dataset *set = open_boxes("coco", folder, LAM_SPLIT_TRAIN, false);
    assert_true(set->has_own_val);
    lam_dataset_close(set);
    expect_images(folder, "/b.png", LAM_SPLIT_VAL);
    snprintf(where, sizeof where, "%s#annotations/instances_val2017.json", folder);
    for (int split = 0; split < 2; split++) {
        set = open_boxes("coco", where, split, false);
        assert_int_equal(set->count, 1);
        assert_false(set->has_own_val);
        lam_dataset_close(set);
    }
    write_json(folder, "annotations/instances_train2.json", "x");
    refuses_boxes("coco", folder, LAM_SPLIT_TRAIN, LAM_ERR_INVALID,
                  "has 2 files annotations/instances_train*.json; name one of them behind a #");
    snprintf(where, sizeof where, "%s#" TRAIN, folder);
    expect_images(where, "/a.png", LAM_SPLIT_TRAIN);
    snprintf(where, sizeof where, "%s#x.json", folder);
    refuses_boxes("coco", where, LAM_SPLIT_TRAIN, LAM_ERR_NOT_FOUND, "/x.json: there is no such file");
    snprintf(where, sizeof where, "%s#annotations", folder);
    refuses_boxes("coco", where, LAM_SPLIT_TRAIN, LAM_ERR_NOT_FOUND, "there is no such file");
    snprintf(where, sizeof where, "%s#../x.json", folder);
    refuses_boxes("coco", where, LAM_SPLIT_TRAIN, LAM_ERR_INVALID, "must be below the folder");
    remove_folder(folder);
    folder = make_folder();
    refuses_boxes("coco", folder, LAM_SPLIT_TRAIN, LAM_ERR_NOT_FOUND,
                  "has no annotations/instances_train*.json");
    remove_folder(folder);
}

/* Nothing can be left out of these. */
static void what_can_be_wrong_with_a_file(void **state) {
    (void)state;
    static const struct {
        const char *json, *says;
    } cases[] = {
        {"", TRAIN ": line 1, column 0: '[' or '{' expected near end of file"},
        {"{\"images\": [\n 1,\n]}", TRAIN ": line 3, column 1: unexpected token near ']'"},
        {"{\n \"images\": NaN}", "line 2, column 14: invalid token near 'NaN'"},
        {"{\"a\": 1e999}", "line 1, column 11: real number overflow"},
        {"{\"a\": 99999999999999999999}", "too big integer"},
        {"{\"a\": \"\xff\"}", "line 1|unable to decode byte 0xff"},
        {"{\"a\": 1,\n\"a\": 2}", "line 2, column 3: duplicate object key"},
        {"{} x", "line 1, column 4: end of file expected"},
        {"[]", TRAIN ": is not a JSON object"},
        {"{}", TRAIN ": has no 'categories'; is it an instances file?"},
        {"{\"categories\": {}}", "'categories' is not a list"},
        {"{\"categories\": []}", "has 0 categories, 1 to"},
        {"{\"categories\": [5]}", TRAIN ": category at place 0: is not an object"},
        {"{\"categories\": [{\"id\": 5}]}", "category 5: has no 'name'"},
        {"{\"categories\": [{\"id\": 5, \"name\": 6}]}", "category 5: 'name' is not a text"},
        {"{\"categories\": [{\"id\": 5, \"name\": \"\"}]}", "category 5: 'name' is empty"},
        {"{\"categories\": [{\"name\": \"x\"}]}", "category at place 0: has no 'id'"},
        {"{\"categories\": [{\"id\": \"5\"}]}", "category at place 0: 'id' is not an integer"},
        {"{\"categories\": [{\"id\": 5000000000}]}", "'id' is 5000000000, not in "},
        {"{\"categories\": [{\"id\": 5, \"name\": \"x\"}, {\"id\": 5, \"name\": \"y\"}]}",
         "category 5 is defined twice"},
        {"{" CATEGORIES "}", "has no 'images'"},
        {"{" CATEGORIES ", \"images\": 1}", "'images' is not a list"},
        {"{" CATEGORIES ", \"images\": []}", "lists no image"},
        {"{" CATEGORIES ", " IMAGES "}", "has no 'annotations'"},
        {"{" CATEGORIES ", " IMAGES ", \"annotations\": {}}", "'annotations' is not a list"},
    };
    char *folder = small_set();
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        write_json(folder, TRAIN, cases[i].json);
        refuses_boxes("coco", folder, LAM_SPLIT_TRAIN, LAM_ERR_FORMAT, cases[i].says);
        struct lam_dataset_options options = {.skip_bad = true};
        struct lam_dataset *set = NULL;
        char *text = lam_format("coco:%s", folder);
        assert_int_equal(lam_dataset_open(text, LAM_SPLIT_TRAIN, &options, &set), LAM_ERR_FORMAT);
        assert_null(set);
        free(text);
    }
    remove_folder(folder);
}

#define BOXED(box)  WITH("{\"id\": 77, \"image_id\": 9, \"category_id\": 90, \"bbox\": " box "}")
#define KEYED(keys) WITH("{\"id\": 77, \"image_id\": 9, \"bbox\": [1, 1, 2, 2], " keys "}")

/* An annotation that makes no sense takes its image with it. */
static void what_can_be_wrong_with_an_annotation(void **state) {
    (void)state;
    static const struct {
        const char *json, *says;
    } cases[] = {
        {KEYED("\"category_id\": 8"), "annotation 77: 'category_id' is 8, which is nowhere defined"},
        {KEYED("\"category_id\": \"dog\""), "annotation 77: 'category_id' is not an integer"},
        {KEYED("\"category_id\": 90.0"), "annotation 77: 'category_id' is not an integer"},
        {KEYED("\"x\": 1"), "annotation 77: has no 'category_id'"},
        {KEYED("\"category_id\": 90, \"iscrowd\": 2"), "annotation 77: 'iscrowd' is 2, not in 0..1"},
        {KEYED("\"category_id\": 90, \"iscrowd\": true"), "annotation 77: 'iscrowd' is not an integer"},
        {KEYED("\"category_id\": 90, \"area\": -1"), "annotation 77: 'area' is not a number from 0 up"},
        {KEYED("\"category_id\": 90, \"area\": 1e300"), "annotation 77: 'area' is not"},
        {KEYED("\"category_id\": 90, \"area\": null"), "annotation 77: 'area' is not"},
        {BOXED("[1, 2, -3, 4]"), "annotation 77: the width of 'bbox' is negative, -3"},
        {BOXED("[1, 2, 3, -0.5]"), "annotation 77: the height of 'bbox' is negative, -0.5"},
        {BOXED("[1, 2, 3]"), "annotation 77: 'bbox' is not a list of four numbers"},
        {BOXED("[1, 2, 3, 4, 5]"), "annotation 77: 'bbox' is not a list of four numbers"},
        {BOXED("{}"), "annotation 77: 'bbox' is not a list of four numbers"},
        {BOXED("[1, \"nan\", 3, 4]"), "annotation 77: the y of 'bbox' is no number"},
        {BOXED("[null, 2, 3, 4]"), "annotation 77: the x of 'bbox' is no number"},
        {WITH("{\"image_id\": 9, \"category_id\": 90}"), "annotation at place 1: has no 'bbox'"},
    };
    char *folder = small_set();
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        write_json(folder, TRAIN, cases[i].json);
        refuses_boxes("coco", folder, LAM_SPLIT_TRAIN, LAM_ERR_FORMAT, cases[i].says);
        refuses_boxes("coco", folder, LAM_SPLIT_TRAIN, LAM_ERR_FORMAT, TRAIN ": annotation ");
        struct lam_dataset *set = open_without_bad("coco", folder, 1);
        assert_int_equal(set->count, 2);
        assert_counts(set, 1, 0, 0, 0, 0);
        assert_boxes_agree(set);
        struct reports reports;
        check_set(set, &reports);
        assert_int_equal(reports.count, 1);
        assert_text_says(reports.text[0], cases[i].says);
        assert_text_says(reports.text[0], "1 |images/b.png | ");
        lam_dataset_close(set);
    }
    remove_folder(folder);
}

/* NaN is no JSON, though Python writes it: the place in the file is named. */
static void a_box_that_is_not_a_number(void **state) {
    (void)state;
    char *folder = small_set();
    write_json(folder, TRAIN, BOXED("[1, NaN, 3, 4]"));
    refuses_boxes("coco", folder, LAM_SPLIT_TRAIN, LAM_ERR_FORMAT, TRAIN ": line 3, column |'NaN'");
    write_json(folder, TRAIN, BOXED("[1, 2, Infinity, 4]"));
    refuses_boxes("coco", folder, LAM_SPLIT_TRAIN, LAM_ERR_FORMAT, TRAIN ": line 3, column |'Infinity'");
    remove_folder(folder);
}

static void boxes_of_no_image(void **state) {
    (void)state;
    static const struct {
        const char *json, *says;
    } cases[] = {
        {WITH("{\"id\": 77, \"image_id\": 10, \"category_id\": 90, \"bbox\": [1, 1, 2, 2]}"),
         "annotation 77: 'image_id' is 10, which is nowhere defined"},
        {WITH("{\"id\": 77, \"category_id\": 90}"), "annotation 77: has no 'image_id'"},
        {WITH("{\"image_id\": null}"), "annotation at place 1: 'image_id' is not an integer"},
        {WITH("[]"), "annotation at place 1: is not an object"},
    };
    char *folder = small_set();
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        write_json(folder, TRAIN, cases[i].json);
        refuses_boxes("coco", folder, LAM_SPLIT_TRAIN, LAM_ERR_FORMAT, cases[i].says);
        struct lam_dataset *set = open_without_bad("coco", folder, 0);
        assert_int_equal(set->count, 3);
        assert_counts(set, 1, 0, 0, 0, 1);
        struct reports reports;
        check_set(set, &reports);
        assert_int_equal(reports.count, 1);
        assert_text_says(reports.text[0], cases[i].says);
        assert_text_says(reports.text[0], "-1 |" TRAIN " | annotation ");
        lam_dataset_close(set);
    }
    remove_folder(folder);
}

#define SECOND(image) SET("\"images\": [" IMAGE(502, "a.png") ", " image "]", FIRST)

static void what_can_be_wrong_with_an_image(void **state) {
    (void)state;
    static const struct {
        const char *json, *says;
    } cases[] = {
        {SECOND("7"), "image at place 1: is not an object"},
        {SECOND("{\"file_name\": \"b.png\"}"), "image at place 1: has no 'id'"},
        {SECOND("{\"id\": \"9\", \"file_name\": \"b.png\"}"), "image at place 1: 'id' is not an integer"},
        {SECOND("{\"id\": 9}"), "image 9: has no 'file_name'"},
        {SECOND("{\"id\": 9, \"file_name\": 5}"), "image 9: 'file_name' is not a text"},
        {SECOND("{\"id\": 9, \"file_name\": \"\"}"), "image 9: 'file_name' is empty"},
        {SECOND("{\"id\": 9, \"file_name\": \"x.png\"}"), "image 9: there is no file 'x.png'"},
        {SECOND("{\"id\": 9, \"file_name\": \"deep\"}"), "image 9: there is no file 'deep'"},
        {SECOND("{\"id\": 9, \"file_name\": \"../x.png\"}"),
         "image 9: 'file_name' is '../x.png', which is not below"},
        {SECOND("{\"id\": 9, \"file_name\": \"/etc/x.png\"}"), "'/etc/x.png', which is not below"},
        {SECOND("{\"id\": 9, \"file_name\": \"b.png\", \"width\": 0}"), "image 9: 'width' is 0, not in 1.."},
        {SECOND("{\"id\": 9, \"file_name\": \"b.png\", \"height\": \"30\"}"),
         "image 9: 'height' is not an integer"},
    };
    char *folder = small_set();
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        write_json(folder, TRAIN, cases[i].json);
        refuses_boxes("coco", folder, LAM_SPLIT_TRAIN, LAM_ERR_FORMAT, cases[i].says);
        struct lam_dataset *set = open_without_bad("coco", folder, 1);
        assert_int_equal(set->count, 1);
        assert_counts(set, 1, 0, 0, 0, 0);
        struct reports reports;
        check_set(set, &reports);
        assert_int_equal(reports.count, 1);
        assert_text_says(reports.text[0], cases[i].says);
        lam_dataset_close(set);
    }
    remove_folder(folder);
}

/* The annotations of an image that cannot be used are not strays. */
static void annotations_of_a_bad_image(void **state) {
    (void)state;
    char *folder = small_set();
    write_json(folder, TRAIN, SET("\"images\": [" IMAGE(502, "gone.png") ", " IMAGE(9, "b.png") "]", FIRST));
    struct lam_dataset *set = open_without_bad("coco", folder, 1);
    assert_counts(set, 0, 0, 0, 0, 0);
    lam_dataset_close(set);
    remove_folder(folder);
}

static void an_image_that_is_listed_twice(void **state) {
    (void)state;
    char *folder = small_set();
    write_json(
        folder, TRAIN,
        SET("\"images\": [" IMAGE(502, "a.png") ", " IMAGE(9, "b.png") ", " IMAGE(502, "deep/c.png") "]",
            FIRST));
    refuses_boxes("coco", folder, LAM_SPLIT_TRAIN, LAM_ERR_FORMAT, TRAIN ": image 502 is listed twice");
    struct lam_dataset *set =
        open_without_bad("coco", folder, 2); /* whose annotations they are is not known */
    assert_counts(set, 0, 0, 0, 0, 0);
    struct lam_sample sample = {0};
    read_sample(set, 0, &sample);
    assert_int_equal(sample.image_id, 9);
    lam_sample_free(&sample);
    lam_dataset_close(set);
    remove_folder(folder);
}

static void sizes_of_images(void **state) {
    (void)state;
    char *folder = small_set();
    write_json(folder, TRAIN,
               SET("\"images\": [{\"id\": 502, \"file_name\": \"a.png\"}, "
                   "{\"id\": 9, \"file_name\": \"b.png\", \"width\": 30, \"height\": 40}]",
                   FIRST));
    struct lam_dataset *set = open_boxes("coco", folder, LAM_SPLIT_TRAIN, false);
    assert_int_equal(set->width, 0); /* they differ */
    struct lam_sample sample = {0};
    read_sample(set, 0, &sample);
    assert_int_equal(lam_dataset_read(set, 1, &sample), LAM_ERR_FORMAT);
    assert_text_says(lam_error_text(), "images/b.png: is 40 x 30, but annotated as 30 x 40");
    lam_sample_free(&sample);
    lam_dataset_close(set);
    lam_dataset_close(open_without_bad("coco", folder, 1));
    remove_folder(folder);
}

/* A truncated file is malformed wherever it ends. */
static void files_that_end_too_early(void **state) {
    (void)state;
    char *folder = small_set();
    static const char text[] = SET(IMAGES, FIRST);
    for (size_t cut = 0; cut < sizeof text - 3; cut++) {
        write_file(folder, TRAIN, text, cut);
        refuses_boxes("coco", folder, LAM_SPLIT_TRAIN, LAM_ERR_FORMAT, TRAIN ": line ");
    }
    remove_folder(folder);
}

static void the_hash_knows_the_boxes(void **state) {
    (void)state;
    char *folder = small_set(), *other = small_set();
    uint64_t hash = hash_of_boxes("coco", folder);
    assert_true(hash == hash_of_boxes("coco", other));
    static const char *const changed[] = {
        SET(IMAGES, FIRST),
        BOXED("[1, 2, 3, 4]"),
        BOXED("[1, 2, 3, 5]"),
        KEYED("\"category_id\": 7"),
        KEYED("\"category_id\": 90"),
        KEYED("\"category_id\": 90, \"iscrowd\": 1"),
        KEYED("\"category_id\": 90, \"area\": 3"),
        SET("\"images\": [" IMAGE(502, "a.png") ", " IMAGE(10, "b.png") ", " IMAGE(-1, "deep/c.png") "]",
            FIRST)};
    enum { CHANGES = sizeof changed / sizeof changed[0] };
    uint64_t found[CHANGES + 1] = {hash};
    for (int i = 0; i < CHANGES; i++) {
        write_json(other, TRAIN, changed[i]);
        found[i + 1] = hash_of_boxes("coco", other);
        for (int k = 0; k <= i; k++) assert_true(found[k] != found[i + 1]);
    }
    remove_folder(folder);
    remove_folder(other);
}

static void the_shared_coco(void **state) {
    (void)state;
    const char *shared = sample_data("coco-mini");
    if (!shared) skip();
    char *path = strdup(shared);
    static const struct {
        int images, boxes, crowds, classes, empty;
    } parts[] = {{128, 939, 10, 71, 2}, {80, 815, 11, 80, 0}};
    for (int split = 0; split < 2; split++) {
        struct lam_dataset *set = open_boxes("coco", path, split, false);
        assert_int_equal(set->count, parts[split].images);
        assert_int_equal(set->classes, 80);
        assert_true(set->has_own_val);
        assert_int_equal(set->category_ids[0], 1);
        assert_int_equal(set->category_ids[79], 90);
        assert_string_equal(set->class_names[79], "toothbrush");
        int crowds = 0, empty = 0, classes = 0, found[80] = {0}, width, height;
        struct lam_sample sample = {0};
        for (int64_t i = 0; i < set->count; i++) {
            assert_int_equal(lam_dataset_read_boxes(set, i, &sample, &width, &height), LAM_OK);
            empty += sample.box_count == 0;
            for (int b = 0; b < sample.box_count; b++) {
                classes += found[sample.boxes[b].label]++ == 0;
                crowds += sample.boxes[b].crowd;
                assert_true(sample.boxes[b].area > 0);
            }
        }
        assert_counts(set, parts[split].boxes, 0, 0, 0, 0);
        assert_int_equal(crowds, parts[split].crowds);
        assert_int_equal(classes, parts[split].classes);
        assert_int_equal(empty, parts[split].empty);
        if (split) assert_boxes_agree(set);
        lam_sample_free(&sample);
        lam_dataset_close(set);
    }
    free(path);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(boxes_and_ids),
        cmocka_unit_test(useless_boxes_are_counted),
        cmocka_unit_test(where_images_are_looked_for),
        cmocka_unit_test(parts_by_their_files),
        cmocka_unit_test(what_can_be_wrong_with_a_file),
        cmocka_unit_test(what_can_be_wrong_with_an_annotation),
        cmocka_unit_test(a_box_that_is_not_a_number),
        cmocka_unit_test(boxes_of_no_image),
        cmocka_unit_test(what_can_be_wrong_with_an_image),
        cmocka_unit_test(annotations_of_a_bad_image),
        cmocka_unit_test(an_image_that_is_listed_twice),
        cmocka_unit_test(sizes_of_images),
        cmocka_unit_test(files_that_end_too_early),
        cmocka_unit_test(the_hash_knows_the_boxes),
        cmocka_unit_test(the_shared_coco),
    };
    return cmocka_run_group_tests_name("coco", tests, NULL, NULL);
}
