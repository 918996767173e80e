/* Data sets behind one interface: which format a text names, samples by number, normalisation, and what to do
 * with samples that cannot be read.
 *
 * Leaving out bad samples must not depend on who reads when, so it is decided when the set is opened: every
 * sample is read once and the good ones are numbered anew. That costs a pass over the data, and only those
 * who ask for it pay. */
#include "data/dataset.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/files.h"
#include "base/rng.h"
#include "data/formats.h"
#include "data/sample_cache.h"

struct opened {
    struct lam_dataset set;         /* first: the public part */
    int64_t total;                  /* samples in the files, good or bad */
    int64_t *good, *bad;            /* their numbers in the files when bad ones are left out; else NULL */
    struct lam_sample_cache *cache; /* or NULL */
};

void lam_sample_free(struct lam_sample *sample) {
    lam_image_free(&sample->image);
    lam_image_free(&sample->pair);
    free(sample->boxes);
    *sample = (struct lam_sample){0};
}

const struct lam_dataset_format *const *lam_dataset_formats(void) {
    return lam_format_table;
}

enum { MAX_FORMATS = 32 };

static lam_status unknown_format(const char *name) {
    const char *names[MAX_FORMATS];
    char list[256] = "";
    int count = 0;
    for (; lam_format_table[count] && count < MAX_FORMATS; count++) {
        names[count] = lam_format_table[count]->name;
        size_t used = strlen(list);
        snprintf(list + used, sizeof list - used, "%s%s", count ? ", " : "", names[count]);
    }
    if (strchr(name, '/') || lam_path_exists(name))
        return lam_fail(LAM_ERR_NOT_FOUND, "data '%s' names no format; write FORMAT:PATH with one of %s",
                        name, list);
    const char *nearest = lam_nearest(name, names, count);
    if (nearest)
        return lam_fail(LAM_ERR_NOT_FOUND, "there is no data format '%s'; did you mean '%s'?", name, nearest);
    return lam_fail(LAM_ERR_NOT_FOUND, "there is no data format '%s'; there are %s", name, list);
}

static lam_status check_path(const struct lam_dataset_format *format, const char *path) {
    if (!lam_path_exists(path)) return lam_fail(LAM_ERR_NOT_FOUND, "%s: does not exist", path);
    if (!lam_path_is_folder(path))
        return lam_fail(LAM_ERR_INVALID, "%s: is not a folder (%s expects %s)", path, format->name,
                        format->help);
    return LAM_OK;
}

/* Cuts "path#part" in two. A folder may have a # in its name: then the text as a whole exists. *part stays NULL if
 * there is none. */
static lam_status split_part(const struct lam_dataset_format *format, char *path, char **part) {
    char *mark = format->takes_part && !lam_path_exists(path) ? strrchr(path, '#') : NULL;
    if (!mark) return LAM_OK;
    *mark = 0;
    if (!mark[1])
        return lam_fail(LAM_ERR_INVALID, "%s#: no part is named; leave the # out, or write %s:PATH#PART",
                        path, format->name);
    *part = strdup(mark + 1);
    return *part ? LAM_OK : lam_no_memory();
}

static lam_status find_format(const char *text, const struct lam_dataset_format **format, const char **path) {
    const char *colon = strchr(text, ':');
    char *name = colon ? strndup(text, (size_t)(colon - text)) : strdup(text);
    if (!name) return lam_no_memory();
    *format = NULL;
    for (int i = 0; lam_format_table[i]; i++)
        if (!strcmp(name, lam_format_table[i]->name)) *format = lam_format_table[i];
    lam_status status = *format ? LAM_OK : unknown_format(name);
    free(name);
    LAM_TRY(status);
    *path = colon ? colon + 1 : "";
    const char *known = (*format)->name;
    if (!(*format)->needs_path)
        return **path ? lam_fail(LAM_ERR_INVALID, "data '%s': %s is generated and takes no path", text, known)
                      : LAM_OK;
    if (!**path)
        return lam_fail(LAM_ERR_INVALID, "data '%s': %s needs a path; write %s:PATH (%s)", text, known, known,
                        (*format)->help);
    return LAM_OK;
}

/* The sample is to blame, not the disk or the memory. */
static bool is_bad_sample(lam_status status) {
    return status == LAM_ERR_FORMAT || status == LAM_ERR_UNSUPPORTED;
}

