/* srdir: where images and their partners are looked for, what does not fit, and samples kept in memory. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <math.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/files.h"
#include "data/dataset.h"
#include "unit/sample_files.h"

static void assert_says(const char *part) {
    if (!strstr(lam_error_text(), part)) fail_msg("'%s' does not say '%s'", lam_error_text(), part);
}

static void put(const char *folder, const char *name, int width, int height, int channels, int value) {
    struct lam_image image = {0};
    uint8_t *data;
    size_t size;
    assert_int_equal(lam_image_alloc(&image, width, height, channels), LAM_OK);
    memset(image.pixels, value, (size_t)(width * height * channels));
    assert_int_equal(lam_image_encode_png(&image, &data, &size), LAM_OK);
    write_file(folder, name, data, size);
    free(data);
    lam_image_free(&image);
}

static struct lam_dataset *open_set(const char *paths, const struct lam_dataset_options *options) {
    char *text = lam_format("srdir:%s", paths);
    struct lam_dataset *set = NULL;
    if (lam_dataset_open(text, LAM_SPLIT_TRAIN, options, &set) != LAM_OK) fail_msg("%s", lam_error_text());
    free(text);
    return set;
}

static void refuses(const char *paths, const struct lam_dataset_options *options, lam_status expected,
                    const char *says) {
    char *text = lam_format("srdir:%s", paths);
    struct lam_dataset *set = NULL;
    lam_status status = lam_dataset_open(text, LAM_SPLIT_VAL, options, &set);
    assert_null(set);
    if (status != expected)
        fail_msg("%s: %s, not %s", text, lam_status_name(status), lam_status_name(expected));
    assert_says(says);
    free(text);
}

/* Sample i: the end of its path, its first byte, its partner's (-1: none). */
static void expect(const struct lam_dataset *set, int64_t i, const char *name, int value, int partner) {
    struct lam_sample sample = {0};
    char what[512];
    if (lam_dataset_read(set, i, &sample) != LAM_OK) fail_msg("%s", lam_error_text());
    lam_dataset_describe(set, i, what, sizeof what);
    if (strlen(what) < strlen(name) || strcmp(what + strlen(what) - strlen(name), name) != 0)
        fail_msg("%s is not %s", what, name);
    assert_int_equal(sample.image.pixels[0], value);
    assert_int_equal(sample.pair.pixels ? sample.pair.pixels[0] : -1, partner);
    assert_int_equal(sample.label, -1);
    lam_sample_free(&sample);
}

static const struct lam_dataset_options x2 = {.scale = 2, .pairs = true};

static void a_folder_of_images(void **state) {
    (void)state;
    char *folder = make_folder();
    put(folder, "b.png", 9, 7, 3, 2);
    put(folder, "a.PNG", 8, 6, 3, 1);
    put(folder, "deeper/c.png", 8, 6, 3, 3); /* not looked at */
    write_file(folder, "notes.txt", "x", 1);
    put(folder, ".hidden.png", 8, 6, 3, 4);
    struct lam_dataset *set = open_set(folder, &x2);
    assert_int_equal(set->count, 2);
    assert_int_equal(set->classes, 0);
    assert_int_equal(set->channels, 3);
    assert_false(set->has_own_val);
    expect(set, 0, "/a.PNG", 1, -1);
    expect(set, 1, "/b.png", 2, -1);
    lam_dataset_close(set);
    remove_folder(folder);
}

static void channels_are_the_files(void **state) {
    (void)state;
    char *folder = make_folder(), name[16];
    for (int channels = 1; channels <= 4; channels++) {
        snprintf(name, sizeof name, "%d.png", channels);
        put(folder, name, 4, 4, channels, 51);
    }
    struct lam_dataset *set = open_set(folder, &x2);
    struct lam_sample sample = {0};
    for (int i = 0; i < 4; i++) {
        assert_int_equal(lam_dataset_read(set, i, &sample), LAM_OK);
        assert_int_equal(sample.image.channels, i + 1);
    }
    assert_int_equal(lam_dataset_measure(set, 0), LAM_OK); /* gray counts for all three */
    for (int c = 0; c < 3; c++) assert_true(fabsf(set->mean[c] - 0.2f) < 1e-6f);
    lam_sample_free(&sample);
    lam_dataset_close(set);
    remove_folder(folder);
}

