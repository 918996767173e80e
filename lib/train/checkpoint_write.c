/* Writing safetensors. The header needs all offsets before the first byte of data, so entries are declared
 * first; then data streams through, and a count of its bytes guards against a caller that writes more or less
 * than it declared. */
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "base/files.h"
#include "train/checkpoint.h"

struct lam_checkpoint_writer {
    struct lam_atomic_file file;
    json_t *header, *texts;
    uint64_t declared, written; /* bytes of data */
    bool begun;
};

void lam_checkpoint_abandon(struct lam_checkpoint_writer *writer) {
    if (!writer) return;
    lam_atomic_abandon(&writer->file);
    json_decref(writer->header);
    json_decref(writer->texts);
    free(writer);
}

lam_status lam_checkpoint_create(const char *path, struct lam_checkpoint_writer **writer) {
    struct lam_checkpoint_writer *w = calloc(1, sizeof *w);
    if (!w) return lam_no_memory();
    w->header = json_object();
    w->texts = json_object();
    lam_status status = LAM_OK;
    if (!w->header || !w->texts || json_object_set(w->header, "__metadata__", w->texts) != 0)
        status = lam_no_memory();
    if (status == LAM_OK) status = lam_atomic_open(&w->file, path);
    if (status != LAM_OK) {
        lam_checkpoint_abandon(w);
        return status;
    }
    *writer = w;
    return LAM_OK;
}

lam_status lam_checkpoint_text(struct lam_checkpoint_writer *writer, const char *key, const char *text) {
    if (writer->begun) return lam_fail(LAM_ERR_INTERNAL, "checkpoint: '%s' is declared too late", key);
    json_t *value = json_string(text);
    if (!value) return lam_fail(LAM_ERR_INVALID, "checkpoint: the text of '%s' is not UTF-8", key);
    return json_object_set_new(writer->texts, key, value) == 0 ? LAM_OK : lam_no_memory();
}

static const char *type_name(enum lam_dtype dtype) {
    switch (dtype) {
    case LAM_F32:
        return "F32";
    case LAM_BF16:
        return "BF16";
    case LAM_I32:
        return "I32";
    case LAM_U8:
        return "U8";
    }
    return "";
}

lam_status lam_checkpoint_declare(struct lam_checkpoint_writer *writer, const char *name,
                                  enum lam_dtype dtype, struct lam_shape shape) {
    if (writer->begun || json_object_get(writer->header, name))
        return lam_fail(LAM_ERR_INTERNAL, "checkpoint: '%s' is declared twice or too late", name);
    uint64_t end = writer->declared + (uint64_t)lam_shape_count(shape) * lam_dtype_bytes(dtype);
    json_t *dims = json_array();
    for (int i = 0; dims && i < shape.rank; i++) json_array_append_new(dims, json_integer(shape.dim[i]));
    json_t *entry = json_pack("{s:s, s:o, s:[I, I]}", "dtype", type_name(dtype), "shape", dims,
                              "data_offsets", (json_int_t)writer->declared, (json_int_t)end);
    if (!entry || json_object_set_new(writer->header, name, entry) != 0) return lam_no_memory();
    writer->declared = end;
    return LAM_OK;
}

/* Length and header, padded with spaces so that the data begins at a multiple of 8 bytes. */
static lam_status begin(struct lam_checkpoint_writer *writer) {
    char *text = json_dumps(writer->header, JSON_COMPACT);
    if (!text) return lam_no_memory();
    size_t length = strlen(text), padded = (length + 7) / 8 * 8;
    for (int i = 0; i < 8; i++) fputc((int)((uint64_t)padded >> (8 * i) & 0xFF), writer->file.stream);
    fwrite(text, 1, length, writer->file.stream);
    for (size_t i = length; i < padded; i++) fputc(' ', writer->file.stream);
    free(text);
    writer->begun = true;
    return LAM_OK;
}

lam_status lam_checkpoint_write(struct lam_checkpoint_writer *writer, const void *data, size_t bytes) {
    if (!writer->begun) LAM_TRY(begin(writer));
    if (bytes > writer->declared - writer->written)
        return lam_fail(LAM_ERR_INTERNAL, "checkpoint: more data than was declared");
    fwrite(data, 1, bytes, writer->file.stream); /* errors are found at commit */
    writer->written += bytes;
    return LAM_OK;
}

lam_status lam_checkpoint_commit(struct lam_checkpoint_writer *writer) {
    lam_status status = writer->begun ? LAM_OK : begin(writer);
    if (status == LAM_OK && writer->written != writer->declared)
        status = lam_fail(LAM_ERR_INTERNAL, "checkpoint: less data than was declared");
    if (status == LAM_OK) status = lam_atomic_commit(&writer->file);
    lam_checkpoint_abandon(writer);
    return status;
}
