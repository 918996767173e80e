/* What a person sees while a run goes on: a bar on a terminal, plain lines otherwise.
 *
 *     struct lam_progress *progress;
 *     struct lam_progress_options options = {.lines = stdout, .bar = stderr};
 *     LAM_TRY(lam_progress_create(&options, &progress));
 *     lam_progress_step(progress, &state);      // each step; draws at most ten times a second
 *     lam_progress_line(progress, "epoch 1/10  loss 1.52  accuracy 0.447");      // above the bar
 *     lam_progress_destroy(progress);           // takes the bar away
 */
#ifndef LAM_TRAIN_PROGRESS_H
#define LAM_TRAIN_PROGRESS_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include "base/status.h"

struct lam_progress_options {
    FILE *lines; /* where whole lines go; NULL: nowhere */
    FILE *bar;   /* where the bar goes, if it is a terminal; NULL or none: a line every 10 seconds to `lines`
                  */
    bool force_bar; /* draw even if `bar` is no terminal (tests) */
};

struct lam_progress_state {
    int64_t epoch, epochs;  /* from 1 */
    int64_t batch, batches; /* done in this epoch */
    int64_t steps_left;     /* of the whole run */
    int samples;            /* in the last step */
    double loss, accuracy;  /* means over this epoch; accuracy < 0: there is none */
    size_t peak_bytes;
    /* "97/2/1 95/5/0": percent of the time that each device was busy, starved and blocked; NULL or empty: not told */
    const char *stages;
};

struct lam_progress;
lam_status lam_progress_create(const struct lam_progress_options *options, struct lam_progress **progress);
void lam_progress_destroy(struct lam_progress *progress);

void lam_progress_step(struct lam_progress *progress, const struct lam_progress_state *state);
void lam_progress_line(struct lam_progress *progress, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
/* The clock stands still between pause and resume: evaluation does not count as training time. */
void lam_progress_pause(struct lam_progress *progress, const char *what);
void lam_progress_resume(struct lam_progress *progress);

/* Images per second of training since the start of this process, without pauses. */
double lam_progress_rate(const struct lam_progress *progress);

/* The bar's line for `width` columns (0: a plain line, without a bar); returns text. `rate` <= 0: not known
 * yet. */
const char *lam_progress_text(const struct lam_progress_state *state, double rate, double seconds_left,
                              int width, char *text, size_t size);

#endif
