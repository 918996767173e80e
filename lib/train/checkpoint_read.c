/* Reading safetensors, from anybody: a file may be cut short, damaged or made to mislead. Everything that is
 * used later (offsets, sizes, shapes, names) is checked here once, against the file's real size. */
#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/files.h"
#include "train/checkpoint.h"

enum { LENGTH_BYTES = 8 };
static const uint64_t longest_header = 100u << 20; /* as the reference reader has it */

struct lam_checkpoint {
    char *path;
    int fd;
    uint64_t file_bytes, data_begin;
    json_t *header;
    struct lam_checkpoint_tensor *tensors; /* by offset */
    int *by_name;                          /* indices, sorted by name */
    int count;
};

/* Reads all of [offset, offset + bytes). */
static lam_status read_at(const struct lam_checkpoint *c, uint64_t offset, void *data, size_t bytes) {
    size_t done = 0;
    while (done < bytes) {
        ssize_t got = pread(c->fd, (char *)data + done, bytes - done, (off_t)(offset + done));
        if (got < 0 && errno == EINTR) continue;
        if (got < 0)
            return lam_fail(LAM_ERR_IO, "%s: read failed at byte %llu: %s", c->path,
                            (unsigned long long)(offset + done), strerror(errno));
        if (got == 0)
            return lam_fail(LAM_ERR_FORMAT, "%s: ends at byte %llu, in the middle of its data", c->path,
                            (unsigned long long)(offset + done));
        done += (size_t)got;
    }
    return LAM_OK;
}

static lam_status open_file(struct lam_checkpoint *c) {
    c->fd = open(c->path, O_RDONLY | O_CLOEXEC);
    if (c->fd < 0)
        return lam_fail(errno == ENOENT || errno == ENOTDIR ? LAM_ERR_NOT_FOUND : LAM_ERR_IO,
                        "%s: cannot be opened: %s", c->path, strerror(errno));
    struct stat info;
    if (fstat(c->fd, &info) != 0 || !S_ISREG(info.st_mode))
        return lam_fail(LAM_ERR_INVALID, "%s: is not a regular file", c->path);
    c->file_bytes = (uint64_t)info.st_size;
    return LAM_OK;
}

static lam_status read_header(struct lam_checkpoint *c) {
    uint8_t raw[LENGTH_BYTES];
    if (c->file_bytes < LENGTH_BYTES + 2)
        return lam_fail(LAM_ERR_FORMAT, "%s: %llu bytes is too short for a checkpoint", c->path,
                        (unsigned long long)c->file_bytes);
    LAM_TRY(read_at(c, 0, raw, sizeof raw));
    uint64_t length = 0;
    for (int i = LENGTH_BYTES - 1; i >= 0; i--) length = length << 8 | raw[i];
    if (length > longest_header || length > c->file_bytes - LENGTH_BYTES)
        return lam_fail(
            LAM_ERR_FORMAT,
            "%s: a header of %llu bytes does not fit the file of %llu bytes; is this a checkpoint, "
            "and whole?",
            c->path, (unsigned long long)length, (unsigned long long)c->file_bytes);
    char *text = malloc((size_t)length + 1);
    if (!text) return lam_no_memory();
    lam_status status = read_at(c, LENGTH_BYTES, text, (size_t)length);
    json_error_t error;
    if (status == LAM_OK) {
        c->header = json_loadb(text, (size_t)length, JSON_REJECT_DUPLICATES, &error);
        if (!json_is_object(c->header))
            status = lam_fail(LAM_ERR_FORMAT, "%s: byte %d: the header is not a JSON object: %s", c->path,
                              LENGTH_BYTES + (c->header ? 0 : error.position),
                              c->header ? "it is something else" : error.text);
    }
    free(text);
    c->data_begin = LENGTH_BYTES + length;
    return status;
}

static lam_status bad_tensor(const struct lam_checkpoint *c, const char *name, const char *what) {
    return lam_fail(LAM_ERR_FORMAT, "%s: tensor '%.200s': %s", c->path, name, what);
}