/* Sorts the samples into good and bad ones by reading each. */
static lam_status leave_out_bad(struct opened *opened) {
    struct lam_dataset *set = &opened->set;
    opened->good = malloc((size_t)opened->total * sizeof *opened->good);
    opened->bad = malloc((size_t)opened->total * sizeof *opened->bad);
    if (!opened->good || !opened->bad) return lam_no_memory();
    struct lam_sample sample = {0};
    int64_t good = 0;
    lam_status status = LAM_OK, bad = LAM_OK;
    for (int64_t i = 0; i < opened->total && (status == LAM_OK || is_bad_sample(status)); i++) {
        status = set->format->read(set, i, &sample);
        if (status == LAM_OK) opened->good[good++] = i;
        if (!is_bad_sample(status)) continue;
        opened->bad[set->left_out++] = i;
        bad = status;
    }
    lam_sample_free(&sample);
    if (status != LAM_OK && !is_bad_sample(status)) return status;
    if (good == 0) return lam_fail_in(bad, "no sample of the data set can be read; one reason");
    set->count = good;
    return LAM_OK;
}

static void count_boxes(struct opened *opened) {
    struct lam_dataset *set = &opened->set;
    for (int64_t i = 0; i < set->count; i++)
        set->format->count_boxes(set, opened->good ? opened->good[i] : i, &set->counts);
}

static lam_status open_as(const char *text, char *path, enum lam_split split,
                          const struct lam_dataset_options *options, struct opened *opened) {
    struct lam_dataset *set = &opened->set;
    if (set->format->needs_path && !set->format->takes_paths) {
        LAM_TRY(split_part(set->format, path, &set->part));
        LAM_TRY(check_path(set->format, path));
    }
    LAM_TRY(set->format->open(path, split, options, set));
    if (set->count < 1) return lam_fail(LAM_ERR_FORMAT, "%s: the data set has no samples", text);
    opened->total = set->count;
    if (options->skip_bad) LAM_TRY(leave_out_bad(opened));
    if (set->has_boxes) count_boxes(opened);
    if (options->cache_bytes)
        LAM_TRY(lam_sample_cache_create(set->count, options->cache_bytes, &opened->cache));
    return LAM_OK;
}

lam_status lam_dataset_open(const char *text, enum lam_split split, const struct lam_dataset_options *options,
                            struct lam_dataset **dataset) {
    static const struct lam_dataset_options defaults = {0};
    if (!options) options = &defaults;
    const struct lam_dataset_format *format = NULL;
    const char *path = NULL;
    LAM_TRY(find_format(text, &format, &path));
    struct opened *opened = calloc(1, sizeof *opened);
    char *mine = strdup(path);
    lam_status status = opened && mine ? LAM_OK : lam_no_memory();
    if (status == LAM_OK) {
        opened->set.format = format;
        status = open_as(text, mine, split, options, opened);
    }
    free(mine);
    if (status == LAM_OK)
        *dataset = &opened->set;
    else if (opened && opened->set.format)
        lam_dataset_close(&opened->set);
    else
        free(opened);
    return status;
}

void lam_dataset_close(struct lam_dataset *dataset) {
    if (!dataset) return;
    struct opened *opened = (struct opened *)dataset;
    dataset->format->close(dataset);
    lam_class_names_free(dataset);
    free(dataset->category_ids);
    free(dataset->part);
    lam_sample_cache_destroy(opened->cache);
    free(opened->good);
    free(opened->bad);
    free(opened);
}

static int64_t number_in_files(const struct lam_dataset *dataset, int64_t index) {
    const struct opened *opened = (const struct opened *)dataset;
    return opened->good ? opened->good[index] : index;
}

static lam_status check_index(const struct lam_dataset *dataset, int64_t index) {
    if (index >= 0 && index < dataset->count) return LAM_OK;
    return lam_fail(LAM_ERR_INVALID, "sample %lld of a data set of %lld", (long long)index,
                    (long long)dataset->count);
}

lam_status lam_dataset_read_boxes(const struct lam_dataset *dataset, int64_t index, struct lam_sample *sample,
                                  int *width, int *height) {
    LAM_TRY(check_index(dataset, index));
    if (!dataset->has_boxes) return lam_fail(LAM_ERR_UNSUPPORTED, "%s: has no boxes", dataset->format->name);
    return dataset->format->read_boxes(dataset, number_in_files(dataset, index), sample, width, height);
}

static lam_status read_files(const struct lam_dataset *dataset, int64_t index, struct lam_sample *sample) {
    LAM_TRY(check_index(dataset, index));
    int64_t number = number_in_files(dataset, index);
    if (!dataset->has_boxes) {
        sample->box_count = 0;
        sample->image_id = number;
    }
    return dataset->format->read(dataset, number, sample);
}

