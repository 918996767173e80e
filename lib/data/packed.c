/* Raw images of one size in memory. Files are read whole, once: a mapped file that somebody shortens in
 * mid-run would kill the program. Reading a sample only copies, so any number of threads may do it. */
#include "data/packed.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/rng.h"

void lam_packed_part_free(struct lam_packed_part *part) {
    free(part->path);
    free(part->label_path);
    free(part->data);
    free(part->label_data);
    *part = (struct lam_packed_part){0};
}

struct lam_packed *lam_packed_new(void) {
    struct lam_packed *packed = calloc(1, sizeof *packed);
    if (!packed) lam_no_memory();
    return packed;
}

void lam_packed_free(struct lam_packed *packed) {
    if (!packed) return;
    for (int i = 0; i < packed->part_count; i++) lam_packed_part_free(&packed->parts[i]);
    free(packed->parts);
    free(packed);
}

lam_status lam_packed_add(struct lam_packed *packed, const struct lam_packed_part *part) {
    struct lam_packed_part *parts =
        realloc(packed->parts, (size_t)(packed->part_count + 1) * sizeof *packed->parts);
    if (!parts) {
        struct lam_packed_part mine = *part;
        lam_packed_part_free(&mine);
        return lam_no_memory();
    }
    packed->parts = parts;
    parts[packed->part_count++] = *part;
    return LAM_OK;
}

static const struct lam_packed_part *part_of(const struct lam_packed *packed, int64_t *index) {
    const struct lam_packed_part *part = packed->parts;
    while (*index >= part->count) *index -= (part++)->count;
    return part;
}

static lam_status read_label(const struct lam_dataset *dataset, const struct lam_packed_part *part,
                             int64_t index, int *label) {
    const struct lam_packed *packed = dataset->state;
    const uint8_t *data = part->label_data ? part->label_data : part->data;
    size_t at = part->labels + (size_t)index * part->step;
    int value = data[at];
    *label = packed->wrapped_label && value == packed->wrapped_label ? 0 : value - packed->first_label;
    if (*label >= 0 && *label < dataset->classes) return LAM_OK;
    return lam_fail(LAM_ERR_FORMAT, "%s: label %d of record %lld (byte %zu) is not in %d..%d",
                    part->label_path ? part->label_path : part->path, value, (long long)index, at,
                    packed->first_label, packed->first_label + dataset->classes - 1);
}

static lam_status check_labels(const struct lam_dataset *dataset) {
    const struct lam_packed *packed = dataset->state;
    int label;
    for (int p = 0; p < packed->part_count; p++)
        for (int64_t i = 0; i < packed->parts[p].count; i++)
            LAM_TRY(read_label(dataset, &packed->parts[p], i, &label));
    return LAM_OK;
}

lam_status lam_packed_finish(struct lam_packed *packed, const struct lam_dataset_options *options,
                             struct lam_dataset *dataset) {
    dataset->state = packed;
    dataset->count = 0;
    for (int p = 0; p < packed->part_count; p++) dataset->count += packed->parts[p].count;
    dataset->width = packed->width;
    dataset->height = packed->height;
    dataset->channels = packed->channels;
    return options->skip_bad ? LAM_OK : check_labels(dataset);
}

void lam_packed_close(struct lam_dataset *dataset) {
    lam_packed_free(dataset->state);
    dataset->state = NULL;
}

/* One channel at a time: the source is read in order where a file holds planes. */
static void copy_pixels(const struct lam_packed *packed, const uint8_t *from, uint8_t *to) {
    size_t channels = (size_t)packed->channels, width = (size_t)packed->width, step = packed->step_x;
    for (size_t c = 0; c < channels; c++)
        for (int y = 0; y < packed->height; y++) {
            const uint8_t *row = from + c * packed->step_channel + (size_t)y * packed->step_y;
            uint8_t *out = to + (size_t)y * width * channels + c;
            for (size_t x = 0; x < width; x++) out[x * channels] = row[x * step];
        }
}

lam_status lam_packed_read(const struct lam_dataset *dataset, int64_t index, struct lam_sample *sample) {
    const struct lam_packed *packed = dataset->state;
    const struct lam_packed_part *part = part_of(packed, &index);
    int label;
    LAM_TRY(read_label(dataset, part, index, &label));
    LAM_TRY(lam_image_alloc(&sample->image, packed->width, packed->height, packed->channels));
    copy_pixels(packed, part->data + part->pixels + (size_t)index * part->record, sample->image.pixels);
    sample->label = label;
    return LAM_OK;
}

const char *lam_packed_describe(const struct lam_dataset *dataset, int64_t index, char *text, size_t size) {
    const struct lam_packed_part *part = part_of(dataset->state, &index);
    snprintf(text, size, "%s:%lld", part->path, (long long)index);
    return text;
}

uint64_t lam_packed_hash(const struct lam_dataset *dataset) {
    const struct lam_packed *packed = dataset->state;
    int64_t shape[] = {packed->width, packed->height, packed->channels, dataset->classes};
    uint64_t hash = lam_hash_bytes(LAM_HASH_EMPTY, shape, sizeof shape);
    for (int p = 0; p < packed->part_count; p++) {
        const struct lam_packed_part *part = &packed->parts[p];
        const uint8_t *label = (part->label_data ? part->label_data : part->data) + part->labels;
        for (int64_t i = 0; i < part->count; i++)
            hash = lam_hash_bytes(hash, label + (size_t)i * part->step, 1);
    }
    return hash;
}

void lam_packed_measure(const uint8_t *bytes, size_t count, struct lam_dataset *dataset) {
    uint64_t found[256] = {0};
    double sum = 0, squares = 0;
    for (size_t i = 0; i < count; i++) found[bytes[i]]++;
    for (int v = 0; v < 256; v++) {
        sum += (double)found[v] * v;
        squares += (double)found[v] * v * v;
    }
    double mean = sum / (double)count, variance = fmax(squares / (double)count - mean * mean, 0);
    dataset->mean[0] = (float)(mean / 255);
    dataset->deviation[0] = (float)fmax(sqrt(variance) / 255, 1.0 / 255);
}
