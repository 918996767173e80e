/* Shapes, element types and layouts: how a block of bytes is read as a tensor. Plain values, no ownership. */
#ifndef LAM_BASE_TENSOR_H
#define LAM_BASE_TENSOR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* X(suffix, name, bytes per element) */
#define LAM_DTYPE_TABLE(X)                                                                                   \
    X(F32, "f32", 4)                                                                                         \
    X(BF16, "bf16", 2)                                                                                       \
    X(I32, "i32", 4)                                                                                         \
    X(U8, "u8", 1)

enum lam_dtype {
#define LAM_DTYPE_ENUM(suffix, name, bytes) LAM_##suffix,
    LAM_DTYPE_TABLE(LAM_DTYPE_ENUM)
#undef LAM_DTYPE_ENUM
};

size_t lam_dtype_bytes(enum lam_dtype dtype);
const char *lam_dtype_name(enum lam_dtype dtype);

enum { LAM_MAX_RANK = 5 };

struct lam_shape {
    int rank; /* 0 = scalar */
    int64_t dim[LAM_MAX_RANK];
};

#define LAM_SHAPE(...)                                                                                       \
    ((struct lam_shape){.rank = (int)(sizeof((int64_t[]){__VA_ARGS__}) / sizeof(int64_t)),                   \
                        .dim = {__VA_ARGS__}})
#define LAM_SCALAR ((struct lam_shape){.rank = 0})

int64_t lam_shape_count(struct lam_shape shape); /* product of the dimensions; 1 for a scalar */
bool lam_shape_equal(struct lam_shape a, struct lam_shape b);
/* "[128, 16, 32, 32]"; returns `text`. */
const char *lam_shape_text(struct lam_shape shape, char *text, size_t size);

/* PLAIN: row-major. C8 / C16: a rank-4 [N, C, H, W] tensor stored as [N][ceil(C/b)][H][W][b] with b = 8 or 16
 * ("nChw16c"); the channels that pad the last group are always zero: every kernel writes them so and may
 * rely on it. NHWC: [N][H][W][C]. Which one a value has is the backend's choice. */
enum lam_layout { LAM_PLAIN, LAM_C8, LAM_C16, LAM_NHWC };

/* Channels per group of a layout: 8, 16, or 1 for the others. */
int lam_layout_block(enum lam_layout layout);

struct lam_tensor_desc {
    enum lam_dtype dtype;
    enum lam_layout layout;
    struct lam_shape shape;
};

size_t lam_tensor_bytes(const struct lam_tensor_desc *desc); /* with channel padding */

/* bf16 <-> f32, round to nearest even, NaN kept. */
static inline float lam_bf16_to_f32(uint16_t x) {
    union {
        uint32_t u;
        float f;
    } v = {.u = (uint32_t)x << 16};
    return v.f;
}
static inline uint16_t lam_f32_to_bf16(float x) {
    union {
        float f;
        uint32_t u;
    } v = {.f = x};
    if ((v.u & 0x7FFFFFFFu) > 0x7F800000u) return (uint16_t)((v.u >> 16) | 0x40u);
    return (uint16_t)((v.u + 0x7FFFu + ((v.u >> 16) & 1u)) >> 16);
}

#endif
