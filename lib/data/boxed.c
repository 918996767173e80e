/* Image files with boxes. The list is read-only once the set is open, so any number of threads may read
 * samples. */
#include "data/boxed.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/rng.h"

struct lam_boxed *lam_boxed_new(const char *root) {
    struct lam_boxed *boxed = calloc(1, sizeof *boxed);
    if (boxed) boxed->root = strdup(root);
    if (boxed && boxed->root) return boxed;
    lam_boxed_free(boxed);
    lam_no_memory();
    return NULL;
}

void lam_boxed_free(struct lam_boxed *boxed) {
    if (!boxed) return;
    for (int64_t i = 0; i < boxed->count; i++) {
        free(boxed->images[i].path);
        free(boxed->images[i].fault);
        free(boxed->images[i].boxes);
    }
    for (int64_t i = 0; i < boxed->stray_count; i++) free(boxed->strays[i]);
    free(boxed->strays);
    free(boxed->stray_file);
    free(boxed->images);
    free(boxed->root);
    free(boxed);
}

lam_status lam_boxed_add(struct lam_boxed *boxed, char *path, struct lam_boxed_image **image) {
    if (boxed->count == boxed->capacity) {
        int64_t capacity = boxed->capacity ? 2 * boxed->capacity : 256;
        struct lam_boxed_image *images = realloc(boxed->images, (size_t)capacity * sizeof *images);
        if (!images) {
            free(path);
            return lam_no_memory();
        }
        boxed->images = images;
        boxed->capacity = capacity;
    }
    *image = &boxed->images[boxed->count];
    **image = (struct lam_boxed_image){.path = path, .id = boxed->count++};
    return LAM_OK;
}

lam_status lam_boxed_blame(struct lam_boxed_image *image, lam_status status) {
    if (status != LAM_ERR_FORMAT && status != LAM_ERR_NOT_FOUND && status != LAM_ERR_UNSUPPORTED)
        return status;
    if (!image->fault) image->fault = strdup(lam_error_text());
    return image->fault ? LAM_OK : lam_no_memory();
}

lam_status lam_boxed_measure(struct lam_boxed_image *image) {
    struct lam_image pixels = {0};
    LAM_TRY(lam_image_load(image->path, LAM_IMAGE_AS_IS, &pixels));
    image->width = pixels.width;
    image->height = pixels.height;
    lam_image_free(&pixels);
    return LAM_OK;
}

lam_status lam_boxed_add_stray(struct lam_boxed *boxed) {
    if (boxed->stray_count == boxed->stray_capacity) {
        int64_t capacity = boxed->stray_capacity ? 2 * boxed->stray_capacity : 16;
        char **strays = realloc(boxed->strays, (size_t)capacity * sizeof *strays);
        if (!strays) return lam_no_memory();
        boxed->strays = strays;
        boxed->stray_capacity = capacity;
    }
    char *text = strdup(lam_error_text());
    if (!text) return lam_no_memory();
    boxed->strays[boxed->stray_count++] = text;
    return LAM_OK;
}

/* ---- boxes ---- */

static lam_status grow(struct lam_box **boxes, int *capacity, int count) {
    if (count <= *capacity) return LAM_OK;
    int larger = count > 2 * *capacity ? count : 2 * *capacity;
    struct lam_box *moved = realloc(*boxes, (size_t)larger * sizeof *moved);
    if (!moved) return lam_no_memory();
    *boxes = moved;
    *capacity = larger;
    return LAM_OK;
}

lam_status lam_sample_reserve_boxes(struct lam_sample *sample, int count) {
    return grow(&sample->boxes, &sample->box_capacity, count);
}

static double within(double value, double limit) {
    return value < 0 ? 0 : value > limit ? limit : value;
}

lam_status lam_boxed_add_box(struct lam_boxed_image *image, const double corners[4],
                             const struct lam_box *box) {
    double x0 = corners[0], y0 = corners[1], x1 = corners[2], y1 = corners[3];
    double width = image->width, height = image->height;
    struct lam_box mine = *box;
    mine.x0 = (float)within(x0, width);
    mine.y0 = (float)within(y0, height);
    mine.x1 = (float)within(x1, width);
    mine.y1 = (float)within(y1, height);
    if (!(x0 < x1 && y0 < y1)) {
        image->counts.degenerate++;
    } else if (x1 <= 0 || y1 <= 0 || x0 >= width || y0 >= height) {
        image->counts.outside++;
    } else if (!(mine.x0 < mine.x1 && mine.y0 < mine.y1)) { /* too thin for the floats that it is kept in */
        image->counts.degenerate++;
    } else {
        LAM_TRY(grow(&image->boxes, &image->box_capacity, image->box_count + 1));
        image->boxes[image->box_count++] = mine;
        image->counts.kept++;
        image->counts.clipped += x0 < 0 || y0 < 0 || x1 > width || y1 > height;
    }
    return LAM_OK;
}

/* ---- samples ---- */

