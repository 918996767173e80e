/* PASCAL VOC sets: parts, classes, boxes, and everything that can be wrong with them. */
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
#include "unit/tiny_jpeg.h"

static void write_text(const char *folder, const char *name, const char *text) {
    write_file(folder, name, text, strlen(text));
}

static void write_xml(const char *folder, const char *name, const char *text) {
    char file[128];
    snprintf(file, sizeof file, "Annotations/%s.xml", name);
    write_text(folder, file, text);
}

static void write_list(const char *folder, const char *part, const char *text) {
    char file[128];
    snprintf(file, sizeof file, "ImageSets/Main/%s.txt", part);
    write_text(folder, file, text);
}

static void write_image(const char *folder, const char *name) {
    char file[128];
    snprintf(file, sizeof file, "JPEGImages/%s.png", name);
    write_picture(folder, file, 40, 30);
}

#define SIZE "<size><width>40</width><height>30</height><depth>3</depth></size>"
#define OBJECT(name, x0, y0, x1, y1)                                                                         \
    "<object><name>" name "</name><bndbox><xmin>" #x0 "</xmin><ymin>" #y0 "</ymin><xmax>" #x1                \
    "</xmax><ymax>" #y1 "</ymax></bndbox></object>"
#define XML(inside) "<annotation>\n" SIZE "\n" inside "\n</annotation>\n"

/* Two images with boxes and one without. */
static char *small_set(void) {
    char *folder = make_folder();
    static const char *const names[] = {"a", "b", "c"};
    for (int i = 0; i < 3; i++) write_image(folder, names[i]);
    write_xml(folder, "a", XML(OBJECT("dog", 1, 1, 40, 30) OBJECT("cat", 11, 6, 20, 25)));
    write_xml(folder, "b", XML(OBJECT("dog", 3.5, 4, 7.25, 9)));
    write_xml(folder, "c", XML(""));
    write_list(folder, "train", "a\nb\nc\n");
    return folder;
}

static void boxes_become_corners(void **state) {
    (void)state;
    char *folder = small_set();
    struct lam_dataset *set = open_boxes("voc", folder, LAM_SPLIT_TRAIN, false);
    assert_int_equal(set->count, 3);
    assert_int_equal(set->classes, 2);
    assert_string_equal(set->class_names[0], "cat");
    assert_string_equal(set->class_names[1], "dog");
    assert_int_equal(set->width, 40);
    assert_int_equal(set->height, 30);
    assert_int_equal(set->channels, 3);
    assert_true(set->mean[0] > 0 && set->deviation[0] > 0);
    assert_null(set->category_ids);
    assert_counts(set, 3, 0, 0, 0, 0);
    struct lam_sample sample = {0};
    read_sample(set, 0, &sample);
    assert_int_equal(sample.box_count, 2);
    assert_box(&sample, 0, 1, 0, 0, 40, 30); /* the whole image */
    assert_box(&sample, 1, 0, 10, 5, 20, 25);
    assert_int_equal(sample.boxes[0].area, 0);
    read_sample(set, 1, &sample);
    assert_int_equal(sample.box_count, 1);
    assert_int_equal(sample.image_id, 1);
    assert_box(&sample, 0, 1, 2.5, 3, 7.25, 9);
    struct lam_box *memory = sample.boxes;
    read_sample(set, 2, &sample); /* background */
    assert_int_equal(sample.box_count, 0);
    assert_ptr_equal(sample.boxes, memory);
    read_sample(set, 0, &sample);
    assert_ptr_equal(sample.boxes, memory); /* room for two was there */
    lam_sample_free(&sample);
    assert_boxes_agree(set);
    char text[512];
    assert_non_null(strstr(lam_dataset_describe(set, 1, text, sizeof text), "JPEGImages/b.png"));
    lam_dataset_close(set);
    remove_folder(folder);
}

