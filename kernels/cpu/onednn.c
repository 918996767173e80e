/* Convolutions by oneDNN 2.6.
 *
 * The library has a primitive per problem size, so there is one for each slice size; each lane has memory
 * objects of its own, whose data pointers run() sets. Scratch memory is the caller's.
 *
 * Formats. A primitive is first asked for with the operands' own layouts. If the library has nothing but its
 * reference or its GEMM code for that, it may choose layouts itself, and run() reorders into and out of the
 * workspace. The weights' format is always the library's choice, made for the first (largest) slice; the
 * other slices have to take it.
 *
 * The library spreads over OpenMP threads by itself; it is told to use one while primitives are made, and
 * lanes run with one. */
#include "cpu/onednn.h"

#include "cpu/cpu_kernel.h"
#include "cpu/lanes.h"

#include <oneapi/dnnl/dnnl.h>

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

/* ---- the library ---- */

static dnnl_engine_t engine; /* one for the process; the library needs no more and it is never given back */
static dnnl_status_t engine_status;

static void open_library(void) {
    if (lam_cpu_isa() == LAM_CPU_V3) dnnl_set_max_cpu_isa(dnnl_cpu_isa_avx2);
    engine_status = dnnl_engine_create(&engine, dnnl_cpu, 0);
}

static lam_status as_status(dnnl_status_t status, const char *what) {
    switch (status) {
    case dnnl_success:
        return LAM_OK;
    case dnnl_unimplemented:
    case dnnl_invalid_arguments:
        return lam_fail(LAM_ERR_UNSUPPORTED, "oneDNN has no %s", what);
    case dnnl_out_of_memory:
        return lam_fail(LAM_ERR_NO_MEMORY, "out of memory in oneDNN (%s)", what);
    default:
        return lam_fail(LAM_ERR_DEVICE, "oneDNN failed with status %d (%s)", (int)status, what);
    }
}

#define DNN_TRY(call, what) LAM_TRY(as_status((call), (what)))

static lam_status need_library(void) {
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, open_library);
    DNN_TRY(engine_status, "CPU engine");
    return LAM_OK;
}

static dnnl_data_type_t data_type(enum lam_dtype dtype) {
    return dtype == LAM_BF16 ? dnnl_bf16 : dnnl_f32;
}

static dnnl_format_tag_t format_tag(enum lam_layout layout) {
    switch (layout) {
    case LAM_C8:
        return dnnl_nChw8c;
    case LAM_C16:
        return dnnl_nChw16c;
    case LAM_NHWC:
        return dnnl_nhwc;
    default:
        return dnnl_nchw;
    }
}

static size_t align64(size_t bytes) {
    return (bytes + 63) / 64 * 64;
}

/* ---- calls: a primitive with memory objects for each lane ---- */

enum { MAX_OPERANDS = 5 };

struct operand {
    int argument; /* DNNL_ARG_... */
    const dnnl_memory_desc_t *format;
};

struct call {
    dnnl_primitive_t primitive; /* NULL: nothing to do */
    dnnl_stream_t stream;
    int operands, lanes;
    dnnl_exec_arg_t *args; /* [lanes][operands] */
};

static void call_destroy(struct call *call) {
    for (int i = 0; call->args && i < call->lanes * call->operands; i++)
        if (call->args[i].memory) dnnl_memory_destroy(call->args[i].memory);
    free(call->args);
    if (call->primitive) dnnl_primitive_destroy(call->primitive);
    if (call->stream) dnnl_stream_destroy(call->stream);
    *call = (struct call){0};
}

/* On failure the caller destroys the call. */
static lam_status call_create(struct call *call, const_dnnl_primitive_desc_t desc,
                              const struct operand *operand, int operands, int lanes) {
    call->operands = operands;
    call->lanes = lanes;
    call->args = calloc((size_t)(operands * lanes), sizeof *call->args);
    if (!call->args) return lam_no_memory();
    DNN_TRY(dnnl_stream_create(&call->stream, engine, dnnl_stream_default_flags), "stream");
    for (int i = 0; i < lanes * operands; i++) {
        call->args[i].arg = operand[i % operands].argument;
        DNN_TRY(
            dnnl_memory_create(&call->args[i].memory, operand[i % operands].format, engine, DNNL_MEMORY_NONE),
            "memory object");
    }
    DNN_TRY(dnnl_primitive_create(&call->primitive, desc), "primitive");
    return LAM_OK;
}

