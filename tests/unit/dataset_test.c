/* Data sets behind their interface: what --data texts mean, folders of images, the generated shapes, bad
 * samples, normalisation, and reading from many threads. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <math.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/files.h"
#include "data/dataset.h"
#include "data/shapes.h"
#include "unit/sample_files.h"
#include "unit/tiny_jpeg.h"

static void assert_says(const char *part) {
    if (!strstr(lam_error_text(), part)) fail_msg("'%s' does not say '%s'", lam_error_text(), part);
}

static struct lam_dataset *open_text(const char *text, enum lam_split split,
                                     const struct lam_dataset_options *options) {
    struct lam_dataset *set = NULL;
    if (lam_dataset_open(text, split, options, &set) != LAM_OK) fail_msg("%s: %s", text, lam_error_text());
    return set;
}

static struct lam_dataset *open_folder(const char *folder, enum lam_split split,
                                       const struct lam_dataset_options *options) {
    char *text = lam_format("folder:%s", folder);
    struct lam_dataset *set = open_text(text, split, options);
    free(text);
    return set;
}

static void refuses(const char *text, enum lam_split split, const struct lam_dataset_options *options,
                    lam_status expected, const char *says) {
    struct lam_dataset *set = NULL;
    lam_status status = lam_dataset_open(text, split, options, &set);
    assert_null(set);
    if (status != expected)
        fail_msg("'%s': %s, not %s", text, lam_status_name(status), lam_status_name(expected));
    assert_says(says);
}

/* ---- texts ---- */

static void texts_that_name_nothing(void **state) {
    (void)state;
    static const struct {
        const char *text;
        lam_status status;
        const char *says;
    } cases[] = {{"cifar1O:/tmp", LAM_ERR_NOT_FOUND, "did you mean 'cifar10'?"},
                 {"shape", LAM_ERR_NOT_FOUND, "did you mean 'shapes'?"},
                 {"imagenet:/tmp", LAM_ERR_NOT_FOUND, "there are shapes, cifar10, cifar100, svhn"},
                 {"", LAM_ERR_NOT_FOUND, "there is no data format ''"},
                 {"/tmp", LAM_ERR_NOT_FOUND, "write FORMAT:PATH"},
                 {"cifar10", LAM_ERR_INVALID, "needs a path; write cifar10:PATH"},
                 {"idx:", LAM_ERR_INVALID, "needs a path"},
                 {"folder:/nonexistent/x", LAM_ERR_NOT_FOUND, "/nonexistent/x: does not exist"},
                 {"stl10:/dev/null", LAM_ERR_INVALID, "/dev/null: is not a folder"},
                 {"voc", LAM_ERR_INVALID, "needs a path; write voc:PATH"},
                 {"folder:/tmp#x", LAM_ERR_NOT_FOUND, "/tmp#x: does not exist"},
                 {"shapes:/tmp", LAM_ERR_INVALID, "takes no path"}};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
        refuses(cases[i].text, LAM_SPLIT_TRAIN, NULL, cases[i].status, cases[i].says);
}

static void every_format_explains_itself(void **state) {
    (void)state;
    const struct lam_dataset_format *const *formats = lam_dataset_formats();
    int count = 0;
    for (; formats[count]; count++) {
        assert_true(strlen(formats[count]->name) > 0 && strlen(formats[count]->help) > 10);
        for (int k = 0; k < count; k++) assert_string_not_equal(formats[k]->name, formats[count]->name);
    }
    assert_true(count >= 9);
}

/* ---- shapes ---- */

static struct lam_sample shape(uint64_t seed, enum lam_split split, int64_t index, int size) {
    struct lam_dataset_options options = {.seed = seed, .image_size = size};
    struct lam_dataset *set = open_text("shapes", split, &options);
    struct lam_sample sample = {0};
    if (lam_dataset_read(set, index, &sample) != LAM_OK) fail_msg("%s", lam_error_text());
    lam_dataset_close(set);
    return sample;
}

static bool same_pixels(const struct lam_sample *a, const struct lam_sample *b) {
    size_t bytes = (size_t)a->image.width * (size_t)a->image.height * 3;
    return a->image.width == b->image.width && !memcmp(a->image.pixels, b->image.pixels, bytes);
}