/* Every element in its place: parts have names and boxes of their own, and there is more than we know of. */
static void the_xml_of_the_challenge(void **state) {
    (void)state;
    char *folder = small_set();
    write_xml(
        folder, "a",
        "<?xml version=\"1.0\"?>\n<!-- by hand -->\n<annotation verified=\"yes\">\n<folder>VOC</folder>\n"
        "<filename>elsewhere.jpg</filename>\n<size>\n <width>\n40 </width><height>30</height></size>\n"
        "<object><difficult>1</difficult><name> dog &amp; cat\n</name><part><name>head</name><bndbox>"
        "<xmin>1</xmin><ymin>1</ymin><xmax>2</xmax><ymax>2</ymax></bndbox></part>"
        "<bndbox><xmax> 9 </xmax><xmin>2</xmin><ymin>3</ymin><ymax>+1e1</ymax></bndbox>"
        "<bnd><xmin>x</xmin></bnd></object>\n"
        "<object><name>cat</name><difficult/><bndbox><xmin>2</xmin><ymin>3</ymin><xmax>4</xmax>"
        "<ymax>5</ymax></bndbox></object></annotation>");
    struct lam_dataset *set = open_boxes("voc", folder, LAM_SPLIT_TRAIN, false);
    assert_int_equal(set->classes, 3);
    assert_string_equal(set->class_names[2], "dog & cat");
    struct lam_sample sample = {0};
    read_sample(set, 0, &sample);
    assert_int_equal(sample.box_count, 2);
    assert_box(&sample, 0, 2, 1, 2, 9, 10);
    assert_true(sample.boxes[0].difficult && !sample.boxes[1].difficult && !sample.boxes[0].crowd);
    lam_sample_free(&sample);
    lam_dataset_close(set);
    remove_folder(folder);
}

static void useless_boxes_are_counted(void **state) {
    (void)state;
    char *folder = small_set();
    write_xml(folder, "a",
              XML(OBJECT("dog", 5, 5, 5, 9) OBJECT("dog", 5, 9, 8, 9) OBJECT("dog", 8, 5, 5, 9)
                      OBJECT("dog", 41, 1, 50, 9) OBJECT("dog", 1, 31, 9, 99) OBJECT("dog", -9, 1, 0, 9)
                          OBJECT("dog", 0, -5, 12, 10) OBJECT("dog", 30, 20, 1e300, 31)));
    struct lam_dataset *set = open_boxes("voc", folder, LAM_SPLIT_TRAIN, false);
    assert_counts(set, 3, 2, 3, 3, 0);
    struct lam_sample sample = {0};
    read_sample(set, 0, &sample);
    assert_int_equal(sample.box_count, 2);
    assert_box(&sample, 0, 0, 0, 0, 12, 10);
    assert_box(&sample, 1, 0, 29, 19, 40, 30);
    lam_sample_free(&sample);
    assert_boxes_agree(set);
    struct reports reports;
    check_set(set, &reports); /* not a reason to call a sample bad */
    assert_int_equal(reports.count, 0);
    lam_dataset_close(set);
    remove_folder(folder);
}

static int64_t count_of(const char *where, enum lam_split split, bool *own_val) {
    struct lam_dataset *set = open_boxes("voc", where, split, false);
    int64_t count = set->count;
    if (own_val) *own_val = set->has_own_val;
    lam_dataset_close(set);
    return count;
}

static void parts_by_their_lists(void **state) {
    (void)state;
    char *folder = small_set(), where[256];
    bool own;
    assert_int_equal(count_of(folder, LAM_SPLIT_TRAIN, &own), 3);
    assert_false(own);
    refuses_boxes("voc", folder, LAM_SPLIT_VAL, LAM_ERR_NOT_FOUND, "has no ImageSets/Main/val.txt");
    write_list(folder, "val", " a \r\n\r\nb");
    write_list(folder, "trainval", "c\n");
    assert_int_equal(count_of(folder, LAM_SPLIT_TRAIN, &own), 3);
    assert_true(own);
    assert_int_equal(count_of(folder, LAM_SPLIT_VAL, NULL), 2);
    write_list(folder, "test", "b\n");
    assert_int_equal(count_of(folder, LAM_SPLIT_TRAIN, NULL), 1); /* trainval */
    assert_int_equal(count_of(folder, LAM_SPLIT_VAL, NULL), 1);
    snprintf(where, sizeof where, "%s#val", folder);
    assert_int_equal(count_of(where, LAM_SPLIT_TRAIN, &own), 2);
    assert_false(own); /* a part that was named is all there is */
    assert_int_equal(count_of(where, LAM_SPLIT_VAL, NULL), 2);
    snprintf(where, sizeof where, "%s#fold1", folder);
    refuses_boxes("voc", where, LAM_SPLIT_TRAIN, LAM_ERR_NOT_FOUND, "has no ImageSets/Main/fold1.txt");
    snprintf(where, sizeof where, "%s#../x", folder);
    refuses_boxes("voc", where, LAM_SPLIT_TRAIN, LAM_ERR_INVALID, "#../x: a part is the name of a list");
    snprintf(where, sizeof where, "%s#", folder);
    refuses_boxes("voc", where, LAM_SPLIT_TRAIN, LAM_ERR_INVALID, "no part is named");
    refuses_boxes("voc", "/nonexistent#val", LAM_SPLIT_TRAIN, LAM_ERR_NOT_FOUND,
                  "/nonexistent: does not exist");
    remove_folder(folder);
}

