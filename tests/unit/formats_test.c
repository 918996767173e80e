/* The data set formats whose files are arrays of images: what the bytes mean, on small files made here and on
 * the shared data, and one clear line for everything that can be wrong with them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/files.h"
#include "data/dataset.h"
#include "unit/sample_files.h"

static struct lam_dataset *open_set(const char *format, const char *folder, enum lam_split split) {
    char *text = lam_format("%s:%s", format, folder);
    struct lam_dataset *set = NULL;
    if (lam_dataset_open(text, split, NULL, &set) != LAM_OK) fail_msg("%s: %s", text, lam_error_text());
    free(text);
    return set;
}

/* Opening fails with this status, and the line has all of `parts` (separated by |) in it. */
static void refuses(const char *format, const char *folder, enum lam_split split, lam_status expected,
                    const char *parts) {
    char *text = lam_format("%s:%s", format, folder), *list = strdup(parts), *rest = NULL;
    struct lam_dataset *set = NULL;
    lam_status status = lam_dataset_open(text, split, NULL, &set);
    assert_null(set);
    if (status != expected)
        fail_msg("%s, not %s: %s", lam_status_name(status), lam_status_name(expected), parts);
    for (char *part = strtok_r(list, "|", &rest); part; part = strtok_r(NULL, "|", &rest))
        if (!strstr(lam_error_text(), part)) fail_msg("'%s' does not say '%s'", lam_error_text(), part);
    free(text);
    free(list);
}

static struct lam_sample read_sample(const struct lam_dataset *set, int64_t index) {
    struct lam_sample sample = {0};
    if (lam_dataset_read(set, index, &sample) != LAM_OK) fail_msg("%s", lam_error_text());
    return sample;
}

/* The byte that a made image has at a place: another for every sample, channel, row and column. */
static uint8_t made(int sample, int channel, int y, int x) {
    return (uint8_t)(sample * 101 + channel * 67 + y * 13 + x * 3 + (x * y) % 7);
}

static void is_made(const struct lam_sample *sample, int number, int label, int width, int height,
                    int channels) {
    assert_int_equal(sample->label, label);
    assert_int_equal(sample->image.width, width);
    assert_int_equal(sample->image.height, height);
    assert_int_equal(sample->image.channels, channels);
    for (int y = 0; y < height; y++)
        for (int x = 0; x < width; x++)
            for (int c = 0; c < channels; c++)
                assert_int_equal(sample->image.pixels[(y * width + x) * channels + c], made(number, c, y, x));
}

static void check_sample(const struct lam_dataset *set, int64_t index, int number, int label) {
    struct lam_sample sample = read_sample(set, index);
    is_made(&sample, number, label, set->width, set->height, set->channels);
    lam_sample_free(&sample);
}

/* `by_column`: MATLAB's order. Returns the end. */
static uint8_t *put_image(uint8_t *to, int number, int width, int height, int channels, bool by_column) {
    for (int c = 0; c < channels; c++)
        for (int i = 0; i < width * height; i++) {
            int x = by_column ? i / height : i % width, y = by_column ? i % height : i / width;
            *to++ = made(number, c, y, x);
        }
    return to;
}

/* ---- CIFAR ---- */

/* Writes records with the numbers first, first + 1, ...; the label of number n is n % classes. */
static void write_cifar(const char *folder, const char *name, int first, int count, int label_bytes,
                        int classes) {
    uint8_t *data = malloc((size_t)count * (3072 + 2)), *at = data;
    for (int i = first; i < first + count; i++) {
        if (label_bytes == 2) *at++ = 19;
        *at++ = (uint8_t)(i % classes);
        at = put_image(at, i, 32, 32, 3, false);
    }
    write_file(folder, name, data, (size_t)(at - data));
    free(data);
}

