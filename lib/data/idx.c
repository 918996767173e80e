/* idx, the format of MNIST and its family (Fashion-MNIST, KMNIST, EMNIST ...): a big-endian header (0, 0,
 * type, number of dimensions, then a 32-bit size each) and the bytes. Images are of type 8 (bytes) with the
 * dimensions count, rows, columns; labels have the one dimension count.
 *
 * The family has many members and the files do not say which this is: the number of classes is one more than
 * the largest label of both parts, and the normalisation is measured over the training images. */
#include <stdlib.h>
#include <string.h>

#include "base/files.h"
#include "data/packed.h"

enum { MAX_SIDE = 4096 };

struct idx {
    size_t header; /* bytes before the data */
    int rank;
    size_t dim[3];
};

static lam_status parse_header(const char *path, const uint8_t *data, size_t size, int rank,
                               struct idx *idx) {
    if (size >= 2 && data[0] == 0x1f && data[1] == 0x8b)
        return lam_fail(LAM_ERR_UNSUPPORTED, "%s: is compressed; run gunzip on it", path);
    *idx = (struct idx){.header = 4 + 4 * (size_t)rank, .rank = rank};
    if (size < idx->header)
        return lam_fail(LAM_ERR_FORMAT, "%s: %zu bytes is shorter than an idx header of %zu", path, size,
                        idx->header);
    if (data[0] != 0 || data[1] != 0 || data[2] != 8 || data[3] != rank)
        return lam_fail(LAM_ERR_FORMAT,
                        "%s: begins with bytes %02x %02x %02x %02x, not with 00 00 08 %02x (idx "
                        "of bytes in %d dimensions)",
                        path, data[0], data[1], data[2], data[3], rank, rank);
    size_t expected = 1;
    for (int i = 0; i < rank; i++) {
        const uint8_t *at = data + 4 + 4 * i;
        idx->dim[i] = (size_t)at[0] << 24 | (size_t)at[1] << 16 | (size_t)at[2] << 8 | at[3];
        if (idx->dim[i] == 0 || (i > 0 && idx->dim[i] > MAX_SIDE))
            return lam_fail(LAM_ERR_FORMAT, "%s: dimension %d at byte %d is %zu", path, i, 4 + 4 * i,
                            idx->dim[i]);
        expected *= idx->dim[i]; /* at most 2^32 * 2^12 * 2^12 */
    }
    if (size - idx->header != expected)
        return lam_fail(LAM_ERR_FORMAT, "%s: has %zu bytes after the header, %zu are expected; %s", path,
                        size - idx->header, expected,
                        size - idx->header < expected ? "it is truncated" : "it is too long");
    return LAM_OK;
}

/* The path of a part's file under any of the names in use; NULL if there is none. malloc'd. */
static char *find_file(const char *folder, enum lam_split split, const char *kind, int rank) {
    static const char *const prefixes[2][2] = {{"train", "train"}, {"t10k", "test"}};
    for (int i = 0; i < 2; i++)
        for (int dot = 0; dot < 2; dot++) {
            char *name = lam_format("%s-%s%cidx%d-ubyte", prefixes[split][i], kind, dot ? '.' : '-', rank);
            char *path = name ? lam_path_join(folder, name) : NULL;
            free(name);
            if (path && lam_path_exists(path)) return path;
            free(path);
        }
    return NULL;
}

static lam_status missing(const char *folder, enum lam_split split, const char *kind, int rank) {
    const char *prefix = split == LAM_SPLIT_TRAIN ? "train" : "t10k";
    char *packed = lam_format("%s/%s-%s-idx%d-ubyte.gz", folder, prefix, kind, rank);
    bool compressed = packed && lam_path_exists(packed);
    free(packed);
    return lam_fail(LAM_ERR_NOT_FOUND, "%s: has no %s-%s-idx%d-ubyte%s", folder, prefix, kind, rank,
                    compressed ? ", only a compressed one; run gunzip on it" : "");
}

