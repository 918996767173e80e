/* The bar is one line, redrawn in place; whole lines go above it. The rate is measured over this process's
 * own steps and over training time alone, so neither a resume nor evaluation distorts rate and time left. */
#include "train/progress.h"

#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "base/files.h"

struct lam_progress {
    struct lam_progress_options options;
    bool bar;             /* a bar is drawn */
    bool shown;           /* and stands on the screen now */
    double begin, paused; /* seconds: start, and all pauses so far */
    double pause_begin;
    double drawn, lined; /* when the last bar and the last plain line came */
    int64_t samples, steps;
};

static const double bar_interval = 0.1, line_interval = 10;

lam_status lam_progress_create(const struct lam_progress_options *options, struct lam_progress **progress) {
    struct lam_progress *p = calloc(1, sizeof *p);
    if (!p) return lam_no_memory();
    p->options = *options;
    p->bar = options->bar && (options->force_bar || isatty(fileno(options->bar)));
    p->begin = p->lined = lam_seconds();
    *progress = p;
    return LAM_OK;
}

static void clear_bar(struct lam_progress *p) {
    if (!p->shown) return;
    fputs("\r\033[K", p->options.bar);
    fflush(p->options.bar);
    p->shown = false;
}

void lam_progress_destroy(struct lam_progress *progress) {
    if (!progress) return;
    clear_bar(progress);
    free(progress);
}

static double trained_seconds(const struct lam_progress *p) {
    double now = p->pause_begin > 0 ? p->pause_begin : lam_seconds();
    return now - p->begin - p->paused;
}

double lam_progress_rate(const struct lam_progress *progress) {
    double seconds = trained_seconds(progress);
    return progress->samples && seconds > 0 ? (double)progress->samples / seconds : 0;
}

static void time_text(double seconds, char *text, size_t size) {
    long s = seconds < 0 ? 0 : seconds > 3.6e7 ? 36000000 : (long)(seconds + 0.5);
    if (s >= 3600)
        snprintf(text, size, "%ld:%02ld:%02ld", s / 3600, s / 60 % 60, s % 60);
    else
        snprintf(text, size, "%ld:%02ld", s / 60, s % 60);
}

const char *lam_progress_text(const struct lam_progress_state *state, double rate, double seconds_left,
                              int width, char *text, size_t size) {
    char left[32] = "-:--", peak[32], accuracy[32] = "", stages[256] = "", tail[512];
    if (rate > 0) time_text(seconds_left, left, sizeof left);
    if (state->accuracy >= 0) snprintf(accuracy, sizeof accuracy, "  acc %.3f", state->accuracy);
    if (state->stages && *state->stages)
        snprintf(stages, sizeof stages, "  busy/starved/blocked %.200s %%", state->stages);
    lam_bytes_text(state->peak_bytes, peak, sizeof peak);
    int tail_length = snprintf(tail, sizeof tail, " %lld/%lld  loss %.4f%s  %.0f img/s  left %s  peak %s%s",
                               (long long)state->batch, (long long)state->batches, state->loss, accuracy,
                               rate, left, peak, stages);
    char head[64];
    int head_length =
        snprintf(head, sizeof head, "epoch %lld/%lld ", (long long)state->epoch, (long long)state->epochs);
    int room = width - head_length - tail_length - 2;
    if (room > 30) room = 30;
    if (width == 0) {
        snprintf(text, size, "%s%s", head, tail);
        return text;
    }
    if (room < 5) { /* no place for a bar */
        snprintf(text, size, "%s%.*s", head, width > head_length ? width - head_length : 0, tail + 1);
        return text;
    }
    char bar[33] = {0};
    int64_t done = state->batches ? state->batch * room / state->batches : 0;
    for (int i = 0; i < room; i++) bar[i] = i < done ? '#' : '-';
    snprintf(text, size, "%s[%s]%s", head, bar, tail);
    return text;
}

static int terminal_width(FILE *file) {
    struct winsize size;
    return ioctl(fileno(file), TIOCGWINSZ, &size) == 0 && size.ws_col > 20 ? size.ws_col - 1 : 99;
}

void lam_progress_step(struct lam_progress *progress, const struct lam_progress_state *state) {
    progress->samples += state->samples;
    progress->steps++;
    double now = lam_seconds(), seconds = trained_seconds(progress);
    bool draw = progress->bar && now - progress->drawn >= bar_interval;
    bool line = !progress->bar && progress->options.lines && now - progress->lined >= line_interval;
    if (!draw && !line) return;
    char text[512];
    double left = seconds / (double)progress->steps * (double)state->steps_left;
    int width = draw ? terminal_width(progress->options.bar) : 0;
    lam_progress_text(state, lam_progress_rate(progress), left, width, text, sizeof text);
    if (draw) {
        fprintf(progress->options.bar, "\r%s\033[K", text);
        fflush(progress->options.bar);
        progress->drawn = now;
        progress->shown = true;
        return;
    }
    fprintf(progress->options.lines, "%s\n", text);
    fflush(progress->options.lines);
    progress->lined = now;
}

void lam_progress_line(struct lam_progress *progress, const char *format, ...) {
    clear_bar(progress);
    if (!progress->options.lines) return;
    va_list arguments;
    va_start(arguments, format);
    vfprintf(progress->options.lines, format, arguments);
    va_end(arguments);
    fputc('\n', progress->options.lines);
    fflush(progress->options.lines);
    progress->lined = lam_seconds();
}

void lam_progress_pause(struct lam_progress *progress, const char *what) {
    if (progress->pause_begin <= 0) progress->pause_begin = lam_seconds();
    if (!progress->bar || !what) return;
    fprintf(progress->options.bar, "\r%s\033[K", what);
    fflush(progress->options.bar);
    progress->shown = true;
}

void lam_progress_resume(struct lam_progress *progress) {
    if (progress->pause_begin > 0) progress->paused += lam_seconds() - progress->pause_begin;
    progress->pause_begin = 0;
}
