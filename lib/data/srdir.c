/* srdir: high-resolution images for super-resolution, and the low-resolution partners that they may have.
 *
 *     PATH/baby.png                        or:   PATH/HR/baby.png
 *                                                PATH/LR_bicubic/X2/babyx2.png      (or LR/X2, or baby.png there)
 *
 * Several folders joined by + are one set. Pairs are matched by name when the set is opened; sizes need the pixels
 * and are checked when a sample is read. Images keep the channels of their files: gray counts as gray when
 * results are measured, alpha is kept when they are written. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/files.h"
#include "base/rng.h"
#include "data/formats.h"

enum { NAMES_TOLD = 3 }; /* of files that do not pair up */

struct entry {
    char *high, *low; /* low: NULL if there is none */
    size_t root;      /* bytes of high that are the path which it was found under */
};

struct srdir {
    struct entry *entries;
    int64_t count, capacity;
    int scale; /* 0: any */
};

static lam_status add_entry(struct srdir *set, char *high, size_t root) {
    if (set->count == set->capacity) {
        int64_t capacity = set->capacity ? 2 * set->capacity : 256;
        struct entry *entries = realloc(set->entries, (size_t)capacity * sizeof *entries);
        if (!entries) return lam_no_memory();
        set->entries = entries;
        set->capacity = capacity;
    }
    set->entries[set->count++] = (struct entry){.high = high, .root = root};
    return LAM_OK;
}

/* ---- pairs ---- */

/* The low-resolution files of one folder. */
struct partners {
    const char *folder;
    struct dirent **list;
    int count;
    bool *used;
};

static bool has_stem(const char *name, const char *stem) {
    size_t length = strlen(stem);
    const char *dot = strrchr(name, '.');
    return dot && (size_t)(dot - name) == length && !strncmp(name, stem, length);
}

/* The free image called `stem` plus an ending; -1 if there is none. Names are sorted, so those that begin with the
 * stem stand together. */
static int find_partner(const struct partners *partners, const char *stem) {
    int low = 0, high = partners->count;
    while (low < high) {
        int middle = low + (high - low) / 2;
        if (strcmp(partners->list[middle]->d_name, stem) < 0)
            low = middle + 1;
        else
            high = middle;
    }
    size_t length = strlen(stem);
    for (int i = low; i < partners->count; i++) {
        const char *name = partners->list[i]->d_name;
        if (strncmp(name, stem, length) != 0) break;
        if (!partners->used[i] && has_stem(name, stem) && lam_is_image_name(name)) return i;
    }
    return -1;
}

static lam_status pair_by_name(struct entry *entry, struct partners *partners, int scale, bool with_scale) {
    const char *slash = strrchr(entry->high, '/'), *name = slash ? slash + 1 : entry->high;
    const char *dot = strrchr(name, '.');
    int length = dot ? (int)(dot - name) : (int)strlen(name);
    char *stem = with_scale ? lam_format("%.*sx%d", length, name, scale) : lam_format("%.*s", length, name);
    if (!stem) return lam_no_memory();
    int place = find_partner(partners, stem);
    free(stem);
    if (place < 0) return LAM_OK;
    partners->used[place] = true;
    entry->low = lam_path_join(partners->folder, partners->list[place]->d_name);
    return entry->low ? LAM_OK : lam_no_memory();
}

/* Adds a name to a list of a few. */
static void tell(char *text, size_t size, int number, const char *name) {
    size_t used = strlen(text);
    if (number < NAMES_TOLD)
        snprintf(text + used, size - used, "%s%.80s", number ? ", " : "", name);
    else if (number == NAMES_TOLD)
        snprintf(text + used, size - used, ", ...");
}

/* The error, if anything on either side is alone. */
static lam_status check_pairs(const struct srdir *set, int64_t first, const struct partners *partners) {
    char high[400] = "", low[400] = "";
    int without = 0, strays = 0;
    for (int64_t i = first; i < set->count; i++)
        if (!set->entries[i].low) tell(high, sizeof high, without++, strrchr(set->entries[i].high, '/') + 1);
    for (int i = 0; i < partners->count; i++)
        if (!partners->used[i] && lam_is_image_name(partners->list[i]->d_name))
            tell(low, sizeof low, strays++, partners->list[i]->d_name);
    if (!without && !strays) return LAM_OK;
    if (!strays)
        return lam_fail(LAM_ERR_FORMAT, "%s: lacks the partners of %d of %lld high-resolution images (%s)",
                        partners->folder, without, (long long)(set->count - first), high);
    if (!without)
        return lam_fail(LAM_ERR_FORMAT, "%s: %d of its images belong to no high-resolution image (%s)",
                        partners->folder, strays, low);
    return lam_fail(LAM_ERR_FORMAT,
                    "%s: lacks the partners of %d of %lld high-resolution images (%s), and %d of its images "
                    "belong to none (%s)",
                    partners->folder, without, (long long)(set->count - first), high, strays, low);
}