static lam_status read_type(const struct lam_checkpoint *c, const char *name, const json_t *entry,
                            enum lam_dtype *dtype) {
    static const char *const names[] = {"F32", "BF16", "I32", "U8"};
    static const enum lam_dtype types[] = {LAM_F32, LAM_BF16, LAM_I32, LAM_U8};
    const char *text = json_string_value(json_object_get(entry, "dtype"));
    if (!text) return bad_tensor(c, name, "has no dtype");
    for (int i = 0; i < 4; i++)
        if (!strcmp(text, names[i])) {
            *dtype = types[i];
            return LAM_OK;
        }
    return lam_fail(LAM_ERR_UNSUPPORTED, "%s: tensor '%.200s': type '%.20s' is not one of F32, BF16, I32, U8",
                    c->path, name, text);
}

/* *bytes: of the whole tensor; too many for the file is an error, so the product cannot overflow. */
static lam_status read_shape(const struct lam_checkpoint *c, const char *name, const json_t *entry,
                             struct lam_checkpoint_tensor *tensor, uint64_t *bytes) {
    const json_t *dims = json_object_get(entry, "shape");
    if (!json_is_array(dims)) return bad_tensor(c, name, "has no shape");
    if (json_array_size(dims) > LAM_MAX_RANK)
        return lam_fail(LAM_ERR_UNSUPPORTED, "%s: tensor '%.200s': has %zu dimensions, at most %d are known",
                        c->path, name, json_array_size(dims), LAM_MAX_RANK);
    tensor->shape.rank = (int)json_array_size(dims);
    *bytes = lam_dtype_bytes(tensor->dtype);
    bool empty = false;
    for (int i = 0; i < tensor->shape.rank; i++) {
        const json_t *dim = json_array_get(dims, (size_t)i);
        json_int_t size = json_integer_value(dim);
        if (!json_is_integer(dim) || size < 0)
            return bad_tensor(c, name, "a dimension is not a whole number");
        empty |= size == 0;
        if (size > 0 && (uint64_t)size > c->file_bytes / *bytes)
            return bad_tensor(c, name, "its shape needs more bytes than the file has");
        if (size > 0) *bytes *= (uint64_t)size;
        tensor->shape.dim[i] = size;
    }
    if (empty) *bytes = 0;
    return LAM_OK;
}

static lam_status read_offsets(const struct lam_checkpoint *c, const char *name, const json_t *entry,
                               struct lam_checkpoint_tensor *tensor, uint64_t bytes) {
    const json_t *pair = json_object_get(entry, "data_offsets");
    const json_t *from = json_array_get(pair, 0), *to = json_array_get(pair, 1);
    if (json_array_size(pair) != 2 || !json_is_integer(from) || !json_is_integer(to))
        return bad_tensor(c, name, "has no data_offsets [begin, end]");
    json_int_t begin = json_integer_value(from), end = json_integer_value(to);
    if (begin < 0 || end < begin) return bad_tensor(c, name, "its data_offsets are not ascending");
    if ((uint64_t)end > c->file_bytes - c->data_begin)
        return bad_tensor(c, name, "its data lies behind the end of the file; is the file whole?");
    if ((uint64_t)(end - begin) != bytes)
        return bad_tensor(c, name, "its data_offsets do not fit its shape and dtype");
    tensor->offset = c->data_begin + (uint64_t)begin;
    tensor->bytes = bytes;
    return LAM_OK;
}

static int compare_offsets(const void *a, const void *b) {
    const struct lam_checkpoint_tensor *x = a, *y = b;
    if (x->offset != y->offset) return x->offset < y->offset ? -1 : 1;
    return x->bytes != y->bytes ? (x->bytes < y->bytes ? -1 : 1) : strcmp(x->name, y->name);
}

static int compare_names(const void *a, const void *b, void *tensors) {
    const struct lam_checkpoint_tensor *t = tensors;
    return strcmp(t[*(const int *)a].name, t[*(const int *)b].name);
}

/* Tensors fill the data from its first to its last byte. */
static lam_status check_cover(const struct lam_checkpoint *c) {
    uint64_t at = c->data_begin;
    for (int i = 0; i < c->count; i++) {
        const struct lam_checkpoint_tensor *t = &c->tensors[i];
        if (t->offset < at) return bad_tensor(c, t->name, "its data overlaps another tensor's");
        if (t->offset > at) return bad_tensor(c, t->name, "there is a gap in front of its data");
        at += t->bytes;
    }
    if (at != c->file_bytes)
        return lam_fail(LAM_ERR_FORMAT, "%s: has %llu bytes behind its last tensor", c->path,
                        (unsigned long long)(c->file_bytes - at));
    return LAM_OK;
}