static void cifar10_batches_in_order(void **state) {
    (void)state;
    char *folder = make_folder();
    write_cifar(folder, "data_batch_10.bin", 7, 2, 1, 10);
    write_cifar(folder, "data_batch_2.bin", 4, 3, 1, 10);
    write_cifar(folder, "data_batch_1.bin", 0, 4, 1, 10);
    struct lam_dataset *set = open_set("cifar10", folder, LAM_SPLIT_TRAIN);
    assert_int_equal(set->count, 9);
    assert_int_equal(set->classes, 10);
    assert_false(set->has_own_val);
    assert_string_equal(set->class_names[9], "truck");
    for (int i = 8; i >= 0; i--) check_sample(set, i, i, i % 10);
    char text[512];
    assert_non_null(strstr(lam_dataset_describe(set, 5, text, sizeof text), "data_batch_2.bin:1"));
    struct lam_sample sample = {0};
    assert_int_equal(lam_dataset_read(set, 9, &sample), LAM_ERR_INVALID);
    assert_int_equal(lam_dataset_read(set, -1, &sample), LAM_ERR_INVALID);
    lam_dataset_close(set);
    refuses("cifar10", folder, LAM_SPLIT_VAL, LAM_ERR_NOT_FOUND, "has no test_batch.bin|binary version");
    write_cifar(folder, "test_batch.bin", 30, 1, 1, 10);
    write_file(folder, "batches.meta.txt", "a\nb\nc\nd\ne\nf\ng\nh\ni\nj\n\n", 21);
    set = open_set("cifar10", folder, LAM_SPLIT_VAL);
    assert_true(set->has_own_val);
    assert_string_equal(set->class_names[3], "d");
    check_sample(set, 0, 30, 0);
    lam_dataset_close(set);
    remove_folder(folder);
}

static void cifar_archives_may_be_unpacked(void **state) {
    (void)state;
    char *folder = make_folder();
    write_cifar(folder, "cifar-10-batches-bin/data_batch_1.bin", 0, 1, 1, 10);
    struct lam_dataset *set = open_set("cifar10", folder, LAM_SPLIT_TRAIN);
    assert_int_equal(set->count, 1);
    lam_dataset_close(set);
    remove_folder(folder);
}

static void cifar100_has_fine_labels(void **state) {
    (void)state;
    char *folder = make_folder();
    write_cifar(folder, "train.bin", 95, 5, 2, 100);
    write_cifar(folder, "test.bin", 7, 1, 2, 100);
    struct lam_dataset *set = open_set("cifar100", folder, LAM_SPLIT_TRAIN);
    assert_int_equal(set->classes, 100);
    assert_null(set->class_names);
    assert_true(set->has_own_val);
    for (int i = 0; i < 5; i++) check_sample(set, i, 95 + i, 95 + i);
    lam_dataset_close(set);
    set = open_set("cifar100", folder, LAM_SPLIT_VAL);
    check_sample(set, 0, 7, 7);
    lam_dataset_close(set);
    remove_folder(folder);
}

static void cifar_says_what_is_wrong(void **state) {
    (void)state;
    char *folder = make_folder();
    refuses("cifar10", folder, LAM_SPLIT_TRAIN, LAM_ERR_NOT_FOUND,
            "has no data_batch_*.bin; is this the binary version of CIFAR-10?");
    refuses("cifar100", folder, LAM_SPLIT_TRAIN, LAM_ERR_NOT_FOUND, "has no train.bin|CIFAR-100");
    write_file(folder, "data_batch_1.bin", "", 0);
    refuses("cifar10", folder, LAM_SPLIT_TRAIN, LAM_ERR_FORMAT, "data_batch_1.bin: is empty");
    uint8_t data[2 * 3073] = {0};
    write_file(folder, "data_batch_1.bin", data, 2 * 3073 - 1);
    refuses("cifar10", folder, LAM_SPLIT_TRAIN, LAM_ERR_FORMAT,
            "data_batch_1.bin: 6145 bytes is not a multiple of 3073|record 1, at byte 3073, is cut short");
    data[3073] = 10;
    write_file(folder, "data_batch_1.bin", data, sizeof data);
    refuses("cifar10", folder, LAM_SPLIT_TRAIN, LAM_ERR_FORMAT,
            "data_batch_1.bin: label 10 of record 1 (byte 3073) is not in 0..9");
    data[3073] = 9;
    write_file(folder, "data_batch_1.bin", data, sizeof data);
    write_file(folder, "batches.meta.txt", "one\ntwo\n", 8);
    refuses("cifar10", folder, LAM_SPLIT_TRAIN, LAM_ERR_FORMAT, "batches.meta.txt: has 2 class names, 10");
    remove_folder(folder);
}