static void partners_are_found_by_name(void **state) {
    (void)state;
    static const char *const places[] = {"LR_bicubic/X2/ax2.png", "LR/X2/ax2.png", "LR/X2/a.png"};
    for (int i = 0; i < 3; i++) {
        char *folder = make_folder();
        put(folder, "HR/a.png", 9, 7, 3, 1);
        put(folder, places[i], 4, 3, 3, 11);
        struct lam_dataset *set = open_set(folder, &x2);
        expect(set, 0, "/HR/a.png", 1, 11);
        lam_dataset_close(set);
        struct lam_dataset_options other = {.scale = 3, .pairs = true}, without = {.scale = 2};
        set = open_set(folder, &other); /* no folder for this scale: none is used */
        expect(set, 0, "/HR/a.png", 1, -1);
        lam_dataset_close(set);
        set = open_set(folder, &without);
        expect(set, 0, "/HR/a.png", 1, -1);
        lam_dataset_close(set);
        set = open_set(folder, NULL);
        expect(set, 0, "/HR/a.png", 1, -1);
        lam_dataset_close(set);
        remove_folder(folder);
    }
}

static void names_that_look_alike(void **state) {
    (void)state;
    char *folder = make_folder();
    static const char *const names[] = {"a", "a.b", "aa", "ax2", "b-"};
    char name[64];
    for (int i = 0; i < 5; i++) {
        snprintf(name, sizeof name, "HR/%s.png", names[i]);
        put(folder, name, 4, 4, 1, 10 + i);
        snprintf(name, sizeof name, "LR_bicubic/X2/%sx2.png", names[i]);
        put(folder, name, 2, 2, 1, 20 + i);
    }
    struct lam_dataset *set = open_set(folder, &x2);
    for (int i = 0; i < 5; i++) {
        snprintf(name, sizeof name, "/%s.png", names[i]);
        int place = -1;
        for (int k = 0; k < 5; k++) {
            char what[256];
            lam_dataset_describe(set, k, what, sizeof what);
            if (strstr(what, name)) place = k;
        }
        expect(set, place, name, 10 + i, 20 + i);
    }
    lam_dataset_close(set);
    remove_folder(folder);
}

static void partners_that_do_not_pair_up(void **state) {
    (void)state;
    char *folder = make_folder(), name[64];
    for (int i = 0; i < 6; i++) {
        snprintf(name, sizeof name, "HR/%d.png", i);
        put(folder, name, 4, 4, 1, i);
    }
    put(folder, "LR/X2/0x2.png", 2, 2, 1, 0);
    refuses(folder, &x2, LAM_ERR_FORMAT,
            "/LR/X2: lacks the partners of 5 of 6 high-resolution images (1.png, 2.png, 3.png, ...)");
    put(folder, "LR/X2/7x2.png", 2, 2, 1, 0);
    refuses(folder, &x2, LAM_ERR_FORMAT, "3.png, ...), and 1 of its images belong to none (7x2.png)");
    for (int i = 1; i < 6; i++) {
        snprintf(name, sizeof name, "LR/X2/%dx2.png", i);
        put(folder, name, 2, 2, 1, i);
    }
    refuses(folder, &x2, LAM_ERR_FORMAT,
            "/LR/X2: 1 of its images belong to no high-resolution image (7x2.png)");
    put(folder, "HR/7.jpg", 4, 4, 1, 7);
    struct lam_dataset *set = open_set(folder, &x2);
    assert_int_equal(set->count, 7);
    lam_dataset_close(set);
    put(folder, "HR/7.png", 4, 4, 1, 7); /* two that want one partner */
    refuses(folder, &x2, LAM_ERR_FORMAT, "lacks the partners of 1 of 8 high-resolution images (7.png)");
    remove_folder(folder);
}