static lam_status check_texts(const struct lam_checkpoint *c) {
    json_t *texts = json_object_get(c->header, "__metadata__"), *value;
    const char *key;
    if (!texts) return LAM_OK;
    if (!json_is_object(texts)) return lam_fail(LAM_ERR_FORMAT, "%s: __metadata__ is not an object", c->path);
    json_object_foreach(texts, key, value) if (!json_is_string(value)) return lam_fail(
        LAM_ERR_FORMAT, "%s: __metadata__ '%.100s' is not a text", c->path, key);
    return LAM_OK;
}

static lam_status read_tensors(struct lam_checkpoint *c) {
    size_t capacity = json_object_size(c->header);
    c->tensors = calloc(capacity + 1, sizeof *c->tensors);
    c->by_name = calloc(capacity + 1, sizeof *c->by_name);
    if (!c->tensors || !c->by_name) return lam_no_memory();
    const char *name;
    json_t *entry;
    json_object_foreach(c->header, name, entry) {
        if (!strcmp(name, "__metadata__")) continue;
        struct lam_checkpoint_tensor *tensor = &c->tensors[c->count];
        uint64_t bytes = 0;
        if (!json_is_object(entry)) return bad_tensor(c, name, "is not an object");
        LAM_TRY(read_type(c, name, entry, &tensor->dtype));
        LAM_TRY(read_shape(c, name, entry, tensor, &bytes));
        LAM_TRY(read_offsets(c, name, entry, tensor, bytes));
        tensor->name = name;
        c->by_name[c->count] = c->count;
        c->count++;
    }
    qsort(c->tensors, (size_t)c->count, sizeof *c->tensors, compare_offsets);
    qsort_r(c->by_name, (size_t)c->count, sizeof *c->by_name, compare_names, c->tensors);
    return check_cover(c);
}

lam_status lam_checkpoint_open(const char *path, struct lam_checkpoint **checkpoint) {
    struct lam_checkpoint *c = calloc(1, sizeof *c);
    if (!c) return lam_no_memory();
    c->fd = -1;
    c->path = strdup(path);
    lam_status status = c->path ? open_file(c) : lam_no_memory();
    if (status == LAM_OK) status = read_header(c);
    if (status == LAM_OK) status = check_texts(c);
    if (status == LAM_OK) status = read_tensors(c);
    if (status != LAM_OK) {
        lam_checkpoint_close(c);
        return status;
    }
    *checkpoint = c;
    return LAM_OK;
}

void lam_checkpoint_close(struct lam_checkpoint *checkpoint) {
    if (!checkpoint) return;
    if (checkpoint->fd >= 0) close(checkpoint->fd);
    json_decref(checkpoint->header);
    free(checkpoint->tensors);
    free(checkpoint->by_name);
    free(checkpoint->path);
    free(checkpoint);
}

const char *lam_checkpoint_path(const struct lam_checkpoint *checkpoint) {
    return checkpoint->path;
}

int lam_checkpoint_size(const struct lam_checkpoint *checkpoint) {
    return checkpoint->count;
}

const struct lam_checkpoint_tensor *lam_checkpoint_get(const struct lam_checkpoint *checkpoint, int index) {
    return &checkpoint->tensors[index];
}

int lam_checkpoint_find(const struct lam_checkpoint *checkpoint, const char *name) {
    int low = 0, high = checkpoint->count;
    while (low < high) {
        int middle = (low + high) / 2;
        int order = strcmp(checkpoint->tensors[checkpoint->by_name[middle]].name, name);
        if (order == 0) return checkpoint->by_name[middle];
        if (order < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return -1;
}

const char *lam_checkpoint_find_text(const struct lam_checkpoint *checkpoint, const char *key) {
    return json_string_value(json_object_get(json_object_get(checkpoint->header, "__metadata__"), key));
}

lam_status lam_checkpoint_read(const struct lam_checkpoint *checkpoint, int index, void *data, size_t bytes) {
    const struct lam_checkpoint_tensor *tensor = &checkpoint->tensors[index];
    if (bytes != tensor->bytes)
        return lam_fail(LAM_ERR_FORMAT, "%s: tensor '%.200s': has %llu bytes, %zu are needed",
                        checkpoint->path, tensor->name, (unsigned long long)tensor->bytes, bytes);
    return read_at(checkpoint, tensor->offset, data, bytes);
}
