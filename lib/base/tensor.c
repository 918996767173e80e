#include "base/tensor.h"

#include <inttypes.h>
#include <stdio.h>

size_t lam_dtype_bytes(enum lam_dtype dtype) {
    switch (dtype) {
#define LAM_DTYPE_BYTES(suffix, name, bytes)                                                                 \
    case LAM_##suffix:                                                                                       \
        return bytes;
        LAM_DTYPE_TABLE(LAM_DTYPE_BYTES)
#undef LAM_DTYPE_BYTES
    }
    return 0;
}

const char *lam_dtype_name(enum lam_dtype dtype) {
    switch (dtype) {
#define LAM_DTYPE_NAME(suffix, name, bytes)                                                                  \
    case LAM_##suffix:                                                                                       \
        return name;
        LAM_DTYPE_TABLE(LAM_DTYPE_NAME)
#undef LAM_DTYPE_NAME
    }
    return "?";
}

int64_t lam_shape_count(struct lam_shape shape) {
    int64_t count = 1;
    for (int i = 0; i < shape.rank; i++) count *= shape.dim[i];
    return count;
}

bool lam_shape_equal(struct lam_shape a, struct lam_shape b) {
    if (a.rank != b.rank) return false;
    for (int i = 0; i < a.rank; i++)
        if (a.dim[i] != b.dim[i]) return false;
    return true;
}

const char *lam_shape_text(struct lam_shape shape, char *text, size_t size) {
    size_t used = (size_t)snprintf(text, size, "[");
    for (int i = 0; i < shape.rank && used < size; i++)
        used += (size_t)snprintf(text + used, size - used, "%s%" PRId64, i ? ", " : "", shape.dim[i]);
    if (used < size) snprintf(text + used, size - used, "]");
    return text;
}

int lam_layout_block(enum lam_layout layout) {
    return layout == LAM_C16 ? 16 : layout == LAM_C8 ? 8 : 1;
}

size_t lam_tensor_bytes(const struct lam_tensor_desc *desc) {
    int64_t count = lam_shape_count(desc->shape);
    int block = lam_layout_block(desc->layout);
    if (block > 1 && desc->shape.rank == 4 && desc->shape.dim[1] > 0) {
        int64_t channels = desc->shape.dim[1];
        int64_t padded = (channels + block - 1) / block * block;
        count = count / channels * padded;
    }
    return (size_t)count * lam_dtype_bytes(desc->dtype);
}