static void a_shape_is_a_function_of_seed_split_and_index(void **state) {
    (void)state;
    struct lam_sample a = shape(1, LAM_SPLIT_TRAIN, 37, 32), again = shape(1, LAM_SPLIT_TRAIN, 37, 32);
    struct lam_sample others[] = {shape(2, LAM_SPLIT_TRAIN, 37, 32), shape(1, LAM_SPLIT_VAL, 37, 32),
                                  shape(1, LAM_SPLIT_TRAIN, 47, 32), shape(1, LAM_SPLIT_TRAIN, 37, 48)};
    assert_true(same_pixels(&a, &again));
    assert_int_equal(a.label, 7);
    for (int i = 0; i < 4; i++) {
        assert_int_equal(others[i].label, 7);
        assert_false(same_pixels(&a, &others[i]));
        lam_sample_free(&others[i]);
    }
    lam_sample_free(&a);
    lam_sample_free(&again);
}

static void shapes_are_balanced_and_sized_as_asked(void **state) {
    (void)state;
    struct lam_dataset_options options = {.seed = 3, .image_size = 40, .train_count = 55, .val_count = 20};
    struct lam_dataset *set = open_text("shapes", LAM_SPLIT_TRAIN, &options);
    assert_int_equal(set->count, 55);
    assert_int_equal(set->width, 40);
    assert_int_equal(set->classes, 10);
    assert_true(set->has_own_val);
    struct lam_sample sample = {0};
    int found[10] = {0};
    for (int64_t i = 0; i < 50; i++) {
        assert_int_equal(lam_dataset_read(set, i, &sample), LAM_OK);
        found[sample.label]++;
    }
    for (int c = 0; c < 10; c++) assert_int_equal(found[c], 5);
    lam_sample_free(&sample);
    lam_dataset_close(set);
    set = open_text("shapes", LAM_SPLIT_VAL, &options);
    assert_int_equal(set->count, 20);
    lam_dataset_close(set);
    static const struct lam_dataset_options wrong[] = {
        {.image_size = 8}, {.image_size = 5000}, {.train_count = -1}};
    static const char *const says[] = {"size of 8 is not in 16..", "size of 5000", "negative"};
    for (int i = 0; i < 3; i++) refuses("shapes", LAM_SPLIT_TRAIN, &wrong[i], LAM_ERR_INVALID, says[i]);
}

/* The normalisation that stands in the source is that of the pictures, and the classes cannot be told by it.
 */
static void the_mean_of_shapes_is_known(void **state) {
    (void)state;
    for (int content = LAM_CONTENT_LABELS; content <= LAM_CONTENT_BOXES; content++) {
        struct lam_dataset_options options = {.content = content, .seed = 11, .train_count = 2000};
        struct lam_dataset *set = open_text("shapes", LAM_SPLIT_TRAIN, &options);
        float mean[3], deviation[3];
        memcpy(mean, set->mean, sizeof mean);
        memcpy(deviation, set->deviation, sizeof deviation);
        assert_int_equal(lam_dataset_measure(set, 1000), LAM_OK);
        for (int c = 0; c < 3; c++) {
            assert_true(fabsf(set->mean[c] - mean[c]) < 0.02f);
            assert_true(fabsf(set->deviation[c] - deviation[c]) < 0.02f);
        }
        lam_dataset_close(set);
    }
}

/* ---- shapes with boxes ---- */

static struct lam_dataset *open_scenes(uint64_t seed, enum lam_split split, int size) {
    struct lam_dataset_options options = {.content = LAM_CONTENT_BOXES, .seed = seed, .image_size = size};
    return open_text("shapes", split, &options);
}