static void a_folder_may_have_a_mark_in_its_name(void **state) {
    (void)state;
    char *folder = make_folder(), where[512];
    write_image(folder, "x"); /* makes JPEGImages in the outer folder, which nobody looks at */
    char *inner = lam_format("%s/set#2", folder);
    write_image(inner, "a");
    write_xml(inner, "a", XML(OBJECT("dog", 1, 1, 4, 3)));
    write_list(inner, "train", "a\n");
    assert_int_equal(count_of(inner, LAM_SPLIT_TRAIN, NULL), 1);
    snprintf(where, sizeof where, "%s#train", inner);
    assert_int_equal(count_of(where, LAM_SPLIT_VAL, NULL), 1);
    free(inner);
    remove_folder(folder);
}

static void classes_may_stand_in_a_file(void **state) {
    (void)state;
    char *folder = small_set();
    write_text(folder, "classes.txt", "dog \r\n\nfish\r\ncat");
    struct lam_dataset *set = open_boxes("voc", folder, LAM_SPLIT_TRAIN, false);
    assert_int_equal(set->classes, 3);
    assert_string_equal(set->class_names[0], "dog");
    assert_string_equal(set->class_names[1], "fish");
    lam_dataset_close(set);
    write_text(folder, "classes.txt", "dog\nfish\n");
    refuses_boxes("voc", folder, LAM_SPLIT_TRAIN, LAM_ERR_FORMAT,
                  "Annotations/a.xml: line 3: 'cat' is not among the 2 classes");
    set = open_without_bad("voc", folder, 1);
    assert_int_equal(set->count, 2);
    assert_counts(set, 1, 0, 0, 0, 0);
    lam_dataset_close(set);
    write_text(folder, "classes.txt", "dog\ncat\ndog\n");
    refuses_boxes("voc", folder, LAM_SPLIT_TRAIN, LAM_ERR_FORMAT, "classes.txt: 'dog' stands there twice");
    write_text(folder, "classes.txt", "\n \n");
    refuses_boxes("voc", folder, LAM_SPLIT_TRAIN, LAM_ERR_FORMAT, "classes.txt: has 0 class names");
    remove_folder(folder);
}

/* The classes of a part are those of all parts. */
static void parts_agree_on_classes(void **state) {
    (void)state;
    char *folder = small_set();
    write_image(folder, "d");
    write_xml(folder, "d", XML(OBJECT("ape", 1, 1, 4, 4)));
    write_list(folder, "val", "d\n");
    for (int split = 0; split < 2; split++) {
        struct lam_dataset *set = open_boxes("voc", folder, split, false);
        assert_int_equal(set->classes, 3);
        assert_string_equal(set->class_names[0], "ape");
        lam_dataset_close(set);
    }
    write_list(folder, "train", "c\n");
    write_list(folder, "val", "c\n");
    refuses_boxes("voc", folder, LAM_SPLIT_TRAIN, LAM_ERR_FORMAT, "no annotation has an object");
    remove_folder(folder);
}