static lam_status pair_up(struct srdir *set, int64_t first, const char *folder) {
    struct partners partners = {.folder = folder};
    LAM_TRY(lam_list_folder(folder, &partners.list, &partners.count));
    partners.used = calloc((size_t)partners.count + 1, sizeof *partners.used);
    lam_status status = partners.used ? LAM_OK : lam_no_memory();
    /* names with the scale first: "ax2" may be the partner of "a" or of "ax2" */
    for (int with_scale = 1; with_scale >= 0; with_scale--)
        for (int64_t i = first; status == LAM_OK && i < set->count; i++)
            if (!set->entries[i].low)
                status = pair_by_name(&set->entries[i], &partners, set->scale, with_scale);
    if (status == LAM_OK) status = check_pairs(set, first, &partners);
    free(partners.used);
    lam_list_free(partners.list, partners.count);
    return status;
}

/* malloc'd; NULL in *folder if there is none. */
static lam_status find_partners(const char *root, int scale, char **folder) {
    static const char *const names[] = {"LR_bicubic", "LR"};
    *folder = NULL;
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        char *path = lam_format("%s/%s/X%d", root, names[i], scale);
        if (!path) return lam_no_memory();
        if (lam_path_is_folder(path)) {
            *folder = path;
            return LAM_OK;
        }
        free(path);
    }
    return LAM_OK;
}

/* ---- opening ---- */

static lam_status add_high(struct srdir *set, const char *folder, size_t root) {
    struct dirent **list;
    int count;
    int64_t before = set->count;
    LAM_TRY(lam_list_folder(folder, &list, &count));
    lam_status status = LAM_OK;
    for (int i = 0; i < count && status == LAM_OK; i++) {
        if (!lam_is_image_name(list[i]->d_name)) continue;
        char *path = lam_path_join(folder, list[i]->d_name);
        if (!path) status = lam_no_memory();
        bool file = path && !lam_path_is_folder(path);
        if (file) status = add_entry(set, path, root);
        if (!file || status != LAM_OK) free(path);
    }
    lam_list_free(list, count);
    if (status == LAM_OK && set->count == before)
        status =
            lam_fail(LAM_ERR_NOT_FOUND,
                     "%s: has no images (.png, .jpg, .jpeg); srdir expects them there or in HR/", folder);
    return status;
}

static lam_status add_root(struct srdir *set, const char *root, bool pairs) {
    int64_t first = set->count;
    char *high = lam_inner_folder(root, "HR"), *low = NULL;
    if (!high) return lam_no_memory();
    lam_status status = add_high(set, high, strlen(root));
    free(high);
    if (status == LAM_OK && pairs && set->scale) status = find_partners(root, set->scale, &low);
    if (status == LAM_OK && low) status = pair_up(set, first, low);
    free(low);
    return status;
}

/* Cuts the first folder off "a+b+c". A folder may have a + in its name, so the longest piece that is a folder is
 * taken. */
static lam_status next_root(char **rest, char **root) {
    char *text = *rest, *end = text + strlen(text);
    for (char *at = end; at > text; at--) {
        if (*at != '+' && *at != 0) continue;
        char mark = *at;
        *at = 0;
        if (lam_path_is_folder(text)) {
            *root = text;
            *rest = mark ? at + 1 : NULL;
            return LAM_OK;
        }
        *at = mark;
    }
    char *plus = strchr(text, '+');
    if (plus) *plus = 0;
    if (!*text) return lam_fail(LAM_ERR_INVALID, "srdir: a folder is missing beside a + in the path");
    if (!lam_path_exists(text)) return lam_fail(LAM_ERR_NOT_FOUND, "%s: does not exist", text);
    return lam_fail(LAM_ERR_INVALID, "%s: is not a folder (srdir expects a folder of images)", text);
}

static lam_status add_roots(struct srdir *set, const char *path, bool pairs) {
    char *text = strdup(path), *rest = text, *root = NULL;
    if (!text) return lam_no_memory();
    lam_status status = LAM_OK;
    while (rest && status == LAM_OK) {
        status = next_root(&rest, &root);
        if (status == LAM_OK) status = add_root(set, root, pairs);
    }
    free(text);
    return status;
}