lam_status lam_boxed_finish(struct lam_boxed *boxed, const struct lam_dataset_options *options,
                            struct lam_dataset *dataset) {
    dataset->state = boxed;
    dataset->count = boxed->count;
    dataset->channels = 3;
    dataset->has_boxes = true;
    dataset->counts.strays = boxed->stray_count;
    bool same = true;
    const struct lam_boxed_image *first = NULL;
    for (int64_t i = 0; i < boxed->count; i++) {
        const struct lam_boxed_image *image = &boxed->images[i];
        if (image->fault && !options->skip_bad) return lam_fail(LAM_ERR_FORMAT, "%s", image->fault);
        if (image->fault) continue;
        if (!first) first = image;
        same = same && image->width == first->width && image->height == first->height;
    }
    if (boxed->stray_count && !options->skip_bad) return lam_fail(LAM_ERR_FORMAT, "%s", boxed->strays[0]);
    dataset->width = first && same ? first->width : 0;
    dataset->height = first && same ? first->height : 0;
    /* the usual ones for photographs (ImageNet's), the same for every part */
    static const float mean[3] = {.485f, .456f, .406f}, deviation[3] = {.229f, .224f, .225f};
    memcpy(dataset->mean, mean, sizeof mean);
    memcpy(dataset->deviation, deviation, sizeof deviation);
    return LAM_OK;
}

void lam_boxed_close(struct lam_dataset *dataset) {
    lam_boxed_free(dataset->state);
    dataset->state = NULL;
}

static lam_status find_image(const struct lam_dataset *dataset, int64_t index,
                             const struct lam_boxed_image **image) {
    const struct lam_boxed *boxed = dataset->state;
    *image = &boxed->images[index];
    return (*image)->fault ? lam_fail(LAM_ERR_FORMAT, "%s", (*image)->fault) : LAM_OK;
}

lam_status lam_boxed_read_boxes(const struct lam_dataset *dataset, int64_t index, struct lam_sample *sample,
                                int *width, int *height) {
    const struct lam_boxed_image *image;
    LAM_TRY(find_image(dataset, index, &image));
    LAM_TRY(lam_sample_reserve_boxes(sample, image->box_count));
    if (image->box_count)
        memcpy(sample->boxes, image->boxes, (size_t)image->box_count * sizeof *image->boxes);
    sample->box_count = image->box_count;
    sample->image_id = image->id;
    *width = image->width;
    *height = image->height;
    return LAM_OK;
}

lam_status lam_boxed_read(const struct lam_dataset *dataset, int64_t index, struct lam_sample *sample) {
    const struct lam_boxed_image *image;
    int width, height;
    LAM_TRY(find_image(dataset, index, &image));
    LAM_TRY(lam_image_load(image->path, LAM_IMAGE_RGB, &sample->image));
    LAM_TRY(lam_boxed_read_boxes(dataset, index, sample, &width, &height));
    sample->label = -1;
    if (sample->image.width == width && sample->image.height == height) return LAM_OK;
    return lam_fail(LAM_ERR_FORMAT, "%s: is %d x %d, but annotated as %d x %d", image->path,
                    sample->image.width, sample->image.height, width, height);
}

void lam_boxed_count(const struct lam_dataset *dataset, int64_t index, struct lam_box_counts *counts) {
    const struct lam_boxed *boxed = dataset->state;
    const struct lam_box_counts *mine = &boxed->images[index].counts;
    counts->kept += mine->kept;
    counts->clipped += mine->clipped;
    counts->degenerate += mine->degenerate;
    counts->outside += mine->outside;
}

const char *lam_boxed_describe(const struct lam_dataset *dataset, int64_t index, char *text, size_t size) {
    const struct lam_boxed *boxed = dataset->state;
    snprintf(text, size, "%s", boxed->images[index].path);
    return text;
}

static uint64_t hash_box(uint64_t hash, const struct lam_box *box) {
    float numbers[] = {box->x0, box->y0, box->x1, box->y1, box->area};
    int rest[] = {box->label, box->difficult, box->crowd};
    hash = lam_hash_bytes(hash, numbers, sizeof numbers);
    return lam_hash_bytes(hash, rest, sizeof rest);
}

/* By names below the root, so that a set that was moved as a whole is still the same. */
uint64_t lam_boxed_hash(const struct lam_dataset *dataset) {
    const struct lam_boxed *boxed = dataset->state;
    uint64_t hash = lam_hash_bytes(LAM_HASH_EMPTY, &dataset->classes, sizeof dataset->classes);
    size_t root = strlen(boxed->root);
    for (int64_t i = 0; i < boxed->count; i++) {
        const struct lam_boxed_image *image = &boxed->images[i];
        const char *name = image->path + root;
        name += strspn(name, "/");
        int64_t rest[] = {image->id, image->width, image->height, image->box_count};
        hash = lam_hash_bytes(hash, name, strlen(name) + 1);
        hash = lam_hash_bytes(hash, rest, sizeof rest);
        for (int b = 0; b < image->box_count; b++) hash = hash_box(hash, &image->boxes[b]);
    }
    return hash;
}

int64_t lam_boxed_check_rest(const struct lam_dataset *dataset,
                             void (*report)(void *context, int64_t index, const char *what,
                                            const char *reason),
                             void *context) {
    const struct lam_boxed *boxed = dataset->state;
    for (int64_t i = 0; report && i < boxed->stray_count; i++)
        report(context, -1, boxed->stray_file, boxed->strays[i] + strlen(boxed->stray_file) + 2);
    return boxed->stray_count;
}

bool lam_path_stays_inside(const char *name) {
    if (!*name || *name == '/') return false;
    for (const char *part = name; part; part = strchr(part, '/')) {
        part += *part == '/';
        if (!strncmp(part, "..", 2) && (part[2] == '/' || !part[2])) return false;
    }
    return true;
}