/* Sizes that are not told are those of the images; the ones that are told must be right. */
static void sizes_of_images(void **state) {
    (void)state;
    static const char *const untold[] = {"<annotation>" OBJECT("dog", 1, 1, 99, 5) "</annotation>",
                                         "<annotation><size><width>0</width><height>0</height></size>" OBJECT(
                                             "dog", 1, 1, 99, 5) "</annotation>"};
    char *folder = small_set();
    struct lam_sample sample = {0};
    for (int i = 0; i < 2; i++) {
        write_xml(folder, "a", untold[i]);
        struct lam_dataset *set = open_boxes("voc", folder, LAM_SPLIT_TRAIN, false);
        read_sample(set, 0, &sample);
        assert_box(&sample, 0, 0, 0, 0, 40, 5);
        assert_boxes_agree(set);
        lam_dataset_close(set);
    }
    write_picture(folder, "JPEGImages/b.png", 30, 40);
    struct lam_dataset *set = open_boxes("voc", folder, LAM_SPLIT_TRAIN, false);
    assert_int_equal(lam_dataset_read(set, 1, &sample), LAM_ERR_FORMAT);
    assert_text_says(lam_error_text(), "JPEGImages/b.png: is 30 x 40, but annotated as 40 x 30");
    struct reports reports;
    check_set(set, &reports);
    assert_int_equal(reports.count, 1);
    assert_text_says(reports.text[0], "1 |b.png | is 30 x 40");
    lam_dataset_close(set);
    set = open_without_bad("voc", folder, 1);
    assert_counts(set, 1, 1, 0, 0, 0); /* the box of the one left out is not counted */
    lam_dataset_close(set);
    lam_sample_free(&sample);
    remove_folder(folder);
}

static void what_can_be_wrong_with_an_annotation(void **state) {
    (void)state;
#define BOX(inside) XML("<object><name>dog</name><bndbox>\n" inside "</bndbox></object>")
    static const struct {
        const char *xml, *says;
    } cases[] = {
        {"", "a.xml: line 1, column 1: no element found"},
        {"\n\n<annotation>\n <object>", "a.xml: line 4, column 10: no element found"},
        {"<annotation>\n</object>", "a.xml: line 2, column 3: mismatched tag"},
        {"<annotation>\n &nbsp;</annotation>", "a.xml: line 2, column 2: undefined entity"},
        {"<annotation>\xff</annotation>", "a.xml: line 1|not well-formed"},
        {"not xml", "a.xml: line 1, column 1: syntax error"},
        {XML("") "<annotation/>", "a.xml: line 5, column 1: junk after document element"},
        {"\n<html><annotation/></html>", "a.xml: line 2: the file begins with <html>"},
        {BOX("<xmin>nan</xmin>"), "a.xml: line 4: xmin is 'nan', which is not a finite number"},
        {BOX("\n<ymax>-inf</ymax>"), "a.xml: line 5: ymax is '-inf'"},
        {BOX("<xmin>1e999</xmin>"), "line 4: xmin is '1e999', which is not a finite"},
        {BOX("<xmin>0x10</xmin>"), "line 4: xmin is '0x10'"},
        {BOX("<xmin>1 2</xmin>"), "line 4: xmin is '1 2'"},
        {BOX("<xmin></xmin>"), "line 4: xmin is ''"},
        {BOX("<xmin>one</xmin>"), "line 4: xmin is 'one'"},
        {BOX("<xmin>1</xmin><xmin>1</xmin>"), "line 4: <xmin> stands here a second time"},
        {BOX("<xmin>1</xmin><ymin>1</ymin><xmax>3</xmax>"),
         "line 4: the object that ends here has no <ymax>"},
        {BOX(""), "line 4: the object that ends here has no <xmin>"},
        {XML("<object>\n<name>dog</name>\n</object>"), "line 5: the object that ends here has no <bndbox>"},
        {XML("<object/>"), "line 3: the object that ends here has no <name>"},
        {XML("<object><name> </name></object>"), "line 3: the name of the object is empty"},
        {XML("<object><difficult>2</difficult></object>"), "line 3: difficult is '2', not 0 or 1"},
        {XML("<object><difficult>yes</difficult></object>"), "line 3: difficult is 'yes'"},
        {XML("<size/>"), "line 3: <size> stands here a second time"},
        {"<annotation><size><width>-4</width></size></annotation>", "line 1: the image's width is '-4'"},
        {"<annotation><size><width>4.5</width></size></annotation>", "line 1: the image's width is '4.5'"},
        {"<annotation><size><height>9999999999</height></size></annotation>", "height is '9999999999'"},
    };
    char *folder = small_set();
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        write_xml(folder, "a", cases[i].xml);
        refuses_boxes("voc", folder, LAM_SPLIT_TRAIN, LAM_ERR_FORMAT, cases[i].says);
        struct lam_dataset *set = open_without_bad("voc", folder, 1);
        struct reports reports;
        check_set(set, &reports);
        assert_int_equal(reports.count, 1);
        assert_text_says(reports.text[0], cases[i].says);
        lam_dataset_close(set);
    }
    char *text = lam_format("<annotation><object><name>%0*d</name></object></annotation>", 300, 7);
    write_xml(folder, "a", text);
    refuses_boxes("voc", folder, LAM_SPLIT_TRAIN, LAM_ERR_FORMAT, "line 1: <name> has more than 255 bytes");
    free(text);
    remove_folder(folder);
}