/* A CPU stream holds no state of its own, so that lanes may share it. */
static void call_run(const struct call *call, int lane, const void *const *pointers) {
    dnnl_exec_arg_t *args = call->args + lane * call->operands;
    for (int i = 0; i < call->operands; i++) dnnl_memory_set_data_handle(args[i].memory, (void *)pointers[i]);
    dnnl_primitive_execute(call->primitive, call->stream, call->operands, args);
}

static lam_status reorder_create(struct call *call, const dnnl_memory_desc_t *from,
                                 const dnnl_memory_desc_t *to, int lanes) {
    dnnl_primitive_desc_t desc;
    DNN_TRY(dnnl_reorder_primitive_desc_create(&desc, from, engine, to, engine, NULL), "reorder");
    const struct operand operands[] = {{DNNL_ARG_FROM, from}, {DNNL_ARG_TO, to}};
    lam_status status = call_create(call, desc, operands, 2, lanes);
    dnnl_primitive_desc_destroy(desc);
    return status;
}

/* ---- a convolution ---- */

struct slice {
    int count;
    struct call conv, src_reorder, dst_reorder;
    size_t src_bytes, dst_bytes, scratch_bytes; /* parts of the workspace, 64-byte aligned */
};

struct chunk {
    struct lam_dnn_chunk range;
    struct call pack, unpack; /* unpack: backward weights */
    size_t plain_offset;      /* floats */
};

struct lam_dnn_conv {
    struct lam_dnn_conv_spec spec;
    bool own_formats; /* src and dst formats are the library's choice */
    char implementation[64];
    dnnl_memory_desc_t packed; /* the format of the packed weights */
    size_t packed_bytes;
    int slice_count, chunk_count;
    struct slice *slices;
    struct chunk *chunks;
};

/* What the library is asked for: one slice size, formats asked or left open. */
struct request {
    const struct lam_dnn_conv_spec *spec;
    int count;
    bool own_formats;
    const dnnl_memory_desc_t *weights; /* NULL: the library's choice */
};

static lam_status data_desc(const struct request *r, const struct lam_tensor_desc *tensor, bool own,
                            dnnl_memory_desc_t *desc) {
    const int64_t *dim = tensor->shape.dim;
    dnnl_dims_t dims = {r->count, dim[1], dim[2], dim[3]};
    DNN_TRY(dnnl_memory_desc_init_by_tag(desc, 4, dims, data_type(tensor->dtype),
                                         own ? dnnl_format_tag_any : format_tag(tensor->layout)),
            "tensor layout");
    return LAM_OK;
}

/* [O, I, kh, kw], or [groups, O / groups, I / groups, kh, kw]. */
static int weights_dims(const struct lam_dnn_conv_spec *spec, dnnl_dims_t dims) {
    int groups = spec->attr.groups, n = 0;
    if (groups > 1) dims[n++] = groups;
    dims[n++] = spec->dst.shape.dim[1] / groups;
    dims[n++] = spec->src.shape.dim[1] / groups;
    dims[n++] = spec->attr.kernel[0];
    dims[n++] = spec->attr.kernel[1];
    return n;
}

static dnnl_data_type_t weights_type(const struct lam_dnn_conv_spec *spec) {
    return spec->pass == LAM_DNN_BACKWARD_WEIGHTS ? dnnl_f32 : data_type(spec->src.dtype);
}

