/* For tests of data sets with boxes. What goes wrong here fails the test. */
#ifndef TESTS_BOX_SETS_H
#define TESTS_BOX_SETS_H

#include "data/dataset.h"

enum { MOST_REPORTS = 16 };

struct reports {
    int count;
    char text[MOST_REPORTS][1600]; /* "index what | reason" */
};

/* A gray PNG, whatever its name says. */
void write_picture(const char *folder, const char *name, int width, int height);

/* `where`: "folder" or "folder#part". */
struct lam_dataset *open_boxes(const char *format, const char *where, enum lam_split split, bool skip_bad);

/* Opening fails so, with one line that has all of the parts that are divided by |. */
void refuses_boxes(const char *format, const char *where, enum lam_split split, lam_status expected,
                   const char *says);
void assert_text_says(const char *text, const char *says);

/* The same set with skip_bad leaves out `left_out` of the samples. */
struct lam_dataset *open_without_bad(const char *format, const char *where, int64_t left_out);

void check_set(const struct lam_dataset *set, struct reports *reports);

void read_sample(const struct lam_dataset *set, int64_t index, struct lam_sample *sample);
void assert_box(const struct lam_sample *sample, int index, int label, double x0, double y0, double x1,
                double y1);
void assert_counts(const struct lam_dataset *set, int64_t kept, int64_t clipped, int64_t degenerate,
                   int64_t outside, int64_t strays);

/* lam_dataset_hash of its training part. */
uint64_t hash_of_boxes(const char *format, const char *where);

/* Reading boxes alone gives what reading samples gives; boxes lie in their images. */
void assert_boxes_agree(const struct lam_dataset *set);

#endif
