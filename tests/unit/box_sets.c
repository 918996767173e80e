#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include "unit/box_sets.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/files.h"
#include "unit/sample_files.h"

void write_picture(const char *folder, const char *name, int width, int height) {
    struct lam_image image = {0};
    uint8_t *data;
    size_t size;
    assert_int_equal(lam_image_alloc(&image, width, height, 1), LAM_OK);
    memset(image.pixels, 77, (size_t)width * (size_t)height);
    assert_int_equal(lam_image_encode_png(&image, &data, &size), LAM_OK);
    write_file(folder, name, data, size);
    free(data);
    lam_image_free(&image);
}

static lam_status open_any(const char *format, const char *where, enum lam_split split, bool skip_bad,
                           struct lam_dataset **set) {
    struct lam_dataset_options options = {.content = LAM_CONTENT_BOXES, .skip_bad = skip_bad};
    char *text = lam_format("%s:%s", format, where);
    *set = NULL;
    lam_status status = lam_dataset_open(text, split, &options, set);
    free(text);
    return status;
}

struct lam_dataset *open_boxes(const char *format, const char *where, enum lam_split split, bool skip_bad) {
    struct lam_dataset *set;
    if (open_any(format, where, split, skip_bad, &set) != LAM_OK)
        fail_msg("%s:%s: %s", format, where, lam_error_text());
    assert_true(set->has_boxes);
    return set;
}

void assert_text_says(const char *text, const char *says) {
    char *parts = strdup(says), *rest = NULL;
    for (char *part = strtok_r(parts, "|", &rest); part; part = strtok_r(NULL, "|", &rest))
        if (!strstr(text, part)) fail_msg("'%s' does not say '%s'", text, part);
    if (strchr(text, '\n')) fail_msg("'%s' is more than a line", text);
    free(parts);
}

void refuses_boxes(const char *format, const char *where, enum lam_split split, lam_status expected,
                   const char *says) {
    struct lam_dataset *set;
    lam_status status = open_any(format, where, split, false, &set);
    assert_null(set);
    if (status != expected)
        fail_msg("%s, not %s, for '%s': %s", lam_status_name(status), lam_status_name(expected), says,
                 lam_error_text());
    assert_text_says(lam_error_text(), says);
}

struct lam_dataset *open_without_bad(const char *format, const char *where, int64_t left_out) {
    struct lam_dataset *set = open_boxes(format, where, LAM_SPLIT_TRAIN, true);
    assert_int_equal(set->left_out, left_out);
    return set;
}

static void keep_report(void *context, int64_t index, const char *what, const char *reason) {
    struct reports *reports = context;
    assert_true(reports->count < MOST_REPORTS);
    snprintf(reports->text[reports->count++], sizeof reports->text[0], "%d %s | %s", (int)index, what,
             reason);
}

void check_set(const struct lam_dataset *set, struct reports *reports) {
    int64_t bad = 0, again = 0;
    reports->count = 0;
    assert_int_equal(lam_dataset_check(set, keep_report, reports, &bad), LAM_OK);
    assert_int_equal(bad, reports->count);
    assert_int_equal(lam_dataset_check(set, NULL, NULL, &again), LAM_OK);
    assert_int_equal(again, bad);
}

void read_sample(const struct lam_dataset *set, int64_t index, struct lam_sample *sample) {
    if (lam_dataset_read(set, index, sample) != LAM_OK) fail_msg("%s", lam_error_text());
    assert_int_equal(sample->label, -1);
    assert_int_equal(sample->image.channels, 3);
}

void assert_box(const struct lam_sample *sample, int index, int label, double x0, double y0, double x1,
                double y1) {
    assert_true(index < sample->box_count);
    const struct lam_box *box = &sample->boxes[index];
    assert_int_equal(box->label, label);
    if (box->x0 != (float)x0 || box->y0 != (float)y0 || box->x1 != (float)x1 || box->y1 != (float)y1)
        fail_msg("box %d is %g %g %g %g, not %g %g %g %g", index, (double)box->x0, (double)box->y0,
                 (double)box->x1, (double)box->y1, x0, y0, x1, y1);
}

void assert_counts(const struct lam_dataset *set, int64_t kept, int64_t clipped, int64_t degenerate,
                   int64_t outside, int64_t strays) {
    assert_int_equal(set->counts.kept, kept);
    assert_int_equal(set->counts.clipped, clipped);
    assert_int_equal(set->counts.degenerate, degenerate);
    assert_int_equal(set->counts.outside, outside);
    assert_int_equal(set->counts.strays, strays);
}

static void assert_inside(const struct lam_dataset *set, const struct lam_box *box, int width, int height) {
    assert_in_range(box->label, 0, set->classes - 1);
    assert_true(box->x0 >= 0 && box->x0 < box->x1 && box->x1 <= (float)width);
    assert_true(box->y0 >= 0 && box->y0 < box->y1 && box->y1 <= (float)height);
    assert_true(box->area >= 0);
}

void assert_boxes_agree(const struct lam_dataset *set) {
    struct lam_sample sample = {0}, boxes = {0};
    int64_t kept = 0;
    int width, height;
    for (int64_t i = 0; i < set->count; i++) {
        read_sample(set, i, &sample);
        assert_int_equal(lam_dataset_read_boxes(set, i, &boxes, &width, &height), LAM_OK);
        assert_null(boxes.image.pixels);
        assert_int_equal(width, sample.image.width);
        assert_int_equal(height, sample.image.height);
        assert_int_equal(boxes.box_count, sample.box_count);
        assert_int_equal(boxes.image_id, sample.image_id);
        for (int b = 0; b < sample.box_count; b++) {
            const struct lam_box *box = &sample.boxes[b];
            assert_box(&boxes, b, box->label, box->x0, box->y0, box->x1, box->y1);
            assert_inside(set, box, width, height);
        }
        kept += sample.box_count;
    }
    assert_int_equal(kept, set->counts.kept);
    lam_sample_free(&sample);
    lam_sample_free(&boxes);
}

uint64_t hash_of_boxes(const char *format, const char *where) {
    struct lam_dataset *set = open_boxes(format, where, LAM_SPLIT_TRAIN, false);
    uint64_t hash = lam_dataset_hash(set);
    lam_dataset_close(set);
    return hash;
}