static void bad_labels_can_be_left_out(void **state) {
    (void)state;
    char *folder = make_folder();
    write_cifar(folder, "data_batch_1.bin", 0, 6, 1, 10);
    uint8_t *data;
    size_t size;
    char *path = lam_path_join(folder, "data_batch_1.bin");
    assert_int_equal(lam_file_read(path, &data, &size), LAM_OK);
    data[1 * 3073] = 77;
    data[4 * 3073] = 10;
    write_file(folder, "data_batch_1.bin", data, size);
    char *text = lam_format("cifar10:%s", folder);
    struct lam_dataset_options options = {.skip_bad = true};
    struct lam_dataset *set;
    assert_int_equal(lam_dataset_open(text, LAM_SPLIT_TRAIN, &options, &set), LAM_OK);
    assert_int_equal(set->count, 4);
    static const int kept[] = {0, 2, 3, 5};
    for (int i = 0; i < 4; i++) check_sample(set, i, kept[i], kept[i]);
    int64_t bad = 0;
    assert_int_equal(lam_dataset_check(set, NULL, NULL, &bad), LAM_OK);
    assert_int_equal(bad, 2);
    lam_dataset_close(set);
    free(text);
    free(path);
    free(data);
    remove_folder(folder);
}

/* ---- STL-10 ---- */

static void write_stl10(const char *folder, const char *part, int first, int count) {
    uint8_t *data = malloc((size_t)count * 27648), *at = data, labels[16];
    for (int i = 0; i < count; i++) {
        at = put_image(at, first + i, 96, 96, 3, true);
        labels[i] = (uint8_t)((first + i) % 10 + 1);
    }
    char name[32];
    snprintf(name, sizeof name, "%s_X.bin", part);
    write_file(folder, name, data, (size_t)(at - data));
    snprintf(name, sizeof name, "%s_y.bin", part);
    write_file(folder, name, labels, (size_t)count);
    free(data);
}

static void stl10_is_stored_by_columns(void **state) {
    (void)state;
    char *folder = make_folder();
    write_stl10(folder, "train", 8, 3);
    write_stl10(folder, "test", 3, 2);
    struct lam_dataset *set = open_set("stl10", folder, LAM_SPLIT_TRAIN);
    assert_int_equal(set->count, 3);
    assert_string_equal(set->class_names[7], "monkey");
    for (int i = 0; i < 3; i++) check_sample(set, i, 8 + i, (8 + i) % 10);
    lam_dataset_close(set);
    set = open_set("stl10", folder, LAM_SPLIT_VAL);
    check_sample(set, 1, 4, 4);
    lam_dataset_close(set);
    write_file(folder, "train_y.bin", "\1\2\3\4", 4);
    refuses("stl10", folder, LAM_SPLIT_TRAIN, LAM_ERR_FORMAT, "train_y.bin: has 4 labels for the 3 images");
    write_file(folder, "train_y.bin", "\1\0\3", 3);
    refuses("stl10", folder, LAM_SPLIT_TRAIN, LAM_ERR_FORMAT,
            "train_y.bin: label 0 of record 1 (byte 1)|1..10");
    write_file(folder, "train_y.bin", "\1\2\13", 3);
    refuses("stl10", folder, LAM_SPLIT_TRAIN, LAM_ERR_FORMAT, "label 11 of record 2");
    write_file(folder, "train_X.bin", "short", 5);
    refuses("stl10", folder, LAM_SPLIT_TRAIN, LAM_ERR_FORMAT,
            "train_X.bin: 5 bytes is not a multiple of 27648");
    remove_folder(folder);
}

static void stl10_needs_both_files(void **state) {
    (void)state;
    char *folder = make_folder();
    refuses("stl10", folder, LAM_SPLIT_TRAIN, LAM_ERR_NOT_FOUND, "has no train_X.bin");
    write_file(folder, "train_X.bin", "", 0);
    refuses("stl10", folder, LAM_SPLIT_TRAIN, LAM_ERR_NOT_FOUND, "train_y.bin");
    write_file(folder, "train_y.bin", "", 0);
    refuses("stl10", folder, LAM_SPLIT_TRAIN, LAM_ERR_FORMAT, "train_X.bin: is empty");
    remove_folder(folder);
}

/* ---- SVHN: MATLAB 5 files, uncompressed, written by the format's description ---- */

static void put32(FILE *file, uint32_t value) {
    fwrite(&value, 4, 1, file);
}