static lam_status conv_desc(const struct request *r, dnnl_convolution_desc_t *desc) {
    const struct lam_dnn_conv_spec *spec = r->spec;
    const struct lam_conv_attr *a = &spec->attr;
    dnnl_memory_desc_t src, dst, weights, bias;
    LAM_TRY(data_desc(r, &spec->src, r->own_formats, &src));
    LAM_TRY(data_desc(r, &spec->dst, r->own_formats, &dst));
    dnnl_dims_t dims, bias_dims = {spec->dst.shape.dim[1]};
    int rank = weights_dims(spec, dims);
    DNN_TRY(dnnl_memory_desc_init_by_tag(&weights, rank, dims, weights_type(spec), dnnl_format_tag_any),
            "weights layout");
    if (r->weights) weights = *r->weights;
    DNN_TRY(dnnl_memory_desc_init_by_tag(&bias, 1, bias_dims, dnnl_f32, dnnl_a), "bias layout");
    const dnnl_memory_desc_t *with_bias = spec->bias ? &bias : NULL;

    dnnl_alg_kind_t algorithm = dnnl_convolution_direct;
    dnnl_dims_t strides = {a->stride[0], a->stride[1]}, dilates = {a->dilation[0] - 1, a->dilation[1] - 1};
    dnnl_dims_t pad = {a->pad[0], a->pad[1]};
    dnnl_status_t status;
    if (spec->pass == LAM_DNN_FORWARD)
        status =
            dnnl_dilated_convolution_forward_desc_init(desc, dnnl_forward_inference, algorithm, &src,
                                                       &weights, with_bias, &dst, strides, dilates, pad, pad);
    else if (spec->pass == LAM_DNN_BACKWARD_DATA)
        status = dnnl_dilated_convolution_backward_data_desc_init(desc, algorithm, &src, &weights, &dst,
                                                                  strides, dilates, pad, pad);
    else
        status = dnnl_dilated_convolution_backward_weights_desc_init(
            desc, algorithm, &src, &weights, with_bias, &dst, strides, dilates, pad, pad);
    DNN_TRY(status, "such convolution");
    return LAM_OK;
}

/* Scratch memory is the caller's, and relu follows a forward pass. */
static lam_status conv_attributes(const struct lam_dnn_conv_spec *spec, dnnl_primitive_attr_t *attributes) {
    DNN_TRY(dnnl_primitive_attr_create(attributes), "attributes");
    dnnl_status_t status = dnnl_primitive_attr_set_scratchpad_mode(*attributes, dnnl_scratchpad_mode_user);
    if (status == dnnl_success && spec->relu) {
        dnnl_post_ops_t after;
        status = dnnl_post_ops_create(&after);
        if (status == dnnl_success) {
            status = dnnl_post_ops_append_eltwise(after, 1.0f, dnnl_eltwise_relu, 0.0f, 0.0f);
            if (status == dnnl_success) status = dnnl_primitive_attr_set_post_ops(*attributes, after);
            dnnl_post_ops_destroy(after);
        }
    }
    if (status != dnnl_success) dnnl_primitive_attr_destroy(*attributes);
    return as_status(status, "attributes");
}

static lam_status conv_request(const struct request *r, dnnl_primitive_desc_t *desc) {
    dnnl_convolution_desc_t op;
    LAM_TRY(conv_desc(r, &op));
    dnnl_primitive_attr_t attributes;
    LAM_TRY(conv_attributes(r->spec, &attributes));
    dnnl_status_t status = dnnl_primitive_desc_create(desc, &op, attributes, engine, NULL);
    dnnl_primitive_attr_destroy(attributes);
    return as_status(status, "convolution for this shape");
}

static const char *implementation(const_dnnl_primitive_desc_t desc) {
    const char *name = "";
    dnnl_primitive_desc_query(desc, dnnl_query_impl_info_str, 0, &name);
    return name;
}

static bool is_generic(const_dnnl_primitive_desc_t desc) {
    const char *name = implementation(desc);
    return strncmp(name, "ref", 3) == 0 || strncmp(name, "gemm", 4) == 0;
}

/* Asks with the operands' own layouts; if that gives generic code or nothing, with open ones. */
static lam_status conv_request_best(struct request *r, dnnl_primitive_desc_t *desc) {
    dnnl_primitive_desc_t own = NULL, asked = NULL;
    r->own_formats = false;
    lam_status status = conv_request(r, &asked);
    if (status == LAM_OK && !is_generic(asked)) {
        *desc = asked;
        return LAM_OK;
    }
    r->own_formats = true;
    lam_status own_status = conv_request(r, &own);
    if (own_status == LAM_OK && (status != LAM_OK || !is_generic(own))) {
        if (asked) dnnl_primitive_desc_destroy(asked);
        *desc = own;
        return LAM_OK;
    }
    r->own_formats = false;
    if (own) dnnl_primitive_desc_destroy(own);
    *desc = asked;
    return status;
}

