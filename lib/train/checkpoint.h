/* Checkpoints: safetensors files, read and written. (https://github.com/huggingface/safetensors: 8 bytes
 * header length, little-endian; a JSON header; raw little-endian tensors, one after another.)
 *
 *     struct lam_checkpoint_writer *w;
 *     LAM_TRY(lam_checkpoint_create(path, &w));                                   // 1. beside `path`
 *     LAM_TRY(lam_checkpoint_text(w, "epoch", "3"));                              // 2. what is in it
 *     LAM_TRY(lam_checkpoint_declare(w, "stem.conv.weight", LAM_F32, shape));
 *     LAM_TRY(lam_checkpoint_write(w, data, bytes));                              // 3. in the same order
 *     LAM_TRY(lam_checkpoint_commit(w));                                          // 4. renamed over `path`
 *
 *     struct lam_checkpoint *c;
 *     LAM_TRY(lam_checkpoint_open(path, &c));                     // the whole header is checked here
 *     const char *epoch = lam_checkpoint_find_text(c, "epoch");
 *     int i = lam_checkpoint_find(c, "stem.conv.weight");
 *     LAM_TRY(lam_checkpoint_read(c, i, data, bytes));
 *     lam_checkpoint_close(c);
 *
 * Writing needs no memory for tensors; a failure at any point leaves the old file as it was. Reading trusts
 * nothing: header length, JSON, types, shapes, and offsets (in the file, ascending, no gap, no overlap) are
 * checked before a byte of data is used.
 */
#ifndef LAM_TRAIN_CHECKPOINT_H
#define LAM_TRAIN_CHECKPOINT_H

#include <stdint.h>

#include "base/status.h"
#include "base/tensor.h"

/* ---- write ---- */

struct lam_checkpoint_writer;

lam_status lam_checkpoint_create(const char *path, struct lam_checkpoint_writer **writer);
/* An entry of __metadata__; UTF-8. */
lam_status lam_checkpoint_text(struct lam_checkpoint_writer *writer, const char *key, const char *text);
/* Names are unique. All entries are declared before the first write. */
lam_status lam_checkpoint_declare(struct lam_checkpoint_writer *writer, const char *name,
                                  enum lam_dtype dtype, struct lam_shape shape);
/* The next bytes of data; any division into pieces. */
lam_status lam_checkpoint_write(struct lam_checkpoint_writer *writer, const void *data, size_t bytes);
/* Syncs and renames; frees the writer in any case. LAM_ERR_IO names the path and the reason. */
lam_status lam_checkpoint_commit(struct lam_checkpoint_writer *writer);
/* Frees the writer, removes what was written. NULL is allowed. */
void lam_checkpoint_abandon(struct lam_checkpoint_writer *writer);

/* ---- read ---- */

struct lam_checkpoint;

struct lam_checkpoint_tensor {
    const char *name;
    enum lam_dtype dtype;
    struct lam_shape shape;
    uint64_t offset, bytes; /* offset: from the start of the file */
};

/* Errors: LAM_ERR_NOT_FOUND, LAM_ERR_FORMAT with the path and what is wrong with which tensor,
 * LAM_ERR_UNSUPPORTED for a type or rank that Lamina has not. */
lam_status lam_checkpoint_open(const char *path, struct lam_checkpoint **checkpoint);
void lam_checkpoint_close(struct lam_checkpoint *checkpoint); /* NULL is allowed */

const char *lam_checkpoint_path(const struct lam_checkpoint *checkpoint);
int lam_checkpoint_size(const struct lam_checkpoint *checkpoint); /* tensors, in file order */
const struct lam_checkpoint_tensor *lam_checkpoint_get(const struct lam_checkpoint *checkpoint, int index);
int lam_checkpoint_find(const struct lam_checkpoint *checkpoint, const char *name);             /* -1: none */
const char *lam_checkpoint_find_text(const struct lam_checkpoint *checkpoint, const char *key); /* or NULL */
/* bytes must be the tensor's. */
lam_status lam_checkpoint_read(const struct lam_checkpoint *checkpoint, int index, void *data, size_t bytes);

#endif
