/* oneDNN, as far as Lamina uses it: the one place that names the vendor's calls is onednn.c.
 *
 * A lam_dnn_conv is one pass of one convolution, made ready for a set of slice sizes and any lane:
 *
 *     LAM_TRY(lam_dnn_conv_create(&spec, &conv));
 *     for (chunk = 0; chunk < lam_dnn_conv_chunks(conv); chunk++)
 *         lam_dnn_conv_pack(conv, chunk, weights, packed);          // f32 OIHW -> what the library wants
 *     lam_dnn_conv_run(conv, count, lane, &(struct lam_dnn_conv_args){...});
 *
 * In the backward-weights pass the packed weights are the output, always f32 and overwritten, and
 * lam_dnn_conv_unpack turns them into OIHW. The packed form is the same for all slice sizes. It divides into
 * chunks along the output channels (along the groups of a grouped convolution), so that several threads can
 * work on it, each on its own chunks.
 *
 * Everything that can fail or allocate happens in create. */
#ifndef LAM_CPU_ONEDNN_H
#define LAM_CPU_ONEDNN_H

#include "base/status.h"
#include "device/op.h"

enum lam_dnn_pass { LAM_DNN_FORWARD, LAM_DNN_BACKWARD_DATA, LAM_DNN_BACKWARD_WEIGHTS };

struct lam_dnn_conv_spec {
    enum lam_dnn_pass pass;
    bool bias, relu;            /* forward: both; backward weights: bias (its gradient) */
    struct lam_conv_attr attr;  /* relu of it is not looked at */
    struct lam_tensor_desc src; /* the convolution's input, or its gradient; dim[0] is not looked at */
    struct lam_tensor_desc dst; /* its output, or its gradient */
    const int *slices;
    int slice_count, lanes;
};

struct lam_dnn_conv;

/* LAM_ERR_UNSUPPORTED if the library does not have it. */
lam_status lam_dnn_conv_create(const struct lam_dnn_conv_spec *spec, struct lam_dnn_conv **conv);
void lam_dnn_conv_destroy(struct lam_dnn_conv *conv);

size_t lam_dnn_conv_workspace_bytes(const struct lam_dnn_conv *conv); /* per lane */
size_t lam_dnn_conv_packed_bytes(const struct lam_dnn_conv *conv);
const char *lam_dnn_conv_implementation(const struct lam_dnn_conv *conv); /* the library's name of it */

struct lam_dnn_conv_args {
    const void *src, *dst; /* one of them is written, by the pass */
    const void *packed;    /* weights; written by backward weights */
    const void *bias;      /* NULL if the spec has none; written by backward weights */
    void *workspace;       /* 64-byte aligned */
};
/* count: one of the slice sizes. */
void lam_dnn_conv_run(const struct lam_dnn_conv *conv, int count, int lane,
                      const struct lam_dnn_conv_args *args);

/* A chunk: outputs [first, first + count) of the plain weights (groups, if grouped) and bytes [begin, end) of
 * the packed ones. One thread at a time works on a chunk. */
struct lam_dnn_chunk {
    int64_t first, count;
    size_t begin, end;
};
int lam_dnn_conv_chunks(const struct lam_dnn_conv *conv);
struct lam_dnn_chunk lam_dnn_conv_chunk(const struct lam_dnn_conv *conv, int chunk);
void lam_dnn_conv_pack(const struct lam_dnn_conv *conv, int chunk, const float *plain, void *packed);
void lam_dnn_conv_unpack(const struct lam_dnn_conv *conv, int chunk, const void *packed, float *plain);

#endif