static void several_folders(void **state) {
    (void)state;
    char *a = make_folder(), *b = make_folder(), *plus = make_folder();
    put(a, "HR/1.png", 4, 4, 3, 1);
    put(a, "LR/X2/1x2.png", 2, 2, 3, 11);
    put(b, "2.png", 4, 4, 3, 2);
    put(b, "1.png", 4, 4, 3, 3);
    put(plus, "c++/d+/3.png", 4, 4, 3, 4);
    char *both = lam_format("%s+%s", a, b), *odd = lam_format("%s+%s/c++/d+", a, plus);
    struct lam_dataset *set = open_set(both, &x2);
    assert_int_equal(set->count, 3);
    expect(set, 0, "/HR/1.png", 1, 11);
    expect(set, 1, "/1.png", 3, -1);
    expect(set, 2, "/2.png", 2, -1);
    uint64_t hash = lam_dataset_hash(set);
    lam_dataset_close(set);
    set = open_set(odd, &x2);
    assert_int_equal(set->count, 2);
    expect(set, 1, "/c++/d+/3.png", 4, -1);
    assert_true(lam_dataset_hash(set) != hash);
    lam_dataset_close(set);
    struct lam_dataset_options without = {.scale = 2};
    set = open_set(both, &without);
    assert_true(lam_dataset_hash(set) != hash); /* other low-resolution images */
    lam_dataset_close(set);
    free(odd);
    free(both);

    static const struct {
        const char *format;
        lam_status status;
        const char *says;
    } wrong[] = {{"%s+/nonexistent/x", LAM_ERR_NOT_FOUND, "/nonexistent/x: does not exist"},
                 {"/nonexistent/x+%s", LAM_ERR_NOT_FOUND, "/nonexistent/x: does not exist"},
                 {"%s+", LAM_ERR_INVALID, "a folder is missing beside a +"},
                 {"+%s", LAM_ERR_INVALID, "a folder is missing beside a +"},
                 {"%s/2.png", LAM_ERR_INVALID, "/2.png: is not a folder"}};
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        char path[512];
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
        snprintf(path, sizeof path, wrong[i].format, b);
#pragma GCC diagnostic pop
        refuses(path, NULL, wrong[i].status, wrong[i].says);
    }
    remove_folder(a);
    remove_folder(b);
    remove_folder(plus);
}

static void a_set_that_was_moved_is_the_same(void **state) {
    (void)state;
    uint64_t hashes[3];
    for (int i = 0; i < 3; i++) {
        char *folder = make_folder();
        put(folder, "HR/1.png", 4, 4, 3, i);
        put(folder, i < 2 ? "HR/2.png" : "HR/3.png", 4, 4, 3, i);
        struct lam_dataset *set = open_set(folder, &x2);
        hashes[i] = lam_dataset_hash(set);
        lam_dataset_close(set);
        remove_folder(folder);
    }
    assert_true(hashes[0] == hashes[1] && hashes[0] != hashes[2]);
}

static void folders_without_images(void **state) {
    (void)state;
    char *folder = make_folder();
    refuses(folder, NULL, LAM_ERR_NOT_FOUND, "has no images");
    put(folder, "deeper/c.png", 8, 6, 3, 3);
    refuses(folder, NULL, LAM_ERR_NOT_FOUND, "has no images");
    put(folder, "a.png", 8, 6, 3, 3);
    write_file(folder, "HR/notes.txt", "x", 1);
    refuses(folder, NULL, LAM_ERR_NOT_FOUND, "/HR: has no images");
    struct lam_dataset_options negative = {.scale = -1};
    refuses(folder, &negative, LAM_ERR_INVALID, "a scale of -1");
    remove_folder(folder);
}

static void count_reports(void *context, int64_t index, const char *what, const char *reason) {
    (void)index;
    char *text = context;
    snprintf(text + strlen(text), 2000 - strlen(text), "%s | %s\n", what, reason);
}