static void scenes_have_small_and_large_shapes(void **state) {
    (void)state;
    struct lam_dataset *set = open_scenes(5, LAM_SPLIT_TRAIN, 0);
    assert_true(set->has_boxes && set->has_own_val);
    assert_int_equal(set->count, 2000);
    assert_int_equal(set->width, 128);
    int shapes[8] = {0}, classes[10] = {0}, small = 0, large = 0, width, height;
    struct lam_sample sample = {0};
    int64_t kept = 0;
    for (int64_t i = 0; i < set->count; i++) {
        assert_int_equal(lam_dataset_read_boxes(set, i, &sample, &width, &height), LAM_OK);
        assert_int_equal(sample.image_id, i);
        assert_in_range(sample.box_count, 0, 6);
        shapes[sample.box_count]++;
        kept += sample.box_count;
        for (int b = 0; b < sample.box_count; b++) {
            const struct lam_box *box = &sample.boxes[b];
            float side = fmaxf(box->x1 - box->x0, box->y1 - box->y0);
            classes[box->label]++;
            small += side < 20;
            large += side > 60;
        }
    }
    assert_int_equal(set->counts.kept, kept);
    assert_in_range(shapes[0], 2000 / 32, 2000 / 10);
    for (int n = 1; n <= 6; n++) assert_in_range(shapes[n], 200, 450);
    for (int c = 0; c < 10; c++) assert_in_range(classes[c], kept / 14, kept / 7);
    assert_true(small > kept / 8 && large > kept / 20);
    lam_sample_free(&sample);
    lam_dataset_close(set);
    set = open_scenes(5, LAM_SPLIT_VAL, 0);
    assert_int_equal(set->count, 200);
    lam_dataset_close(set);
    struct lam_dataset_options tiny = {.content = LAM_CONTENT_BOXES, .image_size = 32};
    refuses("shapes", LAM_SPLIT_TRAIN, &tiny, LAM_ERR_INVALID, "size of 32 is not in 48..");
}

static bool same_boxes(const struct lam_sample *a, const struct lam_sample *b) {
    if (a->box_count != b->box_count) return false;
    for (int i = 0; i < a->box_count; i++) {
        const struct lam_box *p = &a->boxes[i], *q = &b->boxes[i];
        if (p->label != q->label || p->x0 != q->x0 || p->y0 != q->y0 || p->x1 != q->x1 || p->y1 != q->y1)
            return false;
    }
    return true;
}

static void a_scene_is_a_function_of_seed_split_and_index(void **state) {
    (void)state;
    static const struct {
        uint64_t seed;
        enum lam_split split;
        int64_t index;
        int size;
    } scenes[] = {{1, 0, 7, 96}, {1, 0, 7, 96}, {2, 0, 7, 96}, {1, 1, 7, 96}, {1, 0, 8, 96}, {1, 0, 7, 100}};
    struct lam_sample first = {0};
    for (int i = 0; i < 6; i++) {
        struct lam_sample sample = {0};
        struct lam_dataset *set = open_scenes(scenes[i].seed, scenes[i].split, scenes[i].size);
        if (scenes[i].index) assert_int_equal(lam_dataset_read(set, 0, &sample), LAM_OK); /* any order */
        assert_int_equal(lam_dataset_read(set, scenes[i].index, &sample), LAM_OK);
        assert_int_equal(sample.label, -1);
        lam_dataset_close(set);
        if (i == 0) {
            first = sample;
            continue;
        }
        assert_int_equal(same_boxes(&first, &sample), i == 1);
        assert_int_equal(same_pixels(&first, &sample), i == 1);
        lam_sample_free(&sample);
    }
    lam_sample_free(&first);
    struct lam_dataset *scene_set = open_scenes(1, LAM_SPLIT_TRAIN, 96);
    struct lam_dataset_options labels = {.seed = 1, .image_size = 96, .train_count = 2000};
    struct lam_dataset *label_set = open_text("shapes", LAM_SPLIT_TRAIN, &labels);
    assert_true(lam_dataset_hash(scene_set) != lam_dataset_hash(label_set));
    struct lam_sample sample = {0};
    int width, height;
    assert_int_equal(lam_dataset_read_boxes(label_set, 0, &sample, &width, &height), LAM_ERR_UNSUPPORTED);
    assert_says("has no boxes");
    lam_dataset_close(scene_set);
    lam_dataset_close(label_set);
}