/* A truncated file is malformed wherever it ends. */
static void annotations_that_end_too_early(void **state) {
    (void)state;
    char *folder = small_set();
    static const char text[] = "<annotation>" SIZE OBJECT("dog", 1, 1, 4, 4) "</annotation>";
    for (size_t cut = 0; cut < sizeof text - 1; cut++) {
        write_file(folder, "Annotations/a.xml", text, cut);
        refuses_boxes("voc", folder, LAM_SPLIT_TRAIN, LAM_ERR_FORMAT, "Annotations/a.xml: line 1");
    }
    remove_folder(folder);
}

static void lists_that_name_what_is_not_there(void **state) {
    (void)state;
    char *folder = small_set();
    write_xml(folder, "noimage", XML(""));
    write_image(folder, "noxml");
    static const struct {
        const char *list, *says;
    } cases[] = {
        {"a\nb\n\nnoimage\n", "train.txt: line 4: there is no JPEGImages/noimage"},
        {"a\nb\nnoxml\n", "train.txt: line 3: there is no Annotations/noxml.xml"},
        {"a\nb\na\n", "train.txt: line 3: 'a' stands there twice"},
        {"a\n../b\nb\n", "train.txt: line 2: '../b' is not the name"},
        {"/a\na\nb\n", "train.txt: line 1: '/a' is not the name"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        write_list(folder, "train", cases[i].list);
        refuses_boxes("voc", folder, LAM_SPLIT_TRAIN, LAM_ERR_FORMAT, cases[i].says);
        struct lam_dataset *set = open_without_bad("voc", folder, 1);
        assert_int_equal(set->count, 2);
        assert_counts(set, 3, 0, 0, 0, 0);
        struct reports reports;
        check_set(set, &reports);
        assert_int_equal(reports.count, 1);
        assert_text_says(reports.text[0], cases[i].says);
        lam_dataset_close(set);
    }
    write_list(folder, "train", "\n\n");
    refuses_boxes("voc", folder, LAM_SPLIT_TRAIN, LAM_ERR_FORMAT, "train.txt: names no image");
    write_file(folder, "ImageSets/Main/train.txt", "a\n\0b\n", 5);
    refuses_boxes("voc", folder, LAM_SPLIT_TRAIN, LAM_ERR_FORMAT, "train.txt: byte 2 is 0");
    remove_folder(folder);
}

static void bad_pixels_are_found_by_reading(void **state) {
    (void)state;
    char *folder = small_set();
    char *path = lam_path_join(folder, "JPEGImages/b.png");
    remove(path);
    write_file(folder, "JPEGImages/b.jpg", jpeg_quadrants, sizeof jpeg_quadrants - 9);
    struct lam_dataset *set = open_boxes("voc", folder, LAM_SPLIT_TRAIN, false);
    struct lam_sample sample = {0};
    assert_int_equal(lam_dataset_read(set, 1, &sample), LAM_ERR_FORMAT);
    assert_text_says(lam_error_text(), "JPEGImages/b.jpg: JPEG: Premature end");
    lam_sample_free(&sample);
    lam_dataset_close(set);
    set = open_without_bad("voc", folder, 1);
    assert_counts(set, 2, 0, 0, 0, 0);
    assert_boxes_agree(set);
    lam_dataset_close(set);
    write_list(folder, "train", "b\n");
    struct lam_dataset_options options = {.skip_bad = true};
    char *text = lam_format("voc:%s", folder);
    assert_int_equal(lam_dataset_open(text, LAM_SPLIT_TRAIN, &options, &set), LAM_ERR_FORMAT);
    assert_text_says(lam_error_text(), "no sample of the data set can be read");
    free(text);
    free(path);
    remove_folder(folder);
}

static void the_hash_knows_the_boxes(void **state) {
    (void)state;
    char *folder = small_set(), *other = small_set();
    uint64_t hash = hash_of_boxes("voc", folder);
    assert_true(hash == hash_of_boxes("voc", other)); /* wherever the set lies */
    static const char *const changed[] = {
        XML(OBJECT("dog", 3.5, 4, 7.25, 10)), XML(OBJECT("cat", 3.5, 4, 7.25, 9)), XML(""),
        XML("<object><name>dog</name><difficult>1</difficult><bndbox><xmin>3.5</xmin><ymin>4</ymin>"
            "<xmax>7.25</xmax><ymax>9</ymax></bndbox></object>")};
    for (int i = 0; i < 4; i++) {
        write_xml(other, "b", changed[i]);
        assert_true(hash_of_boxes("voc", other) != hash);
    }
    remove_folder(folder);
    remove_folder(other);
}

static void the_shared_blood_cells(void **state) {
    (void)state;
    const char *shared = sample_data("bccd");
    if (!shared) skip();
    char *path = strdup(shared), where[4200];
    static const struct {
        const char *part;
        int images, boxes[3], degenerate; /* as the set's description has it, less the degenerate ones */
    } parts[] = {{"train", 205, {2382 - 1, 214, 209}, 1},
                 {"val", 87, {968 - 1, 87, 83}, 1},
                 {"test", 72, {805, 71, 69}, 0}};
    for (int p = 0; p < 3; p++) {
        snprintf(where, sizeof where, "%s#%s", path, parts[p].part);
        struct lam_dataset *set = open_boxes("voc", where, LAM_SPLIT_TRAIN, false);
        assert_int_equal(set->count, parts[p].images);
        assert_string_equal(set->class_names[0], "RBC");
        int found[3] = {0}, width, height;
        struct lam_sample sample = {0};
        for (int64_t i = 0; i < set->count; i++) {
            assert_int_equal(lam_dataset_read_boxes(set, i, &sample, &width, &height), LAM_OK);
            for (int b = 0; b < sample.box_count; b++) found[sample.boxes[b].label]++;
        }
        for (int c = 0; c < 3; c++) assert_int_equal(found[c], parts[p].boxes[c]);
        assert_counts(set, found[0] + found[1] + found[2], 0, parts[p].degenerate, 0, 0);
        if (p == 2) assert_boxes_agree(set);
        lam_sample_free(&sample);
        lam_dataset_close(set);
    }
    assert_int_equal(count_of(path, LAM_SPLIT_TRAIN, NULL), 205 + 87);
    assert_int_equal(count_of(path, LAM_SPLIT_VAL, NULL), 72);
    free(path);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(boxes_become_corners),
        cmocka_unit_test(the_xml_of_the_challenge),
        cmocka_unit_test(useless_boxes_are_counted),
        cmocka_unit_test(parts_by_their_lists),
        cmocka_unit_test(a_folder_may_have_a_mark_in_its_name),
        cmocka_unit_test(classes_may_stand_in_a_file),
        cmocka_unit_test(parts_agree_on_classes),
        cmocka_unit_test(sizes_of_images),
        cmocka_unit_test(what_can_be_wrong_with_an_annotation),
        cmocka_unit_test(annotations_that_end_too_early),
        cmocka_unit_test(lists_that_name_what_is_not_there),
        cmocka_unit_test(bad_pixels_are_found_by_reading),
        cmocka_unit_test(the_hash_knows_the_boxes),
        cmocka_unit_test(the_shared_blood_cells),
    };
    return cmocka_run_group_tests_name("voc", tests, NULL, NULL);
}