lam_status lam_dataset_borrow(const struct lam_dataset *dataset, int64_t index, struct lam_sample *scratch,
                              const struct lam_sample **sample) {
    const struct opened *opened = (const struct opened *)dataset;
    *sample = lam_sample_cache_find(opened->cache, index);
    if (*sample) return LAM_OK;
    LAM_TRY(read_files(dataset, index, scratch));
    *sample = lam_sample_cache_keep(opened->cache, index, scratch);
    if (!*sample) *sample = scratch;
    return LAM_OK;
}

lam_status lam_dataset_read(const struct lam_dataset *dataset, int64_t index, struct lam_sample *sample) {
    const struct lam_sample *found;
    LAM_TRY(lam_dataset_borrow(dataset, index, sample, &found));
    return found == sample ? LAM_OK : lam_sample_copy(found, sample);
}

const char *lam_dataset_describe(const struct lam_dataset *dataset, int64_t index, char *text, size_t size) {
    return dataset->format->describe(dataset, number_in_files(dataset, index), text, size);
}

uint64_t lam_dataset_hash(const struct lam_dataset *dataset) {
    const struct opened *opened = (const struct opened *)dataset;
    uint64_t hash = dataset->format->hash(dataset);
    if (!opened->good) return hash;
    return lam_hash_bytes(hash, opened->good, (size_t)dataset->count * sizeof *opened->good);
}

struct moments {
    uint64_t count, sum[3], squares[3];
};

static void add_image(struct moments *moments, const struct lam_image *image) {
    bool colour = image->channels >= 3; /* gray counts for all three */
    size_t count = (size_t)image->width * (size_t)image->height;
    for (size_t i = 0; i < count; i++)
        for (int c = 0; c < 3; c++) {
            uint64_t value = image->pixels[i * (size_t)image->channels + (size_t)(colour ? c : 0)];
            moments->sum[c] += value;
            moments->squares[c] += value * value;
        }
    moments->count += count;
}

lam_status lam_dataset_measure(struct lam_dataset *dataset, int64_t limit) {
    int64_t used = limit > 0 && limit < dataset->count ? limit : dataset->count;
    struct moments moments = {0};
    struct lam_sample sample = {0};
    for (int64_t i = 0; i < used; i++) {
        int64_t index = (int64_t)((double)i * (double)dataset->count / (double)used);
        lam_status status = lam_dataset_read(dataset, index, &sample);
        if (status != LAM_OK) {
            lam_sample_free(&sample);
            return status;
        }
        add_image(&moments, &sample.image);
    }
    lam_sample_free(&sample);
    for (int c = 0; c < dataset->channels; c++) {
        double count = (double)moments.count, mean = (double)moments.sum[c] / count;
        double variance = fmax((double)moments.squares[c] / count - mean * mean, 0);
        dataset->mean[c] = (float)(mean / 255);
        /* a set of one colour must not divide by zero */
        dataset->deviation[c] = (float)fmax(sqrt(variance) / 255, 1.0 / 255);
    }
    return LAM_OK;
}

/* The reason without the sample's name before it, "file" or "file:record", which is told apart. */
static const char *bare_reason(const char *what) {
    const char *reason = lam_error_text(), *record = strrchr(what, ':');
    size_t lengths[] = {strlen(what), record ? (size_t)(record - what) : 0};
    for (int i = 0; i < 2; i++)
        if (lengths[i] && !strncmp(reason, what, lengths[i]) && !strncmp(reason + lengths[i], ": ", 2))
            return reason + lengths[i] + 2;
    return reason;
}

lam_status lam_dataset_check(const struct lam_dataset *dataset,
                             void (*report)(void *context, int64_t index, const char *what,
                                            const char *reason),
                             void *context, int64_t *bad) {
    const struct opened *opened = (const struct opened *)dataset;
    struct lam_sample sample = {0};
    int64_t candidates = opened->bad ? dataset->left_out : opened->total;
    *bad = 0;
    for (int64_t i = 0; i < candidates; i++) {
        int64_t index = opened->bad ? opened->bad[i] : i;
        if (dataset->format->read(dataset, index, &sample) == LAM_OK) continue;
        char what[512];
        dataset->format->describe(dataset, index, what, sizeof what);
        ++*bad;
        if (report) report(context, index, what, bare_reason(what));
    }
    lam_sample_free(&sample);
    if (dataset->format->check_rest) *bad += dataset->format->check_rest(dataset, report, context);
    return LAM_OK;
}