static const dnnl_memory_desc_t *query(const_dnnl_primitive_desc_t desc, int argument) {
    return dnnl_primitive_desc_query_md(desc, dnnl_query_exec_arg_md, argument);
}

/* ---- slices ---- */

/* Argument numbers of src, weights, bias, dst by pass. */
static const int argument_of[3][4] = {
    [LAM_DNN_FORWARD] = {DNNL_ARG_SRC, DNNL_ARG_WEIGHTS, DNNL_ARG_BIAS, DNNL_ARG_DST},
    [LAM_DNN_BACKWARD_DATA] = {DNNL_ARG_DIFF_SRC, DNNL_ARG_WEIGHTS, DNNL_ARG_BIAS, DNNL_ARG_DIFF_DST},
    [LAM_DNN_BACKWARD_WEIGHTS] = {DNNL_ARG_SRC, DNNL_ARG_DIFF_WEIGHTS, DNNL_ARG_DIFF_BIAS, DNNL_ARG_DIFF_DST},
};

/* The reorder between an operand and the primitive's own format of it, if they differ. */
static lam_status operand_reorder(const struct request *r, const struct lam_tensor_desc *tensor,
                                  const dnnl_memory_desc_t *inner, bool is_output, struct call *reorder,
                                  size_t *bytes) {
    dnnl_memory_desc_t outer;
    LAM_TRY(data_desc(r, tensor, false, &outer));
    if (dnnl_memory_desc_equal(&outer, inner)) return LAM_OK;
    *bytes = align64(dnnl_memory_desc_get_size(inner));
    return is_output ? reorder_create(reorder, inner, &outer, r->spec->lanes)
                     : reorder_create(reorder, &outer, inner, r->spec->lanes);
}

static lam_status slice_fill(struct slice *slice, const struct request *r, const_dnnl_primitive_desc_t desc) {
    const struct lam_dnn_conv_spec *spec = r->spec;
    const int *argument = argument_of[spec->pass];
    const dnnl_memory_desc_t *src = query(desc, argument[0]), *dst = query(desc, argument[3]);
    const dnnl_memory_desc_t *scratch = query(desc, DNNL_ARG_SCRATCHPAD);
    struct operand operands[MAX_OPERANDS] = {{argument[0], src},
                                             {argument[1], query(desc, argument[1])},
                                             {argument[3], dst},
                                             {DNNL_ARG_SCRATCHPAD, scratch}};
    int count = 4;
    if (spec->bias) operands[count++] = (struct operand){argument[2], query(desc, argument[2])};
    slice->count = r->count;
    slice->scratch_bytes = align64(dnnl_memory_desc_get_size(scratch));
    LAM_TRY(operand_reorder(r, &spec->src, src, spec->pass == LAM_DNN_BACKWARD_DATA, &slice->src_reorder,
                            &slice->src_bytes));
    LAM_TRY(operand_reorder(r, &spec->dst, dst, spec->pass == LAM_DNN_FORWARD, &slice->dst_reorder,
                            &slice->dst_bytes));
    return call_create(&slice->conv, desc, operands, count, spec->lanes);
}

/* The first slice's primitive decides the formats. */
static lam_status first_slice(struct lam_dnn_conv *conv) {
    struct request r = {.spec = &conv->spec, .count = conv->spec.slices[0]};
    dnnl_primitive_desc_t desc;
    LAM_TRY(conv_request_best(&r, &desc));
    conv->own_formats = r.own_formats;
    strncpy(conv->implementation, implementation(desc), sizeof conv->implementation - 1);
    conv->packed = *query(desc, argument_of[conv->spec.pass][1]);
    conv->packed_bytes = align64(dnnl_memory_desc_get_size(&conv->packed));
    lam_status status = slice_fill(&conv->slices[0], &r, desc);
    dnnl_primitive_desc_destroy(desc);
    return status;
}

static lam_status further_slice(struct lam_dnn_conv *conv, int index) {
    struct request r = {.spec = &conv->spec,
                        .count = conv->spec.slices[index],
                        .own_formats = conv->own_formats,
                        .weights = &conv->packed};
    dnnl_primitive_desc_t desc;
    LAM_TRY(conv_request(&r, &desc));
    lam_status status = slice_fill(&conv->slices[index], &r, desc);
    dnnl_primitive_desc_destroy(desc);
    return status;
}