/* One numeric array. type: 2 uint8, 9 double (of the data); class: 9 uint8, 6 double. */
static void put_variable(FILE *file, const char *name, const int32_t *dims, int rank, uint32_t class,
                         uint32_t type, const void *data, uint32_t bytes) {
    uint32_t dims_bytes = 4 * (uint32_t)rank, name_bytes = (uint32_t)strlen(name);
    uint32_t padded_dims = (dims_bytes + 7) / 8 * 8, padded_name = (name_bytes + 7) / 8 * 8;
    uint32_t padded = (bytes + 7) / 8 * 8;
    static const char zeros[8] = "";
    put32(file, 14); /* an array */
    put32(file, 16 + 8 + padded_dims + 8 + padded_name + 8 + padded);
    put32(file, 6); /* its flags */
    put32(file, 8);
    put32(file, class);
    put32(file, 0);
    put32(file, 5); /* its dimensions */
    put32(file, dims_bytes);
    fwrite(dims, 4, (size_t)rank, file);
    fwrite(zeros, 1, padded_dims - dims_bytes, file);
    put32(file, 1); /* its name */
    put32(file, name_bytes);
    fwrite(name, 1, name_bytes, file);
    fwrite(zeros, 1, padded_name - name_bytes, file);
    put32(file, type);
    put32(file, bytes);
    fwrite(data, 1, bytes, file);
    fwrite(zeros, 1, padded - bytes, file);
}

enum { DIGITS = 4 };

static size_t make_mat(char **buffer, const char *x_name, int labels, bool doubles) {
    size_t size;
    FILE *file = open_memstream(buffer, &size);
    char header[124];
    memset(header, ' ', sizeof header);
    memcpy(header, "MATLAB 5.0 MAT-file", 19);
    memset(header + 116, 0, 8);
    fwrite(header, 1, sizeof header, file);
    fwrite("\0\1IM", 1, 4, file);
    uint8_t images[DIGITS * 3072], *at = images, bytes[DIGITS + 1] = {10, 1, 9, 5, 2};
    double numbers[DIGITS + 1] = {10, 1, 9, 5, 2};
    for (int i = 0; i < DIGITS; i++) at = put_image(at, i, 32, 32, 3, true);
    int32_t x_dims[4] = {32, 32, 3, DIGITS}, y_dims[2] = {labels, 1};
    put_variable(file, x_name, x_dims, 4, 9, 2, images, sizeof images);
    if (doubles)
        put_variable(file, "y", y_dims, 2, 6, 9, numbers, 8 * (uint32_t)labels);
    else
        put_variable(file, "y", y_dims, 2, 9, 2, bytes, (uint32_t)labels);
    fclose(file);
    return size;
}

static void svhn_digits(void **state) {
    (void)state;
    static const int expected[DIGITS] = {0, 1, 9, 5};
    for (int doubles = 0; doubles < 2; doubles++) {
        char *folder = make_folder(), *data;
        size_t size = make_mat(&data, "X", DIGITS, doubles);
        write_file(folder, "train_32x32.mat", data, size);
        struct lam_dataset *set = open_set("svhn", folder, LAM_SPLIT_TRAIN);
        assert_int_equal(set->count, DIGITS);
        assert_false(set->has_own_val);
        for (int i = 0; i < DIGITS; i++) check_sample(set, i, i, expected[i]);
        lam_dataset_close(set);
        refuses("svhn", folder, LAM_SPLIT_VAL, LAM_ERR_NOT_FOUND, "has no test_32x32.mat");
        free(data);
        remove_folder(folder);
    }
}

static void svhn_says_what_is_wrong(void **state) {
    (void)state;
    char *folder = make_folder(), *data;
    size_t size = make_mat(&data, "Z", DIGITS, false);
    write_file(folder, "train_32x32.mat", data, size);
    refuses("svhn", folder, LAM_SPLIT_TRAIN, LAM_ERR_FORMAT, "train_32x32.mat: has no variable X");
    free(data);
    size = make_mat(&data, "X", DIGITS + 1, false);
    write_file(folder, "train_32x32.mat", data, size);
    refuses("svhn", folder, LAM_SPLIT_TRAIN, LAM_ERR_FORMAT, "y has 5 labels for 4 images");
    free(data);
    write_file(folder, "train_32x32.mat", "not a mat file", 14);
    refuses("svhn", folder, LAM_SPLIT_TRAIN, LAM_ERR_FORMAT, "train_32x32.mat: is not a MATLAB file");
    size = make_mat(&data, "X", DIGITS, false);
    data[size - 8] = 11; /* the first label */
    write_file(folder, "train_32x32.mat", data, size);
    refuses("svhn", folder, LAM_SPLIT_TRAIN, LAM_ERR_FORMAT, "label 11 of record 0|0..9");
    for (size_t cut = 140; cut < size - 8; cut += 997) { /* cut anywhere: an error, no crash */
        write_file(folder, "train_32x32.mat", data, cut);
        struct lam_dataset *set = NULL;
        char *text = lam_format("svhn:%s", folder);
        assert_int_equal(lam_dataset_open(text, LAM_SPLIT_TRAIN, NULL, &set), LAM_ERR_FORMAT);
        free(text);
    }
    free(data);
    remove_folder(folder);
}

