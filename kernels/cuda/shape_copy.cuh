/* Copies between two places whose elements stand at different steps: what all ops that only move elements are made of. */
#ifndef LAM_CUDA_SHAPE_COPY_CUH
#define LAM_CUDA_SHAPE_COPY_CUH

#include "cuda/feature_op.cuh"

constexpr int COPY_RANK = 6;

/* Element (i0, i1, ...) of an array of `rank` dimensions goes from i0 from[0] + i1 from[1] + ... to i0 to[0] + i1 to[1] + ...,
 * counted in elements. Dimensions may stand in any order. */
struct shape_copy {
    int rank;
    int64_t size[COPY_RANK], from[COPY_RANK], to[COPY_RANK];
};

static inline void shape_copy_add(struct shape_copy *copy, int64_t size, int64_t from, int64_t to) {
    copy->size[copy->rank] = size;
    copy->from[copy->rank] = from;
    copy->to[copy->rank] = to;
    copy->rank++;
}

/* Elements of 1, 2 or 4 bytes, as they are. `name`: of the op. */
void lam_cuda_shape_copy(struct lam_stream *stream, const char *name, const struct shape_copy *copy,
                         const void *from, void *to, size_t element_bytes);

#endif