/* ---- chunks of the packed weights ---- */

/* Size of a block along the first dimension, 0 if the packed weights do not lie one block behind the other
 * along it (then there is one chunk). */
static int64_t first_block(const dnnl_memory_desc_t *desc) {
    if (desc->format_kind != dnnl_blocked) return 0;
    const dnnl_blocking_desc_t *blocking = &desc->format_desc.blocking;
    int64_t block = 1;
    for (int i = 0; i < blocking->inner_nblks; i++)
        if (blocking->inner_idxs[i] == 0) block *= blocking->inner_blks[i];
    for (int i = 1; i < desc->ndims; i++)
        if (blocking->strides[i] > blocking->strides[0]) return 0;
    return block;
}

/* Outputs [first, first + count) of the packed weights. */
static lam_status part_of_packed(const dnnl_memory_desc_t *whole, int64_t first, int64_t count,
                                 dnnl_memory_desc_t *part) {
    if (count == whole->dims[0]) {
        *part = *whole;
        return LAM_OK;
    }
    dnnl_dims_t dims, offsets = {first};
    memcpy(dims, whole->dims, sizeof dims);
    dims[0] = count;
    DNN_TRY(dnnl_memory_desc_init_submemory(part, whole, dims, offsets), "part of the weights");
    return LAM_OK;
}

static lam_status chunk_fill(struct lam_dnn_conv *conv, struct chunk *chunk, int64_t first, int64_t count) {
    dnnl_dims_t dims;
    int rank = weights_dims(&conv->spec, dims);
    int64_t outputs = dims[0], per_output = 1;
    for (int i = 1; i < rank; i++) per_output *= dims[i];
    dims[0] = count;
    dnnl_memory_desc_t plain, packed;
    DNN_TRY(dnnl_memory_desc_init_by_tag(&plain, rank, dims, dnnl_f32, rank == 4 ? dnnl_abcd : dnnl_abcde),
            "plain weights");
    LAM_TRY(part_of_packed(&conv->packed, first, count, &packed));
    chunk->plain_offset = (size_t)(first * per_output);
    chunk->range = (struct lam_dnn_chunk){first, count, 0, conv->packed_bytes};
    if (count < outputs) { /* divide() saw to it that blocks lie one behind the other */
        size_t element = dnnl_data_type_size(conv->packed.data_type);
        int64_t block = first_block(&conv->packed), stride = conv->packed.format_desc.blocking.strides[0];
        chunk->range.begin = (size_t)(first / block * stride) * element;
        chunk->range.end = (size_t)((first + count + block - 1) / block * stride) * element;
    }
    if (conv->spec.pass == LAM_DNN_BACKWARD_WEIGHTS)
        return reorder_create(&chunk->unpack, &packed, &plain, 1);
    return reorder_create(&chunk->pack, &plain, &packed, 1);
}

/* As many chunks as lanes, as far as there are blocks. */
static lam_status divide(struct lam_dnn_conv *conv) {
    const dnnl_memory_desc_t *desc = &conv->packed;
    int64_t block = first_block(desc), outputs = desc->dims[0];
    int64_t blocks = block > 0 ? (outputs + block - 1) / block : 1;
    int count = conv->spec.lanes < blocks ? conv->spec.lanes : (int)blocks;
    conv->chunks = calloc((size_t)count, sizeof *conv->chunks);
    if (!conv->chunks) return lam_no_memory();
    conv->chunk_count = count;
    for (int i = 0; i < count; i++) {
        int64_t begin, end;
        lam_part(blocks, i, count, &begin, &end);
        begin *= block;
        end = i == count - 1 ? outputs : end * block;
        LAM_TRY(chunk_fill(conv, &conv->chunks[i], begin, end - begin));
    }
    return LAM_OK;
}

/* ---- create and destroy ---- */

static lam_status fill(struct lam_dnn_conv *conv) {
    LAM_TRY(need_library());
    conv->slices = calloc((size_t)conv->spec.slice_count, sizeof *conv->slices);
    if (!conv->slices) return lam_no_memory();
    conv->slice_count = conv->spec.slice_count;
    LAM_TRY(first_slice(conv));
    for (int i = 1; i < conv->slice_count; i++) LAM_TRY(further_slice(conv, i));
    return divide(conv);
}