/* A box touches its shape on all four sides, and has all of it: by drawing the shape alone. */
static void boxes_are_tight(void **state) {
    (void)state;
    for (int kind = 0; kind < LAM_SHAPE_KINDS; kind++)
        for (int i = 0; i < 12; i++) {
            struct lam_shape_place place = {.kind = kind,
                                            .x = 60.3f,
                                            .y = 58.9f,
                                            .radius = 8 + 4 * (float)i,
                                            .angle = 0.1f * (float)i - .6f,
                                            .colour = {1, 1, 1},
                                            .opacity = 1};
            struct lam_image image = {0};
            float box[4];
            assert_int_equal(lam_image_alloc(&image, 120, 120, 3), LAM_OK);
            memset(image.pixels, 0, 120 * 120 * 3);
            lam_shape_draw(&image, &place);
            lam_shape_extent(&place, box);
            int drawn[4] = {120, 120, -1, -1}; /* pixels that are covered half or more */
            for (int at = 0; at < 120 * 120; at++) {
                if (image.pixels[3 * at] < 128) continue;
                int x = at % 120, y = at / 120;
                drawn[0] = x < drawn[0] ? x : drawn[0];
                drawn[1] = y < drawn[1] ? y : drawn[1];
                drawn[2] = x + 1 > drawn[2] ? x + 1 : drawn[2];
                drawn[3] = y + 1 > drawn[3] ? y + 1 : drawn[3];
            }
            for (int k = 0; k < 4; k++) /* a thin point reaches further than its last full pixel */
                if (fabsf(box[k] - (float)drawn[k]) > 1.5f)
                    fail_msg("%s of radius %g: side %d at %g, drawn to %d", lam_shape_names[kind],
                             (double)place.radius, k, (double)box[k], drawn[k]);
            for (int k = 0; k < 2; k++) {
                assert_true(box[k] <= (float)drawn[k] + 0.5f);
                assert_true(box[k + 2] >= (float)drawn[k + 2] - 0.5f);
            }
            lam_image_free(&image);
        }
}

/* A linear model that sees every pixel: ridge regression by conjugate gradients on the normal equations. */
enum { LINEAR_TRAIN = 2000, LINEAR_TEST = 1000, FEATURES = 3073, LINEAR_CLASSES = 10 };

static float *pixels_of(const struct lam_dataset *set, int count, int *labels) {
    float *x = malloc(sizeof *x * (size_t)count * FEATURES);
    struct lam_sample sample = {0};
    for (int i = 0; i < count; i++) {
        assert_int_equal(lam_dataset_read(set, i, &sample), LAM_OK);
        labels[i] = sample.label;
        float *row = x + (size_t)i * FEATURES;
        for (int k = 0; k < FEATURES - 1; k++) row[k] = (float)sample.image.pixels[k] / 255 - 0.4f;
        row[FEATURES - 1] = 1;
    }
    lam_sample_free(&sample);
    return x;
}

static float dot(const float *a, const float *b, int n) {
    float lanes[8] = {0}, sum = 0;
    int i = 0;
    for (; i + 8 <= n; i += 8)
        for (int k = 0; k < 8; k++) lanes[k] += a[i + k] * b[i + k];
    for (; i < n; i++) sum += a[i] * b[i];
    for (int k = 0; k < 8; k++) sum += lanes[k];
    return sum;
}

/* to = X' (X v) + ridge v */
static void normal_product(const float *x, const float *v, float ridge, float *to) {
    for (int k = 0; k < FEATURES; k++) to[k] = ridge * v[k];
    for (int i = 0; i < LINEAR_TRAIN; i++) {
        const float *row = x + (size_t)i * FEATURES;
        float value = dot(row, v, FEATURES);
        for (int k = 0; k < FEATURES; k++) to[k] += value * row[k];
    }
}

static void fit_class(const float *x, const int *labels, int class, float *w) {
    static float r[FEATURES], p[FEATURES], q[FEATURES];
    memset(w, 0, sizeof *w * FEATURES);
    memset(r, 0, sizeof r);
    for (int i = 0; i < LINEAR_TRAIN; i++) {
        const float *row = x + (size_t)i * FEATURES;
        float target = labels[i] == class ? 0.9f : -0.1f;
        for (int k = 0; k < FEATURES; k++) r[k] += target * row[k];
    }
    memcpy(p, r, sizeof p);
    float rr = dot(r, r, FEATURES);
    for (int step = 0; step < 8; step++) {
        normal_product(x, p, 300, q);
        float alpha = rr / dot(p, q, FEATURES);
        for (int k = 0; k < FEATURES; k++) {
            w[k] += alpha * p[k];
            r[k] -= alpha * q[k];
        }
        float next = dot(r, r, FEATURES);
        for (int k = 0; k < FEATURES; k++) p[k] = r[k] + next / rr * p[k];
        rr = next;
    }
}