static void samples_that_do_not_fit(void **state) {
    (void)state;
    char *folder = make_folder();
    put(folder, "HR/a.png", 9, 8, 3, 1);
    put(folder, "LR/X4/ax4.png", 2, 2, 3, 11);
    put(folder, "HR/b.png", 9, 8, 3, 2);
    put(folder, "LR/X4/bx4.png", 3, 2, 3, 12);
    put(folder, "HR/c.png", 12, 3, 3, 3);
    put(folder, "LR/X4/cx4.png", 3, 1, 3, 13);
    write_file(folder, "HR/d.png", "no picture", 10);
    put(folder, "LR/X4/dx4.png", 3, 1, 3, 14);
    put(folder, "HR/e.png", 8, 8, 3, 4);
    write_file(folder, "LR/X4/ex4.png", "", 0);
    struct lam_dataset_options options = {.scale = 4, .pairs = true};
    struct lam_dataset *set = open_set(folder, &options);
    struct lam_sample sample = {0};
    static const char *const says[] = {"LR/X4/bx4.png: is 3 x 2 pixels; 9 x 8 at x4 needs a partner of 2 x 2",
                                       "HR/c.png: 12 x 3 pixels are fewer than the scale of 4",
                                       "HR/d.png: is neither PNG nor JPEG", "LR/X4/ex4.png: is empty"};
    expect(set, 0, "a.png", 1, 11);
    assert_int_equal(lam_dataset_read(set, 0, &sample), LAM_OK);
    for (int i = 0; i < 4; i++) {
        assert_int_equal(lam_dataset_read(set, i + 1, &sample), LAM_ERR_FORMAT);
        assert_says(says[i]);
        assert_int_equal(sample.image.pixels[0], 1); /* as it was */
        assert_int_equal(sample.pair.pixels[0], 11);
    }
    char reports[2000] = "";
    int64_t bad;
    assert_int_equal(lam_dataset_check(set, count_reports, reports, &bad), LAM_OK);
    assert_int_equal(bad, 4);
    assert_non_null(strstr(reports, "HR/c.png | 12 x 3 pixels are fewer"));
    lam_dataset_close(set);
    options.skip_bad = true;
    set = open_set(folder, &options);
    assert_int_equal(set->count, 1);
    assert_int_equal(set->left_out, 4);
    expect(set, 0, "a.png", 1, 11);
    lam_dataset_close(set);
    lam_sample_free(&sample);
    remove_folder(folder);
}

/* ---- samples kept in memory ---- */

static void samples_are_kept_up_to_the_limit(void **state) {
    (void)state;
    char *folder = make_folder(), name[64];
    for (int i = 0; i < 4; i++) { /* 64 + 16 bytes each */
        snprintf(name, sizeof name, "HR/%d.png", i);
        put(folder, name, 8, 8, 1, i);
        snprintf(name, sizeof name, "LR/X2/%dx2.png", i);
        put(folder, name, 4, 4, 1, 10 + i);
    }
    static const struct {
        uint64_t limit;
        int kept;
    } cases[] = {{0, 0}, {79, 0}, {80, 1}, {170, 2}, {320, 4}, {UINT64_MAX / 2, 4}};
    for (size_t k = 0; k < sizeof cases / sizeof cases[0]; k++) {
        struct lam_dataset_options options = {.scale = 2, .pairs = true, .cache_bytes = cases[k].limit};
        struct lam_dataset *set = open_set(folder, &options);
        struct lam_sample scratch = {0};
        int kept = 0;
        for (int round = 0; round < 2; round++)
            for (int i = 3; i >= 0; i--) {
                const struct lam_sample *sample, *again;
                assert_int_equal(lam_dataset_borrow(set, i, &scratch, &sample), LAM_OK);
                assert_int_equal(sample->image.pixels[63], i);
                assert_int_equal(sample->pair.pixels[15], 10 + i);
                assert_int_equal(lam_dataset_borrow(set, i, &scratch, &again), LAM_OK);
                assert_ptr_equal(sample, again);
                kept += round && sample != &scratch;
                snprintf(name, sizeof name, "/%d.png", i);
                expect(set, i, name, i, 10 + i); /* a copy */
            }
        assert_int_equal(kept, cases[k].kept);
        const struct lam_sample *none;
        assert_int_equal(lam_dataset_borrow(set, 4, &scratch, &none), LAM_ERR_INVALID);
        assert_int_equal(lam_dataset_borrow(set, -1, &scratch, &none), LAM_ERR_INVALID);
        lam_sample_free(&scratch);
        lam_dataset_close(set);
    }
    remove_folder(folder);
}

static void what_is_kept_is_not_read_again(void **state) {
    (void)state;
    char *folder = make_folder();
    put(folder, "a.png", 8, 8, 3, 1);
    struct lam_dataset_options options = {.cache_bytes = 1000};
    struct lam_dataset *set = open_set(folder, &options);
    expect(set, 0, "a.png", 1, -1);
    put(folder, "a.png", 8, 8, 3, 2);
    expect(set, 0, "a.png", 1, -1);
    lam_dataset_close(set);
    remove_folder(folder);
}

struct reader {
    const struct lam_dataset *set;
    uint64_t sum;
    int start;
};

static void *read_all(void *argument) {
    struct reader *reader = argument;
    struct lam_sample scratch = {0};
    for (int k = 0; k < 120; k++) {
        int i = (k + reader->start) % 30;
        const struct lam_sample *sample;
        if (lam_dataset_borrow(reader->set, i, &scratch, &sample) != LAM_OK) return NULL;
        for (int p = 0; p < 16 * 16; p++) reader->sum += (uint64_t)(i + 1) * sample->image.pixels[p];
    }
    lam_sample_free(&scratch);
    return NULL;
}