/* ---- idx ---- */

static void put_big(uint8_t *to, uint32_t value) {
    for (int i = 0; i < 4; i++) to[i] = (uint8_t)(value >> (24 - 8 * i));
}

enum { IDX_WIDTH = 6, IDX_HEIGHT = 5, IDX_HEADER = 16 };

static void write_idx(const char *folder, const char *images, const char *labels, int first, int count) {
    uint8_t data[IDX_HEADER + 16 * IDX_WIDTH * IDX_HEIGHT], *at = data + IDX_HEADER, names[8 + 16];
    put_big(data, 0x803);
    put_big(data + 4, (uint32_t)count);
    put_big(data + 8, IDX_HEIGHT);
    put_big(data + 12, IDX_WIDTH);
    put_big(names, 0x801);
    put_big(names + 4, (uint32_t)count);
    for (int i = 0; i < count; i++) {
        at = put_image(at, first + i, IDX_WIDTH, IDX_HEIGHT, 1, false);
        names[8 + i] = (uint8_t)((first + i) % 7);
    }
    write_file(folder, images, data, (size_t)(at - data));
    write_file(folder, labels, names, 8 + (size_t)count);
}

static void idx_of_any_family_member(void **state) {
    (void)state;
    static const char *const names[][2] = {{"t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte"},
                                           {"test-images-idx3-ubyte", "test-labels-idx1-ubyte"},
                                           {"t10k-images.idx3-ubyte", "t10k-labels.idx1-ubyte"}};
    for (int k = 0; k < 3; k++) {
        char *folder = make_folder();
        write_idx(folder, "train-images-idx3-ubyte", "train-labels-idx1-ubyte", 0, 6);
        struct lam_dataset *set = open_set("idx", folder, LAM_SPLIT_TRAIN);
        assert_false(set->has_own_val);
        assert_int_equal(set->classes, 6);
        lam_dataset_close(set);
        write_idx(folder, names[k][0], names[k][1], 6, 4);
        set = open_set("idx", folder, LAM_SPLIT_TRAIN);
        assert_true(set->has_own_val);
        assert_int_equal(set->classes, 7); /* the label 6 is only in the other part */
        assert_int_equal(set->channels, 1);
        for (int i = 0; i < 6; i++) check_sample(set, i, i, i);
        struct lam_dataset *val = open_set("idx", folder, LAM_SPLIT_VAL);
        assert_int_equal(val->count, 4);
        assert_int_equal(val->classes, 7);
        for (int i = 0; i < 4; i++) check_sample(val, i, 6 + i, (6 + i) % 7);
        assert_true(val->mean[0] == set->mean[0] && val->deviation[0] == set->deviation[0]);
        float mean = set->mean[0], deviation = set->deviation[0];
        assert_int_equal(lam_dataset_measure(set, 0), LAM_OK); /* the general way agrees */
        assert_true(fabsf(set->mean[0] - mean) < 1e-6f && fabsf(set->deviation[0] - deviation) < 1e-6f);
        lam_dataset_close(set);
        lam_dataset_close(val);
        remove_folder(folder);
    }
}