static void a_linear_model_cannot_tell_shapes(void **state) {
    (void)state;
    struct lam_dataset_options options = {.seed = 1, .train_count = LINEAR_TRAIN, .val_count = LINEAR_TEST};
    struct lam_dataset *train = open_text("shapes", LAM_SPLIT_TRAIN, &options);
    struct lam_dataset *val = open_text("shapes", LAM_SPLIT_VAL, &options);
    static int labels[LINEAR_TRAIN], truth[LINEAR_TEST];
    static float w[LINEAR_CLASSES][FEATURES];
    float *x = pixels_of(train, LINEAR_TRAIN, labels), *y = pixels_of(val, LINEAR_TEST, truth);
    for (int c = 0; c < LINEAR_CLASSES; c++) fit_class(x, labels, c, w[c]);
    int right = 0;
    for (int i = 0; i < LINEAR_TEST; i++) {
        int best = 0;
        float score[LINEAR_CLASSES];
        for (int c = 0; c < LINEAR_CLASSES; c++) {
            score[c] = dot(y + (size_t)i * FEATURES, w[c], FEATURES);
            if (score[c] > score[best]) best = c;
        }
        right += best == truth[i];
    }
    printf("a linear model tells %.1f %% of the shapes\n", 100.0 * right / LINEAR_TEST);
    assert_in_range(right, LINEAR_TEST / 8,
                    LINEAR_TEST * 6 / 10); /* better than chance, or it did not learn */
    free(x);
    free(y);
    lam_dataset_close(train);
    lam_dataset_close(val);
}

/* ---- folders of images ---- */

/* A PNG of one colour, `value` in all channels. */
static void write_flat(const char *folder, const char *name, int side, uint8_t value) {
    struct lam_image image = {0};
    uint8_t *data;
    size_t size;
    assert_int_equal(lam_image_alloc(&image, side, side, 1), LAM_OK);
    memset(image.pixels, value, (size_t)side * (size_t)side);
    assert_int_equal(lam_image_encode_png(&image, &data, &size), LAM_OK);
    write_file(folder, name, data, size);
    free(data);
    lam_image_free(&image);
}

static void expect_flat(const struct lam_dataset *set, int64_t index, int label, int value,
                        const char *file) {
    struct lam_sample sample = {0};
    if (lam_dataset_read(set, index, &sample) != LAM_OK) fail_msg("%s", lam_error_text());
    assert_int_equal(sample.label, label);
    assert_int_equal(sample.image.channels, 3);
    assert_int_equal(sample.image.pixels[2], value);
    char text[512];
    lam_dataset_describe(set, index, text, sizeof text);
    if (!strstr(text, file)) fail_msg("%s is not %s", text, file);
    lam_sample_free(&sample);
}

static void classes_are_sorted_folders(void **state) {
    (void)state;
    char *folder = make_folder();
    write_flat(folder, "pear/2.PNG", 8, 30);
    write_flat(folder, "pear/10.png", 8, 20);
    write_flat(folder, "Zebra/deep/er/a.png", 8, 10);
    write_flat(folder, "apple/.hidden.png", 8, 99);
    write_flat(folder, ".cache/x.png", 8, 99);
    write_file(folder, "pear/notes.txt", "x", 1);
    write_file(folder, "pear/Photo.JPEG", jpeg_quadrants, sizeof jpeg_quadrants);
    write_file(folder, "classes.tsv", "x", 1);
    struct lam_dataset *set = open_folder(folder, LAM_SPLIT_TRAIN, NULL);
    assert_int_equal(set->classes, 3); /* one of them has no images */
    assert_string_equal(set->class_names[0], "Zebra");
    assert_string_equal(set->class_names[1], "apple");
    assert_string_equal(set->class_names[2], "pear");
    assert_int_equal(set->count, 4);
    assert_int_equal(set->channels, 3);
    assert_int_equal(set->width, 0); /* they differ */
    assert_false(set->has_own_val);
    expect_flat(set, 0, 0, 10, "/Zebra/deep/er/a.png");
    expect_flat(set, 1, 2, 20, "/pear/10.png");
    expect_flat(set, 2, 2, 30, "/pear/2.PNG");
    expect_flat(set, 3, 2, 0, "/pear/Photo.JPEG");
    lam_dataset_close(set);
    remove_folder(folder);
}

