/* SVHN, cropped digits (Netzer et al. 2011): train_32x32.mat and test_32x32.mat hold X, uint8 of 32 x 32 x 3
 * x N, and y, N labels 1 to 10, where 10 is the digit 0. MATLAB stores the first dimension, the row of a
 * pixel, next to each other. Read by libmatio, whole, when the set is opened. */
#include <matio.h>
#include <stdlib.h>
#include <string.h>

#include "base/files.h"
#include "data/packed.h"

enum { SIDE = 32, PLANE = SIDE * SIDE, RECORD = 3 * PLANE, CLASSES = 10 };

static const char *const digits[CLASSES] = {"0", "1", "2", "3", "4", "5", "6", "7", "8", "9"};

/* Takes the bytes out of X; *count: images. */
static lam_status take_images(const char *path, const matvar_t *x, uint8_t **data, int64_t *count) {
    if (!x || !x->data)
        return lam_fail(LAM_ERR_FORMAT, "%s: has no variable X; is this a file of cropped digits?", path);
    if (x->class_type != MAT_C_UINT8 || x->data_type != MAT_T_UINT8 || x->isComplex)
        return lam_fail(LAM_ERR_FORMAT, "%s: X is not of type uint8", path);
    bool four = x->rank == 4;
    if ((x->rank != 3 && !four) || x->dims[0] != SIDE || x->dims[1] != SIDE || x->dims[2] != 3)
        return lam_fail(LAM_ERR_FORMAT, "%s: X is not 32 x 32 x 3 x N", path);
    size_t images = four ? x->dims[3] : 1;
    if (images == 0) return lam_fail(LAM_ERR_FORMAT, "%s: X is empty", path);
    if (x->nbytes / RECORD < images) return lam_fail(LAM_ERR_FORMAT, "%s: X is cut short", path);
    *data = malloc(images * RECORD);
    if (!*data) return lam_fail(LAM_ERR_NO_MEMORY, "%s: no memory for %zu images", path, images);
    memcpy(*data, x->data, images * RECORD);
    *count = (int64_t)images;
    return LAM_OK;
}

static lam_status take_labels(const char *path, const matvar_t *y, int64_t count, uint8_t **labels) {
    if (!y || !y->data || y->isComplex) return lam_fail(LAM_ERR_FORMAT, "%s: has no variable y", path);
    bool bytes = y->data_type == MAT_T_UINT8, doubles = y->data_type == MAT_T_DOUBLE;
    if (!bytes && !doubles) return lam_fail(LAM_ERR_FORMAT, "%s: y is neither uint8 nor double", path);
    size_t values = y->nbytes / (bytes ? 1 : sizeof(double));
    if (values != (size_t)count)
        return lam_fail(LAM_ERR_FORMAT, "%s: y has %zu labels for %lld images", path, values,
                        (long long)count);
    *labels = malloc(values);
    if (!*labels) return lam_fail(LAM_ERR_NO_MEMORY, "%s: no memory for the labels", path);
    for (size_t i = 0; i < values; i++) {
        double value = bytes ? ((const uint8_t *)y->data)[i] : ((const double *)y->data)[i];
        (*labels)[i] = value >= 0 && value <= 254 ? (uint8_t)value : 255;
    }
    return LAM_OK;
}

static lam_status read_variables(mat_t *file, struct lam_packed_part *part) {
    matvar_t *x = Mat_VarRead(file, "X");
    lam_status status = take_images(part->path, x, &part->data, &part->count);
    Mat_VarFree(x);
    LAM_TRY(status);
    matvar_t *y = Mat_VarRead(file, "y");
    status = take_labels(part->path, y, part->count, &part->label_data);
    Mat_VarFree(y);
    return status;
}

static lam_status add_file(const char *folder, const char *name, struct lam_packed *packed) {
    if (!lam_folder_has(folder, name))
        return lam_fail(LAM_ERR_NOT_FOUND, "%s: has no %s (SVHN's cropped digits)", folder, name);
    struct lam_packed_part part = {.path = lam_path_join(folder, name), .record = RECORD, .step = 1};
    if (!part.path) return lam_no_memory();
    mat_t *file = Mat_Open(part.path, MAT_ACC_RDONLY);
    lam_status status =
        file ? read_variables(file, &part) : lam_fail(LAM_ERR_FORMAT, "%s: is not a MATLAB file", part.path);
    if (file) Mat_Close(file);
    if (status == LAM_OK) return lam_packed_add(packed, &part);
    lam_packed_part_free(&part);
    return status;
}

static lam_status open_svhn(const char *path, enum lam_split split, const struct lam_dataset_options *options,
                            struct lam_dataset *dataset) {
    static const float mean[3] = {.43768f, .44377f, .47280f}, deviation[3] = {.19803f, .20101f, .19703f};
    memcpy(dataset->mean, mean, sizeof mean);
    memcpy(dataset->deviation, deviation, sizeof deviation);
    dataset->classes = CLASSES;
    dataset->has_own_val = lam_folder_has(path, "test_32x32.mat");
    LAM_TRY(lam_class_names_copy(dataset, digits));
    struct lam_packed *packed = lam_packed_new();
    if (!packed) return LAM_ERR_NO_MEMORY;
    packed->width = packed->height = SIDE;
    packed->channels = 3;
    packed->step_x = SIDE;
    packed->step_y = 1;
    packed->step_channel = PLANE;
    packed->first_label = 0;
    packed->wrapped_label = 10;
    lam_status status =
        add_file(path, split == LAM_SPLIT_TRAIN ? "train_32x32.mat" : "test_32x32.mat", packed);
    if (status == LAM_OK) return lam_packed_finish(packed, options, dataset);
    lam_packed_free(packed);
    return status;
}

const struct lam_dataset_format lam_format_svhn = {
    .name = "svhn",
    .help = "a folder with train_32x32.mat and test_32x32.mat (cropped digits)",
    .needs_path = true,
    .open = open_svhn,
    .close = lam_packed_close,
    .read = lam_packed_read,
    .describe = lam_packed_describe,
    .hash = lam_packed_hash,
};