static lam_status open_srdir(const char *path, enum lam_split split,
                             const struct lam_dataset_options *options, struct lam_dataset *dataset) {
    (void)split;
    /* what EDSR and RCAN subtract: the mean of DIV2K's 800 training images */
    static const float mean[3] = {.4488f, .4371f, .4040f}, deviation[3] = {1, 1, 1};
    if (options->scale < 0) return lam_fail(LAM_ERR_INVALID, "a scale of %d", options->scale);
    struct srdir *set = calloc(1, sizeof *set);
    if (!set) return lam_no_memory();
    dataset->state = set;
    set->scale = options->scale;
    LAM_TRY(add_roots(set, path, options->pairs));
    dataset->count = set->count;
    dataset->channels = 3;
    for (int64_t i = 0; i < set->count; i++) dataset->has_pairs |= set->entries[i].low != NULL;
    memcpy(dataset->mean, mean, sizeof mean);
    memcpy(dataset->deviation, deviation, sizeof deviation);
    return LAM_OK;
}

static void close_srdir(struct lam_dataset *dataset) {
    struct srdir *set = dataset->state;
    if (!set) return;
    for (int64_t i = 0; i < set->count; i++) {
        free(set->entries[i].high);
        free(set->entries[i].low);
    }
    free(set->entries);
    free(set);
    dataset->state = NULL;
}

/* ---- reading ---- */

static lam_status check_sizes(const struct entry *entry, int scale, const struct lam_image *high,
                              const struct lam_image *low) {
    if (scale && (high->width < scale || high->height < scale))
        return lam_fail(LAM_ERR_FORMAT, "%s: %d x %d pixels are fewer than the scale of %d", entry->high,
                        high->width, high->height, scale);
    if (!entry->low) return LAM_OK;
    int width = high->width / scale, height = high->height / scale;
    if (low->width == width && low->height == height) return LAM_OK;
    return lam_fail(LAM_ERR_FORMAT, "%s: is %d x %d pixels; %d x %d at x%d needs a partner of %d x %d",
                    entry->low, low->width, low->height, high->width, high->height, scale, width, height);
}

static lam_status read_srdir(const struct lam_dataset *dataset, int64_t index, struct lam_sample *sample) {
    const struct srdir *set = dataset->state;
    const struct entry *entry = &set->entries[index];
    struct lam_image high = {0}, low = {0};
    lam_status status = lam_image_load(entry->high, LAM_IMAGE_AS_IS, &high);
    if (status == LAM_OK && entry->low) status = lam_image_load(entry->low, LAM_IMAGE_AS_IS, &low);
    if (status == LAM_OK) status = check_sizes(entry, set->scale, &high, &low);
    if (status != LAM_OK) {
        lam_image_free(&high);
        lam_image_free(&low);
        return status;
    }
    lam_image_free(&sample->image);
    lam_image_free(&sample->pair);
    sample->image = high;
    sample->pair = low;
    sample->label = -1;
    return LAM_OK;
}

static const char *describe_srdir(const struct lam_dataset *dataset, int64_t index, char *text, size_t size) {
    const struct srdir *set = dataset->state;
    snprintf(text, size, "%s", set->entries[index].high);
    return text;
}

/* By names below their roots, so that a set that was moved as a whole is still the same. */
static uint64_t hash_srdir(const struct lam_dataset *dataset) {
    const struct srdir *set = dataset->state;
    uint64_t hash = LAM_HASH_EMPTY;
    for (int64_t i = 0; i < set->count; i++) {
        const struct entry *entry = &set->entries[i];
        const char *name = entry->high + entry->root + strspn(entry->high + entry->root, "/");
        int32_t paired_at = entry->low ? set->scale : 0;
        hash = lam_hash_bytes(hash, name, strlen(name) + 1);
        hash = lam_hash_bytes(hash, &paired_at, sizeof paired_at);
    }
    return hash;
}

const struct lam_dataset_format lam_format_srdir = {
    .name = "srdir",
    .help = "folders of PNG or JPEG images, or of HR and, where there are any, LR_bicubic/X2 ...; several "
            "joined by +",
    .needs_path = true,
    .takes_paths = true,
    .open = open_srdir,
    .close = close_srdir,
    .read = read_srdir,
    .describe = describe_srdir,
    .hash = hash_srdir,
};
