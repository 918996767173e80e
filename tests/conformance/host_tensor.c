/* Tensors in a device's format (host_tensor.h), written plainly: one function says where an element stands.
 */
#include "conformance/host_tensor.h"

#include <math.h>
#include <string.h>

/* The place of element (n, c, y, x) of a rank-4 tensor; c may be a padding channel. */
static int64_t place4(const struct lam_tensor_desc *desc, int64_t n, int64_t c, int64_t y, int64_t x) {
    const int64_t *dim = desc->shape.dim;
    int64_t channels = dim[1], height = dim[2], width = dim[3], block = lam_layout_block(desc->layout);
    if (desc->layout == LAM_NHWC) return ((n * height + y) * width + x) * channels + c;
    int64_t groups = (channels + block - 1) / block;
    return (((n * groups + c / block) * height + y) * width + x) * block + c % block;
}

static int64_t place(const struct lam_tensor_desc *desc, int64_t row_major) {
    if (desc->layout == LAM_PLAIN || desc->shape.rank != 4) return row_major;
    const int64_t *dim = desc->shape.dim;
    int64_t x = row_major % dim[3], y = row_major / dim[3] % dim[2], c = row_major / dim[3] / dim[2] % dim[1];
    return place4(desc, row_major / dim[3] / dim[2] / dim[1], c, y, x);
}

void host_tensor_store(const struct lam_tensor_desc *desc, const double *values, void *bytes) {
    memset(bytes, 0, lam_tensor_bytes(desc));
    for (int64_t i = 0; i < lam_shape_count(desc->shape); i++) {
        int64_t at = place(desc, i);
        switch (desc->dtype) {
        case LAM_F32:
            ((float *)bytes)[at] = (float)values[i];
            break;
        case LAM_BF16:
            ((uint16_t *)bytes)[at] = lam_f32_to_bf16((float)values[i]);
            break;
        case LAM_I32:
            ((int32_t *)bytes)[at] = (int32_t)values[i];
            break;
        case LAM_U8:
            ((uint8_t *)bytes)[at] = (uint8_t)values[i];
            break;
        }
    }
}

void host_tensor_load(const struct lam_tensor_desc *desc, const void *bytes, double *values) {
    for (int64_t i = 0; i < lam_shape_count(desc->shape); i++) {
        int64_t at = place(desc, i);
        switch (desc->dtype) {
        case LAM_F32:
            values[i] = (double)((const float *)bytes)[at];
            break;
        case LAM_BF16:
            values[i] = (double)lam_bf16_to_f32(((const uint16_t *)bytes)[at]);
            break;
        case LAM_I32:
            values[i] = (double)((const int32_t *)bytes)[at];
            break;
        case LAM_U8:
            values[i] = (double)((const uint8_t *)bytes)[at];
            break;
        }
    }
}

bool host_tensor_padding_is_zero(const struct lam_tensor_desc *desc, const void *bytes) {
    int64_t block = lam_layout_block(desc->layout);
    if (block == 1 || desc->shape.rank != 4) return true;
    static const uint8_t zero[8];
    const int64_t *dim = desc->shape.dim;
    size_t size = lam_dtype_bytes(desc->dtype);
    int64_t padded = (dim[1] + block - 1) / block * block;
    for (int64_t n = 0; n < dim[0]; n++)
        for (int64_t c = dim[1]; c < padded; c++)
            for (int64_t y = 0; y < dim[2]; y++)
                for (int64_t x = 0; x < dim[3]; x++)
                    if (memcmp((const uint8_t *)bytes + (size_t)place4(desc, n, c, y, x) * size, zero, size))
                        return false;
    return true;
}