static void parts_agree_on_classes(void **state) {
    (void)state;
    static const char *const names[] = {"val", "valid", "test"};
    for (int k = 0; k < 3; k++) {
        char *folder = make_folder(), name[64];
        write_flat(folder, "train/a/1.png", 9, 1);
        write_flat(folder, "train/b/1.png", 9, 2);
        write_flat(folder, "train/c/1.png", 9, 3);
        char *text = lam_format("folder:%s", folder);
        refuses(text, LAM_SPLIT_VAL, NULL, LAM_ERR_NOT_FOUND, "has a train folder but no val");
        snprintf(name, sizeof name, "%s/c/1.png", names[k]);
        write_flat(folder, name, 9, 4);
        struct lam_dataset *set = open_folder(folder, LAM_SPLIT_TRAIN, NULL);
        assert_true(set->has_own_val);
        assert_int_equal(set->count, 3);
        assert_int_equal(set->width, 9);
        lam_dataset_close(set);
        set = open_folder(folder, LAM_SPLIT_VAL, NULL);
        assert_int_equal(set->classes, 3); /* two of them without a validation image */
        assert_int_equal(set->count, 1);
        expect_flat(set, 0, 2, 4, "/c/1.png");
        lam_dataset_close(set);
        snprintf(name, sizeof name, "%s/d/1.png", names[k]);
        write_flat(folder, name, 9, 5);
        refuses(text, LAM_SPLIT_VAL, NULL, LAM_ERR_FORMAT, "/d: is not among the classes of");
        free(text);
        remove_folder(folder);
    }
}

static void a_class_may_be_called_train(void **state) {
    (void)state;
    char *folder = make_folder();
    write_flat(folder, "train/1.png", 9, 1);
    write_flat(folder, "plane/1.png", 9, 2);
    struct lam_dataset *set = open_folder(folder, LAM_SPLIT_TRAIN, NULL);
    assert_int_equal(set->classes, 2);
    expect_flat(set, 1, 1, 1, "/train/1.png");
    lam_dataset_close(set);
    remove_folder(folder);
}

static void folders_without_images(void **state) {
    (void)state;
    char *folder = make_folder(), *text = lam_format("folder:%s", folder);
    refuses(text, LAM_SPLIT_TRAIN, NULL, LAM_ERR_NOT_FOUND, "has no folders; one folder of images per class");
    write_file(folder, "a/x.txt", "x", 1);
    refuses(text, LAM_SPLIT_TRAIN, NULL, LAM_ERR_FORMAT, "has only the folder a");
    write_file(folder, "b/x.txt", "x", 1);
    refuses(text, LAM_SPLIT_TRAIN, NULL, LAM_ERR_NOT_FOUND, "its 2 folders have no images");
    char *loop = lam_path_join(folder, "a/loop");
    assert_int_equal(symlink("..", loop), 0); /* round in circles */
    refuses(text, LAM_SPLIT_TRAIN, NULL, LAM_ERR_FORMAT, "a/loop: is a link to a folder that it is in");
    free(loop);
    free(text);
    remove_folder(folder);
}

struct reports {
    int count;
    char text[8][600];
};

static void keep_report(void *context, int64_t index, const char *what, const char *reason) {
    struct reports *reports = context;
    snprintf(reports->text[reports->count++], sizeof reports->text[0], "%d %s | %s", (int)index, what,
             reason);
}

static char *folder_with_bad_files(void) {
    char *folder = make_folder();
    write_flat(folder, "a/0.png", 8, 1);
    write_file(folder, "a/1.jpg", jpeg_quadrants, sizeof jpeg_quadrants - 9);
    write_flat(folder, "a/2.png", 8, 2);
    write_file(folder, "b/0.png", "", 0);
    write_file(folder, "b/1.bmp", "BM__________", 12);
    write_flat(folder, "b/2.jpg", 8, 3); /* a PNG by content: fine */
    return folder;
}