static void idx_says_what_is_wrong(void **state) {
    (void)state;
    const char *images = "train-images-idx3-ubyte", *labels = "train-labels-idx1-ubyte";
    char *folder = make_folder();
    refuses("idx", folder, LAM_SPLIT_TRAIN, LAM_ERR_NOT_FOUND, "has no train-images-idx3-ubyte");
    write_file(folder, "train-images-idx3-ubyte.gz", "\x1f\x8b", 2);
    refuses("idx", folder, LAM_SPLIT_TRAIN, LAM_ERR_NOT_FOUND, "only a compressed one; run gunzip");
    write_idx(folder, images, "else", 0, 6);
    refuses("idx", folder, LAM_SPLIT_TRAIN, LAM_ERR_NOT_FOUND, "has no train-labels-idx1-ubyte");
    write_idx(folder, images, labels, 0, 6);
    write_idx(folder, "else", labels, 0, 5);
    refuses("idx", folder, LAM_SPLIT_TRAIN, LAM_ERR_FORMAT,
            "labels-idx1-ubyte: has 5 labels for the 6 images");
    uint8_t *data;
    size_t size;
    char *path = lam_path_join(folder, images);
    assert_int_equal(lam_file_read(path, &data, &size), LAM_OK);
    static const struct {
        size_t at;
        uint8_t value;
        const char *says;
    } changes[] = {{2, 9, "images-idx3-ubyte: begins with bytes 00 00 09 03"},
                   {3, 2, "begins with bytes 00 00 08 02"},
                   {7, 0, "dimension 0 at byte 4 is 0"},
                   {11, 0, "dimension 1 at byte 8 is 0"},
                   {12, 0xff, "dimension 2 at byte 12"},
                   {4, 0xff, "truncated"},
                   {7, 5, "too long"}};
    for (size_t i = 0; i < sizeof changes / sizeof changes[0]; i++) {
        uint8_t before = data[changes[i].at];
        data[changes[i].at] = changes[i].value;
        write_file(folder, images, data, size);
        refuses("idx", folder, LAM_SPLIT_TRAIN, LAM_ERR_FORMAT, changes[i].says);
        data[changes[i].at] = before;
    }
    for (size_t cut = 0; cut < size; cut++) {
        write_file(folder, images, data, cut);
        refuses("idx", folder, LAM_SPLIT_TRAIN, LAM_ERR_FORMAT,
                cut < IDX_HEADER ? "shorter than an idx header" : "it is truncated");
    }
    write_file(folder, images, "\x1f\x8b\x08\x00", 4);
    refuses("idx", folder, LAM_SPLIT_TRAIN, LAM_ERR_UNSUPPORTED, "is compressed");
    free(path);
    free(data);
    remove_folder(folder);
}

/* ---- the shared data ---- */

static void count_labels(const struct lam_dataset *set, int *found) {
    struct lam_sample sample = {0};
    for (int64_t i = 0; i < set->count; i++) {
        if (lam_dataset_read(set, i, &sample) != LAM_OK) fail_msg("%s", lam_error_text());
        found[sample.label]++;
    }
    lam_sample_free(&sample);
}

static void the_shared_cifar10(void **state) {
    (void)state;
    const char *path = sample_data("cifar10");
    if (!path) skip();
    for (int split = 0; split < 2; split++) {
        struct lam_dataset *set = open_set("cifar10", path, split);
        int found[10] = {0};
        assert_int_equal(set->count, split ? 5000 : 20000);
        count_labels(set, found);
        for (int c = 0; c < 10; c++) assert_int_equal(found[c], split ? 500 : 2000);
        float mean = set->mean[0], deviation = set->deviation[2];
        assert_int_equal(lam_dataset_measure(set, 0), LAM_OK);
        assert_true(fabsf(set->mean[0] - mean) < 0.01f && fabsf(set->deviation[2] - deviation) < 0.01f);
        lam_dataset_close(set);
    }
}

static void the_shared_digits(void **state) {
    (void)state;
    const char *path = sample_data("mnist-t10k");
    if (!path) skip();
    struct lam_dataset *set = open_set("idx", path, LAM_SPLIT_TRAIN);
    int found[10] = {0};
    assert_int_equal(set->count, 8000);
    assert_int_equal(set->classes, 10);
    assert_int_equal(set->width, 28);
    assert_true(fabsf(set->mean[0] - 0.1307f) < 0.005f && fabsf(set->deviation[0] - 0.3081f) < 0.005f);
    count_labels(set, found);
    for (int c = 0; c < 10; c++) assert_in_range(found[c], 600, 1000);
    lam_dataset_close(set);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(cifar10_batches_in_order),   cmocka_unit_test(cifar_archives_may_be_unpacked),
        cmocka_unit_test(cifar100_has_fine_labels),   cmocka_unit_test(cifar_says_what_is_wrong),
        cmocka_unit_test(bad_labels_can_be_left_out), cmocka_unit_test(stl10_is_stored_by_columns),
        cmocka_unit_test(stl10_needs_both_files),     cmocka_unit_test(svhn_digits),
        cmocka_unit_test(svhn_says_what_is_wrong),    cmocka_unit_test(idx_of_any_family_member),
        cmocka_unit_test(idx_says_what_is_wrong),     cmocka_unit_test(the_shared_cifar10),
        cmocka_unit_test(the_shared_digits),
    };
    return cmocka_run_group_tests_name("formats", tests, NULL, NULL);
}