static void threads_share_what_is_kept(void **state) {
    (void)state;
    char *folder = make_folder(), name[64];
    for (int i = 0; i < 30; i++) {
        snprintf(name, sizeof name, "%02d.png", i);
        put(folder, name, 16, 16, 1, i);
    }
    struct lam_dataset_options options = {.cache_bytes = 20 * 256};
    struct lam_dataset *set = open_set(folder, &options);
    pthread_t threads[4];
    struct reader readers[4];
    for (int t = 0; t < 4; t++) {
        readers[t] = (struct reader){.set = set, .start = t * 7};
        assert_int_equal(pthread_create(&threads[t], NULL, read_all, &readers[t]), 0);
    }
    uint64_t expected = 0;
    for (uint64_t i = 0; i < 30; i++) expected += 4 * 256 * (i + 1) * i;
    for (int t = 0; t < 4; t++) {
        pthread_join(threads[t], NULL);
        assert_true(readers[t].sum == expected);
    }
    lam_dataset_close(set);
    remove_folder(folder);
}

/* ---- the shared data ---- */

static void the_shared_sets(void **state) {
    (void)state;
    if (!sample_data("set5") || !sample_data("set14") || !sample_data("t91") || !sample_data("bsds200"))
        skip();
    char *root = strdup(sample_data(""));
    for (int scale = 2; scale <= 4; scale++) {
        struct lam_dataset_options options = {.scale = scale, .pairs = true};
        char *paths = lam_format("%s/set5+%s/set14", root, root);
        struct lam_dataset *set = open_set(paths, &options);
        assert_int_equal(set->count, 19);
        int64_t bad;
        assert_int_equal(lam_dataset_check(set, NULL, NULL, &bad), LAM_OK);
        assert_int_equal(bad, 0);
        struct lam_sample sample = {0};
        int gray = 0;
        for (int i = 0; i < 19; i++) {
            assert_int_equal(lam_dataset_read(set, i, &sample), LAM_OK);
            assert_int_equal(sample.pair.width, sample.image.width / scale);
            gray += sample.image.channels == 1;
        }
        assert_int_equal(gray, 1); /* bridge */
        lam_sample_free(&sample);
        lam_dataset_close(set);
        free(paths);
    }
    char *paths = lam_format("%s/t91+%s/bsds200", root, root);
    struct lam_dataset *set = open_set(paths, &x2);
    assert_int_equal(set->count, 291);
    lam_dataset_close(set);
    free(paths);
    free(root);
}

static void the_image_zoo(void **state) {
    (void)state;
    const char *path = sample_data("image-zoo");
    if (!path) skip();
    struct lam_dataset_options options = {.scale = 2, .skip_bad = true};
    struct lam_dataset *set = open_set(path, &options);
    struct lam_sample sample = {0};
    int channels[5] = {0};
    for (int i = 0; i < set->count; i++) {
        assert_int_equal(lam_dataset_read(set, i, &sample), LAM_OK);
        channels[sample.image.channels]++;
    }
    assert_true(set->count >= 22 && set->left_out >= 5); /* bmp, pgm, ppm, arithmetic coding, truncated */
    for (int c = 1; c <= 4; c++) assert_true(channels[c] > 0);
    lam_sample_free(&sample);
    lam_dataset_close(set);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_folder_of_images),
        cmocka_unit_test(channels_are_the_files),
        cmocka_unit_test(partners_are_found_by_name),
        cmocka_unit_test(names_that_look_alike),
        cmocka_unit_test(partners_that_do_not_pair_up),
        cmocka_unit_test(several_folders),
        cmocka_unit_test(a_set_that_was_moved_is_the_same),
        cmocka_unit_test(folders_without_images),
        cmocka_unit_test(samples_that_do_not_fit),
        cmocka_unit_test(samples_are_kept_up_to_the_limit),
        cmocka_unit_test(what_is_kept_is_not_read_again),
        cmocka_unit_test(threads_share_what_is_kept),
        cmocka_unit_test(the_shared_sets),
        cmocka_unit_test(the_image_zoo),
    };
    return cmocka_run_group_tests_name("srdir", tests, NULL, NULL);
}