static void bad_files_are_named(void **state) {
    (void)state;
    char *folder = folder_with_bad_files();
    struct lam_dataset_options skip_bad = {.skip_bad = true};
    for (int skip_them = 0; skip_them < 2; skip_them++) {
        struct lam_dataset *set = open_folder(folder, LAM_SPLIT_TRAIN, skip_them ? &skip_bad : NULL);
        struct reports reports = {0};
        int64_t bad = 0;
        assert_int_equal(lam_dataset_check(set, keep_report, &reports, &bad), LAM_OK);
        assert_int_equal(bad, 3);
        assert_int_equal(reports.count, 3);
        static const char *const says[3][2] = {
            {"a/1.jpg | ", "Premature end"}, {"b/0.png | ", "is empty"}, {"b/1.bmp | ", "is a BMP file"}};
        for (int i = 0; i < 3; i++)
            for (int k = 0; k < 2; k++)
                if (!strstr(reports.text[i], says[i][k])) fail_msg("%s: no %s", reports.text[i], says[i][k]);
        assert_int_equal(lam_dataset_check(set, NULL, NULL, &bad), LAM_OK);
        assert_int_equal(bad, 3);
        lam_dataset_close(set);
    }
    remove_folder(folder);
}

static void bad_files_stop_or_are_left_out(void **state) {
    (void)state;
    char *folder = folder_with_bad_files();
    struct lam_sample sample = {0};
    struct lam_dataset *set = open_folder(folder, LAM_SPLIT_TRAIN, NULL);
    assert_int_equal(set->count, 6);
    assert_int_equal(lam_dataset_read(set, 1, &sample), LAM_ERR_FORMAT);
    assert_says("a/1.jpg: JPEG: Premature end");
    lam_dataset_close(set);
    struct lam_dataset_options options = {.skip_bad = true};
    set = open_folder(folder, LAM_SPLIT_TRAIN, &options);
    assert_int_equal(set->count, 3);
    expect_flat(set, 0, 0, 1, "a/0.png");
    expect_flat(set, 1, 0, 2, "a/2.png");
    expect_flat(set, 2, 1, 3, "b/2.jpg");
    lam_dataset_close(set);
    lam_sample_free(&sample);
    remove_folder(folder);
    folder = make_folder();
    write_file(folder, "a/1.png", "x", 1);
    write_file(folder, "b/1.png", "x", 1);
    char *text = lam_format("folder:%s", folder);
    refuses(text, LAM_SPLIT_TRAIN, &options, LAM_ERR_FORMAT, "no sample of the data set can be read");
    free(text);
    remove_folder(folder);
}

static void measure_counts_every_pixel(void **state) {
    (void)state;
    char *folder = make_folder();
    write_flat(folder, "a/0.png", 10, 0);
    write_flat(folder, "b/0.png", 10, 255);
    write_flat(folder, "b/1.png", 20, 51); /* more pixels count more */
    struct lam_dataset *set = open_folder(folder, LAM_SPLIT_TRAIN, NULL);
    assert_int_equal(lam_dataset_measure(set, 0), LAM_OK);
    double mean = (100 * 0 + 100 * 1.0 + 400 * 0.2) / 600;
    double deviation = sqrt((100 * 1.0 + 400 * 0.04) / 600 - mean * mean);
    for (int c = 0; c < 3; c++) {
        assert_true(fabs(set->mean[c] - mean) < 1e-6);
        assert_true(fabs(set->deviation[c] - deviation) < 1e-6);
    }
    assert_int_equal(lam_dataset_measure(set, 1), LAM_OK); /* one black image: no division by zero later */
    assert_true(set->mean[0] == 0 && set->deviation[0] > 0.003f);
    lam_dataset_close(set);
    remove_folder(folder);
}

/* ---- threads ---- */

struct reader {
    const struct lam_dataset *set;
    uint64_t sum;
    int start;
};

