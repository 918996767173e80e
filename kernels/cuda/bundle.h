/* Small copies and sums in one launch: what kernels' prepare() and reduce() put on a stream while the program says that none of
 * it depends on another (backend.h: together_begin).
 *
 *     lam_cuda_transpose(stream, weights, LAM_F32, prepared, LAM_BF16, outputs, channels, pixels);    // OIHW to OHWI
 *     lam_cuda_fold(stream, parts, part_count, channels, dbias, channels);                            // column sums
 *
 * A step of a deep network has some hundred of them, each of a few kilobytes: alone, they would take the time of their
 * launches and of the pauses between them.
 */
#ifndef LAM_CUDA_BUNDLE_H
#define LAM_CUDA_BUNDLE_H

#include <stdbool.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#include "base/tensor.h"

struct lam_stream;

enum { LAM_CUDA_MOST_BUNDLED = 96 }; /* parameters of a launch may take 4 KB */

struct lam_cuda_bundled {
    const void *from;
    void *to;
    uint32_t count, first_block; /* elements; of the launch */
    int32_t rows, columns;
    int32_t parts; /* of a sum, `columns` apart; 0: a copy */
    bool from_bf16, to_bf16;
};

struct lam_cuda_bundle {
    int32_t count;
    uint32_t blocks;
    struct lam_cuda_bundled entries[LAM_CUDA_MOST_BUNDLED];
};

/* to[g][b][a] = from[g][a][b] for g < groups, a < rows, b < columns, f32 or bf16; not in place. With one row or column a plain
 * copy. Put on the stream at once, or at the latest by lam_cuda_bundle_end. */
void lam_cuda_transpose(struct lam_stream *stream, const void *from, enum lam_dtype from_type, void *to,
                        enum lam_dtype to_type, int64_t groups, int64_t rows, int64_t columns);

/* to[i] = the sum of from[p * stride + i] over p < parts, which are 1 or more, for i < count <= stride: in double precision, in the order of fold_chunks
 * (column_sum.cuh). Put on the stream as copies are. */
void lam_cuda_fold(struct lam_stream *stream, const float *from, int64_t parts, int64_t stride, float *to,
                   int64_t count);

void lam_cuda_bundle_begin(struct lam_stream *stream);
void lam_cuda_bundle_end(struct lam_stream *stream);

#ifdef __cplusplus
}
#endif

#endif