lam_status lam_dnn_conv_create(const struct lam_dnn_conv_spec *spec, struct lam_dnn_conv **conv) {
    struct lam_dnn_conv *c = calloc(1, sizeof *c);
    if (!c) return lam_no_memory();
    c->spec = *spec;
    int threads = lam_openmp_single();
    lam_status status = fill(c);
    lam_openmp_set(threads);
    c->spec.slices = NULL; /* the caller's */
    if (status == LAM_OK)
        *conv = c;
    else
        lam_dnn_conv_destroy(c);
    return status;
}

void lam_dnn_conv_destroy(struct lam_dnn_conv *conv) {
    if (!conv) return;
    for (int i = 0; i < conv->slice_count; i++) {
        call_destroy(&conv->slices[i].conv);
        call_destroy(&conv->slices[i].src_reorder);
        call_destroy(&conv->slices[i].dst_reorder);
    }
    for (int i = 0; i < conv->chunk_count; i++) {
        call_destroy(&conv->chunks[i].pack);
        call_destroy(&conv->chunks[i].unpack);
    }
    free(conv->slices);
    free(conv->chunks);
    free(conv);
}

/* ---- use ---- */

size_t lam_dnn_conv_workspace_bytes(const struct lam_dnn_conv *conv) {
    size_t most = 0;
    for (int i = 0; i < conv->slice_count; i++) {
        const struct slice *s = &conv->slices[i];
        size_t bytes = s->src_bytes + s->dst_bytes + s->scratch_bytes;
        if (bytes > most) most = bytes;
    }
    return most;
}

size_t lam_dnn_conv_packed_bytes(const struct lam_dnn_conv *conv) {
    return conv->packed_bytes;
}

const char *lam_dnn_conv_implementation(const struct lam_dnn_conv *conv) {
    return conv->implementation;
}

void lam_dnn_conv_run(const struct lam_dnn_conv *conv, int count, int lane,
                      const struct lam_dnn_conv_args *args) {
    const struct slice *slice = conv->slices;
    while (slice->count != count) slice++;
    enum lam_dnn_pass pass = conv->spec.pass;
    char *workspace = args->workspace;
    const void *src = slice->src_reorder.primitive ? workspace : args->src;
    const void *dst = slice->dst_reorder.primitive ? workspace + slice->src_bytes : args->dst;
    const void *scratch = workspace + slice->src_bytes + slice->dst_bytes;

    if (src != args->src && pass != LAM_DNN_BACKWARD_DATA)
        call_run(&slice->src_reorder, lane, (const void *[]){args->src, src});
    if (dst != args->dst && pass != LAM_DNN_FORWARD)
        call_run(&slice->dst_reorder, lane, (const void *[]){args->dst, dst});
    call_run(&slice->conv, lane, (const void *[]){src, args->packed, dst, scratch, args->bias});
    if (src != args->src && pass == LAM_DNN_BACKWARD_DATA)
        call_run(&slice->src_reorder, lane, (const void *[]){src, args->src});
    if (dst != args->dst && pass == LAM_DNN_FORWARD)
        call_run(&slice->dst_reorder, lane, (const void *[]){dst, args->dst});
}

int lam_dnn_conv_chunks(const struct lam_dnn_conv *conv) {
    return conv->chunk_count;
}

struct lam_dnn_chunk lam_dnn_conv_chunk(const struct lam_dnn_conv *conv, int chunk) {
    return conv->chunks[chunk].range;
}

void lam_dnn_conv_pack(const struct lam_dnn_conv *conv, int chunk, const float *plain, void *packed) {
    const struct chunk *c = &conv->chunks[chunk];
    call_run(&c->pack, 0, (const void *[]){plain + c->plain_offset, packed});
}

void lam_dnn_conv_unpack(const struct lam_dnn_conv *conv, int chunk, const void *packed, float *plain) {
    const struct chunk *c = &conv->chunks[chunk];
    call_run(&c->unpack, 0, (const void *[]){packed, plain + c->plain_offset});
}
