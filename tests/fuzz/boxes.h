/* For fuzz targets of sets with boxes: opens the set in both ways and reads all of it. */
#ifndef TESTS_FUZZ_BOXES_H
#define TESTS_FUZZ_BOXES_H

#include "data/dataset.h"
#include "fuzz/fuzz.h"

static inline void fuzz_check_boxes(const struct lam_dataset *set, const struct lam_sample *sample, int width,
                                    int height) {
    for (int b = 0; b < sample->box_count; b++) {
        const struct lam_box *box = &sample->boxes[b];
        FUZZ_CHECK(box->label >= 0 && box->label < set->classes);
        FUZZ_CHECK(box->x0 >= 0 && box->x0 < box->x1 && box->x1 <= (float)width);
        FUZZ_CHECK(box->y0 >= 0 && box->y0 < box->y1 && box->y1 <= (float)height);
        FUZZ_CHECK(box->area >= 0);
    }
}

static inline void fuzz_read_set(const struct lam_dataset *set, bool skip_bad) {
    struct lam_sample sample = {0};
    int64_t failed = 0, bad = 0, kept = 0;
    int width, height;
    for (int64_t i = 0; i < set->count; i++) {
        failed += lam_dataset_read(set, i, &sample) != LAM_OK;
        FUZZ_CHECK(lam_dataset_read_boxes(set, i, &sample, &width, &height) == LAM_OK);
        fuzz_check_boxes(set, &sample, width, height);
        kept += sample.box_count;
    }
    lam_sample_free(&sample);
    FUZZ_CHECK(kept == set->counts.kept && set->counts.clipped <= kept);
    FUZZ_CHECK(lam_dataset_check(set, NULL, NULL, &bad) == LAM_OK);
    FUZZ_CHECK(skip_bad ? failed == 0 && bad == set->left_out + set->counts.strays : bad == failed);
}

static inline void fuzz_boxes(const char *text) {
    for (int skip_bad = 0; skip_bad < 2; skip_bad++) {
        struct lam_dataset_options options = {.content = LAM_CONTENT_BOXES, .skip_bad = skip_bad};
        struct lam_dataset *set = NULL;
        if (lam_dataset_open(text, LAM_SPLIT_TRAIN, &options, &set) != LAM_OK) continue;
        fuzz_read_set(set, skip_bad);
        (void)lam_dataset_hash(set);
        lam_dataset_close(set);
    }
}

#endif