static void *read_all(void *argument) {
    struct reader *reader = argument;
    struct lam_sample sample = {0};
    for (int64_t k = 0; k < reader->set->count; k++) {
        int64_t i = (k + reader->start) % reader->set->count;
        if (lam_dataset_read(reader->set, i, &sample) != LAM_OK) continue;
        uint64_t sum = (uint64_t)i * 7 + (uint64_t)sample.label;
        for (int b = 0; b < sample.box_count; b++) sum = sum * 31 + (uint64_t)(4 * sample.boxes[b].x1);
        for (int p = 0; p < sample.image.width * sample.image.height * 3; p++)
            sum = sum * 31 + sample.image.pixels[p];
        reader->sum += sum;
    }
    lam_sample_free(&sample);
    return NULL;
}

static void any_thread_in_any_order(void **state) {
    (void)state;
    char *folder = make_folder(), name[64];
    for (int i = 0; i < 40; i++) {
        snprintf(name, sizeof name, "%c/%d.png", i % 2 ? 'a' : 'b', i);
        write_flat(folder, name, 8, (uint8_t)(i * 5));
    }
    struct lam_dataset_options options = {.train_count = 40};
    struct lam_dataset_options scenes = {.content = LAM_CONTENT_BOXES, .train_count = 40, .image_size = 64};
    struct lam_dataset *sets[] = {open_folder(folder, LAM_SPLIT_TRAIN, NULL),
                                  open_text("shapes", LAM_SPLIT_TRAIN, &options),
                                  open_text("shapes", LAM_SPLIT_TRAIN, &scenes)};
    for (int s = 0; s < 3; s++) {
        pthread_t threads[4];
        struct reader readers[4];
        for (int t = 0; t < 4; t++) {
            readers[t] = (struct reader){.set = sets[s], .start = t * 11};
            assert_int_equal(pthread_create(&threads[t], NULL, read_all, &readers[t]), 0);
        }
        for (int t = 0; t < 4; t++) pthread_join(threads[t], NULL);
        for (int t = 1; t < 4; t++) assert_true(readers[t].sum == readers[0].sum && readers[t].sum != 0);
        lam_dataset_close(sets[s]);
    }
    remove_folder(folder);
}

/* ---- the shared data ---- */

static void the_shared_folder(void **state) {
    (void)state;
    const char *path = sample_data("imagefolder-mini");
    if (!path) skip();
    for (int split = 0; split < 2; split++) {
        struct lam_dataset *set = open_folder(path, split, NULL);
        assert_int_equal(set->count, split ? 500 : 2000);
        assert_int_equal(set->classes, 10);
        assert_int_equal(set->width, 64);
        assert_string_equal(set->class_names[0], "n01641577_bullfrog");
        struct lam_sample sample = {0};
        int found[10] = {0};
        for (int64_t i = 0; i < set->count; i++) { /* 22 of the files are gray */
            if (lam_dataset_read(set, i, &sample) != LAM_OK) fail_msg("%s", lam_error_text());
            assert_int_equal(sample.image.channels, 3);
            assert_int_equal(sample.image.width, 64);
            found[sample.label]++;
        }
        for (int c = 0; c < 10; c++) assert_int_equal(found[c], split ? 50 : 200);
        lam_sample_free(&sample);
        lam_dataset_close(set);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(texts_that_name_nothing),
        cmocka_unit_test(every_format_explains_itself),
        cmocka_unit_test(a_shape_is_a_function_of_seed_split_and_index),
        cmocka_unit_test(shapes_are_balanced_and_sized_as_asked),
        cmocka_unit_test(the_mean_of_shapes_is_known),
        cmocka_unit_test(a_linear_model_cannot_tell_shapes),
        cmocka_unit_test(scenes_have_small_and_large_shapes),
        cmocka_unit_test(a_scene_is_a_function_of_seed_split_and_index),
        cmocka_unit_test(boxes_are_tight),
        cmocka_unit_test(classes_are_sorted_folders),
        cmocka_unit_test(parts_agree_on_classes),
        cmocka_unit_test(a_class_may_be_called_train),
        cmocka_unit_test(folders_without_images),
        cmocka_unit_test(bad_files_are_named),
        cmocka_unit_test(bad_files_stop_or_are_left_out),
        cmocka_unit_test(measure_counts_every_pixel),
        cmocka_unit_test(any_thread_in_any_order),
        cmocka_unit_test(the_shared_folder),
    };
    return cmocka_run_group_tests_name("dataset", tests, NULL, NULL);
}