static lam_status read_part(const char *folder, enum lam_split split, struct lam_packed_part *part,
                            struct idx *images) {
    part->path = find_file(folder, split, "images", 3);
    if (!part->path) return missing(folder, split, "images", 3);
    part->label_path = find_file(folder, split, "labels", 1);
    if (!part->label_path) return missing(folder, split, "labels", 1);
    size_t size;
    LAM_TRY(lam_file_read(part->path, &part->data, &size));
    LAM_TRY(parse_header(part->path, part->data, size, 3, images));
    struct idx labels;
    LAM_TRY(lam_file_read(part->label_path, &part->label_data, &size));
    LAM_TRY(parse_header(part->label_path, part->label_data, size, 1, &labels));
    if (labels.dim[0] != images->dim[0])
        return lam_fail(LAM_ERR_FORMAT, "%s: has %zu labels for the %zu images of %s", part->label_path,
                        labels.dim[0], images->dim[0], part->path);
    part->count = (int64_t)images->dim[0];
    part->pixels = images->header;
    part->record = images->dim[1] * images->dim[2];
    part->labels = labels.header;
    part->step = 1;
    return LAM_OK;
}

static int largest_label(const struct lam_packed_part *part) {
    int largest = 0;
    for (int64_t i = 0; i < part->count; i++)
        if (part->label_data[part->labels + (size_t)i] > largest)
            largest = part->label_data[part->labels + (size_t)i];
    return largest;
}

/* Classes and normalisation come from both parts, so that training and evaluation agree. */
static lam_status survey(const char *folder, enum lam_split split, const struct lam_packed_part *mine,
                         struct lam_dataset *dataset) {
    struct lam_packed_part other = {0};
    struct idx images;
    enum lam_split other_split = split == LAM_SPLIT_TRAIN ? LAM_SPLIT_VAL : LAM_SPLIT_TRAIN;
    char *path = find_file(folder, other_split, "images", 3);
    bool both = path != NULL;
    free(path);
    lam_status status = both ? read_part(folder, other_split, &other, &images) : LAM_OK;
    if (status == LAM_OK) {
        int largest = largest_label(mine), others = both ? largest_label(&other) : 0;
        dataset->classes = (others > largest ? others : largest) + 1;
        if (dataset->classes < 2) dataset->classes = 2;
        dataset->has_own_val = split == LAM_SPLIT_VAL || both;
        const struct lam_packed_part *train = split == LAM_SPLIT_TRAIN || !both ? mine : &other;
        lam_packed_measure(train->data + train->pixels, (size_t)train->count * train->record, dataset);
    }
    lam_packed_part_free(&other);
    return status;
}

static lam_status open_idx(const char *path, enum lam_split split, const struct lam_dataset_options *options,
                           struct lam_dataset *dataset) {
    struct lam_packed_part part = {0};
    struct idx images = {0};
    struct lam_packed *packed = lam_packed_new();
    if (!packed) return LAM_ERR_NO_MEMORY;
    lam_status status = read_part(path, split, &part, &images);
    if (status == LAM_OK) status = survey(path, split, &part, dataset);
    if (status != LAM_OK) {
        lam_packed_part_free(&part);
        lam_packed_free(packed);
        return status;
    }
    packed->height = (int)images.dim[1];
    packed->width = (int)images.dim[2];
    packed->channels = 1;
    packed->step_x = 1;
    packed->step_y = images.dim[2];
    status = lam_packed_add(packed, &part);
    if (status == LAM_OK) return lam_packed_finish(packed, options, dataset);
    lam_packed_free(packed);
    return status;
}

const struct lam_dataset_format lam_format_idx = {
    .name = "idx",
    .help = "a folder with {train,t10k}-{images-idx3,labels-idx1}-ubyte (the MNIST family)",
    .needs_path = true,
    .open = open_idx,
    .close = lam_packed_close,
    .read = lam_packed_read,
    .describe = lam_packed_describe,
    .hash = lam_packed_hash,
};
